//! Audits: the method passes, and every mutant of it is caught (design, section 7.3).

use dp_regression::accounting::gdp;
use dp_regression::audit::{BlackBox, GaussianLaw, Neighbours, OutputLaw};
use dp_regression::filter::{self, LevelSets};
use dp_regression::ladder::{Ladder, LadderInput};
use dp_regression::noise::{standard_laplaces, standard_normals};
use dp_regression::{
    Adjacency, Dataset, Issp, NoiseKind, Plan, PlanInput, PrivacyBudget, PrivacyRng,
    PrivateRegressor,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::support::rounds;

fn budget() -> PrivacyBudget {
    PrivacyBudget::new(2.0, 1e-5).unwrap()
}

fn plan(adjacency: Adjacency) -> Plan {
    Plan::search(&PlanInput::new(budget(), 2e-4, 1.0).with_adjacency(adjacency)).unwrap()
}

fn dataset((x, y): &(Vec<f64>, Vec<f64>)) -> Dataset<'_> {
    Dataset::new(&x[..], &y[..], 1).unwrap()
}

/// The larger delta of the two directions.
fn delta(a: &OutputLaw, b: &OutputLaw, epsilon: f64) -> f64 {
    a.delta(b, epsilon)
        .unwrap()
        .max(b.delta(a, epsilon).unwrap())
}

fn laws(issp: &Issp, pair: &Neighbours) -> [OutputLaw; 2] {
    [
        issp.output_law(&dataset(&pair.first)).unwrap(),
        issp.output_law(&dataset(&pair.second)).unwrap(),
    ]
}

fn gaussian(mean: f64, deviation: f64) -> GaussianLaw {
    GaussianLaw {
        mean: vec![mean],
        factor: vec![deviation],
    }
}

#[test]
fn the_white_box_agrees_with_closed_forms() {
    let released = |law| OutputLaw {
        refusal: 0.0,
        gaussian: Some(law),
    };
    for mu in [0.05, 0.2, 1.0, 3.0] {
        let (a, b) = (released(gaussian(mu, 1.0)), released(gaussian(0.0, 1.0)));
        for epsilon in [-1.0, 0.0, 0.3, 1.0, 2.0] {
            let (found, expected) = (a.delta(&b, epsilon).unwrap(), gdp::delta(epsilon, mu));
            assert!(
                (found - expected).abs() <= 1e-8 * expected + 1e-14,
                "mu {mu}, epsilon {epsilon}: {found:e}, {expected:e}"
            );
        }
    }
    // Different widths, against numerical integration of the densities.
    for (mean, deviation) in [(0.3, 1.1), (-0.4, 0.8), (0.0, 1.5)] {
        for (p, q) in [
            ((mean, deviation), (0.0, 1.0)),
            ((0.0, 1.0), (mean, deviation)),
        ] {
            let density = |x: f64, (m, s): (f64, f64)| {
                (-0.5 * ((x - m) / s).powi(2)).exp() / (s * (2.0 * std::f64::consts::PI).sqrt())
            };
            let step = 1e-4;
            let expected: f64 = (-200_000..200_000)
                .map(|i| {
                    let x = step * f64::from(i);
                    (density(x, p) - 0.4_f64.exp() * density(x, q)).max(0.0) * step
                })
                .sum();
            let found = gaussian(p.0, p.1)
                .hockey_stick(&gaussian(q.0, q.1), 0.4)
                .unwrap();
            assert!(
                (found - expected).abs() < 1e-7 + 1e-5 * expected,
                "{found} instead of {expected}"
            );
        }
    }
}

