//! Pair traces: exactness against a naive recount, files, checkpoints, the official format.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use bpe_inference::merges::{Alphabet, MergeList, TokenId};
use bpe_inference::trace::{OfficialCounts, PairTrace, TraceOptions};
use bpe_inference::words::{Category, WordCounts};
use bpe_inference::{BpeTrainer, Error};
use proptest::prelude::*;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer};

type Counts = BTreeMap<(TokenId, TokenId), u64>;

/// The definition, word by word: split into letters, break at unknown ones, apply merges from left to right.
struct Naive {
    words: Vec<(Vec<TokenId>, u64)>,
}

impl Naive {
    fn new(list: &MergeList, words: &WordCounts) -> Self {
        let mut split = Vec::new();
        for (word, count) in words.iter() {
            let mut symbols = Vec::new();
            list.alphabet().symbols(word, &mut symbols);
            for part in symbols.split(|&symbol| !list.knows_letter(symbol)) {
                split.push((part.to_vec(), count));
            }
        }
        let mut naive = Self { words: split };
        for merge in list.prefix() {
            naive.merge(merge.left, merge.right, merge.product);
        }
        naive
    }

    fn merge(&mut self, left: TokenId, right: TokenId, product: TokenId) {
        for (word, _) in &mut self.words {
            let mut at = 0;
            while at + 1 < word.len() {
                if (word[at], word[at + 1]) == (left, right) {
                    word.splice(at..at + 2, [product]);
                }
                at += 1;
            }
        }
    }

    fn counts(&self) -> Counts {
        let mut counts = Counts::new();
        for (word, count) in &self.words {
            for pair in word.windows(2) {
                *counts.entry((pair[0], pair[1])).or_default() += count;
            }
        }
        counts
    }
}

/// Compares all counts of all pairs in all categories before every step and after the last.
fn check_against_recount(
    list: &MergeList,
    categories: &[Category],
    steps: usize,
    filter: Option<bpe_inference::trace::PairPredicate<'_>>,
) {
    let mut options = TraceOptions::new();
    if let Some(filter) = filter {
        options = options.with_filter(filter);
    }
    let trace = match PairTrace::build(list, categories, steps, &options) {
        Err(Error::EmptyCategory { name, .. }) => {
            let empty = categories.iter().find(|c| c.name == name).unwrap();
            let counted = Naive::new(list, &empty.words).counts();
            assert!(filter.is_some() || counted.is_empty());
            return;
        }
        trace => trace.unwrap(),
    };
    let merged: BTreeSet<_> = list.steps()[..trace.steps()]
        .iter()
        .map(|merge| (merge.left, merge.right))
        .collect();
    let counted = |pair: &(TokenId, TokenId)| {
        merged.contains(pair) || filter.is_none_or(|f| f(&list.text(pair.0), &list.text(pair.1)))
    };
    let mut naive: Vec<Naive> = categories
        .iter()
        .map(|c| Naive::new(list, &c.words))
        .collect();
    for (category, naive) in trace.categories().iter().zip(&naive) {
        assert_eq!(category.initial_pairs, naive.counts().values().sum::<u64>());
    }
    let mut cursor = trace.counts_at(0);
    let mut ever = BTreeSet::new();
    for t in 0..=trace.steps() {
        for (category, naive) in naive.iter().enumerate() {
            let mut expected = naive.counts();
            expected.retain(|pair, _| counted(pair));
            let found: Counts = (0..trace.pairs().len() as u32)
                .map(|pair| (trace.pairs()[pair as usize], cursor.get(pair, category)))
                .filter(|&(_, count)| count > 0)
                .collect();
            assert_eq!(found, expected, "category {category} before step {t}");
            ever.extend(expected.into_keys());
        }
        if t < trace.steps() {
            let merge = list.steps()[t];
            naive
                .iter_mut()
                .for_each(|n| n.merge(merge.left, merge.right, merge.product));
            assert!(trace.deltas(t).iter().all(|change| change.delta != 0));
            assert!(
                trace
                    .deltas(t)
                    .is_sorted_by_key(|change| (change.pair, change.category))
            );
        }
        assert_eq!(cursor.advance(), t < trace.steps());
    }
    assert_eq!(trace.pairs(), ever.into_iter().collect::<Vec<_>>());
    for (t, merge) in list.steps()[..trace.steps()].iter().enumerate() {
        let pair = (merge.left, merge.right);
        assert_eq!(
            trace.merged(t).map(|id| trace.pairs()[id as usize]),
            trace.pairs().contains(&pair).then_some(pair)
        );
    }
}

