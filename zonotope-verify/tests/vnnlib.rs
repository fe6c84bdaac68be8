//! The reader of VNN-LIB: against the reference parser of version 2.0, against itself through the writer, and against everything that
//! is wrong or not understood.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use zonotope_verify::Error;
use zonotope_verify::spec::{HalfSpace, InputBox, Spec, UnsafeCase};
use zonotope_verify::vnnlib::{self, Parsed};

/// A text in version 1.0 for two inputs in [-1, 1] and three outputs.
fn text(assertions: &str) -> String {
    let variables = ["X_0", "X_1", "Y_0", "Y_1", "Y_2"];
    let declared: String = variables
        .iter()
        .map(|name| format!("(declare-const {name} Real)\n"))
        .collect();
    let bounds: String = variables[..2]
        .iter()
        .map(|x| format!("(assert (>= {x} -1))\n(assert (<= {x} 1))\n"))
        .collect();
    format!("{declared}{bounds}{assertions}")
}

fn read(assertions: &str) -> Result<Parsed, Error> {
    vnnlib::parse(&text(assertions))
}

fn half_space(coefficients: &[f64], bound: f64) -> HalfSpace {
    HalfSpace {
        coefficients: coefficients.to_vec(),
        bound,
    }
}

/// The half-spaces of every case.
fn outputs(assertions: &str) -> Vec<Vec<HalfSpace>> {
    read(assertions)
        .unwrap()
        .spec
        .cases
        .into_iter()
        .map(|case| case.outputs)
        .collect()
}

/// The corners of every case's box.
fn boxes(assertions: &str) -> Vec<[Vec<f64>; 2]> {
    let cases = read(assertions).unwrap().spec.cases;
    cases
        .iter()
        .map(|case| [case.input.lower().to_vec(), case.input.upper().to_vec()])
        .collect()
}

#[test]
fn comparisons_become_half_spaces() {
    assert_eq!(
        outputs("(assert (<= Y_0 Y_1))"),
        [[half_space(&[1.0, -1.0, 0.0], 0.0)]]
    );
    assert_eq!(
        outputs("(assert (>= Y_0 3.5))"),
        [[half_space(&[-1.0, 0.0, 0.0], -3.5)]]
    );
    assert_eq!(
        outputs("(assert (<= 2 (- Y_2 (* 3 Y_1) 1)))"),
        [[half_space(&[0.0, 3.0, -1.0], -3.0)]]
    );
    assert_eq!(
        outputs("(assert (<= (+ Y_0 Y_0 (- Y_1) Y_1) 1))"),
        [[half_space(&[2.0, 0.0, 0.0], 1.0)]]
    );
    let equal = [[
        half_space(&[1.0, 0.0, 0.0], 1.0),
        half_space(&[-1.0, 0.0, 0.0], -1.0),
    ]];
    assert_eq!(outputs("(assert (= Y_0 1))"), equal);
    assert_eq!(outputs("(assert (== Y_0 1))"), equal);
    let chain = [
        half_space(&[1.0, -1.0, 0.0], 0.0),
        half_space(&[0.0, 1.0, -1.0], 0.0),
    ];
    assert_eq!(outputs("(assert (<= Y_0 Y_1 Y_2))"), [chain]);
    assert_eq!(
        outputs(""),
        [[]],
        "without a condition on outputs all are unsafe"
    );
}

#[test]
fn disjunctions_become_cases_and_conjunctions_products() {
    let names = ["Y_0", "Y_1", "Y_2"];
    let is = |name: &str| {
        let mut coefficients = vec![0.0; 3];
        coefficients[names.iter().position(|&own| own == name).unwrap()] = 1.0;
        half_space(&coefficients, 0.0)
    };
    let (a, b, c) = ("(<= Y_0 0)", "(<= Y_1 0)", "(<= Y_2 0)");
    let [x, y, z] = names.map(is);
    let cases = |text: &str| outputs(&format!("(assert {text})"));
    assert_eq!(
        cases(&format!("(or {a} {b} {c})")),
        [[x.clone()], [y.clone()], [z.clone()]]
    );
    assert_eq!(cases(&format!("(and {a} {b})")), [[x.clone(), y.clone()]]);
    assert_eq!(
        cases(&format!("(and (or {a} {b}) {c})")),
        [[z.clone(), x.clone()], [z.clone(), y.clone()]]
    );
    let product = cases(&format!("(and (or {a} {b}) (or {b} {c}))"));
    let pairs = [
        [x.clone(), y.clone()],
        [x.clone(), z.clone()],
        [y.clone(), y.clone()],
        [y.clone(), z.clone()],
    ];
    assert_eq!(product, pairs);
    let nested = cases(&format!("(or (and {a} (or {b} {c})) {c})"));
    assert_eq!(nested, [vec![x.clone(), y], vec![x, z.clone()], vec![z]]);
}

