//! A folder of instances, as verification competitions have them.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Result, bail};
use fire_assay_examples::plot::{Axis, LineChart, LineSeries, LineStyle, Scale};
use fire_assay_examples::robustness::{Answer, Row};
use fire_assay_examples::table::{self, Table};
use fire_assay_examples::{CommonArgs, Limit, Report};
use serde::Serialize;
use serde_json::{Value, json};
use zonotope_verify::competition::{Instance, Outcome, ResultRow, read_instances, write_results};
use zonotope_verify::limits::CancelToken;
use zonotope_verify::verify::VerifierConfig;

use crate::verify::{self, METHOD, Settings};

/// Runs the instances of a benchmark
///
/// The folder holds instances.csv as VNN-COMP has it: network, specification and time limit in seconds, a line each, with
/// paths relative to the folder. An instance that cannot be read is a line with the outcome `error`, and the next one
/// follows. With --out, results.csv is written (again after every instance) and a cactus plot at the end.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The folder with instances.csv
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,

    /// A limit of time for every instance, where the list's own is not lower
    #[arg(long, value_name = "SECONDS", value_parser = crate::seconds)]
    timeout: Option<f64>,

    /// Only the first so many instances
    #[arg(long, value_name = "N")]
    first: Option<usize>,

    #[command(flatten)]
    settings: Settings,

    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

/// A row of the results, with what the contest calls it.
#[derive(Serialize)]
struct Benchmarked {
    #[serde(flatten)]
    row: Row,
    outcome: &'static str,
    error: Option<String>,
}

pub(crate) fn run(args: &Args, report: &Report) -> Result<Value> {
    let start = Instant::now();
    let config = args.settings.read(args.common.seed)?;
    let device = crate::device(&args.common)?;
    let mut instances = read_instances(args.folder.join("instances.csv"))?;
    instances.truncate(args.first.unwrap_or(usize::MAX));
    if instances.is_empty() {
        bail!(
            "{}: there are no instances",
            args.folder.join("instances.csv").display()
        );
    }
    let results_file = args.common.out_file("results.csv")?;
    let cancel = CancelToken::new();
    let limit = {
        let cancel = cancel.clone();
        Limit::calling(None, move || cancel.cancel())
    };
    let span = tracing::info_span!(
        "instances",
        position = 0_u64,
        length = instances.len() as u64
    );
    let _inside = span.enter();
    let mut lines = Vec::new();
    let mut rows = Vec::new();
    for (position, instance) in instances.iter().enumerate() {
        if limit.reason().is_some() {
            break;
        }
        let timeout = instance.timeout.min(args.timeout.unwrap_or(f64::INFINITY));
        let (line, row) = one(
            instance,
            &args.folder,
            config.clone(),
            timeout,
            cancel.clone(),
            &device,
        );
        tracing::info!("{line}");
        lines.push(line);
        rows.push(row);
        if let Some(path) = &results_file {
            write_results(path, &lines)?;
        }
        span.record("position", position as u64 + 1);
    }
    show(&lines, &rows, report);
    if let Some(path) = &results_file {
        report.say(format!("wrote {}", path.display()));
    }
    let times = solved(&lines);
    if let Some(path) = args
        .common
        .out_file("cactus.svg")?
        .filter(|_| !times.is_empty())
    {
        cactus(&args.folder, &times, lines.len()).write(&path)?;
        report.say(format!("wrote {}", path.display()));
    }
    let stopped = limit.reason();
    if let Some(reason) = &stopped {
        report.say(format!("stopped early: {reason}"));
    }
    let seconds = start.elapsed().as_secs_f64();
    report.say(format!(
        "{} of {} instances decided; {seconds:.1} s",
        times.len(),
        lines.len()
    ));
    let count = |outcome| lines.iter().filter(|line| line.outcome == outcome).count();
    Ok(json!({
        "instances": lines.len(),
        "unsat": count(Outcome::Unsat),
        "sat": count(Outcome::Sat),
        "unknown": count(Outcome::Unknown),
        "timeout": count(Outcome::Timeout),
        "error": count(Outcome::Error),
        "stopped": stopped,
        "seconds": seconds,
        "results": rows,
    }))
}

