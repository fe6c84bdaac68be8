//! Maps on a grid: values at nodes, continued between them.

mod export;
mod field;
mod resample;
mod sampler;

use serde::{Deserialize, Serialize};

pub use field::{BarycenterField, Improvement};
pub use sampler::Sampler;

use crate::assign::{Foot, Search};
use crate::elements::Elements;
use crate::norm::Differences;
use crate::{Domain, Error, Grid, Interpolation, Measure, Result, Smoothness};

/// A map from a domain to R^n: a curve, a surface, or a cloud of nodes. Between its nodes it is linear, or not known, as its
/// [`Interpolation`] says.
///
/// # Examples
/// ```
/// use sobolev_budget::{Domain, Grid, GridMap, Interpolation, Smoothness};
///
/// let grid = Grid::new(Domain::Interval, 3)?;
/// let curve = GridMap::new(grid, Interpolation::Linear, 2, vec![0.0, 0.0, 1.0, 0.0, 1.0, 1.0])?;
/// assert_eq!(curve.eval(&[0.75])?, [1.0, 0.5]);
/// assert_eq!(curve.length(), Some(2.0));
/// let nearest = curve.project(&[2.0, 0.5])?;
/// assert_eq!((nearest.parameters, nearest.point, nearest.distance), (vec![0.75], vec![1.0, 0.5], 1.0));
/// // A curve of constant speed costs its length.
/// assert!((curve.cost(&Smoothness::new(1))? - 2.0).abs() < 1e-12);
/// # Ok::<(), sobolev_budget::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Parts", into = "Parts")]
pub struct GridMap {
    grid: Grid,
    interpolation: Interpolation,
    dimension: usize,
    values: Vec<f64>,
}

/// How a map is saved, before it is checked.
#[derive(Serialize, Deserialize)]
struct Parts {
    domain: Domain,
    side: usize,
    interpolation: Interpolation,
    dimension: usize,
    values: Vec<f64>,
}

impl From<GridMap> for Parts {
    fn from(map: GridMap) -> Self {
        Self {
            domain: map.grid.domain(),
            side: map.grid.side(),
            interpolation: map.interpolation,
            dimension: map.dimension,
            values: map.values,
        }
    }
}

impl TryFrom<Parts> for GridMap {
    type Error = Error;

    fn try_from(parts: Parts) -> Result<Self> {
        Self::new(
            Grid::new(parts.domain, parts.side)?,
            parts.interpolation,
            parts.dimension,
            parts.values,
        )
    }
}

/// The closest point of a map.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Projection {
    /// Its parameters, one an axis of the domain.
    pub parameters: Vec<f64>,
    /// The point, `f(parameters)`.
    pub point: Vec<f64>,
    /// Its distance.
    pub distance: f64,
}

impl GridMap {
    /// A map of `dimension` coordinates with these values, node by node. Cubes are known at their nodes only, whatever `interpolation` says.
    ///
    /// # Errors
    /// [`Error::Size`] if there are not `dimension` values for each node, [`Error::NonFinite`].
    pub fn new(
        grid: Grid,
        interpolation: Interpolation,
        dimension: usize,
        values: Vec<f64>,
    ) -> Result<Self> {
        if dimension == 0 || values.len() != grid.len() * dimension {
            return Err(Error::Size {
                what: "values of a map",
                expected: grid.len() * dimension.max(1),
                found: values.len(),
            });
        }
        if let Some(place) = values.iter().position(|x| !x.is_finite()) {
            return Err(Error::NonFinite {
                row: place / dimension,
                column: place % dimension,
            });
        }
        Ok(Self::trusted(grid, interpolation, dimension, values))
    }

    /// A map whose values are known to be finite and as many as they should be.
    pub(crate) fn trusted(
        grid: Grid,
        interpolation: Interpolation,
        dimension: usize,
        values: Vec<f64>,
    ) -> Self {
        let interpolation = if grid.domain().dimension() > 2 {
            Interpolation::Nodes
        } else {
            interpolation
        };
        Self {
            grid,
            interpolation,
            dimension,
            values,
        }
    }

