//! Arbitrary bytes as a linear program's file, with the checksum that they have and with the right one.

#![no_main]

use bpe_inference::lp::MixtureLp;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mended = bpe_inference_fuzz::mended(bytes);
    for bytes in [Some(bytes), mended.as_deref()].into_iter().flatten() {
        if let Ok(lp) = MixtureLp::from_bytes(bytes) {
            assert_eq!(lp.coefficients().len(), lp.rows() * lp.n());
            assert_eq!(lp.to_bytes(), bytes);
        }
    }
});
