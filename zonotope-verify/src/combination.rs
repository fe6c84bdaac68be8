//! Several half-spaces at once: if `w_k >= 0` and some combination `sum_k w_k a_k y > sum_k w_k b_k` holds for all outputs, no output lies in all
//! of the half-spaces `a_k y <= b_k` (Farkas; 2.11 of the design).
//!
//! A proof must be one of the half-spaces as they were stated, so the combined coefficients have to be exact: weights are small integers, and
//! combinations that would be rounded are refused.

use crate::rounding::{add_up, down, two_product, two_sum, up};
use crate::spec::HalfSpace;

/// Weights are rounded to multiples of one part in so many.
const PARTS: f64 = 64.0;

/// Steps of the search for weights.
const STEPS: u32 = 40;

/// The combination of half-spaces with integer weights, one each.
///
/// The coefficients are exact, the right-hand side is rounded up. `None` if there are not as many weights as half-spaces, if all are zero, or if
/// a coefficient cannot be computed without rounding.
pub(crate) fn combined(spaces: &[HalfSpace], weights: &[u16]) -> Option<HalfSpace> {
    if spaces.len() != weights.len() || weights.iter().all(|&weight| weight == 0) {
        return None;
    }
    let mut terms = spaces
        .iter()
        .zip(weights)
        .filter(|(_, weight)| **weight > 0)
        .map(|(space, &weight)| (space, f64::from(weight)));
    let (first, weight) = terms.next()?;
    let mut coefficients = Vec::with_capacity(first.coefficients.len());
    for &a in &first.coefficients {
        coefficients.push(exact(two_product(a, weight))?);
    }
    let mut bound = scaled_up(first.bound, weight);
    for (space, weight) in terms {
        if space.coefficients.len() != coefficients.len() {
            return None;
        }
        for (sum, &a) in coefficients.iter_mut().zip(&space.coefficients) {
            *sum = exact(two_sum(*sum, exact(two_product(a, weight))?))?;
        }
        bound = add_up(bound, scaled_up(space.bound, weight));
    }
    bound.is_finite().then_some(HalfSpace {
        coefficients,
        bound,
    })
}

/// The weights that take one half-space alone.
pub(crate) fn single(count: usize, index: usize) -> Vec<u16> {
    (0..count).map(|k| u16::from(k == index)).collect()
}

/// A proven distance of a combination in units of a single half-space: divided by the sum of the weights, rounded down.
pub(crate) fn per_weight(distance: f64, weights: &[u16]) -> f64 {
    let total: f64 = weights.iter().map(|&weight| f64::from(weight)).sum();
    if total == 1.0 {
        distance
    } else {
        down(distance / total)
    }
}

/// Weights for which the least value over a box of the combination of linear functions is large, if that beats the best of the
/// functions alone.
///
/// Function `k` has the value `centers[k]` in the middle of the box, and changes by `slopes[k * sides + j]` from there to the upper end of side `j`.
/// The least value is concave in the weights; it is maximised over the simplex by multiplicative weights on its supergradient.
pub(crate) fn weigh(centers: &[f64], slopes: &[f64], sides: usize) -> Option<Vec<u16>> {
    let count = centers.len();
    let mut shares = vec![1.0 / count as f64; count];
    let mut best: Option<(f64, Vec<f64>)> = None;
    let mut gradient = vec![0.0; count];
    for step in 1..=STEPS {
        let mut value: f64 = shares.iter().zip(centers).map(|(s, c)| s * c).sum();
        gradient.copy_from_slice(centers);
        for side in 0..sides {
            let slope = |k: usize| slopes[k * sides + side];
            let total: f64 = shares.iter().enumerate().map(|(k, s)| s * slope(k)).sum();
            value -= total.abs();
            for (k, gradient) in gradient.iter_mut().enumerate() {
                *gradient -= total.signum() * slope(k);
            }
        }
        if value.is_finite() && best.as_ref().is_none_or(|(old, _)| value > *old) {
            best = Some((value, shares.clone()));
        }
        let mean: f64 = shares.iter().zip(&gradient).map(|(s, g)| s * g).sum();
        let widest = gradient
            .iter()
            .fold(0.0_f64, |widest, g| widest.max((g - mean).abs()));
        if !(widest > 0.0 && widest.is_finite()) {
            break;
        }
        let rate = 2.0 / f64::from(step).sqrt() / widest;
        for (share, g) in shares.iter_mut().zip(&gradient) {
            *share *= (rate * (g - mean)).exp();
        }
        let total: f64 = shares.iter().sum();
        for share in &mut shares {
            *share /= total;
        }
    }
    let (value, shares) = best?;
    let alone = (0..count)
        .map(|k| {
            let slopes = &slopes[k * sides..(k + 1) * sides];
            centers[k] - slopes.iter().map(|s| s.abs()).sum::<f64>()
        })
        .fold(f64::NEG_INFINITY, f64::max);
    (value > alone).then(|| rounded(&shares)).flatten()
}

