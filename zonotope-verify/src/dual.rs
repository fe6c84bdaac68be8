//! ZonoDual: Lagrangian decomposition over zonotopes, in the paper's settings and in ours.
//!
//! The network is cut between its layers. Every cut gets multipliers `rho_i`, every hidden layer an inner problem `min -rho_i z + c2 relu(z)` over a set that
//! contains the layer's reachable values; for any multipliers the sum of the inner minima bounds the output from below (equation of 2.3 in the design,
//! section 3 of the paper). The sets are products of single neurons' boxes, of pairs' polygons and of groups' zonotopes, each cut with
//! its box. The multipliers start where alpha-CROWN leaves off, so that the first value is no worse than alpha-CROWN's on the
//! same bounds, and ascend.

use std::sync::Arc;
use std::time::Instant;

use burn::Tensor;
use burn::tensor::Device;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

pub use crate::ascent::Schedule;
use crate::ascent::{Ascent, DeviceGroup, DeviceLayer};
use crate::certificate::RelaxationProof;
use crate::certify::{DualValues, Multipliers, Target, copy_row, dual_values};
use crate::crown::{
    AlphaCrownConfig, HiddenProof, IntermediateBounds, Search, output_bounds, proven_bounds,
};
use crate::error::{Error, Result};
use crate::groups::{self, Group, GroupConfig, Leaf, LeafBatch, ObjectiveLeaves, SplitTree};
use crate::interval::{Bounds, check_input};
use crate::limits::{Limits, RunOptions};
use crate::network::Network;
use crate::objective::Objective;
use crate::pairs::{Outline, PairTable};
use crate::partition::{PairRule, Scope, by_similarity};
use crate::report::Reason;
use crate::sets::{GroupSet, LayerSets};
use crate::spec::InputBox;
use crate::zonotope::{Zonotope, ZonotopeConfig};

/// Where the multipliers start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Start {
    /// The multipliers of Wong and Kolter's bound: the paper's start.
    WongKolter,
    /// Those of alpha-CROWN's bound of the output.
    AlphaCrown(AlphaCrownConfig),
    /// All zero.
    Zero,
    /// Those of an earlier run: a matrix `rows x width` for every hidden layer.
    Given(Vec<Vec<f64>>),
}

/// How neurons are taken two and two.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PairsConfig {
    /// Who is paired with whom. Default: similarity.
    pub rule: PairRule,
    /// Which neurons. Default: the unstable ones.
    pub over: Scope,
    /// Whether the polygons are cut with the neurons' bounds. Default: yes; the paper's experiments did not.
    pub intersect: bool,
    /// The polygon that the ascent works with. Default: an outer one of 48 sides. Proofs always use the exact one.
    pub outline: Outline,
}

impl Default for PairsConfig {
    fn default() -> Self {
        Self {
            rule: PairRule::Similarity,
            over: Scope::Unstable,
            intersect: true,
            outline: Outline::default(),
        }
    }
}

/// The size of the first step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepSize {
    /// As it stands.
    Absolute(f64),
    /// A multiple of the mean magnitude of the start's multipliers.
    Relative(f64),
}

/// The ascent of the multipliers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AscentConfig {
    /// Number of steps. Default 300.
    pub steps: usize,
    /// The first step size. Default 0.067 of the mean multiplier.
    pub step_size: StepSize,
    /// How it falls. Default: to a twentieth.
    pub schedule: Schedule,
}

impl Default for AscentConfig {
    fn default() -> Self {
        Self {
            steps: 300,
            step_size: StepSize::Relative(0.067),
            schedule: Schedule::Geometric { to: 0.05 },
        }
    }
}

/// Groups of neurons in the last hidden layer, solved by branch and bound over their signs (2.9 F and G of the design) in place of the paper's
/// mixed-integer programs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GroupsConfig {
    /// Neurons of a group at most; more unstable ones are cut into several groups by similarity. Default 256.
    pub dimension: usize,
    /// The first search.
    pub first: GroupConfig,
    /// The joint ascent of the layers' and the cases' multipliers; `None` for none.
    pub joint: Option<JointConfig>,
    /// The last search, from the multipliers of the joint ascent.
    pub last: GroupConfig,
}

