//! Programs with the shape of real ones, shared by the tests and the benchmark of the solvers.
//!
//! Pairs have Zipf-distributed counts and are merged in the order of a true mixture. A sample of each
//! category gives the coefficients: some pairs are common to all categories, most belong to a few,
//! and some ("hot" ones) are over-represented in the sample. Rows are added lazily as the inference
//! does: in every round the ten most violated competitors of every step, at weights that approach
//! the true ones.

use bpe_inference::lp::MixtureLp;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

/// Size of a program.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// Rows to stop at.
    pub(crate) rows: usize,
    /// Merge steps.
    pub(crate) steps: usize,
    /// Pairs that compete.
    pub(crate) pairs: usize,
    /// Categories.
    pub(crate) n: usize,
}

/// Most new rows of a step in a round.
const ROWS_OF_A_STEP: usize = 10;
/// Rounds after which an instance stays smaller than it was asked for.
const ROUNDS: usize = 80;

/// The program of this shape and seed; the same on every machine.
pub(crate) fn realistic(shape: Shape, seed: u64) -> MixtureLp {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let truth = simplex(shape.n, &mut rng);
    let merged: Vec<Vec<f64>> = (0..shape.steps)
        .map(|rank| counts(rank as f64, 0.02, &truth, &mut rng))
        .collect();
    // Competitors are spread over the ranks of the merges; each is alive for a while before.
    let spacing = shape.steps as f64 / shape.pairs as f64;
    let noise = if spacing > 3.0 { 0.3 } else { 0.05 };
    let window = (3 * shape.rows / shape.steps).clamp(4, shape.pairs);
    let competitors: Vec<(f64, f64, Vec<f64>)> = (0..shape.pairs)
        .map(|p| {
            let rank = (p as f64 + rng.random::<f64>()) * spacing;
            let alive = window as f64 * spacing * (0.2 + rng.random::<f64>());
            (rank, alive, counts(rank, noise, &truth, &mut rng))
        })
        .collect();
    let mut lp = MixtureLp::new(shape.n);
    let mut taken = vec![Vec::new(); shape.steps];
    let uniform = 1.0 / shape.n as f64;
    let mut row = vec![0.0; shape.n];
    for round in 0..ROUNDS {
        let far = 0.7f64.powi(round as i32).max(0.05);
        let wobble = simplex(shape.n, &mut rng);
        let alpha: Vec<f64> = truth
            .iter()
            .zip(&wobble)
            .map(|(t, w)| (1.0 - far) * t + far * if round == 0 { uniform } else { *w })
            .collect();
        for step in 0..shape.steps {
            let first = ((step as f64 / spacing) as usize).min(shape.pairs);
            let end = (first + window).min(shape.pairs);
            let own = mix(&merged[step], &alpha);
            let mut violated: Vec<(f64, usize)> = (first..end)
                .filter(|p| competitors[*p].0 - competitors[*p].1 <= step as f64)
                .filter(|p| !taken[step].contains(p))
                .map(|p| (mix(&competitors[p].2, &alpha) - own, p))
                .filter(|(violation, _)| *violation > 0.0)
                .collect();
            violated.sort_by(|x, y| y.0.total_cmp(&x.0));
            for &(_, p) in violated.iter().take(ROWS_OF_A_STEP) {
                for ((c, m), x) in row.iter_mut().zip(&merged[step]).zip(&competitors[p].2) {
                    *c = m - x;
                }
                lp.push(step as u32, p as u32, &row).unwrap();
                taken[step].push(p);
                if lp.rows() == shape.rows {
                    return lp;
                }
            }
        }
    }
    lp
}

/// A point of the simplex, some of its weights small.
pub(crate) fn simplex(n: usize, rng: &mut impl Rng) -> Vec<f64> {
    let weights: Vec<f64> = (0..n).map(|_| -rng.random::<f64>().ln()).collect();
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|w| w / sum).collect()
}

/// Normalised counts by category of the pair of this rank: Zipf's law in the true mixture, up to
/// relative noise.
fn counts(rank: f64, noise: f64, truth: &[f64], rng: &mut impl Rng) -> Vec<f64> {
    let normal = |rng: &mut dyn Rng| rng.sample::<f64, _>(StandardNormal);
    let shared = rng.random::<f64>() < 0.3;
    let mut split: Vec<f64> = truth.iter().map(|_| (0.5 * normal(rng)).exp()).collect();
    if !shared {
        for x in &mut split {
            *x *= if rng.random::<f64>() < 0.8 { 0.01 } else { 1.0 };
        }
        split[rng.random_range(0..truth.len())] += 3.0;
    }
    let size = 0.2 / (rank + 20.0) * (noise * normal(rng)).exp() / mix(&split, truth);
    split
        .iter()
        .map(|x| x * size * (0.01 * normal(rng)).exp())
        .collect()
}

fn mix(counts: &[f64], alpha: &[f64]) -> f64 {
    counts.iter().zip(alpha).map(|(c, a)| c * a).sum()
}
