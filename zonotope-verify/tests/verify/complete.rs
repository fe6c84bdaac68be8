//! Branch and bound decides, and its certificates prove it.

use burn::tensor::Device;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use zonotope_verify::branch::{BranchConfig, BranchOn, Refinement};
use zonotope_verify::certificate::{Certificate, ProvenBounds};
use zonotope_verify::crown::{AlphaCrownConfig, IntermediateBounds};
use zonotope_verify::dual::{AscentConfig, Start, ZonoDualConfig};
use zonotope_verify::error::Error;
use zonotope_verify::limits::CancelToken;
use zonotope_verify::network::{Affine, Layer, Network};
use zonotope_verify::report::{Reason, Report, Verdict};
use zonotope_verify::spec::{HalfSpace, InputBox, Spec, UnsafeCase};
use zonotope_verify::verify::VerifierConfig;

use crate::oracle::{cases, exact_minimum, margin, matrices, value, worst_input};
use crate::random::{dense, points, random_box, with_idle_neurons};

/// A bound of the root that is cheap, so that branching has something left to do.
pub(crate) fn brief() -> ZonoDualConfig {
    let alpha = AlphaCrownConfig::new().with_steps(5);
    ZonoDualConfig {
        intermediate: IntermediateBounds::AlphaCrown(alpha.clone()),
        start: Start::AlphaCrown(alpha),
        groups: None,
        ..ZonoDualConfig::new().with_ascent(AscentConfig {
            steps: 20,
            ..AscentConfig::default()
        })
    }
}

pub(crate) fn verifier(on: BranchOn) -> VerifierConfig {
    VerifierConfig {
        bound: brief(),
        ..VerifierConfig::new()
            .with_timeout_seconds(60.0)
            .with_branch(BranchConfig {
                on,
                ..BranchConfig::default()
            })
    }
}

/// The claim that the only output stays above `bound`.
pub(crate) fn above(input: &InputBox, bound: f64) -> Spec {
    let outputs = vec![HalfSpace {
        coefficients: vec![1.0],
        bound,
    }];
    Spec {
        cases: vec![UnsafeCase {
            input: input.clone(),
            outputs,
        }],
    }
}

/// Widths from the input to the output; at most 20 hidden neurons.
const FAMILIES: [&[usize]; 6] = [
    &[2, 6, 6, 1],
    &[3, 5, 4, 1],
    &[4, 8, 1],
    &[2, 10, 10, 1],
    &[3, 6, 6, 6, 1],
    &[1, 7, 5, 1],
];

/// A network with few neurons, some idle, and a box.
fn small(seed: u64) -> (Network, InputBox) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let widths = FAMILIES[seed as usize % FAMILIES.len()];
    let share = [0.0, 0.2][rng.random_range(0..2)];
    let network = with_idle_neurons(widths, 1.0, share, &mut rng);
    let radius = [0.2, 0.7, 1.5][rng.random_range(0..3)];
    let input = random_box(widths[0], radius, &mut rng);
    (network, input)
}

/// The claim holds by 1e-6, and the one that asks for 2e-6 more is refuted; branching on either.
#[test]
fn small_networks_are_decided_on_both_sides_of_their_minimum() {
    let gap = 1e-6;
    (0..cases(600) as u64).into_par_iter().for_each(|seed| {
        let device = Device::flex();
        let (network, input) = small(seed);
        let exact = exact_minimum(&network, &[1.0], &input);
        for on in [BranchOn::Activations, BranchOn::Auto] {
            let verifier = verifier(on).init();
            let safe = above(&input, exact - gap);
            let (report, certificate) = verifier.prove(&network, &safe, &device).unwrap();
            assert!(
                matches!(report.verdict, Verdict::Verified { .. }),
                "{on:?}, network {seed}: {report}"
            );
            let proven = certificate.check(&network, &safe).unwrap();
            assert_eq!(proven.cases.len(), 1);
            assert!(proven.bound() > 0.0 && proven.bound() <= gap + 1e-9);
            assert!((proven.bound() - report.verdict.bound()).abs() <= 1e-9);
            // The certificate proves this claim and no stronger one.
            let stronger = above(&input, exact + gap);
            assert!(matches!(
                certificate.check(&network, &stronger),
                Err(Error::CertificateRejected { .. })
            ));
            let report = verifier.verify(&network, &stronger, &device).unwrap();
            refuted(
                &report,
                &network,
                &stronger,
                &format!("{on:?}, network {seed}"),
            );
        }
    });
}

