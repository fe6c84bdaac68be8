//! A block of consecutive groups with the state of its rows, and the passes over it that an iteration
//! takes. Blocks are independent of each other, so they run in parallel; what they add up
//! for kept slacks and weights is summed over the blocks afterwards, in their order.

use faer::linalg::matmul::matmul;
use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::{Accum, MatMut, MatRef, Par};

use super::kernels::{add_scaled, dot};
use super::layout::Layout;
use crate::lp::MixtureLp;

/// Shares of a correction that are tried, see [`Reach`].
pub(super) const SHARES: usize = 6;

/// A positive variable and its multiplier, with their search direction and a correction of it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bounded {
    /// The variable.
    pub(super) x: f64,
    /// The multiplier of `x >= 0`.
    pub(super) z: f64,
    /// Direction of `x`.
    pub(super) dx: f64,
    /// Direction of `z`.
    pub(super) dz: f64,
    /// Correction of `dx`.
    pub(super) cx: f64,
    /// Correction of `dz`.
    pub(super) cz: f64,
    /// By how much the correction shall change the product `x z`.
    pub(super) target: f64,
}

impl Bounded {
    pub(super) fn step(&mut self, primal: f64, dual: f64) {
        self.x += primal * self.dx;
        self.z += dual * self.dz;
    }

    /// Completes a correction: `cz` from `cx` and the target.
    pub(super) fn complete(&mut self) {
        self.cz = (self.target - self.z * self.cx) / self.x;
    }

    /// Adds these shares of the correction to the direction.
    pub(super) fn blend(&mut self, primal: f64, dual: f64) {
        self.dx += primal * self.cx;
        self.dz += dual * self.cz;
    }
}

/// What a correction aims at.
#[derive(Clone, Copy, Debug)]
pub(super) enum Aim {
    /// Products of 0, and no residuals: the predictor.
    Zero,
    /// Products of `mu`, less what the second order of the predictor makes of them (Mehrotra).
    Second { mu: f64 },
    /// Products after longer steps between these multiples of `mu` (Gondzio).
    Centre { mu: f64, primal: f64, dual: f64 },
}

/// Products that Gondzio's corrections leave alone, in multiples of `mu`.
const CENTRED: (f64, f64) = (0.1, 10.0);

impl Aim {
    #[inline(always)]
    fn target(self, x: f64, z: f64, dx: f64, dz: f64) -> f64 {
        match self {
            Self::Zero => -x * z,
            Self::Second { mu } => mu - dx * dz,
            Self::Centre { mu, primal, dual } => {
                let product = (x + primal * dx) * (z + dual * dz);
                let change = product.clamp(CENTRED.0 * mu, CENTRED.1 * mu) - product;
                change.max(-CENTRED.1 * mu)
            }
        }
    }

    pub(super) fn set(self, bounded: &mut Bounded) {
        bounded.target = self.target(bounded.x, bounded.z, bounded.dx, bounded.dz);
    }
}

/// How far the direction with a share of the correction can go before a variable reaches 0, as its
/// inverse, for each of several shares.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reach {
    shares: [f64; SHARES],
    /// Largest `-dx / x` for each share.
    pub(super) primal: [f64; SHARES],
    /// Largest `-dz / z` for each share.
    pub(super) dual: [f64; SHARES],
}

impl Reach {
    pub(super) fn new(shares: [f64; SHARES]) -> Self {
        Self {
            shares,
            primal: [0.0; SHARES],
            dual: [0.0; SHARES],
        }
    }

    #[inline(always)]
    fn see_values(&mut self, (x, dx, cx): (f64, f64, f64), (z, dz, cz): (f64, f64, f64)) {
        let (inverse_x, inverse_z) = (-1.0 / x, -1.0 / z);
        let (dx, cx) = (dx * inverse_x, cx * inverse_x);
        let (dz, cz) = (dz * inverse_z, cz * inverse_z);
        for i in 0..SHARES {
            self.primal[i] = self.primal[i].max(dx + self.shares[i] * cx);
            self.dual[i] = self.dual[i].max(dz + self.shares[i] * cz);
        }
    }

    pub(super) fn see(&mut self, b: &Bounded) {
        self.see_values((b.x, b.dx, b.cx), (b.z, b.dz, b.cz));
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for i in 0..SHARES {
            self.primal[i] = self.primal[i].max(other.primal[i]);
            self.dual[i] = self.dual[i].max(other.dual[i]);
        }
    }
}

