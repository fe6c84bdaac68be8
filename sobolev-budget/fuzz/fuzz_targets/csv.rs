//! Arbitrary bytes as comma-separated points: what can be read is finite and weighs 1 in all, and a small fit ends in an answer or an error.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sobolev_budget::{Constraint, Domain, FitConfig, Measure, Smoothness, Starts};

fuzz_target!(|bytes: &[u8]| {
    for weights in [None, Some(0)] {
        let Ok(measure) = Measure::from_csv(bytes, "fuzz.csv", weights) else {
            continue;
        };
        assert!(measure.points().iter().all(|x| x.is_finite()));
        assert!((measure.weights().iter().sum::<f64>() - 1.0).abs() < 1e-9);
        if measure.len() < 100 && measure.dimension() < 10 {
            let config = FitConfig::new(Domain::Interval, Smoothness::new(1), Constraint::Budget(1.0))
                .with_nodes(5)
                .with_max_sweeps(5)
                .with_starts(Starts::single());
            let _ = config.fit(&measure);
        }
    }
});
