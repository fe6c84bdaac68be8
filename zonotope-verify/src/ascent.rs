//! The dual function and its ascent on a device, in 32-bit arithmetic (2.3 to 2.5 of the design). Nothing here is trusted by a proof.

use burn::Tensor;
use burn::tensor::{Device, Int, TensorData};

use crate::adam::{Adam, Best};
use crate::certify::Target;
use crate::crown::Search;
use crate::device::{matrix, numbers};
use crate::groups::LeafBatch;
use crate::interval::Bounds;
use crate::pairs::PairTable;

/// A number that no value of the dual function comes near to.
const FORBIDDEN: f32 = 1e30;

/// One hidden layer's inner problem on a device. Boxes are shared by all rows of an objective (`[1, width]`), or every row has its own (`[rows, width]`).
#[derive(Clone)]
pub(crate) struct DeviceLayer {
    lower: Tensor<2>,
    upper: Tensor<2>,
    lower_relu: Tensor<2>,
    upper_relu: Tensor<2>,
    /// What the minimum of a neuron's box may not exceed: 0 for unstable ones, which contain the origin.
    cap: Tensor<2>,
    /// 1 for neurons that are taken alone.
    alone: Tensor<2>,
    pairs: Option<DevicePairs>,
    /// Where rows have decided signs: what a candidate costs that is below 0, or above, in each coordinate (`[rows, width]` each).
    forbidden: Option<(Tensor<2>, Tensor<2>)>,
    /// Whether the boxes may be smaller than those that the pairs were cut with, so that a pair's boxes can tell more than its polygon.
    own_boxes: bool,
}

/// The boxes and decisions of one row.
pub(crate) struct RowBox<'a> {
    pub(crate) bounds: &'a Bounds,
    pub(crate) splits: &'a [Split],
}

/// The cases of a group of neurons of one layer, for all rows of an objective, with multipliers of their own that ascend beside those of the layers.
pub(crate) struct DeviceGroup {
    pub(crate) layer: usize,
    /// The neurons.
    columns: Tensor<1, Int>,
    /// For every neuron of the layer its column in `[all neurons, the group's neurons]`.
    order: Tensor<1, Int>,
    pub(crate) leaves: LeafBatch,
    /// Steps of the leaves' multipliers for one of the layers', and their length.
    inner: (usize, f64),
    /// Width of the soft minimum over the cases, as a share of the bound.
    temperature: f64,
}

impl DeviceGroup {
    pub(crate) fn new(
        layer: usize,
        width: usize,
        neurons: &[usize],
        leaves: LeafBatch,
        inner: (usize, f64),
        temperature: f64,
        device: &Device,
    ) -> Self {
        let mut order: Vec<i32> = (0..width as i32).collect();
        for (index, &neuron) in neurons.iter().enumerate() {
            order[neuron] = (width + index) as i32;
        }
        let columns: Vec<i32> = neurons.iter().map(|&neuron| neuron as i32).collect();
        let indices = |numbers: &[i32]| Tensor::from_data(TensorData::from(numbers), device);
        Self {
            layer,
            columns: indices(&columns),
            order: indices(&order),
            leaves,
            inner,
            temperature,
        }
    }

    /// The minimum over all cases (`[rows, 1]`), the mean minimiser and the mean of its positive part (`[rows, neurons]`), after the leaves'
    /// multipliers have ascended.
    fn minimum(
        &mut self,
        c1: &Tensor<2>,
        c2: &Tensor<2>,
        scale: &Tensor<2>,
    ) -> (Tensor<2>, Tensor<2>, Tensor<2>) {
        let c1 = c1.clone().select(1, self.columns.clone());
        let c2 = c2.clone().select(1, self.columns.clone());
        for _ in 0..self.inner.0 {
            let values = self.leaves.evaluate(&c1, &c2);
            self.leaves.ascend(&values, self.inner.1);
        }
        let values = self.leaves.evaluate(&c1, &c2);
        let rows = c1.dims()[0];
        let temperature = (scale.clone().abs() * self.temperature as f32).reshape([rows]);
        let soft = self.leaves.soft_minimum(&values, &temperature);
        (soft.minimum.reshape([rows, 1]), soft.point, soft.activation)
    }
}

