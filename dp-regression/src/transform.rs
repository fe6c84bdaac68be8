//! Public preprocessing: what is done to every row alike, whatever the others are, costs no privacy.

use crate::error::{Error, Result};

/// Closed ranges that numbers are clipped to. They must be public: chosen from the table, they give it away.
///
/// Clipping rows lowers leverages, bounds residuals, and makes it impossible that a fit fails on the content of a table: NaN becomes the middle of the
/// range, infinities its ends.
#[derive(Clone, Debug, PartialEq)]
pub struct PublicTransform {
    columns: Vec<(f64, f64)>,
    response: (f64, f64),
}

impl PublicTransform {
    /// Ranges of the columns, in order, and of the response.
    ///
    /// # Errors
    /// [`Error::BadParameter`] for a range that is empty, not finite, or exceeds 1e150.
    pub fn new(columns: Vec<(f64, f64)>, response: (f64, f64)) -> Result<Self> {
        for &(lower, upper) in columns.iter().chain([&response]) {
            if !(lower <= upper && lower >= -1e150 && upper <= 1e150) {
                return Err(Error::BadParameter {
                    name: "range",
                    value: if lower.is_finite() { upper } else { lower },
                    reason: "a range goes from a number to a larger one, both at most 1e150 in size",
                });
            }
        }
        Ok(Self { columns, response })
    }

    /// Clips a table in place: `x` row by row, and the responses.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] if `x` has another number of columns.
    pub fn apply(&self, x: &mut [f64], y: &mut [f64]) -> Result<()> {
        let expected = y.len() * self.columns.len();
        if x.len() != expected {
            return Err(Error::ShapeMismatch {
                what: "numbers of the design matrix",
                expected,
                found: x.len(),
            });
        }
        for row in x.chunks_exact_mut(self.columns.len().max(1)) {
            row.iter_mut()
                .zip(&self.columns)
                .for_each(|(x, range)| *x = clip(*x, *range));
        }
        y.iter_mut().for_each(|y| *y = clip(*y, self.response));
        Ok(())
    }
}

fn clip(value: f64, (lower, upper): (f64, f64)) -> f64 {
    if value.is_nan() {
        0.5 * lower + 0.5 * upper
    } else {
        value.clamp(lower, upper)
    }
}
