//! What comes out: distributions of releases, refusals, private inference, bad input.

use dp_regression::accounting::Ledger;
use dp_regression::inference::{ResidualVariance, confidence_intervals};
use dp_regression::plan::rounding_delta;
use dp_regression::synth::LinearModel;
use dp_regression::{
    Adjacency, CancelToken, Dataset, Error, Issp, NoiseKind, Outcome, Plan, PlanInput,
    PrivacyBudget, PrivacyRng, PrivateRegressor, PrivateSearch, PublicTransform, metrics,
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::support::rounds;

fn input(adjacency: Adjacency) -> PlanInput {
    PlanInput::new(PrivacyBudget::new(4.0, 1e-5).unwrap(), 0.01, 6.0).with_adjacency(adjacency)
}

fn issp() -> Issp {
    Issp::new(&input(Adjacency::Replace)).unwrap()
}

fn sample(outliers: usize) -> dp_regression::synth::Sample {
    let model = LinearModel::new(3000, 3).with_condition(1e4);
    model
        .sample(&mut ChaCha8Rng::seed_from_u64(1))
        .unwrap()
        .with_outliers(outliers, 1.0, 1e4)
}

fn dataset(outliers: usize) -> Dataset<'static> {
    let sample = sample(outliers);
    Dataset::new(sample.x, sample.y, 3).unwrap()
}

#[test]
fn clean_tables_give_least_squares_plus_noise_of_the_planned_shape() {
    let issp = issp().with_noise(NoiseKind::Fast);
    let data = dataset(0);
    let ols = dp_regression::filter::diagnose(&data, &[])
        .unwrap()
        .unwrap()
        .coefficients;
    assert!(
        ols.iter().map(|b| b * b).sum::<f64>() > 0.1,
        "the truth must not be 0"
    );
    let runs = rounds(400);
    let mut rng = PrivacyRng::insecure_seeded(2);
    let (mut total, mut released) = (0.0, 0);
    for _ in 0..runs {
        let release = issp.fit(&data, &mut rng).unwrap();
        if let Some(coefficients) = release.outcome.coefficients() {
            total += metrics::prediction_distance(&data, coefficients, &ols)
                .unwrap()
                .powi(2);
            released += 1;
        }
    }
    assert!(released as f64 > 0.98 * runs as f64);
    let (found, expected) = (
        (total / f64::from(released)).sqrt(),
        issp.plan().expected_error(3000.0, 3),
    );
    // chi-squared with 3 degrees of freedom a run: relative standard error of the root is sqrt(1/(6 runs)).
    assert!(
        (found / expected - 1.0).abs() < 4.0 / (6.0 * runs as f64).sqrt(),
        "{found} instead of {expected}"
    );
}

#[test]
fn outliers_are_refused_as_often_as_the_table_says_and_do_not_move_the_rest() {
    let issp = issp().with_noise(NoiseKind::Fast);
    let clean = issp.output_law(&dataset(0)).unwrap().gaussian.unwrap();
    for outliers in [1, 3] {
        let data = dataset(outliers);
        let law = issp.output_law(&data).unwrap();
        let refusal = issp.plan().refusal()[outliers];
        assert_eq!(law.refusal, refusal);
        let runs = rounds(300);
        let mut rng = PrivacyRng::insecure_seeded(3);
        let refused = (0..runs)
            .filter(|_| issp.fit(&data, &mut rng).unwrap().outcome == Outcome::Refused)
            .count();
        let spread = (runs as f64 * refusal * (1.0 - refusal)).sqrt() + 1.0;
        assert!(
            (refused as f64 - refusal * runs as f64).abs() < 4.0 * spread,
            "{refused} of {runs}, f = {refusal}"
        );
        // Three of 3000 rows are missing from the fit, and nothing else.
        let gaussian = law.gaussian.unwrap();
        let shift = metrics::prediction_distance(&data, &gaussian.mean, &clean.mean).unwrap();
        assert!(shift < 0.01, "{shift}");
    }
    let many = issp.plan().score_cap() + 1;
    assert_eq!(issp.output_law(&dataset(many)).unwrap().refusal, 1.0);
}

