//! Double-double numbers: the unevaluated sum of two f64, about 106 bits (T. J. Dekker 1971; Y. Hida, X. Li, D. Bailey 2001).

use std::ops::{Add, AddAssign, Div, Mul, Neg, Sub, SubAssign};

/// The unit roundoff that error estimates take for double-double arithmetic: a few times 2^-106, the constants of its operations included.
pub(crate) const UNIT: f64 = 1.0 / (1u128 << 103) as f64;

/// `hi + lo` with `|lo|` at most half a unit in the last place of `hi`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Double {
    pub(crate) hi: f64,
    pub(crate) lo: f64,
}

/// `a + b` without error.
#[inline(always)]
pub(crate) fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let part = sum - a;
    (sum, (a - (sum - part)) + (b - part))
}

/// `a + b` without error, for `|a| >= |b|`.
#[inline(always)]
fn quick_two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    (sum, b - (sum - a))
}

/// `a b` without error, barring underflow.
#[inline(always)]
pub(crate) fn two_product(a: f64, b: f64) -> (f64, f64) {
    let product = a * b;
    (product, a.mul_add(b, -product))
}

impl Double {
    pub(crate) const ZERO: Self = Self { hi: 0.0, lo: 0.0 };
    pub(crate) const ONE: Self = Self { hi: 1.0, lo: 0.0 };

    /// The sum of two numbers of any sizes.
    #[inline(always)]
    pub(crate) fn sum(a: f64, b: f64) -> Self {
        let (hi, lo) = two_sum(a, b);
        Self { hi, lo }
    }

    #[inline(always)]
    pub(crate) fn to_f64(self) -> f64 {
        self.hi + self.lo
    }

    /// Times a number of 53 bits.
    #[inline(always)]
    pub(crate) fn scale(self, factor: f64) -> Self {
        let (product, error) = two_product(self.hi, factor);
        let (hi, lo) = quick_two_sum(product, self.lo.mul_add(factor, error));
        Self { hi, lo }
    }

    /// The square root; of a number that is not positive, 0.
    pub(crate) fn sqrt(self) -> Self {
        if self.hi <= 0.0 {
            return Self::ZERO;
        }
        // One Newton step on the root of 53 bits.
        let root = self.hi.sqrt();
        let (square, error) = two_product(root, root);
        let rest = self
            - Self {
                hi: square,
                lo: error,
            };
        let (hi, lo) = quick_two_sum(root, rest.to_f64() / (2.0 * root));
        Self { hi, lo }
    }
}

impl From<f64> for Double {
    fn from(value: f64) -> Self {
        Self { hi: value, lo: 0.0 }
    }
}

impl Neg for Double {
    type Output = Self;

    #[inline(always)]
    fn neg(self) -> Self {
        Self {
            hi: -self.hi,
            lo: -self.lo,
        }
    }
}

impl Add for Double {
    type Output = Self;

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        let (s, e) = two_sum(self.hi, other.hi);
        let (t, f) = two_sum(self.lo, other.lo);
        let (s, e) = quick_two_sum(s, e + t);
        let (hi, lo) = quick_two_sum(s, e + f);
        Self { hi, lo }
    }
}

impl Sub for Double {
    type Output = Self;

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        self + -other
    }
}

impl Mul for Double {
    type Output = Self;

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        let (product, error) = two_product(self.hi, other.hi);
        let error = self.hi.mul_add(other.lo, self.lo.mul_add(other.hi, error));
        let (hi, lo) = quick_two_sum(product, error);
        Self { hi, lo }
    }
}

impl Div for Double {
    type Output = Self;

    fn div(self, other: Self) -> Self {
        let first = self.hi / other.hi;
        let rest = self - other.scale(first);
        let second = rest.hi / other.hi;
        let rest = rest - other.scale(second);
        let third = rest.hi / other.hi;
        let (hi, lo) = quick_two_sum(first, second);
        Self { hi, lo } + Self::from(third)
    }
}

impl AddAssign for Double {
    #[inline(always)]
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl SubAssign for Double {
    #[inline(always)]
    fn sub_assign(&mut self, other: Self) {
        *self = *self - other;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_third_times_three_is_one_to_a_hundred_bits() {
        let third = Double::ONE / Double::from(3.0);
        let error = (third.scale(3.0) - Double::ONE).to_f64().abs();
        assert!(error < 4.0 * UNIT, "{error:e}");
        let root = Double::from(2.0).sqrt();
        let error = (root * root - Double::from(2.0)).to_f64().abs();
        assert!(error < 8.0 * UNIT, "{error:e}");
    }

    #[test]
    fn cancellation_leaves_what_53_bits_lose() {
        let big = Double::from(1e16) + Double::from(1.5);
        assert_eq!((big - Double::from(1e16)).to_f64(), 1.5);
    }
}
