//! One network, one specification.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result};
use burn::tensor::Device;
use fire_assay_examples::robustness::{Answer, Row};
use fire_assay_examples::table::{self, Table};
use fire_assay_examples::{CommonArgs, Limit, Report, verifiable};
use serde_json::{Value, json};
use zonotope_verify::certificate::Certificate;
use zonotope_verify::competition::{Counterexample, Outcome, write_result};
use zonotope_verify::limits::CancelToken;
use zonotope_verify::report::{Reason, Report as Found, Verdict};
use zonotope_verify::verify::VerifierConfig;
use zonotope_verify::vnnlib::{Declarations, Parsed};

/// The method of rows that come from the whole verifier: attack, bounds, branch and bound.
pub(crate) const METHOD: &str = "verifier";

/// Proves that a network satisfies a specification, or finds a counterexample
///
/// The network is an ONNX file of affine layers, convolutions, average pooling and ReLUs, or the network.safetensors of
/// `train --net mlp`. The specification is a VNN-LIB file, 1.0 or 2.0, packed by gzip or not. Whatever is proven holds for
/// the network over the real numbers; every bound is computed with its rounding error accounted for.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The network: .onnx, .onnx.gz or .safetensors
    #[arg(value_name = "MODEL")]
    model: PathBuf,

    /// The specification of what must not happen: .vnnlib or .vnnlib.gz
    #[arg(value_name = "SPEC")]
    spec: PathBuf,

    /// End the search after so many seconds, with the best proven bound
    #[arg(long, value_name = "SECONDS", value_parser = crate::seconds)]
    timeout: Option<f64>,

    /// Keep what the search has reached in a file, every minute and when it is stopped; if the file is there, go on from it.
    /// It is removed when the specification is proven or refuted. The time limit is for this run alone
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,

    /// Write the proof as JSON, which `check` accepts without trusting this run; only written if there is one
    #[arg(long, value_name = "FILE")]
    certificate: Option<PathBuf>,

    /// Write a result file as VNN-COMP has it: sat, unsat, unknown, timeout or error, and the counterexample
    #[arg(long, value_name = "FILE")]
    result: Option<PathBuf>,

    #[command(flatten)]
    settings: Settings,

    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

