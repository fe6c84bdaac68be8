//! The methods that are compared: from interval arithmetic to ZonoDual, behind one function.

use std::fmt;
use std::str::FromStr;

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use crate::crown::{AlphaCrownConfig, IntermediateBounds, lower_bounds_within, proven_bounds};
use crate::dual::{PaperExperiment, ZonoDualConfig};
use crate::error::{Error, Result};
use crate::interval::interval_bounds;
use crate::limits::RunOptions;
use crate::network::Network;
use crate::objective::Objective;
use crate::spec::InputBox;
use crate::zonotope::{Zonotope, ZonotopeConfig};

/// A way to bound linear functions of the outputs from below. All of them are proven bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Interval arithmetic.
    Interval,
    /// Zonotope propagation without side boxes (Singh et al., NeurIPS 2018).
    #[serde(rename = "deepz")]
    DeepZ,
    /// CROWN on every layer.
    Crown,
    /// alpha-CROWN on every layer, 20 steps.
    AlphaCrown,
    /// ZonoDual with the paper's settings for MNIST: cheap bounds of the hidden layers, pairs of all neurons.
    #[serde(rename = "zonodual-paper")]
    ZonoDualPaper,
    /// ZonoDual with the defaults of this crate.
    #[serde(rename = "zonodual")]
    ZonoDual,
}

impl Method {
    /// All methods, the cheapest first.
    pub const ALL: [Self; 6] = [
        Self::Interval,
        Self::DeepZ,
        Self::Crown,
        Self::AlphaCrown,
        Self::ZonoDualPaper,
        Self::ZonoDual,
    ];

    /// Its name, as the command line and JSON have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Interval => "interval",
            Self::DeepZ => "deepz",
            Self::Crown => "crown",
            Self::AlphaCrown => "alpha-crown",
            Self::ZonoDualPaper => "zonodual-paper",
            Self::ZonoDual => "zonodual",
        }
    }

    /// Proven lower bounds of every row of the objective over the box.
    ///
    /// # Errors
    ///
    /// [`Error::ShapeMismatch`] if box or objective do not fit the network, [`Error::Internal`] if two proven bounds contradict each other.
    pub fn lower_bounds(
        self,
        network: &Network,
        input: &InputBox,
        objective: &Objective,
        device: &Device,
    ) -> Result<Vec<f64>> {
        self.lower_bounds_with(network, input, objective, device, &RunOptions::default())
    }

    /// As [`lower_bounds`](Self::lower_bounds), with a seed and limits of its own. Stopped early, the bounds are those proven by
    /// then, at worst what interval arithmetic gives; interval arithmetic itself is not stopped.
    ///
    /// # Errors
    ///
    /// As [`lower_bounds`](Self::lower_bounds), and [`Error::InvalidConfig`] for a limit without a meaning.
    pub fn lower_bounds_with(
        self,
        network: &Network,
        input: &InputBox,
        objective: &Objective,
        device: &Device,
        options: &RunOptions,
    ) -> Result<Vec<f64>> {
        let limits = options.limits()?;
        match self {
            Self::Interval => by_intervals(network, input, objective),
            Self::DeepZ => {
                let target = objective.target(network)?;
                let stop = || limits.reached().is_some();
                let zonotopes =
                    ZonotopeConfig::new().propagate_until(network, input, None, stop)?;
                match zonotopes.get(target.map) {
                    Some(output) => Ok(rows_over(output, objective, target.rows)),
                    None => by_intervals(network, input, objective),
                }
            }
            Self::Crown | Self::AlphaCrown => {
                let config = AlphaCrownConfig::default();
                let (intermediate, config) = if self == Self::Crown {
                    (IntermediateBounds::Crown, config.with_steps(0))
                } else {
                    (IntermediateBounds::AlphaCrown(config.clone()), config)
                };
                let (hidden, _) = proven_bounds(network, input, &intermediate, device, &limits)?;
                lower_bounds_within(network, input, &hidden, objective, &config, device, &limits)
            }
            Self::ZonoDualPaper => {
                let method = ZonoDualConfig::paper(PaperExperiment::MnistLastLayer).init();
                let found = method.lower_bounds_with(network, input, objective, device, options)?;
                Ok(found.lower)
            }
            Self::ZonoDual => {
                let method = ZonoDualConfig::new().init();
                let found = method.lower_bounds_with(network, input, objective, device, options)?;
                Ok(found.lower)
            }
        }
    }
}

/// The objective joins the last layer, so that what its rows have in common cancels.
fn by_intervals(network: &Network, input: &InputBox, objective: &Objective) -> Result<Vec<f64>> {
    let target = objective.target(network)?;
    let hidden = interval_bounds(network, input)?;
    let rows = network.maps()[target.map].compose_rows(&target.coefficients, target.rows);
    let before = match hidden.len() {
        0 | 1 => box_enclosures(input),
        layers => hidden[layers - 2].relu(),
    };
    let values = rows.apply(&before);
    Ok(values.into_iter().map(crate::rounding::lower).collect())
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Method {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|method| method.name() == name)
            .ok_or_else(|| Error::InvalidConfig {
                field: "method",
                reason: format!(
                    "`{name}` is none of {}",
                    Self::ALL.map(Self::name).join(", ")
                ),
            })
    }
}

fn rows_over(zonotope: &Zonotope, objective: &Objective, rows: usize) -> Vec<f64> {
    (0..rows)
        .map(|row| zonotope.minimum(objective.row(row)))
        .collect()
}

fn box_enclosures(input: &InputBox) -> Vec<crate::network::Enclosure> {
    input
        .lower()
        .iter()
        .zip(input.upper())
        .map(|(l, u)| crate::rounding::enclose(*l, *u))
        .collect()
}
