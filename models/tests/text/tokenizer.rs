//! Tokenizers give what the package `tokenizers` gave (`tests/data/make/lm.py`), from every kind of file, and say what
//! is wrong with one.

use std::collections::HashMap;

use fire_assay_models::gguf::GgufFile;
use fire_assay_models::lm::LmTokenizer;
use fire_assay_models::{Error, Result};
use proptest::prelude::*;
use serde_json::Value;

use crate::writer::{Writer, array, kind};
use crate::{data, json, read, refusal};

fn in_memory(writer: &Writer) -> GgufFile {
    read(writer.bytes()).unwrap()
}

/// The letters that byte-level tokenizers write for bytes: printable ones for themselves, the others from `U+0100` on.
fn letters() -> Vec<char> {
    let printable = |byte: u32| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    let mut free = (256..).filter_map(char::from_u32);
    let letter = |byte| match printable(byte) {
        true => char::from_u32(byte),
        false => free.next(),
    };
    (0..256).filter_map(letter).collect()
}

/// A byte-level tokenizer with a token for every byte, these merges, and a control token at the end.
fn byte_level(rule: Option<&str>, merges: &[(&str, &str)]) -> Writer {
    let mut tokens: Vec<String> = letters().iter().map(char::to_string).collect();
    tokens.extend(merges.iter().map(|(left, right)| format!("{left}{right}")));
    tokens.push("<|end|>".to_owned());
    let mut kinds = vec![1_u32; tokens.len()];
    *kinds.last_mut().unwrap() = 3;
    let kinds: Vec<u8> = kinds.iter().flat_map(|kind| kind.to_le_bytes()).collect();
    let merges: Vec<String> = merges
        .iter()
        .map(|(left, right)| format!("{left} {right}"))
        .collect();
    let writer = Writer::new()
        .string("tokenizer.ggml.model", "gpt2")
        .strings("tokenizer.ggml.tokens", &tokens)
        .strings("tokenizer.ggml.merges", &merges)
        .raw(
            "tokenizer.ggml.token_type",
            kind::ARRAY,
            &array(5, tokens.len() as u64, &kinds),
        )
        .u32("tokenizer.ggml.bos_token_id", tokens.len() as u32 - 1)
        .u32("tokenizer.ggml.eos_token_id", tokens.len() as u32 - 1);
    match rule {
        Some(rule) => writer.string("tokenizer.ggml.pre", rule),
        None => writer,
    }
}

#[test]
fn encodings_are_those_of_the_reference() {
    let reference = json("lm/llama/tokenizer_reference.json");
    let file = GgufFile::open(data("gguf/llama.gguf")).unwrap();
    for tokenizer in [
        LmTokenizer::open(data("lm/llama")).unwrap(),
        LmTokenizer::from_gguf(&file).unwrap(),
    ] {
        let mut texts = Vec::new();
        let mut all = Vec::new();
        for case in reference["encodings"].as_array().unwrap() {
            let text = case["text"].as_str().unwrap();
            let expected: Vec<u32> = serde_json::from_value(case["ids"].clone()).unwrap();
            assert_eq!(tokenizer.encode(text, false).unwrap(), expected, "{text}");
            // The tokenizer puts nothing in front.
            assert_eq!(tokenizer.encode(text, true).unwrap(), expected, "{text}");
            // The vocabulary has no other bytes than those of ASCII.
            if text.is_ascii() {
                assert_eq!(tokenizer.decode(&expected, false).unwrap(), text);
            }
            texts.push(text);
            all.push(expected);
        }
        assert_eq!(tokenizer.encode_batch(&texts, false).unwrap(), all);
        assert_eq!(tokenizer.vocabulary(), 64);
        assert_eq!(tokenizer.bos(), tokenizer.id("<|endoftext|>"));
        assert_eq!(tokenizer.eos(), [tokenizer.id("<|im_end|>").unwrap()]);
        let the = tokenizer.id("Ġthe").unwrap();
        assert_eq!(tokenizer.token(the).as_deref(), Some("Ġthe"));
        assert_eq!(tokenizer.decode(&[1, the, 2], true).unwrap(), " the");
        assert_eq!(
            tokenizer.decode(&[1, the, 2], false).unwrap(),
            "<|im_start|> the<|im_end|>"
        );
        assert_eq!((tokenizer.token(64), tokenizer.id("zzz")), (None, None));
        match refusal(tokenizer.decode(&[3, 64], false)) {
            Error::TokenOutOfRange {
                token,
                position,
                vocabulary,
            } => assert_eq!((token, position, vocabulary), (64, 1, 64)),
            other => panic!("{other}"),
        }
        assert!(tokenizer.check_fits(64).is_ok() && tokenizer.check_fits(80).is_ok());
        let error = refusal(tokenizer.check_fits(63));
        assert!(matches!(
            error,
            Error::VocabularyMismatch {
                tokenizer: 64,
                network: 63,
                ..
            }
        ));
    }
}

