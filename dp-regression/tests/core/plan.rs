//! Ladders, divergences, refusal tables and plans, against numbers that were computed elsewhere.

use dp_regression::accounting::rdp::{DeltaCurve, gaussian_pair};
use dp_regression::accounting::{composition, gdp};
use dp_regression::ladder::{Ladder, LadderInput};
use dp_regression::plan::{gaussian_leverage_bound, gaussian_residual_bound};
use dp_regression::{Adjacency, Error, Plan, PlanInput, PrivacyBudget, PtrDesign, refusal};

fn close(found: f64, expected: f64, relative: f64) {
    assert!(
        (found - expected).abs() <= relative * expected.abs(),
        "{found} instead of {expected}"
    );
}

fn ladder(leverage_bound: f64, score_cap: usize, window: usize, adjacency: Adjacency) -> Ladder {
    let input = LadderInput {
        leverage_bound,
        residual_bound: 1.0,
        score_cap,
        window,
        adjacency,
        relative_error: 0.0,
    };
    Ladder::new(input).unwrap().unwrap()
}

#[test]
fn ladders_have_the_reference_values() {
    let one = ladder(2e-4, 35, 35, Adjacency::Replace);
    close(one.tau_star(), 2.042900919e-4, 1e-9);
    close(one.rho_star(), 1.490171483, 1e-9);
    close(one.kappa(), 2.971428571, 1e-9);
    close(one.gamma(), 6.07033416e-4, 1e-8);
    close(one.center_shift(), 0.06330148908, 1e-9);
    let one = ladder(2e-4, 35, 35, Adjacency::AddRemove);
    close(one.rho_star(), 1.469197478, 1e-9);
    close(one.gamma(), 4.027433241e-4, 1e-9);
    close(one.center_shift(), 0.0414069845, 1e-8);
    let one = ladder(1e-3, 20, 10, Adjacency::Replace);
    close(one.rho_star(), 1.615951668, 1e-9);
    close(one.center_shift(), 0.2046862005, 1e-9);
    let one = ladder(0.02, 3, 3, Adjacency::AddRemove);
    close(one.rho_star(), 1.501050699, 1e-9);
    close(one.gamma(), 0.0406504065, 1e-8);
    close(one.center_shift(), 0.4004755879, 1e-9);
}

#[test]
fn the_margin_for_rounding_costs_next_to_nothing() {
    let exact = ladder(2e-4, 35, 35, Adjacency::Replace);
    let wide = Ladder::new(LadderInput {
        relative_error: 1e-7,
        ..*exact.input()
    })
    .unwrap()
    .unwrap();
    assert!(wide.center_shift() > exact.center_shift());
    assert!(wide.center_shift() < 1.0001 * exact.center_shift());
    // Of both tables' shapes, in the norm of either.
    let shape = wide.kappa() * wide.tau_star();
    assert!(wide.gamma() - shape >= 0.999_999 * 1e-8 * (1.0 + shape));
    for level in 0..=exact.levels() {
        assert!(wide.leverage_threshold(level) >= exact.leverage_threshold(level));
        assert!(wide.residual_threshold(level) >= exact.residual_threshold(level));
    }
}

#[test]
fn a_ladder_that_would_divide_by_nothing_is_none() {
    let input = LadderInput {
        leverage_bound: 0.02,
        residual_bound: 1.0,
        score_cap: 17,
        window: 17,
        adjacency: Adjacency::Replace,
        relative_error: 0.0,
    };
    assert!(Ladder::new(input).unwrap().is_none());
    for (leverage_bound, residual_bound) in [
        (0.0, 1.0),
        (1.0, 1.0),
        (f64::NAN, 1.0),
        (0.1, 0.0),
        (0.1, f64::INFINITY),
        (0.1, 1e-101),
        (0.1, 1e101),
    ] {
        let bad = LadderInput {
            leverage_bound,
            residual_bound,
            ..input
        };
        assert!(matches!(Ladder::new(bad), Err(Error::BadParameter { .. })));
    }
    assert!(
        Ladder::new(LadderInput {
            score_cap: 0,
            ..input
        })
        .is_err()
    );
    assert!(Ladder::new(LadderInput { window: 0, ..input }).is_err());
}

