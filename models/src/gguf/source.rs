//! Reading of all that stands before the tensors. Every length is compared with what is left of the file before memory
//! is taken for it, so that a damaged or hostile file costs no more than its own size.

use std::collections::BTreeMap;
use std::io::{BufReader, Read, Seek};
use std::path::Path;

use super::value::{Array, Value};
use super::{FORMAT, TensorInfo, TensorType};
use crate::{Error, Result};

const MAGIC: &[u8; 4] = b"GGUF";

/// Lists of lists deeper than this are refused.
const MAX_DEPTH: usize = 8;

/// Tensors have no more axes than this.
const MAX_AXES: u32 = 4;

/// The least number of bytes that describe a tensor: lengths of its name and shape, type and offset.
const LEAST_TENSOR: u64 = 8 + 4 + 4 + 8;

/// The least number of bytes of an entry of the metadata: length of the key, type, and a value.
const LEAST_ENTRY: u64 = 8 + 4 + 1;

/// The types of values, by number.
mod kind {
    pub(super) const U8: u32 = 0;
    pub(super) const I8: u32 = 1;
    pub(super) const U16: u32 = 2;
    pub(super) const I16: u32 = 3;
    pub(super) const U32: u32 = 4;
    pub(super) const I32: u32 = 5;
    pub(super) const F32: u32 = 6;
    pub(super) const BOOL: u32 = 7;
    pub(super) const STRING: u32 = 8;
    pub(super) const ARRAY: u32 = 9;
    pub(super) const U64: u32 = 10;
    pub(super) const I64: u32 = 11;
    pub(super) const F64: u32 = 12;
}

/// What tensors are read from.
pub(super) trait ReadSeek: Read + Seek + Send {}

impl<T: Read + Seek + Send> ReadSeek for T {}

/// The beginning of a file, with the place that reading has reached.
pub(super) struct Source<'a> {
    reader: BufReader<&'a mut Box<dyn ReadSeek>>,
    offset: u64,
    size: u64,
    path: &'a Path,
}

impl<'a> Source<'a> {
    pub(super) fn new(
        reader: BufReader<&'a mut Box<dyn ReadSeek>>,
        size: u64,
        path: &'a Path,
    ) -> Self {
        Self {
            reader,
            offset: 0,
            size,
            path,
        }
    }

    /// Checks the magic bytes and returns the version.
    pub(super) fn version(&mut self) -> Result<u32> {
        let found = self.bytes(self.size.min(MAGIC.len() as u64))?;
        if !MAGIC.starts_with(&found) {
            return Err(Error::WrongMagic {
                path: self.path.to_owned(),
                format: FORMAT,
                found,
            });
        }
        self.require(MAGIC.len() as u64 - found.len() as u64)?;
        let version = self.u32()?;
        match (version, version.swap_bytes()) {
            (2..=3, _) => Ok(version),
            (_, 2..=3) => Err(self.wrong(4, "big-endian files are not supported")),
            _ => Err(self.wrong(
                4,
                format!("version {version} is not supported, only 2 and 3"),
            )),
        }
    }

    pub(super) fn metadata(&mut self, entries: u64) -> Result<BTreeMap<String, Value>> {
        self.require(entries.saturating_mul(LEAST_ENTRY))?;
        let mut metadata = BTreeMap::new();
        for _ in 0..entries {
            let start = self.offset;
            let key = self.string()?;
            let kind = self.u32()?;
            let value = self.value(kind)?;
            if metadata.contains_key(&key) {
                return Err(self.wrong(start, format!("a second value for `{key}`")));
            }
            metadata.insert(key, value);
        }
        Ok(metadata)
    }

    /// Descriptions of the tensors; what follows them, up to the next multiple of `alignment`, is where data begin.
    pub(super) fn tensors(
        &mut self,
        count: u64,
        alignment: u64,
    ) -> Result<BTreeMap<String, TensorInfo>> {
        self.require(count.saturating_mul(LEAST_TENSOR))?;
        let mut tensors = BTreeMap::new();
        for _ in 0..count {
            let start = self.offset;
            let (name, info) = self.tensor(alignment)?;
            if tensors.contains_key(&name) {
                return Err(self.wrong(start, format!("a second tensor `{name}`")));
            }
            tensors.insert(name, info);
        }
        let data = self.offset.next_multiple_of(alignment);
        for info in tensors.values_mut() {
            info.offset = info.offset.saturating_add(data);
            // The length of a tensor of an unknown type is unknown; reading it is an error anyway.
            let length = info.tensor_type.bytes(info.len()).unwrap_or(0) as u64;
            let end = info.offset.saturating_add(length);
            if end > self.size {
                return Err(self.truncated(end));
            }
        }
        Ok(tensors)
    }

    /// One tensor, with its offset still relative to the beginning of the data.
    fn tensor(&mut self, alignment: u64) -> Result<(String, TensorInfo)> {
        let start = self.offset;
        let name = self.string()?;
        let axes = self.u32()?;
        if axes > MAX_AXES {
            return Err(self.wrong(start, format!("tensor `{name}` has {axes} axes")));
        }
        let mut shape = Vec::new();
        for _ in 0..axes {
            let length = self.u64()?;
            shape.push(usize::try_from(length).unwrap_or(usize::MAX));
        }
        let tensor_type = TensorType::from_number(self.u32()?);
        let offset = self.u64()?;
        if !offset.is_multiple_of(alignment) {
            let reason = format!("tensor `{name}` is at {offset}, no multiple of {alignment}");
            return Err(self.wrong(start, reason));
        }
        // The first axis in the file is that of adjacent values; blocks do not straddle rows.
        let row = shape.first().copied().unwrap_or(1);
        if !row.is_multiple_of(tensor_type.block()) {
            let reason = format!("tensor `{name}` has rows of {row} values of type {tensor_type}");
            return Err(self.wrong(start, reason));
        }
        shape.reverse();
        // More than 8 bytes a value is not needed by any type, so that lengths in bytes fit, too.
        let length = shape
            .iter()
            .try_fold(8_usize, |n, &axis| n.checked_mul(axis));
        if length.is_none() {
            let reason = format!("tensor `{name}` of shape {shape:?} is larger than any file");
            return Err(self.wrong(start, reason));
        }
        let info = TensorInfo {
            shape,
            tensor_type,
            offset,
        };
        Ok((name, info))
    }

