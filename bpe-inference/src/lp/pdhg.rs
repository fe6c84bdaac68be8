//! A first-order solver on tensors: primal-dual hybrid gradient with diagonal preconditioning
//! (Pock and Chambolle), averaging, restarts and an adaptive primal weight (as in PDLP).
//!
//! An iteration is two products with the coefficient matrix and a gather and a scatter by step and
//! pair, so that the same code runs on every device of `burn`. Tensors are single precision: the
//! weights come out right to about four digits, good for a first look, as a start for
//! [`StructuredIpm`](super::StructuredIpm), or where there are hundreds of categories and a GPU.

use std::time::Instant;

use burn::tensor::{Device, IndexingUpdateOp, Int, Tensor, TensorData};

use super::certificate::certify;
use super::{Limits, LpError, LpSolution, LpSolver, LpState, MixtureLp};

const NAME: &str = "pdhg";
/// Iterations between two looks at the duality gap, which the host computes in double precision.
const CHECK: usize = 100;
/// A gap this much smaller than at the last restart makes a restart.
const SUFFICIENT: f64 = 0.2;
/// A gap this much smaller makes one when it has begun to grow.
const NECESSARY: f64 = 0.8;
/// So does a run of this share of all iterations.
const LONG: f64 = 0.36;
/// Gaps below this fraction of the largest coefficient count as closed.
const ABSOLUTE: f64 = 1e-7;

/// Solves approximately on a `burn` device (see the module's documentation of the method). Returns
/// the best point seen, with an objective and a lower bound that are certified in double precision,
/// also when the iterations end before the tolerance: look at the bound.
#[derive(Clone, Debug)]
pub struct PdhgSolver {
    /// Where the tensors live.
    pub device: Device,
    /// Stop when `objective - lower bound` is at most this multiple of the objective. Default 1e-4.
    pub tolerance: f64,
    /// Most iterations. Default 20,000.
    pub max_iterations: usize,
}

impl PdhgSolver {
    /// The solver with default tolerances on this device.
    pub fn new(device: Device) -> Self {
        Self {
            device,
            tolerance: 1e-4,
            max_iterations: 20_000,
        }
    }
}

impl LpSolver for PdhgSolver {
    fn name(&self) -> &'static str {
        NAME
    }

    fn solve(
        &self,
        lp: &MixtureLp,
        warm: Option<&LpState>,
        limits: &Limits<'_>,
    ) -> Result<LpSolution, LpError> {
        let started = Instant::now();
        lp.check(warm)?;
        limits.check(started)?;
        let largest = lp.largest_coefficient();
        let scale = if largest > 0.0 { largest.recip() } else { 1.0 };
        let operator = Operator::new(lp, scale, &self.device);
        let mut point = operator.start(lp, warm, scale);
        let mut average = Average::default();
        let mut restart = Restart::default();
        let mut best: Option<LpSolution> = None;
        let span = tracing::info_span!(
            "pdhg",
            position = tracing::field::Empty,
            length = self.max_iterations as u64
        );
        let _entered = span.enter();
        let mut iterations = 0;
        loop {
            limits.check(started)?;
            // The current point or the average since the restart, whichever is better.
            let mut candidates = vec![point.clone()];
            candidates.extend(average.mean());
            let mut chosen: Option<(f64, Point, HostPoint, LpSolution)> = None;
            for candidate in candidates {
                let host = candidate.to_host()?;
                let solution = host.certify(lp, scale, iterations)?;
                let gap = solution.objective - solution.lower_bound;
                if chosen.as_ref().is_none_or(|(least, ..)| gap < *least) {
                    chosen = Some((gap, candidate, host, solution));
                }
            }
            let Some((gap, candidate, host, solution)) = chosen else {
                return Err(LpError::NonFinite {
                    what: "every point of the first-order iteration",
                });
            };
            tracing::trace!(iterations, gap, objective = solution.objective);
            let done = gap <= self.tolerance * solution.objective + ABSOLUTE * largest;
            // The two ends of the gap may come from different points.
            let bound = best.as_ref().map_or(0.0, |b| b.lower_bound);
            if best
                .as_ref()
                .is_none_or(|b| solution.objective < b.objective)
            {
                let keep = best.replace(solution);
                if let (Some(best), Some(old)) = (&mut best, keep)
                    && old.lower_bound > best.lower_bound
                {
                    best.lower_bound = old.lower_bound;
                    best.state.dual = old.state.dual;
                }
            } else if solution.lower_bound > bound
                && let Some(best) = &mut best
            {
                best.lower_bound = solution.lower_bound.min(best.objective);
                best.state.dual = solution.state.dual;
            }
            if done || iterations >= self.max_iterations {
                break;
            }
            if restart.is_due(gap, average.count, iterations) {
                restart.begin(gap, host, &operator);
                point = candidate;
                average = Average::default();
            }
            for _ in 0..CHECK {
                point = operator.step(point, restart.weight);
                average.add(&point);
            }
            iterations += CHECK;
            span.record("position", iterations as u64);
        }
        let mut best = best.ok_or(LpError::NonFinite {
            what: "every point of the first-order iteration",
        })?;
        best.iterations = iterations;
        Ok(best)
    }
}

