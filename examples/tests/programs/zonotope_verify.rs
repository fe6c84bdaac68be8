//! The program `zonotope-verify` as its users meet it: what it prints and writes, and what it says to bad input.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use burn::tensor::Device;
use serde_json::Value;
use tempfile::TempDir;
use zonotope_verify::attack::{AttackConfig, attack};
use zonotope_verify::method::Method;
use zonotope_verify::network::{Affine, Layer, Network};
use zonotope_verify::objective::Objective;
use zonotope_verify::spec::{HalfSpace, InputBox, UnsafeCase};

use crate::support::{self, check_names, number, object, refused};

/// A folder to run in.
struct Scratch(TempDir);

impl Scratch {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, contents: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, contents).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn program(&self, line: &str) -> Command {
        let mut command = support::program(env!("CARGO_BIN_EXE_zonotope-verify"), self.0.path());
        command.args(line.split_whitespace());
        command
    }

    fn run(&self, line: &str) -> Output {
        self.program(line).output().unwrap()
    }

    /// The JSON object that the program prints.
    #[track_caller]
    fn object(&self, line: &str) -> Value {
        let result = object(&self.run(&format!("{line} --json")));
        check_names(&result);
        check_rows(&result);
        result
    }

    #[track_caller]
    fn refuses(&self, line: &str, status: i32, words: &[&str]) {
        refused(&self.run(&format!("{line} --json")), status, words);
    }

    /// `abs.onnx`, the absolute value of one number, and specifications of it over [-1, 1]: `holds` says that it stays
    /// below 1.5, `fails` that it stays below 0.5.
    fn absolute_value(&self) {
        let into = affine(1, vec![1.0, -1.0], vec![0.0, 0.0]);
        let out = affine(2, vec![1.0, 1.0], vec![0.0]);
        let network = Network::new(vec![1], vec![into, Layer::Relu, out]).unwrap();
        network.to_onnx(self.path("abs.onnx")).unwrap();
        for (name, limit) in [("holds", 1.5), ("fails", 0.5)] {
            self.write(
                &format!("{name}.vnnlib"),
                spec(&[[-1.0, 1.0]], 1, &format!("(assert (>= Y_0 {limit}))")),
            );
        }
    }

    /// `nothing.onnx`, which computes `relu(x) - relu(x)`, and `quiet.vnnlib`, that this is above -0.1: proven as soon as the sign
    /// of `x` is known, and not before.
    fn nothing(&self) {
        let into = affine(1, vec![1.0, 1.0], vec![0.0, 0.0]);
        let out = affine(2, vec![1.0, -1.0], vec![0.0]);
        let network = Network::new(vec![1], vec![into, Layer::Relu, out]).unwrap();
        network.to_onnx(self.path("nothing.onnx")).unwrap();
        let quiet = spec(&[[-1.0, 1.0]], 1, "(assert (<= Y_0 -0.1))");
        self.write("quiet.vnnlib", quiet);
    }

    /// `hard.onnx`, 30 inputs and two layers of random weights, and `hard.vnnlib`, a statement about it that is true
    /// as far as an attack can tell, and far from what a bound without branching proves.
    fn hard(&self) {
        let mut state = 7_u64;
        let mut random = |count: usize, scale: f64| -> Vec<f32> {
            let mut one = || {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                ((state >> 33) as f64 / f64::from(1_u32 << 30) - 1.0) * scale
            };
            (0..count).map(|_| one() as f32).collect()
        };
        let layers = vec![
            affine(30, random(40 * 30, 0.4), random(40, 0.1)),
            Layer::Relu,
            affine(40, random(40 * 40, 0.4), random(40, 0.1)),
            Layer::Relu,
            affine(40, random(40, 0.4), vec![0.0]),
        ];
        let network = Network::new(vec![30], layers).unwrap();
        let device = Device::flex();
        let input = InputBox::new(vec![-1.0; 30], vec![1.0; 30]).unwrap();
        let objective = Objective::rows(1, &[vec![1.0]]).unwrap();
        let lower = Method::Crown
            .lower_bounds(&network, &input, &objective, &device)
            .unwrap()[0];
        let case = UnsafeCase {
            input,
            outputs: vec![HalfSpace {
                coefficients: vec![1.0],
                bound: 0.0,
            }],
        };
        let upper = attack(&network, &case, &AttackConfig::default(), &[], &device)
            .unwrap()
            .value;
        assert!(lower < upper);
        let limit = upper - 0.05 * (upper - lower);
        network.to_onnx(self.path("hard.onnx")).unwrap();
        self.write(
            "hard.vnnlib",
            spec(
                &[[-1.0, 1.0]; 30],
                1,
                &format!("(assert (<= Y_0 {limit:.6}))"),
            ),
        );
    }

    /// `linear.onnx`, two classes of images of 2 by 2 pixels without a hidden layer, and six images of it as
    /// `images.npy` and `labels.npy`, and in IDX files. The last image is labelled wrongly.
    fn linear(&self) {
        let network = Network::new(
            vec![1, 2, 2],
            vec![affine(4, LINEAR.concat(), vec![0.0, 0.0])],
        )
        .unwrap();
        network.to_onnx(self.path("linear.onnx")).unwrap();
        let pixels: Vec<u8> = (0..24).map(|i| 60 + (i * 41 % 120) as u8).collect();
        let mut labels: Vec<u8> = pixels
            .chunks(4)
            .map(|image| u8::from(margin(image) < 0.0))
            .collect();
        labels[5] = 1 - labels[5];
        self.write("images.npy", npy("|u1", "(6, 2, 2)", &pixels));
        let wide: Vec<u8> = labels
            .iter()
            .flat_map(|&label| i64::from(label).to_le_bytes())
            .collect();
        self.write("labels.npy", npy("<i8", "(6,)", &wide));
        let header = |axes: &[u32], kind: u8| {
            let start = vec![0, 0, 8, kind];
            axes.iter().fold(start, |all, axis| {
                [all, axis.to_be_bytes().to_vec()].concat()
            })
        };
        self.write("images-idx3", [header(&[6, 2, 2], 3), pixels].concat());
        self.write("labels-idx1", [header(&[6], 1), labels].concat());
    }
}

