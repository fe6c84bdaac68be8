//! Arithmetic that knows its own error: error-free transformations, directed rounding and sums with a proven error bound.
//!
//! Everything here rounds to nearest and corrects afterwards; the processor's rounding mode is never touched. The model is that of
//! Higham, "Accuracy and Stability of Numerical Algorithms", chapter 3: `fl(x op y) = (x op y)(1 + d)` with `|d| <= u = 2^-53`, plus an
//! absolute error where a product underflows. The error-free sums and products are Knuth's and Dekker's, the compensated dot product
//! is that of Ogita, Rump and Oishi, "Accurate Sum and Dot Product" (2005).

use crate::network::Enclosure;

/// `u = 2^-53`: half the distance from 1 to the next number.
pub(crate) const UNIT: f64 = f64::EPSILON / 2.0;

/// `1 + 4u`: a factor that makes up for three roundings of non-negative numbers.
pub(crate) const WIDEN: f64 = 1.0 + 2.0 * f64::EPSILON;

/// What one operation can lose by underflow, at most. It is really `2^-1075`; the smallest normal number keeps the slack itself clear
/// of underflow and is still far below any weight, even one of a network that was scaled by `1e-12` a layer.
pub(crate) const UNDERFLOW: f64 = f64::MIN_POSITIVE;

/// Below this size of a product its rounding error may be no floating-point number.
const EXACT_PRODUCT: f64 = 1e-288;

/// An upper bound of `gamma_n = n u / (1 - n u)`, the relative error of a sum of `n` rounded products in any order; infinite where
/// `n u` is no longer small.
pub(crate) fn gamma(n: usize) -> f64 {
    if n == 0 {
        return 0.0;
    }
    let share = n as f64 * UNIT;
    if share >= 0.5 {
        f64::INFINITY
    } else {
        up(up(share) / down(1.0 - share))
    }
}

/// The next larger number.
pub(crate) fn up(x: f64) -> f64 {
    x.next_up()
}

/// The next smaller number.
pub(crate) fn down(x: f64) -> f64 {
    x.next_down()
}

/// `(s, e)` with `s = fl(a + b)` and `s + e = a + b` exactly, unless `s` overflows.
pub(crate) fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let from_b = sum - a;
    let from_a = sum - from_b;
    (sum, (a - from_a) + (b - from_b))
}

/// `(p, e)` with `p = fl(a b)` and `p + e = a b` exactly, unless `p` overflows or is so small that `e` underflows.
pub(crate) fn two_product(a: f64, b: f64) -> (f64, f64) {
    let product = a * b;
    (product, a.mul_add(b, -product))
}

/// The smallest number that is not below `a + b`; infinite where the sum has no meaning.
pub(crate) fn add_up(a: f64, b: f64) -> f64 {
    let (sum, error) = two_sum(a, b);
    if sum.is_nan() {
        f64::INFINITY
    } else if sum == f64::NEG_INFINITY {
        // Two finite numbers overflowed: their sum lies above minus infinity.
        if a.is_finite() && b.is_finite() {
            f64::MIN
        } else {
            sum
        }
    } else if error > 0.0 || error.is_nan() {
        up(sum)
    } else {
        sum
    }
}

/// The largest number that is not above `a + b`; minus infinity where the sum has no meaning.
pub(crate) fn add_down(a: f64, b: f64) -> f64 {
    -add_up(-a, -b)
}

/// A number that is not below `a b`, for `a, b >= 0`. Zero times anything is zero: the factors stand for real numbers, of which an
/// infinite one is only a bound.
pub(crate) fn mul_up(a: f64, b: f64) -> f64 {
    if a == 0.0 || b == 0.0 {
        return 0.0;
    }
    let product = a * b;
    if product.is_nan() {
        f64::INFINITY
    } else if a == 1.0 || b == 1.0 {
        // Reorderings and shifts cost nothing.
        product
    } else {
        up(product)
    }
}

