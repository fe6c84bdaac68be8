//! ISSP beside other people's programs on one table: `cargo bench -p dp-regression --bench peers`, or `-- N D` for a table of that size (default 200,000
//! rows of 50 columns).
//!
//! Needs a Python with numpy, scikit-learn 1.5.2 and diffprivlib 0.6.6, named by `FIRE_ASSAY_PYTHON` (default `python3`). Everybody gets the same numbers
//! in memory, the same number of threads (`RAYON_NUM_THREADS`, default 1), and the best of three runs counts. Errors are in the norm of `Sigma`, against
//! the coefficients that the table was made from.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use dp_regression::metrics::prediction_distance;
use dp_regression::synth::LinearModel;
use dp_regression::{Dataset, Issp, Plan, PlanInput, PrivacyBudget, PrivacyRng, PrivateRegressor};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

const SCRIPT: &str = include_str!("peers.py");
/// What diffprivlib gets as well.
const EPSILONS: [f64; 2] = [1.0, 10.0];

#[derive(Deserialize)]
struct Answer {
    method: String,
    seconds: f64,
    coefficients: Vec<f64>,
}

/// Writes a NumPy file of 64-bit floats.
fn write_npy(path: &Path, shape: &str, numbers: &[f64]) -> std::io::Result<()> {
    let mut header = format!("{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}");
    while !(header.len() + 11).is_multiple_of(64) {
        header.push(' ');
    }
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend(
        u16::try_from(header.len())
            .unwrap_or(u16::MAX)
            .to_le_bytes(),
    );
    bytes.extend(header.as_bytes());
    bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    std::fs::write(path, bytes)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let sizes: Vec<usize> = std::env::args()
        .filter_map(|text| text.parse().ok())
        .collect();
    let (n, d) = match sizes[..] {
        [n, d] => (n, d),
        _ => (200_000, 50),
    };
    let threads = std::env::var("RAYON_NUM_THREADS").unwrap_or_else(|_| "1".to_owned());
    let sample = LinearModel::new(n, d).sample(&mut ChaCha8Rng::seed_from_u64(1))?;
    let data = Dataset::new(&sample.x[..], &sample.y[..], d)?;
    println!(
        "{n} rows, {d} columns, threads: {threads}\n| method | seconds | error |\n| --- | --- | --- |"
    );
    let show = |method: &str, seconds: f64, coefficients: &[f64]| -> dp_regression::Result<()> {
        let error = prediction_distance(&data, coefficients, &sample.coefficients)?;
        println!("| {method} | {seconds:.3} | {error:.3e} |");
        Ok(())
    };

    let leverage = dp_regression::plan::gaussian_leverage_bound(n as f64, d);
    let residual = dp_regression::plan::gaussian_residual_bound(n as f64, 1.0);
    let mut rng = PrivacyRng::insecure_seeded(1);
    for epsilon in EPSILONS {
        let input = PlanInput::new(PrivacyBudget::new(epsilon, 1e-6)?, leverage, residual);
        let issp = match Plan::search(&input) {
            Ok(plan) => Issp::with_plan(plan),
            Err(error) => {
                println!("| issp, epsilon {epsilon} | - | {error} |");
                continue;
            }
        };
        let mut seconds = f64::INFINITY;
        let mut coefficients = Vec::new();
        for _ in 0..3 {
            let start = Instant::now();
            let release = issp.fit(&data, &mut rng)?;
            seconds = seconds.min(start.elapsed().as_secs_f64());
            if let Some(found) = release.outcome.coefficients() {
                coefficients = found.to_vec();
            }
        }
        show(&format!("issp, epsilon {epsilon}"), seconds, &coefficients)?;
    }

    let folder = tempfile::tempdir()?;
    let (x, y) = (folder.path().join("x.npy"), folder.path().join("y.npy"));
    write_npy(&x, &format!("({n}, {d})"), &sample.x)?;
    write_npy(&y, &format!("({n},)"), &sample.y)?;
    let python = std::env::var("FIRE_ASSAY_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let mut command = Command::new(&python);
    command.args(["-c", SCRIPT]).arg(&x).arg(&y);
    command.args(EPSILONS.map(|epsilon| epsilon.to_string()));
    for variable in ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"] {
        command.env(variable, &threads);
    }
    let output = command.output()?;
    if !output.status.success() {
        println!("{python}: {}", String::from_utf8_lossy(&output.stderr));
        return Ok(());
    }
    for answer in serde_json::from_slice::<Vec<Answer>>(&output.stdout)? {
        show(&answer.method, answer.seconds, &answer.coefficients)?;
    }
    Ok(())
}
