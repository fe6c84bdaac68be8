//! A certificate proves what it was made for, and nothing once something in it is left out, used twice or put elsewhere.

use burn::tensor::Device;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use zonotope_verify::branch::{BranchConfig, BranchOn};
use zonotope_verify::certificate::Certificate;
use zonotope_verify::crown::{IntermediateBounds, intermediate_bounds};
use zonotope_verify::dual::{GroupsConfig, JointConfig, ZonoDualConfig};
use zonotope_verify::error::Error;
use zonotope_verify::network::Network;
use zonotope_verify::objective::Objective;
use zonotope_verify::report::Verdict;
use zonotope_verify::spec::{HalfSpace, InputBox, Spec, UnsafeCase};
use zonotope_verify::verify::VerifierConfig;

use crate::complete::brief;
use crate::oracle::exact_minimum;
use crate::random::{dense, random_box};

/// That the only output is at most `bound`.
fn case(input: &InputBox, bound: f64) -> UnsafeCase {
    UnsafeCase {
        input: input.clone(),
        outputs: vec![HalfSpace {
            coefficients: vec![1.0],
            bound,
        }],
    }
}

fn spec(cases: &[UnsafeCase]) -> Spec {
    Spec {
        cases: cases.to_vec(),
    }
}

fn prove(network: &Network, spec: &Spec, on: BranchOn) -> Certificate {
    prove_with(brief(), network, spec, on)
}

fn prove_with(bound: ZonoDualConfig, network: &Network, spec: &Spec, on: BranchOn) -> Certificate {
    let branch = BranchConfig {
        on,
        ..BranchConfig::default()
    };
    let config = VerifierConfig {
        bound,
        ..VerifierConfig::new()
    };
    let verifier = config.with_branch(branch).init();
    let (report, certificate) = verifier.prove(network, spec, &Device::flex()).unwrap();
    assert!(
        matches!(report.verdict, Verdict::Verified { .. }),
        "{report}"
    );
    certificate.check(network, spec).unwrap();
    certificate
}

fn written(certificate: &Certificate) -> Value {
    serde_json::to_value(certificate).unwrap()
}

/// Why a forged certificate is rejected; it must be, if it can be read at all.
fn rejection(forged: &Value, network: &Network, spec: &Spec, what: &str) -> String {
    match serde_json::from_value::<Certificate>(forged.clone()) {
        Err(error) => error.to_string(),
        Ok(certificate) => match certificate.check(network, spec) {
            Err(Error::CertificateRejected { at, reason }) => format!("{at}: {reason}"),
            Err(other) => panic!("{what}: {other}"),
            Ok(_) => panic!("{what}: it passed"),
        },
    }
}

/// The places of a value at which something is to be found, in order.
fn places(value: &Value, wanted: &dyn Fn(&str, &Value) -> bool) -> Vec<String> {
    fn walk(
        value: &Value,
        at: &str,
        wanted: &dyn Fn(&str, &Value) -> bool,
        found: &mut Vec<String>,
    ) {
        let parts: Vec<(String, &Value)> = match value {
            Value::Object(fields) => fields.iter().map(|(key, v)| (key.clone(), v)).collect(),
            Value::Array(items) => items
                .iter()
                .enumerate()
                .map(|(i, v)| (i.to_string(), v))
                .collect(),
            _ => Vec::new(),
        };
        for (key, part) in parts {
            let at = format!("{at}/{key}");
            if wanted(&key, part) {
                found.push(at.clone());
            }
            walk(part, &at, wanted, found);
        }
    }
    let mut found = Vec::new();
    walk(value, "", wanted, &mut found);
    found
}

/// Whether a value is a node of a tree that says anything: no proof is needed where no input is left.
fn is_node(value: &Value) -> bool {
    ["leaf", "split", "node"].iter().any(|kind| {
        value
            .get(kind)
            .is_some_and(|node| *node != json!({"proven": [], "decision": null}))
    })
}

/// A network, a box and a claim that takes branching to prove.
fn instance(seed: u64) -> (Network, InputBox, f64) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let network = dense(&[3, 6, 6, 1], 1.0, &mut rng);
    let input = random_box(3, 0.8, &mut rng);
    let exact = exact_minimum(&network, &[1.0], &input);
    (network, input, exact)
}

