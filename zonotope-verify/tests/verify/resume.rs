//! A search that was stopped goes on to the same end.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use burn::tensor::Device;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use zonotope_verify::branch::{BranchConfig, BranchOn};
use zonotope_verify::certificate::Certificate;
use zonotope_verify::error::Error;
use zonotope_verify::network::Network;
use zonotope_verify::report::{Report, Verdict};
use zonotope_verify::spec::{HalfSpace, InputBox, Spec, UnsafeCase};
use zonotope_verify::verify::VerifierConfig;

use crate::oracle::exact_minimum;
use crate::random::{dense, random_box};

/// Half-spaces that take some branching: the output and its negative stay above a little less than their minima.
fn tight(network: &Network, input: &InputBox, gap: f64) -> Spec {
    let case = |sign: f64| UnsafeCase {
        input: input.clone(),
        outputs: vec![HalfSpace {
            coefficients: vec![sign],
            bound: exact_minimum(network, &[sign], input) - gap,
        }],
    };
    Spec {
        cases: vec![case(1.0), case(-1.0)],
    }
}

fn settings(on: BranchOn, nodes: usize) -> VerifierConfig {
    let mut config = VerifierConfig::new().with_branch(BranchConfig {
        on,
        batch: 4,
        steps: 5,
        nodes,
        ..BranchConfig::default()
    });
    // What bounds by groups prove needs no branching.
    config.bound.groups = None;
    config.bound.ascent.steps = 20;
    config
}

fn instance(seed: u64, on: BranchOn) -> (Network, Spec) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let network = dense(&[3, 5, 4, 1], 1.0, &mut rng);
    let input = random_box(3, 1.0, &mut rng);
    let gap = if on == BranchOn::Inputs { 1e-2 } else { 1e-5 };
    let spec = tight(&network, &input, gap);
    (network, spec)
}

fn without_seconds((mut report, certificate): (Report, Certificate)) -> (Report, Certificate) {
    report.seconds = 0.0;
    (report, certificate)
}

#[test]
fn a_search_in_pieces_ends_like_one_in_one_piece() {
    let device = Device::flex();
    let folder = tempfile::tempdir().unwrap();
    for on in [BranchOn::Activations, BranchOn::Inputs] {
        let mut stops = 0;
        for seed in 20..22 {
            let (network, spec) = instance(seed, on);
            let whole = settings(on, 100_000).init().prove(&network, &spec, &device);
            let whole = without_seconds(whole.unwrap());
            assert!(
                matches!(whole.0.verdict, Verdict::Verified { .. }),
                "{on:?} {seed}: {}",
                whole.0
            );
            let path = folder.path().join("search");
            let mut limit = 6;
            let mut last = settings(on, limit)
                .init()
                .with_checkpoint(&path, 1e6)
                .prove(&network, &spec, &device)
                .unwrap();
            while matches!(last.0.verdict, Verdict::Unknown { .. }) {
                assert!(last.0.verdict.bound() <= 0.0);
                assert!(path.exists());
                stops += 1;
                limit += 40;
                last = settings(on, limit)
                    .init()
                    .with_checkpoint(&path, 1e6)
                    .resume(&network, &spec, &device)
                    .unwrap();
            }
            assert!(!path.exists());
            let last = without_seconds(last);
            assert_eq!(last.0, whole.0, "{on:?} {seed}");
            assert_eq!(last.1, whole.1, "{on:?} {seed}");
            last.1.check(&network, &spec).unwrap();
        }
        assert!(stops >= 4, "{on:?}: {stops} stops");
    }
}

#[test]
fn any_checkpoint_on_the_way_leads_to_the_same_end() {
    let device = Device::flex();
    let folder = tempfile::tempdir().unwrap();
    for on in [BranchOn::Activations, BranchOn::Inputs] {
        let (network, spec) = instance(21, on);
        let path = folder.path().join("search");
        let done = AtomicBool::new(false);
        let (whole, kept) = thread::scope(|scope| {
            let watch = scope.spawn(|| {
                let (mut least, mut most) = (usize::MAX, Vec::new());
                while !done.load(Ordering::Relaxed) {
                    // The file is replaced as a whole, so whatever is read is complete.
                    if let Ok(bytes) = fs::read(&path) {
                        least = least.min(bytes.len());
                        if bytes.len() > most.len() {
                            most = bytes;
                        }
                    }
                }
                // Not only what is written before the search begins.
                assert!(most.len() > least, "{on:?}: {least} bytes");
                most
            });
            let verifier = settings(on, 100_000).init().with_checkpoint(&path, 0.0);
            let whole = verifier.prove(&network, &spec, &device);
            done.store(true, Ordering::Relaxed);
            (without_seconds(whole.unwrap()), watch.join().unwrap())
        });
        let copy = folder.path().join("copy");
        fs::write(&copy, kept).unwrap();
        let verifier = settings(on, 100_000).init().with_checkpoint(&copy, 1e6);
        let resumed = verifier.resume(&network, &spec, &device).unwrap();
        assert_eq!(without_seconds(resumed), whole, "{on:?}");
    }
}

