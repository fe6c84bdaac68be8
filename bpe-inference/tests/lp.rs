//! The restricted linear program: every solver against an oracle that knows no linear programming,
//! against each other, on degenerate programs, under limits and with bad input.

#[path = "../benches/instances.rs"]
mod instances;
#[path = "support/matching.rs"]
mod matching;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bpe_inference::inference::MissingPolicy;
use bpe_inference::lp::{
    Limits, LpError, LpSolution, LpSolver, LpState, MixtureLp, StructuredIpm, solver_by_name,
    solver_names,
};
use bpe_inference::pretokenizer::{TextPipeline, split_blocks};
use bpe_inference::{
    BpeTrainer, Category, Error, InferenceConfig, MixtureInference, PairTrace, TraceOptions,
    WordCounts,
};
use fire_assay_datasets::embedded;
use fire_assay_datasets::text::TextCategory;
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use instances::{Shape, realistic, simplex};
use matching::{grid, matching_value};

/// Largest relative gap of a solved program.
const GAP: f64 = 1e-6;

/// Every solver that is compiled in, HiGHS with both of its methods.
fn solvers() -> Vec<Box<dyn LpSolver>> {
    let named = solver_names()
        .into_iter()
        .map(|name| solver_by_name(name).unwrap());
    #[cfg(feature = "highs")]
    let named = named.chain([Box::new(bpe_inference::lp::HighsSolver {
        method: bpe_inference::lp::HighsMethod::Simplex,
    }) as Box<dyn LpSolver>]);
    named.collect()
}

/// The results of all solvers that meet the tolerances of the tests, with their names; the default solver's is the first.
fn solve_with_all(lp: &MixtureLp) -> Vec<(&'static str, LpSolution)> {
    let solvers = solvers().into_iter().filter(|solver| exact(&**solver));
    solvers
        .map(|solver| (solver.name(), solve(&*solver, lp)))
        .collect()
}

fn solve(solver: &dyn LpSolver, lp: &MixtureLp) -> LpSolution {
    let solution = solver
        .solve(lp, None, &Limits::default())
        .unwrap_or_else(|e| panic!("{}: {e}", solver.name()));
    check(solver.name(), lp, &solution);
    solution
}

/// Solvers that work in single precision cannot meet the tolerances of the others.
fn exact(solver: &dyn LpSolver) -> bool {
    !solver.name().starts_with("pdhg")
}

/// What holds for the result of every solver: it is feasible, its objective is what its slacks add up
/// to, and the bound follows from the multipliers.
fn check(name: &str, lp: &MixtureLp, solution: &LpSolution) {
    let LpState {
        alpha,
        v_step,
        v_pair,
        dual,
    } = &solution.state;
    assert_eq!(
        (alpha.len(), v_step.len(), v_pair.len()),
        (lp.n(), lp.steps(), lp.pairs()),
        "{name}"
    );
    let largest = lp.coefficients().iter().fold(0.0f64, |m, c| m.max(c.abs()));
    let rounding = 1e-13 * largest;
    assert!((alpha.iter().sum::<f64>() - 1.0).abs() < 1e-12, "{name}");
    assert!(
        alpha.iter().chain(v_step).chain(v_pair).all(|x| *x >= 0.0),
        "{name}"
    );
    let mut step_sum = vec![0.0; lp.steps()];
    let mut pair_sum = vec![0.0; lp.pairs()];
    let mut reduced = vec![0.0; lp.n()];
    for r in 0..lp.rows() {
        let (step, pair) = (lp.step_of()[r] as usize, lp.pair_of()[r] as usize);
        let weighted: f64 = lp.row(r).iter().zip(alpha).map(|(a, x)| a * x).sum();
        assert!(
            v_step[step] + v_pair[pair] + weighted >= -rounding,
            "{name}: row {r}"
        );
        if let Some(&w) = dual.get(r) {
            assert!(w >= 0.0, "{name}");
            step_sum[step] += w;
            pair_sum[pair] += w;
            for (reduced, a) in reduced.iter_mut().zip(lp.row(r)) {
                *reduced -= w * a;
            }
        }
    }
    assert!(
        step_sum.iter().chain(&pair_sum).all(|sum| *sum <= 1.0),
        "{name}"
    );
    let objective = v_step.iter().sum::<f64>() + v_pair.iter().sum::<f64>();
    assert!(
        (objective - solution.objective).abs() <= 1e-12 * objective,
        "{name}"
    );
    assert!(solution.lower_bound <= solution.objective, "{name}");
    let from_dual = reduced.iter().copied().fold(f64::INFINITY, f64::min);
    assert!(
        solution.lower_bound <= from_dual.max(0.0) + rounding,
        "{name}: bound {} but the multipliers give {from_dual}",
        solution.lower_bound
    );
    if !dual.is_empty() && name != "pdhg" {
        let gap = solution.objective - solution.lower_bound;
        assert!(
            gap <= GAP * solution.objective + 1e-10 * largest,
            "{name}: gap {gap:e} of {:e}",
            solution.objective
        );
    }
}

