//! Inner loops over padded coefficient rows.

use super::layout::LANES;

/// `x . y`; lengths are multiples of [`LANES`].
#[inline(always)]
pub(super) fn dot(x: &[f64], y: &[f64]) -> f64 {
    let mut sum = [0.0; LANES];
    for (x, y) in x
        .as_chunks::<LANES>()
        .0
        .iter()
        .zip(y.as_chunks::<LANES>().0)
    {
        for lane in 0..LANES {
            sum[lane] += x[lane] * y[lane];
        }
    }
    (sum[0] + sum[2]) + (sum[1] + sum[3])
}

/// `y += factor x`; lengths are multiples of [`LANES`].
#[inline(always)]
pub(super) fn add_scaled(y: &mut [f64], factor: f64, x: &[f64]) {
    for (y, x) in y
        .as_chunks_mut::<LANES>()
        .0
        .iter_mut()
        .zip(x.as_chunks::<LANES>().0)
    {
        for lane in 0..LANES {
            y[lane] += factor * x[lane];
        }
    }
}
