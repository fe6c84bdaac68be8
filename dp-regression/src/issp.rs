//! Insufficient-statistics perturbation: least squares on rows that the filter keeps, with noise shaped like the inverse of their second moments.

use crate::Adjacency;
use crate::audit::law::{GaussianLaw, OutputLaw};
use crate::budget::Guarantee;
use crate::dataset::Dataset;
use crate::error::{Error, Result};
use crate::filter::{self, LevelSets};
use crate::ladder::{CENTER_ALLOWANCE, SHAPE_ALLOWANCE};
use crate::linalg::double::Double;
use crate::linalg::triangular;
use crate::noise::{NoiseKind, PrivacyRng};
use crate::ols::{Fit, WeightedFit};
use crate::plan::{Plan, PlanInput, rounding_delta};
use crate::regressor::{Coefficients, Outcome, PrivateRegressor, Release};

/// Columns up to which the error of computed shapes stays within what the ladder allows for.
const MOST_COLUMNS: usize = 1024;

/// Insufficient-statistics perturbation, the crate's main method (ISSP-T of the guide).
///
/// 1. [`filter::one_pass`] finds which rows are kept at every level, and with them the score `s`.
/// 2. The table is refused with probability `f[s]`.
/// 3. Otherwise least squares with weights `w`, and noise: `beta + c S^{-1/2} z`, `S = sum w_i x_i x_i'`, `z` standard normal.
///
/// On a table whose leverages are at most `L` and residuals at most `R` this is exactly least squares plus `N(0, c^2 (X'X)^-1)`, with probability
/// `1 - eta`. The error does not depend on how columns are scaled or correlated: any invertible linear change of the columns changes the
/// released coefficients as it changes those of least squares.
///
/// The guarantee holds for the computed numbers as long as double-double arithmetic (106 bits) suffices for the table and its neighbours: to find the
/// rank of the rows that are left, their residuals, and the released fit. Tables beyond that are refused whatever their score, which is not covered by the
/// proof.
#[derive(Clone, Debug)]
pub struct Issp {
    plan: Plan,
    noise: NoiseKind,
}

impl Issp {
    /// The method for a budget, a leverage bound and a residual bound, with the defaults of [`PlanInput::new`].
    ///
    /// # Errors
    /// Those of [`Plan::search`].
    pub fn new(input: &PlanInput) -> Result<Self> {
        Plan::search(input).map(Self::with_plan)
    }

    /// The method by a plan.
    #[must_use]
    pub fn with_plan(plan: Plan) -> Self {
        Self {
            plan,
            noise: NoiseKind::Hardened,
        }
    }

    /// Sets how noise is drawn. Default [`NoiseKind::Hardened`].
    #[must_use]
    pub fn with_noise(mut self, noise: NoiseKind) -> Self {
        self.noise = noise;
        self
    }

    /// The plan.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The score of a table. **Not private**: for audits.
    ///
    /// # Errors
    /// Those of reading the table.
    pub fn score(&self, data: &Dataset<'_>) -> Result<usize> {
        Ok(filter::one_pass(data, self.plan.ladder())?.score(self.plan.score_cap()))
    }

    /// The distribution of what [`fit`](PrivateRegressor::fit) answers for this table. **Not private**: for audits.
    ///
    /// # Errors
    /// Those of [`fit`](PrivateRegressor::fit).
    pub fn output_law(&self, data: &Dataset<'_>) -> Result<OutputLaw> {
        self.check_sizes(data)?;
        let (levels, fit) = filter::levels_with_fit(data, self.plan.ladder())?;
        let refusal = self.plan.refusal()[levels.score(self.plan.score_cap())];
        if refusal >= 1.0 {
            return Ok(OutputLaw::refused());
        }
        Ok(match self.weighted_fit(data, &levels, fit)? {
            Some(fit) => OutputLaw {
                refusal,
                gaussian: Some(self.law(&fit, data.columns())),
            },
            None => OutputLaw::refused(),
        })
    }

    fn law(&self, fit: &WeightedFit, d: usize) -> GaussianLaw {
        let mean = triangular::times(&fit.transform, &fit.beta, d);
        let scale = self.plan.noise_scale();
        GaussianLaw {
            mean: mean.iter().map(|b| b.to_f64()).collect(),
            factor: fit.transform.iter().map(|t| t.to_f64() * scale).collect(),
        }
    }

