//! The mixture estimate: the paper's linear program over all steps and pairs, solved by adding rows and columns
//! only where they are violated (section 3.3 and appendix of the paper).
//!
//! A round sweeps through the merge steps with the present weights, collects the rows that they violate, and
//! solves the program of all rows found so far. The restricted program bounds the true optimum from below, a sweep
//! that reaches the last step bounds it from above, so the answer has a known gap whenever it is stopped.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
#[cfg(feature = "clarabel")]
use crate::lp::ClarabelSolver;
use crate::lp::{Limits, LpError, LpSolution, LpSolver, LpState, MixtureLp, StructuredIpm};
use crate::merges::MergeList;
use crate::ranges::{SIMILAR, indistinguishable};
use crate::trace::PairTrace;

mod checkpoint;
mod estimate;
mod program;
mod sweep;

pub use estimate::{
    CategoryShare, Estimate, StabilityPoint, StopReason, Violation, ViolationKind, Warning,
};

pub(crate) use program::Program;
pub(crate) use sweep::{Counts, Sections, SweepOptions};

/// What counts are divided by before categories are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PairBasis {
    /// By the category's number of pairs before step 0 (the paper's choice).
    #[default]
    InitialPairs,
    /// By the category's bytes. The feasible set is the same, the slacks weigh differently.
    Bytes,
}

/// What to do with a merge that occurs in no category, or a category in which no merge occurs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MissingPolicy {
    /// Of a merge: leave it out and list it in [`Estimate::missing`] (the paper's choice). Of a category: go on with a
    /// [`Warning`].
    #[default]
    Skip,
    /// Return [`Error::MissingMerge`] or [`Error::CategoryMismatch`].
    Error,
}

/// When to stop adding rows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct StopRule {
    /// Stop once no weight has moved by more than this over [`StopRule::rounds`] rounds. Default 1e-6.
    pub alpha_tolerance: f64,
    /// Rounds that [`StopRule::alpha_tolerance`] looks back over. Default 3.
    pub rounds: usize,
    /// Stop once `(upper - lower) / upper` of the objective is at most this. Default 1e-4.
    pub gap: f64,
    /// Stop after this wall-clock time and return the best estimate so far. Default: never.
    pub time: Option<Duration>,
}

impl Default for StopRule {
    fn default() -> Self {
        Self {
            alpha_tolerance: 1e-6,
            rounds: 3,
            gap: 1e-4,
            time: None,
        }
    }
}

/// Settings of [`MixtureInference`], with the paper's or measured defaults.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InferenceConfig {
    /// Merge steps used as evidence. Default `None`: [`recommended_merges`]. Clamped to the steps of the trace.
    pub merges: Option<usize>,
    /// A row counts as violated above this, in normalised counts. Default 1e-8 (the official code uses its
    /// solver's 1e-6, which is as large as a late merge's whole count).
    pub tolerance: f64,
    /// New rows per step and sweep. Default 10.
    pub rows_per_step: usize,
    /// A sweep ends once it has found this many new rows. Default 10,000 (the official code: 100).
    pub rows_per_round: usize,
    /// When to stop.
    pub stop: StopRule,
    /// Normalisation of counts.
    pub basis: PairBasis,
    /// Treatment of merges that no category has. Default: skip.
    pub missing: MissingPolicy,
    /// Treatment of categories that have none of the merges. Their share can only come out as about 0, whether the tokenizer
    /// saw nothing like them or their text is prepared in another way. Default: error. To be relaxed where few merges meet
    /// many categories, so that rare ones have none of them yet.
    pub unmatched: MissingPolicy,
    /// Assume nothing about the order of merges within a contiguous non-conflicting section
    /// ([`MergeList::sections`], appendix A of the paper). Default false.
    pub sections: bool,
    /// Numbers of merges to pass through on the way; each is solved from the one before and gives a point of
    /// [`Estimate::stability`]. Default 100, 300, 1000, 3000, 10000.
    pub schedule: Vec<usize>,
}

impl Default for InferenceConfig {
    fn default() -> Self {
        Self {
            merges: None,
            tolerance: 1e-8,
            rows_per_step: 10,
            rows_per_round: 10_000,
            stop: StopRule::default(),
            basis: PairBasis::default(),
            missing: MissingPolicy::Skip,
            unmatched: MissingPolicy::Error,
            sections: false,
            schedule: vec![100, 300, 1000, 3000, 10_000],
        }
    }
}

