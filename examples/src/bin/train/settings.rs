//! The options that decide how a network is trained, and what they are where they are not given.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use fire_assay_examples::UsageError;
use fire_assay_models::train::{Adam, Decay, Length, Method, Milestone, Sgd, TrainConfig};

/// How to train. What is not given depends on the network.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Training")]
pub(crate) struct Settings {
    /// So many times through the training data
    #[arg(long, value_name = "N", conflicts_with = "steps")]
    epochs: Option<u64>,

    /// So many steps of the optimiser
    #[arg(long, value_name = "N")]
    steps: Option<u64>,

    /// Images, or sequences of text, of a step
    #[arg(long, value_name = "N")]
    batch: Option<usize>,

    /// Learning rate
    #[arg(long, value_name = "RATE")]
    lr: Option<f64>,

    /// The optimiser
    #[arg(long, value_enum)]
    optimizer: Option<OptimizerName>,

    /// Weight decay of weights with two axes or more
    #[arg(long, value_name = "RATE")]
    weight_decay: Option<f64>,

    /// How the learning rate falls
    #[arg(long, value_enum)]
    schedule: Option<ScheduleName>,

    /// Steps in which the learning rate rises to its full value
    #[arg(long, value_name = "N")]
    warm_up: Option<u64>,

    /// Bound of the norm of the gradient
    #[arg(long, value_name = "NORM")]
    clip: Option<f64>,

    /// Save the state of the training in this folder
    #[arg(long, value_name = "DIR")]
    checkpoint: Option<PathBuf>,

    /// Steps between two saved states
    #[arg(long, value_name = "N", default_value_t = 200, requires = "checkpoint")]
    checkpoint_every: u64,

    /// Go on from the state in the folder of --checkpoint, if there is one
    #[arg(long, requires = "checkpoint")]
    resume: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum OptimizerName {
    /// Stochastic gradient descent with Nesterov's momentum of 0.9
    Sgd,
    Adam,
    /// Adam with decoupled weight decay
    Adamw,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ScheduleName {
    /// The same rate throughout
    Constant,
    /// Half a cosine to 0
    Cosine,
    /// A straight line to 0
    Linear,
    /// A tenth of it after half, and again after three quarters of the training
    Steps,
}

impl Settings {
    /// Puts what was given in the place of a network's usual settings.
    pub(crate) fn apply(&self, config: &mut TrainConfig) {
        config.length = match (self.epochs, self.steps) {
            (Some(epochs), _) => Length::Epochs(epochs),
            (None, Some(steps)) => Length::Steps(steps),
            (None, None) => config.length,
        };
        let replace = |value: &mut f64, given: Option<f64>| *value = given.unwrap_or(*value);
        replace(&mut config.learning_rate, self.lr);
        config.batch_size = self.batch.unwrap_or(config.batch_size);
        config.clip_norm = self.clip.or(config.clip_norm);
        if let Some(optimizer) = self.optimizer {
            config.method = optimizer.method(weight_decay(&mut config.method).to_owned());
        }
        replace(weight_decay(&mut config.method), self.weight_decay);
        config.schedule.warm_up = self.warm_up.unwrap_or(config.schedule.warm_up);
        if let Some(schedule) = self.schedule {
            config.schedule.decay = schedule.decay(config.length);
        }
    }

    /// The file of the training's state and the steps between two of them, if any is to be saved; the folder is made.
    pub(crate) fn checkpoint(&self) -> Result<Option<(PathBuf, u64)>> {
        let Some(folder) = &self.checkpoint else {
            return Ok(None);
        };
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))?;
        let file = folder.join("training-state");
        self.check_resume(&file)?;
        Ok(Some((file, self.checkpoint_every)))
    }

    /// A state that is there is neither gone on from nor overwritten by accident.
    fn check_resume(&self, file: &Path) -> Result<()> {
        if file.exists() && !self.resume {
            let message = format!(
                "there is a state of a training already, {}: go on from it with --resume, or remove it",
                file.display()
            );
            return Err(UsageError(message).into());
        }
        Ok(())
    }
}

