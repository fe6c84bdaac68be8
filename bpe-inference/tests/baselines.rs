//! Baselines, the encoder they use, and the metric, against closed forms.

use bpe_inference::baselines::{
    Tee, bytes_per_token, encoding_efficiency, random, token_classification, uniform,
};
use bpe_inference::encoder::Encoder;
use bpe_inference::merges::{Alphabet, MergeList};
use bpe_inference::metrics::{log10_mse, mean_and_spread, mse, sample_simplex};
use bpe_inference::{BpeTrainer, Category, Error, WordCounts};
use proptest::prelude::*;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

fn list(parts: &[(&str, &str)]) -> MergeList {
    MergeList::from_parts(Alphabet::Bytes, parts.iter().copied()).expect("a merge list")
}

/// Encoding by definition: again and again the earliest merge that applies anywhere, at its leftmost place.
fn encode_naively(list: &MergeList, word: &[u8]) -> Vec<u32> {
    let mut symbols: Vec<u32> = word.iter().map(|&b| u32::from(b)).collect();
    loop {
        let applicable = list.merges().iter().find_map(|merge| {
            let at = symbols
                .windows(2)
                .position(|w| w == [merge.left, merge.right])?;
            Some((at, merge.product))
        });
        match applicable {
            Some((at, product)) => {
                symbols[at] = product;
                symbols.remove(at + 1);
            }
            None => return symbols,
        }
    }
}

proptest! {
    #[test]
    fn encoding_follows_its_definition(
        text in proptest::collection::vec("[ab]{1,12}|[a-d]{1,6}", 1..30),
        words in proptest::collection::vec("[a-e]{0,40}", 1..10),
    ) {
        let corpus = WordCounts::from_counts(text.iter().map(|word| (word, 1)));
        let (list, _) = BpeTrainer::new(40).train(&corpus).expect("training");
        let encoder = Encoder::new(&list);
        for word in &words {
            let tokens = encoder.encode(word.as_bytes());
            prop_assert_eq!(&tokens, &encode_naively(&list, word.as_bytes()));
            let joined: Vec<u8> = tokens.iter().flat_map(|&t| list.text(t).into_owned()).collect();
            prop_assert_eq!(joined, word.as_bytes());
        }
    }

    #[test]
    fn sampled_mixtures_lie_inside_the_simplex(n in 1_usize..200, seed: u64) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let shares = sample_simplex(n, &mut rng).expect("n is in range");
        prop_assert_eq!(shares.len(), n);
        prop_assert!(shares.iter().all(|&share| share >= 1e-4 - 1e-12));
        prop_assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-9);
    }
}

#[test]
fn tokens_are_counted_with_multiplicity() {
    let list = list(&[("a", "b"), ("ab", "c")]);
    let words = WordCounts::from_counts([("abc", 10), ("abab", 3), ("zz", 2)]);
    assert_eq!(Encoder::new(&list).count_tokens(&words), 10 + 3 * 2 + 2 * 2);
    let expected = (30 + 12 + 4) as f64 / 20.0;
    assert!((bytes_per_token(&list, &words).expect("not empty") - expected).abs() < 1e-12);
    assert!(bytes_per_token(&list, &WordCounts::default()).is_err());
}

/// A tokenizer encodes its own training text as well as the tokenizer trained on it alone, and foreign text worse.
#[test]
fn efficiency_compares_with_a_category_s_own_tokenizer() {
    let a = Category::new("a", WordCounts::from_counts([("abcd", 9), ("abab", 5)]));
    let b = Category::new("b", WordCounts::from_counts([("wxyz", 9), ("wxwx", 5)]));
    let own: Vec<MergeList> = [&a, &b]
        .iter()
        .map(|c| BpeTrainer::new(3).train(&c.words).expect("training").0)
        .collect();
    let efficiency = encoding_efficiency(&own[0], &own, &[a.clone(), b]).expect("valid");
    assert!((efficiency[0] - 1.0).abs() < 1e-12);
    assert!(efficiency[1] < 0.6, "{efficiency:?}");
    assert!(matches!(
        encoding_efficiency(&own[0], &own, &[a]),
        Err(Error::InvalidValue { .. })
    ));
}

