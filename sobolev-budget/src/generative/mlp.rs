//! A fully connected network, which also carries derivatives forward.

use burn::config::Config;
use burn::module::{Module, Param};
use burn::tensor::activation::sigmoid;
use burn::tensor::{Device, Tensor, TensorData};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::activation::{LEAK, leaky_relu, leaky_slope, softplus};
use super::generator::{Generator, Jet, Jets};
use super::host;
use crate::Result;

/// Settings of an [`Mlp`].
#[derive(Config, Debug, PartialEq, Eq)]
pub struct MlpConfig {
    /// Dimensions of what goes in.
    pub inputs: usize,
    /// Dimensions of what comes out.
    pub outputs: usize,
    /// Widths of the hidden layers.
    #[config(default = "vec![128, 128]")]
    pub widths: Vec<usize>,
    /// What stands behind every layer but the last.
    #[config(default = "Activation::Softplus")]
    pub activation: Activation,
    /// What stands behind the last layer.
    #[config(default = "Output::Linear")]
    pub output: Output,
}

/// What stands behind every layer but the last.
#[derive(Config, Debug, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `ln(1 + e^x)`, which is smooth: the network has derivatives of every order.
    Softplus,
    /// The identity, with a slope of 0.2 below 0: what networks need that play against each other. On digits the generator of a game hardly leaves
    /// its start with softplus, whatever the size of the first weights, while leaky ReLU with weights that keep the size of what goes through (see
    /// [`MlpConfig::init`]) comes near them in some thousand steps.
    ///
    /// It does not bend outside its kink. Exact second derivatives ([`Jets`]) are therefore, almost everywhere, those of what stands behind the last
    /// layer alone, and 0 if nothing does; a difference of finite step sees the kinks within its reach, too.
    LeakyRelu,
}

/// What stands behind the last layer.
#[derive(Config, Debug, Copy, PartialEq, Eq)]
pub enum Output {
    /// Nothing: outputs are any numbers.
    Linear,
    /// The logistic function: outputs lie between 0 and 1, as pixels do.
    Sigmoid,
}

/// A fully connected network.
#[derive(Module, Debug)]
pub struct Mlp {
    layers: Vec<Affine>,
    inputs: usize,
    outputs: usize,
    leaky: bool,
    sigmoid: bool,
}

/// An affine map of rows, `x W + b`.
#[derive(Module, Debug)]
pub(super) struct Affine {
    /// `[inputs, outputs]`
    weight: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
}

impl MlpConfig {
    /// A network with weights and biases drawn uniformly from plus or minus one over the root of a layer's inputs; with leaky ReLU, weights are
    /// larger by the root of 6 / (1 + 0.2^2), which keeps the mean square of what goes through (He et al., arXiv 1502.01852), and biases are 0. The
    /// same seed gives the same network on every device.
    ///
    /// # Errors
    /// [`Error::Parameter`](crate::Error::Parameter) if a width is 0.
    pub fn init(&self, seed: u64, device: &Device) -> Result<Mlp> {
        host::at_least_one("the number of inputs", self.inputs)?;
        host::at_least_one("the number of outputs", self.outputs)?;
        for &width in &self.widths {
            host::at_least_one("the width of a hidden layer", width)?;
        }
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let sizes = [&[self.inputs], &self.widths[..], &[self.outputs]].concat();
        let layers = sizes
            .windows(2)
            .map(|size| Affine::new(size[0], size[1], self.activation, &mut rng, device));
        Ok(Mlp {
            layers: layers.collect(),
            inputs: self.inputs,
            outputs: self.outputs,
            leaky: self.activation == Activation::LeakyRelu,
            sigmoid: self.output == Output::Sigmoid,
        })
    }
}

impl Activation {
    /// Weights of a layer that so many numbers enter.
    pub(super) fn weights(self, count: usize, inputs: usize, rng: &mut ChaCha8Rng) -> Vec<f32> {
        let bound = 1.0 / (inputs as f32).sqrt();
        let bound = match self {
            Self::Softplus => bound,
            Self::LeakyRelu => bound * (6.0 / (1.0 + LEAK * LEAK)).sqrt() as f32,
        };
        scaled(count, bound, rng)
    }