impl Default for GroupsConfig {
    fn default() -> Self {
        Self {
            dimension: 256,
            first: GroupConfig::new().with_nodes(511),
            joint: Some(JointConfig::default()),
            last: GroupConfig::new(),
        }
    }
}

/// The joint ascent (2.9 G of the design).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JointConfig {
    /// Steps of the layers' multipliers. Default 150.
    pub steps: usize,
    /// Their first step size, as a share of the first of the ascent before. Default a quarter.
    pub step_share: f64,
    /// What is left of it at the last step. Default a twentieth.
    pub to: f64,
    /// Steps of the cases' multipliers for each of them. Default 2.
    pub inner_steps: usize,
    /// Length of those, in units of the objective's mean coefficient. Default 0.03.
    pub inner_step_size: f64,
    /// Width of the soft minimum over the cases, as a share of the bound. Default 0.02.
    pub temperature: f64,
}

impl Default for JointConfig {
    fn default() -> Self {
        Self {
            steps: 150,
            step_share: 0.25,
            to: 0.05,
            inner_steps: 2,
            inner_step_size: 0.03,
            temperature: 0.02,
        }
    }
}

/// Settings of ZonoDual.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ZonoDualConfig {
    /// Bounds of the hidden layers. Default: alpha-CROWN.
    pub intermediate: IntermediateBounds,
    /// Start of the multipliers. Default: alpha-CROWN with 40 steps.
    pub start: Start,
    /// Pairs of neurons; `None` for boxes only.
    pub pairs: Option<PairsConfig>,
    /// The ascent.
    pub ascent: AscentConfig,
    /// Groups of the last hidden layer; `None` for pairs only.
    pub groups: Option<GroupsConfig>,
    /// Seed of random pairs.
    pub seed: u64,
}

impl Default for ZonoDualConfig {
    fn default() -> Self {
        Self {
            intermediate: IntermediateBounds::default(),
            start: Start::AlphaCrown(AlphaCrownConfig::new().with_steps(40)),
            pairs: Some(PairsConfig::default()),
            ascent: AscentConfig::default(),
            groups: Some(GroupsConfig::default()),
            seed: 0,
        }
    }
}

/// The experiments of the paper, whose settings [`ZonoDualConfig::paper`] gives (table in 2.7 of the design, from the authors' scripts).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PaperExperiment {
    /// MNIST FFNet, Deep or Wide; only the output is bounded by the method.
    MnistLastLayer,
    /// CIFAR-10, SGD or Madry; only the output.
    CifarLastLayer,
    /// FFNet; every neuron is bounded by the baseline first.
    FfnetAllLayers,
    /// Deep; every neuron.
    DeepAllLayers,
    /// Wide; every neuron.
    WideAllLayers,
}

impl ZonoDualConfig {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The settings of the paper's experiments: polygons with all their vertices, all neurons, no cut with the bounds, absolute step sizes.
    ///
    /// The bounds of the hidden layers are the cheap ones of the paper; for the experiments with all layers the caller gives those of the
    /// compared method by [`IntermediateBounds::Given`].
    #[must_use]
    pub fn paper(experiment: PaperExperiment) -> Self {
        use PaperExperiment as E;
        let (rule, step_size, every, stairs, factor) = match experiment {
            E::MnistLastLayer => (PairRule::Similarity, 1e-2, 100, 10, 0.75),
            E::CifarLastLayer => (PairRule::Spatial, 2.5e-3, 200, 5, 0.5),
            E::FfnetAllLayers => (PairRule::Random, 2.5e-3, 200, 10, 0.5),
            E::DeepAllLayers => (PairRule::Similarity, 2.5e-3, 400, 5, 0.75),
            E::WideAllLayers => (PairRule::Spatial, 2.5e-3, 400, 5, 0.75),
        };
        Self {
            intermediate: IntermediateBounds::WongKolter,
            start: Start::WongKolter,
            pairs: Some(PairsConfig {
                rule,
                over: Scope::All,
                intersect: false,
                outline: Outline::Exact,
            }),
            ascent: AscentConfig {
                steps: every * stairs,
                step_size: StepSize::Absolute(step_size),
                schedule: Schedule::Stairs { every, factor },
            },
            groups: None,
            seed: 0,
        }
    }

