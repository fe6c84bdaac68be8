//! Pair counts over time: the counts of every adjacent pair in every category before step 0, and how each
//! merge changes them (section 3.3 of the paper).
//!
//! [`PairTrace::build`] replays the merges of a list over the words of every category. The counts are exact:
//! within a word every adjacent window counts, overlapping ones too ("aaa" holds the pair (a, a) twice), times the
//! word's multiplicity; a merge replaces its occurrences in each word from left to right without overlap ("aaa"
//! becomes "aa", "a"), after which its own count is 0.
//!
//! A trace can be kept in a file ([`PairTrace::save`], [`PairTrace::load`]) and exchanged with the paper's own
//! programs ([`PairTrace::from_official_json`], [`PairTrace::to_official_json`]).

mod assemble;
mod checkpoint;
pub(crate) mod corpus;
mod cursor;
mod format;
mod official;
mod replay;

use std::path::Path;
use std::sync::atomic::AtomicBool;

use rustc_hash::FxHashSet;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::merges::{MergeList, TokenId};
use crate::words::Category;

pub use cursor::CountCursor;
pub(crate) use format::write_whole;
pub use official::OfficialCounts;

/// Index of a pair in a [`PairTrace`].
pub type PairId = u32;

/// Tells from the texts of its left and right token whether a pair can compete for a merge.
pub type PairPredicate<'a> = &'a (dyn Fn(&[u8], &[u8]) -> bool + Sync);

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

/// How [`PairTrace::build`] works. The default counts every pair, on all threads of the current rayon pool,
/// without checkpoints.
#[derive(Clone, Copy, Default)]
pub struct TraceOptions<'a> {
    filter: Option<PairPredicate<'a>>,
    threads: Option<usize>,
    cancel: Option<&'a AtomicBool>,
    checkpoints: Option<&'a Path>,
}

impl<'a> TraceOptions<'a> {
    /// The default options.
    pub fn new() -> Self {
        Self::default()
    }

    /// Leaves out the pairs that `filter` denies: they are never counted as competitors. The pairs that the
    /// steps merge are always counted.
    pub fn with_filter(mut self, filter: PairPredicate<'a>) -> Self {
        self.filter = Some(filter);
        self
    }

    /// Replays on `threads` threads of its own (0: one a core).
    pub fn with_threads(mut self, threads: usize) -> Self {
        self.threads = Some(threads);
        self
    }

    /// Stops soon after `cancel` becomes true: it is looked at before every category and every 1,000 steps.
    pub fn with_cancel(mut self, cancel: &'a AtomicBool) -> Self {
        self.cancel = Some(cancel);
        self
    }

    /// Saves the replay of every finished category in this directory, which is made if needed, and takes it from
    /// there when the same merges meet the same words again, whatever the filter and threads are.
    pub fn with_checkpoints(mut self, directory: &'a Path) -> Self {
        self.checkpoints = Some(directory);
        self
    }
}

impl PairTrace {
    /// Replays the first `steps` merges of `list.steps()` (all of them if there are fewer) over all categories.
    ///
    /// The merges of `list.prefix()` are applied before step 0 and not recorded. Letters that
    /// [`MergeList::knows_letter`] denies break a word.
    ///
    /// Categories are replayed in parallel, largest first. Memory: 4 bytes a letter of the distinct words of
    /// the categories under way, about 50 bytes a pair that they have, 16 bytes a change of a count.
    /// The result does not depend on the number of threads.
    ///
    /// # Errors
    /// - [`Error::TooFewCategories`] for fewer than two, [`Error::DuplicateCategory`] for two of one name;
    /// - [`Error::EmptyCategory`] for one in which nothing is counted before step 0, or of 0 bytes;
    /// - [`Error::CountOverflow`] for one with more than `i64::MAX` pairs, [`Error::InvalidValue`] for one whose
    ///   distinct words have more than 2^30 letters, or for more than 65,535 categories;
    /// - [`Error::Cancelled`];
    /// - with checkpoints, [`Error::Io`], [`Error::Parse`] for a damaged file and
    ///   [`Error::VersionMismatch`] for one of other input or of another version of this crate.
    pub fn build(
        list: &MergeList,
        categories: &[Category],
        steps: usize,
        options: &TraceOptions,
    ) -> Result<Self> {
        check_names(categories.iter().map(|category| category.name.as_str()))?;
        let steps = &list.steps()[..steps.min(list.steps().len())];
        let parts = replay::replay_all(list, categories, steps.len(), options)?;
        let trace = assemble::assemble(list, steps, parts, options.filter);
        trace.check_not_empty()?;
        Ok(trace)
    }

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

    /// The counts before step `t`, which then can be moved on step by step. `t` is clamped to
    /// [`PairTrace::steps`], which is the state after the last merge.
    ///
    /// Takes time in proportion to the changes of the steps before `t` and 16 bytes for every pair that a
    /// category ever has.
    pub fn counts_at(&self, t: usize) -> CountCursor<'_> {
        let mut cursor = CountCursor::new(self);
        while cursor.step() < t && cursor.advance() {}
        cursor
    }

    /// Checks that every category has something to count, and sizes that its counts can be divided by.
    fn check_not_empty(&self) -> Result<()> {
        let mut counted = vec![false; self.categories.len()];
        for entry in &self.initial {
            counted[usize::from(entry.category)] = true;
        }
        let empty = (self.categories.iter().zip(counted)).find(|(category, counted)| {
            !counted || category.bytes == 0 || category.initial_pairs == 0
        });
        match empty {
            Some((category, _)) => Err(Error::EmptyCategory {
                name: category.name.clone(),
                bytes: category.bytes,
            }),
            None => Ok(()),
        }
    }
}

/// Checks that there are at least two categories, not more than their indices can tell apart, and no two of one name.
fn check_names<'n>(names: impl ExactSizeIterator<Item = &'n str>) -> Result<()> {
    let found = names.len();
    if found < 2 {
        return Err(Error::TooFewCategories { found });
    }
    if found > usize::from(u16::MAX) {
        return Err(Error::InvalidValue {
            name: "number of categories".into(),
            value: found.to_string(),
            expected: "at most 65535",
        });
    }
    let mut seen = FxHashSet::default();
    for name in names {
        if !seen.insert(name) {
            return Err(Error::DuplicateCategory { name: name.into() });
        }
    }
    Ok(())
}
