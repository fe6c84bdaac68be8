//! The settings of a training run: everything that decides its numbers, apart from the network and the data.

use serde::{Deserialize, Serialize};

use super::optimizer::{DecayScope, Method};
use super::schedule::Schedule;
use crate::{Error, Result};

/// The settings of a training run. A checkpoint remembers them, and only a run with the same ones resumes from it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// The optimiser.
    pub method: Method,
    /// Base learning rate.
    pub learning_rate: f64,
    /// How the rate changes. Default: constant.
    #[serde(default)]
    pub schedule: Schedule,
    /// Which parameters decay. Default: all.
    #[serde(default)]
    pub decay_scope: DecayScope,
    /// Which parameters are trained. Default: all that require gradients.
    #[serde(default)]
    pub trainable: Trainable,
    /// Bound of the Euclidean norm of all gradients together. Default: none.
    #[serde(default)]
    pub clip_norm: Option<f64>,
    /// How long to train.
    pub length: Length,
    /// Samples of a batch: what goes through the network at once.
    pub batch_size: usize,
    /// Batches of an optimiser step. Their gradients are averaged by their number of samples, so that a mean loss
    /// gives the gradient of one large batch. Default 1.
    #[serde(default = "one")]
    pub accumulation: usize,
    /// A new order of the samples in every epoch. Default on.
    #[serde(default = "yes")]
    pub shuffle: bool,
    /// Trains on the last samples of an epoch even if they do not fill a batch. Default off: they are left out, other
    /// ones in every epoch when shuffled.
    #[serde(default)]
    pub keep_incomplete: bool,
    /// Seed of the samples' order and of [`Batch::sample_seed`](super::Batch::sample_seed). Default 0.
    #[serde(default)]
    pub seed: u64,
    /// A name for network and data, so that a checkpoint of something else is not taken for this run's. Default empty.
    #[serde(default)]
    pub label: String,
}

/// How long to train.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Length {
    /// So many times through the samples.
    Epochs(u64),
    /// So many optimiser steps.
    Steps(u64),
}

/// Which parameters are trained. The others get no gradient, do not count in its norm, and do not decay.
///
/// Parameters are named by patterns of their paths: `blocks.0` stands for all that lie under it, and `*` for any one
/// name, as in `blocks.*.attention`. Running statistics of batch norm are no parameters: they follow the data in
/// frozen layers too, unless the layer is frozen by burn's `freeze_group`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trainable {
    /// All that require gradients.
    #[default]
    All,
    /// All that require gradients except these.
    Except(Vec<String>),
    /// Of those that require gradients, these.
    Only(Vec<String>),
}

impl TrainConfig {
    /// Settings with the defaults.
    pub fn new(method: Method, learning_rate: f64, length: Length, batch_size: usize) -> Self {
        Self {
            method,
            learning_rate,
            schedule: Schedule::default(),
            decay_scope: DecayScope::default(),
            trainable: Trainable::default(),
            clip_norm: None,
            length,
            batch_size,
            accumulation: 1,
            shuffle: true,
            keep_incomplete: false,
            seed: 0,
            label: String::new(),
        }
    }

    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`].
    pub fn validate(&self) -> Result<()> {
        let invalid = |field: &str, reason: String| {
            Err(Error::InvalidConfig {
                field: field.to_owned(),
                reason,
            })
        };
        self.method.validate()?;
        if !(self.learning_rate.is_finite() && self.learning_rate >= 0.0) {
            return invalid(
                "learning_rate",
                format!("{} is not a rate", self.learning_rate),
            );
        }
        self.schedule.validate(self.learning_rate)?;
        if let Some(norm) = self
            .clip_norm
            .filter(|norm| !(norm.is_finite() && *norm > 0.0))
        {
            return invalid("clip_norm", format!("{norm} is not a norm above 0"));
        }
        if matches!(self.length, Length::Epochs(0) | Length::Steps(0)) {
            return invalid("length", "there is nothing to do".to_owned());
        }
        if self.batch_size == 0 {
            return invalid("batch_size", "a batch needs a sample".to_owned());
        }
        if self.accumulation == 0 {
            return invalid("accumulation", "a step needs a batch".to_owned());
        }
        Ok(())
    }
}

impl Trainable {
    /// Those of the paths that are to be trained.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] if a pattern matches no path, or nothing remains.
    pub(crate) fn select(&self, paths: &[String]) -> Result<Vec<String>> {
        let invalid = |reason: String| Error::InvalidConfig {
            field: "trainable".to_owned(),
            reason,
        };
        let (patterns, wanted) = match self {
            Self::All => (&[][..], false),
            Self::Except(patterns) => (&patterns[..], false),
            Self::Only(patterns) => (&patterns[..], true),
        };
        let idle = patterns
            .iter()
            .find(|pattern| !paths.iter().any(|path| matches(pattern, path)));
        if let Some(pattern) = idle {
            return Err(invalid(format!(
                "`{pattern}` matches no parameter that requires gradients"
            )));
        }
        let named = |path: &&String| patterns.iter().any(|pattern| matches(pattern, path));
        let selected: Vec<_> = paths
            .iter()
            .filter(|path| named(path) == wanted)
            .cloned()
            .collect();
        match selected.is_empty() {
            true => Err(invalid("there is no parameter to train".to_owned())),
            false => Ok(selected),
        }
    }
}

/// Whether the path lies at or under the pattern.
fn matches(pattern: &str, path: &str) -> bool {
    let mut names = path.split('.');
    pattern.split('.').all(|wanted| {
        names
            .next()
            .is_some_and(|name| wanted == "*" || wanted == name)
    })
}

fn one() -> usize {
    1
}

fn yes() -> bool {
    true
}
