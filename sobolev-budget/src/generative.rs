//! Neural maps under a Sobolev penalty: a generator in the place of a grid, with the budget turned into a penalty.
//!
//! A [`Generator`] maps latents in the cube `[-1, 1]^m` to data in `R^n`. [`SobolevPenalty`] measures how much it bends, by finite differences
//! for every network and exactly for those that can propagate derivatives forward ([`Jets`], as [`Mlp`] does). [`NeuralFit`] fits a generator to
//! data without an adversary, in the two steps of the factorisation: the map covers the support, and a [`LatentDensity`] over the latents of
//! the data then gives the mass. [`GanTrainer`] is the adversarial route, for comparison; [`ConvGenerator`] and [`ConvDiscriminator`]
//! play it with images of 28 x 28 pixels. [`metrics`] says how good either one is.
//!
//! ```
//! # #[cfg(feature = "flex")] {
//! use burn::tensor::Device;
//! use faer::Mat;
//! use rand::SeedableRng;
//! use rand_chacha::ChaCha8Rng;
//! use sobolev_budget::generative::{LatentDensity, NeuralFit, NeuralFitConfig, Output, SobolevPenalty, generate};
//!
//! // Points on an arc.
//! let data = Mat::from_fn(200, 2, |i, j| {
//!     let angle = i as f64 / 100.0;
//!     if j == 0 { angle.cos() } else { angle.sin() }
//! });
//! let config = NeuralFitConfig::new(1)
//!     .with_output(Output::Linear)
//!     .with_penalty(Some(SobolevPenalty::new(1)))
//!     .with_weight(1e-3)
//!     .with_steps(50);
//! let fitted = NeuralFit::new(config)?.fit(data.as_ref(), &Device::flex())?;
//! let mut rng = ChaCha8Rng::seed_from_u64(1);
//! let latents = LatentDensity::fit(fitted.latents.as_ref())?.sample(10, &mut rng);
//! let samples = generate(&fitted.generator, latents.as_ref(), &Device::flex())?;
//! assert_eq!((samples.nrows(), samples.ncols()), (10, 2));
//! # }
//! # Ok::<(), sobolev_budget::Error>(())
//! ```
//!
//! The latents may have any dimension: that order times exponent exceeds the dimension, which maps on a domain need, is not asked of a
//! generator, since a network is continuous whatever its penalty.
//!
//! All randomness is drawn on the host, from a seed or a generator that the caller passes. Tensors are 32-bit; the metrics are 64-bit and run on
//! the host.

mod activation;
mod adam;
mod checkpoint;
mod convolutional;
mod density;
mod derivatives;
mod fit;
mod gan;
mod generator;
mod host;
pub mod metrics;
mod mlp;
mod penalty;
mod projection;
mod weights;

pub use convolutional::{ConvDiscriminator, ConvGenerator};
pub use density::LatentDensity;
pub use derivatives::{SecondNorms, jacobian, jacobian_norms, second_norms};
pub use fit::{End, FitRow, NeuralFit, NeuralFitConfig, NeuralFitted};
pub use gan::{Gan, GanConfig, GanRow, GanTrainer, Loss, Regulariser};
pub use generator::{Generator, Jet, Jets, generate};
pub use host::uniform_latents;
pub use mlp::{Activation, Mlp, MlpConfig, Output};
pub use penalty::SobolevPenalty;
pub use projection::{HeldOut, HeldOutConfig, held_out_error};
