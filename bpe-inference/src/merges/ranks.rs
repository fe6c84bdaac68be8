//! Tokens with ranks and no merges: tiktoken, tekken and Anthropic files, and ranks given in memory.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustc_hash::FxHashSet;
use serde::Deserialize;

use super::format::{from_json, json_value, text_of};
use super::recovery::{FileToken, recover};
use super::{
    Alphabet, Format, ListOrder, ListedToken, MergeList, MergeReport, ReadOptions, TokenizerSpec,
};
use crate::error::Result;

impl MergeList {
    /// Recovers the merges of a byte-level vocabulary from the order of its tokens, exactly: the bytes of each token are
    /// merged with the tokens of lower rank only, lowest first, leftmost among equals, and the two parts left are its
    /// merge. Tokens that end in more parts are reported as [`unreachable`](MergeReport::unreachable). Ranks may
    /// have gaps and come in any order.
    ///
    /// # Errors
    /// [`Error::Unreachable`](crate::Error::Unreachable) or [`Error::Parse`](crate::Error::Parse) if more tokens than
    /// [`ReadOptions`] allows have no merge, or no rank of their own; a token without text is a parse error too,
    /// whose offset is the token's place.
    pub fn from_ranks<T: AsRef<[u8]>>(
        tokens: impl IntoIterator<Item = (T, u32)>,
    ) -> Result<(Self, MergeReport)> {
        let tokens = (tokens.into_iter())
            .map(|(text, rank)| (text.as_ref().to_vec(), rank))
            .collect();
        Ranked::new(Format::Ranks, tokens).finish(&ReadOptions::default())
    }

    /// Reads a tiktoken rank file: lines of a base64 token, a space and its rank. See [`Self::from_ranks`].
    ///
    /// # Errors
    /// As [`Self::from_ranks`]; [`Error::Parse`](crate::Error::Parse) for a line of another form.
    pub fn from_tiktoken(bytes: &[u8]) -> Result<(Self, MergeReport)> {
        read_tiktoken(bytes, &ReadOptions::default())
    }

    /// Reads a tekken file of Mistral: JSON with the regular expression and base64 tokens with ranks. All tokens of
    /// the file are used, also those beyond the size of the model's vocabulary. See [`Self::from_ranks`].
    ///
    /// # Errors
    /// As [`Self::from_ranks`]; [`Error::Parse`](crate::Error::Parse) for JSON of another form.
    pub fn from_tekken_json(bytes: &[u8]) -> Result<(Self, MergeReport)> {
        read_tekken(bytes, &ReadOptions::default())
    }

    /// Reads Anthropic's JSON: `pat_str` and `bpe_ranks`, whose lines are `! FIRST-RANK` and base64 tokens.
    /// See [`Self::from_ranks`].
    ///
    /// # Errors
    /// As [`Self::from_ranks`]; [`Error::Parse`](crate::Error::Parse) for JSON of another form.
    pub fn from_anthropic_json(bytes: &[u8]) -> Result<(Self, MergeReport)> {
        read_anthropic(bytes, &ReadOptions::default())
    }
}

/// Tokens of a byte-level vocabulary with their ranks, in the order of the file.
struct Ranked {
    format: Format,
    tokens: Vec<(Vec<u8>, u32)>,
    added: Vec<ListedToken>,
    pattern: Option<String>,
}

impl Ranked {
    fn new(format: Format, tokens: Vec<(Vec<u8>, u32)>) -> Self {
        Self {
            format,
            tokens,
            added: Vec::new(),
            pattern: None,
        }
    }

