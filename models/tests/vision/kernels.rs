//! The processor's own kernels for 32 bits against burn's operations in 64 bits, which they leave alone.

use burn::module::Module;
use burn::tensor::{DType, Device, Tensor};
use fire_assay_models::parameters::Parameters;
use fire_assay_models::vision::*;

use super::support::*;

/// Networks whose convolutions together have every window, odd sizes, and channels that fill no tile.
fn shapes() -> Vec<(&'static str, NetworkConfig)> {
    let odd = [3, 13, 17];
    let resnet = |width| ResNetConfig::cifar(8, odd, 5).with_width(width);
    vec![
        ("projections", resnet(5).into()),
        (
            "option a",
            resnet(6).with_shortcut(Shortcut::Subsample).into(),
        ),
        (
            "stem with a stride",
            ResNetConfig::cifar(8, [2, 31, 18], 5)
                .with_width(3)
                .with_stem(Stem::Small { stride: 2 })
                .into(),
        ),
        (
            "pre-activation",
            ResNetConfig::preact32([3, 20, 12], 5)
                .with_width(4)
                .with_blocks(vec![1, 1, 1])
                .into(),
        ),
        (
            "bottleneck, window of 7",
            ResNetConfig::imagenet50([3, 75, 66], 5)
                .with_width(2)
                .with_blocks(vec![1, 2, 1, 1])
                .into(),
        ),
        (
            "biases",
            VggConfig::new([1, 33, 70], 5)
                .with_depth(VggDepth::Eleven)
                .with_width(3)
                .into(),
        ),
        (
            "cnn",
            CnnConfig::new([1, 28, 28], 5)
                .with_widths(vec![7, 9])
                .into(),
        ),
    ]
}

/// Logits, and the gradients of a fixed function of them to all parameters and to the images.
fn derivatives(
    network: &Network,
    images: &Tensor<4>,
    mode: Mode,
) -> (Tensor<2>, Parameters, Tensor<4>) {
    let network = network.clone().train();
    let images = images.clone().autodiff().require_grad();
    let logits = network.logits(images.clone(), mode).unwrap();
    let gradients = loss(&logits).backward();
    let parameters = Parameters::gradients_of(&network, &gradients);
    let to_images = images.grad(&gradients).unwrap();
    (logits.without_autodiff(), parameters, to_images)
}

fn loss(logits: &Tensor<2>) -> Tensor<1> {
    let [batch, classes] = logits.dims();
    let weights = images([1, batch, classes], 1, 9).cast(logits.dtype());
    let weights = weights.reshape([batch, classes]);
    let weights = match logits.is_autodiff() {
        true => weights.autodiff(),
        false => weights,
    };
    (logits.clone() * weights).sum()
}

fn off(found: &[f64], expected: &[f64], scale: f64) -> f64 {
    let off: Vec<f64> = found.iter().zip(expected).map(|(a, b)| a - b).collect();
    norm(&off) / (norm(expected) + scale)
}

#[test]
fn logits_and_gradients_are_those_of_64_bits() {
    if device() != Device::flex() {
        return;
    }
    for (n, (name, config)) in shapes().into_iter().enumerate() {
        let network = randomised(Network::new(config, 1, &device()).unwrap(), n as u64);
        let exact = in_64_bits(network.clone());
        for (batch, mode) in [
            (1, Mode::Eval),
            (1, Mode::Train),
            (3, Mode::Train),
            (18, Mode::Train),
            (18, Mode::Eval),
        ] {
            let what = format!("{name}, batch {batch}, {mode:?}");
            let x = images(network.input_shape(), batch, 7);
            let (logits, gradients, to_images) = derivatives(&network, &x, mode);
            let expected = derivatives(&exact, &x.cast(DType::F64), mode);
            let logits_off = off(&values(&logits), &values(&expected.0), 0.0);
            assert!(logits_off < 1e-5, "{what}: logits off by {logits_off}");
            let images_off = off(&values(&to_images), &values(&expected.2), 0.0);
            assert!(images_off < 1e-4, "{what}: images off by {images_off}");
            // A bias before a normalisation by the batch has a gradient of zero, up to rounding.
            let scale = 1e-2 * expected.1.norm().unwrap();
            for parameter in gradients.names() {
                let [found, expected] = [&gradients, &expected.1]
                    .map(|gradients| values(&gradients.values(parameter).unwrap()));
                let off = off(&found, &expected, scale);
                assert!(off < 1e-4, "{what}: `{parameter}` off by {off}");
            }
        }
    }
}

#[test]
fn gradients_equal_central_differences() {
    if device() != Device::flex() {
        return;
    }
    let config = ResNetConfig::cifar(8, [3, 13, 17], 5).with_width(5);
    let network = randomised(Network::new(config, 1, &device()).unwrap(), 2);
    let direction = Parameters::of(&randomised(network.clone(), 3));
    let x = images(network.input_shape(), 4, 4);
    for mode in [Mode::Train, Mode::Eval] {
        let found = derivatives(&network, &x, mode).1.dot(&direction).unwrap();
        let exact = in_64_bits(network.clone());
        let at = |step: f64| {
            let direction = direction.map(|_, values| values.cast(DType::F64));
            let moved = exact.parameters().add_scaled(&direction, step).unwrap();
            let moved = exact.with_parameters(&moved).unwrap();
            let logits = moved.logits(x.clone().cast(DType::F64), mode).unwrap();
            values(&loss(&logits))[0]
        };
        let expected = (at(1e-7) - at(-1e-7)) / 2e-7;
        let off = (found - expected).abs() / expected.abs();
        assert!(off < 1e-4, "{mode:?}: {found}, expected {expected}");
    }
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    for (name, config) in shapes() {
        let network = randomised(Network::new(config, 1, &device()).unwrap(), 2);
        for batch in [1, 3, 70] {
            let x = images(network.input_shape(), batch, 7);
            let with = |threads: usize| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
                pool.build().unwrap().install(|| {
                    let (logits, gradients, to_images) = derivatives(&network, &x, Mode::Train);
                    let gradients = gradients.to_host().unwrap();
                    (logits.into_data(), gradients, to_images.into_data())
                })
            };
            let one = with(1);
            for threads in [2, 5] {
                let many = with(threads);
                assert_eq!(one.0, many.0, "{name}: logits of {batch}");
                assert_eq!(one.2, many.2, "{name}: images of {batch}");
                for ((parameter, one), (_, many)) in one.1.iter().zip(&many.1) {
                    assert_eq!(
                        one.values(),
                        many.values(),
                        "{name}: `{parameter}`, {batch}"
                    );
                }
            }
        }
    }
}

#[test]
fn who_looks_on_changes_nothing() {
    for (name, config) in zoo().into_iter().chain(shapes()) {
        let network = randomised(Network::new(config, 1, &device()).unwrap(), 2);
        let x = images(network.input_shape(), 3, 7);
        for mode in [Mode::Train, Mode::Eval] {
            let mut seen = 0;
            let traced = network.trace(x.clone(), mode, &mut |node, output| {
                let rectified = matches!(node.operation, Operation::Relu);
                let negative = output.by_unit().lower_scalar(0.0).any();
                assert!(!rectified || !negative.into_scalar::<bool>(), "{name}");
                seen += 1;
            });
            assert_eq!(seen, network.topology().nodes().len());
            let plain = network.logits(x.clone(), mode).unwrap();
            // ReLU and the normalisation before it are one operation where nobody looks on.
            assert!(max_difference(&plain, &traced.unwrap()) < 1e-5, "{name}");
        }
    }
}
