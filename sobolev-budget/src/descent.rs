//! Descent from one start on one grid: closest points and the best map for them, in turns.
//!
//! Each turn minimises a quadratic that lies above the loss (for p up to 2) within the budget, so the loss never rises. Turns are
//! over-relaxed, and curves whose best speed is constant are respaced now and then, as both take out the slow drift of points along the map.

use crate::Measure;
use crate::assign::{Assignment, Loss, Moments, Place};
use crate::domain::{Domain, Grid};
use crate::elements::{Elements, Interpolation};
use crate::fit::{Constraint, Kkt};
use crate::map::GridMap;
use crate::norm::{Norm, Smoothness};
use crate::system::{CostMatrix, Quadratic, System};
use crate::{Error, Result};

/// A problem on one grid, in units in which the measure has the diameter 1.
pub(crate) struct Problem<'a> {
    measure: &'a Measure,
    grid: Grid,
    interpolation: Interpolation,
    elements: Elements,
    system: System,
    loss: Loss,
    constraint: Constraint,
    /// Whether a curve is best run through at constant speed.
    even: bool,
    place: Place,
    n: usize,
}

/// When a descent ends.
pub(crate) struct Limits<'a> {
    /// Sweeps at most.
    pub(crate) sweeps: usize,
    /// The relative decrease that counts as none.
    pub(crate) tolerance: f64,
    /// Asked before each sweep.
    pub(crate) stop: &'a (dyn Fn() -> bool + Sync),
}

/// Where a descent ended.
#[derive(Clone)]
pub(crate) struct Descent {
    pub(crate) map: Vec<f64>,
    /// The loss, `J_p`.
    pub(crate) loss: f64,
    /// The loss after each sweep.
    pub(crate) history: Vec<f64>,
    pub(crate) converged: bool,
}

/// The state that a sweep works on.
struct State {
    map: Vec<f64>,
    moments: Moments,
    /// The loss, with a price also the cost.
    objective: f64,
    lambda: f64,
    /// Distances below this count as this large in the next weights, if p is less than 2.
    floor: f64,
}

/// What a step aims at: the minimiser of the quadratic model.
struct Target {
    map: Vec<f64>,
    /// The multiplier of the quadratic cost.
    lambda: f64,
    /// By how much the objective falls at least, if the model lies above it.
    decrease: f64,
}

impl<'a> Problem<'a> {
    pub(crate) fn new(
        measure: &'a Measure,
        grid: Grid,
        interpolation: Interpolation,
        smoothness: &Smoothness,
        exponent: f64,
        constraint: Constraint,
        place: Place,
    ) -> Result<Self> {
        let elements = Elements::new(grid, interpolation);
        let system = System::new(smoothness, grid, &elements)?;
        let curve = matches!(grid.domain(), Domain::Interval | Domain::Circle);
        Ok(Self {
            measure,
            grid,
            interpolation,
            elements,
            system,
            loss: Loss {
                exponent,
                floor: 1e-8,
            },
            constraint,
            even: curve && smoothness.order == 1 && smoothness.norm == Norm::Seminorm,
            place,
            n: measure.dimension(),
        })
    }

    /// The nearest map within the budget, in the mean square over the nodes.
    pub(crate) fn admit(&self, map: &[f64]) -> Result<Vec<f64>> {
        let Constraint::Budget(budget) = self.constraint else {
            return Ok(map.to_vec());
        };
        if self.system.differences.cost(map, self.n) <= budget {
            return Ok(map.to_vec());
        }
        let quadratic = self.system.identity(map, self.n);
        let mut admitted = map.to_vec();
        for _ in 0..8 {
            let cost = self.cost_matrix(&admitted);
            let target = budget.powf(self.system.differences.exponent());
            (admitted, _) = self.system.budgeted(&quadratic, &cost, target, 0.0)?;
            if self.system.differences.exponent() == 2.0 {
                break;
            }
        }
        self.system.bring_within(&mut admitted, self.n, budget);
        Ok(admitted)
    }

