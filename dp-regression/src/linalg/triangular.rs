//! Factorisations of small symmetric matrices in double-double arithmetic, so that only the passes over the table round.
//!
//! Matrices are slices of `d d` numbers by columns: entry `(i, j)` is `a[i + d j]`.

use super::double::Double;

/// A power of two near the root of `value`, which must be positive.
fn power_near_root(value: f64) -> f64 {
    (0.5 * value.log2()).round().exp2()
}

/// The inverse `T` of the Cholesky factor of `s` (lower triangle read), upper triangular: `T' s T = 1`.
///
/// Columns are equilibrated by powers of two first. `shift` is added to the diagonal of the equilibrated matrix. `None` if a pivot of it falls
/// to `least` or below: the matrix is then not safely positive definite.
pub(crate) fn inverse_factor(
    s: &[Double],
    d: usize,
    shift: f64,
    least: f64,
) -> Option<Vec<Double>> {
    let mut scale = vec![0.0; d];
    for (j, scale) in scale.iter_mut().enumerate() {
        let diagonal = s[j + d * j].hi;
        if diagonal.is_nan() || diagonal <= 0.0 || diagonal.is_infinite() {
            return None;
        }
        *scale = 1.0 / power_near_root(diagonal);
    }
    // The lower factor of the equilibrated matrix, column by column.
    let mut lower = vec![Double::ZERO; d * d];
    for j in 0..d {
        for i in j..d {
            let mut sum = s[i + d * j].scale(scale[i]).scale(scale[j]);
            if i == j {
                sum += Double::from(shift);
            }
            for k in 0..j {
                sum -= lower[i + d * k] * lower[j + d * k];
            }
            if i == j {
                if sum.hi.is_nan() || sum.hi <= least {
                    return None;
                }
                lower[j + d * j] = sum.sqrt();
            } else {
                lower[i + d * j] = sum / lower[j + d * j];
            }
        }
    }
    // T = scale L'^-1: solve L' T = scale, from the last row of a column to the first.
    let mut t = vec![Double::ZERO; d * d];
    for j in 0..d {
        for i in (0..=j).rev() {
            let mut sum = if i == j { Double::ONE } else { Double::ZERO };
            for k in i + 1..=j {
                sum -= lower[k + d * i] * t[k + d * j];
            }
            t[i + d * j] = sum / lower[i + d * i];
        }
    }
    for j in 0..d {
        for i in 0..=j {
            t[i + d * j] = t[i + d * j].scale(scale[i]);
        }
    }
    Some(t)
}

/// The product of two upper triangular matrices.
pub(crate) fn product(a: &[Double], b: &[Double], d: usize) -> Vec<Double> {
    let mut out = vec![Double::ZERO; d * d];
    for j in 0..d {
        for k in 0..=j {
            let factor = b[k + d * j];
            for i in 0..=k {
                out[i + d * j] += a[i + d * k] * factor;
            }
        }
    }
    out
}

/// The inverse of an upper triangular matrix.
pub(crate) fn inverse(t: &[Double], d: usize) -> Vec<Double> {
    let mut out = vec![Double::ZERO; d * d];
    for j in 0..d {
        for i in (0..=j).rev() {
            let mut sum = if i == j { Double::ONE } else { Double::ZERO };
            for k in i + 1..=j {
                sum -= t[i + d * k] * out[k + d * j];
            }
            out[i + d * j] = sum / t[i + d * i];
        }
    }
    out
}

/// `T v` for upper triangular `T`.
pub(crate) fn times(t: &[Double], v: &[Double], d: usize) -> Vec<Double> {
    let mut out = vec![Double::ZERO; d];
    for (j, &v) in v.iter().enumerate() {
        for i in 0..=j {
            out[i] += t[i + d * j] * v;
        }
    }
    out
}

/// `T' v` for upper triangular `T`.
pub(crate) fn transposed_times(t: &[Double], v: &[Double], d: usize) -> Vec<Double> {
    (0..d)
        .map(|j| (0..=j).fold(Double::ZERO, |sum, i| sum + t[i + d * j] * v[i]))
        .collect()
}

/// The Frobenius norm of `|A| |B|` for upper triangular matrices: with `B` the inverse of `A`, a condition number that scaling of columns does not
/// change (R. D. Skeel 1979).
pub(crate) fn skeel_condition(a: &[Double], b: &[Double], d: usize) -> f64 {
    let mut square = 0.0;
    for j in 0..d {
        for i in 0..=j {
            let entry: f64 = (i..=j)
                .map(|k| a[i + d * k].hi.abs() * b[k + d * j].hi.abs())
                .sum();
            square += entry * entry;
        }
    }
    square.sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_factor_whitens_a_badly_scaled_matrix() {
        // B'B for an upper triangular B with very different columns.
        let b = [2.0, 0.0, 0.0, 1e8, 3e8, 0.0, 1e-9, 2e-9, 5e-9].map(Double::from);
        let d = 3;
        let mut s = vec![Double::ZERO; 9];
        for i in 0..d {
            for j in 0..d {
                for k in 0..d {
                    s[i + d * j] += b[k + d * i] * b[k + d * j];
                }
            }
        }
        let t = inverse_factor(&s, d, 0.0, 1e-20).unwrap();
        let identity = product(&b, &t, d);
        for i in 0..d {
            for j in 0..d {
                let expected = if i == j { 1.0 } else { 0.0 };
                assert!((identity[i + d * j].to_f64() - expected).abs() < 1e-25);
            }
        }
        let back = inverse(&t, d);
        for (x, y) in back.iter().zip(&b) {
            assert!((x.to_f64() - y.to_f64()).abs() <= 1e-22 * y.to_f64().abs().max(1e-9));
        }
    }

    #[test]
    fn a_singular_matrix_has_no_factor() {
        let s = [1.0, 1.0, 1.0, 1.0].map(Double::from);
        assert!(inverse_factor(&s, 2, 0.0, 1e-28).is_none());
        assert!(inverse_factor(&s, 2, 1e-20, 1e-28).is_some());
        assert!(inverse_factor(&[Double::ZERO], 1, 1.0, 0.0).is_none());
    }
}
