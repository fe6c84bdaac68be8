//! Arbitrary bytes as a file of the format `Tiktoken`.

#![no_main]

use bpe_inference::merges::Format;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| bpe_inference_fuzz::check(Format::Tiktoken, bytes));
