//! Where entries of archives go: checks every entry, writes those that are kept, counts and hashes what it writes.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek as _, Write as _};
use std::path::{Component, Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher, GlobSet, GlobSetBuilder};

use super::{MAX_FILES, Unpacked, zipped};
use crate::error::{Error, Result};
use crate::kit::KeptFile;
use crate::manifest::{Keep, Package};
use crate::sha256::Hasher;

/// What an entry of an archive is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EntryKind {
    File,
    Folder,
    /// A symbolic link.
    Link,
    /// A hard link or a special file.
    Other,
}

/// Takes the entries of one archive.
pub(super) struct Sink<'a> {
    archive: &'a Path,
    out: &'a Path,
    rules: Vec<Rule>,
    drop: GlobSet,
    limit: u64,
    bytes: u64,
    files: Vec<KeptFile>,
}

struct Rule {
    glob: GlobMatcher,
    keep: Keep,
    used: bool,
}

impl<'a> Sink<'a> {
    pub(super) fn new(archive: &'a Path, package: &Package, out: &'a Path) -> Result<Self> {
        let mut drop = GlobSetBuilder::new();
        for glob in package.drop {
            drop.add(compile(archive, glob)?.glob().clone());
        }
        Ok(Self {
            archive,
            out,
            rules: compile_rules(archive, package.keep)?,
            drop: drop
                .build()
                .map_err(|error| Error::archive(archive, error))?,
            limit: package.unpacked,
            bytes: 0,
            files: Vec::new(),
        })
    }

