//! Gaussian differential privacy (J. Dong, A. Roth, W. Su 2022): a mechanism is `mu`-GDP if its outputs on neighbours are no easier to tell apart
//! than `N(0,1)` and `N(mu,1)`. Gaussian noise of standard deviation `sigma` on something of sensitivity `D` is `D/sigma`-GDP.

use statrs::function::erf::erfc;

/// `P(N(0,1) <= x)`, with small relative error in the lower tail.
pub(crate) fn normal_cdf(x: f64) -> f64 {
    0.5 * erfc(-x / std::f64::consts::SQRT_2)
}

/// The least `delta` of `mu`-GDP at this `epsilon` (B. Balle, Y.-X. Wang 2018, theorem 8); `epsilon` may be negative.
#[must_use]
pub fn delta(epsilon: f64, mu: f64) -> f64 {
    if mu <= 0.0 {
        return (1.0 - epsilon.exp()).max(0.0);
    }
    let lower = normal_cdf(-epsilon / mu - 0.5 * mu);
    // exp(epsilon) times a tail that has underflowed is below every delta that matters.
    let second = if lower > 0.0 {
        (epsilon + lower.ln()).exp()
    } else {
        0.0
    };
    (normal_cdf(-epsilon / mu + 0.5 * mu) - second).max(0.0)
}

/// The largest `mu` for which `mu`-GDP implies `(epsilon, delta)`-DP, rounded down.
#[must_use]
pub fn mu(epsilon: f64, budget_delta: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    while delta(epsilon, high) <= budget_delta {
        low = high;
        high *= 2.0;
        if high > 1e6 {
            return low;
        }
    }
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if delta(epsilon, middle) <= budget_delta {
            low = middle
        } else {
            high = middle
        }
    }
    low
}

/// The `mu` of several mechanisms together.
#[must_use]
pub fn compose(mus: &[f64]) -> f64 {
    mus.iter().map(|mu| mu * mu).sum::<f64>().sqrt()
}
