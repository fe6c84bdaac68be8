//! The normal equations after the groups are eliminated: the sparse matrix `S` of the kept slacks,
//! bordered by the dense rows of the weights, and its Cholesky factor.

use faer::dyn_stack::{MemBuffer, MemStack, StackReq};
use faer::linalg::cholesky::llt::factor::LltRegularization;
use faer::sparse::linalg::cholesky::{
    CholeskySymbolicParams, LltRef, SymbolicCholesky, SymmetricOrdering,
    factorize_symbolic_cholesky,
};
use faer::sparse::{SparseColMatRef, SymbolicSparseColMatRef};
use faer::{Conj, MatMut, Par, Side, Spec};
use rayon::prelude::*;

use super::block::{Block, Bounded};
use super::layout::Layout;
use crate::lp::LpError;

/// What is added to the unit diagonal at first. Too little of it makes the factor inaccurate, too
/// much makes the directions inaccurate; refinement repairs either.
const FIRST_REGULARIZATION: f64 = 1e-14;
/// Regularisation beyond this does not give a usable direction any more.
const LAST_REGULARIZATION: f64 = 1e-3;
/// Pivots below this (the diagonal is 1) carry no digits and are replaced by 1.
const SMALLEST_PIVOT: f64 = 1e-15;
/// Columns of `S` that one task computes.
const COLUMNS_OF_A_TASK: usize = 64;

/// See the module. Rows and columns: the kept slacks, then the weights.
pub(super) struct NormalEquations {
    kept: usize,
    n: usize,
    symbolic: SymbolicCholesky<u32>,
    /// The lower triangle, by columns.
    column_start: Vec<u32>,
    row: Vec<u32>,
    value: Vec<f64>,
    factor: Vec<f64>,
    /// Scaling to unit diagonal.
    scale: Vec<f64>,
    memory: MemBuffer,
    /// Solution for the constraint `sum alpha = 1` as right-hand side, and its sum over the weights.
    ones: Vec<f64>,
    ones_sum: f64,
}

impl NormalEquations {
    /// Analyses the pattern, which stays the same through a solve.
    pub(super) fn new(layout: &Layout, n: usize) -> Result<Self, LpError> {
        let kept = layout.kept();
        let size = kept + n;
        let entries = layout.below.len() + kept * (n + 1) + n * (n + 1) / 2;
        if entries > (u32::MAX / 2) as usize {
            return Err(failed("the normal equations have too many entries"));
        }
        let mut column_start = Vec::with_capacity(size + 1);
        let mut row = Vec::with_capacity(entries);
        column_start.push(0);
        for column in 0..size {
            if column < kept {
                row.push(column as u32);
                row.extend_from_slice(
                    &layout.below[layout.below_start[column]..layout.below_start[column + 1]],
                );
                row.extend(kept as u32..size as u32);
            } else {
                row.extend(column as u32..size as u32);
            }
            column_start.push(row.len() as u32);
        }
        // The numbering already is the fill-reducing one, so the ordering here is the identity, for
        // which the analysis wants the upper triangle.
        let (upper_start, upper_row) = transpose(size, &column_start, &row);
        let pattern =
            SymbolicSparseColMatRef::new_checked(size, size, &upper_start, None, &upper_row);
        let symbolic = factorize_symbolic_cholesky(
            pattern,
            Side::Upper,
            SymmetricOrdering::Identity,
            CholeskySymbolicParams::default(),
        )
        .map_err(|e| failed(&format!("symbolic factorisation: {e:?}")))?;
        let scratch = StackReq::any_of(&[
            symbolic.factorize_numeric_llt_scratch::<f64>(Par::Seq, Spec::default()),
            symbolic.solve_in_place_scratch::<f64>(1, Par::Seq),
        ]);
        let memory = MemBuffer::try_new(scratch).map_err(|e| failed(&format!("{e:?}")))?;
        Ok(Self {
            kept,
            n,
            factor: vec![0.0; symbolic.len_val()],
            symbolic,
            column_start,
            value: vec![0.0; row.len()],
            row,
            scale: vec![1.0; size],
            memory,
            ones: vec![0.0; size],
            ones_sum: 1.0,
        })
    }

