//! The rows of a program in the order in which the interior-point method walks over them.
//!
//! Every row names one slack of each side (merge steps and pairs). One side is *eliminated*: its
//! block of the normal equations is diagonal, and its rows lie together as a *group*. The other is
//! *kept*: its slacks are the columns of the sparse Schur complement `S`, numbered here in an order
//! that keeps the Cholesky factor sparse.

use std::ops::Range;

use faer::dyn_stack::{MemBuffer, MemStack};
use faer::sparse::SymbolicSparseColMatRef;
use faer::sparse::linalg::amd;

use crate::lp::{LpError, MixtureLp};

/// Doubles a coefficient row is padded to, so that the kernels run on whole vectors.
pub(super) const LANES: usize = 4;

/// Row order, numbering of the slacks and the pattern of `S`.
pub(super) struct Layout {
    /// Coefficients a row, padded with zeros to a multiple of [`LANES`].
    pub(super) stride: usize,
    /// Whether the pairs are eliminated instead of the steps.
    pub(super) pairs_eliminated: bool,
    /// Original index of every group.
    pub(super) group_id: Vec<u32>,
    /// Original index of every kept slack.
    pub(super) kept_id: Vec<u32>,
    /// Rows of group `g`: `group_start[g]..group_start[g + 1]`.
    pub(super) group_start: Vec<usize>,
    /// Group of every row.
    pub(super) group_of: Vec<u32>,
    /// Kept slack of every row; increasing inside a group.
    pub(super) kept_of: Vec<u32>,
    /// Which row of the program this is.
    pub(super) source: Vec<u32>,
    /// Rows of kept slack `k`: `kept_rows[kept_start[k]..kept_start[k + 1]]`.
    pub(super) kept_start: Vec<usize>,
    /// See `kept_start`.
    pub(super) kept_rows: Vec<u32>,
    /// Pattern of `S` strictly below the diagonal, column by column.
    pub(super) below_start: Vec<usize>,
    /// See `below_start`; sorted inside a column.
    pub(super) below: Vec<u32>,
}

impl Layout {
    /// Sorts the rows of `lp`, chooses the side to eliminate and numbers the other one.
    pub(super) fn new(lp: &MixtureLp) -> Result<Self, LpError> {
        let (steps, step_id) = compact(lp.step_of(), lp.steps());
        let (pairs, pair_id) = compact(lp.pair_of(), lp.pairs());
        // A group of k rows puts a clique of k slacks into S. Pairs compete over intervals of
        // steps, so eliminating the steps gives little fill; only a few crowded steps change that.
        let pairs_eliminated =
            4.0 * clique_work(&pairs, pair_id.len()) < clique_work(&steps, step_id.len());
        let (groups, group_id, kept, kept_id) = if pairs_eliminated {
            (pairs, pair_id, steps, step_id)
        } else {
            (steps, step_id, pairs, pair_id)
        };
        let mut layout = Self {
            stride: lp.n().next_multiple_of(LANES),
            pairs_eliminated,
            group_id,
            kept_id,
            group_start: Vec::new(),
            group_of: Vec::new(),
            kept_of: Vec::new(),
            source: Vec::new(),
            kept_start: Vec::new(),
            kept_rows: Vec::new(),
            below_start: Vec::new(),
            below: Vec::new(),
        };
        layout.sort_rows(&groups, &kept);
        layout.find_pattern();
        let position = layout.fill_reducing_position()?;
        let kept: Vec<u32> = kept.iter().map(|&k| position[k as usize]).collect();
        let mut renamed = vec![0; layout.kept_id.len()];
        for (old, &id) in layout.kept_id.iter().enumerate() {
            renamed[position[old] as usize] = id;
        }
        layout.kept_id = renamed;
        layout.sort_rows(&groups, &kept);
        layout.find_pattern();
        Ok(layout)
    }

    /// Number of eliminated slacks.
    pub(super) fn groups(&self) -> usize {
        self.group_id.len()
    }

    /// Number of kept slacks.
    pub(super) fn kept(&self) -> usize {
        self.kept_id.len()
    }

    /// Number of rows.
    pub(super) fn rows(&self) -> usize {
        self.source.len()
    }

    /// Cuts the groups into consecutive blocks of about equally many rows. How many depends on the
    /// program alone, so that sums come out the same whatever the number of threads; a block holds
    /// sums for all kept slacks, so their number also limits it.
    pub(super) fn blocks(&self) -> Vec<Range<usize>> {
        const ROWS_OF_A_BLOCK: usize = 8192;
        const MOST: usize = 16;
        let rows = self.rows();
        let count = (rows / ROWS_OF_A_BLOCK.max(2 * self.kept())).clamp(1, MOST);
        let mut blocks = Vec::with_capacity(count);
        let mut first = 0;
        for block in 1..=count {
            let end_row = rows * block / count;
            let end = if block == count {
                self.groups()
            } else {
                self.group_start.partition_point(|&start| start < end_row)
            };
            if end > first {
                blocks.push(first..end);
                first = end;
            }
        }
        blocks
    }

