//! An exact trainer of BPE merge lists: the ground truth of controlled experiments, and a fast trainer in its own
//! right.
//!
//! Training repeats one step: find the pair of adjacent symbols that occurs most often within words, merge it
//! everywhere. Of pairs that occur equally often the one with the smaller (left, right) is merged, in the order
//! of Hugging Face `tokenizers`: letters first (bytes in the order of the characters that GPT-2's byte map
//! writes them as, characters by scalar value), then products from the oldest on. Counts have 64 bits.
//!
//! No product is made twice: what becomes of the letters within a token does not depend on what is around it, so
//! equal letters always get there by the same merges. Hence counts of pairs only fall, and a queue of candidates
//! with counts that may be outdated is exact: a candidate whose count has fallen is put back.
//!
//! ```
//! use bpe_inference::trainer::BpeTrainer;
//! use bpe_inference::words::WordCounts;
//!
//! let words = WordCounts::from_counts([("low", 5), ("lower", 2), ("newest", 6), ("widest", 3)]);
//! let (list, report) = BpeTrainer::new(3).train(&words)?;
//! let products: Vec<String> = list.merges().iter().map(|m| list.readable(m.product)).collect();
//! assert_eq!(products, ["es", "est", "lo"]);
//! assert_eq!(report.last_count, 7);
//! # Ok::<(), bpe_inference::Error>(())
//! ```

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::merges::{Alphabet, MergeList, TokenId, byte_level};
use crate::trace::PairPredicate;
use crate::trace::corpus::{Corpus, Letters, PairIndex, Symbol};
use crate::words::WordCounts;

/// What the text is called in errors.
const TEXT: &str = "training text";
/// Merges between two looks at the cancel flag.
const CANCEL_MERGES: usize = 1_000;

/// How to train. See the [module documentation](self) for the method.
#[derive(Clone)]
pub struct BpeTrainer<'a> {
    merges: usize,
    vocabulary: Option<usize>,
    min_frequency: u64,
    max_token_length: usize,
    alphabet: Alphabet,
    letters: Option<BTreeSet<char>>,
    filter: Option<PairPredicate<'a>>,
    cancel: Option<&'a AtomicBool>,
}

/// Why training ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StopReason {
    /// As many merges as asked for.
    Merges,
    /// The vocabulary has the size asked for.
    Vocabulary,
    /// No pair that may be merged occurs often enough.
    Frequency,
}

/// What training did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TrainReport {
    /// Merges made.
    pub merges: usize,
    /// Size of the vocabulary: letters and products.
    pub vocabulary: usize,
    /// Distinct words trained on.
    pub words: usize,
    /// Adjacent pairs in the text before the first merge.
    pub initial_pairs: u64,
    /// Distinct pairs seen on the way.
    pub pairs: usize,
    /// Occurrences of the last merged pair; 0 if there was no merge.
    pub last_count: u64,
    /// Why it ended.
    pub stop: StopReason,
}

impl<'a> BpeTrainer<'a> {
    /// Trains up to `merges` merges over bytes, whatever occurs once at least, without limits on tokens.
    pub fn new(merges: usize) -> Self {
        Self {
            merges,
            vocabulary: None,
            min_frequency: 1,
            max_token_length: usize::MAX,
            alphabet: Alphabet::Bytes,
            letters: None,
            filter: None,
            cancel: None,
        }
    }

    /// Trains until letters and products are `size` together (with no limit on merges). The letters are
    /// all 256 bytes, or the characters that occur in the text.
    pub fn with_vocabulary(mut self, size: usize) -> Self {
        self.vocabulary = Some(size);
        self.merges = usize::MAX;
        self
    }

    /// Stops before a pair that occurs less often than this (default 1, and 0 means the same).
    pub fn with_min_frequency(mut self, count: u64) -> Self {
        self.min_frequency = count.max(1);
        self
    }

