//! Sufficient statistics perturbation: noise on `X'X` and `X'y`.

use super::solve::{Eigen, inverse};
use super::{RowBounds, SUM_MARGIN, matrix_factor, positive, vector_factor};
use crate::Adjacency;
use crate::accounting::gdp;
use crate::budget::{Guarantee, PrivacyBudget};
use crate::dataset::Dataset;
use crate::error::{Error, Result};
use crate::linalg::pass;
use crate::noise::{NoiseKind, PrivacyRng};
use crate::regressor::{Outcome, PrivateRegressor, Release};

/// Failure probability of AdaSSP's bound on its noise.
const FAILURE: f64 = 0.05;

/// How AdaSSP's noise is calibrated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Calibration {
    /// As published: `sqrt(ln(6/delta)) / (epsilon/3)` sensitivities for each of three releases. Far more noise than needed.
    Original,
    /// By Gaussian differential privacy: `sqrt(3)/mu` sensitivities, with the `mu` that the budget allows. The default.
    #[default]
    Tight,
}

/// Symmetric noise on a matrix of `d d` numbers: one draw for each pair.
fn perturb_matrix(a: &mut [f64], d: usize, scale: f64, noise: NoiseKind, rng: &mut PrivacyRng) {
    for i in 0..d {
        for j in 0..=i {
            let value = rng.add_normal(a[i * d + j], scale, noise);
            a[i * d + j] = value;
            a[j * d + i] = value;
        }
    }
}

fn perturb_vector(g: &mut [f64], scale: f64, noise: NoiseKind, rng: &mut PrivacyRng) {
    g.iter_mut()
        .for_each(|g| *g = rng.add_normal(*g, scale, noise));
}

/// The ridge of AdaSSP: what its bound on the noise of the matrix, of standard deviation `matrix`, exceeds the least eigenvalue by, of which `least` is the
/// release with standard deviation `scale`.
fn adaptive_ridge(d: usize, delta: f64, least: f64, scale: f64, matrix: f64) -> f64 {
    let size = d as f64;
    let tail = (6.0 / delta).ln().sqrt();
    let bound = (size * (2.0 * size * size / FAILURE).ln()).sqrt() * matrix;
    (bound - (least - scale * tail).max(0.0)).max(0.0)
}

/// AdaSSP (Y.-X. Wang 2018, arXiv 1803.02596, algorithm 2): noise on `X'X`, on `X'y` and on the least eigenvalue, which sets the ridge.
///
/// Follows the published pseudocode, not the published program, which adds 1 to all eigenvalues first and has smaller noise off the diagonal. That is
/// for rows that come and go; of replaced rows, `X'X` changes by `sqrt(2) |x|^2`, `X'y` by `2 |x| |y|` and the least eigenvalue by `|x|^2`, at most.
#[derive(Clone, Copy, Debug)]
pub struct AdaSsp {
    budget: PrivacyBudget,
    adjacency: Adjacency,
    bounds: RowBounds,
    calibration: Calibration,
    noise: NoiseKind,
}

impl AdaSsp {
    /// With public bounds, which rows are clipped to.
    ///
    /// # Errors
    /// [`Error::BadParameter`] if the original calibration does not reach the budget (it does not for very large epsilon).
    pub fn new(
        budget: PrivacyBudget,
        adjacency: Adjacency,
        bounds: RowBounds,
        calibration: Calibration,
    ) -> Result<Self> {
        let method = Self {
            budget,
            adjacency,
            bounds,
            calibration,
            noise: NoiseKind::Hardened,
        };
        if gdp::delta(budget.epsilon(), method.total_mu()) > budget.delta() * (1.0 + 1e-9) {
            return Err(Error::BadParameter {
                name: "epsilon",
                value: budget.epsilon(),
                reason: "the original calibration does not reach it",
            });
        }
        Ok(method)
    }

    /// Sets how noise is drawn. Default [`NoiseKind::Hardened`].
    #[must_use]
    pub fn with_noise(mut self, noise: NoiseKind) -> Self {
        self.noise = noise;
        self
    }

    /// The standard deviation of each release, in sensitivities.
    fn sigma(&self) -> f64 {
        match self.calibration {
            Calibration::Original => {
                (6.0 / self.budget.delta()).ln().sqrt() * 3.0 / self.budget.epsilon()
            }
            Calibration::Tight => 3.0_f64.sqrt() / self.budget.gdp_mu(),
        }
    }

    fn total_mu(&self) -> f64 {
        3.0_f64.sqrt() / self.sigma()
    }
}

