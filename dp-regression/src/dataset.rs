//! Tables: a design matrix and a response, in memory or in blocks of rows that are read again for every pass.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;

use crate::error::{Error, Result};

/// Rows that passes read together: a multiple of every block size, so that sums do not depend on where a table lies.
const CHUNK: usize = crate::linalg::pass::BLOCK * crate::linalg::pass::LANES;
/// Numbers beyond this have squares that overflow.
const LARGEST: f64 = 1e150;
/// Where a number that is not 0 lies outside of this range, columns are scaled while their products are summed. It must not be their largest one: that
/// can be in a row that is removed.
const COMFORTABLE: std::ops::RangeInclusive<f64> = 1e-100..=1e100;

/// What a pass does with a block of rows: the design matrix row by row, and the responses.
pub type Visitor<'a> = dyn FnMut(&[f64], &[f64]) -> Result<()> + 'a;

/// The same with the number of the first row in front.
pub(crate) type ChunkVisitor<'a> = dyn FnMut(usize, &[f64], &[f64]) -> Result<()> + 'a;

/// Rows that can be read more than once, such as those of a file. `Sync`, because passes are shared among threads.
pub trait RowBlocks: Sync {
    /// Number of rows.
    fn rows(&self) -> usize;

    /// Number of columns of the design matrix.
    fn columns(&self) -> usize;

    /// Calls `visitor` with every row in order, in blocks of any size: the design matrix row by row, and the responses.
    ///
    /// # Errors
    /// Of reading, and of the visitor, which end the pass.
    fn visit(&self, visitor: &mut Visitor<'_>) -> Result<()>;
}

/// A flag that ends work from another thread.
#[derive(Clone, Debug, Default)]
pub struct CancelToken(Arc<AtomicBool>);

impl CancelToken {
    /// A token that nobody has cancelled.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends all work on tables that hold a clone of this token.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether somebody asked to stop.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A validated table: `n` rows, `d` columns, all numbers finite and at most 1e150 in size.
///
/// Nothing in it is changed: an intercept is a column of ones that the caller adds, see [`Table::with_intercept`](crate::read::Table::with_intercept).
#[derive(Clone)]
pub struct Dataset<'a> {
    rows: usize,
    columns: usize,
    storage: Storage<'a>,
    /// Whether squares of some number could overflow or vanish.
    is_extreme: bool,
    cancel: CancelToken,
}

#[derive(Clone)]
enum Storage<'a> {
    Memory {
        x: Cow<'a, [f64]>,
        y: Cow<'a, [f64]>,
    },
    Blocks(&'a dyn RowBlocks),
}

impl std::fmt::Debug for Dataset<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dataset")
            .field("rows", &self.rows)
            .field("columns", &self.columns)
            .finish_non_exhaustive()
    }
}

impl<'a> Dataset<'a> {
    /// A table in memory: `x` row by row (`n d` numbers), `y` with `n`.
    ///
    /// # Errors
    /// [`Error::NoColumns`], [`Error::ShapeMismatch`], [`Error::NonFinite`], [`Error::TooLarge`]. The last two depend on the content of the
    /// table; see [`PublicTransform`](crate::PublicTransform) for tables where that must not show.
    pub fn new(
        x: impl Into<Cow<'a, [f64]>>,
        y: impl Into<Cow<'a, [f64]>>,
        columns: usize,
    ) -> Result<Self> {
        let (x, y) = (x.into(), y.into());
        if columns == 0 {
            return Err(Error::NoColumns);
        }
        let rows = y.len();
        if x.len() != rows * columns {
            return Err(Error::ShapeMismatch {
                what: "numbers of the design matrix",
                expected: rows * columns,
                found: x.len(),
            });
        }
        let is_extreme = x
            .par_chunks(columns * 4096)
            .zip(y.par_chunks(4096))
            .enumerate()
            .map(|(index, (x, y))| check(x, y, columns, index * 4096))
            .reduce(|| Ok(false), |a, b| Ok(a? | b?))?;
        Ok(Self {
            rows,
            columns,
            storage: Storage::Memory { x, y },
            is_extreme,
            cancel: CancelToken::new(),
        })
    }

    /// A table that is read block by block in every pass, so that it need not fit into memory. Reads it once to validate it.
    ///
    /// # Errors
    /// As of [`Dataset::new`], and those of reading.
    pub fn from_blocks(blocks: &'a dyn RowBlocks) -> Result<Self> {
        let columns = blocks.columns();
        if columns == 0 {
            return Err(Error::NoColumns);
        }
        let mut row = 0;
        let mut is_extreme = false;
        blocks.visit(&mut |x, y| {
            if x.len() != y.len() * columns {
                return Err(Error::ShapeMismatch {
                    what: "numbers of a block",
                    expected: y.len() * columns,
                    found: x.len(),
                });
            }
            is_extreme |= check(x, y, columns, row)?;
            row += y.len();
            Ok(())
        })?;
        if row != blocks.rows() {
            return Err(Error::ShapeMismatch {
                what: "rows read",
                expected: blocks.rows(),
                found: row,
            });
        }
        Ok(Self {
            rows: row,
            columns,
            storage: Storage::Blocks(blocks),
            is_extreme,
            cancel: CancelToken::new(),
        })
    }

