//! The whole verifier: attack, bound, branch, and keep the proof.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use crate::attack::{Attack, AttackConfig, attack, attack_within};
use crate::branch::{
    BranchConfig, BranchOn, DecisionSearch, InputSearch, Root, branch_on_activations,
    branch_on_inputs, combine,
};
use crate::certificate::{
    CaseProof, Certificate, DecisionTree, GroupProof, RelaxationProof, TreeRow,
};
use crate::certify::{Target, row_of};
use crate::checkpoint::{
    self, BoxSearch, Current, Keeper, Key, OpenCase, Place, Progress, Settled,
};
use crate::combination::{per_weight, single};
use crate::dual::{Grouped, Relaxed, ZonoDualConfig};
use crate::error::{Error, Result};
use crate::limits::{CancelToken, Limits};
use crate::network::Network;
use crate::report::{CaseReport, Reason, Report, Verdict};
use crate::rounding::add_down;
use crate::spec::{Spec, UnsafeCase};

/// Settings of the verifier.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VerifierConfig {
    /// The bound.
    pub bound: ZonoDualConfig,
    /// The attack.
    pub attack: AttackConfig,
    /// Branch and bound.
    pub branch: BranchConfig,
    /// Wall-clock seconds for a whole specification; `None` for no limit, the default.
    pub timeout_seconds: Option<f64>,
    /// A distance from the unsafe set that is demanded on top, to cover the rounding of an inference engine. Default 0.
    pub inference_slack: f64,
}

impl Default for VerifierConfig {
    fn default() -> Self {
        Self {
            bound: ZonoDualConfig::default(),
            attack: AttackConfig::default(),
            branch: BranchConfig::default(),
            timeout_seconds: None,
            inference_slack: 0.0,
        }
    }
}

impl VerifierConfig {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the limit of time.
    #[must_use]
    pub fn with_timeout_seconds(mut self, seconds: f64) -> Self {
        self.timeout_seconds = Some(seconds);
        self
    }

    /// Sets branch and bound.
    #[must_use]
    pub fn with_branch(mut self, branch: BranchConfig) -> Self {
        self.branch = branch;
        self
    }

    /// The verifier with these settings.
    #[must_use]
    pub fn init(self) -> Verifier {
        Verifier {
            config: self,
            cancel: CancelToken::new(),
            checkpoint: None,
        }
    }
}

/// The verifier; see [`VerifierConfig`].
#[derive(Debug, Clone)]
pub struct Verifier {
    config: VerifierConfig,
    cancel: CancelToken,
    /// The file, and the seconds from one checkpoint to the next.
    checkpoint: Option<(PathBuf, f64)>,
}

impl Verifier {
    /// Stops when the token is cancelled, with what has been proven by then.
    #[must_use]
    pub fn with_cancel(mut self, cancel: CancelToken) -> Self {
        self.cancel = cancel;
        self
    }

    /// Writes what the search has reached to a file, from which [`resume`](Self::resume) goes on: every so many seconds, and when a
    /// limit of time or nodes, or the token, ends the search. The file is replaced as a whole, and removed when the specification is
    /// proven or refuted.
    ///
    /// It holds the trees of branch and bound with the multipliers of their leaves and the bounds of their open nodes, about as much as
    /// the search has in memory.
    #[must_use]
    pub fn with_checkpoint(mut self, path: impl Into<PathBuf>, every_seconds: f64) -> Self {
        self.checkpoint = Some((path.into(), every_seconds));
        self
    }

    /// Proves or refutes a specification, or says how far it came.
    ///
    /// # Errors
    ///
    /// [`Error::ShapeMismatch`] if the specification does not fit the network, [`Error::InvalidConfig`] for settings without a meaning,
    /// [`Error::Io`] if a checkpoint cannot be written.
    pub fn verify(&self, network: &Network, spec: &Spec, device: &Device) -> Result<Report> {
        self.prove(network, spec, device).map(|(report, _)| report)
    }

