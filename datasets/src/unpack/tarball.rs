//! Tar streams.

use std::io::{self, Read};

use super::sink::{EntryKind, Sink};
use crate::error::{Error, Result};

/// Unpacks a decompressed tar stream of at most `limit` bytes.
pub(super) fn unpack(stream: impl Read, limit: u64, sink: &mut Sink<'_>) -> Result<()> {
    let path = sink.archive();
    let damaged = |error: io::Error| {
        if is_over_limit(&error) {
            Error::TooLarge {
                path: path.to_owned(),
                limit,
                unit: "bytes",
            }
        } else {
            Error::archive(path, error)
        }
    };
    let mut archive = tar::Archive::new(Limited {
        inner: stream,
        left: limit,
    });
    for entry in archive.entries().map_err(damaged)? {
        let mut entry = entry.map_err(damaged)?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let kind = match entry.header().entry_type() {
            kind if kind.is_file() || kind.is_contiguous() => EntryKind::File,
            kind if kind.is_dir() => EntryKind::Folder,
            kind if kind.is_pax_global_extensions() => continue,
            kind if kind.is_symlink() => EntryKind::Link,
            _ => EntryKind::Other,
        };
        if sink.wants(&name, kind)? {
            sink.take(&name, &mut entry)?;
        }
    }
    // The checksums of compressed streams stand at their ends.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(damaged)?;
    Ok(())
}

/// A reader that fails after so many bytes.
struct Limited<R> {
    inner: R,
    left: u64,
}

#[derive(Debug, thiserror::Error)]
#[error("the stream is longer than allowed")]
struct OverLimit;

/// Whether the error is [`OverLimit`], however deep the readers in between have wrapped it.
fn is_over_limit(error: &io::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.is::<OverLimit>() {
            return true;
        }
        let inner = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        cause = match inner {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    false
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.left = self
            .left
            .checked_sub(n as u64)
            .ok_or_else(|| io::Error::other(OverLimit))?;
        Ok(n)
    }
}
