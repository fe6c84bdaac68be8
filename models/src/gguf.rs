//! GGUF, the file format of llama.cpp: typed metadata and tensors, often quantised, in one file.
//!
//! A file begins with its metadata, which says what the network looks like and holds its tokenizer. The tensors follow;
//! they are read when they are asked for and converted to 32-bit numbers. Nothing that the file says about lengths is
//! believed before it was compared with the size of the file.
//!
//! ```no_run
//! use fire_assay_models::gguf::GgufFile;
//! use fire_assay_models::tensors::TensorSource;
//!
//! let file = GgufFile::open("SmolLM2-135M-Instruct.Q4_1.gguf")?;
//! println!("{:?}", file.string("general.architecture")?);
//! let embedding = file.read("token_embd.weight")?;
//! println!("{:?}", embedding.shape());
//! # Ok::<(), fire_assay_models::Error>(())
//! ```

mod source;
mod tensor_type;
mod value;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use source::{ReadSeek, Source};

pub use tensor_type::TensorType;
pub use value::{Array, Value};

use crate::tensors::{HostTensor, TensorSource, check_finite};
use crate::{Error, Result};

/// The format's name in errors.
const FORMAT: &str = "GGUF";

/// An open GGUF file: its metadata, and where its tensors are.
pub struct GgufFile {
    path: PathBuf,
    reader: Mutex<Box<dyn ReadSeek>>,
    version: u32,
    metadata: BTreeMap<String, Value>,
    tensors: BTreeMap<String, TensorInfo>,
}

/// A tensor's place in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    shape: Vec<usize>,
    tensor_type: TensorType,
    /// Of the first byte, from the beginning of the file.
    offset: u64,
}

impl TensorInfo {
    /// Length of every axis, in row-major order: the reverse of the order in the file.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// How its values are stored.
    pub fn tensor_type(&self) -> TensorType {
        self.tensor_type
    }

    fn len(&self) -> usize {
        self.shape.iter().product()
    }
}

impl GgufFile {
    /// Opens a file of version 2 or 3, little-endian, and reads all but its tensors.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], [`Error::WrongMagic`], [`Error::Truncated`], and [`Error::Parse`] with the offset of what is
    /// wrong.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        Self::from_reader(File::open(path).map_err(Error::io(path))?, path)
    }

    /// Reads a file that is somewhere else, for example in memory; `name` is what errors call it.
    ///
    /// # Errors
    ///
    /// As [`Self::open`].
    pub fn from_reader(
        reader: impl Read + Seek + Send + 'static,
        name: impl Into<PathBuf>,
    ) -> Result<Self> {
        let path = name.into();
        let mut reader: Box<dyn ReadSeek> = Box::new(reader);
        let size = reader.seek(SeekFrom::End(0)).map_err(Error::io(&path))?;
        reader.rewind().map_err(Error::io(&path))?;
        let mut source = Source::new(BufReader::new(&mut reader), size, &path);
        let version = source.version()?;
        let (tensors, entries) = (source.u64()?, source.u64()?);
        let metadata = source.metadata(entries)?;
        let alignment = match metadata.get("general.alignment") {
            None => 32,
            Some(Value::U32(alignment)) if alignment.is_power_of_two() => u64::from(*alignment),
            Some(other) => {
                let reason =
                    format!("general.alignment is {other:?}, not a power of two of 32 bits");
                return Err(Error::Parse {
                    path,
                    format: FORMAT,
                    reason,
                });
            }
        };
        let tensors = source.tensors(tensors, alignment)?;
        Ok(Self {
            reader: Mutex::new(reader),
            path,
            version,
            metadata,
            tensors,
        })
    }

    /// The version of the format that the file follows.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// All metadata by key.
    pub fn metadata(&self) -> &BTreeMap<String, Value> {
        &self.metadata
    }

    /// All tensors by name.
    pub fn tensors(&self) -> &BTreeMap<String, TensorInfo> {
        &self.tensors
    }

    /// The text under a key, if there is one.
    ///
    /// # Errors
    ///
    /// [`Error::Parse`] if the value is not text.
    pub fn string(&self, key: &str) -> Result<Option<&str>> {
        self.typed(key, "text", Value::as_str)
    }

    /// The whole number under a key, if there is one.
    ///
    /// # Errors
    ///
    /// [`Error::Parse`] if the value is not a whole number, or negative.
    pub fn unsigned(&self, key: &str) -> Result<Option<u64>> {
        self.typed(key, "a whole number", Value::as_u64)
    }

    /// The number under a key, if there is one. A number stored in 32 bits becomes the 64-bit number with the same
    /// shortest decimal form: `1e-5`, not `9.999999747378752e-6`.
    ///
    /// # Errors
    ///
    /// [`Error::Parse`] if the value is not a finite number.
    pub fn float(&self, key: &str) -> Result<Option<f64>> {
        self.typed(key, "a finite number", Value::as_f64)
    }

    /// The truth value under a key, if there is one.
    ///
    /// # Errors
    ///
    /// [`Error::Parse`] if the value is not a truth value.
    pub fn boolean(&self, key: &str) -> Result<Option<bool>> {
        self.typed(key, "true or false", Value::as_bool)
    }

    /// The list under a key, if there is one.
    ///
    /// # Errors
    ///
    /// [`Error::Parse`] if the value is not a list.
    pub fn array(&self, key: &str) -> Result<Option<&Array>> {
        self.typed(key, "a list", Value::as_array)
    }

    /// The list of texts under a key, if there is one.
    ///
    /// # Errors
    ///
    /// [`Error::Parse`] if the value is not a list of texts.
    pub fn strings(&self, key: &str) -> Result<Option<&[String]>> {
        self.typed(key, "a list of texts", |value| match value {
            Value::Array(Array::String(list)) => Some(list.as_slice()),
            _ => None,
        })
    }

    fn typed<'v, T>(
        &'v self,
        key: &str,
        expected: &str,
        convert: impl Fn(&'v Value) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(value) = self.metadata.get(key) else {
            return Ok(None);
        };
        let converted = convert(value);
        if converted.is_none() {
            return Err(self.wrong(format!("`{key}` is {}, not {expected}", value.describe())));
        }
        Ok(converted)
    }

    /// An error about the file's contents.
    pub(crate) fn wrong(&self, reason: String) -> Error {
        Error::Parse {
            path: self.path.clone(),
            format: FORMAT,
            reason,
        }
    }
}

impl TensorSource for GgufFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn names(&self) -> Vec<String> {
        self.tensors.keys().cloned().collect()
    }

    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        Some(self.tensors.get(name)?.shape.clone())
    }

    fn read(&self, name: &str) -> Result<HostTensor> {
        let info = self.tensors.get(name).ok_or_else(|| Error::MissingTensor {
            path: self.path.clone(),
            tensor: name.to_owned(),
        })?;
        let unsupported = || Error::UnsupportedType {
            path: self.path.clone(),
            tensor: name.to_owned(),
            found: info.tensor_type.to_string(),
        };
        let length = info.tensor_type.bytes(info.len()).ok_or_else(unsupported)?;
        let mut bytes = vec![0; length];
        {
            let mut reader = self
                .reader
                .lock()
                .unwrap_or_else(|poisoned| poisoned.into_inner());
            reader
                .seek(SeekFrom::Start(info.offset))
                .and_then(|_| reader.read_exact(&mut bytes))
                .map_err(Error::io(&self.path))?;
        }
        let values = info
            .tensor_type
            .dequantize(&bytes)
            .ok_or_else(unsupported)?;
        check_finite(&self.path, name, &values)?;
        HostTensor::new(info.shape.clone(), values)
    }
}
