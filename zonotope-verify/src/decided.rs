//! The end of a branch: once the signs of all neurons are decided, the network is affine and what is left is a linear program.
//!
//! Its dual variables are multipliers of the decomposition. With `c` the coefficients of a layer's activations and `beta >= 0` the price of a
//! neuron's sign, `rho = c - beta` where the neuron is on and `rho = beta` where it is off; the inner problems then add nothing, and the value
//! of the dual function is that of the program. If no input has these signs, a multiple of the ray that shows it makes the value as large
//! as is needed. Gradient ascent gets there too, but slowly: such points lie at the end of long ridges.

use clarabel::algebra::CscMatrix;
use clarabel::solver::{DefaultSettings, DefaultSolver, IPSolver, NonnegativeConeT, SolverStatus};

use crate::ascent::Split;
use crate::interval::Bounds;
use crate::network::Network;
use crate::spec::{HalfSpace, InputBox};

/// Programs with more entries are left to the ascent: full decisions on large networks do not occur in practice.
const LIMIT: usize = 4_000_000;

/// The solution of a node without open signs.
pub(crate) struct Decided {
    pub(crate) multipliers: Vec<Vec<f32>>,
    /// The input at which the program attains its minimum, if it has one.
    pub(crate) point: Option<Vec<f64>>,
}

/// Solves a node without open signs; `None` if the program is too large or was not solved. `hidden` are the bounds under the decisions, `bound` is what has been proven so far.
pub(crate) fn solve_decided(
    network: &Network,
    input: &InputBox,
    space: &HalfSpace,
    hidden: &[Bounds],
    splits: &[Split],
    bound: f64,
) -> Option<Decided> {
    let inputs = input.len();
    let width: usize = hidden.iter().map(|bounds| bounds.lower().len()).sum();
    if inputs.checked_mul(width + 2 * inputs)? > LIMIT {
        return None;
    }
    let program = Program::new(network, space, hidden, splits, inputs);
    let (prices, point) = program.prices(input, (space.bound - bound).abs().max(1.0))?;
    let multipliers = program.multipliers(network, space, hidden, &prices)?;
    Some(Decided { multipliers, point })
}

/// An affine function of the input: its coefficients and its constant.
type Form = (Vec<f64>, f64);

/// The linear program: a constraint for every decision.
struct Program {
    objective: Form,
    /// The decisions, and their neurons' values; negated where the neuron is off, so that all constraints read `>= 0`.
    constraints: Vec<(Split, Form)>,
}

impl Program {
    fn new(
        network: &Network,
        space: &HalfSpace,
        bounds: &[Bounds],
        splits: &[Split],
        inputs: usize,
    ) -> Self {
        let mut forms: Vec<Form> = (0..inputs)
            .map(|i| {
                (
                    (0..inputs).map(|j| f64::from(u8::from(i == j))).collect(),
                    0.0,
                )
            })
            .collect();
        let mut constraints = Vec::new();
        for (layer, map) in network.maps().iter().enumerate() {
            let bias: Vec<f64> = map.bias().map(|b| b.value).collect();
            let mut next: Vec<Form> = (0..map.outputs())
                .map(|row| {
                    let mut form = (vec![0.0; inputs], bias[row]);
                    for (column, weight) in map.row(row) {
                        add(&mut form, weight.value, &forms[column]);
                    }
                    form
                })
                .collect();
            if let Some(bounds) = bounds.get(layer) {
                for (neuron, form) in next.iter_mut().enumerate() {
                    if let Some(split) = splits
                        .iter()
                        .find(|split| split.layer == layer && split.neuron == neuron)
                    {
                        let sign = if split.positive { 1.0 } else { -1.0 };
                        let mut constraint = (vec![0.0; inputs], 0.0);
                        add(&mut constraint, sign, form);
                        constraints.push((*split, constraint));
                    }
                    if bounds.is_off(neuron) {
                        *form = (vec![0.0; inputs], 0.0);
                    }
                }
            }
            forms = next;
        }
        let mut objective = (vec![0.0; inputs], 0.0);
        for (coefficient, form) in space.coefficients.iter().zip(&forms) {
            add(&mut objective, *coefficient, form);
        }
        Self {
            objective,
            constraints,
        }
    }

    /// A price for every constraint and the minimiser: the dual and primal solution, or where no input satisfies them all a ray that lifts the value by
    /// well over `missing`.
    fn prices(&self, input: &InputBox, missing: f64) -> Option<(Vec<f64>, Option<Vec<f64>>)> {
        let solver = self.solved(input, None)?;
        let found = &solver.solution;
        match found.status {
            SolverStatus::Solved
            | SolverStatus::AlmostSolved
            | SolverStatus::InsufficientProgress => {
                Some((self.share(&found.z, 1.0), Some(found.x.clone())))
            }
            SolverStatus::PrimalInfeasible | SolverStatus::AlmostPrimalInfeasible => {
                self.ray(input, &found.z, missing)
            }
            // Nearly parallel constraints that contradict each other: by how much is a program that always has a solution, with prices of size one.
            _ => {
                let solver = self.solved(input, Some(1.0))?;
                self.ray(input, &solver.solution.z, missing)
            }
        }
        .filter(|(prices, _)| prices.iter().all(|price| price.is_finite()))
    }

