//! Parquet files.

use std::path::Path;
use std::sync::Arc;

use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, FileReader, SerializedFileReader};
use parquet::record::Field;
use parquet::schema::types::Type;

use super::layout::{Layout, Record};
use super::{ReadOptions, Table, open};
use crate::error::{Error, Result};

/// The fields of a row that were read, by their places in the schema.
struct Fields {
    fields: Vec<Field>,
    /// Where a place of the schema is among the fields.
    at: Vec<Option<usize>>,
}

impl Fields {
    fn get(&self, place: usize) -> &Field {
        self.at[place].map_or(&Field::Null, |at| &self.fields[at])
    }
}

impl Record for Fields {
    fn number(&self, place: usize) -> Option<f64> {
        Some(match self.get(place) {
            Field::Bool(value) => f64::from(u8::from(*value)),
            Field::Byte(value) => f64::from(*value),
            Field::Short(value) => f64::from(*value),
            Field::Int(value) | Field::Date(value) => f64::from(*value),
            Field::Long(value) | Field::TimestampMillis(value) | Field::TimestampMicros(value) => {
                *value as f64
            }
            Field::UByte(value) => f64::from(*value),
            Field::UShort(value) => f64::from(*value),
            Field::UInt(value) => f64::from(*value),
            Field::ULong(value) => *value as f64,
            Field::Float16(value) => f64::from(value.to_f32()),
            Field::Float(value) => f64::from(*value),
            Field::Double(value) => *value,
            decimal @ Field::Decimal(_) => decimal.to_string().parse().ok()?,
            Field::Str(text) => text.trim().parse().ok()?,
            _ => return None,
        })
    }

    fn is(&self, place: usize, category: &str) -> bool {
        match self.get(place) {
            Field::Null => false,
            Field::Str(text) => text == category,
            Field::Bytes(bytes) => bytes.data() == category.as_bytes(),
            other => other.to_string() == category,
        }
    }

    fn shown(&self, place: usize) -> String {
        self.get(place).to_string()
    }
}

impl Table {
    /// Reads a Parquet file whose columns asked for are not nested. Booleans, integers, floats, decimals and text that is a number are numbers; dates
    /// are days and timestamps milli- or microseconds since 1970; nulls are no numbers.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Format`] with the record, [`Error::NoColumn`], [`Error::NoColumns`].
    pub fn from_parquet(path: impl AsRef<Path>, options: &ReadOptions) -> Result<Self> {
        let path = path.as_ref();
        Self::from_parquet_reader(open(path)?, &path.display().to_string(), options)
    }

    /// Reads Parquet from bytes or a file; `name` stands for the file in errors.
    ///
    /// # Errors
    /// As of [`Table::from_parquet`].
    pub fn from_parquet_reader(
        reader: impl ChunkReader + 'static,
        name: &str,
        options: &ReadOptions,
    ) -> Result<Self> {
        let failed = |line: u64| move |error| explain(error, name, line);
        let reader = SerializedFileReader::new(reader).map_err(failed(0))?;
        let schema = reader.metadata().file_metadata().schema();
        let all = schema.get_fields();
        let header = all.iter().map(|field| field.name().to_owned()).collect();
        let mut layout = Layout::new(name, header, options)?;
        let places = layout.places();
        let mut at = vec![None; all.len()];
        let mut chosen = Vec::new();
        for (index, &place) in places.iter().enumerate() {
            if all[place].is_group() {
                return Err(Error::Format {
                    file: name.to_owned(),
                    line: 0,
                    expected: format!("one value a record in column `{}`", all[place].name()),
                    found: "a nested column".to_owned(),
                });
            }
            at[place] = Some(index);
            chosen.push(Arc::clone(&all[place]));
        }
        let projection = Type::group_type_builder(schema.name())
            .with_fields(chosen)
            .build()
            .map_err(failed(0))?;
        let rows = reader.get_row_iter(Some(projection)).map_err(failed(0))?;
        let mut fields = Fields {
            fields: Vec::new(),
            at,
        };
        for (index, row) in rows.enumerate() {
            let line = index as u64 + 1;
            let row = row.map_err(failed(line))?;
            fields.fields = row
                .into_columns()
                .into_iter()
                .map(|(_, field)| field)
                .collect();
            layout.push(line, &fields)?;
        }
        layout.finish()
    }
}

fn explain(error: ParquetError, name: &str, line: u64) -> Error {
    Error::Format {
        file: name.to_owned(),
        line,
        expected: "a Parquet file".to_owned(),
        found: error.to_string(),
    }
}
