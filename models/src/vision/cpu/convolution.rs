//! Convolution of images, and its gradients, as sums over shifted rows.
//!
//! An image is copied into a [`Frame`], which has zeros around it and stays in the second-level cache. Eight neighbouring
//! positions of a row are one vector, wherever in the window they are read: a tile of four channels and two such vectors
//! is kept in registers while all weights that it depends on go by. Nothing is gathered into a matrix.
//!
//! The gradient to the input is the same computation, from a frame of the output's gradient, once for every remainder of
//! a position by the stride. The gradient to the weights keeps a tile of four channels and three weights in registers while
//! positions go by; it is summed over fixed groups of images in a fixed order, so that it does not depend on the number of
//! threads.

use rayon::prelude::*;

use super::lanes::{LANES, Lanes, with_lanes};

/// Channels of a tile.
const CHANNELS: usize = 4;
/// Vectors of a tile of a convolution.
const VECTORS: usize = 2;
/// Weights of a tile of the gradient to the weights.
const TAPS: usize = 3;
/// Vectors over which a tile of the gradient to the weights is summed before it leaves the registers.
const RUN: usize = 128;
/// Parts that the gradient to the weights is summed from, if memory allows.
const PARTS: usize = 32;
/// Numbers that these parts may take together.
const PARTS_SIZE: usize = 1 << 24;

/// Sizes of a convolution without groups and dilation, of square windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sizes {
    pub(super) batch: usize,
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) kernel: usize,
    pub(super) stride: usize,
    pub(super) padding: usize,
}

impl Sizes {
    /// Height and width of the output.
    pub(super) fn output(&self) -> [usize; 2] {
        let along = |size| (size + 2 * self.padding - self.kernel) / self.stride + 1;
        [along(self.height), along(self.width)]
    }

    fn input_len(&self) -> usize {
        self.inputs * self.height * self.width
    }

    fn output_len(&self) -> usize {
        let [height, width] = self.output();
        self.outputs * height * width
    }

    fn weights(&self) -> usize {
        self.outputs * self.inputs * self.kernel * self.kernel
    }
}

/// `[batch, outputs, height, width]` from images, weights `[outputs, inputs, kernel, kernel]` and a bias, which is empty if
/// there is none.
pub(super) fn forward(sizes: Sizes, x: &[f32], weight: &[f32], bias: &[f32]) -> Vec<f32> {
    let frame = Frame::of_input(&sizes);
    let window = sizes.kernel * sizes.kernel;
    let taps = frame.taps(&sizes);
    let per_output = sizes.inputs * window;
    let pass = Pass {
        weights: pack(sizes.outputs, taps.len(), |output, tap| {
            weight[output * per_output + tap]
        }),
        taps,
        vectors: frame.vectors(&sizes),
        step: 1,
    };
    let [height, width] = sizes.output();
    let planes = Planes {
        count: sizes.outputs,
        size: height * width,
        bias,
    };
    apply(&frame, &[pass], planes, sizes.batch, x)
}

