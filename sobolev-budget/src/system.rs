//! The linear algebra of a step: the quadratic model of the loss, the cost of maps, and the multiplier that makes one meet the other.
//!
//! A step minimises `tr(f'Hf) - 2 tr(R'f)` over maps with `tr(f'Af) <= t`. The solution is `f = (H + lambda A)^{-1} R`, and its cost falls as
//! lambda grows; Newton's method on the inverse root of the cost finds the multiplier, as in trust-region methods (Moré and Sorensen).

use faer::Conj;
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::cholesky::llt::factor::LltRegularization;
use faer::sparse::linalg::cholesky::{SymbolicCholesky, factorize_symbolic_cholesky};
use faer::sparse::{SparseColMat, SparseColMatRef, SymbolicSparseColMatRef, Triplet};
use faer::{Mat, MatMut, MatRef, Par, Side};

use crate::assign::Moments;
use crate::domain::Grid;
use crate::elements::Elements;
use crate::norm::{Differences, Smoothness};
use crate::{Error, Measure, Result};

/// What all steps on one grid share.
pub(crate) struct System {
    nodes: usize,
    pub(crate) differences: Differences,
    /// The lower triangle of `H + lambda A`, by columns.
    column_starts: Vec<usize>,
    row_indices: Vec<usize>,
    /// Where the products of a row's factors go, for all rows: pairs of its nodes.
    difference_entries: Vec<u32>,
    /// Where an element's moments go.
    element_entries: Vec<u32>,
    symbolic: SymbolicCholesky<usize>,
    /// An orthonormal basis of the maps that cost nothing, `[nodes, free]` by columns.
    free: Vec<f64>,
}

/// The quadratic model of the loss: `tr(f'Hf) - 2 tr(R'f)` and a constant.
pub(crate) struct Quadratic {
    /// The lower triangle of H on the system's pattern.
    h: Vec<f64>,
    /// R, `[nodes, n]`.
    rhs: Vec<f64>,
    n: usize,
}

impl Quadratic {
    /// With another R.
    pub(crate) fn with_rhs(mut self, rhs: Vec<f64>) -> Self {
        self.rhs = rhs;
        self
    }
}

/// Weights of the rows, and the matrix `A = D'UD` that they make.
pub(crate) struct CostMatrix {
    weights: Vec<f64>,
    a: Vec<f64>,
}

/// How the equations of a step are solved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// Cholesky's factors of `H + lambda A`, with refinement.
    Normal,
    /// Gauss elimination of the quasi-definite matrix `[[H, E'], [E, -1/lambda]]`, for large multipliers.
    Augmented,
}

impl System {
    pub(crate) fn new(smoothness: &Smoothness, grid: Grid, elements: &Elements) -> Result<Self> {
        let differences = Differences::new(smoothness, grid)?;
        let nodes = grid.len();
        // Pairs (column, row) with column <= row.
        let mut pairs: Vec<(u32, u32)> = (0..nodes as u32).map(|i| (i, i)).collect();
        let pair = |a: u32, b: u32| (a.min(b), a.max(b));
        for row in 0..differences.len() {
            let (at, _) = differences.row(row);
            for (i, &a) in at.iter().enumerate() {
                pairs.extend(at[..=i].iter().map(|&b| pair(a, b)));
            }
        }
        for element in 0..elements.len() {
            let at = elements.vertices(element);
            for (i, &a) in at.iter().enumerate() {
                pairs.extend(at[..=i].iter().map(|&b| pair(a, b)));
            }
        }
        pairs.sort_unstable();
        pairs.dedup();
        let mut column_starts = vec![0; nodes + 1];
        for (column, _) in &pairs {
            column_starts[*column as usize + 1] += 1;
        }
        for column in 0..nodes {
            column_starts[column + 1] += column_starts[column];
        }
        let row_indices: Vec<usize> = pairs.iter().map(|(_, row)| *row as usize).collect();
        let place = |a: u32, b: u32| {
            let (column, row) = pair(a, b);
            let range = column_starts[column as usize]..column_starts[column as usize + 1];
            let within = row_indices[range.clone()].partition_point(|&r| r < row as usize);
            (range.start + within) as u32
        };
        let mut difference_entries = Vec::new();
        for row in 0..differences.len() {
            let (at, _) = differences.row(row);
            for (i, &a) in at.iter().enumerate() {
                difference_entries.extend(at[..=i].iter().map(|&b| place(a, b)));
            }
        }
        let mut element_entries = Vec::new();
        for element in 0..elements.len() {
            let at = elements.vertices(element);
            for (i, &a) in at.iter().enumerate() {
                element_entries.extend(at[..=i].iter().map(|&b| place(a, b)));
            }
        }
        let pattern =
            SymbolicSparseColMatRef::new_checked(nodes, nodes, &column_starts, None, &row_indices);
        let symbolic = factorize_symbolic_cholesky(
            pattern,
            Side::Lower,
            Default::default(),
            Default::default(),
        )
        .map_err(|error| Error::Linear(format!("{error:?}")))?;
        Ok(Self {
            nodes,
            differences,
            free: free_maps(grid, smoothness.least_order()),
            column_starts,
            row_indices,
            difference_entries,
            element_entries,
            symbolic,
        })
    }

