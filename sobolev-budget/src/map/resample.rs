//! The same map on another grid, and curves of constant speed.

use super::GridMap;
use crate::{Domain, Grid, Result};

impl GridMap {
    /// The map on a grid of `side` nodes along each axis: interpolated linearly, or with `cubic` by polynomials of degree 3 through the four
    /// nearest nodes, which keeps second derivatives bounded.
    ///
    /// # Errors
    /// As [`Grid::new`].
    pub fn resample(&self, side: usize, cubic: bool) -> Result<Self> {
        let grid = Grid::new(self.grid.domain(), side)?;
        let m = grid.domain().dimension();
        let mut values = self.values.clone();
        // One axis after the other; the axes before it have the new number of nodes already.
        for axis in 0..m {
            let periodic = grid.domain().periodic()[axis];
            let inner = self.grid.side().pow((m - 1 - axis) as u32) * self.dimension;
            let old = self.grid.side();
            let outer = values.len() / (inner * old);
            let mut next = vec![0.0; outer * side * inner];
            for place in 0..side {
                let at = place as f64 * grid.spacing(axis) / self.grid.spacing(axis);
                for (from, share) in stencil(at, old, periodic, cubic) {
                    for block in 0..outer {
                        let source = &values[(block * old + from) * inner..][..inner];
                        let target = &mut next[(block * side + place) * inner..][..inner];
                        for (t, s) in target.iter_mut().zip(source) {
                            *t += share * s;
                        }
                    }
                }
            }
            values = next;
        }
        Ok(Self::trusted(
            grid,
            self.interpolation,
            self.dimension,
            values,
        ))
    }

    /// The curve with its nodes at equal distances along it: of all ways to run through a curve, constant speed has the least cost of order 1.
    /// Other maps come back as they are.
    #[must_use]
    pub fn respaced(&self) -> Self {
        let closed = match self.grid.domain() {
            Domain::Interval => false,
            Domain::Circle => true,
            _ => return self.clone(),
        };
        let steps = self.steps();
        let length: f64 = steps.iter().sum();
        if length == 0.0 {
            return self.clone();
        }
        let n = self.dimension;
        let mut values = vec![0.0; self.values.len()];
        let (mut cell, mut before) = (0, 0.0);
        for node in 0..self.grid.len() {
            let at = length * node as f64 / steps.len() as f64;
            while cell + 1 < steps.len() && before + steps[cell] < at {
                before += steps[cell];
                cell += 1;
            }
            let t = if steps[cell] > 0.0 {
                ((at - before) / steps[cell]).clamp(0.0, 1.0)
            } else {
                0.0
            };
            let next = if closed {
                (cell + 1) % self.grid.len()
            } else {
                cell + 1
            };
            let (a, b) = (self.value(cell), self.value(next));
            for axis in 0..n {
                values[node * n + axis] = a[axis] + t * (b[axis] - a[axis]);
            }
        }
        Self::trusted(self.grid, self.interpolation, n, values)
    }
}

/// Nodes and their shares for a place in units of the spacing.
fn stencil(at: f64, nodes: usize, periodic: bool, cubic: bool) -> Vec<(usize, f64)> {
    let width = if cubic { nodes.min(4) } else { 2 };
    let cell = at.floor() as isize;
    let first = cell - (width as isize - 1) / 2;
    let first = if periodic {
        first
    } else {
        first.clamp(0, nodes as isize - width as isize)
    };
    (0..width as isize)
        .map(|i| {
            // Lagrange's polynomial.
            let share: f64 = (0..width as isize)
                .filter(|j| *j != i)
                .map(|j| (at - (first + j) as f64) / (i - j) as f64)
                .product();
            ((first + i).rem_euclid(nodes as isize) as usize, share)
        })
        .filter(|(_, share)| *share != 0.0)
        .collect()
}
