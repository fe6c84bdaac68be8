//! What can this network provably never do? Proves specifications or finds counterexamples, compares methods on
//! images, checks certificates, and runs benchmarks; with no arguments, it trains a small network and verifies that.

mod bench;
mod bound;
mod check;
mod images;
mod npy;
mod verify;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use burn::tensor::Device;
use clap::{Parser, Subcommand};
use fire_assay_examples::{CommonArgs, DeviceName, Report, program, stops};
use serde_json::Value;
use zonotope_verify::vnnlib::{self, Parsed};

/// What can this network provably never do? Proves that no input of a region has an unsafe output, finds an input that
/// has one, or says how far it came.
///
/// With no arguments: trains a small network on embedded images and shows how far each method can prove it robust.
///
/// Ctrl-C ends the work with what is proven by then; a second one ends the program.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Subcommand)]
enum Command {
    Verify(verify::Args),
    Bound(bound::Args),
    Check(check::Args),
    Bench(bench::Args),
}

impl AsRef<CommonArgs> for Args {
    fn as_ref(&self) -> &CommonArgs {
        match &self.command {
            None => &self.common,
            Some(Command::Verify(args)) => &args.common,
            Some(Command::Bound(args)) => &args.common,
            Some(Command::Check(args)) => &args.common,
            Some(Command::Bench(args)) => &args.common,
        }
    }
}

fn main() -> ExitCode {
    program::run(run)
}

fn run(args: &Args, report: &Report) -> Result<Value> {
    match &args.command {
        None => {
            let options = stops::zonotope_verify::Options::default();
            stops::zonotope_verify::run(&options, &args.common, report)
        }
        Some(Command::Verify(args)) => verify::run(args, report),
        Some(Command::Bound(args)) => bound::run(args, report),
        Some(Command::Check(args)) => check::run(args, report),
        Some(Command::Bench(args)) => bench::run(args, report),
    }
}

/// The device that the search computes on.
fn device(common: &CommonArgs) -> Result<Device> {
    let name = common.device.or_else(DeviceName::default_of_build);
    Ok(name.context("this build has no device")?.open())
}

/// Reads a specification.
fn read_spec(path: &Path) -> Result<Parsed> {
    vnnlib::load(path).with_context(|| format!("reading the specification {}", path.display()))
}

/// A number of seconds on the command line.
fn seconds(text: &str) -> Result<f64, String> {
    let number: f64 = text
        .parse()
        .map_err(|_| "not a number of seconds".to_owned())?;
    let time = Duration::try_from_secs_f64(number).map_err(|error| error.to_string())?;
    if time.is_zero() {
        return Err("must be above 0".to_owned());
    }
    Ok(number)
}
