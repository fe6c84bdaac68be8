//! The networks that fire-assay's methods are exercised on, on [burn](https://burn.dev).
//!
//! | module | feature | what |
//! | --- | --- | --- |
//! | `lm` | `lm` | decoder-only language models: Llama, Mistral, Qwen2, GPT-NeoX, GPT-2, OPT |
//! | `gguf` | `lm` | the GGUF file format and its quantised types |
//! | `vision` | `vision` | image classifiers: MLP, CNN, ResNet, VGG, ViT |
//! | [`train`] | | one trainer for all of them, with checkpoints that resume to the same weights |
//! | [`tensors`] | | tensors by name, in files and in memory |
//! | [`parameters`] | | the weights of any network as values that can be read, changed and put back |

mod error;
#[cfg(feature = "lm")]
pub mod gguf;
#[cfg(feature = "lm")]
pub mod lm;
pub mod parameters;
pub mod tensors;
pub mod train;
#[cfg(feature = "vision")]
pub mod vision;

pub use error::{Error, Result};

/// Compiles the example of the README as a documentation test.
#[cfg(all(doctest, feature = "lm", feature = "flex"))]
#[doc = include_str!("../README.md")]
pub struct Readme;
