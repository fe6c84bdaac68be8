//! Private gradient descent: noise on sums of clipped gradients.

use super::{SUM_MARGIN, clip_length, positive, vector_factor};
use crate::Adjacency;
use crate::accounting::rdp;
use crate::budget::{Guarantee, PrivacyBudget};
use crate::dataset::Dataset;
use crate::error::{Error, Result};
use crate::linalg::pass;
use crate::noise::{NoiseKind, PrivacyRng};
use crate::regressor::{Outcome, PrivateRegressor, Release};

/// Public scales of columns and response, which gradients are computed in units of.
fn check_scales(columns: &[f64], response: f64) -> Result<()> {
    columns
        .iter()
        .try_for_each(|scale| positive("scale of a column", *scale))?;
    positive("scale of the response", response)
}

fn check_columns(scales: &[f64], data: &Dataset<'_>) -> Result<()> {
    if scales.len() == data.columns() {
        return Ok(());
    }
    Err(Error::ShapeMismatch {
        what: "scales of columns",
        expected: data.columns(),
        found: scales.len(),
    })
}

/// Scaled numbers and residuals are cut off here, so that no gradient overflows: one that did could not be clipped.
const LARGEST: f64 = 1e150;

/// The sum of clipped gradients `x (x'theta - y)` in units of the scales, over the rows that `takes` part.
fn clipped_gradient(
    data: &Dataset<'_>,
    scales: &[f64],
    response: f64,
    theta: &[f64],
    clip: f64,
    takes: impl Fn(usize) -> bool + Sync,
) -> Result<Vec<f64>> {
    pass::sum_rows(data, theta.len(), |row, x, y, sum| {
        if !takes(row) {
            return;
        }
        let scaled = |value: f64, scale: f64| (value / scale).clamp(-LARGEST, LARGEST);
        let mut gradient: Vec<f64> = x.iter().zip(scales).map(|(x, s)| scaled(*x, *s)).collect();
        let fit: f64 = gradient.iter().zip(theta).map(|(x, b)| x * b).sum();
        let residual = fit - scaled(y, response);
        if residual.is_nan() {
            return;
        }
        let residual = residual.clamp(-LARGEST, LARGEST);
        gradient.iter_mut().for_each(|x| *x *= residual);
        clip_length(&mut gradient, clip);
        gradient.iter().zip(sum).for_each(|(g, sum)| *sum += g);
    })
}

fn unscaled(theta: &[f64], scales: &[f64], response: f64) -> Outcome {
    let values = theta
        .iter()
        .zip(scales)
        .map(|(theta, scale)| theta * response / scale)
        .collect();
    Outcome::of(values)
}

/// Full-batch private gradient descent (G. Brown, K. Dvijotham, G. Evans, D. Liu, A. Smith, A. Thakurta, ICML 2024, arXiv 2402.13531).
///
/// Columns and response are divided by public scales, gradients of rows clipped to a length, and every step gets Gaussian noise. Steps, their length and
/// clipping are those of the authors' experiments (20, 1/5, and 3 to 5 `sqrt(d)`); the noise is calibrated by Gaussian differential privacy:
/// `sqrt(steps)/mu` sensitivities, where that of a sum is the clipping length, or twice it if rows are replaced.
#[derive(Clone, Debug)]
pub struct DpGd {
    budget: PrivacyBudget,
    adjacency: Adjacency,
    scales: Vec<f64>,
    response: f64,
    rows: Option<f64>,
    steps: usize,
    step: f64,
    clip: f64,
    noise: NoiseKind,
}

impl DpGd {
    /// With public scales of the columns (about their standard deviations) and of the response. 20 steps of 1/5, gradients clipped to `4 sqrt(d)`.
    ///
    /// # Errors
    /// [`Error::BadParameter`] unless all scales are positive.
    pub fn new(
        budget: PrivacyBudget,
        adjacency: Adjacency,
        scales: Vec<f64>,
        response: f64,
    ) -> Result<Self> {
        check_scales(&scales, response)?;
        let clip = 4.0 * (scales.len() as f64).sqrt();
        Ok(Self {
            budget,
            adjacency,
            scales,
            response,
            rows: None,
            steps: 20,
            step: 0.2,
            clip,
            noise: NoiseKind::Hardened,
        })
    }

    /// Sets the number of steps, their length, and what gradients are clipped to.
    ///
    /// # Errors
    /// [`Error::BadParameter`] unless all are positive.
    pub fn with_steps(mut self, steps: usize, step: f64, clip: f64) -> Result<Self> {
        positive("steps", steps as f64)?;
        positive("step", step)?;
        positive("clip", clip)?;
        (self.steps, self.step, self.clip) = (steps, step, clip);
        Ok(self)
    }

    /// Sets a public guess of the number of rows, which sums are divided by. Needed where rows come and go; otherwise the number itself is public.
    ///
    /// # Errors
    /// [`Error::BadParameter`] unless it is positive.
    pub fn with_rows(mut self, rows: f64) -> Result<Self> {
        positive("rows", rows)?;
        self.rows = Some(rows);
        Ok(self)
    }

    /// Sets how noise is drawn. Default [`NoiseKind::Hardened`].
    #[must_use]
    pub fn with_noise(mut self, noise: NoiseKind) -> Self {
        self.noise = noise;
        self
    }
}

