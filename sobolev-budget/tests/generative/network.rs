//! The network's exact derivatives agree with each other and with differences of its values.

use faer::Mat;
use sobolev_budget::generative::{
    Activation, Generator, Jets, Mlp, MlpConfig, Output, generate, jacobian, jacobian_norms,
    second_norms, uniform_latents,
};

use super::{network, numbers, rng, tensor};

#[test]
fn a_seed_gives_the_same_network_and_another_seed_another() {
    let z = tensor(&uniform_latents(5, 3, &mut rng(1)));
    let values = |seed| numbers(network(3, 4, seed).forward(z.clone()));
    assert_eq!(values(7), values(7));
    assert_ne!(values(7), values(8));
    assert!(values(7).iter().all(|&y| 0.0 < y && y < 1.0));
}

#[test]
fn derivatives_carried_forward_agree_with_those_carried_backward() {
    let network = network(3, 4, 1);
    let z = tensor(&uniform_latents(20, 3, &mut rng(1)));
    let v = tensor(&uniform_latents(20, 3, &mut rng(2)));
    let jet = network.jet(z.clone(), v.clone());
    assert_eq!(numbers(jet.value), numbers(network.forward(z.clone())));
    // DG v, row by row.
    let product = jacobian(&network, z.clone()).matmul(v.reshape([20, 3, 1]));
    for (forward, backward) in numbers(jet.first).iter().zip(numbers(product)) {
        assert!((forward - backward).abs() < 1e-6, "{forward} {backward}");
    }
    let squares = jacobian(&network, z.clone()).square();
    let backward = numbers(squares.sum_dim(2).sum_dim(1));
    for (forward, backward) in numbers(jacobian_norms(&network, z)).iter().zip(backward) {
        assert!((forward / backward - 1.0).abs() < 1e-5);
    }
}

/// The oracle knows nothing of jets: it takes differences of exact Jacobians.
#[test]
fn second_derivatives_agree_with_differences_of_jacobians() {
    const H: f64 = 1e-2;
    let (m, n, count) = (3, 4, 10);
    let network = network(m, n, 3);
    let latents = uniform_latents(count, m, &mut rng(4));
    let shifted = |axis: usize, by: f64| {
        let at = Mat::from_fn(count, m, |i, j| {
            latents[(i, j)] + if j == axis { by } else { 0.0 }
        });
        numbers(jacobian(&network, tensor(&at)))
    };
    // hessian[axis][(point * n + output) * m + other axis]
    let hessian: Vec<Vec<f64>> = (0..m)
        .map(|axis| {
            let (up, down) = (shifted(axis, H), shifted(axis, -H));
            up.iter()
                .zip(&down)
                .map(|(u, d)| (u - d) / (2.0 * H))
                .collect()
        })
        .collect();
    let norms = second_norms(&network, tensor(&latents));
    let (frobenius, trace) = (numbers(norms.frobenius), numbers(norms.trace));
    for point in 0..count {
        let outputs = point * n..(point + 1) * n;
        let squares: f64 = hessian
            .iter()
            .flat_map(|slice| &slice[outputs.start * m..outputs.end * m])
            .map(|entry| entry * entry)
            .sum();
        let laplacian =
            |at: usize| -> f64 { (0..m).map(|axis| hessian[axis][at * m + axis]).sum() };
        let traces: f64 = outputs.map(|at| laplacian(at).powi(2)).sum();
        assert!((frobenius[point] / squares - 1.0).abs() < 1e-2);
        assert!((trace[point] / traces - 1.0).abs() < 2e-2);
    }
}

fn leaky(output: Output) -> Mlp {
    MlpConfig::new(3, 4)
        .with_widths(vec![16, 16])
        .with_activation(Activation::LeakyRelu)
        .with_output(output)
        .init(2, &burn::tensor::Device::flex())
        .unwrap()
}

#[test]
fn leaky_relu_bends_only_behind_the_last_layer() {
    let z = tensor(&uniform_latents(50, 3, &mut rng(1)));
    let v = tensor(&uniform_latents(50, 3, &mut rng(2)));
    let linear = leaky(Output::Linear);
    let jet = linear.jet(z.clone(), v.clone());
    assert!(numbers(jet.second).iter().all(|&second| second == 0.0));
    assert_eq!(numbers(jet.value), numbers(linear.forward(z.clone())));
    let product = jacobian(&linear, z.clone()).matmul(v.clone().reshape([50, 3, 1]));
    for (forward, backward) in numbers(jet.first).iter().zip(numbers(product)) {
        assert!((forward - backward).abs() < 1e-5, "{forward} {backward}");
    }
    // What the logistic function makes of a line: the slopes are s (1 - s) u' and s (1 - s) (1 - 2 s) u'^2.
    let jet = leaky(Output::Sigmoid).jet(z, v);
    let values = numbers(jet.value).into_iter().zip(numbers(jet.first));
    for ((s, first), second) in values.zip(numbers(jet.second)) {
        let expected = (1.0 - 2.0 * s) / (s * (1.0 - s)) * first * first;
        assert!((second - expected).abs() < 1e-4 * (1.0 + expected.abs()));
    }
}

/// Without that a game takes many times as many steps.
#[test]
fn weights_beside_leaky_relu_keep_the_size_of_what_goes_through() {
    let network = MlpConfig::new(64, 64)
        .with_activation(Activation::LeakyRelu)
        .init(1, &burn::tensor::Device::flex())
        .unwrap();
    let x = tensor(&uniform_latents(2_000, 64, &mut rng(1)));
    let square = |numbers: Vec<f64>| {
        let count = numbers.len() as f64;
        numbers.iter().map(|x| x * x).sum::<f64>() / count
    };
    // The last layer, behind which nothing halves the square, doubles it.
    let ratio = square(numbers(network.forward(x.clone()))) / square(numbers(x));
    assert!((1.2..3.0).contains(&ratio), "{ratio}");
}

#[test]
fn points_in_parts_are_the_points_of_one_pass() {
    let network = network(2, 3, 5);
    let latents = uniform_latents(5_000, 2, &mut rng(6));
    let parts = generate(&network, latents.as_ref(), &burn::tensor::Device::flex()).unwrap();
    let whole = numbers(network.forward(tensor(&latents)));
    let most = (0..5_000)
        .flat_map(|i| (0..3).map(move |j| (i, j)))
        .map(|(i, j)| (parts[(i, j)] - whole[i * 3 + j]).abs())
        .fold(0.0, f64::max);
    assert!(most < 1e-6, "{most}");
}
