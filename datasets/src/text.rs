//! Clean plain text by category, made from the packages of the kit.
//!
//! Each function returns a collection: one [`TextCategory`] for each language, programming language or kind of text,
//! in a fixed order and with the same text on every run. What is done to the text, and why:
//!
//! * **Markup goes.** Tags, scripts and page furniture are cut out and entities decoded; a block (paragraph, list
//!   item, heading) becomes a line.
//! * **What is not of the category goes.** A translation holds untranslated parts: every line that the English
//!   edition has too (to the letter, or but for a translated title in it) is dropped, otherwise a "German" category is partly English and any truth about a mixture is
//!   false. Categories with too little left are not returned.
//! * **Repeats go.** Licence headers, page footers and menu labels stand in thousands of files. They say nothing of
//!   a language, and they tie the halves of a split sample together. Prose: each line counts once. Code: a line of
//!   [`CODE_REPEAT_CHARS`] characters or more counts at most [`CODE_REPEATS`] times; shorter ones (`}`, `return x;`)
//!   are the language itself and stay. [`TextConfig::keep_repeats`] switches this off.
//! * **A limit samples, it does not cut.** With [`TextConfig::max_bytes`] files are taken in an order that depends on
//!   a hash of their paths, so that the text comes from all over the source.
//!
//! ```no_run
//! use fire_assay_datasets::Kit;
//! use fire_assay_datasets::text::{self, TextConfig};
//!
//! let kit = Kit::open()?;
//! let config = TextConfig::new().with_only(["go", "rust"]).with_max_bytes(2_000_000);
//! for category in text::source_code(&kit, &config)? {
//!     println!("{}: {} bytes from {}", category.name, category.text.len(), category.source);
//! }
//! # Ok::<(), fire_assay_datasets::Error>(())
//! ```

mod code;
mod corpus;
mod documentation;
mod domains;
mod markup;
mod pools;
mod sample;

use std::io::Read as _;

use serde::Serialize;

use crate::error::{Error, Result};
use crate::kit::{Kit, State};
use crate::manifest;

pub(crate) use code::permissive_code;
pub use code::{CODE_REPEAT_CHARS, CODE_REPEATS, source_code, source_code_fetched};
pub use corpus::{HeldOut, english, hold_out};
pub use documentation::{
    compiler_messages, gnome_docs, handbook, libreoffice_fetched, libreoffice_help, udhr,
};
pub use domains::domains;
pub use markup::{Markup, plain_text};
pub use pools::unified;

/// The name that English has in collections of languages.
pub const ENGLISH: &str = "en";

/// Text of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextCategory {
    /// Its name within the collection, such as `de`, `rust` or `mail`.
    pub name: String,
    /// The text; every line ends with a line feed.
    pub text: String,
    /// The packages that it comes from, joined by ` + `.
    pub source: String,
    /// What was taken and what was dropped.
    pub stats: TextStats,
}

/// What became of the files of a category.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct TextStats {
    /// Files that were read.
    pub files: u64,
    /// Files among them that were left out: not text, or not fit (see the collection).
    pub skipped: u64,
    /// Size of the files that were read, in bytes, before decompression.
    pub read_bytes: u64,
    /// Bytes of lines dropped because the English edition has them too.
    pub shared_bytes: u64,
    /// Bytes of lines dropped as repeats.
    pub repeated_bytes: u64,
}

impl TextStats {
    fn add(&mut self, other: &Self) {
        self.files += other.files;
        self.skipped += other.skipped;
        self.read_bytes += other.read_bytes;
        self.shared_bytes += other.shared_bytes;
        self.repeated_bytes += other.repeated_bytes;
    }
}

/// Which categories of a collection can be read from a kit, by name and in the collection's order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fetched {
    /// Those whose packages are all there.
    pub present: Vec<String>,
    /// The others.
    pub absent: Vec<String>,
}

