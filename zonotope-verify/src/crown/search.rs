//! The ascent of slopes on a device, in 32-bit arithmetic. Nothing here is trusted by a proof.

use burn::Tensor;
use burn::tensor::{Device, Int, TensorData};

use super::AlphaCrownConfig;
use crate::adam::{Adam, Best};
use crate::certify::Target;
use crate::device::{DeviceNetwork, matrix, numbers};
use crate::interval::Bounds;
use crate::limits::Limits;
use crate::network::Network;
use crate::spec::InputBox;

/// How many 32-bit numbers the slopes of one block of rows may take (each is held about ten times over).
const BLOCK_NUMBERS: usize = 2 << 20;

/// How many rows ascend together, given the bounds of the layers that they have slopes for.
pub(super) fn block_of(bounds: &[Bounds]) -> usize {
    let widths: usize = bounds.iter().map(Bounds::len).sum();
    (BLOCK_NUMBERS / widths.max(1)).clamp(16, 512)
}

/// The search for slopes on a device, over one input box or many.
pub(crate) struct Search {
    network: DeviceNetwork,
    /// `[boxes, inputs]`
    center: Tensor<2>,
    /// `[boxes, inputs]`
    radius: Tensor<2>,
    device: Device,
}

/// What the ascent needs to know of one hidden layer; all `[1, width]` where the rows share a box, else `[rows, width]`.
#[derive(Clone)]
struct Relaxation {
    /// The slope of the upper line: 1 on, 0 off.
    slope: Tensor<2>,
    /// The height of the upper line at 0.
    offset: Tensor<2>,
    /// 1 on, else 0.
    on: Tensor<2>,
    /// 1 unstable, else 0.
    unstable: Tensor<2>,
}

impl Search {
    pub(crate) fn new(network: &Network, input: &InputBox, device: &Device) -> Self {
        Self::over(network, std::slice::from_ref(input), device)
    }

    /// The search over several boxes.
    pub(super) fn over(network: &Network, inputs: &[InputBox], device: &Device) -> Self {
        let each = |f: fn(f64, f64) -> f64| {
            let numbers: Vec<f64> = inputs
                .iter()
                .flat_map(|input| input.lower().iter().zip(input.upper()))
                .map(|(l, u)| f(*l, *u))
                .collect();
            matrix(&numbers, inputs.len(), network.inputs(), device)
        };
        Self {
            network: DeviceNetwork::new(network, device),
            center: each(f64::midpoint),
            radius: each(|l, u| (u - l) / 2.0),
            device: device.clone(),
        }
    }

    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    pub(crate) fn network(&self) -> &DeviceNetwork {
        &self.network
    }

    /// Centre and radius of the input boxes, `[boxes, inputs]` each.
    pub(crate) fn input(&self) -> (Tensor<2>, Tensor<2>) {
        (self.center.clone(), self.radius.clone())
    }

    /// The slopes that the ascent found over a single box: for every hidden layer before the target a matrix `rows x width` in units of 1/65535.
    pub(super) fn slopes(
        &self,
        bounds: &[Bounds],
        target: &Target,
        config: &AlphaCrownConfig,
        limits: &Limits,
    ) -> Vec<Vec<u16>> {
        self.slopes_of(&[bounds], None, target, config, limits)
    }

    /// The same over several boxes: the bounds of each, and of every row its box.
    fn slopes_of(
        &self,
        bounds: &[&[Bounds]],
        owners: Option<&[usize]>,
        target: &Target,
        config: &AlphaCrownConfig,
        limits: &Limits,
    ) -> Vec<Vec<u16>> {
        let block = block_of(&bounds[0][..target.map]);
        let relaxations: Vec<Relaxation> = (0..target.map)
            .map(|layer| {
                let all: Vec<&Bounds> = bounds.iter().map(|bounds| &bounds[layer]).collect();
                Relaxation::new(&all, &self.device)
            })
            .collect();
        let mut slopes = vec![Vec::new(); target.map];
        for start in (0..target.rows).step_by(block) {
            let rows = start..(start + block).min(target.rows);
            let owners = owners.map(|owners| {
                let numbers: Vec<i32> = owners[rows.clone()].iter().map(|&b| b as i32).collect();
                Tensor::from_data(TensorData::from(numbers.as_slice()), &self.device)
            });
            let found = self.ascend(&target.slice(rows), &relaxations, owners, config, limits);
            for (all, found) in slopes.iter_mut().zip(found) {
                all.extend(
                    numbers(found)
                        .into_iter()
                        .map(|slope| (slope * f64::from(u16::MAX)).round() as u16),
                );
            }
        }
        slopes
    }

