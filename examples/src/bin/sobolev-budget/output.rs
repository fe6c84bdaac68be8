//! What the program shows and writes of its fits.

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::Path;

use anyhow::{Context as _, Result};
use fire_assay_examples::Report;
use fire_assay_examples::plot::{LineSeries, LineStyle, Value as Height};
use fire_assay_examples::stops::sobolev_budget::picture::{
    self, Tradeoff, View, bound_line, map_curve,
};
use fire_assay_examples::table::{self, Table};
use serde_json::{Value, json};
use sobolev_budget::{BudgetCurve, Constraint, Fit, PathPoint, tube_lower_bound};

use super::Args;
use super::input::{Peer, Points};

/// Arrows along a curve, at about so many of its nodes.
const ARROWS: usize = 16;

/// Prints each start of each fit, and a table of the fits.
pub(super) fn show(curve: &BudgetCurve, peers: &[Peer], report: &Report) {
    for point in &curve.points {
        let fit = &point.fit;
        report.say(match fit.config.constraint {
            Constraint::Budget(budget) => format!("\nl = {budget}"),
            Constraint::Price(price) => format!("\nprice = {price}"),
        });
        for start in &fit.starts {
            report.say(format!(
                "start={} J={:.6e} sweeps={} nodes={}",
                start.name, start.j, start.sweeps, start.nodes
            ));
        }
        report.say(format!(
            "kkt stationarity={:.1e} complementarity={:.1e} infeasibility={:.1e} outcome={}",
            fit.kkt.stationarity,
            fit.kkt.complementarity,
            fit.kkt.infeasibility,
            outcome(fit)
        ));
    }
    report.say("");
    let mut shown = Table::new([
        "l", "J", "LB", "J/LB", "lambda", "dJ/dl", "promised", "dJ (fd)", "cost", "length", "area",
        "seconds",
    ]);
    for point in &curve.points {
        let fit = &point.fit;
        let optional = |value: Option<f64>, cell: fn(f64, usize) -> table::Cell, places| {
            value.map_or_else(table::missing, |value| cell(value, places))
        };
        let ratio = fit.lower_bound.filter(|bound| *bound > 0.0);
        shown.row([
            table::decimal(point.budget, 4),
            table::scientific(fit.j, 5),
            optional(fit.lower_bound, table::scientific, 5),
            optional(ratio.map(|bound| fit.j / bound), table::decimal, 3),
            table::scientific(fit.multiplier, 3),
            table::scientific(fit.slope(), 3),
            optional(point.promised, table::scientific, 3),
            optional(point.difference, table::scientific, 3),
            table::decimal(fit.cost, 4),
            optional(fit.map.length(), table::decimal, 4),
            optional(fit.map.area(), table::decimal, 4),
            table::decimal(fit.seconds, 2),
        ]);
    }
    report.table(&shown);
    if curve.points.len() > 1 {
        report.say("dJ/dl is the slope by the multiplier; from a budget to the next, J falls by dJ (fd), and the multipliers promised as much.");
    }
    if let Some(knee) = curve.knee() {
        report.say(format!(
            "knee at l = {knee:.4}: beyond it more budget buys less (a rule of thumb)"
        ));
    }
    for peer in peers {
        report.say(format!(
            "compare={} length={:.6} J={:.6e}",
            peer.name, peer.length, peer.j
        ));
    }
}

fn outcome(fit: &Fit) -> String {
    format!("{:?}", fit.outcome).to_lowercase()
}

/// What `--json` prints.
pub(super) fn json(
    args: &Args,
    points: &Points,
    curve: &BudgetCurve,
    peers: &[Peer],
    stopped: Option<String>,
    seconds: f64,
) -> Value {
    let result = |point: &PathPoint| {
        let fit = &point.fit;
        let starts = fit.starts.iter().map(
            |start| json!({"name": start.name, "j": start.j, "sweeps": start.sweeps, "nodes": start.nodes}),
        );
        json!({
            "measure": points.name,
            "k": args.k,
            "budget": point.budget,
            "j": fit.j,
            "lower_bound": fit.lower_bound,
            "multiplier": fit.multiplier,
            "slope": fit.slope(),
            "difference": point.difference,
            "promised": point.promised,
            "cost": fit.cost,
            "length": fit.map.length(),
            "area": fit.map.area(),
            "stationarity": fit.kkt.stationarity,
            "complementarity": fit.kkt.complementarity,
            "infeasibility": fit.kkt.infeasibility,
            "outcome": outcome(fit),
            "starts": starts.collect::<Vec<_>>(),
            "seconds": fit.seconds,
        })
    };
    let config = curve.points.first().map(|point| &point.fit.config);
    let peers = peers
        .iter()
        .map(|peer| json!({"name": peer.name, "length": peer.length, "j": peer.j}));
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "points": points.measure.len(),
        "dimension": points.measure.dimension(),
        "settings": config.map(|config| json!({
            "domain": config.domain,
            "k": config.smoothness.order,
            "p": config.exponent,
            "q": config.smoothness.exponent,
            "norm": config.smoothness.norm,
            "price": args.price,
            "nodes": config.nodes,
            "interpolation": config.interpolation,
            "starts": config.starts.principal,
            "continuation": config.starts.continuation,
            "centres": config.starts.centres,
            "finalists": config.starts.finalists,
            "seed": config.seed,
            "tolerance": config.tolerance,
            "max-sweeps": config.max_sweeps,
            "volume": config.volume,
        })),
        "knee": curve.knee(),
        "complete": curve.complete,
        "stopped": stopped,
        "compare": peers.collect::<Vec<_>>(),
        "seconds": seconds,
        "results": curve.points.iter().map(result).collect::<Vec<_>>(),
    })
}

