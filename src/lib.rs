//! What do machine-learning models and their data really contain?
//!
//! A fire assay is the classical test of a metal: burn away everything else and weigh what is left. These crates do that to models
//! and data, each by the algorithm of one paper. This one holds no code of its own: it re-exports the crates that its
//! features switch on, so that one dependency and one version cover them all.
//!
//! | module | feature | question |
//! | --- | --- | --- |
#![cfg_attr(
    feature = "bpe-inference",
    doc = "| [`bpe_inference`] | `bpe-inference` (default) | What was this tokenizer trained on? |"
)]
#![cfg_attr(
    not(feature = "bpe-inference"),
    doc = "| `bpe_inference` | `bpe-inference` (default, off in this build) | What was this tokenizer trained on? |"
)]
#![cfg_attr(
    feature = "dp-regression",
    doc = "| [`dp_regression`] | `dp-regression` (default) | How to regress without giving anybody in the data away? |"
)]
#![cfg_attr(
    not(feature = "dp-regression"),
    doc = "| `dp_regression` | `dp-regression` (default, off in this build) | How to regress without giving anybody in the data away? |"
)]
#![cfg_attr(
    feature = "sobolev-budget",
    doc = "| [`sobolev_budget`] | `sobolev-budget` (default) | What is the best shape of few dimensions for these points, under a smoothness budget? |"
)]
#![cfg_attr(
    not(feature = "sobolev-budget"),
    doc = "| `sobolev_budget` | `sobolev-budget` (default, off in this build) | What is the best shape of few dimensions for these points, under a smoothness budget? |"
)]
#![cfg_attr(
    feature = "zonotope-verify",
    doc = "| [`zonotope_verify`] | `zonotope-verify` (default) | What can this network provably never do? |"
)]
#![cfg_attr(
    not(feature = "zonotope-verify"),
    doc = "| `zonotope_verify` | `zonotope-verify` (default, off in this build) | What can this network provably never do? |"
)]
//!
//! The features `flex` (default), `wgpu`, `vulkan` and `cuda` decide which devices tensors can live on, and are passed on to
//! every crate that is switched on. The device itself is chosen at run time.
//!
//! The crates do not depend on each other and can be used without this one.

#[cfg(feature = "bpe-inference")]
#[doc(inline)]
pub use bpe_inference;
#[cfg(feature = "dp-regression")]
#[doc(inline)]
pub use dp_regression;
#[cfg(feature = "sobolev-budget")]
#[doc(inline)]
pub use sobolev_budget;
#[cfg(feature = "zonotope-verify")]
#[doc(inline)]
pub use zonotope_verify;

/// Compiles the examples of the README as documentation tests.
#[cfg(all(doctest, feature = "bpe-inference"))]
#[doc = include_str!("../README.md")]
pub struct Readme;
