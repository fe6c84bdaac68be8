//! Networks in safetensors files, with PyTorch's names and layouts.

use std::path::Path;

use burn::tensor::Device;

use super::config::NetworkConfig;
use super::network::Network;
use crate::parameters::Parameters;
use crate::tensors::{HostTensor, Loader, Safetensors, TensorSource, write_safetensors};
use crate::{Error, Result};

/// Entry of a file's metadata with the configuration as JSON.
const CONFIG: &str = "network";

impl Network {
    /// Writes all tensors, running statistics too, and the configuration.
    ///
    /// # Errors
    ///
    /// Those of [`write_safetensors`] and [`Parameters::to_host`], and [`Error::Parse`] for a negative variance: what is
    /// written can be read.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        self.save_with(path, &[])
    }

    /// As [`Network::save`], with more entries of the file's metadata, such as the names of the classes. They are there
    /// for [`Safetensors::metadata`], or any other reader of the format.
    ///
    /// # Errors
    ///
    /// Those of [`Network::save`], and [`Error::InvalidInput`] for an entry of the name `network`, where the
    /// configuration is.
    pub fn save_with(&self, path: impl AsRef<Path>, entries: &[(&str, &str)]) -> Result<()> {
        let path = path.as_ref();
        if entries.iter().any(|(key, _)| *key == CONFIG) {
            return Err(Error::InvalidInput {
                reason: format!("the entry `{CONFIG}` is the configuration's"),
            });
        }
        let config = serde_json::to_string(self.config()).map_err(|error| Error::Parse {
            path: path.to_owned(),
            format: "network configuration",
            reason: error.to_string(),
        })?;
        let tensors = Parameters::all_of(self).to_host()?;
        for (name, tensor) in &tensors {
            check_variance(path, name, tensor)?;
        }
        let mut all = vec![(CONFIG, config.as_str())];
        all.extend(entries);
        write_safetensors(path, &tensors, &all)
    }

    /// Reads a network that [`Network::save`] wrote.
    ///
    /// # Errors
    ///
    /// [`Error::Parse`] if the file has no configuration, and those of [`Network::load_weights`]; an
    /// [`Error::InvalidConfig`] names the file.
    pub fn load(path: impl AsRef<Path>, device: &Device) -> Result<Self> {
        let file = Safetensors::open(path)?;
        let wrong = |reason: String| Error::Parse {
            path: file.path().to_owned(),
            format: "network configuration",
            reason,
        };
        let config = file
            .metadata(CONFIG)
            .ok_or_else(|| wrong("there is none".to_owned()))?;
        let config: NetworkConfig =
            serde_json::from_str(config).map_err(|e| wrong(e.to_string()))?;
        Self::from_source(config, &file, device).map_err(|error| error.in_file(file.path()))
    }

    /// Reads the weights of a network of a known configuration from a safetensors file, such as one that was exported
    /// from PyTorch. PyTorch's counters `num_batches_tracked` are passed over.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`]; those of [`Safetensors::open`]; [`Error::MissingTensor`], [`Error::ExtraTensors`],
    /// [`Error::Shape`] and [`Error::NonFinite`] naming the tensor; [`Error::Parse`] for a negative variance.
    pub fn load_weights(
        config: impl Into<NetworkConfig>,
        path: impl AsRef<Path>,
        device: &Device,
    ) -> Result<Self> {
        Self::from_source(config.into(), &Safetensors::open(path)?, device)
    }

    /// As [`Network::load_weights`], from any source of tensors.
    ///
    /// # Errors
    ///
    /// Those of [`Network::load_weights`].
    pub fn from_source(
        config: NetworkConfig,
        source: &dyn TensorSource,
        device: &Device,
    ) -> Result<Self> {
        let mut loader = Loader::new(source);
        let network = Self::build(config, device, |spec| {
            let tensor = loader.take(&spec.name, &spec.shape)?;
            check_variance(source.path(), &spec.name, &tensor)?;
            Ok(tensor)
        })?;
        loader.finish(|name| name.ends_with(".num_batches_tracked"))?;
        Ok(network)
    }
}

/// Refuses a running variance below 0.
fn check_variance(path: &Path, name: &str, tensor: &HostTensor) -> Result<()> {
    let negative = || tensor.values().iter().any(|&value| value < 0.0);
    match name.ends_with("running_var") && negative() {
        false => Ok(()),
        true => Err(Error::Parse {
            path: path.to_owned(),
            format: "network",
            reason: format!("tensor `{name}` has a negative variance"),
        }),
    }
}