/// Sums over products, from which their mean after any step follows.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Products {
    /// Sum of `x z`.
    pub(super) now: f64,
    dx_z: f64,
    x_dz: f64,
    dx_dz: f64,
}

impl Products {
    #[inline(always)]
    fn see_values(&mut self, x: f64, z: f64, dx: f64, dz: f64) {
        self.now += x * z;
        self.dx_z += dx * z;
        self.x_dz += x * dz;
        self.dx_dz += dx * dz;
    }

    pub(super) fn see(&mut self, b: &Bounded) {
        self.see_values(b.x, b.z, b.dx, b.dz);
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.now += other.now;
        self.dx_z += other.dx_z;
        self.x_dz += other.x_dz;
        self.dx_dz += other.dx_dz;
    }

    /// Sum of products after steps of these lengths.
    pub(super) fn after(&self, primal: f64, dual: f64) -> f64 {
        self.now + primal * self.dx_z + dual * self.x_dz + primal * dual * self.dx_dz
    }
}

/// An eliminated slack and what its rows add up to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Group {
    /// `v` and the multiplier of `v >= 0`.
    pub(super) slack: Bounded,
    /// Diagonal `D_t` of its block of the normal equations.
    diagonal: f64,
    /// Sum of the row multipliers.
    pub(super) dual_sum: f64,
    /// Right-hand side of its normal equation.
    rhs: f64,
    /// What the correction leaves of it.
    pub(super) residual: f64,
    /// Sum over rows of `D * (primal residual)`.
    primal_part: f64,
}

/// Sums over the rows of a block, by kept slack or weight.
#[derive(Clone, Debug, Default)]
pub(super) struct Sums {
    /// `S_a`: `kept x stride`.
    pub(super) border: Vec<f64>,
    /// `a^T D a` less what eliminating the groups takes away; lower triangle, `stride x stride`.
    pub(super) weights: Vec<f64>,
    /// Diagonal of `S` apart from `z / v`.
    pub(super) diagonal: Vec<f64>,
    /// Sum of the row multipliers by kept slack.
    pub(super) dual_sum: Vec<f64>,
    /// `a^T w`.
    pub(super) at_dual: Vec<f64>,
    /// Sums of `D * (primal residual)`.
    primal_kept: Vec<f64>,
    primal_weights: Vec<f64>,
    /// Right-hand sides of the equations of kept slacks and weights.
    pub(super) rhs_kept: Vec<f64>,
    pub(super) rhs_weights: Vec<f64>,
    /// What a correction makes of their left-hand sides, or what eliminating the groups takes from
    /// their right-hand sides.
    pub(super) image_kept: Vec<f64>,
    pub(super) image_weights: Vec<f64>,
    /// Sum of the primal residuals' magnitudes.
    pub(super) infeasibility: f64,
    /// Sum of the products `s w`.
    pub(super) complementarity: f64,
}

/// See the module.
pub(super) struct Block {
    pub(super) groups: Vec<Group>,
    pub(super) sums: Sums,
    pub(super) stride: usize,
    /// Where each group starts, counted from the block's first row; one more entry than groups.
    start: Vec<usize>,
    /// Kept slack of every row.
    kept_of: Vec<u32>,
    /// Scaled coefficients, `rows x stride`.
    a: Vec<f64>,
    /// Row slack and multiplier.
    pub(super) s: Vec<f64>,
    pub(super) w: Vec<f64>,
    /// Their directions.
    ds: Vec<f64>,
    dw: Vec<f64>,
    /// Corrections of the directions.
    cs: Vec<f64>,
    cw: Vec<f64>,
    /// `D = w / s`.
    d: Vec<f64>,
    /// Primal residual `s - (v_t + v_p + a . alpha)`, 0 where it is rounding.
    residual: Vec<f64>,
    /// By how much the correction shall change the product `s w`.
    target: Vec<f64>,
    /// `sum_r D_r a_r` of every group.
    centre: Vec<f64>,
    /// Rows waiting to be added to `sums.weights`.
    pending: Vec<f64>,
    /// `D` of the rows before and after a row in its group.
    others: Vec<f64>,
}

/// Rows whose outer products are added at once.
const PENDING_ROWS: usize = 128;
/// From this size on only the lower triangle of outer products is computed.
const TRIANGULAR_FROM: usize = 48;
/// A primal residual below this many roundings of its row is taken for 0.
const ROUNDINGS: f64 = 8.0 * f64::EPSILON;

