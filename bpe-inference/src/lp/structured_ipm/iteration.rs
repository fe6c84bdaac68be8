//! The iterate of the interior-point method, its starting points and one predictor-corrector step.

use rayon::prelude::*;

use super::block::{Aim, Block, Bounded, Products, Reach, SHARES};
use super::layout::Layout;
use super::normal::NormalEquations;
use crate::lp::{LpError, LpState, MixtureLp};

/// Fraction of the way to the boundary that a step takes.
const STEP: f64 = 0.995;
/// Directions are refined until their residual is this fraction of the relative gap...
const PRECISION: f64 = 1e-3;
/// ... or this, which rounding hardly lets them fall below.
const LEAST_PRECISION: f64 = 1e-11;
/// Most refinements of a direction.
const MOST_REFINEMENTS: usize = 5;
/// Most of Gondzio's corrections of a direction.
const MOST_CORRECTIONS: usize = 2;
/// By so much longer a step such a correction aims at.
const LONGER: f64 = 0.3;
/// By so much both steps must get longer for another one.
const WORTHWHILE: f64 = 0.03;
/// Products of variables and multipliers are not pushed below this fraction of what the tolerance
/// asks for: the equations would only become worse conditioned.
const LEAST_TARGET: f64 = 0.3;
/// A cold start's slacks are at least this fraction of the largest coefficient.
const LEAST_START: f64 = 1e-3;
/// Share of the centred point in a warm start.
const CENTRED: f64 = 0.1;

/// A point in the program's own order and units.
#[derive(Default)]
pub(super) struct Iterate {
    pub(super) alpha: Vec<f64>,
    pub(super) v_step: Vec<f64>,
    pub(super) v_pair: Vec<f64>,
    pub(super) dual: Vec<f64>,
}

/// What a point is worth, in scaled units.
#[derive(Clone, Copy, Debug)]
pub(super) struct Point {
    /// Sum of the slacks.
    pub(super) objective: f64,
    /// Lower bound from the row multipliers.
    pub(super) bound: f64,
    /// Sum of the primal residuals' magnitudes: by so much repairing may raise the objective.
    pub(super) infeasibility: f64,
    /// Sum of the products of variables and multipliers.
    pub(super) complementarity: f64,
}

impl Point {
    pub(super) fn gap(&self) -> f64 {
        self.objective + self.infeasibility - self.bound
    }
}

/// See the module.
pub(super) struct Iteration<'a> {
    lp: &'a MixtureLp,
    layout: &'a Layout,
    blocks: Vec<Block>,
    normal: NormalEquations,
    kept: Vec<Bounded>,
    alpha: Vec<Bounded>,
    /// Coefficients are multiplied by this power of 2, so that the largest is about 1.
    scale: f64,
    /// Lengths of the step that the next [`Iteration::form`] takes.
    step: (f64, f64),
    /// `D_r / sqrt(D_t)` of every row.
    scaled: Vec<f64>,
    /// Objective of the current point.
    objective: f64,
    /// Residuals that directions may keep.
    precision: f64,
    /// Least target for the products.
    least_target: f64,
}

impl<'a> Iteration<'a> {
    /// Copies the coefficients of `lp`, scaled and in the order of `layout`.
    pub(super) fn new(lp: &'a MixtureLp, layout: &'a Layout) -> Result<Self, LpError> {
        let largest = lp.largest_coefficient();
        let scale = if largest > 0.0 {
            (-largest.log2().ceil()).clamp(-1000.0, 1000.0).exp2()
        } else {
            1.0
        };
        Ok(Self {
            lp,
            layout,
            blocks: layout
                .blocks()
                .into_par_iter()
                .map(|groups| Block::new(lp, layout, groups, scale))
                .collect(),
            normal: NormalEquations::new(layout, lp.n())?,
            kept: vec![Bounded::default(); layout.kept()],
            alpha: vec![Bounded::default(); lp.n()],
            scale,
            step: (0.0, 0.0),
            scaled: vec![0.0; layout.rows()],
            objective: 1.0,
            precision: PRECISION,
            least_target: 0.0,
        })
    }

