//! The operations on tensors that the networks are made of, each as PyTorch defines it.

use burn::tensor::module::{
    adaptive_avg_pool2d, avg_pool2d, batch_norm_train, conv2d, linear as multiply,
    max_pool2d_with_indices,
};
use burn::tensor::ops::{AvgPoolOptions, ConvOptions, MaxPoolOptions, PadMode};
use burn::tensor::{Int, Tensor, activation};

#[cfg(feature = "flex")]
use super::cpu;

/// Convolution with weights `[out, in, kernel, kernel]`.
pub(super) fn convolve(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    stride: usize,
    padding: usize,
) -> Tensor<4> {
    #[cfg(feature = "flex")]
    if let Some(output) = cpu::convolve(&x, &weight, bias.as_ref(), [stride, padding]) {
        return output;
    }
    conv2d(
        x,
        weight,
        bias,
        ConvOptions::new([stride; 2], [padding; 2], [1; 2], 1),
    )
}

/// Product with weights `[out, in]` over the last axis.
pub(super) fn linear<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
) -> Tensor<D> {
    multiply(x, weight.transpose(), bias)
}

/// One number a channel, to broadcast over `[batch, channels, height, width]`.
pub(super) fn per_channel(values: Tensor<1>) -> Tensor<4> {
    let channels = values.dims()[0];
    values.reshape([1, channels, 1, 1])
}

/// Mean over everything but the channels, `[1, channels, 1, 1]`.
pub(super) fn channel_mean(x: Tensor<4>) -> Tensor<4> {
    let [batch, channels, height, width] = x.dims();
    let rows = x
        .swap_dims(0, 1)
        .reshape([channels, batch * height * width]);
    rows.mean_dim(1).reshape([1, channels, 1, 1])
}

/// Batch normalisation by the batch's statistics, then ReLU if asked for; the output, and mean and biased variance of every
/// channel, which have no gradient.
pub(super) fn normalise_by_batch(
    x: Tensor<4>,
    weight: Tensor<1>,
    bias: Tensor<1>,
    epsilon: f64,
    rectify: bool,
) -> (Tensor<4>, [Tensor<1>; 2]) {
    #[cfg(feature = "flex")]
    if let Some(result) = cpu::normalise_by_batch(&x, &weight, &bias, epsilon, rectify) {
        return result;
    }
    let result = batch_norm_train(x, weight, bias, epsilon);
    let output = match rectify {
        true => activation::relu(result.output),
        false => result.output,
    };
    (output, [result.mean, result.variance])
}

/// Batch normalisation with given statistics, as one multiplication and one addition a value; then ReLU if asked for.
pub(super) fn normalise(
    x: Tensor<4>,
    [weight, bias, mean, variance]: [Tensor<1>; 4],
    epsilon: f64,
    rectify: bool,
) -> Tensor<4> {
    let scale = weight / variance.add_scalar(epsilon).sqrt();
    let shift = bias - mean * scale.clone();
    #[cfg(feature = "flex")]
    if let Some(output) = cpu::scale_and_shift(&x, &scale, &shift, rectify) {
        return output;
    }
    let output = x * per_channel(scale) + per_channel(shift);
    match rectify {
        true => activation::relu(output),
        false => output,
    }
}

/// `(x - mean) / sqrt(variance + epsilon)` over the last axis, and the divisor.
pub(super) fn standardise<const D: usize>(x: Tensor<D>, epsilon: f64) -> (Tensor<D>, Tensor<D>) {
    let centred = x.clone() - x.mean_dim(D - 1);
    let variance = centred.clone().square().mean_dim(D - 1);
    let deviation = variance.add_scalar(epsilon).sqrt();
    (centred / deviation.clone(), deviation)
}

/// Largest value of every window, and where in its channel it stands (row times width plus column).
pub(super) fn max_pool(
    x: Tensor<4>,
    [kernel, stride, padding]: [usize; 3],
) -> (Tensor<4>, Tensor<4, Int>) {
    let options = MaxPoolOptions::new([kernel; 2])
        .with_stride([stride; 2])
        .with_padding([padding; 2]);
    max_pool2d_with_indices(x, options)
}

