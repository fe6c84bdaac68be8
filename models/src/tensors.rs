//! Tensors by name, in files and in memory: what every loader of weights is built on.
//!
//! A [`TensorSource`] is a file that holds named tensors; [`Safetensors`] is one (single or sharded), a GGUF file is
//! another. A [`Loader`] takes tensors out of a source by name and expected shape and, at the end, insists that nothing
//! was left over: a checkpoint that does not fit is an error that names the tensor, never a half-loaded network.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use burn::tensor::{Device, Tensor, TensorData};
use safetensors::tensor::{Dtype, Metadata, TensorInfo};
use serde_json::{Map, Value, json};

use crate::{Error, Result};

/// A tensor in main memory: row-major values in 32 bits.
#[derive(Clone, Debug, PartialEq)]
pub struct HostTensor {
    shape: Vec<usize>,
    values: Vec<f32>,
}

/// A file that holds named tensors.
pub trait TensorSource {
    /// The file, for messages.
    fn path(&self) -> &Path;

    /// Names of all tensors, sorted.
    fn names(&self) -> Vec<String>;

    /// Shape of a tensor in row-major order (`[out, in]` for a linear layer), or nothing if there is no such tensor.
    fn shape(&self, name: &str) -> Option<Vec<usize>>;

    /// Reads a tensor, converted to 32 bits.
    ///
    /// # Errors
    ///
    /// [`Error::MissingTensor`], [`Error::UnsupportedType`], [`Error::Io`], and [`Error::NonFinite`] if a value is NaN
    /// or infinite.
    fn read(&self, name: &str) -> Result<HostTensor>;

    /// What the file calls a tensor, or would call it if it is not there, for messages: the same, unless the source
    /// translates names.
    fn name_in_file(&self, name: &str) -> String {
        name.to_owned()
    }
}

/// Takes tensors out of a source by name and shape and keeps account of what was taken.
pub struct Loader<'s> {
    source: &'s dyn TensorSource,
    taken: BTreeSet<String>,
}

/// One safetensors file, or several that an index names.
pub struct Safetensors {
    path: PathBuf,
    shards: Vec<Shard>,
    /// Tensor name to shard.
    tensors: BTreeMap<String, usize>,
}

struct Shard {
    path: PathBuf,
    file: Mutex<File>,
    /// Offset of the first tensor's first byte.
    data: u64,
    header: Metadata,
}

/// The entry of a safetensors header that is not about a tensor.
const METADATA: &str = "__metadata__";

/// A safetensors header may be this long at most, in bytes.
const MAX_HEADER: u64 = 100_000_000;

impl HostTensor {
    /// A tensor of this shape.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`] if the number of values is not the product of the shape.
    pub fn new(shape: impl Into<Vec<usize>>, values: Vec<f32>) -> Result<Self> {
        let shape = shape.into();
        let wanted = shape.iter().try_fold(1_usize, |n, &d| n.checked_mul(d));
        if wanted != Some(values.len()) {
            return Err(Error::InvalidInput {
                reason: format!("{} values for a tensor of shape {shape:?}", values.len()),
            });
        }
        Ok(Self { shape, values })
    }

    /// The tensor's values, read back from its device.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`] if the device's data cannot be read as 32-bit numbers.
    pub fn from_tensor<const D: usize>(tensor: &Tensor<D>) -> Result<Self> {
        let shape = tensor.dims().to_vec();
        let data = tensor.to_data().convert::<f32>();
        let values = data
            .try_to_vec::<f32>()
            .map_err(|error| Error::InvalidInput {
                reason: format!("reading a tensor back: {error:?}"),
            })?;
        Self::new(shape, values)
    }

    /// Length of every axis.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Values in row-major order.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Values in row-major order, to keep.
    pub fn into_values(self) -> Vec<f32> {
        self.values
    }

    /// The same values with another shape.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`] if the number of values differs.
    pub fn reshaped(self, shape: impl Into<Vec<usize>>) -> Result<Self> {
        Self::new(shape, self.values)
    }

    /// A matrix with rows and columns swapped: checkpoints store linear layers as `[out, in]`, burn as `[in, out]`.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`] if this is not a matrix.
    pub fn transposed(&self) -> Result<Self> {
        let [rows, columns] = self.shape[..] else {
            return Err(Error::InvalidInput {
                reason: format!("a tensor of shape {:?} is not a matrix", self.shape),
            });
        };
        let mut values = Vec::with_capacity(self.values.len());
        for column in 0..columns {
            values.extend((0..rows).map(|row| self.values[row * columns + column]));
        }
        Ok(Self {
            shape: vec![columns, rows],
            values,
        })
    }

