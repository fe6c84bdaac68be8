//! The tokenizer in a GGUF file's metadata, written as the `tokenizer.json` that means the same.
//!
//! The metadata list tokens, merges or scores, and name the rule by which text is cut into words before that; the rules
//! themselves are known by name.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::{LmTokenizer, Settings};
use crate::gguf::{Array, GgufFile};
use crate::tensors::TensorSource;
use crate::{Error, Result};

/// How Llama 3 cuts text into words: numbers in threes.
const LLAMA3_WORDS: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// How Qwen2 does: the same, but numbers digit by digit.
const QWEN2_WORDS: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// The sign that SentencePiece writes for a space.
const SPACE: &str = "▁";

/// Longer pieces are refused: SentencePiece learns none above 16 characters by default, and trying all ways to cut a
/// piece takes time with the square of its length.
const MAX_PIECE: usize = 256;

/// Kinds of tokens, by number.
mod kind {
    pub(super) const UNKNOWN: u64 = 2;
    pub(super) const CONTROL: u64 = 3;
    pub(super) const USER_DEFINED: u64 = 4;
    pub(super) const BYTE: u64 = 6;
}

impl LmTokenizer {
    /// The tokenizer of a GGUF file: `tokenizer.ggml.model` is `gpt2`, byte-level BPE with merges, or `llama`,
    /// SentencePiece's BPE with scores. For the former, `tokenizer.ggml.pre` names the rule by which text is cut into
    /// words; those of GPT-2, SmolLM and StarCoder (every digit alone), Llama 3 and Qwen2 are known. Where the file names
    /// none or `default`, it must be one of the architecture `gpt2`: for other models nobody can tell.
    ///
    /// # Errors
    ///
    /// [`Error::Tokenizer`] for another model or rule, or if the lists do not fit each other, [`Error::Parse`] if a
    /// value has the wrong type, and [`Error::ChatTemplate`].
    pub fn from_gguf(file: &GgufFile) -> Result<Self> {
        let metadata = Metadata::of(file)?;
        let value = match file.string("tokenizer.ggml.model")? {
            Some("gpt2") => metadata.byte_level()?,
            Some("llama") => metadata.sentencepiece()?,
            Some(other) => {
                return Err(wrong(file, format!("the model `{other}` is not supported")));
            }
            None => return Err(wrong(file, "there is no tokenizer.ggml.model")),
        };
        let mut tokenizer = Self::from_value(&value, file.path().display().to_string())?;
        let template = file.string("tokenizer.chat_template")?.map(str::to_owned);
        let mut eos = Vec::new();
        for role in ["eos", "eot"] {
            eos.extend(metadata.token(role)?.filter(|token| !eos.contains(token)));
        }
        tokenizer.apply(Settings {
            bos: metadata.token("bos")?,
            eos,
            special: metadata.special(),
            template,
        })?;
        Ok(tokenizer)
    }
}

/// The metadata about the tokenizer.
struct Metadata<'f> {
    file: &'f GgufFile,
    tokens: &'f [String],
    kinds: Vec<u64>,
}

impl<'f> Metadata<'f> {
    fn of(file: &'f GgufFile) -> Result<Self> {
        let tokens = file.strings("tokenizer.ggml.tokens")?;
        let tokens = tokens.ok_or_else(|| wrong(file, "there is no tokenizer.ggml.tokens"))?;
        let kinds = match file.array("tokenizer.ggml.token_type")? {
            None => vec![1; tokens.len()],
            Some(Array::I32(kinds)) => kinds.iter().map(|&kind| kind.max(0) as u64).collect(),
            Some(Array::U32(kinds)) => kinds.iter().map(|&kind| kind.into()).collect(),
            Some(_) => return Err(wrong(file, "tokenizer.ggml.token_type is not of 32 bits")),
        };
        let metadata = Self {
            file,
            tokens,
            kinds,
        };
        metadata.check_length("token_type", metadata.kinds.len())?;
        Ok(metadata)
    }

