//! Combinations of half-spaces, and parts of the input box: what proves a case, and what does not.

use burn::tensor::Device;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::Value;
use zonotope_verify::branch::{BranchConfig, BranchOn};
use zonotope_verify::certificate::Certificate;
use zonotope_verify::error::Error;
use zonotope_verify::network::{Affine, Layer, Network};
use zonotope_verify::report::Verdict;
use zonotope_verify::spec::{HalfSpace, InputBox, Spec, UnsafeCase};
use zonotope_verify::verify::{Verifier, VerifierConfig};

use crate::random::{dense, points, random_box};

fn verifier(on: BranchOn) -> Verifier {
    let branch = BranchConfig {
        on,
        ..BranchConfig::default()
    };
    VerifierConfig::new().with_branch(branch).init()
}

/// `x` as `relu(x) - relu(-x)`, and behind it `y_0 = x`, `y_1 = 1 - 2 x`; the outputs `y_0 <= 0` and `y_1 <= 0` do not meet: `2 y_0 + y_1 = 1`.
fn opposed() -> (Network, Spec) {
    let first = Affine {
        outputs: 2,
        inputs: 1,
        weight: vec![1.0, -1.0],
        bias: vec![0.0; 2],
    };
    let second = Affine {
        outputs: 2,
        inputs: 2,
        weight: vec![1.0, -1.0, -2.0, 2.0],
        bias: vec![0.0, 1.0],
    };
    let layers = vec![Layer::Affine(first), Layer::Relu, Layer::Affine(second)];
    let half_space = |coefficients: [f64; 2]| HalfSpace {
        coefficients: coefficients.to_vec(),
        bound: 0.0,
    };
    let case = UnsafeCase {
        input: InputBox::new(vec![-1.0], vec![1.0]).unwrap(),
        outputs: vec![half_space([1.0, 0.0]), half_space([0.0, 1.0])],
    };
    (
        Network::new(vec![1], layers).unwrap(),
        Spec { cases: vec![case] },
    )
}

/// Replaces every value under a key.
fn replace(value: &mut Value, key: &str, by: &Value) -> usize {
    match value {
        Value::Object(fields) => fields
            .iter_mut()
            .map(|(name, value)| {
                if name == key {
                    *value = by.clone();
                    1
                } else {
                    replace(value, key, by)
                }
            })
            .sum(),
        Value::Array(items) => items.iter_mut().map(|item| replace(item, key, by)).sum(),
        _ => 0,
    }
}

#[test]
fn half_spaces_that_are_possible_alone_are_refuted_together() {
    let (network, spec) = opposed();
    for on in [BranchOn::Inputs, BranchOn::Activations, BranchOn::Nothing] {
        let verifier = verifier(on);
        let (report, certificate) = verifier.prove(&network, &spec, &Device::flex()).unwrap();
        let Verdict::Verified { bound } = report.verdict else {
            panic!("{on:?}: {report}")
        };
        // One part, or one sign pattern after the other, would not do: alone each of the two is satisfied somewhere.
        assert_eq!(report.cases[0].nodes, 1, "{on:?}");
        // With weights 2 and 1 the distance is 1 everywhere, a third in units of a single half-space.
        assert!(bound > 0.2 && bound <= 1.0 / 3.0, "{on:?}: {bound}");
        let stored = serde_json::to_value(&certificate).unwrap();
        let read: Certificate = serde_json::from_value(stored.clone()).unwrap();
        assert_eq!(read, certificate);
        read.check(&network, &spec).unwrap();
        for forged in [
            serde_json::json!([0, 0]),
            serde_json::json!([1]),
            serde_json::json!([2, 1, 1]),
            serde_json::json!([]),
            serde_json::json!([1, 0]),
            serde_json::json!([1, 40]),
        ] {
            let mut tampered = stored.clone();
            assert_eq!(replace(&mut tampered, "weights", &forged), 1);
            let tampered: Certificate = serde_json::from_value(tampered).unwrap();
            assert!(
                matches!(
                    tampered.check(&network, &spec),
                    Err(Error::CertificateRejected { .. })
                ),
                "{on:?}: {forged}"
            );
        }
        let mut negative = stored.clone();
        replace(&mut negative, "weights", &serde_json::json!([2, -1]));
        assert!(serde_json::from_value::<Certificate>(negative).is_err());
    }
}

#[test]
fn parts_of_the_box_are_checked_one_by_one() {
    let mut rng = ChaCha8Rng::seed_from_u64(8);
    let network = dense(&[2, 8, 8, 1], 1.0, &mut rng);
    let input = random_box(2, 1.0, &mut rng);
    let values = points(&input, 3000, &mut rng)
        .into_iter()
        .map(|x| network.evaluate(&x).unwrap()[0].value);
    let least = values.fold(f64::INFINITY, f64::min);
    let spec = Spec {
        cases: vec![UnsafeCase {
            input,
            outputs: vec![HalfSpace {
                coefficients: vec![1.0],
                bound: least - 1e-2,
            }],
        }],
    };
    let verifier = verifier(BranchOn::Inputs);
    let (report, certificate) = verifier.prove(&network, &spec, &Device::flex()).unwrap();
    assert!(report.cases[0].nodes > 1, "{report}");
    certificate.check(&network, &spec).unwrap();
    let stored = serde_json::to_value(&certificate).unwrap();
    for (key, forged) in [
        ("at", serde_json::json!(1e9)),
        ("input", serde_json::json!(2)),
        ("below", serde_json::json!(0)),
        ("above", serde_json::json!(1_000_000)),
    ] {
        let mut tampered = stored.clone();
        assert!(replace(&mut tampered, key, &forged) > 0);
        let tampered: Certificate = serde_json::from_value(tampered).unwrap();
        assert!(
            matches!(
                tampered.check(&network, &spec),
                Err(Error::CertificateRejected { .. })
            ),
            "{key}"
        );
    }
}
