//! Standard errors and confidence intervals from what has been released, and one more private number: the residual variance.

use serde::Serialize;
use statrs::distribution::{ContinuousCDF as _, StudentsT};

use crate::Adjacency;
use crate::dataset::Dataset;
use crate::error::{Error, Result, check_positive};
use crate::linalg::double::Double;
use crate::noise::{NoiseKind, PrivacyRng};
use crate::regressor::{Outcome, Release};

/// A private estimate of the residual variance (design, section 2.11).
///
/// For released coefficients `b`, `q = sum min((y_i - x_i'b)^2, R^2)` changes by at most `R^2` when one row does. It gets Laplace noise:
/// `(epsilon, 0)`-DP, up to what the last of 106 bits rounds.
/// Where the number of rows is private it is released with it, each for half of epsilon.
#[derive(Clone, Copy, Debug)]
pub struct ResidualVariance {
    epsilon: f64,
    bound: f64,
    adjacency: Adjacency,
}

impl ResidualVariance {
    /// With a budget of its own, and `bound` in units of the response: the residual bound of the release is a good choice.
    ///
    /// # Errors
    /// [`Error::BadParameter`] if one of them is not positive and finite.
    pub fn new(epsilon: f64, bound: f64, adjacency: Adjacency) -> Result<Self> {
        for (name, value) in [("epsilon", epsilon), ("bound", bound)] {
            check_positive(name, value)?;
        }
        Ok(Self {
            epsilon,
            bound,
            adjacency,
        })
    }

    /// Releases the variance of the residuals from `coefficients`, which must have been released: `q/(n-d)`, kept within `[0, bound^2]`.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] if there are not as many coefficients as columns; those of reading.
    pub fn fit(
        &self,
        data: &Dataset<'_>,
        coefficients: &[f64],
        noise: NoiseKind,
        rng: &mut PrivacyRng,
    ) -> Result<f64> {
        let d = data.columns();
        data.check_coefficients(coefficients)?;
        // In units of the bound, so that no square overflows.
        let mut sum = Double::ZERO;
        data.visit(&mut |_, x, y| {
            for (x, y) in x.chunks_exact(d).zip(y) {
                let residual =
                    (y - x.iter().zip(coefficients).map(|(x, b)| x * b).sum::<f64>()) / self.bound;
                sum += Double::from(if residual.is_nan() {
                    1.0
                } else {
                    (residual * residual).min(1.0)
                });
            }
            Ok(())
        })?;
        let rows = data.rows() as f64;
        let (sum, rows) = match self.adjacency {
            Adjacency::Replace => (rng.add_laplace(sum, 1.0 / self.epsilon, noise), rows),
            Adjacency::AddRemove => {
                let scale = 2.0 / self.epsilon;
                (
                    rng.add_laplace(sum, scale, noise),
                    rng.add_laplace(rows, scale, noise),
                )
            }
        };
        let share = sum / (rows - d as f64).max(1.0);
        Ok(share.clamp(0.0, 1.0) * self.bound * self.bound)
    }
}

/// What is known about one coefficient.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Interval {
    /// The released coefficient.
    pub estimate: f64,
    /// Its standard error: of sampling and of the noise together.
    pub standard_error: f64,
    /// Lower end of the confidence interval.
    pub lower: f64,
    /// Upper end.
    pub upper: f64,
}

/// Confidence intervals for the coefficients of the population at a level such as 0.95: `sqrt((sigma^2 + c^2) S^-1_jj)` with the released `S^-1` and
/// quantiles of Student's distribution with as many degrees of freedom as `S^-1` had draws. Costs nothing: it uses what has been released.
///
/// # Errors
/// [`Error::BadParameter`] for a level outside of (0, 1), a variance that is negative or not finite, or a release without coefficients, plan or
/// covariance.
pub fn confidence_intervals(release: &Release, variance: f64, level: f64) -> Result<Vec<Interval>> {
    let bad = |name, value, reason| {
        Err(Error::BadParameter {
            name,
            value,
            reason,
        })
    };
    if !(level > 0.0 && level < 1.0) {
        return bad("level", level, "must lie between 0 and 1");
    }
    if !(variance >= 0.0 && variance.is_finite()) {
        return bad("variance", variance, "must be finite and not negative");
    }
    let (Outcome::Released(coefficients), Some(plan)) = (&release.outcome, &release.plan) else {
        return bad("release", 0.0, "has no coefficients or no plan");
    };
    let Some(covariance) = &coefficients.covariance else {
        return bad("covariance_draws", 0.0, "the plan released no covariance");
    };
    let draws = plan.input().covariance_draws as f64;
    let quantile = StudentsT::new(0.0, 1.0, draws)
        .map(|t| t.inverse_cdf(0.5 + 0.5 * level))
        .map_err(|_| Error::BadParameter {
            name: "covariance_draws",
            value: draws,
            reason: "must be positive",
        })?;
    let scale = plan.noise_scale();
    let d = coefficients.values.len();
    Ok(coefficients
        .values
        .iter()
        .enumerate()
        .map(|(j, &estimate)| {
            let standard_error = ((variance + scale * scale) * covariance[j * d + j]).sqrt();
            let reach = quantile * standard_error;
            Interval {
                estimate,
                standard_error,
                lower: estimate - reach,
                upper: estimate + reach,
            }
        })
        .collect())
}