/// A point on the device; slacks are scaled.
#[derive(Clone)]
struct Point {
    alpha: Tensor<1>,
    step: Tensor<1>,
    pair: Tensor<1>,
    dual: Tensor<1>,
}

impl Point {
    fn map(self, other: &Self, f: impl Fn(Tensor<1>, Tensor<1>) -> Tensor<1>) -> Self {
        Self {
            alpha: f(self.alpha, other.alpha.clone()),
            step: f(self.step, other.step.clone()),
            pair: f(self.pair, other.pair.clone()),
            dual: f(self.dual, other.dual.clone()),
        }
    }

    fn to_host(&self) -> Result<HostPoint, LpError> {
        Ok(HostPoint {
            alpha: read(&self.alpha)?,
            step: read(&self.step)?,
            pair: read(&self.pair)?,
            dual: read(&self.dual)?,
        })
    }
}

/// The same in double precision.
#[derive(Clone, Default)]
struct HostPoint {
    alpha: Vec<f64>,
    step: Vec<f64>,
    pair: Vec<f64>,
    dual: Vec<f64>,
}

impl HostPoint {
    fn certify(
        &self,
        lp: &MixtureLp,
        scale: f64,
        iterations: usize,
    ) -> Result<LpSolution, LpError> {
        let unscaled = |v: &[f64]| v.iter().map(|v| v / scale).collect();
        certify(
            lp,
            self.alpha.clone(),
            unscaled(&self.step),
            unscaled(&self.pair),
            Some(self.dual.clone()),
            iterations,
        )
    }
}

fn read(tensor: &Tensor<1>) -> Result<Vec<f64>, LpError> {
    let data = tensor.clone().into_data();
    let values: Vec<f64> = data.iter::<f64>().collect();
    if values.iter().any(|x| !x.is_finite()) {
        return Err(LpError::NonFinite {
            what: "a point of the first-order iteration",
        });
    }
    Ok(values)
}

/// Sum of the points since the restart.
#[derive(Default)]
struct Average {
    sum: Option<Point>,
    count: usize,
}

impl Average {
    fn add(&mut self, point: &Point) {
        self.count += 1;
        self.sum = Some(match self.sum.take() {
            None => point.clone(),
            Some(sum) => sum.map(point, |sum, x| sum + x),
        });
    }

    fn mean(&self) -> Option<Point> {
        let share = 1.0 / self.count as f64;
        self.sum.clone().map(|sum| Point {
            alpha: sum.alpha * share,
            step: sum.step * share,
            pair: sum.pair * share,
            dual: sum.dual * share,
        })
    }
}

/// When to restart from the best point, and with which balance of primal and dual steps.
struct Restart {
    gap: f64,
    last_gap: f64,
    from: Option<HostPoint>,
    weight: f64,
}

