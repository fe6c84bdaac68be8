//! The barycentre field is minus the gradient of the loss, and following it improves.

use sobolev_budget::{
    Constraint, Domain, FitConfig, Grid, GridMap, Interpolation, Measure, Smoothness, Starts,
};

use crate::support::sequence;

/// A map without symmetry, and points around it.
fn scene(domain: Domain, interpolation: Interpolation, n: usize, seed: u64) -> (GridMap, Measure) {
    let side = if domain.dimension() == 1 { 9 } else { 5 };
    let grid = Grid::new(domain, side).unwrap();
    let noise = sequence(grid.len() * n, seed);
    let values = (0..grid.len())
        .flat_map(|node| {
            let s = grid.parameters(node);
            let noise = &noise[node * n..(node + 1) * n];
            (0..n)
                .map(move |axis| s.get(axis).copied().unwrap_or(0.3) + 0.2 * noise[axis])
                .collect::<Vec<_>>()
        })
        .collect();
    let map = GridMap::new(grid, interpolation, n, values).unwrap();
    let measure = Measure::from_points(n, sequence(40 * n, seed + 100)).unwrap();
    (map, measure)
}

#[test]
fn the_force_is_minus_the_derivative() {
    let mut seed = 0;
    for domain in [
        Domain::Interval,
        Domain::Circle,
        Domain::Square,
        Domain::Cylinder,
        Domain::Torus,
        Domain::Cube,
    ] {
        for interpolation in [Interpolation::Nodes, Interpolation::Linear] {
            for p in [1.0, 1.5, 2.0, 3.0] {
                seed += 1;
                let (map, measure) = scene(domain, interpolation, 3, seed);
                let force = map.barycenter_field(&measure, p).unwrap().force;
                let scale = force.iter().fold(0.0f64, |a, f| a.max(f.abs()));
                for place in (0..force.len()).step_by(7) {
                    let moved = |step: f64| {
                        let mut values = map.values().to_vec();
                        values[place] += step;
                        GridMap::new(map.grid(), interpolation, 3, values)
                            .unwrap()
                            .distance(&measure, p)
                            .unwrap()
                    };
                    let step = 1e-6;
                    let slope = (moved(step) - moved(-step)) / (2.0 * step);
                    assert!(
                        (slope + force[place]).abs() < 1e-6 * scale.max(1.0),
                        "{domain} {interpolation:?} p = {p}: {slope} {}",
                        force[place]
                    );
                }
            }
        }
    }
}

/// Where a point is as close to two places of the map, the slope is that of the place which it turns to.
#[test]
fn at_a_tie_the_slope_is_the_least_of_both() {
    let grid = Grid::new(Domain::Interval, 2).unwrap();
    let point = Measure::from_points(2, vec![0.0, 1.0]).unwrap();
    let at = |t: f64, first: [f64; 2], second: [f64; 2]| {
        let values = vec![
            -1.0 + t * first[0],
            t * first[1],
            1.0 + t * second[0],
            t * second[1],
        ];
        GridMap::new(grid, Interpolation::Nodes, 2, values)
            .unwrap()
            .distance(&point, 2.0)
            .unwrap()
    };
    for (first, second) in [
        ([1.0, 0.5], [0.3, 0.2]),
        ([-0.4, 0.1], [0.2, 0.9]),
        ([0.0, -1.0], [1.0, -1.0]),
    ] {
        let t = 1e-7;
        let slope = (at(t, first, second) - at(0.0, first, second)) / t;
        // -2 (x - f) . xi with x - f = (1, 1) and (-1, 1).
        let slopes = [
            -2.0 * (first[0] + first[1]),
            -2.0 * (-second[0] + second[1]),
        ];
        assert!(
            (slope - slopes[0].min(slopes[1])).abs() < 1e-5,
            "{slope} {slopes:?}"
        );
    }
}

