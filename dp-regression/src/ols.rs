//! Ordinary least squares on a table less a few rows, with leverages and residuals, while rows are taken away one by one.
//!
//! A removal costs one product of the table with a vector: `h_i += u_i^2/(1-h_j)` and `e_i += u_i e_j/(1-h_j)` with `u_i = x_i' S^-1 x_j` (design,
//! section 2.8). Everything is computed afresh after a removal with `h_j > 1/2`, where `1-h_j` cancels, when errors have grown, and every 16 removals.

use rayon::prelude::*;

use crate::dataset::Dataset;
use crate::error::Result;
use crate::linalg::double::{self, Double};
use crate::linalg::pass::{self, Precision};
use crate::linalg::triangular;
use crate::linalg::whitening::{Demand, U, Whitening, whiten};

/// Rows that a thread updates at once.
const CHUNK: usize = 1 << 14;
/// A leverage beyond which updating is not accurate.
const LARGE: f64 = 0.5;
/// Removals after which everything is computed afresh, whatever is known about its errors.
const UPDATES: usize = 16;

/// What computed leverages and residuals have to satisfy (design, sections 2.9 and 10.6).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Accuracy {
    /// `xi`: largest error of a leverage relative to itself, and of a residual relative to `residual` or the largest one.
    pub(crate) relative: f64,
    /// The smallest threshold that residuals are compared with; 0 if with none.
    pub(crate) residual: f64,
}

/// The fit to the rows that are left.
#[derive(Clone)]
pub(crate) struct Fit<'a> {
    data: &'a Dataset<'a>,
    accuracy: Accuracy,
    /// In ascending order.
    removed: Vec<usize>,
    whitening: Whitening,
    /// The inverse of the whitened second moments of the rows that are left: `d d` numbers.
    inverse: Vec<f64>,
    beta: Vec<Double>,
    /// Of removed rows, -1.
    leverages: Vec<f64>,
    /// Of removed rows, 0.
    residuals: Vec<f64>,
    /// By how much residuals may be off, at most.
    residual_error: f64,
    /// By how much coefficients may be off, in the norm of the second moments.
    center_error: f64,
    /// By how much leverages may be off, relative to themselves.
    leverage_error: f64,
    /// Removals since everything was computed afresh.
    updates: usize,
    buffer: Vec<f64>,
}

impl<'a> Fit<'a> {
    /// The fit to all rows but `removed` (ascending); `None` if they have no full rank. Where the highest precision is not enough for residuals,
    /// [`Fit::residuals_are_accurate`] says so.
    pub(crate) fn new(
        data: &'a Dataset<'a>,
        removed: Vec<usize>,
        accuracy: Accuracy,
    ) -> Result<Option<Self>> {
        let d = data.columns();
        if data.rows() < d + removed.len() {
            return Ok(None);
        }
        let exceptions: Vec<(usize, f64)> = removed.iter().map(|&row| (row, 0.0)).collect();
        let mut demand = Demand {
            // The other half is left to updates.
            leverage: 0.5 * accuracy.relative,
            shape: f64::INFINITY,
            from: Precision::Single64,
        };
        loop {
            let Some(whitening) = whiten(data, &exceptions, &demand)? else {
                return Ok(None);
            };
            let profile = pass::profile(
                data,
                &exceptions,
                &whitening.transform,
                &whitening.beta,
                whitening.precision,
            )?;
            let center_error = center_error(&whitening, &profile, &exceptions, accuracy.relative);
            let mut fit = Self {
                data,
                accuracy,
                removed: removed.clone(),
                inverse: identity(d),
                beta: whitening.beta.clone(),
                leverages: profile.leverages,
                residuals: profile.residuals,
                residual_error: 0.0,
                center_error,
                leverage_error: whitening.leverage_error,
                updates: 0,
                buffer: Vec::new(),
                whitening,
            };
            fit.mark_removed();
            let reach = fit.highest_leverage().1.max(0.0).sqrt() * length(&fit.beta);
            fit.residual_error = fit.unit() * reach;
            fit.refine(&profile.correction)?;
            // Leverages are accurate whatever residuals are; who uses residuals has to ask.
            if fit.residuals_are_accurate() || fit.whitening.precision == Precision::Double128 {
                return Ok(Some(fit));
            }
            demand.from = Precision::Double128;
        }
    }