/// Shares as integers without a common divisor; `None` if only one of them is left.
pub(crate) fn rounded(shares: &[f64]) -> Option<Vec<u16>> {
    let largest = shares.iter().copied().fold(0.0, f64::max);
    // A number from 0 to 64.
    let mut weights: Vec<u16> = shares
        .iter()
        .map(|share| (share / largest * PARTS).round() as u16)
        .collect();
    if weights.iter().filter(|&&weight| weight > 0).count() < 2 {
        return None;
    }
    let divisor = weights.iter().fold(0, |a, &b| common_divisor(a, b));
    for weight in &mut weights {
        *weight /= divisor;
    }
    Some(weights)
}

fn common_divisor(a: u16, b: u16) -> u16 {
    if b == 0 { a } else { common_divisor(b, a % b) }
}

/// A result that was not rounded.
fn exact((value, error): (f64, f64)) -> Option<f64> {
    (value.is_finite() && error == 0.0).then_some(value)
}

/// `x weight`, rounded up.
fn scaled_up(x: f64, weight: f64) -> f64 {
    let (product, error) = two_product(x, weight);
    if error == 0.0 { product } else { up(product) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space(coefficients: &[f64], bound: f64) -> HalfSpace {
        HalfSpace {
            coefficients: coefficients.to_vec(),
            bound,
        }
    }

    #[test]
    fn combinations_are_exact_or_refused() {
        let spaces = [space(&[1.0, -1.0, 0.0], 0.5), space(&[0.1, 0.25, 3.0], 0.1)];
        assert_eq!(
            combined(&spaces, &[3, 2]),
            None,
            "3 + 2 * 0.1 is no number of 53 bits"
        );
        assert_eq!(combined(&spaces, &[0, 1]).as_ref(), Some(&spaces[1]));
        let spaces = [spaces[0].clone(), space(&[0.5, 0.25, 3.0], 0.1)];
        let found = combined(&spaces, &[3, 7]).unwrap();
        assert_eq!(found.coefficients, [6.5, -1.25, 21.0]);
        // 1.5 + 7 * 0.1 with the stored 0.1, rounded up.
        assert!(found.bound >= 2.2 && found.bound <= 2.2 + 1e-15);
        for weights in [&[0, 0][..], &[1], &[1, 1, 1], &[]] {
            assert_eq!(combined(&spaces, weights), None);
        }
        assert_eq!(combined(&[space(&[1e308], 0.0)], &[2]), None);
        assert_eq!(combined(&[space(&[1.0], 1e308)], &[2]), None);
        // Three times an odd number of 53 bits takes 54 of them.
        assert_eq!(combined(&[space(&[1.0 + f64::EPSILON], 0.0)], &[3]), None);
    }

    #[test]
    fn weights_solve_a_small_game() {
        // x and -x + 1 on [-1, 1]: alone they fall to -1 and 0, half of both is 1/2 everywhere.
        let weights = weigh(&[0.0, 1.0], &[1.0, -1.0], 1).unwrap();
        let [a, b] = [f64::from(weights[0]), f64::from(weights[1])];
        let value = (b - (a - b).abs()) / (a + b);
        assert!(value > 0.45, "{weights:?}");
        // Where one function is above the other everywhere, it is the best alone.
        assert_eq!(weigh(&[0.0, 10.0], &[1.0, 1.0], 1), None);
        assert_eq!(weigh(&[f64::NAN, 1.0], &[1.0, 1.0], 1), None);
        assert_eq!(rounded(&[0.5, 0.25, 0.0]), Some(vec![2, 1, 0]));
        assert_eq!(rounded(&[1.0, 1e-9]), None);
    }

    #[test]
    fn distances_are_those_of_a_single_half_space() {
        assert_eq!(per_weight(0.3, &[0, 1]), 0.3);
        assert!(per_weight(0.3, &[2, 1]) <= 0.1);
        assert!(per_weight(-0.3, &[2, 1]) <= -0.1);
    }
}
