//! Boxes of pre-activations: proven bounds neuron by neuron, and the cheapest way to them, interval arithmetic.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::network::{Enclosure, Network};
use crate::rounding::{add_up, enclose, lower, upper};
use crate::spec::InputBox;

/// Proven bounds of the neurons of one layer: `lower[j] <= z_j <= upper[j]`. A bound that was lost to overflow is infinite; none is NaN.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Sides")]
pub struct Bounds {
    lower: Vec<f64>,
    upper: Vec<f64>,
}

impl Bounds {
    /// Bounds from the two corners of a box.
    ///
    /// # Errors
    ///
    /// [`Error::ShapeMismatch`] if the corners differ in size; [`Error::InvalidConfig`] if a bound is NaN, a lower one infinite, an upper
    /// one minus infinite, or if a lower bound lies above its upper bound.
    pub fn new(lower: Vec<f64>, upper: Vec<f64>) -> Result<Self> {
        if lower.len() != upper.len() {
            return Err(Error::ShapeMismatch {
                layer: "bounds".to_owned(),
                expected: format!("{} upper bounds", lower.len()),
                found: upper.len().to_string(),
            });
        }
        for (index, (&l, &u)) in lower.iter().zip(&upper).enumerate() {
            // Written so that NaN fails.
            if !(l <= u && l < f64::INFINITY && u > f64::NEG_INFINITY) {
                return Err(Error::InvalidConfig {
                    field: "bounds",
                    reason: format!("neuron {index} cannot lie in [{l}, {u}]"),
                });
            }
        }
        Ok(Self { lower, upper })
    }

    /// The smallest boxes around numbers that are known up to a radius.
    pub(crate) fn around(values: &[Enclosure]) -> Self {
        Self {
            lower: values.iter().map(|&x| lower(x)).collect(),
            upper: values.iter().map(|&x| upper(x)).collect(),
        }
    }

    /// Lower bounds.
    #[must_use]
    pub fn lower(&self) -> &[f64] {
        &self.lower
    }

    /// Upper bounds.
    #[must_use]
    pub fn upper(&self) -> &[f64] {
        &self.upper
    }

    /// Number of neurons.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lower.len()
    }

    /// Whether there are no neurons.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lower.is_empty()
    }

    /// `upper[j] - lower[j]`, rounded up.
    #[must_use]
    pub fn width(&self, j: usize) -> f64 {
        add_up(self.upper[j], -self.lower[j])
    }

    /// Whether neuron `j` is never negative, so that its ReLU passes it on. A neuron that is always zero counts as off.
    #[must_use]
    pub fn is_on(&self, j: usize) -> bool {
        self.lower[j] >= 0.0 && !self.is_off(j)
    }

    /// Whether neuron `j` is never positive, so that its ReLU is zero.
    #[must_use]
    pub fn is_off(&self, j: usize) -> bool {
        self.upper[j] <= 0.0
    }

    /// Whether neuron `j` can have either sign.
    #[must_use]
    pub fn is_unstable(&self, j: usize) -> bool {
        self.lower[j] < 0.0 && self.upper[j] > 0.0
    }

    /// The neurons that can have either sign, in ascending order.
    #[must_use]
    pub fn unstable(&self) -> Vec<usize> {
        (0..self.len()).filter(|&j| self.is_unstable(j)).collect()
    }

    /// The part of the box that both proofs leave.
    ///
    /// # Errors
    ///
    /// [`Error::ShapeMismatch`] if the sizes differ, [`Error::Internal`] if nothing is left: two proven bounds then contradict each
    /// other. Both name `layer`.
    pub fn intersect(&self, other: &Self, layer: &str) -> Result<Self> {
        if self.len() != other.len() {
            return Err(Error::ShapeMismatch {
                layer: layer.to_owned(),
                expected: format!("bounds of {} neurons", self.len()),
                found: other.len().to_string(),
            });
        }
        self.common(other).ok_or_else(|| {
            let clash = |j: &usize| {
                self.lower[*j].max(other.lower[*j]) > self.upper[*j].min(other.upper[*j])
            };
            let j = (0..self.len()).find(clash).unwrap_or_default();
            Error::Internal {
                layer: layer.to_owned(),
                reason: format!(
                    "neuron {j} is proven to lie in [{}, {}] and in [{}, {}]",
                    self.lower[j], self.upper[j], other.lower[j], other.upper[j]
                ),
            }
        })
    }

    /// The part of the box that both leave, if there is one. The sizes must be equal.
    pub(crate) fn common(&self, other: &Self) -> Option<Self> {
        let pairs = |a: &[f64], b: &[f64], pick: fn(f64, f64) -> f64| -> Vec<f64> {
            a.iter().zip(b).map(|(a, b)| pick(*a, *b)).collect()
        };
        let lower = pairs(&self.lower, &other.lower, f64::max);
        let upper = pairs(&self.upper, &other.upper, f64::min);
        lower
            .iter()
            .zip(&upper)
            .all(|(l, u)| l <= u)
            .then_some(Self { lower, upper })
    }

    /// What the ReLUs make of the box, as midpoints and radii.
    pub(crate) fn relu(&self) -> Vec<Enclosure> {
        self.lower
            .iter()
            .zip(&self.upper)
            .map(|(&l, &u)| enclose(l.max(0.0), u.max(0.0)))
            .collect()
    }
}

/// Interval bound propagation: certified bounds of the pre-activations `z_1 .. z_L`, the last of which are the outputs, for all inputs
/// in the box. A matrix product a layer; loose beyond the first few layers.
///
/// # Errors
///
/// [`Error::ShapeMismatch`] if the box is not as large as the network's input.
pub fn interval_bounds(network: &Network, input: &InputBox) -> Result<Vec<Bounds>> {
    check_input(network, input)?;
    let mut values: Vec<Enclosure> = input
        .lower()
        .iter()
        .zip(input.upper())
        .map(|(&l, &u)| enclose(l, u))
        .collect();
    let mut layers: Vec<Bounds> = Vec::with_capacity(network.maps().len());
    for map in network.maps() {
        let bounds = Bounds::around(&map.apply(&values));
        values = bounds.relu();
        layers.push(bounds);
    }
    Ok(layers)
}

/// That a box of inputs is as large as the network's input.
pub(crate) fn check_input(network: &Network, input: &InputBox) -> Result<()> {
    if input.len() == network.inputs() {
        Ok(())
    } else {
        Err(Error::ShapeMismatch {
            layer: "input box".to_owned(),
            expected: format!("{} inputs", network.inputs()),
            found: input.len().to_string(),
        })
    }
}

/// The serialised form of [`Bounds`], not yet checked.
#[derive(Deserialize)]
struct Sides {
    lower: Vec<f64>,
    upper: Vec<f64>,
}

impl TryFrom<Sides> for Bounds {
    type Error = Error;

    fn try_from(sides: Sides) -> Result<Self> {
        Self::new(sides.lower, sides.upper)
    }
}
