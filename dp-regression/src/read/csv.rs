//! CSV files with a header.

use std::io::Read;
use std::path::Path;

use csv::{ErrorKind, ReaderBuilder, StringRecord, Trim};

use super::layout::{Layout, Record};
use super::{ReadOptions, Table, open};
use crate::error::{Error, Result};

impl Record for StringRecord {
    fn number(&self, place: usize) -> Option<f64> {
        self[place].parse().ok()
    }

    fn is(&self, place: usize, category: &str) -> bool {
        &self[place] == category
    }

    fn shown(&self, place: usize) -> String {
        self[place].to_owned()
    }
}

impl Table {
    /// Reads a CSV file with a header (RFC 4180; lines may end with LF, blanks around fields do not count).
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Format`] with the line, [`Error::NoColumn`], [`Error::NoColumns`].
    pub fn from_csv(path: impl AsRef<Path>, options: &ReadOptions) -> Result<Self> {
        let path = path.as_ref();
        Self::from_csv_reader(open(path)?, &path.display().to_string(), options)
    }

    /// Reads CSV from anywhere; `name` stands for the file in errors.
    ///
    /// # Errors
    /// As of [`Table::from_csv`].
    pub fn from_csv_reader(reader: impl Read, name: &str, options: &ReadOptions) -> Result<Self> {
        let mut reader = ReaderBuilder::new()
            .delimiter(options.delimiter)
            .trim(Trim::All)
            .from_reader(reader);
        let failed = |error| explain(error, name);
        let header = reader.headers().map_err(failed)?;
        let header = header.iter().map(str::to_owned).collect();
        let mut layout = Layout::new(name, header, options)?;
        let mut record = StringRecord::new();
        while reader.read_record(&mut record).map_err(failed)? {
            let line = record.position().map_or(0, csv::Position::line);
            layout.push(line, &record)?;
        }
        layout.finish()
    }
}

fn explain(error: csv::Error, name: &str) -> Error {
    let line = error.position().map_or(0, csv::Position::line);
    let (expected, found) = match error.into_kind() {
        ErrorKind::Io(source) => {
            return Error::Io {
                path: name.into(),
                source,
            };
        }
        ErrorKind::Utf8 { .. } => ("UTF-8".to_owned(), "other bytes".to_owned()),
        ErrorKind::UnequalLengths {
            expected_len, len, ..
        } => (
            format!("{expected_len} fields, as in the header"),
            len.to_string(),
        ),
        other => ("a CSV file".to_owned(), format!("{other:?}")),
    };
    Error::Format {
        file: name.to_owned(),
        line,
        expected,
        found,
    }
}