#[test]
fn the_white_box_agrees_with_sampling_in_five_dimensions() {
    // Design 7.3: d = 5, one eigenvalue off by 0.02, mu = 0.3; the divergence bound is 7.3e-4 at epsilon 1.
    let d = 5;
    let law = |mean: f64, eigenvalue: f64| {
        let mut factor = vec![0.0; d * d];
        (0..d).for_each(|i| factor[i * d + i] = 1.0);
        factor[0] = eigenvalue.sqrt();
        GaussianLaw {
            mean: [vec![mean], vec![0.0; d - 1]].concat(),
            factor,
        }
    };
    let exact: Vec<f64> = [1.02, 0.98]
        .iter()
        .map(|&x| law(0.3, x).hockey_stick(&law(0.0, 1.0), 1.0).unwrap())
        .collect();
    let mut rng = PrivacyRng::insecure_seeded(1);
    let samples = 300_000;
    for (exact, eigenvalue) in exact.iter().zip([1.02_f64, 0.98]) {
        let z = standard_normals(&mut rng, NoiseKind::Fast, samples);
        let gain: f64 = z
            .iter()
            .map(|z| {
                let x = 0.3 + eigenvalue.sqrt() * z;
                let loss = -0.5 * eigenvalue.ln() - 0.5 * z * z + 0.5 * x * x;
                (1.0 - (1.0 - loss).exp()).max(0.0)
            })
            .sum();
        let found = gain / samples as f64;
        assert!(
            (found - exact).abs() < 0.3 * exact + 2e-5,
            "{found:e} instead of {exact:e}"
        );
        let bound =
            dp_regression::accounting::rdp::DeltaCurve::gaussian_pair(0.3, 0.02, 0, 1.0).delta(1.0);
        assert!(*exact <= bound, "{exact:e} exceeds the bound {bound:e}");
    }
}

#[test]
fn releases_on_edge_pairs_keep_the_promise() {
    for adjacency in [Adjacency::Replace, Adjacency::AddRemove] {
        let plan = plan(adjacency);
        let pair = Neighbours::edge(&plan).unwrap();
        let [a, b] = laws(&Issp::with_plan(plan.clone()), &pair);
        assert_eq!(
            (a.refusal, b.refusal),
            (plan.refusal()[0], plan.refusal()[0])
        );
        let found = delta(&a, &b, 2.0);
        assert!(found <= 1e-5, "{adjacency}: {found:e}");
        // The pair is no straw man: at half of epsilon the promise breaks.
        assert!(delta(&a, &b, 0.6) > 1e-5);
    }
}

#[test]
fn releases_at_every_pair_of_scores_keep_the_promise() {
    for adjacency in [Adjacency::Replace, Adjacency::AddRemove] {
        let plan = plan(adjacency);
        let issp = Issp::with_plan(plan.clone());
        for outliers in 0..=plan.score_cap() {
            let pair = Neighbours::outliers(&plan, outliers).unwrap();
            let [a, b] = laws(&issp, &pair);
            let expected = plan.refusal()[outliers];
            assert_eq!(a.refusal, expected, "score {outliers}");
            let found = delta(&a, &b, 2.0);
            assert!(found <= 1e-5, "{adjacency}, {outliers} outliers: {found:e}");
        }
    }
}

/// The whole bound, not just tables that were made: the worst Gaussian pair that the lemmas allow, at every pair of neighbouring scores.
#[test]
fn the_refusal_table_pays_for_the_worst_releases_that_the_lemmas_allow() {
    for adjacency in [Adjacency::Replace, Adjacency::AddRemove] {
        let plan = plan(adjacency);
        let (mu, gamma) = (plan.mu(), plan.ladder().gamma());
        let mut worst: f64 = 0.0;
        for pair in plan.refusal().windows(2) {
            for (own, other) in [(pair[0], pair[1]), (pair[1], pair[0]), (pair[0], pair[0])] {
                for eigenvalue in [1.0 - gamma, 1.0, 1.0 + gamma] {
                    let law = |refusal, gaussian| OutputLaw {
                        refusal,
                        gaussian: Some(gaussian),
                    };
                    let a = law(own, gaussian(mu, eigenvalue.sqrt()));
                    let b = law(other, gaussian(0.0, 1.0));
                    worst = worst.max(delta(&a, &b, 2.0));
                }
            }
        }
        assert!(worst <= 1e-5, "{worst:e}");
        assert!(worst > 5e-6, "the table could climb faster: {worst:e}");
    }
}

