//! Best-first branch and bound: the device finds multipliers, the host's certified values decide.

use burn::tensor::Device;
use rayon::prelude::*;

use super::ascent::{Rows, Schedule, Space};
use super::certified::certified_value;
use super::tree::{Leaf, SplitNode, SplitTree, halves};
use super::{Group, GroupConfig, GroupSolution, Objective};
use crate::error::Result;

/// What part of the former step length a refinement takes.
const REFINEMENT_RATE: f64 = 0.4;

/// How far above the least case with nothing to cut others are worth their ascent, as a part of its value.
const CLOSE: f64 = 1e-3;

pub(super) fn search(
    group: &Group,
    objectives: &[Objective],
    config: &GroupConfig,
    device: &Device,
    cancel: &(dyn Fn() -> bool + Sync),
) -> Result<Vec<GroupSolution>> {
    let span = tracing::info_span!(
        "group",
        position = 0u64,
        length = (objectives.len() * config.nodes) as u64,
        bound = tracing::field::Empty,
    );
    let _entered = span.enter();

    let mut trees = objectives
        .iter()
        .map(|objective| Tree::new(group, objective))
        .collect::<Result<Vec<_>>>()?;
    let space = Space::new(group, device);
    // On the device an objective is divided by its size, so that 32 bits suit any scale.
    let sizes = objectives
        .iter()
        .map(
            |objective| match space.mean_size(&objective.c1, &objective.c2) {
                size if size > 0.0 && size.is_finite() => size,
                _ => 1.0,
            },
        )
        .collect();
    let search = Search {
        group,
        objectives,
        config,
        space,
        sizes,
        cancel,
    };
    let mut jobs: Vec<Job> = trees
        .iter()
        .enumerate()
        .flat_map(|(objective, tree)| tree.leaf_indices().map(move |node| Job { objective, node }))
        .collect();
    while !jobs.is_empty() && !cancel() {
        let (long, short): (Vec<Job>, Vec<Job>) = jobs
            .drain(..)
            .partition(|job| trees[job.objective].wants_long_ascent(job.node));
        search.ascend(&mut trees, &long, config.steps, config.learning_rate)?;
        search.ascend(
            &mut trees,
            &short,
            config.child_steps,
            config.child_learning_rate,
        )?;

        let position: usize = trees.iter().map(|tree| tree.nodes.len()).sum();
        span.record("position", position as u64);
        if let Some(bound) = trees.iter().map(Tree::bound).reduce(f64::min) {
            span.record("bound", bound);
        }
        for (objective, tree) in trees.iter_mut().enumerate() {
            let round = tree.next_round(group, &objectives[objective], config);
            jobs.extend(round.into_iter().map(|node| Job { objective, node }));
        }
    }
    Ok(trees.iter().map(Tree::solution).collect())
}

/// What all rounds have in common.
struct Search<'a> {
    group: &'a Group,
    objectives: &'a [Objective],
    config: &'a GroupConfig,
    space: Space,
    /// The size of each objective, by which it is divided on the device.
    sizes: Vec<f64>,
    cancel: &'a (dyn Fn() -> bool + Sync),
}

/// A node whose multipliers are to be ascended.
struct Job {
    objective: usize,
    node: usize,
}

/// The search tree of one objective.
struct Tree {
    nodes: Vec<Node>,
}

struct Node {
    /// The part of the box, and the multipliers with the best certified value so far.
    leaf: Leaf,
    /// That value.
    value: f64,
    content: Content,
}

#[derive(Clone, Copy)]
enum Content {
    /// Coordinate, and the nodes of its non-positive and its non-negative side.
    Split(usize, [usize; 2]),
    /// A case that can be cut at a coordinate.
    Open(usize),
    /// A case with nothing to cut, and how often it has been ascended.
    Finished(usize),
}

impl Tree {
    fn new(group: &Group, objective: &Objective) -> Result<Self> {
        let start = match &objective.start {
            Some(tree) => tree.restricted_to(group)?,
            None => SplitTree::single(first_multipliers(group, objective)),
        };
        let mut tree = Self { nodes: Vec::new() };
        let mut open = vec![tree.push(group, objective, whole_box(group))];
        let mut leaves = start.leaves(group)?.into_iter();
        for node in start.nodes() {
            let Some(index) = open.pop() else { break };
            match node {
                SplitNode::Split(j) => {
                    let [below, above] = tree.split(group, objective, index, *j);
                    open.extend([above, below]);
                }
                SplitNode::Leaf(_) => {
                    if let Some(leaf) = leaves.next() {
                        tree.offer(group, objective, index, leaf.nu);
                    }
                }
            }
        }
        Ok(tree)
    }

