//! The mixture estimate.

/// An estimate.
#[derive(Clone, Debug)]
pub struct Estimate {}