    /// Descends from a map, which must be within the budget.
    pub(crate) fn descend(&self, start: Vec<f64>, limits: &Limits) -> Result<Descent> {
        let mut assignment = Assignment::new(self.measure.len());
        let mut state = self.arrive(&mut assignment, start, 0.0, self.loss.floor);
        state.floor = self.floor(&state, 0);
        let mut history = vec![state.moments.loss];
        let mut relaxation = 1.0;
        let mut still = 0;
        let mut converged = false;
        for sweep in 0..limits.sweeps {
            if (limits.stop)() {
                break;
            }
            let before = state.objective;
            let quadratic = self
                .system
                .quadratic(&state.moments, &self.elements, self.n);
            let target = self.target(&quadratic, &state)?;
            state.floor = self.floor(&state, sweep);
            state = self.step(&mut assignment, state, &target, &mut relaxation);
            if self.even && sweep % 8 == 7 {
                state = self.respace(&mut assignment, state)?;
            }
            history.push(state.moments.loss);
            tracing::trace!(
                sweep,
                objective = state.objective,
                relaxation,
                kept = assignment.kept()
            );
            // Either measure alone can be small by chance.
            let fell = (before - state.objective).max(target.decrease);
            still = if fell <= limits.tolerance * before.abs() {
                still + 1
            } else {
                0
            };
            if still >= 3 || state.objective <= 1e-28 {
                converged = true;
                break;
            }
        }
        Ok(Descent {
            loss: state.moments.loss,
            map: state.map,
            history,
            converged,
        })
    }

    /// What a descent has reached, to choose by: the loss, with a price also the cost.
    pub(crate) fn rank(&self, descent: &Descent) -> f64 {
        descent.loss
            + match self.constraint {
                Constraint::Budget(_) => 0.0,
                Constraint::Price(price) => {
                    price * self.system.differences.power(&descent.map, self.n)
                }
            }
    }

    /// How far a map is from being stationary, and its multiplier.
    pub(crate) fn kkt(&self, map: &[f64]) -> Result<(f64, Kkt)> {
        let n = self.n;
        let moments = Assignment::new(self.measure.len()).update(
            self.measure,
            &self.elements,
            map,
            self.loss,
            &self.place,
        );
        let quadratic = self.system.quadratic(&moments, &self.elements, n);
        let state = State {
            objective: 0.0,
            lambda: 0.0,
            floor: self.loss.floor,
            map: map.to_vec(),
            moments,
        };
        let mut lambda = self.target(&quadratic, &state)?.lambda;
        let q = self.system.differences.exponent();
        let spent = self.system.differences.cost(map, n);
        let cost = self.cost_matrix(map);
        let gradient = self.system.half_gradient(&quadratic, map);
        let slope = self.system.times_a(&cost, map, n);
        let norm = self.system.dual_norm(&quadratic, &cost, lambda)?;
        let residual = |lambda: f64| {
            let sum: Vec<f64> = gradient
                .iter()
                .zip(&slope)
                .map(|(g, a)| g + lambda * a)
                .collect();
            norm(&sum)
        };
        let mut stationarity = residual(lambda);
        if let Constraint::Budget(budget) = self.constraint
            && lambda > 0.0
            && budget > 0.0
        {
            // At a map that is not quite stationary another multiplier may fit better: the residual is a parabola in it.
            let (zero, one) = (residual(0.0), residual(2.0 * lambda));
            let curvature = (one * one + zero * zero - 2.0 * stationarity * stationarity)
                / (2.0 * lambda * lambda);
            let best = lambda - (one * one - zero * zero) / (4.0 * lambda * curvature);
            if best.is_finite() && best > 0.0 && residual(best) < stationarity {
                lambda = best;
                stationarity = residual(best);
            }
        }
        let scale = norm(&gradient).max(1e-9 * state.moments.model.sqrt());
        let budget = match self.constraint {
            Constraint::Budget(budget) => budget,
            Constraint::Price(_) => spent,
        };
        let excess = if budget > 0.0 {
            spent / budget - 1.0
        } else {
            spent
        };
        let kkt = Kkt {
            stationarity: if scale > 0.0 {
                stationarity / scale
            } else {
                0.0
            },
            complementarity: if lambda > 0.0 {
                (-excess).max(0.0)
            } else {
                0.0
            },
            infeasibility: excess.max(0.0),
        };
        let multiplier = match self.constraint {
            Constraint::Budget(_) => 2.0 * lambda / q,
            // Small prices are raised in the equations, where arithmetic could not tell them from 0.
            Constraint::Price(price) => price,
        };
        Ok((multiplier, kkt))
    }

