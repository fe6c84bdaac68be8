//! Metrics against closed forms.

use burn::tensor::Device;
use faer::{Mat, mat};
use rand::RngExt;
use rand_distr::StandardNormal;
use sobolev_budget::Error;
use sobolev_budget::generative::{MlpConfig, jacobian_norms, metrics, uniform_latents};

use super::{arc, mean, rng, tensor};

/// Points whose mean is `shift` and whose covariance is diagonal with these entries, exactly: two on every axis and copies of the mean.
fn cross(shift: f64, variances: &[f64]) -> Mat<f64> {
    let n = variances.len();
    // Two points at distance r have the sum of squares 2 r^2, to be divided by 2 n - 1.
    Mat::from_fn(2 * n, n, |i, j| {
        let sign = if i % 2 == 0 { 1.0 } else { -1.0 };
        let radius = (variances[j] * (2 * n - 1) as f64 / 2.0).sqrt();
        shift + if i / 2 == j { sign * radius } else { 0.0 }
    })
}

#[test]
fn the_frechet_distance_has_its_closed_form() {
    let (a, b) = (cross(0.0, &[1.0, 4.0, 0.0]), cross(0.5, &[9.0, 1.0, 0.25]));
    let expected = 3.0 * 0.25 + 4.0 + 1.0 + 0.25;
    let found = metrics::frechet_distance(a.as_ref(), b.as_ref()).unwrap();
    assert!((found - expected).abs() < 1e-9, "{found}");
    let back = metrics::frechet_distance(b.as_ref(), a.as_ref()).unwrap();
    assert!((back - expected).abs() < 1e-9, "{back}");
    assert!(metrics::frechet_distance(b.as_ref(), b.as_ref()).unwrap() < 1e-9);
}

/// Covariances that do not commute: for two dimensions, `tr (A^1/2 B A^1/2)^1/2` is the root of `tr AB + 2 (det AB)^1/2`.
#[test]
fn the_frechet_distance_turns_with_its_sets() {
    let stretched = cross(0.0, &[4.0, 1.0]);
    let turn = mat![[0.8, 0.6], [-0.6, 0.8]];
    let other = cross(0.0, &[9.0, 0.25]) * &turn;
    let found = metrics::frechet_distance(stretched.as_ref(), other.as_ref()).unwrap();
    // R' diag(9, 1/4) R
    let (xx, yy) = (9.0 * 0.64 + 0.25 * 0.36, 9.0 * 0.36 + 0.25 * 0.64);
    let root = (4.0 * xx + yy + 2.0 * (4.0_f64 * 9.0 * 0.25).sqrt()).sqrt();
    let expected = 5.0 + 9.25 - 2.0 * root;
    assert!((found - expected).abs() < 1e-9, "{found} {expected}");
}

#[test]
fn the_sliced_distance_of_a_shift_is_the_mean_square_of_its_projections() {
    let mut rng = rng(1);
    let n = 3;
    let points = Mat::from_fn(40, n, |_, _| rng.sample::<f64, _>(StandardNormal));
    let shifted = Mat::from_fn(40, n, |i, j| {
        points[(i, j)] + if j == 0 { 2.0 } else { 0.0 }
    });
    let distance = |a: &Mat<f64>, b: &Mat<f64>, rng: &mut _| {
        metrics::sliced_wasserstein(a.as_ref(), b.as_ref(), 4_000, rng).unwrap()
    };
    // W_2^2 along a direction is the square of the shift's projection, whose mean is |shift|^2 / n.
    let found = distance(&points, &shifted, &mut rng);
    assert!((found - (4.0_f64 / 3.0).sqrt()).abs() < 0.03, "{found}");
    assert_eq!(distance(&points, &points, &mut rng), 0.0);
    // Every point twice is the same law.
    let twice = Mat::from_fn(80, n, |i, j| points[(i / 2, j)]);
    assert!(distance(&points, &twice, &mut rng) < 1e-12);
}

