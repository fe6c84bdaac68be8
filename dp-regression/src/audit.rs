//! Audits: how much do the outputs of a method on two neighbouring tables really tell?
//!
//! The white box computes it from the exact distributions of the outputs, the black box estimates it from below by running the method.
//! An audit can refute a guarantee; it cannot prove one.

pub mod black_box;
pub mod law;
pub mod neighbours;

pub use black_box::{AuditReport, BlackBox};
pub use law::{GaussianLaw, OutputLaw};
pub use neighbours::Neighbours;
