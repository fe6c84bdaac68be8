//! Bounds hold what is attained, to the last digit where nothing is relaxed.

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Boxes, Workspace};
use crate::network::{Affine, Conv2d, Enclosure, Layer, Network, Scale};
use crate::spec::InputBox;

fn affine(inputs: usize, outputs: usize, scale: f64, rng: &mut impl Rng) -> Layer {
    let mut draw = |size: f64| (rng.random_range(-1.0..1.0) * size) as f32;
    let size = scale * (3.0 / inputs as f64).sqrt();
    Layer::Affine(Affine {
        outputs,
        inputs,
        weight: (0..inputs * outputs).map(|_| draw(size)).collect(),
        bias: (0..outputs).map(|_| draw(0.3 * scale)).collect(),
    })
}

fn dense(widths: &[usize], scale: f64, rng: &mut impl Rng) -> Network {
    let mut layers = Vec::new();
    for pair in widths.windows(2) {
        if !layers.is_empty() {
            layers.push(Layer::Relu);
        }
        layers.push(affine(pair[0], pair[1], scale, rng));
    }
    Network::new(vec![widths[0]], layers).unwrap()
}

/// A factor of which only an interval is known, a ReLU right at the input (an identity as first map), a convolution and a dense layer.
fn mixed(rng: &mut impl Rng) -> Network {
    let convolution = Conv2d {
        input: [1, 3, 4],
        channels: 2,
        kernel: [2, 2],
        stride: [1, 2],
        padding: [0, 0, 0, 0],
        dilation: [1, 1],
        groups: 1,
        weight: (0..8).map(|_| rng.random_range(-1.0..1.0)).collect(),
        bias: vec![0.1, -0.2],
    };
    let factor = Enclosure {
        value: 1.0 / 3.0,
        radius: 1e-3,
    };
    let scale = Layer::Scale(Scale {
        scale: vec![factor; 8],
        shift: vec![Enclosure::exact(0.5); 8],
    });
    let layers = vec![
        Layer::Relu,
        Layer::Conv2d(convolution),
        Layer::Relu,
        scale.clone(),
        affine(8, 8, 1.0, rng),
        scale,
        Layer::Relu,
        affine(8, 2, 1.0, rng),
    ];
    Network::new(vec![1, 3, 4], layers).unwrap()
}

fn network(round: usize, rng: &mut impl Rng) -> Network {
    match round % 6 {
        0 => dense(&[3, 2], 1.0, rng),
        1 => dense(&[2, 9, 8, 3], 1e-6, rng),
        2 => dense(&[4, 17, 9, 2], 1e4, rng),
        3 => mixed(rng),
        _ => dense(&[3, 8, 8, 8, 3], 1.0, rng),
    }
}

fn around(center: &[f64], radius: f64) -> InputBox {
    let ends = |sign: f64| center.iter().map(|x| x + sign * radius).collect();
    InputBox::new(ends(-1.0), ends(1.0)).unwrap()
}

/// Every map's outputs at a point, without an error bound.
fn layers_at(boxes: &Boxes<'_>, x: &[f64]) -> Vec<Vec<f64>> {
    let mut values = x.to_vec();
    let mut layers = Vec::new();
    for map in &boxes.maps {
        let row = |i: usize| {
            let sum: f64 = map.map.row(i).map(|(j, w)| w.value * values[j]).sum();
            sum + map.bias[i]
        };
        let image: Vec<f64> = (0..map.map.outputs()).map(row).collect();
        values = image.iter().map(|z| z.max(0.0)).collect();
        layers.push(image);
    }
    layers
}

