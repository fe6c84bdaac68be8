//! Branch and bound decides, and its certificates prove it.

use burn::tensor::Device;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use zonotope_verify::branch::{BranchConfig, BranchOn};
use zonotope_verify::certificate::ProvenBounds;
use zonotope_verify::error::Error;
use zonotope_verify::limits::CancelToken;
use zonotope_verify::report::{Reason, Verdict};
use zonotope_verify::spec::{HalfSpace, Spec, UnsafeCase};
use zonotope_verify::verify::VerifierConfig;

use crate::oracle::{dense, exact_minimum, random_box};

fn verifier(on: BranchOn) -> VerifierConfig {
    VerifierConfig::new()
        .with_timeout_seconds(60.0)
        .with_branch(BranchConfig {
            on,
            ..BranchConfig::default()
        })
}

/// The claim that the only output stays above `bound`.
fn above(input: &zonotope_verify::spec::InputBox, bound: f64) -> Spec {
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

#[test]
fn small_networks_are_decided_on_both_sides_of_their_minimum() {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let device = Device::flex();
    for round in 0..16 {
        let network = dense(&[3, 5, 4, 1], 1.0, &mut rng);
        let input = random_box(3, 0.7, &mut rng);
        let exact = exact_minimum(&network, &[1.0], &input);
        let on = if round % 2 == 0 {
            BranchOn::Activations
        } else {
            BranchOn::Inputs
        };
        let verifier = verifier(on).init();
        let gap = if on == BranchOn::Inputs { 1e-2 } else { 1e-4 };
        let safe = above(&input, exact - gap);
        let (report, certificate) = verifier.prove(&network, &safe, &device).unwrap();
        assert!(
            matches!(report.verdict, Verdict::Verified { .. }),
            "round {round}: {report}"
        );
        let proven = certificate.check(&network, &safe).unwrap();
        assert_eq!(proven.cases.len(), 1);
        assert!(proven.bound() > 0.0 && proven.bound() <= gap + 1e-9);
        assert!((proven.bound() - report.verdict.bound()).abs() <= 1e-9);
        // The certificate proves this claim and no stronger one.
        let stronger = above(&input, exact + 1e-3);
        assert!(matches!(
            certificate.check(&network, &stronger),
            Err(Error::CertificateRejected { .. })
        ));

        let unsafe_claim = above(&input, exact + 1e-3);
        let report = verifier.verify(&network, &unsafe_claim, &device).unwrap();
        let Verdict::Falsified {
            input: found,
            output,
        } = &report.verdict
        else {
            panic!("round {round}: {report}")
        };
        assert!(output[0] <= exact + 1e-3);
        let value = network.evaluate(found).unwrap()[0];
        assert!((value.value - output[0]).abs() <= 1e-9);
        assert!(
            found
                .iter()
                .enumerate()
                .all(|(i, x)| *x >= input.lower()[i] && *x <= input.upper()[i])
        );
    }
}

#[test]
fn a_certificate_survives_a_file_and_not_a_forgery() {
    let mut rng = ChaCha8Rng::seed_from_u64(6);
    let device = Device::flex();
    let network = dense(&[3, 6, 6, 1], 1.0, &mut rng);
    let input = random_box(3, 0.6, &mut rng);
    let mut exact = f64::INFINITY;
    for _ in 0..3000 {
        let x = crate::oracle::point(&input, &mut rng);
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
    let wider = zonotope_verify::spec::InputBox::new(
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
    for _ in 0..2000 {
        least = least.min(
            network
                .evaluate(&crate::oracle::point(&input, &mut rng))
                .unwrap()[0]
                .value,
        );
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
