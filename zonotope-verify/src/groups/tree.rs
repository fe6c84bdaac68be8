//! The tree of sign decisions: which cases a bound distinguishes, in a form that cannot leave one out.

use serde::{Deserialize, Serialize};

use super::Group;
use crate::error::{Error, Result};

/// One case: a part of the group's box, and the multipliers that prove a bound there.
#[derive(Debug, Clone, PartialEq)]
pub struct Leaf {
    /// Lower bounds of the coordinates.
    pub lower: Vec<f64>,
    /// Upper bounds of the coordinates.
    pub upper: Vec<f64>,
    /// A multiplier a coordinate; any number is valid.
    pub nu: Vec<f64>,
}

/// Case distinctions on the signs of coordinates, with the multipliers of every case.
///
/// The nodes are stored in the order of a walk that visits a node, then its whole non-positive side, then its whole non-negative side.
/// Boxes are not stored: they follow from the group's box and the decisions. So whatever list of nodes ends in a complete tree covers
/// the box, and nothing else has to be checked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SplitTree {
    nodes: Vec<SplitNode>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum SplitNode {
    /// `z_j <= 0`, then `z_j >= 0`.
    #[serde(rename = "split")]
    Split(usize),
    /// The multipliers of a case.
    #[serde(rename = "nu")]
    Leaf(Vec<f64>),
}

impl SplitTree {
    /// The tree of one case, the whole box.
    #[must_use]
    pub fn single(nu: Vec<f64>) -> Self {
        Self {
            nodes: vec![SplitNode::Leaf(nu)],
        }
    }

    pub(super) fn from_nodes(nodes: Vec<SplitNode>) -> Self {
        Self { nodes }
    }

    pub(super) fn nodes(&self) -> &[SplitNode] {
        &self.nodes
    }

    /// Number of cases.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes
            .iter()
            .filter(|node| matches!(node, SplitNode::Leaf(_)))
            .count()
    }

    /// Whether there is no case, which is true of no tree that [`Group::search`] made.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The cases with their boxes, in the order of the walk. Together they cover the box of `group`.
    ///
    /// # Errors
    ///
    /// [`Error::CertificateRejected`] if the nodes form no tree, a decision is about a coordinate that the group lacks or that cannot
    /// have both signs there, or a case has not one multiplier a coordinate.
    pub fn leaves(&self, group: &Group) -> Result<Vec<Leaf>> {
        let mut leaves = Vec::new();
        let mut open = vec![(group.lower().to_vec(), group.upper().to_vec())];
        for (position, node) in self.nodes.iter().enumerate() {
            let Some((lower, upper)) = open.pop() else {
                return Err(rejected(position, "a node after the end of the tree"));
            };
            match node {
                SplitNode::Split(j) => {
                    let [below, above] = match (lower.get(*j), upper.get(*j)) {
                        (Some(&l), Some(&u)) if l < 0.0 && u > 0.0 => halves(lower, upper, *j),
                        _ => return Err(rejected(position, "a decision that is none")),
                    };
                    open.push(above);
                    open.push(below);
                }
                SplitNode::Leaf(nu) if nu.len() == group.len() => {
                    leaves.push(Leaf {
                        lower,
                        upper,
                        nu: nu.clone(),
                    });
                }
                SplitNode::Leaf(_) => {
                    return Err(rejected(position, "a wrong number of multipliers"));
                }
            }
        }
        if !open.is_empty() {
            return Err(rejected(self.nodes.len(), "the tree ends too early"));
        }
        Ok(leaves)
    }

    /// The same cases with other multipliers, one list a case in the order of [`SplitTree::leaves`].
    ///
    /// # Errors
    ///
    /// [`Error::ShapeMismatch`] if there are not as many lists as cases.
    pub fn with_multipliers(&self, multipliers: Vec<Vec<f64>>) -> Result<Self> {
        let found = multipliers.len();
        if found != self.len() {
            return Err(Error::ShapeMismatch {
                layer: "multipliers of a split tree".to_owned(),
                expected: format!("{} lists", self.len()),
                found: found.to_string(),
            });
        }
        let mut multipliers = multipliers.into_iter();
        let nodes = self
            .nodes
            .iter()
            .map(|node| match node {
                SplitNode::Split(j) => SplitNode::Split(*j),
                SplitNode::Leaf(nu) => {
                    SplitNode::Leaf(multipliers.next().unwrap_or_else(|| nu.clone()))
                }
            })
            .collect();
        Ok(Self { nodes })
    }

    /// The tree for a group with the same coordinates in a smaller box: decisions that the box has made already fall away, with the
    /// cases that it excludes. This is how a node of a branch and bound starts from its parent's tree.
    ///
    /// # Errors
    ///
    /// As [`SplitTree::leaves`]; a decision about a coordinate with one sign is no error here.
    pub fn restricted_to(&self, group: &Group) -> Result<Self> {
        let mut nodes = Vec::new();
        let mut open = vec![Some((group.lower().to_vec(), group.upper().to_vec()))];
        for (position, node) in self.nodes.iter().enumerate() {
            let Some(part) = open.pop() else {
                return Err(rejected(position, "a node after the end of the tree"));
            };
            match (node, part) {
                (SplitNode::Split(_), None) => open.extend([None, None]),
                (SplitNode::Leaf(_), None) => {}
                (SplitNode::Split(j), Some((lower, upper))) => {
                    let (Some(&l), Some(&u)) = (lower.get(*j), upper.get(*j)) else {
                        return Err(rejected(position, "a decision about no coordinate"));
                    };
                    if l >= 0.0 {
                        open.extend([Some((lower, upper)), None]);
                    } else if u <= 0.0 {
                        open.extend([None, Some((lower, upper))]);
                    } else {
                        nodes.push(SplitNode::Split(*j));
                        let [below, above] = halves(lower, upper, *j);
                        open.extend([Some(above), Some(below)]);
                    }
                }
                (SplitNode::Leaf(nu), Some(_)) => nodes.push(SplitNode::Leaf(nu.clone())),
            }
        }
        if !open.is_empty() {
            return Err(rejected(self.nodes.len(), "the tree ends too early"));
        }
        Ok(Self { nodes })
    }
}

type Part = (Vec<f64>, Vec<f64>);

/// The parts of a box where coordinate `j` is at most, and at least, zero.
pub(super) fn halves(lower: Vec<f64>, upper: Vec<f64>, j: usize) -> [Part; 2] {
    let mut middle_upper = upper.clone();
    middle_upper[j] = 0.0;
    let mut middle_lower = lower.clone();
    middle_lower[j] = 0.0;
    [(lower, middle_upper), (middle_lower, upper)]
}

fn rejected(position: usize, reason: &str) -> Error {
    Error::CertificateRejected {
        at: format!("node {position} of a split tree"),
        reason: reason.to_owned(),
    }
}
