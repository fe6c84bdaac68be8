//! Which columns of a file become which columns of a table.

use super::{Column, ReadOptions, Table};
use crate::error::{Error, Result};

/// One record of a file, by the places of its header.
pub(super) trait Record {
    /// The number at a place.
    fn number(&self, place: usize) -> Option<f64>;
    /// Whether the text at a place is this.
    fn is(&self, place: usize, category: &str) -> bool;
    /// What stands at a place, for errors.
    fn shown(&self, place: usize) -> String;
}

/// Takes records one by one and puts the table together.
pub(super) struct Layout<'a> {
    file: &'a str,
    header: Vec<String>,
    lenient: bool,
    target: usize,
    names: Vec<String>,
    columns: Vec<(usize, Option<Vec<String>>)>,
    x: Vec<f64>,
    y: Vec<f64>,
}

impl<'a> Layout<'a> {
    pub(super) fn new(file: &'a str, header: Vec<String>, options: &ReadOptions) -> Result<Self> {
        let find = |column: &str| {
            header
                .iter()
                .position(|name| name == column)
                .ok_or_else(|| Error::NoColumn {
                    file: file.to_owned(),
                    column: column.to_owned(),
                    columns: header.clone(),
                })
        };
        let target = find(&options.target)?;
        let (mut names, mut columns) = (Vec::new(), Vec::new());
        match &options.columns {
            Some(chosen) => {
                for column in chosen {
                    match column {
                        Column::Number(name) => {
                            columns.push((find(name)?, None));
                            names.push(name.clone());
                        }
                        Column::Categories { name, categories } => {
                            let indicators = categories.get(1..).unwrap_or_default().to_vec();
                            names.extend(indicators.iter().map(|value| format!("{name}={value}")));
                            columns.push((find(name)?, Some(indicators)));
                        }
                    }
                }
            }
            None => {
                for (place, name) in header.iter().enumerate() {
                    if place != target {
                        columns.push((place, None));
                        names.push(name.clone());
                    }
                }
            }
        }
        Ok(Self {
            file,
            header,
            lenient: options.lenient,
            target,
            names,
            columns,
            x: Vec::new(),
            y: Vec::new(),
        })
    }

    /// Which places of the header are needed, ascending.
    #[cfg(feature = "parquet")]
    pub(super) fn places(&self) -> Vec<usize> {
        let mut places: Vec<usize> = self.columns.iter().map(|(place, _)| *place).collect();
        places.push(self.target);
        places.sort_unstable();
        places.dedup();
        places
    }

    /// Takes one record; `line` is for errors.
    pub(super) fn push(&mut self, line: u64, record: &impl Record) -> Result<()> {
        let number = |place: usize| match record.number(place) {
            Some(number) => Ok(number),
            None if self.lenient => Ok(f64::NAN),
            None => Err(Error::Format {
                file: self.file.to_owned(),
                line,
                expected: format!("a number in column `{}`", self.header[place]),
                found: format!("`{}`", record.shown(place)),
            }),
        };
        for (place, categories) in &self.columns {
            match categories {
                None => self.x.push(number(*place)?),
                Some(categories) => {
                    let indicator = |value: &String| f64::from(u8::from(record.is(*place, value)));
                    self.x.extend(categories.iter().map(indicator));
                }
            }
        }
        self.y.push(number(self.target)?);
        Ok(())
    }

    pub(super) fn finish(self) -> Result<Table> {
        Table::new(self.names, self.x, self.y)
    }
}
