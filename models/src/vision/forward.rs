//! Evaluation of a network: node after node, with whatever the caller wants to see on the way.

use burn::tensor::activation::{gelu, leaky_relu, relu};
use burn::tensor::{Device, Tensor};

use super::batch_norm::{BatchStatistics, LayerStatistics};
use super::network::Network;
use super::operations as op;
use super::topology::{Node, Operation};
use super::{Classifier, Mode};
use crate::{Error, Result};

/// What a node puts out for a batch.
#[derive(Clone, Debug)]
pub enum Activation {
    /// `[batch, channels, height, width]`.
    Image(Tensor<4>),
    /// `[batch, tokens, width]`.
    Tokens(Tensor<3>),
    /// `[batch, width]`.
    Vector(Tensor<2>),
}

/// The same function of an activation of any kind.
macro_rules! each {
    ($activation:expr, $x:ident => $result:expr) => {
        match $activation {
            Activation::Image($x) => Activation::Image($result),
            Activation::Tokens($x) => Activation::Tokens($result),
            Activation::Vector($x) => Activation::Vector($result),
        }
    };
}
pub(super) use each;

/// Sees a node and its output.
type Tap<'t> = dyn FnMut(&Node, &Activation) + 't;

/// What an evaluation does beside computing.
struct Pass<'p> {
    mode: Mode,
    /// The last node to evaluate.
    last: usize,
    /// Sees every node's output.
    tap: Option<&'p mut Tap<'p>>,
    /// Receives the statistics of every batch normalisation.
    statistics: Option<&'p mut BatchStatistics>,
}

impl Pass<'_> {
    /// The ReLU behind a node, if nobody else sees what the node puts out: both can be done at once.
    fn rectified(&self, nodes: &[Node], position: usize, held: &Held<Activation>) -> Option<usize> {
        let next = nodes.get(position + 1)?;
        let fits = matches!(next.operation, Operation::Relu)
            && next.inputs == [position]
            && held.readers[position] == 1
            && self.tap.is_none();
        fits.then_some(position + 1)
    }
}

impl Classifier for Network {
    fn classes(&self) -> usize {
        self.topology().classes()
    }

    fn input_shape(&self) -> [usize; 3] {
        self.topology().input_shape()
    }

    fn logits(&self, images: Tensor<4>, mode: Mode) -> Result<Tensor<2>> {
        let output = self.topology().output();
        self.evaluate_until(output, images, mode)?.vector("output")
    }

    fn features(&self, images: Tensor<4>, mode: Mode) -> Result<Tensor<2>> {
        let features = self.topology().features();
        self.evaluate_until(features, images, mode)?
            .vector("features")
    }

    fn trace(
        &self,
        images: Tensor<4>,
        mode: Mode,
        tap: &mut dyn FnMut(&Node, &Activation),
    ) -> Result<Tensor<2>> {
        let pass = Pass {
            mode,
            last: self.topology().output(),
            tap: Some(tap),
            statistics: None,
        };
        self.evaluate(images, pass)?.vector("output")
    }
}

impl Network {
    /// Logits in training mode, and the statistics of every batch normalisation, for [`Network::with_running_update`].
    ///
    /// # Errors
    ///
    /// Those of [`Classifier::logits`].
    pub fn logits_with_statistics(
        &self,
        images: Tensor<4>,
    ) -> Result<(Tensor<2>, BatchStatistics)> {
        let mut statistics = BatchStatistics::default();
        let pass = Pass {
            mode: Mode::Train,
            last: self.topology().output(),
            tap: None,
            statistics: Some(&mut statistics),
        };
        let logits = self.evaluate(images, pass)?.vector("output")?;
        Ok((logits, statistics))
    }

    pub(super) fn evaluate_until(
        &self,
        last: usize,
        images: Tensor<4>,
        mode: Mode,
    ) -> Result<Activation> {
        let pass = Pass {
            mode,
            last,
            tap: None,
            statistics: None,
        };
        self.evaluate(images, pass)
    }

    fn evaluate(&self, images: Tensor<4>, mut pass: Pass<'_>) -> Result<Activation> {
        self.check_images(&images)?;
        let nodes = &self.topology().nodes()[..=pass.last];
        let mut held: Held<Activation> = Held::new(nodes);
        // The ReLU that the normalisation before it has done.
        let mut done = None;
        for (position, node) in nodes.iter().enumerate() {
            let output = match node.operation {
                Operation::Input => Activation::Image(images.clone()),
                Operation::BatchNorm { epsilon, .. } if pass.mode == Mode::Train => {
                    let x = held.take(node.inputs[0])?.image(&node.name)?;
                    done = pass.rectified(nodes, position, &held);
                    let rectify = done.is_some();
                    let (output, layer) = self.normalise_by_batch(position, x, epsilon, rectify)?;
                    if let Some(statistics) = &mut pass.statistics {
                        statistics.layers.push(layer);
                    }
                    Activation::Image(output)
                }
                Operation::BatchNorm { epsilon, .. } => {
                    let x = held.take(node.inputs[0])?.image(&node.name)?;
                    done = pass.rectified(nodes, position, &held);
                    let rectify = done.is_some();
                    Activation::Image(self.normalise_by_running(position, x, epsilon, rectify)?)
                }
                Operation::Relu if done == Some(position) => held.take(node.inputs[0])?,
                Operation::Add => add(held.take(node.inputs[0])?, held.take(node.inputs[1])?)?,
                _ => self.apply(position, held.take(node.inputs[0])?)?,
            };
            if let Some(tap) = &mut pass.tap {
                tap(node, &output);
            }
            held.put(position, output);
        }
        held.take(pass.last)
    }

