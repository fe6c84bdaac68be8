//! Pairs against an independent oracle: a linear program a quadrant.

use microlp::{ComparisonOp, Error, OptimizationDirection, Problem, SolveOptions, SolveOutcome};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use zonotope_verify::pairs::{
    Outline, PairCertifier, PairProblem, PairTable, Point, candidates, certified_minimum, minimum,
    outer_polygon, polygon,
};
use zonotope_verify::partition::Rows;

/// Two rows of a zonotope, a box that meets it, and a function.
#[derive(Debug, Clone)]
struct Instance {
    center: Point,
    rows: [Vec<f64>; 2],
    rounding: Point,
    lower: Point,
    upper: Point,
    c1: Point,
    c2: Point,
}

impl Instance {
    /// Random numbers of the order of 1. Generators are at times zero, repeated, parallel or parallel to an axis, or all of them
    /// on one line; the box contains all of the zonotope, cuts it, or is flat.
    fn random(rng: &mut ChaCha8Rng) -> Self {
        let m = rng.random_range(1..=10);
        let kind = rng.random_range(0..6);
        let line: Point = [rng.random_range(-1.0..1.0), rng.random_range(-1.0..1.0)];
        let mut generators: Vec<Point> = Vec::new();
        for k in 0..m {
            let fresh = [rng.random_range(-1.0..1.0), rng.random_range(-1.0..1.0)];
            let scale = rng.random_range(-2.0..2.0);
            generators.push(match (kind, rng.random_range(0..5)) {
                (0, _) => line.map(|x| scale * x),
                (1, _) => [fresh[0], fresh[0] + 0.1 * fresh[1]],
                (2, 0) => [0.0, 0.0],
                (2, 1) => [fresh[0], 0.0],
                (2, 2) => [0.0, fresh[1]],
                (3, 0..3) if k > 0 => generators[k - 1].map(|x| scale * x),
                (3, 3) if k > 0 => generators[k - 1],
                _ => fresh,
            });
        }
        let center = [rng.random_range(-1.0..1.0), rng.random_range(-1.0..1.0)];
        let rounding = if rng.random_bool(0.3) {
            [0.1, 0.05]
        } else {
            [0.0; 2]
        };
        let inside: Vec<f64> = (0..m).map(|_| rng.random_range(-1.0..1.0)).collect();
        let mut lower = [0.0; 2];
        let mut upper = [0.0; 2];
        for j in 0..2 {
            let radius = generators.iter().map(|g| g[j].abs()).sum::<f64>() + rounding[j];
            let point = center[j]
                + generators
                    .iter()
                    .zip(&inside)
                    .map(|(g, xi)| g[j] * xi)
                    .sum::<f64>();
            (lower[j], upper[j]) = match rng.random_range(0..5) {
                0 => (center[j] - radius, center[j] + radius),
                1 => (point, point),
                2 => (
                    point - radius * rng.random_range(0.0..0.2),
                    point + radius * rng.random_range(0.0..0.2),
                ),
                _ => (
                    point - radius * rng.random_range(0.0..1.5),
                    point + radius * rng.random_range(0.0..1.5),
                ),
            };
        }
        let number = |rng: &mut ChaCha8Rng| {
            if rng.random_bool(0.1) {
                0.0
            } else {
                rng.random_range(-2.0..2.0)
            }
        };
        Self {
            center,
            rows: [0, 1].map(|j| generators.iter().map(|g| g[j]).collect()),
            rounding,
            lower,
            upper,
            c1: [number(rng), number(rng)],
            c2: [number(rng), number(rng)],
        }
    }

    /// The same with all points of the plane times a factor a coordinate.
    fn stretched(&self, factors: Point) -> Self {
        let by = |point: Point| [0, 1].map(|j| factors[j] * point[j]);
        Self {
            center: by(self.center),
            rows: [0, 1].map(|j| self.rows[j].iter().map(|x| factors[j] * x).collect()),
            rounding: by(self.rounding),
            lower: by(self.lower),
            upper: by(self.upper),
            c1: self.c1,
            c2: self.c2,
        }
    }

