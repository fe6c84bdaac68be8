//! Counterexamples by projected gradient descent (Madry et al., ICLR 2018, arXiv 1706.06083).
//!
//! The attack gives upper bounds where the verifier gives lower ones, and a proof of the contrary where it succeeds: a counterexample is
//! only called one if it lies in the stated box and violates the specification both in the network's own 32-bit arithmetic and in 64-bit
//! arithmetic with an error bound.

use burn::Tensor;
use burn::tensor::Device;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::device::{DeviceNetwork, matrix, numbers};
use crate::error::{Error, Result};
use crate::limits::{Limits, RunOptions};
use crate::network::Network;
use crate::rounding::{add_up, mul_up, sum_up};
use crate::spec::UnsafeCase;

/// Settings of the attack.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AttackConfig {
    /// Random starting points, besides the centre of the box and points that the caller suggests. Default 20.
    pub restarts: usize,
    /// Steps from each of them. Default 60.
    pub steps: usize,
    /// First step size, as a share of each input's range. Default 0.1.
    pub first_step: f64,
    /// Last step size. Default 0.02.
    pub last_step: f64,
    /// Seed of the starting points.
    pub seed: u64,
}

impl Default for AttackConfig {
    fn default() -> Self {
        Self {
            restarts: 20,
            steps: 60,
            first_step: 0.1,
            last_step: 0.02,
            seed: 0,
        }
    }
}

/// What the attack found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attack {
    /// The best point: numbers of 32 bits within the box, unless the box is too thin to hold any.
    pub input: Vec<f64>,
    /// The outputs there, in 64-bit arithmetic.
    pub output: Vec<f64>,
    /// The largest of `a y - b` over the case's half-spaces, an upper bound of what can be proven; at most 0 for a violation.
    pub value: f64,
    /// Whether the point is a counterexample, in both arithmetics.
    pub violates: bool,
}

/// Searches the box of a case for an input whose output satisfies all its half-spaces.
///
/// `suggestions` are further starting points, e.g. the inputs at which a dual bound is attained; they are clipped to the box.
///
/// # Errors
///
/// [`Error::ShapeMismatch`] if case or suggestions do not fit the network, [`Error::InvalidConfig`] for step sizes that are not positive.
pub fn attack(
    network: &Network,
    case: &UnsafeCase,
    config: &AttackConfig,
    suggestions: &[Vec<f64>],
    device: &Device,
) -> Result<Attack> {
    let options = RunOptions::default();
    attack_with(network, case, config, suggestions, device, &options)
}

/// As [`attack`], with a seed and limits of its own. Stopped early, the result is the best point seen by then.
///
/// # Errors
///
/// As [`attack`], and [`Error::InvalidConfig`] for a limit without a meaning.
pub fn attack_with(
    network: &Network,
    case: &UnsafeCase,
    config: &AttackConfig,
    suggestions: &[Vec<f64>],
    device: &Device,
    options: &RunOptions,
) -> Result<Attack> {
    let limits = options.limits()?;
    let mut config = config.clone();
    config.seed = options.seed.unwrap_or(config.seed);
    attack_within(network, case, &config, suggestions, device, &limits)
}

/// [`attack`], with as many steps as the limits allow: at least the starting points are looked at.
pub(crate) fn attack_within(
    network: &Network,
    case: &UnsafeCase,
    config: &AttackConfig,
    suggestions: &[Vec<f64>],
    device: &Device,
    limits: &Limits,
) -> Result<Attack> {
    check(network, case, config, suggestions)?;
    let inputs = network.inputs();
    let (lower, upper) = (case.input.lower(), case.input.upper());
    let mut starts: Vec<f64> = lower
        .iter()
        .zip(upper)
        .map(|(l, u)| f64::midpoint(*l, *u))
        .collect();
    for point in suggestions {
        starts.extend(
            point
                .iter()
                .enumerate()
                .map(|(i, x)| x.clamp(lower[i], upper[i])),
        );
    }
    let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
    for _ in 0..config.restarts {
        starts.extend((0..inputs).map(|i| lower[i] + (upper[i] - lower[i]) * rng.random::<f64>()));
    }
    let rows = starts.len() / inputs;
    if case.outputs.is_empty() {
        // Every output is unsafe: any point of the box will do.
        let input = representable(&starts[..inputs], lower, upper);
        let output = network.evaluate(&input)?.iter().map(|x| x.value).collect();
        return Ok(Attack {
            input,
            output,
            value: f64::NEG_INFINITY,
            violates: true,
        });
    }
    let outputs = network.outputs();
    let spaces: Vec<f64> = case
        .outputs
        .iter()
        .flat_map(|space| space.coefficients.iter().copied())
        .collect();
    let bounds: Vec<f64> = case.outputs.iter().map(|space| space.bound).collect();
    let count = bounds.len();
    let descent = Descent {
        network: DeviceNetwork::new(network, device),
        hidden: network.hidden().len(),
        spaces: matrix(&spaces, count, outputs, device),
        bounds: matrix(&bounds, 1, count, device),
    };
    let row = |numbers: &[f64]| matrix(numbers, 1, inputs, device);
    let (low, high) = (row(lower), row(upper));
    let range = high.clone() - low.clone();
    let mut points = matrix(&starts, rows, inputs, device);
    let mut best = points.clone();
    let mut best_value: Option<Tensor<2>> = None;
    for step in 0..=config.steps {
        let (value, gradient) = descent.gradient(points.clone());
        best_value = Some(match best_value {
            None => value,
            Some(old) => {
                let better = value.clone().lower(old.clone());
                best = best.mask_where(better.clone().expand([rows, inputs]), points.clone());
                old.mask_where(better, value)
            }
        });
        if step == config.steps || limits.reached().is_some() {
            break;
        }
        let share = step as f64 / config.steps.max(1) as f64;
        let length = config.first_step * (config.last_step / config.first_step).powf(share);
        let moved = points - gradient.sign() * range.clone() * length;
        points = moved
            .max_pair(low.clone().expand([rows, inputs]))
            .min_pair(high.clone().expand([rows, inputs]));
    }
    let values = best_value.map_or_else(Vec::new, numbers);
    let mut order: Vec<usize> = (0..rows).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let best = numbers(best);
    // The first few as the search ranks them: rounding may turn a violation into none.
    let mut found: Option<Attack> = None;
    for &row in order.iter().take(8) {
        let input = representable(&best[row * inputs..(row + 1) * inputs], lower, upper);
        let candidate = judge(network, case, &descent, input, device)?;
        let better = found.as_ref().is_none_or(|old| {
            (candidate.violates && !old.violates)
                || (candidate.violates == old.violates && candidate.value < old.value)
        });
        if better {
            found = Some(candidate);
        }
    }
    found.ok_or_else(|| Error::Device {
        reason: "the attack lost its starting points".to_owned(),
    })
}

