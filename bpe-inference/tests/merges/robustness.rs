//! Broken files give errors: cut at every byte, with any byte changed, and with lengths that lie.

use bpe_inference::Error;
use bpe_inference::merges::{Format, MergeList, ReadOptions};
use proptest::prelude::*;

use crate::clock;
use crate::files;
use crate::training::{Trained, train};

fn sample() -> Trained {
    train(&["banana", "bandana", "nab", "cabana", "ban"].map(str::to_owned))
}

fn read(bytes: &[u8], format: Format) -> Result<MergeList, Error> {
    MergeList::read(bytes, format, &ReadOptions::default()).map(|(list, _)| list)
}

/// Few single bytes keep the files short; they may be missing.
fn short_ranks() -> Vec<(Vec<u8>, u32)> {
    files::ranks(&sample()).split_off(240)
}

fn whole_files() -> Vec<(Format, Vec<u8>)> {
    let trained = sample();
    let ranks = short_ranks();
    let json = files::tokenizer_json(&trained, &trained.merges, true, false);
    vec![
        (Format::HuggingFace, json.to_string().into()),
        (Format::Tekken, files::tekken(&ranks).into()),
        (Format::Anthropic, files::anthropic(&ranks).into()),
        (Format::Gguf, files::gguf_gpt2(&trained)),
        (Format::Gguf, files::gguf_llama(&files::pieces(&trained))),
        (
            Format::SentencePiece,
            files::model(&files::pieces(&trained), 2).0,
        ),
        (
            Format::JavaScript,
            files::javascript(&trained, &trained.merges, 0).into(),
        ),
        (Format::Tiktoken, files::tiktoken(&ranks).into()),
        (
            Format::MergesTxt,
            b"#version: 0.2\nb a\nba n\nban a\n".to_vec(),
        ),
    ]
}

#[test]
fn cut_files_are_parse_errors() {
    let (_, end_of_trainer) = files::model(&files::pieces(&sample()), 2);
    for (format, bytes) in whole_files() {
        let whole = read(&bytes, format).unwrap();
        for cut in 0..bytes.len() {
            let result = read(&bytes[..cut], format);
            let complete = match format {
                // A message may end after any field; without trainer settings it is no BPE model.
                Format::SentencePiece => cut == end_of_trainer,
                Format::JavaScript => cut >= bytes.len() - "\nexport default 1;\n".len(),
                // A line is complete without its line feed; shorter ones can be tokens or ranks as well.
                Format::Tiktoken | Format::MergesTxt => result.is_ok(),
                _ => false,
            };
            match result {
                Ok(list) if format == Format::MergesTxt => {
                    let same = list.shared_prefix(&whole);
                    assert!(same + 1 >= list.merges().len(), "{format} cut at {cut}");
                }
                Ok(list) if format == Format::Tiktoken => {
                    assert!(list.merges().len() <= whole.merges().len());
                }
                Ok(list) => assert!(complete && list == whole, "{format} cut at {cut}"),
                Err(Error::Parse { offset, .. }) => {
                    assert!(
                        !complete && offset <= cut as u64,
                        "{format} cut at {cut}: {offset}"
                    );
                }
                Err(Error::NotBpe { .. }) => assert_eq!(format, Format::SentencePiece),
                Err(Error::Unreachable { .. }) => assert_eq!(format, Format::Tiktoken),
                Err(Error::UnknownToken { .. } | Error::DuplicateMerge { .. }) => {
                    assert_eq!(format, Format::MergesTxt);
                }
                Err(other) => panic!("{format} cut at {cut}: {other}"),
            }
        }
    }
}

