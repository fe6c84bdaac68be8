//! The crate `minilp`.

use std::time::Instant;

use ::minilp::{ComparisonOp, OptimizationDirection, Problem, Variable};

use super::check_rows;
use crate::lp::certificate::certify;
use crate::lp::{Limits, LpError, LpSolution, LpSolver, LpState, MixtureLp};

const NAME: &str = "minilp";

/// Solves with the crate [`minilp`](https://docs.rs/minilp) (dual simplex).
///
/// The crate has not been maintained since 2020, gives no multipliers (so the lower bound is 0) and
/// cannot be interrupted: limits are checked before and after. Starting points are not used.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MinilpSolver {
    /// Take programs of more than [`ROW_LIMIT`](crate::lp::ROW_LIMIT) rows. Default false.
    pub force: bool,
}

impl LpSolver for MinilpSolver {
    fn name(&self) -> &'static str {
        NAME
    }

    fn solve(
        &self,
        lp: &MixtureLp,
        warm: Option<&LpState>,
        limits: &Limits<'_>,
    ) -> Result<LpSolution, LpError> {
        let started = Instant::now();
        lp.check(warm)?;
        check_rows(NAME, lp, self.force)?;
        limits.check(started)?;
        let scale = lp.unit_scale();
        let mut problem = Problem::new(OptimizationDirection::Minimize);
        let mut variables = |count: usize, cost: f64| -> Vec<Variable> {
            (0..count)
                .map(|_| problem.add_var(cost, (0.0, f64::INFINITY)))
                .collect()
        };
        let alpha = variables(lp.n(), 0.0);
        let step = variables(lp.steps(), 1.0);
        let pair = variables(lp.pairs(), 1.0);
        problem.add_constraint(alpha.iter().map(|&x| (x, 1.0)), ComparisonOp::Eq, 1.0);
        for r in 0..lp.rows() {
            let slacks = [
                (step[lp.step_of()[r] as usize], 1.0),
                (pair[lp.pair_of()[r] as usize], 1.0),
            ];
            let weights = alpha.iter().zip(lp.row(r)).map(|(&x, a)| (x, scale * a));
            problem.add_constraint(slacks.into_iter().chain(weights), ComparisonOp::Ge, 0.0);
        }
        let found = problem.solve().map_err(|e| LpError::NotConverged {
            solver: NAME,
            iterations: 0,
            reason: e.to_string(),
        })?;
        limits.check(started)?;
        let values = |of: &[Variable], unit: f64| of.iter().map(|&x| found[x] / unit).collect();
        certify(
            lp,
            values(&alpha, 1.0),
            values(&step, scale),
            values(&pair, scale),
            None,
            0,
        )
    }
}