/// Words that make trouble: few letters with long runs, all bytes, up to 300 symbols.
fn word() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => proptest::collection::vec(b'a'..=b'c', 0..12),
        2 => proptest::collection::vec(prop_oneof![Just(b'a'), Just(b'a'), Just(b'b')], 0..300),
        1 => proptest::collection::vec(any::<u8>(), 0..40),
        1 => (1..300usize).prop_map(|len| vec![b'a'; len]),
    ]
}

fn words() -> impl Strategy<Value = WordCounts> {
    proptest::collection::vec((word(), 1..50u64), 1..12).prop_map(WordCounts::from_counts)
}

/// A list out of random choices: each merges two known tokens, so products are often made more than once.
fn random_list(alphabet: Alphabet, choices: &[(u16, u16)]) -> MergeList {
    let mut tokens: Vec<Vec<u8>> = vec![b"a".into(), b"b".into(), b"c".into()];
    let mut seen = BTreeSet::new();
    let mut parts = Vec::new();
    for &(left, right) in choices {
        let left = tokens[left as usize % tokens.len()].clone();
        let right = tokens[right as usize % tokens.len()].clone();
        if left.len() + right.len() <= 16 && seen.insert((left.clone(), right.clone())) {
            let product = [&left[..], &right[..]].concat();
            if !tokens.contains(&product) {
                tokens.push(product);
            }
            parts.push((left, right));
        }
    }
    MergeList::from_parts(alphabet, parts).unwrap()
}

fn choices() -> impl Strategy<Value = Vec<(u16, u16)>> {
    proptest::collection::vec((any::<u16>(), any::<u16>()), 1..60)
}