    pub(super) fn archive(&self) -> &'a Path {
        self.archive
    }

    /// Whether an entry is wanted, so that its contents need to be read.
    ///
    /// # Errors
    /// [`Error::UnsafeEntry`] if its path leaves the folder, wanted or not, or if it is wanted and a special file or a
    /// link that its rule does not leave out.
    pub(super) fn wants(&self, entry: &str, kind: EntryKind) -> Result<bool> {
        let path = self.inner_path(entry)?;
        let Some(rule) = self.rule_for(&path) else {
            return Ok(false);
        };
        match kind {
            EntryKind::File => Ok(true),
            EntryKind::Folder => Ok(false),
            EntryKind::Link if self.rules[rule].keep.skip_links => Ok(false),
            EntryKind::Link | EntryKind::Other => {
                Err(self.refused(entry, "it is a link or a special file"))
            }
        }
    }

    /// Writes an entry that is wanted.
    pub(super) fn take(&mut self, entry: &str, contents: &mut dyn Read) -> Result<()> {
        let path = self.inner_path(entry)?;
        let Some(index) = self.rule_for(&path) else {
            return Ok(());
        };
        self.rules[index].used = true;
        let keep = self.rules[index].keep;
        if keep.inside.is_empty() {
            self.write(entry, &stripped(&path, keep.strip), contents)
        } else {
            self.take_inside(keep, contents)
        }
    }

    /// Ends the work: every rule must have been of use.
    pub(super) fn finish(mut self) -> Result<Unpacked> {
        if let Some(rule) = self.rules.iter().find(|rule| !rule.used) {
            return Err(Error::NothingKept {
                path: self.archive.to_owned(),
                glob: rule.keep.glob.to_owned(),
            });
        }
        self.files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Unpacked {
            files: self.files,
            bytes: self.bytes,
        })
    }

    fn rule_for(&self, path: &str) -> Option<usize> {
        if self.drop.is_match(path) {
            return None;
        }
        self.rules.iter().position(|rule| rule.glob.is_match(path))
    }

    /// The path of an entry with `/` and without `.` components.
    fn inner_path(&self, entry: &str) -> Result<String> {
        let mut path = String::with_capacity(entry.len());
        for component in Path::new(entry).components() {
            match component {
                Component::Normal(name) => {
                    if !path.is_empty() {
                        path.push('/');
                    }
                    path += &name.to_string_lossy();
                }
                Component::CurDir => {}
                Component::ParentDir => return Err(self.refused(entry, "it leaves the folder")),
                Component::RootDir | Component::Prefix(_) => {
                    return Err(self.refused(entry, "its path is absolute"));
                }
            }
        }
        if path.contains('\0') {
            return Err(self.refused(entry, "its path has a zero byte"));
        }
        Ok(path)
    }

    /// Takes the files of an archive within the archive: spools it to a nameless file and unpacks that.
    fn take_inside(&mut self, keep: Keep, contents: &mut dyn Read) -> Result<()> {
        let mut spool = tempfile::tempfile_in(self.out).map_err(Error::io("write in", self.out))?;
        let mut written = 0;
        self.copy(contents, &mut spool, self.out, |piece| {
            written += piece.len() as u64;
            written
        })?;
        spool
            .rewind()
            .map_err(Error::io("read back in", self.out))?;
        let outer = std::mem::replace(&mut self.rules, compile_rules(self.archive, keep.inside)?);
        zipped::unpack(spool, self)?;
        // The rules within an archive must be of use as well.
        let unused = self.rules.iter().find(|rule| !rule.used);
        let unused = unused.map(|rule| rule.keep.glob.to_owned());
        self.rules = outer;
        unused.map_or(Ok(()), |glob| {
            Err(Error::NothingKept {
                path: self.archive.to_owned(),
                glob,
            })
        })
    }

    fn write(&mut self, entry: &str, path: &str, contents: &mut dyn Read) -> Result<()> {
        if path.is_empty() {
            return Err(self.refused(entry, "its path has fewer components than are cut off"));
        }
        if self.files.len() as u64 >= MAX_FILES {
            return Err(Error::TooLarge {
                path: self.archive.to_owned(),
                limit: MAX_FILES,
                unit: "files",
            });
        }
        let target = self.out.join(path);
        let folder = target.parent().unwrap_or(self.out);
        fs::create_dir_all(folder).map_err(Error::io("make the folder", folder))?;
        let mut file = match OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&target)
        {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                return Err(self.refused(entry, "it comes twice"));
            }
            Err(error) => return Err(Error::io("write", target)(error)),
        };
        let mut hasher = Hasher::default();
        let before = self.bytes;
        let mut total = before;
        self.copy(contents, &mut file, &target, |piece| {
            hasher.update(piece);
            total += piece.len() as u64;
            total
        })?;
        self.bytes = total;
        self.files.push(KeptFile {
            path: path.to_owned(),
            sha256: hasher.finish().hex,
        });
        Ok(())
    }

    /// Copies until the end or until `count`, which is shown every piece and tells the sum so far, passes the limit.
    fn copy(
        &self,
        from: &mut dyn Read,
        to: &mut File,
        target: &Path,
        mut count: impl FnMut(&[u8]) -> u64,
    ) -> Result<()> {
        let mut buffer = [0; 1 << 14];
        loop {
            let n = from
                .read(&mut buffer)
                .map_err(|error| Error::archive(self.archive, error))?;
            if n == 0 {
                return Ok(());
            }
            if count(&buffer[..n]) > self.limit {
                return Err(Error::TooLarge {
                    path: self.archive.to_owned(),
                    limit: self.limit,
                    unit: "bytes",
                });
            }
            to.write_all(&buffer[..n])
                .map_err(Error::io("write", target))?;
        }
    }

    fn refused(&self, entry: &str, reason: &'static str) -> Error {
        Error::UnsafeEntry {
            path: self.archive.to_owned(),
            entry: entry.to_owned(),
            reason,
        }
    }
}

fn compile_rules(archive: &Path, keep: &[Keep]) -> Result<Vec<Rule>> {
    keep.iter()
        .map(|&keep| {
            Ok(Rule {
                glob: compile(archive, keep.glob)?,
                keep,
                used: false,
            })
        })
        .collect()
}

fn compile(archive: &Path, glob: &str) -> Result<GlobMatcher> {
    GlobBuilder::new(glob)
        .literal_separator(true)
        .build()
        .map(|glob| glob.compile_matcher())
        .map_err(|error| Error::archive(archive, error))
}

/// `path` without its first `strip` components; empty if there are no more.
fn stripped(path: &str, strip: usize) -> String {
    PathBuf::from_iter(path.split('/').skip(strip))
        .to_string_lossy()
        .replace('\\', "/")
}