    /// The solver, run on the program. With `most`, on another one: the largest number up to `most` by which all constraints can be exceeded at once.
    fn solved(&self, input: &InputBox, most: Option<f64>) -> Option<DefaultSolver<f64>> {
        let inputs = input.len();
        let count = self.constraints.len();
        let sides = count + 2 * inputs;
        // Column by column: the constraints, then both sides of the box.
        let mut pointers = vec![0];
        let (mut indices, mut entries) = (Vec::new(), Vec::new());
        for column in 0..inputs {
            for (row, (_, form)) in self.constraints.iter().enumerate() {
                if form.0[column] != 0.0 {
                    indices.push(row);
                    entries.push(-form.0[column]);
                }
            }
            indices.extend([count + column, count + inputs + column]);
            entries.extend([1.0, -1.0]);
            pointers.push(indices.len());
        }
        let mut right: Vec<f64> = self.constraints.iter().map(|(_, form)| form.1).collect();
        right.extend(input.upper());
        right.extend(input.lower().iter().map(|l| -l));
        let mut objective = self.objective.0.clone();
        if let Some(most) = most {
            indices.extend((0..count).chain([sides]));
            entries.extend(std::iter::repeat_n(1.0, count + 1));
            pointers.push(indices.len());
            right.push(most);
            objective.fill(0.0);
            objective.push(-1.0);
        }
        let (rows, columns) = (right.len(), objective.len());
        let matrix = CscMatrix::new(rows, columns, pointers, indices, entries);
        let settings = DefaultSettings {
            verbose: false,
            tol_gap_abs: 1e-10,
            tol_gap_rel: 1e-10,
            tol_feas: 1e-10,
            presolve_enable: false,
            ..DefaultSettings::default()
        };
        let quadratic = CscMatrix::zeros((columns, columns));
        let cones = [NonnegativeConeT(rows)];
        let mut solver =
            DefaultSolver::new(&quadratic, &objective, &matrix, &right, &cones, settings).ok()?;
        solver.solve();
        Some(solver)
    }

    /// The prices of the constraints among the dual variables of all rows, times a factor.
    fn share(&self, duals: &[f64], factor: f64) -> Vec<f64> {
        let own = duals.iter().take(self.constraints.len());
        own.map(|z| factor * z.max(0.0)).collect()
    }

    /// The multiple of a ray that lifts the value enough, if it shows that no input satisfies all constraints.
    fn ray(
        &self,
        input: &InputBox,
        duals: &[f64],
        missing: f64,
    ) -> Option<(Vec<f64>, Option<Vec<f64>>)> {
        // Along the ray the value grows by the least of `-sum_k price_k constraint_k` over the box, less what the objective itself can lose there.
        let prices = self.share(duals, 1.0);
        let mut sum = (vec![0.0; input.len()], 0.0);
        for ((_, form), price) in self.constraints.iter().zip(&prices) {
            add(&mut sum, -price, form);
        }
        let sides = || input.lower().iter().zip(input.upper());
        let reach = sides().zip(&sum.0);
        let growth = sum.1 + reach.map(|((l, u), a)| (a * l).min(a * u)).sum::<f64>();
        let reach = sides().zip(&self.objective.0);
        let loss: f64 = reach.map(|((l, u), a)| a.abs() * (u - l)).sum();
        let factor = 4.0 * (missing + loss + self.objective.1.abs()) / growth;
        (growth > 0.0).then(|| (self.share(duals, factor), None))
    }

    /// The multipliers of all layers that belong to the prices.
    fn multipliers(
        &self,
        network: &Network,
        space: &HalfSpace,
        bounds: &[Bounds],
        prices: &[f64],
    ) -> Option<Vec<Vec<f32>>> {
        let mut all = vec![Vec::new(); bounds.len()];
        let mut rho = space.coefficients.clone();
        for layer in (0..bounds.len()).rev() {
            let mut next = network.maps()[layer + 1].transposed(&rho, 1).value;
            for (neuron, next) in next.iter_mut().enumerate() {
                if bounds[layer].is_off(neuron) {
                    *next = 0.0;
                }
            }
            for ((split, _), price) in self.constraints.iter().zip(prices) {
                if split.layer == layer {
                    next[split.neuron] += if split.positive { -price } else { *price };
                }
            }
            // What is stored has 32 bits, and the layers before must fit what is stored.
            let stored: Vec<f32> = next.iter().map(|&x| x as f32).collect();
            rho = stored.iter().map(|&x| f64::from(x)).collect();
            all[layer] = stored;
        }
        all.iter().flatten().all(|x| x.is_finite()).then_some(all)
    }
}

fn add(form: &mut Form, factor: f64, other: &Form) {
    form.0
        .iter_mut()
        .zip(&other.0)
        .for_each(|(to, from)| *to += factor * from);
    form.1 += factor * other.1;
}
