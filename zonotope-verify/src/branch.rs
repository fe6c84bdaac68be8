//! Branch and bound: on the signs of neurons, and on the box of the inputs.
//!
//! A node of the first kind is a list of decisions, each of which cuts a neuron's box to `[l, 0]` or `[0, u]` and forbids the pairs' candidates on the other
//! side; the multipliers start from the parent's and ascend for a while, many nodes as rows of one batch. There are no multipliers for the
//! decisions themselves: the split sits in the set of the inner problem (2.11 of the design). A node of the second kind is a part of the input box,
//! bounded by CROWN; that pays for few inputs.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use burn::tensor::Device;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::ascent::{Ascent, DeviceLayer, Split};
use crate::certificate::{ActivationNode, InputNode, box_bounds, decided, node_bound, wide};
use crate::certify::Target;
use crate::decided::solve_decided;
use crate::dual::Relaxed;
use crate::error::Result;
use crate::limits::Limits;
use crate::network::Network;
use crate::report::Reason;
use crate::spec::{HalfSpace, InputBox, UnsafeCase};

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

/// Decisions and multipliers of a node.
struct Decisions {
    splits: Vec<Split>,
    multipliers: Vec<Vec<f32>>,
    /// Whether all signs were decided and the linear program that is left was solved: no more can be had here.
    solved: bool,
}

/// Proves `space` unsatisfiable by deciding signs of neurons, from the root's proven bound and multipliers (of `coefficients y`, without the half-space's bound).
pub(crate) fn branch_on_activations(
    relaxed: &Relaxed<'_>,
    space: &HalfSpace,
    root: (f64, Vec<Vec<f32>>),
    config: &BranchConfig,
    limits: &Limits,
    device: &Device,
) -> Result<Outcome<ActivationNode>> {
    let span = tracing::info_span!("branch", open = 0_u64, worst = 0.0, position = 0_u64);
    let _entered = span.enter();
    let mut tree = vec![ActivationNode::Open];
    let mut heap = BinaryHeap::new();
    // The smallest bound of the leaves that are finished.
    let mut finished = f64::INFINITY;
    let mut nodes = 1;
    let mut stopped = None;
    let mut suspect = None;
    let (root_bound, multipliers) = root;
    if root_bound > space.bound {
        finished = root_bound;
        tree[0] = ActivationNode::Leaf { multipliers };
    } else {
        heap.push(Open {
            bound: root_bound,
            node: 0,
            state: Decisions {
                splits: Vec::new(),
                multipliers,
                solved: false,
            },
        });
    }
    while !heap.is_empty() {
        stopped = limits.reached().or_else(|| {
            (nodes >= config.nodes || heap.len() >= config.open).then_some(Reason::Nodes)
        });
        if stopped.is_some() {
            break;
        }
        let mut batch = Vec::with_capacity(config.batch);
        while batch.len() < config.batch.max(1) {
            let Some(open) = heap.pop() else { break };
            batch.push(open);
        }
        let chosen: Vec<Option<Split>> = batch
            .par_iter()
            .map(|open| choose(relaxed, space, &open.state))
            .collect::<Result<_>>()?;
        let mut children: Vec<(usize, f64, Decisions)> = Vec::with_capacity(2 * batch.len());
        let mut again: Vec<(usize, f64, Decisions)> = Vec::new();
        let mut exhausted = false;
        for (open, split) in batch.into_iter().zip(chosen) {
            let Some(split) = split else {
                // All signs are decided: the rest is a linear program, and a matter of how well it is solved.
                exhausted |= open.state.solved;
                again.push((open.node, open.bound, open.state));
                continue;
            };
            let (negative, positive) = (tree.len(), tree.len() + 1);
            tree[open.node] = ActivationNode::Split {
                layer: split.layer,
                neuron: split.neuron,
                negative,
                positive,
            };
            for (node, sign) in [(negative, false), (positive, true)] {
                tree.push(ActivationNode::Open);
                let mut splits = open.state.splits.clone();
                splits.push(Split {
                    positive: sign,
                    ..split
                });
                let multipliers = open.state.multipliers.clone();
                children.push((
                    node,
                    open.bound,
                    Decisions {
                        splits,
                        multipliers,
                        solved: false,
                    },
                ));
            }
        }
        if exhausted {
            stopped = Some(Reason::Exhausted);
            for (node, bound, state) in children.into_iter().chain(again) {
                heap.push(Open { bound, node, state });
            }
            break;
        }
        ascend(
            relaxed,
            space,
            &mut children,
            config.step_size,
            config.steps,
            device,
        );
        let points: Vec<Option<Vec<f64>>> = again
            .par_iter_mut()
            .map(|(_, bound, state)| {
                state.solved = true;
                let found = solve_decided(
                    relaxed.network,
                    relaxed.input,
                    space,
                    &relaxed.hidden,
                    &state.splits,
                    *bound,
                )?;
                state.multipliers = found.multipliers;
                found.point
            })
            .collect();
        for point in points.into_iter().flatten() {
            let outputs = relaxed.network.evaluate(&point)?;
            let value: f64 = space
                .coefficients
                .iter()
                .zip(&outputs)
                .map(|(a, y)| a * y.value)
                .sum();
            if value <= space.bound {
                suspect = Some(point);
            }
        }
        children.append(&mut again);
        nodes += children.len();
        let bounds: Vec<f64> = children
            .par_iter()
            .map(|(_, parent, state)| {
                let multipliers = wide(&state.multipliers);
                node_bound(
                    relaxed.network,
                    relaxed.input,
                    space,
                    &relaxed.hidden,
                    &relaxed.sets,
                    &state.splits,
                    &multipliers,
                )
                .map(|bound| bound.max(*parent))
            })
            .collect::<Result<_>>()?;
        for ((node, _, state), bound) in children.into_iter().zip(bounds) {
            if bound > space.bound {
                finished = finished.min(bound);
                tree[node] = ActivationNode::Leaf {
                    multipliers: state.multipliers,
                };
            } else {
                heap.push(Open { bound, node, state });
            }
        }
        span.record("open", heap.len() as u64);
        span.record("worst", heap.peek().map_or(finished, |open| open.bound));
        span.record("position", nodes as u64);
        if suspect.is_some() {
            stopped = Some(Reason::Exhausted);
            break;
        }
    }
    let worst = heap.iter().map(|open| open.bound).fold(finished, f64::min);
    Ok(Outcome {
        bound: worst - space.bound,
        stopped,
        nodes,
        tree,
        suspect,
    })
}

