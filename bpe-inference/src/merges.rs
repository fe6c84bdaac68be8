//! The ordered merge list of a BPE tokenizer: the evidence that the whole crate works from.
//!
//! [`MergeList::load`] reads a tokenizer file of any [`Format`] and returns the list in the order of training,
//! together with a [`MergeReport`] on what was listed, dropped and rebuilt. Three kinds of files need work:
//!
//! - Rank files hold tokens without merges. The merge of each token is recovered exactly: its letters are merged with
//!   the tokens of lower rank only, lowest first, and the two parts left are its merge.
//! - Lists that a converter wrote (Llama, Mistral, Gemma, Llama 3) hold every split of every token. Only the order of
//!   the tokens is used, and the merges are recovered as from ranks. Pieces put in by hand are set apart.
//! - A tokenizer that extends another (Llama 3 on top of cl100k) says nothing new with its first merges:
//!   [`MergeList::shared_prefix`] finds them, [`MergeList::with_prefix`] marks them.

pub(crate) mod byte_level;
mod format;
mod gguf;
mod hugging_face;
mod javascript;
mod listed;
mod merges_txt;
mod ranks;
mod recovery;
mod report;
mod sections;
mod sentencepiece;

pub use format::{Format, ReadOptions};
pub use report::{
    ListOrder, ListedToken, MergeReport, SentencePieceSpec, TokenizerSpec, UnreachableToken,
};

use std::borrow::Cow;
use std::collections::BTreeSet;

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// A symbol of a partially merged word: a letter of the alphabet or the product of a merge.
///
/// With [`Alphabet::Bytes`] the ids 0..256 are the bytes; with [`Alphabet::Characters`] an id below `0x11_0000` is
/// the character with that scalar value. Products follow from [`Alphabet::base`] on, in the order they first appear.
pub type TokenId = u32;

/// What BPE started from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Alphabet {
    /// The 256 bytes (GPT-2 and everything that follows it).
    Bytes,
    /// Unicode characters (SentencePiece: Llama, Mistral, Gemma).
    Characters,
}

impl Alphabet {
    /// The id of the first product: everything below is a letter.
    pub const fn base(self) -> TokenId {
        match self {
            Self::Bytes => 256,
            Self::Characters => 0x11_0000,
        }
    }

    /// Appends the letters of `word` to `symbols`. For characters `word` must be UTF-8; invalid
    /// sequences become U+FFFD.
    pub fn symbols(self, word: &[u8], symbols: &mut Vec<TokenId>) {
        match self {
            Self::Bytes => symbols.extend(word.iter().map(|&b| TokenId::from(b))),
            Self::Characters => {
                symbols.extend(String::from_utf8_lossy(word).chars().map(TokenId::from));
            }
        }
    }
}

/// One merge: wherever `left` is followed by `right`, both become `product`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Merge {
    /// The left token.
    pub left: TokenId,
    /// The right token.
    pub right: TokenId,
    /// The token that they become.
    pub product: TokenId,
}

/// The merges of a tokenizer in the order in which training made them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MergeList {
    alphabet: Alphabet,
    /// Characters that take part in training; `None`: all do.
    letters: Option<BTreeSet<char>>,
    /// Text of the token `base + k`.
    products: Vec<Vec<u8>>,
    merges: Vec<Merge>,
    prefix: usize,
}

impl MergeList {
    /// Builds a list from the texts of the two parts of each merge, in training order.
    ///
    /// # Errors
    /// [`Error::UnknownToken`] if a part is neither a letter nor made by an earlier merge,
    /// [`Error::DuplicateMerge`] if a pair is merged twice.
    pub fn from_parts<L, R>(
        alphabet: Alphabet,
        parts: impl IntoIterator<Item = (L, R)>,
    ) -> Result<Self>
    where
        L: AsRef<[u8]>,
        R: AsRef<[u8]>,
    {
        let mut list = Self {
            alphabet,
            letters: None,
            products: Vec::new(),
            merges: Vec::new(),
            prefix: 0,
        };
        let mut ids: FxHashMap<Vec<u8>, TokenId> = FxHashMap::default();
        let mut seen: FxHashMap<(TokenId, TokenId), usize> = FxHashMap::default();
        for (step, (left, right)) in parts.into_iter().enumerate() {
            let id_of = |text: &[u8]| {
                letter(alphabet, text)
                    .or_else(|| ids.get(text).copied())
                    .ok_or_else(|| Error::UnknownToken {
                        step,
                        token: readable(text),
                    })
            };
            let (left_id, right_id) = (id_of(left.as_ref())?, id_of(right.as_ref())?);
            if let Some(first) = seen.insert((left_id, right_id), step) {
                return Err(Error::DuplicateMerge {
                    step,
                    first,
                    left: readable(left.as_ref()),
                    right: readable(right.as_ref()),
                });
            }
            let text = [left.as_ref(), right.as_ref()].concat();
            let next = alphabet.base() + list.products.len() as TokenId;
            let product = *ids.entry(text.clone()).or_insert(next);
            if product == next {
                list.products.push(text);
            }
            list.merges.push(Merge {
                left: left_id,
                right: right_id,
                product,
            });
        }
        Ok(list)
    }

