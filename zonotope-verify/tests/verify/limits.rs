//! What is stopped early still says only what is true.

use burn::tensor::Device;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use zonotope_verify::attack::{AttackConfig, attack_with};
use zonotope_verify::branch::{BranchConfig, BranchOn};
use zonotope_verify::crown::{AlphaCrownConfig, IntermediateBounds};
use zonotope_verify::dual::{AscentConfig, ZonoDualConfig};
use zonotope_verify::error::Error;
use zonotope_verify::limits::{CancelToken, RunOptions};
use zonotope_verify::method::Method;
use zonotope_verify::network::Network;
use zonotope_verify::objective::Objective;
use zonotope_verify::report::{Reason, Verdict};
use zonotope_verify::spec::{HalfSpace, InputBox, Spec, UnsafeCase};
use zonotope_verify::verify::VerifierConfig;

use crate::oracle::{convolutional, matrices, value};
use crate::random::{dense, points, random_box};

/// More steps than anybody waits for.
const ENDLESS: usize = 100_000_000;

fn cancelled() -> RunOptions {
    let token = CancelToken::new();
    token.cancel();
    RunOptions::new().with_cancel(token)
}

/// The least value of every row at some points of the box.
fn sampled(network: &Network, input: &InputBox, objective: &Objective) -> Vec<f64> {
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let maps = matrices(network);
    let points = points(input, 300, &mut rng);
    (0..objective.len())
        .map(|row| {
            let values = points
                .iter()
                .map(|x| value(&maps, objective.row(row), x).value);
            values.fold(f64::INFINITY, f64::min)
        })
        .collect()
}

#[test]
fn methods_that_are_stopped_at_once_still_prove_something() {
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let device = Device::flex();
    for network in [
        dense(&[3, 2], 1.0, &mut rng),
        dense(&[4, 9, 8, 7, 3], 1.0, &mut rng),
        convolutional(&mut rng),
    ] {
        let input = random_box(network.inputs(), 0.2, &mut rng);
        let objective = Objective::margins(0, network.outputs()).unwrap();
        let least = sampled(&network, &input, &objective);
        let interval = Method::Interval
            .lower_bounds(&network, &input, &objective, &device)
            .unwrap();
        for method in Method::ALL {
            let stopped = cancelled();
            let bounds = method
                .lower_bounds_with(&network, &input, &objective, &device, &stopped)
                .unwrap();
            for (row, bound) in bounds.iter().enumerate() {
                assert!(bound.is_finite(), "{method}");
                assert!(*bound <= least[row] + 1e-9, "{method}");
                if method == Method::DeepZ && !network.hidden().is_empty() {
                    assert_eq!(*bound, interval[row]);
                }
            }
        }
        let found = ZonoDualConfig::new()
            .init()
            .lower_bounds_with(&network, &input, &objective, &device, &cancelled())
            .unwrap();
        assert_eq!(found.stopped, Some(Reason::Cancelled));
    }
}

#[test]
fn every_stage_heeds_the_deadline() {
    let mut rng = ChaCha8Rng::seed_from_u64(12);
    let device = Device::flex();
    let network = dense(&[4, 20, 20, 20, 3], 1.0, &mut rng);
    let input = random_box(4, 0.3, &mut rng);
    let objective = Objective::margins(0, 3).unwrap();
    let least = sampled(&network, &input, &objective);
    let long = AlphaCrownConfig::new().with_steps(ENDLESS);
    let soon = RunOptions::new().with_timeout_seconds(0.3);
    let ascent = AscentConfig {
        steps: ENDLESS,
        ..AscentConfig::default()
    };
    for config in [
        ZonoDualConfig::new().with_intermediate(IntermediateBounds::AlphaCrown(long)),
        ZonoDualConfig::new().with_ascent(ascent),
    ] {
        let found = config
            .init()
            .lower_bounds_with(&network, &input, &objective, &device, &soon)
            .unwrap();
        assert_eq!(found.stopped, Some(Reason::Timeout));
        for (bound, least) in found.lower.iter().zip(&least) {
            assert!(bound.is_finite() && bound <= least);
        }
    }
    let case = UnsafeCase {
        input,
        outputs: vec![HalfSpace {
            coefficients: objective.row(0).to_vec(),
            bound: -1e6,
        }],
    };
    let attack = AttackConfig {
        steps: ENDLESS,
        ..AttackConfig::default()
    };
    let found = attack_with(&network, &case, &attack, &[], &device, &soon).unwrap();
    assert!(!found.violates && found.value.is_finite());
}

#[test]
fn what_is_proven_when_stopped_can_be_checked() {
    let mut rng = ChaCha8Rng::seed_from_u64(13);
    let device = Device::flex();
    let network = dense(&[4, 12, 12, 12, 2], 1.0, &mut rng);
    let input = random_box(4, 0.1, &mut rng);
    let objective = Objective::rows(2, &[vec![1.0, 0.0]]).unwrap();
    let weak = Method::Interval
        .lower_bounds(&network, &input, &objective, &device)
        .unwrap()[0];
    let spec = Spec {
        cases: vec![UnsafeCase {
            input,
            outputs: vec![HalfSpace {
                coefficients: vec![1.0, 0.0],
                bound: weak - 0.1,
            }],
        }],
    };
    let long = AlphaCrownConfig::new().with_steps(ENDLESS);
    for intermediate in [
        IntermediateBounds::AlphaCrown(long),
        IntermediateBounds::Crown,
        IntermediateBounds::WongKolter,
        IntermediateBounds::Interval,
    ] {
        let config = VerifierConfig {
            bound: ZonoDualConfig::new().with_intermediate(intermediate.clone()),
            branch: BranchConfig {
                on: BranchOn::Activations,
                ..BranchConfig::default()
            },
            ..VerifierConfig::new()
        };
        let verifiers = [
            config.clone().with_timeout_seconds(0.2).init(),
            config.init().with_cancel(cancelled().cancel),
        ];
        for verifier in verifiers {
            let (report, certificate) = verifier.prove(&network, &spec, &device).unwrap();
            assert!(
                matches!(report.verdict, Verdict::Verified { .. }),
                "{intermediate:?}: {report}"
            );
            certificate.check(&network, &spec).unwrap();
        }
    }
}

#[test]
fn a_limit_without_a_meaning_is_an_error() {
    let mut rng = ChaCha8Rng::seed_from_u64(14);
    let network = dense(&[2, 3, 2], 1.0, &mut rng);
    let input = random_box(2, 0.1, &mut rng);
    let objective = Objective::margins(0, 2).unwrap();
    for seconds in [-1.0, f64::NAN] {
        let options = RunOptions::new().with_timeout_seconds(seconds);
        let found = Method::Crown.lower_bounds_with(
            &network,
            &input,
            &objective,
            &Device::flex(),
            &options,
        );
        assert!(matches!(
            found,
            Err(Error::InvalidConfig {
                field: "timeout_seconds",
                ..
            })
        ));
    }
}
