//! Sampling does what `transformers` does (`tests/data/make/sampling.py`), and what its settings say.

use fire_assay_models::Error;
use fire_assay_models::lm::{Candidate, Sampling};
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::{json, refusal, surprise};

#[test]
fn distributions_are_those_of_transformers() {
    let reference = json("sampling/transformers.json");
    let mut worst = 0.0_f64;
    for case in reference["cases"].as_array().unwrap() {
        let sampling: Sampling = serde_json::from_value(case["settings"].clone()).unwrap();
        let list = |key: &str| serde_json::from_value::<Vec<f64>>(case[key].clone()).unwrap();
        let logits: Vec<f32> = list("logits")
            .into_iter()
            .map(|logit| logit as f32)
            .collect();
        let text: Vec<u32> = list("text").into_iter().map(|token| token as u32).collect();
        let found = sampling.candidates(&logits, &text).unwrap();
        let tokens: Vec<f64> = found
            .iter()
            .map(|candidate| candidate.token.into())
            .collect();
        assert_eq!(tokens, list("tokens"), "{sampling:?}");
        for (candidate, expected) in found.iter().zip(list("probabilities")) {
            worst = worst.max((candidate.probability - expected).abs());
        }
    }
    println!("largest difference of probabilities: {worst:e}");
    assert!(worst < 1e-12);
}

#[test]
fn frequencies_are_the_probabilities() {
    let mut rng = StdRng::seed_from_u64(3);
    let logits: Vec<f32> = (0..12).map(|_| rng.random_range(-1.5..1.5)).collect();
    for sampling in [
        Sampling::temperature(1.0),
        Sampling::temperature(0.6).with_top_p(0.9),
        Sampling::temperature(1.3)
            .with_top_k(5)
            .with_repetition_penalty(1.2),
        Sampling::temperature(2.0).with_min_p(0.2),
    ] {
        let candidates = sampling.candidates(&logits, &[2, 7]).unwrap();
        let mut counts = vec![0; candidates.len()];
        for _ in 0..20_000 {
            let token = sampling.sample(&logits, &[2, 7], &mut rng).unwrap();
            let place = candidates
                .iter()
                .position(|candidate| candidate.token == token);
            counts[place.expect("only candidates are drawn")] += 1;
        }
        let probabilities: Vec<f64> = candidates.iter().map(|c| c.probability).collect();
        let surprise = surprise(&counts, &probabilities);
        println!("{sampling:?}: chi-square {surprise:.2} standard deviations above its mean");
        assert!(surprise < 4.0);
    }
}

#[test]
fn temperature_zero_is_greedy_and_ties_go_to_the_lowest_token() {
    let mut rng = StdRng::seed_from_u64(1);
    let logits = [0.5, 3.0, -1.0, 3.0, f32::NEG_INFINITY];
    assert_eq!(Sampling::temperature(0.0), Sampling::greedy());
    for sampling in [
        Sampling::greedy(),
        Sampling::greedy().with_top_k(3).with_top_p(0.5),
    ] {
        assert_eq!(sampling.sample(&logits, &[], &mut rng).unwrap(), 1);
    }
    // A penalty counts in greedy choices, too; one for a token in the text twice is applied once.
    let penalised = Sampling::greedy().with_repetition_penalty(1.1);
    assert_eq!(penalised.sample(&logits, &[1], &mut rng).unwrap(), 3);
    let weak = Sampling::greedy().with_repetition_penalty(1.4);
    assert_eq!(weak.sample(&[1.0, 0.6], &[0, 0], &mut rng).unwrap(), 0);
    // A cold distribution has the same winner.
    let cold = Sampling::temperature(1e-6)
        .sample(&[0.5, 3.0, 2.9], &[], &mut rng)
        .unwrap();
    assert_eq!(cold, 1);
}

#[test]
fn top_k_keeps_ties_and_top_p_cuts_them_at_the_lower_tokens() {
    let logits = [0.0, 2.0, 1.0, 1.0, 1.0];
    let tokens = |sampling: Sampling| -> Vec<u32> {
        sampling
            .candidates(&logits, &[])
            .unwrap()
            .iter()
            .map(|c| c.token)
            .collect()
    };
    assert_eq!(
        tokens(Sampling::temperature(1.0).with_top_k(2)),
        [1, 2, 3, 4]
    );
    // Probabilities: 0.062, 0.455, and 0.161 three times.
    assert_eq!(tokens(Sampling::temperature(1.0).with_top_p(0.6)), [1, 2]);
    assert_eq!(
        tokens(Sampling::temperature(1.0).with_top_p(0.63)),
        [1, 2, 3]
    );
}

