//! A regression that gives nobody in the data away: releases coefficients of a CSV file with differential privacy; with no arguments, shows what the
//! method can do.

mod release;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{ArgGroup, Parser};
use dp_regression::Adjacency;
use fire_assay_examples::{CommonArgs, Report, UsageError, program, stops};
use serde_json::Value;

/// A regression that gives nobody in the data away: differentially private least squares whose error does not depend on how columns are scaled or correlated.
///
/// With no arguments: errors to expect by the planner, errors by condition number beside other methods, one real table with intervals, and an audit.
///
/// With --csv or --parquet: a release. All of --leverage-bound, --residual-bound (or --search), --range and --categories are public choices: they must not be made by looking at
/// the table, and this program never does. Its noise comes from the operating system; --seed is refused there.
#[derive(Parser)]
#[command(version, group(ArgGroup::new("table").args(["csv", "parquet"])))]
struct Args {
    /// The table: a CSV file with a header, one row a person
    #[arg(long, value_name = "FILE", requires_all = ["target", "epsilon"])]
    csv: Option<PathBuf>,

    /// The table as a Parquet file, one record a person
    #[arg(long, value_name = "FILE", requires_all = ["target", "epsilon"])]
    parquet: Option<PathBuf>,

    /// The column to be explained
    #[arg(long, value_name = "COLUMN", requires = "table")]
    target: Option<String>,

    /// The columns that explain it [default: all others, as numbers]
    #[arg(long, value_name = "COLUMN", value_delimiter = ',', requires = "table")]
    columns: Vec<String>,

    /// Public categories of a column, for indicators of all but the first: sex=f|m|x
    #[arg(long, value_name = "COLUMN=A|B|...", requires = "table")]
    categories: Vec<String>,

    /// A public range that a column (or the target) is clipped to; what is no number becomes its middle: age=18..90
    #[arg(
        long,
        value_name = "COLUMN=LOW..HIGH",
        requires = "table",
        allow_hyphen_values = true
    )]
    range: Vec<String>,

    /// No intercept
    #[arg(long, requires = "table")]
    no_intercept: bool,

    /// Epsilon of the whole release
    #[arg(long, value_name = "E")]
    epsilon: Option<f64>,

    /// Delta of the whole release; much smaller than one over the number of rows
    #[arg(long, value_name = "D", default_value_t = 1e-6)]
    delta: f64,

    /// Which tables are neighbours: replace (a row changes, the number of rows is public) or add-remove (a row comes or goes)
    #[arg(long, value_name = "KIND", default_value = "add-remove", value_parser = adjacency)]
    adjacency: Adjacency,

    /// L: a public bound of the leverages
    #[arg(long, value_name = "L", requires = "table")]
    leverage_bound: Option<f64>,

    /// R: a public bound of the residuals, in units of the target
    #[arg(long, value_name = "R", requires = "table", conflicts_with = "search")]
    residual_bound: Option<f64>,

    /// Public candidates for R, ascending, from which one is chosen privately
    #[arg(long, value_name = "R", value_delimiter = ',', requires = "table")]
    search: Vec<f64>,

    /// The share of epsilon that --search spends
    #[arg(long, value_name = "SHARE", default_value_t = 0.2)]
    search_share: f64,

    /// Release 95 % confidence intervals too
    #[arg(long, requires = "table", conflicts_with = "search")]
    intervals: bool,

    /// The share of epsilon that the residual variance of --intervals gets
    #[arg(long, value_name = "SHARE", default_value_t = 0.1)]
    variance_share: f64,

    /// A ledger of all releases from this table: refuses what exceeds --total-epsilon or --total-delta
    #[arg(long, value_name = "FILE", requires_all = ["table", "total_epsilon", "total_delta"])]
    ledger: Option<PathBuf>,

    /// Epsilon of all releases in the ledger together
    #[arg(long, value_name = "E", requires = "ledger")]
    total_epsilon: Option<f64>,

    /// Delta of all releases in the ledger together
    #[arg(long, value_name = "D", requires = "ledger")]
    total_delta: Option<f64>,

    /// Only plan, for so many rows of roughly Gaussian columns: nothing is read and nothing spent
    #[arg(
        long,
        value_name = "ROWS,COLUMNS",
        value_delimiter = ',',
        conflicts_with = "table",
        requires = "epsilon"
    )]
    plan: Vec<f64>,

    #[command(flatten)]
    common: CommonArgs,
}

impl AsRef<CommonArgs> for Args {
    fn as_ref(&self) -> &CommonArgs {
        &self.common
    }
}

fn adjacency(text: &str) -> Result<Adjacency, String> {
    [Adjacency::Replace, Adjacency::AddRemove]
        .into_iter()
        .find(|adjacency| adjacency.to_string() == text)
        .ok_or_else(|| "replace or add-remove".to_owned())
}

fn main() -> ExitCode {
    program::run(run)
}

fn run(args: &Args, report: &Report) -> Result<Value> {
    if args.common.device.is_some() {
        return Err(UsageError(
            "--device: what decides about privacy is computed on the processor".into(),
        )
        .into());
    }
    if args.csv.is_some() || args.parquet.is_some() {
        return release::run(args, report);
    }
    if !args.plan.is_empty() {
        return release::plan(args, report);
    }
    let mut options = stops::dp_regression::Options::default();
    if let Some(epsilon) = args.epsilon {
        options.epsilon = epsilon;
    }
    options.delta = args.delta;
    stops::dp_regression::run(&options, &args.common, report)
}
