//! The estimate on data with a known answer, and everything that can interrupt it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bpe_inference::inference::{
    MissingPolicy, PairBasis, StopReason, StopRule, Warning, recommended_merges,
};
use bpe_inference::intervals::{BootstrapConfig, Resampling, bootstrap};
use bpe_inference::lp::{Limits, LpError, LpSolution, LpSolver, LpState, MixtureLp, StructuredIpm};
use bpe_inference::merges::{Alphabet, MergeList};
use bpe_inference::metrics::{log10_mse, sample_simplex};
use bpe_inference::pretokenizer::{self, TextPipeline};
use bpe_inference::ranges::{joint_ranges, ranges};
use bpe_inference::synth::{ZipfLanguages, sample_categories, sample_mixture};
use bpe_inference::{
    BpeTrainer, Category, Error, Estimate, InferenceConfig, MixtureInference, PairTrace,
    TraceOptions, WordCounts,
};
use proptest::prelude::*;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

fn category(name: &str, words: &[(&str, u64)]) -> Category {
    Category::new(name, WordCounts::from_counts(words.iter().copied()))
}

fn trained(words: &WordCounts, merges: usize) -> MergeList {
    BpeTrainer::new(merges).train(words).expect("training").0
}

fn traced(list: &MergeList, categories: &[Category]) -> PairTrace {
    PairTrace::build(list, categories, usize::MAX, &TraceOptions::default()).expect("trace")
}

/// Zipf languages, a mixture of them, a tokenizer trained on `bytes` bytes of it, and an independent sample.
fn zipf_problem(
    n: usize,
    merges: usize,
    bytes: f64,
    seed: u64,
) -> (Vec<f64>, PairTrace, MergeList) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let languages = ZipfLanguages {
        categories: n,
        ..ZipfLanguages::default()
    };
    let languages = languages.generate(&mut rng).expect("valid settings");
    let truth = sample_simplex(n, &mut rng).expect("n is small");
    let words = sample_mixture(&languages, &truth, bytes, &mut rng).expect("training text");
    let list = trained(&words, merges);
    let sample = sample_categories(&languages, bytes / 4.0, &mut rng).expect("sample");
    let trace = traced(&list, &sample);
    (truth, trace, list)
}

/// As many cases, and no files beside the tests.
fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

fn infer(trace: &PairTrace, config: InferenceConfig) -> Estimate {
    MixtureInference::new(config).run(trace).expect("inference")
}

/// Category A writes only "ab", category B only "cd": the first merge is "ab" exactly if A has more pairs. With equal
/// word lengths the pairs' shares are the bytes' shares, so the estimate must move to the right side of one half from
/// wherever it starts.
#[test]
fn the_first_merge_says_which_of_two_languages_is_larger() {
    let languages = [category("a", &[("ab", 100)]), category("b", &[("cd", 100)])];
    for (share_a, share_b) in [(3, 2), (2, 3)] {
        let words = WordCounts::from_counts([("ab", share_a), ("cd", share_b)]);
        let trace = traced(&trained(&words, 2), &languages);
        for start in [[0.1, 0.9], [0.9, 0.1]] {
            let mut from = infer(&trace, InferenceConfig::new());
            from.alpha = start.to_vec();
            let inference = MixtureInference::new(InferenceConfig::new()).with_warm_start(&from);
            let estimate = inference.run(&trace).expect("inference");
            let larger = usize::from(share_b > share_a);
            assert!(estimate.objective_upper < 1e-6, "{estimate}");
            assert!(estimate.byte_shares()[larger] > 0.5 - 1e-6, "{estimate}");
        }
    }
}

/// Break points in closed form. A's words are "ab" x 60 and "xy" x 40 of 100, B's "cd" x 100. The order ab, cd, xy
/// holds exactly for 0.6 a > 1 - a > 0.4 a, that is a in (0.625, 0.714..): the estimate must lie there.
#[test]
fn an_order_of_merges_bounds_the_mixture_on_both_sides() {
    let a = category("a", &[("ab", 60), ("xy", 40)]);
    let b = category("b", &[("cd", 100)]);
    let parts = [(b"a", b"b"), (b"c", b"d"), (b"x", b"y")];
    let list = MergeList::from_parts(Alphabet::Bytes, parts).expect("merges of letters");
    let estimate = infer(&traced(&list, &[a, b]), InferenceConfig::new());
    let share = estimate.categories[0].bytes;
    assert!(
        (0.625 - 1e-6..=1.0 / 1.4 + 1e-6).contains(&share),
        "{share}"
    );
    assert!(estimate.objective_upper < 1e-6, "{estimate}");
}

