//! Passes over a tall table: second moments, whitened rows with their leverages and residuals, products with a vector.
//!
//! A table is cut into blocks of [`BLOCK`] rows. Blocks are shared among threads, but what they add up to is summed in an order that does not depend
//! on the threads: a table has one result. Memory: a block and two matrices of `d d` numbers for each of [`LANES`] lanes.

use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::{Accum, MatMut, MatRef, Par};
use pulp::Arch;
use rayon::prelude::*;

use super::double::{Double, two_product, two_sum};
use crate::dataset::Dataset;
use crate::error::Result;

/// Rows of a block: the longest plain sum of 53 bits; longer ones are compensated.
pub(crate) const BLOCK: usize = 512;
/// Sums that are kept apart, so that threads need not wait for each other.
pub(crate) const LANES: usize = 16;
/// Below this many columns, plain loops are faster than a matrix product.
const FEW: usize = 8;

/// Rows whose weight is not 1, in ascending order.
pub(crate) type Exceptions = [(usize, f64)];

/// Second moments of a table whose columns are multiplied by a scale: `X'VX` (lower triangle), `X'Vy`.
pub(crate) struct Moments {
    pub(crate) xx: Vec<Double>,
    pub(crate) xy: Vec<Double>,
}

/// An upper triangular matrix `T` that rows are multiplied with, `w = T' x`, in both precisions.
#[derive(Clone)]
pub(crate) struct Transform {
    pub(crate) d: usize,
    /// By columns.
    pub(crate) t: Vec<Double>,
    rounded: Vec<f64>,
    /// By rows, high and low parts apart.
    high: Vec<f64>,
    low: Vec<f64>,
}

impl Transform {
    pub(crate) fn new(t: Vec<Double>, d: usize) -> Self {
        let rounded = t.iter().map(|t| t.to_f64()).collect();
        let (mut high, mut low) = (vec![0.0; d * d], vec![0.0; d * d]);
        for j in 0..d {
            for i in 0..=j {
                high[i * d + j] = t[i + d * j].hi;
                low[i * d + j] = t[i + d * j].lo;
            }
        }
        Self {
            d,
            t,
            rounded,
            high,
            low,
        }
    }
}

/// How exactly rows are transformed and products are summed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Precision {
    /// 53 bits.
    Single64,
    /// About 106 bits.
    Double128,
}

/// Runs `step` over all blocks, each in its lane, and returns the lanes.
fn lanes<A: Send>(
    data: &Dataset<'_>,
    make: impl Fn() -> A,
    step: impl Fn(&mut A, usize, &[f64], &[f64]) + Sync,
) -> Result<Vec<A>> {
    let d = data.columns();
    let count = data.rows().div_ceil(BLOCK).clamp(1, LANES);
    let mut states: Vec<A> = (0..count).map(|_| make()).collect();
    data.visit(&mut |first, x, y| {
        let blocks = y.len().div_ceil(BLOCK);
        let work = |lane: usize, state: &mut A| {
            for block in (lane..blocks).step_by(LANES) {
                let rows = block * BLOCK..((block + 1) * BLOCK).min(y.len());
                step(
                    state,
                    first + rows.start,
                    &x[rows.start * d..rows.end * d],
                    &y[rows],
                );
            }
        };
        if blocks > 1 {
            states
                .par_iter_mut()
                .enumerate()
                .for_each(|(lane, state)| work(lane, state));
        } else {
            work(0, &mut states[0]);
        }
        Ok(())
    })?;
    Ok(states)
}

/// The exceptions among `count` rows from `first` on.
fn within(exceptions: &Exceptions, first: usize, count: usize) -> &Exceptions {
    let start = exceptions.partition_point(|(row, _)| *row < first);
    let end = exceptions.partition_point(|(row, _)| *row < first + count);
    &exceptions[start..end]
}

/// Multiplies a row with the root of its weight. Without weight, whatever its numbers are.
fn weigh(row: &mut [f64], weight: f64) {
    if weight == 0.0 {
        row.fill(0.0);
    } else {
        let root = weight.sqrt();
        row.iter_mut().for_each(|x| *x *= root);
    }
}