/// A claim whose margin is least along a face of small parts: cutting the box does not end, deciding signs does. It went on from a checkpoint, too.
#[test]
fn where_parts_become_too_many_signs_are_decided() {
    let device = Device::flex();
    let (network, input) = small(352);
    let spec = above(&input, exact_minimum(&network, &[1.0], &input) - 1e-6);
    let settings = |on, nodes| VerifierConfig {
        branch: BranchConfig {
            on,
            open: 2000,
            turn: 1000,
            nodes,
            ..BranchConfig::default()
        },
        ..verifier(on)
    };
    let report = settings(BranchOn::Inputs, 1_000_000).init();
    let report = report.verify(&network, &spec, &device).unwrap();
    assert!(
        matches!(report.verdict, Verdict::Unknown { .. }),
        "this says something of a harder claim only: {report}"
    );
    let whole = settings(BranchOn::Auto, 1_000_000).init();
    let (mut whole, certificate) = whole.prove(&network, &spec, &device).unwrap();
    assert!(matches!(whole.verdict, Verdict::Verified { .. }), "{whole}");
    certificate.check(&network, &spec).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("search");
    let mut nodes = 1;
    let (mut report, again) = loop {
        let part = settings(BranchOn::Auto, nodes).init();
        let part = part.with_checkpoint(&path, 1e6);
        let (report, again) = if nodes == 1 {
            part.prove(&network, &spec, &device)
        } else {
            part.resume(&network, &spec, &device)
        }
        .unwrap();
        if matches!(report.verdict, Verdict::Verified { .. }) {
            break (report, again);
        }
        nodes *= 4;
    };
    (report.seconds, whole.seconds) = (0.0, 0.0);
    assert_eq!((report, again), (whole, certificate));
}

/// That a report refutes a specification, with an input that does.
fn refuted(report: &Report, network: &Network, spec: &Spec, at: &str) {
    let Verdict::Falsified { input, output } = &report.verdict else {
        panic!("{at}: {report}")
    };
    let maps = matrices(network);
    let inside = spec.cases.iter().filter(|case| case.input.contains(input));
    let violated = inside
        .filter(|case| margin(&maps, &case.outputs, input) <= 1e-12)
        .count();
    assert!(violated > 0, "{at}: {input:?} violates nothing");
    for (row, output) in output.iter().enumerate() {
        let mut unit = vec![0.0; network.outputs()];
        unit[row] = 1.0;
        assert!(
            (value(&maps, &unit, input).value - output).abs() <= 1e-9,
            "{at}"
        );
    }
}

/// Several boxes, each with several half-spaces, moved so that the worst of all inputs is as far from a violation as is said.
fn random_spec(network: &Network, distance: f64, rng: &mut ChaCha8Rng) -> Spec {
    let maps = matrices(network);
    let cases = (0..rng.random_range(1..4))
        .map(|_| {
            let outputs = (0..rng.random_range(1..3))
                .map(|_| HalfSpace {
                    coefficients: (0..network.outputs())
                        .map(|_| 2.0 * rng.random::<f64>() - 1.0)
                        .collect(),
                    bound: rng.random::<f64>() - 0.5,
                })
                .collect();
            let mut case = UnsafeCase {
                input: random_box(network.inputs(), [0.1, 0.5][rng.random_range(0..2)], rng),
                outputs,
            };
            let worst = margin(&maps, &case.outputs, &worst_input(network, &case));
            for space in &mut case.outputs {
                space.bound += worst - distance;
            }
            case
        })
        .collect();
    Spec { cases }
}

