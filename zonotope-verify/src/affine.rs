//! Folded affine maps in 64-bit arithmetic, every number with a bound on its error, and the products with them that bounds are made of.
//!
//! A map is `y = W x + b` over the real numbers; what is stored is a matrix `M` with `|W - M| <= R` entry by entry, and likewise for
//! `b`. A single layer is exact (`R = 0`: its 32-bit weights are 64-bit numbers too). Every product below comes with a bound on its
//! distance to the product with the real `W` (section "soundness" of the crate's chapter: Higham's `gamma_n`).

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use rayon::prelude::*;

use crate::network::{AvgPool2d, Conv2d, Enclosure, Layer};
use crate::rounding::{Accumulator, UNDERFLOW, WIDEN, add_up, gamma, mul_up, sum_up, up};

/// Rows that one task multiplies. A constant, so that results do not depend on the number of threads.
const BLOCK: usize = 64;

/// `y = W x + b`, where `W` and `b` are known up to a radius.
#[derive(Debug, Clone)]
pub(crate) struct AffineMap {
    matrix: Matrix,
    /// A radius an entry, laid out as the entries of the matrix; none where all are exact.
    radius: Option<Vec<f64>>,
    bias: Vec<f64>,
    bias_radius: Vec<f64>,
    columns: Columns,
}

/// A matrix of 64-bit numbers.
#[derive(Debug, Clone)]
pub(crate) enum Matrix {
    /// All entries, row by row.
    Dense {
        rows: usize,
        cols: usize,
        entries: Vec<f64>,
    },
    /// Compressed rows: row `i` has the entries `offsets[i]..offsets[i + 1]`, in ascending order of their columns.
    Sparse {
        cols: usize,
        offsets: Vec<usize>,
        columns: Vec<usize>,
        entries: Vec<f64>,
    },
}

/// Products with a matrix, and how far they are from the exact ones.
#[derive(Debug, Clone)]
pub(crate) struct Products {
    /// The products, row-major, all finite.
    pub(crate) value: Vec<f64>,
    /// A bound on their errors, in the shape that the method says; infinite where something overflowed, never NaN.
    pub(crate) error: Vec<f64>,
}

/// What bounds the rounding of `rho^T W` without a second product: for every column `j` of `gamma_n |M| + R`, where `n` is the number
/// of terms, its largest entry and its sum. By Hoelder `|error_j| <= min(||rho||_1 largest_j, ||rho||_inf sum_j)`.
#[derive(Debug, Clone)]
struct Columns {
    largest: Vec<f64>,
    sum: Vec<f64>,
    /// Most entries of a column.
    terms: usize,
}

/// A row under construction: columns in ascending order.
type Row = Vec<(usize, Enclosure)>;

impl AffineMap {
    /// Folds layers without ReLUs into one map from `inputs` numbers; an identity if there are none.
    ///
    /// Products of consecutive layers carry their exact rounding errors along, so that a folded entry is off by about one rounding, and
    /// not at all where nothing was rounded (a shift before or behind a matrix, a reordering). Convolutions stay sparse.
    pub(crate) fn fold(inputs: usize, layers: &[Layer]) -> Self {
        let mut folded: Option<Self> = None;
        for layer in layers {
            let map = Self::layer(layer);
            folded = Some(match folded {
                Some(before) => map.compose(&before),
                None => map,
            });
        }
        folded.unwrap_or_else(|| Self::identity(inputs))
    }

    /// `y = x`.
    pub(crate) fn identity(n: usize) -> Self {
        let rows = (0..n).map(|i| vec![(i, Enclosure::exact(1.0))]).collect();
        Self::from_rows(n, rows, vec![Enclosure::exact(0.0); n], false)
    }

    /// Size of `x`.
    pub(crate) fn inputs(&self) -> usize {
        self.matrix.cols()
    }

    /// Size of `y`.
    pub(crate) fn outputs(&self) -> usize {
        self.bias.len()
    }

    /// Number of stored entries of `W`.
    pub(crate) fn entries(&self) -> usize {
        self.matrix.entries().len()
    }

    /// The stored matrix `M`.
    #[cfg(test)]
    pub(crate) fn matrix(&self) -> &Matrix {
        &self.matrix
    }

    /// The stored entries, row by row, and their radii where not all are exact; `None` for a sparse matrix.
    pub(crate) fn dense(&self) -> Option<(&[f64], Option<&[f64]>)> {
        self.matrix
            .is_dense()
            .then(|| (self.matrix.entries(), self.radius.as_deref()))
    }

    /// The entries of row `i` that may differ from zero: their columns, and their values with radii.
    pub(crate) fn row(&self, i: usize) -> impl Iterator<Item = (usize, Enclosure)> {
        self.matrix
            .row(i)
            .map(|(column, position)| (column, self.entry(position)))
    }

    /// `b`, each number with its radius.
    pub(crate) fn bias(&self) -> impl Iterator<Item = Enclosure> {
        self.bias
            .iter()
            .zip(&self.bias_radius)
            .map(|(&value, &radius)| Enclosure { value, radius })
    }

    /// `W x + b` for all `x` within their radii.
    pub(crate) fn apply(&self, x: &[Enclosure]) -> Vec<Enclosure> {
        debug_assert_eq!(x.len(), self.inputs());
        let row = |i: usize| {
            let mut sum = Accumulator::default();
            for (column, w) in self.row(i) {
                let x = x[column];
                sum.add_product(w.value, x.value);
                sum.add_error(product_error(w, x));
            }
            sum.add_enclosure(Enclosure {
                value: self.bias[i],
                radius: self.bias_radius[i],
            });
            sum.enclosure()
        };
        (0..self.outputs()).into_par_iter().map(row).collect()
    }

