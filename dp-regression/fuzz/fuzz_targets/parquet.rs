//! Arbitrary bytes as a Parquet file.

#![no_main]

use dp_regression::Table;
use dp_regression::read::ReadOptions;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let file = tempfile::NamedTempFile::new().expect("a folder for temporary files");
    std::fs::write(file.path(), bytes).expect("a folder that can be written to");
    if let Ok(table) = Table::from_parquet(file.path(), &ReadOptions::new("pay")) {
        let _ = table.dataset();
    }
});
