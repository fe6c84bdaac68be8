//! Generation: what it writes is what the model says, whichever way it is asked.

use std::ops::ControlFlow;
use std::sync::atomic::AtomicBool;

use fire_assay_models::Error;
use fire_assay_models::lm::{
    CausalLm, GenerateOptions, Generation, Generator, GgufCheckpoint, LmConfig, LmTokenizer,
    Sampling, Stop, TokenBatch,
};
use fire_assay_models::tensors::HostTensor;
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::tokenizer::{pieces, sentencepiece};
use crate::{data, device, read, refusal};

const PROMPT: [u32; 5] = [3, 1, 4, 1, 5];

fn random() -> CausalLm {
    let config = LmConfig {
        context: 40,
        eos: vec![7],
        ..LmConfig::nano()
    };
    CausalLm::init(&config, 5, &device()).unwrap()
}

fn llama() -> (CausalLm, LmTokenizer) {
    CausalLm::from_gguf(data("gguf/llama.gguf"), &device()).unwrap()
}

fn rng() -> StdRng {
    StdRng::seed_from_u64(11)
}

fn hot(tokens: usize) -> GenerateOptions {
    GenerateOptions {
        stop_at_end: false,
        ..GenerateOptions::new(Sampling::temperature(1.5), tokens)
    }
}

/// Continues by reading everything again for every token.
fn without_cache(model: &CausalLm, prompt: &[u32], tokens: usize) -> Vec<u32> {
    let mut text = prompt.to_vec();
    for _ in 0..tokens {
        let logits = model
            .next_logits(&TokenBatch::single(&text).unwrap(), None)
            .unwrap();
        let logits = HostTensor::from_tensor(&logits).unwrap();
        text.push(
            Sampling::greedy()
                .sample(logits.values(), &text, &mut rng())
                .unwrap(),
        );
    }
    text.split_off(prompt.len())
}

fn assert_same(a: &Generation, b: &Generation) {
    assert_eq!((&a.tokens, &a.stop), (&b.tokens, &b.stop));
    for (a, b) in a.log_probabilities.iter().zip(&b.log_probabilities) {
        assert!((a - b).abs() < 1e-4, "{a} and {b}");
    }
}

#[test]
fn the_cache_changes_nothing() {
    let (model, _) = llama();
    let options = GenerateOptions {
        sampling: Sampling::greedy(),
        ..hot(20)
    };
    let found = model.generate(&PROMPT, &options, &mut rng()).unwrap();
    assert_eq!(found.tokens, without_cache(&model, &PROMPT, 20));
    assert_eq!(found.stop, Stop::Length);
}

#[test]
fn log_probabilities_are_those_of_the_model() {
    let model = random();
    // The penalty changes what is drawn, not what is reported.
    let mut options = hot(12);
    options.sampling = options.sampling.with_repetition_penalty(1.5).with_top_k(50);
    let found = model.generate(&PROMPT, &options, &mut rng()).unwrap();
    let text = [PROMPT.as_slice(), &found.tokens].concat();
    let expected = model
        .token_log_probabilities(&TokenBatch::single(&text).unwrap())
        .unwrap();
    let expected = &expected[0][expected[0].len() - 12..];
    assert_eq!(found.log_probabilities.len(), 12);
    for (found, expected) in found.log_probabilities.iter().zip(expected) {
        assert!(
            (found - expected).abs() < 1e-4,
            "{found}, expected {expected}"
        );
    }
}

#[test]
fn many_continuations_are_independent_of_each_other() {
    let model = random();
    let generator = Generator::new(&model, hot(10)).unwrap();
    let many = generator.generate_many(&PROMPT, 4, &mut rng()).unwrap();
    let fewer = generator.generate_many(&PROMPT, 2, &mut rng()).unwrap();
    let single = generator.generate(&PROMPT, &mut rng()).unwrap();
    let batch = generator.generate_batch(&[PROMPT; 4], &mut rng()).unwrap();
    assert_same(&many[0], &single);
    for (a, b) in many.iter().zip(&fewer).chain(many.iter().zip(&batch)) {
        assert_same(a, b);
    }
    assert!(
        many.iter().any(|other| other.tokens != many[0].tokens),
        "all are the same"
    );
    assert!(
        generator
            .generate_many(&PROMPT, 0, &mut rng())
            .unwrap()
            .is_empty()
    );
}

