//! Zonotopes of pre-activations: sound at every scale, exact where a zonotope is, and larger after a reduction only.

use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use zonotope_verify::Error;
use zonotope_verify::interval::{Bounds, interval_bounds};
use zonotope_verify::network::{Affine, Conv2d, Layer, Network};
use zonotope_verify::spec::InputBox;
use zonotope_verify::zonotope::{Zonotope, ZonotopeConfig, zonotope_bounds};

#[path = "support/random.rs"]
mod random;

use random::{dense, points, random_box, with_idle_neurons};

fn affine(outputs: usize, weight: Vec<f32>, bias: Vec<f32>) -> Layer {
    Layer::Affine(Affine {
        outputs,
        inputs: weight.len() / outputs,
        weight,
        bias,
    })
}

/// The network up to the pre-activations of layer `index`.
fn prefix(network: &Network, index: usize) -> Network {
    let layers = network.layers()[..=2 * index].to_vec();
    Network::new(network.input_shape().to_vec(), layers).unwrap()
}

fn direction(rng: &mut ChaCha8Rng, n: usize) -> Vec<f64> {
    (0..n).map(|_| rng.random_range(-1.0..1.0)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]

    #[test]
    fn every_point_lies_in_the_zonotopes(
        seed in any::<u64>(),
        hidden in prop::collection::vec(1_usize..8, 0..4),
        inputs in 1_usize..6,
        radius in prop::sample::select(vec![0.0, 1e-9, 0.1, 2.0]),
        scale in prop::sample::select(vec![1e-12, 1.0, 1e12]),
        idle in prop::sample::select(vec![0.0, 0.5]),
        with_side in any::<bool>(),
        order in prop::sample::select(vec![None, Some(1), Some(2)]),
    ) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut widths = vec![inputs];
        widths.extend(hidden);
        widths.push(3);
        let network = with_idle_neurons(&widths, scale, idle, &mut rng);
        let input = random_box(inputs, radius, &mut rng);
        let side = with_side.then(|| interval_bounds(&network, &input).unwrap());
        let zonotopes = ZonotopeConfig::new().with_order(order).propagate(&network, &input, side.as_deref()).unwrap();
        prop_assert_eq!(zonotopes.len(), widths.len() - 1);
        for (index, zonotope) in zonotopes.iter().enumerate() {
            let prefix = prefix(&network, index);
            let hull = zonotope.interval_hull();
            let directions: Vec<Vec<f64>> = (0..10).map(|_| direction(&mut rng, widths[index + 1])).collect();
            let minima: Vec<f64> = directions.iter().map(|a| zonotope.minimum(a)).collect();
            for x in points(&input, 100, &mut rng) {
                let values = prefix.evaluate(&x).unwrap();
                for (j, z) in values.iter().enumerate() {
                    prop_assert!(hull.lower()[j] <= z.value + z.radius);
                    prop_assert!(hull.upper()[j] >= z.value - z.radius);
                }
                for (a, minimum) in directions.iter().zip(&minima) {
                    let size: f64 = a.iter().zip(&values).map(|(a, z)| (a * z.value).abs()).sum();
                    let radius: f64 = a.iter().zip(&values).map(|(a, z)| a.abs() * z.radius).sum();
                    let value: f64 = a.iter().zip(&values).map(|(a, z)| a * z.value).sum();
                    prop_assert!(*minimum <= value + radius + 1e-15 * size);
                }
            }
        }
    }

    #[test]
    fn a_box_of_width_zero_gives_the_output_itself(
        seed in any::<u64>(),
        hidden in prop::collection::vec(1_usize..20, 0..4),
        scale in prop::sample::select(vec![1e-12, 1.0, 1e12]),
    ) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut widths = vec![7];
        widths.extend(hidden);
        widths.push(2);
        let network = with_idle_neurons(&widths, scale, 0.5, &mut rng);
        let input = random_box(7, 0.0, &mut rng);
        let zonotopes = zonotope_bounds(&network, &input, None).unwrap();
        let output = zonotopes.last().unwrap();
        let size = scale.powi(widths.len() as i32 - 1).max(1e-36) * 100.0;
        for (j, y) in network.evaluate(input.lower()).unwrap().into_iter().enumerate() {
            let hull = output.interval_hull();
            prop_assert!(hull.lower()[j] <= y.value + y.radius && y.value - y.radius <= hull.upper()[j]);
            prop_assert!(hull.width(j) <= 1e-13 * size, "{} of {}", hull.width(j), size);
        }
    }

    #[test]
    fn a_reduction_is_a_superset(seed in any::<u64>(), order in 1_usize..5, radius in 0.01_f64..1.0) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let network = dense(&[10, 8, 8, 3], 1.0, &mut rng);
        let input = random_box(10, radius, &mut rng);
        let exact = ZonotopeConfig::new().with_order(None);
        for zonotope in exact.propagate(&network, &input, None).unwrap() {
            let reduced = zonotope.reduce(order);
            let n = zonotope.dimension();
            if zonotope.count() <= order * n {
                prop_assert_eq!(&reduced, &zonotope);
            } else {
                prop_assert_eq!(reduced.count(), order * n);
            }
            for _ in 0..30 {
                let a = direction(&mut rng, n);
                let minimum = zonotope.minimum(&a);
                prop_assert!(reduced.minimum(&a) <= minimum + 1e-12 * minimum.abs());
            }
            // Along the axes nothing is lost.
            let (hull, wider) = (zonotope.interval_hull(), reduced.interval_hull());
            for j in 0..n {
                prop_assert!((wider.width(j) - hull.width(j)).abs() <= 1e-12 * hull.width(j));
            }
        }
    }

    #[test]
    fn the_order_of_hidden_neurons_does_not_matter(seed in any::<u64>()) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let network = with_idle_neurons(&[4, 6, 6, 2], 1.0, 0.5, &mut rng);
        let order = [3, 0, 5, 1, 4, 2];
        let mut layers = network.layers().to_vec();
        layers.insert(1, Layer::Permute(order.to_vec()));
        // Behind the ReLU the order is undone.
        let mut back = vec![0; 6];
        for (position, &from) in order.iter().enumerate() {
            back[from] = position;
        }
        layers.insert(3, Layer::Permute(back));
        let permuted = Network::new(vec![4], layers).unwrap();
        let input = random_box(4, 0.5, &mut rng);
        let (a, b) = (zonotope_bounds(&network, &input, None).unwrap(), zonotope_bounds(&permuted, &input, None).unwrap());
        prop_assert_eq!(a[0].project(&order), b[0].clone());
        for d in [[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.6, -0.8]] {
            prop_assert!((a[2].minimum(&d) - b[2].minimum(&d)).abs() <= 1e-12);
        }
    }
}