/// A number that is not below the sum of non-negative terms; infinite if one of them is NaN.
pub(crate) fn sum_up(terms: impl IntoIterator<Item = f64>) -> f64 {
    let (mut sum, mut count) = (0.0, 0_usize);
    for term in terms {
        sum += term;
        count += 1;
    }
    if sum.is_nan() {
        f64::INFINITY
    } else {
        // The first addition, to 0, is exact.
        let inflated = if count > 1 {
            up(1.0 + gamma(count - 1))
        } else {
            1.0
        };
        mul_up(sum, inflated)
    }
}

/// A sum of numbers and products that carries its rounding errors along: nearly as exact as in twice the precision, with a proven
/// bound on what is still wrong, and a bound of 0 where nothing was rounded.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Accumulator {
    sum: f64,
    /// Sum of the rounding errors.
    correction: f64,
    /// Sum of their absolute values.
    magnitude: f64,
    /// What the terms themselves may be wrong by.
    error: f64,
    terms: usize,
}

impl Accumulator {
    /// Adds `x`.
    pub(crate) fn add(&mut self, x: f64) {
        let (sum, error) = two_sum(self.sum, x);
        self.sum = sum;
        self.lost(error);
    }

    /// Adds `a b`.
    pub(crate) fn add_product(&mut self, a: f64, b: f64) {
        if a == 0.0 || b == 0.0 {
            // Also where the other factor is infinite: the accumulator is told by `add_error` what that number may be.
            return;
        }
        let (product, error) = two_product(a, b);
        if product.abs() < EXACT_PRODUCT {
            self.add_error(UNDERFLOW);
        }
        self.add(product);
        self.lost(error);
    }

    /// Adds a number of which only an interval is known.
    pub(crate) fn add_enclosure(&mut self, x: Enclosure) {
        self.add(x.value);
        self.add_error(x.radius);
    }

    /// Takes into account that the terms so far may be wrong by `error >= 0` in total.
    pub(crate) fn add_error(&mut self, error: f64) {
        self.error = add_up(self.error, error);
    }

    /// The sum: always a finite value, with an infinite radius if anything overflowed or was no number.
    pub(crate) fn enclosure(&self) -> Enclosure {
        let (value, error) = two_sum(self.sum, self.correction);
        // `correction` and `magnitude` are sums of as many terms: gamma_n (1 + gamma_n) <= gamma_2n.
        let corrected = mul_up(gamma(2 * self.terms), self.magnitude);
        let radius = add_up(add_up(error.abs(), corrected), self.error);
        if value.is_finite() && !radius.is_nan() {
            Enclosure { value, radius }
        } else {
            Enclosure {
                value: 0.0,
                radius: f64::INFINITY,
            }
        }
    }

    /// A number that the exact sum is not below; minus infinity if anything overflowed or was no number.
    pub(crate) fn lower(&self) -> f64 {
        lower(self.enclosure())
    }

    /// A number that the exact sum is not above; infinite if anything overflowed or was no number.
    #[cfg(test)]
    pub(crate) fn upper(&self) -> f64 {
        upper(self.enclosure())
    }

    fn lost(&mut self, error: f64) {
        self.correction += error;
        self.magnitude += error.abs();
        self.terms += 1;
    }
}

/// The lower end of an interval.
pub(crate) fn lower(x: Enclosure) -> f64 {
    add_down(x.value, -x.radius)
}

/// The upper end of an interval.
pub(crate) fn upper(x: Enclosure) -> f64 {
    add_up(x.value, x.radius)
}

/// An interval of the form `value +- radius` that holds `[lower, upper]`; exact for a single number, and of infinite radius where a
/// bound is infinite.
pub(crate) fn enclose(lower: f64, upper: f64) -> Enclosure {
    if lower == upper && lower.is_finite() {
        return Enclosure::exact(lower);
    }
    let value = 0.5 * lower + 0.5 * upper;
    if value.is_finite() {
        let radius = add_up(upper, -value).max(add_up(value, -lower));
        Enclosure { value, radius }
    } else {
        Enclosure {
            value: 0.0,
            radius: f64::INFINITY,
        }
    }
}

