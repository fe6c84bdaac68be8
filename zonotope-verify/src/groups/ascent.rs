//! Ascent of the dual functions of many cases at once, on a device.
//!
//! In the coordinates of a [`LeafBatch`] every box has unit size: coordinate `j` is divided by `s_j = max(|l_j|, |u_j|)` of the group,
//! rounded up to a power of two. One step length then suits all coordinates, and 32-bit numbers suit any scale.

use burn::tensor::{DType, Device, Int, Tensor, TensorData};

use super::tree::Leaf;
use super::{Group, check_length};
use crate::adam::{Adam, Best};
use crate::error::{Error, Result};

/// The cases of one objective, for a [`LeafBatch`].
#[derive(Debug, Clone, Copy)]
pub struct ObjectiveLeaves<'a> {
    /// The cases, from [`SplitTree::leaves`](super::SplitTree::leaves).
    pub leaves: &'a [Leaf],
    /// The objective's linear coefficients, a number a coordinate: they set the length of a step, nothing else.
    pub c1: &'a [f64],
    /// The objective's coefficients of the ReLUs, for the same purpose.
    pub c2: &'a [f64],
}

/// The dual functions of a group's cases on a device, with the multipliers and the state of their ascent.
///
/// A clone shares the tensors and costs next to nothing: it is the way to keep the best multipliers seen.
#[derive(Debug, Clone)]
pub struct LeafBatch {
    space: Space,
    lower: Tensor<2>,
    upper: Tensor<2>,
    /// The point of `[lower, upper]` nearest to zero.
    middle: Tensor<2>,
    /// Which objective a case belongs to.
    objective: Tensor<1, Int>,
    /// Row `r` is 0 at the cases of objective `r`, and very low elsewhere.
    membership: Tensor<2>,
    /// A step of rate 1, case by case.
    unit: Tensor<2>,
    nu: Tensor<2>,
    adam: Adam,
}

/// Values of the dual functions of a [`LeafBatch`], and where they are attained.
#[derive(Debug, Clone)]
pub struct LeafValues {
    /// `D(nu; l, u)` of every case: `[leaves]`.
    pub values: Tensor<1>,
    /// The point of the zonotope that minimises `nu.z`: `[leaves, k]`.
    pub zonotope: Tensor<2>,
    /// The point of the case's box that minimises `(c1 - nu).z + c2.relu(z)`: `[leaves, k]`. The derivative of the value by `nu` is
    /// `zonotope - boxed`, that by `c1` is `boxed`, that by `c2` is `relu(boxed)`.
    pub boxed: Tensor<2>,
}

/// A smoothed minimum over the cases of every objective: weights `exp(-value / temperature)`, normalised.
#[derive(Debug, Clone)]
pub struct SoftMinimum {
    /// The least value of each objective, not smoothed: `[objectives]`.
    pub minimum: Tensor<1>,
    /// The weighted mean of the box points `z`: `[objectives, k]`.
    pub point: Tensor<2>,
    /// The weighted mean of `relu(z)`: `[objectives, k]`.
    pub activation: Tensor<2>,
}

