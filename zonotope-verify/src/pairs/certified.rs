//! Proven lower bounds for pairs: weak duality in each quadrant, in 64-bit arithmetic with all rounding accounted for.
//!
//! Let `Q` be a quadrant of the box (at most four, or fewer if a coordinate keeps its sign) and `a = c1 + c2 * [positive side]`,
//! so that the function is `a . z` there. For every `nu` of the plane
//!
//! ```text
//! nu . c - ||G^T nu||_1 - |nu| . e + sum_j min_{t in Q_j} (a_j - nu_j) t   <=   min of a . z over the zonotope within Q.
//! ```
//!
//! Some `nu` gives equality, and an optimal point tells which: `a` at a vertex of the zonotope, 0 at a corner of the box, and
//! where a side of the zonotope with direction g meets a line of coordinate j, `nu_i = a_i` for the other coordinate and
//! `nu . g = 0`. Where the zonotope misses the quadrant, a long `nu` along a separating normal makes the bound as high as needed.

use std::borrow::Cow;

use super::polygon::{Point, Shape, Side, radii, shape, widen};
use super::{TwoRows, two};
use crate::error::Result;
use crate::partition::Rows;

/// Multipliers `nu` of the four quadrants. Quadrant `q` has `z[0] >= 0` if bit 0 of `q` is set, and `z[1] >= 0` if bit 1 is.
pub type PairDuals = [Point; 4];

/// A proven bound and its proof.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CertifiedMinimum {
    /// Not above the minimum. Minus infinity if numbers overflow.
    pub value: f64,
    /// Multipliers for which [`PairProblem::value`] is this value.
    pub duals: PairDuals,
}

/// The set of a pair: two rows of a zonotope, within a box.
#[derive(Debug, Clone, Copy)]
pub struct PairProblem<'a> {
    rows: TwoRows<'a>,
    lower: Point,
    upper: Point,
    /// `sum_k |G_jk| + e_j`, up to a rounding that the error bound covers.
    radius: Point,
}

impl<'a> PairProblem<'a> {
    /// The projection of a zonotope to the coordinates `pair`, within `lower <= z <= upper` (n bounds each).
    ///
    /// # Errors
    ///
    /// [`ShapeMismatch`](crate::Error::ShapeMismatch) if a row does not exist or a bound is missing.
    pub fn new(rows: Rows<'a>, lower: &[f64], upper: &[f64], pair: [usize; 2]) -> Result<Self> {
        Ok(Self::of(
            TwoRows::new(rows, pair)?,
            two(lower, pair)?,
            two(upper, pair)?,
        ))
    }

    fn of(rows: TwoRows<'a>, lower: Point, upper: Point) -> Self {
        Self {
            rows,
            lower,
            upper,
            radius: radii(rows.generators, rows.rounding),
        }
    }

    /// A proven lower bound of `c1 . z + c2 . relu(z)` over the set, by given multipliers; minus infinity if numbers overflow.
    #[must_use]
    pub fn value(&self, c1: Point, c2: Point, duals: &PairDuals) -> f64 {
        (0..4)
            .map(|quadrant| self.quadrant_value(quadrant, c1, c2, duals[quadrant]))
            .fold(f64::INFINITY, f64::min)
    }

    /// The same over one quadrant; infinite if the box does not reach into it. `O(m)`. Bits of `quadrant` beyond the lowest two
    /// are ignored.
    #[must_use]
    pub fn quadrant_value(&self, quadrant: usize, c1: Point, c2: Point, nu: Point) -> f64 {
        let Some([low, high]) = self.quadrant(quadrant) else {
            return f64::INFINITY;
        };
        if !(low[0] <= high[0] && low[1] <= high[1]) {
            return f64::NEG_INFINITY;
        }
        let TwoRows {
            center,
            generators,
            rounding,
        } = &self.rows;
        let mut value = 0.0;
        let mut zonotope_terms = 0.0;
        let mut box_terms = 0.0;
        if nu != [0.0; 2] {
            value -= absolute_sum(generators, nu);
            for j in 0..2 {
                value += nu[j] * center[j] - nu[j].abs() * rounding[j];
                zonotope_terms += nu[j].abs() * (center[j].abs() + self.radius[j]);
            }
        }
        for j in 0..2 {
            let rest = slope(quadrant, c1, c2)[j] - nu[j];
            value += if rest > 0.0 {
                rest * low[j]
            } else {
                rest * high[j]
            };
            box_terms +=
                (c1[j].abs() + c2[j].abs() + nu[j].abs()) * low[j].abs().max(high[j].abs());
        }
        // Dot products and sums of n terms are off by gamma_n times the sum of their absolute terms, in any order. The counts
        // are well above what the sums here need, which covers the rounding of this bound itself. The last term covers underflow.
        let m = generators[0].len();
        let error = gamma(m + 32) * zonotope_terms
            + gamma(32) * box_terms
            + (4 * m + 64) as f64 * f64::from_bits(1);
        let bound = (value - error).next_down();
        if bound.is_finite() {
            bound
        } else {
            f64::NEG_INFINITY
        }
    }

