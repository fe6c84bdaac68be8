//! The training loop, which knows neither the network nor the data.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

use super::batches::{Batch, Plan};
use super::checkpoint::{self, Saved};
use super::config::TrainConfig;
use super::gradients::{Gradients, to_f64};
use super::history::{EpochRecord, History, StepRecord};
use super::optimizer::Optimizer;
use super::progress::{End, EpochEnd, Progress, Trained};
use super::weights;
use crate::{Error, Result};

/// Trains a module: settings, and what happens along the way.
///
/// With a checkpoint's path, a run that finds a checkpoint there resumes from it. On flex, the processor's device, it
/// ends with the same weights, byte for byte, as if it had never stopped, provided that the callbacks depend on
/// nothing but their arguments and the network draws nothing from the device's generator, as dropout does. Sums of
/// more than 4 million elements in one go, which burn-flex takes in parallel and in no fixed order, are the network's
/// to avoid.
pub struct Trainer<'a, M> {
    config: TrainConfig,
    checkpoint: Option<(PathBuf, u64)>,
    cancel: Option<&'a AtomicBool>,
    after_step: Option<Box<Change<'a, M>>>,
    on_step: Option<Box<Look<'a, M, ControlFlow<()>>>>,
    on_epoch: Option<Box<Look<'a, M, EpochEnd>>>,
}

type Change<'a, M> = dyn FnMut(M, &StepRecord) -> Result<M> + 'a;
type Look<'a, M, Verdict> = dyn FnMut(Progress<'_, M>) -> Result<Verdict> + 'a;

impl<'a, M: Module> Trainer<'a, M> {
    /// A trainer with these settings, without checkpoints or callbacks.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`].
    pub fn new(config: TrainConfig) -> Result<Self> {
        config.validate()?;
        Ok(Self {
            config,
            checkpoint: None,
            cancel: None,
            after_step: None,
            on_step: None,
            on_epoch: None,
        })
    }

    /// Writes a checkpoint to this file after every so many steps (0: never on the way), at the end, and when
    /// cancelled; resumes from it if it is there. A run that had ended returns at once.
    pub fn with_checkpoint(mut self, path: impl Into<PathBuf>, every: u64) -> Self {
        self.checkpoint = Some((path.into(), every));
        self
    }

    /// Stops before the next step with [`Error::Cancelled`] once the flag is set.
    pub fn with_cancel(mut self, cancel: &'a AtomicBool) -> Self {
        self.cancel = Some(cancel);
        self
    }

    /// Changes the network after every optimiser step, for instance to average or to reset weights. The network must
    /// stay on autodiff and keep its parameters.
    pub fn after_step(mut self, change: impl FnMut(M, &StepRecord) -> Result<M> + 'a) -> Self {
        self.after_step = Some(Box::new(change));
        self
    }