#[test]
fn nothing_of_a_tree_can_be_left_out_or_used_twice() {
    for on in [BranchOn::Activations, BranchOn::Inputs] {
        let (network, input, exact) = instance(21);
        let spec = spec(&[case(&input, exact - 1e-4)]);
        let honest = written(&prove(&network, &spec, on));
        let forge = |what: &str, change: &dyn Fn(&mut Value)| {
            let mut forged = honest.clone();
            change(&mut forged);
            assert_ne!(forged, honest, "{what}");
            rejection(&forged, &network, &spec, &format!("{on:?}, {what}"))
        };
        let nodes = places(&honest, &|_, value| is_node(value));
        assert!(nodes.len() > 4, "{on:?}: the claim took no branching");
        for node in nodes.iter().step_by(nodes.len().div_ceil(12)) {
            forge("a node is open", &|v| {
                *v.pointer_mut(node).unwrap() = json!("open")
            });
        }
        let (tree, last) = nodes.last().unwrap().rsplit_once('/').unwrap();
        forge("a node is missing", &|v| {
            v.pointer_mut(tree)
                .unwrap()
                .as_array_mut()
                .unwrap()
                .truncate(last.parse().unwrap());
        });
        for (one, other) in [("negative", "positive"), ("below", "above")] {
            let splits = places(&honest, &|_, value| {
                let child = |side: &str| {
                    let index = value.get(side)?;
                    honest.pointer(&format!("{tree}/{index}"))
                };
                child(one).is_some_and(is_node) && child(other).is_some_and(is_node)
            });
            for split in splits.iter().step_by(splits.len().div_ceil(6).max(1)) {
                forge("one half twice", &|v| {
                    let split = v.pointer_mut(split).unwrap();
                    split[other] = split[one].clone();
                });
                forge("a half that is the root", &|v| {
                    v.pointer_mut(split).unwrap()[other] = json!(0);
                });
            }
        }
        for (key, wrong) in [
            ("neuron", 1000),
            ("layer", 1000),
            ("input", 1000),
            ("row", 1000),
        ] {
            for place in places(&honest, &|name, value| name == key && value.is_number())
                .iter()
                .take(2)
            {
                forge(key, &|v| *v.pointer_mut(place).unwrap() = json!(wrong));
            }
        }
        for place in places(&honest, &|name, _| name == "multipliers")
            .iter()
            .take(2)
        {
            forge("a layer less", &|v| {
                v.pointer_mut(place).unwrap().as_array_mut().unwrap().pop();
            });
            forge("a neuron less", &|v| {
                v.pointer_mut(place).unwrap()[0]
                    .as_array_mut()
                    .unwrap()
                    .pop();
            });
        }
        forge("no proof at all", &|v| v["cases"] = json!({}));
    }
}

#[test]
fn a_proof_of_one_case_is_none_of_another() {
    for on in [BranchOn::Activations, BranchOn::Inputs] {
        let (network, input, exact) = instance(22);
        let good = case(&input, exact - 1e-3);
        let honest = written(&prove(&network, &spec(std::slice::from_ref(&good)), on));
        let wide = |by: f64| {
            let lower = input.lower().iter().map(|x| x - by).collect();
            InputBox::new(lower, input.upper().iter().map(|x| x + by).collect()).unwrap()
        };
        let mut by = 0.1;
        while exact_minimum(&network, &[1.0], &wide(by)) > exact - 2e-3 {
            by += 0.1;
        }
        for (what, bad) in [
            ("a stronger claim", case(&input, exact + 1e-3)),
            ("a wider box", case(&wide(by), exact - 1e-3)),
        ] {
            let both = spec(&[good.clone(), bad]);
            let check = |what: &str, forged: &Value| {
                rejection(forged, &network, &both, &format!("{on:?}, {what}"));
            };
            let mut forged = honest.clone();
            forged["cases"]["1"] = forged["cases"]["0"].clone();
            check(what, &forged);
            if on == BranchOn::Inputs {
                continue;
            }
            // A tree of its own with the other's proofs, on the same bounds of the hidden layers.
            let mut forged = honest.clone();
            let mut tree = forged["trees"][0].clone();
            tree["rows"][0]["case"] = json!(1);
            forged["trees"].as_array_mut().unwrap().push(tree);
            forged["cases"]["1"] = json!({"activations": {"tree": 1}});
            check(&format!("{what}, a copied tree"), &forged);
            // One tree for both, whose proofs are the first case's twice.
            let mut forged = honest.clone();
            let mut row = forged["trees"][0]["rows"][0].clone();
            row["case"] = json!(1);
            forged["trees"][0]["rows"].as_array_mut().unwrap().push(row);
            for place in places(&forged.clone(), &|key, _| key == "proven") {
                let proven = forged.pointer_mut(&place).unwrap().as_array_mut().unwrap();
                for mut proof in proven.clone() {
                    proof["row"] = json!(1);
                    proven.push(proof);
                }
            }
            forged["cases"]["1"] = forged["cases"]["0"].clone();
            check(&format!("{what}, a shared tree"), &forged);
        }
    }
}

