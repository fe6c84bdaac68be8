//! The program `sobolev-budget` as its users meet it: fits of files and of shapes, many budgets, and what it says to bad input.

use std::fmt::Write as _;
use std::fs;

use fire_assay_examples::stops::sobolev_budget::{Options, run};
use fire_assay_examples::{CommonArgs, Report};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{check_names, number, object, program, refused};

/// A folder with `arc.csv`: 400 points with weights around a half circle.
fn arc() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut text = "x,y,weight\n".to_owned();
    for i in 0..400_u32 {
        let angle = f64::from(i) * std::f64::consts::PI / 400.0;
        let radius = 1.0 + 0.05 * (f64::from(i * 37 % 41) / 20.0 - 1.0);
        let (sin, cos) = angle.sin_cos();
        writeln!(text, "{},{},{}", radius * cos, radius * sin, 1 + i % 3).unwrap();
    }
    fs::write(folder.path().join("arc.csv"), text).unwrap();
    folder
}

fn output(folder: &TempDir, line: &str) -> std::process::Output {
    let mut command = program(env!("CARGO_BIN_EXE_sobolev-budget"), folder.path());
    command.args(line.split_whitespace());
    command.arg("--json");
    command.output().unwrap()
}

/// Options of a fit of the arc that takes a moment.
const QUICK: &str = "--csv arc.csv --weight-column 2 --nodes 17 --centres 8";

fn results(value: &Value) -> &[Value] {
    value["results"].as_array().unwrap()
}

#[test]
fn the_default_run_reports_every_fit_and_draws_it() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        square: 20,
        square_for_bends: 20,
        disk: 400,
        spiral: 400,
        nodes: 17,
        square_lengths: vec![0.5, 1.0],
        square_bends: vec![4.0],
        disk_lengths: vec![1.0, 2.0],
        spiral_lengths: vec![2.0],
    };
    let common = CommonArgs {
        device: None,
        seed: 0,
        json: true,
        quiet: true,
        out: Some(folder.path().to_owned()),
        log: None,
    };
    let value = run(&options, &common, &Report::new(&common)).unwrap();
    check_names(&value);
    assert!(number(&value["seconds"]) > 0.0);
    let rows = results(&value);
    assert_eq!(rows.len(), 6);
    for row in rows {
        let (j, multiplier) = (number(&row["j"]), number(&row["multiplier"]));
        assert!(j > 0.0 && multiplier > 0.0 && number(&row["seconds"]) > 0.0);
        let budget = number(&row["budget"]);
        assert!(number(&row["cost"]) <= budget * (1.0 + 1e-9));
        let known = row["k"] == 1 && row["measure"] != "spiral";
        assert_eq!(row["lower_bound"].is_number(), known, "{row}");
        // A lattice of few points is not quite uniform.
        if known {
            assert!(number(&row["lower_bound"]) < 1.05 * j, "{row}");
        }
        // The envelope theorem.
        let slopes = [&row["slope"], &row["slope-by-difference"]].map(number);
        assert!(
            (slopes[0] - slopes[1]).abs() < 0.05 * slopes[0].abs(),
            "{row}"
        );
    }
    let line = number(&value["principal-line"]["square"]);
    assert!((line - 1.0 / 12.0).abs() < 1e-3, "{line}");
    for name in [
        "square_k1.svg",
        "square_k2.svg",
        "disk_k1.svg",
        "spiral_k1.svg",
        "tradeoff.svg",
    ] {
        let svg = fs::read_to_string(folder.path().join(name)).unwrap();
        assert!(svg.starts_with("<svg"), "{name}");
    }
    let nodes = fs::read_to_string(folder.path().join("square_k1_0.5.csv")).unwrap();
    assert_eq!(nodes.lines().next(), Some("s1,f1,f2,mass"));
    assert_eq!(nodes.lines().count(), 18);
}

