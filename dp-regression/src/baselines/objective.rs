//! Objective perturbation: the exact minimum of an objective with a random linear term.

use super::solve::{Eigen, inverse};
use super::{RowBounds, SUM_MARGIN, positive, vector_factor};
use crate::Adjacency;
use crate::budget::{Guarantee, PrivacyBudget};
use crate::dataset::Dataset;
use crate::error::Result;
use crate::linalg::pass;
use crate::noise::{NoiseKind, PrivacyRng};
use crate::regressor::{Outcome, PrivateRegressor, Release};

/// Objective perturbation (D. Kifer, A. Smith, A. Thakurta 2012, algorithm 1): the minimum of `sum (y - x'b)^2/2 + (Lambda/2) |b|^2 + z'b` over a ball,
/// with `z` Gaussian of standard deviation `zeta sqrt(8 ln(2/delta) + 4 epsilon)/epsilon` and `Lambda = 2 lambda/epsilon`, for second derivatives of
/// a row of at most `lambda = |x|^2` and sums that change by gradients of length at most `zeta` in the ball: that of a row, or twice it if rows are
/// replaced.
///
/// **Why it is private.** A smooth barrier instead of the ball first; its limit is the ball. Then the minimum determines `z`, and densities on neighbours
/// differ by two factors. The determinant of the second derivatives: by `1 + lambda/Lambda <= exp(epsilon/2)`, as that of either table is at least
/// that of the rows they share. The density of `z`, which moves by `u` of length at most `zeta` along one row, or two if rows are replaced: by
/// `exp((|z'u| + |u|^2/2)/s^2)`, where `|z'u| <= zeta s sqrt(2 ln(2/delta))` but for a probability of `delta/2` a row; at most `exp(epsilon/2)` with this
/// standard deviation `s`.
///
/// The proof is about the exact minimum. Here it is computed in 53 bits.
#[derive(Clone, Copy, Debug)]
pub struct ObjectivePerturbation {
    budget: PrivacyBudget,
    adjacency: Adjacency,
    bounds: RowBounds,
    radius: f64,
    noise: NoiseKind,
}

impl ObjectivePerturbation {
    /// With public bounds, which rows are clipped to, and the radius of the ball of coefficients.
    ///
    /// # Errors
    /// [`BadParameter`](crate::Error::BadParameter) unless the radius is positive.
    pub fn new(
        budget: PrivacyBudget,
        adjacency: Adjacency,
        bounds: RowBounds,
        radius: f64,
    ) -> Result<Self> {
        positive("radius", radius)?;
        Ok(Self {
            budget,
            adjacency,
            bounds,
            radius,
            noise: NoiseKind::Hardened,
        })
    }

    /// Sets how noise is drawn. Default [`NoiseKind::Hardened`].
    #[must_use]
    pub fn with_noise(mut self, noise: NoiseKind) -> Self {
        self.noise = noise;
        self
    }
}

impl PrivateRegressor for ObjectivePerturbation {
    fn name(&self) -> &'static str {
        "objective"
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee {
            epsilon: self.budget.epsilon(),
            delta: self.budget.delta(),
            adjacency: self.adjacency,
            mechanism: "objective-perturbation",
            gdp_mu: None,
            caveat: Some("its minimum is computed in 53 bits, and the proof wants the exact one"),
        }
    }

    fn fit(&self, data: &Dataset<'_>, rng: &mut PrivacyRng) -> Result<Release> {
        let (d, bounds) = (data.columns(), self.bounds);
        let (epsilon, delta) = (self.budget.epsilon(), self.budget.delta());
        let (xx, mut g) = pass::changed_moments(data, |x, y| bounds.clip(x, y))?;
        let gradient = vector_factor(self.adjacency)
            * bounds.x
            * (bounds.y + bounds.x * self.radius)
            * SUM_MARGIN;
        // The same for rows that are replaced: what they have in common is convex enough.
        let ridge = 2.0 * bounds.x * bounds.x / epsilon;
        let scale = gradient * (8.0 * (2.0 / delta).ln() + 4.0 * epsilon).sqrt() / epsilon;
        g.iter_mut()
            .for_each(|g| *g = rng.add_normal(*g, scale, self.noise));
        let eigen = Eigen::new(&xx, d)?;
        // On the ball: the least further ridge with which the minimum lies inside.
        let at = |more: f64| eigen.apply(&g, |value| inverse(value.max(0.0) + ridge + more));
        let length = |b: &[f64]| b.iter().map(|b| b * b).sum::<f64>().sqrt();
        let mut values = at(0.0);
        if length(&values) > self.radius {
            let (mut low, mut high) = (0.0, ridge);
            while length(&at(high)) > self.radius {
                low = high;
                high *= 2.0;
            }
            for _ in 0..200 {
                let middle = 0.5 * (low + high);
                if length(&at(middle)) > self.radius {
                    low = middle
                } else {
                    high = middle
                }
            }
            values = at(high);
        }
        let outcome = Outcome::of(values);
        Ok(Release::new(outcome, self.guarantee(), self.noise, rng))
    }
}
