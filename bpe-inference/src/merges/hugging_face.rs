//! `tokenizer.json` of Hugging Face tokenizers.

use rustc_hash::FxHashMap;
use serde::Deserialize;
use serde_json::Value;

use super::format::{from_json, json_value};
use super::listed::{Listed, split_pair, token_bytes};
use super::{Alphabet, Format, MergeList, MergeReport, ReadOptions, TokenizerSpec};
use crate::error::{Error, Result};

const FORMAT: Format = Format::HuggingFace;

impl MergeList {
    /// Reads a `tokenizer.json`. Byte-level lists that training wrote are taken as they stand; lists in which a
    /// converter put every split of every token (Llama, Mistral, Gemma, Llama 3) are rebuilt, see
    /// [`MergeReport::order`].
    ///
    /// # Errors
    /// [`Error::NotBpe`] for other models, [`Error::Parse`] if the JSON is broken or of another shape or uses
    /// subword prefixes or word-end suffixes, [`Error::UnknownToken`] and [`Error::DuplicateMerge`] as for
    /// [`Self::from_parts`], [`Error::Unreachable`] for a list to be rebuilt whose tokens the merges do not make.
    pub fn from_hf_json(bytes: &[u8]) -> Result<(Self, MergeReport)> {
        read(bytes, &ReadOptions::default())
    }
}

/// The part that tells the kind of model, read first because other models have other shapes.
#[derive(Deserialize)]
struct Kind {
    model: KindOfModel,
}

#[derive(Deserialize)]
struct KindOfModel {
    #[serde(rename = "type")]
    name: Option<String>,
    merges: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct File {
    added_tokens: Option<Vec<AddedToken>>,
    normalizer: Option<Value>,
    pre_tokenizer: Option<Value>,
    decoder: Option<Value>,
    model: Model,
}

#[derive(Deserialize)]
struct AddedToken {
    id: u32,
    content: String,
}

#[derive(Deserialize)]
struct Model {
    vocab: FxHashMap<String, u32>,
    merges: Vec<Pair>,
    #[serde(default)]
    byte_fallback: bool,
    #[serde(default)]
    ignore_merges: bool,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Pair {
    Line(String),
    Parts(String, String),
}

pub(crate) fn read(bytes: &[u8], options: &ReadOptions) -> Result<(MergeList, MergeReport)> {
    let kind: Kind = from_json(FORMAT, bytes)?;
    match (kind.model.name.as_deref(), kind.model.merges) {
        // Old files do not name the model's type.
        (Some("BPE"), _) | (None, Some(_)) => {}
        (Some(other), _) => {
            return Err(Error::NotBpe {
                model: other.to_owned(),
            });
        }
        (None, None) => {
            return Err(Error::NotBpe {
                model: "of no stated type and without merges".to_owned(),
            });
        }
    }
    let file: File = from_json(FORMAT, bytes)?;
    let model = file.model;
    for (key, affix) in [
        (
            "continuing_subword_prefix",
            &model.continuing_subword_prefix,
        ),
        ("end_of_word_suffix", &model.end_of_word_suffix),
    ] {
        if let Some(affix) = affix.as_deref().filter(|affix| !affix.is_empty()) {
            let reason = format!("tokens with the affix `{affix}` are not supported");
            return Err(FORMAT.error(json_value(bytes, &["model", key], None).0, reason));
        }
    }
    let byte_level = [&file.pre_tokenizer, &file.decoder]
        .into_iter()
        .flatten()
        .any(|stage| !parts_of_type(stage, "ByteLevel").is_empty());
    let alphabet = options.alphabet.unwrap_or(match byte_level {
        true => Alphabet::Bytes,
        false => Alphabet::Characters,
    });
    let token = |text: &str| token_bytes(alphabet, text);
    let mut merges = Vec::with_capacity(model.merges.len());
    for (k, pair) in model.merges.iter().enumerate() {
        let parts = match pair {
            Pair::Parts(left, right) => Ok((left.as_str(), right.as_str())),
            Pair::Line(line) => split_pair(line, |token| model.vocab.contains_key(token)),
        };
        let merge = parts.and_then(|(left, right)| Ok((token(left)?, token(right)?)));
        merges.push(merge.map_err(|reason| {
            let (offset, _) = json_value(bytes, &["model", "merges"], Some(k));
            FORMAT.error(offset, format!("merge {k}: {reason}"))
        })?);
    }
    let added = file.added_tokens.unwrap_or_default();
    let ids = (model.vocab.into_iter())
        // Tokens that no bytes can be written as are special ones, which no merge names.
        .filter_map(|(text, id)| Some((token(&text).ok()?, id)))
        .collect();
    let listed = Listed {
        format: FORMAT,
        alphabet,
        merges,
        ids,
        added: (added.into_iter())
            .map(|token| (token.content.into_bytes(), token.id))
            .collect(),
        spec: TokenizerSpec {
            pattern: file.pre_tokenizer.as_ref().and_then(only_pattern),
            normalizer: file.normalizer,
            pre_tokenizer: file.pre_tokenizer,
            byte_fallback: model.byte_fallback,
            ignore_merges: model.ignore_merges,
            ..TokenizerSpec::default()
        },
    };
    listed.finish(options)
}

/// The stages of a pipeline, however nested, that are of a type.
fn parts_of_type<'a>(stage: &'a Value, name: &str) -> Vec<&'a Value> {
    let nested = (["pretokenizers", "decoders"].iter())
        .filter_map(|key| stage.get(key)?.as_array())
        .flatten()
        .flat_map(|part| parts_of_type(part, name));
    let own = stage.get("type").and_then(Value::as_str) == Some(name);
    own.then_some(stage).into_iter().chain(nested).collect()
}

/// The regular expression of a pretokenizer that splits by exactly one.
fn only_pattern(pre_tokenizer: &Value) -> Option<String> {
    let splits = parts_of_type(pre_tokenizer, "Split");
    let mut patterns =
        (splits.into_iter()).filter_map(|split| split.get("pattern")?.get("Regex")?.as_str());
    let first = patterns.next()?;
    patterns.next().is_none().then(|| first.to_owned())
}