    /// The slopes found for a target a box, all rows in common blocks.
    pub(super) fn slopes_of_boxes(
        &self,
        hidden: &[Vec<Bounds>],
        targets: &[Target],
        config: &AlphaCrownConfig,
        limits: &Limits,
    ) -> Vec<Vec<Vec<u16>>> {
        let bounds: Vec<&[Bounds]> = hidden.iter().map(Vec::as_slice).collect();
        let owners: Vec<usize> = targets
            .iter()
            .enumerate()
            .flat_map(|(index, target)| std::iter::repeat_n(index, target.rows))
            .collect();
        let map = targets[0].map;
        let all = Target {
            map,
            rows: owners.len(),
            coefficients: targets
                .iter()
                .flat_map(|target| target.coefficients.iter().copied())
                .collect(),
        };
        let found = self.slopes_of(&bounds, Some(&owners), &all, config, limits);
        let mut first = 0;
        targets
            .iter()
            .map(|target| {
                let rows = first..first + target.rows;
                first = rows.end;
                found
                    .iter()
                    .zip(&hidden[0])
                    .map(|(slopes, bounds)| {
                        let width = bounds.len();
                        slopes[rows.start * width..rows.end * width].to_vec()
                    })
                    .collect()
            })
            .collect()
    }

    /// The best slopes found until the limits end the ascent, `[rows, width]` for every hidden layer before the target.
    fn ascend(
        &self,
        target: &Target,
        layers: &[Relaxation],
        owners: Option<Tensor<1, Int>>,
        config: &AlphaCrownConfig,
        limits: &Limits,
    ) -> Vec<Tensor<2>> {
        let width = target.coefficients.len() / target.rows;
        let rows = matrix(&target.coefficients, target.rows, width, &self.device);
        let last = self.network.map(target.map);
        let start = Start {
            coefficients: last.transposed(rows.clone()),
            constant: rows.matmul(last.bias().transpose()),
            center: of_rows(&self.center, owners.as_ref()),
            radius: of_rows(&self.radius, owners.as_ref()),
        };
        let layers: Vec<Relaxation> = layers
            .iter()
            .map(|layer| layer.of_rows(owners.as_ref()))
            .collect();
        let mut slopes: Vec<Tensor<2>> = layers
            .iter()
            .map(|layer| {
                let width = layer.slope.dims()[1];
                layer.slope.clone().expand([target.rows, width])
            })
            .collect();
        let mut best = Best::new(slopes.clone());
        let mut adam = Adam::new(0.9, 0.999, 1e-8);
        let mut rate = config.learning_rate;
        for step in 0..=config.steps {
            let last = step == config.steps || limits.reached().is_some();
            let (value, gradients) = self.value(&start, &layers, &slopes, !last);
            best.keep(&slopes, value);
            if last {
                break;
            }
            for (slopes, step) in slopes.iter_mut().zip(adam.directions(gradients, rate)) {
                // Projected after the step: a slope that is clamped while the bound is computed would have no gradient at its border.
                *slopes = (slopes.clone() + step).clamp(0.0, 1.0);
            }
            rate *= config.decay;
        }
        best.into_points()
    }