impl Default for Restart {
    fn default() -> Self {
        Self {
            gap: f64::INFINITY,
            last_gap: f64::INFINITY,
            from: None,
            weight: 1.0,
        }
    }
}

impl Restart {
    fn is_due(&mut self, gap: f64, since: usize, iterations: usize) -> bool {
        let grows = gap > self.last_gap;
        self.last_gap = gap;
        self.from.is_none()
            || gap <= SUFFICIENT * self.gap
            || (gap <= NECESSARY * self.gap && grows)
            || since as f64 >= LONG * iterations as f64
    }

    /// Notes the new start. The weight moves half way (in logarithms) to the ratio of how far the
    /// dual and the primal variables have moved since the last one.
    fn begin(&mut self, gap: f64, host: HostPoint, operator: &Operator) {
        if let Some(from) = &self.from {
            let primal = operator.primal_distance(from, &host);
            let dual = operator.dual_distance(from, &host);
            if primal > 0.0 && dual > 0.0 {
                self.weight = (self.weight * dual / primal).sqrt().clamp(1e-5, 1e5);
            }
        }
        self.gap = gap;
        self.last_gap = f64::INFINITY;
        self.from = Some(host);
    }
}

/// The program on the device, with the step lengths that make the iteration converge: for every
/// variable the inverse of its column's sum of magnitudes, for every row that of its row's.
struct Operator {
    /// `rows x n`.
    a: Tensor<2>,
    step_of: Tensor<1, Int>,
    pair_of: Tensor<1, Int>,
    step_length: Tensor<1>,
    pair_length: Tensor<1>,
    row_length: Tensor<1>,
    /// One length for all weights, so that projecting on the simplex stays a plain projection.
    alpha_length: f64,
    /// 1, 2, ..., n.
    ranks: Tensor<1>,
    /// The lengths on the host.
    host_step: Vec<f64>,
    host_pair: Vec<f64>,
    host_row: Vec<f64>,
}

impl Operator {
    fn new(lp: &MixtureLp, scale: f64, device: &Device) -> Self {
        let (rows, n) = (lp.rows(), lp.n());
        let mut column = vec![0.0; n];
        let mut host_row = Vec::with_capacity(rows);
        let mut a = Vec::with_capacity(rows * n);
        let mut host_step = vec![0.0; lp.steps()];
        let mut host_pair = vec![0.0; lp.pairs()];
        for r in 0..rows {
            let mut sum = 2.0;
            for (column, c) in column.iter_mut().zip(lp.row(r)) {
                let c = scale * c;
                *column += c.abs();
                sum += c.abs();
                a.push(c as f32);
            }
            host_row.push(1.0 / sum);
            host_step[lp.step_of()[r] as usize] += 1.0;
            host_pair[lp.pair_of()[r] as usize] += 1.0;
        }
        for length in host_step.iter_mut().chain(&mut host_pair) {
            *length = 1.0 / f64::max(*length, 1.0);
        }
        let largest = column.iter().copied().fold(0.0, f64::max);
        let vector = |x: &[f64]| vector(x, device);
        Self {
            a: Tensor::from_data(TensorData::new(a, [rows, n]), device),
            step_of: indices(lp.step_of(), device),
            pair_of: indices(lp.pair_of(), device),
            step_length: vector(&host_step),
            pair_length: vector(&host_pair),
            row_length: vector(&host_row),
            alpha_length: if largest > 0.0 { 1.0 / largest } else { 1.0 },
            ranks: vector(&(1..=n).map(|k| k as f64).collect::<Vec<_>>()),
            host_step,
            host_pair,
            host_row,
        }
    }

