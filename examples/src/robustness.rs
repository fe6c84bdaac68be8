//! How far classifiers are provably robust: methods of verification side by side on images, as rows, tables and plots.

use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use burn::tensor::Device;
use fire_assay_datasets::images::ImageSet;
use serde::Serialize;
use zonotope_verify::attack::{AttackConfig, attack_with};
use zonotope_verify::limits::RunOptions;
use zonotope_verify::method::Method;
use zonotope_verify::network::Network;
use zonotope_verify::objective::Objective;
use zonotope_verify::report::Verdict;
use zonotope_verify::spec::{HalfSpace, InputBox, UnsafeCase};

use crate::interrupt::Limit;
use crate::plot::{Axis, BarChart, BarSeries, LineChart, LineSeries, LineStyle, Scale, Value};
use crate::table::{self, Table};

/// The pixels of an image, from 0 to 1: channel, row, column.
pub fn pixels(images: &ImageSet, index: usize) -> Vec<f64> {
    let bytes = images.image(index).iter();
    bytes.map(|&byte| f64::from(byte) / 255.0).collect()
}

/// The class that the network gives to an input.
///
/// # Errors
/// If the input has another size than the network's.
pub fn predict(network: &Network, input: &[f64]) -> Result<usize> {
    let outputs = network.evaluate(input)?;
    let values = outputs.iter().enumerate();
    let best = values.max_by(|a, b| a.1.value.total_cmp(&b.1.value));
    Ok(best.context("a network without outputs")?.0)
}

/// What is known about a statement in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// It is proven.
    Verified,
    /// A counterexample was found.
    Falsified,
    /// Neither.
    Unknown,
}

impl Answer {
    /// The word in tables; the same as in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Falsified => "falsified",
            Self::Unknown => "unknown",
        }
    }
}

impl From<&Verdict> for Answer {
    fn from(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Verified { .. } => Self::Verified,
            Verdict::Falsified { .. } => Self::Falsified,
            Verdict::Unknown { .. } => Self::Unknown,
        }
    }
}

/// What one method says about one instance: a row of `results`.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The method.
    pub method: String,
    /// The image, or network and specification.
    pub instance: String,
    /// The answer. A counterexample of the attack counts for every method.
    pub verdict: Answer,
    /// The proven lower bound of the distance to an unsafe output; none if nothing was proven.
    pub bound: Option<f64>,
    /// How long it took.
    pub seconds: f64,
}

impl Row {
    /// A row; a bound that is not finite is none.
    pub fn new(
        method: impl Into<String>,
        instance: &str,
        verdict: Answer,
        bound: f64,
        seconds: f64,
    ) -> Self {
        Self {
            method: method.into(),
            instance: instance.to_owned(),
            verdict,
            bound: bound.is_finite().then_some(bound),
            seconds,
        }
    }
}

/// Which margins of the label have to be positive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Margins {
    /// Those over all other classes: what robustness means
    #[default]
    All,
    /// That over the class after the label alone, as in the paper's experiments
    Next,
}

impl Margins {
    /// The margins of a label.
    ///
    /// # Errors
    /// If there is no such class, or no other.
    pub fn of(self, label: usize, classes: usize) -> Result<Objective> {
        Ok(match self {
            Self::All => Objective::margins(label, classes)?,
            Self::Next => Objective::margin(label, (label + 1) % classes.max(1), classes)?,
        })
    }
}

/// An image and all that may be seen in its place.
#[derive(Clone, Debug)]
pub struct Query {
    /// What the image is called.
    pub instance: String,
    /// Its class.
    pub label: usize,
    /// The inputs that must be classified so.
    pub input: InputBox,
}

/// What the methods say about an image.
#[derive(Clone, Debug)]
pub struct Examined {
    /// The image.
    pub instance: String,
    /// Its class.
    pub label: usize,
    /// The least margin that the attack reached: no bound can be above it.
    pub upper: f64,
    /// A row for each method.
    pub rows: Vec<Row>,
}

