//! Many input boxes at once.

use burn::tensor::Device;
use rayon::prelude::*;

use super::{AlphaCrownConfig, Search, tighten};
use crate::certify::{Multipliers, Target, dual_values};
use crate::error::{Error, Result};
use crate::interval::{Bounds, interval_bounds};
use crate::limits::RunOptions;
use crate::network::Network;
use crate::objective::Objective;
use crate::spec::InputBox;

/// alpha-CROWN over many boxes at once: for every box proven lower bounds of the rows of its objective, as [`lower_bounds`](super::lower_bounds) on the bounds of
/// [`IntermediateBounds::AlphaCrown`](super::IntermediateBounds::AlphaCrown) gives them one by one, but for the rounding of the search.
///
/// The rows of all boxes ascend together, which is what graphics processors are fast at; on the processor it takes as long as one by one.
/// Memory grows with the number of boxes.
///
/// # Errors
///
/// [`Error::ShapeMismatch`] if there are not as many objectives as boxes or something does not fit the network, [`Error::InvalidConfig`] for
/// settings without a meaning, [`Error::Internal`] if two methods contradict each other.
pub fn lower_bounds_of_boxes(
    network: &Network,
    inputs: &[InputBox],
    objectives: &[Objective],
    config: &AlphaCrownConfig,
    device: &Device,
    options: &RunOptions,
) -> Result<Vec<Vec<f64>>> {
    config.check()?;
    let limits = options.limits()?;
    if inputs.len() != objectives.len() {
        return Err(Error::ShapeMismatch {
            layer: "objectives".to_owned(),
            expected: format!("{}, one a box", inputs.len()),
            found: objectives.len().to_string(),
        });
    }
    let targets: Vec<Target> = objectives
        .iter()
        .map(|objective| objective.target(network))
        .collect::<Result<_>>()?;
    let mut hidden: Vec<Vec<Bounds>> = inputs
        .par_iter()
        .map(|input| {
            let mut bounds = interval_bounds(network, input)?;
            bounds.pop();
            Ok(bounds)
        })
        .collect::<Result<_>>()?;
    if inputs.is_empty() {
        return Ok(Vec::new());
    }
    let search = Search::over(network, inputs, device);
    for (layer, width) in network.hidden().into_iter().enumerate().skip(1) {
        if limits.reached().is_some() {
            break;
        }
        let all: Vec<usize> = (0..width).collect();
        let crown = vec![Target::neurons(layer, width, &all); inputs.len()];
        let values = values_of_boxes(network, inputs, &hidden, &crown, None)?;
        for (bounds, values) in hidden.iter_mut().zip(values) {
            tighten(&mut bounds[layer], &all, &values, layer)?;
        }
        let unstable: Vec<Vec<usize>> = hidden.iter().map(|b| b[layer].unstable()).collect();
        let targets: Vec<Target> = unstable
            .iter()
            .map(|neurons| Target::neurons(layer, width, neurons))
            .collect();
        let slopes = search.slopes_of_boxes(&hidden, &targets, config, &limits);
        let values = values_of_boxes(network, inputs, &hidden, &targets, Some(&slopes))?;
        for ((bounds, neurons), values) in hidden.iter_mut().zip(&unstable).zip(values) {
            tighten(&mut bounds[layer], neurons, &values, layer)?;
        }
    }
    let mut best = values_of_boxes(network, inputs, &hidden, &targets, None)?;
    if config.steps > 0 && !hidden[0].is_empty() && limits.reached().is_none() {
        let slopes = search.slopes_of_boxes(&hidden, &targets, config, &limits);
        let found = values_of_boxes(network, inputs, &hidden, &targets, Some(&slopes))?;
        for (best, found) in best.iter_mut().flatten().zip(found.iter().flatten()) {
            *best = best.max(*found);
        }
    }
    Ok(best)
}

/// Proven values of the rows of a target a box: with CROWN's slopes, or those found for every box.
fn values_of_boxes(
    network: &Network,
    inputs: &[InputBox],
    hidden: &[Vec<Bounds>],
    targets: &[Target],
    slopes: Option<&[Vec<Vec<u16>>]>,
) -> Result<Vec<Vec<f64>>> {
    (0..inputs.len())
        .into_par_iter()
        .map(|index| {
            let target = &targets[index];
            let before = &hidden[index][..target.map];
            let multipliers = match slopes {
                None => Multipliers::Adaptive,
                Some(slopes) => Multipliers::Slopes(&slopes[index]),
            };
            Ok(dual_values(network, &inputs[index], before, target, multipliers, None)?.values)
        })
        .collect()
}