/// Gradient to the images.
pub(super) fn input_gradient(sizes: Sizes, gradient: &[f32], weight: &[f32]) -> Vec<f32> {
    let Sizes {
        inputs,
        outputs,
        kernel,
        stride,
        padding,
        ..
    } = sizes;
    // An input position plus padding is `stride q + remainder`; outputs at `q - t` read it by the weight
    // `remainder + stride t`.
    let reach = kernel.div_ceil(stride) - 1;
    let range = |size: usize, remainder: usize| {
        let first = padding.saturating_sub(remainder).div_ceil(stride);
        let end = (size + padding).saturating_sub(remainder).div_ceil(stride);
        first..end.max(first)
    };
    let frame = Frame::of_gradient(&sizes, reach, &range);
    let window = kernel * kernel;
    let remainders = (0..stride).flat_map(|a| (0..stride).map(move |b| (a, b)));
    let pass = |(a, b): (usize, usize)| {
        let along = |remainder: usize| (remainder..kernel).step_by(stride).enumerate();
        let mut taps = Vec::new();
        let mut sources = Vec::new();
        for output in 0..outputs {
            for (t, row) in along(a) {
                for (u, column) in along(b) {
                    let shift = (reach - t) * frame.row + reach - u;
                    taps.push(output * frame.plane + shift);
                    sources.push(output * inputs * window + row * kernel + column);
                }
            }
        }
        let columns = range(sizes.width, b);
        let mut vectors = Vec::new();
        for row in range(sizes.height, a) {
            for column in columns.clone().step_by(LANES) {
                vectors.push(Place {
                    from: row * frame.row + column,
                    to: (stride * row + a - padding) * sizes.width + stride * column + b - padding,
                    count: LANES.min(columns.end - column),
                });
            }
        }
        Pass {
            weights: pack(inputs, taps.len(), |input, tap| {
                weight[sources[tap] + input * window]
            }),
            taps,
            vectors,
            step: stride,
        }
    };
    let passes: Vec<Pass> = remainders.map(pass).collect();
    let planes = Planes {
        count: inputs,
        size: sizes.height * sizes.width,
        bias: &[],
    };
    apply(&frame, &passes, planes, sizes.batch, gradient)
}

/// Gradient to the weights.
pub(super) fn weight_gradient(sizes: Sizes, x: &[f32], gradient: &[f32]) -> Vec<f32> {
    let inputs = Frame::of_input(&sizes);
    let outputs = Frame::of_rows(&sizes);
    let taps = inputs.taps(&sizes);
    let image = inputs.vectors(&sizes);
    let group = RUN.div_ceil(image.len()).min(sizes.batch);
    let rows = outputs.vectors_of_rows(&sizes);
    let pairs = (0..group).flat_map(|n| {
        let pairs = image.iter().zip(&rows);
        let (x, gradient) = (n * inputs.len(), n * outputs.len());
        pairs.map(move |(place, row)| [x + place.from, gradient + row])
    });
    let pairs: Vec<[usize; 2]> = pairs.collect();
    let parts = PARTS.min(PARTS_SIZE / sizes.weights()).max(1);
    let per_part = sizes.batch.div_ceil(parts).next_multiple_of(group);
    let images = |values: &[f32], len: usize, first: usize, count: usize| {
        first * len..((first + count) * len).min(values.len())
    };
    let part = |first: usize| {
        let mut sum = vec![0.0; sizes.weights()];
        let mut frames = vec![0.0; group * inputs.len()];
        let mut gradients = vec![0.0; group * outputs.len()];
        let end = sizes.batch.min(first + per_part);
        for first in (first..end).step_by(group) {
            let count = group.min(end - first);
            let x = &x[images(x, sizes.input_len(), first, count)];
            let gradient = &gradient[images(gradient, sizes.output_len(), first, count)];
            inputs.fill(x, &mut frames);
            outputs.fill(gradient, &mut gradients);
            let correlation = Correlation {
                frames: &frames,
                gradients: &gradients,
                plane: outputs.plane,
                taps: &taps,
                pairs: &pairs[..count * image.len()],
            };
            let blocks = sum.chunks_mut(CHANNELS * taps.len()).enumerate();
            if sizes.batch > per_part {
                blocks.for_each(|(n, sum)| correlation.add_to(n * CHANNELS, sum));
            } else {
                blocks
                    .collect::<Vec<_>>()
                    .into_par_iter()
                    .for_each(|(n, sum)| correlation.add_to(n * CHANNELS, sum));
            }
        }
        sum
    };
    let firsts: Vec<usize> = (0..sizes.batch).step_by(per_part).collect();
    let sums: Vec<Vec<f32>> = firsts.into_par_iter().map(part).collect();
    let add = |mut total: Vec<f32>, sum: Vec<f32>| {
        total.iter_mut().zip(sum).for_each(|(a, b)| *a += b);
        total
    };
    sums.into_iter().reduce(add).unwrap_or_default()
}