#[test]
fn each_rule_cuts_numbers_words_and_lines_its_own_way() {
    let merges = [
        ("1", "2"),
        ("12", "3"),
        ("123", "4"),
        ("'", "S"),
        ("Ċ", "Ċ"),
        ("!", "Ċ"),
        ("(", "a"),
    ];
    let cut = |rule, text: &str| -> String {
        let tokenizer = LmTokenizer::from_gguf(&in_memory(&byte_level(rule, &merges))).unwrap();
        let tokens = tokenizer.encode(text, false).unwrap();
        assert_eq!(tokenizer.decode(&tokens, false).unwrap(), text);
        let spelt: Vec<String> = tokens
            .iter()
            .map(|&token| tokenizer.token(token).unwrap())
            .collect();
        spelt.join("·")
    };
    for (rule, numbers) in [
        (Some("gpt-2"), "1234"),
        (Some("smollm"), "1·2·3·4"),
        (Some("starcoder"), "1·2·3·4"),
        (Some("qwen2"), "1·2·3·4"),
        (Some("llama-bpe"), "123·4"),
    ] {
        assert_eq!(cut(rule, "1234"), numbers, "{rule:?}");
        let modern = matches!(rule, Some("qwen2" | "llama-bpe"));
        // GPT-2 knows contractions in lower case only, keeps line ends apart from what is before them, and brackets from
        // letters.
        assert_eq!(
            cut(rule, "X'S"),
            if modern { "X·'S" } else { "X·'·S" },
            "{rule:?}"
        );
        assert_eq!(
            cut(rule, "!\n"),
            if modern { "!Ċ" } else { "!·Ċ" },
            "{rule:?}"
        );
        assert_eq!(
            cut(rule, "(a"),
            if modern { "(a" } else { "(·a" },
            "{rule:?}"
        );
        assert_eq!(cut(rule, "\n\n"), "ĊĊ", "{rule:?}");
    }
    // Qwen2 composes characters: e and an acute accent become é, two bytes.
    let composed = LmTokenizer::from_gguf(&in_memory(&byte_level(Some("qwen2"), &merges))).unwrap();
    assert_eq!(
        composed.encode("e\u{301}", false).unwrap(),
        composed.encode("é", false).unwrap()
    );
    let error = refusal(LmTokenizer::from_gguf(&in_memory(&byte_level(
        Some("novel"),
        &merges,
    ))));
    assert!(
        matches!(&error, Error::Tokenizer { reason, .. } if reason.contains("novel")),
        "{error}"
    );
}

#[test]
fn a_rule_that_is_not_named_is_known_of_gpt2_alone() {
    for rule in [None, Some("default")] {
        let of = |architecture: &str| {
            let writer = byte_level(rule, &[("1", "2"), ("12", "3"), ("123", "4")]);
            let writer = writer.string("general.architecture", architecture);
            LmTokenizer::from_gguf(&in_memory(&writer))
        };
        assert_eq!(of("gpt2").unwrap().encode("1234", false).unwrap().len(), 1);
        for other in ["llama", "qwen2", "gptneox"] {
            let found = reason(of(other));
            assert!(found.contains("tokenizer.ggml.pre"), "{found}");
        }
    }
}

