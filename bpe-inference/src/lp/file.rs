//! Saving and loading a program: `FALP`, version, sizes, the rows' slack indices, their coefficients
//! and an XXH3 checksum, all little-endian.

use std::io::{BufReader, BufWriter, Read, Write};
use std::path::Path;

use xxhash_rust::xxh3::Xxh3;

use super::MixtureLp;
use crate::{Error, Result};

const MAGIC: &[u8; 4] = b"FALP";
const VERSION: u32 = 1;
/// Magic, version, weights and rows.
const HEADER: u64 = 4 + 4 + 4 + 8;
const FORMAT: &str = "linear program";
/// Slack indices of a file end here, so that a small file cannot make a solver allocate without
/// bound. (The longest known merge lists have 500,000 entries.)
const MOST_SLACKS: u32 = 1 << 24;

impl MixtureLp {
    /// Writes the program to `path` (8 + 8 `n` bytes a row).
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let write = || -> std::io::Result<()> {
            let mut out = Checked::new(BufWriter::new(std::fs::File::create(path)?));
            out.put(MAGIC)?;
            out.put(&VERSION.to_le_bytes())?;
            out.put(&(self.n as u32).to_le_bytes())?;
            out.put(&(self.rows() as u64).to_le_bytes())?;
            for index in self.step_of.iter().chain(&self.pair_of) {
                out.put(&index.to_le_bytes())?;
            }
            for c in &self.coefficients {
                out.put(&c.to_le_bytes())?;
            }
            let checksum = out.hash.digest();
            out.inner.write_all(&checksum.to_le_bytes())?;
            out.inner.flush()
        };
        write().map_err(|source| Error::io(path, source))
    }

    /// Reads a program that [`MixtureLp::save`] wrote.
    ///
    /// # Errors
    /// [`Error::VersionMismatch`] for another version, [`Error::Parse`] for anything else that is not
    /// such a file (wrong length, checksum, index or coefficient), [`Error::Io`].
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let io = |source| Error::io(path, source);
        let file = std::fs::File::open(path).map_err(io)?;
        let length = file.metadata().map_err(io)?.len();
        let parse = |offset: u64, reason: String| Error::Parse {
            format: FORMAT,
            offset,
            reason,
        };
        if length < HEADER + 8 {
            return Err(parse(length, format!("the file ends after {length} bytes")));
        }
        let mut input = Checked::new(BufReader::new(file));
        if &input.take::<4>().map_err(io)? != MAGIC {
            return Err(parse(0, "it does not begin with FALP".into()));
        }
        let version = u32::from_le_bytes(input.take().map_err(io)?);
        if version != VERSION {
            return Err(Error::VersionMismatch {
                what: FORMAT,
                expected: VERSION.to_string(),
                found: version.to_string(),
            });
        }
        let n = u32::from_le_bytes(input.take().map_err(io)?);
        let rows = u64::from_le_bytes(input.take().map_err(io)?);
        let expected = (8 + 8 * u128::from(n)) * u128::from(rows) + u128::from(HEADER) + 8;
        if u128::from(length) != expected {
            return Err(parse(
                8,
                format!("{rows} rows of {n} weights take {expected} bytes, the file has {length}"),
            ));
        }
        let rows = rows as usize;
        let mut indices = Vec::with_capacity(2 * rows);
        for i in 0..2 * rows as u64 {
            let index = u32::from_le_bytes(input.take().map_err(io)?);
            if index >= MOST_SLACKS {
                return Err(parse(
                    HEADER + 4 * i,
                    format!("slack {index}, but slacks end at {MOST_SLACKS}"),
                ));
            }
            indices.push(index);
        }
        let pair_of = indices.split_off(rows);
        let mut lp = Self::new(n as usize);
        let mut row = vec![0.0; n as usize];
        for (r, (&step, &pair)) in indices.iter().zip(&pair_of).enumerate() {
            for c in &mut row {
                *c = f64::from_le_bytes(input.take().map_err(io)?);
            }
            lp.push(step, pair, &row).map_err(|error| {
                let offset = HEADER + 8 * rows as u64 + 8 * u64::from(n) * r as u64;
                parse(offset, error.to_string())
            })?;
        }
        let found = input.hash.digest();
        let stored = u64::from_le_bytes(input.take().map_err(io)?);
        if stored != found {
            return Err(parse(
                length - 8,
                format!("checksum {found:016x}, but {stored:016x} was stored"),
            ));
        }
        Ok(lp)
    }
}

/// A stream with the checksum of what went through it.
struct Checked<T> {
    inner: T,
    hash: Xxh3,
}

impl<T> Checked<T> {
    fn new(inner: T) -> Self {
        Self {
            inner,
            hash: Xxh3::new(),
        }
    }
}

impl<T: Write> Checked<T> {
    fn put(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.hash.update(bytes);
        self.inner.write_all(bytes)
    }
}

impl<T: Read> Checked<T> {
    fn take<const N: usize>(&mut self) -> std::io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.inner.read_exact(&mut bytes)?;
        self.hash.update(&bytes);
        Ok(bytes)
    }
}
