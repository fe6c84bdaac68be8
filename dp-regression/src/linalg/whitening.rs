//! Whitening: an upper triangular `T` with `T' X'VX T = 1`, as exact as is asked for.
//!
//! In whitened coordinates `w = T' x` leverages are squared lengths, the design is perfectly conditioned, and nothing depends on how the columns
//! were scaled or mixed. Four stages, each tried where the error estimate of the one before is too large (design, section 2.9):
//!
//! 1. Cholesky on the second moments, in 53 bits;
//! 2. the same again on the transformed rows (CholeskyQR2);
//! 3. both with moments and transformed rows in double-double arithmetic;
//! 4. the same with a shift of the first moments (shifted CholeskyQR3; T. Fukaya et al. 2020), which cannot break down.
//!
//! Rank loss is only what stage 4 finds.

use super::double::{self, Double};
use super::pass::{
    BLOCK, Exceptions, Precision, Transform, column_scales, moments, transformed_gram,
    transformed_gram_double,
};
use super::triangular;
use crate::dataset::Dataset;
use crate::error::Result;

/// Unit roundoff of f64.
pub(crate) const U: f64 = 0.5 * f64::EPSILON;
/// An estimated error of second moments, relative to themselves, beyond which a stage is of no use to the next.
const HOPELESS: f64 = 0.05;

/// How exact a whitening has to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Demand {
    /// Largest relative error of leverages.
    pub(crate) leverage: f64,
    /// Largest trace norm of `T' X'VX T - 1`.
    pub(crate) shape: f64,
    /// The precision to begin with.
    pub(crate) from: Precision,
}

/// The transform with what is known about its errors.
#[derive(Clone)]
pub(crate) struct Whitening {
    pub(crate) transform: Transform,
    /// Precision in which rows have to be transformed.
    pub(crate) precision: Precision,
    /// `T' X'Vy`: the whitened coefficients, before refinement.
    pub(crate) beta: Vec<Double>,
    /// Skeel's condition number of `T`.
    pub(crate) condition: f64,
    /// The trace norm of `T' X'VX T - 1` is at most this.
    pub(crate) shape_error: f64,
    /// The relative error of leverages is at most this.
    pub(crate) leverage_error: f64,
}

/// Errors of one stage.
struct Estimate {
    leverage: f64,
    shape: f64,
}

impl Estimate {
    fn meets(&self, demand: &Demand) -> bool {
        self.leverage <= demand.leverage && self.shape <= demand.shape
    }
}

/// Whitens the rows with weights; `None` if they have no full rank.
pub(crate) fn whiten(
    data: &Dataset<'_>,
    exceptions: &Exceptions,
    demand: &Demand,
) -> Result<Option<Whitening>> {
    let d = data.columns();
    let size = d as f64;
    let scale = if data.is_extreme() {
        column_scales(data, exceptions)?
    } else {
        Vec::new()
    };
    if demand.from == Precision::Single64 {
        let sums = moments(data, exceptions, &scale, Precision::Single64)?;
        if let Some(t) = triangular::inverse_factor(&sums.xx, d, 0.0, 0.0) {
            let gram = (BLOCK as f64 + 4.0) * U * spread(&t, &sums.xx, d);
            let condition = condition(&t, d);
            let rows = size * U * condition;
            let beta = triangular::transposed_times(&t, &sums.xy, d);
            let t = unscaled(t, &scale, d);
            let found = |t: Vec<Double>, beta, estimate: &Estimate| Whitening {
                shape_error: estimate.shape,
                leverage_error: estimate.leverage,
                transform: Transform::new(t, d),
                precision: Precision::Single64,
                beta,
                condition,
            };
            let estimate = Estimate {
                leverage: gram + 2.0 * rows,
                shape: size.sqrt() * gram,
            };
            if estimate.meets(demand) {
                return Ok(Some(found(t, beta, &estimate)));
            }
            let estimate = Estimate {
                leverage: size * (BLOCK as f64 + 4.0) * U * 1.5 + 4.0 * rows,
                shape: size.powf(1.5) * (BLOCK as f64 + 4.0) * U * 1.5 + 2.0 * size * rows,
            };
            if gram < HOPELESS && estimate.meets(demand) {
                let first = Transform::new(t, d);
                let again = transformed_gram(data, exceptions, &first, Precision::Single64)?;
                if let Some(second) = triangular::inverse_factor(&again, d, 0.0, HOPELESS) {
                    let beta = triangular::transposed_times(&second, &beta, d);
                    let t = triangular::product(&first.t, &second, d);
                    return Ok(Some(found(t, beta, &estimate)));
                }
            }
        }
    }
    whiten_double(data, exceptions, &scale, demand)
}