    /// A batch normalisation in training mode.
    fn normalise_by_batch(
        &self,
        position: usize,
        x: Tensor<4>,
        epsilon: f64,
        rectify: bool,
    ) -> Result<(Tensor<4>, LayerStatistics)> {
        let name = &self.topology().nodes()[position].name;
        let [batch, _, height, width] = x.dims();
        let count = batch * height * width;
        if count < 2 {
            return Err(Error::InvalidInput {
                reason: format!("`{name}` normalises by the batch, which has one value a channel"),
            });
        }
        let [weight, bias] = [self.tensor(position, 0)?, self.tensor(position, 1)?];
        let (output, statistics) = op::normalise_by_batch(x, weight, bias, epsilon, rectify);
        let [mean, variance] = statistics.map(|statistic| statistic.without_autodiff());
        let layer = LayerStatistics {
            name: name.clone(),
            mean,
            variance,
            count,
        };
        Ok((output, layer))
    }

    /// A batch normalisation in evaluation mode.
    fn normalise_by_running(
        &self,
        position: usize,
        x: Tensor<4>,
        epsilon: f64,
        rectify: bool,
    ) -> Result<Tensor<4>> {
        let statistic = |n| Ok::<_, Error>(self.tensor::<1>(position, n)?.detach());
        let tensors = [
            self.tensor(position, 0)?,
            self.tensor(position, 1)?,
            statistic(2)?,
            statistic(3)?,
        ];
        Ok(op::normalise(x, tensors, epsilon, rectify))
    }

    /// An operation of one input but batch normalisation, which is the only one with two modes.
    fn apply(&self, position: usize, x: Activation) -> Result<Activation> {
        use Activation::{Image, Tokens, Vector};
        let node = &self.topology().nodes()[position];
        let name = &node.name;
        Ok(match node.operation {
            Operation::Conv2d { stride, padding } => {
                let bias = self.optional_bias(position)?;
                let weight = self.tensor(position, 0)?;
                Image(op::convolve(x.image(name)?, weight, bias, stride, padding))
            }
            Operation::Linear => {
                let (weight, bias) = (self.tensor::<2>(position, 0)?, self.tensor(position, 1)?);
                match x {
                    Vector(x) => Vector(op::linear(x, weight, Some(bias))),
                    other => Tokens(op::linear(other.tokens(name)?, weight, Some(bias))),
                }
            }
            Operation::LayerNorm { epsilon } => {
                let (weight, bias) = (
                    self.tensor::<1>(position, 0)?,
                    self.tensor::<1>(position, 1)?,
                );
                each!(x, x => op::standardise(x, epsilon).0 * weight.unsqueeze() + bias.unsqueeze())
            }
            Operation::Relu => each!(x, x => relu(x)),
            Operation::LeakyRelu { slope } => each!(x, x => leaky_relu(x, slope)),
            Operation::Gelu => each!(x, x => gelu(x)),
            Operation::MaxPool {
                kernel,
                stride,
                padding,
            } => Image(op::max_pool(x.image(name)?, [kernel, stride, padding]).0),
            Operation::Tokens => {
                let x = op::tokens(x.image(name)?);
                let [batch, _, width] = x.dims();
                let class = self.tensor::<3>(position, 0)?.expand([batch, 1, width]);
                Tokens(Tensor::cat(vec![class, x], 1) + self.tensor(position, 1)?)
            }
            Operation::Attention { heads } => {
                let projected = op::linear(
                    x.tokens(name)?,
                    self.tensor(position, 0)?,
                    Some(self.tensor(position, 1)?),
                );
                let heads = op::Heads::split(projected, heads);
                let read = op::join_heads(heads.weights().matmul(heads.value));
                let bias = Some(self.tensor(position, 3)?);
                Tokens(op::linear(read, self.tensor(position, 2)?, bias))
            }
            _ => rearrange(node, x)?,
        })
    }

    pub(super) fn optional_bias(&self, position: usize) -> Result<Option<Tensor<1>>> {
        let has_bias = self.topology().nodes()[position].tensors.len() > 1;
        has_bias.then(|| self.tensor(position, 1)).transpose()
    }