/// `x` in units of `2^exponent`.
fn units(x: f64, exponent: i32) -> i128 {
    (x * 2.0_f64.powi(-exponent)) as i128
}

/// `sum_j relu(w_j x_j + b_j)` with an input a neuron attains the upper end of its zonotope, so a rounding error that is not accounted
/// for shows against the exact maximum in integers.
#[test]
fn an_attained_bound_is_not_crossed() {
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    for round in 0..300 {
        let shift = [0, -40, 40][round % 3];
        let n = 1 + round % 40;
        let mut draw = |power: i32| {
            let mantissa = f64::from(rng.random_range(-(1_i32 << 24)..1 << 24));
            mantissa * 2.0_f64.powi(rng.random_range(0..6) + power)
        };
        let w: Vec<f64> = (0..n).map(|_| draw(shift - 24)).collect();
        let b: Vec<f64> = (0..n).map(|_| draw(shift - 24)).collect();
        let (x, y): (Vec<f64>, Vec<f64>) = (0..n).map(|_| (draw(-24), draw(-24))).unzip();
        let corners =
            |pick: fn(f64, f64) -> f64| x.iter().zip(&y).map(|(&x, &y)| pick(x, y)).collect();
        let input = InputBox::new(corners(f64::min), corners(f64::max)).unwrap();
        let mut diagonal = vec![0.0; n * n];
        let (mut exact, mut size) = (0_i128, 0_i128);
        for j in 0..n {
            diagonal[j * n + j] = w[j] as f32;
            let scaled = units(w[j], shift - 24);
            let ends =
                [x[j], y[j]].map(|x| scaled * units(x, -24) + (units(b[j], shift - 24) << 24));
            exact += ends[0].max(ends[1]).max(0);
            size += ends[0].abs().max(ends[1].abs());
        }
        let layers = vec![
            affine(n, diagonal, b.iter().map(|&b| b as f32).collect()),
            Layer::Relu,
            affine(1, vec![1.0; n], vec![0.0]),
        ];
        let network = Network::new(vec![n], layers).unwrap();
        let zonotopes = zonotope_bounds(&network, &input, None).unwrap();
        let scale = 2.0_f64.powi(48 - shift);
        for upper in [
            zonotopes[1].interval_hull().upper()[0],
            -zonotopes[1].minimum(&[-1.0]),
        ] {
            let upper = (upper * scale).ceil() as i128;
            assert!(upper >= exact, "crossed by {}", exact - upper);
            assert!(upper - exact <= 2 + (1e-14 * size as f64) as i128);
        }
    }
}

