//! What several tests need: a device, random tensors, networks of every kind, comparisons.

use std::path::PathBuf;

use burn::tensor::{DType, Device, Tensor, TensorData};
use fire_assay_models::parameters::Parameters;
use fire_assay_models::tensors::HostTensor;
use fire_assay_models::vision::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

/// The device under test: `flex`, or what FIRE_ASSAY_DEVICE names among those compiled in.
pub(crate) fn device() -> Device {
    match std::env::var("FIRE_ASSAY_DEVICE").as_deref() {
        #[cfg(feature = "wgpu")]
        Ok("wgpu") => Device::wgpu(Default::default()),
        #[cfg(feature = "vulkan")]
        Ok("vulkan") => Device::vulkan(Default::default()),
        Ok("flex") | Err(_) => Device::flex(),
        Ok(other) => panic!("FIRE_ASSAY_DEVICE={other} is not compiled in"),
    }
}

pub(crate) fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/vision")
        .join(name)
}

pub(crate) fn rng(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

pub(crate) fn images(shape: [usize; 3], count: usize, seed: u64) -> Tensor<4> {
    let mut rng = rng(seed);
    let [c, h, w] = shape;
    let values: Vec<f32> = (0..count * c * h * w)
        .map(|_| StandardNormal.sample(&mut rng))
        .collect();
    Tensor::from_data(TensorData::new(values, [count, c, h, w]), &device())
}

/// Random values for every tensor, such that no weight, bias or statistic has its initial value.
pub(crate) fn randomised(network: Network, seed: u64) -> Network {
    let mut rng = rng(seed);
    let values = Parameters::all_of(&network).to_host().unwrap();
    let values: Vec<_> = values
        .into_iter()
        .map(|(name, tensor)| {
            let shape = tensor.shape().to_vec();
            let fan: usize = shape[1..].iter().product();
            let draw = |_| {
                let z: f32 = StandardNormal.sample(&mut rng);
                match name.rsplit('.').next().unwrap() {
                    "running_var" => 0.5 + z * z,
                    "weight" if shape.len() == 1 => 1.0 + 0.3 * z,
                    _ if shape.len() == 2 || shape.len() == 4 => z * (2.0 / fan as f32).sqrt(),
                    _ => 0.3 * z,
                }
            };
            let values = (0..tensor.values().len()).map(draw).collect();
            (name, HostTensor::new(shape, values).unwrap())
        })
        .collect();
    let values = Parameters::from_host(&values, &device()).unwrap();
    values.put_into(network).unwrap()
}

/// Small networks that together have every operation.
pub(crate) fn zoo() -> Vec<(&'static str, NetworkConfig)> {
    let (grey, colour) = ([1, 8, 8], [3, 16, 16]);
    let resnet8 = || ResNetConfig::cifar(8, colour, 5).with_width(4);
    vec![
        (
            "mlp",
            MlpConfig::new(grey, 5).with_hidden(vec![12, 9]).into(),
        ),
        (
            "cnn",
            CnnConfig::new([2, 9, 9], 5).with_widths(vec![4, 6]).into(),
        ),
        ("resnet8", resnet8().into()),
        (
            "resnet8 stem 2",
            resnet8().with_stem(Stem::Small { stride: 2 }).into(),
        ),
        (
            "resnet8 option a",
            resnet8().with_shortcut(Shortcut::Subsample).into(),
        ),
        (
            "pre-activation",
            ResNetConfig::preact32(colour, 5)
                .with_width(4)
                .with_blocks(vec![1, 2, 1])
                .into(),
        ),
        (
            "pre-activation with projections",
            resnet8().with_order(Order::PreActivation).into(),
        ),
        (
            "bottleneck",
            ResNetConfig::imagenet50([3, 32, 32], 5)
                .with_width(2)
                .with_blocks(vec![2, 1, 1, 1])
                .into(),
        ),
        (
            "vgg",
            VggConfig::new([3, 32, 32], 5)
                .with_depth(VggDepth::Eleven)
                .with_width(4)
                .into(),
        ),
        (
            "vgg imagenet head",
            VggConfig::new([1, 32, 32], 5)
                .with_depth(VggDepth::Eleven)
                .with_width(2)
                .with_head(VggHead::ImageNet { hidden: 8 })
                .into(),
        ),
        (
            "vit",
            VitConfig::new(grey, 5)
                .with_width(8)
                .with_heads(2)
                .with_depth(2)
                .into(),
        ),
    ]
}

/// Values in 64 bits, whatever the tensor has.
pub(crate) fn values<const D: usize>(tensor: &Tensor<D>) -> Vec<f64> {
    tensor.to_data().convert::<f64>().try_to_vec().unwrap()
}

pub(crate) fn max_difference<const D: usize>(a: &Tensor<D>, b: &Tensor<D>) -> f64 {
    assert_eq!(a.dims(), b.dims());
    let pairs = values(a).into_iter().zip(values(b));
    pairs
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, |max, d| if d > max || d.is_nan() { d } else { max })
}

pub(crate) fn norm(values: &[f64]) -> f64 {
    values.iter().map(|v| v * v).sum::<f64>().sqrt()
}

/// The network with 64-bit weights.
pub(crate) fn in_64_bits(network: Network) -> Network {
    let all = Parameters::all_of(&network).map(|_, values| values.cast(DType::F64));
    all.put_into(network).unwrap()
}

pub(crate) fn permutation(count: usize, rng: &mut ChaCha8Rng) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    for i in (1..count).rev() {
        order.swap(i, rng.random_range(0..=i));
    }
    order
}
