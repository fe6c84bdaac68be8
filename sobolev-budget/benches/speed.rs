//! How long a sweep and a whole fit take: `cargo bench -p sobolev-budget --bench speed -- [POINTS] [NODES]`.
//!
//! Prints the seconds of a fit of order 1 to a spiral, of a single sweep at the end of it, the growth with points and with nodes, and the
//! memory that the process took at most, beside that of the points themselves.

use std::time::Instant;

use sobolev_budget::{Constraint, Domain, Fit, FitConfig, FitOptions, Measure, Smoothness, Starts};

fn main() {
    let mut numbers = std::env::args()
        .skip(1)
        .filter_map(|argument| argument.parse::<usize>().ok());
    let points = numbers.next().unwrap_or(1_000_000);
    let nodes = numbers.next().unwrap_or(128);

    println!("growth with points ({nodes} nodes, seconds a sweep)");
    for part in [16, 4, 1] {
        let measure = Measure::spiral(points / part, 2, 0.05, 1).expect("a spiral has points");
        let (seconds, _) = sweep(&measure, nodes);
        println!("{:>9} {seconds:.4}", measure.len());
    }
    let measure = Measure::spiral(points, 2, 0.05, 1).expect("a spiral has points");
    println!("growth with nodes ({points} points, seconds a sweep)");
    for factor in [1, 4, 16] {
        println!(
            "{:>9} {:.4}",
            nodes * factor,
            sweep(&measure, nodes * factor).0
        );
    }
    for (name, starts) in [
        ("one start", Starts::single()),
        ("all starts", Starts::default()),
    ] {
        let fit = config(nodes)
            .with_starts(starts)
            .fit(&measure)
            .expect("the fit is valid");
        println!(
            "{name}: {:.1} s, {} sweeps on the finest grid, J = {:.6}, stationary to {:.1e}",
            fit.seconds,
            fit.history.len() - 1,
            fit.j,
            fit.kkt.stationarity
        );
    }
    if let Some(bytes) = peak() {
        println!(
            "memory at most {:.0} bytes a point, of which the points and weights are {}",
            bytes / points as f64,
            24
        );
    }
}

fn config(nodes: usize) -> FitConfig {
    FitConfig::new(
        Domain::Interval,
        Smoothness::new(1),
        Constraint::Budget(4.5),
    )
    .with_nodes(nodes)
}

/// Seconds a sweep, over twenty from a map that is nearly fitted.
fn sweep(measure: &Measure, nodes: usize) -> (f64, Fit) {
    let start = config(nodes)
        .with_max_sweeps(200)
        .fit(&Measure::spiral(20_000, 2, 0.05, 2).expect("a spiral has points"))
        .expect("the fit is valid");
    let options = FitOptions::default().with_starts(vec![start.map]);
    let run = |sweeps: usize| {
        let begun = Instant::now();
        let fit = config(nodes)
            .with_starts(Starts::given())
            .with_max_sweeps(sweeps)
            .with_tolerance(0.0)
            .fit_with(measure, &options)
            .expect("the fit is valid");
        (begun.elapsed().as_secs_f64(), fit)
    };
    // What is paid once is left out.
    let (few, _) = run(2);
    let (many, fit) = run(22);
    ((many - few) / 20.0, fit)
}

/// The most memory that the process held, where the system tells.
fn peak() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM"))?;
    line.split_whitespace()
        .nth(1)?
        .parse::<f64>()
        .ok()
        .map(|kilobytes| kilobytes * 1024.0)
}
