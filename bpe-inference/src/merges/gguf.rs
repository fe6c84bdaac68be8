//! GGUF model files: the key-value metadata at their start holds the tokenizer. The tensors are not read.

use std::io::Read;
use std::path::Path;

use super::listed::{Listed, split_pair, token_bytes};
use super::sentencepiece::{Piece, PieceKind, from_pieces};
use super::{Alphabet, Format, MergeList, MergeReport, ReadOptions, TokenizerSpec};
use crate::error::{Error, Result};

const FORMAT: Format = Format::Gguf;

/// The first bytes of every file.
pub(crate) const MAGIC: &[u8] = b"GGUF";

/// Arrays of arrays deeper than this are refused.
const MAX_DEPTH: usize = 8;

impl MergeList {
    /// Reads the tokenizer of a GGUF file (versions 2 and 3, little-endian): `tokenizer.ggml.model` is `gpt2`, with
    /// merges, or `llama`, with scored SentencePiece pieces. The bytes may end after the metadata.
    ///
    /// # Errors
    /// [`Error::NotBpe`] for another `tokenizer.ggml.model`, [`Error::Parse`] if the metadata is broken, else as
    /// [`Self::from_hf_json`] and [`Self::from_sentencepiece_model`].
    pub fn from_gguf(bytes: &[u8]) -> Result<(Self, MergeReport)> {
        read(bytes, Path::new("GGUF"), &ReadOptions::default())
    }
}

/// What the metadata says about the tokenizer.
#[derive(Default)]
struct Metadata {
    model: Option<String>,
    preset: Option<String>,
    tokens: Vec<String>,
    scores: Vec<f32>,
    kinds: Array<u64>,
    merges: Option<Array<String>>,
    /// Where the metadata end.
    end: u64,
}

/// The elements of an array, and where in the file the first one begins.
#[derive(Default)]
struct Array<T> {
    elements: Vec<T>,
    start: u64,
}

impl Array<String> {
    /// Where the text of an element begins: every element before is a length of 8 bytes and as much text.
    fn offset(&self, element: usize) -> u64 {
        let before: u64 = (self.elements[..element].iter())
            .map(|text| 8 + text.len() as u64)
            .sum();
        self.start + before + 8
    }
}

/// Reads from the start of a file; `path` is named in errors.
pub(crate) fn read(
    reader: impl Read,
    path: &Path,
    options: &ReadOptions,
) -> Result<(MergeList, MergeReport)> {
    let metadata = Source::new(reader, path).metadata()?;
    let spec = TokenizerSpec {
        preset: metadata.preset.clone(),
        ..TokenizerSpec::default()
    };
    match metadata.model.as_deref() {
        Some("gpt2") => from_merges(metadata, spec, options),
        Some("llama") => from_scores(metadata, spec, options),
        Some(other) => Err(Error::NotBpe {
            model: other.to_owned(),
        }),
        None => Err(FORMAT.error(metadata.end, "there is no tokenizer.ggml.model")),
    }
}

fn from_merges(
    metadata: Metadata,
    spec: TokenizerSpec,
    options: &ReadOptions,
) -> Result<(MergeList, MergeReport)> {
    let lines = (metadata.merges)
        .ok_or_else(|| FORMAT.error(metadata.end, "there is no tokenizer.ggml.merges"))?;
    let alphabet = Alphabet::Bytes;
    let token = |text: &str| token_bytes(alphabet, text);
    let merges = (lines.elements.iter().enumerate())
        .map(|(k, line)| {
            // Byte-level tokens contain no spaces.
            split_pair(line, |_| false)
                .and_then(|(left, right)| Ok((token(left)?, token(right)?)))
                .map_err(|reason| FORMAT.error(lines.offset(k), format!("merge {k}: {reason}")))
        })
        .collect::<Result<_>>()?;
    let is_added = |id: u32| {
        let kind = metadata.kinds.elements.get(id as usize).copied();
        kind.and_then(PieceKind::from_number) == Some(PieceKind::Added)
    };
    let numbered = || (0_u32..).zip(&metadata.tokens);
    let listed = Listed {
        format: FORMAT,
        alphabet,
        merges,
        ids: numbered()
            .filter(|(id, _)| !is_added(*id))
            .filter_map(|(id, text)| Some((token(text).ok()?, id)))
            .collect(),
        added: numbered()
            .filter(|(id, _)| is_added(*id))
            .map(|(id, text)| (text.clone().into_bytes(), id))
            .collect(),
        spec,
    };
    listed.finish(options)
}

