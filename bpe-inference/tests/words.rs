//! Counting words: the same result for every way of reading, and the laws of resampling and mixing.

use std::collections::BTreeMap;
use std::io::{self, Read};

use bpe_inference::Error;
use bpe_inference::pretokenizer::{InvalidBytes, LineMode, Normalizer, Pretokenizer, TextPipeline};
use bpe_inference::words::{Category, WordCounts, WordCountsBuilder};
use proptest::prelude::*;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

const SAMPLE: &str = include_str!("data/multilingual.txt");

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

fn pipelines() -> Vec<TextPipeline> {
    let mut all = TextPipeline::presets();
    all.push(TextPipeline::new(Pretokenizer::regex(r"\w+|\s").unwrap()));
    let lines = all
        .clone()
        .into_iter()
        .map(|p| p.with_lines(LineMode::Lines));
    all.extend(lines.collect::<Vec<_>>());
    let normalized = [Normalizer::Nfc, Normalizer::Nfkc].map(|normalizer| {
        let all = all.iter().cloned();
        all.map(move |p| p.with_normalizer(normalizer))
            .collect::<Vec<_>>()
    });
    all.extend(normalized.into_iter().flatten());
    all
}

/// Text in which safe places to cut are as common as treacherous ones.
fn text() -> impl Strategy<Value = String> {
    const PIECES: &[&str] = &[
        "word",
        "Other",
        "слово",
        "中文",
        "と",
        "ª",
        "x",
        "S",
        "ſ",
        "7",
        "42",
        "٣",
        "½",
        "ﬁ",
        "\u{fdfa}",
        "\u{958}",
        "\u{37a}",
        "가",
        "\u{1100}",
        "\u{1161}",
        "\u{11a8}",
        "e\u{301}",
        "\u{301}",
        "\u{338}",
        "\u{345}",
        "'",
        "'s",
        "'LL",
        ".",
        ",",
        "。",
        "/",
        "//",
        "(",
        "▁",
        "😀",
        "\u{200d}",
        " ",
        " ",
        "  ",
        "\n",
        "\n",
        "\r\n",
        "\n\n",
        "\t",
        "\u{a0}",
        "\u{3000}",
        "\u{2028}",
        "=",
        "≠",
    ];
    proptest::collection::vec(proptest::sample::select(PIECES), 0..80).prop_map(|p| p.concat())
}

/// The same with stretches of bytes that are not UTF-8.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let broken: &[&[u8]] = &[
        b"\xff",
        b"\xe2\x96",
        b"\xc3",
        b"\x80",
        b"\xf0\x9f\x98",
        b"\xed\xa0\x80",
    ];
    let broken = proptest::sample::select(broken).prop_map(<[u8]>::to_vec);
    let piece = prop_oneof![4 => text().prop_map(String::into_bytes), 1 => broken];
    proptest::collection::vec(piece, 0..8).prop_map(|p| p.concat())
}

/// Reads a few bytes at a time.
struct Trickle<'t>(&'t [u8]);

impl Read for Trickle<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let n = into.len().min(3);
        self.0.read(&mut into[..n])
    }
}

fn once(pipeline: &TextPipeline, text: &[u8]) -> Category {
    let mut builder = WordCounts::builder(pipeline)
        .threads(1)
        .chunk_bytes(usize::MAX);
    builder.add_bytes(text).unwrap();
    builder.finish_category("").unwrap()
}

fn by_words(pipeline: &TextPipeline, text: &str) -> WordCounts {
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for word in pipeline.words(text).unwrap() {
        *counts.entry(word).or_default() += 1;
    }
    WordCounts::from_counts(counts)
}

#[test]
fn counts_are_those_of_the_words() {
    for pipeline in pipelines() {
        let counted = once(&pipeline, SAMPLE.as_bytes());
        assert_eq!(counted.words, by_words(&pipeline, SAMPLE), "{pipeline}");
        assert_eq!(counted.bytes, SAMPLE.len() as u64);
    }
    // More words than a fresh table holds, short and long, with NULs at the end.
    let text: String = (0..5000)
        .map(|k| format!(" {k}\0 {}{k}\0\0", "long".repeat(k % 9)))
        .collect();
    let pipeline = TextPipeline::new(Pretokenizer::regex(r" \d+\x00|[^ ]+").unwrap());
    assert_eq!(
        once(&pipeline, text.as_bytes()).words,
        by_words(&pipeline, &text)
    );
}

