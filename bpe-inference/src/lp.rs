//! The linear program of the paper (section 3.2) restricted to some of its rows, and what solves it.
//!
//! With category weights `alpha` (n of them), one slack `v_t` a merge step and one slack `v_p` a pair:
//!
//! ```text
//! minimise   sum_t v_t + sum_p v_p
//! subject to v_t(r) + v_p(r) + a_r . alpha >= 0      for every row r
//!            sum_i alpha_i = 1,  alpha >= 0,  v >= 0
//! ```
//!
//! where `a_r` is the normalised count of the merged pair minus that of the competing pair.
//!
//! Rows are only ever added, never purged: a row that has become slack can be violated again in a later round, which must
//! then find it again, while the default solver's time is about linear in the rows and an inference ends with a few
//! dozen of them a step at most.

mod certificate;
#[cfg(feature = "clarabel")]
mod clarabel;
mod file;
#[cfg(feature = "highs")]
mod highs;
#[cfg(feature = "burn")]
mod pdhg;
mod registry;
#[cfg(any(feature = "minilp", feature = "microlp"))]
mod simplex;
mod structured_ipm;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

#[cfg(feature = "clarabel")]
pub use clarabel::ClarabelSolver;
#[cfg(feature = "highs")]
pub use highs::{HighsMethod, HighsSolver};
#[cfg(feature = "burn")]
pub use pdhg::PdhgSolver;
pub use registry::{solver_by_name, solver_names};
#[cfg(feature = "microlp")]
pub use simplex::MicrolpSolver;
#[cfg(feature = "minilp")]
pub use simplex::MinilpSolver;
#[cfg(any(feature = "minilp", feature = "microlp"))]
pub use simplex::ROW_LIMIT;
pub use structured_ipm::StructuredIpm;

/// A restricted program: rows that name one step slack, one pair slack and `n` dense coefficients.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct MixtureLp {
    n: usize,
    steps: usize,
    pairs: usize,
    step_of: Vec<u32>,
    pair_of: Vec<u32>,
    coefficients: Vec<f64>,
}

impl MixtureLp {
    /// An empty program over `n` category weights.
    pub fn new(n: usize) -> Self {
        Self {
            n,
            ..Self::default()
        }
    }

    /// Adds the row `v_step + v_pair + coefficients . alpha >= 0`; slack indices grow as needed.
    ///
    /// # Errors
    /// [`LpError::Shape`] if there are not `n` coefficients, [`LpError::NonFinite`] if one is not finite.
    pub fn push(&mut self, step: u32, pair: u32, coefficients: &[f64]) -> Result<(), LpError> {
        if coefficients.len() != self.n {
            return Err(LpError::Shape {
                expected: self.n,
                found: coefficients.len(),
            });
        }
        if coefficients.iter().any(|c| !c.is_finite()) {
            return Err(LpError::NonFinite {
                what: "a row's coefficients",
            });
        }
        self.steps = self.steps.max(step as usize + 1);
        self.pairs = self.pairs.max(pair as usize + 1);
        self.step_of.push(step);
        self.pair_of.push(pair);
        self.coefficients.extend_from_slice(coefficients);
        Ok(())
    }

    /// Number of category weights.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Number of step slacks `v_t`.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// Number of pair slacks `v_p`.
    pub fn pairs(&self) -> usize {
        self.pairs
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.step_of.len()
    }

    /// The step slack of each row.
    pub fn step_of(&self) -> &[u32] {
        &self.step_of
    }

    /// The pair slack of each row.
    pub fn pair_of(&self) -> &[u32] {
        &self.pair_of
    }

    /// All coefficients, row after row (`rows x n`).
    pub fn coefficients(&self) -> &[f64] {
        &self.coefficients
    }

    /// The coefficients of row `r`.
    pub fn row(&self, r: usize) -> &[f64] {
        &self.coefficients[r * self.n..(r + 1) * self.n]
    }

