//! The program `bpe-inference` as its users meet it: what it prints, and what it says to bad input.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use bpe_inference::pretokenizer::TextPipeline;
use bpe_inference::{BpeTrainer, WordCounts};
use fire_assay_datasets::embedded;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{self, check_names, number, object, refused};

/// The categories of [`Scratch`], and how many parts of each the tokenizer was trained on.
const CATEGORIES: [(&str, u64); 3] = [("c", 5), ("go", 3), ("rust", 2)];

/// An audit of the tokenizer with the samples.
const AUDIT: [&str; 6] = [
    "--tokenizer",
    "merges.txt",
    "--data",
    "data",
    "--pretokenizer",
    "hf-trained",
];

/// A folder with samples of text and a tokenizer that was trained on a mixture of them: on all of their lines, of which
/// the samples lack every third.
struct Scratch(TempDir);

impl Scratch {
    fn new() -> Self {
        let scratch = Self(tempfile::tempdir().unwrap());
        fs::create_dir(scratch.path("data")).unwrap();
        let mut builder = Vec::new();
        for text in embedded::code() {
            let Some((_, parts)) = CATEGORIES.iter().find(|(name, _)| *name == text.name) else {
                continue;
            };
            let mut words = WordCounts::builder(&TextPipeline::hf_trained());
            words.add_str(&text.text).unwrap();
            builder.push((words.finish().unwrap(), *parts as f64));
            let lines = text.text.split_inclusive('\n').enumerate();
            let kept: String = lines
                .filter(|(k, _)| k % 3 != 2)
                .map(|(_, line)| line)
                .collect();
            scratch.write(&format!("data/{}.txt", text.name), kept.as_bytes());
        }
        let parts = builder.iter().map(|(words, parts)| (words, *parts));
        let words = WordCounts::scaled_sum(parts).unwrap();
        let (list, _) = BpeTrainer::new(400).train(&words).unwrap();
        scratch.write("merges.txt", list.to_merges_txt().unwrap().as_bytes());
        scratch
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, contents: &[u8]) {
        fs::write(self.path(name), contents).unwrap();
    }

    /// Runs the program in the folder.
    fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Output {
        program(self.0.path()).args(arguments).output().unwrap()
    }

    /// The JSON object that an audit with these options prints.
    fn audit(&self, options: &[&str]) -> Value {
        object(&self.run(AUDIT.iter().chain(options).chain(&["--json"])))
    }
}

fn program(folder: &Path) -> Command {
    support::program(env!("CARGO_BIN_EXE_bpe-inference"), folder)
}

#[test]
fn the_default_run_prints_one_object_with_the_promised_members() {
    let scratch = tempfile::tempdir().unwrap();
    let run = |seed: &str| {
        let mut command = program(scratch.path());
        command.args(["--json", "--quiet", "--trials", "2", "--merges", "200"]);
        command.args(["--bootstrap", "2", "--seed", seed]);
        object(&command.output().unwrap())
    };
    let result = run("0");
    check_names(&result);
    assert!(number(&result["log10_mse"]) < number(&result["baseline_log10_mse"]));
    assert_eq!(result["merges_used"], 200);
    assert!(number(&result["seconds"]) > 0.0);
    let mixture = result["mixture"].as_object().unwrap();
    assert!(mixture.len() > 1);
    for name in ["true", "estimated"] {
        let total: f64 = mixture.values().map(|share| number(&share[name])).sum();
        assert!((total - 1.0).abs() < 1e-9, "{name}: {total}");
    }
    for share in mixture.values() {
        let [low, estimated, high] =
            ["low", "estimated", "high"].map(|member| number(&share[member]));
        assert!(0.0 <= low && low <= estimated && estimated <= high && high <= 1.0);
    }
    assert_eq!(result["results"].as_array().unwrap().len(), 2);

    let again = run("0");
    assert_eq!(again["mixture"], result["mixture"]);
    assert_ne!(run("1")["mixture"], result["mixture"]);
}

#[cfg(feature = "flex")]
#[test]
fn a_device_is_put_to_use_where_it_is_named() {
    let scratch = Scratch::new();
    let common = [
        "--json",
        "--trials",
        "1",
        "--merges",
        "50",
        "--bootstrap",
        "0",
    ];
    let with = object(&scratch.run(common.iter().chain(&["--device", "flex"])));
    assert_eq!(with["device"]["name"], "flex");
    assert!(number(&with["device"]["largest-difference"]) < 0.01);
    let without = object(&scratch.run(common));
    assert!(without.get("device").is_none());

    let options = ["--merges", "50", "--bootstrap", "0"];
    let solver = |more: &[&str]| {
        let all: Vec<&str> = options.iter().chain(more).copied().collect();
        scratch.audit(&all)["solver"].clone()
    };
    assert_eq!(solver(&[]), "structured-ipm");
    assert_eq!(solver(&["--solver", "pdhg", "--device", "flex"]), "pdhg");
}

