//! The program `dp-regression` as its users meet it: releases of files, plans, and what it says to bad input.

use std::fmt::Write as _;
use std::fs;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{check_names, number, object, program, refused};

/// A folder with `survey.csv`: 4,000 people with age, sex and pay; pay is 10 + 0.5 age + 4 for m, and an error of up to 2.
fn survey() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut text = "age,sex,pay\n".to_owned();
    for i in 0..4000_u32 {
        let (age, m) = (18 + i * 7 % 60, i % 2);
        let error = f64::from(i * 37 % 41) / 10.0 - 2.0;
        let pay = 10.0 + 0.5 * f64::from(age) + 4.0 * f64::from(m) + error;
        writeln!(text, "{age},{},{pay}", if m == 1 { "m" } else { "f" }).unwrap();
    }
    fs::write(folder.path().join("survey.csv"), text).unwrap();
    folder
}

fn output(folder: &TempDir, line: &str) -> std::process::Output {
    let mut command = program(env!("CARGO_BIN_EXE_dp-regression"), folder.path());
    command.args(line.split_whitespace());
    command.arg("--json");
    command.output().unwrap()
}

const RELEASE: &str = "--csv survey.csv --target pay --columns age,sex --categories sex=f|m --range age=18..78 --range pay=0..100 \
                       --epsilon 8 --delta 1e-5 --leverage-bound 0.004";

fn values(result: &Value) -> Vec<f64> {
    let values = &result["release"]["outcome"]["released"]["values"];
    values.as_array().unwrap().iter().map(number).collect()
}

#[test]
fn a_release_is_near_the_truth_and_never_twice_the_same() {
    let folder = survey();
    let line = format!("{RELEASE} --residual-bound 3 --intervals");
    let first = object(&output(&folder, &line));
    check_names(&first);
    assert_eq!(
        first["names"],
        serde_json::json!(["intercept", "age", "sex=m"])
    );
    assert_eq!(first["release"]["seeded"], false);
    // One run in a thousand refuses; two in a row would be a defect.
    let second = object(&output(&folder, &line));
    let released = [&first, &second]
        .into_iter()
        .filter(|result| result["refused"] == false);
    let all: Vec<Vec<f64>> = released.map(values).collect();
    assert!(!all.is_empty());
    for found in &all {
        for (found, expected) in found.iter().zip([10.0, 0.5, 4.0]) {
            assert!(
                (found - expected).abs() < 2.0,
                "{found} instead of {expected}"
            );
        }
    }
    assert!(all.windows(2).all(|pair| pair[0] != pair[1]));
    if first["refused"] == false {
        let intervals = first["intervals"].as_array().unwrap();
        assert!(
            intervals
                .iter()
                .all(|one| number(&one["lower"]) < number(&one["upper"]))
        );
    }
}

#[test]
fn bounds_are_never_read_off_the_table() {
    let folder = survey();
    refused(
        &output(&folder, RELEASE),
        2,
        &["--residual-bound", "public"],
    );
    let line = "--csv survey.csv --target pay --columns age --epsilon 1 --residual-bound 3";
    refused(&output(&folder, line), 2, &["--leverage-bound", "--plan"]);
    let seeded = format!("{RELEASE} --residual-bound 3 --seed 1");
    refused(&output(&folder, &seeded), 2, &["--seed"]);
    let device = format!("{RELEASE} --residual-bound 3 --device flex");
    #[cfg(feature = "flex")]
    refused(&output(&folder, &device), 2, &["--device"]);
    let _ = device;
}

#[test]
fn a_private_search_chooses_among_public_bounds() {
    let folder = survey();
    let result = object(&output(
        &folder,
        &format!("{RELEASE} --search 0.01,3,300 --search-share 0.5"),
    ));
    check_names(&result);
    if result["refused"] == false {
        let chosen = number(&result["release"]["plan"]["input"]["residual-bound"]);
        assert!([0.01, 3.0, 300.0].contains(&chosen));
    }
}

#[test]
fn the_ledger_stops_what_exceeds_the_total() {
    let folder = survey();
    let line = format!(
        "{RELEASE} --residual-bound 3 --ledger ledger.jsonl --total-epsilon 10 --total-delta 1e-4"
    );
    object(&output(&folder, &line));
    refused(&output(&folder, &line), 1, &["ledger", "left"]);
    let lines = fs::read_to_string(folder.path().join("ledger.jsonl")).unwrap();
    assert_eq!(lines.lines().count(), 2, "{lines}");
}

#[test]
fn plans_need_no_table() {
    let folder = tempfile::tempdir().unwrap();
    let plan = object(&output(
        &folder,
        "--plan 100000,10 --epsilon 1 --adjacency replace",
    ));
    check_names(&plan);
    let error = number(&plan["expected-error"]);
    assert!((0.05..0.06).contains(&error), "{error}");
    refused(
        &output(&folder, "--plan 500,10 --epsilon 1"),
        1,
        &["no plan", "more rows"],
    );
    refused(&output(&folder, "--plan 5 --epsilon 1"), 2, &["--plan"]);
}

#[test]
fn bad_files_and_options_are_named() {
    let folder = survey();
    let release = |target: &str, more: &str| {
        output(
            &folder,
            &format!(
                "--csv survey.csv --target {target} --epsilon 1 --leverage-bound 0.001 --residual-bound 3 {more}"
            ),
        )
    };
    refused(
        &release("wage", ""),
        1,
        &["no column `wage`", "age, sex, pay"],
    );
    refused(&release("pay", ""), 1, &["column `sex`", "`f`"]);
    refused(
        &release("pay", "--columns age --range age=18..78"),
        2,
        &["`pay` has none"],
    );
    refused(
        &release("pay", "--columns age --range age"),
        2,
        &["COLUMN=LOW..HIGH"],
    );
    let nothing = "--csv survey.csv --target pay --columns age --epsilon 0 --leverage-bound 0.001 --residual-bound 3";
    refused(
        &output(&folder, nothing),
        1,
        &["epsilon", "must lie in (0, 1000]"],
    );
    let missing =
        "--csv nowhere.csv --target y --epsilon 1 --leverage-bound 0.001 --residual-bound 3";
    refused(&output(&folder, missing), 1, &["nowhere.csv"]);
}