    /// Sets where the bounds of the hidden layers come from.
    #[must_use]
    pub fn with_intermediate(mut self, intermediate: IntermediateBounds) -> Self {
        self.intermediate = intermediate;
        self
    }

    /// Sets the ascent.
    #[must_use]
    pub fn with_ascent(mut self, ascent: AscentConfig) -> Self {
        self.ascent = ascent;
        self
    }

    /// Sets the pairs.
    #[must_use]
    pub fn with_pairs(mut self, pairs: Option<PairsConfig>) -> Self {
        self.pairs = pairs;
        self
    }

    /// Sets the groups.
    #[must_use]
    pub fn with_groups(mut self, groups: Option<GroupsConfig>) -> Self {
        self.groups = groups;
        self
    }

    /// The method with these settings.
    #[must_use]
    pub fn init(self) -> ZonoDual {
        ZonoDual { config: self }
    }
}

/// The method; see [`ZonoDualConfig`].
#[derive(Debug, Clone)]
pub struct ZonoDual {
    config: ZonoDualConfig,
}

/// One stage of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// `start`, `pairs`, `groups` or `joint`.
    pub name: String,
    /// The proven bound of every row after it.
    pub bounds: Vec<f64>,
    /// What the search believed in 32-bit arithmetic; empty for the start.
    pub searched: Vec<f64>,
    /// Seconds that the stage took.
    pub seconds: f64,
}

/// Proven lower bounds of the rows of an objective.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bound {
    /// A bound a row; negative infinity where nothing could be proven.
    pub lower: Vec<f64>,
    /// The multipliers that prove them: a matrix `rows x width` for every hidden layer.
    pub multipliers: Vec<Vec<f64>>,
    /// The proven bounds of the hidden layers that they rest on.
    pub hidden: Vec<Bounds>,
    /// What each stage brought.
    pub stages: Vec<Stage>,
    /// The limit that was reached by the end, if one was: without it the bounds may be better.
    pub stopped: Option<Reason>,
}

impl ZonoDual {
    /// Proven lower bounds of every row of the objective over the box.
    ///
    /// # Errors
    ///
    /// [`Error::ShapeMismatch`] if box, objective or given numbers do not fit the network, [`Error::InvalidConfig`] for settings without a
    /// meaning, [`Error::Internal`] if two proven bounds contradict each other.
    pub fn lower_bounds(
        &self,
        network: &Network,
        input: &InputBox,
        objective: &Objective,
        device: &Device,
    ) -> Result<Bound> {
        self.lower_bounds_with(network, input, objective, device, &RunOptions::default())
    }

    /// As [`lower_bounds`](Self::lower_bounds), with a seed and limits of its own. Stopped early, the bounds are those proven by
    /// then: in the worst case those of interval arithmetic in the hidden layers and CROWN in the last.
    ///
    /// # Errors
    ///
    /// As [`lower_bounds`](Self::lower_bounds).
    pub fn lower_bounds_with(
        &self,
        network: &Network,
        input: &InputBox,
        objective: &Objective,
        device: &Device,
        options: &RunOptions,
    ) -> Result<Bound> {
        let clock = Instant::now();
        let limits = options.limits()?;
        self.config.check()?;
        let target = objective.target(network)?;
        let mut method = self.clone();
        method.config.seed = options.seed.unwrap_or(method.config.seed);
        let relaxed = method.relax(network, input, device, limits)?;
        Ok(method.bound(&relaxed, &target, clock)?.bound)
    }