/// The values of each channel at positions that [`max_pool`] found.
pub(super) fn at_positions(x: Tensor<4>, positions: Tensor<4, Int>) -> Tensor<4> {
    let [batch, channels, height, width] = x.dims();
    let shape = positions.dims();
    let flat = positions.reshape([batch, channels, shape[2] * shape[3]]);
    x.reshape([batch, channels, height * width])
        .gather(2, flat)
        .reshape(shape)
}

/// Mean of every window.
pub(super) fn avg_pool(x: Tensor<4>, kernel: usize, stride: usize) -> Tensor<4> {
    avg_pool2d(x, AvgPoolOptions::new([kernel; 2]).with_stride([stride; 2]))
}

/// Means of windows that make a square image of this side.
pub(super) fn adaptive_pool(x: Tensor<4>, size: usize) -> Tensor<4> {
    adaptive_avg_pool2d(x, [size; 2])
}

/// Mean of every channel.
pub(super) fn global_pool(x: Tensor<4>) -> Tensor<2> {
    let [batch, channels, height, width] = x.dims();
    x.reshape([batch, channels, height * width])
        .mean_dim(2)
        .reshape([batch, channels])
}

/// Channels of zeros before and after.
pub(super) fn pad_channels(x: Tensor<4>, before: usize, after: usize) -> Tensor<4> {
    x.pad([(before, after), (0, 0), (0, 0)], PadMode::Constant(0.0))
}

/// Channel by channel, row by row.
pub(super) fn flatten(x: Tensor<4>) -> Tensor<2> {
    let [batch, channels, height, width] = x.dims();
    x.reshape([batch, channels * height * width])
}

/// The positions of an image as tokens, `[batch, height * width, channels]`.
pub(super) fn tokens(x: Tensor<4>) -> Tensor<3> {
    let [batch, channels, height, width] = x.dims();
    x.reshape([batch, channels, height * width]).swap_dims(1, 2)
}

/// The first token.
pub(super) fn first_token(x: Tensor<3>) -> Tensor<2> {
    let [batch, _, width] = x.dims();
    x.narrow(1, 0, 1).reshape([batch, width])
}

/// Attention weights, queries, keys and values of every head.
pub(super) struct Heads {
    pub(super) query: Tensor<4>,
    pub(super) key: Tensor<4>,
    pub(super) value: Tensor<4>,
}

impl Heads {
    /// Splits `[batch, tokens, 3 width]` into three times `[batch, heads, tokens, width / heads]`.
    pub(super) fn split(projected: Tensor<3>, heads: usize) -> Self {
        let [batch, tokens, triple] = projected.dims();
        let width = triple / 3;
        let part = |n: usize| {
            let part = projected.clone().narrow(2, n * width, width);
            part.reshape([batch, tokens, heads, width / heads])
                .swap_dims(1, 2)
        };
        Self {
            query: part(0),
            key: part(1),
            value: part(2),
        }
    }

    /// Softmax of the scaled products of queries and keys, `[batch, heads, tokens, tokens]`.
    pub(super) fn weights(&self) -> Tensor<4> {
        activation::softmax(scores(self.query.clone(), self.key.clone()), 3)
    }
}

/// Scaled products of queries and keys.
pub(super) fn scores(query: Tensor<4>, key: Tensor<4>) -> Tensor<4> {
    let scale = (query.dims()[3] as f64).sqrt().recip();
    query.matmul(key.swap_dims(2, 3)).mul_scalar(scale)
}

/// Heads side by side again.
pub(super) fn join_heads(x: Tensor<4>) -> Tensor<3> {
    let [batch, heads, tokens, width] = x.dims();
    x.swap_dims(1, 2).reshape([batch, tokens, heads * width])
}
