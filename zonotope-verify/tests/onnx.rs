//! The reader of ONNX files against ONNX Runtime, with an evaluator of layers in plain loops between them, and the writer against the
//! reader.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde::Deserialize;
use zonotope_verify::Error;
use zonotope_verify::network::{Affine, AvgPool2d, Conv2d, Enclosure, Layer, Network, Scale};
use zonotope_verify::onnx;

/// The output of a chain of layers by the definitions of the layers, in 64-bit arithmetic.
fn oracle(network: &Network, input: &[f64]) -> Vec<f64> {
    network
        .layers()
        .iter()
        .fold(input.to_vec(), |x, layer| match layer {
            Layer::Affine(layer) => (0..layer.outputs)
                .map(|row| {
                    let weights = &layer.weight[row * layer.inputs..(row + 1) * layer.inputs];
                    let products = weights.iter().zip(&x).map(|(&w, x)| f64::from(w) * x);
                    products.sum::<f64>() + f64::from(layer.bias[row])
                })
                .collect(),
            Layer::Conv2d(layer) => convolve(layer, &x),
            Layer::AvgPool2d(layer) => average(layer, &x),
            Layer::Scale(layer) => {
                let rows = layer.scale.iter().zip(&layer.shift).zip(&x);
                rows.map(|((scale, shift), x)| scale.value * x + shift.value)
                    .collect()
            }
            Layer::Permute(order) => order.iter().map(|&from| x[from]).collect(),
            Layer::Relu => x.into_iter().map(|x| x.max(0.0)).collect(),
        })
}

/// The element of an image at a place in its padded form; none in the padding.
fn tap(
    x: &[f64],
    image: [usize; 3],
    padding: [usize; 4],
    channel: usize,
    row: usize,
    column: usize,
) -> Option<f64> {
    let row = row.checked_sub(padding[0]).filter(|&row| row < image[1])?;
    let column = column
        .checked_sub(padding[1])
        .filter(|&column| column < image[2])?;
    Some(x[(channel * image[1] + row) * image[2] + column])
}

fn convolve(layer: &Conv2d, x: &[f64]) -> Vec<f64> {
    let [channels, height, width] = layer.output();
    let (mixed, own) = (layer.input[0] / layer.groups, layer.channels / layer.groups);
    let mut result = Vec::new();
    for channel in 0..channels {
        for row in 0..height {
            for column in 0..width {
                let mut sum = f64::from(layer.bias[channel]);
                for from in 0..mixed {
                    for i in 0..layer.kernel[0] {
                        for j in 0..layer.kernel[1] {
                            let weight = layer.weight[((channel * mixed + from) * layer.kernel[0]
                                + i)
                                * layer.kernel[1]
                                + j];
                            let place = [
                                row * layer.stride[0] + i * layer.dilation[0],
                                column * layer.stride[1] + j * layer.dilation[1],
                            ];
                            let source = channel / own * mixed + from;
                            sum += f64::from(weight)
                                * tap(x, layer.input, layer.padding, source, place[0], place[1])
                                    .unwrap_or(0.0);
                        }
                    }
                }
                result.push(sum);
            }
        }
    }
    result
}

fn average(layer: &AvgPool2d, x: &[f64]) -> Vec<f64> {
    let [channels, height, width] = layer.output();
    let mut result = Vec::new();
    for channel in 0..channels {
        for row in 0..height {
            for column in 0..width {
                let mut taps = Vec::new();
                for i in 0..layer.kernel[0] {
                    for j in 0..layer.kernel[1] {
                        let place = [row * layer.stride[0] + i, column * layer.stride[1] + j];
                        taps.push(tap(
                            x,
                            layer.input,
                            layer.padding,
                            channel,
                            place[0],
                            place[1],
                        ));
                    }
                }
                let sum: f64 = taps.iter().flatten().sum();
                let count = if layer.count_include_pad {
                    taps.len()
                } else {
                    taps.iter().flatten().count()
                };
                result.push(sum / count as f64);
            }
        }
    }
    result
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/onnx")
}

#[derive(Deserialize)]
struct Case {
    input: Vec<f64>,
    output: Vec<f64>,
}