#[test]
fn results_do_not_depend_on_chunks_or_threads() {
    let pipelines = pipelines();
    proptest!(cases(96), |(text in bytes(), chunk in 1_usize..70, threads in 1_usize..4)| {
        let valid = std::str::from_utf8(&text).is_ok();
        for pipeline in pipelines.iter().filter(|p| valid || !p.pretokenizer.needs_utf8()) {
            let expected = once(pipeline, &text);
            let builder = || WordCounts::builder(pipeline).threads(threads).chunk_bytes(chunk);
            let finish = |builder: WordCountsBuilder| builder.finish_category("").unwrap();
            let mut slice = builder();
            slice.add_bytes(&text).unwrap();
            prop_assert_eq!(&finish(slice), &expected, "{} in chunks of {}", pipeline, chunk);
            let mut stream = builder();
            stream.add_reader("stream", Trickle(&text)).unwrap();
            prop_assert_eq!(&finish(stream), &expected, "{} streamed by {}", pipeline, chunk);
        }
    });
}

/// The invariance again on longer text, where every chunk is many words long and threads really share it.
#[test]
fn results_do_not_depend_on_chunks_or_threads_in_long_text() {
    let text = SAMPLE.repeat(60);
    for pipeline in pipelines() {
        let expected = once(&pipeline, text.as_bytes());
        for (chunk, threads) in [(777, 4), (4096, 2), (65_536, 3)] {
            let mut builder = WordCounts::builder(&pipeline)
                .threads(threads)
                .chunk_bytes(chunk);
            builder.add_reader("stream", text.as_bytes()).unwrap();
            assert_eq!(
                builder.finish_category("").unwrap(),
                expected,
                "{pipeline} by {chunk}"
            );
        }
    }
}

#[test]
fn documents_are_apart() {
    let mut builder = WordCounts::builder(&TextPipeline::gpt2());
    builder.add_str("one ").unwrap().add_str(" two").unwrap();
    assert_eq!(builder.bytes(), 8);
    let words = WordCounts::from_counts([(" ", 1), (" two", 1), ("one", 1)]);
    assert_eq!(builder.finish().unwrap(), words);
}

#[test]
fn invalid_bytes_are_words_of_their_own() {
    let words = once(&TextPipeline::cl100k(), b"abc\xff\xfe def \xe2\x96!").words;
    let expected: [(&[u8], u64); 6] = [
        (b"abc", 1),
        (b"\xff\xfe", 1),
        (b" def", 1),
        (b" ", 1),
        (b"\xe2\x96", 1),
        (b"!", 1),
    ];
    assert_eq!(words, WordCounts::from_counts(expected));
    assert_eq!(words.bytes(), 13);
}

#[test]
fn rejected_bytes_are_named_by_origin_and_offset() {
    let mut text = SAMPLE.repeat(3).into_bytes();
    let offset = 2 * SAMPLE.len() + SAMPLE.find("Polski").unwrap();
    text.insert(offset, 0xff);
    text.insert(offset + 500, 0xff);
    for pipeline in [
        TextPipeline::llama(),
        TextPipeline::gpt2().with_invalid(InvalidBytes::Reject),
    ] {
        for (chunk, threads) in [(usize::MAX, 1), (300, 1), (300, 3), (40, 2)] {
            let mut builder = WordCounts::builder(&pipeline)
                .chunk_bytes(chunk)
                .threads(threads);
            match builder.add_reader("corpus.txt", text.as_slice()).map(drop) {
                Err(Error::InvalidUtf8 {
                    origin,
                    offset: found,
                }) => {
                    assert_eq!((origin.as_str(), found), ("corpus.txt", offset as u64));
                }
                other => panic!("{pipeline}: {other:?}"),
            }
        }
    }
}

