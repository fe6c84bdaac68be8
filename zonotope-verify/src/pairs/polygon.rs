//! Polygons of two rows of a zonotope, cut by boxes and axes.

use std::f64::consts::{FRAC_PI_2, TAU};

/// A point or a vector of the plane.
pub type Point = [f64; 2];

/// Vertices of the zonotope `{ center + sum_k xi_k (g0[k], g1[k]) : xi in [-1, 1]^m }`, counter-clockwise from the leftmost: 2m
/// of them, fewer if generators are zero or parallel, 1 if all are zero. Both rows have m entries.
///
/// The chain from the leftmost vertex to the rightmost adds the generators in the order of their slopes, the way back is its
/// mirror image; `O(m log m)`.
#[must_use]
pub fn polygon(center: Point, g0: &[f64], g1: &[f64]) -> Vec<Point> {
    shape(center, [g0, g1], [0.0; 2]).points
}

/// Vertices of a polygon with at most K = `directions` sides (at least 8) around the zonotope
/// `{ center + sum_k xi_k (g0[k], g1[k]) + [-rounding, rounding] }`, counter-clockwise; `O(m log m + K)`.
///
/// Its sides are support lines. Both coordinates are scaled to radius 1, so that rows of different size are treated alike. Two
/// sides a half are parallel to the axes, which gives the bounding box exactly. The other `q = K/2 - 2` are spread by a measure
/// that counts angles and lengths of generators alike: where many generators are parallel there is a side, too.
///
/// So its support function exceeds the zonotope's by about `pi / (2 q^2)` times the sum of the generators' lengths, at most: 0.3 %
/// for K = 48. (With uniform directions the excess can be `tan(pi / K)` times that sum, 7 %, namely for a zonotope that is
/// nearly a line between two directions; and pairs are chosen for being such.)
#[must_use]
pub fn outer_polygon(
    center: Point,
    g0: &[f64],
    g1: &[f64],
    rounding: Point,
    directions: usize,
) -> Vec<Point> {
    let radius = radii([g0, g1], rounding).map(|r| r.max(1e-290));
    let generators = sorted([g0, g1], rounding)
        .into_iter()
        .map(|g| [g[0] / radius[0], g[1] / radius[1]]);
    let generators: Vec<Point> = generators.collect();
    let mut point = generators
        .iter()
        .fold([0.0; 2], |p, g| [p[0] - g[0], p[1] - g[1]]);
    let mut passed = 0;
    // Lines through a point in a direction, the zonotope on their left: those from the leftmost vertex to the rightmost.
    let mut lines: Vec<(Point, Point)> = Vec::with_capacity(directions.max(8));
    for angle in angles(&generators, directions.max(8) / 2) {
        let (sin, cos) = angle.sin_cos();
        while let Some(g) = generators
            .get(passed)
            .filter(|g| cross(**g, [cos, sin]) > 0.0)
        {
            point = [point[0] + 2.0 * g[0], point[1] + 2.0 * g[1]];
            passed += 1;
        }
        lines.push((
            [point[0] + MARGIN * sin, point[1] - MARGIN * cos],
            [cos, sin],
        ));
    }
    for index in 0..lines.len() {
        let (p, d) = lines[index];
        lines.push((p.map(|x| -x), d.map(|x| -x)));
    }
    let next = lines.iter().cycle().skip(1);
    let meet = lines.iter().zip(next).map(|((p, d), (q, e))| {
        let t = cross([q[0] - p[0], q[1] - p[1]], *e) / cross(*d, *e);
        [p[0] + t * d[0], p[1] + t * d[1]]
    });
    meet.map(|v| [center[0] + radius[0] * v[0], center[1] + radius[1] * v[1]])
        .collect()
}

/// All points at which a function that is linear in each quadrant can be minimal over a convex polygon, cut by a box
/// (`[lower corner, upper corner]`) if there is one: vertices, crossings with the axes, and the origin if it is inside.
///
/// The box is widened by 1e-13 of the numbers at hand, so that no vertex on its boundary is lost. If nothing is left of the
/// polygon, the candidates are those of the box.
#[must_use]
pub fn candidates(polygon: &[Point], bounds: Option<[Point; 2]>) -> Vec<Point> {
    let mut shape = Shape::around(polygon);
    if let Some([lower, upper]) = bounds {
        let (low, high) = widen(polygon, lower, upper);
        shape = shape.cut(low, high);
        if shape.points.is_empty() {
            shape = Shape::around(&[low, [high[0], low[1]], high, [low[0], high[1]]]);
        }
    }
    let mut points = shape.points;
    let vertices = points.len();
    let mut origin = false;
    for axis in 0..2 {
        let other = 1 - axis;
        let slice = slice(&points[..vertices], axis);
        let Some([low, high]) = slice else { continue };
        origin |= low <= 0.0 && high >= 0.0;
        for end in [low, high] {
            let mut point = [0.0; 2];
            point[other] = end;
            if !points.contains(&point) {
                points.push(point);
            }
        }
    }
    if origin && !points.contains(&[0.0; 2]) {
        points.push([0.0; 2]);
    }
    points
}

