//! Arbitrary bytes as a file of a format to be told from its content.

#![no_main]

use bpe_inference::merges::Format;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(format) = Format::detect(bytes, None) {
        bpe_inference_fuzz::check(format, bytes);
    }
});
