//! The default run of every program, which is also its stop in the tour.

pub mod bpe_inference;
pub mod dp_regression;
pub mod sobolev_budget;
#[cfg(feature = "burn")]
pub mod zonotope_verify;