    /// Looks on after every step, and stops by `ControlFlow::Break`.
    pub fn on_step(
        mut self,
        look: impl FnMut(Progress<'_, M>) -> Result<ControlFlow<()>> + 'a,
    ) -> Self {
        self.on_step = Some(Box::new(look));
        self
    }

    /// Evaluates after every whole epoch. The epoch's record, with what this returns, enters the history afterwards.
    pub fn on_epoch(
        mut self,
        evaluate: impl FnMut(Progress<'_, M>) -> Result<EpochEnd> + 'a,
    ) -> Self {
        self.on_epoch = Some(Box::new(evaluate));
        self
    }

    /// Trains on samples `0..samples`: `loss` gives the mean loss of a batch as one number on autodiff. The batch's
    /// input must be on autodiff too where layers, as batch norm, tell by it that they are being trained.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`] if the samples do not fill a batch or the loss is not one number that depends on a
    /// trained parameter; [`Error::InvalidConfig`] if a pattern of [`TrainConfig::trainable`] matches nothing;
    /// [`Error::Diverged`] if the loss, the gradient or a weight is not finite; [`Error::Cancelled`]; for the
    /// checkpoint [`Error::Io`], [`Error::WrongMagic`], [`Error::Truncated`] and [`Error::Checkpoint`]; and the errors
    /// of the callbacks.
    pub fn run(
        self,
        model: M,
        samples: usize,
        mut loss: impl FnMut(&M, &Batch) -> Result<Tensor<1>>,
    ) -> Result<Trained<M>> {
        self.run_with_gradients(model, samples, |model, batch| {
            let loss = loss(model, batch)?;
            if loss.dims() != [1] || !loss.is_tracked() {
                return Err(Error::InvalidInput {
                    reason: "the loss is not one number that depends on a trained parameter"
                        .to_owned(),
                });
            }
            let value = to_f64(loss.clone())?[0];
            // Without a finite loss there is no gradient worth computing.
            let gradients = match value.is_finite() {
                true => GradientsParams::from_grads(loss.backward(), model),
                false => GradientsParams::new(),
            };
            Ok((value, gradients))
        })
    }

    /// Trains as [`Self::run`] does, by gradients that `gradients` computes itself, together with the loss: for
    /// updates that are not the gradient of one loss at one point.
    ///
    /// # Errors
    ///
    /// As [`Self::run`].
    pub fn run_with_gradients(
        mut self,
        model: M,
        samples: usize,
        mut gradients: impl FnMut(&M, &Batch) -> Result<(f64, GradientsParams)>,
    ) -> Result<Trained<M>> {
        let mut plan = Plan::new(&self.config, samples)?;
        let span = plan.span();
        // On autodiff whatever state it came in, and apart from its clones, which share their running statistics.
        let model = model.train();
        let paths = weights::trainable_paths(&model);
        let trained: BTreeSet<String> = self.config.trainable.select(&paths)?.into_iter().collect();
        let frozen: Vec<String> = paths
            .into_iter()
            .filter(|path| !trained.contains(path))
            .collect();
        let model = weights::set_require_grad(model, &frozen, false);
        let mut run = self.resume(model, samples, span.steps_per_epoch)?;

        let progress = tracing::info_span!(
            "train",
            position = run.steps(),
            length = span.steps,
            loss = 0.0
        );
        let _entered = progress.enter();
        while run.end.is_none() {
            let step = run.steps();
            if step >= span.steps {
                run.end = Some(End::Completed);
                break;
            }
            if self
                .cancel
                .is_some_and(|cancel| cancel.load(Ordering::Relaxed))
            {
                self.save(&run, samples)?;
                return Err(Error::Cancelled { step });
            }
            let batches = plan.batches(step);
            let (loss, gradient) = accumulate(&run.model, &batches, &mut gradients, step)?;
            let gradient = gradient.filtered(|path| trained.contains(path));
            let gradient_norm = finite("gradient norm", gradient.norm()?, step)?;
            let gradient = match self.config.clip_norm {
                Some(max) => gradient.clipped(gradient_norm, max),
                None => gradient,
            };
            let record = StepRecord {
                step,
                epoch: plan.epoch(step),
                loss,
                gradient_norm,
                rate: self
                    .config
                    .schedule
                    .rate(self.config.learning_rate, step, span),
            };
            run = self.advance(run, record, gradient)?;
            let whole = (step + 1) % span.steps_per_epoch == 0;
            self.report(&mut run, record.epoch, whole)?;
            progress.record("position", step + 1);
            progress.record("loss", loss);
            let due = |(_, every): &(PathBuf, u64)| *every > 0 && (step + 1) % every == 0;
            if run.end.is_none()
                && step + 1 < span.steps
                && self.checkpoint.as_ref().is_some_and(due)
            {
                self.save(&run, samples)?;
            }
        }
        if !run.saved {
            self.save(&run, samples)?;
        }
        Ok(Trained {
            model: weights::set_require_grad(run.model, &frozen, true),
            optimizer: run.optimizer,
            history: run.history,
            end: run.end.unwrap_or(End::Completed),
        })
    }

    /// The run as the checkpoint left it, or a new one.
    fn resume(&self, model: M, samples: usize, steps_per_epoch: u64) -> Result<Run<M>> {
        let optimizer = Optimizer::new(self.config.method, self.config.decay_scope)?;
        let saved = match &self.checkpoint {
            Some((path, _)) => {
                checkpoint::load(path, &self.config, samples, steps_per_epoch)?.map(|s| (path, s))
            }
            None => None,
        };
        let Some((path, saved)) = saved else {
            return Ok(Run {
                model,
                optimizer,
                history: History::default(),
                end: None,
                saved: false,
            });
        };
        let wrong = |reason: String| Error::Checkpoint {
            path: path.clone(),
            reason,
        };
        if let Some((tensor, value)) = weights::find_non_finite(&saved.weights) {
            return Err(wrong(format!("its tensor `{tensor}` holds {value}")));
        }
        let model = weights::write(model, saved.weights).map_err(wrong)?;
        Ok(Run {
            optimizer: optimizer
                .with_state(&model, saved.optimizer)
                .map_err(|e| wrong(e.to_string()))?,
            model,
            history: saved.history,
            saved: saved.end.is_some(),
            end: saved.end,
        })
    }

    /// Takes the optimiser's step and the caller's change of it.
    fn advance(&mut self, run: Run<M>, record: StepRecord, gradients: Gradients) -> Result<Run<M>> {
        let Run {
            model,
            mut optimizer,
            mut history,
            end,
            saved,
        } = run;
        let model = optimizer.step(record.rate, model, gradients);
        history.steps.push(record);
        let model = match &mut self.after_step {
            Some(change) => change(model, &record)?,
            None => model,
        };
        Ok(Run {
            model,
            optimizer,
            history,
            end,
            saved,
        })
    }

    /// Calls back after a step, and after an epoch if this was its last.
    fn report(&mut self, run: &mut Run<M>, epoch: u64, whole_epoch: bool) -> Result<()> {
        if let Some(look) = &mut self.on_step
            && look(run.progress())?.is_break()
        {
            run.end = Some(End::Stopped);
        }
        if !whole_epoch {
            return Ok(());
        }
        let EpochEnd { evaluation, stop } = match &mut self.on_epoch {
            Some(evaluate) => evaluate(run.progress())?,
            None => EpochEnd::default(),
        };
        run.history.epochs.push(EpochRecord {
            epoch,
            steps: run.steps(),
            loss: run.history.mean_loss(epoch),
            evaluation,
        });
        if stop {
            run.end = Some(End::Stopped);
        }
        Ok(())
    }

    /// Checks that the weights are finite, and writes the checkpoint if one is wanted.
    fn save(&self, run: &Run<M>, samples: usize) -> Result<()> {
        let weights = weights::read(&run.model)?;
        if let Some((path, value)) = weights::find_non_finite(&weights) {
            return Err(Error::Diverged {
                what: format!("tensor `{path}`"),
                value,
                step: run.steps().saturating_sub(1),
            });
        }
        let Some((path, _)) = &self.checkpoint else {
            return Ok(());
        };
        let saved = Saved {
            weights,
            optimizer: run.optimizer.state()?,
            history: run.history.clone(),
            end: run.end,
        };
        checkpoint::save(path, &self.config, samples, saved)
    }
}

/// What changes in the course of a run.
struct Run<M> {
    model: M,
    optimizer: Optimizer,
    history: History,
    end: Option<End>,
    /// The end is on disk.
    saved: bool,
}

impl<M> Run<M> {
    fn steps(&self) -> u64 {
        self.history.steps.len() as u64
    }

    fn progress(&self) -> Progress<'_, M> {
        Progress {
            model: &self.model,
            optimizer: &self.optimizer,
            history: &self.history,
        }
    }
}

/// The mean loss of some batches and its gradient, each batch weighted by its samples.
fn accumulate<M: Module>(
    model: &M,
    batches: &[Batch],
    gradients: &mut impl FnMut(&M, &Batch) -> Result<(f64, GradientsParams)>,
    step: u64,
) -> Result<(f64, Gradients)> {
    let samples: usize = batches.iter().map(|batch| batch.indices.len()).sum();
    let (mut loss, mut sum) = (0.0, Gradients::default());
    for batch in batches {
        let share = batch.indices.len() as f64 / samples as f64;
        let (value, gradient) = gradients(model, batch)?;
        loss += share * finite("loss", value, step)?;
        let gradient = Gradients::new(model, gradient);
        sum = match batches.len() {
            1 => gradient,
            _ => sum.plus(gradient.scaled(share)),
        };
    }
    Ok((loss, sum))
}

fn finite(what: &str, value: f64, step: u64) -> Result<f64> {
    match value.is_finite() {
        true => Ok(value),
        false => Err(Error::Diverged {
            what: what.to_owned(),
            value,
            step,
        }),
    }
}
