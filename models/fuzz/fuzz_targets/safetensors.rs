//! Arbitrary bytes as a safetensors file.

#![no_main]

use std::io::Write;

use fire_assay_models::tensors::Safetensors;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(bytes).expect("a temporary file can be written");
    if let Ok(source) = Safetensors::open(file.path()) {
        fire_assay_models_fuzz::read_all(&source);
    }
});
