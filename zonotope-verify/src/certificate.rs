//! Proofs that can be stored, and checked without a tensor library and without trusting the search.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

pub use crate::ascent::Split;
use crate::boxes::{Boxes, Workspace};
use crate::certify::{Multipliers, Target, dual_values};
use crate::combination::{Reach, combined, per_weight};
use crate::crown::{HiddenProof, replay};
use crate::dual::{group_of, zonotopes};
use crate::error::{Error, Result};
use crate::groups::SplitTree;
use crate::interval::Bounds;
use crate::limits::Limits;
use crate::network::Network;
use crate::rounding::down;
use crate::sets::{GroupSet, LayerSets};
use crate::spec::{HalfSpace, InputBox, Spec};

/// A proof of a specification: what the search found, nothing that has to be believed.
///
/// It holds, for every case, the tree of its branch and bound, and for every leaf the multipliers of the dual function. [`Certificate::check`] computes all
/// bounds again from the network, in 64-bit arithmetic with rounding errors accounted for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Certificate {
    pub(crate) relaxations: Vec<RelaxationProof>,
    /// Trees of decisions, each for several cases.
    pub(crate) trees: Vec<DecisionTree>,
    /// By the number of the case.
    pub(crate) cases: BTreeMap<usize, CaseProof>,
}

/// What all activation proofs over one input box share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct RelaxationProof {
    pub(crate) hidden: HiddenProof,
    /// The pairs of every hidden layer.
    pub(crate) pairs: Vec<Vec<[usize; 2]>>,
}

/// The proof of one case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum CaseProof {
    /// The box is cut into boxes, each safe by one half-space, or a combination of several, and the bounds of `boxes`.
    Inputs(Vec<InputNode>),
    /// The signs of neurons are decided, every leaf has multipliers.
    Activations {
        /// The number of the tree.
        tree: usize,
    },
    /// No branching: groups of the last hidden layer instead of its pairs.
    Groups {
        relaxation: usize,
        weights: Vec<u16>,
        multipliers: Vec<Vec<f64>>,
        groups: Vec<GroupProof>,
    },
}

/// Groups of the last hidden layer: what is taken together, and the case distinctions of each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct GroupProof {
    pub(crate) neurons: Vec<usize>,
    pub(crate) tree: SplitTree,
}

/// A node of a tree of boxes; the root comes first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum InputNode {
    Open,
    Leaf {
        /// A weight a half-space.
        weights: Vec<u16>,
    },
    Split {
        input: usize,
        at: f64,
        below: usize,
        above: usize,
    },
}

/// Decisions on the signs of neurons, for several cases over one input box.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct DecisionTree {
    pub(crate) relaxation: usize,
    /// Whether the bounds of the layers behind a decision are computed again.
    pub(crate) refined: bool,
    /// What is proven.
    pub(crate) rows: Vec<TreeRow>,
    pub(crate) nodes: Vec<ActivationNode>,
}

/// What one row of a tree proves: that no output satisfies a combination of a case's half-spaces.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct TreeRow {
    pub(crate) case: usize,
    /// A weight a half-space.
    pub(crate) weights: Vec<u16>,
}

/// A node of a tree of decisions; the root comes first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ActivationNode {
    Open,
    Node {
        /// The rows that are proven here, and not below.
        proven: Vec<RowProof>,
        /// How the node is cut for the rows that are left; none if there are none.
        decision: Option<Decision>,
    },
}

/// The proof of one row at a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct RowProof {
    pub(crate) row: usize,
    pub(crate) multipliers: Vec<Vec<f32>>,
}

/// A decision and the nodes of both outcomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Decision {
    pub(crate) layer: usize,
    pub(crate) neuron: usize,
    pub(crate) negative: usize,
    pub(crate) positive: usize,
}

