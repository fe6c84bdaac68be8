//! Branch and bound on the signs of neurons, for all rows of a specification that are left over one box.
//!
//! The rows share the tree: a node bounds every row that is still open there, and a row that is proven leaves the subtree. A decision in front of the last
//! hidden layer tightens all layers behind it, so their bounds are computed again, which proves far more than the decision alone.

use std::sync::Arc;

use burn::Tensor;
use burn::tensor::Device;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{BranchConfig, Frontier, Keep, Open};
use crate::ascent::{Ascent, DeviceLayer, RowBox, Split};
use crate::attack::Attack;
use crate::certificate::{ActivationNode, Decision, RowProof, node_bound, refine, wide};
use crate::certify::Target;
use crate::decided::solve_decided;
use crate::device::numbers;
use crate::dual::Relaxed;
use crate::error::Result;
use crate::interval::Bounds;
use crate::limits::Limits;
use crate::network::Network;
use crate::report::Reason;
use crate::sets::LayerSets;
use crate::spec::{HalfSpace, InputBox};

/// A row at the root: what is to be impossible, its proven value, and the multipliers that prove it.
#[derive(Serialize, Deserialize)]
pub(crate) struct Root {
    pub(crate) space: HalfSpace,
    pub(crate) value: f64,
    pub(crate) multipliers: Vec<Vec<f32>>,
}

impl Root {
    /// Whether it can be about a network with hidden layers of these widths.
    pub(crate) fn fits(&self, network: &Network, hidden: &[usize]) -> bool {
        self.space.coefficients.len() == network.outputs() && fits(&self.multipliers, hidden)
    }
}

/// Whether there is a multiplier for every neuron of hidden layers of these widths.
fn fits(multipliers: &[Vec<f32>], hidden: &[usize]) -> bool {
    multipliers.iter().map(Vec::len).eq(hidden.iter().copied())
}

/// What a search came to.
pub(crate) struct Searched {
    /// Where it ended.
    pub(crate) search: DecisionSearch,
    /// Why nodes were left open, if any were.
    pub(crate) stopped: Option<Reason>,
    /// A counterexample that came up on the way.
    pub(crate) found: Option<Attack>,
}

/// A search on the signs of neurons.
pub(crate) type DecisionSearch = Frontier<ActivationNode, Domain>;

impl DecisionSearch {
    /// Whether it can be about so many rows and hidden layers of these widths.
    pub(crate) fn fits(&self, rows: usize, hidden: &[usize]) -> bool {
        self.holds(rows, |node, domain| {
            let (mut splits, mut open) = (domain.splits.iter(), domain.rows.iter());
            matches!(node, ActivationNode::Node { decision: None, .. })
                && domain
                    .hidden
                    .iter()
                    .map(Bounds::len)
                    .eq(hidden.iter().copied())
                && splits.all(|split| {
                    let width = hidden.get(split.layer);
                    width.is_some_and(|width| split.neuron < *width)
                })
                && open.all(|open| open.row < rows && fits(&open.multipliers, hidden))
        })
    }

    /// Of every row the proven lower bound of `a y - b`, and whether it is proven.
    pub(crate) fn bounds(&self, roots: &[Root]) -> Vec<(f64, bool)> {
        let mut found: Vec<(f64, bool)> = self.finished.iter().map(|&x| (x, true)).collect();
        for open in self.open.iter().flat_map(|open| &open.state.rows) {
            let (value, proven) = &mut found[open.row];
            *value = value.min(open.value);
            *proven = false;
        }
        for ((value, _), root) in found.iter_mut().zip(roots) {
            *value -= root.space.bound;
        }
        found
    }
}

/// Attacks the case of a row from an input that looks good; a counterexample if there is one.
pub(crate) type Refute<'a> = dyn Fn(usize, Vec<f64>) -> Result<Option<Attack>> + 'a;

/// Rounds from one attack with nothing but hope to the next.
const ATTACK_EVERY: usize = 16;

/// By what a decision in front of the last hidden layer is preferred where the bounds behind it are computed again. Measured on mnist_fc 256x2, where the bound
/// of 500 nodes rose by 0.07 without it, by 0.26 with it, and by 0.24 with a thousand.
const EARLIER: f64 = 4.0;

