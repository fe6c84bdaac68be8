//! Replays the merges of a list over each category on its own (section 3.3 of the paper).

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rayon::prelude::*;
use rustc_hash::FxHashSet;

use super::assemble::Part;
use super::checkpoint::Checkpoints;
use super::corpus::{Corpus, Letters, Symbol};
use super::{Delta, PairTrace, TraceCategory, TraceOptions};
use crate::error::{Error, Result};
use crate::merges::{Alphabet, Merge, MergeList, TokenId};
use crate::words::Category;

/// Steps between two looks at the cancel flag.
const CANCEL_STEPS: usize = 1_000;

/// Replays the first `steps` merges of `list.steps()` over every category; the results come in the order of
/// the categories.
pub(super) fn replay_all(
    list: &MergeList,
    categories: &[Category],
    steps: usize,
    options: &TraceOptions,
) -> Result<Vec<Part>> {
    let length = (categories.len() * steps) as u64;
    let span = tracing::info_span!("replay merges", position = 0u64, length);
    let progress = Progress {
        span,
        length,
        position: AtomicU64::new(0),
        cancel: options.cancel,
    };
    let checkpoints = options
        .checkpoints
        .map(|directory| Checkpoints::open(directory, list, steps))
        .transpose()?;
    let replay = |category: &Category| -> Result<Part> {
        progress.check()?;
        if let Some(done) = checkpoints
            .as_ref()
            .map(|checkpoints| checkpoints.read(category))
            .transpose()?
            .flatten()
        {
            progress.advance(steps);
            return Ok(done);
        }
        let part = replay_one(list, category, steps, &progress)?;
        if let Some(checkpoints) = &checkpoints {
            checkpoints.write(category, &part)?;
        }
        Ok(part)
    };

    let mut order: Vec<usize> = (0..categories.len()).collect();
    order.sort_by_key(|&k| std::cmp::Reverse(categories[k].words.len()));
    let run = || -> Result<Vec<Part>> {
        let mut parts: Vec<(usize, Part)> = order
            .par_iter()
            .with_max_len(1)
            .map(|&k| Ok((k, replay(&categories[k])?)))
            .collect::<Result<_>>()?;
        parts.sort_by_key(|&(k, _)| k);
        Ok(parts.into_iter().map(|(_, part)| part).collect())
    };
    match options.threads {
        None => run(),
        Some(threads) => rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .map_err(|error| Error::InvalidValue {
                name: "threads".into(),
                value: format!("{threads} ({error})"),
                expected: "a number of threads that the system can start",
            })?
            .install(run),
    }
}

/// Position on the span of the whole replay, and the cancel flag.
struct Progress<'a> {
    span: tracing::Span,
    length: u64,
    position: AtomicU64,
    cancel: Option<&'a AtomicBool>,
}

impl Progress<'_> {
    fn check(&self) -> Result<()> {
        match self.cancel {
            Some(flag) if flag.load(Ordering::Relaxed) => Err(Error::Cancelled { partial: None }),
            _ => Ok(()),
        }
    }

    fn advance(&self, steps: usize) {
        let before = self.position.fetch_add(steps as u64, Ordering::Relaxed);
        let now = before + steps as u64;
        let percent = |position: u64| position * 100 / self.length.max(1);
        if percent(now) > percent(before) {
            self.span.record("position", now);
        }
    }
}

