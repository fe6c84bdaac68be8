//! A header by which damage is noticed, before any of the contents are read.
//!
//! | bytes | what |
//! | --- | --- |
//! | 8 | magic bytes |
//! | 4 | version of the format, little-endian |
//! | 8 | length of the contents, little-endian |
//! | 16 | XXH3-128 of the 12 bytes before it and of the contents, little-endian |
//! | the rest | contents |

use std::path::Path;

use xxhash_rust::xxh3::Xxh3;

use crate::{Error, Result};

const MAGIC: [u8; 8] = *b"FA-train";
const VERSION: u32 = 1;
const HEADER: usize = 36;

/// The contents behind their header.
pub(crate) fn close(contents: &[u8]) -> Vec<u8> {
    [header(contents).as_slice(), contents].concat()
}

/// The contents of a file whose header is right.
pub(crate) fn open<'b>(path: &Path, bytes: &'b [u8]) -> Result<&'b [u8]> {
    let path = || path.to_owned();
    let truncated = |needed: u64| Error::Truncated {
        path: path(),
        needed,
        found: bytes.len() as u64,
    };
    let (header, contents) = bytes
        .split_first_chunk::<HEADER>()
        .ok_or_else(|| truncated(HEADER as u64))?;
    if header[..8] != MAGIC {
        return Err(Error::WrongMagic {
            path: path(),
            format: "training checkpoint",
            found: header[..8].to_vec(),
        });
    }
    let version = number(&header[8..12]) as u32;
    if version != VERSION {
        return Err(Error::Checkpoint {
            path: path(),
            reason: format!("it has version {version} of the format, expected {VERSION}"),
        });
    }
    let length = number(&header[12..20]) as u64;
    if (contents.len() as u64) < length {
        return Err(truncated(length.saturating_add(HEADER as u64)));
    }
    let stored = number(&header[20..]);
    if contents.len() as u64 > length || checksum(&header[8..20], contents) != stored {
        return Err(Error::Checkpoint {
            path: path(),
            reason: "it is damaged: its checksum does not fit".to_owned(),
        });
    }
    Ok(contents)
}

/// The header of these contents.
fn header(contents: &[u8]) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..8].copy_from_slice(&MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    header[12..20].copy_from_slice(&(contents.len() as u64).to_le_bytes());
    let checksum = checksum(&header[8..20], contents);
    header[20..].copy_from_slice(&checksum.to_le_bytes());
    header
}

fn checksum(header: &[u8], contents: &[u8]) -> u128 {
    let mut hasher = Xxh3::new();
    hasher.update(header);
    hasher.update(contents);
    hasher.digest128()
}

/// A little-endian number of at most 16 bytes.
fn number(bytes: &[u8]) -> u128 {
    bytes
        .iter()
        .rev()
        .fold(0, |number, &byte| number << 8 | u128::from(byte))
}
