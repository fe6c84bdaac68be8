//! The answers of another verifier, Marabou, on random networks (`data/marabou.json`, whose head says how it was made).

use std::path::Path;

use burn::tensor::Device;
use serde::Deserialize;
use zonotope_verify::branch::{BranchConfig, BranchOn};
use zonotope_verify::network::{Affine, Layer, Network};
use zonotope_verify::report::Verdict;
use zonotope_verify::spec::{HalfSpace, InputBox, Spec, UnsafeCase};
use zonotope_verify::verify::VerifierConfig;

use crate::complete::brief;

#[derive(Deserialize)]
struct Answers {
    cases: Vec<Case>,
}

/// Weights, biases and boxes are in units of 1/64.
#[derive(Deserialize)]
struct Case {
    widths: Vec<usize>,
    /// Layer by layer the weights, row by row, and then the biases.
    layers: Vec<Vec<i32>>,
    lower: Vec<i32>,
    upper: Vec<i32>,
    /// What is unsafe: one of the rows has `a y <= b`; the coefficients, and the bound last.
    #[serde(rename = "unsafe")]
    rows: Vec<Vec<f64>>,
    answer: String,
}

impl Case {
    fn network(&self) -> Network {
        let mut layers = Vec::new();
        for (numbers, pair) in self.layers.iter().zip(self.widths.windows(2)) {
            if !layers.is_empty() {
                layers.push(Layer::Relu);
            }
            let numbers: Vec<f32> = numbers.iter().map(|&x| x as f32 / 64.0).collect();
            let (weight, bias) = numbers.split_at(pair[0] * pair[1]);
            layers.push(Layer::Affine(Affine {
                outputs: pair[1],
                inputs: pair[0],
                weight: weight.to_vec(),
                bias: bias.to_vec(),
            }));
        }
        Network::new(vec![self.widths[0]], layers).unwrap()
    }

    fn spec(&self) -> Spec {
        let side = |numbers: &[i32]| numbers.iter().map(|&x| f64::from(x) / 64.0).collect();
        let input = InputBox::new(side(&self.lower), side(&self.upper)).unwrap();
        let cases = self.rows.iter().map(|row| UnsafeCase {
            input: input.clone(),
            outputs: vec![HalfSpace {
                coefficients: row[..row.len() - 1].to_vec(),
                bound: row[row.len() - 1],
            }],
        });
        Spec {
            cases: cases.collect(),
        }
    }
}

#[test]
fn answers_are_those_of_marabou() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/marabou.json");
    let answers: Answers = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert_eq!(answers.cases.len(), 50);
    for (index, case) in answers.cases.iter().enumerate() {
        let (network, spec) = (case.network(), case.spec());
        for on in [BranchOn::Activations, BranchOn::Inputs] {
            let config = VerifierConfig {
                bound: brief(),
                ..VerifierConfig::new().with_timeout_seconds(60.0)
            };
            let verifier = config
                .with_branch(BranchConfig {
                    on,
                    ..BranchConfig::default()
                })
                .init();
            let report = verifier.verify(&network, &spec, &Device::flex()).unwrap();
            let answer = match &report.verdict {
                Verdict::Verified { .. } => "unsat",
                Verdict::Falsified { .. } => "sat",
                Verdict::Unknown { .. } => "unknown",
            };
            assert_eq!(answer, case.answer, "case {index}, {on:?}: {report}");
        }
    }
}
