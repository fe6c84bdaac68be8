//! The adversary learns, is the same for a seed, and its regularisers do what they are for.

use burn::tensor::Device;
use faer::Mat;
use fire_assay_datasets::embedded;
use sobolev_budget::Error;
use sobolev_budget::generative::{
    ConvDiscriminator, ConvGenerator, Gan, GanConfig, GanTrainer, Loss, Mlp, Regulariser,
    SobolevPenalty, generate, uniform_latents,
};

use super::arc;

fn config(steps: usize) -> GanConfig {
    GanConfig::new(1)
        .with_widths(vec![16, 16])
        .with_steps(steps)
        .with_batch(32)
        .with_learning_rate(2e-3)
        .with_log_every(10)
}

fn train(config: GanConfig, points: &Mat<f64>) -> Gan<Mlp, Mlp> {
    let trainer = GanTrainer::new(config).unwrap();
    let held_out = Some(points.as_ref());
    trainer
        .train(points.as_ref(), held_out, &Device::flex())
        .unwrap()
}

#[test]
fn every_loss_trains_and_is_the_same_for_a_seed() {
    let points = arc(100);
    for loss in [
        Loss::NonSaturating,
        Loss::Clipped { bound: 0.01 },
        Loss::SlopePenalty {
            weight: 10.0,
            step: 0.01,
        },
    ] {
        let rows = || train(config(25).with_loss(loss), &points).rows;
        let first = rows();
        let steps: Vec<usize> = first.iter().map(|row| row.step).collect();
        assert_eq!(steps, [10, 20, 25]);
        assert_eq!(first, rows());
        assert_ne!(
            first,
            train(config(25).with_loss(loss).with_seed(1), &points).rows
        );
    }
}

#[test]
fn the_game_brings_the_samples_nearer_to_the_points() {
    // Away from the middle of the square, where untrained generators are.
    let arc = arc(200);
    let points = Mat::from_fn(200, 2, |i, j| 0.3 * arc[(i, j)] + 0.6 * j as f64);
    for loss in [
        Loss::NonSaturating,
        Loss::SlopePenalty {
            weight: 10.0,
            step: 0.01,
        },
    ] {
        let rows = train(config(600).with_loss(loss), &points).rows;
        let frechet = |i: usize| rows[i].frechet.unwrap();
        let best = (0..rows.len()).map(frechet).fold(f64::INFINITY, f64::min);
        assert!(best < 0.5 * frechet(0), "{loss:?}: {best} {}", frechet(0));
    }
}

/// With softplus the distance is still near 10 after thousands of steps.
#[test]
fn the_game_gets_somewhere_on_digits() {
    let digits = embedded::digits();
    let points = Mat::from_fn(digits.len(), 64, |i, j| {
        f64::from(digits.image(i)[j]) / 16.0
    });
    let config = GanConfig::new(8).with_steps(600).with_log_every(200);
    let rows = train(config, &points).rows;
    let last = rows[rows.len() - 1].frechet.unwrap();
    assert!(last < 5.5, "{last}");
}

#[test]
fn regularisers_keep_the_generator_flatter() {
    let points = arc(200);
    let slope = |regulariser| {
        let rows = train(config(400).with_regulariser(regulariser), &points).rows;
        rows[rows.len() - 1].rms_derivative
    };
    let none = slope(Regulariser::None);
    for order in [1, 2] {
        let penalty = SobolevPenalty::new(order);
        let kept = slope(Regulariser::Sobolev {
            penalty,
            weight: 0.3,
        });
        assert!(kept < none, "order {order}: {kept} {none}");
    }
    let decayed = slope(Regulariser::WeightDecay { rate: 5.0 });
    assert!(decayed < none, "{decayed} {none}");
}

#[test]
fn the_bound_on_weights_holds() {
    let points = arc(50);
    let gan = train(config(20).with_loss(Loss::Clipped { bound: 0.01 }), &points);
    struct Largest(f64);
    impl burn::module::ModuleVisitor for Largest {
        fn visit_float<const D: usize>(
            &mut self,
            param: &burn::module::Param<burn::tensor::Tensor<D>>,
        ) {
            let weights = super::numbers(param.val());
            self.0 = weights.iter().fold(self.0, |most, w| most.max(w.abs()));
        }
    }
    let mut largest = Largest(0.0);
    burn::module::Module::visit(&gan.discriminator, &mut largest);
    assert!(largest.0 <= 0.01 + 1e-9 && largest.0 > 0.005);
}

#[test]
fn settings_and_networks_that_do_not_fit_are_refused() {
    for config in [
        config(0),
        config(5).with_batch(0),
        config(5).with_learning_rate(f64::NAN),
        config(5).with_betas([0.5, 1.0]),
        config(5).with_loss(Loss::Clipped { bound: 0.0 }),
        config(5).with_regulariser(Regulariser::WeightDecay { rate: -1.0 }),
        config(5).with_regulariser(Regulariser::Sobolev {
            penalty: SobolevPenalty::new(3),
            weight: 1.0,
        }),
    ] {
        let found = GanTrainer::new(config);
        assert!(matches!(found.err(), Some(Error::Parameter { .. })));
    }
    let trainer = GanTrainer::new(config(5)).unwrap();
    let (points, other) = (arc(10), Mat::<f64>::zeros(5, 3));
    let found = trainer.train(points.as_ref(), Some(other.as_ref()), &Device::flex());
    assert!(matches!(found, Err(Error::Size { .. })));
    let found = trainer.train_from(
        super::network(2, 2, 1),
        super::network(2, 1, 1),
        points.as_ref(),
        None,
        &Device::flex(),
    );
    assert!(matches!(
        found,
        Err(Error::Size {
            expected: 1,
            found: 2,
            ..
        })
    ));
}

/// Of images that are all the same the generator must make that one, and its steps go through the convolutions of both networks.
#[test]
fn convolutional_networks_play_the_game_on_images() {
    let device = Device::flex();
    let (edge, count) = (28, 8);
    // A bar in the middle.
    let images = Mat::from_fn(count, edge * edge, |_, j| {
        f64::from(u8::from((10..18).contains(&(j % edge))))
    });
    let config = GanConfig::new(4)
        .with_steps(60)
        .with_batch(8)
        .with_learning_rate(2e-3)
        .with_log_every(60);
    let trainer = GanTrainer::new(config).unwrap();
    let generator = ConvGenerator::new(4, 1, &device).unwrap();
    let latents = uniform_latents(5, 4, &mut super::rng(1));
    let error = |generator: &ConvGenerator| {
        let made = generate(generator, latents.as_ref(), &device).unwrap();
        let squares = (0..5).flat_map(|i| (0..edge * edge).map(move |j| (i, j)));
        squares
            .map(|at| (made[at] - images[(0, at.1)]).powi(2))
            .sum::<f64>()
    };
    let before = error(&generator);
    let discriminator = ConvDiscriminator::new(2, &device);
    let gan = trainer
        .train_from(generator, discriminator, images.as_ref(), None, &device)
        .unwrap();
    let after = error(&gan.generator);
    assert!(after < 0.5 * before, "{after} {before}");
}