/// What a point is worth in both arithmetics.
fn judge(
    network: &Network,
    case: &UnsafeCase,
    descent: &Descent,
    input: Vec<f64>,
    device: &Device,
) -> Result<Attack> {
    let outputs = network.evaluate(&input)?;
    let output: Vec<f64> = outputs.iter().map(|y| y.value).collect();
    let mut certain = true;
    for space in &case.outputs {
        let excess = space.excess(&output)?;
        let terms = space.coefficients.iter().zip(&outputs);
        let error = sum_up(terms.map(|(a, y)| mul_up(a.abs(), y.radius)));
        // Written so that NaN is no violation.
        certain &= add_up(add_up(excess.value, excess.radius), error) <= 0.0;
    }
    let single = numbers(descent.value(matrix(&input, 1, input.len(), device)))[0];
    Ok(Attack {
        value: case.margin(&output)?,
        violates: case.outputs.is_empty() || (certain && single <= 0.0),
        output,
        input,
    })
}

/// The nearest point of 32-bit numbers within the box; where the box holds none, the number itself, clipped.
fn representable(point: &[f64], lower: &[f64], upper: &[f64]) -> Vec<f64> {
    point
        .iter()
        .enumerate()
        .map(|(i, &x)| {
            let x = x.clamp(lower[i], upper[i]);
            let mut single = x as f32;
            if f64::from(single) < lower[i] {
                single = single.next_up();
            } else if f64::from(single) > upper[i] {
                single = single.next_down();
            }
            let single = f64::from(single);
            if single >= lower[i] && single <= upper[i] {
                single
            } else {
                x
            }
        })
        .collect()
}

fn check(
    network: &Network,
    case: &UnsafeCase,
    config: &AttackConfig,
    suggestions: &[Vec<f64>],
) -> Result<()> {
    let mismatch = |layer: &str, expected: usize, found: usize| Error::ShapeMismatch {
        layer: layer.to_owned(),
        expected: expected.to_string(),
        found: found.to_string(),
    };
    if case.input.len() != network.inputs() {
        return Err(mismatch("input box", network.inputs(), case.input.len()));
    }
    if let Some(space) = case
        .outputs
        .iter()
        .find(|space| space.coefficients.len() != network.outputs())
    {
        return Err(mismatch(
            "half-space of outputs",
            network.outputs(),
            space.coefficients.len(),
        ));
    }
    if let Some(point) = suggestions
        .iter()
        .find(|point| point.len() != network.inputs())
    {
        return Err(mismatch("suggested input", network.inputs(), point.len()));
    }
    for (field, length) in [
        ("first_step", config.first_step),
        ("last_step", config.last_step),
    ] {
        if !(length.is_finite() && length > 0.0) {
            return Err(Error::InvalidConfig {
                field,
                reason: format!("{length} is no step size"),
            });
        }
    }
    Ok(())
}

/// The function that is made small: the largest of `a y - b`.
struct Descent {
    network: DeviceNetwork,
    hidden: usize,
    /// `[half-spaces, outputs]`
    spaces: Tensor<2>,
    /// `[1, half-spaces]`
    bounds: Tensor<2>,
}

impl Descent {
    /// The value at every point, `[rows, 1]`.
    fn value(&self, points: Tensor<2>) -> Tensor<2> {
        let mut z = self.network.map(0).forward(points);
        for layer in 1..=self.hidden {
            z = self.network.map(layer).forward(z.clamp_min(0.0));
        }
        self.distances(z).max_dim(1)
    }

    fn distances(&self, outputs: Tensor<2>) -> Tensor<2> {
        outputs.matmul(self.spaces.clone().transpose()) - self.bounds.clone()
    }

    /// The value at every point and its gradient, `[rows, inputs]`.
    fn gradient(&self, points: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
        let mut active = Vec::with_capacity(self.hidden);
        let mut z = self.network.map(0).forward(points);
        for layer in 1..=self.hidden {
            active.push(z.clone().greater_elem(0.0).float());
            z = self.network.map(layer).forward(z.clamp_min(0.0));
        }
        let (value, worst) = self.distances(z).max_dim_with_indices(1);
        let rows = value.dims()[0];
        let mut gradient = self.spaces.clone().select(0, worst.reshape([rows]));
        for layer in (0..=self.hidden).rev() {
            gradient = self.network.map(layer).transposed(gradient);
            if layer > 0 {
                gradient = gradient * active[layer - 1].clone();
            }
        }
        (value, gradient)
    }
}
