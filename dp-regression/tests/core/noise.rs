//! Noise has the distribution that it should have, exactly.

use dp_regression::accounting::gdp;
use dp_regression::noise::{standard_laplaces, standard_normals};
use dp_regression::{NoiseKind, PrivacyRng};
use statrs::distribution::{ContinuousCDF, Laplace, Normal};

/// The Kolmogorov-Smirnov statistic times the root of the number of values.
fn distance(mut values: Vec<f64>, cdf: impl Fn(f64) -> f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let n = values.len() as f64;
    let gap = |(index, x): (usize, &f64)| {
        let p = cdf(*x);
        (p - index as f64 / n)
            .abs()
            .max((p - (index + 1) as f64 / n).abs())
    };
    values.iter().enumerate().map(gap).fold(0.0, f64::max) * n.sqrt()
}

#[test]
fn normals_and_laplaces_pass_kolmogorov_and_smirnov() {
    for kind in [NoiseKind::Hardened, NoiseKind::Fast] {
        let mut rng = PrivacyRng::insecure_seeded(5);
        let values = standard_normals(&mut rng, kind, 40_000);
        // 1.95 is exceeded with probability 0.001.
        let found = distance(values.clone(), |x| Normal::standard().cdf(x));
        assert!(found < 1.95, "{kind:?}: {found}");
        let laplace = Laplace::new(0.0, 1.0).unwrap();
        let found = distance(standard_laplaces(&mut rng, kind, 40_000), |x| {
            laplace.cdf(x)
        });
        assert!(found < 1.95, "{kind:?}: {found}");
        // Moments, to four standard errors.
        let n = values.len() as f64;
        let moment = |power: i32| values.iter().map(|x| x.powi(power)).sum::<f64>() / n;
        assert!(moment(1).abs() < 4.0 / n.sqrt());
        assert!((moment(2) - 1.0).abs() < 4.0 * (2.0 / n).sqrt());
        assert!((moment(4) - 3.0).abs() < 4.0 * (96.0 / n).sqrt());
    }
}

#[test]
fn tails_of_the_exact_normals_are_right() {
    let mut rng = PrivacyRng::insecure_seeded(6);
    let values = standard_normals(&mut rng, NoiseKind::Hardened, 100_000);
    for threshold in [2.0, 3.0] {
        let expected = 2.0 * Normal::standard().sf(threshold) * 1e5;
        let found = values.iter().filter(|x| x.abs() > threshold).count() as f64;
        assert!(
            (found - expected).abs() < 4.0 * expected.sqrt(),
            "{threshold}: {found} instead of {expected}"
        );
    }
}

/// The low digits of a hardened number carry no pattern: numbers in [1/2, 1) use all of their last places, unlike `k 2^-53` and ratios of them.
#[test]
fn the_last_digits_are_random() {
    let mut rng = PrivacyRng::insecure_seeded(7);
    let values = standard_normals(&mut rng, NoiseKind::Hardened, 40_000);
    // Just below a small power of two there are more floats than a grid of 2^-53 has points.
    let small: Vec<f64> = values
        .into_iter()
        .map(f64::abs)
        .filter(|x| *x < 0.0625)
        .collect();
    assert!(small.len() > 1000);
    let odd = small.iter().filter(|x| x.to_bits() & 1 == 1).count() as f64;
    let n = small.len() as f64;
    assert!(
        (odd - 0.5 * n).abs() < 4.0 * 0.5 * n.sqrt(),
        "{odd} of {n} are odd"
    );
}

#[test]
fn the_system_gives_different_noise_every_time() {
    let mut first = PrivacyRng::from_os().unwrap();
    let mut second = PrivacyRng::from_os().unwrap();
    assert!(!first.is_seeded() && PrivacyRng::insecure_seeded(0).is_seeded());
    let draw = |rng: &mut PrivacyRng| standard_normals(rng, NoiseKind::Hardened, 4);
    assert_ne!(draw(&mut first), draw(&mut second));
    assert_eq!(
        draw(&mut PrivacyRng::insecure_seeded(3)),
        draw(&mut PrivacyRng::insecure_seeded(3))
    );
    let shown = format!("{:?}", PrivacyRng::insecure_seeded(3));
    assert!(!shown.contains('['), "the state must not be shown: {shown}");
    assert!(gdp::delta(0.0, 1.0) > 0.38);
}
