//! Products of small matrices whose results are the same to the last bit on every processor.
//!
//! Every entry is summed up in one fixed order, by multiplications and additions that are rounded one by one; vectors of any length only do
//! several entries at a time. So a bound that a search found is found again by whoever checks it, and a row's result does
//! not depend on the rows that it is computed with.

use pulp::{Arch, Simd, WithSimd};

/// Partial sums of a reduction.
const LANES: usize = 8;

/// Rows of a tile whose sums stay in registers.
const TALL: usize = 4;

/// `out = sum over k in live of a[:, k] b[k, :]`, row-major. `a` has `depth` columns, `b` and `out` have `columns`.
pub(crate) fn multiply(
    arch: Arch,
    (a, depth): (&[f64], usize),
    live: &[usize],
    b: &[f64],
    columns: usize,
    out: &mut [f64],
) {
    if columns == 0 {
        return;
    }
    arch.dispatch(Multiply {
        a,
        depth,
        live,
        b,
        columns,
        out,
    });
}

struct Multiply<'a> {
    a: &'a [f64],
    depth: usize,
    live: &'a [usize],
    b: &'a [f64],
    columns: usize,
    out: &'a mut [f64],
}

impl WithSimd for Multiply<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, _: S) {
        let rows = self.out.len() / self.columns;
        let tall = rows - rows % TALL;
        for row in (0..tall).step_by(TALL) {
            self.across::<TALL>(row);
        }
        for row in tall..rows {
            self.across::<1>(row);
        }
    }
}

impl Multiply<'_> {
    /// All tiles of `R` rows.
    #[inline(always)]
    fn across<const R: usize>(&mut self, row: usize) {
        if self.columns < LANES {
            for column in 0..self.columns {
                self.tile::<R, 1>(row, column);
            }
            return;
        }
        for column in (0..self.columns).step_by(LANES) {
            // The last tile overlaps the one before it and finds the same numbers again.
            self.tile::<R, LANES>(row, column.min(self.columns - LANES));
        }
    }

    #[inline(always)]
    fn tile<const R: usize, const C: usize>(&mut self, row: usize, column: usize) {
        let (a, b) = (self.a, &self.b[column..]);
        let mut sums = [[0.0; C]; R];
        let rows: [&[f64]; R] = std::array::from_fn(|r| &a[(row + r) * self.depth..][..self.depth]);
        for &k in self.live {
            let Some(line) = b[k * self.columns..].first_chunk::<C>() else {
                return;
            };
            for (sums, a) in sums.iter_mut().zip(rows) {
                let factor = a[k];
                for (sum, x) in sums.iter_mut().zip(line) {
                    *sum += factor * x;
                }
            }
        }
        for (r, sums) in sums.iter().enumerate() {
            self.out[(row + r) * self.columns + column..][..C].copy_from_slice(sums);
        }
    }
}

/// `(|M| x, |M| y)` for the rows of `m`, handed to `give` with the number of the row.
pub(crate) fn absolute(
    arch: Arch,
    m: &[f64],
    (x, y): (&[f64], &[f64]),
    give: impl FnMut(usize, f64, f64),
) {
    if !x.is_empty() {
        arch.dispatch(Absolute { m, x, y, give });
    }
}

struct Absolute<'a, F> {
    m: &'a [f64],
    x: &'a [f64],
    y: &'a [f64],
    give: F,
}

impl<F: FnMut(usize, f64, f64)> WithSimd for Absolute<'_, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, _: S) {
        let (x, y) = (self.x, self.y);
        for (row, entries) in self.m.chunks_exact(x.len()).enumerate() {
            let (mut first, mut second) = ([0.0; LANES], [0.0; LANES]);
            let mut at = 0;
            while let (Some(m), Some(x), Some(y)) = (
                entries[at..].first_chunk::<LANES>(),
                x[at..].first_chunk::<LANES>(),
                y[at..].first_chunk::<LANES>(),
            ) {
                let m = m.map(f64::abs);
                add_products(&mut first, &m, x);
                add_products(&mut second, &m, y);
                at += LANES;
            }
            for lane in 0..entries.len() - at {
                first[lane] += entries[at + lane].abs() * x[at + lane];
                second[lane] += entries[at + lane].abs() * y[at + lane];
            }
            (self.give)(row, total(&first), total(&second));
        }
    }
}