#[test]
fn conditions_on_inputs_bound_the_box() {
    let only = |assertions: &str| boxes(assertions).remove(0);
    assert_eq!(
        only("(assert (<= X_0 0.5)) (assert (<= X_0 0.75))"),
        [vec![-1.0, -1.0], vec![0.5, 1.0]]
    );
    assert_eq!(
        only("(assert (>= (* 4 X_1) 2))"),
        [vec![-1.0, 0.5], vec![1.0, 1.0]]
    );
    assert_eq!(
        only("(assert (>= (* (- 2) X_0) (- 1)))"),
        [vec![-1.0, -1.0], vec![0.5, 1.0]]
    );
    assert_eq!(
        only("(assert (<= (* 0 X_0) 1000))"),
        [vec![-1.0, -1.0], vec![1.0, 1.0]]
    );
    assert_eq!(
        only("(assert (>= (- X_0 1) (- 1)))"),
        [vec![0.0, -1.0], vec![1.0, 1.0]]
    );
}

#[test]
fn inputs_in_a_disjunction_narrow_their_cases() {
    let found = boxes(
        "(assert (or (and (<= X_0 0) (<= Y_0 1)) (and (>= X_0 0.25) (<= X_1 0) (<= Y_0 2)) (<= Y_0 3)))",
    );
    let expected = [
        [vec![-1.0, -1.0], vec![0.0, 1.0]],
        [vec![0.25, -1.0], vec![1.0, 0.0]],
        [vec![-1.0, -1.0], vec![1.0, 1.0]],
    ];
    assert_eq!(found, expected);
    // All bounds may stand in the branches.
    let branches = "(declare-const X_0 Real) (declare-const Y_0 Real)
        (assert (or (and (>= X_0 -1) (<= X_0 1) (>= Y_0 100)) (and (>= X_0 2) (<= X_0 3) (>= Y_0 7))))";
    let cases = vnnlib::parse(branches).unwrap().spec.cases;
    assert_eq!(
        cases
            .iter()
            .map(|case| case.input.upper()[0])
            .collect::<Vec<_>>(),
        [1.0, 3.0]
    );
    let missing = branches.replace("(<= X_0 3)", "");
    assert!(matches!(
        vnnlib::parse(&missing),
        Err(Error::MissingInputBound {
            index: 0,
            side: "upper"
        })
    ));
}

#[test]
fn empty_cases_are_left_out_with_a_note_unless_all_are() {
    let parsed = read("(assert (or (and (>= X_0 2) (<= Y_0 1)) (<= Y_0 3)))").unwrap();
    assert_eq!(parsed.spec.cases.len(), 1);
    assert_eq!(parsed.notes.len(), 1, "{:?}", parsed.notes);
    let error = read("(assert (>= X_1 2))").unwrap_err();
    assert!(
        matches!(
            error,
            Error::EmptyInputBox {
                index: 1,
                lower: 2.0,
                upper: 1.0
            }
        ),
        "{error}"
    );
    assert!(matches!(
        read("(assert (>= 0 1))"),
        Err(Error::InvalidConfig { .. })
    ));
    assert!(matches!(
        read("(assert (or))"),
        Err(Error::InvalidConfig { .. })
    ));
}

#[test]
fn strict_inequalities_are_closed_with_a_note() {
    let parsed = read("(assert (< Y_0 1))\n(assert (> Y_1 2))").unwrap();
    assert_eq!(
        parsed.spec,
        read("(assert (<= Y_0 1))\n(assert (>= Y_1 2))")
            .unwrap()
            .spec
    );
    assert_eq!(parsed.notes.len(), 1);
    assert!(
        parsed.notes[0].starts_with("2 strict") && parsed.notes[0].contains("line 10"),
        "{:?}",
        parsed.notes
    );
    assert!(read("(assert (<= Y_0 1))").unwrap().notes.is_empty());
}

