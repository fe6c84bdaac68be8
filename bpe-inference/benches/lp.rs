//! Solvers of the restricted linear program side by side.
//!
//! `cargo bench -p bpe-inference --no-default-features --features clarabel,minilp,microlp --bench lp`
//! prints one line an instance and solver: rows, steps, pairs, weights, solver, best wall time of the
//! repetitions, iterations, objective, relative gap and largest difference of the weights from those
//! of the default solver. Arguments (after `--`): names of solvers to run, and files that
//! `MixtureLp::save` wrote, which replace the built-in instances; a number limits the rows.

#[path = "instances.rs"]
mod instances;

use std::time::{Duration, Instant};

use bpe_inference::lp::{Limits, LpError, LpSolution, LpSolver, LpState, MixtureLp, StructuredIpm};
use bpe_inference::lp::{solver_by_name, solver_names};

use instances::{Shape, realistic};

const SHAPES: [(usize, usize, usize, usize); 9] = [
    (12_890, 974, 739, 10),
    (10_817, 2_050, 2_024, 50),
    (32_950, 996, 956, 30),
    (67_978, 2_936, 1_915, 10),
    (96_884, 9_357, 5_965, 30),
    (60_000, 3_000, 2_000, 112),
    (180_608, 9_794, 1_414, 10),
    (504_224, 28_810, 16_612, 10),
    (574_463, 29_560, 1_584, 10),
];

fn main() {
    let mut names = Vec::new();
    let mut files = Vec::new();
    let mut most_rows = usize::MAX;
    for argument in std::env::args().skip(1).filter(|a| !a.starts_with("--")) {
        if let Ok(rows) = argument.parse() {
            most_rows = rows;
        } else if solver_names().contains(&argument.as_str()) {
            names.push(argument);
        } else {
            files.push(argument);
        }
    }
    if names.is_empty() {
        names = solver_names().iter().map(|name| name.to_string()).collect();
    }
    println!(
        "{:>7} {:>6} {:>6} {:>4}  {:<22} {:>9} {:>5} {:>13} {:>8} {:>8}",
        "rows", "steps", "pairs", "n", "solver", "seconds", "iter", "objective", "gap", "alpha"
    );
    if files.is_empty() {
        for (rows, steps, pairs, n) in SHAPES {
            if rows <= most_rows {
                let shape = Shape {
                    rows,
                    steps,
                    pairs,
                    n,
                };
                compare(&realistic(shape, 1), &names);
            }
        }
    }
    for file in files {
        compare(&MixtureLp::load(&file).expect("a saved program"), &names);
    }
}

fn compare(lp: &MixtureLp, names: &[String]) {
    let mut reference: Option<LpSolution> = None;
    for name in names {
        let solver = solver_by_name(name).expect("a known solver");
        let solved = measure(&*solver, lp, None);
        report(lp, name, &solved, &mut reference);
        if let (true, Ok((_, solution))) = (name == StructuredIpm::default().name(), &solved) {
            // The next round's start: the same program from its own solution.
            let warm = measure(&*solver, lp, Some(&solution.state));
            report(lp, "  from its solution", &warm, &mut reference);
        }
    }
}

fn measure(
    solver: &dyn LpSolver,
    lp: &MixtureLp,
    warm: Option<&LpState>,
) -> Result<(Duration, LpSolution), LpError> {
    let limits = Limits {
        time: Some(Duration::from_secs(240)),
        cancel: None,
    };
    let mut best = None;
    let began = Instant::now();
    while best.is_none() || began.elapsed() < Duration::from_secs(2) {
        let start = Instant::now();
        let solution = solver.solve(lp, warm, &limits)?;
        let time = start.elapsed();
        if best.as_ref().is_none_or(|(least, _)| time < *least) {
            best = Some((time, solution));
        }
    }
    Ok(best.expect("at least one repetition"))
}

fn report(
    lp: &MixtureLp,
    name: &str,
    solved: &Result<(Duration, LpSolution), LpError>,
    reference: &mut Option<LpSolution>,
) {
    print!(
        "{:>7} {:>6} {:>6} {:>4}  {name:<22} ",
        lp.rows(),
        lp.steps(),
        lp.pairs(),
        lp.n()
    );
    match solved {
        Ok((time, solution)) => {
            let reference = reference.get_or_insert_with(|| solution.clone());
            let moved = solution
                .state
                .alpha
                .iter()
                .zip(&reference.state.alpha)
                .map(|(x, y)| (x - y).abs())
                .fold(0.0, f64::max);
            println!(
                "{:>9.3} {:>5} {:>13.7e} {:>8.1e} {moved:>8.1e}",
                time.as_secs_f64(),
                solution.iterations,
                solution.objective,
                (solution.objective - solution.lower_bound) / solution.objective,
            );
        }
        Err(error) => println!("{error}"),
    }
}
