//! Projections, samplers, transport costs and files of maps.

use microlp::{ComparisonOp, OptimizationDirection, Problem, SolveOutcome};
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng as _};
use sobolev_budget::{Domain, Error, Grid, GridMap, Interpolation, Measure};

use crate::support::{assert_close, sequence};

fn random_map(
    domain: Domain,
    side: usize,
    interpolation: Interpolation,
    n: usize,
    seed: u64,
) -> GridMap {
    let grid = Grid::new(domain, side).unwrap();
    GridMap::new(grid, interpolation, n, sequence(grid.len() * n, seed)).unwrap()
}

/// The tree finds what trying everything finds: no parameter of a fine lattice is closer than the projection, and the projection is on the map.
#[test]
fn projections_are_closest() {
    let mut seed = 50;
    for domain in Domain::ALL {
        for interpolation in [Interpolation::Nodes, Interpolation::Linear] {
            for n in [1, 2, 3, 5] {
                seed += 1;
                let side = if domain.dimension() == 1 { 30 } else { 6 };
                let map = random_map(domain, side, interpolation, n, seed);
                let points = Measure::from_points(n, sequence(20 * n, seed + 1000)).unwrap();
                let found = map.project_all(&points).unwrap();
                let fine = if domain.dimension() == 3 { 6 } else { 61 };
                for (index, projection) in found.iter().enumerate() {
                    let value = map.eval(&projection.parameters).unwrap();
                    for (a, b) in value.iter().zip(&projection.point) {
                        assert!(
                            (a - b).abs() < 1e-9,
                            "{domain} {interpolation:?}: {value:?} {projection:?}"
                        );
                    }
                    let distance = |value: &[f64]| -> f64 {
                        points
                            .point(index)
                            .iter()
                            .zip(value)
                            .map(|(x, y)| (x - y).powi(2))
                            .sum::<f64>()
                            .sqrt()
                    };
                    assert!((distance(&value) - projection.distance).abs() < 1e-9);
                    for place in 0..fine_count(domain, fine) {
                        let s: Vec<f64> = (0..domain.dimension())
                            .map(|axis| {
                                (place / (fine as usize).pow(axis as u32) % fine as usize) as f64
                                    / (fine - 1) as f64
                            })
                            .collect();
                        assert!(distance(&map.eval(&s).unwrap()) >= projection.distance - 1e-9);
                    }
                }
            }
        }
    }
}

fn fine_count(domain: Domain, fine: i32) -> usize {
    (fine as usize).pow(domain.dimension() as u32)
}

/// With nodes alone, J is the transport cost to the image measure, and no other weights on the nodes are cheaper.
#[test]
fn the_loss_is_a_transport_cost() {
    for (p, seed) in [(1.0, 61), (2.0, 62), (3.0, 63)] {
        let map = random_map(Domain::Interval, 6, Interpolation::Nodes, 2, seed);
        let measure = Measure::weighted(2, sequence(24, seed + 1), sequence(12, seed + 2)).unwrap();
        let j = map.distance(&measure, p).unwrap();
        let mass = map.barycenter_field(&measure, p).unwrap().mass;
        assert_close(mass.iter().sum(), 1.0, 1e-12);
        assert_close(transport(&measure, &map, &mass, p), j, 1e-9);
        let others = sequence(6, seed + 3);
        let total: f64 = others.iter().sum();
        let others: Vec<f64> = others.iter().map(|w| w / total).collect();
        assert!(transport(&measure, &map, &others, p) >= j - 1e-12);
    }
}

/// The transport cost between a measure and weights on nodes, by a linear program.
fn transport(measure: &Measure, map: &GridMap, weights: &[f64], p: f64) -> f64 {
    let mut problem = Problem::new(OptimizationDirection::Minimize);
    let mut flows = Vec::new();
    for i in 0..measure.len() {
        let row: Vec<_> = (0..weights.len())
            .map(|node| {
                let squared: f64 = measure
                    .point(i)
                    .iter()
                    .zip(map.value(node))
                    .map(|(x, y)| (x - y).powi(2))
                    .sum();
                problem.add_var(squared.powf(p / 2.0), (0.0, f64::INFINITY))
            })
            .collect();
        flows.push(row);
    }
    for (row, weight) in flows.iter().zip(measure.weights()) {
        problem.add_constraint(
            row.iter().map(|&flow| (flow, 1.0)).collect::<Vec<_>>(),
            ComparisonOp::Eq,
            *weight,
        );
    }
    // One of the equations follows from the others; with rounding it could contradict them.
    for (node, weight) in weights.iter().enumerate().skip(1) {
        problem.add_constraint(
            flows.iter().map(|row| (row[node], 1.0)).collect::<Vec<_>>(),
            ComparisonOp::Eq,
            *weight,
        );
    }
    match problem.solve().unwrap() {
        SolveOutcome::Solution(solution) => solution.objective(),
        SolveOutcome::Interrupted(_) => panic!("no limit was set"),
    }
}

