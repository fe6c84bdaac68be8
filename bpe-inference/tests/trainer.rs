//! The trainer against a naive one and against Hugging Face `tokenizers`.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

use bpe_inference::merges::{Alphabet, MergeList};
use bpe_inference::trainer::StopReason;
use bpe_inference::words::WordCounts;
use bpe_inference::{BpeTrainer, Error};
use proptest::prelude::*;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use tokenizers::models::bpe::{BPE, BpeTrainer as HfTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{Model, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer, Trainer};

type Text = Vec<u8>;

/// Texts of the parts of all merges.
fn parts(list: &MergeList) -> Vec<(Text, Text)> {
    let text = |id| list.text(id).into_owned();
    list.merges()
        .iter()
        .map(|merge| (text(merge.left), text(merge.right)))
        .collect()
}

/// The definition over characters, with ties by (left, right) in the order letters, then products by age.
fn naive(words: &[(&str, u64)], merges: usize, min: u64, longest: usize) -> Vec<(Text, Text)> {
    let mut tokens: Vec<String> = words
        .iter()
        .flat_map(|(w, _)| w.chars())
        .map(String::from)
        .collect();
    tokens.sort();
    tokens.dedup();
    let id = |tokens: &[String], text: &str| tokens.iter().position(|token| token == text).unwrap();
    let mut split: Vec<(Vec<usize>, u64)> = words
        .iter()
        .map(|&(word, count)| {
            (
                word.chars().map(|c| id(&tokens, &c.to_string())).collect(),
                count,
            )
        })
        .collect();
    let mut made = Vec::new();
    while made.len() < merges {
        let mut counts: BTreeMap<(usize, usize), u64> = BTreeMap::new();
        for (word, count) in &split {
            for pair in word.windows(2) {
                *counts.entry((pair[0], pair[1])).or_default() += count;
            }
        }
        counts.retain(|&(left, right), &mut count| {
            let parts = (
                tokens[left].clone().into_bytes(),
                tokens[right].clone().into_bytes(),
            );
            let letters = tokens[left].chars().count() + tokens[right].chars().count();
            count >= min && letters <= longest && !made.contains(&parts)
        });
        let Some((&(left, right), _)) = counts
            .iter()
            .max_by_key(|&(&pair, &count)| (count, std::cmp::Reverse(pair)))
        else {
            break;
        };
        let text = tokens[left].clone() + &tokens[right];
        made.push((
            tokens[left].clone().into_bytes(),
            tokens[right].clone().into_bytes(),
        ));
        if !tokens.contains(&text) {
            tokens.push(text.clone());
        }
        let product = id(&tokens, &text);
        for (word, _) in &mut split {
            let mut at = 0;
            while at + 1 < word.len() {
                if (word[at], word[at + 1]) == (left, right) {
                    word.splice(at..at + 2, [product]);
                }
                at += 1;
            }
        }
    }
    made
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn training_follows_the_definition(
        words in proptest::collection::vec(("[abc\u{e9}]{0,14}", 1..20u64), 1..10),
        merges in 0..40usize,
        min in 1..6u64,
        longest in prop_oneof![Just(usize::MAX), 2..6usize],
    ) {
        let words: Vec<(&str, u64)> = words.iter().map(|(word, count)| (&word[..], *count)).collect();
        let trainer = BpeTrainer::new(merges)
            .with_alphabet(Alphabet::Characters)
            .with_min_frequency(min)
            .with_max_token_length(longest);
        let (list, report) = trainer.train(&WordCounts::from_counts(words.iter().copied())).unwrap();
        prop_assert_eq!(parts(&list), naive(&words, merges, min, longest));
        prop_assert_eq!(report.merges, list.merges().len());
        prop_assert_eq!(report.stop == StopReason::Merges, report.merges == merges);
    }
}

/// Lines of words drawn by rank from a language that `seed` makes up.
fn corpus(seed: u64, letters: &str, lines: usize) -> String {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let letters: Vec<char> = letters.chars().collect();
    let lexicon: Vec<String> = (0..3_000)
        .map(|_| {
            let len = 1 + rng.next_u32() % 9;
            (0..len)
                .map(|_| {
                    let at = (rng.next_u32() as usize % letters.len())
                        .min(rng.next_u32() as usize % letters.len());
                    letters[at]
                })
                .collect()
        })
        .collect();
    let mut text = String::new();
    for _ in 0..lines {
        for _ in 0..10 {
            let uniform = f64::from(rng.next_u32()) / f64::from(u32::MAX);
            let rank = ((lexicon.len() as f64).powf(uniform) as usize).min(lexicon.len() - 1);
            text += &lexicon[rank];
            text += [" ", " ", " ", ", ", "  ", "--", ". "][rng.next_u32() as usize % 7];
        }
        text.push('\n');
    }
    text
}

/// GPT-2's byte map, the other way round.
fn bytes_of(text: &str) -> Text {
    let printable = |byte: &u8| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    let hidden: Vec<u8> = (0..=255).filter(|byte| !printable(byte)).collect();
    text.chars()
        .map(|c| match u32::from(c) {
            code @ 256.. => hidden[code as usize - 256],
            code => code as u8,
        })
        .collect()
}

#[test]
fn merges_equal_those_of_hugging_face() {
    let corpora = [
        corpus(1, "etaoinshrdlucmfwypvbgkjqxz", 2_000),
        corpus(2, "оеаинтсрвлкмдпу", 2_000),
        corpus(3, "的一是不了人我在有他这中大来上国", 2_000),
        corpus(4, "aab", 2_000),
        corpus(5, "ก็ขคงจaeiou0123456789", 2_000),
        corpus(6, "-=_*#.aeäöüßé", 2_000),
    ];
    for (k, text) in corpora.iter().enumerate() {
        let split = ByteLevel::new(false, true, true);
        let process = |line: &str| {
            let mut pieces = PreTokenizedString::from(line);
            split.pre_tokenize(&mut pieces)?;
            let pieces = pieces.get_splits(OffsetReferential::Original, OffsetType::Byte);
            Ok(pieces
                .into_iter()
                .map(|(piece, _, _)| piece.to_owned())
                .collect::<Vec<String>>())
        };
        let mut trainer = HfTrainer::builder()
            .show_progress(false)
            .min_frequency(2)
            .vocab_size(256 + 1_500)
            .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
            .build();
        trainer.feed(text.split_inclusive('\n'), process).unwrap();
        let mut model = BPE::default();
        trainer.train(&mut model).unwrap();
        let folder = tempfile::tempdir().unwrap();
        model.save(folder.path(), None).unwrap();
        let saved = std::fs::read_to_string(folder.path().join("merges.txt")).unwrap();
        let theirs: Vec<(Text, Text)> = saved
            .lines()
            .skip(1)
            .map(|line| line.split_once(' ').unwrap())
            .map(|(left, right)| (bytes_of(left), bytes_of(right)))
            .collect();

        let mut words: BTreeMap<Text, u64> = BTreeMap::new();
        for line in text.split_inclusive('\n') {
            let pieces: Result<Vec<String>, tokenizers::Error> = process(line);
            for piece in pieces.unwrap() {
                *words.entry(bytes_of(&piece)).or_default() += 1;
            }
        }
        let (list, report) = BpeTrainer::new(usize::MAX)
            .with_vocabulary(256 + 1_500)
            .with_min_frequency(2)
            .train(&WordCounts::from_counts(words))
            .unwrap();
        let ours = parts(&list);
        assert_eq!(ours, theirs, "corpus {k}");
        assert_eq!(report.merges, ours.len());
        assert!(ours.len() >= 150, "corpus {k}: only {} merges", ours.len());
    }
}

#[test]
fn a_mixture_counts_like_its_parts_repeated() {
    let a = WordCounts::from_counts([("abab", 3), ("abc", 1)]);
    let b = WordCounts::from_counts([("abc", 4), ("cab", 2)]);
    let joint = WordCounts::from_counts([("abab", 6), ("abc", 14), ("cab", 6)]);
    let trainer = BpeTrainer::new(10);
    let mixed = trainer.train_mixture(&[(&a, 2.0), (&b, 3.0)]).unwrap();
    assert_eq!(mixed, trainer.train(&joint).unwrap());
    for bad in [-1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(
            trainer.train_mixture(&[(&a, bad)]),
            Err(Error::InvalidValue { .. })
        ));
    }
    assert!(matches!(
        trainer.train_mixture(&[(&a, 1e300)]),
        Err(Error::CountOverflow { .. })
    ));
    assert_eq!(trainer.train_mixture(&[(&a, 0.0)]).unwrap().1.words, 0);
}