/// Replays one category. Every pair is recorded; filters are applied when categories are put together.
fn replay_one(
    list: &MergeList,
    category: &Category,
    steps: usize,
    progress: &Progress,
) -> Result<Part> {
    let letters = letters(list, category);
    let base = list.alphabet().base();
    let number = |token: TokenId| match token.checked_sub(base) {
        Some(product) => Some(letters.len() + product),
        None => letters.number(token),
    };
    let token = |symbol: Symbol| match letters.token(symbol) {
        Some(letter) => letter,
        None => base + (symbol - letters.len()),
    };
    // Merges whose letters do not occur here have no number and no effect.
    let numbered = |merge: &Merge| {
        let (left, right) = (number(merge.left)?, number(merge.right)?);
        Some((left, right, letters.len() + (merge.product - base)))
    };
    let applied = list.prefix().len() + steps;
    let planned: FxHashSet<(Symbol, Symbol)> = list.merges()[..applied]
        .iter()
        .filter_map(|merge| numbered(merge).map(|(left, right, _)| (left, right)))
        .collect();
    let wanted = |left: Symbol, right: Symbol| planned.contains(&(left, right));

    let mut corpus = Corpus::new(
        &category.name,
        list.alphabet(),
        &letters,
        category.words.iter().collect(),
        wanted,
    )?;
    let mut changes = Vec::new();
    let apply = |corpus: &mut Corpus, merge: &Merge, changes: &mut Vec<(u32, i64)>| {
        changes.clear();
        if let Some((left, right, product)) = numbered(merge)
            && let Some(pair) = corpus.find(left, right)
        {
            corpus.merge(pair, product, wanted, changes);
        }
    };
    for (done, merge) in list.prefix().iter().enumerate() {
        if done % CANCEL_STEPS == 0 {
            progress.check()?;
        }
        apply(&mut corpus, merge, &mut changes);
    }

    let initial: Vec<u64> = (0..corpus.pairs() as u32)
        .map(|pair| corpus.count(pair))
        .collect();
    let mut delta_ends = Vec::with_capacity(steps);
    let mut deltas: Vec<(u32, i64)> = Vec::new();
    for (done, merge) in list.steps()[..steps].iter().enumerate() {
        if done % CANCEL_STEPS == 0 {
            progress.check()?;
            progress.advance(CANCEL_STEPS.min(steps - done));
        }
        apply(&mut corpus, merge, &mut changes);
        changes.sort_unstable_by_key(|&(pair, _)| pair);
        deltas.extend(
            changes
                .chunk_by(|one, other| one.0 == other.0)
                .map(|same| (same[0].0, same.iter().map(|&(_, delta)| delta).sum()))
                .filter(|&(_, delta): &(u32, i64)| delta != 0),
        );
        delta_ends.push(deltas.len());
    }

    // From the order of discovery to the order of tokens, without the pairs that are never counted.
    let mut used = vec![false; corpus.pairs()];
    for (pair, &count) in initial.iter().enumerate() {
        used[pair] |= count > 0;
    }
    for &(pair, _) in &deltas {
        used[pair as usize] = true;
    }
    let mut order: Vec<((TokenId, TokenId), u32)> = (0..corpus.pairs() as u32)
        .filter(|&pair| used[pair as usize])
        .map(|pair| {
            let (left, right) = corpus.symbols(pair);
            ((token(left), token(right)), pair)
        })
        .collect();
    order.sort_unstable();
    let mut ids = vec![u32::MAX; corpus.pairs()];
    for (id, &(_, pair)) in (0..).zip(&order) {
        ids[pair as usize] = id;
    }
    drop(corpus);

    let entry = |pair: u32, delta: i64| Delta {
        pair: ids[pair as usize],
        category: 0,
        delta,
    };
    let mut start = 0;
    let mut recorded: Vec<Delta> = deltas.iter().map(|&(p, delta)| entry(p, delta)).collect();
    for &end in &delta_ends {
        recorded[start..end].sort_unstable_by_key(|delta| delta.pair);
        start = end;
    }
    let initial: Vec<Delta> = order
        .iter()
        .filter(|&&(_, pair)| initial.get(pair as usize).is_some_and(|&count| count > 0))
        .map(|&(_, pair)| entry(pair, initial[pair as usize] as i64))
        .collect();
    let pairs: Vec<(TokenId, TokenId)> = order.into_iter().map(|(pair, _)| pair).collect();
    let merged = list.steps()[..steps]
        .iter()
        .map(|merge| pairs.binary_search(&(merge.left, merge.right)).ok())
        .map(|found| found.map(|pair| pair as u32))
        .collect();
    Ok(Part(PairTrace {
        categories: vec![TraceCategory {
            name: category.name.clone(),
            bytes: category.bytes,
            initial_pairs: initial.iter().map(|entry| entry.delta as u64).sum(),
        }],
        pairs,
        initial,
        merged,
        delta_ends,
        deltas: recorded,
    }))
}

/// The letters of a category that can take part in pairs, in the order of their ids.
pub(super) fn letters(list: &MergeList, category: &Category) -> Letters {
    match list.alphabet() {
        Alphabet::Bytes => Letters::new((0..256).collect()),
        Alphabet::Characters => {
            let mut found = BTreeSet::new();
            let mut symbols = Vec::new();
            for (word, _) in category.words.iter() {
                symbols.clear();
                list.alphabet().symbols(word, &mut symbols);
                found.extend(symbols.iter().copied());
            }
            found.retain(|&letter| list.knows_letter(letter));
            Letters::new(found.into_iter().collect())
        }
    }
}
