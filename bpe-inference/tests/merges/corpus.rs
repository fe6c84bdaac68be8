//! The seeds of the fuzz targets are valid files, so that fuzzing starts behind the first checks.

use std::path::Path;

use bpe_inference::lp::MixtureLp;
use bpe_inference::merges::{Alphabet, Format, MergeList, ReadOptions};
use bpe_inference::pretokenizer::TextPipeline;
use bpe_inference::trace::{OfficialCounts, PairTrace};

use crate::skip;

/// The files of a target's corpus; `None` where there are no targets.
fn seeds(target: &str) -> Option<Vec<Vec<u8>>> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    if !corpus.exists() {
        skip::skipped("seeds of the fuzz targets", "the published crate has none");
        return None;
    }
    let files = std::fs::read_dir(corpus.join(target)).unwrap();
    let seeds: Vec<Vec<u8>> = files
        .map(|seed| std::fs::read(seed.unwrap().path()).unwrap())
        .collect();
    assert!(!seeds.is_empty(), "{target}");
    Some(seeds)
}

#[test]
fn seeds_of_every_tokenizer_format_are_read() {
    for (target, format) in [
        ("hugging_face", Format::HuggingFace),
        ("merges_txt", Format::MergesTxt),
        ("tiktoken", Format::Tiktoken),
        ("tekken", Format::Tekken),
        ("anthropic", Format::Anthropic),
        ("sentencepiece", Format::SentencePiece),
        ("gguf", Format::Gguf),
        ("javascript", Format::JavaScript),
    ] {
        for bytes in seeds(target).unwrap_or_default() {
            let (list, _) = MergeList::read(&bytes, format, &ReadOptions::default()).unwrap();
            assert!(list.merges().len() >= 2, "{target}");
        }
    }
}

/// The targets mend checksums before they read, so seeds are kept without.
#[test]
fn seeds_of_the_other_targets_are_read() {
    let mended = |bytes: Vec<u8>| {
        let (body, _) = bytes.split_last_chunk::<8>().unwrap();
        [body, &xxhash_rust::xxh3::xxh3_64(body).to_le_bytes()].concat()
    };
    for bytes in seeds("trace").unwrap_or_default() {
        assert!(PairTrace::from_bytes(&mended(bytes)).unwrap().steps() > 0);
    }
    for bytes in seeds("linear_program").unwrap_or_default() {
        assert!(MixtureLp::from_bytes(&mended(bytes)).unwrap().rows() > 0);
    }
    let parts = [("a", "b"), (" ", "ab"), ("c", "d")];
    let list = MergeList::from_parts(Alphabet::Bytes, parts).unwrap();
    for json in seeds("official").unwrap_or_default() {
        let file = |name| OfficialCounts {
            name,
            bytes: 9,
            json: &json,
        };
        PairTrace::from_official_json(&list, &[file("x"), file("y")]).unwrap();
    }
    for name in seeds("pipeline").unwrap_or_default() {
        let name = String::from_utf8(name).unwrap();
        name.parse::<TextPipeline>().unwrap();
    }
}
