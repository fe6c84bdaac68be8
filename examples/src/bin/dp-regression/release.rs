//! A release from a file, and plans without one.

use anyhow::{Context as _, Result, bail};
use dp_regression::accounting::Ledger;
use dp_regression::inference::{Interval, ResidualVariance, confidence_intervals};
use dp_regression::plan::{gaussian_leverage_bound, gaussian_residual_bound};
use dp_regression::read::{Column, ReadOptions};
use dp_regression::{
    Issp, NoiseKind, Plan, PlanInput, PrivacyBudget, PrivacyRng, PrivateRegressor, PrivateSearch,
    PublicTransform, Table as Rows,
};
use fire_assay_examples::table::{self, Table};
use fire_assay_examples::{Report, UsageError};
use serde_json::{Value, json};

use super::Args;

/// Draws behind the covariance of intervals.
const DRAWS: usize = 1000;

fn usage(message: impl Into<String>) -> anyhow::Error {
    UsageError(message.into()).into()
}

/// Fits and releases.
pub(super) fn run(args: &Args, report: &Report) -> Result<Value> {
    if args.common.seed != 0 {
        return Err(usage(
            "--seed: noise that can be repeated protects nobody; leave it out",
        ));
    }
    let epsilon = args.epsilon.context("--epsilon")?;
    let variance_epsilon = if args.intervals {
        share("--variance-share", args.variance_share)? * epsilon
    } else {
        0.0
    };
    let total = PrivacyBudget::new(epsilon, args.delta)?;
    let budget = PrivacyBudget::new(epsilon - variance_epsilon, args.delta)?;
    let Some(leverage_bound) = args.leverage_bound else {
        return Err(usage(
            "--leverage-bound: say which leverages may occur; for n rows of d roughly Gaussian columns --plan n,d suggests one. \
             It is not read off the table, as that would give the table away",
        ));
    };
    let input = PlanInput::new(budget, leverage_bound, args.residual_bound.unwrap_or(1.0))
        .with_adjacency(args.adjacency)
        .with_covariance_draws(if args.intervals { DRAWS } else { 0 });
    let method: Box<dyn PrivateRegressor> = match (args.residual_bound, &args.search[..]) {
        (Some(_), _) => Box::new(Issp::new(&input)?),
        (None, []) => {
            return Err(usage(
                "--residual-bound: say how far fits may miss, or give public candidates with --search. It is not read off the table, as that \
                 would give the table away",
            ));
        }
        (None, candidates) => {
            let grid: Vec<(f64, f64)> = candidates
                .iter()
                .map(|&bound| (leverage_bound, bound))
                .collect();
            let spent = share("--search-share", args.search_share)? * epsilon;
            Box::new(PrivateSearch::new(&input, spent, &grid)?)
        }
    };
    let rows = read(args)?;
    let mut ledger = match (&args.ledger, args.total_epsilon, args.total_delta) {
        (Some(file), Some(epsilon), Some(delta)) => {
            Some(Ledger::open(file, PrivacyBudget::new(epsilon, delta)?)?)
        }
        _ => None,
    };
    let purpose = format!(
        "{} on {}",
        args.target.as_deref().unwrap_or(""),
        rows.names().join(", ")
    );
    let intent = match &mut ledger {
        Some(ledger) => Some(ledger.spend(&purpose, total.epsilon(), total.delta())?),
        None => None,
    };
    let data = rows.dataset()?;
    let mut rng = PrivacyRng::from_os()?;
    let release = method.fit(&data, &mut rng)?;
    let mut intervals: Option<Vec<Interval>> = None;
    if let (true, Some(coefficients), Some(bound)) = (
        args.intervals,
        release.outcome.coefficients(),
        args.residual_bound,
    ) {
        let variance = ResidualVariance::new(variance_epsilon, bound, args.adjacency)?;
        let variance = variance.fit(&data, coefficients, NoiseKind::Hardened, &mut rng)?;
        intervals = Some(confidence_intervals(&release, variance, 0.95)?);
    }
    if let (Some(ledger), Some(intent)) = (&mut ledger, intent) {
        ledger.complete(intent)?;
    }
    show(
        &rows,
        release.outcome.coefficients(),
        intervals.as_deref(),
        report,
    );
    report.say(format!(
        "{}, of which {:.3} for the coefficients",
        total, release.guarantee.epsilon
    ));
    report.say(release.guarantee.to_string());
    Ok(json!({
        "names": rows.names(),
        "epsilon": total.epsilon(),
        "delta": total.delta(),
        "refused": release.outcome.coefficients().is_none(),
        "release": release,
        "intervals": intervals,
    }))
}

fn share(name: &str, share: f64) -> Result<f64> {
    if share > 0.0 && share < 1.0 {
        return Ok(share);
    }
    Err(usage(format!("{name}: must lie between 0 and 1")))
}

