//! What an inference returns, and how it reads.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::merges::MergeList;
#[cfg(doc)]
use crate::ranges::{SIMILAR, joint_ranges};
use crate::trace::{PairId, PairTrace};

/// One category's part of the training text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CategoryShare {
    /// The category.
    pub name: String,
    /// Its share of the bytes, in 0..=1; all shares sum to 1.
    pub bytes: f64,
    /// Its share of adjacent symbol pairs before any merge, in 0..=1; all shares sum to 1.
    pub pairs: f64,
}

/// The estimate after a number of merges: how the answer settles.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StabilityPoint {
    /// Merges used.
    pub merges: usize,
    /// Share of bytes of each category.
    pub bytes: Vec<f64>,
}

/// Why an inference ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StopReason {
    /// No row is violated: the optimum of the whole program.
    Optimal,
    /// Upper and lower bound of the objective are close enough.
    Gap,
    /// The weights have stopped moving.
    WeightsStable,
    /// Out of time.
    TimeLimit,
    /// Cancelled by the caller.
    Cancelled,
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Optimal => "optimal",
            Self::Gap => "gap closed",
            Self::WeightsStable => "weights stable",
            Self::TimeLimit => "time limit",
            Self::Cancelled => "cancelled",
        })
    }
}

/// The mixture that explains a merge list best, with bounds and what it leaves unexplained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Estimate {
    /// Shares, in the order of the trace's categories.
    pub categories: Vec<CategoryShare>,
    /// The weights of the linear program, in its own basis ([`super::PairBasis`]).
    pub alpha: Vec<f64>,
    /// Certified lower bound of the optimal objective, in normalised counts.
    pub objective_lower: f64,
    /// Upper bound of the optimal objective over all [`Estimate::merges`], from a sweep at the final weights.
    pub objective_upper: f64,
    /// Merge steps used: as many as asked for, or those of the stage ([`InferenceConfig::schedule`](super::InferenceConfig))
    /// that was under way when time ran out or the caller cancelled.
    pub merges: usize,
    /// Restricted programs solved.
    pub rounds: usize,
    /// Rows of the last one.
    pub rows: usize,
    /// Why it ended.
    pub stop: StopReason,
    /// Steps whose merge occurs in no category: skipped.
    pub missing: Vec<usize>,
    /// Steps with a positive slack, largest first: merges that the samples do not make frequent enough.
    pub merge_violation: Vec<(usize, f64)>,
    /// Pairs with a positive slack, largest first: pairs that the samples make too frequent.
    pub pair_violation: Vec<(PairId, f64)>,
    /// The estimate after fewer merges, ending with the final one.
    pub stability: Vec<StabilityPoint>,
    /// What is to be known before the shares are believed.
    #[serde(default)]
    pub warnings: Vec<Warning>,
    /// The solver's name.
    pub solver: String,
}

/// A property of the samples that limits what the shares say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Warning {
    /// These two categories have nearly the same pairs (a cosine similarity above [`SIMILAR`]): only the sum of their
    /// shares is reliable, whose range [`joint_ranges`] gives.
    Indistinguishable(String, String),
    /// None of the merges that were used occurs in this category: it can only get a share of about 0, whether or not the
    /// tokenizer saw text like it.
    Unmatched(String),
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Indistinguishable(a, b) => write!(
                f,
                "`{a}` and `{b}` have nearly the same pairs: only the sum of their shares is reliable"
            ),
            Self::Unmatched(name) => write!(
                f,
                "`{name}` has none of the merges: nothing is known about its share"
            ),
        }
    }
}

/// What a [`Violation`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ViolationKind {
    /// The tokenizer made this merge earlier than the samples explain: text like it is missing from the categories.
    MergeTooEarly,
    /// The samples have more of this pair than the tokenizer's training text can have had.
    PairTooFrequent,
    /// The merge occurs in no category at all.
    Missing,
}

/// A merge or pair that the estimated mixture does not explain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Violation {
    /// Of which kind.
    pub kind: ViolationKind,
    /// The token that the pair makes, readable.
    pub token: String,
    /// The step, for merges.
    pub step: Option<usize>,
    /// The slack in normalised counts; 0 for missing merges.
    pub slack: f64,
}

impl Estimate {
    /// The share of bytes of each category.
    pub fn byte_shares(&self) -> Vec<f64> {
        self.categories
            .iter()
            .map(|category| category.bytes)
            .collect()
    }

    /// `(upper - lower) / upper`: how far the objective may be from its optimum; 0 when both are below 1e-12.
    pub fn gap(&self) -> f64 {
        if self.objective_upper <= 1e-12 {
            return 0.0;
        }
        (self.objective_upper - self.objective_lower) / self.objective_upper
    }

    /// The merges and pairs that the mixture explains worst, largest slack first, then the missing merges in order;
    /// at most `most`. They show what the candidate categories lack.
    pub fn violations(&self, list: &MergeList, trace: &PairTrace, most: usize) -> Vec<Violation> {
        let merges = self.merge_violation.iter().map(|&(step, slack)| {
            let merge = list.steps()[step];
            let token = list.readable(merge.product);
            Violation {
                kind: ViolationKind::MergeTooEarly,
                token,
                step: Some(step),
                slack,
            }
        });
        let pairs = self.pair_violation.iter().map(|&(pair, slack)| {
            let (left, right) = trace.pairs()[pair as usize];
            let token = format!("{} + {}", list.readable(left), list.readable(right));
            Violation {
                kind: ViolationKind::PairTooFrequent,
                token,
                step: None,
                slack,
            }
        });
        let mut all: Vec<Violation> = merges.chain(pairs).collect();
        all.sort_by(|a, b| b.slack.total_cmp(&a.slack));
        all.extend(self.missing.iter().map(|&step| {
            let token = list.readable(list.steps()[step].product);
            Violation {
                kind: ViolationKind::Missing,
                token,
                step: Some(step),
                slack: 0.0,
            }
        }));
        all.truncate(most);
        all
    }
}

impl fmt::Display for Estimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self
            .categories
            .iter()
            .map(|c| c.name.chars().count())
            .max()
            .unwrap_or(0)
            .max(8);
        writeln!(f, "{:<width$}  {:>7}", "category", "bytes")?;
        for category in &self.categories {
            writeln!(
                f,
                "{:<width$}  {:>6.2} %",
                category.name,
                100.0 * category.bytes
            )?;
        }
        write!(
            f,
            "{} merges, {} rows in {} rounds, objective {:.3e} to {:.3e}, {}",
            self.merges,
            self.rows,
            self.rounds,
            self.objective_lower,
            self.objective_upper,
            self.stop
        )
    }
}