    /// Bounds of the box within a quadrant.
    fn quadrant(&self, quadrant: usize) -> Option<[Point; 2]> {
        let mut low = self.lower;
        let mut high = self.upper;
        for j in 0..2 {
            let (l, u) = (self.lower[j], self.upper[j]);
            let crosses = l < 0.0 && u > 0.0;
            if crosses && positive(quadrant, j) {
                low[j] = 0.0;
            } else if crosses {
                high[j] = 0.0;
            } else if (l >= 0.0) != positive(quadrant, j) {
                return None;
            }
        }
        Some([low, high])
    }
}

/// Finds multipliers for one pair and many `c1`, `c2`: the polygon and its parts in the quadrants are made once.
///
/// Memory: at most about `160 m` bytes for m generators. Work: `O(m log m)` once, then `O(m)` for each minimum, without allocation.
#[derive(Debug, Clone)]
pub struct PairCertifier<'a> {
    problem: PairProblem<'a>,
    parts: Cow<'a, [Part; 4]>,
}

/// What a [`PairCertifier`] makes of a pair, without the rows of the zonotope: to be kept beside a zonotope.
#[derive(Debug, Clone)]
pub(crate) struct PreparedPair {
    pair: [usize; 2],
    lower: Point,
    upper: Point,
    radius: Point,
    parts: [Part; 4],
}

impl PreparedPair {
    /// Prepares a pair of rows within bounds (n of each).
    pub(crate) fn new(
        rows: Rows<'_>,
        lower: &[f64],
        upper: &[f64],
        pair: [usize; 2],
    ) -> Result<Self> {
        let PairCertifier { problem, parts } =
            PairCertifier::new(PairProblem::new(rows, lower, upper, pair)?);
        let PairProblem {
            lower,
            upper,
            radius,
            ..
        } = problem;
        Ok(Self {
            pair,
            lower,
            upper,
            radius,
            parts: parts.into_owned(),
        })
    }

    /// A proven lower bound over the part of the set within bounds that were cut since at 0 (`lower` and `upper` of the whole layer): only
    /// quadrants that are left count. `rows` must be those that the pair was prepared with.
    pub(crate) fn minimum(
        &self,
        rows: Rows<'_>,
        lower: &[f64],
        upper: &[f64],
        c1: Point,
        c2: Point,
    ) -> f64 {
        let Ok(two_rows) = TwoRows::new(rows, self.pair) else {
            return f64::NEG_INFINITY;
        };
        let problem = PairProblem {
            rows: two_rows,
            lower: self.lower,
            upper: self.upper,
            radius: self.radius,
        };
        let left = [0, 1].map(|j| {
            let neuron = self.pair[j];
            let crosses = self.lower[j] < 0.0 && self.upper[j] > 0.0;
            let signs = [lower[neuron] < 0.0, upper[neuron] > 0.0];
            if crosses && signs != [false; 2] {
                signs
            } else {
                [true; 2]
            }
        });
        let certifier = PairCertifier {
            problem,
            parts: Cow::Borrowed(&self.parts),
        };
        certifier
            .minimum_where(c1, c2, |quadrant| {
                (0..2).all(|j| left[j][usize::from(positive(quadrant, j))])
            })
            .value
    }
}

/// What a quadrant (within the box) and the zonotope have in common.
#[derive(Debug, Clone)]
enum Part {
    /// The box does not reach into the quadrant, or does in a way that leaves nothing to look for.
    Absent,
    /// A polygon.
    Common(Shape),
    /// Nothing: `normal . z` over the zonotope is at least `gap` above what it is over the quadrant.
    Apart { normal: Point, gap: f64 },
}

