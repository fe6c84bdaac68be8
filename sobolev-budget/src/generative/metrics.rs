//! How good samples and maps are: distances between sets of points, yardsticks that need no network, and the smoothness of a generator.
//!
//! Points are rows. All sums are 64-bit and run on the host.

use burn::tensor::Device;
use faer::{Mat, MatRef, Side};
use rand::{Rng, RngExt};
use rand_distr::StandardNormal;

use super::generator::{Generator, generate};
use super::host;
use super::penalty::SobolevPenalty;
use crate::{Error, Result};

/// The step of the differences behind [`rms_derivative`].
const STEP: f64 = 0.01;

/// The Frechet distance of the normal laws with the moments of two sets, `|m_a - m_b|^2 + tr(A + B - 2 (A^1/2 B A^1/2)^1/2)`: the square of the
/// Wasserstein distance of those laws. Covariances divide by the number of points less one.
///
/// # Errors
/// [`Error::Size`] if the dimensions differ or a set has fewer than two points; [`Error::NonFinite`]; [`Error::EmptyMeasure`];
/// [`Error::Linear`] if an eigenvalue is not found.
pub fn frechet_distance(a: MatRef<'_, f64>, b: MatRef<'_, f64>) -> Result<f64> {
    same_columns(a, b)?;
    let (a, b) = (Moments::of(a)?, Moments::of(b)?);
    let root = square_root(&a.covariance)?;
    let product = &root * &b.covariance * &root;
    let cross: f64 = eigen(&product)?
        .1
        .iter()
        .map(|value| value.max(0.0).sqrt())
        .sum();
    let shift: f64 = a
        .mean
        .iter()
        .zip(&b.mean)
        .map(|(a, b)| (a - b).powi(2))
        .sum();
    let traces = trace(&a.covariance) + trace(&b.covariance);
    // Rounding can leave less than nothing where the sets are the same.
    Ok((shift + traces - 2.0 * cross).max(0.0))
}

/// The sliced Wasserstein distance of order 2: the root of the mean of `W_2^2` over directions, which are drawn uniformly. The sets may have
/// different sizes.
///
/// # Errors
/// [`Error::Size`] if the dimensions differ, [`Error::Parameter`] for no directions, [`Error::NonFinite`], [`Error::EmptyMeasure`].
pub fn sliced_wasserstein<R: Rng + ?Sized>(
    a: MatRef<'_, f64>,
    b: MatRef<'_, f64>,
    directions: usize,
    rng: &mut R,
) -> Result<f64> {
    same_columns(a, b)?;
    host::at_least_one("the number of directions", directions)?;
    let mut sum = 0.0;
    for _ in 0..directions {
        let mut direction: Vec<f64> = (0..a.ncols()).map(|_| rng.sample(StandardNormal)).collect();
        let length = direction.iter().map(|x| x * x).sum::<f64>().sqrt();
        direction.iter_mut().for_each(|x| *x /= length);
        sum += line_distance(&projected(a, &direction), &projected(b, &direction));
    }
    Ok((sum / directions as f64).sqrt())
}

/// The mean distance of samples to the nearest of other points: how much they repeat those.
///
/// # Errors
/// As [`nearest_error`].
pub fn mean_nearest_distance(samples: MatRef<'_, f64>, points: MatRef<'_, f64>) -> Result<f64> {
    same_columns(samples, points)?;
    let distances = nearest_squares(samples, points).map(f64::sqrt);
    Ok(distances.sum::<f64>() / samples.nrows() as f64)
}

/// The mean squared distance of points to the nearest of other points: the error of a map onto just those.
///
/// # Errors
/// [`Error::Size`] if the dimensions differ, [`Error::NonFinite`], [`Error::EmptyMeasure`].
pub fn nearest_error(points: MatRef<'_, f64>, train: MatRef<'_, f64>) -> Result<f64> {
    same_columns(points, train)?;
    Ok(nearest_squares(points, train).sum::<f64>() / points.nrows() as f64)
}

