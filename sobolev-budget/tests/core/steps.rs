//! One step with known parameters, against solutions with fifty digits, and the cost of a map against its definition.

use serde::Deserialize;
use sobolev_budget::{
    Constraint, Domain, Error, FitConfig, Grid, GridMap, Interpolation, Measure, Norm, Smoothness,
};

use crate::support::{assert_close, sequence};

/// Written by `tests/data/spline.py`.
#[derive(Deserialize)]
struct Reference {
    nodes: usize,
    points: Vec<[f64; 2]>,
    weights: Vec<f64>,
    positions: Vec<f64>,
    budgeted: Vec<Case>,
    penalised: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    order: usize,
    budget: Option<f64>,
    lambda: f64,
    objective: f64,
    norm: f64,
    f: Vec<[f64; 2]>,
}

fn reference() -> (Reference, Measure) {
    let reference: Reference = serde_json::from_str(include_str!("../data/spline.json")).unwrap();
    let measure =
        Measure::weighted(2, reference.points.concat(), reference.weights.clone()).unwrap();
    (reference, measure)
}

#[track_caller]
fn assert_map(map: &GridMap, expected: &[[f64; 2]], tolerance: f64) {
    for (node, expected) in expected.iter().enumerate() {
        for (x, e) in map.value(node).iter().zip(expected) {
            assert!((x - e).abs() < tolerance, "node {node}: {x} {e}");
        }
    }
}

#[test]
fn budgeted_steps_are_exact() {
    let (reference, measure) = reference();
    for case in &reference.budgeted {
        let config = FitConfig::new(
            Domain::Interval,
            Smoothness::new(case.order),
            Constraint::Budget(case.budget.unwrap()),
        )
        .with_nodes(reference.nodes);
        let found = config.fit_at(&measure, &reference.positions).unwrap();
        assert_map(&found.map, &case.f, 1e-9);
        assert_close(found.error, case.objective, 1e-9);
        assert!((found.cost - case.norm).abs() <= 1e-9 * case.norm);
        assert!(
            (found.multiplier - case.lambda).abs() <= 1e-8 * case.lambda.max(1e-9),
            "{} {}",
            found.multiplier,
            case.lambda
        );
    }
}

/// Multipliers from 1e-6 to 1e6: the largest take the augmented system, the others Cholesky's factors.
#[test]
fn priced_steps_are_exact_at_every_multiplier() {
    let (reference, measure) = reference();
    for case in &reference.penalised {
        let config = FitConfig::new(
            Domain::Interval,
            Smoothness::new(case.order),
            Constraint::Price(case.lambda),
        )
        .with_nodes(reference.nodes);
        let found = config.fit_at(&measure, &reference.positions).unwrap();
        assert_map(&found.map, &case.f, 1e-9);
        assert_close(found.error, case.objective, 1e-9);
    }
}

/// Both ways to solve agree where one takes over from the other: there the solution changes no faster than the multiplier.
#[test]
fn solutions_are_smooth_in_the_multiplier() {
    let measure = Measure::from_points(2, sequence(100, 41)).unwrap();
    let parameters = sequence(50, 42);
    for (order, nodes) in [(1, 65), (2, 65), (3, 33)] {
        let at = |price: f64| {
            FitConfig::new(
                Domain::Interval,
                Smoothness::new(order),
                Constraint::Price(price),
            )
            .with_nodes(nodes)
            .fit_at(&measure, &parameters)
            .unwrap()
        };
        for exponent in -24..24 {
            let price = 10f64.powf(f64::from(exponent) / 4.0);
            let (a, b) = (at(price), at(price * 1.000_001));
            let scale = a
                .map
                .values()
                .iter()
                .fold(1.0f64, |most, x| most.max(x.abs()));
            for (x, y) in a.map.values().iter().zip(b.map.values()) {
                assert!(
                    (x - y).abs() < 2e-6 * scale,
                    "order {order}, price {price}: {x} {y}"
                );
            }
        }
    }
}

/// Surfaces and closed curves with known parameters: data from a map that the budget allows come back.
#[test]
fn data_of_a_map_come_back() {
    for domain in [
        Domain::Circle,
        Domain::Square,
        Domain::Cylinder,
        Domain::Torus,
    ] {
        let m = domain.dimension();
        let grid = Grid::new(domain, 8).unwrap();
        let truth =
            GridMap::new(grid, Interpolation::Linear, 3, sequence(grid.len() * 3, 43)).unwrap();
        let parameters = Measure::uniform(40 * grid.len(), m, 44)
            .unwrap()
            .points()
            .to_vec();
        let points = parameters
            .chunks_exact(m)
            .flat_map(|s| truth.eval(s).unwrap())
            .collect();
        let measure = Measure::from_points(3, points).unwrap();
        let smoothness = Smoothness::new(2);
        let budget = 1.01 * truth.cost(&smoothness).unwrap();
        let config = FitConfig::new(domain, smoothness, Constraint::Budget(budget)).with_nodes(8);
        let found = config.fit_at(&measure, &parameters).unwrap();
        assert_eq!(found.multiplier, 0.0);
        for (x, y) in found.map.values().iter().zip(truth.values()) {
            assert!((x - y).abs() < 1e-6, "{domain}: {x} {y}");
        }
    }
}

