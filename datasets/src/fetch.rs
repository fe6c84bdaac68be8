//! Fetching packages into the kit: one package after the other, safe to repeat and to interrupt.
//!
//! A package goes through these steps, and whatever is done already is not done again: a client delivers the package
//! file into `partial/`; its hash is checked; it moves to `packages/`; its files are unpacked into `partial/` and move
//! to `data/`; the receipt is written. A process that is killed leaves something in `partial/` only, which the next
//! one clears away.

mod client;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::{Error, Result};
use crate::kit::{Kit, Receipt, State, rules_digest};
use crate::manifest::{Client, Package};
use crate::sha256::{self, Digest};
use crate::unpack::unpack;

/// How to fetch.
#[derive(Clone, Debug, Default)]
pub struct FetchConfig {
    /// Programs to call instead of [`Client::program`].
    pub programs: BTreeMap<Client, PathBuf>,
    /// Take the version that the registry offers where it no longer offers the pinned one. Only apt's packages move
    /// so; the receipt then says that the data are newer. A file of the pinned name must have the pinned hash in any
    /// case.
    pub accept_newer: bool,
    /// Delete package files once they are unpacked.
    pub discard_packages: bool,
}

impl FetchConfig {
    /// The default: pinned versions only, programs from PATH, package files are kept.
    pub fn new() -> Self {
        Self::default()
    }

    /// Calls `program` for `client`.
    pub fn with_program(mut self, client: Client, program: impl Into<PathBuf>) -> Self {
        self.programs.insert(client, program.into());
        self
    }

    /// Sets [`FetchConfig::accept_newer`].
    pub fn with_accept_newer(mut self, accept: bool) -> Self {
        self.accept_newer = accept;
        self
    }

    /// Sets [`FetchConfig::discard_packages`].
    pub fn with_discard_packages(mut self, discard: bool) -> Self {
        self.discard_packages = discard;
        self
    }

    fn program(&self, client: Client) -> PathBuf {
        self.programs
            .get(&client)
            .cloned()
            .unwrap_or_else(|| client.program().into())
    }
}

/// What became of a package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "outcome")]
pub enum Outcome {
    /// It was there already.
    Present,
    /// The package file was there (or came now) and its files were unpacked.
    Unpacked {
        /// Whether a client had to be called.
        downloaded: bool,
        /// Another version than the pinned one was accepted: the name of its package file.
        newer: Option<String>,
        /// How many files were kept.
        files: u64,
        /// Their size in bytes.
        bytes: u64,
    },
}

/// Changes a kit. Only one exists for a kit at any time, in all processes.
#[derive(Debug)]
pub struct Fetcher<'a> {
    kit: &'a Kit,
    config: FetchConfig,
    /// The operating system releases the lock when the process ends, however that happens.
    lock: File,
}

impl Drop for Fetcher<'_> {
    fn drop(&mut self) {
        // Closing the file would not do: a process that another thread is just starting may share it for a moment.
        let _ = self.lock.unlock();
    }
}