    /// A power of 2 that brings the largest coefficient to about 1000, where the absolute tolerances
    /// of general solvers mean something; slacks scale alike.
    #[cfg(any(
        feature = "clarabel",
        feature = "minilp",
        feature = "microlp",
        feature = "highs"
    ))]
    fn unit_scale(&self) -> f64 {
        let largest = self.largest_coefficient();
        if largest > 0.0 {
            (10.0 - largest.log2().ceil()).clamp(-1000.0, 1000.0).exp2()
        } else {
            1.0
        }
    }

    /// Largest magnitude of a coefficient.
    fn largest_coefficient(&self) -> f64 {
        self.coefficients.iter().fold(0.0, |m, c| m.max(c.abs()))
    }

    /// What every solver asks before it starts: there is something to solve, and the point to start
    /// from is finite and has as many weights. (It may have fewer slacks and multipliers than the
    /// program: rows may have been added since.)
    fn check(&self, warm: Option<&LpState>) -> Result<(), LpError> {
        if self.rows() == 0 || self.n == 0 {
            return Err(LpError::Empty {
                rows: self.rows(),
                n: self.n,
            });
        }
        let Some(warm) = warm else { return Ok(()) };
        if warm.alpha.len() != self.n {
            return Err(LpError::Shape {
                expected: self.n,
                found: warm.alpha.len(),
            });
        }
        let parts = [&warm.alpha, &warm.v_step, &warm.v_pair, &warm.dual];
        if parts.into_iter().flatten().any(|x| !x.is_finite()) {
            return Err(LpError::NonFinite {
                what: "the point to start from",
            });
        }
        Ok(())
    }
}

/// A point of the program, to start from or returned as its solution.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct LpState {
    /// Category weights, on the simplex.
    pub alpha: Vec<f64>,
    /// Step slacks.
    pub v_step: Vec<f64>,
    /// Pair slacks.
    pub v_pair: Vec<f64>,
    /// Row multipliers, row by row (empty if unknown). To start from, they may stop before the
    /// program's last rows.
    pub dual: Vec<f64>,
}

/// What a solver returns.
#[derive(Clone, Debug, Default)]
pub struct LpSolution {
    /// The solution; primal feasible.
    pub state: LpState,
    /// Its objective: an upper bound of the restricted program's optimum.
    pub objective: f64,
    /// A certified lower bound of the optimum from dual-feasible multipliers; 0, which slacks that
    /// are not negative always certify, if the solver has no multipliers.
    pub lower_bound: f64,
    /// Iterations (interior point, first order) or pivots (simplex), where the solver tells.
    pub iterations: usize,
}

impl LpSolution {
    /// What is asked of the result of a solver that may be anybody's: it is a point of this program, and finite.
    pub(crate) fn check(&self, lp: &MixtureLp, solver: &'static str) -> Result<(), LpError> {
        let state = &self.state;
        for (what, found, expected) in [
            ("weights", state.alpha.len(), lp.n()),
            ("step slacks", state.v_step.len(), lp.steps()),
            ("pair slacks", state.v_pair.len(), lp.pairs()),
        ] {
            if found != expected {
                return Err(LpError::NotConverged {
                    solver,
                    iterations: self.iterations,
                    reason: format!("its solution has {found} {what} instead of {expected}"),
                });
            }
        }
        let finite = |values: &[f64]| values.iter().all(|x| x.is_finite());
        for (what, fine) in [
            ("a weight of the solution", finite(&state.alpha)),
            (
                "a slack of the solution",
                finite(&state.v_step) && finite(&state.v_pair),
            ),
            ("a multiplier of the solution", finite(&state.dual)),
            (
                "the objective or bound of the solution",
                finite(&[self.objective, self.lower_bound]),
            ),
        ] {
            if !fine {
                return Err(LpError::NonFinite { what });
            }
        }
        Ok(())
    }