fn two(a: WordCounts, b: WordCounts) -> [Category; 2] {
    [Category::new("a", a), Category::new("b", b)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn replay_equals_a_recount(a in words(), b in words(), choices in choices(), steps in 0..70usize) {
        let list = random_list(Alphabet::Bytes, &choices);
        check_against_recount(&list, &two(a, b), steps, None);
    }

    #[test]
    fn replay_of_a_trained_list_equals_a_recount(a in words(), b in words(), merges in 1..60usize) {
        let (list, _) = BpeTrainer::new(merges).train_mixture(&[(&a, 1.0), (&b, 2.0)]).unwrap();
        check_against_recount(&list, &two(a, b), merges, None);
    }

    #[test]
    fn a_prefix_is_applied_but_not_recorded(a in words(), b in words(), choices in choices(), prefix in 0..40usize) {
        let list = random_list(Alphabet::Bytes, &choices).with_prefix(prefix);
        check_against_recount(&list, &two(a, b), usize::MAX, None);
    }

    #[test]
    fn denied_pairs_are_not_counted(a in words(), b in words(), choices in choices(), salt in any::<u8>()) {
        let list = random_list(Alphabet::Bytes, &choices);
        let filter = move |left: &[u8], right: &[u8]| {
            left.iter().chain(right).fold(salt, |sum, &byte| sum.wrapping_mul(31).wrapping_add(byte)) % 3 > 0
        };
        check_against_recount(&list, &two(a, b), usize::MAX, Some(&filter));
    }

    #[test]
    fn characters_outside_the_coverage_break_words(
        a in "[abc\u{e9}\u{4e00}]{0,30}", b in "[abc\u{e9}\u{4e00}]{2,30}", choices in choices(), known in any::<bool>(),
    ) {
        let mut list = random_list(Alphabet::Characters, &choices);
        if known {
            list = list.with_letters("abc\u{4e00}".chars());
        }
        let words = |text: &str| WordCounts::from_counts([(text.to_owned(), 3), ("ab".into(), 1)]);
        check_against_recount(&list, &two(words(&a), words(&b)), usize::MAX, None);
    }

    #[test]
    fn files_keep_everything(a in words(), b in words(), choices in choices()) {
        let list = random_list(Alphabet::Bytes, &choices);
        if let Ok(trace) = PairTrace::build(&list, &two(a, b), usize::MAX, &TraceOptions::new()) {
            prop_assert_eq!(&PairTrace::from_bytes(&trace.to_bytes()).unwrap(), &trace);
            let json = [0, 1].map(|k| trace.to_official_json(&list, k).unwrap());
            let files = [0, 1].map(|k| OfficialCounts {
                name: &trace.categories()[k].name,
                bytes: trace.categories()[k].bytes,
                json: json[k].as_bytes(),
            });
            prop_assert_eq!(&PairTrace::from_official_json(&list, &files).unwrap(), &trace);
        }
    }
}

/// Two categories of generated words over a few letters.
fn example() -> (MergeList, [Category; 2]) {
    let words = |salt: u64| {
        WordCounts::from_counts((1..200u64).map(|k| {
            let mut state = k * 2_654_435_761 + salt;
            let word: Vec<u8> = (0..2 + k % 9)
                .map(|_| {
                    state = state
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(salt + 1);
                    b'a' + ((state >> 40) % 7).min((state >> 50) % 7) as u8
                })
                .collect();
            (word, 1 + 200 / k)
        }))
    };
    let categories = two(words(1), words(2));
    let (list, _) = BpeTrainer::new(80).train(&categories[0].words).unwrap();
    (list, categories)
}

fn build(
    list: &MergeList,
    categories: &[Category],
    options: &TraceOptions,
) -> Result<PairTrace, Error> {
    PairTrace::build(list, categories, usize::MAX, options)
}

#[test]
fn the_result_does_not_depend_on_threads() {
    let (list, categories) = example();
    let one = build(&list, &categories, &TraceOptions::new().with_threads(1)).unwrap();
    let four = build(&list, &categories, &TraceOptions::new().with_threads(4)).unwrap();
    assert_eq!(one, four);
    assert!(one.steps() > 50);
}

#[test]
fn steps_are_clamped_to_the_list() {
    let (list, categories) = example();
    let all = PairTrace::build(&list, &categories, 1_000_000, &TraceOptions::new()).unwrap();
    assert_eq!(all.steps(), list.steps().len());
    let some = PairTrace::build(&list, &categories, 10, &TraceOptions::new()).unwrap();
    assert_eq!(some.steps(), 10);
    assert_eq!(
        some.counts_at(10).counts(0).count(),
        all.counts_at(10).counts(0).count()
    );
}

#[test]
fn the_first_merge_of_the_training_data_is_the_most_frequent_pair_at_every_step() {
    let (list, categories) = example();
    let trace = build(&list, &categories, &TraceOptions::new()).unwrap();
    let mut cursor = trace.counts_at(0);
    for t in 0..trace.steps() {
        let merged = cursor.get(trace.merged(t).unwrap(), 0);
        let best = (0..trace.pairs().len() as u32)
            .map(|pair| cursor.get(pair, 0))
            .max();
        assert_eq!(Some(merged), best, "step {t}");
        cursor.advance();
    }
}

#[test]
fn a_word_without_spaces_is_not_quadratic() {
    // Rescanning this word of a million letters for each of 2,000 merges would take hours in this profile.
    let mut state = 1u64;
    let text: Vec<u8> = (0..1_000_000)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            b'a' + ((state >> 40) % 26).min((state >> 50) % 26) as u8
        })
        .collect();
    let categories = two(
        WordCounts::from_counts([(&text[..], 1)]),
        WordCounts::from_counts([(&text[..10], 1)]),
    );
    let (list, _) = BpeTrainer::new(2_000).train(&categories[0].words).unwrap();
    let trace = build(&list, &categories, &TraceOptions::new()).unwrap();
    let left: u64 = {
        let end = trace.counts_at(2_000);
        (0..trace.pairs().len() as u32)
            .map(|pair| end.get(pair, 0))
            .sum()
    };
    assert!(left < 500_000, "{left} pairs left");
}

