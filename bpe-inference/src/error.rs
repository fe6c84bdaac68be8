//! The one error type of the crate: each variant carries what is needed to act on it.

use std::path::PathBuf;

use crate::inference::Estimate;
use crate::lp::LpError;
use crate::merges::MergeList;
use crate::pretokenizer::{PretokenizerScore, TextPipeline, diagnose};

/// Shorthand for results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong between a tokenizer file and an estimated mixture.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A tokenizer, trace or count file does not follow its format.
    #[error("cannot read {format} at byte {offset}: {reason}")]
    Parse {
        /// The format that was expected, e.g. `tokenizer.json`.
        format: &'static str,
        /// Offset in bytes (for line-based formats: of the line's first byte).
        offset: u64,
        /// What was expected and what was found.
        reason: String,
    },
    /// The file holds a tokenizer of another kind (Unigram, WordPiece, WordLevel ...).
    #[error("not a BPE tokenizer: the file says its model is {model}")]
    NotBpe {
        /// The model type that the file names.
        model: String,
    },
    /// Text that must be UTF-8 is not.
    #[error("{origin} is not valid UTF-8 from byte {offset} on")]
    InvalidUtf8 {
        /// File, or category, that the text came from.
        origin: String,
        /// Offset of the first invalid byte.
        offset: u64,
    },
    /// A category without any adjacent pair of symbols gives the linear program nothing to use.
    #[error("category `{name}` is empty: it has {bytes} bytes of text and no pair of symbols")]
    EmptyCategory {
        /// The category's name.
        name: String,
        /// Its bytes of text.
        bytes: u64,
    },
    /// A mixture needs two categories at the least.
    #[error("a mixture needs at least 2 categories, but {found} given")]
    TooFewCategories {
        /// How many there were.
        found: usize,
    },
    /// Two categories share a name.
    #[error("two categories are called `{name}`")]
    DuplicateCategory {
        /// The repeated name.
        name: String,
    },
    /// None of the first merges occurs in any category: wrong alphabet, pretokenizer or data.
    #[error(
        "none of the first {steps} merges occurs in any category: the pretokenizer or alphabet \
         does not fit this tokenizer{}", best_fit(.diagnosis)
    )]
    MergeMismatch {
        /// How many merges were looked at.
        steps: usize,
        /// How well each known pretokenizer fits the tokenizer, best first. The inference sees counts only and leaves it
        /// empty; [`Error::diagnosed`] fills it in.
        diagnosis: Vec<PretokenizerScore>,
    },
    /// None of the first merges occurs in one of the categories: its text is prepared in another way than the
    /// tokenizer's, or the tokenizer saw nothing like it. Nothing can be inferred about it; see
    /// [`InferenceConfig::unmatched`](crate::InferenceConfig) for going on all the same.
    #[error(
        "none of the first {steps} merges occurs in category `{name}`: leave it out, or check how its text is prepared{}",
        best_fit(.diagnosis)
    )]
    CategoryMismatch {
        /// The category's name.
        name: String,
        /// How many merges were looked at.
        steps: usize,
        /// As in [`Error::MergeMismatch`].
        diagnosis: Vec<PretokenizerScore>,
    },
    /// A merge that `MissingPolicy::Error` does not allow to be missing.
    #[error("merge {step} ({left} + {right}) occurs in no category")]
    MissingMerge {
        /// Its place in the merge list, from 0.
        step: usize,
        /// Its left part, readable.
        left: String,
        /// Its right part, readable.
        right: String,
    },
    /// A merge names a token that neither the alphabet nor an earlier merge makes.
    #[error("merge {step} uses the token {token}, which no earlier merge makes")]
    UnknownToken {
        /// Place in the merge list, from 0.
        step: usize,
        /// The token, readable.
        token: String,
    },
    /// The same pair is merged twice.
    #[error("merge {step} repeats merge {first}: {left} + {right}")]
    DuplicateMerge {
        /// Place of the repetition, from 0.
        step: usize,
        /// Place of the first of the two.
        first: usize,
        /// Left part, readable.
        left: String,
        /// Right part, readable.
        right: String,
    },
    /// Too many tokens of a rank file cannot be made by merging tokens of lower rank.
    #[error(
        "{unreachable} of the first {considered} tokens cannot be made by merges \
         (the limit is {limit:.1} %)"
    )]
    Unreachable {
        /// Tokens without a merge.
        unreachable: usize,
        /// Tokens looked at.
        considered: usize,
        /// The limit in percent.
        limit: f64,
    },
    /// A count does not fit 64 bits.
    #[error("pair counts of category `{name}` do not fit 64 bits")]
    CountOverflow {
        /// The category's name.
        name: String,
    },
    /// A weight, share or option is out of its range or not finite.
    #[error("{name} is {value}, but must be {expected}")]
    InvalidValue {
        /// The parameter.
        name: String,
        /// Its value.
        value: String,
        /// What is allowed.
        expected: &'static str,
    },
    /// A custom pretokenizer pattern does not compile or cannot be matched.
    #[error("pretokenizer pattern: {reason}")]
    Pattern {
        /// The regex engine's own words.
        reason: String,
    },
    /// The linear program could not be solved.
    #[error(transparent)]
    Lp(#[from] LpError),
    /// The caller cancelled; the best estimate so far is handed back if there is one.
    #[error("cancelled{}", if partial.is_some() { " (with a partial estimate)" } else { "" })]
    Cancelled {
        /// The estimate of the last finished round.
        partial: Option<Box<Estimate>>,
    },
    /// A saved trace or checkpoint was written by another version or for other input.
    #[error("{what}: expected {expected}, found {found}")]
    VersionMismatch {
        /// The file's kind.
        what: &'static str,
        /// What this run needs.
        expected: String,
        /// What the file holds.
        found: String,
    },
    /// Reading or writing failed.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
}

impl Error {
    /// Adds to [`Error::MergeMismatch`] and [`Error::CategoryMismatch`] how well the known pretokenizers
    /// ([`TextPipeline::presets`]) fit `list`, the tokenizer's merges, by [`diagnose`]; other errors stay as they are.
    /// Trying all presets takes time in proportion to the list, so it is left to whoever reports the error.
    pub fn diagnosed(mut self, list: &MergeList) -> Self {
        if let Self::MergeMismatch { diagnosis, .. } | Self::CategoryMismatch { diagnosis, .. } =
            &mut self
        {
            *diagnosis = diagnose(list, &TextPipeline::presets());
        }
        self
    }

    /// Wraps an input/output error together with the path it happened on.
    pub(crate) fn io(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self::Io {
            path: path.into(),
            source,
        }
    }
}

fn best_fit(diagnosis: &[PretokenizerScore]) -> String {
    diagnosis.first().map_or_else(String::new, |best| {
        format!(
            "; of those known, {} fits best ({:.1} % of tokens)",
            best.name,
            100.0 * best.share
        )
    })
}
