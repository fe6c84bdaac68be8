//! What a run does: the samples it sees, the loss it reaches, and how it ends.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use fire_assay_models::Error;
use fire_assay_models::train::{
    Adam, Batch, Decay, End, EpochEnd, Length, Method, Milestone, Schedule, Sgd, Span, TrainConfig,
    Trainable, Trainer, evaluate,
};

use crate::nets::{BigramLm, Clouds, ConvNet, Mlp, counting_loss, device, stripes_loss, tensors};

fn sgd(momentum: f64) -> Method {
    Method::Sgd(Sgd {
        momentum,
        nesterov: momentum > 0.0,
        ..Sgd::default()
    })
}

fn mlp(seed: u64) -> Mlp {
    Mlp::new([2, 8, 2], seed, &device().autodiff())
}

/// The batches of a run on so many samples.
fn batches(config: &TrainConfig, samples: usize) -> Vec<Batch> {
    let clouds = Clouds::new(samples, 1);
    let seen = RefCell::new(Vec::new());
    let trainer = Trainer::new(config.clone()).unwrap();
    let trained = trainer.run(mlp(1), samples, |model, batch| {
        seen.borrow_mut().push(batch.clone());
        clouds.loss(model, batch)
    });
    assert_eq!(trained.unwrap().end, End::Completed);
    seen.into_inner()
}

#[test]
fn an_epoch_shows_every_sample_once_in_a_new_order() {
    let config = TrainConfig {
        keep_incomplete: true,
        ..TrainConfig::new(sgd(0.0), 0.1, Length::Epochs(3), 4)
    };
    let order = |config: &TrainConfig| -> Vec<Vec<usize>> {
        let batches = batches(config, 22);
        assert_eq!(batches.len(), 18);
        let epoch = |epoch| {
            batches
                .iter()
                .filter(move |b| b.epoch == epoch)
                .flat_map(|b| b.indices.clone())
        };
        (0..3).map(|e| epoch(e).collect()).collect()
    };
    let epochs = order(&config);
    for epoch in &epochs {
        assert_eq!(
            epoch.iter().copied().collect::<BTreeSet<_>>(),
            (0..22).collect()
        );
        assert_eq!(epoch.len(), 22);
    }
    assert!(epochs[0] != epochs[1] && epochs[1] != epochs[2] && epochs[0] != epochs[2]);
    assert_eq!(order(&config), epochs);
    assert_ne!(
        order(&TrainConfig {
            seed: 1,
            ..config.clone()
        }),
        epochs
    );
    let still = order(&TrainConfig {
        shuffle: false,
        ..config
    });
    assert!(still.iter().all(|epoch| epoch.iter().copied().eq(0..22)));
}

#[test]
fn incomplete_batches_are_left_out_unless_kept() {
    let config = TrainConfig {
        accumulation: 2,
        ..TrainConfig::new(sgd(0.0), 0.1, Length::Epochs(2), 4)
    };
    let sizes = |config: &TrainConfig| -> Vec<(u64, usize, usize)> {
        let batches = batches(config, 22);
        batches
            .iter()
            .map(|b| (b.step, b.part, b.indices.len()))
            .filter(|(step, ..)| *step < 3)
            .collect()
    };
    assert_eq!(
        sizes(&config),
        [(0, 0, 4), (0, 1, 4), (1, 0, 4), (1, 1, 4), (2, 0, 4)]
    );
    let kept = TrainConfig {
        keep_incomplete: true,
        ..config
    };
    assert_eq!(
        sizes(&kept),
        [
            (0, 0, 4),
            (0, 1, 4),
            (1, 0, 4),
            (1, 1, 4),
            (2, 0, 4),
            (2, 1, 2)
        ]
    );
}

#[test]
fn augmentation_seeds_differ_by_epoch_and_sample_and_by_nothing_else() {
    let config = TrainConfig::new(sgd(0.0), 0.1, Length::Epochs(3), 4);
    let seeds = |config: &TrainConfig| {
        let batches = batches(config, 20);
        let seeds = batches
            .iter()
            .flat_map(|b| (0..4).map(|at| ((b.epoch, b.indices[at]), b.sample_seed(at))));
        seeds.collect::<std::collections::BTreeMap<_, _>>()
    };
    let found = seeds(&config);
    assert_eq!(found.values().collect::<BTreeSet<_>>().len(), 60);
    // The sample's seed does not depend on the batch it is in.
    assert_eq!(
        seeds(&TrainConfig {
            batch_size: 5,
            ..config.clone()
        })
        .get(&(2, 7)),
        found.get(&(2, 7))
    );
    assert_ne!(
        seeds(&TrainConfig { seed: 9, ..config }).get(&(2, 7)),
        found.get(&(2, 7))
    );
}