/// The bounds that a certificate proves, computed again from its leaves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProvenBounds {
    /// For every case, in the specification's order, the proven lower bound of the distance to its unsafe outputs, in units of its
    /// half-spaces' left-hand sides. Never negative; the largest number of 64 bits if no input of the box is left in any leaf.
    pub cases: Vec<f64>,
}

impl ProvenBounds {
    /// The proven lower bound of the distance to every unsafe output: the least of all cases; infinite if there are none.
    #[must_use]
    pub fn bound(&self) -> f64 {
        self.cases.iter().copied().fold(f64::INFINITY, f64::min)
    }
}

impl fmt::Display for ProvenBounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} cases proven: stays at least {:.6} away from every unsafe output",
            self.cases.len(),
            self.bound()
        )
    }
}

/// Why weights are rejected.
const NO_COMBINATION: &str =
    "its weights do not combine the half-spaces: one each is needed, and not all zero";

impl Certificate {
    /// Proves the specification again, from the numbers stored here, and says how far its outputs stay from the unsafe ones.
    ///
    /// # Errors
    ///
    /// [`Error::CertificateRejected`], naming the first part that proves nothing; [`Error::ShapeMismatch`] if the specification does not fit the network.
    pub fn check(&self, network: &Network, spec: &Spec) -> Result<ProvenBounds> {
        spec.check_sizes(network.inputs(), network.outputs())?;
        let mut prepared = Prepared {
            network,
            found: BTreeMap::new(),
        };
        // A tree is checked once, for all its cases.
        let mut trees: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
        let mut cases = Vec::with_capacity(spec.cases.len());
        for (index, case) in spec.cases.iter().enumerate() {
            let at = format!("case {index}");
            let reject = |reason: &str| Error::CertificateRejected {
                at: at.clone(),
                reason: reason.to_owned(),
            };
            let proof = self
                .cases
                .get(&index)
                .ok_or_else(|| reject("it has no proof"))?;
            // Cases over one box share the bounds; the first case with that box stands for all.
            let first = spec
                .cases
                .iter()
                .position(|other| other.input == case.input)
                .unwrap_or(index);
            cases.push(match proof {
                CaseProof::Inputs(tree) => {
                    check_boxes(network, &case.input, &case.outputs, tree, &at)?
                }
                CaseProof::Activations { tree } => {
                    let shared = self
                        .trees
                        .get(*tree)
                        .ok_or_else(|| reject("its tree is missing"))?;
                    let bounds = match trees.entry(*tree) {
                        Entry::Occupied(entry) => entry.into_mut(),
                        Entry::Vacant(entry) => {
                            let spaces = shared.spaces(network, spec, &case.input).ok_or_else(|| {
                                reject(
                                    "its tree is over another box, or its weights do not combine the half-spaces",
                                )
                            })?;
                            let (hidden, sets) =
                                prepared.of(&self.relaxations, shared.relaxation, first, &case.input)?;
                            let at = format!("tree {tree}");
                            entry.insert(check_decisions(
                                network,
                                &case.input,
                                &spaces,
                                hidden,
                                sets,
                                shared,
                                &at,
                            )?)
                        }
                    };
                    let own = shared.rows.iter().zip(&*bounds);
                    own.filter(|(row, _)| row.case == index)
                        .map(|(row, &bound)| per_weight(bound, &row.weights))
                        .reduce(f64::max)
                        .ok_or_else(|| reject("its tree is about other cases"))?
                }
                CaseProof::Groups {
                    relaxation,
                    weights,
                    multipliers,
                    groups,
                } => {
                    let reach = Reach::new(network, &case.input);
                    let space = combined(&case.outputs, weights, &reach)
                        .ok_or_else(|| reject(NO_COMBINATION))?;
                    let (hidden, sets) =
                        prepared.of(&self.relaxations, *relaxation, first, &case.input)?;
                    let bound = check_groups(
                        network,
                        &case.input,
                        &space,
                        hidden,
                        sets,
                        (multipliers, groups),
                        &at,
                    )?;
                    per_weight(bound, weights)
                }
            });
        }
        Ok(ProvenBounds { cases })
    }

