//! What reading a tokenizer file found: which merges are evidence, which are not and why, and what the file says
//! about its text pipeline.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Format, readable};

/// A token of a file, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedToken {
    /// Its id or rank in the file; `None` where the file numbers nothing (`merges.txt`).
    pub id: Option<u32>,
    /// Its text: spaces as U+2423, control characters and bytes that are not UTF-8 escaped.
    pub text: String,
}

impl ListedToken {
    pub(crate) fn new(id: Option<u32>, text: &[u8]) -> Self {
        Self {
            id,
            text: readable(text),
        }
    }
}

/// A token that no merge of earlier tokens makes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnreachableToken {
    /// The token.
    pub token: ListedToken,
    /// In how many parts merging leaves its own text: 3 or more, or 2 of which one is itself unreachable.
    pub parts: usize,
}

/// How a file orders its merges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ListOrder {
    /// The order of training: the list is used as it stands.
    Training,
    /// A converter listed every split of every token: one merge a token was rebuilt from the order of the tokens.
    Converted,
    /// The file has tokens in order and no merges: the merges were recovered.
    Ranks,
}

/// What became of the entries of a tokenizer file. Every listed entry is kept, redundant, unreachable or manual:
/// `listed == kept + redundant + unreachable.len() + manual.len()`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct MergeReport {
    /// The file's format.
    pub format: Format,
    /// How the file orders its merges, as detected or as asked for.
    pub order: ListOrder,
    /// Entries of the file: merges or, in a file without merges, tokens of more than one letter.
    pub listed: usize,
    /// Merges of the returned list.
    pub kept: usize,
    /// Entries dropped because their token was listed before: further splits of a converted list, or a token
    /// that a rank file repeats.
    pub redundant: usize,
    /// Tokens that no merge of earlier tokens makes, dropped. A vocabulary that was extended by hand (Llama 3) has
    /// some.
    pub unreachable: Vec<UnreachableToken>,
    /// Tokens that BPE did not learn, dropped: pieces with a score of -1e8 or less; in converted SentencePiece
    /// lists added tokens, and runs of one white-space character that stand outside the order of ids.
    pub manual: Vec<ListedToken>,
    /// Kept merges whose product an earlier merge made already. Legal in lists that Hugging Face trained.
    pub duplicate_products: usize,
    /// Tokens whose rank (or score) an earlier token has too; kept, in the order of the file.
    pub duplicate_ranks: Vec<ListedToken>,
    /// Tokens that a rank file repeats; the first one counts.
    pub repeated_tokens: Vec<ListedToken>,
    /// Single bytes that a rank file has no token for.
    pub missing_bytes: Vec<u8>,
    /// Kept tokens of a converted list whose id is smaller than their predecessor's: 0 for every list known.
    pub out_of_order: usize,
    /// Added, control and user-defined tokens, which BPE never sees.
    pub added: Vec<ListedToken>,
    /// What the file says about the rest of the text pipeline.
    pub spec: TokenizerSpec,
}

/// What a tokenizer file says about everything around BPE, as plain data.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TokenizerSpec {
    /// `normalizer` of a `tokenizer.json`.
    pub normalizer: Option<serde_json::Value>,
    /// `pre_tokenizer` of a `tokenizer.json`.
    pub pre_tokenizer: Option<serde_json::Value>,
    /// The pretokenizer's regular expression, if the file states exactly one.
    pub pattern: Option<String>,
    /// Whether BPE runs on bytes; otherwise on characters.
    pub byte_level: bool,
    /// Whether characters without a token become byte tokens (SentencePiece).
    pub byte_fallback: bool,
    /// Whether a pretoken that is a token skips the merges (Llama 3).
    pub ignore_merges: bool,
    /// The pretokenizer's name in a GGUF file (`tokenizer.ggml.pre`), e.g. `llama-bpe`.
    pub preset: Option<String>,
    /// How a SentencePiece model was trained.
    pub sentencepiece: Option<SentencePieceSpec>,
}

