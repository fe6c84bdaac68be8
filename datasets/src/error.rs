//! What can go wrong with the kit and the loaders, and what to do about it.

use std::io;
use std::path::PathBuf;

use crate::manifest::Client;

/// Result of this crate's fallible functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of the data kit. Every variant names the package or file and, where there is one, the way out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No tier and no package has this name.
    #[error("no tier or package of the data kit is called `{name}`{}", did_you_mean(.close))]
    UnknownName {
        /// The name that was asked for.
        name: String,
        /// A name that exists and looks like it.
        close: Option<String>,
    },

    /// The folder of the kit is not given, and the system names no cache folder for this user.
    #[error("no folder for the data kit: set {variable} to one")]
    NoFolder {
        /// The environment variable that names the folder.
        variable: &'static str,
    },

    /// The data of a package are needed and are not in the kit.
    #[error(
        "the data of `{package}` {} in {root}: fetch them with `{command}`",
        if *.outdated { "are out of date" } else { "are not" }
    )]
    NotFetched {
        /// The package's name in the kit.
        package: String,
        /// The kit's folder.
        root: PathBuf,
        /// The data are there, but were unpacked by other rules than today's.
        outdated: bool,
        /// The command that fetches them.
        command: String,
    },

    /// The program of a package client is not installed.
    #[error("cannot fetch `{package}`: the program `{program}` is not installed or not on PATH")]
    MissingClient {
        /// The package's name in the kit.
        package: String,
        /// The client.
        client: Client,
        /// The program that was tried.
        program: PathBuf,
    },

    /// The client could not reach its registry.
    #[error("cannot fetch `{package}`: {client} cannot reach its registry; it said:\n{tail}")]
    NoNetwork {
        /// The package's name in the kit.
        package: String,
        /// The client.
        client: Client,
        /// Its last lines.
        tail: String,
    },

    /// The registry does not offer the wanted version (any more), or the client's package lists are missing.
    #[error("cannot fetch `{package}`: {client} offers no {wanted}; {hint}; it said:\n{tail}")]
    NotOffered {
        /// The package's name in the kit.
        package: String,
        /// The client.
        client: Client,
        /// Name and version that were asked for.
        wanted: String,
        /// What to try.
        hint: &'static str,
        /// The client's last lines.
        tail: String,
    },

    /// The client failed for another reason.
    #[error("cannot fetch `{package}`: `{command}` failed ({status}); it said:\n{tail}")]
    ClientFailed {
        /// The package's name in the kit.
        package: String,
        /// The client.
        client: Client,
        /// The command line.
        command: String,
        /// How it ended.
        status: String,
        /// Its last lines.
        tail: String,
    },

    /// A package file is not the one that the manifest describes. The file was thrown away.
    #[error(
        "`{package}`: the package file {file} is not the expected one: sha256 {found} ({found_bytes} bytes), \
         expected {expected} ({expected_bytes} bytes)"
    )]
    WrongHash {
        /// The package's name in the kit.
        package: String,
        /// The file's name.
        file: String,
        /// SHA-256 of the manifest, hexadecimal.
        expected: String,
        /// SHA-256 of the file, hexadecimal.
        found: String,
        /// Size of the manifest.
        expected_bytes: u64,
        /// Size of the file.
        found_bytes: u64,
    },

    /// An archive is damaged or of an unknown kind.
    #[error("the archive {path} cannot be read: {reason}")]
    Archive {
        /// The archive.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },

    /// An archive wants to write outside its folder, twice to one file, or a link.
    #[error("the archive {path} holds an entry that is refused: {entry}: {reason}")]
    UnsafeEntry {
        /// The archive.
        path: PathBuf,
        /// The entry's path as the archive gives it.
        entry: String,
        /// Why it is refused.
        reason: &'static str,
    },

    /// An archive unpacks to more than the manifest allows for it.
    #[error("the archive {path} holds more than expected: over {limit} {unit}")]
    TooLarge {
        /// The archive.
        path: PathBuf,
        /// The limit.
        limit: u64,
        /// What is counted.
        unit: &'static str,
    },

    /// A rule of the manifest finds no file in the package.
    #[error("the archive {path} holds nothing that matches `{glob}`")]
    NothingKept {
        /// The archive.
        path: PathBuf,
        /// The rule.
        glob: String,
    },

    /// Another process is changing the kit.
    #[error("another process is fetching into this kit (lock file {path})")]
    Busy {
        /// The lock file.
        path: PathBuf,
    },

    /// The file system refused something.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried ("read", "write", ...).
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },

    /// A file of the kit does not have the form that its loader expects.
    #[error("{path} is not what it should be: {reason}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },

    /// A collection of texts has no category of this name.
    #[error("the {collection} has no category called `{name}`; it has: {known}")]
    UnknownCategory {
        /// The collection.
        collection: &'static str,
        /// The name that was asked for.
        name: String,
        /// The names there are.
        known: String,
    },

    /// A file does not begin as its format does.
    #[error(
        "{path} begins with {found:?} instead of {expected:?}: it is not the IDX file that is wanted here"
    )]
    WrongMagic {
        /// The file.
        path: PathBuf,
        /// How files of the format begin.
        expected: [u8; 4],
        /// How this one begins.
        found: Vec<u8>,
    },

    /// A file ends before its contents do.
    #[error("{path} is cut off: it should have {needed} bytes (uncompressed) and has {found}")]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Bytes that its header promises.
        needed: u64,
        /// Bytes that are there.
        found: u64,
    },

    /// Images and labels are not as many as each other.
    #[error("{images_path} has {images} images and {labels_path} {labels} labels")]
    CountMismatch {
        /// The file of the images.
        images_path: PathBuf,
        /// How many there are.
        images: usize,
        /// The file of the labels.
        labels_path: PathBuf,
        /// How many there are.
        labels: usize,
    },

    /// A label has no class.
    #[error("image {index} has the label {label}, and there are {classes} classes")]
    UnknownLabel {
        /// The image, from 0.
        index: usize,
        /// Its label.
        label: u32,
        /// How many classes there are; labels count from 0.
        classes: usize,
    },

    /// An image has another size than the first of its set.
    #[error("{path} has {}x{} pixels, and the images before it have {}x{}", found.0, found.1, expected.0, expected.1)]
    ImageSize {
        /// The file, or the archive and the file in it.
        path: PathBuf,
        /// Width and height of the images before it.
        expected: (usize, usize),
        /// Its own.
        found: (usize, usize),
    },

    /// Images that do not make a set, or a part that a set does not have.
    #[error("invalid images: {reason}")]
    InvalidImages {
        /// What is wrong.
        reason: String,
    },

    /// A folder of images has no part of this name.
    #[error("{path} has no images for `{name}`; it has: {known}")]
    UnknownPart {
        /// The folder or archive.
        path: PathBuf,
        /// The part that was asked for.
        name: String,
        /// The parts there are.
        known: String,
    },
}

impl Error {
    /// For `map_err` on an operation on `path`.
    pub(crate) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }

    pub(crate) fn archive(path: impl Into<PathBuf>, reason: impl ToString) -> Self {
        Self::Archive {
            path: path.into(),
            reason: reason.to_string(),
        }
    }
}

fn did_you_mean(close: &Option<String>) -> String {
    close
        .as_ref()
        .map_or_else(String::new, |close| format!(" (did you mean `{close}`?)"))
}