    pub(super) fn check_images(&self, images: &Tensor<4>) -> Result<()> {
        let [batch, channels, height, width] = images.dims();
        let expected = self.input_shape();
        if [channels, height, width] != expected || batch == 0 {
            let found = images.dims();
            return Err(Error::InvalidInput {
                reason: format!(
                    "images of the shape {found:?} for a network that takes [n, {expected:?}]"
                ),
            });
        }
        let (own, found): (Device, Device) = (self.device(), images.device());
        if own != found {
            return Err(Error::InvalidInput {
                reason: format!("images on {found:?} for a network on {own:?}"),
            });
        }
        Ok(())
    }
}

/// The operations that are linear and have no tensors: applied to a tangent they are the same.
pub(super) fn rearrange(node: &Node, x: Activation) -> Result<Activation> {
    use Activation::{Image, Vector};
    let name = &node.name;
    Ok(match node.operation {
        Operation::AvgPool { kernel, stride } => {
            Image(op::avg_pool(x.image(name)?, kernel, stride))
        }
        Operation::AdaptiveAvgPool { size } => Image(op::adaptive_pool(x.image(name)?, size)),
        Operation::GlobalAvgPool => Vector(op::global_pool(x.image(name)?)),
        Operation::PadChannels { before, after } => {
            Image(op::pad_channels(x.image(name)?, before, after))
        }
        Operation::Flatten => Vector(op::flatten(x.image(name)?)),
        Operation::ClassToken => Vector(op::first_token(x.tokens(name)?)),
        other => {
            return Err(Error::InvalidInput {
                reason: format!("`{name}`: {other:?} is not an operation of one input"),
            });
        }
    })
}

/// Sum of two activations of one kind.
pub(super) fn add(a: Activation, b: Activation) -> Result<Activation> {
    Ok(match (a, b) {
        (Activation::Image(a), Activation::Image(b)) => Activation::Image(a + b),
        (Activation::Tokens(a), Activation::Tokens(b)) => Activation::Tokens(a + b),
        (Activation::Vector(a), Activation::Vector(b)) => Activation::Vector(a + b),
        _ => {
            return Err(Error::InvalidInput {
                reason: "the sum of two kinds of activations".to_owned(),
            });
        }
    })
}

impl Activation {
    /// Shape, with the batch first.
    pub fn dims(&self) -> Vec<usize> {
        match self {
            Self::Image(x) => x.dims().to_vec(),
            Self::Tokens(x) => x.dims().to_vec(),
            Self::Vector(x) => x.dims().to_vec(),
        }
    }

    /// The values with one row a unit (channel or width position) and one column a sample: images times positions, or
    /// images times tokens.
    pub fn by_unit(&self) -> Tensor<2> {
        match self.clone() {
            Self::Image(x) => {
                let [batch, channels, height, width] = x.dims();
                x.swap_dims(0, 1)
                    .reshape([channels, batch * height * width])
            }
            Self::Tokens(x) => {
                let [batch, tokens, width] = x.dims();
                x.reshape([batch * tokens, width]).transpose()
            }
            Self::Vector(x) => x.transpose(),
        }
    }

    pub(super) fn image(self, name: &str) -> Result<Tensor<4>> {
        match self {
            Self::Image(x) => Ok(x),
            other => Err(other.unexpected(name, "an image")),
        }
    }

    pub(super) fn tokens(self, name: &str) -> Result<Tensor<3>> {
        match self {
            Self::Tokens(x) => Ok(x),
            other => Err(other.unexpected(name, "tokens")),
        }
    }

    pub(super) fn vector(self, name: &str) -> Result<Tensor<2>> {
        match self {
            Self::Vector(x) => Ok(x),
            other => Err(other.unexpected(name, "a vector")),
        }
    }

    fn unexpected(&self, name: &str, expected: &str) -> Error {
        Error::InvalidInput {
            reason: format!("`{name}` reads {:?}, expected {expected}", self.dims()),
        }
    }
}

/// Outputs that are still to be read; each is dropped with its last reader.
pub(super) struct Held<T> {
    outputs: Vec<Option<T>>,
    readers: Vec<usize>,
}

impl<T: Clone> Held<T> {
    pub(super) fn new(nodes: &[Node]) -> Self {
        let mut readers = vec![0; nodes.len()];
        nodes
            .iter()
            .flat_map(|node| &node.inputs)
            .for_each(|&input| readers[input] += 1);
        Self {
            outputs: vec![None; nodes.len()],
            readers,
        }
    }

    pub(super) fn put(&mut self, position: usize, output: T) {
        self.outputs[position] = Some(output);
    }

    pub(super) fn take(&mut self, position: usize) -> Result<T> {
        self.readers[position] = self.readers[position].saturating_sub(1);
        let slot = &mut self.outputs[position];
        let output = if self.readers[position] == 0 {
            slot.take()
        } else {
            slot.clone()
        };
        output.ok_or_else(|| Error::InvalidInput {
            reason: format!("node {position} is read before it is computed"),
        })
    }
}