/// Where the planes of an image stand with zeros around them. With a stride, the columns of a row are sorted by their
/// remainder, so that what a vector reads is contiguous.
struct Frame {
    planes: usize,
    /// Rows and columns of the source.
    height: usize,
    width: usize,
    /// Zeros before the first row and column.
    border: usize,
    stride: usize,
    /// Columns of one remainder.
    part: usize,
    /// Length of a row, all remainders.
    row: usize,
    plane: usize,
}

impl Frame {
    fn new(
        [planes, height, width]: [usize; 3],
        [border, stride]: [usize; 2],
        [rows, part]: [usize; 2],
    ) -> Self {
        let part = part.max((border + width).div_ceil(stride));
        let row = stride * part;
        Self {
            planes,
            height,
            width,
            border,
            stride,
            part,
            row,
            plane: rows.max(border + height) * row,
        }
    }

    /// For windows over the images.
    fn of_input(sizes: &Sizes) -> Self {
        let [_, width] = sizes.output();
        let part = width.next_multiple_of(LANES) + (sizes.kernel - 1) / sizes.stride;
        Self::new(
            [sizes.inputs, sizes.height, sizes.width],
            [sizes.padding, sizes.stride],
            [sizes.height + 2 * sizes.padding, part],
        )
    }

    /// For windows over the output's gradient.
    fn of_gradient(
        sizes: &Sizes,
        reach: usize,
        range: &impl Fn(usize, usize) -> std::ops::Range<usize>,
    ) -> Self {
        let [height, width] = sizes.output();
        let end = |size: usize, lanes: usize| {
            let ends = (0..sizes.stride).map(|remainder| {
                let range = range(size, remainder);
                range.start + range.len().next_multiple_of(lanes) + reach
            });
            ends.max().unwrap_or_default()
        };
        Self::new(
            [sizes.outputs, height, width],
            [reach, 1],
            [end(sizes.height, 1), end(sizes.width, LANES)],
        )
    }

    /// For whole rows of the output's gradient.
    fn of_rows(sizes: &Sizes) -> Self {
        let [height, width] = sizes.output();
        Self::new(
            [sizes.outputs, height, width],
            [0, 1],
            [height, width.next_multiple_of(LANES)],
        )
    }

    fn len(&self) -> usize {
        self.planes * self.plane
    }

    /// Offset of what every weight of an output channel reads from where its window starts.
    fn taps(&self, sizes: &Sizes) -> Vec<usize> {
        let mut taps = Vec::with_capacity(sizes.inputs * sizes.kernel * sizes.kernel);
        for input in 0..sizes.inputs {
            for row in 0..sizes.kernel {
                for column in 0..sizes.kernel {
                    let column = column % self.stride * self.part + column / self.stride;
                    taps.push(input * self.plane + row * self.row + column);
                }
            }
        }
        taps
    }

    /// Windows of all outputs, a vector at a time.
    fn vectors(&self, sizes: &Sizes) -> Vec<Place> {
        let [height, width] = sizes.output();
        let row = |row: usize| {
            (0..width).step_by(LANES).map(move |column| Place {
                from: row * self.stride * self.row + column,
                to: row * width + column,
                count: LANES.min(width - column),
            })
        };
        (0..height).flat_map(row).collect()
    }

    /// Where these vectors stand in rows that are whole numbers of vectors.
    fn vectors_of_rows(&self, sizes: &Sizes) -> Vec<usize> {
        let [height, width] = sizes.output();
        let row = |row: usize| {
            (0..width)
                .step_by(LANES)
                .map(move |column| row * self.row + column)
        };
        (0..height).flat_map(row).collect()
    }

    /// Copies images into frames whose borders are zero.
    fn fill(&self, images: &[f32], frames: &mut [f32]) {
        let planes = images.chunks_exact(self.height * self.width);
        for (image, frame) in planes.zip(frames.chunks_exact_mut(self.plane)) {
            let rows = frame.chunks_exact_mut(self.row).skip(self.border);
            for (source, row) in image.chunks_exact(self.width).zip(rows) {
                if self.stride == 1 {
                    row[self.border..][..self.width].copy_from_slice(source);
                    continue;
                }
                for (remainder, part) in row.chunks_exact_mut(self.part).enumerate() {
                    // The first column of the source with this remainder, and its place.
                    let first = (self.stride + remainder - self.border % self.stride) % self.stride;
                    let part = part[(self.border + first) / self.stride..].iter_mut();
                    let source = source.get(first..).unwrap_or_default();
                    match self.stride {
                        // A step that the compiler knows, which it makes vectors of.
                        2 => part.zip(source.chunks(2)).for_each(|(a, b)| *a = b[0]),
                        step => part.zip(source.chunks(step)).for_each(|(a, b)| *a = b[0]),
                    }
                }
            }
        }
    }
}

