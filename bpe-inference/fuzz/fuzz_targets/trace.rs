//! Arbitrary bytes as a trace file, with the checksum that they have and with the right one.

#![no_main]

use bpe_inference::trace::PairTrace;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mended = bpe_inference_fuzz::mended(bytes);
    for bytes in [Some(bytes), mended.as_deref()].into_iter().flatten() {
        if let Ok(trace) = PairTrace::from_bytes(bytes) {
            bpe_inference_fuzz::check_trace(&trace);
        }
    }
});
