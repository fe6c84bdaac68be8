//! Generators under a Sobolev penalty: the penalty against exact derivatives, fits that resume, and metrics with known values.
#![cfg(feature = "flex")]

mod density;
mod fit;
mod gan;
mod input;
mod metrics;
mod network;
mod penalty;

use burn::tensor::{Device, Tensor, TensorData};
use faer::Mat;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use sobolev_budget::generative::{Mlp, MlpConfig, Output};

/// A generator of random numbers for a test.
fn rng(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

/// A matrix on the processor's device.
fn tensor(matrix: &Mat<f64>) -> Tensor<2> {
    let entries =
        (0..matrix.nrows()).flat_map(|i| (0..matrix.ncols()).map(move |j| matrix[(i, j)] as f32));
    let data = TensorData::new(
        entries.collect::<Vec<f32>>(),
        [matrix.nrows(), matrix.ncols()],
    );
    Tensor::from_data(data, &Device::flex())
}

/// The numbers of a tensor.
fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.into_data().iter::<f64>().collect()
}

/// The mean of the numbers of a tensor.
fn mean<const D: usize>(tensor: Tensor<D>) -> f64 {
    let numbers = numbers(tensor);
    numbers.iter().sum::<f64>() / numbers.len() as f64
}

/// A small network with a sigmoid behind it.
fn network(latents: usize, outputs: usize, seed: u64) -> Mlp {
    MlpConfig::new(latents, outputs)
        .with_widths(vec![16, 16])
        .with_output(Output::Sigmoid)
        .init(seed, &Device::flex())
        .unwrap()
}

/// Points on three quarters of a circle inside the unit square.
fn arc(count: usize) -> Mat<f64> {
    Mat::from_fn(count, 2, |i, j| {
        let angle = 1.5 * std::f64::consts::PI * (i as f64 + 0.5) / count as f64;
        0.5 + 0.4 * if j == 0 { angle.cos() } else { angle.sin() }
    })
}
