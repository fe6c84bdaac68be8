//! Branch and bound on the box of the inputs.

use std::collections::BinaryHeap;

use rayon::prelude::*;

use super::{BranchConfig, Open, Outcome};
use crate::certificate::{InputNode, box_bounds};
use crate::error::Result;
use crate::limits::Limits;
use crate::network::Network;
use crate::report::Reason;
use crate::spec::{HalfSpace, InputBox, UnsafeCase};

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