    /// The fit to all rows but those that certainly have a leverage above `threshold`, if all rows together are beyond any precision. `None` if that
    /// does not help, or if it takes more than `cap` rows.
    pub(crate) fn without_dominating(
        data: &'a Dataset<'a>,
        threshold: f64,
        cap: usize,
        accuracy: Accuracy,
    ) -> Result<Option<Self>> {
        if let Some(fit) = Self::new(data, Vec::new(), accuracy)? {
            return Ok(Some(fit));
        }
        match pass::dominating_rows(data, threshold, cap)? {
            Some(rows) if !rows.is_empty() => Self::new(data, rows, accuracy),
            _ => Ok(None),
        }
    }

    /// Takes a row away; `false` if the rest has no full rank.
    pub(crate) fn remove(&mut self, row: usize) -> Result<bool> {
        let (leverage, residual) = (self.leverages[row], self.residuals[row]);
        let at = self.removed.partition_point(|&removed| removed < row);
        self.removed.insert(at, row);
        self.updates += 1;
        if exceeds(leverage, LARGE) || self.updates >= UPDATES {
            return self.refresh();
        }
        let d = self.data.columns();
        let (x, _) = self.data.row(row)?;
        let w: Vec<f64> = pass::whitened_row(&self.whitening.transform, &x)
            .iter()
            .map(|w| w.to_f64())
            .collect();
        let q: Vec<f64> = (0..d)
            .map(|i| {
                self.inverse[i * d..(i + 1) * d]
                    .iter()
                    .zip(&w)
                    .map(|(m, w)| m * w)
                    .sum()
            })
            .collect();
        let left = 1.0 - leverage;
        // No row's `u_i/(1-h_j)` is larger.
        let reach = (self.highest_leverage().1.max(0.0) * leverage).sqrt() / left;
        let direction: Vec<Double> = q.iter().map(|&q| Double::from(q)).collect();
        self.project(&direction)?;
        let update = |((h, e), u): ((&mut [f64], &mut [f64]), &[f64])| {
            for ((h, e), u) in h.iter_mut().zip(e).zip(u) {
                *h += u * u / left;
                *e += u * residual / left;
            }
        };
        if self.buffer.len() <= CHUNK {
            update(((&mut self.leverages, &mut self.residuals), &self.buffer));
        } else {
            let leverages = self.leverages.par_chunks_mut(CHUNK);
            let residuals = self.residuals.par_chunks_mut(CHUNK);
            leverages
                .zip(residuals)
                .zip(self.buffer.par_chunks(CHUNK))
                .for_each(update);
        }
        for i in 0..d {
            for j in 0..d {
                self.inverse[i * d + j] += q[i] * q[j] / left;
            }
            self.beta[i] -= Double::from(q[i] * residual / left);
        }
        // Without row j every error along it is larger by 1/(1-h_j), and a gross residual leaves its own behind.
        let inexact = (self.unit() + self.leverage_error) / left;
        self.residual_error +=
            reach * (self.residual_error + inexact * residual.abs()) + 4.0 * U * residual.abs();
        self.leverage_error = (self.leverage_error + 4.0 * self.unit()) / left;
        self.mark_removed();
        let drift = self.leverage_error > self.accuracy.relative;
        if drift || !self.residuals_are_accurate() {
            return self.refresh();
        }
        Ok(true)
    }