/// A decision on the sign of a neuron.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Split {
    /// The hidden layer, from 0.
    pub layer: usize,
    /// The neuron.
    pub neuron: usize,
    /// Whether its pre-activation is taken to be 0 or more; else 0 or less.
    pub positive: bool,
}

/// Candidates of all pairs of one layer.
#[derive(Clone)]
struct DevicePairs {
    count: usize,
    /// Columns of `[c1, c2, forbidden below, forbidden above]` that belong to each pair: both neurons' of each.
    columns: Tensor<1, Int>,
    /// `[pairs, 8, candidates]`: both coordinates of every candidate, their positive parts, and whether they are below and above 0.
    table: Tensor<3>,
    /// `[pairs, 1, candidates]`
    first: Tensor<3>,
    second: Tensor<3>,
    /// For every neuron its column in `[alone, first coordinates, second coordinates]`.
    order: Tensor<1, Int>,
    /// The first and the second neuron of every pair.
    own: [Tensor<1, Int>; 2],
}

impl DeviceLayer {
    pub(crate) fn new(
        bounds: &Bounds,
        table: Option<&PairTable>,
        grouped: &[usize],
        device: &Device,
    ) -> Self {
        let width = bounds.lower().len();
        let row = |numbers: &[f64]| matrix(numbers, 1, width, device);
        let mut alone = vec![1.0; width];
        for &neuron in grouped {
            alone[neuron] = 0.0;
        }
        for &neuron in table
            .iter()
            .flat_map(|table| table.pairs().iter().flatten())
        {
            alone[neuron] = 0.0;
        }
        Self {
            lower: row(bounds.lower()),
            upper: row(bounds.upper()),
            lower_relu: row(&positive_parts(bounds.lower())),
            upper_relu: row(&positive_parts(bounds.upper())),
            cap: row(&caps(bounds)),
            alone: row(&alone),
            pairs: table
                .filter(|table| !table.pairs().is_empty())
                .map(|table| DevicePairs::new(table, width, device)),
            forbidden: None,
            own_boxes: false,
        }
    }

