//! Scanners against the regular expressions that define them, and the pipelines around them.

use std::path::Path;

#[path = "support/oracles.rs"]
mod oracles;
#[path = "support/skip.rs"]
mod skip;

use bpe_inference::Error;
use bpe_inference::merges::{Alphabet, MergeList, SentencePieceSpec, TokenizerSpec};
use bpe_inference::pretokenizer::{
    InvalidBytes, LineMode, Normalizer, PairFilter, Pretokenizer, TextPipeline, diagnose,
    split_blocks,
};
use fire_assay_datasets::embedded;
use oracles::{CL100K, O200K, Oracle, PUNCTUATION, QWEN2, TEKKEN, oracles};
use proptest::prelude::*;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use tokenizers::{OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer};

const SAMPLE: &str = include_str!("data/multilingual.txt");

/// Every preset with what it should cut a text into.
struct Oracles(Vec<(Pretokenizer, Oracle)>);

impl Oracles {
    fn new() -> Self {
        Self(oracles())
    }

    /// The first text of `texts` on which a scanner and its oracle differ ends the test.
    fn agree_on<'t>(&self, texts: impl IntoIterator<Item = &'t str>) {
        let pipelines: Vec<TextPipeline> = self.0.iter().map(|(p, _)| plain(p)).collect();
        for text in texts {
            for ((preset, oracle), pipeline) in self.0.iter().zip(&pipelines) {
                let (found, expected) = (pipeline.words(text).unwrap(), oracle(text));
                if found != expected {
                    let at = found
                        .iter()
                        .zip(&expected)
                        .take_while(|(a, b)| a == b)
                        .count();
                    panic!(
                        "{preset} differs from word {at} on: {:?} instead of {:?}",
                        &found[at..found.len().min(at + 4)],
                        &expected[at..expected.len().min(at + 4)]
                    );
                }
            }
        }
    }
}

/// A pretokenizer with nothing around it.
fn plain(pretokenizer: &Pretokenizer) -> TextPipeline {
    TextPipeline::new(pretokenizer.clone())
        .with_normalizer(Normalizer::None)
        .with_lines(LineMode::Document)
        .with_pairs(PairFilter::None)
}

/// Characters on which the patterns decide, from every class and script that they tell apart.
const TELLING: &[char] = &[
    ' ',
    ' ',
    ' ',
    '\n',
    '\r',
    '\t',
    '\u{a0}',
    '\u{3000}',
    '\u{2028}',
    '\u{85}',
    '\u{b}',
    '\u{1f}',
    '\'',
    '\'',
    '\u{2019}',
    's',
    'S',
    '\u{17f}',
    't',
    'T',
    'l',
    'L',
    'r',
    'e',
    'E',
    'v',
    'm',
    'd',
    'a',
    'Z',
    '\u{e9}',
    '\u{130}',
    '\u{1c5}',
    '\u{1f88}',
    '\u{2b0}',
    '\u{aa}',
    '\u{5d0}',
    '\u{4e2d}',
    '\u{3042}',
    '\u{30fc}',
    '\u{ac00}',
    '\u{1100}',
    '\u{1161}',
    '\u{11a8}',
    '\u{e33}',
    '\u{301}',
    '\u{338}',
    '\u{345}',
    '\u{903}',
    '\u{93c}',
    '\u{958}',
    '\u{20dd}',
    '\u{fe0f}',
    '\u{200d}',
    '\u{200b}',
    '\u{feff}',
    '0',
    '7',
    '\u{663}',
    '\u{966}',
    '\u{b2}',
    '\u{bd}',
    '\u{216b}',
    '\u{3007}',
    '\u{1d7d9}',
    '.',
    ',',
    '/',
    '/',
    '-',
    '_',
    '(',
    '\u{ab}',
    '\u{ff0c}',
    '\u{2581}',
    '\u{20ac}',
    '\u{1f600}',
    '\u{1d54f}',
    '\u{10348}',
    '\u{378}',
    '\u{e000}',
    '\0',
    '\u{212a}',
    '\u{212b}',
    '\u{fb01}',
    '\u{fdfa}',
    '\u{37a}',
];

fn text() -> impl Strategy<Value = String> {
    let telling = proptest::sample::select(TELLING);
    let c = prop_oneof![8 => telling, 1 => any::<char>()];
    proptest::collection::vec(c, 0..60).prop_map(String::from_iter)
}