    fn push(&mut self, group: &Group, objective: &Objective, leaf: Leaf) -> usize {
        let value = certified_value(group, &leaf, &objective.c1, &objective.c2);
        let content = match coordinate_to_split(&leaf, &objective.c2) {
            Some(j) => Content::Open(j),
            None => Content::Finished(0),
        };
        self.nodes.push(Node {
            leaf,
            value,
            content,
        });
        self.nodes.len() - 1
    }

    /// Cuts a case at a coordinate; the halves start with its multipliers, so their certified values are no lower.
    fn split(
        &mut self,
        group: &Group,
        objective: &Objective,
        index: usize,
        j: usize,
    ) -> [usize; 2] {
        let Leaf { lower, upper, nu } = self.nodes[index].leaf.clone();
        let sides = halves(lower, upper, j).map(|(lower, upper)| {
            self.push(
                group,
                objective,
                Leaf {
                    lower,
                    upper,
                    nu: nu.clone(),
                },
            )
        });
        self.nodes[index].content = Content::Split(j, sides);
        sides
    }

    /// Takes other multipliers for a case if their certified value is higher.
    fn offer(&mut self, group: &Group, objective: &Objective, index: usize, nu: Vec<f64>) {
        let node = &mut self.nodes[index];
        let leaf = Leaf {
            nu,
            ..node.leaf.clone()
        };
        let value = certified_value(group, &leaf, &objective.c1, &objective.c2);
        if value > node.value {
            node.value = value;
            node.leaf = leaf;
        }
    }

    fn leaf_indices(&self) -> impl Iterator<Item = usize> {
        let is_leaf = |node: &Node| !matches!(node.content, Content::Split(..));
        (0..self.nodes.len()).filter(move |&index| is_leaf(&self.nodes[index]))
    }

    /// Whether a node starts from scratch or is refined; the others have their parent's multipliers to start from.
    fn wants_long_ascent(&self, index: usize) -> bool {
        index == 0 || matches!(self.nodes[index].content, Content::Finished(times) if times > 0)
    }

    fn bound(&self) -> f64 {
        self.leaf_indices()
            .map(|index| self.nodes[index].value)
            .fold(f64::INFINITY, f64::min)
    }

    /// The nodes to ascend next; none if the bound can be raised no further.
    ///
    /// Which cases are chosen does not depend on the budget, so that a larger one does all that a smaller one does.
    fn next_round(
        &mut self,
        group: &Group,
        objective: &Objective,
        config: &GroupConfig,
    ) -> Vec<usize> {
        let mut leaves: Vec<usize> = self.leaf_indices().collect();
        leaves.sort_by(|&a, &b| self.nodes[a].value.total_cmp(&self.nodes[b].value));
        let mut budget = config.nodes.saturating_sub(self.nodes.len()) / 2;
        let stuck = leaves
            .first()
            .is_none_or(|&worst| match self.nodes[worst].content {
                Content::Open(_) => budget == 0,
                Content::Finished(times) => times > config.refinements,
                Content::Split(..) => true,
            });
        if stuck {
            return Vec::new();
        }
        // A case far above one with nothing to cut cannot raise the bound.
        let mut ceiling = f64::INFINITY;
        leaves.retain(|&index| {
            let Node { value, content, .. } = &self.nodes[index];
            if ceiling == f64::INFINITY && matches!(content, Content::Finished(_)) {
                ceiling = value + CLOSE * value.abs();
            }
            *value <= ceiling
        });
        leaves.retain(|&index| match self.nodes[index].content {
            Content::Finished(times) => times <= config.refinements,
            _ => true,
        });
        leaves.truncate(config.batch);
        let mut round = Vec::new();
        for index in leaves {
            match self.nodes[index].content {
                Content::Open(j) if budget > 0 => {
                    budget -= 1;
                    round.extend(self.split(group, objective, index, j));
                }
                Content::Finished(_) => round.push(index),
                _ => {}
            }
        }
        round
    }

