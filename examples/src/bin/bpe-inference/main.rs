//! What was this tokenizer trained on? Audits a tokenizer file with samples of candidate text, repeats the paper's
//! experiments, or, with no arguments, recovers the mixtures of tokenizers that it trains itself.

mod audit;
mod commercial;
mod corpora;
mod experiments;
mod findings;
mod paper;
mod pool;
mod present;
mod trial;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bpe_inference::merges::{Format, MergeList, ReadOptions};
use clap::Parser;
use experiments::Experiment;
use fire_assay_examples::program::{self, UsageError};
use fire_assay_examples::report::Report;
use fire_assay_examples::{CommonArgs, stops};
use serde_json::Value;

/// What was this tokenizer trained on? Infers the mixture of categories behind a BPE tokenizer's merge list.
///
/// With no arguments: trains tokenizers on known mixtures of embedded text and recovers them. With --tokenizer and
/// --data: audits a tokenizer file against samples of text. With --experiment: repeats an experiment of the paper on
/// the data kit. With --commercial: audits the tokenizers of the data kit.
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(flatten)]
    common: CommonArgs,

    /// The tokenizer: tokenizer.json, merges.txt, vocab.bpe, .tiktoken, tekken.json, .model, .gguf
    #[arg(long, value_name = "FILE", requires = "data", conflicts_with_all = ["experiment", "commercial"])]
    tokenizer: Option<PathBuf>,

    /// Format of the tokenizer file: auto, or one of the names that an unknown one lists
    #[arg(long, default_value = "auto")]
    format: String,

    /// Candidate text: NAME=PATH for each category (a file or a folder), or one folder with an entry a category
    #[arg(long, value_name = "NAME=PATH", num_args = 1..)]
    data: Vec<String>,

    /// How the tokenizer cuts text: auto, a preset (gpt2, cl100k, o200k, llama ...) or regex:PATTERN
    #[arg(long, default_value = "auto")]
    pretokenizer: String,

    /// Merges to use as evidence [default: as many as the samples support, at most 30000]
    #[arg(long, value_name = "T")]
    merges: Option<usize>,

    /// Leave out the merges that this tokenizer has too: audit only what an extension added
    #[arg(long, value_name = "FILE", requires = "tokenizer")]
    extends: Option<PathBuf>,

    /// Replicates of the bootstrap behind the intervals; 0 for none
    #[arg(long, value_name = "N", default_value_t = 20)]
    bootstrap: usize,

    /// Also report the range of each share over all mixtures whose objective is at most this fraction above the best
    #[arg(long, value_name = "SLACK")]
    ranges: Option<f64>,

    /// Solver of the linear programs
    #[arg(long, default_value = "structured-ipm", value_parser = clap::builder::PossibleValuesParser::new(bpe_inference::lp::solver_names()))]
    solver: String,

    /// Assume nothing about the order of merges within sections that do not overlap (reordered merge lists)
    #[arg(long)]
    sections: bool,

    /// Save the state of the inference here after each round, and resume from it
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,

    /// Stop after so many seconds with the best estimate so far
    #[arg(long, value_name = "SECONDS")]
    time_limit: Option<f64>,

    /// Write the merge list, rebuilt in training order, as a merges.txt
    #[arg(long, value_name = "FILE", requires = "tokenizer")]
    export_merges: Option<PathBuf>,

    /// Repeat an experiment of the paper
    #[arg(long, value_enum)]
    experiment: Option<Experiment>,

    /// Audit the tokenizers of the data kit
    #[arg(long, conflicts_with = "experiment")]
    commercial: bool,

    /// With --commercial: every language of the kit and every programming language as a category of its own
    #[arg(long, requires = "commercial")]
    wide: bool,

    /// With --commercial: only these tokenizers
    #[arg(
        long,
        value_name = "NAME",
        value_delimiter = ',',
        requires = "commercial"
    )]
    only: Vec<String>,

    /// Mixtures to try, in the default run and in experiments [default: 3 and 20]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    trials: Option<u64>,

    /// Numbers of categories in an experiment's mixtures
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [5, 10])]
    sizes: Vec<usize>,

    /// Merges of the tokenizers that experiments train; the baselines use all of them
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    vocabulary: usize,

    /// Bytes of text that experiments use of each category, training and counting together
    #[arg(long, value_name = "BYTES", default_value_t = 8_000_000)]
    max_bytes: usize,
}