impl<'a> Fetcher<'a> {
    /// Makes the kit's folder if it is missing, and takes its lock.
    ///
    /// # Errors
    /// [`Error::Busy`] if another process (or fetcher) has the lock, [`Error::Io`] if the folder cannot be written.
    pub fn new(kit: &'a Kit, config: FetchConfig) -> Result<Self> {
        fs::create_dir_all(kit.root()).map_err(Error::io("make the folder", kit.root()))?;
        let path = kit.lock_file();
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(Error::io("open", &path))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { kit, config, lock }),
            Err(fs::TryLockError::WouldBlock) => Err(Error::Busy { path }),
            Err(fs::TryLockError::Error(error)) => Err(Error::io("lock", path)(error)),
        }
    }

    /// Sees to it that the data of a package are in the kit.
    ///
    /// # Errors
    /// Those of the clients ([`Error::MissingClient`], [`Error::NoNetwork`], [`Error::NotOffered`],
    /// [`Error::ClientFailed`]), of checking and unpacking ([`Error::WrongHash`], [`Error::Archive`],
    /// [`Error::UnsafeEntry`], [`Error::TooLarge`], [`Error::NothingKept`]) and [`Error::Io`]. After an error the
    /// data that were there before are still there.
    pub fn fetch(&self, package: &Package) -> Result<Outcome> {
        if let State::Ready(_) = self.kit.state(package)? {
            return Ok(Outcome::Present);
        }
        let span = tracing::info_span!("fetch", package = package.id);
        let _inside = span.enter();
        let partial = self.kit.partial_folder(package);
        remove_folder(&partial)?;
        fs::create_dir_all(&partial).map_err(Error::io("make the folder", &partial))?;

        let (file, downloaded) = match self.stored(package)? {
            Some(file) => (file, false),
            None => (self.download(package, &partial)?, true),
        };
        let unpacked = unpack(&file.path, package, &partial.join("data"))?;
        self.put_in_place(package, &partial)?;
        let newer = file.digest.hex != package.sha256;
        let receipt = Receipt {
            package: package.id.to_owned(),
            file: file.name(),
            sha256: file.digest.hex.clone(),
            bytes: file.digest.bytes,
            newer,
            rules: rules_digest(package),
            files: unpacked.files.len() as u64,
            unpacked: unpacked.bytes,
        };
        self.kit.record(package, &receipt, &unpacked.files)?;
        remove_folder(&partial)?;
        if self.config.discard_packages {
            fs::remove_file(&file.path).map_err(Error::io("remove", &file.path))?;
        }
        Ok(Outcome::Unpacked {
            downloaded,
            newer: newer.then(|| file.name()),
            files: receipt.files,
            bytes: receipt.unpacked,
        })
    }

    /// The package file, if an earlier run fetched it. One with another hash is thrown away.
    fn stored(&self, package: &Package) -> Result<Option<PackageFile>> {
        let path = self.kit.packages_folder().join(package.file);
        let digest = match sha256::of_file(&path) {
            Ok(digest) => digest,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("read", path)(error)),
        };
        if digest.hex == package.sha256 {
            return Ok(Some(PackageFile { path, digest }));
        }
        fs::remove_file(&path).map_err(Error::io("remove", path))?;
        Ok(None)
    }

    /// Has the client deliver the package file, checks it and moves it to the other package files.
    fn download(&self, package: &Package, partial: &Path) -> Result<PackageFile> {
        let program = self.config.program(package.client);
        let delivered = match client::deliver(package, true, &program, partial) {
            Err(Error::NotOffered { .. })
                if self.config.accept_newer && package.client == Client::Apt =>
            {
                client::deliver(package, false, &program, partial)?
            }
            result => result?,
        };
        let digest = sha256::of_file(&delivered).map_err(Error::io("read", &delivered))?;
        let delivered = PackageFile {
            path: delivered,
            digest,
        };
        let name = delivered.name();
        let pinned = delivered.digest.hex == package.sha256;
        if !(pinned || self.config.accept_newer && name != package.file) {
            return Err(Error::WrongHash {
                package: package.id.to_owned(),
                file: name,
                expected: package.sha256.to_owned(),
                found: delivered.digest.hex,
                expected_bytes: package.bytes,
                found_bytes: delivered.digest.bytes,
            });
        }
        let folder = self.kit.packages_folder();
        fs::create_dir_all(&folder).map_err(Error::io("make the folder", &folder))?;
        // A pinned file gets the manifest's name, so that the next run finds it.
        let path = folder.join(if pinned { package.file } else { &name });
        fs::rename(&delivered.path, &path).map_err(Error::io("write", &path))?;
        Ok(PackageFile {
            path,
            digest: delivered.digest,
        })
    }

    /// Replaces the data of a package by the freshly unpacked ones.
    fn put_in_place(&self, package: &Package, partial: &Path) -> Result<()> {
        let target = self.kit.data_folder(package);
        let parent = target.parent().unwrap_or(self.kit.root());
        fs::create_dir_all(parent).map_err(Error::io("make the folder", parent))?;
        self.kit.forget(package)?;
        if target.exists() {
            fs::rename(&target, partial.join("old")).map_err(Error::io("replace", &target))?;
        }
        fs::rename(partial.join("data"), &target).map_err(Error::io("write", &target))
    }
}

/// A package file on disk.
struct PackageFile {
    path: PathBuf,
    digest: Digest,
}

impl PackageFile {
    fn name(&self) -> String {
        let name = self.path.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }
}

fn remove_folder(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::io("remove", folder)(error))
        }
        _ => Ok(()),
    }
}
