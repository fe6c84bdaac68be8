//! The paper's own algorithm as far as it could be reconstructed (design, section 2.3): for study, **without a guarantee**.

use crate::Adjacency;
use crate::budget::{Guarantee, PrivacyBudget};
use crate::dataset::Dataset;
use crate::error::{Error, Result, check_positive};
use crate::linalg::double::Double;
use crate::linalg::triangular;
use crate::noise::{NoiseKind, PrivacyRng};
use crate::ols::{Accuracy, Fit, WeightedFit};
use crate::refusal;
use crate::regressor::{Outcome, PrivateRegressor, Release};

/// ISSP with the pattern of the paper: leverage thresholds `L/(1 - l/(10k))`, residual thresholds that grow as slowly, scores that add removed rows and
/// levels, and `k = ceil(6 ln(6/delta)/epsilon) + 4`.
///
/// The constant of its noise is not known, its residual thresholds are a guess, and of its refusals only a rule that was refuted is published; so the
/// guarantee says that nothing is promised. It shows how much larger the paper's `k` is than [`Issp`](crate::Issp)'s.
#[derive(Clone, Copy, Debug)]
pub struct PaperProfile {
    budget: PrivacyBudget,
    leverage_bound: f64,
    residual_bound: f64,
    constant: f64,
    noise: NoiseKind,
}

impl PaperProfile {
    /// With bounds as [`PlanInput`](crate::PlanInput)'s and the unknown constant `C` of the noise `c^2 = C L R^2 ln(12/delta)/epsilon^2`.
    ///
    /// # Errors
    /// [`Error::BadParameter`] unless the leverage bound lies between 0 and 1 and the others are positive and finite.
    pub fn new(
        budget: PrivacyBudget,
        leverage_bound: f64,
        residual_bound: f64,
        constant: f64,
    ) -> Result<Self> {
        if !(leverage_bound > 0.0 && leverage_bound < 1.0) {
            return Err(Error::BadParameter {
                name: "leverage_bound",
                value: leverage_bound,
                reason: "must lie between 0 and 1",
            });
        }
        for (name, value) in [("residual_bound", residual_bound), ("constant", constant)] {
            check_positive(name, value)?;
        }
        Ok(Self {
            budget,
            leverage_bound,
            residual_bound,
            constant,
            noise: NoiseKind::Hardened,
        })
    }

    /// Sets how noise is drawn. Default [`NoiseKind::Hardened`].
    #[must_use]
    pub fn with_noise(mut self, noise: NoiseKind) -> Self {
        self.noise = noise;
        self
    }

    /// `k`.
    #[must_use]
    pub fn score_cap(&self) -> usize {
        (6.0 * (6.0 / self.budget.delta()).ln() / self.budget.epsilon()).ceil() as usize + 4
    }

    /// `c`.
    #[must_use]
    pub fn noise_scale(&self) -> f64 {
        (self.constant * self.leverage_bound * (12.0 / self.budget.delta()).ln()).sqrt()
            * self.residual_bound
            / self.budget.epsilon()
    }

    /// Rows removed at every level `0..=2k`, from the highest down; fewer levels where more than `k` are gone.
    fn levels(
        &self,
        fit: &mut Fit<'_>,
        threshold: impl Fn(usize) -> f64,
        offender: impl Fn(&Fit<'_>) -> (usize, f64),
    ) -> Result<Vec<Option<Vec<usize>>>> {
        let k = self.score_cap();
        let mut sets = vec![None; 2 * k + 1];
        for level in (0..=2 * k).rev() {
            loop {
                let (row, size) = offender(fit);
                if size <= threshold(level) {
                    break;
                }
                if fit.removed().len() > k || !fit.remove(row)? {
                    return Ok(sets);
                }
            }
            sets[level] = Some(fit.removed().to_vec());
        }
        Ok(sets)
    }

    fn score(&self, sets: &[Option<Vec<usize>>]) -> usize {
        let k = self.score_cap();
        let at =
            |(level, set): (usize, &Option<Vec<usize>>)| set.as_ref().map(|set| set.len() + level);
        sets.iter()
            .take(k + 1)
            .enumerate()
            .filter_map(at)
            .min()
            .unwrap_or(k)
            .min(k)
    }
}

impl PrivateRegressor for PaperProfile {
    fn name(&self) -> &'static str {
        "issp-paper"
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee {
            epsilon: f64::INFINITY,
            delta: 1.0,
            adjacency: Adjacency::Replace,
            mechanism: "issp-paper",
            gdp_mu: None,
            caveat: Some("a reconstruction for study whose constants are not known"),
        }
    }

    fn fit(&self, data: &Dataset<'_>, rng: &mut PrivacyRng) -> Result<Release> {
        let refused =
            |rng: &PrivacyRng| Release::new(Outcome::Refused, self.guarantee(), self.noise, rng);
        let k = self.score_cap();
        let steps = 10.0 * k as f64;
        let accuracy = Accuracy {
            relative: 1e-7,
            residual: self.residual_bound,
        };
        let Some(mut fit) = Fit::new(data, Vec::new(), accuracy)? else {
            return Ok(refused(rng));
        };
        let leverage = |level: usize| self.leverage_bound / (1.0 - level as f64 / steps);
        let residual = |level: usize| self.residual_bound / (1.0 - level as f64 / steps);
        let by_leverage = self.levels(&mut fit, leverage, |fit| fit.highest_leverage())?;
        let by_residual = self.levels(&mut fit, residual, |fit| fit.largest_residual())?;
        let score = self.score(&by_leverage).max(self.score(&by_residual));
        // Scores change by two between neighbours, so each unit may spend half.
        let (epsilon, delta) = (self.budget.epsilon() / 6.0, self.budget.delta() / 12.0);
        let table = refusal::split(epsilon, delta, 0.0);
        let refusal = table
            .and_then(|table| table.get(score).copied())
            .filter(|_| score < k)
            .unwrap_or(1.0);
        if rng.bernoulli_up(refusal) {
            return Ok(refused(rng));
        }
        let mut weights: Vec<(usize, f64)> = Vec::new();
        for row in by_residual.iter().chain(&by_leverage).flatten().flatten() {
            if let Err(at) = weights.binary_search_by_key(row, |(row, _)| *row) {
                weights.insert(at, (*row, 1.0));
            }
        }
        let share = |sets: &[Option<Vec<usize>>], row: usize| {
            let keeps = |set: &&Option<Vec<usize>>| {
                set.as_ref()
                    .is_some_and(|set| set.binary_search(&row).is_err())
            };
            sets[k + 1..].iter().filter(keeps).count() as f64 / k as f64
        };
        weights.iter_mut().for_each(|(row, weight)| {
            *weight = share(&by_leverage, *row) * share(&by_residual, *row)
        });
        let d = data.columns();
        let Some(fit) = WeightedFit::new(data, &weights, 1e-7, f64::INFINITY, f64::INFINITY)?
        else {
            return Ok(refused(rng));
        };
        let scale = self.noise_scale();
        let noisy: Vec<Double> = fit
            .beta
            .iter()
            .map(|&beta| beta + rng.normal(self.noise).scale(scale))
            .collect();
        let values = triangular::times(&fit.transform, &noisy, d)
            .iter()
            .map(|b| b.to_f64())
            .collect();
        let outcome = Outcome::of(values);
        Ok(Release::new(outcome, self.guarantee(), self.noise, rng))
    }
}
