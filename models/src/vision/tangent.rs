//! Forward-mode derivatives: how the logits of a batch change when the weights move in a direction.
//!
//! Every activation carries its derivative `d/de activation(theta + e direction)` at 0 along. One pass gives logits and
//! derivative together, without a tape, at three products a layer instead of one. Batch normalisation is in training
//! mode: mean and variance are differentiated too.

use burn::tensor::Tensor;
use burn::tensor::activation::{gelu, leaky_relu, relu};
use std::f64::consts::{PI, SQRT_2};

use super::TangentClassifier;
use super::forward::{Activation, Held, add, each, rearrange};
use super::network::Network;
use super::operations as op;
use super::topology::Operation;
use crate::parameters::Parameters;
use crate::{Error, Result};

/// An activation and its derivative; nothing stands for zero.
#[derive(Clone)]
struct Dual {
    value: Activation,
    tangent: Option<Activation>,
}

impl TangentClassifier for Network {
    fn logits_tangent(
        &self,
        direction: &Parameters,
        images: Tensor<4>,
    ) -> Result<(Tensor<2>, Tensor<2>)> {
        self.check_images(&images)?;
        let own = self.parameters();
        for name in direction.names() {
            if own.shape(name) != direction.shape(name) {
                return Err(Error::Parameter {
                    name: name.to_owned(),
                    reason: format!(
                        "has the shape {:?} in the direction and {:?} in the network",
                        direction.shape(name),
                        own.shape(name)
                    ),
                });
            }
        }
        let plain = burn::module::Module::valid(self);
        let images = images.without_autodiff();
        let device = plain.device().without_autodiff();
        let direction = direction.to_device(&device);
        let nodes = plain.topology().nodes();
        let mut held: Held<Dual> = Held::new(nodes);
        for (position, node) in nodes.iter().enumerate() {
            let at = At {
                network: &plain,
                direction: &direction,
                position,
            };
            let dual = match node.operation {
                Operation::Input => Dual {
                    value: Activation::Image(images.clone()),
                    tangent: None,
                },
                Operation::Add => {
                    let (a, b): (Dual, Dual) =
                        (held.take(node.inputs[0])?, held.take(node.inputs[1])?);
                    Dual {
                        value: add(a.value, b.value)?,
                        tangent: plus(a.tangent, b.tangent)?,
                    }
                }
                _ => at.apply(held.take(node.inputs[0])?)?,
            };
            held.put(position, dual);
        }
        let Dual { value, tangent } = held.take(plain.topology().output())?;
        let logits = value.vector("output")?;
        let tangent = match tangent {
            Some(tangent) => tangent.vector("output")?,
            None => logits.zeros_like(),
        };
        Ok((logits, tangent))
    }
}

/// A node, its weights and their direction.
struct At<'n> {
    network: &'n Network,
    direction: &'n Parameters,
    position: usize,
}

