//! Reads networks from ONNX files, and writes them.
//!
//! A verifier must see exactly what the file says. So this is a small reader of its own: it takes every number as it is stored, knows
//! the operators that chains of affine layers and ReLUs are made of, and refuses everything else with the name of the node.
//!
//! What is understood: `Gemm`, `MatMul`, `Conv` (one and two axes; groups, dilation, every kind of padding), `Relu`, `Add`, `Sub`, `Mul`
//! and `Div` by constants, `BatchNormalization`, `AveragePool`, `GlobalAveragePool`, `Pad` with zeros right before a convolution,
//! `Flatten`, `Reshape`, `Squeeze`, `Unsqueeze`, `Transpose`, `Gather` where it only reorders, `Identity`, `Dropout`, `Constant`; operator
//! sets 1 to 28. Weights are float32, or float64 numbers that lose nothing in float32.
//!
//! The first axis of the input is the batch if its size is 1 or unknown; it is dropped. What real arithmetic cannot state in 32 bits
//! (the factors of a batch normalisation, the reciprocals of a division) becomes a [`Layer::Scale`](crate::network::Layer::Scale) of
//! numbers with proven radii.
//!
//! ```no_run
//! use zonotope_verify::network::Network;
//!
//! let network = Network::from_onnx("mnist-net_256x2.onnx")?;
//! println!("{} inputs, {} outputs, hidden layers {:?}", network.inputs(), network.outputs(), network.hidden());
//! # Ok::<(), zonotope_verify::Error>(())
//! ```

mod constant;
mod graph;
mod operators;
mod proto;
mod save;
mod shape;
#[cfg(test)]
mod tests;

use std::path::Path;

use prost::Message;

use crate::error::{Error, Result};
use crate::file;
use crate::network::Network;

pub(crate) use operators::normalization;

/// Protocol buffers cannot be larger.
const MAX_FILE: u64 = 1 << 31;

/// Reads a network from a file, packed by gzip or not.
///
/// # Errors
///
/// [`Error::Io`], and those of [`parse`].
pub fn load(path: impl AsRef<Path>) -> Result<Network> {
    let path = path.as_ref();
    parse(&file::read(path, MAX_FILE)?, &path.display().to_string())
}

/// Reads a network from the bytes of a file; `name` stands for the file in error messages.
///
/// # Errors
///
/// - [`Error::OnnxFormat`]: no ONNX model, or one that contradicts itself;
/// - [`Error::UnsupportedOperator`]: an operator, a type of numbers or a use of either that is not understood;
/// - [`Error::NotSequential`]: the graph branches, joins, or has several inputs or outputs;
/// - [`Error::ShapeMismatch`], [`Error::NonFiniteWeight`].
pub fn parse(bytes: &[u8], name: &str) -> Result<Network> {
    let model = proto::Model::decode(bytes).map_err(|error| Error::OnnxFormat {
        file: name.to_owned(),
        reason: error.to_string(),
    })?;
    graph::read(&model, name, bytes.len())
}

/// Writes a network to a file, which [`load`] reads as the same layers.
///
/// # Errors
///
/// [`Error::Io`], and those of [`to_bytes`].
pub fn save(network: &Network, path: impl AsRef<Path>) -> Result<()> {
    file::write(path.as_ref(), to_bytes(network)?)
}

/// The bytes of an ONNX file of the network (operator set 13, a batch of one).
///
/// # Errors
///
/// [`Error::UnsupportedOperator`] for a [`Layer::Scale`](crate::network::Layer::Scale) with numbers that are not exactly known or have
/// no exact 32-bit form: the file could not say the same.
pub fn to_bytes(network: &Network) -> Result<Vec<u8>> {
    Ok(save::model(network)?.encode_to_vec())
}

impl Network {
    /// Reads a network from an ONNX file: [`load`].
    ///
    /// # Errors
    ///
    /// Those of [`load`].
    pub fn from_onnx(path: impl AsRef<Path>) -> Result<Self> {
        load(path)
    }

    /// Writes the network to an ONNX file: [`save`].
    ///
    /// # Errors
    ///
    /// Those of [`save`].
    pub fn to_onnx(&self, path: impl AsRef<Path>) -> Result<()> {
        save(self, path)
    }
}
