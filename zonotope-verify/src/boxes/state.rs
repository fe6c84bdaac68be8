//! What is known of the part that was entered last, in memory that is used again.

use super::map::Prepared;
use crate::error::{Error, Result};
use crate::products::size;
use crate::rounding::{UNDERFLOW, UNIT, down, enclose, gamma, up};
use crate::spec::InputBox;

/// Memory that is used again from one part to the next, and the state of the part that was entered last.
#[derive(Debug, Default)]
pub(crate) struct Workspace {
    pub(super) inputs: Inputs,
    /// The hidden layers and the outputs.
    pub(super) layers: Vec<Layer>,
    /// What underflow may take from a row.
    pub(super) floor: f64,
    /// Whether no bound overflowed; otherwise nothing is proven.
    pub(super) finite: bool,
    pub(super) point: Point,
    /// For every generator the shares that the free inputs have in it.
    pub(super) shares: Vec<f64>,
    pub(super) pass: Pass,
    pub(super) own: Vec<OwnLines>,
}

/// The inputs' intervals.
#[derive(Debug, Default)]
pub(super) struct Inputs {
    pub(super) lower: Vec<f64>,
    pub(super) upper: Vec<f64>,
    pub(super) magnitude: Vec<f64>,
    /// All inputs, and those that are not fixed, each of which has a generator.
    pub(super) all: Vec<usize>,
    pub(super) free: Vec<usize>,
}

/// The zonotope behind the last ReLUs, or that of the inputs.
#[derive(Debug, Default)]
pub(super) struct Point {
    /// Centre and generators, a row a neuron; rows of neurons that are off have no meaning.
    pub(super) rows: Vec<f64>,
    /// Of every neuron: what it may be wrong by and what rounding makes of that in the next product, how large it may be in the zonotope,
    /// and how large it is by its bounds.
    pub(super) spread: Vec<f64>,
    pub(super) reach: Vec<f64>,
    pub(super) magnitude: Vec<f64>,
}

/// Rows on their way backward.
#[derive(Debug, Default)]
pub(super) struct Pass {
    pub(super) coefficients: Vec<f64>,
    pub(super) product: Vec<f64>,
    pub(super) rows: Vec<Row>,
}

/// One row's own slopes of the lower lines of a hidden layer, with the coefficients that it last had there.
#[derive(Debug, Default)]
pub(super) struct OwnLines {
    pub(super) below: Vec<f64>,
    pub(super) coefficients: Vec<f64>,
}

/// One hidden layer, or the outputs, whose neurons count as on.
#[derive(Debug, Default)]
pub(super) struct Layer {
    /// Centre and generators, a row a neuron.
    pub(super) image: Vec<f64>,
    pub(super) columns: usize,
    pub(super) lower: Vec<f64>,
    pub(super) upper: Vec<f64>,
    /// See [`Lines`](crate::products::Lines).
    pub(super) below: Vec<f64>,
    pub(super) above: Vec<f64>,
    pub(super) cost: Vec<f64>,
    pub(super) error: Vec<f64>,
    /// What a neuron's value may be wrong by in the zonotope.
    pub(super) rounding: Vec<f64>,
    /// The neurons that are not off, and those that can have either sign.
    pub(super) live: Vec<usize>,
    pub(super) unstable: Vec<usize>,
}

/// The sum of a row's bound so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Row {
    pub(super) value: f64,
    pub(super) slack: f64,
}

