//! A fully connected network with smooth activations, which also carries derivatives forward.

use burn::config::Config;
use burn::module::{Module, Param};
use burn::tensor::activation::sigmoid;
use burn::tensor::{Device, Tensor, TensorData};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::generator::{Generator, Jet, Jets};
use super::host;
use super::softplus::softplus;
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
    /// What stands behind the last layer.
    #[config(default = "Output::Linear")]
    pub output: Output,
}

/// What stands behind the last layer.
#[derive(Config, Debug, Copy, PartialEq, Eq)]
pub enum Output {
    /// Nothing: outputs are any numbers.
    Linear,
    /// The logistic function: outputs lie between 0 and 1, as pixels do.
    Sigmoid,
}

/// A fully connected network; softplus behind every layer but the last makes it smooth.
#[derive(Module, Debug)]
pub struct Mlp {
    layers: Vec<Affine>,
    inputs: usize,
    outputs: usize,
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
    /// A network with weights and biases drawn uniformly from plus or minus one over the root of a layer's inputs. The same seed gives the same
    /// network on every device.
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
            .map(|size| Affine::new(size[0], size[1], &mut rng, device));
        Ok(Mlp {
            layers: layers.collect(),
            inputs: self.inputs,
            outputs: self.outputs,
            sigmoid: self.output == Output::Sigmoid,
        })
    }
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
            if i < last { softplus(y) } else { y }
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
            if i < last { softplus_jet(jet) } else { jet }
        });
        match self.sigmoid {
            true => sigmoid_jet(jet),
            false => jet,
        }
    }
}

impl Affine {
    /// A map with weights and biases drawn uniformly from plus or minus one over the root of the inputs.
    pub(super) fn new(
        inputs: usize,
        outputs: usize,
        rng: &mut ChaCha8Rng,
        device: &Device,
    ) -> Self {
        let bound = 1.0 / (inputs as f32).sqrt();
        let mut draw = |count: usize| -> Vec<f32> {
            let numbers = host::uniform(count, rng).into_iter();
            numbers.map(|number| number * bound).collect()
        };
        let weight = host::rows(draw(inputs * outputs), outputs, device);
        let bias = TensorData::new(draw(outputs), [outputs]);
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
