//! Puts the traces of single categories together: one table of pairs, changes merged step by step.

use rustc_hash::FxHashSet;

use super::{Delta, PairId, PairPredicate, PairTrace};
use crate::merges::{Merge, MergeList, TokenId};

/// The unfiltered trace of a single category.
pub(super) struct Part(pub(super) PairTrace);

/// Joins the parts, without the pairs that `filter` denies and no step merges.
pub(super) fn assemble(
    list: &MergeList,
    steps: &[Merge],
    parts: Vec<Part>,
    filter: Option<PairPredicate>,
) -> PairTrace {
    let mut pairs: Vec<(TokenId, TokenId)> = parts
        .iter()
        .flat_map(|Part(part)| part.pairs.iter().copied())
        .collect();
    pairs.sort_unstable();
    pairs.dedup();
    if let Some(allows) = filter {
        let merged: FxHashSet<_> = steps
            .iter()
            .map(|merge| (merge.left, merge.right))
            .collect();
        pairs.retain(|&(left, right)| {
            merged.contains(&(left, right)) || allows(&list.text(left), &list.text(right))
        });
    }

    // For each part the joint id of each of its pairs.
    let ids: Vec<Vec<Option<PairId>>> = parts
        .iter()
        .map(|Part(part)| {
            let find = |pair| pairs.binary_search(pair).ok().map(|id| id as PairId);
            part.pairs.iter().map(find).collect()
        })
        .collect();
    let join = |into: &mut Vec<Delta>, entries: fn(&PairTrace, usize) -> &[Delta], step: usize| {
        let start = into.len();
        for ((category, Part(part)), ids) in (0..).zip(&parts).zip(&ids) {
            into.extend(entries(part, step).iter().filter_map(|entry| {
                Some(Delta {
                    pair: ids[entry.pair as usize]?,
                    category,
                    delta: entry.delta,
                })
            }));
        }
        into[start..].sort_unstable_by_key(|entry| (entry.pair, entry.category));
    };
    let mut initial = Vec::new();
    join(&mut initial, |part, _| part.initial(), 0);
    let mut deltas = Vec::new();
    let mut delta_ends = Vec::with_capacity(steps.len());
    for step in 0..steps.len() {
        join(&mut deltas, PairTrace::deltas, step);
        delta_ends.push(deltas.len());
    }
    let merged = steps
        .iter()
        .map(|merge| pairs.binary_search(&(merge.left, merge.right)).ok())
        .map(|found| found.map(|pair| pair as PairId))
        .collect();
    PairTrace {
        categories: parts
            .into_iter()
            .flat_map(|Part(part)| part.categories)
            .collect(),
        pairs,
        initial,
        merged,
        delta_ends,
        deltas,
    }
}
