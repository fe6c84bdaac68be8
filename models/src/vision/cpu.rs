//! Convolution and batch normalisation on the processor, in place of burn's where these are slower.
//!
//! `flex` gathers the windows of a convolution into a matrix and normalises in one pass over memory an operation. The
//! kernels here do neither. They enter as a backend extension: [`ImageOps`] is implemented for `flex` and, with gradients,
//! for autodiff on `flex`; burn picks the implementation by where a tensor is. Other devices, other types of numbers and
//! other shapes never get here: [`convolve`] and its like return nothing for them, and the caller asks burn.
//!
//! Results do not depend on the number of threads.

mod convolution;
mod lanes;
mod normalisation;

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, AutodiffBackend, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{DType, Device, Tensor, TensorData};

use convolution::Sizes;
use normalisation::{Affine, Channels};

/// Largest window.
const MAX_KERNEL: usize = 7;
/// Narrowest output of a convolution, and fewest positions of an image: below, most of a vector would be empty.
const MIN_WIDTH: usize = 4;
const MIN_POSITIONS: usize = 16;

/// Convolution of square windows, if it is one that is fast here.
pub(super) fn convolve(
    x: &Tensor<4>,
    weight: &Tensor<4>,
    bias: Option<&Tensor<1>>,
    [stride, padding]: [usize; 2],
) -> Option<Tensor<4>> {
    let [batch, inputs, height, width] = x.dims();
    let [outputs, own_inputs, kernel, own_kernel] = weight.dims();
    let fits = is_here(x)
        && is_here(weight)
        && bias.is_none_or(|bias| is_here(bias) && bias.dims() == [outputs])
        && [inputs, kernel] == [own_inputs, own_kernel]
        && batch * inputs * outputs > 0
        && (1..=MAX_KERNEL).contains(&kernel)
        && (1..=2).contains(&stride)
        && padding < kernel
        && height.min(width) + 2 * padding >= kernel;
    let sizes = Sizes {
        batch,
        inputs,
        outputs,
        height,
        width,
        kernel,
        stride,
        padding,
    };
    if !fits || sizes.output()[1] < MIN_WIDTH {
        return None;
    }
    let none = || Tensor::from_data(TensorData::new(Vec::<f32>::new(), [0]), &Device::flex());
    let bias = bias.cloned().unwrap_or_else(none);
    Some(Tensor::from_dispatch(Dispatch::convolve(
        x.clone().into_dispatch(),
        weight.clone().into_dispatch(),
        bias.into_dispatch(),
        sizes,
    )))
}

/// Batch normalisation by the batch's statistics, then ReLU if asked for; the output, and mean and biased variance of every
/// channel, which have no gradient.
pub(super) fn normalise_by_batch(
    x: &Tensor<4>,
    weight: &Tensor<1>,
    bias: &Tensor<1>,
    epsilon: f64,
    rectify: bool,
) -> Option<(Tensor<4>, [Tensor<1>; 2])> {
    let channels = channels(x, [weight, bias])?;
    let (output, mean, variance) = Dispatch::normalise_by_batch(
        x.clone().into_dispatch(),
        weight.clone().into_dispatch(),
        bias.clone().into_dispatch(),
        channels,
        epsilon,
        rectify,
    );
    let statistics = [mean, variance].map(Tensor::from_dispatch);
    Some((Tensor::from_dispatch(output), statistics))
}

/// `x scale + shift`, one of each a channel, then ReLU if asked for.
pub(super) fn scale_and_shift(
    x: &Tensor<4>,
    scale: &Tensor<1>,
    shift: &Tensor<1>,
    rectify: bool,
) -> Option<Tensor<4>> {
    let channels = channels(x, [scale, shift])?;
    Some(Tensor::from_dispatch(Dispatch::scale_and_shift(
        x.clone().into_dispatch(),
        scale.clone().into_dispatch(),
        shift.clone().into_dispatch(),
        channels,
        rectify,
    )))
}

fn channels(x: &Tensor<4>, vectors: [&Tensor<1>; 2]) -> Option<Channels> {
    let [batch, count, height, width] = x.dims();
    let fits = is_here(x)
        && vectors
            .iter()
            .all(|vector| is_here(vector) && vector.dims() == [count])
        && batch * count > 0
        && height * width >= MIN_POSITIONS;
    fits.then_some(Channels {
        batch,
        count,
        size: height * width,
    })
}

/// Whether a tensor is on `flex`, with or without autodiff, in 32 bits.
fn is_here<const D: usize>(x: &Tensor<D>) -> bool {
    x.dtype() == DType::F32 && x.device() == Device::flex()
}

/// What `flex` does here in a way of its own. The arguments are known to fit each other.
#[backend_extension(Flex, Autodiff)]
trait ImageOps: Backend {
    /// Without a bias, its tensor is empty: an extension takes no optional tensors.
    fn convolve(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        sizes: Sizes,
    ) -> FloatTensor<Self>;

