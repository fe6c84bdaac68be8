//! Which coordinates of a zonotope are solved together: pairs and larger groups, after the partitions of ZonoDual
//! (arXiv 2210.08069).
//!
//! A group gains over single coordinates only if its projection is far from its own bounding box, that is if its rows load on
//! the same generators. The rule `Similarity` looks for such rows.

use std::cmp::Ordering;

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use rand::Rng;
use rand::seq::SliceRandom;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// A view of the zonotope `{ c + G xi + [-e, e] : xi in [-1, 1]^m }` by rows, one a coordinate.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    /// `c`: n numbers.
    pub(crate) center: &'a [f64],
    /// `G`: n x m, row by row.
    pub(crate) generators: &'a [f64],
    /// `m`.
    pub(crate) count: usize,
    /// `e`: n numbers, not negative.
    pub(crate) rounding: &'a [f64],
}

impl<'a> Rows<'a> {
    /// A view of `center` (n numbers), `generators` (n x `count`, row by row) and `rounding` (n numbers that are not negative).
    ///
    /// # Errors
    ///
    /// [`Error::ShapeMismatch`] if the sizes do not fit together.
    pub fn new(
        center: &'a [f64],
        generators: &'a [f64],
        count: usize,
        rounding: &'a [f64],
    ) -> Result<Self> {
        let n = center.len();
        let sizes = [
            ("generators", n * count, generators.len()),
            ("rounding radii", n, rounding.len()),
        ];
        for (what, expected, found) in sizes {
            if expected != found {
                return Err(Error::ShapeMismatch {
                    layer: "rows of a zonotope".to_owned(),
                    expected: format!("{expected} {what}"),
                    found: found.to_string(),
                });
            }
        }
        Ok(Self {
            center,
            generators,
            count,
            rounding,
        })
    }

    /// Number of rows, n.
    #[must_use]
    pub fn len(&self) -> usize {
        self.center.len()
    }

    /// Whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.center.is_empty()
    }

    /// The generators' entries for one coordinate: m numbers.
    #[must_use]
    pub fn row(&self, index: usize) -> &'a [f64] {
        &self.generators[index * self.count..(index + 1) * self.count]
    }

    fn check(&self, selected: &[usize]) -> Result<()> {
        match selected.iter().find(|&&index| index >= self.len()) {
            Some(index) => Err(Error::ShapeMismatch {
                layer: "coordinates to group".to_owned(),
                expected: format!("coordinates below {}", self.len()),
                found: index.to_string(),
            }),
            None => Ok(()),
        }
    }

    /// `|G|` of some rows, row by row.
    fn absolute(&self, selected: &[usize]) -> Vec<f64> {
        selected
            .iter()
            .flat_map(|&index| self.row(index).iter().map(|x| x.abs()))
            .collect()
    }
}

/// Which coordinates are grouped at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Scope {
    /// Every coordinate, as in the paper.
    All,
    /// Coordinates with `l < 0 < u`; the others are linear and gain nothing from a partner.
    #[default]
    Unstable,
}

impl Scope {
    /// The coordinates in question, ascending, for bounds `lower[j] <= z_j <= upper[j]`.
    #[must_use]
    pub fn select(self, lower: &[f64], upper: &[f64]) -> Vec<usize> {
        let bounds = lower.iter().zip(upper).enumerate();
        bounds
            .filter(|(_, (l, u))| self == Self::All || (**l < 0.0 && **u > 0.0))
            .map(|(index, _)| index)
            .collect()
    }
}

/// How pairs are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum PairRule {
    /// Rows that load on the same generators ([`similarity`]).
    #[default]
    Similarity,
    /// Rows with equal shares of each generator ([`axis_alignment`]).
    AxisAlignment,
    /// At random ([`random`]).
    Random,
    /// Columns of the image together ([`spatial`]); at random where the layer is no image.
    Spatial,
    /// Channels together ([`depthwise`]); at random where the layer is no image.
    Depthwise,
}

