//! What is true of small networks by other means: plain arithmetic with an error bound, and a linear program for every sign pattern.

use microlp::{ComparisonOp, OptimizationDirection, Problem};
use rand::{Rng, RngExt};
use zonotope_verify::network::{Affine, Conv2d, Layer, Network};
use zonotope_verify::spec::{HalfSpace, InputBox, UnsafeCase};

/// How many cases a test takes whose full size is `full`: its share of `FIRE_ASSAY_CASES`, of which 10,000 is the full size.
pub(crate) fn cases(full: usize) -> usize {
    let wanted = match std::env::var("FIRE_ASSAY_CASES") {
        Ok(number) => number.parse().expect("FIRE_ASSAY_CASES is a number"),
        Err(_) => 100,
    };
    (full * wanted).div_ceil(10_000)
}

/// Two convolutions and a dense layer on a small image.
pub(crate) fn convolutional(rng: &mut impl Rng) -> Network {
    let mut draw = |count: usize, size: f64| -> Vec<f32> {
        (0..count)
            .map(|_| ((2.0 * rng.random::<f64>() - 1.0) * size) as f32)
            .collect()
    };
    let first = Conv2d {
        input: [2, 5, 6],
        channels: 3,
        kernel: [3, 2],
        stride: [2, 1],
        padding: [1, 0, 1, 1],
        dilation: [1, 1],
        groups: 1,
        weight: draw(36, 0.5),
        bias: draw(3, 0.2),
    };
    let second = Conv2d {
        input: first.output(),
        channels: 2,
        kernel: [2, 2],
        stride: [1, 2],
        padding: [0, 0, 0, 0],
        dilation: [1, 2],
        groups: 1,
        weight: draw(24, 0.5),
        bias: draw(2, 0.2),
    };
    let width: usize = second.output().iter().product();
    let last = Affine {
        outputs: 3,
        inputs: width,
        weight: draw(3 * width, 0.5),
        bias: draw(3, 0.2),
    };
    let layers = vec![
        Layer::Conv2d(first),
        Layer::Relu,
        Layer::Conv2d(second),
        Layer::Relu,
        Layer::Affine(last),
    ];
    Network::new(vec![2, 5, 6], layers).unwrap()
}

/// The affine maps of a network of affine layers and convolutions with a ReLU between any two; convolutions as matrices.
pub(crate) fn matrices(network: &Network) -> Vec<Affine> {
    let layers = network.layers().iter();
    layers
        .filter_map(|layer| match layer {
            Layer::Affine(layer) => Some(layer.clone()),
            Layer::Conv2d(layer) => Some(matrix(layer)),
            _ => None,
        })
        .collect()
}

/// The same network without convolutions.
pub(crate) fn without_convolutions(network: &Network) -> Network {
    let mut layers = Vec::new();
    for layer in matrices(network) {
        if !layers.is_empty() {
            layers.push(Layer::Relu);
        }
        layers.push(Layer::Affine(layer));
    }
    Network::new(vec![network.inputs()], layers).unwrap()
}

/// A convolution of one group as a matrix, tap by tap.
fn matrix(layer: &Conv2d) -> Affine {
    assert_eq!(layer.groups, 1);
    let [channels, rows, columns] = layer.input;
    let [_, height, width] = layer.output();
    let (inputs, outputs) = (channels * rows * columns, layer.channels * height * width);
    let mut weight = vec![0.0; inputs * outputs];
    for output in 0..outputs {
        let (channel, y, x) = (
            output / (height * width),
            output / width % height,
            output % width,
        );
        for tap in 0..channels * layer.kernel[0] * layer.kernel[1] {
            let (ky, kx) = (
                tap / layer.kernel[1] % layer.kernel[0],
                tap % layer.kernel[1],
            );
            let from = tap / (layer.kernel[0] * layer.kernel[1]);
            let down =
                (y * layer.stride[0] + ky * layer.dilation[0]).wrapping_sub(layer.padding[0]);
            let across =
                (x * layer.stride[1] + kx * layer.dilation[1]).wrapping_sub(layer.padding[1]);
            if down < rows && across < columns {
                let taps = channels * layer.kernel[0] * layer.kernel[1];
                weight[output * inputs + (from * rows + down) * columns + across] =
                    layer.weight[channel * taps + tap];
            }
        }
    }
    let bias = (0..outputs)
        .map(|output| layer.bias[output / (height * width)])
        .collect();
    Affine {
        outputs,
        inputs,
        weight,
        bias,
    }
}