impl At<'_> {
    fn weight<const D: usize>(&self, n: usize) -> Result<Tensor<D>> {
        self.network.tensor(self.position, n)
    }

    /// Direction of tensor `n`, or nothing where it does not move.
    fn moved<const D: usize>(&self, n: usize) -> Result<Option<Tensor<D>>> {
        let topology = self.network.topology();
        let tensor = topology.nodes()[self.position].tensors.get(n);
        let Some(name) = tensor.map(|&tensor| &topology.tensors()[tensor].name) else {
            return Ok(None);
        };
        let present = self.direction.shape(name).is_some();
        present.then(|| self.direction.tensor(name)).transpose()
    }

    fn apply(&self, Dual { value: x, tangent }: Dual) -> Result<Dual> {
        use Activation::Image;
        let node = &self.network.topology().nodes()[self.position];
        let name = &node.name;
        let (value, tangent) = match node.operation {
            Operation::Conv2d { stride, padding } => {
                let x = x.image(name)?;
                let tangent = tangent.map(|tangent| tangent.image(name)).transpose()?;
                let weight = self.weight::<4>(0)?;
                let convolve = |x, weight, bias| op::convolve(x, weight, bias, stride, padding);
                let moved = self.moved::<4>(0)?;
                let by_weight = moved.map(|moved| convolve(x.clone(), moved, None));
                let by_input = tangent.map(|tangent| convolve(tangent, weight.clone(), None));
                let by_bias = self.moved(1)?.map(op::per_channel);
                let bias = self.network.optional_bias(self.position)?;
                let value = convolve(x, weight, bias);
                let tangent = broadcast_sum([by_weight, by_input], by_bias, &value);
                (Image(value), tangent.map(Image))
            }
            Operation::Linear => self.linear([0, 1], name, x, tangent)?,
            Operation::BatchNorm { epsilon, .. } => {
                let tangent = tangent.map(|tangent| tangent.image(name)).transpose()?;
                let (value, tangent) = self.batch_norm(x.image(name)?, tangent, epsilon)?;
                (Image(value), Some(Image(tangent)))
            }
            Operation::LayerNorm { epsilon } => match (x, tangent) {
                (Activation::Tokens(x), tangent) => {
                    let tangent = tangent.map(|tangent| tangent.tokens(name)).transpose()?;
                    let (value, tangent) = self.layer_norm(x, tangent, epsilon)?;
                    (Activation::Tokens(value), Some(Activation::Tokens(tangent)))
                }
                (x, tangent) => {
                    let tangent = tangent.map(|tangent| tangent.vector(name)).transpose()?;
                    let (value, tangent) = self.layer_norm(x.vector(name)?, tangent, epsilon)?;
                    (Activation::Vector(value), Some(Activation::Vector(tangent)))
                }
            },
            Operation::Relu => {
                let tangent = times(tangent, each!(x.clone(), x => slopes(x, 0.0)))?;
                (each!(x, x => relu(x)), tangent)
            }
            Operation::LeakyRelu { slope } => {
                let tangent = times(tangent, each!(x.clone(), x => slopes(x, slope)))?;
                (each!(x, x => leaky_relu(x, slope)), tangent)
            }
            Operation::Gelu => {
                let derivative = each!(x.clone(), x => {
                    let below = x.clone().div_scalar(SQRT_2).erf().add_scalar(1.0).div_scalar(2.0);
                    let density = x.clone().square().div_scalar(-2.0).exp().div_scalar((2.0 * PI).sqrt());
                    below + x * density
                });
                (each!(x, x => gelu(x)), times(tangent, derivative)?)
            }
            Operation::MaxPool {
                kernel,
                stride,
                padding,
            } => {
                let (value, positions) = op::max_pool(x.image(name)?, [kernel, stride, padding]);
                let tangent = tangent.map(|tangent| tangent.image(name)).transpose()?;
                let tangent = tangent.map(|tangent| op::at_positions(tangent, positions));
                (Image(value), tangent.map(Image))
            }
            Operation::Tokens => {
                let join =
                    |x: Tensor<3>, class: Option<Tensor<3>>, positions: Option<Tensor<3>>| {
                        let [batch, _, width] = x.dims();
                        let class = match class {
                            Some(class) => class.expand([batch, 1, width]),
                            None => x.clone().narrow(1, 0, 1).zeros_like(),
                        };
                        let joined = Tensor::cat(vec![class, x], 1);
                        match positions {
                            Some(positions) => joined + positions,
                            None => joined,
                        }
                    };
                let x = op::tokens(x.image(name)?);
                let tangent = match tangent {
                    Some(tangent) => op::tokens(tangent.image(name)?),
                    None => x.zeros_like(),
                };
                let value = join(x, Some(self.weight(0)?), Some(self.weight(1)?));
                let tangent = join(tangent, self.moved(0)?, self.moved(1)?);
                (Activation::Tokens(value), Some(Activation::Tokens(tangent)))
            }
            Operation::Attention { heads } => self.attention(heads, name, x, tangent)?,
            _ => {
                let tangent = tangent
                    .map(|tangent| rearrange(node, tangent))
                    .transpose()?;
                (rearrange(node, x)?, tangent)
            }
        };
        Ok(Dual { value, tangent })
    }

    fn linear(
        &self,
        [weight, bias]: [usize; 2],
        name: &str,
        x: Activation,
        tangent: Option<Activation>,
    ) -> Result<(Activation, Option<Activation>)> {
        match x {
            Activation::Vector(x) => {
                let tangent = tangent.map(|tangent| tangent.vector(name)).transpose()?;
                let (value, tangent) = self.product([weight, bias], x, tangent)?;
                Ok((Activation::Vector(value), tangent.map(Activation::Vector)))
            }
            other => {
                let tangent = tangent.map(|tangent| tangent.tokens(name)).transpose()?;
                let (value, tangent) =
                    self.product([weight, bias], other.tokens(name)?, tangent)?;
                Ok((Activation::Tokens(value), tangent.map(Activation::Tokens)))
            }
        }
    }

    fn product<const D: usize>(
        &self,
        [weight, bias]: [usize; 2],
        x: Tensor<D>,
        tangent: Option<Tensor<D>>,
    ) -> Result<(Tensor<D>, Option<Tensor<D>>)> {
        let matrix = self.weight::<2>(weight)?;
        let moved = self.moved::<2>(weight)?;
        let by_weight = moved.map(|moved| op::linear(x.clone(), moved, None));
        let by_input = tangent.map(|tangent| op::linear(tangent, matrix.clone(), None));
        let by_bias = self.moved::<1>(bias)?.map(|moved| moved.unsqueeze());
        let value = op::linear(x, matrix, Some(self.weight(bias)?));
        let tangent = broadcast_sum([by_weight, by_input], by_bias, &value);
        Ok((value, tangent))
    }

    /// With `xhat = (x - mean) / s` and `c = xdot - mean(xdot)`: `xhatdot = (c - xhat mean(xhat c)) / s`.
    fn batch_norm(
        &self,
        x: Tensor<4>,
        tangent: Option<Tensor<4>>,
        epsilon: f64,
    ) -> Result<(Tensor<4>, Tensor<4>)> {
        let [batch, _, height, width] = x.dims();
        if batch * height * width < 2 {
            return Err(Error::InvalidInput {
                reason: "a batch normalisation by a batch with one value a channel".to_owned(),
            });
        }
        let centred = x.clone() - op::channel_mean(x);
        let variance = op::channel_mean(centred.clone().square());
        let deviation = variance.add_scalar(epsilon).sqrt();
        let standard = centred / deviation.clone();
        let standard_tangent = tangent.map(|tangent| {
            let centred = tangent.clone() - op::channel_mean(tangent);
            let along = op::channel_mean(standard.clone() * centred.clone());
            (centred - standard.clone() * along) / deviation
        });
        self.scale_and_shift(standard, standard_tangent, op::per_channel)
    }

    /// As [`At::batch_norm`], over the last axis.
    fn layer_norm<const D: usize>(
        &self,
        x: Tensor<D>,
        tangent: Option<Tensor<D>>,
        epsilon: f64,
    ) -> Result<(Tensor<D>, Tensor<D>)> {
        let (standard, deviation) = op::standardise(x, epsilon);
        let standard_tangent = tangent.map(|tangent| {
            let centred = tangent.clone() - tangent.mean_dim(D - 1);
            let along = (standard.clone() * centred.clone()).mean_dim(D - 1);
            (centred - standard.clone() * along) / deviation
        });
        self.scale_and_shift(standard, standard_tangent, |values| values.unsqueeze())
    }

    fn scale_and_shift<const D: usize>(
        &self,
        standard: Tensor<D>,
        tangent: Option<Tensor<D>>,
        spread: impl Fn(Tensor<1>) -> Tensor<D>,
    ) -> Result<(Tensor<D>, Tensor<D>)> {
        let (weight, bias) = (spread(self.weight(0)?), spread(self.weight(1)?));
        let by_weight = self.moved(0)?.map(|moved| standard.clone() * spread(moved));
        let by_input = tangent.map(|tangent| tangent * weight.clone());
        let by_bias = self.moved(1)?.map(&spread);
        let value = standard * weight + bias;
        let tangent = broadcast_sum([by_weight, by_input], by_bias, &value);
        let tangent = tangent.unwrap_or_else(|| value.zeros_like());
        Ok((value, tangent))
    }

    fn attention(
        &self,
        heads: usize,
        name: &str,
        x: Activation,
        tangent: Option<Activation>,
    ) -> Result<(Activation, Option<Activation>)> {
        let tangent = tangent.map(|tangent| tangent.tokens(name)).transpose()?;
        let (projected, tangent) = self.product([0, 1], x.tokens(name)?, tangent)?;
        let tangent = tangent.unwrap_or_else(|| projected.zeros_like());
        let own = op::Heads::split(projected, heads);
        let moved = op::Heads::split(tangent, heads);
        let weights = own.weights();
        let scores = op::scores(moved.query, own.key) + op::scores(own.query, moved.key);
        let weighted = weights.clone() * scores;
        let moved_weights = weighted.clone() - weights.clone() * weighted.sum_dim(3);
        let read = weights.clone().matmul(own.value.clone());
        let moved_read = moved_weights.matmul(own.value) + weights.matmul(moved.value);
        let (read, moved_read) = (op::join_heads(read), op::join_heads(moved_read));
        let (value, tangent) = self.product([2, 3], read, Some(moved_read))?;
        Ok((Activation::Tokens(value), tangent.map(Activation::Tokens)))
    }
}

