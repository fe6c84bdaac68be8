//! A naive BPE trainer: the ground truth of the properties.

use std::collections::BTreeMap;

use proptest::prelude::*;

/// A trained tokenizer: its letters and its merges in order.
#[derive(Clone, Debug)]
pub(crate) struct Trained {
    pub(crate) letters: Vec<String>,
    pub(crate) merges: Vec<(String, String)>,
}

impl Trained {
    /// The tokens that the merges make, in order.
    pub(crate) fn products(&self) -> Vec<String> {
        (self.merges.iter())
            .map(|(left, right)| format!("{left}{right}"))
            .collect()
    }
}

/// Merges the most frequent pair, ties by text, until no pair occurs twice or a product would be made again. Pairs that
/// overlap themselves count every window, as in the paper.
pub(crate) fn train(words: &[String]) -> Trained {
    let mut split: Vec<Vec<String>> = (words.iter())
        .map(|word| word.chars().map(String::from).collect())
        .collect();
    let mut letters: Vec<String> = split.iter().flatten().cloned().collect();
    letters.sort();
    letters.dedup();
    let mut merges: Vec<(String, String)> = Vec::new();
    loop {
        let mut counts: BTreeMap<(String, String), usize> = BTreeMap::new();
        for pair in split.iter().flat_map(|word| word.windows(2)) {
            *counts
                .entry((pair[0].clone(), pair[1].clone()))
                .or_default() += 1;
        }
        let best = counts.iter().max_by(|a, b| a.1.cmp(b.1).then(b.0.cmp(a.0)));
        let Some(((left, right), 2..)) = best else {
            break;
        };
        let product = format!("{left}{right}");
        if merges.iter().any(|(l, r)| format!("{l}{r}") == product) {
            break;
        }
        split = (split.iter())
            .map(|word| merge(word, left, right))
            .collect();
        merges.push((left.clone(), right.clone()));
    }
    Trained { letters, merges }
}

/// Replaces the pair from left to right.
pub(crate) fn merge(word: &[String], left: &str, right: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut k = 0;
    while k < word.len() {
        let fits = k + 1 < word.len() && word[k] == left && word[k + 1] == right;
        match fits {
            true => out.push(format!("{left}{right}")),
            false => out.push(word[k].clone()),
        }
        k += 1 + usize::from(fits);
    }
    out
}

/// Tokenizers trained on words over a small alphabet, so that pairs repeat and overlap.
pub(crate) fn trained(letters: &'static str) -> impl Strategy<Value = Trained> {
    let letter = proptest::sample::select(letters.chars().collect::<Vec<_>>());
    let word = proptest::collection::vec(letter, 1..12).prop_map(String::from_iter);
    proptest::collection::vec(word, 1..40).prop_map(|words| train(&words))
}
