//! Measures made by formulas, so that figures can be reproduced exactly.

use std::f64::consts::{PI, TAU};

use rand::RngExt as _;
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng as _};
use rand_distr::{Distribution as _, StandardNormal};

use super::Measure;
use crate::{Error, Result};

impl Measure {
    /// The centres of `side` x `side` equal cells of the unit square: `((i + 1/2) / side, (j + 1/2) / side)`.
    ///
    /// # Errors
    /// [`Error::EmptyMeasure`] if `side` is 0.
    pub fn square_lattice(side: usize) -> Result<Self> {
        let centre = |i: usize| (i as f64 + 0.5) / side as f64;
        let points = (0..side * side)
            .flat_map(|cell| [centre(cell / side), centre(cell % side)])
            .collect();
        Self::from_points(2, points)
    }

    /// Points of the unit disk on a spiral with the golden angle, each standing for the same area:
    /// `r = sqrt((i + 1/2) / count)`, `theta = (i + 1/2) pi (3 - sqrt 5)`.
    ///
    /// # Errors
    /// [`Error::EmptyMeasure`] if `count` is 0.
    pub fn disk_sunflower(count: usize) -> Result<Self> {
        Self::annulus_sunflower(count, 0.0)
    }

    /// As [`disk_sunflower`](Self::disk_sunflower), for the ring between the radii `inner` and 1.
    ///
    /// # Errors
    /// [`Error::EmptyMeasure`] if `count` is 0, [`Error::Parameter`] unless `inner` lies in `[0, 1)`.
    pub fn annulus_sunflower(count: usize, inner: f64) -> Result<Self> {
        if !(0.0..1.0).contains(&inner) {
            return Err(Error::Parameter {
                name: "the inner radius",
                requirement: "at least 0 and less than 1",
                found: inner,
            });
        }
        let golden = PI * (3.0 - 5f64.sqrt());
        let points = (0..count)
            .flat_map(|i| {
                let part = (i as f64 + 0.5) / count as f64;
                let radius = (inner * inner + part * (1.0 - inner * inner)).sqrt();
                let (sin, cos) = ((i as f64 + 0.5) * golden).sin_cos();
                [radius * cos, radius * sin]
            })
            .collect();
        Self::from_points(2, points)
    }

    /// `count` points of the segment from `-direction` to `direction`, the centres of equal parts.
    ///
    /// # Errors
    /// [`Error::EmptyMeasure`] if `count` is 0 or `direction` is empty, [`Error::NonFinite`].
    pub fn segment(count: usize, direction: &[f64]) -> Result<Self> {
        let points = (0..count)
            .flat_map(|i| {
                let t = (i as f64 + 0.5) / count as f64 * 2.0 - 1.0;
                direction.iter().map(move |x| t * x)
            })
            .collect();
        Self::from_points(direction.len(), points)
    }

    /// `count` points of the unit circle, at the angles `2 pi (i + 1/2) / count`.
    ///
    /// # Errors
    /// [`Error::EmptyMeasure`] if `count` is 0.
    pub fn circle(count: usize) -> Result<Self> {
        let points = (0..count)
            .flat_map(|i| {
                let (sin, cos) = (TAU * (i as f64 + 0.5) / count as f64).sin_cos();
                [cos, sin]
            })
            .collect();
        Self::from_points(2, points)
    }

    /// `count` points of the unit sphere in R^3, on a spiral with the golden angle.
    ///
    /// # Errors
    /// [`Error::EmptyMeasure`] if `count` is 0.
    pub fn sphere(count: usize) -> Result<Self> {
        let golden = PI * (3.0 - 5f64.sqrt());
        let points = (0..count)
            .flat_map(|i| {
                let z = 1.0 - 2.0 * (i as f64 + 0.5) / count as f64;
                let radius = (1.0 - z * z).sqrt();
                let (sin, cos) = (i as f64 * golden).sin_cos();
                [radius * cos, radius * sin, z]
            })
            .collect();
        Self::from_points(3, points)
    }

