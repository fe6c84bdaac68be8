//! The learning rate as a function of the step, without state: a resumed run needs nothing but the step.
//!
//! burn's schedulers are not used: they are counters that must be saved and stepped, and refuse rates above 1.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// How the learning rate changes: a linear warm-up, then a decay.
///
/// In the warm-up of `w` steps, step `s` (from 0) has the rate `base * (s + 1) / w`: no step is wasted at rate 0, and
/// the last of them has the base rate. The decay counts from the end of the warm-up.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Schedule {
    /// Steps of the warm-up. Default 0.
    pub warm_up: u64,
    /// What follows. Default: constant.
    pub decay: Decay,
}

/// How the learning rate falls.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Decay {
    /// Not at all.
    #[default]
    Constant,
    /// Multiplied by `factor` at every milestone.
    Steps {
        /// From which step or epoch on, each counted from the start of the run.
        milestones: Vec<Milestone>,
        /// The factor, above 0.
        factor: f64,
    },
    /// Half a cosine from the base rate to `floor`, reached after the last step.
    Cosine {
        /// Final rate, from 0 to the base rate.
        floor: f64,
    },
    /// A straight line from the base rate to `floor`, reached after the last step.
    Linear {
        /// Final rate, from 0 to the base rate.
        floor: f64,
    },
}

/// A point in training, counted from 0: the rate changes with the first step of that number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Milestone {
    /// This optimiser step.
    Step(u64),
    /// The first step of this epoch.
    Epoch(u64),
}

/// How long a run is, which schedules are relative to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Optimiser steps of the whole run.
    pub steps: u64,
    /// Optimiser steps of an epoch.
    pub steps_per_epoch: u64,
}

impl Schedule {
    /// The learning rate of a step, counted from 0. After the run's end it stays where it is.
    pub fn rate(&self, base: f64, step: u64, span: Span) -> f64 {
        if step < self.warm_up {
            return base * (step + 1) as f64 / self.warm_up as f64;
        }
        let length = span.steps.saturating_sub(self.warm_up);
        let fraction = match length {
            0 => 1.0,
            _ => ((step - self.warm_up) as f64 / length as f64).min(1.0),
        };
        match &self.decay {
            Decay::Constant => base,
            Decay::Steps { milestones, factor } => {
                let passed = milestones.iter().filter(|milestone| match milestone {
                    Milestone::Step(at) => *at <= step,
                    Milestone::Epoch(at) => at.saturating_mul(span.steps_per_epoch) <= step,
                });
                passed.fold(base, |rate, _| rate * factor)
            }
            Decay::Cosine { floor } => floor + (base - floor) * (1.0 + (PI * fraction).cos()) / 2.0,
            Decay::Linear { floor } => floor + (base - floor) * (1.0 - fraction),
        }
    }

    /// Checks the settings against the base rate.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`].
    pub fn validate(&self, base: f64) -> Result<()> {
        let (field, value, fits) = match self.decay {
            Decay::Constant => return Ok(()),
            Decay::Steps { factor, .. } => ("schedule factor", factor, factor > 0.0),
            Decay::Cosine { floor } | Decay::Linear { floor } => {
                ("schedule floor", floor, (0.0..=base).contains(&floor))
            }
        };
        match value.is_finite() && fits {
            true => Ok(()),
            false => Err(Error::InvalidConfig {
                field: field.to_owned(),
                reason: format!("{value} is out of range with the learning rate {base}"),
            }),
        }
    }
}
