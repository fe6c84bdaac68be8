//! The planner: from public numbers to thresholds, noise and refusal probabilities, and to the accuracy to expect, before any table is touched.

use serde::{Deserialize, Serialize};
use statrs::distribution::{ChiSquared, ContinuousCDF as _, Normal};

use crate::Adjacency;
use crate::accounting::gdp;
use crate::accounting::rdp::DeltaCurve;
use crate::budget::PrivacyBudget;
use crate::error::{Error, PlanError, Result, check_positive};
use crate::ladder::{Ladder, LadderInput, RESIDUAL_BOUNDS};
use crate::refusal::{self, PtrDesign};

/// Windows that are tried, in multiples of the score cap, and by how much the next one is larger.
const WINDOWS: (f64, f64, f64) = (0.05, 8.0, 1.25);
/// Values of `mu` that are tried between 0 and the largest one possible.
const SHIFTS: u32 = 32;

/// Everything that a plan is made from. All of it is public; none of it may be chosen by looking at the table.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PlanInput {
    /// The privacy to reach.
    pub budget: PrivacyBudget,
    /// Which tables are neighbours. Default [`Adjacency::Replace`].
    pub adjacency: Adjacency,
    /// `L`, in (0, 1): tables whose rows all have at most this leverage pass. Too small: the table is refused; too large: more noise.
    pub leverage_bound: f64,
    /// `R`, in [1e-100, 1e100]: tables whose residuals are all at most this size pass. In units of the response; noise is proportional to it.
    pub residual_bound: f64,
    /// `eta`, in [0, 0.5): with this probability even a perfectly clean table is refused; larger is less noise. Default 0.001.
    pub refusal_probability: f64,
    /// How the budget is shared. Default [`PtrDesign::Joint`].
    pub design: PtrDesign,
    /// `xi`, in [1e-9, 0.05): the largest relative error of computed leverages and residuals. Default 1e-7.
    pub relative_error: f64,
    /// Draws from which the shape of the coefficients' covariance is released as well; 0 (default) for none.
    pub covariance_draws: usize,
    /// The part of delta that is set aside for rounding: 2^-40 a released number (coefficients, and the entries of a triangle of the covariance), and 2^-53.
    /// Default: a thousandth of delta, or if this is less than 64 numbers need, up to a tenth of delta.
    pub rounding_reserve: f64,
}

impl PlanInput {
    /// The defaults for a budget and the two bounds.
    #[must_use]
    pub fn new(budget: PrivacyBudget, leverage_bound: f64, residual_bound: f64) -> Self {
        let delta = budget.delta();
        let reserve = (0.001 * delta).max((0.1 * delta).min(rounding_delta(64)));
        Self {
            budget,
            adjacency: Adjacency::Replace,
            leverage_bound,
            residual_bound,
            refusal_probability: 1e-3,
            design: PtrDesign::Joint,
            relative_error: 1e-7,
            covariance_draws: 0,
            rounding_reserve: reserve,
        }
    }

    /// Sets which tables are neighbours.
    #[must_use]
    pub fn with_adjacency(mut self, adjacency: Adjacency) -> Self {
        self.adjacency = adjacency;
        self
    }

    /// Sets the probability of refusing a clean table.
    #[must_use]
    pub fn with_refusal_probability(mut self, probability: f64) -> Self {
        self.refusal_probability = probability;
        self
    }

    /// Sets how the budget is shared.
    #[must_use]
    pub fn with_design(mut self, design: PtrDesign) -> Self {
        self.design = design;
        self
    }

    /// Sets the relative error that thresholds make up for.
    #[must_use]
    pub fn with_relative_error(mut self, error: f64) -> Self {
        self.relative_error = error;
        self
    }

    /// Sets how many draws the released covariance is made from.
    #[must_use]
    pub fn with_covariance_draws(mut self, draws: usize) -> Self {
        self.covariance_draws = draws;
        self
    }

    /// Sets what is set aside for rounding.
    #[must_use]
    pub fn with_rounding_reserve(mut self, reserve: f64) -> Self {
        self.rounding_reserve = reserve;
        self
    }

