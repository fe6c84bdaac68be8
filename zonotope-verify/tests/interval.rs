//! Boxes of pre-activations: they hold what the network does, whatever the scale, and are exact where interval arithmetic is.

use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use zonotope_verify::Error;
use zonotope_verify::interval::{Bounds, interval_bounds};
use zonotope_verify::network::{Affine, Layer, Network};
use zonotope_verify::spec::InputBox;

#[path = "support/random.rs"]
mod random;

use random::{dense, points, random_box, with_idle_neurons};

/// The network up to the pre-activations of hidden layer `index`.
fn prefix(network: &Network, index: usize) -> Network {
    let layers = network.layers()[..=2 * index].to_vec();
    Network::new(network.input_shape().to_vec(), layers).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn every_point_lies_in_the_bounds(
        seed in any::<u64>(),
        hidden in prop::collection::vec(1_usize..7, 0..4),
        inputs in 1_usize..5,
        radius in prop::sample::select(vec![0.0, 1e-9, 0.1, 2.0]),
        scale in prop::sample::select(vec![1e-12, 1.0, 1e12]),
        idle in prop::sample::select(vec![0.0, 0.5]),
    ) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut widths = vec![inputs];
        widths.extend(hidden);
        widths.push(3);
        let network = with_idle_neurons(&widths, scale, idle, &mut rng);
        let input = random_box(inputs, radius, &mut rng);
        let bounds = interval_bounds(&network, &input).unwrap();
        prop_assert_eq!(bounds.len(), widths.len() - 1);
        for (index, bounds) in bounds.iter().enumerate() {
            let prefix = prefix(&network, index);
            for x in points(&input, 60, &mut rng) {
                let values = prefix.evaluate(&x).unwrap();
                for (j, z) in values.iter().enumerate() {
                    prop_assert!(bounds.lower()[j] <= z.value + z.radius);
                    prop_assert!(bounds.upper()[j] >= z.value - z.radius);
                    if radius == 0.0 {
                        // Nothing but rounding: n u times the sum of the sizes, generously.
                        let size = scale.powi(index as i32 + 1).max(1e-36) * 1e4;
                        prop_assert!(bounds.width(j) <= 1e-14 * size);
                    }
                }
            }
        }
    }
}

/// `x 2^exponent` as an integer number of units.
fn units(x: f64, exponent: i32) -> i128 {
    (x * 2.0_f64.powi(-exponent)) as i128
}

/// A single affine layer is where the bounds are attained: here they are compared with the exact ones in integers, so that a rounding
/// error that is not accounted for shows.
#[test]
fn an_affine_layer_has_its_exact_range() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    for round in 0..300 {
        let shift = [0, -40, 40][round % 3];
        let n = 1 + round;
        let mut draw = |bits: u32, power: i32| {
            let mantissa = f64::from(rng.random_range(-(1_i32 << bits)..1 << bits));
            mantissa * 2.0_f64.powi(rng.random_range(0..8) + power)
        };
        let weight: Vec<f32> = (0..n).map(|_| draw(24, shift - 20) as f32).collect();
        let bias = vec![draw(24, shift - 20) as f32];
        let (a, b): (Vec<f64>, Vec<f64>) = (0..n).map(|_| (draw(30, -30), draw(30, -30))).unzip();
        let input = InputBox::new(
            a.iter().zip(&b).map(|(a, b)| a.min(*b)).collect(),
            a.iter().zip(&b).map(|(a, b)| a.max(*b)).collect(),
        )
        .unwrap();
        let (mut least, mut most, mut size) = (0_i128, 0_i128, 0_i128);
        for (j, &w) in weight.iter().enumerate() {
            let w = units(f64::from(w), shift - 20);
            let ends = [w * units(a[j], -30), w * units(b[j], -30)];
            least += ends[0].min(ends[1]);
            most += ends[0].max(ends[1]);
            size += ends[0].abs().max(ends[1].abs());
        }
        let b = units(f64::from(bias[0]), shift - 20) << 30;
        let layer = Layer::Affine(Affine {
            outputs: 1,
            inputs: n,
            weight,
            bias,
        });
        let network = Network::new(vec![n], vec![layer]).unwrap();
        let bounds = &interval_bounds(&network, &input).unwrap()[0];
        // A bound in units, rounded outward: it need not be a whole number of them.
        let scale = 2.0_f64.powi(50 - shift);
        let (low, high) = (
            (bounds.lower()[0] * scale).floor() as i128,
            (bounds.upper()[0] * scale).ceil() as i128,
        );
        assert!(low <= least + b && most + b <= high);
        // The radius is a sum of n terms, each addition rounded up by at most 2u.
        let slack = 2 + (f64::EPSILON * (n + 4) as f64 * (size + b.abs()) as f64) as i128;
        assert!(least + b - low <= slack && high - most - b <= slack);
    }
}

