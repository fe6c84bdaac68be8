//! A deep point among many small fits.

use crate::Adjacency;
use crate::budget::{Guarantee, PrivacyBudget};
use crate::dataset::Dataset;
use crate::error::{Error, Result};
use crate::linalg::double::Double;
use crate::linalg::triangular;
use crate::noise::{NoiseKind, PrivacyRng};
use crate::regressor::{Outcome, PrivateRegressor, Release};

/// Fits are moved by up to this much at random, so that no two are equal.
const JITTER: f64 = 1e-10;

/// TukeyEM (K. Amin, M. Joseph, M. Ribero, S. Vassilvitskii, ICLR 2023, arXiv 2208.07353): rows are dealt out to `m` groups, least squares is fitted in
/// each, and the exponential mechanism picks a point that is deep among the fits, coordinate by coordinate, if a test says that this is stable. Needs no
/// bounds at all.
///
/// **Why it is private.** Groups are dealt row by row and without regard to content: a row that is replaced, comes or goes changes one fit, and the depth
/// of a point by 1 at most. Let `epsilon' = epsilon/2`, `t = m/4`, and `V_i` the volume of the box of points of depth `i` or more. If
/// `V_{t-k-1} / V_{t+k+g+1} exp(-g epsilon'/2) <= delta / (8 exp(epsilon'))` for some `g > 0`, then on any fits of which `k` have changed, and on
/// neighbours of those, points drawn from depth `t` on with weight `exp(epsilon' depth/2)` have laws within `(epsilon', delta/4)`: depths and the
/// normaliser give `exp(epsilon'/2)` each, and points that only one of the two boxes has are outweighed by those at depth `t+k+g+1`. If it holds for `k`,
/// it holds for `k-1` on neighbours, so Laplace noise of scale `1/epsilon'` makes a test of the largest such `k` (-1 if none) `epsilon'`-DP; and with -1
/// it passes with a probability of `delta` at most.
///
/// The published program has noise of scale `epsilon'` in the test, which is not private, and weights `exp(epsilon' depth)`, which are for fits that come
/// and go and not for fits that change. Its groups have the same size; here sizes are random, so that the number of rows may be private, and a group
/// without full rank counts as a fit of zeros.
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

    /// Least-squares fits of the groups, cut off at 1e150; of a group without full rank, zeros.
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
                            .map(|b| {
                                if b.is_nan() {
                                    0.0
                                } else {
                                    b.clamp(-1e150, 1e150)
                                }
                            })
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

    /// Logarithms of the volumes of all boxes. Depths start from 1; there is no box of depth 0.
    fn ln_volumes(&self) -> Vec<f64> {
        std::iter::once(f64::INFINITY)
            .chain((1..=self.depth()).map(|depth| self.ln_volume(depth)))
            .collect()
    }
}

impl TukeyEm {
    /// How many fits may change with the exponential mechanism on depths from `t` on still stable, at least: the largest `k` for which some `g > 0` has
    /// `V_{t-k-1} / V_{t+k+g+1} exp(-g epsilon'/2) <= delta / (8 exp(epsilon'))`; -1 if none.
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

    /// Logarithms of the weights of depths from `t` on: `exp(epsilon' depth / 2)` times the volume that is exactly so deep.
    fn ln_weights(&self, volumes: &[f64], t: usize) -> Vec<f64> {
        let epsilon = 0.5 * self.budget.epsilon();
        (t..volumes.len())
            .map(|depth| {
                let shell = match volumes.get(depth + 1) {
                    Some(inner) => volumes[depth] + (-(inner - volumes[depth]).exp()).ln_1p(),
                    None => volumes[depth],
                };
                0.5 * epsilon * depth as f64 + shell
            })
            .collect()
    }

