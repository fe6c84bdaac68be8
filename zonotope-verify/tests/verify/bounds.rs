//! The better methods are tighter, and CROWN is what its authors say.

use burn::tensor::Device;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use zonotope_verify::crown::{
    AlphaCrownConfig, IntermediateBounds, intermediate_bounds, lower_bounds, lower_bounds_of_boxes,
};
use zonotope_verify::dual::{AscentConfig, ZonoDualConfig};
use zonotope_verify::error::Error;
use zonotope_verify::interval::Bounds;
use zonotope_verify::limits::RunOptions;
use zonotope_verify::network::{Layer, Network};
use zonotope_verify::objective::Objective;
use zonotope_verify::spec::InputBox;

use crate::oracle::{convolutional, exact_minimum};
use crate::random::{dense, points, random_box};

fn quick() -> ZonoDualConfig {
    ZonoDualConfig::new().with_ascent(AscentConfig {
        steps: 60,
        ..AscentConfig::default()
    })
}

#[test]
fn hidden_bounds_hold_every_reachable_value_and_better_methods_are_tighter() {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let device = Device::flex();
    for round in 0..12 {
        let network = if round % 3 == 0 {
            convolutional(&mut rng)
        } else {
            dense(&[4, 8, 8, 8, 2], 1.0, &mut rng)
        };
        let input = random_box(network.inputs(), 0.2, &mut rng);
        let methods = [
            IntermediateBounds::Interval,
            IntermediateBounds::WongKolter,
            IntermediateBounds::Crown,
            IntermediateBounds::default(),
        ];
        let all: Vec<Vec<Bounds>> = methods
            .iter()
            .map(|method| intermediate_bounds(&network, &input, method, &device).unwrap())
            .collect();
        for bounds in &all {
            assert_eq!(bounds.len(), network.hidden().len());
            for x in points(&input, 100, &mut rng) {
                for (values, bounds) in hidden_values(&network, &x).iter().zip(bounds) {
                    for (j, value) in values.iter().enumerate() {
                        let error = 1e-12 * value.abs().max(1.0);
                        assert!(
                            bounds.lower()[j] <= value + error
                                && value - error <= bounds.upper()[j]
                        );
                    }
                }
            }
        }
        let width = |bounds: &[Bounds]| -> f64 {
            bounds
                .iter()
                .map(|bounds| {
                    (0..bounds.lower().len())
                        .map(|j| bounds.width(j))
                        .sum::<f64>()
                })
                .sum()
        };
        for worse in &all[..3] {
            assert!(width(&all[3]) <= width(worse), "alpha-CROWN is wider");
        }
    }
}

/// Pre-activations of all hidden layers, by cutting the network off behind each.
fn hidden_values(network: &Network, input: &[f64]) -> Vec<Vec<f64>> {
    let layers = network.layers();
    layers
        .iter()
        .enumerate()
        .filter(|(_, layer)| **layer == Layer::Relu)
        .map(|(index, _)| {
            let head =
                Network::new(network.input_shape().to_vec(), layers[..index].to_vec()).unwrap();
            head.evaluate(input)
                .unwrap()
                .iter()
                .map(|value| value.value)
                .collect()
        })
        .collect()
}

/// CROWN as its authors write it: linear lower bounds, carried backward. Returns the bound of one row.
fn textbook_crown(network: &Network, input: &InputBox, hidden: &[Bounds], row: &[f64]) -> f64 {
    let affine: Vec<_> = network
        .layers()
        .iter()
        .filter_map(|layer| match layer {
            Layer::Affine(layer) => Some(layer),
            _ => None,
        })
        .collect();
    let mut a = row.to_vec();
    let mut constant = 0.0;
    for (index, layer) in affine.iter().enumerate().rev() {
        constant += a
            .iter()
            .zip(&layer.bias)
            .map(|(a, b)| a * f64::from(*b))
            .sum::<f64>();
        let mut next = vec![0.0; layer.inputs];
        for (i, a) in a.iter().enumerate() {
            for (j, next) in next.iter_mut().enumerate() {
                *next += a * f64::from(layer.weight[i * layer.inputs + j]);
            }
        }
        if index > 0 {
            let bounds = &hidden[index - 1];
            for (j, a) in next.iter_mut().enumerate() {
                let (l, u) = (bounds.lower()[j], bounds.upper()[j]);
                if u <= 0.0 {
                    *a = 0.0;
                } else if l < 0.0 {
                    if *a >= 0.0 {
                        *a *= if u > -l { 1.0 } else { 0.0 };
                    } else {
                        constant += *a * (-l * u / (u - l));
                        *a *= u / (u - l);
                    }
                }
            }
        }
        a = next;
    }
    let box_part: f64 = a
        .iter()
        .enumerate()
        .map(|(i, a)| {
            if *a >= 0.0 {
                a * input.lower()[i]
            } else {
                a * input.upper()[i]
            }
        })
        .sum();
    constant + box_part
}