    /// Writes the certificate as JSON.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let io = |source| Error::Io {
            path: path.to_owned(),
            source,
        };
        let mut file = BufWriter::new(File::create(path).map_err(io)?);
        serde_json::to_writer(&mut file, self).map_err(|error| io(error.into()))?;
        file.flush().map_err(io)
    }

    /// Reads a certificate.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], [`Error::CertificateRejected`] if the file holds something else.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let file = File::open(path).map_err(|source| Error::Io {
            path: path.to_owned(),
            source,
        })?;
        serde_json::from_reader(BufReader::new(file)).map_err(|error| Error::CertificateRejected {
            at: path.display().to_string(),
            reason: error.to_string(),
        })
    }
}

/// Bounds and sets of relaxations, computed when they are first asked for.
struct Prepared<'a> {
    network: &'a Network,
    /// By the number of the relaxation, and of the first case with the box.
    found: BTreeMap<(usize, usize), (Vec<Bounds>, Vec<LayerSets>)>,
}

impl Prepared<'_> {
    fn of(
        &mut self,
        relaxations: &[RelaxationProof],
        relaxation: usize,
        first: usize,
        input: &InputBox,
    ) -> Result<(&[Bounds], &[LayerSets])> {
        let (hidden, sets) = match self.found.entry((relaxation, first)) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let proof =
                    relaxations
                        .get(relaxation)
                        .ok_or_else(|| Error::CertificateRejected {
                            at: format!("relaxation {relaxation}"),
                            reason: "it is missing".to_owned(),
                        })?;
                if matches!(proof.hidden, HiddenProof::Given(_)) {
                    return Err(Error::CertificateRejected {
                        at: "bounds of the hidden layers".to_owned(),
                        reason: "they were given, not proven".to_owned(),
                    });
                }
                entry.insert(proof.prepare(self.network, input)?)
            }
        };
        Ok((hidden, sets))
    }
}

impl DecisionTree {
    /// What the tree's rows say is impossible; none if a row is over another box or no combination.
    fn spaces(&self, network: &Network, spec: &Spec, input: &InputBox) -> Option<Vec<HalfSpace>> {
        let reach = Reach::new(network, input);
        let space = |row: &TreeRow| {
            let owner = spec.cases.get(row.case)?;
            (owner.input == *input).then_some(())?;
            combined(&owner.outputs, &row.weights, &reach)
        };
        self.rows.iter().map(space).collect()
    }
}

impl RelaxationProof {
    /// The bounds and sets that all leaves rest on.
    pub(crate) fn prepare(
        &self,
        network: &Network,
        input: &InputBox,
    ) -> Result<(Vec<Bounds>, Vec<LayerSets>)> {
        let mut hidden = replay(network, input, &self.hidden)?;
        let zonotopes = zonotopes(network, input, &mut hidden, &Limits::default())?;
        if self.pairs.len() != hidden.len() {
            return Err(Error::CertificateRejected {
                at: "pairs".to_owned(),
                reason: format!(
                    "there are {} hidden layers, and pairs of {}",
                    hidden.len(),
                    self.pairs.len()
                ),
            });
        }
        let mut sets = Vec::with_capacity(hidden.len());
        for (layer, (zonotope, pairs)) in zonotopes.into_iter().zip(&self.pairs).enumerate() {
            let mut seen = vec![false; zonotope.dimension()];
            for &neuron in pairs.iter().flatten() {
                if seen
                    .get_mut(neuron)
                    .is_none_or(|seen| std::mem::replace(seen, true))
                {
                    return Err(Error::CertificateRejected {
                        at: format!("pairs of hidden layer {layer}"),
                        reason: format!("neuron {neuron} does not exist or is paired twice"),
                    });
                }
            }
            sets.push(LayerSets::new(zonotope, &hidden[layer], pairs.clone())?);
        }
        Ok((hidden, sets))
    }
}

