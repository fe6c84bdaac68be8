//! A general interior-point solver for conic programs, written in Rust: the independent check of the
//! default solver, and what to fall back on should that fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ::clarabel::algebra::CscMatrix;
use ::clarabel::solver::{
    DefaultSettings, DefaultSolver, IPSolver, NonnegativeConeT, SolverStatus, ZeroConeT,
};

use super::certificate::certify;
use super::{Limits, LpError, LpSolution, LpSolver, LpState, MixtureLp};

const NAME: &str = "clarabel";
/// How often the caller's cancel flag is looked at.
const POLL: Duration = Duration::from_millis(10);

/// Solves with the crate [`clarabel`](https://docs.rs/clarabel). Starting points are not used.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClarabelSolver {
    /// Tolerance of gap and residuals, relative and absolute. Default 1e-8.
    pub tolerance: f64,
    /// Iterations after which it gives up. Default 300.
    pub max_iterations: u32,
}

impl Default for ClarabelSolver {
    fn default() -> Self {
        Self {
            tolerance: 1e-8,
            max_iterations: 300,
        }
    }
}

impl LpSolver for ClarabelSolver {
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
        let (n, steps, pairs, rows) = (lp.n(), lp.steps(), lp.pairs(), lp.rows());
        let columns = n + steps + pairs;
        let scale = lp.unit_scale();
        let matrix = constraints(lp, scale);
        let mut cost = vec![1.0; columns];
        cost[..n].fill(0.0);
        let mut rhs = vec![0.0; 1 + rows + columns];
        rhs[0] = 1.0;
        let cones = [ZeroConeT(1), NonnegativeConeT(rows + columns)];
        let settings = DefaultSettings {
            verbose: false,
            max_iter: self.max_iterations,
            time_limit: limits.time.map_or(f64::INFINITY, |time| {
                time.saturating_sub(started.elapsed()).as_secs_f64()
            }),
            tol_gap_abs: self.tolerance,
            tol_gap_rel: self.tolerance,
            tol_feas: self.tolerance,
            // Every row belongs to the program, however large its slack.
            presolve_enable: false,
            ..DefaultSettings::default()
        };
        let failed = |iterations: u32, reason: String| LpError::NotConverged {
            solver: NAME,
            iterations: iterations as usize,
            reason,
        };
        let quadratic = CscMatrix::zeros((columns, columns));
        let mut solver = DefaultSolver::new(&quadratic, &cost, &matrix, &rhs, &cones, settings)
            .map_err(|e| failed(0, e.to_string()))?;
        drop(matrix);
        run(&mut solver, limits.cancel);
        limits.check(started)?;
        let found = &solver.solution;
        match found.status {
            SolverStatus::Solved
            | SolverStatus::AlmostSolved
            | SolverStatus::InsufficientProgress => {}
            SolverStatus::MaxTime => return Err(LpError::TimeLimit),
            status => return Err(failed(found.iterations, status.to_string())),
        }
        let unscaled = |v: &[f64]| v.iter().map(|v| v / scale).collect();
        let solution = certify(
            lp,
            found.x[..n].to_vec(),
            unscaled(&found.x[n..n + steps]),
            unscaled(&found.x[n + steps..]),
            Some(found.z[1..=rows].to_vec()),
            found.iterations as usize,
        )?;
        if found.status != SolverStatus::Solved {
            solution.require_gap(lp, NAME, &found.status.to_string())?;
        }
        Ok(solution)
    }
}

/// Runs the solver while another thread carries the caller's cancel flag over: the solver only takes
/// callbacks that own what they use.
fn run(solver: &mut DefaultSolver<f64>, cancel: Option<&AtomicBool>) {
    let Some(cancel) = cancel else {
        solver.solve();
        return;
    };
    let stop = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&stop);
    solver.set_termination_callback(move |_| seen.load(Ordering::Relaxed));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                if cancel.load(Ordering::Relaxed) {
                    stop.store(true, Ordering::Relaxed);
                }
                std::thread::park_timeout(POLL);
            }
        });
        solver.solve();
        done.store(true, Ordering::Relaxed);
        watcher.thread().unpark();
    });
}

/// `sum alpha = 1`, then the rows as `-(v_t + v_p + a . alpha) <= 0`, then `-x <= 0`; columns are the
/// weights, step slacks and pair slacks.
fn constraints(lp: &MixtureLp, scale: f64) -> CscMatrix<f64> {
    let (n, steps, pairs, rows) = (lp.n(), lp.steps(), lp.pairs(), lp.rows());
    let columns = n + steps + pairs;
    let entries = n * (rows + 2) + 2 * rows + steps + pairs;
    let mut start = Vec::with_capacity(columns + 1);
    let mut row = Vec::with_capacity(entries);
    let mut value = Vec::with_capacity(entries);
    start.push(0);
    for i in 0..n {
        row.push(0);
        value.push(1.0);
        for r in 0..rows {
            let a = lp.row(r)[i];
            if a != 0.0 {
                row.push(1 + r);
                value.push(-scale * a);
            }
        }
        row.push(1 + rows + i);
        value.push(-1.0);
        start.push(row.len());
    }
    let mut first = n;
    for (slack_of, count) in [(lp.step_of(), steps), (lp.pair_of(), pairs)] {
        let mut members = vec![Vec::new(); count];
        for (r, &slack) in slack_of.iter().enumerate() {
            members[slack as usize].push(1 + r);
        }
        for (slack, members) in members.into_iter().enumerate() {
            row.extend(members);
            row.push(1 + rows + first + slack);
            value.resize(row.len(), -1.0);
            start.push(row.len());
        }
        first += count;
    }
    CscMatrix::new(1 + rows + columns, columns, start, row, value)
}