/// A power of two for every column that brings its largest number, of a row with weight, near 1.
pub(crate) fn column_scales(data: &Dataset<'_>, exceptions: &Exceptions) -> Result<Vec<f64>> {
    let largest = column_sizes(data, exceptions)?;
    // Exponents stay within the normal numbers, both of the scale and of its inverse.
    let scale = |l: f64| (-l.log2().round().clamp(-1000.0, 1000.0)).exp2();
    Ok(largest
        .iter()
        .map(|&l| if l == 0.0 { 1.0 } else { scale(l) })
        .collect())
}

/// The largest number of every column, of a row with weight.
fn column_sizes(data: &Dataset<'_>, exceptions: &Exceptions) -> Result<Vec<f64>> {
    let d = data.columns();
    let states = lanes(
        data,
        || vec![0.0_f64; d],
        |largest, first, x, y| {
            let special = within(exceptions, first, y.len());
            for (at, row) in x.chunks_exact(d).enumerate() {
                let weighs = |(index, weight): &(usize, f64)| *index != first + at || *weight > 0.0;
                if special.iter().all(weighs) {
                    largest
                        .iter_mut()
                        .zip(row)
                        .for_each(|(l, x)| *l = l.max(x.abs()));
                }
            }
        },
    )?;
    Ok(states.into_iter().fold(vec![0.0; d], |mut all, lane| {
        all.iter_mut()
            .zip(lane)
            .for_each(|(all, lane)| *all = all.max(lane));
        all
    }))
}

/// Rows that certainly have a leverage above `threshold`, one after the other, because they hold more than that share of the sum of squares of some
/// column. `None` if there are more than `cap`.
///
/// No factorisation is needed for that, so it works where a few rows are so large that no precision is enough for all rows together.
pub(crate) fn dominating_rows(
    data: &Dataset<'_>,
    threshold: f64,
    cap: usize,
) -> Result<Option<Vec<usize>>> {
    let d = data.columns();
    let mut removed: Vec<(usize, f64)> = Vec::new();
    loop {
        let sizes = column_sizes(data, &removed)?;
        // For each column the sum of squares in units of the largest one, and the first row that has it.
        let states = lanes(
            data,
            || vec![(0.0_f64, usize::MAX); d],
            |sums, first, x, y| {
                let special = within(&removed, first, y.len());
                for (at, row) in x.chunks_exact(d).enumerate() {
                    if special.iter().any(|(index, _)| *index == first + at) {
                        continue;
                    }
                    for (((sum, place), x), size) in sums.iter_mut().zip(row).zip(&sizes) {
                        let share = if *size > 0.0 { x / size } else { 0.0 };
                        *sum += share * share;
                        if share.abs() >= 1.0 {
                            *place = (*place).min(first + at);
                        }
                    }
                }
            },
        )?;
        let columns = states
            .into_iter()
            .fold(vec![(0.0, usize::MAX); d], |mut all, lane| {
                for (all, lane) in all.iter_mut().zip(lane) {
                    *all = (all.0 + lane.0, all.1.min(lane.1));
                }
                all
            });
        let least = columns
            .into_iter()
            .filter(|(_, place)| *place != usize::MAX)
            .min_by(|a, b| a.0.total_cmp(&b.0));
        // With some room for rounding.
        let Some((_, row)) = least.filter(|(sum, _)| 1.0 / sum > threshold * 1.001) else {
            return Ok(Some(removed.into_iter().map(|(row, _)| row).collect()));
        };
        if removed.len() == cap {
            return Ok(None);
        }
        let at = removed.partition_point(|(index, _)| *index < row);
        removed.insert(at, (row, 0.0));
    }
}

/// Sums of one lane, and its buffers.
struct Sums {
    block: Vec<f64>,
    xx: (Vec<f64>, Vec<f64>),
    xy: Vec<Double>,
    x: Vec<f64>,
    w: Vec<f64>,
}

impl Sums {
    fn new(d: usize) -> Self {
        Self {
            block: vec![0.0; d * d],
            xx: (vec![0.0; d * d], vec![0.0; d * d]),
            xy: vec![Double::ZERO; d],
            x: Vec::new(),
            w: Vec::new(),
        }
    }

    /// Adds the block's sum, without losing what is below the last place.
    fn absorb(&mut self) {
        let (high, low) = &mut self.xx;
        for ((high, low), &block) in high.iter_mut().zip(low).zip(&self.block) {
            let (sum, error) = two_sum(*high, block);
            *high = sum;
            *low += error;
        }
    }
}

