//! Sobolev norms of maps, and their discretisation by differences on a grid.

use serde::{Deserialize, Serialize};

use crate::domain::Grid;
use crate::{Domain, Error, Result};

/// Which derivatives a budget counts.
///
/// Of each order j it is the integral of `|D^j f|^q`, where `|D^j f|` is the Frobenius norm of the tensor of all partial derivatives of
/// order j, over all coordinates of the map.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Norm {
    /// Those of order k alone. Maps may be moved for free, and for k of 2 or more also stretched and tilted.
    #[default]
    Seminorm,
    /// Those of all orders from 0 to k, each once: the norm of `W^{k,q}`, as in the paper. It depends on where the origin lies.
    Full,
    /// Those of all orders from 0 to k, with these factors.
    Weighted(Vec<f64>),
}

/// The cost of a map: `C(f)`, a norm or seminorm of `W^{k,q}`.
///
/// # Examples
/// ```
/// use sobolev_budget::{Domain, Smoothness};
///
/// // Curves that pay for their bending.
/// let bending = Smoothness::new(2);
/// bending.validate(Domain::Interval)?;
/// // A surface with square-integrable first derivatives may have spikes that cost nothing.
/// assert!(Smoothness::new(1).validate(Domain::Square).is_err());
/// assert!(Smoothness::new(1).with_exponent(3.0).validate(Domain::Square).is_ok());
/// # Ok::<(), sobolev_budget::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Smoothness {
    /// The order k of the highest derivatives, at least 1.
    pub order: usize,
    /// The exponent q, at least 1. Default 2.
    pub exponent: f64,
    /// Which derivatives count. Default: those of order k alone.
    pub norm: Norm,
}

impl Smoothness {
    /// The seminorm of order k with exponent 2.
    #[must_use]
    pub fn new(order: usize) -> Self {
        Self {
            order,
            exponent: 2.0,
            norm: Norm::Seminorm,
        }
    }

    /// Sets the exponent q.
    #[must_use]
    pub fn with_exponent(mut self, exponent: f64) -> Self {
        self.exponent = exponent;
        self
    }

    /// Sets which derivatives count.
    #[must_use]
    pub fn with_norm(mut self, norm: Norm) -> Self {
        self.norm = norm;
        self
    }

    /// Whether the problem on this domain has a solution.
    ///
    /// # Errors
    /// [`Error::Parameter`] if the order is 0 or above 8, the exponent less than 1 or above 64 or no number, or a factor negative or no number, or that of order k 0;
    /// [`Error::Size`] if there are not k + 1 factors; [`Error::Subcritical`] if the order times the exponent does not exceed the dimension of
    /// the domain.
    pub fn validate(&self, domain: Domain) -> Result<()> {
        if !(1..=8).contains(&self.order) {
            return Err(Error::Parameter {
                name: "the order k",
                requirement: "1 to 8",
                found: self.order as f64,
            });
        }
        if !(1.0..=64.0).contains(&self.exponent) {
            return Err(Error::Parameter {
                name: "the exponent q",
                requirement: "1 to 64",
                found: self.exponent,
            });
        }
        if let Norm::Weighted(factors) = &self.norm {
            if factors.len() != self.order + 1 {
                return Err(Error::Size {
                    what: "factors of derivatives of order 0 to k",
                    expected: self.order + 1,
                    found: factors.len(),
                });
            }
            if let Some(&found) = factors.iter().find(|c| !(c.is_finite() && **c >= 0.0)) {
                return Err(Error::Parameter {
                    name: "a factor of derivatives",
                    requirement: "finite and not negative",
                    found,
                });
            }
            if factors[self.order] == 0.0 {
                return Err(Error::Parameter {
                    name: "the factor of the highest derivatives",
                    requirement: "positive",
                    found: 0.0,
                });
            }
        }
        if self.order as f64 * self.exponent <= domain.dimension() as f64 {
            return Err(Error::Subcritical {
                order: self.order,
                exponent: self.exponent,
                dimension: domain.dimension(),
            });
        }
        Ok(())
    }

    /// The factor of each order that counts.
    fn factors(&self) -> Vec<(usize, f64)> {
        match &self.norm {
            Norm::Seminorm => vec![(self.order, 1.0)],
            Norm::Full => (0..=self.order).map(|order| (order, 1.0)).collect(),
            Norm::Weighted(factors) => factors
                .iter()
                .copied()
                .enumerate()
                .filter(|(_, factor)| *factor > 0.0)
                .collect(),
        }
    }

    /// The least order that counts: polynomials of lower degree are free.
    pub(crate) fn least_order(&self) -> usize {
        self.factors()[0].0
    }
}

/// A smoothness on a grid: differences of node values, grouped into the cells over which they are integrated.
///
/// The cost to the power q is the sum over cells of `weight |D f|^q`, and `|D f|^2` is the sum of the squares of the cell's rows.
pub(crate) struct Differences {
    exponent: f64,
    /// Where each row begins in `nodes` and `factors`, and their end.
    starts: Vec<usize>,
    nodes: Vec<u32>,
    factors: Vec<f64>,
    /// Where each cell begins in `rows`, and their end.
    cell_starts: Vec<usize>,
    rows: Vec<u32>,
    cell_weights: Vec<f64>,
}

