//! The best low-dimensional fit to a measure under a smoothness budget.
//!
//! Given points in R^n, which curve (or surface) of at most this length, or this much bending, is closest to them? Principal curves, elastic
//! maps and self-organising maps answer with parameters whose meaning is hard to tell. Here the question is an optimisation problem with a
//! hard constraint, after F. Kobayashi, J. Hayase and Y.-H. Kim, "Monge-Kantorovich Fitting With Sobolev Budgets" (arXiv 2409.16541):
//!
//! > minimise `J_p(f)`, the mean of `dist(x, f(X))^p`, over maps `f: X -> R^n` whose Sobolev norm `C(f)` is at most `l`.
//!
//! The user states one number, the budget `l`. The answer comes with the multiplier (what more budget would buy), a report on how far the map is
//! from stationary, the values that other starts led to, and for curves and uniform measures a lower bound that no map of that budget can beat.
//!
//! # The whole job
//!
//! ```
//! use sobolev_budget::{Constraint, Domain, FitConfig, Measure, Smoothness};
//!
//! # fn main() -> sobolev_budget::Result<()> {
//! // In real use: `let measure = Measure::from_file("points.csv", None)?;`
//! let measure = Measure::square_lattice(30)?;
//! // A curve of length 2: order 1, as the length is the norm of the first derivative.
//! let fit = FitConfig::new(Domain::Interval, Smoothness::new(1), Constraint::Budget(2.0))
//!     .with_nodes(65)
//!     .with_volume(1.0)
//!     .fit(&measure)?;
//! println!("{fit}");
//! assert!(fit.lower_bound.unwrap() <= fit.j && fit.j < 0.018);
//! fit.map.to_csv(std::io::sink(), Some(&measure))?;
//! # Ok(())
//! # }
//! ```
//!
//! # Smooth curves, closed curves, surfaces
//!
//! Order 2 pays for bending and lets straight maps go free: with a budget of 0 it is principal component analysis. A [`Domain`] with circles
//! closes what it maps.
//!
//! ```
//! use sobolev_budget::{Constraint, Domain, FitConfig, Measure, Smoothness, Starts};
//!
//! # fn main() -> sobolev_budget::Result<()> {
//! let points = Measure::noisy_circle(500, 0.05, 1)?;
//! let bending = 0.95 * std::f64::consts::TAU.powi(2);
//! let ring = FitConfig::new(Domain::Circle, Smoothness::new(2), Constraint::Budget(bending))
//!     .with_nodes(64)
//!     .with_starts(Starts::single())
//!     .fit(&points)?;
//! assert!(ring.j < 0.01);
//!
//! let sheet = FitConfig::new(Domain::Square, Smoothness::new(2), Constraint::Budget(3.0))
//!     .with_nodes(9)
//!     .with_starts(Starts::single())
//!     .fit(&Measure::sphere(400)?)?;
//! sheet.map.to_obj(std::io::sink())?;
//! # Ok(())
//! # }
//! ```
//!
//! # How much budget?
//!
//! [`BudgetPath`] fits many budgets, each from the last, and gives the curve `J(l)`, its slope and the budget at which it bends. It saves its work and resumes:
//!
//! ```no_run
//! use std::path::Path;
//!
//! use sobolev_budget::{BudgetPath, Constraint, Domain, FitConfig, FitOptions, Measure, Smoothness};
//!
//! # fn main() -> sobolev_budget::Result<()> {
//! let measure = Measure::from_file("points.csv", None)?;
//! let config = FitConfig::new(Domain::Interval, Smoothness::new(1), Constraint::Budget(1.0));
//! let budgets = (1..=40).map(|i| 0.1 * f64::from(i)).collect();
//! let curve = BudgetPath::new(config, budgets)?.fit_with(&measure, Some(Path::new("path.json")), &FitOptions::default())?;
//! println!("enough at about {:?}", curve.knee());
//! # Ok(())
//! # }
//! ```
//!
//! # Method
//!
//! Maps live on uniform grids, linear between nodes on segments and triangles (or known at nodes only), and derivatives are differences. A fit takes turns:
//! the exact closest points of all data on the map (a tree of boxes, and bounds that prove from turn to turn that most points keep their
//! element), then the exact minimiser of the quadratic model within the budget, whose multiplier Newton's method finds. For p up to 2 the model
//! lies above the loss, so that the loss never rises. Other exponents p and q reweight the model. Many starts run from coarse grids to fine ones.
//!
//! The problem has many local minima. A fit reports what every start led to; only where the lower bound meets J is the minimum known.
//!
//! All of this is processor code in 64-bit arithmetic, the same for any number of threads. With the feature `burn`, closest points can be found on a
//! device, and the module `generative` holds the other half of the paper: neural networks as maps, with the Sobolev norm as a penalty.
//!
//! # Features
//!
//! | feature | brings |
//! | --- | --- |
//! | `flex` (default) | neural maps, on the processor |
//! | `wgpu`, `vulkan`, `cuda` | the same on graphics processors, and closest points there |
//!
//! Without default features no tensor library is compiled.

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

/// Compiles the example of the README as a documentation test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
