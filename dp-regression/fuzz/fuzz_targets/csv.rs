//! Arbitrary bytes as a CSV file: a table that can be read has as many numbers as its names and rows say, and fits end in an answer or an error.

#![no_main]

use dp_regression::Table;
use dp_regression::read::ReadOptions;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for lenient in [false, true] {
        let options = ReadOptions {
            lenient,
            ..ReadOptions::new("y")
        };
        let Ok(table) = Table::from_csv_reader(bytes, "fuzz.csv", &options) else {
            continue;
        };
        if let Ok(data) = table.dataset() {
            let (x, y) = data.to_vectors().expect("a table in memory");
            assert_eq!(x.len(), table.names().len() * table.rows());
            assert_eq!(y.len(), table.rows());
            let _ = dp_regression::filter::diagnose(&data, &[]);
        }
    }
});
