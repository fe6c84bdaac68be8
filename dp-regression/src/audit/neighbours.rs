//! Pairs of neighbouring tables at which a method has most to hide.

use crate::Adjacency;
use crate::error::{Error, Result};
use crate::plan::Plan;

/// Two tables that differ in one row, with one column: `x` and `y` of each.
#[derive(Clone, Debug, PartialEq)]
pub struct Neighbours {
    /// The first table.
    pub first: (Vec<f64>, Vec<f64>),
    /// The second.
    pub second: (Vec<f64>, Vec<f64>),
}

/// More rows than this are not made.
const MOST_ROWS: f64 = 1e8;

impl Neighbours {
    /// Clean tables at the edge of what passes: one column of ones, as many rows as the leverage bound allows at least, and the last row with the
    /// largest residual that passes on one side, while in the other table it has it on the other side ([`Adjacency::Replace`]) or is missing.
    /// No pair of clean tables shifts the coefficients further.
    ///
    /// # Errors
    /// [`Error::BadParameter`] if that takes more than 1e8 rows.
    pub fn edge(plan: &Plan) -> Result<Self> {
        let input = plan.input();
        let rows = (1.0 / input.leverage_bound).ceil() + 1.0;
        if rows > MOST_ROWS {
            return Err(Error::BadParameter {
                name: "leverage_bound",
                value: input.leverage_bound,
                reason: "needs too many rows",
            });
        }
        // The canary pulls the fit towards itself: its residual is y (1 - 1/n).
        let canary = input.residual_bound / (1.0 - 1.0 / rows) * (1.0 - 1e-9);
        let rows = rows as usize;
        let table = |last: Option<f64>| {
            let mut y = vec![0.0; rows - 1];
            y.extend(last);
            (vec![1.0; y.len()], y)
        };
        Ok(Self {
            first: table(Some(canary)),
            second: table((input.adjacency == Adjacency::Replace).then_some(-canary)),
        })
    }

    /// Tables with `outliers` and one more gross outlier, 1000 residual bounds away on alternating sides: scores `outliers` and `outliers + 1`.
    ///
    /// # Errors
    /// [`Error::BadParameter`] if the leverage bound needs more than 1e8 rows, or if half of the rows were outliers.
    pub fn outliers(plan: &Plan, outliers: usize) -> Result<Self> {
        let input = plan.input();
        let rows = (2.0 / input.leverage_bound).ceil();
        if rows > MOST_ROWS {
            return Err(Error::BadParameter {
                name: "leverage_bound",
                value: input.leverage_bound,
                reason: "needs too many rows",
            });
        }
        if outliers as f64 > 0.5 * rows - 2.0 {
            return Err(Error::BadParameter {
                name: "outliers",
                value: outliers as f64,
                reason: "more than half of the rows",
            });
        }
        let gross = 1e3 * input.residual_bound;
        let table = |outliers: usize, rows: usize| {
            let y = (0..rows).map(|row| match row {
                row if row >= outliers => 0.0,
                row if row % 2 == 0 => gross,
                _ => -gross,
            });
            (vec![1.0; rows], y.collect())
        };
        let rows = rows as usize;
        let more = match input.adjacency {
            Adjacency::Replace => rows,
            Adjacency::AddRemove => rows + 1,
        };
        Ok(Self {
            first: table(outliers, rows),
            second: table(outliers + 1, more),
        })
    }
}
