//! Proofs that can be stored, and checked without a tensor library and without trusting the search.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

pub use crate::ascent::Split;
use crate::certify::{Multipliers, Target, dual_values};
use crate::crown::{HiddenProof, replay};
use crate::dual::{group_of, zonotopes};
use crate::error::{Error, Result};
use crate::groups::SplitTree;
use crate::interval::Bounds;
use crate::network::Network;
use crate::sets::{GroupSet, LayerSets};
use crate::spec::{HalfSpace, InputBox, Spec};

/// A proof of a specification: what the search found, nothing that has to be believed.
///
/// It holds, for every case, the tree of its branch and bound, and for every leaf the multipliers of the dual function. [`Certificate::check`] computes all
/// bounds again from the network, in 64-bit arithmetic with rounding errors accounted for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Certificate {
    pub(crate) relaxations: Vec<RelaxationProof>,
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
    /// The box is cut into boxes, each safe by one half-space and plain CROWN.
    Inputs(Vec<InputNode>),
    /// The signs of neurons are decided, every leaf has multipliers.
    Activations {
        relaxation: usize,
        /// The half-space that no output satisfies.
        space: usize,
        tree: Vec<ActivationNode>,
    },
    /// No branching: groups of the last hidden layer instead of its pairs.
    Groups {
        relaxation: usize,
        space: usize,
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
        space: usize,
    },
    Split {
        input: usize,
        at: f64,
        below: usize,
        above: usize,
    },
}

/// A node of a tree of decisions; the root comes first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ActivationNode {
    Open,
    Leaf {
        multipliers: Vec<Vec<f32>>,
    },
    Split {
        layer: usize,
        neuron: usize,
        negative: usize,
        positive: usize,
    },
}

