//! Which axes of a network's tensors can be permuted together without changing what it computes.
//!
//! Every index of every axis that a layer's units lie along is a node of a union-find; layers tie the indices that they
//! pair (a convolution's input channel 3 with index 3 of its weight's second axis, a sum's channel 3 on both sides). A
//! class of tied indices is a *unit*: it moves as one. Units that occupy the same axes equally often are interchangeable
//! and make a *group*. Working on single indices, and not on whole axes, also covers shortcuts that pad with zero
//! channels (part of a stage's stream follows the stage before) and flattening (a channel is a run of columns).
//!
//! Units that reach the input or the logits are fixed, and so are queries, keys and values of attention.

use std::collections::BTreeMap;

use burn::tensor::{Int, Tensor, TensorData};

use super::topology::{Operation, Topology};
use crate::parameters::{Parameters, is_buffer};
use crate::{Error, Result};

/// All permutation groups of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AxisGroups {
    groups: Vec<AxisGroup>,
}

/// Units that can change places, and where each of them is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AxisGroup {
    /// Name of the first tensor in order and the axis, `layer2.0.conv1.weight:0`; a number follows where two groups
    /// share them.
    pub name: String,
    /// Number of units.
    pub size: usize,
    /// The axes of tensors that the units lie along. Tensors come in the network's order; one can come with two axes.
    pub parameters: Vec<ParameterAxis>,
    /// The nodes whose outputs have the units as channels (or positions of their width).
    pub activations: Vec<ActivationAxis>,
}

/// Where the units of a group lie along an axis of a tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParameterAxis {
    /// Name of the tensor.
    pub parameter: String,
    /// Whether it is a running statistic and not a trained parameter.
    pub is_buffer: bool,
    /// The axis.
    pub axis: usize,
    /// Indices along the axis: as many for every unit, those of unit 0 first. `0..size` where the units are the axis.
    pub indices: Vec<usize>,
}

/// Where the units of a group lie in the output of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActivationAxis {
    /// Position of the node in [`Topology::nodes`].
    pub node: usize,
    /// Its name.
    pub name: String,
    /// Index of every unit among the rows of [`Activation::by_unit`](super::Activation::by_unit); as many for every unit.
    pub indices: Vec<usize>,
}

impl AxisGroups {
    /// The groups of a network, in the order of their first tensors.
    pub fn of(topology: &Topology) -> Self {
        Ties::of(topology).groups(topology)
    }

    /// The groups.
    pub fn iter(&self) -> impl Iterator<Item = &AxisGroup> {
        self.groups.iter()
    }

    /// Number of groups.
    pub fn len(&self) -> usize {
        self.groups.len()
    }

    /// Whether nothing can be permuted.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// The group of this name.
    pub fn get(&self, name: &str) -> Option<&AxisGroup> {
        self.groups.iter().find(|group| group.name == name)
    }
}

impl AxisGroup {
    /// The tensors with the units in another order: unit `i` of the result is unit `permutation[i]` of these. Tensors that
    /// are not there are passed over, so this works on parameters, on buffers and on both together.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`] if the permutation is not one of the group's units, [`Error::Parameter`] if a tensor's
    /// axis is too short.
    pub fn permute(&self, permutation: &[usize], values: &Parameters) -> Result<Parameters> {
        let mut seen = vec![false; self.size];
        let good = |&unit: &usize| unit < self.size && !std::mem::replace(&mut seen[unit], true);
        if permutation.len() != self.size || !permutation.iter().all(good) {
            return Err(Error::InvalidInput {
                reason: format!(
                    "not a permutation of the {} units of `{}`",
                    self.size, self.name
                ),
            });
        }
        let mut permuted = values.clone();
        for at in &self.parameters {
            let Some(shape) = values.shape(&at.parameter).map(<[usize]>::to_vec) else {
                continue;
            };
            let length = shape.get(at.axis).copied().unwrap_or(0);
            if at.indices.iter().any(|&index| index >= length) {
                return Err(Error::Parameter {
                    name: at.parameter.clone(),
                    reason: format!("has the shape {shape:?}, too small for `{}`", self.name),
                });
            }
            let order = at.order(permutation, length);
            let before = shape[..at.axis].iter().product();
            let after = shape[at.axis + 1..].iter().product();
            permuted = permuted.map(|name, flat| {
                if name != at.parameter {
                    return flat;
                }
                let count = flat.dims()[0];
                let order = TensorData::new(order.clone(), [length]);
                let order = Tensor::<1, Int>::from_data(order, &flat.device());
                let values: Tensor<3> = flat.reshape([before, length, after]);
                values.select(1, order).reshape([count])
            });
        }
        Ok(permuted)
    }
}

