//! The one error type of the crate: each variant carries what is needed to act on it.

use std::path::PathBuf;

/// Shorthand for results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong between a table and a release.
///
/// A *refusal* is no error: it is a private answer, [`Outcome::Refused`](crate::Outcome::Refused). Errors about the content of a table
/// ([`Error::NonFinite`], [`Error::TooLarge`]) can be seen by whoever sees the errors, so they lie outside of every privacy guarantee;
/// [`PublicTransform`](crate::PublicTransform) makes them impossible.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file does not hold what its format demands.
    #[error("{file}, line or record {line}: expected {expected}, found {found}")]
    Format {
        /// The file.
        file: String,
        /// Line or record, from 1; 0 for the file as a whole.
        line: u64,
        /// What would have been understood.
        expected: String,
        /// What was there.
        found: String,
    },
    /// A column that a file does not have.
    #[error("{file} has no column `{column}`; it has {}", columns.join(", "))]
    NoColumn {
        /// The file.
        file: String,
        /// The name asked for.
        column: String,
        /// The names there are.
        columns: Vec<String>,
    },
    /// A number of the table is NaN or infinite.
    #[error("row {row}, {}: not a finite number", place(*column))]
    NonFinite {
        /// Row, from 0.
        row: usize,
        /// Column of the design matrix, from 0; `None` for the response.
        column: Option<usize>,
    },
    /// A number of the table is so large that its square overflows.
    #[error("row {row}, {}: larger than 1e150", place(*column))]
    TooLarge {
        /// Row, from 0.
        row: usize,
        /// Column of the design matrix, from 0; `None` for the response.
        column: Option<usize>,
    },
    /// A table without columns.
    #[error("the table has no columns to regress on")]
    NoColumns,
    /// Fewer rows than columns, where the number of rows is public.
    #[error("{rows} rows are too few for {columns} columns")]
    TooFewRows {
        /// Rows found.
        rows: usize,
        /// Columns found.
        columns: usize,
    },
    /// Sizes do not fit together.
    #[error("{what}: expected {expected}, found {found}")]
    ShapeMismatch {
        /// The argument.
        what: &'static str,
        /// The size that fits.
        expected: usize,
        /// The size that came.
        found: usize,
    },
    /// A setting has no meaning, or would void the guarantee.
    #[error("{name} = {value}: {reason}")]
    BadParameter {
        /// The setting.
        name: &'static str,
        /// Its value.
        value: f64,
        /// Why it cannot be.
        reason: &'static str,
    },
    /// No plan reaches the privacy budget with this leverage bound.
    #[error(transparent)]
    Infeasible(#[from] PlanError),
    /// The part of delta that is set aside for rounding is too small for so many columns.
    #[error(
        "{columns} columns need {needed:e} of delta for rounding, but the plan set {reserved:e} aside"
    )]
    RoundingReserve {
        /// Columns of the table.
        columns: usize,
        /// What they need.
        needed: f64,
        /// What there is.
        reserved: f64,
    },
    /// A method does not protect in the sense asked for.
    #[error("{method} has no guarantee for {adjacency} tables")]
    UnsupportedAdjacency {
        /// The method.
        method: &'static str,
        /// The notion of neighbouring tables.
        adjacency: crate::Adjacency,
    },
    /// A release would exceed the budget of the ledger.
    #[error(
        "the ledger has {available_epsilon} of epsilon and {available_delta:e} of delta left, too little for ({epsilon}, {delta:e})"
    )]
    LedgerExhausted {
        /// Epsilon that is left.
        available_epsilon: f64,
        /// Delta that is left.
        available_delta: f64,
        /// Epsilon asked for.
        epsilon: f64,
        /// Delta asked for.
        delta: f64,
    },
    /// The work was cancelled; nothing was released.
    #[error("cancelled before anything was released")]
    Cancelled,
    /// The operating system gave no random numbers; nothing was released.
    #[error("the system's random numbers are not available: {reason}")]
    Randomness {
        /// What it said.
        reason: String,
    },
    /// The device failed, or cannot do what privacy needs.
    #[error("device: {reason}")]
    Device {
        /// What it said.
        reason: String,
    },
}

fn place(column: Option<usize>) -> String {
    column.map_or_else(
        || "response".to_owned(),
        |column| format!("column {column}"),
    )
}

/// Why there is no plan.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error(
    "no plan for a leverage bound of {leverage_bound:e} at ({epsilon}, {delta:e}): the largest that has one is {max_leverage_bound:e}; \
     use more rows, a larger epsilon, or columns that are clipped to public ranges"
)]
pub struct PlanError {
    /// The bound asked for.
    pub leverage_bound: f64,
    /// Epsilon asked for.
    pub epsilon: f64,
    /// Delta asked for.
    pub delta: f64,
    /// The largest leverage bound that has a plan, within one percent; 0 if not even 1e-12 has one.
    pub max_leverage_bound: f64,
}

/// Whether a setting is positive and finite.
pub(crate) fn check_positive(name: &'static str, value: f64) -> Result<()> {
    if value > 0.0 && value.is_finite() {
        return Ok(());
    }
    Err(Error::BadParameter {
        name,
        value,
        reason: "must be positive and finite",
    })
}

impl PlanError {
    /// About how many rows a table with `columns` roughly Gaussian columns needs, so that its largest leverage stays below
    /// [`max_leverage_bound`](Self::max_leverage_bound) (design rule of [`gaussian_leverage_bound`](crate::plan::gaussian_leverage_bound)); `None`
    /// if more than 1e15.
    #[must_use]
    pub fn rows_needed(&self, columns: usize) -> Option<u64> {
        let fits = |rows: f64| {
            crate::plan::gaussian_leverage_bound(rows, columns) <= self.max_leverage_bound
        };
        let (mut low, mut high) = (columns as f64, columns as f64 + 1.0);
        while !fits(high) {
            low = high;
            high *= 2.0;
            if high > 1e15 {
                return None;
            }
        }
        while high - low > 1.0 + 1e-4 * high {
            let middle = 0.5 * (low + high);
            if fits(middle) {
                high = middle
            } else {
                low = middle
            }
        }
        Some(high.ceil() as u64)
    }
}