#[test]
fn scanners_equal_regexes_on_mixed_languages() {
    let oracles = Oracles::new();
    oracles.agree_on([SAMPLE]);
    oracles.agree_on(SAMPLE.split_inclusive('\n'));
    oracles.agree_on(SAMPLE.split(' '));
    oracles.agree_on(
        SAMPLE
            .char_indices()
            .step_by(37)
            .map(|(at, _)| &SAMPLE[at..]),
    );
}

#[test]
fn scanners_equal_regexes_on_all_short_texts() {
    const LETTERS: [char; 15] = [
        ' ', '\n', '\r', '\u{a0}', 'a', 'S', '\u{17f}', '\u{1c5}', '\u{aa}', '\u{301}', '1', '\'',
        '.', '/', '\u{2581}',
    ];
    let mut texts = vec![String::new()];
    let mut start = 0;
    for _ in 0..4 {
        let end = texts.len();
        for k in start..end {
            let prefix = texts[k].clone();
            texts.extend(LETTERS.iter().map(|c| format!("{prefix}{c}")));
        }
        start = end;
    }
    Oracles::new().agree_on(texts.iter().map(String::as_str));
}

/// Every character before a letter, after a space and before a line feed.
#[test]
fn scanners_equal_regexes_on_every_character() {
    // These three tell all classes apart.
    let mut oracles = Oracles::new();
    let telling = [Pretokenizer::Gpt2, Pretokenizer::O200k, Pretokenizer::Llama];
    oracles.0.retain(|(preset, _)| telling.contains(preset));
    // Beyond lie private and unassigned characters in whole planes.
    let planes = (0..0x3_2400_u32)
        .chain(0xe_0000..0xe_0200)
        .chain((0x4_0000..0x11_0000).step_by(251));
    for block in planes.collect::<Vec<_>>().chunks(1024) {
        let chars = block.iter().filter_map(|&c| char::from_u32(c));
        let text: String = chars.flat_map(|c| [c, 'a', ' ', c, '\n']).collect();
        oracles.agree_on([text.as_str()]);
    }
}

#[test]
fn scanners_equal_regexes_on_random_texts() {
    let oracles = Oracles::new();
    proptest!(cases(4000), |(text in text())| {
        oracles.agree_on([text.as_str()]);
    });
}

/// Bar C6 on real text: all that is compiled in, about 4 MB in 44 languages.
#[test]
fn scanners_equal_regexes_on_the_embedded_texts() {
    let texts = [embedded::udhr(), embedded::languages(), embedded::code()].concat();
    let bytes: usize = texts.iter().map(|category| category.text.len()).sum();
    assert!(bytes > 3_000_000, "{bytes} bytes");
    Oracles::new().agree_on(texts.iter().map(|category| &*category.text));
}

/// The same on 10 MB of what the folder in `FIRE_ASSAY_DATA` holds.
#[test]
fn scanners_equal_regexes_on_real_text() {
    const BYTES: usize = 10 << 20;
    let Some(folder) = std::env::var_os("FIRE_ASSAY_DATA") else {
        skip::skipped(
            "10 MB of the data kit",
            "FIRE_ASSAY_DATA does not name a folder",
        );
        return;
    };
    let mut texts = Vec::new();
    collect(Path::new(&folder), &mut texts);
    assert!(!texts.is_empty(), "no UTF-8 text in {}", folder.display());
    let each = BYTES / texts.len();
    let kept: Vec<&str> = texts
        .iter()
        .map(|t| &t[..t.floor_char_boundary(each.max(1000))])
        .collect();
    let bytes: usize = kept.iter().map(|t| t.len()).sum();
    eprintln!("{} texts, {bytes} bytes", kept.len());
    Oracles::new().agree_on(kept);
}

fn collect(path: &Path, texts: &mut Vec<String>) {
    if path.is_dir() {
        let mut inside: Vec<_> = path
            .read_dir()
            .unwrap()
            .map(|e| e.unwrap().path())
            .collect();
        inside.sort();
        inside.iter().for_each(|path| collect(path, texts));
    } else if let Ok(text) = std::fs::read_to_string(path) {
        texts.push(text);
    }
}