#[test]
fn divergences_have_the_reference_values() {
    close(gaussian_pair(10.0, 0.15, 6e-4), 0.1131795677, 1e-9);
    close(gaussian_pair(50.0, 0.15, 6e-4), 0.5798907412, 1e-9);
    close(gaussian_pair(200.0, 0.15, 6e-4), 2.556628697, 1e-9);
    close(
        DeltaCurve::gaussian_pair(0.15, 6e-4, 0, 1.0).delta(0.6),
        7.04e-6,
        2e-3,
    );
    close(gdp::delta(0.6, 0.15), 1.443e-6, 1e-3);
}

#[test]
fn a_curve_bounds_the_exact_gaussian_from_above_and_inverts() {
    for mu in [0.05, 0.2, 1.0] {
        let curve = DeltaCurve::gaussian_pair(mu, 0.0, 0, 4.0);
        for step in -8..=16 {
            let epsilon = 0.25 * f64::from(step);
            let (bound, exact) = (curve.delta(epsilon), gdp::delta(epsilon, mu));
            assert!(
                bound >= exact,
                "mu {mu}, epsilon {epsilon}: {bound} < {exact}"
            );
            if bound > 1e-12 && bound < 0.01 {
                let back = curve.epsilon(bound);
                assert!((back - epsilon).abs() < 1e-9);
            }
        }
    }
}

#[test]
fn split_tables_have_the_reference_lengths() {
    let length = |eta| refusal::split(0.5, 5e-7, eta).unwrap().len() - 1;
    assert_eq!([length(0.0), length(1e-3), length(1e-2)], [54, 40, 35]);
    assert_eq!(refusal::split(1.0, 1e-6, 0.0).unwrap().len() - 1, 28);
    let table = refusal::split(0.5, 5e-7, 0.0).unwrap();
    for (found, expected) in table
        .iter()
        .zip([0.0, 5e-7, 1.32436e-6, 2.6835e-6, 4.92435e-6])
    {
        close(*found, expected, 1e-5);
    }
}

/// Every pair of neighbouring scores is `(epsilon, delta)`-indistinguishable, and not by much: the table could not climb faster.
#[test]
fn split_tables_are_private_and_tight() {
    let (epsilon, delta): (f64, f64) = (0.5, 5e-7);
    let table = refusal::split(epsilon, delta, 1e-3).unwrap();
    let mut worst: f64 = 0.0;
    for pair in table.windows(2) {
        for (a, b) in [(pair[0], pair[1]), (pair[1], pair[0])] {
            let needed = (a - epsilon.exp() * b).max(1.0 - a - epsilon.exp() * (1.0 - b));
            worst = worst.max(needed);
        }
    }
    assert!(worst <= delta * (1.0 + 1e-6), "{worst:e}");
    assert!(worst >= delta * (1.0 - 1e-6), "{worst:e}");
}

#[test]
fn the_joint_table_has_the_reference_values() {
    let budget = PrivacyBudget::new(1.0, 1e-6).unwrap();
    let curve = DeltaCurve::gaussian_pair(0.17, 6e-4, 0, 1.0);
    let table = refusal::joint(&budget, &curve, 1e-3).unwrap();
    // The reference rounds epsilon up to a grid of 400 points, which costs up to one more step.
    assert!(
        (33..=34).contains(&(table.len() - 1)),
        "{}",
        table.len() - 1
    );
    let reference = [
        0.001, 0.002719, 0.007393, 0.0201, 0.05463, 0.1485, 0.3289, 0.4777, 0.5935,
    ];
    for (found, expected) in table.iter().zip(reference) {
        assert!(
            *found >= expected * 0.999 && *found <= expected * 1.03,
            "{found} instead of {expected}"
        );
    }
    // A release that is worse than the budget has no table, however slowly it would climb.
    assert!(refusal::joint(&budget, &DeltaCurve::gaussian_pair(0.3, 6e-4, 0, 1.0), 1e-3).is_none());
}