#[test]
fn an_audit_states_all_that_it_found() {
    let scratch = Scratch::new();
    let out = scratch.path("out");
    let result = scratch.audit(&[
        "--merges",
        "100,300",
        "--bootstrap",
        "3",
        "--ranges",
        "0.05",
        "--out",
        out.to_str().unwrap(),
    ]);
    check_names(&result);
    assert_eq!(result["merges_used"], 300);
    assert_eq!(result["tokenizer"], "merges.txt");
    // Real text is redrawn in blocks.
    assert_eq!(result["intervals"]["redrawn"], "blocks");
    assert_eq!(result["intervals"]["replicates"], 3);
    let mixture = result["mixture"].as_object().unwrap();
    for (name, parts) in CATEGORIES {
        let (share, truth) = (&mixture[name], parts as f64 / 10.0);
        assert!(
            (number(&share["estimated"]) - truth).abs() < 0.05,
            "{result:#}"
        );
        let [low, estimated, high] =
            ["low", "estimated", "high"].map(|member| number(&share[member]));
        assert!(low <= estimated && estimated <= high);
        let [low, high] = [0, 1].map(|end| number(&share["range"][end]));
        assert!(low <= estimated && estimated <= high);
    }
    let stages = result["stability"].as_array().unwrap();
    let merges: Vec<&Value> = stages.iter().map(|stage| &stage["merges"]).collect();
    assert_eq!(merges, [100, 300]);
    for stage in stages {
        let shares = stage["mixture"].as_object().unwrap();
        let total: f64 = shares.values().map(number).sum();
        assert!((total - 1.0).abs() < 1e-9);
    }
    assert!(number(&result["objective"]["lower"]) <= number(&result["objective"]["upper"]));
    assert_eq!(result["violations"].as_array().unwrap().len(), 10);
    assert!(result["missing"].is_array());
    assert_eq!(result["merge-report"]["kept"], 400);
    let best = &result["diagnosis"][0];
    assert!(number(&best["share"]) > 0.9 && best["pretokenizer"].is_string());
    for plot in ["shares.svg", "stability.svg"] {
        assert!(fs::read_to_string(out.join(plot)).unwrap().contains("<svg"));
    }
}

#[test]
fn merges_that_no_sample_has_are_named() {
    let scratch = Scratch::new();
    for name in ["a", "b"] {
        let words = ["an ban", "can dan"][usize::from(name == "b")];
        scratch.write(
            &format!("{name}.txt"),
            format!("{words}\n").repeat(2000).as_bytes(),
        );
    }
    let always = [
        "--tokenizer",
        "merges.txt",
        "--bootstrap",
        "0",
        "--merges",
        "60",
    ];
    let data = ["--data", "a=a.txt", "b=b.txt"];
    let result = object(&scratch.run(always.iter().chain(&data).chain(&["--json"])));
    let missing = result["missing"].as_array().unwrap();
    assert!(number(&missing[0]["merge"]) >= 1.0);
    let printed = scratch.run(always.iter().chain(&data));
    let printed = String::from_utf8(printed.stdout).unwrap();
    let token = missing[0]["token"].as_str().unwrap();
    let row = printed.lines().find(|line| line.contains("missing"));
    assert!(row.unwrap().contains(token), "{printed}");
}

#[test]
fn too_little_text_for_blocks_is_said() {
    let scratch = Scratch::new();
    for (name, text) in [("a", "one two three\n"), ("b", "four five six\n")] {
        scratch.write(&format!("{name}.txt"), text.repeat(200).as_bytes());
    }
    let always = [
        "--tokenizer",
        "merges.txt",
        "--bootstrap",
        "2",
        "--merges",
        "60",
    ];
    let data = ["--data", "a=a.txt", "b=b.txt", "--json"];
    let result = object(&scratch.run(always.iter().chain(&data)));
    assert_eq!(result["intervals"]["redrawn"], "words");
    let warnings = result["warnings"].to_string();
    assert!(warnings.contains("too narrow"), "{warnings}");
}

#[test]
fn a_finished_checkpoint_gives_the_same_answer_and_another_input_is_refused() {
    let scratch = Scratch::new();
    let options = [
        "--merges",
        "300",
        "--bootstrap",
        "2",
        "--checkpoint",
        "saved",
    ];
    let first = scratch.audit(&options);
    assert!(scratch.path("saved/merges.txt.inference").is_file());
    let second = scratch.audit(&options);
    for member in ["mixture", "objective", "violations", "rounds"] {
        assert_eq!(first[member], second[member]);
    }
    scratch.write(
        "data/c.txt",
        "return another_text;\n".repeat(3000).as_bytes(),
    );
    let other = scratch.run(AUDIT.iter().chain(&options));
    refused(&other, 1, &["saved/merges.txt.inference"]);
}