/// The weights of [`Scratch::linear`].
const LINEAR: [[f32; 4]; 2] = [[1.0, -2.0, 0.5, 0.25], [-1.0, 0.5, 0.5, 1.0]];

/// What the first class of [`Scratch::linear`] has over the second.
fn margin(image: &[u8]) -> f64 {
    let weights = LINEAR[0].iter().zip(LINEAR[1]);
    let terms = weights
        .zip(image)
        .map(|((a, b), &byte)| f64::from(a - b) * f64::from(byte) / 255.0);
    terms.sum()
}

fn affine(inputs: usize, weight: Vec<f32>, bias: Vec<f32>) -> Layer {
    Layer::Affine(Affine {
        outputs: bias.len(),
        inputs,
        weight,
        bias,
    })
}

/// A specification in VNN-LIB 1.0: bounds of inputs, and `outputs` declared for the assertion.
fn spec(bounds: &[[f64; 2]], outputs: usize, assertion: &str) -> String {
    let inputs = (0..bounds.len()).map(|i| format!("(declare-const X_{i} Real)\n"));
    let outputs = (0..outputs).map(|i| format!("(declare-const Y_{i} Real)\n"));
    let boxes = bounds.iter().enumerate();
    let boxes = boxes.map(|(i, [low, high])| {
        format!("(assert (>= X_{i} {low:?}))\n(assert (<= X_{i} {high:?}))\n")
    });
    let text: String = inputs.chain(outputs).chain(boxes).collect();
    text + assertion + "\n"
}

/// A file of NumPy.
fn npy(element: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let mut header =
        format!("{{'descr': '{element}', 'fortran_order': False, 'shape': {shape}, }}");
    header.push_str(&" ".repeat(63 - (10 + header.len()) % 64));
    header.push('\n');
    let length = (header.len() as u16).to_le_bytes();
    [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), data].concat()
}

/// Checks what every result promises.
#[track_caller]
fn check_rows(result: &Value) {
    assert!(number(&result["seconds"]) > 0.0);
    let rows = result["results"].as_array().unwrap();
    assert!(!rows.is_empty());
    for row in rows {
        assert!(
            row["method"].is_string() && row["instance"].is_string(),
            "{row}"
        );
        let verdict = row["verdict"].as_str().unwrap();
        assert!(
            ["verified", "falsified", "unknown"].contains(&verdict),
            "{row}"
        );
        assert!(row["bound"].is_number() || row["bound"].is_null(), "{row}");
        if let Some(bound) = row["bound"].as_f64() {
            assert_eq!(bound > 0.0, verdict == "verified", "{row}");
        }
        assert!(number(&row["seconds"]) >= 0.0, "{row}");
    }
}