impl PrivateRegressor for AdaSsp {
    fn name(&self) -> &'static str {
        match self.calibration {
            Calibration::Original => "adassp",
            Calibration::Tight => "adassp-tight",
        }
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee {
            epsilon: self.budget.epsilon(),
            delta: self.budget.delta(),
            adjacency: self.adjacency,
            mechanism: self.name(),
            gdp_mu: Some(self.total_mu()),
            caveat: self.noise.caveat(),
        }
    }

    fn fit(&self, data: &Dataset<'_>, rng: &mut PrivacyRng) -> Result<Release> {
        let d = data.columns();
        let bounds = self.bounds;
        let (mut xx, mut xy) = pass::changed_moments(data, |x, y| bounds.clip(x, y))?;
        let sigma = self.sigma() * SUM_MARGIN;
        let square = bounds.x * bounds.x;
        let least = Eigen::new(&xx, d)?.values[0];
        // An eigenvalue changes by at most |x|^2, replaced rows included.
        let scale = square * sigma;
        let least = rng.add_normal(least, scale, self.noise);
        let matrix = scale * matrix_factor(self.adjacency);
        let ridge = adaptive_ridge(d, self.budget.delta(), least, scale, matrix);
        perturb_matrix(&mut xx, d, matrix, self.noise, rng);
        perturb_vector(
            &mut xy,
            bounds.x * bounds.y * sigma * vector_factor(self.adjacency),
            self.noise,
            rng,
        );
        let values = Eigen::new(&xx, d)?.apply(&xy, |value| inverse(value + ridge));
        Ok(Release::new(
            Outcome::of(values),
            self.guarantee(),
            self.noise,
            rng,
        ))
    }
}

/// Sufficient statistics perturbation with a fixed ridge (D. Vu, A. Slavkovic 2009; as "SSP" in Y.-X. Wang 2018, arXiv 1803.02596): noise on `X'X` and
/// `X'y`, `sqrt(2)/mu` sensitivities each, with the `mu` that the budget allows.
#[derive(Clone, Copy, Debug)]
pub struct Ssp {
    budget: PrivacyBudget,
    adjacency: Adjacency,
    bounds: RowBounds,
    ridge: f64,
    noise: NoiseKind,
}

