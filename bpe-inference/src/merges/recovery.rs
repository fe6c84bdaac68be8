//! One merge a token, from the order of the tokens alone: restricted BPE.
//!
//! Merging the letters of a token with the tokens before it, lowest first, ends in the two parts whose merge
//! made it. This is exact because the merges inside a token's span do not depend on the text around it as long as
//! none crosses its borders, and none can have: the token was made.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rustc_hash::{FxBuildHasher, FxHashMap};
use tracing::field::Empty;

use super::{Alphabet, ListedToken, Merge, MergeList, ReadOptions, TokenId, UnreachableToken};
use crate::error::{Error, Result};

/// A token with its number in the file.
#[derive(Debug)]
pub(crate) struct FileToken {
    pub(crate) id: Option<u32>,
    pub(crate) text: Vec<u8>,
}

/// Recovers the merge of each token, in the order given. Tokens must be distinct and have two letters or more; with
/// [`Alphabet::Characters`] they must be UTF-8. Tokens that end in three parts or more are handed back.
///
/// # Errors
/// [`Error::Unreachable`] if more tokens than `options` allow have no merge.
pub(crate) fn recover(
    alphabet: Alphabet,
    tokens: Vec<FileToken>,
    options: &ReadOptions,
) -> Result<(MergeList, Vec<UnreachableToken>)> {
    let span = tracing::info_span!(
        "recover_merges",
        position = Empty,
        length = tokens.len() as u64
    );
    let _entered = span.enter();
    let considered = options.considered.min(tokens.len());
    let base = alphabet.base();
    let mut spans = Spans::default();
    let mut known: FxHashMap<&[u8], TokenId> =
        FxHashMap::with_capacity_and_hasher(tokens.len(), FxBuildHasher);
    // The final id of each token, which `spans` calls `base + k`; none for those that no merge makes.
    let mut ids: Vec<Option<TokenId>> = Vec::with_capacity(tokens.len());
    let mut merges: Vec<Merge> = Vec::with_capacity(tokens.len());
    let mut unreachable = Vec::new();
    for (k, token) in tokens.iter().enumerate() {
        if k.is_multiple_of(tokens.len().div_ceil(100)) {
            span.record("position", k as u64);
        }
        let text = token.text.as_slice();
        let outcome = spans.merge(alphabet, text, &known);
        known.insert(text, base + k as TokenId);
        let id_of = |part: TokenId| match part.checked_sub(base) {
            Some(token) => ids[token as usize],
            None => Some(part),
        };
        let parts = outcome.map(|(left, right)| (id_of(left), id_of(right)));
        ids.push(match parts {
            Ok((Some(left), Some(right))) => {
                let product = base + merges.len() as TokenId;
                merges.push(Merge {
                    left,
                    right,
                    product,
                });
                Some(product)
            }
            not_made => {
                unreachable.push(UnreachableToken {
                    token: ListedToken::new(token.id, text),
                    parts: not_made.err().unwrap_or(2),
                });
                None
            }
        });
        if k + 1 == considered {
            options.check_unreachable(unreachable.len(), considered)?;
        }
    }
    let products = (tokens.into_iter().zip(ids))
        .filter_map(|(token, id)| id.map(|_| token.text))
        .collect();
    Ok((
        MergeList::from_products(alphabet, products, merges),
        unreachable,
    ))
}

impl ReadOptions {
    /// Fails if more than the allowed share of the tokens looked at has no merge.
    fn check_unreachable(&self, unreachable: usize, considered: usize) -> Result<()> {
        if unreachable as f64 > self.unreachable_limit * considered as f64 {
            return Err(Error::Unreachable {
                unreachable,
                considered,
                limit: 100.0 * self.unreachable_limit,
            });
        }
        Ok(())
    }
}

/// A partially merged token: a linked list over the byte positions where parts start, and the pairs that could merge,
/// lowest token first, then leftmost. The buffers serve one token after the other.
#[derive(Default)]
struct Spans {
    /// Token of the part that starts here.
    part: Vec<TokenId>,
    /// Where the part that starts here ends; 0 once it was merged into the part before it.
    end: Vec<usize>,
    /// Where the part before the one that starts here starts.
    previous: Vec<usize>,
    /// (product, start, end) of pairs. An entry is stale when its start and end do not enclose two parts any more.
    pairs: BinaryHeap<Reverse<(TokenId, usize, usize)>>,
}

impl Spans {
    /// Merges `text` with the known tokens as far as it goes: the two parts left, or how many there are.
    fn merge(
        &mut self,
        alphabet: Alphabet,
        text: &[u8],
        known: &FxHashMap<&[u8], TokenId>,
    ) -> Result<(TokenId, TokenId), usize> {
        let mut parts = self.split(alphabet, text);
        if parts < 2 {
            return Err(parts);
        }
        let mut start = 0;
        while self.end[start] < text.len() {
            self.push(start, text, known);
            start = self.end[start];
        }
        while let Some(Reverse((product, start, end))) = self.pairs.pop() {
            let middle = self.end[start];
            if middle == 0 || middle == text.len() || self.end[middle] != end {
                continue;
            }
            self.part[start] = product;
            self.end[start] = end;
            self.end[middle] = 0;
            parts -= 1;
            if end < text.len() {
                self.previous[end] = start;
                self.push(start, text, known);
            }
            if start > 0 {
                self.push(self.previous[start], text, known);
            }
        }
        match parts {
            2 => Ok((self.part[0], self.part[self.end[0]])),
            _ => Err(parts),
        }
    }

    /// Starts over with the letters of `text`; returns how many they are.
    fn split(&mut self, alphabet: Alphabet, text: &[u8]) -> usize {
        self.pairs.clear();
        for column in [&mut self.end, &mut self.previous] {
            column.clear();
            column.resize(text.len(), 0);
        }
        self.part.clear();
        self.part.resize(text.len(), 0);
        let (mut start, mut before, mut letters) = (0, 0, 0);
        let mut push = |letter, length| {
            self.part[start] = letter;
            self.end[start] = start + length;
            self.previous[start] = before;
            before = start;
            start += length;
            letters += 1;
        };
        match alphabet {
            Alphabet::Bytes => text.iter().for_each(|&byte| push(TokenId::from(byte), 1)),
            Alphabet::Characters => (std::str::from_utf8(text).unwrap_or_default().chars())
                .for_each(|c| push(TokenId::from(c), c.len_utf8())),
        }
        letters
    }

    /// Notes the pair that starts at `start` if it makes a known token.
    fn push(&mut self, start: usize, text: &[u8], known: &FxHashMap<&[u8], TokenId>) {
        let end = self.end[self.end[start]];
        if let Some(&product) = known.get(&text[start..end]) {
            self.pairs.push(Reverse((product, start, end)));
        }
    }
}
