//! What several tests need.

use sobolev_budget::{Constraint, Domain, FitConfig, Smoothness, Starts};

/// A fit of order `order` with a budget, from one start unless the test asks for more.
pub(crate) fn config(domain: Domain, order: usize, budget: f64) -> FitConfig {
    FitConfig::new(domain, Smoothness::new(order), Constraint::Budget(budget))
        .with_starts(Starts::single())
}

/// Fails unless `found` is within a part `tolerance` of `expected`.
#[track_caller]
pub(crate) fn assert_close(found: f64, expected: f64, tolerance: f64) {
    assert!(
        (found - expected).abs() <= tolerance * expected.abs(),
        "{found} is not {expected} up to a part {tolerance}"
    );
}

/// Numbers of a simple reproducible sequence in `[0, 1)`, for data without structure.
pub(crate) fn sequence(count: usize, seed: u64) -> Vec<f64> {
    (1..=count as u64)
        .map(|i| (((i * 2_654_435_761 + seed * 40_503) % 1_000_003) as f64 * 0.754_877_666).fract())
        .collect()
}