/// The bounds of the hidden layers under one more decision; `None` if no input has these signs, so that nothing is left to prove.
///
/// With `refined`, the bounds of the layers behind the decision are computed again by CROWN. The neuron must exist.
pub(crate) fn refine(
    network: &Network,
    input: &InputBox,
    hidden: &[Bounds],
    split: Split,
    refined: bool,
) -> Result<Option<Vec<Bounds>>> {
    let mut hidden = hidden.to_vec();
    let bounds = &hidden[split.layer];
    let (mut lower, mut upper) = (bounds.lower().to_vec(), bounds.upper().to_vec());
    if split.positive {
        lower[split.neuron] = lower[split.neuron].max(0.0);
    } else {
        upper[split.neuron] = upper[split.neuron].min(0.0);
    }
    if lower[split.neuron] > upper[split.neuron] {
        return Ok(None);
    }
    hidden[split.layer] = Bounds::new(lower, upper)?;
    if !refined {
        return Ok(Some(hidden));
    }
    for layer in split.layer + 1..hidden.len() {
        let interval = Bounds::around(&network.maps()[layer].apply(&hidden[layer - 1].relu()));
        let Some(mut bounds) = hidden[layer].common(&interval) else {
            return Ok(None);
        };
        let unstable = bounds.unstable();
        if !unstable.is_empty() {
            let target = Target::neurons(layer, bounds.len(), &unstable);
            let before = &hidden[..layer];
            let values =
                dual_values(network, input, before, &target, Multipliers::Adaptive, None)?.values;
            let (mut lower, mut upper) = (bounds.lower().to_vec(), bounds.upper().to_vec());
            for (row, &neuron) in unstable.iter().enumerate() {
                lower[neuron] = lower[neuron].max(values[row]);
                upper[neuron] = upper[neuron].min(-values[unstable.len() + row]);
                if lower[neuron] > upper[neuron] {
                    return Ok(None);
                }
            }
            bounds = Bounds::new(lower, upper)?;
        }
        hidden[layer] = bounds;
    }
    Ok(Some(hidden))
}

/// The proven value of one row over a domain: of `coefficients y` within the given bounds of the hidden layers.
pub(crate) fn node_bound(
    network: &Network,
    input: &InputBox,
    space: &HalfSpace,
    hidden: &[Bounds],
    sets: &[LayerSets],
    multipliers: &[Vec<f64>],
) -> Result<f64> {
    let target = Target {
        map: hidden.len(),
        rows: 1,
        coefficients: space.coefficients.clone(),
    };
    let values = dual_values(
        network,
        input,
        hidden,
        &target,
        Multipliers::Given(multipliers),
        Some(sets),
    )?;
    Ok(values.values[0])
}

/// What a node of a proof's tree proves, and what it leaves to its children.
struct Checked<P> {
    /// Rows, and how far their proven bounds lie above what they have to exceed.
    proven: Vec<(usize, f64)>,
    /// Nodes, and the parts of the search space that they stand for.
    children: Vec<(usize, P)>,
}

/// Nodes that are checked together.
const NODES: usize = 64;