/// The program's weights are shares of pairs; bytes differ where words differ in length. A's words have 2 letters (one
/// pair, 2 bytes), B's have 5 (4 pairs, 5 bytes): pair shares p and 1 - p are 2p and 1.25 (1 - p) parts of bytes.
#[test]
fn shares_of_pairs_become_shares_of_bytes() {
    let a = category("a", &[("ab", 60), ("xy", 40)]);
    let b = category("b", &[("cdefg", 100)]);
    let words = WordCounts::from_counts([("ab", 600), ("xy", 400), ("cdefg", 500)]);
    let estimate = infer(
        &traced(&trained(&words, 6), &[a, b]),
        InferenceConfig::new(),
    );
    let [a, b] = &estimate.categories[..] else {
        panic!("two categories")
    };
    let expected = 2.0 * a.pairs / (2.0 * a.pairs + 1.25 * b.pairs);
    assert!(
        (a.bytes - expected).abs() < 1e-12,
        "{} against {expected}",
        a.bytes
    );
    assert!((a.pairs + b.pairs - 1.0).abs() < 1e-12);
}

/// C4: where the counts are the training counts themselves, every inequality holds at the truth.
#[test]
fn exact_data_give_the_exact_mixture() {
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let languages = ZipfLanguages {
        categories: 5,
        ..ZipfLanguages::default()
    };
    let languages = languages.generate(&mut rng).expect("valid settings");
    let parts = [7_u64, 1, 3, 12, 5];
    let words = WordCounts::from_counts(
        languages
            .iter()
            .zip(parts)
            .flat_map(|(l, k)| l.words.iter().map(move |(w, c)| (w, c * k))),
    );
    let bytes: Vec<f64> = languages
        .iter()
        .zip(parts)
        .map(|(l, k)| (l.bytes * k) as f64)
        .collect();
    let total: f64 = bytes.iter().sum();
    let truth: Vec<f64> = bytes.iter().map(|b| b / total).collect();
    for merges in [1000, usize::MAX] {
        let list = trained(&words, merges);
        let estimate = infer(
            &traced(&list, &languages),
            InferenceConfig::new().with_merges(merges),
        );
        assert!(estimate.objective_lower <= 1e-9, "{estimate}");
        assert!(
            log10_mse(&estimate.byte_shares(), &truth).expect("same length") <= -12.0,
            "{estimate}"
        );
    }
}

#[test]
fn an_independent_sample_recovers_the_mixture() {
    for seed in 0..3 {
        let (truth, trace, _) = zipf_problem(5, 600, 4e8, seed);
        let estimate = infer(&trace, InferenceConfig::new().with_merges(600));
        let error = log10_mse(&estimate.byte_shares(), &truth).expect("same length");
        assert!(error < -6.0, "seed {seed}: log10 MSE {error}");
        assert!((estimate.byte_shares().iter().sum::<f64>() - 1.0).abs() < 1e-9);
    }
}

/// However the rows are batched, the optimum is the same program's.
#[test]
fn the_optimum_does_not_depend_on_how_rows_are_batched() {
    let (_, trace, _) = zipf_problem(4, 200, 4e6, 7);
    let exact = bpe_inference::inference::StopRule {
        alpha_tolerance: 0.0,
        gap: 1e-7,
        ..Default::default()
    };
    let optimum = |per_step, per_round| {
        let config = InferenceConfig::new()
            .with_merges(200)
            .with_stop(exact)
            .with_tolerance(1e-10)
            .with_rows(per_step, per_round);
        infer(&trace, config)
    };
    let reference = optimum(10, 10_000);
    assert!(
        reference.objective_upper > 1e-6,
        "the case must not be trivial"
    );
    for (per_step, per_round) in [(1, 50), (3, 200), (100, 100_000)] {
        let other = optimum(per_step, per_round);
        let relative =
            (other.objective_lower - reference.objective_lower).abs() / reference.objective_upper;
        assert!(
            relative < 1e-5,
            "{per_step} {per_round}: {other} against {reference}"
        );
    }
}

/// A solver that watches what it returns.
struct Watched {
    inner: StructuredIpm,
    bounds: Arc<std::sync::Mutex<Vec<f64>>>,
    /// Set this flag after so many solves.
    cancel_after: usize,
    cancel: Arc<AtomicBool>,
    solves: AtomicUsize,
}

impl LpSolver for Watched {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn solve(
        &self,
        lp: &MixtureLp,
        warm: Option<&LpState>,
        limits: &Limits<'_>,
    ) -> Result<LpSolution, LpError> {
        let solution = self.inner.solve(lp, warm, limits)?;
        assert!(solution.lower_bound <= solution.objective + 1e-12);
        self.bounds
            .lock()
            .expect("not poisoned")
            .push(solution.lower_bound);
        if self.solves.fetch_add(1, Ordering::Relaxed) + 1 == self.cancel_after {
            self.cancel.store(true, Ordering::Relaxed);
        }
        Ok(solution)
    }
}