    /// The tensor on a device.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`] if it does not have `D` axes.
    pub fn to_tensor<const D: usize>(&self, device: &Device) -> Result<Tensor<D>> {
        if self.shape.len() != D {
            return Err(Error::InvalidInput {
                reason: format!("a tensor of shape {:?} does not have {D} axes", self.shape),
            });
        }
        let data = TensorData::new(self.values.clone(), self.shape.clone());
        Ok(Tensor::from_data(data, device))
    }
}

impl<'s> Loader<'s> {
    /// A loader that has taken nothing yet.
    pub fn new(source: &'s dyn TensorSource) -> Self {
        Self {
            source,
            taken: BTreeSet::new(),
        }
    }

    /// Where the tensors come from.
    pub fn source(&self) -> &'s dyn TensorSource {
        self.source
    }

    /// Whether the source has a tensor of this name.
    pub fn has(&self, name: &str) -> bool {
        self.source.shape(name).is_some()
    }

    /// Takes a tensor, which must have this shape.
    ///
    /// # Errors
    ///
    /// [`Error::MissingTensor`], [`Error::Shape`], and those of [`TensorSource::read`].
    pub fn take(&mut self, name: &str, shape: &[usize]) -> Result<HostTensor> {
        let path = || self.source.path().to_owned();
        match self.source.shape(name) {
            None => Err(Error::MissingTensor {
                path: path(),
                tensor: self.source.name_in_file(name),
            }),
            Some(found) if found != shape => Err(Error::Shape {
                path: path(),
                tensor: self.source.name_in_file(name),
                expected: shape.to_vec(),
                found,
            }),
            Some(_) => {
                self.taken.insert(name.to_owned());
                self.source.read(name)
            }
        }
    }

    /// Checks that every tensor was taken, but for those that `ignorable` accepts.
    ///
    /// # Errors
    ///
    /// [`Error::ExtraTensors`] with the names of those that were not.
    pub fn finish(self, ignorable: impl Fn(&str) -> bool) -> Result<()> {
        let left = self.source.names().into_iter();
        let tensors: Vec<String> = left
            .filter(|name| !self.taken.contains(name) && !ignorable(name))
            .map(|name| self.source.name_in_file(&name))
            .collect();
        if tensors.is_empty() {
            return Ok(());
        }
        Err(Error::ExtraTensors {
            path: self.source.path().to_owned(),
            tensors,
        })
    }
}

impl Safetensors {
    /// Opens a `.safetensors` file, an index of shards (`*.safetensors.index.json`), or a folder with
    /// `model.safetensors` or `model.safetensors.index.json` in it. Only headers are read now.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], [`Error::Truncated`] and [`Error::Parse`]; the latter also if an index names a tensor that its
    /// shard does not have, or a file outside of its folder.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        if !path.is_dir() {
            return match path.extension().is_some_and(|ending| ending == "json") {
                true => Self::open_index(path),
                false => Self::open_single(path),
            };
        }
        let single = path.join("model.safetensors");
        let index = path.join("model.safetensors.index.json");
        if single.is_file() || !index.is_file() {
            return Self::open_single(&single);
        }
        Self::open_index(&index)
    }

    fn open_single(path: &Path) -> Result<Self> {
        let shard = Shard::open(path)?;
        let names = shard.header.offset_keys();
        Ok(Self {
            path: path.to_owned(),
            tensors: names.into_iter().map(|name| (name, 0)).collect(),
            shards: vec![shard],
        })
    }

    fn open_index(path: &Path) -> Result<Self> {
        #[derive(serde::Deserialize)]
        struct Index {
            weight_map: BTreeMap<String, String>,
        }
        let wrong = |reason: String| Error::Parse {
            path: path.to_owned(),
            format: "safetensors index",
            reason,
        };
        let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
        let index: Index = serde_json::from_str(&text).map_err(|e| wrong(e.to_string()))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let mut shards: Vec<Shard> = Vec::new();
        let mut numbers: HashMap<&str, usize> = HashMap::new();
        let mut tensors = BTreeMap::new();
        for (name, file) in &index.weight_map {
            if Path::new(file).file_name() != Some(file.as_ref()) {
                return Err(wrong(format!(
                    "`{file}` is not the name of a file beside the index"
                )));
            }
            let number = match numbers.get(file.as_str()) {
                Some(&number) => number,
                None => {
                    shards.push(Shard::open(&folder.join(file))?);
                    numbers.insert(file, shards.len() - 1);
                    shards.len() - 1
                }
            };
            if shards[number].header.info(name).is_none() {
                return Err(wrong(format!("`{file}` has no tensor `{name}`")));
            }
            tensors.insert(name.clone(), number);
        }
        for shard in &shards {
            if let Some(name) = shard
                .header
                .offset_keys()
                .into_iter()
                .find(|name| !tensors.contains_key(name))
            {
                let file = shard.path.display();
                return Err(wrong(format!("the tensor `{name}` of {file} is not named")));
            }
        }
        Ok(Self {
            path: path.to_owned(),
            shards,
            tensors,
        })
    }

    /// The entry `key` of the header's free metadata.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        let entries = self
            .shards
            .iter()
            .filter_map(|s| s.header.metadata().as_ref());
        entries
            .filter_map(|entries| entries.get(key))
            .map(String::as_str)
            .next()
    }
}

