//! Proven bounds over many parts of the input box: a zonotope forward, CROWN backward for what it leaves open.
//!
//! The zonotope settles most neurons of a small part for the price of one matrix product a layer. Those that it leaves unstable are bounded once
//! more by CROWN, both signs as rows of one product a layer, and the zonotope goes on with the tighter bounds as its side boxes. The
//! outputs' rows are bounded by CROWN on the bounds so found.
//!
//! Search and check call the same functions, which compute the same numbers to the last bit on every processor (see
//! [`products`](crate::products)). All numbers are 64-bit; what rounding does to them is bounded as in [`certify`](crate::certify), with one
//! difference: what a multiplier of 1 may be wrong by is known a neuron, from the bounds of the layer before it, and shared by all rows.

mod map;
mod state;
#[cfg(test)]
mod tests;

use pulp::Arch;

use self::map::Prepared;
pub(crate) use self::state::Workspace;
use self::state::{Inputs, Layer, OwnLines, Pass, Row};
use crate::error::{Error, Result};
use crate::network::Network;
use crate::products::{Lines, relax};
use crate::rounding::{UNDERFLOW, gamma};
use crate::spec::InputBox;

/// Steps of the ascent of slopes, the length of the first, and the factor from one to the next.
const STEPS: usize = 10;
const FIRST_STEP: f64 = 0.4;
const DECAY: f64 = 0.75;

/// A network, prepared for bounds over parts of its input box.
#[derive(Debug)]
pub(crate) struct Boxes<'a> {
    arch: Arch,
    maps: Vec<Prepared<'a>>,
    /// Covers all the roundings that one summand of a bound goes through.
    gamma: f64,
}

impl<'a> Boxes<'a> {
    pub(crate) fn new(network: &'a Network) -> Self {
        let maps: Vec<Prepared<'_>> = network.maps().iter().map(Prepared::new).collect();
        // A summand is rounded as a product, in the sum of its layer's row, and as that joins the others.
        let widest = maps
            .iter()
            .map(|map| map.map.inputs().max(map.map.outputs()))
            .max();
        let gamma = gamma(widest.unwrap_or(0) + 4 * maps.len() + 16);
        Self {
            arch: Arch::new(),
            maps,
            gamma,
        }
    }

    /// About how many multiplications a part takes, if a quarter of the neurons are unstable.
    pub(crate) fn work(&self) -> usize {
        let neurons: usize = self.maps.iter().map(|map| map.map.outputs()).sum();
        let columns = self.maps[0].map.inputs() + neurons / 4;
        let sizes = self
            .maps
            .iter()
            .map(|map| map.map.inputs() * map.map.outputs());
        sizes.sum::<usize>().saturating_mul(columns)
    }

    /// Bounds all hidden layers over a part.
    ///
    /// # Errors
    ///
    /// [`Error::ShapeMismatch`] if the part does not fit the network, [`Error::Internal`] if two proven bounds contradict each other.
    pub(crate) fn enter(&self, part: &InputBox, space: &mut Workspace) -> Result<()> {
        let inputs = self.maps[0].map.inputs();
        if part.len() != inputs {
            return Err(Error::ShapeMismatch {
                layer: "input box".to_owned(),
                expected: format!("{inputs} inputs"),
                found: part.len().to_string(),
            });
        }
        let mut columns = space.start(part, &self.maps[0]);
        space.layers.resize_with(self.maps.len(), Layer::default);
        for (index, map) in self.maps.iter().enumerate() {
            let (before, rest) = space.layers.split_at_mut(index);
            let layer = &mut rest[0];
            map.errors((self.arch, self.gamma), columns, &space.point, layer);
            let Some(next) = self.maps.get(index + 1) else {
                layer.pass(map.map.outputs());
                break;
            };
            let live = before.last().map_or(&space.inputs.all, |layer| &layer.live);
            layer.columns = columns;
            layer.image.resize(map.map.outputs() * columns, 0.0);
            let point = &space.point.rows;
            map.forward(self.arch, live, point, columns, &mut layer.image);
            layer.hull(&map.bias);
            layer.open();
            if index > 0 && !layer.unstable.is_empty() {
                let count = map.both_signs(layer, &mut space.pass);
                self.backward(before, &space.inputs, space.floor, &mut space.pass, None);
                layer.tighten(&space.pass.rows, count, index)?;
            }
            if !layer.is_finite() {
                space.finite = false;
                return Ok(());
            }
            space.floor += layer.settle() * 8.0 * (next.size() + 8.0) * UNDERFLOW;
            columns = space.activate(index, next.forward);
        }
        Ok(())
    }