    fn check(&self) -> Result<()> {
        let bad = |name, value, reason| {
            Err(Error::BadParameter {
                name,
                value,
                reason,
            })
        };
        if !(self.leverage_bound > 0.0 && self.leverage_bound < 1.0) {
            return bad(
                "leverage_bound",
                self.leverage_bound,
                "must lie between 0 and 1",
            );
        }
        if !RESIDUAL_BOUNDS.contains(&self.residual_bound) {
            return bad(
                "residual_bound",
                self.residual_bound,
                "must lie between 1e-100 and 1e100",
            );
        }
        if !(0.0..0.5).contains(&self.refusal_probability) {
            return bad(
                "refusal_probability",
                self.refusal_probability,
                "must lie in [0, 0.5)",
            );
        }
        if !(1e-9..0.05).contains(&self.relative_error) {
            return bad(
                "relative_error",
                self.relative_error,
                "must lie in [1e-9, 0.05)",
            );
        }
        if !(self.rounding_reserve >= 0.0 && self.rounding_reserve < self.budget.delta()) {
            return bad(
                "rounding_reserve",
                self.rounding_reserve,
                "must be less than delta and not negative",
            );
        }
        if let PtrDesign::Split { epsilon, delta } = self.design {
            if !(epsilon > 0.0 && epsilon < self.budget.epsilon()) {
                return bad(
                    "epsilon of the refusal",
                    epsilon,
                    "must be positive and less than epsilon",
                );
            }
            if !(delta > 0.0 && delta < self.budget.delta() - self.rounding_reserve) {
                return bad(
                    "delta of the refusal",
                    delta,
                    "must be positive and less than delta",
                );
            }
        }
        Ok(())
    }

    /// The budget without what is set aside.
    fn working_budget(&self) -> Result<PrivacyBudget> {
        PrivacyBudget::new(
            self.budget.epsilon(),
            self.budget.delta() - self.rounding_reserve,
        )
    }

    fn ladder(&self, score_cap: usize, window: usize) -> Option<Ladder> {
        Ladder::try_new(LadderInput {
            leverage_bound: self.leverage_bound,
            residual_bound: self.residual_bound,
            score_cap,
            window,
            adjacency: self.adjacency,
            relative_error: self.relative_error,
        })
    }
}

/// What rounding the release of so many numbers costs in delta: 2^-40 for each, 2^-53 for the refusal's coin (design, section 6).
#[must_use]
pub fn rounding_delta(numbers: usize) -> f64 {
    numbers as f64 * (-40.0_f64).exp2() + (-53.0_f64).exp2()
}

/// A plan: everything that a release needs to know beside the table, with the proof's numbers.
///
/// Read from a file it is computed again from its inputs: a plan whose noise somebody changed does not come back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", try_from = "StoredPlan")]
pub struct Plan {
    input: PlanInput,
    ladder: Ladder,
    mu: f64,
    noise_scale: f64,
    refusal: Vec<f64>,
}

/// What a plan is computed from.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct StoredPlan {
    input: PlanInput,
    ladder: Ladder,
    mu: f64,
}

impl TryFrom<StoredPlan> for Plan {
    type Error = String;

    fn try_from(stored: StoredPlan) -> Result<Self, String> {
        let LadderInput {
            score_cap, window, ..
        } = *stored.ladder.input();
        let plan = Self::fixed(&stored.input, score_cap, window, stored.mu)
            .map_err(|error| error.to_string())?;
        plan.ok_or_else(|| "the plan does not reach its budget".to_owned())
    }
}

impl Plan {
    /// Finds the plan with the least noise. Takes well below a second.
    ///
    /// # Errors
    /// [`Error::BadParameter`]; [`Error::Infeasible`] if the leverage bound is too large for the budget, with the largest one that is not.
    pub fn search(input: &PlanInput) -> Result<Self> {
        input.check()?;
        let budget = input.working_budget()?;
        best(input, &budget).ok_or_else(|| infeasible(input, &budget))
    }

    /// The plan with this score cap, window and shift, for studies: [`Plan::search`] finds better ones. `None` if they do not reach the budget.
    ///
    /// # Errors
    /// [`Error::BadParameter`].
    pub fn fixed(
        input: &PlanInput,
        score_cap: usize,
        window: usize,
        mu: f64,
    ) -> Result<Option<Self>> {
        input.check()?;
        if score_cap == 0 || window == 0 || score_cap.max(window) > 1 << 24 {
            return Err(Error::BadParameter {
                name: "score_cap or window",
                value: score_cap.min(window) as f64,
                reason: "must be at least 1 and at most 2^24",
            });
        }
        check_positive("mu", mu)?;
        let budget = input.working_budget()?;
        let Some(ladder) = input.ladder(score_cap, window) else {
            return Ok(None);
        };
        let Some(table) =
            table(input, &budget, &ladder, mu).filter(|table| table.len() <= score_cap + 1)
        else {
            return Ok(None);
        };
        Ok(Some(Self::with(input, ladder, mu, table)))
    }

