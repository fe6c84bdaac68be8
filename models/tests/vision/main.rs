//! Image classifiers: against PyTorch, and against what their methods promise.
#![cfg(feature = "vision")]

mod config;
mod files;
mod groups;
mod kernels;
mod parameters;
mod reference;
mod statistics;
mod support;
mod tangent;