    /// Biases of such a layer.
    pub(super) fn biases(self, count: usize, inputs: usize, rng: &mut ChaCha8Rng) -> Vec<f32> {
        match self {
            Self::Softplus => scaled(count, 1.0 / (inputs as f32).sqrt(), rng),
            Self::LeakyRelu => vec![0.0; count],
        }
    }
}

/// Numbers drawn uniformly between plus and minus a bound.
fn scaled(count: usize, bound: f32, rng: &mut ChaCha8Rng) -> Vec<f32> {
    let numbers = host::uniform(count, rng).into_iter();
    numbers.map(|number| number * bound).collect()
}

impl Generator for Mlp {
    fn latents(&self) -> usize {
        self.inputs
    }

    fn outputs(&self) -> usize {
        self.outputs
    }

    fn forward(&self, latents: Tensor<2>) -> Tensor<2> {
        let last = self.layers.len() - 1;
        let layers = self.layers.iter().enumerate();
        let y = layers.fold(latents, |x, (i, layer)| {
            let y = layer.forward(x);
            match (i < last, self.leaky) {
                (false, _) => y,
                (true, false) => softplus(y),
                (true, true) => leaky_relu(y),
            }
        });
        if self.sigmoid { sigmoid(y) } else { y }
    }
}

impl Jets for Mlp {
    fn jet(&self, latents: Tensor<2>, directions: Tensor<2>) -> Jet {
        let start = Jet {
            second: latents.zeros_like(),
            value: latents,
            first: directions,
        };
        let last = self.layers.len() - 1;
        let layers = self.layers.iter().enumerate();
        let jet = layers.fold(start, |jet, (i, layer)| {
            let jet = layer.jet(jet);
            match (i < last, self.leaky) {
                (false, _) => jet,
                (true, false) => softplus_jet(jet),
                (true, true) => leaky_jet(jet),
            }
        });
        match self.sigmoid {
            true => sigmoid_jet(jet),
            false => jet,
        }
    }
}

impl Affine {
    /// A map of a network with this activation, as [`MlpConfig::init`] draws it.
    pub(super) fn new(
        inputs: usize,
        outputs: usize,
        activation: Activation,
        rng: &mut ChaCha8Rng,
        device: &Device,
    ) -> Self {
        let weight = activation.weights(inputs * outputs, inputs, rng);
        let weight = host::rows(weight, outputs, device);
        let bias = TensorData::new(activation.biases(outputs, inputs, rng), [outputs]);
        Self {
            weight: Param::from_tensor(weight),
            bias: Param::from_tensor(Tensor::from_data(bias, device)),
        }
    }

    pub(super) fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        x.matmul(self.weight.val()) + self.bias.val().unsqueeze()
    }

    fn jet(&self, jet: Jet) -> Jet {
        Jet {
            value: self.forward(jet.value),
            first: jet.first.matmul(self.weight.val()),
            second: jet.second.matmul(self.weight.val()),
        }
    }
}

/// The derivatives of softplus are `s` and `s (1 - s)` with the logistic function `s`.
fn softplus_jet(jet: Jet) -> Jet {
    let s = sigmoid(jet.value.clone());
    let bend = s.clone() - s.clone().square();
    compose(softplus(jet.value.clone()), s, bend, jet)
}

/// The slope is constant on either side of the kink, and the second derivative 0.
fn leaky_jet(jet: Jet) -> Jet {
    let slope = leaky_slope(&jet.value);
    Jet {
        value: jet.value * slope.clone(),
        first: jet.first * slope.clone(),
        second: jet.second * slope,
    }
}

/// The derivatives of the logistic function `s` are `s (1 - s)` and `s (1 - s) (1 - 2 s)`.
fn sigmoid_jet(jet: Jet) -> Jet {
    let s = sigmoid(jet.value.clone());
    let slope = s.clone() - s.clone().square();
    let bend = slope.clone() - slope.clone() * s.clone() * 2.0;
    compose(s, slope, bend, jet)
}

/// The chain rule for a function of every entry, given its value, slope and second derivative.
fn compose(value: Tensor<2>, slope: Tensor<2>, bend: Tensor<2>, jet: Jet) -> Jet {
    Jet {
        value,
        second: bend * jet.first.clone().square() + slope.clone() * jet.second,
        first: slope * jet.first,
    }
}
