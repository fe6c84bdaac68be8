//! The restricted program of an inference: which step and pair each of its rows is about.

use rustc_hash::{FxHashMap, FxHashSet};
use serde::{Deserialize, Serialize};

use crate::lp::{LpError, LpState, MixtureLp};
use crate::trace::{PairId, PairTrace};

/// Rows found so far. Slacks are numbered in the order in which their steps and pairs first appear, so that a
/// solution of fewer rows is the beginning of one of more.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "Rows", into = "Rows")]
pub(crate) struct Program {
    lp: MixtureLp,
    /// Step of each step slack.
    steps: Vec<u32>,
    /// Pair of each pair slack.
    pairs: Vec<PairId>,
    step_slack: FxHashMap<u32, u32>,
    pair_slack: FxHashMap<PairId, u32>,
    known: FxHashSet<(u32, PairId)>,
}

/// What a program is rebuilt from: its rows in the order in which they were added.
#[derive(Serialize, Deserialize)]
struct Rows {
    n: usize,
    places: Vec<(u32, PairId)>,
    coefficients: Vec<f64>,
}

impl From<Program> for Rows {
    fn from(program: Program) -> Self {
        let lp = &program.lp;
        let slacks = lp.step_of().iter().zip(lp.pair_of());
        Self {
            n: lp.n(),
            places: slacks
                .map(|(&step, &pair)| (program.steps[step as usize], program.pairs[pair as usize]))
                .collect(),
            coefficients: lp.coefficients().to_vec(),
        }
    }
}

impl TryFrom<Rows> for Program {
    type Error = LpError;

    fn try_from(rows: Rows) -> Result<Self, LpError> {
        if rows.n.checked_mul(rows.places.len()) != Some(rows.coefficients.len()) {
            return Err(LpError::Shape {
                expected: rows.n,
                found: rows.coefficients.len() / rows.places.len().max(1),
            });
        }
        let mut program = Self::new(rows.n);
        for (k, (step, pair)) in rows.places.into_iter().enumerate() {
            let row = &rows.coefficients[k * rows.n..(k + 1) * rows.n];
            program.push(step as usize, pair, row)?;
        }
        Ok(program)
    }
}

impl Program {
    pub(crate) fn new(n: usize) -> Self {
        Self {
            lp: MixtureLp::new(n),
            steps: Vec::new(),
            pairs: Vec::new(),
            step_slack: FxHashMap::default(),
            pair_slack: FxHashMap::default(),
            known: FxHashSet::default(),
        }
    }

    pub(crate) fn lp(&self) -> &MixtureLp {
        &self.lp
    }

    pub(crate) fn into_lp(self) -> MixtureLp {
        self.lp
    }

    /// Whether its weights, steps and pairs are those of `trace`.
    pub(crate) fn belongs_to(&self, trace: &PairTrace) -> bool {
        self.lp.n() == trace.categories().len()
            && self.steps.iter().all(|&t| (t as usize) < trace.steps())
            && self
                .pairs
                .iter()
                .all(|&p| (p as usize) < trace.pairs().len())
    }

    /// Whether the row of `step` and `pair` is in.
    pub(crate) fn contains(&self, step: usize, pair: PairId) -> bool {
        self.known.contains(&(step as u32, pair))
    }

    /// Adds the row of `step` and `pair`.
    pub(crate) fn push(
        &mut self,
        step: usize,
        pair: PairId,
        coefficients: &[f64],
    ) -> Result<(), LpError> {
        let step = step as u32;
        let v_step = *self.step_slack.entry(step).or_insert_with(|| {
            self.steps.push(step);
            self.steps.len() as u32 - 1
        });
        let v_pair = *self.pair_slack.entry(pair).or_insert_with(|| {
            self.pairs.push(pair);
            self.pairs.len() as u32 - 1
        });
        self.known.insert((step, pair));
        self.lp.push(v_step, v_pair, coefficients)
    }

    /// The slacks of `state` spread over all steps and pairs of the trace; 0 where there is no column.
    pub(crate) fn spread(&self, state: &LpState, trace: &PairTrace) -> (Vec<f64>, Vec<f64>) {
        let mut v_step = vec![0.0; trace.steps()];
        let mut v_pair = vec![0.0; trace.pairs().len()];
        for (&step, &v) in self.steps.iter().zip(&state.v_step) {
            v_step[step as usize] = v;
        }
        for (&pair, &v) in self.pairs.iter().zip(&state.v_pair) {
            v_pair[pair as usize] = v;
        }
        (v_step, v_pair)
    }

    /// A point of an earlier, smaller program as a point of this one: new slacks and multipliers are 0.
    pub(crate) fn extend(&self, state: &LpState) -> LpState {
        let mut extended = state.clone();
        extended.v_step.resize(self.lp.steps(), 0.0);
        extended.v_pair.resize(self.lp.pairs(), 0.0);
        if !extended.dual.is_empty() {
            extended.dual.resize(self.lp.rows(), 0.0);
        }
        extended
    }

    /// Steps with a positive slack, largest first.
    pub(crate) fn step_slacks(&self, state: &LpState) -> Vec<(usize, f64)> {
        positive(self.steps.iter().map(|&step| step as usize), &state.v_step)
    }

    /// Pairs with a positive slack, largest first.
    pub(crate) fn pair_slacks(&self, state: &LpState) -> Vec<(PairId, f64)> {
        positive(self.pairs.iter().copied(), &state.v_pair)
    }
}

fn positive<T: Ord>(owners: impl Iterator<Item = T>, slacks: &[f64]) -> Vec<(T, f64)> {
    // Interior-point slacks are never exactly 0; this is far below any row's tolerance.
    const ZERO: f64 = 1e-10;
    let mut found: Vec<(T, f64)> = owners
        .zip(slacks.iter().copied())
        .filter(|&(_, v)| v > ZERO)
        .collect();
    found.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    found
}
