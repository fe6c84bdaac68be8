//! What a point is projected on: the nodes, segments or triangles of a grid, and the tree that finds the nearest.

use serde::{Deserialize, Serialize};

use crate::domain::Grid;

/// How a map continues between the nodes of its grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Interpolation {
    /// Not at all: distances are to the nearest node, which overestimates them by up to half the distance of nodes.
    Nodes,
    /// Linearly, along segments or over triangles. The default, except on the cube.
    Linear,
}

/// The elements of a grid: each has as many vertices as the others, the nodes that it spans.
pub(crate) struct Elements {
    /// Vertices of an element: 1, 2 or 3.
    width: usize,
    vertices: Vec<u32>,
    /// Where each element begins in `neighbours`, and their end.
    neighbour_starts: Vec<usize>,
    neighbours: Vec<u32>,
    tree: Tree,
}

/// A binary tree over elements, which lie close together on the grid where they are close in the tree. Its shape does not depend on the map.
pub(crate) struct Tree {
    /// Elements in the order of the leaves.
    order: Vec<u32>,
    branches: Vec<Branch>,
}

/// A range of the tree's elements. Its first child follows it, its second is at `second`, 0 if this is a leaf.
#[derive(Clone, Copy)]
pub(crate) struct Branch {
    pub(crate) begin: u32,
    pub(crate) end: u32,
    pub(crate) second: u32,
}

impl Elements {
    /// The elements of a grid.
    pub(crate) fn new(grid: Grid, interpolation: Interpolation) -> Self {
        let (width, vertices) = match (interpolation, grid.domain().dimension()) {
            (Interpolation::Linear, 1) => (2, segments(grid)),
            (Interpolation::Linear, 2) => (3, triangles(grid)),
            _ => (1, (0..grid.len() as u32).collect()),
        };
        let count = vertices.len() / width;
        // Elements at each node, by counting.
        let mut starts = vec![0usize; grid.len() + 1];
        for &node in &vertices {
            starts[node as usize + 1] += 1;
        }
        for node in 0..grid.len() {
            starts[node + 1] += starts[node];
        }
        let mut at_node = vec![0u32; vertices.len()];
        let mut next = starts.clone();
        for (place, &node) in vertices.iter().enumerate() {
            at_node[next[node as usize]] = (place / width) as u32;
            next[node as usize] += 1;
        }
        let mut neighbour_starts = vec![0];
        let mut neighbours: Vec<u32> = Vec::new();
        let mut found: Vec<u32> = Vec::new();
        for element in 0..count {
            found.clear();
            if width == 1 {
                found.extend(nodes_around(grid, element));
            } else {
                for &node in &vertices[element * width..(element + 1) * width] {
                    let node = node as usize;
                    found.extend_from_slice(&at_node[starts[node]..starts[node + 1]]);
                }
            }
            found.sort_unstable();
            found.dedup();
            found.retain(|&other| other as usize != element);
            // The element itself comes first.
            neighbours.push(element as u32);
            neighbours.extend_from_slice(&found);
            neighbour_starts.push(neighbours.len());
        }
        let tree = Tree::new(grid, width, &vertices);
        Self {
            width,
            vertices,
            neighbour_starts,
            neighbours,
            tree,
        }
    }

    /// The number of elements.
    pub(crate) fn len(&self) -> usize {
        self.vertices.len() / self.width
    }

    /// Vertices of an element.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// The nodes that an element spans.
    pub(crate) fn vertices(&self, element: usize) -> &[u32] {
        &self.vertices[element * self.width..(element + 1) * self.width]
    }

    /// The element itself and those that share a node with it.
    pub(crate) fn neighbours(&self, element: usize) -> &[u32] {
        &self.neighbours[self.neighbour_starts[element]..self.neighbour_starts[element + 1]]
    }

    pub(crate) fn tree(&self) -> &Tree {
        &self.tree
    }
}

impl Tree {
    /// Elements of a leaf.
    const LEAF: usize = 4;

    fn new(grid: Grid, width: usize, vertices: &[u32]) -> Self {
        let m = grid.domain().dimension();
        let count = vertices.len() / width;
        let mut order: Vec<u32> = (0..count as u32).collect();
        if m > 1 {
            // By the first vertex, with the places along the axes interleaved bit by bit: blocks of the grid stay together.
            order.sort_by_key(|&element| {
                let node = vertices[element as usize * width] as usize;
                let places: Vec<usize> = (0..m)
                    .map(|axis| node / grid.stride(axis) % grid.side())
                    .collect();
                let mut key = 0u64;
                for bit in (0..20).rev() {
                    for place in &places {
                        key = key << 1 | (place >> bit & 1) as u64;
                    }
                }
                (key, element)
            });
        }
        let mut branches = Vec::new();
        split(&mut branches, 0, count as u32);
        Self { order, branches }
    }

    pub(crate) fn order(&self) -> &[u32] {
        &self.order
    }

    pub(crate) fn branches(&self) -> &[Branch] {
        &self.branches
    }
}

fn split(branches: &mut Vec<Branch>, begin: u32, end: u32) {
    let place = branches.len();
    branches.push(Branch {
        begin,
        end,
        second: 0,
    });
    if (end - begin) as usize > Tree::LEAF {
        let middle = begin + (end - begin) / 2;
        split(branches, begin, middle);
        branches[place].second = branches.len() as u32;
        split(branches, middle, end);
    }
}

fn segments(grid: Grid) -> Vec<u32> {
    (0..grid.cells(0))
        .flat_map(|cell| [cell as u32, grid.node(&[cell + 1]) as u32])
        .collect()
}

/// Each cell is cut along a diagonal; the diagonals alternate like the colours of a chessboard, so that none is preferred.
fn triangles(grid: Grid) -> Vec<u32> {
    let mut vertices = Vec::with_capacity(6 * grid.cells(0) * grid.cells(1));
    for i in 0..grid.cells(0) {
        for j in 0..grid.cells(1) {
            let corner = |a: usize, b: usize| grid.node(&[i + a, j + b]) as u32;
            let (a, b, c, d) = (corner(0, 0), corner(1, 0), corner(0, 1), corner(1, 1));
            if (i + j).is_multiple_of(2) {
                vertices.extend([a, b, d, a, d, c]);
            } else {
                vertices.extend([a, b, c, b, d, c]);
            }
        }
    }
    vertices
}

/// The nodes at most one step away along every axis.
fn nodes_around(grid: Grid, node: usize) -> Vec<u32> {
    let side = grid.side();
    let mut around = vec![0usize];
    for (axis, &periodic) in grid.domain().periodic().iter().enumerate() {
        let stride = grid.stride(axis);
        let place = node / stride % side;
        let mut places = vec![place];
        if place > 0 || periodic {
            places.push((place + side - 1) % side);
        }
        if place + 1 < side || periodic {
            places.push((place + 1) % side);
        }
        around = around
            .iter()
            .flat_map(|base| places.iter().map(move |place| base + place * stride))
            .collect();
    }
    around.into_iter().map(|node| node as u32).collect()
}
