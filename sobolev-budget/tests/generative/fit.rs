//! A fit comes near its points, is the same for a seed, and resumes as if it had never stopped.

use std::cell::Cell;
use std::fs;

use burn::tensor::Device;
use sobolev_budget::Error;
use sobolev_budget::generative::{
    End, HeldOutConfig, Mlp, NeuralFit, NeuralFitConfig, NeuralFitted, SobolevPenalty, generate,
    held_out_error, metrics, uniform_latents,
};

use super::{arc, rng};

fn config() -> NeuralFitConfig {
    NeuralFitConfig::new(1)
        .with_widths(vec![16, 16])
        .with_penalty(Some(SobolevPenalty::new(1)))
        .with_weight(1e-4)
        .with_steps(40)
        .with_batch(32)
        .with_pool(64)
        .with_seed(3)
}

/// All numbers of a fit.
fn everything(fitted: &NeuralFitted<Mlp>) -> (Vec<f64>, Vec<f64>, usize) {
    let latents = uniform_latents(50, 1, &mut rng(1));
    let values = generate(&fitted.generator, latents.as_ref(), &Device::flex()).unwrap();
    let entries = |matrix: &faer::Mat<f64>| -> Vec<f64> {
        let columns = matrix.col_iter();
        columns.flat_map(|column| column.iter().copied()).collect()
    };
    (
        entries(&values),
        entries(&fitted.latents),
        fitted.history.len(),
    )
}

#[test]
fn the_same_seed_gives_the_same_fit_and_another_seed_another() {
    let points = arc(100);
    let fit = |seed| {
        let fit = NeuralFit::new(config().with_seed(seed)).unwrap();
        everything(&fit.fit(points.as_ref(), &Device::flex()).unwrap())
    };
    assert_eq!(fit(1), fit(1));
    assert_ne!(fit(1), fit(2));
}

#[test]
fn a_stopped_fit_resumes_with_the_same_result() {
    let points = arc(100);
    let device = Device::flex();
    let whole = NeuralFit::new(config()).unwrap();
    let whole = whole.fit(points.as_ref(), &device).unwrap();
    assert_eq!((whole.end, whole.steps), (End::Completed, 40));

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fit");
    // Stops before step 17, then before step 30, then not at all.
    let mut last = None;
    for stop in [17, 13, usize::MAX] {
        let left = Cell::new(stop);
        let fit = NeuralFit::new(config())
            .unwrap()
            .with_checkpoint(&path, 5)
            .with_should_stop(|| left.replace(left.get().saturating_sub(1)) == 0);
        last = Some(fit.fit(points.as_ref(), &device).unwrap());
    }
    let resumed = last.unwrap();
    assert_eq!((resumed.end, resumed.steps), (End::Completed, 40));
    assert_eq!(everything(&resumed), everything(&whole));
    assert_eq!(resumed.history, whole.history);

    // One that had ended returns what it had.
    let again = NeuralFit::new(config()).unwrap().with_checkpoint(&path, 0);
    let again = again.fit(points.as_ref(), &device).unwrap();
    assert_eq!(everything(&again), everything(&whole));
}

#[test]
fn a_checkpoint_of_another_run_or_a_broken_one_is_refused() {
    let points = arc(100);
    let device = Device::flex();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fit");
    let fit = |config: NeuralFitConfig, points: &faer::Mat<f64>| {
        let fit = NeuralFit::new(config).unwrap().with_checkpoint(&path, 0);
        fit.fit(points.as_ref(), &device)
    };
    fit(config(), &points).unwrap();
    let other = fit(config().with_seed(4), &points);
    assert!(matches!(other, Err(Error::Checkpoint { .. })));
    let other = fit(config(), &arc(99));
    assert!(matches!(other, Err(Error::Checkpoint { .. })));

    let good = fs::read(&path).unwrap();
    for length in [0, 5, 40, good.len() / 2, good.len() - 1] {
        fs::write(&path, &good[..length]).unwrap();
        let broken = fit(config(), &points);
        assert!(matches!(broken, Err(Error::Read { .. })), "{length}");
    }
    let mut bad = good.clone();
    let end = bad.len();
    bad[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(&path, &bad).unwrap();
    assert!(matches!(fit(config(), &points), Err(Error::Read { .. })));

    let nowhere = folder.path().join("missing").join("fit");
    let fit = NeuralFit::new(config())
        .unwrap()
        .with_checkpoint(nowhere, 0);
    let found = fit.fit(points.as_ref(), &device);
    assert!(matches!(found, Err(Error::Io { .. })));
}

/// A line cannot follow the arc: the generator must, on points between those that it was fitted to, for p = 2 and for p = 1.
#[test]
fn a_fit_follows_an_arc_better_than_a_line() {
    let (train, test) = (arc(200), arc(77));
    let device = Device::flex();
    let line = metrics::pca_error(train.as_ref(), test.as_ref(), 1).unwrap();
    for exponent in [1.0, 2.0] {
        let config = NeuralFitConfig::new(1)
            .with_widths(vec![32, 32])
            .with_steps(800)
            .with_batch(64)
            .with_pool(128)
            .with_learning_rate(5e-3)
            .with_exponent(exponent);
        let fit = NeuralFit::new(config).unwrap();
        let fitted = fit.fit(train.as_ref(), &device).unwrap();
        let config = HeldOutConfig::new().with_pool(500).with_steps(20);
        let held_out = held_out_error(
            &fitted.generator,
            test.as_ref(),
            &config,
            &device,
            &mut rng(1),
        );
        let error = held_out.unwrap().error;
        assert!(error < 0.1 * line, "p = {exponent}: {error} {line}");
        let latents = fitted.latents;
        assert_eq!((latents.nrows(), latents.ncols()), (200, 1));
        assert!((0..200).all(|i| latents[(i, 0)].abs() <= 1.0));
    }
}

#[test]
fn final_steps_bring_latents_nearer_and_leave_the_weights() {
    let points = arc(200);
    let device = Device::flex();
    let distances = [0, 20].map(|steps| {
        let fit = NeuralFit::new(config().with_final_steps(steps)).unwrap();
        let fitted = fit.fit(points.as_ref(), &device).unwrap();
        let values = generate(&fitted.generator, fitted.latents.as_ref(), &device).unwrap();
        let places = uniform_latents(50, 1, &mut rng(1));
        let places = generate(&fitted.generator, places.as_ref(), &device).unwrap();
        ((values - &points).squared_norm_l2(), places)
    });
    let [(old, before), (new, after)] = distances;
    assert!(new < old, "{new} {old}");
    assert_eq!(before, after);
}

#[test]
fn a_descent_lowers_the_held_out_error() {
    let points = arc(50);
    let device = Device::flex();
    let generator = NeuralFit::new(config()).unwrap();
    let generator = generator.fit(points.as_ref(), &device).unwrap().generator;
    let error = |pool, steps| {
        let config = HeldOutConfig::new().with_pool(pool).with_steps(steps);
        let found = held_out_error(&generator, points.as_ref(), &config, &device, &mut rng(2));
        let found = found.unwrap();
        let mean = found.distances.iter().map(|d| d * d).sum::<f64>() / 50.0;
        assert!((found.error / mean - 1.0).abs() < 1e-9);
        found.error
    };
    let (coarse, fine) = (error(5, 0), error(5, 50));
    assert!(fine < coarse, "{fine} {coarse}");
    assert!(error(5_000, 0) < coarse);
}
