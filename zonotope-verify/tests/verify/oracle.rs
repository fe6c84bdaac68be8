//! Random networks, and what is true of them by other means.

use microlp::{ComparisonOp, OptimizationDirection, Problem};
use rand::{Rng, RngExt};
use zonotope_verify::network::{Affine, Conv2d, Layer, Network};
use zonotope_verify::objective::Objective;
use zonotope_verify::spec::InputBox;

/// A dense network with weights of the usual size; `widths` from the input to the output.
pub(crate) fn dense(widths: &[usize], scale: f64, rng: &mut impl Rng) -> Network {
    let mut layers = Vec::new();
    for pair in widths.windows(2) {
        if !layers.is_empty() {
            layers.push(Layer::Relu);
        }
        let deviation = scale * (3.0 / pair[0] as f64).sqrt();
        let mut draw = |size: f64| ((2.0 * rng.random::<f64>() - 1.0) * size) as f32;
        let weight = (0..pair[0] * pair[1]).map(|_| draw(deviation)).collect();
        let bias = (0..pair[1]).map(|_| draw(0.3 * scale)).collect();
        layers.push(Layer::Affine(Affine {
            outputs: pair[1],
            inputs: pair[0],
            weight,
            bias,
        }));
    }
    Network::new(vec![widths[0]], layers).unwrap()
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

/// A box around a random centre.
pub(crate) fn random_box(inputs: usize, radius: f64, rng: &mut impl Rng) -> InputBox {
    let center: Vec<f64> = (0..inputs)
        .map(|_| 2.0 * rng.random::<f64>() - 1.0)
        .collect();
    InputBox::linf(&center, radius).unwrap()
}

/// The value of every row of an objective at an input.
pub(crate) fn values(network: &Network, objective: &Objective, input: &[f64]) -> Vec<f64> {
    let outputs = network.evaluate(input).unwrap();
    (0..objective.len())
        .map(|row| {
            objective
                .row(row)
                .iter()
                .zip(&outputs)
                .map(|(a, y)| a * y.value)
                .sum()
        })
        .collect()
}

/// A random point of a box, half of the time one of its corners.
pub(crate) fn point(input: &InputBox, rng: &mut impl Rng) -> Vec<f64> {
    let corner = rng.random::<bool>();
    let draw = |(l, u): (&f64, &f64)| {
        let share: f64 = rng.random();
        let share = if corner { share.round() } else { share };
        (l + (u - l) * share).clamp(*l, *u)
    };
    input.lower().iter().zip(input.upper()).map(draw).collect()
}

/// The exact minimum of a row over the box, by one linear program for every sign pattern of the hidden neurons.
///
/// Only for dense networks of few neurons: the layers are read off the network.
pub(crate) fn exact_minimum(network: &Network, objective: &[f64], input: &InputBox) -> f64 {
    let layers: Vec<&Affine> = network
        .layers()
        .iter()
        .filter_map(|layer| match layer {
            Layer::Affine(layer) => Some(layer),
            _ => None,
        })
        .collect();
    let neurons: usize = layers[..layers.len() - 1]
        .iter()
        .map(|layer| layer.outputs)
        .sum();
    let mut best = f64::INFINITY;
    for pattern in 0..1_u32 << neurons {
        let inputs = input.len();
        // Every value is an affine function of the input: its coefficients, and its constant last.
        let mut forms: Vec<Vec<f64>> = (0..inputs)
            .map(|i| (0..=inputs).map(|j| f64::from(u8::from(i == j))).collect())
            .collect();
        let mut constraints = Vec::new();
        let mut neuron = 0;
        for (index, layer) in layers.iter().enumerate() {
            let mut next = Vec::new();
            for row in 0..layer.outputs {
                let mut form = vec![0.0; inputs + 1];
                for (column, source) in forms.iter().enumerate() {
                    let weight = f64::from(layer.weight[row * layer.inputs + column]);
                    form.iter_mut()
                        .zip(source)
                        .for_each(|(to, from)| *to += weight * from);
                }
                form[inputs] += f64::from(layer.bias[row]);
                next.push(form);
            }
            if index + 1 < layers.len() {
                for form in &mut next {
                    let on = pattern >> neuron & 1 == 1;
                    neuron += 1;
                    constraints.push((form.clone(), on));
                    if !on {
                        form.fill(0.0);
                    }
                }
            }
            forms = next;
        }
        let mut target = vec![0.0; inputs + 1];
        for (coefficient, form) in objective.iter().zip(&forms) {
            target
                .iter_mut()
                .zip(form)
                .for_each(|(to, from)| *to += coefficient * from);
        }
        let mut problem = Problem::new(OptimizationDirection::Minimize);
        let variables: Vec<_> = (0..inputs)
            .map(|i| problem.add_var(target[i], (input.lower()[i], input.upper()[i])))
            .collect();
        for (form, on) in &constraints {
            let terms: Vec<_> = variables
                .iter()
                .zip(form)
                .map(|(&variable, &a)| (variable, a))
                .collect();
            let side = if *on {
                ComparisonOp::Ge
            } else {
                ComparisonOp::Le
            };
            problem.add_constraint(terms.as_slice(), side, -form[inputs]);
        }
        if let Ok(outcome) = problem.solve() {
            let solution = outcome.into_solution().unwrap();
            best = best.min(solution.objective() + target[inputs]);
        }
    }
    best
}