    /// The floor of distances in weights. With p below 2, points on the map weigh without bound and would hold it where it is, also along itself;
    /// so the floor begins high and falls from sweep to sweep, and rises again now and then. What is accepted is judged by the true loss.
    fn floor(&self, state: &State, sweep: usize) -> f64 {
        if self.loss.exponent >= 2.0 {
            return self.loss.floor;
        }
        let distance = state.moments.loss.powf(1.0 / self.loss.exponent);
        (0.3 * distance * 0.75f64.powi(sweep as i32 % 48)).max(self.loss.floor)
    }

    /// Assigns all points to a map.
    fn arrive(&self, assignment: &mut Assignment, map: Vec<f64>, lambda: f64, floor: f64) -> State {
        let loss = Loss { floor, ..self.loss };
        let moments = assignment.update(self.measure, &self.elements, &map, loss, &self.place);
        State {
            objective: self.objective(&moments, &map),
            map,
            moments,
            lambda,
            floor,
        }
    }

    fn objective(&self, moments: &Moments, map: &[f64]) -> f64 {
        moments.loss
            + match self.constraint {
                Constraint::Budget(_) => 0.0,
                Constraint::Price(price) => price * self.system.differences.power(map, self.n),
            }
    }

    /// The matrix of the cost near a map. Where q is not 2, derivatives count as at least a small part of the whole, so that no part of the
    /// domain becomes free or infinitely dear.
    fn cost_matrix(&self, map: &[f64]) -> CostMatrix {
        let differences = &self.system.differences;
        let mut floor = 0.0;
        if differences.exponent() != 2.0 {
            let size = match self.constraint {
                Constraint::Budget(budget) => budget,
                Constraint::Price(_) => differences.cost(map, self.n).max(1e-3),
            };
            floor = if differences.exponent() < 2.0 {
                1e-6
            } else {
                1e-3
            } * size;
        }
        self.system
            .cost_matrix(differences.weights(map, self.n, floor))
    }

    /// The minimiser of the quadratic model within the budget, or with its price.
    fn target(&self, quadratic: &Quadratic, state: &State) -> Result<Target> {
        let q = self.system.differences.exponent();
        let (mut map, lambda);
        match self.constraint {
            Constraint::Price(price) => {
                // The quadratic that lies above C^q (for q up to 2) has the factor q/2.
                let cost = self.cost_matrix(&state.map);
                (map, lambda) = self.system.priced(quadratic, &cost, price * q / 2.0)?;
                let fell = self.system.decrease(quadratic, &state.map, &map);
                let dearer = self.system.cost_square(&cost, &map, self.n)
                    - self.system.cost_square(&cost, &state.map, self.n);
                return Ok(Target {
                    map,
                    lambda,
                    decrease: fell - price * q / 2.0 * dearer,
                });
            }
            Constraint::Budget(budget) => {
                let goal = budget.powf(q);
                if q == 2.0 {
                    let cost = self.cost_matrix(&state.map);
                    (map, lambda) = self.system.budgeted(quadratic, &cost, goal, state.lambda)?;
                } else {
                    (map, lambda) = self.reweighted(quadratic, state, budget)?;
                }
                self.system.bring_within(&mut map, self.n, budget);
                if lambda > 0.0 && !lambda.is_finite() {
                    return Err(Error::Linear("no multiplier meets the budget".to_owned()));
                }
            }
        }
        Ok(Target {
            decrease: self.system.decrease(quadratic, &state.map, &map),
            map,
            lambda,
        })
    }

