//! What each format says is what the report says.

use bpe_inference::Error;
use bpe_inference::merges::{Alphabet, Format, ListOrder, MergeList, ReadOptions};
use serde_json::json;

use crate::files;
use crate::training::{Trained, train};

fn sample() -> Trained {
    train(&["banana", "bandana", "nab", "cabana", "ban"].map(str::to_owned))
}

fn texts(list: &MergeList) -> Vec<String> {
    (list.merges().iter())
        .map(|m| format!("{} {}", list.readable(m.left), list.readable(m.right)))
        .collect()
}

#[test]
fn formats_are_told_from_their_content() {
    let trained = sample();
    let ranks = files::ranks(&trained);
    let json = files::tokenizer_json(&trained, &trained.merges, true, false);
    let list = MergeList::from_ranks(ranks.clone()).unwrap().0;
    let text = list.to_merges_txt().unwrap();
    let headless = text.split_once('\n').unwrap().1;
    let script = files::javascript(&trained, &trained.merges, 0);
    let files: [(Format, Vec<u8>); 10] = [
        (Format::Tiktoken, files::tiktoken(&ranks).into()),
        (Format::Tekken, files::tekken(&ranks).into()),
        (Format::Anthropic, files::anthropic(&ranks).into()),
        (Format::HuggingFace, json.to_string().into()),
        (Format::MergesTxt, text.clone().into()),
        (Format::MergesTxt, headless.into()),
        (
            Format::SentencePiece,
            files::model(&files::pieces(&trained), 2).0,
        ),
        (Format::Gguf, files::gguf_gpt2(&trained)),
        (Format::Gguf, files::gguf_llama(&files::pieces(&trained))),
        (Format::JavaScript, script.into()),
    ];
    let folder = tempfile::tempdir().unwrap();
    for (format, bytes) in files {
        assert_eq!(Format::detect(&bytes, None).unwrap(), format);
        // A misleading name does not matter: Llama 3's `tokenizer.model` is a rank file.
        let path = folder.path().join("tokenizer.model");
        std::fs::write(&path, &bytes).unwrap();
        let (from_file, report) = MergeList::load(&path).unwrap();
        assert_eq!(report.format, format);
        assert_eq!(texts(&from_file), texts(&list), "{format}");
        assert_eq!(MergeList::from_bytes(&bytes, None).unwrap().0, from_file);
        assert!(report.to_string().contains(format.name()));
    }
    let error = Format::detect(b"no tokenizer at all, I fear", None).unwrap_err();
    assert!(matches!(error, Error::Parse { .. }));
    assert_eq!(
        Format::detect(b"{\"model\":", Some("tokenizer.json")).unwrap(),
        Format::HuggingFace
    );
    let missing = MergeList::load(folder.path().join("none")).unwrap_err();
    assert!(matches!(missing, Error::Io { .. }));
}

#[test]
fn merges_txt_takes_headers_line_ends_and_hash_signs() {
    let expected = ["\u{2423} t", "# #", "\u{2423}t h"];
    for text in [
        "#version: 0.2\n\u{120} t\n# #\n\u{120}t h\n",
        "\u{120} t\n# #\n\u{120}t h",
        "#version: 0.2 - trained\r\n\u{120} t\r\n# #\r\n\u{120}t h\r\n",
        "\u{feff}#version: 0.2\n\n\u{120} t\n# #\n\u{120}t h\n\n",
    ] {
        let (list, report) = MergeList::from_merges_txt(text).unwrap();
        assert_eq!(texts(&list), expected, "{text:?}");
        assert_eq!(list.alphabet(), Alphabet::Bytes);
        assert_eq!((report.listed, report.kept), (3, 3));
    }
}

