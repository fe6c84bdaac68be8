//! Problems whose solution is known.

use std::f64::consts::{PI, TAU};

use sobolev_budget::{
    Constraint, Domain, FitConfig, FitOptions, Grid, GridMap, Interpolation, Measure, Norm,
    Smoothness, Starts,
};

use crate::support::{assert_close, config, sequence};

/// Of a segment of length 2, a map of length l covers the middle: `J_p = (1 - l/2)^(p+1) / (p+1)`.
#[test]
fn a_segment_is_covered_from_its_middle() {
    for direction in [
        vec![1.0],
        vec![0.6, 0.8],
        [1.0, 2.0, -2.0].iter().map(|x| x / 3.0).collect(),
    ] {
        let segment = Measure::segment(20_000, &direction).unwrap();
        for (p, q, l) in [
            (2.0, 2.0, 0.5),
            (2.0, 2.0, 1.5),
            (1.0, 2.0, 1.0),
            (1.5, 2.0, 1.0),
            (3.0, 2.0, 1.0),
            (2.0, 3.0, 1.0),
        ] {
            let mut config = config(Domain::Interval, 1, l)
                .with_exponent(p)
                .with_nodes(33)
                .with_tolerance(1e-12)
                .with_max_sweeps(2000);
            config.smoothness.exponent = q;
            let fit = config.fit(&segment).unwrap();
            let rest = 1.0 - l / 2.0;
            assert_close(
                fit.j,
                rest.powf(p + 1.0) / (p + 1.0),
                if p < 2.0 { 1e-5 } else { 1e-6 },
            );
            // dJ/dl = -(1 - l/2)^p / 2.
            assert_close(fit.slope(), -rest.powf(p) / 2.0, 2e-3);
            assert!(fit.kkt.infeasibility < 1e-10, "{:?}", fit.kkt);
        }
    }
}

/// With values that cost, too, the best curve through the segment is a hyperbolic sine.
#[test]
fn the_full_norm_bends_the_speed() {
    let segment = Measure::segment(20_000, &[1.0]).unwrap();
    let l = 0.8;
    let a = l / (2.0 / 0.5f64.tanh()).sqrt();
    let expected = (1.0 - a).powi(3) / 3.0;
    let mut config = config(Domain::Interval, 1, l).with_nodes(65);
    config.smoothness.norm = Norm::Full;
    let fit = config.fit(&segment).unwrap();
    assert_close(fit.j, expected, 1e-3);
    for node in [0, 16, 40, 64] {
        let s: f64 = node as f64 / 64.0 - 0.5;
        let value = fit.map.value(node)[0].abs();
        assert!(
            (value - (a * s.sinh() / 0.5f64.sinh()).abs()).abs() < 2e-3,
            "{node}: {value}"
        );
    }
}

/// A curve between two atoms stops short of both: `J_p = (1 - l/2)^p`.
#[test]
fn two_atoms_pull_at_the_ends() {
    let atoms = Measure::from_points(2, vec![-1.0, 0.0, 1.0, 0.0]).unwrap();
    for p in [1.5, 2.0, 3.0] {
        for l in [0.3, 1.0, 1.7] {
            let fit = config(Domain::Interval, 1, l)
                .with_exponent(p)
                .with_nodes(17)
                .fit(&atoms)
                .unwrap();
            assert_close(fit.j, (1.0 - l / 2.0f64).powf(p), 1e-6);
        }
    }
}

/// The best closed curve for a circle is a smaller circle, of radius `l / (2 pi)^k`, at every order k.
#[test]
fn circles_fit_circles_at_every_order() {
    let circle = Measure::circle(1440).unwrap();
    for order in 1..=3 {
        for radius in [0.3, 0.6, 0.9] {
            for (p, tolerance) in [(2.0, 4e-3), (1.0, 4e-3)] {
                let fit = config(Domain::Circle, order, radius * TAU.powi(order as i32))
                    .with_exponent(p)
                    .with_nodes(96)
                    .fit(&circle)
                    .unwrap();
                let expected = (1.0 - radius).powf(p);
                assert_close(fit.j, expected, tolerance / (1.0 - radius));
            }
        }
    }
}

/// Its error falls with the square of the spacing.
#[test]
fn the_error_on_a_circle_is_of_second_order() {
    let circle = Measure::circle(5760).unwrap();
    let error = |nodes: usize| {
        let fit = config(Domain::Circle, 2, 0.6 * TAU * TAU)
            .with_nodes(nodes)
            .fit(&circle)
            .unwrap();
        (fit.j - 0.16).abs()
    };
    let slope = (error(24) / error(96)).ln() / 4f64.ln();
    assert!((1.8..=2.3).contains(&slope), "{slope}");
}