#[test]
fn crown_is_the_box_decomposition_at_special_duals() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let device = Device::flex();
    for _ in 0..30 {
        let network = dense(&[4, 7, 6, 5, 3], 1.0, &mut rng);
        let input = random_box(4, 0.3, &mut rng);
        let hidden =
            intermediate_bounds(&network, &input, &IntermediateBounds::Crown, &device).unwrap();
        let objective = Objective::margins(1, 3).unwrap();
        let config = AlphaCrownConfig::new().with_steps(0);
        let found = lower_bounds(&network, &input, &hidden, &objective, &config, &device).unwrap();
        for (row, found) in found.iter().enumerate() {
            let expected = textbook_crown(&network, &input, &hidden, objective.row(row));
            assert!(
                (found - expected).abs() <= 1e-10 * expected.abs().max(1.0),
                "{found} instead of {expected}"
            );
        }
    }
}

#[test]
fn bounds_lie_below_the_exact_minimum_of_small_networks() {
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let device = Device::flex();
    let mut closed = 0.0;
    let mut count = 0;
    for _ in 0..25 {
        let network = dense(&[3, 4, 4, 1], 1.0, &mut rng);
        let input = random_box(3, 0.8, &mut rng);
        let objective = Objective::rows(1, &[vec![1.0]]).unwrap();
        let exact = exact_minimum(&network, &[1.0], &input);
        let dual = quick()
            .init()
            .lower_bounds(&network, &input, &objective, &device)
            .unwrap();
        assert!(dual.lower[0] <= exact + 1e-9, "{} > {exact}", dual.lower[0]);
        let start = dual.stages[0].bounds[0];
        if exact - start > 1e-6 {
            closed += (dual.lower[0] - start) / (exact - start);
            count += 1;
        }
    }
    assert!(count > 5);
    // Pairs see what single neurons cannot: some of alpha-CROWN's gap goes.
    assert!(
        closed / f64::from(count) > 0.05,
        "{} of the gap",
        closed / f64::from(count)
    );
}

/// The ascent of many boxes at once is that of each alone, but for the order of sums in 32 bits.
#[test]
fn many_boxes_at_once_get_the_bounds_of_each_alone() {
    let mut rng = ChaCha8Rng::seed_from_u64(31);
    let device = Device::flex();
    let config = AlphaCrownConfig::default();
    for network in [
        dense(&[4, 12, 10, 8, 3], 1.0, &mut rng),
        convolutional(&mut rng),
        dense(&[3, 2], 1.0, &mut rng),
    ] {
        // Of different sizes, one of them a point, so that unstable neurons differ from box to box.
        let inputs: Vec<InputBox> = [0.3, 0.05, 0.0, 0.15, 0.3]
            .iter()
            .map(|radius| random_box(network.inputs(), *radius, &mut rng))
            .collect();
        let objectives: Vec<Objective> = (0..inputs.len())
            .map(|index| Objective::margins(index % network.outputs(), network.outputs()).unwrap())
            .collect();
        let together = lower_bounds_of_boxes(
            &network,
            &inputs,
            &objectives,
            &config,
            &device,
            &RunOptions::default(),
        )
        .unwrap();
        assert_eq!(together.len(), inputs.len());
        for ((input, objective), together) in inputs.iter().zip(&objectives).zip(&together) {
            let method = IntermediateBounds::AlphaCrown(config.clone());
            let hidden = intermediate_bounds(&network, input, &method, &device).unwrap();
            let alone =
                lower_bounds(&network, input, &hidden, objective, &config, &device).unwrap();
            for (together, alone) in together.iter().zip(&alone) {
                assert!((together - alone).abs() <= 1e-3 * (1.0 + alone.abs()));
            }
        }
    }
    let network = dense(&[3, 4, 2], 1.0, &mut rng);
    let input = random_box(3, 0.1, &mut rng);
    let options = RunOptions::default();
    let none = lower_bounds_of_boxes(&network, &[], &[], &config, &device, &options);
    assert_eq!(none.unwrap(), Vec::<Vec<f64>>::new());
    let missing = lower_bounds_of_boxes(&network, &[input], &[], &config, &device, &options);
    assert!(matches!(missing, Err(Error::ShapeMismatch { .. })));
}