#[test]
fn decimals_are_rounded_outward() {
    // 0.1 lies below the nearest 64-bit number, 0.3 above it.
    let around =
        boxes("(assert (and (>= X_0 0.1) (<= X_0 0.3) (>= X_1 -0.3) (<= X_1 -0.1)))").remove(0);
    let below = 0.1f64.next_down();
    let above = 0.3f64.next_up();
    assert_eq!(around, [vec![below, -above], vec![above, -below]]);
    assert_eq!(
        boxes("(assert (and (>= X_0 0.3) (<= X_0 0.3)))").remove(0)[0][0],
        0.3
    );
    let bounds = |assertion: &str| outputs(assertion)[0][0].bound;
    assert_eq!(bounds("(assert (<= Y_0 0.1))"), 0.1);
    assert_eq!(bounds("(assert (<= Y_0 0.3))"), above);
    assert_eq!(bounds("(assert (>= Y_0 0.1))"), -below);
    // The exact sum 0.1 + 0.2 is 0.3.
    assert!(bounds("(assert (<= Y_0 (+ 0.1 0.2)))") >= above);
    assert!(-bounds("(assert (>= Y_0 (+ 0.1 0.2)))") <= 0.3);
    // One third is below the nearest 64-bit number or above it; the bound must not be below.
    let third = boxes("(assert (<= (* 3 X_0) 1))").remove(0)[1][0];
    assert!(third.mul_add(3.0, -1.0) >= 0.0 && third.next_down().mul_add(3.0, -1.0) < 0.0);
}

#[test]
fn coefficients_are_exact_or_refused() {
    let scaled = outputs("(assert (<= (+ (* 0.1 Y_0) (* -2.25 Y_1)) 0.3))");
    assert_eq!(scaled, [[half_space(&[10.0, -225.0, 0.0], 30.0)]]);
    assert_eq!(
        outputs("(assert (<= (* -1.5 Y_1) 0.3))")[0][0].coefficients,
        [0.0, -1.5, 0.0]
    );
    let long = read("(assert (<= (* 0.12345678901234567 Y_0) 1))").unwrap_err();
    assert!(
        matches!(long, Error::VnnlibUnsupported { line: 10, .. }),
        "{long}"
    );
}

#[test]
fn what_is_not_understood_is_refused_with_its_line() {
    for assertion in [
        "(assert (<= (* Y_0 Y_1) 1))",
        "(assert (<= (* X_0 X_0) 1))",
        "(assert (<= X_0 Y_0))",
        "(assert (<= (+ X_0 X_1) 1))",
        "(assert (!= Y_0 1))",
        "(assert (not (<= Y_0 1)))",
        "(assert (xor (<= Y_0 1) (<= Y_1 1)))",
        "(assert (<= (/ Y_0 2) 1))",
        "(assert (<= Y_0 1e309))",
        "(assert (<= Y_0 (* 1e300 1e300)))",
        "(declare-const Z Real)",
        "(declare-const Y_3 Int)",
        "(declare-const X_1000000000 Real)",
    ] {
        let error = read(assertion).unwrap_err();
        assert!(
            matches!(error, Error::VnnlibUnsupported { line: 10, .. }),
            "{assertion}: {error}"
        );
    }
    let gap = text("(declare-const X_3 Real)");
    assert!(matches!(
        vnnlib::parse(&gap),
        Err(Error::VnnlibUnsupported { .. })
    ));
}

#[test]
fn errors_of_syntax_name_line_and_column() {
    for (assertion, column) in [
        ("(assert (<= Y_0 1)", 19),
        ("(assert (<= Y_0))", 10),
        ("(assert (<= Y_9 1))", 13),
        ("(assert (<= Y_0 1) 2)", 20),
        ("(assert)", 8),
        ("(assert (nand (<= Y_0 1)))", 10),
        ("(assert (<= (+) 1))", 14),
        ("(assert (<= (^ Y_0 2) 1))", 14),
        ("(assert (<= Y_0 1.2.3))", 17),
        ("  )", 3),
        ("(declare-sore X_1 2)", 2),
        ("(declare-const Y_0 Real)", 16),
        ("(declare-network N)", 2),
        ("()", 2),
        ("assert", 1),
        ("(set-info :source \"x)", 19),
    ] {
        let error = read(assertion).unwrap_err();
        let Error::VnnlibSyntax {
            line,
            column: found,
            ..
        } = error
        else {
            panic!("{assertion}: {error}");
        };
        assert_eq!((line, found), (10, column), "{assertion}: {error}");
    }
    for empty in [
        "",
        "; nothing",
        "(declare-const X_0 Real)",
        "(declare-const Y_0 Real)",
    ] {
        assert!(
            matches!(vnnlib::parse(empty), Err(Error::VnnlibSyntax { .. })),
            "{empty:?}"
        );
    }
}