impl ParameterAxis {
    /// Indices that a unit has along the axis.
    pub fn of_unit(&self, unit: usize, size: usize) -> &[usize] {
        let each = self.indices.len() / size;
        &self.indices[unit * each..(unit + 1) * each]
    }

    /// For every index of the axis the index whose values come there.
    fn order(&self, permutation: &[usize], length: usize) -> Vec<i64> {
        let mut order: Vec<i64> = (0..length as i64).collect();
        for (unit, &from) in permutation.iter().enumerate() {
            let (to, from) = (
                self.of_unit(unit, permutation.len()),
                self.of_unit(from, permutation.len()),
            );
            for (&to, &from) in to.iter().zip(from) {
                order[to] = from as i64;
            }
        }
        order
    }
}

/// Union-find over indices of axes.
struct Ties {
    parents: Vec<usize>,
    /// First element of the axes of every tensor that units can lie along.
    axes: BTreeMap<(usize, usize), usize>,
    /// Element of every channel (or position of the width) of every node.
    outputs: Vec<Vec<usize>>,
}

/// The element that everything fixed is tied to.
const FIXED: usize = 0;

impl Ties {
    fn of(topology: &Topology) -> Self {
        let mut ties = Self {
            parents: vec![FIXED],
            axes: BTreeMap::new(),
            outputs: Vec::new(),
        };
        for node in topology.nodes() {
            let input = node
                .inputs
                .first()
                .map(|&input| ties.outputs[input].clone());
            let input = input.unwrap_or_default();
            let axis = |ties: &mut Self, n: usize, axis: usize| match node.tensors.get(n) {
                Some(&tensor) => ties.axis(topology, tensor, axis),
                None => Vec::new(),
            };
            let output = match node.operation {
                Operation::Input => vec![FIXED; node.shape[0]],
                Operation::Conv2d { .. } | Operation::Linear => {
                    let inputs = axis(&mut ties, 0, 1);
                    ties.tie(&input, &inputs);
                    let (outputs, bias) = (axis(&mut ties, 0, 0), axis(&mut ties, 1, 0));
                    ties.tie(&outputs, &bias);
                    outputs
                }
                Operation::BatchNorm { .. } | Operation::LayerNorm { .. } => {
                    for n in 0..node.tensors.len() {
                        let own = axis(&mut ties, n, 0);
                        ties.tie(&input, &own);
                    }
                    input
                }
                Operation::Tokens => {
                    for n in 0..2 {
                        let own = axis(&mut ties, n, 2);
                        ties.tie(&input, &own);
                    }
                    input
                }
                Operation::Attention { .. } => {
                    let inputs = axis(&mut ties, 0, 1);
                    ties.tie(&input, &inputs);
                    let (outputs, bias) = (axis(&mut ties, 2, 0), axis(&mut ties, 3, 0));
                    ties.tie(&outputs, &bias);
                    outputs
                }
                Operation::Add => {
                    let other = ties.outputs[node.inputs[1]].clone();
                    ties.tie(&input, &other);
                    input
                }
                Operation::PadChannels { before, after } => {
                    let before = ties.fresh(before);
                    let after = ties.fresh(after);
                    before.chain(input).chain(after).collect()
                }
                Operation::Flatten => {
                    let positions = node.shape[0] / input.len().max(1);
                    let repeat = |element| std::iter::repeat_n(element, positions);
                    input.into_iter().flat_map(repeat).collect()
                }
                _ => input,
            };
            ties.outputs.push(output);
        }
        for element in ties.outputs[topology.output()].clone() {
            ties.union(element, FIXED);
        }
        ties
    }