/// The lower triangle of `A'A` for `rows` rows `a` of `d` numbers, into `out` by columns.
fn block_gram(a: &[f64], d: usize, out: &mut [f64]) {
    if d < FEW {
        out.fill(0.0);
        for row in a.chunks_exact(d) {
            for j in 0..d {
                for i in j..d {
                    out[i + d * j] += row[i] * row[j];
                }
            }
        }
        return;
    }
    let rows = a.len() / d;
    let a = MatRef::from_column_major_slice(a, d, rows);
    triangular::matmul(
        MatMut::from_column_major_slice_mut(out, d, d),
        BlockStructure::TriangularLower,
        Accum::Replace,
        a,
        BlockStructure::Rectangular,
        a.transpose(),
        BlockStructure::Rectangular,
        1.0,
        Par::Seq,
    );
}

/// As [`block_gram`], added to `high + low` in twice the precision.
fn block_gram_double(a: &[f64], d: usize, high: &mut [f64], low: &mut [f64]) {
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for row in a.chunks_exact(d) {
                for j in 0..d {
                    let factor = row[j];
                    let at = d * j + j..d * (j + 1);
                    for ((high, low), &x) in
                        high[at.clone()].iter_mut().zip(&mut low[at]).zip(&row[j..])
                    {
                        let (product, product_error) = two_product(x, factor);
                        let (sum, sum_error) = two_sum(*high, product);
                        *high = sum;
                        *low += sum_error + product_error;
                    }
                }
            }
        },
    );
}

/// Weighted second moments.
pub(crate) fn moments(
    data: &Dataset<'_>,
    exceptions: &Exceptions,
    scale: &[f64],
    precision: Precision,
) -> Result<Moments> {
    let d = data.columns();
    let states = lanes(
        data,
        || Sums::new(d),
        |sums, first, x, y| {
            let special = within(exceptions, first, y.len());
            let mut buffer = std::mem::take(&mut sums.x);
            let mut responses = std::mem::take(&mut sums.w);
            let (x, y) = if special.is_empty() && scale.is_empty() {
                (x, y)
            } else {
                buffer.clear();
                buffer.extend_from_slice(x);
                responses.clear();
                responses.extend_from_slice(y);
                for &(row, weight) in special {
                    let at = row - first;
                    weigh(&mut buffer[at * d..(at + 1) * d], weight);
                    responses[at] *= weight.sqrt();
                }
                if !scale.is_empty() {
                    for row in buffer.chunks_exact_mut(d) {
                        row.iter_mut().zip(scale).for_each(|(x, s)| *x *= s);
                    }
                }
                (&buffer[..], &responses[..])
            };
            match precision {
                Precision::Single64 => {
                    block_gram(x, d, &mut sums.block);
                    sums.absorb();
                    let mut xy = vec![0.0; d];
                    for (row, &y) in x.chunks_exact(d).zip(y) {
                        row.iter().zip(&mut xy).for_each(|(x, sum)| *sum += x * y);
                    }
                    sums.xy
                        .iter_mut()
                        .zip(xy)
                        .for_each(|(sum, xy)| *sum += Double::from(xy));
                }
                Precision::Double128 => {
                    let (high, low) = &mut sums.xx;
                    block_gram_double(x, d, high, low);
                    for (high, low) in high.iter_mut().zip(low) {
                        (*high, *low) = two_sum(*high, *low);
                    }
                    for (row, &y) in x.chunks_exact(d).zip(y) {
                        for (sum, &x) in sums.xy.iter_mut().zip(row) {
                            let (hi, lo) = two_product(x, y);
                            *sum += Double { hi, lo };
                        }
                    }
                }
            }
            (sums.x, sums.w) = (buffer, responses);
        },
    )?;
    Ok(total(states, d))
}