#[test]
fn blanks_comments_and_commands_of_smt_lib_do_not_matter() {
    let plain = read("(assert (<= Y_0 Y_1))").unwrap();
    let spaced = format!(
        "\u{feff}(set-logic QF_LRA)\r\n{}",
        text("; a comment with ( brackets\n( assert(<=\tY_0;x\n Y_1) )(check-sat)\r\n")
    );
    assert_eq!(vnnlib::parse(&spaced).unwrap(), plain);
    let functions =
        text("(assert (<= Y_0 Y_1))").replace("declare-const X_0", "declare-fun X_0 ()");
    assert_eq!(vnnlib::parse(&functions).unwrap(), plain);
}

#[test]
fn missing_bounds_are_named() {
    let without = |bound: &str| vnnlib::parse(&text("(assert (<= Y_0 0))").replace(bound, ""));
    assert!(matches!(
        without("(assert (>= X_1 -1))"),
        Err(Error::MissingInputBound {
            index: 1,
            side: "lower"
        })
    ));
    assert!(matches!(
        without("(assert (<= X_0 1))"),
        Err(Error::MissingInputBound {
            index: 0,
            side: "upper"
        })
    ));
}

#[test]
fn large_normal_forms_and_deep_nesting_are_refused_at_once() {
    // 2^60 clauses.
    let choices = "(or (<= Y_0 0) (<= Y_1 0))".repeat(60);
    let error = read(&format!("(assert (and {choices}))")).unwrap_err();
    assert!(
        matches!(
            error,
            Error::TooManyClauses {
                limit: vnnlib::DEFAULT_CLAUSES,
                ..
            }
        ),
        "{error}"
    );
    let eight = "(assert (or (<= Y_0 0) (<= Y_1 0)))".repeat(3);
    assert_eq!(
        vnnlib::parse_with_limit(&text(&eight), 8)
            .unwrap()
            .spec
            .cases
            .len(),
        8
    );
    let error = vnnlib::parse_with_limit(&text(&eight), 7).unwrap_err();
    assert!(
        matches!(error, Error::TooManyClauses { found: 8, limit: 7 }),
        "{error}"
    );
    for (open, close) in [("(and ", ")"), ("(<= (- ", ") 1)"), ("(", ")")] {
        let deep = format!("(assert {}{}", open.repeat(100_000), close.repeat(100_000));
        assert!(read(&deep).is_err());
    }
    let deep = format!(
        "(assert (<= {}Y_0{} 1))",
        "(- ".repeat(100_000),
        ")".repeat(100_000)
    );
    assert!(matches!(
        read(&deep),
        Err(Error::VnnlibUnsupported { line: 10, .. })
    ));
}

/// A text in version 2.0.
fn modern(network: &str, assertions: &str) -> Result<Parsed, Error> {
    vnnlib::parse(&format!(
        "(vnnlib-version <2.0>)\n(declare-network N {network})\n{assertions}"
    ))
}

const TENSORS: &str = "(declare-input X float32 [1,2]) (declare-output Y float32 [3,1])";
const UNIT: &str = "(assert (and (>= X[0,0] 0.0) (<= X[0,0] 1.0) (>= X[0,1] 0.0) (<= X[0,1] 1.0)))";

#[test]
fn tensors_of_version_2_are_row_major() {
    let parsed = modern(TENSORS, &format!("{UNIT} (assert (<= Y[2,0] Y [1, 0]))")).unwrap();
    assert_eq!((parsed.inputs, parsed.outputs), (2, 3));
    assert_eq!(
        parsed.spec.cases[0].outputs,
        [half_space(&[0.0, -1.0, 1.0], 0.0)]
    );
    let declarations = parsed.declarations.unwrap();
    assert_eq!(
        (declarations.input.shape, declarations.output.name.as_str()),
        (vec![1, 2], "Y")
    );
    assert_eq!(declarations.input.element, "float32");
    let named = modern(
        "(declare-input X real [] \"in\") (declare-output Y Real [1])",
        "(assert (<= 0 X 1))",
    )
    .unwrap();
    assert_eq!(named.spec.cases[0].input.upper(), [1.0]);
}