impl Ssp {
    /// With public bounds and a public ridge.
    ///
    /// # Errors
    /// [`Error::BadParameter`] unless the ridge is positive.
    pub fn new(
        budget: PrivacyBudget,
        adjacency: Adjacency,
        bounds: RowBounds,
        ridge: f64,
    ) -> Result<Self> {
        positive("ridge", ridge)?;
        Ok(Self {
            budget,
            adjacency,
            bounds,
            ridge,
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

impl PrivateRegressor for Ssp {
    fn name(&self) -> &'static str {
        "ssp"
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee {
            epsilon: self.budget.epsilon(),
            delta: self.budget.delta(),
            adjacency: self.adjacency,
            mechanism: "ssp",
            gdp_mu: Some(self.budget.gdp_mu()),
            caveat: self.noise.caveat(),
        }
    }

    fn fit(&self, data: &Dataset<'_>, rng: &mut PrivacyRng) -> Result<Release> {
        let d = data.columns();
        let bounds = self.bounds;
        let (mut xx, mut xy) = pass::changed_moments(data, |x, y| bounds.clip(x, y))?;
        let sigma = 2.0_f64.sqrt() / self.budget.gdp_mu() * SUM_MARGIN;
        perturb_matrix(
            &mut xx,
            d,
            bounds.x * bounds.x * sigma * matrix_factor(self.adjacency),
            self.noise,
            rng,
        );
        perturb_vector(
            &mut xy,
            bounds.x * bounds.y * sigma * vector_factor(self.adjacency),
            self.noise,
            rng,
        );
        let values = Eigen::new(&xx, d)?.apply(&xy, |value| inverse(value + self.ridge));
        Ok(Release::new(
            Outcome::of(values),
            self.guarantee(),
            self.noise,
            rng,
        ))
    }
}

/// The ridge of [`BoostedAdaSsp`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BoostedRidge {
    /// As AdaSSP: what its bound on the noise exceeds the noisy least eigenvalue by. The default.
    #[default]
    Adaptive,
    /// The noisy least eigenvalue itself, if it is positive, as the program in google-research (`private_kendall/boosted_adassp.py`) has it.
    NoisyEigenvalue,
}

/// Boosted AdaSSP (S. Tang et al. 2023, arXiv 2303.03451, algorithm 1): a noisy `X'X`, then gradients of clipped residuals with noise, preconditioned
/// with it.
///
/// `mu^2` is shared evenly among `X'X`, its least eigenvalue and all gradients together. The ridge is [`AdaSsp`]'s, where the authors' program has 1.96
/// for both roots of logarithms. The noise of that program, `mu` sensitivities in every release, is not followed: privacy needs a multiple of `1/mu`.
#[derive(Clone, Copy, Debug)]
pub struct BoostedAdaSsp {
    budget: PrivacyBudget,
    adjacency: Adjacency,
    bounds: RowBounds,
    rounds: usize,
    clip: f64,
    ridge: BoostedRidge,
    noise: NoiseKind,
}

impl BoostedAdaSsp {
    /// With 100 rounds and residuals clipped to the response's bound, as published.
    #[must_use]
    pub fn new(budget: PrivacyBudget, adjacency: Adjacency, bounds: RowBounds) -> Self {
        Self {
            budget,
            adjacency,
            bounds,
            rounds: 100,
            clip: 1.0,
            ridge: BoostedRidge::Adaptive,
            noise: NoiseKind::Hardened,
        }
    }

    /// Sets the rounds and what residuals are clipped to, in bounds of the response.
    ///
    /// # Errors
    /// [`Error::BadParameter`] unless both are positive.
    pub fn with_rounds(mut self, rounds: usize, clip: f64) -> Result<Self> {
        positive("rounds", rounds as f64)?;
        positive("clip", clip)?;
        (self.rounds, self.clip) = (rounds, clip);
        Ok(self)
    }

    /// Sets the ridge.
    #[must_use]
    pub fn with_ridge(mut self, ridge: BoostedRidge) -> Self {
        self.ridge = ridge;
        self
    }

    /// Sets how noise is drawn. Default [`NoiseKind::Hardened`].
    #[must_use]
    pub fn with_noise(mut self, noise: NoiseKind) -> Self {
        self.noise = noise;
        self
    }
}

impl PrivateRegressor for BoostedAdaSsp {
    fn name(&self) -> &'static str {
        "boosted"
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee {
            epsilon: self.budget.epsilon(),
            delta: self.budget.delta(),
            adjacency: self.adjacency,
            mechanism: "boosted-adassp",
            gdp_mu: Some(self.budget.gdp_mu()),
            caveat: self.noise.caveat(),
        }
    }

    fn fit(&self, data: &Dataset<'_>, rng: &mut PrivacyRng) -> Result<Release> {
        let d = data.columns();
        let bounds = self.bounds;
        // In units of the bounds, rows have length 1 at most.
        let unit = move |x: &mut [f64]| {
            clip_and_scale(x, bounds.x);
        };
        let (mut xx, _) = pass::changed_moments(data, |x, _| unit(x))?;
        let sigma = 3.0_f64.sqrt() / self.budget.gdp_mu() * SUM_MARGIN;
        let matrix = sigma * matrix_factor(self.adjacency);
        let noisy = rng.add_normal(Eigen::new(&xx, d)?.values[0], sigma, self.noise);
        let ridge = match self.ridge {
            BoostedRidge::Adaptive => adaptive_ridge(d, self.budget.delta(), noisy, sigma, matrix),
            BoostedRidge::NoisyEigenvalue => noisy.max(0.0),
        };
        perturb_matrix(&mut xx, d, matrix, self.noise, rng);
        let eigen = Eigen::new(&xx, d)?;
        let scale = sigma * (self.rounds as f64).sqrt() * self.clip * vector_factor(self.adjacency);
        let mut theta = vec![0.0; d];
        for _ in 0..self.rounds {
            let mut gradient = pass::sum_rows(data, d, |_, x, y, sum| {
                let mut x = x.to_vec();
                unit(&mut x);
                let fit: f64 = x.iter().zip(&theta).map(|(x, b)| x * b).sum();
                let residual = (y / bounds.y - fit).clamp(-self.clip, self.clip);
                x.iter().zip(sum).for_each(|(x, sum)| *sum += x * residual);
            })?;
            perturb_vector(&mut gradient, scale, self.noise, rng);
            let step = eigen.apply(&gradient, |value| inverse(value + ridge));
            theta
                .iter_mut()
                .zip(step)
                .for_each(|(theta, step)| *theta += step);
        }
        let values = theta
            .iter()
            .map(|theta| theta * bounds.y / bounds.x)
            .collect();
        Ok(Release::new(
            Outcome::of(values),
            self.guarantee(),
            self.noise,
            rng,
        ))
    }
}

fn clip_and_scale(x: &mut [f64], bound: f64) {
    super::clip_length(x, bound);
    x.iter_mut().for_each(|x| *x /= bound);
}