    /// The quadratic model that these moments make.
    pub(crate) fn quadratic(&self, moments: &Moments, elements: &Elements, n: usize) -> Quadratic {
        let width = elements.width();
        let products = width * (width + 1) / 2;
        let size = products + width * n;
        let mut h = vec![0.0; self.row_indices.len()];
        let mut rhs = vec![0.0; self.nodes * n];
        for (element, sums) in moments.sums.chunks_exact(size).enumerate() {
            let vertices = elements.vertices(element);
            let entries = &self.element_entries[element * products..(element + 1) * products];
            let mut place = 0;
            for i in 0..width {
                for j in 0..=i {
                    // Two vertices of an element are one node on a circle of very few nodes only, which grids do not have.
                    h[entries[place] as usize] += sums[place];
                    place += 1;
                    debug_assert!(i == j || vertices[i] != vertices[j]);
                }
                let sum = &sums[products + i * n..][..n];
                for (r, s) in rhs[vertices[i] as usize * n..].iter_mut().zip(sum) {
                    *r += s;
                }
            }
        }
        Quadratic { h, rhs, n }
    }

    /// The model of the mean square distance of nodes to those of a map.
    pub(crate) fn identity(&self, map: &[f64], n: usize) -> Quadratic {
        let share = 1.0 / self.nodes as f64;
        let mut h = vec![0.0; self.row_indices.len()];
        // A column of the lower triangle begins with its diagonal.
        for &place in &self.column_starts[..self.nodes] {
            h[place] = share;
        }
        Quadratic {
            h,
            rhs: map.iter().map(|x| x * share).collect(),
            n,
        }
    }

    /// A cost between two others: their weights' geometric mean, with the share `toward` of the second.
    pub(crate) fn blend(&self, from: &CostMatrix, to: &CostMatrix, toward: f64) -> CostMatrix {
        self.cost_matrix(
            from.weights
                .iter()
                .zip(&to.weights)
                .map(|(a, b)| {
                    if toward == 1.0 {
                        *b
                    } else {
                        a.powf(1.0 - toward) * b.powf(toward)
                    }
                })
                .collect(),
        )
    }

