//! The default run: curves through a square, a disk and a spiral within several budgets, beside what no curve of a budget can be better than.

pub mod picture;

use std::f64::consts::PI;
use std::fs::File;
use std::io::BufWriter;
use std::sync::atomic::Ordering;
use std::time::Instant;

use anyhow::{Context as _, Result};
use serde::Serialize;
use serde_json::{Value as Json, json};
use sobolev_budget::{
    Constraint, Domain, Fit, FitConfig, FitOptions, Measure, Outcome, Smoothness, Starts,
    tube_lower_bound,
};

use crate::args::CommonArgs;
use crate::interrupt::Limit;
use crate::report::Report;
use crate::table::{self, Table};
use picture::{Tradeoff, View, map_curve};

/// What the default run does.
#[derive(Clone, Debug)]
pub struct Options {
    /// Points along each side of the square. Default 100.
    pub square: usize,
    /// The same for curves that pay for their bending, which take longer. Default 60.
    pub square_for_bends: usize,
    /// Points of the disk. Default 10,000.
    pub disk: usize,
    /// Points of the spiral. Default 5,000.
    pub spiral: usize,
    /// Nodes of each curve. Default 65.
    pub nodes: usize,
    /// Budgets of curves through the square that pay for their length. Default 0.5, 1, 2, 4.
    pub square_lengths: Vec<f64>,
    /// Budgets of curves through the square that pay for their bending. Default 4, 16, 64.
    pub square_bends: Vec<f64>,
    /// Budgets of curves through the disk that pay for their length. Default 1, 2, 4, 8.
    pub disk_lengths: Vec<f64>,
    /// The same for the spiral. Default 1, 2, 3, 4, 5, 6.
    pub spiral_lengths: Vec<f64>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            square: 100,
            square_for_bends: 60,
            disk: 10_000,
            spiral: 5_000,
            nodes: 65,
            square_lengths: vec![0.5, 1.0, 2.0, 4.0],
            square_bends: vec![4.0, 16.0, 64.0],
            disk_lengths: vec![1.0, 2.0, 4.0, 8.0],
            spiral_lengths: vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
        }
    }
}

/// Standard deviation of the noise around the spiral.
const NOISE: f64 = 0.05;
/// By how much a budget is changed for the slope by difference, as a part of it.
const STEP: f64 = 0.01;
/// Nodes from one arrow of the barycentre field to the next.
const ARROW_EVERY: usize = 4;

/// Curves of one order through one measure.
struct Case {
    name: &'static str,
    points: Measure,
    volume: Option<f64>,
    order: usize,
    budgets: Vec<f64>,
}

/// A fit as the table and `--json` show it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Row {
    measure: &'static str,
    k: usize,
    budget: f64,
    j: f64,
    #[serde(rename = "lower_bound")]
    lower_bound: Option<f64>,
    multiplier: f64,
    /// What the multiplier says that the slope of J by the budget is.
    slope: f64,
    /// The same slope from fits within a little less and a little more.
    slope_by_difference: Option<f64>,
    cost: f64,
    length: Option<f64>,
    stationarity: f64,
    start: String,
    seconds: f64,
}

