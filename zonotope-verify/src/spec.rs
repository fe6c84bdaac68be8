//! What is to be proven: boxes of inputs, and the outputs that must not occur.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::network::Enclosure;

/// A box of inputs: every input `i` lies in `[lower[i], upper[i]]`. Copies share the bounds, so that the many cases of a specification
/// about one box cost no more than one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Corners", into = "Corners")]
pub struct InputBox {
    lower: Arc<[f64]>,
    upper: Arc<[f64]>,
}

/// An [`InputBox`] as it is stored; it is checked when it is read.
#[derive(Serialize, Deserialize)]
struct Corners {
    lower: Vec<f64>,
    upper: Vec<f64>,
}

impl TryFrom<Corners> for InputBox {
    type Error = Error;

    fn try_from(corners: Corners) -> Result<Self> {
        Self::new(corners.lower, corners.upper)
    }
}

impl From<InputBox> for Corners {
    fn from(input: InputBox) -> Self {
        Self {
            lower: input.lower.to_vec(),
            upper: input.upper.to_vec(),
        }
    }
}

impl InputBox {
    /// A box from its two corners.
    ///
    /// # Errors
    ///
    /// [`Error::ShapeMismatch`] if the corners differ in size or are empty, [`Error::EmptyInputBox`] if a lower bound lies above its
    /// upper bound, [`Error::InvalidConfig`] if a bound is not finite.
    pub fn new(lower: Vec<f64>, upper: Vec<f64>) -> Result<Self> {
        if lower.len() != upper.len() || lower.is_empty() {
            return Err(Error::ShapeMismatch {
                layer: "input box".to_owned(),
                expected: format!("{} upper bounds", lower.len().max(1)),
                found: upper.len().to_string(),
            });
        }
        for (index, (&l, &u)) in lower.iter().zip(&upper).enumerate() {
            if !l.is_finite() || !u.is_finite() {
                return Err(Error::InvalidConfig {
                    field: "input box",
                    reason: format!("input {index} has the bounds [{l}, {u}]"),
                });
            }
            if l > u {
                return Err(Error::EmptyInputBox {
                    index,
                    lower: l,
                    upper: u,
                });
            }
        }
        Ok(Self {
            lower: lower.into(),
            upper: upper.into(),
        })
    }

    /// All inputs that differ from `center` by at most `radius` in every coordinate (an l-infinity ball). Bounds are rounded outward.
    ///
    /// # Errors
    ///
    /// As [`InputBox::new`]; [`Error::InvalidConfig`] for a radius that is negative or not finite.
    pub fn linf(center: &[f64], radius: f64) -> Result<Self> {
        if !(radius.is_finite() && radius >= 0.0) {
            return Err(Error::InvalidConfig {
                field: "radius",
                reason: format!("{radius} is no distance"),
            });
        }
        let outward =
            |x: f64, bound: f64, step: fn(f64) -> f64| if radius == 0.0 { x } else { step(bound) };
        let lower = center
            .iter()
            .map(|&x| outward(x, x - radius, f64::next_down))
            .collect();
        let upper = center
            .iter()
            .map(|&x| outward(x, x + radius, f64::next_up))
            .collect();
        Self::new(lower, upper)
    }

    /// The part of the box with every coordinate in `[lower, upper]`.
    ///
    /// # Errors
    ///
    /// [`Error::EmptyInputBox`] if nothing is left.
    pub fn clip(self, lower: f64, upper: f64) -> Result<Self> {
        let low = self.lower.iter().map(|&x| x.max(lower)).collect();
        let high = self.upper.iter().map(|&x| x.min(upper)).collect();
        Self::new(low, high)
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

    /// Number of inputs.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lower.len()
    }

    /// Whether a point lies in the box; false for a point of another size, and where a coordinate is NaN.
    #[must_use]
    pub fn contains(&self, point: &[f64]) -> bool {
        let bounds = self.lower.iter().zip(self.upper.iter());
        point.len() == self.len()
            && point
                .iter()
                .zip(bounds)
                .all(|(x, (lower, upper))| lower <= x && x <= upper)
    }

    /// Whether there are no inputs; never true for a box that was made by [`InputBox::new`].
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lower.is_empty()
    }
}

/// A half-space of outputs: `sum_k coefficients[k] y_k <= bound`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HalfSpace {
    /// A coefficient an output.
    pub coefficients: Vec<f64>,
    /// The right-hand side.
    pub bound: f64,
}