    /// The grid.
    #[must_use]
    pub fn grid(&self) -> Grid {
        self.grid
    }

    /// How the map continues between nodes.
    #[must_use]
    pub fn interpolation(&self) -> Interpolation {
        self.interpolation
    }

    /// The number of coordinates of its values, n.
    #[must_use]
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// Its values, node by node.
    #[must_use]
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// The value at a node.
    ///
    /// # Panics
    /// If there is no such node.
    #[must_use]
    pub fn value(&self, node: usize) -> &[f64] {
        &self.values[node * self.dimension..(node + 1) * self.dimension]
    }

    /// The value at these parameters, which are taken modulo 1 on circles and clamped to `[0, 1]` else.
    ///
    /// # Errors
    /// [`Error::Size`] if there is not one parameter for each axis, [`Error::NonFinite`].
    pub fn eval(&self, parameters: &[f64]) -> Result<Vec<f64>> {
        let m = self.grid.domain().dimension();
        if parameters.len() != m {
            return Err(Error::Size {
                what: "parameters",
                expected: m,
                found: parameters.len(),
            });
        }
        if let Some(column) = parameters.iter().position(|s| !s.is_finite()) {
            return Err(Error::NonFinite { row: 0, column });
        }
        let mut value = vec![0.0; self.dimension];
        for (node, share) in self.weights_at(parameters) {
            for (v, x) in value.iter_mut().zip(self.value(node as usize)) {
                *v += share * x;
            }
        }
        Ok(value)
    }

    /// The nodes whose values make up the value at these parameters, and their shares.
    pub(crate) fn weights_at(&self, parameters: &[f64]) -> Vec<(u32, f64)> {
        let m = parameters.len();
        let periodic = self.grid.domain().periodic();
        let mut cell = vec![0; m];
        let mut within = vec![0.0; m];
        for axis in 0..m {
            let s = if periodic[axis] {
                parameters[axis].rem_euclid(1.0)
            } else {
                parameters[axis].clamp(0.0, 1.0)
            };
            let place = s / self.grid.spacing(axis);
            cell[axis] = (place.floor() as usize).min(self.grid.cells(axis) - 1);
            within[axis] = place - cell[axis] as f64;
        }
        self.shares(&cell, &within)
            .into_iter()
            .map(|(corner, share)| {
                let places: Vec<usize> = cell.iter().zip(&corner).map(|(c, o)| c + o).collect();
                (self.grid.node(&places) as u32, share)
            })
            .collect()
    }

    /// The nodes around a place in a cell, as offsets from its first node, and their shares of the value.
    fn shares(&self, cell: &[usize], within: &[f64]) -> Vec<(Vec<usize>, f64)> {
        match (self.interpolation, within) {
            (Interpolation::Linear, &[t]) => vec![(vec![0], 1.0 - t), (vec![1], t)],
            (Interpolation::Linear, &[u, v]) => {
                // The same triangles as those that points are projected on.
                let corners = if (cell[0] + cell[1]).is_multiple_of(2) {
                    if u >= v {
                        [((0, 0), 1.0 - u), ((1, 0), u - v), ((1, 1), v)]
                    } else {
                        [((0, 0), 1.0 - v), ((1, 1), u), ((0, 1), v - u)]
                    }
                } else if u + v <= 1.0 {
                    [((0, 0), 1.0 - u - v), ((1, 0), u), ((0, 1), v)]
                } else {
                    [((1, 0), 1.0 - v), ((1, 1), u + v - 1.0), ((0, 1), 1.0 - u)]
                };
                corners
                    .into_iter()
                    .map(|((a, b), share)| (vec![a, b], share))
                    .collect()
            }
            _ => vec![(within.iter().map(|t| usize::from(*t >= 0.5)).collect(), 1.0)],
        }
    }