    /// Counting sort of the rows by kept slack, then (stable) by group.
    fn sort_rows(&mut self, groups: &[u32], kept: &[u32]) {
        let (_, by_kept) = counting_sort(kept, self.kept(), 0..kept.len() as u32);
        let (group_start, source) = counting_sort(groups, self.groups(), by_kept.into_iter());
        self.group_of = source.iter().map(|&r| groups[r as usize]).collect();
        self.kept_of = source.iter().map(|&r| kept[r as usize]).collect();
        let rows = 0..self.kept_of.len() as u32;
        (self.kept_start, self.kept_rows) = counting_sort(&self.kept_of, self.kept(), rows);
        self.group_start = group_start;
        self.source = source;
    }

    /// Two kept slacks share an entry of `S` when a group has rows of both.
    fn find_pattern(&mut self) {
        let kept = self.kept();
        let mut seen = vec![u32::MAX; kept];
        self.below_start.clear();
        self.below.clear();
        self.below_start.push(0);
        for column in 0..kept {
            let first = self.below.len();
            for &r in &self.kept_rows[self.kept_start[column]..self.kept_start[column + 1]] {
                let end = self.group_start[self.group_of[r as usize] as usize + 1];
                for &other in &self.kept_of[r as usize + 1..end] {
                    if other as usize != column && seen[other as usize] != column as u32 {
                        seen[other as usize] = column as u32;
                        self.below.push(other);
                    }
                }
            }
            self.below[first..].sort_unstable();
            self.below_start.push(self.below.len());
        }
    }

    /// Where approximate minimum degree puts every kept slack.
    fn fill_reducing_position(&self) -> Result<Vec<u32>, LpError> {
        let kept = self.kept();
        let failed = |reason: String| LpError::NotConverged {
            solver: super::NAME,
            iterations: 0,
            reason,
        };
        if self.below.len() > (u32::MAX / 4) as usize {
            return Err(failed("the Schur complement is too dense".into()));
        }
        let start: Vec<u32> = self.below_start.iter().map(|&s| s as u32).collect();
        let pattern = SymbolicSparseColMatRef::new_checked(kept, kept, &start, None, &self.below);
        let mut order = vec![0u32; kept];
        let mut position = vec![0u32; kept];
        let scratch = amd::order_scratch::<u32>(kept, self.below.len());
        let mut memory = MemBuffer::try_new(scratch).map_err(|e| failed(format!("{e:?}")))?;
        amd::order(
            &mut order,
            &mut position,
            pattern,
            amd::Control::default(),
            MemStack::new(&mut memory),
        )
        .map_err(|e| failed(format!("ordering: {e:?}")))?;
        Ok(position)
    }
}

/// Numbers the used indices 0, 1, ... in increasing order; returns the new index of every row and
/// the old index of every new one.
fn compact(index_of: &[u32], count: usize) -> (Vec<u32>, Vec<u32>) {
    let mut new = vec![u32::MAX; count];
    for &index in index_of {
        new[index as usize] = 0;
    }
    let mut old = Vec::new();
    for (index, new) in new.iter_mut().enumerate().filter(|(_, new)| **new == 0) {
        *new = old.len() as u32;
        old.push(index as u32);
    }
    (index_of.iter().map(|&i| new[i as usize]).collect(), old)
}

/// Sum of squared group sizes.
fn clique_work(group_of: &[u32], groups: usize) -> f64 {
    let mut size = vec![0u32; groups];
    for &group in group_of {
        size[group as usize] += 1;
    }
    size.iter().map(|&k| f64::from(k).powi(2)).sum()
}

/// Sorts `items` by `key[item]`, stable; returns where every key starts and the sorted items.
fn counting_sort(
    key: &[u32],
    keys: usize,
    items: impl Iterator<Item = u32>,
) -> (Vec<usize>, Vec<u32>) {
    let mut start = vec![0usize; keys + 1];
    for &k in key {
        start[k as usize + 1] += 1;
    }
    for k in 0..keys {
        start[k + 1] += start[k];
    }
    let mut next = start.clone();
    let mut sorted = vec![0; key.len()];
    for item in items {
        let slot = &mut next[key[item as usize] as usize];
        sorted[*slot] = item;
        *slot += 1;
    }
    (start, sorted)
}
