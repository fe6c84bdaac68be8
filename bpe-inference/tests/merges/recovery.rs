//! What a tokenizer was trained to is what every file of it gives back.

use bpe_inference::Error;
use bpe_inference::merges::{Alphabet, Format, ListOrder, MergeList, ReadOptions};
use proptest::prelude::*;

use crate::files;
use crate::training::{Trained, merge, trained};

fn original(trained: &Trained, alphabet: Alphabet) -> MergeList {
    let parts = trained.merges.iter().map(|(left, right)| (left, right));
    MergeList::from_parts(alphabet, parts).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn ranks_give_the_training_order_back(trained in trained("abc")) {
        let expected = original(&trained, Alphabet::Bytes);
        let ranks = files::ranks(&trained);
        let (list, report) = MergeList::from_ranks(ranks.clone()).unwrap();
        prop_assert_eq!(&list, &expected);
        prop_assert_eq!((report.listed, report.kept), (trained.merges.len(), trained.merges.len()));
        prop_assert!(report.unreachable.is_empty() && report.missing_bytes.is_empty());
        for file in [files::tiktoken(&ranks), files::tekken(&ranks), files::anthropic(&ranks)] {
            let (list, report) = MergeList::from_bytes(file.as_bytes(), None).unwrap();
            prop_assert_eq!(&list, &expected);
            prop_assert_eq!(report.order, ListOrder::Ranks);
        }
    }

    #[test]
    fn ranks_may_have_gaps_and_any_order(trained in trained("ab"), seed in 0_u64..1000) {
        let mut ranks = files::ranks(&trained);
        for (_, rank) in &mut ranks {
            *rank = 3 * *rank + 7;
        }
        ranks.sort_by_key(|(text, rank)| (u64::from(*rank) * (seed | 1) % 257, text.clone()));
        let (list, _) = MergeList::from_ranks(ranks).unwrap();
        prop_assert_eq!(list, original(&trained, Alphabet::Bytes));
    }

    #[test]
    fn lists_in_training_order_come_back(trained in trained("abc")) {
        let expected = original(&trained, Alphabet::Bytes);
        for arrays in [false, true] {
            let json = files::tokenizer_json(&trained, &trained.merges, true, arrays).to_string();
            let (list, report) = MergeList::from_hf_json(json.as_bytes()).unwrap();
            prop_assert_eq!(&list, &expected);
            prop_assert_eq!(report.order, ListOrder::Training);
        }
        let (list, _) = MergeList::from_gguf(&files::gguf_gpt2(&trained)).unwrap();
        prop_assert_eq!(&list, &expected);
    }

    #[test]
    fn converted_lists_are_rebuilt(trained in trained("a\u{2581}\u{e9}"), byte_level in any::<bool>()) {
        let alphabet = if byte_level { Alphabet::Bytes } else { Alphabet::Characters };
        // Bytes are written as characters: here the training alphabet itself is mapped.
        let trained = if byte_level { mapped(&trained) } else { trained };
        let splits = files::all_splits(&trained);
        let json = files::tokenizer_json(&trained, &splits, byte_level, true).to_string();
        let options = ReadOptions {
            unreachable_limit: 0.0,
            order: Some(ListOrder::Converted),
            ..ReadOptions::default()
        };
        let (list, report) = MergeList::read(json.as_bytes(), Format::HuggingFace, &options).unwrap();
        prop_assert_eq!(list.alphabet(), alphabet);
        let expected = original(&trained, alphabet);
        prop_assert_eq!(list.merges(), expected.merges());
        prop_assert_eq!(report.redundant, splits.len() - trained.merges.len());
        // Detection comes to the same list.
        let (detected, report) = MergeList::from_hf_json(json.as_bytes()).unwrap();
        prop_assert_eq!(detected, list);
        prop_assert_eq!(report.order == ListOrder::Converted, splits.len() > trained.merges.len());
    }

    #[test]
    fn scored_pieces_give_the_training_order_back(trained in trained("a\u{2581}\u{e9}\u{4e2d}")) {
        let letters = trained.letters.iter().map(|letter| letter.chars().next().unwrap());
        let expected = original(&trained, Alphabet::Characters).with_letters(letters);
        let pieces = files::pieces(&trained);
        let (list, report) = MergeList::from_sentencepiece_model(&files::model(&pieces, 2).0).unwrap();
        prop_assert_eq!(&list, &expected);
        prop_assert_eq!(report.listed, trained.merges.len());
        let (list, _) = MergeList::from_gguf(&files::gguf_llama(&pieces)).unwrap();
        prop_assert_eq!(&list, &expected);
    }

    #[test]
    fn the_tables_of_js_packages_are_rebuilt(trained in trained("a\u{2581}b")) {
        let splits = files::all_splits(&trained);
        let source = files::javascript(&trained, &splits, 3);
        let options = ReadOptions { alphabet: Some(Alphabet::Characters), ..ReadOptions::default() };
        let (list, _) = MergeList::read(source.as_bytes(), Format::JavaScript, &options).unwrap();
        let expected = original(&trained, Alphabet::Characters);
        prop_assert_eq!(list.merges(), expected.merges());
    }

    #[test]
    fn merges_txt_round_trips(trained in trained("a \u{e9}"), bytes in any::<bool>()) {
        let alphabet = if bytes { Alphabet::Bytes } else { Alphabet::Characters };
        let list = match bytes {
            true => MergeList::from_ranks(files::ranks(&byte_trained(&trained))).unwrap().0,
            // Tokens with spaces leave some lines without a single reading.
            false => original(&mapped(&trained), alphabet),
        };
        prop_assume!(!list.merges().is_empty());
        let options = ReadOptions { alphabet: Some(alphabet), ..ReadOptions::default() };
        let text = list.to_merges_txt().unwrap();
        let (again, _) = MergeList::read(text.as_bytes(), Format::MergesTxt, &options).unwrap();
        prop_assert_eq!(again, list);
    }

    #[test]
    fn long_tokens_are_recovered_as_a_naive_search_would(trained in trained("a")) {
        // Runs of one letter have the most ties: the leftmost pair of lowest rank must win.
        let (list, _) = MergeList::from_ranks(files::ranks(&trained)).unwrap();
        prop_assert_eq!(list, original(&trained, Alphabet::Bytes));
    }
}

