//! One pass over the merge steps that collects the rows violated by given weights and slacks, and bounds the optimum
//! from above when it gets to the end (sections 2.3 and 2.4 of the design: the paper's section 3.3).

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::ops::Range;
use std::sync::atomic::AtomicBool;

use super::{Program, is_cancelled};
use crate::error::Result;
use crate::merges::TokenId;
use crate::trace::{Delta, PairId, PairTrace};

/// A trace prepared for sweeping: every (pair, category) that ever has a count owns a slot, so counts stay exact
/// integers in memory proportional to what occurs, not to pairs times categories.
pub(crate) struct Counts<'a> {
    trace: &'a PairTrace,
    /// Where each pair's slots start; one more entry at the end.
    slots_of: Vec<u32>,
    category: Vec<u16>,
    initial: Vec<i64>,
    /// The slot that each delta of the trace changes, step after step.
    delta_slot: Vec<u32>,
    /// Where each step's deltas start in `delta_slot`.
    step_start: Vec<usize>,
}

/// The contiguous sections of a merge list within which nothing is assumed about the order.
pub(crate) struct Sections {
    pub(crate) ranges: Vec<Range<usize>>,
    /// The token that each step makes.
    pub(crate) products: Vec<TokenId>,
}

/// How a sweep is made.
pub(crate) struct SweepOptions<'a> {
    pub(crate) steps: usize,
    pub(crate) tolerance: f64,
    pub(crate) rows_per_step: usize,
    pub(crate) rows_per_round: usize,
    pub(crate) sections: Option<&'a Sections>,
    pub(crate) cancel: Option<&'a AtomicBool>,
}

/// What a sweep found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    pub(crate) new_rows: usize,
    /// Whether it reached the last step.
    pub(crate) complete: bool,
    /// If complete: an upper bound of the optimal objective.
    pub(crate) upper: f64,
}

impl<'a> Counts<'a> {
    pub(crate) fn new(trace: &'a PairTrace) -> Self {
        let mut occurring: Vec<(PairId, u16)> = trace
            .initial()
            .iter()
            .map(|d| (d.pair, d.category))
            .collect();
        for t in 0..trace.steps() {
            occurring.extend(trace.deltas(t).iter().map(|d| (d.pair, d.category)));
        }
        occurring.sort_unstable();
        occurring.dedup();
        let mut slots_of = vec![0_u32; trace.pairs().len() + 1];
        for &(pair, _) in &occurring {
            slots_of[pair as usize + 1] += 1;
        }
        for p in 0..trace.pairs().len() {
            slots_of[p + 1] += slots_of[p];
        }
        let category: Vec<u16> = occurring
            .into_iter()
            .map(|(_, category)| category)
            .collect();
        let mut counts = Self {
            trace,
            initial: vec![0; category.len()],
            slots_of,
            category,
            delta_slot: Vec::new(),
            step_start: Vec::with_capacity(trace.steps() + 1),
        };
        for delta in trace.initial() {
            let slot = counts.slot(delta);
            counts.initial[slot as usize] = delta.delta;
        }
        for t in 0..trace.steps() {
            counts.step_start.push(counts.delta_slot.len());
            for delta in trace.deltas(t) {
                counts.delta_slot.push(counts.slot(delta));
            }
        }
        counts.step_start.push(counts.delta_slot.len());
        counts
    }

    /// Occurrences of the merged pair just before each of the first `steps` steps, all categories together.
    pub(crate) fn merged_totals(&self, steps: usize) -> Vec<u128> {
        let mut counts = self.initial.clone();
        (0..steps)
            .map(|t| {
                let slots = self.trace.merged(t).map_or(0..0, |pair| self.slots(pair));
                let total = slots.map(|slot| counts[slot].max(0) as u128).sum();
                for (delta, &slot) in self.deltas(t) {
                    counts[slot as usize] += delta.delta;
                }
                total
            })
            .collect()
    }

    /// Whether each category has an occurrence of the merged pair before any of the first `steps` steps.
    pub(crate) fn merged_categories(&self, steps: usize) -> Vec<bool> {
        let mut occurs = vec![false; self.trace.categories().len()];
        let mut counts = self.initial.clone();
        for t in 0..steps {
            for slot in self.trace.merged(t).map_or(0..0, |pair| self.slots(pair)) {
                occurs[usize::from(self.category[slot])] |= counts[slot] > 0;
            }
            for (delta, &slot) in self.deltas(t) {
                counts[slot as usize] += delta.delta;
            }
        }
        occurs
    }

