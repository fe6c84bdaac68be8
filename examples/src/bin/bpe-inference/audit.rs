//! A user's own tokenizer against a user's own samples of text.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use bpe_inference::inference::{Violation, recommended_merges};
use bpe_inference::intervals::{BootstrapConfig, Intervals, Resampling, bootstrap};
use bpe_inference::lp::solver_by_name;
use bpe_inference::merges::{MergeList, MergeReport, TokenizerSpec};
use bpe_inference::pretokenizer::{self, Pretokenizer, PretokenizerScore, TextPipeline};
use bpe_inference::ranges::{indistinguishable, ranges};
use bpe_inference::{
    Category, Estimate, InferenceConfig, MixtureInference, PairTrace, TraceOptions, WordCounts,
};
use serde::Serialize;

/// How an audit is made.
pub(crate) struct Settings {
    pub(crate) merges: Option<usize>,
    pub(crate) bootstrap: usize,
    pub(crate) ranges: Option<f64>,
    pub(crate) solver: String,
    pub(crate) sections: bool,
    pub(crate) checkpoint: Option<PathBuf>,
    pub(crate) time: Option<std::time::Duration>,
    pub(crate) seed: u64,
}

/// What an audit found.
#[derive(Serialize)]
pub(crate) struct Audit {
    pub(crate) tokenizer: String,
    pub(crate) pretokenizer: String,
    pub(crate) merge_report: MergeReport,
    pub(crate) diagnosis: Vec<PretokenizerScore>,
    pub(crate) estimate: Estimate,
    pub(crate) intervals: Option<Intervals>,
    pub(crate) ranges: Option<Vec<(f64, f64)>>,
    pub(crate) violations: Vec<Violation>,
    pub(crate) warnings: Vec<String>,
    pub(crate) seconds: f64,
}

/// Chooses the pipeline: by name, by what the file says, or the preset that explains the vocabulary best.
pub(crate) fn choose_pipeline(
    name: &str,
    list: &MergeList,
    report: &MergeReport,
) -> Result<(TextPipeline, Vec<PretokenizerScore>)> {
    let diagnosis = pretokenizer::diagnose(list, &TextPipeline::presets());
    if name != "auto" {
        let pipeline = name
            .parse()
            .with_context(|| format!("--pretokenizer {name}"))?;
        return Ok((pipeline, diagnosis));
    }
    if let Some(pipeline) = stated(&report.spec) {
        return Ok((pipeline, diagnosis));
    }
    let best = diagnosis
        .first()
        .context("no pretokenizer fits this alphabet")?;
    Ok((best.name.parse()?, diagnosis))
}

/// The pipeline that a tokenizer file states, where it is one that we know.
fn stated(spec: &TokenizerSpec) -> Option<TextPipeline> {
    if let Some(preset) = &spec.preset {
        return preset.parse().ok();
    }
    if let Some(pattern) = &spec.pattern {
        let presets = TextPipeline::presets();
        let known = presets
            .into_iter()
            .find(|p| p.pretokenizer.pattern() == Some(pattern));
        return known.or_else(|| {
            Pretokenizer::regex(pattern.clone())
                .ok()
                .map(TextPipeline::new)
        });
    }
    let pre_tokenizer = spec.pre_tokenizer.as_ref()?;
    let normalizer = spec.normalizer.as_ref().unwrap_or(&serde_json::Value::Null);
    TextPipeline::from_hugging_face(normalizer, pre_tokenizer)
}

/// Reads categories: `NAME=PATH` each, or one folder whose entries are the categories. A path is a file or a folder of
/// files.
pub(crate) fn read_categories(data: &[String], pipeline: &TextPipeline) -> Result<Vec<Category>> {
    let named: Vec<(String, PathBuf)> = match data {
        [folder] if !folder.contains('=') => entries(Path::new(folder))?,
        many => many
            .iter()
            .map(|item| match item.split_once('=') {
                Some((name, path)) if !name.is_empty() => Ok((name.to_owned(), path.into())),
                _ => bail!("--data takes NAME=PATH, or a single folder; `{item}` is neither"),
            })
            .collect::<Result<_>>()?,
    };
    let span = tracing::info_span!("reading", position = 0_u64, length = named.len() as u64);
    let _guard = span.enter();
    named
        .into_iter()
        .enumerate()
        .map(|(k, (name, path))| {
            let mut builder = WordCounts::builder(pipeline);
            builder
                .add_path(&path)
                .with_context(|| format!("category `{name}`"))?;
            span.record("position", k as u64 + 1);
            Ok(builder.finish_category(name)?)
        })
        .collect()
}