#[test]
fn a_file_of_points_is_fitted_and_the_curve_is_a_start_and_a_peer() {
    let folder = arc();
    let line = format!("{QUICK} --budget 2.5 --volume 0.3 --out out");
    let first = object(&output(&folder, &line));
    check_names(&first);
    assert_eq!(
        (&first["points"], &first["dimension"]),
        (&Value::from(400), &Value::from(2))
    );
    let row = &results(&first)[0];
    assert_eq!((&row["measure"], &row["k"]), (&"arc.csv".into(), &1.into()));
    let length = number(&row["length"]);
    assert!((2.49..=2.5 + 1e-9).contains(&length), "{length}");
    assert!(number(&row["j"]) < 0.05 && number(&row["lower_bound"]) <= number(&row["j"]));
    for name in ["map.csv", "fit.svg", "result.json"] {
        assert!(folder.path().join("out").join(name).exists(), "{name}");
    }
    let saved = fs::read(folder.path().join("out/result.json")).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&saved).unwrap(), first);

    // From its own result nothing but rounding is gained, and as a peer it has the same J and length.
    let again = format!(
        "{QUICK} --budget 2.5 --starts 0 --centres 0 --no-continuation --start out/map.csv --compare out/map.csv"
    )
    .replace("--centres 8 ", "");
    let again = object(&output(&folder, &again));
    let same = &results(&again)[0];
    let (before, after) = (number(&row["j"]), number(&same["j"]));
    assert!((before - after).abs() < 1e-4 * before, "{before} {after}");
    assert_eq!(same["starts"].as_array().unwrap().len(), 1);
    let peer = &again["compare"][0];
    assert!((number(&peer["j"]) - before).abs() < 1e-9);
    assert!((number(&peer["length"]) - length).abs() < 1e-9);
}

#[test]
fn many_budgets_make_a_path_that_can_be_taken_up_again() {
    let folder = arc();
    let line = format!("{QUICK} --budget 1,2,3,3.5,2 --checkpoint path.json --out out");
    let first = object(&output(&folder, &line));
    check_names(&first);
    let rows = results(&first);
    let budgets: Vec<f64> = rows.iter().map(|row| number(&row["budget"])).collect();
    assert_eq!(budgets, [1.0, 2.0, 3.0, 3.5]);
    assert!(
        rows.windows(2)
            .all(|pair| number(&pair[1]["j"]) < number(&pair[0]["j"]))
    );
    assert!(number(&first["knee"]) >= 2.0 && first["complete"] == true);
    for name in ["map_1.csv", "map_3.5.csv", "tradeoff.svg"] {
        assert!(folder.path().join("out").join(name).exists(), "{name}");
    }
    // Taken from the file, seconds and all.
    let second = object(&output(&folder, &line));
    assert_eq!(first["results"], second["results"]);
    let other = line.replace("--nodes 17", "--nodes 9");
    refused(&output(&folder, &other), 1, &["path.json", "another run"]);
}

#[test]
fn surfaces_in_space_are_written_as_objects() {
    let folder = tempfile::tempdir().unwrap();
    let line = "--measure sphere --count 300 --domain torus --k 2 --nodes 8 --budget 200 --starts 1 --out out";
    let value = object(&output(&folder, line));
    check_names(&value);
    assert!(number(&results(&value)[0]["area"]) > 0.0);
    let surface = fs::read_to_string(folder.path().join("out/map.obj")).unwrap();
    assert_eq!(surface.lines().filter(|l| l.starts_with("v ")).count(), 64);
    let svg = fs::read_to_string(folder.path().join("out/fit.svg")).unwrap();
    assert!(svg.contains("first principal axis"));

    let line = "--measure circle --count 200 --domain circle --price 0.01 --p 1.5 --norm full --nodes 12 --starts 1 --centres 0";
    let value = object(&output(&folder, line));
    let row = &results(&value)[0];
    assert!((number(&row["multiplier"]) - 0.01).abs() < 1e-12, "{row}");
}