#[test]
fn parameters_are_checked() {
    let measure = Measure::from_points(1, vec![0.0, 1.0]).unwrap();
    let config = FitConfig::new(
        Domain::Interval,
        Smoothness::new(1),
        Constraint::Budget(1.0),
    );
    assert!(matches!(
        config.fit_at(&measure, &[0.0]),
        Err(Error::Size {
            expected: 2,
            found: 1,
            ..
        })
    ));
    assert!(matches!(
        config.fit_at(&measure, &[0.0, f64::NAN]),
        Err(Error::NonFinite { row: 1, column: 0 })
    ));
    let other = config.clone().with_exponent(1.0);
    assert!(matches!(
        other.fit_at(&measure, &[0.0, 1.0]),
        Err(Error::Parameter { .. })
    ));
}

/// The cost of polynomials and waves is the integral of their derivatives.
#[test]
fn costs_are_integrals_of_derivatives() {
    let cost =
        |domain: Domain, side: usize, smoothness: &Smoothness, f: &dyn Fn(&[f64]) -> Vec<f64>| {
            let grid = Grid::new(domain, side).unwrap();
            let values: Vec<f64> = (0..grid.len())
                .flat_map(|node| f(&grid.parameters(node)))
                .collect();
            let n = values.len() / grid.len();
            GridMap::new(grid, Interpolation::Linear, n, values)
                .unwrap()
                .cost(smoothness)
                .unwrap()
        };
    // A straight line of velocity (3, 4), whatever q.
    for q in [1.5, 2.0, 3.0] {
        let found = cost(
            Domain::Interval,
            9,
            &Smoothness::new(1).with_exponent(q),
            &|s| vec![3.0 * s[0], 4.0 * s[0]],
        );
        assert_close(found, 5.0, 1e-12);
    }
    // s^2 has the second derivative 2.
    for q in [1.5, 2.0, 3.0] {
        let found = cost(
            Domain::Interval,
            9,
            &Smoothness::new(2).with_exponent(q),
            &|s| vec![s[0] * s[0]],
        );
        assert_close(found, 2.0, 1e-10);
    }
    // A plane's first derivatives: 1, 2 and 2, so 3. s t has one mixed derivative, which the tensor holds twice.
    let plane = cost(
        Domain::Square,
        6,
        &Smoothness::new(1).with_exponent(3.0),
        &|s| vec![s[0], 2.0 * s[1], 2.0 * s[0]],
    );
    assert_close(plane, 3.0, 1e-12);
    let saddle = cost(Domain::Square, 6, &Smoothness::new(2), &|s| {
        vec![s[0] * s[1]]
    });
    assert_close(saddle, 2f64.sqrt(), 1e-10);
    let bowl = cost(Domain::Square, 6, &Smoothness::new(2), &|s| {
        vec![s[0] * s[0] + 0.5 * s[1] * s[1]]
    });
    assert_close(bowl, 5f64.sqrt(), 1e-10);
    let cube = cost(Domain::Cube, 5, &Smoothness::new(2), &|s| {
        vec![s[0] * s[1] + s[2] * s[2]]
    });
    assert_close(cube, 6f64.sqrt(), 1e-10);
    // A wave around a circle, times itself in the mean square; the torus along either axis; the error is of second order.
    let wave = |s: f64| vec![(std::f64::consts::TAU * s).sin()];
    for order in 1..=3 {
        let expected = std::f64::consts::TAU.powi(order) / 2f64.sqrt();
        let smoothness = Smoothness::new(order as usize);
        assert_close(
            cost(Domain::Circle, 128, &smoothness, &|s| wave(s[0])),
            expected,
            1e-3,
        );
        if order > 1 {
            assert_close(
                cost(Domain::Torus, 64, &smoothness, &|s| wave(s[0])),
                expected,
                4e-3,
            );
            assert_close(
                cost(Domain::Torus, 64, &smoothness, &|s| wave(s[1])),
                expected,
                4e-3,
            );
            assert_close(
                cost(Domain::Cylinder, 64, &smoothness, &|s| wave(s[1])),
                expected,
                4e-3,
            );
        }
    }
    // The full norm adds the orders below: of 1 + s the square of the value has the integral 7/3.
    let full = Smoothness::new(1).with_norm(Norm::Full);
    assert_close(
        cost(Domain::Interval, 513, &full, &|s| vec![1.0 + s[0]]),
        (7.0 / 3.0 + 1.0f64).sqrt(),
        1e-5,
    );
    let weighted = Smoothness::new(2).with_norm(Norm::Weighted(vec![0.0, 3.0, 5.0]));
    let found = cost(Domain::Interval, 513, &weighted, &|s| vec![s[0] * s[0]]);
    assert_close(found, (3.0 * 4.0 / 3.0 + 5.0 * 4.0f64).sqrt(), 1e-3);
}

/// No oscillation of the grid is free: a chessboard costs as much as its differences say.
#[test]
fn a_chessboard_is_dear() {
    for domain in [Domain::Square, Domain::Torus] {
        let grid = Grid::new(domain, 8).unwrap();
        let values = (0..64)
            .map(|node| {
                if (node / 8 + node % 8) % 2 == 0 {
                    1.0
                } else {
                    -1.0
                }
            })
            .collect();
        let map = GridMap::new(grid, Interpolation::Linear, 1, values).unwrap();
        assert!(map.cost(&Smoothness::new(1).with_exponent(3.0)).unwrap() > 10.0);
        assert!(map.cost(&Smoothness::new(2)).unwrap() > 100.0);
    }
}