    /// A depth from `t` on, by weight.
    fn sample_depth(&self, volumes: &[f64], t: usize, rng: &mut PrivacyRng) -> Option<usize> {
        let weights = self.ln_weights(volumes, t);
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

/// A uniform number from 106 random bits, rounded once: which floats it can be does not depend on the ends.
fn between((low, high): (f64, f64), rng: &mut PrivacyRng) -> f64 {
    let share = Double::sum(rng.uniform(), rng.uniform() * (-53.0_f64).exp2());
    let low = Double::from(low);
    (low + (Double::from(high) - low) * share).to_f64()
}

/// A uniform point of the box of this depth that lies outside of the next one.
fn sample_shell(boxes: &Boxes, depth: usize, rng: &mut PrivacyRng) -> Vec<f64> {
    let d = boxes.sorted.len();
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
                let (lower, upper) = (inner.0 - outer.0, outer.1 - inner.1);
                if rng.uniform() * (lower + upper) < lower {
                    between((outer.0, inner.0), rng)
                } else {
                    between((inner.1, outer.1), rng)
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
            caveat: self.noise.caveat(),
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
        let volumes = boxes.ln_volumes();
        let t = self.models / 4;
        let half = 0.5 * self.budget.epsilon();
        let noisy = self.distance(&volumes, t) as f64 + rng.laplace(self.noise).to_f64() / half;
        let passes = noisy > (0.5 / self.budget.delta()).ln() / half;
        let outcome = match self.sample_depth(&volumes, t, rng).filter(|_| passes) {
            Some(depth) => {
                let values = sample_shell(&boxes, depth, rng);
                Outcome::of(values)
            }
            None => Outcome::Refused,
        };
        Ok(Release::new(outcome, self.guarantee(), self.noise, rng))
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;
    use rand_distr::{Distribution as _, StandardNormal};

    use super::*;

    const MODELS: usize = 48;

    fn boxes(fits: &[f64]) -> Boxes {
        let mut sorted = fits.to_vec();
        sorted.sort_by(f64::total_cmp);
        Boxes {
            sorted: vec![sorted],
        }
    }

    /// Of one coordinate: the density of a released point that is so deep, by depth.
    fn densities(method: &TukeyEm, volumes: &[f64], t: usize) -> Vec<f64> {
        let weights = method.ln_weights(volumes, t);
        let total: f64 = weights.iter().map(|w| w.exp()).sum();
        let mut densities = vec![0.0; volumes.len()];
        for (depth, weight) in (t..).zip(weights) {
            let inner = volumes.get(depth + 1).map_or(0.0, |v| v.exp());
            densities[depth] = weight.exp() / total / (volumes[depth].exp() - inner);
        }
        densities
    }

    /// On fits of one coordinate of which one changes: the distance moves by one, and what is released where either distance is not -1 has the
    /// promised law, exactly integrated.
    #[test]
    fn a_fit_that_changes_moves_the_distance_by_one_and_points_by_little() {
        let (epsilon, delta, t) = (8.0, 0.1, MODELS / 4);
        let budget = PrivacyBudget::new(epsilon, delta).unwrap();
        let method = TukeyEm::new(budget, Adjacency::Replace, MODELS).unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let (mut stable, mut worst) = (0, 0.0_f64);
        for _ in 0..2000 {
            let spread: f64 = rng.random_range(0.0..4.0);
            let normal = |rng: &mut ChaCha8Rng| {
                let z: f64 = StandardNormal.sample(rng);
                z * (spread * z.abs()).exp()
            };
            let fits: Vec<f64> = (0..MODELS).map(|_| normal(&mut rng)).collect();
            let mut other = fits.clone();
            other[0] = normal(&mut rng) * 10.0_f64.powi(rng.random_range(-2..3));
            let tables = [&fits, &other].map(|fits| {
                let boxes = boxes(fits);
                let volumes = boxes.ln_volumes();
                let densities = densities(&method, &volumes, t);
                (method.distance(&volumes, t), densities, boxes)
            });
            let [(first, _, _), (second, _, _)] = &tables;
            assert!((first - second).abs() <= 1, "{first} {second}");
            if first.max(second) < &0 {
                continue;
            }
            stable += 1;
            let mut ends: Vec<f64> = fits.iter().chain(&other).copied().collect();
            ends.sort_by(f64::total_cmp);
            let mut excess = [0.0; 2];
            for ends in ends.windows(2) {
                let middle = 0.5 * (ends[0] + ends[1]);
                let [p, q] = [0, 1].map(|table| {
                    let (_, densities, boxes) = &tables[table];
                    let below = boxes.sorted[0].partition_point(|fit| *fit < middle);
                    densities[below.min(MODELS - below)]
                });
                let factor = (0.5 * epsilon).exp();
                excess[0] += (p - factor * q).max(0.0) * (ends[1] - ends[0]);
                excess[1] += (q - factor * p).max(0.0) * (ends[1] - ends[0]);
            }
            worst = worst.max(excess[0]).max(excess[1]);
        }
        assert!(stable > 200, "{stable}");
        assert!(worst <= 0.25 * delta, "{worst}");
    }
}
