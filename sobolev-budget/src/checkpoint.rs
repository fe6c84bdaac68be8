//! Work saved in a file, and taken up again only by the same work.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// What a file holds.
#[derive(Serialize, Deserialize)]
struct Saved<T> {
    fingerprint: String,
    work: T,
}

/// A short text that differs for different inputs: the hash (FNV-1a, 128 bits) of what they serialise to.
pub(crate) fn fingerprint(input: &impl Serialize) -> Result<String> {
    struct Hash(u128);
    impl std::io::Write for Hash {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            for &byte in bytes {
                self.0 = (self.0 ^ u128::from(byte))
                    .wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
            }
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut hash = Hash(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d);
    serde_json::to_writer(&mut hash, input).map_err(|error| Error::Io {
        path: "the fingerprint".into(),
        source: error.into(),
    })?;
    Ok(format!("{:032x}", hash.0))
}

/// Writes a file beside its place and moves it there, so that an interruption leaves the old one.
pub(crate) fn save<T: Serialize>(path: &Path, fingerprint: &str, work: &T) -> Result<()> {
    let failed = |source: std::io::Error| Error::Io {
        path: path.to_owned(),
        source,
    };
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    let saved = Saved {
        fingerprint: fingerprint.to_owned(),
        work,
    };
    serde_json::to_writer(&mut file, &saved).map_err(|error| failed(error.into()))?;
    file.flush().map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

/// What a file holds, if there is one.
pub(crate) fn load<T: DeserializeOwned>(path: &Path, fingerprint: &str) -> Result<Option<T>> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(Error::Io {
                path: path.to_owned(),
                source,
            });
        }
    };
    let saved: Saved<T> = serde_json::from_slice(&bytes).map_err(|error| Error::Read {
        path: path.to_owned(),
        reason: format!("this is no checkpoint: {error}"),
    })?;
    if saved.fingerprint == fingerprint {
        Ok(Some(saved.work))
    } else {
        Err(Error::Checkpoint {
            path: path.to_owned(),
            reason: "its settings or its points differ".to_owned(),
        })
    }
}
