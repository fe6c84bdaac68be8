//! A small pair of convolutional networks for grey images of 28 x 28 pixels: a generator and its adversary.

use burn::module::{Module, Param};
use burn::tensor::activation::sigmoid;
use burn::tensor::module::{conv_transpose2d, conv2d};
use burn::tensor::ops::{ConvOptions, ConvTransposeOptions};
use burn::tensor::{Device, Tensor, TensorData};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::activation::softplus;
use super::generator::Generator;
use super::host;
use super::mlp::{Activation, Affine};
use crate::Result;

/// Pixels along an edge of an image, of what lies before the second convolution, and of what lies before the first.
const EDGES: [usize; 3] = [28, 14, 7];
/// Channels beside the coarsest and the middle edge.
const CHANNELS: [usize; 2] = [64, 32];
/// Every kernel is 4 x 4 and moves by 2, which doubles or halves an edge.
const KERNEL: usize = 4;
const STRIDE: [usize; 2] = [2, 2];
const PADDING: [usize; 2] = [1, 1];
/// What stands between the layers.
const ACTIVATION: Activation = Activation::Softplus;

/// A generator of images: an affine map to 64 channels of 7 x 7 pixels, and two transposed convolutions, to 32 channels and to the image. It has
/// softplus between them, so that it has second derivatives, and a sigmoid at the end.
#[derive(Module, Debug)]
pub struct ConvGenerator {
    seed_map: Affine,
    middle: Convolution,
    last: Convolution,
    latents: usize,
}

/// The mirror image of a [`ConvGenerator`]: two convolutions and an affine map to one number.
#[derive(Module, Debug)]
pub struct ConvDiscriminator {
    first: Convolution,
    middle: Convolution,
    verdict: Affine,
}

/// A kernel and its biases, of a convolution or a transposed one.
#[derive(Module, Debug)]
struct Convolution {
    kernel: Param<Tensor<4>>,
    bias: Param<Tensor<1>>,
}

impl ConvGenerator {
    /// A generator with weights drawn uniformly from plus or minus one over the root of the numbers that enter an output.
    ///
    /// # Errors
    /// [`Error::Parameter`](crate::Error::Parameter) for no latents.
    pub fn new(latents: usize, seed: u64, device: &Device) -> Result<Self> {
        host::at_least_one("the number of latents", latents)?;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let [coarse, fine] = CHANNELS;
        // A pixel behind a transposed convolution sees a quarter of the kernel.
        let seen = KERNEL * KERNEL / 4;
        Ok(Self {
            seed_map: Affine::new(
                latents,
                coarse * EDGES[2] * EDGES[2],
                ACTIVATION,
                &mut rng,
                device,
            ),
            middle: Convolution::new([coarse, fine], fine, coarse * seen, &mut rng, device),
            last: Convolution::new([fine, 1], 1, fine * seen, &mut rng, device),
            latents,
        })
    }
}

impl ConvDiscriminator {
    /// A discriminator, drawn as a [`ConvGenerator`] is.
    pub fn new(seed: u64, device: &Device) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let [coarse, fine] = CHANNELS;
        let seen = KERNEL * KERNEL;
        Self {
            first: Convolution::new([fine, 1], fine, seen, &mut rng, device),
            middle: Convolution::new([coarse, fine], coarse, fine * seen, &mut rng, device),
            verdict: Affine::new(
                coarse * EDGES[2] * EDGES[2],
                1,
                ACTIVATION,
                &mut rng,
                device,
            ),
        }
    }
}

impl Generator for ConvGenerator {
    fn latents(&self) -> usize {
        self.latents
    }

    fn outputs(&self) -> usize {
        EDGES[0] * EDGES[0]
    }

    fn forward(&self, latents: Tensor<2>) -> Tensor<2> {
        let [count, _] = latents.dims();
        let coarse = softplus(self.seed_map.forward(latents));
        let coarse = coarse.reshape([count, CHANNELS[0], EDGES[2], EDGES[2]]);
        let fine = softplus(self.middle.enlarge(coarse));
        sigmoid(self.last.enlarge(fine)).reshape([count, self.outputs()])
    }
}

impl Generator for ConvDiscriminator {
    fn latents(&self) -> usize {
        EDGES[0] * EDGES[0]
    }

    fn outputs(&self) -> usize {
        1
    }

    fn forward(&self, images: Tensor<2>) -> Tensor<2> {
        let [count, _] = images.dims();
        let images = images.reshape([count, 1, EDGES[0], EDGES[0]]);
        let fine = softplus(self.first.reduce(images));
        let coarse = softplus(self.middle.reduce(fine));
        self.verdict
            .forward(coarse.reshape([count, CHANNELS[0] * EDGES[2] * EDGES[2]]))
    }
}

impl Convolution {
    /// A kernel between so many channels, with a bias for each channel of the output and weights for so many numbers that enter an output.
    fn new(
        channels: [usize; 2],
        outputs: usize,
        seen: usize,
        rng: &mut ChaCha8Rng,
        device: &Device,
    ) -> Self {
        let [a, b] = channels;
        let kernel = ACTIVATION.weights(a * b * KERNEL * KERNEL, seen, rng);
        let kernel = TensorData::new(kernel, [a, b, KERNEL, KERNEL]);
        let bias = TensorData::new(ACTIVATION.biases(outputs, seen, rng), [outputs]);
        Self {
            kernel: Param::from_tensor(Tensor::from_data(kernel, device)),
            bias: Param::from_tensor(Tensor::from_data(bias, device)),
        }
    }

    /// Twice the edge.
    fn enlarge(&self, x: Tensor<4>) -> Tensor<4> {
        let options = ConvTransposeOptions::new(STRIDE, PADDING, [0, 0], [1, 1], 1);
        conv_transpose2d(x, self.kernel.val(), Some(self.bias.val()), options)
    }

    /// Half the edge.
    fn reduce(&self, x: Tensor<4>) -> Tensor<4> {
        let options = ConvOptions::new(STRIDE, PADDING, [1, 1], 1);
        conv2d(x, self.kernel.val(), Some(self.bias.val()), options)
    }
}