#[test]
fn mutant_with_a_quarter_of_the_noise_is_caught() {
    let plan = plan(Adjacency::Replace);
    let issp = Issp::with_plan(plan.clone());
    let quarter = laws(&issp, &Neighbours::edge(&plan).unwrap()).map(|mut law| {
        law.gaussian
            .as_mut()
            .unwrap()
            .factor
            .iter_mut()
            .for_each(|f| *f *= 0.25);
        law
    });
    assert!(delta(&quarter[0], &quarter[1], 2.0) > 1e-5);
}

#[test]
fn mutant_without_refusals_is_caught() {
    let plan = plan(Adjacency::Replace);
    let issp = Issp::with_plan(plan.clone());
    // Beyond the cap this mutant falls back on what all levels keep.
    let answer = |table: &(Vec<f64>, Vec<f64>)| {
        let data = dataset(table);
        let mut law = issp.output_law(&data).unwrap();
        law.refusal = 0.0;
        if law.gaussian.is_none() {
            let mean = filter::diagnose(&data, &[]).unwrap().unwrap().coefficients;
            let factor = vec![plan.noise_scale() / (data.rows() as f64).sqrt()];
            law.gaussian = Some(GaussianLaw { mean, factor });
        }
        law
    };
    // Outliers lie on alternating sides: one of two neighbouring numbers of them does not cancel.
    let worst = [plan.score_cap() - 1, plan.score_cap()].map(|outliers| {
        let pair = Neighbours::outliers(&plan, outliers).unwrap();
        delta(&answer(&pair.first), &answer(&pair.second), 2.0)
    });
    assert!(worst[0].max(worst[1]) > 0.1, "{worst:?}");
}

#[test]
fn mutant_with_the_published_refusal_rule_is_caught() {
    // P(pass | z) of the public code of the predecessor, at epsilon 1/3, on scores of sensitivity 2 (design, section 2.3).
    let (epsilon, delta_part): (f64, f64) = (1.0 / 3.0, 1.67e-7);
    let cut = 2.0 * ((1.0 - delta_part) / delta_part).ln() / epsilon + 4.0;
    let pass = |z: f64| match z {
        z if z <= 0.0 => 1.0,
        z if z >= cut => 0.0,
        z => (1.0 - delta_part * (0.5 * epsilon * (z - 2.0)).exp()).max(0.0),
    };
    let law = |z: f64| OutputLaw {
        refusal: 1.0 - pass(z),
        gaussian: Some(gaussian(0.0, 1.0)),
    };
    let worst = (0..100)
        .map(|z| delta(&law(f64::from(z)), &law(f64::from(z + 2)), epsilon))
        .fold(0.0, f64::max);
    assert!((0.23..0.25).contains(&worst), "{worst}");
    // Ours, on the same budget, is what it says.
    let table = dp_regression::refusal::split(epsilon, delta_part, 0.0).unwrap();
    for scores in table.windows(2) {
        let law = |refusal: f64| OutputLaw {
            refusal,
            gaussian: Some(gaussian(0.0, 1.0)),
        };
        assert!(delta(&law(scores[0]), &law(scores[1]), epsilon) <= delta_part * (1.0 + 1e-6));
    }
}

