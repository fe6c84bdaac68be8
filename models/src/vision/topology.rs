//! What a network is made of, without its weights: operations in the order in which they are evaluated, and the
//! tensors that they need. A [`TopologyBuilder`] checks every shape while it puts one together.

use std::collections::HashSet;

use crate::{Error, Result};

/// The operations of a network and the tensors that they need.
///
/// Node 0 is the input; every node comes after those that it reads.
#[derive(Clone, Debug, PartialEq)]
pub struct Topology {
    nodes: Vec<Node>,
    tensors: Vec<TensorSpec>,
    output: usize,
}

/// One operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Its path, `layer1.0.conv1`; unique in the network. The tensors of most operations are called after it.
    pub name: String,
    /// What it computes.
    pub operation: Operation,
    /// The nodes whose outputs it reads, by position.
    pub inputs: Vec<usize>,
    /// Its tensors, by position, in the order that [`Operation`] gives.
    pub tensors: Vec<usize>,
    /// Shape of its output for one example: `[channels, height, width]`, `[tokens, width]` or `[width]`.
    pub shape: Vec<usize>,
}

/// What a [`Node`] computes. In brackets the tensors that it has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Operation {
    /// The images.
    Input,
    /// Convolution with a square kernel \[`weight` `[out, in, kernel, kernel]`, maybe `bias` `[out]`\].
    Conv2d {
        /// Step in both directions.
        stride: usize,
        /// Zeros put around the image.
        padding: usize,
    },
    /// Matrix product with the last axis \[`weight` `[out, in]`, `bias` `[out]`\].
    Linear,
    /// Batch normalisation of every channel of an image
    /// \[`weight`, `bias`, `running_mean`, `running_var`, all `[channels]`\].
    BatchNorm {
        /// Added to the variance.
        epsilon: f64,
        /// Weight of a new batch in the running statistics.
        momentum: f64,
    },
    /// Layer normalisation over the last axis \[`weight`, `bias`\].
    LayerNorm {
        /// Added to the variance.
        epsilon: f64,
    },
    /// `max(x, 0)`.
    Relu,
    /// `x` where positive, else `slope * x`.
    LeakyRelu {
        /// Slope on the negative side.
        slope: f64,
    },
    /// `x` times the normal distribution function at `x` (the exact form).
    Gelu,
    /// Largest value of every window.
    MaxPool {
        /// Side of the window.
        kernel: usize,
        /// Step in both directions.
        stride: usize,
        /// Positions around the image that never win.
        padding: usize,
    },
    /// Mean of every window; with a kernel of 1 this takes every `stride`-th row and column.
    AvgPool {
        /// Side of the window.
        kernel: usize,
        /// Step in both directions.
        stride: usize,
    },
    /// Mean of windows chosen so that a square image of this side comes out.
    AdaptiveAvgPool {
        /// Side of the output.
        size: usize,
    },
    /// Mean of every channel: an image becomes a vector.
    GlobalAvgPool,
    /// Channels of zeros before and after those of an image.
    PadChannels {
        /// Channels put before.
        before: usize,
        /// Channels put after.
        after: usize,
    },
    /// Sum of two inputs of one shape.
    Add,
    /// An image as a vector: channel by channel, row by row.
    Flatten,
    /// The positions of an image as tokens, behind a learned class token, plus learned positions
    /// \[`class_token` `[1, 1, width]`, `pos_embedding` `[1, tokens, width]`\].
    Tokens,
    /// Multi-head self-attention of tokens \[`in_proj_weight` `[3 width, width]`, `in_proj_bias`, `out_proj.weight`,
    /// `out_proj.bias`\].
    Attention {
        /// Number of heads.
        heads: usize,
    },
    /// The first token as a vector.
    ClassToken,
}

/// A tensor that a network needs.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorSpec {
    /// Name, as in files.
    pub name: String,
    /// Shape, in PyTorch's layout.
    pub shape: Vec<usize>,
    /// How a new network draws it.
    pub initial: Initial,
}

/// How a new network draws the values of a tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Initial {
    /// The same value everywhere.
    Constant(f64),
    /// Normal with this standard deviation.
    Normal(f64),
    /// Normal with this standard deviation, cut off at -2 and 2 whatever it is, as by PyTorch's `trunc_normal_`.
    TruncatedNormal(f64),
    /// Uniform between plus and minus this.
    Uniform(f64),
}

/// A node of a topology under construction.
#[derive(Clone, Copy, Debug)]
pub struct NodeId(usize);

