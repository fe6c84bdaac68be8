//! The network to verify: a chain of affine layers and ReLUs, validated once, with the stored 32-bit weights as the truth.
//!
//! Between two ReLUs any number of affine layers may follow each other. They are folded into one *affine map* in 64-bit
//! arithmetic, with a bound on the rounding error of every folded number, so that a network with L maps has L - 1 hidden
//! layers of ReLUs: `z_1 = W_1 x + b_1`, `z_{i+1} = W_{i+1} relu(z_i) + b_{i+1}`, output `z_L`.

use std::ops::Range;
use std::sync::Arc;

use crate::affine::AffineMap;
use crate::error::{Error, Result};

/// A number of which only an interval is known: `|exact - value| <= radius`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Enclosure {
    /// The midpoint.
    pub value: f64,
    /// How far the exact number can be from it, at most.
    pub radius: f64,
}

impl Enclosure {
    /// A number that is known exactly.
    #[must_use]
    pub fn exact(value: f64) -> Self {
        Self { value, radius: 0.0 }
    }
}

/// `y = W x + b`.
#[derive(Debug, Clone, PartialEq)]
pub struct Affine {
    /// Number of rows of `W`.
    pub outputs: usize,
    /// Number of columns of `W`.
    pub inputs: usize,
    /// `W`, row by row: `outputs x inputs`.
    pub weight: Vec<f32>,
    /// `b`: `outputs` numbers.
    pub bias: Vec<f32>,
}

/// A two-dimensional convolution (cross-correlation, as every framework has it) of `channels x height x width`.
#[derive(Debug, Clone, PartialEq)]
pub struct Conv2d {
    /// Channels, height and width of the input.
    pub input: [usize; 3],
    /// Channels of the output.
    pub channels: usize,
    /// Height and width of the kernel.
    pub kernel: [usize; 2],
    /// Steps between windows, down and across.
    pub stride: [usize; 2],
    /// Zeros added at the top, left, bottom and right.
    pub padding: [usize; 4],
    /// Distance between the taps of the kernel, down and across.
    pub dilation: [usize; 2],
    /// Groups of channels that do not mix.
    pub groups: usize,
    /// The kernel: `channels x (input channels / groups) x kernel height x kernel width`.
    pub weight: Vec<f32>,
    /// A number an output channel.
    pub bias: Vec<f32>,
}

/// The mean of every window, a channel at a time.
#[derive(Debug, Clone, PartialEq)]
pub struct AvgPool2d {
    /// Channels, height and width of the input.
    pub input: [usize; 3],
    /// Height and width of the window.
    pub kernel: [usize; 2],
    /// Steps between windows, down and across.
    pub stride: [usize; 2],
    /// Zeros added at the top, left, bottom and right.
    pub padding: [usize; 4],
    /// Whether the zeros of the padding count in the mean's divisor.
    pub count_include_pad: bool,
}

/// `y_j = scale_j x_j + shift_j`: normalisation of inputs, batch normalisation, element-wise constants.
#[derive(Debug, Clone, PartialEq)]
pub struct Scale {
    /// A factor an element.
    pub scale: Vec<Enclosure>,
    /// A summand an element.
    pub shift: Vec<Enclosure>,
}

/// One layer. Values are flat, row-major: an image is `channels x height x width`.
#[derive(Debug, Clone, PartialEq)]
pub enum Layer {
    /// A dense affine layer.
    Affine(Affine),
    /// A convolution.
    Conv2d(Conv2d),
    /// Average pooling.
    AvgPool2d(AvgPool2d),
    /// A diagonal affine layer.
    Scale(Scale),
    /// A reordering: output `j` is input `order[j]`.
    Permute(Vec<usize>),
    /// `max(x, 0)`, element by element.
    Relu,
}

impl Conv2d {
    /// Channels, height and width of the output.
    #[must_use]
    pub fn output(&self) -> [usize; 3] {
        let [height, width] = windows(
            self.input,
            self.kernel,
            self.stride,
            self.padding,
            self.dilation,
        );
        [self.channels, height, width]
    }
}

impl AvgPool2d {
    /// Channels, height and width of the output.
    #[must_use]
    pub fn output(&self) -> [usize; 3] {
        let [height, width] = windows(self.input, self.kernel, self.stride, self.padding, [1, 1]);
        [self.input[0], height, width]
    }

