//! CSV files with a header (RFC 4180: fields may be quoted, quotes in them doubled; lines end with LF or CRLF).

use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use super::Table;
use crate::error::{Error, Result};

/// What becomes of a column of the file.
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

/// Which columns are read, and how. All of it is public.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CsvOptions {
    /// The column of the response.
    pub target: String,
    /// The design matrix's columns, in order; `None` for all others of the file, as numbers.
    pub columns: Option<Vec<Column>>,
    /// Whether what is no number becomes NaN, to be replaced by a [`PublicTransform`](crate::PublicTransform), instead of an error. Default false.
    pub lenient: bool,
    /// What separates fields. Default a comma.
    pub delimiter: u8,
}

impl CsvOptions {
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

impl Table {
    /// Reads a file.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Format`] with the line, [`Error::NoColumn`], [`Error::NoColumns`].
    pub fn from_csv(path: impl AsRef<Path>, options: &CsvOptions) -> Result<Self> {
        let path = path.as_ref();
        let file = std::fs::File::open(path).map_err(|source| Error::Io {
            path: path.to_owned(),
            source,
        })?;
        Self::from_csv_reader(file, &path.display().to_string(), options)
    }

    /// Reads from anywhere; `name` stands for the file in errors.
    ///
    /// # Errors
    /// As of [`Table::from_csv`].
    pub fn from_csv_reader(reader: impl Read, name: &str, options: &CsvOptions) -> Result<Self> {
        let mut records = Records {
            reader: BufReader::new(reader),
            name,
            delimiter: options.delimiter,
            line: 0,
        };
        let header = records
            .next()?
            .map(|(_, header)| header)
            .unwrap_or_default();
        let find = |column: &str| {
            header
                .iter()
                .position(|name| name == column)
                .ok_or_else(|| Error::NoColumn {
                    file: name.to_owned(),
                    column: column.to_owned(),
                    columns: header.clone(),
                })
        };
        let target = find(&options.target)?;
        let columns = options.columns.clone().unwrap_or_else(|| {
            let others = header
                .iter()
                .enumerate()
                .filter(|(index, _)| *index != target);
            others
                .map(|(_, name)| Column::Number(name.clone()))
                .collect()
        });
        let mut names = Vec::new();
        let mut places = Vec::new();
        for column in &columns {
            match column {
                Column::Number(name) => {
                    places.push((find(name)?, None));
                    names.push(name.clone());
                }
                Column::Categories { name, categories } => {
                    places.push((find(name)?, Some(&categories[..])));
                    names.extend(
                        categories
                            .iter()
                            .skip(1)
                            .map(|category| format!("{name}={category}")),
                    );
                }
            }
        }
        let (mut x, mut y) = (Vec::new(), Vec::new());
        while let Some((line, fields)) = records.next()? {
            if fields.len() != header.len() {
                return Err(records.bad(
                    line,
                    format!("{} fields, as in the header", header.len()),
                    fields.len().to_string(),
                ));
            }
            let number = |index: usize| match fields[index].parse::<f64>() {
                Ok(number) => Ok(number),
                Err(_) if options.lenient => Ok(f64::NAN),
                Err(_) => {
                    let expected = format!("a number in column `{}`", header[index]);
                    Err(records.bad(line, expected, format!("`{}`", fields[index])))
                }
            };
            for (index, categories) in &places {
                match categories {
                    None => x.push(number(*index)?),
                    Some(categories) => {
                        let is =
                            |category: &String| f64::from(u8::from(*category == fields[*index]));
                        x.extend(categories.iter().skip(1).map(is));
                    }
                }
            }
            y.push(number(target)?);
        }
        Self::new(names, x, y)
    }
}

/// The records of a file, with the line on which each begins.
struct Records<'a, R> {
    reader: BufReader<R>,
    name: &'a str,
    delimiter: u8,
    line: u64,
}

impl<R: Read> Records<'_, R> {
    /// The next record that is not an empty line, its fields without quotes and surrounding blanks.
    fn next(&mut self) -> Result<Option<(u64, Vec<String>)>> {
        let mut text = Vec::new();
        let mut first = self.line + 1;
        loop {
            let before = text.len();
            self.reader
                .read_until(b'\n', &mut text)
                .map_err(|source| Error::Io {
                    path: self.name.into(),
                    source,
                })?;
            if text.len() == before {
                return if before == 0 {
                    Ok(None)
                } else {
                    Err(self.bad(
                        first,
                        "a closing quote".to_owned(),
                        "the end of the file".to_owned(),
                    ))
                };
            }
            self.line += 1;
            if text.trim_ascii().is_empty() {
                text.clear();
                first = self.line + 1;
                continue;
            }
            // A line end within quotes belongs to the field.
            if text.iter().filter(|byte| **byte == b'"').count() % 2 == 0 {
                break;
            }
        }
        let text = String::from_utf8(text)
            .map_err(|_| self.bad(first, "UTF-8".to_owned(), "other bytes".to_owned()))?;
        // A byte-order mark that some programs write.
        let text = if first == 1 {
            text.trim_start_matches('\u{feff}')
        } else {
            &text
        };
        Ok(Some((
            first,
            self.split(text.trim_end_matches(['\n', '\r'])),
        )))
    }

    fn split(&self, text: &str) -> Vec<String> {
        let delimiter = char::from(self.delimiter);
        let (mut fields, mut field, mut quoted) = (Vec::new(), String::new(), false);
        let mut characters = text.chars().peekable();
        while let Some(character) = characters.next() {
            match character {
                '"' if quoted && characters.peek() == Some(&'"') => {
                    field.push('"');
                    characters.next();
                }
                '"' => quoted = !quoted,
                other if other == delimiter && !quoted => {
                    fields.push(std::mem::take(&mut field).trim().to_owned())
                }
                other => field.push(other),
            }
        }
        fields.push(field.trim().to_owned());
        fields
    }

    fn bad(&self, line: u64, expected: String, found: String) -> Error {
        Error::Format {
            file: self.name.to_owned(),
            line,
            expected,
            found,
        }
    }
}