/// A comparison of methods on a network.
#[derive(Clone, Debug)]
pub struct Comparison<'a> {
    /// The network.
    pub network: &'a Network,
    /// The methods.
    pub methods: &'a [Method],
    /// What they bound.
    pub margins: Margins,
    /// Settings of the attack.
    pub attack: AttackConfig,
    /// Where the search computes.
    pub device: &'a Device,
    /// Seed and limits of every attack and every bound.
    pub options: RunOptions,
}

impl Comparison<'_> {
    /// Attacks an image, then bounds it by one method after the other; when the limit is reached the rest of them is
    /// left out.
    ///
    /// # Errors
    /// What the library brings, such as an image of another size than the network's input.
    pub fn examine(&self, query: &Query, limit: &Limit) -> Result<Examined> {
        let objective = self.margins.of(query.label, self.network.outputs())?;
        let mut upper = f64::INFINITY;
        let mut falsified = false;
        for row in 0..objective.len() {
            let coefficients = objective.row(row).to_vec();
            let case = UnsafeCase {
                input: query.input.clone(),
                outputs: vec![HalfSpace {
                    coefficients,
                    bound: 0.0,
                }],
            };
            let found = attack_with(
                self.network,
                &case,
                &self.attack,
                &[],
                self.device,
                &self.options,
            )?;
            upper = upper.min(found.value);
            falsified |= found.violates;
        }
        let mut rows = Vec::new();
        for &method in self.methods {
            if limit.reason().is_some() {
                break;
            }
            let start = Instant::now();
            let bounds = method.lower_bounds_with(
                self.network,
                &query.input,
                &objective,
                self.device,
                &self.options,
            )?;
            // What was proven until Ctrl-C says little about the method.
            if self.options.cancel.is_cancelled() {
                break;
            }
            // NaN would not survive this as the least; the library gives none.
            let bound = bounds.iter().copied().fold(f64::INFINITY, f64::min);
            let verdict = match (bound > 0.0, falsified) {
                (true, true) => bail!(
                    "{}: {method} proves what a counterexample refutes; please report this",
                    query.instance
                ),
                (true, false) => Answer::Verified,
                (false, true) => Answer::Falsified,
                (false, false) => Answer::Unknown,
            };
            let seconds = start.elapsed().as_secs_f64();
            rows.push(Row::new(
                method.name(),
                &query.instance,
                verdict,
                bound,
                seconds,
            ));
        }
        Ok(Examined {
            instance: query.instance.clone(),
            label: query.label,
            upper,
            rows,
        })
    }
}

/// A table with a line for each image and a column for each method; the last column is the attack's.
pub fn by_image(examined: &[Examined], methods: &[&str]) -> Table {
    let header = ["image", "class"].iter().chain(methods).chain(&["attack"]);
    let mut table = Table::new(header.copied());
    for one in examined {
        let name = [table::text(&one.instance), table::integer(one.label)];
        let bounds = methods.iter().map(|method| match bound_of(one, method) {
            Some(bound) => table::decimal(bound, 4),
            None => table::missing(),
        });
        table.row(
            name.into_iter()
                .chain(bounds)
                .chain([table::decimal(one.upper, 4)]),
        );
    }
    table
}

/// A method on all images together.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Summary {
    /// The method.
    pub method: String,
    /// Images that it proved robust.
    pub verified: usize,
    /// Images with a counterexample.
    pub falsified: usize,
    /// Images of which neither is known.
    pub unknown: usize,
    /// Mean of the bounds; none if one is missing, which would make it a mean over other images than those of the rest.
    pub mean_bound: Option<f64>,
    /// Mean time an image.
    pub mean_seconds: Option<f64>,
}

/// What each method came to.
pub fn summaries(examined: &[Examined], methods: &[&str]) -> Vec<Summary> {
    let summary = |method: &&str| {
        let all = examined.iter().flat_map(|one| &one.rows);
        let rows: Vec<&Row> = all.filter(|row| row.method == *method).collect();
        let count = |verdict| rows.iter().filter(|row| row.verdict == verdict).count();
        let bounds: Option<Vec<f64>> = rows.iter().map(|row| row.bound).collect();
        Summary {
            method: (*method).to_owned(),
            verified: count(Answer::Verified),
            falsified: count(Answer::Falsified),
            unknown: count(Answer::Unknown),
            mean_bound: bounds.and_then(|bounds| mean(bounds.into_iter())),
            mean_seconds: mean(rows.iter().map(|row| row.seconds)),
        }
    };
    methods.iter().map(summary).collect()
}