    /// Proven lower bounds of `count` rows of linear functions of the outputs over the part that was entered last; `slopes` gets the
    /// coefficients of each row's linear lower bound by the inputs.
    pub(crate) fn bound(
        &self,
        rows: &[f64],
        count: usize,
        space: &mut Workspace,
        slopes: &mut Vec<f64>,
    ) -> Vec<f64> {
        slopes.clear();
        if !space.finite {
            slopes.resize(count * space.inputs.lower.len(), 0.0);
            return vec![f64::NEG_INFINITY; count];
        }
        self.evaluate(rows, count, space, false);
        slopes.extend_from_slice(&space.pass.coefficients);
        space.pass.rows.iter().map(Row::lower).collect()
    }

    /// Carries rows of the outputs backward, with their own slopes if they have any.
    fn evaluate(&self, rows: &[f64], count: usize, space: &mut Workspace, own: bool) {
        let pass = &mut space.pass;
        pass.coefficients.clear();
        pass.coefficients.extend_from_slice(rows);
        pass.rows.clear();
        pass.rows.resize(count, Row::default());
        let own = own.then_some(space.own.as_mut_slice());
        self.backward(&space.layers, &space.inputs, space.floor, pass, own);
    }

    /// A better bound of one row, by ascent of the slopes of the lower lines: stops as soon as it exceeds `enough`. `slopes` gets the
    /// coefficients of the best linear lower bound.
    pub(crate) fn ascend(
        &self,
        row: &[f64],
        enough: f64,
        space: &mut Workspace,
        slopes: &mut Vec<f64>,
    ) -> f64 {
        let mut best = f64::NEG_INFINITY;
        if !space.finite {
            return best;
        }
        let hidden = self.maps.len() - 1;
        space.own.resize_with(hidden, OwnLines::default);
        for (own, layer) in space.own.iter_mut().zip(&space.layers) {
            // Inside of [0, 1], where either direction is open.
            own.below.clone_from(&layer.above);
        }
        let mut length = FIRST_STEP;
        for _ in 0..STEPS {
            self.evaluate(row, 1, space, true);
            let value = space.pass.rows[0].lower();
            if value > best {
                best = value;
                slopes.clone_from(&space.pass.coefficients);
            }
            if best > enough {
                break;
            }
            self.step(length, space);
            length *= DECAY;
        }
        best
    }

    /// Moves one row's slopes along the signs of their derivatives: `c z` at a line through `z` with the coefficient `c`, where `z` is what
    /// the lines make of the input at which the linear bound is least.
    fn step(&self, length: f64, space: &mut Workspace) {
        let inputs = &space.inputs;
        let ends = inputs.lower.iter().zip(&inputs.upper);
        let corner = ends.zip(&space.pass.coefficients);
        let mut point: Vec<f64> = corner
            .map(|((l, u), a)| if *a > 0.0 { *l } else { *u })
            .collect();
        let mut live = &inputs.all;
        for ((map, layer), own) in self.maps.iter().zip(&space.layers).zip(&mut space.own) {
            let mut image = vec![0.0; map.map.outputs()];
            map.forward(self.arch, live, &point, 1, &mut image);
            for (z, b) in image.iter_mut().zip(&map.bias) {
                *z += b;
            }
            for &j in &layer.unstable {
                let (z, slope) = (image[j], &mut own.below[j]);
                image[j] = if own.coefficients[j] < 0.0 {
                    layer.above[j] * (z - layer.lower[j])
                } else {
                    *slope * z
                };
                if own.coefficients[j] > 0.0 {
                    *slope = (*slope + length * z.signum()).clamp(0.0, 1.0);
                }
            }
            point = image;
            live = &layer.live;
        }
    }