    /// Computes everything afresh; `false` if the rows have no full rank.
    fn refresh(&mut self) -> Result<bool> {
        match Self::new(self.data, std::mem::take(&mut self.removed), self.accuracy)? {
            Some(fresh) => {
                *self = fresh;
                Ok(true)
            }
            None => Ok(false),
        }
    }

    /// The fit to all rows as it is released, if none was removed and the errors are small enough; see [`WeightedFit::new`].
    pub(crate) fn release(&self, center: f64, shape: f64) -> Option<WeightedFit> {
        let fine = self.removed.is_empty()
            && self.center_error <= center
            && self.whitening.shape_error <= shape;
        fine.then(|| WeightedFit {
            transform: self.whitening.transform.t.clone(),
            beta: self.beta.clone(),
        })
    }

    pub(crate) fn removed(&self) -> &[usize] {
        &self.removed
    }

    pub(crate) fn leverages(&self) -> &[f64] {
        &self.leverages
    }

    pub(crate) fn residuals(&self) -> &[f64] {
        &self.residuals
    }

    /// The row with the largest leverage, and that.
    pub(crate) fn highest_leverage(&self) -> (usize, f64) {
        largest(self.leverages.iter().copied())
    }

    /// The row with the largest residual, and its size.
    pub(crate) fn largest_residual(&self) -> (usize, f64) {
        largest(self.residuals.iter().map(|e| e.abs()))
    }

    /// The coefficients of the columns.
    pub(crate) fn coefficients(&self) -> Vec<f64> {
        triangular::times(&self.whitening.transform.t, &self.beta, self.data.columns())
            .iter()
            .map(|b| b.to_f64())
            .collect()
    }

    /// The products of all rows with `T v`, into the buffer.
    fn project(&mut self, v: &[Double]) -> Result<()> {
        let direction = triangular::times(&self.whitening.transform.t, v, self.data.columns());
        self.buffer.resize(self.data.rows(), 0.0);
        pass::project(
            self.data,
            &direction,
            self.whitening.precision,
            &mut self.buffer,
        )
    }

    /// Corrects coefficients, and residuals where that could matter.
    fn refine(&mut self, correction: &[f64]) -> Result<()> {
        let correction: Vec<Double> = correction.iter().map(|&c| Double::from(c)).collect();
        self.beta
            .iter_mut()
            .zip(&correction)
            .for_each(|(beta, c)| *beta += *c);
        let shift = self.highest_leverage().1.max(0.0).sqrt() * length(&correction);
        if shift > 0.125 * self.accuracy.relative * self.residual_scale() {
            self.project(&correction)?;
            self.residuals
                .iter_mut()
                .zip(&self.buffer)
                .for_each(|(e, u)| *e -= u);
            self.mark_removed();
        }
        Ok(())
    }

    fn residual_scale(&self) -> f64 {
        self.accuracy.residual.max(self.largest_residual().1)
    }

    /// The relative error of the product of a row and a vector in whitened coordinates.
    fn unit(&self) -> f64 {
        let size = self.data.columns() as f64;
        let unit = match self.whitening.precision {
            Precision::Single64 => 2.0 * size * U,
            Precision::Double128 => 4.0 * size * double::UNIT,
        };
        unit * (1.0 + self.whitening.condition)
    }

    /// Whether residuals are as exact as was asked for.
    pub(crate) fn residuals_are_accurate(&self) -> bool {
        self.residual_error <= 0.5 * self.accuracy.relative * self.residual_scale()
    }

    fn mark_removed(&mut self) {
        for &row in &self.removed {
            self.leverages[row] = -1.0;
            self.residuals[row] = 0.0;
        }
    }
}

fn identity(d: usize) -> Vec<f64> {
    let mut out = vec![0.0; d * d];
    out.iter_mut().step_by(d + 1).for_each(|x| *x = 1.0);
    out
}

fn length(v: &[Double]) -> f64 {
    v.iter()
        .map(|v| v.to_f64() * v.to_f64())
        .sum::<f64>()
        .sqrt()
}

