//! Solvers of linear programs by name, on the device of `--device` where they compute on one.

use anyhow::Result;
use bpe_inference::lp::{LpSolver, solver_by_name, solver_names};

use crate::device::DeviceName;

/// The first-order solver, the only one that computes on a device.
const ON_DEVICE: &str = "pdhg";

/// A solver that is chosen and not yet made.
#[derive(Clone, Debug)]
pub struct SolverChoice {
    name: String,
    device: Option<DeviceName>,
}

impl SolverChoice {
    /// The solver of this name (one of [`names`]), on `device` if it computes on one; `None` stands for the first
    /// device of the build.
    pub fn new(name: impl Into<String>, device: Option<DeviceName>) -> Self {
        Self {
            name: name.into(),
            device,
        }
    }

    /// Whether it computes on the device that it was given.
    pub fn uses_device(&self) -> bool {
        self.name == ON_DEVICE
    }

    /// Makes it, with its default settings.
    ///
    /// # Errors
    /// If this build has no solver of that name, or no device for it.
    pub fn make(&self) -> Result<Box<dyn LpSolver>> {
        #[cfg(feature = "burn")]
        if self.uses_device() {
            return Ok(Box::new(first_order(self.device)?));
        }
        Ok(solver_by_name(&self.name)?)
    }
}

impl Default for SolverChoice {
    /// The library's default solver.
    fn default() -> Self {
        Self::new(names()[0], None)
    }
}

/// The solvers that this build has, the default first.
pub fn names() -> Vec<&'static str> {
    let mut names = solver_names();
    if cfg!(feature = "burn") && !names.contains(&ON_DEVICE) {
        names.push(ON_DEVICE);
    }
    names
}

/// The first-order solver on this device, or on the first of the build.
///
/// # Errors
/// If the build has no device.
#[cfg(feature = "burn")]
pub fn first_order(device: Option<DeviceName>) -> Result<bpe_inference::lp::PdhgSolver> {
    use anyhow::Context as _;

    let device = device
        .or_else(DeviceName::default_of_build)
        .context("this build has no device")?;
    Ok(bpe_inference::lp::PdhgSolver::new(device.open()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_makes_the_solver_of_that_name() {
        for name in names() {
            let solver = SolverChoice::new(name, None).make().unwrap();
            assert_eq!(solver.name(), name);
        }
        assert!(SolverChoice::new("abacus", None).make().is_err());
    }

    #[cfg(feature = "burn")]
    #[test]
    fn only_the_first_order_solver_uses_the_device() {
        let users: Vec<&str> = names()
            .into_iter()
            .filter(|name| SolverChoice::new(*name, None).uses_device())
            .collect();
        assert_eq!(users, ["pdhg"]);
    }

    #[cfg(feature = "flex")]
    #[test]
    fn the_first_order_solver_lies_on_the_device_that_was_named() {
        let solver = first_order(Some(DeviceName::Flex)).unwrap();
        assert_eq!(solver.device, DeviceName::Flex.open());
    }
}