#[test]
fn the_joint_table_ends_by_itself() {
    let budget = PrivacyBudget::new(1.0, 1e-6).unwrap();
    let table = refusal::joint(
        &budget,
        &DeltaCurve::gaussian_pair(0.17, 6e-4, 0, 1.0),
        1e-3,
    )
    .unwrap();
    // The last score that can be released is released so rarely that delta pays for it, and its step up is within (i).
    let before = table[table.len() - 2];
    assert!(1.0 - before <= 1e-6);
    assert!(table.windows(2).all(|pair| pair[0] < pair[1]));
}

/// For large epsilon a bound on a refusal soon rounds to 1; that must not end a table.
#[test]
fn tables_end_where_delta_pays_for_it() {
    let delta = 1e-6;
    for epsilon in [1.0, 15.0, 20.0, 40.0, 100.0, 800.0] {
        let budget = PrivacyBudget::new(epsilon, delta).unwrap();
        let curve = DeltaCurve::gaussian_pair(0.17, 6e-4, 0, epsilon);
        for eta in [0.0, 1e-3] {
            let tables = [
                refusal::split(epsilon, delta, eta),
                refusal::joint(&budget, &curve, eta),
            ];
            for table in tables {
                let table = table.unwrap();
                let before = table[table.len() - 2];
                assert!(1.0 - before <= delta, "epsilon {epsilon}: {before}");
            }
        }
    }
    // A delta that no refusal probability of 53 bits comes close enough to has no table.
    assert!(refusal::split(40.0, 1e-17, 1e-3).is_none());
}

#[test]
fn plans_reach_the_predicted_noise() {
    let budget = PrivacyBudget::new(1.0, 1e-6).unwrap();
    let (l, r) = (
        gaussian_leverage_bound(1e5, 10),
        gaussian_residual_bound(1e5, 1.0),
    );
    close(l, 5.49e-4, 2e-3);
    close(r, 5.33, 2e-3);
    let plan = Plan::search(&PlanInput::new(budget, l, r)).unwrap();
    // The prototype had k = 29, a = 21, c = 5.76; a finer search finds at most a little less noise.
    assert!(
        (5.4..=5.80).contains(&plan.noise_scale()),
        "{}",
        plan.noise_scale()
    );
    close(plan.expected_error(1e5, 10), 0.0576, 0.05);
    assert_eq!(plan.refusal().len(), plan.score_cap() + 1);
    assert_eq!(plan.refusal()[0], 1e-3);
    assert_eq!(plan.refusal()[plan.score_cap()], 1.0);
    let add_remove =
        Plan::search(&PlanInput::new(budget, l, r).with_adjacency(Adjacency::AddRemove)).unwrap();
    close(add_remove.expected_error(1e5, 10), 0.0374, 0.05);
}

#[test]
fn plans_of_the_published_table_are_matched() {
    // n, d, and the expected error for epsilon 0.5, 1, 2, 4 with replaced rows.
    let table = [
        (1e5, 10, [0.384, 0.0571, 0.0158, 0.0059]),
        (1e6, 10, [0.0070, 0.0024, 0.0010, 0.0005]),
        (1e6, 100, [0.0880, 0.0219, 0.0077, 0.0032]),
    ];
    for (n, d, errors) in table {
        for (epsilon, expected) in [0.5, 1.0, 2.0, 4.0].into_iter().zip(errors) {
            let budget = PrivacyBudget::new(epsilon, 1e-6).unwrap();
            let input = PlanInput::new(
                budget,
                gaussian_leverage_bound(n, d),
                gaussian_residual_bound(n, 1.0),
            );
            let found = Plan::search(&input).unwrap().expected_error(n, d);
            assert!(
                found <= expected * 1.1 + 5e-5,
                "n {n}, d {d}, epsilon {epsilon}: {found} instead of {expected}"
            );
            assert!(
                found >= expected * 0.8 - 5e-5,
                "n {n}, d {d}, epsilon {epsilon}: {found} instead of {expected}"
            );
        }
    }
}

