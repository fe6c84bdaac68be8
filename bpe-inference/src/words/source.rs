//! Cuts documents into chunks that can be pretokenized apart, in the order of the text.

use std::borrow::Cow;
use std::io::Read;

use tracing::Span;

use crate::error::{Error, Result};
use crate::pretokenizer::Splitter;

/// A text: a slice at hand, or a stream read chunk by chunk.
pub(super) enum Text<'t> {
    Slice(&'t [u8]),
    Stream(Box<dyn Read + Send + 't>),
}

/// A text and where it comes from, for errors.
pub(super) struct Document<'t> {
    pub(super) origin: String,
    pub(super) text: Text<'t>,
}

/// Part of a document whose words are words of the document.
pub(super) struct Chunk<'t> {
    pub(super) bytes: Cow<'t, [u8]>,
    /// Whether it starts a document (or a line in line mode).
    pub(super) at_start: bool,
}

/// Hands out the chunks of many documents.
pub(super) struct Chunks<'t> {
    documents: Box<dyn Iterator<Item = Result<Document<'t>>> + Send + 't>,
    open: Option<Open<'t>>,
    splitter: Splitter,
    chunk_bytes: usize,
    /// Bytes that may still be taken.
    budget: u64,
    progress: Progress,
}

impl<'t> Chunks<'t> {
    /// Chunks of about `chunk_bytes`, longer where the text has no place to cut, `budget` bytes in all.
    pub(super) fn new(
        documents: impl Iterator<Item = Result<Document<'t>>> + Send + 't,
        splitter: Splitter,
        chunk_bytes: usize,
        budget: u64,
        progress: Progress,
    ) -> Self {
        Self {
            documents: Box::new(documents),
            open: None,
            splitter,
            chunk_bytes,
            budget,
            progress,
        }
    }

    /// The next chunk. After an error there is none.
    pub(super) fn next(&mut self) -> Result<Option<Chunk<'t>>> {
        let next = self.advance();
        if next.is_err() {
            self.stop();
        }
        next
    }

    /// Bytes handed out.
    pub(super) fn taken(&self) -> u64 {
        self.progress.position
    }

    /// Hands out nothing more.
    pub(super) fn stop(&mut self) {
        self.budget = 0;
        self.open = None;
    }

    fn advance(&mut self) -> Result<Option<Chunk<'t>>> {
        while self.budget > 0 {
            let Some(mut open) = self.open.take() else {
                let Some(document) = self.documents.next() else {
                    break;
                };
                self.open = Some(Open::new(document?, self.budget));
                continue;
            };
            let bytes = open.take_chunk(&self.splitter, self.chunk_bytes)?;
            if bytes.is_empty() {
                if open.at_limit {
                    self.stop();
                }
                continue;
            }
            if self.splitter.rejects_invalid()
                && let Err(error) = std::str::from_utf8(&bytes)
            {
                return Err(Error::InvalidUtf8 {
                    origin: open.origin,
                    offset: open.offset + error.valid_up_to() as u64,
                });
            }
            let at_start = open.at_start;
            open.at_start = self.splitter.starts_unit_after(&bytes);
            open.offset += bytes.len() as u64;
            self.budget -= bytes.len() as u64;
            self.progress.advance(bytes.len() as u64);
            self.open = Some(open);
            return Ok(Some(Chunk { bytes, at_start }));
        }
        Ok(None)
    }
}

/// A document that is being cut.
struct Open<'t> {
    origin: String,
    rest: Rest<'t>,
    /// Bytes handed out.
    offset: u64,
    at_start: bool,
    /// Whether the document goes up to the limit of bytes or beyond.
    at_limit: bool,
}

enum Rest<'t> {
    Slice(&'t [u8]),
    Stream {
        reader: Box<dyn Read + Send + 't>,
        /// Read, not yet handed out.
        held: Vec<u8>,
        /// Bytes that may still be read.
        left: u64,
    },
    /// Nothing more than these bytes.
    End(Vec<u8>),
}

