//! What was this tokenizer trained on?

pub mod error;
pub mod inference;
pub mod lp;
pub mod merges;
pub mod pretokenizer;
pub mod trace;
pub mod words;

pub use error::{Error, Result};