#[test]
fn a_batch_of_different_lengths_is_each_alone() {
    let model = random();
    let prompts: [&[u32]; 3] = [&[9], &PROMPT, &[8, 8, 8, 8, 8, 8, 8, 8, 2]];
    let generator = Generator::new(&model, hot(8)).unwrap();
    let batch = generator.generate_batch(&prompts, &mut rng()).unwrap();
    let mut rng = rng();
    for (prompt, found) in prompts.into_iter().zip(&batch) {
        assert_same(found, &generator.generate(prompt, &mut rng).unwrap());
    }
}

#[test]
fn rows_stop_on_their_own_and_leave_the_others_alone() {
    let model = random();
    let free = Generator::new(&model, hot(12))
        .unwrap()
        .generate_many(&PROMPT, 6, &mut rng())
        .unwrap();
    // A token that some rows have and not at the same place.
    let stopper = free[0].tokens[4];
    let options = GenerateOptions {
        stop_tokens: vec![stopper],
        ..hot(12)
    };
    let stopped = Generator::new(&model, options)
        .unwrap()
        .generate_many(&PROMPT, 6, &mut rng())
        .unwrap();
    for (stopped, free) in stopped.iter().zip(&free) {
        let place = free.tokens.iter().position(|&token| token == stopper);
        let expected = &free.tokens[..place.map_or(12, |place| place + 1)];
        assert_eq!(stopped.tokens, expected);
        assert_eq!(stopped.log_probabilities.len(), expected.len());
        assert_eq!(
            stopped.stop,
            place.map_or(Stop::Length, |_| Stop::Token(stopper))
        );
    }
    assert!(stopped.iter().any(|row| row.tokens.len() < 12));
    assert!(stopped.iter().any(|row| row.tokens.len() == 12));
}

#[test]
fn the_models_own_end_counts_unless_it_is_switched_off() {
    let (mut model, _) = llama();
    let options = GenerateOptions::new(Sampling::greedy(), 20);
    let free = GenerateOptions {
        stop_at_end: false,
        ..options.clone()
    };
    let written = model.generate(&PROMPT, &free, &mut rng()).unwrap().tokens;
    let end = written[6];
    let checkpoint = GgufCheckpoint::open(data("gguf/llama.gguf")).unwrap();
    let config = LmConfig {
        eos: vec![63, end],
        ..checkpoint.config().clone()
    };
    model = CausalLm::from_tensors(&config, &checkpoint, &device()).unwrap();
    let first = written.iter().position(|&token| token == end).unwrap();
    let found = model.generate(&PROMPT, &options, &mut rng()).unwrap();
    assert_eq!(
        (found.tokens.as_slice(), found.stop),
        (&written[..=first], Stop::Token(end))
    );
    assert_eq!(
        model.generate(&PROMPT, &free, &mut rng()).unwrap().tokens,
        written
    );
}

