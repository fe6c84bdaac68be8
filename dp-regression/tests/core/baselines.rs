//! Baselines: right without noise to speak of, calibrated as stated, and caught where they are broken.

use dp_regression::accounting::{gdp, rdp};
use dp_regression::audit::BlackBox;
use dp_regression::baselines::{
    AdaClipSgd, AdaSsp, BoostedAdaSsp, BoostedRidge, Calibration, DpGd, DpSgd, FunctionalMechanism,
    ObjectivePerturbation, Ols, Recommendation, Ridge, RobustGd, RowBounds, Ssp, TukeyEm,
    recommend,
};
use dp_regression::synth::{LinearModel, Sample};
use dp_regression::{
    Adjacency, Dataset, Error, NoiseKind, PaperProfile, PlanInput, PrivacyBudget, PrivacyRng,
    PrivateRegressor, metrics,
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::support::rounds;

const REPLACE: Adjacency = Adjacency::Replace;

fn sample() -> Sample {
    let mut model = LinearModel::new(20_000, 3);
    model.sigma = 0.2;
    model.sample(&mut ChaCha8Rng::seed_from_u64(3)).unwrap()
}

fn budget(epsilon: f64) -> PrivacyBudget {
    PrivacyBudget::new(epsilon, 1e-6).unwrap()
}

fn all(epsilon: f64) -> Vec<Box<dyn PrivateRegressor>> {
    let budget = budget(epsilon);
    let bounds = RowBounds::new(6.0, 6.0).unwrap();
    let fast = NoiseKind::Fast;
    vec![
        Box::new(
            AdaSsp::new(budget, REPLACE, bounds, Calibration::Original)
                .unwrap()
                .with_noise(fast),
        ),
        Box::new(
            AdaSsp::new(budget, REPLACE, bounds, Calibration::Tight)
                .unwrap()
                .with_noise(fast),
        ),
        Box::new(
            Ssp::new(budget, REPLACE, bounds, 1.0)
                .unwrap()
                .with_noise(fast),
        ),
        Box::new(
            BoostedAdaSsp::new(budget, REPLACE, bounds)
                .with_rounds(30, 1.0)
                .unwrap()
                .with_noise(fast),
        ),
        Box::new(
            DpGd::new(budget, REPLACE, vec![1.0; 3], 1.0)
                .unwrap()
                .with_noise(fast),
        ),
        Box::new(
            RobustGd::new(budget, REPLACE)
                .with_steps(40, 0.5)
                .unwrap()
                .with_noise(fast),
        ),
        Box::new(AdaClipSgd::new(budget, REPLACE).with_noise(fast)),
        Box::new(TukeyEm::new(budget, REPLACE, 400).unwrap().with_noise(fast)),
        Box::new(
            ObjectivePerturbation::new(budget, REPLACE, bounds, 2.0)
                .unwrap()
                .with_noise(fast),
        ),
        Box::new(
            FunctionalMechanism::new(epsilon, REPLACE, vec![6.0; 3], 6.0)
                .unwrap()
                .with_noise(fast),
        ),
    ]
}

#[test]
fn with_a_large_budget_all_find_the_truth() {
    let sample = sample();
    let data = Dataset::new(&sample.x[..], &sample.y[..], 3).unwrap();
    let mut rng = PrivacyRng::insecure_seeded(1);
    for method in all(15.0) {
        let release = method.fit(&data, &mut rng).unwrap();
        let name = method.name();
        let coefficients = release
            .outcome
            .coefficients()
            .unwrap_or_else(|| panic!("{name} refused"));
        let error =
            metrics::prediction_distance(&data, coefficients, &sample.coefficients).unwrap();
        assert!(error < 0.15, "{name}: {error}");
        let guarantee = method.guarantee();
        assert_eq!(guarantee.epsilon, 15.0);
        if let Some(mu) = guarantee.gdp_mu {
            assert!(
                gdp::delta(15.0, mu) <= 1e-6 * (1.0 + 1e-6),
                "{name} promises more than its noise gives"
            );
        }
    }
}

#[test]
fn with_a_small_budget_none_is_exact() {
    let sample = sample();
    let data = Dataset::new(&sample.x[..2000], &sample.y[..1000], 2).unwrap();
    let mut rng = PrivacyRng::insecure_seeded(2);
    let ols = Ols
        .fit(&data, &mut rng)
        .unwrap()
        .outcome
        .coefficients()
        .unwrap()
        .to_vec();
    for method in all(0.1) {
        // Settings for three columns do not fit two.
        match method.fit(&data, &mut rng) {
            Ok(release) => {
                if let Some(coefficients) = release.outcome.coefficients() {
                    assert!(
                        coefficients.iter().all(|b| b.is_finite()),
                        "{}",
                        method.name()
                    );
                    assert!(
                        metrics::prediction_distance(&data, coefficients, &ols).unwrap() > 1e-3,
                        "{}",
                        method.name()
                    );
                }
            }
            Err(error) => assert!(
                matches!(
                    error,
                    Error::ShapeMismatch {
                        expected: 2,
                        found: 3,
                        ..
                    }
                ),
                "{error}"
            ),
        }
    }
}

#[test]
fn least_squares_and_ridge_are_what_they_are_and_promise_nothing() {
    let sample = sample();
    let data = Dataset::new(&sample.x[..], &sample.y[..], 3).unwrap();
    let mut rng = PrivacyRng::insecure_seeded(1);
    let ols = Ols.fit(&data, &mut rng).unwrap();
    let small = Ridge::new(1e-6).unwrap().fit(&data, &mut rng).unwrap();
    let (ols_b, small_b) = (
        ols.outcome.coefficients().unwrap(),
        small.outcome.coefficients().unwrap(),
    );
    assert!(metrics::prediction_distance(&data, ols_b, small_b).unwrap() < 1e-9);
    let large = Ridge::new(1e12).unwrap().fit(&data, &mut rng).unwrap();
    assert!(
        large
            .outcome
            .coefficients()
            .unwrap()
            .iter()
            .all(|b| b.abs() < 1e-4)
    );
    assert!(!ols.guarantee.is_private() && ols.guarantee.to_string().contains("not private"));
    assert!((metrics::r_squared(&data, ols_b).unwrap() - 1.0 / 1.04).abs() < 0.01);
}

#[test]
fn conditioning_ruins_noisy_moments_and_not_issp() {
    let budget = PrivacyBudget::new(2.0, 1e-6).unwrap();
    let issp = dp_regression::Issp::new(&PlanInput::new(budget, 0.0025, 5.0))
        .unwrap()
        .with_noise(NoiseKind::Fast);
    let mut rng = PrivacyRng::insecure_seeded(5);
    let mut errors = Vec::new();
    for condition in [1.0, 1e4, 1e8, 1e12] {
        let mut data_rng = ChaCha8Rng::seed_from_u64(4);
        let sample = LinearModel::new(20_000, 3)
            .with_condition(condition)
            .sample(&mut data_rng)
            .unwrap();
        let data = Dataset::new(&sample.x[..], &sample.y[..], 3).unwrap();
        let ols = Ols
            .fit(&data, &mut rng)
            .unwrap()
            .outcome
            .coefficients()
            .unwrap()
            .to_vec();
        // AdaSSP is given the table's own bounds: better than it can have.
        let largest = sample
            .x
            .chunks(3)
            .map(|x| x.iter().map(|x| x * x).sum::<f64>().sqrt())
            .fold(0.0, f64::max);
        let bounds = RowBounds::new(
            largest,
            sample.y.iter().fold(0.0, |l: f64, y| l.max(y.abs())),
        )
        .unwrap();
        let adassp = AdaSsp::new(budget, REPLACE, bounds, Calibration::Tight)
            .unwrap()
            .with_noise(NoiseKind::Fast);
        let mut mean = |method: &dyn PrivateRegressor| {
            let runs = rounds(20);
            let mut total = 0.0;
            for _ in 0..runs {
                let release = method.fit(&data, &mut rng).unwrap();
                let coefficients = release.outcome.coefficients().unwrap_or(&[0.0; 3]);
                total += metrics::prediction_distance(&data, coefficients, &ols).unwrap();
            }
            total / runs as f64
        };
        errors.push((mean(&issp), mean(&adassp)));
    }
    println!("{errors:?}");
    let flat = errors.iter().map(|e| e.0);
    let ratio = flat.clone().fold(0.0, f64::max) / flat.fold(f64::INFINITY, f64::min);
    assert!(ratio < 1.6, "{errors:?}");
    assert!(
        errors[0].1 < errors[0].0,
        "AdaSSP should win at condition 1: {errors:?}"
    );
    assert!(errors[1..].iter().all(|e| e.1 > 5.0 * e.0), "{errors:?}");
}

/// Black-box audit on a canary far beyond the bounds: clipping is what protects.
#[test]
fn adassp_passes_and_its_mutant_without_clipping_is_caught() {
    let budget = PrivacyBudget::new(1.0, 1e-5).unwrap();
    let runs = rounds(3000);
    let table = |last: Option<f64>| {
        let mut x = vec![0.5; 200];
        let mut y: Vec<f64> = (0..200)
            .map(|i| if i % 2 == 0 { 0.3 } else { -0.3 })
            .collect();
        x.extend(last.map(|_| 1e3));
        y.extend(last);
        (x, y)
    };
    let mut rng = PrivacyRng::insecure_seeded(6);
    // Without clipping: bounds so large that they never clip, with the noise of bounds of 1.
    let mut run = |(x, y): &(Vec<f64>, Vec<f64>), clips: bool| -> Vec<Option<f64>> {
        let data = Dataset::new(&x[..], &y[..], 1).unwrap();
        (0..runs)
            .map(|_| {
                if clips {
                    let bounds = RowBounds::new(1.0, 1.0).unwrap();
                    let method =
                        AdaSsp::new(budget, Adjacency::AddRemove, bounds, Calibration::Tight)
                            .unwrap();
                    let release = method
                        .with_noise(NoiseKind::Fast)
                        .fit(&data, &mut rng)
                        .unwrap();
                    release.outcome.coefficients().map(|b| b[0])
                } else {
                    let sigma = 3.0_f64.sqrt() / budget.gdp_mu();
                    let noise =
                        dp_regression::noise::standard_normals(&mut rng, NoiseKind::Fast, 2);
                    let xx: f64 = x.iter().map(|x| x * x).sum::<f64>() + sigma * noise[0];
                    let xy: f64 =
                        x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>() + sigma * noise[1];
                    Some(xy / (xx + sigma))
                }
            })
            .collect()
    };
    let (with, without) = (table(Some(1e3)), table(None));
    let honest = BlackBox::new(budget)
        .audit(&run(&with, true), &run(&without, true))
        .unwrap();
    assert!(honest.passes(), "{honest:?}");
    let mutant = BlackBox::new(budget)
        .audit(&run(&with, false), &run(&without, false))
        .unwrap();
    assert!(!mutant.passes(), "{mutant:?}");
}

/// All private methods for tables of one column, for bounds of 1 and about 64 rows.
fn of_one_column(budget: PrivacyBudget, adjacency: Adjacency) -> Vec<Box<dyn PrivateRegressor>> {
    let bounds = RowBounds::new(1.0, 1.0).unwrap();
    let fast = NoiseKind::Fast;
    let mut methods: Vec<Box<dyn PrivateRegressor>> = vec![
        Box::new(
            AdaSsp::new(budget, adjacency, bounds, Calibration::Tight)
                .unwrap()
                .with_noise(fast),
        ),
        Box::new(
            Ssp::new(budget, adjacency, bounds, 5.0)
                .unwrap()
                .with_noise(fast),
        ),
        Box::new(
            BoostedAdaSsp::new(budget, adjacency, bounds)
                .with_rounds(5, 1.0)
                .unwrap()
                .with_noise(fast),
        ),
        Box::new(
            DpGd::new(budget, adjacency, vec![1.0], 1.0)
                .unwrap()
                .with_rows(64.0)
                .unwrap()
                .with_noise(fast),
        ),
        Box::new(
            RobustGd::new(budget, adjacency)
                .with_steps(4, 0.5)
                .unwrap()
                .with_rows(64.0)
                .unwrap()
                .with_noise(fast),
        ),
        Box::new(
            AdaClipSgd::new(budget, adjacency)
                .with_steps(4, 0.5)
                .unwrap()
                .with_rows(64.0)
                .unwrap()
                .with_noise(fast),
        ),
        Box::new(
            TukeyEm::new(budget, adjacency, 16)
                .unwrap()
                .with_noise(fast),
        ),
        Box::new(
            ObjectivePerturbation::new(budget, adjacency, bounds, 2.0)
                .unwrap()
                .with_noise(fast),
        ),
        Box::new(
            FunctionalMechanism::new(budget.epsilon(), adjacency, vec![1.0], 1.0)
                .unwrap()
                .with_noise(fast),
        ),
    ];
    if adjacency == Adjacency::AddRemove {
        methods.push(Box::new(
            DpSgd::new(budget, adjacency, vec![1.0], 1.0, 64.0, 0.2, 10)
                .unwrap()
                .with_noise(fast),
        ));
    }
    methods
}

#[test]
fn private_methods_pass_the_black_box_on_a_canary() {
    let budget = PrivacyBudget::new(1.0, 1e-5).unwrap();
    let runs = rounds(400);
    for adjacency in [REPLACE, Adjacency::AddRemove] {
        for method in of_one_column(budget, adjacency) {
            let mut rng = PrivacyRng::insecure_seeded(7);
            let mut run = |canary: Option<f64>| -> Vec<Option<f64>> {
                let mut y = vec![0.1; 63];
                y.extend(canary);
                let data = Dataset::new(vec![1.0; y.len()], y, 1).unwrap();
                (0..runs)
                    .map(|_| {
                        method
                            .fit(&data, &mut rng)
                            .unwrap()
                            .outcome
                            .coefficients()
                            .map(|b| b[0])
                    })
                    .collect()
            };
            let other = (adjacency == REPLACE).then_some(-1e6);
            let (a, b) = (run(Some(1e6)), run(other));
            let report = BlackBox::new(budget).audit(&a, &b).unwrap();
            assert!(report.passes(), "{}: {report:?}", method.name());
        }
    }
}

/// A row whose products overflow must not escape its clipping: it would show as an answer that is no number.
#[test]
fn rows_beyond_all_bounds_leave_answers_finite() {
    let budget = PrivacyBudget::new(1.0, 1e-5).unwrap();
    for adjacency in [REPLACE, Adjacency::AddRemove] {
        let mut methods = of_one_column(budget, adjacency);
        let small = DpGd::new(budget, adjacency, vec![1e-70], 1e-70).unwrap();
        methods.push(Box::new(small.with_rows(64.0).unwrap()));
        for method in methods {
            let mut rng = PrivacyRng::insecure_seeded(8);
            for (last_x, last_y) in [(1e150, -1e150), (-1e150, 1e-150), (1e-150, 1e150)] {
                let (mut x, mut y) = (vec![1.0; 63], vec![0.1; 63]);
                x.push(last_x);
                y.push(last_y);
                let data = Dataset::new(x, y, 1).unwrap();
                let release = method.fit(&data, &mut rng).unwrap();
                let b = release.outcome.coefficients().map_or(0.0, |b| b[0]);
                assert!(b.is_finite(), "{}: {b}", method.name());
            }
        }
    }
}

/// Bounds whose squares would vanish, or lose digits, are no bounds.
#[test]
fn bounds_that_nothing_can_be_computed_with_are_refused() {
    let budget = PrivacyBudget::new(1.0, 1e-5).unwrap();
    for bound in [0.0, 5e-324, 1e-71, 1e71, f64::NAN] {
        assert!(RowBounds::new(bound, 1.0).is_err());
        assert!(RowBounds::new(1.0, bound).is_err());
        assert!(DpGd::new(budget, REPLACE, vec![bound], 1.0).is_err());
    }
    assert!(RowBounds::new(1e-70, 1e70).is_ok());
}

/// Rows too few and too far apart to stand out of the noise do not set the threshold, and noise in empty bins does not.
#[test]
fn thresholds_are_found_where_noise_hides_the_tail() {
    // All rows have the length 1000, but for three in a hundred that are spread over many powers of two.
    let (x, y): (Vec<f64>, Vec<f64>) = (0..2000)
        .map(|row| {
            let sign = if row % 2 == 0 { 1.0 } else { -1.0 };
            if row < 1940 {
                (1000.0 * sign, sign)
            } else {
                (1000.0 * f64::from(row - 1938).exp2() * sign, 0.0)
            }
        })
        .unzip();
    let data = Dataset::new(x, y, 1).unwrap();
    let method = RobustGd::new(budget(2.0), REPLACE).with_noise(NoiseKind::Fast);
    let mut rng = PrivacyRng::insecure_seeded(2);
    for _ in 0..20 {
        let release = method.fit(&data, &mut rng).unwrap();
        let b = release.outcome.coefficients().unwrap()[0] * 1000.0;
        assert!((b - 1.0).abs() < 0.5, "{b}");
    }
}

#[test]
fn tukey_refuses_few_models_and_answers_with_many() {
    let sample = sample();
    let data = Dataset::new(&sample.x[..], &sample.y[..], 3).unwrap();
    let mut rng = PrivacyRng::insecure_seeded(9);
    let few = TukeyEm::new(budget(1.0), REPLACE, 16)
        .unwrap()
        .fit(&data, &mut rng)
        .unwrap();
    assert!(few.outcome.coefficients().is_none());
    let many = TukeyEm::new(budget(2.0), REPLACE, 1000)
        .unwrap()
        .fit(&data, &mut rng)
        .unwrap();
    let error = metrics::prediction_distance(
        &data,
        many.outcome.coefficients().unwrap(),
        &sample.coefficients,
    )
    .unwrap();
    assert!(error < 0.1, "{error}");
    assert!(TukeyEm::new(budget(1.0), REPLACE, 3).is_err());
}

#[test]
fn sampling_amplifies_and_descent_by_samples_works() {
    // Rate 1 is the plain Gaussian mechanism; a smaller rate needs less noise.
    let plain = rdp::sampled_gaussian(8, 1.0, 2.0);
    assert!((plain - 8.0 / 8.0).abs() < 1e-12);
    assert!(rdp::sampled_gaussian(8, 0.01, 2.0) < 0.01 * plain);
    // Two terms by hand at order 2: ln(1 + q^2 (e^{1/s^2} - 1)).
    let by_hand = (1.0 + 0.01 * 0.01 * (0.25_f64.exp() - 1.0)).ln();
    assert!((rdp::sampled_gaussian(2, 0.01, 2.0) - by_hand).abs() < 1e-12);
    let method = |adjacency| {
        DpSgd::new(
            budget(8.0),
            adjacency,
            vec![1.0; 3],
            1.0,
            20_000.0,
            0.05,
            60,
        )
    };
    assert!(matches!(
        method(REPLACE),
        Err(Error::UnsupportedAdjacency { .. })
    ));
    let method = method(Adjacency::AddRemove)
        .unwrap()
        .with_noise(NoiseKind::Fast);
    assert!(method.sigma() < 2.0, "{}", method.sigma());
    let sample = sample();
    let data = Dataset::new(&sample.x[..], &sample.y[..], 3).unwrap();
    let release = method
        .fit(&data, &mut PrivacyRng::insecure_seeded(1))
        .unwrap();
    let error = metrics::prediction_distance(
        &data,
        release.outcome.coefficients().unwrap(),
        &sample.coefficients,
    )
    .unwrap();
    assert!(error < 0.1, "{error}");
}

#[test]
fn settings_without_a_meaning_are_refused() {
    assert!(RowBounds::new(0.0, 1.0).is_err() && RowBounds::new(1.0, f64::NAN).is_err());
    assert!(Ridge::new(-1.0).is_err());
    assert!(DpGd::new(budget(1.0), REPLACE, vec![1.0, 0.0], 1.0).is_err());
    assert!(FunctionalMechanism::new(0.0, REPLACE, vec![1.0], 1.0).is_err());
    let bounds = RowBounds::new(1.0, 1.0).unwrap();
    assert!(
        BoostedAdaSsp::new(budget(1.0), REPLACE, bounds)
            .with_rounds(0, 1.0)
            .is_err()
    );
    let _ =
        BoostedAdaSsp::new(budget(1.0), REPLACE, bounds).with_ridge(BoostedRidge::NoisyEigenvalue);
    // Where rows come and go their number must not be used.
    let data = Dataset::new(vec![1.0; 10], vec![1.0; 10], 1).unwrap();
    let descent = DpGd::new(budget(1.0), Adjacency::AddRemove, vec![1.0], 1.0).unwrap();
    let mut rng = PrivacyRng::insecure_seeded(1);
    assert!(matches!(
        descent.fit(&data, &mut rng),
        Err(Error::BadParameter { name: "rows", .. })
    ));
    assert!(
        descent
            .with_rows(10.0)
            .unwrap()
            .fit(&data, &mut rng)
            .is_ok()
    );
}

#[test]
fn recommendations_follow_condition_and_rows() {
    let input = PlanInput::new(budget(1.0), 0.5, 1.0);
    assert_eq!(
        recommend(&input, 1e5, 10, 1e6).unwrap(),
        Recommendation::Issp
    );
    assert_eq!(
        recommend(&input, 2e4, 5, 1.0).unwrap(),
        Recommendation::AdaSsp
    );
    assert_eq!(
        recommend(&input, 300.0, 10, 1e6).unwrap(),
        Recommendation::MoreRows
    );
}

#[test]
fn the_paper_profile_has_the_published_cap_and_promises_nothing() {
    let profile = PaperProfile::new(budget(1.0), 0.0025, 5.0, 1.0)
        .unwrap()
        .with_noise(NoiseKind::Fast);
    // 98 at (1, 1e-6): three times ours.
    assert_eq!(profile.score_cap(), 98);
    assert!(!profile.guarantee().is_private());
    let sample = sample();
    let data = Dataset::new(&sample.x[..], &sample.y[..], 3).unwrap();
    let release = profile
        .fit(&data, &mut PrivacyRng::insecure_seeded(1))
        .unwrap();
    let error = metrics::prediction_distance(
        &data,
        release.outcome.coefficients().unwrap(),
        &sample.coefficients,
    )
    .unwrap();
    assert!(error < 0.1, "{error}");
    assert!(PaperProfile::new(budget(1.0), 0.0, 5.0, 1.0).is_err());
}
