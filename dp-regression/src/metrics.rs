//! How good released coefficients are. **Not private**: these look at the table.

use crate::dataset::Dataset;
use crate::error::Result;
use crate::linalg::double::Double;

/// `|Sigma^{1/2} (a - b)|` with `Sigma = X'X/n`: the root mean square difference of the two predictions, in units of the response.
///
/// # Errors
/// [`ShapeMismatch`](crate::Error::ShapeMismatch) for coefficients of another number of columns; those of reading.
pub fn prediction_distance(data: &Dataset<'_>, a: &[f64], b: &[f64]) -> Result<f64> {
    let d = data.columns();
    for coefficients in [a, b] {
        data.check_coefficients(coefficients)?;
    }
    let difference: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
    let mut sum = Double::ZERO;
    data.visit(&mut |_, x, _| {
        for row in x.chunks_exact(d) {
            let fit: f64 = row.iter().zip(&difference).map(|(x, b)| x * b).sum();
            sum += Double::from(fit * fit);
        }
        Ok(())
    })?;
    Ok((sum.to_f64() / data.rows().max(1) as f64).sqrt())
}

/// The share of the response's variance that coefficients explain, `1 - sum e^2 / sum (y - mean)^2`; negative if the mean explains more.
///
/// # Errors
/// As of [`prediction_distance`].
pub fn r_squared(data: &Dataset<'_>, coefficients: &[f64]) -> Result<f64> {
    let d = data.columns();
    data.check_coefficients(coefficients)?;
    let mut total = Double::ZERO;
    data.visit(&mut |_, _, y| {
        y.iter().for_each(|y| total += Double::from(*y));
        Ok(())
    })?;
    let mean = total.to_f64() / data.rows().max(1) as f64;
    let (mut left, mut all) = (Double::ZERO, Double::ZERO);
    data.visit(&mut |_, x, y| {
        for (row, y) in x.chunks_exact(d).zip(y) {
            let error = y - row
                .iter()
                .zip(coefficients)
                .map(|(x, b)| x * b)
                .sum::<f64>();
            left += Double::from(error * error);
            all += Double::from((y - mean) * (y - mean));
        }
        Ok(())
    })?;
    Ok(1.0 - left.to_f64() / all.to_f64())
}
