//! The whole fit: units, grids from coarse to fine, many starts, and a report.

use std::fmt;
use std::time::Instant;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::assign::Place;
use crate::bounds::{check_budget, tube_lower_bound};
use crate::descent::{Descent, Limits, Problem};
use crate::map::{GridMap, check_exponent};
use crate::starts::{self, Starts};
use crate::{Domain, Error, Grid, Interpolation, Measure, Result, Smoothness};

/// What holds a map back.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Constraint {
    /// It may cost at most this: minimise `J_p(f)` with `C(f) <= l`.
    Budget(f64),
    /// Cost has a price: minimise `J_p(f) + lambda C(f)^q`.
    Price(f64),
}

/// A fit to make: the problem, and how hard to try.
///
/// Made by [`new`](Self::new) with defaults that the fields name, changed by `with_...`, run by [`fit`](Self::fit).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FitConfig {
    /// Where the map is defined.
    pub domain: Domain,
    /// What counts as its cost.
    pub smoothness: Smoothness,
    /// How much it may cost, or the price.
    pub constraint: Constraint,
    /// The exponent p of distances, 1 to 64. Default 2.
    pub exponent: f64,
    /// Nodes along each axis. Default 129 for curves with ends, 128 for closed ones; 33 and 32 for surfaces; 17 for cubes.
    pub nodes: usize,
    /// How maps continue between nodes. Default linearly, on cubes not at all.
    pub interpolation: Interpolation,
    /// Which starts are tried.
    pub starts: Starts,
    /// The seed of starts and of the choice of points for coarse grids. Default 0.
    pub seed: u64,
    /// The relative decrease of the objective in a sweep that counts as none; three such sweeps end a descent. Default 1e-9.
    pub tolerance: f64,
    /// Sweeps on the finest grid at most. Default 500; coarse grids have 50 at most.
    pub max_sweeps: usize,
    /// The volume of the set on which the measure is uniform, if it is: lower bounds need it. Default unknown.
    pub volume: Option<f64>,
}

/// What a single run is given.
#[derive(Clone, Default)]
pub struct FitOptions<'a> {
    /// Maps to start from, besides the starts of the configuration; they are brought to the finest grid and within the budget.
    pub starts: Vec<GridMap>,
    /// Asked before each sweep whether to stop; the fit then returns the best map that it has.
    pub stop: Option<&'a (dyn Fn() -> bool + Sync)>,
    /// Where nearest elements are looked for, by trying all: worth it where there are many in many dimensions, and the device is fast. `None`
    /// stands for a tree on the processor. Near ties are decided in 32 bits, so results may differ in the last digits of 32-bit numbers.
    #[cfg(feature = "burn")]
    pub device: Option<burn::tensor::Device>,
}

impl<'a> FitOptions<'a> {
    /// Adds maps to start from.
    #[must_use]
    pub fn with_starts(mut self, starts: Vec<GridMap>) -> Self {
        self.starts = starts;
        self
    }

    /// Sets what is asked before each sweep.
    #[must_use]
    pub fn with_stop(mut self, stop: &'a (dyn Fn() -> bool + Sync)) -> Self {
        self.stop = Some(stop);
        self
    }

    /// Sets the device on which nearest elements are looked for.
    #[cfg(feature = "burn")]
    #[must_use]
    pub fn with_device(mut self, device: burn::tensor::Device) -> Self {
        self.device = Some(device);
        self
    }

    fn place(&self) -> Place {
        #[cfg(feature = "burn")]
        if let Some(device) = &self.device {
            return Place::Device(device.clone());
        }
        Place::Host
    }
}

/// How a fit ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The objective has stopped falling.
    Converged,
    /// The sweeps were used up while it still fell; the map is within the budget, but a longer run would find a better one.
    Sweeps,
    /// Somebody asked to stop; the map is within the budget.
    Stopped,
}

/// How far a map is from the conditions that a minimiser meets (Karush, Kuhn and Tucker).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Kkt {
    /// The force that is left over, as a part of the force of the points: how far from stationary.
    pub stationarity: f64,
    /// The part of the budget that is not spent although it has a price.
    pub complementarity: f64,
    /// By how much the cost exceeds the budget, as a part of it (absolute for a budget of 0).
    pub infeasibility: f64,
}

