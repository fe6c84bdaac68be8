//! Accuracy on hard tables, equivariance, and independence of how a table is stored.

use dp_regression::dataset::Visitor;
use dp_regression::filter::{self, diagnose};
use dp_regression::synth::LinearModel;
use dp_regression::{
    Dataset, Issp, Outcome, Plan, PlanInput, PrivacyBudget, PrivacyRng, PrivateRegressor, Result,
    RowBlocks,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const LONGLEY_Y: [f64; 16] = [
    60323., 61122., 60171., 61187., 63221., 63639., 64989., 63761., 66019., 67857., 68169., 66513.,
    68655., 69564., 69331., 70551.,
];
const LONGLEY_X: [[f64; 16]; 6] = [
    [
        83.0, 88.5, 88.2, 89.5, 96.2, 98.1, 99.0, 100.0, 101.2, 104.6, 108.4, 110.8, 112.6, 114.2,
        115.7, 116.9,
    ],
    [
        234289., 259426., 258054., 284599., 328975., 346999., 365385., 363112., 397469., 419180.,
        442769., 444546., 482704., 502601., 518173., 554894.,
    ],
    [
        2356., 2325., 3682., 3351., 2099., 1932., 1870., 3578., 2904., 2822., 2936., 4681., 3813.,
        3931., 4806., 4007.,
    ],
    [
        1590., 1456., 1616., 1650., 3099., 3594., 3547., 3350., 3048., 2857., 2798., 2637., 2552.,
        2514., 2572., 2827.,
    ],
    [
        107608., 108632., 109773., 110929., 112075., 113270., 115094., 116219., 117388., 118734.,
        120445., 121950., 123366., 125368., 127852., 130081.,
    ],
    [
        1947., 1948., 1949., 1950., 1951., 1952., 1953., 1954., 1955., 1956., 1957., 1958., 1959.,
        1960., 1961., 1962.,
    ],
];
/// NIST's certified coefficients, the intercept first.
const LONGLEY_COEFFICIENTS: [f64; 7] = [
    -3482258.63459582,
    15.0618722713733,
    -0.358191792925910e-1,
    -2.02022980381683,
    -1.03322686717359,
    -0.511041056535807e-1,
    1829.15146461355,
];

fn longley() -> Dataset<'static> {
    let x: Vec<f64> = (0..16)
        .flat_map(|i| std::iter::once(1.0).chain(LONGLEY_X.iter().map(move |column| column[i])))
        .collect();
    Dataset::new(x, LONGLEY_Y.to_vec(), 7).unwrap()
}

fn close(found: f64, expected: f64, relative: f64) {
    assert!(
        (found - expected).abs() <= relative * expected.abs(),
        "{found} instead of {expected}"
    );
}

#[test]
fn longley_has_the_certified_coefficients() {
    let found = diagnose(&longley(), &[]).unwrap().unwrap();
    for (found, expected) in found.coefficients.iter().zip(LONGLEY_COEFFICIENTS) {
        close(*found, expected, 1e-12);
    }
    close(found.leverages.iter().sum(), 7.0, 1e-12);
    // The certified residual sum of squares.
    close(
        found.residuals.iter().map(|e| e * e).sum(),
        836424.055505915,
        1e-12,
    );
}

#[test]
fn leave_one_out_agrees_with_a_fit_without_the_row() {
    // e_i(all but i) = e_i / (1 - h_i), on the hardest table at hand.
    let data = longley();
    let all = diagnose(&data, &[]).unwrap().unwrap();
    for row in [0, 4, 15] {
        let without = diagnose(&data, &[row]).unwrap().unwrap();
        let (x, y) = data.row(row).unwrap();
        let fit: f64 = x
            .iter()
            .zip(&without.coefficients)
            .map(|(x, b)| x * b)
            .sum();
        close(
            y - fit,
            all.residuals[row] / (1.0 - all.leverages[row]),
            1e-6,
        );
    }
}

#[test]
fn polynomials_up_to_the_limit_of_doubles_are_fitted() {
    // Monomials of degree 0..=d on integers: exactly representable, with condition numbers far beyond 1e16.
    let d = 9;
    let n = 60;
    let x: Vec<f64> = (0..n)
        .flat_map(|i| (0..=d).map(move |power| f64::from(i + 1).powi(power)))
        .collect();
    let truth: Vec<f64> = (0..=d)
        .map(|power| f64::from(power + 1) * 10.0_f64.powi(-power))
        .collect();
    let y: Vec<f64> = x
        .chunks(d as usize + 1)
        .enumerate()
        .map(|(i, row)| {
            row.iter().zip(&truth).map(|(x, b)| x * b).sum::<f64>()
                + if i % 2 == 0 { 1.0 } else { -1.0 }
        })
        .collect();
    let data = Dataset::new(x, y, d as usize + 1).unwrap();
    let found = diagnose(&data, &[]).unwrap().unwrap();
    close(found.leverages.iter().sum(), f64::from(d + 1), 1e-10);
    // Leverages of a symmetric grid are symmetric.
    for i in 0..n as usize {
        close(
            found.leverages[i],
            found.leverages[n as usize - 1 - i],
            1e-9,
        );
    }
}

