//! The Unicode classes that pretokenizers distinguish, as one byte of flags a character.
//!
//! The table is filled from the ranges of `regex-syntax`, so a class here holds exactly the characters that the
//! same class holds in a regular expression of the `regex` family.

use std::sync::LazyLock;

use regex_syntax::hir::{Class, HirKind};

/// `\p{L}`.
pub(super) const LETTER: u8 = 1;
/// `\p{N}`.
pub(super) const NUMBER: u8 = 1 << 1;
/// `\p{M}`.
pub(super) const MARK: u8 = 1 << 2;
/// `\s`, which is the property `White_Space`.
pub(super) const SPACE: u8 = 1 << 3;
/// Neither letter, number, mark nor white space.
pub(super) const OTHER: u8 = 1 << 4;
/// `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`: what may open a word in the o200k pattern.
pub(super) const UPPER: u8 = 1 << 5;
/// `[\p{Ll}\p{Lm}\p{Lo}\p{M}]`: what may close a word in the o200k pattern.
pub(super) const LOWER: u8 = 1 << 6;
/// Carriage return and line feed.
pub(super) const NEWLINE: u8 = 1 << 7;
/// `[^\s\p{L}\p{N}]`, which all patterns treat as punctuation.
pub(super) const SYMBOL: u8 = MARK | OTHER;

const PAGES: usize = 0x11_0000 >> 8;

/// A two-level table: high bits of a character choose a page of 256 flags; equal pages are stored once.
pub(super) struct Classes {
    low: [u8; 256],
    page_of: Box<[u16; PAGES]>,
    pages: Vec<[u8; 256]>,
}

/// The table, built on first use (a few milliseconds).
pub(super) fn classes() -> &'static Classes {
    static CLASSES: LazyLock<Classes> = LazyLock::new(Classes::build);
    &CLASSES
}

impl Classes {
    fn build() -> Self {
        let mut flags = vec![0u8; PAGES << 8];
        for (pattern, flag) in [
            (r"\p{L}", LETTER),
            (r"\p{N}", NUMBER),
            (r"\p{M}", MARK),
            (r"\s", SPACE),
            (r"[^\p{L}\p{N}\p{M}\s]", OTHER),
            (r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", UPPER),
            (r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]", LOWER),
            (r"[\r\n]", NEWLINE),
        ] {
            for (first, last) in ranges(pattern) {
                for slot in &mut flags[first as usize..=last as usize] {
                    *slot |= flag;
                }
            }
        }
        let mut table = Self {
            low: [0; 256],
            page_of: Box::new([0; PAGES]),
            pages: Vec::new(),
        };
        table.low.copy_from_slice(&flags[..256]);
        for (number, page) in flags.chunks_exact(256).enumerate() {
            let known = table.pages.iter().position(|p| p == page);
            let index = known.unwrap_or_else(|| {
                let mut copy = [0; 256];
                copy.copy_from_slice(page);
                table.pages.push(copy);
                table.pages.len() - 1
            });
            table.page_of[number] = index as u16;
        }
        table
    }

    /// The flags of a character.
    pub(super) fn of(&self, c: char) -> u8 {
        self.of_scalar(u32::from(c))
    }

    #[inline(always)]
    fn of_scalar(&self, c: u32) -> u8 {
        self.pages[usize::from(self.page_of[(c >> 8) as usize])][(c & 0xff) as usize]
    }

    /// Flags and length in bytes of the character at `at`, which must be a character boundary of UTF-8 text;
    /// no flags and length 0 at the end.
    #[inline(always)]
    pub(super) fn at(&self, text: &[u8], at: usize) -> (u8, usize) {
        match text.get(at) {
            None => (0, 0),
            Some(&byte) if byte < 0x80 => (self.low[usize::from(byte)], 1),
            Some(&byte) => self.beyond_ascii(text, at, byte),
        }
    }

    #[inline]
    fn beyond_ascii(&self, text: &[u8], at: usize, lead: u8) -> (u8, usize) {
        let follow = |k: usize| u32::from(text[at + k] & 0x3f);
        let lead_bits = u32::from(lead);
        match lead {
            0..0xe0 => (self.of_scalar((lead_bits & 0x1f) << 6 | follow(1)), 2),
            0xe0..0xf0 => {
                let c = (lead_bits & 0x0f) << 12 | follow(1) << 6 | follow(2);
                (self.of_scalar(c), 3)
            }
            _ => {
                let c = (lead_bits & 0x07) << 18 | follow(1) << 12 | follow(2) << 6 | follow(3);
                (self.of_scalar(c), 4)
            }
        }
    }

    /// The end of the run of characters with a flag of `mask` that starts at `at`.
    #[inline(always)]
    pub(super) fn run(&self, text: &[u8], mut at: usize, mask: u8) -> usize {
        while let Some(&byte) = text.get(at) {
            let (flags, len) = if byte < 0x80 {
                (self.low[usize::from(byte)], 1)
            } else {
                self.beyond_ascii(text, at, byte)
            };
            if flags & mask == 0 {
                break;
            }
            at += len;
        }
        at
    }
}

/// The ranges of a pattern that is one character class.
fn ranges(pattern: &str) -> Vec<(u32, u32)> {
    let hir = regex_syntax::parse(pattern).expect("a class that regex-syntax knows");
    match hir.kind() {
        HirKind::Class(Class::Unicode(class)) => class
            .ranges()
            .iter()
            .map(|range| (u32::from(range.start()), u32::from(range.end())))
            .collect(),
        _ => unreachable!("the patterns above are classes of characters"),
    }
}