impl PairRule {
    /// Pairs of the `selected` coordinates; an odd one stays single. `shape` is `[channels, height, width]` of a layer that is
    /// an image.
    ///
    /// # Errors
    ///
    /// [`Error::ShapeMismatch`] if a coordinate does not exist.
    pub fn pairs<R: Rng + ?Sized>(
        self,
        rows: Rows<'_>,
        selected: &[usize],
        shape: Option<[usize; 3]>,
        rng: &mut R,
    ) -> Result<Partition> {
        rows.check(selected)?;
        match (self, shape) {
            (Self::Similarity, _) => similarity(rows, selected),
            (Self::AxisAlignment, _) => axis_alignment(rows, selected),
            (Self::Spatial, Some(shape)) => spatial(shape, selected, 2),
            (Self::Depthwise, Some(shape)) => depthwise(shape, selected, 2),
            (Self::Random, _) | (Self::Spatial | Self::Depthwise, None) => random(selected, 2, rng),
        }
    }
}

/// Disjoint groups of coordinates.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "Vec<Vec<usize>>", into = "Vec<Vec<usize>>")]
pub struct Partition {
    groups: Vec<Vec<usize>>,
}

impl Partition {
    /// A partition by given groups.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] if a group is empty or a coordinate occurs twice.
    pub fn new(groups: Vec<Vec<usize>>) -> Result<Self> {
        let invalid = |reason| {
            Err(Error::InvalidConfig {
                field: "groups",
                reason,
            })
        };
        if groups.iter().any(Vec::is_empty) {
            return invalid("a group is empty".to_owned());
        }
        let mut all = groups.concat();
        all.sort_unstable();
        match all.windows(2).find(|two| two[0] == two[1]) {
            Some(two) => invalid(format!("coordinate {} occurs twice", two[0])),
            None => Ok(Self { groups }),
        }
    }

    /// The groups.
    #[must_use]
    pub fn groups(&self) -> &[Vec<usize>] {
        &self.groups
    }

    /// The groups of two.
    #[must_use]
    pub fn pairs(&self) -> Vec<[usize; 2]> {
        self.groups
            .iter()
            .filter_map(|group| <[usize; 2]>::try_from(group.as_slice()).ok())
            .collect()
    }

    /// The coordinates that stayed alone.
    #[must_use]
    pub fn singles(&self) -> Vec<usize> {
        self.groups
            .iter()
            .filter(|group| group.len() == 1)
            .map(|group| group[0])
            .collect()
    }

    /// Size of the largest group; 0 without groups.
    #[must_use]
    pub fn dimension(&self) -> usize {
        self.groups.iter().map(Vec::len).max().unwrap_or(0)
    }

    /// Coarser groups: each concatenates `floor(dimension / self.dimension())` consecutive ones. A partition that is as coarse
    /// already stays as it is, so that what was computed for its groups remains good.
    #[must_use]
    pub fn merge(&self, dimension: usize) -> Self {
        let ratio = dimension.checked_div(self.dimension()).unwrap_or(1).max(1);
        Self {
            groups: self.groups.chunks(ratio).map(<[_]>::concat).collect(),
        }
    }
}

impl TryFrom<Vec<Vec<usize>>> for Partition {
    type Error = Error;

    fn try_from(groups: Vec<Vec<usize>>) -> Result<Self> {
        Self::new(groups)
    }
}

impl From<Partition> for Vec<Vec<usize>> {
    fn from(partition: Partition) -> Self {
        partition.groups
    }
}

/// Pairs by `S = |G| |G|^T`: rows are visited by their largest entry off the diagonal, descending, and each free row takes its
/// most similar free partner. Ties go to the coordinate that comes first in `selected`.
///
/// Work: one matrix product of k x m with m x k for k selected rows, in blocks on all threads, and products of those rows once
/// more whose best partners are taken; memory k (m + 64) numbers and 32 k a thread.
///
/// # Errors
///
/// [`Error::ShapeMismatch`] if a coordinate does not exist, [`Error::InvalidConfig`] if one is selected twice.
pub fn similarity(rows: Rows<'_>, selected: &[usize]) -> Result<Partition> {
    rows.check(selected)?;
    let products = Products::new(rows, selected);
    named(
        selected,
        greedy_pairs(selected.len(), |rows, out| products.fill(rows, out)),
    )
}