    /// As [`verify`](Self::verify), with the proof of every case that was verified.
    ///
    /// # Errors
    ///
    /// As [`verify`](Self::verify).
    pub fn prove(
        &self,
        network: &Network,
        spec: &Spec,
        device: &Device,
    ) -> Result<(Report, Certificate)> {
        self.run(network, spec, device, false)
    }

    /// Goes on with a search from its checkpoint, under the limits of this verifier: nodes count from the start of the search, time
    /// from this call. The answer is the same as if the search had never been stopped.
    ///
    /// A stage that a limit cut short, such as the bounds of the hidden layers, is done again from its start.
    ///
    /// # Errors
    ///
    /// As [`verify`](Self::verify); [`Error::InvalidConfig`] without [`with_checkpoint`](Self::with_checkpoint), [`Error::Io`] if the
    /// file cannot be read, [`Error::CheckpointFormat`] if it is damaged, and [`Error::CheckpointMismatch`] if it was made with another
    /// network, specification or other settings than limits.
    pub fn resume(
        &self,
        network: &Network,
        spec: &Spec,
        device: &Device,
    ) -> Result<(Report, Certificate)> {
        self.run(network, spec, device, true)
    }

    /// A search from its start, or from its checkpoint.
    fn run(
        &self,
        network: &Network,
        spec: &Spec,
        device: &Device,
        resumed: bool,
    ) -> Result<(Report, Certificate)> {
        let limits = Limits::within(self.config.timeout_seconds, self.cancel.clone())?;
        let run = Run::new(&self.config, network, spec, device, &limits)?;
        let place = self.place(network, spec)?;
        let mut keeper = Keeper::new(place.as_ref(), &limits);
        let progress = match &place {
            Some(place) if resumed => checkpoint::read(place, network, &run.cases)?,
            None if resumed => {
                return Err(Error::InvalidConfig {
                    field: "checkpoint",
                    reason: "there is no file to go on from".to_owned(),
                });
            }
            _ => {
                let progress = Progress::default();
                // A file that cannot be written is found out now, and not when there is something to lose.
                keeper.write(&progress)?;
                progress
            }
        };
        run.finish(progress, keeper)
    }

    /// Where checkpoints of this search go.
    fn place(&self, network: &Network, spec: &Spec) -> Result<Option<Place>> {
        let Some((path, every)) = &self.checkpoint else {
            return Ok(None);
        };
        let every = Duration::try_from_secs_f64(*every).map_err(|error| Error::InvalidConfig {
            field: "every_seconds",
            reason: error.to_string(),
        })?;
        Ok(Some(Place {
            path: path.clone(),
            every,
            key: Key::new(network, spec, &self.config),
        }))
    }
}

/// One run of the verifier.
struct Run<'a> {
    config: &'a VerifierConfig,
    network: &'a Network,
    spec: &'a Spec,
    device: &'a Device,
    limits: &'a Limits,
    started: Instant,
    /// The cases with the slack that the settings demand.
    cases: Vec<UnsafeCase>,
}

impl<'a> Run<'a> {
    fn new(
        config: &'a VerifierConfig,
        network: &'a Network,
        spec: &'a Spec,
        device: &'a Device,
        limits: &'a Limits,
    ) -> Result<Self> {
        if !(config.inference_slack.is_finite() && config.inference_slack >= 0.0) {
            return Err(Error::InvalidConfig {
                field: "inference_slack",
                reason: format!("{} is no distance", config.inference_slack),
            });
        }
        spec.check_sizes(network.inputs(), network.outputs())?;
        let mut cases = spec.cases.clone();
        for space in cases.iter_mut().flat_map(|case| &mut case.outputs) {
            space.bound += config.inference_slack;
        }
        Ok(Self {
            config,
            network,
            spec,
            device,
            limits,
            started: Instant::now(),
            cases,
        })
    }

