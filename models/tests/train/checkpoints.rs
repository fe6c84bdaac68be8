//! Checkpoints that do not fit the run, or are damaged: an error, never a panic and never a silent new start.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use fire_assay_models::Error;
use fire_assay_models::train::{Adam, Length, Method, Sgd, TrainConfig, Trainer};
use proptest::prelude::*;
use tempfile::TempDir;
use xxhash_rust::xxh3::Xxh3;

use crate::nets::{Clouds, Mlp, device};

const SAMPLES: usize = 32;

fn config() -> TrainConfig {
    let method = Method::Sgd(Sgd {
        momentum: 0.9,
        ..Sgd::default()
    });
    TrainConfig {
        label: "clouds".to_owned(),
        ..TrainConfig::new(method, 0.1, Length::Epochs(2), 8)
    }
}

/// Trains, or resumes, a network with so many hidden units; gives the steps that were computed.
fn train(path: &Path, config: TrainConfig, hidden: usize, samples: usize) -> Result<usize, Error> {
    let clouds = Clouds::new(samples, 5);
    let model = Mlp::new([2, hidden, 2], 3, &device().autodiff());
    let mut computed = 0;
    Trainer::new(config)?
        .with_checkpoint(path, 0)
        .run(model, samples, |model, batch| {
            computed += 1;
            clouds.loss(model, batch)
        })?;
    Ok(computed)
}

/// The bytes of a checkpoint of a whole run.
fn good() -> &'static [u8] {
    static GOOD: OnceLock<Vec<u8>> = OnceLock::new();
    GOOD.get_or_init(|| {
        let (_folder, path) = file(&[]);
        fs::remove_file(&path).unwrap();
        assert_eq!(train(&path, config(), 4, SAMPLES).unwrap(), 8);
        fs::read(&path).unwrap()
    })
}

fn file(bytes: &[u8]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.checkpoint");
    fs::write(&path, bytes).unwrap();
    (folder, path)
}

/// Resumes from these bytes.
fn resume(bytes: &[u8]) -> Result<usize, Error> {
    let (_folder, path) = file(bytes);
    let result = train(&path, config(), 4, SAMPLES);
    assert_eq!(fs::read(&path).unwrap(), bytes, "the file was touched");
    result
}

/// A checkpoint of these contents with the right header.
fn sealed(contents: &[u8]) -> Vec<u8> {
    let mut hasher = Xxh3::new();
    let length = (contents.len() as u64).to_le_bytes();
    let numbers = [&1_u32.to_le_bytes()[..], &length].concat();
    hasher.update(&numbers);
    hasher.update(contents);
    [
        b"FA-train",
        &numbers[..],
        &hasher.digest128().to_le_bytes(),
        contents,
    ]
    .concat()
}

#[test]
fn the_right_run_resumes() {
    assert_eq!(resume(good()).unwrap(), 0);
    // The seal of this test is that of the format.
    assert_eq!(sealed(&good()[36..]), good());
}

#[test]
fn other_settings_data_and_networks_are_refused_by_name() {
    let (_folder, path) = file(good());
    let reason = |config, hidden, samples| match train(&path, config, hidden, samples) {
        Err(Error::Checkpoint {
            path: named,
            reason,
        }) => {
            assert_eq!(named, path);
            reason
        }
        other => panic!("{other:?}"),
    };
    let differs = |change: fn(&mut TrainConfig), field: &str| {
        let mut config = config();
        change(&mut config);
        let reason = reason(config, 4, SAMPLES);
        assert!(reason.contains(field), "{reason}");
    };
    differs(
        |c| c.learning_rate = 0.2,
        "`learning_rate` is 0.1, that of this run 0.2",
    );
    differs(|c| c.method = Method::Adam(Adam::default()), "method");
    differs(|c| c.length = Length::Epochs(3), "length");
    differs(|c| c.batch_size = 4, "batch_size");
    differs(|c| c.seed = 1, "seed");
    differs(|c| c.label = "stripes".to_owned(), "label");
    differs(|c| c.clip_norm = Some(1.0), "clip_norm");
    assert!(reason(config(), 4, 40).contains("32 samples"));
    let reason = reason(config(), 5, SAMPLES);
    assert!(
        reason.contains("first.") && reason.contains('5'),
        "{reason}"
    );
}