    /// Everything that does not depend on the objective: bounds, zonotopes, pairs and their candidates.
    pub(crate) fn relax<'a>(
        &self,
        network: &'a Network,
        input: &'a InputBox,
        device: &Device,
        limits: Limits,
    ) -> Result<Relaxed<'a>> {
        check_input(network, input)?;
        let method = &self.config.intermediate;
        let (mut hidden, proof) = proven_bounds(network, input, method, device, &limits)?;
        let zonotopes = zonotopes(network, input, &mut hidden, &limits)?;
        let sets = self.sets(network, &hidden, zonotopes, &limits)?;
        self.relaxed(network, input, device, limits, (hidden, sets), proof)
    }

    /// What [`relax`](Self::relax) came to once, from its proof.
    pub(crate) fn restore<'a>(
        &self,
        network: &'a Network,
        input: &'a InputBox,
        device: &Device,
        limits: Limits,
        proof: &RelaxationProof,
    ) -> Result<Relaxed<'a>> {
        let prepared = proof.prepare(network, input)?;
        let proof = proof.hidden.clone();
        self.relaxed(network, input, device, limits, prepared, proof)
    }

    fn relaxed<'a>(
        &self,
        network: &'a Network,
        input: &'a InputBox,
        device: &Device,
        limits: Limits,
        (hidden, sets): (Vec<Bounds>, Vec<LayerSets>),
        proof: HiddenProof,
    ) -> Result<Relaxed<'a>> {
        let layers = hidden
            .iter()
            .zip(&sets)
            .map(|(bounds, sets)| {
                let table = self.table(bounds, sets)?;
                Ok(DeviceLayer::new(bounds, table.as_ref(), &[], device))
            })
            .collect::<Result<_>>()?;
        Ok(Relaxed {
            network,
            input,
            hidden,
            proof,
            sets,
            layers,
            search: Search::new(network, input, device),
            limits,
        })
    }

    /// The candidates of a layer's pairs.
    fn table(&self, bounds: &Bounds, sets: &LayerSets) -> Result<Option<PairTable>> {
        let Some(config) = &self.config.pairs else {
            return Ok(None);
        };
        let cut = config.intersect.then_some((bounds.lower(), bounds.upper()));
        PairTable::new(sets.zonotope.rows(), cut, &sets.pairs, config.outline).map(Some)
    }

    /// Start, ascent and proof for the rows of a target; `clock` says when the work began.
    pub(crate) fn bound(
        &self,
        relaxed: &Relaxed<'_>,
        target: &Target,
        mut clock: Instant,
    ) -> Result<Found> {
        let mut stages = Vec::new();
        let mut paired = self.start(relaxed, target)?;
        stages.push(stage("start", &paired.values, Vec::new(), &mut clock));
        let mut lower = paired.values.clone();
        let mut grouped = None;
        if target.map > 0 {
            let (multipliers, searched) = self.ascend(relaxed, target, &paired.multipliers);
            let found = relaxed.prove(target, Multipliers::Given(&multipliers))?;
            paired.improve(&found);
            lower.clone_from(&paired.values);
            stages.push(stage("pairs", &lower, searched, &mut clock));
            let stopped = relaxed.limits.reached().is_some();
            if let Some(config) = self.config.groups.as_ref().filter(|_| !stopped) {
                grouped = self.group(relaxed, target, &paired, config, &mut stages, &mut clock)?;
                if let Some(last) = stages.last() {
                    lower.clone_from(&last.bounds);
                }
            }
        }
        let bound = Bound {
            lower,
            multipliers: paired.multipliers,
            hidden: relaxed.hidden.clone(),
            stages,
            stopped: relaxed.limits.reached(),
        };
        Ok(Found { bound, grouped })
    }

    /// The groups of the last hidden layer: search, joint ascent, search.
    fn group(
        &self,
        relaxed: &Relaxed<'_>,
        target: &Target,
        paired: &DualValues,
        config: &GroupsConfig,
        stages: &mut Vec<Stage>,
        clock: &mut Instant,
    ) -> Result<Option<Grouped>> {
        let layer = target.map - 1;
        let bounds = &relaxed.hidden[layer];
        let unstable = bounds.unstable();
        let zonotope = &relaxed.sets[layer].zonotope;
        // Where bounds were lost to overflow there is nothing to search.
        let finite = |&neuron: &usize| {
            bounds.width(neuron).is_finite() && zonotope.rounding()[neuron].is_finite()
        };
        if unstable.len() < 2 || !unstable.iter().all(finite) {
            return Ok(None);
        }
        let mut lower = paired.values.clone();
        let neurons = by_similarity(zonotope.rows(), &unstable, config.dimension)?
            .groups()
            .to_vec();
        let groups: Vec<Group> = neurons
            .iter()
            .map(|neurons| group_of(zonotope, bounds, neurons))
            .collect::<Result<_>>()?;
        let coefficients = relaxed.network.maps()[target.map]
            .transposed(&target.coefficients, target.rows)
            .value;

        let mut multipliers = paired.multipliers.clone();
        let mut sets = relaxed.sets.clone();
        sets[layer] = LayerSets::new(Arc::clone(zonotope), bounds, Vec::new())?.with_groups(
            neurons
                .iter()
                .zip(&groups)
                .map(|(neurons, group)| GroupSet {
                    neurons: neurons.clone(),
                    group: group.clone(),
                    trees: Vec::new(),
                })
                .collect(),
        );
        let device = relaxed.search.device();
        search_groups(
            &mut sets[layer],
            &multipliers[layer],
            &coefficients,
            target.rows,
            &config.first,
            (device, &relaxed.limits),
        )?;
        let first = relaxed.prove_over(&sets, target, &multipliers)?;
        let mut best: Vec<(f64, Vec<SplitTree>)> = (0..target.rows)
            .map(|row| (first.values[row], sets[layer].trees(row)))
            .collect();
        let mut best_multipliers = multipliers.clone();
        maximise(&mut lower, &first.values);
        stages.push(stage("groups", &lower, Vec::new(), clock));

        let stopped = relaxed.limits.reached().is_some();
        if let Some(joint) = config.joint.as_ref().filter(|_| !stopped) {
            multipliers = self.ascend_jointly(
                relaxed,
                target,
                &mut sets,
                &multipliers,
                &coefficients,
                joint,
            )?;
            search_groups(
                &mut sets[layer],
                &multipliers[layer],
                &coefficients,
                target.rows,
                &config.last,
                (device, &relaxed.limits),
            )?;
            let last = relaxed.prove_over(&sets, target, &multipliers)?;
            for (row, best) in best.iter_mut().enumerate() {
                if last.values[row] > best.0 {
                    *best = (last.values[row], sets[layer].trees(row));
                    copy_row(&mut best_multipliers, &multipliers, row, target.rows);
                }
            }
            maximise(&mut lower, &last.values);
            stages.push(stage("joint", &lower, Vec::new(), clock));
        }
        let values = best.iter().map(|(value, _)| *value).collect();
        let trees = best.into_iter().map(|(_, trees)| trees).collect();
        Ok(Some(Grouped {
            neurons,
            values,
            multipliers: best_multipliers,
            trees,
        }))
    }

    /// The joint ascent; leaves the leaves' last multipliers in `sets`.
    fn ascend_jointly(
        &self,
        relaxed: &Relaxed<'_>,
        target: &Target,
        sets: &mut [LayerSets],
        multipliers: &[Vec<f64>],
        coefficients: &[f64],
        config: &JointConfig,
    ) -> Result<Vec<Vec<f64>>> {
        let layer = target.map - 1;
        let device = relaxed.search.device();
        let width = relaxed.hidden[layer].lower().len();
        let mut groups = Vec::with_capacity(sets[layer].groups.len());
        for set in &sets[layer].groups {
            let (c1, c2) = (
                gather(&multipliers[layer], width, &set.neurons, -1.0),
                gather(coefficients, width, &set.neurons, 1.0),
            );
            let leaves: Vec<Vec<Leaf>> = set
                .trees
                .iter()
                .map(|tree| tree.leaves(&set.group))
                .collect::<Result<_>>()?;
            let objectives: Vec<ObjectiveLeaves<'_>> = leaves
                .iter()
                .enumerate()
                .map(|(row, leaves)| ObjectiveLeaves {
                    leaves,
                    c1: &c1[row],
                    c2: &c2[row],
                })
                .collect();
            let leaves = LeafBatch::new(&set.group, &objectives, device)?;
            let inner = (config.inner_steps, config.inner_step_size);
            groups.push(DeviceGroup::new(
                layer,
                width,
                &set.neurons,
                leaves,
                inner,
                config.temperature,
                device,
            ));
        }
        let mut layers = relaxed.layers.clone();
        let grouped: Vec<usize> = sets[layer]
            .groups
            .iter()
            .flat_map(|set| set.neurons.iter().copied())
            .collect();
        layers[layer] = DeviceLayer::new(&relaxed.hidden[layer], None, &grouped, device);
        let mut ascent =
            Ascent::new(&relaxed.search, &layers, target, multipliers).with_groups(groups);
        let rate = self.rate(&ascent) * config.step_share;
        let schedule = Schedule::Geometric { to: config.to };
        let span = tracing::info_span!(
            "joint ascent",
            position = 0_u64,
            length = config.steps as u64
        );
        let _entered = span.enter();
        for step in 0..config.steps {
            if relaxed.limits.reached().is_some() {
                break;
            }
            ascent.step(&(rate.clone() * schedule.factor(step, config.steps)));
            span.record("position", step as u64 + 1);
        }
        for (set, group) in sets[layer].groups.iter_mut().zip(ascent.groups()) {
            let mut all = group.leaves.multipliers()?.into_iter();
            for tree in &mut set.trees {
                let own = all.by_ref().take(tree.len()).collect();
                *tree = tree.with_multipliers(own)?;
            }
        }
        Ok(ascent.finish().0)
    }

    /// The first step size of every row.
    fn rate(&self, ascent: &Ascent<'_>) -> Tensor<2> {
        match self.config.ascent.step_size {
            StepSize::Absolute(rate) => ascent.scale().zeros_like() + rate,
            StepSize::Relative(share) => ascent.scale() * share,
        }
    }

    fn start(&self, relaxed: &Relaxed<'_>, target: &Target) -> Result<DualValues> {
        let network = relaxed.network;
        let zeros: Vec<Vec<f64>>;
        let multipliers = match &self.config.start {
            Start::AlphaCrown(config) => {
                return output_bounds(
                    network,
                    relaxed.input,
                    &relaxed.hidden,
                    target,
                    config,
                    &relaxed.search,
                    &relaxed.limits,
                );
            }
            Start::WongKolter => Multipliers::Parallel,
            Start::Zero => {
                zeros = network
                    .hidden()
                    .iter()
                    .map(|width| vec![0.0; target.rows * width])
                    .collect();
                Multipliers::Given(&zeros)
            }
            Start::Given(given) => {
                check_multipliers(network, given, target.rows)?;
                Multipliers::Given(given)
            }
        };
        dual_values(
            network,
            relaxed.input,
            &relaxed.hidden,
            target,
            multipliers,
            None,
        )
    }

    /// Cuts every hidden layer into single neurons and pairs; there are no pairs once a limit is reached.
    fn sets(
        &self,
        network: &Network,
        hidden: &[Bounds],
        zonotopes: Vec<Arc<Zonotope>>,
        limits: &Limits,
    ) -> Result<Vec<LayerSets>> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.config.seed);
        let mut sets = Vec::with_capacity(hidden.len());
        for (layer, (bounds, zonotope)) in hidden.iter().zip(zonotopes).enumerate() {
            let stopped = limits.reached().is_some();
            let pairs = match self.config.pairs.as_ref().filter(|_| !stopped) {
                None => Vec::new(),
                Some(config) => {
                    let chosen = config.over.select(bounds.lower(), bounds.upper());
                    let shape = network.hidden_shape(layer);
                    let rule = config.rule;
                    rule.pairs(zonotope.rows(), &chosen, shape, &mut rng)?
                        .pairs()
                }
            };
            sets.push(LayerSets::new(zonotope, bounds, pairs)?);
        }
        Ok(sets)
    }

    fn ascend(
        &self,
        relaxed: &Relaxed<'_>,
        target: &Target,
        multipliers: &[Vec<f64>],
    ) -> (Vec<Vec<f64>>, Vec<f64>) {
        let config = &self.config.ascent;
        let span = tracing::info_span!("ascent", position = 0_u64, length = config.steps as u64);
        let _entered = span.enter();
        let mut ascent = Ascent::new(&relaxed.search, &relaxed.layers, target, multipliers);
        let rate = self.rate(&ascent);
        for step in 0..config.steps {
            if relaxed.limits.reached().is_some() {
                break;
            }
            ascent.step(&(rate.clone() * config.schedule.factor(step, config.steps)));
            if step % 16 == 0 {
                span.record("position", step as u64);
            }
        }
        ascent.finish()
    }
}