impl HalfSpace {
    /// `sum_k coefficients[k] y_k - bound` with a bound on the rounding error: the outputs are in the half-space if it is at most 0.
    ///
    /// Without a finite value, as for outputs that are not finite, the radius is infinite.
    ///
    /// # Errors
    ///
    /// [`Error::ShapeMismatch`] if there are not as many outputs as coefficients.
    pub fn excess(&self, outputs: &[f64]) -> Result<Enclosure> {
        if outputs.len() != self.coefficients.len() {
            return Err(Error::ShapeMismatch {
                layer: "outputs".to_owned(),
                expected: format!("{} numbers", self.coefficients.len()),
                found: outputs.len().to_string(),
            });
        }
        let terms = || self.coefficients.iter().zip(outputs).map(|(a, y)| a * y);
        let value = terms().sum::<f64>() - self.bound;
        let size = terms().map(f64::abs).sum::<f64>() + self.bound.abs();
        // Every term is rounded once and takes part in at most n + 1 sums. Twice that covers the rounding of `size` itself, and the
        // last summand what is lost to underflow.
        #[expect(
            clippy::cast_precision_loss,
            reason = "as many numbers as fit into memory"
        )]
        let roundings = (outputs.len() + 2) as f64;
        let radius = roundings * f64::EPSILON * size + roundings * f64::MIN_POSITIVE;
        Ok(if value.is_finite() && radius.is_finite() {
            Enclosure { value, radius }
        } else {
            Enclosure {
                value: f64::NAN,
                radius: f64::INFINITY,
            }
        })
    }

    /// Whether the outputs lie in the half-space, as far as 64-bit arithmetic tells; [`HalfSpace::excess`] says how sure that is. False
    /// for outputs of another number, and where one is NaN.
    #[must_use]
    pub fn violated_by(&self, outputs: &[f64]) -> bool {
        self.excess(outputs).is_ok_and(|excess| excess.value <= 0.0)
    }
}

/// A conjunction of half-spaces within one input box. The outputs are unsafe if all of them hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UnsafeCase {
    /// The inputs that this case is about.
    pub input: InputBox,
    /// Half-spaces of outputs, all of which must hold for a violation; none: every output is unsafe.
    pub outputs: Vec<HalfSpace>,
}

impl UnsafeCase {
    /// How far the outputs are from being unsafe: the largest excess over a half-space, at most 0 for a violation. Without half-spaces
    /// everything is unsafe, and the margin is `-inf`.
    ///
    /// # Errors
    ///
    /// As [`HalfSpace::excess`].
    pub fn margin(&self, outputs: &[f64]) -> Result<f64> {
        let mut margin = f64::NEG_INFINITY;
        for half_space in &self.outputs {
            let excess = half_space.excess(outputs)?.value;
            // NaN must not look like a violation.
            margin = if excess.is_nan() {
                f64::INFINITY
            } else {
                margin.max(excess)
            };
        }
        Ok(margin)
    }

    /// Whether the input is one that this case is about, and its outputs are unsafe.
    #[must_use]
    pub fn violated_by(&self, input: &[f64], outputs: &[f64]) -> bool {
        self.input.contains(input)
            && self
                .outputs
                .iter()
                .all(|half_space| half_space.violated_by(outputs))
    }
}

/// What is to be proven: that no input has an unsafe output. A disjunction of cases, any of which is a violation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Spec {
    /// The cases.
    pub cases: Vec<UnsafeCase>,
}

impl Spec {
    /// The class `label` stays on top: for no other class `t` and no input of the box `y_label - y_t <= 0`.
    ///
    /// # Errors
    ///
    /// [`Error::OutputIndex`] if `label` is no class.
    pub fn robustness(input: &InputBox, label: usize, classes: usize) -> Result<Self> {
        if label >= classes {
            return Err(Error::OutputIndex {
                index: label,
                size: classes,
            });
        }
        let cases = (0..classes)
            .filter(|&target| target != label)
            .map(|target| {
                let mut coefficients = vec![0.0; classes];
                coefficients[label] = 1.0;
                coefficients[target] = -1.0;
                UnsafeCase {
                    input: input.clone(),
                    outputs: vec![HalfSpace {
                        coefficients,
                        bound: 0.0,
                    }],
                }
            })
            .collect();
        Ok(Self { cases })
    }

    /// The first case that an input and its outputs violate.
    #[must_use]
    pub fn violated_case(&self, input: &[f64], outputs: &[f64]) -> Option<usize> {
        self.cases
            .iter()
            .position(|case| case.violated_by(input, outputs))
    }

    /// Whether an input and its outputs violate the specification, as far as 64-bit arithmetic tells.
    #[must_use]
    pub fn violated_by(&self, input: &[f64], outputs: &[f64]) -> bool {
        self.violated_case(input, outputs).is_some()
    }

    /// That the specification is about networks of these sizes.
    ///
    /// # Errors
    ///
    /// [`Error::ShapeMismatch`] for a case with another number of inputs or outputs.
    pub fn check_sizes(&self, inputs: usize, outputs: usize) -> Result<()> {
        let check = |what: &str, expected: usize, found: usize| {
            if expected == found {
                return Ok(());
            }
            Err(Error::ShapeMismatch {
                layer: "specification".to_owned(),
                expected: format!("{expected} {what}"),
                found: found.to_string(),
            })
        };
        for case in &self.cases {
            check("inputs", inputs, case.input.len())?;
            for half_space in &case.outputs {
                check("outputs", outputs, half_space.coefficients.len())?;
            }
        }
        Ok(())
    }
}
