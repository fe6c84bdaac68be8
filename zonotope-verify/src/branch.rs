//! Branch and bound: on the signs of neurons, and on the box of the inputs.
//!
//! A node of the first kind is a list of decisions, each of which cuts a neuron's box to `[l, 0]` or `[0, u]` and forbids the pairs' candidates on the other
//! side, and lets the bounds of the layers behind it be computed again ([`Refinement`]); the multipliers start from the parent's and ascend for a
//! while, all rows of many nodes in one batch. There are no multipliers for the decisions themselves: the split sits in the set of the inner problem (2.11 of the design). A node of the second kind is a part of the input box,
//! bounded by zonotopes and CROWN; that pays for few inputs.

mod activations;
mod inputs;
mod together;

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use serde::{Deserialize, Serialize};

use crate::interval::Bounds;
use crate::network::Network;

pub(crate) use activations::{DecisionSearch, Root, branch_on_activations};
pub(crate) use inputs::{InputSearch, branch_on_inputs};
pub(crate) use together::combine;

/// Settings of branch and bound.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BranchConfig {
    /// What is branched on.
    pub on: BranchOn,
    /// Nodes that are bounded together. Default 64.
    pub batch: usize,
    /// Steps of ascent a node. Default 20.
    pub steps: usize,
    /// First step size as a share of the mean multiplier. Default 0.05.
    pub step_size: f64,
    /// Nodes to bound at most, a case. Default one million.
    pub nodes: usize,
    /// Whether the bounds of the layers behind a decision are computed again. Default: where that is cheap.
    pub refine: Refinement,
    /// Nodes that may be open at a time; a bound on the memory. Default 100,000.
    pub open: usize,
    /// Open parts of an input box at which [`BranchOn::Auto`] turns to the signs of neurons. Default 100,000.
    pub turn: usize,
}

impl Default for BranchConfig {
    fn default() -> Self {
        Self {
            on: BranchOn::Auto,
            batch: 64,
            steps: 20,
            refine: Refinement::Auto,
            step_size: 0.05,
            nodes: 1_000_000,
            open: 100_000,
            turn: 100_000,
        }
    }
}

/// What is branched on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BranchOn {
    /// Inputs first if there are at most 20 of them; activations else, and where parts of the box become too many or too small.
    Auto,
    /// The signs of neurons.
    Activations,
    /// The box of the inputs.
    Inputs,
    /// Nothing: only the bound of the root.
    Nothing,
}

/// Whether a decision on a sign tightens the bounds of the layers behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refinement {
    /// Where it takes at most about a billion multiplications a node.
    Auto,
    /// At every decision.
    Always,
    /// Never: the root's bounds, cut by the decisions.
    Never,
}

impl Refinement {
    /// The choice for a network with these bounds at the root.
    pub(crate) fn chosen(self, network: &Network, hidden: &[Bounds]) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => {
                let mut work = 0.0;
                let mut behind = 0.0;
                for (layer, (map, bounds)) in network.maps().iter().zip(hidden).enumerate() {
                    behind += map.entries() as f64;
                    // The first layer's bounds depend on no decision.
                    if layer > 0 {
                        work += 2.0 * bounds.unstable().len() as f64 * behind;
                    }
                }
                work <= AFFORDABLE
            }
        }
    }
}

/// Multiplications that [`Refinement::Auto`] spends on a node.
const AFFORDABLE: f64 = 1e9;

/// A search between two rounds: all that a later run needs to go on.
#[derive(Serialize, Deserialize)]
pub(crate) struct Frontier<N, S> {
    /// The tree so far; the root comes first.
    pub(crate) tree: Vec<N>,
    /// The nodes that are open.
    pub(crate) open: BinaryHeap<Open<S>>,
    /// Of every row the smallest bound of the nodes where it is proven.
    pub(crate) finished: Vec<f64>,
    /// Of every row the nodes that were bounded.
    pub(crate) nodes: Vec<usize>,
    /// Rounds so far.
    pub(crate) rounds: usize,
    /// Points that looked like counterexamples, and were none.
    pub(crate) doubts: usize,
}

impl<N, S> Frontier<N, S> {
    /// A tree of an open root, about so many rows, that nothing has been done for.
    fn new(root: N, rows: usize) -> Self {
        Self {
            tree: vec![root],
            open: BinaryHeap::new(),
            finished: vec![f64::INFINITY; rows],
            nodes: vec![0; rows],
            rounds: 0,
            doubts: 0,
        }
    }

    /// Nodes that were bounded for the row that most were bounded for.
    fn bounded(&self) -> usize {
        self.nodes.iter().copied().max().unwrap_or_default()
    }

    /// Whether it can be about so many rows, with open nodes like these.
    fn holds(&self, rows: usize, open: impl Fn(&N, &S) -> bool) -> bool {
        self.finished.len() == rows
            && self.nodes.len() == rows
            && self.open.iter().all(|entry| {
                let node = self.tree.get(entry.node);
                node.is_some_and(|node| open(node, &entry.state))
            })
    }
}

/// Keeps a search between two rounds.
pub(crate) type Keep<'a, T> = dyn FnMut(&T) + 'a;

/// An open node; the worst comes first.
#[derive(Serialize, Deserialize)]
pub(crate) struct Open<T> {
    bound: f64,
    node: usize,
    state: T,
}

impl<T> PartialEq for Open<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<T> Eq for Open<T> {}

impl<T> PartialOrd for Open<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Open<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        other
            .bound
            .total_cmp(&self.bound)
            .then(other.node.cmp(&self.node))
    }
}
