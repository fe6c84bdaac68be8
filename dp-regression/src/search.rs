//! A private choice among public bounds: the first of a grid that the table passes, found with the sparse vector technique.

use crate::Adjacency;
use crate::budget::{Guarantee, PrivacyBudget};
use crate::dataset::Dataset;
use crate::error::{Error, Result};
use crate::issp::Issp;
use crate::linalg::double::Double;
use crate::noise::{NoiseKind, PrivacyRng};
use crate::plan::{Plan, PlanInput};
use crate::regressor::{Outcome, PrivateRegressor, Release};

/// The score that a grid point should reach, before noise.
const TARGET: f64 = 2.0;

/// [`Issp`] with bounds that are chosen privately from a public grid (design, section 2.10).
///
/// Scores change by at most one between neighbours (lemma 2), whatever the bounds they are for. So AboveThreshold (C. Dwork, A. Roth 2014, section 3.6)
/// finds the first grid point whose score is small for `epsilon_search`: it compares `s_t + Lap(4/epsilon_search)` with
/// `2 + Lap(2/epsilon_search)` and stops at the first that is not larger. The release gets the rest of the budget. Order the grid from the
/// bounds with the least noise to those that surely hold.
///
/// Scores and thresholds are compared in double-double arithmetic. What the last of its 106 bits can change in a comparison is far below what
/// [`rounding_reserve`](PlanInput::rounding_reserve) holds, and not accounted for by itself.
#[derive(Clone, Debug)]
pub struct PrivateSearch {
    budget: PrivacyBudget,
    epsilon_search: f64,
    adjacency: Adjacency,
    grid: Vec<Issp>,
    noise: NoiseKind,
}

impl PrivateSearch {
    /// Plans every grid point `(leverage bound, residual bound)`, with the other settings of `input`, whose budget is that of everything together and
    /// whose own bounds are not used. Points without a plan are left out.
    ///
    /// # Errors
    /// [`Error::BadParameter`]; [`Error::Infeasible`] if no point has a plan.
    pub fn new(input: &PlanInput, epsilon_search: f64, grid: &[(f64, f64)]) -> Result<Self> {
        let budget = input.budget;
        if !(epsilon_search > 0.0 && epsilon_search < budget.epsilon()) {
            return Err(Error::BadParameter {
                name: "epsilon_search",
                value: epsilon_search,
                reason: "must be positive and less than epsilon",
            });
        }
        let rest = PrivacyBudget::new(budget.epsilon() - epsilon_search, budget.delta())?;
        let mut plans: Vec<Plan> = Vec::new();
        let mut refused = Error::BadParameter {
            name: "grid",
            value: 0.0,
            reason: "has no points",
        };
        for &(leverage_bound, residual_bound) in grid {
            // Plans for the same leverage bound differ in the unit of the residuals only.
            let known = plans
                .iter()
                .find(|plan| plan.input().leverage_bound == leverage_bound);
            let plan = match known {
                Some(plan) => plan.with_residual_bound(residual_bound),
                None => Plan::search(&PlanInput {
                    budget: rest,
                    leverage_bound,
                    residual_bound,
                    ..*input
                }),
            };
            match plan {
                Ok(plan) => plans.push(plan),
                Err(error @ Error::Infeasible(_)) => refused = error,
                Err(error) => return Err(error),
            }
        }
        if plans.is_empty() {
            return Err(refused);
        }
        let grid = plans.into_iter().map(Issp::with_plan).collect();
        Ok(Self {
            budget,
            epsilon_search,
            adjacency: input.adjacency,
            grid,
            noise: NoiseKind::Hardened,
        })
    }

    /// Sets how noise is drawn. Default [`NoiseKind::Hardened`].
    #[must_use]
    pub fn with_noise(mut self, noise: NoiseKind) -> Self {
        self.grid = self
            .grid
            .into_iter()
            .map(|point| point.with_noise(noise))
            .collect();
        self.noise = noise;
        self
    }

    /// The plans of the grid points that have one, in order.
    pub fn plans(&self) -> impl Iterator<Item = &Plan> {
        self.grid.iter().map(Issp::plan)
    }
}

impl PrivateRegressor for PrivateSearch {
    fn name(&self) -> &'static str {
        "issp-search"
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee {
            epsilon: self.budget.epsilon(),
            delta: self.budget.delta(),
            adjacency: self.adjacency,
            mechanism: "issp-search",
            gdp_mu: None,
            caveat: self.noise.caveat(),
        }
    }

    fn fit(&self, data: &Dataset<'_>, rng: &mut PrivacyRng) -> Result<Release> {
        if let Some(point) = self.grid.first() {
            point.check_sizes(data)?;
        }
        let threshold =
            Double::from(TARGET) + rng.laplace(self.noise).scale(2.0 / self.epsilon_search);
        for point in &self.grid {
            let noise = rng.laplace(self.noise).scale(4.0 / self.epsilon_search);
            let noisy = Double::from(point.score(data)? as f64) + noise;
            if (noisy - threshold).to_f64() <= 0.0 {
                let outcome = point.answer(data, rng)?;
                return Ok(Release::new(outcome, self.guarantee(), self.noise, rng)
                    .with_plan(Some(point.plan())));
            }
        }
        Ok(Release::new(
            Outcome::Refused,
            self.guarantee(),
            self.noise,
            rng,
        ))
    }
}
