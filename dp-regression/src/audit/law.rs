//! The white box: distributions of outputs, and the exact `delta(epsilon)` between two of them.
//!
//! For densities `p` and `q`, `delta(e) = sup over T of P(T) - exp(e) Q(T) = E_P (1 - exp(e - L))_+` with the privacy loss `L = ln p/q`. For Gaussians
//! the moments `M(s) = E_P exp(s L)` are known in closed form, for complex `s` too, and
//!
//! `delta(e) = (1/pi) int_0^inf Re[ M(s) exp(-s e) / (s (s+1)) ] dw`,  `s = alpha + i w`
//!
//! for every `alpha > 0` at which `M` is finite: the inverse Laplace transform of `(1 - exp(e - L))_+`. At the saddle point the integrand hardly
//! oscillates, and the trapezoidal rule is exact to about ten digits.

use faer::{Mat, Side};

use crate::error::{Error, Result};

/// Probabilities below this are not integrated but bounded.
const NEGLIGIBLE: f64 = 1e-25;
/// Steps of the trapezoidal rule at most. Reached where shapes differ in one direction and means do not: seven digits are right then.
const MOST_STEPS: u32 = 400_000;

/// A Gaussian distribution of coefficients.
#[derive(Clone, Debug, PartialEq)]
pub struct GaussianLaw {
    /// The mean: `d` numbers.
    pub mean: Vec<f64>,
    /// An upper triangular `F` by columns, `d d` numbers: the covariance is `F F'`.
    pub factor: Vec<f64>,
}

/// The distribution of a method's output on one table: refused, or Gaussian. **Not private.**
#[derive(Clone, Debug, PartialEq)]
pub struct OutputLaw {
    /// The probability of a refusal.
    pub refusal: f64,
    /// The coefficients otherwise; `None` if the table is always refused.
    pub gaussian: Option<GaussianLaw>,
}

impl OutputLaw {
    /// The law of a table that is always refused.
    #[must_use]
    pub fn refused() -> Self {
        Self {
            refusal: 1.0,
            gaussian: None,
        }
    }

    /// The least `delta` for which `P(out in T) <= exp(epsilon) P'(out in T) + delta` for all `T`, where `P` is this law and `P'` the other one. For a
    /// guarantee it has to be asked in both directions.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] for laws of different dimension, [`Error::BadParameter`] for one with a singular covariance or numbers that are not
    /// finite.
    pub fn delta(&self, other: &Self, epsilon: f64) -> Result<f64> {
        let refusing = (self.refusal - epsilon.exp() * other.refusal).max(0.0);
        let pass = 1.0 - self.refusal;
        let other_pass = 1.0 - other.refusal;
        let releasing = match (&self.gaussian, &other.gaussian) {
            (Some(own), Some(theirs)) if pass > 0.0 && other_pass > 0.0 => {
                pass * own.hockey_stick(theirs, epsilon - (pass / other_pass).ln())?
            }
            (Some(_), _) => pass,
            (None, _) => 0.0,
        };
        Ok(refusing + releasing)
    }
}

impl GaussianLaw {
    /// `E_P (1 - exp(threshold - ln p/q))_+`, with `P` this law and `Q` the other one; `threshold` may be any number.
    ///
    /// # Errors
    /// As of [`OutputLaw::delta`].
    pub fn hockey_stick(&self, other: &Self, threshold: f64) -> Result<f64> {
        Ok(Loss::new(self, other)?.hockey_stick(threshold))
    }
}

/// The privacy loss of two Gaussians, in coordinates where the second is standard and the first is a product.
struct Loss {
    /// Variance and mean of the first in each coordinate.
    axes: Vec<(f64, f64)>,
}

impl Loss {
    fn new(p: &GaussianLaw, q: &GaussianLaw) -> Result<Self> {
        let d = p.mean.len();
        if q.mean.len() != d || p.factor.len() != d * d || q.factor.len() != d * d {
            return Err(Error::ShapeMismatch {
                what: "dimension of a law",
                expected: d,
                found: q.mean.len(),
            });
        }
        let bad = |value| Error::BadParameter {
            name: "law",
            value,
            reason: "its covariance is singular or not finite",
        };
        // F_Q^-1 v, by back substitution.
        let whiten = |v: &[f64]| {
            let mut out = v.to_vec();
            for i in (0..d).rev() {
                let sum: f64 = (i + 1..d).map(|k| q.factor[i + d * k] * out[k]).sum();
                out[i] = (out[i] - sum) / q.factor[i + d * i];
            }
            out
        };
        let columns: Vec<Vec<f64>> = p.factor.chunks_exact(d.max(1)).map(whiten).collect();
        let shift: Vec<f64> = p.mean.iter().zip(&q.mean).map(|(p, q)| p - q).collect();
        let shift = whiten(&shift);
        let shape = Mat::from_fn(d, d, |i, j| {
            columns
                .iter()
                .map(|column| column[i] * column[j])
                .sum::<f64>()
        });
        if let Some(value) = shift
            .iter()
            .chain(columns.iter().flatten())
            .find(|x| !x.is_finite())
        {
            return Err(bad(*value));
        }
        let eigen = shape
            .self_adjoint_eigen(Side::Lower)
            .map_err(|_| bad(f64::NAN))?;
        let (vectors, values) = (eigen.U(), eigen.S());
        let mut axes = Vec::with_capacity(d);
        for j in 0..d {
            let variance = values[j];
            if !(variance > 0.0 && variance.is_finite()) {
                return Err(bad(variance));
            }
            axes.push((variance, (0..d).map(|i| vectors[(i, j)] * shift[i]).sum()));
        }
        Ok(Self { axes })
    }