/// A number that was computed in plain 64-bit arithmetic.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Computed {
    pub(crate) value: f64,
    /// What it may be wrong by.
    pub(crate) error: f64,
    /// What it would be if nothing were negative.
    pub(crate) size: f64,
}

/// `sum a_i x_i + b`: a sum of `n` products is wrong by at most `(n + 2) u` times the sum of their sizes, and this is twice as much.
fn sum(terms: impl Iterator<Item = (f64, Computed)>, bias: f64) -> Computed {
    let (mut value, mut error, mut size) = (bias, 0.0, bias.abs());
    let (mut added, mut count) = (bias.abs(), 3.0);
    for (a, x) in terms {
        value += a * x.value;
        error += a.abs() * x.error;
        size += a.abs() * x.size;
        added += a.abs() * (x.value.abs() + x.error);
        count += 1.0;
    }
    error += count * f64::EPSILON * added;
    Computed { value, error, size }
}

/// The value of `row y` at an input.
pub(crate) fn value(maps: &[Affine], row: &[f64], input: &[f64]) -> Computed {
    let exact = |&value: &f64| Computed {
        value,
        error: 0.0,
        size: value.abs(),
    };
    let mut values: Vec<Computed> = input.iter().map(exact).collect();
    for (index, map) in maps.iter().enumerate() {
        if index > 0 {
            values.iter_mut().for_each(|x| x.value = x.value.max(0.0));
        }
        values = map
            .weight
            .chunks(map.inputs)
            .zip(&map.bias)
            .map(|(weight, bias)| {
                let weight = weight.iter().map(|&w| f64::from(w));
                sum(weight.zip(values.iter().copied()), f64::from(*bias))
            })
            .collect();
    }
    sum(row.iter().copied().zip(values), 0.0)
}

/// The largest of `a y - b` over the half-spaces of a case, at an input.
pub(crate) fn margin(maps: &[Affine], spaces: &[HalfSpace], input: &[f64]) -> f64 {
    let each = spaces
        .iter()
        .map(|space| value(maps, &space.coefficients, input).value - space.bound);
    each.fold(f64::NEG_INFINITY, f64::max)
}

/// An affine function of the input: its coefficients, and its constant last.
type Form = Vec<f64>;

/// The input of a case's box at which the largest of `a y - b` is least.
///
/// Sign by sign, a linear program tells whether any input is left; where all signs are decided, one finds the best of them. Only for few
/// neurons. The value is to be computed at the input that is returned, so that the tolerance of the programs does no harm.
pub(crate) fn worst_input(network: &Network, case: &UnsafeCase) -> Vec<f64> {
    let maps = matrices(network);
    let mut search = Patterns {
        maps: &maps,
        case,
        constraints: Vec::new(),
        best: None,
    };
    let inputs = case.input.len();
    let forms: Vec<Form> = (0..inputs)
        .map(|i| (0..=inputs).map(|j| f64::from(u8::from(i == j))).collect())
        .collect();
    search.descend(0, &forms, &[], case.input.lower());
    search.best.expect("one of the patterns has an input").1
}

/// The least value of `row y` over a box.
pub(crate) fn exact_minimum(network: &Network, row: &[f64], input: &InputBox) -> f64 {
    let case = UnsafeCase {
        input: input.clone(),
        outputs: vec![HalfSpace {
            coefficients: row.to_vec(),
            bound: 0.0,
        }],
    };
    value(&matrices(network), row, &worst_input(network, &case)).value
}

struct Patterns<'a> {
    maps: &'a [Affine],
    case: &'a UnsafeCase,
    /// Forms that must not be negative.
    constraints: Vec<Form>,
    best: Option<(f64, Vec<f64>)>,
}