#[test]
fn classifiers_learn_a_separable_problem() {
    let clouds = Clouds::new(200, 5);
    let config = TrainConfig::new(sgd(0.9), 0.1, Length::Epochs(10), 16);
    let trained = Trainer::new(config)
        .unwrap()
        .run(mlp(3), 200, |model, batch| clouds.loss(model, batch))
        .unwrap();
    let losses: Vec<f64> = trained
        .history
        .epochs
        .iter()
        .map(|epoch| epoch.loss)
        .collect();
    assert!(
        losses[9] < 0.05 && losses[9] < losses[0] / 4.0,
        "{losses:?}"
    );
    let fresh = Clouds::new(500, 6);
    let evaluation = evaluate(&trained.model, 500, 64, |model, indices| {
        Ok((
            model.forward(fresh.inputs(indices, &device())),
            fresh.labels(indices),
        ))
    });
    assert!(evaluation.unwrap().accuracy > 0.97);
}

#[test]
fn batch_norm_nets_and_language_models_learn() {
    let adamw = Method::AdamW(Adam {
        weight_decay: 0.01,
        ..Adam::default()
    });
    let config = TrainConfig::new(adamw, 0.02, Length::Epochs(15), 8);
    let net = ConvNet::new(2, &device().autodiff());
    let trained = Trainer::new(config.clone())
        .unwrap()
        .run(net, 48, stripes_loss)
        .unwrap();
    let epochs = &trained.history.epochs;
    assert!(
        epochs[14].loss < epochs[0].loss / 2.0,
        "{} to {}",
        epochs[0].loss,
        epochs[14].loss
    );

    let lm = BigramLm::new(7, 2, &device().autodiff());
    let trained = Trainer::new(config)
        .unwrap()
        .run(lm, 48, counting_loss)
        .unwrap();
    let epochs = &trained.history.epochs;
    assert!(
        (epochs[0].loss - 7_f64.ln()).abs() < 0.4 && epochs[14].loss < 0.1,
        "{epochs:?}"
    );
}

#[test]
fn accumulated_batches_have_the_gradient_of_one_large_batch() {
    let clouds = Clouds::new(54, 5);
    let run = |batch_size, accumulation| {
        let config = TrainConfig {
            accumulation,
            keep_incomplete: true,
            clip_norm: Some(0.3),
            ..TrainConfig::new(sgd(0.9), 0.1, Length::Epochs(3), batch_size)
        };
        Trainer::new(config)
            .unwrap()
            .run(mlp(3), 54, |model, batch| clouds.loss(model, batch))
            .unwrap()
    };
    let (one, three) = (run(12, 1), run(4, 3));
    assert_eq!(one.history.steps.len(), three.history.steps.len());
    for (a, b) in one.history.steps.iter().zip(&three.history.steps) {
        assert!(
            (a.loss - b.loss).abs() < 1e-5 && (a.gradient_norm - b.gradient_norm).abs() < 1e-5,
            "{a:?} {b:?}"
        );
    }
    for ((path, a), (_, b)) in tensors(&one.model).iter().zip(tensors(&three.model)) {
        let pairs = a.iter::<f32>().zip(b.iter::<f32>());
        assert!(
            pairs.fold(0.0, |worst: f32, (a, b)| worst.max((a - b).abs())) < 1e-5,
            "{path}"
        );
    }
}

#[test]
fn clipping_bounds_the_length_of_a_step() {
    let clouds = Clouds::new(32, 5);
    let config = TrainConfig {
        clip_norm: Some(0.01),
        ..TrainConfig::new(sgd(0.0), 0.5, Length::Steps(1), 32)
    };
    let model = mlp(3);
    let before = tensors(&model);
    let trained = Trainer::new(config)
        .unwrap()
        .run(model, 32, |model, batch| clouds.loss(model, batch))
        .unwrap();
    assert!(trained.history.steps[0].gradient_norm > 0.1);
    let after = tensors(&trained.model);
    let moved = before.iter().zip(&after).flat_map(|((_, a), (_, b))| {
        a.iter::<f64>()
            .zip(b.iter::<f64>())
            .map(|(a, b)| (a - b).powi(2))
            .collect::<Vec<_>>()
    });
    let moved = moved.sum::<f64>().sqrt();
    assert!((moved / (0.5 * 0.01) - 1.0).abs() < 1e-3, "{moved}");
}

