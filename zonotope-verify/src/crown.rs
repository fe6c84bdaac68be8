//! CROWN and alpha-CROWN: linear relaxations of every ReLU, carried backward from the quantity that is to be bounded.
//!
//! CROWN (Zhang et al., NeurIPS 2018, arXiv 1811.00866) replaces a ReLU with bounds `l < 0 < u` by two lines: above `u (z - l) / (u - l)`, below
//! `alpha z` with a slope that may be anything in `[0, 1]`. alpha-CROWN (Xu et al., ICLR 2021, arXiv 2011.13824) chooses the slopes by gradient ascent
//! on the bound, here with the closed form of the gradient: one pass backward gives the coefficients, one pass forward from the minimising input
//! gives the derivatives. The ascent runs in 32-bit arithmetic on the device; what is returned is evaluated again in
//! 64-bit arithmetic on the host, so that every bound is proven.

mod batch;
mod search;

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use crate::certify::{DualValues, Multipliers, Target, dual_values};
use crate::error::{Error, Result};
use crate::interval::{Bounds, check_input, interval_bounds};
use crate::limits::Limits;
use crate::network::Network;
use crate::objective::Objective;
use crate::spec::InputBox;

pub use batch::lower_bounds_of_boxes;
pub(crate) use search::Search;
use search::block_of;

/// How the slopes of alpha-CROWN are found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AlphaCrownConfig {
    /// Steps of Adam; 0 is plain CROWN. Default 20.
    pub steps: usize,
    /// First step size. Default 0.3.
    pub learning_rate: f64,
    /// Factor of the step size from one step to the next. Default 0.95.
    pub decay: f64,
}

impl Default for AlphaCrownConfig {
    fn default() -> Self {
        Self {
            steps: 20,
            learning_rate: 0.3,
            decay: 0.95,
        }
    }
}

impl AlphaCrownConfig {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the number of steps.
    #[must_use]
    pub fn with_steps(mut self, steps: usize) -> Self {
        self.steps = steps;
        self
    }

    pub(crate) fn check(&self) -> Result<()> {
        if !(self.learning_rate.is_finite() && self.learning_rate > 0.0) {
            return Err(Error::InvalidConfig {
                field: "learning_rate",
                reason: format!("{} is no step size", self.learning_rate),
            });
        }
        if !(self.decay > 0.0 && self.decay <= 1.0) {
            return Err(Error::InvalidConfig {
                field: "decay",
                reason: format!("{} does not lie in (0, 1]", self.decay),
            });
        }
        Ok(())
    }
}

/// Where the bounds of the hidden layers come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IntermediateBounds {
    /// Interval arithmetic.
    Interval,
    /// The better of interval arithmetic and the bounds of Wong and Kolter: the paper's cheap bounds.
    WongKolter,
    /// CROWN with its adaptive slopes.
    Crown,
    /// alpha-CROWN on every neuron that CROWN leaves unstable, each with slopes of its own.
    AlphaCrown(AlphaCrownConfig),
    /// Bounds that the caller vouches for, one entry a hidden layer.
    Given(Vec<Bounds>),
}

impl Default for IntermediateBounds {
    fn default() -> Self {
        Self::AlphaCrown(AlphaCrownConfig::default())
    }
}

/// Proven bounds of every hidden layer's pre-activations, layer by layer from the input.
///
/// # Errors
///
/// [`Error::ShapeMismatch`] if the box or given bounds do not fit the network, [`Error::InvalidConfig`] for settings without a
/// meaning, [`Error::Internal`] if two methods contradict each other.
pub fn intermediate_bounds(
    network: &Network,
    input: &InputBox,
    method: &IntermediateBounds,
    device: &Device,
) -> Result<Vec<Bounds>> {
    Ok(proven_bounds(network, input, method, device, &Limits::default())?.0)
}

/// What proves the bounds of the hidden layers, small enough to be stored: everything else is computed again from it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum HiddenProof {
    Interval,
    WongKolter,
    Crown,
    /// For the hidden layers after the first, one after the other: CROWN, then slopes for some neurons, block by block. Layers at
    /// the end that have no entry keep the bounds of interval arithmetic.
    Slopes(Vec<Vec<LayerSlopes>>),
    /// Nothing: the caller vouched for them.
    Given(Vec<Bounds>),
}

/// Slopes that bound some neurons of one hidden layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct LayerSlopes {
    neurons: Vec<usize>,
    /// For every layer before it a matrix `2 neurons x width` in units of 1/65535.
    slopes: Vec<Vec<u16>>,
}