impl Differences {
    /// The differences of a smoothness on a grid.
    pub(crate) fn new(smoothness: &Smoothness, grid: Grid) -> Result<Self> {
        smoothness.validate(grid.domain())?;
        let needed = smoothness.order + 1;
        if grid.side() < needed {
            return Err(Error::TooFewNodes {
                needed,
                found: grid.side(),
            });
        }
        let mut differences = Self {
            exponent: smoothness.exponent,
            starts: vec![0],
            nodes: Vec::new(),
            factors: Vec::new(),
            cell_starts: vec![0],
            rows: Vec::new(),
            cell_weights: Vec::new(),
        };
        for (order, factor) in smoothness.factors() {
            if order == 0 {
                differences.push_values(grid, factor);
            } else {
                differences.push_order(grid, order, factor);
            }
        }
        Ok(differences)
    }

    /// Order 0: the values themselves, by the trapezoid rule.
    fn push_values(&mut self, grid: Grid, factor: f64) {
        for node in 0..grid.len() {
            let mut weight = factor;
            for (axis, periodic) in grid.domain().periodic().iter().enumerate() {
                let place = node / grid.stride(axis) % grid.side();
                let edge = !periodic && (place == 0 || place + 1 == grid.side());
                weight *= grid.spacing(axis) * if edge { 0.5 } else { 1.0 };
            }
            self.nodes.push(node as u32);
            self.factors.push(1.0);
            self.starts.push(self.nodes.len());
            self.rows.push(self.starts.len() as u32 - 2);
            self.cell_starts.push(self.rows.len());
            self.cell_weights.push(weight);
        }
    }

    /// All partial derivatives of one order. A cell is a block of `order + 1` nodes along each axis, and holds each derivative at every place
    /// where its stencil fits into the block; so no oscillation of the grid is free.
    fn push_order(&mut self, grid: Grid, order: usize, factor: f64) {
        let m = grid.domain().dimension();
        let periodic = grid.domain().periodic();
        let cells: Vec<usize> = (0..m)
            .map(|axis| {
                if periodic[axis] {
                    grid.side()
                } else {
                    grid.side() - order
                }
            })
            .collect();
        // Row numbers by derivative and place of the stencil's first node.
        let mut tables = Vec::new();
        let indices = multi_indices(m, order);
        for index in &indices {
            let shifts: usize = index.iter().map(|a| order - a + 1).product();
            let scale = (multinomial(index) / shifts as f64).sqrt();
            let places: Vec<usize> = (0..m)
                .map(|axis| {
                    if periodic[axis] {
                        grid.side()
                    } else {
                        grid.side() - index[axis]
                    }
                })
                .collect();
            let begin = self.starts.len() - 1;
            for_each(&places, |at| self.push_row(grid, index, at, scale));
            tables.push((begin, places));
        }
        let count: usize = cells.iter().product();
        for_each(&cells, |at| {
            for (index, (begin, places)) in indices.iter().zip(&tables) {
                let shifts: Vec<usize> = index.iter().map(|a| order - a + 1).collect();
                for_each(&shifts, |shift| {
                    let row = (0..m).fold(0, |row, axis| {
                        row * places[axis] + (at[axis] + shift[axis]) % places[axis].max(1)
                    });
                    self.rows.push((begin + row) as u32);
                });
            }
            self.cell_starts.push(self.rows.len());
            self.cell_weights.push(factor / count as f64);
        });
    }

    /// One partial derivative by forward differences from the node at `at`.
    fn push_row(&mut self, grid: Grid, index: &[usize], at: &[usize], scale: f64) {
        let extents: Vec<usize> = index.iter().map(|a| a + 1).collect();
        let mut places = vec![0; at.len()];
        for_each(&extents, |offset| {
            let mut factor = scale;
            for axis in 0..at.len() {
                places[axis] = at[axis] + offset[axis];
                let order = index[axis];
                let sign = if (order - offset[axis]).is_multiple_of(2) {
                    1.0
                } else {
                    -1.0
                };
                factor *=
                    sign * binomial(order, offset[axis]) / grid.spacing(axis).powi(order as i32);
            }
            self.nodes.push(grid.node(&places) as u32);
            self.factors.push(factor);
        });
        self.starts.push(self.nodes.len());
    }

    /// The number of rows.
    pub(crate) fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// The nodes of a row and their factors.
    pub(crate) fn row(&self, row: usize) -> (&[u32], &[f64]) {
        let range = self.starts[row]..self.starts[row + 1];
        (&self.nodes[range.clone()], &self.factors[range])
    }

    /// The exponent q.
    pub(crate) fn exponent(&self) -> f64 {
        self.exponent
    }

