//! Plain linear algebra that shares nothing with the crate, and small tables.

use rand::{Rng, RngExt};
use rand_distr::{Distribution, StandardNormal, StudentT};

/// How often a randomised test repeats itself: `default`, or as the environment variable `DP_REGRESSION_ROUNDS` says, in multiples of it.
pub(crate) fn rounds(default: usize) -> usize {
    let factor = std::env::var("DP_REGRESSION_ROUNDS")
        .ok()
        .and_then(|text| text.parse::<usize>().ok())
        .unwrap_or(1);
    default * factor.max(1)
}

/// The inverse of a symmetric positive definite matrix by Gauss-Jordan elimination with pivoting, or `None`.
pub(crate) fn invert(a: &[Vec<f64>]) -> Option<Vec<Vec<f64>>> {
    let d = a.len();
    let mut work: Vec<Vec<f64>> = a
        .iter()
        .enumerate()
        .map(|(i, row)| {
            row.iter()
                .copied()
                .chain((0..d).map(|j| f64::from(u8::from(i == j))))
                .collect()
        })
        .collect();
    for column in 0..d {
        let pivot =
            (column..d).max_by(|&i, &j| work[i][column].abs().total_cmp(&work[j][column].abs()))?;
        if work[pivot][column].abs() < 1e-12 * a[column][column].abs().max(1e-300) {
            return None;
        }
        work.swap(column, pivot);
        let factor = work[column][column];
        work[column].iter_mut().for_each(|x| *x /= factor);
        for row in 0..d {
            if row != column {
                let factor = work[row][column];
                let source = work[column].clone();
                work[row]
                    .iter_mut()
                    .zip(source)
                    .for_each(|(x, s)| *x -= factor * s);
            }
        }
    }
    Some(work.into_iter().map(|row| row[d..].to_vec()).collect())
}

/// A small table: rows and responses.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) x: Vec<Vec<f64>>,
    pub(crate) y: Vec<f64>,
}

impl Table {
    pub(crate) fn columns(&self) -> usize {
        self.x[0].len()
    }

    pub(crate) fn flat(&self) -> Vec<f64> {
        self.x.concat()
    }

    /// Weighted second moments and `X'Wy`.
    pub(crate) fn moments(&self, weights: &[f64]) -> (Vec<Vec<f64>>, Vec<f64>) {
        let d = self.columns();
        let mut s = vec![vec![0.0; d]; d];
        let mut g = vec![0.0; d];
        for ((x, y), w) in self.x.iter().zip(&self.y).zip(weights) {
            for i in 0..d {
                g[i] += w * x[i] * y;
                for j in 0..d {
                    s[i][j] += w * x[i] * x[j];
                }
            }
        }
        (s, g)
    }

    /// Leverages and residuals with respect to the weighted fit, for all rows, and its coefficients.
    pub(crate) fn fit(&self, weights: &[f64]) -> Option<(Vec<f64>, Vec<f64>, Vec<f64>)> {
        let (s, g) = self.moments(weights);
        let inverse = invert(&s)?;
        let beta = times(&inverse, &g);
        let h = self.x.iter().map(|x| dot(x, &times(&inverse, x))).collect();
        let e = self
            .x
            .iter()
            .zip(&self.y)
            .map(|(x, y)| y - dot(x, &beta))
            .collect();
        Some((h, e, beta))
    }

    /// A neighbour: row `j` replaced, or without it, or with one row more at the end. The number of the row in the neighbour, if it has one.
    pub(crate) fn replaced(&self, j: usize, x: Vec<f64>, y: f64) -> Self {
        let mut other = self.clone();
        other.x[j] = x;
        other.y[j] = y;
        other
    }

    pub(crate) fn without(&self, j: usize) -> Self {
        let mut other = self.clone();
        other.x.remove(j);
        other.y.remove(j);
        other
    }
}

pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

pub(crate) fn times(a: &[Vec<f64>], v: &[f64]) -> Vec<f64> {
    a.iter().map(|row| dot(row, v)).collect()
}

/// A hostile little table: heavy tails at times, and rows planted near the thresholds `tau` and `rho`.
pub(crate) fn hostile(
    rng: &mut impl Rng,
    n: usize,
    d: usize,
    tau: f64,
    rho: f64,
    planted: usize,
) -> Table {
    let tails = StudentT::new(3.0).unwrap();
    let heavy = rng.random_range(0..3) == 0;
    let value = |rng: &mut dyn Rng| -> f64 {
        if heavy {
            tails.sample(rng)
        } else {
            StandardNormal.sample(rng)
        }
    };
    let x: Vec<Vec<f64>> = (0..n)
        .map(|_| (0..d).map(|_| value(rng)).collect())
        .collect();
    let y = (0..n).map(|_| 0.25 * rho * value(rng)).collect();
    let mut table = Table { x, y };
    for _ in 0..planted {
        let row = rng.random_range(0..n);
        let Some((h, e, _)) = table.fit(&vec![1.0; n]) else {
            continue;
        };
        match rng.random_range(0..3) {
            // A residual near the threshold, on either side of it.
            0 => {
                let target =
                    rho * rng.random_range(0.9..1.6) * if rng.random() { 1.0 } else { -1.0 };
                table.y[row] += (target - e[row]) / (1.0 - h[row]);
            }
            // A leverage near the threshold.
            1 => {
                let target = tau * rng.random_range(0.8..1.5);
                let ratio = (target * (1.0 - h[row]) / (h[row] * (1.0 - target)).max(1e-12))
                    .max(0.0)
                    .sqrt();
                table.x[row].iter_mut().for_each(|x| *x *= ratio.min(1e3));
            }
            _ => {
                let factor = rng.random_range(2.0..30.0);
                table.y[row] *= factor;
            }
        }
    }
    table
}
