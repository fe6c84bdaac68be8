//! The programs as their users meet them: what they print, and what they say to bad input.

mod bpe_inference;
mod dp_regression;
#[cfg(feature = "flex")]
mod networks;
mod sobolev_budget;
mod support;
#[cfg(feature = "flex")]
mod zonotope_verify;
