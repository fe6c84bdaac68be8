//! The best low-dimensional fit to points under a smoothness budget: curves and surfaces for a file of points; with no arguments, curves through a
//! square, a disk and a spiral.

#[cfg(feature = "burn")]
mod generative;
mod input;
mod output;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Instant;

use anyhow::Result;
use clap::{ArgGroup, Parser};
use fire_assay_examples::{CommonArgs, Limit, Report, UsageError, program, stops};
use serde_json::Value;
use sobolev_budget::{
    BudgetCurve, BudgetPath, Constraint, Domain, FitConfig, FitOptions, Interpolation, Norm,
    PathPoint, Smoothness, Starts,
};

use input::{Points, Shape};

/// The best low-dimensional fit to a measure under a smoothness budget: curves, surfaces and cubes through points, with a bound on the Sobolev norm that means
/// something (with --k 1 the length of a curve), the price of the bound, and what no curve within it can be better than.
///
/// With no arguments: curves through a square, a disk and a spiral for several budgets.
///
/// With --csv or --measure, and --budget or --price: a fit to those points, or with several budgets one for each, and where more budget begins to buy less.
/// With --generative: neural maps of handwritten digits, fitted under a Sobolev penalty (builds with a device).
///
/// With --out, nodes as CSV, surfaces in space as OBJ, pictures as SVG, and the result as JSON. Ctrl-C stops with the best map so far.
#[derive(Parser)]
#[command(version, group(ArgGroup::new("points").args(["csv", "measure"])))]
struct Args {
    /// The points: a NumPy array [points, coordinates] if the name ends in .npy, else comma-separated text, a point a line
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,

    /// Generated points in the place of a file
    #[arg(long, value_name = "SHAPE", value_enum)]
    measure: Option<Shape>,

    /// About how many points are generated [default: 10,000]
    #[arg(long, value_name = "N", requires = "measure")]
    count: Option<usize>,

    /// The column of the file that holds weights, counted from 0
    #[arg(long, value_name = "N", requires = "csv")]
    weight_column: Option<usize>,

    /// Where the map is defined: interval or circle (curves), square, cylinder or torus (surfaces), cube
    #[arg(
        long,
        value_name = "DOMAIN",
        default_value = "interval",
        requires = "points"
    )]
    domain: Domain,

    /// The order k of the derivatives that cost
    #[arg(long, value_name = "K", default_value_t = 1, requires = "points")]
    k: usize,

    /// The exponent p of distances
    #[arg(long, value_name = "P", default_value_t = 2.0, requires = "points")]
    p: f64,

    /// The exponent q of derivatives
    #[arg(long, value_name = "Q", default_value_t = 2.0, requires = "points")]
    q: f64,

    /// Which derivatives cost: seminorm (those of order k) or full (those of all orders up to k, and the values)
    #[arg(long, value_name = "NORM", default_value = "seminorm", value_parser = norm, requires = "points")]
    norm: Norm,

    /// What the map may cost; several for a fit with each
    #[arg(
        long,
        value_name = "L,...",
        value_delimiter = ',',
        allow_negative_numbers = true,
        requires = "points"
    )]
    budget: Vec<f64>,

    /// A price of cost in the place of a budget: minimise J + price * cost^q
    #[arg(
        long,
        value_name = "LAMBDA",
        allow_negative_numbers = true,
        requires = "points",
        conflicts_with_all = ["budget", "checkpoint"]
    )]
    price: Option<f64>,

    /// Nodes along each axis [default: 129 for curves, 33 for surfaces, 17 for cubes, one less for circles]
    #[arg(long, value_name = "N", requires = "points")]
    nodes: Option<usize>,

    /// How maps continue between nodes: linear, or nodes for not at all [default: linear, on cubes nodes]
    #[arg(long, value_name = "KIND", value_parser = interpolation, requires = "points")]
    interp: Option<Interpolation>,

    /// Starts along the principal axes
    #[arg(long, value_name = "N", default_value_t = Starts::default().principal, requires = "points")]
    starts: usize,

    /// Numbers of centres for starts through the centres of clusters (curves only); 0 for none [default: 30,50]
    #[arg(long, value_name = "N,...", value_delimiter = ',', requires = "points")]
    centres: Vec<usize>,

    /// No start that raises the budget step by step
    #[arg(long, requires = "points")]
    no_continuation: bool,

    /// How many of the best starts go on to the finest grid
    #[arg(long, value_name = "N", default_value_t = Starts::default().finalists, requires = "points")]
    finalists: usize,

    /// A map to start from besides: a file of nodes as --out writes it, or of the points of a curve in their order
    #[arg(long, value_name = "CURVE", requires = "points")]
    start: Vec<PathBuf>,

    /// A curve of another program to compare with: a file of its points in their order
    #[arg(long, value_name = "CURVE", requires = "points")]
    compare: Vec<PathBuf>,

    /// The volume of the set on which the points are uniform, for lower bounds [default: that of the generated shape]
    #[arg(long, value_name = "V", requires = "points")]
    volume: Option<f64>,

    /// Sweeps on the finest grid at most
    #[arg(long, value_name = "N", default_value_t = 500, requires = "points")]
    max_sweeps: usize,

    /// The relative decrease of J in a sweep that counts as none
    #[arg(
        long,
        value_name = "T",
        default_value_t = 1e-9,
        allow_negative_numbers = true,
        requires = "points"
    )]
    tolerance: f64,

    /// Save the fits of several budgets here as they are made, and go on from there if the file exists
    #[arg(long, value_name = "FILE", requires = "budget")]
    checkpoint: Option<PathBuf>,

    #[cfg(feature = "burn")]
    #[command(flatten)]
    generators: generative::Options,

    #[command(flatten)]
    common: CommonArgs,
}

