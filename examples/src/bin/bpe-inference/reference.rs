//! Presets of pretokenizers, each beside an account of it by other code, as far as there is one.

use std::collections::HashMap;

use anyhow::{Result, anyhow};
use bpe_inference::WordCounts;
use bpe_inference::pretokenizer::{LineMode, Normalizer, Pretokenizer, TextPipeline};
use tokenizers::normalizers::NFC;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::{
    NormalizedString, Normalizer as _, OffsetReferential, OffsetType, PreTokenizedString,
    PreTokenizer as _,
};

use crate::pool;

/// A preset and what it can be held against.
pub(crate) struct Reference {
    pub(crate) pipeline: TextPipeline,
    account: Account,
}

enum Account {
    /// The published regular expression, run by a general engine instead of the preset's scanner.
    Pattern(TextPipeline),
    /// Hugging Face's `Digits` and `ByteLevel`.
    HuggingFace { single_digits: bool },
    /// None.
    Preset,
}

/// The named presets that differ from each other.
pub(crate) fn references() -> Result<Vec<Reference>> {
    [
        TextPipeline::hf_trained(),
        TextPipeline::gpt2(),
        TextPipeline::gpt_neox(),
        TextPipeline::claude(),
        TextPipeline::cl100k(),
        TextPipeline::qwen2(),
        TextPipeline::o200k(),
        TextPipeline::tekken(),
        TextPipeline::command_r(),
        TextPipeline::llama(),
        TextPipeline::gemma(),
    ]
    .into_iter()
    .map(|pipeline| {
        let account = match (&pipeline.pretokenizer, pipeline.pretokenizer.pattern()) {
            (_, Some(pattern)) => Account::Pattern(
                TextPipeline::new(Pretokenizer::regex(pattern)?)
                    .with_normalizer(pipeline.normalizer)
                    .with_lines(pipeline.lines),
            ),
            (Pretokenizer::DigitsGpt2, _) => Account::HuggingFace {
                single_digits: false,
            },
            (Pretokenizer::CommandR, _) => Account::HuggingFace {
                single_digits: true,
            },
            _ => Account::Preset,
        };
        Ok(Reference { pipeline, account })
    })
    .collect()
}

impl Reference {
    /// Who cuts the text.
    pub(crate) fn name(&self) -> &'static str {
        match self.account {
            Account::Pattern(_) => "its regular expression",
            Account::HuggingFace { .. } => "Hugging Face's code",
            Account::Preset => "the preset itself",
        }
    }

    /// The words of some texts, by the other code if there is one.
    pub(crate) fn count(&self, texts: &[&str]) -> Result<WordCounts> {
        match &self.account {
            Account::Pattern(pipeline) => pool::count(pipeline, texts.iter().copied()),
            Account::HuggingFace { single_digits } => self.hugging_face(*single_digits, texts),
            Account::Preset => pool::count(&self.pipeline, texts.iter().copied()),
        }
    }

    fn hugging_face(&self, single_digits: bool, texts: &[&str]) -> Result<WordCounts> {
        let digits = Digits::new(single_digits);
        let byte_level = ByteLevel::new(false, true, true);
        let mut counts: HashMap<String, u64> = HashMap::new();
        for text in texts {
            let units: Vec<&str> = match self.pipeline.lines {
                LineMode::Lines => text.split_inclusive('\n').collect(),
                LineMode::Document => vec![text],
            };
            for unit in units {
                let mut unit = NormalizedString::from(unit);
                if self.pipeline.normalizer == Normalizer::Nfc {
                    NFC.normalize(&mut unit).map_err(failed)?;
                }
                let unit = unit.get().to_owned();
                let mut pieces = PreTokenizedString::from(unit.as_str());
                digits.pre_tokenize(&mut pieces).map_err(failed)?;
                byte_level.pre_tokenize(&mut pieces).map_err(failed)?;
                // The pieces are spelt in the byte-level alphabet, so take the text that they stand for.
                for (_, (start, end), _) in
                    pieces.get_splits(OffsetReferential::Original, OffsetType::Byte)
                {
                    *counts.entry(unit[start..end].to_owned()).or_default() += 1;
                }
            }
        }
        Ok(WordCounts::from_counts(counts))
    }
}

fn failed(error: tokenizers::Error) -> anyhow::Error {
    anyhow!("Hugging Face's pretokenizer: {error}")
}

#[cfg(test)]
mod tests {
    use fire_assay_datasets::embedded;

    use super::*;

    #[test]
    fn presets_make_the_words_of_their_other_accounts() {
        let texts = embedded::languages().into_iter().chain(embedded::code());
        let texts: Vec<String> = texts
            .map(|text| text.text[..text.text.floor_char_boundary(20_000)].to_owned())
            .collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let references = references().unwrap();
        for reference in &references {
            let own = pool::count(&reference.pipeline, texts.iter().copied()).unwrap();
            let other = reference.count(&texts).unwrap();
            assert!(
                own == other,
                "{} by {}",
                reference.pipeline,
                reference.name()
            );
        }
        let alone = references
            .iter()
            .filter(|r| matches!(r.account, Account::Preset));
        assert_eq!(alone.count(), 2, "only the SentencePiece family has none");
    }
}
