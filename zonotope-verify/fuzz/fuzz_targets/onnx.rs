//! Arbitrary bytes as an ONNX file: a network that can be read can be written, and reads back as the same layers.

#![no_main]

use libfuzzer_sys::fuzz_target;
use zonotope_verify::onnx;

fuzz_target!(|bytes: &[u8]| {
    let Ok(network) = onnx::parse(bytes, "fuzz.onnx") else {
        return;
    };
    // Numbers that are not exactly known cannot be written.
    if let Ok(written) = onnx::to_bytes(&network) {
        let again = onnx::parse(&written, "written.onnx").expect("what was written can be read");
        assert_eq!(again.layers(), network.layers());
        assert_eq!(again.inputs(), network.inputs());
    }
});