/// Where the verifier's settings come from.
#[derive(clap::Args)]
pub(crate) struct Settings {
    /// Settings of the verifier as JSON; what is not there keeps its default
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Settings {
    /// The settings, with the seed of the command line unless the file has one.
    pub(crate) fn read(&self, seed: u64) -> Result<VerifierConfig> {
        let mut config = VerifierConfig::new();
        config.attack.seed = seed;
        config.bound.seed = seed;
        let Some(path) = &self.config else {
            return Ok(config);
        };
        let text =
            fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_str(&text)
            .with_context(|| format!("{}: no settings of the verifier", path.display()))
    }
}

/// What a run of the verifier came to.
pub(crate) struct Verified {
    pub(crate) found: Found,
    pub(crate) certificate: Certificate,
    /// With reading the files.
    pub(crate) seconds: f64,
    pub(crate) notes: Vec<String>,
    /// Whether the search went on from a checkpoint.
    pub(crate) resumed: bool,
    pub(crate) declarations: Option<Declarations>,
    /// Inputs, hidden layers and outputs of the network.
    pub(crate) sizes: (usize, Vec<usize>, usize),
}

/// Seconds from one checkpoint to the next.
const CHECKPOINT_EVERY: f64 = 60.0;

/// Reads network and specification and verifies; `timeout` is for both. With a checkpoint, goes on from it if it is there.
pub(crate) fn verify(
    model: &Path,
    spec: &Path,
    mut config: VerifierConfig,
    timeout: Option<f64>,
    cancel: CancelToken,
    checkpoint: Option<&Path>,
    device: &Device,
) -> Result<Verified> {
    let start = Instant::now();
    let network = verifiable::load(model, device)?.network;
    let Parsed {
        spec: statement,
        notes,
        declarations,
        ..
    } = crate::read_spec(spec)?;
    if let Some(timeout) = timeout {
        config.timeout_seconds = Some((timeout - start.elapsed().as_secs_f64()).max(0.0));
    }
    let mut verifier = config.init().with_cancel(cancel);
    let mut resumed = false;
    if let Some(path) = checkpoint {
        verifier = verifier.with_checkpoint(path, CHECKPOINT_EVERY);
        resumed = path.exists();
    }
    let proven = if resumed {
        verifier.resume(&network, &statement, device)
    } else {
        verifier.prove(&network, &statement, device)
    };
    let (found, certificate) = proven
        .with_context(|| format!("verifying {} against {}", model.display(), spec.display()))?;
    Ok(Verified {
        found,
        certificate,
        seconds: start.elapsed().as_secs_f64(),
        notes,
        resumed,
        declarations,
        sizes: (network.inputs(), network.hidden(), network.outputs()),
    })
}

/// The contest's word for a verdict.
pub(crate) fn outcome(verdict: &Verdict) -> Outcome {
    match verdict {
        Verdict::Verified { .. } => Outcome::Unsat,
        Verdict::Falsified { .. } => Outcome::Sat,
        Verdict::Unknown {
            reason: Reason::Timeout,
            ..
        } => Outcome::Timeout,
        Verdict::Unknown { .. } => Outcome::Unknown,
    }
}

/// What an instance is called in results.
pub(crate) fn instance(model: &Path, spec: &Path) -> String {
    format!("{} {}", model.display(), spec.display())
}

pub(crate) fn run(args: &Args, report: &Report) -> Result<Value> {
    let verified = attempt(args);
    if let Some(path) = &args.result {
        match &verified {
            Ok(verified) => write(path, verified)?,
            // What went wrong is the error that counts, whether or not the file can be written.
            Err(_) => {
                let _ = write_result(path, Outcome::Error, None, None);
            }
        }
    }
    let verified = verified?;
    let Verified { found, sizes, .. } = &verified;
    report.say(format!(
        "{}: {} inputs, hidden layers of {:?}, {} outputs",
        args.model.display(),
        sizes.0,
        sizes.1,
        sizes.2
    ));
    for note in &verified.notes {
        report.say(format!("{}: {note}", args.spec.display()));
    }
    let checkpoint = args.checkpoint.as_deref();
    if let Some(path) = checkpoint.filter(|_| verified.resumed) {
        report.say(format!("went on from {}", path.display()));
    }
    show(found, report);
    let kept = checkpoint.filter(|path| path.exists());
    if let Some(path) = kept {
        report.say(format!("{} has the state to go on from", path.display()));
    }
    if let Some(path) = &args.result {
        report.say(format!("wrote {}", path.display()));
    }
    let proven = matches!(found.verdict, Verdict::Verified { .. });
    let mut certificate = None;
    if let Some(path) = &args.certificate {
        if proven {
            verified.certificate.save(path)?;
            report.say(format!("wrote {}", path.display()));
            certificate = Some(path.display().to_string());
        } else {
            report.say("there is no proof, so no certificate was written");
        }
    }
    let row = Row::new(
        METHOD,
        &instance(&args.model, &args.spec),
        Answer::from(&found.verdict),
        found.verdict.bound(),
        verified.seconds,
    );
    let mut object = described(&found.verdict);
    object["outcome"] = outcome(&found.verdict).word().into();
    object["notes"] = json!(verified.notes);
    object["cases"] = found.cases.iter().map(case).collect();
    object["certificate"] = json!(certificate);
    object["resumed"] = json!(verified.resumed);
    object["checkpoint"] = json!(kept.map(|path| path.display().to_string()));
    object["seconds"] = json!(verified.seconds);
    object["results"] = json!([row]);
    Ok(object)
}

fn attempt(args: &Args) -> Result<Verified> {
    let config = args.settings.read(args.common.seed)?;
    let device = crate::device(&args.common)?;
    let cancel = CancelToken::new();
    let token = cancel.clone();
    let _limit = Limit::calling(None, move || token.cancel());
    let timeout = args.timeout.or(config.timeout_seconds);
    verify(
        &args.model,
        &args.spec,
        config,
        timeout,
        cancel,
        args.checkpoint.as_deref(),
        &device,
    )
}

fn write(path: &Path, verified: &Verified) -> Result<()> {
    let verdict = &verified.found.verdict;
    let example = match verdict {
        Verdict::Falsified { input, output } => Some(Counterexample {
            input: input.clone(),
            output: output.clone(),
        }),
        _ => None,
    };
    write_result(
        path,
        outcome(verdict),
        example.as_ref(),
        verified.declarations.as_ref(),
    )?;
    Ok(())
}

/// A verdict and what belongs to it. Bounds that are not finite become null.
fn described(verdict: &Verdict) -> Value {
    let mut object = json!({"verdict": Answer::from(verdict), "bound": verdict.bound()});
    match verdict {
        Verdict::Verified { .. } => {}
        Verdict::Falsified { input, output } => {
            object["counterexample"] = json!({"input": input, "output": output});
        }
        Verdict::Unknown { upper, reason, .. } => {
            object["upper"] = json!(upper);
            object["reason"] = json!(reason);
        }
    }
    object
}

fn case(case: &zonotope_verify::report::CaseReport) -> Value {
    let mut object = described(&case.verdict);
    // The counterexample stands above all cases.
    if let Some(members) = object.as_object_mut() {
        members.remove("counterexample");
    }
    object["root-bound"] = json!(case.root_bound);
    object["nodes"] = json!(case.nodes);
    object
}

fn show(found: &Found, report: &Report) {
    let mut table = Table::new(["case", "verdict", "bound", "before branching", "nodes"]);
    let number = |value: f64| {
        if value.is_finite() {
            table::decimal(value, 6)
        } else {
            table::missing()
        }
    };
    for (index, case) in found.cases.iter().enumerate() {
        table.row([
            table::integer(index),
            table::text(Answer::from(&case.verdict).word()),
            number(case.verdict.bound()),
            number(case.root_bound),
            table::integer(case.nodes),
        ]);
    }
    if !matches!(found.verdict, Verdict::Falsified { .. }) {
        report.table(&table);
    }
    report.say(found);
    if let Verdict::Falsified { input, output } = &found.verdict {
        const SHOWN: usize = 12;
        let numbers = |all: &[f64]| {
            let few: Vec<String> = all.iter().take(SHOWN).map(|x| format!("{x:.6}")).collect();
            let more = if all.len() > SHOWN { ", ..." } else { "" };
            format!("{}{more}", few.join(", "))
        };
        report.say(format!("input:  {}", numbers(input)));
        report.say(format!("output: {}", numbers(output)));
    }
}