/// The mean squared distance of points to the plane of `dimensions` dimensions that principal component analysis fits to the training points.
///
/// # Errors
/// [`Error::Size`] if the dimensions differ or there are fewer than two training points, [`Error::Parameter`] if the plane has more dimensions
/// than the points, [`Error::NonFinite`], [`Error::EmptyMeasure`], [`Error::Linear`].
pub fn pca_error(
    train: MatRef<'_, f64>,
    points: MatRef<'_, f64>,
    dimensions: usize,
) -> Result<f64> {
    same_columns(train, points)?;
    let n = train.ncols();
    host::require(
        "the dimension of the plane",
        "at most that of the points",
        dimensions as f64,
        dimensions <= n,
    )?;
    let moments = Moments::of(train)?;
    let (vectors, _) = eigen(&moments.covariance)?;
    let centred = Mat::from_fn(points.nrows(), n, |i, j| points[(i, j)] - moments.mean[j]);
    // Eigenvalues ascend, so the first vectors are those that the plane leaves out.
    let rest = &centred * vectors.subcols(0, n - dimensions);
    Ok(rest.squared_norm_l2() / points.nrows() as f64)
}

/// The energy of straight paths in latent space, `steps` times the sum of `|G(z_{t+1}) - G(z_t)|^2`, averaged over the paths from each row of
/// `starts` to the same row of `ends`: an approximation of the integral of `|d/dt G|^2` over a path's unit time.
///
/// # Errors
/// [`Error::Parameter`] for no steps, [`Error::Size`] if the shapes do not fit, [`Error::NonFinite`], [`Error::EmptyMeasure`].
pub fn interpolation_energy<G: Generator>(
    generator: &G,
    starts: MatRef<'_, f64>,
    ends: MatRef<'_, f64>,
    steps: usize,
    device: &Device,
) -> Result<f64> {
    host::at_least_one("the number of steps", steps)?;
    same_columns(starts, ends)?;
    if starts.nrows() != ends.nrows() {
        return Err(Error::Size {
            what: "ends of paths",
            expected: starts.nrows(),
            found: ends.nrows(),
        });
    }
    let at = |t: usize| {
        let t = t as f64 / steps as f64;
        let place = |i, j| (1.0 - t) * starts[(i, j)] + t * ends[(i, j)];
        let latents = Mat::from_fn(starts.nrows(), starts.ncols(), place);
        generate(generator, latents.as_ref(), device)
    };
    let mut before = at(0)?;
    let mut sum = 0.0;
    for t in 1..=steps {
        let now = at(t)?;
        sum += (&now - &before).squared_norm_l2();
        before = now;
    }
    Ok(sum * steps as f64 / starts.nrows() as f64)
}

/// The root of the mean of `|DG(z) v|^2` over latents `z` and directions `v ~ N(0, I)`, one for each latent: of the mean of `|DG|^2` (Frobenius).
///
/// # Errors
/// [`Error::Size`] if the columns are not the generator's latents, [`Error::NonFinite`], [`Error::EmptyMeasure`].
pub fn rms_derivative<G: Generator, R: Rng + ?Sized>(
    generator: &G,
    latents: MatRef<'_, f64>,
    device: &Device,
    rng: &mut R,
) -> Result<f64> {
    host::check_columns("columns of the latents", latents, generator.latents())?;
    let penalty = SobolevPenalty::new(1).with_step(STEP);
    let latents = host::tensor(latents, device);
    let value = penalty.estimate(&generator.valid(), latents, rng)?;
    Ok(host::scalar(value).sqrt())
}

/// Mean and covariance of points.
struct Moments {
    mean: Vec<f64>,
    covariance: Mat<f64>,
}

