//! Finished categories on disk, so that an interrupted replay does not begin from nothing.
//!
//! A file is named by a hash of all that its contents depend on: the merges, the category's words, name and size,
//! and the letters that count. It holds the same hash inside, which tells a renamed file. A filter is not part
//! of it: categories are saved unfiltered.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3;

use super::assemble::Part;
use super::format::{Kind, VERSION, decode, encode, write_whole};
use super::replay::letters;
use crate::error::{Error, Result};
use crate::merges::{Alphabet, MergeList};
use crate::words::Category;

const CHECKPOINT: Kind = Kind {
    magic: *b"BPECATEG",
    name: "category checkpoint",
};

/// A directory of checkpoints for one merge list.
pub(super) struct Checkpoints<'a> {
    directory: &'a Path,
    list: &'a MergeList,
    /// Hash state after everything that all categories share.
    shared: Xxh3,
}

impl<'a> Checkpoints<'a> {
    /// Makes the directory if it is not there.
    pub(super) fn open(directory: &'a Path, list: &'a MergeList, steps: usize) -> Result<Self> {
        fs::create_dir_all(directory).map_err(|error| Error::io(directory, error))?;
        let mut shared = Xxh3::new();
        shared.update(&VERSION.to_le_bytes());
        shared.update(&[match list.alphabet() {
            Alphabet::Bytes => 0,
            Alphabet::Characters => 1,
        }]);
        let prefix = list.prefix().len();
        shared.update(&(prefix as u64).to_le_bytes());
        shared.update(&(steps as u64).to_le_bytes());
        for merge in &list.merges()[..prefix + steps] {
            for token in [merge.left, merge.right, merge.product] {
                shared.update(&token.to_le_bytes());
            }
        }
        Ok(Self {
            directory,
            list,
            shared,
        })
    }

    /// The saved replay of a category, if there is one.
    pub(super) fn read(&self, category: &Category) -> Result<Option<Part>> {
        let key = self.key(category);
        let path = self.path(key);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io(path, error)),
        };
        let (found, trace) = decode(CHECKPOINT, &bytes)?;
        if found != key {
            return Err(Error::VersionMismatch {
                what: CHECKPOINT.name,
                expected: format!("key {key:032x}"),
                found: format!("key {found:032x}"),
            });
        }
        Ok(Some(Part(trace)))
    }

    /// Saves the replay of a category.
    pub(super) fn write(&self, category: &Category, part: &Part) -> Result<()> {
        let key = self.key(category);
        write_whole(&self.path(key), &encode(CHECKPOINT, key, &part.0))
    }

    fn path(&self, key: u128) -> PathBuf {
        self.directory.join(format!("{key:032x}.category"))
    }

    fn key(&self, category: &Category) -> u128 {
        let mut hash = self.shared.clone();
        let mut text = |text: &[u8]| {
            hash.update(&(text.len() as u64).to_le_bytes());
            hash.update(text);
        };
        text(category.name.as_bytes());
        text(&category.bytes.to_le_bytes());
        for symbol in letters(self.list, category).tokens() {
            text(&symbol.to_le_bytes());
        }
        for (word, count) in category.words.iter() {
            text(word);
            text(&count.to_le_bytes());
        }
        hash.digest128()
    }
}
