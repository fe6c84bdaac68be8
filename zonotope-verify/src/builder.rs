//! Networks from the modules of a `burn` model, in the order of its forward pass.
//!
//! A `burn` model computes with its modules in code that no reader can see, so the order is told here once more, module by module. That the
//! two agree is worth a test: [`Network::evaluate`] must give what the model gives.
//!
//! ```
//! # #[cfg(feature = "flex")]
//! # fn main() -> zonotope_verify::Result<()> {
//! use burn::nn::conv::{Conv2d, Conv2dConfig};
//! use burn::nn::{Linear, LinearConfig};
//! use burn::tensor::Device;
//! use zonotope_verify::Network;
//!
//! struct Model {
//!     convolution: Conv2d,
//!     linear: Linear,
//! }
//! # let device = Device::flex();
//! # let model = Model {
//! #     convolution: Conv2dConfig::new([1, 4], [3, 3]).init(&device),
//! #     linear: LinearConfig::new(4 * 6 * 6, 10).init(&device),
//! # };
//!
//! // The model's forward pass: convolution, ReLU, flatten, linear.
//! let network = Network::from_burn([1, 8, 8])
//!     .conv2d(&model.convolution)
//!     .relu()
//!     .linear(&model.linear)
//!     .build()?;
//! assert_eq!(network.outputs(), 10);
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "flex"))]
//! # fn main() {}
//! ```

use burn::Tensor;
use burn::nn::conv::Conv2d as BurnConv2d;
use burn::nn::pool::AvgPool2d as BurnAvgPool2d;
use burn::nn::{BatchNorm, Linear, PaddingConfig2d};
use burn::tensor::DType;

use crate::error::{Error, Result};
use crate::network::{Affine, AvgPool2d, Conv2d, Enclosure, Layer, Network, Scale};
use crate::onnx::normalization;

/// Collects the layers of a network from modules of `burn`; see [`Network::from_burn`].
///
/// Weights have to fit into 32 bits without loss. The first module that cannot be taken is reported by
/// [`build`](Self::build).
#[derive(Debug)]
pub struct NetworkBuilder {
    input_shape: Vec<usize>,
    /// Shape of the values behind the last layer, without the batch.
    shape: Vec<usize>,
    layers: Vec<Layer>,
    failed: Option<Error>,
}

impl Network {
    /// Begins a network for inputs of this shape, without the batch: `[784]`, or `[channels, height, width]` for images.
    #[must_use]
    pub fn from_burn(input_shape: impl Into<Vec<usize>>) -> NetworkBuilder {
        let input_shape = input_shape.into();
        NetworkBuilder {
            shape: input_shape.clone(),
            input_shape,
            layers: Vec::new(),
            failed: None,
        }
    }
}

impl NetworkBuilder {
    /// A linear layer; an image is flattened before it, channels first.
    #[must_use]
    pub fn linear(self, module: &Linear) -> Self {
        self.module("Linear", |place| {
            let [inputs, outputs] = module.weight.dims();
            let columns = place.numbers("weight", module.weight.val())?;
            let weight = (0..outputs)
                .flat_map(|output| (0..inputs).map(move |input| input * outputs + output))
                .map(|at| columns[at])
                .collect();
            let bias = match &module.bias {
                Some(bias) => place.numbers("bias", bias.val())?,
                None => vec![0.0; outputs],
            };
            place.accept(Layer::Affine(Affine {
                outputs,
                inputs,
                weight,
                bias,
            }))
        })
    }

    /// A convolution of an image.
    #[must_use]
    pub fn conv2d(self, module: &BurnConv2d) -> Self {
        self.module("Conv2d", |place| {
            let input = place.image()?;
            let [channels, ..] = module.weight.dims();
            let bias = match &module.bias {
                Some(bias) => place.numbers("bias", bias.val())?,
                None => vec![0.0; channels],
            };
            let layer = Conv2d {
                input,
                channels,
                kernel: module.kernel_size,
                stride: module.stride,
                padding: padding(&module.padding, input, module.kernel_size, module.stride),
                dilation: module.dilation,
                groups: module.groups,
                weight: place.numbers("weight", module.weight.val())?,
                bias,
            };
            place.accept(Layer::Conv2d(layer))
        })
    }

    /// Batch normalisation with the running mean and variance, as in inference; of the channels of an image, or of single numbers.
    #[must_use]
    pub fn batch_norm(self, module: &BatchNorm) -> Self {
        self.module("BatchNorm", |place| {
            let channels = place.shape[0];
            let [gamma, beta, mean, variance] = [
                ("gamma", module.gamma.val()),
                ("beta", module.beta.val()),
                ("running mean", module.running_mean.value()),
                ("running variance", module.running_var.value()),
            ]
            .map(|(what, tensor)| place.numbers(what, tensor));
            let (gamma, beta, mean, variance) = (gamma?, beta?, mean?, variance?);
            if gamma.len() != channels {
                return Err(place.mismatch(format!("{} channels", gamma.len()), channels));
            }
            let rows: Option<Vec<(Enclosure, Enclosure)>> = (0..channels)
                .map(|j| {
                    let [gamma, beta, mean, variance] =
                        [&gamma, &beta, &mean, &variance].map(|numbers| f64::from(numbers[j]));
                    normalization(gamma, beta, mean, variance, module.epsilon)
                })
                .collect();
            let rows =
                rows.ok_or_else(|| place.unsupported("a variance plus epsilon is not positive"))?;
            let area: usize = place.shape[1..].iter().product();
            let (scale, shift) = rows
                .into_iter()
                .flat_map(|row| std::iter::repeat_n(row, area))
                .unzip();
            place.accept(Layer::Scale(Scale { scale, shift }))
        })
    }