impl Workspace {
    /// Enters a part: centre, generators and sizes of the inputs. Returns the number of columns.
    pub(super) fn start(&mut self, part: &InputBox, map: &Prepared<'_>) -> usize {
        let (inputs, point) = (&mut self.inputs, &mut self.point);
        let ends = part.lower().iter().zip(part.upper());
        let sides: Vec<_> = ends.clone().map(|(&l, &u)| enclose(l, u)).collect();
        refill(&mut inputs.lower, part.lower().iter().copied());
        refill(&mut inputs.upper, part.upper().iter().copied());
        refill(
            &mut inputs.magnitude,
            ends.map(|(l, u)| l.abs().max(u.abs())),
        );
        refill(&mut inputs.all, 0..sides.len());
        refill(
            &mut inputs.free,
            (0..sides.len()).filter(|&j| sides[j].radius > 0.0),
        );
        let columns = 1 + inputs.free.len();
        refill(
            &mut point.rows,
            std::iter::repeat_n(0.0, sides.len() * columns),
        );
        for (row, side) in point.rows.chunks_exact_mut(columns).zip(&sides) {
            row[0] = side.value;
        }
        for (column, &j) in inputs.free.iter().enumerate() {
            point.rows[j * columns + 1 + column] = sides[j].radius;
        }
        let reach = sides.iter().map(|side| up(side.value.abs() + side.radius));
        refill(&mut point.reach, reach);
        refill(
            &mut point.spread,
            point.reach.iter().map(|reach| map.forward * reach),
        );
        point.magnitude.clone_from(&inputs.magnitude);
        // Weights times what underflow takes from an input.
        let size: f64 = inputs.magnitude.iter().sum();
        self.floor = 8.0 * (1.0 + size) * (map.size() + 8.0) * UNDERFLOW;
        self.finite = true;
        columns
    }

    /// Gives every generator its shares of the free inputs: a free input's own belongs to it alone, that of an unstable neuron to the inputs as
    /// they contribute to the neuron's width.
    pub(super) fn share(&mut self) {
        let count = self.inputs.free.len();
        self.shares.clear();
        self.shares.resize(count * count, 0.0);
        for input in 0..count {
            self.shares[input * count + input] = 1.0;
        }
        let mut sum = vec![0.0; count];
        for layer in &self.layers[..self.layers.len() - 1] {
            let known = self.shares.len();
            for &j in &layer.unstable {
                sum.fill(0.0);
                let row = &layer.image[j * layer.columns + 1..];
                for (g, shares) in row.iter().zip(self.shares[..known].chunks_exact(count)) {
                    for (sum, share) in sum.iter_mut().zip(shares) {
                        *sum += g.abs() * share;
                    }
                }
                let total: f64 = sum.iter().sum();
                self.shares.extend(sum.iter().map(|x| x / total));
            }
        }
    }

    /// The zonotope behind the ReLUs of a layer that is settled; returns the number of its columns.
    pub(super) fn activate(&mut self, index: usize, gamma: f64) -> usize {
        let (layer, point) = (&self.layers[index], &mut self.point);
        let (n, before) = (layer.lower.len(), layer.columns);
        let columns = before + layer.unstable.len();
        let widen = 1.0 + 4.0 * crate::rounding::gamma(columns + 8);
        point.rows.resize(n * columns, 0.0);
        for numbers in [&mut point.spread, &mut point.reach, &mut point.magnitude] {
            refill(numbers, std::iter::repeat_n(0.0, n));
        }
        let mut column = before;
        for &j in &layer.live {
            let old = &layer.image[j * before..(j + 1) * before];
            let new = &mut point.rows[j * columns..(j + 1) * columns];
            new[before..].fill(0.0);
            let own = layer.rounding[j];
            let rounding = if layer.cost[j] == 0.0 {
                new[..before].copy_from_slice(old);
                own
            } else {
                let (slope, half) = (layer.above[j], 0.5 * layer.cost[j]);
                for (new, &old) in new.iter_mut().zip(old) {
                    *new = slope * old;
                }
                new[0] += half;
                new[column] = half;
                column += 1;
                // One rounding of every product, one more of the centre.
                let rounded = 3.0 * UNIT * (size(&new[..before]) + half);
                (slope * own + rounded) * widen + UNDERFLOW * (before + 4) as f64
            };
            let reach = (size(new) + rounding) * widen;
            point.reach[j] = reach;
            point.spread[j] = rounding + gamma * reach;
            point.magnitude[j] = layer.upper[j].max(0.0);
        }
        columns
    }
}