    /// The layer for rows that each have boxes and decisions of their own.
    pub(crate) fn for_rows(&self, layer: usize, rows: &[RowBox<'_>], device: &Device) -> Self {
        let all = |side: fn(&Bounds) -> &[f64]| -> Vec<f64> {
            rows.iter()
                .flat_map(|row| side(row.bounds).iter().copied())
                .collect()
        };
        let (lower, upper) = (all(Bounds::lower), all(Bounds::upper));
        let cap: Vec<f64> = rows.iter().flat_map(|row| caps(row.bounds)).collect();
        let width = lower.len() / rows.len().max(1);
        let matrix = |numbers: &[f64]| matrix(numbers, rows.len(), width, device);
        let decided = self.pairs.is_some()
            && rows
                .iter()
                .any(|row| row.splits.iter().any(|split| split.layer == layer));
        let forbidden = decided.then(|| {
            let mut below = vec![0.0; rows.len() * width];
            let mut above = below.clone();
            for (index, row) in rows.iter().enumerate() {
                for split in row.splits.iter().filter(|split| split.layer == layer) {
                    let side = if split.positive {
                        &mut below
                    } else {
                        &mut above
                    };
                    side[index * width + split.neuron] = f64::from(FORBIDDEN);
                }
            }
            (matrix(&below), matrix(&above))
        });
        Self {
            lower_relu: matrix(&positive_parts(&lower)),
            upper_relu: matrix(&positive_parts(&upper)),
            lower: matrix(&lower),
            upper: matrix(&upper),
            cap: matrix(&cap),
            alone: self.alone.clone(),
            pairs: self.pairs.clone(),
            forbidden,
            own_boxes: true,
        }
    }

    /// The minimum of every row (`[rows, 1]`) and the minimiser (`[rows, width]`) of `c1 z + c2 relu(z)`.
    ///
    /// Neurons of groups get the minimiser of their box and add nothing to the minimum.
    fn minimum(&self, c1: &Tensor<2>, c2: &Tensor<2>) -> (Tensor<2>, Tensor<2>) {
        let at_lower = c1.clone() * self.lower.clone() + c2.clone() * self.lower_relu.clone();
        let at_upper = c1.clone() * self.upper.clone() + c2.clone() * self.upper_relu.clone();
        let shape = c1.dims();
        let below = at_lower.clone().lower(at_upper.clone());
        let point = self
            .upper
            .clone()
            .expand(shape)
            .mask_where(below, self.lower.clone().expand(shape));
        let value = at_lower.min_pair(at_upper);
        let cap = self.cap.clone().expand(shape);
        let point = point.mask_fill(value.clone().greater(cap.clone()), 0.0);
        let boxed = value.min_pair(cap);
        let value = (boxed.clone() * self.alone.clone()).sum_dim(1);
        match &self.pairs {
            None => (value, point),
            Some(pairs) => {
                let boxed = self.own_boxes.then_some((&boxed, &point));
                let (minimum, first, second) =
                    pairs.minimum(c1, c2, self.forbidden.as_ref(), boxed);
                let point =
                    Tensor::cat(vec![point, first, second], 1).select(1, pairs.order.clone());
                (value + minimum, point)
            }
        }
    }
}

/// What the minimum of every neuron's box may not exceed.
fn caps(bounds: &Bounds) -> Vec<f64> {
    let cap = |j| {
        if bounds.is_unstable(j) {
            0.0
        } else {
            f64::from(FORBIDDEN)
        }
    };
    (0..bounds.len()).map(cap).collect()
}

fn positive_parts(numbers: &[f64]) -> Vec<f64> {
    numbers.iter().map(|x| x.max(0.0)).collect()
}

impl DevicePairs {
    fn new(table: &PairTable, width: usize, device: &Device) -> Self {
        let (count, candidates) = (table.pairs().len(), table.width());
        let mut columns = Vec::with_capacity(8 * count);
        let mut order: Vec<i32> = (0..width as i32).collect();
        for (index, &[a, b]) in table.pairs().iter().enumerate() {
            for block in 0..4 {
                columns.extend([block * width + a, block * width + b].map(|column| column as i32));
            }
            order[a] = (width + index) as i32;
            order[b] = (width + count + index) as i32;
        }
        let mut features = vec![0.0_f32; count * 8 * candidates];
        let mut first = Vec::with_capacity(count * candidates);
        let mut second = Vec::with_capacity(count * candidates);
        for pair in 0..count {
            let points = table.candidates()[pair * 2 * candidates..(pair + 1) * 2 * candidates]
                .chunks_exact(2);
            for (index, [x, y]) in points.map(|z| [z[0], z[1]]).enumerate() {
                let (below, above) = (
                    [x, y].map(|z| f64::from(z < 0.0)),
                    [x, y].map(|z| f64::from(z > 0.0)),
                );
                let all = [[x, y], [x.max(0.0), y.max(0.0)], below, above];
                for (feature, number) in all.into_iter().flatten().enumerate() {
                    features[(pair * 8 + feature) * candidates + index] = number as f32;
                }
                first.push(x as f32);
                second.push(y as f32);
            }
        }
        let points =
            |numbers| Tensor::from_data(TensorData::new(numbers, [count, 1, candidates]), device);
        Self {
            count,
            columns: Tensor::from_data(TensorData::from(columns.as_slice()), device),
            table: Tensor::from_data(TensorData::new(features, [count, 8, candidates]), device),
            first: points(first),
            second: points(second),
            order: Tensor::from_data(TensorData::from(order.as_slice()), device),
            own: [0, 1].map(|side| {
                let neurons: Vec<i32> =
                    table.pairs().iter().map(|pair| pair[side] as i32).collect();
                Tensor::from_data(TensorData::from(neurons.as_slice()), device)
            }),
        }
    }

