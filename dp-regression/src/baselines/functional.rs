//! The functional mechanism: Laplace noise on the coefficients of the objective.

use super::positive;
use super::solve::Eigen;
use crate::Adjacency;
use crate::budget::Guarantee;
use crate::dataset::Dataset;
use crate::error::{Error, Result};
use crate::linalg::pass;
use crate::noise::{NoiseKind, PrivacyRng};
use crate::regressor::{Outcome, PrivateRegressor, Release};

/// The functional mechanism (J. Zhang et al. 2012; what diffprivlib implements): `(epsilon, 0)`-DP.
///
/// Columns and response are clipped to public ranges `[-b, b]` and divided by `b`. The objective is a polynomial in the coefficients whose own coefficients
/// are sums of products of two numbers of a row; they get Laplace noise. Directions in which the noisy objective is not convex, or less than the noise
/// would make it, are dropped.
///
/// Three departures. Numbers are clipped to a box, as in diffprivlib, not to a ball. The sum of squared responses is left out: it does not move the
/// minimum. And all coefficients get the same noise, for the L1 norm of all changes together, where diffprivlib shares epsilon evenly among them; it
/// keeps every direction, the paper adds a ridge before it drops any.
#[derive(Clone, Debug)]
pub struct FunctionalMechanism {
    epsilon: f64,
    adjacency: Adjacency,
    ranges: Vec<f64>,
    response: f64,
    noise: NoiseKind,
}

impl FunctionalMechanism {
    /// With public ranges: column `j` lies in `[-ranges[j], ranges[j]]`, the response in `[-response, response]`.
    ///
    /// # Errors
    /// [`Error::BadParameter`] unless epsilon and all ranges are positive.
    pub fn new(
        epsilon: f64,
        adjacency: Adjacency,
        ranges: Vec<f64>,
        response: f64,
    ) -> Result<Self> {
        positive("epsilon", epsilon)?;
        positive("range of the response", response)?;
        ranges
            .iter()
            .try_for_each(|range| positive("range of a column", *range))?;
        Ok(Self {
            epsilon,
            adjacency,
            ranges,
            response,
            noise: NoiseKind::Hardened,
        })
    }

    /// Sets how noise is drawn. Default [`NoiseKind::Hardened`].
    #[must_use]
    pub fn with_noise(mut self, noise: NoiseKind) -> Self {
        self.noise = noise;
        self
    }

    /// By how much all coefficients together change with one row, in L1 norm: each pair of columns and each column with the response once.
    fn sensitivity(&self) -> f64 {
        let d = self.ranges.len() as f64;
        match self.adjacency {
            Adjacency::AddRemove => 0.5 * d * (d + 1.0) + d,
            // Squares differ by at most 1, other products by at most 2.
            Adjacency::Replace => d + d * (d - 1.0) + 2.0 * d,
        }
    }
}

impl PrivateRegressor for FunctionalMechanism {
    fn name(&self) -> &'static str {
        "functional"
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee {
            epsilon: self.epsilon,
            delta: 0.0,
            adjacency: self.adjacency,
            mechanism: "functional-mechanism",
            gdp_mu: None,
            caveat: self.noise.caveat(),
        }
    }

    fn fit(&self, data: &Dataset<'_>, rng: &mut PrivacyRng) -> Result<Release> {
        let d = data.columns();
        if self.ranges.len() != d {
            return Err(Error::ShapeMismatch {
                what: "ranges of columns",
                expected: d,
                found: self.ranges.len(),
            });
        }
        let (mut xx, mut xy) = pass::changed_moments(data, |x, y| {
            x.iter_mut()
                .zip(&self.ranges)
                .for_each(|(x, range)| *x = (*x / range).clamp(-1.0, 1.0));
            *y = (*y / self.response).clamp(-1.0, 1.0);
        })?;
        let scale = self.sensitivity() / self.epsilon * super::SUM_MARGIN;
        for i in 0..d {
            for j in 0..=i {
                let value = rng.add_laplace(xx[i * d + j], scale, self.noise);
                xx[i * d + j] = value;
                xx[j * d + i] = value;
            }
        }
        xy.iter_mut()
            .for_each(|g| *g = rng.add_laplace(*g, scale, self.noise));
        // Eigenvalues below the size of the noise on them say nothing.
        let least = scale;
        let theta =
            Eigen::new(&xx, d)?.apply(&xy, |value| if value > least { 1.0 / value } else { 0.0 });
        let values = theta
            .iter()
            .zip(&self.ranges)
            .map(|(theta, range)| theta * self.response / range)
            .collect();
        let outcome = Outcome::of(values);
        Ok(Release::new(outcome, self.guarantee(), self.noise, rng))
    }
}
