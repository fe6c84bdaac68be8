//! A real table: delays of flights, from the data kit; without the kit, a generated one of the same form.

use anyhow::{Context as _, Result};
use dp_regression::inference::{Interval, ResidualVariance, confidence_intervals};
use dp_regression::{
    Adjacency, Issp, NoiseKind, PlanInput, PrivacyBudget, PrivacyRng, PrivateRegressor as _,
    PublicTransform, Table as Rows,
};
use fire_assay_datasets::Kit;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value as Json, json};

use crate::report::Report;
use crate::table::{self, Table};

/// Epsilon of the coefficients with their covariance, and of the residual variance.
const EPSILON: (f64, f64) = (3.5, 0.5);
const DELTA: f64 = 1e-6;
/// Public bounds. Distances up to 2,000 miles and hours of the day leave no row of 20,000 a leverage above this; delays are clipped to an hour early and three
/// hours late, so that no fit inside of that range misses by more.
const LEVERAGE_BOUND: f64 = 1e-3;
const RESIDUAL_BOUND: f64 = 240.0;

/// Releases delay by distance and hour of the day, with intervals.
pub(super) fn run(seed: u64, report: &Report) -> Result<Json> {
    let (rows, source) = read(seed)?;
    report.say(format!(
        "\nDelay in minutes by distance and hour of departure: {} flights, {source}.",
        rows.rows()
    ));
    let budget = PrivacyBudget::new(EPSILON.0, DELTA)?;
    let input = PlanInput::new(budget, LEVERAGE_BOUND, RESIDUAL_BOUND)
        .with_adjacency(Adjacency::AddRemove)
        .with_covariance_draws(500);
    let issp = Issp::new(&input)?;
    let data = rows.dataset()?;
    // The flights are public, and a run should repeat itself.
    let mut rng = PrivacyRng::insecure_seeded(seed);
    let release = issp.fit(&data, &mut rng)?;
    let Some(coefficients) = release.outcome.coefficients() else {
        report.say("refused");
        return Ok(json!({"source": source, "refused": true}));
    };
    let variance = ResidualVariance::new(EPSILON.1, RESIDUAL_BOUND, Adjacency::AddRemove)?;
    let variance = variance.fit(&data, coefficients, NoiseKind::Hardened, &mut rng)?;
    let intervals = confidence_intervals(&release, variance, 0.95)?;
    show(rows.names(), &intervals, report);
    report.say(format!(
        "95 % intervals, noise included; together ({}, {DELTA:e})-differentially private, flights come and go.",
        EPSILON.0 + EPSILON.1
    ));
    Ok(json!({
        "source": source,
        "refused": false,
        "epsilon": EPSILON.0 + EPSILON.1,
        "delta": DELTA,
        "names": rows.names(),
        "intervals": intervals,
    }))
}

/// Prints intervals by name.
pub(super) fn show(names: &[String], intervals: &[Interval], report: &Report) {
    let mut shown = Table::new(["column", "coefficient", "standard error", "from", "to"]);
    for (name, interval) in names.iter().zip(intervals) {
        shown.row([
            table::text(name.clone()),
            table::decimal(interval.estimate, 3),
            table::decimal(interval.standard_error, 3),
            table::decimal(interval.lower, 3),
            table::decimal(interval.upper, 3),
        ]);
    }
    report.table(&shown);
}

/// Intercept, distance in thousands of miles, and sine and cosine of the hour; clipped to public ranges.
fn read(seed: u64) -> Result<(Rows, &'static str)> {
    let names = ["distance/1000", "sin(hour)", "cos(hour)"]
        .map(str::to_owned)
        .to_vec();
    let kit = Kit::open().and_then(|kit| kit.require("vega-datasets"));
    let (flights, source) = match kit.map(|folder| folder.join("package/data/flights-20k.json")) {
        Ok(path) if path.is_file() => {
            let text = std::fs::read_to_string(&path)
                .with_context(|| format!("reading {}", path.display()))?;
            (
                parse(&text).with_context(|| format!("reading {}", path.display()))?,
                "of the data kit",
            )
        }
        _ => (
            generate(seed),
            "generated, as the data kit is not here (`fetch-data core`)",
        ),
    };
    let angle = |hour: f64| hour * std::f64::consts::TAU / 24.0;
    let x = flights
        .iter()
        .flat_map(|f| {
            [
                f.distance / 1000.0,
                angle(f.hour).sin(),
                angle(f.hour).cos(),
            ]
        })
        .collect();
    let y = flights.iter().map(|f| f.delay).collect();
    let ranges = PublicTransform::new(vec![(0.0, 2.0), (-1.0, 1.0), (-1.0, 1.0)], (-60.0, 180.0))?;
    Ok((
        Rows::new(names, x, y)?
            .transformed(&ranges)?
            .with_intercept(),
        source,
    ))
}

struct Flight {
    delay: f64,
    distance: f64,
    hour: f64,
}

/// Records with `delay`, `distance` and a `date` such as `2001/01/14 21:55`.
fn parse(text: &str) -> Result<Vec<Flight>> {
    let records: Vec<Json> = serde_json::from_str(text)?;
    records
        .iter()
        .enumerate()
        .map(|(index, record)| {
            let number = |key: &str| {
                record[key]
                    .as_f64()
                    .with_context(|| format!("record {index} has no number `{key}`"))
            };
            let clock = record["date"]
                .as_str()
                .and_then(|date| date.rsplit([' ', 'T']).next());
            let hour = clock.and_then(|clock| {
                let mut parts = clock.split(':').map(str::parse::<f64>);
                Some(parts.next()?.ok()? + parts.next()?.ok()? / 60.0)
            });
            Ok(Flight {
                delay: number("delay")?,
                distance: number("distance")?,
                hour: hour.with_context(|| format!("record {index} has no time of day"))?,
            })
        })
        .collect()
}

fn generate(seed: u64) -> Vec<Flight> {
    let mut rng = StdRng::seed_from_u64(seed);
    (0..20_000)
        .map(|_| {
            let (distance, hour) = (rng.random_range(100.0..2500.0), rng.random_range(5.0..23.0));
            // Late flights are rarer the later they are.
            let late = -35.0 * (1.0 - rng.random::<f64>()).ln() - 25.0;
            Flight {
                delay: late + 0.8 * (hour - 5.0) - 0.001 * distance,
                distance,
                hour,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flights_are_parsed_or_named() {
        let flights =
            parse(r#"[{"date": "2001/01/14 21:30", "delay": -3, "distance": 480}]"#).unwrap();
        assert_eq!(
            (flights[0].hour, flights[0].delay, flights[0].distance),
            (21.5, -3.0, 480.0)
        );
        let error = parse(r#"[{"date": "soon", "delay": 1, "distance": 2}]"#)
            .err()
            .unwrap();
        assert!(error.to_string().contains("record 0"));
    }

    #[test]
    fn generated_flights_fit_the_public_ranges() {
        let (rows, _) = read(0).unwrap();
        assert_eq!(rows.names()[0], "intercept");
        let (x, y) = rows.dataset().unwrap().to_vectors().unwrap();
        assert!(y.iter().all(|y| (-60.0..=180.0).contains(y)));
        assert!(x.iter().all(|x| (-1.0..=2.0).contains(x)));
    }
}
