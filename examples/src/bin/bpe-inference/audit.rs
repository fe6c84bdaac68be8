//! A tokenizer against samples of candidate text.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bpe_inference::inference::{
    MissingPolicy, StopReason, Violation, ViolationKind, recommended_merges,
};
use bpe_inference::intervals::{BootstrapConfig, Intervals, Resampling, bootstrap};
use bpe_inference::lp::{Limits, LpError, LpSolution, LpSolver, LpState, MixtureLp};
use bpe_inference::merges::{MergeList, MergeReport};
use bpe_inference::pretokenizer::{self, PretokenizerScore, TextPipeline};
use bpe_inference::ranges::{JointRange, joint_ranges, ranges};
use bpe_inference::{Error, Estimate, InferenceConfig, MixtureInference, PairTrace, TraceOptions};
use fire_assay_examples::{Limit, SolverChoice, interrupt};

use crate::samples::Samples;

/// Fewer blocks are not redrawn: a replicate might hold none of them.
const FEWEST_BLOCKS: usize = 20;
/// The worst explained merges and pairs that an audit names.
const WORST: usize = 10;
/// The most merges that are used unless the user says so.
const MOST_MERGES: usize = 30_000;

/// How an audit is made.
pub(crate) struct Settings {
    pub(crate) merges: Option<usize>,
    /// Numbers of merges to pass through, where they are not the library's.
    pub(crate) schedule: Option<Vec<usize>>,
    pub(crate) bootstrap: usize,
    pub(crate) ranges: Option<f64>,
    pub(crate) solver: SolverChoice,
    pub(crate) sections: bool,
    /// What a category means that has none of the merges.
    pub(crate) unmatched: MissingPolicy,
    /// The folder of the checkpoints.
    pub(crate) checkpoint: Option<PathBuf>,
    /// The time of one audit, reading the samples included.
    pub(crate) time: Option<Duration>,
    pub(crate) seed: u64,
}

/// What is audited.
pub(crate) struct Tokenizer {
    pub(crate) name: String,
    pub(crate) list: MergeList,
    pub(crate) report: MergeReport,
    pub(crate) pipeline: TextPipeline,
    /// How well the known pretokenizers fit, best first.
    pub(crate) diagnosis: Vec<PretokenizerScore>,
}

impl Tokenizer {
    /// A tokenizer with the pipeline that is given, else the one that its file states, else the preset that explains its
    /// vocabulary best.
    ///
    /// # Errors
    /// If nothing is given or stated and no preset fits its alphabet.
    pub(crate) fn new(
        name: impl Into<String>,
        list: MergeList,
        report: MergeReport,
        pipeline: Option<TextPipeline>,
    ) -> Result<Self> {
        let diagnosis = pretokenizer::diagnose(&list, &TextPipeline::presets());
        let pipeline = match pipeline.or_else(|| TextPipeline::from_spec(&report.spec)) {
            Some(pipeline) => pipeline,
            None => {
                let best = diagnosis.first();
                let best = best.context("no pretokenizer fits this alphabet")?;
                best.name.parse()?
            }
        };
        Ok(Self {
            name: name.into(),
            list,
            report,
            pipeline,
            diagnosis,
        })
    }
}

/// What was redrawn for the intervals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Redrawn {
    Blocks,
    Words,
}

impl Redrawn {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Blocks => "blocks",
            Self::Words => "words",
        }
    }
}

/// What the merges leave open.
pub(crate) struct Ranges {
    /// By category.
    pub(crate) shares: Vec<(f64, f64)>,
    /// Of sums of two categories that cannot be told apart.
    pub(crate) joint: Vec<JointRange>,
}

/// What an audit found.
pub(crate) struct Audit {
    pub(crate) tokenizer: String,
    pub(crate) pretokenizer: String,
    pub(crate) merge_report: MergeReport,
    pub(crate) diagnosis: Vec<PretokenizerScore>,
    pub(crate) estimate: Estimate,
    pub(crate) intervals: Option<(Intervals, Redrawn)>,
    pub(crate) ranges: Option<Ranges>,
    /// The merges and pairs that are explained worst, largest slack first.
    pub(crate) violations: Vec<Violation>,
    /// The merges that no category has, in order.
    pub(crate) missing: Vec<Violation>,
    pub(crate) warnings: Vec<String>,
    pub(crate) seconds: f64,
}