    /// For a solver that stopped early: its point is good enough only if the certified gap says so.
    fn require_gap(
        &self,
        lp: &MixtureLp,
        solver: &'static str,
        reason: &str,
    ) -> Result<(), LpError> {
        let gap = self.objective - self.lower_bound;
        if gap > ACCEPTED_GAP * self.objective + ACCEPTED_ABSOLUTE * lp.largest_coefficient() {
            return Err(LpError::NotConverged {
                solver,
                iterations: self.iterations,
                reason: format!("{reason}; objective {:.3e}, gap {gap:.1e}", self.objective),
            });
        }
        Ok(())
    }
}

/// Relative gap of a point that is returned although the solver stopped before its tolerance.
const ACCEPTED_GAP: f64 = 1e-6;
/// The same relative to the largest coefficient: an objective of 0 has no relative precision.
const ACCEPTED_ABSOLUTE: f64 = 1e-10;

/// Limits of one solve.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits<'a> {
    /// Wall-clock time after which the solver gives up with [`LpError::TimeLimit`].
    pub time: Option<Duration>,
    /// Checked once an iteration (by solvers that cannot, before and after); when it is set the solver
    /// returns [`LpError::Cancelled`].
    pub cancel: Option<&'a AtomicBool>,
}

impl Limits<'_> {
    /// Whether a solve that began at `started` may go on.
    fn check(&self, started: Instant) -> Result<(), LpError> {
        if self
            .cancel
            .is_some_and(|cancel| cancel.load(Ordering::Relaxed))
        {
            return Err(LpError::Cancelled);
        }
        if self.time.is_some_and(|time| started.elapsed() >= time) {
            return Err(LpError::TimeLimit);
        }
        Ok(())
    }
}

/// Something that solves [`MixtureLp`].
///
/// An inference takes any implementation. Of its results it checks that they are finite and have the program's size, not that
/// they are optimal: the lower bound of the estimate is the solver's word, the upper bound is computed from the weights.
pub trait LpSolver: Send + Sync {
    /// A short name for tables and logs.
    fn name(&self) -> &'static str;

    /// Solves `lp`, from `warm` where the solver can use it.
    ///
    /// # Errors
    /// Any [`LpError`].
    fn solve(
        &self,
        lp: &MixtureLp,
        warm: Option<&LpState>,
        limits: &Limits<'_>,
    ) -> Result<LpSolution, LpError>;
}

/// Why a program was not solved.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LpError {
    /// A row has the wrong number of coefficients.
    #[error("a row of the linear program needs {expected} coefficients, got {found}")]
    Shape {
        /// Category weights of the program.
        expected: usize,
        /// Coefficients given.
        found: usize,
    },
    /// Input or result holds NaN or infinity.
    #[error("linear program: {what} not finite")]
    NonFinite {
        /// Where.
        what: &'static str,
    },
    /// No solver of this name is compiled in.
    #[error("there is no solver `{name}`; compiled in: {known}")]
    UnknownSolver {
        /// The name asked for.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// The program has no rows or no weights.
    #[error("the linear program has {rows} rows and {n} weights")]
    Empty {
        /// Rows.
        rows: usize,
        /// Category weights.
        n: usize,
    },
    /// More rows than this solver takes unless it is told to.
    #[error("{solver} takes at most {limit} rows unless forced, got {rows}")]
    TooLarge {
        /// The solver.
        solver: &'static str,
        /// Rows given.
        rows: usize,
        /// Its limit.
        limit: usize,
    },
    /// The iteration did not reach its tolerance.
    #[error("{solver} stopped after {iterations} iterations: {reason}")]
    NotConverged {
        /// The solver.
        solver: &'static str,
        /// Iterations done.
        iterations: usize,
        /// The residuals, or the solver's own words.
        reason: String,
    },
    /// The time limit passed.
    #[error("the linear program was not solved within its time limit")]
    TimeLimit,
    /// The caller cancelled.
    #[error("cancelled")]
    Cancelled,
}
