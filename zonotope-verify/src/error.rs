//! The one error type of the crate: each variant carries what is needed to act on it.

use std::path::PathBuf;

/// Shorthand for results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong between a file and a verdict.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file is no ONNX model, or a damaged one.
    #[error("{file}: not a readable ONNX model: {reason}")]
    OnnxFormat {
        /// The file, or `<bytes>`.
        file: String,
        /// What was expected and what was found.
        reason: String,
    },
    /// An operator, or a way to use it, that the verifier has no proof rule for.
    #[error("node `{node}`: operator {op}: {reason}")]
    UnsupportedOperator {
        /// The node's name, or its output where it has none.
        node: String,
        /// The operator's type in ONNX.
        op: String,
        /// What is not supported.
        reason: String,
    },
    /// The graph branches or joins; only chains of layers are understood.
    #[error("node `{node}`: the graph is not a chain of layers")]
    NotSequential {
        /// The node at which the chain ends.
        node: String,
    },
    /// Sizes do not fit together.
    #[error("{layer}: expected {expected}, found {found}")]
    ShapeMismatch {
        /// The layer or argument.
        layer: String,
        /// The size that fits.
        expected: String,
        /// The size that came.
        found: String,
    },
    /// A weight is NaN or infinite.
    #[error("{layer}: the number at index {index} is not finite")]
    NonFiniteWeight {
        /// The layer and which of its arrays.
        layer: String,
        /// The position in that array.
        index: usize,
    },
    /// A specification does not follow VNN-LIB.
    #[error("line {line}, column {column}: expected {expected}")]
    VnnlibSyntax {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What would have been understood there.
        expected: String,
    },
    /// A specification says something that the verifier cannot express.
    #[error("line {line}: {what} is not supported")]
    VnnlibUnsupported {
        /// Line, from 1.
        line: usize,
        /// What it says.
        what: String,
    },
    /// An input has no lower or no upper bound.
    #[error("input {index} has no {side} bound")]
    MissingInputBound {
        /// Index of the input.
        index: usize,
        /// `lower` or `upper`.
        side: &'static str,
    },
    /// The lower bound of an input lies above its upper bound.
    #[error("input {index}: the box [{lower}, {upper}] is empty")]
    EmptyInputBox {
        /// Index of the input.
        index: usize,
        /// Its lower bound.
        lower: f64,
        /// Its upper bound.
        upper: f64,
    },
    /// An output that the network does not have.
    #[error("output {index} does not exist: the network has {size}")]
    OutputIndex {
        /// The index asked for.
        index: usize,
        /// Number of outputs.
        size: usize,
    },
    /// The disjunctive normal form of a specification is too large.
    #[error("the specification has {found} or more clauses, more than the limit of {limit}")]
    TooManyClauses {
        /// How many there were when counting stopped.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// A setting, or an argument, has no meaning.
    #[error("{field}: {reason}")]
    InvalidConfig {
        /// The setting.
        field: &'static str,
        /// Why it cannot be.
        reason: String,
    },
    /// A certificate proves nothing.
    #[error("certificate rejected at {at}: {reason}")]
    CertificateRejected {
        /// The part of it that failed.
        at: String,
        /// Why.
        reason: String,
    },
    /// A file is no checkpoint of a search, or a damaged one.
    #[error("{}: not a readable checkpoint: {reason}", path.display())]
    CheckpointFormat {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A checkpoint belongs to another search.
    #[error("{}: the checkpoint was made with another {what}", path.display())]
    CheckpointMismatch {
        /// The file.
        path: PathBuf,
        /// `network`, `specification` or `settings`.
        what: &'static str,
    },
    /// The device failed.
    #[error("device: {reason}")]
    Device {
        /// What it said.
        reason: String,
    },
    /// Two proven bounds contradict each other: a defect of this crate, please report it.
    #[error("internal contradiction at {layer}: {reason}")]
    Internal {
        /// The layer.
        layer: String,
        /// What contradicts what.
        reason: String,
    },
}