/// The first of the largest numbers, and its place; NaN is larger than all.
fn largest(values: impl Iterator<Item = f64>) -> (usize, f64) {
    values
        .enumerate()
        .fold((0, f64::NEG_INFINITY), |best, (index, value)| {
            if !best.1.is_nan() && exceeds(value, best.1) {
                (index, value)
            } else {
                best
            }
        })
}

/// Whether a number is larger than `threshold`, which NaN always is: what is no number must not pass.
pub(crate) fn exceeds(value: f64, threshold: f64) -> bool {
    value > threshold || value.is_nan()
}

/// The weighted fit that is released with noise: `T` with `T' S T = 1` and the whitened coefficients, `S = sum v_i x_i x_i'`.
pub(crate) struct WeightedFit {
    /// `T`, upper triangular by columns.
    pub(crate) transform: Vec<Double>,
    /// `T' sum v_i x_i y_i`
    pub(crate) beta: Vec<Double>,
}

/// What one step of refinement leaves of the error of coefficients, in the norm of the second moments: its own relative error, what inexact rows do to
/// residuals, and what sums round.
fn center_error(
    whitening: &Whitening,
    profile: &pass::Profile,
    exceptions: &[(usize, f64)],
    relative: f64,
) -> f64 {
    let size = profile.correction.len() as f64;
    let (unit, rounding) = match whitening.precision {
        Precision::Single64 => (2.0 * size * U, U),
        Precision::Double128 => (4.0 * size * double::UNIT, double::UNIT),
    };
    let mut squares: f64 = 0.0;
    let mut special = exceptions.iter().peekable();
    for (row, e) in profile.residuals.iter().enumerate() {
        let weight = special
            .next_if(|(index, _)| *index == row)
            .map_or(1.0, |(_, weight)| *weight);
        // Rows without weight may hold anything.
        if weight > 0.0 {
            squares += weight * e * e;
        }
    }
    let residuals = squares.sqrt();
    let correction = profile.correction.iter().map(|c| c * c).sum::<f64>().sqrt();
    correction * (1e-7 + relative)
        + unit * (1.0 + whitening.condition) * size.sqrt() * (length(&whitening.beta) + residuals)
        + 600.0 * size.sqrt() * rounding * residuals
}

