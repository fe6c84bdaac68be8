//! Arbitrary bytes as a safetensors file.

#![no_main]

use fire_assay_models::tensors::Safetensors;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let file = fire_assay_models_fuzz::file(bytes);
    if let Ok(source) = Safetensors::open(file.path()) {
        fire_assay_models_fuzz::read_all(&source);
    }
});