    /// The norm dual to that of the step's matrix: how far a force would move the map, in units of the model.
    pub(crate) fn dual_norm<'a>(
        &'a self,
        quadratic: &'a Quadratic,
        cost: &'a CostMatrix,
        lambda: f64,
    ) -> Result<impl Fn(&[f64]) -> f64 + 'a> {
        let factor = Factor::above(self, quadratic, cost, lambda)?;
        let n = quadratic.n;
        Ok(move |force: &[f64]| {
            let solved = factor.solve(force, n);
            force
                .iter()
                .zip(&solved)
                .map(|(a, b)| a * b)
                .sum::<f64>()
                .max(0.0)
                .sqrt()
        })
    }

    /// The quadratic model of the mean square distance to points, each held at nodes with shares.
    pub(crate) fn quadratic_at(&self, measure: &Measure, places: &[Vec<(u32, f64)>]) -> Quadratic {
        let n = measure.dimension();
        let mut h = vec![0.0; self.row_indices.len()];
        let mut rhs = vec![0.0; self.nodes * n];
        for (index, place) in places.iter().enumerate() {
            let weight = measure.weights()[index];
            for (i, (node, share)) in place.iter().enumerate() {
                for (r, x) in rhs[*node as usize * n..]
                    .iter_mut()
                    .zip(measure.point(index))
                {
                    *r += weight * share * x;
                }
                for (other, part) in &place[..=i] {
                    h[self.entry(*node, *other)] += weight * share * part;
                }
            }
        }
        Quadratic { h, rhs, n }
    }

    /// Where the entry of two nodes stands in the lower triangle; they must share an element.
    fn entry(&self, a: u32, b: u32) -> usize {
        let (column, row) = (a.min(b) as usize, a.max(b) as usize);
        let range = self.column_starts[column]..self.column_starts[column + 1];
        range.start + self.row_indices[range].partition_point(|&r| r < row)
    }

    /// The matrix of the cost with these weights of the rows.
    pub(crate) fn cost_matrix(&self, weights: Vec<f64>) -> CostMatrix {
        let mut a = vec![0.0; self.row_indices.len()];
        let mut entry = 0;
        for (row, weight) in weights.iter().enumerate() {
            let (at, factors) = self.differences.row(row);
            for (i, x) in factors.iter().enumerate() {
                for (j, y) in factors[..=i].iter().enumerate() {
                    // A stencil that meets a node twice, around a short circle, has both products on the diagonal.
                    let twice = if i != j && at[i] == at[j] { 2.0 } else { 1.0 };
                    a[self.difference_entries[entry] as usize] += twice * weight * x * y;
                    entry += 1;
                }
            }
        }
        CostMatrix { weights, a }
    }

    /// `H f`.
    fn times_h(&self, quadratic: &Quadratic, map: &[f64], n: usize) -> Vec<f64> {
        let mut product = vec![0.0; map.len()];
        for column in 0..self.nodes {
            for place in self.column_starts[column]..self.column_starts[column + 1] {
                let (row, value) = (self.row_indices[place], quadratic.h[place]);
                if value == 0.0 {
                    continue;
                }
                for axis in 0..n {
                    product[row * n + axis] += value * map[column * n + axis];
                    if row != column {
                        product[column * n + axis] += value * map[row * n + axis];
                    }
                }
            }
        }
        product
    }

    /// `A f`.
    pub(crate) fn times_a(&self, cost: &CostMatrix, map: &[f64], n: usize) -> Vec<f64> {
        let applied = self.differences.apply(map, n);
        self.differences
            .apply_transposed(&cost.weights, &applied, self.nodes, n)
    }

    /// `tr(f'Af)`.
    pub(crate) fn cost_square(&self, cost: &CostMatrix, map: &[f64], n: usize) -> f64 {
        self.differences
            .apply(map, n)
            .chunks_exact(n)
            .zip(&cost.weights)
            .map(|(row, weight)| weight * row.iter().map(|x| x * x).sum::<f64>())
            .sum()
    }

    /// How much the model falls from `map` to `target`.
    pub(crate) fn decrease(&self, quadratic: &Quadratic, map: &[f64], target: &[f64]) -> f64 {
        let change: Vec<f64> = target.iter().zip(map).map(|(t, f)| t - f).collect();
        let slope = self.times_h(quadratic, map, quadratic.n);
        let curved = self.times_h(quadratic, &change, quadratic.n);
        change
            .iter()
            .zip(&slope)
            .zip(&curved)
            .zip(&quadratic.rhs)
            .map(|(((d, s), c), r)| -d * (2.0 * (s - r) + c))
            .sum()
    }

    /// Half the derivative of the model, `H f - R`.
    pub(crate) fn half_gradient(&self, quadratic: &Quadratic, map: &[f64]) -> Vec<f64> {
        let mut gradient = self.times_h(quadratic, map, quadratic.n);
        for (g, r) in gradient.iter_mut().zip(&quadratic.rhs) {
            *g -= r;
        }
        gradient
    }

    /// A multiplier at which cost and loss weigh alike, the unit of the search.
    pub(crate) fn scale(&self, quadratic: &Quadratic, cost: &CostMatrix) -> f64 {
        let trace = |values: &[f64]| -> f64 {
            self.column_starts[..self.nodes]
                .iter()
                .map(|&place| values[place])
                .sum()
        };
        let scale = trace(&quadratic.h) / trace(&cost.a);
        if scale.is_finite() && scale > 0.0 {
            scale
        } else {
            1.0
        }
    }

    /// The best map at a fixed multiplier. Multipliers too small for the arithmetic are raised; the second value is the one used.
    pub(crate) fn priced(
        &self,
        quadratic: &Quadratic,
        cost: &CostMatrix,
        lambda: f64,
    ) -> Result<(Vec<f64>, f64)> {
        let factor = Factor::above(self, quadratic, cost, lambda)?;
        Ok((factor.solve(&quadratic.rhs, quadratic.n), factor.lambda))
    }

    /// The best map with `tr(f'Af) <= target`, and its multiplier: 0 if the budget does not bind.
    pub(crate) fn budgeted(
        &self,
        quadratic: &Quadratic,
        cost: &CostMatrix,
        target: f64,
        guess: f64,
    ) -> Result<(Vec<f64>, f64)> {
        let n = quadratic.n;
        if target <= 0.0 {
            return Ok((self.cheapest(quadratic), 0.0));
        }
        let scale = self.scale(quadratic, cost);
        let mut least = LEAST_MULTIPLIER * scale;
        let mut lambda = if guess > least { guess } else { scale };
        let (mut low, mut high) = (0.0, f64::INFINITY);
        let mut best: Option<(Vec<f64>, f64)> = None;
        for _ in 0..200 {
            let factor = Factor::above(self, quadratic, cost, lambda)?;
            if factor.lambda > lambda {
                low = lambda;
                lambda = factor.lambda;
                least = least.max(lambda);
            }
            let map = factor.solve(&quadratic.rhs, n);
            let square = self.cost_square(cost, &map, n);
            if square <= target {
                high = lambda;
                if lambda <= least * 1.01 {
                    return Ok((map, 0.0));
                }
                best = Some((map.clone(), lambda));
                if square >= target * (1.0 - 2e-11) {
                    break;
                }
            } else {
                low = lambda;
                if square <= target * (1.0 + 2e-11) {
                    best = Some((map, lambda));
                    break;
                }
            }
            if high / low < 1.0 + 1e-15 {
                break;
            }
            let slope = self.times_a(cost, &map, n);
            let solved = factor.solve(&slope, n);
            let derivative = -2.0 * slope.iter().zip(&solved).map(|(a, b)| a * b).sum::<f64>();
            let newton = lambda + 2.0 * square / derivative * (1.0 - (square / target).sqrt());
            lambda = next_multiplier(newton, lambda, low, high).max(least);
        }
        // Only rounding keeps the search from meeting the budget; the cheapest map does.
        Ok(best.unwrap_or_else(|| (self.cheapest(quadratic), lambda)))
    }

    /// The best of the maps that cost nothing.
    pub(crate) fn cheapest(&self, quadratic: &Quadratic) -> Vec<f64> {
        let n = quadratic.n;
        let free = self.free.len() / self.nodes;
        let mut map = vec![0.0; self.nodes * n];
        if free == 0 {
            return map;
        }
        let basis = MatRef::from_column_major_slice(&self.free, self.nodes, free);
        let mut gram = Mat::<f64>::zeros(free, free);
        for j in 0..free {
            let column: Vec<f64> = basis.col(j).iter().copied().collect();
            let product = self.times_h(quadratic, &column, 1);
            for i in 0..free {
                gram[(i, j)] = basis.col(i).iter().zip(&product).map(|(a, b)| a * b).sum();
            }
        }
        let rhs = basis.transpose() * MatRef::from_row_major_slice(&quadratic.rhs, self.nodes, n);
        // The directions in which the measure says nothing stay 0.
        let Ok(eigen) = gram.self_adjoint_eigen(Side::Lower) else {
            return map;
        };
        let largest = eigen.S()[free - 1];
        let mut turned = eigen.U().transpose() * &rhs;
        for i in 0..free {
            let value = eigen.S()[i];
            for axis in 0..n {
                turned[(i, axis)] = if value > 1e-14 * largest {
                    turned[(i, axis)] / value
                } else {
                    0.0
                };
            }
        }
        let values = basis * (eigen.U() * turned);
        for node in 0..self.nodes {
            for axis in 0..n {
                map[node * n + axis] = values[(node, axis)];
            }
        }
        map
    }

    /// Multiplies the part of a map that costs something by `factor`.
    pub(crate) fn shrink(&self, map: &mut [f64], n: usize, factor: f64) {
        let free = self.free.len() / self.nodes;
        let mut kept = vec![0.0; map.len()];
        for column in self.free.chunks_exact(self.nodes).take(free) {
            for axis in 0..n {
                let dot: f64 = column
                    .iter()
                    .zip(map.iter().skip(axis).step_by(n))
                    .map(|(a, b)| a * b)
                    .sum();
                for (k, q) in kept.iter_mut().skip(axis).step_by(n).zip(column) {
                    *k += dot * q;
                }
            }
        }
        for (value, kept) in map.iter_mut().zip(&kept) {
            *value = kept + (*value - kept) * factor;
        }
    }

    /// Scales a map's costly part down until the map costs at most `budget`.
    pub(crate) fn bring_within(&self, map: &mut [f64], n: usize, budget: f64) {
        // The free part's own rounding may cost a little; a second scaling takes that into account.
        for _ in 0..3 {
            let cost = self.differences.cost(map, n);
            if cost <= budget || cost == 0.0 {
                return;
            }
            self.shrink(map, n, budget / cost * (1.0 - 1e-15));
        }
    }

    /// The largest diagonal entry of A by that of H.
    fn ratio(&self, quadratic: &Quadratic, cost: &CostMatrix) -> f64 {
        let largest = |values: &[f64]| {
            self.column_starts[..self.nodes]
                .iter()
                .map(|&place| values[place])
                .fold(0.0, f64::max)
        };
        largest(&cost.a) / largest(&quadratic.h)
    }
}