impl Block {
    /// The block of the groups in `range`, with coefficients multiplied by `scale`.
    pub(super) fn new(
        lp: &MixtureLp,
        layout: &Layout,
        range: std::ops::Range<usize>,
        scale: f64,
    ) -> Self {
        let stride = layout.stride;
        let first = layout.group_start[range.start];
        let end = layout.group_start[range.end];
        let rows = end - first;
        let mut a = vec![0.0; rows * stride];
        for (row, &source) in a.chunks_exact_mut(stride).zip(&layout.source[first..end]) {
            for (scaled, c) in row.iter_mut().zip(lp.row(source as usize)) {
                *scaled = scale * c;
            }
        }
        let kept = layout.kept();
        Self {
            groups: vec![Group::default(); range.len()],
            sums: Sums {
                border: vec![0.0; kept * stride],
                weights: vec![0.0; stride * stride],
                diagonal: vec![0.0; kept],
                dual_sum: vec![0.0; kept],
                at_dual: vec![0.0; stride],
                primal_kept: vec![0.0; kept],
                primal_weights: vec![0.0; stride],
                rhs_kept: vec![0.0; kept],
                rhs_weights: vec![0.0; stride],
                image_kept: vec![0.0; kept],
                image_weights: vec![0.0; stride],
                ..Sums::default()
            },
            stride,
            start: layout.group_start[range.start..=range.end]
                .iter()
                .map(|start| start - first)
                .collect(),
            kept_of: layout.kept_of[first..end].to_vec(),
            a,
            s: vec![0.0; rows],
            w: vec![0.0; rows],
            ds: vec![0.0; rows],
            dw: vec![0.0; rows],
            d: vec![0.0; rows],
            residual: vec![0.0; rows],
            cs: vec![0.0; rows],
            cw: vec![0.0; rows],
            target: vec![0.0; rows],
            centre: vec![0.0; range.len() * stride],
            pending: Vec::with_capacity(PENDING_ROWS * stride),
            others: Vec::new(),
        }
    }

    /// Number of rows.
    pub(super) fn rows(&self) -> usize {
        self.s.len()
    }

    /// Number of rows of a group.
    pub(super) fn group_rows(&self, group: usize) -> f64 {
        (self.start[group + 1] - self.start[group]) as f64
    }

    /// Calls `f(row, group, kept slack, coefficients)` for every row.
    pub(super) fn for_each_row(&self, mut f: impl FnMut(usize, usize, usize, &[f64])) {
        for group in 0..self.groups.len() {
            for r in self.start[group]..self.start[group + 1] {
                f(
                    r,
                    group,
                    self.kept_of[r] as usize,
                    &self.a[r * self.stride..(r + 1) * self.stride],
                );
            }
        }
    }

