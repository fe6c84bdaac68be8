//! Intervals by resampling and ranges by optimisation.

use bpe_inference::inference::{PairBasis, StopRule};
use bpe_inference::intervals::{BootstrapConfig, Intervals, Resampling, bootstrap};
use bpe_inference::lp::StructuredIpm;
use bpe_inference::merges::{Alphabet, MergeList};
use bpe_inference::metrics::sample_simplex;
use bpe_inference::ranges::{indistinguishable, ranges};
use bpe_inference::synth::{ZipfLanguages, sample_categories, sample_mixture};
use bpe_inference::{
    BpeTrainer, Category, Error, Estimate, InferenceConfig, MixtureInference, PairTrace,
    TraceOptions, WordCounts,
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

const MERGES: usize = 150;

struct Case {
    truth: Vec<f64>,
    list: MergeList,
    sample: Vec<Category>,
    estimate: Estimate,
}

fn inference() -> MixtureInference<'static> {
    MixtureInference::new(InferenceConfig::new().with_merges(MERGES))
}

fn case(seed: u64, counting_bytes: f64) -> Case {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let languages = ZipfLanguages {
        vocabulary: 600,
        ..ZipfLanguages::default()
    };
    let languages = languages.generate(&mut rng).expect("valid settings");
    let truth = sample_simplex(languages.len(), &mut rng).expect("n is small");
    let words = sample_mixture(&languages, &truth, 1e9, &mut rng).expect("training text");
    let (list, _) = BpeTrainer::new(MERGES).train(&words).expect("training");
    let sample = sample_categories(&languages, counting_bytes, &mut rng).expect("sample");
    let trace = PairTrace::build(&list, &sample, MERGES, &TraceOptions::default()).expect("trace");
    let estimate = inference().run(&trace).expect("inference");
    Case {
        truth,
        list,
        sample,
        estimate,
    }
}

fn intervals(case: &Case, resampling: Resampling<'_>, config: &BootstrapConfig) -> Intervals {
    let options = TraceOptions::default();
    let inference = inference();
    bootstrap(
        &case.list,
        &case.sample,
        &options,
        &inference,
        &case.estimate,
        resampling,
        config,
    )
    .expect("bootstrap")
}

/// A5 in small: intervals at 90 % hold the truth in at least three quarters of the cases.
#[test]
fn intervals_cover_the_truth() {
    let mut covered = 0;
    let mut all = 0;
    for seed in 0..8 {
        let case = case(seed, 1e6);
        let config = BootstrapConfig {
            replicates: 10,
            ..BootstrapConfig::default()
        };
        let intervals = intervals(&case, Resampling::Words, &config);
        for (interval, &truth) in intervals.shares.iter().zip(&case.truth) {
            assert!(0.0 <= interval.low && interval.low <= interval.high && interval.high <= 1.0);
            covered += usize::from(interval.contains(truth));
            all += 1;
        }
    }
    assert!(covered * 4 >= all * 3, "{covered} of {all}");
}

#[test]
fn more_data_narrow_the_intervals() {
    let config = BootstrapConfig {
        replicates: 6,
        ..BootstrapConfig::default()
    };
    let width = |bytes| {
        let case = case(3, bytes);
        let intervals = intervals(&case, Resampling::Words, &config);
        intervals
            .shares
            .iter()
            .map(|interval| interval.high - interval.low)
            .sum::<f64>()
    };
    let (little, much) = (width(1e5), width(1e7));
    assert!(much < 0.5 * little, "{much} against {little}");
}

#[test]
fn a_seed_decides_the_replicates_and_their_number_does_not() {
    let case = case(4, 1e6);
    let config = |replicates, seed| BootstrapConfig {
        replicates,
        seed,
        ..BootstrapConfig::default()
    };
    let few = intervals(&case, Resampling::Words, &config(2, 5));
    let more = intervals(&case, Resampling::Words, &config(3, 5));
    let other = intervals(&case, Resampling::Words, &config(2, 6));
    assert_eq!(few.replicates[..], more.replicates[..2]);
    assert_ne!(few.replicates, other.replicates);
}

/// With every word a block of its own occurrences, blocks vary far more than words do.
#[test]
fn bursts_of_words_widen_the_intervals() {
    let case = case(5, 1e6);
    let config = BootstrapConfig {
        replicates: 8,
        ..BootstrapConfig::default()
    };
    let by_word = intervals(&case, Resampling::Words, &config);
    let blocks: Vec<Vec<WordCounts>> = case
        .sample
        .iter()
        .map(|category| {
            category
                .words
                .iter()
                .map(|entry| WordCounts::from_counts([entry]))
                .collect()
        })
        .collect();
    let by_block = intervals(&case, Resampling::Blocks(&blocks), &config);
    let width =
        |intervals: &Intervals| intervals.shares.iter().map(|i| i.high - i.low).sum::<f64>();
    assert!(width(&by_block) > 3.0 * width(&by_word));
}