    fn normalise_by_batch(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        channels: Channels,
        epsilon: f64,
        rectify: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    fn scale_and_shift(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        channels: Channels,
        rectify: bool,
    ) -> FloatTensor<Self>;
}

impl ImageOps for Flex {
    fn convolve(x: FlexTensor, weight: FlexTensor, bias: FlexTensor, sizes: Sizes) -> FlexTensor {
        let [x, weight, bias] = [x, weight, bias].map(|tensor| tensor.to_contiguous());
        let output = convolution::forward(sizes, values(&x), values(&weight), values(&bias));
        let [height, width] = sizes.output();
        tensor(output, [sizes.batch, sizes.outputs, height, width])
    }

    fn normalise_by_batch(
        x: FlexTensor,
        weight: FlexTensor,
        bias: FlexTensor,
        channels: Channels,
        epsilon: f64,
        rectify: bool,
    ) -> (FlexTensor, FlexTensor, FlexTensor) {
        let shape = x.layout().shape().clone();
        let [x, weight, bias] = [x, weight, bias].map(|tensor| tensor.to_contiguous());
        let (mean, variance) = normalisation::statistics(channels, values(&x));
        let parts = [&mean, &variance, values(&weight), values(&bias)];
        let affine = Affine::normalisation(parts, epsilon);
        let output = normalisation::apply(channels, values(&x), &affine, rectify);
        let statistic = |values: Vec<f32>| tensor(values, [channels.count]);
        (tensor(output, shape), statistic(mean), statistic(variance))
    }

    fn scale_and_shift(
        x: FlexTensor,
        scale: FlexTensor,
        shift: FlexTensor,
        channels: Channels,
        rectify: bool,
    ) -> FlexTensor {
        let shape = x.layout().shape().clone();
        let [x, scale, shift] = [x, scale, shift].map(|tensor| tensor.to_contiguous());
        let affine = Affine::plain(values(&scale), values(&shift));
        tensor(
            normalisation::apply(channels, values(&x), &affine, rectify),
            shape,
        )
    }
}

impl<C: CheckpointStrategy> ImageOps for Autodiff<Flex, C> {
    fn convolve(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        sizes: Sizes,
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), weight.node(), bias.node()];
        let forward = |[x, weight, bias]: [FloatTensor<Self>; 3]| {
            let [x, weight, bias] = [x, weight, bias].map(|tensor| tensor.into_primitive());
            Flex::convolve(x, weight, bias, sizes)
        };
        match Convolution.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let nodes = [&x, &weight].map(|tensor| prep.checkpoint(tensor));
                prep.finish((nodes, sizes), forward([x, weight, bias]))
            }
            OpsKind::UnTracked(prep) => prep.finish(forward([x, weight, bias])),
        }
    }

    fn normalise_by_batch(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        channels: Channels,
        epsilon: f64,
        rectify: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let nodes = [x.node(), weight.node(), bias.node()];
        let forward = |[x, weight, bias]: [FloatTensor<Self>; 3]| {
            let [x, weight, bias] = [x, weight, bias].map(|tensor| tensor.into_primitive());
            Flex::normalise_by_batch(x, weight, bias, channels, epsilon, rectify)
        };
        let (output, mean, variance) =
            match Normalisation.prepare::<C>(nodes).compute_bound().stateful() {
                OpsKind::Tracked(mut prep) => {
                    let nodes = [&x, &weight, &bias].map(|tensor| prep.checkpoint(tensor));
                    let (output, mean, variance) = forward([x, weight, bias]);
                    let statistics = [mean.clone(), variance.clone()];
                    let state = (nodes, statistics, channels, epsilon, rectify);
                    (prep.finish(state, output), mean, variance)
                }
                OpsKind::UnTracked(prep) => {
                    let (output, mean, variance) = forward([x, weight, bias]);
                    (prep.finish(output), mean, variance)
                }
            };
        (output, Self::from_inner(mean), Self::from_inner(variance))
    }

    fn scale_and_shift(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        channels: Channels,
        rectify: bool,
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), scale.node(), shift.node()];
        let forward = |[x, scale, shift]: [FloatTensor<Self>; 3]| {
            let [x, scale, shift] = [x, scale, shift].map(|tensor| tensor.into_primitive());
            Flex::scale_and_shift(x, scale, shift, channels, rectify)
        };
        match ScaleAndShift.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let nodes = [&x, &scale, &shift].map(|tensor| prep.checkpoint(tensor));
                prep.finish((nodes, channels, rectify), forward([x, scale, shift]))
            }
            OpsKind::UnTracked(prep) => prep.finish(forward([x, scale, shift])),
        }
    }
}

/// Gradients of a convolution to images, weights and bias.
#[derive(Debug)]
struct Convolution;

impl Backward<Flex, 3> for Convolution {
    type State = ([NodeId; 2], Sizes);

