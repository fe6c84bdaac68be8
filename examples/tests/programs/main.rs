//! The programs as their users meet them: what they print, and what they say to bad input.

mod bpe_inference;
#[cfg(feature = "flex")]
mod networks;
mod support;
#[cfg(feature = "flex")]
mod zonotope_verify;
