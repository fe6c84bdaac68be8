//! What is in a folder, in an order that is the same on every machine.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// All files below a folder whose name ends with one of `suffixes`, with their paths below it (with `/`), sorted.
pub(crate) fn files_below(folder: &Path, suffixes: &[&str]) -> Result<Vec<(String, PathBuf)>> {
    let mut files = Vec::new();
    let mut folders = vec![(String::new(), folder.to_owned())];
    while let Some((prefix, folder)) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(Error::io("read", &folder))? {
            let entry = entry.map_err(Error::io("read", &folder))?;
            let kind = entry.file_type().map_err(Error::io("read", &folder))?;
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            if kind.is_dir() {
                folders.push((format!("{name}/"), entry.path()));
            } else if suffixes.iter().any(|suffix| name.ends_with(suffix)) {
                files.push((name, entry.path()));
            }
        }
    }
    files.sort();
    Ok(files)
}

/// The names of the folders in a folder, sorted.
pub(crate) fn folders_in(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::io("read", folder))? {
        let entry = entry.map_err(Error::io("read", folder))?;
        if entry.path().is_dir() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}