#[test]
fn a_first_and_a_last_token_are_added_where_the_file_asks() {
    let frame = |rule, bos: Option<bool>, eos: Option<bool>| -> (bool, bool) {
        let mut writer = byte_level(Some(rule), &[]);
        if let Some(bos) = bos {
            writer = writer.boolean("tokenizer.ggml.add_bos_token", bos);
        }
        if let Some(eos) = eos {
            writer = writer.boolean("tokenizer.ggml.add_eos_token", eos);
        }
        let tokenizer = LmTokenizer::from_gguf(&in_memory(&writer)).unwrap();
        let special = tokenizer.bos().unwrap();
        let plain = tokenizer.encode("x", false).unwrap();
        let framed = tokenizer.encode("x", true).unwrap();
        let begins = framed[0] == special;
        let rest = &framed[usize::from(begins)..];
        assert_eq!(rest[..plain.len()], plain);
        (begins, rest[plain.len()..] == [special])
    };
    assert_eq!(frame("gpt-2", None, None), (false, false));
    assert_eq!(frame("llama-bpe", None, None), (true, false));
    assert_eq!(frame("llama-bpe", Some(false), Some(true)), (false, true));
    assert_eq!(frame("gpt-2", Some(true), Some(true)), (true, true));
}

/// Pieces of a SentencePiece model and their scores: bytes are there for what has no piece.
pub(crate) fn pieces() -> Vec<(String, f32, u32)> {
    let mut pieces = vec![
        ("<unk>".to_owned(), 0.0, 2),
        ("<s>".to_owned(), 0.0, 3),
        ("</s>".to_owned(), 0.0, 3),
    ];
    pieces.extend((0..256).map(|byte| (format!("<0x{byte:02X}>"), 0.0, 6)));
    let learnt = [
        "▁a", "ab", "bc", "▁ab", "abc", "ca", "▁▁", "cab", "bca", "aa", "aaa", "▁abc", "é", "▁",
        "a", "b", "c",
    ];
    pieces.extend(
        (0..)
            .zip(learnt)
            .map(|(rank, piece)| (piece.to_owned(), -(rank as f32), 1)),
    );
    pieces
}

pub(crate) fn sentencepiece(pieces: &[(String, f32, u32)]) -> Writer {
    let tokens: Vec<&str> = pieces.iter().map(|(piece, ..)| piece.as_str()).collect();
    let scores: Vec<u8> = pieces
        .iter()
        .flat_map(|(_, score, _)| score.to_le_bytes())
        .collect();
    let kinds: Vec<u8> = pieces
        .iter()
        .flat_map(|(.., kind)| kind.to_le_bytes())
        .collect();
    let length = pieces.len() as u64;
    Writer::new()
        .string("tokenizer.ggml.model", "llama")
        .strings("tokenizer.ggml.tokens", &tokens)
        .raw(
            "tokenizer.ggml.scores",
            kind::ARRAY,
            &array(kind::F32, length, &scores),
        )
        .raw(
            "tokenizer.ggml.token_type",
            kind::ARRAY,
            &array(5, length, &kinds),
        )
        .u32("tokenizer.ggml.bos_token_id", 1)
        .u32("tokenizer.ggml.eos_token_id", 2)
}

/// SentencePiece's rule, done the plain way: join the adjacent pair whose join has the highest score, the first of
/// several, until none has a piece; then write what has no piece as bytes.
fn joined(text: &str, pieces: &[(String, f32, u32)]) -> Vec<String> {
    let known: HashMap<&str, f32> = pieces
        .iter()
        .filter(|(.., kind)| *kind == 1)
        .map(|(piece, score, _)| (piece.as_str(), *score))
        .collect();
    let text = format!("▁{}", text.replace(' ', "▁"));
    let mut parts: Vec<String> = text.chars().map(String::from).collect();
    loop {
        let mut best: Option<(f32, usize)> = None;
        for at in 1..parts.len() {
            let join = format!("{}{}", parts[at - 1], parts[at]);
            if let Some(&score) = known.get(join.as_str())
                && best.is_none_or(|(highest, _)| score > highest)
            {
                best = Some((score, at));
            }
        }
        let Some((_, at)) = best else { break };
        let right = parts.remove(at);
        parts[at - 1].push_str(&right);
    }
    let bytes = |part: String| match known.contains_key(part.as_str()) {
        true => vec![part],
        false => part.bytes().map(|byte| format!("<0x{byte:02X}>")).collect(),
    };
    parts.into_iter().flat_map(bytes).collect()
}