    /// A list whose parts are known to be letters or earlier products.
    fn from_products(alphabet: Alphabet, products: Vec<Vec<u8>>, merges: Vec<Merge>) -> Self {
        Self {
            alphabet,
            letters: None,
            products,
            merges,
            prefix: 0,
        }
    }

    /// Declares that training knew only these characters (SentencePiece's character coverage): pairs
    /// with another character cannot compete. Has no effect on a byte alphabet.
    pub fn with_letters(mut self, letters: impl IntoIterator<Item = char>) -> Self {
        self.letters = Some(letters.into_iter().collect());
        self
    }

    /// Marks the first `n` merges as given (an extended tokenizer, such as Llama 3 on top of cl100k):
    /// they are applied before step 0 and are no evidence. Clamped to the length of the list.
    pub fn with_prefix(mut self, n: usize) -> Self {
        self.prefix = n.min(self.merges.len());
        self
    }

    /// How many merges this list has in common with `base` at its start: the argument for
    /// [`with_prefix`](Self::with_prefix) if this tokenizer extends that one.
    pub fn shared_prefix(&self, base: &Self) -> usize {
        if self.alphabet != base.alphabet {
            return 0;
        }
        // Products are numbered in order, so equal merges mean equal texts as long as all before were equal.
        let pairs = self.merges.iter().zip(&base.merges);
        pairs.take_while(|(own, other)| own == other).count()
    }

    /// What training started from.
    pub fn alphabet(&self) -> Alphabet {
        self.alphabet
    }

    /// All merges, the prefix included.
    pub fn merges(&self) -> &[Merge] {
        &self.merges
    }

    /// The merges that are evidence: all after the prefix. Step `t` of an inference is `steps()[t]`.
    pub fn steps(&self) -> &[Merge] {
        &self.merges[self.prefix..]
    }

    /// The merges applied before step 0.
    pub fn prefix(&self) -> &[Merge] {
        &self.merges[..self.prefix]
    }

    /// Number of distinct products.
    pub fn products(&self) -> usize {
        self.products.len()
    }

    /// Whether this letter can take part in a pair.
    pub fn knows_letter(&self, symbol: TokenId) -> bool {
        match (&self.letters, char::from_u32(symbol)) {
            (Some(letters), Some(c)) => letters.contains(&c),
            _ => true,
        }
    }

    /// The text of a token: a letter's own bytes (UTF-8 for characters), a product's concatenation.
    ///
    /// # Panics
    /// If `id` is no token of this list.
    pub fn text(&self, id: TokenId) -> Cow<'_, [u8]> {
        match id.checked_sub(self.alphabet.base()) {
            Some(k) => Cow::Borrowed(&self.products[k as usize]),
            None => match self.alphabet {
                Alphabet::Bytes => Cow::Owned(vec![id as u8]),
                Alphabet::Characters => {
                    let c = char::from_u32(id).unwrap_or(char::REPLACEMENT_CHARACTER);
                    Cow::Owned(c.to_string().into_bytes())
                }
            },
        }
    }

    /// The text of a token for people: spaces and control characters made visible, other bytes as `\xNN`.
    pub fn readable(&self, id: TokenId) -> String {
        readable(&self.text(id))
    }

    /// All tokens with their texts: the letters of a byte alphabet, then the products.
    pub fn tokens(&self) -> impl Iterator<Item = (TokenId, Cow<'_, [u8]>)> {
        let letters = match self.alphabet {
            Alphabet::Bytes => 0..256,
            Alphabet::Characters => 0..0,
        };
        let base = self.alphabet.base();
        letters
            .chain(base..base + self.products.len() as TokenId)
            .map(|id| (id, self.text(id)))
    }
}

/// The letter that `text` is, if it is a single one.
fn letter(alphabet: Alphabet, text: &[u8]) -> Option<TokenId> {
    match alphabet {
        Alphabet::Bytes => match text {
            [byte] => Some(TokenId::from(*byte)),
            _ => None,
        },
        // Longer text is no single character; checking all of it would be wasted.
        Alphabet::Characters if text.len() > 4 => None,
        Alphabet::Characters => {
            let mut chars = std::str::from_utf8(text).ok()?.chars();
            let c = chars.next()?;
            chars.next().is_none().then_some(TokenId::from(c))
        }
    }
}

/// `text` for people: valid UTF-8 as it is, white space and control characters escaped, the rest as `\xNN`.
pub(crate) fn readable(text: &[u8]) -> String {
    let mut out = String::new();
    for chunk in text.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                ' ' => out.push('\u{2423}'),
                c if c.is_control() || (c.is_whitespace() && c != ' ') => {
                    out.extend(c.escape_default());
                }
                c => out.push(c),
            }
        }
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02X}"));
        }
    }
    out
}
