//! Verdicts, and what led to them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a question stayed open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// The time was up.
    Timeout,
    /// The caller cancelled.
    Cancelled,
    /// As many nodes were visited, or open, as the settings allow.
    Nodes,
    /// The settings allow no branching.
    NoBranching,
    /// Nothing is left to branch on; the remaining gap is that of rounding or of the relaxation of a fixed sign pattern.
    Exhausted,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Timeout => "time is up",
            Self::Cancelled => "cancelled",
            Self::Nodes => "too many nodes",
            Self::NoBranching => "no branching",
            Self::Exhausted => "nothing left to branch on",
        })
    }
}

/// The answer to a specification, or to one of its cases.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum Verdict {
    /// No input of the region has an unsafe output.
    Verified {
        /// The proven lower bound of the distance to the unsafe set, in units of the half-spaces' left-hand sides; positive.
        bound: f64,
    },
    /// An input with an unsafe output.
    Falsified {
        /// The input, within its box.
        input: Vec<f64>,
        /// The network's output there.
        output: Vec<f64>,
    },
    /// Neither could be shown.
    Unknown {
        /// The proven lower bound; not positive.
        bound: f64,
        /// The smallest distance that the attack reached; positive.
        upper: f64,
        /// What stopped the search.
        reason: Reason,
    },
}

impl Verdict {
    /// The proven lower bound; negative infinity for a violated case.
    #[must_use]
    pub fn bound(&self) -> f64 {
        match self {
            Self::Verified { bound } | Self::Unknown { bound, .. } => *bound,
            Self::Falsified { .. } => f64::NEG_INFINITY,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Verified { bound } => write!(
                f,
                "verified: stays at least {bound:.6} away from every unsafe output"
            ),
            Self::Falsified { .. } => f.write_str("falsified: a counterexample was found"),
            Self::Unknown {
                bound,
                upper,
                reason,
            } => {
                write!(
                    f,
                    "unknown ({reason}): the distance lies between {bound:.6} and {upper:.6}"
                )
            }
        }
    }
}

/// One case of a specification.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CaseReport {
    /// The answer.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// The proven bound before any branching.
    pub root_bound: f64,
    /// Nodes of branch and bound that were bounded.
    pub nodes: usize,
}

/// The answer to a whole specification.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The answer: verified only if every case is.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// Every case that was looked at, in the specification's order; a violation ends the search.
    pub cases: Vec<CaseReport>,
    /// Wall-clock seconds.
    pub seconds: f64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes: usize = self.cases.iter().map(|case| case.nodes).sum();
        write!(
            f,
            "{}; {} cases, {nodes} nodes, {:.2} s",
            self.verdict,
            self.cases.len(),
            self.seconds
        )
    }
}
