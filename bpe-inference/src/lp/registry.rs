//! Solvers by name, for command lines.

use super::{LpError, LpSolver, StructuredIpm};

/// A name and what makes the solver of that name.
type Entry = (&'static str, fn() -> Box<dyn LpSolver>);

const SOLVERS: &[Entry] = &[
    ("structured-ipm", || Box::new(StructuredIpm::default())),
    #[cfg(feature = "clarabel")]
    ("clarabel", || Box::new(super::ClarabelSolver::default())),
    #[cfg(feature = "highs")]
    ("highs", || Box::new(super::HighsSolver::default())),
    #[cfg(feature = "microlp")]
    ("microlp", || Box::new(super::MicrolpSolver::default())),
    #[cfg(feature = "minilp")]
    ("minilp", || Box::new(super::MinilpSolver::default())),
    #[cfg(feature = "flex")]
    ("pdhg", || {
        Box::new(super::PdhgSolver::new(burn::tensor::Device::flex()))
    }),
];

/// Names of the solvers that are compiled in, the default first.
pub fn solver_names() -> Vec<&'static str> {
    SOLVERS.iter().map(|(name, _)| *name).collect()
}

/// The solver of this name with its default settings; `ipm` is short for `structured-ipm`. `pdhg` is
/// the first-order solver on the CPU (`PdhgSolver::new` takes any device).
///
/// # Errors
/// [`LpError::UnknownSolver`] if no such solver is compiled in.
pub fn solver_by_name(name: &str) -> Result<Box<dyn LpSolver>, LpError> {
    let full = if name == "ipm" {
        "structured-ipm"
    } else {
        name
    };
    SOLVERS
        .iter()
        .find(|(known, _)| *known == full)
        .map(|(_, make)| make())
        .ok_or_else(|| LpError::UnknownSolver {
            name: name.into(),
            known: solver_names().join(", "),
        })
}