#[test]
fn refusals_look_all_alike() {
    let issp = issp();
    let mut rng = PrivacyRng::insecure_seeded(1);
    let many = issp.fit(&dataset(200), &mut rng).unwrap();
    let x: Vec<f64> = (0..300)
        .flat_map(|i| [1.0, f64::from(i), f64::from(2 * i)])
        .collect();
    let singular = issp
        .fit(&Dataset::new(x, vec![0.0; 300], 3).unwrap(), &mut rng)
        .unwrap();
    assert_eq!(many, singular);
    assert_eq!(many.outcome, Outcome::Refused);
}

#[test]
fn hostile_values_have_the_expected_outcomes() {
    let issp = issp();
    let plan = issp.plan();
    let refusal = |x: Vec<f64>, y: Vec<f64>, d| {
        issp.output_law(&Dataset::new(x, y, d).unwrap())
            .unwrap()
            .refusal
    };
    let sample = sample(0);
    // One response as large as allowed, one design row as large as allowed: one row is removed.
    let mut y = sample.y.clone();
    y[17] = 1e150;
    assert_eq!(refusal(sample.x.clone(), y, 3), plan.refusal()[1]);
    let mut x = sample.x.clone();
    x[30..33].copy_from_slice(&[1e150, -1e150, 1e149]);
    assert_eq!(refusal(x, sample.y.clone(), 3), plan.refusal()[1]);
    // A column of zeros, and one that a single row holds up (leverage 1).
    let zero: Vec<f64> = sample
        .x
        .chunks(3)
        .flat_map(|row| [row[0], row[1], 0.0])
        .collect();
    assert_eq!(refusal(zero, sample.y.clone(), 3), 1.0);
    let lonely: Vec<f64> = sample
        .x
        .chunks(3)
        .enumerate()
        .flat_map(|(i, row)| [row[0], row[1], f64::from(u8::from(i == 7))])
        .collect();
    assert_eq!(refusal(lonely, sample.y.clone(), 3), 1.0);
    // A constant response and duplicated rows are nothing special.
    assert_eq!(
        refusal(sample.x.clone(), vec![2.0; 3000], 3),
        plan.refusal()[0]
    );
    let twice = [sample.x.clone(), sample.x.clone()].concat();
    assert_eq!(
        refusal(twice, [sample.y.clone(), sample.y].concat(), 3),
        plan.refusal()[0]
    );
}

/// Rows so large that no precision holds all of the table at once are outliers like any other.
#[test]
fn rows_beyond_any_precision_are_outliers() {
    let issp = Issp::new(&input(Adjacency::Replace)).unwrap();
    let plan = issp.plan();
    let sample = sample(0);
    let clean = issp.output_law(&dataset(0)).unwrap().gaussian.unwrap();
    let sizes = [1e20, 1e60, 1e100, 1e140, 1e150];
    for count in 1..plan.score_cap().min(sizes.len()) {
        let mut x = sample.x.clone();
        for (row, size) in sizes.iter().enumerate().take(count) {
            x[3 * row..3 * row + 3].copy_from_slice(&[
                *size,
                -0.5 * size,
                0.3 * size * (row as f64 - 1.5),
            ]);
        }
        let law = issp
            .output_law(&Dataset::new(x, sample.y.clone(), 3).unwrap())
            .unwrap();
        assert_eq!(law.refusal, plan.refusal()[count], "{count} rows");
        if let Some(gaussian) = law.gaussian {
            let shift =
                metrics::prediction_distance(&dataset(0), &gaussian.mean, &clean.mean).unwrap();
            assert!(shift < 0.02, "{shift}");
        }
    }
}

#[test]
fn the_number_of_rows_is_private_only_where_rows_come_and_go() {
    let few = || Dataset::new(vec![1.0, 2.0, 3.0, 4.0, 5.0, 7.0], vec![1.0, 2.0], 3).unwrap();
    let none = || Dataset::new(Vec::new(), Vec::new(), 3).unwrap();
    let mut rng = PrivacyRng::insecure_seeded(1);
    for data in [few(), none()] {
        let replace = issp().fit(&data, &mut rng);
        assert!(matches!(replace, Err(Error::TooFewRows { columns: 3, .. })));
        let issp = Issp::new(&input(Adjacency::AddRemove)).unwrap();
        assert_eq!(issp.fit(&data, &mut rng).unwrap().outcome, Outcome::Refused);
    }
}

