//! Every line of the proof, by brute force on adjacent pairs of small hostile tables (design, section 7.2).
//!
//! `DP_REGRESSION_ROUNDS=50` repeats what the published check had: over 20,000 pairs.

use dp_regression::filter::{self, LevelSets};
use dp_regression::ladder::{Ladder, LadderInput};
use dp_regression::{Adjacency, Dataset};
use faer::{Mat, Side};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::support::{Table, dot, hostile, invert, rounds, times};

/// A table and a neighbour, with the row in which they differ: its number in each, if it is there.
struct Pair {
    tables: [Table; 2],
    rows: [Option<usize>; 2],
}

impl Pair {
    fn new(rng: &mut impl Rng, ladder: &Ladder, n: usize, d: usize) -> Self {
        let input = ladder.input();
        let level = rng.random_range(0..ladder.levels());
        let (tau, rho) = (
            ladder.leverage_threshold(level),
            ladder.residual_threshold(level),
        );
        let planted = rng.random_range(0..=input.score_cap);
        let first = hostile(rng, n, d, tau, rho, planted);
        let j = rng.random_range(0..n);
        // In half of the pairs the row in question has about the largest leverage and residual that pass.
        let canary = rng.random();
        let mut first = first;
        let edge = |table: &mut Table, sign: f64| {
            if let Some((h, _, _)) = table.fit(&vec![1.0; table.y.len()]) {
                let target = 0.98 * ladder.leverage_threshold(0);
                let ratio = (target * (1.0 - h[j]) / (h[j] * (1.0 - target)).max(1e-12))
                    .max(0.0)
                    .sqrt();
                table.x[j].iter_mut().for_each(|x| *x *= ratio.min(1e3));
            }
            if let Some((h, e, _)) = table.fit(&vec![1.0; table.y.len()]) {
                table.y[j] += (sign * 0.98 * ladder.residual_threshold(0) - e[j]) / (1.0 - h[j]);
            }
        };
        if canary {
            edge(&mut first, 1.0);
        }
        if input.adjacency == Adjacency::AddRemove {
            let second = first.without(j);
            let pair = Self {
                tables: [first, second],
                rows: [Some(j), None],
            };
            return if rng.random() { pair } else { pair.swapped() };
        }
        if canary {
            let mut second = first.clone();
            edge(&mut second, -1.0);
            return Self {
                tables: [first, second],
                rows: [Some(j), Some(j)],
            };
        }
        let scale = 10.0_f64.powf(rng.random_range(-1.0..2.0));
        let x: Vec<f64> = (0..d)
            .map(|_| scale * rng.random_range(-1.0..1.0))
            .collect();
        let second = first.replaced(j, x, 3.0 * scale * rho * rng.random_range(-1.0..1.0));
        Self {
            tables: [first, second],
            rows: [Some(j), Some(j)],
        }
    }

    fn swapped(self) -> Self {
        let [a, b] = self.tables;
        Self {
            tables: [b, a],
            rows: [self.rows[1], self.rows[0]],
        }
    }

    /// The number that a row of table `side` has in the other one, unless it is the one that differs.
    fn translate(&self, side: usize, row: usize) -> Option<usize> {
        match (self.rows[side], self.rows[1 - side]) {
            (Some(own), _) if own == row => None,
            (Some(own), None) if row > own => Some(row - 1),
            (None, Some(other)) if row >= other => Some(row + 1),
            _ => Some(row),
        }
    }
}

#[derive(Default, Debug)]
struct Worst {
    pairs: usize,
    both_pass: usize,
    weights: f64,
    trace: f64,
    center: f64,
}

fn check(pair: &Pair, ladder: &Ladder, levels: &[LevelSets; 2], worst: &mut Worst) {
    let k = ladder.input().score_cap;
    worst.pairs += 1;
    let scores = levels.each_ref().map(|sets| sets.score(k));
    // Lemma 2.
    assert!(scores[0].abs_diff(scores[1]) <= 1, "scores {scores:?}");
    for side in 0..2 {
        let (own, other) = (&levels[side], &levels[1 - side]);
        // Lemma 1.
        for level in 0..ladder.levels() - 1 {
            let Some(removed) = own
                .removed(level)
                .filter(|removed| removed.len() <= level.min(k - 1))
            else {
                continue;
            };
            let theirs = other
                .removed(level + 1)
                .expect("intertwining: the neighbour's filter gave up");
            assert!(
                theirs.len() <= removed.len() + 1,
                "removed {} and {}",
                removed.len(),
                theirs.len()
            );
            for row in theirs {
                if let Some(row) = pair.translate(1 - side, *row) {
                    assert!(
                        removed.contains(&row),
                        "level {level} keeps row {row}, its neighbour's next level does not"
                    );
                }
            }
        }
        // Lemma 3.
        if scores[side] < k {
            let sets: Vec<_> = (scores[side]..ladder.levels())
                .map(|level| own.removed(level).unwrap())
                .collect();
            assert!(sets.iter().all(|set| set.len() <= scores[side]));
            assert!(
                sets.windows(2)
                    .all(|pair| pair[1].iter().all(|row| pair[0].contains(row)))
            );
        }
    }
    if scores.iter().any(|score| *score >= k) {
        return;
    }
    worst.both_pass += 1;
    let weights: [Vec<f64>; 2] = [0, 1].map(|side| {
        let mut weights = vec![1.0; pair.tables[side].y.len()];
        levels[side]
            .weights(k)
            .into_iter()
            .for_each(|(row, weight)| weights[row] = weight);
        weights
    });
    // Lemma 4.
    let mut difference = pair
        .rows
        .iter()
        .zip(&weights)
        .filter_map(|(row, w)| row.map(|row| w[row]))
        .sum::<f64>();
    for (row, weight) in weights[0].iter().enumerate() {
        if let Some(other) = pair.translate(0, row) {
            let step = (weight - weights[1][other]).abs();
            assert!(step <= 1.0 / ladder.input().window as f64 + 1e-12);
            difference += step;
        }
    }
    worst.weights = worst.weights.max(difference / ladder.kappa());
    // Lemmas 5 and 6, in both directions.
    let fits = [0, 1].map(|side| {
        let (s, g) = pair.tables[side].moments(&weights[side]);
        let beta = times(&invert(&s).unwrap(), &g);
        (s, beta)
    });
    for side in 0..2 {
        let ((s, beta), (other_s, other_beta)) = (&fits[side], &fits[1 - side]);
        worst.trace = worst
            .trace
            .max(relative_trace_norm(s, other_s) / ladder.gamma());
        let shift: Vec<f64> = beta.iter().zip(other_beta).map(|(a, b)| a - b).collect();
        worst.center = worst
            .center
            .max(dot(&shift, &times(s, &shift)).max(0.0).sqrt() / ladder.center_shift());
    }
}

