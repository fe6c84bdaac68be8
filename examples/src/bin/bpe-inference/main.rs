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
mod reference;
mod samples;
mod trial;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use audit::Tokenizer;
use bpe_inference::inference::MissingPolicy;
use bpe_inference::merges::{Format, MergeList, ReadOptions};
use bpe_inference::pretokenizer::TextPipeline;
use clap::builder::PossibleValuesParser;
use clap::{ArgGroup, Parser};
use corpora::Domains;
use experiments::Experiment;
use fire_assay_examples::program::{self, UsageError};
use fire_assay_examples::report::Report;
use fire_assay_examples::{CommonArgs, Limit, SolverChoice, solver, stops};
use serde_json::Value;

/// The options that audit no file of the user's. clap drops a requirement that a given option excludes, so what needs
/// such a file excludes them as well.
const WITHOUT_FILE: [&str; 2] = ["experiment", "commercial"];

/// What was this tokenizer trained on? Infers the mixture of categories behind a BPE tokenizer's merge list.
///
/// With no arguments: trains tokenizers on known mixtures of embedded text and recovers them. With --tokenizer and
/// --data: audits a tokenizer file against samples of text. With --experiment: repeats an experiment of the paper on
/// the data kit. With --commercial: audits the tokenizers of the data kit.
///
/// Ctrl-C ends an audit with the best estimate so far; a second one ends the program.
#[derive(Parser)]
#[command(version)]
#[command(group(ArgGroup::new("audit").args(["tokenizer", "commercial"])))]
struct Args {
    #[command(flatten)]
    common: CommonArgs,

    /// The tokenizer: tokenizer.json, merges.txt, vocab.bpe, .tiktoken, tekken.json, .model, .gguf
    #[arg(
        long,
        value_name = "FILE",
        requires = "data",
        conflicts_with = "experiment"
    )]
    tokenizer: Option<PathBuf>,

    /// Format of the tokenizer file: auto, or one of the names that an unknown one lists
    #[arg(long, default_value = "auto", requires = "tokenizer", conflicts_with_all = WITHOUT_FILE)]
    format: Auto<Format>,

    /// Candidate text: NAME=PATH for each category (a file or a folder), or one folder with an entry a category
    #[arg(long, value_name = "NAME=PATH", num_args = 1.., requires = "tokenizer", conflicts_with_all = WITHOUT_FILE)]
    data: Vec<String>,

    /// How the tokenizer cuts text: auto, a preset (gpt2, cl100k, o200k, llama ...) or regex:PATTERN
    #[arg(long, default_value = "auto", requires = "tokenizer", conflicts_with_all = WITHOUT_FILE)]
    pretokenizer: Auto<TextPipeline>,

    /// Merges to use as evidence; in an audit several numbers, of which the largest counts and the estimate is also
    /// shown for the others [default: as many as the samples support, at most 30000; 1000 in the default run]
    #[arg(long, value_name = "T", value_delimiter = ',', value_parser = at_least::<1>)]
    merges: Vec<usize>,

    /// Leave out the merges that this tokenizer has too: audit only what an extension added
    #[arg(long, value_name = "FILE", requires = "tokenizer", conflicts_with_all = WITHOUT_FILE)]
    extends: Option<PathBuf>,

    /// Replicates of the bootstrap behind the intervals, 2 or more; 0 for no intervals
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = replicates, conflicts_with = "experiment")]
    bootstrap: usize,

    /// Also report the range of each share over all mixtures whose objective is at most this fraction above the best
    #[arg(long, value_name = "SLACK", value_parser = fraction, requires = "audit", conflicts_with = "experiment")]
    ranges: Option<f64>,

    /// Solver of the linear programs; pdhg computes on the device
    #[arg(
        long,
        default_value = "structured-ipm",
        value_parser = PossibleValuesParser::new(solver::names()),
        conflicts_with = "experiment"
    )]
    solver: String,

    /// Assume nothing about the order of merges within sections that do not overlap (reordered merge lists)
    #[arg(long, requires = "audit", conflicts_with = "experiment")]
    sections: bool,

    /// Save counts and the state of the inference in this folder, and resume from them
    #[arg(
        long,
        value_name = "DIR",
        requires = "audit",
        conflicts_with = "experiment"
    )]
    checkpoint: Option<PathBuf>,

    /// End an audit after so many seconds, reading included, with the best estimate so far; with --commercial each
    #[arg(long, value_name = "SECONDS", value_parser = seconds, requires = "audit", conflicts_with = "experiment")]
    time_limit: Option<Duration>,

    /// Write the merge list, rebuilt in training order, as a merges.txt
    #[arg(long, value_name = "FILE", requires = "tokenizer", conflicts_with_all = WITHOUT_FILE)]
    export_merges: Option<PathBuf>,

    /// Repeat an experiment of the paper
    #[arg(long, value_enum, conflicts_with = "device")]
    experiment: Option<Experiment>,

    /// Audit the tokenizers of the data kit
    #[arg(long, conflicts_with = "experiment")]
    commercial: bool,

    /// With --commercial: every language of the kit and every programming language as a category of its own
    #[arg(long, requires = "commercial", conflicts_with_all = ["experiment", "tokenizer"])]
    wide: bool,

    /// With --commercial: only these tokenizers
    #[arg(
        long,
        value_name = "NAME",
        value_delimiter = ',',
        value_parser = PossibleValuesParser::new(commercial::names()),
        requires = "commercial",
        conflicts_with_all = ["experiment", "tokenizer"]
    )]
    only: Vec<String>,

    /// Mixtures to try, in the default run and in experiments [default: 3 and 20]
    #[arg(long, value_name = "N", value_parser = at_least::<1>, conflicts_with = "audit")]
    trials: Option<usize>,

    /// Numbers of categories in an experiment's mixtures
    #[arg(
        long,
        value_name = "N",
        value_delimiter = ',',
        default_values_t = [5, 10],
        value_parser = at_least::<2>,
        requires = "experiment",
        conflicts_with = "audit"
    )]
    sizes: Vec<usize>,

    /// Merges of the tokenizers that experiments train; the baselines use all of them
    #[arg(
        long,
        value_name = "N",
        default_value_t = 10_000,
        value_parser = at_least::<1>,
        requires = "experiment",
        conflicts_with = "audit"
    )]
    vocabulary: usize,

    /// Bytes of text that experiments use of each category, training and counting together
    #[arg(
        long,
        value_name = "BYTES",
        default_value_t = 8_000_000,
        value_parser = at_least::<1>,
        requires = "experiment",
        conflicts_with = "audit"
    )]
    max_bytes: usize,

    /// English domains of --experiment domains: the five large ones, or all eight of the kit
    #[arg(
        long,
        value_enum,
        default_value_t,
        requires = "experiment",
        conflicts_with = "audit"
    )]
    domains: Domains,
}