/// The settings of a SentencePiece training that decide which pairs could be merged; names and defaults are
/// SentencePiece's own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SentencePieceSpec {
    /// Share of the training characters that got a token of their own (default 0.9995).
    pub character_coverage: f32,
    /// Longest piece, in characters with the space marker (default 16).
    pub max_sentencepiece_length: u32,
    /// Whether a piece may not mix scripts (default true).
    pub split_by_unicode_script: bool,
    /// Whether a change between digits and others ends a piece (default true).
    pub split_by_number: bool,
    /// Whether a piece may not reach over white space (default true).
    pub split_by_whitespace: bool,
    /// Whether the space marker ends words instead of starting them (default false).
    pub treat_whitespace_as_suffix: bool,
    /// Whether pieces may consist of white space only (default false).
    pub allow_whitespace_only_pieces: bool,
    /// Whether every digit is a piece of its own (default false).
    pub split_digits: bool,
    /// Name of the normalisation rule, e.g. `identity` or `nmt_nfkc`.
    pub normalization: String,
    /// Whether a space marker is put before the text (default true).
    pub add_dummy_prefix: bool,
    /// Whether runs of spaces become one (default true).
    pub remove_extra_whitespaces: bool,
}

impl Default for SentencePieceSpec {
    fn default() -> Self {
        Self {
            character_coverage: 0.9995,
            max_sentencepiece_length: 16,
            split_by_unicode_script: true,
            split_by_number: true,
            split_by_whitespace: true,
            treat_whitespace_as_suffix: false,
            allow_whitespace_only_pieces: false,
            split_digits: false,
            normalization: String::new(),
            add_dummy_prefix: true,
            remove_extra_whitespaces: true,
        }
    }
}

impl MergeReport {
    /// A report in which every listed entry was kept.
    pub(crate) fn new(format: Format, order: ListOrder, kept: usize, spec: TokenizerSpec) -> Self {
        Self {
            format,
            order,
            listed: kept,
            kept,
            redundant: 0,
            unreachable: Vec::new(),
            manual: Vec::new(),
            duplicate_products: 0,
            duplicate_ranks: Vec::new(),
            repeated_tokens: Vec::new(),
            missing_bytes: Vec::new(),
            out_of_order: 0,
            added: Vec::new(),
            spec,
        }
    }
}

impl fmt::Display for MergeReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listed = match self.order {
            ListOrder::Training => "merges in training order",
            ListOrder::Converted => "merges, several splits a token: rebuilt",
            ListOrder::Ranks => "tokens without merges: recovered",
        };
        write!(f, "{}: {} {listed}", self.format, self.listed)?;
        write!(f, "; {} merges kept", self.kept)?;
        for (count, what) in [
            (self.redundant, "redundant entries"),
            (self.duplicate_products, "make an earlier token again"),
            (self.missing_bytes.len(), "single bytes missing"),
            (self.out_of_order, "out of the order of ids"),
        ] {
            if count > 0 {
                write!(f, "; {count} {what}")?;
            }
        }
        let unreachable = self.unreachable.iter().map(|u| &u.token);
        some(f, "made by no merge", unreachable)?;
        some(f, "not learnt by BPE", self.manual.iter())?;
        some(f, "share a rank", self.duplicate_ranks.iter())
    }
}

/// Writes how many tokens there are and the first few of them.
fn some<'a>(
    f: &mut fmt::Formatter<'_>,
    what: &str,
    tokens: impl ExactSizeIterator<Item = &'a ListedToken>,
) -> fmt::Result {
    const SHOWN: usize = 5;
    let count = tokens.len();
    for (k, token) in tokens.take(SHOWN).enumerate() {
        match k {
            0 => write!(f, "; {count} tokens {what}: `{}`", token.text)?,
            _ => write!(f, " `{}`", token.text)?,
        }
    }
    if count > SHOWN {
        f.write_str(" ...")?;
    }
    Ok(())
}
