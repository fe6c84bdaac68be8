//! The scanner of the SentencePiece family as the paper rebuilds it for Llama, Mistral and Gemma: punctuation is isolated,
//! words start at a space, which becomes the marker U+2581, digits stand alone, line ends and tabs separate.

use super::classes::{Classes, NUMBER, OTHER, SYMBOL, classes};

/// What SentencePiece writes for a space: U+2581, LOWER ONE EIGHTH BLOCK.
pub(super) const MARKER: &str = "\u{2581}";

/// Letters of a word that is put together on the stack.
const SHORT: usize = 16;

/// Calls `sink` with start and end of every piece of `text`. Line feeds and tabs belong to none.
#[inline(always)]
pub(super) fn scan(text: &[u8], mut sink: impl FnMut(usize, usize)) {
    let classes = classes();
    let mut at = 0;
    while at < text.len() {
        if matches!(text[at], b'\n' | b'\t') {
            at += 1;
            continue;
        }
        let end = piece_end(classes, text, at);
        sink(at, end);
        at = end;
    }
}

/// Calls `sink` with every word of `text`, spaces replaced by the marker; at the start of a text, where
/// `prefix` says so, a marker is put in front unless there is one. `word` is memory to build words in.
pub(super) fn words(
    text: &[u8],
    prefix: bool,
    word: &mut Vec<u8>,
    mut sink: impl FnMut(&[u8], usize, usize),
) {
    let starts_marked = text.starts_with(b" ") || text.starts_with(MARKER.as_bytes());
    let mut pending = prefix && !text.is_empty() && !starts_marked;
    if pending {
        // The marker joins the first piece unless that is a separator or a digit, which stand alone.
        let (flags, _) = classes().at(text, 0);
        if matches!(text[0], b'\n' | b'\t') || flags & NUMBER != 0 {
            sink(MARKER.as_bytes(), 0, MARKER.len());
            pending = false;
        }
    }
    let mut short = [0; 2 * SHORT];
    short[..MARKER.len()].copy_from_slice(MARKER.as_bytes());
    scan(text, |start, end| {
        let spaced = text[start] == b' ';
        if !spaced && !pending {
            return sink(text, start, end);
        }
        pending = false;
        let start = start + usize::from(spaced);
        // Copies of a fixed size are much cheaper, and most words are short.
        if end - start <= SHORT
            && let Some(letters) = text[start..].first_chunk::<SHORT>()
        {
            short[MARKER.len()..][..SHORT].copy_from_slice(letters);
            return sink(&short, 0, MARKER.len() + end - start);
        }
        word.clear();
        word.extend_from_slice(MARKER.as_bytes());
        word.extend_from_slice(&text[start..end]);
        sink(word, 0, word.len());
    });
}

/// The end of the piece at `at`, where neither a line feed nor a tab is.
#[inline(always)]
fn piece_end(classes: &Classes, text: &[u8], at: usize) -> usize {
    let (first, len) = classes.at(text, at);
    if first & NUMBER != 0 {
        return at + len;
    }
    let spaced = text[at] == b' ';
    let symbols = at + usize::from(spaced);
    if classes.at(text, symbols).0 & SYMBOL != 0 {
        return symbols_end(classes, text, at, symbols);
    }
    let mut end = at + len;
    loop {
        let (flags, len) = classes.at(text, end);
        if len == 0 || flags & (NUMBER | SYMBOL) != 0 || matches!(text[end], b' ' | b'\n' | b'\t') {
            return end;
        }
        end += len;
    }
}

/// The end of ` ?[^\s\p{L}\p{N}]+\r*` whose symbols start at `symbols`; a marker that stands in the text
/// itself starts a piece of its own.
#[inline(always)]
fn symbols_end(classes: &Classes, text: &[u8], at: usize, symbols: usize) -> usize {
    let mut end = symbols;
    loop {
        let (flags, len) = classes.at(text, end);
        if flags & SYMBOL == 0 {
            return end + text[end..].iter().take_while(|&&b| b == b'\r').count();
        }
        let marker = flags & OTHER != 0 && text[end..].starts_with(MARKER.as_bytes());
        if marker && end > at {
            return end;
        }
        end += len;
    }
}
