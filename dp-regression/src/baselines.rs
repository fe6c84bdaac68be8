//! The methods that ISSP is compared with, behind the same trait, with the same noise, and each with a guarantee that follows from its sensitivities.
//!
//! All private ones but [`TukeyEm`] want public bounds on rows and responses, and clip to them. Where columns are well conditioned and such bounds
//! are known, [`AdaSsp`] is better than ISSP: say so to whoever asks, see [`recommend`].
//!
//! | method | release | needs |
//! | --- | --- | --- |
//! | [`Ols`], [`Ridge`] | no privacy | |
//! | [`Ssp`], [`AdaSsp`] | noisy `X'X` and `X'y` | bounds of `|x|` and `|y|` |
//! | [`BoostedAdaSsp`] | noisy `X'X`, then many noisy gradients | the same |
//! | [`DpGd`], [`DpSgd`] | noisy clipped gradients | scales of the columns |
//! | [`RobustGd`], [`AdaClipSgd`] | the same with thresholds found privately | rough ranges |
//! | [`TukeyEm`] | a deep point among many small fits | many rows |
//! | [`ObjectivePerturbation`] | minimum of a perturbed objective | bounds of `|x|`, `|y|` and the coefficients |
//! | [`FunctionalMechanism`] | noisy polynomial coefficients, `delta = 0` | ranges of all columns |

mod descent;
mod functional;
mod objective;
mod plain;
mod robust;
mod solve;
mod ssp;
mod tukey;

pub use descent::{DpGd, DpSgd};
pub use functional::FunctionalMechanism;
pub use objective::ObjectivePerturbation;
pub use plain::{Ols, Ridge};
pub use robust::{AdaClipSgd, RobustGd};
pub use ssp::{AdaSsp, BoostedAdaSsp, BoostedRidge, Calibration, Ssp};
pub use tukey::TukeyEm;

use crate::Adjacency;
use crate::error::{Error, Result};
use crate::plan::{Plan, PlanInput, gaussian_leverage_bound, gaussian_residual_bound};

/// Public bounds of a row's length and a response's size. Rows beyond them are clipped, not refused.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RowBounds {
    x: f64,
    y: f64,
}

impl RowBounds {
    /// Bounds of `|x|` and `|y|`.
    ///
    /// # Errors
    /// [`Error::BadParameter`] unless both lie between 1e-70 and 1e70.
    pub fn new(x: f64, y: f64) -> Result<Self> {
        positive("bound of |x|", x)?;
        positive("bound of |y|", y)?;
        Ok(Self { x, y })
    }

    /// The bound of `|x|`.
    #[must_use]
    pub fn x(&self) -> f64 {
        self.x
    }

    /// The bound of `|y|`.
    #[must_use]
    pub fn y(&self) -> f64 {
        self.y
    }

    fn clip(&self, x: &mut [f64], y: &mut f64) {
        clip_length(x, self.x);
        *y = y.clamp(-self.y, self.y);
    }
}

/// Scales a vector down to a length; one that is not finite, to nothing.
fn clip_length(x: &mut [f64], bound: f64) {
    if x.iter().any(|x| !x.is_finite()) {
        x.fill(0.0);
        return;
    }
    // The largest entry first, so that no square overflows.
    let largest = x.iter().fold(0.0_f64, |largest, x| largest.max(x.abs()));
    if largest == 0.0 {
        return;
    }
    let length = largest
        * x.iter()
            .map(|x| (x / largest) * (x / largest))
            .sum::<f64>()
            .sqrt();
    if length > bound {
        x.iter_mut().for_each(|x| *x *= bound / length);
    }
}

fn positive(name: &'static str, value: f64) -> Result<()> {
    // Squares and products of such numbers neither overflow nor lose digits.
    if (1e-70..=1e70).contains(&value) {
        return Ok(());
    }
    Err(Error::BadParameter {
        name,
        value,
        reason: "must lie between 1e-70 and 1e70",
    })
}

/// How much more a replaced row can change a sum than one that is added: twice as much for vectors.
fn vector_factor(adjacency: Adjacency) -> f64 {
    match adjacency {
        Adjacency::Replace => 2.0,
        Adjacency::AddRemove => 1.0,
    }
}

/// The same for second moments in Frobenius norm: `|xx' - zz'|^2 = |x|^4 + |z|^4 - 2 (x'z)^2`.
fn matrix_factor(adjacency: Adjacency) -> f64 {
    match adjacency {
        Adjacency::Replace => std::f64::consts::SQRT_2,
        Adjacency::AddRemove => 1.0,
    }
}

/// Noise is enlarged by so much for what summing in 53 bits can differ between neighbours.
const SUM_MARGIN: f64 = 1.0 + 1e-6;

/// What [`recommend`] suggests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recommendation {
    /// ISSP.
    Issp,
    /// AdaSSP with the tight calibration.
    AdaSsp,
    /// Neither can be expected to be of use: more rows, or a larger epsilon.
    MoreRows,
}

/// Which method to expect less error of, from public guesses: the number of rows and the condition number of `X'X` after the columns have been scaled.
/// For roughly Gaussian rows, errors of about the size of the signal, and bounds that are known within a factor of two.
///
/// # Errors
/// [`Error::BadParameter`] from the planner.
pub fn recommend(
    input: &PlanInput,
    rows: f64,
    columns: usize,
    condition: f64,
) -> Result<Recommendation> {
    let (leverage_bound, residual_bound) = (
        gaussian_leverage_bound(rows, columns),
        gaussian_residual_bound(rows, 1.0),
    );
    let issp = if leverage_bound < 1.0 {
        match Plan::search(&PlanInput {
            leverage_bound,
            residual_bound,
            ..*input
        }) {
            Ok(plan) => plan.expected_error(rows, columns),
            Err(Error::Infeasible(_)) => f64::INFINITY,
            Err(error) => return Err(error),
        }
    } else {
        f64::INFINITY
    };
    // Noise on X'X of length bound^2 sqrt(d)/mu, against its least eigenvalue n/cond; never worse than the signal, 1.
    let d = columns as f64;
    let bound = d + 4.0 * d.sqrt();
    let noise = 3.0_f64.sqrt() / input.budget.gdp_mu() * matrix_factor(input.adjacency) * bound;
    let adassp = (noise * d.sqrt() * condition.max(1.0) / rows).min(1.0);
    Ok(if issp.min(adassp) >= 1.0 {
        Recommendation::MoreRows
    } else if issp <= adassp {
        Recommendation::Issp
    } else {
        Recommendation::AdaSsp
    })
}