/// Puts a [`Topology`] together.
#[derive(Clone, Debug)]
pub struct TopologyBuilder {
    nodes: Vec<Node>,
    tensors: Vec<TensorSpec>,
    node_names: HashSet<String>,
    tensor_names: HashSet<String>,
    /// Values of all tensors together.
    count: usize,
    convolution: ConvInit,
    linear: LinearInit,
}

/// Initialisation of convolutions: a normal distribution whose spread depends on the channels times the kernel's area.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConvInit {
    /// He's: standard deviation `sqrt(2 / fan)` with the input channels, which keeps the forward pass in scale.
    KaimingFanIn,
    /// He's with the output channels, which keeps the backward pass in scale; torchvision's choice.
    KaimingFanOut,
    /// LeCun's: standard deviation `sqrt(1 / fan)` with the input channels, cut off at -2 and 2 (torchvision's ViT).
    LeCun,
}

/// Initialisation of linear layers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LinearInit {
    /// PyTorch's default: weight and bias uniform within `1 / sqrt(inputs)`.
    Default,
    /// He's normal initialisation by the number of inputs; bias as [`LinearInit::Default`].
    Kaiming,
    /// Glorot's uniform initialisation, bias normal with standard deviation 1e-6 (torchvision's ViT).
    Xavier,
    /// Normal with this standard deviation; bias 0.
    Normal(f64),
    /// All zero.
    Zero,
}

/// The tensors of a network together, and the output of every node for one example, may have this many values at most
/// (8 GiB of them). So no product of sizes overflows.
const MAX_VALUES: usize = 1 << 31;

/// A network may have this many nodes at most: a configuration in a file must not decide how much memory is taken.
pub(super) const MAX_NODES: usize = 1 << 16;

impl Topology {
    /// All nodes, in order of evaluation.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// All tensors.
    pub fn tensors(&self) -> &[TensorSpec] {
        &self.tensors
    }

    /// The node whose output is the logits.
    pub fn output(&self) -> usize {
        self.output
    }

    /// The node whose output the classifier's last layer reads: the features.
    pub fn features(&self) -> usize {
        self.nodes[self.output].inputs[0]
    }

    /// Shape of an input image: channels, height, width.
    pub fn input_shape(&self) -> [usize; 3] {
        let shape = &self.nodes[0].shape;
        [shape[0], shape[1], shape[2]]
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.nodes[self.output].shape[0]
    }

    /// Multiplications of a node for one example, those of normalisation, pooling and activations not counted.
    pub fn multiplications(&self, node: usize) -> u64 {
        let at = &self.nodes[node];
        let product = |shape: &[usize]| shape.iter().map(|&d| d as u64).product::<u64>();
        let weight = |n: usize| product(&self.tensors[at.tensors[n]].shape);
        match at.operation {
            Operation::Conv2d { .. } => weight(0) * product(&at.shape[1..]),
            Operation::Linear => weight(0) * product(&at.shape[..at.shape.len() - 1]),
            Operation::Attention { .. } => {
                let (tokens, width) = (at.shape[0] as u64, at.shape[1] as u64);
                tokens * (weight(0) + weight(2)) + 2 * tokens * tokens * width
            }
            _ => 0,
        }
    }
}

impl TopologyBuilder {
    /// A network that takes images of `[channels, height, width]`.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] if one of them is 0 or they are too large.
    pub fn new(input: [usize; 3]) -> Result<Self> {
        if input.contains(&0) || values(&input).is_none() {
            return Err(invalid(
                "input",
                format!("{input:?} is not the shape of an image"),
            ));
        }
        let node = Node {
            name: "input".to_owned(),
            operation: Operation::Input,
            inputs: Vec::new(),
            tensors: Vec::new(),
            shape: input.to_vec(),
        };
        Ok(Self {
            node_names: HashSet::from([node.name.clone()]),
            nodes: vec![node],
            tensors: Vec::new(),
            tensor_names: HashSet::new(),
            count: 0,
            convolution: ConvInit::KaimingFanOut,
            linear: LinearInit::Default,
        })
    }

    /// Initialisation of the convolutions that follow ([`ConvInit::KaimingFanOut`] at first).
    pub fn initialise_convolutions(&mut self, init: ConvInit) {
        self.convolution = init;
    }

    /// Initialisation of the linear layers that follow ([`LinearInit::Default`] at first).
    pub fn initialise_linears(&mut self, init: LinearInit) {
        self.linear = init;
    }

    /// The images.
    pub fn input(&self) -> NodeId {
        NodeId(0)
    }