    fn value(&self, z: Point) -> f64 {
        (0..2)
            .map(|j| self.c1[j] * z[j] + self.c2[j] * z[j].max(0.0))
            .sum()
    }

    /// Size of the function over the zonotope.
    fn scale(&self) -> f64 {
        let radius =
            |j: usize| self.rows[j].iter().map(|x| x.abs()).sum::<f64>() + self.center[j].abs();
        (0..2)
            .map(|j| (self.c1[j].abs() + self.c2[j].abs()) * radius(j))
            .sum()
    }

    /// The minimum, by a linear program in each quadrant.
    fn oracle(&self) -> f64 {
        let mut best = f64::INFINITY;
        for signs in [[false, false], [false, true], [true, false], [true, true]] {
            let mut problem = Problem::new(OptimizationDirection::Minimize);
            let slope = [0, 1].map(|j| self.c1[j] + if signs[j] { self.c2[j] } else { 0.0 });
            let columns = self.rows[0]
                .iter()
                .zip(&self.rows[1])
                .map(|(&x, &y)| [x, y]);
            let columns: Vec<Point> = columns
                .chain([[self.rounding[0], 0.0], [0.0, self.rounding[1]]])
                .collect();
            let variables: Vec<_> = columns
                .iter()
                .map(|g| problem.add_var(slope[0] * g[0] + slope[1] * g[1], (-1.0, 1.0)))
                .collect();
            for j in 0..2 {
                let terms: Vec<_> = variables
                    .iter()
                    .zip(&columns)
                    .map(|(&v, g)| (v, g[j]))
                    .filter(|t| t.1 != 0.0)
                    .collect();
                let low = if signs[j] {
                    self.lower[j].max(0.0)
                } else {
                    self.lower[j]
                };
                let high = if signs[j] {
                    self.upper[j]
                } else {
                    self.upper[j].min(0.0)
                };
                problem.add_constraint(terms.as_slice(), ComparisonOp::Ge, low - self.center[j]);
                problem.add_constraint(terms.as_slice(), ComparisonOp::Le, high - self.center[j]);
            }
            let mut options = SolveOptions::default();
            options.tolerances.feasibility = 1e-10;
            match problem.solve_with(options) {
                Ok(SolveOutcome::Solution(solution)) => {
                    let constant = slope[0] * self.center[0] + slope[1] * self.center[1];
                    best = best.min(solution.objective() + constant);
                }
                Err(Error::Infeasible) => {}
                other => panic!("the oracle failed: {other:?}"),
            }
        }
        best
    }

    fn searched(&self, outline: &[Point]) -> f64 {
        minimum(
            &candidates(outline, Some([self.lower, self.upper])),
            self.c1,
            self.c2,
        )
        .0
    }

    fn outline(&self, outline: Outline) -> Vec<Point> {
        let (generators, count) = (self.rows.concat(), self.rows[0].len());
        let rows = Rows::new(&self.center, &generators, count, &self.rounding).unwrap();
        outline.vertices(rows, [0, 1]).unwrap()
    }

    fn certified(&self) -> f64 {
        let [g0, g1] = &self.rows;
        let found = certified_minimum(
            self.center,
            g0,
            g1,
            self.rounding,
            self.lower,
            self.upper,
            self.c1,
            self.c2,
        )
        .unwrap();
        found.value
    }

    /// A random point of the zonotope, often near its boundary.
    fn point(&self, rng: &mut ChaCha8Rng) -> Point {
        let mut point = self.center;
        for (x, rounding) in point.iter_mut().zip(self.rounding) {
            *x += rng.random_range(-1.0..=1.0) * rounding;
        }
        let direction = [rng.random_range(-1.0..1.0), rng.random_range(-1.0..1.0)];
        let share = rng.random_range(0.0..1.0);
        for (x, y) in self.rows[0].iter().zip(&self.rows[1]) {
            let xi = if rng.random_bool(share) {
                rng.random_range(-1.0..=1.0)
            } else {
                f64::signum(direction[0] * x + direction[1] * y)
            };
            point = [point[0] + xi * x, point[1] + xi * y];
        }
        point
    }