fn small_plan() -> Plan {
    let budget = PrivacyBudget::new(4.0, 1e-5).unwrap();
    Plan::search(&PlanInput::new(budget, 0.01, 6.0)).unwrap()
}

/// A table that passes the plan, with a condition number of its second moments.
fn table(condition: f64, seed: u64) -> (Vec<f64>, Vec<f64>) {
    let model = LinearModel::new(3000, 3).with_condition(condition);
    let sample = model.sample(&mut ChaCha8Rng::seed_from_u64(seed)).unwrap();
    (sample.x, sample.y)
}

fn mix(x: &[f64], t: &[[f64; 3]; 3]) -> Vec<f64> {
    x.chunks(3)
        .flat_map(|row| (0..3).map(move |j| (0..3).map(|i| row[i] * t[i][j]).sum::<f64>()))
        .collect()
}

#[test]
fn a_linear_change_of_the_columns_changes_the_law_as_it_changes_least_squares() {
    let issp = Issp::with_plan(small_plan());
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    for round in 0..4 {
        let (x, y) = table(1e2, 20 + round);
        let stretch = 10.0_f64.powi(round as i32);
        let mut t = [[0.0; 3]; 3];
        t.iter_mut().enumerate().for_each(|(i, row)| {
            row.iter_mut()
                .for_each(|x| *x = rng.random_range(-1.0..1.0));
            row[i] += 2.0;
            row.iter_mut().for_each(|x| *x *= stretch.powi(i as i32));
        });
        let law = issp
            .output_law(&Dataset::new(x.clone(), y.clone(), 3).unwrap())
            .unwrap();
        let mixed = issp
            .output_law(&Dataset::new(mix(&x, &t), y, 3).unwrap())
            .unwrap();
        assert_eq!(law.refusal, mixed.refusal);
        let (law, mixed) = (law.gaussian.unwrap(), mixed.gaussian.unwrap());
        let size = law.mean.iter().map(|b| b * b).sum::<f64>().sqrt();
        // T times the mixed coefficients are the plain ones; covariances likewise.
        let back = |v: &[f64]| -> Vec<f64> {
            (0..3)
                .map(|i| (0..3).map(|j| t[i][j] * v[j]).sum())
                .collect()
        };
        for (found, expected) in back(&mixed.mean).iter().zip(&law.mean) {
            assert!((found - expected).abs() <= 1e-7 * size);
        }
        let covariance = |columns: &[Vec<f64>]| -> Vec<f64> {
            (0..9)
                .map(|at| columns.iter().map(|c| c[at / 3] * c[at % 3]).sum())
                .collect()
        };
        let plain: Vec<Vec<f64>> = law.factor.chunks(3).map(<[f64]>::to_vec).collect();
        let moved: Vec<Vec<f64>> = mixed.factor.chunks(3).map(back).collect();
        let (plain, moved) = (covariance(&plain), covariance(&moved));
        let size = plain.iter().map(|x| x.abs()).fold(0.0, f64::max);
        for (found, expected) in moved.iter().zip(&plain) {
            assert!((found - expected).abs() <= 1e-7 * size);
        }
    }
}

#[test]
fn the_same_noise_on_triangularly_mixed_columns_gives_the_mixed_release() {
    let issp = Issp::with_plan(small_plan());
    let (x, y) = table(1e4, 5);
    let t = [[1e3, 2.0, -5e4], [0.0, 1e-3, 0.7], [0.0, 0.0, 20.0]];
    let release = |x: Vec<f64>| {
        let data = Dataset::new(x, y.clone(), 3).unwrap();
        let release = issp
            .fit(&data, &mut PrivacyRng::insecure_seeded(1))
            .unwrap();
        release.outcome.coefficients().unwrap().to_vec()
    };
    let (plain, mixed) = (release(x.clone()), release(mix(&x, &t)));
    let size = plain.iter().map(|b| b * b).sum::<f64>().sqrt();
    for i in 0..3 {
        let back: f64 = (0..3).map(|j| t[i][j] * mixed[j]).sum();
        assert!(
            (back - plain[i]).abs() <= 1e-7 * size,
            "{back} instead of {}",
            plain[i]
        );
    }
}

#[test]
fn columns_of_any_scale_are_fitted() {
    let issp = Issp::with_plan(small_plan());
    let (x, y) = table(1.0, 6);
    let law = issp
        .output_law(&Dataset::new(x.clone(), y.clone(), 3).unwrap())
        .unwrap();
    let scales = [1e-140, 1e145, 1.0];
    let scaled = x
        .chunks(3)
        .flat_map(|row| (0..3).map(|j| row[j] * scales[j]))
        .collect::<Vec<_>>();
    let far = issp
        .output_law(&Dataset::new(scaled, y, 3).unwrap())
        .unwrap();
    let (law, far) = (law.gaussian.unwrap(), far.gaussian.unwrap());
    for (j, scale) in scales.iter().enumerate() {
        assert!((far.mean[j] * scale - law.mean[j]).abs() < 1e-9);
    }
}

