//! Encoding words with a merge list, as a tokenizer does: always the earliest merge that applies, leftmost first.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rustc_hash::FxHashMap;

use crate::merges::{Alphabet, MergeList, TokenId};
use crate::words::WordCounts;

/// A merge list prepared for encoding.
#[derive(Clone, Debug)]
pub struct Encoder {
    alphabet: Alphabet,
    rank_and_product: FxHashMap<(TokenId, TokenId), (u32, TokenId)>,
}

const NONE: u32 = u32::MAX;

impl Encoder {
    /// Prepares all merges of `list`, its prefix included.
    pub fn new(list: &MergeList) -> Self {
        let ranked = list.merges().iter().zip(0..);
        Self {
            alphabet: list.alphabet(),
            rank_and_product: ranked
                .map(|(merge, rank)| ((merge.left, merge.right), (rank, merge.product)))
                .collect(),
        }
    }

    /// The tokens of one word, in time `O(n log n)` of its letters.
    pub fn encode(&self, word: &[u8]) -> Vec<TokenId> {
        let mut symbols = Vec::with_capacity(word.len());
        self.alphabet.symbols(word, &mut symbols);
        // A doubly linked list over positions; `alive` marks the positions that still start a symbol.
        let n = symbols.len() as u32;
        let mut next: Vec<u32> = (1..=n).map(|k| if k == n { NONE } else { k }).collect();
        let mut before: Vec<u32> = (0..n).map(|k| k.checked_sub(1).unwrap_or(NONE)).collect();
        let mut alive = vec![true; symbols.len()];
        let mut candidates = BinaryHeap::new();
        let offer = |candidates: &mut BinaryHeap<_>, symbols: &[TokenId], at: u32, after: u32| {
            let pair = (symbols[at as usize], symbols[after as usize]);
            if let Some(&(rank, product)) = self.rank_and_product.get(&pair) {
                candidates.push(Reverse((rank, at, after, pair, product)));
            }
        };
        for at in 0..n.saturating_sub(1) {
            offer(&mut candidates, &symbols, at, at + 1);
        }
        while let Some(Reverse((_, at, after, pair, product))) = candidates.pop() {
            let (a, b) = (at as usize, after as usize);
            let stale = !alive[a] || next[a] != after || (symbols[a], symbols[b]) != pair;
            if stale {
                continue;
            }
            symbols[a] = product;
            alive[b] = false;
            next[a] = next[b];
            if next[a] != NONE {
                before[next[a] as usize] = at;
                offer(&mut candidates, &symbols, at, next[a]);
            }
            if before[a] != NONE {
                offer(&mut candidates, &symbols, before[a], at);
            }
        }
        let kept = alive.into_iter().zip(symbols);
        kept.filter_map(|(alive, symbol)| alive.then_some(symbol))
            .collect()
    }

    /// Tokens of all words, multiplicities counted.
    pub fn count_tokens(&self, words: &WordCounts) -> u64 {
        words
            .iter()
            .map(|(word, count)| self.encode(word).len() as u64 * count)
            .sum()
    }
}