    /// Never makes a token of more than `letters` letters. (`max_token_length` of Hugging Face counts alike, but
    /// there a token of exactly that length is denied too, except one of two letters.)
    pub fn with_max_token_length(mut self, letters: usize) -> Self {
        self.max_token_length = letters;
        self
    }

    /// Starts from the letters of this alphabet (default [`Alphabet::Bytes`]).
    pub fn with_alphabet(mut self, alphabet: Alphabet) -> Self {
        self.alphabet = alphabet;
        self
    }

    /// Knows only these characters (SentencePiece's character coverage); others break words. Has no effect on
    /// a byte alphabet.
    pub fn with_letters(mut self, letters: impl IntoIterator<Item = char>) -> Self {
        self.letters = Some(letters.into_iter().collect());
        self
    }

    /// Never merges a pair whose texts `filter` denies.
    pub fn with_filter(mut self, filter: PairPredicate<'a>) -> Self {
        self.filter = Some(filter);
        self
    }

    /// Stops soon after `cancel` becomes true: it is looked at every 1,000 merges.
    pub fn with_cancel(mut self, cancel: &'a AtomicBool) -> Self {
        self.cancel = Some(cancel);
        self
    }

    /// Trains on words.
    ///
    /// Single-threaded: what follows a merge depends on it. Memory: 4 bytes a letter of the distinct words,
    /// another 8 to 12 for the places of pairs, about 100 bytes a distinct pair.
    ///
    /// # Errors
    /// [`Error::CountOverflow`] if the text has more than `i64::MAX` pairs, [`Error::InvalidValue`] if the distinct
    /// words have more than 2^30 letters, [`Error::Cancelled`].
    pub fn train(&self, words: &WordCounts) -> Result<(MergeList, TrainReport)> {
        self.train_words(words.iter().collect())
    }

    /// Trains on a weighted mixture: each word has the multiplicity `sum_i weight_i * count_i`, rounded to the
    /// nearest integer; words that round to 0 are left out.
    ///
    /// # Errors
    /// [`Error::InvalidValue`] for a weight that is negative or not finite, [`Error::CountOverflow`] for a
    /// multiplicity beyond 64 bits, and those of [`BpeTrainer::train`].
    pub fn train_mixture(&self, parts: &[(&WordCounts, f64)]) -> Result<(MergeList, TrainReport)> {
        self.train(&WordCounts::scaled_sum(parts.iter().copied())?)
    }

    fn train_words(&self, words: Vec<(&[u8], u64)>) -> Result<(MergeList, TrainReport)> {
        let letters = self.order_letters(&words);
        let distinct = words.len();
        let mut tokens = Tokens::new(self.alphabet, &letters);
        let mut corpus = Corpus::new(TEXT, self.alphabet, &letters, words, |left, right| {
            self.allows(&tokens, left, right)
        })?;
        let initial_pairs = corpus.windows();

        let mut queue: BinaryHeap<Candidate> = (0..corpus.pairs() as PairIndex)
            .filter_map(|pair| self.candidate(&corpus, pair))
            .collect();
        let limit = match self.vocabulary {
            Some(size) => size.saturating_sub(letters.len() as usize),
            None => usize::MAX,
        };
        let length = self.merges.min(limit) as u64;
        let span = tracing::info_span!("train", position = 0u64, length);
        let mut parts = Vec::new();
        let mut changes = Vec::new();
        let mut last_count = 0;
        let stop = loop {
            if parts.len() == self.merges {
                break StopReason::Merges;
            }
            if parts.len() >= limit {
                break StopReason::Vocabulary;
            }
            if parts.len() % CANCEL_MERGES == 0 {
                span.record("position", parts.len() as u64);
                if self.cancel.is_some_and(|flag| flag.load(Ordering::Relaxed)) {
                    return Err(Error::Cancelled { partial: None });
                }
            }
            let Some(Candidate(count, _, pair)) = queue.pop() else {
                break StopReason::Frequency;
            };
            if count != corpus.count(pair) {
                queue.extend(self.candidate(&corpus, pair));
                continue;
            }
            let (left, right) = corpus.symbols(pair);
            let product = tokens.join(left, right);
            changes.clear();
            let wanted = |left, right| self.allows(&tokens, left, right);
            corpus.merge(pair, product, wanted, &mut changes);
            for &(pair, change) in &changes {
                if change > 0 {
                    queue.extend(self.candidate(&corpus, pair));
                }
            }
            parts.push((left, right));
            last_count = count;
        };

        let report = TrainReport {
            merges: parts.len(),
            vocabulary: letters.len() as usize + parts.len(),
            words: distinct,
            initial_pairs,
            pairs: corpus.pairs(),
            last_count,
            stop,
        };
        drop(corpus);
        let texts = parts
            .iter()
            .map(|&(left, right)| (tokens.text(left), tokens.text(right)));
        let list = MergeList::from_parts(self.alphabet, texts)?;
        let list = match &self.letters {
            Some(letters) => list.with_letters(letters.iter().copied()),
            None => list,
        };
        Ok((list, report))
    }