#[test]
fn bad_categories_are_refused() {
    let (list, [a, b]) = example();
    let options = TraceOptions::new();
    let error = |categories: &[Category]| build(&list, categories, &options).unwrap_err();
    assert!(matches!(
        error(std::slice::from_ref(&a)),
        Error::TooFewCategories { found: 1 }
    ));
    assert!(
        matches!(error(&[a.clone(), a.clone()]), Error::DuplicateCategory { name } if name == "a")
    );
    let empty = Category::new("e", WordCounts::from_counts([("x", 5), ("", 2)]));
    assert!(
        matches!(error(&[a.clone(), empty]), Error::EmptyCategory { name, bytes: 5 } if name == "e")
    );
    let mut huge = Category::new("h", WordCounts::default());
    huge.words = WordCounts::from_counts([("xy", u64::MAX / 2), ("yx", 9)]);
    assert!(matches!(error(&[a.clone(), huge]), Error::CountOverflow { name } if name == "h"));
    let cancel = AtomicBool::new(true);
    let cancelled = build(&list, &[a, b], &TraceOptions::new().with_cancel(&cancel));
    assert!(matches!(cancelled, Err(Error::Cancelled { partial: None })));
}

#[test]
fn a_file_with_any_damaged_byte_is_refused() {
    let (list, categories) = example();
    let trace = PairTrace::build(&list, &categories, 12, &TraceOptions::new()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trace");
    trace.save(&path).unwrap();
    assert_eq!(PairTrace::load(&path).unwrap(), trace);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);

    let bytes = fs::read(&path).unwrap();
    let refused = |bytes: &[u8]| {
        matches!(
            PairTrace::from_bytes(bytes),
            Err(Error::Parse { .. } | Error::VersionMismatch { .. })
        )
    };
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        assert!(refused(&damaged), "byte {at} of {}", bytes.len());
        assert!(refused(&bytes[..at]), "{at} bytes of {}", bytes.len());
    }
    assert!(refused(&[&bytes[..], b"x"].concat()));
    assert!(matches!(
        PairTrace::load(folder.path().join("none")),
        Err(Error::Io { .. })
    ));
}

/// Files that pass the checksum but not the checks behind it.
#[test]
fn a_file_with_a_good_checksum_and_bad_contents_is_refused() {
    let (list, categories) = example();
    let trace = PairTrace::build(&list, &categories, 3, &TraceOptions::new()).unwrap();
    let bytes = trace.to_bytes();
    let mut refused = BTreeSet::new();
    for at in 28..bytes.len() - 8 {
        for value in [0x00, 0x7f, 0xff] {
            let mut forged = bytes[..bytes.len() - 8].to_vec();
            forged[at] = value;
            forged.extend(xxhash_rust::xxh3::xxh3_64(&forged).to_le_bytes());
            // Neither a panic nor much memory; what is accepted keeps the invariants.
            let Ok(trace) = PairTrace::from_bytes(&forged) else {
                refused.insert((at, value));
                continue;
            };
            assert!(trace.pairs().is_sorted());
            let end = trace.counts_at(usize::MAX);
            let pairs = 0..trace.pairs().len() as u32;
            assert!(
                pairs
                    .flat_map(|pair| end.counts(pair))
                    .all(|(_, count)| i64::try_from(count).is_ok())
            );
        }
    }
    // The first byte is the number of categories, the second the length of a name.
    for at in [28, 29] {
        assert!(
            [0x00, 0x7f, 0xff]
                .iter()
                .all(|&value| refused.contains(&(at, value)))
        );
    }
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    files.sort();
    files
}