/// Rows between random steps and pairs with coefficients of size `unit`.
fn random_lp(n: usize, steps: u32, pairs: u32, density: f64, unit: f64, seed: u64) -> MixtureLp {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut lp = MixtureLp::new(n);
    for step in 0..steps {
        for pair in 0..pairs {
            if rng.random::<f64>() < density {
                // Sizes differ by orders of magnitude, as counts do.
                let size = unit * 10f64.powf(-3.0 * rng.random::<f64>());
                let row: Vec<f64> = (0..n)
                    .map(|_| size * (2.0 * rng.random::<f64>() - 1.0))
                    .collect();
                lp.push(step, pair, &row).unwrap();
            }
        }
    }
    if lp.rows() == 0 {
        lp.push(0, 0, &vec![unit; n]).unwrap();
    }
    lp
}

/// A program whose only optimal weights are `alpha`, with the given objective: rows that hold with
/// equality there, in both directions and each with slacks of its own.
fn planted_lp(alpha: &[f64], objective: f64, unit: f64, seed: u64) -> MixtureLp {
    let n = alpha.len();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut lp = MixtureLp::new(n);
    for i in 0..n as u32 {
        let mut row: Vec<f64> = (0..n).map(|_| unit * (rng.random::<f64>() - 0.5)).collect();
        let value: f64 = row.iter().zip(alpha).map(|(a, x)| a * x).sum();
        for a in &mut row {
            *a -= value;
        }
        lp.push(2 * i, 2 * i, &row).unwrap();
        for a in &mut row {
            *a = -*a;
        }
        lp.push(2 * i + 1, 2 * i + 1, &row).unwrap();
    }
    if objective > 0.0 {
        lp.push(2 * n as u32, 2 * n as u32, &vec![-objective; n])
            .unwrap();
    }
    lp
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// C5: the optimum is the least matching value over all weights, for every solver.
    #[test]
    fn optimum_is_the_least_matching_value(
        n in 2usize..5,
        steps in 1u32..9,
        pairs in 1u32..13,
        density in 0.2f64..1.0,
        exponent in -9i32..0,
        seed: u64,
    ) {
        let unit = 10f64.powi(exponent);
        let lp = random_lp(n, steps, pairs, density, unit, seed);
        let found = solve_with_all(&lp);
        let optimum = found[0].1.objective;
        let close = 1e-6 * optimum + 1e-9 * unit;
        for (name, solution) in &found {
            prop_assert!((solution.objective - optimum).abs() <= close, "{}", name);
            let oracle = matching_value(&lp, &solution.state.alpha);
            prop_assert!((oracle - optimum).abs() <= close, "{}: {} {}", name, oracle, optimum);
        }
        for alpha in grid(n, [0, 0, 200, 30, 12][n]) {
            prop_assert!(matching_value(&lp, &alpha) >= optimum - close);
        }
    }

    /// C5: where the optimal weights are unique, all solvers find them.
    #[test]
    fn unique_weights_are_found(
        n in 2usize..9,
        relative in prop_oneof![Just(0.0), 1e-3f64..10.0],
        exponent in -8i32..0,
        seed: u64,
    ) {
        let unit = 10f64.powi(exponent);
        let alpha = simplex(n, &mut ChaCha8Rng::seed_from_u64(seed));
        let lp = planted_lp(&alpha, relative * unit, unit, seed ^ 1);
        for solver in solvers().iter().filter(|solver| exact(&***solver)) {
            let solution = solve(&**solver, &lp);
            prop_assert!(
                (solution.objective - relative * unit).abs() <= (1e-6 * relative + 1e-9) * unit,
                "{}", solver.name()
            );
            for (x, y) in solution.state.alpha.iter().zip(&alpha) {
                prop_assert!((x - y).abs() < 1e-5, "{}: {} {}", solver.name(), x, y);
            }
        }
    }

    /// The default solver closes the gap on random programs of any shape and unit.
    #[test]
    fn gap_closes(
        n in 2usize..40,
        steps in 1u32..40,
        pairs in 1u32..40,
        density in 0.05f64..1.0,
        exponent in -9i32..3,
        seed: u64,
    ) {
        let lp = random_lp(n, steps, pairs, density, 10f64.powi(exponent), seed);
        solve(&StructuredIpm::default(), &lp);
    }
}