#[test]
fn what_is_no_checkpoint_is_refused() {
    assert!(matches!(
        resume(&[]),
        Err(Error::Truncated {
            needed: 36,
            found: 0,
            ..
        })
    ));
    let other = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap();
    assert!(matches!(resume(&other), Err(Error::WrongMagic { .. })));
    let mut newer = good().to_vec();
    newer[8] = 2;
    assert!(
        matches!(resume(&newer), Err(Error::Checkpoint { reason, .. }) if reason.contains("version 2"))
    );
    let longer = [good(), &[0]].concat();
    assert!(matches!(resume(&longer), Err(Error::Checkpoint { .. })));
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(
        train(folder.path(), config(), 4, SAMPLES),
        Err(Error::Io { .. })
    ));
    let nowhere = folder.path().join("missing").join("run.checkpoint");
    assert!(matches!(
        train(&nowhere, config(), 4, SAMPLES),
        Err(Error::Io { .. })
    ));
}

#[test]
fn sealed_nonsense_is_refused() {
    let empty = safetensors::serialize(
        Vec::<(String, safetensors::tensor::TensorView)>::new(),
        None,
    )
    .unwrap();
    for contents in [&b""[..], b"nonsense", &empty] {
        assert!(matches!(
            resume(&sealed(contents)),
            Err(Error::Checkpoint { .. })
        ));
    }
    // A tensor under another name, and a weight that is infinite.
    let text = |from: &str, to: &str| {
        assert_eq!(from.len(), to.len());
        let mut contents = good()[36..].to_vec();
        let at = contents
            .windows(from.len())
            .position(|w| w == from.as_bytes())
            .unwrap();
        contents[at..at + to.len()].copy_from_slice(to.as_bytes());
        resume(&sealed(&contents))
    };
    for (from, to) in [
        ("weights/first.bias", "weights/first.bios"),
        ("momentum/first.bias", "momentum/first.bios"),
        ("momentum/first.bias", "momentun/first.bias"),
        ("history/rate", "history/rite"),
        (r#"\"steps\":8"#, r#"\"steps\":9"#),
    ] {
        let result = text(from, to);
        assert!(
            matches!(result, Err(Error::Checkpoint { .. })),
            "{from}: {result:?}"
        );
    }
    let weights = safetensors::SafeTensors::deserialize(&good()[36..]).unwrap();
    let place = weights
        .tensor("weights/second.bias")
        .unwrap()
        .data()
        .as_ptr() as usize
        - good().as_ptr() as usize;
    let mut contents = good()[36..].to_vec();
    contents[place - 36..place - 32].copy_from_slice(&f32::INFINITY.to_le_bytes());
    let result = resume(&sealed(&contents));
    assert!(
        matches!(result, Err(Error::Checkpoint { ref reason, .. }) if reason.contains("second.bias")),
        "{result:?}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn truncated_checkpoints_are_refused(part in 0.0..1.0_f64) {
        let length = (part * good().len() as f64) as usize;
        let result = resume(&good()[..length]);
        let truncated = matches!(result, Err(Error::Truncated { found, .. }) if found == length as u64);
        prop_assert!(truncated);
    }

    #[test]
    fn flipped_bits_are_noticed(part in 0.0..1.0_f64, header in any::<bool>(), bit in 0..8_u32) {
        let mut bytes = good().to_vec();
        let place = (part * if header { 36.0 } else { bytes.len() as f64 }) as usize;
        bytes[place] ^= 1 << bit;
        prop_assert!(resume(&bytes).is_err());
    }

    /// Somebody who can compute a checksum can write other weights, but not make the program panic.
    #[test]
    fn sealed_damage_does_not_panic(
        changes in prop::collection::vec((0.0..1.0_f64, any::<bool>(), any::<u8>()), 1..4),
        cut in prop::option::of(0.0..1.0_f64),
    ) {
        let mut contents = good()[36..].to_vec();
        // The text, which is the first part, is where the structure is.
        let text = 8 + u64::from_le_bytes(contents[..8].try_into().unwrap()) as usize;
        for (part, in_text, value) in changes {
            let place = (part * if in_text { text } else { contents.len() } as f64) as usize;
            contents[place] = value;
        }
        if let Some(cut) = cut {
            contents.truncate((cut * contents.len() as f64) as usize);
        }
        let (_folder, path) = file(&sealed(&contents));
        let _ = train(&path, config(), 4, SAMPLES);
    }
}