#[test]
fn the_end_that_only_the_tokenizers_files_name_counts_too() {
    let checkpoint = GgufCheckpoint::open(data("gguf/llama.gguf")).unwrap();
    let config = LmConfig {
        eos: vec![63],
        ..checkpoint.config().clone()
    };
    let model = CausalLm::from_tensors(&config, &checkpoint, &device()).unwrap();
    let options = GenerateOptions::new(Sampling::greedy(), 20);
    let written = model.generate(&PROMPT, &options, &mut rng()).unwrap();
    assert_eq!((written.tokens.len(), written.stop), (20, Stop::Length));
    let end = written.tokens[6];
    let first = written.tokens.iter().position(|&token| token == end);

    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::copy(data("lm/llama/tokenizer.json"), path("tokenizer.json")).unwrap();
    let settings = format!(r#"{{"eos_token_id": [{end}]}}"#);
    std::fs::write(path("generation_config.json"), settings).unwrap();
    let tokenizer = LmTokenizer::open(folder.path()).unwrap();
    let with = |options| {
        let generator = Generator::new(&model, options).unwrap();
        let generator = generator.with_tokenizer(&tokenizer);
        generator.generate(&PROMPT, &mut rng()).unwrap()
    };
    let found = with(options.clone());
    assert_eq!(found.tokens, written.tokens[..=first.unwrap()]);
    assert_eq!(found.stop, Stop::Token(end));
    let free = GenerateOptions {
        stop_at_end: false,
        ..options
    };
    assert_eq!(with(free).tokens, written.tokens);
}

#[test]
fn stop_strings_are_found_across_tokens() {
    let (model, tokenizer) = llama();
    let greedy = |strings: &[&str]| GenerateOptions {
        sampling: Sampling::greedy(),
        stop_strings: strings.iter().map(|string| string.to_string()).collect(),
        ..hot(20)
    };
    let free = model
        .generate(&PROMPT, &greedy(&[]), &mut rng())
        .unwrap()
        .tokens;
    let text = tokenizer.decode(&free, false).unwrap();
    println!("{text:?}");
    // Every string of three characters: it stops where the text first has it.
    let starts: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
    for window in starts.windows(4).skip(3).step_by(3) {
        let string = &text[window[0]..window[3]];
        let options = greedy(&["never there", string]);
        let generator = Generator::new(&model, options)
            .unwrap()
            .with_tokenizer(&tokenizer);
        let found = generator.generate(&PROMPT, &mut rng()).unwrap();
        assert_eq!(found.stop, Stop::String(string.to_owned()));
        let length = found.tokens.len();
        assert_eq!(found.tokens, free[..length]);
        let decode = |tokens: &[u32]| tokenizer.decode(tokens, false).unwrap();
        assert!(decode(&free[..length]).contains(string));
        assert!(!decode(&free[..length - 1]).contains(string));
    }
    let error = refusal(model.generate(&PROMPT, &greedy(&["x"]), &mut rng()));
    assert!(matches!(&error, Error::InvalidInput { reason } if reason.contains("tokenizer")));
    let error = refusal(Generator::new(&model, greedy(&[""])));
    assert!(matches!(&error, Error::InvalidConfig { field, .. } if field == "stop_strings"));
}

#[test]
fn stop_strings_may_begin_with_the_space_behind_the_prompt() {
    let pieces = pieces();
    let file = read(sentencepiece(&pieces).bytes()).unwrap();
    let tokenizer = LmTokenizer::from_gguf(&file).unwrap();
    let config = LmConfig {
        vocabulary: pieces.len(),
        ..LmConfig::nano()
    };
    let model = CausalLm::init(&config, 5, &device()).unwrap();
    let options = |stop: &[String]| GenerateOptions {
        sampling: Sampling::greedy(),
        stop_strings: stop.to_vec(),
        ..hot(3)
    };
    let prompts: Vec<[u32; 1]> = (3..pieces.len() as u32).map(|token| [token]).collect();
    let free = Generator::new(&model, options(&[])).unwrap();
    let free = free.generate_batch(&prompts, &mut rng()).unwrap();
    let mut tried = 0;
    for (prompt, free) in prompts.iter().zip(free) {
        // Prompts that the model goes on from with a new word.
        let piece = &pieces[free.tokens[0] as usize].0;
        if piece.len() < "▁a".len() || !piece.starts_with('▁') || piece.starts_with("▁▁") {
            continue;
        }
        let stop = piece.replace('▁', " ");
        let generator = Generator::new(&model, options(std::slice::from_ref(&stop))).unwrap();
        let generator = generator.with_tokenizer(&tokenizer);
        let found = generator.generate(prompt, &mut rng()).unwrap();
        assert_eq!((found.tokens.len(), found.stop), (1, Stop::String(stop)));
        tried += 1;
    }
    assert!(tried > 0);
}

#[test]
fn a_full_context_ends_it() {
    let model = random();
    let found = model.generate(&PROMPT, &hot(1000), &mut rng()).unwrap();
    // The token after a full context can still be said, but not read.
    assert_eq!(
        (found.tokens.len(), found.stop),
        (40 - 5 + 1, Stop::Context)
    );
    let full = [1; 40];
    let found = model.generate(&full, &hot(1000), &mut rng()).unwrap();
    assert_eq!((found.tokens.len(), found.stop), (1, Stop::Context));
    let error = refusal(model.generate(&[1; 41], &hot(1), &mut rng()));
    assert!(matches!(&error, Error::InvalidInput { reason } if reason.contains("41")));
    // Rows of a batch fill their contexts at different times.
    let generator = Generator::new(&model, hot(1000)).unwrap();
    let prompts: [&[u32]; 2] = [&[1; 3], &[1; 30]];
    let batch = generator.generate_batch(&prompts, &mut rng()).unwrap();
    assert_eq!(
        batch.iter().map(|row| row.tokens.len()).collect::<Vec<_>>(),
        [38, 11]
    );
}

#[test]
fn the_caller_sees_every_token_and_can_end_it() {
    let model = random();
    let generator = Generator::new(&model, hot(10)).unwrap();
    let whole = generator.generate(&PROMPT, &mut rng()).unwrap();
    let mut seen = Vec::new();
    let found = generator
        .stream(&PROMPT, &mut rng(), |token| {
            seen.push(token);
            match seen.len() {
                4 => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        })
        .unwrap();
    assert_eq!(found.stop, Stop::Caller);
    assert_eq!(
        (&found.tokens, seen.as_slice()),
        (&seen, &whole.tokens[..4])
    );

    let cancel = AtomicBool::new(false);
    let cancelled = generator.clone().with_cancel(&cancel);
    let result = cancelled.stream(&PROMPT, &mut rng(), |_| {
        cancel.store(true, std::sync::atomic::Ordering::Relaxed);
        ControlFlow::Continue(())
    });
    assert!(matches!(refusal(result), Error::Cancelled { step: 1 }));
}

#[test]
fn nothing_is_written_where_nothing_is_asked() {
    let found = random().generate(&PROMPT, &hot(0), &mut rng()).unwrap();
    assert_eq!((found.tokens.len(), found.stop), (0, Stop::Length));
}

#[test]
fn wrong_input_is_refused() {
    let model = random();
    assert!(matches!(
        refusal(model.generate(&[], &hot(3), &mut rng())),
        Error::InvalidInput { .. }
    ));
    match refusal(model.generate(&[1, 512], &hot(3), &mut rng())) {
        Error::TokenOutOfRange {
            token,
            position,
            vocabulary,
        } => assert_eq!((token, position, vocabulary), (512, 1, 512)),
        other => panic!("{other}"),
    }
    let options = GenerateOptions {
        stop_tokens: vec![512],
        ..hot(3)
    };
    assert!(matches!(
        refusal(Generator::new(&model, options)),
        Error::TokenOutOfRange { token: 512, .. }
    ));
    let options = GenerateOptions::new(Sampling::temperature(-1.0), 3);
    assert!(matches!(
        refusal(Generator::new(&model, options)),
        Error::InvalidConfig { .. }
    ));
}

#[test]
fn options_survive_being_saved() {
    let options = GenerateOptions {
        stop_strings: vec!["x".to_owned()],
        sampling: Sampling::temperature(0.7).with_top_p(0.9),
        ..hot(3)
    };
    let text = serde_json::to_string(&options).unwrap();
    assert_eq!(
        serde_json::from_str::<GenerateOptions>(&text).unwrap(),
        options
    );
    let sparse: GenerateOptions = serde_json::from_str(r#"{"max_tokens": 5}"#).unwrap();
    assert_eq!(
        sparse,
        GenerateOptions {
            max_tokens: 5,
            ..GenerateOptions::default()
        }
    );
}
