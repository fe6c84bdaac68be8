//! Losses and evaluation against sums in 64 bits.

use burn::tensor::{Tensor, TensorData};
use fire_assay_models::Error;
use fire_assay_models::train::{Labels, evaluate, soft_cross_entropy};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::nets::{Clouds, Mlp, device};

const POSITIONS: usize = 13;
const CLASSES: usize = 5;

fn logits() -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    (0..POSITIONS * CLASSES)
        .map(|_| rng.random_range(-4.0..4.0))
        .collect()
}

fn tensor(values: &[f32]) -> Tensor<2> {
    Tensor::from_data(
        TensorData::new(values.to_vec(), [POSITIONS, CLASSES]),
        &device(),
    )
}

/// `-log p` of every class at a position.
fn surprisals(row: &[f32]) -> Vec<f64> {
    let partition: f64 = row.iter().map(|&z| f64::from(z).exp()).sum();
    row.iter().map(|&z| partition.ln() - f64::from(z)).collect()
}

fn value(loss: Tensor<1>) -> f64 {
    f64::from(loss.to_data().try_to_vec::<f32>().unwrap()[0])
}

#[test]
fn cross_entropy_with_smoothing_and_ignored_positions() {
    let logits = logits();
    let labels: Vec<i64> = (0..POSITIONS as i64)
        .map(|i| if i % 4 == 3 { -100 } else { i * 3 % 5 })
        .collect();
    let loss = Labels::new(&labels, CLASSES).unwrap();
    for smoothing in [0.0, 0.1, 1.0] {
        let terms: Vec<f64> = logits
            .chunks(CLASSES)
            .zip(&labels)
            .filter(|(_, label)| **label >= 0)
            .map(|(row, &label)| {
                let surprisals = surprisals(row);
                let spread = surprisals.iter().sum::<f64>() / CLASSES as f64;
                (1.0 - smoothing) * surprisals[label as usize] + smoothing * spread
            })
            .collect();
        assert_eq!(terms.len(), loss.counted());
        let wanted = terms.iter().sum::<f64>() / terms.len() as f64;
        let found = value(loss.cross_entropy(tensor(&logits), smoothing).unwrap());
        assert!(
            (found - wanted).abs() < 1e-6,
            "{smoothing}: {found} for {wanted}"
        );
    }
}

#[test]
fn ignored_positions_have_no_gradient() {
    let labels: Vec<i64> = (0..POSITIONS as i64)
        .map(|i| if i == 2 { -1 } else { 0 })
        .collect();
    let logits = tensor(&logits()).autodiff().require_grad();
    let loss = Labels::new(&labels, CLASSES)
        .unwrap()
        .cross_entropy(logits.clone(), 0.1)
        .unwrap();
    let gradient = logits
        .grad(&loss.backward())
        .unwrap()
        .to_data()
        .try_to_vec::<f32>()
        .unwrap();
    for (position, row) in gradient.chunks(CLASSES).enumerate() {
        assert_eq!(
            row.iter().all(|g| *g == 0.0),
            position == 2,
            "{position}: {row:?}"
        );
    }
}

#[test]
fn soft_labels() {
    let logits = logits();
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let targets: Vec<f32> = (0..POSITIONS * CLASSES)
        .map(|_| rng.random_range(0.0..1.0))
        .collect();
    let rows = logits.chunks(CLASSES).zip(targets.chunks(CLASSES));
    let terms = rows.flat_map(|(row, q)| {
        surprisals(row)
            .into_iter()
            .zip(q)
            .map(|(s, &q)| s * f64::from(q))
            .collect::<Vec<_>>()
    });
    let wanted = terms.sum::<f64>() / POSITIONS as f64;
    let found = value(soft_cross_entropy(tensor(&logits), tensor(&targets)).unwrap());
    assert!((found - wanted).abs() < 1e-5, "{found} for {wanted}");

    // One-hot rows are labels, and smoothed labels are soft labels.
    let labels: Vec<i64> = (0..POSITIONS as i64).map(|i| i * 2 % 5).collect();
    for smoothing in [0.0_f32, 0.2] {
        let target = |&label: &i64| {
            (0..CLASSES).map(move |c| {
                smoothing / 5.0
                    + if c as i64 == label {
                        1.0 - smoothing
                    } else {
                        0.0
                    }
            })
        };
        let targets: Vec<f32> = labels.iter().flat_map(target).collect();
        let soft = value(soft_cross_entropy(tensor(&logits), tensor(&targets)).unwrap());
        let hard = Labels::new(&labels, CLASSES).unwrap();
        let hard = value(
            hard.cross_entropy(tensor(&logits), smoothing.into())
                .unwrap(),
        );
        assert!((soft - hard).abs() < 1e-6, "{soft} {hard}");
    }
}