impl OptimizerName {
    fn method(self, weight_decay: f64) -> Method {
        let adam = Adam {
            weight_decay,
            ..Adam::default()
        };
        match self {
            Self::Sgd => Method::Sgd(Sgd {
                momentum: 0.9,
                nesterov: true,
                weight_decay,
                ..Sgd::default()
            }),
            Self::Adam => Method::Adam(adam),
            Self::Adamw => Method::AdamW(adam),
        }
    }
}

fn weight_decay(method: &mut Method) -> &mut f64 {
    match method {
        Method::Sgd(sgd) => &mut sgd.weight_decay,
        Method::Adam(adam) | Method::AdamW(adam) => &mut adam.weight_decay,
    }
}

impl ScheduleName {
    fn decay(self, length: Length) -> Decay {
        match self {
            Self::Constant => Decay::Constant,
            Self::Cosine => Decay::Cosine { floor: 0.0 },
            Self::Linear => Decay::Linear { floor: 0.0 },
            Self::Steps => {
                let at = |quarters: u64| match length {
                    Length::Epochs(epochs) => Milestone::Epoch((quarters * epochs).div_ceil(4)),
                    Length::Steps(steps) => Milestone::Step((quarters * steps).div_ceil(4)),
                };
                Decay::Steps {
                    milestones: vec![at(2), at(3)],
                    factor: 0.1,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use fire_assay_models::train::Span;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        settings: Settings,
    }

    fn parse(line: &str) -> Result<Settings, clap::Error> {
        let words = std::iter::once("train").chain(line.split_whitespace());
        Program::try_parse_from(words).map(|program| program.settings)
    }

    fn config(line: &str) -> TrainConfig {
        let mut config = usual();
        parse(line).unwrap().apply(&mut config);
        config
    }

    fn usual() -> TrainConfig {
        let method = OptimizerName::Sgd.method(0.01);
        TrainConfig::new(method, 0.1, Length::Epochs(10), 32)
    }

    #[test]
    fn what_is_not_given_stays() {
        assert_eq!(config(""), usual());
        assert!(usual().validate().is_ok());
        // The decay of the weights is not the optimiser's affair.
        let adam = config("--optimizer adam").method;
        assert!(matches!(
            adam,
            Method::Adam(Adam {
                weight_decay: 0.01,
                ..
            })
        ));
    }

    #[test]
    fn every_option_reaches_its_setting() {
        let config = config(
            "--steps 80 --batch 8 --lr 0.01 --optimizer adamw --weight-decay 0.5 --schedule steps --warm-up 4 --clip 2",
        );
        assert_eq!(config.length, Length::Steps(80));
        assert_eq!((config.learning_rate, config.batch_size), (0.01, 8));
        let adam = Adam {
            weight_decay: 0.5,
            ..Adam::default()
        };
        assert_eq!(config.method, Method::AdamW(adam));
        assert_eq!((config.clip_norm, config.schedule.warm_up), (Some(2.0), 4));
        let span = Span {
            steps: 80,
            steps_per_epoch: 10,
        };
        let rates = [39, 40, 59, 60].map(|step| config.schedule.rate(1.0, step, span));
        for (rate, expected) in rates.into_iter().zip([1.0, 0.1, 0.1, 0.01]) {
            assert!((rate - expected).abs() < 1e-12, "{rates:?}");
        }
    }

    #[test]
    fn options_that_exclude_each_other_are_refused() {
        for line in ["--steps 1 --epochs 1", "--resume", "--optimizer adagrad"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn a_state_is_not_overwritten_by_accident() {
        let scratch = tempfile::tempdir().unwrap();
        let line = format!("--checkpoint {}", scratch.path().join("a/b").display());
        let (file, every) = parse(&line).unwrap().checkpoint().unwrap().unwrap();
        assert_eq!(every, 200);
        std::fs::write(&file, "").unwrap();
        let error = parse(&line).unwrap().checkpoint().unwrap_err();
        assert!(error.is::<UsageError>());
        let resuming = parse(&format!("{line} --resume")).unwrap();
        assert_eq!(resuming.checkpoint().unwrap().unwrap().0, file);
        assert_eq!(parse("").unwrap().checkpoint().unwrap(), None);
    }
}