    fn contains(&self, z: Point) -> bool {
        (0..2).all(|j| self.lower[j] <= z[j] && z[j] <= self.upper[j])
    }
}

#[test]
fn candidates_and_proofs_agree_with_linear_programs() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for index in 0..400 {
        let instance = Instance::random(&mut rng);
        let exact = instance.oracle();
        let searched = instance.searched(&instance.outline(Outline::Exact));
        let certified = instance.certified();
        assert!(
            (searched - exact).abs() <= 1e-9,
            "{index}: candidates {searched}, exact {exact}: {instance:?}"
        );
        assert!(
            certified <= exact + 1e-9,
            "{index}: proof {certified}, exact {exact}: {instance:?}"
        );
        assert!(
            certified >= exact - 1e-9,
            "{index}: proof {certified}, exact {exact}: {instance:?}"
        );
    }
}

#[test]
fn proofs_follow_the_scale_of_the_set() {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    for index in 0..200 {
        let instance = Instance::random(&mut rng);
        for factors in [[1e-12, 1e-12], [1e12, 1e12], [1e12, 1e-12], [1.0, 1e-9]] {
            let stretched = instance.stretched(factors);
            let searched = stretched.searched(&stretched.outline(Outline::Exact));
            let certified = stretched.certified();
            let loss = (searched - certified) / stretched.scale().max(f64::MIN_POSITIVE);
            assert!(
                loss.abs() <= 1e-9,
                "{index}, {factors:?}: {certified} for {searched}: {stretched:?}"
            );
        }
    }
}

/// Small integers, so that values at corners are exact: no tolerance is needed.
#[test]
fn no_proof_is_above_an_exact_value() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    for _ in 0..2000 {
        let m = rng.random_range(0..6);
        let mut integer = |size: i32| f64::from(rng.random_range(-size..=size));
        let mut instance = Instance {
            center: [integer(3), integer(3)],
            rows: [
                (0..m).map(|_| integer(2)).collect(),
                (0..m).map(|_| integer(2)).collect(),
            ],
            rounding: [0.0; 2],
            lower: [integer(4), integer(4)],
            upper: [integer(4), integer(4)],
            c1: [integer(3), integer(3)],
            c2: [integer(3), integer(3)],
        };
        for j in 0..2 {
            let (a, b) = (instance.lower[j], instance.upper[j]);
            (instance.lower[j], instance.upper[j]) = (a.min(b), a.max(b));
        }
        let certified = instance.certified();
        for code in 0..3_usize.pow(m) {
            let xi = |k: usize| (code / 3_usize.pow(k as u32) % 3) as f64 - 1.0;
            let z = [0, 1].map(|j| {
                let moved: f64 = instance.rows[j]
                    .iter()
                    .enumerate()
                    .map(|(k, g)| g * xi(k))
                    .sum();
                instance.center[j] + moved
            });
            if instance.contains(z) {
                assert!(
                    certified <= instance.value(z),
                    "{certified} at {z:?}: {instance:?}"
                );
            }
        }
    }
}