/// Sum of what is there, with a last term that may have to be spread to the shape of `like`.
fn broadcast_sum<const D: usize>(
    terms: [Option<Tensor<D>>; 2],
    last: Option<Tensor<D>>,
    like: &Tensor<D>,
) -> Option<Tensor<D>> {
    let sum = terms.into_iter().flatten().reduce(|a, b| a + b);
    match (sum, last) {
        (Some(sum), Some(last)) => Some(sum + last),
        (None, Some(last)) => Some(last.expand(like.shape())),
        (sum, None) => sum,
    }
}

fn plus(a: Option<Activation>, b: Option<Activation>) -> Result<Option<Activation>> {
    match (a, b) {
        (Some(a), Some(b)) => add(a, b).map(Some),
        (a, b) => Ok(a.or(b)),
    }
}

/// Derivative of the (leaky) ReLU: 1 where positive, else `negative`.
fn slopes<const D: usize>(x: Tensor<D>, negative: f64) -> Tensor<D> {
    x.ones_like().mask_fill(x.lower_equal_scalar(0.0), negative)
}

/// Elementwise product with a derivative.
fn times(tangent: Option<Activation>, derivative: Activation) -> Result<Option<Activation>> {
    let product = |tangent: Activation| -> Result<Activation> {
        Ok(match (tangent, derivative) {
            (Activation::Image(a), Activation::Image(b)) => Activation::Image(a * b),
            (Activation::Tokens(a), Activation::Tokens(b)) => Activation::Tokens(a * b),
            (Activation::Vector(a), Activation::Vector(b)) => Activation::Vector(a * b),
            _ => {
                return Err(Error::InvalidInput {
                    reason: "a derivative of another kind than its activation".to_owned(),
                });
            }
        })
    };
    tangent.map(product).transpose()
}
