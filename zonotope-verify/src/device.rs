//! The network on a device, in 32-bit arithmetic: what the search computes with. Nothing here is trusted by a proof.

use burn::Tensor;
use burn::tensor::module::{conv_transpose2d, conv2d};
use burn::tensor::ops::{ConvOptions, ConvTransposeOptions};
use burn::tensor::{Device, Int, TensorData};

use crate::affine::AffineMap;
use crate::network::{Conv2d, Layer, Network};

/// A tensor `[rows, columns]` of host numbers.
pub(crate) fn matrix(numbers: &[f64], rows: usize, columns: usize, device: &Device) -> Tensor<2> {
    let numbers: Vec<f32> = numbers.iter().map(|&x| x as f32).collect();
    Tensor::from_data(TensorData::new(numbers, [rows, columns]), device)
}

/// The numbers of a tensor, row by row.
pub(crate) fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.into_data().iter::<f32>().map(f64::from).collect()
}

/// The affine maps of a network on a device. Values are rows of a matrix: `[batch, width]`.
#[derive(Debug, Clone)]
pub(crate) struct DeviceNetwork {
    maps: Vec<DeviceMap>,
}

impl DeviceNetwork {
    pub(crate) fn new(network: &Network, device: &Device) -> Self {
        let maps = network
            .blocks()
            .zip(network.maps())
            .map(|(layers, map)| DeviceMap::new(layers, map, device))
            .collect();
        Self { maps }
    }

    /// The affine map in front of hidden layer `index` (from 0); the last one gives the output.
    pub(crate) fn map(&self, index: usize) -> &DeviceMap {
        &self.maps[index]
    }
}

/// One affine map, as the operations that compute it.
#[derive(Debug, Clone)]
pub(crate) struct DeviceMap {
    operations: Vec<Operation>,
    /// `[1, outputs]`
    bias: Tensor<2>,
}

impl DeviceMap {
    fn new(layers: &[Layer], map: &AffineMap, device: &Device) -> Self {
        let bias: Vec<f64> = map.bias().map(|b| b.value).collect();
        let bias = matrix(&bias, 1, map.outputs(), device);
        let windows = layers
            .iter()
            .any(|layer| matches!(layer, Layer::Conv2d(_) | Layer::AvgPool2d(_)));
        let dense = layers.iter().any(|layer| matches!(layer, Layer::Affine(_)));
        let operations = if dense && !windows {
            vec![Operation::dense(map, device)]
        } else {
            layers
                .iter()
                .filter_map(|layer| Operation::new(layer, device))
                .collect()
        };
        Self { operations, bias }
    }

    /// The summand `b`: `[1, outputs]`.
    pub(crate) fn bias(&self) -> Tensor<2> {
        self.bias.clone()
    }

    /// `W x + b` of every row: `[batch, inputs]` to `[batch, outputs]`.
    pub(crate) fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.operations
            .iter()
            .fold(x, |x, operation| operation.linear(x))
            + self.bias()
    }

    /// `W^T y` of every row: `[batch, outputs]` to `[batch, inputs]`.
    pub(crate) fn transposed(&self, y: Tensor<2>) -> Tensor<2> {
        self.operations
            .iter()
            .rev()
            .fold(y, |y, operation| operation.transposed(y))
    }
}

/// A linear operation and its transpose.
#[derive(Debug, Clone)]
enum Operation {
    /// `[outputs, inputs]`
    Dense(Tensor<2>),
    Conv {
        kernel: Tensor<4>,
        layer: Box<Conv2d>,
    },
    /// A convolution with one kernel for every channel, and a factor an output (`[1, outputs]`).
    Pool {
        kernel: Tensor<4>,
        layer: Box<Conv2d>,
        factor: Tensor<2>,
    },
    /// `[1, width]`
    Scale(Tensor<2>),
    Permute {
        order: Tensor<1, Int>,
        inverse: Tensor<1, Int>,
    },
}

impl Operation {
    fn dense(map: &AffineMap, device: &Device) -> Self {
        let (outputs, inputs) = (map.outputs(), map.inputs());
        let mut weight = vec![0.0; outputs * inputs];
        for (i, row) in weight.chunks_exact_mut(inputs).enumerate() {
            for (j, entry) in map.row(i) {
                row[j] = entry.value;
            }
        }
        Self::Dense(matrix(&weight, outputs, inputs, device))
    }

