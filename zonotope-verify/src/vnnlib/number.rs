//! Decimal numbers without loss: the tightest interval of 64-bit numbers around each, and arithmetic that rounds outward.

use std::cmp::Ordering;
use std::ops::Neg;

/// A real number, enclosed by two finite 64-bit numbers, which are equal where it is one itself.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Number {
    pub(super) lower: f64,
    pub(super) upper: f64,
    /// The number itself as `mantissa * 10^exponent`, where that is short enough.
    decimal: Option<(i64, i32)>,
}

/// Why a word is no number that can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// It does not look like one.
    NoNumber,
    /// It is beyond the range of 64-bit numbers.
    OutOfRange,
}

/// Below this size the error of a product or quotient may itself be rounded away.
const SMALL: f64 = 1e-270;

impl Number {
    pub(super) const ZERO: Self = Self {
        lower: 0.0,
        upper: 0.0,
        decimal: Some((0, 0)),
    };
    pub(super) const ONE: Self = Self {
        lower: 1.0,
        upper: 1.0,
        decimal: Some((1, 0)),
    };

    /// Reads `[+-]digits[.digits][e[+-]digits]`; digits may be missing on one side of the point.
    pub(super) fn parse(word: &str) -> Result<Self, Refused> {
        let (negative, unsigned) = match word.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, word.strip_prefix('+').unwrap_or(word)),
        };
        let literal = Decimal::parse(unsigned).ok_or(Refused::NoNumber)?;
        let nearest: f64 = unsigned.parse().map_err(|_| Refused::NoNumber)?;
        if !nearest.is_finite() {
            return Err(Refused::OutOfRange);
        }
        let (lower, upper) = match Decimal::of(nearest).compare(&literal) {
            Ordering::Equal => (nearest, nearest),
            Ordering::Less => (nearest, nearest.next_up()),
            Ordering::Greater => (nearest.next_down(), nearest),
        };
        if !upper.is_finite() {
            return Err(Refused::OutOfRange);
        }
        let number = Self {
            lower,
            upper,
            decimal: literal.short(),
        };
        Ok(if negative { -number } else { number })
    }

    /// The 64-bit number that it is, if it is one.
    pub(super) fn exact(self) -> Option<f64> {
        // Adding 0 makes a positive zero of a negative one.
        (self.lower == self.upper).then_some(self.lower + 0.0)
    }

    pub(super) fn is_finite(self) -> bool {
        self.lower.is_finite() && self.upper.is_finite()
    }

    pub(super) fn add(self, other: Self) -> Self {
        Self {
            lower: rounded(
                self.lower + other.lower,
                sum_error(self.lower, other.lower),
                Ordering::Less,
            ),
            upper: rounded(
                self.upper + other.upper,
                sum_error(self.upper, other.upper),
                Ordering::Greater,
            ),
            decimal: self
                .decimal
                .zip(other.decimal)
                .and_then(|(a, b)| decimal_sum(a, b)),
        }
    }

    pub(super) fn multiply(self, other: Self) -> Self {
        let pairs = [
            (self.lower, other.lower),
            (self.lower, other.upper),
            (self.upper, other.lower),
            (self.upper, other.upper),
        ];
        let lowers = pairs.map(|(a, b)| product(a, b, Ordering::Less));
        let uppers = pairs.map(|(a, b)| product(a, b, Ordering::Greater));
        let decimal = self
            .decimal
            .zip(other.decimal)
            .and_then(|((m, e), (n, f))| Some((m.checked_mul(n)?, e.checked_add(f)?)));
        Self {
            lower: lowers.into_iter().fold(f64::INFINITY, f64::min),
            upper: uppers.into_iter().fold(f64::NEG_INFINITY, f64::max),
            decimal,
        }
    }

    /// The quotient by a number whose enclosure does not contain 0.
    pub(super) fn divide(self, divisor: Self) -> Self {
        let pairs = [
            (self.lower, divisor.lower),
            (self.lower, divisor.upper),
            (self.upper, divisor.lower),
            (self.upper, divisor.upper),
        ];
        let lowers = pairs.map(|(a, b)| quotient(a, b, Ordering::Less));
        let uppers = pairs.map(|(a, b)| quotient(a, b, Ordering::Greater));
        Self {
            lower: lowers.into_iter().fold(f64::INFINITY, f64::min),
            upper: uppers.into_iter().fold(f64::NEG_INFINITY, f64::max),
            decimal: None,
        }
    }

    /// The smallest power of ten, 0 or negative, that a short decimal form of the number ends with.
    pub(super) fn last_place(self) -> Option<i32> {
        self.decimal.map(|(_, exponent)| exponent.min(0))
    }

    /// The number times `10^places` where that is an integer that 64-bit numbers represent.
    pub(super) fn scaled_integer(self, places: i32) -> Option<f64> {
        let (mantissa, exponent) = self.decimal?;
        let power = u32::try_from(exponent.checked_add(places)?).ok()?;
        let integer = mantissa.checked_mul(10i64.checked_pow(power)?)?;
        #[expect(clippy::cast_precision_loss, reason = "checked in the next line")]
        let float = integer as f64;
        (integer.unsigned_abs() <= 1 << f64::MANTISSA_DIGITS).then_some(float)
    }
}