    /// The same table; every pass over it ends with [`Error::Cancelled`] once the token is cancelled. Nothing has been released then.
    #[must_use]
    pub fn with_cancel(mut self, cancel: CancelToken) -> Self {
        self.cancel = cancel;
        self
    }

    /// Number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns of the design matrix.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Row `index` and its response.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] if there is no such row; those of reading.
    pub fn row(&self, index: usize) -> Result<(Vec<f64>, f64)> {
        let d = self.columns;
        let mut found = None;
        if let Storage::Memory { x, y } = &self.storage {
            found = y
                .get(index)
                .map(|&y| (x[index * d..(index + 1) * d].to_vec(), y));
        } else {
            self.visit(&mut |first, x, y| {
                if let Some(at) = index.checked_sub(first).filter(|&at| at < y.len()) {
                    found = Some((x[at * d..(at + 1) * d].to_vec(), y[at]));
                }
                Ok(())
            })?;
        }
        found.ok_or(Error::ShapeMismatch {
            what: "row index",
            expected: self.rows,
            found: index,
        })
    }

    /// The table with all of its rows in memory, as the vectors that [`Dataset::new`] takes.
    ///
    /// # Errors
    /// Those of reading.
    pub fn to_vectors(&self) -> Result<(Vec<f64>, Vec<f64>)> {
        let (mut all_x, mut all_y) = (
            Vec::with_capacity(self.rows * self.columns),
            Vec::with_capacity(self.rows),
        );
        self.visit(&mut |_, x, y| {
            all_x.extend_from_slice(x);
            all_y.extend_from_slice(y);
            Ok(())
        })?;
        Ok((all_x, all_y))
    }

    /// Whether there is a coefficient a column.
    pub(crate) fn check_coefficients(&self, coefficients: &[f64]) -> Result<()> {
        if coefficients.len() == self.columns {
            return Ok(());
        }
        Err(Error::ShapeMismatch {
            what: "coefficients",
            expected: self.columns,
            found: coefficients.len(),
        })
    }

    /// Whether columns have to be scaled before their products are summed.
    pub(crate) fn is_extreme(&self) -> bool {
        self.is_extreme
    }

    /// Calls `visitor` with the first row's number, rows and responses of chunks that start at multiples of the lanes of a pass.
    pub(crate) fn visit(&self, visitor: &mut ChunkVisitor<'_>) -> Result<()> {
        if self.cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let blocks = match &self.storage {
            Storage::Memory { x, y } => {
                return if y.is_empty() {
                    Ok(())
                } else {
                    visitor(0, x, y)
                };
            }
            Storage::Blocks(blocks) => blocks,
        };
        let d = self.columns;
        let (mut x_buffer, mut y_buffer) = (Vec::new(), Vec::new());
        let mut first = 0;
        blocks.visit(&mut |mut x, mut y| {
            while !y.is_empty() {
                let take = (CHUNK - y_buffer.len()).min(y.len());
                x_buffer.extend_from_slice(&x[..take * d]);
                y_buffer.extend_from_slice(&y[..take]);
                (x, y) = (&x[take * d..], &y[take..]);
                if y_buffer.len() == CHUNK {
                    if self.cancel.is_cancelled() {
                        return Err(Error::Cancelled);
                    }
                    visitor(first, &x_buffer, &y_buffer)?;
                    first += CHUNK;
                    x_buffer.clear();
                    y_buffer.clear();
                }
            }
            Ok(())
        })?;
        if !y_buffer.is_empty() {
            visitor(first, &x_buffer, &y_buffer)?;
        }
        let found = first + y_buffer.len();
        if found != self.rows {
            return Err(Error::ShapeMismatch {
                what: "rows read",
                expected: self.rows,
                found,
            });
        }
        Ok(())
    }
}

/// Whether squares of some number of the design matrix could overflow or vanish, or where a number is not allowed.
fn check(x: &[f64], y: &[f64], columns: usize, first: usize) -> Result<bool> {
    let mut is_extreme = false;
    for (row, (x, y)) in x.chunks_exact(columns).zip(y).enumerate() {
        let row = first + row;
        for (column, &x) in x.iter().enumerate() {
            if !is_allowed(x) {
                return Err(not_allowed(x, row, Some(column)));
            }
            is_extreme |= x != 0.0 && !COMFORTABLE.contains(&x.abs());
        }
        if !is_allowed(*y) {
            return Err(not_allowed(*y, row, None));
        }
    }
    Ok(is_extreme)
}

/// Whether a number is finite and its square is, too; NaN fails the comparison.
fn is_allowed(value: f64) -> bool {
    value.abs() <= LARGEST
}

fn not_allowed(value: f64, row: usize, column: Option<usize>) -> Error {
    if value.is_finite() {
        Error::TooLarge { row, column }
    } else {
        Error::NonFinite { row, column }
    }
}