    /// Takes the last direction with these step lengths, then forms the block's part of the normal
    /// equations. Writes `D_r / sqrt(D_t)` of every row to `scaled`.
    pub(super) fn form(
        &mut self,
        (primal, dual): (f64, f64),
        kept: &[Bounded],
        alpha: &[f64],
        scaled: &mut [f64],
    ) {
        let stride = self.stride;
        let sums = &mut self.sums;
        for sum in [
            &mut sums.border,
            &mut sums.weights,
            &mut sums.diagonal,
            &mut sums.dual_sum,
            &mut sums.at_dual,
            &mut sums.primal_kept,
            &mut sums.primal_weights,
        ] {
            sum.fill(0.0);
        }
        sums.infeasibility = 0.0;
        sums.complementarity = 0.0;
        for (g, group) in self.groups.iter_mut().enumerate() {
            let rows = self.start[g]..self.start[g + 1];
            group.slack.step(primal, dual);
            let centre = &mut self.centre[g * stride..(g + 1) * stride];
            centre.fill(0.0);
            group.dual_sum = 0.0;
            group.primal_part = 0.0;
            let mut total = 0.0;
            self.others.clear();
            for r in rows.clone() {
                let a = &self.a[r * stride..(r + 1) * stride];
                let k = self.kept_of[r] as usize;
                let s = self.s[r] + primal * self.ds[r];
                let w = self.w[r] + dual * self.dw[r];
                let d = w / s;
                let weighted = dot(a, alpha);
                let value = group.slack.x + kept[k].x + weighted;
                let mut residual = s - value;
                if residual.abs() <= ROUNDINGS * (group.slack.x + kept[k].x + weighted.abs()).max(s)
                {
                    residual = 0.0;
                }
                self.s[r] = s;
                self.w[r] = w;
                self.d[r] = d;
                self.residual[r] = residual;
                add_scaled(centre, d, a);
                add_scaled(&mut sums.at_dual, w, a);
                if residual != 0.0 {
                    add_scaled(&mut sums.primal_weights, d * residual, a);
                    sums.primal_kept[k] += d * residual;
                    group.primal_part += d * residual;
                    sums.infeasibility += residual.abs();
                }
                sums.complementarity += s * w;
                sums.dual_sum[k] += w;
                group.dual_sum += w;
                self.others.push(total);
                total += d;
            }
            // The elimination subtracts nearly equal numbers wherever one row of a group outweighs
            // the others. Written with sums over *other* rows and with coefficients relative to
            // the group's mean, every term is positive.
            let mut after = 0.0;
            for r in rows.clone().rev() {
                self.others[r - rows.start] += after;
                after += self.d[r];
            }
            let excess = group.slack.z / group.slack.x;
            group.diagonal = total + excess;
            let share = excess / group.diagonal;
            let inverse_root = group.diagonal.sqrt().recip();
            for r in rows.clone() {
                let a = &self.a[r * stride..(r + 1) * stride];
                let k = self.kept_of[r] as usize;
                let d = self.d[r];
                scaled[r] = d * inverse_root;
                sums.diagonal[k] += d * (excess + self.others[r - rows.start]) / group.diagonal;
                let border = &mut sums.border[k * stride..(k + 1) * stride];
                let root = d.sqrt();
                let first = self.pending.len();
                self.pending.resize(first + stride, 0.0);
                let pending = &mut self.pending[first..];
                for (((b, p), &a), &c) in border.iter_mut().zip(pending).zip(a).zip(&*centre) {
                    let mean = c / total;
                    let centred = a - mean;
                    *b += d * (centred + mean * share);
                    *p = root * centred;
                }
                if self.pending.len() == PENDING_ROWS * stride {
                    add_outer_products(&mut sums.weights, &mut self.pending, stride);
                }
            }
            let factor = (share / total).sqrt();
            self.pending.extend(centre.iter().map(|c| c * factor));
            if self.pending.len() == PENDING_ROWS * stride {
                add_outer_products(&mut sums.weights, &mut self.pending, stride);
            }
        }
        add_outer_products(&mut sums.weights, &mut self.pending, stride);
    }

    /// Sets the targets of the correction and the right-hand sides that follow from them.
    pub(super) fn aim(&mut self, aim: Aim) {
        let stride = self.stride;
        let sums = &mut self.sums;
        if let Aim::Zero = aim {
            // Here the products' part of the right-hand sides cancels against that of the dual
            // residuals, up to the slacks' costs (which the kept slacks' sums leave to the caller).
            sums.rhs_kept.copy_from_slice(&sums.primal_kept);
            sums.rhs_weights.copy_from_slice(&sums.primal_weights);
            for (target, (s, w)) in self.target.iter_mut().zip(self.s.iter().zip(&self.w)) {
                *target = -s * w;
            }
        } else {
            sums.rhs_kept.fill(0.0);
            sums.rhs_weights.fill(0.0);
        }
        for (g, group) in self.groups.iter_mut().enumerate() {
            aim.set(&mut group.slack);
            group.slack.cx = 0.0;
            group.rhs = if let Aim::Zero = aim {
                group.primal_part - 1.0
            } else {
                let mut rhs = group.slack.target / group.slack.x;
                for r in self.start[g]..self.start[g + 1] {
                    let target = aim.target(self.s[r], self.w[r], self.ds[r], self.dw[r]);
                    self.target[r] = target;
                    let part = target / self.s[r];
                    rhs += part;
                    sums.rhs_kept[self.kept_of[r] as usize] += part;
                    let a = &self.a[r * stride..(r + 1) * stride];
                    add_scaled(&mut sums.rhs_weights, part, a);
                }
                rhs
            };
            group.residual = group.rhs;
        }
    }

    /// What eliminating the groups, with their current `residual` as right-hand side, takes from the
    /// right-hand sides of kept slacks and weights.
    pub(super) fn eliminate(&mut self) {
        self.sums.image_kept.fill(0.0);
        self.sums.image_weights.fill(0.0);
        for (g, group) in self.groups.iter().enumerate() {
            let multiple = group.residual / group.diagonal;
            for r in self.start[g]..self.start[g + 1] {
                self.sums.image_kept[self.kept_of[r] as usize] += multiple * self.d[r];
            }
            let centre = &self.centre[g * self.stride..(g + 1) * self.stride];
            add_scaled(&mut self.sums.image_weights, multiple, centre);
        }
    }