/// Errors in the contents of JSON and GGUF files say where in the file the trouble is.
#[test]
fn bad_contents_are_located() {
    let trained = sample();
    let ranks = short_ranks();
    let place = |whole: &[u8], part: &str| {
        let mut windows = whole.windows(part.len());
        windows.position(|w| w == part.as_bytes()).unwrap()
    };
    let offset = |bytes: &[u8], format| match read(bytes, format) {
        Err(Error::Parse { offset, .. }) => offset as usize,
        other => panic!("{format}: {other:?}"),
    };
    // A token that is not base64, and an empty one.
    let last = "YW5h";
    for bad in ["YW5h!", ""] {
        let tekken = files::tekken(&ranks);
        assert!(tekken.contains(last), "{tekken}");
        let tekken = tekken.replace(last, bad);
        let at = offset(tekken.as_bytes(), Format::Tekken);
        let mut there = serde_json::Deserializer::from_str(&tekken[at..]).into_iter();
        let token: serde_json::Value = there.next().unwrap().unwrap();
        assert_eq!(token["token_bytes"], bad);
    }
    // Escapes before the place: a letter written by its code, and a line feed.
    let anthropic = files::anthropic(&ranks).replace(last, "YW5h!");
    let escaped = anthropic
        .replace("! 240", "\\u0021 240")
        .replace(" YmFu", "\\n! 900 YmFu");
    assert!(escaped.contains("\\u0021") && escaped.contains("\\n"));
    for file in [anthropic, escaped] {
        let at = offset(file.as_bytes(), Format::Anthropic);
        assert_eq!(at, place(file.as_bytes(), "YW5h!"), "{file}");
    }
    let no_rank = r#"{ "bpe_ranks": "! 0 YQ==\n? 5 Yg==" }"#;
    let at = offset(no_rank.as_bytes(), Format::Anthropic);
    assert_eq!(at, place(no_rank.as_bytes(), "? 5"));
    // A merge without a space, and one with a letter that stands for no byte.
    for (arrays, good, bad) in [
        (false, r#""b an""#, r#""ban""#),
        (false, r#""b an""#, r#""b \u4e2d""#),
        (true, r#"["b","an"]"#, r#"["b","中"]"#),
    ] {
        let json = files::tokenizer_json(&trained, &trained.merges, true, arrays).to_string();
        assert!(json.contains(good), "{json}");
        let json = json.replacen(good, bad, 1);
        let at = offset(json.as_bytes(), Format::HuggingFace);
        assert_eq!(at, place(json.as_bytes(), bad));
    }
    let json = files::tokenizer_json(&trained, &trained.merges, true, false).to_string();
    let json = json.replacen(
        r#""merges""#,
        r#""end_of_word_suffix": "</w>", "merges""#,
        1,
    );
    let at = offset(json.as_bytes(), Format::HuggingFace);
    assert_eq!(at, place(json.as_bytes(), r#""</w>""#));
    // Changes of the same length, so that the file stays whole.
    let gguf = files::gguf_gpt2(&trained);
    let at = place(&gguf, "b a");
    let mut bad = gguf.clone();
    bad[at + 1] = b'-';
    assert_eq!(offset(&bad, Format::Gguf), at);
    let entry = (
        "tokenizer.ggml.model",
        files::Entry::Text("gpt2".to_owned()),
    );
    let empty = files::gguf(&[entry]);
    assert_eq!(offset(&empty, Format::Gguf), empty.len());
    let mut scored = files::gguf_llama(&files::pieces(&trained));
    let at = scored.len() - 4;
    scored[at] = 99;
    assert_eq!(offset(&scored, Format::Gguf), at);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Whatever a reader takes is a consistent list: every part is a letter or made before.
    #[test]
    fn changed_files_never_give_inconsistent_lists(
        which in 0_usize..9,
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let (format, mut bytes) = whole_files().swap_remove(which);
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Ok(list) = read(&bytes, format) {
            let mut made = list.alphabet().base();
            for merge in list.merges() {
                prop_assert!(merge.left < made && merge.right < made && merge.product <= made);
                made = made.max(merge.product + 1);
                let parts = [list.text(merge.left), list.text(merge.right)].concat();
                prop_assert_eq!(parts, list.text(merge.product).into_owned());
            }
        }
    }

    #[test]
    fn noise_is_an_error_or_a_list_but_no_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let detected = MergeList::from_bytes(&bytes, None);
        prop_assert!(detected.is_err() || !bytes.is_empty());
    }
}

#[test]
fn lengths_that_lie_cost_neither_memory_nor_time() {
    let huge = u64::MAX.to_le_bytes();
    let head = |entries: u64| {
        let mut out = b"GGUF".to_vec();
        out.extend(3_u32.to_le_bytes());
        out.extend(0_u64.to_le_bytes());
        out.extend(entries.to_le_bytes());
        out
    };
    // A key, a string, and an array of strings that claim to be huge; endless entries.
    let key = |text: &str| [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat();
    let string = 8_u32.to_le_bytes();
    let array = 9_u32.to_le_bytes();
    let tokens = key("tokenizer.ggml.tokens");
    let bytes = 0_u32.to_le_bytes();
    for tail in [
        huge.to_vec(),
        [&key("a")[..], &string, &huge].concat(),
        [&tokens[..], &array, &string, &huge].concat(),
        [&key("a")[..], &array, &bytes, &huge].concat(),
    ] {
        let error = MergeList::from_gguf(&[head(u64::MAX), tail].concat()).unwrap_err();
        assert!(matches!(error, Error::Parse { .. }), "{error}");
    }
    // Arrays of arrays of arrays ...
    let mut nested = [head(1), key("a"), array.to_vec()].concat();
    for _ in 0..10_000 {
        nested.extend(array);
        nested.extend(1_u64.to_le_bytes());
    }
    let error = MergeList::from_gguf(&nested).unwrap_err();
    assert!(error.to_string().contains("nested"), "{error}");
    // A message of 2^63 bytes, a number without end, and a wire type that does not exist.
    for bytes in [
        &[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f][..],
        &[0xff; 20],
        &[0x0b],
    ] {
        let error = MergeList::from_sentencepiece_model(bytes).unwrap_err();
        assert!(matches!(error, Error::Parse { .. }), "{error}");
    }
    // Deep JSON does not overflow the stack.
    let deep = format!("{{\"model\": {}", "[".repeat(100_000));
    assert!(matches!(
        MergeList::from_hf_json(deep.as_bytes()),
        Err(Error::Parse { .. })
    ));
}

#[test]
fn a_long_token_is_recovered_in_time() {
    // One token of 200,000 bytes beside all runs of powers of two: a quadratic search would take minutes.
    let mut tokens: Vec<(Vec<u8>, u32)> = (0..=255_u8).map(|b| (vec![b], u32::from(b))).collect();
    let runs = (1..17).map(|k| vec![b'a'; 1 << k]);
    tokens.extend(runs.chain([vec![b'a'; 200_000]]).zip(256..));
    let options = ReadOptions {
        unreachable_limit: 1.0,
        ..ReadOptions::default()
    };
    let file = files::tiktoken(&tokens);
    let start = clock::processor_time();
    let (list, report) = MergeList::read(file.as_bytes(), Format::Tiktoken, &options).unwrap();
    assert_eq!(list.merges().len(), 16);
    // 200,000 = 3 * 65,536 + 3,392, and 3,392 is the sum of four powers of two.
    assert_eq!(
        report.unreachable[0].parts,
        3 + 3_392_u32.count_ones() as usize
    );
    assert!((clock::processor_time() - start).as_secs() < 20);
}

#[test]
fn long_lines_and_tokens_do_not_stall_reading() {
    let start = clock::processor_time();
    // Every space of a line could be the one between its tokens.
    let spaces = format!("\u{2581} x\na{}b\n", " ".repeat(1_000_000));
    assert!(matches!(
        MergeList::from_merges_txt(&spaces),
        Err(Error::Parse { offset: 6, .. })
    ));
    // A token made twice is looked at for further splits.
    let (half, other) = ("\u{4e2d}".repeat(200_000), "b".repeat(500_000));
    let twice = format!("{half} {other}\n{half}b {}\n", &other[1..]);
    assert!(matches!(
        MergeList::from_merges_txt(&twice),
        Err(Error::UnknownToken { step: 0, .. })
    ));
    assert!((clock::processor_time() - start).as_secs() < 20);
}
