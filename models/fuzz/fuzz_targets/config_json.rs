//! Arbitrary bytes as the `config.json` of a Hugging Face folder: a configuration that is taken is valid, and is written
//! such that it is read back.

#![no_main]

use fire_assay_models::lm::LmConfig;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let file = fire_assay_models_fuzz::file(bytes);
    let Ok(config) = LmConfig::from_hugging_face(file.path()) else {
        return;
    };
    config.validate().expect("a configuration that was taken is valid");
    config.plan_memory(2, config.context, true);
    let written = config.to_hugging_face().expect("a valid configuration can be written");
    let file = fire_assay_models_fuzz::file(written.to_string().as_bytes());
    let again = LmConfig::from_hugging_face(file.path()).expect("what was written can be read");
    assert_eq!(again, config);
});
