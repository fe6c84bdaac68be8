//! Proven values of the dual function: 64-bit arithmetic on the host, with every rounding error accounted for.
//!
//! The search hands over numbers (slopes, multipliers, node duals) that it found in 32-bit arithmetic on some device. Any finite numbers are
//! valid here, good ones give a good bound, so no tolerance of the search enters a proof. What is proven holds for the network as a
//! function over the reals with its stored weights.

use rayon::prelude::*;

use crate::error::Result;
use crate::interval::Bounds;
use crate::network::Network;
use crate::rounding::{down, gamma};
use crate::sets::LayerSets;
use crate::spec::InputBox;

/// Rows of linear objectives over the output of one affine map: row `r` is `sum_j coefficients[r * width + j] z_j`.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// Index of the affine map, from 0.
    pub(crate) map: usize,
    /// Number of rows.
    pub(crate) rows: usize,
    /// `rows x outputs of the map`.
    pub(crate) coefficients: Vec<f64>,
}

impl Target {
    /// Both signs of some neurons of a hidden layer: first `z_j` of all, then `-z_j` of all.
    pub(crate) fn neurons(map: usize, width: usize, neurons: &[usize]) -> Self {
        let rows = 2 * neurons.len();
        let mut coefficients = vec![0.0; rows * width];
        for (row, &neuron) in neurons.iter().enumerate() {
            coefficients[row * width + neuron] = 1.0;
            coefficients[(neurons.len() + row) * width + neuron] = -1.0;
        }
        Self {
            map,
            rows,
            coefficients,
        }
    }

    /// The rows of a range.
    pub(crate) fn slice(&self, rows: std::ops::Range<usize>) -> Self {
        let width = self.coefficients.len() / self.rows.max(1);
        Self {
            map: self.map,
            rows: rows.len(),
            coefficients: self.coefficients[rows.start * width..rows.end * width].to_vec(),
        }
    }
}