/// Walks a tree from its root, node 0, whose part of the search space is `root`. Of every row the least of what is proven about it.
///
/// `check` looks at a node, given its part; as parts are handed down and not stored, whatever tree it accepts covers the root.
fn walk<N: Sync, P: Send>(
    tree: &[N],
    root: P,
    rows: usize,
    at: &str,
    check: impl Fn(&N, P) -> std::result::Result<Checked<P>, Rejection> + Sync,
) -> Result<Vec<f64>> {
    let reject = |node: usize, rejection| match rejection {
        Rejection::Because(reason) => Error::CertificateRejected {
            at: format!("{at}, node {node}"),
            reason,
        },
        Rejection::Error(error) => error,
    };
    let mut visited = vec![false; tree.len()];
    let mut least = vec![f64::INFINITY; rows];
    let mut open = vec![(0, root)];
    while !open.is_empty() {
        let parts = open.split_off(open.len().saturating_sub(NODES));
        for &(node, _) in &parts {
            let reason = match visited.get_mut(node) {
                None => "it does not exist",
                Some(true) => "it is reached twice",
                Some(visited) => {
                    *visited = true;
                    continue;
                }
            };
            return Err(reject(node, reason.into()));
        }
        let checked: Vec<Checked<P>> = parts
            .into_par_iter()
            .map(|(node, part)| {
                check(&tree[node], part).map_err(|rejection| reject(node, rejection))
            })
            .collect::<Result<_>>()?;
        for Checked { proven, children } in checked {
            for (row, distance) in proven {
                least[row] = least[row].min(distance);
            }
            open.extend(children);
        }
    }
    Ok(least)
}

/// Why a node is not accepted.
enum Rejection {
    /// It proves nothing, and why.
    Because(String),
    /// It cannot be checked.
    Error(Error),
}

impl From<&str> for Rejection {
    fn from(reason: &str) -> Self {
        Self::Because(reason.to_owned())
    }
}

impl From<String> for Rejection {
    fn from(reason: String) -> Self {
        Self::Because(reason)
    }
}

