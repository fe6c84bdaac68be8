//! Arbitrary text as a VNN-LIB file: a specification that can be read is valid and survives being written.

#![no_main]

use libfuzzer_sys::fuzz_target;
use zonotope_verify::vnnlib;

fuzz_target!(|text: &str| {
    let Ok(parsed) = vnnlib::parse_with_limit(text, 100) else {
        return;
    };
    parsed
        .spec
        .check_sizes(parsed.inputs, parsed.outputs)
        .expect("all cases are about the declared variables");
    let written = parsed
        .spec
        .to_vnnlib()
        .expect("a specification that was read can be written");
    let again = vnnlib::parse_with_limit(&written, 100).expect("what was written can be read");
    assert_eq!(again.spec, parsed.spec);
});
