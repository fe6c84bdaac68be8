//! What a training looked like: a logged line for each epoch while it runs, a table, curves, and rows for `--json`.

use anyhow::Result;
use fire_assay_examples::plot::{Axis, LineChart, LineSeries, LineStyle, Scale, Value};
use fire_assay_examples::table::{self, Table};
use fire_assay_examples::{CommonArgs, Report};
use fire_assay_models::train::{EpochRecord, Evaluation, History, StepRecord};
use serde::Serialize;

/// An epoch, or what a run did after the last whole one.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Row {
    /// From 1.
    pub(crate) epoch: u64,
    /// Optimiser steps done at its end.
    pub(crate) steps: u64,
    /// Mean loss of its training batches, in nats.
    pub(crate) loss: f64,
    /// Mean loss on the test data, in nats.
    pub(crate) test_loss: f64,
    /// Share of test images, or of test tokens, that are predicted right.
    pub(crate) accuracy: f64,
}

/// The names under which a history keeps what was found on test data.
const TEST_LOSS: &str = "test-loss";
const ACCURACY: &str = "accuracy";
/// Points of the training curve, at most.
const POINTS: usize = 200;

impl Row {
    /// Of a finished epoch that was evaluated.
    pub(crate) fn of(record: &EpochRecord) -> Self {
        let named = |wanted: &str| {
            let found = record.evaluation.iter().find(|(name, _)| name == wanted);
            found.map_or(f64::NAN, |(_, value)| *value)
        };
        Self {
            epoch: record.epoch + 1,
            steps: record.steps,
            loss: record.loss,
            test_loss: named(TEST_LOSS),
            accuracy: named(ACCURACY),
        }
    }

    /// Of the steps after an epoch, if there are any.
    fn since(history: &History, epoch: Option<&EpochRecord>, found: Evaluation) -> Option<Self> {
        let before = epoch.map_or(0, |epoch| epoch.steps as usize);
        let steps = history.steps.get(before..)?;
        let last = steps.last()?;
        Some(Self {
            epoch: last.epoch + 1,
            steps: last.step + 1,
            loss: mean(steps.iter().map(|step| step.loss)),
            test_loss: found.loss,
            accuracy: found.accuracy,
        })
    }
}

/// What an evaluation found, for a history.
pub(crate) fn evaluation(found: Evaluation) -> Vec<(String, f64)> {
    vec![
        (TEST_LOSS.to_owned(), found.loss),
        (ACCURACY.to_owned(), found.accuracy),
    ]
}

/// Logs the epoch that has just ended, whose record is not in the history yet.
pub(crate) fn log_epoch(history: &History, found: Evaluation) {
    if let Some(row) = Row::since(history, history.epochs.last(), found) {
        tracing::info!(
            "epoch {}, step {}: loss {:.4}, test loss {:.4}, accuracy {:.2} %",
            row.epoch,
            row.steps,
            row.loss,
            row.test_loss,
            100.0 * row.accuracy
        );
    }
}

/// The rows of a run that has ended, and what was found then.
pub(crate) fn rows(history: &History, found: Evaluation) -> Vec<Row> {
    let mut rows: Vec<Row> = history.epochs.iter().map(Row::of).collect();
    rows.extend(Row::since(history, history.epochs.last(), found));
    rows
}

/// Prints the table and, with `--out`, draws the curves.
pub(crate) fn show(
    title: &str,
    rows: &[Row],
    history: &History,
    common: &CommonArgs,
    report: &Report,
) -> Result<()> {
    let mut lines = Table::new(["epoch", "steps", "loss", "test loss", "accuracy"]);
    for row in rows {
        lines.row([
            table::integer(row.epoch),
            table::integer(row.steps),
            table::decimal(row.loss, 4),
            table::decimal(row.test_loss, 4),
            table::percent(row.accuracy, 2),
        ]);
    }
    report.table(&lines);
    let test = |value: fn(&Row) -> f64| {
        let points = rows
            .iter()
            .map(|row| (row.steps as f64, Value::from(value(row))));
        points.collect()
    };
    if let Some(path) = common.out_file("loss.svg")? {
        let series = [
            ("training", training_curve(history)),
            ("test", test(|row| row.test_loss)),
        ];
        chart(title, Axis::new("loss, nats", Scale::Linear), series.into()).write(&path)?;
        report.say(format!("wrote {}", path.display()));
    }
    if let Some(path) = common.out_file("accuracy.svg")? {
        let series = vec![("test", test(|row| row.accuracy))];
        chart(title, Axis::new("accuracy", Scale::Percent), series).write(&path)?;
        report.say(format!("wrote {}", path.display()));
    }
    Ok(())
}

fn chart(title: &str, y: Axis, series: Vec<(&str, Vec<(f64, Value)>)>) -> LineChart {
    let series = series.into_iter().map(|(name, points)| LineSeries {
        name: name.to_owned(),
        style: LineStyle::Line,
        points,
    });
    LineChart {
        title: title.to_owned(),
        x: Axis::new("steps", Scale::Linear),
        y,
        series: series.collect(),
    }
}

/// The losses of all steps as means of equally many each.
fn training_curve(history: &History) -> Vec<(f64, Value)> {
    let window = history.steps.len().div_ceil(POINTS).max(1);
    let windows = history.steps.chunks(window);
    let point = |steps: &[StepRecord]| {
        let last = steps.last().map_or(0, |step| step.step + 1);
        (last as f64, mean(steps.iter().map(|step| step.loss)).into())
    };
    windows.map(point).collect()
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len().max(1) as f64;
    values.sum::<f64>() / count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(loss: f64) -> Evaluation {
        Evaluation {
            loss,
            accuracy: 0.25,
            positions: 1,
        }
    }

    /// A run of so many steps in epochs of 4, whose loss is the step.
    fn history(steps: u64) -> History {
        let steps: Vec<StepRecord> = (0..steps)
            .map(|step| StepRecord {
                step,
                epoch: step / 4,
                loss: step as f64,
                gradient_norm: 1.0,
                rate: 0.1,
            })
            .collect();
        let whole = steps.len() as u64 / 4;
        let epochs = (0..whole).map(|epoch| EpochRecord {
            epoch,
            steps: 4 * (epoch + 1),
            loss: 4.0 * epoch as f64 + 1.5,
            evaluation: evaluation(found(epoch as f64)),
        });
        History {
            epochs: epochs.collect(),
            steps,
        }
    }

    #[test]
    fn rows_are_epochs_and_what_follows_the_last() {
        let all = rows(&history(10), found(9.0));
        let steps: Vec<u64> = all.iter().map(|row| row.steps).collect();
        assert_eq!(steps, [4, 8, 10]);
        let losses: Vec<(f64, f64)> = all.iter().map(|row| (row.loss, row.test_loss)).collect();
        assert_eq!(losses, [(1.5, 0.0), (5.5, 1.0), (8.5, 9.0)]);
        assert_eq!(all[2].epoch, 3);
        assert_eq!(rows(&history(8), found(9.0)).len(), 2);
    }

    #[test]
    fn a_curve_has_the_mean_of_all_steps_and_few_points() {
        let long = training_curve(&history(1_000));
        assert_eq!(long.len(), POINTS);
        assert_eq!(long[199], (1_000.0, 997.0.into()));
        assert_eq!(training_curve(&history(3)).len(), 3);
    }

    #[test]
    fn rows_have_the_names_of_the_documentation() {
        let row = serde_json::to_value(Row::of(&history(4).epochs[0])).unwrap();
        for name in ["epoch", "steps", "loss", "test-loss", "accuracy"] {
            assert!(row[name].is_number(), "{name}");
        }
    }
}
