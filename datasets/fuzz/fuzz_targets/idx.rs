//! Arbitrary bytes as IDX files: whatever is taken is what the header promises.

#![no_main]

use std::path::Path;

use fire_assay_datasets::images::idx;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let path = Path::new("fuzzed");
    if let Ok(images) = idx::parse_images(bytes, path) {
        assert_eq!(
            images.pixels.len(),
            images.count() * images.height * images.width
        );
    }
    let _ = idx::parse_labels(bytes, path);
});