/// Programs generated with the shape of real ones (see `benches/instances.rs`), small enough for every solver.
#[test]
fn realistic_programs_are_solved_alike() {
    for (seed, (rows, steps, pairs, n)) in [
        (1, (400, 60, 50, 5)),
        (2, (1_000, 100, 60, 10)),
        (3, (1_500, 80, 80, 30)),
        (4, (1_200, 300, 20, 10)),
        (5, (1_000, 100, 100, 50)),
    ] {
        let shape = Shape {
            rows,
            steps,
            pairs,
            n,
        };
        let lp = realistic(shape, seed);
        let found = solve_with_all(&lp);
        for (name, solution) in &found {
            let optimum = found[0].1.objective;
            assert!(
                (solution.objective - optimum).abs() <= 1e-6 * optimum,
                "{name} on {shape:?}: {} {optimum}",
                solution.objective
            );
        }
    }
}

/// The last program of an inference on half of each text, about a tokenizer trained on the other half.
fn real_program(texts: &[TextCategory], merges: usize, seed: u64) -> MixtureLp {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let pipeline = TextPipeline::gpt2();
    let category = |name: &str, text: &str| {
        let mut builder = WordCounts::builder(&pipeline);
        builder.add_str(text).unwrap();
        builder.finish_category(name).unwrap()
    };
    let (training, counted): (Vec<Category>, Vec<Category>) = texts
        .iter()
        .map(|text| {
            let (a, b) = split_blocks(&text.text, 8, &mut rng);
            (category(&text.name, &a), category(&text.name, &b))
        })
        .collect();
    let shares = simplex(texts.len(), &mut rng);
    let parts: Vec<(&WordCounts, f64)> = training
        .iter()
        .zip(shares)
        .map(|(category, share)| (&category.words, 100.0 * share))
        .collect();
    let (list, _) = BpeTrainer::new(merges).train_mixture(&parts).unwrap();
    let trace = PairTrace::build(&list, &counted, merges, &TraceOptions::new()).unwrap();
    let config = InferenceConfig::new().with_merges(merges);
    // With so few merges some languages have none of them.
    let inference = MixtureInference::new(config.with_unmatched(MissingPolicy::Skip));
    inference.run_exporting(&trace).unwrap().1
}

/// C5 on programs of real text: languages, parallel texts and source code.
#[test]
fn programs_of_real_texts_are_solved_alike() {
    for (seed, texts, n, merges) in [
        (1, embedded::languages(), 5, 200),
        (2, embedded::udhr(), 10, 100),
        (3, embedded::udhr(), 24, 60),
        (4, embedded::code(), 6, 150),
    ] {
        let lp = real_program(&texts[..n], merges, seed);
        assert!(lp.rows() > 200, "{} rows", lp.rows());
        let found = solve_with_all(&lp);
        let (_, reference) = &found[0];
        assert!(reference.objective > 1e-4, "seed {seed} is trivial");
        for (name, solution) in &found {
            assert!(
                (solution.objective - reference.objective).abs() <= 1e-6 * reference.objective,
                "{name}, seed {seed}: {} {}",
                solution.objective,
                reference.objective
            );
            for (x, y) in solution.state.alpha.iter().zip(&reference.state.alpha) {
                assert!((x - y).abs() < 1e-5, "{name}, seed {seed}: {x} {y}");
            }
        }
    }
}

#[test]
fn many_categories() {
    let shape = Shape {
        rows: 3_000,
        steps: 150,
        pairs: 120,
        n: 112,
    };
    solve(&StructuredIpm::default(), &realistic(shape, 9));
}

