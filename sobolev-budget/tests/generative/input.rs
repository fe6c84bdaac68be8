//! What cannot be fitted is refused before any work, and training that runs away says so.

use burn::tensor::Device;
use faer::Mat;
use sobolev_budget::Error;
use sobolev_budget::generative::{
    HeldOutConfig, MlpConfig, NeuralFit, NeuralFitConfig, Output, SobolevPenalty, generate,
    held_out_error,
};

use super::{arc, network, rng};

fn fit(config: NeuralFitConfig, points: &Mat<f64>) -> Result<(), Error> {
    NeuralFit::new(config)?.fit(points.as_ref(), &Device::flex())?;
    Ok(())
}

#[test]
fn settings_out_of_range_are_refused() {
    let config = || NeuralFitConfig::new(2);
    for wrong in [
        NeuralFitConfig::new(0),
        config().with_steps(0),
        config().with_batch(0),
        config().with_pool(0),
        config().with_widths(vec![4, 0]),
        config().with_weight(-1.0),
        config().with_weight(f64::NAN),
        config().with_exponent(0.9),
        config().with_inner_rate(0.0),
        config().with_learning_rate(f64::INFINITY),
        config().with_penalty(Some(SobolevPenalty::new(5))),
    ] {
        let found = fit(wrong.clone(), &arc(5));
        assert!(matches!(found, Err(Error::Parameter { .. })), "{wrong:?}");
    }
}

#[test]
fn points_that_nothing_can_be_fitted_to_are_refused() {
    let config = || NeuralFitConfig::new(1).with_steps(1);
    let found = fit(config(), &Mat::zeros(0, 2));
    assert!(matches!(found, Err(Error::EmptyMeasure)));
    let found = fit(config(), &Mat::zeros(2, 0));
    assert!(matches!(found, Err(Error::EmptyMeasure)));
    // The last is finite in 64 bits and not in the device's 32.
    for bad in [f64::NAN, f64::NEG_INFINITY, 1e300] {
        let points = Mat::from_fn(3, 2, |i, j| if (i, j) == (2, 1) { bad } else { 0.5 });
        let found = fit(config(), &points);
        assert!(matches!(found, Err(Error::NonFinite { row: 2, column: 1 })));
    }
    let wrong = NeuralFit::new(config()).unwrap();
    let found = wrong.fit_from(network(1, 3, 1), arc(5).as_ref(), &Device::flex());
    assert!(matches!(
        found,
        Err(Error::Size {
            expected: 3,
            found: 2,
            ..
        })
    ));
    let found = wrong.fit_from(network(2, 2, 1), arc(5).as_ref(), &Device::flex());
    assert!(matches!(
        found,
        Err(Error::Size {
            expected: 1,
            found: 2,
            ..
        })
    ));
}

#[test]
fn points_and_latents_of_another_dimension_are_refused() {
    let (network, device) = (network(2, 3, 1), Device::flex());
    let config = HeldOutConfig::new();
    let found = held_out_error(&network, arc(5).as_ref(), &config, &device, &mut rng(1));
    assert!(matches!(
        found,
        Err(Error::Size {
            expected: 3,
            found: 2,
            ..
        })
    ));
    let found = generate(&network, Mat::<f64>::zeros(4, 3).as_ref(), &device);
    assert!(matches!(
        found,
        Err(Error::Size {
            expected: 2,
            found: 3,
            ..
        })
    ));
    let config = config.with_pool(0);
    let found = held_out_error(
        &network,
        Mat::zeros(4, 3).as_ref(),
        &config,
        &device,
        &mut rng(1),
    );
    assert!(matches!(found, Err(Error::Parameter { .. })));
}

#[test]
fn one_point_and_equal_points_are_fitted() {
    for points in [arc(1), Mat::from_fn(9, 2, |_, _| 0.25)] {
        let config = NeuralFitConfig::new(1).with_widths(vec![8]).with_steps(5);
        fit(config, &points).unwrap();
    }
}

#[test]
fn training_that_runs_away_is_an_error() {
    // Squares of 1e30 are not finite in 32 bits.
    let points = Mat::from_fn(4, 2, |i, _| 1e30 * (i as f64 - 1.5));
    let config = NeuralFitConfig::new(1)
        .with_output(Output::Linear)
        .with_steps(5);
    let found = fit(config, &points);
    assert!(matches!(found, Err(Error::Diverged { step: 0, .. })));
    let config = NeuralFitConfig::new(1)
        .with_output(Output::Linear)
        .with_learning_rate(1e30)
        .with_steps(20);
    let found = fit(config, &arc(20));
    assert!(matches!(found, Err(Error::Diverged { .. })));
}

#[test]
fn a_network_of_no_width_is_refused() {
    for wrong in [
        MlpConfig::new(0, 1),
        MlpConfig::new(1, 0),
        MlpConfig::new(1, 1).with_widths(vec![0]),
    ] {
        let found = wrong.init(0, &Device::flex());
        assert!(matches!(found, Err(Error::Parameter { .. })));
    }
}