impl WeightedFit {
    /// Fits with the weights `exceptions`, others 1. `None` if the rows have no full rank, or if even the highest precision leaves an error of
    /// the coefficients above `center` (in the norm of `S`) or of the shape above `shape` (trace norm).
    pub(crate) fn new(
        data: &Dataset<'_>,
        exceptions: &[(usize, f64)],
        relative: f64,
        center: f64,
        shape: f64,
    ) -> Result<Option<Self>> {
        let mut from = Precision::Single64;
        loop {
            let demand = Demand {
                leverage: relative,
                shape,
                from,
            };
            let Some(whitening) = whiten(data, exceptions, &demand)? else {
                return Ok(None);
            };
            let profile = pass::profile(
                data,
                exceptions,
                &whitening.transform,
                &whitening.beta,
                whitening.precision,
            )?;
            let error = center_error(&whitening, &profile, exceptions, relative);
            if error <= center {
                let corrected = whitening.beta.iter().zip(&profile.correction);
                let beta = corrected.map(|(b, c)| *b + Double::from(*c)).collect();
                return Ok(Some(Self {
                    transform: whitening.transform.t,
                    beta,
                }));
            }
            if whitening.precision == Precision::Double128 {
                return Ok(None);
            }
            from = Precision::Double128;
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::synth::LinearModel;

    /// Design 7.1 (c): leverages and residuals that were updated are those that are computed afresh.
    #[test]
    fn updates_agree_with_fresh_fits() {
        for condition in [1.0, 1e8, 1e16] {
            let mut rng = ChaCha8Rng::seed_from_u64(1);
            let sample = LinearModel::new(400, 4)
                .with_condition(condition)
                .sample(&mut rng);
            let sample = sample.expect("a model").with_outliers(3, 3.0, 50.0);
            let data = Dataset::new(sample.x, sample.y, 4).expect("a table");
            let accuracy = Accuracy {
                relative: 1e-9,
                residual: 1.0,
            };
            let mut fit = Fit::new(&data, Vec::new(), accuracy)
                .expect("memory")
                .expect("full rank");
            for step in 0..24 {
                let row = if step % 2 == 0 {
                    fit.largest_residual().0
                } else {
                    fit.highest_leverage().0
                };
                assert!(fit.remove(row).expect("memory"));
                let fresh = Fit::new(&data, fit.removed.clone(), accuracy)
                    .expect("memory")
                    .expect("full rank");
                let scale = fresh.largest_residual().1;
                for i in 0..400 {
                    let (h, e) = (
                        fit.leverages[i] - fresh.leverages[i],
                        fit.residuals[i] - fresh.residuals[i],
                    );
                    assert!(
                        h.abs() <= 1e-9 * fresh.leverages[i].abs(),
                        "condition {condition:e}: {h:e}"
                    );
                    assert!(e.abs() <= 1e-9 * scale, "condition {condition:e}: {e:e}");
                }
                for (a, b) in fit.coefficients().iter().zip(fresh.coefficients()) {
                    assert!((a - b).abs() <= 1e-9 * (1.0 + b.abs()) * condition.sqrt());
                }
            }
        }
    }

    /// Rows of geometric size, each of which has a leverage near 1/2 when it goes, so that errors of those left double every time.
    #[test]
    fn errors_that_double_with_every_removal_stay_small() {
        let x: Vec<f64> = (0..120)
            .map(|i| 0.51_f64.powf(0.5 * f64::from(i)))
            .collect();
        let data = Dataset::new(x, vec![0.0; 120], 1).expect("a table");
        let accuracy = Accuracy {
            relative: 1e-7,
            residual: 1.0,
        };
        let mut fit = Fit::new(&data, Vec::new(), accuracy)
            .expect("memory")
            .expect("full rank");
        for _ in 0..40 {
            let (row, leverage) = fit.highest_leverage();
            assert!(leverage > 0.48 && leverage < LARGE, "{leverage}");
            assert!(fit.remove(row).expect("memory"));
        }
        let fresh = crate::filter::diagnose(&data, fit.removed()).expect("memory");
        for (found, expected) in fit.leverages().iter().zip(fresh.expect("rank").leverages) {
            assert!((found - expected).abs() <= 1e-7 * expected.abs());
        }
    }

    /// The error of coefficients that many rows cause ends at the highest precision.
    #[test]
    fn sums_of_residuals_are_as_exact_as_the_highest_precision() {
        let y: Vec<f64> = (0..100_000_u64)
            .map(|i| ((i * i * 7919) % 1_000_003) as f64)
            .collect();
        let mean = y
            .iter()
            .map(|&y| Double::from(y))
            .fold(Double::ZERO, |a, b| a + b)
            / Double::from(1e5);
        let data = Dataset::new(vec![1.0; y.len()], y, 1).expect("a table");
        // Times the root of the number of rows, in the norm of the second moments.
        let center = 1e-9;
        let fit = WeightedFit::new(&data, &[], 1e-7, center, 1e-6)
            .expect("memory")
            .expect("precision");
        let found = triangular::times(&fit.transform, &fit.beta, 1)[0];
        let error = (found - mean).to_f64().abs();
        assert!(error * 1e5_f64.sqrt() <= center, "{error:e}");
    }

    #[test]
    fn what_is_no_number_is_the_largest() {
        assert_eq!(largest([1.0, 3.0, 3.0].into_iter()), (1, 3.0));
        let (row, value) = largest([1.0, f64::NAN, 3.0].into_iter());
        assert!(row == 1 && exceeds(value, f64::INFINITY));
    }
}
