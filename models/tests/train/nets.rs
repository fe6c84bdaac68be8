//! Small networks of the kinds that are trained elsewhere, with seeded weights, and problems to train them on.

use burn::module::{Module, ModuleVisitor, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Embedding, EmbeddingConfig, Linear, LinearConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Int, Tensor, TensorData};
use fire_assay_models::Result;
use fire_assay_models::train::{Batch, Crop, Labels};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The device under test: the processor, unless FIRE_ASSAY_DEVICE names another that was compiled in.
pub(crate) fn device() -> Device {
    match std::env::var("FIRE_ASSAY_DEVICE").as_deref() {
        #[cfg(feature = "vulkan")]
        Ok("vulkan") => Device::vulkan(burn::tensor::DeviceKind::DefaultDevice),
        #[cfg(feature = "wgpu")]
        Ok("wgpu") => Device::wgpu(burn::tensor::DeviceKind::DefaultDevice),
        Ok(other) if other != "flex" => panic!("the device {other} is not compiled in"),
        _ => Device::flex(),
    }
}

/// A parameter of uniform values between -1 and 1, times `scale`.
fn weight<const D: usize>(
    shape: [usize; D],
    scale: f32,
    rng: &mut ChaCha8Rng,
    device: &Device,
) -> Param<Tensor<D>> {
    let values: Vec<f32> = (0..shape.iter().product())
        .map(|_| scale * rng.random_range(-1.0..1.0))
        .collect();
    Param::from_data(TensorData::new(values, shape), device)
}

fn linear(inputs: usize, outputs: usize, rng: &mut ChaCha8Rng, device: &Device) -> Linear {
    let mut layer = LinearConfig::new(inputs, outputs).init(device);
    layer.weight = weight([inputs, outputs], (3.0 / inputs as f32).sqrt(), rng, device);
    layer.bias = Some(weight([outputs], 0.1, rng, device));
    layer
}

/// Two layers.
#[derive(Module, Debug)]
pub(crate) struct Mlp {
    pub(crate) first: Linear,
    pub(crate) second: Linear,
}

impl Mlp {
    pub(crate) fn new(widths: [usize; 3], seed: u64, device: &Device) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        Self {
            first: linear(widths[0], widths[1], &mut rng, device),
            second: linear(widths[1], widths[2], &mut rng, device),
        }
    }

    pub(crate) fn forward(&self, input: Tensor<2>) -> Tensor<2> {
        self.second.forward(relu(self.first.forward(input)))
    }
}

/// A convolution with batch norm, averaged over the image.
#[derive(Module, Debug)]
pub(crate) struct ConvNet {
    pub(crate) blocks: Vec<Conv2d>,
    pub(crate) norm: BatchNorm,
    pub(crate) head: Linear,
}

impl ConvNet {
    pub(crate) fn new(seed: u64, device: &Device) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut conv = Conv2dConfig::new([1, 4], [3, 3]).init(device);
        conv.weight = weight([4, 1, 3, 3], 0.5, &mut rng, device);
        conv.bias = Some(weight([4], 0.1, &mut rng, device));
        Self {
            blocks: vec![conv],
            norm: BatchNormConfig::new(4).init(device),
            head: linear(4, 2, &mut rng, device),
        }
    }

    pub(crate) fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let features = self.blocks.iter().fold(images, |x, conv| conv.forward(x));
        let features = relu(self.norm.forward(features));
        let [samples, channels, height, width] = features.dims();
        let pooled = features
            .reshape([samples, channels, height * width])
            .mean_dim(2);
        self.head.forward(pooled.reshape([samples, channels]))
    }
}

/// Predicts the next token from this one.
#[derive(Module, Debug)]
pub(crate) struct BigramLm {
    pub(crate) embedding: Embedding,
    pub(crate) output: Linear,
}

impl BigramLm {
    pub(crate) fn new(tokens: usize, seed: u64, device: &Device) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut embedding = EmbeddingConfig::new(tokens, 8).init(device);
        embedding.weight = weight([tokens, 8], 0.5, &mut rng, device);
        Self {
            embedding,
            output: linear(8, tokens, &mut rng, device),
        }
    }

    pub(crate) fn forward(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        self.output.forward(self.embedding.forward(tokens))
    }
}

