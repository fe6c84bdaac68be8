//! The default run: tokenizers of known mixtures, trained here on embedded text, and the mixtures recovered.

use std::time::Instant;

use anyhow::{Context, Result};
use bpe_inference::baselines;
use bpe_inference::intervals::{BootstrapConfig, Intervals, Resampling, bootstrap};
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
use crate::plot::{Axis, BarChart, BarSeries, Scale, Value};
use crate::report::Report;
use crate::table::{Table, percent, text};

const CATEGORIES: usize = 6;
const MERGES: usize = 1000;
const TRAINING_BYTES: f64 = 1e9;
const COUNTING_BYTES: f64 = 1e8;

/// One tokenizer and what was recovered from it.
struct Recovered {
    names: Vec<String>,
    truth: Vec<f64>,
    shares: Vec<f64>,
    intervals: Option<Intervals>,
    log10_mse: f64,
    baselines: [(&'static str, f64); 2],
    merges: usize,
}

/// Trains `trials` tokenizers on known mixtures of six of the embedded categories and recovers each from its first
/// `merges` merges (default 1,000); the first with intervals from `replicates` resamplings (0: none). Returns what `--json`
/// prints; with `--out`, draws the first mixture.
///
/// # Errors
/// Whatever the library or the file system brings.
pub fn run(
    trials: usize,
    merges: Option<usize>,
    replicates: usize,
    common: &CommonArgs,
    report: &Report,
) -> Result<Json> {
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
    let span = tracing::info_span!("tokenizers", position = 0_u64, length = trials as u64);
    let _guard = span.enter();
    let mut recovered = Vec::new();
    for k in 0..trials {
        let mut rng = StdRng::seed_from_u64(common.seed.wrapping_add(k as u64));
        let replicates = if k == 0 { replicates } else { 0 };
        recovered.push(recover(
            &categories,
            merges.unwrap_or(MERGES),
            replicates,
            &mut rng,
        )?);
        span.record("position", k as u64 + 1);
    }
    drop(_guard);
    let first = recovered.first().context("at least one trial")?;
    show(first, report);
    if let Some(path) = common.out_file("mixture.svg")? {
        draw(first, &path)?;
        report.say(format!("wrote {}", path.display()));
    }
    let seconds = start.elapsed().as_secs_f64();
    summary(&recovered, seconds, report);
    json_of(&recovered, seconds)
}

fn recover(
    all: &[Category],
    merges: usize,
    replicates: usize,
    rng: &mut StdRng,
) -> Result<Recovered> {
    let mut chosen = all.to_vec();
    chosen.shuffle(rng);
    chosen.truncate(CATEGORIES);
    let truth = sample_simplex(chosen.len(), rng)?;
    let words = sample_mixture(&chosen, &truth, TRAINING_BYTES, rng)?;
    let (tokenizer, _) = BpeTrainer::new(merges).train(&words)?;

    let sample = sample_categories(&chosen, COUNTING_BYTES, rng)?;
    let options = TraceOptions::default();
    let trace = PairTrace::build(&tokenizer, &sample, merges, &options)?;
    let inference = MixtureInference::new(InferenceConfig::new().with_merges(merges));
    let estimate = inference.run(&trace)?;
    let intervals = match replicates {
        0 => None,
        replicates => {
            let config = BootstrapConfig {
                replicates,
                ..BootstrapConfig::default()
            };
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
                "tokenizer": k + 1, "log10_mse": one.log10_mse, "tc_log10_mse": tc, "uniform_log10_mse": uniform,
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