    /// Adds to the groups' corrections what follows from an addition to those of the kept slacks and
    /// weights.
    pub(super) fn add_group_correction(&mut self, kept: &[f64], alpha: &[f64]) {
        for (g, group) in self.groups.iter_mut().enumerate() {
            let mut rest =
                group.residual - dot(&self.centre[g * self.stride..(g + 1) * self.stride], alpha);
            for r in self.start[g]..self.start[g + 1] {
                rest -= self.d[r] * kept[self.kept_of[r] as usize];
            }
            group.slack.cx += rest / group.diagonal;
        }
    }

    /// Corrections of the rows and multipliers, what the correction leaves of the group equations (in
    /// `residual`) and makes of the others (in `image_*`). Only the predictor takes the primal
    /// residuals away.
    pub(super) fn complete(&mut self, kept: &[Bounded], alpha: &[f64], predictor: bool) {
        let stride = self.stride;
        let sums = &mut self.sums;
        sums.image_kept.fill(0.0);
        sums.image_weights.fill(0.0);
        for (g, group) in self.groups.iter_mut().enumerate() {
            let slack = &mut group.slack;
            slack.complete();
            let mut image = slack.cx * slack.z / slack.x;
            for r in self.start[g]..self.start[g + 1] {
                let a = &self.a[r * stride..(r + 1) * stride];
                let k = self.kept_of[r] as usize;
                let value = slack.cx + kept[k].cx + dot(a, alpha);
                let cs = if predictor {
                    value - self.residual[r]
                } else {
                    value
                };
                self.cs[r] = cs;
                self.cw[r] = self.target[r] / self.s[r] - self.d[r] * cs;
                let weighted = self.d[r] * value;
                image += weighted;
                sums.image_kept[k] += weighted;
                add_scaled(&mut sums.image_weights, weighted, a);
            }
            group.residual = group.rhs - image;
        }
    }

    /// Makes the correction the direction, and sums its products.
    pub(super) fn adopt(&mut self) -> Products {
        std::mem::swap(&mut self.ds, &mut self.cs);
        std::mem::swap(&mut self.dw, &mut self.cw);
        let mut products = Products::default();
        for group in &mut self.groups {
            let slack = &mut group.slack;
            (slack.dx, slack.dz) = (slack.cx, slack.cz);
            products.see(slack);
        }
        for r in 0..self.s.len() {
            products.see_values(self.s[r], self.w[r], self.ds[r], self.dw[r]);
        }
        products
    }

    /// How far the direction can go with each of these shares of the correction.
    pub(super) fn reach(&self, shares: [f64; SHARES]) -> Reach {
        let mut reach = Reach::new(shares);
        for group in &self.groups {
            reach.see(&group.slack);
        }
        for r in 0..self.s.len() {
            reach.see_values(
                (self.s[r], self.ds[r], self.cs[r]),
                (self.w[r], self.dw[r], self.cw[r]),
            );
        }
        reach
    }

    /// Adds these shares of the correction to the direction.
    pub(super) fn blend(&mut self, primal: f64, dual: f64) {
        for group in &mut self.groups {
            group.slack.blend(primal, dual);
        }
        for (ds, cs) in self.ds.iter_mut().zip(&self.cs) {
            *ds += primal * cs;
        }
        for (dw, cw) in self.dw.iter_mut().zip(&self.cw) {
            *dw += dual * cw;
        }
    }
}

/// `weights += X X^T` for the rows waiting in `pending` (`rows x stride`), then forgets them.
fn add_outer_products(weights: &mut [f64], pending: &mut Vec<f64>, stride: usize) {
    let rows = pending.len() / stride;
    let x = MatRef::from_column_major_slice(pending, stride, rows);
    let sum = MatMut::from_column_major_slice_mut(weights, stride, stride);
    if stride < TRIANGULAR_FROM {
        matmul(sum, Accum::Add, x, x.transpose(), 1.0, Par::Seq);
    } else {
        triangular::matmul(
            sum,
            BlockStructure::TriangularLower,
            Accum::Add,
            x,
            BlockStructure::Rectangular,
            x.transpose(),
            BlockStructure::Rectangular,
            1.0,
            Par::Seq,
        );
    }
    pending.clear();
}