#[test]
fn only_the_chosen_parameters_move() {
    let clouds = Clouds::new(32, 5);
    let start = tensors(&mlp(3));
    let run = |trainable| {
        let config = TrainConfig {
            trainable,
            ..TrainConfig::new(sgd(0.9), 0.1, Length::Steps(5), 8)
        };
        Trainer::new(config)
            .unwrap()
            .run(mlp(3), 32, |model, batch| clouds.loss(model, batch))
    };
    let moved = |trainable| -> Vec<String> {
        let trained = run(trainable).unwrap();
        assert!(
            trained.model.first.weight.is_require_grad()
                && trained.model.second.weight.is_require_grad()
        );
        let after = tensors(&trained.model).into_iter().zip(&start);
        after
            .filter(|((_, a), (_, b))| a != b)
            .map(|((path, _), _)| path)
            .collect()
    };
    let patterns = |patterns: &[&str]| patterns.iter().map(|p| p.to_string()).collect();
    assert_eq!(moved(Trainable::All).len(), 4);
    assert_eq!(
        moved(Trainable::Only(patterns(&["second"]))),
        ["second.weight", "second.bias"]
    );
    assert_eq!(
        moved(Trainable::Except(patterns(&["*.weight"]))),
        ["first.bias", "second.bias"]
    );
    for bad in [&["third"][..], &["first", "seco"], &["first.weight.x"]] {
        let result = run(Trainable::Except(patterns(bad)));
        assert!(
            matches!(result, Err(Error::InvalidConfig { .. })),
            "{bad:?}"
        );
    }
    assert!(matches!(
        run(Trainable::Except(patterns(&["*"]))),
        Err(Error::InvalidConfig { .. })
    ));
}

#[test]
fn frozen_parameters_do_not_count_in_the_norm() {
    let clouds = Clouds::new(32, 5);
    let norm = |trainable| {
        let config = TrainConfig {
            trainable,
            ..TrainConfig::new(sgd(0.0), 0.1, Length::Steps(1), 32)
        };
        let trained = Trainer::new(config)
            .unwrap()
            .run(mlp(3), 32, |model, batch| clouds.loss(model, batch));
        trained.unwrap().history.steps[0].gradient_norm
    };
    let part = |name: &str| norm(Trainable::Only(vec![name.to_owned()]));
    let (all, first, second) = (norm(Trainable::All), part("first"), part("second"));
    assert!((all - first.hypot(second)).abs() < 1e-6 && first > 0.0 && second > 0.0);
}

#[test]
fn the_history_has_the_schedules_rates() {
    let schedule = Schedule {
        warm_up: 3,
        decay: Decay::Steps {
            milestones: vec![Milestone::Epoch(2)],
            factor: 0.1,
        },
    };
    let config = TrainConfig {
        schedule: schedule.clone(),
        ..TrainConfig::new(sgd(0.0), 0.1, Length::Epochs(3), 8)
    };
    let clouds = Clouds::new(32, 5);
    let trained = Trainer::new(config)
        .unwrap()
        .run(mlp(3), 32, |model, batch| clouds.loss(model, batch))
        .unwrap();
    let span = Span {
        steps: 12,
        steps_per_epoch: 4,
    };
    for (step, record) in trained.history.steps.iter().enumerate() {
        assert_eq!((record.step, record.epoch), (step as u64, step as u64 / 4));
        assert_eq!(record.rate, schedule.rate(0.1, record.step, span));
    }
    assert_eq!(trained.history.steps.len(), 12);
    let epochs: Vec<_> = trained
        .history
        .epochs
        .iter()
        .map(|e| (e.epoch, e.steps))
        .collect();
    assert_eq!(epochs, [(0, 4), (1, 8), (2, 12)]);
}