    /// The closest point of the map.
    ///
    /// # Errors
    /// [`Error::Size`] if the point has another number of coordinates, [`Error::NonFinite`].
    pub fn project(&self, point: &[f64]) -> Result<Projection> {
        let measure = Measure::from_points(point.len(), point.to_vec())?;
        let mut projections = self.project_all(&measure)?;
        projections.pop().ok_or(Error::EmptyMeasure)
    }

    /// The closest point of the map for each point of a measure.
    ///
    /// # Errors
    /// [`Error::Size`] if its points have another number of coordinates.
    pub fn project_all(&self, measure: &Measure) -> Result<Vec<Projection>> {
        let elements = Elements::new(self.grid, self.interpolation);
        let feet = self.feet(measure, &elements)?;
        Ok(self.projections(&feet, &elements))
    }

    /// As [`project_all`](Self::project_all), by trying all elements on a device; near ties are decided in 32 bits.
    ///
    /// # Errors
    /// [`Error::Size`] if the points have another number of coordinates.
    #[cfg(feature = "burn")]
    pub fn project_all_on(
        &self,
        measure: &Measure,
        device: &burn::tensor::Device,
    ) -> Result<Vec<Projection>> {
        use rayon::prelude::*;
        self.fits(measure)?;
        let elements = Elements::new(self.grid, self.interpolation);
        // Around their mean, numbers keep more of their 24 bits.
        let mean = measure.mean();
        let centred = measure.normalised(&mean, 1.0);
        let values: Vec<f64> = self
            .values
            .iter()
            .enumerate()
            .map(|(place, value)| value - mean[place % self.dimension])
            .collect();
        let pairs = crate::device::nearest_two(
            centred.points(),
            &elements,
            &values,
            self.dimension,
            device,
        );
        let search = Search::<0>::new(&elements, &self.values, self.dimension);
        let feet: Vec<Foot> = pairs
            .par_iter()
            .enumerate()
            .map(|(index, pair)| search.better(measure.point(index), *pair))
            .collect();
        Ok(self.projections(&feet, &elements))
    }

    fn projections(&self, feet: &[Foot], elements: &Elements) -> Vec<Projection> {
        feet.iter()
            .map(|foot| {
                let vertices = elements.vertices(foot.element as usize);
                let mut point = vec![0.0; self.dimension];
                for (&node, share) in vertices.iter().zip(foot.share) {
                    for (p, x) in point.iter_mut().zip(self.value(node as usize)) {
                        *p += share * x;
                    }
                }
                Projection {
                    parameters: self.parameters(vertices, &foot.share),
                    point,
                    distance: foot.square.sqrt(),
                }
            })
            .collect()
    }

    /// The nearest element for each point of a measure.
    pub(crate) fn feet(&self, measure: &Measure, elements: &Elements) -> Result<Vec<Foot>> {
        self.fits(measure)?;
        Ok(match self.dimension {
            2 => feet::<2>(self, measure, elements),
            3 => feet::<3>(self, measure, elements),
            _ => feet::<0>(self, measure, elements),
        })
    }

    fn fits(&self, measure: &Measure) -> Result<()> {
        if measure.dimension() == self.dimension {
            return Ok(());
        }
        Err(Error::Size {
            what: "coordinates of a point",
            expected: self.dimension,
            found: measure.dimension(),
        })
    }

    /// The parameters of a place in an element.
    fn parameters(&self, vertices: &[u32], share: &[f64; 3]) -> Vec<f64> {
        let periodic = self.grid.domain().periodic();
        let first = self.grid.parameters(vertices[0] as usize);
        let mut parameters = vec![0.0; first.len()];
        for (&node, share) in vertices.iter().zip(share) {
            for (axis, s) in self.grid.parameters(node as usize).into_iter().enumerate() {
                // Across the seam of a circle, the short way.
                let s = if periodic[axis] {
                    s + (first[axis] - s).round()
                } else {
                    s
                };
                parameters[axis] += share * s;
            }
        }
        for (s, periodic) in parameters.iter_mut().zip(periodic) {
            if *periodic {
                *s = s.rem_euclid(1.0);
            }
        }
        parameters
    }