/// Newton's multiplier if it lies between what is known and goes no further than a factor of 1000, else one in the middle.
fn next_multiplier(newton: f64, lambda: f64, low: f64, high: f64) -> f64 {
    let newton = if newton.is_finite() {
        newton.clamp(lambda * 1e-3, lambda * 1e3)
    } else {
        f64::NAN
    };
    if newton > low && newton < high {
        newton
    } else if high.is_infinite() {
        lambda * 10.0
    } else if low == 0.0 {
        lambda * 0.01
    } else {
        (low * high).sqrt()
    }
}

/// `H + lambda A`, factored.
struct Factor<'a> {
    system: &'a System,
    quadratic: &'a Quadratic,
    cost: &'a CostMatrix,
    lambda: f64,
    refinements: usize,
    kind: Kind,
}

enum Kind {
    Normal(Vec<f64>),
    Augmented(Box<faer::sparse::linalg::solvers::Lu<usize, f64>>),
}

/// The least multiplier that arithmetic can tell from 0, in units of [`System::scale`].
const LEAST_MULTIPLIER: f64 = 1e-13;

impl<'a> Factor<'a> {
    /// The factors at this multiplier; at a larger one if it is too small for the arithmetic, where nodes have no mass.
    fn above(
        system: &'a System,
        quadratic: &'a Quadratic,
        cost: &'a CostMatrix,
        lambda: f64,
    ) -> Result<Self> {
        let scale = system.scale(quadratic, cost);
        let mut lambda = lambda.max(LEAST_MULTIPLIER * scale);
        loop {
            let failure = match Self::new(system, quadratic, cost, lambda, 0.0) {
                Ok(factor) => return Ok(factor),
                Err(failure) => failure,
            };
            if lambda < 1e-6 * scale {
                lambda *= 10.0;
                continue;
            }
            // Some map is free and no point sees it, such as the tilt of a line whose points all project on one node.
            for ridge in [1e-12, 1e-9] {
                if let Ok(factor) = Self::new(system, quadratic, cost, lambda, ridge) {
                    return Ok(factor);
                }
            }
            return Err(failure);
        }
    }