/// The summaries as a table.
pub fn summary_table(summaries: &[Summary]) -> Table {
    let mut table = Table::new([
        "method",
        "verified",
        "falsified",
        "unknown",
        "mean bound",
        "seconds an image",
    ]);
    let number = |value: Option<f64>, places| {
        value.map_or_else(table::missing, |value| table::decimal(value, places))
    };
    for one in summaries {
        table.row([
            table::text(&one.method),
            table::integer(one.verified),
            table::integer(one.falsified),
            table::integer(one.unknown),
            number(one.mean_bound, 4),
            number(one.mean_seconds, 3),
        ]);
    }
    table
}

/// The bounds of a few images as bars.
pub fn bars(title: String, examined: &[Examined], methods: &[&str]) -> BarChart {
    let upper = BarSeries {
        name: "attack (no bound can be above)".into(),
        values: examined
            .iter()
            .map(|one| one.upper.is_finite().then(|| one.upper.into()))
            .collect(),
    };
    let series = methods.iter().map(|method| BarSeries {
        name: (*method).to_owned(),
        values: examined
            .iter()
            .map(|one| bound_of(one, method).map(Value::from))
            .collect(),
    });
    BarChart {
        title,
        axis: Axis::new(
            "least margin over the box: proven lower bounds",
            Scale::Linear,
        ),
        categories: examined.iter().map(|one| one.instance.clone()).collect(),
        series: series.chain([upper]).collect(),
    }
}

/// The share of images whose bound is at most so high, for every method. The further right, the better; what lies right
/// of 0 is verified.
pub fn cumulative(title: String, examined: &[Examined], methods: &[&str]) -> LineChart {
    let series = methods.iter().map(|method| {
        let mut bounds: Vec<f64> = examined
            .iter()
            .filter_map(|one| bound_of(one, method))
            .collect();
        bounds.sort_by(f64::total_cmp);
        // Images without a bound lie below all others.
        let below = examined.len() - bounds.len();
        let share = |rank: usize| (below + rank + 1) as f64 / examined.len() as f64;
        let points = bounds.iter().enumerate();
        LineSeries {
            name: (*method).to_owned(),
            style: LineStyle::Line,
            points: points
                .map(|(rank, &bound)| (bound, share(rank).into()))
                .collect(),
        }
    });
    LineChart {
        title,
        x: Axis::new("proven lower bound of the least margin", Scale::Linear),
        y: Axis::new("share of images with at most this bound", Scale::Percent),
        series: series.collect(),
    }
}

/// Points of a density.
const DENSITY_POINTS: usize = 41;

/// The density of what a method's bound has over that of `reference`, for every other method; none where fewer than two
/// images have both, or all differences are the same.
pub fn differences(
    title: String,
    examined: &[Examined],
    methods: &[&str],
    reference: &str,
) -> LineChart {
    let series = methods
        .iter()
        .filter(|method| **method != reference)
        .filter_map(|method| {
            let pair = |one: &Examined| Some(bound_of(one, method)? - bound_of(one, reference)?);
            let gains: Vec<f64> = examined.iter().filter_map(pair).collect();
            Some(LineSeries {
                name: (*method).to_owned(),
                style: LineStyle::Line,
                points: density(&gains)?
                    .into_iter()
                    .map(|(x, y)| (x, y.into()))
                    .collect(),
            })
        });
    LineChart {
        title,
        x: Axis::new(format!("bound less that of {reference}"), Scale::Linear),
        y: Axis::new("density", Scale::Linear),
        series: series.collect(),
    }
}

