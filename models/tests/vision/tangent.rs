//! The tangent forward against central differences in 64 bits.

use fire_assay_models::Error;
use fire_assay_models::parameters::Parameters;
use fire_assay_models::vision::*;

use super::support::*;

/// A direction with a random part for every parameter.
fn direction(network: &Network, seed: u64) -> Parameters {
    let template = Network::new(network.config().clone(), 0, &device()).unwrap();
    Parameters::of(&randomised(template, seed))
}

#[test]
fn tangent_equals_central_differences() {
    for (name, config) in zoo() {
        let network = randomised(Network::new(config, 1, &device()).unwrap(), 2);
        let direction = direction(&network, 3);
        let x = images(network.input_shape(), 5, 4);

        // In 64 bits: only `flex` computes in them, and it is there that the rules are checked.
        let exact = if device() == burn::tensor::Device::flex() {
            use burn::tensor::DType;
            let network = in_64_bits(network.clone());
            let direction = direction.map(|_, values| values.cast(DType::F64));
            let x = x.clone().cast(DType::F64);
            let (logits, tangent) = network.logits_tangent(&direction, x.clone()).unwrap();
            let plain = network.logits(x.clone(), Mode::Train).unwrap();
            assert!(max_difference(&logits, &plain) < 1e-10, "{name}");
            let step = 1e-7;
            let at = |step: f64| {
                let moved = network.parameters().add_scaled(&direction, step).unwrap();
                let moved = network.with_parameters(&moved).unwrap();
                values(&moved.logits(x.clone(), Mode::Train).unwrap())
            };
            let pairs = at(step).into_iter().zip(at(-step));
            let expected: Vec<f64> = pairs.map(|(a, b)| (a - b) / (2.0 * step)).collect();
            let found = values(&tangent);
            let off: Vec<f64> = found.iter().zip(&expected).map(|(a, b)| a - b).collect();
            let off = norm(&off) / norm(&expected);
            println!("{name}: {off:.1e}");
            assert!(off < 1e-6, "{name}: {off}");
            Some(found)
        } else {
            None
        };

        // In 32 bits, on the device under test.
        let (_, tangent) = network.logits_tangent(&direction, x).unwrap();
        if let Some(exact) = exact {
            let pairs = values(&tangent).into_iter().zip(&exact);
            let off: Vec<f64> = pairs.map(|(a, b)| a - b).collect();
            let off = norm(&off) / norm(&exact);
            assert!(off < 1e-4, "{name} in 32 bits: {off}");
        }
    }
}

#[test]
fn tangent_is_linear_in_the_direction_and_zero_where_nothing_moves() {
    let config = ResNetConfig::cifar(8, [3, 16, 16], 5).with_width(4);
    let network = randomised(Network::new(config, 1, &device()).unwrap(), 2);
    let (a, b) = (direction(&network, 3), direction(&network, 4));
    let x = images([3, 16, 16], 4, 5);
    let along = |direction: &Parameters| network.logits_tangent(direction, x.clone()).unwrap().1;
    let sum = along(&a) + along(&b).mul_scalar(2.0);
    let joint = along(&a.add_scaled(&b, 2.0).unwrap());
    assert!(max_difference(&sum, &joint) < 1e-4 * norm(&values(&joint)));
    let none = along(&a.select(|_| false));
    assert_eq!(norm(&values(&none)), 0.0);
    // Only the head moves: the tangent is the head's direction applied to the features.
    let head = a.select(|name| name.starts_with("fc"));
    let features = network.features(x.clone(), Mode::Train).unwrap();
    let weight = head.tensor::<2>("fc.weight").unwrap();
    let expected = features.matmul(weight.transpose());
    let expected = expected + head.tensor::<1>("fc.bias").unwrap().unsqueeze();
    assert!(max_difference(&along(&head), &expected) < 1e-4);
}

#[test]
fn a_direction_of_another_network_is_refused() {
    let network = Network::new(MlpConfig::new([1, 4, 4], 3), 1, &device()).unwrap();
    let other = Network::new(MlpConfig::new([1, 4, 4], 4), 1, &device()).unwrap();
    let x = images([1, 4, 4], 2, 5);
    let result = network.logits_tangent(&other.parameters(), x.clone());
    assert!(matches!(result, Err(Error::Parameter { name, .. }) if name == "fc2.weight"));
    let cnn = Network::new(CnnConfig::new([1, 4, 4], 4), 1, &device()).unwrap();
    let result = network.logits_tangent(&Parameters::buffers_of(&cnn), x);
    assert!(matches!(result, Err(Error::Parameter { name, .. }) if name == "bn1.running_mean"));
}