    fn start(&self, lp: &MixtureLp, warm: Option<&LpState>, scale: f64) -> Point {
        let device = self.a.device();
        let none = LpState::default();
        let warm = warm.unwrap_or(&none);
        let filled = |x: &[f64], length: usize, factor: f64| {
            let mut x: Vec<f64> = x.iter().take(length).map(|x| factor * x.max(0.0)).collect();
            x.resize(length, 0.0);
            vector(&x, &device)
        };
        let alpha = if warm.alpha.is_empty() {
            vector(&vec![1.0 / lp.n() as f64; lp.n()], &device)
        } else {
            self.onto_simplex(filled(&warm.alpha, lp.n(), 1.0))
        };
        Point {
            alpha,
            step: filled(&warm.v_step, lp.steps(), scale),
            pair: filled(&warm.v_pair, lp.pairs(), scale),
            dual: filled(&warm.dual, lp.rows(), 1.0),
        }
    }

    /// One iteration; `weight` lengthens dual steps and shortens primal ones.
    fn step(&self, point: Point, weight: f64) -> Point {
        let row = point.dual.clone().unsqueeze::<2>();
        let gain = row.matmul(self.a.clone()).squeeze_dim::<1>(0);
        let alpha = self.onto_simplex(point.alpha.clone() + gain * (self.alpha_length / weight));
        let slack = |v: &Tensor<1>, index: &Tensor<1, Int>, length: &Tensor<1>| {
            let covered = v.zeros_like().select_assign(
                0,
                index.clone(),
                point.dual.clone(),
                IndexingUpdateOp::Add,
            );
            (v.clone() - (covered.neg() + 1.0) * length.clone() / weight).clamp_min(0.0)
        };
        let step = slack(&point.step, &self.step_of, &self.step_length);
        let pair = slack(&point.pair, &self.pair_of, &self.pair_length);
        // The dual step looks at the point that the primal step seems to go to.
        let ahead = |new: &Tensor<1>, old: Tensor<1>| new.clone() * 2.0 - old;
        let value = ahead(&step, point.step).select(0, self.step_of.clone())
            + ahead(&pair, point.pair).select(0, self.pair_of.clone())
            + self
                .a
                .clone()
                .matmul(ahead(&alpha, point.alpha).unsqueeze_dim::<2>(1))
                .squeeze_dim::<1>(1);
        let dual = (point.dual - value * self.row_length.clone() * weight).clamp_min(0.0);
        Point {
            alpha,
            step,
            pair,
            dual,
        }
    }

    /// Euclidean projection: subtract the number that leaves a sum of 1, which is the largest of
    /// `(sum of the k largest - 1) / k`, and cut off at 0.
    fn onto_simplex(&self, x: Tensor<1>) -> Tensor<1> {
        let sums = x.clone().sort_descending(0).cumsum(0);
        let threshold = ((sums - 1.0) / self.ranks.clone()).max();
        (x - threshold).clamp_min(0.0)
    }

    /// Distance of the primal variables in the norm that the step lengths make natural.
    fn primal_distance(&self, from: &HostPoint, to: &HostPoint) -> f64 {
        let slacks = distance(&from.step, &to.step, &self.host_step)
            + distance(&from.pair, &to.pair, &self.host_pair);
        let weights: f64 = from
            .alpha
            .iter()
            .zip(&to.alpha)
            .map(|(x, y)| (x - y).powi(2))
            .sum();
        (slacks + weights / self.alpha_length).sqrt()
    }

    fn dual_distance(&self, from: &HostPoint, to: &HostPoint) -> f64 {
        distance(&from.dual, &to.dual, &self.host_row).sqrt()
    }
}

fn distance(from: &[f64], to: &[f64], length: &[f64]) -> f64 {
    from.iter()
        .zip(to)
        .zip(length)
        .map(|((x, y), length)| (x - y).powi(2) / length)
        .sum()
}

fn vector(x: &[f64], device: &Device) -> Tensor<1> {
    let x: Vec<f32> = x.iter().map(|&x| x as f32).collect();
    let length = x.len();
    Tensor::from_data(TensorData::new(x, [length]), device)
}

fn indices(x: &[u32], device: &Device) -> Tensor<1, Int> {
    let x: Vec<i32> = x.iter().map(|&x| x as i32).collect();
    let length = x.len();
    Tensor::from_data(TensorData::new(x, [length]), device)
}
