//! The JS packages llama-tokenizer-js, mistral-tokenizer-js and llama3-tokenizer-js: two base64 tables in the source,
//! the tokens joined by line ends and the merges as pairs of ids. Up to 65,536 tokens ids have 16 bits, low byte
//! first; above that 17 bits, high bit first.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::format::text_of;
use super::listed::{Listed, detect_alphabet, token_bytes};
use super::{Format, MergeList, MergeReport, ReadOptions, TokenizerSpec};
use crate::error::Result;

const FORMAT: Format = Format::JavaScript;

/// Ends of the names of the two constants.
const VOCABULARY: &str = "vocab_base64 = \"";
const MERGES: &str = "merges_binary = \"";

impl MergeList {
    /// Reads the source of one of the JS packages llama-tokenizer-js, mistral-tokenizer-js and llama3-tokenizer-js.
    /// Their lists are a converter's and are rebuilt, see [`Self::from_hf_json`].
    ///
    /// # Errors
    /// [`Error::Parse`](crate::Error::Parse) if a table is missing or broken, else as [`Self::from_hf_json`].
    pub fn from_javascript(source: &str) -> Result<(Self, MergeReport)> {
        read(source.as_bytes(), &ReadOptions::default())
    }
}

/// Whether both tables are there.
pub(crate) fn looks_like(text: &str) -> bool {
    text.contains(VOCABULARY) && text.contains(MERGES)
}

pub(crate) fn read(bytes: &[u8], options: &ReadOptions) -> Result<(MergeList, MergeReport)> {
    let source = text_of(FORMAT, bytes)?;
    let (vocabulary, start) = table(source, VOCABULARY)?;
    let vocabulary = String::from_utf8(vocabulary)
        .map_err(|_| FORMAT.error(start, "the vocabulary is not valid UTF-8"))?;
    let tokens: Vec<&str> = vocabulary.split('\n').collect();
    let (merges, start) = table(source, MERGES)?;
    let ids = match tokens.len() {
        0..=0x1_0000 => pairs_of_bytes(&merges),
        _ => groups_of_17_bits(&merges),
    };
    let pairs = (ids.chunks_exact(2))
        .map(|pair| match (tokens.get(pair[0]), tokens.get(pair[1])) {
            (Some(left), Some(right)) => Ok((*left, *right)),
            _ => Err(FORMAT.error(
                start,
                format!(
                    "a merge of {} and {}, but only {} tokens",
                    pair[0],
                    pair[1],
                    tokens.len()
                ),
            )),
        })
        .collect::<Result<Vec<_>>>()?;
    let alphabet = (options.alphabet)
        .unwrap_or_else(|| detect_alphabet(pairs.iter().flat_map(|&(left, right)| [left, right])));
    let token =
        |text: &str| token_bytes(alphabet, text).map_err(|reason| FORMAT.error(start, reason));
    let listed = Listed {
        format: FORMAT,
        alphabet,
        merges: (pairs.iter())
            .map(|(left, right)| Ok((token(left)?, token(right)?)))
            .collect::<Result<_>>()?,
        ids: (0_u32..)
            .zip(&tokens)
            .filter_map(|(id, text)| Some((token(text).ok()?, id)))
            .collect(),
        added: Vec::new(),
        spec: TokenizerSpec::default(),
    };
    listed.finish(options)
}

/// The bytes of the table that is assigned to a constant, and where it starts.
fn table(source: &str, name: &str) -> Result<(Vec<u8>, u64)> {
    let start = source.find(name).map(|at| at + name.len()).ok_or_else(|| {
        FORMAT.error(
            0,
            format!("there is no constant `{}`", name.trim_end_matches(" = \"")),
        )
    })?;
    let text = &source[start..];
    let end =
        (text.find('"')).ok_or_else(|| FORMAT.error(start as u64, "the string has no end"))?;
    let bytes = (STANDARD.decode(&text[..end]))
        .map_err(|e| FORMAT.error(start as u64, format!("base64: {e}")))?;
    Ok((bytes, start as u64))
}

fn pairs_of_bytes(bytes: &[u8]) -> Vec<usize> {
    (bytes.chunks_exact(2))
        .map(|pair| usize::from(u16::from_le_bytes([pair[0], pair[1]])))
        .collect()
}

fn groups_of_17_bits(bytes: &[u8]) -> Vec<usize> {
    let bit = |k: usize| usize::from(bytes[k / 8] >> (7 - k % 8) & 1);
    (0..8 * bytes.len() / 17)
        .map(|group| (17 * group..17 * group + 17).fold(0, |id, k| id << 1 | bit(k)))
        .collect()
}
