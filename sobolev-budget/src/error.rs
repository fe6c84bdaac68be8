//! What can go wrong, with what is needed to mend it.

use std::path::PathBuf;

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What this crate refuses, and why.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Maps of so little smoothness need not be continuous, and the problem has no solution (order times exponent must exceed the
    /// dimension of the domain).
    #[error(
        "order {order} with exponent q = {exponent} on a domain of {dimension} dimensions is not supercritical: order times exponent must \
         exceed the dimension; take order {} or a larger exponent",
        (*dimension as f64 / exponent).floor() as usize + 1
    )]
    Subcritical {
        /// The order of the derivatives.
        order: usize,
        /// The exponent q.
        exponent: f64,
        /// The dimension of the domain.
        dimension: usize,
    },
    /// A measure without points.
    #[error("a measure needs at least one point with a positive weight")]
    EmptyMeasure,
    /// A coordinate that is not a finite number.
    #[error("the coordinate in row {row}, column {column} (counted from 0) is not a finite number")]
    NonFinite {
        /// The row, counted from 0.
        row: usize,
        /// The column, counted from 0.
        column: usize,
    },
    /// A weight that is negative, infinite or not a number, or weights whose sum is not a positive finite number.
    #[error(
        "weight {index} (counted from 0) is {value}; weights must be finite, not negative, and not all 0"
    )]
    Weight {
        /// The place of the weight, counted from 0.
        index: usize,
        /// Its value.
        value: f64,
    },
    /// Two sizes that should agree.
    #[error("{what}: expected {expected}, found {found}")]
    Size {
        /// What was counted.
        what: &'static str,
        /// What it should have been.
        expected: usize,
        /// What it was.
        found: usize,
    },
    /// A grid that is too coarse for the derivatives asked for.
    #[error("{found} nodes along an axis are too few: derivatives of this order need {needed}")]
    TooFewNodes {
        /// The least number.
        needed: usize,
        /// The number asked for.
        found: usize,
    },
    /// A setting out of its range.
    #[error("{name} must be {requirement}, and is {found}")]
    Parameter {
        /// The setting.
        name: &'static str,
        /// What it must be.
        requirement: &'static str,
        /// What it was.
        found: f64,
    },
    /// A file that does not hold what it should.
    #[error("{}: {reason}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and where.
        reason: String,
    },
    /// The file system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A checkpoint of another run.
    #[error("{}: this checkpoint belongs to another run ({reason})", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What differs.
        reason: String,
    },
    /// Linear equations that could not be solved.
    #[error("the linear equations of a step could not be solved: {0}")]
    Linear(String),
    /// Training that ran away.
    #[error("the training diverged at step {step}: {what} is not finite")]
    Diverged {
        /// The step.
        step: usize,
        /// What stopped being a number.
        what: &'static str,
    },
}