/// The rows of a method, by instance.
fn bounds_of(result: &Value, method: &str) -> Vec<f64> {
    let rows = result["results"].as_array().unwrap();
    let rows = rows.iter().filter(|row| row["method"] == method);
    rows.map(|row| row["bound"].as_f64().unwrap_or(f64::NEG_INFINITY))
        .collect()
}

#[test]
fn every_subcommand_explains_itself() {
    let scratch = Scratch::new();
    for (line, word) in [
        ("--help", "bench"),
        ("verify --help", "--certificate"),
        ("bound --help", "zonodual-paper"),
        ("check --help", "CERT"),
        ("bench --help", "instances.csv"),
    ] {
        let output = scratch.run(line);
        assert!(output.status.success());
        assert!(
            String::from_utf8(output.stdout).unwrap().contains(word),
            "{line}"
        );
    }
}

#[test]
fn the_default_run_proves_what_it_can_and_no_more() {
    let scratch = Scratch::new();
    let result = scratch.object("--quiet --out out");
    // A tenth would be a guess.
    assert!(number(&result["accuracy"]) > 0.6, "{result:#}");
    let images = result["images"].as_array().unwrap();
    let methods: Vec<&str> = Method::ALL
        .iter()
        .map(|method| method.name())
        .chain(["branch-and-bound"])
        .collect();
    assert_eq!(
        result["results"].as_array().unwrap().len(),
        images.len() * methods.len()
    );
    for method in &methods {
        let bounds = bounds_of(&result, method);
        assert_eq!(bounds.len(), images.len(), "{method}");
        for (bound, image) in bounds.iter().zip(images) {
            // No proof reaches above what an attack attained.
            assert!(
                *bound <= number(&image["upper"]) + 1e-6,
                "{method}: {bound} {image}"
            );
        }
    }
    let mean = |method| bounds_of(&result, method).iter().sum::<f64>() / images.len() as f64;
    assert!(mean("interval") < mean("alpha-crown"));
    assert!(mean("crown") <= mean("alpha-crown"));
    assert!(mean("alpha-crown") <= mean("zonodual"));
    assert!(scratch.read("out/bounds.svg").contains("<svg"));
    assert!(
        Network::from_onnx(scratch.path("out/network.onnx"))
            .unwrap()
            .outputs()
            == 10
    );
}

#[test]
fn a_true_statement_is_proven_and_the_proof_checked() {
    let scratch = Scratch::new();
    scratch.absolute_value();
    let line = "verify abs.onnx holds.vnnlib --certificate proof.json --result result.txt";
    let result = scratch.object(line);
    assert_eq!(
        (&result["verdict"], &result["outcome"]),
        (&"verified".into(), &"unsat".into())
    );
    // The largest absolute value is 1, and 1.5 is unsafe.
    let bound = number(&result["results"][0]["bound"]);
    assert!(bound > 0.0 && bound <= 0.5, "{bound}");
    assert_eq!(scratch.read("result.txt"), "unsat\n");

    let checked = scratch.object("check proof.json abs.onnx holds.vnnlib");
    assert_eq!(checked["verdict"], "verified");
    let proven = number(&checked["bound"]);
    assert!(proven > 0.0 && proven <= 0.5, "{proven}");
    assert_eq!(checked["results"][0]["bound"], checked["bound"]);
    // The same proof is none of a statement that is false.
    scratch.refuses(
        "check proof.json abs.onnx fails.vnnlib",
        1,
        &["proof.json", "rejected"],
    );
    scratch.write("empty.json", "{}");
    scratch.refuses("check empty.json abs.onnx holds.vnnlib", 1, &["empty.json"]);
    scratch.refuses("check abs.onnx abs.onnx holds.vnnlib", 1, &["abs.onnx"]);
    scratch.refuses(
        "check proof.json abs.onnx holds.vnnlib --device flex",
        2,
        &["--device"],
    );
}