#[test]
fn random_specifications_are_decided_as_they_are() {
    (0..cases(1000) as u64).into_par_iter().for_each(|seed| {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let device = Device::flex();
        let network = dense(
            [[2, 5, 5, 2], [3, 6, 4, 3]][seed as usize % 2].as_ref(),
            1.0,
            &mut rng,
        );
        let distance = [1e-4, 1e-2, 0.1][rng.random_range(0..3)];
        let safe = random_spec(&network, distance, &mut rng);
        let mut broken = safe.clone();
        let last = broken.cases.last_mut().unwrap();
        last.outputs
            .iter_mut()
            .for_each(|space| space.bound += 2.0 * distance);
        for on in [BranchOn::Activations, BranchOn::Auto] {
            let verifier = verifier(on).init();
            let at = format!("{on:?}, specification {seed} at {distance}");
            let (report, certificate) = verifier.prove(&network, &safe, &device).unwrap();
            // Branching on activations chooses one half-space of a case for the whole box, and several may be needed.
            let one = safe.cases.iter().all(|case| case.outputs.len() == 1);
            match &report.verdict {
                Verdict::Verified { bound } => {
                    assert!(*bound <= distance + 1e-9, "{at}: {bound}");
                    certificate.check(&network, &safe).unwrap();
                }
                Verdict::Unknown { .. } if on == BranchOn::Activations && !one => {}
                _ => panic!("{at}: {report}"),
            }
            assert!(certificate.check(&network, &broken).is_err(), "{at}");
            let report = verifier.verify(&network, &broken, &device).unwrap();
            match &report.verdict {
                Verdict::Unknown { .. } if on == BranchOn::Activations && !one => {}
                _ => refuted(&report, &network, &broken, &at),
            }
        }
    });
}