    /// What the sum of the window at row `y` and column `x` of the output is divided by.
    #[must_use]
    pub fn divisor(&self, y: usize, x: usize) -> usize {
        let taps = |axis: usize, at: usize| {
            if self.count_include_pad {
                return self.kernel[axis];
            }
            let first = at * self.stride[axis];
            let (before, length) = (self.padding[axis], self.input[axis + 1]);
            (first..first + self.kernel[axis])
                .filter(|&tap| tap >= before && tap < before + length)
                .count()
        };
        taps(0, y) * taps(1, x)
    }
}

impl Layer {
    /// Size of the input, where the layer itself says it (a ReLU takes any).
    #[must_use]
    pub fn inputs(&self) -> Option<usize> {
        match self {
            Self::Affine(layer) => Some(layer.inputs),
            Self::Conv2d(layer) => Some(layer.input.iter().product()),
            Self::AvgPool2d(layer) => Some(layer.input.iter().product()),
            Self::Scale(layer) => Some(layer.scale.len()),
            Self::Permute(order) => Some(order.len()),
            Self::Relu => None,
        }
    }

    /// Size of the output for an input of `inputs` numbers.
    #[must_use]
    pub fn outputs(&self, inputs: usize) -> usize {
        match self {
            Self::Affine(layer) => layer.outputs,
            Self::Conv2d(layer) => layer.output().iter().product(),
            Self::AvgPool2d(layer) => layer.output().iter().product(),
            Self::Scale(_) | Self::Permute(_) | Self::Relu => inputs,
        }
    }

    /// The name used in error messages.
    fn kind(&self) -> &'static str {
        match self {
            Self::Affine(_) => "affine",
            Self::Conv2d(_) => "convolution",
            Self::AvgPool2d(_) => "average pooling",
            Self::Scale(_) => "scale",
            Self::Permute(_) => "reordering",
            Self::Relu => "relu",
        }
    }

    /// That the layer makes sense by itself; `name` is for messages.
    pub(crate) fn check(&self, name: &str) -> Result<()> {
        match self {
            Self::Affine(layer) => {
                size(
                    name,
                    "numbers in the weight",
                    layer.outputs * layer.inputs,
                    layer.weight.len(),
                )?;
                size(name, "numbers in the bias", layer.outputs, layer.bias.len())?;
                finite(name, "weight", &layer.weight)?;
                finite(name, "bias", &layer.bias)
            }
            Self::Conv2d(layer) => {
                check_windows(
                    name,
                    layer.input,
                    layer.kernel,
                    layer.stride,
                    layer.padding,
                    layer.dilation,
                )?;
                if layer.groups == 0
                    || !layer.input[0].is_multiple_of(layer.groups)
                    || !layer.channels.is_multiple_of(layer.groups)
                {
                    return Err(Error::ShapeMismatch {
                        layer: name.to_owned(),
                        expected: format!("channels that {} groups divide", layer.groups),
                        found: format!("{} in, {} out", layer.input[0], layer.channels),
                    });
                }
                let taps = layer.input[0] / layer.groups * layer.kernel[0] * layer.kernel[1];
                size(
                    name,
                    "numbers in the weight",
                    layer.channels * taps,
                    layer.weight.len(),
                )?;
                size(
                    name,
                    "numbers in the bias",
                    layer.channels,
                    layer.bias.len(),
                )?;
                finite(name, "weight", &layer.weight)?;
                finite(name, "bias", &layer.bias)
            }
            Self::AvgPool2d(layer) => {
                check_windows(
                    name,
                    layer.input,
                    layer.kernel,
                    layer.stride,
                    layer.padding,
                    [1, 1],
                )?;
                let [top, left, bottom, right] = layer.padding;
                if top.max(bottom) >= layer.kernel[0] || left.max(right) >= layer.kernel[1] {
                    return Err(Error::ShapeMismatch {
                        layer: name.to_owned(),
                        expected: "a padding smaller than the window".to_owned(),
                        found: format!("{:?} around a window of {:?}", layer.padding, layer.kernel),
                    });
                }
                Ok(())
            }
            Self::Scale(layer) => {
                size(name, "shifts", layer.scale.len(), layer.shift.len())?;
                for (what, numbers) in [("scale", &layer.scale), ("shift", &layer.shift)] {
                    let bad = numbers.iter().position(|x| {
                        !(x.value.is_finite() && x.radius.is_finite() && x.radius >= 0.0)
                    });
                    if let Some(index) = bad {
                        return Err(Error::NonFiniteWeight {
                            layer: format!("{name}, {what}"),
                            index,
                        });
                    }
                }
                Ok(())
            }
            Self::Permute(order) => {
                let mut seen = vec![false; order.len()];
                for &from in order {
                    if from >= order.len() || std::mem::replace(&mut seen[from], true) {
                        return Err(Error::ShapeMismatch {
                            layer: name.to_owned(),
                            expected: "an order that names every element once".to_owned(),
                            found: format!("element {from} twice, or out of range"),
                        });
                    }
                }
                Ok(())
            }
            Self::Relu => Ok(()),
        }
    }
}