#[test]
fn counts_beyond_32_bits_are_exact() {
    let big = 1u64 << 40;
    let words = WordCounts::from_counts([("xy", big), ("xz", big + 1), ("yz", 3)]);
    let (list, report) = BpeTrainer::new(1).train(&words).unwrap();
    assert_eq!(parts(&list), [(b"x".to_vec(), b"z".to_vec())]);
    assert_eq!(report.last_count, big + 1);
    let too_many = WordCounts::from_counts([("xy", u64::MAX / 2 + 1)]);
    assert!(matches!(
        BpeTrainer::new(1).train(&too_many),
        Err(Error::CountOverflow { .. })
    ));
}

#[test]
fn filters_letters_and_vocabulary_limit_what_is_merged() {
    let words = WordCounts::from_counts([("ab1ab1", 10), ("1234", 9), ("xéxé", 8)]);
    let digits = |left: &[u8], right: &[u8]| ![left, right].concat().iter().any(u8::is_ascii_digit);
    let (list, report) = BpeTrainer::new(100)
        .with_filter(&digits)
        .train(&words)
        .unwrap();
    assert!(
        list.merges()
            .iter()
            .all(|m| !list.text(m.product).iter().any(u8::is_ascii_digit))
    );
    assert_eq!(report.stop, StopReason::Frequency);

    let trainer = BpeTrainer::new(0)
        .with_alphabet(Alphabet::Characters)
        .with_letters("ab1234x".chars())
        .with_vocabulary(9);
    let (list, report) = trainer.train(&words).unwrap();
    assert_eq!(
        (report.vocabulary, report.stop),
        (9, StopReason::Vocabulary)
    );
    assert_eq!(parts(&list)[0], (b"a".to_vec(), b"b".to_vec()));
    assert!(!list.knows_letter('é'.into()));

    let cancel = AtomicBool::new(true);
    let cancelled = BpeTrainer::new(5).with_cancel(&cancel).train(&words);
    assert!(matches!(cancelled, Err(Error::Cancelled { partial: None })));
}