    fn with(input: &PlanInput, ladder: Ladder, mu: f64, mut refusal: Vec<f64>) -> Self {
        refusal.resize(ladder.input().score_cap + 1, 1.0);
        Self {
            input: *input,
            noise_scale: ladder.center_shift() / mu,
            ladder,
            mu,
            refusal,
        }
    }

    /// The plan for another residual bound: everything but the noise stays, and that is proportional to it.
    ///
    /// # Errors
    /// [`Error::BadParameter`].
    pub fn with_residual_bound(&self, residual_bound: f64) -> Result<Self> {
        let input = PlanInput {
            residual_bound,
            ..self.input
        };
        input.check()?;
        let LadderInput {
            score_cap, window, ..
        } = *self.ladder.input();
        let ladder = input.ladder(score_cap, window).ok_or(Error::BadParameter {
            name: "residual_bound",
            value: residual_bound,
            reason: "overflows",
        })?;
        Ok(Self::with(&input, ladder, self.mu, self.refusal.clone()))
    }

    /// What it was made from.
    #[must_use]
    pub fn input(&self) -> &PlanInput {
        &self.input
    }

    /// The thresholds.
    #[must_use]
    pub fn ladder(&self) -> &Ladder {
        &self.ladder
    }

    /// `k`: a table whose score reaches it is refused.
    #[must_use]
    pub fn score_cap(&self) -> usize {
        self.ladder.input().score_cap
    }

    /// `a`: levels that weights are averaged over.
    #[must_use]
    pub fn window(&self) -> usize {
        self.ladder.input().window
    }

    /// `mu = Delta/c`: the shift between neighbours, in standard deviations of the noise.
    #[must_use]
    pub fn mu(&self) -> f64 {
        self.mu
    }

    /// `c`: noise has the covariance `c^2 S^-1`. In units of the response.
    #[must_use]
    pub fn noise_scale(&self) -> f64 {
        self.noise_scale
    }

    /// `f[0..=k]`: the probability of refusing a table, by score. Not decreasing; the last entry is 1.
    #[must_use]
    pub fn refusal(&self) -> &[f64] {
        &self.refusal
    }

    /// The root mean square of `|Sigma^{1/2} (released - ols)|`, `Sigma = X'X/n`, for a clean table: `c sqrt(d/n)`. The error of least squares itself
    /// is `sigma sqrt(d/n)`.
    #[must_use]
    pub fn expected_error(&self, rows: f64, columns: usize) -> f64 {
        self.noise_scale * (columns as f64 / rows).sqrt()
    }
}

fn table(input: &PlanInput, budget: &PrivacyBudget, ladder: &Ladder, mu: f64) -> Option<Vec<f64>> {
    let curve =
        DeltaCurve::gaussian_pair(mu, ladder.gamma(), input.covariance_draws, budget.epsilon());
    match input.design {
        PtrDesign::Joint => refusal::joint(budget, &curve, input.refusal_probability),
        PtrDesign::Split { epsilon, delta } => {
            if curve.delta(budget.epsilon() - epsilon) > budget.delta() - delta {
                return None;
            }
            refusal::split(epsilon, delta, input.refusal_probability)
        }
    }
}

/// The best plan with this shift and window multiple: the smallest score cap whose own table stays within it.
fn plan_at(
    input: &PlanInput,
    budget: &PrivacyBudget,
    start: usize,
    window: usize,
    mu: f64,
) -> Option<Plan> {
    let mut score_cap = start;
    loop {
        let ladder = input.ladder(score_cap, window)?;
        let table = table(input, budget, &ladder, mu)?;
        if table.len() <= score_cap + 1 {
            return Some(Plan::with(input, ladder, mu, table));
        }
        score_cap = table.len() - 1;
    }
}

/// The score cap if shapes did not differ at all: no plan has a smaller one.
fn least_cap(input: &PlanInput, budget: &PrivacyBudget, mu: f64) -> Option<usize> {
    if mu <= 0.0 {
        return None;
    }
    let curve = DeltaCurve::gaussian_pair(mu, 0.0, 0, budget.epsilon());
    let table = match input.design {
        PtrDesign::Joint => refusal::joint(budget, &curve, input.refusal_probability),
        PtrDesign::Split { epsilon, delta } => {
            refusal::split(epsilon, delta, input.refusal_probability)
        }
    };
    Some(table?.len() - 1)
}