impl ZonoDualConfig {
    fn check(&self) -> Result<()> {
        let (StepSize::Absolute(rate) | StepSize::Relative(rate)) = self.ascent.step_size;
        if !(rate.is_finite() && rate > 0.0) {
            return Err(Error::InvalidConfig {
                field: "step_size",
                reason: format!("{rate} is no step size"),
            });
        }
        let (Schedule::Geometric { to: factor } | Schedule::Stairs { factor, .. }) =
            self.ascent.schedule;
        if !(factor > 0.0 && factor <= 1.0) {
            return Err(Error::InvalidConfig {
                field: "schedule",
                reason: format!("{factor} does not lie in (0, 1]"),
            });
        }
        match self.pairs.as_ref().map(|pairs| pairs.outline) {
            Some(Outline::Outer { directions }) if directions < 4 => Err(Error::InvalidConfig {
                field: "directions",
                reason: format!(
                    "{directions} directions do not make a polygon; at least 4 are needed"
                ),
            }),
            _ => Ok(()),
        }
    }
}

/// A network over a box, cut into the sets of the inner problems.
pub(crate) struct Relaxed<'a> {
    pub(crate) network: &'a Network,
    pub(crate) input: &'a InputBox,
    pub(crate) hidden: Vec<Bounds>,
    pub(crate) proof: HiddenProof,
    pub(crate) sets: Vec<LayerSets>,
    pub(crate) layers: Vec<DeviceLayer>,
    pub(crate) search: Search,
    /// When to stop; what has been proven by then is returned.
    pub(crate) limits: Limits,
}