#[test]
fn restricted_optima_rise_and_stay_below_the_upper_bound() {
    let (_, trace, _) = zipf_problem(4, 300, 4e6, 11);
    let bounds = Arc::new(std::sync::Mutex::new(Vec::new()));
    let watched = Watched {
        inner: StructuredIpm::default(),
        bounds: bounds.clone(),
        cancel_after: usize::MAX,
        cancel: Arc::default(),
        solves: AtomicUsize::new(0),
    };
    let config = InferenceConfig::new().with_merges(300).with_rows(2, 100);
    let estimate = MixtureInference::new(config)
        .with_solver(Box::new(watched))
        .run(&trace)
        .expect("inference");
    let bounds = bounds.lock().expect("not poisoned");
    assert!(bounds.len() > 3, "only {} rounds", bounds.len());
    for pair in bounds.windows(2) {
        // Certified bounds of growing programs, each tight to the solver's tolerance.
        assert!(pair[1] >= pair[0] * (1.0 - 1e-5) - 1e-9, "{bounds:?}");
    }
    assert!(
        bounds
            .iter()
            .all(|&bound| bound <= estimate.objective_upper + 1e-12)
    );
    assert!(estimate.gap() >= 0.0 && estimate.gap() < 0.05, "{estimate}");
}

#[test]
fn an_interrupted_run_resumes_to_the_same_bits() {
    let (_, trace, _) = zipf_problem(4, 300, 4e6, 12);
    let config = || InferenceConfig::new().with_merges(300).with_rows(2, 100);
    let whole = infer(&trace, config());
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("state");
    for cancel_after in [1, 3, 5] {
        let cancel = Arc::new(AtomicBool::new(false));
        let watched = Watched {
            inner: StructuredIpm::default(),
            bounds: Arc::default(),
            cancel_after,
            cancel: cancel.clone(),
            solves: AtomicUsize::new(0),
        };
        let interrupted = MixtureInference::new(config())
            .with_solver(Box::new(watched))
            .with_cancel(&cancel)
            .with_checkpoint(&path)
            .run(&trace);
        match interrupted.map(|estimate| estimate.rounds) {
            Err(Error::Cancelled {
                partial: Some(partial),
            }) => {
                assert_eq!(partial.stop, StopReason::Cancelled);
                assert!((partial.byte_shares().iter().sum::<f64>() - 1.0).abs() < 1e-9);
            }
            other => panic!("expected to be cancelled, got {other:?}"),
        }
    }
    let resumed = MixtureInference::new(config())
        .with_checkpoint(&path)
        .run(&trace)
        .expect("resumed");
    assert_eq!(resumed, whole);
    // And once more, from the finished state.
    let again = MixtureInference::new(config())
        .with_checkpoint(&path)
        .run(&trace)
        .expect("finished");
    assert_eq!(again.byte_shares(), whole.byte_shares());
    assert_eq!(again, whole);
}

/// Whatever ends a run, a finished state gives the whole result again, and so does every state on the way to it.
#[test]
fn a_finished_state_gives_the_whole_estimate_again() {
    let (_, trace, _) = zipf_problem(4, 300, 4e6, 12);
    let folder = tempfile::tempdir().expect("temporary folder");
    for (expected, alpha_tolerance, gap, schedule) in [
        (StopReason::Optimal, 0.0, 0.0, vec![100]),
        (StopReason::Gap, 0.0, 0.3, vec![100, 200]),
        (StopReason::WeightsStable, 0.3, 0.0, vec![]),
        (StopReason::WeightsStable, 0.3, 0.0, vec![100]),
    ] {
        let stop = StopRule {
            alpha_tolerance,
            gap,
            rounds: 2,
            time: None,
        };
        let config = InferenceConfig::new()
            .with_merges(300)
            .with_rows(2, 100)
            .with_stop(stop)
            .with_schedule(schedule);
        let whole = infer(&trace, config.clone());
        assert_eq!(whole.stop, expected);
        assert!(whole.objective_upper.is_finite() && whole.gap().is_finite());
        let path = folder.path().join("state");
        for cancel_after in 1.. {
            let cancel = Arc::new(AtomicBool::new(false));
            let watched = Watched {
                inner: StructuredIpm::default(),
                bounds: Arc::default(),
                cancel_after,
                cancel: cancel.clone(),
                solves: AtomicUsize::new(0),
            };
            let interrupted = MixtureInference::new(config.clone())
                .with_solver(Box::new(watched))
                .with_cancel(&cancel)
                .with_checkpoint(&path)
                .run(&trace);
            let cancelled = matches!(interrupted, Err(Error::Cancelled { .. }));
            for _ in 0..2 {
                let resumed = MixtureInference::new(config.clone())
                    .with_checkpoint(&path)
                    .run(&trace)
                    .expect("resumed");
                assert_eq!(resumed, whole, "{expected:?} after {cancel_after} rounds");
            }
            std::fs::remove_file(&path).expect("the state");
            if !cancelled {
                assert!(cancel_after >= whole.rounds, "every round was interrupted");
                break;
            }
        }
    }
}