/// Stages 3 and 4.
fn whiten_double(
    data: &Dataset<'_>,
    exceptions: &Exceptions,
    scale: &[f64],
    demand: &Demand,
) -> Result<Option<Whitening>> {
    let d = data.columns();
    let size = d as f64;
    let sums = moments(data, exceptions, scale, Precision::Double128)?;
    // What summing in blocks of twice 53 bits leaves.
    let unit = (BLOCK as f64) * U * U * (data.rows() as f64 + 64.0);
    let factor = triangular::inverse_factor(&sums.xx, d, 0.0, 0.0)
        .filter(|t| unit * spread(t, &sums.xx, d) < HOPELESS);
    let first = match factor {
        Some(t) => t,
        None => {
            let shift = 32.0 * size * unit;
            let Some(t) = triangular::inverse_factor(&sums.xx, d, shift, 0.0) else {
                return Ok(None); // a column of zeros
            };
            let transform = Transform::new(unscaled(t.clone(), scale, d), d);
            let again = transformed_gram_double(data, exceptions, &transform)?;
            match triangular::inverse_factor(&again, d, 0.0, 1e3 * shift) {
                Some(second) => triangular::product(&t, &second, d),
                None => return Ok(None),
            }
        }
    };
    let beta = triangular::transposed_times(&first, &sums.xy, d);
    let transform = Transform::new(unscaled(first, scale, d), d);
    let again = transformed_gram(data, exceptions, &transform, Precision::Double128)?;
    let Some(second) = triangular::inverse_factor(&again, d, 0.0, HOPELESS) else {
        return Ok(None);
    };
    let t = triangular::product(&transform.t, &second, d);
    let condition = condition(&t, d);
    let rows = U + 4.0 * size * double::UNIT * condition;
    let gram = size * (BLOCK as f64 + 4.0) * U * 1.5;
    let estimate = Estimate {
        leverage: gram + 4.0 * rows,
        shape: size.sqrt() * gram + 2.0 * size * rows,
    };
    Ok(estimate.meets(demand).then(|| Whitening {
        beta: triangular::transposed_times(&second, &beta, d),
        transform: Transform::new(t, d),
        precision: Precision::Double128,
        condition,
        shape_error: estimate.shape,
        leverage_error: estimate.leverage,
    }))
}

/// The square of `| |T|' s |` with `s` the lengths of the columns: by how much an entrywise relative error of second moments grows when whitened.
fn spread(t: &[Double], s: &[Double], d: usize) -> f64 {
    (0..d)
        .map(|j| {
            let sum: f64 = (0..=j)
                .map(|i| t[i + d * j].hi.abs() * s[i + d * i].hi.sqrt())
                .sum();
            sum * sum
        })
        .sum()
}

fn condition(t: &[Double], d: usize) -> f64 {
    triangular::skeel_condition(&triangular::inverse(t, d), t, d)
}

/// `T` for rows whose columns are not scaled.
fn unscaled(mut t: Vec<Double>, scale: &[f64], d: usize) -> Vec<Double> {
    for (i, &scale) in scale.iter().enumerate() {
        for j in i..d {
            t[i + d * j] = t[i + d * j].scale(scale);
        }
    }
    t
}