#[test]
fn a_token_that_cannot_come_is_never_drawn() {
    let mut rng = StdRng::seed_from_u64(4);
    let logits = [f32::NEG_INFINITY, 0.0, f32::NEG_INFINITY, 0.0];
    for _ in 0..200 {
        let token = Sampling::temperature(5.0)
            .sample(&logits, &[], &mut rng)
            .unwrap();
        assert!(token == 1 || token == 3);
    }
}

#[test]
fn logits_that_are_no_numbers_are_refused() {
    let mut rng = StdRng::seed_from_u64(1);
    let none = [f32::NEG_INFINITY; 3];
    let cases: [(&[f32], &str); 4] = [
        (&[0.0, f32::NAN], "token 1 is NaN"),
        (&[f32::INFINITY, 0.0], "token 0 is inf"),
        (&none, "no token"),
        (&[], "no token"),
    ];
    for sampling in [Sampling::greedy(), Sampling::temperature(1.0)] {
        for (logits, wanted) in cases {
            match refusal(sampling.sample(logits, &[], &mut rng)) {
                Error::InvalidInput { reason } => assert!(reason.contains(wanted), "{reason}"),
                other => panic!("{other}"),
            }
        }
    }
}

#[test]
fn settings_out_of_range_are_named() {
    let base = Sampling::temperature(1.0);
    for (sampling, field) in [
        (Sampling::temperature(-0.1), "temperature"),
        (Sampling::temperature(f64::NAN), "temperature"),
        (Sampling::temperature(f64::INFINITY), "temperature"),
        (base.clone().with_top_k(0), "top_k"),
        (base.clone().with_top_p(0.0), "top_p"),
        (base.clone().with_top_p(1.1), "top_p"),
        (base.clone().with_top_p(f64::NAN), "top_p"),
        (base.clone().with_min_p(-0.1), "min_p"),
        (base.clone().with_min_p(2.0), "min_p"),
        (
            base.clone().with_repetition_penalty(0.0),
            "repetition_penalty",
        ),
        (
            base.clone().with_repetition_penalty(f64::INFINITY),
            "repetition_penalty",
        ),
    ] {
        match refusal(sampling.candidates(&[0.0, 1.0], &[])) {
            Error::InvalidConfig { field: found, .. } => assert_eq!(found, field),
            other => panic!("{other}"),
        }
    }
}

proptest! {
    /// The smallest set: it has the mass, without its least member it has not, and nothing outside is more probable.
    #[test]
    fn top_p_keeps_the_smallest_set_that_has_the_mass(
        logits in prop::collection::vec(-6.0_f32..6.0, 1..60),
        p in 0.01..0.999_f64,
        temperature in 0.3..3.0_f64,
    ) {
        let plain = Sampling::temperature(temperature);
        let all = plain.candidates(&logits, &[]).unwrap();
        let kept = plain.clone().with_top_p(p).candidates(&logits, &[]).unwrap();
        let of = |token: u32| all[token as usize].probability;
        let mass: f64 = kept.iter().map(|c| of(c.token)).sum();
        let least = kept.iter().map(|c| of(c.token)).fold(1.0, f64::min);
        prop_assert!(mass >= p - 1e-12);
        prop_assert!(mass - least < p + 1e-12);
        for Candidate { token, probability } in &all {
            prop_assert!(kept.iter().any(|c| c.token == *token) || *probability <= least);
        }
        // What is left keeps its proportions and sums to 1.
        for candidate in &kept {
            prop_assert!((candidate.probability - of(candidate.token) / mass).abs() < 1e-9);
        }
        prop_assert!((kept.iter().map(|c| c.probability).sum::<f64>() - 1.0).abs() < 1e-9);
    }

    #[test]
    fn top_k_keeps_the_k_highest_and_min_p_the_share(
        logits in prop::collection::vec(-6.0_f32..6.0, 1..60),
        k in 1_usize..70,
        p in 0.0..1.0_f64,
    ) {
        let plain = Sampling::temperature(1.0);
        let mut sorted = logits.clone();
        sorted.sort_by(|a, b| b.total_cmp(a));
        let threshold = sorted[k.min(sorted.len()) - 1];
        let tokens = |sampling: &Sampling| -> Vec<u32> {
            sampling.candidates(&logits, &[]).unwrap().iter().map(|c| c.token).collect()
        };
        let where_ = |keep: &dyn Fn(f32) -> bool| -> Vec<u32> {
            (0..).zip(&logits).filter(|&(_, &logit)| keep(logit)).map(|(token, _)| token).collect()
        };
        prop_assert_eq!(tokens(&plain.clone().with_top_k(k)), where_(&|logit| logit >= threshold));
        let ratio = |logit: f32| f64::from(logit - sorted[0]).exp();
        prop_assume!(logits.iter().all(|&logit| (ratio(logit) - p).abs() > 1e-6));
        prop_assert_eq!(tokens(&plain.with_min_p(p)), where_(&|logit| ratio(logit) >= p));
    }
}
