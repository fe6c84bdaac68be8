//! The group's dual function in 64-bit arithmetic, with every rounding accounted for: what a bound of a group rests on.

use rayon::prelude::*;

use super::tree::{Leaf, SplitTree};
use super::{Group, check_length};
use crate::error::Result;

/// A proven lower bound of `min c1.z + c2.relu(z)` over the points of the group's zonotope that lie in its box: the least value of the
/// dual function at the leaves of `tree` (equation `D(nu; l, u)` of the [module](super)).
///
/// The tree is walked from the group's box on, so the leaves cover it whatever the tree says, and any multipliers prove a bound: only how
/// good it is depends on where they come from. The answer does not depend on the number of threads. It is `-inf` where
/// the arithmetic overflows. Costs `leaves x k x m` multiplications.
///
/// The objective is taken at its word: where `c1` or `c2` are themselves rounded, the caller subtracts what that can change.
///
/// # Errors
///
/// [`Error::ShapeMismatch`](crate::Error::ShapeMismatch) if `c1` or `c2` has not a number a coordinate,
/// [`Error::CertificateRejected`](crate::Error::CertificateRejected) if the tree is not one of this group.
pub fn certified_minimum(group: &Group, tree: &SplitTree, c1: &[f64], c2: &[f64]) -> Result<f64> {
    check_length("linear objective", c1, group.len())?;
    check_length("relu objective", c2, group.len())?;
    let leaves = tree.leaves(group)?;
    let values: Vec<f64> = leaves
        .par_iter()
        .map(|leaf| certified_value(group, leaf, c1, c2))
        .collect();
    Ok(values.into_iter().fold(f64::INFINITY, f64::min))
}

/// A lower bound of `D(nu; l, u)` at one leaf; `-inf` if anything overflows or is no number.
///
/// With exact arithmetic, a leaf whose box lies within another's has no smaller value at the same multipliers, and the same holds of
/// what this function returns: every operation is monotone in the bounds of the box.
pub(super) fn certified_value(group: &Group, leaf: &Leaf, c1: &[f64], c2: &[f64]) -> f64 {
    let (k, m) = (group.len(), group.columns());
    // `value` collects the terms of D, `mass` the sum of the absolute values of all products in it.
    let (mut value, mut mass) = (0.0, 0.0);
    let mut product = vec![0.0; m];
    for j in 0..k {
        let nu = leaf.nu[j];
        for (sum, generator) in product.iter_mut().zip(group.row(j)) {
            *sum += nu * generator;
        }
        value += nu * group.center[j];
        value -= nu.abs() * group.rounding[j];
        mass += nu.abs() * (group.center[j].abs() + group.row_sums[j] + group.rounding[j]);

        let (lower, upper) = (leaf.lower[j], leaf.upper[j]);
        let slope = c1[j] - nu;
        let at = |t: f64| slope * t + c2[j] * t.max(0.0);
        let mut least = at(lower).min(at(upper));
        if lower < 0.0 && upper > 0.0 {
            least = least.min(0.0);
        }
        value += least;
        mass += slope.abs() * lower.abs().max(upper.abs()) + c2[j].abs() * upper.max(0.0);
    }
    value -= sum_of_absolutes(&product);

    // A product inside the 1-norm goes through at most k + 1 roundings of its inner sum and m + 9 of the outer one, a product outside it
    // through at most 4 of its own and 3k + 1 of `value`; so the error is at most gamma_n times the exact mass with the n below (Higham,
    // Accuracy and Stability, lemmas 3.1 and 3.3). The computed mass is a sum of non-negative terms of no more roundings, which falls
    // short of the exact one by the factor 1 - gamma_n at most: covered by 1 + 4 gamma. A product that underflows loses at most the
    // smallest positive number.
    let n = (3 * k + m + 16) as f64;
    let gamma = n * UNIT_ROUNDOFF / (1.0 - n * UNIT_ROUNDOFF);
    let underflow = (k as f64 * (m as f64 + 16.0)) * f64::from_bits(1);
    let error = (gamma * mass)
        .mul_add(1.0 + 4.0 * gamma, underflow)
        .next_up();
    let bound = (value - error).next_down();
    if bound.is_finite() {
        bound
    } else {
        f64::NEG_INFINITY
    }
}

/// Half the distance from 1 to the next number: the relative error of one rounded operation.
const UNIT_ROUNDOFF: f64 = f64::EPSILON / 2.0;

/// The 1-norm, in eight partial sums whose order is fixed.
fn sum_of_absolutes(numbers: &[f64]) -> f64 {
    let mut partial = [0.0; 8];
    let mut chunks = numbers.chunks_exact(8);
    for chunk in &mut chunks {
        for (sum, x) in partial.iter_mut().zip(chunk) {
            *sum += x.abs();
        }
    }
    let rest: f64 = chunks.remainder().iter().map(|x| x.abs()).sum();
    partial.iter().sum::<f64>() + rest
}
