//! Big groups of neurons: lower bounds of a ReLU program over a zonotope and a box at once, by branch and bound on a dual of our own.
//!
//! The inner problem of the Lagrangian decomposition is `min c1.z + c2.relu(z)` over a group's zonotope `Z = {c + G xi + [-e, e] : |xi| <= 1}`
//! cut with its box `[l, u]`. The paper (M. Jordan, J. Hayase, A. Dimakis, S. Oh, "Zonotope Domains for Lagrangian Neural Network
//! Verification", NeurIPS 2022, arXiv 2210.08069) hands groups of more than two neurons to a mixed-integer solver. Here, multipliers `nu`
//! divide the problem once more, into a linear program over the zonotope and one-dimensional problems over the box, all in closed form:
//!
//! ```text
//! D(nu; l, u) = nu.c - |nu|.e - |G^T nu|_1 + sum_j min { (c1_j - nu_j) t + c2_j relu(t) : l_j <= t <= u_j }
//! ```
//!
//! `D` is concave and never above the minimum, for every `nu`. It loses something where `c2_j < 0` and `z_j` can have both signs; there the
//! box is cut at `z_j = 0` and the halves are bounded on their own. Where nothing is left to cut, the best `nu` is exact (linear programming
//! duality). The least value over the cases is a bound at any time.
//!
//! [`Group::search`] does this on a device in 32-bit numbers; [`certified_minimum`] computes what the cases prove in 64-bit arithmetic with
//! all rounding accounted for, and is what every bound given out here comes from. [`LeafBatch`] evaluates fixed cases while the objective
//! changes.
//!
//! ```
//! use burn::tensor::Device;
//! use zonotope_verify::groups::{Group, GroupConfig, Objective, certified_minimum};
//!
//! # fn main() -> zonotope_verify::Result<()> {
//! # #[cfg(feature = "flex")] {
//! // z_1 = xi_1 and z_2 = xi_1 + 0.5 xi_2 are correlated: the box alone does not know it.
//! let (center, rounding) = (vec![0.0; 2], vec![0.0; 2]);
//! let group = Group::new(center, vec![1.0, 0.0, 1.0, 0.5], rounding, vec![-1.0, -1.5], vec![1.0, 1.5])?;
//! let objective = Objective::new(vec![1.0, -1.0], vec![-1.0, 1.0]);
//! let found = group.search(&objective, &GroupConfig::new(), &Device::flex(), &|| false)?;
//! assert!(found.bound > -0.501 && found.bound <= -0.5); // by the box alone: -1
//! assert_eq!(found.bound, certified_minimum(&group, &found.tree, &objective.c1, &objective.c2)?);
//! # }
//! # Ok(())
//! # }
//! ```

use burn::config::Config;
use burn::tensor::Device;

use crate::error::{Error, Result};

mod ascent;
mod certified;
mod search;
mod tree;

pub use ascent::{LeafBatch, LeafValues, ObjectiveLeaves, SoftMinimum};
pub use certified::certified_minimum;
pub use tree::{Leaf, SplitTree};

/// Some rows of a zonotope, and a box that is known to hold the same coordinates.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    center: Vec<f64>,
    generators: Vec<f64>,
    rounding: Vec<f64>,
    lower: Vec<f64>,
    upper: Vec<f64>,
    /// `sum_i |G_ji|` of each row `j`.
    row_sums: Vec<f64>,
}