#[test]
fn the_absolute_value_net_is_known() {
    // |x| = relu(x) + relu(-x) on [-a, b]: slopes b / (a + b) and a / (a + b), both strips 2 mu high with mu = a b / (2 (a + b)).
    for (a, b) in [(1.0, 1.0), (1.0, 3.0), (0.25, 0.1), (1e-9, 5.0)] {
        let layers = vec![
            affine(2, vec![1.0, -1.0], vec![0.0; 2]),
            Layer::Relu,
            affine(1, vec![1.0; 2], vec![0.0]),
        ];
        let network = Network::new(vec![1], layers).unwrap();
        let input = InputBox::new(vec![-a], vec![b]).unwrap();
        let zonotopes = zonotope_bounds(&network, &input, None).unwrap();
        assert_eq!(zonotopes[0].count(), 1);
        assert_eq!(zonotopes[1].count(), 3);
        let (slope, mu): (f64, f64) = ((b - a) / (a + b), a * b / (2.0 * (a + b)));
        let center = slope * (b - a) / 2.0 + 2.0 * mu;
        let radius = slope.abs() * (a + b) / 2.0 + 2.0 * mu;
        let hull = zonotopes[1].interval_hull();
        assert!((hull.lower()[0] - (center - radius)).abs() <= 4e-15 * (a + b));
        assert!((hull.upper()[0] - (center + radius)).abs() <= 4e-15 * (a + b));
        assert!(hull.lower()[0] <= 0.0 && hull.upper()[0] >= a.max(b));
        assert!((zonotopes[1].minimum(&[1.0]) - hull.lower()[0]).abs() <= 4e-15 * (a + b));
    }
}

#[test]
fn a_side_box_makes_slope_and_strip_its_own() {
    // z in [-1, 1] by the zonotope, in [-1/4, 3/4] by the side box.
    let input = InputBox::new(vec![-1.0], vec![1.0]).unwrap();
    let zonotope = Zonotope::from_box(&input);
    let free = zonotope.relu(None).unwrap();
    assert!((free.center()[0] - 0.25).abs() <= 1e-15);
    for (found, expected) in free.row(0).iter().zip([0.5, 0.25]) {
        assert!((found - expected).abs() <= 1e-15);
    }
    let side = Bounds::new(vec![-0.25], vec![0.75]).unwrap();
    let boxed = zonotope.relu(Some(&side)).unwrap();
    for (found, expected) in boxed.row(0).iter().zip([0.75, 0.75 * 0.25 / 2.0]) {
        assert!((found - expected).abs() <= 1e-15);
    }
    // A side box can settle a neuron that the zonotope leaves open.
    let on = zonotope
        .relu(Some(&Bounds::new(vec![0.0], vec![2.0]).unwrap()))
        .unwrap();
    assert_eq!(
        (on.center(), on.row(0)),
        (zonotope.center(), zonotope.row(0))
    );
    for upper in [-0.5, 0.0] {
        let off = zonotope
            .relu(Some(&Bounds::new(vec![-1.0], vec![upper]).unwrap()))
            .unwrap();
        assert_eq!(
            (off.center()[0], off.rounding()[0], off.row(0)),
            (0.0, 0.0, [0.0].as_slice())
        );
    }
}