    /// Starts from uniform weights, with all slacks as large as the largest violation there.
    pub(super) fn start_cold(&mut self) {
        let uniform = vec![1.0 / self.alpha.len() as f64; self.alpha.len()];
        let mut violation = LEAST_START;
        let padded = padded(uniform.iter().copied(), self.layout.stride);
        for block in &self.blocks {
            block.for_each_row(|_, _, _, a| {
                violation = violation.max(-super::kernels::dot(a, &padded))
            });
        }
        let groups = vec![violation; self.layout.groups()];
        let kept = vec![violation; self.layout.kept()];
        let dual = vec![0.0; self.layout.rows()];
        self.start(&uniform, &groups, &kept, &dual, 1.0, violation);
    }

    /// Starts from a convex combination of `warm` and a centred point.
    pub(super) fn start_warm(&mut self, warm: &LpState) {
        let n = self.alpha.len() as f64;
        let sum: f64 = warm.alpha.iter().map(|x| x.max(0.0)).sum();
        let alpha: Vec<f64> = warm
            .alpha
            .iter()
            .map(|x| {
                let share = if sum > 0.0 { x.max(0.0) / sum } else { 1.0 / n };
                (1.0 - CENTRED) * share + CENTRED / n
            })
            .collect();
        let (group_state, kept_state) = if self.layout.pairs_eliminated {
            (&warm.v_pair, &warm.v_step)
        } else {
            (&warm.v_step, &warm.v_pair)
        };
        let scale = self.scale;
        let at = |state: &[f64], id: &u32| {
            scale * state.get(*id as usize).copied().unwrap_or(0.0).max(0.0)
        };
        let groups: Vec<f64> = self
            .layout
            .group_id
            .iter()
            .map(|id| at(group_state, id))
            .collect();
        let kept: Vec<f64> = self
            .layout
            .kept_id
            .iter()
            .map(|id| at(kept_state, id))
            .collect();
        let dual: Vec<f64> = self
            .layout
            .source
            .iter()
            .map(|&r| {
                warm.dual
                    .get(r as usize)
                    .copied()
                    .unwrap_or(0.0)
                    .clamp(0.0, 1.0)
            })
            .collect();
        let mean = (groups.iter().sum::<f64>() + kept.iter().sum::<f64>())
            / (groups.len() + kept.len()) as f64;
        self.start(&alpha, &groups, &kept, &dual, CENTRED, mean.max(1e-9));
    }

    /// Sets all variables: slacks and row multipliers are (1 - `centred`) of those given, the rest of
    /// the slacks is `level`, the rest of the multipliers evenly spread; slacks are raised until all
    /// rows hold, and the bound's multipliers complete a dual feasible point.
    fn start(
        &mut self,
        alpha: &[f64],
        groups: &[f64],
        kept: &[f64],
        dual: &[f64],
        centred: f64,
        level: f64,
    ) {
        let stride = self.layout.stride;
        let padded_alpha = padded(alpha.iter().copied(), stride);
        let start = |v: f64| (1.0 - centred) * v + centred * level;
        for (slack, &v) in self.kept.iter_mut().zip(kept) {
            *slack = Bounded {
                x: start(v),
                z: 1.0,
                ..Bounded::default()
            };
        }
        let kept_rows: Vec<f64> = self
            .layout
            .kept_start
            .windows(2)
            .map(|range| (range[1] - range[0]) as f64)
            .collect();
        let (mut first_row, mut first_group) = (0, 0);
        let mut at_dual = vec![0.0; stride];
        for block in &mut self.blocks {
            let count = block.groups.len();
            for (group, v) in block.groups.iter_mut().zip(&groups[first_group..]) {
                group.slack = Bounded {
                    x: start(*v),
                    z: 1.0,
                    ..Bounded::default()
                };
            }
            let mut s = std::mem::take(&mut block.s);
            let mut w = std::mem::take(&mut block.w);
            let mut lift = vec![0.0f64; count];
            block.for_each_row(|r, g, k, a| {
                s[r] = block.groups[g].slack.x
                    + self.kept[k].x
                    + super::kernels::dot(a, &padded_alpha);
                lift[g] = lift[g].max(centred * level - s[r]);
            });
            block.for_each_row(|r, g, k, a| {
                s[r] += lift[g];
                let spread = 0.5 / block.group_rows(g).max(kept_rows[k]);
                w[r] = (1.0 - centred) * dual[first_row + r] + centred * spread;
                super::kernels::add_scaled(&mut at_dual, w[r], a);
            });
            block.for_each_row(|r, _, k, _| self.kept[k].z -= w[r]);
            let mut group_sum = vec![0.0; count];
            block.for_each_row(|r, g, _, _| group_sum[g] += w[r]);
            for ((group, lift), sum) in block.groups.iter_mut().zip(lift).zip(group_sum) {
                group.slack.x += lift;
                group.slack.z = (1.0 - sum).max(0.5 * centred);
            }
            block.s = s;
            block.w = w;
            first_row += block.rows();
            first_group += count;
        }
        for slack in &mut self.kept {
            slack.z = slack.z.max(0.5 * centred);
        }
        let product: f64 = self
            .blocks
            .iter()
            .flat_map(|b| &b.groups)
            .map(|g| g.slack.x * g.slack.z)
            .sum();
        let mean = product / self.layout.groups() as f64;
        let lambda = at_dual[..alpha.len()]
            .iter()
            .fold(f64::INFINITY, |m, x| m.min(-x))
            - mean * alpha.len() as f64;
        for ((weight, &x), at_dual) in self.alpha.iter_mut().zip(alpha).zip(&at_dual) {
            *weight = Bounded {
                x,
                z: -at_dual - lambda,
                ..Bounded::default()
            };
        }
    }

