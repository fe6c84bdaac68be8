//! The seeds of the fuzz targets are valid files, so that fuzzing starts behind the first checks.

use std::path::Path;

use bpe_inference::merges::{Format, MergeList, ReadOptions};

#[test]
fn seeds_of_every_target_are_read() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    if !corpus.exists() {
        println!("SKIPPED: the published crate has no fuzz targets");
        return;
    }
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
        let seeds: Vec<_> = std::fs::read_dir(corpus.join(target)).unwrap().collect();
        assert!(!seeds.is_empty(), "{target}");
        for seed in seeds {
            let path = seed.unwrap().path();
            let bytes = std::fs::read(&path).unwrap();
            let (list, _) = MergeList::read(&bytes, format, &ReadOptions::default()).unwrap();
            assert!(list.merges().len() >= 2, "{}", path.display());
        }
    }
}