    fn solution(&self) -> GroupSolution {
        let mut nodes = Vec::with_capacity(self.nodes.len());
        let mut open = vec![0];
        let (mut cases, mut worst) = (0, (0, f64::INFINITY));
        let mut complete = false;
        while let Some(index) = open.pop() {
            let node = &self.nodes[index];
            match node.content {
                Content::Split(j, [below, above]) => {
                    nodes.push(SplitNode::Split(j));
                    open.extend([above, below]);
                }
                content => {
                    if node.value < worst.1 {
                        worst = (cases, node.value);
                        complete = matches!(content, Content::Finished(_));
                    }
                    cases += 1;
                    nodes.push(SplitNode::Leaf(node.leaf.nu.clone()));
                }
            }
        }
        GroupSolution {
            tree: SplitTree::from_nodes(nodes),
            bound: worst.1,
            worst: worst.0,
            nodes: self.nodes.len(),
            complete,
        }
    }
}

impl Search<'_> {
    /// Ascends the multipliers of some nodes on the device and keeps what the host can certify.
    fn ascend(&self, trees: &mut [Tree], jobs: &[Job], steps: usize, rate: f64) -> Result<()> {
        if jobs.is_empty() {
            return Ok(());
        }
        let mut rows = Rows::new(&self.space);
        let (mut c1, mut c2) = (Vec::new(), Vec::new());
        for job in jobs {
            let node = &trees[job.objective].nodes[job.node];
            let (objective, size) = (&self.objectives[job.objective], self.sizes[job.objective]);
            let unit = match node.content {
                Content::Finished(times) if times > 1 => {
                    REFINEMENT_RATE.powi(times.min(1000) as i32 - 1)
                }
                _ => 1.0,
            };
            let Leaf { lower, upper, nu } = &node.leaf;
            let nu: Vec<f64> = nu.iter().map(|x| x / size).collect();
            rows.push(job.objective, lower, upper, &nu, unit);
            c1.extend(self.space.coefficients(&objective.c1, size));
            c2.extend(self.space.coefficients(&objective.c2, size));
        }
        let shape = [jobs.len(), self.group.len()];
        let coefficients = [c1, c2].map(|c| self.space.matrix(c, shape));
        let schedule = Schedule {
            steps,
            rate,
            decay: self.config.learning_rate_decay,
        };
        let found = rows
            .into_batch(self.objectives.len())
            .with_betas(self.config.beta_1, self.config.beta_2)
            .maximise(coefficients, &schedule, self.cancel)?;

        let before = &*trees;
        let better: Vec<Option<(f64, Vec<f64>)>> = jobs
            .par_iter()
            .zip(found)
            .map(|(job, nu)| {
                let node = &before[job.objective].nodes[job.node];
                let Objective { c1, c2, .. } = &self.objectives[job.objective];
                let nu = nu
                    .into_iter()
                    .map(|x| x * self.sizes[job.objective])
                    .collect();
                let leaf = Leaf {
                    nu,
                    ..node.leaf.clone()
                };
                let value = certified_value(self.group, &leaf, c1, c2);
                (value > node.value).then_some((value, leaf.nu))
            })
            .collect();
        for (job, better) in jobs.iter().zip(better) {
            let node = &mut trees[job.objective].nodes[job.node];
            if let Some((value, nu)) = better {
                node.value = value;
                node.leaf.nu = nu;
            }
            if let Content::Finished(times) = &mut node.content {
                *times += 1;
            }
        }
        Ok(())
    }
}

/// With multipliers 0 the dual function is the bound by the box alone: no search ends below it.
fn whole_box(group: &Group) -> Leaf {
    Leaf {
        lower: group.lower.clone(),
        upper: group.upper.clone(),
        nu: vec![0.0; group.len()],
    }
}

/// The slopes of the linear functions below and above each ReLU (the start of Wong and Kolter, section 2.7 of the paper's code).
fn first_multipliers(group: &Group, objective: &Objective) -> Vec<f64> {
    let bounds = group.lower.iter().zip(&group.upper);
    bounds
        .zip(objective.c1.iter().zip(&objective.c2))
        .map(|((&l, &u), (c1, c2))| {
            let active = if l >= 0.0 {
                1.0
            } else if u <= 0.0 {
                0.0
            } else {
                u / (u - l)
            };
            c1 + c2 * active
        })
        .collect()
}

/// Among the coordinates whose ReLU makes the problem concave, the one at which the straight line above it is furthest off.
fn coordinate_to_split(leaf: &Leaf, c2: &[f64]) -> Option<usize> {
    let mut best = None;
    for (j, &coefficient) in c2.iter().enumerate() {
        let (l, u) = (leaf.lower[j], leaf.upper[j]);
        if coefficient < 0.0 && l < 0.0 && u > 0.0 {
            let gap = -coefficient * u * (-l / (u - l));
            if best.is_none_or(|(most, _)| gap > most) {
                best = Some((gap, j));
            }
        }
    }
    best.map(|(_, j)| j)
}