/// Improves the multipliers of all children together.
fn ascend(
    relaxed: &Relaxed<'_>,
    space: &HalfSpace,
    children: &mut [(usize, f64, Decisions)],
    step_size: f64,
    steps: usize,
    device: &Device,
) {
    if children.is_empty() {
        return;
    }
    let rows: Vec<&[Split]> = children
        .iter()
        .map(|(_, _, state)| state.splits.as_slice())
        .collect();
    let layers: Vec<DeviceLayer> = relaxed
        .layers
        .iter()
        .enumerate()
        .map(|(layer, device_layer)| {
            device_layer.split(layer, &relaxed.hidden[layer], &rows, device)
        })
        .collect();
    let count = children.len();
    let target = Target {
        map: relaxed.hidden.len(),
        rows: count,
        coefficients: space.coefficients.repeat(count),
    };
    let multipliers: Vec<Vec<f64>> = (0..relaxed.hidden.len())
        .map(|layer| {
            children
                .iter()
                .flat_map(|(_, _, state)| state.multipliers[layer].iter().map(|&x| f64::from(x)))
                .collect()
        })
        .collect();
    let mut ascent = Ascent::new(&relaxed.search, &layers, &target, &multipliers);
    let rate = ascent.scale() * step_size;
    for step in 0..steps {
        let share = 0.1_f64.powf(step as f64 / steps.max(2) as f64);
        ascent.step(&(rate.clone() * share));
    }
    let (found, _) = ascent.finish();
    for (row, (_, _, state)) in children.iter_mut().enumerate() {
        for (rho, all) in state.multipliers.iter_mut().zip(&found) {
            let width = rho.len();
            for (to, from) in rho.iter_mut().zip(&all[row * width..(row + 1) * width]) {
                *to = *from as f32;
            }
        }
    }
}