impl LeafBatch {
    /// Puts the cases of one or several objectives on a device, one objective after the other.
    ///
    /// # Errors
    ///
    /// [`Error::ShapeMismatch`] if an objective or a case has not a number a coordinate, or there is no case.
    pub fn new(group: &Group, objectives: &[ObjectiveLeaves<'_>], device: &Device) -> Result<Self> {
        let space = Space::new(group, device);
        let mut rows = Rows::new(&space);
        for (index, objective) in objectives.iter().enumerate() {
            check_length("linear objective", objective.c1, group.len())?;
            check_length("relu objective", objective.c2, group.len())?;
            let unit = space.mean_size(objective.c1, objective.c2);
            for leaf in objective.leaves {
                for (name, numbers) in [
                    ("lower", &leaf.lower),
                    ("upper", &leaf.upper),
                    ("nu", &leaf.nu),
                ] {
                    check_length(name, numbers, group.len())?;
                }
                rows.push(index, &leaf.lower, &leaf.upper, &leaf.nu, unit);
            }
        }
        if rows.objective.is_empty() {
            return Err(Error::ShapeMismatch {
                layer: "cases of a group".to_owned(),
                expected: "at least one".to_owned(),
                found: "none".to_owned(),
            });
        }
        Ok(rows.into_batch(objectives.len()))
    }

    /// Values and minimisers at the present multipliers for the objectives `c1`, `c2`, both `[objectives, k]`.
    #[must_use]
    pub fn evaluate(&self, c1: &Tensor<2>, c2: &Tensor<2>) -> LeafValues {
        let scale = &self.space.scale;
        let of_leaves =
            |c: &Tensor<2>| (c.clone() * scale.clone()).select(0, self.objective.clone());
        let unit = self.values(&self.terms(of_leaves(c1), of_leaves(c2)));
        LeafValues {
            values: unit.values,
            zonotope: unit.zonotope * scale.clone(),
            boxed: unit.boxed * scale.clone(),
        }
    }

    /// One Adam step of all multipliers up the gradient of `values`, which must be this batch's own. `rate` is in units of the
    /// objective's mean of `|c1| + |c2|`.
    pub fn ascend(&mut self, values: &LeafValues, rate: f64) {
        let gradient = (values.zonotope.clone() - values.boxed.clone()) / self.space.scale.clone();
        self.step(gradient, rate);
    }

    /// Minimum and mean minimiser of every objective, with one temperature an objective (`[objectives]`, positive).
    #[must_use]
    pub fn soft_minimum(&self, values: &LeafValues, temperature: &Tensor<1>) -> SoftMinimum {
        // Values far up (an empty case has no upper bound) are cut off to keep differences finite.
        let [objectives, leaves] = self.membership.dims();
        let row = values.values.clone().reshape([1, leaves]).clamp_max(FAR);
        let values_of = row.expand([objectives, leaves]) + self.membership.clone();
        let minimum = values_of.clone().min_dim(1);
        let excess = values_of - minimum.clone();
        let weights = (-excess
            / temperature
                .clone()
                .clamp_min(1e-30)
                .reshape([objectives, 1]))
        .exp();
        let weights = weights.clone() / weights.sum_dim(1);
        SoftMinimum {
            minimum: minimum.reshape([objectives]),
            point: weights.clone().matmul(values.boxed.clone()),
            activation: weights.matmul(values.boxed.clone().clamp_min(0.0)),
        }
    }

    /// Number of cases of all objectives.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nu.dims()[0]
    }

    /// Whether there is no case; never true.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The multipliers, case by case: what [`SplitTree::with_multipliers`](super::SplitTree::with_multipliers) takes.
    ///
    /// # Errors
    ///
    /// [`Error::Device`] if the device does not answer.
    pub fn multipliers(&self) -> Result<Vec<Vec<f64>>> {
        self.read(self.nu.clone())
    }

    /// `steps` steps at fixed objectives (`[leaves, k]`, already in unit coordinates), whose length falls from `rate` to
    /// `rate * decay`; keeps and returns the best multipliers of every case.
    pub(super) fn maximise(
        &mut self,
        [c1, c2]: [Tensor<2>; 2],
        schedule: &Schedule,
        cancel: &(dyn Fn() -> bool + Sync),
    ) -> Result<Vec<Vec<f64>>> {
        let terms = self.terms(c1, c2);
        let leaves = self.len();
        let mut best = Best::new(vec![self.nu.clone()]);
        for step in 0..=schedule.steps {
            let found = self.values(&terms);
            best.keep(
                std::slice::from_ref(&self.nu),
                found.values.reshape([leaves, 1]),
            );
            if step == schedule.steps || cancel() {
                break;
            }
            let rate = schedule.rate * schedule.decay.powf(step as f64 / schedule.steps as f64);
            self.step(found.zonotope - found.boxed, rate);
        }
        self.read(best.into_points().swap_remove(0))
    }

    /// What stays the same while only the multipliers change.
    fn terms(&self, c1: Tensor<2>, c2: Tensor<2>) -> Terms {
        let relu = |point: &Tensor<2>| c2.clone() * point.clone().clamp_min(0.0);
        Terms {
            at_lower: relu(&self.lower),
            at_upper: relu(&self.upper),
            at_middle: relu(&self.middle),
            c1,
        }
    }