/// Degenerate programs: the expected objective follows from the rows.
#[test]
fn degenerate_programs() {
    let rows = |rows: &[(u32, u32, &[f64])]| {
        let mut lp = MixtureLp::new(rows[0].2.len());
        for (step, pair, row) in rows {
            lp.push(*step, *pair, row).unwrap();
        }
        lp
    };
    let cases: [(&str, MixtureLp, f64); 10] = [
        (
            "one row that can hold",
            rows(&[(0, 0, &[1e-3, -1e-3])]),
            0.0,
        ),
        (
            "one row that cannot",
            rows(&[(0, 0, &[-2e-3, -1e-3])]),
            1e-3,
        ),
        (
            "one weight",
            rows(&[(0, 0, &[-1e-5]), (1, 0, &[-2e-5])]),
            2e-5,
        ),
        (
            "all coefficients positive",
            rows(&[
                (0, 0, &[1e-3, 2e-3]),
                (0, 1, &[1e-9, 1e-2]),
                (1, 0, &[1.0, 1.0]),
            ]),
            0.0,
        ),
        (
            "rows of zeros",
            rows(&[(0, 0, &[0.0, 0.0, 0.0]), (3, 7, &[0.0, 0.0, 0.0])]),
            0.0,
        ),
        (
            "a row of zeros beside others",
            rows(&[
                (0, 0, &[0.0, 0.0]),
                (0, 1, &[-1e-4, -1e-4]),
                (1, 1, &[-1e-4, -3e-4]),
            ]),
            // One pair slack covers both steps.
            1e-4,
        ),
        (
            "identical categories",
            rows(&[
                (0, 0, &[-1e-4, -1e-4, -1e-4]),
                (0, 1, &[-2e-4, -2e-4, -2e-4]),
                (1, 1, &[-4e-4, -4e-4, -4e-4]),
            ]),
            // Matchings: (0,1) alone 2, (1,1) alone 4, (0,0) with (1,1) 5.
            5e-4,
        ),
        (
            "the same row twice",
            rows(&[
                (2, 3, &[-1e-6, -3e-6]),
                (2, 3, &[-1e-6, -3e-6]),
                (2, 3, &[-2e-6, -1e-6]),
            ]),
            // Where the two different rows cross: 2 - x = 1 + 2 x... at x = 1/3 of the second.
            5e-6 / 3.0,
        ),
        (
            "no common slack",
            rows(&[
                (0, 0, &[-1e-2, 0.0]),
                (1, 1, &[0.0, -1e-9]),
                (2, 2, &[-1e-9, -1e-9]),
            ]),
            2e-9,
        ),
        (
            "an equality",
            rows(&[(0, 0, &[1e-7, -3e-7]), (1, 1, &[-1e-7, 3e-7])]),
            0.0,
        ),
    ];
    for (what, lp, objective) in cases {
        let largest = lp.coefficients().iter().fold(0.0f64, |m, c| m.max(c.abs()));
        for solver in solvers().iter().filter(|solver| exact(&***solver)) {
            let solution = solve(&**solver, &lp);
            assert!(
                (solution.objective - objective).abs() <= 1e-6 * objective + 1e-9 * largest,
                "{what}, {}: {:e}",
                solver.name(),
                solution.objective
            );
        }
    }
    // The equality fixes the weights.
    let lp = rows(&[(0, 0, &[1e-7, -3e-7]), (1, 1, &[-1e-7, 3e-7])]);
    let alpha = solve(&StructuredIpm::default(), &lp).state.alpha;
    assert!((alpha[0] - 0.75).abs() < 1e-6, "{alpha:?}");
}

/// A step that competes with a great many pairs must not make the method quadratic in them.
#[test]
fn one_crowded_step() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let mut lp = MixtureLp::new(3);
    for pair in 0..20_000 {
        let row: Vec<f64> = (0..3).map(|_| 1e-3 * (rng.random::<f64>() - 0.7)).collect();
        lp.push(0, pair, &row).unwrap();
    }
    let solution = solve(&StructuredIpm::default(), &lp);
    // One step slack covers every row, and one row alone needs as much.
    let value = matching_bound(&lp, &solution.state.alpha);
    assert!((solution.objective - value).abs() <= 1e-6 * value);
}

/// The largest violation.
fn matching_bound(lp: &MixtureLp, alpha: &[f64]) -> f64 {
    (0..lp.rows())
        .map(|r| -lp.row(r).iter().zip(alpha).map(|(a, x)| a * x).sum::<f64>())
        .fold(0.0, f64::max)
}