#[test]
fn bad_tables_are_errors_that_say_where() {
    let row = |x: Vec<f64>, y: Vec<f64>| Dataset::new(x, y, 2).unwrap_err();
    assert!(matches!(
        row(vec![1.0, 2.0, 3.0, f64::NAN], vec![1.0, 2.0]),
        Error::NonFinite {
            row: 1,
            column: Some(1)
        }
    ));
    assert!(matches!(
        row(vec![1.0; 4], vec![f64::INFINITY, 2.0]),
        Error::NonFinite {
            row: 0,
            column: None
        }
    ));
    assert!(matches!(
        row(vec![1.0, 1e151, 1.0, 1.0], vec![1.0; 2]),
        Error::TooLarge {
            row: 0,
            column: Some(1)
        }
    ));
    assert!(matches!(
        row(vec![1.0; 3], vec![1.0; 2]),
        Error::ShapeMismatch {
            expected: 4,
            found: 3,
            ..
        }
    ));
    assert!(matches!(
        Dataset::new(Vec::new(), vec![1.0], 0).unwrap_err(),
        Error::NoColumns
    ));
    assert!(
        row(vec![1.0, 2.0, 3.0, f64::NAN], vec![1.0, 2.0])
            .to_string()
            .contains("row 1, column 1")
    );
    let wide = Dataset::new(vec![1.0; 1100], vec![1.0], 1100).unwrap();
    assert!(matches!(
        issp().fit(&wide, &mut PrivacyRng::insecure_seeded(0)),
        Err(Error::BadParameter { .. })
    ));
    let tiny = PlanInput::new(PrivacyBudget::new(4.0, 1e-11).unwrap(), 0.005, 6.0);
    let issp = Issp::new(&tiny).unwrap();
    let failed = issp.fit(&dataset(0), &mut PrivacyRng::insecure_seeded(0));
    assert!(
        matches!(failed, Err(Error::RoundingReserve { columns: 3, .. })),
        "{failed:?}"
    );
}

#[test]
fn what_is_released_of_a_covariance_is_rounded_too() {
    let input = input(Adjacency::Replace);
    // Three coefficients, and six numbers of a symmetric matrix.
    for (draws, numbers) in [(0, 3), (5, 9)] {
        let fit = |numbers| {
            let input = input.with_covariance_draws(draws);
            let issp = Issp::new(&input.with_rounding_reserve(rounding_delta(numbers))).unwrap();
            issp.fit(&dataset(0), &mut PrivacyRng::insecure_seeded(0))
        };
        assert!(fit(numbers).is_ok());
        let failed = fit(numbers - 1);
        assert!(
            matches!(failed, Err(Error::RoundingReserve { .. })),
            "{failed:?}"
        );
    }
}

#[test]
fn noise_of_53_bits_is_named_in_the_guarantee() {
    assert_eq!(issp().guarantee().caveat, None);
    let fast = issp().with_noise(NoiseKind::Fast).guarantee();
    assert!(fast.to_string().contains("53 bits"), "{fast}");
    let grid = [(0.01, 6.0)];
    let search = PrivateSearch::new(&input(Adjacency::Replace), 0.5, &grid).unwrap();
    assert_eq!(search.guarantee().caveat, None);
    let fast = search.with_noise(NoiseKind::Fast).guarantee();
    assert!(fast.caveat.is_some());
}

#[test]
fn public_ranges_make_every_table_fit() {
    let transform = PublicTransform::new(vec![(-1.0, 1.0), (0.0, 4.0)], (-10.0, 10.0)).unwrap();
    let mut x = vec![f64::NAN, f64::NAN, f64::INFINITY, -3.0];
    let mut y = vec![f64::NEG_INFINITY, f64::NAN];
    transform.apply(&mut x, &mut y).unwrap();
    assert_eq!(
        (&x[..], &y[..]),
        (&[0.0, 2.0, 1.0, 0.0][..], &[-10.0, 0.0][..])
    );
    assert!(transform.apply(&mut [1.0], &mut [1.0]).is_err());
    for range in [(1.0, 0.0), (f64::NAN, 1.0), (0.0, f64::INFINITY)] {
        assert!(PublicTransform::new(vec![range], (0.0, 1.0)).is_err());
    }
}

#[test]
fn a_cancelled_fit_releases_nothing() {
    let token = CancelToken::new();
    let data = dataset(0).with_cancel(token.clone());
    assert!(
        issp()
            .fit(&data, &mut PrivacyRng::insecure_seeded(0))
            .is_ok()
    );
    token.cancel();
    assert!(matches!(
        issp().fit(&data, &mut PrivacyRng::insecure_seeded(0)),
        Err(Error::Cancelled)
    ));
}

