//! Beside the peers, on the same points in the same run:
//! `cargo bench -p sobolev-budget --bench peers -- [PYTHON] [RSCRIPT]`.
//!
//! Runs the scripts of `benches/peers/` (their heads say what they need) in processes of their own: elpigraph's curve with 50 nodes, princurve's
//! with smoothing splines. Fits a curve of order 1 as long as theirs, on one thread, and prints the length, J of both, the parts and the times.
//! Last, POT computes the transport cost that J of a fit with nodes alone should be.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use sobolev_budget::{
    Constraint, Domain, FitConfig, Grid, GridMap, Interpolation, Measure, Smoothness,
};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    let mut programs = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with("--"));
    let python = programs.next().unwrap_or_else(|| "python3".to_owned());
    let rscript = programs.next().unwrap_or_else(|| "Rscript".to_owned());
    let folder = tempfile::tempdir()?;
    rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build_global()?;

    println!("| points | peer | length | J, peer | J, ours | part | seconds, peer | ours | part |");
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    let data = [
        ("spiral", Measure::spiral(5000, 2, 0.05, 1)?),
        ("spiral in 10-D", Measure::spiral(5000, 10, 0.05, 1)?),
        ("square", Measure::uniform(5000, 2, 1)?),
        ("disk", Measure::uniform_disk(5000, 1)?),
        ("noisy circle", Measure::noisy_circle(5000, 0.05, 1)?),
    ];
    let peers = [
        (
            "elpigraph",
            python.as_str(),
            "elpigraph_curve.py",
            &["50"][..],
        ),
        ("princurve", rscript.as_str(), "princurve.R", &[][..]),
    ];
    for (peer, program, script, arguments) in peers {
        let (mut parts, mut times) = (Vec::new(), Vec::new());
        for (name, measure) in &data {
            let points = folder.path().join("points.csv");
            let curve = folder.path().join("curve.csv");
            write_points(&points, measure)?;
            let told = run(program, script, &[&points, &curve], arguments)?;
            let theirs = read_curve(&curve, measure.dimension())?;
            let length = theirs.length().ok_or("no curve")?;
            let ours = FitConfig::new(
                Domain::Interval,
                Smoothness::new(1),
                Constraint::Budget(length),
            )
            .fit(measure)?;
            let j = theirs.distance(measure, 2.0)?;
            let seconds = told["seconds"].as_f64().ok_or("no seconds")?;
            println!(
                "| {name} | {peer} {} | {length:.3} | {j:.6} | {:.6} | {:.3} | {seconds:.2} | {:.2} | {:.3} |",
                told["version"].as_str().unwrap_or("?"),
                ours.j,
                ours.j / j,
                ours.seconds,
                ours.seconds / seconds,
            );
            parts.push(ours.j / j);
            times.push(ours.seconds / seconds);
        }
        println!(
            "| mean | {peer} | | | | {:.3} | | | {:.3} |",
            mean(&parts),
            mean(&times)
        );
    }

    println!("\nTransport costs by POT, of 500 points and a fit with 20 nodes alone");
    let measure = Measure::spiral(500, 2, 0.05, 2)?;
    for p in [1.0, 2.0, 3.0] {
        let fit = FitConfig::new(
            Domain::Interval,
            Smoothness::new(1),
            Constraint::Budget(3.0),
        )
        .with_interpolation(Interpolation::Nodes)
        .with_exponent(p)
        .with_nodes(20)
        .fit(&measure)?;
        let points = folder.path().join("points.csv");
        let nodes = folder.path().join("nodes.csv");
        write_points(&points, &measure)?;
        write_rows(&nodes, fit.map.values(), 2)?;
        let told = run(&python, "pot.py", &[&points, &nodes], &[&p.to_string()])?;
        let cost = |name: &str| told[name].as_f64().ok_or("no cost");
        let (projected, uniform) = (cost("projected")?, cost("uniform")?);
        println!(
            "p = {p}: J = {:.12}, to the image measure {projected:.12} (off by {:.1e}), to equal weights {uniform:.6}",
            fit.j,
            (projected / fit.j - 1.0).abs(),
        );
    }
    Ok(())
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Runs a script of the folder `peers` and reads the JSON object that it prints.
fn run(program: &str, script: &str, files: &[&PathBuf], arguments: &[&str]) -> Outcome<Value> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("benches/peers")
        .join(script);
    let output = Command::new(program)
        .arg(&script)
        .args(files)
        .args(arguments)
        .output()?;
    if !output.status.success() {
        return Err(format!(
            "{}: {}",
            script.display(),
            String::from_utf8_lossy(&output.stderr)
        )
        .into());
    }
    let text = String::from_utf8(output.stdout)?;
    let last = text
        .lines()
        .rfind(|line| line.starts_with('{'))
        .ok_or("the script printed no object")?;
    Ok(serde_json::from_str(last)?)
}

fn write_points(path: &Path, measure: &Measure) -> Outcome<()> {
    write_rows(path, measure.points(), measure.dimension())
}

fn write_rows(path: &Path, values: &[f64], columns: usize) -> Outcome<()> {
    let mut text = String::new();
    for row in values.chunks_exact(columns) {
        text.push_str(&row.iter().map(f64::to_string).collect::<Vec<_>>().join(","));
        text.push('\n');
    }
    std::fs::write(path, text)?;
    Ok(())
}

fn read_curve(path: &Path, dimension: usize) -> Outcome<GridMap> {
    let points = Measure::from_file(path, None)?;
    let grid = Grid::new(Domain::Interval, points.len())?;
    Ok(GridMap::new(
        grid,
        Interpolation::Linear,
        dimension,
        points.points().to_vec(),
    )?)
}
