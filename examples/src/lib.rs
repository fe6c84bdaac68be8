//! What all example programs share: the options that every program has, devices, progress bars and logs, tables,
//! plots, the one shape of output, small language models to try things on, and classifiers as a verifier takes them.
//!
//! A program is an argument type, a serialisable result and a function from the one to the other;
//! [`program::run`] does the rest:
//!
//! ```no_run
//! use std::process::ExitCode;
//!
//! use fire_assay_examples::{CommonArgs, Report, Table, program, table};
//!
//! /// Counts things.
//! #[derive(clap::Parser)]
//! struct Args {
//!     #[command(flatten)]
//!     common: CommonArgs,
//! }
//!
//! impl AsRef<CommonArgs> for Args {
//!     fn as_ref(&self) -> &CommonArgs {
//!         &self.common
//!     }
//! }
//!
//! #[derive(serde::Serialize)]
//! struct Outcome {
//!     results: Vec<u64>,
//! }
//!
//! fn count(_args: &Args, report: &Report) -> anyhow::Result<Outcome> {
//!     let mut counts = Table::new(["thing", "count"]);
//!     counts.row([table::text("gold"), table::integer(79)]);
//!     report.table(&counts);
//!     Ok(Outcome { results: vec![79] })
//! }
//!
//! fn main() -> ExitCode {
//!     program::run(count)
//! }
//! ```
//!
//! With `--json` the outcome is printed as exactly one JSON object on standard output and everything else goes to
//! standard error. Names in the object are the programs' own affair: lower case, words joined by hyphens
//! (`#[serde(rename_all = "kebab-case")]`), repeated rows under `results`.

pub mod args;
pub mod device;
pub mod interrupt;
#[cfg(feature = "burn")]
pub mod language;
pub mod plot;
pub mod program;
pub mod progress;
pub mod report;
#[cfg(feature = "burn")]
pub mod robustness;
pub mod solver;
pub mod stops;
pub mod table;
#[cfg(feature = "burn")]
pub mod verifiable;

pub use args::CommonArgs;
pub use device::DeviceName;
pub use interrupt::Limit;
pub use program::UsageError;
pub use report::{Report, print_json};
pub use solver::SolverChoice;
pub use table::Table;
