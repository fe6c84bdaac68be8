//! The norm and the feed-forward layers.

use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::tensor::activation::{gelu, gelu_approximate, relu, silu};
use burn::tensor::module::layer_norm;
use burn::tensor::{Device, Tensor};

use super::config::{Activation, LmConfig, Norm};
use super::weights::{Part, Place, Weights};
use crate::Result;

/// LayerNorm or RMSNorm over the last axis.
#[derive(Module, Debug)]
pub struct NormLayer {
    /// One factor per axis.
    pub gain: Param<Tensor<1>>,
    /// One summand per axis; RMSNorm has none.
    pub bias: Option<Param<Tensor<1>>>,
    #[module(skip)]
    norm: Norm,
}

/// The feed-forward half of a block: `down(act(up(x)))`, or with a gate `down(act(gate(x)) * up(x))`.
#[derive(Module, Debug)]
pub struct FeedForward {
    /// What opens the hidden units, in gated networks.
    pub gate: Option<Linear>,
    /// To the hidden width.
    pub up: Linear,
    /// Back to the model's width.
    pub down: Linear,
    #[module(skip)]
    activation: Activation,
}

impl NormLayer {
    pub(super) fn new(
        config: &LmConfig,
        place: Place,
        weights: &mut dyn Weights,
        device: &Device,
    ) -> Result<Self> {
        let gain = weights.gain(place, config.width)?.to_tensor(device)?;
        let bias = match config.norm {
            Norm::Rms { .. } => None,
            Norm::Layer { .. } => Some(weights.bias(place, config.width)?.to_tensor(device)?),
        };
        Ok(Self {
            gain: Param::from_tensor(gain),
            bias: bias.map(Param::from_tensor),
            norm: config.norm,
        })
    }

    /// Normalises `[tokens, width]`.
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        match self.norm {
            Norm::Rms { epsilon } => {
                let mean = x.clone().square().mean_dim(1);
                x * (mean + epsilon).sqrt().recip() * self.gain.val().unsqueeze()
            }
            Norm::Layer { epsilon } => {
                let bias = self.bias.as_ref().map(Param::val);
                layer_norm(x, self.gain.val(), bias, epsilon)
            }
        }
    }
}

impl FeedForward {
    pub(super) fn new(
        config: &LmConfig,
        block: usize,
        weights: &mut dyn Weights,
        device: &Device,
    ) -> Result<Self> {
        let mut layer = |part, inputs, outputs| {
            let place = Place::Block(block, part);
            linear(
                weights,
                place,
                [inputs, outputs],
                config.feed_forward_bias,
                device,
            )
        };
        let (width, hidden) = (config.width, config.feed_forward);
        Ok(Self {
            gate: match config.activation {
                Activation::SiluGated => Some(layer(Part::Gate, width, hidden)?),
                _ => None,
            },
            up: layer(Part::Up, width, hidden)?,
            down: layer(Part::Down, hidden, width)?,
            activation: config.activation,
        })
    }

    /// Maps `[tokens, width]` to the same shape.
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let hidden = match &self.gate {
            Some(gate) => silu(gate.forward(x.clone())) * self.up.forward(x),
            None => {
                let hidden = self.up.forward(x);
                match self.activation {
                    Activation::SiluGated => silu(hidden),
                    Activation::GeluErf => gelu(hidden),
                    Activation::GeluTanh => gelu_approximate(hidden),
                    Activation::Relu => relu(hidden),
                }
            }
        };
        self.down.forward(hidden)
    }
}

/// A linear layer `[inputs, outputs]` from its weights on the host.
pub(super) fn linear(
    weights: &mut dyn Weights,
    place: Place,
    [inputs, outputs]: [usize; 2],
    bias: bool,
    device: &Device,
) -> Result<Linear> {
    let weight = weights
        .matrix(place, [inputs, outputs])?
        .to_tensor(device)?;
    let bias = match bias {
        true => Some(weights.bias(place, outputs)?.to_tensor(device)?),
        false => None,
    };
    Ok(Linear {
        weight: Param::from_tensor(weight),
        bias: bias.map(Param::from_tensor),
    })
}
