//! The law of the latents of fitted points: the second step of the factorisation, after the map has covered the support.

use faer::{Mat, MatRef};
use rand::{Rng, RngExt};
use rand_distr::StandardNormal;

use super::host;
use crate::{Error, Result};

/// The standard deviation of a kernel in every coordinate.
const BANDWIDTH: f64 = 0.05;
/// Cells of a histogram along every axis: they are as wide as a kernel's deviation.
const CELLS: usize = 40;

/// A law on the cube `[-1, 1]^m` that latents were drawn from.
#[derive(Clone, Debug)]
pub struct LatentDensity {
    latents: Mat<f64>,
    kind: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Histogram { cells: usize },
    Kernel { bandwidth: f64 },
}

impl LatentDensity {
    /// A histogram of 40 cells an axis for latents of one or two dimensions, and a kernel density of bandwidth 0.05 for more.
    ///
    /// # Errors
    /// As [`histogram`](Self::histogram).
    pub fn fit(latents: MatRef<'_, f64>) -> Result<Self> {
        match latents.ncols() <= 2 {
            true => Self::histogram(latents, CELLS),
            false => Self::kernel(latents, BANDWIDTH),
        }
    }

    /// The density that is constant in each cell of a regular grid over the cube, with so many cells along each axis.
    ///
    /// # Errors
    /// [`Error::EmptyMeasure`], [`Error::NonFinite`], [`Error::Parameter`] for no cells or a latent outside the cube.
    pub fn histogram(latents: MatRef<'_, f64>, cells: usize) -> Result<Self> {
        host::at_least_one("the number of cells", cells)?;
        Self::new(latents, Kind::Histogram { cells })
    }

    /// A normal law around every latent, with this standard deviation in each coordinate; what falls outside the cube is moved to its boundary.
    ///
    /// # Errors
    /// [`Error::EmptyMeasure`], [`Error::NonFinite`], [`Error::Parameter`] for the bandwidth or a latent outside the cube.
    pub fn kernel(latents: MatRef<'_, f64>, bandwidth: f64) -> Result<Self> {
        host::positive("the bandwidth", bandwidth)?;
        Self::new(latents, Kind::Kernel { bandwidth })
    }

    fn new(latents: MatRef<'_, f64>, kind: Kind) -> Result<Self> {
        host::check_points(latents)?;
        let mut entries = latents.col_iter().flat_map(|column| column.iter().copied());
        if let Some(outside) = entries.find(|entry| entry.abs() > 1.0) {
            return Err(Error::Parameter {
                name: "a coordinate of a latent",
                requirement: "between -1 and 1",
                found: outside,
            });
        }
        Ok(Self {
            latents: latents.to_owned(),
            kind,
        })
    }

    /// Latents drawn from the law, a row each.
    pub fn sample<R: Rng + ?Sized>(&self, count: usize, rng: &mut R) -> Mat<f64> {
        let mut drawn = Mat::zeros(count, self.latents.ncols());
        for i in 0..count {
            // A cell of a histogram is as likely as a latent is to lie in it.
            let row = rng.random_range(0..self.latents.nrows());
            for j in 0..drawn.ncols() {
                drawn[(i, j)] = self.kind.near(self.latents[(row, j)], rng);
            }
        }
        drawn
    }
}

impl Kind {
    /// A coordinate drawn from the cell or the kernel of a latent's coordinate.
    fn near<R: Rng + ?Sized>(self, latent: f64, rng: &mut R) -> f64 {
        match self {
            Self::Histogram { cells } => {
                let width = 2.0 / cells as f64;
                let cell = ((latent + 1.0) / width).floor().min(cells as f64 - 1.0);
                (cell + rng.random::<f64>()) * width - 1.0
            }
            Self::Kernel { bandwidth } => {
                let noise: f64 = rng.sample(StandardNormal);
                (latent + bandwidth * noise).clamp(-1.0, 1.0)
            }
        }
    }
}