/// Relabelling and reordering do not change the optimum, nor does the unit (beyond its factor).
#[test]
fn optimum_is_invariant() {
    let lp = random_lp(6, 20, 25, 0.4, 1e-4, 77);
    let optimum = solve(&StructuredIpm::default(), &lp).objective;
    let mut exchanged = MixtureLp::new(6);
    let mut scaled = MixtureLp::new(6);
    for r in (0..lp.rows()).rev() {
        let mut row = lp.row(r).to_vec();
        row.reverse();
        exchanged
            .push(lp.pair_of()[r] + 5, lp.step_of()[r] * 3, &row)
            .unwrap();
        let row: Vec<f64> = lp.row(r).iter().map(|a| 1e-6 * a).collect();
        scaled.push(lp.step_of()[r], lp.pair_of()[r], &row).unwrap();
    }
    let close = |x: f64, y: f64| (x - y).abs() <= 1e-7 * y;
    assert!(close(
        solve(&StructuredIpm::default(), &exchanged).objective,
        optimum
    ));
    assert!(close(
        solve(&StructuredIpm::default(), &scaled).objective,
        1e-6 * optimum
    ));
}

#[test]
fn warm_start_reaches_the_same_optimum() {
    let shape = Shape {
        rows: 2_000,
        steps: 150,
        pairs: 120,
        n: 10,
    };
    let full = realistic(shape, 11);
    let mut part = MixtureLp::new(full.n());
    for r in 0..full.rows() / 2 {
        part.push(full.step_of()[r], full.pair_of()[r], full.row(r))
            .unwrap();
    }
    for solver in solvers() {
        let cold = solve(&*solver, &full);
        let mut starts = vec![
            solve(&*solver, &part).state,
            cold.state.clone(),
            LpState {
                alpha: vec![0.1; 10],
                ..LpState::default()
            },
        ];
        // A corner of the simplex with multipliers that fit nothing.
        let mut alpha = vec![0.0; 10];
        alpha[3] = 1.0;
        starts.push(LpState {
            alpha,
            v_step: vec![1e3; 7],
            v_pair: Vec::new(),
            dual: vec![1.0; 5_000],
        });
        for start in &starts {
            let warm = solver
                .solve(&full, Some(start), &Limits::default())
                .unwrap();
            check(solver.name(), &full, &warm);
            let tolerance = if exact(&*solver) { 1e-6 } else { 1e-2 };
            assert!(
                (warm.objective - cold.objective).abs() <= tolerance * cold.objective,
                "{}: {} {}",
                solver.name(),
                warm.objective,
                cold.objective
            );
        }
    }
}

#[test]
fn solving_twice_gives_the_same_bits() {
    let shape = Shape {
        rows: 20_000,
        steps: 400,
        pairs: 300,
        n: 5,
    };
    let lp = realistic(shape, 12);
    let solver = StructuredIpm::default();
    let once = solver.solve(&lp, None, &Limits::default()).unwrap();
    let again = solver.solve(&lp, None, &Limits::default()).unwrap();
    assert_eq!(once.state, again.state);
}

#[test]
fn limits_are_kept() {
    let shape = Shape {
        rows: 15_000,
        steps: 500,
        pairs: 400,
        n: 10,
    };
    let lp = realistic(shape, 13);
    for solver in solvers() {
        let cancel = AtomicBool::new(true);
        let cancelled = Limits {
            cancel: Some(&cancel),
            ..Limits::default()
        };
        assert_eq!(
            solver.solve(&lp, None, &cancelled).unwrap_err(),
            LpError::Cancelled,
            "{}",
            solver.name()
        );
        let late = Limits {
            time: Some(Duration::ZERO),
            ..Limits::default()
        };
        assert_eq!(
            solver.solve(&lp, None, &late).unwrap_err(),
            LpError::TimeLimit,
            "{}",
            solver.name()
        );
    }
    // In the middle of a solve, too.
    let cancel = AtomicBool::new(false);
    let result = std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(20));
            cancel.store(true, Ordering::Relaxed);
        });
        let limits = Limits {
            cancel: Some(&cancel),
            ..Limits::default()
        };
        let endless = StructuredIpm {
            tolerance: 0.0,
            ..StructuredIpm::default()
        };
        endless.solve(&lp, None, &limits)
    });
    assert_eq!(result.unwrap_err(), LpError::Cancelled);
}