proptest! {
    #[test]
    fn sentencepiece_joins_the_highest_score_first(text in "[abc é☃]{1,24}") {
        let pieces = pieces();
        let tokenizer = LmTokenizer::from_gguf(&in_memory(&sentencepiece(&pieces))).unwrap();
        let tokens = tokenizer.encode(&text, false).unwrap();
        let spelt: Vec<String> = tokens.iter().map(|&token| tokenizer.token(token).unwrap()).collect();
        prop_assert_eq!(spelt, joined(&text, &pieces));
        prop_assert_eq!(tokenizer.decode(&tokens, true).unwrap(), text.clone());
        let framed = tokenizer.encode(&text, true).unwrap();
        prop_assert_eq!(framed, [&[1], tokens.as_slice()].concat());
    }

    /// Wherever a text is cut: its beginning and what the rest adds to it are the text.
    #[test]
    fn a_continuation_is_decoded_with_what_is_before_it(text in "[abc é☃]{1,24}", cut in any::<prop::sample::Index>()) {
        let byte = LmTokenizer::from_gguf(&in_memory(&byte_level(Some("gpt-2"), &[]))).unwrap();
        let piece = LmTokenizer::from_gguf(&in_memory(&sentencepiece(&pieces()))).unwrap();
        for tokenizer in [byte, piece] {
            let tokens = tokenizer.encode(&text, false).unwrap();
            let (before, rest) = tokens.split_at(cut.index(tokens.len() + 1));
            let added = tokenizer.decode_after(before, rest, false).unwrap();
            let mut stream = tokenizer.stream_after(before, false);
            let mut shown = String::new();
            for &token in rest {
                shown += &stream.push(token).unwrap();
            }
            shown += &stream.finish().unwrap();
            prop_assert_eq!(&added, &shown);
            // What is not a whole character yet is the rest's.
            let beginnings = (0..=before.len()).rev().map(|n| &before[..n]);
            let mut beginnings = beginnings.map(|before| tokenizer.decode(before, false).unwrap());
            let whole = beginnings.find(|text| !text.ends_with(char::REPLACEMENT_CHARACTER));
            prop_assert_eq!(whole.unwrap() + &added, text.clone());
        }
    }

    /// Whatever the tokens are: what a stream shows, put together, is the text of all.
    #[test]
    fn streams_lose_nothing(tokens in prop::collection::vec(0_u32..257, 0..40), skip in any::<bool>()) {
        // More than half of the bytes are such as occur in longer characters.
        let tokenizer = LmTokenizer::from_gguf(&in_memory(&byte_level(Some("gpt-2"), &[]))).unwrap();
        let mut stream = tokenizer.stream(skip);
        let mut text = String::new();
        for &token in &tokens {
            text.push_str(&stream.push(token).unwrap());
        }
        text.push_str(&stream.finish().unwrap());
        prop_assert_eq!(text, tokenizer.decode(&tokens, skip).unwrap());
    }

    #[test]
    fn streams_show_characters_when_they_are_whole(text in "[ax €é☃𝄞 ]{0,12}") {
        let byte = LmTokenizer::from_gguf(&in_memory(&byte_level(Some("gpt-2"), &[]))).unwrap();
        let piece = LmTokenizer::from_gguf(&in_memory(&sentencepiece(&pieces()))).unwrap();
        for tokenizer in [byte, piece] {
            let mut stream = tokenizer.stream(false);
            let mut shown = String::new();
            for token in tokenizer.encode(&text, false).unwrap() {
                let more = stream.push(token).unwrap();
                prop_assert!(!more.contains(char::REPLACEMENT_CHARACTER));
                shown.push_str(&more);
                prop_assert!(text.starts_with(&shown));
            }
            prop_assert_eq!(&shown, &text);
            prop_assert_eq!(stream.finish().unwrap(), "");
        }
    }
}

fn reason(result: Result<LmTokenizer>) -> String {
    match refusal(result) {
        Error::Tokenizer { origin, reason } => {
            assert!(origin.contains("memory.gguf"), "{origin}");
            reason
        }
        other => panic!("{other}"),
    }
}