#[test]
fn a_certificate_survives_a_file_and_not_a_forgery() {
    let mut rng = ChaCha8Rng::seed_from_u64(6);
    let device = Device::flex();
    let network = dense(&[3, 6, 6, 1], 1.0, &mut rng);
    let input = random_box(3, 0.6, &mut rng);
    let mut exact = f64::INFINITY;
    for x in points(&input, 3000, &mut rng) {
        exact = exact.min(network.evaluate(&x).unwrap()[0].value);
    }
    let spec = above(&input, exact - 0.05 * exact.abs().max(1.0));
    let (report, certificate) = verifier(BranchOn::Activations)
        .init()
        .prove(&network, &spec, &device)
        .unwrap();
    assert!(
        matches!(report.verdict, Verdict::Verified { .. }),
        "{report}"
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("certificate.json");
    certificate.save(&path).unwrap();
    let read = zonotope_verify::certificate::Certificate::load(&path).unwrap();
    assert_eq!(read, certificate);
    let proven = read.check(&network, &spec).unwrap();
    let json = serde_json::to_string(&proven).unwrap();
    let again: ProvenBounds = serde_json::from_str(&json).unwrap();
    assert_eq!(again, proven);
    assert!(proven.to_string().contains("1 cases proven"));
    // Another network is not covered.
    let other = dense(&[3, 6, 6, 1], 1.0, &mut rng);
    assert!(read.check(&other, &spec).is_err());
    // Nor is a wider box.
    let wider = InputBox::new(
        input.lower().iter().map(|x| x - 5.0).collect(),
        input.upper().iter().map(|x| x + 5.0).collect(),
    );
    assert!(
        read.check(
            &network,
            &above(&wider.unwrap(), spec.cases[0].outputs[0].bound)
        )
        .is_err()
    );
    std::fs::write(&path, b"{\"cases\":").unwrap();
    assert!(matches!(
        zonotope_verify::certificate::Certificate::load(&path),
        Err(Error::CertificateRejected { .. })
    ));
}

#[test]
fn limits_end_the_search_with_a_sound_bound() {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let device = Device::flex();
    let network = dense(&[4, 8, 8, 1], 1.0, &mut rng);
    let input = random_box(4, 1.0, &mut rng);
    let mut least = f64::INFINITY;
    for x in points(&input, 2000, &mut rng) {
        least = least.min(network.evaluate(&x).unwrap()[0].value);
    }
    let spec = above(&input, least - 1e-7);
    let cancelled = CancelToken::new();
    cancelled.cancel();
    let few = BranchConfig {
        on: BranchOn::Activations,
        nodes: 8,
        ..BranchConfig::default()
    };
    let none = BranchConfig {
        on: BranchOn::Nothing,
        ..BranchConfig::default()
    };
    for (verifier, expected) in [
        (
            verifier(BranchOn::Activations)
                .init()
                .with_cancel(cancelled),
            Reason::Cancelled,
        ),
        (
            verifier(BranchOn::Activations)
                .with_timeout_seconds(0.0)
                .init(),
            Reason::Timeout,
        ),
        (VerifierConfig::new().with_branch(few).init(), Reason::Nodes),
        (
            VerifierConfig::new().with_branch(none).init(),
            Reason::NoBranching,
        ),
    ] {
        let report = verifier.verify(&network, &spec, &device).unwrap();
        match report.verdict {
            Verdict::Unknown {
                bound,
                upper,
                reason,
            } => {
                assert_eq!(reason, expected);
                assert!(bound <= upper);
                assert!(bound + spec.cases[0].outputs[0].bound <= least);
            }
            // The attack may do better than the samples.
            Verdict::Falsified { output, .. } => {
                assert!(output[0] <= spec.cases[0].outputs[0].bound)
            }
            Verdict::Verified { .. } => panic!("verified by {expected}"),
        }
    }
}

/// The same claims are proven with bounds that are computed again at every decision and without, and checked as they were proven.
#[test]
fn claims_are_proven_with_and_without_refined_bounds() {
    let device = Device::flex();
    for seed in 0..6 {
        let mut rng = ChaCha8Rng::seed_from_u64(100 + seed);
        let network = dense(&[4, 8, 8, 1], 1.0, &mut rng);
        let input = random_box(4, 0.6, &mut rng);
        let exact = exact_minimum(&network, &[1.0], &input);
        let safe = above(&input, exact - 1e-3);
        for refine in [Refinement::Always, Refinement::Never] {
            let branch = BranchConfig {
                on: BranchOn::Activations,
                refine,
                ..BranchConfig::default()
            };
            let verifier = VerifierConfig::new().with_branch(branch).init();
            let (report, certificate) = verifier.prove(&network, &safe, &device).unwrap();
            assert!(
                matches!(report.verdict, Verdict::Verified { .. }),
                "{refine:?}, network {seed}: {report}"
            );
            let proven = certificate.check(&network, &safe).unwrap();
            assert!((proven.bound() - report.verdict.bound()).abs() <= 1e-9);
            // With the other kind of bounds the leaves prove something else, at best.
            let mut json = serde_json::to_value(&certificate).unwrap();
            if let Some(tree) = json["trees"].get_mut(0) {
                tree["refined"] = serde_json::json!(refine == Refinement::Never);
                let other: Certificate = serde_json::from_value(json).unwrap();
                if let Ok(other) = other.check(&network, &safe) {
                    assert!(other.bound() <= 1e-3 + 1e-9);
                }
            }
        }
    }
}

/// Several cases over one box share a tree, and each is proven by it.
#[test]
fn cases_over_one_box_are_proven_by_one_tree() {
    let mut rng = ChaCha8Rng::seed_from_u64(41);
    let device = Device::flex();
    let network = dense(&[3, 9, 7, 3], 1.0, &mut rng);
    let input = random_box(3, 0.5, &mut rng);
    let rows = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 1.0]];
    let cases = rows.iter().map(|row| UnsafeCase {
        input: input.clone(),
        outputs: vec![HalfSpace {
            coefficients: row.to_vec(),
            bound: exact_minimum(&network, row, &input) - 1e-3,
        }],
    });
    let spec = Spec {
        cases: cases.collect(),
    };
    let verifier = verifier(BranchOn::Activations).init();
    let (report, certificate) = verifier.prove(&network, &spec, &device).unwrap();
    assert!(
        matches!(report.verdict, Verdict::Verified { .. }),
        "{report}"
    );
    let proven = certificate.check(&network, &spec).unwrap();
    for (proven, case) in proven.cases.iter().zip(&report.cases) {
        assert!(*proven > 0.0 && *proven <= 1e-3 + 1e-9);
        assert!((proven - case.verdict.bound()).abs() <= 1e-9);
    }
    // A tree without one of its nodes proves nothing.
    let mut json = serde_json::to_value(&certificate).unwrap();
    let nodes = json["trees"][0]["nodes"].as_array_mut().unwrap();
    assert!(nodes.len() > 1);
    let last = nodes.len() - 1;
    nodes[last] = serde_json::json!("open");
    let open: Certificate = serde_json::from_value(json).unwrap();
    assert!(matches!(
        open.check(&network, &spec),
        Err(Error::CertificateRejected { .. })
    ));
}

