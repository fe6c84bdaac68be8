//! Unicode normalisation before pretokenization.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use unicode_normalization::char::canonical_combining_class;
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick, is_nfkc_quick};

/// A Unicode normalisation form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Normalizer {
    /// Text as it is.
    #[default]
    None,
    /// Canonical composition (GPT-NeoX, Command R, Qwen).
    Nfc,
    /// Compatibility composition (Claude 1 and 2).
    Nfkc,
}

impl Normalizer {
    /// The normal form of `text`, borrowed if `text` is known to be in it.
    pub fn normalize<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if matches!(self, Self::None) || self.leaves(text) {
            return Cow::Borrowed(text);
        }
        // Nothing composes or reorders across a line feed, and most lines need no work.
        let mut out = String::with_capacity(text.len());
        for line in text.split_inclusive('\n') {
            match self {
                _ if self.leaves(line) => out.push_str(line),
                Self::Nfkc => out.extend(line.nfkc()),
                _ => out.extend(line.nfc()),
            }
        }
        Cow::Owned(out)
    }

    /// Whether a text that is cut between these two characters has the same normal form in two parts as in one.
    pub(super) fn allows_cut(self, before: char, after: char) -> bool {
        let stays = |c: char| c.is_ascii() || self.leaves_one(c);
        matches!(self, Self::None)
            || (stays(before) && stays(after) && canonical_combining_class(after) == 0)
    }

    fn leaves_one(self, c: char) -> bool {
        self.leaves(c.encode_utf8(&mut [0; 4]))
    }

    /// Whether `text` is certain to be in normal form already.
    fn leaves(self, text: &str) -> bool {
        text.is_ascii()
            || match self {
                Self::None => true,
                Self::Nfc => is_nfc_quick(text.chars()) == IsNormalized::Yes,
                Self::Nfkc => is_nfkc_quick(text.chars()) == IsNormalized::Yes,
            }
    }
}