    /// `J_p(f)`, the mean of the distance to the power p.
    ///
    /// # Errors
    /// [`Error::Size`] if the points have another number of coordinates, [`Error::Parameter`] if p is less than 1 or above 64.
    pub fn distance(&self, measure: &Measure, exponent: f64) -> Result<f64> {
        check_exponent(exponent)?;
        let elements = Elements::new(self.grid, self.interpolation);
        let feet = self.feet(measure, &elements)?;
        Ok(feet
            .iter()
            .zip(measure.weights())
            .map(|(foot, weight)| weight * foot.square.powf(exponent / 2.0))
            .sum())
    }

    /// `C(f)`, the cost of the map.
    ///
    /// # Errors
    /// As [`Smoothness::validate`], and [`Error::TooFewNodes`] if the grid has not more nodes along an axis than the order.
    pub fn cost(&self, smoothness: &Smoothness) -> Result<f64> {
        Ok(Differences::new(smoothness, self.grid)?.cost(&self.values, self.dimension))
    }

    /// The length of a curve; `None` for maps of more parameters.
    #[must_use]
    pub fn length(&self) -> Option<f64> {
        (self.grid.domain().dimension() == 1).then(|| self.steps().iter().sum())
    }

    /// The area of a surface, as the sum of its triangles; `None` for other maps.
    #[must_use]
    pub fn area(&self) -> Option<f64> {
        if self.grid.domain().dimension() != 2 {
            return None;
        }
        let elements = Elements::new(self.grid, Interpolation::Linear);
        let mut area = 0.0;
        for element in 0..elements.len() {
            let [a, b, c] = [0, 1, 2].map(|i| self.value(elements.vertices(element)[i] as usize));
            let (mut uu, mut uv, mut vv) = (0.0, 0.0, 0.0);
            for axis in 0..self.dimension {
                let (u, v) = (b[axis] - a[axis], c[axis] - a[axis]);
                uu += u * u;
                uv += u * v;
                vv += v * v;
            }
            area += 0.5 * (uu * vv - uv * uv).max(0.0).sqrt();
        }
        Some(area)
    }

    /// The lengths of a curve's segments.
    fn steps(&self) -> Vec<f64> {
        (0..self.grid.cells(0))
            .map(|cell| {
                let (a, b) = (self.value(cell), self.value(self.grid.node(&[cell + 1])));
                a.iter()
                    .zip(b)
                    .map(|(a, b)| (a - b).powi(2))
                    .sum::<f64>()
                    .sqrt()
            })
            .collect()
    }
}

/// Whether p is an exponent that distances can have.
///
/// # Errors
/// [`Error::Parameter`] if it is less than 1, above 64 or no number.
pub(crate) fn check_exponent(exponent: f64) -> Result<()> {
    if (1.0..=64.0).contains(&exponent) {
        return Ok(());
    }
    Err(Error::Parameter {
        name: "the exponent p",
        requirement: "1 to 64",
        found: exponent,
    })
}

fn feet<const N: usize>(map: &GridMap, measure: &Measure, elements: &Elements) -> Vec<Foot> {
    use rayon::prelude::*;
    let search = Search::<N>::new(elements, &map.values, map.dimension);
    measure
        .points()
        .par_chunks(map.dimension)
        .with_min_len(1024)
        .map(|point| {
            let mut best = Foot {
                element: 0,
                share: [0.0; 3],
                square: f64::INFINITY,
            };
            search.nearest(point, &mut best);
            best
        })
        .collect()
}