/// What a start led to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StartReport {
    /// The kind of start.
    pub name: String,
    /// Nodes along an axis of the last grid that it was followed to.
    pub nodes: usize,
    /// `J_p` there; on coarse grids of large measures, of a sample of the points.
    pub j: f64,
    /// Sweeps on all grids.
    pub sweeps: usize,
}

/// A fitted map, and what is known about it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Fit {
    /// The configuration.
    pub config: FitConfig,
    /// The map.
    pub map: GridMap,
    /// `J_p(f)`, the mean of the distance to the power p.
    pub j: f64,
    /// `C(f)`.
    pub cost: f64,
    /// The multiplier: how fast `J_p` would fall with `C^q`. It is 0 if the budget does not bind. By the envelope theorem the slope of J by the
    /// budget l is `-multiplier q l^(q-1)`.
    pub multiplier: f64,
    /// How far from stationary the map is.
    pub kkt: Kkt,
    /// What no map within the budget can be better than, where that is known.
    pub lower_bound: Option<f64>,
    /// How the fit ended.
    pub outcome: Outcome,
    /// `J_p` of the winning start after each sweep on the finest grid.
    pub history: Vec<f64>,
    /// What each start led to, the winner first.
    pub starts: Vec<StartReport>,
    /// Seconds that the fit took.
    pub seconds: f64,
}

impl FitConfig {
    /// A fit with the defaults that the fields name.
    #[must_use]
    pub fn new(domain: Domain, smoothness: Smoothness, constraint: Constraint) -> Self {
        let (nodes, interpolation) = match domain {
            Domain::Interval => (129, Interpolation::Linear),
            Domain::Circle => (128, Interpolation::Linear),
            Domain::Square => (33, Interpolation::Linear),
            Domain::Cylinder | Domain::Torus => (32, Interpolation::Linear),
            Domain::Cube => (17, Interpolation::Nodes),
        };
        Self {
            domain,
            smoothness,
            constraint,
            exponent: 2.0,
            nodes,
            interpolation,
            starts: Starts::default(),
            seed: 0,
            tolerance: 1e-9,
            max_sweeps: 500,
            volume: None,
        }
    }

    /// Sets the exponent p of distances.
    #[must_use]
    pub fn with_exponent(mut self, exponent: f64) -> Self {
        self.exponent = exponent;
        self
    }

    /// Sets the number of nodes along each axis.
    #[must_use]
    pub fn with_nodes(mut self, nodes: usize) -> Self {
        self.nodes = nodes;
        self
    }

    /// Sets how maps continue between nodes.
    #[must_use]
    pub fn with_interpolation(mut self, interpolation: Interpolation) -> Self {
        self.interpolation = interpolation;
        self
    }

    /// Sets which starts are tried.
    #[must_use]
    pub fn with_starts(mut self, starts: Starts) -> Self {
        self.starts = starts;
        self
    }

    /// Sets the seed.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Sets the relative decrease that counts as none.
    #[must_use]
    pub fn with_tolerance(mut self, tolerance: f64) -> Self {
        self.tolerance = tolerance;
        self
    }

    /// Sets the most sweeps on the finest grid.
    #[must_use]
    pub fn with_max_sweeps(mut self, max_sweeps: usize) -> Self {
        self.max_sweeps = max_sweeps;
        self
    }

    /// Says that the measure is uniform on a set of this volume, for lower bounds.
    #[must_use]
    pub fn with_volume(mut self, volume: f64) -> Self {
        self.volume = Some(volume);
        self
    }

    /// Sets what holds the map back.
    #[must_use]
    pub fn with_constraint(mut self, constraint: Constraint) -> Self {
        self.constraint = constraint;
        self
    }