impl Certificate {
    /// Proves the specification again, from the numbers stored here.
    ///
    /// # Errors
    ///
    /// [`Error::CertificateRejected`], naming the first part that proves nothing; [`Error::ShapeMismatch`] if the specification does not fit the network.
    pub fn check(&self, network: &Network, spec: &Spec) -> Result<()> {
        spec.check_sizes(network.inputs(), network.outputs())?;
        let mut prepared: BTreeMap<(usize, usize), (Vec<Bounds>, Vec<LayerSets>)> = BTreeMap::new();
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
            let (relaxation, space) = match proof {
                CaseProof::Inputs(tree) => {
                    check_boxes(network, &case.input, &case.outputs, tree, &at)?;
                    continue;
                }
                CaseProof::Activations {
                    relaxation, space, ..
                }
                | CaseProof::Groups {
                    relaxation, space, ..
                } => (*relaxation, *space),
            };
            let shared = self
                .relaxations
                .get(relaxation)
                .ok_or_else(|| reject("its bounds are missing"))?;
            let space = case
                .outputs
                .get(space)
                .ok_or_else(|| reject("it names a half-space that does not exist"))?;
            // Cases over one box share the bounds; the first case with that box stands for all.
            let first = spec
                .cases
                .iter()
                .position(|other| other.input == case.input)
                .unwrap_or(index);
            let key = (relaxation, first);
            let (hidden, sets) = match prepared.entry(key) {
                Entry::Occupied(entry) => entry.into_mut(),
                Entry::Vacant(entry) => entry.insert(shared.prepare(network, &case.input)?),
            };
            match proof {
                CaseProof::Inputs(_) => {}
                CaseProof::Activations { tree, .. } => {
                    check_decisions(network, &case.input, space, hidden, sets, tree, &at)?;
                }
                CaseProof::Groups {
                    multipliers,
                    groups,
                    ..
                } => {
                    check_groups(
                        network,
                        &case.input,
                        space,
                        hidden,
                        sets,
                        (multipliers, groups),
                        &at,
                    )?;
                }
            }
        }
        Ok(())
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

impl RelaxationProof {
    /// The bounds and sets that all leaves rest on.
    fn prepare(
        &self,
        network: &Network,
        input: &InputBox,
    ) -> Result<(Vec<Bounds>, Vec<LayerSets>)> {
        if matches!(self.hidden, HiddenProof::Given(_)) {
            return Err(Error::CertificateRejected {
                at: "bounds of the hidden layers".to_owned(),
                reason: "they were given, not proven".to_owned(),
            });
        }
        let mut hidden = replay(network, input, &self.hidden)?;
        let zonotopes = zonotopes(network, input, &mut hidden)?;
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

/// The bounds of the hidden layers under some decisions; `None` if they contradict each other, so that nothing is left to prove.
pub(crate) fn decided(hidden: &[Bounds], splits: &[Split]) -> Result<Option<Vec<Bounds>>> {
    let mut lower: Vec<Vec<f64>> = hidden
        .iter()
        .map(|bounds| bounds.lower().to_vec())
        .collect();
    let mut upper: Vec<Vec<f64>> = hidden
        .iter()
        .map(|bounds| bounds.upper().to_vec())
        .collect();
    for split in splits {
        if split.positive {
            lower[split.layer][split.neuron] = lower[split.layer][split.neuron].max(0.0);
        } else {
            upper[split.layer][split.neuron] = upper[split.layer][split.neuron].min(0.0);
        }
        if lower[split.layer][split.neuron] > upper[split.layer][split.neuron] {
            return Ok(None);
        }
    }
    lower
        .into_iter()
        .zip(upper)
        .map(|(lower, upper)| Bounds::new(lower, upper))
        .collect::<Result<_>>()
        .map(Some)
}

/// The proven bound of one node: of `coefficients y` under some decisions.
pub(crate) fn node_bound(
    network: &Network,
    input: &InputBox,
    space: &HalfSpace,
    hidden: &[Bounds],
    sets: &[LayerSets],
    splits: &[Split],
    multipliers: &[Vec<f64>],
) -> Result<f64> {
    let Some(bounds) = decided(hidden, splits)? else {
        return Ok(f64::INFINITY);
    };
    let target = Target {
        map: hidden.len(),
        rows: 1,
        coefficients: space.coefficients.clone(),
    };
    let values = dual_values(
        network,
        input,
        &bounds,
        &target,
        Multipliers::Given(multipliers),
        Some(sets),
    )?;
    Ok(values.values[0])
}

/// Proven lower bounds of the rows of half-spaces over a box, by CROWN on every layer, and the multipliers.
pub(crate) fn box_bounds(
    network: &Network,
    input: &InputBox,
    spaces: &[HalfSpace],
) -> Result<(Vec<f64>, Vec<Vec<f64>>)> {
    let hidden = replay(network, input, &HiddenProof::Crown)?;
    let coefficients = spaces
        .iter()
        .flat_map(|space| space.coefficients.iter().copied())
        .collect();
    let target = Target {
        map: hidden.len(),
        rows: spaces.len(),
        coefficients,
    };
    let values = dual_values(
        network,
        input,
        &hidden,
        &target,
        Multipliers::Adaptive,
        None,
    )?;
    Ok((values.values, values.multipliers))
}

fn check_decisions(
    network: &Network,
    input: &InputBox,
    space: &HalfSpace,
    hidden: &[Bounds],
    sets: &[LayerSets],
    tree: &[ActivationNode],
    at: &str,
) -> Result<()> {
    let reject = |node: usize, reason: &str| Error::CertificateRejected {
        at: format!("{at}, node {node}"),
        reason: reason.to_owned(),
    };
    let mut visited = vec![false; tree.len()];
    let mut stack = vec![(0_usize, Vec::new())];
    let mut leaves = Vec::new();
    while let Some((node, splits)) = stack.pop() {
        match visited.get_mut(node) {
            None => return Err(reject(node, "it does not exist")),
            Some(true) => return Err(reject(node, "it is reached twice")),
            Some(visited) => *visited = true,
        }
        match &tree[node] {
            ActivationNode::Open => return Err(reject(node, "it was left open")),
            ActivationNode::Leaf { multipliers } => leaves.push((node, splits, multipliers)),
            ActivationNode::Split {
                layer,
                neuron,
                negative,
                positive,
            } => {
                let exists = hidden
                    .get(*layer)
                    .is_some_and(|bounds| *neuron < bounds.lower().len());
                if !exists {
                    return Err(reject(node, "it decides on a neuron that does not exist"));
                }
                for (child, sign) in [(*negative, false), (*positive, true)] {
                    let mut splits: Vec<Split> = splits.clone();
                    splits.push(Split {
                        layer: *layer,
                        neuron: *neuron,
                        positive: sign,
                    });
                    stack.push((child, splits));
                }
            }
        }
    }
    leaves
        .into_par_iter()
        .try_for_each(|(node, splits, multipliers)| {
            let fits = multipliers.len() == hidden.len()
                && multipliers
                    .iter()
                    .zip(hidden)
                    .all(|(rho, bounds)| rho.len() == bounds.lower().len());
            if !fits {
                return Err(reject(node, "its multipliers do not fit the network"));
            }
            let multipliers = wide(multipliers);
            let bound = node_bound(network, input, space, hidden, sets, &splits, &multipliers)?;
            if bound > space.bound {
                Ok(())
            } else {
                Err(reject(
                    node,
                    &format!("its bound {bound} does not exceed {}", space.bound),
                ))
            }
        })
}

fn check_groups(
    network: &Network,
    input: &InputBox,
    space: &HalfSpace,
    hidden: &[Bounds],
    sets: &[LayerSets],
    (multipliers, groups): (&[Vec<f64>], &[GroupProof]),
    at: &str,
) -> Result<()> {
    let reject = |reason: String| Error::CertificateRejected {
        at: at.to_owned(),
        reason,
    };
    let Some(last) = sets.last() else {
        return Err(reject(
            "there is no hidden layer to take groups of".to_owned(),
        ));
    };
    let fits = multipliers.len() == hidden.len()
        && multipliers
            .iter()
            .zip(hidden)
            .all(|(rho, bounds)| rho.len() == bounds.lower().len());
    if !fits {
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
    let bound = node_bound(network, input, space, hidden, &sets, &[], multipliers)?;
    if bound > space.bound {
        Ok(())
    } else {
        Err(reject(format!(
            "its bound {bound} does not exceed {}",
            space.bound
        )))
    }
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
) -> Result<()> {
    let reject = |node: usize, reason: &str| Error::CertificateRejected {
        at: format!("{at}, node {node}"),
        reason: reason.to_owned(),
    };
    let mut visited = vec![false; tree.len()];
    let mut stack = vec![(0_usize, input.clone())];
    let mut leaves = Vec::new();
    while let Some((node, part)) = stack.pop() {
        match visited.get_mut(node) {
            None => return Err(reject(node, "it does not exist")),
            Some(true) => return Err(reject(node, "it is reached twice")),
            Some(visited) => *visited = true,
        }
        match &tree[node] {
            InputNode::Open => return Err(reject(node, "it was left open")),
            InputNode::Leaf { space } => leaves.push((node, part, *space)),
            InputNode::Split {
                input,
                at,
                below,
                above,
            } => {
                let (low, high) = part
                    .bisect(*input, *at)
                    .ok_or_else(|| reject(node, "it cuts outside its box"))?;
                stack.push((*below, low));
                stack.push((*above, high));
            }
        }
    }
    leaves.into_par_iter().try_for_each(|(node, part, space)| {
        let space = spaces
            .get(space)
            .ok_or_else(|| reject(node, "it names a half-space that does not exist"))?;
        let (values, _) = box_bounds(network, &part, std::slice::from_ref(space))?;
        if values[0] > space.bound {
            Ok(())
        } else {
            Err(reject(
                node,
                &format!("its bound {} does not exceed {}", values[0], space.bound),
            ))
        }
    })
}