/// The entries of a folder, named by their file stem.
fn entries(folder: &Path) -> Result<Vec<(String, PathBuf)>> {
    let listing = std::fs::read_dir(folder)
        .with_context(|| format!("--data {}: not a folder that can be read", folder.display()))?;
    let mut found = Vec::new();
    for entry in listing {
        let path = entry?.path();
        let name = path
            .file_stem()
            .map(|stem| stem.to_string_lossy().into_owned());
        if let Some(name) = name.filter(|name| !name.starts_with('.')) {
            found.push((name, path));
        }
    }
    found.sort();
    ensure!(
        !found.is_empty(),
        "--data {}: the folder is empty",
        folder.display()
    );
    Ok(found)
}

/// Runs the whole audit.
pub(crate) fn run(
    name: &str,
    list: &MergeList,
    merge_report: MergeReport,
    pipeline: &TextPipeline,
    diagnosis: Vec<PretokenizerScore>,
    categories: &[Category],
    settings: &Settings,
) -> Result<Audit> {
    let start = std::time::Instant::now();
    let steps = settings.merges.unwrap_or(30_000);
    let allows = |left: &[u8], right: &[u8]| pipeline.pairs.allows(left, right);
    let options = TraceOptions::default().with_filter(&allows);
    let trace = PairTrace::build(list, categories, steps, &options)?;
    let mut warnings = Vec::new();
    let merges = settings
        .merges
        .unwrap_or_else(|| recommended_merges(&trace))
        .min(trace.steps());
    if let Some(asked) = settings.merges.filter(|&asked| asked > merges) {
        warnings.push(format!(
            "{asked} merges were asked for; the list has {merges}"
        ));
    }
    for (a, b) in indistinguishable(&trace, 0.999)? {
        let [a, b] = [a, b].map(|i| &trace.categories()[i].name);
        warnings.push(format!(
            "`{a}` and `{b}` have nearly the same pairs: only the sum of their shares is reliable"
        ));
    }
    let mut config = InferenceConfig::new()
        .with_merges(merges)
        .with_sections(settings.sections);
    config.stop.time = settings.time;
    let solver = solver_by_name(&settings.solver)?;
    let mut inference = MixtureInference::new(config)
        .with_solver(solver)
        .with_sections_of(list);
    if let Some(path) = &settings.checkpoint {
        inference = inference.with_checkpoint(path);
    }
    let (estimate, program) = inference
        .run_exporting(&trace)
        .map_err(|error| match error {
            // The library cannot know the pretokenizers that were tried; say which would fit.
            bpe_inference::Error::MergeMismatch { steps, .. } => {
                bpe_inference::Error::MergeMismatch {
                    steps,
                    diagnosis: diagnosis.clone(),
                }
            }
            other => other,
        })?;
    let intervals = match settings.bootstrap {
        0 => None,
        replicates => {
            let config = BootstrapConfig {
                replicates,
                seed: settings.seed,
                ..BootstrapConfig::default()
            };
            let words = Resampling::Words;
            Some(bootstrap(
                list, categories, &options, &inference, &estimate, words, &config,
            )?)
        }
    };
    let ranges = settings
        .ranges
        .map(|slack| {
            let solver = solver_by_name(&settings.solver)?;
            ranges(
                &program,
                &trace,
                &estimate,
                inference.config().basis,
                &*solver,
                slack,
            )
        })
        .transpose()?;
    let violations = estimate.violations(list, &trace, 10);
    Ok(Audit {
        tokenizer: name.into(),
        pretokenizer: pipeline.to_string(),
        merge_report,
        diagnosis,
        intervals,
        ranges,
        violations,
        warnings,
        seconds: start.elapsed().as_secs_f64(),
        estimate,
    })
}