#[test]
fn networks_compute_what_onnx_runtime_computes() {
    let text = fs::read_to_string(folder().join("outputs.json")).unwrap();
    let files: BTreeMap<String, Vec<Case>> = serde_json::from_str(&text).unwrap();
    assert_eq!(files.len(), 10);
    for (name, cases) in files {
        let network = Network::from_onnx(folder().join(format!("{name}.onnx")))
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(network.inputs(), cases[0].input.len(), "{name}");
        for case in cases {
            let found = oracle(&network, &case.input);
            assert_eq!(found.len(), case.output.len(), "{name}");
            let size = case
                .output
                .iter()
                .fold(1e-3, |size: f64, y| size.max(y.abs()));
            for (found, expected) in found.iter().zip(&case.output) {
                assert!(
                    (found - expected).abs() <= 1e-5 * size,
                    "{name}: {found} instead of {expected}"
                );
            }
        }
    }
}

#[test]
fn folded_networks_compute_what_their_layers_compute() {
    let text = fs::read_to_string(folder().join("outputs.json")).unwrap();
    let files: BTreeMap<String, Vec<Case>> = serde_json::from_str(&text).unwrap();
    for (name, cases) in files {
        let network = Network::from_onnx(folder().join(format!("{name}.onnx"))).unwrap();
        for case in cases {
            let found = network.evaluate(&case.input).unwrap();
            let layers = oracle(&network, &case.input);
            let size = layers.iter().fold(1.0, |size: f64, y| size.max(y.abs()));
            for ((found, layers), expected) in found.iter().zip(layers).zip(&case.output) {
                // The loops round too, by less than this.
                assert!(
                    (found.value - layers).abs() <= found.radius + 1e-13 * size,
                    "{name}: {found:?} instead of {layers}"
                );
                assert!(found.radius <= 1e-11 * size, "{name}: {found:?}");
                assert!((found.value - expected).abs() <= 1e-5 * size, "{name}");
            }
        }
    }
}

#[test]
fn batches_are_dropped_and_shapes_kept() {
    let shape = |name: &str| {
        let network = Network::from_onnx(folder().join(format!("{name}.onnx"))).unwrap();
        (network.input_shape().to_vec(), network.outputs())
    };
    assert_eq!(shape("dense"), (vec![2, 3], 3));
    assert_eq!(shape("old_dense"), (vec![1, 1, 5], 2));
    assert_eq!(shape("pooling"), (vec![2, 5, 4], 3));
    assert_eq!(shape("matmul_left"), (vec![3], 2));
}

#[test]
fn factors_without_a_32_bit_form_come_with_radii_and_others_exactly() {
    let scales = |name: &str| -> Vec<Scale> {
        let network = Network::from_onnx(folder().join(format!("{name}.onnx"))).unwrap();
        let layers = network.layers().iter();
        layers
            .filter_map(|layer| {
                if let Layer::Scale(scale) = layer {
                    Some(scale.clone())
                } else {
                    None
                }
            })
            .collect()
    };
    let exact = |numbers: &[Enclosure]| numbers.iter().all(|x| x.radius == 0.0);
    let normalise = scales("normalise");
    // Division by 255, subtraction, multiplication, subtraction from a constant, addition, division.
    let expected = [false, true, true, true, true, false];
    assert_eq!(
        normalise
            .iter()
            .map(|scale| exact(&scale.scale))
            .collect::<Vec<_>>(),
        expected
    );
    assert!(normalise.iter().all(|scale| exact(&scale.shift)));
    let pixel = normalise[0].scale[0];
    assert!((pixel.value - 1.0 / 255.0).abs() <= pixel.radius && pixel.radius <= 1e-18);
    for scale in scales("pooling") {
        assert!(
            scale
                .scale
                .iter()
                .all(|x| x.radius > 0.0 && x.radius <= 1e-15 * x.value.abs())
        );
    }
    assert!(
        scales("old_dense")
            .iter()
            .chain(&scales("dense"))
            .all(|scale| exact(&scale.scale) && exact(&scale.shift))
    );
}

#[test]
fn what_is_cut_off_or_changed_is_an_error_or_a_network_but_no_panic() {
    let mut networks = 0;
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "onnx") {
            continue;
        }
        let bytes = fs::read(&path).unwrap();
        for end in 0..bytes.len() {
            // A cut between two fields leaves a readable file, but the output comes last.
            assert!(
                onnx::parse(&bytes[..end], "cut").is_err() || end > bytes.len() - 20,
                "{} at {end}",
                path.display()
            );
        }
        // Every eleventh byte: folding a network takes its time, and the fuzz target does the rest.
        for position in (0..bytes.len()).step_by(11) {
            let mut changed = bytes.clone();
            changed[position] ^= if position % 2 == 0 { 0x01 } else { 0x40 };
            networks += usize::from(onnx::parse(&changed, "changed").is_ok());
        }
    }
    assert!(networks > 0, "most changes of weights leave a network");
}