#[test]
fn the_absolute_value_net_is_known() {
    // |x| = relu(x) + relu(-x) on [-1, 3].
    let first = Affine {
        outputs: 2,
        inputs: 1,
        weight: vec![1.0, -1.0],
        bias: vec![0.0; 2],
    };
    let second = Affine {
        outputs: 1,
        inputs: 2,
        weight: vec![1.0; 2],
        bias: vec![0.0],
    };
    let network = Network::new(
        vec![1],
        vec![Layer::Affine(first), Layer::Relu, Layer::Affine(second)],
    )
    .unwrap();
    let bounds = interval_bounds(&network, &InputBox::new(vec![-1.0], vec![3.0]).unwrap()).unwrap();
    assert_eq!(
        bounds[0],
        Bounds::new(vec![-1.0, -3.0], vec![3.0, 1.0]).unwrap()
    );
    assert_eq!(bounds[1], Bounds::new(vec![0.0], vec![4.0]).unwrap());
    assert_eq!(bounds[0].unstable(), [0, 1]);
}

#[test]
fn neurons_are_on_off_or_unstable() {
    let bounds = Bounds::new(
        vec![0.0, 1.0, -1.0, 0.0, -2.0, -1.0],
        vec![1.0, 2.0, 0.0, 0.0, -1.0, 1.0],
    )
    .unwrap();
    let is =
        |test: fn(&Bounds, usize) -> bool| (0..6).filter(|&j| test(&bounds, j)).collect::<Vec<_>>();
    assert_eq!(is(Bounds::is_on), [0, 1]);
    assert_eq!(is(Bounds::is_off), [2, 3, 4]);
    assert_eq!(is(Bounds::is_unstable), [5]);
    assert_eq!(bounds.unstable(), [5]);
    assert_eq!(bounds.width(5), 2.0);
}

#[test]
fn intersections_keep_the_tighter_side_and_refuse_contradictions() {
    let a = Bounds::new(vec![-1.0, f64::NEG_INFINITY], vec![2.0, 5.0]).unwrap();
    let b = Bounds::new(vec![-3.0, 0.0], vec![1.0, f64::INFINITY]).unwrap();
    let both = a.intersect(&b, "layer 1").unwrap();
    assert_eq!(both, Bounds::new(vec![-1.0, 0.0], vec![1.0, 5.0]).unwrap());
    let touching = Bounds::new(vec![2.0, 5.0], vec![3.0, 6.0]).unwrap();
    assert_eq!(
        a.intersect(&touching, "layer 1").unwrap().lower(),
        [2.0, 5.0]
    );
    let apart = Bounds::new(vec![2.5, 0.0], vec![3.0, 0.0]).unwrap();
    assert!(
        matches!(a.intersect(&apart, "layer 1"), Err(Error::Internal { layer, .. }) if layer == "layer 1")
    );
    let short = Bounds::new(vec![0.0], vec![0.0]).unwrap();
    assert!(matches!(
        a.intersect(&short, "layer 1"),
        Err(Error::ShapeMismatch { .. })
    ));
}

#[test]
fn bounds_that_are_none_are_refused() {
    let inf = f64::INFINITY;
    for (lower, upper) in [
        (1.0, 0.0),
        (f64::NAN, 0.0),
        (0.0, f64::NAN),
        (inf, inf),
        (-inf, -inf),
    ] {
        assert!(matches!(
            Bounds::new(vec![lower], vec![upper]),
            Err(Error::InvalidConfig { .. })
        ));
    }
    assert!(matches!(
        Bounds::new(vec![0.0], vec![]),
        Err(Error::ShapeMismatch { .. })
    ));
    let text = serde_json::to_string(&Bounds::new(vec![-0.1], vec![0.3]).unwrap()).unwrap();
    assert_eq!(
        serde_json::from_str::<Bounds>(&text).unwrap().upper(),
        [0.3]
    );
    assert!(serde_json::from_str::<Bounds>(r#"{"lower":[1.0],"upper":[0.0]}"#).is_err());
}

#[test]
fn overflow_gives_infinite_bounds_and_never_nan() {
    let layer = |sign: f32| {
        Layer::Affine(Affine {
            outputs: 2,
            inputs: 2,
            weight: vec![3e38, sign * 3e38, 3e38, 3e38],
            bias: vec![3e38; 2],
        })
    };
    let mut layers = Vec::new();
    for k in 0..12 {
        layers.extend([layer(if k % 2 == 0 { 1.0 } else { -1.0 }), Layer::Relu]);
    }
    let network = Network::new(vec![2], layers).unwrap();
    let input = InputBox::new(vec![-1e300; 2], vec![1e300; 2]).unwrap();
    let bounds = interval_bounds(&network, &input).unwrap();
    assert!(
        bounds
            .iter()
            .all(|b| b.lower().iter().chain(b.upper()).all(|x| !x.is_nan()))
    );
    // The last map is the identity behind the last ReLU.
    assert_eq!(bounds.last().unwrap().upper(), [f64::INFINITY; 2]);
}

#[test]
fn a_box_of_another_size_is_refused() {
    let network = dense(&[3, 2], 1.0, &mut ChaCha8Rng::seed_from_u64(1));
    let input = InputBox::new(vec![0.0], vec![1.0]).unwrap();
    assert!(matches!(
        interval_bounds(&network, &input),
        Err(Error::ShapeMismatch { .. })
    ));
}
