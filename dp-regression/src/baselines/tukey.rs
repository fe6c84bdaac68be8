//! A deep point among many small fits.

use crate::Adjacency;
use crate::budget::{Guarantee, PrivacyBudget};
use crate::dataset::Dataset;
use crate::error::{Error, Result};
use crate::linalg::double::Double;
use crate::linalg::triangular;
use crate::noise::{NoiseKind, PrivacyRng};
use crate::regressor::{Coefficients, Outcome, PrivateRegressor, Release};

/// Fits are moved by up to this much at random, so that no two are equal.
const JITTER: f64 = 1e-10;

/// TukeyEM (K. Amin, M. Joseph, M. Ribero, S. Vassilvitskii, ICLR 2023): rows are dealt out to `m` groups, least squares is fitted in each, and the
/// exponential mechanism picks a point that is deep among the fits, coordinate by coordinate, if a test says that this is stable. Needs no bounds at all.
///
/// One row changes one fit (or two groups' fits if a row is replaced: only its own, as groups are dealt independently of the content). The noise of the
/// test has scale `1/epsilon'`, not `epsilon'` as in the published code.
#[derive(Clone, Copy, Debug)]
pub struct TukeyEm {
    budget: PrivacyBudget,
    adjacency: Adjacency,
    models: usize,
    noise: NoiseKind,
}

impl TukeyEm {
    /// With so many fits: about 1000 is the authors' advice; each needs at least as many rows as there are columns.
    ///
    /// # Errors
    /// [`Error::BadParameter`] for fewer than 16.
    pub fn new(budget: PrivacyBudget, adjacency: Adjacency, models: usize) -> Result<Self> {
        if models < 16 {
            return Err(Error::BadParameter {
                name: "models",
                value: models as f64,
                reason: "at least 16 are needed",
            });
        }
        Ok(Self {
            budget,
            adjacency,
            models,
            noise: NoiseKind::Hardened,
        })
    }

    /// Sets how the test's noise is drawn. Default [`NoiseKind::Hardened`].
    #[must_use]
    pub fn with_noise(mut self, noise: NoiseKind) -> Self {
        self.noise = noise;
        self
    }

    /// Least-squares fits of the groups; of a group without full rank, zeros.
    fn fits(&self, data: &Dataset<'_>, rng: &mut PrivacyRng) -> Result<Vec<Vec<f64>>> {
        let d = data.columns();
        // Sums of each group: lower triangle, then X'y.
        let width = d * d + d;
        let mut sums = vec![Double::ZERO; self.models * width];
        data.visit(&mut |_, x, y| {
            for (x, &y) in x.chunks_exact(d).zip(y) {
                let group = rng.below(self.models as u64) as usize;
                let own = &mut sums[group * width..(group + 1) * width];
                for j in 0..d {
                    for i in j..d {
                        own[i + d * j] += Double::from(x[i]).scale(x[j]);
                    }
                    own[d * d + j] += Double::from(x[j]).scale(y);
                }
            }
            Ok(())
        })?;
        Ok(sums
            .chunks_exact(width)
            .map(
                |own| match triangular::inverse_factor(&own[..d * d], d, 0.0, 1e-24) {
                    Some(t) => {
                        let whitened = triangular::transposed_times(&t, &own[d * d..], d);
                        triangular::times(&t, &whitened, d)
                            .iter()
                            .map(|b| b.to_f64())
                            .collect()
                    }
                    None => vec![0.0; d],
                },
            )
            .collect())
    }
}

/// Boxes of points that are at least so deep: coordinate by coordinate between the `i`-th smallest and the `i`-th largest fit.
struct Boxes {
    /// By coordinate, ascending.
    sorted: Vec<Vec<f64>>,
}

impl Boxes {
    fn depth(&self) -> usize {
        self.sorted[0].len() / 2
    }

    /// The side of the box of depth `i >= 1` in a coordinate.
    fn side(&self, coordinate: usize, depth: usize) -> (f64, f64) {
        let values = &self.sorted[coordinate];
        (values[depth - 1], values[values.len() - depth])
    }

    fn ln_volume(&self, depth: usize) -> f64 {
        (0..self.sorted.len())
            .map(|coordinate| {
                let (low, high) = self.side(coordinate, depth);
                (high - low).ln()
            })
            .sum()
    }
}

impl TukeyEm {
    /// A lower bound of the number of fits that have to change until the exponential mechanism on depths from `t` on would be unstable: the largest `k` for
    /// which some `g > 0` has `V_{t-k-1} / V_{t+k+g+1} exp(-g epsilon'/2) <= delta / (8 exp(epsilon'))`; -1 if none.
    fn distance(&self, volumes: &[f64], t: usize) -> i64 {
        let epsilon = 0.5 * self.budget.epsilon();
        let limit = (self.budget.delta() / 8.0).ln() - epsilon;
        let safe = |k: usize| {
            t > k + 1
                && (t + k + 2..volumes.len()).any(|inner| {
                    let g = (inner - t - k - 1) as f64;
                    volumes[t - k - 1] - volumes[inner] - 0.5 * g * epsilon <= limit
                })
        };
        // Safety only gets harder with k.
        (0..t).take_while(|&k| safe(k)).count() as i64 - 1
    }