/// Sets that touch a quadrant or a box in a point, moved by rounding: there the best multipliers of neighbouring vertices and
/// separating lines differ wildly. The proof must still reach the minimum over a set that is larger by a billionth.
#[test]
fn proofs_are_tight_where_sets_barely_touch() {
    let mut rng = ChaCha8Rng::seed_from_u64(10);
    for index in 0..3000 {
        let m = rng.random_range(1..6);
        let noise = 10.0_f64.powi(rng.random_range(-17..-9));
        let mut near = |size: i32| {
            f64::from(rng.random_range(-size..=size)) + noise * rng.random_range(-1.0..1.0)
        };
        let rows = [0, 1].map(|_| (0..m).map(|_| near(2)).collect::<Vec<_>>());
        let center = [near(3), near(3)];
        let instance = Instance {
            c1: [near(2), near(2)],
            c2: [near(2), near(2)],
            rows,
            center,
            rounding: [0.0; 2],
            lower: [0.0; 2],
            upper: [0.0; 2],
        };
        let mut point = center;
        for k in 0..m {
            let xi = f64::from(rng.random_range(-1..=1));
            point = [
                point[0] + xi * instance.rows[0][k],
                point[1] + xi * instance.rows[1][k],
            ];
        }
        let mut side = || f64::from(rng.random_range(0..=3)) + noise * rng.random_range(0.0..1.0);
        let lower = point.map(|x| x - side());
        let upper = point.map(|x| x + side());
        let instance = Instance {
            lower,
            upper,
            ..instance
        };
        let larger = Instance {
            rounding: [1e-9; 2],
            lower: lower.map(|x| x - 1e-9),
            upper: upper.map(|x| x + 1e-9),
            ..instance.clone()
        };
        let certified = instance.certified();
        let least = larger.searched(&larger.outline(Outline::Exact)) - 1e-11;
        assert!(
            least <= certified,
            "{index}: {least} {certified}: {instance:?}"
        );
    }
}

#[test]
fn stored_multipliers_repeat_the_proof() {
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    for _ in 0..100 {
        let instance = Instance::random(&mut rng);
        let (generators, count) = (instance.rows.concat(), instance.rows[0].len());
        let rows = Rows::new(&instance.center, &generators, count, &instance.rounding).unwrap();
        let problem = PairProblem::new(rows, &instance.lower, &instance.upper, [0, 1]).unwrap();
        let found = PairCertifier::new(problem).minimum(instance.c1, instance.c2);
        assert_eq!(
            problem.value(instance.c1, instance.c2, &found.duals),
            found.value
        );
        assert_eq!(found.value, instance.certified());
        // Any other multipliers are a proof as well, of less.
        let worse = found.duals.map(|nu| nu.map(|x| 0.5 * x + 0.1));
        assert!(problem.value(instance.c1, instance.c2, &worse) <= found.value + 1e-9);
    }
}

/// Integers of 40 bits: their products are exact in 128-bit integers and rounded in `f64`, so that the dual function's exact value
/// is at hand.
#[test]
fn rounding_never_raises_a_dual_value() {
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let mut rounded = 0;
    for _ in 0..500 {
        let m = rng.random_range(0..60);
        let mut integer = || rng.random_range(-(1_i64 << 40)..=1 << 40);
        let mut two = || [integer(), integer()];
        let (center, lower, upper, c1, c2, nu) = (two(), two(), two(), two(), two(), two());
        let rounding = two().map(i64::abs);
        let (lower, upper) = (
            [0, 1].map(|j| lower[j].min(upper[j])),
            [0, 1].map(|j| lower[j].max(upper[j])),
        );
        let generators: Vec<i64> = (0..2 * m).map(|_| integer()).collect();
        let floats = |numbers: &[i64]| numbers.iter().map(|&x| x as f64).collect::<Vec<_>>();
        let point = |numbers: [i64; 2]| numbers.map(|x| x as f64);
        let (c, g, e) = (floats(&center), floats(&generators), floats(&rounding));
        let rows = Rows::new(&c, &g, m, &e).unwrap();
        let problem = PairProblem::new(rows, &point(lower), &point(upper), [0, 1]).unwrap();
        for quadrant in 0..4 {
            let found = problem.quadrant_value(quadrant, point(c1), point(c2), point(nu));
            let wide = |x: i64| i128::from(x);
            let mut exact = 0;
            for k in 0..m {
                exact -= (wide(nu[0]) * wide(generators[k])
                    + wide(nu[1]) * wide(generators[m + k]))
                .abs();
            }
            let mut absent = false;
            for j in 0..2 {
                exact += wide(nu[j]) * wide(center[j]) - wide(nu[j]).abs() * wide(rounding[j]);
                let positive = quadrant >> j & 1 == 1;
                let (l, u) = if positive {
                    (lower[j].max(0), upper[j])
                } else {
                    (lower[j], upper[j].min(0))
                };
                absent |= l > u;
                let rest = wide(c1[j]) + if positive { wide(c2[j]) } else { 0 } - wide(nu[j]);
                exact += (rest * wide(l)).min(rest * wide(u));
            }
            if absent {
                assert_eq!(found, f64::INFINITY);
                continue;
            }
            assert!(found.ceil() as i128 <= exact, "{found} {exact}");
            let terms = 2.0_f64.powi(82) * (m + 8) as f64;
            assert!(exact as f64 - found <= terms * 1e-13, "{found} {exact}");
            rounded += usize::from((found.ceil() as i128) < exact);
        }
    }
    assert!(rounded > 500);
}