    /// `rho^T W` for `count` rows `rho` (`count x outputs`, row-major): values and their errors are `count x inputs`.
    ///
    /// This is the inner kernel of every certified bound. A row that holds an infinity or NaN has infinite errors.
    pub(crate) fn transposed(&self, rows: &[f64], count: usize) -> Products {
        let (outputs, inputs) = (self.outputs(), self.inputs());
        debug_assert_eq!(rows.len(), count * outputs);
        let mut value = vec![0.0; count * inputs];
        let mut error = vec![0.0; count * inputs];
        let blocks = value
            .par_chunks_mut(BLOCK * inputs)
            .zip(error.par_chunks_mut(BLOCK * inputs));
        blocks
            .zip(rows.par_chunks(BLOCK * outputs))
            .for_each(|((value, error), rows)| {
                self.matrix.multiply_left(rows, value);
                let results = value.chunks_mut(inputs).zip(error.chunks_mut(inputs));
                for (rho, (value, error)) in rows.chunks(outputs).zip(results) {
                    self.columns.errors(rho, error);
                    for (value, error) in value.iter_mut().zip(error) {
                        if !value.is_finite() || error.is_nan() {
                            (*value, *error) = (0.0, f64::INFINITY);
                        }
                    }
                }
            });
        Products { value, error }
    }

    /// `rho . b` for `count` rows `rho` (`count x outputs`, row-major).
    pub(crate) fn bias_dot(&self, rows: &[f64], count: usize) -> Vec<Enclosure> {
        debug_assert_eq!(rows.len(), count * self.outputs());
        rows.chunks(self.outputs())
            .map(|rho| {
                let mut sum = Accumulator::default();
                for (&rho, b) in rho.iter().zip(self.bias()) {
                    sum.add_product(rho, b.value);
                    sum.add_error(mul_up(rho.abs(), b.radius));
                }
                sum.enclosure()
            })
            .collect()
    }

    /// The map `x -> C (W x + b)` for exact `C` (`count x outputs`, row-major), such as the differences of outputs that a
    /// specification is about.
    pub(crate) fn compose_rows(&self, coefficients: &[f64], count: usize) -> Self {
        debug_assert_eq!(coefficients.len(), count * self.outputs());
        let entries = coefficients.to_vec();
        let matrix = Matrix::Dense {
            rows: count,
            cols: self.outputs(),
            entries,
        };
        Self::new(matrix, None, vec![0.0; count], vec![0.0; count]).compose(self)
    }

    /// `W G` for generators `G` (`inputs x m`, row-major, finite). The values are `outputs x m`; there is one error a *row*: a bound on
    /// the sum of the absolute errors of its `m` entries.
    pub(crate) fn generators(&self, g: &[f64], m: usize) -> Products {
        debug_assert_eq!(g.len(), self.inputs() * m);
        if m == 0 {
            return Products {
                value: Vec::new(),
                error: vec![0.0; self.outputs()],
            };
        }
        let reach: Vec<f64> = g
            .par_chunks(m)
            .map(|row| sum_up(row.iter().map(|x| x.abs())))
            .collect();
        let mut value = vec![0.0; self.outputs() * m];
        let mut error = vec![0.0; self.outputs()];
        let blocks = value
            .par_chunks_mut(BLOCK * m)
            .zip(error.par_chunks_mut(BLOCK))
            .enumerate();
        blocks.for_each(|(block, (value, error))| {
            self.matrix.multiply_right(block * BLOCK, g, m, value);
            for (offset, (value, error)) in value.chunks_mut(m).zip(error).enumerate() {
                *error = self.generator_error(block * BLOCK + offset, &reach, m);
                if !value.iter().all(|x| x.is_finite()) {
                    value.fill(0.0);
                    *error = f64::INFINITY;
                }
            }
        });
        Products { value, error }
    }

    /// `sum_k (gamma_n |M_ik| + R_ik) reach_k`, rounded up, where `reach_k` is the absolute sum of row `k` of the generators.
    fn generator_error(&self, i: usize, reach: &[f64], m: usize) -> f64 {
        let (mut size, mut spread, mut terms) = (0.0, 0.0, 0_usize);
        for (column, w) in self.row(i) {
            size += w.value.abs() * reach[column];
            spread += w.radius * reach[column];
            terms += 1;
        }
        let underflow = 2.0 * UNDERFLOW * (terms * m) as f64;
        let error = (gamma(terms) * size + spread) * (1.0 + gamma(2 * terms + 8)) + underflow;
        if error.is_nan() { f64::INFINITY } else { error }
    }

    /// The map of one layer.
    fn layer(layer: &Layer) -> Self {
        match layer {
            Layer::Affine(layer) => {
                let entries = layer.weight.iter().map(|&w| f64::from(w)).collect();
                let matrix = Matrix::Dense {
                    rows: layer.outputs,
                    cols: layer.inputs,
                    entries,
                };
                let bias = layer.bias.iter().map(|&b| f64::from(b)).collect();
                Self::new(matrix, None, bias, vec![0.0; layer.outputs])
            }
            Layer::Conv2d(layer) => Self::convolution(layer),
            Layer::AvgPool2d(layer) => Self::average(layer),
            Layer::Scale(layer) => {
                let rows = layer
                    .scale
                    .iter()
                    .enumerate()
                    .map(|(j, &scale)| vec![(j, scale)])
                    .collect();
                Self::from_rows(layer.scale.len(), rows, layer.shift.clone(), false)
            }
            Layer::Permute(order) => {
                let rows = order
                    .iter()
                    .map(|&from| vec![(from, Enclosure::exact(1.0))])
                    .collect();
                Self::from_rows(
                    order.len(),
                    rows,
                    vec![Enclosure::exact(0.0); order.len()],
                    false,
                )
            }
            Layer::Relu => unreachable!("a chain of affine layers holds no ReLU"),
        }
    }

