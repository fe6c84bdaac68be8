//! The default run: what the planner promises, how errors depend on conditioning, one real table with intervals, an audit.

mod flights;
mod sweep;

use std::time::Instant;

use anyhow::Result;
use dp_regression::audit::{Neighbours, OutputLaw};
use dp_regression::plan::{gaussian_leverage_bound, gaussian_residual_bound};
use dp_regression::{Adjacency, Dataset, Error, Issp, Plan, PlanInput, PrivacyBudget};
use serde_json::{Value as Json, json};

use crate::args::CommonArgs;
use crate::interrupt::Limit;
use crate::report::Report;
use crate::table::{self, Table};

/// What the default run does.
#[derive(Clone, Debug)]
pub struct Options {
    /// Rows of each generated table. Default 100,000.
    pub rows: usize,
    /// Its columns. Default 10.
    pub columns: usize,
    /// Epsilon. Default 1.
    pub epsilon: f64,
    /// Delta. Default 1e-6.
    pub delta: f64,
    /// Condition numbers of `X'X`. Default 1, 100, 1e4, 1e6, 1e8, 1e10, 1e12.
    pub conditions: Vec<f64>,
    /// Tables for each condition number. Default 2.
    pub repeats: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            rows: 100_000,
            columns: 10,
            epsilon: 1.0,
            delta: 1e-6,
            conditions: vec![1.0, 1e2, 1e4, 1e6, 1e8, 1e10, 1e12],
            repeats: 2,
        }
    }
}

/// Plans, sweeps over condition numbers, fits a real table, and audits. Returns what `--json` prints; with `--out`, draws the sweep.
///
/// # Errors
/// Whatever the libraries or the file system bring.
pub fn run(options: &Options, common: &CommonArgs, report: &Report) -> Result<Json> {
    let start = Instant::now();
    let limit = Limit::start(None);
    let budget = PrivacyBudget::new(options.epsilon, options.delta)?;
    plans(options.delta, report)?;

    let (rows, columns) = (options.rows as f64, options.columns);
    let bounds = (
        gaussian_leverage_bound(rows, columns),
        gaussian_residual_bound(rows, 1.0),
    );
    let issp = Issp::new(&PlanInput::new(budget, bounds.0, bounds.1))?;
    let plan = issp.plan();
    report.say(format!(
        "\nErrors by condition number: {} rows, {columns} columns, y = x'b + N(0,1) with a signal of 1; (epsilon, delta) = {budget}, replaced \
         rows.\nISSP has the public bounds L = {:.2e} and R = {:.2}, k = {}, a = {}, c = {:.2}, and should have an error of {:.4}.\n\
         The others get the table's own bounds and scales, which is better than they could have.",
        options.rows,
        bounds.0,
        bounds.1,
        plan.score_cap(),
        plan.window(),
        plan.noise_scale(),
        plan.expected_error(rows, columns),
    ));
    let sweep = sweep::run(options, &issp, common.seed, &limit)?;
    sweep::show(&sweep, report);
    if let Some(path) = common
        .out_file("conditions.svg")?
        .filter(|_| !sweep.is_empty())
    {
        sweep::chart(&sweep).write(&path)?;
        report.say(format!("wrote {}", path.display()));
    }

    let flights = flights::run(common.seed, report)?;
    let audit = audit(plan)?;
    report.say(format!(
        "\nAudit of the plan above, by the exact distributions of its outputs on pairs of tables that differ in one row, clean and with outliers: \
         they need an epsilon of {audit:.4}, and {} is promised.",
        options.epsilon,
    ));
    let ols: Vec<f64> = sweep
        .iter()
        .filter(|row| row.method == "ols")
        .map(|row| row.error)
        .collect();
    let stopped = limit.reason();
    if let Some(reason) = &stopped {
        report.say(format!("stopped early: {reason}"));
    }
    let seconds = start.elapsed().as_secs_f64();
    report.say(format!("{seconds:.1} s"));
    Ok(json!({
        "epsilon": options.epsilon,
        "delta": options.delta,
        "adjacency": "replace",
        "rows": options.rows,
        "columns": options.columns,
        "audit_epsilon_lower": audit,
        "ols_error": if ols.is_empty() { None } else { Some(ols.iter().sum::<f64>() / ols.len() as f64) },
        "expected-error": plan.expected_error(rows, columns),
        "flights": flights,
        "stopped": stopped,
        "seconds": seconds,
        "results": sweep,
    }))
}

/// The planner's table: errors to expect, before any data.
fn plans(delta: f64, report: &Report) -> Result<()> {
    report.say(format!(
        "Errors to expect of ISSP on clean Gaussian tables, |Sigma^(1/2) (released - least squares)| in units of the noise, delta = \
         {delta:e};\nleast squares itself errs by sqrt(d/n). Known before there is a table."
    ));
    let mut shown = Table::new([
        "n",
        "d",
        "sqrt(d/n)",
        "neighbours",
        "eps = 0.5",
        "eps = 1",
        "eps = 2",
        "eps = 4",
    ]);
    for (rows, columns) in [(2e4, 5), (1e5, 10), (2e5, 20), (1e6, 10), (1e6, 100)] {
        for adjacency in [Adjacency::Replace, Adjacency::AddRemove] {
            let mut cells = vec![
                table::integer(rows as i64),
                table::integer(columns as i64),
                table::decimal((columns as f64 / rows).sqrt(), 4),
                table::text(adjacency.to_string()),
            ];
            for epsilon in [0.5, 1.0, 2.0, 4.0] {
                let budget = PrivacyBudget::new(epsilon, delta)?;
                let bounds = (
                    gaussian_leverage_bound(rows, columns),
                    gaussian_residual_bound(rows, 1.0),
                );
                let input = PlanInput::new(budget, bounds.0, bounds.1).with_adjacency(adjacency);
                cells.push(match Plan::search(&input) {
                    Ok(plan) => table::decimal(plan.expected_error(rows, columns), 4),
                    Err(Error::Infeasible(_)) => table::missing(),
                    Err(error) => return Err(error.into()),
                });
            }
            shown.row(cells);
        }
    }
    report.table(&shown);
    Ok(())
}

/// The epsilon that the outputs on the worst of many pairs really need: where the exact delta reaches the plan's. The pairs are clean tables at the edge of
/// what passes, and tables with every number of outliers up to the cap and one more.
fn audit(plan: &Plan) -> Result<f64> {
    let issp = Issp::with_plan(plan.clone());
    let law = |(x, y): &(Vec<f64>, Vec<f64>)| -> Result<OutputLaw> {
        Ok(issp.output_law(&Dataset::new(&x[..], &y[..], 1)?)?)
    };
    let mut pairs = vec![Neighbours::edge(plan)?];
    for outliers in 0..=plan.score_cap() {
        pairs.push(Neighbours::outliers(plan, outliers)?);
    }
    let target = plan.input().budget.delta();
    let mut worst: f64 = 0.0;
    for pair in &pairs {
        let (first, second) = (law(&pair.first)?, law(&pair.second)?);
        let needs = |epsilon: f64| -> Result<bool> {
            Ok(first
                .delta(&second, epsilon)?
                .max(second.delta(&first, epsilon)?)
                > target)
        };
        if !needs(worst)? {
            continue;
        }
        let (mut low, mut high) = (worst, 4.0 * plan.input().budget.epsilon());
        for _ in 0..40 {
            let middle = 0.5 * (low + high);
            if needs(middle)? {
                low = middle
            } else {
                high = middle
            }
        }
        worst = low;
    }
    Ok(worst)
}