/// Fits, draws with `--out`, and compares. Returns what `--json` prints.
///
/// # Errors
/// Whatever the library or the file system bring.
pub fn run(options: &Options, common: &CommonArgs, report: &Report) -> Result<Json> {
    let start = Instant::now();
    let limit = Limit::start(None);
    let cases = cases(options, common.seed)?;
    report.say(format!(
        "Curves with J = the mean squared distance of a point to the curve as small as a budget l allows; {} nodes. With k = 1 a curve pays for its\n\
         length, with k = 2 for its bending. No curve of the budget has a J below LB. The slope dJ/dl is -2 lambda l by the multiplier lambda, and (fd)\n\
         by fits within {} % less and more.",
        options.nodes,
        100.0 * STEP
    ));
    let length: usize = cases.iter().map(|case| case.budgets.len()).sum();
    let span = tracing::info_span!("fits", position = 0_u64, length = length as u64);
    let entered = span.enter();
    let mut rows: Vec<Row> = Vec::new();
    let mut lines: Vec<(&Case, Fit)> = Vec::new();
    let mut tradeoffs = Vec::new();
    for case in &cases {
        let fits = case.fit(options.nodes, common.seed, &limit)?;
        for fit in &fits {
            rows.push(case.row(fit, &limit)?);
        }
        span.record("position", rows.len() as u64);
        if lines.iter().all(|(other, _)| other.name != case.name) {
            lines.push((case, case.line(options.nodes)?));
        }
        case.write(&fits, common, report)?;
        if case.order == 1 {
            tradeoffs.push(case.tradeoff(&fits)?);
        }
    }
    drop(entered);
    show(&rows, report);
    report.say("\nThe straight lines of principal component analysis, which are the curves of order 2 with a budget of 0:");
    for (case, line) in &lines {
        report.say(format!("{}: J = {:.6}", case.name, line.j));
    }
    if let Some(path) = common.out_file("tradeoff.svg")?
        && tradeoffs.iter().any(|tradeoff| !tradeoff.points.is_empty())
    {
        picture::tradeoff_chart("What a budget buys", "length of the curve", &tradeoffs)
            .write(&path)?;
        report.say(format!("wrote {}", path.display()));
    }
    let stopped = limit.reason();
    if let Some(reason) = &stopped {
        report.say(format!("stopped early: {reason}"));
    }
    let seconds = start.elapsed().as_secs_f64();
    report.say(format!("{seconds:.1} s"));
    let principal: serde_json::Map<String, Json> = lines
        .iter()
        .map(|(case, line)| (case.name.to_owned(), json!(line.j)))
        .collect();
    Ok(json!({
        "nodes": options.nodes,
        "principal-line": principal,
        "stopped": stopped,
        "seconds": seconds,
        "results": rows,
    }))
}

fn cases(options: &Options, seed: u64) -> Result<Vec<Case>> {
    Ok(vec![
        Case {
            name: "square",
            points: Measure::square_lattice(options.square)?,
            volume: Some(1.0),
            order: 1,
            budgets: options.square_lengths.clone(),
        },
        Case {
            name: "square",
            points: Measure::square_lattice(options.square_for_bends)?,
            volume: Some(1.0),
            order: 2,
            budgets: options.square_bends.clone(),
        },
        Case {
            name: "disk",
            points: Measure::disk_sunflower(options.disk)?,
            volume: Some(PI),
            order: 1,
            budgets: options.disk_lengths.clone(),
        },
        Case {
            name: "spiral",
            points: Measure::spiral(options.spiral, 2, NOISE, seed)?,
            volume: None,
            order: 1,
            budgets: options.spiral_lengths.clone(),
        },
    ])
}

impl Case {
    fn config(&self, order: usize, budget: f64, nodes: usize) -> FitConfig {
        let config = FitConfig::new(
            Domain::Interval,
            Smoothness::new(order),
            Constraint::Budget(budget),
        )
        .with_nodes(nodes);
        match self.volume {
            Some(volume) => config.with_volume(volume),
            None => config,
        }
    }

    /// The fits for the budgets, as far as there was time. Each tries all starts and the curve of the budget before it, which may cost as much here.
    fn fit(&self, nodes: usize, seed: u64, limit: &Limit) -> Result<Vec<Fit>> {
        let stop = || limit.flag().load(Ordering::Relaxed);
        let mut fits: Vec<Fit> = Vec::new();
        for &budget in &self.budgets {
            let last = fits.last().map(|fit| fit.map.clone());
            let options = FitOptions::default()
                .with_starts(last.into_iter().collect())
                .with_stop(&stop);
            let config = self.config(self.order, budget, nodes).with_seed(seed);
            let fit = config.fit_with(&self.points, &options)?;
            if fit.outcome == Outcome::Stopped {
                break;
            }
            fits.push(fit);
        }
        Ok(fits)
    }

    fn row(&self, fit: &Fit, limit: &Limit) -> Result<Row> {
        let budget = budget(fit);
        Ok(Row {
            measure: self.name,
            k: self.order,
            budget,
            j: fit.j,
            lower_bound: fit.lower_bound,
            multiplier: fit.multiplier,
            slope: fit.slope(),
            slope_by_difference: match limit.reason() {
                None if budget > 0.0 => Some(self.difference(fit, budget)?),
                _ => None,
            },
            cost: fit.cost,
            length: fit.map.length(),
            stationarity: fit.kkt.stationarity,
            start: fit
                .starts
                .first()
                .map_or_else(String::new, |start| start.name.clone()),
            seconds: fit.seconds,
        })
    }