    /// Goes on from what has been reached, and says what it came to.
    fn finish(
        &self,
        mut progress: Progress,
        mut keeper: Keeper<'_>,
    ) -> Result<(Report, Certificate)> {
        if let Some(found) = self.search(&mut progress, &mut keeper)? {
            keeper.remove()?;
            return Ok((self.falsified(found), progress.certificate));
        }
        let proven = |case| progress.settled.get(&case).is_some_and(|case| case.proven);
        if (0..self.cases.len()).all(proven) {
            keeper.remove()?;
        } else {
            keeper.write(&progress)?;
        }
        Ok(self.conclude(progress))
    }

    /// Works through all cases; a counterexample ends it.
    fn search(&self, progress: &mut Progress, keeper: &mut Keeper<'_>) -> Result<Option<Attack>> {
        // A violation ends the search, so all cases are attacked first.
        for case in self.spec.cases.iter().skip(progress.attacks.len()) {
            let attack = &self.config.attack;
            let found = attack_within(self.network, case, attack, &[], self.device, self.limits)?;
            if found.violates {
                return Ok(Some(found));
            }
            keeper.seal(progress)?;
            progress.attacks.push(found);
        }
        let on_inputs = match self.config.branch.on {
            BranchOn::Inputs => true,
            BranchOn::Auto => self.network.inputs() <= 20,
            BranchOn::Activations | BranchOn::Nothing => false,
        };
        if on_inputs {
            for case in 0..self.cases.len() {
                if progress.settled.contains_key(&case) || progress.turned.contains_key(&case) {
                    continue;
                }
                let found = self.on_inputs(case, progress, keeper)?;
                if found.is_some() {
                    return Ok(found);
                }
                keeper.seal(progress)?;
            }
        }
        let mut rest: Vec<usize> = (0..self.cases.len())
            .filter(|case| !on_inputs || progress.turned.contains_key(case))
            .collect();
        while let Some(&first) = rest.first() {
            // Cases over one box are bounded together.
            let (same, others): (Vec<usize>, Vec<usize>) = rest.into_iter().partition(|&index| {
                index == first || self.cases[index].input == self.cases[first].input
            });
            rest = others;
            if same.iter().all(|case| progress.settled.contains_key(case)) {
                continue;
            }
            let found = self.over_one_box(&same, progress, keeper)?;
            if found.is_some() {
                return Ok(found);
            }
            keeper.seal(progress)?;
        }
        Ok(None)
    }

    /// An attack from a point that came up in a search. It is short, and no limit ends it: the search would go on otherwise afterwards.
    fn attack_from(
        &self,
        case: usize,
        point: Vec<f64>,
        config: &AttackConfig,
    ) -> Result<Option<Attack>> {
        let case = &self.spec.cases[case];
        let found = attack(self.network, case, config, &[point], self.device)?;
        Ok(found.violates.then_some(found))
    }

    /// Branches on the inputs of a case.
    fn on_inputs(
        &self,
        index: usize,
        progress: &mut Progress,
        keeper: &mut Keeper<'_>,
    ) -> Result<Option<Attack>> {
        let start = progress.inputs.remove(&index);
        let mut found = None;
        let (search, stopped) = branch_on_inputs(
            self.network,
            &self.cases[index],
            &self.config.branch,
            self.limits,
            &mut |point| {
                found = self.attack_from(index, point, &self.config.attack)?;
                Ok(found.is_some())
            },
            start,
            &mut |search: &InputSearch| keeper.tick(progress, Current::Inputs(index, search)),
        )?;
        if found.is_some() {
            return Ok(found);
        }
        match stopped {
            // Of signs there are finitely many.
            Some(Reason::Exhausted) if self.config.branch.on == BranchOn::Auto => {
                progress.turned.insert(index, search.bound());
            }
            Some(reason) if may_go_on(reason) => {
                progress.reasons.insert(index, reason);
                progress.inputs.insert(index, search);
            }
            stopped => progress.close_inputs(index, search, stopped),
        }
        Ok(None)
    }