    /// The dual functions in unit coordinates.
    fn values(&self, terms: &Terms) -> LeafValues {
        // The zonotope's minimiser has every xi at an end. Of 0 and 1 instead of -1 and 1, the signs take two plain passes over [leaves, m].
        let product = self.nu.clone().matmul(self.space.generators.clone());
        let positive = product.greater_elem(0.0).float();
        let zonotope = self.space.far_end.clone() - positive.matmul(self.space.doubled.clone());

        // Each coordinate's function is piecewise linear with a bend at zero: it is least at an end or there.
        let slope = terms.c1.clone() - self.nu.clone();
        let at_lower = slope.clone() * self.lower.clone() + terms.at_lower.clone();
        let at_upper = slope.clone() * self.upper.clone() + terms.at_upper.clone();
        let at_middle = slope * self.middle.clone() + terms.at_middle.clone();
        let upper_less = at_upper.clone().lower(at_middle.clone());
        let least = at_middle.mask_where(upper_less.clone(), at_upper);
        let boxed = self
            .middle
            .clone()
            .mask_where(upper_less, self.upper.clone());
        let lower_less = at_lower.clone().lower(least.clone());
        let least = least.mask_where(lower_less.clone(), at_lower);
        let boxed = boxed.mask_where(lower_less, self.lower.clone());

        // nu.z at the zonotope's minimiser is nu.c - |G^T nu|: no second pass over [leaves, m] is needed for the norm.
        let leaves = self.len();
        let values = (self.nu.clone() * zonotope.clone() + least)
            .sum_dim(1)
            .reshape([leaves]);
        LeafValues {
            values,
            zonotope,
            boxed,
        }
    }

    /// A step along a gradient in unit coordinates.
    fn step(&mut self, gradient: Tensor<2>, rate: f64) {
        for direction in self.adam.directions(vec![gradient], rate) {
            self.nu = self.nu.clone() + direction * self.unit.clone();
        }
    }

    /// Multipliers in the group's own coordinates, on the host.
    fn read(&self, nu: Tensor<2>) -> Result<Vec<Vec<f64>>> {
        let failed = |reason: String| Error::Device { reason };
        let data = nu.try_into_data().map_err(|e| failed(format!("{e:?}")))?;
        let numbers = data
            .try_to_vec_as::<f64>()
            .map_err(|e| failed(format!("{e:?}")))?;
        let rows = numbers.chunks(self.space.sizes.len());
        let to_group = |row: &[f64]| {
            row.iter()
                .zip(&self.space.sizes)
                .map(|(x, s)| x / s)
                .collect()
        };
        Ok(rows.map(to_group).collect())
    }
}

/// The steps of one ascent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Schedule {
    pub(super) steps: usize,
    pub(super) rate: f64,
    pub(super) decay: f64,
}

/// A group on a device, in unit coordinates.
#[derive(Debug, Clone)]
pub(super) struct Space {
    /// `s_j`.
    sizes: Vec<f64>,
    scale: Tensor<2>,
    generators: Tensor<2>,
    /// The point with every `xi` at 1: `[1, k]`.
    far_end: Tensor<2>,
    /// `2 G^T`, what changes as a `xi` goes from 1 to -1.
    doubled: Tensor<2>,
    device: Device,
}

impl Space {
    pub(super) fn new(group: &Group, device: &Device) -> Self {
        let k = group.len();
        let sizes: Vec<f64> = (0..k)
            .map(|j| {
                let size = group.lower[j].abs().max(group.upper[j].abs());
                if size > 0.0 {
                    size.log2().ceil().clamp(-100.0, 100.0).exp2()
                } else {
                    1.0
                }
            })
            .collect();
        // A rounding radius is a generator along its own axis; where it is far below the resolution of 32 bits, it is left out.
        let extra: Vec<usize> = (0..k)
            .filter(|&j| group.rounding[j] > 1e-7 * group.row_sums[j])
            .collect();
        // At least one column: a product over none is not every device's idea of zero.
        let columns = (group.columns() + extra.len()).max(1);
        let mut rows = vec![0.0f32; k * columns];
        for (j, row) in rows.chunks_mut(columns).enumerate() {
            for (to, from) in row.iter_mut().zip(group.row(j)) {
                *to = (from / sizes[j]) as f32;
            }
        }
        for (position, &j) in extra.iter().enumerate() {
            rows[j * columns + group.columns() + position] = (group.rounding[j] / sizes[j]) as f32;
        }
        let far_end = rows
            .chunks(columns)
            .zip(group.center.iter().zip(&sizes))
            .map(|(row, (c, s))| (c / s + row.iter().map(|&g| f64::from(g)).sum::<f64>()) as f32)
            .collect();
        let generators = matrix(rows, [k, columns], device);
        let scale = sizes.iter().map(|&s| s as f32).collect();
        Self {
            scale: matrix(scale, [1, k], device),
            far_end: matrix(far_end, [1, k], device),
            doubled: (generators.clone() * 2.0).transpose(),
            generators,
            sizes,
            device: device.clone(),
        }
    }

