//! Time of a clean fit beside its parts: `cargo bench -p dp-regression --bench fit`, or `-- N D` for a table of that size.
//!
//! Prints the best of three of: one pass for the second moments and a solution of the normal equations (least squares as fast as it gets here), the whole
//! of ISSP on a clean table, the same with outliers up to its cap, and faer's product `X'X` in one call; before these, the memory that a clean fit takes beside the table.

use std::time::Instant;

use dp_regression::baselines::Ridge;
use dp_regression::synth::LinearModel;
use dp_regression::{Dataset, Issp, PlanInput, PrivacyBudget, PrivacyRng, PrivateRegressor};
use faer::MatRef;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

fn best(mut work: impl FnMut()) -> f64 {
    (0..3)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed().as_secs_f64()
        })
        .fold(f64::INFINITY, f64::min)
}

/// The resident memory of this process in MiB: `VmRSS`, or `VmHWM` for the largest since it was last forgotten. Where the system says.
fn memory(what: &str) -> Option<f64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find(|line| line.starts_with(what))?;
    let kibibytes: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kibibytes / 1024.0)
}

fn main() -> dp_regression::Result<()> {
    let sizes: Vec<usize> = std::env::args()
        .filter_map(|text| text.parse().ok())
        .collect();
    let (n, d) = match sizes[..] {
        [n, d] => (n, d),
        _ => (200_000, 50),
    };
    let budget = PrivacyBudget::new(1.0, 1e-6)?;
    let bounds = dp_regression::plan::gaussian_leverage_bound(n as f64, d);
    let start = Instant::now();
    let issp = Issp::new(&PlanInput::new(budget, bounds, 6.0))?;
    println!(
        "plan: {:.3} s, k = {}",
        start.elapsed().as_secs_f64(),
        issp.plan().score_cap()
    );

    let sample = LinearModel::new(n, d).sample(&mut ChaCha8Rng::seed_from_u64(1))?;
    let mut rng = PrivacyRng::insecure_seeded(1);
    let data = Dataset::new(&sample.x[..], &sample.y[..], d)?;
    // Linux forgets the peak so far when it reads this.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    let before = memory("VmRSS");
    issp.fit(&data, &mut rng)?;
    if let (Some(before), Some(peak)) = (before, memory("VmHWM")) {
        println!("memory beside the table:      {:.0} MiB", peak - before);
    }
    let moments = best(|| {
        Ridge::new(1e-9)
            .and_then(|ridge| ridge.fit(&data, &mut rng))
            .map(drop)
            .expect("a table in memory");
    });
    let clean = best(|| {
        issp.fit(&data, &mut rng)
            .map(drop)
            .expect("a table in memory");
    });
    let x = MatRef::from_row_major_slice(&sample.x, n, d);
    let one_call = best(|| {
        std::hint::black_box(x.transpose() * x);
    });
    println!("{n} rows, {d} columns");
    println!("moments and normal equations: {moments:.3} s");
    println!(
        "faer, X'X in one call:        {one_call:.3} s ({:.2} of it: a clean fit)",
        clean / one_call
    );
    println!(
        "issp, clean table:            {clean:.3} s ({:.2} times the moments)",
        clean / moments
    );

    let outliers = issp.plan().score_cap() - 1;
    let spoiled = sample.clone().with_outliers(outliers, 1.0, 1e4);
    let data = Dataset::new(&spoiled.x[..], &spoiled.y[..], d)?;
    let spoiled = best(|| {
        issp.fit(&data, &mut rng)
            .map(drop)
            .expect("a table in memory");
    });
    println!(
        "issp, {outliers} outliers:           {spoiled:.3} s ({:.2} times clean)",
        spoiled / clean
    );
    Ok(())
}
