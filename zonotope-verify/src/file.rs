//! Reads files into memory, packed by gzip or not, never more than a stated number of bytes.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::GzDecoder;

use crate::error::{Error, Result};

/// The first bytes of a gzip file.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// The contents of a file; unpacked if it begins as a gzip file does, whatever its name is.
///
/// # Errors
///
/// [`Error::Io`]: also for more than `limit` bytes, and for anything behind the end of the packed data.
pub(crate) fn read(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let open = || {
        let reader = BufReader::new(File::open(path)?);
        read_from(reader, limit)
    };
    open().map_err(|source| Error::Io {
        path: path.to_owned(),
        source,
    })
}

/// Writes a file, replacing one that is there.
pub(crate) fn write(path: &Path, contents: impl AsRef<[u8]>) -> Result<()> {
    std::fs::write(path, contents).map_err(|source| Error::Io {
        path: path.to_owned(),
        source,
    })
}

fn read_from(mut reader: impl BufRead, limit: u64) -> io::Result<Vec<u8>> {
    // A buffered reader of a file fills its buffer with more than two bytes unless the file is shorter.
    if !reader.fill_buf()?.starts_with(&GZIP) {
        return bounded(&mut reader, limit);
    }
    let mut decoder = GzDecoder::new(reader);
    let bytes = bounded(&mut decoder, limit)?;
    let mut rest = decoder.into_inner();
    if !rest.fill_buf()?.is_empty() {
        return Err(invalid(
            "there is something behind the end of the gzip data".to_owned(),
        ));
    }
    Ok(bytes)
}

fn bounded(reader: &mut impl Read, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader
        .take(limit.saturating_add(1))
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(invalid(format!("more than {limit} bytes")));
    }
    Ok(bytes)
}

fn invalid(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn packed(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn plain_and_packed_bytes_are_the_same() {
        for bytes in [&b""[..], b"a", b"(assert (<= X_0 1))", &[0x1f]] {
            assert_eq!(read_from(bytes, 100).unwrap(), bytes);
            assert_eq!(read_from(&packed(bytes)[..], 100).unwrap(), bytes);
        }
    }

    #[test]
    fn what_is_too_long_damaged_or_followed_by_something_is_an_error() {
        let bomb = packed(&vec![0; 1 << 20]);
        assert!(bomb.len() < 2000);
        assert!(read_from(&bomb[..], 1 << 10).is_err());
        assert!(read_from(&b"12345"[..], 4).is_err());
        let good = packed(b"12345");
        assert!(read_from(&good[..good.len() - 3], 100).is_err());
        for junk in [&b"x"[..], &[0], &good] {
            assert!(read_from(&[&good, junk].concat()[..], 100).is_err());
        }
        let mut flipped = good.clone();
        let middle = good.len() - 6;
        flipped[middle] ^= 1;
        assert!(
            read_from(&flipped[..], 100).is_err(),
            "the checksum is checked"
        );
    }
}
