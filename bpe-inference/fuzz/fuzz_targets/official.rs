//! Arbitrary bytes as the count file of one category of the paper's programs, beside a good one.

#![no_main]

use std::sync::LazyLock;

use bpe_inference::merges::{Alphabet, MergeList};
use bpe_inference::trace::{OfficialCounts, PairTrace};
use libfuzzer_sys::fuzz_target;

static LIST: LazyLock<MergeList> = LazyLock::new(|| {
    let parts = [("a", "b"), (" ", "ab"), ("c", "d")];
    MergeList::from_parts(Alphabet::Bytes, parts).expect("letters and products")
});

fuzz_target!(|bytes: &[u8]| {
    let file = |name, json| OfficialCounts {
        name,
        bytes: 9,
        json,
    };
    let good = br#"[{"a b":5,"c d":2},{"a b":0}]"#;
    let files = [file("good", good.as_slice()), file("other", bytes)];
    if let Ok(trace) = PairTrace::from_official_json(&LIST, &files) {
        bpe_inference_fuzz::check_trace(&trace);
        let written = [0, 1].map(|k| trace.to_official_json(&LIST, k).expect("a category"));
        let files = [
            file("good", written[0].as_bytes()),
            file("other", written[1].as_bytes()),
        ];
        assert_eq!(PairTrace::from_official_json(&LIST, &files).ok(), Some(trace));
    }
});