    /// Shape of a node's output for one example.
    pub fn shape(&self, node: NodeId) -> &[usize] {
        &self.nodes[node.0].shape
    }

    /// A convolution without bias to `outputs` channels.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] naming the node, as for all that follow.
    pub fn conv(
        &mut self,
        name: &str,
        from: NodeId,
        outputs: usize,
        [kernel, stride, padding]: [usize; 3],
    ) -> Result<NodeId> {
        let channels = self.image(name, from)?[0];
        let out = self.windows(name, from, outputs, [kernel, stride, padding])?;
        let fan = |channels: usize| channels as f64 * (kernel as f64).powi(2);
        let initial = match self.convolution {
            ConvInit::KaimingFanIn => Initial::Normal((2.0 / fan(channels)).sqrt()),
            ConvInit::KaimingFanOut => Initial::Normal((2.0 / fan(outputs)).sqrt()),
            ConvInit::LeCun => Initial::TruncatedNormal((1.0 / fan(channels)).sqrt()),
        };
        let shape = [outputs, channels, kernel, kernel];
        let weight = self.tensor(name, "weight", &shape, initial)?;
        self.node(
            name,
            Operation::Conv2d { stride, padding },
            &[from],
            vec![weight],
            out,
        )
    }

    /// A convolution with a bias that starts at 0.
    pub fn conv_with_bias(
        &mut self,
        name: &str,
        from: NodeId,
        outputs: usize,
        window: [usize; 3],
    ) -> Result<NodeId> {
        let node = self.conv(name, from, outputs, window)?;
        let bias = self.tensor(name, "bias", &[outputs], Initial::Constant(0.0))?;
        self.nodes[node.0].tensors.push(bias);
        Ok(node)
    }

    /// A linear layer of a vector or of tokens.
    pub fn linear(&mut self, name: &str, from: NodeId, outputs: usize) -> Result<NodeId> {
        let mut shape = self.shape(from).to_vec();
        let inputs = match shape[..] {
            [width] | [_, width] => width,
            _ => {
                return Err(invalid(
                    name,
                    format!("a linear layer of an image {shape:?}"),
                ));
            }
        };
        let bound = 1.0 / (inputs as f64).sqrt();
        let (weight, bias) = match self.linear {
            LinearInit::Default => (Initial::Uniform(bound), Initial::Uniform(bound)),
            LinearInit::Kaiming => (
                Initial::Normal(2_f64.sqrt() * bound),
                Initial::Uniform(bound),
            ),
            LinearInit::Xavier => {
                let bound = (6.0 / (inputs as f64 + outputs as f64)).sqrt();
                (Initial::Uniform(bound), Initial::Normal(1e-6))
            }
            LinearInit::Normal(deviation) => (Initial::Normal(deviation), Initial::Constant(0.0)),
            LinearInit::Zero => (Initial::Constant(0.0), Initial::Constant(0.0)),
        };
        let weight = self.tensor(name, "weight", &[outputs, inputs], weight)?;
        let bias = self.tensor(name, "bias", &[outputs], bias)?;
        *shape.last_mut().unwrap_or(&mut 0) = outputs;
        self.node(name, Operation::Linear, &[from], vec![weight, bias], shape)
    }

    /// Batch normalisation of an image with PyTorch's constants (epsilon 1e-5, momentum 0.1).
    pub fn batch_norm(&mut self, name: &str, from: NodeId) -> Result<NodeId> {
        let shape = self.image(name, from)?;
        let mut tensors = Vec::new();
        for (tensor, value) in [
            ("weight", 1.0),
            ("bias", 0.0),
            ("running_mean", 0.0),
            ("running_var", 1.0),
        ] {
            tensors.push(self.tensor(name, tensor, &[shape[0]], Initial::Constant(value))?);
        }
        let operation = Operation::BatchNorm {
            epsilon: 1e-5,
            momentum: 0.1,
        };
        self.node(name, operation, &[from], tensors, shape.to_vec())
    }

    /// Layer normalisation over the last axis of a vector or of tokens.
    pub fn layer_norm(&mut self, name: &str, from: NodeId, epsilon: f64) -> Result<NodeId> {
        let shape = self.shape(from).to_vec();
        let ([width] | [_, width]) = shape[..] else {
            return Err(invalid(
                name,
                format!("layer normalisation of an image {shape:?}"),
            ));
        };
        let weight = self.tensor(name, "weight", &[width], Initial::Constant(1.0))?;
        let bias = self.tensor(name, "bias", &[width], Initial::Constant(0.0))?;
        self.node(
            name,
            Operation::LayerNorm { epsilon },
            &[from],
            vec![weight, bias],
            shape,
        )
    }