    /// Takes the step found last, then forms the normal equations there.
    pub(super) fn form(&mut self, tolerance: f64) -> Point {
        let (primal, dual) = self.step;
        for bounded in self.kept.iter_mut().chain(&mut self.alpha) {
            bounded.step(primal, dual);
        }
        let alpha = padded(self.alpha.iter().map(|x| x.x), self.layout.stride);
        let kept = &self.kept;
        let mut rest = &mut self.scaled[..];
        let mut tasks = Vec::with_capacity(self.blocks.len());
        for block in &mut self.blocks {
            let (scaled, tail) = rest.split_at_mut(block.rows());
            tasks.push((block, scaled));
            rest = tail;
        }
        tasks
            .into_par_iter()
            .for_each(|(block, scaled)| block.form((primal, dual), kept, &alpha, scaled));
        self.step = (0.0, 0.0);
        let point = self.evaluate();
        self.objective = point.objective;
        self.precision =
            (PRECISION * point.gap() / point.objective).clamp(LEAST_PRECISION, PRECISION);
        self.least_target = LEAST_TARGET * tolerance * point.objective / self.products();
        point
    }

    /// Number of products of a variable and its multiplier.
    fn products(&self) -> f64 {
        (self.layout.rows() + self.layout.groups() + self.kept.len() + self.alpha.len()) as f64
    }

    fn evaluate(&self) -> Point {
        let mut objective: f64 = self.kept.iter().map(|k| k.x).sum();
        let mut infeasibility = 0.0;
        let mut complementarity: f64 = self.kept.iter().chain(&self.alpha).map(|b| b.x * b.z).sum();
        let mut largest_sum = 1.0f64;
        for block in &self.blocks {
            infeasibility += block.sums.infeasibility;
            complementarity += block.sums.complementarity;
            for group in &block.groups {
                objective += group.slack.x;
                complementarity += group.slack.x * group.slack.z;
                largest_sum = largest_sum.max(group.dual_sum);
            }
        }
        for k in 0..self.kept.len() {
            largest_sum = largest_sum.max(self.sum(|block| block.sums.dual_sum[k]));
        }
        let bound = (0..self.alpha.len())
            .map(|i| -self.sum(|block| block.sums.at_dual[i]))
            .fold(f64::INFINITY, f64::min);
        Point {
            objective,
            bound: (bound / largest_sum).max(0.0),
            infeasibility,
            complementarity,
        }
    }