/// Pairs as by [`similarity`], where two rows are alike if they have equal shares of the generators: the mean of
/// `(|G_ik| + |G_jk|) / max(|G_ik|, |G_jk|)` over the generators k with any mass in the two rows (from 1 to 2; 0 if there are
/// none).
///
/// Work: k^2 m divisions, about ten times that of [`similarity`].
///
/// # Errors
///
/// As [`similarity`].
pub fn axis_alignment(rows: Rows<'_>, selected: &[usize]) -> Result<Partition> {
    rows.check(selected)?;
    let absolute = rows.absolute(selected);
    let row = |index: usize| &absolute[index * rows.count..(index + 1) * rows.count];
    let fill = |some: &[usize], out: &mut [f64]| {
        for (&i, out) in some.iter().zip(out.chunks_exact_mut(selected.len().max(1))) {
            for (j, out) in out.iter_mut().enumerate() {
                *out = alignment(row(i), row(j));
            }
        }
    };
    named(selected, greedy_pairs(selected.len(), fill))
}

/// Groups of `dimension` at random; the last may be smaller.
///
/// # Errors
///
/// [`Error::InvalidConfig`] if `dimension` is 0 or a coordinate is selected twice.
pub fn random<R: Rng + ?Sized>(
    selected: &[usize],
    dimension: usize,
    rng: &mut R,
) -> Result<Partition> {
    let mut order = selected.to_vec();
    order.shuffle(rng);
    cut(&order, dimension)
}

/// Groups of `dimension` consecutive coordinates in the order of a score, highest first; equal scores keep their order. NaN is
/// the lowest score.
///
/// # Errors
///
/// As [`random`].
pub fn scored(
    selected: &[usize],
    dimension: usize,
    score: impl Fn(usize) -> f64,
) -> Result<Partition> {
    let mut order: Vec<(f64, usize)> = selected
        .iter()
        .map(|&index| (ranked(score(index)), index))
        .collect();
    order.sort_by(|a, b| b.0.total_cmp(&a.0));
    let order: Vec<usize> = order.into_iter().map(|(_, index)| index).collect();
    cut(&order, dimension)
}

/// Groups of `dimension` consecutive coordinates of a `[channels, height, width]` layer in the order of the column in the image.
///
/// # Errors
///
/// As [`random`]; [`Error::ShapeMismatch`] if a coordinate lies outside the shape.
pub fn spatial(shape: [usize; 3], selected: &[usize], dimension: usize) -> Result<Partition> {
    by_position(shape, selected, dimension, |index| index % shape[2])
}

/// Groups of `dimension` consecutive coordinates of a `[channels, height, width]` layer in the order of the channel.
///
/// # Errors
///
/// As [`spatial`].
pub fn depthwise(shape: [usize; 3], selected: &[usize], dimension: usize) -> Result<Partition> {
    by_position(shape, selected, dimension, |index| {
        index / (shape[1] * shape[2])
    })
}

