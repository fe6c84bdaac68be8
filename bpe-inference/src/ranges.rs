//! What the merge list leaves open: the mixtures that explain it almost as well as the best one, and categories that
//! it cannot tell apart.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::inference::{Estimate, PairBasis};
use crate::lp::{Limits, LpError, LpSolver, MixtureLp};
use crate::trace::PairTrace;

/// The cosine similarity of pair counts above which two categories count as indistinguishable.
pub const SIMILAR: f64 = 0.999;

/// Halvings of the search for the multiplier that exhausts the budget: its error shrinks from 12 decades to a few percent.
const HALVINGS: usize = 10;

/// The smallest and largest share of bytes of each category over all mixtures whose objective is at most
/// `(1 + slack)` times [`Estimate::objective_upper`] (and at least 1e-9).
///
/// `program` is the last restricted program of the inference ([`crate::MixtureInference::run_exporting`]) and `basis` its
/// normalisation. The ranges are certified from outside: a mixture outside them violates the budget, because they come
/// from dual bounds of a relaxation (the program's own rows). With shares `b`, factors `c_i = bytes_i / denominator_i` and
/// `F` the objective, which is homogeneous, the set is `F(b / c) <= B sum_i b_i / c_i`, and for every multiplier
/// `m > 0` the least value of `F(b / c) - B sum_i b_i / c_i + m b_i` over the simplex, divided by `m`, bounds `b_i` from below
/// on it; likewise from above. About 20 solves a category.
///
/// # Errors
/// [`Error::InvalidValue`] if `slack` is negative or not finite or the program is not one of this trace, [`Error::Lp`].
pub fn ranges(
    program: &MixtureLp,
    trace: &PairTrace,
    estimate: &Estimate,
    basis: PairBasis,
    solver: &dyn LpSolver,
    slack: f64,
) -> Result<Vec<(f64, f64)>> {
    let n = trace.categories().len();
    let search = Search::new(program, trace, estimate, basis, solver, slack)?;
    let span = tracing::info_span!("ranges", position = 0_u64, length = n as u64);
    let _guard = span.enter();
    (0..n)
        .map(|i| {
            let range = search.range(&[i])?;
            span.record("position", i as u64 + 1);
            Ok(range)
        })
        .collect()
}

/// The range of the sum of two categories' shares.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JointRange {
    /// Indices of the categories, the lower first.
    pub categories: (usize, usize),
    /// The smallest sum of their shares of bytes.
    pub low: f64,
    /// The largest.
    pub high: f64,
}

/// For every two categories that are [`indistinguishable`] at [`SIMILAR`], the range of the *sum* of their shares, in the
/// sense of [`ranges`] and with the same arguments. Their own ranges say little: each can take over what the other has.
///
/// # Errors
/// As [`ranges`].
pub fn joint_ranges(
    program: &MixtureLp,
    trace: &PairTrace,
    estimate: &Estimate,
    basis: PairBasis,
    solver: &dyn LpSolver,
    slack: f64,
) -> Result<Vec<JointRange>> {
    let search = Search::new(program, trace, estimate, basis, solver, slack)?;
    indistinguishable(trace, SIMILAR)?
        .into_iter()
        .map(|(a, b)| {
            let (low, high) = search.range(&[a, b])?;
            Ok(JointRange {
                categories: (a, b),
                low,
                high,
            })
        })
        .collect()
}

/// Pairs of categories whose counts before step 0 have a cosine similarity above `threshold` ([`SIMILAR`] is a
/// good one): the merge list can hardly tell them apart, so only the sum of their shares is reliable.
///
/// # Errors
/// [`Error::InvalidValue`] if the threshold is not in 0..=1.
pub fn indistinguishable(trace: &PairTrace, threshold: f64) -> Result<Vec<(usize, usize)>> {
    if !(0.0..=1.0).contains(&threshold) {
        return Err(Error::InvalidValue {
            name: "threshold".into(),
            value: threshold.to_string(),
            expected: "in 0..=1",
        });
    }
    let n = trace.categories().len();
    let mut products = vec![0.0; n * n];
    for pair in trace.initial().chunk_by(|a, b| a.pair == b.pair) {
        for a in pair {
            for b in pair {
                products[a.category as usize * n + b.category as usize] +=
                    a.delta as f64 * b.delta as f64;
            }
        }
    }
    let similar = |i: usize, j: usize| {
        products[i * n + j] > threshold * (products[i * n + i] * products[j * n + j]).sqrt()
    };
    let pairs = (0..n).flat_map(|i| (i + 1..n).map(move |j| (i, j)));
    Ok(pairs.filter(|&(i, j)| similar(i, j)).collect())
}