#[test]
fn bounds_and_pairs_are_not_taken_on_trust() {
    let (network, input, exact) = instance(23);
    let spec = spec(&[case(&input, exact - 1e-3)]);
    let honest = written(&prove(&network, &spec, BranchOn::Activations));
    // True ones, so that only where they come from can be the reason.
    let method = IntermediateBounds::default();
    let given = intermediate_bounds(&network, &input, &method, &Device::flex()).unwrap();
    let mut forged = honest.clone();
    forged["relaxations"][0]["hidden"] = json!({ "given": given });
    let reason = rejection(&forged, &network, &spec, "given bounds");
    assert!(reason.contains("given, not proven"), "{reason}");

    let mut forged = honest.clone();
    let pairs = forged["relaxations"][0]["pairs"][0].as_array_mut().unwrap();
    assert!(!pairs.is_empty());
    pairs.push(pairs[0].clone());
    let reason = rejection(&forged, &network, &spec, "a pair twice");
    assert!(reason.contains("paired twice"), "{reason}");

    let mut forged = honest;
    forged["relaxations"][0]["pairs"]
        .as_array_mut()
        .unwrap()
        .pop();
    rejection(&forged, &network, &spec, "a layer without pairs");
}

#[test]
fn groups_prove_what_they_were_found_for() {
    let device = Device::flex();
    let mut found = 0;
    let config = brief().with_groups(Some(GroupsConfig {
        joint: Some(JointConfig {
            steps: 20,
            ..JointConfig::default()
        }),
        ..GroupsConfig::default()
    }));
    for seed in 30..38 {
        let (network, input, exact) = instance(seed);
        let objective = Objective::rows(1, &[vec![1.0]]).unwrap();
        let method = config.clone().init();
        let stages = method
            .lower_bounds(&network, &input, &objective, &device)
            .unwrap()
            .stages;
        let value = |name: &str| {
            let stage = stages.iter().find(|stage| stage.name == name);
            stage.map(|stage| stage.bounds[0])
        };
        let (Some(pairs), Some(joint)) = (value("pairs"), value("joint")) else {
            continue;
        };
        if joint - pairs < 1e-3 {
            continue;
        }
        let claim = |bound| spec(&[case(&input, bound)]);
        let safe = claim(f64::midpoint(pairs, joint));
        let certificate = prove_with(config.clone(), &network, &safe, BranchOn::Nothing);
        let honest = written(&certificate);
        let at = "/cases/0/groups";
        assert!(honest.pointer(at).is_some(), "not proven by groups");
        found += 1;
        assert!(certificate.check(&network, &claim(exact + 1e-6)).is_err());

        let forge = |what: &str, change: &dyn Fn(&mut Value)| {
            let mut forged = honest.clone();
            change(forged.pointer_mut(at).unwrap());
            rejection(&forged, &network, &safe, what)
        };
        let twice = |groups: &mut Value| {
            let groups = groups["groups"].as_array_mut().unwrap();
            groups.push(groups[0].clone());
        };
        let reason = forge("a group twice", &twice);
        assert!(reason.contains("two groups"), "{reason}");
        forge("no groups", &|groups| groups["groups"] = json!([]));
        forge("a layer less", &|groups| {
            groups["multipliers"].as_array_mut().unwrap().pop();
        });
        forge("half a tree", &|groups| {
            let tree = &mut groups["groups"][0]["tree"]["nodes"];
            tree.as_array_mut().unwrap().pop();
        });
    }
    assert!(found > 2, "groups proved more than pairs {found} times");
}