impl Neg for Number {
    type Output = Self;

    fn neg(self) -> Self {
        let decimal = self
            .decimal
            .and_then(|(mantissa, exponent)| Some((mantissa.checked_neg()?, exponent)));
        Self {
            lower: -self.upper,
            upper: -self.lower,
            decimal,
        }
    }
}

/// The number, in full.
pub(super) fn exact_text(number: f64) -> String {
    format!("{:.*}", fraction_digits(number), number + 0.0)
}

/// Digits behind the point that a number needs: as many as its binary fraction has.
fn fraction_digits(number: f64) -> usize {
    let bits = number.to_bits();
    let mantissa = bits & ((1 << 52) - 1);
    let (mantissa, exponent) = match (bits >> 52) & 0x7ff {
        0 => (mantissa, -1074),
        biased => (
            mantissa | 1 << 52,
            i64::try_from(biased).unwrap_or(0) - 1075,
        ),
    };
    if mantissa == 0 {
        return 0;
    }
    usize::try_from(-(exponent + i64::from(mantissa.trailing_zeros()))).unwrap_or(0)
}

/// A decimal number that is not negative: `0.digits * 10^point`, without zeros at either end of the digits.
struct Decimal {
    digits: Vec<u8>,
    point: i64,
}

impl Decimal {
    fn parse(unsigned: &str) -> Option<Self> {
        let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent),
            None => (unsigned, "0"),
        };
        let exponent_digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits_only = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let complete = digits_only(whole) && digits_only(fraction) && digits_only(exponent_digits);
        if !complete || exponent_digits.is_empty() || whole.len() + fraction.len() == 0 {
            return None;
        }
        // An exponent that does not fit says the same as the largest that does.
        let extreme = if exponent.starts_with('-') {
            i64::MIN / 4
        } else {
            i64::MAX / 4
        };
        let exponent = exponent
            .parse()
            .unwrap_or(extreme)
            .clamp(i64::MIN / 4, i64::MAX / 4);
        let mut digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
        let leading = digits.iter().take_while(|&&digit| digit == b'0').count();
        digits.drain(..leading);
        while digits.last() == Some(&b'0') {
            digits.pop();
        }
        let place = |count: usize| i64::try_from(count).unwrap_or(i64::MAX / 4);
        Some(Self {
            digits,
            point: exponent + place(whole.len()) - place(leading),
        })
    }

    /// A 64-bit number in full.
    fn of(number: f64) -> Self {
        Self::parse(&exact_text(number)).unwrap_or(Self {
            digits: Vec::new(),
            point: 0,
        })
    }

    fn compare(&self, other: &Self) -> Ordering {
        match (self.digits.is_empty(), other.digits.is_empty()) {
            (false, false) => self
                .point
                .cmp(&other.point)
                .then_with(|| self.digits.cmp(&other.digits)),
            (own, others) => others.cmp(&own),
        }
    }

    /// As an integer times a power of ten, if both are short.
    fn short(&self) -> Option<(i64, i32)> {
        if self.digits.len() > 18 {
            return None;
        }
        let mantissa = self
            .digits
            .iter()
            .fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'));
        let exponent = if mantissa == 0 {
            0
        } else {
            self.point - self.digits.len() as i64
        };
        Some((mantissa, i32::try_from(exponent).ok()?))
    }
}