/// [`intermediate_bounds`] with what proves them. Where the limits end the work, the layers that are left keep the bounds of interval arithmetic.
pub(crate) fn proven_bounds(
    network: &Network,
    input: &InputBox,
    method: &IntermediateBounds,
    device: &Device,
    limits: &Limits,
) -> Result<(Vec<Bounds>, HiddenProof)> {
    let stop = |_| limits.reached().is_some();
    match method {
        IntermediateBounds::Interval => Ok((
            replay(network, input, &HiddenProof::Interval)?,
            HiddenProof::Interval,
        )),
        IntermediateBounds::WongKolter => {
            // Replayed, the proof covers layers that the limits may have left out: it proves no less.
            let (bounds, _) = layer_by_layer(network, input, Multipliers::Parallel, stop, no_more)?;
            Ok((bounds, HiddenProof::WongKolter))
        }
        IntermediateBounds::Crown => {
            let (bounds, covered) =
                layer_by_layer(network, input, Multipliers::Adaptive, stop, no_more)?;
            let proof = if covered + 1 < bounds.len() {
                HiddenProof::Slopes(vec![Vec::new(); covered])
            } else {
                HiddenProof::Crown
            };
            Ok((bounds, proof))
        }
        IntermediateBounds::AlphaCrown(config) => {
            config.check()?;
            let search = Search::new(network, input, device);
            let mut found = Vec::new();
            let further = |layer: usize, before: &[Bounds], current: &mut Bounds| {
                let mut blocks = Vec::new();
                let unstable = current.unstable();
                for neurons in unstable.chunks(block_of(before) / 2) {
                    if limits.reached().is_some() {
                        break;
                    }
                    let target = Target::neurons(layer, current.len(), neurons);
                    let slopes = search.slopes(before, &target, config, limits);
                    let multipliers = Multipliers::Slopes(&slopes);
                    let found = dual_values(network, input, before, &target, multipliers, None)?;
                    tighten(current, neurons, &found.values, layer)?;
                    blocks.push(LayerSlopes {
                        neurons: neurons.to_vec(),
                        slopes,
                    });
                }
                found.push(blocks);
                Ok(())
            };
            let (bounds, _) = layer_by_layer(network, input, Multipliers::Adaptive, stop, further)?;
            Ok((bounds, HiddenProof::Slopes(found)))
        }
        IntermediateBounds::Given(given) => {
            let proof = HiddenProof::Given(given.clone());
            Ok((replay(network, input, &proof)?, proof))
        }
    }
}

/// Nothing after CROWN.
fn no_more(_: usize, _: &[Bounds], _: &mut Bounds) -> Result<()> {
    Ok(())
}

/// The bounds that a stored proof proves, computed without any tensor library.
pub(crate) fn replay(
    network: &Network,
    input: &InputBox,
    proof: &HiddenProof,
) -> Result<Vec<Bounds>> {
    let to_the_end = |_| false;
    match proof {
        HiddenProof::Interval => {
            let mut bounds = interval_bounds(network, input)?;
            bounds.pop();
            Ok(bounds)
        }
        HiddenProof::WongKolter => {
            Ok(layer_by_layer(network, input, Multipliers::Parallel, to_the_end, no_more)?.0)
        }
        HiddenProof::Crown => {
            Ok(layer_by_layer(network, input, Multipliers::Adaptive, to_the_end, no_more)?.0)
        }
        HiddenProof::Slopes(layers) => {
            let widths = network.hidden();
            if layers.len() + 1 > widths.len().max(1) {
                return Err(rejected(0, "slopes of more layers than there are"));
            }
            let further = |layer: usize, before: &[Bounds], current: &mut Bounds| {
                for LayerSlopes { neurons, slopes } in &layers[layer - 1] {
                    let rows = 2 * neurons.len();
                    let fits = slopes.len() == layer
                        && slopes
                            .iter()
                            .zip(&widths)
                            .all(|(slopes, width)| slopes.len() == rows * width)
                        && neurons.iter().all(|&neuron| neuron < widths[layer]);
                    if !fits {
                        return Err(rejected(layer, "slopes that do not fit the network"));
                    }
                    let target = Target::neurons(layer, widths[layer], neurons);
                    let multipliers = Multipliers::Slopes(slopes);
                    let found = dual_values(network, input, before, &target, multipliers, None)?;
                    tighten(current, neurons, &found.values, layer)?;
                }
                Ok(())
            };
            let stop = |layer| layer > layers.len();
            Ok(layer_by_layer(network, input, Multipliers::Adaptive, stop, further)?.0)
        }
        HiddenProof::Given(given) => {
            check_given(network, given)?;
            Ok(given.clone())
        }
    }
}

fn rejected(layer: usize, reason: &str) -> Error {
    Error::CertificateRejected {
        at: format!("bounds of hidden layer {layer}"),
        reason: reason.to_owned(),
    }
}

/// How many neurons CROWN bounds between two looks at the limits.
const NEURONS: usize = 1024;