    /// A rolled sheet in R^3, `(t cos t, y, t sin t)` for `t` between `3 pi / 2` and `9 pi / 2` and `y` between 0 and 21, on a lattice of
    /// `rows` x `columns` with equal area on the sheet's parameters.
    ///
    /// # Errors
    /// [`Error::EmptyMeasure`] if `rows` or `columns` is 0.
    pub fn swiss_roll(rows: usize, columns: usize) -> Result<Self> {
        let points = (0..rows * columns)
            .flat_map(|cell| {
                let t = PI * (1.5 + 3.0 * ((cell / columns) as f64 + 0.5) / rows as f64);
                let y = 21.0 * ((cell % columns) as f64 + 0.5) / columns as f64;
                [t * t.cos(), y, t * t.sin()]
            })
            .collect();
        Self::from_points(3, points)
    }

    /// A noisy spiral of one and a half turns: `t = sqrt(U)`, the point `t (cos 3 pi t, sin 3 pi t)` followed by zeros up to `dimension`
    /// coordinates, and normal noise of deviation `noise` on each of them.
    ///
    /// # Errors
    /// [`Error::EmptyMeasure`] if `count` is 0, [`Error::Size`] if `dimension` is less than 2, [`Error::Parameter`] if `noise` is negative
    /// or no number.
    pub fn spiral(count: usize, dimension: usize, noise: f64, seed: u64) -> Result<Self> {
        Self::noisy_curve(count, dimension, noise, seed, |u| {
            let t = u.sqrt();
            let (sin, cos) = (3.0 * PI * t).sin_cos();
            [t * cos, t * sin]
        })
    }

    /// A noisy unit circle: points at uniform angles, with normal noise of deviation `noise` on each coordinate.
    ///
    /// # Errors
    /// As for [`spiral`](Self::spiral).
    pub fn noisy_circle(count: usize, noise: f64, seed: u64) -> Result<Self> {
        Self::noisy_curve(count, 2, noise, seed, |u| {
            let (sin, cos) = (TAU * u).sin_cos();
            [cos, sin]
        })
    }

    /// Points drawn uniformly from the unit cube of `dimension` dimensions.
    ///
    /// # Errors
    /// [`Error::EmptyMeasure`] if `count` or `dimension` is 0.
    pub fn uniform(count: usize, dimension: usize, seed: u64) -> Result<Self> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let points = (0..count * dimension)
            .map(|_| rng.random::<f64>())
            .collect();
        Self::from_points(dimension, points)
    }

    /// Points drawn uniformly from the unit disk.
    ///
    /// # Errors
    /// [`Error::EmptyMeasure`] if `count` is 0.
    pub fn uniform_disk(count: usize, seed: u64) -> Result<Self> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let points = (0..count)
            .flat_map(|_| {
                let radius = rng.random::<f64>().sqrt();
                let (sin, cos) = (TAU * rng.random::<f64>()).sin_cos();
                [radius * cos, radius * sin]
            })
            .collect();
        Self::from_points(2, points)
    }

    /// Points of a plane curve at uniform parameters, with noise, in a space of more dimensions.
    fn noisy_curve(
        count: usize,
        dimension: usize,
        noise: f64,
        seed: u64,
        curve: impl Fn(f64) -> [f64; 2],
    ) -> Result<Self> {
        if dimension < 2 {
            return Err(Error::Size {
                what: "dimensions of a plane curve",
                expected: 2,
                found: dimension,
            });
        }
        if !(noise.is_finite() && noise >= 0.0) {
            return Err(Error::Parameter {
                name: "the noise",
                requirement: "finite and not negative",
                found: noise,
            });
        }
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut points = Vec::with_capacity(count * dimension);
        for _ in 0..count {
            let place = curve(rng.random());
            for axis in 0..dimension {
                let normal: f64 = StandardNormal.sample(&mut rng);
                points.push(place.get(axis).copied().unwrap_or(0.0) + noise * normal);
            }
        }
        Self::from_points(dimension, points)
    }
}