/// Second moments of rows that are changed one by one first: `change` gets a row and its response. In 53 bits.
pub(crate) fn changed_moments(
    data: &Dataset<'_>,
    change: impl Fn(&mut [f64], &mut f64) + Sync,
) -> Result<(Vec<f64>, Vec<f64>)> {
    let d = data.columns();
    let states = lanes(
        data,
        || Sums::new(d),
        |sums, _, x, y| {
            let mut buffer = std::mem::take(&mut sums.x);
            buffer.clear();
            buffer.extend_from_slice(x);
            let mut xy = vec![0.0; d];
            for (row, &y) in buffer.chunks_exact_mut(d).zip(y) {
                let mut y = y;
                change(row, &mut y);
                row.iter().zip(&mut xy).for_each(|(x, sum)| *sum += x * y);
            }
            block_gram(&buffer, d, &mut sums.block);
            sums.absorb();
            sums.xy
                .iter_mut()
                .zip(xy)
                .for_each(|(sum, xy)| *sum += Double::from(xy));
            sums.x = buffer;
        },
    )?;
    let sums = total(states, d);
    let xx = (0..d * d)
        .map(|at| sums.xx[(at / d).max(at % d) + d * (at / d).min(at % d)].to_f64())
        .collect();
    Ok((xx, sums.xy.iter().map(|x| x.to_f64()).collect()))
}

/// The sum over all rows of the vectors that `term` adds for a row, in an order that does not depend on threads.
pub(crate) fn sum_rows(
    data: &Dataset<'_>,
    size: usize,
    term: impl Fn(usize, &[f64], f64, &mut [f64]) + Sync,
) -> Result<Vec<f64>> {
    let d = data.columns();
    let states = lanes(
        data,
        || vec![Double::ZERO; size],
        |sums, first, x, y| {
            let mut block = vec![0.0; size];
            for (at, (row, &y)) in x.chunks_exact(d).zip(y).enumerate() {
                term(first + at, row, y, &mut block);
            }
            sums.iter_mut()
                .zip(block)
                .for_each(|(sum, x)| *sum += Double::from(x));
        },
    )?;
    let mut sum = vec![Double::ZERO; size];
    for lane in states {
        sum.iter_mut().zip(lane).for_each(|(sum, x)| *sum += x);
    }
    Ok(sum.iter().map(|x| x.to_f64()).collect())
}

fn total(states: Vec<Sums>, d: usize) -> Moments {
    let mut out = Moments {
        xx: vec![Double::ZERO; d * d],
        xy: vec![Double::ZERO; d],
    };
    for state in states {
        for (sum, (&high, &low)) in out.xx.iter_mut().zip(state.xx.0.iter().zip(&state.xx.1)) {
            *sum += Double::sum(high, low);
        }
        out.xy
            .iter_mut()
            .zip(state.xy)
            .for_each(|(sum, xy)| *sum += xy);
    }
    out
}

/// The second moments `T'X'VX T` of transformed rows (lower triangle). Rows are transformed in `precision`, then rounded.
pub(crate) fn transformed_gram(
    data: &Dataset<'_>,
    exceptions: &Exceptions,
    transform: &Transform,
    precision: Precision,
) -> Result<Vec<Double>> {
    let d = data.columns();
    let states = lanes(
        data,
        || Sums::new(d),
        |sums, first, x, y| {
            let mut w = std::mem::take(&mut sums.w);
            match precision {
                Precision::Single64 => transform_block(transform, x, &mut w),
                Precision::Double128 => {
                    let mut row_w = vec![Double::ZERO; d];
                    w.clear();
                    for row in x.chunks_exact(d) {
                        transform_row(transform, row, &mut row_w);
                        w.extend(row_w.iter().map(|w| w.to_f64()));
                    }
                }
            }
            for &(row, weight) in within(exceptions, first, y.len()) {
                let at = row - first;
                weigh(&mut w[at * d..(at + 1) * d], weight);
            }
            block_gram(&w, d, &mut sums.block);
            sums.absorb();
            sums.w = w;
        },
    )?;
    Ok(total(states, d).xx)
}

/// As [`transformed_gram`] with rows that are not rounded, for transforms that leave nearly dependent columns.
pub(crate) fn transformed_gram_double(
    data: &Dataset<'_>,
    exceptions: &Exceptions,
    transform: &Transform,
) -> Result<Vec<Double>> {
    let d = data.columns();
    let states = lanes(
        data,
        || vec![Double::ZERO; d * d],
        |sums, first, x, y| {
            let special = within(exceptions, first, y.len());
            let mut w = vec![Double::ZERO; d];
            for (at, row) in x.chunks_exact(d).enumerate() {
                transform_row(transform, row, &mut w);
                if let Some((_, weight)) = special.iter().find(|(row, _)| *row == first + at) {
                    if *weight == 0.0 {
                        continue;
                    }
                    let root = weight.sqrt();
                    w.iter_mut().for_each(|w| *w = w.scale(root));
                }
                for j in 0..d {
                    for i in j..d {
                        sums[i + d * j] += w[i] * w[j];
                    }
                }
            }
        },
    )?;
    Ok(states
        .into_iter()
        .fold(vec![Double::ZERO; d * d], |mut sum, lane| {
            sum.iter_mut().zip(lane).for_each(|(sum, x)| *sum += x);
            sum
        }))
}