#[test]
fn what_version_2_has_and_a_chain_of_layers_has_not_is_refused() {
    let network = |network: &str| modern(network, UNIT).unwrap_err();
    for text in [
        format!("(equal-to M) {TENSORS}"),
        format!("(declare-input Z float32 [2]) {TENSORS}"),
        format!("{TENSORS} (declare-hidden Z float32 [2] \"z\")"),
        TENSORS.replace("float32", "float16"),
        TENSORS.replace("[3,1]", "[3,0]"),
        TENSORS.replace("[3,1]", "[99999999,99999999]"),
    ] {
        assert!(
            matches!(network(&text), Error::VnnlibUnsupported { line: 2, .. }),
            "{text}"
        );
    }
    for text in [
        "",
        "(declare-input X float32 [1,2])",
        &TENSORS.replace("Y", "X"),
        "(declare-input X float32)",
        "X",
    ] {
        assert!(
            matches!(network(text), Error::VnnlibSyntax { line: 2, .. }),
            "{text}"
        );
    }
    for assertion in [
        "(assert (<= Y[3,0] 0.0))",
        "(assert (<= Y[0] 0.0))",
        "(assert (<= Y 0.0))",
        "(assert (<= Y[0,-1] 0.0))",
        "(assert (<= Z[0] 0.0))",
        "(declare-const X_0 Real)",
    ] {
        assert!(
            matches!(
                modern(TENSORS, assertion).unwrap_err(),
                Error::VnnlibSyntax { line: 3, .. }
            ),
            "{assertion}"
        );
    }
    let second = format!("(declare-network M {TENSORS})");
    assert!(matches!(
        modern(TENSORS, &second),
        Err(Error::VnnlibUnsupported { line: 3, .. })
    ));
    assert!(matches!(
        vnnlib::parse("(vnnlib-version <3.0>)"),
        Err(Error::VnnlibUnsupported { line: 1, .. })
    ));
    // An input as large as this is not made before its bounds are missed.
    let large = modern(
        "(declare-input X float32 [16000000]) (declare-output Y float32 [1])",
        "(assert (<= 0 X[0] 1))",
    );
    assert!(
        matches!(
            large,
            Err(Error::MissingInputBound {
                index: 1,
                side: "lower"
            })
        ),
        "{large:?}"
    );
}

/// Conditions of the reference parser: `sum coefficient * variable <= bound`.
type Conditions = Vec<(BTreeMap<String, f64>, f64)>;

#[test]
fn version_2_is_read_as_the_reference_parser_reads_it() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/vnnlib");
    let text = fs::read_to_string(folder.join("reference.json")).unwrap();
    let reference: BTreeMap<String, Vec<Conditions>> = serde_json::from_str(&text).unwrap();
    assert_eq!(reference.len(), 3);
    for (name, cases) in reference {
        let parsed = vnnlib::load(folder.join(format!("{name}.vnnlib"))).unwrap();
        assert_eq!(parsed.spec.cases.len(), cases.len(), "{name}");
        for (found, conditions) in parsed.spec.cases.iter().zip(cases) {
            let mut lower = vec![f64::NEG_INFINITY; parsed.inputs];
            let mut upper = vec![f64::INFINITY; parsed.inputs];
            let mut half_spaces = Vec::new();
            for (terms, bound) in conditions {
                let index = |name: &str| name[1..].parse::<usize>().unwrap();
                if terms.len() == 1 && terms.keys().all(|name| name.starts_with('x')) {
                    let (name, &coefficient) = terms.first_key_value().unwrap();
                    let bound = bound / coefficient;
                    if coefficient > 0.0 {
                        upper[index(name)] = upper[index(name)].min(bound);
                    } else {
                        lower[index(name)] = lower[index(name)].max(bound);
                    }
                } else {
                    let mut coefficients = vec![0.0; parsed.outputs];
                    terms
                        .iter()
                        .for_each(|(name, &coefficient)| coefficients[index(name)] += coefficient);
                    half_spaces.push(half_space(&coefficients, bound));
                }
            }
            // The reference rounds to nearest: our bounds are the same or the neighbours outside.
            for (found, nearest) in found.input.lower().iter().zip(lower) {
                assert!(
                    *found == nearest || *found == nearest.next_down(),
                    "{name}: {found} {nearest}"
                );
            }
            for (found, nearest) in found.input.upper().iter().zip(upper) {
                assert!(
                    *found == nearest || *found == nearest.next_up(),
                    "{name}: {found} {nearest}"
                );
            }
            let sorted = |mut list: Vec<HalfSpace>| {
                list.sort_by(|a, b| a.coefficients.partial_cmp(&b.coefficients).unwrap());
                list
            };
            assert_eq!(sorted(found.outputs.clone()), sorted(half_spaces), "{name}");
        }
    }
}

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        -1.0..1.0f64,
        (-1000i32..1000).prop_map(f64::from),
        any::<f64>()
            .prop_filter("finite", |x| x.is_finite())
            .prop_map(|x| x + 0.0),
        Just(0.0),
        Just(5e-324),
    ]
}