impl AsRef<CommonArgs> for Args {
    fn as_ref(&self) -> &CommonArgs {
        &self.common
    }
}

fn main() -> ExitCode {
    program::run(run)
}

fn run(args: &Args, report: &Report) -> Result<Value> {
    if let Some(path) = &args.tokenizer {
        return audit_file(args, path, report);
    }
    if !args.data.is_empty() {
        return Err(UsageError("--data needs --tokenizer".into()).into());
    }
    if args.commercial {
        return commercial::run(
            &audit_settings(args)?,
            args.wide,
            &args.only,
            &args.common,
            report,
        );
    }
    let trials = |default| args.trials.map_or(default, |n| n as usize);
    match args.experiment {
        None => {
            stops::bpe_inference::run(trials(3), args.merges, args.bootstrap, &args.common, report)
        }
        Some(experiment) => {
            let settings = experiments::Settings {
                trials: trials(20),
                sizes: args.sizes.clone(),
                merges: args.merges,
                vocabulary: args.vocabulary,
                max_bytes: args.max_bytes,
                seed: args.common.seed,
            };
            let start = Instant::now();
            let findings = experiments::run(experiment, &settings)?;
            let name = clap::ValueEnum::to_possible_value(&experiment)
                .map_or_else(String::new, |value| value.get_name().to_owned());
            findings.publish(&name, start.elapsed().as_secs_f64(), &args.common, report)
        }
    }
}

fn audit_settings(args: &Args) -> Result<audit::Settings> {
    let time = args
        .time_limit
        .map(|seconds| {
            Duration::try_from_secs_f64(seconds)
                .map_err(|error| UsageError(format!("--time-limit {seconds}: {error}")))
        })
        .transpose()?;
    Ok(audit::Settings {
        merges: args.merges,
        bootstrap: args.bootstrap,
        ranges: args.ranges,
        solver: args.solver.clone(),
        sections: args.sections,
        checkpoint: args.checkpoint.clone(),
        time,
        seed: args.common.seed,
    })
}

/// Audits a user's tokenizer file.
fn audit_file(args: &Args, path: &std::path::Path, report: &Report) -> Result<Value> {
    let format = match args.format.as_str() {
        "auto" => None,
        name => Some(
            serde_json::from_value::<Format>(name.into())
                .with_context(|| format!("--format {name}"))?,
        ),
    };
    let (mut list, merge_report) = MergeList::load_with(path, format, &ReadOptions::default())
        .with_context(|| path.display().to_string())?;
    if let Some(base) = &args.extends {
        let (base, _) = MergeList::load(base).with_context(|| base.display().to_string())?;
        let shared = list.shared_prefix(&base);
        report.say(format!(
            "{shared} merges are those of the tokenizer that it extends"
        ));
        list = list.with_prefix(shared);
    }
    if let Some(target) = &args.export_merges {
        std::fs::write(target, list.to_merges_txt()?)
            .with_context(|| target.display().to_string())?;
        report.say(format!("wrote {}", target.display()));
    }
    let (pipeline, diagnosis) = audit::choose_pipeline(&args.pretokenizer, &list, &merge_report)?;
    let categories = audit::read_categories(&args.data, &pipeline)?;
    let name = path
        .file_name()
        .map_or_else(String::new, |n| n.to_string_lossy().into_owned());
    let settings = audit_settings(args)?;
    let audit = audit::run(
        &name,
        &list,
        merge_report,
        &pipeline,
        diagnosis,
        &categories,
        &settings,
    )?;
    present::audit(&audit, &args.common, report)?;
    present::audit_json(&audit)
}
