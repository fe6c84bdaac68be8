//! Checkpoints under Hugging Face's tensor names: reading them from any source of tensors, folders in and out.

mod export;
mod import;
mod names;

use std::path::Path;

use burn::tensor::Device;

use self::import::Checkpoint;
use super::{CausalLm, LmConfig};
use crate::tensors::{Safetensors, TensorSource, write_safetensors, write_whole};
use crate::{Error, Result};

impl CausalLm {
    /// A model with the weights of a checkpoint that names its tensors as Hugging Face does for the family, with or
    /// without the prefix of the whole model (`model.`, `transformer.`, `gpt_neox.`, `model.decoder.`). Every tensor
    /// must be there in the shape that the configuration asks for, and none may be left over, except constants that old
    /// releases stored (rotary frequencies, causal masks). An output layer that the configuration ties to the embedding
    /// may be there if it equals the embedding.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`]; [`Error::MissingTensor`], [`Error::Shape`], [`Error::ExtraTensors`],
    /// [`Error::NotTied`]; and those of [`TensorSource::read`], such as [`Error::NonFinite`].
    pub fn from_tensors(
        config: &LmConfig,
        source: &dyn TensorSource,
        device: &Device,
    ) -> Result<Self> {
        config.validate()?;
        let mut checkpoint = Checkpoint::new(config, source);
        let model = Self::new(config, &mut checkpoint, device)?;
        checkpoint.finish()?;
        Ok(model)
    }

    /// A model out of a Hugging Face folder: `config.json`, and `model.safetensors` or its shards with their index.
    ///
    /// # Errors
    ///
    /// Those of [`LmConfig::from_hugging_face`], [`Safetensors::open`] and [`from_tensors`](Self::from_tensors).
    pub fn from_folder(folder: impl AsRef<Path>, device: &Device) -> Result<Self> {
        let folder = folder.as_ref();
        let config = LmConfig::from_hugging_face(folder.join("config.json"))?;
        Self::from_tensors(&config, &Safetensors::open(folder)?, device)
    }

    /// Writes `config.json` and `model.safetensors`, in 32 bits, into a folder, which is made if need be. `transformers`
    /// loads it; reading it back gives the same weights to the bit.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], and [`Error::NonFinite`] if a weight is not a number.
    pub fn save_folder(&self, folder: impl AsRef<Path>) -> Result<()> {
        let folder = folder.as_ref();
        std::fs::create_dir_all(folder).map_err(Error::io(folder))?;
        let mut config = format!("{:#}", self.config().to_hugging_face()?);
        config.push('\n');
        let path = folder.join("model.safetensors");
        write_safetensors(path, &self.export()?, &[("format", "pt")])?;
        write_whole(folder.join("config.json"), config)
    }
}
