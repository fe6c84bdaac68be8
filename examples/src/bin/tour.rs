//! A tour through the crates: the default run of each, one after the other, on embedded data.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use clap::Parser;
use fire_assay_examples::report::Report;
use fire_assay_examples::{CommonArgs, program, stops};
use serde_json::{Value, json};

/// Runs every crate's demonstration on embedded data: no download, a few seconds to minutes each.
///
/// With --device, what a crate can compute on a device is computed there too.
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(flatten)]
    common: CommonArgs,
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
    let start = Instant::now();
    report.say("# bpe-inference: what was this tokenizer trained on?\n");
    let options = stops::bpe_inference::Options::default();
    let bpe_inference = stops::bpe_inference::run(&options, &args.common, report)?;
    report.say("\n# dp-regression: a regression that gives nobody in the data away\n");
    let options = stops::dp_regression::Options::default();
    let dp_regression = stops::dp_regression::run(&options, &args.common, report)?;
    report.say(
        "\n# sobolev-budget: the best low-dimensional fit to a measure under a smoothness budget\n",
    );
    let options = stops::sobolev_budget::Options::default();
    let sobolev_budget = stops::sobolev_budget::run(&options, &args.common, report)?;
    let mut results = json!({
        "bpe-inference": bpe_inference,
        "dp-regression": dp_regression,
        "sobolev-budget": sobolev_budget,
    });
    #[cfg(feature = "burn")]
    {
        report.say("\n# zonotope-verify: what can this network provably never do?\n");
        let options = stops::zonotope_verify::Options::default();
        results["zonotope-verify"] = stops::zonotope_verify::run(&options, &args.common, report)?;
    }
    let seconds = start.elapsed().as_secs_f64();
    report.say(format!(
        "\nThe tour took {seconds:.1} s. Each stop is a program of its own: `cargo run --release --bin bpe-inference -- --help`, \
         and so on."
    ));
    Ok(json!({"results": results, "seconds": seconds}))
}
