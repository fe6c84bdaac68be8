//! A certificate, checked by computing all its bounds again.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, Result};
use fire_assay_examples::robustness::{Answer, Row};
use fire_assay_examples::table::{self, Table};
use fire_assay_examples::{CommonArgs, Report, UsageError, verifiable};
use serde_json::{Value, json};
use zonotope_verify::certificate::Certificate;

use crate::verify::instance;

/// Checks the certificate of a proof, without trusting the search that found it
///
/// All bounds are computed again from the network and the specification, on the processor and in 64-bit arithmetic with
/// rounding errors accounted for; of the certificate only multipliers and case distinctions are used, of which any prove
/// something. Prints the proven distance of every case from its unsafe outputs. A certificate that does not prove the
/// specification is an error.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The certificate that `verify --certificate` wrote
    #[arg(value_name = "CERT")]
    certificate: PathBuf,

    /// The network
    #[arg(value_name = "MODEL")]
    model: PathBuf,

    /// The specification
    #[arg(value_name = "SPEC")]
    spec: PathBuf,

    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

pub(crate) fn run(args: &Args, report: &Report) -> Result<Value> {
    if args.common.device.is_some() {
        let message = "--device: a certificate is checked on the processor, without tensors";
        return Err(UsageError(message.into()).into());
    }
    let start = Instant::now();
    let certificate = Certificate::load(&args.certificate)?;
    let network = verifiable::load(&args.model, &crate::device(&args.common)?)?.network;
    let parsed = crate::read_spec(&args.spec)?;
    let checked = certificate.check(&network, &parsed.spec);
    let proven =
        checked.with_context(|| format!("{} proves nothing", args.certificate.display()))?;
    let seconds = start.elapsed().as_secs_f64();
    for note in &parsed.notes {
        report.say(format!("{}: {note}", args.spec.display()));
    }
    let mut table = Table::new(["case", "proven distance"]);
    for (index, &bound) in proven.cases.iter().enumerate() {
        table.row([table::integer(index), table::decimal(bound, 6)]);
    }
    report.table(&table);
    report.say(format!(
        "{} proves that {} satisfies {}: {proven}; {seconds:.2} s",
        args.certificate.display(),
        args.model.display(),
        args.spec.display(),
    ));
    let row = Row::new(
        "certificate",
        &instance(&args.model, &args.spec),
        Answer::Verified,
        proven.bound(),
        seconds,
    );
    Ok(json!({
        "verdict": Answer::Verified,
        "bound": proven.bound(),
        "cases": proven.cases,
        "notes": parsed.notes,
        "seconds": seconds,
        "results": [row],
    }))
}
