//! A run that is interrupted anywhere, and resumed, ends with the same bytes as one that is not.

use std::cell::RefCell;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use burn::module::Module;
use burn::tensor::Tensor;
use fire_assay_models::train::{
    Adam, Batch, Decay, EpochEnd, Length, Method, ParameterState, Schedule, Sgd, TrainConfig,
    Trained, Trainer,
};
use fire_assay_models::{Error, Result};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::nets::{BigramLm, ConvNet, counting_loss, device, stripes_loss, tensors};

/// Everything that must not differ, as bytes: weights and running statistics, the optimiser's state, the history.
fn outcome<M: Module>(trained: Trained<M>) -> Vec<(String, Vec<u8>)> {
    let mut outcome = Vec::new();
    let mut add = |name: String, bytes: &[u8]| outcome.push((name, bytes.to_vec()));
    for (path, data) in tensors(&trained.model) {
        add(path, data.as_bytes());
    }
    for (path, state) in trained.optimizer.state().unwrap() {
        match state {
            ParameterState::Momentum(buffer) => {
                add(format!("momentum of {path}"), buffer.as_bytes())
            }
            ParameterState::Moments {
                time,
                first,
                second,
            } => {
                add(format!("time of {path}"), &time.to_le_bytes());
                add(format!("first moment of {path}"), first.as_bytes());
                add(format!("second moment of {path}"), second.as_bytes());
            }
        }
    }
    for record in trained.history.steps {
        add(
            format!("loss {} in epoch {}", record.step, record.epoch),
            &record.loss.to_le_bytes(),
        );
        add(
            format!("norm {}", record.step),
            &record.gradient_norm.to_le_bytes(),
        );
        add(format!("rate {}", record.step), &record.rate.to_le_bytes());
    }
    for record in trained.history.epochs {
        add(
            format!("epoch {} of {} steps", record.epoch, record.steps),
            &record.loss.to_le_bytes(),
        );
        for (name, value) in record.evaluation {
            add(name, &value.to_le_bytes());
        }
    }
    outcome
}

fn steps(outcome: &[(String, Vec<u8>)]) -> u64 {
    outcome
        .iter()
        .filter(|(name, _)| name.starts_with("norm "))
        .count() as u64
}

pub(crate) fn nesterov() -> Method {
    Method::Sgd(Sgd {
        momentum: 0.9,
        nesterov: true,
        weight_decay: 2e-4,
        ..Sgd::default()
    })
}

pub(crate) fn adamw() -> Method {
    Method::AdamW(Adam {
        weight_decay: 0.05,
        ..Adam::default()
    })
}

/// 4 epochs of 48 samples.
pub(crate) fn config(method: Method, accumulation: usize) -> TrainConfig {
    TrainConfig {
        accumulation,
        keep_incomplete: true,
        clip_norm: Some(1.0),
        schedule: Schedule {
            warm_up: 3,
            decay: Decay::Cosine { floor: 0.001 },
        },
        seed: 11,
        ..TrainConfig::new(method, 0.05, Length::Epochs(4), 5)
    }
}

/// The trainer with an evaluation that adds numbers to the history which no short decimal writes.
fn trainer<'a, M: Module>(config: &TrainConfig) -> Trainer<'a, M> {
    Trainer::new(config.clone()).unwrap().on_epoch(|progress| {
        let loss = progress.history.steps.last().unwrap().loss;
        Ok(EpochEnd {
            evaluation: vec![
                ("root".to_owned(), loss.sqrt()),
                ("nothing".to_owned(), f64::NAN.copysign(1.0)),
            ],
            stop: false,
        })
    })
}