/// `w = T' x` for all rows of a block, in 53 bits.
fn transform_block(transform: &Transform, x: &[f64], w: &mut Vec<f64>) {
    let d = transform.d;
    w.resize(x.len(), 0.0);
    if d < FEW {
        for (x, w) in x.chunks_exact(d).zip(w.chunks_exact_mut(d)) {
            for (j, w) in w.iter_mut().enumerate() {
                *w = (0..=j).map(|i| x[i] * transform.rounded[i + d * j]).sum();
            }
        }
        return;
    }
    let rows = x.len() / d;
    let t = MatRef::from_column_major_slice(&transform.rounded, d, d);
    triangular::matmul(
        MatMut::from_column_major_slice_mut(w, d, rows),
        BlockStructure::Rectangular,
        Accum::Replace,
        t.transpose(),
        BlockStructure::TriangularLower,
        MatRef::from_column_major_slice(x, d, rows),
        BlockStructure::Rectangular,
        1.0,
        Par::Seq,
    );
}

/// The product of two vectors, in eight sums that processors can keep side by side.
#[inline(always)]
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    let (a, a_rest) = a.as_chunks::<8>();
    let (b, b_rest) = b.as_chunks::<8>();
    for (a, b) in a.iter().zip(b) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += a * b;
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    rest + sums.iter().sum::<f64>()
}

/// `w = T' x` for one row, in twice the precision.
fn transform_row(transform: &Transform, x: &[f64], w: &mut [Double]) {
    let d = transform.d;
    let (mut high, mut low) = (vec![0.0; d], vec![0.0; d]);
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for (i, &x) in x.iter().enumerate() {
                let t = (
                    &transform.high[i * d + i..(i + 1) * d],
                    &transform.low[i * d + i..(i + 1) * d],
                );
                for (((high, low), &t_high), &t_low) in
                    high[i..].iter_mut().zip(&mut low[i..]).zip(t.0).zip(t.1)
                {
                    let (product, product_error) = two_product(x, t_high);
                    let (sum, sum_error) = two_sum(*high, product);
                    *high = sum;
                    *low += sum_error + x.mul_add(t_low, product_error);
                }
            }
        },
    );
    for ((w, high), low) in w.iter_mut().zip(high).zip(low) {
        *w = Double::sum(high, low);
    }
}

/// The whitened coordinates `T' x` of one row.
pub(crate) fn whitened_row(transform: &Transform, x: &[f64]) -> Vec<Double> {
    let mut w = vec![Double::ZERO; transform.d];
    transform_row(transform, x, &mut w);
    w
}

/// What a pass says about all rows, those without weight included.
pub(crate) struct Profile {
    /// `|T' x_i|^2`
    pub(crate) leverages: Vec<f64>,
    /// `y_i - (T' x_i)' beta`
    pub(crate) residuals: Vec<f64>,
    /// `sum v_i (T' x_i) e_i`: by how much `beta` has to be corrected.
    pub(crate) correction: Vec<f64>,
}