    fn new(
        system: &'a System,
        quadratic: &'a Quadratic,
        cost: &'a CostMatrix,
        lambda: f64,
        ridge: f64,
    ) -> Result<Self> {
        let ratio = lambda * system.ratio(quadratic, cost);
        // Cholesky's factors lose digits as the cost outweighs the loss; beyond what refinement recovers, the augmented system takes over.
        let route = if ratio > 1e11 && ridge == 0.0 {
            Route::Augmented
        } else {
            Route::Normal
        };
        let kind = match route {
            Route::Normal => Kind::Normal(system.factor(quadratic, cost, lambda, ridge)?),
            Route::Augmented => {
                Kind::Augmented(Box::new(system.augmented(quadratic, cost, lambda)?))
            }
        };
        Ok(Self {
            system,
            quadratic,
            cost,
            lambda,
            refinements: match ratio {
                _ if route == Route::Augmented => 1,
                _ if ridge > 0.0 => 0,
                r if r < 1e3 => 0,
                r if r < 1e7 => 1,
                _ => 3,
            },
            kind,
        })
    }

    fn solve(&self, rhs: &[f64], n: usize) -> Vec<f64> {
        let mut solution = self.once(rhs, n);
        for _ in 0..self.refinements {
            let applied = self.system.times_h(self.quadratic, &solution, n);
            let priced = self.system.times_a(self.cost, &solution, n);
            let residual: Vec<f64> = rhs
                .iter()
                .zip(&applied)
                .zip(&priced)
                .map(|((r, h), a)| r - h - self.lambda * a)
                .collect();
            for (s, c) in solution.iter_mut().zip(self.once(&residual, n)) {
                *s += c;
            }
        }
        solution
    }