    /// The sum of all minima (`[rows, 1]`) and both coordinates of the minimisers (`[rows, pairs]`).
    fn minimum(
        &self,
        c1: &Tensor<2>,
        c2: &Tensor<2>,
        forbidden: Option<&(Tensor<2>, Tensor<2>)>,
        boxed: Option<(&Tensor<2>, &Tensor<2>)>,
    ) -> (Tensor<2>, Tensor<2>, Tensor<2>) {
        let rows = c1.dims()[0];
        let (below, above) = forbidden.map_or_else(
            || (c1.zeros_like(), c1.zeros_like()),
            |(below, above)| (below.clone(), above.clone()),
        );
        let coefficients = Tensor::cat(vec![c1.clone(), c2.clone(), below, above], 1)
            .select(1, self.columns.clone())
            .reshape([rows, self.count, 8])
            .swap_dims(0, 1);
        let values = coefficients.matmul(self.table.clone());
        let candidates = values.dims()[2];
        let (minimum, index) = values.min_dim_with_indices(2);
        let shape = [self.count, rows, candidates];
        let pick = |points: &Tensor<3>| {
            points
                .clone()
                .expand(shape)
                .gather(2, index.clone())
                .reshape([self.count, rows])
                .transpose()
        };
        let minimum = minimum.reshape([self.count, rows]).transpose();
        let (first, second) = (pick(&self.first), pick(&self.second));
        let Some((value, point)) = boxed else {
            return (minimum.sum_dim(1), first, second);
        };
        // Both are lower bounds of the same minimum, so the larger counts.
        let [own_first, own_second] = &self.own;
        let alone = value.clone().select(1, own_first.clone())
            + value.clone().select(1, own_second.clone());
        let better = alone.clone().greater(minimum.clone());
        let point = |column: &Tensor<1, Int>| point.clone().select(1, column.clone());
        (
            minimum.max_pair(alone).sum_dim(1),
            first.mask_where(better.clone(), point(own_first)),
            second.mask_where(better, point(own_second)),
        )
    }
}

/// How the step size falls.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// Geometrically, to this share of its first value at the last step.
    Geometric {
        /// The share that is left.
        to: f64,
    },
    /// By a factor every so many steps, as the paper does.
    Stairs {
        /// Steps between two drops.
        every: usize,
        /// The factor.
        factor: f64,
    },
}

impl Schedule {
    /// The factor of the first step size at `step` (from 0) of `steps`.
    pub(crate) fn factor(self, step: usize, steps: usize) -> f64 {
        match self {
            Self::Geometric { to } => to.powf(step as f64 / steps.saturating_sub(1).max(1) as f64),
            Self::Stairs { every, factor } => factor.powi((step / every.max(1)) as i32),
        }
    }
}

/// Gradient ascent of the dual function for all rows of a target at once, by Adam (betas 0.9 and 0.999, epsilon 1e-8).
pub(crate) struct Ascent<'a> {
    search: &'a Search,
    layers: &'a [DeviceLayer],
    groups: Vec<DeviceGroup>,
    /// Coefficients of the last hidden layer's activations, `[rows, width]`.
    last: Tensor<2>,
    /// `[rows, 1]`
    constant: Tensor<2>,
    multipliers: Vec<Tensor<2>>,
    adam: Adam,
    best: Best,
}

/// What a step of the ascent saw.
pub(crate) struct Point {
    /// `[rows, 1]`
    pub(crate) value: Tensor<2>,
    /// `z_A - z_B` of every hidden layer, `[rows, width]`.
    pub(crate) gradients: Vec<Tensor<2>>,
}

impl<'a> Ascent<'a> {
    /// Starts at the given multipliers, a matrix `rows x width` for every hidden layer.
    pub(crate) fn new(
        search: &'a Search,
        layers: &'a [DeviceLayer],
        target: &Target,
        multipliers: &[Vec<f64>],
    ) -> Self {
        let device = search.device();
        let width = target.coefficients.len() / target.rows;
        let rows = matrix(&target.coefficients, target.rows, width, device);
        let map = search.network().map(target.map);
        let multipliers: Vec<Tensor<2>> = multipliers
            .iter()
            .map(|rho| matrix(rho, target.rows, rho.len() / target.rows, device))
            .collect();
        Self {
            search,
            layers,
            groups: Vec::new(),
            last: map.transposed(rows.clone()),
            constant: rows.matmul(map.bias().transpose()),
            adam: Adam::new(0.9, 0.999, 1e-8),
            best: Best::new(multipliers.clone()),
            multipliers,
        }
    }

    /// Takes some neurons in groups; their layers must have been told so ([`DeviceLayer::new`]).
    pub(crate) fn with_groups(mut self, groups: Vec<DeviceGroup>) -> Self {
        self.groups = groups;
        self
    }