/// A chain of layers, checked, and folded into affine maps with ReLUs between them.
#[derive(Debug, Clone)]
pub struct Network {
    input_shape: Vec<usize>,
    layers: Vec<Layer>,
    /// For every affine map the layers that it was folded from; empty for an identity.
    blocks: Vec<Range<usize>>,
    maps: Arc<Vec<AffineMap>>,
}

impl Network {
    /// Checks the layers and folds them.
    ///
    /// A network that begins with a ReLU gets an identity before it, one that ends with a ReLU gets one behind it, and of several
    /// ReLUs in a row only the first counts, so that the maps and ReLUs always alternate.
    ///
    /// # Errors
    ///
    /// [`Error::ShapeMismatch`] and [`Error::NonFiniteWeight`], naming the layer by its position (from 0) and kind; the former also for
    /// an empty input.
    pub fn new(input_shape: Vec<usize>, layers: Vec<Layer>) -> Result<Self> {
        let inputs: usize = input_shape.iter().product();
        if inputs == 0 {
            return Err(Error::ShapeMismatch {
                layer: "input".to_owned(),
                expected: "at least one number".to_owned(),
                found: format!("{input_shape:?}"),
            });
        }
        let mut width = inputs;
        for (index, layer) in layers.iter().enumerate() {
            let name = format!("layer {index} ({})", layer.kind());
            if let Some(expected) = layer.inputs() {
                size(&name, "inputs", expected, width)?;
            }
            layer.check(&name)?;
            width = layer.outputs(width);
            if width == 0 {
                return Err(Error::ShapeMismatch {
                    layer: name,
                    expected: "at least one output".to_owned(),
                    found: "none".to_owned(),
                });
            }
        }
        let blocks = blocks(&layers);
        let mut maps = Vec::with_capacity(blocks.len());
        let mut width = inputs;
        for block in &blocks {
            let map = AffineMap::fold(width, &layers[block.clone()]);
            width = map.outputs();
            maps.push(map);
        }
        Ok(Self {
            input_shape,
            layers,
            blocks,
            maps: Arc::new(maps),
        })
    }

    /// Shape of the input without the batch, e.g. `[1, 28, 28]` or `[784]`.
    #[must_use]
    pub fn input_shape(&self) -> &[usize] {
        &self.input_shape
    }

    /// Size of the input.
    #[must_use]
    pub fn inputs(&self) -> usize {
        self.input_shape.iter().product()
    }