impl PrivateRegressor for DpGd {
    fn name(&self) -> &'static str {
        "dp-gd"
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee {
            epsilon: self.budget.epsilon(),
            delta: self.budget.delta(),
            adjacency: self.adjacency,
            mechanism: "dp-gd",
            gdp_mu: Some(self.budget.gdp_mu()),
            caveat: self.noise.caveat(),
        }
    }

    fn fit(&self, data: &Dataset<'_>, rng: &mut PrivacyRng) -> Result<Release> {
        check_columns(&self.scales, data)?;
        let rows = match (self.rows, self.adjacency) {
            (Some(rows), _) => rows,
            (None, Adjacency::Replace) => data.rows().max(1) as f64,
            (None, Adjacency::AddRemove) => {
                return Err(Error::BadParameter {
                    name: "rows",
                    value: 0.0,
                    reason: "where rows come and go, give a public guess",
                });
            }
        };
        let scale = vector_factor(self.adjacency) * self.clip * (self.steps as f64).sqrt()
            / self.budget.gdp_mu()
            * SUM_MARGIN;
        let mut theta = vec![0.0; data.columns()];
        for _ in 0..self.steps {
            let sum =
                clipped_gradient(data, &self.scales, self.response, &theta, self.clip, |_| {
                    true
                })?;
            for (theta, sum) in theta.iter_mut().zip(sum) {
                *theta -= self.step / rows * rng.add_normal(sum, scale, self.noise);
            }
        }
        let outcome = unscaled(&theta, &self.scales, self.response);
        Ok(Release::new(outcome, self.guarantee(), self.noise, rng))
    }
}

/// Private stochastic gradient descent with Poisson samples (M. Abadi et al. 2016), accounted for by Rényi divergences of the sampled Gaussian mechanism.
/// For rows that come and go only. Sums are divided by the expected number of rows in a sample, not by the number itself, which is private.
#[derive(Clone, Debug)]
pub struct DpSgd {
    budget: PrivacyBudget,
    scales: Vec<f64>,
    response: f64,
    rows: f64,
    rate: f64,
    steps: usize,
    step: f64,
    clip: f64,
    sigma: f64,
    noise: NoiseKind,
}

impl DpSgd {
    /// With public scales as [`DpGd`], a public guess of the number of rows, and the probability `rate` with which a row takes part in each of `steps` steps
    /// of length 1/5. Gradients are clipped to `4 sqrt(d)`.
    ///
    /// # Errors
    /// [`Error::BadParameter`] for scales, rows, rates or steps without a meaning, [`Error::UnsupportedAdjacency`] for replaced rows.
    pub fn new(
        budget: PrivacyBudget,
        adjacency: Adjacency,
        scales: Vec<f64>,
        response: f64,
        rows: f64,
        rate: f64,
        steps: usize,
    ) -> Result<Self> {
        if adjacency != Adjacency::AddRemove {
            return Err(Error::UnsupportedAdjacency {
                method: "dp-sgd",
                adjacency,
            });
        }
        check_scales(&scales, response)?;
        positive("rows", rows)?;
        positive("steps", steps as f64)?;
        let sigma = rdp::sampled_gaussian_noise(budget.epsilon(), budget.delta(), rate, steps)?;
        let clip = 4.0 * (scales.len() as f64).sqrt();
        Ok(Self {
            budget,
            scales,
            response,
            rows,
            rate,
            steps,
            step: 0.2,
            clip,
            sigma,
            noise: NoiseKind::Hardened,
        })
    }

    /// Sets how noise is drawn. Default [`NoiseKind::Hardened`].
    #[must_use]
    pub fn with_noise(mut self, noise: NoiseKind) -> Self {
        self.noise = noise;
        self
    }

    /// The standard deviation of the noise of a step, in clipping lengths.
    #[must_use]
    pub fn sigma(&self) -> f64 {
        self.sigma
    }
}

impl PrivateRegressor for DpSgd {
    fn name(&self) -> &'static str {
        "dp-sgd"
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee {
            epsilon: self.budget.epsilon(),
            delta: self.budget.delta(),
            adjacency: Adjacency::AddRemove,
            mechanism: "dp-sgd",
            gdp_mu: None,
            caveat: self.noise.caveat(),
        }
    }

    fn fit(&self, data: &Dataset<'_>, rng: &mut PrivacyRng) -> Result<Release> {
        check_columns(&self.scales, data)?;
        let scale = self.clip * self.sigma * SUM_MARGIN;
        let mut theta = vec![0.0; data.columns()];
        for _ in 0..self.steps {
            let takes: Vec<bool> = (0..data.rows())
                .map(|_| rng.uniform() < self.rate)
                .collect();
            let sum = clipped_gradient(
                data,
                &self.scales,
                self.response,
                &theta,
                self.clip,
                |row| takes[row],
            )?;
            for (theta, sum) in theta.iter_mut().zip(sum) {
                *theta -=
                    self.step / (self.rate * self.rows) * rng.add_normal(sum, scale, self.noise);
            }
        }
        let outcome = unscaled(&theta, &self.scales, self.response);
        Ok(Release::new(outcome, self.guarantee(), self.noise, rng))
    }
}
