//! How well a model predicts a text.

use anyhow::{Result, bail};
use fire_assay_models::lm::{CausalLm, TokenBatch};
use serde::Serialize;

use crate::model::Loaded;

/// A text and how well it is predicted.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Measured {
    /// Its name.
    pub(crate) text: String,
    pub(crate) bytes: usize,
    pub(crate) tokens: usize,
    /// Mean negative log-probability of every token after the first, in nats.
    pub(crate) mean_nll: f64,
    /// Its exponential.
    pub(crate) perplexity: f64,
    /// The same information by bytes of text, which can be compared between tokenizers.
    pub(crate) bits_per_byte: f64,
}

/// Measures a text. One that is longer than `window` tokens is cut into parts of so many; the last token of a part is read
/// again at the beginning of the next, so that each token but the very first is predicted once, from its part alone.
pub(crate) fn measure(loaded: &Loaded, name: &str, text: &str, window: usize) -> Result<Measured> {
    let tokens = loaded.tokenizer.encode(text, true)?;
    if tokens.len() < 2 {
        bail!(
            "it has {} tokens, and the first is never predicted",
            tokens.len()
        );
    }
    let nll = -log_probabilities(&loaded.model, &tokens, window)?;
    let mean_nll = nll / (tokens.len() - 1) as f64;
    Ok(Measured {
        text: name.to_owned(),
        bytes: text.len(),
        tokens: tokens.len(),
        mean_nll,
        perplexity: mean_nll.exp(),
        bits_per_byte: nll / std::f64::consts::LN_2 / text.len() as f64,
    })
}

/// The sum of the log-probabilities of all tokens but the first, in nats.
fn log_probabilities(model: &CausalLm, tokens: &[u32], window: usize) -> Result<f64> {
    // A part of one token predicts nothing.
    let step = window.max(2) - 1;
    let length = tokens.len() - 1;
    let span = tracing::info_span!("read text", position = 0_u64, length = length as u64);
    let _inside = span.enter();
    let mut sum = 0.0;
    for start in (0..length).step_by(step) {
        let end = (start + step).min(length);
        let batch = TokenBatch::single(&tokens[start..=end])?;
        let values = model.token_log_probabilities(&batch)?.concat();
        sum += values.iter().map(|&value| f64::from(value)).sum::<f64>();
        span.record("position", end as u64);
    }
    Ok(sum)
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::tensor::Device;
    use fire_assay_models::lm::LmConfig;

    use super::*;

    #[test]
    fn parts_predict_every_token_once() {
        let model = CausalLm::init(&LmConfig::nano(), 5, &Device::flex()).unwrap();
        let tokens: Vec<u32> = (0..41).map(|i| i * 37 % 512).collect();
        let of = |part: &[u32]| {
            let batch = TokenBatch::single(part).unwrap();
            let values = model.token_log_probabilities(&batch).unwrap().concat();
            values.iter().map(|&value| f64::from(value)).sum::<f64>()
        };
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-6, "{a} {b}");
        close(
            log_probabilities(&model, &tokens, 256).unwrap(),
            of(&tokens),
        );
        let parts = of(&tokens[..=15]) + of(&tokens[15..=30]) + of(&tokens[30..]);
        close(log_probabilities(&model, &tokens, 16).unwrap(), parts);
        let pairs = tokens.windows(2).map(of).sum();
        close(log_probabilities(&model, &tokens, 1).unwrap(), pairs);
    }
}