#[test]
fn pattern_failures_and_read_failures_are_errors() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("unplugged"))
        }
    }
    let mut builder = WordCounts::builder(&TextPipeline::gpt2());
    let error = builder
        .add_reader("disk", b"some".chain(Broken))
        .map(drop)
        .unwrap_err();
    assert!(
        matches!(&error, Error::Io { path, .. } if path.as_os_str() == "disk"),
        "{error}"
    );

    let pattern = Pretokenizer::regex(r"(?:(a|aa)+)+\1(?=b)c").unwrap();
    let pipeline = TextPipeline::new(pattern).with_lines(LineMode::Lines);
    let mut builder = WordCounts::builder(&pipeline).chunk_bytes(100).threads(2);
    let text = format!("{}\n", "a".repeat(60)).repeat(20);
    let error = builder.add_str(&text).map(drop).unwrap_err();
    assert!(matches!(error, Error::Pattern { .. }), "{error}");
}

#[test]
fn a_limit_takes_the_start_of_the_text() {
    for most in [0, 1, 7, 8, 9, 100, 1000] {
        let text = "häuser und straßen, ".repeat(10);
        let kept = &text[..text.floor_char_boundary(most)];
        let expected = once(&TextPipeline::o200k(), kept.as_bytes());
        for chunk in [5, 1 << 20] {
            let builder = || {
                WordCounts::builder(&TextPipeline::o200k())
                    .max_bytes(most as u64)
                    .chunk_bytes(chunk)
            };
            let mut whole = builder();
            whole.add_str(&text).unwrap();
            assert_eq!(whole.finish_category("").unwrap(), expected, "{most} bytes");
            let mut stream = builder();
            stream.add_reader("", text.as_bytes()).unwrap();
            assert_eq!(
                stream.finish_category("").unwrap(),
                expected,
                "{most} bytes streamed"
            );
        }
    }
    let mut builder = WordCounts::builder(&TextPipeline::gpt2()).max_bytes(6);
    builder
        .add_str("one")
        .unwrap()
        .add_str("two")
        .unwrap()
        .add_str("three")
        .unwrap();
    let words = WordCounts::from_counts([("one", 1), ("two", 1)]);
    assert_eq!(builder.finish().unwrap(), words);
}

#[test]
fn folders_are_read_in_order_and_by_extension() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("b/second.txt", "bb");
    write("a.TXT", "aa");
    write("b/first.md", "mm");
    write("c/deep/er.txt", "cc");
    write("no-extension", "nn");
    let count = |builder: WordCountsBuilder| {
        let mut builder = builder;
        builder.add_path(folder.path()).unwrap();
        builder.finish_category("files").unwrap()
    };
    let builder = || WordCounts::builder(&TextPipeline::gpt2());
    let all = count(builder());
    assert_eq!((all.bytes, all.words.len()), (10, 5));
    let some = count(builder().extensions(["txt"]));
    assert_eq!(
        some.words,
        WordCounts::from_counts([("aa", 1), ("bb", 1), ("cc", 1)])
    );
    let first = count(builder().max_bytes(4));
    assert_eq!(first.words, WordCounts::from_counts([("aa", 1), ("mm", 1)]));

    let mut file = builder().extensions(["rs"]);
    file.add_path(folder.path().join("a.TXT")).unwrap();
    assert_eq!(file.finish().unwrap(), WordCounts::from_counts([("aa", 1)]));
    let missing = builder()
        .add_path(folder.path().join("missing"))
        .map(drop)
        .unwrap_err();
    assert!(matches!(missing, Error::Io { .. }), "{missing}");
}