/// The dot product of two exact vectors.
#[cfg(test)]
pub(crate) fn dot(a: &[f64], b: &[f64]) -> Enclosure {
    let mut sum = Accumulator::default();
    for (&a, &b) in a.iter().zip(b) {
        sum.add_product(a, b);
    }
    sum.enclosure()
}

#[cfg(test)]
pub(crate) mod exact {
    //! Exact arithmetic for tests: floating-point numbers as integer multiples of a power of two.

    use crate::network::Enclosure;

    /// `x / 2^exponent`, which must be an integer of at most 127 bits.
    pub(crate) fn integer(x: f64, exponent: i32) -> i128 {
        if x == 0.0 {
            return 0;
        }
        let bits = x.to_bits();
        let biased = ((bits >> 52) & 0x7ff) as i32;
        let fraction = i128::from(bits & ((1 << 52) - 1));
        let (mantissa, power) = if biased == 0 {
            (fraction, -1074)
        } else {
            (fraction + (1 << 52), biased - 1075)
        };
        let shift = power - exponent;
        let size = if shift >= 0 {
            assert!(shift <= 74, "{x} / 2^{exponent} is too large");
            mantissa << shift
        } else {
            let lost = (-shift).min(126);
            assert_eq!(
                mantissa & ((1_i128 << lost) - 1),
                0,
                "{x} is no multiple of 2^{exponent}"
            );
            mantissa >> lost
        };
        if x < 0.0 { -size } else { size }
    }

    /// Whether `|exact 2^exponent - value| <= radius`.
    pub(crate) fn holds(exact: i128, exponent: i32, x: Enclosure) -> bool {
        let distance = (exact - integer(x.value, exponent)).unsigned_abs();
        // Scaling by a power of two is exact here, and an integer is at most a number where it is at most its floor.
        let limit = (x.radius * 2.0_f64.powi(-exponent)).floor();
        limit.is_infinite() || distance <= limit as u128
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::exact::{holds, integer};
    use super::*;

    /// A number with a mantissa of at most `bits` bits, between 2^-10 and 2^(bits + 10), of either sign.
    fn short(rng: &mut ChaCha8Rng, bits: u32) -> f64 {
        let mantissa = rng.random_range(0..1_u64 << bits) as f64;
        let size = mantissa * 2.0_f64.powi(rng.random_range(-10..=10));
        if rng.random() { size } else { -size }
    }

    #[test]
    fn gamma_is_an_upper_bound() {
        assert_eq!(gamma(0), 0.0);
        for n in [1_usize, 2, 3, 7, 100, 784, 1 << 20, (1 << 26) + 1] {
            // n u < gamma, and gamma (1 - n u) >= n u with the exact product.
            let share = n as f64 * UNIT;
            let (product, error) = two_product(gamma(n), 1.0 - share);
            assert!(product > share || (product == share && error >= 0.0));
            assert!(gamma(n) <= share * (1.0 + 2.0 * share) * WIDEN);
        }
        assert_eq!(gamma(1 << 52), f64::INFINITY);
    }

    #[test]
    fn directed_sums_are_the_tightest() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for _ in 0..10_000 {
            let (a, b) = (short(&mut rng, 50), short(&mut rng, 50));
            let exact = integer(a, -10) + integer(b, -10);
            let (low, high) = (add_down(a, b), add_up(a, b));
            assert!(integer(low, -10) <= exact && exact <= integer(high, -10));
            assert!(high == low || high == up(low));
        }
        assert_eq!(add_up(1.0, 2.0), 3.0);
        assert_eq!(add_down(f64::MAX, f64::MAX), f64::MAX);
        assert_eq!(add_up(f64::MIN, f64::MIN), f64::MIN);
        assert_eq!(add_up(f64::MAX, f64::MAX), f64::INFINITY);
        assert_eq!(
            add_down(f64::INFINITY, f64::NEG_INFINITY),
            f64::NEG_INFINITY
        );
        assert_eq!(add_up(f64::INFINITY, f64::NEG_INFINITY), f64::INFINITY);
    }