#[test]
fn bad_files_and_options_are_named() {
    let folder = arc();
    let fails = |line: &str, status: i32, words: &[&str]| {
        refused(&output(&folder, line), status, words);
    };
    fails("--csv arc.csv", 2, &["--budget or --price"]);
    fails("--csv arc.csv --budget 1 --price 1", 2, &["--price"]);
    fails("--csv arc.csv --measure disk --budget 1", 2, &["--measure"]);
    fails("--budget 1", 2, &["--csv", "--measure"]);
    fails(
        "--measure pentagon --budget 1",
        2,
        &["pentagon", "swiss-roll"],
    );
    fails(
        "--measure disk --budget 1 --domain sphere",
        2,
        &["no domain"],
    );
    fails(
        "--measure disk --budget 1 --norm h1",
        2,
        &["seminorm or full"],
    );
    fails(
        "--measure disk --price 1 --checkpoint c.json",
        2,
        &["--checkpoint"],
    );
    fails("--measure disk --budget -1", 1, &["the budget"]);
    fails(
        "--measure disk --budget 1 --count 0",
        1,
        &["--count", "point"],
    );
    fails("--measure disk --budget 1 --k 0", 1, &["the order k"]);
    fails("--measure disk --budget 1 --nodes 1", 1, &["too few"]);
    fails(
        "--measure disk --budget 1 --domain square",
        1,
        &["not supercritical"],
    );
    fails("--csv nowhere.csv --budget 1", 1, &["nowhere.csv"]);
    fails(
        "--csv arc.csv --weight-column 3 --budget 1",
        1,
        &["column 3"],
    );
    let nothing = "--measure disk --budget 1 --starts 0 --centres 0 --no-continuation";
    fails(nothing, 1, &["the number of starts"]);
    fs::write(folder.path().join("broken.csv"), "1,2\n3,four\n").unwrap();
    fails("--csv broken.csv --budget 1", 1, &["line 2", "`four`"]);
    fails(
        "--csv arc.csv --budget 1 --start broken.csv",
        1,
        &["broken.csv"],
    );
    let start = "--csv arc.csv --weight-column 2 --budget 1 --start arc.csv";
    fails(start, 1, &["arc.csv", "3 coordinates", "have 2"]);
    let surface = "--csv arc.csv --budget 1 --k 2 --domain square --compare arc.csv";
    fails(surface, 1, &["--compare", "square"]);
    #[cfg(feature = "flex")]
    fails("--measure disk --budget 1 --device flex", 2, &["--device"]);
}

#[cfg(feature = "flex")]
#[test]
fn generators_are_fitted_measured_and_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let line = "--generative --latents 2 --weights 0.01 --steps 3 --checkpoints saved --gan --gan-steps 2 --out out";
    let value = object(&output(&folder, line));
    check_names(&value);
    let row = &results(&value)[0];
    assert_eq!((&row["latents"], &row["steps"]), (&2.into(), &3.into()));
    for name in [
        "held-out-error",
        "frechet",
        "nearest-train",
        "rms-derivative",
    ] {
        assert!(number(&row[name]) > 0.0, "{name}");
    }
    // A plane does better than a network of three steps.
    assert!(number(&value["principal-error"]) < number(&row["held-out-error"]));
    assert_eq!(value["adversaries"].as_array().unwrap().len(), 4);
    for name in ["samples_m2_0.01.png", "paths_m2_0.01.png"] {
        let image = fs::read(folder.path().join("out").join(name)).unwrap();
        assert!(image.starts_with(b"\x89PNG"), "{name}");
    }
    assert_eq!(
        fs::read_dir(folder.path().join("saved")).unwrap().count(),
        1
    );

    let both = "--generative --measure disk --budget 1";
    refused(&output(&folder, both), 2, &["--generative"]);
    let order = "--generative --penalty-order 3 --steps 1";
    refused(&output(&folder, order), 1, &["order", "1 or 2"]);
    let alone = "--latents 3";
    refused(&output(&folder, alone), 2, &["--generative"]);
}