    /// Bounds the half-spaces of all cases over one box together, then branches where that was not enough.
    fn over_one_box(
        &self,
        same: &[usize],
        progress: &mut Progress,
        keeper: &mut Keeper<'_>,
    ) -> Result<Option<Attack>> {
        let first = same[0];
        let (relaxed, start) = match progress.boxes.get_mut(&first) {
            None => (self.root(same, progress, keeper)?, None),
            Some(open) => {
                let proof = &progress.certificate.relaxations[open.relaxation];
                let method = self.config.bound.clone().init();
                let input = &self.cases[first].input;
                let limits = self.limits.clone();
                let relaxed = method.restore(self.network, input, self.device, limits, proof)?;
                (relaxed, open.search.take())
            }
        };
        let Some(open) = progress.boxes.get(&first) else {
            return Ok(None);
        };
        let mut branch = self.config.branch.clone();
        if branch.on == BranchOn::Nothing {
            branch.nodes = 1;
        }
        let short = AttackConfig {
            restarts: 0,
            ..self.config.attack.clone()
        };
        let refute = |row: usize, point| self.attack_from(open.rows[row].case, point, &short);
        let searched = branch_on_activations(
            &relaxed,
            &open.roots,
            open.refined,
            &branch,
            self.limits,
            &refute,
            start,
            &mut |search: &DecisionSearch| keeper.tick(progress, Current::Decisions(first, search)),
            self.device,
        )?;
        if searched.found.is_some() {
            return Ok(searched.found);
        }
        let stopped = match searched.stopped {
            Some(Reason::Nodes) if branch.on == BranchOn::Nothing => Some(Reason::NoBranching),
            other => other,
        };
        match stopped {
            Some(reason) if may_go_on(reason) => {
                progress.reasons.insert(first, reason);
                if let Some(open) = progress.boxes.get_mut(&first) {
                    open.search = Some(searched.search);
                }
            }
            stopped => {
                if let Some(open) = progress.boxes.remove(&first) {
                    progress.close_box(open, searched.search, stopped);
                }
            }
        }
        Ok(None)
    }