impl TensorSource for Safetensors {
    fn path(&self) -> &Path {
        &self.path
    }

    fn names(&self) -> Vec<String> {
        self.tensors.keys().cloned().collect()
    }

    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        let shard = &self.shards[*self.tensors.get(name)?];
        shard.header.info(name).map(|info| info.shape.clone())
    }

    fn read(&self, name: &str) -> Result<HostTensor> {
        let missing = || Error::MissingTensor {
            path: self.path.clone(),
            tensor: name.to_owned(),
        };
        let shard = &self.shards[*self.tensors.get(name).ok_or_else(missing)?];
        shard.read(name, shard.header.info(name).ok_or_else(missing)?)
    }
}

impl Shard {
    fn open(path: &Path) -> Result<Self> {
        let wrong = |reason: String| Error::Parse {
            path: path.to_owned(),
            format: "safetensors",
            reason,
        };
        let truncated = |needed: u64, found: u64| Error::Truncated {
            path: path.to_owned(),
            needed,
            found,
        };
        let mut file = File::open(path).map_err(Error::io(path))?;
        let size = file.metadata().map_err(Error::io(path))?.len();
        if size < 8 {
            return Err(truncated(8, size));
        }
        let mut length = [0; 8];
        file.read_exact(&mut length).map_err(Error::io(path))?;
        let length = u64::from_le_bytes(length);
        if length > MAX_HEADER {
            return Err(wrong(format!(
                "a header of {length} bytes; is it a safetensors file?"
            )));
        }
        let data = 8 + length;
        if size < data {
            return Err(truncated(data, size));
        }
        let mut header = vec![0; length as usize];
        file.read_exact(&mut header).map_err(Error::io(path))?;
        let header: Metadata = serde_json::from_slice(&header).map_err(|e| wrong(e.to_string()))?;
        let mut end = 0;
        for (name, info) in header.tensors() {
            let (start, stop) = info.data_offsets;
            let bits = info
                .shape
                .iter()
                .try_fold(info.dtype.bitsize(), |n, &d| n.checked_mul(d));
            if stop
                .checked_sub(start)
                .and_then(|bytes| bytes.checked_mul(8))
                != bits
            {
                return Err(wrong(format!(
                    "tensor `{name}` of type {} and shape {:?} lies in the bytes {start} to {stop}",
                    info.dtype, info.shape
                )));
            }
            end = end.max(stop as u64);
        }
        match data.checked_add(end) {
            Some(needed) if needed == size => {}
            Some(needed) if needed < size => {
                let left = size - needed;
                return Err(wrong(format!("{left} bytes behind the last tensor")));
            }
            needed => return Err(truncated(needed.unwrap_or(u64::MAX), size)),
        }
        Ok(Self {
            path: path.to_owned(),
            file: Mutex::new(file),
            data,
            header,
        })
    }