#[test]
fn a_search_that_ran_out_of_time_goes_on_from_its_checkpoint() {
    let scratch = Scratch::new();
    scratch.absolute_value();
    scratch.nothing();
    let line = "verify nothing.onnx quiet.vnnlib --checkpoint search.state";
    let stopped = scratch.object(&format!("{line} --timeout 0.000001"));
    assert_eq!(stopped["verdict"], "unknown");
    assert_eq!(stopped["reason"], "timeout");
    assert_eq!(stopped["checkpoint"], "search.state");
    let decided = scratch.object(line);
    assert_eq!(decided["verdict"], "verified");
    assert_eq!(decided["resumed"], true);
    assert!(decided["checkpoint"].is_null() && !scratch.path("search.state").exists());

    // A checkpoint of another search, or no checkpoint at all, is refused.
    scratch.object(&format!("{line} --timeout 0.000001"));
    scratch.refuses(
        "verify nothing.onnx holds.vnnlib --checkpoint search.state",
        1,
        &["search.state", "another specification"],
    );
    scratch.refuses(
        "verify nothing.onnx quiet.vnnlib --checkpoint abs.onnx",
        1,
        &["abs.onnx", "not a readable checkpoint"],
    );
}

#[test]
fn a_false_statement_has_a_counterexample() {
    let scratch = Scratch::new();
    scratch.absolute_value();
    let result =
        scratch.object("verify abs.onnx fails.vnnlib --certificate proof.json --result result.txt");
    assert_eq!(
        (&result["verdict"], &result["outcome"]),
        (&"falsified".into(), &"sat".into())
    );
    let input = number(&result["counterexample"]["input"][0]);
    let output = number(&result["counterexample"]["output"][0]);
    assert!((-1.0..=1.0).contains(&input) && output >= 0.5);
    assert!((input.abs() - output).abs() < 1e-9);
    assert!(!scratch.path("proof.json").exists());
    let text = scratch.read("result.txt");
    assert!(
        text.starts_with("sat\n") && text.contains("(X_0 ") && text.contains("(Y_0 "),
        "{text}"
    );
}

#[test]
fn a_statement_of_version_two_is_read_packed_or_not() {
    let scratch = Scratch::new();
    scratch.absolute_value();
    let text = "(vnnlib-version <2.0>)\n(declare-network abs (declare-input X float32 [1]) (declare-output Y float32 [1]))\n\
                (assert (and (<= X[0] 1.0) (>= X[0] -1.0)))\n(assert (>= Y[0] 1.5))\n";
    scratch.write("two.vnnlib", text);
    assert_eq!(
        scratch.object("verify abs.onnx two.vnnlib")["verdict"],
        "verified"
    );
}

#[test]
fn time_that_is_up_is_an_answer() {
    let scratch = Scratch::new();
    scratch.hard();
    let result = scratch.object("verify hard.onnx hard.vnnlib --timeout 1 --result result.txt");
    assert_eq!(
        (&result["verdict"], &result["outcome"]),
        (&"unknown".into(), &"timeout".into())
    );
    assert_eq!(result["reason"], "timeout");
    assert!(number(&result["bound"]) <= 0.0 && number(&result["upper"]) > 0.0);
    assert_eq!(scratch.read("result.txt"), "timeout\n");
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_says_how_far_it_came() {
    let scratch = Scratch::new();
    scratch.hard();
    let mut command =
        scratch.program("verify hard.onnx hard.vnnlib --json --quiet --result result.txt");
    let run = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_secs(2));
    let killed = Command::new("kill")
        .args(["-INT", &run.id().to_string()])
        .status();
    assert!(killed.unwrap().success());
    let result = object(&run.wait_with_output().unwrap());
    check_rows(&result);
    assert_eq!(
        (&result["verdict"], &result["reason"]),
        (&"unknown".into(), &"cancelled".into())
    );
    assert_eq!(scratch.read("result.txt"), "unknown\n");
}