/// `| S^{-1/2} S' S^{-1/2} - 1 |` in trace norm.
fn relative_trace_norm(s: &[Vec<f64>], other: &[Vec<f64>]) -> f64 {
    let d = s.len();
    let lower = Mat::from_fn(d, d, |i, j| s[i][j])
        .llt(Side::Lower)
        .unwrap()
        .L()
        .to_owned();
    // Columns of L^-1 (S' - S), twice.
    let solve = |b: &Mat<f64>| {
        let mut out = b.clone();
        for column in 0..d {
            for i in 0..d {
                let sum: f64 = (0..i).map(|k| lower[(i, k)] * out[(k, column)]).sum();
                out[(i, column)] = (out[(i, column)] - sum) / lower[(i, i)];
            }
        }
        out
    };
    let half = solve(&Mat::from_fn(d, d, |i, j| other[i][j] - s[i][j]));
    let whole = solve(&half.transpose().to_owned());
    let symmetric = Mat::from_fn(d, d, |i, j| 0.5 * (whole[(i, j)] + whole[(j, i)]));
    symmetric
        .self_adjoint_eigenvalues(Side::Lower)
        .unwrap()
        .iter()
        .map(|value| value.abs())
        .sum()
}

fn run(form: fn(&Dataset<'_>, &Ladder) -> dp_regression::Result<LevelSets>, seed: u64) -> Worst {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut worst = Worst::default();
    for _ in 0..rounds(400) {
        let (score_cap, window) = (rng.random_range(2..5), rng.random_range(1..5));
        let adjacency = if rng.random() {
            Adjacency::Replace
        } else {
            Adjacency::AddRemove
        };
        let d = rng.random_range(1..4_usize);
        let largest = 0.95 / (3 * score_cap + window + 2) as f64;
        let leverage_bound = largest * rng.random_range(0.5..1.0);
        // Means of leverages are d/n: rows with several times that do not pass.
        let n = (d as f64 * rng.random_range(2.0..8.0) / leverage_bound) as usize + 20;
        let relative_error = if rng.random() { 0.0 } else { 1e-7 };
        let input = LadderInput {
            leverage_bound,
            residual_bound: 1.0,
            score_cap,
            window,
            adjacency,
            relative_error,
        };
        let Some(ladder) = Ladder::new(input).unwrap() else {
            continue;
        };
        let pair = Pair::new(&mut rng, &ladder, n, d);
        let levels = pair.tables.each_ref().map(|table| {
            let data = Dataset::new(table.flat(), table.y.clone(), table.columns()).unwrap();
            form(&data, &ladder).unwrap()
        });
        check(&pair, &ladder, &levels, &mut worst);
    }
    worst
}

fn judge(worst: &Worst) {
    assert!(worst.weights <= 1.0 + 1e-9, "{worst:?}");
    assert!(worst.trace <= 1.0 + 1e-9, "{worst:?}");
    assert!(worst.center <= 1.0 + 1e-9, "{worst:?}");
    // The pairs must be hostile enough to say something.
    assert!(worst.both_pass * 5 > worst.pairs, "{worst:?}");
    assert!(
        worst.weights > 0.5 && worst.trace > 0.2 && worst.center > 0.1,
        "{worst:?}"
    );
}

#[test]
fn the_one_pass_filter_satisfies_the_lemmas() {
    let worst = run(filter::one_pass, 11);
    println!("{worst:?}");
    judge(&worst);
}

#[test]
fn the_filter_from_scratch_satisfies_the_lemmas() {
    let worst = run(filter::all_from_scratch, 12);
    println!("{worst:?}");
    judge(&worst);
}
