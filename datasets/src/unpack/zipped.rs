//! Zip archives: wheels, and archives within packages.

use std::io::{Read, Seek};

use tracing::Span;
use zip::ZipArchive;

use super::sink::{EntryKind, Sink};
use crate::error::{Error, Result};

/// Unpacks a zip archive. Entries are read one at a time; sizes are counted by the sink, not believed.
pub(super) fn unpack(file: impl Read + Seek, sink: &mut Sink<'_>) -> Result<()> {
    let path = sink.archive();
    let damaged = |error: zip::result::ZipError| Error::archive(path, error);
    let mut archive = ZipArchive::new(file).map_err(damaged)?;
    let mut done = 0;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(damaged)?;
        let name = entry.name().map_err(damaged)?.into_owned();
        let kind = if entry.is_dir() {
            EntryKind::Folder
        } else if entry.is_file() {
            EntryKind::File
        } else {
            EntryKind::Other
        };
        if sink.wants(&name, kind)? {
            sink.take(&name, &mut entry)?;
        }
        done += entry.compressed_size();
        Span::current().record("position", done);
    }
    Ok(())
}