    fn convolution(layer: &Conv2d) -> Self {
        let [channels, height, width] = layer.output();
        let [in_channels, in_height, in_width] = layer.input;
        let [kernel_height, kernel_width] = layer.kernel;
        let (group_in, group_out) = (in_channels / layer.groups, channels / layer.groups);
        let mut rows = Vec::with_capacity(channels * height * width);
        let mut bias = Vec::with_capacity(rows.capacity());
        for channel in 0..channels {
            for y in 0..height {
                for x in 0..width {
                    let mut row = Row::with_capacity(group_in * kernel_height * kernel_width);
                    for tap in 0..group_in * kernel_height * kernel_width {
                        let (across, rest) = (tap % kernel_width, tap / kernel_width);
                        let (below, from) = (rest % kernel_height, rest / kernel_height);
                        let from_y = y * layer.stride[0] + below * layer.dilation[0];
                        let from_x = x * layer.stride[1] + across * layer.dilation[1];
                        let inside_y = from_y
                            .checked_sub(layer.padding[0])
                            .filter(|&y| y < in_height);
                        let inside_x = from_x
                            .checked_sub(layer.padding[1])
                            .filter(|&x| x < in_width);
                        if let (Some(from_y), Some(from_x)) = (inside_y, inside_x) {
                            let from = channel / group_out * group_in + from;
                            let weight = layer.weight
                                [channel * group_in * kernel_height * kernel_width + tap];
                            let column = (from * in_height + from_y) * in_width + from_x;
                            row.push((column, Enclosure::exact(f64::from(weight))));
                        }
                    }
                    rows.push(row);
                    bias.push(Enclosure::exact(f64::from(layer.bias[channel])));
                }
            }
        }
        Self::from_rows(in_channels * in_height * in_width, rows, bias, false)
    }

    fn average(layer: &AvgPool2d) -> Self {
        let [channels, height, width] = layer.output();
        let [_, in_height, in_width] = layer.input;
        let range = |start: usize, kernel: usize, padding: usize, length: usize| {
            start.saturating_sub(padding)..(start + kernel).saturating_sub(padding).min(length)
        };
        let mut rows = Vec::with_capacity(channels * height * width);
        for channel in 0..channels {
            for y in 0..height {
                for x in 0..width {
                    let down = range(
                        y * layer.stride[0],
                        layer.kernel[0],
                        layer.padding[0],
                        in_height,
                    );
                    let across = range(
                        x * layer.stride[1],
                        layer.kernel[1],
                        layer.padding[1],
                        in_width,
                    );
                    let divisor = if layer.count_include_pad {
                        layer.kernel[0] * layer.kernel[1]
                    } else {
                        down.len() * across.len()
                    };
                    let share = reciprocal(divisor);
                    let row: Row = down
                        .flat_map(|y| across.clone().map(move |x| (y, x)))
                        .map(|(y, x)| ((channel * in_height + y) * in_width + x, share))
                        .collect();
                    rows.push(row);
                }
            }
        }
        let bias = vec![Enclosure::exact(0.0); rows.len()];
        Self::from_rows(layer.input.iter().product(), rows, bias, false)
    }

    /// The map `x -> self(inner(x))`.
    fn compose(&self, inner: &Self) -> Self {
        let cols = inner.inputs();
        let workspace = || {
            (
                vec![Accumulator::default(); cols],
                vec![false; cols],
                Vec::new(),
            )
        };
        let rows = (0..self.outputs())
            .into_par_iter()
            .map_init(
                workspace,
                |(sums, seen, touched): &mut (_, Vec<bool>, Vec<usize>), i| {
                    let sums: &mut Vec<Accumulator> = sums;
                    for (middle, a) in self.row(i) {
                        if a == Enclosure::exact(0.0) {
                            continue;
                        }
                        for (column, b) in inner.row(middle) {
                            if !std::mem::replace(&mut seen[column], true) {
                                touched.push(column);
                            }
                            sums[column].add_product(a.value, b.value);
                            sums[column].add_error(product_error(a, b));
                        }
                    }
                    touched.sort_unstable();
                    let row: Row = touched
                        .iter()
                        .map(|&column| (column, sums[column].enclosure()))
                        .collect();
                    for column in touched.drain(..) {
                        sums[column] = Accumulator::default();
                        seen[column] = false;
                    }
                    row
                },
            )
            .collect();
        let shift: Vec<Enclosure> = inner.bias().collect();
        let dense = self.matrix.is_dense() || inner.matrix.is_dense();
        Self::from_rows(cols, rows, self.apply(&shift), dense)
    }

