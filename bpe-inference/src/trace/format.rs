//! The file format of traces.
//!
//! ```text
//! magic (8 bytes) | version (u32) | key (u128) | payload | XXH3-64 of all before (u64)
//! ```
//!
//! Numbers of the frame are little-endian; those of the payload are LEB128 (changes of counts zigzag-coded first), and
//! sorted columns hold differences, so that an entry takes four to six bytes. The key is 0 for a trace; a
//! checkpoint keeps there what it was made from.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use rustc_hash::FxHashMap;
use xxhash_rust::xxh3::xxh3_64;

use super::{Delta, PairId, PairTrace, TraceCategory, check_names};
use crate::error::{Error, Result};
use crate::merges::TokenId;

/// Version of the payload; a change of the meaning of counts changes it too.
pub(super) const VERSION: u32 = 1;
const FRAME_HEAD: usize = 8 + 4 + 16;
const FRAME_TAIL: usize = 8;

/// A kind of file: its first bytes and its name in messages.
#[derive(Clone, Copy)]
pub(super) struct Kind {
    pub(super) magic: [u8; 8],
    pub(super) name: &'static str,
}

const TRACE: Kind = Kind {
    magic: *b"BPETRACE",
    name: "pair trace",
};

impl PairTrace {
    /// Saves the trace in a file, which appears under its name only when it is complete.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        write_whole(path.as_ref(), &self.to_bytes())
    }

    /// Reads a trace that [`PairTrace::save`] wrote: the whole file at once, which is unpacked into memory.
    ///
    /// # Errors
    /// [`Error::Io`], and those of [`PairTrace::from_bytes`].
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bytes = fs::read(path).map_err(|error| Error::io(path, error))?;
        Self::from_bytes(&bytes)
    }

    /// The contents of a trace file.
    pub fn to_bytes(&self) -> Vec<u8> {
        encode(TRACE, 0, self)
    }

    /// Reads the contents of a trace file.
    ///
    /// Everything is checked: the sum over all bytes, every index, and that no count ever falls below 0. An entry
    /// takes 16 bytes in memory, three to four times as many as in the file.
    ///
    /// # Errors
    /// [`Error::Parse`] with the offset for anything that is no complete and undamaged trace,
    /// [`Error::VersionMismatch`] for one that another version of this crate wrote. A file that another program made
    /// may bring [`Error::TooFewCategories`], [`Error::DuplicateCategory`] and [`Error::EmptyCategory`] too.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let (_, trace) = decode(TRACE, bytes)?;
        check_names(trace.categories.iter().map(|category| &*category.name))?;
        trace.check_not_empty()?;
        Ok(trace)
    }
}

/// Writes a file under a temporary name, then gives it its own: it is there completely or not at all.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.unfinished", std::process::id()));
    let unfinished = path.with_file_name(name);
    let write = || {
        let mut file = File::create(&unfinished)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&unfinished, path)
    };
    write().map_err(|error| {
        // What is left of a failed attempt is worth nothing; the first error is the one to report.
        let _ = fs::remove_file(&unfinished);
        Error::io(path, error)
    })
}

pub(super) fn encode(kind: Kind, key: u128, trace: &PairTrace) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend(kind.magic);
    out.extend(VERSION.to_le_bytes());
    out.extend(key.to_le_bytes());
    put(&mut out, trace.categories.len() as u64);
    for category in &trace.categories {
        put(&mut out, category.name.len() as u64);
        out.extend(category.name.as_bytes());
        put(&mut out, category.bytes);
        put(&mut out, category.initial_pairs);
    }
    put(&mut out, trace.pairs.len() as u64);
    let (mut left, mut right) = (0, 0);
    for &pair in &trace.pairs {
        put(&mut out, u64::from(pair.0 - left));
        put(
            &mut out,
            u64::from(if pair.0 == left {
                pair.1 - right
            } else {
                pair.1
            }),
        );
        (left, right) = pair;
    }
    put_entries(&mut out, &trace.initial);
    put(&mut out, trace.merged.len() as u64);
    for (step, merged) in trace.merged.iter().enumerate() {
        put(&mut out, merged.map_or(0, |pair| u64::from(pair) + 1));
        put_entries(&mut out, trace.deltas(step));
    }
    out.extend(xxh3_64(&out).to_le_bytes());
    out
}

fn put_entries(out: &mut Vec<u8>, entries: &[Delta]) {
    put(out, entries.len() as u64);
    let mut before = 0;
    for entry in entries {
        put(out, u64::from(entry.pair - before));
        put(out, u64::from(entry.category));
        put(out, ((entry.delta << 1) ^ (entry.delta >> 63)) as u64);
        before = entry.pair;
    }
}

fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// The key and the trace of a file.
pub(super) fn decode(kind: Kind, bytes: &[u8]) -> Result<(u128, PairTrace)> {
    let fail = |offset: usize, reason: &str| Error::Parse {
        format: kind.name,
        offset: offset as u64,
        reason: reason.into(),
    };
    if !bytes.starts_with(&kind.magic) {
        return Err(fail(0, "the first 8 bytes are not those of such a file"));
    }
    if bytes.len() < FRAME_HEAD + FRAME_TAIL {
        return Err(fail(bytes.len(), "the file ends within its frame"));
    }
    let (body, sum) = bytes.split_at(bytes.len() - FRAME_TAIL);
    let version = u32::from_le_bytes(bytes[8..12].try_into().unwrap_or_default());
    if version != VERSION {
        return Err(Error::VersionMismatch {
            what: kind.name,
            expected: format!("version {VERSION}"),
            found: format!("version {version}"),
        });
    }
    if xxh3_64(body).to_le_bytes() != sum {
        return Err(fail(
            body.len(),
            "the checksum does not fit: the file is damaged or incomplete",
        ));
    }
    let key = u128::from_le_bytes(bytes[12..FRAME_HEAD].try_into().unwrap_or_default());
    let mut reader = Reader {
        kind,
        bytes: body,
        at: FRAME_HEAD,
    };
    let trace = reader.trace()?;
    Ok((key, trace))
}

struct Reader<'a> {
    kind: Kind,
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn trace(&mut self) -> Result<PairTrace> {
        let mut categories = Vec::new();
        for _ in 0..self.len(3)? {
            let len = self.len(1)?;
            let name = std::str::from_utf8(&self.bytes[self.at..self.at + len])
                .map_err(|_| self.fail("a category's name is not UTF-8"))?
                .to_owned();
            self.at += len;
            categories.push(TraceCategory {
                name,
                bytes: self.number()?,
                initial_pairs: self.number()?,
            });
        }

        let len = self.len(2)?;
        let mut pairs: Vec<(TokenId, TokenId)> = Vec::with_capacity(len);
        for _ in 0..len {
            let (left, right) = pairs.last().copied().unwrap_or_default();
            let step: u32 = self.small()?;
            let more: u32 = self.small()?;
            let pair = match step {
                0 => Some(left).zip(right.checked_add(more)),
                _ => left.checked_add(step).zip(Some(more)),
            };
            match pair.filter(|pair| pairs.last().is_none_or(|last| last < pair)) {
                Some(pair) => pairs.push(pair),
                None => return Err(self.fail("the pairs are not in order")),
            }
        }

        let mut counts = FxHashMap::default();
        let mut initial = Vec::new();
        self.entries(categories.len(), pairs.len(), &mut initial, &mut counts)?;
        let steps = self.len(2)?;
        let mut merged = Vec::with_capacity(steps);
        let mut delta_ends = Vec::with_capacity(steps);
        let mut deltas = Vec::new();
        for _ in 0..steps {
            let pair: PairId = self.small()?;
            if pair as usize > pairs.len() {
                return Err(self.fail("a merged pair is not in the table of pairs"));
            }
            merged.push(pair.checked_sub(1));
            self.entries(categories.len(), pairs.len(), &mut deltas, &mut counts)?;
            delta_ends.push(deltas.len());
        }
        if self.at != self.bytes.len() {
            return Err(self.fail("there is more after the last step"));
        }
        Ok(PairTrace {
            categories,
            pairs,
            initial,
            merged,
            delta_ends,
            deltas,
        })
    }

    /// Reads the changes of one step and applies them to `counts`.
    fn entries(
        &mut self,
        categories: usize,
        pairs: usize,
        into: &mut Vec<Delta>,
        counts: &mut FxHashMap<(PairId, u16), i64>,
    ) -> Result<()> {
        let len = self.len(3)?;
        into.reserve(len);
        let mut last: Option<(PairId, u16)> = None;
        for _ in 0..len {
            let more: u32 = self.small()?;
            let pair = last.map_or(0, |(pair, _)| pair).checked_add(more);
            let category: u16 = self.small()?;
            let cell = pair
                .map(|pair| (pair, category))
                .filter(|&cell| last.is_none_or(|last| last < cell))
                .filter(|&(pair, _)| (pair as usize) < pairs && usize::from(category) < categories)
                .ok_or_else(|| self.fail("a pair or category is out of range or out of order"))?;
            last = Some(cell);
            let coded = self.number()?;
            let delta = (coded >> 1) as i64 ^ -((coded & 1) as i64);
            let count = counts.entry(cell).or_default();
            match count
                .checked_add(delta)
                .filter(|&now| now >= 0 && delta != 0)
            {
                Some(now) => *count = now,
                None => {
                    return Err(self.fail("a count falls below 0, overflows or does not change"));
                }
            }
            into.push(Delta {
                pair: cell.0,
                category,
                delta,
            });
        }
        Ok(())
    }

    /// A number of things that take at least `size` bytes each, so that memory is bounded by the file's size.
    fn len(&mut self, size: usize) -> Result<usize> {
        let len = self.number()?;
        match usize::try_from(len) {
            Ok(len) if len <= (self.bytes.len() - self.at) / size => Ok(len),
            _ => Err(self.fail("a length is greater than the rest of the file")),
        }
    }

    fn small<T: TryFrom<u64>>(&mut self) -> Result<T> {
        let number = self.number()?;
        T::try_from(number).map_err(|_| self.fail("a number is too large"))
    }

    fn number(&mut self) -> Result<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let Some(&byte) = self.bytes.get(self.at) else {
                return Err(self.fail("the file ends within a number"));
            };
            self.at += 1;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                break;
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.fail("a number has more than 64 bits"))
    }

    fn fail(&self, reason: &str) -> Error {
        Error::Parse {
            format: self.kind.name,
            offset: self.at as u64,
            reason: reason.into(),
        }
    }
}
