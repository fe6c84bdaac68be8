//! A plain convolutional network.

use burn::config::Config;

use super::topology::{Operation, Topology, TopologyBuilder};
use crate::Result;

/// Blocks of a 3x3 convolution, batch normalisation, ReLU and a 2x2 max pool, then a linear layer on all that is left.
///
/// Tensors: `conv1.weight`, `bn1.weight`, ..., `fc.weight`, `fc.bias`. Every block halves the image (an odd last row or
/// column is dropped).
#[derive(Config, Debug, PartialEq)]
pub struct CnnConfig {
    /// Channels, height and width of the images.
    pub input: [usize; 3],
    /// Number of classes.
    pub classes: usize,
    /// Channels of every block.
    #[config(default = "vec![32, 64]")]
    pub widths: Vec<usize>,
}

impl CnnConfig {
    pub(super) fn topology(&self) -> Result<Topology> {
        let mut builder = TopologyBuilder::new(self.input)?;
        let mut x = builder.input();
        let pool = Operation::MaxPool {
            kernel: 2,
            stride: 2,
            padding: 0,
        };
        for (n, &width) in self.widths.iter().enumerate() {
            let n = n + 1;
            x = builder.conv(&format!("conv{n}"), x, width, [3, 1, 1])?;
            x = builder.batch_norm(&format!("bn{n}"), x)?;
            x = builder.activation(&format!("relu{n}"), x, Operation::Relu)?;
            x = builder.pool(&format!("pool{n}"), x, pool)?;
        }
        x = builder.flatten("flatten", x)?;
        builder.classify("fc", x, self.classes)
    }
}