#[test]
fn resampling_follows_the_law_of_poisson() {
    let counts: Vec<(String, u64)> = (0..2000).map(|k| (format!("w{k}"), 1 + k % 40)).collect();
    let words = WordCounts::from_counts(counts);
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for scale in [0.3, 1.0, 50.0] {
        let drawn = words.resample(scale, &mut rng).unwrap();
        let found: BTreeMap<&[u8], u64> = drawn.iter().collect();
        let (mut sum, mut expected, mut chi) = (0.0, 0.0, 0.0);
        for (word, count) in words.iter() {
            let mean = scale * count as f64;
            let got = found.get(word).copied().unwrap_or(0) as f64;
            sum += got;
            expected += mean;
            chi += (got - mean).powi(2) / mean;
        }
        assert!(
            (sum - expected).abs() < 5.0 * f64::sqrt(expected),
            "{sum} of {expected}"
        );
        // Variance equals mean: about 2000 with standard deviation sqrt(2 * 2000), a little more at small means.
        assert!((chi - 2000.0).abs() < 500.0, "{chi}");
    }
    let again = |seed| {
        words
            .resample(1.0, &mut ChaCha8Rng::seed_from_u64(seed))
            .unwrap()
    };
    assert_eq!(again(5), again(5));
    assert_ne!(again(5), again(6));
    assert!(words.resample(0.0, &mut rng).unwrap().is_empty());
    for scale in [-1.0, f64::NAN, f64::INFINITY] {
        let error = words.resample(scale, &mut rng).unwrap_err();
        assert!(matches!(error, Error::InvalidValue { .. }), "{error}");
    }
    let error = words.resample(1e300, &mut rng).unwrap_err();
    assert!(matches!(error, Error::CountOverflow { .. }), "{error}");
}

#[test]
fn sums_add_up_word_by_word() {
    let a = WordCounts::from_counts([("a", 1), ("b", 10), ("d", 2)]);
    let b = WordCounts::from_counts([("b", 5), ("c", 4)]);
    let sum = WordCounts::from_counts([("a", 1), ("b", 15), ("c", 4), ("d", 2)]);
    assert_eq!(WordCounts::merge([&a, &b]).unwrap(), sum);
    assert_eq!(WordCounts::merge([]).unwrap(), WordCounts::default());
    let mixed = WordCounts::scaled_sum([(&a, 0.3), (&b, 2.0)]).unwrap();
    assert_eq!(
        mixed,
        WordCounts::from_counts([("b", 13), ("c", 8), ("d", 1)])
    );

    let full = WordCounts::from_counts([("b", u64::MAX)]);
    for error in [
        WordCounts::merge([&full, &a]).unwrap_err(),
        WordCounts::scaled_sum([(&full, 2.0)]).unwrap_err(),
    ] {
        assert!(matches!(error, Error::CountOverflow { .. }), "{error}");
    }
    assert_eq!(WordCounts::from_counts([("b", u64::MAX), ("b", 2)]), full);
    assert_eq!(full.bytes(), u64::MAX);
    let error = WordCounts::scaled_sum([(&a, -0.1)]).unwrap_err();
    assert!(matches!(error, Error::InvalidValue { .. }), "{error}");
}

#[test]
fn stored_counts_are_checked() {
    let words = once(&TextPipeline::gpt2(), SAMPLE.as_bytes()).words;
    let json = serde_json::to_string(&words).unwrap();
    assert_eq!(serde_json::from_str::<WordCounts>(&json).unwrap(), words);
    for (broken, why) in [
        (
            r#"{"arena":[97,98],"ends":[1],"counts":[1]}"#,
            "bytes beyond the last end",
        ),
        (
            r#"{"arena":[97],"ends":[2],"counts":[1]}"#,
            "an end beyond the bytes",
        ),
        (
            r#"{"arena":[97,98],"ends":[1,2],"counts":[1]}"#,
            "a word without count",
        ),
        (
            r#"{"arena":[97,98],"ends":[1,2],"counts":[1,0]}"#,
            "a count of 0",
        ),
        (
            r#"{"arena":[98,97],"ends":[1,2],"counts":[1,1]}"#,
            "words out of order",
        ),
        (
            r#"{"arena":[97,97],"ends":[1,2],"counts":[1,1]}"#,
            "a word twice",
        ),
        (
            r#"{"arena":[97,98],"ends":[2,1],"counts":[1,1]}"#,
            "ends out of order",
        ),
    ] {
        assert!(serde_json::from_str::<WordCounts>(broken).is_err(), "{why}");
    }
}