/// Interval arithmetic, then CROWN with the given multipliers for every neuron, then whatever `further` does, one hidden layer after the
/// other, until `stop` says of a layer that it is one too many. Also how many layers after the first were bounded so.
fn layer_by_layer(
    network: &Network,
    input: &InputBox,
    multipliers: Multipliers<'_>,
    stop: impl Fn(usize) -> bool,
    mut further: impl FnMut(usize, &[Bounds], &mut Bounds) -> Result<()>,
) -> Result<(Vec<Bounds>, usize)> {
    let mut bounds = interval_bounds(network, input)?;
    bounds.pop();
    let span = tracing::info_span!("bounds", position = 0_u64, length = bounds.len() as u64);
    let _entered = span.enter();
    for layer in 1..bounds.len() {
        let (before, rest) = bounds.split_at(layer);
        let mut current = rest[0].clone();
        let width = current.len();
        let all: Vec<usize> = (0..width).collect();
        for neurons in all.chunks(NEURONS) {
            if stop(layer) {
                return Ok((bounds, layer - 1));
            }
            let target = Target::neurons(layer, width, neurons);
            let found = dual_values(network, input, before, &target, multipliers, None)?;
            tighten(&mut current, neurons, &found.values, layer)?;
        }
        further(layer, before, &mut current)?;
        bounds[layer] = current;
        span.record("position", layer as u64);
    }
    let covered = bounds.len().saturating_sub(1);
    Ok((bounds, covered))
}

/// Proven lower bounds of every row of an objective, by CROWN (`config` with 0 steps) or alpha-CROWN, on given bounds of the hidden layers.
///
/// # Errors
///
/// [`Error::ShapeMismatch`] if something does not fit the network, [`Error::InvalidConfig`] for settings without a meaning.
pub fn lower_bounds(
    network: &Network,
    input: &InputBox,
    hidden: &[Bounds],
    objective: &Objective,
    config: &AlphaCrownConfig,
    device: &Device,
) -> Result<Vec<f64>> {
    let limits = Limits::default();
    lower_bounds_within(network, input, hidden, objective, config, device, &limits)
}

/// [`lower_bounds`], with slopes that are as good as the limits allow.
pub(crate) fn lower_bounds_within(
    network: &Network,
    input: &InputBox,
    hidden: &[Bounds],
    objective: &Objective,
    config: &AlphaCrownConfig,
    device: &Device,
    limits: &Limits,
) -> Result<Vec<f64>> {
    check_given(network, hidden)?;
    check_input(network, input)?;
    let target = objective.target(network)?;
    let search = Search::new(network, input, device);
    Ok(output_bounds(network, input, hidden, &target, config, &search, limits)?.values)
}

/// Proven lower bounds of rows of linear functions of the output, by CROWN (`steps` 0) or alpha-CROWN, and the multipliers that
/// prove them.
pub(crate) fn output_bounds(
    network: &Network,
    input: &InputBox,
    bounds: &[Bounds],
    target: &Target,
    config: &AlphaCrownConfig,
    search: &Search,
    limits: &Limits,
) -> Result<DualValues> {
    config.check()?;
    let crown = dual_values(network, input, bounds, target, Multipliers::Adaptive, None)?;
    if config.steps == 0 || target.map == 0 || limits.reached().is_some() {
        return Ok(crown);
    }
    let slopes = search.slopes(bounds, target, config, limits);
    let multipliers = Multipliers::Slopes(&slopes);
    let mut best = dual_values(network, input, bounds, target, multipliers, None)?;
    best.improve(&crown);
    Ok(best)
}

/// Intersects bounds with what has been proven for both signs of some neurons.
fn tighten(bounds: &mut Bounds, neurons: &[usize], values: &[f64], layer: usize) -> Result<()> {
    let width = bounds.lower().len();
    let mut lower = vec![f64::NEG_INFINITY; width];
    let mut upper = vec![f64::INFINITY; width];
    for (row, &neuron) in neurons.iter().enumerate() {
        lower[neuron] = values[row];
        upper[neuron] = -values[neurons.len() + row];
    }
    *bounds = bounds.intersect(
        &Bounds::new(lower, upper)?,
        &format!("hidden layer {layer}"),
    )?;
    Ok(())
}

fn check_given(network: &Network, given: &[Bounds]) -> Result<()> {
    let hidden = network.hidden();
    if given.len() != hidden.len() {
        return Err(Error::ShapeMismatch {
            layer: "given bounds".to_owned(),
            expected: format!("{} hidden layers", hidden.len()),
            found: given.len().to_string(),
        });
    }
    for (layer, (bounds, width)) in given.iter().zip(hidden).enumerate() {
        if bounds.lower().len() != width {
            return Err(Error::ShapeMismatch {
                layer: format!("given bounds of hidden layer {layer}"),
                expected: format!("{width} neurons"),
                found: bounds.lower().len().to_string(),
            });
        }
    }
    Ok(())
}
