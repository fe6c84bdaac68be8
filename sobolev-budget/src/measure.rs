//! Measures: weighted points, checked once.

mod lattice;
mod read;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// A probability measure on R^n: points and weights whose sum is 1.
///
/// # Examples
/// ```
/// use sobolev_budget::Measure;
///
/// let square = Measure::square_lattice(100)?;
/// assert_eq!((square.len(), square.dimension()), (10_000, 2));
/// let own = Measure::from_points(2, vec![0.0, 0.0, 1.0, 0.5])?;
/// assert_eq!(own.point(1), [1.0, 0.5]);
/// # Ok::<(), sobolev_budget::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Parts", into = "Parts")]
pub struct Measure {
    dimension: usize,
    points: Vec<f64>,
    weights: Vec<f64>,
}

/// How a measure is saved, before it is checked.
#[derive(Serialize, Deserialize)]
struct Parts {
    dimension: usize,
    points: Vec<f64>,
    weights: Vec<f64>,
}

impl From<Measure> for Parts {
    fn from(measure: Measure) -> Self {
        Self {
            dimension: measure.dimension,
            points: measure.points,
            weights: measure.weights,
        }
    }
}

impl TryFrom<Parts> for Measure {
    type Error = Error;

    fn try_from(parts: Parts) -> Result<Self> {
        Self::weighted(parts.dimension, parts.points, parts.weights)
    }
}

impl Measure {
    /// Points of equal weight; `points` holds one after the other, `dimension` coordinates each.
    ///
    /// # Errors
    /// [`Error::EmptyMeasure`], [`Error::Size`] if the points do not come out even, [`Error::NonFinite`].
    pub fn from_points(dimension: usize, points: Vec<f64>) -> Result<Self> {
        let count = points.len() / dimension.max(1);
        Self::weighted(dimension, points, vec![1.0; count])
    }

    /// Points with weights, which are scaled to a sum of 1. Points of weight 0 are left out.
    ///
    /// # Errors
    /// [`Error::EmptyMeasure`], [`Error::Size`] if the points do not come out even or the weights are not as many, [`Error::NonFinite`]
    /// and [`Error::Weight`].
    pub fn weighted(dimension: usize, points: Vec<f64>, weights: Vec<f64>) -> Result<Self> {
        if dimension == 0 || points.is_empty() {
            return Err(Error::EmptyMeasure);
        }
        let count = points.len() / dimension;
        if count * dimension != points.len() {
            return Err(Error::Size {
                what: "coordinates in the last point",
                expected: dimension,
                found: points.len() - count * dimension,
            });
        }
        if weights.len() != count {
            return Err(Error::Size {
                what: "weights",
                expected: count,
                found: weights.len(),
            });
        }
        if let Some(place) = points.iter().position(|x| !x.is_finite()) {
            return Err(Error::NonFinite {
                row: place / dimension,
                column: place % dimension,
            });
        }
        if let Some(index) = weights.iter().position(|w| !w.is_finite() || *w < 0.0) {
            return Err(Error::Weight {
                index,
                value: weights[index],
            });
        }
        let largest = weights.iter().fold(0.0f64, |a, &w| a.max(w));
        if largest == 0.0 {
            return Err(Error::EmptyMeasure);
        }
        let total: f64 = weights.iter().map(|w| w / largest).sum();
        let mut measure = Self {
            dimension,
            points: Vec::with_capacity(points.len()),
            weights: Vec::with_capacity(count),
        };
        for (point, weight) in points.chunks_exact(dimension).zip(&weights) {
            let weight = weight / largest / total;
            if weight > 0.0 {
                measure.points.extend_from_slice(point);
                measure.weights.push(weight);
            }
        }
        Ok(measure)
    }

    /// The number of points.
    #[must_use]
    pub fn len(&self) -> usize {
        self.weights.len()
    }

    /// Whether there is no point; never true.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.weights.is_empty()
    }

    /// The number of coordinates of a point, n.
    #[must_use]
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// The coordinates of a point.
    ///
    /// # Panics
    /// If there is no such point.
    #[must_use]
    pub fn point(&self, index: usize) -> &[f64] {
        &self.points[index * self.dimension..(index + 1) * self.dimension]
    }

    /// All points, one after the other.
    #[must_use]
    pub fn points(&self) -> &[f64] {
        &self.points
    }

    /// The weights of the points; their sum is 1.
    #[must_use]
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// The mean.
    #[must_use]
    pub fn mean(&self) -> Vec<f64> {
        let mut mean = vec![0.0; self.dimension];
        for (point, weight) in self.points.chunks_exact(self.dimension).zip(&self.weights) {
            for (m, x) in mean.iter_mut().zip(point) {
                *m += weight * x;
            }
        }
        mean
    }

    /// The covariance, `[n, n]` row by row.
    #[must_use]
    pub fn covariance(&self) -> Vec<f64> {
        let n = self.dimension;
        let mean = self.mean();
        let mut covariance = vec![0.0; n * n];
        let mut centred = vec![0.0; n];
        for (point, weight) in self.points.chunks_exact(n).zip(&self.weights) {
            for ((c, x), m) in centred.iter_mut().zip(point).zip(&mean) {
                *c = x - m;
            }
            for i in 0..n {
                let scaled = weight * centred[i];
                for j in 0..=i {
                    covariance[i * n + j] += scaled * centred[j];
                }
            }
        }
        for i in 0..n {
            for j in 0..i {
                covariance[j * n + i] = covariance[i * n + j];
            }
        }
        covariance
    }

    /// The diagonal of the smallest box that holds all points.
    #[must_use]
    pub fn diameter(&self) -> f64 {
        let mut squared = 0.0;
        for axis in 0..self.dimension {
            let coordinates = self.points.iter().skip(axis).step_by(self.dimension);
            let (low, high) = coordinates
                .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &x| {
                    (low.min(x), high.max(x))
                });
            squared += (high - low).powi(2);
        }
        squared.sqrt()
    }

    /// The measure moved by `-shift` and divided by `scale`.
    pub(crate) fn normalised(&self, shift: &[f64], scale: f64) -> Self {
        let mut points = self.points.clone();
        points
            .par_chunks_mut(self.dimension * 4096)
            .for_each(|part| {
                for point in part.chunks_exact_mut(self.dimension) {
                    for (x, s) in point.iter_mut().zip(shift) {
                        *x = (*x - s) / scale;
                    }
                }
            });
        Self {
            dimension: self.dimension,
            points,
            weights: self.weights.clone(),
        }
    }

    /// At most `count` of the points, every so many in their order after a fixed shuffle, with the same weights up to scale.
    pub(crate) fn thinned(&self, count: usize, seed: u64) -> Self {
        use rand::seq::index::sample;
        use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng as _};
        let mut chosen = sample(
            &mut ChaCha8Rng::seed_from_u64(seed),
            self.len(),
            count.min(self.len()),
        )
        .into_vec();
        chosen.sort_unstable();
        let mut points = Vec::with_capacity(chosen.len() * self.dimension);
        let mut weights = Vec::with_capacity(chosen.len());
        for index in chosen {
            points.extend_from_slice(self.point(index));
            weights.push(self.weights[index]);
        }
        let total: f64 = weights.iter().sum();
        for weight in &mut weights {
            *weight /= total;
        }
        Self {
            dimension: self.dimension,
            points,
            weights,
        }
    }
}