impl AsRef<CommonArgs> for Args {
    fn as_ref(&self) -> &CommonArgs {
        &self.common
    }
}

/// `auto`, or something that is named.
#[derive(Clone, Debug)]
enum Auto<T> {
    Auto,
    Is(T),
}

impl<T> Auto<T> {
    fn given(&self) -> Option<&T> {
        match self {
            Self::Auto => None,
            Self::Is(given) => Some(given),
        }
    }
}

impl FromStr for Auto<Format> {
    type Err = serde_json::Error;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "auto" => Ok(Self::Auto),
            name => serde_json::from_value(name.into()).map(Self::Is),
        }
    }
}

impl FromStr for Auto<TextPipeline> {
    type Err = bpe_inference::Error;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "auto" => Ok(Self::Auto),
            name => name.parse().map(Self::Is),
        }
    }
}

fn at_least<const LEAST: usize>(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if number >= LEAST => Ok(number),
        _ => Err(format!("must be a whole number of at least {LEAST}")),
    }
}

fn replicates(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if number != 1 => Ok(number),
        _ => Err("must be 0 or a whole number of at least 2".into()),
    }
}

fn fraction(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number >= 0.0 => Ok(number),
        _ => Err("must be a finite number of at least 0".into()),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let number = text.parse().map_err(|error| format!("{error}"))?;
    Duration::try_from_secs_f64(number).map_err(|error| error.to_string())
}

fn main() -> ExitCode {
    program::run(run)
}

fn run(args: &Args, report: &Report) -> Result<Value> {
    let solver = SolverChoice::new(args.solver.clone(), args.common.device);
    if args.tokenizer.is_some() || args.commercial {
        if args.common.device.is_some() && !solver.uses_device() {
            let message = "--device: of an audit only `--solver pdhg` computes on a device";
            return Err(UsageError(message.into()).into());
        }
        let settings = audit_settings(args, solver);
        return match &args.tokenizer {
            Some(path) => audit_file(args, path, &settings, report),
            None => commercial::run(&settings, args.wide, &args.only, &args.common, report),
        };
    }
    let merges = match args.merges.as_slice() {
        [] => None,
        [merges] => Some(*merges),
        _ => {
            return Err(
                UsageError("--merges takes several numbers only in an audit".into()).into(),
            );
        }
    };
    match args.experiment {
        None => {
            let mut options = stops::bpe_inference::Options {
                merges,
                replicates: args.bootstrap,
                solver,
                ..Default::default()
            };
            if let Some(trials) = args.trials {
                options.trials = trials;
            }
            stops::bpe_inference::run(&options, &args.common, report)
        }
        Some(experiment) => {
            let settings = experiments::Settings {
                trials: args.trials.unwrap_or(20),
                sizes: args.sizes.clone(),
                merges,
                vocabulary: args.vocabulary,
                max_bytes: args.max_bytes,
                domains: args.domains,
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

fn audit_settings(args: &Args, solver: SolverChoice) -> audit::Settings {
    audit::Settings {
        merges: args.merges.iter().max().copied(),
        schedule: (args.merges.len() > 1).then(|| args.merges.clone()),
        bootstrap: args.bootstrap,
        ranges: args.ranges,
        solver,
        sections: args.sections,
        // The kit's categories are candidates for every tokenizer; a user's own are meant for this one.
        unmatched: match args.commercial {
            true => MissingPolicy::Skip,
            false => MissingPolicy::Error,
        },
        checkpoint: args.checkpoint.clone(),
        time: args.time_limit,
        seed: args.common.seed,
    }
}

/// Audits a user's tokenizer file.
fn audit_file(
    args: &Args,
    path: &Path,
    settings: &audit::Settings,
    report: &Report,
) -> Result<Value> {
    let limit = Limit::start(settings.time);
    let sources = samples::sources(&args.data)?;
    let format = args.format.given().copied();
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
    let name = path
        .file_name()
        .map_or_else(String::new, |n| n.to_string_lossy().into_owned());
    let pipeline = args.pretokenizer.given().cloned();
    let tokenizer = Tokenizer::new(name, list, merge_report, pipeline)
        .with_context(|| path.display().to_string())?;
    let blocks = settings.bootstrap > 0;
    let samples = samples::read(&sources, &tokenizer.pipeline, blocks, &limit)?;
    let audit = audit::run(tokenizer, &samples, settings, &limit)
        .with_context(|| format!("auditing {}", path.display()))?;
    present::audit(&audit, "", &args.common, report)?;
    present::audit_json(&audit)
}