impl Layer {
    /// Adds the bias to the centre and takes the interval hull.
    pub(super) fn hull(&mut self, bias: &[f64]) {
        let widen = 1.0 + 4.0 * gamma(self.columns + 8);
        self.lower.clear();
        self.upper.clear();
        for ((row, b), rounding) in self
            .image
            .chunks_exact_mut(self.columns)
            .zip(bias)
            .zip(&self.rounding)
        {
            row[0] += b;
            let radius = (size(&row[1..]) + rounding) * widen;
            self.lower.push(down(row[0] - radius));
            self.upper.push(up(row[0] + radius));
        }
    }

    /// Notes the neurons that can have either sign.
    pub(super) fn open(&mut self) {
        self.unstable.clear();
        let ends = self.lower.iter().zip(&self.upper).enumerate();
        self.unstable.extend(
            ends.filter(|(_, (l, u))| **l < 0.0 && **u > 0.0)
                .map(|(j, _)| j),
        );
    }

    /// Intersects the bounds with those of both signs of the open neurons.
    pub(super) fn tighten(&mut self, rows: &[Row], count: usize, index: usize) -> Result<()> {
        for (row, &j) in self.unstable.iter().enumerate() {
            let (lower, upper) = (rows[row].lower(), -rows[count + row].lower());
            self.lower[j] = self.lower[j].max(lower);
            self.upper[j] = self.upper[j].min(upper);
            if self.lower[j] > self.upper[j] {
                return Err(Error::Internal {
                    layer: format!("hidden layer {index}"),
                    reason: format!(
                        "neuron {j} is proven to lie above {} and below {}",
                        self.lower[j], self.upper[j]
                    ),
                });
            }
        }
        Ok(())
    }

    pub(super) fn is_finite(&self) -> bool {
        let mut ends = self.lower.iter().chain(&self.upper);
        ends.all(|end| end.is_finite())
    }

    /// Chooses the lines of every neuron, and returns what its neurons can reach in all.
    pub(super) fn settle(&mut self) -> f64 {
        let n = self.lower.len();
        for numbers in [&mut self.below, &mut self.above, &mut self.cost] {
            refill(numbers, std::iter::repeat_n(0.0, n));
        }
        self.live.clear();
        self.unstable.clear();
        let mut reach = 1.0;
        for j in 0..n {
            let (l, u) = (self.lower[j], self.upper[j]);
            reach += l.abs().max(u.abs());
            if u <= 0.0 {
                continue;
            }
            self.live.push(j);
            if l >= 0.0 {
                (self.below[j], self.above[j]) = (1.0, 1.0);
                continue;
            }
            self.unstable.push(j);
            // Any slope in [0, 1] gives a valid strip, so its rounding does no harm.
            let slope = (u / (u - l)).clamp(0.0, 1.0);
            self.below[j] = f64::from(u8::from(u > -l));
            self.above[j] = slope;
            // A multiplier is the rounded product of a coefficient and the slope: of its two ends the second is off by that.
            let at_lower = slope * -l;
            let at_upper = (1.0 - slope) * u + 2.0 * UNIT * slope * u;
            self.cost[j] = at_lower.max(at_upper) * (1.0 + 16.0 * UNIT) + UNDERFLOW;
        }
        reach
    }

    /// All neurons are passed on: the outputs.
    pub(super) fn pass(&mut self, n: usize) {
        for (numbers, x) in [
            (&mut self.below, 1.0),
            (&mut self.above, 1.0),
            (&mut self.cost, 0.0),
        ] {
            refill(numbers, std::iter::repeat_n(x, n));
        }
        refill(&mut self.live, 0..n);
    }
}

/// New contents for old memory.
fn refill<T>(numbers: &mut Vec<T>, contents: impl Iterator<Item = T>) {
    numbers.clear();
    numbers.extend(contents);
}

impl Row {
    /// A number that the row does not fall below; minus infinity where something overflowed.
    pub(super) fn lower(&self) -> f64 {
        let lower = down(self.value - self.slack);
        if lower.is_finite() && self.slack.is_finite() {
            lower
        } else {
            f64::NEG_INFINITY
        }
    }
}
