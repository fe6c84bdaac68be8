//! The curve J(l), its slope, and interrupted work.

use std::sync::atomic::{AtomicUsize, Ordering};

use sobolev_budget::{
    BudgetPath, Constraint, Domain, Error, FitConfig, FitOptions, Measure, Outcome, Smoothness,
};

use crate::support::{config, sequence};

fn path(nodes: usize) -> BudgetPath {
    let config = FitConfig::new(
        Domain::Interval,
        Smoothness::new(1),
        Constraint::Budget(1.0),
    )
    .with_nodes(nodes);
    let budgets = (0..8).map(|i| 0.4 * 1.06f64.powi(i)).collect();
    BudgetPath::new(config, budgets)
        .unwrap()
        .with_starts_every(3)
}

/// J falls strictly, and as fast as the multipliers say (envelope theorem).
#[test]
fn the_slope_is_the_multiplier() {
    let curve = path(65).fit(&Measure::square_lattice(60).unwrap()).unwrap();
    assert!(curve.complete && curve.points.len() == 8);
    for pair in curve.points.windows(2) {
        assert!(pair[1].fit.j < pair[0].fit.j);
        let (difference, promised) = (pair[0].difference.unwrap(), pair[0].promised.unwrap());
        assert!(
            (difference - promised).abs() <= 0.03 * promised.abs(),
            "{difference} {promised}"
        );
    }
}

/// A measure around a curve of length 3: beyond that length, budget buys little.
#[test]
fn the_knee_is_where_the_shape_is_covered() {
    let noise = sequence(2000, 31);
    let points = (0..1000)
        .flat_map(|i| [3.0 * f64::from(i) / 1000.0, 0.02 * noise[i as usize]])
        .collect();
    let config = FitConfig::new(
        Domain::Interval,
        Smoothness::new(1),
        Constraint::Budget(1.0),
    )
    .with_nodes(33);
    let budgets = vec![0.5, 1.0, 1.5, 2.0, 2.5, 2.9, 3.3, 3.8];
    let curve = BudgetPath::new(config, budgets)
        .unwrap()
        .fit(&Measure::from_points(2, points).unwrap())
        .unwrap();
    let knee = curve.knee().unwrap();
    assert!((2.5..=3.3).contains(&knee), "{knee}");
}

#[test]
fn a_resumed_path_is_the_same() {
    let measure = Measure::square_lattice(20).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("path.json");
    let whole = path(17).fit(&measure).unwrap();

    // Asked often; stops somewhere in the middle of a fit.
    let asked = AtomicUsize::new(0);
    let stop = || asked.fetch_add(1, Ordering::Relaxed) > 700;
    let options = FitOptions::default().with_stop(&stop);
    let part = path(17).fit_with(&measure, Some(&file), &options).unwrap();
    assert!(
        !part.complete && !part.points.is_empty() && part.points.len() < 8,
        "{}",
        part.points.len()
    );
    let resumed = path(17)
        .fit_with(&measure, Some(&file), &FitOptions::default())
        .unwrap();
    assert!(resumed.complete);
    for (a, b) in whole.points.iter().zip(&resumed.points) {
        assert_eq!(
            (&a.fit.map, a.fit.j, a.fit.multiplier),
            (&b.fit.map, b.fit.j, b.fit.multiplier)
        );
    }

    let other = path(33).fit_with(&measure, Some(&file), &FitOptions::default());
    assert!(matches!(other, Err(Error::Checkpoint { .. })), "{other:?}");
    std::fs::write(&file, "{").unwrap();
    let broken = path(17).fit_with(&measure, Some(&file), &FitOptions::default());
    assert!(matches!(broken, Err(Error::Read { .. })), "{broken:?}");
}

#[test]
fn a_stopped_fit_returns_what_it_has() {
    let measure = Measure::square_lattice(30).unwrap();
    let asked = AtomicUsize::new(0);
    let stop = || asked.fetch_add(1, Ordering::Relaxed) > 5;
    let options = FitOptions::default().with_stop(&stop);
    let fit = config(Domain::Interval, 1, 2.0)
        .fit_with(&measure, &options)
        .unwrap();
    assert_eq!(fit.outcome, Outcome::Stopped);
    assert!(fit.cost <= 2.0 * (1.0 + 1e-10) && fit.j.is_finite());
}

#[test]
fn a_fit_comes_back_from_json() {
    let fit = config(Domain::Circle, 2, 9.0)
        .with_nodes(16)
        .fit(&Measure::circle(50).unwrap())
        .unwrap();
    let text = serde_json::to_string(&fit).unwrap();
    let back: sobolev_budget::Fit = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (&back.map, back.j, &back.config),
        (&fit.map, fit.j, &fit.config)
    );
    // What is not a map is refused.
    let broken = text.replacen("\"side\":16", "\"side\":17", 1);
    assert_ne!(broken, text);
    assert!(serde_json::from_str::<sobolev_budget::Fit>(&broken).is_err());
}