    /// An operation without tensors of one input that keeps its shape: an activation function.
    pub fn activation(&mut self, name: &str, from: NodeId, operation: Operation) -> Result<NodeId> {
        match operation {
            Operation::Relu | Operation::LeakyRelu { .. } | Operation::Gelu => {
                let shape = self.shape(from).to_vec();
                self.node(name, operation, &[from], Vec::new(), shape)
            }
            _ => Err(invalid(
                name,
                format!("{operation:?} is not an activation function"),
            )),
        }
    }

    /// Pooling: one of [`Operation`]'s four poolings.
    pub fn pool(&mut self, name: &str, from: NodeId, operation: Operation) -> Result<NodeId> {
        let channels = self.image(name, from)?[0];
        let shape = match operation {
            Operation::MaxPool {
                kernel,
                stride,
                padding,
            } => {
                if padding > kernel / 2 {
                    return Err(invalid(
                        name,
                        "more padding than half of the window".to_owned(),
                    ));
                }
                self.windows(name, from, channels, [kernel, stride, padding])?
            }
            Operation::AvgPool { kernel, stride } => {
                self.windows(name, from, channels, [kernel, stride, 0])?
            }
            Operation::AdaptiveAvgPool { size } if size > 0 => vec![channels, size, size],
            Operation::GlobalAvgPool => vec![channels],
            _ => return Err(invalid(name, format!("{operation:?} is not a pooling"))),
        };
        self.node(name, operation, &[from], Vec::new(), shape)
    }

    /// Channels of zeros put before and after.
    pub fn pad_channels(
        &mut self,
        name: &str,
        from: NodeId,
        before: usize,
        after: usize,
    ) -> Result<NodeId> {
        let [channels, height, width] = self.image(name, from)?;
        let channels = before.saturating_add(channels).saturating_add(after);
        let shape = vec![channels, height, width];
        self.node(
            name,
            Operation::PadChannels { before, after },
            &[from],
            Vec::new(),
            shape,
        )
    }

    /// Sum of two nodes of one shape.
    pub fn add(&mut self, name: &str, a: NodeId, b: NodeId) -> Result<NodeId> {
        let shape = self.shape(a).to_vec();
        if shape != self.shape(b) {
            let other = self.shape(b);
            return Err(invalid(name, format!("the sum of {shape:?} and {other:?}")));
        }
        self.node(name, Operation::Add, &[a, b], Vec::new(), shape)
    }

    /// An image as a vector.
    pub fn flatten(&mut self, name: &str, from: NodeId) -> Result<NodeId> {
        let shape = vec![self.image(name, from)?.iter().product()];
        self.node(name, Operation::Flatten, &[from], Vec::new(), shape)
    }

    /// An image as tokens behind a class token. The two tensors have names of their own.
    pub fn tokens(
        &mut self,
        name: &str,
        from: NodeId,
        class_token: &str,
        positions: &str,
    ) -> Result<NodeId> {
        let [width, rows, columns] = self.image(name, from)?;
        let tokens = 1 + rows * columns;
        let class_token = self.named(
            class_token.to_owned(),
            &[1, 1, width],
            Initial::Constant(0.0),
        )?;
        let positions = self.named(
            positions.to_owned(),
            &[1, tokens, width],
            Initial::Normal(0.02),
        )?;
        let tensors = vec![class_token, positions];
        self.node(
            name,
            Operation::Tokens,
            &[from],
            tensors,
            vec![tokens, width],
        )
    }

    /// Multi-head self-attention of tokens.
    pub fn attention(&mut self, name: &str, from: NodeId, heads: usize) -> Result<NodeId> {
        let shape = self.shape(from).to_vec();
        let [_, width] = shape[..] else {
            return Err(invalid(
                name,
                format!("attention of {shape:?}, not of tokens"),
            ));
        };
        if heads == 0 || width % heads != 0 {
            return Err(invalid(
                name,
                format!("{heads} heads of a width of {width}"),
            ));
        }
        let tripled = width.saturating_mul(3);
        let xavier = Initial::Uniform((6.0 / (4.0 * width as f64)).sqrt());
        let bound = Initial::Uniform(1.0 / (width as f64).sqrt());
        let zero = Initial::Constant(0.0);
        let tensors = vec![
            self.tensor(name, "in_proj_weight", &[tripled, width], xavier)?,
            self.tensor(name, "in_proj_bias", &[tripled], zero)?,
            self.tensor(name, "out_proj.weight", &[width, width], bound)?,
            self.tensor(name, "out_proj.bias", &[width], zero)?,
        ];
        self.node(
            name,
            Operation::Attention { heads },
            &[from],
            tensors,
            shape,
        )
    }