impl Relaxed<'_> {
    /// Proven values over the sets.
    pub(crate) fn prove(
        &self,
        target: &Target,
        multipliers: Multipliers<'_>,
    ) -> Result<DualValues> {
        dual_values(
            self.network,
            self.input,
            &self.hidden,
            target,
            multipliers,
            Some(&self.sets),
        )
    }

    /// Proven values over other sets.
    fn prove_over(
        &self,
        sets: &[LayerSets],
        target: &Target,
        multipliers: &[Vec<f64>],
    ) -> Result<DualValues> {
        dual_values(
            self.network,
            self.input,
            &self.hidden,
            target,
            Multipliers::Given(multipliers),
            Some(sets),
        )
    }
}

/// What a run found, in parts that a certificate can hold.
pub(crate) struct Found {
    pub(crate) bound: Bound,
    pub(crate) grouped: Option<Grouped>,
}

/// Values over groups of the last hidden layer, and what proves them.
pub(crate) struct Grouped {
    pub(crate) neurons: Vec<Vec<usize>>,
    pub(crate) values: Vec<f64>,
    pub(crate) multipliers: Vec<Vec<f64>>,
    /// Of every row, a tree a group.
    pub(crate) trees: Vec<Vec<SplitTree>>,
}

/// Some neurons of a layer's zonotope, within their bounds.
pub(crate) fn group_of(zonotope: &Zonotope, bounds: &Bounds, neurons: &[usize]) -> Result<Group> {
    let pick = |numbers: &[f64]| -> Vec<f64> { neurons.iter().map(|&j| numbers[j]).collect() };
    let generators = neurons
        .iter()
        .flat_map(|&j| zonotope.row(j).iter().copied())
        .collect();
    Group::new(
        pick(zonotope.center()),
        generators,
        pick(zonotope.rounding()),
        pick(bounds.lower()),
        pick(bounds.upper()),
    )
}

