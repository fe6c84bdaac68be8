//! Private gradient descent that finds its own clipping thresholds.

use super::{SUM_MARGIN, clip_length, matrix_factor, positive, vector_factor};
use crate::Adjacency;
use crate::budget::{Guarantee, PrivacyBudget};
use crate::dataset::Dataset;
use crate::error::{Error, Result};
use crate::linalg::pass;
use crate::noise::{NoiseKind, PrivacyRng};
use crate::regressor::{Outcome, PrivateRegressor, Release};

/// Powers of two that sizes are sorted into: 2^-64 to 2^64.
const BINS: usize = 129;
/// The share of rows whose length is not clipped, and that of residuals.
const LENGTH_QUANTILE: f64 = 0.99;
const RESIDUAL_QUANTILE: f64 = 0.9;
/// Shares of `mu^2` for lengths, residuals and gradients.
const SHARES: [f64; 3] = [0.05, 0.25, 0.7];

const CAVEAT: &str =
    "private by its own calibration; the paper's thresholds, steps and constants are not followed";

/// About a quantile of the sizes of rows that take part, within a factor of two, from a histogram on powers of two with Gaussian noise: `mu`-GDP.
/// Bins that do not stand out of the noise count as empty; 1 if all are.
fn private_quantile(
    data: &Dataset<'_>,
    size: impl Fn(usize, &[f64], f64) -> Option<f64> + Sync,
    quantile: f64,
    release: &Noise,
    rng: &mut PrivacyRng,
) -> Result<f64> {
    let mut counts = pass::sum_rows(data, BINS, |row, x, y, sum| {
        if let Some(size) = size(row, x, y) {
            let bin = (size.log2().ceil() + 64.0).clamp(0.0, (BINS - 1) as f64);
            sum[if bin.is_nan() { 0 } else { bin as usize }] += 1.0;
        }
    })?;
    // A replaced row leaves one bin for another.
    let scale = matrix_factor(release.adjacency) / release.mu;
    // Of so many bins, noise alone lifts one above six deviations once in eight million histograms.
    for count in &mut counts {
        let noisy = rng.add_normal(*count, scale, release.kind);
        *count = if noisy > 6.0 * scale { noisy } else { 0.0 };
    }
    let total: f64 = counts.iter().sum();
    let mut below = 0.0;
    let chosen = counts.iter().position(|count| {
        below += count;
        *count > 0.0 && below >= quantile * total
    });
    Ok(chosen.map_or(1.0, |bin| (bin as f64 - 64.0).exp2()))
}

/// One release of Gaussian noise.
struct Noise {
    mu: f64,
    adjacency: Adjacency,
    kind: NoiseKind,
}

/// The sum of clipped gradients `x clip(x'theta - y)` over rows that take part.
fn gradient(
    data: &Dataset<'_>,
    theta: &[f64],
    length: f64,
    residual: f64,
    takes: impl Fn(usize) -> bool + Sync,
) -> Result<Vec<f64>> {
    pass::sum_rows(data, theta.len(), |row, x, y, sum| {
        if takes(row) {
            let mut x = x.to_vec();
            clip_length(&mut x, length);
            let e = (x.iter().zip(theta).map(|(x, b)| x * b).sum::<f64>() - y)
                .clamp(-residual, residual);
            x.iter().zip(sum).for_each(|(x, sum)| *sum += x * e);
        }
    })
}

fn residual_of(x: &[f64], y: f64, theta: &[f64], length: f64) -> f64 {
    let mut x = x.to_vec();
    clip_length(&mut x, length);
    (x.iter().zip(theta).map(|(x, b)| x * b).sum::<f64>() - y).abs()
}