impl<'t> Open<'t> {
    fn new(document: Document<'t>, budget: u64) -> Self {
        let mut at_limit = false;
        let rest = match document.text {
            Text::Slice(bytes) => {
                at_limit = bytes.len() as u64 >= budget;
                let most = usize::try_from(budget).unwrap_or(usize::MAX);
                let bytes = &bytes[..bytes.len().min(most)];
                Rest::Slice(if at_limit { whole_chars(bytes) } else { bytes })
            }
            Text::Stream(reader) => Rest::Stream {
                reader,
                held: Vec::new(),
                left: budget,
            },
        };
        Self {
            origin: document.origin,
            rest,
            offset: 0,
            at_start: true,
            at_limit,
        }
    }

    /// The next chunk; empty at the end.
    fn take_chunk(&mut self, splitter: &Splitter, size: usize) -> Result<Cow<'t, [u8]>> {
        let (mut target, mut searched) = (size, 0);
        loop {
            self.fill(target)?;
            let available: &[u8] = match &mut self.rest {
                Rest::Slice(rest) => {
                    if rest.len() <= target {
                        return Ok(Cow::Borrowed(std::mem::take(rest)));
                    }
                    &rest[..target]
                }
                Rest::Stream { held, .. } => held,
                Rest::End(held) => return Ok(Cow::Owned(std::mem::take(held))),
            };
            if let Some(cut) = splitter.last_cut(available, searched) {
                return Ok(self.split_off(cut));
            }
            // A character may have been cut off at the end.
            searched = available.len().saturating_sub(4);
            target = target.saturating_mul(2);
        }
    }

    /// Reads until `target` bytes are held or the stream ends.
    fn fill(&mut self, target: usize) -> Result<()> {
        let Rest::Stream { reader, held, left } = &mut self.rest else {
            return Ok(());
        };
        let missing = (target.saturating_sub(held.len()) as u64).min(*left);
        held.reserve(missing.min(1 << 20) as usize);
        let read = reader.by_ref().take(missing).read_to_end(held);
        let read = read.map_err(|source| Error::io(&self.origin, source))? as u64;
        *left -= read;
        if *left == 0 {
            self.at_limit = true;
            let end = whole_chars(held).len();
            held.truncate(end);
        }
        if read < missing || *left == 0 {
            self.rest = Rest::End(std::mem::take(held));
        }
        Ok(())
    }

    fn split_off(&mut self, cut: usize) -> Cow<'t, [u8]> {
        match &mut self.rest {
            Rest::Slice(rest) => {
                let (chunk, after) = rest.split_at(cut);
                *rest = after;
                Cow::Borrowed(chunk)
            }
            Rest::Stream { held, .. } | Rest::End(held) => {
                let after = held.split_off(cut);
                Cow::Owned(std::mem::replace(held, after))
            }
        }
    }
}

/// `bytes` without a character that is cut off at its end.
fn whole_chars(bytes: &[u8]) -> &[u8] {
    let earliest = bytes.len().saturating_sub(3);
    let lead = (earliest..bytes.len())
        .rev()
        .find(|&k| bytes[k] & 0xc0 != 0x80);
    match lead.map(|k| (k, std::str::from_utf8(&bytes[k..]))) {
        Some((k, Err(error))) if error.error_len().is_none() => &bytes[..k],
        _ => bytes,
    }
}

/// Records how far a span has come, about every percent, or every 16 MiB where the end is unknown.
pub(super) struct Progress {
    span: Span,
    position: u64,
    recorded: u64,
    step: u64,
}

impl Progress {
    pub(super) fn new(length: Option<u64>) -> Self {
        let span = tracing::info_span!(
            "count words",
            position = tracing::field::Empty,
            length = tracing::field::Empty
        );
        if let Some(length) = length {
            span.record("length", length);
        }
        Self {
            span,
            position: 0,
            recorded: 0,
            step: length.map_or(1 << 24, |length| length / 100),
        }
    }

    fn advance(&mut self, bytes: u64) {
        self.position += bytes;
        if self.position - self.recorded >= self.step {
            self.recorded = self.position;
            self.span.record("position", self.position);
        }
    }
}