    fn backward(
        self,
        ops: Ops<Self::State, 3>,
        gradients: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let gradient = gradients.consume::<Flex>(&ops.node).to_contiguous();
        let (nodes, sizes) = ops.state;
        let Sizes {
            batch,
            inputs,
            outputs,
            height,
            width,
            kernel,
            ..
        } = sizes;
        let [x, weight] = nodes.map(|node| held(checkpointer, node));
        let [to_x, to_weight, to_bias] = ops.parents;
        if let Some(node) = to_x {
            let found = convolution::input_gradient(sizes, values(&gradient), values(&weight));
            let found = tensor(found, [batch, inputs, height, width]);
            gradients.register::<Flex>(node.id, found);
        }
        if let Some(node) = to_weight {
            let found = convolution::weight_gradient(sizes, values(&x), values(&gradient));
            let found = tensor(found, [outputs, inputs, kernel, kernel]);
            gradients.register::<Flex>(node.id, found);
        }
        if let Some(node) = to_bias {
            let channels = Channels {
                batch,
                count: outputs,
                size: sizes.output().iter().product(),
            };
            let found = normalisation::channel_sums(channels, values(&gradient));
            gradients.register::<Flex>(node.id, tensor(found, [outputs]));
        }
    }
}

/// Gradients of a batch normalisation by the batch's statistics to images, weight and bias.
#[derive(Debug)]
struct Normalisation;

impl Backward<Flex, 3> for Normalisation {
    type State = ([NodeId; 3], [FlexTensor; 2], Channels, f64, bool);

    fn backward(
        self,
        ops: Ops<Self::State, 3>,
        gradients: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let gradient = gradients.consume::<Flex>(&ops.node).to_contiguous();
        let (nodes, [mean, variance], channels, epsilon, rectify) = ops.state;
        let [x, weight, bias] = nodes.map(|node| held(checkpointer, node));
        let parts = [&mean, &variance, &weight, &bias].map(values);
        let affine = Affine::normalisation(parts, epsilon);
        let pair = [values(&x), values(&gradient)];
        let sums = normalisation::gradient_sums(channels, pair, &affine, rectify);
        let [to_x, to_weight, to_bias] = ops.parents;
        if let Some(node) = to_x {
            let parts = normalisation::input_parts(channels, &affine, &sums);
            let found = normalisation::input_gradient(channels, pair, &affine, &parts, rectify);
            let shape = x.layout().shape().clone();
            gradients.register::<Flex>(node.id, tensor(found, shape));
        }
        if let Some(node) = to_weight {
            let sums = sums.iter().zip(&affine);
            let found = sums.map(|(sums, affine)| (sums.product * affine.inverse) as f32);
            gradients.register::<Flex>(node.id, tensor(found.collect(), [channels.count]));
        }
        if let Some(node) = to_bias {
            let found = sums.iter().map(|sums| sums.plain as f32);
            gradients.register::<Flex>(node.id, tensor(found.collect(), [channels.count]));
        }
    }
}

/// Gradients of `x scale + shift` to all three.
#[derive(Debug)]
struct ScaleAndShift;

impl Backward<Flex, 3> for ScaleAndShift {
    type State = ([NodeId; 3], Channels, bool);

    fn backward(
        self,
        ops: Ops<Self::State, 3>,
        gradients: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let gradient = gradients.consume::<Flex>(&ops.node).to_contiguous();
        let (nodes, channels, rectify) = ops.state;
        let [x, scale, shift] = nodes.map(|node| held(checkpointer, node));
        let affine = Affine::plain(values(&scale), values(&shift));
        let pair = [values(&x), values(&gradient)];
        let [to_x, to_scale, to_shift] = ops.parents;
        if let Some(node) = to_x {
            let parts: Vec<[f32; 3]> = affine.iter().map(|a| [a.scale, 0.0, 0.0]).collect();
            let found = normalisation::input_gradient(channels, pair, &affine, &parts, rectify);
            let shape = x.layout().shape().clone();
            gradients.register::<Flex>(node.id, tensor(found, shape));
        }
        if to_scale.is_none() && to_shift.is_none() {
            return;
        }
        let sums = normalisation::gradient_sums(channels, pair, &affine, rectify);
        if let Some(node) = to_scale {
            let found = sums.iter().map(|sums| sums.product as f32);
            gradients.register::<Flex>(node.id, tensor(found.collect(), [channels.count]));
        }
        if let Some(node) = to_shift {
            let found = sums.iter().map(|sums| sums.plain as f32);
            gradients.register::<Flex>(node.id, tensor(found.collect(), [channels.count]));
        }
    }
}

/// What a node put out in the forward pass.
fn held(checkpointer: &mut Checkpointer, node: NodeId) -> FlexTensor {
    let tensor: FlexTensor = checkpointer.retrieve_node_output(node);
    tensor.to_contiguous()
}

/// The values of a contiguous tensor of 32-bit numbers.
fn values(tensor: &FlexTensor) -> &[f32] {
    tensor.storage()
}

fn tensor(values: Vec<f32>, shape: impl Into<burn::tensor::Shape>) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape))
}