    fn groups(mut self, topology: &Topology) -> AxisGroups {
        // Where every unit occurs: (tensor, axis) to indices.
        let mut units: BTreeMap<usize, BTreeMap<(usize, usize), Vec<usize>>> = BTreeMap::new();
        for (&(tensor, axis), &start) in &self.axes.clone() {
            for index in 0..topology.tensors()[tensor].shape[axis] {
                let unit = self.find(start + index);
                if unit != self.find(FIXED) {
                    units
                        .entry(unit)
                        .or_default()
                        .entry((tensor, axis))
                        .or_default()
                        .push(index);
                }
            }
        }
        // Units by what they occupy; in the order of their first index.
        let mut groups: BTreeMap<Vec<(usize, usize, usize)>, Vec<usize>> = BTreeMap::new();
        for (&unit, places) in &units {
            let occupies = places
                .iter()
                .map(|(&(t, a), indices)| (t, a, indices.len()))
                .collect();
            groups.entry(occupies).or_default().push(unit);
        }
        let mut found: Vec<AxisGroup> = Vec::new();
        for (places, mut members) in groups {
            if members.len() < 2 || places.len() < 2 {
                continue;
            }
            let (tensor, axis, _) = places[0];
            members.sort_by_key(|unit| units[unit][&(tensor, axis)][0]);
            let first = format!("{}:{axis}", topology.tensors()[tensor].name);
            let same = |group: &&AxisGroup| group.name.split('#').next() == Some(&first);
            let name = match found.iter().filter(same).count() {
                0 => first,
                n => format!("{first}#{}", n + 1),
            };
            let parameters = places.iter().map(|&(tensor, axis, _)| {
                let parameter = topology.tensors()[tensor].name.clone();
                let of = |unit| units[unit][&(tensor, axis)].iter().copied();
                ParameterAxis {
                    is_buffer: is_buffer(&parameter),
                    parameter,
                    axis,
                    indices: members.iter().flat_map(of).collect(),
                }
            });
            found.push(AxisGroup {
                name,
                size: members.len(),
                parameters: parameters.collect(),
                activations: self.activations(topology, &members),
            });
        }
        AxisGroups { groups: found }
    }

    fn activations(&mut self, topology: &Topology, members: &[usize]) -> Vec<ActivationAxis> {
        let mut found = Vec::new();
        for (position, node) in topology.nodes().iter().enumerate() {
            let mut rows: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
            for (row, element) in self.outputs[position].clone().into_iter().enumerate() {
                rows.entry(self.find(element)).or_default().push(row);
            }
            let indices: Option<Vec<&Vec<usize>>> =
                members.iter().map(|unit| rows.get(unit)).collect();
            if let Some(indices) = indices {
                found.push(ActivationAxis {
                    node: position,
                    name: node.name.clone(),
                    indices: indices.into_iter().flatten().copied().collect(),
                });
            }
        }
        found
    }

    /// The elements of an axis of a tensor.
    fn axis(&mut self, topology: &Topology, tensor: usize, axis: usize) -> Vec<usize> {
        let length = topology.tensors()[tensor].shape[axis];
        let start = match self.axes.get(&(tensor, axis)) {
            Some(&start) => start,
            None => {
                let start = self.fresh(length).start;
                self.axes.insert((tensor, axis), start);
                start
            }
        };
        (start..start + length).collect()
    }

    fn fresh(&mut self, count: usize) -> std::ops::Range<usize> {
        let start = self.parents.len();
        self.parents.extend(start..start + count);
        start..start + count
    }

    fn tie(&mut self, a: &[usize], b: &[usize]) {
        for (&a, &b) in a.iter().zip(b) {
            self.union(a, b);
        }
    }

    fn union(&mut self, a: usize, b: usize) {
        let (a, b) = (self.find(a), self.find(b));
        // The smaller one stays the root, so that what is fixed is told by one comparison.
        self.parents[a.max(b)] = a.min(b);
    }

    fn find(&mut self, mut element: usize) -> usize {
        while self.parents[element] != element {
            self.parents[element] = self.parents[self.parents[element]];
            element = self.parents[element];
        }
        element
    }
}