/// Runs the whole audit within the limit: the estimate first, then intervals and ranges as far as time allows.
///
/// # Errors
/// Whatever the library or the file system brings, and if the limit leaves no time for any estimate.
pub(crate) fn run(
    tokenizer: Tokenizer,
    samples: &Samples,
    settings: &Settings,
    limit: &Limit,
) -> Result<Audit> {
    let start = Instant::now();
    let list = &tokenizer.list;
    let allows = |left: &[u8], right: &[u8]| tokenizer.pipeline.pairs.allows(left, right);
    let counting = TraceOptions::default()
        .with_filter(&allows)
        .with_cancel(limit.flag());
    let trace = {
        let options = match &settings.checkpoint {
            Some(folder) => counting.with_checkpoints(folder),
            None => counting,
        };
        let steps = settings.merges.unwrap_or(MOST_MERGES);
        let trace = PairTrace::build(list, &samples.categories, steps, &options);
        if let Err(Error::Cancelled { .. }) = trace {
            limit.check("counting pairs")?;
        }
        trace?
    };
    let merges = settings
        .merges
        .unwrap_or_else(|| recommended_merges(&trace))
        .min(trace.steps());
    let mut warnings = Vec::new();
    if let Some(asked) = settings.merges.filter(|&asked| asked > merges) {
        warnings.push(format!(
            "{asked} merges were asked for; the list has {merges}"
        ));
    }
    let mut config = inference_config(merges, settings);
    if let Some(schedule) = &settings.schedule {
        config = config.with_schedule(schedule.clone());
    }
    let (estimate, program) = infer(&tokenizer, &trace, config.clone(), settings, limit)?;
    warnings.extend(estimate.warnings.iter().map(ToString::to_string));
    if estimate.stop == StopReason::TimeLimit || program.is_none() {
        warnings.push(format!(
            "the estimate is that of round {} and not final: {}",
            estimate.rounds,
            limit.reason().unwrap_or_default(),
        ));
    }

    let mut intervals = None;
    if settings.bootstrap > 0 && program.is_some() {
        let (resampling, redrawn) = match too_short(samples) {
            None => (Resampling::Blocks(&samples.blocks), Redrawn::Blocks),
            Some(short) => {
                warnings.push(format!(
                    "{short}: single words were redrawn, which makes the intervals of real text far too narrow"
                ));
                (Resampling::Words, Redrawn::Words)
            }
        };
        let config = BootstrapConfig {
            replicates: settings.bootstrap,
            seed: settings.seed,
            ..BootstrapConfig::default()
        };
        let inference = MixtureInference::new(inference_config(estimate.merges, settings))
            .with_solver(settings.solver.make()?)
            .with_sections_of(list)
            .with_cancel(limit.flag());
        let categories = &samples.categories;
        match bootstrap(
            list, categories, &counting, &inference, &estimate, resampling, &config,
        ) {
            Ok(found) => intervals = Some((found, redrawn)),
            Err(Error::Cancelled { .. }) => warnings.push(left_out("intervals", limit)),
            Err(error) => return Err(error.into()),
        }
    }
    let mut bounds = None;
    if let (Some(slack), Some(program)) = (settings.ranges, &program) {
        let solver = Limited {
            solver: settings.solver.make()?,
            limit,
        };
        let basis = config.basis;
        let found = ranges(program, &trace, &estimate, basis, &solver, slack).and_then(|shares| {
            let joint = joint_ranges(program, &trace, &estimate, basis, &solver, slack)?;
            Ok(Ranges { shares, joint })
        });
        match found {
            Ok(found) => bounds = Some(found),
            Err(Error::Lp(LpError::Cancelled)) => warnings.push(left_out("ranges", limit)),
            Err(error) => return Err(error.into()),
        }
    }
    let (missing, mut violations): (Vec<_>, Vec<_>) = estimate
        .violations(list, &trace, usize::MAX)
        .into_iter()
        .partition(|violation| violation.kind == ViolationKind::Missing);
    violations.truncate(WORST);
    Ok(Audit {
        tokenizer: tokenizer.name,
        pretokenizer: tokenizer.pipeline.to_string(),
        merge_report: tokenizer.report,
        diagnosis: tokenizer.diagnosis,
        intervals,
        ranges: bounds,
        violations,
        missing,
        warnings,
        seconds: start.elapsed().as_secs_f64(),
        estimate,
    })
}