/// Any of the layers that can be written, on `size` numbers, from small integers that a seed gives.
fn layers(seed: u64) -> (Vec<usize>, Vec<Layer>) {
    let mut state = seed;
    let mut draw = move |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let number = |draw: &mut dyn FnMut(usize) -> usize| draw(2001) as f32 / 100.0 - 10.0;
    let mut shape = [1 + draw(3), 1 + draw(5), 1 + draw(5)];
    let input_shape = shape.to_vec();
    let mut layers = Vec::new();
    for _ in 0..draw(7) {
        let size: usize = shape.iter().product();
        let layer = match draw(6) {
            0 => {
                let outputs = 1 + draw(6);
                let weight = (0..outputs * size).map(|_| number(&mut draw)).collect();
                let bias = (0..outputs).map(|_| number(&mut draw)).collect();
                shape = [outputs, 1, 1];
                Layer::Affine(Affine {
                    outputs,
                    inputs: size,
                    weight,
                    bias,
                })
            }
            1 => {
                let groups = if shape[0] % 2 == 0 { 1 + draw(2) } else { 1 };
                let channels = groups * (1 + draw(2));
                let kernel = [1 + draw(shape[1].min(3)), 1 + draw(shape[2].min(3))];
                let padding = [draw(2), draw(2), draw(2), draw(2)];
                let taps = shape[0] / groups * kernel[0] * kernel[1];
                let layer = Conv2d {
                    input: shape,
                    channels,
                    kernel,
                    stride: [1 + draw(2), 1 + draw(2)],
                    padding,
                    dilation: [if kernel[0] == 1 { 1 + draw(2) } else { 1 }, 1],
                    groups,
                    weight: (0..channels * taps).map(|_| number(&mut draw)).collect(),
                    bias: (0..channels).map(|_| number(&mut draw)).collect(),
                };
                shape = layer.output();
                Layer::Conv2d(layer)
            }
            2 => {
                let kernel = [1 + draw(shape[1].min(3)), 1 + draw(shape[2].min(3))];
                let padding = [draw(kernel[0].min(2)), draw(kernel[1].min(2)), 0, 0];
                let stride = [1 + draw(2), 1 + draw(2)];
                let layer = AvgPool2d {
                    input: shape,
                    kernel,
                    stride,
                    padding,
                    count_include_pad: draw(2) == 1,
                };
                shape = layer.output();
                Layer::AvgPool2d(layer)
            }
            3 => {
                let mut numbers = || {
                    (0..size)
                        .map(|_| Enclosure::exact(f64::from(number(&mut draw))))
                        .collect()
                };
                Layer::Scale(Scale {
                    scale: numbers(),
                    shift: numbers(),
                })
            }
            4 => {
                let mut order: Vec<usize> = (0..size).collect();
                for last in (1..size).rev() {
                    order.swap(last, draw(last + 1));
                }
                Layer::Permute(order)
            }
            _ => Layer::Relu,
        };
        layers.push(layer);
    }
    (input_shape, layers)
}

proptest! {
    #[test]
    fn what_is_written_is_read_as_the_same_layers(seed in any::<u64>()) {
        let (shape, layers) = layers(seed);
        let network = Network::new(shape, layers).unwrap();
        let again = onnx::parse(&onnx::to_bytes(&network).unwrap(), "written").unwrap();
        prop_assert_eq!(again.layers(), network.layers());
        prop_assert_eq!(again.input_shape(), network.input_shape());
    }
}

#[test]
fn files_are_written_and_read_and_packed_ones_too() {
    let folder = tempfile::tempdir().unwrap();
    let (shape, layers) = layers(7);
    let network = Network::new(shape, layers).unwrap();
    let path = folder.path().join("network.onnx");
    network.to_onnx(&path).unwrap();
    assert_eq!(
        Network::from_onnx(&path).unwrap().layers(),
        network.layers()
    );

    let packed = folder.path().join("network.onnx.gz");
    let mut encoder = flate2::write::GzEncoder::new(
        fs::File::create(&packed).unwrap(),
        flate2::Compression::fast(),
    );
    std::io::copy(&mut fs::File::open(&path).unwrap(), &mut encoder).unwrap();
    encoder.finish().unwrap();
    assert_eq!(
        Network::from_onnx(&packed).unwrap().layers(),
        network.layers()
    );
    assert!(matches!(
        Network::from_onnx(folder.path().join("none.onnx")),
        Err(Error::Io { .. })
    ));
}