    /// A map from its rows. Sparse unless `dense` is asked for or most entries are there.
    fn from_rows(cols: usize, rows: Vec<Row>, bias: Vec<Enclosure>, dense: bool) -> Self {
        let count: usize = rows.iter().map(Vec::len).sum();
        let exact = rows.iter().flatten().all(|(_, entry)| entry.radius == 0.0);
        let (matrix, radius) = if dense || 4 * count >= 3 * rows.len() * cols {
            let mut entries = vec![0.0; rows.len() * cols];
            let mut radius = vec![0.0; if exact { 0 } else { entries.len() }];
            for (i, row) in rows.iter().enumerate() {
                for &(column, entry) in row {
                    entries[i * cols + column] = entry.value;
                    if !exact {
                        radius[i * cols + column] = entry.radius;
                    }
                }
            }
            (
                Matrix::Dense {
                    rows: rows.len(),
                    cols,
                    entries,
                },
                radius,
            )
        } else {
            let mut offsets = Vec::with_capacity(rows.len() + 1);
            offsets.push(0);
            let (mut columns, mut entries, mut radius) = (
                Vec::with_capacity(count),
                Vec::with_capacity(count),
                Vec::new(),
            );
            for row in &rows {
                for &(column, entry) in row
                    .iter()
                    .filter(|(_, entry)| *entry != Enclosure::exact(0.0))
                {
                    columns.push(column);
                    entries.push(entry.value);
                    if !exact {
                        radius.push(entry.radius);
                    }
                }
                offsets.push(entries.len());
            }
            (
                Matrix::Sparse {
                    cols,
                    offsets,
                    columns,
                    entries,
                },
                radius,
            )
        };
        let (bias, bias_radius) = bias.iter().map(|b| (b.value, b.radius)).unzip();
        Self::new(matrix, (!exact).then_some(radius), bias, bias_radius)
    }

    fn new(
        matrix: Matrix,
        radius: Option<Vec<f64>>,
        bias: Vec<f64>,
        bias_radius: Vec<f64>,
    ) -> Self {
        let columns = Columns::new(&matrix, radius.as_deref());
        Self {
            matrix,
            radius,
            bias,
            bias_radius,
            columns,
        }
    }

    fn entry(&self, position: usize) -> Enclosure {
        let radius = self.radius.as_ref().map_or(0.0, |radius| radius[position]);
        Enclosure {
            value: self.matrix.entries()[position],
            radius,
        }
    }
}

impl Matrix {
    /// Number of rows.
    pub(crate) fn rows(&self) -> usize {
        match self {
            Self::Dense { rows, .. } => *rows,
            Self::Sparse { offsets, .. } => offsets.len() - 1,
        }
    }

    /// Number of columns.
    pub(crate) fn cols(&self) -> usize {
        match self {
            Self::Dense { cols, .. } | Self::Sparse { cols, .. } => *cols,
        }
    }

    /// Whether all entries are stored.
    pub(crate) fn is_dense(&self) -> bool {
        matches!(self, Self::Dense { .. })
    }

    /// The stored entries.
    pub(crate) fn entries(&self) -> &[f64] {
        match self {
            Self::Dense { entries, .. } | Self::Sparse { entries, .. } => entries,
        }
    }

    /// The stored entries of row `i`: column, and position in [`Matrix::entries`].
    fn row(&self, i: usize) -> impl Iterator<Item = (usize, usize)> {
        let (range, columns) = match self {
            Self::Dense { cols, .. } => (i * cols..(i + 1) * cols, None),
            Self::Sparse {
                offsets, columns, ..
            } => (offsets[i]..offsets[i + 1], Some(columns)),
        };
        let start = range.start;
        range.map(move |position| {
            (
                columns.map_or(position - start, |columns| columns[position]),
                position,
            )
        })
    }

    /// `product = rows M` for at most a block of rows.
    fn multiply_left(&self, rows: &[f64], product: &mut [f64]) {
        let (outputs, inputs) = (self.rows(), self.cols());
        let count = rows.len() / outputs;
        match self {
            Self::Dense { entries, .. } => {
                let rows = MatRef::from_row_major_slice(rows, count, outputs);
                let matrix = MatRef::from_row_major_slice(entries, outputs, inputs);
                let product = MatMut::from_row_major_slice_mut(product, count, inputs);
                matmul(product, Accum::Replace, rows, matrix, 1.0, Par::Seq);
            }
            Self::Sparse {
                offsets,
                columns,
                entries,
                ..
            } => {
                // Transposed, so that the innermost loop runs over the rows of the block.
                let mut sums = vec![0.0; inputs * count];
                let mut rho = vec![0.0; count];
                for i in 0..outputs {
                    for (rho, row) in rho.iter_mut().zip(rows.chunks(outputs)) {
                        *rho = row[i];
                    }
                    if rho.iter().all(|&rho| rho == 0.0) {
                        continue;
                    }
                    for position in offsets[i]..offsets[i + 1] {
                        let start = columns[position] * count;
                        add_multiple(&mut sums[start..start + count], entries[position], &rho);
                    }
                }
                for (r, row) in product.chunks_mut(inputs).enumerate() {
                    for (j, value) in row.iter_mut().enumerate() {
                        *value = sums[j * count + r];
                    }
                }
            }
        }
    }

    /// `product = M[first..] G` for the rows of a block, as many as the product has.
    fn multiply_right(&self, first: usize, g: &[f64], m: usize, product: &mut [f64]) {
        let count = product.len() / m;
        match self {
            Self::Dense { cols, entries, .. } => {
                let matrix = &entries[first * cols..(first + count) * cols];
                let matrix = MatRef::from_row_major_slice(matrix, count, *cols);
                let g = MatRef::from_row_major_slice(g, *cols, m);
                let product = MatMut::from_row_major_slice_mut(product, count, m);
                matmul(product, Accum::Replace, matrix, g, 1.0, Par::Seq);
            }
            Self::Sparse {
                offsets,
                columns,
                entries,
                ..
            } => {
                product.fill(0.0);
                for (offset, row) in product.chunks_mut(m).enumerate() {
                    for position in offsets[first + offset]..offsets[first + offset + 1] {
                        let start = columns[position] * m;
                        add_multiple(row, entries[position], &g[start..start + m]);
                    }
                }
            }
        }
    }
}