/// Resampled counts have nothing to do with the state that is kept of the samples' own.
#[test]
fn bootstrap_leaves_the_checkpoint_alone() {
    let mut rng = ChaCha8Rng::seed_from_u64(23);
    let languages = ZipfLanguages::default()
        .generate(&mut rng)
        .expect("valid settings");
    let words = sample_mixture(&languages, &[0.5, 0.3, 0.2], 1e8, &mut rng).expect("training text");
    let list = trained(&words, 100);
    let trace = traced(&list, &languages);
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("state");
    let config = InferenceConfig::new().with_merges(100);
    let replicates = |inference: &MixtureInference<'_>| {
        let estimate = inference.run(&trace).expect("inference");
        let config = BootstrapConfig {
            replicates: 3,
            ..BootstrapConfig::default()
        };
        let options = TraceOptions::default();
        let words = Resampling::Words;
        bootstrap(
            &list, &languages, &options, inference, &estimate, words, &config,
        )
    };
    let plain = replicates(&MixtureInference::new(config.clone())).expect("bootstrap");
    let inference = MixtureInference::new(config).with_checkpoint(&path);
    let kept = replicates(&inference).expect("bootstrap beside a checkpoint");
    assert_eq!(kept, plain);
    let state = std::fs::read(&path).expect("the state");
    assert_eq!(replicates(&inference).expect("again"), plain);
    assert_eq!(std::fs::read(&path).expect("the state"), state);
}

#[test]
fn damaged_and_foreign_checkpoints_are_refused() {
    let (_, trace, _) = zipf_problem(3, 100, 1e6, 13);
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("state");
    let run = |merges: usize| {
        let config = InferenceConfig::new().with_merges(merges);
        MixtureInference::new(config)
            .with_checkpoint(&path)
            .run(&trace)
    };
    run(100).expect("first run");
    match run(50) {
        Err(Error::VersionMismatch { .. }) => {}
        other => panic!("a state of other settings was taken: {other:?}"),
    }
    let whole = std::fs::read(&path).expect("the state");
    for at in [0, 7, 9, 20, whole.len() / 2, whole.len() - 1] {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        std::fs::write(&path, &damaged).expect("write");
        assert!(
            matches!(run(100), Err(Error::Parse { .. })),
            "damage at {at} went unseen"
        );
    }
    for keep in [0, 5, 12, whole.len() / 2] {
        std::fs::write(&path, &whole[..keep]).expect("write");
        assert!(
            matches!(run(100), Err(Error::Parse { .. })),
            "truncation to {keep} went unseen"
        );
    }
    // An undamaged file of another version: its checksum is right.
    let mut newer = whole.clone();
    newer[16] += 1;
    let sum = xxhash_rust::xxh3::xxh3_64(&newer[16..]).to_le_bytes();
    newer[8..16].copy_from_slice(&sum);
    std::fs::write(&path, &newer).expect("write");
    match run(100) {
        Err(Error::VersionMismatch { found, .. }) => assert!(found.contains("version"), "{found}"),
        other => panic!("a state of another version was taken: {other:?}"),
    }
    std::fs::write(&path, &whole).expect("write");
    run(100).expect("the whole file is still good");
}

/// Damage of any kind is an error; where the checksum is made to fit, nothing is worse than a wrong number.
#[test]
fn changed_checkpoints_never_panic() {
    let (_, trace, _) = zipf_problem(3, 60, 1e5, 13);
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("state");
    let run = || {
        MixtureInference::new(InferenceConfig::new().with_merges(60))
            .with_checkpoint(&path)
            .run(&trace)
    };
    run().expect("first run");
    let whole = std::fs::read(&path).expect("the state");
    proptest!(cases(200), |(
        cut in any::<proptest::sample::Index>(),
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..4),
        mend: bool,
    )| {
        let mut bytes = whole.clone();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        // Half of the cases are cut too.
        bytes.truncate((2 * cut.index(bytes.len())).min(bytes.len()));
        if mend && bytes.len() > 16 {
            let sum = xxhash_rust::xxh3::xxh3_64(&bytes[16..]).to_le_bytes();
            bytes[8..16].copy_from_slice(&sum);
        }
        std::fs::write(&path, &bytes).expect("write");
        let refused = matches!(run(), Err(Error::Parse { .. } | Error::VersionMismatch { .. }));
        prop_assert!(refused || mend || bytes == whole);
    });
}

#[test]
fn a_time_limit_returns_the_best_so_far() {
    let (_, trace, _) = zipf_problem(4, 300, 4e6, 14);
    let stop = bpe_inference::inference::StopRule {
        time: Some(std::time::Duration::ZERO),
        ..Default::default()
    };
    let estimate = infer(
        &trace,
        InferenceConfig::new().with_merges(300).with_stop(stop),
    );
    assert_eq!(estimate.stop, StopReason::TimeLimit);
    assert!((estimate.byte_shares().iter().sum::<f64>() - 1.0).abs() < 1e-9);
    // The first stage of the schedule was under way, not the last.
    assert_eq!(estimate.merges, 100);
    assert_eq!(
        estimate.stability.last().map(|point| point.merges),
        Some(100)
    );
    assert!(estimate.objective_upper.is_finite());
}