fn windows(score_cap: usize) -> Vec<usize> {
    let (mut factor, last, step) = WINDOWS;
    let mut all = Vec::new();
    while factor <= last {
        all.push(((score_cap as f64 * factor).round() as usize).max(1));
        factor *= step;
    }
    all.dedup();
    all
}

fn best(input: &PlanInput, budget: &PrivacyBudget) -> Option<Plan> {
    let largest = gdp::mu(budget.epsilon(), budget.delta());
    let mut best: Option<Plan> = None;
    let search = |best: &mut Option<Plan>, mu: f64| {
        let Some(start) = least_cap(input, budget, mu) else {
            return;
        };
        for window in windows(start) {
            let plan = plan_at(input, budget, start, window, mu);
            let better = |plan: &Plan| {
                best.as_ref()
                    .is_none_or(|best| plan.noise_scale < best.noise_scale)
            };
            if let Some(plan) = plan.filter(|plan| plan.noise_scale.is_finite() && better(plan)) {
                *best = Some(plan);
            }
        }
    };
    for step in 1..=SHIFTS {
        search(&mut best, largest * f64::from(step) / f64::from(SHIFTS));
    }
    // Once more around the best, in finer steps.
    let coarse = best.as_ref()?.mu;
    for step in -7..=7 {
        search(
            &mut best,
            coarse + largest * f64::from(step) / f64::from(8 * SHIFTS),
        );
    }
    best
}

/// Whether some plan exists, whatever its noise.
fn is_feasible(input: &PlanInput, budget: &PrivacyBudget) -> bool {
    let largest = gdp::mu(budget.epsilon(), budget.delta());
    (1..=SHIFTS).any(|step| {
        let mu = largest * f64::from(step) / f64::from(SHIFTS);
        least_cap(input, budget, mu).is_some_and(|start| {
            windows(start)
                .into_iter()
                .any(|window| plan_at(input, budget, start, window, mu).is_some())
        })
    })
}

fn infeasible(input: &PlanInput, budget: &PrivacyBudget) -> Error {
    let (mut low, mut high) = (1e-12, input.leverage_bound);
    let at = |leverage_bound: f64| {
        is_feasible(
            &PlanInput {
                leverage_bound,
                ..*input
            },
            budget,
        )
    };
    let max_leverage_bound = if at(low) {
        while high / low > 1.01 {
            let middle = (low * high).sqrt();
            if at(middle) {
                low = middle
            } else {
                high = middle
            }
        }
        low
    } else {
        0.0
    };
    PlanError {
        leverage_bound: input.leverage_bound,
        epsilon: input.budget.epsilon(),
        delta: input.budget.delta(),
        max_leverage_bound,
    }
    .into()
}

/// A leverage bound for roughly Gaussian columns: `1.05 q/n`, where a chi-squared variable with `columns` degrees of freedom exceeds `q` with
/// probability `0.01/n` (design, 2.10). Only as good as "roughly Gaussian" is; heavy tails and rare categories need a larger one.
#[must_use]
pub fn gaussian_leverage_bound(rows: f64, columns: usize) -> f64 {
    let Ok(distribution) = ChiSquared::new(columns.max(1) as f64) else {
        return 1.0;
    };
    let tail = 0.01 / rows.max(1.0);
    upper_quantile(|x| distribution.sf(x), tail) * 1.05 / rows.max(1.0)
}

/// A residual bound for Gaussian noise of public standard deviation `sigma`: exceeded by any of `rows` rows with probability 0.01 (design, 2.10).
#[must_use]
pub fn gaussian_residual_bound(rows: f64, sigma: f64) -> f64 {
    sigma * upper_quantile(|x| Normal::standard().sf(x), 0.005 / rows.max(1.0))
}

/// Where a survival function falls to `tail`, rounded up.
fn upper_quantile(survival: impl Fn(f64) -> f64, tail: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    while survival(high) > tail && high < 1e300 {
        low = high;
        high *= 2.0;
    }
    for _ in 0..80 {
        let middle = 0.5 * (low + high);
        if survival(middle) > tail {
            low = middle
        } else {
            high = middle
        }
    }
    high
}
