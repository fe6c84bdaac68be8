//! Readers: CSV and Parquet (feature `parquet`) with public column choices, and NumPy files that are read in blocks.

mod csv;
mod layout;
mod npy;
#[cfg(feature = "parquet")]
mod parquet;

pub use self::npy::NpyRows;

use std::fs::File;
use std::path::Path;

use crate::dataset::Dataset;
use crate::error::{Error, Result};
use crate::transform::PublicTransform;

/// What becomes of a column of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Column {
    /// Its number.
    Number(String),
    /// An indicator for each of these public categories but the first; other values have none.
    Categories {
        /// The column's name.
        name: String,
        /// The categories.
        categories: Vec<String>,
    },
}

/// Which columns of a file are read, and how. All of it is public.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadOptions {
    /// The column of the response.
    pub target: String,
    /// The design matrix's columns, in order; `None` for all others of the file, as numbers.
    pub columns: Option<Vec<Column>>,
    /// Whether what is no number becomes NaN, to be replaced by a [`PublicTransform`], instead of an error. Default false.
    pub lenient: bool,
    /// What separates fields of a CSV file. Default a comma.
    pub delimiter: u8,
}

impl ReadOptions {
    /// All columns but the response, as numbers.
    #[must_use]
    pub fn new(target: impl Into<String>) -> Self {
        Self {
            target: target.into(),
            columns: None,
            lenient: false,
            delimiter: b',',
        }
    }
}

/// Opens a file that is read.
fn open(path: &Path) -> Result<File> {
    File::open(path).map_err(|source| Error::Io {
        path: path.to_owned(),
        source,
    })
}

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

    /// The design matrix, row by row, and the responses.
    #[must_use]
    pub fn into_parts(self) -> (Vec<f64>, Vec<f64>) {
        (self.x, self.y)
    }

    /// The validated table.
    ///
    /// # Errors
    /// Those of [`Dataset::new`].
    pub fn dataset(&self) -> Result<Dataset<'_>> {
        Dataset::new(&self.x[..], &self.y[..], self.names.len())
    }
}
