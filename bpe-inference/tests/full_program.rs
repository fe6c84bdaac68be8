//! The rows that an inference finds step by step against the whole program of the paper, written down row by row.

#[path = "support/matching.rs"]
mod matching;

use bpe_inference::inference::{PairBasis, StopRule};
use bpe_inference::lp::{Limits, LpSolver, MixtureLp, StructuredIpm};
use bpe_inference::metrics::sample_simplex;
use bpe_inference::synth::{ZipfLanguages, sample_categories, sample_mixture};
use bpe_inference::{
    BpeTrainer, Estimate, InferenceConfig, MixtureInference, PairTrace, TraceOptions,
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use matching::{grid, matching_value};

const STEPS: usize = 30;

/// Small samples of invented languages against a list of a large mixture of them: no mixture fits exactly.
fn noisy_trace(n: usize, seed: u64) -> PairTrace {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let languages = ZipfLanguages {
        categories: n,
        vocabulary: 60,
        letters: b'a'..=b'h',
        repeated: 0.1,
        ..ZipfLanguages::default()
    };
    let languages = languages.generate(&mut rng).expect("valid settings");
    let truth = sample_simplex(n, &mut rng).expect("n is small");
    let words = sample_mixture(&languages, &truth, 1e7, &mut rng).expect("training text");
    let (list, _) = BpeTrainer::new(STEPS).train(&words).expect("training");
    let sample = sample_categories(&languages, 3e3, &mut rng).expect("sample");
    PairTrace::build(&list, &sample, STEPS, &TraceOptions::default()).expect("trace")
}

/// Section 3.2 of the paper: a row for every step and every other pair. Slack `t` is that of step `t`, slack `p` that of pair `p`.
fn full_program(trace: &PairTrace, basis: PairBasis) -> MixtureLp {
    let n = trace.categories().len();
    let mut lp = MixtureLp::new(n);
    for t in 0..trace.steps() {
        let counts = trace.counts_at(t);
        let normalised = |pair: u32| -> Vec<f64> {
            let of = trace.categories().iter().enumerate();
            of.map(|(i, category)| {
                let size = match basis {
                    PairBasis::InitialPairs => category.initial_pairs,
                    PairBasis::Bytes => category.bytes,
                };
                counts.get(pair, i) as f64 / size as f64
            })
            .collect()
        };
        let Some(merged) = trace
            .merged(t)
            .filter(|&pair| counts.counts(pair).count() > 0)
        else {
            continue;
        };
        let own = normalised(merged);
        for pair in (0..trace.pairs().len() as u32).filter(|&pair| pair != merged) {
            let row: Vec<f64> = own
                .iter()
                .zip(normalised(pair))
                .map(|(m, p)| m - p)
                .collect();
            lp.push(t as u32, pair, &row).expect("finite counts");
        }
    }
    lp
}

/// To the optimum, whatever it takes.
fn infer(trace: &PairTrace, basis: PairBasis, rows: (usize, usize)) -> Estimate {
    let stop = StopRule {
        alpha_tolerance: 0.0,
        gap: 0.0,
        ..StopRule::default()
    };
    let config = InferenceConfig::new()
        .with_merges(STEPS)
        .with_tolerance(1e-12)
        .with_basis(basis)
        .with_rows(rows.0, rows.1)
        .with_stop(stop);
    MixtureInference::new(config).run(trace).expect("inference")
}

/// Where a convex function on 0..=1 is least, by halving the interval in golden ratio.
fn least(f: impl Fn(f64) -> f64) -> f64 {
    let ratio = 0.5 * (5.0_f64.sqrt() - 1.0);
    let (mut low, mut high) = (0.0, 1.0);
    let (mut a, mut b) = (1.0 - ratio, ratio);
    let (mut at_a, mut at_b) = (f(a), f(b));
    for _ in 0..45 {
        if at_a <= at_b {
            (high, b, at_b) = (b, a, at_a);
            a = high - ratio * (high - low);
            at_a = f(a);
        } else {
            (low, a, at_a) = (a, b, at_b);
            b = low + ratio * (high - low);
            at_b = f(b);
        }
    }
    f64::midpoint(low, high)
}

/// With two categories the least matching value over all weights can be found by search along a line, without any solver.
#[test]
fn two_weights_are_where_the_matching_value_is_least() {
    for seed in 0..4 {
        let trace = noisy_trace(2, seed);
        let full = full_program(&trace, PairBasis::InitialPairs);
        let value = |a: f64| matching_value(&full, &[a, 1.0 - a]);
        let expected = least(value);
        let optimum = value(expected);
        let estimate = infer(&trace, PairBasis::InitialPairs, (1, 3));
        assert!(optimum > 1e-4, "seed {seed} is trivial: {optimum:e}");
        for bound in [estimate.objective_lower, estimate.objective_upper] {
            assert!(
                (bound - optimum).abs() <= 1e-6 * optimum,
                "seed {seed}: {estimate} {optimum:e}"
            );
        }
        let steep = [-1e-4, 1e-4].map(|d| value(expected + d) - optimum);
        assert!(
            steep.iter().all(|rise| *rise > 1e-9),
            "seed {seed} is flat: {steep:?}"
        );
        assert!(
            (estimate.alpha[0] - expected).abs() < 1e-5,
            "seed {seed}: {:?} {expected}",
            estimate.alpha
        );
    }
}

/// However rows are batched and counts are normalised: the objective is that of the whole program, the weights are where it
/// is attained, and no point of a grid is better.
#[test]
fn lazy_rows_lead_to_the_optimum_of_the_whole_program() {
    for (seed, n, parts, basis, rows) in [
        (10, 2, 200, PairBasis::InitialPairs, (1, 5)),
        (11, 3, 24, PairBasis::InitialPairs, (10, 10_000)),
        (12, 3, 24, PairBasis::Bytes, (2, 30)),
        (13, 4, 10, PairBasis::InitialPairs, (100, 100_000)),
        (14, 5, 6, PairBasis::Bytes, (3, 100)),
    ] {
        let trace = noisy_trace(n, seed);
        let full = full_program(&trace, basis);
        let solved = StructuredIpm::default()
            .solve(&full, None, &Limits::default())
            .expect("the whole program");
        let estimate = infer(&trace, basis, rows);
        assert!(
            estimate.rows < full.rows() / 4,
            "seed {seed}: rows are not found lazily"
        );
        let optimum = solved.objective;
        assert!(optimum > 1e-4, "seed {seed} is trivial: {optimum:e}");
        let attained = matching_value(&full, &estimate.alpha);
        for found in [estimate.objective_lower, estimate.objective_upper, attained] {
            assert!(
                (found - optimum).abs() <= 1e-6 * optimum,
                "seed {seed}: {found:e} {optimum:e}"
            );
        }
        for (x, y) in estimate.alpha.iter().zip(&solved.state.alpha) {
            assert!(
                (x - y).abs() < 1e-5,
                "seed {seed}: {:?} {:?}",
                estimate.alpha,
                solved.state.alpha
            );
        }
        for alpha in grid(n, parts) {
            assert!(
                matching_value(&full, &alpha) >= optimum * (1.0 - 1e-6),
                "seed {seed}: {alpha:?}"
            );
        }
    }
}