/// A table in blocks of odd sizes.
struct Pieces<'a> {
    x: &'a [f64],
    y: &'a [f64],
    size: usize,
}

impl RowBlocks for Pieces<'_> {
    fn rows(&self) -> usize {
        self.y.len()
    }

    fn columns(&self) -> usize {
        3
    }

    fn visit(&self, visitor: &mut Visitor<'_>) -> Result<()> {
        self.x
            .chunks(3 * self.size)
            .zip(self.y.chunks(self.size))
            .try_for_each(|(x, y)| visitor(x, y))
    }
}

#[test]
fn a_table_gives_the_same_bits_wherever_it_lies() {
    let issp = Issp::with_plan(small_plan());
    let model = LinearModel::new(20_000, 3).with_condition(1e6);
    let sample = model
        .sample(&mut ChaCha8Rng::seed_from_u64(8))
        .unwrap()
        .with_outliers(1, 1.0, 100.0);
    let release = |data: &Dataset<'_>| {
        issp.fit(data, &mut PrivacyRng::insecure_seeded(4))
            .unwrap()
            .outcome
    };
    let memory = release(&Dataset::new(&sample.x[..], &sample.y[..], 3).unwrap());
    assert!(matches!(memory, Outcome::Released(_)));
    for size in [1, 777, 8192, 50_000] {
        let pieces = Pieces {
            x: &sample.x,
            y: &sample.y,
            size,
        };
        assert_eq!(release(&Dataset::from_blocks(&pieces).unwrap()), memory);
    }
    let one_thread = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .unwrap();
    let again =
        one_thread.install(|| release(&Dataset::new(&sample.x[..], &sample.y[..], 3).unwrap()));
    assert_eq!(again, memory);
}

#[test]
fn conditioning_raises_precision_and_not_the_score() {
    let plan = small_plan();
    for condition in [1.0, 1e6, 1e12, 1e18, 1e24] {
        let model = LinearModel::new(3000, 3).with_condition(condition);
        let sample = model.sample(&mut ChaCha8Rng::seed_from_u64(9)).unwrap();
        let data = Dataset::new(sample.x, sample.y, 3).unwrap();
        let levels = filter::one_pass(&data, plan.ladder()).unwrap();
        assert_eq!(levels.score(plan.score_cap()), 0, "condition {condition:e}");
        let found = diagnose(&data, &[]).unwrap().unwrap();
        close(found.leverages.iter().sum(), 3.0, 1e-9);
    }
}

/// A row so hostile that no precision is enough for residuals while it is there is an outlier like any other.
#[test]
fn a_row_that_ruins_residuals_costs_one_score() {
    let plan = small_plan();
    let mut rng = ChaCha8Rng::seed_from_u64(10);
    let (mut x, mut y) = (Vec::new(), Vec::new());
    for _ in 0..2000 {
        let [a, b, g, h, e] = std::array::from_fn(|_| rng.random_range(-1.0..1.0));
        x.extend([a, a + 1e-12 * g, b, b + 1e-12 * h]);
        y.push(e);
    }
    let score = |x: &[f64], y: &[f64]| {
        let data = Dataset::new(x, y, 4).unwrap();
        let levels = filter::one_pass(&data, plan.ladder()).unwrap();
        let score = levels.score(plan.score_cap());
        for level in [0, plan.score_cap(), plan.ladder().levels() - 1] {
            let one = filter::from_scratch(&data, plan.ladder(), level).unwrap();
            assert_eq!(one.as_deref(), levels.removed(level));
        }
        score
    };
    assert_eq!(score(&x, &y), 0);
    x[..4].copy_from_slice(&[0.0, 1.0, 0.0, 0.0]);
    y[0] = 1e40;
    assert_eq!(score(&x, &y), 1);
}

/// Numbers whose squares vanish are scaled even where a larger one hides them: that can be in a row that is removed.
#[test]
fn tiny_columns_with_one_large_number_cost_one_score() {
    let plan = small_plan();
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let mut x: Vec<f64> = (0..2000)
        .map(|_| 1e-165 * rng.random_range(0.5..1.0))
        .collect();
    let y: Vec<f64> = (0..2000).map(|_| rng.random_range(-1.0..1.0)).collect();
    let score = |x: &[f64]| {
        let data = Dataset::new(x, &y[..], 1).unwrap();
        let levels = filter::one_pass(&data, plan.ladder()).unwrap();
        levels.score(plan.score_cap())
    };
    assert_eq!(score(&x), 0);
    x[7] = 1.0;
    assert_eq!(score(&x), 1);
}