/// A vector: where a frame holds it, where it goes, and how many of its numbers count.
#[derive(Clone, Copy)]
struct Place {
    from: usize,
    to: usize,
    count: usize,
}

/// Sums over all taps at many places, for every channel.
struct Pass {
    /// Offsets into the frame.
    taps: Vec<usize>,
    /// For every tile of channels, the weights of all taps.
    weights: Vec<[f32; CHANNELS]>,
    vectors: Vec<Place>,
    /// Distance of neighbouring results.
    step: usize,
}

/// Weights tile by tile.
fn pack(
    channels: usize,
    taps: usize,
    weight: impl Fn(usize, usize) -> f32,
) -> Vec<[f32; CHANNELS]> {
    let mut packed = Vec::with_capacity(channels.div_ceil(CHANNELS) * taps);
    for first in (0..channels).step_by(CHANNELS) {
        for tap in 0..taps {
            packed.push(std::array::from_fn(|n| match first + n < channels {
                true => weight(first + n, tap),
                false => 0.0,
            }));
        }
    }
    packed
}

/// The planes of a result.
#[derive(Clone, Copy)]
struct Planes<'b> {
    count: usize,
    size: usize,
    bias: &'b [f32],
}

/// Does all passes for every image.
fn apply(frame: &Frame, passes: &[Pass], planes: Planes<'_>, batch: usize, x: &[f32]) -> Vec<f32> {
    let mut result = vec![0.0; batch * planes.count * planes.size];
    let images = x.par_chunks_exact(frame.planes * frame.height * frame.width);
    let results = result.par_chunks_exact_mut(planes.count * planes.size);
    let few = batch < rayon::current_num_threads();
    results.zip(images).for_each_init(
        || vec![0.0; frame.len()],
        |values, (result, image)| {
            frame.fill(image, values);
            let size = CHANNELS * planes.size;
            let block = |(n, result): (usize, &mut [f32])| {
                passes
                    .iter()
                    .for_each(|pass| pass.apply(n, planes, values, result));
            };
            match few {
                true => result.par_chunks_mut(size).enumerate().for_each(block),
                false => result.chunks_mut(size).enumerate().for_each(block),
            }
        },
    );
    result
}

impl Pass {
    /// Writes the channels of one tile.
    fn apply(&self, tile: usize, planes: Planes<'_>, frame: &[f32], result: &mut [f32]) {
        with_lanes!(lanes => lanes.run(
            #[inline(always)]
            || self.apply_with(lanes, tile, planes, frame, result)
        ));
    }

    #[inline(always)]
    fn apply_with<L: Lanes>(
        &self,
        lanes: L,
        tile: usize,
        planes: Planes<'_>,
        frame: &[f32],
        result: &mut [f32],
    ) {
        let weights = &self.weights[tile * self.taps.len()..][..self.taps.len()];
        let mut start = [0.0; CHANNELS];
        let bias = planes.bias.iter().skip(tile * CHANNELS);
        start.iter_mut().zip(bias).for_each(|(a, b)| *a = *b);
        let span = self.taps.iter().max().map_or(0, |tap| tap + LANES);
        for places in self.vectors.chunks(VECTORS) {
            // Slices of one length: one check of bounds serves them all.
            let windows =
                std::array::from_fn(|n| &frame[places[n.min(places.len() - 1)].from..][..span]);
            let sums = self.tile(lanes, windows, weights, start);
            for (plane, sums) in result.chunks_exact_mut(planes.size).zip(sums) {
                for (place, sum) in places.iter().zip(sums) {
                    let sum = lanes.store(sum);
                    if self.step == 1 {
                        let to = &mut plane[place.to..][..place.count];
                        match <&mut [f32; LANES]>::try_from(&mut *to) {
                            Ok(all) => *all = sum,
                            Err(_) => to.copy_from_slice(&sum[..place.count]),
                        }
                    } else {
                        let to = plane[place.to..].iter_mut().step_by(self.step);
                        to.zip(&sum[..place.count]).for_each(|(a, b)| *a = *b);
                    }
                }
            }
        }
    }

