//! Rules of trainers that keep a pair from competing although both its tokens stand side by side in a word.

use serde::{Deserialize, Serialize};
use unicode_script::{Script, UnicodeScript};

use super::marker::MARKER;

/// Which pairs a trainer considered at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum PairFilter {
    /// Every pair competes (Hugging Face, tiktoken).
    #[default]
    None,
    /// SentencePiece's rules for what may become a piece, read off its trainer (`IsValidSentencePiece`).
    SentencePiece {
        /// The longest piece in characters, the marker included (its default: 16).
        max_chars: usize,
        /// Whether digits and letters may not mix (`split_by_number`; its default: yes). Without it a decimal digit goes
        /// with any script.
        split_numbers: bool,
        /// Whether a decimal digit may only be a piece by itself (`split_digits`; its default: no).
        split_digits: bool,
        /// Whether all characters of a piece must share a script (`split_by_unicode_script`; its default: yes). Han, Hiragana and
        /// Katakana count as one script; an inherited script is that of the character before. Punctuation and ASCII
        /// digits are of the script `Common`, so they never mix with letters.
        split_scripts: bool,
        /// Whether pieces of markers alone may be longer than one (`allow_whitespace_only_pieces`; its default: no).
        marker_runs: bool,
    },
}

impl PairFilter {
    /// The rules of a SentencePiece trainer with its default options, except that digits are split: Llama's options.
    pub const fn sentencepiece() -> Self {
        Self::SentencePiece {
            max_chars: 16,
            split_numbers: true,
            split_digits: true,
            split_scripts: true,
            marker_runs: true,
        }
    }

    /// Whether a pair of these two token texts may compete, which depends on their concatenation alone. Text that is not
    /// UTF-8 may not under SentencePiece's rules.
    pub fn allows(&self, left: &[u8], right: &[u8]) -> bool {
        let Self::SentencePiece {
            max_chars,
            split_numbers,
            split_digits,
            split_scripts,
            marker_runs,
        } = *self
        else {
            return true;
        };
        let (Ok(left), Ok(right)) = (std::str::from_utf8(left), std::str::from_utf8(right)) else {
            return false;
        };
        let chars = || left.chars().chain(right.chars());
        let length = chars().take(max_chars.saturating_add(1)).count();
        if length > max_chars || chars().any(|c| FORBIDDEN.contains(&c)) {
            return false;
        }
        let is_marker = |c: char| MARKER.starts_with(c);
        let only_markers = chars().all(is_marker);
        let misplaced = !(only_markers && marker_runs) && chars().skip(1).any(is_marker);
        let mixes_digits = split_digits && length > 1 && chars().any(is_decimal);
        let letters = chars().filter(|&c| !is_marker(c));
        let mixed = split_scripts && mixes_scripts(letters, split_numbers);
        !(misplaced || mixes_digits || mixed)
    }
}

/// Characters that no piece may hold: NUL, tab (the trainer's own separator), space, and its sign for unknown.
const FORBIDDEN: [char; 4] = ['\0', '\t', ' ', '\u{2585}'];

/// Whether two characters have different scripts in SentencePiece's view.
fn mixes_scripts(chars: impl Iterator<Item = char>, split_numbers: bool) -> bool {
    let mut before = None;
    for c in chars {
        let script = match c.script() {
            Script::Hiragana | Script::Katakana => Some(Script::Han),
            _ if c == '\u{30fc}' => Some(Script::Han),
            Script::Inherited => before,
            _ if !split_numbers && is_decimal(c) => None,
            script => Some(script),
        };
        if let (Some(before), Some(script)) = (before, script)
            && before != script
        {
            return true;
        }
        before = script;
    }
    false
}

/// Whether `c` is a decimal digit to SentencePiece: of ASCII or full-width.
fn is_decimal(c: char) -> bool {
    matches!(c, '0'..='9' | '\u{ff10}'..='\u{ff19}')
}