    /// Byte-level BPE.
    fn byte_level(&self) -> Result<Value> {
        let rule = self.file.string("tokenizer.ggml.pre")?;
        let llama3 = matches!(rule, Some("llama-bpe" | "llama3" | "llama-v3"));
        let of_gpt2 = self.file.string("general.architecture")? == Some("gpt2");
        // GPT-2's rule comes with the byte level; the others replace it or go before it.
        let (normalizer, before, gpt2) = match rule {
            Some("gpt-2") => (Value::Null, None, true),
            None | Some("default") if of_gpt2 => (Value::Null, None, true),
            None | Some("default") => {
                let reason = "tokenizer.ggml.pre does not say how text is cut into words";
                return Err(wrong(self.file, reason));
            }
            Some("smollm" | "starcoder") => {
                let digits = json!({"type": "Digits", "individual_digits": true});
                (Value::Null, Some(digits), true)
            }
            Some(_) if llama3 => (Value::Null, Some(split(LLAMA3_WORDS)), false),
            Some("qwen2") => (json!({"type": "NFC"}), Some(split(QWEN2_WORDS)), false),
            Some(other) => {
                let reason = format!("the rule `{other}` for cutting text into words is not known");
                return Err(wrong(self.file, reason));
            }
        };
        let bytes = json!({
            "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": gpt2
        });
        let merges = self.file.strings("tokenizer.ggml.merges")?;
        let merges = merges.ok_or_else(|| wrong(self.file, "there is no tokenizer.ggml.merges"))?;
        let pair = |line: &String| match line.split_once(' ') {
            Some((left, right)) => Ok(json!([left, right])),
            None => Err(wrong(
                self.file,
                format!("`{line}` is not a merge of two tokens"),
            )),
        };
        let merges = merges.iter().map(pair).collect::<Result<Vec<_>>>()?;
        let words: Vec<Value> = before.into_iter().chain([bytes.clone()]).collect();
        Ok(json!({
            "version": "1.0",
            "added_tokens": self.added(),
            "normalizer": normalizer,
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": words},
            "post_processor": self.frame(llama3)?,
            "decoder": bytes,
            "model": {
                "type": "BPE", "vocab": self.vocabulary()?, "merges": merges, "ignore_merges": llama3
            },
        }))
    }

    /// SentencePiece's BPE: of all pairs whose join is a piece, that with the highest score is joined first.
    fn sentencepiece(&self) -> Result<Value> {
        let Some(Array::F32(scores)) = self.file.array("tokenizer.ggml.scores")? else {
            return Err(wrong(
                self.file,
                "tokenizer.ggml.scores is not a list of 32-bit numbers",
            ));
        };
        self.check_length("scores", scores.len())?;
        if let Some(at) = scores.iter().position(|score| score.is_nan()) {
            return Err(wrong(self.file, format!("the score of token {at} is NaN")));
        }
        if self
            .file
            .boolean("tokenizer.ggml.remove_extra_whitespaces")?
            .unwrap_or(false)
        {
            return Err(wrong(self.file, "removal of extra spaces is not supported"));
        }
        let prefix = self
            .file
            .boolean("tokenizer.ggml.add_space_prefix")?
            .unwrap_or(true);
        let mut before =
            vec![json!({"type": "Replace", "pattern": {"String": " "}, "content": SPACE})];
        let mut after = vec![
            json!({"type": "Replace", "pattern": {"String": SPACE}, "content": " "}),
            json!({"type": "ByteFallback"}),
            json!({"type": "Fuse"}),
        ];
        if prefix {
            before.insert(0, json!({"type": "Prepend", "prepend": SPACE}));
            after.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
        }
        let unknown = self.kinds.iter().position(|&kind| kind == kind::UNKNOWN);
        Ok(json!({
            "version": "1.0",
            "added_tokens": self.added(),
            "normalizer": {"type": "Sequence", "normalizers": before},
            "pre_tokenizer": null,
            "post_processor": self.frame(true)?,
            "decoder": {"type": "Sequence", "decoders": after},
            "model": {
                "type": "BPE", "vocab": self.vocabulary()?, "merges": self.scored_merges(scores)?,
                "unk_token": unknown.map(|token| &self.tokens[token]), "fuse_unk": true,
                "byte_fallback": self.kinds.contains(&kind::BYTE),
            },
        }))
    }

