//! Tables to try things on: linear models with chosen conditioning, tails and outliers.

use rand::{Rng, RngExt as _};
use rand_distr::{Distribution as _, Exp1, StandardNormal, StudentT};

use crate::error::{Error, Result};

/// How rows of the design are distributed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Design {
    /// Standard normal columns, before mixing.
    Gaussian,
    /// Student's distribution with so many degrees of freedom: heavy tails, and so a few large leverages.
    StudentT(f64),
    /// Indicators of as many categories as columns, equally likely. Not mixed.
    Categorical,
}

/// How errors are distributed; all have scale `sigma`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Errors {
    /// Normal with standard deviation `sigma`.
    Gaussian,
    /// Laplace with scale `sigma`.
    Laplace,
    /// `sigma` times Student's distribution with so many degrees of freedom.
    StudentT(f64),
}

/// A linear model `y = x'b + error` (design, section 5): `X = Z diag(s) U'` with `s` falling from 1 to `condition^{-1/2}` geometrically and `U` a random
/// rotation, so that `X'X` has about that condition number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LinearModel {
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub columns: usize,
    /// The condition number of `X'X`.
    pub condition: f64,
    /// How rows are distributed.
    pub design: Design,
    /// How errors are distributed.
    pub errors: Errors,
    /// Scale of the errors.
    pub sigma: f64,
    /// `|Sigma^{1/2} b|`: the standard deviation of the noise-free response.
    pub signal: f64,
}

/// A table with the coefficients it was made from.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The design matrix, row by row.
    pub x: Vec<f64>,
    /// The responses.
    pub y: Vec<f64>,
    /// The coefficients.
    pub coefficients: Vec<f64>,
    /// Columns.
    pub columns: usize,
}

impl LinearModel {
    /// A Gaussian model with condition number 1, errors of standard deviation 1 and a signal of 1.
    #[must_use]
    pub fn new(rows: usize, columns: usize) -> Self {
        Self {
            rows,
            columns,
            condition: 1.0,
            design: Design::Gaussian,
            errors: Errors::Gaussian,
            sigma: 1.0,
            signal: 1.0,
        }
    }

    /// Sets the condition number of `X'X`.
    #[must_use]
    pub fn with_condition(mut self, condition: f64) -> Self {
        self.condition = condition;
        self
    }

    /// Draws a table.
    ///
    /// # Errors
    /// [`Error::NoColumns`]; [`Error::BadParameter`] for a condition number below 1, degrees of freedom that are not positive, or a scale that is
    /// negative or not finite.
    pub fn sample(&self, rng: &mut impl Rng) -> Result<Sample> {
        let d = self.columns;
        if d == 0 {
            return Err(Error::NoColumns);
        }
        let bad = |name, value, reason| Error::BadParameter {
            name,
            value,
            reason,
        };
        if !(self.condition >= 1.0 && self.condition.is_finite()) {
            return Err(bad("condition", self.condition, "must be at least 1"));
        }
        if !(self.sigma >= 0.0
            && self.sigma.is_finite()
            && self.signal >= 0.0
            && self.signal.is_finite())
        {
            return Err(bad(
                "sigma or signal",
                self.sigma,
                "must be finite and not negative",
            ));
        }
        let student = |freedom: f64| {
            StudentT::new(freedom)
                .map_err(|_| bad("degrees of freedom", freedom, "must be positive"))
        };
        let mixing = self.mixing(rng);
        // Coefficients with |Sigma^{1/2} b| = signal: b = Sigma^{-1/2} u for a random direction u.
        let direction = unit(d, rng);
        let coefficients: Vec<f64> = match self.design {
            Design::Categorical => direction
                .iter()
                .map(|u| u * self.signal * (d as f64).sqrt())
                .collect(),
            _ => (0..d)
                .map(|i| {
                    let sum: f64 = (0..d)
                        .map(|j| mixing[i * d + j] / self.scale(j) * direction[j])
                        .sum();
                    sum * self.signal
                })
                .collect(),
        };
        let rows_student = if let Design::StudentT(freedom) = self.design {
            Some(student(freedom)?)
        } else {
            None
        };
        let errors_student = if let Errors::StudentT(freedom) = self.errors {
            Some(student(freedom)?)
        } else {
            None
        };
        let mut x = Vec::with_capacity(self.rows * d);
        let mut y = Vec::with_capacity(self.rows);
        let mut z = vec![0.0; d];
        for _ in 0..self.rows {
            if self.design == Design::Categorical {
                let category = rng.random_range(0..d);
                x.extend((0..d).map(|j| if j == category { 1.0 } else { 0.0 }));
            } else {
                for (j, z) in z.iter_mut().enumerate() {
                    let value: f64 = match rows_student {
                        Some(student) => student.sample(rng),
                        None => StandardNormal.sample(rng),
                    };
                    *z = value * self.scale(j);
                }
                x.extend((0..d).map(|i| (0..d).map(|j| mixing[i * d + j] * z[j]).sum::<f64>()));
            }
            let row = &x[x.len() - d..];
            let error: f64 = match (self.errors, errors_student) {
                (_, Some(student)) => student.sample(rng),
                (Errors::Laplace, _) => {
                    let size: f64 = Exp1.sample(rng);
                    if rng.random() { size } else { -size }
                }
                _ => StandardNormal.sample(rng),
            };
            y.push(
                row.iter()
                    .zip(&coefficients)
                    .map(|(x, b)| x * b)
                    .sum::<f64>()
                    + self.sigma * error,
            );
        }
        Ok(Sample {
            x,
            y,
            coefficients,
            columns: d,
        })
    }

    fn scale(&self, column: usize) -> f64 {
        if self.columns == 1 {
            return 1.0;
        }
        self.condition
            .powf(-0.5 * column as f64 / (self.columns - 1) as f64)
    }

    /// A random rotation: Gram-Schmidt on Gaussian vectors, twice.
    fn mixing(&self, rng: &mut impl Rng) -> Vec<f64> {
        let d = self.columns;
        let mut basis: Vec<Vec<f64>> = Vec::with_capacity(d);
        while basis.len() < d {
            let mut v = unit(d, rng);
            for _ in 0..2 {
                for b in &basis {
                    let dot: f64 = b.iter().zip(&v).map(|(b, v)| b * v).sum();
                    v.iter_mut().zip(b).for_each(|(v, b)| *v -= dot * b);
                }
            }
            let length = v.iter().map(|v| v * v).sum::<f64>().sqrt();
            if length > 1e-6 {
                v.iter_mut().for_each(|v| *v /= length);
                basis.push(v);
            }
        }
        basis.concat()
    }
}

impl Sample {
    /// Moves `count` rows, from the first on, so far away that no residual bound near the errors' scale passes: `y` by `residual`, on alternating sides.
    /// With a `leverage` above 1 their design rows are multiplied by it as well.
    #[must_use]
    pub fn with_outliers(mut self, count: usize, leverage: f64, residual: f64) -> Self {
        let d = self.columns;
        for (row, y) in self.y.iter_mut().enumerate().take(count) {
            self.x[row * d..(row + 1) * d]
                .iter_mut()
                .for_each(|x| *x *= leverage);
            *y += if row % 2 == 0 { residual } else { -residual };
        }
        self
    }
}

fn unit(d: usize, rng: &mut impl Rng) -> Vec<f64> {
    let v: Vec<f64> = (0..d).map(|_| StandardNormal.sample(rng)).collect();
    let length = v
        .iter()
        .map(|v| v * v)
        .sum::<f64>()
        .sqrt()
        .max(f64::MIN_POSITIVE);
    v.into_iter().map(|v| v / length).collect()
}
