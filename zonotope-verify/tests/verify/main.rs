//! The bounds and verdicts of the whole crate, against oracles: samples, enumeration of sign patterns, textbook CROWN, and another verifier.
//!
//! The tests that draw many networks take a share of them: with the environment variable `FIRE_ASSAY_CASES` unset it is 1 %, and
//! `FIRE_ASSAY_CASES=10000 cargo test --release -p zonotope-verify --test verify` is the full size.

mod bounds;
mod combinations;
mod complete;
mod conversions;
mod forgery;
mod limits;
mod modules;
mod oracle;
mod peer;
#[path = "../support/random.rs"]
mod random;
mod resume;
#[path = "../support/skip.rs"]
mod skip;
mod soundness;