/// The neuron whose triangle costs most: `max(-c2, 0) u (-l) / (u - l)`, with a share of the cost that a lower line can have (2.11 of the design).
fn choose(relaxed: &Relaxed<'_>, space: &HalfSpace, state: &Decisions) -> Result<Option<Split>> {
    let Some(bounds) = decided(&relaxed.hidden, &state.splits)? else {
        return Ok(None);
    };
    let maps = relaxed.network.maps();
    let mut best: Option<(f64, Split)> = None;
    let mut rho = space.coefficients.clone();
    for layer in (0..bounds.len()).rev() {
        let c2 = maps[layer + 1].transposed(&rho, 1).value;
        let own = &state.multipliers[layer];
        let bounds = &bounds[layer];
        for neuron in bounds.unstable() {
            let (l, u) = (bounds.lower()[neuron], bounds.upper()[neuron]);
            let c = c2[neuron];
            let area = u * -l / (u - l);
            // With a positive coefficient the kink costs what the chosen line misses at the better end.
            let below = (f64::from(own[neuron]) * -l)
                .min((c - f64::from(own[neuron])) * u)
                .max(0.0);
            let score = if c < 0.0 { -c * area } else { 0.5 * below };
            if best.as_ref().is_none_or(|(old, _)| score > *old) {
                best = Some((
                    score,
                    Split {
                        layer,
                        neuron,
                        positive: true,
                    },
                ));
            }
        }
        rho = own.iter().map(|&x| f64::from(x)).collect();
    }
    Ok(best.map(|(_, split)| split))
}

impl InputBox {
    /// The parts with input `index` below and above `at`; both hold the cut. `None` if `at` does not lie inside.
    pub(crate) fn bisect(&self, index: usize, at: f64) -> Option<(Self, Self)> {
        let (&l, &u) = (self.lower().get(index)?, self.upper().get(index)?);
        if !(l <= at && at <= u) {
            return None;
        }
        let mut upper = self.upper().to_vec();
        upper[index] = at;
        let mut lower = self.lower().to_vec();
        lower[index] = at;
        Some((
            Self::new(self.lower().to_vec(), upper).ok()?,
            Self::new(lower, self.upper().to_vec()).ok()?,
        ))
    }
}

/// A part of the box, with the half-space and the input that look best.
struct Part {
    input: InputBox,
    cut: Option<(usize, f64)>,
}