/// Verifies one instance; what goes wrong becomes part of its row.
fn one(
    instance: &Instance,
    folder: &Path,
    config: VerifierConfig,
    timeout: f64,
    cancel: CancelToken,
    device: &burn::tensor::Device,
) -> (ResultRow, Benchmarked) {
    let start = Instant::now();
    let name = |path: &Path| path.strip_prefix(folder).unwrap_or(path).to_owned();
    let (network, spec) = (name(&instance.network), name(&instance.spec));
    let label = verify::instance(&network, &spec);
    let verified = verify::verify(
        &instance.network,
        &instance.spec,
        config,
        Some(timeout),
        cancel,
        None,
        device,
    );
    let seconds = start.elapsed().as_secs_f64();
    let (outcome, row, error) = match verified {
        Ok(verified) => {
            let verdict = &verified.found.verdict;
            let row = Row::new(
                METHOD,
                &label,
                Answer::from(verdict),
                verdict.bound(),
                seconds,
            );
            (verify::outcome(verdict), row, None)
        }
        Err(error) => {
            let row = Row::new(METHOD, &label, Answer::Unknown, f64::NEG_INFINITY, seconds);
            (Outcome::Error, row, Some(format!("{error:#}")))
        }
    };
    let category = folder.canonicalize().ok();
    let category = category.as_deref().and_then(Path::file_name);
    let line = ResultRow {
        category: category.map_or_else(String::new, |name| name.to_string_lossy().into_owned()),
        network: network.display().to_string(),
        spec: spec.display().to_string(),
        preparation: 0.0,
        outcome,
        seconds,
    };
    let row = Benchmarked {
        row,
        outcome: outcome.word(),
        error,
    };
    (line, row)
}

fn show(lines: &[ResultRow], rows: &[Benchmarked], report: &Report) {
    let mut table = Table::new(["network", "specification", "outcome", "bound", "seconds"]);
    for (line, row) in lines.iter().zip(rows) {
        table.row([
            table::text(&line.network),
            table::text(&line.spec),
            table::text(line.outcome.word()),
            row.row
                .bound
                .map_or_else(table::missing, |bound| table::decimal(bound, 4)),
            table::decimal(line.seconds, 2),
        ]);
    }
    report.table(&table);
    for row in rows {
        if let Some(error) = &row.error {
            report.say(format!("{}: {error}", row.row.instance));
        }
    }
}

/// Seconds of the instances that were decided, in ascending order.
fn solved(lines: &[ResultRow]) -> Vec<f64> {
    let decided = lines
        .iter()
        .filter(|line| matches!(line.outcome, Outcome::Sat | Outcome::Unsat));
    let mut times: Vec<f64> = decided.map(|line| line.seconds).collect();
    times.sort_by(f64::total_cmp);
    times
}

/// How many instances are decided if each may take so long.
fn cactus(folder: &Path, times: &[f64], all: usize) -> LineChart {
    // A logarithmic axis has no place for what took no measurable time.
    let point = |(rank, &seconds): (usize, &f64)| ((rank + 1) as f64, seconds.max(1e-3).into());
    LineChart {
        title: format!(
            "{}: {} of {all} instances decided",
            folder.display(),
            times.len()
        ),
        x: Axis::new("instances decided", Scale::Linear),
        y: Axis::new("seconds an instance", Scale::Logarithmic),
        series: vec![LineSeries {
            name: METHOD.into(),
            style: LineStyle::Line,
            points: times.iter().enumerate().map(point).collect(),
        }],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_decided_counts_as_solved() {
        let line = |outcome, seconds| ResultRow {
            category: String::new(),
            network: String::new(),
            spec: String::new(),
            preparation: 0.0,
            outcome,
            seconds,
        };
        let lines = [
            line(Outcome::Sat, 3.0),
            line(Outcome::Timeout, 1.0),
            line(Outcome::Unsat, 2.0),
            line(Outcome::Error, 0.0),
            line(Outcome::Unknown, 0.5),
        ];
        assert_eq!(solved(&lines), [2.0, 3.0]);
    }
}
