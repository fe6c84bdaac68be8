//! Batch normalisation and ReLU in as few passes over memory as there can be, and their gradients.
//!
//! Sums are taken in 32 bits over the positions of an image, in 64 bits over images, and always in the same order.

use rayon::prelude::*;

use super::lanes::{Lanes, with_lanes};

/// Numbers that are summed side by side.
const SIDE: usize = 32;

/// Sizes of `[batch, count, size]`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Channels {
    pub(super) batch: usize,
    pub(super) count: usize,
    pub(super) size: usize,
}

impl Channels {
    /// The planes of a channel.
    fn planes<'x>(&self, x: &'x [f32], channel: usize) -> impl Iterator<Item = &'x [f32]> {
        let planes = x.chunks_exact(self.size);
        planes.skip(channel).step_by(self.count)
    }
}

/// What is done to a channel: `(x - centre) scale + shift`.
#[derive(Clone, Copy)]
pub(super) struct Affine {
    pub(super) centre: f32,
    pub(super) scale: f32,
    pub(super) shift: f32,
    /// One by the deviation, which is a factor of the scale.
    pub(super) inverse: f64,
}

impl Affine {
    /// By mean, variance, weight and bias.
    pub(super) fn normalisation(
        [mean, variance, weight, bias]: [&[f32]; 4],
        epsilon: f64,
    ) -> Vec<Self> {
        let affine = |channel: usize| {
            let inverse = (f64::from(variance[channel]) + epsilon).sqrt().recip();
            Self {
                centre: mean[channel],
                scale: (f64::from(weight[channel]) * inverse) as f32,
                shift: bias[channel],
                inverse,
            }
        };
        (0..mean.len()).map(affine).collect()
    }

    /// Without a centre.
    pub(super) fn plain(scale: &[f32], shift: &[f32]) -> Vec<Self> {
        let pairs = scale.iter().zip(shift);
        let affine = |(&scale, &shift)| Self {
            centre: 0.0,
            scale,
            shift,
            inverse: 1.0,
        };
        pairs.map(affine).collect()
    }

    #[inline(always)]
    fn of(&self, x: f32) -> f32 {
        (x - self.centre) * self.scale + self.shift
    }

    /// The gradient that passes a ReLU behind it, if there is one.
    #[inline(always)]
    fn passed<const RECTIFY: bool>(&self, x: f32, gradient: f32) -> f32 {
        match RECTIFY && self.of(x) <= 0.0 {
            true => 0.0,
            false => gradient,
        }
    }
}

/// Mean and biased variance of every channel.
pub(super) fn statistics(channels: Channels, x: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let one = |channel: usize| {
        with_lanes!(lanes => lanes.run(
            #[inline(always)]
            || moments(channels, x, channel)
        ))
    };
    (0..channels.count).into_par_iter().map(one).unzip()
}

/// Chan's update plane by plane: every plane is centred by its own mean while it is in the first-level cache.
#[inline(always)]
fn moments(channels: Channels, x: &[f32], channel: usize) -> (f32, f32) {
    let size = channels.size as f64;
    let (mut count, mut mean, mut squares) = (0.0, 0.0, 0.0);
    for plane in channels.planes(x, channel) {
        let own_mean = f64::from(sum(plane, |x| x)) / size;
        let centre = own_mean as f32;
        // The rounding of the centre is put right, as the squares are about the mean itself.
        let rounding = own_mean - f64::from(centre);
        let own_squares = f64::from(sum(plane, |x| (x - centre) * (x - centre)));
        let apart = own_mean - mean;
        let total = count + size;
        squares += own_squares - size * rounding * rounding + apart * apart * count * size / total;
        mean += apart * size / total;
        count = total;
    }
    (mean as f32, (squares / count).max(0.0) as f32)
}

/// Sum of every channel.
pub(super) fn channel_sums(channels: Channels, x: &[f32]) -> Vec<f32> {
    let one = |channel: usize| {
        let planes = channels.planes(x, channel);
        planes
            .map(|plane| f64::from(sum(plane, |x| x)))
            .sum::<f64>() as f32
    };
    (0..channels.count).into_par_iter().map(one).collect()
}

/// `(x - centre) scale + shift`, then ReLU if asked for.
pub(super) fn apply(channels: Channels, x: &[f32], affine: &[Affine], rectify: bool) -> Vec<f32> {
    #[inline(always)]
    fn image<const RECTIFY: bool>(size: usize, x: &[f32], affine: &[Affine], y: &mut [f32]) {
        let planes = x.chunks_exact(size).zip(y.chunks_exact_mut(size));
        for ((x, y), affine) in planes.zip(affine) {
            for (y, &x) in y.iter_mut().zip(x) {
                let value = affine.of(x);
                // A NaN stays what it is.
                *y = if RECTIFY && value <= 0.0 { 0.0 } else { value };
            }
        }
    }
    let Channels { count, size, .. } = channels;
    let mut output = vec![0.0; x.len()];
    let images = output.par_chunks_exact_mut(count * size);
    images
        .zip(x.par_chunks_exact(count * size))
        .for_each(|(y, x)| {
            with_lanes!(lanes => lanes.run(
                #[inline(always)]
                || match rectify {
                    true => image::<true>(size, x, affine, y),
                    false => image::<false>(size, x, affine, y),
                }
            ));
        });
    output
}