fn show(
    rows: &Rows,
    coefficients: Option<&[f64]>,
    intervals: Option<&[Interval]>,
    report: &Report,
) {
    let Some(coefficients) = coefficients else {
        report.say("Refused. This is a private answer that costs as much as any other, and its reason is private too.");
        return;
    };
    let mut shown = Table::new(["column", "coefficient", "standard error", "from", "to"]);
    for (index, (name, value)) in rows.names().iter().zip(coefficients).enumerate() {
        let number = |value: f64| table::scientific(value, 4);
        let mut cells = vec![table::text(name.clone()), number(*value)];
        match intervals.and_then(|intervals| intervals.get(index)) {
            Some(interval) => {
                cells.extend([interval.standard_error, interval.lower, interval.upper].map(number))
            }
            None => cells.extend([table::missing(), table::missing(), table::missing()]),
        }
        shown.row(cells);
    }
    report.table(&shown);
}

/// Reads the file as the options say, clipped to the public ranges.
fn read(args: &Args) -> Result<Rows> {
    let target = args.target.clone().context("--target")?;
    let mut categories: Vec<(String, Vec<String>)> = Vec::new();
    for text in &args.categories {
        let (name, list) = text
            .split_once('=')
            .ok_or_else(|| usage(format!("--categories {text}: expected COLUMN=A|B|...")))?;
        categories.push((
            name.to_owned(),
            list.split('|').map(str::to_owned).collect(),
        ));
    }
    let mut ranges: Vec<(String, (f64, f64))> = Vec::new();
    for text in &args.range {
        let parsed = text.split_once('=').and_then(|(name, range)| {
            let (low, high) = range.split_once("..")?;
            Some((name.to_owned(), (low.parse().ok()?, high.parse().ok()?)))
        });
        ranges.push(
            parsed.ok_or_else(|| usage(format!("--range {text}: expected COLUMN=LOW..HIGH")))?,
        );
    }
    let mut options = ReadOptions::new(&target);
    options.lenient = !ranges.is_empty();
    if !args.columns.is_empty() {
        let column = |name: &String| match categories.iter().find(|(column, _)| column == name) {
            Some((name, categories)) => Column::Categories {
                name: name.clone(),
                categories: categories.clone(),
            },
            None => Column::Number(name.clone()),
        };
        options.columns = Some(args.columns.iter().map(column).collect());
    } else if !categories.is_empty() {
        return Err(usage("--categories: name all --columns as well"));
    }
    let rows = match (&args.csv, &args.parquet) {
        (Some(path), _) => Rows::from_csv(path, &options)?,
        (None, Some(path)) => Rows::from_parquet(path, &options)?,
        (None, None) => return Err(usage("--csv or --parquet")),
    };
    let rows = if ranges.is_empty() {
        rows
    } else {
        // Indicators lie in 0..1 anyway; numbers must have a range, or NaN would be an error that shows.
        let range_of = |name: &str| {
            let indicator = categories.iter().any(|(column, _)| {
                name.strip_prefix(column.as_str())
                    .is_some_and(|rest| rest.starts_with('='))
            });
            match ranges.iter().find(|(column, _)| column == name) {
                Some((_, range)) => Ok(*range),
                None if indicator => Ok((0.0, 1.0)),
                None => Err(usage(format!(
                    "--range: column `{name}` has none; give all or none"
                ))),
            }
        };
        let columns = rows
            .names()
            .iter()
            .map(|name| range_of(name))
            .collect::<Result<Vec<_>>>()?;
        rows.transformed(&PublicTransform::new(columns, range_of(&target)?)?)?
    };
    Ok(if args.no_intercept {
        rows
    } else {
        rows.with_intercept()
    })
}

/// Prints a plan.
pub(super) fn plan(args: &Args, report: &Report) -> Result<Value> {
    let [rows, columns] = args.plan[..] else {
        return Err(usage("--plan: two numbers, ROWS,COLUMNS"));
    };
    if !(rows >= 1.0 && (1.0..=1024.0).contains(&columns) && rows.is_finite()) {
        return Err(usage("--plan: at least one row, and 1 to 1024 columns"));
    }
    let columns = columns as usize;
    let budget = PrivacyBudget::new(args.epsilon.context("--epsilon")?, args.delta)?;
    let bounds = (
        gaussian_leverage_bound(rows, columns),
        gaussian_residual_bound(rows, 1.0),
    );
    if bounds.0 >= 1.0 {
        bail!("{rows} rows are too few for {columns} columns");
    }
    let plan =
        Plan::search(&PlanInput::new(budget, bounds.0, bounds.1).with_adjacency(args.adjacency))?;
    let error = plan.expected_error(rows, columns);
    let mut shown = Table::new([
        "L",
        "R/sigma",
        "k",
        "a",
        "c/sigma",
        "error/sigma",
        "sqrt(d/n)",
    ]);
    shown.row([
        table::scientific(bounds.0, 3),
        table::decimal(bounds.1, 3),
        table::integer(plan.score_cap() as i64),
        table::integer(plan.window() as i64),
        table::decimal(plan.noise_scale(), 3),
        table::decimal(error, 5),
        table::decimal((columns as f64 / rows).sqrt(), 5),
    ]);
    report.table(&shown);
    Ok(
        json!({"plan": plan, "expected-error": error, "leverage-bound": bounds.0, "residual-bound": bounds.1}),
    )
}