    /// Sweeps through the first `options.steps` steps and pushes violated rows to `program`. `alpha` and
    /// `denominators` have one entry a category, `v_step` one a step and `v_pair` one a pair. `None` if cancelled.
    pub(crate) fn sweep(
        &self,
        alpha: &[f64],
        denominators: &[f64],
        v_step: &[f64],
        v_pair: &[f64],
        options: &SweepOptions<'_>,
        program: &mut Program,
    ) -> Result<Option<Found>> {
        let weights: Vec<f64> = alpha.iter().zip(denominators).map(|(a, d)| a / d).collect();
        let singles: Vec<Range<usize>>;
        let sections = match options.sections {
            Some(sections) => &sections.ranges,
            None => {
                singles = (0..options.steps).map(|t| t..t + 1).collect();
                &singles
            }
        };
        let mut sweep = Sweep {
            counts: self,
            denominators,
            weights,
            v_pair,
            options,
            current: self.initial.clone(),
            queue: Queue::new(self.trace.pairs().len()),
            slack_bound: 0.0,
            new_rows: 0,
        };
        for pair in 0..self.trace.pairs().len() as PairId {
            sweep.refresh(pair);
        }
        let mut checked = 0;
        for section in sections {
            let section = section.start..section.end.min(options.steps);
            if section.is_empty() {
                break;
            }
            if section.start >= checked {
                checked = section.start + 1000;
                if is_cancelled(options.cancel) {
                    return Ok(None);
                }
            }
            if section.len() == 1 {
                sweep.step(section.start, v_step, program)?;
            } else {
                sweep.section(section.clone(), v_step, program)?;
            }
            if sweep.new_rows >= options.rows_per_round && section.end < options.steps {
                let new_rows = sweep.new_rows;
                return Ok(Some(Found {
                    new_rows,
                    complete: false,
                    upper: f64::INFINITY,
                }));
            }
        }
        let upper = sweep.slack_bound + v_pair.iter().sum::<f64>();
        Ok(Some(Found {
            new_rows: sweep.new_rows,
            complete: true,
            upper,
        }))
    }

    fn slots(&self, pair: PairId) -> Range<usize> {
        self.slots_of[pair as usize] as usize..self.slots_of[pair as usize + 1] as usize
    }

    fn slot(&self, delta: &Delta) -> u32 {
        let slots = self.slots(delta.pair);
        let within = self.category[slots.clone()].binary_search(&delta.category);
        (slots.start + within.expect("every delta has a slot")) as u32
    }

    fn deltas(&self, t: usize) -> impl Iterator<Item = (&'a Delta, &u32)> {
        let slots = &self.delta_slot[self.step_start[t]..self.step_start[t + 1]];
        self.trace.deltas(t).iter().zip(slots)
    }
}

/// A sweep under way.
struct Sweep<'a> {
    counts: &'a Counts<'a>,
    denominators: &'a [f64],
    /// Category weight over denominator: what one occurrence adds to a pair's score.
    weights: Vec<f64>,
    v_pair: &'a [f64],
    options: &'a SweepOptions<'a>,
    current: Vec<i64>,
    queue: Queue,
    /// Sum of the step slacks that the present weights and pair slacks need.
    slack_bound: f64,
    new_rows: usize,
}