#[test]
fn numbers_that_are_not_exact_are_not_written() {
    let scale = |factor| {
        Layer::Scale(Scale {
            scale: vec![factor],
            shift: vec![Enclosure::exact(0.0)],
        })
    };
    for factor in [
        Enclosure {
            value: 0.5,
            radius: 1e-20,
        },
        Enclosure::exact(0.1),
        Enclosure::exact(1e300),
    ] {
        let network = Network::new(vec![1], vec![scale(factor)]).unwrap();
        let error = onnx::to_bytes(&network).unwrap_err();
        assert!(
            matches!(error, Error::UnsupportedOperator { .. }),
            "{error}"
        );
    }
}

/// The folder with files that are too large, or have no licence to be here.
fn real_files() -> Option<PathBuf> {
    let folder = std::env::var_os("FIRE_ASSAY_VERIFY").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("skipped: FIRE_ASSAY_VERIFY names no folder with real networks");
    }
    folder
}

/// Numbers of a NumPy file of bytes.
fn bytes_of_npy(path: &Path) -> Vec<u8> {
    let bytes = fs::read(path).unwrap();
    assert_eq!(&bytes[..6], b"\x93NUMPY");
    let header = usize::from(bytes[8]) + 256 * usize::from(bytes[9]);
    bytes[10 + header..].to_vec()
}

fn onnx_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| {
            if path.is_dir() {
                onnx_files(&path)
            } else {
                vec![path]
            }
        })
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "onnx")
        })
        .collect()
}

#[test]
fn real_networks_load_with_their_sizes() {
    let Some(folder) = real_files() else { return };
    let files = onnx_files(&folder);
    assert!(files.len() >= 18, "{files:?}");
    for path in files {
        let network =
            Network::from_onnx(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let name = path.file_name().unwrap().to_str().unwrap();
        let expected = match name {
            _ if name.starts_with("ACASXU") => (5, vec![50; 6], 5),
            "mnist-net_256x2.onnx" => (784, vec![256; 2], 10),
            "mnist-net_256x4.onnx" => (784, vec![256; 4], 10),
            "mnist_2_20.onnx" => (784, vec![20], 10),
            "mnist_6_100_nat.onnx" => (784, vec![100; 5], 10),
            "mnist_wide_kw.onnx" => (784, vec![3136, 1568, 100], 10),
            "cifar_base_kw.onnx" => (3072, vec![2048, 1024, 100], 10),
            "cifar_deep_kw.onnx" => (3072, vec![2048, 2048, 2048, 512, 100], 10),
            "cifar_sgd_8px.onnx" => (3072, vec![4096, 2048, 100], 10),
            _ => continue,
        };
        assert_eq!(
            (network.inputs(), network.hidden(), network.outputs()),
            expected,
            "{name}"
        );
    }
}

#[test]
fn real_networks_classify_as_well_as_they_are_known_to() {
    let Some(folder) = real_files() else { return };
    let images = |name: &str| bytes_of_npy(&folder.join("images").join(name));
    let mnist = (
        images("mnist_test_first1000_u8.npy"),
        images("mnist_test_first1000_labels_u8.npy"),
    );
    let cifar = (
        images("cifar10_test_first100_chw_u8.npy"),
        images("cifar10_test_first100_labels_u8.npy"),
    );
    let pixel: fn(f64, usize) -> f64 = |x, _| x;
    let channels: fn(f64, usize) -> f64 =
        |x, index| (x - [0.485, 0.456, 0.406][index / 1024]) / 0.225;
    let networks = [
        ("paper_nets/mnist_6_100_nat.onnx", &mnist, pixel, 99),
        ("paper_nets/mnist_2_20.onnx", &mnist, pixel, 90),
        ("paper_nets/cifar_sgd_8px.onnx", &cifar, channels, 82),
    ];
    for (name, (images, labels), normalise, expected) in networks {
        let network = Network::from_onnx(folder.join(name)).unwrap();
        let right = images
            .chunks_exact(network.inputs())
            .zip(labels)
            .take(100)
            .filter(|(image, label)| {
                let input: Vec<f64> = image
                    .iter()
                    .enumerate()
                    .map(|(i, &x)| normalise(f64::from(x) / 255.0, i))
                    .collect();
                let output = oracle(&network, &input);
                let top = (0..10)
                    .max_by(|&a, &b| output[a].total_cmp(&output[b]))
                    .unwrap();
                top == usize::from(**label)
            });
        assert_eq!(right.count(), expected, "{name}");
    }
}
