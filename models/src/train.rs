//! One trainer for every network: language models and classifiers alike.
//!
//! A [`Trainer`] takes any burn [`Module`](burn::module::Module) and a closure that computes the loss of a batch. It
//! shuffles by seed, accumulates, clips and steps ([`Sgd`], [`Adam`], AdamW; the numbers are PyTorch's), follows a
//! [`Schedule`], keeps a [`History`] and writes checkpoints from which a killed run goes on to the same weights, byte
//! for byte on a processor.
//!
//! ```
//! use burn::module::Module;
//! use burn::nn::{Linear, LinearConfig};
//! use burn::tensor::{Device, Tensor};
//! use fire_assay_models::train::{Labels, Length, Method, Sgd, TrainConfig, Trainer};
//!
//! # fn main() -> fire_assay_models::Result<()> {
//! # #[cfg(feature = "flex")] {
//! let device = Device::flex().autodiff();
//! let (points, labels) = ([[0.0, 1.0], [1.0, 0.0], [0.2, 0.9], [0.8, 0.1]], [0, 1, 0, 1]);
//! let model: Linear = LinearConfig::new(2, 2).init(&device);
//!
//! let method = Method::Sgd(Sgd { momentum: 0.9, ..Sgd::default() });
//! let config = TrainConfig::new(method, 0.1, Length::Epochs(50), 2);
//! let trained = Trainer::new(config)?.run(model, points.len(), |model, batch| {
//!     let inputs: Vec<f32> = batch.indices.iter().flat_map(|&i| points[i]).collect();
//!     let inputs = Tensor::<1>::from_floats(inputs.as_slice(), &device).reshape([-1, 2]);
//!     let labels: Vec<i64> = batch.indices.iter().map(|&i| labels[i]).collect();
//!     Labels::new(&labels, 2)?.cross_entropy(model.forward(inputs), 0.0)
//! })?;
//! assert!(trained.history.steps.last().unwrap().loss < 0.1);
//! let model = trained.model.valid();
//! # }
//! # Ok(())
//! # }
//! ```
//!
//! Those who need the parts take them singly: an [`Optimizer`] steps a module and names its state by parameter path;
//! [`Sgd::step`] and [`Adam::step`] are functions of one tensor and its state; [`Labels`] and [`soft_cross_entropy`]
//! are the losses, [`evaluate`] the evaluation, [`Crop`] and [`Standardise`] prepare images.

mod augment;
mod batches;
mod checkpoint;
mod config;
mod evaluate;
mod gradients;
mod history;
mod kernels;
mod loss;
mod optimizer;
mod progress;
mod schedule;
mod trainer;
mod weights;

pub use augment::{Crop, Standardise};
pub use batches::Batch;
pub use config::{Length, TrainConfig, Trainable};
pub use evaluate::{Evaluation, evaluate};
pub use gradients::Gradients;
pub use history::{EpochRecord, History, StepRecord};
pub use kernels::{Adam, AdamState, Sgd};
pub use loss::{Labels, soft_cross_entropy};
pub use optimizer::{DecayScope, Method, Optimizer, ParameterState};
pub use progress::{End, EpochEnd, Progress, Trained};
pub use schedule::{Decay, Milestone, Schedule, Span};
pub use trainer::Trainer;
