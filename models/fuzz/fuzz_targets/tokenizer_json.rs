//! Arbitrary bytes as a `tokenizer.json`: a tokenizer that is taken encodes text or says why not, and decodes its tokens.

#![no_main]

use fire_assay_models::lm::LmTokenizer;
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: fire_assay_models_fuzz::let_panics_unwind(), |bytes: &[u8]| {
    let Ok(tokenizer) = LmTokenizer::from_json(bytes, "fuzz.json") else {
        return;
    };
    let text = "The 2 naïve cats\n\n said: 'it\u{2019}s ☃'  <|end|>";
    for special in [false, true] {
        if let Ok(tokens) = tokenizer.encode(text, special) {
            assert!(tokens.iter().all(|&token| (token as usize) < tokenizer.vocabulary()));
            let _ = tokenizer.decode(&tokens, special);
        }
    }
    // Every token that the file names, and those between and behind them.
    let last = tokenizer.vocabulary().min(1 << 12) as u32;
    for token in 0..=last {
        let _ = tokenizer.token(token);
        let _ = tokenizer.decode(&[token, 0], false);
    }
});
