//! The file formats of tokenizers, how a file's format is told from its content, and the options of reading.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    Alphabet, ListOrder, MergeList, MergeReport, gguf, hugging_face, javascript, merges_txt, ranks,
    sentencepiece,
};
use crate::error::{Error, Result};

/// A file format of tokenizers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Format {
    /// `tokenizer.json` of Hugging Face tokenizers, byte-level or converted from SentencePiece.
    HuggingFace,
    /// `merges.txt` or `vocab.bpe`.
    MergesTxt,
    /// A rank file of tiktoken (also Llama 3's original `tokenizer.model`).
    Tiktoken,
    /// `tekken.json` of Mistral.
    Tekken,
    /// Anthropic's JSON with `bpe_ranks`.
    Anthropic,
    /// `.model` of SentencePiece.
    SentencePiece,
    /// A GGUF model file; only its metadata is read.
    Gguf,
    /// The base64 tables of the JS packages llama-tokenizer-js, mistral-tokenizer-js and llama3-tokenizer-js.
    JavaScript,
    /// Ranks given in memory, see [`MergeList::from_ranks`]; not a file.
    Ranks,
}

/// What readers accept and assume. The defaults suit every published tokenizer known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReadOptions {
    /// Largest share of the first [`considered`](Self::considered) tokens that may have no merge, or no rank of
    /// their own, from 0 to 1. Default 0.05.
    pub unreachable_limit: f64,
    /// How many tokens that limit looks at, in the order of training. Default 30,000, as many as an inference
    /// uses by default.
    pub considered: usize,
    /// What BPE started from; `None` (default) takes what the file says. Only `tokenizer.json`, `merges.txt` and the
    /// JS packages leave it open.
    pub alphabet: Option<Alphabet>,
    /// How a list of merges is ordered; `None` (default) detects it. [`ListOrder::Ranks`] rebuilds the list as
    /// [`ListOrder::Converted`] does.
    pub order: Option<ListOrder>,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self {
            unreachable_limit: 0.05,
            considered: 30_000,
            alphabet: None,
            order: None,
        }
    }
}

impl MergeList {
    /// Reads a tokenizer file of any format, told from its content.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read, [`Error::Parse`] if it is of no known format, else what the format's own
    /// reader says.
    pub fn load(path: impl AsRef<Path>) -> Result<(Self, MergeReport)> {
        Self::load_with(path, None, &ReadOptions::default())
    }

    /// [`load`](Self::load) with a format (`None`: detect it) and options. Of a GGUF file only the metadata at its
    /// start is read; other files are read whole.
    ///
    /// # Errors
    /// As [`load`](Self::load); [`Error::InvalidValue`] for an option out of its range.
    pub fn load_with(
        path: impl AsRef<Path>,
        format: Option<Format>,
        options: &ReadOptions,
    ) -> Result<(Self, MergeReport)> {
        let path = path.as_ref();
        let io = |source| Error::io(path, source);
        let mut start = Vec::new();
        let mut file = File::open(path).map_err(io)?;
        (&mut file)
            .take(gguf::MAGIC.len() as u64)
            .read_to_end(&mut start)
            .map_err(io)?;
        let is_gguf = start == gguf::MAGIC;
        let mut all = start.as_slice().chain(file);
        if format == Some(Format::Gguf) || (format.is_none() && is_gguf) {
            options.check()?;
            return gguf::read(BufReader::new(all), path, options);
        }
        let mut bytes = Vec::new();
        all.read_to_end(&mut bytes).map_err(io)?;
        let name = path.file_name().map(|name| name.to_string_lossy());
        let format = format.map_or_else(|| Format::detect(&bytes, name.as_deref()), Ok)?;
        Self::read(&bytes, format, options)
    }

    /// Reads a tokenizer file in memory, its format told from its content; `name`, the file's name, decides where the
    /// content does not.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn from_bytes(bytes: &[u8], name: Option<&str>) -> Result<(Self, MergeReport)> {
        Self::read(bytes, Format::detect(bytes, name)?, &ReadOptions::default())
    }

    /// Reads a tokenizer file of a given format in memory.
    ///
    /// # Errors
    /// What the format's own reader says; [`Error::InvalidValue`] for an option out of its range or for
    /// [`Format::Ranks`], which is no file.
    pub fn read(
        bytes: &[u8],
        format: Format,
        options: &ReadOptions,
    ) -> Result<(Self, MergeReport)> {
        options.check()?;
        match format {
            Format::HuggingFace => hugging_face::read(bytes, options),
            Format::MergesTxt => merges_txt::read(bytes, options),
            Format::Tiktoken => ranks::read_tiktoken(bytes, options),
            Format::Tekken => ranks::read_tekken(bytes, options),
            Format::Anthropic => ranks::read_anthropic(bytes, options),
            Format::SentencePiece => sentencepiece::read(bytes, options),
            Format::Gguf => gguf::read(bytes, Path::new("GGUF"), options),
            Format::JavaScript => javascript::read(bytes, options),
            Format::Ranks => Err(Error::InvalidValue {
                name: "format".to_owned(),
                value: format.to_string(),
                expected: "a format of files",
            }),
        }
    }
}

impl ReadOptions {
    fn check(&self) -> Result<()> {
        if !(0.0..=1.0).contains(&self.unreachable_limit) {
            return Err(Error::InvalidValue {
                name: "unreachable_limit".to_owned(),
                value: self.unreachable_limit.to_string(),
                expected: "from 0 to 1",
            });
        }
        Ok(())
    }
}