fn from_scores(
    metadata: Metadata,
    spec: TokenizerSpec,
    options: &ReadOptions,
) -> Result<(MergeList, MergeReport)> {
    let tokens = metadata.tokens.len();
    for (name, found) in [
        ("scores", metadata.scores.len()),
        ("token_type", metadata.kinds.elements.len()),
    ] {
        if found != tokens {
            let reason = format!("{tokens} tokens, but {found} values in tokenizer.ggml.{name}");
            return Err(FORMAT.error(metadata.end, reason));
        }
    }
    let kinds = metadata.kinds;
    let pieces = ((0_u64..)
        .zip(metadata.tokens)
        .zip(metadata.scores)
        .zip(kinds.elements))
    .map(|(((k, text), score), kind)| {
        let kind = PieceKind::from_number(kind).ok_or_else(|| {
            let reason = format!("the token `{text}` is of the unknown type {kind}");
            FORMAT.error(kinds.start + 4 * k, reason)
        })?;
        Ok(Piece { text, score, kind })
    })
    .collect::<Result<_>>()?;
    from_pieces(FORMAT, pieces, spec, options)
}

/// The types of values, by number.
mod kind {
    pub(super) const U32: u32 = 4;
    pub(super) const I32: u32 = 5;
    pub(super) const F32: u32 = 6;
    pub(super) const STRING: u32 = 8;
    pub(super) const ARRAY: u32 = 9;
}

/// A reader that knows where it is.
struct Source<'a, R> {
    reader: R,
    offset: u64,
    path: &'a Path,
}

impl<'a, R: Read> Source<'a, R> {
    fn new(reader: R, path: &'a Path) -> Self {
        Self {
            reader,
            offset: 0,
            path,
        }
    }

    fn metadata(&mut self) -> Result<Metadata> {
        if self.bytes(MAGIC.len() as u64)? != MAGIC {
            return Err(FORMAT.error(0, "the file does not start with GGUF"));
        }
        let version = self.u32()?;
        if !(2..=3).contains(&version) {
            let reason = match version.swap_bytes() {
                2 | 3 => "big-endian files are not supported".to_owned(),
                _ => format!("version {version} is not supported, only 2 and 3"),
            };
            return Err(FORMAT.error(4, reason));
        }
        self.u64()?; // The number of tensors.
        let entries = self.u64()?;
        let mut metadata = Metadata::default();
        for _ in 0..entries {
            let key = self.string()?;
            let start = self.offset;
            let value_type = self.u32()?;
            let mismatch =
                || FORMAT.error(start, format!("`{key}` has a value of type {value_type}"));
            match key.as_str() {
                "tokenizer.ggml.model" | "tokenizer.ggml.pre" => {
                    if value_type != kind::STRING {
                        return Err(mismatch());
                    }
                    let value = Some(self.string()?);
                    match key.as_str() {
                        "tokenizer.ggml.model" => metadata.model = value,
                        _ => metadata.preset = value,
                    }
                }
                "tokenizer.ggml.tokens" | "tokenizer.ggml.merges" => {
                    let strings = self.array(&key, value_type, &[kind::STRING], Self::string)?;
                    match key.as_str() {
                        "tokenizer.ggml.tokens" => metadata.tokens = strings.elements,
                        _ => metadata.merges = Some(strings),
                    }
                }
                "tokenizer.ggml.scores" => {
                    let scores = self.array(&key, value_type, &[kind::F32], |source| {
                        Ok(f32::from_bits(source.u32()?))
                    })?;
                    metadata.scores = scores.elements;
                }
                "tokenizer.ggml.token_type" => {
                    let types = [kind::I32, kind::U32];
                    metadata.kinds =
                        self.array(&key, value_type, &types, |source| Ok(source.u32()?.into()))?;
                }
                _ => self.skip(value_type, MAX_DEPTH)?,
            }
        }
        metadata.end = self.offset;
        Ok(metadata)
    }

