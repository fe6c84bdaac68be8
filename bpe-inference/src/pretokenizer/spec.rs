//! From what a tokenizer file says about its text pipeline to the pipeline.

use serde_json::Value;

use super::{Normalizer, PairFilter, Pretokenizer, TextPipeline};
use crate::merges::{SentencePieceSpec, TokenizerSpec};

impl TextPipeline {
    /// The pipeline that a tokenizer file describes, if it describes one of ours: by its settings of SentencePiece's
    /// trainer, its `normalizer` and `pre_tokenizer` ([`from_hugging_face`](Self::from_hugging_face)), its regular expression, or the name
    /// that GGUF files give to their pretokenizer.
    ///
    /// A regular expression that is none of our presets becomes [`Pretokenizer::Regex`]. Files with a regular expression
    /// alone do not state a normalizer (Claude's has one, NFKC). Models of SentencePiece are known if their
    /// trainer split digits, scripts and words at spaces, as those of Llama, Mistral and Gemma did.
    pub fn from_spec(spec: &TokenizerSpec) -> Option<Self> {
        if let Some(settings) = &spec.sentencepiece {
            return from_sentencepiece(settings);
        }
        if spec.normalizer.is_some() || spec.pre_tokenizer.is_some() {
            let value = |part: &Option<Value>| part.clone().unwrap_or(Value::Null);
            return Self::from_hugging_face(&value(&spec.normalizer), &value(&spec.pre_tokenizer));
        }
        if let Some(pattern) = &spec.pattern {
            return Pretokenizer::from_pattern(pattern)
                .map(|pretokenizer| Self::new(pretokenizer).with_normalizer(Normalizer::None));
        }
        spec.preset.as_deref().and_then(from_gguf)
    }
}

impl Pretokenizer {
    /// The preset with this very pattern, else a pretokenizer of the pattern if it compiles.
    pub(super) fn from_pattern(pattern: &str) -> Option<Self> {
        [
            Self::Gpt2,
            Self::Cl100k,
            Self::O200k,
            Self::Tekken,
            Self::Qwen2,
        ]
        .into_iter()
        .find(|preset| preset.pattern() == Some(pattern))
        .or_else(|| Self::regex(pattern).ok())
    }
}

fn from_sentencepiece(settings: &SentencePieceSpec) -> Option<TextPipeline> {
    let known = settings.split_digits
        && settings.split_by_unicode_script
        && settings.split_by_whitespace
        && !settings.treat_whitespace_as_suffix;
    let normalizer = match settings.normalization.as_str() {
        "" | "identity" => Normalizer::None,
        "nfkc" | "nmt_nfkc" => Normalizer::Nfkc,
        // The others fold case.
        _ => return None,
    };
    let family = if settings.add_dummy_prefix {
        TextPipeline::llama()
    } else {
        TextPipeline::gemma()
    };
    let pairs = PairFilter::SentencePiece {
        max_chars: settings.max_sentencepiece_length as usize,
        split_numbers: settings.split_by_number,
        split_digits: settings.split_digits,
        split_scripts: settings.split_by_unicode_script,
        marker_runs: settings.allow_whitespace_only_pieces,
    };
    known.then(|| family.with_normalizer(normalizer).with_pairs(pairs))
}

/// Names of `tokenizer.ggml.pre`.
fn from_gguf(name: &str) -> Option<TextPipeline> {
    match name {
        "gpt-2" | "mpt" | "olmo" | "jais" => Some(TextPipeline::gpt2()),
        "llama-bpe" | "llama3" | "llama-v3" | "dbrx" | "smaug-bpe" => Some(TextPipeline::cl100k()),
        "gpt-4o" => Some(TextPipeline::o200k()),
        "tekken" => Some(TextPipeline::tekken()),
        "qwen2" => Some(TextPipeline::qwen2()),
        "command-r" => Some(TextPipeline::command_r()),
        "starcoder" | "refact" | "smollm" | "codeshell" => {
            Some(TextPipeline::command_r().with_normalizer(Normalizer::None))
        }
        _ => None,
    }
}
