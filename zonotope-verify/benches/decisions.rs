//! What the whole verifier decides within a time limit, and how fast its proofs are checked.
//!
//! `FIRE_ASSAY_VERIFY=FOLDER cargo bench -p zonotope-verify --bench decisions [-- NAME ...]`, with the networks and specifications of mnist_fc and the
//! networks of ACAS Xu in the folder; properties 1 to 3 of the latter are written down here, in VNN-COMP's numbering and normalised inputs. 116 seconds an
//! instance, VNN-COMP's limit.

mod support;

use std::path::Path;
use std::time::Instant;

use burn::tensor::Device;
use zonotope_verify::network::Network;
use zonotope_verify::report::Verdict;
use zonotope_verify::spec::{HalfSpace, InputBox, Spec, UnsafeCase};
use zonotope_verify::verify::VerifierConfig;

const SECONDS: f64 = 116.0;

fn main() {
    let Some(folder) = support::folder() else {
        return;
    };
    let wants = support::wanted();
    println!(
        "| instance | verdict | seconds | nodes | seconds to check |\n| --- | --- | --- | --- | --- |"
    );
    for net in ["256x2", "256x4"] {
        let network = network(&folder, &format!("mnist_fc/mnist-net_{net}.onnx"));
        for eps in ["0.03", "0.05"] {
            for property in 0..5 {
                let name = format!("mnist_fc {net} prop_{property}_{eps}");
                let file = format!("mnist_fc/prop_{property}_{eps}.vnnlib.gz");
                if wants(&name) {
                    decide(
                        &name,
                        &network,
                        &Spec::from_vnnlib(folder.join(file)).unwrap(),
                    );
                }
            }
        }
    }
    for net in ["1_1", "1_6", "1_7", "1_9", "2_9", "3_3", "4_5"] {
        let network = network(
            &folder,
            &format!("acasxu/ACASXU_experimental_v2a_{net}.onnx"),
        );
        for property in 1..=3 {
            let name = format!("acasxu {net} property {property}");
            if wants(&name) {
                decide(&name, &network, &acasxu(property));
            }
        }
    }
}

fn network(folder: &Path, file: &str) -> Network {
    Network::from_onnx(folder.join(file)).unwrap()
}

fn decide(name: &str, network: &Network, spec: &Spec) {
    let verifier = VerifierConfig::new().with_timeout_seconds(SECONDS).init();
    let clock = Instant::now();
    let (report, certificate) = verifier.prove(network, spec, &Device::flex()).unwrap();
    let seconds = clock.elapsed().as_secs_f64();
    let nodes: usize = report.cases.iter().map(|case| case.nodes).sum();
    let (verdict, checked) = match report.verdict {
        Verdict::Verified { bound } => {
            let clock = Instant::now();
            certificate.check(network, spec).unwrap();
            let checked = format!("{:.2}", clock.elapsed().as_secs_f64());
            (format!("verified, {bound:.3e}"), checked)
        }
        Verdict::Falsified { .. } => ("falsified".to_owned(), String::new()),
        Verdict::Unknown { bound, reason, .. } => {
            (format!("open ({reason}), {bound:.3e}"), String::new())
        }
    };
    println!("| {name} | {verdict} | {seconds:.2} | {nodes} | {checked} |");
}

/// A property of the collision-avoidance networks: what must not happen.
fn acasxu(property: usize) -> Spec {
    let (lower, upper) = if property == 3 {
        (
            vec![-0.303531156, -0.009549297, 0.493380324, 0.3, 0.3],
            vec![-0.298552812, 0.009549297, 0.5, 0.5, 0.5],
        )
    } else {
        (
            vec![0.6, -0.5, -0.5, 0.45, -0.5],
            vec![0.679857769, 0.5, 0.5, 0.5, -0.45],
        )
    };
    let outputs = if property == 1 {
        vec![HalfSpace {
            coefficients: vec![-1.0, 0.0, 0.0, 0.0, 0.0],
            bound: -3.991125645861615,
        }]
    } else {
        // The first output is the largest of all (property 2), or the smallest (property 3).
        let sign = if property == 2 { -1.0 } else { 1.0 };
        let above = |other: usize| {
            let mut coefficients = vec![0.0; 5];
            coefficients[0] = sign;
            coefficients[other] = -sign;
            HalfSpace {
                coefficients,
                bound: 0.0,
            }
        };
        (1..5).map(above).collect()
    };
    Spec {
        cases: vec![UnsafeCase {
            input: InputBox::new(lower, upper).unwrap(),
            outputs,
        }],
    }
}