#[test]
fn without_a_budget_curves_of_order_1_are_points() {
    let points = sequence(60, 1);
    let measure = Measure::from_points(2, points).unwrap();
    let fit = config(Domain::Interval, 1, 0.0)
        .with_nodes(9)
        .fit(&measure)
        .unwrap();
    let mean = measure.mean();
    let expected: f64 = (0..measure.len())
        .map(|i| {
            measure
                .point(i)
                .iter()
                .zip(&mean)
                .map(|(x, m)| (x - m).powi(2))
                .sum::<f64>()
                / measure.len() as f64
        })
        .sum();
    assert_close(fit.j, expected, 1e-12);
    assert_eq!(fit.multiplier, 0.0);

    // With p = 1 the point is the geometric median: no move along an axis improves it.
    let fit = config(Domain::Interval, 1, 0.0)
        .with_nodes(9)
        .with_exponent(1.0)
        .with_tolerance(1e-14)
        .with_max_sweeps(2000)
        .fit(&measure)
        .unwrap();
    let at = |x: f64, y: f64| -> f64 {
        (0..measure.len())
            .map(|i| {
                (measure.point(i)[0] - x).hypot(measure.point(i)[1] - y) / measure.len() as f64
            })
            .sum()
    };
    let [x, y] = [fit.map.value(0)[0], fit.map.value(0)[1]];
    assert_close(fit.j, at(x, y), 1e-9);
    let gradient = [
        at(x + 1e-5, y) - at(x - 1e-5, y),
        at(x, y + 1e-5) - at(x, y - 1e-5),
    ]
    .map(|d| d / 2e-5);
    assert!(gradient[0].hypot(gradient[1]) < 1e-4, "{gradient:?}");
}

/// Order 2 without a budget is principal component analysis, as straight maps are free.
#[test]
fn without_a_budget_order_2_is_principal_components() {
    let mut points = sequence(1200, 2);
    for point in points.chunks_exact_mut(3) {
        point[0] *= 3.0;
        point[1] = 1.5 * point[1] + 0.4 * point[0];
        point[2] *= 0.5;
    }
    let measure = Measure::from_points(3, points).unwrap();
    let covariance = measure.covariance();
    let matrix = faer::Mat::from_fn(3, 3, |i, j| covariance[i * 3 + j]);
    let eigen = matrix.self_adjoint_eigen(faer::Side::Lower).unwrap();
    let values: Vec<f64> = eigen.S().column_vector().iter().copied().collect();
    for (domain, expected) in [
        (Domain::Interval, values[0] + values[1]),
        (Domain::Square, values[0]),
    ] {
        let fit = config(domain, 2, 0.0)
            .with_nodes(9)
            .with_tolerance(1e-13)
            .with_max_sweeps(3000)
            .fit(&measure)
            .unwrap();
        assert_close(fit.j, expected, 1e-7);
    }
}

/// Order 3 without a budget is the best curve of degree 2; data on such a curve are met.
#[test]
fn without_a_budget_order_3_finds_parabolas() {
    let points: Vec<f64> = sequence(300, 3)
        .iter()
        .flat_map(|t| [2.0 * t, 3.0 * t * t - t])
        .collect();
    let measure = Measure::from_points(2, points).unwrap();
    let fit = config(Domain::Interval, 3, 0.0)
        .with_nodes(129)
        .with_tolerance(1e-13)
        .with_max_sweeps(3000)
        .fit(&measure)
        .unwrap();
    // What is left is the distance of a parabola from its chords.
    assert!(fit.j < 1e-8, "{}", fit.j);
}

/// With enough length, a curve visits all points; with less, it cannot.
#[test]
fn enough_length_visits_every_point() {
    let points = sequence(14, 4);
    let measure = Measure::from_points(2, points).unwrap();
    let distance = |a: usize, b: usize| -> f64 {
        measure
            .point(a)
            .iter()
            .zip(measure.point(b))
            .map(|(x, y)| (x - y).powi(2))
            .sum::<f64>()
            .sqrt()
    };
    let mut best = (f64::INFINITY, Vec::new());
    permute(&mut (0..7).collect(), 0, &mut |order| {
        let length: f64 = order
            .windows(2)
            .map(|pair| distance(pair[0], pair[1]))
            .sum();
        if length < best.0 {
            best = (length, order.to_vec());
        }
    });
    let (length, order) = best;
    let corners: Vec<f64> = order
        .iter()
        .flat_map(|&i| measure.point(i).to_vec())
        .collect();
    let start = GridMap::new(
        Grid::new(Domain::Interval, 7).unwrap(),
        Interpolation::Linear,
        2,
        corners,
    )
    .unwrap()
    .resample(513, false)
    .unwrap()
    .respaced();
    let options = FitOptions::default().with_starts(vec![start]);
    let j = |budget: f64| {
        config(Domain::Interval, 1, budget)
            .with_starts(Starts::given())
            .with_nodes(513)
            .fit_with(&measure, &options)
            .unwrap()
            .j
    };
    assert!(j(1.001 * length) <= 1e-6, "{}", j(1.001 * length));
    assert!(j(0.9 * length) > 1e-5);
}

