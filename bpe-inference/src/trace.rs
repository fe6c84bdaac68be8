//! Pair counts over time: the counts of every adjacent pair in every category before step 0, and how each
//! merge changes them (section 3.3 of the paper).

use serde::{Deserialize, Serialize};

use crate::merges::TokenId;

/// Index of a pair in a [`PairTrace`].
pub type PairId = u32;

/// What a trace keeps of a category.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TraceCategory {
    /// Its name.
    pub name: String,
    /// Bytes of its sample.
    pub bytes: u64,
    /// Adjacent pairs in its sample before step 0.
    pub initial_pairs: u64,
}

/// One change of a count: pair `pair` of category `category` gains `delta` occurrences.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delta {
    /// The pair.
    pub pair: PairId,
    /// Index of the category.
    pub category: u16,
    /// Its change; never 0.
    pub delta: i64,
}

/// Counts before step 0 and the changes of every step, for all categories.
///
/// Pairs are numbered in the order of `(left, right)`, so equal input gives equal numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PairTrace {
    categories: Vec<TraceCategory>,
    /// Every pair that has a count at some step, sorted.
    pairs: Vec<(TokenId, TokenId)>,
    /// Non-zero counts before step 0, sorted by pair, then category.
    initial: Vec<Delta>,
    /// The pair that each step merges; `None` if no category ever has it.
    merged: Vec<Option<PairId>>,
    /// Where each step's changes end in `deltas`.
    delta_ends: Vec<usize>,
    /// Changes, step after step; within a step sorted by pair, then category.
    deltas: Vec<Delta>,
}

impl PairTrace {
    /// The categories, in the order of the weights.
    pub fn categories(&self) -> &[TraceCategory] {
        &self.categories
    }

    /// Number of merge steps.
    pub fn steps(&self) -> usize {
        self.merged.len()
    }

    /// Every pair that is ever counted, sorted; a [`PairId`] is an index into it.
    pub fn pairs(&self) -> &[(TokenId, TokenId)] {
        &self.pairs
    }

    /// Counts before step 0, as changes from nothing, sorted by pair, then category.
    pub fn initial(&self) -> &[Delta] {
        &self.initial
    }

    /// The pair that step `t` merges; `None` if it never occurs in any category.
    pub fn merged(&self, t: usize) -> Option<PairId> {
        self.merged[t]
    }

    /// The changes that step `t` makes, sorted by pair, then category.
    pub fn deltas(&self, t: usize) -> &[Delta] {
        let start = t.checked_sub(1).map_or(0, |before| self.delta_ends[before]);
        &self.deltas[start..self.delta_ends[t]]
    }
}
