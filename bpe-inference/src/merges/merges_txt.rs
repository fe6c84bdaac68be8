//! `merges.txt` (also called `vocab.bpe`): a merge a line, the two tokens with a space between.

use rustc_hash::{FxHashMap, FxHashSet};

use super::format::text_of;
use super::listed::{Listed, detect_alphabet, split_pair, token_bytes};
use super::{
    Alphabet, Format, MergeList, MergeReport, ReadOptions, TokenizerSpec, byte_level, readable,
};
use crate::error::{Error, Result};

/// First line of the files; readers take and ignore any version.
const HEADER: &str = "#version:";

impl MergeList {
    /// Reads `merges.txt` or `vocab.bpe`, with or without the `#version` line, with either kind of line ends. The file
    /// does not say what its alphabet is: bytes if every character stands for one, otherwise characters
    /// ([`ReadOptions::alphabet`] decides otherwise).
    ///
    /// # Errors
    /// [`Error::Parse`] for a line that is not two tokens, [`Error::UnknownToken`] and [`Error::DuplicateMerge`] as for
    /// [`Self::from_parts`].
    pub fn from_merges_txt(text: &str) -> Result<(Self, MergeReport)> {
        read(text.as_bytes(), &ReadOptions::default())
    }

    /// Writes the list, prefix included, as `merges.txt`: what [`Self::from_merges_txt`] reads.
    ///
    /// # Errors
    /// [`Error::InvalidValue`] if a token of a character list contains a line feed, which the format cannot express.
    pub fn to_merges_txt(&self) -> Result<String> {
        let mut out = format!("{HEADER} 0.2\n");
        for merge in self.merges() {
            for (token, end) in [(merge.left, ' '), (merge.right, '\n')] {
                let text = self.text(token);
                match self.alphabet() {
                    Alphabet::Bytes => out.push_str(&byte_level::encode(&text)),
                    Alphabet::Characters if text.contains(&b'\n') => {
                        return Err(Error::InvalidValue {
                            name: "token".to_owned(),
                            value: readable(&text),
                            expected: "without line feeds to be written as merges.txt",
                        });
                    }
                    Alphabet::Characters => out.push_str(&String::from_utf8_lossy(&text)),
                }
                out.push(end);
            }
        }
        Ok(out)
    }
}

pub(crate) fn read(bytes: &[u8], options: &ReadOptions) -> Result<(MergeList, MergeReport)> {
    let format = Format::MergesTxt;
    let text = text_of(format, bytes)?;
    let lines = merge_lines(text);
    if lines.is_empty() {
        return Err(format.error(0, "there is no merge"));
    }
    let alphabet = options
        .alphabet
        .unwrap_or_else(|| detect_alphabet(lines.iter().flat_map(|(_, line)| line.split(' '))));
    let mut made: FxHashSet<String> = FxHashSet::default();
    let mut merges = Vec::with_capacity(lines.len());
    for (offset, line) in lines {
        let known = |token: &str| token.chars().nth(1).is_none() || made.contains(token);
        let failed = |reason| format.error(offset, reason);
        let (left, right) = split_pair(line, known).map_err(failed)?;
        merges.push((
            token_bytes(alphabet, left).map_err(failed)?,
            token_bytes(alphabet, right).map_err(failed)?,
        ));
        // Only the tokens of character lists can contain spaces.
        if alphabet == Alphabet::Characters {
            made.insert([left, right].concat());
        }
    }
    let listed = Listed {
        format,
        alphabet,
        merges,
        ids: FxHashMap::default(),
        added: Vec::new(),
        spec: TokenizerSpec::default(),
    };
    listed.finish(options)
}

/// The lines that hold merges, with their offsets. A carriage return ends a line only if it ends all of them.
fn merge_lines(text: &str) -> Vec<(u64, &str)> {
    let mut offset = 0;
    let mut lines: Vec<(u64, &str)> = (text.split('\n'))
        .map(|line| {
            let start = offset;
            offset += line.len() as u64 + 1;
            (start, line)
        })
        .filter(|(_, line)| !line.is_empty())
        .collect();
    if lines.iter().all(|(_, line)| line.ends_with('\r')) {
        for (_, line) in &mut lines {
            *line = &line[..line.len() - 1];
        }
    }
    let header = |start: u64, line: &str| start == 0 && line.starts_with(HEADER);
    lines.retain(|&(start, line)| !line.is_empty() && !header(start, line));
    lines
}