/// Sums over a channel.
#[derive(Clone, Copy)]
pub(super) struct Sums {
    /// Of the gradient.
    pub(super) plain: f64,
    /// Of the gradient times what the channel's scale multiplies.
    pub(super) product: f64,
}

/// Sums over every channel, of the gradient that passes the ReLU. `pair`: input, and gradient of the output.
pub(super) fn gradient_sums(
    channels: Channels,
    [x, gradient]: [&[f32]; 2],
    affine: &[Affine],
    rectify: bool,
) -> Vec<Sums> {
    #[inline(always)]
    fn of<'x, const RECTIFY: bool>(
        planes: impl Iterator<Item = (&'x [f32], &'x [f32])>,
        affine: Affine,
    ) -> Sums {
        let mut sums = Sums {
            plain: 0.0,
            product: 0.0,
        };
        for (x, gradient) in planes {
            let [plain, product] = pair_sums(x, gradient, |x, gradient| {
                let passed = affine.passed::<RECTIFY>(x, gradient);
                [passed, passed * (x - affine.centre)]
            });
            sums.plain += f64::from(plain);
            sums.product += f64::from(product);
        }
        sums
    }
    let one = |channel: usize| {
        let planes = channels
            .planes(x, channel)
            .zip(channels.planes(gradient, channel));
        with_lanes!(lanes => lanes.run(
            #[inline(always)]
            || match rectify {
                true => of::<true>(planes, affine[channel]),
                false => of::<false>(planes, affine[channel]),
            }
        ))
    };
    (0..channels.count).into_par_iter().map(one).collect()
}

/// What [`input_gradient`] needs so that mean and variance move with the input.
pub(super) fn input_parts(channels: Channels, affine: &[Affine], sums: &[Sums]) -> Vec<[f32; 3]> {
    let count = (channels.batch * channels.size) as f64;
    let pairs = affine.iter().zip(sums);
    let parts = |(affine, sums): (&Affine, &Sums)| {
        let scale = f64::from(affine.scale);
        let along = scale * affine.inverse * affine.inverse * sums.product / count;
        [
            affine.scale,
            -along as f32,
            -(scale * sums.plain / count) as f32,
        ]
    };
    pairs.map(parts).collect()
}

/// `a gradient + b (x - centre) + c` with the parts `[a, b, c]` of the channel, of the gradient that passes the ReLU.
pub(super) fn input_gradient(
    channels: Channels,
    [x, gradient]: [&[f32]; 2],
    affine: &[Affine],
    parts: &[[f32; 3]],
    rectify: bool,
) -> Vec<f32> {
    #[inline(always)]
    fn image<const RECTIFY: bool>(
        size: usize,
        [x, gradient]: [&[f32]; 2],
        affine: &[Affine],
        parts: &[[f32; 3]],
        output: &mut [f32],
    ) {
        let inputs = x.chunks_exact(size).zip(gradient.chunks_exact(size));
        let planes = inputs.zip(output.chunks_exact_mut(size));
        for (((x, gradient), output), (affine, &[a, b, c])) in planes.zip(affine.iter().zip(parts))
        {
            for (output, (&x, &gradient)) in output.iter_mut().zip(x.iter().zip(gradient)) {
                let passed = affine.passed::<RECTIFY>(x, gradient);
                *output = a * passed + (b * (x - affine.centre) + c);
            }
        }
    }
    let Channels { count, size, .. } = channels;
    let mut output = vec![0.0; x.len()];
    let images = output.par_chunks_exact_mut(count * size);
    let inputs = x.par_chunks_exact(count * size);
    let inputs = inputs.zip(gradient.par_chunks_exact(count * size));
    images.zip(inputs).for_each(|(output, (x, gradient))| {
        with_lanes!(lanes => lanes.run(
            #[inline(always)]
            || match rectify {
                true => image::<true>(size, [x, gradient], affine, parts, output),
                false => image::<false>(size, [x, gradient], affine, parts, output),
            }
        ));
    });
    output
}

/// Sum of a function.
#[inline(always)]
fn sum(x: &[f32], function: impl Fn(f32) -> f32) -> f32 {
    let (blocks, rest) = x.as_chunks::<SIDE>();
    let mut sums = [0.0; SIDE];
    for block in blocks {
        for lane in 0..SIDE {
            sums[lane] += function(block[lane]);
        }
    }
    sums.iter().sum::<f32>() + rest.iter().map(|&x| function(x)).sum::<f32>()
}

/// Sums of a function of two values.
#[inline(always)]
fn pair_sums(x: &[f32], y: &[f32], function: impl Fn(f32, f32) -> [f32; 2]) -> [f32; 2] {
    let (x_blocks, x_rest) = x.as_chunks::<SIDE>();
    let (y_blocks, y_rest) = y.as_chunks::<SIDE>();
    let mut sums = [[0.0; SIDE]; 2];
    for (x, y) in x_blocks.iter().zip(y_blocks) {
        for lane in 0..SIDE {
            let [a, b] = function(x[lane], y[lane]);
            sums[0][lane] += a;
            sums[1][lane] += b;
        }
    }
    let mut sums = sums.map(|sums| sums.iter().sum::<f32>());
    for (&x, &y) in x_rest.iter().zip(y_rest) {
        let [a, b] = function(x, y);
        sums[0] += a;
        sums[1] += b;
    }
    sums
}