struct Search<'a> {
    program: &'a MixtureLp,
    factors: Vec<f64>,
    budget: f64,
    shares: Vec<f64>,
    solver: &'a dyn LpSolver,
}

impl<'a> Search<'a> {
    /// Checks the arguments of [`ranges`].
    fn new(
        program: &'a MixtureLp,
        trace: &PairTrace,
        estimate: &Estimate,
        basis: PairBasis,
        solver: &'a dyn LpSolver,
        slack: f64,
    ) -> Result<Self> {
        if !(slack.is_finite() && slack >= 0.0) {
            return Err(Error::InvalidValue {
                name: "slack".into(),
                value: slack.to_string(),
                expected: "finite and at least 0",
            });
        }
        let n = trace.categories().len();
        if program.n() != n || estimate.categories.len() != n {
            return Err(Error::InvalidValue {
                name: "program".into(),
                value: format!("{} categories", program.n()),
                expected: "over the categories of the trace",
            });
        }
        let factors = trace
            .categories()
            .iter()
            .map(|category| match basis {
                PairBasis::InitialPairs => category.bytes as f64 / category.initial_pairs as f64,
                PairBasis::Bytes => 1.0,
            })
            .collect();
        Ok(Self {
            program,
            factors,
            budget: ((1.0 + slack) * estimate.objective_upper).max(1e-9),
            shares: estimate.byte_shares(),
            solver,
        })
    }

    /// The least and the largest sum of the shares of `group`.
    fn range(&self, group: &[usize]) -> Result<(f64, f64)> {
        let share = group.iter().map(|&i| self.shares[i]).sum::<f64>().min(1.0);
        // Bounds are sound up to the solver's own tolerance; the estimate is in the set by definition.
        let low = self.extreme(group, 1.0)?.clamp(0.0, share);
        let high = (-self.extreme(group, -1.0)?).clamp(share, 1.0);
        Ok((low, high))
    }

    /// A lower bound of `sign * sum of b_i` over the set, for `i` in `group`: the best over multipliers, found by bisecting
    /// for the one at which the budget is just used up.
    fn extreme(&self, group: &[usize], sign: f64) -> Result<f64> {
        let least = self.factors.iter().copied().fold(f64::INFINITY, f64::min);
        let scale = self.budget / least;
        // Multipliers from far below to far above what one unit of share costs.
        let (mut low, mut high) = ((scale * 1e-6).ln(), (scale * 1e6).ln());
        let mut best = if sign > 0.0 { 0.0 } else { -1.0 };
        for _ in 0..HALVINGS {
            let middle = f64::midpoint(low, high);
            let multiplier = middle.exp();
            let (bound, share) = match self.penalised(group, sign * multiplier) {
                // Far from the scale of the costs the program is badly scaled. Bounds found so far stay valid; go back.
                Err(Error::Lp(LpError::NotConverged { .. })) => {
                    if middle > scale.ln() {
                        high = middle;
                    } else {
                        low = middle;
                    }
                    continue;
                }
                solved => solved?,
            };
            best = f64::max(best, bound / multiplier);
            // The penalised optimum keeps within the budget: more weight can go on the share.
            if bound - sign * multiplier * share < 0.0 {
                low = middle;
            } else {
                high = middle;
            }
        }
        Ok(best)
    }

    /// A lower bound of the least `F(b / c) - B sum_j b_j / c_j + penalty sum of b_i` (`i` in `group`) over the simplex, and
    /// that sum at the optimum.
    ///
    /// Linear costs are one more row: with a step and a pair of its own, `v >= (cost - least cost) . b` costs just that.
    fn penalised(&self, group: &[usize], penalty: f64) -> Result<(f64, f64)> {
        let mut costs: Vec<f64> = self.factors.iter().map(|c| -self.budget / c).collect();
        for &i in group {
            costs[i] += penalty;
        }
        let least = costs.iter().copied().fold(f64::INFINITY, f64::min);
        let mut lp = MixtureLp::new(self.factors.len());
        let mut scaled = vec![0.0; self.factors.len()];
        for r in 0..self.program.rows() {
            for ((s, a), c) in (scaled.iter_mut().zip(self.program.row(r))).zip(&self.factors) {
                *s = a / c;
            }
            lp.push(
                self.program.step_of()[r],
                self.program.pair_of()[r],
                &scaled,
            )?;
        }
        for (s, cost) in scaled.iter_mut().zip(&costs) {
            *s = least - cost;
        }
        lp.push(
            self.program.steps() as u32,
            self.program.pairs() as u32,
            &scaled,
        )?;
        let solution = self.solver.solve(&lp, None, &Limits::default())?;
        solution.check(&lp, self.solver.name())?;
        let share = group.iter().map(|&i| solution.state.alpha[i]).sum();
        Ok((solution.lower_bound + least, share))
    }
}
