//! How far an estimated mixture is from the true one, and mixtures to try (section 4 of the paper).

use rand::{Rng, RngExt};

use crate::error::{Error, Result};

/// Mean squared error between two mixtures: `(1/n) sum_i (estimate_i - truth_i)^2`, on shares in 0..=1.
///
/// # Errors
/// [`Error::InvalidValue`] if the lengths differ, there is nothing to compare, or a share is not finite.
pub fn mse(estimate: &[f64], truth: &[f64]) -> Result<f64> {
    if estimate.len() != truth.len() || truth.is_empty() {
        return Err(Error::InvalidValue {
            name: "shares".into(),
            value: format!("{} against {}", estimate.len(), truth.len()),
            expected: "two mixtures of the same, positive length",
        });
    }
    if let Some(share) = estimate
        .iter()
        .chain(truth)
        .find(|share| !share.is_finite())
    {
        return Err(Error::InvalidValue {
            name: "share".into(),
            value: share.to_string(),
            expected: "finite",
        });
    }
    let squares = estimate.iter().zip(truth).map(|(e, t)| (e - t).powi(2));
    Ok(squares.sum::<f64>() / truth.len() as f64)
}

/// `log10` of [`mse`], the paper's figure of merit; minus infinity for identical mixtures.
///
/// # Errors
/// As [`mse`].
pub fn log10_mse(estimate: &[f64], truth: &[f64]) -> Result<f64> {
    mse(estimate, truth).map(f64::log10)
}

/// Draws a mixture of `n` categories as the paper does (Smith and Tromble's sampler): the gaps between `n - 1`
/// distinct integers of 1..=9999, divided by 10,000. No share is 0.
///
/// # Errors
/// [`Error::InvalidValue`] unless `n` is in 1..=9999.
pub fn sample_simplex(n: usize, rng: &mut impl Rng) -> Result<Vec<f64>> {
    const GRID: usize = 10_000;
    if n == 0 || n >= GRID {
        return Err(Error::InvalidValue {
            name: "categories".into(),
            value: n.to_string(),
            expected: "in 1..=9999",
        });
    }
    let mut cuts = std::collections::BTreeSet::from([0, GRID]);
    while cuts.len() < n + 1 {
        cuts.insert(rng.random_range(1..GRID));
    }
    let cuts: Vec<usize> = cuts.into_iter().collect();
    Ok(cuts
        .windows(2)
        .map(|pair| (pair[1] - pair[0]) as f64 / GRID as f64)
        .collect())
}

/// Mean and sample standard deviation (0 for a single value). Of no values the mean is NaN and the deviation 0.
pub fn mean_and_spread(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    if values.len() < 2 {
        return (mean, 0.0);
    }
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0);
    (mean, variance.sqrt())
}
