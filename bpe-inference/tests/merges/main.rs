//! Merge lists are read from every tokenizer format, rebuilt where the file has no training order, and bad files
//! give typed errors.

mod clock;
mod corpus;
mod files;
mod formats;
mod list;
mod recovery;
mod robustness;
#[path = "../support/skip.rs"]
mod skip;
mod training;