    /// The slope of J at a budget by fits that start from the one that there is.
    fn difference(&self, fit: &Fit, budget: f64) -> Result<f64> {
        let near = |part: f64| -> Result<f64> {
            let options = FitOptions::default().with_starts(vec![fit.map.clone()]);
            let config = fit.config.clone().with_starts(Starts::given());
            let config = config.with_constraint(Constraint::Budget(budget * part));
            Ok(config.fit_with(&self.points, &options)?.j)
        };
        Ok((near(1.0 + STEP)? - near(1.0 - STEP)?) / (2.0 * STEP * budget))
    }

    /// The line of principal component analysis.
    fn line(&self, nodes: usize) -> Result<Fit> {
        let config = self.config(2, 0.0, nodes).with_starts(Starts::single());
        Ok(config.fit(&self.points)?)
    }

    /// Draws the curves and writes their nodes.
    fn write(&self, fits: &[Fit], common: &CommonArgs, report: &Report) -> Result<()> {
        let name = format!("{}_k{}", self.name, self.order);
        for fit in fits {
            let Some(path) = common.out_file(&format!("{name}_{}.csv", budget(fit)))? else {
                return Ok(());
            };
            let file = File::create(&path)
                .with_context(|| format!("cannot write the curve {}", path.display()))?;
            fit.map.to_csv(BufWriter::new(file), Some(&self.points))?;
        }
        let Some(path) = common
            .out_file(&format!("{name}.svg"))?
            .filter(|_| !fits.is_empty())
        else {
            return Ok(());
        };
        let view = View::new(&self.points);
        let curves = fits.iter().map(|fit| {
            let arrows = (ARROW_EVERY, &self.points, fit.config.exponent);
            map_curve(
                &view,
                format!("l = {}", budget(fit)),
                &fit.map,
                Some(arrows),
            )
        });
        let title = match self.order {
            1 => format!("{}: curves of length l", self.name),
            _ => format!("{}: curves that bend by at most l", self.name),
        };
        let curves = curves.collect::<Result<Vec<_>>>()?;
        view.picture(title, &self.points, curves).write(&path)?;
        report.say(format!("wrote {}", path.display()));
        Ok(())
    }

    fn tradeoff(&self, fits: &[Fit]) -> Result<Tradeoff> {
        let points: Vec<(f64, f64)> = fits.iter().map(|fit| (budget(fit), fit.j)).collect();
        let bound = match (self.volume, fits) {
            (Some(volume), [first, .., last]) => {
                picture::bound_line([budget(first), budget(last)], |budget| {
                    Ok(tube_lower_bound(
                        Domain::Interval,
                        &first.config.smoothness,
                        budget,
                        first.config.exponent,
                        self.points.dimension(),
                        volume,
                    )?)
                })?
            }
            _ => Vec::new(),
        };
        Ok(Tradeoff {
            name: self.name.to_owned(),
            points,
            bound,
        })
    }
}

/// The budget of a fit, or the cost of one with a price.
pub fn budget(fit: &Fit) -> f64 {
    match fit.config.constraint {
        Constraint::Budget(budget) => budget,
        Constraint::Price(_) => fit.cost,
    }
}

fn show(rows: &[Row], report: &Report) {
    let mut shown = Table::new([
        "measure",
        "k",
        "l",
        "J",
        "LB",
        "J/LB",
        "lambda",
        "-2 lambda l",
        "dJ/dl (fd)",
        "length",
        "seconds",
    ]);
    let optional = |value: Option<f64>, cell: &dyn Fn(f64) -> table::Cell| {
        value.map_or_else(table::missing, cell)
    };
    for row in rows {
        shown.row([
            table::text(row.measure),
            table::integer(row.k as i64),
            table::decimal(row.budget, 2),
            table::decimal(row.j, 6),
            optional(row.lower_bound, &|bound| table::decimal(bound, 6)),
            optional(row.lower_bound.filter(|bound| *bound > 0.0), &|bound| {
                table::decimal(row.j / bound, 3)
            }),
            table::scientific(row.multiplier, 3),
            table::scientific(row.slope, 3),
            optional(row.slope_by_difference, &|slope| {
                table::scientific(slope, 3)
            }),
            optional(row.length, &|length| table::decimal(length, 3)),
            table::decimal(row.seconds, 2),
        ]);
    }
    report.table(&shown);
}