/// Proves a case by cutting its box; every part must be safe by one of the half-spaces.
pub(crate) fn branch_on_inputs(
    network: &Network,
    case: &UnsafeCase,
    config: &BranchConfig,
    limits: &Limits,
) -> Result<Outcome<InputNode>> {
    let span = tracing::info_span!("branch", open = 0_u64, worst = 0.0, position = 0_u64);
    let _entered = span.enter();
    let mut tree = vec![InputNode::Open];
    let mut heap = BinaryHeap::new();
    let mut finished = f64::INFINITY;
    let mut nodes = 0;
    let mut stopped = None;
    let mut suspect = None;
    let mut pending = vec![(0_usize, case.input.clone())];
    loop {
        let judged: Vec<Judged> = pending
            .par_iter()
            .map(|(_, part)| judge(network, part, &case.outputs))
            .collect::<Result<_>>()?;
        nodes += pending.len();
        for ((node, input), judged) in pending.drain(..).zip(judged) {
            let Judged {
                bound,
                space,
                cut,
                middle,
            } = judged;
            if bound > 0.0 {
                finished = finished.min(bound);
                tree[node] = InputNode::Leaf { space };
                continue;
            }
            if middle <= 0.0 && suspect.is_none() {
                suspect = Some(
                    input
                        .lower()
                        .iter()
                        .zip(input.upper())
                        .map(|(l, u)| f64::midpoint(*l, *u))
                        .collect(),
                );
            }
            heap.push(Open {
                bound,
                node,
                state: Part { input, cut },
            });
        }
        span.record("open", heap.len() as u64);
        span.record("worst", heap.peek().map_or(finished, |open| open.bound));
        span.record("position", nodes as u64);
        if heap.is_empty() || suspect.is_some() {
            break;
        }
        stopped = limits.reached().or_else(|| {
            (nodes >= config.nodes || heap.len() >= config.open).then_some(Reason::Nodes)
        });
        if stopped.is_some() {
            break;
        }
        let count = heap.len().min(4 * config.batch.max(1));
        let mut taken = f64::INFINITY;
        for _ in 0..count {
            let Some(open) = heap.pop() else { break };
            taken = taken.min(open.bound);
            let halves = open.state.cut.and_then(|(input, at)| {
                open.state
                    .input
                    .bisect(input, at)
                    .map(|parts| (input, at, parts))
            });
            let Some((input, at, (low, high))) = halves else {
                stopped = Some(Reason::Exhausted);
                continue;
            };
            let (below, above) = (tree.len(), tree.len() + 1);
            tree[open.node] = InputNode::Split {
                input,
                at,
                below,
                above,
            };
            tree.extend([InputNode::Open, InputNode::Open]);
            pending.push((below, low));
            pending.push((above, high));
        }
        if stopped.is_some() {
            // The parts that were taken out are not bounded any further.
            finished = finished.min(taken);
            break;
        }
    }
    let worst = heap.iter().map(|open| open.bound).fold(finished, f64::min);
    Ok(Outcome {
        bound: worst,
        stopped,
        nodes,
        tree,
        suspect,
    })
}

/// What is known of a part of the box.
struct Judged {
    /// The best proven bound of `a y - b`.
    bound: f64,
    /// The half-space that it comes from.
    space: usize,
    /// The input to cut, and where.
    cut: Option<(usize, f64)>,
    /// The value of the case at the part's middle.
    middle: f64,
}

fn judge(network: &Network, part: &InputBox, spaces: &[HalfSpace]) -> Result<Judged> {
    let (values, multipliers) = box_bounds(network, part, spaces)?;
    let (space, bound) = values
        .iter()
        .zip(spaces)
        .map(|(value, space)| value - space.bound)
        .enumerate()
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .unwrap_or((0, f64::NEG_INFINITY));
    // `value - bound` may round up to a positive number that is none.
    let bound = if spaces.is_empty() || values[space] > spaces[space].bound {
        bound
    } else {
        bound.min(0.0)
    };
    let slopes = match multipliers.first() {
        Some(rho) => {
            let width = rho.len() / spaces.len();
            network.maps()[0]
                .transposed(&rho[space * width..(space + 1) * width], 1)
                .value
        }
        None => {
            network.maps()[0]
                .transposed(&spaces[space].coefficients, 1)
                .value
        }
    };
    let widths = part.lower().iter().zip(part.upper()).map(|(l, u)| u - l);
    let cut = slopes
        .iter()
        .zip(widths)
        .enumerate()
        .map(|(input, (slope, width))| (input, slope.abs() * width, width))
        .max_by(|a, b| a.1.total_cmp(&b.1).then(a.2.total_cmp(&b.2)))
        .map(|(input, ..)| {
            (
                input,
                f64::midpoint(part.lower()[input], part.upper()[input]),
            )
        })
        .filter(|&(input, at)| part.lower()[input] < at && at < part.upper()[input]);
    let middle: Vec<f64> = part
        .lower()
        .iter()
        .zip(part.upper())
        .map(|(l, u)| f64::midpoint(*l, *u))
        .collect();
    let outputs = network.evaluate(&middle)?;
    let value = spaces
        .iter()
        .map(|space| {
            space
                .coefficients
                .iter()
                .zip(&outputs)
                .map(|(a, y)| a * y.value)
                .sum::<f64>()
                - space.bound
        })
        .fold(f64::NEG_INFINITY, f64::max);
    Ok(Judged {
        bound,
        space,
        cut,
        middle: value,
    })
}
