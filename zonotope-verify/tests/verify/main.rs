//! The bounds and verdicts of the whole crate, against oracles: samples, enumeration of sign patterns, and textbook CROWN.

mod bounds;
mod complete;
mod limits;
mod oracle;