#[test]
fn merges_txt_splits_tokens_with_spaces_where_one_reading_fits() {
    // The third line is "a " + "b" or "a" + " b"; only the first is made of known tokens.
    let (list, _) = MergeList::from_merges_txt("\u{2581} x\na  \na  b\n").unwrap();
    assert_eq!(list.alphabet(), Alphabet::Characters);
    assert_eq!(texts(&list)[2], "a\u{2423} b");
    let error = MergeList::from_merges_txt("\u{2581} x\na  b\n").unwrap_err();
    assert!(matches!(error, Error::Parse { offset: 6, .. }), "{error}");
    let ambiguous = "\u{2581} x\na  \n  b\na  b\n";
    let error = MergeList::from_merges_txt(ambiguous).unwrap_err();
    assert!(matches!(error, Error::Parse { offset: 14, .. }), "{error}");
}

#[test]
fn bad_merges_are_named() {
    let read = |text: &str| MergeList::from_merges_txt(text).unwrap_err();
    assert!(matches!(read(""), Error::Parse { .. }));
    assert!(matches!(read("#version: 0.2\n"), Error::Parse { .. }));
    assert!(matches!(read("a b\nab\n"), Error::Parse { offset: 4, .. }));
    assert!(matches!(read("a b\n c\n"), Error::Parse { offset: 4, .. }));
    assert!(matches!(
        read("a b\nab cd\n"),
        Error::UnknownToken { step: 1, .. }
    ));
    assert!(matches!(
        read("a b\na b\n"),
        Error::DuplicateMerge {
            step: 1,
            first: 0,
            ..
        }
    ));
    assert!(matches!(
        read("a b\na c\na b\n"),
        Error::DuplicateMerge {
            step: 2,
            first: 0,
            ..
        }
    ));
    let options = ReadOptions {
        alphabet: Some(Alphabet::Bytes),
        ..ReadOptions::default()
    };
    let error =
        MergeList::read("a \u{2581}\n".as_bytes(), Format::MergesTxt, &options).unwrap_err();
    assert!(matches!(error, Error::Parse { offset: 0, .. }), "{error}");
    let error = MergeList::read(b"a b\n\xff", Format::MergesTxt, &options).unwrap_err();
    assert!(matches!(error, Error::Parse { offset: 4, .. }), "{error}");
}

#[test]
fn exported_text_uses_the_byte_map() {
    let parts: [(&[u8], &[u8]); 3] = [
        (b" ", b"\n"),
        (b"\xad", b"\x7f"),
        (b"\xe4\xb8"[..1].as_ref(), b"\xb8"),
    ];
    let list = MergeList::from_parts(Alphabet::Bytes, parts).unwrap();
    let text = list.to_merges_txt().unwrap();
    assert_eq!(
        text,
        "#version: 0.2\n\u{120} \u{10a}\n\u{143} \u{121}\n\u{e4} \u{b8}\n"
    );
    let every_byte: Vec<([u8; 1], [u8; 1])> = (0..=255).map(|b| ([b], [b ^ 1])).collect();
    let list = MergeList::from_parts(Alphabet::Bytes, every_byte).unwrap();
    let (again, _) = MergeList::from_merges_txt(&list.to_merges_txt().unwrap()).unwrap();
    assert_eq!(again, list);
    let line_feed = MergeList::from_parts(Alphabet::Characters, [("\n", "\n")]).unwrap();
    assert!(matches!(
        line_feed.to_merges_txt(),
        Err(Error::InvalidValue { .. })
    ));
}

#[test]
fn hugging_face_json_describes_its_pipeline() {
    let trained = sample();
    let json = files::tokenizer_json(&trained, &trained.merges, true, false);
    let (_, report) = MergeList::from_hf_json(json.to_string().as_bytes()).unwrap();
    assert_eq!(report.spec.normalizer, Some(json!({"type": "NFC"})));
    assert_eq!(
        report.spec.pre_tokenizer.as_ref(),
        Some(&json["pre_tokenizer"])
    );
    assert_eq!(report.spec.pattern.as_deref(), Some("\\p{L}+"));
    assert!(report.spec.byte_level && !report.spec.byte_fallback && !report.spec.ignore_merges);
    let added: Vec<_> = report
        .added
        .iter()
        .map(|t| (t.id, t.text.as_str()))
        .collect();
    assert_eq!(added, [(Some(0), "<unk>")]);
    let again: bpe_inference::merges::MergeReport =
        serde_json::from_str(&serde_json::to_string(&report).unwrap()).unwrap();
    assert_eq!(again, report);
}