fn input_box(inputs: usize) -> impl Strategy<Value = InputBox> {
    prop::collection::vec((number(), number()), inputs).prop_map(|corners| {
        let (lower, upper) = corners
            .into_iter()
            .map(|(a, b)| (a.min(b), a.max(b)))
            .unzip();
        InputBox::new(lower, upper).unwrap()
    })
}

fn specification() -> impl Strategy<Value = Spec> {
    (1..4usize, 1..4usize, any::<bool>()).prop_flat_map(|(inputs, outputs, one_box)| {
        let nonzero = prop::collection::vec(number(), outputs)
            .prop_filter("a condition", |c| c.iter().any(|&x| x != 0.0));
        let half_space = (nonzero, number()).prop_map(|(coefficients, bound)| HalfSpace {
            coefficients,
            bound,
        });
        let conjunction = prop::collection::vec(half_space, 1..4);
        let case = (input_box(inputs), conjunction)
            .prop_map(|(input, outputs)| UnsafeCase { input, outputs });
        prop::collection::vec(case, 1..5).prop_map(move |mut cases| {
            if one_box {
                let input = cases[0].input.clone();
                cases.iter_mut().for_each(|case| case.input = input.clone());
            }
            Spec { cases }
        })
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_as_the_same_specification(spec in specification()) {
        let parsed = vnnlib::parse(&spec.to_vnnlib().unwrap()).unwrap();
        prop_assert_eq!(&parsed.spec, &spec);
        prop_assert!(parsed.notes.is_empty());
        let json = serde_json::to_string(&spec).unwrap();
        prop_assert_eq!(serde_json::from_str::<Spec>(&json).unwrap(), spec);
    }

    #[test]
    fn any_text_is_read_or_refused(text in "[()\\[\\] ,;\"a-cXY_0-9.e<>=+*-]{0,80}", words in prop::collection::vec(0..18usize, 0..40)) {
        let _ = vnnlib::parse(&text);
        let vocabulary = ["(", ")", "assert", "and", "or", "<=", ">=", "X_0", "Y_0", "1", "-0.5", "(+", "(*", "[", "]", "0", ",", "(-"];
        let text: Vec<&str> = words.into_iter().map(|word| vocabulary[word]).collect();
        let _ = read(&format!("(assert {}", text.join(" ")));
    }
}

#[test]
fn robustness_is_written_and_read() {
    let input = InputBox::linf(&[0.3, 0.7], 0.1)
        .unwrap()
        .clip(0.0, 0.75)
        .unwrap();
    let spec = Spec::robustness(&input, 1, 3).unwrap();
    assert_eq!(
        vnnlib::parse(&spec.to_vnnlib().unwrap()).unwrap().spec,
        spec
    );
    assert!(matches!(
        Spec { cases: vec![] }.to_vnnlib(),
        Err(Error::InvalidConfig { .. })
    ));
    let mut infinite = spec.clone();
    infinite.cases[0].outputs[0].bound = f64::INFINITY;
    assert!(matches!(
        infinite.to_vnnlib(),
        Err(Error::InvalidConfig { .. })
    ));
    let mut uneven = spec;
    uneven.cases[1].outputs[0].coefficients.pop();
    assert!(matches!(
        uneven.to_vnnlib(),
        Err(Error::ShapeMismatch { .. })
    ));
}

#[test]
fn packed_files_are_read_and_junk_behind_them_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let plain = text("(assert (<= Y_0 Y_1))");
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(plain.as_bytes()).unwrap();
    let packed = encoder.finish().unwrap();
    let path = folder.path().join("spec.vnnlib.gz");
    let load = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        vnnlib::load(&path)
    };
    let parsed = load(&packed).unwrap();
    assert_eq!(parsed, load(plain.as_bytes()).unwrap());
    assert_eq!(Spec::from_vnnlib(&path).unwrap(), parsed.spec);
    for wrong in [
        [&packed[..], b"junk"].concat(),
        packed[..packed.len() - 5].to_vec(),
        b"\xff\xfe".to_vec(),
    ] {
        assert!(matches!(load(&wrong), Err(Error::Io { .. })));
    }
}

