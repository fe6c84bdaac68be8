//! Absolute counts out of a trace, step by step.

use super::{Delta, PairId, PairTrace};

/// The counts of all pairs in all categories at one step of a [`PairTrace`]; [`CountCursor::advance`] moves to the next.
///
/// Made by [`PairTrace::counts_at`].
#[derive(Clone, Debug)]
pub struct CountCursor<'a> {
    trace: &'a PairTrace,
    step: usize,
    /// Where the entries of each pair end in `categories` and `counts`.
    ends: Vec<usize>,
    /// The categories that ever have the pair, ascending.
    categories: Vec<u16>,
    counts: Vec<u64>,
}

impl<'a> CountCursor<'a> {
    /// The counts before step 0.
    pub(super) fn new(trace: &'a PairTrace) -> Self {
        let mut cells: Vec<(PairId, u16)> = trace
            .initial
            .iter()
            .chain(&trace.deltas)
            .map(|entry| (entry.pair, entry.category))
            .collect();
        cells.sort_unstable();
        cells.dedup();
        let mut ends = vec![0; trace.pairs.len()];
        for (k, &(pair, _)) in cells.iter().enumerate() {
            ends[pair as usize] = k + 1;
        }
        for pair in 1..ends.len() {
            ends[pair] = ends[pair].max(ends[pair - 1]);
        }
        let mut cursor = Self {
            trace,
            step: 0,
            ends,
            counts: vec![0; cells.len()],
            categories: cells.into_iter().map(|(_, category)| category).collect(),
        };
        for entry in &trace.initial {
            cursor.add(entry);
        }
        cursor
    }

    /// The step before whose merge the counts are taken.
    pub fn step(&self) -> usize {
        self.step
    }

    /// Occurrences of a pair in a category.
    pub fn get(&self, pair: PairId, category: usize) -> u64 {
        u16::try_from(category)
            .ok()
            .and_then(|category| self.cell(pair, category))
            .map_or(0, |cell| self.counts[cell])
    }

    /// The categories in which the pair occurs now, ascending, with its occurrences.
    pub fn counts(&self, pair: PairId) -> impl Iterator<Item = (usize, u64)> + '_ {
        self.row(pair)
            .map(|cell| (usize::from(self.categories[cell]), self.counts[cell]))
            .filter(|&(_, count)| count > 0)
    }

    /// Applies the merge of the present step. Returns false, and does nothing, after the last one.
    pub fn advance(&mut self) -> bool {
        if self.step == self.trace.steps() {
            return false;
        }
        for entry in self.trace.deltas(self.step) {
            self.add(entry);
        }
        self.step += 1;
        true
    }

    fn add(&mut self, entry: &Delta) {
        if let Some(cell) = self.cell(entry.pair, entry.category) {
            self.counts[cell] = self.counts[cell].wrapping_add_signed(entry.delta);
        }
    }

    fn row(&self, pair: PairId) -> std::ops::Range<usize> {
        let pair = pair as usize;
        pair.checked_sub(1).map_or(0, |before| self.ends[before])..self.ends[pair]
    }

    fn cell(&self, pair: PairId, category: u16) -> Option<usize> {
        let row = self.row(pair);
        let found = self.categories[row.clone()].binary_search(&category).ok()?;
        Some(row.start + found)
    }
}
