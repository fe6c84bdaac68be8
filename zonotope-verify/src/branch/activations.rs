//! Branch and bound on the signs of neurons.

use std::collections::BinaryHeap;

use burn::tensor::Device;
use rayon::prelude::*;

use super::{BranchConfig, Open, Outcome};
use crate::ascent::{Ascent, DeviceLayer, Split};
use crate::certificate::{ActivationNode, decided, node_bound, wide};
use crate::certify::Target;
use crate::decided::solve_decided;
use crate::dual::Relaxed;
use crate::error::Result;
use crate::limits::Limits;
use crate::report::Reason;
use crate::spec::HalfSpace;

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