impl InferenceConfig {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Uses the first `merges` steps.
    pub fn with_merges(mut self, merges: usize) -> Self {
        self.merges = Some(merges);
        self
    }

    /// Sets the tolerance of a row.
    pub fn with_tolerance(mut self, tolerance: f64) -> Self {
        self.tolerance = tolerance;
        self
    }

    /// Sets the stopping rule.
    pub fn with_stop(mut self, stop: StopRule) -> Self {
        self.stop = stop;
        self
    }

    /// Works section by section (see [`InferenceConfig::sections`]).
    pub fn with_sections(mut self, sections: bool) -> Self {
        self.sections = sections;
        self
    }

    /// Sets the normalisation.
    pub fn with_basis(mut self, basis: PairBasis) -> Self {
        self.basis = basis;
        self
    }

    /// Sets what happens to merges that no category has.
    pub fn with_missing(mut self, missing: MissingPolicy) -> Self {
        self.missing = missing;
        self
    }

    /// Sets what happens to categories that have none of the merges.
    pub fn with_unmatched(mut self, unmatched: MissingPolicy) -> Self {
        self.unmatched = unmatched;
        self
    }

    /// Sets the intermediate numbers of merges.
    pub fn with_schedule(mut self, schedule: Vec<usize>) -> Self {
        self.schedule = schedule;
        self
    }

    /// Sets the size of a round: new rows per step and per sweep.
    pub fn with_rows(mut self, per_step: usize, per_round: usize) -> Self {
        self.rows_per_step = per_step;
        self.rows_per_round = per_round;
        self
    }

    /// Checks every value.
    fn validate(&self) -> Result<()> {
        let invalid = |name: &str, value: String, expected| {
            Err(Error::InvalidValue {
                name: name.into(),
                value,
                expected,
            })
        };
        if !(self.tolerance.is_finite() && self.tolerance > 0.0) {
            return invalid(
                "tolerance",
                self.tolerance.to_string(),
                "finite and above 0",
            );
        }
        for (name, value) in [
            ("alpha_tolerance", self.stop.alpha_tolerance),
            ("gap", self.stop.gap),
        ] {
            if !(value.is_finite() && value >= 0.0) {
                return invalid(name, value.to_string(), "finite and at least 0");
            }
        }
        for (name, value) in [
            ("rows_per_step", self.rows_per_step),
            ("rows_per_round", self.rows_per_round),
            ("merges", self.merges.unwrap_or(1)),
            ("rounds", self.stop.rounds),
        ] {
            if value == 0 {
                return invalid(name, "0".into(), "at least 1");
            }
        }
        Ok(())
    }
}

/// Infers the mixture of categories behind a merge list from its [`PairTrace`].
///
/// ```
/// use bpe_inference::{BpeTrainer, Category, InferenceConfig, MixtureInference, PairTrace, WordCounts};
///
/// # fn main() -> bpe_inference::Result<()> {
/// // Two "languages" and a tokenizer trained on three parts of one and one part of the other.
/// let a = Category::new("a", WordCounts::from_counts([("abab", 50), ("ba", 20), ("aabb", 30)]));
/// let b = Category::new("b", WordCounts::from_counts([("cdcd", 40), ("dc", 30), ("cddd", 30)]));
/// let mixture = WordCounts::scaled_sum([(&a.words, 3.0), (&b.words, 1.0)])?;
/// let (list, _) = BpeTrainer::new(8).train(&mixture)?;
///
/// let trace = PairTrace::build(&list, &[a, b], 8, &Default::default())?;
/// let estimate = MixtureInference::new(InferenceConfig::new().with_merges(8)).run(&trace)?;
/// assert!(estimate.objective_lower < 1e-9); // the counts explain the list perfectly
/// assert!(estimate.categories[0].bytes > estimate.categories[1].bytes);
/// # Ok(())
/// # }
/// ```
pub struct MixtureInference<'a> {
    config: InferenceConfig,
    solver: Box<dyn LpSolver>,
    cancel: Option<&'a AtomicBool>,
    checkpoint: Option<PathBuf>,
    warm_start: Option<Vec<f64>>,
    sections: Option<Sections>,
}