/// On a line the distance is that of quantiles, here of lists of different lengths, worked out by hand.
#[test]
fn the_sliced_distance_on_a_line_pairs_quantiles() {
    let (a, b) = (mat![[0.0], [3.0]], mat![[0.0], [0.0], [6.0]]);
    // Mass 1/3 from 0 to 0, 1/6 from 0 to 0, 1/6 from 3 to 0, 1/3 from 3 to 6.
    let expected = (9.0_f64 / 6.0 + 9.0 / 3.0).sqrt();
    let found = metrics::sliced_wasserstein(a.as_ref(), b.as_ref(), 3, &mut rng(1)).unwrap();
    assert!((found - expected).abs() < 1e-12);
}

#[test]
fn nearest_points_and_planes_have_their_errors() {
    let train = mat![[0.0, 0.0], [2.0, 0.0], [4.0, 0.0]];
    let points = mat![[0.0, 1.0], [3.5, 0.0]];
    let distance = metrics::mean_nearest_distance(points.as_ref(), train.as_ref()).unwrap();
    assert!((distance - 0.75).abs() < 1e-12);
    let error = metrics::nearest_error(points.as_ref(), train.as_ref()).unwrap();
    assert!((error - 0.625).abs() < 1e-12);
    // The line is the first axis, and the point its mean.
    let pca = |m| metrics::pca_error(train.as_ref(), points.as_ref(), m).unwrap();
    assert!((pca(0) - (5.0 + 2.25) / 2.0).abs() < 1e-12);
    assert!((pca(1) - 0.5).abs() < 1e-12);
    assert!(pca(2) < 1e-12);
}

/// Straight paths through an affine map: the energy is the mean squared length of their images, however many steps there are.
#[test]
fn the_energy_of_a_path_does_not_depend_on_its_steps() {
    let device = Device::flex();
    let map = MlpConfig::new(2, 3)
        .with_widths(vec![])
        .init(1, &device)
        .unwrap();
    let (a, b) = (
        uniform_latents(20, 2, &mut rng(1)),
        uniform_latents(20, 2, &mut rng(2)),
    );
    let energy = |steps| {
        metrics::interpolation_energy(&map, a.as_ref(), b.as_ref(), steps, &device).unwrap()
    };
    assert!(energy(1) > 0.0);
    assert!((energy(7) / energy(1) - 1.0).abs() < 1e-4);
}

#[test]
fn the_rms_derivative_is_the_root_of_the_mean_jacobian_norm() {
    let device = Device::flex();
    let network = super::network(2, 5, 3);
    let z = uniform_latents(20_000, 2, &mut rng(1));
    let found = metrics::rms_derivative(&network, z.as_ref(), &device, &mut rng(2)).unwrap();
    let exact = mean(jacobian_norms(&network, tensor(&z))).sqrt();
    assert!((found / exact - 1.0).abs() < 0.02, "{found} {exact}");
}

#[test]
fn sets_that_do_not_fit_are_refused() {
    let (points, other) = (arc(10), Mat::<f64>::zeros(10, 3));
    let found = metrics::frechet_distance(points.as_ref(), other.as_ref());
    assert!(matches!(
        found,
        Err(Error::Size {
            expected: 2,
            found: 3,
            ..
        })
    ));
    let one = Mat::<f64>::zeros(1, 2);
    let found = metrics::frechet_distance(points.as_ref(), one.as_ref());
    assert!(matches!(
        found,
        Err(Error::Size {
            expected: 2,
            found: 1,
            ..
        })
    ));
    let none = Mat::<f64>::zeros(0, 2);
    let found = metrics::nearest_error(none.as_ref(), points.as_ref());
    assert!(matches!(found, Err(Error::EmptyMeasure)));
    let nan = Mat::from_fn(2, 2, |i, j| if (i, j) == (1, 0) { f64::NAN } else { 0.0 });
    let found = metrics::sliced_wasserstein(points.as_ref(), nan.as_ref(), 5, &mut rng(1));
    assert!(matches!(found, Err(Error::NonFinite { row: 1, column: 0 })));
    let found = metrics::sliced_wasserstein(points.as_ref(), points.as_ref(), 0, &mut rng(1));
    assert!(matches!(found, Err(Error::Parameter { .. })));
    let found = metrics::pca_error(points.as_ref(), points.as_ref(), 3);
    assert!(matches!(found, Err(Error::Parameter { .. })));
}