/// Points of two clouds that a line separates.
pub(crate) struct Clouds {
    pub(crate) points: Vec<[f32; 2]>,
    pub(crate) labels: Vec<i64>,
}

impl Clouds {
    pub(crate) fn new(samples: usize, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let labels: Vec<i64> = (0..samples).map(|i| i as i64 % 2).collect();
        let mut point = |label: &i64| {
            let centre = if *label == 0 { -1.0 } else { 1.0 };
            [
                centre + rng.random_range(-0.8..0.8),
                centre + rng.random_range(-0.8..0.8),
            ]
        };
        Self {
            points: labels.iter().map(&mut point).collect(),
            labels,
        }
    }

    pub(crate) fn inputs(&self, indices: &[usize], device: &Device) -> Tensor<2> {
        let values: Vec<f32> = indices.iter().flat_map(|&i| self.points[i]).collect();
        Tensor::from_data(TensorData::new(values, [indices.len(), 2]), device)
    }

    pub(crate) fn labels(&self, indices: &[usize]) -> Labels {
        let labels: Vec<i64> = indices.iter().map(|&i| self.labels[i]).collect();
        Labels::new(&labels, 2).unwrap()
    }

    pub(crate) fn loss(&self, model: &Mlp, batch: &Batch) -> Result<Tensor<1>> {
        let inputs = self.inputs(&batch.indices, &device().autodiff());
        self.labels(&batch.indices)
            .cross_entropy(model.forward(inputs), 0.0)
    }
}

/// Stripes, upright or level, of 6 by 6 pixels, cropped by the batch's seeds.
pub(crate) fn stripes_loss(model: &ConvNet, batch: &Batch) -> Result<Tensor<1>> {
    let mut values = Vec::new();
    for (position, &sample) in batch.indices.iter().enumerate() {
        let image: Vec<f32> = (0..36)
            .map(|at| {
                let (y, x) = (at / 6, at % 6);
                let along = if sample % 2 == 0 { x } else { y };
                ((along + sample) % 3) as f32 + ((at * 7 + sample * 13) % 11) as f32 / 20.0
            })
            .collect();
        let crop = Crop {
            padding: 1,
            ..Crop::default()
        };
        values.extend(crop.apply(&image, [1, 6, 6], batch.sample_seed(position))?);
    }
    let images = TensorData::new(values, [batch.indices.len(), 1, 6, 6]);
    let images = Tensor::from_data(images, &device().autodiff());
    let labels: Vec<i64> = batch.indices.iter().map(|&i| i as i64 % 2).collect();
    Labels::new(&labels, 2)?.cross_entropy(model.forward(images), 0.1)
}

/// Sentences of 6 tokens that count upwards modulo 7 from the sample's number.
pub(crate) fn counting_loss(model: &BigramLm, batch: &Batch) -> Result<Tensor<1>> {
    let tokens = |offset: usize| -> Vec<i64> {
        let sentence = |&sample: &usize| (0..6).map(move |at| ((sample + at + offset) % 7) as i64);
        batch.indices.iter().flat_map(sentence).collect()
    };
    let inputs = TensorData::new(tokens(0), [batch.indices.len(), 6]);
    let inputs = Tensor::from_data(inputs, &device().autodiff());
    let logits: Tensor<2> = model.forward(inputs).reshape([-1, 7]);
    Labels::new(&tokens(1), 7)?.cross_entropy(logits, 0.0)
}

/// All float tensors of a module, running statistics included, by path.
pub(crate) fn tensors<M: Module>(model: &M) -> Vec<(String, TensorData)> {
    struct Visitor(Vec<String>, Vec<(String, TensorData)>);
    impl ModuleVisitor for Visitor {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.0.push(name.to_owned());
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.0.pop();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.1.push((self.0.join("."), param.val().to_data()));
        }
    }
    let mut visitor = Visitor(Vec::new(), Vec::new());
    model.valid().visit(&mut visitor);
    visitor.1
}