impl<'a> PairCertifier<'a> {
    /// Prepares a pair.
    #[must_use]
    pub fn new(problem: PairProblem<'a>) -> Self {
        let whole = shape(
            problem.rows.center,
            problem.rows.generators,
            problem.rows.rounding,
        );
        let parts = [0, 1, 2, 3].map(|quadrant| match problem.quadrant(quadrant) {
            None => Part::Absent,
            Some([low, high]) => {
                let (wide_low, wide_high) = widen(&whole.points, low, high);
                let common = whole.cut(wide_low, wide_high);
                if common.points.is_empty() {
                    separate(&whole, &problem, low, high)
                } else {
                    Part::Common(common)
                }
            }
        });
        Self {
            problem,
            parts: Cow::Owned(parts),
        }
    }

    /// The set.
    #[must_use]
    pub fn problem(&self) -> &PairProblem<'a> {
        &self.problem
    }

    /// A proven lower bound of `c1 . z + c2 . relu(z)` over the set, nearly always within rounding of the minimum.
    #[must_use]
    pub fn minimum(&self, c1: Point, c2: Point) -> CertifiedMinimum {
        self.minimum_where(c1, c2, |_| true)
    }

    /// The same over some of the quadrants; infinite if there are none.
    fn minimum_where(
        &self,
        c1: Point,
        c2: Point,
        counts: impl Fn(usize) -> bool,
    ) -> CertifiedMinimum {
        let objectives = [0, 1, 2, 3].map(|quadrant| slope(quadrant, c1, c2));
        let mut target = f64::INFINITY;
        let mut vertices = [None; 4];
        for (quadrant, part) in self
            .parts
            .iter()
            .enumerate()
            .filter(|(quadrant, _)| counts(*quadrant))
        {
            if let Part::Common(shape) = part {
                let (vertex, value) = lowest(shape, objectives[quadrant]);
                vertices[quadrant] = Some(vertex);
                target = target.min(value);
            }
        }
        let PairProblem {
            rows,
            lower,
            upper,
            radius,
        } = &self.problem;
        let mut scale = 0.0;
        let mut rounding = 0.0;
        for j in 0..2 {
            let size = c1[j].abs() + c2[j].abs();
            let reach = rows.center[j].abs() + radius[j];
            scale += size * reach.min(lower[j].abs().max(upper[j].abs()));
            rounding += gamma(rows.generators[0].len() + 32) * size * reach;
        }
        let tolerance = 1e-12 * scale + 4.0 * rounding;
        if !target.is_finite() {
            target = scale;
        }
        let mut duals = [[0.0; 2]; 4];
        let mut value = f64::INFINITY;
        for quadrant in (0..4).filter(|&quadrant| counts(quadrant)) {
            let ascent = Ascent {
                certifier: self,
                quadrant,
                c1,
                c2,
                objective: objectives[quadrant],
                target,
                tolerance,
            };
            let (bound, nu) = ascent.run(vertices[quadrant]);
            duals[quadrant] = nu;
            value = value.min(bound);
        }
        CertifiedMinimum { value, duals }
    }
}

/// A proven lower bound of `c1 . z + c2 . relu(z)` over two rows `g0`, `g1` (m entries each) of a zonotope with its rounding
/// radius, within the box `[lower, upper]`. [`PairCertifier`] does the same for many `c1` and `c2` at less cost.
///
/// # Errors
///
/// [`ShapeMismatch`](crate::Error::ShapeMismatch) if the rows differ in length.
#[allow(
    clippy::too_many_arguments,
    reason = "the set and the function, as the field writes them"
)]
pub fn certified_minimum(
    center: Point,
    g0: &[f64],
    g1: &[f64],
    rounding: Point,
    lower: Point,
    upper: Point,
    c1: Point,
    c2: Point,
) -> Result<CertifiedMinimum> {
    if g0.len() != g1.len() {
        return Err(super::mismatch(
            "second row of generators",
            g0.len(),
            g1.len(),
        ));
    }
    let rows = TwoRows {
        center,
        generators: [g0, g1],
        rounding,
    };
    Ok(PairCertifier::new(PairProblem::of(rows, lower, upper)).minimum(c1, c2))
}

