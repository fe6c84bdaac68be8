//! Readers: CSV with public column choices, and NumPy files that are read in blocks.

mod csv;
mod npy;

pub use self::csv::{Column, CsvOptions};
pub use self::npy::NpyRows;

use crate::dataset::Dataset;
use crate::error::{Error, Result};
use crate::transform::PublicTransform;

/// A table in memory with names.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    names: Vec<String>,
    x: Vec<f64>,
    y: Vec<f64>,
}

impl Table {
    /// From the names of the columns, the design matrix row by row, and the responses.
    ///
    /// # Errors
    /// [`Error::NoColumns`], [`Error::ShapeMismatch`].
    pub fn new(names: Vec<String>, x: Vec<f64>, y: Vec<f64>) -> Result<Self> {
        if names.is_empty() {
            return Err(Error::NoColumns);
        }
        let expected = names.len() * y.len();
        if x.len() != expected {
            return Err(Error::ShapeMismatch {
                what: "numbers of the design matrix",
                expected,
                found: x.len(),
            });
        }
        Ok(Self { names, x, y })
    }

    /// The names of the design matrix's columns.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.y.len()
    }

    /// Clips to public ranges, see [`PublicTransform`].
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] for another number of columns.
    pub fn transformed(mut self, transform: &PublicTransform) -> Result<Self> {
        transform.apply(&mut self.x, &mut self.y)?;
        Ok(self)
    }

    /// The table with a first column of ones, `intercept`.
    #[must_use]
    pub fn with_intercept(self) -> Self {
        let d = self.names.len();
        let x = self
            .x
            .chunks_exact(d)
            .flat_map(|row| std::iter::once(1.0).chain(row.iter().copied()))
            .collect();
        let names = std::iter::once("intercept".to_owned())
            .chain(self.names)
            .collect();
        Self {
            names,
            x,
            y: self.y,
        }
    }

    /// The validated table.
    ///
    /// # Errors
    /// Those of [`Dataset::new`].
    pub fn dataset(&self) -> Result<Dataset<'_>> {
        Dataset::new(&self.x[..], &self.y[..], self.names.len())
    }
}