/// Searches all groups of a layer for all rows, from the trees that are there.
fn search_groups(
    sets: &mut LayerSets,
    multipliers: &[f64],
    coefficients: &[f64],
    rows: usize,
    config: &GroupConfig,
    (device, limits): (&Device, &Limits),
) -> Result<()> {
    let width = multipliers.len() / rows;
    for set in &mut sets.groups {
        let c1 = gather(multipliers, width, &set.neurons, -1.0);
        let c2 = gather(coefficients, width, &set.neurons, 1.0);
        let mut trees = std::mem::take(&mut set.trees).into_iter();
        let objectives: Vec<groups::Objective> = c1
            .into_iter()
            .zip(c2)
            .map(|(c1, c2)| {
                let objective = groups::Objective::new(c1, c2);
                match trees.next() {
                    Some(tree) => objective.with_start(tree),
                    None => objective,
                }
            })
            .collect();
        let found = set
            .group
            .search_all(&objectives, config, device, &|| limits.reached().is_some())?;
        set.trees = found.into_iter().map(|solution| solution.tree).collect();
    }
    Ok(())
}

/// Some columns of a matrix, times a factor, row by row.
fn gather(matrix: &[f64], width: usize, columns: &[usize], factor: f64) -> Vec<Vec<f64>> {
    matrix
        .chunks_exact(width)
        .map(|row| columns.iter().map(|&j| factor * row[j]).collect())
        .collect()
}