/// A part of the search space: the inputs whose neurons have the decided signs.
#[derive(Serialize, Deserialize)]
pub(crate) struct Domain {
    splits: Vec<Split>,
    /// Proven bounds of the hidden layers there.
    #[serde(with = "shared")]
    hidden: Arc<Vec<Bounds>>,
    rows: Vec<OpenRow>,
    /// Whether all signs were decided and the linear program that is left was solved: no more can be had here.
    solved: bool,
}

/// A row that is not proven in a domain.
#[derive(Serialize, Deserialize)]
struct OpenRow {
    row: usize,
    /// The proven value so far.
    value: f64,
    multipliers: Vec<Vec<f32>>,
}

/// Bounds that several domains may share; each is stored with its own.
mod shared {
    use super::{Arc, Bounds, Deserialize, Serialize};

    pub(super) fn serialize<S: serde::Serializer>(
        bounds: &Arc<Vec<Bounds>>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        bounds.as_ref().serialize(to)
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(
        from: D,
    ) -> Result<Arc<Vec<Bounds>>, D::Error> {
        Vec::deserialize(from).map(Arc::new)
    }
}

impl Domain {
    /// How far the worst row is from being proven; negative.
    fn distance(&self, roots: &[Root]) -> f64 {
        self.rows
            .iter()
            .map(|open| open.value - roots[open.row].space.bound)
            .fold(f64::INFINITY, f64::min)
    }
}

/// Proves rows unsatisfiable by deciding signs of neurons, from the root's values and multipliers. Goes on from an earlier search if there is one.
#[allow(clippy::too_many_arguments)]
pub(crate) fn branch_on_activations(
    relaxed: &Relaxed<'_>,
    roots: &[Root],
    refined: bool,
    config: &BranchConfig,
    limits: &Limits,
    refute: &Refute<'_>,
    start: Option<DecisionSearch>,
    keep: &mut Keep<'_, DecisionSearch>,
    device: &Device,
) -> Result<Searched> {
    let span = tracing::info_span!("branch", open = 0_u64, worst = 0.0, position = 0_u64);
    let _entered = span.enter();
    let fresh = start.is_none();
    let mut search = Search {
        host: Host {
            network: relaxed.network,
            input: relaxed.input,
            sets: &relaxed.sets,
            roots,
            refined,
        },
        relaxed,
        config,
        device,
        state: start.unwrap_or_else(|| Frontier::new(ActivationNode::Open, roots.len())),
        refute,
        found: None,
    };
    if fresh {
        search.begin();
    }
    let mut stopped = None;
    while !search.state.open.is_empty() {
        stopped = limits.reached().or_else(|| {
            let (bounded, open) = (search.state.bounded(), search.state.open.len());
            (bounded >= config.nodes || open >= config.open).then_some(Reason::Nodes)
        });
        if stopped.is_some() {
            break;
        }
        keep(&search.state);
        let exhausted = search.round()?;
        if exhausted || search.found.is_some() {
            stopped = Some(Reason::Exhausted);
            break;
        }
        let worst = search.state.open.peek();
        span.record("open", search.state.open.len() as u64);
        span.record("worst", worst.map_or(0.0, |open| open.bound));
        span.record("position", search.state.bounded() as u64);
    }
    Ok(Searched {
        search: search.state,
        stopped,
        found: search.found,
    })
}

/// What the host needs to bound a domain.
#[derive(Clone, Copy)]
struct Host<'a> {
    network: &'a Network,
    input: &'a InputBox,
    sets: &'a [LayerSets],
    roots: &'a [Root],
    refined: bool,
}

struct Search<'a> {
    host: Host<'a>,
    relaxed: &'a Relaxed<'a>,
    config: &'a BranchConfig,
    device: &'a Device,
    state: DecisionSearch,
    refute: &'a Refute<'a>,
    found: Option<Attack>,
}

