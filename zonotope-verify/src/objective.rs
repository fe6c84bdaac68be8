//! What is bounded from below: linear functions of the outputs.

use crate::certify::Target;
use crate::error::{Error, Result};
use crate::network::Network;

/// Rows of linear functions of the outputs, all to be bounded from below.
#[derive(Debug, Clone, PartialEq)]
pub struct Objective {
    outputs: usize,
    rows: usize,
    /// Row by row.
    coefficients: Vec<f64>,
}

impl Objective {
    /// One row a vector of coefficients.
    ///
    /// # Errors
    ///
    /// [`Error::ShapeMismatch`] if a row does not have a coefficient for each of `outputs`, [`Error::InvalidConfig`] if there is no row or a
    /// coefficient is not finite.
    pub fn rows(outputs: usize, rows: &[Vec<f64>]) -> Result<Self> {
        if rows.is_empty() {
            return Err(Error::InvalidConfig {
                field: "objective",
                reason: "it has no rows".to_owned(),
            });
        }
        for (index, row) in rows.iter().enumerate() {
            if row.len() != outputs {
                return Err(Error::ShapeMismatch {
                    layer: format!("row {index} of the objective"),
                    expected: format!("{outputs} coefficients"),
                    found: row.len().to_string(),
                });
            }
            if let Some(column) = row.iter().position(|x| !x.is_finite()) {
                return Err(Error::InvalidConfig {
                    field: "objective",
                    reason: format!("coefficient {column} of row {index} is not finite"),
                });
            }
        }
        Ok(Self {
            outputs,
            rows: rows.len(),
            coefficients: rows.concat(),
        })
    }

    /// The margin `y_label - y_target`.
    ///
    /// # Errors
    ///
    /// [`Error::OutputIndex`] if there is no such output, [`Error::InvalidConfig`] if both are the same.
    pub fn margin(label: usize, target: usize, outputs: usize) -> Result<Self> {
        Self::some_margins(label, &[target], outputs)
    }

    /// The margins of `label` over every other output, in their order. Only if all are positive does the label stay on top.
    ///
    /// # Errors
    ///
    /// [`Error::OutputIndex`] if `label` is no output, [`Error::InvalidConfig`] if there is only one.
    pub fn margins(label: usize, outputs: usize) -> Result<Self> {
        let others: Vec<usize> = (0..outputs).filter(|&target| target != label).collect();
        Self::some_margins(label, &others, outputs)
    }

    fn some_margins(label: usize, targets: &[usize], outputs: usize) -> Result<Self> {
        if targets.is_empty() || targets.contains(&label) {
            return Err(Error::InvalidConfig {
                field: "objective",
                reason: format!("class {label} has no margin over itself"),
            });
        }
        if let Some(&index) = targets
            .iter()
            .chain([&label])
            .find(|&&index| index >= outputs)
        {
            return Err(Error::OutputIndex {
                index,
                size: outputs,
            });
        }
        let rows: Vec<Vec<f64>> = targets
            .iter()
            .map(|&target| {
                let mut row = vec![0.0; outputs];
                row[label] = 1.0;
                row[target] = -1.0;
                row
            })
            .collect();
        Self::rows(outputs, &rows)
    }

    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there is no row; never true.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The coefficients of one row, one an output.
    #[must_use]
    pub fn row(&self, row: usize) -> &[f64] {
        &self.coefficients[row * self.outputs..(row + 1) * self.outputs]
    }

    /// The rows over the last affine map of a network.
    pub(crate) fn target(&self, network: &Network) -> Result<Target> {
        if network.outputs() != self.outputs {
            return Err(Error::ShapeMismatch {
                layer: "objective".to_owned(),
                expected: format!("{} outputs, as the network has", network.outputs()),
                found: self.outputs.to_string(),
            });
        }
        Ok(Target {
            map: network.hidden().len(),
            rows: self.rows,
            coefficients: self.coefficients.clone(),
        })
    }
}