impl Sweep<'_> {
    /// Checks step `t` against every pair, then applies it.
    fn step(&mut self, t: usize, v_step: &[f64], program: &mut Program) -> Result<()> {
        if let Some(merged) = self.merged(t) {
            let counts = self.normalised(merged);
            self.check(t, self.score(merged), v_step[t], &counts, program, |pair| {
                pair == merged
            })?;
        }
        self.apply(t);
        Ok(())
    }

    /// Checks the steps of a section whose order is unknown: each merged pair as it was before the section against
    /// every other pair as it is after it (counts of old pairs only fall, so this holds in any order).
    fn section(
        &mut self,
        section: Range<usize>,
        v_step: &[f64],
        program: &mut Program,
    ) -> Result<()> {
        let trace = self.counts.trace;
        let before: Vec<_> = section
            .clone()
            .filter_map(|t| {
                let merged = self.merged(t)?;
                Some((t, self.score(merged), self.normalised(merged)))
            })
            .collect();
        let members: Vec<PairId> = section.clone().filter_map(|t| trace.merged(t)).collect();
        let mut made = match self.options.sections {
            Some(sections) => sections.products[section.clone()].to_vec(),
            None => Vec::new(),
        };
        made.sort_unstable();
        for t in section {
            self.apply(t);
        }
        for (t, score, counts) in before {
            self.check(t, score, v_step[t], &counts, program, |pair| {
                let (left, right) = trace.pairs()[pair as usize];
                members.contains(&pair)
                    || made.binary_search(&left).is_ok()
                    || made.binary_search(&right).is_ok()
            })?;
        }
        Ok(())
    }

    /// The pair that step `t` merges, if it occurs now.
    fn merged(&self, t: usize) -> Option<PairId> {
        let pair = self.counts.trace.merged(t)?;
        self.counts
            .slots(pair)
            .any(|slot| self.current[slot] > 0)
            .then_some(pair)
    }

    /// Finds the pairs that outweigh a merge of the given score and slack and adds their rows.
    fn check(
        &mut self,
        t: usize,
        score: f64,
        v_t: f64,
        merged: &[f64],
        program: &mut Program,
        exempt: impl Fn(PairId) -> bool,
    ) -> Result<()> {
        let cutoff = score + v_t + self.options.tolerance;
        let mut aside: Vec<PairId> = Vec::new();
        let mut added = 0;
        let mut strongest = None;
        while let Some((key, pair)) = self.queue.top() {
            let ours = exempt(pair);
            if !ours {
                strongest.get_or_insert(key);
                if key <= cutoff || added == self.options.rows_per_step {
                    break;
                }
            }
            self.queue.set_aside();
            aside.push(pair);
            if ours || program.contains(t, pair) {
                continue;
            }
            let counts = self.normalised(pair);
            let row: Vec<f64> = merged.iter().zip(&counts).map(|(m, p)| m - p).collect();
            program.push(t, pair, &row)?;
            added += 1;
        }
        for pair in aside {
            self.queue.put_back(pair);
        }
        self.new_rows += added;
        self.slack_bound += (strongest.unwrap_or(0.0) - score).max(0.0);
        Ok(())
    }

    /// Applies the changes of step `t` to counts and scores.
    fn apply(&mut self, t: usize) {
        let mut last: Option<PairId> = None;
        for (delta, &slot) in self.counts.deltas(t) {
            self.current[slot as usize] += delta.delta;
            if last.is_some_and(|pair| pair != delta.pair) {
                self.refresh(last.expect("checked"));
            }
            last = Some(delta.pair);
        }
        if let Some(pair) = last {
            self.refresh(pair);
        }
    }

    /// Brings a pair's place in the queue up to date with its counts.
    fn refresh(&mut self, pair: PairId) {
        self.queue
            .update(pair, self.score(pair) - self.v_pair[pair as usize]);
    }

    /// A pair's expected count under the weights, from its exact counts.
    fn score(&self, pair: PairId) -> f64 {
        self.counts
            .slots(pair)
            .map(|slot| {
                self.weights[self.counts.category[slot] as usize] * self.current[slot] as f64
            })
            .sum()
    }

    /// A pair's normalised count in every category.
    fn normalised(&self, pair: PairId) -> Vec<f64> {
        let mut counts = vec![0.0; self.denominators.len()];
        for slot in self.counts.slots(pair) {
            let i = self.counts.category[slot] as usize;
            counts[i] = self.current[slot] as f64 / self.denominators[i];
        }
        counts
    }
}

/// Pairs by falling key, where most keys only fall: a key that falls leaves its heap entry behind, to be corrected
/// when it comes up; a key that rises above its entry gets a new one.
struct Queue {
    heap: BinaryHeap<Entry>,
    key: Vec<f64>,
    /// The key of the entry that stands for each pair; older entries of it are ignored.
    entered: Vec<f64>,
}

#[derive(PartialEq)]
struct Entry {
    key: f64,
    pair: PairId,
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    /// By key; among equal keys the lower pair first, so that sweeps are reproducible.
    fn cmp(&self, other: &Self) -> Ordering {
        self.key
            .total_cmp(&other.key)
            .then_with(|| other.pair.cmp(&self.pair))
    }
}

impl Queue {
    fn new(pairs: usize) -> Self {
        Self {
            heap: BinaryHeap::new(),
            key: vec![0.0; pairs],
            entered: vec![f64::NEG_INFINITY; pairs],
        }
    }

    /// Sets a pair's key. Keys of 0 and less never matter (a cutoff is above 0) and are not kept.
    fn update(&mut self, pair: PairId, key: f64) {
        let p = pair as usize;
        self.key[p] = key;
        if key > 0.0 && key > self.entered[p] {
            self.enter(pair);
        }
    }

    /// The pair of the highest key.
    fn top(&mut self) -> Option<(f64, PairId)> {
        loop {
            let &Entry { key, pair } = self.heap.peek()?;
            let p = pair as usize;
            if key == self.entered[p] && key == self.key[p] {
                return Some((key, pair));
            }
            self.heap.pop();
            if key == self.entered[p] {
                self.entered[p] = f64::NEG_INFINITY;
                if self.key[p] > 0.0 {
                    self.enter(pair);
                }
            }
        }
    }

    /// Removes the top until it is put back.
    fn set_aside(&mut self) {
        if let Some(Entry { pair, .. }) = self.heap.pop() {
            self.entered[pair as usize] = f64::NEG_INFINITY;
        }
    }

    fn put_back(&mut self, pair: PairId) {
        self.enter(pair);
    }

    fn enter(&mut self, pair: PairId) {
        let key = self.key[pair as usize];
        self.entered[pair as usize] = key;
        self.heap.push(Entry { key, pair });
    }
}