/// Points on an exact power law give that law back.
#[test]
fn tee_recovers_the_law_it_was_drawn_from() {
    let law = |e: &f64| (-1.2 + 3.5 * e.ln()).exp();
    let efficiencies = [[0.6, 0.9, 0.75], [0.5, 0.95, 0.8]];
    let shares = efficiencies.map(|row| row.map(|e| law(&e)));
    let tee = Tee::fit(
        efficiencies
            .iter()
            .zip(&shares)
            .map(|(e, s)| (&e[..], &s[..])),
    )
    .expect("fits");
    assert!(
        (tee.intercept + 1.2).abs() < 1e-9 && (tee.slope - 3.5).abs() < 1e-9,
        "{tee:?}"
    );
    let predicted = tee.predict(&[0.7, 0.9]).expect("positive");
    assert!((predicted.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    assert!((predicted[1] / predicted[0] - (0.9_f64 / 0.7).powf(3.5)).abs() < 1e-9);
}

#[test]
fn tee_refuses_what_has_no_logarithm_or_no_slope() {
    let fit = |e: &[f64], s: &[f64]| Tee::fit([(e, s)]);
    for (e, s) in [
        (vec![0.5, 0.0], vec![0.5, 0.5]),
        (vec![0.5, f64::NAN], vec![0.5, 0.5]),
        (vec![0.5, 0.6], vec![0.5, -0.5]),
        (vec![0.5], vec![0.5, 0.5]),
        (vec![0.5, 0.5], vec![0.2, 0.8]),
        (vec![], vec![]),
    ] {
        assert!(
            matches!(fit(&e, &s), Err(Error::InvalidValue { .. })),
            "{e:?} {s:?}"
        );
    }
}

/// Tokens: the letters a..d, "ab", "cd", "abab". The first category owns a, b, ab, abab, the second c, d, cd; the other
/// bytes occur nowhere and do not count.
#[test]
fn token_classification_counts_tokens_by_owner() {
    let list = list(&[("a", "b"), ("c", "d"), ("ab", "ab")]);
    let categories = [
        Category::new("first", WordCounts::from_counts([("abab", 10), ("cd", 1)])),
        Category::new("second", WordCounts::from_counts([("cdcd", 10), ("ab", 1)])),
    ];
    let shares = token_classification(&list, &categories).expect("valid");
    assert!(
        (shares[0] - 4.0 / 7.0).abs() < 1e-12 && (shares[1] - 3.0 / 7.0).abs() < 1e-12,
        "{shares:?}"
    );
}

#[test]
fn token_classification_refuses_empty_input() {
    let list = list(&[("a", "b")]);
    assert!(matches!(
        token_classification(&list, &[]),
        Err(Error::TooFewCategories { found: 0 })
    ));
    let empty = Category::new("void", WordCounts::default());
    assert!(matches!(
        token_classification(&list, &[empty]),
        Err(Error::EmptyCategory { .. })
    ));
}

#[test]
fn the_metric_is_the_mean_square_of_differences() {
    assert!((mse(&[0.5, 0.5], &[0.3, 0.7]).expect("valid") - 0.04).abs() < 1e-15);
    assert!((log10_mse(&[0.6, 0.4], &[0.5, 0.5]).expect("valid") + 2.0).abs() < 1e-12);
    assert_eq!(
        log10_mse(&[0.5, 0.5], &[0.5, 0.5]).expect("valid"),
        f64::NEG_INFINITY
    );
    assert!(matches!(
        mse(&[0.5], &[0.5, 0.5]),
        Err(Error::InvalidValue { .. })
    ));
    assert!(matches!(mse(&[], &[]), Err(Error::InvalidValue { .. })));
    assert!(matches!(
        mse(&[f64::NAN], &[1.0]),
        Err(Error::InvalidValue { .. })
    ));
}

/// Table 2 of the paper gives -1.39, -1.84 and -2.70 for n = 5, 10 and 30 as the mean over mixtures, and the repository
/// -1.67, -2.14 and -3.01 for the uniform guess.
#[test]
fn guessing_is_as_bad_as_the_paper_says() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for (n, paper_random, paper_uniform) in
        [(5, -1.39, -1.67), (10, -1.84, -2.14), (30, -2.70, -3.01)]
    {
        let mut errors = (Vec::new(), Vec::new());
        for _ in 0..4000 {
            let truth = sample_simplex(n, &mut rng).expect("n is in range");
            let guess = random(n, &mut rng).expect("n is in range");
            errors
                .0
                .push(log10_mse(&guess, &truth).expect("same length"));
            errors
                .1
                .push(log10_mse(&uniform(n), &truth).expect("same length"));
        }
        // The paper's means are over 100 trials with a spread of up to 0.36.
        assert!(
            (mean_and_spread(&errors.0).0 - paper_random).abs() < 0.08,
            "n = {n}"
        );
        assert!(
            (mean_and_spread(&errors.1).0 - paper_uniform).abs() < 0.08,
            "n = {n}"
        );
    }
}

#[test]
fn mixtures_of_no_or_too_many_categories_are_refused() {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    assert!(sample_simplex(0, &mut rng).is_err());
    assert!(sample_simplex(10_000, &mut rng).is_err());
}
