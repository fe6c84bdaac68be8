//! Latents are drawn where the fitted ones lie.

use faer::{Mat, mat};
use sobolev_budget::Error;
use sobolev_budget::generative::LatentDensity;

use super::rng;

#[test]
fn a_histogram_is_uniform_in_each_cell_and_weighs_cells_by_their_latents() {
    // Four cells of width 1/2: three latents in the first, one in the last, on its closed end.
    let latents = mat![[-1.0], [-0.9], [-0.6], [1.0]];
    let density = LatentDensity::histogram(latents.as_ref(), 4).unwrap();
    let drawn = density.sample(20_000, &mut rng(1));
    let share = |low: f64, high: f64| {
        let inside = (0..20_000).filter(|&i| low <= drawn[(i, 0)] && drawn[(i, 0)] < high);
        inside.count() as f64 / 20_000.0
    };
    assert!((share(-1.0, -0.5) - 0.75).abs() < 0.015);
    assert!((share(-1.0, -0.75) - 0.375).abs() < 0.015);
    assert!((share(0.5, 1.0) - 0.25).abs() < 0.015);
    assert_eq!(share(-0.5, 0.5), 0.0);
}

#[test]
fn a_kernel_density_spreads_each_latent_by_its_bandwidth_and_stays_in_the_cube() {
    let latents = mat![[0.0, 0.5, 1.0]];
    let density = LatentDensity::kernel(latents.as_ref(), 0.05).unwrap();
    let drawn = density.sample(20_000, &mut rng(2));
    let deviation = |j: usize| {
        let squares = (0..20_000).map(|i| (drawn[(i, j)] - latents[(0, j)]).powi(2));
        (squares.sum::<f64>() / 20_000.0).sqrt()
    };
    assert!((deviation(0) / 0.05 - 1.0).abs() < 0.02);
    assert!((deviation(1) / 0.05 - 1.0).abs() < 0.02);
    let on_the_face = (0..20_000).filter(|&i| drawn[(i, 2)] == 1.0).count();
    assert!((on_the_face as f64 / 20_000.0 - 0.5).abs() < 0.02);
}

#[test]
fn few_dimensions_take_a_histogram_and_more_a_kernel() {
    // A kernel spreads over the cell's border, a histogram does not.
    let beyond = |m: usize| {
        let latents = Mat::from_fn(1, m, |_, _| 0.001);
        let density = LatentDensity::fit(latents.as_ref()).unwrap();
        let drawn = density.sample(1_000, &mut rng(3));
        (0..1_000).filter(|&i| drawn[(i, 0)] < 0.0).count()
    };
    assert_eq!((beyond(1), beyond(2)), (0, 0));
    assert!(beyond(3) > 400);
}

#[test]
fn a_seed_gives_the_same_latents() {
    let latents = Mat::from_fn(30, 4, |i, j| ((i * 7 + j) as f64).sin());
    let density = LatentDensity::fit(latents.as_ref()).unwrap();
    assert_eq!(
        density.sample(9, &mut rng(1)),
        density.sample(9, &mut rng(1))
    );
    assert_ne!(
        density.sample(9, &mut rng(1)),
        density.sample(9, &mut rng(2))
    );
}

#[test]
fn what_is_no_set_of_latents_is_refused() {
    let outside = mat![[0.0, 1.5]];
    let found = LatentDensity::fit(outside.as_ref());
    assert!(matches!(found, Err(Error::Parameter { .. })));
    let found = LatentDensity::fit(Mat::<f64>::zeros(0, 2).as_ref());
    assert!(matches!(found, Err(Error::EmptyMeasure)));
    let found = LatentDensity::fit(mat![[f64::NAN]].as_ref());
    assert!(matches!(found, Err(Error::NonFinite { row: 0, column: 0 })));
    let found = LatentDensity::kernel(mat![[0.0]].as_ref(), 0.0);
    assert!(matches!(found, Err(Error::Parameter { .. })));
    let found = LatentDensity::histogram(mat![[0.0]].as_ref(), 0);
    assert!(matches!(found, Err(Error::Parameter { .. })));
}