#[test]
fn side_boxes_tighten_deep_zonotopes() {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let (mut closer, mut ratio) = (0, 0.0);
    let rounds = 60;
    for _ in 0..rounds {
        let network = dense(&[6, 12, 12, 12, 12, 1], 1.0, &mut rng);
        let input = random_box(6, 0.4, &mut rng);
        // The best of interval arithmetic and DeepZ, as side boxes for the second pass.
        let plain = zonotope_bounds(&network, &input, None).unwrap();
        let intervals = interval_bounds(&network, &input).unwrap();
        let side: Vec<Bounds> = plain
            .iter()
            .zip(&intervals)
            .map(|(zonotope, bounds)| zonotope.bounds(Some(bounds), "layer").unwrap())
            .collect();
        let tight = zonotope_bounds(&network, &input, Some(&side[..4])).unwrap();
        let width = |zonotopes: &[Zonotope]| zonotopes[4].interval_hull().width(0);
        closer += usize::from(width(&tight) < width(&plain));
        ratio += width(&tight) / width(&plain) / f64::from(rounds);
    }
    assert!(
        closer > 40,
        "tighter on {closer} of {rounds}, width ratio {ratio}"
    );
    assert!(
        ratio < 1.0,
        "tighter on {closer} of {rounds}, width ratio {ratio}"
    );
}

#[test]
fn every_unstable_neuron_adds_a_generator() {
    let mut rng = ChaCha8Rng::seed_from_u64(6);
    for _ in 0..50 {
        let network = with_idle_neurons(&[5, 9, 7, 2], 1.0, 0.5, &mut rng);
        // Two of the inputs are fixed.
        let input = InputBox::new(
            vec![-0.3, 0.1, -1.0, 0.5, 0.0],
            vec![0.3, 0.1, 0.0, 0.5, 1.0],
        )
        .unwrap();
        let side = interval_bounds(&network, &input).unwrap();
        let zonotopes = ZonotopeConfig::new()
            .with_order(None)
            .propagate(&network, &input, Some(&side))
            .unwrap();
        let mut expected = 3;
        for (zonotope, side) in zonotopes.iter().zip(&side) {
            assert_eq!(zonotope.count(), expected);
            expected += zonotope
                .bounds(Some(side), "layer")
                .unwrap()
                .unstable()
                .len();
        }
    }
}

#[test]
fn a_convolution_is_its_matrix() {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let mut draw =
        |count: usize| -> Vec<f32> { (0..count).map(|_| rng.random_range(-1.0..1.0)).collect() };
    let conv = Conv2d {
        input: [2, 6, 5],
        channels: 3,
        kernel: [3, 3],
        stride: [2, 1],
        padding: [1, 0, 1, 1],
        dilation: [1, 1],
        groups: 1,
        weight: draw(3 * 2 * 9),
        bias: draw(3),
    };
    let [_, height, width] = conv.output();
    let outputs = 3 * height * width;
    let mut matrix = vec![0.0; outputs * 60];
    for c in 0..3 {
        for y in 0..height {
            for x in 0..width {
                for tap in 0..18 {
                    let (from, ky, kx) = (tap / 9, tap / 3 % 3, tap % 3);
                    let (down, across) = ((2 * y + ky).wrapping_sub(1), x + kx);
                    if down < 6 && across < 5 {
                        let row = (c * height + y) * width + x;
                        matrix[row * 60 + (from * 6 + down) * 5 + across] =
                            conv.weight[c * 18 + tap];
                    }
                }
            }
        }
    }
    let bias = (0..outputs)
        .map(|row| conv.bias[row / (height * width)])
        .collect();
    let (last, last_bias) = (draw(2 * outputs), draw(2));
    let tail = [Layer::Relu, affine(2, last, last_bias)];
    let chain = |first: Layer| [vec![first], tail.to_vec()].concat();
    let native = Network::new(vec![2, 6, 5], chain(Layer::Conv2d(conv))).unwrap();
    let dense = Network::new(vec![60], chain(affine(outputs, matrix, bias))).unwrap();
    let input = random_box(60, 0.2, &mut rng);
    let (a, b) = (
        zonotope_bounds(&native, &input, None).unwrap(),
        zonotope_bounds(&dense, &input, None).unwrap(),
    );
    for (a, b) in a.iter().zip(&b) {
        assert_eq!((a.dimension(), a.count()), (b.dimension(), b.count()));
        for j in 0..a.dimension() {
            assert!((a.center()[j] - b.center()[j]).abs() <= 1e-12);
            assert!(
                a.row(j)
                    .iter()
                    .zip(b.row(j))
                    .all(|(a, b)| (a - b).abs() <= 1e-12)
            );
            assert!(a.rounding()[j] <= 1e-12 && b.rounding()[j] <= 1e-12);
        }
    }
}