/// Samples fall on elements as often as the measure projects there.
#[test]
fn samplers_draw_the_image_measure() {
    for domain in [Domain::Interval, Domain::Circle, Domain::Square] {
        let map = random_map(domain, 5, Interpolation::Linear, 2, 71);
        let measure = Measure::from_points(2, sequence(400, 72)).unwrap();
        let sampler = map.sampler(&measure).unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let draws = 20_000;
        let (mut mean, mut parameters) = ([0.0; 2], 0.0);
        for _ in 0..draws {
            let (s, point) = sampler.sample(&mut rng);
            let again = map.eval(&s).unwrap();
            for axis in 0..2 {
                assert!((point[axis] - again[axis]).abs() < 1e-9);
                mean[axis] += point[axis] / f64::from(draws);
            }
            parameters += s[0] / f64::from(draws);
        }
        // Within an element the law is uniform, so means agree up to the size of elements.
        let projections = map.project_all(&measure).unwrap();
        let expected = projections.iter().map(|p| p.parameters[0]).sum::<f64>() / 200.0;
        // Around a circle a mean of parameters means nothing.
        assert!(
            domain == Domain::Circle || (parameters - expected).abs() < 0.1,
            "{domain}: {parameters} {expected}"
        );
        for axis in 0..2 {
            let expected = projections.iter().map(|p| p.point[axis]).sum::<f64>() / 200.0;
            assert!(
                (mean[axis] - expected).abs() < 0.1,
                "{domain}: {mean:?} {expected}"
            );
        }
    }
}

#[test]
fn resampling_keeps_what_it_can() {
    // Linear maps exactly, at any number of nodes; polynomials of degree 3 if asked for.
    for (domain, cubic) in [
        (Domain::Interval, false),
        (Domain::Interval, true),
        (Domain::Square, false),
        (Domain::Square, true),
    ] {
        let grid = Grid::new(domain, 9).unwrap();
        let f = |s: &[f64]| -> f64 {
            s.iter()
                .map(|t| if cubic { t * t * t - t } else { 2.0 * t })
                .sum()
        };
        let values = (0..grid.len())
            .map(|node| f(&grid.parameters(node)))
            .collect();
        let map = GridMap::new(grid, Interpolation::Linear, 1, values).unwrap();
        for side in [5, 9, 14, 40] {
            let other = map.resample(side, cubic).unwrap();
            for node in 0..other.grid().len() {
                let expected = f(&other.grid().parameters(node));
                assert!((other.value(node)[0] - expected).abs() < 1e-12);
            }
        }
    }
    // Around circles nothing is lost at the seam.
    let map = random_map(Domain::Circle, 7, Interpolation::Linear, 2, 73);
    let other = map.resample(21, false).unwrap();
    for node in 0..7 {
        assert!((map.value(node)[0] - other.value(3 * node)[0]).abs() < 1e-12);
    }
}

#[test]
fn constant_speed_keeps_the_curve_and_lowers_its_cost() {
    use sobolev_budget::Smoothness;
    for domain in [Domain::Interval, Domain::Circle] {
        let map = random_map(domain, 9, Interpolation::Linear, 2, 74)
            .resample(3000, false)
            .unwrap();
        let even = map.respaced();
        assert_close(even.length().unwrap(), map.length().unwrap(), 1e-2);
        assert!(even.cost(&Smoothness::new(1)).unwrap() < map.cost(&Smoothness::new(1)).unwrap());
        assert_close(
            even.cost(&Smoothness::new(1)).unwrap(),
            even.length().unwrap(),
            1e-3,
        );
    }
    let plane = random_map(Domain::Square, 3, Interpolation::Linear, 2, 75);
    assert_eq!(plane.respaced(), plane);
}

#[test]
fn files_hold_the_map() {
    let map = random_map(Domain::Square, 3, Interpolation::Linear, 3, 76);
    let measure = Measure::from_points(3, sequence(30, 77)).unwrap();
    let mut text = Vec::new();
    map.to_csv(&mut text, Some(&measure)).unwrap();
    let text = String::from_utf8(text).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "s1,s2,f1,f2,f3,mass");
    assert_eq!(lines.len(), 10);
    let mut mass = 0.0;
    for (node, line) in lines[1..].iter().enumerate() {
        let cells: Vec<f64> = line.split(',').map(|cell| cell.parse().unwrap()).collect();
        assert_eq!(cells[..2], map.grid().parameters(node));
        assert_eq!(&cells[2..5], map.value(node));
        mass += cells[5];
    }
    assert_close(mass, 1.0, 1e-12);

    let mut obj = Vec::new();
    map.to_obj(&mut obj).unwrap();
    let obj = String::from_utf8(obj).unwrap();
    assert_eq!(obj.lines().filter(|line| line.starts_with("v ")).count(), 9);
    assert_eq!(obj.lines().filter(|line| line.starts_with("f ")).count(), 8);
    let curve = random_map(Domain::Interval, 3, Interpolation::Linear, 3, 78);
    assert!(matches!(curve.to_obj(Vec::new()), Err(Error::Size { .. })));
    // The unit square has the area 1.
    let grid = Grid::new(Domain::Square, 4).unwrap();
    let flat = (0..16).flat_map(|node| grid.parameters(node)).collect();
    assert_close(
        GridMap::new(grid, Interpolation::Linear, 2, flat)
            .unwrap()
            .area()
            .unwrap(),
        1.0,
        1e-12,
    );
}
