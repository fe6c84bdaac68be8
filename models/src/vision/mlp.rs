//! Fully connected networks.

use burn::config::Config;

use super::topology::{Operation, Topology, TopologyBuilder};
use crate::Result;

/// Fully connected layers with ReLU between them, on the flattened image.
///
/// Tensors: `fc1.weight`, `fc1.bias`, `fc2.weight`, ...
#[derive(Config, Debug, PartialEq)]
pub struct MlpConfig {
    /// Channels, height and width of the images.
    pub input: [usize; 3],
    /// Number of classes.
    pub classes: usize,
    /// Width of every hidden layer; with none this is a linear classifier.
    #[config(default = "vec![64]")]
    pub hidden: Vec<usize>,
}

impl MlpConfig {
    pub(super) fn topology(&self) -> Result<Topology> {
        let mut builder = TopologyBuilder::new(self.input)?;
        let mut x = builder.flatten("flatten", builder.input())?;
        for (n, &width) in self.hidden.iter().enumerate() {
            x = builder.linear(&format!("fc{}", n + 1), x, width)?;
            x = builder.activation(&format!("relu{}", n + 1), x, Operation::Relu)?;
        }
        builder.classify(&format!("fc{}", self.hidden.len() + 1), x, self.classes)
    }
}