    /// Whether the settings make sense.
    ///
    /// # Errors
    /// As [`Smoothness::validate`] and [`Grid::new`]; [`Error::TooFewNodes`]; [`Error::Parameter`] for a negative budget or price, p outside of
    /// 1 to 64, or a tolerance that is negative.
    pub fn validate(&self) -> Result<()> {
        self.smoothness.validate(self.domain)?;
        Grid::new(self.domain, self.nodes)?;
        let needed = self.smoothness.order + 1;
        if self.nodes < needed {
            return Err(Error::TooFewNodes {
                needed,
                found: self.nodes,
            });
        }
        check_exponent(self.exponent)?;
        match self.constraint {
            Constraint::Budget(budget) => check_budget(budget)?,
            Constraint::Price(price) if price.is_finite() && price >= 0.0 => {}
            Constraint::Price(found) => {
                return Err(Error::Parameter {
                    name: "the price",
                    requirement: "finite and not negative",
                    found,
                });
            }
        }
        if !(self.tolerance >= 0.0 && self.tolerance.is_finite()) {
            return Err(Error::Parameter {
                name: "the tolerance",
                requirement: "finite and not negative",
                found: self.tolerance,
            });
        }
        if let Some(found) = self.volume
            && !(found > 0.0 && found.is_finite())
        {
            return Err(Error::Parameter {
                name: "the volume",
                requirement: "positive and finite",
                found,
            });
        }
        Ok(())
    }

    /// Fits a map to a measure.
    ///
    /// # Errors
    /// As [`validate`](Self::validate); [`Error::Linear`] if the equations of a step could not be solved.
    pub fn fit(&self, measure: &Measure) -> Result<Fit> {
        self.fit_with(measure, &FitOptions::default())
    }

    /// Fits a map to a measure, with starts of the caller's or a way to stop.
    ///
    /// # Errors
    /// As [`fit`](Self::fit); [`Error::Size`] and [`Error::Parameter`] if a start has another domain or another number of coordinates, and if there
    /// is no start at all.
    pub fn fit_with(&self, measure: &Measure, options: &FitOptions) -> Result<Fit> {
        let begun = Instant::now();
        self.validate()?;
        self.check_starts(measure, options)?;
        let units = Units::new(self, measure);
        let scaled = measure.normalised(&units.shift, units.scale);
        let run = Run {
            config: self,
            constraint: units.inward(self),
            measure: &scaled,
            stop: options.stop.unwrap_or(&|| false),
            place: options.place(),
        };
        let given = options
            .starts
            .iter()
            .map(|map| units.map_inward(map))
            .collect();
        let candidates = run.search(given)?;
        let winner = candidates.first().ok_or(Error::EmptyMeasure)?;
        let problem = run.problem(&scaled, self.nodes)?;
        let (multiplier, kkt) = problem.kkt(&winner.descent.map)?;
        let map = units.map_outward(self, &winner.descent.map, measure.dimension())?;
        let outside = units.scale.powf(self.exponent);
        let lower_bound = match (self.constraint, self.volume) {
            (Constraint::Budget(budget), Some(volume)) => tube_lower_bound(
                self.domain,
                &self.smoothness,
                budget,
                self.exponent,
                measure.dimension(),
                volume,
            )?,
            _ => None,
        };
        let q = self.smoothness.exponent;
        Ok(Fit {
            j: winner.descent.loss * outside,
            cost: map.cost(&self.smoothness)?,
            multiplier: multiplier * units.scale.powf(self.exponent - q),
            kkt,
            lower_bound,
            // A stop may have cut others short that would have won.
            outcome: if run.stopped() {
                Outcome::Stopped
            } else if winner.descent.converged {
                Outcome::Converged
            } else {
                Outcome::Sweeps
            },
            history: winner.descent.history.iter().map(|j| j * outside).collect(),
            starts: candidates
                .iter()
                .map(|candidate| StartReport {
                    name: candidate.name.clone(),
                    nodes: candidate.nodes,
                    j: candidate.descent.loss * outside,
                    sweeps: candidate.sweeps,
                })
                .collect(),
            config: self.clone(),
            map,
            seconds: begun.elapsed().as_secs_f64(),
        })
    }

