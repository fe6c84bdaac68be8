//! VGG with batch normalisation.

use burn::config::Config;

use super::topology::{LinearInit, NodeId, Operation, Topology, TopologyBuilder};
use crate::Result;

/// VGG (Simonyan and Zisserman 2015, arXiv 1409.1556) with batch normalisation and torchvision's tensor names
/// `features.0.weight`, `features.1.weight`, ...
#[derive(Config, Debug, PartialEq)]
pub struct VggConfig {
    /// Channels, height and width of the images; height and width must be 32 at least.
    pub input: [usize; 3],
    /// Number of classes.
    pub classes: usize,
    /// Number of layers with weights.
    #[config(default = "VggDepth::Nineteen")]
    pub depth: VggDepth,
    /// Channels of the first stage; the stages have 1, 2, 4, 8 and 8 times as many.
    #[config(default = 64)]
    pub width: usize,
    /// What follows the convolutions.
    #[config(default = "VggHead::Linear")]
    pub head: VggHead,
}

/// Number of layers of a VGG.
#[derive(Config, Debug, Copy, PartialEq, Eq)]
pub enum VggDepth {
    /// VGG-11.
    Eleven,
    /// VGG-19.
    Nineteen,
}

/// What follows the convolutions of a VGG.
#[derive(Config, Debug, Copy, PartialEq, Eq)]
pub enum VggHead {
    /// Mean of every channel and one linear layer `classifier`: the usual head for 32-pixel images.
    Linear,
    /// Mean of every channel and three linear layers `classifier.0`, `.3`, `.6`.
    Deep {
        /// Width of the hidden layers.
        hidden: usize,
    },
    /// Average pooling to 7x7 and three linear layers, as in torchvision (where `hidden` is 4096).
    ImageNet {
        /// Width of the hidden layers.
        hidden: usize,
    },
}

impl VggConfig {
    pub(super) fn topology(&self) -> Result<Topology> {
        let mut builder = TopologyBuilder::new(self.input)?;
        let convolutions: [usize; 5] = match self.depth {
            VggDepth::Eleven => [1, 1, 2, 2, 2],
            VggDepth::Nineteen => [2, 2, 4, 4, 4],
        };
        let mut x = builder.input();
        // torchvision numbers all layers, those without tensors too.
        let mut layers = (0..).map(|n| format!("features.{n}"));
        let mut name = || layers.next().unwrap_or_default();
        for (stage, count) in convolutions.into_iter().enumerate() {
            let width = self.width.saturating_mul(1 << stage.min(3));
            for _ in 0..count {
                x = builder.conv_with_bias(&name(), x, width, [3, 1, 1])?;
                x = builder.batch_norm(&name(), x)?;
                x = builder.activation(&name(), x, Operation::Relu)?;
            }
            let pool = Operation::MaxPool {
                kernel: 2,
                stride: 2,
                padding: 0,
            };
            x = builder.pool(&name(), x, pool)?;
        }
        builder.initialise_linears(LinearInit::Normal(0.01));
        match self.head {
            VggHead::Linear => {
                builder.initialise_linears(LinearInit::Default);
                x = builder.pool("avgpool", x, Operation::GlobalAvgPool)?;
                builder.classify("classifier", x, self.classes)
            }
            VggHead::Deep { hidden } => {
                x = builder.pool("avgpool", x, Operation::GlobalAvgPool)?;
                self.deep_head(builder, x, hidden)
            }
            VggHead::ImageNet { hidden } => {
                x = builder.pool("avgpool", x, Operation::AdaptiveAvgPool { size: 7 })?;
                x = builder.flatten("flatten", x)?;
                self.deep_head(builder, x, hidden)
            }
        }
    }

    fn deep_head(
        &self,
        mut builder: TopologyBuilder,
        mut x: NodeId,
        hidden: usize,
    ) -> Result<Topology> {
        // Between them torchvision has ReLU (1, 4) and dropout (2, 5).
        for (linear, relu) in [(0, 1), (3, 4)] {
            x = builder.linear(&format!("classifier.{linear}"), x, hidden)?;
            x = builder.activation(&format!("classifier.{relu}"), x, Operation::Relu)?;
        }
        builder.classify("classifier.6", x, self.classes)
    }
}
