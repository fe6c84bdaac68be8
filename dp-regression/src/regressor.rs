//! What all methods have in common: a promise, a fit, and what comes out.

use serde::Serialize;

use crate::budget::Guarantee;
use crate::dataset::Dataset;
use crate::error::Result;
use crate::noise::{NoiseKind, PrivacyRng};
use crate::plan::Plan;

/// A method that releases regression coefficients.
pub trait PrivateRegressor {
    /// A short name, lower case with hyphens.
    fn name(&self) -> &'static str;

    /// What a release promises. Does not depend on any table.
    fn guarantee(&self) -> Guarantee;

    /// Fits and releases. Whatever comes back as `Ok` has the guarantee; every call spends it anew.
    ///
    /// # Errors
    /// Of reading, of cancelling, of the random numbers, and of public sizes that do not fit. Nothing has been released then, but see
    /// [`Error`](crate::Error) for what errors themselves say.
    fn fit(&self, data: &Dataset<'_>, rng: &mut PrivacyRng) -> Result<Release>;
}

/// The answer of a method.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Coefficients, with noise.
    Released(Coefficients),
    /// The method refuses to answer: by chance, for too many outliers, or for columns that depend on each other. Which of these it was is private.
    /// This is an answer like any other, with the same guarantee and the same cost.
    Refused,
}

impl Outcome {
    /// Released coefficients without a covariance.
    pub(crate) fn of(values: Vec<f64>) -> Self {
        Self::Released(Coefficients {
            values,
            covariance: None,
        })
    }

    /// The coefficients, unless the method refused.
    #[must_use]
    pub fn coefficients(&self) -> Option<&[f64]> {
        match self {
            Self::Released(coefficients) => Some(&coefficients.values),
            Self::Refused => None,
        }
    }
}

/// Released coefficients.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Coefficients {
    /// One a column of the design matrix.
    pub values: Vec<f64>,
    /// An estimate of `S^-1`, `d d` numbers, symmetric; released if the plan has
    /// [`covariance_draws`](crate::plan::PlanInput::covariance_draws).
    pub covariance: Option<Vec<f64>>,
}

/// Everything that may be published of a fit. Scores, leverages, and removed rows are not in it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Release {
    /// The answer.
    pub outcome: Outcome,
    /// Its guarantee.
    pub guarantee: Guarantee,
    /// The plan, of methods that have one. With [`PrivateSearch`](crate::PrivateSearch) that of the bounds it chose, or `None` if it found none.
    pub plan: Option<Plan>,
    /// How noise was drawn.
    pub noise: NoiseKind,
    /// Whether noise came from a known seed: then nothing is protected.
    pub seeded: bool,
    /// Version of this crate.
    pub version: &'static str,
}

impl Release {
    pub(crate) fn new(
        outcome: Outcome,
        guarantee: Guarantee,
        noise: NoiseKind,
        rng: &PrivacyRng,
    ) -> Self {
        Self {
            outcome,
            guarantee,
            plan: None,
            noise,
            seeded: rng.is_seeded(),
            version: env!("CARGO_PKG_VERSION"),
        }
    }

    pub(crate) fn with_plan(mut self, plan: Option<&Plan>) -> Self {
        self.plan = plan.cloned();
        self
    }
}