#[test]
fn one_time_limit_bounds_the_whole_audit() {
    let scratch = Scratch::new();
    let start = std::time::Instant::now();
    // Thousands of replicates would take minutes.
    let options = [
        "--merges",
        "300",
        "--bootstrap",
        "100000",
        "--time-limit",
        "10",
    ];
    let result = scratch.audit(&options);
    assert!(start.elapsed().as_secs() < 60);
    assert!(result["intervals"].is_null());
    assert!(
        result["warnings"].to_string().contains("time"),
        "{result:#}"
    );
    let total: f64 = result["mixture"]
        .as_object()
        .unwrap()
        .values()
        .map(|share| number(&share["estimated"]))
        .sum();
    assert!((total - 1.0).abs() < 1e-9);

    let none = scratch.run(AUDIT.iter().chain(&["--time-limit", "0"]));
    refused(&none, 1, &["time"]);
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_an_audit_with_its_estimate() {
    use std::io::{BufRead, BufReader};
    use std::process::Stdio;

    let scratch = Scratch::new();
    let mut audit = program(scratch.0.path())
        .args(AUDIT)
        .args(["--json", "--merges", "300", "--bootstrap", "100000"])
        .args(["--log", "bpe_inference=debug"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(audit.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("solved") {
        line.clear();
        assert!(log.read_line(&mut line).unwrap() > 0, "the audit has ended");
    }
    // The log is read to the end meanwhile, so that the program never waits for it.
    let rest = std::thread::spawn(move || log.lines().count());
    let killed = Command::new("kill")
        .args(["-INT", &audit.id().to_string()])
        .status();
    assert!(killed.unwrap().success());
    let result = object(&audit.wait_with_output().unwrap());
    rest.join().unwrap();
    assert!(result["warnings"].to_string().contains("interrupted"));
    assert!(number(&result["objective"]["lower"]) <= number(&result["objective"]["upper"]));
    assert!(number(&result["rounds"]) >= 1.0);
}

#[test]
fn counting_in_the_training_text_explains_every_merge_with_every_preset() {
    let scratch = tempfile::tempdir().unwrap();
    let output = program(scratch.path())
        // A kit without anything in it: embedded text is used, and that is said.
        .env("FIRE_ASSAY_DATA", scratch.path())
        .args(["--experiment", "exact", "--sizes", "3", "--json"])
        .args(["--vocabulary", "200", "--max-bytes", "30000"])
        .output()
        .unwrap();
    let result = object(&output);
    assert!(result["notes"].to_string().contains("EMBEDDED"));
    let rows = result["results"].as_array().unwrap();
    // Eleven presets, two training texts, two numbers of merges.
    assert_eq!(rows.len(), 44);
    for row in rows {
        check_names(row);
        assert!(number(&row["objective-upper"]) <= 1e-9, "{row}");
        assert_eq!(row["violated"], 0, "{row}");
    }
}

#[test]
fn bad_files_are_named_and_never_panic() {
    let scratch = Scratch::new();
    let audit = |tokenizer: &str, data: &[&str]| {
        let always = ["--tokenizer", tokenizer, "--bootstrap", "0", "--data"];
        scratch.run(always.iter().chain(data))
    };
    refused(&audit("nowhere.json", &["data"]), 1, &["nowhere.json"]);
    refused(&audit("merges.txt", &["nowhere"]), 1, &["nowhere"]);
    let absent = ["c=data/c.txt", "xx=data/xx.txt"];
    refused(&audit("merges.txt", &absent), 1, &["data/xx.txt", "`xx`"]);

    let whole =
        r#"{"model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}}"#;
    scratch.write("cut.json", &whole.as_bytes()[..50]);
    refused(&audit("cut.json", &["data"]), 1, &["cut.json", "byte"]);
    scratch.write("cut.tiktoken", b"YQ== 0\nYg== 1\nYWI");
    refused(&audit("cut.tiktoken", &["data"]), 1, &["cut.tiktoken"]);
    let unigram = r#"{"model": {"type": "Unigram", "vocab": [["a", -1.0]]}}"#;
    scratch.write("unigram.json", unigram.as_bytes());
    refused(
        &audit("unigram.json", &["data"]),
        1,
        &["unigram.json", "Unigram"],
    );
    scratch.write("empty.json", b"");
    refused(&audit("empty.json", &["data"]), 1, &["empty.json"]);

    fs::create_dir(scratch.path("hollow")).unwrap();
    let hollow = ["c=data/c.txt", "none=hollow"];
    refused(&audit("merges.txt", &hollow), 1, &["`none`", "hollow"]);
    refused(&audit("merges.txt", &["hollow"]), 1, &["hollow"]);
    scratch.write("empty.txt", b"");
    let empty = ["c=data/c.txt", "none=empty.txt"];
    refused(&audit("merges.txt", &empty), 1, &["`none`", "empty.txt"]);
    scratch.write("latin.txt", b"na\xefve\n");
    let always = [
        "--tokenizer",
        "merges.txt",
        "--data",
        "c=data/c.txt",
        "la=latin.txt",
    ];
    let characters = scratch.run(always.iter().chain(&["--pretokenizer", "llama"]));
    refused(&characters, 1, &["latin.txt", "UTF-8"]);

    scratch.write("a-file", b"");
    let folder = scratch.run([
        "--tokenizer",
        "merges.txt",
        "--data",
        "data",
        "--checkpoint",
        "a-file",
    ]);
    refused(&folder, 1, &["a-file"]);
}

#[test]
fn wrong_calls_are_usage_errors() {
    let scratch = Scratch::new();
    let audit = ["--tokenizer", "merges.txt", "--data", "data"];
    let with = |more: &[&str]| scratch.run(audit.iter().chain(more));
    let data = |data: &[&str]| {
        let always = ["--tokenizer", "merges.txt", "--data"];
        scratch.run(always.iter().chain(data))
    };
    refused(&data(&["c=data/c.txt"]), 2, &["at least 2", "data/c.txt"]);
    let twice = ["c=data/c.txt", "c=data/go.txt"];
    refused(&data(&twice), 2, &["`c`", "data/go.txt"]);
    refused(&data(&["c=data/c.txt", "data"]), 2, &["`data`"]);
    refused(
        &data(&["=data/c.txt", "go=data/go.txt"]),
        2,
        &["=data/c.txt"],
    );

    // Each value is checked before any work is done.
    for (option, value) in [
        ("--merges", "0"),
        ("--bootstrap", "1"),
        ("--ranges", "-0.1"),
        ("--ranges", "nan"),
        ("--time-limit", "-1"),
        ("--solver", "abacus"),
        ("--format", "docx"),
        ("--pretokenizer", "gpt5"),
        ("--pretokenizer", "regex:("),
    ] {
        refused(&with(&[&format!("{option}={value}")]), 2, &[option]);
    }
    // No option is ignored: one that means nothing in a mode is refused there.
    for more in [
        &["--trials", "3"][..],
        &["--sizes", "5"],
        &["--vocabulary", "100"],
        &["--domains", "all"],
        &["--wide"],
        &["--only", "gpt-2"],
        &["--commercial"],
        &["--experiment", "exact"],
    ] {
        refused(&with(more), 2, &[more[0]]);
    }
    for option in [
        &["--sections"][..],
        &["--ranges", "0.1"],
        &["--time-limit", "1"],
        &["--checkpoint", "saved"],
        &["--pretokenizer", "gpt2"],
        &["--format", "merges-txt"],
        &["--export-merges", "x"],
        &["--extends", "merges.txt"],
        &["--data", "data"],
        &["--wide"],
        &["--only", "gpt-2"],
    ] {
        refused(&scratch.run(option), 2, &[option[0]]);
        let experiment = ["--experiment", "exact"];
        refused(
            &scratch.run(experiment.iter().chain(option)),
            2,
            &[option[0]],
        );
    }
    for option in [
        &["--solver", "clarabel"][..],
        &["--bootstrap", "3"],
        &["--merges", "1000,3000"],
    ] {
        let experiment = ["--experiment", "exact"];
        refused(
            &scratch.run(experiment.iter().chain(option)),
            2,
            &[option[0]],
        );
    }
    refused(&scratch.run(["--merges", "10,20"]), 2, &["--merges"]);
    for option in [
        "--pretokenizer",
        "--format",
        "--export-merges",
        "--extends",
        "--data",
        "--trials",
    ] {
        let value = if option == "--trials" { "3" } else { "auto" };
        refused(&scratch.run(["--commercial", option, value]), 2, &[option]);
    }
    let unknown = ["--commercial", "--only", "abacus"];
    refused(&scratch.run(unknown), 2, &["abacus"]);
}

#[cfg(feature = "flex")]
#[test]
fn a_device_that_would_do_nothing_is_refused() {
    let scratch = Scratch::new();
    let audit = [
        "--tokenizer",
        "merges.txt",
        "--data",
        "data",
        "--device",
        "flex",
    ];
    refused(&scratch.run(audit), 2, &["--device", "pdhg"]);
    let experiment = ["--experiment", "exact", "--device", "flex"];
    refused(&scratch.run(experiment), 2, &["--device"]);
}