impl Group {
    /// A group of `k` coordinates `z`, of which is known that `z = center + generators xi + [-rounding, rounding]` with `xi` in
    /// `[-1, 1]^m`, and that `lower <= z <= upper`. `generators` holds `k x m` numbers row by row; `m` may be 0.
    ///
    /// # Errors
    ///
    /// [`Error::ShapeMismatch`] if sizes do not fit or there is no coordinate, [`Error::InvalidConfig`] if a number is not finite, a
    /// rounding radius is negative or a lower bound lies above its upper bound.
    pub fn new(
        center: Vec<f64>,
        generators: Vec<f64>,
        rounding: Vec<f64>,
        lower: Vec<f64>,
        upper: Vec<f64>,
    ) -> Result<Self> {
        let k = center.len();
        if k == 0 || !generators.len().is_multiple_of(k) {
            return Err(Error::ShapeMismatch {
                layer: "generators of a group".to_owned(),
                expected: format!("rows of one length for {} coordinates", k.max(1)),
                found: format!("{} numbers for {k} coordinates", generators.len()),
            });
        }
        for (name, numbers) in [
            ("rounding", &rounding),
            ("lower", &lower),
            ("upper", &upper),
        ] {
            check_length(name, numbers, k)?;
        }
        let invalid = |field, reason| Err(Error::InvalidConfig { field, reason });
        for (field, numbers) in [
            ("group center", &center),
            ("group generators", &generators),
            ("group rounding", &rounding),
            ("group lower", &lower),
            ("group upper", &upper),
        ] {
            if let Some(index) = numbers.iter().position(|x| !x.is_finite()) {
                return invalid(
                    field,
                    format!("the number at {index} is {}", numbers[index]),
                );
            }
        }
        for j in 0..k {
            if rounding[j] < 0.0 {
                return invalid(
                    "group rounding",
                    format!("{} at coordinate {j}", rounding[j]),
                );
            }
            if lower[j] > upper[j] {
                let reason = format!("[{}, {}] at coordinate {j} is empty", lower[j], upper[j]);
                return invalid("group box", reason);
            }
        }
        let m = generators.len() / k;
        let row_sums = (0..k)
            .map(|j| generators[j * m..(j + 1) * m].iter().map(|x| x.abs()).sum())
            .collect();
        Ok(Self {
            center,
            generators,
            rounding,
            lower,
            upper,
            row_sums,
        })
    }

    /// Number of coordinates, `k`.
    #[must_use]
    pub fn len(&self) -> usize {
        self.center.len()
    }

    /// Whether there is no coordinate; never true.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.center.is_empty()
    }

    /// Number of generators, `m`.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.generators.len() / self.center.len()
    }

    /// Lower bounds of the box.
    #[must_use]
    pub fn lower(&self) -> &[f64] {
        &self.lower
    }

    /// Upper bounds of the box.
    #[must_use]
    pub fn upper(&self) -> &[f64] {
        &self.upper
    }

    /// A lower bound of one objective over the group: [`Group::search_all`] for a single one.
    ///
    /// # Errors
    ///
    /// As [`Group::search_all`].
    pub fn search(
        &self,
        objective: &Objective,
        config: &GroupConfig,
        device: &Device,
        cancel: &(dyn Fn() -> bool + Sync),
    ) -> Result<GroupSolution> {
        let mut found = self.search_all(std::slice::from_ref(objective), config, device, cancel)?;
        found.pop().ok_or_else(|| Error::Internal {
            layer: "group".to_owned(),
            reason: "no solution for an objective".to_owned(),
        })
    }

    /// Lower bounds of several objectives over the group, each with a tree of its own; the device works on all of them at once.
    ///
    /// Best first: a round cuts the cases with the least bounds and ascends their halves from their multipliers. The search of an objective
    /// ends when its budget is spent, or when the case with the least bound has nothing to cut and has been refined often enough.
    /// `cancel` is asked before every step; once it says true, the bounds proven so far are returned. They are never below the bound by the
    /// box alone.
    ///
    /// Memory on the device: `objectives x 2 batch x m` numbers.
    ///
    /// # Errors
    ///
    /// [`Error::ShapeMismatch`] if an objective has not a number a coordinate, [`Error::InvalidConfig`] if one is not finite or a setting has
    /// no meaning, [`Error::CertificateRejected`] if a start is no tree of this group, [`Error::Device`] if the device fails.
    pub fn search_all(
        &self,
        objectives: &[Objective],
        config: &GroupConfig,
        device: &Device,
        cancel: &(dyn Fn() -> bool + Sync),
    ) -> Result<Vec<GroupSolution>> {
        config.validate()?;
        for objective in objectives {
            objective.validate(self)?;
        }
        search::search(self, objectives, config, device, cancel)
    }

    fn row(&self, j: usize) -> &[f64] {
        let m = self.columns();
        &self.generators[j * m..(j + 1) * m]
    }
}

/// The ReLU program `min c1.z + c2.relu(z)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Objective {
    /// A linear coefficient a coordinate.
    pub c1: Vec<f64>,
    /// A coefficient of the ReLU of each coordinate.
    pub c2: Vec<f64>,
    /// Cases to start from, instead of the whole box as one.
    pub start: Option<SplitTree>,
}

impl Objective {
    /// An objective whose search starts from the whole box.
    #[must_use]
    pub fn new(c1: Vec<f64>, c2: Vec<f64>) -> Self {
        Self {
            c1,
            c2,
            start: None,
        }
    }