    /// Average pooling of an image.
    #[must_use]
    pub fn avg_pool2d(self, module: &BurnAvgPool2d) -> Self {
        self.module("AvgPool2d", |place| {
            if module.ceil_mode {
                return Err(place.unsupported("sizes of the output that are rounded up"));
            }
            let input = place.image()?;
            let layer = AvgPool2d {
                input,
                kernel: module.kernel_size,
                stride: module.stride,
                padding: padding(&module.padding, input, module.kernel_size, module.stride),
                count_include_pad: module.count_include_pad,
            };
            place.accept(Layer::AvgPool2d(layer))
        })
    }

    /// `max(x, 0)`.
    #[must_use]
    pub fn relu(self) -> Self {
        self.module("Relu", |place| place.accept(Layer::Relu))
    }

    /// A layer of this crate's, such as the normalisation of inputs by a [`Scale`].
    #[must_use]
    pub fn layer(self, layer: Layer) -> Self {
        self.module("layer", |place| place.accept(layer))
    }

    /// The network.
    ///
    /// # Errors
    ///
    /// [`Error::UnsupportedOperator`] for a module that there is no proof rule for, [`Error::ShapeMismatch`] and
    /// [`Error::NonFiniteWeight`] for one that does not fit, [`Error::Device`] if weights cannot be read.
    pub fn build(self) -> Result<Network> {
        match self.failed {
            Some(error) => Err(error),
            None => Network::new(self.input_shape, self.layers),
        }
    }

    /// Adds what a module becomes, and the shape of its output, unless something failed before.
    fn module(
        mut self,
        kind: &'static str,
        convert: impl FnOnce(&Place<'_>) -> Result<(Layer, Vec<usize>)>,
    ) -> Self {
        if self.failed.is_some() {
            return self;
        }
        let place = Place {
            kind,
            index: self.layers.len(),
            shape: &self.shape,
        };
        let converted = if place.shape.is_empty() {
            Err(place.mismatch("an input of at least one axis".to_owned(), "none"))
        } else {
            convert(&place)
        };
        match converted {
            Ok((layer, shape)) => {
                self.layers.push(layer);
                self.shape = shape;
            }
            Err(error) => self.failed = Some(error),
        }
        self
    }
}

/// Where a module stands.
struct Place<'a> {
    kind: &'static str,
    index: usize,
    /// Shape of its input.
    shape: &'a [usize],
}

impl Place<'_> {
    fn name(&self) -> String {
        format!("layer {} ({})", self.index, self.kind)
    }

    fn mismatch(&self, expected: String, found: impl ToString) -> Error {
        Error::ShapeMismatch {
            layer: self.name(),
            expected,
            found: found.to_string(),
        }
    }

    fn unsupported(&self, reason: &str) -> Error {
        Error::UnsupportedOperator {
            node: format!("layer {}", self.index),
            op: self.kind.to_owned(),
            reason: reason.to_owned(),
        }
    }

    /// Channels, height and width of the input.
    fn image(&self) -> Result<[usize; 3]> {
        <[usize; 3]>::try_from(self.shape).map_err(|_| {
            let found = format!("{:?}", self.shape);
            self.mismatch("channels, height and width".to_owned(), found)
        })
    }

    /// The layer, if it makes sense, with the shape of its output.
    fn accept(&self, layer: Layer) -> Result<(Layer, Vec<usize>)> {
        layer.check(&self.name())?;
        let before = self.shape.iter().product();
        if let Some(inputs) = layer.inputs().filter(|inputs| *inputs != before) {
            return Err(self.mismatch(format!("{inputs} inputs"), before));
        }
        let after = layer.outputs(before);
        let shape = match &layer {
            Layer::Conv2d(layer) => layer.output().to_vec(),
            Layer::AvgPool2d(layer) => layer.output().to_vec(),
            _ if after == before && !matches!(layer, Layer::Affine(_)) => self.shape.to_vec(),
            _ => vec![after],
        };
        Ok((layer, shape))
    }

    /// The numbers of a tensor, if 32 bits hold them without loss.
    fn numbers<const D: usize>(&self, what: &str, tensor: Tensor<D>) -> Result<Vec<f32>> {
        let kind = tensor.dtype();
        let data = tensor.try_into_data().map_err(|error| Error::Device {
            reason: format!("{error:?}"),
        })?;
        match kind {
            DType::F32 | DType::Flex32 | DType::F16 | DType::BF16 => Ok(data.iter().collect()),
            DType::F64 => data
                .iter::<f64>()
                .map(|x| (f64::from(x as f32) == x || x.is_nan()).then_some(x as f32))
                .collect::<Option<_>>()
                .ok_or_else(|| {
                    self.unsupported(&format!("{what} has more digits than 32 bits hold"))
                }),
            _ => Err(self.unsupported(&format!("{what} has numbers of type {kind:?}"))),
        }
    }
}

/// Zeros at the top, left, bottom and right, as `burn` adds them.
fn padding(
    padding: &PaddingConfig2d,
    [_, height, width]: [usize; 3],
    kernel: [usize; 2],
    stride: [usize; 2],
) -> [usize; 4] {
    match *padding {
        PaddingConfig2d::Valid => [0; 4],
        PaddingConfig2d::Explicit(top, left, bottom, right) => [top, left, bottom, right],
        PaddingConfig2d::Same => {
            // As many as make the output as large as the input divided by the stride; an odd one comes last.
            let zeros = |size: usize, axis: usize| {
                let windows = size.div_ceil(stride[axis].max(1));
                let reach = windows.saturating_sub(1) * stride[axis] + kernel[axis];
                let all = reach.saturating_sub(size);
                [all / 2, all - all / 2]
            };
            let ([top, bottom], [left, right]) = (zeros(height, 0), zeros(width, 1));
            [top, left, bottom, right]
        }
    }
}