/// The folder with files that have no licence to be here.
fn real_files() -> Option<PathBuf> {
    let folder = std::env::var_os("FIRE_ASSAY_VERIFY").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("skipped: FIRE_ASSAY_VERIFY names no folder with real specifications");
    }
    folder
}

#[test]
fn real_specifications_are_read() {
    let Some(folder) = real_files() else { return };
    let mut count = 0;
    for entry in fs::read_dir(folder.join("mnist_fc")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "gz") {
            count += 1;
            let parsed = vnnlib::load(&path).unwrap();
            assert_eq!(
                (parsed.inputs, parsed.outputs, parsed.spec.cases.len()),
                (784, 10, 9),
                "{}",
                path.display()
            );
            assert_eq!(
                vnnlib::parse(&parsed.spec.to_vnnlib().unwrap())
                    .unwrap()
                    .spec,
                parsed.spec
            );
        }
    }
    assert_eq!(count, 10);
}

#[test]
fn parser_cases_of_marabou_are_read_or_refused_as_there() {
    let Some(folder) = real_files() else { return };
    let load = |name: &str| vnnlib::load(folder.join("vnnlib_parse").join(name));
    for refused in [
        "test_assert_operator_not_implemented.vnnlib",
        "test_command_not_implemented.vnnlib",
        "test_mul_var_var.vnnlib",
    ] {
        assert!(load(refused).is_err(), "{refused}");
    }
    let only = |name: &str| {
        let mut cases = load(name)
            .unwrap_or_else(|error| panic!("{name}: {error}"))
            .spec
            .cases;
        assert_eq!(cases.len(), 1, "{name}");
        cases.remove(0)
    };
    let acas = only("acasxu_prop1.vnnlib");
    assert!(
        acas.input.contains(&[0.679857769, -0.5, 0.0, 0.45, -0.45])
            && !acas.input.contains(&[0.6799, 0.0, 0.0, 0.45, -0.45])
    );
    // The literal lies below the nearest 64-bit number; the unsafe set must not shrink.
    assert_eq!(
        acas.outputs,
        [half_space(
            &[-1.0, 0.0, 0.0, 0.0, 0.0],
            -(3.991125645861615f64.next_down())
        )]
    );
    let one = |name: &str, lower: f64, upper: f64| {
        let case = only(name);
        assert_eq!(
            (case.input.lower(), case.input.upper()),
            (&[lower][..], &[upper][..]),
            "{name}"
        );
        case.outputs
    };
    assert_eq!(
        one("test_add_const.vnnlib", 0.0, 1.0),
        [half_space(&[-1.0], 0.0)]
    );
    assert_eq!(
        one("test_sub_const.vnnlib", 2.0, 3.0),
        [half_space(&[-1.0], 0.0)]
    );
    assert_eq!(
        one("test_and.vnnlib", 0.0, 1.0),
        [half_space(&[-1.0], -1.0)]
    );
    assert_eq!(
        one("test_exp_notation.vnnlib", -1.0, 1.0),
        [half_space(&[-1.0], -0.5)]
    );
    assert_eq!(
        one("test_mul_var_const.vnnlib", 0.0, 1.0),
        [half_space(&[-1.0], 0.0)]
    );
    for name in ["test_small_vnncomp.vnnlib", "test_tiny_vnncomp.vnnlib"] {
        assert_eq!(one(name, -1.0, 1.0), [half_space(&[-1.0], -100.0)]);
    }
    assert_eq!(
        one("test_nano_vnncomp.vnnlib", -1.0, 1.0),
        [half_space(&[1.0], -1.0)]
    );
    let prop = only("test_prop_vnncomp.vnnlib");
    assert_eq!(prop.outputs.len(), 4);
    assert_eq!(
        only("test_add_var.vnnlib").outputs[3],
        half_space(&[1.0, 1.0, 0.0, 0.0, 0.0], 1.0)
    );
    assert_eq!(only("test_sub_var.vnnlib").outputs.len(), 4);
}