/// Interrupts runs at random steps, resumes them with other weights to begin with, and compares everything that is left
/// with a run that was never interrupted, whose outcome is returned. `after_step` is the caller's change of the network.
pub(crate) fn interrupted_equals_uninterrupted<M: Module>(
    config: &TrainConfig,
    net: impl Fn(u64) -> M,
    loss: impl Fn(&M, &Batch) -> Result<Tensor<1>>,
    after_step: impl Fn(M) -> Result<M>,
    rng: &mut ChaCha8Rng,
) -> Vec<(String, Vec<u8>)> {
    let trainer = || trainer(config).after_step(|model, _| after_step(model));
    // Samples, their order and the seeds of what is drawn for them.
    let seen = RefCell::new(Vec::<Batch>::new());
    let run = |trainer: Trainer<'_, M>, seed: u64| {
        seen.take();
        trainer.run(net(seed), 48, |model, batch| {
            seen.borrow_mut().push(batch.clone());
            loss(model, batch)
        })
    };
    let whole = outcome(run(trainer(), 1).unwrap());
    let batches = seen.take();
    let steps = steps(&whole);
    for _ in 0..3 {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.checkpoint");
        let every = rng.random_range(1..4);
        let mut kills: Vec<u64> = (0..2).map(|_| rng.random_range(0..steps)).collect();
        kills.sort();
        for &kill in &kills {
            // An error leaves the loop at once, without a checkpoint, as a kill would.
            let trainer =
                trainer().with_checkpoint(&path, every).on_step(|progress| {
                    match progress.history.steps.len() as u64 > kill {
                        true => Err(Error::InvalidInput {
                            reason: "killed".to_owned(),
                        }),
                        false => Ok(ControlFlow::Continue(())),
                    }
                });
            // Other weights and parameter ids: all must come from the checkpoint, once there is one.
            let seed = if path.exists() { 2 } else { 1 };
            let killed = run(trainer, seed);
            assert!(matches!(killed, Err(Error::InvalidInput { reason }) if reason == "killed"));
        }
        let seed = if path.exists() { 3 } else { 1 };
        let resumed = run(trainer().with_checkpoint(&path, every), seed);
        let resumed = outcome(resumed.unwrap());
        assert_eq!(
            resumed, whole,
            "killed after {kills:?}, checkpoints every {every}"
        );
        let after = seen.take();
        assert!(
            batches.ends_with(&after),
            "other batches after {kills:?}, checkpoints every {every}"
        );
    }
    whole
}

#[test]
fn killed_at_random_steps() {
    let mut rng = ChaCha8Rng::seed_from_u64(20);
    let device = device().autodiff();
    for method in [nesterov(), adamw()] {
        for accumulation in [1, 3] {
            let config = config(method, accumulation);
            interrupted_equals_uninterrupted(
                &config,
                |seed| ConvNet::new(seed, &device),
                stripes_loss,
                Ok,
                &mut rng,
            );
            interrupted_equals_uninterrupted(
                &config,
                |seed| BigramLm::new(7, seed, &device),
                counting_loss,
                Ok,
                &mut rng,
            );
        }
    }
}

