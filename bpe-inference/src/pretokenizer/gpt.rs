//! Scanners for the patterns of the GPT family: each gives the end of the piece that starts at a position,
//! exactly as the first alternative of its regular expression that matches there.
//!
//! None looks behind, so scanning can start anew wherever a piece ends. All positions are offsets into UTF-8 text
//! and character boundaries.

use super::classes::{
    Classes, LETTER, LOWER, MARK, NEWLINE, NUMBER, OTHER, SPACE, SYMBOL, UPPER, classes,
};

/// Calls `sink` with start and end of every piece of `text`.
#[inline(always)]
pub(super) fn scan(
    text: &[u8],
    piece_end: impl Fn(&Classes, &[u8], usize) -> usize,
    mut sink: impl FnMut(usize, usize),
) {
    let classes = classes();
    let mut at = 0;
    while at < text.len() {
        let end = piece_end(classes, text, at);
        sink(at, end);
        at = end;
    }
}

/// Digits are like any other run, as in GPT-2 itself.
pub(super) const DIGITS_AS_RUN: u8 = 0;
/// Runs of digits are cut out before the pattern is applied to what lies between.
pub(super) const DIGITS_APART: u8 = 1;
/// Single digits are cut out before the pattern is applied to what lies between.
pub(super) const DIGITS_ALONE: u8 = 2;

/// `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`, with digits cut out first
/// as `DIGITS` says: what precedes a digit then is the end of the text that the pattern sees.
#[inline(always)]
pub(super) fn gpt2<const DIGITS: u8>(classes: &Classes, text: &[u8], at: usize) -> usize {
    let (first, len) = classes.at(text, at);
    let (flags, start, next) = match text[at] {
        b'\'' => match contraction(&text[at + 1..]) {
            Some(suffix) => return at + 1 + suffix,
            None => (first, at, at + len),
        },
        b' ' => {
            let (flags, len) = classes.at(text, at + 1);
            (flags, at + 1, at + 1 + len)
        }
        _ => (first, at, at + len),
    };
    if flags & LETTER != 0 {
        return classes.run(text, next, LETTER);
    }
    if flags & SYMBOL != 0 {
        return classes.run(text, next, SYMBOL);
    }
    if flags & NUMBER != 0 {
        return match DIGITS {
            DIGITS_AS_RUN => classes.run(text, next, NUMBER),
            _ if start > at => start,
            DIGITS_APART => classes.run(text, next, NUMBER),
            _ => next,
        };
    }
    let blank = Blank::at(classes, text, at);
    match DIGITS {
        DIGITS_AS_RUN => blank.all_but_last(text),
        _ if classes.at(text, blank.end).0 & NUMBER != 0 => blank.end,
        _ => blank.all_but_last(text),
    }
}

/// `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|
/// \s+(?!\S)|\s+`, with at most `DIGITS` digits together.
#[inline(always)]
pub(super) fn cl100k<const DIGITS: usize>(classes: &Classes, text: &[u8], at: usize) -> usize {
    let (first, len) = classes.at(text, at);
    if first & LETTER != 0 {
        return classes.run(text, at + len, LETTER);
    }
    if text[at] == b'\''
        && let Some(suffix) = contraction_any_case(&text[at + 1..])
    {
        return at + 1 + suffix;
    }
    if opens_word(first) {
        let (second, second_len) = classes.at(text, at + len);
        if second & LETTER != 0 {
            return classes.run(text, at + len + second_len, LETTER);
        }
    }
    if first & NUMBER != 0 {
        return digits::<DIGITS>(classes, text, at + len);
    }
    match symbols(classes, text, at) {
        Some(end) => newlines(text, end),
        None => Blank::at(classes, text, at).through_last_newline(text),
    }
}

/// The pattern of o200k (section 2.7 of the design: two alternatives of case-shaped words, each with an optional
/// contraction), with at most `DIGITS` digits together; without contractions it is that of tekken.
#[inline(always)]
pub(super) fn o200k<const DIGITS: usize, const CONTRACTIONS: bool>(
    classes: &Classes,
    text: &[u8],
    at: usize,
) -> usize {
    let (first, len) = classes.at(text, at);
    if let Some(end) = cased_word(classes, text, at, first, len) {
        let suffix = match text.get(end) {
            Some(b'\'') if CONTRACTIONS => contraction_any_case(&text[end + 1..]),
            _ => None,
        };
        return suffix.map_or(end, |suffix| end + 1 + suffix);
    }
    if first & NUMBER != 0 {
        return digits::<DIGITS>(classes, text, at + len);
    }
    match symbols(classes, text, at) {
        Some(end) => newlines_and_slashes(text, end),
        None => Blank::at(classes, text, at).through_last_newline(text),
    }
}