#[test]
fn what_ran_out_of_time_is_done_again() {
    let device = Device::flex();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("search");
    let (network, spec) = instance(22, BranchOn::Activations);
    let config = settings(BranchOn::Activations, 100_000);
    let whole = config.clone().init().prove(&network, &spec, &device);
    let whole = without_seconds(whole.unwrap());
    let stopped = config.clone().with_timeout_seconds(0.0).init();
    let stopped = stopped.with_checkpoint(&path, 0.0);
    let (report, _) = stopped.prove(&network, &spec, &device).unwrap();
    assert!(matches!(report.verdict, Verdict::Unknown { .. }));
    // Twice no time is still no time, and no harm.
    let (again, _) = stopped.resume(&network, &spec, &device).unwrap();
    assert!(matches!(again.verdict, Verdict::Unknown { .. }));
    let verifier = config.init().with_checkpoint(&path, 0.0);
    let resumed = verifier.resume(&network, &spec, &device).unwrap();
    assert_eq!(without_seconds(resumed), whole);
}

/// Writes a checkpoint of a search that is not at its end.
fn stopped_search(path: &Path) -> (Network, Spec) {
    let (network, spec) = instance(21, BranchOn::Inputs);
    let verifier = settings(BranchOn::Inputs, 20).init();
    let verifier = verifier.with_checkpoint(path, 1e6);
    let (report, _) = verifier.prove(&network, &spec, &Device::flex()).unwrap();
    assert!(matches!(report.verdict, Verdict::Unknown { .. }));
    (network, spec)
}

#[test]
fn damaged_checkpoints_are_refused() {
    let device = Device::flex();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("search");
    let (network, spec) = stopped_search(&path);
    let good = fs::read(&path).unwrap();
    let verifier = settings(BranchOn::Inputs, 100).init();
    let verifier = verifier.with_checkpoint(&path, 1e6);
    let mut damaged: Vec<Vec<u8>> = [0, 7, 11, 40, good.len() / 2, good.len() - 1]
        .map(|length| good[..length].to_vec())
        .to_vec();
    for position in [3, 9, 20, good.len() / 2, good.len() - 3] {
        let mut flipped = good.clone();
        flipped[position] ^= 4;
        damaged.push(flipped);
    }
    damaged.push([&good[..], b"x"].concat());
    for bytes in damaged {
        fs::write(&path, bytes).unwrap();
        let found = verifier.resume(&network, &spec, &device);
        assert!(matches!(found, Err(Error::CheckpointFormat { .. })));
    }
    fs::write(&path, good).unwrap();
    verifier.resume(&network, &spec, &device).unwrap();
}

#[test]
fn foreign_checkpoints_are_refused() {
    let device = Device::flex();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("search");
    let (network, spec) = stopped_search(&path);
    let (other, other_spec) = instance(22, BranchOn::Inputs);
    let config = settings(BranchOn::Inputs, 100);
    let mut others = config.clone();
    others.branch.batch += 1;
    let limits = config.clone().with_timeout_seconds(60.0);
    for (config, network, spec, expected) in [
        (&config, &other, &spec, Some("network")),
        (&config, &network, &other_spec, Some("specification")),
        (&others, &network, &spec, Some("settings")),
        (&limits, &network, &spec, None),
    ] {
        let verifier = config.clone().init().with_checkpoint(&path, 1e6);
        match (verifier.resume(network, spec, &device), expected) {
            (Ok(_), None) => {}
            (Err(Error::CheckpointMismatch { what, .. }), Some(expected)) => {
                assert_eq!(what, expected);
            }
            (found, expected) => panic!("{expected:?}: {found:?}"),
        }
    }
}

#[test]
fn a_checkpoint_needs_a_place() {
    let device = Device::flex();
    let folder = tempfile::tempdir().unwrap();
    let (network, spec) = instance(21, BranchOn::Inputs);
    let verifier = settings(BranchOn::Inputs, 100).init();
    assert!(matches!(
        verifier.resume(&network, &spec, &device),
        Err(Error::InvalidConfig {
            field: "checkpoint",
            ..
        })
    ));
    let missing = folder.path().join("nowhere").join("search");
    let verifier = verifier.with_checkpoint(&missing, 1e6);
    for found in [
        verifier.prove(&network, &spec, &device),
        verifier.resume(&network, &spec, &device),
    ] {
        assert!(matches!(found, Err(Error::Io { .. })));
    }
    let verifier = verifier.with_checkpoint(&missing, f64::NAN);
    assert!(matches!(
        verifier.prove(&network, &spec, &device),
        Err(Error::InvalidConfig {
            field: "every_seconds",
            ..
        })
    ));
}