#[test]
fn mutant_with_a_window_of_one_is_caught() {
    let honest = plan(Adjacency::Replace);
    let (k, n) = (honest.score_cap(), 12_000_usize);
    // Noise for a window of k, weights from a window of 1.
    let input = *honest.ladder().input();
    let noise = Ladder::new(LadderInput { window: k, ..input })
        .unwrap()
        .unwrap()
        .center_shift()
        / honest.mu();
    let single = Ladder::new(LadderInput { window: 1, ..input })
        .unwrap()
        .unwrap();
    let rho = single.residual_threshold(k);
    // Half of k rows sit at the threshold of the only level that counts; the canary decides on which side.
    let edge = k / 2;
    let table = |canary: f64| {
        let mut y = vec![0.0; n];
        y[n - 1] = canary;
        let mean = edge as f64 * rho / n as f64;
        y[..edge]
            .iter_mut()
            .for_each(|y| *y = rho + mean + 1e-5 * rho);
        (vec![1.0; n], y)
    };
    // Moving the canary moves the fit, and all residuals, by 2/n.
    let tables = [table(-0.9), table(0.9)];
    let laws = tables.each_ref().map(|table| {
        let data = dataset(table);
        let levels = filter::one_pass(&data, &single).unwrap();
        let score = levels.score(k);
        assert!(score < k);
        let kept: Vec<usize> = levels.weights(k).into_iter().map(|(row, _)| row).collect();
        let mean = filter::diagnose(&data, &kept)
            .unwrap()
            .unwrap()
            .coefficients;
        let factor = vec![noise / ((n - kept.len()) as f64).sqrt()];
        (
            kept.len(),
            OutputLaw {
                refusal: honest.refusal()[score],
                gaussian: Some(GaussianLaw { mean, factor }),
            },
        )
    });
    assert_eq!(
        (laws[0].0, laws[1].0),
        (edge, 0),
        "the pair must decide over {edge} rows"
    );
    assert!(delta(&laws[0].1, &laws[1].1, 2.0) > 1e-5);
}

/// The filter of the design with one change: all rows whose residual is too large leave at once.
fn batch_levels(data: &Dataset<'_>, ladder: &Ladder) -> LevelSets {
    let cap = ladder.input().score_cap;
    let level = |level: usize| {
        let mut removed: Vec<usize> = Vec::new();
        loop {
            let fit = filter::diagnose(data, &removed).unwrap()?;
            let threshold = ladder.residual_threshold(level);
            let worst: Vec<usize> = (0..data.rows())
                .filter(|&row| fit.residuals[row].abs() > threshold)
                .collect();
            if worst.is_empty() {
                return Some(removed);
            }
            removed.extend(worst);
            removed.sort_unstable();
            if removed.len() > cap {
                return None;
            }
        }
    };
    LevelSets::new((0..ladder.levels()).map(level).collect())
}

#[test]
fn mutant_that_removes_in_batches_is_caught() {
    let plan = plan(Adjacency::Replace);
    let n = 10_000;
    let clean = (vec![1.0; n], vec![0.0; n]);
    let mut with_outlier = clean.clone();
    // One outlier so gross that the first fit misses every other row by more than any threshold.
    with_outlier.1[0] = 1e6 * n as f64;
    let law = |levels: &LevelSets| {
        let refusal = plan.refusal()[levels.score(plan.score_cap())];
        OutputLaw {
            refusal,
            gaussian: Some(gaussian(0.0, plan.noise_scale() / 100.0)),
        }
    };
    let mutants =
        [&clean, &with_outlier].map(|table| law(&batch_levels(&dataset(table), plan.ladder())));
    assert!(delta(&mutants[0], &mutants[1], 2.0) > 0.9);
    let honest = [&clean, &with_outlier]
        .map(|table| law(&filter::one_pass(&dataset(table), plan.ladder()).unwrap()));
    assert!(delta(&honest[0], &honest[1], 2.0) <= 1e-5);
}

#[test]
fn mutant_with_a_residual_bound_from_the_table_is_caught() {
    let plan = plan(Adjacency::Replace);
    let n = 6000;
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let y: Vec<f64> = (0..n).map(|_| rng.random_range(-0.5..0.5)).collect();
    let mut other = y.clone();
    other[0] = 1e3;
    let laws = [y, other].map(|y| {
        let table = (vec![1.0; n], y);
        let data = dataset(&table);
        let fit = filter::diagnose(&data, &[]).unwrap().unwrap();
        let largest = fit
            .residuals
            .iter()
            .fold(0.0_f64, |largest, e| largest.max(e.abs()));
        Issp::with_plan(plan.with_residual_bound(1.001 * largest).unwrap())
            .output_law(&data)
            .unwrap()
    });
    assert!(delta(&laws[0], &laws[1], 2.0) > 0.5);
}