/// How far sides of an outer polygon are moved outward (for a zonotope of radius 1), against the rounding of their intersections.
const MARGIN: f64 = 1e-12;

/// The least angle between sides of an outer polygon, so that their intersections are well conditioned.
const LEAST_ANGLE: f64 = 1e-4;

/// What a side of a polygon lies on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Side {
    /// A generator (or parallel ones): a side of the zonotope.
    Generator(Point),
    /// A line on which this coordinate is constant: a side of a box, or an axis.
    Line(usize),
}

/// A convex polygon that knows its sides: `sides[i]` leads from `points[i]` to the next point. One or two points are fine.
#[derive(Debug, Clone, Default)]
pub(super) struct Shape {
    pub(super) points: Vec<Point>,
    pub(super) sides: Vec<Side>,
}

impl Shape {
    /// A polygon by its vertices.
    fn around(points: &[Point]) -> Self {
        let next = points.iter().cycle().skip(1);
        let sides = points
            .iter()
            .zip(next)
            .map(|(p, q)| Side::Generator([q[0] - p[0], q[1] - p[1]]))
            .collect();
        Self {
            points: points.to_vec(),
            sides,
        }
    }

    /// The part within a box.
    pub(super) fn cut(&self, low: Point, high: Point) -> Self {
        let mut shape = self.clone();
        for axis in 0..2 {
            shape = shape
                .half(axis, low[axis], 1.0)
                .half(axis, high[axis], -1.0);
        }
        shape
    }

    /// The part with `sign * (z[axis] - limit) >= 0` (Sutherland and Hodgman's clipping by one line).
    fn half(&self, axis: usize, limit: f64, sign: f64) -> Self {
        let mut result = Self::default();
        let depth = |point: &Point| sign * (point[axis] - limit);
        for (index, (&p, &side)) in self.points.iter().zip(&self.sides).enumerate() {
            let q = self.points[(index + 1) % self.points.len()];
            let (from, to) = (depth(&p), depth(&q));
            let crossing = || {
                let mut point = between(p, q, from / (from - to));
                point[axis] = limit;
                point
            };
            if from >= 0.0 {
                let leaves = to < 0.0;
                result.push(
                    p,
                    if leaves && from == 0.0 {
                        Side::Line(axis)
                    } else {
                        side
                    },
                );
                if leaves && from > 0.0 {
                    result.push(crossing(), Side::Line(axis));
                }
            } else if to > 0.0 {
                result.push(crossing(), side);
            }
        }
        result
    }

    fn push(&mut self, point: Point, side: Side) {
        self.points.push(point);
        self.sides.push(side);
    }
}

/// The polygon of a zonotope with its sides; a rounding radius counts as two more generators.
pub(super) fn shape(center: Point, generators: [&[f64]; 2], rounding: Point) -> Shape {
    let sides = sorted(generators, rounding);
    let mut offset = [0.0; 2];
    for g in &sides {
        offset = [offset[0] - g[0], offset[1] - g[1]];
    }
    if sides.is_empty() {
        return Shape {
            points: vec![center],
            sides: vec![Side::Generator([0.0; 2])],
        };
    }
    let mut offsets = Vec::with_capacity(sides.len());
    for g in &sides {
        offsets.push(offset);
        offset = [offset[0] + 2.0 * g[0], offset[1] + 2.0 * g[1]];
    }
    let there = offsets.iter().map(|o| [center[0] + o[0], center[1] + o[1]]);
    let back = offsets.iter().map(|o| [center[0] - o[0], center[1] - o[1]]);
    let sides = sides
        .iter()
        .chain(&sides)
        .map(|&g| Side::Generator(g))
        .collect();
    Shape {
        points: there.chain(back).collect(),
        sides,
    }
}

/// Bounds of a box, moved outward by what the vertices of a polygon may be off.
pub(super) fn widen(polygon: &[Point], lower: Point, upper: Point) -> (Point, Point) {
    let mut low = lower;
    let mut high = upper;
    for axis in 0..2 {
        let size = polygon.iter().map(|p| p[axis].abs()).fold(0.0, f64::max);
        let margin = 1e-13 * size.min(lower[axis].abs().max(upper[axis].abs())) + 1e-15 * size;
        low[axis] -= margin;
        high[axis] += margin;
    }
    (low, high)
}