    /// An array whose elements are of one of the types; memory grows with what the file really has.
    fn array<T>(
        &mut self,
        key: &str,
        value_type: u32,
        types: &[u32],
        element: impl Fn(&mut Self) -> Result<T>,
    ) -> Result<Array<T>> {
        let start = self.offset;
        let found = match value_type {
            kind::ARRAY => self.u32()?,
            other => other,
        };
        if value_type != kind::ARRAY || !types.contains(&found) {
            let reason = format!("`{key}` is not an array of the expected type but of {found}");
            return Err(FORMAT.error(start, reason));
        }
        let length = self.u64()?;
        let start = self.offset;
        let elements = (0..length).map(|_| element(self)).collect::<Result<_>>()?;
        Ok(Array { elements, start })
    }

    fn skip(&mut self, value_type: u32, depth: usize) -> Result<()> {
        match value_type {
            kind::STRING => {
                let length = self.u64()?;
                self.pass(length)
            }
            kind::ARRAY => {
                let start = self.offset;
                let element = self.u32()?;
                let length = self.u64()?;
                match (width(element), depth.checked_sub(1)) {
                    (Some(width), _) => self.pass(length.saturating_mul(width)),
                    (None, Some(depth)) => (0..length).try_for_each(|_| self.skip(element, depth)),
                    (None, None) => Err(FORMAT.error(start, "arrays are nested too deep")),
                }
            }
            other => match width(other) {
                Some(width) => self.pass(width),
                None => {
                    let reason = format!("a value of the unknown type {other}");
                    Err(FORMAT.error(self.offset, reason))
                }
            },
        }
    }

    fn u32(&mut self) -> Result<u32> {
        let mut bytes = [0; 4];
        self.fill(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn u64(&mut self) -> Result<u64> {
        let mut bytes = [0; 8];
        self.fill(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn string(&mut self) -> Result<String> {
        let length = self.u64()?;
        let start = self.offset;
        String::from_utf8(self.bytes(length)?).map_err(|e| {
            let at = e.utf8_error().valid_up_to() as u64;
            FORMAT.error(start + at, "a string is not valid UTF-8")
        })
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<()> {
        let read = self.bytes(bytes.len() as u64)?;
        bytes.copy_from_slice(&read);
        Ok(())
    }

    fn bytes(&mut self, length: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let read = (&mut self.reader).take(length).read_to_end(&mut bytes);
        self.passed(length, read.map(|read| read as u64))?;
        Ok(bytes)
    }

    fn pass(&mut self, length: u64) -> Result<()> {
        let read = std::io::copy(&mut (&mut self.reader).take(length), &mut std::io::sink());
        self.passed(length, read)
    }

    /// Checks that all bytes asked for were there.
    fn passed(&mut self, length: u64, read: std::io::Result<u64>) -> Result<()> {
        let read = read.map_err(|source| Error::io(self.path, source))?;
        if read < length {
            let reason = format!("{length} bytes expected, {read} left");
            return Err(FORMAT.error(self.offset, reason));
        }
        self.offset += length;
        Ok(())
    }
}

/// Bytes of a value of a type of fixed size.
fn width(value_type: u32) -> Option<u64> {
    match value_type {
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        10..=12 => Some(8),
        _ => None,
    }
}
