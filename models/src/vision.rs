//! Image classifiers that methods can reach into.
//!
//! A [`Network`] is a [`Topology`] (which operation reads which) with weights. The configurations
//! ([`MlpConfig`], [`CnnConfig`], [`ResNetConfig`], [`VggConfig`], [`VitConfig`]) lay out the known architectures; files
//! are safetensors with PyTorch's names and layouts, so a checkpoint of torchvision's ResNet-50 loads as it is.
//!
//! ```
//! # #[cfg(feature = "flex")] {
//! use burn::tensor::{Device, Tensor};
//! use fire_assay_models::vision::{Classifier, Mode, Network, ResNetConfig};
//!
//! let device = Device::flex();
//! let network = Network::new(ResNetConfig::cifar(8, [3, 16, 16], 10).with_width(4), 1, &device)?;
//! let images = Tensor::zeros([2, 3, 16, 16], &device);
//! assert_eq!(network.logits(images, Mode::Eval)?.dims(), [2, 10]);
//! # }
//! # Ok::<(), fire_assay_models::Error>(())
//! ```
//!
//! What methods need of a network, and where it is:
//!
//! | need | where |
//! | --- | --- |
//! | weights as values; evaluation with other weights | [`Parameters`], [`Network::with_parameters`] |
//! | logits in either mode, on a device with or without autodiff | [`Classifier::logits`] |
//! | penultimate features, every layer's output | [`Classifier::features`], [`Classifier::trace`] |
//! | statistics of batch normalisation | [`BatchStatistics`], [`Network::with_running_update`], [`Network::recompute_running_statistics`] |
//! | derivative of the logits along a direction of weights | [`TangentClassifier::logits_tangent`] |
//! | which axes can be permuted together | [`AxisGroups`] |
//! | multiplications of a layer | [`Topology::multiplications`] |
//!
//! Dropout is left out of every architecture: the training forward is a function of weights and images.

mod batch_norm;
mod cnn;
mod config;
#[cfg(feature = "flex")]
mod cpu;
mod files;
mod forward;
mod groups;
mod mlp;
mod network;
mod operations;
mod resnet;
mod tangent;
mod topology;
mod vgg;
mod vit;

use burn::module::Module;
use burn::tensor::Tensor;

pub use batch_norm::{BatchStatistics, LayerStatistics, Recompute};
pub use cnn::CnnConfig;
pub use config::{NETWORKS, NetworkConfig};
pub use forward::Activation;
pub use groups::{ActivationAxis, AxisGroup, AxisGroups, ParameterAxis};
pub use mlp::MlpConfig;
pub use network::Network;
pub use resnet::{Block, Order, ResNetConfig, ResNetWidths, Shortcut, Stem};
pub use topology::{
    ConvInit, Initial, LinearInit, Node, NodeId, Operation, TensorSpec, Topology, TopologyBuilder,
};
pub use vgg::{VggConfig, VggDepth, VggHead};
pub use vit::VitConfig;

use crate::Result;
use crate::parameters::Parameters;

/// How batch normalisation works: the only operation with two modes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// By the batch's own mean and variance. Running statistics are neither read nor changed.
    Train,
    /// By the running statistics.
    Eval,
}

/// A network that tells images apart. Images are `[batch, channels, height, width]`.
pub trait Classifier: Module {
    /// Number of classes.
    fn classes(&self) -> usize;

    /// Shape of an image: channels, height, width.
    fn input_shape(&self) -> [usize; 3];

    /// Logits of every image, `[batch, classes]`.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::Error::InvalidInput) if the images have another shape, there is none, they are on another device, or
    /// [`Mode::Train`] meets a channel with a single value.
    fn logits(&self, images: Tensor<4>, mode: Mode) -> Result<Tensor<2>>;

    /// What the last layer reads, `[batch, width]`.
    ///
    /// # Errors
    ///
    /// Those of [`Classifier::logits`].
    fn features(&self, images: Tensor<4>, mode: Mode) -> Result<Tensor<2>>;

    /// Logits; every node and its output are shown to `tap` on the way, in order of evaluation, the input first.
    ///
    /// # Errors
    ///
    /// Those of [`Classifier::logits`].
    fn trace(
        &self,
        images: Tensor<4>,
        mode: Mode,
        tap: &mut dyn FnMut(&Node, &Activation),
    ) -> Result<Tensor<2>>;
}

/// A classifier whose logits can be differentiated along a direction of its weights.
pub trait TangentClassifier: Classifier {
    /// Logits in [`Mode::Train`], and their derivative `d/de logits(weights + e direction)` at 0, both `[batch, classes]`.
    ///
    /// Parameters that the direction does not name stay where they are. Nothing is recorded for a backward pass.
    ///
    /// # Errors
    ///
    /// Those of [`Classifier::logits`], and [`Parameter`](crate::Error::Parameter) if the direction names a tensor that is not one of the
    /// network's trained parameters or has another shape.
    fn logits_tangent(
        &self,
        direction: &Parameters,
        images: Tensor<4>,
    ) -> Result<(Tensor<2>, Tensor<2>)>;
}
