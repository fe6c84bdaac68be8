//! Branch and bound: on the signs of neurons, and on the box of the inputs.
//!
//! A node of the first kind is a list of decisions, each of which cuts a neuron's box to `[l, 0]` or `[0, u]` and forbids the pairs' candidates on the other
//! side; the multipliers start from the parent's and ascend for a while, many nodes as rows of one batch. There are no multipliers for the
//! decisions themselves: the split sits in the set of the inner problem (2.11 of the design). A node of the second kind is a part of the input box,
//! bounded by CROWN; that pays for few inputs.

mod activations;
mod inputs;

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use crate::report::Reason;

pub(crate) use activations::branch_on_activations;
pub(crate) use inputs::branch_on_inputs;

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
    /// Nodes that may be open at a time; a bound on the memory. Default 100,000.
    pub open: usize,
}

impl Default for BranchConfig {
    fn default() -> Self {
        Self {
            on: BranchOn::Auto,
            batch: 64,
            steps: 20,
            step_size: 0.05,
            nodes: 1_000_000,
            open: 100_000,
        }
    }
}

/// What is branched on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BranchOn {
    /// Inputs if there are at most 20 of them, else activations.
    Auto,
    /// The signs of neurons.
    Activations,
    /// The box of the inputs.
    Inputs,
    /// Nothing: only the bound of the root.
    Nothing,
}

/// What a search came to.
#[derive(Debug)]
pub(crate) struct Outcome<T> {
    /// The proven lower bound of `a y - b`; for several half-spaces of the largest of them.
    pub(crate) bound: f64,
    /// Why nodes were left open, if any were.
    pub(crate) stopped: Option<Reason>,
    /// Nodes that were bounded.
    pub(crate) nodes: usize,
    /// The tree.
    pub(crate) tree: Vec<T>,
    /// An input that may be worth an attack.
    pub(crate) suspect: Option<Vec<f64>>,
}

/// An open node; the worst comes first.
struct Open<T> {
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
