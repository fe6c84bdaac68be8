//! The default run: tokenizers of known mixtures, trained here on embedded text, and the mixtures recovered.

use std::time::Instant;

use anyhow::{Context, Result};
use bpe_inference::baselines;
use bpe_inference::intervals::{BootstrapConfig, Intervals, Resampling, bootstrap};
use bpe_inference::lp::MixtureLp;
#[cfg(feature = "burn")]
use bpe_inference::lp::{Limits, LpSolver as _};
use bpe_inference::metrics::{log10_mse, sample_simplex};
use bpe_inference::pretokenizer::TextPipeline;
use bpe_inference::synth::{sample_categories, sample_mixture};
use bpe_inference::{
    BpeTrainer, Category, InferenceConfig, MixtureInference, PairTrace, TraceOptions, WordCounts,
};
use fire_assay_datasets::embedded;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use serde_json::{Map, Value as Json, json};

use crate::args::CommonArgs;
use crate::device::DeviceName;
use crate::plot::{Axis, BarChart, BarSeries, Scale, Value};
use crate::report::Report;
use crate::solver::SolverChoice;
use crate::table::{Table, percent, text};

const CATEGORIES: usize = 6;
const MERGES: usize = 1000;
const TRAINING_BYTES: f64 = 1e9;
const COUNTING_BYTES: f64 = 1e8;

/// What the default run does.
#[derive(Clone, Debug)]
pub struct Options {
    /// Tokenizers to train, each on a mixture of its own. Default 3.
    pub trials: usize,
    /// Merges that each learns and is attacked by. Default `None`: 1,000.
    pub merges: Option<usize>,
    /// Resamplings behind the intervals of the first one; 0 for no intervals. Default 20.
    pub replicates: usize,
    /// What solves the linear programs. Default: the library's own solver.
    pub solver: SolverChoice,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            trials: 3,
            merges: None,
            replicates: 20,
            solver: SolverChoice::default(),
        }
    }
}