#[test]
fn numbers_that_overflow_prove_nothing() {
    let (large, invalid) = ([1e308, 1e308], [1.0, f64::NAN]);
    let prove = |rows: &[f64], lower, upper, c1| {
        certified_minimum(
            [0.0; 2],
            rows,
            rows,
            [0.0; 2],
            [lower; 2],
            [upper; 2],
            [c1, 1.0],
            [1.0, -1.0],
        )
        .unwrap()
        .value
    };
    assert_eq!(prove(&large, -1e308, 1e308, 1e10), f64::NEG_INFINITY);
    assert_eq!(prove(&large, -1.0, f64::INFINITY, 1.0), f64::NEG_INFINITY);
    assert_eq!(prove(&large, f64::NAN, 1.0, 1.0), f64::NEG_INFINITY);
    assert_eq!(prove(&large, -1.0, 1.0, f64::NAN), f64::NEG_INFINITY);
    // The box alone gives a bound where the zonotope is unusable: the least is -1 - 1 at the lower corner.
    for rows in [large, invalid] {
        assert!((prove(&rows, -1.0, 1.0, 1.0) + 2.0).abs() < 1e-12);
    }
    assert!(
        certified_minimum(
            [0.0; 2],
            &large,
            &[1.0],
            [0.0; 2],
            [0.0; 2],
            [1.0; 2],
            [1.0; 2],
            [1.0; 2]
        )
        .is_err()
    );
}

/// The line z0 = 0 leaves the box through its bottom and top, which do not meet the line z1 = 0: the official code looks at the
/// wrong range there, misses the point and returns 2 instead of 1.
#[test]
fn the_axis_through_the_bottom_of_a_box_is_not_missed() {
    let polygon = polygon([0.0, 0.0], &[3.0, 0.0, 0.5], &[0.0, 3.0, 0.5]);
    let candidates = candidates(&polygon, Some([[-1.0, 1.0], [1.0, 2.0]]));
    let (value, point) = minimum(&candidates, [-1.0, 1.0], [2.0, 0.0]);
    assert!((value - 1.0).abs() < 1e-12 && point[0] == 0.0 && (point[1] - 1.0).abs() < 1e-12);
    let transposed: Vec<Point> = polygon.iter().map(|p| [p[1], p[0]]).collect();
    let candidates =
        zonotope_verify::pairs::candidates(&transposed, Some([[1.0, -1.0], [2.0, 1.0]]));
    assert!((minimum(&candidates, [1.0, -1.0], [0.0, 2.0]).0 - 1.0).abs() < 1e-12);
}

#[test]
fn no_point_of_the_set_is_below_the_candidates() {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    for _ in 0..200 {
        let instance = Instance::random(&mut rng);
        let exact = instance.searched(&instance.outline(Outline::Exact));
        let outer = instance.searched(&instance.outline(Outline::default()));
        let certified = instance.certified();
        assert!(outer <= exact + 1e-12, "{outer} {exact}");
        for _ in 0..200 {
            let z = instance.point(&mut rng);
            if instance.contains(z) {
                let value = instance.value(z);
                assert!(
                    exact <= value + 1e-12 && outer <= value + 1e-12 && certified <= value + 1e-12,
                    "{instance:?}"
                );
            }
        }
    }
}

