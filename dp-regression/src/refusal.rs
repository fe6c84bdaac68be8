//! Refusal tables: with which probability a table of each score is refused, so that the answer "refused" or "released" gives little away.
//!
//! Propose, test, release (C. Dwork, J. Lei 2009) with one Bernoulli draw: scores of neighbours differ by at most one (lemma 2), so a table `f` of
//! refusal probabilities has to climb from `f(0) = eta` to 1 by steps that are themselves private. `f` reaches 1 by the recursion and is never forced to:
//! the last pair of scores has no bound on its releases, and is paid for by the probability of releasing (design, sections 2.6 and 10.5). What
//! only rounds to 1 is rounded down, which every bound on `f(s+1)` allows: no table ends before `delta` pays for its end.

use serde::{Deserialize, Serialize};

use crate::accounting::rdp::DeltaCurve;
use crate::budget::PrivacyBudget;

/// The longest table that is tried.
const LONGEST: usize = 1 << 16;

/// How the budget is shared between the answer "refused or not" and the noise of the release.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PtrDesign {
    /// Both are accounted for together, which gives shorter tables.
    #[default]
    Joint,
    /// The answer alone is `(epsilon, delta)`-DP with these; the noise gets the rest.
    Split {
        /// Epsilon of the answer.
        epsilon: f64,
        /// Delta of the answer.
        delta: f64,
    },
}

/// The table of [`PtrDesign::Split`]: `f(0) = eta`, up to the first 1 at score `k`, which is the last entry. `None` if 65,536 steps do not reach it.
///
/// `f(s+1) = min(1, e^eps f(s) + delta, 1 - e^-eps (1 - f(s) - delta))` (design, 2.6).
#[must_use]
pub fn split(epsilon: f64, delta: f64, eta: f64) -> Option<Vec<f64>> {
    let grow = epsilon.exp();
    climb(eta, |f| {
        let refuse_side = grown(grow, f) + delta;
        let left = 1.0 - f - delta;
        let pass_side = if left <= 0.0 {
            1.0
        } else {
            (1.0 - left / grow).next_down()
        };
        refuse_side.min(pass_side)
    })
}

/// The table of [`PtrDesign::Joint`] for releases whose neighbours are as hard to tell apart as `curve` says. `None` if `curve` alone exceeds the
/// budget, or if 65,536 steps do not reach 1.
///
/// `f(s+1)` is the largest value with (i) `f(s+1) <= e^eps f(s) + delta - deltaG(eps)`, and (ii) `1 - f(s+1) >= p(s) e^{-(eps - e*)}` unless
/// `p(s) = 1 - f(s) <= delta`, where `e*` is the smallest `e` with `deltaG(e) <= delta/p(s)` (design, 2.6).
#[must_use]
pub fn joint(budget: &PrivacyBudget, curve: &DeltaCurve, eta: f64) -> Option<Vec<f64>> {
    let (epsilon, delta) = (budget.epsilon(), budget.delta());
    let slack = delta - curve.delta(epsilon);
    if slack <= 0.0 {
        return None;
    }
    let grow = epsilon.exp();
    climb(eta, |f| {
        let refuse_side = grown(grow, f) + slack;
        let pass = 1.0 - f;
        let pass_side = if pass <= delta {
            1.0
        } else {
            let change = (curve.epsilon(delta / pass) - epsilon).min(0.0).exp();
            (1.0 - pass * change).next_down()
        };
        refuse_side.min(pass_side)
    })
}

/// `e^eps f`, also where `e^eps` overflows.
fn grown(grow: f64, f: f64) -> f64 {
    if f > 0.0 { grow * f } else { 0.0 }
}

fn climb(eta: f64, next: impl Fn(f64) -> f64) -> Option<Vec<f64>> {
    let mut table = vec![eta];
    loop {
        let last = *table.last()?;
        let step = next(last).min(1.0);
        if step <= last || table.len() == LONGEST {
            return None;
        }
        table.push(step);
        if step >= 1.0 {
            return Some(table);
        }
    }
}