    /// The mean magnitude of all multipliers of each row, `[rows, 1]`: the scale of a step (E of the design).
    pub(crate) fn scale(&self) -> Tensor<2> {
        let count: usize = self.multipliers.iter().map(|rho| rho.dims()[1]).sum();
        let sums = self
            .multipliers
            .iter()
            .map(|rho| rho.clone().abs().sum_dim(1));
        sums.reduce(|a, b| a + b)
            .map_or_else(|| self.constant.zeros_like(), |sum| sum / count as f32)
    }

    /// Value and supergradient at the present multipliers; the leaves of groups ascend on the way.
    pub(crate) fn evaluate(&mut self) -> Point {
        let mut value = self.constant.clone();
        // What the inner problems attain: the point, and the positive part of it, which is a mean of its own for groups.
        let mut points: Vec<(Tensor<2>, Tensor<2>)> = Vec::with_capacity(self.layers.len());
        let mut c2 = self.last.clone();
        let scale = self
            .best
            .values()
            .cloned()
            .unwrap_or_else(|| self.constant.ones_like());
        for (index, layer) in self.layers.iter().enumerate().rev() {
            let rho = &self.multipliers[index];
            let c1 = rho.clone().neg();
            let (minimum, mut point) = layer.minimum(&c1, &c2);
            let mut activation = point.clone().clamp_min(0.0);
            value = value + minimum;
            for group in self.groups.iter_mut().filter(|group| group.layer == index) {
                let (minimum, own, own_activation) = group.minimum(&c1, &c2, &scale);
                value = value + minimum;
                point = Tensor::cat(vec![point, own], 1).select(1, group.order.clone());
                activation =
                    Tensor::cat(vec![activation, own_activation], 1).select(1, group.order.clone());
            }
            let map = self.search.network().map(index);
            value = value + rho.clone().matmul(map.bias().transpose());
            points.push((point, activation));
            c2 = map.transposed(rho.clone());
        }
        points.reverse();
        let (center, radius) = self.search.input();
        let mut activation = center - c2.clone().sign() * radius;
        value = value + (c2 * activation.clone()).sum_dim(1);
        let mut gradients = Vec::with_capacity(self.layers.len());
        for (index, (point, positive)) in points.into_iter().enumerate() {
            let reached = self.search.network().map(index).forward(activation);
            gradients.push(reached - point);
            activation = positive;
        }
        Point { value, gradients }
    }

    /// One step: looks, remembers the best multipliers of every row, and moves by `rate` (`[rows, 1]` or a scalar in `[1, 1]`).
    pub(crate) fn step(&mut self, rate: &Tensor<2>) {
        let point = self.evaluate();
        self.best.keep(&self.multipliers, point.value);
        let directions = self.adam.directions(point.gradients, 1.0);
        for (rho, direction) in self.multipliers.iter_mut().zip(directions) {
            *rho = rho.clone() + direction * rate.clone();
        }
    }

    /// The groups, with the multipliers of their leaves as they are now.
    pub(crate) fn groups(&self) -> &[DeviceGroup] {
        &self.groups
    }

    /// The inputs that minimise the innermost problem at the present multipliers (`[rows, inputs]`), and what the network makes of them, in the rows' units.
    pub(crate) fn suggestions(&self) -> (Tensor<2>, Vec<f64>) {
        let (center, radius) = self.search.input();
        let network = self.search.network();
        let c2 = match self.multipliers.first() {
            Some(rho) => network.map(0).transposed(rho.clone()),
            None => self.last.clone(),
        };
        let inputs = center - c2.sign() * radius;
        let mut activation = inputs.clone();
        for index in 0..self.layers.len() {
            activation = network.map(index).forward(activation).clamp_min(0.0);
        }
        let value = self.constant.clone() + (self.last.clone() * activation).sum_dim(1);
        (inputs, numbers(value))
    }

    /// Looks at the last multipliers as well, and gives the best of every row: a matrix for every hidden layer, and the values.
    pub(crate) fn finish(mut self) -> (Vec<Vec<f64>>, Vec<f64>) {
        let value = self.evaluate().value;
        self.best.keep(&self.multipliers, value);
        let values = self.best.values().cloned().map_or_else(Vec::new, numbers);
        let points = self.best.into_points();
        (points.into_iter().map(numbers).collect(), values)
    }
}