    /// All ways to make a piece of two, by falling score.
    fn scored_merges(&self, scores: &[f32]) -> Result<Vec<Value>> {
        let learnt = |kind: u64| !matches!(kind, kind::UNKNOWN | kind::CONTROL | kind::BYTE);
        let pieces = || (0..self.tokens.len()).filter(|&id| learnt(self.kinds[id]));
        let ids: HashMap<&str, usize> = pieces().map(|id| (self.tokens[id].as_str(), id)).collect();
        let mut merges = Vec::new();
        for id in pieces() {
            let piece = self.tokens[id].as_str();
            if piece.len() > MAX_PIECE {
                let reason = format!(
                    "token {id} has {} bytes, more than {MAX_PIECE}",
                    piece.len()
                );
                return Err(wrong(self.file, reason));
            }
            for (at, _) in piece.char_indices().skip(1) {
                let (left, right) = piece.split_at(at);
                if let (Some(&l), Some(&r)) = (ids.get(left), ids.get(right)) {
                    merges.push((scores[id], l, r));
                }
            }
        }
        merges.sort_by(|(a, ..), (b, ..)| b.total_cmp(a));
        let pair = |(_, l, r): (f32, usize, usize)| json!([self.tokens[l], self.tokens[r]]);
        Ok(merges.into_iter().map(pair).collect())
    }

    fn vocabulary(&self) -> Result<Map<String, Value>> {
        let mut vocabulary = Map::new();
        for (id, token) in self.tokens.iter().enumerate() {
            if let Some(first) = vocabulary.insert(token.clone(), id.into()) {
                let reason = format!("`{token}` is token {first} and token {id}");
                return Err(wrong(self.file, reason));
            }
        }
        Ok(vocabulary)
    }

    /// Tokens that are recognised in a text before it is cut into words.
    fn added(&self) -> Vec<Value> {
        let added = |(id, &kind): (usize, &u64)| {
            let special = matches!(kind, kind::UNKNOWN | kind::CONTROL);
            (special || kind == kind::USER_DEFINED).then(|| {
                json!({
                    "id": id, "content": self.tokens[id], "single_word": false, "lstrip": false,
                    "rstrip": false, "normalized": false, "special": special
                })
            })
        };
        self.kinds.iter().enumerate().filter_map(added).collect()
    }

    /// What is put around every text: a first token, where the file asks for it or the model does so `by_default`, and
    /// a last one, where the file asks for it.
    fn frame(&self, by_default: bool) -> Result<Value> {
        let mut single = vec![json!({"Sequence": {"id": "A", "type_id": 0}})];
        let mut special = Map::new();
        for (role, by_default) in [("bos", by_default), ("eos", false)] {
            let asked = self
                .file
                .boolean(&format!("tokenizer.ggml.add_{role}_token"))?;
            let (true, Some(id)) = (asked.unwrap_or(by_default), self.token(role)?) else {
                continue;
            };
            let token = &self.tokens[id as usize];
            let at = if role == "bos" { 0 } else { single.len() };
            single.insert(at, json!({"SpecialToken": {"id": token, "type_id": 0}}));
            special.insert(
                token.clone(),
                json!({"id": token, "ids": [id], "tokens": [token]}),
            );
        }
        Ok(match special.is_empty() {
            true => Value::Null,
            false => json!({
                "type": "TemplateProcessing", "single": single, "pair": [], "special_tokens": special
            }),
        })
    }

    /// The spelling of the tokens that chat templates may name. What is wrong with one that only they need is no error.
    fn special(&self) -> Vec<(&'static str, String)> {
        let names = [
            ("bos_token", "bos"),
            ("eos_token", "eos"),
            ("unk_token", "unknown"),
            ("sep_token", "seperator"),
            ("pad_token", "padding"),
            ("mask_token", "mask"),
        ];
        let spelt = |(name, role)| {
            let token = self.token(role).ok().flatten()?;
            Some((name, self.tokens[token as usize].clone()))
        };
        names.into_iter().filter_map(spelt).collect()
    }

    fn token(&self, role: &str) -> Result<Option<u32>> {
        let key = format!("tokenizer.ggml.{role}_token_id");
        match self.file.unsigned(&key)? {
            None => Ok(None),
            Some(token) if token < self.tokens.len() as u64 => Ok(Some(token as u32)),
            Some(token) => {
                let reason = format!("{key} is {token}, of {} tokens", self.tokens.len());
                Err(wrong(self.file, reason))
            }
        }
    }

    fn check_length(&self, key: &str, found: usize) -> Result<()> {
        let tokens = self.tokens.len();
        match found == tokens {
            true => Ok(()),
            false => {
                let reason = format!("{tokens} tokens, but {found} values in tokenizer.ggml.{key}");
                Err(wrong(self.file, reason))
            }
        }
    }
}

/// Text is cut into what the pattern finds, and what lies between.
fn split(pattern: &str) -> Value {
    json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false})
}

fn wrong(file: &GgufFile, reason: impl Into<String>) -> Error {
    Error::Tokenizer {
        origin: file.path().display().to_string(),
        reason: reason.into(),
    }
}