#[test]
fn other_models_and_features_are_refused_by_name() {
    let read =
        |json: serde_json::Value| MergeList::from_hf_json(json.to_string().as_bytes()).unwrap_err();
    for model in ["Unigram", "WordPiece", "WordLevel"] {
        let vocab = if model == "Unigram" {
            json!([["a", -1.0]])
        } else {
            json!({"a": 0})
        };
        let error = read(json!({"model": {"type": model, "vocab": vocab}}));
        assert!(
            matches!(&error, Error::NotBpe { model: found } if found == model),
            "{error}"
        );
    }
    assert!(matches!(
        read(json!({"model": {"vocab": {"a": 0}}})),
        Error::NotBpe { .. }
    ));
    let mut json = files::tokenizer_json(&sample(), &sample().merges, true, false);
    json["model"]["end_of_word_suffix"] = json!("</w>");
    assert!(matches!(read(json), Error::Parse { .. }));
    let mut json = files::tokenizer_json(&sample(), &sample().merges, true, false);
    json["model"]["merges"][0] = json!("a \u{2581}");
    assert!(matches!(read(json), Error::Parse { .. }));
    // Old files do not name the type.
    let mut json = files::tokenizer_json(&sample(), &sample().merges, true, false);
    json["model"].as_object_mut().unwrap().remove("type");
    assert!(MergeList::from_hf_json(json.to_string().as_bytes()).is_ok());
    let error = MergeList::from_hf_json(b"{\n \"model\": {\n  \"type\": oops}}").unwrap_err();
    assert!(matches!(error, Error::Parse { offset: 24, .. }), "{error}");
}

#[test]
fn a_trained_list_may_make_a_token_twice() {
    let merges = ["a b", "b c", "ab c", "x y", "a bc", "abc d"];
    let merges = merges.map(|line| {
        let (left, right) = line.split_once(' ').unwrap();
        (left.to_owned(), right.to_owned())
    });
    let letters = ["a", "b", "c", "d", "x", "y"].map(str::to_owned).to_vec();
    let trained = Trained {
        letters,
        merges: merges.to_vec(),
    };
    let json = files::tokenizer_json(&trained, &merges, true, false).to_string();
    let (list, report) = MergeList::from_hf_json(json.as_bytes()).unwrap();
    assert_eq!(report.order, ListOrder::Training);
    assert_eq!(
        (
            list.merges().len(),
            list.products(),
            report.duplicate_products
        ),
        (6, 5, 1)
    );
    assert_eq!(list.merges()[2].product, list.merges()[4].product);
    // The caller knows better.
    let options = ReadOptions {
        order: Some(ListOrder::Converted),
        ..ReadOptions::default()
    };
    let (list, report) = MergeList::read(json.as_bytes(), Format::HuggingFace, &options).unwrap();
    assert_eq!((list.merges().len(), report.redundant), (5, 1));
}