#[test]
fn callbacks_evaluate_and_stop() {
    let clouds = Clouds::new(32, 5);
    let config = TrainConfig::new(sgd(0.0), 0.1, Length::Epochs(9), 8);
    let trainer = || Trainer::new(config.clone()).unwrap();
    let loss = |model: &Mlp, batch: &Batch| clouds.loss(model, batch);

    let by_epoch = trainer().on_epoch(|progress| {
        let epoch = progress.history.epochs.len();
        Ok(EpochEnd {
            evaluation: vec![("epoch".to_owned(), epoch as f64)],
            stop: epoch == 2,
        })
    });
    let trained = by_epoch.run(mlp(3), 32, loss).unwrap();
    assert_eq!(
        (trained.end, trained.history.steps.len()),
        (End::Stopped, 12)
    );
    let found: Vec<_> = trained
        .history
        .epochs
        .iter()
        .map(|e| e.evaluation[0].1)
        .collect();
    assert_eq!(found, [0.0, 1.0, 2.0]);

    let by_step = trainer().on_step(|progress| {
        let step = progress.history.steps.last().unwrap().step;
        Ok(if step == 6 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        })
    });
    let trained = by_step.run(mlp(3), 32, loss).unwrap();
    assert_eq!(
        (trained.end, trained.history.steps.len()),
        (End::Stopped, 7)
    );
}

#[test]
fn the_change_after_a_step_is_what_the_next_step_starts_from() {
    let clouds = Clouds::new(32, 5);
    let config = TrainConfig::new(sgd(0.0), 0.1, Length::Steps(4), 32);
    let start = mlp(3);
    let trainer = Trainer::new(config)
        .unwrap()
        .after_step(|_, _| Ok(start.clone()));
    let trained = trainer
        .run(start.clone(), 32, |model, batch| clouds.loss(model, batch))
        .unwrap();
    assert_eq!(tensors(&trained.model), tensors(&start));
    let losses: Vec<f64> = trained.history.steps.iter().map(|s| s.loss).collect();
    // The same samples in another order: the same loss up to rounding.
    assert!(
        losses.iter().all(|loss| (loss - losses[0]).abs() < 1e-6),
        "{losses:?}"
    );
}

#[test]
fn gradients_may_come_from_the_caller() {
    let clouds = Clouds::new(32, 5);
    let config = TrainConfig::new(sgd(0.9), 0.1, Length::Epochs(2), 8);
    let usual = Trainer::new(config.clone())
        .unwrap()
        .run(mlp(3), 32, |model, batch| clouds.loss(model, batch));
    let own = Trainer::new(config)
        .unwrap()
        .run_with_gradients(mlp(3), 32, |model, batch| {
            let loss = clouds.loss(model, batch)?;
            let value = loss.to_data().iter::<f64>().next().unwrap();
            Ok((value, GradientsParams::from_grads(loss.backward(), model)))
        });
    let (usual, own) = (usual.unwrap(), own.unwrap());
    assert_eq!(usual.history, own.history);
    assert_eq!(tensors(&usual.model), tensors(&own.model));
}

#[test]
fn clones_and_the_mode_of_the_module_do_not_matter() {
    let config = TrainConfig::new(sgd(0.9), 0.1, Length::Steps(4), 8);
    let run = |net: ConvNet| {
        Trainer::new(config.clone())
            .unwrap()
            .run(net, 48, stripes_loss)
            .unwrap()
    };
    let net = ConvNet::new(2, &device().autodiff());
    let before = tensors(&net);
    let first = run(net.clone());
    // burn's clones share running statistics; the caller's copy must not have been trained along.
    assert_eq!(tensors(&net), before);
    assert_ne!(tensors(&first.model), before);
    let second = run(net.valid());
    assert_eq!(tensors(&second.model), tensors(&first.model));
}

#[test]
fn a_cancelled_run_says_where() {
    let clouds = Clouds::new(32, 5);
    let cancel = AtomicBool::new(false);
    let config = TrainConfig::new(sgd(0.0), 0.1, Length::Epochs(9), 8);
    let trainer = Trainer::new(config)
        .unwrap()
        .with_cancel(&cancel)
        .on_step(|progress| {
            cancel.store(progress.history.steps.len() == 5, Ordering::Relaxed);
            Ok(ControlFlow::Continue(()))
        });
    let result = trainer.run(mlp(3), 32, |model, batch| clouds.loss(model, batch));
    assert!(matches!(result, Err(Error::Cancelled { step: 5 })));
}

