//! Arbitrary bytes as a stored plan: one that is accepted is one that can be made.

#![no_main]

use dp_regression::Plan;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(plan) = serde_json::from_slice::<Plan>(bytes) else {
        return;
    };
    let text = serde_json::to_string(&plan).expect("a plan can be written");
    let again: Plan = serde_json::from_str(&text).expect("what was written can be read");
    assert_eq!(again, plan);
});