    /// Finds the next direction (Mehrotra's predictor and corrector, then Gondzio's corrections while
    /// they pay) and how far to go along it.
    pub(super) fn advance(&mut self) -> Result<(), LpError> {
        self.normal.assemble(
            self.layout,
            &self.blocks,
            &self.scaled,
            &self.kept,
            &self.alpha,
        );
        self.normal.factorize()?;

        self.find_correction(Aim::Zero);
        let products = self.adopt();
        let reach = self.reach([0.0; SHARES]);
        let primal = reach.primal[0].max(1.0).recip();
        let dual = reach.dual[0].max(1.0).recip();
        let mean = products.now / self.products();
        let after = (products.after(primal, dual) / products.now).clamp(0.0, 1.0);
        let mu = (mean * after.powi(3)).max(self.least_target);

        self.find_correction(Aim::Second { mu });
        let (mut primal, mut dual) = self.blend(primal * dual);
        for _ in 0..MOST_CORRECTIONS {
            let aim = Aim::Centre {
                mu,
                primal: (primal + LONGER).min(1.0),
                dual: (dual + LONGER).min(1.0),
            };
            self.find_correction(aim);
            let before = (primal, dual);
            (primal, dual) = self.blend(0.0);
            if primal < before.0 + WORTHWHILE || dual < before.1 + WORTHWHILE {
                break;
            }
        }
        tracing::trace!(mu, primal, dual);
        self.step = (primal, dual);
        Ok(())
    }

    /// Finds the correction of the direction that `aim` asks for, refined.
    fn find_correction(&mut self, aim: Aim) {
        let predictor = matches!(aim, Aim::Zero);
        self.blocks.par_iter_mut().for_each(|block| block.aim(aim));
        for bounded in self.kept.iter_mut().chain(&mut self.alpha) {
            aim.set(bounded);
            bounded.cx = 0.0;
        }
        let own = |bounded: &Bounded| {
            if predictor {
                0.0
            } else {
                bounded.target / bounded.x
            }
        };
        let cost = if predictor { 1.0 } else { 0.0 };
        let kept_rhs: Vec<f64> = self
            .kept
            .iter()
            .enumerate()
            .map(|(k, slack)| self.sum(|block| block.sums.rhs_kept[k]) + own(slack) - cost)
            .collect();
        let weights_rhs: Vec<f64> = self
            .alpha
            .iter()
            .enumerate()
            .map(|(i, weight)| self.sum(|block| block.sums.rhs_weights[i]) + own(weight))
            .collect();
        let total = if predictor {
            1.0 - self.alpha.iter().map(|x| x.x).sum::<f64>()
        } else {
            0.0
        };
        let (mut kept_left, mut weights_left) = (kept_rhs.clone(), weights_rhs.clone());
        let mut total_left = total;
        let mut lambda = 0.0;
        let mut before = f64::INFINITY;
        for refinement in 0.. {
            lambda += self.solve(kept_left, weights_left, total_left);
            for bounded in self.kept.iter_mut().chain(&mut self.alpha) {
                bounded.complete();
            }
            let alpha = padded(self.alpha.iter().map(|x| x.cx), self.layout.stride);
            let kept = &self.kept;
            self.blocks
                .par_iter_mut()
                .for_each(|block| block.complete(kept, &alpha, predictor));
            kept_left = self
                .kept
                .iter()
                .enumerate()
                .map(|(k, slack)| {
                    let image = self.sum(|block| block.sums.image_kept[k]);
                    kept_rhs[k] - image - slack.cx * slack.z / slack.x
                })
                .collect();
            weights_left = self
                .alpha
                .iter()
                .enumerate()
                .map(|(i, weight)| {
                    let image = self.sum(|block| block.sums.image_weights[i]);
                    weights_rhs[i] + lambda - image - weight.cx * weight.z / weight.x
                })
                .collect();
            total_left = total - self.alpha.iter().map(|x| x.cx).sum::<f64>();
            let left = self.largest_residual(&kept_left, &weights_left);
            tracing::trace!(refinement, left);
            if left <= self.precision || refinement == MOST_REFINEMENTS || left > 0.5 * before {
                break;
            }
            before = left;
        }
    }

    /// Adds to the correction the solution for these right-hand sides and the residuals in the groups;
    /// returns the multiplier of `sum alpha = 1`.
    fn solve(&mut self, kept: Vec<f64>, weights: Vec<f64>, total: f64) -> f64 {
        self.blocks.par_iter_mut().for_each(Block::eliminate);
        let mut x = kept;
        for (k, x) in x.iter_mut().enumerate() {
            *x -= self.sum(|block| block.sums.image_kept[k]);
        }
        for (i, weight) in weights.iter().enumerate() {
            x.push(weight - self.sum(|block| block.sums.image_weights[i]));
        }
        let lambda = self.normal.solve(&mut x, total);
        let (kept, weights) = x.split_at(self.kept.len());
        for (bounded, cx) in self.kept.iter_mut().chain(&mut self.alpha).zip(&x) {
            bounded.cx += cx;
        }
        let weights = padded(weights.iter().copied(), self.layout.stride);
        self.blocks
            .par_iter_mut()
            .for_each(|block| block.add_group_correction(kept, &weights));
        lambda
    }