impl<'a> MixtureInference<'a> {
    /// An inference with the default solver, [`StructuredIpm`].
    pub fn new(config: InferenceConfig) -> Self {
        Self {
            config,
            solver: Box::new(StructuredIpm::default()),
            cancel: None,
            checkpoint: None,
            warm_start: None,
            sections: None,
        }
    }

    /// Solves the restricted programs with `solver`.
    pub fn with_solver(mut self, solver: Box<dyn LpSolver>) -> Self {
        self.solver = solver;
        self
    }

    /// Stops with [`Error::Cancelled`], which hands back the last round's estimate, once the flag is set. Checked
    /// every 1,000 steps of a sweep and as often as the solver does: [`StructuredIpm`] every iteration, a solver that cannot be
    /// interrupted (`minilp`, `microlp`, `highs`) before and after a solve.
    pub fn with_cancel(mut self, cancel: &'a AtomicBool) -> Self {
        self.cancel = Some(cancel);
        self
    }

    /// Saves the state to `path` after every round, and resumes from it where it exists: an interrupted run that is
    /// started again with the same solver gives bit for bit the result of an uninterrupted one, and so does a finished one. A
    /// file of another trace, configuration or version is [`Error::VersionMismatch`]. The replicates of
    /// [`bootstrap`](crate::intervals::bootstrap) neither read nor write it.
    pub fn with_checkpoint(mut self, path: impl Into<PathBuf>) -> Self {
        self.checkpoint = Some(path.into());
        self
    }

    /// Starts from the shares of an earlier estimate (of the same categories, in the same order).
    pub fn with_warm_start(mut self, estimate: &Estimate) -> Self {
        self.warm_start = Some(estimate.alpha.clone());
        self
    }

    /// The sections to work by when [`InferenceConfig::sections`] is on: those of `list`.
    pub fn with_sections_of(mut self, list: &MergeList) -> Self {
        let products = list.steps().iter().map(|merge| merge.product).collect();
        self.sections = Some(Sections {
            ranges: list.sections(),
            products,
        });
        self
    }

    /// The sections, if rows are to be made section by section.
    fn sections(&self) -> Result<Option<&Sections>> {
        match (&self.sections, self.config.sections) {
            (Some(sections), true) => Ok(Some(sections)),
            (None, true) => Err(Error::InvalidValue {
                name: "sections".into(),
                value: "true".into(),
                expected: "given together with `with_sections_of`",
            }),
            (_, false) => Ok(None),
        }
    }

    /// The settings.
    pub fn config(&self) -> &InferenceConfig {
        &self.config
    }

    /// Runs the inference.
    ///
    /// # Errors
    /// [`Error::InvalidValue`] for a setting out of range, [`Error::MergeMismatch`] if no merge occurs in any category,
    /// [`Error::CategoryMismatch`] if none occurs in one of them (see [`InferenceConfig::unmatched`]), [`Error::MissingMerge`]
    /// under [`MissingPolicy::Error`], [`Error::Lp`] if a program cannot be solved, [`Error::Cancelled`], and what reading or
    /// writing the checkpoint brings.
    pub fn run(&self, trace: &PairTrace) -> Result<Estimate> {
        self.run_exporting(trace).map(|(estimate, _)| estimate)
    }

    /// Like [`MixtureInference::run`], and hands out the last restricted program as well, e.g. to compare solvers on it.
    ///
    /// # Errors
    /// As [`MixtureInference::run`].
    pub fn run_exporting(&self, trace: &PairTrace) -> Result<(Estimate, MixtureLp)> {
        let steps = self.config.merges;
        let steps = steps.unwrap_or_else(|| recommended_merges(trace));
        let n = trace.categories().len();
        let alpha = match &self.warm_start {
            Some(alpha) => validated_weights(alpha, n)?,
            None => vec![1.0 / n as f64; n],
        };
        let mut run = Run::new(self, trace, steps, alpha)?;
        run.check_evidence()?;
        if let Some(path) = &self.checkpoint {
            run.keep_at(path)?;
        }
        let stages = run.stages();
        run.complete(&stages)
    }

    /// Runs on resampled counts, from the weights of `estimate` and for as many merges, without intermediate stages
    /// and checkpoints. What a redrawn sample happens to lack is no error.
    pub(crate) fn rerun(&self, trace: &PairTrace, estimate: &Estimate) -> Result<Estimate> {
        let alpha = validated_weights(&estimate.alpha, trace.categories().len())?;
        let run = Run::new(self, trace, estimate.merges, alpha)?;
        let stages = [run.steps];
        run.complete(&stages).map(|(estimate, _)| estimate)
    }
}