    /// The same objective, searched on from the cases of an earlier search (of a similar objective, or of the same coordinates in a
    /// larger box).
    #[must_use]
    pub fn with_start(self, start: SplitTree) -> Self {
        Self {
            start: Some(start),
            ..self
        }
    }

    fn validate(&self, group: &Group) -> Result<()> {
        check_length("linear objective", &self.c1, group.len())?;
        check_length("relu objective", &self.c2, group.len())?;
        match self.c1.iter().chain(&self.c2).position(|x| !x.is_finite()) {
            Some(index) => Err(Error::InvalidConfig {
                field: "group objective",
                reason: format!("the coefficient at {index} is not finite"),
            }),
            None => Ok(()),
        }
    }
}

/// How much work a bound of a group is worth.
#[derive(Config, Debug, PartialEq)]
pub struct GroupConfig {
    /// Most nodes of an objective's tree, inner ones included: `n` nodes are `(n + 1) / 2` cases.
    #[config(default = 1000)]
    pub nodes: usize,
    /// Most cases of an objective that are cut in one round.
    #[config(default = 64)]
    pub batch: usize,
    /// Adam steps for the whole box, and for each refinement.
    #[config(default = 150)]
    pub steps: usize,
    /// Adam steps for a half of a case that was cut, from that case's multipliers. A few steps for many nodes prove more than many steps
    /// for a few nodes.
    #[config(default = 50)]
    pub child_steps: usize,
    /// Length of the first step, in units of the mean of `(|c1_j| + |c2_j|) s_j` for a coordinate that is divided by its size `s_j`.
    #[config(default = 0.1)]
    pub learning_rate: f64,
    /// The same for a half of a case that was cut.
    #[config(default = 0.05)]
    pub child_learning_rate: f64,
    /// What part of the first step's length the last one has; geometric in between.
    #[config(default = 0.02)]
    pub learning_rate_decay: f64,
    /// Adam's memory of gradients.
    #[config(default = 0.9)]
    pub beta_1: f64,
    /// Adam's memory of squared gradients.
    #[config(default = 0.99)]
    pub beta_2: f64,
    /// How often a case with the least bound and nothing to cut is ascended again, with 0.4 of the step length from time to time.
    #[config(default = 5)]
    pub refinements: usize,
}

impl GroupConfig {
    fn validate(&self) -> Result<()> {
        let invalid = |field, reason: &str| {
            Err(Error::InvalidConfig {
                field,
                reason: reason.to_owned(),
            })
        };
        let fraction = |x: f64| (0.0..1.0).contains(&x);
        if self.nodes == 0 {
            return invalid("nodes", "at least one node is needed");
        }
        if self.batch == 0 {
            return invalid("batch", "at least one case a round is needed");
        }
        let positive = |x: f64| x.is_finite() && x > 0.0;
        if !positive(self.learning_rate) {
            return invalid("learning_rate", "must be positive");
        }
        if !positive(self.child_learning_rate) {
            return invalid("child_learning_rate", "must be positive");
        }
        if !(self.learning_rate_decay > 0.0 && self.learning_rate_decay <= 1.0) {
            return invalid("learning_rate_decay", "must lie in (0, 1]");
        }
        if !fraction(self.beta_1) {
            return invalid("beta_1", "must lie in [0, 1)");
        }
        if !fraction(self.beta_2) {
            return invalid("beta_2", "must lie in [0, 1)");
        }
        Ok(())
    }
}

/// What a search has proven.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupSolution {
    /// The cases and their multipliers: with the group, the proof.
    pub tree: SplitTree,
    /// What [`certified_minimum`] says of the tree.
    pub bound: f64,
    /// The case with the least bound, by its position in [`SplitTree::leaves`].
    pub worst: usize,
    /// Number of nodes of the tree, inner ones included.
    pub nodes: usize,
    /// Whether more nodes could not have raised the bound: the worst case has nothing to cut. False after a spent budget or a cancel.
    pub complete: bool,
}

fn check_length(name: &str, numbers: &[f64], expected: usize) -> Result<()> {
    if numbers.len() == expected {
        return Ok(());
    }
    Err(Error::ShapeMismatch {
        layer: format!("{name} of a group"),
        expected: expected.to_string(),
        found: numbers.len().to_string(),
    })
}
