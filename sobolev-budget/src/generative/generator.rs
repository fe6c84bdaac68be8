//! What a map from latents to data must offer.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use faer::{Mat, MatRef};

use super::host;
use crate::Result;

/// Rows that go through a network together where no gradient is wanted.
const CHUNK: usize = 4_096;

/// A map from latents `[batch, m]` to data `[batch, n]`, row by row.
pub trait Generator: Module {
    /// Dimensions of a latent, m.
    fn latents(&self) -> usize;

    /// Dimensions of a point, n.
    fn outputs(&self) -> usize;

    /// The points of the latents.
    fn forward(&self, latents: Tensor<2>) -> Tensor<2>;
}

/// A generator that carries derivatives forward along with values. That needs no graph, so autodiff of the first order can go through it.
pub trait Jets: Generator {
    /// Value, first and second derivative of `t -> G(z + t v)` at 0, for every row of `latents` with its row of `directions`, both `[batch, m]`.
    fn jet(&self, latents: Tensor<2>, directions: Tensor<2>) -> Jet;
}

/// A value with its derivatives along a line, `[batch, n]` each.
#[derive(Clone, Debug)]
pub struct Jet {
    /// `G(z)`
    pub value: Tensor<2>,
    /// `DG(z) v`
    pub first: Tensor<2>,
    /// `D^2 G(z) [v, v]`
    pub second: Tensor<2>,
}

/// The points of many latents (a row each), computed in parts and without a graph.
///
/// # Errors
/// [`Error::Size`](crate::Error::Size) if the columns are not the generator's latents, [`Error::NonFinite`](crate::Error::NonFinite).
pub fn generate<G: Generator>(
    generator: &G,
    latents: MatRef<'_, f64>,
    device: &Device,
) -> Result<Mat<f64>> {
    host::check_columns("columns of the latents", latents, generator.latents())?;
    let generator = generator.valid();
    let n = generator.outputs();
    let mut points = Vec::with_capacity(latents.nrows() * n);
    for start in (0..latents.nrows()).step_by(CHUNK) {
        let part = latents.subrows(start, CHUNK.min(latents.nrows() - start));
        points.extend(host::numbers(generator.forward(host::tensor(part, device))));
    }
    Ok(host::matrix(&points, n))
}