#[test]
fn divergence_is_an_error_with_its_step() {
    let clouds = Clouds::new(32, 5);
    let config = |lr| TrainConfig::new(sgd(0.0), lr, Length::Steps(20), 8);
    let result = Trainer::new(config(1e38))
        .unwrap()
        .run(mlp(3), 32, |model, batch| clouds.loss(model, batch));
    assert!(
        matches!(result, Err(Error::Diverged { step: 1.., .. })),
        "{:?}",
        result.map(drop)
    );

    let result = Trainer::new(config(0.1))
        .unwrap()
        .run(mlp(3), 32, |model, batch| {
            let loss = clouds.loss(model, batch)?;
            Ok(if batch.step == 3 {
                loss * f64::NAN
            } else {
                loss
            })
        });
    let Err(Error::Diverged { what, step: 3, .. }) = result else {
        panic!("{:?}", result.map(drop));
    };
    assert_eq!(what, "loss");

    // A finite loss with a gradient that is not.
    let result = Trainer::new(config(0.1))
        .unwrap()
        .run(mlp(3), 32, |model, _| {
            Ok((model.first.weight.val() * 0.0).sqrt().sum())
        });
    let Err(Error::Diverged { what, step: 0, .. }) = result else {
        panic!("{:?}", result.map(drop));
    };
    assert_eq!(what, "gradient norm");

    // The last step has no loss after it that would show what it did.
    let one = TrainConfig::new(sgd(0.0), f64::MAX, Length::Steps(1), 8);
    let result = Trainer::new(one)
        .unwrap()
        .run(mlp(3), 32, |model, batch| clouds.loss(model, batch));
    assert!(
        matches!(result, Err(Error::Diverged { step: 0, .. })),
        "{:?}",
        result.map(drop)
    );
}

#[test]
fn losses_and_samples_that_make_no_sense_are_refused() {
    let config = TrainConfig::new(sgd(0.0), 0.1, Length::Steps(2), 8);
    let run = |samples, loss: &dyn Fn(&Mlp) -> Tensor<1>| {
        let result = Trainer::new(config.clone())
            .unwrap()
            .run(mlp(3), samples, |model, _| Ok(loss(model)));
        assert!(
            matches!(result, Err(Error::InvalidInput { .. })),
            "{:?}",
            result.map(drop)
        );
    };
    run(7, &|_| unreachable!());
    run(0, &|_| unreachable!());
    run(8, &|_| Tensor::ones([1], &device().autodiff()));
    run(8, &|_| Tensor::ones([1], &device()));
    run(8, &|model| model.second.bias.as_ref().unwrap().val());
}

#[test]
fn settings_out_of_range_are_refused() {
    let good = TrainConfig::new(sgd(0.0), 0.1, Length::Epochs(1), 8);
    assert!(Trainer::<Mlp>::new(good.clone()).is_ok());
    let bad = [
        TrainConfig {
            learning_rate: f64::NAN,
            ..good.clone()
        },
        TrainConfig {
            learning_rate: -1.0,
            ..good.clone()
        },
        TrainConfig {
            clip_norm: Some(0.0),
            ..good.clone()
        },
        TrainConfig {
            length: Length::Epochs(0),
            ..good.clone()
        },
        TrainConfig {
            length: Length::Steps(0),
            ..good.clone()
        },
        TrainConfig {
            batch_size: 0,
            ..good.clone()
        },
        TrainConfig {
            accumulation: 0,
            ..good.clone()
        },
        TrainConfig {
            method: sgd(2.0),
            ..good
        },
    ];
    for config in bad {
        let result = Trainer::<Mlp>::new(config.clone());
        assert!(
            matches!(result, Err(Error::InvalidConfig { .. })),
            "{config:?}"
        );
    }
}

#[test]
fn settings_are_written_and_read_as_json() {
    let text = r#"{"method": {"sgd": {"momentum": 0.9, "nesterov": true}}, "learning_rate": 0.1,
        "length": {"epochs": 20}, "batch_size": 256, "trainable": {"only": ["head"]}}"#;
    let config: TrainConfig = serde_json::from_str(text).unwrap();
    let wanted = TrainConfig {
        trainable: Trainable::Only(vec!["head".to_owned()]),
        ..TrainConfig::new(sgd(0.9), 0.1, Length::Epochs(20), 256)
    };
    assert_eq!(config, wanted);
    assert!(serde_json::from_str::<TrainConfig>(&text.replace("batch_size", "batchsize")).is_err());
}