impl Format {
    /// Tells the format from the content and, where that does not decide, from the file's name.
    ///
    /// # Errors
    /// [`Error::Parse`] if neither does.
    pub fn detect(bytes: &[u8], name: Option<&str>) -> Result<Self> {
        (from_content(bytes))
            .or_else(|| from_name(name?))
            .ok_or_else(|| Error::Parse {
                format: "tokenizer",
                offset: 0,
                reason: "neither content nor name is that of a known tokenizer format".to_owned(),
            })
    }

    /// Its name in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::HuggingFace => "tokenizer.json",
            Self::MergesTxt => "merges.txt",
            Self::Tiktoken => "tiktoken ranks",
            Self::Tekken => "tekken.json",
            Self::Anthropic => "Anthropic JSON",
            Self::SentencePiece => "SentencePiece model",
            Self::Gguf => "GGUF",
            Self::JavaScript => "JavaScript tokenizer",
            Self::Ranks => "ranks",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The format that the content alone shows.
fn from_content(bytes: &[u8]) -> Option<Format> {
    if bytes.starts_with(gguf::MAGIC) {
        return Some(Format::Gguf);
    }
    if sentencepiece::looks_like(bytes) {
        return Some(Format::SentencePiece);
    }
    let text = text_of(Format::MergesTxt, bytes).ok()?;
    if text.trim_start().starts_with('{') {
        return from_keys(text);
    }
    if javascript::looks_like(text) {
        return Some(Format::JavaScript);
    }
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    let first = lines.next()?;
    if first.starts_with("#version") {
        return Some(Format::MergesTxt);
    }
    // Three lines are enough: the first tokens of a rank file are single bytes, which look like no merge.
    let head: Vec<&str> = std::iter::once(first).chain(lines.take(2)).collect();
    if head.iter().all(|line| is_rank_line(line)) {
        return Some(Format::Tiktoken);
    }
    let is_merge = |line: &&str| line.split(' ').filter(|token| !token.is_empty()).count() == 2;
    head.iter().all(is_merge).then_some(Format::MergesTxt)
}

/// The format of a JSON object with these keys at its top.
fn from_keys(text: &str) -> Option<Format> {
    #[derive(Deserialize)]
    struct Keys {
        bpe_ranks: Option<IgnoredAny>,
        config: Option<IgnoredAny>,
        model: Option<IgnoredAny>,
        vocab: Option<IgnoredAny>,
    }
    let keys: Keys = serde_json::from_str(text).ok()?;
    match keys {
        Keys { model: Some(_), .. } => Some(Format::HuggingFace),
        Keys {
            bpe_ranks: Some(_), ..
        } => Some(Format::Anthropic),
        Keys {
            config: Some(_),
            vocab: Some(_),
            ..
        } => Some(Format::Tekken),
        _ => None,
    }
}

fn is_rank_line(line: &str) -> bool {
    line.trim().split_once(' ').is_some_and(|(token, rank)| {
        STANDARD.decode(token).is_ok() && !token.is_empty() && rank.parse::<u32>().is_ok()
    })
}

/// The format that files of this name have by custom.
fn from_name(name: &str) -> Option<Format> {
    let name = name.to_ascii_lowercase();
    let ends = |suffixes: &[&str]| suffixes.iter().any(|suffix| name.ends_with(suffix));
    if ends(&[".model"]) {
        Some(Format::SentencePiece)
    } else if ends(&[".tiktoken"]) {
        Some(Format::Tiktoken)
    } else if ends(&[".gguf"]) {
        Some(Format::Gguf)
    } else if ends(&["merges.txt", ".bpe"]) {
        Some(Format::MergesTxt)
    } else if name.contains("tekken") {
        Some(Format::Tekken)
    } else if ends(&["claude.json"]) {
        Some(Format::Anthropic)
    } else if ends(&[".json"]) {
        Some(Format::HuggingFace)
    } else if ends(&[".js", ".cjs", ".mjs"]) {
        Some(Format::JavaScript)
    } else {
        None
    }
}

/// A file's text, without a byte order mark.
pub(crate) fn text_of(format: Format, bytes: &[u8]) -> Result<&str> {
    let text = std::str::from_utf8(bytes)
        .map_err(|e| format.error(e.valid_up_to() as u64, "the text is not valid UTF-8"))?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// Where a value begins in a JSON file and how it is written: that of the object's key after key, and of the list there the
/// element `k` if it is given. (0, "") for a value that the file does not have. Reads the file once more, so it is for errors.
pub(crate) fn json_value<'a>(bytes: &'a [u8], keys: &[&str], k: Option<usize>) -> (u64, &'a str) {
    let find = || -> Option<&'a str> {
        let mut value = text_of(Format::HuggingFace, bytes).ok()?;
        for key in keys {
            let mut object: BTreeMap<String, &RawValue> = serde_json::from_str(value).ok()?;
            value = object.remove(*key)?.get();
        }
        let Some(k) = k else { return Some(value) };
        let list: Vec<&RawValue> = serde_json::from_str(value).ok()?;
        Some(list.get(k)?.get())
    };
    find().map_or((0, ""), |value| {
        let offset = value.as_ptr().addr() - bytes.as_ptr().addr();
        (offset as u64, value)
    })
}

/// Parses JSON; errors carry the offset. What is well-formed JSON of a wrong shape is an error too.
pub(crate) fn from_json<T: DeserializeOwned>(format: Format, bytes: &[u8]) -> Result<T> {
    let text = text_of(format, bytes)?;
    serde_json::from_str(text).map_err(|e| {
        let lines = text.split_inclusive('\n').take(e.line().saturating_sub(1));
        let offset = lines.map(str::len).sum::<usize>() + e.column().saturating_sub(1);
        format.error((offset + bytes.len() - text.len()) as u64, e.to_string())
    })
}
