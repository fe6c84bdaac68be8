//! Arbitrary bytes as NumPy files: what opens can be read, or says why not.

#![no_main]

use dp_regression::Dataset;
use dp_regression::read::NpyRows;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&[u8], &[u8])| {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let (x, y) = (folder.path().join("x.npy"), folder.path().join("y.npy"));
    std::fs::write(&x, input.0).expect("a folder that can be written to");
    std::fs::write(&y, input.1).expect("a folder that can be written to");
    if let Ok(rows) = NpyRows::open(&x, &y) {
        let _ = Dataset::from_blocks(&rows);
    }
});