/// Where the multipliers `rho_i` of the decomposition come from.
#[derive(Clone, Copy)]
pub(crate) enum Multipliers<'a> {
    /// `rho_i = D_i W_{i+1}^T rho_{i+1}` with CROWN's own lower slopes: 1 where `u > -l`, else 0 (T4 of the design).
    Adaptive,
    /// The same with `u / (u - l)` as lower slope (Wong and Kolter).
    Parallel,
    /// The same with the lower slopes given in units of 1/65535: a matrix `rows x width` for every hidden layer before the target.
    Slopes(&'a [Vec<u16>]),
    /// The multipliers themselves.
    Given(&'a [Vec<f64>]),
}

/// Proven lower bounds of the rows of a target, with the multipliers that prove them.
#[derive(Debug, Clone)]
pub(crate) struct DualValues {
    /// A bound a row; negative infinity where nothing could be proven.
    pub(crate) values: Vec<f64>,
    /// A matrix `rows x width` for every hidden layer before the target.
    pub(crate) multipliers: Vec<Vec<f64>>,
}

impl DualValues {
    /// Keeps of every row the better of two results.
    pub(crate) fn improve(&mut self, found: &Self) {
        let rows = self.values.len();
        for row in 0..rows {
            if found.values[row] > self.values[row] {
                self.values[row] = found.values[row];
                copy_row(&mut self.multipliers, &found.multipliers, row, rows);
            }
        }
    }
}

/// One row of every matrix in a list, each of which has `rows` rows.
pub(crate) fn row_of<T>(
    matrices: &[Vec<T>],
    row: usize,
    rows: usize,
) -> impl Iterator<Item = &[T]> {
    matrices.iter().map(move |matrix| {
        let width = matrix.len() / rows;
        &matrix[row * width..(row + 1) * width]
    })
}

/// Copies one row of every matrix in a list, each of which has `rows` rows.
pub(crate) fn copy_row(to: &mut [Vec<f64>], from: &[Vec<f64>], row: usize, rows: usize) {
    for (to, from) in to.iter_mut().zip(row_of(from, row, rows)) {
        to[row * from.len()..(row + 1) * from.len()].copy_from_slice(from);
    }
}

/// How many rows are evaluated together.
const BLOCK: usize = 32;

/// The dual function (2.3 of the design) for every row of the target, bounded from below.
///
/// `bounds` are proven bounds of the hidden layers before the target. `sets` says which neurons are taken in pairs and groups; without
/// them every neuron is taken by its box.
pub(crate) fn dual_values(
    network: &Network,
    input: &InputBox,
    bounds: &[Bounds],
    target: &Target,
    multipliers: Multipliers<'_>,
    sets: Option<&[LayerSets]>,
) -> Result<DualValues> {
    let starts: Vec<usize> = (0..target.rows).step_by(BLOCK).collect();
    let blocks: Vec<DualValues> = starts
        .into_par_iter()
        .map(|start| {
            let rows = start..(start + BLOCK).min(target.rows);
            block(
                network,
                input,
                bounds,
                &target.slice(rows.clone()),
                multipliers,
                rows.start,
                sets,
            )
        })
        .collect();
    let mut values = Vec::with_capacity(target.rows);
    let mut all = vec![Vec::new(); target.map];
    for block in blocks {
        values.extend(block.values);
        for (layer, rows) in all.iter_mut().zip(block.multipliers) {
            layer.extend(rows);
        }
    }
    Ok(DualValues {
        values,
        multipliers: all,
    })
}

/// One block of rows; `first` is its first row's number in the matrices of `multipliers`.
fn block(
    network: &Network,
    input: &InputBox,
    bounds: &[Bounds],
    target: &Target,
    multipliers: Multipliers<'_>,
    first: usize,
    sets: Option<&[LayerSets]>,
) -> DualValues {
    let rows = target.rows;
    let maps = network.maps();
    let mut sums = vec![Sum::default(); rows];
    let mut all = vec![Vec::new(); target.map];
    let mut rho = target.coefficients.clone();
    for layer in (0..target.map).rev() {
        let map = &maps[layer + 1];
        for (sum, bias) in sums.iter_mut().zip(map.bias_dot(&rho, rows)) {
            sum.add(bias.value, bias.radius);
        }
        let coefficients = map.transposed(&rho, rows);
        let bounds = &bounds[layer];
        let width = maps[layer].outputs();
        let given =
            |matrix: &[Vec<f64>]| matrix[layer][first * width..(first + rows) * width].to_vec();
        rho = match multipliers {
            Multipliers::Adaptive => {
                relax(&coefficients.value, bounds, |_, l, u| f64::from(u > -l))
            }
            Multipliers::Parallel => relax(&coefficients.value, bounds, |_, l, u| u / (u - l)),
            Multipliers::Slopes(slopes) => {
                let slopes = &slopes[layer][first * width..(first + rows) * width];
                relax(&coefficients.value, bounds, |at, _, _| {
                    f64::from(slopes[at]) / f64::from(u16::MAX)
                })
            }
            Multipliers::Given(given_rho) => given(given_rho),
        };
        for (row, sum) in sums.iter_mut().enumerate() {
            let span = row * width..(row + 1) * width;
            let c2 = &coefficients.value[span.clone()];
            let errors = &coefficients.error[span.clone()];
            let rho = &rho[span];
            for (neuron, &error) in errors.iter().enumerate() {
                // relu(z) lies in [0, max(u, 0)].
                sum.lose(error * bounds.upper()[neuron].max(0.0));
            }
            match sets.map(|sets| &sets[layer]) {
                None => {
                    (0..width).for_each(|j| sum.add(box_minimum(bounds, j, -rho[j], c2[j]), 0.0))
                }
                Some(sets) => sets.minima(bounds, rho, c2, first + row, |minimum| {
                    sum.add(minimum, 0.0)
                }),
            }
            sum.finite &= rho.iter().chain(c2).all(|x| x.is_finite());
        }
        all[layer].clone_from(&rho);
    }
    let map = &maps[0];
    for (sum, bias) in sums.iter_mut().zip(map.bias_dot(&rho, rows)) {
        sum.add(bias.value, bias.radius);
    }
    let coefficients = map.transposed(&rho, rows);
    let width = map.inputs();
    for (row, sum) in sums.iter_mut().enumerate() {
        for j in 0..width {
            let (l, u) = (input.lower()[j], input.upper()[j]);
            let a = coefficients.value[row * width + j];
            sum.add(
                (a * l).min(a * u),
                coefficients.error[row * width + j] * l.abs().max(u.abs()),
            );
            sum.finite &= a.is_finite();
        }
    }
    DualValues {
        values: sums.iter().map(Sum::lower).collect(),
        multipliers: all,
    }
}

/// `rho = D c2` with `D` 1 on, 0 off, and for unstable neurons the lower slope where the coefficient is positive, `u / (u - l)` where not.
fn relax(
    coefficients: &[f64],
    bounds: &Bounds,
    slope: impl Fn(usize, f64, f64) -> f64,
) -> Vec<f64> {
    let width = bounds.lower().len();
    let mut rho = Vec::with_capacity(coefficients.len());
    for (at, &c2) in coefficients.iter().enumerate() {
        let neuron = at % width;
        let (l, u) = (bounds.lower()[neuron], bounds.upper()[neuron]);
        rho.push(if bounds.is_off(neuron) {
            0.0
        } else if bounds.is_on(neuron) {
            c2
        } else if c2 >= 0.0 {
            c2 * slope(at, l, u)
        } else {
            c2 * (u / (u - l))
        });
    }
    rho
}

/// `min c1 z + c2 relu(z)` over the bounds of one neuron, within three roundings.
pub(crate) fn box_minimum(bounds: &Bounds, neuron: usize, c1: f64, c2: f64) -> f64 {
    let (l, u) = (bounds.lower()[neuron], bounds.upper()[neuron]);
    if bounds.is_off(neuron) {
        (c1 * l).min(c1 * u)
    } else if bounds.is_on(neuron) {
        let slope = c1 + c2;
        (slope * l).min(slope * u)
    } else {
        (c1 * l).min((c1 + c2) * u).min(0.0)
    }
}

/// A sum of terms, each within three roundings of its exact value, and what has to be taken off.
#[derive(Debug, Clone, Copy)]
struct Sum {
    value: f64,
    magnitude: f64,
    slack: f64,
    terms: usize,
    finite: bool,
}

impl Default for Sum {
    fn default() -> Self {
        Self {
            value: 0.0,
            magnitude: 0.0,
            slack: 0.0,
            terms: 0,
            finite: true,
        }
    }
}

impl Sum {
    fn add(&mut self, term: f64, error: f64) {
        self.value += term;
        self.magnitude += term.abs();
        self.slack += error;
        self.terms += 1;
    }

    /// Takes off what a term that is already there may be wrong by.
    fn lose(&mut self, error: f64) {
        self.slack += error;
        self.terms += 1;
    }

    /// A number that the exact sum does not fall below.
    fn lower(&self) -> f64 {
        // Three roundings a term, the additions, the underflow of products, and the sums of magnitudes and errors themselves.
        let operations = 2 * self.terms + 16;
        let slack = self.slack + gamma(operations) * self.magnitude;
        let slack = slack * (1.0 + gamma(2 * operations)) + operations as f64 * f64::MIN_POSITIVE;
        let lower = down(self.value - slack);
        if self.finite && lower.is_finite() {
            lower
        } else {
            f64::NEG_INFINITY
        }
    }
}
