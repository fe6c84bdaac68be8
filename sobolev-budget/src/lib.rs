//! The best low-dimensional fit to a measure under a smoothness budget.

mod error;
#[cfg(feature = "burn")]
pub mod generative;

pub use error::{Error, Result};