/// The search for the multipliers of one quadrant.
struct Ascent<'a> {
    certifier: &'a PairCertifier<'a>,
    quadrant: usize,
    c1: Point,
    c2: Point,
    /// `a`.
    objective: Point,
    /// More than this helps nobody: the minimum over all quadrants, as the candidates have it.
    target: f64,
    /// How much a bound may be below the target without need for a better one; about what rounding costs.
    tolerance: f64,
}

/// Steps to multipliers of four times the size, up to some 1e12 times the function's own.
const WIDENINGS: usize = 20;

/// Halvings of an interval of multipliers; beyond 64 bits there is nothing to find.
const HALVINGS: usize = 100;

impl Ascent<'_> {
    /// The best bound and its multipliers.
    fn run(&self, vertex: Option<usize>) -> (f64, Point) {
        let mut best = (f64::NEG_INFINITY, [0.0; 2]);
        if self.improve(&mut best, [0.0; 2]) {
            return best;
        }
        match &self.certifier.parts[self.quadrant] {
            Part::Absent => return best,
            Part::Common(shape) => {
                let nu = vertex.and_then(|vertex| self.multipliers(shape, vertex));
                if nu.is_some_and(|nu| self.improve(&mut best, nu)) {
                    return best;
                }
            }
            Part::Apart { normal, gap } => {
                // Twice what is missing: the gap is known up to rounding.
                let length = 2.0 * (self.target - best.0) / gap;
                if *gap > 0.0 && self.improve(&mut best, normal.map(|x| length * x)) {
                    return best;
                }
            }
        }
        for axis in 0..2 {
            if self.along(&mut best, axis) {
                break;
            }
        }
        best
    }

    /// Takes multipliers if they are better; says whether they are good enough.
    fn improve(&self, best: &mut (f64, Point), nu: Point) -> bool {
        let bound = self
            .certifier
            .problem
            .quadrant_value(self.quadrant, self.c1, self.c2, nu);
        if bound > best.0 {
            *best = (bound, nu);
        }
        bound >= self.target - self.tolerance
    }

    /// Multipliers of a vertex; none where they are 0.
    fn multipliers(&self, shape: &Shape, vertex: usize) -> Option<Point> {
        let before = shape.sides[vertex.checked_sub(1).unwrap_or(shape.sides.len() - 1)];
        let after = shape.sides[vertex];
        let a = self.objective;
        match (before, after) {
            (Side::Generator(_), Side::Generator(_)) => Some(a),
            (Side::Generator(g), Side::Line(axis)) | (Side::Line(axis), Side::Generator(g)) => {
                let mut nu = a;
                nu[axis] = -a[1 - axis] * (g[1 - axis] / g[axis]);
                Some(if nu[axis].is_finite() { nu } else { a })
            }
            (Side::Line(_), Side::Line(_)) => None,
        }
    }

    /// Maximises over one multiplier, the other being `a`'s: a concave function, by halving where its slope changes sign. Some
    /// optimal `nu` is of this kind (or 0), however degenerate the set is; it is slower than looking at vertices.
    fn along(&self, best: &mut (f64, Point), axis: usize) -> bool {
        let at = |t: f64| {
            let mut nu = self.objective;
            nu[axis] = t;
            nu
        };
        let size = |j: usize| self.c1[j].abs() + self.c2[j].abs();
        let unit = size(0).max(size(1)).max(f64::MIN_POSITIVE);
        let (mut low, mut high) = (-unit, unit);
        // Widens the interval until the maximum is inside. There may be none, where the zonotope misses the quadrant.
        for (end, outward) in [(&mut low, -1.0), (&mut high, 1.0)] {
            for _ in 0..WIDENINGS {
                if outward * self.slope(at(*end), axis) <= 0.0 {
                    break;
                }
                *end *= 4.0;
                if self.improve(best, at(*end)) {
                    return true;
                }
            }
        }
        for _ in 0..HALVINGS {
            let middle = 0.5 * low + 0.5 * high;
            if middle <= low || middle >= high {
                break;
            }
            if self.slope(at(middle), axis) > 0.0 {
                low = middle
            } else {
                high = middle
            }
        }
        self.improve(best, at(low)) || self.improve(best, at(high))
    }

    /// A slope of the dual function in one multiplier.
    fn slope(&self, nu: Point, axis: usize) -> f64 {
        let problem = &self.certifier.problem;
        let TwoRows {
            center,
            generators,
            rounding,
        } = &problem.rows;
        let Some([low, high]) = problem.quadrant(self.quadrant) else {
            return 0.0;
        };
        let mut zonotope = center[axis] - sign(nu[axis]) * rounding[axis];
        for (&x, &y) in generators[0].iter().zip(generators[1]) {
            zonotope -= sign(nu[0] * x + nu[1] * y) * if axis == 0 { x } else { y };
        }
        let rest = self.objective[axis] - nu[axis];
        zonotope - if rest > 0.0 { low[axis] } else { high[axis] }
    }
}