/// The fewest groups of at most `dimension` coordinates, equal in size up to one, each of coordinates that are alike by
/// `S = |G| |G|^T`: a group starts at the free row with the largest entry of S and grows by the free row with the largest sum of
/// similarities to the group.
///
/// All coordinates form one group if they are few enough. Memory for k selected rows: k (m + k) numbers.
///
/// # Errors
///
/// As [`similarity`]; [`Error::InvalidConfig`] if `dimension` is 0.
pub fn by_similarity(rows: Rows<'_>, selected: &[usize], dimension: usize) -> Result<Partition> {
    rows.check(selected)?;
    let count = selected.len();
    if count <= dimension || dimension == 0 {
        return cut(selected, dimension);
    }
    let products = Products::new(rows, selected);
    let mut similarities = vec![0.0; count * count];
    let blocks = similarities.par_chunks_mut(BLOCK * count).enumerate();
    blocks.for_each(|(block, out)| {
        let some: Vec<usize> = (block * BLOCK..).take(out.len() / count).collect();
        products.fill(&some, out);
    });

    let largest = |i: usize| {
        let row = &similarities[i * count..(i + 1) * count];
        row.iter()
            .enumerate()
            .filter(|&(j, _)| j != i)
            .map(|(_, &x)| ranked(x))
            .fold(f64::NEG_INFINITY, f64::max)
    };
    let largest: Vec<f64> = (0..count).into_par_iter().map(largest).collect();
    let groups = count.div_ceil(dimension);
    let mut free = vec![true; count];
    let mut result = Vec::with_capacity(groups);
    for index in 0..groups {
        let size = count / groups + usize::from(index < count % groups);
        let mut attraction = largest.clone();
        let mut group = Vec::with_capacity(size);
        while group.len() < size {
            let Some(next) = best(&attraction, &free) else {
                break;
            };
            free[next] = false;
            if group.is_empty() {
                attraction.fill(0.0);
            }
            for (sum, &x) in attraction
                .iter_mut()
                .zip(&similarities[next * count..(next + 1) * count])
            {
                *sum += x;
            }
            group.push(next);
        }
        result.push(group);
    }
    named(selected, result)
}

/// Rows that are multiplied at a time.
const BLOCK: usize = 32;

/// Rows whose partners are looked for again at a time.
const REFILLED: usize = 4 * BLOCK;

/// Partners that are remembered for a row; once all of them are taken, they are looked for again.
const REMEMBERED: usize = 32;

/// Products of absolute rows.
struct Products {
    absolute: Vec<f64>,
    rows: usize,
    columns: usize,
}

impl Products {
    fn new(rows: Rows<'_>, selected: &[usize]) -> Self {
        Self {
            absolute: rows.absolute(selected),
            rows: selected.len(),
            columns: rows.count,
        }
    }

    /// Writes the similarities of some rows to all rows.
    fn fill(&self, some: &[usize], out: &mut [f64]) {
        let row = |&index: &usize| &self.absolute[index * self.columns..(index + 1) * self.columns];
        let block: Vec<f64> = some.iter().flat_map(row).copied().collect();
        let block = MatRef::from_row_major_slice(&block, some.len(), self.columns);
        let all = MatRef::from_row_major_slice(&self.absolute, self.rows, self.columns);
        let out = MatMut::from_row_major_slice_mut(out, some.len(), self.rows);
        matmul(out, Accum::Replace, block, all.transpose(), 1.0, Par::Seq);
    }
}

/// How equally two rows share their generators.
fn alignment(a: &[f64], b: &[f64]) -> f64 {
    let (mut sum, mut count) = (0.0, 0.0);
    for (&a, &b) in a.iter().zip(b) {
        let max = a.max(b);
        // Where both are zero the quotient is set to 0 / 1, so that the loop has no branch.
        let positive = f64::from(max > 0.0);
        sum += (a + b) / (max + (1.0 - positive));
        count += positive;
    }
    if count > 0.0 { sum / count } else { 0.0 }
}

/// Greedy pairing by the similarities that `fill` writes for some rows.
fn greedy_pairs(count: usize, fill: impl Fn(&[usize], &mut [f64]) + Sync) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..count).collect();
    let mut free = vec![true; count];
    let mut remembered = most_similar(&order, &free, &fill);
    let largest: Vec<f64> = remembered
        .iter()
        .map(|row| row.first().map_or(0.0, |best| best.0))
        .collect();
    order.sort_by(|&a, &b| similarity_order(&(largest[a], a), &(largest[b], b)));
    let mut pairs = Vec::with_capacity(count.div_ceil(2));
    for (place, &index) in order.iter().enumerate() {
        if !free[index] {
            continue;
        }
        let partner =
            |row: &[(f64, usize)]| row.iter().map(|best| best.1).find(|&other| free[other]);
        let mut found = partner(&remembered[index]);
        if found.is_none() {
            // The rows that come next are likely to be in the same position.
            let next = order[place..]
                .iter()
                .copied()
                .filter(|&index| free[index])
                .take(REFILLED);
            let next: Vec<usize> = next.collect();
            let lists = most_similar(&next, &free, &fill);
            for (&index, list) in next.iter().zip(lists) {
                remembered[index] = list;
            }
            found = partner(&remembered[index]);
        }
        free[index] = false;
        match found {
            Some(other) => {
                free[other] = false;
                pairs.push(vec![index, other]);
            }
            None => pairs.push(vec![index]),
        }
    }
    pairs
}

