//! Turns what a solver found into a feasible point and a bound that do not depend on trusting it.

use rayon::prelude::*;

use super::{LpError, LpSolution, LpState, MixtureLp};

/// Rows that one task looks at.
const ROWS_OF_A_TASK: usize = 4096;
/// Multipliers are shrunk by this much, so that rounded sums of them do not exceed 1.
const SHRINK: f64 = 1.0 - 1e-12;

/// Makes a solution of `lp` of a solver's (nearly feasible) weights, slacks and row multipliers.
///
/// The weights are put on the simplex. Given them and the pair slacks, every step slack becomes the
/// least that its rows allow, then the same with the sides exchanged: every row holds, and the
/// objective does not rise if the slacks were feasible. Row multipliers (`None` if the solver has
/// none) become dual feasible by scaling.
///
/// # Errors
/// [`LpError::NonFinite`] if a weight, slack or multiplier is not finite, or all weights are 0.
pub(super) fn certify(
    lp: &MixtureLp,
    alpha: Vec<f64>,
    mut v_step: Vec<f64>,
    mut v_pair: Vec<f64>,
    dual: Option<Vec<f64>>,
    iterations: usize,
) -> Result<LpSolution, LpError> {
    let alpha = onto_simplex(alpha)?;
    if v_step.iter().chain(&v_pair).any(|v| !v.is_finite()) {
        return Err(LpError::NonFinite {
            what: "a slack of the solution",
        });
    }
    for v in &mut v_pair {
        *v = v.max(0.0);
    }
    let value: Vec<f64> = (0..lp.rows())
        .into_par_iter()
        .with_min_len(ROWS_OF_A_TASK)
        .map(|r| lp.row(r).iter().zip(&alpha).map(|(a, x)| a * x).sum())
        .collect();
    let rows = || lp.step_of().iter().zip(lp.pair_of()).zip(&value);
    v_step.fill(0.0);
    for ((&step, &pair), value) in rows() {
        let v = &mut v_step[step as usize];
        *v = v.max(-(v_pair[pair as usize] + value));
    }
    v_pair.fill(0.0);
    for ((&step, &pair), value) in rows() {
        let v = &mut v_pair[pair as usize];
        *v = v.max(-(v_step[step as usize] + value));
    }
    let objective = v_step.iter().sum::<f64>() + v_pair.iter().sum::<f64>();
    let mut dual = dual.unwrap_or_default();
    let lower_bound = lower_bound(lp, &mut dual)?.min(objective);
    Ok(LpSolution {
        state: LpState {
            alpha,
            v_step,
            v_pair,
            dual,
        },
        objective,
        lower_bound,
        iterations,
    })
}

fn onto_simplex(mut alpha: Vec<f64>) -> Result<Vec<f64>, LpError> {
    for x in &mut alpha {
        if !x.is_finite() {
            return Err(LpError::NonFinite {
                what: "a weight of the solution",
            });
        }
        *x = x.max(0.0);
    }
    let sum: f64 = alpha.iter().sum();
    if !(sum > 0.0 && sum.is_finite()) {
        return Err(LpError::NonFinite {
            what: "the sum of the solution's weights",
        });
    }
    for x in &mut alpha {
        *x /= sum;
    }
    Ok(alpha)
}

/// Makes `dual` feasible (`>= 0`, and at most 1 in sum for each step and each pair) and returns the
/// bound that follows: the objective is at least `-(a^T w) . alpha`, so at least its least
/// coefficient. Sums are compensated and their rounding is taken off. Slacks are not negative, so 0
/// is always a bound.
fn lower_bound(lp: &MixtureLp, dual: &mut [f64]) -> Result<f64, LpError> {
    if dual.is_empty() {
        return Ok(0.0);
    }
    let mut step_sum = vec![0.0; lp.steps()];
    let mut pair_sum = vec![0.0; lp.pairs()];
    for ((w, &step), &pair) in dual.iter_mut().zip(lp.step_of()).zip(lp.pair_of()) {
        if !w.is_finite() {
            return Err(LpError::NonFinite {
                what: "a multiplier of the solution",
            });
        }
        *w = w.max(0.0);
        step_sum[step as usize] += *w;
        pair_sum[pair as usize] += *w;
    }
    let n = lp.n();
    let mut sum = vec![Compensated::default(); n];
    for (r, w) in dual.iter_mut().enumerate() {
        let step = step_sum[lp.step_of()[r] as usize];
        let pair = pair_sum[lp.pair_of()[r] as usize];
        *w *= SHRINK / step.max(pair).max(1.0);
        for (sum, a) in sum.iter_mut().zip(lp.row(r)) {
            sum.add(-a * *w);
        }
    }
    let bound = sum
        .iter()
        .map(Compensated::at_least)
        .fold(f64::INFINITY, f64::min);
    Ok(bound.max(0.0))
}

/// A running sum with the rounding errors of its additions (Neumaier) and the sum of magnitudes.
#[derive(Clone, Copy, Default)]
struct Compensated {
    sum: f64,
    lost: f64,
    magnitude: f64,
}

impl Compensated {
    fn add(&mut self, x: f64) {
        let sum = self.sum + x;
        self.lost += if self.sum.abs() >= x.abs() {
            (self.sum - sum) + x
        } else {
            (x - sum) + self.sum
        };
        self.sum = sum;
        self.magnitude += x.abs();
    }

    /// A number that the exact sum is not below: products and the compensated sum are each off by
    /// at most a rounding of the magnitudes.
    fn at_least(&self) -> f64 {
        (self.sum + self.lost) - 4.0 * f64::EPSILON * self.magnitude
    }
}