    /// The mean over the coordinates of `(|c1_j| + |c2_j|) s_j`, the natural size of a multiplier in unit coordinates.
    pub(super) fn mean_size(&self, c1: &[f64], c2: &[f64]) -> f64 {
        let terms = c1.iter().zip(c2).zip(&self.sizes);
        let total: f64 = terms.map(|((a, b), s)| a.abs() * s + b.abs() * s).sum();
        total / self.sizes.len() as f64
    }

    /// Coefficients of an objective in unit coordinates, divided by `unit`.
    pub(super) fn coefficients(&self, c: &[f64], unit: f64) -> impl Iterator<Item = f32> {
        c.iter()
            .zip(&self.sizes)
            .map(move |(c, s)| (c / unit * s) as f32)
    }

    pub(super) fn matrix(&self, numbers: Vec<f32>, shape: [usize; 2]) -> Tensor<2> {
        matrix(numbers, shape, &self.device)
    }
}

/// The rows of a [`LeafBatch`] while they are collected.
pub(super) struct Rows<'a> {
    space: &'a Space,
    objective: Vec<usize>,
    lower: Vec<f32>,
    upper: Vec<f32>,
    nu: Vec<f32>,
    unit: Vec<f32>,
}

impl<'a> Rows<'a> {
    pub(super) fn new(space: &'a Space) -> Self {
        Self {
            space,
            objective: Vec::new(),
            lower: Vec::new(),
            upper: Vec::new(),
            nu: Vec::new(),
            unit: Vec::new(),
        }
    }

    /// Adds a case whose multipliers are in the group's coordinates, and the length of a step of rate 1.
    pub(super) fn push(
        &mut self,
        objective: usize,
        lower: &[f64],
        upper: &[f64],
        nu: &[f64],
        unit: f64,
    ) {
        let sizes = &self.space.sizes;
        self.objective.push(objective);
        self.lower
            .extend(lower.iter().zip(sizes).map(|(x, s)| (x / s) as f32));
        self.upper
            .extend(upper.iter().zip(sizes).map(|(x, s)| (x / s) as f32));
        self.nu
            .extend(nu.iter().zip(sizes).map(|(x, s)| (x * s) as f32));
        self.unit
            .extend(std::iter::repeat_n(unit as f32, sizes.len()));
    }

    pub(super) fn into_batch(self, objectives: usize) -> LeafBatch {
        let device = &self.space.device;
        let shape = [self.objective.len(), self.space.sizes.len()];
        let middle = self
            .lower
            .iter()
            .zip(&self.upper)
            .map(|(&l, &u)| l.max(0.0).min(u))
            .collect();
        let membership = (0..objectives)
            .flat_map(|r| {
                self.objective
                    .iter()
                    .map(move |&o| if o == r { 0.0 } else { 2.0 * FAR })
            })
            .collect();
        let index: Vec<i64> = self.objective.iter().map(|&r| r as i64).collect();
        LeafBatch {
            space: self.space.clone(),
            lower: matrix(self.lower, shape, device),
            upper: matrix(self.upper, shape, device),
            middle: matrix(middle, shape, device),
            objective: Tensor::from_data(TensorData::new(index, [shape[0]]), device),
            membership: matrix(membership, [objectives, shape[0]], device),
            unit: matrix(self.unit, shape, device),
            nu: matrix(self.nu, shape, device),
            adam: Adam::new(0.9, 0.99, SMALL),
        }
    }
}

impl LeafBatch {
    pub(super) fn with_betas(mut self, beta_1: f64, beta_2: f64) -> Self {
        self.adam = Adam::new(beta_1, beta_2, SMALL);
        self
    }
}

struct Terms {
    c1: Tensor<2>,
    at_lower: Tensor<2>,
    at_upper: Tensor<2>,
    at_middle: Tensor<2>,
}

/// Keeps a coordinate that never moved from 0 / 0; gradients in unit coordinates are about 1.
const SMALL: f64 = 1e-12;

/// Above every value that matters.
const FAR: f32 = 1e30;

fn matrix(numbers: Vec<f32>, shape: [usize; 2], device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(numbers, shape), (device, DType::F32))
}