#[test]
fn the_minimiser_attains_the_minimum() {
    let mut rng = ChaCha8Rng::seed_from_u64(8);
    let network = dense(&[6, 10, 10, 4], 1.0, &mut rng);
    let zonotopes = zonotope_bounds(&network, &random_box(6, 0.5, &mut rng), None).unwrap();
    for zonotope in &zonotopes {
        for _ in 0..100 {
            let a = direction(&mut rng, zonotope.dimension());
            let value: f64 = a
                .iter()
                .zip(zonotope.minimiser(&a))
                .map(|(a, z)| a * z)
                .sum();
            let minimum = zonotope.minimum(&a);
            assert!(
                minimum <= value && value - minimum <= 1e-12,
                "{minimum} {value}"
            );
        }
    }
}

#[test]
fn a_projection_is_a_zonotope_of_fewer_neurons() {
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    let network = dense(&[6, 10, 4], 1.0, &mut rng);
    let zonotope = &zonotope_bounds(&network, &random_box(6, 0.5, &mut rng), None).unwrap()[0];
    let part = zonotope.project(&[7, 2]);
    assert_eq!(
        (part.dimension(), part.row(0), part.row(1)),
        (2, zonotope.row(7), zonotope.row(2))
    );
    let mut a = vec![0.0; 10];
    (a[7], a[2]) = (0.3, -0.9);
    assert!((part.minimum(&[0.3, -0.9]) - zonotope.minimum(&a)).abs() <= 1e-13);
}

#[test]
fn overflow_gives_infinite_bounds_and_never_nan() {
    let mut layers = Vec::new();
    for k in 0..12 {
        let sign = if k % 2 == 0 { 1.0 } else { -1.0 };
        layers.extend([
            affine(2, vec![3e38, sign * 3e38, 3e38, 3e38], vec![3e38; 2]),
            Layer::Relu,
        ]);
    }
    layers.push(affine(1, vec![1.0, -1.0], vec![0.0]));
    let network = Network::new(vec![2], layers).unwrap();
    for radius in [0.0, 1.0, 1e200, 1.7e308] {
        let input = InputBox::new(vec![-radius; 2], vec![radius; 2]).unwrap();
        for side in [None, Some(interval_bounds(&network, &input).unwrap())] {
            let zonotopes = zonotope_bounds(&network, &input, side.as_deref()).unwrap();
            for zonotope in &zonotopes {
                let hull = zonotope.interval_hull();
                assert!(hull.lower().iter().chain(hull.upper()).all(|x| !x.is_nan()));
                assert!(zonotope.center().iter().all(|x| x.is_finite()));
                assert!(
                    (0..zonotope.dimension())
                        .all(|j| zonotope.row(j).iter().all(|x| x.is_finite()))
                );
            }
            assert_eq!(zonotopes.last().unwrap().minimum(&[1.0]), f64::NEG_INFINITY);
        }
    }
    let zonotope = Zonotope::from_box(&InputBox::new(vec![0.0], vec![1.0]).unwrap());
    assert_eq!(zonotope.minimum(&[f64::NAN]), f64::NEG_INFINITY);
}

#[test]
fn what_does_not_fit_is_refused() {
    let mut rng = ChaCha8Rng::seed_from_u64(10);
    let network = dense(&[3, 4, 4, 2], 1.0, &mut rng);
    let input = random_box(3, 0.1, &mut rng);
    let side = interval_bounds(&network, &input).unwrap();
    let wrong = |side: &[Bounds]| zonotope_bounds(&network, &input, Some(side)).unwrap_err();
    assert!(matches!(wrong(&side[..1]), Error::ShapeMismatch { .. }));
    assert!(matches!(
        wrong(&[side[0].clone(), side[2].clone()]),
        Error::ShapeMismatch { .. }
    ));
    let far = Bounds::new(vec![100.0; 4], vec![101.0; 4]).unwrap();
    assert!(
        matches!(wrong(&[side[0].clone(), far]), Error::Internal { layer, .. } if layer == "hidden layer 2")
    );
    let small = InputBox::new(vec![0.0], vec![1.0]).unwrap();
    assert!(matches!(
        zonotope_bounds(&network, &small, None),
        Err(Error::ShapeMismatch { .. })
    ));
    let none = ZonotopeConfig::new().with_order(Some(0));
    assert!(matches!(
        none.propagate(&network, &input, None),
        Err(Error::InvalidConfig { .. })
    ));
}