/// `sum |x|`.
#[inline(always)]
pub(crate) fn size(x: &[f64]) -> f64 {
    let mut sums = [0.0; LANES];
    let (chunks, rest) = x.as_chunks::<LANES>();
    for chunk in chunks {
        for (sum, x) in sums.iter_mut().zip(chunk) {
            *sum += x.abs();
        }
    }
    for (sum, x) in sums.iter_mut().zip(rest) {
        *sum += x.abs();
    }
    total(&sums)
}

/// What a pass backward needs to know of one hidden layer; a number a neuron each.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lines<'a> {
    /// Slope for positive coefficients.
    pub(crate) below: &'a [f64],
    /// Slope for negative coefficients.
    pub(crate) above: &'a [f64],
    /// What a coefficient of -1 costs.
    pub(crate) cost: &'a [f64],
    /// What the neuron's bias adds to a multiplier of 1.
    pub(crate) bias: &'a [f64],
    /// What a multiplier of 1 may be wrong by.
    pub(crate) error: &'a [f64],
}

/// Puts multipliers in the place of the coefficients of all rows, and hands on what each row gains by biases, what it pays at its neurons,
/// and what it may be wrong by.
pub(crate) fn relax(
    arch: Arch,
    rows: &mut [f64],
    lines: Lines<'_>,
    give: impl FnMut(usize, [f64; 3]),
) {
    if !lines.below.is_empty() {
        arch.dispatch(Relax { rows, lines, give });
    }
}

struct Relax<'a, F> {
    rows: &'a mut [f64],
    lines: Lines<'a>,
    give: F,
}

impl<F: FnMut(usize, [f64; 3])> WithSimd for Relax<'_, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, _: S) {
        let width = self.lines.below.len();
        for (row, c) in self.rows.chunks_exact_mut(width).enumerate() {
            (self.give)(row, relax_row(c, self.lines));
        }
    }
}

/// Puts multipliers in the place of one row's coefficients and returns what the row gains by biases, what it pays at its neurons, and what
/// it may be wrong by.
#[inline(always)]
fn relax_row(row: &mut [f64], lines: Lines<'_>) -> [f64; 3] {
    let mut sums = [[0.0; LANES]; 3];
    let (chunks, rest) = row.as_chunks_mut::<LANES>();
    let full = chunks.len() * LANES;
    for (at, chunk) in chunks.iter_mut().enumerate() {
        let at = at * LANES;
        let numbers = [
            lines.below,
            lines.above,
            lines.cost,
            lines.bias,
            lines.error,
        ]
        .map(|numbers| numbers[at..].first_chunk::<LANES>());
        let [
            Some(below),
            Some(above),
            Some(cost),
            Some(bias),
            Some(error),
        ] = numbers
        else {
            break;
        };
        let c = *chunk;
        let (negative, rho) = (c.map(negative), multipliers(c, below, above));
        *chunk = rho;
        add_products(&mut sums[0], &rho, bias);
        add_products(&mut sums[1], &negative.map(f64::abs), cost);
        add_products(&mut sums[2], &rho.map(f64::abs), error);
    }
    for (lane, c) in rest.iter_mut().enumerate() {
        let j = full + lane;
        let negative = negative(*c);
        let [rho] = multipliers([*c], &[lines.below[j]], &[lines.above[j]]);
        sums[0][lane] += rho * lines.bias[j];
        sums[1][lane] += negative.abs() * lines.cost[j];
        sums[2][lane] += rho.abs() * lines.error[j];
        *c = rho;
    }
    sums.each_ref().map(total)
}

/// `sums += x y`, lane by lane.
#[inline(always)]
fn add_products(sums: &mut [f64; LANES], x: &[f64; LANES], y: &[f64; LANES]) {
    for ((sum, x), y) in sums.iter_mut().zip(x).zip(y) {
        *sum += x * y;
    }
}