#[test]
fn bad_input_is_refused() {
    let mut lp = MixtureLp::new(2);
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert!(matches!(
            lp.push(0, 0, &[1.0, bad]),
            Err(LpError::NonFinite { .. })
        ));
    }
    assert_eq!(
        lp.push(0, 0, &[1.0]),
        Err(LpError::Shape {
            expected: 2,
            found: 1
        })
    );
    assert_eq!(lp.rows(), 0, "a refused row leaves no trace");
    let mut good = lp.clone();
    good.push(0, 0, &[1.0, -1.0]).unwrap();
    let bad_starts = [vec![0.5, f64::NAN], vec![1.0], vec![0.5, 0.25, 0.25]];
    for solver in solvers() {
        assert!(
            matches!(
                solver.solve(&lp, None, &Limits::default()),
                Err(LpError::Empty { .. })
            ),
            "{}",
            solver.name()
        );
        for alpha in &bad_starts {
            let start = LpState {
                alpha: alpha.clone(),
                ..LpState::default()
            };
            assert!(
                matches!(
                    solver.solve(&good, Some(&start), &Limits::default()),
                    Err(LpError::NonFinite { .. } | LpError::Shape { .. })
                ),
                "{}",
                solver.name()
            );
        }
    }
    assert!(matches!(
        solver_by_name("gurobi"),
        Err(LpError::UnknownSolver { .. })
    ));
    assert_eq!(solver_by_name("ipm").unwrap().name(), "structured-ipm");
}

#[test]
#[cfg(any(feature = "microlp", feature = "minilp"))]
fn simplex_refuses_large_programs() {
    let mut lp = MixtureLp::new(2);
    for r in 0..=bpe_inference::lp::ROW_LIMIT as u32 {
        lp.push(r, 0, &[1.0, 1.0]).unwrap();
    }
    for solver in solvers() {
        let refused = matches!(
            solver.solve(&lp, None, &Limits::default()),
            Err(LpError::TooLarge { .. })
        );
        let simplex = ["microlp", "minilp"].contains(&solver.name());
        assert_eq!(refused, simplex, "{}", solver.name());
    }
}

/// Whatever a file says whose checksum fits, reading it ends in an error or in a program that can be written again.
#[test]
fn changed_files_never_panic() {
    let whole = random_lp(3, 6, 5, 0.5, 1e-5, 6).to_bytes();
    let config = ProptestConfig {
        cases: 2000,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    proptest!(config, |(
        cut in any::<prop::sample::Index>(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        mend: bool,
    )| {
        let mut bytes = whole.clone();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        bytes.truncate((2 * cut.index(bytes.len())).min(bytes.len()));
        if let (true, Some((body, sum))) = (mend, bytes.split_last_chunk_mut::<8>()) {
            *sum = xxhash_rust::xxh3::xxh3_64(body).to_le_bytes();
        }
        match MixtureLp::from_bytes(&bytes) {
            Ok(lp) => {
                prop_assert!(mend || bytes == whole);
                prop_assert_eq!(lp.to_bytes(), bytes);
            }
            Err(Error::Parse { offset, .. }) => prop_assert!(offset <= bytes.len() as u64),
            Err(Error::VersionMismatch { .. }) => {}
            Err(error) => return Err(TestCaseError::fail(error.to_string())),
        }
    });
}

#[test]
fn files_round_trip_and_faults_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("program.lp");
    let lp = random_lp(7, 12, 9, 0.5, 1e-5, 5);
    lp.save(&path).unwrap();
    assert_eq!(MixtureLp::load(&path).unwrap(), lp);
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!(bytes.len(), 28 + lp.rows() * (8 + 8 * 7));
    let load = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        MixtureLp::load(&path)
    };
    for length in [0, 3, 27, bytes.len() - 1] {
        assert!(matches!(load(&bytes[..length]), Err(Error::Parse { .. })));
    }
    for position in (0..28).chain((28..bytes.len()).step_by(61)) {
        let mut bad = bytes.clone();
        bad[position] ^= 0x40;
        let refused = load(&bad);
        if (4..8).contains(&position) {
            assert!(matches!(refused, Err(Error::VersionMismatch { .. })));
        } else {
            assert!(
                matches!(refused, Err(Error::Parse { .. })),
                "byte {position}"
            );
        }
    }
    assert_eq!(bytes, lp.to_bytes());
    assert_eq!(MixtureLp::from_bytes(&bytes).unwrap(), lp);
    // A small file that claims to be a huge one.
    let mut huge = bytes[..28].to_vec();
    huge[8..20].fill(0xff);
    assert!(matches!(load(&huge), Err(Error::Parse { .. })));
    assert!(matches!(
        MixtureLp::load(folder.path().join("none")),
        Err(Error::Io { .. })
    ));
}