/// Three nodes on a line, four points: no placing on a lattice is better.
#[test]
fn brute_force_finds_nothing_better() {
    let lattice: Vec<f64> = (0..=64).map(|i| f64::from(i) / 64.0).collect();
    for (seed, order, budget) in [(5, 1, 0.3), (6, 1, 0.6), (7, 2, 0.5), (8, 2, 3.0)] {
        let measure = Measure::from_points(1, sequence(4, seed)).unwrap();
        let smoothness = Smoothness::new(order);
        let grid = Grid::new(Domain::Interval, 3).unwrap();
        for interpolation in [Interpolation::Nodes, Interpolation::Linear] {
            let mut least = f64::INFINITY;
            for a in &lattice {
                for b in &lattice {
                    for c in &lattice {
                        let map = GridMap::new(grid, interpolation, 1, vec![*a, *b, *c]).unwrap();
                        if map.cost(&smoothness).unwrap() <= budget {
                            least = least.min(map.distance(&measure, 2.0).unwrap());
                        }
                    }
                }
            }
            let fit = FitConfig::new(
                Domain::Interval,
                smoothness.clone(),
                Constraint::Budget(budget),
            )
            .with_nodes(3)
            .with_interpolation(interpolation)
            .with_starts(Starts {
                principal: 40,
                ..Starts::default()
            })
            .fit(&measure)
            .unwrap();
            assert!(
                fit.j <= least + 1e-9,
                "{seed} {interpolation:?}: {} > {least}",
                fit.j
            );
        }
    }
}

/// A closed curve inside a disk: radius and loss of the best circle are known, and the fit is at least as good.
#[test]
fn a_closed_curve_in_a_ring_is_its_middle() {
    let ring = Measure::annulus_sunflower(20_000, 0.8).unwrap();
    // The best circle of radius r has the mean of (|x| - r)^2 over the ring.
    let (inner, outer) = (0.8f64, 1.0f64);
    let area = outer.powi(2) - inner.powi(2);
    let first = 2.0 * (outer.powi(3) - inner.powi(3)) / 3.0 / area;
    let second = (outer.powi(4) - inner.powi(4)) / 2.0 / area;
    let fit = config(Domain::Circle, 2, 4.0 * PI * PI * first)
        .with_nodes(128)
        .fit(&ring)
        .unwrap();
    assert!(fit.j <= (second - first * first) * 1.001, "{}", fit.j);
}

fn permute(order: &mut Vec<usize>, fixed: usize, visit: &mut impl FnMut(&[usize])) {
    if fixed == order.len() {
        visit(order);
        return;
    }
    for i in fixed..order.len() {
        order.swap(fixed, i);
        permute(order, fixed + 1, visit);
        order.swap(fixed, i);
    }
}

/// With nodes alone the error is of first order.
#[test]
fn with_nodes_alone_the_error_is_of_first_order() {
    let circle = Measure::circle(5760).unwrap();
    let error = |nodes: usize| {
        let fit = config(Domain::Circle, 1, 0.6 * TAU)
            .with_interpolation(Interpolation::Nodes)
            .with_nodes(nodes)
            .fit(&circle)
            .unwrap();
        (fit.j - 0.16).abs()
    };
    let slope = (error(12) / error(96)).ln() / 8f64.ln();
    assert!(slope >= 0.9, "{slope}");
}

/// On the square, whose best curve is not known, the values at doubled grids draw together. The curve has corners, which fall between nodes, so
/// they do so by a factor of two only.
#[test]
fn the_error_on_a_square_is_of_first_order() {
    let square = Measure::square_lattice(100).unwrap();
    let mut start: Option<GridMap> = None;
    let mut values = Vec::new();
    for nodes in [5, 9, 17] {
        let given = start.clone();
        let mut config = config(Domain::Interval, 1, 1.0)
            .with_nodes(nodes)
            .with_tolerance(1e-13)
            .with_max_sweeps(3000);
        if given.is_some() {
            config = config.with_starts(Starts::given());
        }
        let options = FitOptions::default().with_starts(given.into_iter().collect());
        let fit = config.fit_with(&square, &options).unwrap();
        values.push(fit.j);
        start = Some(fit.map);
    }
    let slope = ((values[0] - values[1]) / (values[1] - values[2])).log2();
    assert!(slope >= 0.8, "{slope}: {values:?}");
}

/// With random points the value is off by the root of their number.
#[test]
fn the_error_of_samples_falls_with_the_root_of_their_number() {
    let expected = 0.5f64.powi(3) / 3.0;
    let error = |count: usize| -> f64 {
        (0..24)
            .map(|seed| {
                let points = Measure::uniform(count, 1, seed).unwrap();
                let points = points.points().iter().map(|x| 2.0 * x - 1.0).collect();
                let measure = Measure::from_points(1, points).unwrap();
                let fit = config(Domain::Interval, 1, 1.0)
                    .with_nodes(17)
                    .fit(&measure)
                    .unwrap();
                (fit.j - expected).powi(2) / 24.0
            })
            .sum::<f64>()
            .sqrt()
    };
    let slope = (error(100) / error(6400)).ln() / 64f64.ln();
    assert!((0.4..=0.6).contains(&slope), "{slope}");
}