    fn check_starts(&self, measure: &Measure, options: &FitOptions) -> Result<()> {
        let own = self.starts.principal > 0
            || self.starts.continuation
            || !self.starts.centres.is_empty();
        if !own && options.starts.is_empty() {
            return Err(Error::Parameter {
                name: "the number of starts",
                requirement: "at least 1",
                found: 0.0,
            });
        }
        for start in &options.starts {
            if start.grid().domain() != self.domain {
                return Err(Error::Size {
                    what: "parameters of a start, or their kind",
                    expected: self.domain.dimension(),
                    found: start.grid().domain().dimension(),
                });
            }
            if start.dimension() != measure.dimension() {
                return Err(Error::Size {
                    what: "coordinates of a start",
                    expected: measure.dimension(),
                    found: start.dimension(),
                });
            }
        }
        Ok(())
    }
}

impl Fit {
    /// The slope of the best value by the budget, `-multiplier q l^(q-1)`.
    #[must_use]
    pub fn slope(&self) -> f64 {
        let q = self.config.smoothness.exponent;
        -self.multiplier * q * self.cost.powf(q - 1.0)
    }
}

impl fmt::Display for Fit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Smoothness {
            order, exponent, ..
        } = self.config.smoothness;
        writeln!(
            formatter,
            "{} map of order {order}, q = {exponent}, p = {}: J = {:.6e} at cost {:.6}",
            self.config.domain, self.config.exponent, self.j, self.cost
        )?;
        if let Some(bound) = self.lower_bound {
            writeln!(formatter, "no map of this budget has a J below {bound:.6e}")?;
        }
        writeln!(
            formatter,
            "multiplier {:.4e}, slope {:.4e}; stationary to {:.1e}, {:?} in {:.1} s",
            self.multiplier,
            self.slope(),
            self.kkt.stationarity,
            self.outcome,
            self.seconds
        )?;
        for start in &self.starts {
            writeln!(
                formatter,
                "start {}: J = {:.6e} with {} nodes after {} sweeps",
                start.name, start.j, start.nodes, start.sweeps
            )?;
        }
        Ok(())
    }
}

/// From the caller's units to those in which the measure has a diameter between 1/2 and 1, and back.
struct Units {
    shift: Vec<f64>,
    scale: f64,
}

impl Units {
    fn new(config: &FitConfig, measure: &Measure) -> Self {
        // Where values themselves cost, the origin has a meaning.
        let shift = if config.smoothness.least_order() > 0 {
            measure.mean()
        } else {
            vec![0.0; measure.dimension()]
        };
        let diameter = measure.diameter();
        // A power of two, so that scaling rounds nothing.
        let scale = if diameter > 0.0 && diameter.is_finite() {
            diameter.log2().ceil().exp2()
        } else {
            1.0
        };
        Self { shift, scale }
    }

    fn inward(&self, config: &FitConfig) -> Constraint {
        match config.constraint {
            Constraint::Budget(budget) => Constraint::Budget(budget / self.scale),
            Constraint::Price(price) => Constraint::Price(
                price
                    * self
                        .scale
                        .powf(config.smoothness.exponent - config.exponent),
            ),
        }
    }

    fn map_inward(&self, map: &GridMap) -> GridMap {
        let values = map
            .values()
            .iter()
            .enumerate()
            .map(|(place, value)| (value - self.shift[place % self.shift.len()]) / self.scale)
            .collect();
        GridMap::trusted(map.grid(), map.interpolation(), map.dimension(), values)
    }

    fn map_outward(&self, config: &FitConfig, values: &[f64], n: usize) -> Result<GridMap> {
        let values = values
            .iter()
            .enumerate()
            .map(|(place, value)| value * self.scale + self.shift[place % n])
            .collect();
        GridMap::new(
            Grid::new(config.domain, config.nodes)?,
            config.interpolation,
            n,
            values,
        )
    }
}

/// One search, in inner units.
struct Run<'a> {
    config: &'a FitConfig,
    constraint: Constraint,
    measure: &'a Measure,
    stop: &'a (dyn Fn() -> bool + Sync),
    place: Place,
}

/// A start on its way to the finest grid.
struct Candidate {
    name: String,
    nodes: usize,
    sweeps: usize,
    descent: Descent,
    /// What it is chosen by on its grid: the loss, with a price also the cost.
    rank: f64,
}

