//! The barycentre field: where a map is pulled to, and the improvement that follows from it.

use serde::Serialize;

use super::{GridMap, check_exponent};
use crate::assign::{Assignment, Loss, Place};
use crate::elements::Elements;
use crate::system::System;
use crate::{Error, Measure, Result, Smoothness};

/// The barycentre field of a map: the force with which a measure pulls at it, node by node.
///
/// It is `F(s)`, the mean of `p |x - f(s)|^(p-2) (x - f(s))` over the points whose closest point is `f(s)`, and minus the gradient of `J_p` in
/// `L^2` of the image measure. On a grid each point acts on the vertices of its element, by its barycentric coordinates.
#[derive(Clone, Debug, Serialize)]
pub struct BarycenterField {
    /// The mass that each node receives; the sum is 1.
    pub mass: Vec<f64>,
    /// The field, `[nodes, n]`; 0 where there is no mass.
    pub field: Vec<f64>,
    /// Minus the derivative of `J_p` by the values at the nodes, `[nodes, n]`: the field times the mass.
    pub force: Vec<f64>,
}

/// A direction in which a map improves, and what it costs.
///
/// For small steps t the map `f + t direction` has `J_p(f) - t gain` up to higher order, and costs at most `C(f) + t cost`. So the best value at
/// a budget larger by `t cost` is smaller by `t gain` at least: more budget always helps where the field is not 0.
#[derive(Clone, Debug, Serialize)]
pub struct Improvement {
    /// The direction.
    pub direction: GridMap,
    /// How fast `J_p` falls: the integral of the field times the direction.
    pub gain: f64,
    /// The cost of the direction itself, which bounds how fast the cost of the map grows.
    pub cost: f64,
}

impl GridMap {
    /// The barycentre field. With p = 1, points on the map itself count as pulling nowhere.
    ///
    /// # Errors
    /// [`Error::Size`] if the points have another number of coordinates, [`Error::Parameter`] if p is less than 1 or above 64.
    pub fn barycenter_field(&self, measure: &Measure, exponent: f64) -> Result<BarycenterField> {
        check_exponent(exponent)?;
        let elements = Elements::new(self.grid(), self.interpolation());
        let n = self.dimension();
        let mut mass = vec![0.0; self.grid().len()];
        let mut force = vec![0.0; self.values().len()];
        for (index, foot) in self.feet(measure, &elements)?.iter().enumerate() {
            let weight = measure.weights()[index];
            let vertices = elements.vertices(foot.element as usize);
            let pull = if foot.square > 0.0 {
                weight * exponent * foot.square.powf(exponent / 2.0 - 1.0)
            } else {
                0.0
            };
            for axis in 0..n {
                let mut residual = measure.point(index)[axis];
                for (&node, share) in vertices.iter().zip(foot.share) {
                    residual -= share * self.value(node as usize)[axis];
                }
                for (&node, share) in vertices.iter().zip(foot.share) {
                    force[node as usize * n + axis] += pull * share * residual;
                }
            }
            for (&node, share) in vertices.iter().zip(foot.share) {
                mass[node as usize] += weight * share;
            }
        }
        let field = force
            .iter()
            .enumerate()
            .map(|(place, f)| {
                if mass[place / n] > 0.0 {
                    f / mass[place / n]
                } else {
                    0.0
                }
            })
            .collect();
        Ok(BarycenterField { mass, field, force })
    }

    /// The barycentre field made smooth: of all directions of finite cost, the one that improves most for what it costs, up to the factor
    /// `smoothing` (positive; small values follow the field closely, large ones cost little). `None` where the field is 0.
    ///
    /// # Errors
    /// As [`barycenter_field`](Self::barycenter_field) and [`Smoothness::validate`]; [`Error::Parameter`] if `smoothing` is not positive and
    /// finite.
    pub fn improvement(
        &self,
        measure: &Measure,
        exponent: f64,
        smoothness: &Smoothness,
        smoothing: f64,
    ) -> Result<Option<Improvement>> {
        if !(smoothing > 0.0 && smoothing.is_finite()) {
            return Err(Error::Parameter {
                name: "the smoothing",
                requirement: "positive and finite",
                found: smoothing,
            });
        }
        let field = self.barycenter_field(measure, exponent)?;
        let n = self.dimension();
        let elements = Elements::new(self.grid(), self.interpolation());
        // The quadratic cost serves every q: it only has to make the direction smooth.
        let quadratic_cost = smoothness.clone().with_exponent(2.0);
        let system = System::new(&quadratic_cost, self.grid(), &elements)?;
        let mut assignment = Assignment::new(measure.len());
        let loss = Loss {
            exponent: 2.0,
            floor: 0.0,
        };
        let moments = assignment.update(measure, &elements, self.values(), loss, &Place::Host);
        let quadratic = system
            .quadratic(&moments, &elements, n)
            .with_rhs(field.force.clone());
        let cost = system.cost_matrix(system.differences.weights(self.values(), n, 0.0));
        let scale = system.scale(&quadratic, &cost);
        let (direction, _) = system.priced(&quadratic, &cost, smoothing * scale)?;
        let gain: f64 = direction.iter().zip(&field.force).map(|(d, f)| d * f).sum();
        if gain.is_nan() || gain <= 0.0 {
            return Ok(None);
        }
        let direction = Self::trusted(self.grid(), self.interpolation(), n, direction);
        Ok(Some(Improvement {
            cost: direction.cost(smoothness)?,
            direction,
            gain,
        }))
    }
}