/// A run that is stopped in a stage speaks of that stage's merges: the bounds are those of a run of so many.
#[test]
fn a_stopped_run_reports_the_merges_it_worked_on() {
    let (_, trace, _) = zipf_problem(4, 300, 4e6, 14);
    let config = || {
        InferenceConfig::new()
            .with_merges(300)
            .with_rows(2, 100)
            .with_schedule(vec![60, 120])
    };
    let rounds_of = |steps: usize| {
        let schedule = [60, 120]
            .into_iter()
            .filter(|&stage| stage < steps)
            .collect();
        infer(&trace, config().with_merges(steps).with_schedule(schedule)).rounds
    };
    let mut seen = Vec::new();
    for cancel_after in 1..=rounds_of(300) {
        let cancel = Arc::new(AtomicBool::new(false));
        let watched = Watched {
            inner: StructuredIpm::default(),
            bounds: Arc::default(),
            cancel_after,
            cancel: cancel.clone(),
            solves: AtomicUsize::new(0),
        };
        let run = MixtureInference::new(config())
            .with_solver(Box::new(watched))
            .with_cancel(&cancel)
            .run(&trace);
        let Err(Error::Cancelled {
            partial: Some(partial),
        }) = run
        else {
            continue; // The last rounds end the run before the flag is looked at.
        };
        let optimum = infer(&trace, config().with_merges(partial.merges));
        assert!(
            partial.objective_lower <= optimum.objective_upper + 1e-9
                && optimum.objective_lower <= partial.objective_upper + 1e-9,
            "{partial} against {optimum}"
        );
        let reached = partial.merge_violation.iter().map(|&(step, _)| step).max();
        assert!(
            reached.is_none_or(|step| step < partial.merges),
            "{partial}"
        );
        assert!(partial.missing.iter().all(|&step| step < partial.merges));
        seen.push(partial.merges);
    }
    assert!(seen.is_sorted(), "{seen:?}");
    seen.dedup();
    assert_eq!(seen, [60, 120, 300]);
}

/// A solver that answers with something else.
struct Foreign(fn(&MixtureLp, LpSolution) -> LpSolution);

impl LpSolver for Foreign {
    fn name(&self) -> &'static str {
        "foreign"
    }

    fn solve(
        &self,
        lp: &MixtureLp,
        warm: Option<&LpState>,
        limits: &Limits<'_>,
    ) -> Result<LpSolution, LpError> {
        let solution = StructuredIpm::default().solve(lp, warm, limits)?;
        Ok((self.0)(lp, solution))
    }
}

/// What a foreign solver returns is looked at before it is used. With Clarabel at hand the run goes on with that.
#[test]
fn answers_that_are_not_finite_or_of_another_size_are_refused() {
    let (_, trace, _) = zipf_problem(3, 100, 4e6, 24);
    let config = || InferenceConfig::new().with_merges(100);
    let run = |change| {
        MixtureInference::new(config())
            .with_solver(Box::new(Foreign(change)))
            .run(&trace)
    };
    let expected = infer(&trace, config());
    assert_eq!(
        run(|_, solution| solution).expect("a good answer").alpha,
        expected.alpha
    );
    let changes: [fn(&MixtureLp, LpSolution) -> LpSolution; 8] = [
        |_, mut solution| {
            solution.state.alpha[0] = f64::NAN;
            solution
        },
        |_, mut solution| {
            solution.state.v_step[0] = f64::INFINITY;
            solution
        },
        |_, mut solution| {
            solution.state.v_pair[0] = f64::NAN;
            solution
        },
        |_, mut solution| {
            solution.state.dual[0] = f64::NEG_INFINITY;
            solution
        },
        |_, mut solution| {
            solution.lower_bound = f64::NAN;
            solution
        },
        |_, mut solution| {
            solution.objective = f64::INFINITY;
            solution
        },
        |_, mut solution| {
            solution.state.alpha.pop();
            solution
        },
        |lp, mut solution| {
            solution.state.v_pair = vec![0.0; lp.pairs() + 1];
            solution
        },
    ];
    for (k, change) in changes.into_iter().enumerate() {
        let found = run(change);
        if cfg!(feature = "clarabel") {
            let found = found.expect("Clarabel takes over");
            for (x, y) in found.alpha.iter().zip(&expected.alpha) {
                assert!(
                    (x - y).abs() < 1e-4,
                    "change {k}: {found} against {expected}"
                );
            }
        } else {
            assert!(
                matches!(
                    found,
                    Err(Error::Lp(
                        LpError::NonFinite { .. } | LpError::NotConverged { .. }
                    ))
                ),
                "change {k}: {found:?}"
            );
        }
    }
}