    /// `ln M(s)` for complex `s = a + i b` in the strip where it is finite: real and imaginary part.
    fn ln_moment(&self, a: f64, b: f64) -> (f64, f64) {
        let (mut re, mut im) = (0.0, 0.0);
        for &(variance, mean) in &self.axes {
            let g = 1.0 - variance;
            let ln_variance = variance.ln();
            // u = 1 + s g
            let (ur, ui) = (1.0 + a * g, b * g);
            let square = ur * ur + ui * ui;
            re -= 0.5 * a * ln_variance + 0.25 * square.ln();
            im -= 0.5 * b * ln_variance + 0.5 * ui.atan2(ur);
            // s (1+s) m^2 / (2u)
            let (sr, si) = (a + a * a - b * b, b + 2.0 * a * b);
            let half = 0.5 * mean * mean / square;
            re += half * (sr * ur + si * ui);
            im += half * (si * ur - sr * ui);
        }
        (re, im)
    }

    /// Where `M` stops being finite.
    fn end(&self) -> f64 {
        self.axes
            .iter()
            .filter(|(variance, _)| *variance > 1.0)
            .map(|(variance, _)| 1.0 / (variance - 1.0))
            .fold(f64::INFINITY, f64::min)
    }

    fn hockey_stick(&self, threshold: f64) -> f64 {
        // Distributions that cannot be told apart in 53 bits.
        let spread: f64 = self
            .axes
            .iter()
            .map(|(variance, mean)| (variance - 1.0).powi(2) + mean * mean)
            .sum();
        if spread < 1e-20 {
            return -threshold.min(0.0).exp_m1();
        }
        let end = self.end();
        let exponent = |a: f64| self.ln_moment(a, 0.0).0 - a * threshold - a.ln() - a.ln_1p();
        let alpha = minimum(
            exponent,
            1e-6_f64.min(0.5 * end),
            if end.is_finite() {
                0.999_999 * end
            } else {
                1e12
            },
        );
        let peak = exponent(alpha);
        // (1 - exp(-u))_+ is at most exp(alpha u), up to a factor below 1.
        let chernoff = (peak + alpha.ln() + alpha.ln_1p()).exp();
        if chernoff < NEGLIGIBLE {
            return chernoff;
        }
        // The width of the peak, from the second derivative along the real axis.
        let h = 1e-3 * alpha.min(end - alpha);
        let curvature =
            ((exponent(alpha + h) - 2.0 * peak + exponent(alpha - h)) / (h * h)).max(0.0);
        let room = alpha.min(end - alpha);
        let step = (room / 8.0).min(0.6 / curvature.sqrt());
        let mut sum = 0.5;
        let mut index = 1_u32;
        loop {
            let w = step * f64::from(index);
            let (re, im) = self.ln_moment(alpha, w);
            // exp(-s t) / (s (s+1))
            let (nr, ni) = (re - alpha * threshold, im - w * threshold);
            let (a1, a2) = (
                (alpha * alpha + w * w).ln(),
                ((alpha + 1.0) * (alpha + 1.0) + w * w).ln(),
            );
            let size = (nr - 0.5 * (a1 + a2) - peak).exp();
            let angle = ni - w.atan2(alpha) - w.atan2(alpha + 1.0);
            sum += size * angle.cos();
            if size < 1e-16 || index == MOST_STEPS {
                break;
            }
            index += 1;
        }
        (peak.exp() * sum * step / std::f64::consts::PI).clamp(0.0, 1.0)
    }
}

/// Where a function with one minimum between two positive numbers has it: golden section on the logarithm.
fn minimum(f: impl Fn(f64) -> f64, low: f64, high: f64) -> f64 {
    let golden = 0.5 * (5.0_f64.sqrt() - 1.0);
    let (mut low, mut high) = (low.ln(), high.ln());
    let f = |x: f64| {
        let value = f(x.exp());
        if value.is_nan() { f64::INFINITY } else { value }
    };
    for _ in 0..120 {
        let (a, b) = (high - golden * (high - low), low + golden * (high - low));
        if f(a) <= f(b) { high = b } else { low = a }
    }
    (0.5 * (low + high)).exp()
}
