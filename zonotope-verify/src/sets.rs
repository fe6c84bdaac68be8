//! The sets over which the inner problems are solved: a hidden layer's neurons cut into single ones, pairs and groups.

use std::sync::Arc;

use rayon::prelude::*;

use crate::certify::box_minimum;
use crate::error::Result;
use crate::groups::{Group, SplitTree, certified_minimum};
use crate::interval::Bounds;
use crate::pairs::PreparedPair;
use crate::rounding::{UNDERFLOW, add_down, gamma};
use crate::zonotope::Zonotope;

/// How the neurons of one hidden layer are taken. Every neuron is in exactly one of the three.
#[derive(Debug, Clone)]
pub(crate) struct LayerSets {
    pub(crate) zonotope: Arc<Zonotope>,
    /// Neurons taken alone, by their boxes.
    pub(crate) boxed: Vec<usize>,
    /// Neurons taken two and two: the intersection of their zonotope and their boxes.
    pub(crate) pairs: Vec<[usize; 2]>,
    prepared: Arc<Vec<PreparedPair>>,
    /// Neurons taken together, with the trees and node duals found for them.
    pub(crate) groups: Vec<GroupSet>,
}

/// A group and a tree of node duals for every row of the objective.
#[derive(Debug, Clone)]
pub(crate) struct GroupSet {
    pub(crate) neurons: Vec<usize>,
    pub(crate) group: Group,
    pub(crate) trees: Vec<SplitTree>,
}

impl LayerSets {
    /// Pairs within the given bounds; all other neurons alone.
    pub(crate) fn new(
        zonotope: Arc<Zonotope>,
        bounds: &Bounds,
        pairs: Vec<[usize; 2]>,
    ) -> Result<Self> {
        let mut alone = vec![true; zonotope.dimension()];
        for &neuron in pairs.iter().flatten() {
            alone[neuron] = false;
        }
        let boxed = (0..alone.len()).filter(|&neuron| alone[neuron]).collect();
        let prepared = pairs
            .par_iter()
            .map(|&pair| PreparedPair::new(zonotope.rows(), bounds.lower(), bounds.upper(), pair))
            .collect::<Result<_>>()?;
        Ok(Self {
            zonotope,
            boxed,
            pairs,
            prepared: Arc::new(prepared),
            groups: Vec::new(),
        })
    }

    /// Takes some of the neurons that are alone in groups.
    pub(crate) fn with_groups(mut self, groups: Vec<GroupSet>) -> Self {
        let grouped: Vec<usize> = groups
            .iter()
            .flat_map(|set| set.neurons.iter().copied())
            .collect();
        self.boxed.retain(|neuron| !grouped.contains(neuron));
        self.groups = groups;
        self
    }

    /// The trees of one row, a group each.
    pub(crate) fn trees(&self, row: usize) -> Vec<SplitTree> {
        self.groups
            .iter()
            .map(|set| set.trees[row].clone())
            .collect()
    }

    /// Hands proven minima of `-rho z + c2 relu(z)` over the layer's sets to `add`; they sum up to the layer's share.
    ///
    /// `bounds` are those that the sets were made with, or those bounds cut by decisions on signs. `row` is the number of the objective's
    /// row, by which the node duals of groups are chosen.
    pub(crate) fn minima(
        &self,
        bounds: &Bounds,
        rho: &[f64],
        c2: &[f64],
        row: usize,
        mut add: impl FnMut(f64),
    ) {
        for &neuron in &self.boxed {
            add(box_minimum(bounds, neuron, -rho[neuron], c2[neuron]));
        }
        for (&[a, b], prepared) in self.pairs.iter().zip(self.prepared.iter()) {
            let minimum = prepared.minimum(
                self.zonotope.rows(),
                bounds.lower(),
                bounds.upper(),
                [-rho[a], -rho[b]],
                [c2[a], c2[b]],
            );
            // Where the bounds are tighter than those that the pair was made with, its boxes may say more.
            let alone = [a, b].map(|j| proven_box_minimum(bounds, j, -rho[j], c2[j]));
            add(minimum.max(add_down(alone[0], alone[1])));
        }
        for set in &self.groups {
            let c1: Vec<f64> = set.neurons.iter().map(|&j| -rho[j]).collect();
            let c2: Vec<f64> = set.neurons.iter().map(|&j| c2[j]).collect();
            add(certified_minimum(&set.group, &set.trees[row], &c1, &c2)
                .unwrap_or(f64::NEG_INFINITY));
        }
    }
}

/// [`box_minimum`] without its roundings: three of the products and the sum, and the underflow of the products.
fn proven_box_minimum(bounds: &Bounds, neuron: usize, c1: f64, c2: f64) -> f64 {
    let minimum = box_minimum(bounds, neuron, c1, c2);
    add_down(minimum, -(minimum.abs() * gamma(8) + 4.0 * UNDERFLOW))
}
