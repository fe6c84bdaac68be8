//! The solver HiGHS (C++), for comparison and for whoever has it anyway.

use std::time::Instant;

use ::highs::{Col, HighsModelStatus, RowProblem, Sense};

use super::certificate::certify;
use super::{Limits, LpError, LpSolution, LpSolver, LpState, MixtureLp};

const NAME: &str = "highs";

/// Which of its methods HiGHS uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HighsMethod {
    /// Dual simplex.
    Simplex,
    /// Interior point with crossover to a vertex (the default; faster from 30,000 rows on).
    #[default]
    InteriorPoint,
}

/// Solves with [HiGHS](https://highs.dev); building it needs CMake, a C++ compiler and libclang.
///
/// It keeps the time limit; cancellation is looked at before and after. Starting points are not used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HighsSolver {
    /// The method. Default [`HighsMethod::InteriorPoint`].
    pub method: HighsMethod,
}

impl LpSolver for HighsSolver {
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
        limits.check(started)?;
        let (n, steps) = (lp.n(), lp.steps());
        let scale = lp.unit_scale();
        let mut problem = RowProblem::default();
        let mut columns = |count: usize, cost: f64| -> Vec<Col> {
            (0..count)
                .map(|_| problem.add_column(cost, 0.0..))
                .collect()
        };
        let alpha = columns(n, 0.0);
        let step = columns(steps, 1.0);
        let pair = columns(lp.pairs(), 1.0);
        problem.add_row(1.0..=1.0, alpha.iter().map(|&x| (x, 1.0)));
        for r in 0..lp.rows() {
            let slacks = [
                (step[lp.step_of()[r] as usize], 1.0),
                (pair[lp.pair_of()[r] as usize], 1.0),
            ];
            let weights = alpha.iter().zip(lp.row(r)).map(|(&x, a)| (x, scale * a));
            problem.add_row(0.0.., slacks.into_iter().chain(weights));
        }
        let failed = |reason: String| LpError::NotConverged {
            solver: NAME,
            iterations: 0,
            reason,
        };
        let mut model = problem
            .try_optimise(Sense::Minimise)
            .map_err(|status| failed(format!("{status:?}")))?;
        model.make_quiet();
        let method = match self.method {
            HighsMethod::Simplex => "simplex",
            HighsMethod::InteriorPoint => "ipm",
        };
        model.set_option("solver", method);
        // Coefficients below 1e-9 are dropped otherwise; those of rare pairs can be as small.
        model.set_option("small_matrix_value", 1e-12);
        model.set_option("primal_feasibility_tolerance", 1e-9);
        model.set_option("dual_feasibility_tolerance", 1e-9);
        if let Some(time) = limits.time {
            let left = time.saturating_sub(started.elapsed());
            model.set_option("time_limit", left.as_secs_f64());
        }
        let solved = model
            .try_solve()
            .map_err(|status| failed(format!("{status:?}")))?;
        limits.check(started)?;
        match solved.status() {
            HighsModelStatus::Optimal | HighsModelStatus::Unknown => {}
            HighsModelStatus::ReachedTimeLimit => return Err(LpError::TimeLimit),
            status => return Err(failed(format!("{status:?}"))),
        }
        let found = solved.get_solution();
        let x = found.columns();
        let unscaled = |v: &[f64]| v.iter().map(|v| v / scale).collect();
        let iterations =
            solved.simplex_iteration_count().max(0) + solved.ipm_iteration_count().max(0);
        let solution = certify(
            lp,
            x[..n].to_vec(),
            unscaled(&x[n..n + steps]),
            unscaled(&x[n + steps..]),
            Some(found.dual_rows()[1..].to_vec()),
            iterations as usize,
        )?;
        solution.require_gap(lp, NAME, &format!("{:?}", solved.status()))?;
        Ok(solution)
    }
}
