//! The search for a combination of half-spaces that is further from possible than any of them alone.
//!
//! With multipliers `sum_k w_k rho_k` the dual function of the combination `sum_k w_k a_k` is concave in the weights, and no worse than the weighted
//! mean of the single values: what is gained is that coefficients of opposite sign cancel. The weights are searched on these proven
//! values, all directions as rows of one evaluation; the combination found gets an ascent of its own.

use std::time::Instant;

use crate::certify::{Multipliers, Target};
use crate::combination::{Reach, combined, per_weight, rounded};
use crate::dual::{Found, Relaxed, ZonoDual};
use crate::error::Result;
use crate::rounding::add_down;
use crate::spec::HalfSpace;

/// Rounds of the search; the step is halved where none of the directions helps.
const ROUNDS: usize = 16;

/// A combination, and what its own ascent found.
pub(crate) struct Together {
    pub(crate) weights: Vec<u16>,
    pub(crate) space: HalfSpace,
    /// The proven distance, in units of a single half-space.
    pub(crate) distance: f64,
    pub(crate) found: Found,
}

/// The best combination of a case's half-spaces, if its own bound beats `alone`, the best proven distance of a single one.
///
/// `multipliers` holds, for every hidden layer, a row a half-space.
pub(crate) fn combine(
    method: &ZonoDual,
    relaxed: &Relaxed<'_>,
    spaces: &[HalfSpace],
    multipliers: &[Vec<f64>],
    alone: f64,
) -> Result<Option<Together>> {
    let game = Game {
        relaxed,
        spaces,
        multipliers,
    };
    let Some(weights) = rounded(&game.solve()?) else {
        return Ok(None);
    };
    let reach = Reach::new(relaxed.network, relaxed.input);
    let Some(space) = combined(spaces, &weights, &reach) else {
        return Ok(None);
    };
    let target = Target {
        map: relaxed.hidden.len(),
        rows: 1,
        coefficients: space.coefficients.clone(),
    };
    let found = method.bound(relaxed, &target, Instant::now())?;
    let distance = per_weight(add_down(found.bound.lower[0], -space.bound), &weights);
    Ok((distance > alone).then_some(Together {
        weights,
        space,
        distance,
        found,
    }))
}

/// Weights against inputs.
struct Game<'a> {
    relaxed: &'a Relaxed<'a>,
    spaces: &'a [HalfSpace],
    multipliers: &'a [Vec<f64>],
}

impl Game<'_> {
    /// Weights that sum up to 1; a single one where combinations do not help.
    fn solve(&self) -> Result<Vec<f64>> {
        let count = self.spaces.len();
        let mut starts: Vec<Vec<f64>> = (0..count).map(|k| corner(count, k)).collect();
        starts.push(vec![1.0 / count as f64; count]);
        let (mut value, mut weights) = self.best(starts)?;
        let mut step = 0.5;
        for _ in 0..ROUNDS {
            let towards = |k: usize| -> Vec<f64> {
                let corner = corner(count, k);
                let mixed = weights.iter().zip(corner);
                mixed.map(|(w, c)| w + step * (c - w)).collect()
            };
            let (next, moved) = self.best((0..count).map(towards).collect())?;
            if next > value {
                (value, weights) = (next, moved);
            } else {
                step *= 0.5;
            }
        }
        Ok(weights)
    }

    /// The best of some weights by the proven distances of their combinations.
    fn best(&self, candidates: Vec<Vec<f64>>) -> Result<(f64, Vec<f64>)> {
        let mix = |rows: &[&[f64]], weights: &[f64]| -> Vec<f64> {
            let mut sum = vec![0.0; rows[0].len()];
            for (row, weight) in rows.iter().zip(weights) {
                for (sum, x) in sum.iter_mut().zip(*row) {
                    *sum += weight * x;
                }
            }
            sum
        };
        let all = |rows: &[&[f64]]| -> Vec<f64> {
            let mixed = candidates.iter().flat_map(|weights| mix(rows, weights));
            mixed.collect()
        };
        let count = self.spaces.len();
        let coefficients: Vec<&[f64]> = self
            .spaces
            .iter()
            .map(|space| space.coefficients.as_slice())
            .collect();
        let target = Target {
            map: self.relaxed.hidden.len(),
            rows: candidates.len(),
            coefficients: all(&coefficients),
        };
        let multipliers: Vec<Vec<f64>> = self
            .multipliers
            .iter()
            .map(|rows| all(&rows.chunks_exact(rows.len() / count).collect::<Vec<_>>()))
            .collect();
        let values = self
            .relaxed
            .prove(&target, Multipliers::Given(&multipliers))?
            .values;
        let distances = values.iter().zip(candidates).map(|(value, weights)| {
            let bound: f64 = self
                .spaces
                .iter()
                .zip(&weights)
                .map(|(space, weight)| weight * space.bound)
                .sum();
            (value - bound, weights)
        });
        let best = distances.max_by(|a, b| a.0.total_cmp(&b.0));
        Ok(best.unwrap_or((f64::NEG_INFINITY, corner(count, 0))))
    }
}

/// All weight on one half-space.
fn corner(count: usize, k: usize) -> Vec<f64> {
    (0..count).map(|j| f64::from(u8::from(j == k))).collect()
}
