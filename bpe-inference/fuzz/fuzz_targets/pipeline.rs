//! Arbitrary text as the name of a pipeline, and with what it names on a sample.

#![no_main]

use bpe_inference::pretokenizer::TextPipeline;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|name: &str| {
    let Ok(pipeline) = name.parse::<TextPipeline>() else {
        return;
    };
    let written = pipeline.to_string();
    assert_eq!(written.parse::<TextPipeline>().ok(), Some(pipeline.clone()));
    let _ = pipeline.words("It's 2024,\n\tisn't it?  \u{4e2d}\u{6587}\r\n");
});
