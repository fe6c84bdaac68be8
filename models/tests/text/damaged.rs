//! Damaged and hostile files are refused: at once, with the place, and without a panic.

use std::time::{Duration, Instant};

use fire_assay_models::Error;
use fire_assay_models::gguf::GgufFile;
use fire_assay_models::lm::{CausalLm, GgufCheckpoint, LmTokenizer};
use fire_assay_models::tensors::TensorSource;
use proptest::prelude::*;

use crate::writer::{Writer, array, kind, text};
use crate::{data, device, read, refusal};

/// A file with something of everything.
fn small() -> Writer {
    let nested = array(kind::ARRAY, 1, &array(kind::U8, 3, &[1, 2, 3]));
    Writer::new()
        .string("general.architecture", "test")
        .raw("nested", kind::ARRAY, &nested)
        .boolean("flag", true)
        .strings("names", &["a", "", "ccc"])
        .f32("x", 0.5)
        .floats("plain", &[3, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
        .tensor("quantised", &[32], 8, &[1; 34])
}

#[test]
fn every_beginning_of_a_file_is_truncated() {
    let bytes = small().bytes();
    assert!(read(bytes.as_slice()).is_ok());
    for length in 0..bytes.len() {
        match refusal(read(&bytes[..length])) {
            Error::Truncated { needed, found, .. } => {
                assert_eq!(found, length as u64);
                assert!(
                    needed > found && needed <= bytes.len() as u64,
                    "{length}: {needed}"
                );
            }
            other => panic!("the first {length} bytes: {other}"),
        }
    }
}

#[test]
fn other_files_are_told_by_their_first_bytes() {
    for bytes in [b"PK\x03\x04 and more".as_slice(), b"GGU0", b"X"] {
        match refusal(read(bytes)) {
            Error::WrongMagic { format, found, .. } => {
                assert_eq!(format, "GGUF");
                assert!(bytes.starts_with(&found));
            }
            other => panic!("{other}"),
        }
    }
}

/// The reason why a file is refused.
fn reason(bytes: &[u8]) -> String {
    match refusal(read(bytes)) {
        Error::Parse {
            path,
            format,
            reason,
        } => {
            assert_eq!((path.to_str(), format), (Some("memory.gguf"), "GGUF"));
            reason
        }
        other => panic!("{other}"),
    }
}

#[test]
fn what_breaks_the_format_is_named_with_its_place() {
    let versions = [
        (1, "version 1"),
        (4, "version 4"),
        (3_u32.swap_bytes(), "big-endian"),
    ];
    for (version, wanted) in versions {
        let mut writer = small();
        writer.version = version;
        let found = reason(&writer.bytes());
        assert!(
            found.contains(wanted) && found.starts_with("at byte 4"),
            "{found}"
        );
    }
    // The first entry begins after 24 bytes; its type follows a length and a key of 3 bytes.
    let entry = |kind, value: &[u8]| Writer::new().raw("key", kind, value).bytes();
    let mut deep = array(kind::U8, 0, &[]);
    for _ in 0..9 {
        deep = array(kind::ARRAY, 1, &deep);
    }
    let second = Writer::new().u32("key", 1).u32("key", 2).bytes();
    let bad_utf8 = [3_u64.to_le_bytes().as_slice(), b"ab\xff"].concat();
    for (bytes, place, wanted) in [
        (entry(13, &[0; 8]), 39, "unknown type 13"),
        (
            entry(kind::ARRAY, &array(13, 0, &[])),
            39,
            "unknown type 13",
        ),
        (entry(kind::BOOL, &[2]), 39, "truth value of 2"),
        (entry(kind::STRING, &bad_utf8), 49, "UTF-8"),
        (entry(kind::ARRAY, &deep), 39 + 8 * 12, "nested too deep"),
        (second, 43, "second value for `key`"),
    ] {
        let found = reason(&bytes);
        assert!(found.contains(wanted), "{found}");
        assert!(found.starts_with(&format!("at byte {place}:")), "{found}");
    }
    let tensor = |dimensions: &[u64], kind, offset| {
        Writer::new().info("t", dimensions, kind, offset).bytes()
    };
    for (bytes, wanted) in [
        (tensor(&[1; 5], 0, 0), "5 axes"),
        (tensor(&[33], 8, 0), "rows of 33 values of type Q8_0"),
        (tensor(&[], 8, 0), "rows of 1 values"),
        (tensor(&[1 << 40, 1 << 40], 0, 0), "larger than any file"),
        (tensor(&[u64::MAX, 2], 1, 0), "larger than any file"),
        (tensor(&[1], 0, 8), "no multiple of 32"),
        (
            Writer::new()
                .floats("t", &[1], &[0.0])
                .info("t", &[1], 0, 0)
                .bytes(),
            "second tensor `t`",
        ),
        (small().u32("general.alignment", 0).bytes(), "power of two"),
        (small().u32("general.alignment", 24).bytes(), "power of two"),
        (
            small().string("general.alignment", "32").bytes(),
            "power of two",
        ),
    ] {
        let found = reason(&bytes);
        assert!(found.contains(wanted), "{found}");
    }
}

#[test]
fn promises_of_more_than_the_file_has_cost_nothing() {
    let start = Instant::now();
    let entry = |kind, value: &[u8]| Writer::new().raw("key", kind, value).bytes();
    let huge = [1 << 30, 1 << 45, u64::MAX / 2, u64::MAX];
    for length in huge {
        let nested = array(kind::ARRAY, 1, &array(kind::U64, length, &[]));
        for bytes in [
            small().bytes_with_counts(length, 0),
            small().bytes_with_counts(0, length),
            entry(kind::STRING, &length.to_le_bytes()),
            entry(kind::ARRAY, &array(kind::U8, length, &[])),
            entry(kind::ARRAY, &array(kind::U64, length, &[])),
            entry(kind::ARRAY, &array(kind::BOOL, length, &[])),
            entry(kind::ARRAY, &array(kind::STRING, length, &text("x"))),
            entry(
                kind::ARRAY,
                &array(kind::ARRAY, length, &array(kind::U8, 0, &[])),
            ),
            entry(kind::ARRAY, &nested),
            Writer::new()
                .info("t", &[length.min(1 << 50) / 32 * 32], 2, 0)
                .bytes(),
            Writer::new().info("t", &[1], 0, length / 32 * 32).bytes(),
        ] {
            match refusal(read(bytes.as_slice())) {
                Error::Truncated { needed, found, .. } => {
                    assert!(needed > found && found == bytes.len() as u64);
                }
                other => panic!("{length}: {other}"),
            }
        }
    }
    assert!(start.elapsed() < Duration::from_secs(5));
}

/// Does with a file all that can be done with one.
fn use_all(bytes: Vec<u8>) {
    let Ok(file) = read(bytes) else { return };
    for name in file.names() {
        let shape = file.shape(&name).unwrap();
        if let Ok(tensor) = file.read(&name) {
            assert_eq!(tensor.shape(), shape);
            assert!(tensor.values().iter().all(|value| value.is_finite()));
        }
    }
    if let Ok(tokenizer) = LmTokenizer::from_gguf(&file) {
        let tokens = tokenizer.encode("the cat\n1", true).unwrap();
        let _ = tokenizer.decode(&tokens, false);
    }
    if let Ok(checkpoint) = GgufCheckpoint::new(file) {
        // A larger context is not an error, but takes memory to use.
        let _ = CausalLm::from_tensors(checkpoint.config(), &checkpoint, &device());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn changed_bytes_never_panic(
        which in 0_usize..3,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        in_front in any::<bool>(),
    ) {
        let names = ["gguf/types.gguf", "gguf/llama.gguf", "gguf/gpt2.gguf"];
        let mut bytes = std::fs::read(data(names[which])).unwrap();
        let reach = if in_front { 4000 } else { bytes.len() };
        for (place, value) in changes {
            bytes[place.index(reach)] = value;
        }
        use_all(bytes);
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    match refusal(GgufFile::open("absent/model.gguf")) {
        Error::Io { path, .. } => assert_eq!(path.to_str(), Some("absent/model.gguf")),
        other => panic!("{other}"),
    }
}