impl Host<'_> {
    /// Cuts the bounds with the last decision, and computes those behind it again. `false` if no input is left.
    fn tighten(&self, domain: &mut Domain) -> Result<bool> {
        let Some(split) = domain.splits.last() else {
            return Ok(true);
        };
        match refine(
            self.network,
            self.input,
            &domain.hidden,
            *split,
            self.refined,
        )? {
            Some(hidden) => {
                domain.hidden = Arc::new(hidden);
                Ok(true)
            }
            None => Ok(false),
        }
    }

    /// Proves the value of every row at its multipliers.
    fn bound(&self, domain: &mut Domain) -> Result<()> {
        let hidden = &domain.hidden;
        domain.rows.par_iter_mut().try_for_each(|open| {
            let value = node_bound(
                self.network,
                self.input,
                &self.roots[open.row].space,
                hidden,
                self.sets,
                &wide(&open.multipliers),
            )?;
            open.value = open.value.max(value);
            Ok(())
        })
    }

    /// The neuron whose triangle costs the worst row most: `max(-c2, 0) u (-l) / (u - l)` (2.11 of the design), and what it costs through the bounds of the
    /// layers behind it where those are computed again.
    fn choose(&self, domain: &Domain) -> Option<Split> {
        let distance = |open: &OpenRow| open.value - self.roots[open.row].space.bound;
        let open = domain
            .rows
            .iter()
            .min_by(|a, b| distance(a).total_cmp(&distance(b)))?;
        let maps = self.network.maps();
        let hidden = &domain.hidden;
        let mut rho = self.roots[open.row].space.coefficients.clone();
        let mut best: Option<(f64, Split)> = None;
        // What a unit less of a neuron's upper bound, and more of its lower bound, is worth to the row.
        let mut worth: Option<(Vec<f64>, Vec<f64>)> = None;
        for layer in (0..hidden.len()).rev() {
            let bounds = &hidden[layer];
            let width = bounds.len();
            let c2 = maps[layer + 1].transposed(&rho, 1).value;
            let own = &open.multipliers[layer];
            let mut price: Vec<f64> = c2.iter().map(|c| (-c).max(0.0)).collect();
            if let Some((upper, lower)) = worth.as_ref().filter(|_| self.refined) {
                for (row, (upper, lower)) in upper.iter().zip(lower).enumerate() {
                    if *upper == 0.0 && *lower == 0.0 {
                        continue;
                    }
                    for (neuron, weight) in maps[layer + 1].row(row) {
                        price[neuron] += if weight.value > 0.0 {
                            weight.value * upper
                        } else {
                            -weight.value * lower
                        };
                    }
                }
            }
            let mut upper = vec![0.0; width];
            let mut lower = vec![0.0; width];
            for neuron in bounds.unstable() {
                let (l, u) = (bounds.lower()[neuron], bounds.upper()[neuron]);
                let slope = u / (u - l);
                // With a positive coefficient the kink costs what the chosen line misses at the better end.
                let rho = f64::from(own[neuron]);
                let kink = (rho * -l).min((c2[neuron].max(0.0) - rho) * u).max(0.0);
                let mut score = 0.5 * kink + price[neuron] * -l * slope;
                // Bounds that are computed again help every later decision as well.
                if self.refined && layer + 1 < hidden.len() {
                    score *= EARLIER;
                }
                upper[neuron] = price[neuron] * (1.0 - slope) * (1.0 - slope);
                lower[neuron] = price[neuron] * slope * slope;
                if best.as_ref().is_none_or(|(old, _)| score > *old) {
                    let split = Split {
                        layer,
                        neuron,
                        positive: true,
                    };
                    best = Some((score, split));
                }
            }
            worth = Some((upper, lower));
            rho = own.iter().map(|&x| f64::from(x)).collect();
        }
        best.map(|(_, split)| split)
    }
}

/// A child on its way to being bounded.
struct Child {
    node: usize,
    domain: Domain,
}