#[test]
fn bounds_of_a_linear_classifier_are_exact_whatever_the_method() {
    let scratch = Scratch::new();
    scratch.linear();
    let result = scratch
        .object("bound linear.onnx --images images.npy --labels labels.npy --eps 1/255 --out out");
    let pixels: Vec<u8> = (0..24).map(|i| 60 + (i * 41 % 120) as u8).collect();
    let slope: f64 = LINEAR[0]
        .iter()
        .zip(LINEAR[1])
        .map(|(a, b)| f64::from((a - b).abs()))
        .sum();
    let expected: Vec<f64> = pixels
        .chunks(4)
        .map(|image| margin(image).abs() - slope / 255.0)
        .collect();
    assert_eq!(result["misclassified"], serde_json::json!([5]));
    for method in Method::ALL {
        let bounds = bounds_of(&result, method.name());
        assert_eq!(bounds.len(), 5, "{method}");
        for (bound, exact) in bounds.iter().zip(&expected) {
            assert!(
                *bound <= exact + 1e-12 && exact - bound < 1e-6,
                "{method}: {bound} {exact}"
            );
        }
    }
    assert!(scratch.read("out/bounds.svg").contains("<svg"));

    // The same images from other files, and the labels from text.
    let line =
        "bound linear.onnx --images images-idx3 --labels labels-idx1 --eps 1/255 --methods crown";
    let idx = scratch.object(line);
    assert_eq!(bounds_of(&idx, "crown"), bounds_of(&result, "crown"));
    scratch.write("labels.txt", "0 0 0 0 0 0");
    let line = "bound linear.onnx --images images.npy --labels labels.txt --eps 0 --first 3 --methods interval";
    let text = scratch.object(line);
    let wrong = text["misclassified"].as_array().unwrap().len();
    assert_eq!(bounds_of(&text, "interval").len() + wrong, 3);
    // Pixels twice as large and shifted: the margin of this classifier only grows with the factor.
    let line = "bound linear.onnx --images images.npy --labels labels.npy --eps 1/255 --methods crown --mean 0 --deviation 0.5";
    let scaled = bounds_of(&scratch.object(line), "crown");
    for (scaled, exact) in scaled.iter().zip(&expected) {
        assert!((scaled - 2.0 * exact).abs() < 1e-6);
    }
}

#[test]
fn a_network_that_train_saved_is_bounded_on_its_pixels() {
    let scratch = Scratch::new();
    let mut train = support::program(env!("CARGO_BIN_EXE_train"), scratch.0.path());
    train.args("--per-class 60 --epochs 3 --width 0.05 --json --out out".split(' '));
    object(&train.output().unwrap());
    let line = "bound out/network.safetensors --images embedded --first 4 --eps 2/255 --methods interval,crown,alpha-crown";
    let result = scratch.object(line);
    let images = result["images"].as_array().unwrap();
    assert!(!images.is_empty());
    for method in ["interval", "crown", "alpha-crown"] {
        for (bound, image) in bounds_of(&result, method).iter().zip(images) {
            assert!(*bound <= number(&image["upper"]) + 1e-6);
        }
    }
    let means = ["--mean 0", "--deviation 1"].join(" ");
    scratch.refuses(&format!("{line} {means}"), 2, &["--mean"]);
}

#[test]
fn a_benchmark_goes_on_behind_what_it_cannot_read() {
    let scratch = Scratch::new();
    scratch.absolute_value();
    scratch.write(
        "instances.csv",
        "abs.onnx,holds.vnnlib,60\nabs.onnx,fails.vnnlib,60\nabs.onnx,missing.vnnlib,60\n",
    );
    let result = scratch.object("bench . --out out");
    for (name, count) in [
        ("unsat", 1),
        ("sat", 1),
        ("error", 1),
        ("timeout", 0),
        ("unknown", 0),
        ("instances", 3),
    ] {
        assert_eq!(result[name], count, "{name}");
    }
    assert!(
        result["results"][2]["error"]
            .as_str()
            .unwrap()
            .contains("missing.vnnlib")
    );
    let lines = scratch.read("out/results.csv");
    let outcomes: Vec<&str> = lines
        .lines()
        .map(|line| line.split(',').nth(4).unwrap())
        .collect();
    assert_eq!(outcomes, ["unsat", "sat", "error"]);
    assert!(scratch.read("out/cactus.svg").contains("<svg"));
    assert_eq!(scratch.object("bench . --first 1")["instances"], 1);
}