#[test]
fn a_release_names_its_promise_and_hides_its_score() {
    let issp = issp();
    let release = issp
        .fit(&dataset(2), &mut PrivacyRng::insecure_seeded(5))
        .unwrap();
    let text = serde_json::to_string(&release).unwrap();
    for part in ["epsilon", "delta", "replace", "noise", "version"] {
        assert!(text.contains(part), "{text}");
    }
    for secret in ["score\"", "removed", "leverages", "residuals"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    assert!(release.seeded);
    assert!(
        !issp
            .fit(&dataset(0), &mut PrivacyRng::from_os().unwrap())
            .unwrap()
            .seeded
    );
    assert!(
        release
            .guarantee
            .to_string()
            .contains("(4, 1e-5)-differentially private")
    );
}

#[test]
fn the_search_finds_the_first_bound_that_holds() {
    let input = PlanInput::new(PrivacyBudget::new(8.0, 1e-5).unwrap(), 0.5, 1.0);
    let grid: Vec<(f64, f64)> = [0.05, 0.2, 0.8, 3.2, 12.8, 51.2]
        .map(|r| (0.008, r))
        .to_vec();
    let search = PrivateSearch::new(&input, 4.0, &grid)
        .unwrap()
        .with_noise(NoiseKind::Fast);
    let data = dataset(0);
    let mut rng = PrivacyRng::insecure_seeded(6);
    let mut chosen = vec![0; grid.len()];
    let runs = rounds(40);
    for _ in 0..runs {
        let release = search.fit(&data, &mut rng).unwrap();
        if let Some(plan) = release.plan {
            let at = grid
                .iter()
                .position(|(_, r)| *r == plan.input().residual_bound)
                .unwrap();
            chosen[at] += 1;
        }
    }
    // Errors are standard normal: most of 3000 rows exceed 0.2, few exceed 3.2.
    assert!(chosen[3] + chosen[4] > 8 * runs / 10, "{chosen:?}");
    assert!(chosen[0] + chosen[1] <= runs / 10, "{chosen:?}");
    assert!(matches!(
        PrivateSearch::new(&input, 8.0, &grid),
        Err(Error::BadParameter { .. })
    ));
    assert!(matches!(
        PrivateSearch::new(&input, 1.0, &[]),
        Err(Error::BadParameter { .. })
    ));
    assert!(matches!(
        PrivateSearch::new(&input, 1.0, &[(0.5, 1.0)]),
        Err(Error::Infeasible(_))
    ));
}

#[test]
fn a_released_covariance_is_the_shape_of_the_noise() {
    let budget = PrivacyBudget::new(4.0, 1e-5).unwrap();
    let draws = 1000;
    let input = PlanInput::new(budget, 1.3e-3, 6.0).with_covariance_draws(draws);
    let issp = Issp::new(&input).unwrap().with_noise(NoiseKind::Fast);
    let sample = LinearModel::new(20_000, 3)
        .sample(&mut ChaCha8Rng::seed_from_u64(2))
        .unwrap();
    let data = Dataset::new(sample.x, sample.y, 3).unwrap();
    let release = issp
        .fit(&data, &mut PrivacyRng::insecure_seeded(7))
        .unwrap();
    let Outcome::Released(coefficients) = &release.outcome else {
        panic!("refused")
    };
    let found = coefficients.covariance.as_ref().unwrap();
    let factor = issp.output_law(&data).unwrap().gaussian.unwrap().factor;
    let scale = issp.plan().noise_scale();
    for i in 0..3 {
        let expected: f64 = (0..3).map(|k| (factor[i + 3 * k] / scale).powi(2)).sum();
        assert!((found[i * 3 + i] / expected - 1.0).abs() < 5.0 * (2.0 / draws as f64).sqrt());
        assert_eq!(found[i * 3], found[i]);
    }
    let level =
        |release: &dp_regression::Release| confidence_intervals(release, 1.0, 0.95).unwrap();
    assert_eq!(level(&release).len(), 3);
    let plain = issp_release_without_covariance(&data);
    assert!(confidence_intervals(&plain, 1.0, 0.95).is_err());
    assert!(confidence_intervals(&release, f64::NAN, 0.95).is_err());
    assert!(confidence_intervals(&release, 1.0, 1.0).is_err());
}

fn issp_release_without_covariance(data: &Dataset<'_>) -> dp_regression::Release {
    issp()
        .fit(data, &mut PrivacyRng::insecure_seeded(7))
        .unwrap()
}

#[test]
fn intervals_cover_the_truth() {
    let input = PlanInput::new(PrivacyBudget::new(3.0, 1e-5).unwrap(), 1.3e-3, 5.5)
        .with_covariance_draws(300);
    let plan = Plan::search(&input).unwrap();
    let issp = Issp::with_plan(plan).with_noise(NoiseKind::Fast);
    let variance = ResidualVariance::new(1.0, 5.5, Adjacency::Replace).unwrap();
    let mut rng = PrivacyRng::insecure_seeded(8);
    let mut data_rng = ChaCha8Rng::seed_from_u64(9);
    let (mut covered, mut total) = (0, 0);
    for _ in 0..rounds(100) {
        let sample = LinearModel::new(20_000, 3)
            .with_condition(100.0)
            .sample(&mut data_rng)
            .unwrap();
        let data = Dataset::new(&sample.x[..], &sample.y[..], 3).unwrap();
        let release = issp.fit(&data, &mut rng).unwrap();
        let Some(coefficients) = release.outcome.coefficients() else {
            continue;
        };
        let sigma2 = variance
            .fit(&data, coefficients, NoiseKind::Fast, &mut rng)
            .unwrap();
        for (interval, truth) in confidence_intervals(&release, sigma2, 0.95)
            .unwrap()
            .iter()
            .zip(&sample.coefficients)
        {
            covered += usize::from(interval.lower <= *truth && *truth <= interval.upper);
            total += 1;
        }
    }
    let share = covered as f64 / total as f64;
    let spread = (0.95 * 0.05 / total as f64).sqrt();
    assert!(
        (share - 0.95).abs() < 4.0 * spread + 0.005,
        "{covered} of {total}"
    );
}

#[test]
fn the_residual_variance_is_near_and_stays_in_range() {
    let data = dataset(0);
    let ols = dp_regression::filter::diagnose(&data, &[])
        .unwrap()
        .unwrap()
        .coefficients;
    for adjacency in [Adjacency::Replace, Adjacency::AddRemove] {
        let variance = ResidualVariance::new(1.0, 6.0, adjacency).unwrap();
        let mut rng = PrivacyRng::insecure_seeded(4);
        let found = variance
            .fit(&data, &ols, NoiseKind::Hardened, &mut rng)
            .unwrap();
        assert!((found - 1.0).abs() < 0.2, "{found}");
        assert!(
            variance
                .fit(&data, &[0.0], NoiseKind::Hardened, &mut rng)
                .is_err()
        );
        let tiny = ResidualVariance::new(1e-6, 6.0, adjacency).unwrap();
        for _ in 0..20 {
            let found = tiny
                .fit(&data, &ols, NoiseKind::Hardened, &mut rng)
                .unwrap();
            assert!((0.0..=36.0).contains(&found));
        }
    }
    assert!(ResidualVariance::new(0.0, 1.0, Adjacency::Replace).is_err());
}

#[test]
fn a_ledger_pays_first_and_remembers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.jsonl");
    let total = PrivacyBudget::new(1.0, 1e-6).unwrap();
    {
        let mut ledger = Ledger::open(&path, total).unwrap();
        let intent = ledger.spend("coefficients", 0.6, 5e-7).unwrap();
        ledger.complete(intent).unwrap();
        // An interrupted run: paid for, never completed.
        let _ = ledger.spend("variance", 0.3, 0.0).unwrap();
        assert!(matches!(
            ledger.spend("too much", 0.2, 0.0),
            Err(Error::LedgerExhausted { .. })
        ));
        assert!(ledger.spend("nonsense", -1.0, 0.0).is_err());
        assert!(
            Ledger::open(&path, total).is_err(),
            "another holder must be refused"
        );
    }
    let mut ledger = Ledger::open(&path, total).unwrap();
    let (epsilon, delta) = ledger.spent();
    assert!((epsilon - 0.9).abs() < 1e-12 && (delta - 5e-7).abs() < 1e-18);
    assert_eq!(
        ledger
            .entries()
            .iter()
            .map(|entry| entry.completed)
            .collect::<Vec<_>>(),
        [true, false]
    );
    assert!(ledger.spend("the rest", 0.1, 5e-7).is_ok());
    drop(ledger);
    std::fs::write(&path, "{\"intent\": 3}\n").unwrap();
    assert!(matches!(
        Ledger::open(&path, total),
        Err(Error::Format { line: 1, .. })
    ));
}