#[test]
fn bounds_hold_what_points_attain() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let (mut workspace, mut slopes) = <(Workspace, Vec<f64>)>::default();
    let mut raised = 0;
    for round in 0..120 {
        let network = network(round, &mut rng);
        let boxes = Boxes::new(&network);
        let n = network.inputs();
        let center: Vec<f64> = (0..n).map(|_| rng.random_range(-1.0..1.0)).collect();
        let part = around(&center, [0.01, 0.1, 0.5, 2.0][rng.random_range(0..4)]);
        let rows: Vec<f64> = (0..2 * network.outputs())
            .map(|_| rng.random_range(-1.0..1.0))
            .collect();
        boxes.enter(&part, &mut workspace).unwrap();
        let bounds = boxes.bound(&rows, 2, &mut workspace, &mut slopes);
        let lines = slopes.clone();
        let row = &rows[..network.outputs()];
        let ascended = boxes.ascend(row, f64::INFINITY, &mut workspace, &mut slopes);
        assert!(bounds.iter().chain([&ascended]).all(|x| x.is_finite()));
        raised += usize::from(ascended > bounds[0]);
        // Each row alone is the same number.
        for (k, bound) in bounds.iter().enumerate() {
            let row = &rows[k * network.outputs()..(k + 1) * network.outputs()];
            assert_eq!(boxes.bound(row, 1, &mut workspace, &mut slopes), [*bound]);
        }
        let (losses, below) = boxes.losses(row, &mut workspace);
        assert!(below >= 0.0 && losses.iter().all(|x| *x >= 0.0));
        for _ in 0..100 {
            let corner = rng.random::<bool>();
            let ends = part.lower().iter().zip(part.upper());
            let x: Vec<f64> = ends
                .map(|(l, u)| {
                    let share: f64 = rng.random();
                    (l + (u - l) * if corner { share.round() } else { share }).clamp(*l, *u)
                })
                .collect();
            let values = layers_at(&boxes, &x);
            for (values, layer) in values.iter().zip(&workspace.layers[..values.len() - 1]) {
                for (j, z) in values.iter().enumerate() {
                    let error = 1e-12 * z.abs().max(layer.upper[j] - layer.lower[j]);
                    assert!(layer.lower[j] <= z + error && z - error <= layer.upper[j]);
                }
            }
            let outputs = &values[values.len() - 1];
            for (k, bound) in bounds.iter().enumerate() {
                let row = &rows[k * outputs.len()..(k + 1) * outputs.len()];
                let value: f64 = row.iter().zip(outputs).map(|(a, y)| a * y).sum();
                let error = 1e-12
                    * row
                        .iter()
                        .zip(outputs)
                        .map(|(a, y)| (a * y).abs())
                        .sum::<f64>();
                assert!(
                    *bound <= value + error,
                    "{bound} > {value} in round {round}"
                );
                assert!(k > 0 || ascended <= value + error);
                // The slopes are those of a function below it, which is least at a corner.
                let change: f64 = lines[k * n..(k + 1) * n]
                    .iter()
                    .enumerate()
                    .map(|(j, a)| {
                        let end = if *a > 0.0 { part.lower() } else { part.upper() };
                        a * (x[j] - end[j])
                    })
                    .sum();
                assert!(change >= 0.0 && bound + change <= value + 1e3 * error + 1e-9 * change);
            }
        }
    }
    assert!(raised > 40, "better slopes helped in {raised} rounds");
}

#[test]
fn at_a_point_only_rounding_is_lost() {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let (mut workspace, mut slopes) = <(Workspace, Vec<f64>)>::default();
    for round in 0..600 {
        let network = loop {
            let network = network(rng.random_range(0..6), &mut rng);
            // The factors known to three digits only make intervals of points.
            if network.inputs() < 10 {
                break network;
            }
        };
        let boxes = Boxes::new(&network);
        let center: Vec<f64> = (0..network.inputs())
            .map(|_| rng.random_range(-1.0..1.0))
            .collect();
        boxes.enter(&around(&center, 0.0), &mut workspace).unwrap();
        let outputs = network.evaluate(&center).unwrap();
        for (k, y) in outputs.iter().enumerate() {
            for sign in [1.0, -1.0] {
                let mut row = vec![0.0; outputs.len()];
                row[k] = sign;
                let bound = boxes.bound(&row, 1, &mut workspace, &mut slopes)[0];
                // As tight as the enclosure is, an error that is not accounted for shows.
                assert!(bound <= sign * y.value + y.radius, "round {round}");
                let size = layers_at(&boxes, &center)
                    .iter()
                    .flatten()
                    .fold(0.0_f64, |size, z| size.max(z.abs()));
                assert!(sign * y.value - bound <= 1e-10 * size, "round {round}");
            }
        }
    }
}

#[test]
fn overflow_proves_nothing() {
    let layer = |sign: f32| {
        Layer::Affine(Affine {
            outputs: 2,
            inputs: 2,
            weight: vec![sign * 1e38, 1e38, -1e38, sign * 1e38],
            bias: vec![1e38; 2],
        })
    };
    let mut layers = vec![layer(1.0)];
    for k in 0..12 {
        layers.extend([Layer::Relu, layer(if k % 2 == 0 { -1.0 } else { 1.0 })]);
    }
    let network = Network::new(vec![2], layers).unwrap();
    let boxes = Boxes::new(&network);
    let (mut workspace, mut slopes) = <(Workspace, Vec<f64>)>::default();
    let widest = InputBox::new(vec![-1e308; 2], vec![1e308; 2]).unwrap();
    for part in [around(&[0.5, 0.5], 1.0), widest] {
        boxes.enter(&part, &mut workspace).unwrap();
        let row = [1.0, 1.0];
        assert_eq!(
            boxes.bound(&row, 1, &mut workspace, &mut slopes),
            [f64::NEG_INFINITY]
        );
        let ascended = boxes.ascend(&row, 0.0, &mut workspace, &mut slopes);
        assert_eq!(ascended, f64::NEG_INFINITY);
        assert!(
            boxes
                .losses(&row, &mut workspace)
                .0
                .iter()
                .all(|x| *x == 0.0)
        );
    }
    // Rows that are no numbers, in a part that is fine.
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let network = dense(&[2, 5, 2], 1.0, &mut rng);
    let boxes = Boxes::new(&network);
    boxes
        .enter(&around(&[0.1, 0.2], 0.5), &mut workspace)
        .unwrap();
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let found = boxes.bound(&[bad, 1.0, 0.0, bad], 2, &mut workspace, &mut slopes);
        assert_eq!(found, [f64::NEG_INFINITY; 2]);
    }
}