/// Away from a stationary map, a smooth direction lowers the loss at the promised rate, and raises the cost no faster than its own.
#[test]
fn the_improvement_keeps_its_promise() {
    for (domain, order) in [
        (Domain::Interval, 1),
        (Domain::Interval, 2),
        (Domain::Circle, 2),
        (Domain::Square, 2),
    ] {
        for p in [1.5, 2.0, 3.0] {
            let (map, measure) = scene(domain, Interpolation::Linear, 3, 11);
            let smoothness = Smoothness::new(order);
            let improvement = map
                .improvement(&measure, p, &smoothness, 0.1)
                .unwrap()
                .unwrap();
            assert!(improvement.gain > 0.0);
            let (j, cost) = (
                map.distance(&measure, p).unwrap(),
                map.cost(&smoothness).unwrap(),
            );
            let t = 1e-5;
            let values = map
                .values()
                .iter()
                .zip(improvement.direction.values())
                .map(|(f, d)| f + t * d)
                .collect();
            let moved = GridMap::new(map.grid(), Interpolation::Linear, 3, values).unwrap();
            let rate = (j - moved.distance(&measure, p).unwrap()) / t;
            assert!(
                (rate - improvement.gain).abs() < 1e-2 * improvement.gain,
                "{rate} {}",
                improvement.gain
            );
            assert!(moved.cost(&smoothness).unwrap() <= cost + t * improvement.cost * (1.0 + 1e-9));
        }
    }
}

/// More smoothing gives a direction that costs less for what it gains.
#[test]
fn smoother_directions_are_cheaper() {
    let (map, measure) = scene(Domain::Interval, Interpolation::Linear, 3, 12);
    let smoothness = Smoothness::new(2);
    let price = |smoothing: f64| {
        let improvement = map
            .improvement(&measure, 2.0, &smoothness, smoothing)
            .unwrap()
            .unwrap();
        improvement.cost / improvement.gain
    };
    assert!(price(1.0) < price(1e-2) && price(1e-2) < price(1e-4));
}

/// At a map that reproduces every point there is nothing to improve.
#[test]
fn a_perfect_fit_has_no_improvement() {
    let segment = Measure::segment(50, &[1.0, 0.0]).unwrap();
    let grid = Grid::new(Domain::Interval, 3).unwrap();
    let map = GridMap::new(
        grid,
        Interpolation::Linear,
        2,
        vec![-1.0, 0.0, 0.0, 0.0, 1.0, 0.0],
    )
    .unwrap();
    assert!(
        map.improvement(&segment, 2.0, &Smoothness::new(1), 0.1)
            .unwrap()
            .is_none()
    );
}

/// At the end of a fit the force of the points is balanced by the budget: the improvement of a stationary map gains only at a cost.
#[test]
fn at_the_optimum_the_force_balances_the_budget() {
    let measure = Measure::from_points(2, sequence(400, 13)).unwrap();
    for (order, budget) in [(1, 1.0), (2, 8.0)] {
        let smoothness = Smoothness::new(order);
        let fit = FitConfig::new(
            Domain::Interval,
            smoothness.clone(),
            Constraint::Budget(budget),
        )
        .with_starts(Starts::single())
        .with_nodes(33)
        .with_tolerance(1e-13)
        .with_max_sweeps(4000)
        .fit(&measure)
        .unwrap();
        assert!(fit.kkt.stationarity < 1e-4, "{fit}");
        // Along any direction d, force . d = multiplier d(C^2): checked along the map itself, where d(C^2) = 2 C^2.
        let force = fit.map.barycenter_field(&measure, 2.0).unwrap().force;
        let centre = measure.mean();
        let along: f64 = fit
            .map
            .values()
            .iter()
            .zip(&force)
            .map(|(f, g)| f * g)
            .sum();
        let shift: f64 = force
            .iter()
            .enumerate()
            .map(|(place, g)| centre[place % 2] * g)
            .sum();
        let expected = 2.0 * fit.multiplier * fit.cost * fit.cost;
        assert!(
            (along - shift - expected).abs() < 1e-3 * expected,
            "{along} {expected}"
        );
    }
}