    fn read(&self, name: &str, info: &TensorInfo) -> Result<HostTensor> {
        let (start, stop) = info.data_offsets;
        let mut bytes = vec![0; stop - start];
        {
            let mut file = self
                .file
                .lock()
                .unwrap_or_else(|poisoned| poisoned.into_inner());
            file.seek(SeekFrom::Start(self.data + start as u64))
                .and_then(|_| file.read_exact(&mut bytes))
                .map_err(Error::io(&self.path))?;
        }
        let values = decode(info.dtype, &bytes).ok_or_else(|| Error::UnsupportedType {
            path: self.path.clone(),
            tensor: name.to_owned(),
            found: info.dtype.to_string(),
        })?;
        check_finite(&self.path, name, &values)?;
        HostTensor::new(info.shape.clone(), values)
    }
}

/// Writes a safetensors file: first under another name, then moved into place, so that it is whole or not there.
///
/// # Errors
///
/// [`Error::Io`]; [`Error::Parse`] if two tensors share a name or one is called `__metadata__`; [`Error::NonFinite`] if
/// a value is NaN or infinite, for such a file could not be read back.
pub fn write_safetensors(
    path: impl AsRef<Path>,
    tensors: &[(String, HostTensor)],
    metadata: &[(&str, &str)],
) -> Result<()> {
    let path = path.as_ref();
    let wrong = |reason: String| Error::Parse {
        path: path.to_owned(),
        format: "safetensors",
        reason,
    };
    let mut sorted = BTreeMap::new();
    for (name, tensor) in tensors {
        check_finite(path, name, &tensor.values)?;
        if sorted.insert(name.as_str(), tensor).is_some() || name == METADATA {
            return Err(wrong(format!("a second entry `{name}`")));
        }
    }
    // The crate `safetensors` would write the metadata in the order of a hash table, another one each time.
    let mut header = Map::new();
    header.insert(METADATA.to_owned(), metadata.iter().copied().collect());
    let mut end = 0;
    for (name, tensor) in &sorted {
        let start = end;
        end += size_of_val(tensor.values());
        header.insert(
            name.to_string(),
            json!({ "dtype": "F32", "shape": tensor.shape, "data_offsets": [start, end] }),
        );
    }
    let mut header = Value::Object(header).to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    let mut bytes = Vec::with_capacity(8 + header.len() + end);
    bytes.extend((header.len() as u64).to_le_bytes());
    bytes.extend(header);
    for tensor in sorted.values() {
        bytes.extend(tensor.values.iter().flat_map(|value| value.to_le_bytes()));
    }
    write_whole(path, bytes)
}

/// Writes a file beside its place and moves it there, so that at any time the old contents or the new ones are whole.
/// Its permissions are those of any new file.
///
/// # Errors
///
/// [`Error::Io`].
pub fn write_whole(path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> Result<()> {
    let path = path.as_ref();
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        // A temporary file is its owner's alone unless told otherwise. The umask still takes its share.
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let mut file = builder.tempfile_in(folder).map_err(Error::io(folder))?;
    std::io::Write::write_all(&mut file, bytes.as_ref())
        .and_then(|()| file.as_file().sync_all())
        .map_err(Error::io(path))?;
    file.persist(path).map_err(|error| Error::Io {
        path: path.to_owned(),
        source: error.error,
    })?;
    Ok(())
}

/// Refuses NaN and infinity.
pub(crate) fn check_finite(path: &Path, tensor: &str, values: &[f32]) -> Result<()> {
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(index) => Err(Error::NonFinite {
            path: path.to_owned(),
            tensor: tensor.to_owned(),
            index,
            value: values[index],
        }),
    }
}

/// Little-endian numbers of a type as 32-bit ones, or nothing if the type is not supported.
fn decode(dtype: Dtype, bytes: &[u8]) -> Option<Vec<f32>> {
    fn each<const N: usize>(bytes: &[u8], decode: impl Fn([u8; N]) -> f32) -> Vec<f32> {
        let (chunks, _) = bytes.as_chunks::<N>();
        chunks.iter().map(|&chunk| decode(chunk)).collect()
    }
    Some(match dtype {
        Dtype::F32 => each(bytes, f32::from_le_bytes),
        Dtype::F64 => each(bytes, |b| f64::from_le_bytes(b) as f32),
        Dtype::F16 => each(bytes, |b| half::f16::from_le_bytes(b).to_f32()),
        Dtype::BF16 => each(bytes, |b| half::bf16::from_le_bytes(b).to_f32()),
        _ => return None,
    })
}