#[test]
fn pairs_are_never_below_boxes() {
    let mut rng = ChaCha8Rng::seed_from_u64(6);
    for _ in 0..400 {
        let instance = Instance::random(&mut rng);
        let boxes: f64 = (0..2)
            .map(|j| {
                let (l, u) = (instance.lower[j], instance.upper[j]);
                let at = |z: f64| instance.c1[j] * z + instance.c2[j] * z.max(0.0);
                at(l).min(at(u)).min(if l < 0.0 && u > 0.0 {
                    0.0
                } else {
                    f64::INFINITY
                })
            })
            .sum();
        for outline in [
            Outline::Exact,
            Outline::default(),
            Outline::Outer { directions: 8 },
        ] {
            assert!(
                instance.searched(&instance.outline(outline))
                    >= boxes - 1e-11 * instance.scale().max(1.0)
            );
        }
        assert!(instance.certified() >= boxes - 1e-11 * instance.scale().max(1.0));
    }
}

#[test]
fn polygons_have_the_support_of_their_zonotopes() {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    for _ in 0..200 {
        let instance = Instance {
            rounding: [0.0; 2],
            ..Instance::random(&mut rng)
        };
        let [g0, g1] = &instance.rows;
        let vertices = polygon(instance.center, g0, g1);
        assert!(vertices.len() <= 2 * g0.len());
        for _ in 0..50 {
            let d = [rng.random_range(-1.0..1.0), rng.random_range(-1.0..1.0)];
            let support: f64 = g0
                .iter()
                .zip(g1)
                .map(|(x, y)| (d[0] * x + d[1] * y).abs())
                .sum();
            let center = d[0] * instance.center[0] + d[1] * instance.center[1];
            let found = vertices
                .iter()
                .map(|v| d[0] * v[0] + d[1] * v[1])
                .fold(f64::NEG_INFINITY, f64::max);
            assert!(
                (found - center - support).abs() < 1e-12 * (1.0 + support),
                "{instance:?}"
            );
        }
        // Counter-clockwise.
        for index in 0..vertices.len() {
            let [p, q, r] = [0, 1, 2].map(|step| vertices[(index + step) % vertices.len()]);
            let turn = (q[0] - p[0]) * (r[1] - q[1]) - (q[1] - p[1]) * (r[0] - q[0]);
            assert!(turn > -1e-12 * instance.scale().max(1.0));
        }
    }
    assert_eq!(polygon([1.0, 2.0], &[0.0], &[0.0]), [[1.0, 2.0]]);
    assert_eq!(polygon([1.0, 2.0], &[], &[]), [[1.0, 2.0]]);
    assert_eq!(
        polygon([0.0, 0.0], &[1.0, -2.0, 0.0], &[1.0, -2.0, 0.0]),
        [[-3.0, -3.0], [3.0, 3.0]]
    );
    assert_eq!(
        polygon([0.0; 2], &[0.0, -1.0], &[-1.0, 0.0]),
        [[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]]
    );
}

