//! Audits for people (tables, plots) and for programs (JSON).

use anyhow::Result;
use bpe_inference::Estimate;
use bpe_inference::inference::{StopReason, ViolationKind};
use bpe_inference::intervals::Interval;
use bpe_inference::ranges::JointRange;
use fire_assay_examples::CommonArgs;
use fire_assay_examples::plot::{
    Axis, BarChart, BarSeries, LineChart, LineSeries, LineStyle, Scale, Value,
};
use fire_assay_examples::report::Report;
use fire_assay_examples::table::{Table, integer, missing, percent, scientific, text};
use serde_json::{Map, Value as Json, json};

use crate::audit::{Audit, Redrawn};
use crate::samples::BLOCK_LINES;

/// Missing merges that are shown.
const MISSING_SHOWN: usize = 5;
/// Categories of the table of stages.
const STAGED: usize = 20;

/// Prints an audit and, with `--out`, draws its shares and how they settle, in files whose names begin with `prefix`.
pub(crate) fn audit(
    audit: &Audit,
    prefix: &str,
    common: &CommonArgs,
    report: &Report,
) -> Result<()> {
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
    if let Some((intervals, redrawn)) = &audit.intervals {
        report.say(format!(
            "intervals: {} redraws of the samples' {}. They say how much other samples from the same sources would \
             move the estimate, and cover no difference between the samples and the training text.",
            intervals.replicates.len(),
            match redrawn {
                Redrawn::Blocks => format!("blocks of {BLOCK_LINES} lines or more"),
                Redrawn::Words => "single words".to_owned(),
            },
        ));
    }
    let estimate = &audit.estimate;
    if estimate.stability.len() > 1 {
        report.table(&stages(estimate));
    }
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
    if !(audit.violations.is_empty() && audit.missing.is_empty()) {
        report.table(&worst(audit)?);
    }
    for warning in &audit.warnings {
        report.say(format!("warning: {warning}"));
    }
    for range in audit.ranges.iter().flat_map(|ranges| &ranges.joint) {
        let (a, b) = pair(audit, range);
        report.say(format!(
            "`{a}` and `{b}` together: {:.2} to {:.2} %",
            100.0 * range.low,
            100.0 * range.high
        ));
    }
    report.say(CAVEAT);
    draw(audit, prefix, common, report)
}

/// The names of two categories that cannot be told apart.
fn pair<'a>(audit: &'a Audit, range: &JointRange) -> (&'a str, &'a str) {
    let name = |i: usize| audit.estimate.categories[i].name.as_str();
    (name(range.categories.0), name(range.categories.1))
}

/// What every reader of an estimate must know.
pub(crate) const CAVEAT: &str = "\
The shares say which of these samples explain the merge list best. Text that is in no sample is attributed to the \
samples most like it, a sample that differs from the training text shifts every share, and the intervals do not cover \
either. A tokenizer's training text need not be its model's.";

/// The merges and pairs with the largest slacks, then the first merges that no category has.
fn worst(audit: &Audit) -> Result<Table> {
    let mut table = Table::new(["worst explained", "what", "merge", "slack"]);
    let shown = audit
        .violations
        .iter()
        .chain(audit.missing.iter().take(MISSING_SHOWN));
    for violation in shown {
        let kind = serde_json::to_value(violation.kind)?;
        let kind = kind.as_str().unwrap_or_default().replace('-', " ");
        table.row([
            text(&violation.token),
            text(kind),
            violation.step.map_or(missing(), |step| integer(step + 1)),
            match violation.kind {
                ViolationKind::Missing => missing(),
                _ => scientific(violation.slack, 1),
            },
        ]);
    }
    let more = audit.missing.len().saturating_sub(MISSING_SHOWN);
    if more > 0 {
        table.row([text(format!("({more} more)")), text("missing")]);
    }
    Ok(table)
}

/// How the shares change with the number of merges, largest categories first.
fn stages(estimate: &Estimate) -> Table {
    let mut header = vec!["merges".to_owned()];
    header.extend(estimate.stability.iter().map(|p| p.merges.to_string()));
    let mut table = Table::new(header);
    for i in by_share(estimate).into_iter().take(STAGED) {
        let name = text(&estimate.categories[i].name);
        let points = estimate.stability.iter();
        table.row(
            [name]
                .into_iter()
                .chain(points.map(|p| percent(p.bytes[i], 2))),
        );
    }
    table
}

/// The categories, largest share first.
fn by_share(estimate: &Estimate) -> Vec<usize> {
    let mut order: Vec<usize> = (0..estimate.categories.len()).collect();
    let share = |i: usize| estimate.categories[i].bytes;
    order.sort_by(|&a, &b| share(b).total_cmp(&share(a)).then(a.cmp(&b)));
    order
}