/// `P?U*W+|P?U+W*` with `P = [^\r\n\p{L}\p{N}]`, `U` = [`UPPER`] and `W` = [`LOWER`], backtracking worked out by hand.
///
/// After the greedy `U*` the next character is in `W` or the engine gives characters back until the last one given
/// back is in both classes; that one alone is `W+`. If there is none, a mark that was taken for `P` may
/// itself be the word; only then is it the turn of the second alternative, whose `W*` is empty.
#[inline(always)]
fn cased_word(classes: &Classes, text: &[u8], at: usize, first: u8, len: usize) -> Option<usize> {
    let start = if opens_word(first) {
        if classes.at(text, at + len).0 & (UPPER | LOWER) == 0 {
            return (first & MARK != 0).then_some(at + len);
        }
        at + len
    } else if first & LETTER != 0 {
        at
    } else {
        return None;
    };
    let mut end = start;
    let mut last_in_both = None;
    let after = loop {
        let (flags, len) = classes.at(text, end);
        if flags & UPPER == 0 {
            break flags;
        }
        end += len;
        if flags & LOWER != 0 {
            last_in_both = Some(end);
        }
    };
    if after & LOWER != 0 {
        return Some(classes.run(text, end, LOWER));
    }
    let mark_alone = (first & MARK != 0).then_some(at + len);
    Some(last_in_both.or(mark_alone).unwrap_or(end))
}

/// Whether a character with these flags is in `[^\r\n\p{L}\p{N}]`.
#[inline(always)]
fn opens_word(flags: u8) -> bool {
    flags & (SPACE | MARK | OTHER) != 0 && flags & NEWLINE == 0
}

/// The end of at most `MOST` digits of which one ends at `at`.
#[inline(always)]
fn digits<const MOST: usize>(classes: &Classes, text: &[u8], mut at: usize) -> usize {
    for _ in 1..MOST {
        let (flags, len) = classes.at(text, at);
        if flags & NUMBER == 0 {
            break;
        }
        at += len;
    }
    at
}

/// ` ?[^\s\p{L}\p{N}]+`
#[inline(always)]
fn symbols(classes: &Classes, text: &[u8], at: usize) -> Option<usize> {
    let start = at + usize::from(text[at] == b' ');
    let end = classes.run(text, start, SYMBOL);
    (end > start).then_some(end)
}

#[inline(always)]
fn newlines(text: &[u8], at: usize) -> usize {
    let rest = text[at..].iter();
    at + rest.take_while(|b| matches!(b, b'\r' | b'\n')).count()
}

#[inline(always)]
fn newlines_and_slashes(text: &[u8], at: usize) -> usize {
    let rest = text[at..].iter();
    at + rest
        .take_while(|b| matches!(b, b'\r' | b'\n' | b'/'))
        .count()
}

/// A run of white space.
struct Blank {
    end: usize,
    /// Where its last character starts, unless that is its only one.
    last: Option<usize>,
    /// Where its last carriage return or line feed ends.
    after_newline: Option<usize>,
}

impl Blank {
    #[inline(always)]
    fn at(classes: &Classes, text: &[u8], at: usize) -> Self {
        let (mut end, mut last, mut after_newline) = (at, None, None);
        loop {
            let (flags, len) = classes.at(text, end);
            if flags & SPACE == 0 {
                break;
            }
            if end > at {
                last = Some(end);
            }
            end += len;
            if flags & NEWLINE != 0 {
                after_newline = Some(end);
            }
        }
        Self {
            end,
            last,
            after_newline,
        }
    }

    /// `\s+(?!\S)|\s+`: all at the end of the text, else all but the last character if there are two.
    #[inline(always)]
    fn all_but_last(&self, text: &[u8]) -> usize {
        if self.end == text.len() {
            self.end
        } else {
            self.last.unwrap_or(self.end)
        }
    }

    /// `\s*[\r\n]+|\s+(?!\S)|\s+`
    #[inline(always)]
    fn through_last_newline(&self, text: &[u8]) -> usize {
        self.after_newline
            .unwrap_or_else(|| self.all_but_last(text))
    }
}

/// Length of `s|t|re|ve|m|ll|d` at the start of `text`.
#[inline(always)]
fn contraction(text: &[u8]) -> Option<usize> {
    match text {
        [b's' | b't' | b'm' | b'd', ..] => Some(1),
        [b'r' | b'v', b'e', ..] | [b'l', b'l', ..] => Some(2),
        _ => None,
    }
}

/// Length of `(?i:s|t|re|ve|m|ll|d)` at the start of `text`; U+017F, the long s, folds to s.
#[inline(always)]
fn contraction_any_case(text: &[u8]) -> Option<usize> {
    match text {
        [b's' | b'S' | b't' | b'T' | b'm' | b'M' | b'd' | b'D', ..] => Some(1),
        [b'r' | b'R' | b'v' | b'V', b'e' | b'E', ..] | [b'l' | b'L', b'l' | b'L', ..] => Some(2),
        [0xc5, 0xbf, ..] => Some(2),
        _ => None,
    }
}