/// The tokenizer with its letters replaced by ones that byte-level files use for themselves.
fn mapped(trained: &Trained) -> Trained {
    let rename = |text: &String| {
        text.replace('\u{2581}', "b")
            .replace('\u{e9}', "c")
            .replace(' ', "d")
    };
    Trained {
        letters: trained.letters.iter().map(rename).collect(),
        merges: trained
            .merges
            .iter()
            .map(|(l, r)| (rename(l), rename(r)))
            .collect(),
    }
}

/// The tokenizer with characters of several bytes replaced by a line feed, which byte-level files must escape.
fn byte_trained(trained: &Trained) -> Trained {
    let rename = |text: &String| text.replace('\u{e9}', "\n");
    Trained {
        letters: trained.letters.iter().map(rename).collect(),
        merges: trained
            .merges
            .iter()
            .map(|(l, r)| (rename(l), rename(r)))
            .collect(),
    }
}

#[test]
fn recovered_r50k_encodes_as_tiktoken_does() {
    let tiktoken = tiktoken_rs::r50k_base().unwrap();
    let ranks = (0..50_256).map(|rank| (tiktoken.decode_bytes(&[rank]).unwrap(), rank));
    let ranks: Vec<(Vec<u8>, u32)> = ranks.collect();
    let (list, report) = MergeList::from_ranks(ranks.clone()).unwrap();
    assert_eq!(list.merges().len(), 50_000);
    assert!(report.unreachable.is_empty() && report.missing_bytes.is_empty());
    // Apply the merges in order to single words: an oracle that never looks at ranks.
    let words = [
        " audit",
        " unbelievably",
        "tokenization",
        " 1234567",
        "======",
        " ---------",
        "\u{4e2d}\u{6587}",
        " na\u{ef}ve",
        "aaaaaaa",
        " Llanfairpwllgwyngyll",
        "      ",
        "\n\n\n",
    ];
    let mut split: Vec<Vec<Vec<u8>>> = (words.iter())
        .map(|word| word.bytes().map(|byte| vec![byte]).collect())
        .collect();
    for step in list.merges() {
        let (left, right) = (list.text(step.left), list.text(step.right));
        for word in &mut split {
            while let Some(k) = word
                .windows(2)
                .position(|pair| pair[0] == *left && pair[1] == *right)
            {
                let joined = word.splice(k..k + 2, [list.text(step.product).into_owned()]);
                drop(joined);
            }
        }
    }
    for (word, parts) in words.iter().zip(&split) {
        let expected: Vec<Vec<u8>> = (tiktoken.encode_ordinary(word).iter())
            .map(|&rank| tiktoken.decode_bytes(&[rank]).unwrap())
            .collect();
        assert_eq!(parts, &expected, "{word:?}");
    }
}