    /// Bounds the half-spaces of all cases over one box; those that are left to branch on become an open box.
    fn root(
        &self,
        same: &[usize],
        progress: &mut Progress,
        keeper: &mut Keeper<'_>,
    ) -> Result<Relaxed<'_>> {
        let clock = Instant::now();
        let (network, cases) = (self.network, &self.cases);
        let input = &cases[same[0]].input;
        let mut bound = self.config.bound.clone();
        let limits = self.limits.clone();
        let relaxed = (bound.clone().init()).relax(network, input, self.device, limits)?;
        let branch = &self.config.branch;
        let refined = branch.refine.chosen(network, &relaxed.hidden);
        if branch.on != BranchOn::Nothing && refined {
            // Decisions that tighten the layers behind them prove more in the time that groups take.
            bound.groups = None;
        }
        let rows: Vec<(usize, usize)> = same
            .iter()
            .flat_map(|&case| (0..cases[case].outputs.len()).map(move |space| (case, space)))
            .collect();
        if rows.is_empty() {
            return Ok(relaxed);
        }
        let coefficients: Vec<f64> = rows
            .iter()
            .flat_map(|&(case, space)| cases[case].outputs[space].coefficients.iter().copied())
            .collect();
        let target = Target {
            map: relaxed.hidden.len(),
            rows: rows.len(),
            coefficients,
        };
        let method = bound.init();
        let found = method.bound(&relaxed, &target, clock)?;
        let relaxation = progress.certificate.relaxations.len();
        let mut proven = Vec::new();
        let mut open = BoxSearch {
            relaxation,
            refined,
            rows: Vec::new(),
            roots: Vec::new(),
            search: None,
        };
        for &case in same {
            // The half-space that is closest to being impossible.
            let best = rows
                .iter()
                .enumerate()
                .filter(|(_, (owner, _))| *owner == case)
                .map(|(row, &(_, space))| {
                    (
                        row,
                        space,
                        found.bound.lower[row] - cases[case].outputs[space].bound,
                    )
                })
                .max_by(|a, b| a.2.total_cmp(&b.2));
            let Some((row, space, root_bound)) = best else {
                continue;
            };
            let spaces = &cases[case].outputs;
            let together = if spaces.len() > 1 && root_bound <= 0.0 {
                let first = row - space;
                let own: Vec<Vec<f64>> = found
                    .bound
                    .multipliers
                    .iter()
                    .map(|all| {
                        let width = all.len() / rows.len();
                        all[first * width..(first + spaces.len()) * width].to_vec()
                    })
                    .collect();
                combine(&method, &relaxed, spaces, &own, root_bound)?
            } else {
                None
            };
            // One half-space, or a combination of several as the only row of an ascent of its own.
            let (weights, half_space, root_bound, found, row, count) = match &together {
                None => (
                    single(spaces.len(), space),
                    &spaces[space],
                    root_bound,
                    &found,
                    row,
                    rows.len(),
                ),
                Some(together) => (
                    together.weights.clone(),
                    &together.space,
                    together.distance,
                    &together.found,
                    0,
                    1,
                ),
            };
            if let Some(grouped) = found
                .grouped
                .as_ref()
                .filter(|grouped| grouped.values[row] > half_space.bound)
            {
                let distance = add_down(grouped.values[row], -half_space.bound);
                let settled = Settled {
                    bound: per_weight(distance, &weights),
                    root_bound,
                    nodes: 1,
                    proven: true,
                    stopped: None,
                };
                let proof = grouped_proof(grouped, row, count, relaxation, weights);
                proven.push((case, settled, proof));
                continue;
            }
            let multipliers: Vec<Vec<f32>> = row_of(&found.bound.multipliers, row, count)
                .map(|rho| rho.iter().map(|&x| x as f32).collect())
                .collect();
            // The stored multipliers have 32 bits, so their own value counts.
            let wide = crate::certificate::wide(&multipliers);
            let value = crate::certificate::node_bound(
                network,
                input,
                half_space,
                &relaxed.hidden,
                &relaxed.sets,
                &wide,
            )?;
            open.rows.push(OpenCase {
                case,
                weights,
                root_bound,
            });
            open.roots.push(Root {
                space: half_space.clone(),
                value,
                multipliers,
            });
        }
        // From here on it is certain that nothing was cut short, or that the last checkpoint is written.
        keeper.seal(progress)?;
        progress.certificate.relaxations.push(RelaxationProof {
            hidden: relaxed.proof.clone(),
            pairs: relaxed.sets.iter().map(|sets| sets.pairs.clone()).collect(),
        });
        for (case, settled, proof) in proven {
            progress.settled.insert(case, settled);
            progress.certificate.cases.insert(case, proof);
        }
        if !open.rows.is_empty() {
            progress.boxes.insert(same[0], open);
        }
        Ok(relaxed)
    }

    /// The answer, with what open searches have proven.
    fn conclude(&self, mut progress: Progress) -> (Report, Certificate) {
        for (first, mut open) in std::mem::take(&mut progress.boxes) {
            if let Some(search) = open.search.take() {
                let stopped = progress.reasons.get(&first).copied();
                progress.close_box(open, search, stopped);
            }
        }
        for (case, search) in std::mem::take(&mut progress.inputs) {
            let stopped = progress.reasons.get(&case).copied();
            progress.close_inputs(case, search, stopped);
        }
        let cases: Vec<CaseReport> = progress
            .settled
            .iter()
            .map(|(&case, settled)| CaseReport {
                verdict: verdict(settled, &progress.attacks[case]),
                root_bound: settled.root_bound,
                nodes: settled.nodes,
            })
            .collect();
        let bound = cases
            .iter()
            .map(|case| case.verdict.bound())
            .fold(f64::INFINITY, f64::min);
        let open = cases.iter().find_map(|case| match &case.verdict {
            Verdict::Unknown { reason, .. } => Some(*reason),
            _ => None,
        });
        let upper = progress
            .attacks
            .iter()
            .map(|found| found.value)
            .fold(f64::INFINITY, f64::min);
        let verdict = match open {
            None => Verdict::Verified { bound },
            Some(reason) => Verdict::Unknown {
                bound,
                upper,
                reason,
            },
        };
        let report = Report {
            verdict,
            cases,
            seconds: self.started.elapsed().as_secs_f64(),
        };
        (report, progress.certificate)
    }

    fn falsified(&self, found: Attack) -> Report {
        let verdict = Verdict::Falsified {
            input: found.input,
            output: found.output,
        };
        let case = CaseReport {
            verdict: verdict.clone(),
            root_bound: f64::NEG_INFINITY,
            nodes: 0,
        };
        Report {
            verdict,
            cases: vec![case],
            seconds: self.started.elapsed().as_secs_f64(),
        }
    }
}