    /// Computes the matrix from what [`Block::form`] left in `blocks` and in `scaled`.
    pub(super) fn assemble(
        &mut self,
        layout: &Layout,
        blocks: &[Block],
        scaled: &[f64],
        kept: &[Bounded],
        alpha: &[Bounded],
    ) {
        let stride = layout.stride;
        let (slack_scale, weight_scale) = self.scale.split_at_mut(self.kept);
        for (k, scale) in slack_scale.iter_mut().enumerate() {
            let shared: f64 = blocks.iter().map(|block| block.sums.diagonal[k]).sum();
            *scale = (shared + kept[k].z / kept[k].x).sqrt().recip();
        }
        let mut weights = vec![0.0; stride * stride];
        for block in blocks {
            for (sum, part) in weights.iter_mut().zip(&block.sums.weights) {
                *sum += part;
            }
        }
        for (i, scale) in weight_scale.iter_mut().enumerate() {
            weights[i * stride + i] += alpha[i].z / alpha[i].x;
            *scale = weights[i * stride + i].sqrt().recip();
        }
        let (slack_scale, weight_scale) = (&*slack_scale, &*weight_scale);
        let (slack_values, weight_values) = self
            .value
            .split_at_mut(self.column_start[self.kept] as usize);

        let starts = &self.column_start;
        let rows = &self.row;
        let n = self.n;
        let mut tasks = Vec::with_capacity(self.kept / COLUMNS_OF_A_TASK + 1);
        let mut rest = slack_values;
        for first in (0..self.kept).step_by(COLUMNS_OF_A_TASK) {
            let end = (first + COLUMNS_OF_A_TASK).min(self.kept);
            let (values, tail) = rest.split_at_mut((starts[end] - starts[first]) as usize);
            tasks.push((first..end, values));
            rest = tail;
        }
        let size = self.kept;
        tasks.into_par_iter().for_each_init(
            || vec![0.0; size],
            |column_sum, (columns, values)| {
                let base = starts[columns.start];
                for column in columns {
                    for &r in
                        &layout.kept_rows[layout.kept_start[column]..layout.kept_start[column + 1]]
                    {
                        let r = r as usize;
                        let end = layout.group_start[layout.group_of[r] as usize + 1];
                        let factor = scaled[r];
                        for (&other, e) in
                            layout.kept_of[r + 1..end].iter().zip(&scaled[r + 1..end])
                        {
                            column_sum[other as usize] += factor * e;
                        }
                    }
                    column_sum[column] = 0.0;
                    let span =
                        (starts[column] - base) as usize..(starts[column + 1] - base) as usize;
                    let values = &mut values[span];
                    let rows = &rows[starts[column] as usize..starts[column + 1] as usize];
                    let below = rows.len() - n;
                    let own = slack_scale[column];
                    values[0] = 1.0;
                    for (value, &row) in values[1..below].iter_mut().zip(&rows[1..below]) {
                        *value = -own * slack_scale[row as usize] * column_sum[row as usize];
                        column_sum[row as usize] = 0.0;
                    }
                    for (i, value) in values[below..].iter_mut().enumerate() {
                        let sum: f64 = blocks
                            .iter()
                            .map(|block| block.sums.border[column * stride + i])
                            .sum();
                        *value = own * weight_scale[i] * sum;
                    }
                }
            },
        );
        let mut next = weight_values.iter_mut();
        for j in 0..n {
            for (i, value) in (j..n).zip(&mut next) {
                *value = weight_scale[i] * weight_scale[j] * weights[j * stride + i];
            }
        }
    }

    /// Factors the matrix, with as much regularisation as that takes, and solves for the constraint.
    pub(super) fn factorize(&mut self) -> Result<(), LpError> {
        let mut regularization = FIRST_REGULARIZATION;
        while regularization <= LAST_REGULARIZATION {
            for column in 0..self.kept + self.n {
                self.value[self.column_start[column] as usize] = 1.0 + regularization;
            }
            let size = self.kept + self.n;
            let matrix = SparseColMatRef::new(
                SymbolicSparseColMatRef::new_checked(
                    size,
                    size,
                    &self.column_start,
                    None,
                    &self.row,
                ),
                &self.value,
            );
            let done = self.symbolic.factorize_numeric_llt(
                &mut self.factor,
                matrix,
                Side::Lower,
                LltRegularization {
                    dynamic_regularization_delta: 1.0,
                    dynamic_regularization_epsilon: SMALLEST_PIVOT,
                },
                Par::Seq,
                MemStack::new(&mut self.memory),
                Spec::default(),
            );
            if done.is_ok() {
                let mut ones = std::mem::take(&mut self.ones);
                ones[..self.kept].fill(0.0);
                ones[self.kept..].fill(1.0);
                self.solve_unconstrained(&mut ones);
                self.ones_sum = ones[self.kept..].iter().sum();
                self.ones = ones;
                if self.ones.iter().all(|x| x.is_finite()) && self.ones_sum > 0.0 {
                    return Ok(());
                }
            }
            regularization *= 100.0;
        }
        Err(failed("the normal equations could not be factored"))
    }

    /// Replaces the right-hand side `x` (kept slacks, then weights) by the solution whose weights
    /// add up to `total`; returns the multiplier of that constraint.
    pub(super) fn solve(&mut self, x: &mut [f64], total: f64) -> f64 {
        self.solve_unconstrained(x);
        let sum: f64 = x[self.kept..].iter().sum();
        let lambda = (total - sum) / self.ones_sum;
        for (x, one) in x.iter_mut().zip(&self.ones) {
            *x += lambda * one;
        }
        lambda
    }

    fn solve_unconstrained(&mut self, x: &mut [f64]) {
        for (x, scale) in x.iter_mut().zip(&self.scale) {
            *x *= scale;
        }
        let size = x.len();
        LltRef::new(&self.symbolic, &self.factor).solve_in_place_with_conj(
            Conj::No,
            MatMut::from_column_major_slice_mut(x, size, 1),
            Par::Seq,
            MemStack::new(&mut self.memory),
        );
        for (x, scale) in x.iter_mut().zip(&self.scale) {
            *x *= scale;
        }
    }
}

fn failed(reason: &str) -> LpError {
    LpError::NotConverged {
        solver: super::NAME,
        iterations: 0,
        reason: reason.into(),
    }
}

/// The transposed pattern, sorted inside columns.
fn transpose(size: usize, start: &[u32], row: &[u32]) -> (Vec<u32>, Vec<u32>) {
    let mut upper_start = vec![0u32; size + 1];
    for &r in row {
        upper_start[r as usize + 1] += 1;
    }
    for i in 0..size {
        upper_start[i + 1] += upper_start[i];
    }
    let mut next = upper_start.clone();
    let mut upper_row = vec![0u32; row.len()];
    for column in 0..size {
        for &r in &row[start[column] as usize..start[column + 1] as usize] {
            let slot = &mut next[r as usize];
            upper_row[*slot as usize] = column as u32;
            *slot += 1;
        }
    }
    (upper_start, upper_row)
}
