//! How the best value falls with the budget.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::bounds::check_budget;
use crate::checkpoint;
use crate::{Constraint, Error, Fit, FitConfig, FitOptions, Measure, Result, Starts};

/// Fits for many budgets, each started from its neighbours: the curve J(l).
///
/// # Examples
/// ```
/// use sobolev_budget::{BudgetPath, Constraint, Domain, FitConfig, Measure, Smoothness};
///
/// let config = FitConfig::new(Domain::Interval, Smoothness::new(1), Constraint::Budget(1.0)).with_nodes(33);
/// let path = BudgetPath::new(config, vec![0.25, 0.5, 1.0])?.fit(&Measure::segment(500, &[1.0, 0.0])?)?;
/// // A segment of length l within one of length 2.
/// for point in &path.points {
///     let expected = (1.0 - point.budget / 2.0).powi(3) / 3.0;
///     assert!((point.fit.j - expected).abs() < 1e-3 * expected);
/// }
/// # Ok::<(), sobolev_budget::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct BudgetPath {
    config: FitConfig,
    budgets: Vec<f64>,
    every: usize,
}

/// One budget of a path.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PathPoint {
    /// The budget.
    pub budget: f64,
    /// The best fit found within it.
    pub fit: Fit,
    /// The slope of J from here to the next budget, by difference.
    pub difference: Option<f64>,
    /// The slope that the multipliers at both ends promise for that difference: their geometric mean.
    pub promised: Option<f64>,
}

/// A finished path.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BudgetCurve {
    /// The budgets in rising order; J never rises along them.
    pub points: Vec<PathPoint>,
    /// Whether all budgets were fitted, or somebody asked to stop before.
    pub complete: bool,
}

impl BudgetPath {
    /// A path over these budgets, which are sorted; the constraint of the configuration is not used. Each budget tries all starts of the
    /// configuration and the map of the budget before it.
    ///
    /// # Errors
    /// As [`FitConfig::validate`]; [`Error::Parameter`] if there is no budget, or one is negative or not finite.
    pub fn new(config: FitConfig, mut budgets: Vec<f64>) -> Result<Self> {
        if budgets.is_empty() {
            return Err(Error::Parameter {
                name: "the number of budgets",
                requirement: "at least 1",
                found: 0.0,
            });
        }
        for &budget in &budgets {
            check_budget(budget)?;
        }
        budgets.sort_by(f64::total_cmp);
        budgets.dedup();
        let config = config.with_constraint(Constraint::Budget(budgets[0]));
        config.validate()?;
        Ok(Self {
            config,
            budgets,
            every: 1,
        })
    }

    /// Tries all starts at every so many budgets only, and goes on from the last map at the others. That is faster, and sticks more often in
    /// a minimum that has become a poor one. 0 counts as 1.
    #[must_use]
    pub fn with_starts_every(mut self, every: usize) -> Self {
        self.every = every.max(1);
        self
    }

    /// Fits all budgets.
    ///
    /// # Errors
    /// As [`FitConfig::fit`].
    pub fn fit(&self, measure: &Measure) -> Result<BudgetCurve> {
        self.fit_with(measure, None, &FitOptions::default())
    }