#[test]
fn mutant_tukey_with_the_inverse_scale_is_caught() {
    // The test's noisy distance, with noise of scale eps' instead of 1/eps', at neighbouring distances.
    let (epsilon, runs) = (1.0_f64, 40_000);
    let half = epsilon / 2.0;
    let threshold = (1.0_f64 / (2.0 * 1e-5)).ln() / half;
    let mut rng = PrivacyRng::insecure_seeded(3);
    let mut passes = |distance: f64, scale: f64| -> Vec<Option<f64>> {
        let noise = standard_laplaces(&mut rng, NoiseKind::Fast, runs);
        noise
            .into_iter()
            .map(|x| (distance + scale * x > threshold).then_some(0.0))
            .collect()
    };
    let audit = BlackBox::new(PrivacyBudget::new(half, 1e-5).unwrap());
    let distance = threshold.floor();
    let (a, b) = (passes(distance, half), passes(distance + 1.0, half));
    assert!(!audit.audit(&a, &b).unwrap().passes());
    let (a, b) = (
        passes(distance, 1.0 / half),
        passes(distance + 1.0, 1.0 / half),
    );
    assert!(audit.audit(&a, &b).unwrap().passes());
}

#[test]
fn the_black_box_passes_the_method_and_finds_most_of_its_epsilon() {
    // A small table keeps the runs short; the noise is large accordingly.
    let budget = PrivacyBudget::new(2.0, 1e-2).unwrap();
    let plan = Plan::search(&PlanInput::new(budget, 2e-3, 1.0)).unwrap();
    let pair = Neighbours::edge(&plan).unwrap();
    let issp = Issp::with_plan(plan).with_noise(NoiseKind::Fast);
    let mut rng = PrivacyRng::insecure_seeded(4);
    let runs = rounds(4000);
    let mut run = |table: &(Vec<f64>, Vec<f64>)| -> Vec<Option<f64>> {
        let data = dataset(table);
        (0..runs)
            .map(|_| {
                issp.fit(&data, &mut rng)
                    .unwrap()
                    .outcome
                    .coefficients()
                    .map(|b| b[0])
            })
            .collect()
    };
    let (a, b) = (run(&pair.first), run(&pair.second));
    let report = BlackBox::new(budget).audit(&a, &b).unwrap();
    assert!(report.passes(), "{report:?}");
    assert!(report.epsilon_lower > 0.1, "{report:?}");
    // The same runs without the noise's width: a mutant for sure.
    let sharp = |runs: &[Option<f64>], mean: f64| -> Vec<Option<f64>> {
        runs.iter()
            .map(|run| run.map(|x| mean + 0.05 * (x - mean)))
            .collect()
    };
    let law = laws(&issp, &pair).map(|law| law.gaussian.unwrap().mean[0]);
    assert!(
        !BlackBox::new(budget)
            .audit(&sharp(&a, law[0]), &sharp(&b, law[1]))
            .unwrap()
            .passes()
    );
}

#[test]
fn the_bound_of_the_black_box_has_its_coverage() {
    // Randomised response with epsilon 1: the bound must stay below it, and come close with many runs.
    let audit = BlackBox::new(PrivacyBudget::new(1.0, 1e-9).unwrap());
    let p = 1.0_f64.exp() / (1.0 + 1.0_f64.exp());
    let runs = 100_000;
    let found = audit.bound(
        (p * runs as f64) as usize,
        ((1.0 - p) * runs as f64) as usize,
        runs,
    );
    assert!((0.95..1.0).contains(&found), "{found}");
    assert!(audit.bound(10, 12, 100) < 1e-9);
    assert!(audit.audit(&[Some(1.0); 10], &[Some(1.0); 10]).is_err());
    assert!(audit.audit(&[Some(1.0); 200], &[Some(1.0); 100]).is_err());
}