#[test]
fn cancelled_and_resumed() {
    let config = config(nesterov(), 1);
    let net = |seed| ConvNet::new(seed, &device().autodiff());
    let whole = outcome(trainer(&config).run(net(1), 48, stripes_loss).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.checkpoint");
    let cancel = AtomicBool::new(false);
    let stopping = trainer(&config)
        .with_checkpoint(&path, 0)
        .with_cancel(&cancel)
        .on_step(|progress| {
            cancel.store(progress.history.steps.len() == 17, Ordering::Relaxed);
            Ok(ControlFlow::Continue(()))
        });
    let cancelled = stopping.run(net(1), 48, stripes_loss);
    assert!(matches!(cancelled, Err(Error::Cancelled { step: 17 })));
    // Cancelled again, before anything was done.
    let waiting = trainer(&config)
        .with_checkpoint(&path, 0)
        .with_cancel(&cancel);
    cancel.store(true, Ordering::Relaxed);
    let cancelled = waiting.run(net(3), 48, |_, _| unreachable!());
    assert!(matches!(cancelled, Err(Error::Cancelled { step: 17 })));
    let resumed = trainer(&config)
        .with_checkpoint(&path, 0)
        .on_step(|progress| {
            assert!(progress.history.steps.len() > 17);
            Ok(ControlFlow::Continue(()))
        });
    let resumed = outcome(resumed.run(net(2), 48, stripes_loss).unwrap());
    assert_eq!(resumed, whole);

    // It is done: nothing is computed any more.
    let again = trainer(&config)
        .with_checkpoint(&path, 0)
        .run(net(3), 48, |_, _| unreachable!());
    assert_eq!(outcome(again.unwrap()), whole);
}

#[test]
fn cancelled_before_the_first_step() {
    let config = config(adamw(), 1);
    let net = |seed| BigramLm::new(7, seed, &device().autodiff());
    let whole = outcome(trainer(&config).run(net(1), 48, counting_loss).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.checkpoint");
    let cancel = AtomicBool::new(true);
    let waiting = trainer(&config)
        .with_checkpoint(&path, 1)
        .with_cancel(&cancel);
    let cancelled = waiting.run(net(1), 48, |_, _| unreachable!());
    assert!(matches!(cancelled, Err(Error::Cancelled { step: 0 })));
    let resumed = trainer(&config)
        .with_checkpoint(&path, 1)
        .run(net(2), 48, counting_loss);
    assert_eq!(outcome(resumed.unwrap()), whole);
}

#[test]
fn stopped_runs_stay_stopped() {
    let config = config(adamw(), 1);
    let net = |seed| BigramLm::new(7, seed, &device().autodiff());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.checkpoint");
    let stopping = || {
        trainer(&config)
            .with_checkpoint(&path, 3)
            .on_epoch(|progress| {
                Ok(EpochEnd {
                    stop: progress.history.epochs.len() == 1,
                    ..EpochEnd::default()
                })
            })
    };
    let stopped = stopping().run(net(1), 48, counting_loss).unwrap();
    assert_eq!(stopped.history.steps.len(), 20);
    let again = stopping().run(net(2), 48, |_, _| unreachable!()).unwrap();
    assert_eq!(again.end, stopped.end);
    assert_eq!(outcome(again), outcome(stopped));
}

/// Trains slowly to the checkpoint that the environment names: what the next test kills.
#[test]
#[ignore = "runs in a process of its own, which `a_process_killed_at_any_time` starts"]
fn slow_training() {
    let Ok(path) = std::env::var("FIRE_ASSAY_SLOW_TRAINING") else {
        return;
    };
    let trainer = trainer(&config(adamw(), 2))
        .with_checkpoint(path, 1)
        .on_step(|_| {
            std::thread::sleep(Duration::from_millis(30));
            Ok(ControlFlow::Continue(()))
        });
    trainer
        .run(ConvNet::new(1, &device().autodiff()), 48, stripes_loss)
        .unwrap();
}

#[test]
fn a_process_killed_at_any_time() {
    let config = config(adamw(), 2);
    let net = |seed| ConvNet::new(seed, &device().autodiff());
    let whole = outcome(trainer(&config).run(net(1), 48, stripes_loss).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.checkpoint");
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    for _ in 0..2 {
        run_and_kill(&path, Duration::from_millis(rng.random_range(0..200)));
    }
    let left = std::cell::Cell::new(0);
    let resumed = trainer(&config).with_checkpoint(&path, 1).on_step(|_| {
        left.set(left.get() + 1);
        Ok(ControlFlow::Continue(()))
    });
    let resumed = outcome(resumed.run(net(2), 48, stripes_loss).unwrap());
    // The processes did part of the work, and not all.
    assert!(
        (1..steps(&whole)).contains(&left.get()),
        "{} steps were left",
        left.get()
    );
    assert_eq!(resumed, whole);
}

/// Trains in another process until there is a new checkpoint and some time has passed, and kills it.
fn run_and_kill(path: &Path, delay: Duration) {
    let modified = || path.metadata().and_then(|m| m.modified()).ok();
    let before = modified();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "resume::slow_training", "--ignored"])
        .env("FIRE_ASSAY_SLOW_TRAINING", path)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while modified() == before {
        assert!(
            child.try_wait().unwrap().is_none(),
            "the training ended by itself"
        );
        std::thread::sleep(Duration::from_millis(2));
    }
    std::thread::sleep(delay);
    child.kill().unwrap();
    child.wait().unwrap();
}