#[test]
fn lossless_presets_keep_every_byte() {
    let regex = Pretokenizer::regex(r"\w+").unwrap();
    let presets = [
        Pretokenizer::Gpt2,
        Pretokenizer::Cl100k,
        Pretokenizer::Qwen2,
        Pretokenizer::O200k,
        Pretokenizer::Tekken,
        Pretokenizer::DigitsGpt2,
        Pretokenizer::CommandR,
        Pretokenizer::None,
        regex,
    ];
    proptest!(cases(256), |(text in text())| {
        for preset in &presets {
            for lines in [LineMode::Document, LineMode::Lines] {
                let words = plain(preset).with_lines(lines).words(&text).unwrap();
                prop_assert_eq!(words.concat(), text.as_str());
            }
        }
    });
}

#[test]
fn lines_are_texts_of_their_own() {
    proptest!(cases(256), |(text in text())| {
        for preset in TextPipeline::presets() {
            let whole = preset.clone().with_lines(LineMode::Lines).words(&text).unwrap();
            let single = preset.with_lines(LineMode::Document);
            let lines = text.split_inclusive('\n').flat_map(|line| single.words(line).unwrap());
            prop_assert_eq!(whole, lines.collect::<Vec<_>>());
        }
    });
}

#[test]
fn normalizers_come_first() {
    use unicode_normalization::UnicodeNormalization;
    proptest!(cases(256), |(text in text())| {
        for preset in [Pretokenizer::Gpt2, Pretokenizer::Cl100k, Pretokenizer::Llama] {
            let words = |normalizer| plain(&preset).with_normalizer(normalizer).words(&text).unwrap();
            let nfc: String = text.nfc().collect();
            let nfkc: String = text.nfkc().collect();
            prop_assert_eq!(words(Normalizer::Nfc), plain(&preset).words(&nfc).unwrap());
            prop_assert_eq!(words(Normalizer::Nfkc), plain(&preset).words(&nfkc).unwrap());
        }
    });
}

/// `tokenizer.json` fragments: normalizer, pre_tokenizer, and the pipeline that they mean.
fn hugging_face_files() -> Vec<(Value, Value, TextPipeline)> {
    let byte_level = |use_regex: bool| json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": use_regex});
    let digits = |alone: bool| json!({"type": "Digits", "individual_digits": alone});
    let split = |pattern: &str, behavior: &str, invert: bool| json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": behavior, "invert": invert});
    let removed = |text: &str| json!({"type": "Split", "pattern": {"String": text}, "behavior": "Removed", "invert": false});
    let sequence = |steps: Vec<Value>| json!({"type": "Sequence", "pretokenizers": steps});
    let metaspace = |scheme: &str| json!({"type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": scheme, "split": true});
    let paper = |scheme: &str| {
        sequence(vec![
            split(PUNCTUATION, "Isolated", false),
            metaspace(scheme),
            digits(true),
            removed("\n"),
            removed("\t"),
        ])
    };
    let llama = TextPipeline::llama();
    vec![
        (Value::Null, byte_level(true), TextPipeline::gpt2()),
        (
            json!({"type": "NFC"}),
            byte_level(true),
            TextPipeline::gpt_neox(),
        ),
        (
            json!({"type": "NFKC"}),
            byte_level(true),
            TextPipeline::claude(),
        ),
        (
            Value::Null,
            sequence(vec![digits(false), byte_level(true)]),
            TextPipeline::new(Pretokenizer::DigitsGpt2),
        ),
        (
            json!({"type": "Sequence", "normalizers": [{"type": "NFC"}]}),
            sequence(vec![digits(true), byte_level(true)]),
            TextPipeline::command_r(),
        ),
        (
            Value::Null,
            sequence(vec![split(CL100K, "Removed", true), byte_level(false)]),
            TextPipeline::cl100k(),
        ),
        (
            Value::Null,
            sequence(vec![split(O200K, "Isolated", false), byte_level(false)]),
            TextPipeline::o200k(),
        ),
        (
            json!({"type": "NFC"}),
            sequence(vec![split(QWEN2, "Isolated", false), byte_level(false)]),
            TextPipeline::qwen2(),
        ),
        (
            Value::Null,
            sequence(vec![split(TEKKEN, "Isolated", false), byte_level(false)]),
            TextPipeline::tekken(),
        ),
        (
            Value::Null,
            sequence(vec![split(r"\w+|\s", "Isolated", false), byte_level(false)]),
            TextPipeline::new(Pretokenizer::regex(r"\w+|\s").unwrap()),
        ),
        (
            Value::Null,
            byte_level(false),
            TextPipeline::new(Pretokenizer::None),
        ),
        (Value::Null, paper("first"), llama.clone()),
        (Value::Null, paper("never"), TextPipeline::gemma()),
    ]
}

