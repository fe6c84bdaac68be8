//! Runs a [`TextPipeline`] over text, and finds where text may be cut so that parts give the words of the whole.

use super::classes::{LETTER, NUMBER, OTHER, classes};
use super::gpt::{self, DIGITS_ALONE, DIGITS_APART, DIGITS_AS_RUN, cl100k, gpt2, o200k};
use super::{InvalidBytes, LineMode, Pretokenizer, TextPipeline, marker};
use crate::error::Result;

/// A pipeline at work.
pub(crate) struct Splitter {
    pipeline: TextPipeline,
    /// Memory in which words are built that are not slices of the text.
    word: Vec<u8>,
}

impl Splitter {
    pub(crate) fn new(pipeline: TextPipeline) -> Self {
        Self {
            pipeline,
            word: Vec::new(),
        }
    }

    /// Calls `sink` with every word of `text`, as a buffer and the word's start and end in it: that lets the sink load
    /// whole machine words around it. `at_start` says that `text` starts a document (or a line in line mode).
    ///
    /// Text between invalid bytes is taken by itself; a run of invalid bytes is a word.
    ///
    /// # Errors
    /// [`crate::Error::Pattern`] if a custom pattern exceeds the limits of its engine.
    pub(crate) fn words(
        &mut self,
        text: &[u8],
        mut at_start: bool,
        sink: &mut impl FnMut(&[u8], usize, usize),
    ) -> Result<()> {
        let mut at = 0;
        while at < text.len() {
            let rest = &text[at..];
            let valid = match std::str::from_utf8(rest) {
                Ok(valid) => valid,
                Err(error) => valid_prefix(rest, error.valid_up_to()),
            };
            if valid.is_empty() {
                let run = invalid_run(rest);
                sink(rest, 0, run);
                at += run;
                at_start = false;
                continue;
            }
            self.segment(valid, at_start, sink)?;
            at += valid.len();
            at_start = self.pipeline.lines == LineMode::Lines && valid.ends_with('\n');
        }
        Ok(())
    }

    fn segment(
        &mut self,
        text: &str,
        at_start: bool,
        sink: &mut impl FnMut(&[u8], usize, usize),
    ) -> Result<()> {
        let text = self.pipeline.normalizer.normalize(text);
        match self.pipeline.lines {
            LineMode::Document => self.unit(&text, at_start, sink),
            LineMode::Lines => {
                let mut starts = at_start;
                for line in text.split_inclusive('\n') {
                    self.unit(line, starts, sink)?;
                    starts = true;
                }
                Ok(())
            }
        }
    }

    /// One document, line or part of one: what the pattern sees as its whole text.
    #[inline]
    fn unit(
        &mut self,
        text: &str,
        at_start: bool,
        sink: &mut impl FnMut(&[u8], usize, usize),
    ) -> Result<()> {
        let bytes = text.as_bytes();
        match self.pipeline.pretokenizer {
            Pretokenizer::Llama | Pretokenizer::Mistral => {
                marker::words(bytes, at_start, &mut self.word, sink);
                Ok(())
            }
            Pretokenizer::Gemma => {
                marker::words(bytes, false, &mut self.word, sink);
                Ok(())
            }
            _ => self
                .pipeline
                .pretokenizer
                .pieces(text, |start, end| sink(bytes, start, end)),
        }
    }

    /// The last position after `from` where `text` may be cut, if there is one: the words of the two parts are then the
    /// words of the whole, whatever follows `text`.
    ///
    /// It is one between a letter or digit and a space, line feed, tab or punctuation other than an apostrophe: no
    /// pattern of ours has a match across it, none looks ahead over it except from white space, and none looks back.
    /// In line mode it may also lie after a line feed. Custom patterns allow nothing else.
    pub(crate) fn last_cut(&self, text: &[u8], from: usize) -> Option<usize> {
        let lines = self.pipeline.lines == LineMode::Lines;
        let known = !matches!(
            self.pipeline.pretokenizer,
            Pretokenizer::Regex(_) | Pretokenizer::None
        );
        if !lines && !known {
            return None;
        }
        (from.max(1)..text.len())
            .rev()
            .find(|&cut| (lines && text[cut - 1] == b'\n') || (known && self.may_cut(text, cut)))
    }