#[test]
fn outer_polygons_lose_what_is_documented() {
    let mut rng = ChaCha8Rng::seed_from_u64(8);
    for (m, thin) in [
        (200, 1.0),
        (7, 1.0),
        (40, 0.05),
        (40, 1e-3),
        (40, 0.0),
        (1, 1.0),
    ] {
        for directions in [8, 16, 48, 96] {
            let (g0, g1): (Vec<f64>, Vec<f64>) = (0..m)
                .map(|_| {
                    let turn: f64 = rng.random_range(0.0..std::f64::consts::PI);
                    // Near a line that is no multiple of any angle.
                    let (x, y) = (turn.cos(), thin * turn.sin());
                    (0.8 * x - 0.6 * y, 0.6 * x + 0.8 * y)
                })
                .unzip();
            let unit = |row: Vec<f64>| -> Vec<f64> {
                let sum: f64 = row.iter().map(|x| x.abs()).sum();
                row.iter().map(|x| x / sum).collect()
            };
            let (g0, g1) = (unit(g0), unit(g1));
            let lengths: f64 = g0.iter().zip(&g1).map(|(x, y)| x.hypot(*y)).sum();
            let vertices = outer_polygon([0.0; 2], &g0, &g1, [0.0; 2], directions);
            assert!(vertices.len() <= directions);
            let q = (directions / 2 - 2) as f64;
            let widest = (std::f64::consts::PI / q).min(std::f64::consts::FRAC_PI_4);
            let allowed =
                std::f64::consts::PI / (2.0 * q * q) * (widest.tan() / widest) * lengths + 1e-4;
            for step in 0..1000 {
                let turn = f64::from(step) * std::f64::consts::TAU / 1000.0;
                let d = [turn.cos(), turn.sin()];
                let support: f64 = g0
                    .iter()
                    .zip(&g1)
                    .map(|(x, y)| (d[0] * x + d[1] * y).abs())
                    .sum();
                let found = vertices
                    .iter()
                    .map(|v| d[0] * v[0] + d[1] * v[1])
                    .fold(f64::NEG_INFINITY, f64::max);
                assert!(
                    found >= support && found - support <= allowed,
                    "{m} {thin} {directions}: {found} {support}"
                );
            }
            // The bounding box is met.
            for j in 0..2 {
                let widest = vertices.iter().map(|v| v[j].abs()).fold(0.0, f64::max);
                assert!((widest - 1.0).abs() < 1e-11);
            }
        }
    }
}

#[test]
fn tables_hold_the_candidates_of_each_pair() {
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    let (n, m) = (12, 30);
    let center: Vec<f64> = (0..n).map(|_| rng.random_range(-1.0..1.0)).collect();
    let generators: Vec<f64> = (0..n * m).map(|_| rng.random_range(-0.2..0.2)).collect();
    let rounding = vec![1e-3; n];
    let rows = Rows::new(&center, &generators, m, &rounding).unwrap();
    let (lower, upper) = (vec![-1.0; n], vec![0.8; n]);
    let pairs = [[0, 1], [5, 2], [11, 3]];
    for (outline, bounds) in [
        (Outline::Exact, None),
        (Outline::Exact, Some((lower.as_slice(), upper.as_slice()))),
        (
            Outline::default(),
            Some((lower.as_slice(), upper.as_slice())),
        ),
    ] {
        let table = PairTable::new(rows, bounds, &pairs, outline).unwrap();
        assert_eq!(table.pairs(), pairs);
        assert_eq!(table.shape(), [3, table.width(), 2]);
        assert_eq!(table.candidates().len(), 3 * table.width() * 2);
        for (pair, row) in pairs
            .iter()
            .zip(table.candidates().chunks(2 * table.width()))
        {
            let points: Vec<Point> = row.chunks(2).map(|z| [z[0], z[1]]).collect();
            let at = |numbers: &[f64]| pair.map(|index| numbers[index]);
            let bounds = bounds.map(|(lower, upper)| [at(lower), at(upper)]);
            let expected = candidates(&outline.vertices(rows, *pair).unwrap(), bounds);
            assert!(points.starts_with(&expected));
            assert!(
                points[expected.len()..]
                    .iter()
                    .all(|z| Some(z) == expected.last())
            );
        }
    }
    let empty = PairTable::new(rows, None, &[], Outline::Exact).unwrap();
    assert_eq!(empty.shape(), [0, 0, 2]);
    assert!(PairTable::new(rows, None, &[[0, n]], Outline::Exact).is_err());
    assert!(PairTable::new(rows, Some((&lower[..3], &upper)), &[[0, 4]], Outline::Exact).is_err());
}
