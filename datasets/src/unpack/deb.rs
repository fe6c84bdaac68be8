//! Debian packages: an `ar` archive with a tar archive `data.tar` in it, compressed in one of several ways.

use std::io::Read;

use liblzma::read::XzDecoder;
use liblzma::stream::Stream;
use ruzstd::decoding::StreamingDecoder;

use super::sink::Sink;
use super::tarball;
use crate::error::{Error, Result};

/// What the decoder of xz may take: enough for its highest level (65 MiB) and its block headers.
const XZ_MEMORY: u64 = 256 << 20;

/// Unpacks the data of a Debian package; its control files are left out.
pub(super) fn unpack(file: impl Read, limit: u64, sink: &mut Sink<'_>) -> Result<()> {
    let path = sink.archive();
    let mut archive = ar::Archive::new(file);
    while let Some(entry) = archive.next_entry() {
        let entry = entry.map_err(|error| Error::archive(path, error))?;
        let member = String::from_utf8_lossy(entry.header().identifier()).into_owned();
        match member.trim_end_matches('/') {
            "data.tar" => return tarball::unpack(entry, limit, sink),
            "data.tar.gz" => {
                return tarball::unpack(flate2::read::MultiGzDecoder::new(entry), limit, sink);
            }
            "data.tar.xz" => {
                let stream = Stream::new_stream_decoder(XZ_MEMORY, 0)
                    .map_err(|error| Error::archive(path, error))?;
                return tarball::unpack(XzDecoder::new_stream(entry, stream), limit, sink);
            }
            "data.tar.zst" => {
                let stream =
                    StreamingDecoder::new(entry).map_err(|error| Error::archive(path, error))?;
                return tarball::unpack(stream, limit, sink);
            }
            other if other.starts_with("data.tar.") => {
                let reason = format!("its data are compressed in an unknown way ({other})");
                return Err(Error::archive(path, reason));
            }
            _ => {}
        }
    }
    Err(Error::archive(path, "it has no data.tar"))
}
