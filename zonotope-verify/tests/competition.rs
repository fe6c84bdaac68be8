//! The contest's files: what is written is what its scripts read, and lists of instances are found as they stand.

use std::fs;

use proptest::prelude::*;
use zonotope_verify::Error;
use zonotope_verify::competition::{
    Counterexample, Instance, Outcome, ResultRow, read_instances, result_text, write_result,
    write_results,
};
use zonotope_verify::vnnlib;

/// Reads assignments as the contest's checker does: brackets cut off, the rest split at closing brackets.
fn assignments(text: &str) -> (Vec<f64>, Vec<f64>) {
    let content = text.replace('\n', " ");
    let content = content
        .trim()
        .strip_prefix('(')
        .unwrap()
        .strip_suffix(')')
        .unwrap();
    let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
    for part in content
        .split(')')
        .map(str::trim)
        .filter(|part| !part.is_empty())
    {
        let (name, number) = part.strip_prefix('(').unwrap().split_once(' ').unwrap();
        let list = if name.starts_with("X_") {
            &mut inputs
        } else {
            &mut outputs
        };
        assert_eq!(name[2..].parse::<usize>().unwrap(), list.len());
        list.push(number.parse().unwrap());
    }
    (inputs, outputs)
}

proptest! {
    #[test]
    fn counterexamples_keep_all_digits(
        input in prop::collection::vec(any::<f64>(), 1..5), output in prop::collection::vec(any::<f32>().prop_map(f64::from), 1..5)
    ) {
        let example = Counterexample { input: input.clone(), output: output.clone() };
        let text = result_text(Outcome::Sat, Some(&example), None);
        if input.iter().chain(&output).all(|x| x.is_finite()) {
            let text = text.unwrap();
            let (first, rest) = text.split_once('\n').unwrap();
            prop_assert_eq!(first, "sat");
            prop_assert_eq!(assignments(rest), (input, output));
        } else {
            prop_assert!(matches!(text, Err(Error::InvalidConfig { .. })), "NaN is no counterexample");
        }
    }
}

#[test]
fn only_sat_has_a_counterexample() {
    let example = Counterexample {
        input: vec![0.5],
        output: vec![-1e-7, 2.0],
    };
    for (outcome, word) in [
        (Outcome::Unsat, "unsat\n"),
        (Outcome::Unknown, "unknown\n"),
        (Outcome::Timeout, "timeout\n"),
        (Outcome::Error, "error\n"),
    ] {
        assert_eq!(result_text(outcome, Some(&example), None).unwrap(), word);
        assert_eq!(word.trim().parse::<Outcome>().unwrap(), outcome);
    }
    assert_eq!(result_text(Outcome::Sat, None, None).unwrap(), "sat\n");
    let text = result_text(Outcome::Sat, Some(&example), None).unwrap();
    assert_eq!(text, "sat\n((X_0 0.5)\n(Y_0 -1e-7)\n(Y_1 2.0))\n");
    assert_eq!("holds".parse::<Outcome>().unwrap(), Outcome::Unsat);
    assert_eq!("violated".parse::<Outcome>().unwrap(), Outcome::Sat);
    assert!("SAT".parse::<Outcome>().is_err());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("result.txt");
    write_result(&path, Outcome::Sat, Some(&example), None).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
    assert!(matches!(
        write_result(
            folder.path().join("none/result.txt"),
            Outcome::Unsat,
            None,
            None
        ),
        Err(Error::Io { .. })
    ));
}

#[test]
fn counterexamples_of_version_2_are_tensors() {
    let text = "(vnnlib-version <2.0>) (declare-network N (declare-input X float32 [1,2]) (declare-output out real []))
        (assert (<= 0.0 X[0,0] 1.0)) (assert (<= 0.0 X[0,1] 1.0)) (assert (<= out 0.0))";
    let declarations = vnnlib::parse(text).unwrap().declarations.unwrap();
    let example = Counterexample {
        input: vec![0.5, 0.25],
        output: vec![-3.0],
    };
    let text = result_text(Outcome::Sat, Some(&example), Some(&declarations)).unwrap();
    assert_eq!(text, "sat\nX float32 [1,2]\n0.5\n0.25\nout real []\n-3.0\n");
    let short = Counterexample {
        input: vec![0.5],
        output: vec![-3.0],
    };
    assert!(matches!(
        short.to_vnnlib2(&declarations),
        Err(Error::ShapeMismatch { .. })
    ));
}

#[test]
fn instances_are_relative_to_their_list_and_packed_where_only_that_exists() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("onnx")).unwrap();
    fs::create_dir(at("vnnlib")).unwrap();
    for name in [
        "onnx/a.onnx",
        "onnx/b.onnx.gz",
        "vnnlib/p.vnnlib",
        "vnnlib/p.vnnlib.gz",
    ] {
        fs::write(at(name), "").unwrap();
    }
    let list = at("instances.csv");
    fs::write(
        &list,
        "onnx/a.onnx,vnnlib/p.vnnlib,116\r\n\n ./onnx/b.onnx , \"vnnlib/q, r.vnnlib\" ,0.5,more\n",
    )
    .unwrap();
    let found = read_instances(&list).unwrap();
    let first = Instance {
        network: at("onnx/a.onnx"),
        spec: at("vnnlib/p.vnnlib"),
        timeout: 116.0,
    };
    let second = Instance {
        network: at("./onnx/b.onnx.gz"),
        spec: at("vnnlib/q, r.vnnlib"),
        timeout: 0.5,
    };
    assert_eq!(found, [first, second]);
    for wrong in ["a,b", "a,b,c", "a,b,-1", "a,b,inf", "a,b,NaN", "\"a,b,1"] {
        fs::write(&list, format!("a,b,1\n{wrong}\n")).unwrap();
        let error = read_instances(&list).unwrap_err();
        assert!(error.to_string().contains("line 2"), "{error}");
    }
    fs::write(&list, b"\xff").unwrap();
    assert!(matches!(read_instances(&list), Err(Error::Io { .. })));
    assert!(matches!(
        read_instances(at("none.csv")),
        Err(Error::Io { .. })
    ));
}

#[test]
fn results_are_lines_of_a_table() {
    let row = ResultRow {
        category: "test".to_owned(),
        network: "onnx/a.onnx".to_owned(),
        spec: "vnnlib/\"q\", r.vnnlib".to_owned(),
        preparation: 0.0,
        outcome: Outcome::Unsat,
        seconds: 1.23456,
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("results.csv");
    write_results(
        &path,
        &[
            row.clone(),
            ResultRow {
                outcome: Outcome::Timeout,
                spec: "p".to_owned(),
                ..row
            },
        ],
    )
    .unwrap();
    let expected = "test,onnx/a.onnx,\"vnnlib/\"\"q\"\", r.vnnlib\",0.000,unsat,1.235\ntest,onnx/a.onnx,p,0.000,timeout,1.235\n";
    assert_eq!(fs::read_to_string(&path).unwrap(), expected);
}
