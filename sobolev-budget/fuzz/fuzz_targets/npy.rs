//! Arbitrary bytes as a NumPy array of points: what can be read is finite and comes out even.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sobolev_budget::Measure;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(measure) = Measure::from_npy(bytes, "fuzz.npy", None) {
        assert!(measure.points().iter().all(|x| x.is_finite()));
        assert_eq!(measure.points().len(), measure.len() * measure.dimension());
    }
});
