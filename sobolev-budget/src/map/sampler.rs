//! Drawing from a fitted map: parameters from the image of the measure, and their values.

use rand::{Rng, RngExt as _};

use super::GridMap;
use crate::elements::Elements;
use crate::{Measure, Result};

/// Draws points of a map, as often as the measure projects there: within an element uniformly.
///
/// The law of the parameters is the image of the measure under projection, up to the resolution of the grid; the law of the points is the
/// best approximation of the measure by one that lives on the map.
#[derive(Clone, Debug)]
pub struct Sampler {
    map: GridMap,
    width: usize,
    vertices: Vec<u32>,
    /// The mass of each element and all before it.
    cumulative: Vec<f64>,
}

impl GridMap {
    /// A sampler of the image of `measure` under projection on this map.
    ///
    /// # Errors
    /// [`Error::Size`](crate::Error::Size) if the points have another number of coordinates.
    pub fn sampler(&self, measure: &Measure) -> Result<Sampler> {
        let elements = Elements::new(self.grid(), self.interpolation());
        let mut cumulative = vec![0.0; elements.len()];
        for (foot, weight) in self.feet(measure, &elements)?.iter().zip(measure.weights()) {
            cumulative[foot.element as usize] += weight;
        }
        for element in 1..cumulative.len() {
            cumulative[element] += cumulative[element - 1];
        }
        Ok(Sampler {
            map: self.clone(),
            width: elements.width(),
            vertices: (0..elements.len())
                .flat_map(|element| elements.vertices(element).to_vec())
                .collect(),
            cumulative,
        })
    }
}

impl Sampler {
    /// Draws parameters and the map's value there.
    pub fn sample(&self, rng: &mut impl Rng) -> (Vec<f64>, Vec<f64>) {
        let total = self.cumulative.last().copied().unwrap_or(0.0);
        let mark = rng.random::<f64>() * total;
        let element = self
            .cumulative
            .partition_point(|mass| *mass <= mark)
            .min(self.cumulative.len() - 1);
        let vertices = &self.vertices[element * self.width..(element + 1) * self.width];
        let (mut u, mut v) = (rng.random::<f64>(), rng.random::<f64>());
        let share = match self.width {
            1 => [1.0, 0.0, 0.0],
            2 => [1.0 - u, u, 0.0],
            _ => {
                if u + v > 1.0 {
                    (u, v) = (1.0 - u, 1.0 - v);
                }
                [1.0 - u - v, u, v]
            }
        };
        let mut point = vec![0.0; self.map.dimension()];
        for (&node, share) in vertices.iter().zip(share) {
            for (p, x) in point.iter_mut().zip(self.map.value(node as usize)) {
                *p += share * x;
            }
        }
        (self.map.parameters(vertices, &share), point)
    }
}
