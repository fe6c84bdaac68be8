//! SHA-256 of bytes, files and streams, as hexadecimal text.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use sha2::{Digest as _, Sha256};

/// The hash and the length of something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Digest {
    /// 64 hexadecimal digits in lower case.
    pub(crate) hex: String,
    /// Length in bytes.
    pub(crate) bytes: u64,
}

/// The hash of `bytes`.
pub(crate) fn of_bytes(bytes: &[u8]) -> String {
    hex(Sha256::digest(bytes).as_slice())
}

/// The first 8 bytes of the hash of `bytes`, as a number.
pub(crate) fn number_of(bytes: &[u8]) -> u64 {
    let digest = Sha256::digest(bytes);
    let first: [u8; 8] = digest[..8].try_into().expect("a hash has 32 bytes");
    u64::from_be_bytes(first)
}

/// The hash of a file.
pub(crate) fn of_file(path: &Path) -> io::Result<Digest> {
    let mut hasher = Hasher::default();
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finish()),
            n => hasher.update(&buffer[..n]),
        }
    }
}

/// Takes a hash piece by piece.
#[derive(Default)]
pub(crate) struct Hasher {
    state: Sha256,
    bytes: u64,
}

impl Hasher {
    pub(crate) fn update(&mut self, piece: &[u8]) {
        self.state.update(piece);
        self.bytes += piece.len() as u64;
    }

    pub(crate) fn finish(self) -> Digest {
        Digest {
            hex: hex(self.state.finalize().as_slice()),
            bytes: self.bytes,
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
            write!(text, "{byte:02x}").expect("writing to a string");
            text
        })
}