#[test]
fn converted_lists_lose_what_was_put_in_by_hand() {
    // As in Mistral: a learnt white run ("\r\r"), runs of the marker at the end whose ids are low, and as in
    // Gemma an added token that merges make.
    let vocab = json!({
        "<unk>": 0, "\u{2581}\u{2581}": 1, "\u{2581}\u{2581}\u{2581}": 2, "ab": 3, "abab": 4, "\r\r": 5,
        "<b>": 6, "ababa": 7, "\u{2581}": 8, "a": 9, "b": 10, "\r": 11, "<": 12, ">": 13,
    });
    let json = json!({
        "added_tokens": [{"id": 0, "content": "<unk>"}, {"id": 6, "content": "<b>"}],
        "model": {"type": "BPE", "byte_fallback": true, "vocab": vocab, "merges": [
            ["a", "b"], ["ab", "ab"], ["\r", "\r"], ["<b", ">"], ["<", "b>"], ["abab", "a"], ["ab", "aba"],
            ["\u{2581}", "\u{2581}"], ["\u{2581}\u{2581}", "\u{2581}"], ["\u{2581}", "\u{2581}\u{2581}"],
        ]},
    });
    let options = ReadOptions {
        order: Some(ListOrder::Converted),
        ..ReadOptions::default()
    };
    let (list, report) =
        MergeList::read(json.to_string().as_bytes(), Format::HuggingFace, &options).unwrap();
    assert_eq!(texts(&list), ["a b", "ab ab", "\\r \\r", "abab a"]);
    let manual: Vec<_> = report
        .manual
        .iter()
        .map(|token| token.id.unwrap())
        .collect();
    assert_eq!(manual, [6, 1, 2]);
    assert_eq!((report.listed, report.kept, report.redundant), (10, 4, 3));
    assert_eq!(report.out_of_order, 0);
    assert!(report.spec.byte_fallback);
    // Single characters of the vocabulary are the letters of training.
    assert!(list.knows_letter(u32::from('a')) && !list.knows_letter(u32::from('z')));
}

#[test]
fn sentencepiece_pieces_are_told_apart() {
    let mut pieces = files::pieces(&sample());
    pieces.push(("\u{2581}\u{2581}".to_owned(), -1e9, 1));
    pieces.push(("<mask>".to_owned(), 0.0, 4));
    let (_, report) = MergeList::from_sentencepiece_model(&files::model(&pieces, 2).0).unwrap();
    assert_eq!(report.manual.len(), 1);
    assert_eq!(report.added.len(), 2);
    assert!(report.spec.byte_fallback && !report.spec.byte_level);
    let spec = report.spec.sentencepiece.unwrap();
    assert_eq!(
        (spec.max_sentencepiece_length, spec.split_digits),
        (20, true)
    );
    assert_eq!(
        (spec.normalization.as_str(), spec.add_dummy_prefix),
        ("identity", false)
    );
    assert!(spec.split_by_whitespace && spec.remove_extra_whitespaces);
    for (model_type, name) in [(1, "Unigram"), (3, "Word"), (4, "Char")] {
        let error =
            MergeList::from_sentencepiece_model(&files::model(&pieces, model_type).0).unwrap_err();
        assert!(
            matches!(&error, Error::NotBpe { model } if model == name),
            "{error}"
        );
    }
    let broken = |piece: files::Piece| {
        let pieces = [files::pieces(&sample()), vec![piece]].concat();
        MergeList::from_sentencepiece_model(&files::model(&pieces, 2).0).unwrap_err()
    };
    assert!(matches!(
        broken(("x".to_owned(), f32::NAN, 1)),
        Error::Parse { .. }
    ));
    assert!(matches!(
        broken(("x".to_owned(), 0.0, 9)),
        Error::Parse { .. }
    ));
    assert!(matches!(
        broken((String::new(), 0.0, 1)),
        Error::Parse { .. }
    ));
    // Equal scores are no order.
    let flat: Vec<files::Piece> = pieces
        .iter()
        .map(|(text, _, kind)| (text.clone(), -1.0, *kind))
        .collect();
    let error = MergeList::from_sentencepiece_model(&files::model(&flat, 2).0).unwrap_err();
    assert!(matches!(error, Error::Parse { .. }), "{error}");
}