fn decimal_sum((m, e): (i64, i32), (n, f): (i64, i32)) -> Option<(i64, i32)> {
    let least = e.min(f);
    let aligned = |mantissa: i64, exponent: i32| {
        if mantissa == 0 {
            return Some(0);
        }
        mantissa.checked_mul(10i64.checked_pow(u32::try_from(exponent.checked_sub(least)?).ok()?)?)
    };
    Some((aligned(m, e)?.checked_add(aligned(n, f)?)?, least))
}

/// A result that was rounded to nearest, moved one step in a direction if the error, exact minus rounded, points there.
fn rounded(nearest: f64, error: f64, direction: Ordering) -> f64 {
    match direction {
        Ordering::Less if error < 0.0 => nearest.next_down(),
        Ordering::Greater if error > 0.0 => nearest.next_up(),
        _ => nearest,
    }
}

/// What a sum to nearest lost (Knuth's two-sum).
fn sum_error(a: f64, b: f64) -> f64 {
    let sum = a + b;
    let part = sum - a;
    (a - (sum - part)) + (b - part)
}

fn product(a: f64, b: f64, direction: Ordering) -> f64 {
    let nearest = a * b;
    let error = match nearest.abs() {
        _ if [a, b].iter().any(|x| matches!(x.abs(), 0.0 | 1.0)) => 0.0,
        // Too small for an exact error: a step in any case.
        size if size < SMALL => return step(nearest, direction),
        _ => a.mul_add(b, -nearest),
    };
    rounded(nearest, error, direction)
}

fn quotient(a: f64, b: f64, direction: Ordering) -> f64 {
    let nearest = a / b;
    if a == 0.0 || b.abs() == 1.0 {
        return nearest;
    }
    if nearest.abs() < SMALL || a.abs() < SMALL {
        return step(nearest, direction);
    }
    // a / b - q = (a - q b) / b
    let residual = -nearest.mul_add(b, -a);
    rounded(
        nearest,
        if b < 0.0 { -residual } else { residual },
        direction,
    )
}