#[test]
fn lists_that_do_not_fit_each_other_are_refused() {
    let plain = |model: &str| {
        let writer = Writer::new().string("tokenizer.ggml.model", model);
        writer.string("tokenizer.ggml.pre", "gpt-2")
    };
    let tokens = |writer: Writer| writer.strings("tokenizer.ggml.tokens", &["a", "b", "ab"]);
    let scores = |values: &[f32]| -> Vec<u8> {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        array(kind::F32, values.len() as u64, &bytes)
    };
    let scored =
        |values| tokens(plain("llama")).raw("tokenizer.ggml.scores", kind::ARRAY, &scores(values));
    let merged = |merges: &[&str]| tokens(plain("gpt2")).strings("tokenizer.ggml.merges", merges);
    let long = "x".repeat(300);
    for (writer, wanted) in [
        (plain("gpt2"), "tokenizer.ggml.tokens"),
        (tokens(plain("gpt2")), "tokenizer.ggml.merges"),
        (tokens(Writer::new()), "tokenizer.ggml.model"),
        (tokens(plain("t5")), "`t5`"),
        (tokens(plain("llama")), "tokenizer.ggml.scores"),
        (scored(&[0.0, 1.0]), "3 tokens, but 2"),
        (scored(&[0.0, f32::NAN, 1.0]), "token 1 is NaN"),
        (merged(&["ab"]), "`ab` is not a merge"),
        (merged(&["a c"]), "c"),
        (
            merged(&["a b"]).u32("tokenizer.ggml.bos_token_id", 3),
            "3, of 3 tokens",
        ),
        (
            merged(&["a b"]).raw(
                "tokenizer.ggml.token_type",
                kind::ARRAY,
                &array(5, 1, &[1, 0, 0, 0]),
            ),
            "1 values",
        ),
        (
            plain("gpt2")
                .strings("tokenizer.ggml.tokens", &["a", "b", "a"])
                .strings("tokenizer.ggml.merges", &["a b"]),
            "`a` is token 0 and token 2",
        ),
        (
            plain("llama")
                .strings("tokenizer.ggml.tokens", &[long.as_str()])
                .raw("tokenizer.ggml.scores", kind::ARRAY, &scores(&[0.0])),
            "300 bytes",
        ),
    ] {
        let found = reason(LmTokenizer::from_gguf(&in_memory(&writer)));
        assert!(found.contains(wanted), "{found}");
    }
    assert!(LmTokenizer::from_gguf(&in_memory(&merged(&["a b"]))).is_ok());
}

#[test]
fn settings_come_from_the_files_beside() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let open = || LmTokenizer::open(folder.path());
    match refusal(open()) {
        Error::Io { path, .. } => assert!(path.ends_with("tokenizer.json")),
        other => panic!("{other}"),
    }
    // Truncation to two tokens, which is not wanted.
    let mut tokenizer = json("lm/llama/tokenizer.json");
    tokenizer["truncation"] = serde_json::json!({
        "direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0
    });
    write("tokenizer.json", &tokenizer.to_string());
    let bare = open().unwrap();
    assert!(bare.encode("the cat and the dog", true).unwrap().len() > 2);
    assert_eq!((bare.bos(), bare.eos().len()), (None, 0));
    assert!(bare.chat_template().is_none());

    write(
        "special_tokens_map.json",
        r#"{"bos_token": {"content": "<|im_start|>"}, "eos_token": "a"}"#,
    );
    write("generation_config.json", r#"{"eos_token_id": [2, 3, 999]}"#);
    write(
        "tokenizer_config.json",
        r#"{"eos_token": "<|im_end|>", "chat_template": [
            {"name": "tools", "template": "no"}, {"name": "default", "template": "{{ bos_token }}yes"}]}"#,
    );
    let full = open().unwrap();
    assert_eq!((full.bos(), full.eos()), (Some(1), [2, 3].as_slice()));
    let render = |tokenizer: &LmTokenizer| {
        tokenizer
            .chat_template()
            .unwrap()
            .render(&[], &Default::default())
            .unwrap()
    };
    assert_eq!(render(&full), "<|im_start|>yes");
    write("chat_template.jinja", "from a file");
    assert_eq!(render(&open().unwrap()), "from a file");

    // Templates know the tokens by the names that the files give them, whether or not they are in the vocabulary. The end
    // that only generation knows is not one of them.
    write(
        "special_tokens_map.json",
        r#"{"bos_token": {"content": "<|im_start|>"}, "unk_token": "?", "pad_token": "a"}"#,
    );
    write("tokenizer_config.json", r#"{"pad_token": "<|pad|>"}"#);
    write(
        "chat_template.jinja",
        "{{ bos_token }}{{ unk_token }}{{ pad_token }}{% if eos_token is defined %}!{% endif %}",
    );
    let named = open().unwrap();
    assert_eq!(render(&named), "<|im_start|>?<|pad|>");
    assert_eq!(named.eos(), [2, 3]);

    write("tokenizer_config.json", "{");
    assert!(
        matches!(refusal(open()), Error::Parse { path, .. } if path.ends_with("tokenizer_config.json"))
    );
    write("tokenizer_config.json", "{}");
    write("tokenizer.json", r#"{"version": "1.0"}"#);
    assert!(matches!(refusal(open()), Error::Tokenizer { .. }));
}

/// Byte-pair encoding of the letters `a` and `b`, with changes.
fn letters_a_and_b(change: impl FnOnce(&mut Value)) -> Result<LmTokenizer> {
    let mut file = serde_json::json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": null, "post_processor": null, "decoder": null,
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
            "vocab": { "a": 0, "b": 1, "ab": 2 }, "merges": [["a", "b"]],
        },
    });
    change(&mut file);
    LmTokenizer::from_json(file.to_string().as_bytes(), "memory.json")
}