#[test]
fn gguf_metadata_says_what_the_tokenizer_is() {
    use files::Entry;
    let (_, report) = MergeList::from_gguf(&files::gguf_gpt2(&sample())).unwrap();
    assert_eq!(report.spec.preset.as_deref(), Some("smollm"));
    assert_eq!(report.added.len(), 1);
    let text = |text: &str| Entry::Text(text.to_owned());
    let read = |entries: &[(&str, Entry)]| MergeList::from_gguf(&files::gguf(entries)).unwrap_err();
    let error = read(&[("tokenizer.ggml.model", text("bert"))]);
    assert!(
        matches!(&error, Error::NotBpe { model } if model == "bert"),
        "{error}"
    );
    assert!(matches!(read(&[]), Error::Parse { .. }));
    assert!(matches!(
        read(&[("tokenizer.ggml.model", text("gpt2"))]),
        Error::Parse { .. }
    ));
    let scores = ("tokenizer.ggml.scores", Entry::Floats(vec![0.0]));
    assert!(matches!(
        read(&[("tokenizer.ggml.model", text("llama")), scores]),
        Error::Parse { .. }
    ));
    let texts = Entry::Texts(vec![]);
    assert!(matches!(
        read(&[("tokenizer.ggml.model", texts)]),
        Error::Parse { .. }
    ));
    let mut big_endian = files::gguf_gpt2(&sample());
    big_endian[4..8].reverse();
    let error = MergeList::from_gguf(&big_endian).unwrap_err();
    assert!(error.to_string().contains("big-endian"), "{error}");
}

#[test]
fn rank_files_carry_their_pattern_and_special_tokens() {
    let ranks = files::ranks(&sample());
    for file in [files::tekken(&ranks), files::anthropic(&ranks)] {
        let (_, report) = MergeList::from_bytes(file.as_bytes(), None).unwrap();
        assert_eq!(report.spec.pattern.as_deref(), Some("\\p{L}+"));
        assert!(report.spec.byte_level);
        assert_eq!(report.added.len(), 1);
    }
    let error = MergeList::from_tiktoken(b"YQ== 0\nYg=! 1\n").unwrap_err();
    assert!(matches!(error, Error::Parse { offset: 7, .. }), "{error}");
    let error = MergeList::from_tiktoken(b"YQ== 0\nYg== minus\n").unwrap_err();
    assert!(matches!(error, Error::Parse { offset: 7, .. }), "{error}");
    let error = MergeList::from_anthropic_json(br#"{"bpe_ranks": "! 4294967295 YQ== Yg=="}"#);
    assert!(matches!(error, Err(Error::Parse { .. })));
    let error = MergeList::from_anthropic_json(br#"{"bpe_ranks": "YQ== Yg=="}"#);
    assert!(matches!(error, Err(Error::Parse { .. })));
}

#[test]
fn js_tables_have_wide_ids_above_two_bytes() {
    let trained = sample();
    let source = files::javascript(&trained, &trained.merges, 70_000);
    let (list, _) = MergeList::from_javascript(&source).unwrap();
    let parts = trained.merges.iter().map(|(left, right)| (left, right));
    assert_eq!(list, MergeList::from_parts(Alphabet::Bytes, parts).unwrap());
    let error = MergeList::from_javascript("const vocab_base64 = \"YQ==\"").unwrap_err();
    assert!(matches!(error, Error::Parse { .. }));
    let dangling = "vocab_base64 = \"YQ==\"; merges_binary = \"AAABAA==\"";
    assert!(matches!(
        MergeList::from_javascript(dangling),
        Err(Error::Parse { .. })
    ));
}

#[test]
fn options_are_checked() {
    let read = |options: &ReadOptions, format| MergeList::read(b"a b\n", format, options);
    for limit in [f64::NAN, -0.1, 1.5] {
        let options = ReadOptions {
            unreachable_limit: limit,
            ..ReadOptions::default()
        };
        let result = read(&options, Format::MergesTxt);
        assert!(matches!(result, Err(Error::InvalidValue { .. })), "{limit}");
    }
    let result = read(&ReadOptions::default(), Format::Ranks);
    assert!(matches!(result, Err(Error::InvalidValue { .. })));
}