    /// The bound of every row (`[rows, 1]`), and its derivative by the slopes of every hidden layer if asked for.
    fn value(
        &self,
        start: &Start,
        layers: &[Relaxation],
        slopes: &[Tensor<2>],
        gradients: bool,
    ) -> (Tensor<2>, Vec<Tensor<2>>) {
        let mut coefficients = start.coefficients.clone();
        let mut value = start.constant.clone();
        let mut positive = Vec::with_capacity(layers.len());
        let mut negative = Vec::with_capacity(layers.len());
        let mut lower = Vec::with_capacity(layers.len());
        for (index, layer) in layers.iter().enumerate().rev() {
            let map = self.network.map(index);
            let above = coefficients.clone().clamp_min(0.0);
            let below = coefficients.clamp_max(0.0);
            let line = slopes[index].clone() * layer.unstable.clone() + layer.on.clone();
            let multipliers = above.clone() * line.clone() + below.clone() * layer.slope.clone();
            let offset = if layer.offset.dims()[0] == 1 {
                below.clone().matmul(layer.offset.clone().transpose())
            } else {
                (below.clone() * layer.offset.clone()).sum_dim(1)
            };
            value = value + offset + multipliers.clone().matmul(map.bias().transpose());
            coefficients = map.transposed(multipliers);
            positive.push(above);
            negative.push(below);
            lower.push(line);
        }
        let minimiser = start.center.clone() - coefficients.clone().sign() * start.radius.clone();
        value = value + (coefficients * minimiser.clone()).sum_dim(1);
        if !gradients {
            return (value, Vec::new());
        }
        positive.reverse();
        negative.reverse();
        lower.reverse();
        let mut derivatives = Vec::with_capacity(layers.len());
        let mut activation = minimiser;
        for (index, layer) in layers.iter().enumerate() {
            let z = self.network.map(index).forward(activation.clone());
            derivatives.push(positive[index].clone() * z.clone() * layer.unstable.clone());
            if index + 1 < layers.len() {
                let upper = z.clone() * layer.slope.clone() + layer.offset.clone();
                let mask = negative[index].clone().lower_elem(0.0);
                activation = (z * lower[index].clone()).mask_where(mask, upper);
            }
        }
        (value, derivatives)
    }
}

/// Where every backward pass of an ascent begins, and where it ends.
struct Start {
    /// Of the last hidden layer's activations, `[rows, width]`.
    coefficients: Tensor<2>,
    /// `[rows, 1]`
    constant: Tensor<2>,
    /// `[1, inputs]` where the rows share a box, else `[rows, inputs]`.
    center: Tensor<2>,
    radius: Tensor<2>,
}

/// Of a matrix with a row a box, the rows of the owners; the matrix itself where there is one box.
fn of_rows(boxes: &Tensor<2>, owners: Option<&Tensor<1, Int>>) -> Tensor<2> {
    match owners {
        None => boxes.clone(),
        Some(owners) => boxes.clone().select(0, owners.clone()),
    }
}

impl Relaxation {
    /// With a row a box.
    fn new(boxes: &[&Bounds], device: &Device) -> Self {
        let width = boxes[0].len();
        let each = |f: &dyn Fn(&Bounds, usize) -> f64| {
            let numbers: Vec<f64> = boxes
                .iter()
                .flat_map(|bounds| (0..width).map(|j| f(bounds, j)))
                .collect();
            matrix(&numbers, boxes.len(), width, device)
        };
        let state = |bounds: &Bounds, j: usize, on: f64, f: fn(f64, f64) -> f64| {
            if bounds.is_off(j) {
                0.0
            } else if bounds.is_on(j) {
                on
            } else {
                f(bounds.lower()[j], bounds.upper()[j])
            }
        };
        Self {
            slope: each(&|b, j| state(b, j, 1.0, |l, u| u / (u - l))),
            offset: each(&|b, j| state(b, j, 0.0, |l, u| -l * u / (u - l))),
            on: each(&|b, j| state(b, j, 1.0, |_, _| 0.0)),
            unstable: each(&|b, j| state(b, j, 0.0, |_, _| 1.0)),
        }
    }

    fn of_rows(&self, owners: Option<&Tensor<1, Int>>) -> Self {
        Self {
            slope: of_rows(&self.slope, owners),
            offset: of_rows(&self.offset, owners),
            on: of_rows(&self.on, owners),
            unstable: of_rows(&self.unstable, owners),
        }
    }
}