    /// Numbers the letters in the order in which ties are broken.
    fn order_letters(&self, words: &[(&[u8], u64)]) -> Letters {
        match self.alphabet {
            Alphabet::Bytes => {
                let mut bytes: Vec<u8> = (0..=255).collect();
                bytes.sort_unstable_by_key(|&byte| byte_level::char_of(byte));
                Letters::new(bytes.into_iter().map(TokenId::from).collect())
            }
            Alphabet::Characters => {
                let mut found = BTreeSet::new();
                let mut symbols = Vec::new();
                for (word, _) in words {
                    symbols.clear();
                    self.alphabet.symbols(word, &mut symbols);
                    found.extend(symbols.iter().copied());
                }
                if let Some(letters) = &self.letters {
                    found.retain(|&letter| {
                        char::from_u32(letter).is_some_and(|c| letters.contains(&c))
                    });
                }
                Letters::new(found.into_iter().collect())
            }
        }
    }

    fn allows(&self, tokens: &Tokens, left: Symbol, right: Symbol) -> bool {
        tokens.length(left) + tokens.length(right) <= self.max_token_length
            && self
                .filter
                .is_none_or(|allows| allows(tokens.text(left), tokens.text(right)))
    }

    fn candidate(&self, corpus: &Corpus, pair: PairIndex) -> Option<Candidate> {
        let count = corpus.count(pair);
        (count >= self.min_frequency && corpus.is_wanted(pair))
            .then(|| Candidate(count, Reverse(corpus.symbols(pair)), pair))
    }
}

/// A pair in the queue with the count it had when it was put there, which may have fallen since.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Candidate(u64, Reverse<(Symbol, Symbol)>, PairIndex);

/// Texts of letters and products by number.
struct Tokens {
    texts: Vec<Box<[u8]>>,
    /// Length in letters.
    lengths: Vec<usize>,
}

impl Tokens {
    fn new(alphabet: Alphabet, letters: &Letters) -> Self {
        let text = |&token: &TokenId| -> Box<[u8]> {
            match (alphabet, char::from_u32(token)) {
                (Alphabet::Characters, Some(c)) => c.to_string().into_bytes().into(),
                _ => [token as u8].into(),
            }
        };
        Self {
            texts: letters.tokens().iter().map(text).collect(),
            lengths: vec![1; letters.tokens().len()],
        }
    }

    fn text(&self, symbol: Symbol) -> &[u8] {
        &self.texts[symbol as usize]
    }

    fn length(&self, symbol: Symbol) -> usize {
        self.lengths[symbol as usize]
    }

    /// Adds the token that two tokens make.
    fn join(&mut self, left: Symbol, right: Symbol) -> Symbol {
        let text = [self.text(left), self.text(right)].concat();
        self.texts.push(text.into());
        self.lengths.push(self.length(left) + self.length(right));
        self.texts.len() as Symbol - 1
    }
}
