//! Points from files: comma-separated text and NumPy arrays.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use super::Measure;
use crate::{Error, Result};

impl Measure {
    /// Reads points from a file: `.npy` as a NumPy array, else comma-separated text. `weight_column` names the column of the weights,
    /// counted from 0.
    ///
    /// # Errors
    /// As for [`from_csv`](Self::from_csv) and [`from_npy`](Self::from_npy), and [`Error::Io`] if the file cannot be opened.
    pub fn from_file(path: impl AsRef<Path>, weight_column: Option<usize>) -> Result<Self> {
        let path = path.as_ref();
        let file = BufReader::new(File::open(path).map_err(|source| Error::Io {
            path: path.to_owned(),
            source,
        })?);
        if path
            .extension()
            .is_some_and(|kind| kind.eq_ignore_ascii_case("npy"))
        {
            Self::from_npy(file, path, weight_column)
        } else {
            Self::from_csv(file, path, weight_column)
        }
    }

    /// Reads points from comma-separated text, a point a line. A first line that holds no number is taken for names of columns; lines
    /// that begin with `#` are left out. `path` is named in errors.
    ///
    /// # Errors
    /// [`Error::Read`] if a cell is no number, lines differ in length, or there is no such column of weights; else as for
    /// [`weighted`](Self::weighted).
    pub fn from_csv(
        reader: impl Read,
        path: impl AsRef<Path>,
        weight_column: Option<usize>,
    ) -> Result<Self> {
        let path = path.as_ref();
        let failed = |reason: String| unreadable(path, reason);
        let mut lines = csv::ReaderBuilder::new()
            .has_headers(false)
            .trim(csv::Trim::All)
            .comment(Some(b'#'))
            .from_reader(reader);
        let mut values = Vec::new();
        let mut columns = 0;
        let mut record = csv::StringRecord::new();
        let mut first = true;
        while lines
            .read_record(&mut record)
            .map_err(|error| failed(error.to_string()))?
        {
            let names = first && record.iter().all(|cell| cell.parse::<f64>().is_err());
            first = false;
            columns = record.len();
            if names {
                continue;
            }
            for (column, cell) in record.iter().enumerate() {
                let line = record.position().map_or(0, csv::Position::line);
                values.push(cell.parse::<f64>().map_err(|_| {
                    failed(format!(
                        "line {line}, column {}: `{cell}` is not a number",
                        column + 1
                    ))
                })?);
            }
        }
        Self::from_table(columns, values, path, weight_column)
    }

    /// Reads points from a NumPy array of 32- or 64-bit numbers with the shape `[points, coordinates]`. `path` is named in errors.
    ///
    /// # Errors
    /// [`Error::Read`] if this is no such array or there is no such column of weights; else as for [`weighted`](Self::weighted).
    pub fn from_npy(
        reader: impl Read,
        path: impl AsRef<Path>,
        weight_column: Option<usize>,
    ) -> Result<Self> {
        let path = path.as_ref();
        let failed = |reason: String| unreadable(path, reason);
        let array = npyz::NpyFile::new(reader)
            .map_err(|error| failed(format!("no NumPy array: {error}")))?;
        let shape = array.shape().to_vec();
        let [rows, columns] = shape[..] else {
            return Err(failed(format!(
                "the array must have two axes, points and coordinates, and has the shape {shape:?}"
            )));
        };
        let by_columns = array.order() == npyz::Order::Fortran;
        let described = array.dtype().descr();
        // Number by number, so that a header that promises more than the file holds costs no memory.
        let mut values = Vec::new();
        let broken = |error: std::io::Error| failed(error.to_string());
        match described.trim_matches(['\'', '"']) {
            "<f8" | ">f8" | "=f8" => {
                for value in array
                    .data::<f64>()
                    .map_err(|error| failed(error.to_string()))?
                {
                    values.push(value.map_err(broken)?);
                }
            }
            "<f4" | ">f4" | "=f4" => {
                for value in array
                    .data::<f32>()
                    .map_err(|error| failed(error.to_string()))?
                {
                    values.push(f64::from(value.map_err(broken)?));
                }
            }
            other => {
                return Err(failed(format!(
                    "numbers of the type {other} are not read; save the array as float64"
                )));
            }
        }
        let (rows, columns) = (rows as usize, columns as usize);
        if by_columns {
            values = (0..values.len())
                .map(|place| values[(place % columns) * rows + place / columns])
                .collect();
        }
        Self::from_table(columns, values, path, weight_column)
    }

    /// Splits a table into points and weights.
    fn from_table(
        columns: usize,
        values: Vec<f64>,
        path: &Path,
        weight_column: Option<usize>,
    ) -> Result<Self> {
        let Some(weight) = weight_column else {
            return Self::from_points(columns, values);
        };
        if weight >= columns {
            return Err(unreadable(
                path,
                format!("there is no column {weight} of weights (counted from 0) among {columns}"),
            ));
        }
        let weights = values
            .iter()
            .skip(weight)
            .step_by(columns)
            .copied()
            .collect();
        let points = values
            .iter()
            .enumerate()
            .filter(|(place, _)| place % columns != weight)
            .map(|(_, value)| *value)
            .collect();
        Self::weighted(columns - 1, points, weights)
    }
}

/// A file that does not hold points, and why.
fn unreadable(path: &Path, reason: String) -> Error {
    Error::Read {
        path: path.to_owned(),
        reason,
    }
}