/// The estimate, and the last program where the inference came to its end.
fn infer(
    tokenizer: &Tokenizer,
    trace: &PairTrace,
    mut config: InferenceConfig,
    settings: &Settings,
    limit: &Limit,
) -> Result<(Estimate, Option<MixtureLp>)> {
    config.stop.time = limit.remaining();
    let mut inference = MixtureInference::new(config)
        .with_solver(settings.solver.make()?)
        .with_sections_of(&tokenizer.list)
        // Not the limit's flag: when time is up the inference ends by itself, with an estimate.
        .with_cancel(interrupt::interrupted());
    let checkpoint = settings
        .checkpoint
        .as_ref()
        .map(|folder| checkpoint_file(folder, &tokenizer.name));
    if let Some(path) = &checkpoint {
        inference = inference.with_checkpoint(path);
    }
    match inference.run_exporting(trace) {
        Ok((estimate, _)) if estimate.rounds == 0 && estimate.stop == StopReason::TimeLimit => {
            limit.check("looking for the first estimate")?;
            bail!("there was no time for an estimate")
        }
        Ok((estimate, program)) => Ok((estimate, Some(program))),
        Err(Error::Cancelled {
            partial: Some(partial),
        }) => Ok((*partial, None)),
        Err(Error::Cancelled { partial: None }) => {
            bail!("interrupted before there was an estimate")
        }
        Err(error @ (Error::VersionMismatch { .. } | Error::Parse { .. })) => {
            let path = checkpoint.unwrap_or_default();
            Err(error).with_context(|| {
                format!(
                    "the checkpoint {} belongs to another audit or version, or is damaged: remove it or name \
                     another folder",
                    path.display()
                )
            })
        }
        Err(error) => Err(error.diagnosed(&tokenizer.list).into()),
    }
}

/// Where the state of the inference of a tokenizer lies.
fn checkpoint_file(folder: &Path, tokenizer: &str) -> PathBuf {
    folder.join(format!("{tokenizer}.inference"))
}

/// How an estimate of so many merges is made, and every replicate of it: without a time and a schedule of its own.
fn inference_config(merges: usize, settings: &Settings) -> InferenceConfig {
    InferenceConfig::new()
        .with_merges(merges)
        .with_unmatched(settings.unmatched)
        .with_sections(settings.sections)
}

/// Which category is too short to be redrawn by blocks, if one is.
fn too_short(samples: &Samples) -> Option<String> {
    let pairs = samples.categories.iter().zip(&samples.blocks);
    let short = pairs
        .filter(|(_, blocks)| blocks.len() < FEWEST_BLOCKS)
        .min_by_key(|(_, blocks)| blocks.len());
    short.map(|(category, blocks)| {
        format!(
            "`{}` has too little text to be redrawn in blocks ({} of them)",
            category.name,
            blocks.len()
        )
    })
}

fn left_out(what: &str, limit: &Limit) -> String {
    let reason = limit.reason().unwrap_or_default();
    format!("the {what} are left out: {reason}")
}

/// A solver that is cancelled when the limit of the audit is reached.
struct Limited<'a> {
    solver: Box<dyn LpSolver>,
    limit: &'a Limit,
}

impl LpSolver for Limited<'_> {
    fn name(&self) -> &'static str {
        self.solver.name()
    }

    fn solve(
        &self,
        lp: &MixtureLp,
        warm: Option<&LpState>,
        limits: &Limits<'_>,
    ) -> Result<LpSolution, LpError> {
        let limits = Limits {
            time: limits.time.into_iter().chain(self.limit.remaining()).min(),
            cancel: Some(self.limit.flag()),
        };
        match self.solver.solve(lp, warm, &limits) {
            Err(LpError::TimeLimit) => Err(LpError::Cancelled),
            solved => solved,
        }
    }
}