    fn weighted_fit(
        &self,
        data: &Dataset<'_>,
        levels: &LevelSets,
        fit: Option<Fit<'_>>,
    ) -> Result<Option<WeightedFit>> {
        let ladder = self.plan.ladder();
        let weights = levels.weights(self.plan.score_cap());
        let (center, shape) = (
            0.25 * CENTER_ALLOWANCE * ladder.center_shift(),
            0.4 * SHAPE_ALLOWANCE,
        );
        // A clean table has been fitted already.
        let known = fit
            .filter(|_| weights.is_empty())
            .and_then(|fit| fit.release(center, shape));
        match known {
            Some(fit) => Ok(Some(fit)),
            None => {
                let relative = ladder.input().relative_error.max(1e-9);
                WeightedFit::new(data, &weights, relative, center, shape)
            }
        }
    }

    /// Checks what is public about a table.
    pub(crate) fn check_sizes(&self, data: &Dataset<'_>) -> Result<()> {
        let (rows, columns) = (data.rows(), data.columns());
        if columns > MOST_COLUMNS {
            return Err(Error::BadParameter {
                name: "columns",
                value: columns as f64,
                reason: "more than 1024 are beyond what rounding allows",
            });
        }
        let input = self.plan.input();
        let numbers = if input.covariance_draws > 0 {
            columns + columns * (columns + 1) / 2
        } else {
            columns
        };
        let (needed, reserved) = (rounding_delta(numbers), input.rounding_reserve);
        if needed > reserved {
            return Err(Error::RoundingReserve {
                columns,
                needed,
                reserved,
            });
        }
        // Where rows are added and removed their number is private, and too few of them are a reason to refuse like any other.
        if input.adjacency == Adjacency::Replace && rows < columns {
            return Err(Error::TooFewRows { rows, columns });
        }
        Ok(())
    }

    /// The answer for a table whose sizes have been checked.
    pub(crate) fn answer(&self, data: &Dataset<'_>, rng: &mut PrivacyRng) -> Result<Outcome> {
        let (levels, fit) = filter::levels_with_fit(data, self.plan.ladder())?;
        let score = levels.score(self.plan.score_cap());
        if rng.bernoulli_up(self.plan.refusal()[score]) {
            return Ok(Outcome::Refused);
        }
        let Some(fit) = self.weighted_fit(data, &levels, fit)? else {
            return Ok(Outcome::Refused);
        };
        Ok(Outcome::Released(self.perturb(&fit, data.columns(), rng)))
    }

    fn perturb(&self, fit: &WeightedFit, d: usize, rng: &mut PrivacyRng) -> Coefficients {
        let scale = self.plan.noise_scale();
        let z: Vec<Double> = (0..d).map(|_| rng.normal(self.noise)).collect();
        // Apart, so that the noise has an error relative to itself and not to the coefficients.
        let noise = triangular::times(&fit.transform, &z, d);
        let values = triangular::times(&fit.transform, &fit.beta, d)
            .into_iter()
            .zip(noise)
            .map(|(mean, noise)| (mean + noise.scale(scale)).to_f64())
            .collect();
        let draws = self.plan.input().covariance_draws;
        let covariance = (draws > 0).then(|| self.draw_covariance(fit, d, draws, rng));
        Coefficients { values, covariance }
    }

    /// The second moments of `draws` further draws from `N(0, S^-1)` (design, section 2.11).
    fn draw_covariance(
        &self,
        fit: &WeightedFit,
        d: usize,
        draws: usize,
        rng: &mut PrivacyRng,
    ) -> Vec<f64> {
        let mut sum = vec![Double::ZERO; d * d];
        let mut z = vec![Double::ZERO; d];
        for _ in 0..draws {
            z.iter_mut().for_each(|z| *z = rng.normal(self.noise));
            let draw = triangular::times(&fit.transform, &z, d);
            for i in 0..d {
                for j in 0..=i {
                    sum[i * d + j] += draw[i] * draw[j];
                }
            }
        }
        let count = Double::from(draws as f64);
        let at = |i: usize, j: usize| (sum[i.max(j) * d + i.min(j)] / count).to_f64();
        (0..d * d).map(|index| at(index / d, index % d)).collect()
    }
}

impl PrivateRegressor for Issp {
    fn name(&self) -> &'static str {
        "issp"
    }

    fn guarantee(&self) -> Guarantee {
        let input = self.plan.input();
        Guarantee {
            epsilon: input.budget.epsilon(),
            delta: input.budget.delta(),
            adjacency: input.adjacency,
            mechanism: "issp",
            gdp_mu: None,
            caveat: self.noise.caveat(),
        }
    }

    fn fit(&self, data: &Dataset<'_>, rng: &mut PrivacyRng) -> Result<Release> {
        self.check_sizes(data)?;
        let outcome = self.answer(data, rng)?;
        Ok(Release::new(outcome, self.guarantee(), self.noise, rng).with_plan(Some(&self.plan)))
    }
}