impl Search<'_> {
    /// Puts the root among the open domains, or among those that are proven.
    fn begin(&mut self) {
        let roots = self.host.roots.iter().enumerate();
        let rows = roots
            .map(|(row, root)| OpenRow {
                row,
                value: root.value,
                multipliers: root.multipliers.clone(),
            })
            .collect();
        self.state.nodes.fill(1);
        self.settle(
            0,
            Domain {
                splits: Vec::new(),
                hidden: Arc::new(self.relaxed.hidden.clone()),
                rows,
                solved: false,
            },
        );
    }

    /// Takes the worst domains, cuts each in two and bounds the halves. `true` if in none of the open domains anything can be done any more.
    fn round(&mut self) -> Result<bool> {
        let mut batch: Vec<Open<Domain>> = Vec::new();
        let mut rows = 0;
        while rows < self.config.batch.max(1) {
            // Domains in which nothing can be done any more come last.
            match self.state.open.peek() {
                Some(open) if !open.state.solved => {}
                next => {
                    if next.is_some() && batch.is_empty() {
                        return Ok(true);
                    }
                    break;
                }
            }
            let Some(open) = self.state.open.pop() else {
                break;
            };
            rows += 2 * open.state.rows.len();
            batch.push(open);
        }
        let host = self.host;
        let chosen: Vec<Option<Split>> = batch
            .par_iter()
            .map(|open| host.choose(&open.state))
            .collect();
        let mut children: Vec<Child> = Vec::with_capacity(2 * batch.len());
        let mut last: Vec<Child> = Vec::new();
        for (open, split) in batch.into_iter().zip(chosen) {
            let Some(split) = split else {
                // All signs are decided: the rest is a linear program, and a matter of how well it is solved.
                last.push(Child {
                    node: open.node,
                    domain: open.state,
                });
                continue;
            };
            let (negative, positive) = (self.state.tree.len(), self.state.tree.len() + 1);
            if let ActivationNode::Node { decision, .. } = &mut self.state.tree[open.node] {
                *decision = Some(Decision {
                    layer: split.layer,
                    neuron: split.neuron,
                    negative,
                    positive,
                });
            }
            for (node, sign) in [(negative, false), (positive, true)] {
                self.state.tree.push(ActivationNode::Open);
                let mut splits = open.state.splits.clone();
                splits.push(Split {
                    positive: sign,
                    ..split
                });
                let rows = open
                    .state
                    .rows
                    .iter()
                    .map(|open| OpenRow {
                        row: open.row,
                        value: open.value,
                        multipliers: open.multipliers.clone(),
                    })
                    .collect();
                children.push(Child {
                    node,
                    domain: Domain {
                        splits,
                        hidden: Arc::clone(&open.state.hidden),
                        rows,
                        solved: false,
                    },
                });
            }
        }
        // Bounds under the new decision; where they contradict each other no input is left.
        let nonempty: Vec<bool> = children
            .par_iter_mut()
            .map(|child| host.tighten(&mut child.domain))
            .collect::<Result<_>>()?;
        let mut alive = Vec::with_capacity(children.len());
        for (child, nonempty) in children.into_iter().zip(nonempty) {
            if nonempty {
                alive.push(child);
            } else {
                self.state.tree[child.node] = ActivationNode::Node {
                    proven: Vec::new(),
                    decision: None,
                };
            }
        }
        let mut children = alive;
        self.ascend(&mut children)?;
        self.solve(&mut last)?;
        children.append(&mut last);
        children
            .par_iter_mut()
            .try_for_each(|child| host.bound(&mut child.domain))?;
        for Child { node, domain } in children {
            for open in &domain.rows {
                self.state.nodes[open.row] += 1;
            }
            self.settle(node, domain);
        }
        Ok(false)
    }

    /// Notes what is proven in a domain, and keeps the rest of it open.
    fn settle(&mut self, node: usize, mut domain: Domain) {
        let mut proven = Vec::new();
        let mut rows = Vec::with_capacity(domain.rows.len());
        for open in domain.rows {
            if open.value > self.host.roots[open.row].space.bound {
                self.state.finished[open.row] = self.state.finished[open.row].min(open.value);
                proven.push(RowProof {
                    row: open.row,
                    multipliers: open.multipliers,
                });
            } else {
                rows.push(open);
            }
        }
        // A domain that comes again has been noted before.
        match &mut self.state.tree[node] {
            ActivationNode::Node { proven: before, .. } => before.extend(proven),
            open @ ActivationNode::Open => {
                *open = ActivationNode::Node {
                    proven,
                    decision: None,
                };
            }
        }
        domain.rows = rows;
        if !domain.rows.is_empty() {
            self.push(node, domain);
        }
    }

    fn push(&mut self, node: usize, domain: Domain) {
        let bound = if domain.solved {
            f64::INFINITY
        } else {
            domain.distance(self.host.roots)
        };
        self.state.open.push(Open {
            bound,
            node,
            state: domain,
        });
    }

    /// Improves the multipliers of all rows of all children together, and looks at the inputs that come up on the way.
    fn ascend(&mut self, children: &mut [Child]) -> Result<()> {
        let rows: Vec<(&Domain, &OpenRow)> = children
            .iter()
            .flat_map(|child| child.domain.rows.iter().map(|open| (&child.domain, open)))
            .collect();
        if rows.is_empty() {
            return Ok(());
        }
        let relaxed = self.relaxed;
        let layers: Vec<DeviceLayer> = relaxed
            .layers
            .iter()
            .enumerate()
            .map(|(layer, device_layer)| {
                let boxes: Vec<RowBox<'_>> = rows
                    .iter()
                    .map(|(domain, _)| RowBox {
                        bounds: &domain.hidden[layer],
                        splits: &domain.splits,
                    })
                    .collect();
                device_layer.for_rows(layer, &boxes, self.device)
            })
            .collect();
        let target = Target {
            map: relaxed.hidden.len(),
            rows: rows.len(),
            coefficients: rows
                .iter()
                .flat_map(|(_, open)| self.host.roots[open.row].space.coefficients.iter().copied())
                .collect(),
        };
        let multipliers: Vec<Vec<f64>> = (0..relaxed.hidden.len())
            .map(|layer| {
                rows.iter()
                    .flat_map(|(_, open)| open.multipliers[layer].iter().map(|&x| f64::from(x)))
                    .collect()
            })
            .collect();
        let mut ascent = Ascent::new(&relaxed.search, &layers, &target, &multipliers);
        let rate = ascent.scale() * self.config.step_size;
        let steps = self.config.steps;
        for step in 0..steps {
            let share = 0.1_f64.powf(step as f64 / steps.max(2) as f64);
            ascent.step(&(rate.clone() * share));
        }
        let (inputs, values) = ascent.suggestions();
        let (found, _) = ascent.finish();
        self.look(&rows, &values, inputs)?;
        let mut row = 0;
        for child in children {
            for open in &mut child.domain.rows {
                for (rho, all) in open.multipliers.iter_mut().zip(&found) {
                    let width = rho.len();
                    for (to, from) in rho.iter_mut().zip(&all[row * width..(row + 1) * width]) {
                        *to = *from as f32;
                    }
                }
                row += 1;
            }
        }
        Ok(())
    }

    /// Attacks from inputs (`[rows, inputs]`) that violate their rows, and now and then from the one that comes nearest to it.
    fn look(
        &mut self,
        rows: &[(&Domain, &OpenRow)],
        values: &[f64],
        inputs: Tensor<2>,
    ) -> Result<()> {
        self.state.rounds += 1;
        let nearest = rows
            .iter()
            .zip(values)
            .map(|((_, open), value)| value - self.host.roots[open.row].space.bound)
            .enumerate()
            .min_by(|a, b| a.1.total_cmp(&b.1));
        let Some((index, distance)) = nearest else {
            return Ok(());
        };
        if distance <= 0.0 || self.state.rounds % ATTACK_EVERY == 1 {
            let width = self.relaxed.input.len();
            let inputs = numbers(inputs);
            let point = inputs[index * width..(index + 1) * width].to_vec();
            self.found = (self.refute)(rows[index].1.row, point)?.or(self.found.take());
        }
        Ok(())
    }

    /// Solves what is left of domains without open signs.
    fn solve(&mut self, children: &mut [Child]) -> Result<()> {
        let relaxed = self.relaxed;
        let roots = self.host.roots;
        let points: Vec<(usize, Vec<f64>)> = children
            .par_iter_mut()
            .flat_map_iter(|child| {
                let domain = &mut child.domain;
                domain.solved = true;
                let (hidden, splits) = (&domain.hidden, &domain.splits);
                let mut points = Vec::new();
                for open in &mut domain.rows {
                    let found = solve_decided(
                        relaxed.network,
                        relaxed.input,
                        &roots[open.row].space,
                        hidden,
                        splits,
                        open.value,
                    );
                    if let Some(found) = found {
                        open.multipliers = found.multipliers;
                        points.extend(found.point.map(|point| (open.row, point)));
                    }
                }
                points
            })
            .collect();
        for (row, point) in points {
            let found = (self.refute)(row, point)?;
            if found.is_some() {
                self.found = found;
                break;
            }
        }
        Ok(())
    }
}
