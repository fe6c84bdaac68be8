//! Processor seconds and memory of the stages of a bound, beside stored times of the paper's program and of auto_LiRPA.
//!
//! `RAYON_NUM_THREADS=1 FIRE_ASSAY_VERIFY=FOLDER cargo bench -p zonotope-verify --bench speed`. Without the folder only the network that is made here is
//! measured: the shape of the paper's FFNet (784-512-256-128-64-10) with random weights, over a box of radius 0.1. The paper's settings pair all neurons, so
//! that their time does not depend on the weights; the defaults pair the unstable ones, which are nearly all here and half of them in a trained network.

mod support;

use burn::tensor::Device;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use support::{folder, peak_mebibytes, reset_peak, timed};
use zonotope_verify::crown::{
    AlphaCrownConfig, IntermediateBounds, intermediate_bounds, lower_bounds,
};
use zonotope_verify::dual::{AscentConfig, PaperExperiment, ZonoDualConfig};
use zonotope_verify::network::{Affine, Layer, Network};
use zonotope_verify::objective::Objective;
use zonotope_verify::spec::{InputBox, Spec};
use zonotope_verify::verify::VerifierConfig;

fn main() {
    let device = Device::flex();
    let network = ffnet(&[784, 512, 256, 128, 64, 10]);
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let image: Vec<f64> = (0..784).map(|_| rng.random::<f64>()).collect();
    let input = InputBox::linf(&image, 0.1).unwrap().clip(0.0, 1.0).unwrap();
    println!("| what | processor seconds | the other's | MiB |\n| --- | --- | --- | --- |");
    ascents(&network, &input, &device);
    pipeline(
        "FFNet, random weights",
        &network,
        &input,
        "3.8 to 6.7",
        &device,
    );
    certification(&network, &image, &device);
    let Some(folder) = folder() else {
        return;
    };
    for (net, theirs) in [("256x2", "0.13 to 0.5"), ("256x4", "0.7 to 2.0")] {
        let network =
            Network::from_onnx(folder.join(format!("mnist_fc/mnist-net_{net}.onnx"))).unwrap();
        let spec = Spec::from_vnnlib(folder.join("mnist_fc/prop_0_0.05.vnnlib.gz")).unwrap();
        let name = format!("mnist_fc {net}, property 0, eps 0.05");
        pipeline(&name, &network, &spec.cases[0].input, theirs, &device);
    }
    let network = Network::from_onnx(folder.join("paper_nets/cifar_sgd_8px.onnx")).unwrap();
    let center = vec![0.0; network.inputs()];
    let input = InputBox::linf(&center, 5.0 / 255.0).unwrap();
    pipeline(
        "cifar_sgd_8px, grey image, eps 5/255",
        &network,
        &input,
        "3.4 to 7.6",
        &device,
    );
}

/// 1000 steps with the paper's settings, and with an outer polygon of 48 sides.
fn ascents(network: &Network, input: &InputBox, device: &Device) {
    let objective = Objective::margin(0, 1, network.outputs()).unwrap();
    let seconds = |config: ZonoDualConfig| {
        timed(|| {
            config
                .init()
                .lower_bounds(network, input, &objective, device)
                .unwrap()
        })
        .1
    };
    let outer = ZonoDualConfig::new().pairs;
    for (name, config, theirs) in [
        (
            "1000 steps, all vertices (paper)",
            ZonoDualConfig::paper(PaperExperiment::MnistLastLayer),
            "18.3",
        ),
        (
            "1000 steps, 48 sides",
            ZonoDualConfig::paper(PaperExperiment::MnistLastLayer).with_pairs(outer),
            "18.3",
        ),
    ] {
        let without = seconds(config.clone().with_ascent(AscentConfig {
            steps: 0,
            ..config.ascent.clone()
        }));
        let with = seconds(config);
        println!("| {name} | {:.2} | {theirs} | |", with - without);
    }
}

/// alpha-CROWN of all layers and nine margins, then the whole default pipeline for one margin.
fn pipeline(name: &str, network: &Network, input: &InputBox, theirs: &str, device: &Device) {
    let all = Objective::margins(0, network.outputs()).unwrap();
    let one = Objective::margin(0, 1, network.outputs()).unwrap();
    let config = AlphaCrownConfig::default();
    reset_peak();
    let (hidden, first) = timed(|| {
        let method = IntermediateBounds::AlphaCrown(config.clone());
        intermediate_bounds(network, input, &method, device).unwrap()
    });
    let (_, second) =
        timed(|| lower_bounds(network, input, &hidden, &all, &config, device).unwrap());
    let memory = || peak_mebibytes().map_or_else(String::new, |x| format!("{x:.0}"));
    println!(
        "| {name}: alpha-CROWN(20), hidden layers and margins | {first:.2} + {second:.2} | {theirs} | {} |",
        memory()
    );
    reset_peak();
    let (_, whole) = timed(|| {
        ZonoDualConfig::new()
            .init()
            .lower_bounds(network, input, &one, device)
            .unwrap()
    });
    println!(
        "| {name}: defaults, one margin | {whole:.2} | | {} |",
        memory()
    );
}

/// The search for a proof, and the check of it.
fn certification(network: &Network, image: &[f64], device: &Device) {
    // A radius that is proven without branching.
    let input = InputBox::linf(image, 1e-3).unwrap();
    let outputs = network.evaluate(image).unwrap();
    let label = (0..outputs.len())
        .max_by(|&a, &b| outputs[a].value.total_cmp(&outputs[b].value))
        .unwrap();
    let spec = Spec::robustness(&input, label, outputs.len()).unwrap();
    let ((report, certificate), search) = timed(|| {
        VerifierConfig::new()
            .init()
            .prove(network, &spec, device)
            .unwrap()
    });
    let (checked, check) = timed(|| certificate.check(network, &spec).is_ok());
    println!(
        "| FFNet, random weights, eps 0.001: search ({}), check ({}) | {search:.2}, {check:.2} | | |",
        report.verdict,
        if checked { "accepted" } else { "rejected" }
    );
}

/// A network of dense layers with normal weights of variance 2 / inputs.
fn ffnet(widths: &[usize]) -> Network {
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut layers = Vec::new();
    for sides in widths.windows(2) {
        let (inputs, outputs) = (sides[0], sides[1]);
        let scale = (2.0 / inputs as f64).sqrt();
        // A sum of twelve uniform numbers is normal enough.
        let mut normal = || (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0;
        let weight = (0..inputs * outputs)
            .map(|_| (scale * normal()) as f32)
            .collect();
        if !layers.is_empty() {
            layers.push(Layer::Relu);
        }
        layers.push(Layer::Affine(Affine {
            outputs,
            inputs,
            weight,
            bias: vec![0.0; outputs],
        }));
    }
    Network::new(vec![widths[0]], layers).unwrap()
}