    fn finish(mut self, options: &ReadOptions) -> Result<(MergeList, MergeReport)> {
        if let Some(place) = self.tokens.iter().position(|(text, _)| text.is_empty()) {
            let reason = format!("the token of rank {} is empty", self.tokens[place].1);
            return Err(self.format.error(place as u64, reason));
        }
        self.tokens.sort_by_key(|&(_, rank)| rank);
        let duplicate_ranks: Vec<(usize, ListedToken)> = (1..self.tokens.len())
            .filter(|&k| self.tokens[k].1 == self.tokens[k - 1].1)
            .map(|k| {
                (
                    k,
                    ListedToken::new(Some(self.tokens[k].1), &self.tokens[k].0),
                )
            })
            .collect();
        options.check_ranks(self.format, self.tokens.len(), &duplicate_ranks)?;

        let mut bytes_seen = [false; 256];
        let mut seen: FxHashSet<Vec<u8>> = FxHashSet::default();
        let mut tokens = Vec::with_capacity(self.tokens.len());
        let mut repeated_tokens = Vec::new();
        let (mut listed, mut redundant) = (0, 0);
        for (text, rank) in self.tokens {
            let single = text.len() == 1;
            listed += usize::from(!single);
            if !seen.insert(text.clone()) {
                redundant += usize::from(!single);
                repeated_tokens.push(ListedToken::new(Some(rank), &text));
            } else if single {
                bytes_seen[usize::from(text[0])] = true;
            } else {
                tokens.push(FileToken {
                    id: Some(rank),
                    text,
                });
            }
        }
        let (list, unreachable) = recover(Alphabet::Bytes, tokens, options)?;
        let spec = TokenizerSpec {
            pattern: self.pattern,
            byte_level: true,
            ..TokenizerSpec::default()
        };
        let mut report = MergeReport::new(self.format, ListOrder::Ranks, list.merges().len(), spec);
        report.listed = listed;
        report.redundant = redundant;
        report.unreachable = unreachable;
        report.duplicate_ranks = duplicate_ranks
            .into_iter()
            .map(|(_, token)| token)
            .collect();
        report.repeated_tokens = repeated_tokens;
        report.missing_bytes = (0..=255).filter(|&b| !bytes_seen[usize::from(b)]).collect();
        report.added = self.added;
        Ok((list, report))
    }
}

impl ReadOptions {
    /// Fails if more than the allowed share of the first `tokens` have no rank of their own: their order is unknown.
    pub(crate) fn check_ranks(
        &self,
        format: Format,
        tokens: usize,
        duplicates: &[(usize, ListedToken)],
    ) -> Result<()> {
        let considered = self.considered.min(tokens);
        let found = duplicates.iter().filter(|(k, _)| *k < considered).count();
        if found as f64 > self.unreachable_limit * considered as f64 {
            let first = &duplicates[0].1;
            return Err(format.error(
                0,
                format!(
                    "{found} of the first {considered} tokens have the rank of another, `{}` for one",
                    first.text
                ),
            ));
        }
        Ok(())
    }
}

pub(crate) fn read_tiktoken(
    bytes: &[u8],
    options: &ReadOptions,
) -> Result<(MergeList, MergeReport)> {
    let format = Format::Tiktoken;
    let text = text_of(format, bytes)?;
    let mut tokens = Vec::new();
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        let content = line.trim_ascii();
        if !content.is_empty() {
            let token = (content.split_once(' '))
                .ok_or_else(|| "expected a base64 token, a space and a rank".to_owned())
                .and_then(|(token, rank)| {
                    let text = STANDARD
                        .decode(token)
                        .map_err(|e| format!("`{token}`: {e}"))?;
                    let rank = rank.parse().map_err(|e| format!("rank `{rank}`: {e}"))?;
                    Ok((text, rank))
                })
                .map_err(|reason| format.error(offset, reason))?;
            tokens.push(token);
        }
        offset += line.len() as u64;
    }
    if tokens.is_empty() {
        return Err(format.error(0, "there is no token"));
    }
    Ranked::new(format, tokens).finish(options)
}

