//! Maps through points whose parameters are known: smoothing splines under a budget.

use serde::{Deserialize, Serialize};

use crate::elements::Elements;
use crate::map::GridMap;
use crate::system::System;
use crate::{Constraint, Error, FitConfig, Grid, Measure, Result};

/// A map fitted to points at known parameters.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Regression {
    /// The map.
    pub map: GridMap,
    /// The mean of `|x - f(s)|^2`.
    pub error: f64,
    /// `C(f)`.
    pub cost: f64,
    /// The multiplier of `C(f)^2`; 0 if the budget does not bind.
    pub multiplier: f64,
}

impl FitConfig {
    /// The map that minimises the mean of `|x_j - f(s_j)|^2` within the budget, or with the price: one half of each turn of
    /// [`fit`](Self::fit), for users who know the parameters `s_j` (times, angles, places in a plane). It is exact, whatever the multiplier. With order 2 on
    /// an interval this is a discrete smoothing spline with its smoothness stated as a budget.
    ///
    /// `parameters` holds one number for each axis, point after point, taken modulo 1 on circles and clamped to `[0, 1]` else.
    ///
    /// # Errors
    /// As [`validate`](Self::validate); [`Error::Size`] if there are not as many parameters as points; [`Error::NonFinite`];
    /// [`Error::Parameter`] unless p = q = 2.
    pub fn fit_at(&self, measure: &Measure, parameters: &[f64]) -> Result<Regression> {
        self.validate()?;
        for (name, found) in [
            ("the exponent p", self.exponent),
            ("the exponent q", self.smoothness.exponent),
        ] {
            if found != 2.0 {
                return Err(Error::Parameter {
                    name,
                    requirement: "2 where parameters are given",
                    found,
                });
            }
        }
        let m = self.domain.dimension();
        if parameters.len() != measure.len() * m {
            return Err(Error::Size {
                what: "parameters of all points",
                expected: measure.len() * m,
                found: parameters.len(),
            });
        }
        if let Some(place) = parameters.iter().position(|s| !s.is_finite()) {
            return Err(Error::NonFinite {
                row: place / m,
                column: place % m,
            });
        }
        let n = measure.dimension();
        let grid = Grid::new(self.domain, self.nodes)?;
        let elements = Elements::new(grid, self.interpolation);
        let system = System::new(&self.smoothness, grid, &elements)?;
        let blank = GridMap::trusted(grid, self.interpolation, n, vec![0.0; grid.len() * n]);
        let places: Vec<Vec<(u32, f64)>> = parameters
            .chunks_exact(m)
            .map(|s| blank.weights_at(s))
            .collect();
        let quadratic = system.quadratic_at(measure, &places);
        let cost = system.cost_matrix(system.differences.weights(blank.values(), n, 0.0));
        let (values, multiplier) = match self.constraint {
            Constraint::Budget(budget) => {
                let (mut values, multiplier) =
                    system.budgeted(&quadratic, &cost, budget * budget, 0.0)?;
                system.bring_within(&mut values, n, budget);
                (values, multiplier)
            }
            Constraint::Price(price) => (system.priced(&quadratic, &cost, price)?.0, price),
        };
        let map = GridMap::new(grid, self.interpolation, n, values)?;
        let error = places
            .iter()
            .enumerate()
            .map(|(index, place)| {
                let square: f64 = (0..n)
                    .map(|axis| {
                        let value: f64 = place
                            .iter()
                            .map(|(node, share)| share * map.value(*node as usize)[axis])
                            .sum();
                        (measure.point(index)[axis] - value).powi(2)
                    })
                    .sum();
                measure.weights()[index] * square
            })
            .sum();
        Ok(Regression {
            error,
            cost: map.cost(&self.smoothness)?,
            multiplier,
            map,
        })
    }
}
