//! Errors of several methods by the condition number of the columns.

use std::collections::BTreeMap;

use anyhow::Result;
use dp_regression::baselines::{AdaSsp, BoostedAdaSsp, Calibration, DpGd, Ols, RowBounds};
use dp_regression::synth::{LinearModel, Sample};
use dp_regression::{Dataset, Issp, PrivacyRng, PrivateRegressor, metrics};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde::Serialize;

use super::Options;
use crate::interrupt::Limit;
use crate::plot::{Axis, LineChart, LineSeries, LineStyle, Scale, Value};
use crate::report::Report;
use crate::table::{self, Table};

/// The mean error of a method at one condition number.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Row {
    pub(super) method: &'static str,
    pub(super) cond: f64,
    /// Mean of `|Sigma^{1/2} (b^ - b)|`, from the coefficients that the table was made with; a refusal counts as no coefficients at all.
    pub(super) error: f64,
    pub(super) refused: usize,
    pub(super) seconds: f64,
}

/// Errors, in the order of the methods.
pub(super) fn run(options: &Options, issp: &Issp, seed: u64, limit: &Limit) -> Result<Vec<Row>> {
    let total = options.conditions.len() * options.repeats;
    let span = tracing::info_span!("tables", position = 0_u64, length = total as u64);
    let _inside = span.enter();
    let mut data_rng = StdRng::seed_from_u64(seed);
    let mut noise_rng = PrivacyRng::insecure_seeded(seed);
    let mut rows: Vec<Row> = Vec::new();
    let mut done = 0;
    for &condition in &options.conditions {
        let mut sums: BTreeMap<usize, Row> = BTreeMap::new();
        for _ in 0..options.repeats {
            if limit.reason().is_some() {
                return Ok(rows);
            }
            let model = LinearModel::new(options.rows, options.columns).with_condition(condition);
            let sample = model.sample(&mut data_rng)?;
            let data = Dataset::new(&sample.x[..], &sample.y[..], options.columns)?;
            for (index, method) in methods(issp, &sample)?.iter().enumerate() {
                let start = std::time::Instant::now();
                let release = method.fit(&data, &mut noise_rng)?;
                let seconds = start.elapsed().as_secs_f64();
                let nothing = vec![0.0; options.columns];
                let found = release.outcome.coefficients();
                let error = metrics::prediction_distance(
                    &data,
                    found.unwrap_or(&nothing),
                    &sample.coefficients,
                )?;
                let row = sums.entry(index).or_insert(Row {
                    method: method.name(),
                    cond: condition,
                    error: 0.0,
                    refused: 0,
                    seconds: 0.0,
                });
                row.error += error / options.repeats as f64;
                row.refused += usize::from(found.is_none());
                row.seconds += seconds / options.repeats as f64;
            }
            done += 1;
            span.record("position", done as u64);
        }
        rows.extend(sums.into_values());
    }
    Ok(rows)
}

/// The methods; all but ISSP are given bounds and scales of the table itself.
fn methods(issp: &Issp, sample: &Sample) -> Result<Vec<Box<dyn PrivateRegressor>>> {
    let (budget, adjacency) = (issp.plan().input().budget, issp.plan().input().adjacency);
    let d = sample.columns;
    let length = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>().sqrt();
    let longest = sample.x.chunks_exact(d).map(length).fold(0.0, f64::max);
    let largest = sample
        .y
        .iter()
        .fold(0.0, |largest: f64, y| largest.max(y.abs()));
    let bounds = RowBounds::new(longest, largest)?;
    let rows = sample.y.len() as f64;
    let scales = (0..d)
        .map(|j| {
            (sample
                .x
                .iter()
                .skip(j)
                .step_by(d)
                .map(|x| x * x)
                .sum::<f64>()
                / rows)
                .sqrt()
        })
        .collect();
    let response = (sample.y.iter().map(|y| y * y).sum::<f64>() / rows).sqrt();
    Ok(vec![
        Box::new(issp.clone()),
        Box::new(AdaSsp::new(
            budget,
            adjacency,
            bounds,
            Calibration::Original,
        )?),
        Box::new(AdaSsp::new(budget, adjacency, bounds, Calibration::Tight)?),
        Box::new(BoostedAdaSsp::new(budget, adjacency, bounds)),
        Box::new(DpGd::new(budget, adjacency, scales, response)?),
        Box::new(Ols),
    ])
}

fn names(rows: &[Row]) -> Vec<&'static str> {
    let mut names = Vec::new();
    for row in rows {
        if !names.contains(&row.method) {
            names.push(row.method);
        }
    }
    names
}

pub(super) fn show(rows: &[Row], report: &Report) {
    let names = names(rows);
    let mut shown = Table::new(std::iter::once("condition").chain(names.iter().copied()));
    let mut conditions: Vec<f64> = rows.iter().map(|row| row.cond).collect();
    conditions.dedup();
    for condition in conditions {
        let cell = |name: &&str| {
            let found = rows
                .iter()
                .find(|row| row.cond == condition && row.method == *name);
            found.map_or(table::missing(), |row| table::decimal(row.error, 4))
        };
        shown.row(std::iter::once(table::scientific(condition, 0)).chain(names.iter().map(cell)));
    }
    report.table(&shown);
}

pub(super) fn chart(rows: &[Row]) -> LineChart {
    let series = names(rows)
        .into_iter()
        .map(|name| LineSeries {
            name: name.to_owned(),
            style: LineStyle::Line,
            points: rows
                .iter()
                .filter(|row| row.method == name && row.error > 0.0)
                .map(|row| (row.cond, Value::from(row.error)))
                .collect(),
        })
        .collect();
    LineChart {
        title: "Errors by the condition number of X'X".to_owned(),
        x: Axis::new("condition number", Scale::Logarithmic),
        y: Axis::new("error, in units of the noise", Scale::Logarithmic),
        series,
    }
}