/// Whether a later run can do more for a search that ended so.
fn may_go_on(reason: Reason) -> bool {
    matches!(reason, Reason::Timeout | Reason::Cancelled | Reason::Nodes)
}

impl Progress {
    /// Notes what a search on inputs has proven.
    fn close_inputs(&mut self, case: usize, search: InputSearch, stopped: Option<Reason>) {
        let bound = search.bound();
        let settled = Settled {
            bound,
            root_bound: bound,
            nodes: search.nodes[0],
            proven: stopped.is_none() && bound > 0.0,
            stopped,
        };
        if settled.proven {
            let proof = CaseProof::Inputs(search.tree);
            self.certificate.cases.insert(case, proof);
        }
        self.settled.insert(case, settled);
    }

    /// Notes what a search on activations has proven.
    fn close_box(&mut self, open: BoxSearch, search: DecisionSearch, stopped: Option<Reason>) {
        let tree = self.certificate.trees.len();
        let bounds = search.bounds(&open.roots).into_iter().zip(&search.nodes);
        for (row, ((bound, proven), &nodes)) in open.rows.iter().zip(bounds) {
            let mut bound = per_weight(bound, &row.weights);
            if let Some(before) = self.turned.get(&row.case).filter(|_| !proven) {
                bound = bound.max(*before);
            }
            let settled = Settled {
                bound,
                root_bound: row.root_bound,
                nodes,
                // `value - bound` may round down to nothing.
                proven: proven && bound > 0.0,
                stopped,
            };
            if settled.proven {
                let proof = CaseProof::Activations { tree };
                self.certificate.cases.insert(row.case, proof);
            }
            self.settled.insert(row.case, settled);
        }
        self.certificate.trees.push(DecisionTree {
            relaxation: open.relaxation,
            refined: open.refined,
            rows: (open.rows.into_iter())
                .map(|row| TreeRow {
                    case: row.case,
                    weights: row.weights,
                })
                .collect(),
            nodes: search.tree,
        });
    }
}

/// The proof of one row by groups.
fn grouped_proof(
    grouped: &Grouped,
    row: usize,
    rows: usize,
    relaxation: usize,
    weights: Vec<u16>,
) -> CaseProof {
    let multipliers = row_of(&grouped.multipliers, row, rows)
        .map(<[f64]>::to_vec)
        .collect();
    let groups = grouped
        .neurons
        .iter()
        .zip(&grouped.trees[row])
        .map(|(neurons, tree)| GroupProof {
            neurons: neurons.clone(),
            tree: tree.clone(),
        })
        .collect();
    CaseProof::Groups {
        relaxation,
        weights,
        multipliers,
        groups,
    }
}

fn verdict(settled: &Settled, attack: &Attack) -> Verdict {
    let bound = settled.bound;
    if settled.proven {
        Verdict::Verified { bound }
    } else {
        Verdict::Unknown {
            bound,
            upper: attack.value,
            reason: settled.stopped.unwrap_or(Reason::Exhausted),
        }
    }
}