    fn new(layer: &Layer, device: &Device) -> Option<Self> {
        let kernel = |layer: &Conv2d| {
            let shape = [
                layer.channels,
                layer.input[0] / layer.groups,
                layer.kernel[0],
                layer.kernel[1],
            ];
            Tensor::from_data(TensorData::new(layer.weight.clone(), shape), device)
        };
        Some(match layer {
            Layer::Affine(layer) => {
                let weight = TensorData::new(layer.weight.clone(), [layer.outputs, layer.inputs]);
                Self::Dense(Tensor::from_data(weight, device))
            }
            Layer::Conv2d(layer) => Self::Conv {
                kernel: kernel(layer),
                layer: Box::new(layer.clone()),
            },
            Layer::AvgPool2d(pool) => {
                let channels = pool.input[0];
                let layer = Conv2d {
                    input: pool.input,
                    channels,
                    kernel: pool.kernel,
                    stride: pool.stride,
                    padding: pool.padding,
                    dilation: [1, 1],
                    groups: channels,
                    weight: vec![1.0; channels * pool.kernel[0] * pool.kernel[1]],
                    bias: vec![0.0; channels],
                };
                let [_, height, width] = pool.output();
                let mut factor = Vec::with_capacity(channels * height * width);
                for _ in 0..channels {
                    for y in 0..height {
                        for x in 0..width {
                            factor.push(1.0 / pool.divisor(y, x) as f64);
                        }
                    }
                }
                let factor = matrix(&factor, 1, factor.len(), device);
                Self::Pool {
                    kernel: kernel(&layer),
                    layer: Box::new(layer),
                    factor,
                }
            }
            Layer::Scale(layer) => {
                let scale: Vec<f64> = layer.scale.iter().map(|x| x.value).collect();
                Self::Scale(matrix(&scale, 1, scale.len(), device))
            }
            Layer::Permute(order) => {
                let mut inverse = vec![0_i32; order.len()];
                for (to, &from) in order.iter().enumerate() {
                    inverse[from] = to as i32;
                }
                let order: Vec<i32> = order.iter().map(|&from| from as i32).collect();
                Self::Permute {
                    order: Tensor::from_data(TensorData::from(order.as_slice()), device),
                    inverse: Tensor::from_data(TensorData::from(inverse.as_slice()), device),
                }
            }
            Layer::Relu => return None,
        })
    }

    fn linear(&self, x: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Dense(weight) => x.matmul(weight.clone().transpose()),
            Self::Conv { kernel, layer } => convolve(x, kernel, layer),
            Self::Pool {
                kernel,
                layer,
                factor,
            } => convolve(x, kernel, layer) * factor.clone(),
            Self::Scale(scale) => x * scale.clone(),
            Self::Permute { order, .. } => x.select(1, order.clone()),
        }
    }

    fn transposed(&self, y: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Dense(weight) => y.matmul(weight.clone()),
            Self::Conv { kernel, layer } => spread(y, kernel, layer),
            Self::Pool {
                kernel,
                layer,
                factor,
            } => spread(y * factor.clone(), kernel, layer),
            Self::Scale(scale) => y * scale.clone(),
            Self::Permute { inverse, .. } => y.select(1, inverse.clone()),
        }
    }
}

/// The convolution without its bias.
fn convolve(x: Tensor<2>, kernel: &Tensor<4>, layer: &Conv2d) -> Tensor<2> {
    let [batch, _] = x.dims();
    let [channels, height, width] = layer.input;
    let [top, left, bottom, right] = layer.padding;
    let mut image = x.reshape([batch, channels, height, width]);
    let padding = if top == bottom && left == right {
        [top, left]
    } else {
        image = image.pad((left, right, top, bottom), 0.0_f32);
        [0, 0]
    };
    let options = ConvOptions::new(layer.stride, padding, layer.dilation, layer.groups);
    let outputs = layer.output().iter().product();
    conv2d(image, kernel.clone(), None, options).reshape([batch, outputs])
}

/// The transposed convolution, with the input's size restored whatever the stride.
fn spread(y: Tensor<2>, kernel: &Tensor<4>, layer: &Conv2d) -> Tensor<2> {
    let [batch, _] = y.dims();
    let [channels, height, width] = layer.input;
    let [top, left, bottom, right] = layer.padding;
    let padded = [height + top + bottom, width + left + right];
    // What the windows do not reach at the far end.
    let rest = [0, 1].map(|axis| {
        (padded[axis] - (layer.dilation[axis] * (layer.kernel[axis] - 1) + 1)) % layer.stride[axis]
    });
    let output = layer.output();
    let image = y.reshape([batch, output[0], output[1], output[2]]);
    let symmetric = top == bottom && left == right;
    let padding = if symmetric { [top, left] } else { [0, 0] };
    let options =
        ConvTransposeOptions::new(layer.stride, padding, rest, layer.dilation, layer.groups);
    let image = conv_transpose2d(image, kernel.clone(), None, options);
    let image = if symmetric {
        image
    } else {
        image.slice([0..batch, 0..channels, top..top + height, left..left + width])
    };
    image.reshape([batch, channels * height * width])
}
