//! Rényi differential privacy (I. Mironov 2017): of two Gaussians that differ in mean and a little in shape, and of Gaussian noise on a random sample.

use statrs::function::gamma::ln_gamma;

use crate::error::{Error, Result};

/// What a difference of one eigenvalue by `x`, of shapes `S` and `S'`, costs at order `alpha` (design, 2.5 step 7); infinite where the divergence is.
fn shape_cost(alpha: f64, x: f64) -> f64 {
    let left = 1.0 - (alpha - 1.0) * x;
    if left <= 0.0 || 1.0 + x <= 0.0 {
        return f64::INFINITY;
    }
    // ln(1-(alpha-1)x)/(alpha-1) cancels against ln(1+x)/2 near x = 0.
    (-0.5 * x.ln_1p() - 0.5 * (-(alpha - 1.0) * x).ln_1p() / (alpha - 1.0)).max(0.0)
}

/// The Rényi divergence of order `alpha > 1` between `N(b, c^2 S^-1)` and `N(b', c^2 S'^-1)`, at most: for `|b-b'| <= mu c` in the norms of both
/// shapes, and shapes that differ by at most `gamma` in trace norm relative to either (design, 2.5 step 7).
#[must_use]
pub fn gaussian_pair(alpha: f64, mu: f64, gamma: f64) -> f64 {
    let left = 1.0 - (alpha - 1.0) * gamma;
    if left <= 0.0 {
        return f64::INFINITY;
    }
    0.5 * alpha * mu * mu * (1.0 + gamma) / left + shape_pair(alpha, gamma)
}

/// The part of [`gaussian_pair`] that the shapes cost: also the cost of one draw from `N(0, S^-1)`.
#[must_use]
pub fn shape_pair(alpha: f64, gamma: f64) -> f64 {
    shape_cost(alpha, gamma).max(shape_cost(alpha, -gamma))
}

/// The divergence of order `alpha` of Gaussian noise with standard deviation `sigma` sensitivities, on a Poisson sample with rate `rate`, for a whole
/// `alpha >= 2` and tables with one row added or removed (I. Mironov, K. Talwar, L. Zhang 2019, section 3.3).
#[must_use]
pub fn sampled_gaussian(alpha: u32, rate: f64, sigma: f64) -> f64 {
    let a = f64::from(alpha);
    if rate >= 1.0 {
        return 0.5 * a / (sigma * sigma);
    }
    // ln sum_k C(alpha, k) (1-rate)^(alpha-k) rate^k exp(k(k-1)/(2 sigma^2))
    let terms: Vec<f64> = (0..=alpha)
        .map(|k| {
            let k = f64::from(k);
            let choose = ln_gamma(a + 1.0) - ln_gamma(k + 1.0) - ln_gamma(a - k + 1.0);
            choose
                + (a - k) * (-rate).ln_1p()
                + k * rate.ln()
                + 0.5 * k * (k - 1.0) / (sigma * sigma)
        })
        .collect();
    let largest = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = terms.iter().map(|t| (t - largest).exp()).sum();
    (largest + sum.ln()) / (a - 1.0)
}

/// An upper bound of `delta` as a function of `epsilon`, from divergences of several orders.
///
/// `delta(e) = min over alpha of exp((alpha-1)(D_alpha - e)) (1-1/alpha)^alpha / (alpha-1)` (C. Canonne, G. Kamath, T. Steinke 2020, proposition 12); it
/// holds for every real `e`, negative ones included, and for every choice of orders.
#[derive(Clone, Debug)]
pub struct DeltaCurve {
    /// Lines in `e` whose least is `ln delta`: intercept and negative slope.
    lines: Vec<(f64, f64)>,
}