/// How many merges a sample supports: the paper uses 30,000; late merges of a small sample rest on a handful of
/// occurrences each and only add noise. Returns the first step around which the merged pair occurs fewer than 30 times
/// (mean over a window of 100 steps, all categories together), at most 30,000 and at least `min(100, steps)`.
pub fn recommended_merges(trace: &PairTrace) -> usize {
    const WINDOW: usize = 100;
    const OCCURRENCES: u128 = 30;
    let limit = trace.steps().min(30_000);
    let merged = Counts::new(trace).merged_totals(limit);
    let supported = merged
        .chunks(WINDOW)
        .position(|window| window.iter().sum::<u128>() < OCCURRENCES * window.len() as u128)
        .map_or(limit, |window| window * WINDOW);
    supported.max(WINDOW.min(limit))
}

/// One inference under way.
struct Run<'a> {
    settings: &'a MixtureInference<'a>,
    trace: &'a PairTrace,
    counts: Counts<'a>,
    program: Program,
    /// Merge steps to use in the end.
    steps: usize,
    /// Merge steps of the present stage.
    stage_steps: usize,
    /// Those of all [`Run::steps`] whose merge occurs in no category.
    missing: Vec<usize>,
    /// Weights and slacks of the last solve.
    alpha: Vec<f64>,
    warm: Option<LpState>,
    lower: f64,
    /// Upper bound of the present stage's objective.
    upper: f64,
    rounds: usize,
    finished_stages: usize,
    /// Why the last finished stage ended.
    stop: StopReason,
    /// Largest movement of a weight in each round of the present stage.
    moves: Vec<f64>,
    stability: Vec<StabilityPoint>,
    checkpoint: Option<&'a Path>,
    fingerprint: u64,
    start: Instant,
}

impl<'a> Run<'a> {
    /// A run of the first `steps` merges of the trace (or all, if there are fewer) from the weights `alpha`.
    fn new(
        settings: &'a MixtureInference<'a>,
        trace: &'a PairTrace,
        steps: usize,
        alpha: Vec<f64>,
    ) -> Result<Self> {
        settings.config.validate()?;
        let n = trace.categories().len();
        if n < 2 {
            return Err(Error::TooFewCategories { found: n });
        }
        let steps = steps.min(trace.steps());
        let counts = Counts::new(trace);
        let missing = counts
            .merged_totals(steps)
            .iter()
            .enumerate()
            .filter_map(|(t, &total)| (total == 0).then_some(t))
            .collect();
        Ok(Self {
            settings,
            trace,
            counts,
            program: Program::new(n),
            steps,
            stage_steps: steps,
            missing,
            alpha,
            warm: None,
            lower: 0.0,
            upper: f64::INFINITY,
            rounds: 0,
            finished_stages: 0,
            stop: StopReason::Optimal,
            moves: Vec::new(),
            stability: Vec::new(),
            checkpoint: None,
            fingerprint: 0,
            start: Instant::now(),
        })
    }

    /// Checks that merges occur: in the samples at all, in each of them, and all of them if the settings say so.
    fn check_evidence(&self) -> Result<()> {
        if self.missing.len() == self.steps {
            return Err(Error::MergeMismatch {
                steps: self.steps,
                diagnosis: Vec::new(),
            });
        }
        if let (MissingPolicy::Error, Some(&silent)) = (
            self.settings.config.unmatched,
            self.unmatched(self.steps).first(),
        ) {
            return Err(Error::CategoryMismatch {
                name: self.trace.categories()[silent].name.clone(),
                steps: self.steps,
                diagnosis: Vec::new(),
            });
        }
        match (self.settings.config.missing, self.missing.first()) {
            (MissingPolicy::Error, Some(&step)) => {
                let (left, right) =
                    self.trace
                        .merged(step)
                        .map_or((String::new(), String::new()), |pair| {
                            let (left, right) = self.trace.pairs()[pair as usize];
                            (format!("token {left}"), format!("token {right}"))
                        });
                Err(Error::MissingMerge { step, left, right })
            }
            _ => Ok(()),
        }
    }

    /// The categories that have none of the first `steps` merges.
    fn unmatched(&self, steps: usize) -> Vec<usize> {
        let occurring = self.counts.merged_categories(steps).into_iter();
        let silent = occurring.enumerate().filter(|(_, occurs)| !occurs);
        silent.map(|(category, _)| category).collect()
    }

