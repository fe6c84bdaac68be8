//! Numbers between the host and a device, what is drawn on the host, and the checks of what comes in.

use burn::tensor::{Device, Tensor, TensorData};
use faer::{Mat, MatRef};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

use crate::{Error, Result};

/// Latents drawn uniformly from the cube `[-1, 1]^m`, a row each.
pub fn uniform_latents<R: Rng + ?Sized>(count: usize, m: usize, rng: &mut R) -> Mat<f64> {
    matrix(&uniform(count * m, rng), m)
}

/// Numbers drawn uniformly from `[-1, 1]`.
pub(crate) fn uniform<R: Rng + ?Sized>(count: usize, rng: &mut R) -> Vec<f32> {
    (0..count).map(|_| rng.random_range(-1.0..=1.0)).collect()
}

/// Numbers from the standard normal law.
pub(crate) fn normal<R: Rng + ?Sized>(count: usize, rng: &mut R) -> Vec<f32> {
    (0..count).map(|_| rng.sample(StandardNormal)).collect()
}

/// The generator of one step of a run. That it is a function of seed and step makes the step all that a checkpoint must know of it.
pub(crate) fn step_rng(seed: u64, step: usize) -> ChaCha8Rng {
    stream(seed, (step as u64).saturating_add(1))
}

/// The generator of what a run draws before its first step, apart from its weights, which are drawn from stream 0.
pub(crate) fn start_rng(seed: u64) -> ChaCha8Rng {
    stream(seed, u64::MAX)
}

/// The generator of what a run draws after its last step.
pub(crate) fn end_rng(seed: u64) -> ChaCha8Rng {
    stream(seed, u64::MAX - 1)
}

fn stream(seed: u64, stream: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream);
    rng
}

/// A tensor of rows of a width.
pub(crate) fn rows(numbers: Vec<f32>, width: usize, device: &Device) -> Tensor<2> {
    let count = numbers.len() / width.max(1);
    Tensor::from_data(TensorData::new(numbers, [count, width]), device)
}

/// A matrix on the device.
pub(crate) fn tensor(matrix: MatRef<'_, f64>, device: &Device) -> Tensor<2> {
    rows(singles(matrix), matrix.ncols(), device)
}

/// A matrix row by row, as a device holds it.
pub(crate) fn singles(matrix: MatRef<'_, f64>) -> Vec<f32> {
    let (count, width) = (matrix.nrows(), matrix.ncols());
    let entries = (0..count).flat_map(|i| (0..width).map(move |j| matrix[(i, j)] as f32));
    entries.collect()
}

/// The numbers of a tensor, row by row.
pub(crate) fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

/// The one number of a tensor.
pub(crate) fn scalar(tensor: Tensor<1>) -> f64 {
    numbers(tensor).first().copied().map_or(0.0, f64::from)
}

/// Rows of a width, as a matrix.
pub(crate) fn matrix(numbers: &[f32], width: usize) -> Mat<f64> {
    let count = numbers.len() / width.max(1);
    Mat::from_fn(count, width, |i, j| f64::from(numbers[i * width + j]))
}

/// Some rows of a matrix that lies row by row.
pub(crate) fn gather(numbers: &[f32], width: usize, rows: &[usize]) -> Vec<f32> {
    let chosen = rows
        .iter()
        .flat_map(|&row| &numbers[row * width..(row + 1) * width]);
    chosen.copied().collect()
}

/// Refuses points that nothing can be fitted to: none at all, of no dimension, or not finite in the 32 bits that devices compute in.
pub(crate) fn check_points(points: MatRef<'_, f64>) -> Result<()> {
    if points.nrows() == 0 || points.ncols() == 0 {
        return Err(Error::EmptyMeasure);
    }
    for row in 0..points.nrows() {
        for column in 0..points.ncols() {
            if !(points[(row, column)] as f32).is_finite() {
                return Err(Error::NonFinite { row, column });
            }
        }
    }
    Ok(())
}

/// The same, for points that must have a number of columns.
pub(crate) fn check_columns(
    what: &'static str,
    points: MatRef<'_, f64>,
    expected: usize,
) -> Result<()> {
    check_points(points)?;
    match points.ncols() == expected {
        true => Ok(()),
        false => Err(Error::Size {
            what,
            expected,
            found: points.ncols(),
        }),
    }
}

/// Refuses a count of 0.
pub(crate) fn at_least_one(name: &'static str, value: usize) -> Result<()> {
    require(name, "at least 1", value as f64, value > 0)
}

/// Refuses what is not a positive finite number.
pub(crate) fn positive(name: &'static str, value: f64) -> Result<()> {
    let fits = value.is_finite() && value > 0.0;
    require(name, "a positive finite number", value, fits)
}

/// Refuses what is not a finite number from 0 on.
pub(crate) fn not_negative(name: &'static str, value: f64) -> Result<()> {
    let fits = value.is_finite() && value >= 0.0;
    require(name, "a finite number from 0 on", value, fits)
}

/// Refuses an exponent below 1.
pub(crate) fn exponent(name: &'static str, value: f64) -> Result<()> {
    let fits = value.is_finite() && value >= 1.0;
    require(name, "a finite number from 1 on", value, fits)
}

/// Refuses a setting that does not fit.
pub(crate) fn require(
    name: &'static str,
    requirement: &'static str,
    found: f64,
    fits: bool,
) -> Result<()> {
    match fits {
        true => Ok(()),
        false => Err(Error::Parameter {
            name,
            requirement,
            found,
        }),
    }
}