#[test]
fn a_distance_for_the_rounding_of_others_is_kept() {
    let mut rng = ChaCha8Rng::seed_from_u64(8);
    let network = dense(&[3, 6, 6, 1], 1.0, &mut rng);
    let input = random_box(3, 0.4, &mut rng);
    let exact = exact_minimum(&network, &[1.0], &input);
    let spec = above(&input, exact - 0.01);
    for on in [BranchOn::Activations, BranchOn::Auto] {
        for (inference_slack, enough) in [(0.005, true), (0.02, false)] {
            let config = VerifierConfig {
                inference_slack,
                ..verifier(on)
            };
            let verdict = config
                .init()
                .verify(&network, &spec, &Device::flex())
                .unwrap()
                .verdict;
            // A violation of the demanded distance alone is none of the specification.
            assert!(
                match verdict {
                    Verdict::Verified { .. } => enough,
                    Verdict::Unknown { .. } => !enough,
                    Verdict::Falsified { .. } => false,
                },
                "{on:?}, {inference_slack}: {verdict:?}"
            );
        }
    }
}

#[test]
fn a_violation_counts_in_both_arithmetics_only() {
    // relu(1e8 x + y) - 1e8 is 1 at (1, 1), and 0 where numbers have 32 bits.
    let affine = |weight: Vec<f32>, bias: f32| {
        Layer::Affine(Affine {
            outputs: 1,
            inputs: weight.len(),
            weight,
            bias: vec![bias],
        })
    };
    let layers = vec![
        affine(vec![1e8, 1.0], 0.0),
        Layer::Relu,
        affine(vec![1.0], -1e8),
    ];
    let network = Network::new(vec![2], layers).unwrap();
    let input = InputBox::new(vec![1.0; 2], vec![1.0; 2]).unwrap();
    for on in [BranchOn::Activations, BranchOn::Auto] {
        let verdict = |sign: f64, bound: f64| {
            let mut spec = above(&input, bound);
            spec.cases[0].outputs[0].coefficients[0] = sign;
            verifier(on)
                .init()
                .verify(&network, &spec, &Device::flex())
                .unwrap()
                .verdict
        };
        assert!(matches!(verdict(1.0, 0.5), Verdict::Verified { .. }));
        assert!(matches!(verdict(-1.0, -0.5), Verdict::Unknown { .. }));
        assert!(matches!(verdict(1.0, 1.5), Verdict::Falsified { .. }));
    }
}

/// A claim that cannot be decided (it is true by less than bounds are rounded) does not keep another over the same box from being proven.
#[test]
fn what_cannot_be_decided_leaves_other_cases_alone() {
    let device = Device::flex();
    for seed in 0..4 {
        let mut rng = ChaCha8Rng::seed_from_u64(60 + seed);
        let network = dense(&[3, 6, 5, 2], 1.0, &mut rng);
        let input = random_box(3, 0.6, &mut rng);
        let case = |row: [f64; 2], gap: f64| UnsafeCase {
            input: input.clone(),
            outputs: vec![HalfSpace {
                coefficients: row.to_vec(),
                bound: exact_minimum(&network, &row, &input) - gap,
            }],
        };
        // Far below what multipliers of 32 bits can prove, and above what the minimum is wrong by.
        let spec = Spec {
            cases: vec![case([1.0, 0.0], 1e-12), case([0.0, 1.0], 1e-4)],
        };
        let verifier = verifier(BranchOn::Activations).init();
        let report = verifier.verify(&network, &spec, &device).unwrap();
        assert!(
            !matches!(report.cases[0].verdict, Verdict::Verified { .. }),
            "network {seed}: {report}"
        );
        if report.cases.len() > 1 {
            assert!(
                matches!(report.cases[1].verdict, Verdict::Verified { .. }),
                "network {seed}: {report}"
            );
        }
    }
}