#[test]
fn settings_out_of_range_are_refused() {
    let case = case(6, 1e5);
    let options = TraceOptions::default();
    let run = |resampling, config: BootstrapConfig| {
        let inference = inference();
        bootstrap(
            &case.list,
            &case.sample,
            &options,
            &inference,
            &case.estimate,
            resampling,
            &config,
        )
    };
    let default = BootstrapConfig::default;
    for config in [
        BootstrapConfig {
            replicates: 1,
            ..default()
        },
        BootstrapConfig {
            level: 0.0,
            ..default()
        },
        BootstrapConfig {
            level: 1.0,
            ..default()
        },
        BootstrapConfig {
            level: f64::NAN,
            ..default()
        },
    ] {
        assert!(matches!(
            run(Resampling::Words, config),
            Err(Error::InvalidValue { .. })
        ));
    }
    let one = [vec![WordCounts::default()]];
    assert!(matches!(
        run(Resampling::Blocks(&one), default()),
        Err(Error::InvalidValue { .. })
    ));
}

/// The closed form again: the order ab, cd, xy allows exactly 0.625 <= a <= 1 / 1.4 for a = share of "ab" x 60, "xy" x 40.
#[test]
fn the_range_is_the_interval_that_the_order_allows() {
    let a = Category::new("a", WordCounts::from_counts([("ab", 60), ("xy", 40)]));
    let b = Category::new("b", WordCounts::from_counts([("cd", 100)]));
    let parts = [(b"a", b"b"), (b"c", b"d"), (b"x", b"y")];
    let list = MergeList::from_parts(Alphabet::Bytes, parts).expect("merges of letters");
    let trace = PairTrace::build(&list, &[a, b], 3, &TraceOptions::default()).expect("trace");
    let stop = StopRule {
        alpha_tolerance: 0.0,
        gap: 0.0,
        ..StopRule::default()
    };
    // The rows of both sides must be in the program: from the left end and from the right end of the simplex.
    let config = InferenceConfig::new().with_merges(3).with_stop(stop);
    let solver = StructuredIpm::default();
    let mut found = Vec::new();
    for start in [[0.05, 0.95], [0.95, 0.05]] {
        let mut from = MixtureInference::new(config.clone())
            .run(&trace)
            .expect("inference");
        from.alpha = start.to_vec();
        let inference = MixtureInference::new(config.clone()).with_warm_start(&from);
        let (estimate, program) = inference.run_exporting(&trace).expect("inference");
        let ranges = ranges(
            &program,
            &trace,
            &estimate,
            PairBasis::InitialPairs,
            &solver,
            0.0,
        )
        .expect("ranges");
        for (k, (low, high)) in ranges.iter().enumerate() {
            assert!(low <= high && (low..=high).contains(&&estimate.byte_shares()[k]));
        }
        found.push(ranges[0]);
    }
    // Each program has one of the two rows; each range is an outer bound, and together they give the interval.
    let low = found.iter().map(|range| range.0).fold(0.0, f64::max);
    let high = found.iter().map(|range| range.1).fold(1.0, f64::min);
    assert!(low <= 0.625 + 1e-6 && high >= 1.0 / 1.4 - 1e-6, "{found:?}");
    assert!(low > 0.61 && high < 0.73, "{found:?}");
}

/// A larger budget allows more.
#[test]
fn ranges_grow_with_the_slack() {
    let case = case(7, 1e5);
    let trace = PairTrace::build(&case.list, &case.sample, MERGES, &TraceOptions::default())
        .expect("trace");
    let (estimate, program) = inference().run_exporting(&trace).expect("inference");
    assert!(
        estimate.objective_lower > 1e-6,
        "the case must not be trivial"
    );
    let solver = StructuredIpm::default();
    let at = |slack| {
        ranges(
            &program,
            &trace,
            &estimate,
            PairBasis::InitialPairs,
            &solver,
            slack,
        )
        .expect("ranges")
    };
    let (tight, loose) = (at(0.01), at(0.5));
    for ((t, l), share) in tight.iter().zip(&loose).zip(estimate.byte_shares()) {
        assert!(
            l.0 <= t.0 + 1e-9 && t.0 <= share && share <= t.1 && t.1 <= l.1 + 1e-9,
            "{t:?} {l:?}"
        );
    }
    assert!(
        tight
            .iter()
            .zip(&loose)
            .any(|(t, l)| l.1 - l.0 > 1.2 * (t.1 - t.0))
    );
    let negative = ranges(
        &program,
        &trace,
        &estimate,
        PairBasis::InitialPairs,
        &solver,
        -0.1,
    );
    assert!(matches!(negative, Err(Error::InvalidValue { .. })));
}

#[test]
fn categories_with_the_same_pairs_are_reported() {
    let words = [("abcd", 10), ("bcde", 7)];
    let categories = [
        Category::new("a", WordCounts::from_counts(words)),
        Category::new(
            "b",
            WordCounts::from_counts(words.map(|(word, count)| (word, 3 * count))),
        ),
        Category::new("c", WordCounts::from_counts([("xyz", 10), ("abcd", 1)])),
    ];
    let (list, _) = BpeTrainer::new(3)
        .train(&categories[0].words)
        .expect("training");
    let trace = PairTrace::build(&list, &categories, 3, &TraceOptions::default()).expect("trace");
    assert_eq!(indistinguishable(&trace, 0.999).expect("valid"), [(0, 1)]);
    assert!(matches!(
        indistinguishable(&trace, f64::NAN),
        Err(Error::InvalidValue { .. })
    ));
}
