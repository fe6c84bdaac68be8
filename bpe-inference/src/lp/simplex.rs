//! Two general simplex solvers: exact vertex solutions of small programs, for cross-checks and where
//! nothing else runs. Their time grows fast, so they take [`ROW_LIMIT`] rows unless forced.

#[cfg(feature = "microlp")]
mod microlp;
#[cfg(feature = "minilp")]
mod minilp;

#[cfg(feature = "microlp")]
pub use self::microlp::MicrolpSolver;
#[cfg(feature = "minilp")]
pub use self::minilp::MinilpSolver;

use super::{LpError, MixtureLp};

/// Rows that the simplex solvers take unless they are forced: 30,000 take 8 seconds already.
pub const ROW_LIMIT: usize = 20_000;

fn check_rows(solver: &'static str, lp: &MixtureLp, force: bool) -> Result<(), LpError> {
    if lp.rows() > ROW_LIMIT && !force {
        return Err(LpError::TooLarge {
            solver,
            rows: lp.rows(),
            limit: ROW_LIMIT,
        });
    }
    Ok(())
}
