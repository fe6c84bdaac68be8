//! Accounting: what single mechanisms cost, and what several cost together.

pub mod composition;
pub mod gdp;
pub mod ledger;
pub mod rdp;

pub use ledger::Ledger;
