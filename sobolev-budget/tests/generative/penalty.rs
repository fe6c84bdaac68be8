//! The penalty estimates what it should, and keeps a generator smooth.

use burn::module::Module;
use burn::tensor::Device;
use sobolev_budget::Error;
use sobolev_budget::generative::{
    MlpConfig, NeuralFit, NeuralFitConfig, SobolevPenalty, jacobian_norms, second_norms,
    uniform_latents,
};

use super::{arc, mean, network, numbers, rng, tensor};

#[test]
fn differences_are_within_one_percent_of_exact_derivatives_along_the_same_directions() {
    let network = network(8, 64, 1);
    let z = tensor(&uniform_latents(4_096, 8, &mut rng(1)));
    // Rounding leaves less of a second difference, so its step is larger.
    for (order, step) in [(1, 1e-2), (2, 1e-1)] {
        for exponent in [1.0, 2.0, 3.0] {
            let penalty = SobolevPenalty::new(order)
                .with_exponent(exponent)
                .with_step(step);
            let value = mean(penalty.estimate(&network, z.clone(), &mut rng(2)).unwrap());
            let exact = mean(penalty.exact(&network, z.clone(), &mut rng(2)).unwrap());
            let ratio = value / exact;
            assert!(
                (ratio - 1.0).abs() < 0.01,
                "order {order}, q = {exponent}: {ratio}"
            );
        }
    }
}

/// The mean over directions has a closed form for q = 2, which the exact norms give.
#[test]
fn the_mean_over_directions_is_the_norm_of_all_derivatives() {
    let network = network(4, 16, 2);
    let z = tensor(&uniform_latents(4_096, 4, &mut rng(3)));
    let first = mean(jacobian_norms(&network, z.clone()));
    let second = mean(second_norms(&network, z.clone()).mean_along_directions());
    for (order, step, expected) in [(1, 1e-2, first), (2, 1e-1, second)] {
        let penalty = SobolevPenalty::new(order).with_step(step).with_samples(16);
        let value = mean(penalty.estimate(&network, z.clone(), &mut rng(4)).unwrap());
        // 65,536 directions: the standard error is well below half a percent.
        let ratio = value / expected;
        assert!((ratio - 1.0).abs() < 0.02, "order {order}: {ratio}");
    }
}

/// `x W + b` has no second derivative, and its first is the same everywhere.
#[test]
fn an_affine_map_does_not_bend() {
    let device = Device::flex();
    let map = MlpConfig::new(3, 5)
        .with_widths(vec![])
        .init(1, &device)
        .unwrap();
    let z = tensor(&uniform_latents(100, 3, &mut rng(1)));
    let second = SobolevPenalty::new(2).with_step(0.1);
    assert!(mean(second.estimate(&map, z.clone(), &mut rng(2)).unwrap()) < 1e-8);
    assert_eq!(
        mean(second.exact(&map, z.clone(), &mut rng(2)).unwrap()),
        0.0
    );
    let norms = numbers(jacobian_norms(&map, z));
    assert!(
        norms
            .iter()
            .all(|norm| (norm / norms[0] - 1.0).abs() < 1e-6)
    );
}

#[test]
fn both_forms_can_be_lowered_by_their_gradient() {
    for order in [1, 2] {
        let network = network(3, 4, 5).train();
        let z = tensor(&uniform_latents(64, 3, &mut rng(1))).autodiff();
        let penalty = SobolevPenalty::new(order).with_step(0.1);
        let gradient = |loss: burn::tensor::Tensor<1>| {
            let gradients = loss.backward();
            let gradients = burn::optim::GradientsParams::from_grads(gradients, &network);
            gradients.len()
        };
        // Every weight; the last bias moves values and derivatives of a sigmoid too.
        let estimate = penalty.estimate(&network, z.clone(), &mut rng(2)).unwrap();
        assert_eq!(gradient(estimate), 6);
        let exact = penalty.exact(&network, z, &mut rng(2)).unwrap();
        assert_eq!(gradient(exact), 6);
    }
}

#[test]
fn a_heavier_penalty_makes_a_flatter_generator() {
    let points = arc(128);
    let device = Device::flex();
    let norm = |weight: f64, order: usize| {
        let config = NeuralFitConfig::new(1)
            .with_widths(vec![32, 32])
            .with_penalty(Some(SobolevPenalty::new(order)))
            .with_weight(weight)
            .with_steps(300)
            .with_pool(128)
            .with_learning_rate(5e-3);
        let fitted = NeuralFit::new(config).unwrap();
        let generator = fitted.fit(points.as_ref(), &device).unwrap().generator;
        let z = tensor(&uniform_latents(512, 1, &mut rng(1)));
        match order {
            1 => mean(jacobian_norms(&generator, z)),
            _ => mean(second_norms(&generator, z).frobenius),
        }
    };
    for order in [1, 2] {
        let norms = [0.0, 1e-3, 1e-1].map(|weight| norm(weight, order));
        assert!(norms.is_sorted_by(|a, b| a > b), "order {order}: {norms:?}");
    }
}

#[test]
fn settings_that_mean_nothing_are_refused() {
    let network = network(2, 2, 1);
    let z = tensor(&uniform_latents(4, 2, &mut rng(1)));
    let wrong = [
        SobolevPenalty::new(0),
        SobolevPenalty::new(3),
        SobolevPenalty::new(1).with_exponent(0.5),
        SobolevPenalty::new(1).with_exponent(f64::NAN),
        SobolevPenalty::new(1).with_step(0.0),
        SobolevPenalty::new(1).with_step(f64::INFINITY),
        SobolevPenalty::new(1).with_samples(0),
    ];
    for penalty in wrong {
        let found = penalty.estimate(&network, z.clone(), &mut rng(1));
        assert!(matches!(found, Err(Error::Parameter { .. })), "{penalty:?}");
    }
    let z = tensor(&uniform_latents(4, 3, &mut rng(1)));
    let found = SobolevPenalty::new(1).estimate(&network, z, &mut rng(1));
    assert!(matches!(
        found,
        Err(Error::Size {
            expected: 2,
            found: 3,
            ..
        })
    ));
}