/// Leverages and residuals of all rows for whitened coefficients `beta`.
pub(crate) fn profile(
    data: &Dataset<'_>,
    exceptions: &Exceptions,
    transform: &Transform,
    beta: &[Double],
    precision: Precision,
) -> Result<Profile> {
    let (n, d) = (data.rows(), data.columns());
    let (mut leverages, mut residuals) = (vec![0.0; n], vec![0.0; n]);
    let mut correction = vec![Double::ZERO; d];
    let plain: Vec<f64> = beta.iter().map(|b| b.to_f64()).collect();
    data.visit(&mut |first, x, y| {
        let block =
            |index: usize, x: &[f64], y: &[f64], h: &mut [f64], e: &mut [f64], w: &mut Vec<f64>| {
                let start = first + index * BLOCK;
                let special = within(exceptions, start, y.len());
                let weight = |at: usize| {
                    special
                        .iter()
                        .find(|(row, _)| *row == start + at)
                        .map_or(1.0, |(_, weight)| *weight)
                };
                match precision {
                    Precision::Single64 => {
                        transform_block(transform, x, w);
                        let rows = w.chunks_exact(d).zip(y).zip(h.iter_mut()).zip(e.iter_mut());
                        Arch::new().dispatch(
                            #[inline(always)]
                            || {
                                for (((w, y), h), e) in rows {
                                    (*h, *e) = (dot(w, w), y - dot(w, &plain));
                                }
                            },
                        );
                        let mut sum = vec![0.0; d];
                        for (at, (w, &e)) in w.chunks_exact(d).zip(e.iter()).enumerate() {
                            let weight = weight(at);
                            if weight == 0.0 {
                                continue;
                            }
                            let e = weight * e;
                            w.iter().zip(&mut sum).for_each(|(w, sum)| *sum += w * e);
                        }
                        sum.into_iter().map(Double::from).collect()
                    }
                    // What these sums round is an error of the coefficients that grows with the number of rows.
                    Precision::Double128 => {
                        let mut row_w = vec![Double::ZERO; d];
                        let mut sum = vec![Double::ZERO; d];
                        let rows = x.chunks_exact(d).zip(y).zip(h.iter_mut()).zip(e.iter_mut());
                        for (at, (((x, &y), h), e)) in rows.enumerate() {
                            transform_row(transform, x, &mut row_w);
                            let fit = row_w
                                .iter()
                                .zip(beta)
                                .fold(Double::ZERO, |sum, (w, b)| sum + *w * *b);
                            let residual = Double::from(y) - fit;
                            *e = residual.to_f64();
                            *h = row_w.iter().map(|w| w.to_f64() * w.to_f64()).sum();
                            let weight = weight(at);
                            if weight != 0.0 {
                                let e = residual.scale(weight);
                                sum.iter_mut()
                                    .zip(&row_w)
                                    .for_each(|(sum, w)| *sum += *w * e);
                            }
                        }
                        sum
                    }
                }
            };
        let (h, e) = (
            &mut leverages[first..first + y.len()],
            &mut residuals[first..first + y.len()],
        );
        let sums: Vec<Vec<Double>> = if y.len() <= BLOCK {
            vec![block(0, x, y, h, e, &mut Vec::new())]
        } else {
            x.par_chunks(BLOCK * d)
                .zip(y.par_chunks(BLOCK))
                .zip(h.par_chunks_mut(BLOCK))
                .zip(e.par_chunks_mut(BLOCK))
                .enumerate()
                .map_init(Vec::new, |w, (index, (((x, y), h), e))| {
                    block(index, x, y, h, e, w)
                })
                .collect()
        };
        for block in sums {
            correction
                .iter_mut()
                .zip(block)
                .for_each(|(sum, x)| *sum += x);
        }
        Ok(())
    })?;
    Ok(Profile {
        leverages,
        residuals,
        correction: correction.iter().map(|c| c.to_f64()).collect(),
    })
}

/// Calls `update(row, x_row' v)` state by state: `out[i]` is handed the product of row `i` with `v`.
pub(crate) fn project(
    data: &Dataset<'_>,
    v: &[Double],
    precision: Precision,
    out: &mut [f64],
) -> Result<()> {
    let d = data.columns();
    let plain: Vec<f64> = v.iter().map(|v| v.to_f64()).collect();
    data.visit(&mut |first, x, y| {
        let block = |x: &[f64], out: &mut [f64]| match precision {
            Precision::Single64 => Arch::new().dispatch(
                #[inline(always)]
                || {
                    for (row, out) in x.chunks_exact(d).zip(out) {
                        *out = dot(row, &plain);
                    }
                },
            ),
            Precision::Double128 => {
                for (row, out) in x.chunks_exact(d).zip(out) {
                    let products = row.iter().zip(v);
                    *out = products
                        .fold(Double::ZERO, |sum, (&x, v)| sum + v.scale(x))
                        .to_f64();
                }
            }
        };
        let out = &mut out[first..first + y.len()];
        if y.len() <= BLOCK {
            block(x, out);
        } else {
            x.par_chunks(BLOCK * d)
                .zip(out.par_chunks_mut(BLOCK))
                .for_each(|(x, out)| block(x, out));
        }
        Ok(())
    })
}