impl DeltaCurve {
    /// From the divergences of these orders: pairs `(alpha, D_alpha)` with `alpha > 1`.
    #[must_use]
    pub fn new(orders: impl IntoIterator<Item = (f64, f64)>) -> Self {
        let lines = orders
            .into_iter()
            .filter(|(alpha, divergence)| *alpha > 1.0 && divergence.is_finite())
            .map(|(alpha, divergence)| {
                let slope = alpha - 1.0;
                (
                    slope * divergence + alpha * (slope / alpha).ln() - slope.ln(),
                    slope,
                )
            })
            .collect();
        Self { lines }
    }

    /// The curve of [`gaussian_pair`], with `draws` further draws from `N(0, S^-1)`, with orders that are good for `epsilon` up to `largest_epsilon`.
    #[must_use]
    pub fn gaussian_pair(mu: f64, gamma: f64, draws: usize, largest_epsilon: f64) -> Self {
        // Near its best order the exponent grows like mu^2/2 times the square of the distance: steps of 0.1/mu lose 0.1 percent.
        let step = 0.1 / mu;
        let end = largest_epsilon.max(1.0) / (mu * mu) + 12.0 / mu;
        let end = if gamma > 0.0 {
            end.min(0.999 / gamma)
        } else {
            end
        };
        let small = (0..40).map(|i| step * 10.0_f64.powf(-4.0 + 0.1 * f64::from(i)));
        let count = (end / step).min(1e5) as u32;
        let orders = small
            .filter(|x| *x < end)
            .chain((1..=count).map(|i| step * f64::from(i)));
        Self::new(orders.map(|x| {
            let alpha = 1.0 + x;
            (
                alpha,
                gaussian_pair(alpha, mu, gamma) + draws as f64 * shape_pair(alpha, gamma),
            )
        }))
    }

    /// An upper bound of `delta` at `epsilon`; at most 1.
    #[must_use]
    pub fn delta(&self, epsilon: f64) -> f64 {
        let exponent = self
            .lines
            .iter()
            .map(|(a, b)| a - b * epsilon)
            .fold(0.0, f64::min);
        exponent.exp()
    }

    /// The smallest `epsilon`, of all real numbers, at which the bound is at most `delta`, which must be positive; infinite without any orders.
    #[must_use]
    pub fn epsilon(&self, delta: f64) -> f64 {
        if delta >= 1.0 {
            return f64::NEG_INFINITY;
        }
        let target = delta.ln();
        self.lines
            .iter()
            .map(|(a, b)| (a - target) / b)
            .fold(f64::INFINITY, f64::min)
    }
}

/// The least noise, in sensitivities, with which `steps` rounds of [`sampled_gaussian`] are `(epsilon, delta)`-DP, rounded up by less than a thousandth.
///
/// # Errors
/// [`Error::BadParameter`] if more than a million sensitivities would be needed, or for a rate outside of (0, 1].
pub fn sampled_gaussian_noise(epsilon: f64, delta: f64, rate: f64, steps: usize) -> Result<f64> {
    if !(rate > 0.0 && rate <= 1.0) {
        return Err(Error::BadParameter {
            name: "rate",
            value: rate,
            reason: "must lie in (0, 1]",
        });
    }
    let fits = |sigma: f64| {
        let orders = (2..64)
            .chain((64..512).step_by(8))
            .chain((512..=4096).step_by(256));
        let curve = DeltaCurve::new(orders.map(|alpha| {
            (
                f64::from(alpha),
                steps as f64 * sampled_gaussian(alpha, rate, sigma),
            )
        }));
        curve.delta(epsilon) <= delta
    };
    let mut high = 0.5;
    while !fits(high) {
        high *= 2.0;
        if high > 1e6 {
            return Err(Error::BadParameter {
                name: "epsilon",
                value: epsilon,
                reason: "too small for so many steps",
            });
        }
    }
    let mut low = 0.5 * high;
    while high / low > 1.001 {
        let middle = (low * high).sqrt();
        if fits(middle) {
            high = middle
        } else {
            low = middle
        }
    }
    Ok(high)
}