/// Writes the files of `--out`.
pub(super) fn write(
    args: &Args,
    points: &Points,
    curve: &BudgetCurve,
    peers: &[Peer],
    result: &Value,
    report: &Report,
) -> Result<()> {
    let wrote = |path: &Path| report.say(format!("wrote {}", path.display()));
    let measure = &points.measure;
    let several = curve.points.len() > 1;
    let mut drawn = Vec::new();
    let view = View::new(measure);
    for point in &curve.points {
        let map = &point.fit.map;
        let name = match several {
            true => format!("map_{}", point.budget),
            false => "map".to_owned(),
        };
        let Some(path) = args.common.out_file(&format!("{name}.csv"))? else {
            return Ok(());
        };
        map.to_csv(created(&path)?, Some(measure))?;
        wrote(&path);
        if (map.grid().domain().dimension(), map.dimension()) == (2, 3) {
            let path = path.with_extension("obj");
            map.to_obj(created(&path)?)?;
            wrote(&path);
        }
        let every = map.grid().side().div_ceil(ARROWS);
        let arrows = (map.grid().domain().dimension() == 1).then_some((every, measure, args.p));
        let name = match args.price {
            Some(price) => format!("price {price}"),
            None => format!("l = {}", point.budget),
        };
        drawn.push(map_curve(&view, name, map, arrows)?);
    }
    let file = |name: &str| args.common.out_file(name);
    if let Some(path) = file("fit.svg")?.filter(|_| !drawn.is_empty()) {
        view.picture(points.name.clone(), measure, drawn)
            .write(&path)?;
        wrote(&path);
    }
    let tradeoff = Tradeoff {
        name: format!("this program, k = {}", args.k),
        points: curve
            .points
            .iter()
            .map(|point| (point.budget, point.fit.j))
            .collect(),
        bound: bounds(curve, measure.dimension())?,
    };
    let positive = tradeoff.points.iter().any(|(x, y)| *x > 0.0 && *y > 0.0);
    if let Some(path) = file("tradeoff.svg")?.filter(|_| several && positive) {
        let axis = match args.k {
            1 => "budget, the length of a curve",
            _ => "budget",
        };
        let mut chart = picture::tradeoff_chart(&points.name, axis, &[tradeoff]);
        // A length is a budget where only length costs.
        let shown = peers
            .iter()
            .filter(|peer| args.k == 1 && peer.j > 0.0 && peer.length > 0.0);
        chart.series.extend(shown.map(|peer| LineSeries {
            name: peer.name.clone(),
            style: LineStyle::Markers,
            points: vec![(peer.length, Height::from(peer.j))],
        }));
        chart.write(&path)?;
        wrote(&path);
    }
    if let Some(path) = file("result.json")? {
        fs::write(&path, format!("{result:#}\n"))
            .with_context(|| format!("cannot write {}", path.display()))?;
        wrote(&path);
    }
    Ok(())
}

/// Lower bounds between the least and the largest budget, where they are known.
fn bounds(curve: &BudgetCurve, dimension: usize) -> Result<Vec<(f64, f64)>> {
    let [first, .., last] = &curve.points[..] else {
        return Ok(Vec::new());
    };
    let config = &first.fit.config;
    let Some(volume) = config.volume else {
        return Ok(Vec::new());
    };
    bound_line([first.budget, last.budget], |budget| {
        Ok(tube_lower_bound(
            config.domain,
            &config.smoothness,
            budget,
            config.exponent,
            dimension,
            volume,
        )?)
    })
}

fn created(path: &Path) -> Result<BufWriter<File>> {
    let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(BufWriter::new(file))
}