#[test]
fn a_language_that_no_candidate_covers_is_named() {
    let mut rng = ChaCha8Rng::seed_from_u64(21);
    let known = ZipfLanguages {
        categories: 2,
        ..ZipfLanguages::default()
    };
    let known = known.generate(&mut rng).expect("valid settings");
    let foreign = ZipfLanguages {
        categories: 1,
        letters: b'A'..=b'Z',
        ..ZipfLanguages::default()
    };
    let foreign = foreign
        .generate(&mut rng)
        .expect("valid settings")
        .remove(0);
    let all = [known.clone(), vec![foreign]].concat();
    let words = sample_mixture(&all, &[0.5, 0.3, 0.2], 1e8, &mut rng).expect("training text");
    let list = trained(&words, 300);
    let trace = traced(&list, &known);
    let estimate = infer(&trace, InferenceConfig::new().with_merges(300));
    let foreign_step = |t: usize| {
        list.text(list.steps()[t].product)
            .iter()
            .all(u8::is_ascii_uppercase)
    };
    assert!(!estimate.missing.is_empty());
    assert!(
        estimate.missing.iter().all(|&t| foreign_step(t)),
        "only its merges are missing"
    );
    let error = log10_mse(&estimate.byte_shares(), &[0.625, 0.375]).expect("same length");
    assert!(error < -4.0, "the others are still right: {error}");
    let strict = InferenceConfig::new()
        .with_merges(300)
        .with_missing(MissingPolicy::Error);
    match MixtureInference::new(strict).run(&trace) {
        Err(Error::MissingMerge { step, .. }) => assert_eq!(step, estimate.missing[0]),
        other => panic!("expected a missing merge, got {other:?}"),
    }
}

#[test]
fn merges_of_another_alphabet_are_a_mismatch() {
    let list = trained(&WordCounts::from_counts([("XYXY", 5), ("ZZ", 3)]), 4);
    let trace = traced(
        &list,
        &[category("a", &[("ab", 9)]), category("b", &[("cd", 9)])],
    );
    match MixtureInference::new(InferenceConfig::new()).run(&trace) {
        Err(Error::MergeMismatch { steps, .. }) => assert_eq!(steps, list.steps().len()),
        other => panic!("expected a mismatch, got {other:?}"),
    }
}

/// One category of another alphabet among good ones is named, whatever its place.
#[test]
fn a_category_that_shares_no_merge_is_named() {
    let list = trained(
        &WordCounts::from_counts([("abab", 5), ("cdc", 3), ("xyz", 1)]),
        6,
    );
    let good = [("abc", 9), ("cd", 4)];
    let step_of = |text: &[u8]| {
        let mut steps = list.steps().iter();
        steps.position(|merge| *list.text(merge.product) == *text)
    };
    let late = step_of(b"xy").or(step_of(b"yz")).expect("its merge");
    assert!(
        late > 0,
        "the merge of the late category must not be the first"
    );
    for place in 0..3 {
        let run = |odd: &[(&str, u64)], merges: usize| {
            let mut categories = vec![category("a", &good), category("b", &good[..1])];
            categories.insert(place, category("odd", odd));
            let config = InferenceConfig::new().with_merges(merges);
            MixtureInference::new(config).run(&traced(&list, &categories))
        };
        match run(&[("AB", 9), ("12345", 4)], usize::MAX) {
            Err(Error::CategoryMismatch { name, steps, .. }) => {
                assert_eq!((name.as_str(), steps), ("odd", list.steps().len()));
            }
            other => panic!("expected a mismatch, got {other:?}"),
        }
        // Whoever goes on all the same is warned.
        let mut categories = vec![category("a", &good), category("b", &good[..1])];
        categories.insert(place, category("odd", &[("AB", 9)]));
        let config = InferenceConfig::new().with_unmatched(MissingPolicy::Skip);
        let estimate = infer(&traced(&list, &categories), config);
        assert_eq!(estimate.warnings, [Warning::Unmatched("odd".into())]);
        // A single merge is enough, if it is among those that are used.
        assert!(run(&[("xyz", 9), ("12345", 4)], usize::MAX).is_ok());
        match run(&[("xyz", 9), ("12345", 4)], late) {
            Err(Error::CategoryMismatch { steps, .. }) => assert_eq!(steps, late),
            other => panic!("expected a mismatch, got {other:?}"),
        }
    }
}