impl Patterns<'_> {
    /// Decides the signs of layer `layer` from neuron `active.len()` on. `before` are its inputs, `active` the activations of the neurons before,
    /// `inside` an input that satisfies all constraints.
    fn descend(&mut self, layer: usize, before: &[Form], active: &[Form], inside: &[f64]) {
        let map = &self.maps[layer];
        if layer + 1 == self.maps.len() {
            let outputs: Vec<Form> = (0..map.outputs).map(|row| form(map, row, before)).collect();
            if let Some(point) = self.solve(Some(&outputs)) {
                let value = margin(self.maps, &self.case.outputs, &point);
                if self.best.as_ref().is_none_or(|(best, _)| value < *best) {
                    self.best = Some((value, point));
                }
            }
            return;
        }
        if active.len() == map.outputs {
            return self.descend(layer + 1, active, &[], inside);
        }
        let value = form(map, active.len(), before);
        for on in [true, false] {
            if size(&value) == 0.0 && on != (value[value.len() - 1] >= 0.0) {
                continue;
            }
            let side: Form = value.iter().map(|a| if on { *a } else { -a }).collect();
            let holds = at(&side, inside) >= 0.0;
            self.constraints.push(side);
            let next = if holds {
                Some(inside.to_vec())
            } else {
                self.solve(None)
            };
            if let Some(next) = next {
                let activation = if on {
                    value.clone()
                } else {
                    vec![0.0; value.len()]
                };
                self.descend(layer, before, &[active, &[activation]].concat(), &next);
            }
            self.constraints.pop();
        }
    }

    /// An input that satisfies the constraints; the best one for given outputs. In units in which every row's largest coefficient is 1.
    fn solve(&self, outputs: Option<&[Form]>) -> Option<Vec<f64>> {
        let input = &self.case.input;
        let inputs = input.len();
        let mut problem = Problem::new(OptimizationDirection::Minimize);
        let variables: Vec<_> = (0..inputs)
            .map(|i| problem.add_var(0.0, (input.lower()[i], input.upper()[i])))
            .collect();
        for form in &self.constraints {
            let size = size(form);
            if size == 0.0 {
                if form[inputs] < 0.0 {
                    return None;
                }
                continue;
            }
            let terms: Vec<_> = variables
                .iter()
                .zip(form)
                .map(|(&v, a)| (v, a / size))
                .collect();
            problem.add_constraint(terms.as_slice(), ComparisonOp::Ge, -form[inputs] / size);
        }
        if let Some(outputs) = outputs {
            let margins: Vec<Form> = self
                .case
                .outputs
                .iter()
                .map(|space| {
                    let mut margin = combine(&space.coefficients, outputs, inputs);
                    margin[inputs] -= space.bound;
                    margin
                })
                .collect();
            let size = margins.iter().map(|form| size(form)).fold(0.0, f64::max);
            if size > 0.0 {
                let least = problem.add_var(1.0, (f64::NEG_INFINITY, f64::INFINITY));
                for form in &margins {
                    let terms = variables.iter().zip(form).map(|(&v, a)| (v, -a / size));
                    let terms: Vec<_> = terms.chain([(least, 1.0)]).collect();
                    problem.add_constraint(terms.as_slice(), ComparisonOp::Ge, form[inputs] / size);
                }
            }
        }
        let solution = problem.solve().ok()?.into_solution().ok()?;
        let inside = |(i, &v): (usize, &_)| solution[v].clamp(input.lower()[i], input.upper()[i]);
        Some(variables.iter().enumerate().map(inside).collect())
    }
}

/// The largest coefficient of a form.
fn size(form: &[f64]) -> f64 {
    form[..form.len() - 1]
        .iter()
        .fold(0.0, |size, a| a.abs().max(size))
}

fn at(form: &[f64], x: &[f64]) -> f64 {
    form.iter()
        .zip(x.iter().chain([&1.0]))
        .map(|(a, x)| a * x)
        .sum()
}

/// The value of one neuron.
fn form(map: &Affine, row: usize, before: &[Form]) -> Form {
    let weight: Vec<f64> = map.weight[row * map.inputs..(row + 1) * map.inputs]
        .iter()
        .map(|&w| f64::from(w))
        .collect();
    let mut form = combine(&weight, before, before[0].len() - 1);
    *form.last_mut().unwrap() += f64::from(map.bias[row]);
    form
}

fn combine(coefficients: &[f64], forms: &[Form], inputs: usize) -> Form {
    let mut sum = vec![0.0; inputs + 1];
    for (a, form) in coefficients.iter().zip(forms) {
        sum.iter_mut()
            .zip(form)
            .for_each(|(to, from)| *to += a * from);
    }
    sum
}
