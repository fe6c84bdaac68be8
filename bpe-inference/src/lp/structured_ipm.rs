//! The default solver: a primal-dual interior-point method that uses the shape of the program.
//!
//! A row has one step slack, one pair slack and `n` dense coefficients, so the normal equations of
//! Mehrotra's predictor-corrector method can be eliminated by hand: the slacks of one side (the merge
//! steps) are diagonal, those of the other (the pairs) leave a sparse, diagonally dominant matrix `S`
//! with hardly any fill because a pair competes over an interval of steps, and the weights border it.
//! Time is about linear in the number of rows, and everything stays in `f64`.

mod block;
mod iteration;
mod kernels;
mod layout;
mod normal;

use std::time::Instant;

use self::iteration::{Iterate, Iteration};
use self::layout::Layout;
use super::certificate::certify;
use super::{Limits, LpError, LpSolution, LpSolver, LpState, MixtureLp};

const NAME: &str = "structured-ipm";

/// Interior-point solver for [`MixtureLp`] (the default).
///
/// Takes about `rows * (16 + stride) * 8` bytes besides the program (`stride` is `n` rounded up to
/// a multiple of 4) plus the Cholesky factor, which is small for the programs of this crate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StructuredIpm {
    /// Stop when `objective - lower bound` is at most this multiple of the objective. Default 1e-8.
    /// Should the iteration stall before, a gap of 1e-6 is accepted.
    pub tolerance: f64,
    /// Iterations after which the method gives up. Default 300.
    pub max_iterations: usize,
}

impl Default for StructuredIpm {
    fn default() -> Self {
        Self {
            tolerance: 1e-8,
            max_iterations: 300,
        }
    }
}

/// Gaps below this fraction of the largest coefficient count as closed: an objective of 0 has no
/// relative precision.
const ABSOLUTE: f64 = 1e-14;
/// Iterations without progress after which the method has stalled.
const PATIENCE: usize = 12;
/// The same once the products are as small as the tolerance asks for, and only rounding in the dual
/// constraints keeps the gap open.
const LAST_TRIES: usize = 2;
/// Progress is a gap or a sum of products below this multiple of the least one before.
const PROGRESS: f64 = 0.9;

impl LpSolver for StructuredIpm {
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
        let layout = Layout::new(lp)?;
        if let Some(state) = warm {
            let found = self.iterate(lp, &layout, Some(state), limits, started);
            if !matches!(
                found,
                Err(LpError::NotConverged { .. } | LpError::NonFinite { .. })
            ) {
                return found;
            }
            tracing::debug!("no solution from the warm start, starting cold");
        }
        self.iterate(lp, &layout, None, limits, started)
    }
}

impl StructuredIpm {
    fn iterate(
        &self,
        lp: &MixtureLp,
        layout: &Layout,
        warm: Option<&LpState>,
        limits: &Limits<'_>,
        started: Instant,
    ) -> Result<LpSolution, LpError> {
        let mut iteration = Iteration::new(lp, layout)?;
        match warm {
            Some(state) => iteration.start_warm(state),
            None => iteration.start_cold(),
        }
        let span = tracing::info_span!(
            "structured_ipm",
            position = tracing::field::Empty,
            length = self.max_iterations as u64
        );
        let _entered = span.enter();
        let mut best: Option<Iterate> = None;
        let mut best_gap = f64::INFINITY;
        let mut best_complementarity = f64::INFINITY;
        let mut stalled = 0;
        let mut iterations = 0;
        let mut reason = "reached the iteration limit".to_owned();
        while iterations < self.max_iterations {
            limits.check(started)?;
            let point = iteration.form(self.tolerance);
            tracing::trace!(iterations, ?point);
            let gap = point.gap();
            if !gap.is_finite() {
                reason = "the iterates are not finite".into();
                break;
            }
            let progress = gap < PROGRESS * best_gap
                || point.complementarity < PROGRESS * best_complementarity;
            stalled = if progress { 0 } else { stalled + 1 };
            best_complementarity = best_complementarity.min(point.complementarity);
            if gap < best_gap {
                best_gap = gap;
                iteration.save(best.get_or_insert_default());
            }
            if gap <= self.tolerance * point.objective + ABSOLUTE {
                break;
            }
            let closed = point.complementarity <= self.tolerance * point.objective + ABSOLUTE;
            if stalled > if closed { LAST_TRIES } else { PATIENCE } {
                reason = "no further progress".into();
                break;
            }
            if let Err(error) = iteration.advance() {
                reason = error.to_string();
                break;
            }
            iterations += 1;
            span.record("position", iterations as u64);
        }
        let best = best.ok_or_else(|| LpError::NotConverged {
            solver: NAME,
            iterations,
            reason: reason.clone(),
        })?;
        let dual = Some(best.dual);
        let solution = certify(lp, best.alpha, best.v_step, best.v_pair, dual, iterations)?;
        solution.require_gap(lp, NAME, &reason)?;
        Ok(solution)
    }
}