    /// Whether a part that starts after `before` starts a document or line.
    pub(crate) fn starts_unit_after(&self, before: &[u8]) -> bool {
        self.pipeline.lines == LineMode::Lines && before.ends_with(b"\n")
    }

    /// Whether text that is not UTF-8 is an error.
    pub(crate) fn rejects_invalid(&self) -> bool {
        self.pipeline.invalid == InvalidBytes::Reject || self.pipeline.pretokenizer.needs_utf8()
    }

    fn may_cut(&self, text: &[u8], cut: usize) -> bool {
        let Some((before, after)) = char_before(text, cut).zip(char_at(text, cut)) else {
            return false;
        };
        let symbol = classes().of(after) & OTHER != 0 && after != '\'';
        classes().of(before) & (LETTER | NUMBER) != 0
            && (symbol || matches!(after, ' ' | '\n' | '\t'))
            && self.pipeline.normalizer.allows_cut(before, after)
    }
}

impl Pretokenizer {
    /// Calls `sink` with start and end of the pieces of `text`; those of the SentencePiece family are without markers.
    ///
    /// # Errors
    /// [`crate::Error::Pattern`] if a custom pattern exceeds the limits of its engine.
    #[inline]
    pub(super) fn pieces(&self, text: &str, mut sink: impl FnMut(usize, usize)) -> Result<()> {
        let bytes = text.as_bytes();
        match self {
            Self::Gpt2 => gpt::scan(bytes, gpt2::<DIGITS_AS_RUN>, sink),
            Self::DigitsGpt2 => gpt::scan(bytes, gpt2::<DIGITS_APART>, sink),
            Self::CommandR => gpt::scan(bytes, gpt2::<DIGITS_ALONE>, sink),
            Self::Cl100k => gpt::scan(bytes, cl100k::<3>, sink),
            Self::Qwen2 => gpt::scan(bytes, cl100k::<1>, sink),
            Self::O200k => gpt::scan(bytes, o200k::<3, true>, sink),
            Self::Tekken => gpt::scan(bytes, o200k::<1, false>, sink),
            Self::Llama | Self::Mistral | Self::Gemma => marker::scan(bytes, sink),
            Self::Regex(pattern) => pattern.scan(text, sink)?,
            Self::None if text.is_empty() => {}
            Self::None => sink(0, text.len()),
        }
        Ok(())
    }
}

/// The first `len` bytes of `text`, which the standard library found valid.
fn valid_prefix(text: &[u8], len: usize) -> &str {
    std::str::from_utf8(&text[..len]).unwrap_or_default()
}

/// Length of the run of invalid bytes that `text` starts with.
fn invalid_run(text: &[u8]) -> usize {
    let mut run = 0;
    while run < text.len() {
        match std::str::from_utf8(&text[run..]) {
            Err(error) if error.valid_up_to() == 0 => {
                run += error.error_len().unwrap_or(text.len() - run);
            }
            _ => break,
        }
    }
    run
}

/// The character that starts at `at`, if a whole one does.
fn char_at(text: &[u8], at: usize) -> Option<char> {
    let len = match *text.get(at)? {
        0..0x80 => 1,
        0xc2..0xe0 => 2,
        0xe0..0xf0 => 3,
        0xf0..0xf5 => 4,
        _ => return None,
    };
    let bytes = text.get(at..at + len)?;
    std::str::from_utf8(bytes).ok()?.chars().next()
}

/// The character that ends before `at`, if a whole one does.
fn char_before(text: &[u8], at: usize) -> Option<char> {
    let earliest = at.saturating_sub(4);
    let start = (earliest..at).rev().find(|&k| text[k] & 0xc0 != 0x80)?;
    char_at(&text[..at], start).filter(|c| start + c.len_utf8() == at)
}