#[test]
fn errors_are_linear_in_columns_and_fall_with_rows() {
    let budget = PrivacyBudget::new(1.0, 1e-6).unwrap();
    let error = |n: f64, d: usize| {
        let input = PlanInput::new(
            budget,
            gaussian_leverage_bound(n, d),
            gaussian_residual_bound(n, 1.0),
        );
        Plan::search(&input).unwrap().expected_error(n, d)
    };
    let slope = |low: f64, high: f64, factor: f64| (high / low).ln() / factor.ln();
    let by_columns = slope(error(1e6, 10), error(1e6, 80), 8.0);
    assert!((0.85..1.15).contains(&by_columns), "{by_columns}");
    let by_rows = slope(error(1e6, 10), error(1e7, 10), 10.0);
    assert!((-1.6..-0.9).contains(&by_rows), "{by_rows}");
}

#[test]
fn noise_is_proportional_to_the_residual_bound() {
    let budget = PrivacyBudget::new(1.0, 1e-6).unwrap();
    let plan = Plan::search(&PlanInput::new(budget, 1e-4, 1.0)).unwrap();
    let other = Plan::search(&PlanInput::new(budget, 1e-4, 1e6)).unwrap();
    close(other.noise_scale(), 1e6 * plan.noise_scale(), 1e-9);
    close(
        plan.with_residual_bound(7.0).unwrap().noise_scale(),
        7.0 * plan.noise_scale(),
        1e-12,
    );
}

#[test]
fn an_infeasible_bound_says_which_one_is_feasible() {
    let budget = PrivacyBudget::new(1.0, 1e-6).unwrap();
    let Err(Error::Infeasible(error)) = Plan::search(&PlanInput::new(budget, 0.05, 1.0)) else {
        panic!("a leverage bound of 0.05 has no plan");
    };
    let largest = error.max_leverage_bound;
    assert!(largest > 0.0 && largest < 0.05);
    assert!(Plan::search(&PlanInput::new(budget, largest, 1.0)).is_ok());
    assert!(matches!(
        Plan::search(&PlanInput::new(budget, 1.1 * largest, 1.0)),
        Err(Error::Infeasible(_))
    ));
    let rows = error.rows_needed(10).unwrap() as f64;
    assert!(gaussian_leverage_bound(rows, 10) <= largest);
    assert!(gaussian_leverage_bound(0.95 * rows, 10) > largest);
}

#[test]
fn split_designs_and_covariances_have_plans_too() {
    let budget = PrivacyBudget::new(1.0, 1e-6).unwrap();
    let input = PlanInput::new(budget, 1e-4, 1.0);
    let joint = Plan::search(&input).unwrap();
    let split = Plan::search(&input.with_design(PtrDesign::Split {
        epsilon: 0.5,
        delta: 5e-7,
    }))
    .unwrap();
    assert!(
        split.noise_scale() > joint.noise_scale(),
        "the joint accounting should need less noise"
    );
    assert!(split.score_cap() >= 40);
    let more = Plan::search(&input.with_covariance_draws(10_000)).unwrap();
    assert!(more.noise_scale() > joint.noise_scale());
    assert!(
        more.noise_scale() < 1.5 * joint.noise_scale(),
        "{} and {}",
        more.noise_scale(),
        joint.noise_scale()
    );
    assert!(
        Plan::fixed(&input, joint.score_cap(), joint.window(), joint.mu())
            .unwrap()
            .is_some()
    );
    assert!(
        Plan::fixed(&input, 3, 3, joint.mu()).unwrap().is_none(),
        "three steps cannot climb to 1"
    );
}

