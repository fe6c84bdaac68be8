//! Unpacking package files: only the files that a package's rules name, only into one folder, and never more than the
//! manifest allows for.
//!
//! Package files come from a network. Although the manifest pins their hashes, a newer version may be accepted, so
//! archives are treated as hostile: paths that leave the folder, absolute paths and links are refused, sizes are
//! counted while reading (never believed), and memory use does not depend on what an archive says of itself.

mod deb;
mod sink;
mod tarball;
mod zipped;

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use tracing::Span;

use crate::error::{Error, Result};
use crate::kit::KeptFile;
use crate::manifest::Package;
use sink::Sink;

/// A stream may decompress to this many times the size of the package file (real packages stay below 30) ...
const MAX_EXPANSION: u64 = 200;
/// ... and to this much in any case.
const MIN_STREAM_LIMIT: u64 = 1 << 20;
/// More files than any package of the manifest keeps.
const MAX_FILES: u64 = 250_000;

/// What was unpacked.
pub(crate) struct Unpacked {
    /// The kept files, sorted by path.
    pub(crate) files: Vec<KeptFile>,
    /// Their size in bytes.
    pub(crate) bytes: u64,
}

/// Unpacks the files of `archive` that `package` keeps into the folder `out`, which must not exist or be empty.
///
/// The kind of the archive follows from its name: `.tgz`, `.tar.gz`, `.crate`; `.whl`, `.zip`; `.deb`. Every rule of
/// the package must keep something.
pub(crate) fn unpack(archive: &Path, package: &Package, out: &Path) -> Result<Unpacked> {
    fs::create_dir_all(out).map_err(Error::io("make the folder", out))?;
    let file = File::open(archive).map_err(Error::io("read", archive))?;
    let size = file.metadata().map_err(Error::io("read", archive))?.len();
    let span = tracing::info_span!(
        "unpack",
        package = package.id,
        position = 0_u64,
        length = size
    );
    let _inside = span.enter();

    let name = archive.file_name().unwrap_or_default().to_string_lossy();
    let stream_limit = size
        .saturating_mul(MAX_EXPANSION)
        .max(MIN_STREAM_LIMIT)
        .max(package.unpacked);
    let mut sink = Sink::new(archive, package, out)?;
    let has_suffix = |suffixes: &[&str]| suffixes.iter().any(|suffix| name.ends_with(suffix));
    if has_suffix(&[".tgz", ".tar.gz", ".crate"]) {
        let stream = flate2::read::MultiGzDecoder::new(Watched::new(file, size, span.clone()));
        tarball::unpack(stream, stream_limit, &mut sink)?;
    } else if has_suffix(&[".whl", ".zip"]) {
        zipped::unpack(file, &mut sink)?;
    } else if has_suffix(&[".deb"]) {
        deb::unpack(
            Watched::new(file, size, span.clone()),
            stream_limit,
            &mut sink,
        )?;
    } else {
        return Err(Error::archive(
            archive,
            "its name ends like no known kind of package",
        ));
    }
    sink.finish()
}

/// A reader that records on a span how far it has come.
struct Watched<R> {
    inner: R,
    position: u64,
    recorded: u64,
    step: u64,
    span: Span,
}

impl<R> Watched<R> {
    fn new(inner: R, length: u64, span: Span) -> Self {
        Self {
            inner,
            position: 0,
            recorded: 0,
            step: length / 100,
            span,
        }
    }
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.position += n as u64;
        if self.position > self.recorded + self.step {
            self.recorded = self.position;
            self.span.record("position", self.position);
        }
        Ok(n)
    }
}