impl From<Error> for Rejection {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// How far a proven bound lies above what it has to exceed, rounded down; an explanation if it does not.
fn distance(bound: f64, least: f64) -> std::result::Result<f64, String> {
    // Written so that NaN proves nothing.
    if bound > least {
        Ok(down(bound - least))
    } else {
        Err(format!("its bound {bound} does not exceed {least}"))
    }
}

/// Whether there is a multiplier for every neuron.
fn fits<T>(multipliers: &[Vec<T>], hidden: &[Bounds]) -> bool {
    let sizes = hidden.iter().map(Bounds::len);
    multipliers.iter().map(Vec::len).eq(sizes)
}

/// The proven distance of every row of a tree.
fn check_decisions(
    network: &Network,
    input: &InputBox,
    spaces: &[HalfSpace],
    hidden: &[Bounds],
    sets: &[LayerSets],
    tree: &DecisionTree,
    at: &str,
) -> Result<Vec<f64>> {
    // A part of the search space is the bounds of the hidden layers there, and the rows that are not proven yet.
    let check = |node: &ActivationNode, (hidden, mut rows): (Vec<Bounds>, Vec<usize>)| {
        let ActivationNode::Node {
            proven: proofs,
            decision,
        } = node
        else {
            return Err("it was left open".into());
        };
        let mut proven = Vec::with_capacity(proofs.len());
        let mut children = Vec::new();
        for RowProof { row, multipliers } in proofs {
            let space = spaces
                .get(*row)
                .ok_or("it proves a row that does not exist")?;
            if !fits(multipliers, &hidden) {
                return Err("its multipliers do not fit the network".into());
            }
            let multipliers = wide(multipliers);
            let bound = node_bound(network, input, space, &hidden, sets, &multipliers)?;
            proven.push((*row, distance(bound, space.bound)?));
            rows.retain(|open| open != row);
        }
        if rows.is_empty() {
            return Ok(Checked { proven, children });
        }
        let decision = decision.ok_or("it leaves a case unproven")?;
        let Decision { layer, neuron, .. } = decision;
        let unstable = hidden
            .get(layer)
            .is_some_and(|bounds| neuron < bounds.len() && bounds.is_unstable(neuron));
        if !unstable {
            return Err("it decides on a neuron that does not exist or has only one sign".into());
        }
        for (node, positive) in [(decision.negative, false), (decision.positive, true)] {
            let split = Split {
                layer,
                neuron,
                positive,
            };
            // Where no input has these signs nothing is left to prove.
            if let Some(hidden) = refine(network, input, &hidden, split, tree.refined)? {
                children.push((node, (hidden, rows.clone())));
            }
        }
        Ok(Checked { proven, children })
    };
    let root = (hidden.to_vec(), (0..spaces.len()).collect());
    let least = walk(&tree.nodes, root, spaces.len(), at, check)?;
    // A row of which nothing was proven has no input left in any leaf.
    Ok(least.into_iter().map(|x| x.min(f64::MAX)).collect())
}

fn check_groups(
    network: &Network,
    input: &InputBox,
    space: &HalfSpace,
    hidden: &[Bounds],
    sets: &[LayerSets],
    (multipliers, groups): (&[Vec<f64>], &[GroupProof]),
    at: &str,
) -> Result<f64> {
    let reject = |reason: String| Error::CertificateRejected {
        at: at.to_owned(),
        reason,
    };
    let Some(last) = sets.last() else {
        return Err(reject(
            "there is no hidden layer to take groups of".to_owned(),
        ));
    };
    if !fits(multipliers, hidden) {
        return Err(reject("its multipliers do not fit the network".to_owned()));
    }
    let bounds = &hidden[hidden.len() - 1];
    let mut seen = vec![false; bounds.lower().len()];
    let mut found = Vec::with_capacity(groups.len());
    for GroupProof { neurons, tree } in groups {
        for &neuron in neurons {
            if seen
                .get_mut(neuron)
                .is_none_or(|seen| std::mem::replace(seen, true))
            {
                return Err(reject(format!(
                    "neuron {neuron} does not exist or is in two groups"
                )));
            }
        }
        let group = group_of(&last.zonotope, bounds, neurons)?;
        found.push(GroupSet {
            neurons: neurons.clone(),
            group,
            trees: vec![tree.clone()],
        });
    }
    let mut sets = sets.to_vec();
    let index = sets.len() - 1;
    sets[index] =
        LayerSets::new(Arc::clone(&last.zonotope), bounds, Vec::new())?.with_groups(found);
    let bound = node_bound(network, input, space, hidden, &sets, multipliers)?;
    distance(bound, space.bound).map_err(reject)
}

/// Multipliers of 32 bits as 64-bit numbers.
pub(crate) fn wide(multipliers: &[Vec<f32>]) -> Vec<Vec<f64>> {
    multipliers
        .iter()
        .map(|rho| rho.iter().map(|&x| f64::from(x)).collect())
        .collect()
}

fn check_boxes(
    network: &Network,
    input: &InputBox,
    spaces: &[HalfSpace],
    tree: &[InputNode],
    at: &str,
) -> Result<f64> {
    let boxes = Boxes::new(network);
    let reach = Reach::new(network, input);
    let check = |node: &InputNode, part: InputBox| match node {
        InputNode::Open => Err("it was left open".into()),
        InputNode::Leaf { weights } => {
            let space = combined(spaces, weights, &reach).ok_or(NO_COMBINATION)?;
            let (mut workspace, mut slopes) = <(Workspace, Vec<f64>)>::default();
            boxes.enter(&part, &mut workspace)?;
            let row = &space.coefficients;
            let mut value = boxes.bound(row, 1, &mut workspace, &mut slopes)[0];
            if value <= space.bound {
                value = boxes.ascend(row, space.bound, &mut workspace, &mut slopes);
            }
            Ok(Checked {
                proven: vec![(0, per_weight(distance(value, space.bound)?, weights))],
                children: Vec::new(),
            })
        }
        &InputNode::Split {
            input,
            at,
            below,
            above,
        } => {
            let (low, high) = part.bisect(input, at).ok_or("it cuts outside its box")?;
            Ok(Checked {
                proven: Vec::new(),
                children: vec![(below, low), (above, high)],
            })
        }
    };
    Ok(walk(tree, input.clone(), 1, at, check)?[0])
}