#[test]
fn checkpoints_are_reused_and_change_nothing() {
    let (list, categories) = example();
    let plain = build(&list, &categories, &TraceOptions::new()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("deep/er");
    let options = TraceOptions::new().with_checkpoints(&directory);
    assert_eq!(build(&list, &categories, &options).unwrap(), plain);
    let saved = files(&directory);
    assert_eq!(saved.len(), 2);

    // A rerun that lost one of them, as after an interruption: an unfinished file does not count.
    let kept = fs::read(&saved[0]).unwrap();
    fs::rename(&saved[1], saved[1].with_extension("category.1.unfinished")).unwrap();
    assert_eq!(build(&list, &categories, &options).unwrap(), plain);
    assert_eq!(fs::read(&saved[0]).unwrap(), kept);

    // Another filter uses the same files, other steps or words do not.
    let filter = |left: &[u8], _: &[u8]| left != b"a";
    let filtered = build(
        &list,
        &categories,
        &TraceOptions::new().with_filter(&filter),
    )
    .unwrap();
    let before = files(&directory).len();
    assert_eq!(
        build(&list, &categories, &options.with_filter(&filter)).unwrap(),
        filtered
    );
    assert_eq!(files(&directory).len(), before);
    PairTrace::build(&list, &categories, 5, &options).unwrap();
    assert_eq!(files(&directory).len(), before + 2);
    assert_ne!(filtered, plain);
}

#[test]
fn damaged_and_foreign_checkpoints_are_errors() {
    let (list, categories) = example();
    let folder = tempfile::tempdir().unwrap();
    let options = TraceOptions::new().with_checkpoints(folder.path());
    let trace = build(&list, &categories, &options).unwrap();
    let saved = files(folder.path());
    let good = fs::read(&saved[0]).unwrap();

    let mut damaged = good.clone();
    *damaged.last_mut().unwrap() ^= 1;
    fs::write(&saved[0], damaged).unwrap();
    assert!(matches!(
        build(&list, &categories, &options),
        Err(Error::Parse { .. })
    ));
    fs::write(&saved[0], &good[..good.len() / 2]).unwrap();
    assert!(matches!(
        build(&list, &categories, &options),
        Err(Error::Parse { .. })
    ));
    fs::write(&saved[0], trace.to_bytes()).unwrap();
    assert!(matches!(
        build(&list, &categories, &options),
        Err(Error::Parse { .. })
    ));
    fs::copy(&saved[1], &saved[0]).unwrap();
    assert!(matches!(
        build(&list, &categories, &options),
        Err(Error::VersionMismatch { .. })
    ));
    fs::write(&saved[0], good).unwrap();
    assert_eq!(build(&list, &categories, &options).unwrap(), trace);
}

#[test]
fn official_files_that_make_no_sense_are_refused() {
    let list = MergeList::from_parts(Alphabet::Bytes, [("a", "b"), (" ", "ab")]).unwrap();
    let read = |json: &str| {
        let file = |name| OfficialCounts {
            name,
            bytes: 9,
            json: json.as_bytes(),
        };
        PairTrace::from_official_json(&list, &[file("x"), file("y")])
    };
    let trace = read(r#"[{"a b":5,"Ġ a":2},{"a b":0,"Ġ a":0,"Ġ ab":2}]"#).unwrap();
    assert_eq!(trace.steps(), 1);
    assert_eq!(trace.categories()[0].initial_pairs, 7);
    assert_eq!(
        trace.counts_at(1).get(
            trace.pairs().iter().position(|&p| p == (32, 256)).unwrap() as u32,
            1
        ),
        2
    );
    for bad in [
        "",
        "[",
        "{}",
        "[]",
        r#"[{"a b":-1}]"#,
        r#"[{"a b":1.5}]"#,
        r#"[{"a b":1,"a b":2}]"#,
        r#"[{"a zz":1}]"#,
        r#"[{"ab":1}]"#,
        r#"[{"a b":1},{},{},{}]"#,
    ] {
        assert!(matches!(read(bad), Err(Error::Parse { .. })), "{bad}");
    }
    assert!(matches!(
        read(r#"[{"a b":9223372036854775808}]"#),
        Err(Error::CountOverflow { .. })
    ));
    assert!(matches!(read("[{}]"), Err(Error::EmptyCategory { .. })));
    let sized = |bytes| OfficialCounts {
        name: ["x", "y"][usize::from(bytes == 0)],
        bytes,
        json: br#"[{"a b":1}]"#,
    };
    match PairTrace::from_official_json(&list, &[sized(9), sized(0)]) {
        Err(Error::EmptyCategory { name, bytes: 0 }) => assert_eq!(name, "y"),
        other => panic!("a category of 0 bytes was taken: {other:?}"),
    }
    assert!(matches!(
        trace.to_official_json(&list, 2),
        Err(Error::InvalidValue { .. })
    ));
}

/// GPT-2's byte map, from characters to bytes.
fn byte_chars() -> BTreeMap<char, u8> {
    let printable = |byte: &u8| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    let hidden = (0..=255u8).filter(|byte| !printable(byte)).zip('\u{100}'..);
    (0..=255u8)
        .filter(printable)
        .map(|byte| (char::from(byte), byte))
        .chain(hidden.map(|(byte, c)| (c, byte)))
        .collect()
}

/// Words of a text as the official programs cut it: line by line, GPT-2's pattern.
fn gpt2_words(text: &str) -> WordCounts {
    let split = ByteLevel::new(false, false, true);
    let mut words: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
    for line in text.split_inclusive('\n') {
        let mut pieces = PreTokenizedString::from(line);
        split.pre_tokenize(&mut pieces).unwrap();
        for (_, (start, end), _) in pieces.get_splits(OffsetReferential::Original, OffsetType::Byte)
        {
            *words
                .entry(line.as_bytes()[start..end].to_vec())
                .or_default() += 1;
        }
    }
    WordCounts::from_counts(words)
}

/// `tests/data/official/README.md` says how the files were made.
#[test]
fn counts_equal_those_of_the_official_program() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/official");
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    let categories = ["english", "german"]
        .map(|name| Category::new(name, gpt2_words(&read(&format!("{name}.txt")))));
    let listed = read("merges.txt");
    let merges: Vec<(String, String)> = listed
        .lines()
        .skip(1)
        .map(|line| line.split_once(' ').unwrap())
        .map(|(left, right)| (left.to_owned(), right.to_owned()))
        .collect();
    let map = byte_chars();
    let bytes = |token: &String| token.chars().map(|c| map[&c]).collect::<Vec<u8>>();
    let list = MergeList::from_parts(
        Alphabet::Bytes,
        merges.iter().map(|(l, r)| (bytes(l), bytes(r))),
    )
    .unwrap();
    assert_eq!(
        list.products(),
        list.merges().len(),
        "the official program needs distinct products"
    );

    let ours = build(&list, &categories, &TraceOptions::new()).unwrap();
    let json = ["english", "german"].map(|name| read(&format!("{name}.json")));
    let official = [0, 1].map(|k| OfficialCounts {
        name: &categories[k].name,
        bytes: categories[k].bytes,
        json: json[k].as_bytes(),
    });
    let theirs = PairTrace::from_official_json(&list, &official).unwrap();
    assert!(theirs.steps() >= 200);
    assert_eq!(ours, theirs);
}