/// A density of Gaussian kernels with Silverman's bandwidth.
fn density(values: &[f64]) -> Option<Vec<(f64, f64)>> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let mean = mean(sorted.iter().copied())?;
    let count = sorted.len() as f64;
    let variance = sorted.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (count - 1.0);
    let quantile = |share: f64| sorted[(share * (count - 1.0)).round() as usize];
    let spread = (quantile(0.75) - quantile(0.25)) / 1.34;
    let deviation = variance.sqrt();
    let width = 0.9
        * count.powf(-0.2)
        * if spread > 0.0 {
            deviation.min(spread)
        } else {
            deviation
        };
    if !(width.is_finite() && width > 0.0) {
        return None;
    }
    let (low, high) = (
        sorted[0] - 3.0 * width,
        sorted[sorted.len() - 1] + 3.0 * width,
    );
    let at = |step: usize| low + (high - low) * step as f64 / (DENSITY_POINTS - 1) as f64;
    let height = |x: f64| {
        let kernels = sorted
            .iter()
            .map(|value| (-0.5 * ((x - value) / width).powi(2)).exp());
        kernels.sum::<f64>() / (count * width * std::f64::consts::TAU.sqrt())
    };
    Some(
        (0..DENSITY_POINTS)
            .map(|step| (at(step), height(at(step))))
            .collect(),
    )
}

fn bound_of(examined: &Examined, method: &str) -> Option<f64> {
    let row = examined.rows.iter().find(|row| row.method == method)?;
    row.bound
}

fn mean(numbers: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = numbers.fold((0.0, 0_usize), |(sum, count), x| (sum + x, count + 1));
    (count > 0).then(|| sum / count as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn examined(name: &str, upper: f64, bounds: &[f64]) -> Examined {
        let row = |(k, &bound): (usize, &f64)| {
            let verdict = if bound > 0.0 {
                Answer::Verified
            } else {
                Answer::Unknown
            };
            Row::new(["a", "b"][k], name, verdict, bound, 1.0)
        };
        Examined {
            instance: name.into(),
            label: 0,
            upper,
            rows: bounds.iter().enumerate().map(row).collect(),
        }
    }

    #[test]
    fn counts_are_over_what_there_is_and_means_over_all_or_nothing() {
        let all = [
            examined("1", 1.0, &[0.5, -1.0]),
            examined("2", 1.0, &[-0.5, f64::NEG_INFINITY]),
            examined("3", 1.0, &[0.25]),
        ];
        let [a, b] = &summaries(&all, &["a", "b"])[..] else {
            panic!("two methods");
        };
        assert_eq!((a.verified, a.unknown, b.verified, b.unknown), (2, 1, 0, 2));
        assert_eq!((a.mean_bound, b.mean_bound), (Some(0.25 / 3.0), None));
        let chart = cumulative("t".into(), &all, &["a", "b"]);
        let shares: Vec<f64> = chart.series[0]
            .points
            .iter()
            .map(|(_, y)| y.value)
            .collect();
        assert_eq!(shares, [1.0 / 3.0, 2.0 / 3.0, 1.0]);
        // The image without a bound and the one that was not reached come first.
        assert_eq!(chart.series[1].points, [(-1.0, Value::from(1.0))]);
    }

    #[test]
    fn a_density_has_the_integral_one_and_needs_a_spread() {
        let values: Vec<f64> = (0..20).map(|i| (f64::from(i) * 0.7).sin()).collect();
        let points = density(&values).unwrap();
        let step = points[1].0 - points[0].0;
        let integral: f64 = points.iter().map(|(_, y)| y * step).sum();
        assert!((integral - 1.0).abs() < 0.01, "{integral}");
        for few in [&[][..], &[1.0], &[1.0, 1.0, 1.0]] {
            assert!(density(few).is_none());
        }
    }

    #[test]
    fn margins_are_those_that_are_asked_for() {
        let all = Margins::All.of(1, 3).unwrap();
        assert_eq!(
            (all.row(0), all.row(1)),
            (&[-1.0, 1.0, 0.0][..], &[0.0, 1.0, -1.0][..])
        );
        // The class after the last is the first.
        let next = Margins::Next.of(2, 3).unwrap();
        assert_eq!((next.len(), next.row(0)), (1, &[-1.0, 0.0, 1.0][..]));
        assert!(Margins::All.of(3, 3).is_err());
        assert!(Margins::Next.of(0, 1).is_err());
    }
}
