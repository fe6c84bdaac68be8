//! Solving with a symmetric matrix that noise may have made indefinite.

use faer::{Mat, Side};

use crate::error::{Error, Result};

/// Eigenvalues in ascending order, and eigenvectors by columns.
pub(super) struct Eigen {
    pub(super) values: Vec<f64>,
    vectors: Mat<f64>,
}

impl Eigen {
    /// Of a symmetric matrix of `d d` numbers.
    pub(super) fn new(a: &[f64], d: usize) -> Result<Self> {
        let matrix = Mat::from_fn(d, d, |i, j| a[i * d + j]);
        let eigen = matrix
            .self_adjoint_eigen(Side::Lower)
            .map_err(|_| Error::BadParameter {
                name: "second moments",
                value: f64::NAN,
                reason: "have no eigenvalues: they overflow",
            })?;
        let values = (0..d).map(|i| eigen.S()[i]).collect();
        Ok(Self {
            values,
            vectors: eigen.U().to_owned(),
        })
    }

    /// `V f(values) V' g`, where `f` gives a factor for an eigenvalue.
    pub(super) fn apply(&self, g: &[f64], f: impl Fn(f64) -> f64) -> Vec<f64> {
        let d = g.len();
        let coordinates: Vec<f64> = (0..d)
            .map(|j| f(self.values[j]) * (0..d).map(|i| self.vectors[(i, j)] * g[i]).sum::<f64>())
            .collect();
        (0..d)
            .map(|i| (0..d).map(|j| self.vectors[(i, j)] * coordinates[j]).sum())
            .collect()
    }
}

/// The inverse of a number, and 0 of 0.
pub(super) fn inverse(value: f64) -> f64 {
    if value == 0.0 { 0.0 } else { 1.0 / value }
}
