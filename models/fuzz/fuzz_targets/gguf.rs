//! Arbitrary bytes as a GGUF file: what is read is consistent, and so is the network and the tokenizer in it.

#![no_main]

use std::io::Cursor;

use fire_assay_models::gguf::GgufFile;
use fire_assay_models::lm::{GgufCheckpoint, LmTokenizer};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: fire_assay_models_fuzz::let_panics_unwind(), |bytes: &[u8]| {
    let Ok(file) = GgufFile::from_reader(Cursor::new(bytes.to_vec()), "fuzz.gguf") else {
        return;
    };
    fire_assay_models_fuzz::read_all(&file);
    if let Ok(tokenizer) = LmTokenizer::from_gguf(&file) {
        let text = "The 2 naïve cats\n\n said: 'it\u{2019}s ☃'  ";
        if let Ok(tokens) = tokenizer.encode(text, true) {
            tokenizer.decode(&tokens, false).expect("tokens of an encoding have a text");
        }
    }
    if let Ok(checkpoint) = GgufCheckpoint::new(file) {
        checkpoint.config().validate().expect("a configuration that was taken is valid");
        fire_assay_models_fuzz::read_all(&checkpoint);
    }
});
