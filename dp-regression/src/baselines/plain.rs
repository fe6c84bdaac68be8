//! Least squares without privacy.

use super::positive;
use super::solve::{Eigen, inverse};
use crate::Adjacency;
use crate::budget::Guarantee;
use crate::dataset::Dataset;
use crate::error::Result;
use crate::filter;
use crate::linalg::pass;
use crate::noise::{NoiseKind, PrivacyRng};
use crate::regressor::{Outcome, PrivateRegressor, Release};

/// Ordinary least squares. **Not private.** Refuses where columns depend on each other.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ols;

/// Least squares with a ridge: `(X'X + ridge)^-1 X'y`. **Not private.**
#[derive(Clone, Copy, Debug)]
pub struct Ridge {
    ridge: f64,
}

impl Ridge {
    /// With this ridge.
    ///
    /// # Errors
    /// [`BadParameter`](crate::Error::BadParameter) unless it is positive.
    pub fn new(ridge: f64) -> Result<Self> {
        positive("ridge", ridge)?;
        Ok(Self { ridge })
    }
}

fn nothing(mechanism: &'static str) -> Guarantee {
    Guarantee {
        epsilon: f64::INFINITY,
        delta: 1.0,
        adjacency: Adjacency::Replace,
        mechanism,
        gdp_mu: None,
        caveat: Some("promises no privacy at all"),
    }
}

impl PrivateRegressor for Ols {
    fn name(&self) -> &'static str {
        "ols"
    }

    fn guarantee(&self) -> Guarantee {
        nothing("ols")
    }

    fn fit(&self, data: &Dataset<'_>, rng: &mut PrivacyRng) -> Result<Release> {
        let outcome = match filter::diagnose(data, &[])? {
            Some(fit) => Outcome::of(fit.coefficients),
            None => Outcome::Refused,
        };
        Ok(Release::new(
            outcome,
            self.guarantee(),
            NoiseKind::Hardened,
            rng,
        ))
    }
}

impl PrivateRegressor for Ridge {
    fn name(&self) -> &'static str {
        "ridge"
    }

    fn guarantee(&self) -> Guarantee {
        nothing("ridge")
    }

    fn fit(&self, data: &Dataset<'_>, rng: &mut PrivacyRng) -> Result<Release> {
        let (xx, xy) = pass::changed_moments(data, |_, _| {})?;
        let eigen = Eigen::new(&xx, data.columns())?;
        let values = eigen.apply(&xy, |value| inverse(value.max(0.0) + self.ridge));
        let outcome = Outcome::of(values);
        Ok(Release::new(
            outcome,
            self.guarantee(),
            NoiseKind::Hardened,
            rng,
        ))
    }
}
