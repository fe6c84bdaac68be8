//! The black box: run a method on two neighbours many times, and bound from below the epsilon that it has at most.

use serde::Serialize;
use statrs::distribution::{Beta, ContinuousCDF as _};

use crate::budget::PrivacyBudget;
use crate::error::{Error, Result};

/// A black-box audit: half of the runs choose an event, the other half count it, and Clopper-Pearson intervals turn counts into a bound.
#[derive(Clone, Copy, Debug)]
pub struct BlackBox {
    /// The guarantee to be tested.
    pub budget: PrivacyBudget,
    /// Probability that the bound exceeds the true epsilon by chance, at most. Default 0.001.
    pub error_probability: f64,
}

/// What an audit found.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct AuditReport {
    /// With high probability the method has at least this epsilon, at the budget's delta.
    pub epsilon_lower: f64,
    /// The epsilon that was promised.
    pub epsilon: f64,
    /// The delta that was promised.
    pub delta: f64,
    /// Runs on each table.
    pub runs: usize,
}

impl AuditReport {
    /// Whether nothing speaks against the guarantee.
    #[must_use]
    pub fn passes(&self) -> bool {
        self.epsilon_lower <= self.epsilon
    }
}

impl BlackBox {
    /// An audit of a guarantee that errs with probability 0.001.
    #[must_use]
    pub fn new(budget: PrivacyBudget) -> Self {
        Self {
            budget,
            error_probability: 1e-3,
        }
    }

    /// Audits from one number a run on each table, such as a coefficient along the direction in which the tables differ; `None` for a refusal. The event
    /// is a refusal, or a number above or below a threshold: the one that the first half of the runs shows to tell most.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] if the tables have different numbers of runs, [`Error::BadParameter`] for fewer than 100.
    pub fn audit(&self, first: &[Option<f64>], second: &[Option<f64>]) -> Result<AuditReport> {
        let runs = first.len();
        if second.len() != runs {
            return Err(Error::ShapeMismatch {
                what: "runs on the second table",
                expected: runs,
                found: second.len(),
            });
        }
        if runs < 100 {
            return Err(Error::BadParameter {
                name: "runs",
                value: runs as f64,
                reason: "at least 100 are needed",
            });
        }
        let half = runs / 2;
        let event = self.choose(&first[..half], &second[..half]);
        let count = |runs: &[Option<f64>]| runs.iter().filter(|run| event.contains(**run)).count();
        let rest = runs - half;
        let epsilon_lower = self.bound(count(&first[half..]), count(&second[half..]), rest);
        Ok(AuditReport {
            epsilon_lower,
            epsilon: self.budget.epsilon(),
            delta: self.budget.delta(),
            runs,
        })
    }

    /// The bound from an event that came `first` and `second` times in `runs` runs on each table; at least 0.
    #[must_use]
    pub fn bound(&self, first: usize, second: usize, runs: usize) -> f64 {
        // Either table may be the one with the larger probability, of the event or of its opposite: four bounds of two sides each.
        let error = self.error_probability / 8.0;
        let one = |more: usize, less: usize| {
            let above = lower_end(more, runs, error) - self.budget.delta();
            let below = upper_end(less, runs, error);
            if above > 0.0 {
                (above / below).ln()
            } else {
                0.0
            }
        };
        [
            one(first, second),
            one(second, first),
            one(runs - first, runs - second),
            one(runs - second, runs - first),
        ]
        .into_iter()
        .fold(0.0, f64::max)
    }

    fn choose(&self, first: &[Option<f64>], second: &[Option<f64>]) -> Event {
        let mut candidates = vec![Event::Refused];
        let mut values: Vec<f64> = first
            .iter()
            .chain(second)
            .flatten()
            .copied()
            .filter(|x| x.is_finite())
            .collect();
        values.sort_by(f64::total_cmp);
        if !values.is_empty() {
            for step in 1..200 {
                let value = values[values.len() * step / 200];
                candidates.extend([Event::Above(value), Event::Below(value)]);
            }
        }
        let count = |event: Event, runs: &[Option<f64>]| {
            runs.iter().filter(|run| event.contains(**run)).count()
        };
        let value =
            |event: Event| self.bound(count(event, first), count(event, second), first.len());
        candidates
            .into_iter()
            .map(|event| (event, value(event)))
            .fold((Event::Refused, f64::NEG_INFINITY), |best, next| {
                if next.1 > best.1 { next } else { best }
            })
            .0
    }
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Refused,
    Above(f64),
    Below(f64),
}

impl Event {
    fn contains(self, run: Option<f64>) -> bool {
        match (self, run) {
            (Self::Refused, run) => run.is_none(),
            (Self::Above(threshold), Some(value)) => value > threshold,
            (Self::Below(threshold), Some(value)) => value <= threshold,
            (_, None) => false,
        }
    }
}

/// Ends of the Clopper-Pearson interval of a probability, each wrong with probability `error`.
fn lower_end(count: usize, runs: usize, error: f64) -> f64 {
    if count == 0 {
        return 0.0;
    }
    Beta::new(count as f64, (runs - count) as f64 + 1.0).map_or(0.0, |beta| beta.inverse_cdf(error))
}

fn upper_end(count: usize, runs: usize, error: f64) -> f64 {
    if count == runs {
        return 1.0;
    }
    Beta::new(count as f64 + 1.0, (runs - count) as f64)
        .map_or(1.0, |beta| beta.inverse_cdf(1.0 - error))
}