    /// The minimiser of the quadratic model within a budget where q is not 2: the cost is replaced by a quadratic that agrees with it near the
    /// last map, again and again. For q above 2 the weights are damped, as they would swing otherwise.
    fn reweighted(
        &self,
        quadratic: &Quadratic,
        state: &State,
        budget: f64,
    ) -> Result<(Vec<f64>, f64)> {
        let q = self.system.differences.exponent();
        let goal = budget.powf(q);
        let damping = if q > 2.0 { 1.0 / (q - 1.0) } else { 1.0 };
        let mut cost = self.cost_matrix(&state.map);
        let mut lambda = state.lambda;
        let mut map = state.map.clone();
        for _ in 0..12 {
            (map, lambda) = self.system.budgeted(quadratic, &cost, goal, lambda)?;
            let spent = self.system.differences.cost(&map, self.n);
            if (spent / budget - 1.0).abs() < 1e-9 {
                break;
            }
            cost = self.system.blend(&cost, &self.cost_matrix(&map), damping);
        }
        Ok((map, lambda))
    }

    /// Goes to the target, or beyond it if that is better than the model says the target is, or only part of the way if the model was wrong.
    fn step(
        &self,
        assignment: &mut Assignment,
        state: State,
        target: &Target,
        relaxation: &mut f64,
    ) -> State {
        let toward = |factor: f64| -> Vec<f64> {
            let mut map: Vec<f64> = state
                .map
                .iter()
                .zip(&target.map)
                .map(|(f, t)| f + factor * (t - f))
                .collect();
            if factor > 1.0
                && let Constraint::Budget(budget) = self.constraint
            {
                self.system.bring_within(&mut map, self.n, budget);
            }
            map
        };
        // For p above 2 the quadratic is too flat by up to p - 1, and its minimiser as much too far.
        let whole = if self.loss.exponent > 2.0 {
            1.0 / (self.loss.exponent - 1.0)
        } else {
            1.0
        };
        if *relaxation > 1.0 {
            let far = self.arrive(
                assignment,
                toward(*relaxation * whole),
                target.lambda,
                state.floor,
            );
            if far.objective <= state.objective - whole * target.decrease {
                *relaxation = (*relaxation * 1.5).min(64.0);
                return far;
            }
            *relaxation = (*relaxation / 2.0).max(1.0);
        }
        let mut factor = whole;
        for _ in 0..12 {
            let map = if factor == 1.0 {
                target.map.clone()
            } else {
                toward(factor)
            };
            let near = self.arrive(assignment, map, target.lambda, state.floor);
            if near.objective <= state.objective {
                if *relaxation == 1.0 && factor == whole {
                    *relaxation = 1.5;
                }
                return near;
            }
            factor *= 0.5;
        }
        // Nothing nearby is better than where we are.
        let (map, floor) = (state.map, state.floor);
        self.arrive(assignment, map, target.lambda, floor)
    }

    /// The curve run through at constant speed, and one step from there, if that is better.
    fn respace(&self, assignment: &mut Assignment, state: State) -> Result<State> {
        let mut map = GridMap::trusted(self.grid, self.interpolation, self.n, state.map.clone())
            .respaced()
            .values()
            .to_vec();
        if let Constraint::Budget(budget) = self.constraint {
            self.system.bring_within(&mut map, self.n, budget);
        }
        let spaced = self.arrive(assignment, map, state.lambda, state.floor);
        let quadratic = self
            .system
            .quadratic(&spaced.moments, &self.elements, self.n);
        let target = self.target(&quadratic, &spaced)?;
        let stepped = self.arrive(assignment, target.map, target.lambda, state.floor);
        if stepped.objective < state.objective {
            return Ok(stepped);
        }
        Ok(self.arrive(assignment, state.map, state.lambda, state.floor))
    }
}
