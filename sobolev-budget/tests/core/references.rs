//! Values that others have found for the same problems, and bounds that none can beat.

use sobolev_budget::{Constraint, Domain, FitConfig, Measure, Outcome, Smoothness};

/// Order 1 on the unit square and the unit disk: above the tube bound, and no worse than a Python prototype's best of three starts.
#[test]
fn squares_and_disks_lie_between_the_bound_and_the_reference() {
    let square = Measure::square_lattice(100).unwrap();
    let disk = Measure::disk_sunflower(10_000).unwrap();
    let cases = [
        (&square, 1.0, 0.5, 0.089_195, 0.078_207),
        (&square, 1.0, 1.0, 0.047_279, 0.042_356),
        (&square, 1.0, 2.0, 0.017_341, 0.016_367),
        (&square, 1.0, 4.0, 0.005_099, 0.004_859),
        (&disk, std::f64::consts::PI, 1.0, 0.240_879, 0.225_807),
        (&disk, std::f64::consts::PI, 2.0, 0.122_928, 0.115_525),
        (&disk, std::f64::consts::PI, 4.0, 0.045_065, 0.042_230),
        (&disk, std::f64::consts::PI, 8.0, 0.012_689, 0.012_160),
    ];
    for (measure, volume, budget, reference, bound) in cases {
        let fit = FitConfig::new(
            Domain::Interval,
            Smoothness::new(1),
            Constraint::Budget(budget),
        )
        .with_volume(volume)
        .with_tolerance(1e-12)
        .with_max_sweeps(3000)
        .with_nodes(65)
        .fit(measure)
        .unwrap();
        let lower = fit.lower_bound.unwrap();
        assert!((lower - bound).abs() < 1e-6, "{lower} {bound}");
        assert!(
            lower <= fit.j && fit.j <= 1.01 * reference,
            "l = {budget}: {lower} {} {reference}\n{fit}",
            fit.j
        );
        // At the optimum speed is constant.
        let steps: Vec<f64> = (0..64)
            .map(|i| {
                let (a, b) = (fit.map.value(i), fit.map.value(i + 1));
                (a[0] - b[0]).hypot(a[1] - b[1])
            })
            .collect();
        let mean = steps.iter().sum::<f64>() / 64.0;
        let spread = (steps.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / 64.0).sqrt() / mean;
        // The more a polygon winds, the more it pays to place its corners well.
        assert!(spread < if budget <= 2.0 { 1e-2 } else { 5e-2 }, "{spread}");
        assert!(
            fit.outcome == Outcome::Converged && fit.kkt.stationarity < 1e-4,
            "{fit}"
        );
    }
}

/// Order 2 on the square, from principal components to a winding curve.
#[test]
fn order_2_on_the_square_meets_the_reference() {
    let square = Measure::square_lattice(60).unwrap();
    for (budget, reference) in [
        (1e-4, 0.083_31),
        (4.0, 0.034_653),
        (16.0, 0.012_785),
        (64.0, 0.004_639),
    ] {
        let fit = FitConfig::new(
            Domain::Interval,
            Smoothness::new(2),
            Constraint::Budget(budget),
        )
        .with_nodes(65)
        .fit(&square)
        .unwrap();
        assert!(
            fit.j <= 1.01 * reference,
            "l = {budget}: {} {reference}\n{fit}",
            fit.j
        );
    }
}