    /// Keeps the state at `path` from now on, and takes up the one that is there.
    fn keep_at(&mut self, path: &'a Path) -> Result<()> {
        let config = &self.settings.config;
        self.fingerprint = checkpoint::fingerprint(self.trace, config, self.steps, &self.alpha);
        self.checkpoint = Some(path);
        if path.exists() {
            self.resume(path)?;
        }
        Ok(())
    }

    /// Goes through the stages that are not finished yet.
    fn complete(mut self, stages: &[usize]) -> Result<(Estimate, MixtureLp)> {
        let span = tracing::info_span!(
            "inference",
            position = self.finished_stages as u64,
            length = stages.len() as u64
        );
        let _guard = span.enter();
        for (k, &steps) in stages.iter().enumerate().skip(self.finished_stages) {
            self.stop = self.stage(steps, k + 1 == stages.len())?;
            span.record("position", k as u64 + 1);
            if self.stop == StopReason::TimeLimit {
                break;
            }
        }
        let estimate = self.estimate(self.stop)?;
        Ok((estimate, self.program.into_lp()))
    }

    /// The numbers of merges to pass through, ending with the one asked for.
    fn stages(&self) -> Vec<usize> {
        let mut stages: Vec<usize> = self
            .settings
            .config
            .schedule
            .iter()
            .copied()
            .filter(|&t| 0 < t && t < self.steps)
            .collect();
        stages.sort_unstable();
        stages.dedup();
        stages.push(self.steps);
        stages
    }

    /// Adds rows until the program over the first `steps` merges is solved well enough. Stages before the last only
    /// prepare the next one's starting point, so they stop earlier.
    fn stage(&mut self, steps: usize, last: bool) -> Result<StopReason> {
        self.stage_steps = steps;
        let mut rule = self.settings.config.stop;
        if !last {
            rule.alpha_tolerance = rule.alpha_tolerance.max(1e-4);
            rule.gap = rule.gap.max(1e-2);
            rule.rounds = 1;
        }
        let reason = loop {
            let found = self.sweep(steps)?;
            if found.complete {
                self.upper = found.upper;
                let gap = (self.upper - self.lower) / self.upper.max(1e-9);
                if self.rounds > 0 && gap <= rule.gap {
                    break StopReason::Gap;
                }
            }
            if found.new_rows == 0 {
                break StopReason::Optimal;
            }
            if rule.time.is_some_and(|limit| self.start.elapsed() >= limit) {
                break StopReason::TimeLimit;
            }
            let solution = match self.solve(rule.time) {
                Err(Error::Lp(LpError::TimeLimit)) => break StopReason::TimeLimit,
                solution => solution?,
            };
            self.adopt(solution);
            let recent = self.moves.iter().rev().take(rule.rounds);
            if self.moves.len() >= rule.rounds
                && recent.copied().fold(0.0, f64::max) <= rule.alpha_tolerance
            {
                break StopReason::WeightsStable;
            }
            self.save()?;
        };
        self.stability.push(StabilityPoint {
            merges: steps,
            bytes: self.byte_shares(),
        });
        self.moves.clear();
        if reason != StopReason::TimeLimit {
            self.finished_stages += 1;
            self.stop = reason;
            if !last {
                // The next stage has more rows, so more can be violated.
                self.upper = f64::INFINITY;
            }
            self.save()?;
        }
        Ok(reason)
    }

    /// Collects violated rows of the first `steps` merges.
    fn sweep(&mut self, steps: usize) -> Result<sweep::Found> {
        let config = &self.settings.config;
        let options = SweepOptions {
            steps,
            tolerance: config.tolerance,
            rows_per_step: config.rows_per_step,
            rows_per_round: config.rows_per_round,
            sections: self.settings.sections()?,
            cancel: self.settings.cancel,
        };
        let (v_step, v_pair) = self.slacks();
        let denominators = self.denominators();
        let program = &mut self.program;
        match self.counts.sweep(
            &self.alpha,
            &denominators,
            &v_step,
            &v_pair,
            &options,
            program,
        )? {
            Some(found) => {
                tracing::debug!(rows = found.new_rows, complete = found.complete, "sweep");
                Ok(found)
            }
            None => Err(self.cancelled()?),
        }
    }

