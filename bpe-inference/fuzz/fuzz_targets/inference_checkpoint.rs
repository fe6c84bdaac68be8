//! Changes to the checkpoint of a finished inference, with a checksum that fits: pairs of a place (two bytes) and its new value. A
//! first byte that is odd cuts the file at the first place.

#![no_main]

use std::sync::LazyLock;

use bpe_inference::words::WordCounts;
use bpe_inference::{BpeTrainer, Category, PairTrace, TraceOptions};
use libfuzzer_sys::fuzz_target;
use xxhash_rust::xxh3::xxh3_64;

/// Magic and checksum.
const FRAME: usize = 16;

static TRACE: LazyLock<PairTrace> = LazyLock::new(|| {
    let category = |name: &str, words: [(&str, u64); 3]| {
        Category::new(name, WordCounts::from_counts(words))
    };
    let categories = [
        category("a", [("abab", 50), ("ba", 20), ("aabb", 30)]),
        category("b", [("cdcd", 40), ("dc", 30), ("abdd", 30)]),
    ];
    let mixture = WordCounts::from_counts([("abab", 150), ("ba", 61), ("aabb", 90), ("cdcd", 35), ("dc", 33)]);
    let (list, _) = BpeTrainer::new(8).train(&mixture).expect("training");
    PairTrace::build(&list, &categories, 8, &TraceOptions::new()).expect("trace")
});

static FOLDER: LazyLock<tempfile::TempDir> =
    LazyLock::new(|| tempfile::tempdir().expect("temporary folder"));

static STATE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let path = FOLDER.path().join("whole");
    let inference = bpe_inference_fuzz::quick_inference().with_checkpoint(&path);
    inference.run(&TRACE).expect("inference");
    std::fs::read(path).expect("the state")
});

fuzz_target!(|input: &[u8]| {
    let Some((&first, changes)) = input.split_first() else {
        return;
    };
    let mut bytes = STATE.clone();
    let places = changes.as_chunks::<3>().0.iter().map(|&[low, high, value]| {
        let place = usize::from(u16::from_le_bytes([low, high]));
        (FRAME + place % (STATE.len() - FRAME), value)
    });
    for (place, value) in places.clone() {
        bytes[place] = value;
    }
    if let (1, Some((place, _))) = (first % 2, places.clone().next()) {
        bytes.truncate(place);
    }
    let sum = xxh3_64(&bytes[FRAME..]).to_le_bytes();
    bytes[8..FRAME].copy_from_slice(&sum);
    let path = FOLDER.path().join("changed");
    std::fs::write(&path, &bytes).expect("the folder can be written to");
    // An error, or an estimate from other numbers.
    let _ = bpe_inference_fuzz::quick_inference()
        .with_checkpoint(&path)
        .run(&TRACE);
});