    /// Fits all budgets; with a `checkpoint`, what is done is saved there after each budget, and taken up from there if the file exists. A resumed
    /// path is the same as one that was never interrupted.
    ///
    /// # Errors
    /// As [`FitConfig::fit_with`]; [`Error::Checkpoint`] if the file belongs to another path or measure, [`Error::Io`] and [`Error::Read`] if it
    /// cannot be written or read.
    pub fn fit_with(
        &self,
        measure: &Measure,
        checkpoint: Option<&Path>,
        options: &FitOptions,
    ) -> Result<BudgetCurve> {
        let stop = options.stop.unwrap_or(&|| false);
        let fingerprint = checkpoint::fingerprint(&(
            &self.config,
            &self.budgets,
            self.every,
            &options.starts,
            measure,
        ))?;
        let mut fits: Vec<Fit> = match checkpoint {
            Some(path) => checkpoint::load(path, &fingerprint)?.unwrap_or_default(),
            None => Vec::new(),
        };
        let span = tracing::info_span!("path", position = fits.len(), length = self.budgets.len());
        let _entered = span.enter();
        let mut complete = true;
        while fits.len() < self.budgets.len() {
            let index = fits.len();
            if stop() {
                complete = false;
                break;
            }
            let budget = self.budgets[index];
            let fit = self.next(measure, index, budget, fits.last(), options)?;
            if fit.outcome == crate::Outcome::Stopped {
                // It would come out otherwise if it were not stopped, so it is not kept.
                complete = false;
                break;
            }
            fits.push(fit);
            if let Some(path) = checkpoint {
                checkpoint::save(path, &fingerprint, &fits)?;
            }
            span.record("position", fits.len());
        }
        Ok(self.curve(fits, complete))
    }

    /// The fit for one budget: from the last, and from all starts where it is their turn.
    fn next(
        &self,
        measure: &Measure,
        index: usize,
        budget: f64,
        last: Option<&Fit>,
        options: &FitOptions,
    ) -> Result<Fit> {
        let mut config = self
            .config
            .clone()
            .with_constraint(Constraint::Budget(budget));
        let mut options = options.clone();
        if let Some(last) = last {
            options.starts.push(last.map.clone());
            if !index.is_multiple_of(self.every) {
                config = config.with_starts(Starts::given());
            }
        }
        let mut fit = config.fit_with(measure, &options)?;
        fit.config.starts = self.config.starts.clone();
        // More budget never hurts: the last map is allowed here, too.
        if let Some(last) = last
            && last.j < fit.j
        {
            fit.map = last.map.clone();
            fit.j = last.j;
            fit.cost = last.cost;
            fit.multiplier = last.multiplier;
            fit.kkt = last.kkt;
        }
        Ok(fit)
    }

    fn curve(&self, fits: Vec<Fit>, complete: bool) -> BudgetCurve {
        let slopes: Vec<(f64, f64, f64)> = fits
            .iter()
            .zip(&self.budgets)
            .map(|(fit, budget)| (*budget, fit.j, fit.slope()))
            .collect();
        let points = fits
            .into_iter()
            .enumerate()
            .map(|(index, fit)| {
                let next = slopes.get(index + 1);
                let (budget, j, slope) = slopes[index];
                PathPoint {
                    budget,
                    difference: next.map(|next| (next.1 - j) / (next.0 - budget)),
                    promised: next.map(|next| -(slope * next.2).max(0.0).sqrt()),
                    fit,
                }
            })
            .collect();
        BudgetCurve { points, complete }
    }
}

impl BudgetCurve {
    /// The budget at which log J bends most over log l: where more budget begins to buy less. A rule of thumb, for data with a shape and noise
    /// around it. `None` for fewer than three positive budgets with positive J.
    #[must_use]
    pub fn knee(&self) -> Option<f64> {
        let points: Vec<(f64, f64, f64)> = self
            .points
            .iter()
            .filter(|point| point.budget > 0.0 && point.fit.j > 0.0)
            .map(|point| (point.budget, point.budget.ln(), point.fit.j.ln()))
            .collect();
        points
            .windows(3)
            .map(|w| {
                let left = (w[1].2 - w[0].2) / (w[1].1 - w[0].1);
                let right = (w[2].2 - w[1].2) / (w[2].1 - w[1].1);
                let bend = (right - left) / (0.5 * (w[2].1 - w[0].1));
                let middle = 0.5 * (left + right);
                (w[1].0, bend / (1.0 + middle * middle).powf(1.5))
            })
            .max_by(|a, b| a.1.total_cmp(&b.1))
            .map(|(budget, _)| budget)
    }
}