    /// Size of the output.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.maps.last().map_or(0, AffineMap::outputs)
    }

    /// The layers as they were given.
    #[must_use]
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// Sizes of the hidden layers, that is of the pre-activations `z_1 .. z_{L-1}`.
    #[must_use]
    pub fn hidden(&self) -> Vec<usize> {
        self.maps[..self.maps.len() - 1]
            .iter()
            .map(AffineMap::outputs)
            .collect()
    }

    /// The same network with one output: the margin `y_label - y_target`.
    ///
    /// # Errors
    ///
    /// [`Error::OutputIndex`] if there is no such output.
    pub fn margin(&self, label: usize, target: usize) -> Result<Self> {
        let outputs = self.outputs();
        for index in [label, target] {
            if index >= outputs {
                return Err(Error::OutputIndex {
                    index,
                    size: outputs,
                });
            }
        }
        let mut weight = vec![0.0; outputs];
        weight[label] += 1.0;
        weight[target] -= 1.0;
        let mut layers = self.layers.clone();
        layers.push(Layer::Affine(Affine {
            outputs: 1,
            inputs: outputs,
            weight,
            bias: vec![0.0],
        }));
        Self::new(self.input_shape.clone(), layers)
    }

    /// Channels, height and width of a hidden layer (from 0), where it is an image.
    #[must_use]
    pub fn hidden_shape(&self, layer: usize) -> Option<[usize; 3]> {
        let block = self.blocks.get(layer)?;
        for layer in self.layers[block.clone()].iter().rev() {
            match layer {
                Layer::Conv2d(layer) => return Some(layer.output()),
                Layer::AvgPool2d(layer) => return Some(layer.output()),
                Layer::Scale(_) => {}
                Layer::Affine(_) | Layer::Permute(_) | Layer::Relu => return None,
            }
        }
        None
    }

    /// The layers behind every affine map, in order.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = &[Layer]> {
        self.blocks.iter().map(|block| &self.layers[block.clone()])
    }

    /// The folded affine maps `W_1, b_1 .. W_L, b_L`.
    pub(crate) fn maps(&self) -> &[AffineMap] {
        &self.maps
    }

    /// The output for one input in 64-bit arithmetic, each number with a bound on its error against the exact network.
    ///
    /// # Errors
    ///
    /// [`Error::ShapeMismatch`] if the input has another size.
    pub fn evaluate(&self, input: &[f64]) -> Result<Vec<Enclosure>> {
        size("input", "numbers", self.inputs(), input.len())?;
        let mut values: Vec<Enclosure> = input.iter().map(|&x| Enclosure::exact(x)).collect();
        for (index, map) in self.maps.iter().enumerate() {
            values = map.apply(&values);
            if index + 1 < self.maps.len() {
                for value in &mut values {
                    // relu is 1-Lipschitz: the radius stays a bound.
                    value.value = value.value.max(0.0);
                }
            }
        }
        Ok(values)
    }
}

/// Groups of layers between ReLUs, one for every affine map.
fn blocks(layers: &[Layer]) -> Vec<Range<usize>> {
    let mut blocks = Vec::new();
    let mut start = 0;
    for (index, layer) in layers.iter().enumerate() {
        if *layer == Layer::Relu {
            // A ReLU right behind another changes nothing.
            let repeated = index > 0 && layers[index - 1] == Layer::Relu;
            if !repeated {
                blocks.push(start..index);
            }
            start = index + 1;
        }
    }
    blocks.push(start..layers.len());
    blocks
}

/// Output size of a sliding window; 0 where the window does not fit.
fn windows(
    input: [usize; 3],
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 4],
    dilation: [usize; 2],
) -> [usize; 2] {
    [0, 1].map(|axis| {
        let length = input[axis + 1] + padding[axis] + padding[axis + 2];
        let reach = dilation[axis] * (kernel[axis].max(1) - 1) + 1;
        if length < reach || stride[axis] == 0 {
            0
        } else {
            (length - reach) / stride[axis] + 1
        }
    })
}

fn check_windows(
    name: &str,
    input: [usize; 3],
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 4],
    dilation: [usize; 2],
) -> Result<()> {
    let positive = kernel
        .iter()
        .chain(&stride)
        .chain(&dilation)
        .all(|&x| x > 0);
    if !positive || windows(input, kernel, stride, padding, dilation).contains(&0) {
        return Err(Error::ShapeMismatch {
            layer: name.to_owned(),
            expected: "a window that fits the padded input".to_owned(),
            found: format!(
                "input {input:?}, kernel {kernel:?}, stride {stride:?}, padding {padding:?}, dilation {dilation:?}"
            ),
        });
    }
    Ok(())
}

fn size(layer: &str, what: &str, expected: usize, found: usize) -> Result<()> {
    if expected == found {
        Ok(())
    } else {
        Err(Error::ShapeMismatch {
            layer: layer.to_owned(),
            expected: format!("{expected} {what}"),
            found: found.to_string(),
        })
    }
}

fn finite(layer: &str, what: &str, numbers: &[f32]) -> Result<()> {
    match numbers.iter().position(|x| !x.is_finite()) {
        Some(index) => Err(Error::NonFiniteWeight {
            layer: format!("{layer}, {what}"),
            index,
        }),
        None => Ok(()),
    }
}
