//! What must not change the result, or change it in a known way.

use sobolev_budget::{
    Constraint, Domain, FitConfig, FitOptions, Grid, GridMap, Interpolation, Measure, Smoothness,
    Starts,
};

use crate::support::{assert_close, config, sequence};

fn cloud() -> Vec<f64> {
    let mut points = sequence(600, 21);
    for point in points.chunks_exact_mut(2) {
        point[0] *= 2.0;
    }
    points
}

/// A bent start of 33 nodes.
fn start() -> GridMap {
    let grid = Grid::new(Domain::Interval, 33).unwrap();
    let values = (0..33)
        .flat_map(|i| {
            [
                0.2 + 0.04 * f64::from(i),
                0.5 + 0.3 * (0.3 * f64::from(i)).sin(),
            ]
        })
        .collect();
    GridMap::new(grid, Interpolation::Linear, 2, values).unwrap()
}

/// Fits the points and the start, both moved by the same map of the plane.
fn moved(order: usize, p: f64, budget: f64, by: impl Fn(&[f64]) -> [f64; 2]) -> f64 {
    let apply = |values: &[f64]| -> Vec<f64> { values.chunks_exact(2).flat_map(&by).collect() };
    let measure = Measure::from_points(2, apply(&cloud())).unwrap();
    let start = start();
    let start = GridMap::new(
        start.grid(),
        Interpolation::Linear,
        2,
        apply(start.values()),
    )
    .unwrap();
    let options = FitOptions::default().with_starts(vec![start]);
    config(Domain::Interval, order, budget)
        .with_exponent(p)
        .with_starts(Starts::given())
        .with_nodes(33)
        .with_tolerance(1e-12)
        .with_max_sweeps(3000)
        .fit_with(&measure, &options)
        .unwrap()
        .j
}

/// Orders, exponents p and budgets at which the start leads to one minimum. With more budget there are many close by, and rounding chooses.
const CASES: [(usize, f64, f64); 3] = [(1, 2.0, 1.0), (2, 2.0, 2.0), (1, 1.5, 0.7)];

#[test]
fn turning_and_moving_changes_nothing() {
    for (order, p, budget) in CASES {
        let base = moved(order, p, budget, |x| [x[0], x[1]]);
        let (sin, cos) = 0.7f64.sin_cos();
        let turned = moved(order, p, budget, |x| {
            [cos * x[0] - sin * x[1] + 5.0, sin * x[0] + cos * x[1] - 3.0]
        });
        // The diameter of the bounding box, the inner unit, differs; so does the rounding.
        assert_close(turned, base, 1e-6);
    }
}

#[test]
fn scaling_scales() {
    for (order, p, budget) in CASES {
        let base = moved(order, p, budget, |x| [x[0], x[1]]);
        for factor in [0.5f64.powi(20), 32.0, 2f64.powi(30)] {
            let scaled = moved(order, p, factor * budget, |x| {
                [factor * x[0], factor * x[1]]
            });
            assert_close(scaled / factor.powf(p), base, 1e-12);
        }
        for factor in [1e-6, 37.0, 1e9] {
            let scaled = moved(order, p, factor * budget, |x| {
                [factor * x[0], factor * x[1]]
            });
            assert_close(scaled / factor.powf(p), base, 1e-8);
        }
    }
}

/// With coordinates far from the origin nothing is lost, as inner coordinates are centred.
#[test]
fn far_from_the_origin_is_as_good() {
    let base = moved(1, 2.0, 2.0, |x| [x[0], x[1]]);
    let far = moved(1, 2.0, 2.0, |x| [x[0] + 1e6, x[1] - 1e6]);
    assert_close(far, base, 1e-7);
}

/// For curves of order 1 the budget is a length, whatever the exponent q.
#[test]
fn for_lengths_the_exponent_does_not_matter() {
    let measure = Measure::square_lattice(40).unwrap();
    let j: Vec<f64> = [1.5, 2.0, 3.0, 4.0]
        .iter()
        .map(|q| {
            FitConfig::new(
                Domain::Interval,
                Smoothness::new(1).with_exponent(*q),
                Constraint::Budget(1.0),
            )
            .with_nodes(65)
            .fit(&measure)
            .unwrap()
            .j
        })
        .collect();
    for other in &j {
        assert_close(*other, j[1], 5e-3);
    }
}

#[test]
fn a_weight_of_two_is_two_points() {
    let points = sequence(100, 22);
    let mut weights = vec![1.0; 50];
    let mut doubled = points.clone();
    for i in (0..50).step_by(3) {
        weights[i] = 2.0;
        doubled.extend_from_slice(&points[2 * i..2 * i + 2]);
    }
    let weighted = Measure::weighted(2, points, weights).unwrap();
    let doubled = Measure::from_points(2, doubled).unwrap();
    let start = FitOptions::default().with_starts(vec![start()]);
    let config = config(Domain::Interval, 1, 1.5)
        .with_starts(Starts::given())
        .with_nodes(33);
    let [a, b] = [&weighted, &doubled].map(|measure| config.fit_with(measure, &start).unwrap().j);
    assert_close(a, b, 1e-9);
}

#[test]
fn the_number_of_threads_does_not_matter() {
    let measure = Measure::square_lattice(100).unwrap();
    let config = FitConfig::new(
        Domain::Interval,
        Smoothness::new(1),
        Constraint::Budget(2.0),
    )
    .with_nodes(33);
    let run = |threads: usize| {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap()
            .install(|| config.fit(&measure).unwrap())
    };
    let (one, three) = (run(1), run(3));
    assert_eq!(one.map, three.map);
    assert_eq!(one.history, three.history);
}

/// The loss never rises within a fit.
#[test]
fn the_loss_never_rises() {
    let measure = Measure::from_points(2, sequence(1000, 23)).unwrap();
    for (domain, order) in [
        (Domain::Interval, 1),
        (Domain::Interval, 3),
        (Domain::Circle, 1),
        (Domain::Circle, 2),
    ] {
        for p in [1.0, 1.5, 2.0, 4.0] {
            let fit = config(domain, order, 3.0 * 10f64.powi(order as i32 - 1))
                .with_exponent(p)
                .with_nodes(33)
                .with_max_sweeps(60)
                .fit(&measure)
                .unwrap();
            for pair in fit.history.windows(2) {
                assert!(
                    pair[1] <= pair[0] * (1.0 + 1e-12),
                    "{domain} {order} {p}: {:?}",
                    fit.history
                );
            }
        }
    }
}

/// A fixed price and the budget that it leads to are the same problem.
#[test]
fn a_price_is_a_budget() {
    let measure = Measure::segment(2000, &[1.0, 0.0]).unwrap();
    let budget = config(Domain::Interval, 1, 1.0)
        .with_nodes(33)
        .fit(&measure)
        .unwrap();
    let priced = budget
        .config
        .clone()
        .with_constraint(Constraint::Price(budget.multiplier))
        .fit(&measure)
        .unwrap();
    assert_close(priced.cost, 1.0, 1e-3);
    assert_close(priced.j, budget.j, 2e-3);
}