pub(crate) fn read_tekken(bytes: &[u8], options: &ReadOptions) -> Result<(MergeList, MergeReport)> {
    #[derive(Deserialize)]
    struct File {
        config: Config,
        vocab: Vec<Token>,
        #[serde(default)]
        special_tokens: Option<Vec<Special>>,
    }
    #[derive(Deserialize)]
    struct Config {
        #[serde(default)]
        pattern: Option<String>,
    }
    #[derive(Deserialize)]
    struct Token {
        rank: u32,
        token_bytes: String,
    }
    #[derive(Deserialize)]
    struct Special {
        rank: u32,
        token_str: String,
    }
    let format = Format::Tekken;
    let file: File = from_json(format, bytes)?;
    let tokens = (file.vocab.iter().enumerate())
        .map(|(k, token)| {
            decode(token.rank, &token.token_bytes)
                .map_err(|reason| format.error(json_value(bytes, &["vocab"], Some(k)).0, reason))
        })
        .collect::<Result<_>>()?;
    let mut ranked = Ranked::new(format, tokens);
    ranked.pattern = file.config.pattern;
    ranked.added = (file.special_tokens.iter().flatten())
        .map(|special| ListedToken::new(Some(special.rank), special.token_str.as_bytes()))
        .collect();
    ranked.finish(options)
}

pub(crate) fn read_anthropic(
    bytes: &[u8],
    options: &ReadOptions,
) -> Result<(MergeList, MergeReport)> {
    #[derive(Deserialize)]
    struct File {
        bpe_ranks: String,
        #[serde(default)]
        pat_str: Option<String>,
        #[serde(default)]
        special_tokens: std::collections::BTreeMap<String, u32>,
    }
    let format = Format::Anthropic;
    let file: File = from_json(format, bytes)?;
    // An error about a part of `bpe_ranks`.
    let failed = |part: &str, reason: String| {
        let place = part.as_ptr().addr() - file.bpe_ranks.as_ptr().addr();
        let (start, written) = json_value(bytes, &["bpe_ranks"], None);
        format.error(start + written_before(written, place), reason)
    };
    let mut tokens = Vec::new();
    for line in file.bpe_ranks.lines() {
        let mut words = line.split_ascii_whitespace();
        let Some(mark) = words.next() else { continue };
        let first: u32 = (words.next().filter(|_| mark == "!"))
            .and_then(|rank| rank.parse().ok())
            .ok_or_else(|| {
                let reason = "a line of bpe_ranks does not start with `! RANK`";
                failed(line, reason.to_owned())
            })?;
        for (k, token) in words.enumerate() {
            let rank = (u32::try_from(k).ok().and_then(|k| first.checked_add(k)))
                .ok_or_else(|| failed(token, format!("ranks from {first} on exceed 32 bits")))?;
            tokens.push(decode(rank, token).map_err(|reason| failed(token, reason))?);
        }
    }
    if tokens.is_empty() {
        return Err(failed(&file.bpe_ranks, "bpe_ranks has no token".to_owned()));
    }
    let mut ranked = Ranked::new(format, tokens);
    ranked.pattern = file.pat_str;
    ranked.added = (file.special_tokens.iter())
        .map(|(text, id)| ListedToken::new(Some(*id), text.as_bytes()))
        .collect();
    ranked.finish(options)
}

/// A base64 token with its rank.
fn decode(rank: u32, token: &str) -> Result<(Vec<u8>, u32), String> {
    let text = (STANDARD.decode(token))
        .map_err(|e| format!("the token of rank {rank}, `{token}`: {e}"))?;
    match text.is_empty() {
        true => Err(format!("the token of rank {rank} is empty")),
        false => Ok((text, rank)),
    }
}

/// Bytes that a JSON string takes in its file, opening quote included, before byte `place` of its text.
fn written_before(written: &str, place: usize) -> u64 {
    let mut text = 0;
    let mut at = 1;
    while text < place && at < written.len() {
        let rest = &written.as_bytes()[at..];
        let (taken, made) = match rest {
            [b'\\', b'u', ..] => {
                let code = written.get(at + 2..at + 6);
                match code.and_then(|code| u32::from_str_radix(code, 16).ok()) {
                    // Two surrogates make one character of four bytes; anything else is one by itself.
                    Some(0xd800..=0xdfff) => (12, 4),
                    Some(code) => (6, char::from_u32(code).map_or(1, char::len_utf8)),
                    None => (6, 1),
                }
            }
            [b'\\', ..] => (2, 1),
            _ => (1, 1),
        };
        (at, text) = (at + taken, text + made);
    }
    at as u64
}
