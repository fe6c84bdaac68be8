//! The latent whose point is nearest to a given point, and the error that remains.

use burn::config::Config;
use burn::tensor::{Device, Int, Tensor};
use faer::MatRef;
use rand::Rng;
use serde::{Deserialize, Serialize};

use super::generator::Generator;
use super::host;
use crate::Result;

/// Points that are compared with the whole pool at once: with a pool of 20,000, distances of 40 MB.
const CHUNK: usize = 512;

/// How [`held_out_error`] looks for the nearest latents.
#[derive(Config, Debug, PartialEq)]
pub struct HeldOutConfig {
    /// Latents drawn uniformly from the cube; the nearest of them is where the descent starts.
    #[config(default = 20_000)]
    pub pool: usize,
    /// Gradient steps on the squared distance.
    #[config(default = 200)]
    pub steps: usize,
    /// Their size.
    #[config(default = 0.02)]
    pub rate: f64,
    /// The exponent p of the error.
    #[config(default = 2.0)]
    pub exponent: f64,
}

/// How far points are from what a generator can make.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HeldOut {
    /// The mean of `|x - G(z)|^p` over the points.
    pub error: f64,
    /// `|x - G(z)|` of every point.
    pub distances: Vec<f64>,
}

/// The error `J_p` of a generator on points that it has not seen: the distance to the nearest point of its image, from above, since the nearest
/// latent is searched for: the best of a pool, then a descent of which the best place is kept.
///
/// # Errors
/// [`Error::Parameter`](crate::Error::Parameter), [`Error::EmptyMeasure`](crate::Error::EmptyMeasure),
/// [`Error::NonFinite`](crate::Error::NonFinite), [`Error::Size`](crate::Error::Size) if the points are not of the generator's dimension.
pub fn held_out_error<G: Generator, R: Rng + ?Sized>(
    generator: &G,
    points: MatRef<'_, f64>,
    config: &HeldOutConfig,
    device: &Device,
    rng: &mut R,
) -> Result<HeldOut> {
    host::at_least_one("the pool", config.pool)?;
    host::positive("the rate", config.rate)?;
    host::exponent("the exponent p", config.exponent)?;
    host::check_columns("columns of the points", points, generator.outputs())?;
    let generator = generator.valid();
    let m = generator.latents();
    let pool = host::rows(host::uniform(config.pool * m, rng), m, device);
    let values = generator.forward(pool.clone());
    let mut distances = Vec::with_capacity(points.nrows());
    for start in (0..points.nrows()).step_by(CHUNK) {
        let part = points.subrows(start, CHUNK.min(points.nrows() - start));
        let x = host::tensor(part, device);
        let z = pool.clone().select(0, nearest(&x, &values));
        let best = lowest(&generator, &x, z, config);
        distances.extend(host::numbers(best).into_iter().map(|d| f64::from(d).sqrt()));
    }
    let powers = distances.iter().map(|d| d.powf(config.exponent));
    Ok(HeldOut {
        error: powers.sum::<f64>() / distances.len() as f64,
        distances,
    })
}

/// The nearest of some values to every point, by rows. Its distance should be taken anew: this one suffers from cancellation.
pub(crate) fn nearest(points: &Tensor<2>, values: &Tensor<2>) -> Tensor<1, Int> {
    // |x|^2 is the same for all values and left out.
    let products = points.clone().matmul(values.clone().transpose());
    let squares = values.clone().square().sum_dim(1).transpose();
    (squares - products * 2.0).argmin(1).squeeze_dim(1)
}

/// Squared distances of rows, `[rows, 1]`.
pub(crate) fn square_distances(points: &Tensor<2>, values: Tensor<2>) -> Tensor<2> {
    (points.clone() - values).square().sum_dim(1)
}

/// Squared distances at the latents, and the latents after one gradient step on them, kept in the cube. The generator must be off autodiff.
pub(crate) fn descend<G: Generator>(
    generator: &G,
    points: &Tensor<2>,
    latents: Tensor<2>,
    rate: f64,
) -> (Tensor<2>, Tensor<2>) {
    let z = latents.clone().autodiff().require_grad();
    let distances = square_distances(points, generator.forward(z.clone()));
    let sum = distances.clone().sum();
    let distances = distances.without_autodiff();
    if !sum.is_tracked() {
        return (distances, latents);
    }
    let next = match z.grad_remove(&mut sum.backward()) {
        Some(gradient) => (latents - gradient * rate).clamp(-1.0, 1.0),
        None => latents,
    };
    (distances, next)
}

/// The lowest squared distances on a descent.
fn lowest<G: Generator>(
    generator: &G,
    points: &Tensor<2>,
    mut latents: Tensor<2>,
    config: &HeldOutConfig,
) -> Tensor<2> {
    let mut best: Option<Tensor<2>> = None;
    let keep = |best: Option<Tensor<2>>, new: Tensor<2>| match best {
        Some(old) => old.min_pair(new),
        None => new,
    };
    for _ in 0..config.steps {
        let (distances, next) = descend(generator, points, latents, config.rate);
        best = Some(keep(best, distances));
        latents = next;
    }
    let last = square_distances(points, generator.forward(latents));
    keep(best, last)
}
