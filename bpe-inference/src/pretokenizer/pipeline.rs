//! The whole way from bytes to words, and the named pipelines of known tokenizers.

use serde::{Deserialize, Serialize};

use super::{Normalizer, PairFilter, Pretokenizer, Splitter};
use crate::error::Result;

/// What text is cut into before the pretokenizer sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LineMode {
    /// Nothing: a file or string is one text, and words of white space may span line ends.
    #[default]
    Document,
    /// Lines, each with its line feed at its end, as Hugging Face's trainer reads files: no word crosses a line end.
    Lines,
}

/// What happens to bytes that are not UTF-8.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InvalidBytes {
    /// They are kept: each maximal run of them is a word, and the text between runs is taken by itself. Pretokenizers that make
    /// words of characters reject them all the same.
    #[default]
    Keep,
    /// They are [`crate::Error::InvalidUtf8`].
    Reject,
}

/// The whole way from bytes to words.
///
/// Reads from and writes to a short text, for command lines: `cl100k`, `gpt2+nfc`, `digits-gpt2+lines`,
/// `nfc+regex:\w+|\W+` (a `regex:` takes all that follows). A name stands for the vendor's whole pipeline
/// ([`TextPipeline::new`]); the options behind it change parts: `no-normalizer`, `nfc`, `nfkc`; `document`, `lines`; `any-pair`,
/// `sentencepiece` (with `:CHARS` and `:numbers`, `:digits`, `:scripts`, `:runs` for rules other than Llama's); `keep`, `reject`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TextPipeline {
    /// The rule that cuts text into words.
    pub pretokenizer: Pretokenizer,
    /// What is done to the text before.
    #[serde(default)]
    pub normalizer: Normalizer,
    /// Whether lines are taken one by one.
    #[serde(default)]
    pub lines: LineMode,
    /// The pairs that may compete within a word.
    #[serde(default)]
    pub pairs: PairFilter,
    /// What happens to bytes that are not UTF-8.
    #[serde(default)]
    pub invalid: InvalidBytes,
}

impl TextPipeline {
    /// The pipeline of the vendor whose pretokenizer this is: NFC for `Qwen2` and `CommandR`; SentencePiece's pair rules for
    /// `Llama`, `Mistral` and `Gemma`, and lines for the former two, because SentencePiece takes every line for a text of its own, with
    /// a marker in front. Everything else: documents as they are.
    pub fn new(pretokenizer: Pretokenizer) -> Self {
        let characters = pretokenizer.needs_utf8();
        Self {
            normalizer: match pretokenizer {
                Pretokenizer::Qwen2 | Pretokenizer::CommandR => Normalizer::Nfc,
                _ => Normalizer::None,
            },
            lines: match pretokenizer {
                Pretokenizer::Llama | Pretokenizer::Mistral => LineMode::Lines,
                _ => LineMode::Document,
            },
            pairs: if characters {
                PairFilter::sentencepiece()
            } else {
                PairFilter::None
            },
            invalid: if characters {
                InvalidBytes::Reject
            } else {
                InvalidBytes::Keep
            },
            pretokenizer,
        }
    }

    /// GPT-2 and GPT-3 (r50k, p50k).
    pub fn gpt2() -> Self {
        Self::new(Pretokenizer::Gpt2)
    }

    /// GPT-NeoX: GPT-2 on NFC.
    pub fn gpt_neox() -> Self {
        Self::gpt2().with_normalizer(Normalizer::Nfc)
    }

    /// Claude 1 and 2: GPT-2 on NFKC.
    pub fn claude() -> Self {
        Self::gpt2().with_normalizer(Normalizer::Nfkc)
    }

    /// GPT-3.5, GPT-4 and Llama 3.
    pub fn cl100k() -> Self {
        Self::new(Pretokenizer::Cl100k)
    }

    /// GPT-4o.
    pub fn o200k() -> Self {
        Self::new(Pretokenizer::O200k)
    }

    /// Mistral NeMo.
    pub fn tekken() -> Self {
        Self::new(Pretokenizer::Tekken)
    }

    /// Qwen 2 and 2.5.
    pub fn qwen2() -> Self {
        Self::new(Pretokenizer::Qwen2)
    }

    /// Command R.
    pub fn command_r() -> Self {
        Self::new(Pretokenizer::CommandR)
    }

    /// Llama 1 and 2.
    pub fn llama() -> Self {
        Self::new(Pretokenizer::Llama)
    }

    /// Mistral 7B.
    pub fn mistral() -> Self {
        Self::new(Pretokenizer::Mistral)
    }

    /// Gemma.
    pub fn gemma() -> Self {
        Self::new(Pretokenizer::Gemma)
    }

    /// The paper's controlled experiments: Hugging Face's trainer with digits apart, which reads lines.
    pub fn hf_trained() -> Self {
        Self::new(Pretokenizer::DigitsGpt2).with_lines(LineMode::Lines)
    }

    /// One of each kind, for [`diagnose`](super::diagnose).
    pub fn presets() -> Vec<Self> {
        vec![
            Self::gpt2(),
            Self::gpt_neox(),
            Self::claude(),
            Self::cl100k(),
            Self::qwen2(),
            Self::o200k(),
            Self::tekken(),
            Self::command_r(),
            Self::new(Pretokenizer::DigitsGpt2),
            Self::hf_trained(),
            Self::llama(),
            Self::gemma(),
            Self::new(Pretokenizer::None),
        ]
    }

    /// Changes the normalizer.
    pub fn with_normalizer(mut self, normalizer: Normalizer) -> Self {
        self.normalizer = normalizer;
        self
    }

    /// Changes the line mode.
    pub fn with_lines(mut self, lines: LineMode) -> Self {
        self.lines = lines;
        self
    }

    /// Changes the pairs that may compete.
    pub fn with_pairs(mut self, pairs: PairFilter) -> Self {
        self.pairs = pairs;
        self
    }

    /// Changes what happens to bytes that are not UTF-8.
    pub fn with_invalid(mut self, invalid: InvalidBytes) -> Self {
        self.invalid = invalid;
        self
    }

    /// The words of a text, in order. To count the words of much text use [`crate::words::WordCounts::builder`].
    ///
    /// # Errors
    /// [`crate::Error::Pattern`] if a custom pattern exceeds the limits of its engine.
    pub fn words(&self, text: &str) -> Result<Vec<String>> {
        let mut words = Vec::new();
        Splitter::new(self.clone()).words(text.as_bytes(), true, &mut |buffer, start, end| {
            words.push(String::from_utf8_lossy(&buffer[start..end]).into_owned());
        })?;
        Ok(words)
    }
}