/// The negative part, without a branch: `x` or 0, exactly. What is infinite becomes NaN, and NaN stays.
#[inline(always)]
fn negative(x: f64) -> f64 {
    0.5 * (x - x.abs())
}

/// A coefficient times the slope that its sign asks for.
#[inline(always)]
fn multipliers<const N: usize>(c: [f64; N], below: &[f64; N], above: &[f64; N]) -> [f64; N] {
    std::array::from_fn(|lane| {
        let (c, size) = (c[lane], c[lane].abs());
        // One of the two products is zero.
        0.5 * (c + size) * below[lane] + 0.5 * (c - size) * above[lane]
    })
}

/// Out of line: the compiler would otherwise lay out the loops that fill the sums for the sake of these few additions.
#[inline(never)]
fn total(sums: &[f64; LANES]) -> f64 {
    let [a, b, c, d, e, f, g, h] = sums;
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn entries_are_summed_up_in_their_order_whatever_the_tile() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for _ in 0..200 {
            let [rows, depth, columns] = std::array::from_fn(|_| rng.random_range(1..23));
            let mut draw =
                |n: usize| -> Vec<f64> { (0..n).map(|_| rng.random_range(-1.0..1.0)).collect() };
            let (a, b) = (draw(rows * depth), draw(depth * columns));
            let live: Vec<usize> = (0..depth).filter(|_| rng.random::<f64>() < 0.7).collect();
            let mut out = vec![f64::NAN; rows * columns];
            multiply(Arch::new(), (&a, depth), &live, &b, columns, &mut out);
            for i in 0..rows {
                for j in 0..columns {
                    let sum = live
                        .iter()
                        .fold(0.0, |sum, &k| sum + a[i * depth + k] * b[k * columns + j]);
                    assert_eq!(out[i * columns + j].to_bits(), sum.to_bits());
                }
            }
        }
    }

    #[test]
    fn sums_of_sizes_are_complete() {
        let numbers: Vec<f64> = (0..19).map(|i| f64::from(i) - 9.0).collect();
        for n in 0..=19 {
            let expected: f64 = numbers[..n].iter().map(|x| x.abs()).sum();
            assert_eq!(size(&numbers[..n]), expected);
            if n == 0 {
                continue;
            }
            let ones = vec![1.0; n];
            absolute(
                Arch::new(),
                &numbers[..n],
                (&ones, &numbers[..n]),
                |row, first, second| {
                    assert_eq!((row, first), (0, expected));
                    let signed: f64 = numbers[..n].iter().map(|x| x.abs() * x).sum();
                    assert_eq!(second, signed);
                },
            );
        }
    }

    #[test]
    fn a_row_is_relaxed_neuron_by_neuron() {
        for n in [3, 8, 21] {
            let column = |k: f64| -> Vec<f64> { (0..n).map(|j| k + j as f64).collect() };
            let (below, above, cost, bias, error) = (
                column(1.0),
                column(2.0),
                column(3.0),
                column(4.0),
                column(5.0),
            );
            let lines = Lines {
                below: &below,
                above: &above,
                cost: &cost,
                bias: &bias,
                error: &error,
            };
            let c: Vec<f64> = (0..n).map(|j| 4.0 - f64::from(j)).collect();
            let mut row = c.clone();
            let mut found = [0.0; 3];
            relax(Arch::new(), &mut row, lines, |_, sums| found = sums);
            let mut expected = [0.0; 3];
            for j in 0..n as usize {
                let rho = c[j] * if c[j] < 0.0 { above[j] } else { below[j] };
                assert_eq!(row[j], rho);
                expected[0] += rho * bias[j];
                expected[1] += (-c[j]).max(0.0) * cost[j];
                expected[2] += rho.abs() * error[j];
            }
            assert_eq!(found, expected);
            row[0] = f64::NAN;
            relax(Arch::new(), &mut row, lines, |_, sums| found = sums);
            assert!(found[0].is_nan());
        }
    }
}