    fn once(&self, rhs: &[f64], n: usize) -> Vec<f64> {
        let nodes = self.system.nodes;
        match &self.kind {
            Kind::Normal(values) => {
                // By columns, as the factor wants it.
                let mut columns = transposed(rhs, nodes, n);
                let symbolic = &self.system.symbolic;
                let mut memory =
                    MemBuffer::new(symbolic.solve_in_place_scratch::<f64>(n, Par::Seq));
                faer::sparse::linalg::cholesky::LltRef::new(symbolic, values)
                    .solve_in_place_with_conj(
                        Conj::No,
                        MatMut::from_column_major_slice_mut(&mut columns, nodes, n),
                        Par::Seq,
                        MemStack::new(&mut memory),
                    );
                transposed(&columns, n, nodes)
            }
            Kind::Augmented(factor) => {
                use faer::linalg::solvers::SolveCore as _;
                let rows = self.system.differences.len();
                let mut columns = Mat::<f64>::zeros(nodes + rows, n);
                for node in 0..nodes {
                    for axis in 0..n {
                        columns[(node, axis)] = rhs[node * n + axis];
                    }
                }
                factor.solve_in_place_with_conj(Conj::No, columns.as_mut());
                (0..nodes * n)
                    .map(|place| columns[(place / n, place % n)])
                    .collect()
            }
        }
    }
}

impl System {
    /// The numbers of Cholesky's factor of `H + lambda A`, its diagonal raised by `ridge` times its largest entry.
    fn factor(
        &self,
        quadratic: &Quadratic,
        cost: &CostMatrix,
        lambda: f64,
        ridge: f64,
    ) -> Result<Vec<f64>> {
        let mut values: Vec<f64> = quadratic
            .h
            .iter()
            .zip(&cost.a)
            .map(|(h, a)| h + lambda * a)
            .collect();
        let diagonal = &self.column_starts[..self.nodes];
        let largest = diagonal
            .iter()
            .map(|&place| values[place])
            .fold(0.0, f64::max);
        for &place in diagonal {
            values[place] += ridge * largest;
        }
        let matrix = SparseColMatRef::new(
            SymbolicSparseColMatRef::new_checked(
                self.nodes,
                self.nodes,
                &self.column_starts,
                None,
                &self.row_indices,
            ),
            &values,
        );
        let mut factor = vec![0.0; self.symbolic.len_val()];
        let mut memory = MemBuffer::new(
            self.symbolic
                .factorize_numeric_llt_scratch::<f64>(Par::Seq, Default::default()),
        );
        self.symbolic
            .factorize_numeric_llt(
                &mut factor,
                matrix,
                Side::Lower,
                LltRegularization::default(),
                Par::Seq,
                MemStack::new(&mut memory),
                Default::default(),
            )
            .map_err(|error| Error::Linear(format!("{error:?}")))?;
        if factor.iter().all(|x| x.is_finite()) {
            Ok(factor)
        } else {
            Err(Error::Linear("the matrix is singular".to_owned()))
        }
    }

