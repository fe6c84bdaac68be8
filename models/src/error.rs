//! The one error type of the crate: each variant names the file, tensor or value and what was expected of it.

#[cfg(any(feature = "lm", feature = "vision"))]
use std::path::Path;
use std::path::PathBuf;

/// Shorthand for results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong with a network, its files, its tokenizer or its training.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file does not begin with its format's magic bytes.
    #[error("{path}: not a {format} file: begins with {found:?}")]
    WrongMagic {
        /// The file.
        path: PathBuf,
        /// The format that was expected.
        format: &'static str,
        /// Its first bytes.
        found: Vec<u8>,
    },
    /// A file ends before its contents do.
    #[error("{path}: truncated: {needed} bytes are needed and {found} are there")]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Bytes that the header promises.
        needed: u64,
        /// Bytes that the file has.
        found: u64,
    },
    /// A file does not follow its format.
    #[error("{path}: cannot read {format}: {reason}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// The format, e.g. `GGUF`.
        format: &'static str,
        /// Where and what.
        reason: String,
    },
    /// A tensor is stored in a type that is not supported.
    #[error("{path}: tensor `{tensor}` is stored as {found}, which is not supported")]
    UnsupportedType {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// Its type, by name or number.
        found: String,
    },
    /// A tensor that the network needs is not in the file.
    #[error("{path}: tensor `{tensor}` is missing")]
    MissingTensor {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
    },
    /// The file holds tensors that the network has no place for.
    #[error("{path}: tensors that the network has no place for: {}", tensors.join(", "))]
    ExtraTensors {
        /// The file.
        path: PathBuf,
        /// The tensors.
        tensors: Vec<String>,
    },
    /// A tensor has another shape than the network needs.
    #[error("{path}: tensor `{tensor}` has the shape {found:?}, expected {expected:?}")]
    Shape {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// The shape that the configuration asks for.
        expected: Vec<usize>,
        /// The shape in the file.
        found: Vec<usize>,
    },
    /// A weight is NaN or infinite.
    #[error("{path}: tensor `{tensor}` holds {value} at position {index}")]
    NonFinite {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// Position in row-major order.
        index: usize,
        /// The value.
        value: f32,
    },
    /// A network's output is NaN or infinite.
    #[error("the {what} hold {value} at position {index}")]
    NonFiniteOutput {
        /// Logits or losses.
        what: &'static str,
        /// Position in row-major order.
        index: usize,
        /// The value.
        value: f64,
    },
    /// The network's kind is not one of those here.
    #[error("{path}: the architecture `{found}` is not supported")]
    UnsupportedArchitecture {
        /// The file that names it.
        path: PathBuf,
        /// The name.
        found: String,
    },
    /// A setting makes no sense, alone or with another.
    #[error("invalid {field}: {reason}")]
    InvalidConfig {
        /// The setting.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The tokenizer and the network disagree on the number of tokens.
    #[error("{path}: the tokenizer has {tokenizer} tokens and the network {network}")]
    VocabularyMismatch {
        /// The tokenizer's file.
        path: PathBuf,
        /// Tokens of the tokenizer.
        tokenizer: usize,
        /// Rows of the network's embedding.
        network: usize,
    },
    /// A tokenizer could not be read, or could not encode or decode.
    #[error("tokenizer {origin}: {reason}")]
    Tokenizer {
        /// The file, or what was done.
        origin: String,
        /// What went wrong.
        reason: String,
    },
    /// A chat template could not be read or applied.
    #[error("chat template: {reason}")]
    ChatTemplate {
        /// What went wrong.
        reason: String,
    },
    /// A token that the vocabulary does not have.
    #[error("token {token} at position {position} is outside of the vocabulary of {vocabulary}")]
    TokenOutOfRange {
        /// The token.
        token: u32,
        /// Where it stands.
        position: usize,
        /// Size of the vocabulary.
        vocabulary: usize,
    },
    /// Input of a wrong size or kind.
    #[error("invalid input: {reason}")]
    InvalidInput {
        /// What was expected and what was found.
        reason: String,
    },
    /// Training produced NaN or infinity.
    #[error("the {what} is {value} at step {step}")]
    Diverged {
        /// Loss, gradient norm or a parameter.
        what: String,
        /// Its value.
        value: f64,
        /// The training step, from 0.
        step: u64,
    },
    /// A training checkpoint does not fit the run that wants to resume from it.
    #[error("{path}: cannot resume: {reason}")]
    Checkpoint {
        /// The checkpoint's file or folder.
        path: PathBuf,
        /// What differs or is damaged.
        reason: String,
    },
    /// The caller cancelled.
    #[error("cancelled at step {step}")]
    Cancelled {
        /// Steps that were done.
        step: u64,
    },
    /// A tensor in memory does not fit the module or the tensors that it is used with.
    #[error("parameter `{name}` {reason}")]
    Parameter {
        /// Its name.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An output layer that should be the embedding is another.
    #[error(
        "{path}: tensor `{tensor}` differs from `{embedding}`, which the configuration ties it to"
    )]
    NotTied {
        /// The file.
        path: PathBuf,
        /// The output layer.
        tensor: String,
        /// The embedding.
        embedding: String,
    },
}

impl Error {
    /// An [`Error::Io`] about `path`, for `map_err`.
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        |source| Self::Io { path, source }
    }

    /// The same, with the file that a setting was read from; other errors name theirs already.
    #[cfg(any(feature = "lm", feature = "vision"))]
    pub(crate) fn in_file(self, path: &Path) -> Self {
        match self {
            Self::InvalidConfig { field, reason } => Self::InvalidConfig {
                field,
                reason: format!("{reason} ({})", path.display()),
            },
            other => other,
        }
    }
}