    /// All rows times the map `values` of `n` coordinates: `[rows, n]`.
    pub(crate) fn apply(&self, values: &[f64], n: usize) -> Vec<f64> {
        let mut result = vec![0.0; self.len() * n];
        for (row, out) in result.chunks_exact_mut(n).enumerate() {
            let (nodes, factors) = self.row(row);
            for (&node, factor) in nodes.iter().zip(factors) {
                for (o, v) in out.iter_mut().zip(&values[node as usize * n..]) {
                    *o += factor * v;
                }
            }
        }
        result
    }

    /// The transpose of the rows, each times its weight, applied to `[rows, n]`.
    pub(crate) fn apply_transposed(
        &self,
        weights: &[f64],
        applied: &[f64],
        nodes: usize,
        n: usize,
    ) -> Vec<f64> {
        let mut result = vec![0.0; nodes * n];
        for (row, values) in applied.chunks_exact(n).enumerate() {
            let (nodes, factors) = self.row(row);
            for (&node, factor) in nodes.iter().zip(factors) {
                let factor = factor * weights[row];
                for (o, v) in result[node as usize * n..].iter_mut().zip(values) {
                    *o += factor * v;
                }
            }
        }
        result
    }

    /// The square of the norm of each row of what [`apply`](Self::apply) gives.
    fn squares(&self, values: &[f64], n: usize) -> Vec<f64> {
        self.apply(values, n)
            .chunks_exact(n)
            .map(|row| row.iter().map(|x| x * x).sum())
            .collect()
    }

    /// The cost of a map to the power q.
    pub(crate) fn power(&self, values: &[f64], n: usize) -> f64 {
        let squares = self.squares(values, n);
        self.cells()
            .map(|(rows, weight)| {
                let square: f64 = rows.iter().map(|&row| squares[row as usize]).sum();
                weight * power_of_square(square, self.exponent)
            })
            .sum()
    }

    /// The cost of a map, `C(f)`.
    pub(crate) fn cost(&self, values: &[f64], n: usize) -> f64 {
        self.power(values, n).powf(1.0 / self.exponent)
    }

    /// Weights `u` of the rows for which `sum_r u_r |D_r f|^2` is the cost to the power q and `q sum_r u_r D_r' D_r f` its derivative. With
    /// q = 2 they do not depend on the map. Derivatives below `floor` count as that large where q < 2.
    pub(crate) fn weights(&self, values: &[f64], n: usize, floor: f64) -> Vec<f64> {
        let mut weights = vec![0.0; self.len()];
        if self.exponent == 2.0 {
            for (rows, weight) in self.cells() {
                for &row in rows {
                    weights[row as usize] += weight;
                }
            }
            return weights;
        }
        let squares = self.squares(values, n);
        for (rows, weight) in self.cells() {
            let square: f64 = rows.iter().map(|&row| squares[row as usize]).sum();
            let factor = weight * power_of_square(square.max(floor * floor), self.exponent - 2.0);
            for &row in rows {
                weights[row as usize] += factor;
            }
        }
        weights
    }

    fn cells(&self) -> impl Iterator<Item = (&[u32], f64)> {
        self.cell_starts
            .windows(2)
            .zip(&self.cell_weights)
            .map(|(range, weight)| (&self.rows[range[0]..range[1]], *weight))
    }
}

/// `sqrt(square)^exponent`, without roots for the commonest exponents.
fn power_of_square(square: f64, exponent: f64) -> f64 {
    if exponent == 2.0 {
        square
    } else {
        square.powf(exponent / 2.0)
    }
}

/// All exponents of `m` variables with the sum `order`.
fn multi_indices(m: usize, order: usize) -> Vec<Vec<usize>> {
    if m == 1 {
        return vec![vec![order]];
    }
    (0..=order)
        .rev()
        .flat_map(|first| {
            multi_indices(m - 1, order - first)
                .into_iter()
                .map(move |mut rest| {
                    rest.insert(0, first);
                    rest
                })
        })
        .collect()
}

/// How many entries of the tensor of derivatives are this one.
fn multinomial(index: &[usize]) -> f64 {
    let factorial = |n: usize| (1..=n).map(|i| i as f64).product::<f64>();
    factorial(index.iter().sum()) / index.iter().map(|a| factorial(*a)).product::<f64>()
}

fn binomial(n: usize, k: usize) -> f64 {
    (0..k).map(|i| (n - i) as f64 / (i + 1) as f64).product()
}

/// Calls `visit` with every place of a box of these extents, the last axis fastest.
fn for_each(extents: &[usize], mut visit: impl FnMut(&[usize])) {
    let mut at = vec![0; extents.len()];
    if extents.contains(&0) {
        return;
    }
    loop {
        visit(&at);
        let mut axis = extents.len();
        loop {
            if axis == 0 {
                return;
            }
            axis -= 1;
            at[axis] += 1;
            if at[axis] < extents[axis] {
                break;
            }
            at[axis] = 0;
        }
    }
}