    /// An upper bound of the objective over the steps of the present stage, at the present weights and slacks.
    fn bound(&mut self) -> Result<f64> {
        let config = &self.settings.config;
        let options = SweepOptions {
            steps: self.stage_steps,
            tolerance: config.tolerance,
            rows_per_step: 0,
            rows_per_round: usize::MAX,
            sections: self.settings.sections()?,
            cancel: None,
        };
        let (v_step, v_pair) = self.slacks();
        let denominators = self.denominators();
        let program = &mut self.program;
        let found = self.counts.sweep(
            &self.alpha,
            &denominators,
            &v_step,
            &v_pair,
            &options,
            program,
        )?;
        Ok(found.map_or(f64::INFINITY, |found| found.upper))
    }

    /// The slacks of the last solve, one for every step and pair.
    fn slacks(&self) -> (Vec<f64>, Vec<f64>) {
        let none = LpState::default();
        self.program
            .spread(self.warm.as_ref().unwrap_or(&none), self.trace)
    }

    fn solve(&mut self, limit: Option<Duration>) -> Result<LpSolution> {
        let limits = Limits {
            time: limit.map(|limit| limit.saturating_sub(self.start.elapsed())),
            cancel: self.settings.cancel,
        };
        match self.attempt(&limits) {
            Err(LpError::Cancelled) => Err(self.cancelled()?),
            solved => Ok(solved?),
        }
    }

    /// Solves the present program with the solver of the settings, or with Clarabel, where it is compiled in, if that solver
    /// finds nothing that can be used.
    fn attempt(&self, limits: &Limits<'_>) -> Result<LpSolution, LpError> {
        let lp = self.program.lp();
        let solve = |solver: &dyn LpSolver, warm: Option<&LpState>| {
            let solution = solver.solve(lp, warm, limits)?;
            solution.check(lp, solver.name())?;
            Ok(solution)
        };
        let warm = self.warm.as_ref().map(|state| self.program.extend(state));
        let solver = &*self.settings.solver;
        let solved = solve(solver, warm.as_ref());
        #[cfg(feature = "clarabel")]
        if let Err(error @ (LpError::NonFinite { .. } | LpError::NotConverged { .. })) = &solved
            && solver.name() != "clarabel"
        {
            tracing::warn!(solver = solver.name(), %error, "no solution; trying clarabel");
            return solve(&ClarabelSolver::default(), None);
        }
        solved
    }

    /// Takes over a solution as the present point.
    fn adopt(&mut self, solution: LpSolution) {
        let moved = self
            .alpha
            .iter()
            .zip(&solution.state.alpha)
            .map(|(before, now)| (before - now).abs())
            .fold(0.0, f64::max);
        self.moves.push(moved);
        self.rounds += 1;
        self.lower = self.lower.max(solution.lower_bound);
        tracing::debug!(
            round = self.rounds,
            rows = self.program.lp().rows(),
            lower = self.lower,
            moved,
            iterations = solution.iterations,
            "solved"
        );
        self.alpha.clone_from(&solution.state.alpha);
        self.warm = Some(solution.state);
    }

    /// What each category's counts are divided by.
    fn denominators(&self) -> Vec<f64> {
        self.trace
            .categories()
            .iter()
            .map(|category| match self.settings.config.basis {
                PairBasis::InitialPairs => category.initial_pairs as f64,
                PairBasis::Bytes => category.bytes as f64,
            })
            .collect()
    }

    /// The weights as shares of bytes (section 2.1: `alpha_i * bytes_i / denominator_i`, renormalised).
    fn byte_shares(&self) -> Vec<f64> {
        let bytes = self
            .trace
            .categories()
            .iter()
            .map(|category| category.bytes as f64);
        rescaled(&self.alpha, bytes, &self.denominators())
    }

    fn pair_shares(&self) -> Vec<f64> {
        let pairs = self
            .trace
            .categories()
            .iter()
            .map(|category| category.initial_pairs as f64);
        rescaled(&self.alpha, pairs, &self.denominators())
    }

    /// The error that hands out what there is so far.
    fn cancelled(&mut self) -> Result<Error> {
        let partial = match self.rounds {
            0 => None,
            _ => Some(Box::new(self.estimate(StopReason::Cancelled)?)),
        };
        Ok(Error::Cancelled { partial })
    }