/// The most similar free partners of some rows, best first.
fn most_similar(
    some: &[usize],
    free: &[bool],
    fill: &(impl Fn(&[usize], &mut [f64]) + Sync),
) -> Vec<Vec<(f64, usize)>> {
    let blocks = some.par_chunks(BLOCK).map(|some| {
        let mut values = vec![0.0; some.len() * free.len()];
        fill(some, &mut values);
        let rows = some.iter().zip(values.chunks_exact(free.len()));
        rows.map(|(&index, values)| largest_of(index, values, free))
            .collect::<Vec<_>>()
    });
    blocks.collect::<Vec<_>>().concat()
}

fn largest_of(index: usize, values: &[f64], free: &[bool]) -> Vec<(f64, usize)> {
    let others = values
        .iter()
        .enumerate()
        .filter(|&(other, _)| free[other] && other != index);
    let mut others: Vec<(f64, usize)> = others
        .map(|(other, &value)| (ranked(value), other))
        .collect();
    if others.len() > REMEMBERED {
        others.select_nth_unstable_by(REMEMBERED - 1, similarity_order);
        others.truncate(REMEMBERED);
        others.shrink_to_fit();
    }
    others.sort_by(similarity_order);
    others
}

/// Larger values first, then smaller indices.
fn similarity_order(a: &(f64, usize), b: &(f64, usize)) -> Ordering {
    b.0.total_cmp(&a.0).then(a.1.cmp(&b.1))
}

/// The free index with the largest value; the first of equal ones.
fn best(values: &[f64], free: &[bool]) -> Option<usize> {
    let free = free.iter().enumerate().filter(|&(_, &free)| free);
    free.map(|(index, _)| (ranked(values[index]), index))
        .min_by(similarity_order)
        .map(|(_, index)| index)
}

/// A value that can be ordered: overflow in both directions at once (NaN) counts as the least.
fn ranked(value: f64) -> f64 {
    if value.is_nan() {
        f64::NEG_INFINITY
    } else {
        value
    }
}

fn by_position(
    shape: [usize; 3],
    selected: &[usize],
    dimension: usize,
    key: impl Fn(usize) -> usize,
) -> Result<Partition> {
    let size: usize = shape.iter().product();
    if let Some(index) = selected.iter().find(|&&index| index >= size) {
        return Err(Error::ShapeMismatch {
            layer: "coordinates to group".to_owned(),
            expected: format!("coordinates of a layer of the shape {shape:?}"),
            found: index.to_string(),
        });
    }
    let mut order = selected.to_vec();
    order.sort_by_key(|&index| key(index));
    cut(&order, dimension)
}

/// Cuts an order into groups.
fn cut(order: &[usize], dimension: usize) -> Result<Partition> {
    if dimension == 0 {
        return Err(Error::InvalidConfig {
            field: "dimension",
            reason: "a group holds at least one coordinate".to_owned(),
        });
    }
    Partition::new(order.chunks(dimension).map(<[_]>::to_vec).collect())
}

/// Groups of positions in `selected`, by the coordinates there.
fn named(selected: &[usize], groups: Vec<Vec<usize>>) -> Result<Partition> {
    Partition::new(
        groups
            .into_iter()
            .map(|group| group.into_iter().map(|index| selected[index]).collect())
            .collect(),
    )
}