    /// Makes the correction the direction.
    fn adopt(&mut self) -> Products {
        let mut products = Products::default();
        for bounded in self.kept.iter_mut().chain(&mut self.alpha) {
            (bounded.dx, bounded.dz) = (bounded.cx, bounded.cz);
            products.see(bounded);
        }
        let parts: Vec<Products> = self.blocks.par_iter_mut().map(Block::adopt).collect();
        for part in &parts {
            products.merge(part);
        }
        products
    }

    /// Adds the shares (from `least` to 1, of primal and dual apart) of the correction to the
    /// direction that let it go furthest (Colombo and Gondzio); returns how far.
    fn blend(&mut self, least: f64) -> (f64, f64) {
        let shares = std::array::from_fn(|i| 1.0 - (1.0 - least) * i as f64 / (SHARES - 1) as f64);
        let reach = self.reach(shares);
        let best = |reach: &[f64; SHARES]| {
            let mut best = 0;
            for i in 1..SHARES {
                if reach[i] < reach[best] {
                    best = i;
                }
            }
            (shares[best], (STEP / reach[best].max(STEP)).min(1.0))
        };
        let (primal_share, primal) = best(&reach.primal);
        let (dual_share, dual) = best(&reach.dual);
        for bounded in self.kept.iter_mut().chain(&mut self.alpha) {
            bounded.blend(primal_share, dual_share);
        }
        self.blocks
            .par_iter_mut()
            .for_each(|block| block.blend(primal_share, dual_share));
        (primal, dual)
    }

    fn reach(&self, shares: [f64; SHARES]) -> Reach {
        let mut reach = Reach::new(shares);
        for bounded in self.kept.iter().chain(&self.alpha) {
            reach.see(bounded);
        }
        let parts: Vec<Reach> = self
            .blocks
            .par_iter()
            .map(|block| block.reach(shares))
            .collect();
        for part in &parts {
            reach.merge(part);
        }
        reach
    }

    /// Largest residual of the reduced equations. It is what the step adds to the residual of the dual
    /// constraints, where the slacks' costs are 1 and those of the weights add up to the objective.
    fn largest_residual(&self, kept: &[f64], weights: &[f64]) -> f64 {
        let groups = self.blocks.iter().flat_map(|block| &block.groups);
        let slacks = groups
            .map(|group| group.residual)
            .chain(kept.iter().copied());
        let weights = weights.iter().map(|w| w / self.objective);
        slacks.chain(weights).fold(0.0, |m, x| x.abs().max(m))
    }

    /// A sum over the blocks, in their order.
    fn sum(&self, part: impl Fn(&Block) -> f64) -> f64 {
        self.blocks.iter().map(part).sum()
    }

    /// Writes the current point into `to`.
    pub(super) fn save(&self, to: &mut Iterate) {
        let unscale = self.scale.recip();
        to.alpha.clear();
        to.alpha.extend(self.alpha.iter().map(|x| x.x));
        to.v_step.resize(self.lp.steps(), 0.0);
        to.v_pair.resize(self.lp.pairs(), 0.0);
        to.dual.resize(self.lp.rows(), 0.0);
        let (groups, kept) = if self.layout.pairs_eliminated {
            (&mut to.v_pair, &mut to.v_step)
        } else {
            (&mut to.v_step, &mut to.v_pair)
        };
        let slacks = self.blocks.iter().flat_map(|block| &block.groups);
        for (group, &id) in slacks.zip(&self.layout.group_id) {
            groups[id as usize] = group.slack.x * unscale;
        }
        for (slack, &id) in self.kept.iter().zip(&self.layout.kept_id) {
            kept[id as usize] = slack.x * unscale;
        }
        let duals = self.blocks.iter().flat_map(|block| &block.w);
        for (&w, &source) in duals.zip(&self.layout.source) {
            to.dual[source as usize] = w;
        }
    }
}

/// A vector filled up with zeros.
fn padded(x: impl Iterator<Item = f64>, length: usize) -> Vec<f64> {
    let mut padded: Vec<f64> = x.collect();
    padded.resize(length, 0.0);
    padded
}