#[test]
fn bad_input_is_named() {
    let scratch = Scratch::new();
    scratch.absolute_value();
    scratch.linear();
    let verify = |scratch: &Scratch, line: &str, words: &[&str]| {
        scratch.refuses(&format!("verify {line} --result result.txt"), 1, words);
        assert_eq!(scratch.read("result.txt"), "error\n", "{line}");
    };
    verify(&scratch, "nowhere.onnx holds.vnnlib", &["nowhere.onnx"]);
    verify(&scratch, "abs.onnx nowhere.vnnlib", &["nowhere.vnnlib"]);
    let whole = fs::read(scratch.path("abs.onnx")).unwrap();
    scratch.write("cut.onnx", &whole[..whole.len() / 2]);
    verify(&scratch, "cut.onnx holds.vnnlib", &["cut.onnx"]);
    scratch.write("syntax.vnnlib", "(declare-const X_0 Real)\n(assert (>= X_0");
    verify(
        &scratch,
        "abs.onnx syntax.vnnlib",
        &["syntax.vnnlib", "line 2"],
    );
    scratch.write("open.vnnlib", "(declare-const X_0 Real)\n(declare-const Y_0 Real)\n(assert (<= X_0 1.0))\n(assert (<= Y_0 0.0))");
    verify(&scratch, "abs.onnx open.vnnlib", &["open.vnnlib", "lower"]);
    scratch.write(
        "empty.vnnlib",
        spec(&[[1.0, -1.0]], 1, "(assert (<= Y_0 0.0))"),
    );
    verify(
        &scratch,
        "abs.onnx empty.vnnlib",
        &["empty.vnnlib", "empty"],
    );
    scratch.write(
        "two.vnnlib",
        spec(&[[0.0, 1.0]; 2], 1, "(assert (<= Y_0 0.0))"),
    );
    verify(
        &scratch,
        "abs.onnx two.vnnlib",
        &["two.vnnlib", "expected 1"],
    );
    scratch.write("config.json", "{\"branches\": 3}");
    verify(
        &scratch,
        "abs.onnx holds.vnnlib --config config.json",
        &["config.json", "branches"],
    );

    for (line, words) in [
        ("verify abs.onnx", &["SPEC"][..]),
        ("verify abs.onnx holds.vnnlib --timeout 0", &["--timeout"]),
        (
            "verify abs.onnx holds.vnnlib --timeout soon",
            &["--timeout"],
        ),
        ("verify abs.onnx holds.vnnlib --device abacus", &["abacus"]),
        (
            "bound linear.onnx --images images.npy --eps 0.1",
            &["--labels"],
        ),
        (
            "bound linear.onnx --images images.npy --labels labels.npy --eps -1",
            &["--eps"],
        ),
        (
            "bound linear.onnx --images images.npy --labels labels.npy --eps nan",
            &["--eps"],
        ),
        (
            "bound linear.onnx --images images.npy --labels labels.npy --eps 0 --methods magic",
            &["magic", "zonodual"],
        ),
        (
            "bound linear.onnx --images images.npy --labels labels.npy --eps 0 --mean 0",
            &["--deviation"],
        ),
        (
            "bound linear.onnx --images images.npy --labels labels.npy --eps 0 --mean 0 --deviation 0",
            &["--deviation"],
        ),
    ] {
        scratch.refuses(line, 2, words);
    }

    let bound = |scratch: &Scratch, files: &str, words: &[&str]| {
        scratch.refuses(&format!("bound linear.onnx --eps 0.1 {files}"), 1, words);
    };
    bound(
        &scratch,
        "--images nowhere.npy --labels labels.npy",
        &["nowhere.npy"],
    );
    bound(
        &scratch,
        "--images images.npy --labels nowhere.npy",
        &["nowhere.npy"],
    );
    bound(&scratch, "--images embedded", &["4", "784"]);
    let good = fs::read(scratch.path("images.npy")).unwrap();
    scratch.write("cut.npy", &good[..good.len() - 1]);
    bound(
        &scratch,
        "--images cut.npy --labels labels.npy",
        &["cut.npy"],
    );
    scratch.write("float.npy", npy("<f4", "(1, 4)", &[0; 16]));
    bound(
        &scratch,
        "--images float.npy --labels labels.npy",
        &["float.npy", "f4"],
    );
    scratch.write("few.txt", "0 1");
    bound(
        &scratch,
        "--images images.npy --labels few.txt",
        &["few.txt", "6", "2"],
    );
    scratch.write("many.txt", "0 1 2 0 1 0");
    bound(
        &scratch,
        "--images images.npy --labels many.txt",
        &["images.npy", "2"],
    );

    scratch.refuses("bench .", 1, &["instances.csv"]);
    scratch.write("instances.csv", "abs.onnx,holds.vnnlib\n");
    scratch.refuses("bench .", 1, &["instances.csv", "line 1"]);
    scratch.write("instances.csv", "\n");
    scratch.refuses("bench .", 1, &["instances.csv"]);
}