    fn value(&mut self, kind: u32) -> Result<Value> {
        Ok(match kind {
            kind::U8 => Value::U8(u8::from_le_bytes(self.array()?)),
            kind::I8 => Value::I8(i8::from_le_bytes(self.array()?)),
            kind::U16 => Value::U16(u16::from_le_bytes(self.array()?)),
            kind::I16 => Value::I16(i16::from_le_bytes(self.array()?)),
            kind::U32 => Value::U32(self.u32()?),
            kind::I32 => Value::I32(i32::from_le_bytes(self.array()?)),
            kind::F32 => Value::F32(f32::from_le_bytes(self.array()?)),
            kind::BOOL => Value::Bool(self.boolean()?),
            kind::STRING => Value::String(self.string()?),
            kind::ARRAY => Value::Array(self.list(MAX_DEPTH)?),
            kind::U64 => Value::U64(self.u64()?),
            kind::I64 => Value::I64(i64::from_le_bytes(self.array()?)),
            kind::F64 => Value::F64(f64::from_le_bytes(self.array()?)),
            other => {
                return Err(self.wrong(self.offset, format!("a value of the unknown type {other}")));
            }
        })
    }

    fn list(&mut self, depth: usize) -> Result<Array> {
        let start = self.offset;
        let kind = self.u32()?;
        let length = self.u64()?;
        Ok(match kind {
            kind::U8 => Array::U8(self.bytes(length)?),
            kind::I8 => Array::I8(self.numbers(length, i8::from_le_bytes)?),
            kind::U16 => Array::U16(self.numbers(length, u16::from_le_bytes)?),
            kind::I16 => Array::I16(self.numbers(length, i16::from_le_bytes)?),
            kind::U32 => Array::U32(self.numbers(length, u32::from_le_bytes)?),
            kind::I32 => Array::I32(self.numbers(length, i32::from_le_bytes)?),
            kind::F32 => Array::F32(self.numbers(length, f32::from_le_bytes)?),
            kind::BOOL => Array::Bool(self.each(length, 1, Self::boolean)?),
            kind::STRING => Array::String(self.each(length, 8, Self::string)?),
            kind::ARRAY => {
                let Some(depth) = depth.checked_sub(1) else {
                    return Err(self.wrong(start, "lists are nested too deep"));
                };
                Array::Array(self.each(length, 12, |source| source.list(depth))?)
            }
            kind::U64 => Array::U64(self.numbers(length, u64::from_le_bytes)?),
            kind::I64 => Array::I64(self.numbers(length, i64::from_le_bytes)?),
            kind::F64 => Array::F64(self.numbers(length, f64::from_le_bytes)?),
            other => {
                return Err(self.wrong(start, format!("a list of the unknown type {other}")));
            }
        })
    }

    /// Values of at least `least` bytes each.
    fn each<T>(
        &mut self,
        length: u64,
        least: u64,
        mut read: impl FnMut(&mut Self) -> Result<T>,
    ) -> Result<Vec<T>> {
        self.require(length.saturating_mul(least))?;
        (0..length).map(|_| read(self)).collect()
    }

    fn numbers<const N: usize, T>(
        &mut self,
        length: u64,
        convert: impl Fn([u8; N]) -> T,
    ) -> Result<Vec<T>> {
        let bytes = self.bytes(length.saturating_mul(N as u64))?;
        let (numbers, _) = bytes.as_chunks::<N>();
        Ok(numbers.iter().map(|&number| convert(number)).collect())
    }

    pub(super) fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn boolean(&mut self) -> Result<bool> {
        let start = self.offset;
        match self.array()? {
            [0] => Ok(false),
            [1] => Ok(true),
            [other] => Err(self.wrong(start, format!("a truth value of {other}"))),
        }
    }

    fn string(&mut self) -> Result<String> {
        let length = self.u64()?;
        let start = self.offset;
        String::from_utf8(self.bytes(length)?).map_err(|error| {
            let at = start + error.utf8_error().valid_up_to() as u64;
            self.wrong(at, "a text is not valid UTF-8")
        })
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn bytes(&mut self, length: u64) -> Result<Vec<u8>> {
        self.require(length)?;
        let mut bytes = vec![0; length as usize];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<()> {
        self.require(bytes.len() as u64)?;
        self.reader
            .read_exact(bytes)
            .map_err(Error::io(self.path))?;
        self.offset += bytes.len() as u64;
        Ok(())
    }

    /// Checks that so many bytes are left.
    fn require(&self, length: u64) -> Result<()> {
        let needed = self.offset.saturating_add(length);
        match needed <= self.size {
            true => Ok(()),
            false => Err(self.truncated(needed)),
        }
    }

    fn truncated(&self, needed: u64) -> Error {
        Error::Truncated {
            path: self.path.to_owned(),
            needed,
            found: self.size,
        }
    }

    fn wrong(&self, offset: u64, reason: impl std::fmt::Display) -> Error {
        Error::Parse {
            path: self.path.to_owned(),
            format: FORMAT,
            reason: format!("at byte {offset}: {reason}"),
        }
    }
}