    fn estimate(&mut self, stop: StopReason) -> Result<Estimate> {
        let proved = matches!(stop, StopReason::Optimal | StopReason::Gap);
        let upper = if proved {
            self.upper
        } else {
            self.bound()?.min(self.upper)
        };
        let shares = self.byte_shares().into_iter().zip(self.pair_shares());
        let categories = self
            .trace
            .categories()
            .iter()
            .zip(shares)
            .map(|(category, (bytes, pairs))| CategoryShare {
                name: category.name.clone(),
                bytes,
                pairs,
            })
            .collect();
        let name = |i: usize| self.trace.categories()[i].name.clone();
        let similar = indistinguishable(self.trace, SIMILAR)?.into_iter();
        let unmatched = self.unmatched(self.stage_steps).into_iter();
        let warnings = similar
            .map(|(a, b)| Warning::Indistinguishable(name(a), name(b)))
            .chain(unmatched.map(|i| Warning::Unmatched(name(i))))
            .collect();
        let (merge_violation, pair_violation) = match &self.warm {
            Some(state) => (
                self.program.step_slacks(state),
                self.program.pair_slacks(state),
            ),
            None => (Vec::new(), Vec::new()),
        };
        Ok(Estimate {
            categories,
            alpha: self.alpha.clone(),
            objective_lower: self.lower,
            objective_upper: upper.max(self.lower),
            merges: self.stage_steps,
            rounds: self.rounds,
            rows: self.program.lp().rows(),
            stop,
            missing: (self.missing.iter().copied())
                .filter(|&step| step < self.stage_steps)
                .collect(),
            merge_violation,
            pair_violation,
            stability: self.stability.clone(),
            warnings,
            solver: self.settings.solver.name().into(),
        })
    }

    fn save(&self) -> Result<()> {
        match self.checkpoint {
            Some(path) => self.state().save(path),
            None => Ok(()),
        }
    }

    fn state(&self) -> checkpoint::Checkpoint {
        checkpoint::Checkpoint {
            fingerprint: self.fingerprint,
            program: self.program.clone(),
            stage_steps: self.stage_steps,
            alpha: self.alpha.clone(),
            warm: self.warm.clone(),
            lower: self.lower,
            upper: self.upper,
            rounds: self.rounds,
            finished_stages: self.finished_stages,
            stop: self.stop,
            moves: self.moves.clone(),
            stability: self.stability.clone(),
        }
    }

    fn resume(&mut self, path: &Path) -> Result<()> {
        let saved = checkpoint::Checkpoint::load(path, self.fingerprint, self.trace)?;
        tracing::info!(rounds = saved.rounds, path = %path.display(), "resumed");
        self.program = saved.program;
        self.stage_steps = saved.stage_steps;
        self.alpha = saved.alpha;
        self.warm = saved.warm;
        self.lower = saved.lower;
        self.upper = saved.upper;
        self.rounds = saved.rounds;
        self.finished_stages = saved.finished_stages;
        self.stop = saved.stop;
        self.moves = saved.moves;
        self.stability = saved.stability;
        Ok(())
    }
}

/// `weights_i * size_i / denominator_i`, scaled to sum 1.
fn rescaled(weights: &[f64], sizes: impl Iterator<Item = f64>, denominators: &[f64]) -> Vec<f64> {
    let raw: Vec<f64> = weights
        .iter()
        .zip(sizes)
        .zip(denominators)
        .map(|((w, size), den)| w * size / den)
        .collect();
    let total: f64 = raw.iter().sum();
    raw.into_iter().map(|share| share / total).collect()
}

/// Starting weights: finite, not negative, one a category, scaled to sum 1.
fn validated_weights(weights: &[f64], n: usize) -> Result<Vec<f64>> {
    let total: f64 = weights.iter().sum();
    let fine = weights.len() == n
        && weights.iter().all(|w| w.is_finite() && *w >= 0.0)
        && total.is_finite()
        && total > 0.0;
    if !fine {
        return Err(Error::InvalidValue {
            name: "warm start".into(),
            value: format!("{weights:?}"),
            expected: "one finite weight of at least 0 for every category, not all 0",
        });
    }
    Ok(weights.iter().map(|w| w / total).collect())
}

/// Whether a cancel flag is set.
pub(crate) fn is_cancelled(flag: Option<&AtomicBool>) -> bool {
    flag.is_some_and(|flag| flag.load(Ordering::Relaxed))
}
