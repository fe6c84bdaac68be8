//! The whole verifier: attack, bound, branch, and keep the proof.

use std::time::Instant;

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use crate::attack::{Attack, AttackConfig, attack_within};
use crate::branch::{
    BranchConfig, BranchOn, Root, branch_on_activations, branch_on_inputs, combine,
};
use crate::certificate::{CaseProof, Certificate, DecisionTree, GroupProof, RelaxationProof};
use crate::certify::Target;
use crate::combination::{per_weight, single};
use crate::dual::{Grouped, Relaxed, ZonoDual, ZonoDualConfig};
use crate::error::{Error, Result};
use crate::limits::{CancelToken, Limits};
use crate::network::Network;
use crate::report::{CaseReport, Reason, Report, Verdict};
use crate::rounding::add_down;
use crate::spec::{InputBox, Spec, UnsafeCase};

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
        }
    }
}

/// The verifier; see [`VerifierConfig`].
#[derive(Debug, Clone)]
pub struct Verifier {
    config: VerifierConfig,
    cancel: CancelToken,
}

impl Verifier {
    /// Stops when the token is cancelled, with what has been proven by then.
    #[must_use]
    pub fn with_cancel(mut self, cancel: CancelToken) -> Self {
        self.cancel = cancel;
        self
    }