    /// How much each input contributes to what the bound of a row loses over the part that was entered last: every unstable neuron loses
    /// what its line misses, and owes that to the inputs by their shares in its width.
    ///
    /// With the sum of what is lost at lower lines, which other slopes may win back.
    pub(crate) fn losses(&self, row: &[f64], space: &mut Workspace) -> (Vec<f64>, f64) {
        let mut below = 0.0;
        let mut losses = vec![0.0; space.inputs.lower.len()];
        let count = space.inputs.free.len();
        if !space.finite || count == 0 {
            return (losses, below);
        }
        space.share();
        let mut generators = space.shares.len();
        let mut rho = row.to_vec();
        for (index, map) in self.maps.iter().enumerate().skip(1).rev() {
            let mut c = vec![0.0; map.map.inputs()];
            map.backward(self.arch, &space.layers[index].live, &rho, &mut c);
            let layer = &space.layers[index - 1];
            generators -= layer.unstable.len() * count;
            let shares = space.shares[generators..].chunks_exact(count);
            for (&j, shares) in layer.unstable.iter().zip(shares) {
                let lost = if c[j] < 0.0 {
                    -c[j] * layer.cost[j]
                } else {
                    let lost = c[j] * layer.upper[j].min(-layer.lower[j]);
                    below += lost;
                    lost
                };
                for (&input, share) in space.inputs.free.iter().zip(shares) {
                    losses[input] += lost * share;
                }
            }
            for (j, c) in c.iter_mut().enumerate() {
                *c *= if *c < 0.0 {
                    layer.above[j]
                } else {
                    layer.below[j]
                };
            }
            rho = c;
        }
        (losses, below)
    }

    /// The outputs at some points (`count x inputs`, row by row), without a bound on their errors.
    pub(crate) fn values(&self, points: &[f64], count: usize) -> Vec<f64> {
        let inputs = self.maps[0].map.inputs();
        let mut point = vec![0.0; inputs * count];
        for (k, x) in points.chunks_exact(inputs).enumerate() {
            for (j, &x) in x.iter().enumerate() {
                point[j * count + k] = x;
            }
        }
        let mut live: Vec<usize> = (0..inputs).collect();
        for (index, map) in self.maps.iter().enumerate() {
            let mut image = vec![0.0; map.map.outputs() * count];
            map.forward(self.arch, &live, &point, count, &mut image);
            for (row, b) in image.chunks_exact_mut(count).zip(&map.bias) {
                for x in row {
                    *x += b;
                    if index + 1 < self.maps.len() {
                        *x = x.max(0.0);
                    }
                }
            }
            live.clear();
            live.extend(0..map.map.outputs());
            point = image;
        }
        let outputs = live.len();
        (0..count * outputs)
            .map(|at| point[at % outputs * count + at / outputs])
            .collect()
    }

    /// CROWN backward: from coefficients behind the ReLUs of the last of the layers to coefficients of the inputs, a row each. `own` has the
    /// slopes of a single row, and gets its coefficients.
    fn backward(
        &self,
        layers: &[Layer],
        inputs: &Inputs,
        floor: f64,
        pass: &mut Pass,
        mut own: Option<&mut [OwnLines]>,
    ) {
        let Pass {
            coefficients,
            product,
            rows,
        } = pass;
        for (index, (layer, map)) in layers.iter().zip(&self.maps).enumerate().rev() {
            let mut below = &layer.below;
            if let Some(own) = own.as_mut().and_then(|own| own.get_mut(index)) {
                own.coefficients.clone_from(coefficients);
                below = &own.below;
            }
            let lines = Lines {
                below,
                above: &layer.above,
                cost: &layer.cost,
                bias: &map.bias,
                error: &layer.error,
            };
            let sum = |row: usize, [gained, paid, wrong]: [f64; 3]| {
                rows[row].value += gained - paid;
                rows[row].slack += wrong + self.gamma * paid;
            };
            relax(self.arch, coefficients, lines, sum);
            product.resize(rows.len() * map.map.inputs(), 0.0);
            map.backward(self.arch, &layer.live, coefficients, product);
            std::mem::swap(coefficients, product);
        }
        let sides = inputs.lower.len();
        for (row, a) in rows.iter_mut().zip(coefficients.chunks_exact(sides)) {
            for (j, &a) in a.iter().enumerate() {
                row.value += (a * inputs.lower[j]).min(a * inputs.upper[j]);
                row.slack += self.gamma * a.abs() * inputs.magnitude[j];
            }
            // Slack is a sum of non-negative numbers, of no more terms than the value.
            row.slack = (row.slack + floor) * (1.0 + 4.0 * self.gamma) + UNDERFLOW;
        }
    }
}