    #[inline(always)]
    fn tile<L: Lanes>(
        &self,
        lanes: L,
        windows: [&[f32]; VECTORS],
        weights: &[[f32; CHANNELS]],
        start: [f32; CHANNELS],
    ) -> [[L::Vector; VECTORS]; CHANNELS] {
        let mut sums = start.map(|start| [lanes.splat(start); VECTORS]);
        for (&tap, weights) in self.taps.iter().zip(weights) {
            let values = windows.map(|window| lanes.load(eight(window, tap)));
            for channel in 0..CHANNELS {
                let weight = lanes.splat(weights[channel]);
                for n in 0..VECTORS {
                    sums[channel][n] = lanes.multiply_add(values[n], weight, sums[channel][n]);
                }
            }
        }
        sums
    }
}

/// A group of images against the gradients of their outputs.
struct Correlation<'a> {
    frames: &'a [f32],
    gradients: &'a [f32],
    /// Length of a channel of the gradient.
    plane: usize,
    taps: &'a [usize],
    /// Vectors of the frames, and those of the gradients that they meet.
    pairs: &'a [[usize; 2]],
}

impl Correlation<'_> {
    /// Adds the gradient to the weights of a tile of channels.
    fn add_to(&self, first: usize, sum: &mut [f32]) {
        with_lanes!(lanes => lanes.run(
            #[inline(always)]
            || self.add_with(lanes, first, sum)
        ));
    }

    #[inline(always)]
    fn add_with<L: Lanes>(&self, lanes: L, first: usize, sum: &mut [f32]) {
        let channels = sum.len() / self.taps.len();
        let [from, to] = [0, 1].map(|side| {
            let places = self.pairs.iter().map(|pair| pair[side]);
            places.max().map_or(0, |last| last + LANES)
        });
        // Slices of one length: one check of bounds serves them all.
        let gradients = std::array::from_fn(|n| {
            let plane = (first + n.min(channels - 1)) * self.plane;
            &self.gradients[plane..][..to]
        });
        for (n, taps) in self.taps.chunks(TAPS).enumerate() {
            let windows =
                std::array::from_fn(|tap| &self.frames[taps[tap.min(taps.len() - 1)]..][..from]);
            let tile = self.tile(lanes, windows, gradients);
            for (sum, tile) in sum.chunks_exact_mut(self.taps.len()).zip(tile) {
                let sum = sum[n * TAPS..].iter_mut().take(taps.len());
                sum.zip(tile).for_each(|(a, b)| *a += lanes.sum(b));
            }
        }
    }

    #[inline(always)]
    fn tile<L: Lanes>(
        &self,
        lanes: L,
        windows: [&[f32]; TAPS],
        gradients: [&[f32]; CHANNELS],
    ) -> [[L::Vector; TAPS]; CHANNELS] {
        let mut sums = [[lanes.splat(0.0); TAPS]; CHANNELS];
        for &[from, to] in self.pairs {
            let values = windows.map(|window| lanes.load(eight(window, from)));
            for channel in 0..CHANNELS {
                let gradient = lanes.load(eight(gradients[channel], to));
                for tap in 0..TAPS {
                    sums[channel][tap] =
                        lanes.multiply_add(values[tap], gradient, sums[channel][tap]);
                }
            }
        }
        sums
    }
}

/// Eight neighbours.
#[inline(always)]
fn eight(values: &[f32], at: usize) -> [f32; LANES] {
    let window = &values[at..at + LANES];
    std::array::from_fn(|lane| window[lane])
}