#[test]
fn the_naive_rule_fails_where_recovery_does_not() {
    // Of the splits of "abcd", "ab" + "cd" has the smallest larger rank; but "bc" merges first, so it is "abc" + "d".
    let ranks = ["bc", "ab", "cd", "abc", "abcd"];
    let bytes = (0..=255_u8).map(|byte| vec![byte]);
    let tokens = bytes
        .chain(ranks.map(|token| token.as_bytes().to_vec()))
        .zip(0..);
    let (list, report) = MergeList::from_ranks(tokens).unwrap();
    let readable: Vec<String> = (list.merges().iter())
        .map(|m| format!("{}+{}", list.readable(m.left), list.readable(m.right)))
        .collect();
    assert_eq!(readable, ["b+c", "a+b", "c+d", "a+bc", "abc+d"]);
    assert!(report.unreachable.is_empty());
}

#[test]
fn tokens_that_no_merge_makes_are_listed_with_what_depends_on_them() {
    // "xyz" has no two-part split; "xyzw" would need it.
    let mut tokens: Vec<(Vec<u8>, u32)> = (0..=255_u8).map(|b| (vec![b], u32::from(b))).collect();
    for (token, rank) in ["ab", "xyz", "xy", "xyzw", "abc"].iter().zip(256..) {
        tokens.push((token.as_bytes().to_vec(), rank));
    }
    let error = MergeList::from_ranks(tokens.clone()).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Unreachable {
                unreachable: 2,
                considered: 5,
                ..
            }
        ),
        "{error}"
    );
    let options = ReadOptions {
        unreachable_limit: 0.4,
        ..ReadOptions::default()
    };
    let file = files::tiktoken(&tokens);
    let (list, report) = MergeList::read(file.as_bytes(), Format::Tiktoken, &options).unwrap();
    let lost: Vec<_> = (report.unreachable.iter())
        .map(|u| (u.token.id, u.token.text.as_str(), u.parts))
        .collect();
    assert_eq!(lost, [(Some(257), "xyz", 3), (Some(259), "xyzw", 2)]);
    assert_eq!(list.merges().len(), 3);
    assert_eq!(report.listed, 5);
    // Looking at fewer tokens does not forgive them.
    let few = ReadOptions {
        considered: 2,
        ..options
    };
    assert!(MergeList::read(file.as_bytes(), Format::Tiktoken, &few).is_err());
}

#[test]
fn irregular_ranks_are_listed() {
    let ranks = |extra: &[(&str, u32)]| {
        let bytes = (0..=255_u8)
            .filter(|&b| b != 7)
            .map(|b| (vec![b], u32::from(b)));
        let extra = extra
            .iter()
            .map(|(token, rank)| (token.as_bytes().to_vec(), *rank));
        bytes.chain(extra).collect::<Vec<_>>()
    };
    let (list, report) = MergeList::from_ranks(ranks(&[
        ("ab", 300),
        ("cd", 300),
        ("abcd", 301),
        ("ab", 302),
    ]))
    .unwrap();
    assert_eq!(list.merges().len(), 3);
    assert_eq!(report.missing_bytes, [7]);
    assert_eq!(report.duplicate_ranks.len(), 1);
    assert_eq!(report.duplicate_ranks[0].text, "cd");
    assert_eq!(report.repeated_tokens.len(), 1);
    assert_eq!((report.listed, report.kept, report.redundant), (4, 3, 1));

    let equal: Vec<(String, u32)> = ('a'..='z').map(|c| (format!("x{c}"), 300)).collect();
    let equal: Vec<(&str, u32)> = equal
        .iter()
        .map(|(token, rank)| (token.as_str(), *rank))
        .collect();
    let error = MergeList::from_ranks(ranks(&equal)).unwrap_err();
    assert!(matches!(error, Error::Parse { .. }), "{error}");
    let error = MergeList::from_ranks(ranks(&[("", 400)])).unwrap_err();
    assert!(matches!(error, Error::Parse { offset: 255, .. }), "{error}");
}

#[test]
fn training_merges_from_left_to_right() {
    // The trainer of these tests is itself held to the definition: "aaa" has two windows and becomes "aa", "a".
    let word: Vec<String> = "aaa".chars().map(String::from).collect();
    assert_eq!(merge(&word, "a", "a"), ["aa", "a"]);
}
