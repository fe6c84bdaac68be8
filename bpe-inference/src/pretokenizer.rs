//! How text is cut into words before BPE looks at it, which decides the pairs that can compete.
//!
//! A [`TextPipeline`] is the whole way from bytes to words: a [`Normalizer`], a [`LineMode`], a [`Pretokenizer`], the
//! [`PairFilter`] of the trainer, and what to do with bytes that are not UTF-8. Every tokenizer family of section 2.7 of
//! the design has a named one (`TextPipeline::cl100k()`, or `"cl100k".parse()`); [`diagnose`] finds the one
//! that a vocabulary was made with. [`split_blocks`] cuts a text into halves for training and counting.
//!
//! ```
//! use bpe_inference::pretokenizer::TextPipeline;
//!
//! let words = TextPipeline::gpt2().words("It's 2024, isn't it?")?;
//! assert_eq!(words, ["It", "'s", " 2024", ",", " isn", "'t", " it", "?"]);
//! # Ok::<(), bpe_inference::Error>(())
//! ```

mod blocks;
mod classes;
mod diagnosis;
mod gpt;
mod hugging_face;
mod marker;
mod names;
mod normalizer;
mod pair_filter;
mod pipeline;
mod spec;
mod splitter;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

pub use blocks::split_blocks;
pub use diagnosis::{PretokenizerScore, diagnose};
pub use normalizer::Normalizer;
pub use pair_filter::PairFilter;
pub use pipeline::{InvalidBytes, LineMode, TextPipeline};
pub(crate) use splitter::Splitter;

/// The rule that cuts text into words ("pretokens"). BPE merges never cross from one word into the next.
///
/// All but [`Regex`](Self::Regex) run on hand-written scanners that agree with the regular expressions below, as the
/// `regex` and `fancy-regex` crates read them, on every text. Their source is section 2.7 of the design: the
/// configurations of the tokenizers themselves, and for the last three the paper's reconstruction.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Pretokenizer {
    /// GPT-2, GPT-3 (r50k, p50k), GPT-NeoX, Claude 1 and 2: see [`pattern`](Self::pattern).
    Gpt2,
    /// GPT-3.5, GPT-4, Llama 3: see [`pattern`](Self::pattern).
    Cl100k,
    /// GPT-4o: see [`pattern`](Self::pattern).
    O200k,
    /// Mistral NeMo: `O200k` without contractions, digits one by one; see [`pattern`](Self::pattern).
    Tekken,
    /// Qwen 2 and 2.5: `Cl100k` with digits one by one; see [`pattern`](Self::pattern).
    Qwen2,
    /// Runs of digits (`\p{N}`) first, then `Gpt2` on what lies between them: the controlled experiments of the paper.
    DigitsGpt2,
    /// Single digits first, then `Gpt2` on what lies between them: Command R, StarCoder.
    CommandR,
    /// Llama 1 and 2 on characters: isolates ` ?[^\s\p{L}\p{N}]+\r*`, starts a word at every space and writes the marker
    /// U+2581 for it, isolates digits, drops line feeds and tabs. The text's first word gets a marker if it has none.
    Llama,
    /// Mistral 7B: the rule of `Llama`.
    Mistral,
    /// Gemma: the rule of `Llama`, but the text's first word gets no marker.
    Gemma,
    /// A regular expression of one's own, by [`Pretokenizer::regex`]. What lies between matches is a word too.
    Regex(Pattern),
    /// The whole text (or line) is one word.
    None,
}

impl Pretokenizer {
    /// A pretokenizer from a regular expression in the syntax of `fancy-regex` (look-around allowed). Its matches are words,
    /// and so is what lies between two of them (Hugging Face's `Split` with `Isolated`).
    ///
    /// In document mode such a pretokenizer holds a whole document in memory, because nothing is known about where it may
    /// be cut. It runs at a few MB a second.
    ///
    /// # Errors
    /// [`Error::Pattern`] if it does not compile.
    pub fn regex(pattern: impl Into<String>) -> Result<Self> {
        Ok(Self::Regex(Pattern::new(pattern)?))
    }

    /// The one regular expression that this pretokenizer is, if it is one.
    pub fn pattern(&self) -> Option<&str> {
        match self {
            Self::Gpt2 => Some(concat!(
                r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+",
                r"|\s+(?!\S)|\s+"
            )),
            Self::Cl100k => Some(concat!(
                r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}",
                r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
            )),
            Self::Qwen2 => Some(concat!(
                r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}",
                r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
            )),
            Self::O200k => Some(concat!(
                r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+",
                r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
                r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*",
                r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
                r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
            )),
            Self::Tekken => Some(concat!(
                r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+",
                r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*",
                r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
            )),
            Self::Regex(pattern) => Some(pattern.as_str()),
            Self::DigitsGpt2
            | Self::CommandR
            | Self::Llama
            | Self::Mistral
            | Self::Gemma
            | Self::None => None,
        }
    }

    /// Whether its words consist of characters, so that text which is not UTF-8 makes no sense to it.
    pub fn needs_utf8(&self) -> bool {
        matches!(self, Self::Llama | Self::Mistral | Self::Gemma)
    }
}

/// A compiled regular expression that compares, hashes and serialises as its text.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Pattern(fancy_regex::Regex);

impl Pattern {
    /// Compiles a pattern in the syntax of `fancy-regex`.
    ///
    /// # Errors
    /// [`Error::Pattern`] if it does not compile.
    pub fn new(pattern: impl Into<String>) -> Result<Self> {
        fancy_regex::Regex::new(&pattern.into())
            .map(Self)
            .map_err(pattern_error)
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Calls `sink` with start and end of every match and of every stretch between two of them.
    fn scan(&self, text: &str, mut sink: impl FnMut(usize, usize)) -> Result<()> {
        let mut at = 0;
        for found in self.0.find_iter(text) {
            let found = found.map_err(pattern_error)?;
            if at < found.start() {
                sink(at, found.start());
            }
            if found.start() < found.end() {
                sink(found.start(), found.end());
            }
            at = found.end();
        }
        if at < text.len() {
            sink(at, text.len());
        }
        Ok(())
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Pattern {}

impl std::hash::Hash for Pattern {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.as_str().to_owned()
    }
}

impl TryFrom<String> for Pattern {
    type Error = Error;

    fn try_from(pattern: String) -> Result<Self> {
        Self::new(pattern)
    }
}

fn pattern_error(error: fancy_regex::Error) -> Error {
    Error::Pattern {
        reason: error.to_string(),
    }
}