impl AsRef<CommonArgs> for Args {
    fn as_ref(&self) -> &CommonArgs {
        &self.common
    }
}

fn norm(text: &str) -> Result<Norm, String> {
    match text {
        "seminorm" => Ok(Norm::Seminorm),
        "full" => Ok(Norm::Full),
        _ => Err("seminorm or full".to_owned()),
    }
}

fn interpolation(text: &str) -> Result<Interpolation, String> {
    match text {
        "linear" => Ok(Interpolation::Linear),
        "nodes" => Ok(Interpolation::Nodes),
        _ => Err("linear or nodes".to_owned()),
    }
}

fn usage(message: impl Into<String>) -> anyhow::Error {
    UsageError(message.into()).into()
}

fn main() -> ExitCode {
    program::run(run)
}

fn run(args: &Args, report: &Report) -> Result<Value> {
    #[cfg(feature = "burn")]
    if args.generators.generative {
        return generative::run(&args.generators, &args.common, report);
    }
    if args.common.device.is_some() {
        return Err(usage("--device: maps on grids are fitted on the processor"));
    }
    match Points::read(args)? {
        Some(points) => fit(args, &points, report),
        None => stops::sobolev_budget::run(
            &stops::sobolev_budget::Options::default(),
            &args.common,
            report,
        ),
    }
}

/// Fits to the points as the options say, and shows and writes what came out.
fn fit(args: &Args, points: &Points, report: &Report) -> Result<Value> {
    let begun = Instant::now();
    let config = config(args, points)?;
    let starts = args.start.iter();
    let starts = starts
        .map(|path| input::start(path, &config, points))
        .collect::<Result<Vec<_>>>()?;
    let peers = args.compare.iter();
    let peers = peers
        .map(|path| input::peer(path, &config, points))
        .collect::<Result<Vec<_>>>()?;
    report.say(format!(
        "{}: {} points of {} coordinates; {} of {} nodes{}, k = {}, p = {}, q = {}",
        points.name,
        points.measure.len(),
        points.measure.dimension(),
        config.domain,
        config.nodes,
        if config.domain.dimension() > 1 {
            " an axis"
        } else {
            ""
        },
        args.k,
        args.p,
        args.q,
    ));
    let limit = Limit::start(None);
    let stop = || limit.flag().load(Ordering::Relaxed);
    let options = FitOptions::default().with_starts(starts).with_stop(&stop);
    let curve = if args.budget.len() > 1 || args.checkpoint.is_some() {
        let path = BudgetPath::new(config, args.budget.clone())?;
        path.fit_with(&points.measure, args.checkpoint.as_deref(), &options)?
    } else {
        let fit = config.fit_with(&points.measure, &options)?;
        BudgetCurve {
            complete: fit.outcome != sobolev_budget::Outcome::Stopped,
            points: vec![PathPoint {
                budget: stops::sobolev_budget::budget(&fit),
                fit,
                difference: None,
                promised: None,
            }],
        }
    };
    // What came in while the last fit ended stopped nothing.
    let stopped = limit.reason().filter(|_| !curve.complete);
    output::show(&curve, &peers, report);
    if let Some(reason) = &stopped {
        report.say(format!("stopped early: {reason}"));
    }
    let seconds = begun.elapsed().as_secs_f64();
    let result = output::json(args, points, &curve, &peers, stopped, seconds);
    output::write(args, points, &curve, &peers, &result, report)?;
    report.say(format!("{seconds:.1} s"));
    Ok(result)
}

fn config(args: &Args, points: &Points) -> Result<FitConfig> {
    let constraint = match (args.price, &args.budget[..]) {
        (Some(price), _) => Constraint::Price(price),
        (None, [budget, ..]) => Constraint::Budget(*budget),
        (None, []) => {
            return Err(usage(
                "--budget or --price: say what the map may cost; with --k 1 the budget of a curve is its length",
            ));
        }
    };
    let smoothness = Smoothness::new(args.k)
        .with_exponent(args.q)
        .with_norm(args.norm.clone());
    let centres = match &args.centres[..] {
        [] => Starts::default().centres,
        given => given.iter().copied().filter(|count| *count > 0).collect(),
    };
    let mut config = FitConfig::new(args.domain, smoothness, constraint)
        .with_exponent(args.p)
        .with_starts(Starts {
            principal: args.starts,
            continuation: !args.no_continuation,
            centres,
            finalists: args.finalists,
        })
        .with_seed(args.common.seed)
        .with_tolerance(args.tolerance)
        .with_max_sweeps(args.max_sweeps);
    if let Some(nodes) = args.nodes {
        config = config.with_nodes(nodes);
    }
    if let Some(interpolation) = args.interp {
        config = config.with_interpolation(interpolation);
    }
    if let Some(volume) = args.volume.or(points.volume) {
        config = config.with_volume(volume);
    }
    config.validate()?;
    Ok(config)
}