#[test]
fn pipelines_equal_hugging_face_on_its_own_configurations() {
    for (normalizer, pre_tokenizer, expected) in hugging_face_files() {
        let pipeline = TextPipeline::from_hugging_face(&normalizer, &pre_tokenizer);
        assert_eq!(pipeline.as_ref(), Some(&expected), "{pre_tokenizer}");

        let pipeline = expected
            .with_normalizer(Normalizer::None)
            .with_lines(LineMode::Document);
        let theirs: tokenizers::PreTokenizerWrapper =
            serde_json::from_value(pre_tokenizer).unwrap();
        let characters = pipeline.pretokenizer.needs_utf8();
        let agree = |text: &str| {
            let mut pieces = PreTokenizedString::from(text);
            theirs.pre_tokenize(&mut pieces).unwrap();
            let pieces = pieces.get_splits(OffsetReferential::Original, OffsetType::Byte);
            // Byte-level pieces are spelt in their own alphabet, so take the text that they stand for.
            let expected: Vec<&str> = pieces
                .into_iter()
                .map(|(piece, (start, end), _)| if characters { piece } else { &text[start..end] })
                .collect();
            assert_eq!(
                pipeline.words(text).unwrap(),
                expected,
                "{pipeline} on {text:?}"
            );
        };
        agree(SAMPLE);
        SAMPLE.split_inclusive('\n').for_each(agree);
        proptest!(cases(200), |(text in text())| {
            if !text.is_empty() {
                agree(&text);
            }
        });
    }
}

