//! Pairs of coordinates, solved exactly: the minimum of `c1 . z + c2 . relu(z)` over the projection of a zonotope to two
//! coordinates, cut with a box.
//!
//! The projection is a polygon with at most `2m` vertices, and the function is linear in each quadrant. So its minimum lies at a
//! vertex, where the boundary crosses an axis, or at the origin. These *candidates* do not depend on `c1` and `c2`: they are
//! found once ([`PairTable`]) and evaluated in every step of the search, for all pairs at a time.
//!
//! Points are floating-point numbers and prove nothing. A proof is the value of a dual function at any multipliers
//! ([`PairProblem`]); [`PairCertifier`] finds multipliers that are as good as the candidates.

mod certified;
mod polygon;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

pub(crate) use certified::PreparedPair;
pub use certified::{CertifiedMinimum, PairCertifier, PairDuals, PairProblem, certified_minimum};
pub use polygon::{Point, candidates, outer_polygon, polygon};

use crate::error::{Error, Result};
use crate::partition::Rows;

/// Which polygon stands for a pair in the search.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outline {
    /// The polygon itself, with up to `2m + 4` vertices ([`polygon()`]).
    Exact,
    /// A polygon around it with so many sides ([`outer_polygon`]).
    Outer {
        /// Number of sides, at most; at least 8.
        directions: usize,
    },
}

impl Default for Outline {
    /// A polygon around it with 48 sides.
    fn default() -> Self {
        Self::Outer { directions: 48 }
    }
}

impl Outline {
    /// Vertices of the polygon of two rows of a zonotope, counter-clockwise, the rounding radius included.
    ///
    /// # Errors
    ///
    /// [`Error::ShapeMismatch`] if a row does not exist.
    pub fn vertices(self, rows: Rows<'_>, pair: [usize; 2]) -> Result<Vec<Point>> {
        let rows = TwoRows::new(rows, pair)?;
        Ok(match self {
            Self::Exact => polygon::shape(rows.center, rows.generators, rows.rounding).points,
            Self::Outer { directions } => outer_polygon(
                rows.center,
                rows.generators[0],
                rows.generators[1],
                rows.rounding,
                directions,
            ),
        })
    }
}

/// The smallest value of `c1 . z + c2 . relu(z)` among candidates, and where it is taken. Without candidates the value is
/// infinite.
#[must_use]
pub fn minimum(candidates: &[Point], c1: Point, c2: Point) -> (f64, Point) {
    let value =
        |z: &Point| c1[0] * z[0] + c1[1] * z[1] + c2[0] * z[0].max(0.0) + c2[1] * z[1].max(0.0);
    let start = (f64::INFINITY, [0.0; 2]);
    candidates.iter().map(|z| (value(z), *z)).fold(
        start,
        |best, next| if next.0 < best.0 { next } else { best },
    )
}

/// Candidates of many pairs in one array, so that one tensor operation evaluates all.
///
/// Memory: `16 * pairs * width` bytes. The width is that of the pair with the most candidates: at most `K + 9` for an outer
/// polygon with K sides, `2m + 13` for an exact one.
#[derive(Debug, Clone, PartialEq)]
pub struct PairTable {
    pairs: Vec<[usize; 2]>,
    width: usize,
    candidates: Vec<f64>,
}

impl PairTable {
    /// Candidates of pairs of rows, in the order of `pairs`. With `bounds` (n lower and n upper bounds) the polygons are cut by
    /// the box; the paper's own experiments do without, with [`Outline::Exact`].
    ///
    /// # Errors
    ///
    /// [`Error::ShapeMismatch`] if a row does not exist or a bound is missing.
    pub fn new(
        rows: Rows<'_>,
        bounds: Option<(&[f64], &[f64])>,
        pairs: &[[usize; 2]],
        outline: Outline,
    ) -> Result<Self> {
        let outlines: Result<Vec<_>> = pairs
            .par_iter()
            .map(|&pair| outline.vertices(rows, pair))
            .collect();
        Self::from_outlines(pairs, &outlines?, bounds)
    }

    /// Candidates of polygons that were found before (an outline a pair), so that other bounds cost no sums over generators.
    ///
    /// # Errors
    ///
    /// [`Error::ShapeMismatch`] if there is not one outline a pair or a bound is missing.
    pub fn from_outlines(
        pairs: &[[usize; 2]],
        outlines: &[Vec<Point>],
        bounds: Option<(&[f64], &[f64])>,
    ) -> Result<Self> {
        if pairs.len() != outlines.len() {
            return Err(mismatch("outlines of pairs", pairs.len(), outlines.len()));
        }
        let found: Result<Vec<Vec<Point>>> = pairs
            .par_iter()
            .zip(outlines)
            .map(|(&pair, outline)| {
                let bounds =
                    bounds.map(|(lower, upper)| Ok([two(lower, pair)?, two(upper, pair)?]));
                Ok(candidates(outline, bounds.transpose()?))
            })
            .collect();
        let found = found?;
        let width = found.iter().map(Vec::len).max().unwrap_or(0);
        let mut table = Vec::with_capacity(2 * width * pairs.len());
        for points in &found {
            let last = points.last().copied().unwrap_or_default();
            let padded = points
                .iter()
                .copied()
                .chain(std::iter::repeat(last))
                .take(width);
            table.extend(padded.flatten());
        }
        Ok(Self {
            pairs: pairs.to_vec(),
            width,
            candidates: table,
        })
    }

    /// The pairs.
    #[must_use]
    pub fn pairs(&self) -> &[[usize; 2]] {
        &self.pairs
    }

    /// Candidates a pair.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// Shape of the array: `[pairs, width, 2]`.
    #[must_use]
    pub fn shape(&self) -> [usize; 3] {
        [self.pairs.len(), self.width, 2]
    }

    /// The array, row-major. A pair with fewer candidates than `width` repeats its last.
    #[must_use]
    pub fn candidates(&self) -> &[f64] {
        &self.candidates
    }
}

/// What a pair needs of a zonotope.
#[derive(Debug, Clone, Copy)]
struct TwoRows<'a> {
    center: Point,
    generators: [&'a [f64]; 2],
    rounding: Point,
}

impl<'a> TwoRows<'a> {
    fn new(rows: Rows<'a>, pair: [usize; 2]) -> Result<Self> {
        let center = two(rows.center, pair)?;
        let rounding = two(rows.rounding, pair)?;
        Ok(Self {
            center,
            generators: pair.map(|index| rows.row(index)),
            rounding,
        })
    }
}

/// Two entries of a vector.
fn two(numbers: &[f64], pair: [usize; 2]) -> Result<Point> {
    let get = |index: usize| {
        numbers
            .get(index)
            .copied()
            .ok_or_else(|| mismatch("coordinate of a pair", numbers.len(), index))
    };
    Ok([get(pair[0])?, get(pair[1])?])
}

fn mismatch(what: &str, expected: usize, found: usize) -> Error {
    Error::ShapeMismatch {
        layer: what.to_owned(),
        expected: expected.to_string(),
        found: found.to_string(),
    }
}
