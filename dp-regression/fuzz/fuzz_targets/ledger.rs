//! Arbitrary bytes as a ledger: what is accepted never has more left than its total.

#![no_main]

use dp_regression::PrivacyBudget;
use dp_regression::accounting::Ledger;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let file = tempfile::NamedTempFile::new().expect("a folder for temporary files");
    std::fs::write(file.path(), bytes).expect("a folder that can be written to");
    let total = PrivacyBudget::new(1.0, 1e-6).expect("a budget");
    if let Ok(ledger) = Ledger::open(file.path(), total) {
        let (epsilon, delta) = ledger.available();
        assert!(epsilon <= 1.0 && delta <= 1e-6);
    }
});
