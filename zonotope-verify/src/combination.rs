//! Several half-spaces at once: if `w_k >= 0` and some combination `sum_k w_k a_k y > sum_k w_k b_k` holds for all outputs, no output lies in all
//! of the half-spaces `a_k y <= b_k` (Farkas; 2.11 of the design).
//!
//! A proof must be one of the half-spaces as they were stated. Weights are integers, and where a combined coefficient has to be rounded, what that can cost over
//! the whole box is added to the right-hand side: the error times the largest size of the output, by interval arithmetic.

use std::sync::OnceLock;

use crate::interval::interval_bounds;
use crate::network::Network;
use crate::rounding::{add_up, down, mul_up, two_product, two_sum, up};
use crate::spec::{HalfSpace, InputBox};

/// Weights are rounded to multiples of one part in so many.
const PARTS: f64 = 4096.0;

/// Steps of the search for weights.
const STEPS: u32 = 40;

/// Rounds in which weight is moved between two functions, and steps of each move.
const EXCHANGES: u32 = 2;
const CUTS: u32 = 32;

/// How large outputs can be over a box; computed when it is first asked for.
pub(crate) struct Reach<'a> {
    network: &'a Network,
    input: &'a InputBox,
    found: OnceLock<Vec<f64>>,
}

impl<'a> Reach<'a> {
    pub(crate) fn new(network: &'a Network, input: &'a InputBox) -> Self {
        Self {
            network,
            input,
            found: OnceLock::new(),
        }
    }

    /// A bound of the absolute value of an output; infinite if none is known.
    fn of(&self, output: usize) -> f64 {
        let all = self.found.get_or_init(|| {
            let layers = interval_bounds(self.network, self.input).unwrap_or_default();
            layers.last().map_or_else(Vec::new, |bounds| {
                let ends = bounds.lower().iter().zip(bounds.upper());
                ends.map(|(l, u)| l.abs().max(u.abs())).collect()
            })
        });
        all.get(output).copied().unwrap_or(f64::INFINITY)
    }
}

/// The combination of half-spaces with integer weights, one each: every output that the box reaches and that lies in all of them lies in it.
///
/// `None` if there are not as many weights as half-spaces, if all are zero, if the half-spaces differ in size, or if numbers overflow.
pub(crate) fn combined(
    spaces: &[HalfSpace],
    weights: &[u16],
    reach: &Reach<'_>,
) -> Option<HalfSpace> {
    if spaces.len() != weights.len() {
        return None;
    }
    let terms: Vec<(&HalfSpace, f64)> = spaces
        .iter()
        .zip(weights)
        .filter(|(_, weight)| **weight > 0)
        .map(|(space, &weight)| (space, f64::from(weight)))
        .collect();
    let outputs = terms.first()?.0.coefficients.len();
    if terms
        .iter()
        .any(|(space, _)| space.coefficients.len() != outputs)
    {
        return None;
    }
    let mut coefficients = Vec::with_capacity(outputs);
    let mut bound = 0.0;
    for (space, weight) in &terms {
        bound = add_up(bound, scaled_up(space.bound, *weight));
    }
    for output in 0..outputs {
        let (mut value, mut wrong) = (0.0, 0.0);
        for (space, weight) in &terms {
            let (product, lost) = two_product(space.coefficients[output], *weight);
            let (sum, missed) = two_sum(value, product);
            value = sum;
            wrong = add_up(wrong, add_up(lost.abs(), missed.abs()));
        }
        if wrong != 0.0 {
            bound = add_up(bound, mul_up(wrong, reach.of(output)));
        }
        coefficients.push(value);
    }
    (bound.is_finite() && coefficients.iter().all(|x| x.is_finite())).then_some(HalfSpace {
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
/// The least value is concave in the weights; it is maximised over the simplex by multiplicative weights on its supergradient, and then along its edges.
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
    let (mut value, mut shares) = best?;
    let least = |shares: &[f64]| {
        let center: f64 = shares.iter().zip(centers).map(|(s, c)| s * c).sum();
        let turns = (0..sides).map(|side| {
            let rows = shares.iter().zip(slopes.chunks_exact(sides));
            rows.map(|(share, row)| share * row[side])
                .sum::<f64>()
                .abs()
        });
        center - turns.sum::<f64>()
    };
    for _ in 0..EXCHANGES {
        for a in 0..count {
            for b in 0..a {
                // The best way to share what both have.
                let both = shares[a] + shares[b];
                let mut at = |part: f64| {
                    (shares[a], shares[b]) = (part, both - part);
                    least(&shares)
                };
                let (mut low, mut high) = (0.0, both);
                for _ in 0..CUTS {
                    let third = (high - low) / 3.0;
                    if at(low + third) < at(high - third) {
                        low += third;
                    } else {
                        high -= third;
                    }
                }
                value = at(f64::midpoint(low, high));
            }
        }
    }
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
    // A number from 0 to `PARTS`.
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

/// `x weight`, rounded up.
fn scaled_up(x: f64, weight: f64) -> f64 {
    let (product, error) = two_product(x, weight);
    if error == 0.0 { product } else { up(product) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{Affine, Layer};

    fn space(coefficients: &[f64], bound: f64) -> HalfSpace {
        HalfSpace {
            coefficients: coefficients.to_vec(),
            bound,
        }
    }

    /// A network with outputs in [-2, 2], and its box.
    fn small(outputs: usize) -> (Network, InputBox) {
        let map = Affine {
            outputs,
            inputs: 1,
            weight: vec![2.0; outputs],
            bias: vec![0.0; outputs],
        };
        let network = Network::new(vec![1], vec![Layer::Affine(map)]).unwrap();
        (network, InputBox::new(vec![-1.0], vec![1.0]).unwrap())
    }

    #[test]
    fn combinations_hold_with_their_roundings() {
        let (network, input) = small(3);
        let reach = Reach::new(&network, &input);
        let spaces = [space(&[1.0, -1.0, 0.0], 0.5), space(&[0.5, 0.25, 3.0], 0.1)];
        assert_eq!(
            combined(&spaces, &[0, 1], &reach).as_ref(),
            Some(&spaces[1])
        );
        let found = combined(&spaces, &[3, 7], &reach).unwrap();
        assert_eq!(found.coefficients, [6.5, -1.25, 21.0]);
        // 1.5 + 7 * 0.1 with the stored 0.1, rounded up.
        assert!(found.bound >= 2.2 && found.bound <= 2.2 + 1e-15);
        for weights in [&[0, 0][..], &[1], &[1, 1, 1], &[]] {
            assert_eq!(combined(&spaces, weights, &reach), None);
        }
        // Three times an odd number of 53 bits takes 54 of them: half of the last place is lost, times outputs of up to 2.
        let (network, input) = small(1);
        let reach = Reach::new(&network, &input);
        let spaces = [space(&[1.0 + f64::EPSILON], 0.0)];
        let found = combined(&spaces, &[3], &reach).unwrap();
        let lost = (3.0 * f64::EPSILON - (found.coefficients[0] - 3.0)).abs();
        assert!(lost > 0.0 && found.bound >= 2.0 * lost && found.bound <= 2.1 * lost);
        assert_eq!(combined(&[space(&[1e308], 0.0)], &[2], &reach), None);
        assert_eq!(combined(&[space(&[1.0], 1e308)], &[2], &reach), None);
        // Of another network's outputs nothing is known.
        let spaces = [space(&[1.0, 1.0 + f64::EPSILON], 0.0)];
        assert_eq!(combined(&spaces, &[3], &reach), None);
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