#[test]
fn settings_without_a_meaning_are_refused() {
    let budget = PrivacyBudget::new(1.0, 1e-6).unwrap();
    let good = PlanInput::new(budget, 1e-4, 1.0);
    let bad = [
        PlanInput::new(budget, 0.0, 1.0),
        PlanInput::new(budget, 1.0, 1.0),
        PlanInput::new(budget, f64::NAN, 1.0),
        PlanInput::new(budget, 1e-4, 0.0),
        PlanInput::new(budget, 1e-4, f64::INFINITY),
        good.with_refusal_probability(0.5),
        good.with_refusal_probability(-0.1),
        PlanInput::new(budget, 1e-4, 1e-101),
        PlanInput::new(budget, 1e-4, 1e101),
        good.with_relative_error(0.1),
        good.with_relative_error(0.0),
        good.with_relative_error(1e-10),
        good.with_rounding_reserve(1e-6),
        good.with_design(PtrDesign::Split {
            epsilon: 1.0,
            delta: 5e-7,
        }),
        good.with_design(PtrDesign::Split {
            epsilon: 0.5,
            delta: 1e-6,
        }),
    ];
    for input in bad {
        assert!(
            matches!(Plan::search(&input), Err(Error::BadParameter { .. })),
            "{input:?}"
        );
    }
    for (epsilon, delta) in [
        (0.0, 1e-6),
        (-1.0, 1e-6),
        (f64::NAN, 1e-6),
        (f64::INFINITY, 1e-6),
        (1.0, 0.0),
        (1.0, 1.0),
    ] {
        assert!(matches!(
            PrivacyBudget::new(epsilon, delta),
            Err(Error::BadParameter { .. })
        ));
    }
}

#[test]
fn a_plan_comes_back_from_its_file() {
    let budget = PrivacyBudget::new(1.0, 1e-6).unwrap();
    let plan = Plan::search(&PlanInput::new(budget, 1e-3, 1.0)).unwrap();
    let text = serde_json::to_string(&plan).unwrap();
    let back: Plan = serde_json::from_str(&text).unwrap();
    assert_eq!(back, plan);
    // Numbers that follow from others are computed again, and those that do not fit are refused.
    let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
    value["noise-scale"] = 1e-9.into();
    value["ladder"]["gamma"] = 0.0.into();
    assert_eq!(serde_json::from_value::<Plan>(value.clone()).unwrap(), plan);
    value["mu"] = 0.5.into();
    assert!(serde_json::from_value::<Plan>(value.clone()).is_err());
    value["input"]["budget"]["epsilon"] = (-1.0).into();
    assert!(serde_json::from_value::<Plan>(value).is_err());
}

#[test]
fn gaussian_differential_privacy_has_the_known_numbers() {
    close(gdp::mu(1.0, 1e-6), 0.2367, 1e-3);
    close(gdp::delta(1.0 / 3.0, 0.0844), 8.8e-7, 0.02);
    close(gdp::delta(1.0, 0.146), 1.3e-13, 0.1);
    close(gdp::compose(&[3.0, 4.0]), 5.0, 1e-15);
    assert!(gdp::delta(2.0, gdp::mu(2.0, 1e-9)) <= 1e-9);
}

#[test]
fn compositions_are_ordered() {
    let (epsilon, delta, count) = (0.1, 1e-8, 100);
    let basic = composition::basic(&vec![(epsilon, delta); count as usize]);
    close(basic.0, 10.0, 1e-12);
    let advanced = composition::advanced(epsilon, delta, count, 1e-6);
    let optimal = composition::optimal_epsilon(epsilon, delta, count, advanced.1);
    assert!(
        optimal < advanced.0 && advanced.0 < basic.0,
        "{optimal}, {}, {}",
        advanced.0,
        basic.0
    );
    // One release composed with nothing is itself.
    close(composition::optimal_delta(1.0, 1e-6, 1, 1.0), 1e-6, 1e-9);
    close(
        composition::optimal_delta(1.0, 0.0, 1, 0.0),
        (1.0_f64.exp() - 1.0) / (1.0_f64.exp() + 1.0),
        1e-12,
    );
    // Two, by hand: the loss is 2 with probability p^2, 0 with 2pq, -2 with q^2.
    let (p, q) = (
        1.0_f64.exp() / (1.0 + 1.0_f64.exp()),
        1.0 / (1.0 + 1.0_f64.exp()),
    );
    close(
        composition::optimal_delta(1.0, 0.0, 2, 0.5),
        p * p - 0.5_f64.exp() * q * q,
        1e-10,
    );
}