impl Moments {
    fn of(points: MatRef<'_, f64>) -> Result<Self> {
        let (count, n) = (points.nrows(), points.ncols());
        if count < 2 {
            return Err(Error::Size {
                what: "points for a covariance",
                expected: 2,
                found: count,
            });
        }
        let mean: Vec<f64> = points
            .col_iter()
            .map(|column| column.iter().sum::<f64>() / count as f64)
            .collect();
        let centred = Mat::from_fn(count, n, |i, j| points[(i, j)] - mean[j]);
        let scatter = centred.transpose() * &centred;
        let covariance = Mat::from_fn(n, n, |i, j| scatter[(i, j)] / (count as f64 - 1.0));
        Ok(Self { mean, covariance })
    }
}

fn same_columns(a: MatRef<'_, f64>, b: MatRef<'_, f64>) -> Result<()> {
    host::check_points(a)?;
    host::check_columns("columns of the second set", b, a.ncols())
}

fn trace(matrix: &Mat<f64>) -> f64 {
    (0..matrix.nrows()).map(|i| matrix[(i, i)]).sum()
}

/// Vectors and ascending values of a symmetric matrix.
fn eigen(matrix: &Mat<f64>) -> Result<(Mat<f64>, Vec<f64>)> {
    let eigen = matrix
        .self_adjoint_eigen(Side::Lower)
        .map_err(|error| Error::Linear(format!("eigenvalues of a covariance: {error:?}")))?;
    let values = eigen.S().column_vector().iter().copied().collect();
    Ok((eigen.U().to_owned(), values))
}

/// The root of a symmetric matrix without negative eigenvalues, apart from rounding.
fn square_root(matrix: &Mat<f64>) -> Result<Mat<f64>> {
    let (vectors, values) = eigen(matrix)?;
    let scaled = Mat::from_fn(matrix.nrows(), matrix.ncols(), |i, j| {
        vectors[(i, j)] * values[j].max(0.0).sqrt()
    });
    Ok(&scaled * vectors.transpose())
}

/// Coordinates along a direction, in ascending order.
fn projected(points: MatRef<'_, f64>, direction: &[f64]) -> Vec<f64> {
    let coordinate = |i: usize| -> f64 {
        let products = direction
            .iter()
            .enumerate()
            .map(|(j, d)| d * points[(i, j)]);
        products.sum()
    };
    let mut coordinates: Vec<f64> = (0..points.nrows()).map(coordinate).collect();
    coordinates.sort_by(f64::total_cmp);
    coordinates
}

/// `W_2^2` of two ascending lists of equally likely numbers, which is the integral of the squared difference of their quantiles.
fn line_distance(a: &[f64], b: &[f64]) -> f64 {
    // Each number of `a` has the mass `b.len()` and each of `b` the mass `a.len()`, so that masses are whole numbers.
    let (mut i, mut j) = (0, 0);
    let (mut left_a, mut left_b) = (b.len(), a.len());
    let mut sum = 0.0;
    while i < a.len() && j < b.len() {
        let mass = left_a.min(left_b);
        sum += mass as f64 * (a[i] - b[j]).powi(2);
        left_a -= mass;
        left_b -= mass;
        if left_a == 0 {
            (i, left_a) = (i + 1, b.len());
        }
        if left_b == 0 {
            (j, left_b) = (j + 1, a.len());
        }
    }
    sum / (a.len() as f64 * b.len() as f64)
}

/// The squared distance of each point to the nearest of others.
fn nearest_squares<'a>(
    points: MatRef<'a, f64>,
    others: MatRef<'a, f64>,
) -> impl Iterator<Item = f64> + 'a {
    let rows = |points: MatRef<'_, f64>| -> Vec<Vec<f64>> {
        points
            .row_iter()
            .map(|row| row.iter().copied().collect())
            .collect()
    };
    let others = rows(others);
    rows(points).into_iter().map(move |point| {
        let square = |other: &Vec<f64>| -> f64 {
            let differences = point.iter().zip(other).map(|(a, b)| (a - b).powi(2));
            differences.sum()
        };
        others.iter().map(square).fold(f64::INFINITY, f64::min)
    })
}
