//! An affine map, and its products with the rows of a part's bounds.

use pulp::Arch;

use super::state::{Layer, Pass, Point, Row};
use crate::affine::AffineMap;
use crate::products::{absolute, multiply};
use crate::rounding::{UNDERFLOW, gamma};

/// An affine map with what its roundings need.
#[derive(Debug)]
pub(super) struct Prepared<'a> {
    pub(super) map: &'a AffineMap,
    pub(super) bias: Vec<f64>,
    pub(super) bias_radius: Vec<f64>,
    /// Of a sum over the map's inputs.
    pub(super) forward: f64,
    /// Of a sum over the map's outputs.
    pub(super) backward: f64,
    /// A factor that makes up for the rounding of sums of non-negative numbers over inputs or outputs.
    pub(super) widen: f64,
}

impl<'a> Prepared<'a> {
    pub(super) fn new(map: &'a AffineMap) -> Self {
        let (inputs, outputs) = (map.inputs(), map.outputs());
        Self {
            map,
            bias: map.bias().map(|b| b.value).collect(),
            bias_radius: map.bias().map(|b| b.radius).collect(),
            forward: gamma(inputs + 4),
            backward: gamma(outputs + 4),
            widen: 1.0 + gamma(2 * inputs.max(outputs) + 32),
        }
    }

    pub(super) fn size(&self) -> f64 {
        (self.map.inputs() + self.map.outputs()) as f64
    }

    /// What the map's outputs may be wrong by in the zonotope, and what a multiplier of 1 on them may be wrong by; `gamma` covers the roundings
    /// of a row.
    pub(super) fn errors(
        &self,
        (arch, gamma): (Arch, f64),
        columns: usize,
        point: &Point,
        layer: &mut Layer,
    ) {
        let outputs = self.map.outputs();
        layer.rounding.clear();
        layer.error.clear();
        match self.map.dense() {
            Some((entries, radius)) => {
                let sizes = (&point.spread[..], &point.magnitude[..]);
                absolute(arch, entries, sizes, |_, spread, size| {
                    layer.rounding.push(spread);
                    layer.error.push(self.backward * size);
                });
                if let Some(radius) = radius {
                    let sizes = (&point.reach[..], &point.magnitude[..]);
                    absolute(arch, radius, sizes, |i, reach, size| {
                        layer.rounding[i] += reach;
                        layer.error[i] += size;
                    });
                }
            }
            None => {
                for i in 0..outputs {
                    let (mut rounding, mut error) = (0.0, 0.0);
                    for (j, w) in self.map.row(i) {
                        let size = w.value.abs();
                        rounding += size * point.spread[j] + w.radius * point.reach[j];
                        error += (self.backward * size + w.radius) * point.magnitude[j];
                    }
                    layer.rounding.push(rounding);
                    layer.error.push(error);
                }
            }
        }
        let lost = UNDERFLOW * (self.map.inputs() * (columns + 4) + 16) as f64;
        for i in 0..outputs {
            let (bias, radius) = (self.bias[i].abs(), self.bias_radius[i]);
            layer.rounding[i] =
                (layer.rounding[i] + self.forward * bias + radius) * self.widen + lost;
            layer.error[i] = (layer.error[i] + gamma * bias + radius) * self.widen + lost;
        }
    }

    /// `W point` for the rows of the point that are live.
    pub(super) fn forward(
        &self,
        arch: Arch,
        live: &[usize],
        point: &[f64],
        columns: usize,
        image: &mut [f64],
    ) {
        match self.map.dense() {
            Some((entries, _)) => {
                multiply(
                    arch,
                    (entries, self.map.inputs()),
                    live,
                    point,
                    columns,
                    image,
                );
            }
            None => {
                image.fill(0.0);
                for (i, out) in image.chunks_exact_mut(columns).enumerate() {
                    // The columns of a row and the live neurons are both in ascending order.
                    for (j, w) in self.map.row(i) {
                        if live.binary_search(&j).is_ok() {
                            for (sum, x) in out.iter_mut().zip(&point[j * columns..]) {
                                *sum += w.value * x;
                            }
                        }
                    }
                }
            }
        }
    }

    /// `rho W` for rows of multipliers, of which those of live neurons are taken.
    pub(super) fn backward(&self, arch: Arch, live: &[usize], rho: &[f64], product: &mut [f64]) {
        let (inputs, outputs) = (self.map.inputs(), self.map.outputs());
        match self.map.dense() {
            Some((entries, _)) => multiply(arch, (rho, outputs), live, entries, inputs, product),
            None => {
                product.fill(0.0);
                for (rho, out) in rho
                    .chunks_exact(outputs)
                    .zip(product.chunks_exact_mut(inputs))
                {
                    for &i in live {
                        for (j, w) in self.map.row(i) {
                            out[j] += rho[i] * w.value;
                        }
                    }
                }
            }
        }
    }

    /// Rows for both signs of a layer's open neurons, as coefficients behind the ReLUs before it: first `z_j` of all, then `-z_j`.
    pub(super) fn both_signs(&self, layer: &Layer, pass: &mut Pass) -> usize {
        let Pass {
            coefficients, rows, ..
        } = pass;
        let count = layer.unstable.len();
        coefficients.clear();
        coefficients.resize(2 * count * self.map.inputs(), 0.0);
        rows.clear();
        for sign in [1.0, -1.0] {
            for &neuron in &layer.unstable {
                let start = rows.len() * self.map.inputs();
                for (j, w) in self.map.row(neuron) {
                    coefficients[start + j] = sign * w.value;
                }
                rows.push(Row {
                    value: sign * self.bias[neuron],
                    slack: layer.error[neuron],
                });
            }
        }
        count
    }
}
