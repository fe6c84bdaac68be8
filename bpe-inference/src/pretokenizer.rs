//! How text is cut into words before BPE looks at it, which decides the pairs that can compete.

use serde::{Deserialize, Serialize};

/// How well a pretokenizer explains a tokenizer's vocabulary: see [`diagnose`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PretokenizerScore {
    /// The preset's name.
    pub name: String,
    /// Share of tokens that it leaves in one piece.
    pub share: f64,
    /// Tokens it would never let BPE make, readable, at most 20.
    pub falsified_by: Vec<String>,
}
