//! What several releases cost together.

use statrs::function::gamma::ln_gamma;

/// Basic composition: the sums.
#[must_use]
pub fn basic(releases: &[(f64, f64)]) -> (f64, f64) {
    releases
        .iter()
        .fold((0.0, 0.0), |(e, d), (epsilon, delta)| {
            (e + epsilon, d + delta)
        })
}

/// Advanced composition of `count` releases that are each `(epsilon, delta)`-DP, with a slack of `slack` in delta (C. Dwork, G. Rothblum, S. Vadhan
/// 2010; with the constant of C. Dwork, A. Roth 2014, theorem 3.20).
#[must_use]
pub fn advanced(epsilon: f64, delta: f64, count: u32, slack: f64) -> (f64, f64) {
    let k = f64::from(count);
    let total = epsilon * (2.0 * k * (1.0 / slack).ln()).sqrt() + k * epsilon * epsilon.exp_m1();
    (total.min(k * epsilon), k * delta + slack)
}

/// The least `delta` at `total_epsilon` of `count` releases that are each `(epsilon, delta)`-DP and chosen freely one after the other: exact for the
/// worst such releases (P. Kairouz, S. Oh, P. Viswanath 2015, theorem 3.3).
#[must_use]
pub fn optimal_delta(epsilon: f64, delta: f64, count: u32, total_epsilon: f64) -> f64 {
    let k = f64::from(count);
    // Without the deltas: sum over l with (k-2l) epsilon > total of C(k,l) (e^{(k-l)eps} - e^{total + l eps}) / (1+e^eps)^k.
    let mut sum = 0.0;
    for l in 0..=count {
        let l = f64::from(l);
        let (first, second) = ((k - l) * epsilon, total_epsilon + l * epsilon);
        if first <= second {
            break;
        }
        let choose = ln_gamma(k + 1.0) - ln_gamma(l + 1.0) - ln_gamma(k - l + 1.0);
        // ln(1 + e^eps) without overflow
        let each = epsilon + (-epsilon).exp().ln_1p();
        sum += (choose + first - k * each).exp() * -(second - first).exp_m1();
    }
    let survive = (k * (-delta).ln_1p()).exp();
    (1.0 - survive * (1.0 - sum.min(1.0))).clamp(0.0, 1.0)
}

/// The least total epsilon at which [`optimal_delta`] is at most `total_delta`; infinite if the deltas alone exceed it.
#[must_use]
pub fn optimal_epsilon(epsilon: f64, delta: f64, count: u32, total_delta: f64) -> f64 {
    let (mut low, mut high) = (0.0, f64::from(count) * epsilon);
    if optimal_delta(epsilon, delta, count, high) > total_delta {
        return f64::INFINITY;
    }
    if optimal_delta(epsilon, delta, count, low) <= total_delta {
        return low;
    }
    for _ in 0..100 {
        let middle = 0.5 * (low + high);
        if optimal_delta(epsilon, delta, count, middle) <= total_delta {
            high = middle
        } else {
            low = middle
        }
    }
    high
}