/// Points that coarse grids see at least, and for each node.
const COARSE_POINTS: usize = 2000;
const COARSE_POINTS_A_NODE: usize = 100;

/// Sweeps on each coarse grid at most.
const COARSE_SWEEPS: usize = 50;

impl Run<'_> {
    fn problem<'b>(&self, measure: &'b Measure, nodes: usize) -> Result<Problem<'b>> {
        self.problem_with(measure, nodes, self.constraint)
    }

    fn problem_with<'b>(
        &self,
        measure: &'b Measure,
        nodes: usize,
        constraint: Constraint,
    ) -> Result<Problem<'b>> {
        Problem::new(
            measure,
            Grid::new(self.config.domain, nodes)?,
            self.config.interpolation,
            &self.config.smoothness,
            self.config.exponent,
            constraint,
            self.place.clone(),
        )
    }

    fn stopped(&self) -> bool {
        (self.stop)()
    }

    /// Follows all starts from the coarsest grid to the finest; the best comes first.
    fn search(&self, given: Vec<GridMap>) -> Result<Vec<Candidate>> {
        let levels = self.levels();
        let span = tracing::info_span!("fit", position = 0, length = levels.len());
        let _entered = span.enter();
        let mut candidates: Vec<Candidate> = Vec::new();
        // Those that were left behind on coarse grids.
        let mut left: Vec<Candidate> = Vec::new();
        for (level, &nodes) in levels.iter().enumerate() {
            let last = level + 1 == levels.len();
            let thinned = self.thinned(nodes, last);
            let measure = thinned.as_ref().unwrap_or(self.measure);
            let problem = self.problem(measure, nodes)?;
            if level > 0 {
                // Half go on, and in the end the finalists, of those that are not far behind.
                candidates.sort_by(|a, b| a.rank.total_cmp(&b.rank));
                let finalists = self.config.starts.finalists.max(1);
                let (most, behind) = if last {
                    (finalists, 1.05)
                } else {
                    (candidates.len().div_ceil(2).max(finalists), 1.3)
                };
                let near = candidates
                    .first()
                    .map_or(0, |best| {
                        let limit = behind * best.rank;
                        candidates.partition_point(|candidate| candidate.rank <= limit)
                    })
                    .max(1);
                left.extend(candidates.split_off(most.min(near).min(candidates.len())));
            }
            for (name, start) in self.starts(measure, &levels, level)? {
                candidates.push(Candidate {
                    name,
                    nodes,
                    sweeps: 0,
                    descent: Descent::at(problem.admit(&start)?),
                    rank: f64::INFINITY,
                });
            }
            if last {
                for (index, map) in given.iter().enumerate() {
                    let map = map.resample(nodes, self.config.smoothness.order > 1)?;
                    candidates.push(Candidate {
                        name: format!("given{index}"),
                        nodes,
                        sweeps: 0,
                        descent: Descent::at(map.values().to_vec()),
                        rank: f64::INFINITY,
                    });
                }
            }
            let limits = Limits {
                sweeps: if last {
                    self.config.max_sweeps
                } else {
                    self.config.max_sweeps.min(COARSE_SWEEPS)
                },
                tolerance: if last {
                    self.config.tolerance
                } else {
                    self.config.tolerance.max(1e-4)
                },
                stop: self.stop,
            };
            candidates = candidates
                .into_par_iter()
                .map(|candidate| self.advance(candidate, &problem, nodes, &limits))
                .collect::<Result<_>>()?;
            span.record("position", level + 1);
        }
        candidates.sort_by(|a, b| a.rank.total_cmp(&b.rank));
        // Only what arrived on the finest grid can win.
        candidates.extend(left);
        Ok(candidates)
    }

    /// The points that a grid of so many nodes an axis sees, if not all: coarse grids resolve little of many points.
    fn thinned(&self, nodes: usize, last: bool) -> Option<Measure> {
        let enough = (nodes.saturating_pow(self.config.domain.dimension() as u32))
            .saturating_mul(COARSE_POINTS_A_NODE)
            .max(COARSE_POINTS);
        (!last && self.measure.len() > enough + enough / 2)
            .then(|| self.measure.thinned(enough, self.config.seed))
    }

    /// Descends on the next grid.
    fn advance(
        &self,
        candidate: Candidate,
        problem: &Problem,
        nodes: usize,
        limits: &Limits,
    ) -> Result<Candidate> {
        let n = self.measure.dimension();
        let old = Grid::new(self.config.domain, candidate.nodes)?;
        let map = GridMap::trusted(old, self.config.interpolation, n, candidate.descent.map)
            .resample(nodes, self.config.smoothness.order > 1)?;
        let descent = problem.descend(problem.admit(map.values())?, limits)?;
        Ok(Candidate {
            name: candidate.name,
            nodes,
            sweeps: candidate.sweeps + descent.history.len() - 1,
            rank: problem.rank(&descent),
            descent,
        })
    }

    /// Nodes along an axis, from coarse to fine: about doubled from one to the next.
    fn levels(&self) -> Vec<usize> {
        let periodic = self.config.domain.periodic().contains(&true);
        let coarsest = match self.config.domain.dimension() {
            1 => 17,
            2 => 9,
            _ => 5,
        }
        .max(self.config.smoothness.order + 1);
        let mut levels = vec![self.config.nodes];
        loop {
            let nodes = levels[levels.len() - 1];
            let next = if periodic {
                nodes.div_ceil(2)
            } else {
                (nodes - 1).div_ceil(2) + 1
            };
            if next < coarsest || next >= nodes {
                break;
            }
            levels.push(next);
        }
        levels.reverse();
        levels
    }

    /// The starts of the configuration that begin on this grid: the coarsest, but curves through centres where there are more nodes than
    /// centres.
    fn starts(
        &self,
        measure: &Measure,
        levels: &[usize],
        level: usize,
    ) -> Result<Vec<(String, Vec<f64>)>> {
        let chosen = &self.config.starts;
        let seed = self.config.seed;
        let grid = Grid::new(self.config.domain, levels[level])?;
        let mut found: Vec<(String, Vec<f64>)> = Vec::new();
        if level == 0 {
            found.extend((0..chosen.principal).map(|index| {
                let start = starts::principal(measure, grid, index, seed);
                (format!("principal{index}"), start)
            }));
            if chosen.continuation
                && let Constraint::Budget(budget) = self.constraint
            {
                let start = self.continuation(measure, grid, budget)?;
                found.push(("continuation".to_owned(), start));
            }
        }
        for &count in &chosen.centres {
            let begins = levels
                .iter()
                .position(|nodes| *nodes > count)
                .unwrap_or(levels.len() - 1);
            if begins == level {
                found.extend(starts::through_centres(measure, grid, count, seed));
            }
        }
        let curve = self.config.domain.dimension() == 1;
        let continued = chosen.continuation && matches!(self.constraint, Constraint::Budget(_));
        let some = chosen.principal > 0 || continued || (curve && !chosen.centres.is_empty());
        let wanted = chosen.continuation || !chosen.centres.is_empty();
        if level == 0 && !some && wanted {
            // What was asked for does not exist for this problem.
            found.push((
                "principal0".to_owned(),
                starts::principal(measure, grid, 0, seed),
            ));
        }
        Ok(found)
    }

    /// The budget raised step by step, each from where the last led.
    fn continuation(&self, measure: &Measure, grid: Grid, budget: f64) -> Result<Vec<f64>> {
        let mut map = starts::principal(measure, grid, 0, self.config.seed);
        let mut part = 0.1;
        let limits = Limits {
            sweeps: self.config.max_sweeps.min(15),
            tolerance: 1e-3,
            stop: self.stop,
        };
        while part < 1.0 {
            let problem =
                self.problem_with(measure, grid.side(), Constraint::Budget(part * budget))?;
            map = problem.descend(problem.admit(&map)?, &limits)?.map;
            part *= 1.2;
        }
        Ok(map)
    }
}

impl Descent {
    /// A descent that has not begun.
    fn at(map: Vec<f64>) -> Self {
        Self {
            map,
            loss: f64::INFINITY,
            history: Vec::new(),
            converged: false,
        }
    }
}