    /// The first token as a vector.
    pub fn class_token(&mut self, name: &str, from: NodeId) -> Result<NodeId> {
        let [_, width] = self.shape(from)[..] else {
            return Err(invalid(name, format!("a token of {:?}", self.shape(from))));
        };
        self.node(
            name,
            Operation::ClassToken,
            &[from],
            Vec::new(),
            vec![width],
        )
    }

    /// Ends with a linear layer of a vector: one output a class.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] if there are fewer than two classes.
    pub fn classify(mut self, name: &str, from: NodeId, classes: usize) -> Result<Topology> {
        if classes < 2 {
            return Err(invalid(
                "classes",
                format!("{classes}; there must be two at least"),
            ));
        }
        if self.shape(from).len() != 1 {
            return Err(invalid(
                name,
                format!("reads {:?}, not a vector", self.shape(from)),
            ));
        }
        let output = self.linear(name, from, classes)?.0;
        Ok(Topology {
            nodes: self.nodes,
            tensors: self.tensors,
            output,
        })
    }

    fn image(&self, name: &str, node: NodeId) -> Result<[usize; 3]> {
        let shape = self.shape(node);
        shape
            .try_into()
            .map_err(|_| invalid(name, format!("reads {shape:?}, not an image")))
    }

    /// Shape that windows of a size, step and padding make of an image.
    fn windows(
        &self,
        name: &str,
        from: NodeId,
        outputs: usize,
        [kernel, stride, padding]: [usize; 3],
    ) -> Result<Vec<usize>> {
        if kernel == 0 || stride == 0 || outputs == 0 {
            let what = format!("{outputs} channels of windows of {kernel}, step {stride}");
            return Err(invalid(name, what));
        }
        let [_, height, width] = self.image(name, from)?;
        let side = |length: usize| {
            let padded = padding.checked_mul(2)?.checked_add(length)?;
            (padded.checked_sub(kernel)? / stride).checked_add(1)
        };
        match (side(height), side(width)) {
            (Some(height), Some(width)) => Ok(vec![outputs, height, width]),
            _ => Err(invalid(
                name,
                format!("a window of {kernel} on {height}x{width}"),
            )),
        }
    }

    fn tensor(
        &mut self,
        node: &str,
        name: &str,
        shape: &[usize],
        initial: Initial,
    ) -> Result<usize> {
        self.named(format!("{node}.{name}"), shape, initial)
    }

    fn named(&mut self, name: String, shape: &[usize], initial: Initial) -> Result<usize> {
        let total = values(shape).and_then(|count| self.count.checked_add(count));
        match total {
            Some(total) if total <= MAX_VALUES && !shape.contains(&0) => self.count = total,
            _ => return Err(invalid(&name, format!("a tensor of the shape {shape:?}"))),
        }
        if !self.tensor_names.insert(name.clone()) {
            return Err(invalid(&name, "two tensors have this name".to_owned()));
        }
        self.tensors.push(TensorSpec {
            name,
            shape: shape.to_vec(),
            initial,
        });
        Ok(self.tensors.len() - 1)
    }

    fn node(
        &mut self,
        name: &str,
        operation: Operation,
        inputs: &[NodeId],
        tensors: Vec<usize>,
        shape: Vec<usize>,
    ) -> Result<NodeId> {
        if values(&shape).is_none() {
            return Err(invalid(name, format!("an output of the shape {shape:?}")));
        }
        if self.nodes.len() == MAX_NODES {
            return Err(invalid(
                name,
                format!("is more than {MAX_NODES} operations"),
            ));
        }
        if !self.node_names.insert(name.to_owned()) {
            return Err(invalid(name, "two nodes have this name".to_owned()));
        }
        self.nodes.push(Node {
            name: name.to_owned(),
            operation,
            inputs: inputs.iter().map(|id| id.0).collect(),
            tensors,
            shape,
        });
        Ok(NodeId(self.nodes.len() - 1))
    }
}

/// The product of a shape, if a network may have so many values.
fn values(shape: &[usize]) -> Option<usize> {
    let count = shape.iter().try_fold(1_usize, |n, &d| n.checked_mul(d))?;
    (count <= MAX_VALUES).then_some(count)
}

pub(super) fn invalid(field: &str, reason: String) -> Error {
    Error::InvalidConfig {
        field: field.to_owned(),
        reason,
    }
}