fn step(number: f64, direction: Ordering) -> f64 {
    if direction == Ordering::Less {
        number.next_down()
    } else {
        number.next_up()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn literals_are_enclosed_tightly() {
        let enclosure = |word| {
            let number = Number::parse(word).unwrap();
            (number.lower, number.upper)
        };
        assert_eq!(enclosure("0.5"), (0.5, 0.5));
        assert_eq!(enclosure("-2"), (-2.0, -2.0));
        assert_eq!(enclosure("+.25e1"), (2.5, 2.5));
        assert_eq!(enclosure("3.E0"), (3.0, 3.0));
        // The 64-bit numbers nearest to 0.1 and 0.3 lie above and below them.
        assert_eq!(enclosure("0.1"), (0.1f64.next_down(), 0.1));
        assert_eq!(enclosure("0.3"), (0.3, 0.3f64.next_up()));
        assert_eq!(enclosure("-0.3"), (-(0.3f64.next_up()), -0.3));
        assert_eq!(
            enclosure("0.1000000000000000055511151231257827021181583404541015625"),
            (0.1, 0.1)
        );
        assert_eq!(
            enclosure("0.1000000000000000055511151231257827021181583404541015626"),
            (0.1, 0.1f64.next_up())
        );
        assert_eq!(enclosure("1e-400"), (0.0, f64::from_bits(1)));
        assert_eq!(
            enclosure("-1e-99999999999999999999999"),
            (-f64::from_bits(1), 0.0)
        );
        assert_eq!(enclosure("0e99999999999999999999999"), (0.0, 0.0));
        assert_eq!(
            enclosure("9007199254740993"),
            (9007199254740992.0, 9007199254740994.0)
        );
    }

    #[test]
    fn what_is_no_number_in_range_is_refused() {
        for word in [
            "", "-", ".", "e5", "1e", "1e+", "--1", "1.2.3", "inf", "nan", "NaN", "infinity",
            "0x10", "1_000", "X_0", "1f",
        ] {
            assert_eq!(Number::parse(word), Err(Refused::NoNumber), "{word}");
        }
        for word in [
            "1e309",
            "-1e309",
            "1.7976931348623158e308",
            "1e99999999999999999999999",
        ] {
            assert_eq!(Number::parse(word), Err(Refused::OutOfRange), "{word}");
        }
    }

    /// A fraction with a power of two below: exact in 64 bits and in decimals.
    fn dyadic() -> impl Strategy<Value = f64> {
        (-(1i64 << 53)..1 << 53, -80i32..80).prop_map(|(m, e)| m as f64 * 2.0f64.powi(e))
    }

    proptest! {
        #[test]
        fn full_texts_are_read_back(bits in any::<u64>()) {
            let number = f64::from_bits(bits);
            prop_assume!(number.is_finite());
            prop_assert_eq!(Number::parse(&exact_text(number)).unwrap().exact(), Some(number + 0.0));
        }

        #[test]
        fn short_texts_are_enclosed(number in any::<f64>().prop_filter("finite", |x| x.is_finite())) {
            // The shortest text is within half a step of the number, so the number is one of the two ends.
            let read = Number::parse(&format!("{number:?}")).unwrap();
            prop_assert!(read.lower == number || read.upper == number);
            prop_assert!(read.upper == read.lower || read.upper == read.lower.next_up());
        }

        #[test]
        fn arithmetic_encloses_the_exact_result(a in -99_999i64..99_999, b in -99_999i64..99_999, places in 0i32..6) {
            // Decimals with known exact sums and products, as integers in units of the last place.
            let text = |units: i64, places: i32| format!("{units}e-{places}");
            let (x, y) = (Number::parse(&text(a, places)).unwrap(), Number::parse(&text(b, 2)).unwrap());
            let sum = Number::parse(&text(a * 100 + b * 10i64.pow(places.unsigned_abs()), places + 2)).unwrap();
            let product = Number::parse(&text(a * b, places + 2)).unwrap();
            for (found, exact) in [(x.add(y), sum), (x.multiply(y), product)] {
                prop_assert!(found.lower <= exact.upper && exact.lower <= found.upper);
                prop_assert!(found.lower <= exact.lower && exact.upper <= found.upper);
                prop_assert_eq!(found.scaled_integer(places + 2), exact.scaled_integer(places + 2));
            }
            if b != 0 {
                let back = product.divide(y);
                prop_assert!(back.lower <= x.lower && x.upper <= back.upper);
            }
        }

        #[test]
        fn exact_operations_stay_exact(a in dyadic(), k in -60i32..60) {
            let number = |x: f64| Number::parse(&exact_text(x)).unwrap();
            let power = 2.0f64.powi(k);
            prop_assert_eq!(number(a).multiply(number(power)).exact(), Some(a * power + 0.0));
            prop_assert_eq!(number(a).divide(number(-power)).exact(), Some(-a / power + 0.0));
            prop_assert_eq!(number(a).add(number(-a)).exact(), Some(0.0));
        }
    }
}
