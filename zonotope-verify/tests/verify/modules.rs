//! Networks from modules of `burn` compute what the modules compute.

use burn::Tensor;
use burn::module::Param;
use burn::nn::conv::Conv2dConfig;
use burn::nn::pool::AvgPool2dConfig;
use burn::nn::{BatchNorm, BatchNormConfig, LinearConfig, PaddingConfig2d, Relu};
use burn::tensor::{DType, Device, TensorData};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use zonotope_verify::error::Error;
use zonotope_verify::network::{Enclosure, Layer, Network, Scale};

fn draw(count: usize, rng: &mut ChaCha8Rng) -> Vec<f32> {
    (0..count).map(|_| rng.random_range(-1.0..1.0)).collect()
}

fn agree(network: &Network, input: &[f32], expected: Vec<f32>) {
    let input: Vec<f64> = input.iter().copied().map(f64::from).collect();
    let outputs = network.evaluate(&input).unwrap();
    assert_eq!(outputs.len(), expected.len());
    for (output, expected) in outputs.iter().zip(expected) {
        let difference = (output.value - f64::from(expected)).abs();
        assert!(difference <= 1e-5, "{} and {expected}", output.value);
    }
}

/// A normalisation that is not the identity.
fn normalisation(features: usize, rng: &mut ChaCha8Rng, device: &Device) -> BatchNorm {
    let mut numbers = |shift: f32| {
        let numbers: Vec<f32> = draw(features, rng).iter().map(|x| x + shift).collect();
        Tensor::<1>::from_data(TensorData::new(numbers, [features]), device)
    };
    let mut module = BatchNormConfig::new(features).init(device);
    module.gamma = Param::from_tensor(numbers(0.0));
    module.beta = Param::from_tensor(numbers(0.0));
    module.running_mean.update(numbers(0.0));
    module.running_var.update(numbers(2.0));
    module.running_mean.value_sync();
    module.running_var.value_sync();
    module
}

#[test]
fn an_image_model_computes_the_same() {
    let device = Device::flex();
    let mut rng = ChaCha8Rng::seed_from_u64(31);
    for (padding, stride) in [
        (PaddingConfig2d::Valid, [1, 1]),
        (PaddingConfig2d::Same, [2, 1]),
        (PaddingConfig2d::Explicit(1, 0, 2, 1), [2, 2]),
    ] {
        let first = Conv2dConfig::new([2, 4], [3, 2])
            .with_stride(stride)
            .with_padding(padding.clone())
            .with_groups(2)
            .init(&device);
        let norm = normalisation(4, &mut rng, &device);
        let pool = AvgPool2dConfig::new([2, 2])
            .with_strides([1, 2])
            .with_padding(PaddingConfig2d::Same)
            .with_count_include_pad(false)
            .init();
        let second = Conv2dConfig::new([4, 3], [2, 2])
            .with_dilation([1, 2])
            .with_bias(false)
            .init(&device);
        let values = draw(2 * 9 * 10, &mut rng);
        let image = Tensor::from_data(TensorData::new(values.clone(), [1, 2, 9, 10]), &device);
        let hidden = Relu::new().forward(norm.forward(first.forward(image)));
        let hidden = Relu::new().forward(second.forward(pool.forward(hidden)));
        let hidden: Tensor<2> = hidden.flatten(1, 3);
        let last = LinearConfig::new(hidden.dims()[1], 5).init(&device);
        let outputs = last.forward(hidden).into_data().try_to_vec().unwrap();

        let network = Network::from_burn([2, 9, 10])
            .conv2d(&first)
            .batch_norm(&norm)
            .relu()
            .avg_pool2d(&pool)
            .conv2d(&second)
            .relu()
            .linear(&last)
            .build()
            .unwrap();
        assert_eq!(network.hidden().len(), 2);
        agree(&network, &values, outputs);
    }
}

#[test]
fn a_dense_model_computes_the_same() {
    let device = Device::flex();
    let mut rng = ChaCha8Rng::seed_from_u64(32);
    let first = LinearConfig::new(6, 7).init(&device);
    let norm = normalisation(7, &mut rng, &device);
    let last = LinearConfig::new(7, 3).with_bias(false).init(&device);
    let values = draw(6, &mut rng);
    let input = Tensor::<2>::from_data(TensorData::new(values.clone(), [1, 6]), &device);
    let hidden = Relu::new().forward(norm.forward(first.forward(input * 2.0)));
    let outputs = last.forward(hidden).into_data().try_to_vec().unwrap();
    let doubled = Scale {
        scale: vec![Enclosure::exact(2.0); 6],
        shift: vec![Enclosure::exact(0.0); 6],
    };
    let network = Network::from_burn([6])
        .layer(Layer::Scale(doubled))
        .linear(&first)
        .batch_norm(&norm)
        .relu()
        .linear(&last)
        .build()
        .unwrap();
    agree(&network, &values, outputs);
}

#[test]
fn modules_that_do_not_fit_are_errors() {
    let device = Device::flex();
    let linear = LinearConfig::new(6, 4).init(&device);
    let convolution = Conv2dConfig::new([1, 2], [3, 3]).init(&device);
    let norm = BatchNormConfig::new(3).init(&device);
    let pool = AvgPool2dConfig::new([2, 2]);
    let rounded = pool.clone().with_ceil_mode(true).init();
    let pool = pool.init();
    for wrong in [
        Network::from_burn([5]).linear(&linear),
        Network::from_burn([6]).conv2d(&convolution),
        Network::from_burn([2, 4, 4]).conv2d(&convolution),
        Network::from_burn([1, 2, 4]).conv2d(&convolution),
        Network::from_burn([2, 4, 4]).batch_norm(&norm),
        Network::from_burn([6]).avg_pool2d(&pool),
        Network::from_burn([1, 1, 4]).avg_pool2d(&pool),
        Network::from_burn([]).relu(),
        // The first error is the one that counts.
        Network::from_burn([5]).linear(&linear).avg_pool2d(&rounded),
    ] {
        let found = wrong.build();
        assert!(
            matches!(found, Err(Error::ShapeMismatch { .. })),
            "{found:?}"
        );
    }
    let mut double = LinearConfig::new(6, 4).init(&device);
    double.weight = double.weight.map(|weight| weight.cast(DType::F64));
    Network::from_burn([6]).linear(&double).build().unwrap();
    double.weight = double.weight.map(|weight| weight * (1.0 + 1e-12));
    for unsupported in [
        Network::from_burn([1, 4, 4]).avg_pool2d(&rounded),
        Network::from_burn([6]).linear(&double),
    ] {
        assert!(matches!(
            unsupported.build(),
            Err(Error::UnsupportedOperator { .. })
        ));
    }
    let mut broken = LinearConfig::new(6, 4).init(&device);
    broken.weight = broken.weight.map(|weight| weight * f32::NAN);
    assert!(matches!(
        Network::from_burn([6]).linear(&broken).build(),
        Err(Error::NonFiniteWeight { .. })
    ));
}
