//! Audits for people (tables, plots) and for programs (JSON).

use anyhow::Result;
use fire_assay_examples::CommonArgs;
use fire_assay_examples::plot::{Axis, BarChart, BarSeries, LineChart, LineSeries, Scale, Value};
use fire_assay_examples::report::Report;
use fire_assay_examples::table::{Table, missing, percent, scientific, text};
use serde_json::{Map, Value as Json, json};

use crate::audit::Audit;

/// Prints an audit and, with `--out`, draws its shares and how they settle.
pub(crate) fn audit(audit: &Audit, common: &CommonArgs, report: &Report) -> Result<()> {
    let merges = &audit.merge_report;
    report.say(format!(
        "{}: {} merges listed, {} kept, {} redundant, {} unreachable, {} added by hand",
        audit.tokenizer,
        merges.listed,
        merges.kept,
        merges.redundant,
        merges.unreachable.len(),
        merges.manual.len(),
    ));
    match audit
        .diagnosis
        .iter()
        .find(|score| score.name == audit.pretokenizer)
    {
        Some(score) => report.say(format!(
            "pretokenizer {}: leaves {:.2} % of the tokens whole{}",
            audit.pretokenizer,
            100.0 * score.share,
            match score.falsified_by.is_empty() {
                true => String::new(),
                false => format!(
                    ", but not {}",
                    score.falsified_by[..score.falsified_by.len().min(5)].join(" ")
                ),
            }
        )),
        None => report.say(format!("pretokenizer {}", audit.pretokenizer)),
    }
    report.table(&shares(audit));
    let estimate = &audit.estimate;
    report.say(format!(
        "{} merges, {} of them in no category; {} rows in {} rounds; objective {:.3e} to {:.3e} (gap {:.1e}); {}; {:.1} s",
        estimate.merges,
        estimate.missing.len(),
        estimate.rows,
        estimate.rounds,
        estimate.objective_lower,
        estimate.objective_upper,
        estimate.gap(),
        estimate.stop,
        audit.seconds
    ));
    let mut worst = Table::new(["worst explained", "what", "slack"]);
    for violation in &audit.violations {
        let kind = serde_json::to_value(violation.kind)?;
        let kind = kind.as_str().unwrap_or_default().replace('-', " ");
        worst.row([
            text(&violation.token),
            text(kind),
            scientific(violation.slack, 1),
        ]);
    }
    if !audit.violations.is_empty() {
        report.table(&worst);
    }
    for warning in &audit.warnings {
        report.say(format!("warning: {warning}"));
    }
    report.say(CAVEAT);
    draw(audit, common, report)
}

/// What every reader of an estimate must know.
pub(crate) const CAVEAT: &str = "\
The shares say which of these samples explain the merge list best. Text that is in no sample is attributed to the \
samples most like it, a sample that differs from the training text shifts every share, and the intervals do not cover \
either. A tokenizer's training text need not be its model's.";

fn shares(audit: &Audit) -> Table {
    let mut table = Table::new(["category", "share of bytes", "90 % interval", "range"]);
    for (i, category) in audit.estimate.categories.iter().enumerate() {
        let interval = audit
            .intervals
            .as_ref()
            .map(|intervals| intervals.shares[i]);
        let range = audit.ranges.as_ref().map(|ranges| ranges[i]);
        let span =
            |low: f64, high: f64| text(format!("{:.2} to {:.2} %", 100.0 * low, 100.0 * high));
        table.row([
            text(&category.name),
            percent(category.bytes, 2),
            interval.map_or(missing(), |interval| span(interval.low, interval.high)),
            range.map_or(missing(), |(low, high)| span(low, high)),
        ]);
    }
    table
}

fn draw(audit: &Audit, common: &CommonArgs, report: &Report) -> Result<()> {
    let (Some(bars), Some(lines)) = (
        common.out_file("shares.svg")?,
        common.out_file("stability.svg")?,
    ) else {
        return Ok(());
    };
    let estimate = &audit.estimate;
    let value = |(i, share): (usize, f64)| {
        Some(match &audit.intervals {
            Some(intervals) => {
                Value::with_interval(share, intervals.shares[i].low, intervals.shares[i].high)
            }
            None => Value::from(share),
        })
    };
    let values = estimate
        .byte_shares()
        .into_iter()
        .enumerate()
        .map(value)
        .collect();
    BarChart {
        title: format!("Estimated training text of {}", audit.tokenizer),
        axis: Axis::new("share of bytes", Scale::Percent),
        categories: estimate.categories.iter().map(|c| c.name.clone()).collect(),
        series: vec![BarSeries {
            name: "estimated".into(),
            values,
        }],
    }
    .write(&bars)?;
    report.say(format!("wrote {}", bars.display()));
    stability(audit, &lines)?;
    report.say(format!("wrote {}", lines.display()));
    Ok(())
}

/// How the largest shares change with the number of merges.
fn stability(audit: &Audit, path: &std::path::Path) -> Result<()> {
    const LINES: usize = 8;
    let estimate = &audit.estimate;
    let mut largest: Vec<usize> = (0..estimate.categories.len()).collect();
    largest.sort_by(|&a, &b| {
        estimate.categories[b]
            .bytes
            .total_cmp(&estimate.categories[a].bytes)
            .then(a.cmp(&b))
    });
    let series = largest.into_iter().take(LINES).map(|i| LineSeries {
        name: estimate.categories[i].name.clone(),
        points: estimate
            .stability
            .iter()
            .map(|point| (point.merges as f64, Value::from(point.bytes[i])))
            .collect(),
    });
    LineChart {
        title: format!("{}: estimate by number of merges", audit.tokenizer),
        x: Axis::new("merges", Scale::Logarithmic),
        y: Axis::new("share of bytes", Scale::Percent),
        series: series.collect(),
    }
    .write(path)?;
    Ok(())
}

/// An audit as one JSON object.
pub(crate) fn audit_json(audit: &Audit) -> Result<Json> {
    let mut mixture = Map::new();
    for (i, category) in audit.estimate.categories.iter().enumerate() {
        let interval = audit
            .intervals
            .as_ref()
            .map(|intervals| intervals.shares[i]);
        let range = audit.ranges.as_ref().map(|ranges| ranges[i]);
        mixture.insert(
            category.name.clone(),
            json!({
                "estimated": category.bytes,
                "low": interval.map(|interval| interval.low),
                "high": interval.map(|interval| interval.high),
                "range": range,
            }),
        );
    }
    Ok(json!({
        "tokenizer": audit.tokenizer,
        "pretokenizer": audit.pretokenizer,
        "merges_used": audit.estimate.merges,
        "mixture": mixture,
        "merge-report": audit.merge_report,
        "estimate": audit.estimate,
        "violations": audit.violations,
        "warnings": audit.warnings,
        "seconds": audit.seconds,
    }))
}