/// One tokenizer and what was recovered from it.
struct Recovered {
    names: Vec<String>,
    truth: Vec<f64>,
    shares: Vec<f64>,
    intervals: Option<Intervals>,
    log10_mse: f64,
    baselines: [(&'static str, f64); 2],
    merges: usize,
    /// The weights of the linear program, and the program.
    alpha: Vec<f64>,
    program: MixtureLp,
}

/// Trains tokenizers on known mixtures of six of the embedded categories and recovers each from its merges. Returns what
/// `--json` prints; with `--out`, draws the first mixture. With `--device`, solves the last program of the first
/// tokenizer on that device too and compares the weights.
///
/// # Errors
/// Whatever the library or the file system brings.
pub fn run(options: &Options, common: &CommonArgs, report: &Report) -> Result<Json> {
    let start = Instant::now();
    let texts = embedded::languages().into_iter().chain(embedded::code());
    let pipeline = TextPipeline::hf_trained();
    let categories: Vec<Category> = texts
        .map(|text| {
            let mut builder = WordCounts::builder(&pipeline);
            builder.add_str(&text.text)?;
            Ok(Category::new(text.name, builder.finish()?))
        })
        .collect::<Result<_>>()?;
    report.say(format!(
        "Tokenizers trained on {:.0} MB of known mixtures of {CATEGORIES} of {} embedded categories, recovered from \
         their merge lists\nand an independent sample of {:.0} MB a category (both redrawn from the embedded text's word \
         counts).",
        TRAINING_BYTES / 1e6,
        categories.len(),
        COUNTING_BYTES / 1e6
    ));
    let span = tracing::info_span!(
        "tokenizers",
        position = 0_u64,
        length = options.trials as u64
    );
    let mut recovered = Vec::new();
    span.in_scope(|| -> Result<()> {
        for k in 0..options.trials {
            recovered.push(recover(&categories, options, common.seed, k)?);
            span.record("position", k as u64 + 1);
        }
        Ok(())
    })?;
    let first = recovered.first().context("at least one trial")?;
    show(first, report);
    if let Some(path) = common.out_file("mixture.svg")? {
        draw(first, &path)?;
        report.say(format!("wrote {}", path.display()));
    }
    let check = if options.solver.uses_device() {
        None
    } else {
        common
            .device
            .map(|device| on_device(first, device, report))
            .transpose()?
    };
    let seconds = start.elapsed().as_secs_f64();
    summary(&recovered, seconds, report);
    let mut object = json_of(&recovered, seconds)?;
    if let Some(check) = check {
        object["device"] = check;
    }
    Ok(object)
}

/// Solves a program again with the first-order solver on a device.
#[cfg(feature = "burn")]
fn on_device(recovered: &Recovered, device: DeviceName, report: &Report) -> Result<Json> {
    let solver = crate::solver::first_order(Some(device))?;
    let start = Instant::now();
    let solution = solver.solve(&recovered.program, None, &Limits::default())?;
    let seconds = start.elapsed().as_secs_f64();
    let pairs = solution.state.alpha.iter().zip(&recovered.alpha);
    let difference = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    report.say(format!(
        "on {device}: the first-order solver took {seconds:.1} s and {} iterations for the {} rows; its weights differ by \
         at most {difference:.1e}",
        solution.iterations,
        recovered.program.rows()
    ));
    Ok(json!({
        "name": device.to_string(), "solver": solver.name(), "rows": recovered.program.rows(),
        "iterations": solution.iterations, "largest-difference": difference, "seconds": seconds,
    }))
}

/// Without devices there is no name of one.
#[cfg(not(feature = "burn"))]
fn on_device(_recovered: &Recovered, device: DeviceName, _report: &Report) -> Result<Json> {
    match device {}
}

/// The `k`-th tokenizer of a run with this seed.
fn recover(all: &[Category], run: &Options, seed: u64, k: usize) -> Result<Recovered> {
    let merges = run.merges.unwrap_or(MERGES);
    let rng = &mut StdRng::seed_from_u64(seed.wrapping_add(k as u64));
    let mut chosen = all.to_vec();
    chosen.shuffle(rng);
    chosen.truncate(CATEGORIES);
    let truth = sample_simplex(chosen.len(), rng)?;
    let words = sample_mixture(&chosen, &truth, TRAINING_BYTES, rng)?;
    let (tokenizer, _) = BpeTrainer::new(merges).train(&words)?;

    let sample = sample_categories(&chosen, COUNTING_BYTES, rng)?;
    let options = TraceOptions::default();
    let trace = PairTrace::build(&tokenizer, &sample, merges, &options)?;
    let inference = MixtureInference::new(InferenceConfig::new().with_merges(merges))
        .with_solver(run.solver.make()?);
    let (estimate, program) = inference.run_exporting(&trace)?;
    let intervals = match run.replicates {
        0 => None,
        _ if k > 0 => None,
        replicates => {
            let config = BootstrapConfig {
                replicates,
                seed,
                ..BootstrapConfig::default()
            };
            // The counting sample is drawn word by word, so words are what is independent in it.
            let words = Resampling::Words;
            Some(bootstrap(
                &tokenizer, &sample, &options, &inference, &estimate, words, &config,
            )?)
        }
    };
    let shares = estimate.byte_shares();
    let tc = baselines::token_classification(&tokenizer, &sample)?;
    Ok(Recovered {
        log10_mse: log10_mse(&shares, &truth)?,
        baselines: [
            ("tc", log10_mse(&tc, &truth)?),
            (
                "uniform",
                log10_mse(&baselines::uniform(truth.len()), &truth)?,
            ),
        ],
        names: sample.into_iter().map(|category| category.name).collect(),
        truth,
        shares,
        intervals,
        merges: estimate.merges,
        alpha: estimate.alpha,
        program,
    })
}

fn show(recovered: &Recovered, report: &Report) {
    let mut table = Table::new(["category", "true", "estimated", "90 % interval"]);
    for (i, name) in recovered.names.iter().enumerate() {
        let interval = recovered
            .intervals
            .as_ref()
            .map_or(String::new(), |intervals| {
                let interval = intervals.shares[i];
                format!(
                    "{:.3} to {:.3} %",
                    100.0 * interval.low,
                    100.0 * interval.high
                )
            });
        table.row([
            text(name),
            percent(recovered.truth[i], 3),
            percent(recovered.shares[i], 3),
            text(interval),
        ]);
    }
    report.table(&table);
}

fn draw(recovered: &Recovered, path: &std::path::Path) -> Result<()> {
    let estimated = recovered.shares.iter().enumerate().map(|(i, &share)| {
        Some(match &recovered.intervals {
            Some(intervals) => {
                Value::with_interval(share, intervals.shares[i].low, intervals.shares[i].high)
            }
            None => share.into(),
        })
    });
    BarChart {
        title: "True and estimated training mixture".into(),
        axis: Axis::new("share of bytes", Scale::Percent),
        categories: recovered.names.clone(),
        series: vec![
            BarSeries {
                name: "true".into(),
                values: recovered
                    .truth
                    .iter()
                    .map(|&share| Some(share.into()))
                    .collect(),
            },
            BarSeries {
                name: "estimated".into(),
                values: estimated.collect(),
            },
        ],
    }
    .write(path)?;
    Ok(())
}

fn summary(recovered: &[Recovered], seconds: f64, report: &Report) {
    let mut table = Table::new([
        "tokenizer",
        "log10 MSE",
        "token classification",
        "uniform guess",
    ]);
    for (k, one) in recovered.iter().enumerate() {
        let cell = |value: f64| text(format!("{value:.2}"));
        let [(_, tc), (_, uniform)] = one.baselines;
        table.row([
            text((k + 1).to_string()),
            cell(one.log10_mse),
            cell(tc),
            cell(uniform),
        ]);
    }
    report.table(&table);
    report.say(format!("{seconds:.1} s"));
}

fn json_of(recovered: &[Recovered], seconds: f64) -> Result<Json> {
    let first = recovered.first().context("at least one trial")?;
    let mut mixture = Map::new();
    for (i, name) in first.names.iter().enumerate() {
        let interval = first
            .intervals
            .as_ref()
            .map(|intervals| intervals.shares[i]);
        mixture.insert(
            name.clone(),
            json!({
                "true": first.truth[i],
                "estimated": first.shares[i],
                "low": interval.map(|interval| interval.low),
                "high": interval.map(|interval| interval.high),
            }),
        );
    }
    let best = |one: &Recovered| {
        one.baselines
            .iter()
            .map(|baseline| baseline.1)
            .fold(f64::INFINITY, f64::min)
    };
    let results: Vec<Json> = recovered
        .iter()
        .enumerate()
        .map(|(k, one)| {
            let [(_, tc), (_, uniform)] = one.baselines;
            json!({
                "tokenizer": k + 1, "log10_mse": one.log10_mse, "tc-log10-mse": tc, "uniform-log10-mse": uniform,
            })
        })
        .collect();
    Ok(json!({
        "log10_mse": first.log10_mse,
        "baseline_log10_mse": best(first),
        "mixture": mixture,
        "merges_used": first.merges,
        "seconds": seconds,
        "results": results,
    }))
}