/// The library takes these files, or panics at once, and fails later: beyond the end of a text or of a table.
#[test]
fn what_the_library_would_panic_at_is_an_error() {
    let sound = letters_a_and_b(|_| {}).unwrap();
    assert_eq!(sound.encode("aab", false).unwrap(), [0, 2]);
    let reason = |result: Result<()>| match result {
        Err(Error::Tokenizer { reason, .. }) => reason,
        other => panic!("{other:?}"),
    };

    // A prefix longer than the right-hand side, as long as it, and in the middle of its only character.
    for (prefix, right) in [("##", "b"), ("a", "b"), ("#", "é")] {
        for as_line in [false, true] {
            let refused = letters_a_and_b(|file| {
                let merge = format!("a{right}");
                file["model"]["continuing_subword_prefix"] = prefix.into();
                file["model"]["vocab"] = serde_json::json!({ "a": 0, right: 1, merge: 2 });
                file["model"]["merges"] = match as_line {
                    true => serde_json::json!([format!("a {right}")]),
                    false => serde_json::json!([["a", right]]),
                };
            });
            let reason = reason(refused.map(drop));
            assert!(reason.contains("does not begin with"), "{reason}");
        }
    }
    // A merge to a token longer than all there are.
    let refused =
        letters_a_and_b(|file| file["model"]["vocab"] = serde_json::json!({ "a": 0, "b": 1 }));
    reason(refused.map(drop));

    // Maps of characters that promise gigabytes, and that have no entry.
    let map = |bytes: &str| {
        let map = serde_json::json!({ "type": "Precompiled", "precompiled_charsmap": bytes });
        letters_a_and_b(|file| {
            file["normalizer"] = serde_json::json!({ "type": "Sequence", "normalizers": [map] });
        })
    };
    assert!(reason(map("8P///w==").map(drop)).contains("4294967280 bytes"));
    reason(map("AAAAAA==").unwrap().encode("a", false).map(drop));

    // A decoder that strips two characters at the end of a token of one.
    let strip = serde_json::json!({ "type": "Strip", "content": "a", "start": 0, "stop": 2 });
    let strip = letters_a_and_b(|file| file["decoder"] = strip).unwrap();
    reason(strip.decode(&[0], false).map(drop));
    assert_eq!(strip.decode(&[1], false).unwrap(), "b");
    assert_eq!(strip.stream(false).finish().unwrap(), "");
}

/// The decoder of the first byte-pair encoders looks for the last of its tokens.
#[test]
fn no_token_has_no_text() {
    let tokenizer = letters_a_and_b(|file| {
        file["decoder"] = serde_json::json!({ "type": "BPEDecoder", "suffix": "b" });
        file["added_tokens"] = serde_json::json!([{
            "id": 3, "content": "<end>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
            "special": true,
        }]);
    })
    .unwrap();
    assert_eq!(tokenizer.decode(&[], false).unwrap(), "");
    assert_eq!(tokenizer.decode(&[3, 3], true).unwrap(), "");
    assert_eq!(tokenizer.decode(&[3], false).unwrap(), "<end>");
    assert_eq!(tokenizer.decode(&[2, 3, 2], true).unwrap(), "a a");
}
