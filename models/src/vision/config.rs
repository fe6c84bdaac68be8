//! Any network's configuration, and networks by name.

use burn::config::Config;

use super::topology::{Topology, invalid};
use super::{CnnConfig, MlpConfig, ResNetConfig, Shortcut, VggConfig, VggDepth, VitConfig};
use crate::Result;

/// The configuration of a [`Network`](super::Network).
#[derive(Config, Debug, PartialEq)]
pub enum NetworkConfig {
    /// Fully connected layers.
    Mlp(MlpConfig),
    /// A plain convolutional network.
    Cnn(CnnConfig),
    /// A residual network.
    ResNet(ResNetConfig),
    /// A VGG with batch normalisation.
    Vgg(VggConfig),
    /// A vision transformer.
    Vit(VitConfig),
}

/// The names that [`NetworkConfig::by_name`] knows.
pub const NETWORKS: [&str; 14] = [
    "mlp",
    "cnn",
    "resnet8",
    "resnet20",
    "resnet32",
    "resnet20-a",
    "resnet32-a",
    "resnet32-preact",
    "resnet18",
    "resnet18-imagenet",
    "resnet50-imagenet",
    "vgg11",
    "vgg19",
    "vit",
];

impl NetworkConfig {
    /// A network by its name, with widths multiplied by `width` (1 for the published ones).
    ///
    /// `resnet8`, `resnet20` and `resnet32` have projections as shortcuts; those with `-a` have none (option A), as has
    /// `resnet32-preact`. `resnet18` is the variant for small images, those with `-imagenet` are torchvision's.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`](crate::Error::InvalidConfig) if the name is unknown or the width leaves no channel.
    pub fn by_name(name: &str, input: [usize; 3], classes: usize, width: f64) -> Result<Self> {
        if !(width > 0.0 && width <= 1024.0) {
            return Err(invalid(
                "width",
                format!("{width} is not between 0 and 1024"),
            ));
        }
        let times = |channels: usize| (channels as f64 * width).round() as usize;
        let cifar = |depth| {
            let config = ResNetConfig::cifar(depth, input, classes);
            config.with_width(times(16))
        };
        Ok(match name {
            "mlp" => MlpConfig::new(input, classes)
                .with_hidden(vec![times(256)])
                .into(),
            "cnn" => {
                let widths = vec![times(32), times(64)];
                CnnConfig::new(input, classes).with_widths(widths).into()
            }
            "resnet8" => cifar(8).into(),
            "resnet20" => cifar(20).into(),
            "resnet32" => cifar(32).into(),
            "resnet20-a" => cifar(20).with_shortcut(Shortcut::Subsample).into(),
            "resnet32-a" => cifar(32).with_shortcut(Shortcut::Subsample).into(),
            "resnet32-preact" => ResNetConfig::preact32(input, classes)
                .with_width(times(16))
                .into(),
            "resnet18" => ResNetConfig::cifar18(input, classes)
                .with_width(times(64))
                .into(),
            "resnet18-imagenet" => ResNetConfig::imagenet18(input, classes)
                .with_width(times(64))
                .into(),
            "resnet50-imagenet" => ResNetConfig::imagenet50(input, classes)
                .with_width(times(64))
                .into(),
            "vgg11" => VggConfig::new(input, classes)
                .with_depth(VggDepth::Eleven)
                .with_width(times(64))
                .into(),
            "vgg19" => VggConfig::new(input, classes).with_width(times(64)).into(),
            "vit" => VitConfig::new(input, classes)
                .with_width(8 * times(8))
                .into(),
            _ => {
                let known = NETWORKS.join(", ");
                return Err(invalid("network", format!("`{name}` is none of {known}")));
            }
        })
    }

    /// What the network is made of.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`](crate::Error::InvalidConfig) naming the setting or the layer that makes no sense.
    pub fn topology(&self) -> Result<Topology> {
        match self {
            Self::Mlp(config) => config.topology(),
            Self::Cnn(config) => config.topology(),
            Self::ResNet(config) => config.topology(),
            Self::Vgg(config) => config.topology(),
            Self::Vit(config) => config.topology(),
        }
    }
}

macro_rules! from {
    ($config:ident, $variant:ident) => {
        impl From<$config> for NetworkConfig {
            fn from(config: $config) -> Self {
                Self::$variant(config)
            }
        }
    };
}
from!(MlpConfig, Mlp);
from!(CnnConfig, Cnn);
from!(ResNetConfig, ResNet);
from!(VggConfig, Vgg);
from!(VitConfig, Vit);