#[test]
fn converted_sentencepiece_files_are_known() {
    let metaspace = |scheme: &str| json!({"type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": scheme, "split": false});
    let replace = json!({"type": "Replace", "pattern": {"String": " "}, "content": "\u{2581}"});
    let both = json!({"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "\u{2581}"}, replace.clone()]});
    let at_spaces = json!({"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": false});
    for (normalizer, pre_tokenizer, expected) in [
        (both.clone(), Value::Null, TextPipeline::llama()),
        (Value::Null, metaspace("first"), TextPipeline::llama()),
        (
            Value::Null,
            json!({"type": "Metaspace", "replacement": "\u{2581}", "add_prefix_space": false}),
            TextPipeline::gemma(),
        ),
        (replace, at_spaces, TextPipeline::gemma()),
        (
            json!({"type": "NFKC"}),
            metaspace("always"),
            TextPipeline::llama().with_normalizer(Normalizer::Nfkc),
        ),
    ] {
        assert_eq!(
            TextPipeline::from_hugging_face(&normalizer, &pre_tokenizer),
            Some(expected)
        );
    }
}

#[test]
fn files_lead_to_pipelines() {
    let spec = TokenizerSpec::default;
    let preset = |name: &str| TokenizerSpec {
        preset: Some(name.into()),
        ..spec()
    };
    let pattern = |pattern: &str| TokenizerSpec {
        pattern: Some(pattern.into()),
        ..spec()
    };
    let sentencepiece = |change: fn(&mut SentencePieceSpec)| {
        let mut settings = SentencePieceSpec {
            split_digits: true,
            allow_whitespace_only_pieces: true,
            normalization: "identity".into(),
            ..SentencePieceSpec::default()
        };
        change(&mut settings);
        TokenizerSpec {
            sentencepiece: Some(settings),
            ..spec()
        }
    };
    let byte_level = json!({"type": "ByteLevel", "add_prefix_space": false, "use_regex": true});
    let json = TokenizerSpec {
        pre_tokenizer: Some(byte_level),
        pattern: Some("x".into()),
        ..spec()
    };
    for (spec, expected) in [
        (json, Some("gpt2")),
        (pattern(TEKKEN), Some("tekken")),
        (pattern(QWEN2), Some("no-normalizer+qwen2")),
        (pattern("a+"), Some("regex:a+")),
        (pattern("("), None),
        (preset("llama-bpe"), Some("cl100k")),
        (preset("starcoder"), Some("command-r+no-normalizer")),
        (preset("chameleon"), None),
        (sentencepiece(|_| ()), Some("llama")),
        (sentencepiece(|s| s.add_dummy_prefix = false), Some("gemma")),
        (
            sentencepiece(|s| s.normalization = "nmt_nfkc".into()),
            Some("llama+nfkc"),
        ),
        (
            sentencepiece(|s| s.max_sentencepiece_length = 20),
            Some("llama+sentencepiece:20:numbers:digits:scripts:runs"),
        ),
        (
            sentencepiece(|s| s.normalization = "nmt_nfkc_cf".into()),
            None,
        ),
        (sentencepiece(|s| s.split_digits = false), None),
        (sentencepiece(|s| s.treat_whitespace_as_suffix = true), None),
        (spec(), None),
    ] {
        let expected: Option<TextPipeline> = expected.map(|name| name.parse().unwrap());
        assert_eq!(TextPipeline::from_spec(&spec), expected, "{spec:?}");
    }
}

#[test]
fn unknown_configurations_are_left_alone() {
    let byte_level = json!({"type": "ByteLevel", "add_prefix_space": false, "use_regex": true});
    for (normalizer, pre_tokenizer) in [
        (json!({"type": "Lowercase"}), byte_level.clone()),
        (json!({"type": "NFD"}), byte_level.clone()),
        (json!("NFC"), byte_level.clone()),
        (Value::Null, Value::Null),
        (Value::Null, json!({"type": "Whitespace"})),
        (
            Value::Null,
            json!({"type": "ByteLevel", "add_prefix_space": true, "use_regex": true}),
        ),
        (
            Value::Null,
            json!({"type": "Sequence", "pretokenizers": [{"type": "Punctuation"}, byte_level]}),
        ),
        (
            Value::Null,
            json!({"type": "Metaspace", "replacement": "_", "prepend_scheme": "always"}),
        ),
        (
            json!({"type": "Prepend", "prepend": "\u{2581}"}),
            Value::Null,
        ),
        (Value::Null, json!([1, 2])),
    ] {
        assert_eq!(
            TextPipeline::from_hugging_face(&normalizer, &pre_tokenizer),
            None
        );
    }
}

#[test]
fn names_read_back() {
    let patterns = ["\\w+|\\W+", "a+b", ""];
    let mut all: Vec<TextPipeline> = TextPipeline::presets();
    all.extend(patterns.map(|p| TextPipeline::new(Pretokenizer::regex(p).unwrap())));
    let mut filters = vec![PairFilter::None, PairFilter::sentencepiece()];
    for bits in 0..16 {
        filters.push(PairFilter::SentencePiece {
            max_chars: 8 + bits,
            split_numbers: bits & 1 != 0,
            split_digits: bits & 2 != 0,
            split_scripts: bits & 4 != 0,
            marker_runs: bits & 8 != 0,
        });
    }
    for pipeline in all {
        for normalizer in [Normalizer::None, Normalizer::Nfc, Normalizer::Nfkc] {
            for lines in [LineMode::Document, LineMode::Lines] {
                for (k, &pairs) in filters.iter().enumerate() {
                    let invalid = [InvalidBytes::Keep, InvalidBytes::Reject][k % 2];
                    let changed = (pipeline
                        .clone()
                        .with_normalizer(normalizer)
                        .with_lines(lines))
                    .with_pairs(pairs)
                    .with_invalid(invalid);
                    let name = changed.to_string();
                    assert_eq!(name.parse::<TextPipeline>().unwrap(), changed, "{name}");
                    let json = serde_json::to_string(&changed).unwrap();
                    assert_eq!(
                        serde_json::from_str::<TextPipeline>(&json).unwrap(),
                        changed
                    );
                }
            }
        }
    }
    assert_eq!(
        "hf-trained".parse::<TextPipeline>().unwrap(),
        TextPipeline::hf_trained()
    );
    assert_eq!(TextPipeline::claude().to_string(), "gpt2+nfkc");
    assert_eq!(TextPipeline::command_r().to_string(), "command-r");
}

#[test]
fn bad_names_and_patterns_are_errors() {
    for name in [
        "",
        "gpt",
        "gpt2+",
        "gpt2+cl100k",
        "nfc",
        "gpt2+sentencepiece:x",
        "gpt2+nfc nfd",
    ] {
        let error = name.parse::<TextPipeline>().unwrap_err();
        assert!(
            matches!(error, Error::InvalidValue { .. }),
            "{name}: {error}"
        );
    }
    for error in [
        "lines+regex:("
            .parse::<TextPipeline>()
            .map(drop)
            .unwrap_err(),
        Pretokenizer::regex("[").unwrap_err(),
    ] {
        assert!(matches!(error, Error::Pattern { .. }), "{error}");
    }
    assert!(serde_json::from_value::<Pretokenizer>(json!({"regex": "("})).is_err());
}

#[test]
fn exponential_patterns_end_in_an_error() {
    let pipeline = TextPipeline::new(Pretokenizer::regex(r"(?:(a|aa)+)+\1(?=b)c").unwrap());
    let error = pipeline.words(&"a".repeat(60)).unwrap_err();
    assert!(matches!(error, Error::Pattern { .. }), "{error}");
}

#[test]
fn sentencepiece_rules_judge_pairs() {
    let rules = PairFilter::sentencepiece();
    let allows = |left: &str, right: &str| rules.allows(left.as_bytes(), right.as_bytes());
    assert!(allows("▁the", "re") && allows("東", "京") && allows("カ", "ー") && allows("ひ", "漢"));
    assert!(allows("▁", "▁") && allows("e", "\u{301}") && allows(".", ".") && allows("▁", "("));
    assert!(
        !allows("the", "▁") && !allows("▁", "▁a"),
        "a marker stands in front"
    );
    assert!(
        !allows("a", "1") && !allows("1", "2") && !allows("▁", "1"),
        "digits stand alone"
    );
    assert!(
        !allows("a", ".") && !allows("a", "б") && !allows("漢", "a"),
        "scripts do not mix"
    );
    assert!(!allows("a", "\t") && !allows("a", " ") && !allows("a", "\u{2585}"));
    assert!(
        allows("▁abcdefg", "hijklmno") && !allows("▁abcdefg", "hijklmnop"),
        "16 characters"
    );
    assert!(!rules.allows(b"\xe2\x96", b"\x81"), "bytes are not pieces");
    assert!(PairFilter::None.allows(b"\xff", b" "));

    let loose = PairFilter::SentencePiece {
        max_chars: 3,
        split_numbers: false,
        split_digits: false,
        split_scripts: true,
        marker_runs: false,
    };
    assert!(loose.allows("a1".as_bytes(), b"2") && !loose.allows(b"a", ".".as_bytes()));
    assert!(!loose.allows("▁".as_bytes(), "▁".as_bytes()));
}

#[test]
fn halves_share_out_all_blocks() {
    let text: String = (0..803)
        .map(|k| format!("line {k}\n"))
        .chain(["the end".into()])
        .collect();
    let (a, b) = split_blocks(&text, 8, &mut ChaCha8Rng::seed_from_u64(7));
    let mut lines: Vec<&str> = a
        .split_inclusive('\n')
        .chain(b.split_inclusive('\n'))
        .collect();
    let mut expected: Vec<&str> = text.split_inclusive('\n').collect();
    lines.sort_unstable();
    expected.sort_unstable();
    assert_eq!(lines, expected);
    let blocks: Vec<String> = expected_blocks(&text);
    for half in [&a, &b] {
        let held: Vec<bool> = blocks
            .iter()
            .map(|block| half.contains(block.as_str()))
            .collect();
        assert!((50..=51).contains(&held.iter().filter(|held| **held).count()));
        let changes = held.windows(2).filter(|w| w[0] != w[1]).count();
        assert!(
            changes > 25,
            "blocks are shuffled, not cut into a front and a back"
        );
    }
    let again = split_blocks(&text, 8, &mut ChaCha8Rng::seed_from_u64(7));
    assert_eq!(again, (a, b));
    assert_eq!(
        split_blocks("", 0, &mut ChaCha8Rng::seed_from_u64(7)),
        Default::default()
    );
}

fn expected_blocks(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    lines.chunks(8).map(|block| block.concat()).collect()
}

/// The merge list of the first ranks of a tiktoken file, recovered by merging each token's bytes.
fn recovered(bpe: &tiktoken_rs::CoreBPE, ranks: u32) -> MergeList {
    let tokens: Vec<Vec<u8>> = (0..ranks)
        .filter_map(|id| bpe.decode_bytes(&[id]).ok())
        .collect();
    let mut rank_of = std::collections::HashMap::new();
    let mut parts = Vec::new();
    for (rank, token) in tokens.iter().enumerate() {
        let mut split: Vec<&[u8]> = token.chunks(1).collect();
        while split.len() > 2 {
            let rank = |k: usize| rank_of.get(&[split[k], split[k + 1]].concat());
            let lowest = (0..split.len() - 1)
                .filter_map(|k| Some((rank(k)?, k)))
                .min();
            let k = lowest.expect("a token that merges make").1;
            let start: usize = split[..k].iter().map(|part| part.len()).sum();
            let joined = &token[start..start + split[k].len() + split[k + 1].len()];
            split.splice(k..k + 2, [joined]);
        }
        if let [left, right] = split[..] {
            parts.push((left.to_vec(), right.to_vec()));
        }
        rank_of.insert(token.clone(), rank);
    }
    MergeList::from_parts(Alphabet::Bytes, parts).unwrap()
}

/// As many cases, and no files beside the tests.
fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

#[test]
fn diagnosis_finds_the_pretokenizer_of_real_vocabularies() {
    for (bpe, expected) in [
        (tiktoken_rs::r50k_base(), TextPipeline::gpt2()),
        (tiktoken_rs::cl100k_base(), TextPipeline::cl100k()),
        (tiktoken_rs::o200k_base(), TextPipeline::o200k()),
    ] {
        let list = recovered(&bpe.unwrap(), 12_000);
        let scores = diagnose(&list, &TextPipeline::presets());
        assert_eq!(scores[0].name, expected.to_string());
        assert_eq!((scores[0].share, scores[0].falsified_by.len()), (1.0, 0));
        assert_eq!(scores.last().unwrap().name, "none");
    }
}

#[test]
fn diagnosis_prefers_the_strictest_of_those_that_fit() {
    // Made behind digits apart and lines: no digit follows a space, nothing follows a line feed.
    let parts = [
        ("t", "h"),
        ("th", "e"),
        (" ", "the"),
        ("1", "2"),
        ("12", "3"),
        ("123", "4"),
        ("i", "n"),
        ("\r", "\n"),
        (".", "."),
        ("in", "g"),
    ];
    let list = MergeList::from_parts(Alphabet::Bytes, parts).unwrap();
    let scores = diagnose(&list, &TextPipeline::presets());
    assert_eq!(scores[0].name, "digits-gpt2+lines", "{scores:#?}");
    let telling = &scores[..scores.len() - 1];
    assert!(telling.windows(2).all(|s| s[0].share >= s[1].share - 2e-4));
    let cl100k = scores.iter().find(|s| s.name == "cl100k").unwrap();
    assert_eq!(cl100k.falsified_by, ["1234"]);
    assert!((cl100k.share - 0.9).abs() < 1e-12);
    let none = scores.iter().find(|s| s.name == "none").unwrap();
    assert_eq!((none.share, none.laxity), (1.0, 1.0));
    assert_eq!(none, scores.last().unwrap());
}

#[test]
fn diagnosis_reads_characters_with_markers() {
    let parts = [
        ("▁", "t"),
        ("h", "e"),
        ("▁t", "he"),
        ("漢", "字"),
        (".", "."),
        ("▁", "("),
        ("n", "o"),
    ];
    let list = MergeList::from_parts(Alphabet::Characters, parts).unwrap();
    let scores = diagnose(&list, &TextPipeline::presets());
    assert!(
        ["llama", "gemma"].contains(&scores[0].name.as_str()),
        "{scores:#?}"
    );
    assert_eq!(scores[0].share, 1.0);
    let empty = MergeList::from_parts(Alphabet::Bytes, [("", ""); 0]).unwrap();
    let scores = diagnose(&empty, &TextPipeline::presets());
    assert!(scores.iter().all(|s| s.share == 1.0 && s.laxity == 0.0));
}