fn length(x: &[f64]) -> f64 {
    x.iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// Public settings that both methods share.
#[derive(Clone, Copy, Debug)]
struct Settings {
    budget: PrivacyBudget,
    adjacency: Adjacency,
    rows: Option<f64>,
    steps: usize,
    step: f64,
    noise: NoiseKind,
}

impl Settings {
    fn new(budget: PrivacyBudget, adjacency: Adjacency, steps: usize) -> Self {
        Self {
            budget,
            adjacency,
            rows: None,
            steps,
            step: 0.5,
            noise: NoiseKind::Hardened,
        }
    }

    fn rows(&self, data: &Dataset<'_>) -> Result<f64> {
        match (self.rows, self.adjacency) {
            (Some(rows), _) => Ok(rows),
            (None, Adjacency::Replace) => Ok(data.rows().max(1) as f64),
            (None, Adjacency::AddRemove) => Err(Error::BadParameter {
                name: "rows",
                value: 0.0,
                reason: "where rows come and go, give a public guess",
            }),
        }
    }

    fn release(&self, mu: f64) -> Noise {
        Noise {
            mu,
            adjacency: self.adjacency,
            kind: self.noise,
        }
    }

    fn guarantee(&self, mechanism: &'static str) -> Guarantee {
        Guarantee {
            epsilon: self.budget.epsilon(),
            delta: self.budget.delta(),
            adjacency: self.adjacency,
            mechanism,
            gdp_mu: Some(self.budget.gdp_mu()),
            caveat: Some(CAVEAT),
        }
    }
}

macro_rules! settings {
    () => {
        /// Sets a public guess of the number of rows. Needed where rows come and go.
        ///
        /// # Errors
        /// [`Error::BadParameter`] unless it is positive.
        pub fn with_rows(mut self, rows: f64) -> Result<Self> {
            positive("rows", rows)?;
            self.0.rows = Some(rows);
            Ok(self)
        }

        /// Sets the number of steps, and their length in units of the inverse mean eigenvalue of the second moments.
        ///
        /// # Errors
        /// [`Error::BadParameter`] unless both are positive.
        pub fn with_steps(mut self, steps: usize, step: f64) -> Result<Self> {
            positive("steps", steps as f64)?;
            positive("step", step)?;
            (self.0.steps, self.0.step) = (steps, step);
            Ok(self)
        }

        /// Sets how noise is drawn. Default [`NoiseKind::Hardened`].
        #[must_use]
        pub fn with_noise(mut self, noise: NoiseKind) -> Self {
            self.0.noise = noise;
            self
        }
    };
}

/// Full-batch gradient descent in which rows are clipped to a privately found length and residuals to a privately found size, anew at every step
/// (after X. Liu, P. Jain, W. Kong, S. Oh, A. Suggala, NeurIPS 2023, arXiv 2301.13273).
///
/// Of the paper, only this outline. `mu^2` is shared among the histogram of lengths, those of residuals, and the gradients; a step's gradient
/// changes by the product of both thresholds when a row comes or goes, by twice it when one is replaced.
#[derive(Clone, Copy, Debug)]
pub struct RobustGd(Settings);

impl RobustGd {
    /// With 20 steps.
    #[must_use]
    pub fn new(budget: PrivacyBudget, adjacency: Adjacency) -> Self {
        Self(Settings::new(budget, adjacency, 20))
    }

    settings!();
}

impl PrivateRegressor for RobustGd {
    fn name(&self) -> &'static str {
        "robust-gd"
    }

    fn guarantee(&self) -> Guarantee {
        self.0.guarantee("robust-gd")
    }

    fn fit(&self, data: &Dataset<'_>, rng: &mut PrivacyRng) -> Result<Release> {
        let settings = &self.0;
        let (rows, d) = (settings.rows(data)?, data.columns());
        let mu = settings.budget.gdp_mu();
        let each = (settings.steps as f64).sqrt();
        let [mu_length, mu_residual, mu_gradient] = SHARES.map(|share| mu * share.sqrt());
        let bound = private_quantile(
            data,
            |_, x, _| Some(length(x)),
            LENGTH_QUANTILE,
            &settings.release(mu_length),
            rng,
        )?;
        let step = settings.step * d as f64 / (bound * bound);
        let mut theta = vec![0.0; d];
        for _ in 0..settings.steps {
            let clip = private_quantile(
                data,
                |_, x, y| Some(residual_of(x, y, &theta, bound)),
                RESIDUAL_QUANTILE,
                &settings.release(mu_residual / each),
                rng,
            )?;
            let sum = gradient(data, &theta, bound, clip, |_| true)?;
            let scale =
                vector_factor(settings.adjacency) * bound * clip * each / mu_gradient * SUM_MARGIN;
            for (theta, sum) in theta.iter_mut().zip(sum) {
                *theta -= step / rows * rng.add_normal(sum, scale, settings.noise);
            }
        }
        let outcome = Outcome::of(theta);
        Ok(Release::new(outcome, self.guarantee(), settings.noise, rng))
    }
}