    #[test]
    fn accumulated_products_hold_the_exact_sum() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        for round in 0..2_000 {
            let terms = 1 + round % 50;
            let mut sum = Accumulator::default();
            let (mut exact, mut size) = (0_i128, 0.0);
            for _ in 0..terms {
                let (a, b) = (short(&mut rng, 35), short(&mut rng, 35));
                sum.add_product(a, b);
                exact += integer(a, -10) * integer(b, -10);
                size += (a * b).abs();
            }
            let x = sum.enclosure();
            assert!(holds(exact, -20, x));
            // As good as twice the precision: one rounding of the result and next to nothing else.
            assert!(x.radius <= UNIT * x.value.abs() + 1e-28 * size, "{x:?}");
            assert!(integer(sum.lower(), -20) <= exact && exact <= integer(sum.upper(), -20));
        }
    }

    #[test]
    fn an_exact_sum_has_no_error() {
        let x = dot(&[1.0, 0.5, -3.0, 0.0], &[2.0, 0.25, 7.0, f64::INFINITY]);
        assert_eq!(x, Enclosure::exact(2.0 + 0.125 - 21.0));
        let mut sum = Accumulator::default();
        sum.add(1.0);
        sum.add_enclosure(Enclosure {
            value: 2.0,
            radius: 0.5,
        });
        assert_eq!(sum.lower(), 2.5);
    }

    #[test]
    fn overflow_and_underflow_widen() {
        let mut sum = Accumulator::default();
        sum.add_product(1e300, 1e300);
        sum.add_product(1e300, -1e300);
        assert_eq!(
            sum.enclosure(),
            Enclosure {
                value: 0.0,
                radius: f64::INFINITY
            }
        );
        assert_eq!(
            (sum.lower(), sum.upper()),
            (f64::NEG_INFINITY, f64::INFINITY)
        );
        let tiny = dot(&[1e-200], &[1e-200]);
        assert!(tiny.value == 0.0 && tiny.radius > 0.0 && tiny.radius < 1e-300);
        let nan = dot(&[f64::NAN], &[1.0]);
        assert_eq!(lower(nan), f64::NEG_INFINITY);
    }

    #[test]
    fn sums_and_products_of_sizes_are_rounded_up() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        for _ in 0..2_000 {
            let terms: Vec<f64> = (0..40).map(|_| short(&mut rng, 50).abs()).collect();
            let exact: i128 = terms.iter().map(|&x| integer(x, -10)).sum();
            assert!(exact <= integer(sum_up(terms.iter().copied()), -10));
            let (a, b) = (short(&mut rng, 50).abs(), short(&mut rng, 50).abs());
            let (product, error) = two_product(a, b);
            assert!(mul_up(a, b) > product || error <= 0.0);
            assert_eq!(mul_up(a, 1.0), a);
        }
        assert_eq!(mul_up(0.0, f64::INFINITY), 0.0);
        assert_eq!(sum_up([f64::NAN, 1.0]), f64::INFINITY);
        assert_eq!(sum_up([]), 0.0);
    }

    #[test]
    fn an_enclosed_interval_is_covered() {
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        for _ in 0..10_000 {
            let mut end = || rng.random_range(-1.0..1.0) * 2.0_f64.powi(rng.random_range(-30..=30));
            let (a, b) = (end(), end());
            let (low, high) = (f64::min(a, b), f64::max(a, b));
            let x = enclose(low, high);
            assert!(lower(x) <= low && high <= upper(x));
            // Against the exact ends: the tightest numbers outside the interval are the ends themselves.
            assert!(
                two_sum(x.radius, x.value - high).0 >= 0.0
                    && x.radius <= 0.5 * (high - low) * (1.0 + 1e-15) + 1e-16 * high.abs()
            );
        }
        assert_eq!(enclose(0.1, 0.1), Enclosure::exact(0.1));
        assert_eq!(enclose(f64::NEG_INFINITY, 1.0).radius, f64::INFINITY);
        assert_eq!(enclose(f64::NEG_INFINITY, f64::INFINITY).value, 0.0);
    }
}