/// `a`: the slope of `c1 . z + c2 . relu(z)` in a quadrant.
fn slope(quadrant: usize, c1: Point, c2: Point) -> Point {
    [0, 1].map(|j| {
        if positive(quadrant, j) {
            c1[j] + c2[j]
        } else {
            c1[j]
        }
    })
}

/// The vertex at which a linear function is least, and its value there.
fn lowest(shape: &Shape, a: Point) -> (usize, f64) {
    let values = shape
        .points
        .iter()
        .map(|z| a[0] * z[0] + a[1] * z[1])
        .enumerate();
    values.fold((0, f64::INFINITY), |best, next| {
        if next.1 < best.1 { next } else { best }
    })
}

/// A direction in which a zonotope lies above a box that it does not meet: a normal of one of their sides.
fn separate(whole: &Shape, problem: &PairProblem<'_>, low: Point, high: Point) -> Part {
    let mut best = Part::Absent;
    let mut best_share = f64::NEG_INFINITY;
    // The normal to the left of a side points inward: the side itself is the least of the polygon. The second half of the sides
    // runs against its generators.
    let half = whole.sides.len() / 2;
    let sides = whole
        .sides
        .iter()
        .zip(&whole.points)
        .enumerate()
        .filter_map(|(index, (side, p))| match side {
            Side::Generator(g) => {
                let normal = if index < half {
                    [-g[1], g[0]]
                } else {
                    [g[1], -g[0]]
                };
                Some((normal, normal[0] * p[0] + normal[1] * p[1]))
            }
            Side::Line(_) => None,
        });
    let axes = [[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]
        .map(|normal| (normal, lowest(whole, normal).1));
    for (normal, least) in sides.chain(axes) {
        let corner = |j: usize| (normal[j] * low[j]).max(normal[j] * high[j]);
        let gap = least - corner(0) - corner(1);
        // Rounding grows with the size of both in that direction.
        let size: f64 = (0..2)
            .map(|j| {
                let reach = problem.rows.center[j].abs() + problem.radius[j];
                normal[j].abs() * reach.max(low[j].abs()).max(high[j].abs())
            })
            .sum();
        if gap / size > best_share {
            best_share = gap / size;
            best = Part::Apart { normal, gap };
        }
    }
    best
}

/// `sum_k |nu . g_k|`, in eight sums that the processor can add at a time.
fn absolute_sum(generators: &[&[f64]; 2], nu: Point) -> f64 {
    const LANES: usize = 8;
    let (x, x_rest) = generators[0].as_chunks::<LANES>();
    let (y, y_rest) = generators[1].as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for (x, y) in x.iter().zip(y) {
        for lane in 0..LANES {
            sums[lane] += (nu[0] * x[lane] + nu[1] * y[lane]).abs();
        }
    }
    let rest: f64 = x_rest
        .iter()
        .zip(y_rest)
        .map(|(x, y)| (nu[0] * x + nu[1] * y).abs())
        .sum();
    sums.iter().sum::<f64>() + rest
}

/// `gamma_n = n u / (1 - n u)`, the relative error of n roundings, for `u = 2^-53`.
fn gamma(n: usize) -> f64 {
    let product = n as f64 * (0.5 * f64::EPSILON);
    product / (1.0 - product)
}

fn sign(x: f64) -> f64 {
    if x > 0.0 {
        1.0
    } else if x < 0.0 {
        -1.0
    } else {
        0.0
    }
}

fn positive(quadrant: usize, coordinate: usize) -> bool {
    quadrant >> coordinate & 1 == 1
}
