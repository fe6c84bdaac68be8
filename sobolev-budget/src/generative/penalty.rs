//! The Sobolev penalty of a generator, estimated along random directions.

use burn::config::Config;
use burn::tensor::Tensor;
use rand::Rng;

use super::generator::{Generator, Jets};
use super::host;
use crate::{Error, Result};

/// Keeps the root of a vanishing derivative differentiable.
const TINY: f64 = 1e-12;

/// The mean over latents `z` and directions `v ~ N(0, I)` of `|D^k G(z) [v, .., v]|^q`, for the order k = 1 or 2.
///
/// With q = 2 the mean over directions is `|DG|^2` (Frobenius) for k = 1 and, output by output, `(tr D^2 G)^2 + 2 |D^2 G|^2` for k = 2: a norm
/// equivalent to `|D^2 G|`, and not that norm itself.
///
/// [`estimate`](Self::estimate) takes central differences of two or three forward passes and works with every generator;
/// [`exact`](Self::exact) takes the derivatives along the same directions exactly. Both are differentiable in the generator's weights with
/// autodiff of the first order.
#[derive(Config, Debug, Copy, PartialEq)]
pub struct SobolevPenalty {
    /// Order of the derivatives, k: 1 or 2.
    pub order: usize,
    /// The exponent q, at least 1.
    #[config(default = 2.0)]
    pub exponent: f64,
    /// The step h of the differences. Their error grows as `h^2`, and rounding in 32 bits as `1e-7 / h^k`: take h from 0.01 to 0.1, and for the
    /// second order not below 0.05.
    #[config(default = 0.05)]
    pub step: f64,
    /// Directions drawn for each latent.
    #[config(default = 1)]
    pub samples: usize,
}

impl SobolevPenalty {
    /// Checks the settings. That order times exponent exceeds the dimension is not asked for: latents may have any.
    ///
    /// # Errors
    /// [`Error::Parameter`].
    pub fn validate(&self) -> Result<()> {
        let order = self.order as f64;
        host::require("the order", "1 or 2", order, matches!(self.order, 1 | 2))?;
        host::exponent("the exponent q", self.exponent)?;
        host::positive("the step", self.step)?;
        host::at_least_one("the number of samples", self.samples)
    }

    /// The penalty by finite differences at the latents `[batch, m]`.
    ///
    /// # Errors
    /// Those of [`validate`](Self::validate); [`Error::Size`] if the latents are not the generator's; [`Error::EmptyMeasure`] without latents.
    pub fn estimate<G: Generator, R: Rng + ?Sized>(
        &self,
        generator: &G,
        latents: Tensor<2>,
        rng: &mut R,
    ) -> Result<Tensor<1>> {
        let (z, v) = self.draw(generator, latents, rng)?;
        let h = self.step;
        let [count, _] = z.dims();
        let shift = v * h;
        let mut places = vec![z.clone() + shift.clone(), z.clone() - shift];
        if self.order == 2 {
            places.push(z);
        }
        // One pass for all of them.
        let values = generator.forward(Tensor::cat(places, 0));
        let part = |i: usize| values.clone().slice_dim(0, i * count..(i + 1) * count);
        let derivative = match self.order {
            1 => (part(0) - part(1)) / (2.0 * h),
            _ => (part(0) + part(1) - part(2) * 2.0) / (h * h),
        };
        Ok(self.mean_power(derivative))
    }

    /// The penalty with exact derivatives, along the directions that [`estimate`](Self::estimate) takes with the same random numbers.
    ///
    /// # Errors
    /// As [`estimate`](Self::estimate).
    pub fn exact<G: Jets, R: Rng + ?Sized>(
        &self,
        generator: &G,
        latents: Tensor<2>,
        rng: &mut R,
    ) -> Result<Tensor<1>> {
        let (z, v) = self.draw(generator, latents, rng)?;
        let jet = generator.jet(z, v);
        Ok(self.mean_power(match self.order {
            1 => jet.first,
            _ => jet.second,
        }))
    }

    /// Every latent as often as there are directions for it, and the directions.
    fn draw<G: Generator, R: Rng + ?Sized>(
        &self,
        generator: &G,
        latents: Tensor<2>,
        rng: &mut R,
    ) -> Result<(Tensor<2>, Tensor<2>)> {
        self.validate()?;
        let [count, found] = latents.dims();
        let m = generator.latents();
        if found != m {
            return Err(Error::Size {
                what: "columns of the latents",
                expected: m,
                found,
            });
        }
        if count == 0 {
            return Err(Error::EmptyMeasure);
        }
        let noise = host::normal(count * self.samples * m, rng);
        let directions = host::rows(noise, m, &latents.device());
        Ok((latents.repeat_dim(0, self.samples), directions))
    }

    /// The mean over rows of their Euclidean length to the power q.
    fn mean_power(&self, derivative: Tensor<2>) -> Tensor<1> {
        powers(derivative, self.exponent).mean()
    }
}

/// The Euclidean length of every row to a power, `[rows, 1]`.
pub(crate) fn powers(rows: Tensor<2>, exponent: f64) -> Tensor<2> {
    let squares = rows.square().sum_dim(1);
    match exponent == 2.0 {
        true => squares,
        false => (squares + TINY).powf_scalar(exponent / 2.0),
    }
}