/// Mismatches say which pretokenizer would have fitted, once they are told the tokenizer.
#[test]
fn mismatches_can_be_diagnosed() {
    let words = TextPipeline::gpt2()
        .words("It's the cat's 12345 hats; isn't it? That's what they're for, 12345 times 12345.")
        .expect("words");
    let list = trained(
        &WordCounts::from_counts(words.iter().map(|word| (word, 3))),
        40,
    );
    let expected = pretokenizer::diagnose(&list, &TextPipeline::presets());
    let odd = [
        category("a", &[("\u{1}\u{2}", 9)]),
        category("b", &[("\u{3}\u{4}", 9)]),
    ];
    let half = [category("a", &[("the", 9)]), odd[1].clone()];
    for (categories, all) in [(odd, true), (half, false)] {
        let error = MixtureInference::new(InferenceConfig::new())
            .run(&traced(&list, &categories))
            .expect_err("a mismatch");
        let plain = error.to_string();
        let error = error.diagnosed(&list);
        let (Error::MergeMismatch { diagnosis, .. } | Error::CategoryMismatch { diagnosis, .. }) =
            &error
        else {
            panic!("expected a mismatch, got {error:?}")
        };
        assert_eq!(matches!(error, Error::MergeMismatch { .. }), all);
        assert_eq!(*diagnosis, expected);
        let text = error.to_string();
        assert!(
            text.starts_with(&plain) && text.contains(&expected[0].name),
            "{text}"
        );
    }
    let other = Error::TooFewCategories { found: 1 }.diagnosed(&list);
    assert!(matches!(other, Error::TooFewCategories { found: 1 }));
}

/// Two samples of one language: the estimate warns, and the sum of their shares is far better known than each of them.
#[test]
fn categories_that_cannot_be_told_apart_are_warned_of() {
    let mut rng = ChaCha8Rng::seed_from_u64(25);
    let languages = ZipfLanguages::default()
        .generate(&mut rng)
        .expect("valid settings");
    let truth = [0.6, 0.3, 0.1];
    let words = sample_mixture(&languages, &truth, 1e8, &mut rng).expect("training text");
    let list = trained(&words, 200);
    let sample = |rng: &mut ChaCha8Rng| sample_categories(&languages, 1e7, rng).expect("sample");
    let [mut twin, _, _]: [Category; 3] = sample(&mut rng).try_into().expect("three");
    twin.name = "twin".into();
    let mut categories = sample(&mut rng);
    let alone = infer(&traced(&list, &categories), InferenceConfig::new());
    assert_eq!(alone.warnings, []);
    categories.push(twin);
    let trace = traced(&list, &categories);
    let inference = MixtureInference::new(InferenceConfig::new());
    let (estimate, program) = inference.run_exporting(&trace).expect("inference");
    let warning = Warning::Indistinguishable("zipf-0".into(), "twin".into());
    assert_eq!(estimate.warnings, std::slice::from_ref(&warning));
    assert!(warning.to_string().contains("`zipf-0` and `twin`"));
    let json = serde_json::to_value(&estimate).expect("serialises");
    assert_eq!(json["warnings"][0]["indistinguishable"][1], "twin");

    let solver = StructuredIpm::default();
    let basis = PairBasis::InitialPairs;
    let each = ranges(&program, &trace, &estimate, basis, &solver, 0.05).expect("ranges");
    let joint = joint_ranges(&program, &trace, &estimate, basis, &solver, 0.05).expect("ranges");
    let [joint] = &joint[..] else {
        panic!("one pair: {joint:?}")
    };
    assert_eq!(joint.categories, (0, 3));
    let sum = estimate.categories[0].bytes + estimate.categories[3].bytes;
    assert!(joint.low <= sum && sum <= joint.high, "{joint:?} {sum}");
    assert!(
        joint.low <= truth[0] + 1e-2 && truth[0] - 1e-2 <= joint.high,
        "{joint:?}"
    );
    let width = |(low, high): (f64, f64)| high - low;
    let joint_width = joint.high - joint.low;
    assert!(
        joint_width < 0.25 * width(each[0]) && joint_width < 0.25 * width(each[3]),
        "{joint:?} against {:?} and {:?}",
        each[0],
        each[3]
    );
    // Nothing to report where all differ.
    let trace = traced(&list, &categories[..3]);
    let (estimate, program) = inference.run_exporting(&trace).expect("inference");
    let joint = joint_ranges(&program, &trace, &estimate, basis, &solver, 0.05).expect("ranges");
    assert_eq!(joint, []);
}

