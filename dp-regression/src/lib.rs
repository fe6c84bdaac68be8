//! A regression that gives nobody in the data away.
//!
//! Least squares with differential privacy, for people who hold a table about people and do not know the scales and correlations of its columns. The main
//! method, [`Issp`], adds Gaussian noise that is shaped like `(X'X)^-1` to the coefficients themselves, after a filter that makes least squares
//! stable when one row changes. Its error grows linearly with the number of columns, and neither scaling nor correlation of columns changes it. Users give
//! two public numbers, a bound of the leverages and one of the residuals, instead of bounds of every column.
//!
//! It follows G. Brown, J. Hayase, S. Hopkins, W. Kong, X. Liu, S. Oh, J. Perdomo and A. Smith, "Insufficient Statistics Perturbation: Stable Estimators for
//! Private Least Squares" (COLT 2024, arXiv 2404.15409), with thresholds, refusals and accounting of its own whose proof stands beside the code: in
//! [`filter`] and [`ladder`] (lemmas 1 to 6), [`accounting::rdp`] (7) and [`refusal`] (8).
//!
//! # The whole job
//!
//! ```
//! use dp_regression::{Dataset, Issp, Outcome, PlanInput, PrivacyBudget, PrivacyRng, PrivateRegressor};
//! # use dp_regression::synth::LinearModel;
//! # use rand::SeedableRng;
//!
//! # fn main() -> dp_regression::Result<()> {
//! # let sample = LinearModel::new(20_000, 3).sample(&mut rand_chacha::ChaCha8Rng::seed_from_u64(1))?;
//! # let (x, y) = (sample.x, sample.y);
//! // Public choices: privacy, a bound of every leverage, a bound of every residual. None of them may be read off the table.
//! let budget = PrivacyBudget::new(2.0, 1e-6)?;
//! let issp = Issp::new(&PlanInput::new(budget, 0.002, 5.0))?;
//! println!("error to expect: {}", issp.plan().expected_error(20_000.0, 3));
//!
//! // In real use: `let table = Table::from_csv("survey.csv", &ReadOptions::new("income"))?.with_intercept();`
//! let data = Dataset::new(x, y, 3)?;
//! let release = issp.fit(&data, &mut PrivacyRng::from_os()?)?;
//! match &release.outcome {
//!     Outcome::Released(coefficients) => println!("{:?}", coefficients.values),
//!     Outcome::Refused => println!("refused: a private answer, and why is private too"),
//! }
//! println!("{}", release.guarantee);
//! # Ok(())
//! # }
//! ```
//!
//! # Before there is a table
//!
//! The planner needs no data. It says what error to expect, or that there is no plan and how many rows one would take.
//!
//! ```
//! use dp_regression::plan::{gaussian_leverage_bound, gaussian_residual_bound};
//! use dp_regression::{Adjacency, Error, Plan, PlanInput, PrivacyBudget};
//!
//! # fn main() -> dp_regression::Result<()> {
//! let budget = PrivacyBudget::new(1.0, 1e-6)?;
//! for rows in [1e3, 1e5, 1e6] {
//!     let bounds = (gaussian_leverage_bound(rows, 10), gaussian_residual_bound(rows, 1.0));
//!     let input = PlanInput::new(budget, bounds.0, bounds.1).with_adjacency(Adjacency::AddRemove);
//!     match Plan::search(&input) {
//!         Ok(plan) => println!("{rows} rows: {:.4}", plan.expected_error(rows, 10)),
//!         Err(Error::Infeasible(error)) => println!("{rows} rows: {error}; about {:?} are needed", error.rows_needed(10)),
//!         Err(error) => return Err(error),
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Confidence intervals
//!
//! ```
//! use dp_regression::inference::{ResidualVariance, confidence_intervals};
//! use dp_regression::{Adjacency, Dataset, Issp, NoiseKind, PlanInput, PrivacyBudget, PrivacyRng, PrivateRegressor};
//! # use dp_regression::synth::LinearModel;
//! # use rand::SeedableRng;
//!
//! # fn main() -> dp_regression::Result<()> {
//! # let sample = LinearModel::new(20_000, 3).sample(&mut rand_chacha::ChaCha8Rng::seed_from_u64(1))?;
//! # let data = Dataset::new(sample.x, sample.y, 3)?;
//! let mut rng = PrivacyRng::from_os()?;
//! let input = PlanInput::new(PrivacyBudget::new(1.8, 1e-6)?, 0.002, 5.0).with_covariance_draws(1000);
//! let release = Issp::new(&input)?.fit(&data, &mut rng)?;
//! if let Some(coefficients) = release.outcome.coefficients() {
//!     // Another 0.2 of epsilon: 2 in all.
//!     let variance = ResidualVariance::new(0.2, 5.0, Adjacency::Replace)?.fit(&data, coefficients, NoiseKind::Hardened, &mut rng)?;
//!     for interval in confidence_intervals(&release, variance, 0.95)? {
//!         println!("{:.3} [{:.3}, {:.3}]", interval.estimate, interval.lower, interval.upper);
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # What the promise means
//!
//! - It is about *rows*. A person with several rows needs them merged into one first.
//! - It is about everything that a [`Release`] holds, and about nothing else: not about timings, not about errors on the content of a table
//!   ([`Error::NonFinite`]), not about bounds that were chosen by looking. [`PublicTransform`] takes care of the second, [`PrivateSearch`] of the third.
//! - [`Outcome::Refused`] is an answer like any other. That a table is refused by chance, for its outliers, or for columns that depend on each other cannot be
//!   told apart.
//! - Every release spends anew; [`accounting::Ledger`] keeps the books.
//! - `delta` should be much smaller than one over the number of rows.
//! - Noise comes from the operating system and is drawn exactly ([`NoiseKind::Hardened`]). Seeded noise exists behind the feature `simulation` only.
//! - The thresholds make up for rounding ([`PlanInput::relative_error`]); where the estimate of an error exceeds what they allow, precision is raised to some
//!   106 bits. That these suffice to find the rank of a table is assumed.
//!
//! # When not to use it
//!
//! Where columns are well conditioned and bounds of rows and responses are known, [`baselines::AdaSsp`] has less error, and it works for fewer rows:
//! [`baselines::recommend`] compares.
//!
//! # What is where
//!
//! | step | module |
//! | --- | --- |
//! | tables, in memory or in blocks; CSV, Parquet and NumPy files; public preprocessing | [`dataset`], [`read`], [`transform`] |
//! | thresholds, and bounds on how far neighbours are apart | [`ladder`] |
//! | which rows are kept, scores, weights | [`filter`] |
//! | probabilities of refusing | [`refusal`] |
//! | all of these from a budget and two bounds | [`plan`] |
//! | the method, and a private choice of its bounds | [`issp`], [`search`] |
//! | the paper's own algorithm, for study | [`paper`] |
//! | standard errors and intervals | [`inference`] |
//! | the methods that it is compared with | [`baselines`] |
//! | Rényi and Gaussian accounting, composition, the ledger | [`accounting`] |
//! | exact noise | [`noise`] |
//! | audits | [`audit`] |
//! | tables to try things on, and errors (not private) | [`synth`], [`metrics`] |
//!
//! # Features
//!
//! | feature | what it adds |
//! | --- | --- |
//! | `parquet` | [`read`]ing Parquet files |
//! | `simulation` | seeded noise, for tests and simulations |
//!
//! Everything is processor code in 64-bit arithmetic or better: what decides about privacy must not round differently from device to device.

pub mod accounting;
pub mod audit;
pub mod baselines;
pub mod budget;
pub mod dataset;
pub mod error;
pub mod filter;
pub mod inference;
pub mod issp;
pub mod ladder;
pub mod metrics;
pub mod noise;
pub mod paper;
pub mod plan;
pub mod read;
pub mod refusal;
pub mod regressor;
pub mod search;
pub mod synth;
pub mod transform;

mod linalg;
mod ols;

pub use budget::{Adjacency, Guarantee, PrivacyBudget};
pub use dataset::{CancelToken, Dataset, RowBlocks};
pub use error::{Error, PlanError, Result};
pub use issp::Issp;
pub use noise::{NoiseKind, PrivacyRng};
pub use paper::PaperProfile;
pub use plan::{Plan, PlanInput};
pub use read::Table;
pub use refusal::PtrDesign;
pub use regressor::{Coefficients, Outcome, PrivateRegressor, Release};
pub use search::PrivateSearch;
pub use transform::PublicTransform;

/// Compiles the examples of the README as documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