impl Fetched {
    /// Looks at the packages of each category.
    fn of<'a>(
        kit: &Kit,
        categories: impl Iterator<Item = (&'a str, &'a [&'static str])>,
    ) -> Result<Self> {
        let mut fetched = Self::default();
        for (name, packages) in categories {
            let mut there = true;
            for id in packages {
                there &= matches!(kit.state(manifest::package(id)?)?, State::Ready(_));
            }
            let names = if there {
                &mut fetched.present
            } else {
                &mut fetched.absent
            };
            names.push(name.to_owned());
        }
        Ok(fetched)
    }
}

/// What to read, and how much of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextConfig {
    /// Bytes of text for a category, at most; default [`TextConfig::DEFAULT_MAX_BYTES`], `None` for no limit.
    pub max_bytes: Option<usize>,
    /// Names of the categories to read; default `None`, all. Only their packages are needed (and English, where it is
    /// subtracted).
    pub only: Option<Vec<String>>,
    /// Keep repeated lines; default no.
    pub keep_repeats: bool,
}

impl TextConfig {
    /// The default of [`TextConfig::max_bytes`].
    pub const DEFAULT_MAX_BYTES: usize = 10_000_000;

    /// The defaults.
    pub fn new() -> Self {
        Self {
            max_bytes: Some(Self::DEFAULT_MAX_BYTES),
            only: None,
            keep_repeats: false,
        }
    }

    /// Sets the limit for each category.
    pub fn with_max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = Some(bytes);
        self
    }

    /// Takes the limit away.
    pub fn without_limit(mut self) -> Self {
        self.max_bytes = None;
        self
    }

    /// Reads only these categories.
    pub fn with_only<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.only = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// Sets [`TextConfig::keep_repeats`].
    pub fn with_keep_repeats(mut self, keep: bool) -> Self {
        self.keep_repeats = keep;
        self
    }

    fn wants(&self, name: &str) -> bool {
        self.only
            .as_ref()
            .is_none_or(|only| only.iter().any(|wanted| wanted == name))
    }

    /// Checks that every name that was asked for exists.
    fn check_names<'a>(
        &self,
        collection: &'static str,
        known: impl Iterator<Item = &'a str> + Clone,
    ) -> Result<()> {
        for name in self.only.iter().flatten() {
            if !known.clone().any(|known| known == name) {
                return Err(Error::UnknownCategory {
                    collection,
                    name: name.clone(),
                    known: known.collect::<Vec<_>>().join(", "),
                });
            }
        }
        Ok(())
    }
}

impl Default for TextConfig {
    fn default() -> Self {
        Self::new()
    }
}

/// The contents of a gzip file (dictionaries' `.dz` is one), if it is one and not more than [`MAX_GUNZIPPED`].
fn gunzip(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut contents = Vec::new();
    flate2::read::MultiGzDecoder::new(bytes)
        .take(MAX_GUNZIPPED + 1)
        .read_to_end(&mut contents)
        .ok()?;
    (contents.len() as u64 <= MAX_GUNZIPPED).then_some(contents)
}

/// Several times the largest such file in the kit.
const MAX_GUNZIPPED: u64 = 1 << 28;

/// Bytes as text: UTF-8, and lines that are not valid UTF-8 as Windows' superset of Latin-1, which old mail and
/// documents are written in.
fn decode_leniently(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for line in bytes.split_inclusive(|&byte| byte == b'\n') {
        match std::str::from_utf8(line) {
            Ok(line) => text += line,
            Err(_) => text.extend(line.iter().map(|&byte| windows_1252(byte))),
        }
    }
    text
}

fn windows_1252(byte: u8) -> char {
    // 0x80 to 0x9f; where Windows defines nothing, Latin-1's control characters.
    const UPPER: [char; 32] = [
        '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž',
        '\u{8f}', '\u{90}', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}',
        'ž', 'Ÿ',
    ];
    match byte {
        0x80..=0x9f => UPPER[usize::from(byte - 0x80)],
        _ => char::from(byte),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_lines_that_are_not_utf8_are_read_as_windows_1252() {
        let bytes = b"na\xc3\xafve\nna\xefve \x93quoted\x94 \x80\nplain";
        assert_eq!(decode_leniently(bytes), "naïve\nnaïve “quoted” €\nplain");
    }
}