    /// Proves or refutes a specification, or says how far it came.
    ///
    /// # Errors
    ///
    /// [`Error::ShapeMismatch`] if the specification does not fit the network, [`Error::InvalidConfig`] for settings without a meaning.
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
        let started = Instant::now();
        let config = &self.config;
        if !(config.inference_slack.is_finite() && config.inference_slack >= 0.0) {
            return Err(Error::InvalidConfig {
                field: "inference_slack",
                reason: format!("{} is no distance", config.inference_slack),
            });
        }
        let limits = Limits::within(config.timeout_seconds, self.cancel.clone())?;
        let mut cases: Vec<UnsafeCase> = spec.cases.clone();
        let mut certificate = Certificate::default();
        // A violation ends the search, so all cases are attacked first.
        let mut attacks = Vec::with_capacity(cases.len());
        for case in &cases {
            let found = attack_within(network, case, &config.attack, &[], device, &limits)?;
            if found.violates {
                return Ok((falsified(found, started), certificate));
            }
            attacks.push(found);
        }
        for space in cases.iter_mut().flat_map(|case| &mut case.outputs) {
            space.bound += config.inference_slack;
        }
        let on_inputs = match config.branch.on {
            BranchOn::Inputs => true,
            BranchOn::Auto => network.inputs() <= 20,
            BranchOn::Activations | BranchOn::Nothing => false,
        };
        let mut reports: Vec<Option<CaseReport>> = vec![None; cases.len()];
        if on_inputs {
            for (index, case) in cases.iter().enumerate() {
                let mut violation = None;
                let mut confirm = |point: &[f64]| {
                    let suggestions = [point.to_vec()];
                    let stated = &spec.cases[index];
                    let found = attack_within(
                        network,
                        stated,
                        &config.attack,
                        &suggestions,
                        device,
                        &limits,
                    )?;
                    let violates = found.violates;
                    violation = Some(found).filter(|_| violates);
                    Ok(violates)
                };
                let outcome =
                    branch_on_inputs(network, case, &config.branch, &limits, &mut confirm)?;
                if let Some(found) = violation {
                    return Ok((falsified(found, started), certificate));
                }
                let proven = outcome.stopped.is_none() && outcome.bound > 0.0;
                if proven {
                    certificate
                        .cases
                        .insert(index, CaseProof::Inputs(outcome.tree));
                }
                reports[index] = Some(CaseReport {
                    verdict: verdict(outcome.bound, outcome.stopped, proven, &attacks[index]),
                    root_bound: outcome.bound,
                    nodes: outcome.nodes,
                });
            }
        } else {
            let mut rest: Vec<usize> = (0..cases.len()).collect();
            while let Some(&first) = rest.first() {
                let input = &cases[first].input;
                let (same, others): (Vec<usize>, Vec<usize>) = rest
                    .iter()
                    .partition(|&&index| cases[index].input == *input);
                rest = others;
                let found = self.over_one_box(
                    network,
                    input,
                    &spec.cases,
                    &cases,
                    &same,
                    &attacks,
                    &limits,
                    device,
                    &mut reports,
                    &mut certificate,
                )?;
                if let Some(found) = found {
                    return Ok((falsified(found, started), certificate));
                }
            }
        }
        let reports: Vec<CaseReport> = reports.into_iter().flatten().collect();
        let bound = reports
            .iter()
            .map(|case| case.verdict.bound())
            .fold(f64::INFINITY, f64::min);
        let open = reports.iter().find_map(|case| match &case.verdict {
            Verdict::Unknown { reason, .. } => Some(*reason),
            _ => None,
        });
        let upper = attacks
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
        Ok((
            Report {
                verdict,
                cases: reports,
                seconds: started.elapsed().as_secs_f64(),
            },
            certificate,
        ))
    }

    /// Bounds the half-spaces of all cases over one box together, then branches where that was not enough.
    #[allow(clippy::too_many_arguments)]
    fn over_one_box(
        &self,
        network: &Network,
        input: &InputBox,
        original: &[UnsafeCase],
        cases: &[UnsafeCase],
        same: &[usize],
        attacks: &[Attack],
        limits: &Limits,
        device: &Device,
        reports: &mut [Option<CaseReport>],
        certificate: &mut Certificate,
    ) -> Result<Option<Attack>> {
        let clock = Instant::now();
        let mut bound = self.config.bound.clone();
        let relaxed: Relaxed<'_> =
            bound
                .clone()
                .init()
                .relax(network, input, device, limits.clone())?;
        let mut branch = self.config.branch.clone();
        let refined = branch.refine.chosen(network, &relaxed.hidden);
        if branch.on == BranchOn::Nothing {
            branch.nodes = 1;
        } else if refined {
            // Decisions that tighten the layers behind them prove more in the time that groups take.
            bound.groups = None;
        }
        let method: ZonoDual = bound.init();
        let rows: Vec<(usize, usize)> = same
            .iter()
            .flat_map(|&case| (0..cases[case].outputs.len()).map(move |space| (case, space)))
            .collect();
        if rows.is_empty() {
            return Ok(None);
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
        let found = method.bound(&relaxed, &target, clock)?;
        let relaxation = certificate.relaxations.len();
        certificate.relaxations.push(RelaxationProof {
            hidden: relaxed.proof.clone(),
            pairs: relaxed.sets.iter().map(|sets| sets.pairs.clone()).collect(),
        });
        // The rows that are left to branch on: case, combination of its half-spaces, and the root's bound.
        let mut left: Vec<(usize, Vec<u16>, f64)> = Vec::new();
        let mut roots = Vec::new();
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
                let bound = per_weight(add_down(grouped.values[row], -half_space.bound), &weights);
                certificate.cases.insert(
                    case,
                    grouped_proof(grouped, row, count, relaxation, weights),
                );
                reports[case] = Some(CaseReport {
                    verdict: Verdict::Verified { bound },
                    root_bound,
                    nodes: 1,
                });
                continue;
            }
            let multipliers: Vec<Vec<f32>> = found
                .bound
                .multipliers
                .iter()
                .map(|all| {
                    let width = all.len() / count;
                    all[row * width..(row + 1) * width]
                        .iter()
                        .map(|&x| x as f32)
                        .collect()
                })
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
            left.push((case, weights, root_bound));
            roots.push(Root {
                space: half_space.clone(),
                value,
                multipliers,
            });
        }
        let refute = |row: usize, point: Vec<f64>| {
            let config = AttackConfig {
                restarts: 0,
                ..self.config.attack.clone()
            };
            let case = &original[left[row].0];
            attack_within(network, case, &config, &[point], device, limits)
        };
        let searched =
            branch_on_activations(&relaxed, &roots, refined, &branch, limits, &refute, device)?;
        if let Some(found) = searched.found {
            return Ok(Some(found));
        }
        let stopped = match searched.stopped {
            Some(Reason::Nodes) if self.config.branch.on == BranchOn::Nothing => {
                Some(Reason::NoBranching)
            }
            other => other,
        };
        let tree = certificate.trees.len();
        for (row, (case, weights, root_bound)) in left.iter().enumerate() {
            let (case, root_bound) = (*case, *root_bound);
            let bound = per_weight(searched.bounds[row], weights);
            let nodes = searched.nodes[row];
            // `value - bound` may round down to nothing.
            let proven = searched.proven[row] && bound > 0.0;
            if proven {
                certificate
                    .cases
                    .insert(case, CaseProof::Activations { tree });
            }
            reports[case] = Some(CaseReport {
                verdict: verdict(bound, stopped, proven, &attacks[case]),
                root_bound,
                nodes,
            });
        }
        if !left.is_empty() {
            certificate.trees.push(DecisionTree {
                relaxation,
                refined,
                rows: left
                    .into_iter()
                    .map(|(case, weights, _)| (case, weights))
                    .collect(),
                nodes: searched.tree,
            });
        }
        Ok(None)
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
    let multipliers = grouped
        .multipliers
        .iter()
        .map(|all| {
            let width = all.len() / rows;
            all[row * width..(row + 1) * width].to_vec()
        })
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

fn verdict(bound: f64, stopped: Option<Reason>, proven: bool, attack: &Attack) -> Verdict {
    if proven {
        Verdict::Verified { bound }
    } else {
        Verdict::Unknown {
            bound,
            upper: attack.value,
            reason: stopped.unwrap_or(Reason::Exhausted),
        }
    }
}

fn falsified(found: Attack, started: Instant) -> Report {
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
        seconds: started.elapsed().as_secs_f64(),
    }
}