#[test]
fn settings_out_of_range_are_refused() {
    let (_, trace, _) = zipf_problem(3, 50, 1e6, 15);
    let stop = |alpha_tolerance, gap| bpe_inference::inference::StopRule {
        alpha_tolerance,
        gap,
        ..Default::default()
    };
    for bad in [
        InferenceConfig::new().with_tolerance(f64::NAN),
        InferenceConfig::new().with_tolerance(0.0),
        InferenceConfig::new().with_stop(stop(f64::NAN, 0.1)),
        InferenceConfig::new().with_stop(stop(0.1, -1.0)),
        InferenceConfig::new().with_rows(0, 10),
        InferenceConfig::new().with_rows(10, 0),
        InferenceConfig::new().with_merges(0),
        InferenceConfig::new().with_sections(true), // without the sections themselves
    ] {
        match MixtureInference::new(bad.clone()).run(&trace) {
            Err(Error::InvalidValue { .. }) => {}
            other => panic!("{bad:?} was taken: {other:?}"),
        }
    }
    let mut nan = infer(&trace, InferenceConfig::new().with_merges(50));
    nan.alpha[0] = f64::NAN;
    let warm = MixtureInference::new(InferenceConfig::new()).with_warm_start(&nan);
    assert!(matches!(warm.run(&trace), Err(Error::InvalidValue { .. })));
}

/// In either basis the truth satisfies the same inequalities; only slacks weigh differently.
#[test]
fn both_bases_recover_the_mixture() {
    let (truth, trace, _) = zipf_problem(4, 400, 4e8, 16);
    for basis in [PairBasis::InitialPairs, PairBasis::Bytes] {
        let estimate = infer(
            &trace,
            InferenceConfig::new().with_merges(400).with_basis(basis),
        );
        let error = log10_mse(&estimate.byte_shares(), &truth).expect("same length");
        assert!(error < -5.5, "{basis:?}: {error}");
    }
}

/// Appendix A: reordering within sections changes no encoding; the section rows hold whatever the order was.
#[test]
fn section_rows_hold_at_the_truth_for_any_order_within_sections() {
    let mut rng = ChaCha8Rng::seed_from_u64(17);
    let languages = ZipfLanguages {
        categories: 3,
        ..ZipfLanguages::default()
    };
    let languages = languages.generate(&mut rng).expect("valid settings");
    let words = WordCounts::from_counts(
        languages
            .iter()
            .zip([5, 2, 9])
            .flat_map(|(l, k)| l.words.iter().map(move |(w, c)| (w, c * k))),
    );
    let list = trained(&words, 300);
    // All but a section's first merge, whose conflict with the section before is what marks the boundary.
    let reversed = list.sections().into_iter().flat_map(|section| {
        std::iter::once(section.start).chain((section.start + 1..section.end).rev())
    });
    let parts = reversed.map(|t| {
        (
            list.text(list.steps()[t].left),
            list.text(list.steps()[t].right),
        )
    });
    let reordered = MergeList::from_parts(Alphabet::Bytes, parts).expect("still a merge list");
    assert!(
        reordered.steps() != list.steps(),
        "the case must not be trivial"
    );
    assert_eq!(reordered.sections(), list.sections());
    let trace = traced(&reordered, &languages);
    let config = InferenceConfig::new().with_merges(300);
    let naive = infer(&trace, config.clone());
    let by_section = MixtureInference::new(config.with_sections(true))
        .with_sections_of(&reordered)
        .run(&trace)
        .expect("inference");
    assert!(
        naive.objective_lower > 1e-4,
        "the false order must contradict the counts: {naive}"
    );
    assert!(by_section.objective_upper < 1e-6, "{by_section}");
    let bytes: Vec<f64> = languages
        .iter()
        .zip([5, 2, 9])
        .map(|(l, k)| (l.bytes * k) as f64)
        .collect();
    let total: f64 = bytes.iter().sum();
    let truth: Vec<f64> = bytes.iter().map(|b| b / total).collect();
    let error = log10_mse(&by_section.byte_shares(), &truth).expect("same length");
    assert!(error < -3.0, "{error}");
}

#[test]
fn more_data_supports_more_merges() {
    let (_, small, _) = zipf_problem(3, 3000, 1e5, 18);
    let (_, large, _) = zipf_problem(3, 3000, 1e8, 18);
    assert!(recommended_merges(&small) < recommended_merges(&large));
    assert!(recommended_merges(&large) <= large.steps());
}

/// The estimate is a list a user can print and store.
#[test]
fn estimates_print_and_serialise() {
    let (_, trace, _) = zipf_problem(3, 50, 1e6, 19);
    let estimate = infer(&trace, InferenceConfig::new().with_merges(50));
    let text = estimate.to_string();
    assert!(
        estimate
            .categories
            .iter()
            .all(|category| text.contains(&category.name)),
        "{text}"
    );
    let json = serde_json::to_string(&estimate).expect("serialises");
    let back: Estimate = serde_json::from_str(&json).expect("reads back");
    assert_eq!(back.categories, estimate.categories);
    // Names in JSON are in lower case with hyphens.
    let json: serde_json::Value = serde_json::from_str(&json).expect("an object");
    assert_eq!(json["stop"], "gap");
    let lower = json["objective-lower"].as_f64().expect("a number");
    assert!((lower - estimate.objective_lower).abs() <= 1e-15);
    let names = json.as_object().expect("an object").keys();
    assert!(names.into_iter().all(|name| !name.contains('_')), "{json}");
}