fn maximise(best: &mut [f64], found: &[f64]) {
    for (best, found) in best.iter_mut().zip(found) {
        *best = best.max(*found);
    }
}

/// Zonotopes of the hidden layers; their hulls tighten the bounds.
///
/// Once a limit is reached, the layers that are left get their boxes. Whatever is proven over boxes holds over the zonotopes within them, so a
/// certificate, which is checked without limits, need not tell where that was.
pub(crate) fn zonotopes(
    network: &Network,
    input: &InputBox,
    hidden: &mut [Bounds],
    limits: &Limits,
) -> Result<Vec<Arc<Zonotope>>> {
    let stop = || limits.reached().is_some();
    let mut zonotopes =
        ZonotopeConfig::new().propagate_until(network, input, Some(hidden), stop)?;
    // The last one is that of the outputs.
    zonotopes.truncate(hidden.len());
    for bounds in &hidden[zonotopes.len()..] {
        zonotopes.push(Zonotope::without_generators(bounds));
    }
    for (layer, (bounds, zonotope)) in hidden.iter_mut().zip(&zonotopes).enumerate() {
        let hull = zonotope.interval_hull();
        *bounds = bounds.intersect(&hull, &format!("hidden layer {layer}"))?;
    }
    Ok(zonotopes.into_iter().map(Arc::new).collect())
}

fn stage(name: &str, bounds: &[f64], searched: Vec<f64>, clock: &mut Instant) -> Stage {
    let seconds = clock.elapsed().as_secs_f64();
    *clock = Instant::now();
    Stage {
        name: name.to_owned(),
        bounds: bounds.to_vec(),
        searched,
        seconds,
    }
}

fn check_multipliers(network: &Network, given: &[Vec<f64>], rows: usize) -> Result<()> {
    let hidden = network.hidden();
    let expected: Vec<usize> = hidden.iter().map(|width| rows * width).collect();
    let found: Vec<usize> = given.iter().map(Vec::len).collect();
    if expected != found {
        return Err(Error::ShapeMismatch {
            layer: "multipliers".to_owned(),
            expected: format!("{expected:?} numbers"),
            found: format!("{found:?}"),
        });
    }
    if given.iter().flatten().any(|x| !x.is_finite()) {
        return Err(Error::InvalidConfig {
            field: "start",
            reason: "a multiplier is not finite".to_owned(),
        });
    }
    Ok(())
}