/// One pass of stochastic gradient descent: every row lands in one batch by chance, so that each batch may spend the whole budget, on a threshold for
/// its residuals and on its gradient (after P. Varshney, A. Thakurta, P. Jain, COLT 2022, arXiv 2207.04686). The last half of the iterates is averaged.
///
/// Of the paper, only this outline. Batches are dealt without regard to content and row by row, so that their sizes are random and a row is in the same
/// batch whatever others there are: given the batches, a row changes the releases of its own only.
#[derive(Clone, Copy, Debug)]
pub struct AdaClipSgd(Settings);

impl AdaClipSgd {
    /// With 40 steps, and one batch more that finds the length that rows are clipped to.
    #[must_use]
    pub fn new(budget: PrivacyBudget, adjacency: Adjacency) -> Self {
        Self(Settings::new(budget, adjacency, 40))
    }

    settings!();
}

impl PrivateRegressor for AdaClipSgd {
    fn name(&self) -> &'static str {
        "ada-clip-sgd"
    }

    fn guarantee(&self) -> Guarantee {
        self.0.guarantee("ada-clip-sgd")
    }

    fn fit(&self, data: &Dataset<'_>, rng: &mut PrivacyRng) -> Result<Release> {
        let settings = &self.0;
        let batches = settings.steps as u64 + 1;
        let (batch_rows, d) = (settings.rows(data)? / batches as f64, data.columns());
        let mu = settings.budget.gdp_mu();
        let half = mu * 0.5_f64.sqrt();
        let batch: Vec<u64> = (0..data.rows()).map(|_| rng.below(batches)).collect();
        let first = |row: usize, x: &[f64], _: f64| (batch[row] == 0).then(|| length(x));
        let bound = private_quantile(data, first, LENGTH_QUANTILE, &settings.release(mu), rng)?;
        let step = settings.step * d as f64 / (bound * bound);
        let (mut theta, mut mean, mut counted) = (vec![0.0; d], vec![0.0; d], 0.0);
        for index in 1..batches {
            let own = |row: usize, x: &[f64], y: f64| {
                (batch[row] == index).then(|| residual_of(x, y, &theta, bound))
            };
            let clip =
                private_quantile(data, own, RESIDUAL_QUANTILE, &settings.release(half), rng)?;
            let sum = gradient(data, &theta, bound, clip, |row| batch[row] == index)?;
            let scale = vector_factor(settings.adjacency) * bound * clip / half * SUM_MARGIN;
            for (theta, sum) in theta.iter_mut().zip(sum) {
                *theta -= step / batch_rows * rng.add_normal(sum, scale, settings.noise);
            }
            if 2 * index > settings.steps as u64 {
                mean.iter_mut()
                    .zip(&theta)
                    .for_each(|(mean, theta)| *mean += theta);
                counted += 1.0;
            }
        }
        let values = mean.iter().map(|mean| mean / counted).collect();
        let outcome = Outcome::of(values);
        Ok(Release::new(outcome, self.guarantee(), settings.noise, rng))
    }
}