#[test]
fn correct_counts_the_largest_logit_and_the_first_of_equals() {
    let rows = [
        [1.0, 3.0, 2.0],
        [5.0, 5.0, 0.0],
        [5.0, 5.0, 0.0],
        [0.0, 0.0, 1.0],
    ]
    .concat();
    let logits = || Tensor::<2>::from_data(TensorData::new(rows.clone(), [4, 3]), &device());
    let correct = |labels: [i64; 4]| Labels::new(&labels, 3).unwrap().correct(logits()).unwrap();
    assert_eq!(correct([1, 0, 0, 2]), 4);
    assert_eq!(correct([1, 1, 0, 2]), 3);
    assert_eq!(correct([1, -1, -1, 0]), 1);
}

#[test]
fn a_network_that_gives_no_numbers_is_not_evaluated() {
    let device = device();
    let logits = |value: f32| {
        let rows = vec![1.0, 3.0, 2.0, 0.0, value, 1.0];
        Tensor::<2>::from_data(TensorData::new(rows, [2, 3]), &device)
    };
    let model = Mlp::new([2, 4, 2], 2, &device.clone().autodiff());
    let evaluated = |value, labels: [i64; 2]| {
        let labels = Labels::new(&labels, 3).unwrap();
        evaluate(&model, 2, 2, |_, _| Ok((logits(value), labels.clone())))
    };
    for value in [f32::NAN, f32::INFINITY] {
        let correct = Labels::new(&[1, 0], 3).unwrap().correct(logits(value));
        for result in [correct.map(drop), evaluated(value, [1, 0]).map(drop)] {
            match result {
                Err(Error::NonFiniteOutput { what, index, .. }) => {
                    assert_eq!((what, index), ("logits", 4));
                }
                other => panic!("{value}: {other:?}"),
            }
        }
        // Where it does not count it is no wrong answer, but no loss can be told.
        let correct = Labels::new(&[1, -1], 3).unwrap().correct(logits(value));
        assert_eq!(correct.unwrap(), 1);
        let result = evaluated(value, [1, -1]);
        assert!(matches!(
            result,
            Err(Error::NonFiniteOutput {
                what: "losses",
                index: 1,
                ..
            })
        ));
    }
    // A class that cannot be is a number of sorts, unless it is the right one.
    let found = evaluated(f32::NEG_INFINITY, [1, 2]).unwrap();
    assert!(found.accuracy == 1.0 && found.loss.is_finite());
    assert!(matches!(
        evaluated(f32::NEG_INFINITY, [1, 1]),
        Err(Error::NonFiniteOutput {
            what: "losses",
            index: 1,
            ..
        })
    ));
}

#[test]
fn labels_and_shapes_that_do_not_fit_are_refused() {
    let invalid = |result: Result<(), Error>| {
        assert!(
            matches!(result, Err(Error::InvalidInput { .. })),
            "{result:?}"
        )
    };
    invalid(Labels::new(&[0, 5], CLASSES).map(drop));
    invalid(Labels::new(&[-1, -100], CLASSES).map(drop));
    invalid(Labels::new(&[], CLASSES).map(drop));
    let labels = Labels::new(&[0; POSITIONS], CLASSES).unwrap();
    invalid(labels.cross_entropy(tensor(&logits()), 1.5).map(drop));
    invalid(labels.cross_entropy(tensor(&logits()), f64::NAN).map(drop));
    let short = Tensor::<2>::from_data(TensorData::new(vec![0.0_f32; 6], [2, 3]), &device());
    invalid(labels.cross_entropy(short.clone(), 0.0).map(drop));
    invalid(labels.correct(short.clone()).map(drop));
    invalid(soft_cross_entropy(short, tensor(&logits())).map(drop));
}

#[test]
fn evaluation_does_not_depend_on_the_batch_size() {
    let clouds = Clouds::new(50, 8);
    let model = Mlp::new([2, 4, 2], 2, &device().autodiff());
    let all: Vec<usize> = (0..50).collect();
    let logits = model.forward(clouds.inputs(&all, &device().autodiff()));
    let wanted = value(
        clouds
            .labels(&all)
            .cross_entropy(logits.clone().inner(), 0.0)
            .unwrap(),
    );
    let correct = clouds.labels(&all).correct(logits).unwrap();
    for batch_size in [1, 7, 50, 64] {
        let evaluation = evaluate(&model, 50, batch_size, |model, indices| {
            assert!(!model.first.weight.val().is_autodiff());
            Ok((
                model.forward(clouds.inputs(indices, &device())),
                clouds.labels(indices),
            ))
        });
        let evaluation = evaluation.unwrap();
        assert!((evaluation.loss - wanted).abs() < 1e-6);
        assert_eq!(evaluation.accuracy, correct as f64 / 50.0);
        assert_eq!(evaluation.positions, 50);
    }
    let refused = evaluate(&model, 50, 0, |_, _| unreachable!());
    assert!(matches!(refused, Err(Error::InvalidInput { .. })));
}
