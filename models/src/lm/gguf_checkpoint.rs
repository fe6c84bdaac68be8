//! A GGUF file as a language model: its configuration, its tensors under the names and in the layout that Hugging Face
//! gives them, and its tokenizer.
//!
//! Files of the architecture `llama` hold the rows of queries and keys in another order: those that are rotated together
//! lie side by side. Here they are put back into the two halves of a head. A model that is read without that still
//! writes sentences, only worse ones. Files of `gptneox` hold queries, keys and values one after the other instead of
//! head by head, and those of `gpt2` hold matrices as `[out, in]`.

mod metadata;
mod names;

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::Device;

use names::{Layout, original, translate};

use super::tokenizer::LmTokenizer;
use super::{CausalLm, LmConfig};
use crate::gguf::GgufFile;
use crate::tensors::{HostTensor, TensorSource};
use crate::{Error, Result};

/// A language model in a GGUF file. As a [`TensorSource`] it has the tensors that a checkpoint of `transformers` has.
pub struct GgufCheckpoint {
    file: GgufFile,
    config: LmConfig,
    /// By the name in Hugging Face's checkpoints.
    tensors: BTreeMap<String, Stored>,
}

/// A tensor of the file.
struct Stored {
    name: String,
    layout: Layout,
}

const EMBEDDING: &str = "token_embd.weight";

/// Divisors of the rotary frequencies, which stand for Llama 3's scaling.
const ROTARY_FACTORS: &str = "rope_freqs.weight";

impl GgufCheckpoint {
    /// Opens a file of the architecture `llama` (Mistral's models have it, too), `qwen2`, `gpt2` or `gptneox`.
    ///
    /// # Errors
    ///
    /// Those of [`GgufFile::open`]; [`Error::UnsupportedArchitecture`]; [`Error::Parse`] and [`Error::InvalidConfig`] if
    /// the metadata are incomplete or contradictory, or a tensor is there under two names; [`Error::MissingTensor`] if
    /// there is no embedding; [`Error::VocabularyMismatch`] if there is a list of tokens that does not have an entry for
    /// each of its rows.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::new(GgufFile::open(path)?)
    }

    /// Reads the configuration of a file that is open already.
    ///
    /// # Errors
    ///
    /// As [`Self::open`].
    pub fn new(file: GgufFile) -> Result<Self> {
        let config = metadata::config(&file)?;
        let rows = file
            .shape(EMBEDDING)
            .and_then(|shape| shape.first().copied())
            .unwrap_or(0);
        let listed = file.strings("tokenizer.ggml.tokens")?.map(<[String]>::len);
        for network in [config.vocabulary, rows] {
            if let Some(tokenizer) = listed.filter(|&tokens| tokens != network) {
                return Err(Error::VocabularyMismatch {
                    path: file.path().to_owned(),
                    tokenizer,
                    network,
                });
            }
        }
        let mut tensors: BTreeMap<String, Stored> = BTreeMap::new();
        for name in file.names() {
            if name == ROTARY_FACTORS {
                continue;
            }
            // What has no name here keeps its own, so that whoever loads the network reports it as left over.
            let (new, layout) =
                translate(config.architecture, &name).unwrap_or((name.clone(), Layout::Same));
            if let Some(other) = tensors.get(&new) {
                let reason = format!("`{}` and `{name}` are the same tensor", other.name);
                return Err(file.wrong(reason));
            }
            tensors.insert(new, Stored { name, layout });
        }
        Ok(Self {
            file,
            config,
            tensors,
        })
    }

    /// What the network looks like.
    pub fn config(&self) -> &LmConfig {
        &self.config
    }

    /// The file itself.
    pub fn file(&self) -> &GgufFile {
        &self.file
    }

    /// The network, on a device, and its tokenizer.
    ///
    /// # Errors
    ///
    /// Those of [`CausalLm::from_tensors`] and [`LmTokenizer::from_gguf`].
    pub fn load(&self, device: &Device) -> Result<(CausalLm, LmTokenizer)> {
        let tokenizer = self.tokenizer()?;
        Ok((
            CausalLm::from_tensors(&self.config, self, device)?,
            tokenizer,
        ))
    }

    /// The tokenizer in the file.
    ///
    /// # Errors
    ///
    /// Those of [`LmTokenizer::from_gguf`].
    pub fn tokenizer(&self) -> Result<LmTokenizer> {
        LmTokenizer::from_gguf(&self.file)
    }

    /// For every row that the network needs, the row of the file that it is.
    fn row_order(&self, stored: &Stored, rows: usize) -> Option<impl Fn(usize) -> usize + use<>> {
        let width = self.config.head_width;
        let layout = stored.layout;
        let period = match layout {
            Layout::Interleaved => width,
            Layout::Concatenated => 3 * width,
            Layout::Same | Layout::Transposed => return None,
        };
        if !rows.is_multiple_of(period) {
            // The shape is wrong; whoever loads it says so.
            return None;
        }
        let heads = rows / period;
        Some(move |row: usize| {
            let (head, within) = (row / period, row % period);
            match layout {
                Layout::Interleaved => {
                    let (half, pair) = (within / (width / 2), within % (width / 2));
                    head * width + 2 * pair + half
                }
                _ => {
                    let (part, axis) = (within / width, within % width);
                    (part * heads + head) * width + axis
                }
            }
        })
    }
}

impl CausalLm {
    /// The network in a GGUF file, on a device, and its tokenizer; a [`GgufCheckpoint`] has the parts.
    ///
    /// # Errors
    ///
    /// Those of [`GgufCheckpoint::open`] and [`GgufCheckpoint::load`].
    pub fn from_gguf(path: impl AsRef<Path>, device: &Device) -> Result<(Self, LmTokenizer)> {
        GgufCheckpoint::open(path)?.load(device)
    }
}

impl TensorSource for GgufCheckpoint {
    fn path(&self) -> &Path {
        self.file.path()
    }

    fn names(&self) -> Vec<String> {
        self.tensors.keys().cloned().collect()
    }

    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        let stored = self.tensors.get(name)?;
        let mut shape = self.file.shape(&stored.name)?;
        if matches!(stored.layout, Layout::Transposed) {
            shape.reverse();
        }
        Some(shape)
    }

    fn read(&self, name: &str) -> Result<HostTensor> {
        let stored = self.tensors.get(name).ok_or_else(|| Error::MissingTensor {
            path: self.file.path().to_owned(),
            tensor: self.name_in_file(name),
        })?;
        let tensor = self.file.read(&stored.name)?;
        if matches!(stored.layout, Layout::Transposed) {
            return tensor.transposed();
        }
        let rows = tensor.shape().first().copied().unwrap_or(0);
        let Some(order) = self.row_order(stored, rows) else {
            return Ok(tensor);
        };
        let shape = tensor.shape().to_vec();
        let length = tensor.values().len() / rows.max(1);
        let mut values = Vec::with_capacity(tensor.values().len());
        for row in 0..rows {
            values.extend_from_slice(&tensor.values()[order(row) * length..][..length]);
        }
        HostTensor::new(shape, values)
    }

    fn name_in_file(&self, name: &str) -> String {
        match self.tensors.get(name) {
            Some(stored) => stored.name.clone(),
            None => original(self.config.architecture, name).unwrap_or_else(|| name.to_owned()),
        }
    }
}