impl Columns {
    fn new(matrix: &Matrix, radius: Option<&[f64]>) -> Self {
        let mut counts = vec![0_usize; matrix.cols()];
        for i in 0..matrix.rows() {
            for (column, _) in matrix.row(i) {
                counts[column] += 1;
            }
        }
        let terms = counts.into_iter().max().unwrap_or(0);
        let (mut largest, mut sum) = (vec![0.0_f64; matrix.cols()], vec![0.0; matrix.cols()]);
        for i in 0..matrix.rows() {
            for (column, position) in matrix.row(i) {
                let radius = radius.map_or(0.0, |radius| radius[position]);
                let error = add_up(
                    mul_up(gamma(terms), matrix.entries()[position].abs()),
                    radius,
                );
                largest[column] = largest[column].max(error);
                sum[column] = add_up(sum[column], error);
            }
        }
        Self {
            largest,
            sum,
            terms,
        }
    }

    /// Bounds on the rounding errors of `rho^T W`.
    fn errors(&self, rho: &[f64], errors: &mut [f64]) {
        let sum = sum_up(rho.iter().map(|x| x.abs()));
        let largest = rho.iter().fold(0.0_f64, |largest, x| largest.max(x.abs()));
        if rho.iter().any(|x| !x.is_finite()) {
            errors.fill(f64::INFINITY);
        } else if largest > 0.0 {
            let underflow = 2.0 * UNDERFLOW * (self.terms + 1) as f64;
            for (error, (&by_largest, &by_sum)) in
                errors.iter_mut().zip(self.largest.iter().zip(&self.sum))
            {
                *error = (sum * by_largest).min(largest * by_sum) * WIDEN + underflow;
            }
        }
    }
}

/// `|exact product - a.value b.value|` at most, beside the rounding of that product.
fn product_error(a: Enclosure, b: Enclosure) -> f64 {
    if a.radius == 0.0 && b.radius == 0.0 {
        return 0.0;
    }
    let of_b = mul_up(a.value.abs(), b.radius);
    let of_a = mul_up(a.radius, add_up(b.value.abs(), b.radius));
    add_up(of_a, of_b)
}

/// `1 / k`.
fn reciprocal(k: usize) -> Enclosure {
    let k = k as f64;
    let value = 1.0 / k;
    // 1 - k value is a floating-point number.
    let rest = (-value).mul_add(k, 1.0).abs();
    Enclosure {
        value,
        radius: if rest == 0.0 { 0.0 } else { up(rest / k) },
    }
}