/// `sum_k |G_jk| + e_j` of both rows.
pub(super) fn radii(generators: [&[f64]; 2], rounding: Point) -> Point {
    let sum = |row: &[f64]| row.iter().map(|x| x.abs()).sum::<f64>();
    [
        sum(generators[0]) + rounding[0],
        sum(generators[1]) + rounding[1],
    ]
}

/// Generators that point to the right (or straight up), by slope, zeros dropped and parallel ones added up.
fn sorted(generators: [&[f64]; 2], rounding: Point) -> Vec<Point> {
    let rounding = [[rounding[0], 0.0], [0.0, rounding[1]]];
    let all = generators[0]
        .iter()
        .zip(generators[1])
        .map(|(&x, &y)| [x, y])
        .chain(rounding);
    let mut sorted: Vec<(f64, Point)> = all
        .filter(|g| *g != [0.0; 2])
        .map(|g| {
            if g[0] < 0.0 || (g[0] == 0.0 && g[1] < 0.0) {
                [-g[0], -g[1]]
            } else {
                g
            }
        })
        // Adding 0 turns -0 into 0, of which the quotient and the order would know the sign.
        .map(|g| {
            (
                if g[0] == 0.0 {
                    f64::INFINITY
                } else {
                    g[1] / g[0] + 0.0
                },
                g,
            )
        })
        .collect();
    sorted.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let mut merged: Vec<(f64, Point)> = Vec::with_capacity(sorted.len());
    for (slope, g) in sorted {
        match merged.last_mut() {
            Some((last, sum)) if *last == slope => *sum = [sum[0] + g[0], sum[1] + g[1]],
            _ => merged.push((slope, g)),
        }
    }
    merged.into_iter().map(|(_, g)| g).collect()
}

/// Directions of sides, ascending from `-pi / 2` to below `pi / 2`, both axes among them; see [`outer_polygon`].
fn angles(generators: &[Point], count: usize) -> Vec<f64> {
    let axes = [-FRAC_PI_2, 0.0, FRAC_PI_2];
    let length = |g: &Point| g[0].hypot(g[1]);
    let total: f64 = generators.iter().map(length).sum();
    let mut found = vec![axes[0], axes[1]];
    let mut rest = generators
        .iter()
        .map(|g| (g[1].atan2(g[0]), length(g)))
        .peekable();
    let (mut last, mut share) = (axes[0], 0.0);
    let wanted = if total > 0.0 {
        count.saturating_sub(2)
    } else {
        0
    };
    for index in 0..wanted {
        // The angle up to which this part of the measure lies, half of it uniform, half at the generators.
        let part = (index as f64 + 0.5) / wanted as f64;
        while let Some((angle, length)) =
            rest.next_if(|(angle, _)| (angle - axes[0]) / TAU + share <= part)
        {
            last = angle;
            share += 0.5 * length / total;
        }
        let angle = last.max(axes[0] + TAU * (part - share));
        if axes.iter().all(|axis| (angle - axis).abs() >= LEAST_ANGLE) {
            found.push(angle);
        }
    }
    found.sort_unstable_by(f64::total_cmp);
    found.dedup_by(|next, kept| *next - *kept < LEAST_ANGLE);
    found
}

fn cross(a: Point, b: Point) -> f64 {
    a[0] * b[1] - a[1] * b[0]
}

/// The lowest and the highest value of the other coordinate where `z[axis] = 0`, if the polygon meets that axis.
fn slice(points: &[Point], axis: usize) -> Option<Point> {
    let other = 1 - axis;
    let mut ends: Option<Point> = None;
    let mut add = |value: f64| {
        let [low, high] = ends.unwrap_or([value; 2]);
        ends = Some([low.min(value), high.max(value)]);
    };
    for (index, &p) in points.iter().enumerate() {
        let q = points[(index + 1) % points.len()];
        if p[axis] == 0.0 {
            add(p[other]);
        } else if (p[axis] < 0.0 && q[axis] > 0.0) || (p[axis] > 0.0 && q[axis] < 0.0) {
            add(between(p, q, p[axis] / (p[axis] - q[axis]))[other]);
        }
    }
    ends
}

/// The point at the share `t` of the way from p to q.
fn between(p: Point, q: Point, t: f64) -> Point {
    let at = |p: f64, q: f64| (p + t * (q - p)).max(p.min(q)).min(p.max(q));
    [at(p[0], q[0]), at(p[1], q[1])]
}