/// The bootstrap interval of a category.
fn interval(audit: &Audit, category: usize) -> Option<Interval> {
    let (intervals, _) = audit.intervals.as_ref()?;
    Some(intervals.shares[category])
}

fn shares(audit: &Audit) -> Table {
    let level = audit
        .intervals
        .as_ref()
        .map_or("interval".to_owned(), |(intervals, _)| {
            format!("{:.0} % interval", 100.0 * intervals.level)
        });
    let mut table = Table::new(["category", "share of bytes", &level, "range"]);
    for (i, category) in audit.estimate.categories.iter().enumerate() {
        let interval = interval(audit, i);
        let range = audit.ranges.as_ref().map(|ranges| ranges.shares[i]);
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

fn draw(audit: &Audit, prefix: &str, common: &CommonArgs, report: &Report) -> Result<()> {
    let (Some(bars), Some(lines)) = (
        common.out_file(&format!("{prefix}shares.svg"))?,
        common.out_file(&format!("{prefix}stability.svg"))?,
    ) else {
        return Ok(());
    };
    let estimate = &audit.estimate;
    let value = |(i, share): (usize, f64)| {
        Some(match interval(audit, i) {
            Some(interval) => Value::with_interval(share, interval.low, interval.high),
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
    let series = by_share(estimate)
        .into_iter()
        .take(LINES)
        .map(|i| LineSeries {
            name: estimate.categories[i].name.clone(),
            style: LineStyle::Line,
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
    let estimate = &audit.estimate;
    let mut mixture = Map::new();
    for (i, category) in estimate.categories.iter().enumerate() {
        let interval = interval(audit, i);
        mixture.insert(
            category.name.clone(),
            json!({
                "estimated": category.bytes,
                "pairs": category.pairs,
                "low": interval.map(|interval| interval.low),
                "high": interval.map(|interval| interval.high),
                "range": audit.ranges.as_ref().map(|ranges| ranges.shares[i]),
            }),
        );
    }
    let stability: Vec<Json> = estimate
        .stability
        .iter()
        .map(|point| {
            let names = estimate.categories.iter().map(|c| c.name.clone());
            let shares = point.bytes.iter().map(|&share| Json::from(share));
            json!({"merges": point.merges, "mixture": names.zip(shares).collect::<Map<_, _>>()})
        })
        .collect();
    let diagnosis: Vec<Json> = audit
        .diagnosis
        .iter()
        .map(|score| {
            json!({
                "pretokenizer": score.name, "share": score.share, "laxity": score.laxity,
                "falsified-by": score.falsified_by,
            })
        })
        .collect();
    let merges = &audit.merge_report;
    let unreachable = merges.unreachable.iter().map(|token| &token.token.text);
    let missing = audit
        .missing
        .iter()
        .map(|merge| json!({"token": merge.token, "merge": merge.step.map(|step| step + 1)}));
    let violations = audit.violations.iter().map(|violation| {
        json!({
            "token": violation.token, "kind": violation.kind, "slack": violation.slack,
            "merge": violation.step.map(|step| step + 1),
        })
    });
    let joint = audit.ranges.as_ref().map(|ranges| {
        let sums = ranges.joint.iter().map(|range| {
            let (a, b) = pair(audit, range);
            json!({"categories": [a, b], "range": [range.low, range.high]})
        });
        sums.collect::<Vec<_>>()
    });
    Ok(json!({
        "tokenizer": audit.tokenizer,
        "pretokenizer": audit.pretokenizer,
        "merges_used": estimate.merges,
        "mixture": mixture,
        "joint-ranges": joint,
        "intervals": audit.intervals.as_ref().map(|(intervals, redrawn)| json!({
            "level": intervals.level,
            "replicates": intervals.replicates.len(),
            "redrawn": redrawn.name(),
        })),
        "objective": {"lower": estimate.objective_lower, "upper": estimate.objective_upper, "gap": estimate.gap()},
        "stop": stop_name(estimate.stop),
        "solver": estimate.solver,
        "rounds": estimate.rounds,
        "rows": estimate.rows,
        "stability": stability,
        "violations": violations.collect::<Vec<_>>(),
        "missing": missing.collect::<Vec<_>>(),
        "diagnosis": diagnosis,
        "merge-report": {
            "format": merges.format,
            "order": merges.order,
            "listed": merges.listed,
            "kept": merges.kept,
            "redundant": merges.redundant,
            "duplicate-products": merges.duplicate_products,
            "unreachable": unreachable.collect::<Vec<_>>(),
            "manual": merges.manual.iter().map(|token| &token.text).collect::<Vec<_>>(),
        },
        "warnings": audit.warnings,
        "seconds": audit.seconds,
    }))
}

/// Why an inference ended, as one word of a JSON object: `weights-stable`.
pub(crate) fn stop_name(stop: StopReason) -> String {
    stop.to_string().replace(' ', "-")
}