/// `sums += factor x`.
fn add_multiple(sums: &mut [f64], factor: f64, x: &[f64]) {
    for (sum, &x) in sums.iter_mut().zip(x) {
        *sum += factor * x;
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::network::{Affine, Scale};
    use crate::rounding::exact::{holds, integer};

    /// Exponents of two by which weights are scaled: 1, about 1e-12 and about 1e12.
    const SCALES: [i32; 3] = [0, -40, 40];

    /// A number of 24 significant bits, as 32-bit weights have them, an integer multiple of 2^-4.
    fn short(rng: &mut ChaCha8Rng) -> f64 {
        if rng.random_range(0..10) == 0 {
            return 0.0;
        }
        let size =
            f64::from(rng.random_range(0..1_u32 << 24)) * 2.0_f64.powi(rng.random_range(-4..=4));
        if rng.random() { size } else { -size }
    }

    fn numbers(rng: &mut ChaCha8Rng, count: usize, scale: i32) -> Vec<f32> {
        (0..count)
            .map(|_| (short(rng) * 2.0_f64.powi(scale)) as f32)
            .collect()
    }

    fn numbers_f64(rng: &mut ChaCha8Rng, count: usize) -> Vec<f64> {
        (0..count).map(|_| short(rng)).collect()
    }

    fn dense(rng: &mut ChaCha8Rng, outputs: usize, inputs: usize, scale: i32) -> Affine {
        let (weight, bias) = (
            numbers(rng, outputs * inputs, scale),
            numbers(rng, outputs, scale),
        );
        Affine {
            outputs,
            inputs,
            weight,
            bias,
        }
    }

    fn convolution(rng: &mut ChaCha8Rng, scale: i32) -> Conv2d {
        Conv2d {
            input: [2, 5, 6],
            channels: 4,
            kernel: [3, 2],
            stride: [2, 1],
            padding: [1, 0, 2, 1],
            dilation: [1, 2],
            groups: 2,
            weight: numbers(rng, 4 * 3 * 2, scale),
            bias: numbers(rng, 4, scale),
        }
    }

    /// The exact matrix and bias of a dense layer, in units of 2^exponent.
    fn exactly(layer: &Affine, exponent: i32) -> (Vec<Vec<i128>>, Vec<i128>) {
        let exact = |&w: &f32| integer(f64::from(w), exponent);
        let rows = layer
            .weight
            .chunks(layer.inputs)
            .map(|row| row.iter().map(exact).collect())
            .collect();
        (rows, layer.bias.iter().map(exact).collect())
    }

    /// Two dense layers folded, and the exact product of their matrices with its bias.
    fn folded(rng: &mut ChaCha8Rng, scale: i32) -> (AffineMap, Vec<Vec<i128>>, Vec<i128>) {
        let (first, second) = (dense(rng, 7, 9, scale), dense(rng, 5, 7, scale));
        let (w1, b1) = exactly(&first, scale - 4);
        let (w2, b2) = exactly(&second, scale - 4);
        let product =
            |row: &Vec<i128>, j: usize| row.iter().zip(&w1).map(|(a, inner)| a * inner[j]).sum();
        let matrix = w2
            .iter()
            .map(|row| (0..9).map(|j| product(row, j)).collect())
            .collect();
        // The outer bias is in units of 2^(scale - 4), the products in units of its square.
        let bias = |(row, b): (&Vec<i128>, &i128)| {
            let inner: i128 = row.iter().zip(&b1).map(|(a, b)| a * b).sum();
            if scale <= 4 {
                inner + (b << (4 - scale))
            } else {
                inner + (b >> (scale - 4))
            }
        };
        let bias = w2.iter().zip(&b2).map(bias).collect();
        let layers = [Layer::Affine(first), Layer::Affine(second)];
        (AffineMap::fold(9, &layers), matrix, bias)
    }

    fn dense_of(map: &AffineMap) -> Vec<Enclosure> {
        let mut all = vec![Enclosure::exact(0.0); map.inputs() * map.outputs()];
        for i in 0..map.outputs() {
            for (column, entry) in map.row(i) {
                all[i * map.inputs() + column] = entry;
            }
        }
        all
    }

    #[test]
    fn a_folded_product_holds_the_exact_one() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for round in 0..300 {
            let scale = SCALES[round % 3];
            let (map, matrix, bias) = folded(&mut rng, scale);
            for (i, row) in matrix.iter().enumerate() {
                for ((_, entry), &exact) in map.row(i).zip(row) {
                    assert!(holds(exact, 2 * scale - 8, entry), "{entry:?}");
                    assert!(entry.radius <= 1e-15 * entry.value.abs());
                }
            }
            // The exact bias is an integer in these units unless the scale is large.
            if scale <= 4 {
                for (b, &exact) in map.bias().zip(&bias) {
                    assert!(holds(exact, 2 * scale - 8, b), "{b:?}");
                }
            }
        }
    }

    #[test]
    fn transposed_products_hold_the_exact_ones() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        for round in 0..100 {
            let scale = SCALES[round % 3];
            let (map, matrix, _) = folded(&mut rng, scale);
            let count = 1 + 41 * (round % 4);
            let rho: Vec<f64> = (0..count * 5).map(|_| short(&mut rng)).collect();
            let products = map.transposed(&rho, count);
            for (r, rho) in rho.chunks(5).enumerate() {
                let size: f64 = rho.iter().map(|x| x.abs()).sum();
                let largest = dense_of(&map)
                    .iter()
                    .fold(0.0_f64, |m, w| m.max(w.value.abs()));
                for j in 0..9 {
                    let exact = rho
                        .iter()
                        .zip(&matrix)
                        .map(|(&x, row)| integer(x, -4) * row[j])
                        .sum();
                    let x = Enclosure {
                        value: products.value[r * 9 + j],
                        radius: products.error[r * 9 + j],
                    };
                    assert!(holds(exact, 2 * scale - 12, x), "{x:?}");
                    assert!(x.radius <= 1e-14 * size * largest);
                }
            }
        }
    }

    #[test]
    fn generator_products_hold_the_exact_ones_row_by_row() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        for round in 0..100 {
            let scale = SCALES[round % 3];
            let (map, matrix, _) = folded(&mut rng, scale);
            let m = 1 + round % 7;
            let g: Vec<f64> = (0..9 * m).map(|_| short(&mut rng)).collect();
            let products = map.generators(&g, m);
            for (i, row) in matrix.iter().enumerate() {
                let distance: i128 = (0..m)
                    .map(|k| {
                        let exact: i128 = row
                            .iter()
                            .enumerate()
                            .map(|(j, w)| w * integer(g[j * m + k], -4))
                            .sum();
                        (exact - integer(products.value[i * m + k], 2 * scale - 12)).abs()
                    })
                    .sum();
                let error = Enclosure {
                    value: 0.0,
                    radius: products.error[i],
                };
                assert!(holds(distance, 2 * scale - 12, error));
                let size: f64 = map
                    .row(i)
                    .map(|(j, w)| (w.value * sum_up(g[j * m..][..m].iter().map(|x| x.abs()))).abs())
                    .sum();
                assert!(products.error[i] <= 1e-14 * size + 1e-300);
            }
        }
    }

    #[test]
    fn images_of_points_hold_the_exact_ones() {
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        for round in 0..200 {
            let scale = SCALES[round % 2];
            let (map, matrix, bias) = folded(&mut rng, scale);
            let x: Vec<f64> = (0..9).map(|_| short(&mut rng)).collect();
            // Every point within the radii of the argument lies within those of the result.
            let center: Vec<Enclosure> = x
                .iter()
                .map(|&x| Enclosure {
                    value: x + 1.0,
                    radius: 1.0,
                })
                .collect();
            let point: Vec<Enclosure> = x.iter().map(|&x| Enclosure::exact(x)).collect();
            let results = map.apply(&point).into_iter().zip(map.apply(&center));
            for ((row, b), (result, wide)) in matrix.iter().zip(&bias).zip(results) {
                let exact = row
                    .iter()
                    .zip(&x)
                    .map(|(w, &x)| w * integer(x, -4))
                    .sum::<i128>()
                    + (b << 4);
                assert!(holds(exact, 2 * scale - 12, result) && holds(exact, 2 * scale - 12, wide));
            }
        }
    }

    #[test]
    fn products_with_the_bias_hold_the_exact_ones() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        for round in 0..200 {
            let scale = SCALES[round % 2];
            let (map, _, bias) = folded(&mut rng, scale);
            let rho: Vec<f64> = (0..10).map(|_| short(&mut rng)).collect();
            for (rho, x) in rho.chunks(5).zip(map.bias_dot(&rho, 2)) {
                let exact = rho
                    .iter()
                    .zip(&bias)
                    .map(|(&r, b)| integer(r, -4) * b)
                    .sum();
                assert!(holds(exact, 2 * scale - 12, x));
            }
        }
    }

    #[test]
    fn a_radius_covers_every_map_within_it() {
        let mut rng = ChaCha8Rng::seed_from_u64(10);
        for round in 0..200 {
            let layer = Layer::Affine(dense(&mut rng, 5, 9, 0));
            let factor = |value: f64, radius: f64, n: usize| {
                let scale = vec![Enclosure { value, radius }; n];
                let shift = vec![
                    Enclosure {
                        value: 3.0 * value,
                        radius: 3.0 * radius
                    };
                    n
                ];
                Layer::Scale(Scale { scale, shift })
            };
            // The factors 1.75 and 2.25 are among those that 2 +- 0.25 stands for, before the layer, behind it or on both sides.
            let chain = |radius: f64, deviation: f64| {
                let mut layers = vec![layer.clone()];
                if round % 3 != 0 {
                    layers.insert(0, factor(2.0 + deviation, radius, 9));
                }
                if round % 3 != 1 {
                    layers.push(factor(2.0 + deviation, radius, 5));
                }
                AffineMap::fold(9, &layers)
            };
            let map = chain(0.25, 0.0);
            let (x, rho, g): (Vec<f64>, Vec<f64>, Vec<f64>) = (
                numbers_f64(&mut rng, 9),
                numbers_f64(&mut rng, 5),
                numbers_f64(&mut rng, 27),
            );
            let point: Vec<Enclosure> = x.iter().map(|&x| Enclosure::exact(x)).collect();
            for deviation in [-0.25, 0.25] {
                let one = chain(0.0, deviation);
                let covers = |wide: Enclosure, exact: Enclosure| {
                    assert!(
                        (wide.value - exact.value).abs() <= wide.radius * (1.0 + 1e-12) + 1e-300
                    );
                };
                for (wide, exact) in map.apply(&point).into_iter().zip(one.apply(&point)) {
                    covers(wide, exact);
                }
                covers(map.bias_dot(&rho, 1)[0], one.bias_dot(&rho, 1)[0]);
                let (wide, exact) = (map.transposed(&rho, 1), one.transposed(&rho, 1));
                for j in 0..9 {
                    let wide = Enclosure {
                        value: wide.value[j],
                        radius: wide.error[j],
                    };
                    covers(wide, Enclosure::exact(exact.value[j]));
                }
                let (wide, exact) = (map.generators(&g, 3), one.generators(&g, 3));
                for i in 0..5 {
                    let distance = (0..3)
                        .map(|k| (wide.value[i * 3 + k] - exact.value[i * 3 + k]).abs())
                        .sum();
                    covers(
                        Enclosure {
                            value: 0.0,
                            radius: wide.error[i],
                        },
                        Enclosure::exact(distance),
                    );
                }
            }
        }
    }

    #[test]
    fn composed_rows_are_differences_of_outputs() {
        let mut rng = ChaCha8Rng::seed_from_u64(6);
        for _ in 0..50 {
            let (map, matrix, bias) = folded(&mut rng, 0);
            let margin = map.compose_rows(&[0.0, 1.0, 0.0, -1.0, 0.0], 1);
            assert_eq!((margin.inputs(), margin.outputs()), (9, 1));
            for (column, entry) in margin.row(0) {
                assert!(holds(matrix[1][column] - matrix[3][column], -8, entry));
            }
            assert!(margin.bias().all(|b| holds(bias[1] - bias[3], -8, b)));
        }
    }

    #[test]
    fn shifts_and_reorderings_fold_without_error() {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let layer = dense(&mut rng, 3, 4, 0);
        let weight = layer.weight.clone();
        let shift = |by: f64, n: usize| {
            let (scale, shift) = (
                vec![Enclosure::exact(1.0); n],
                vec![Enclosure::exact(by); n],
            );
            Layer::Scale(Scale { scale, shift })
        };
        let layers = [
            Layer::Permute(vec![3, 0, 2, 1]),
            shift(-0.5, 4),
            Layer::Affine(layer),
            shift(0.25, 3),
        ];
        let map = AffineMap::fold(4, &layers);
        let all = dense_of(&map);
        for i in 0..3 {
            for (j, from) in [3, 0, 2, 1].into_iter().enumerate() {
                assert_eq!(
                    all[i * 4 + from],
                    Enclosure::exact(f64::from(weight[i * 4 + j]))
                );
            }
        }
    }

    #[test]
    fn an_empty_chain_is_the_identity() {
        let map = AffineMap::fold(6, &[]);
        assert!(!map.matrix().is_dense());
        let x: Vec<Enclosure> = (0..6)
            .map(|i| Enclosure {
                value: 0.1 * f64::from(i),
                radius: 0.01,
            })
            .collect();
        assert_eq!(map.apply(&x), x);
    }

    #[test]
    fn convolutions_stay_sparse_and_agree_with_the_definition() {
        let mut rng = ChaCha8Rng::seed_from_u64(8);
        let layer = convolution(&mut rng, 0);
        let [channels, height, width] = layer.output();
        let map = AffineMap::fold(60, &[Layer::Conv2d(layer.clone())]);
        assert!(!map.matrix().is_dense());
        let x: Vec<f64> = (0..60)
            .map(|_| f64::from(rng.random_range(-8..8_i32)))
            .collect();
        let at = |c: usize, y: i64, x_: i64| {
            let inside = (0..5).contains(&y) && (0..6).contains(&x_);
            if inside {
                x[c * 30 + (y * 6 + x_) as usize]
            } else {
                0.0
            }
        };
        let point: Vec<Enclosure> = x.iter().map(|&x| Enclosure::exact(x)).collect();
        let result = map.apply(&point);
        for c in 0..channels {
            for y in 0..height {
                for x in 0..width {
                    let mut expected = f64::from(layer.bias[c]);
                    for ky in 0..3 {
                        for kx in 0..2 {
                            let weight = f64::from(layer.weight[(c * 3 + ky) * 2 + kx]);
                            expected +=
                                weight * at(c / 2, (2 * y + ky) as i64 - 1, (x + 2 * kx) as i64);
                        }
                    }
                    // Few enough bits that nothing is rounded.
                    assert_eq!(
                        result[(c * height + y) * width + x],
                        Enclosure::exact(expected)
                    );
                }
            }
        }
    }

    #[test]
    fn sparse_and_dense_products_agree() {
        let mut rng = ChaCha8Rng::seed_from_u64(9);
        let map = AffineMap::fold(60, &[Layer::Conv2d(convolution(&mut rng, 0))]);
        let (outputs, all) = (map.outputs(), dense_of(&map));
        let weight = all.iter().map(|w| w.value as f32).collect();
        let bias = map.bias().map(|b| b.value as f32).collect();
        let flat = AffineMap::fold(
            60,
            &[Layer::Affine(Affine {
                outputs,
                inputs: 60,
                weight,
                bias,
            })],
        );
        let count = 70;
        let rho: Vec<f64> = (0..count * outputs).map(|_| short(&mut rng)).collect();
        let g: Vec<f64> = (0..60 * 9).map(|_| short(&mut rng)).collect();
        let (sparse, dense) = (map.transposed(&rho, count), flat.transposed(&rho, count));
        for k in 0..sparse.value.len() {
            assert!((sparse.value[k] - dense.value[k]).abs() <= sparse.error[k] + dense.error[k]);
        }
        let (sparse, dense) = (map.generators(&g, 9), flat.generators(&g, 9));
        for i in 0..outputs {
            let rows = sparse.value[i * 9..][..9]
                .iter()
                .zip(&dense.value[i * 9..][..9]);
            let distance: f64 = rows.map(|(a, b)| (a - b).abs()).sum();
            assert!(distance <= sparse.error[i] + dense.error[i]);
        }
    }

    #[test]
    fn means_know_what_their_divisor_costs() {
        let pool = |count_include_pad: bool, kernel: [usize; 2]| {
            let (stride, padding) = ([1, 1], [1, 0, 0, 0]);
            let layer = AvgPool2d {
                input: [1, 4, 4],
                kernel,
                stride,
                padding,
                count_include_pad,
            };
            AffineMap::fold(16, &[Layer::AvgPool2d(layer)])
        };
        // A quarter is exact, a third is not.
        assert!(
            pool(true, [2, 2])
                .row(0)
                .all(|(_, w)| w == Enclosure::exact(0.25))
        );
        let thirds: Vec<_> = pool(true, [3, 1]).row(4).collect();
        assert_eq!(
            thirds.iter().map(|(column, _)| *column).collect::<Vec<_>>(),
            [0, 4, 8]
        );
        for (_, third) in thirds {
            let error = (-third.value).mul_add(3.0, 1.0).abs() / 3.0;
            assert!(error <= third.radius && third.radius < 1e-16);
        }
        // The first window covers one row of padding.
        assert!(
            pool(false, [2, 2])
                .row(0)
                .all(|(_, w)| w == Enclosure::exact(0.5))
        );
        assert_eq!(pool(false, [2, 2]).row(0).count(), 2);
    }

    #[test]
    fn overflow_is_infinite_and_never_nan() {
        let huge = |sign: f32| Affine {
            outputs: 2,
            inputs: 2,
            weight: vec![sign * 1e38; 4],
            bias: vec![1e38; 2],
        };
        let layers: Vec<Layer> = (0..10)
            .map(|k| Layer::Affine(huge(if k % 2 == 0 { 1.0 } else { -1.0 })))
            .collect();
        let map = AffineMap::fold(2, &layers);
        let all_finite = |values: &[f64]| values.iter().all(|x| x.is_finite());
        let products = map.transposed(&[1.0, -1.0], 1);
        assert!(all_finite(&products.value) && products.error.iter().all(|&e| e == f64::INFINITY));
        let products = map.generators(&[1.0, -1.0, 1.0, 0.0], 2);
        assert!(all_finite(&products.value) && products.error.iter().all(|&e| e == f64::INFINITY));
        assert!(
            map.apply(&[Enclosure::exact(1.0); 2])
                .iter()
                .all(|y| y.radius == f64::INFINITY)
        );
        let single = AffineMap::fold(2, &layers[..1]);
        for bad in [f64::NAN, f64::INFINITY] {
            let products = single.transposed(&[bad, 0.0, 1.0, 1.0], 2);
            assert!(all_finite(&products.value));
            assert!(products.error[..2].iter().all(|&e| e == f64::INFINITY));
            assert!(all_finite(&products.error[2..]));
        }
    }
}