    /// The factors of `[[H, E'], [E, -1/lambda]]` with `E = sqrt(U) D`.
    fn augmented(
        &self,
        quadratic: &Quadratic,
        cost: &CostMatrix,
        lambda: f64,
    ) -> Result<faer::sparse::linalg::solvers::Lu<usize, f64>> {
        let size = self.nodes + self.differences.len();
        let mut entries = Vec::new();
        for column in 0..self.nodes {
            for place in self.column_starts[column]..self.column_starts[column + 1] {
                let (row, value) = (self.row_indices[place], quadratic.h[place]);
                entries.push(Triplet::new(row, column, value));
                if row != column {
                    entries.push(Triplet::new(column, row, value));
                }
            }
        }
        for (row, weight) in cost.weights.iter().enumerate() {
            let (at, factors) = self.differences.row(row);
            for (&node, factor) in at.iter().zip(factors) {
                let value = factor * weight.sqrt();
                entries.push(Triplet::new(self.nodes + row, node as usize, value));
                entries.push(Triplet::new(node as usize, self.nodes + row, value));
            }
            entries.push(Triplet::new(
                self.nodes + row,
                self.nodes + row,
                -1.0 / lambda,
            ));
        }
        SparseColMat::try_new_from_triplets(size, size, &entries)
            .map_err(|error| Error::Linear(format!("{error:?}")))?
            .sp_lu()
            .map_err(|error| Error::Linear(format!("{error:?}")))
    }
}

/// A matrix of `rows` x `columns`, by rows, written by columns.
fn transposed(values: &[f64], rows: usize, columns: usize) -> Vec<f64> {
    let mut result = vec![0.0; values.len()];
    for row in 0..rows {
        for column in 0..columns {
            result[column * rows + row] = values[row * columns + column];
        }
    }
    result
}

/// An orthonormal basis of polynomials of degree below `degree`, of the axes that are no circles.
fn free_maps(grid: Grid, degree: usize) -> Vec<f64> {
    let m = grid.domain().dimension();
    let mut exponents = vec![vec![]];
    for axis in 0..m {
        let most = if grid.domain().periodic()[axis] {
            0
        } else {
            degree.saturating_sub(1)
        };
        exponents = exponents
            .into_iter()
            .flat_map(|start: Vec<usize>| {
                (0..=most).map(move |power| {
                    let mut next = start.clone();
                    next.push(power);
                    next
                })
            })
            .collect();
    }
    exponents.retain(|powers| powers.iter().sum::<usize>() < degree);
    exponents.sort_by_key(|powers| powers.iter().sum::<usize>());
    let mut basis: Vec<Vec<f64>> = Vec::new();
    for powers in exponents {
        let mut column: Vec<f64> = (0..grid.len())
            .map(|node| {
                grid.parameters(node)
                    .iter()
                    .zip(&powers)
                    .map(|(s, power)| (2.0 * s - 1.0).powi(*power as i32))
                    .product()
            })
            .collect();
        // Twice, so that rounding leaves nothing of the others.
        for _ in 0..2 {
            for other in &basis {
                let dot: f64 = column.iter().zip(other).map(|(a, b)| a * b).sum();
                for (c, o) in column.iter_mut().zip(other) {
                    *c -= dot * o;
                }
            }
        }
        let norm = column.iter().map(|x| x * x).sum::<f64>().sqrt();
        basis.push(column.into_iter().map(|x| x / norm).collect());
    }
    basis.into_iter().flatten().collect()
}