    /// A depth from `t` on: with weight `exp(epsilon' depth / 2)` times the volume that is exactly so deep.
    fn sample_depth(&self, volumes: &[f64], t: usize, rng: &mut PrivacyRng) -> Option<usize> {
        let epsilon = 0.5 * self.budget.epsilon();
        let weights: Vec<f64> = (t..volumes.len())
            .map(|depth| {
                let shell = match volumes.get(depth + 1) {
                    Some(inner) => volumes[depth] + (-(inner - volumes[depth]).exp()).ln_1p(),
                    None => volumes[depth],
                };
                0.5 * epsilon * depth as f64 + shell
            })
            .collect();
        let largest = weights
            .iter()
            .copied()
            .filter(|w| !w.is_nan())
            .fold(f64::NEG_INFINITY, f64::max);
        if largest == f64::NEG_INFINITY {
            return None;
        }
        let weights: Vec<f64> = weights
            .iter()
            .map(|w| if w.is_nan() { 0.0 } else { (w - largest).exp() })
            .collect();
        let mut left = rng.uniform() * weights.iter().sum::<f64>();
        for (index, weight) in weights.iter().enumerate() {
            left -= weight;
            if left < 0.0 {
                return Some(t + index);
            }
        }
        Some(t)
    }
}

/// A uniform point of the box of this depth that lies outside of the next one.
fn sample_shell(boxes: &Boxes, depth: usize, rng: &mut PrivacyRng) -> Vec<f64> {
    let d = boxes.sorted.len();
    let between =
        |(low, high): (f64, f64), rng: &mut PrivacyRng| low + (high - low) * rng.uniform();
    if depth == boxes.depth() {
        return (0..d).map(|j| between(boxes.side(j, depth), rng)).collect();
    }
    // The first coordinate outside of the inner box: those before lie inside, those after anywhere.
    let width = |(low, high): (f64, f64)| high - low;
    let shares: Vec<f64> = (0..d)
        .map(|j| width(boxes.side(j, depth + 1)) / width(boxes.side(j, depth)))
        .collect();
    let mut before = 1.0;
    let chances: Vec<f64> = shares
        .iter()
        .map(|share| {
            let chance = before * (1.0 - share);
            before *= share;
            chance
        })
        .collect();
    let mut left = rng.uniform() * chances.iter().sum::<f64>();
    let first = chances
        .iter()
        .position(|chance| {
            left -= chance;
            left < 0.0
        })
        .unwrap_or(0);
    (0..d)
        .map(|j| {
            let (outer, inner) = (boxes.side(j, depth), boxes.side(j, depth + 1));
            if j < first {
                between(inner, rng)
            } else if j > first {
                between(outer, rng)
            } else {
                let lower = inner.0 - outer.0;
                let at = rng.uniform() * (lower + outer.1 - inner.1);
                if at < lower {
                    outer.0 + at
                } else {
                    inner.1 + (at - lower)
                }
            }
        })
        .collect()
}

impl PrivateRegressor for TukeyEm {
    fn name(&self) -> &'static str {
        "tukey-em"
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee {
            epsilon: self.budget.epsilon(),
            delta: self.budget.delta(),
            adjacency: self.adjacency,
            mechanism: "tukey-em",
            gdp_mu: None,
            caveat: Some(
                "its stability test is quoted from memory and was not checked against the paper",
            ),
        }
    }

    fn fit(&self, data: &Dataset<'_>, rng: &mut PrivacyRng) -> Result<Release> {
        let mut fits = self.fits(data, rng)?;
        for value in fits.iter_mut().flatten() {
            *value += JITTER * rng.uniform();
        }
        let sorted = (0..data.columns())
            .map(|j| {
                let mut values: Vec<f64> = fits.iter().map(|fit| fit[j]).collect();
                values.sort_by(f64::total_cmp);
                values
            })
            .collect();
        let boxes = Boxes { sorted };
        // Depths from 1; there is no box of depth 0.
        let volumes: Vec<f64> = std::iter::once(f64::INFINITY)
            .chain((1..=boxes.depth()).map(|depth| boxes.ln_volume(depth)))
            .collect();
        let t = self.models / 4;
        let half = 0.5 * self.budget.epsilon();
        let noisy = self.distance(&volumes, t) as f64 + rng.laplace(self.noise).to_f64() / half;
        let passes = noisy > (0.5 / self.budget.delta()).ln() / half;
        let outcome = match self.sample_depth(&volumes, t, rng).filter(|_| passes) {
            Some(depth) => {
                let values = sample_shell(&boxes, depth, rng);
                Outcome::Released(Coefficients {
                    values,
                    covariance: None,
                })
            }
            None => Outcome::Refused,
        };
        Ok(Release::new(outcome, self.guarantee(), self.noise, rng))
    }
}
