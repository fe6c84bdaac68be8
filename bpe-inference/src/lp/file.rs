//! Saving and loading a program: `FALP`, version, sizes, the rows' slack indices, their coefficients
//! and an XXH3 checksum, all little-endian.

use std::path::Path;

use xxhash_rust::xxh3::xxh3_64;

use super::MixtureLp;
use crate::trace::write_whole;
use crate::{Error, Result};

const MAGIC: &[u8; 4] = b"FALP";
const VERSION: u32 = 1;
/// Magic, version, weights and rows.
const HEADER: usize = 4 + 4 + 4 + 8;
/// The checksum.
const TAIL: usize = 8;
const FORMAT: &str = "linear program";
/// Slack indices of a file end here, so that a small file cannot make a solver allocate without
/// bound. (The longest known merge lists have 500,000 entries.)
const MOST_SLACKS: u32 = 1 << 24;

impl MixtureLp {
    /// Writes the program to `path` (8 + 8 `n` bytes a row), which appears when it is complete.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        write_whole(path.as_ref(), &self.to_bytes())
    }

    /// Reads a program that [`MixtureLp::save`] wrote.
    ///
    /// # Errors
    /// [`Error::Io`], and those of [`MixtureLp::from_bytes`].
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(|source| Error::io(path, source))?;
        Self::from_bytes(&bytes)
    }

    /// The contents of a program's file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER + self.rows() * (8 + 8 * self.n) + TAIL);
        out.extend(MAGIC);
        out.extend(VERSION.to_le_bytes());
        out.extend((self.n as u32).to_le_bytes());
        out.extend((self.rows() as u64).to_le_bytes());
        for index in self.step_of.iter().chain(&self.pair_of) {
            out.extend(index.to_le_bytes());
        }
        for c in &self.coefficients {
            out.extend(c.to_le_bytes());
        }
        out.extend(xxh3_64(&out).to_le_bytes());
        out
    }

    /// Reads the contents of a program's file.
    ///
    /// # Errors
    /// [`Error::VersionMismatch`] for another version, [`Error::Parse`] for anything else that is not
    /// such a file (wrong length, checksum, index or coefficient).
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let parse = |offset: usize, reason: String| Error::Parse {
            format: FORMAT,
            offset: offset as u64,
            reason,
        };
        let length = bytes.len();
        if length < HEADER + TAIL {
            return Err(parse(length, format!("the file ends after {length} bytes")));
        }
        if !bytes.starts_with(MAGIC) {
            return Err(parse(0, "it does not begin with FALP".into()));
        }
        let number = |at: usize| {
            let four = [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
            u32::from_le_bytes(four)
        };
        let version = number(4);
        if version != VERSION {
            return Err(Error::VersionMismatch {
                what: FORMAT,
                expected: VERSION.to_string(),
                found: version.to_string(),
            });
        }
        let n = number(8) as usize;
        let rows = u64::from(number(12)) | u64::from(number(16)) << 32;
        let expected = (8 + 8 * n as u128) * u128::from(rows) + (HEADER + TAIL) as u128;
        if length as u128 != expected {
            return Err(parse(
                8,
                format!("{rows} rows of {n} weights take {expected} bytes, the file has {length}"),
            ));
        }
        // As many as the file has room for.
        let rows = rows as usize;
        let (steps, rest) = bytes[HEADER..length - TAIL].split_at(4 * rows);
        let (pairs, coefficients) = rest.split_at(4 * rows);
        let found = xxh3_64(&bytes[..length - TAIL]).to_le_bytes();
        if found != bytes[length - TAIL..] {
            let reason = "the checksum does not fit: the file is damaged";
            return Err(parse(length - TAIL, reason.into()));
        }
        let coefficients: Vec<f64> = (coefficients.as_chunks().0.iter())
            .map(|&c| f64::from_le_bytes(c))
            .collect();
        let slacks = steps.as_chunks().0.iter().zip(pairs.as_chunks().0);
        let mut lp = Self::new(n);
        for (r, (&step, &pair)) in slacks.enumerate() {
            let [step, pair] = [step, pair].map(u32::from_le_bytes);
            for (index, first) in [(step, HEADER), (pair, HEADER + 4 * rows)] {
                if index >= MOST_SLACKS {
                    let reason = format!("slack {index}, but slacks end at {MOST_SLACKS}");
                    return Err(parse(first + 4 * r, reason));
                }
            }
            let row = &coefficients[r * n..(r + 1) * n];
            lp.push(step, pair, row)
                .map_err(|error| parse(HEADER + 8 * rows + 8 * n * r, error.to_string()))?;
        }
        Ok(lp)
    }
}
