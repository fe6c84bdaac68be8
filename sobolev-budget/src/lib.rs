//! The best low-dimensional fit to a measure under a smoothness budget.

mod assign;
mod bounds;
mod checkpoint;
mod descent;
#[cfg(feature = "burn")]
mod device;
mod domain;
mod elements;
mod error;
mod fit;
#[cfg(feature = "burn")]
pub mod generative;
mod map;
mod measure;
mod norm;
mod path;
mod regression;
mod starts;
mod system;

pub use bounds::{length_bound, tube_lower_bound};
pub use domain::{Domain, Grid};
pub use elements::Interpolation;
pub use error::{Error, Result};
pub use fit::{Constraint, Fit, FitConfig, FitOptions, Kkt, Outcome, StartReport};
pub use map::{BarycenterField, GridMap, Improvement, Projection, Sampler};
pub use measure::Measure;
pub use norm::{Norm, Smoothness};
pub use path::{BudgetCurve, BudgetPath, PathPoint};
pub use regression::Regression;
pub use starts::Starts;
