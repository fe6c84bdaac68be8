//! Where text comes from: the repository, the data kit, or files.

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context as _, Result, bail};
use fire_assay_datasets::text::{self, TextConfig};
use fire_assay_datasets::{Error, Kit, embedded};

/// The value of `--text`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TextSource {
    Embedded,
    Kit,
    Path(PathBuf),
}

impl FromStr for TextSource {
    type Err = String;

    fn from_str(value: &str) -> Result<Self, String> {
        Ok(match value {
            "" => return Err("expected embedded, kit, a file or a folder".to_owned()),
            "embedded" => Self::Embedded,
            "kit" => Self::Kit,
            path => Self::Path(path.into()),
        })
    }
}

impl TextSource {
    /// The text, and remarks for the reader.
    pub(crate) fn read(&self) -> Result<(String, Vec<String>)> {
        match self {
            Self::Embedded => Ok((embedded::english().text, Vec::new())),
            Self::Kit => {
                match Kit::open().and_then(|kit| text::english(&kit, &TextConfig::new())) {
                    Ok(english) => Ok((english.text, vec![format!("text: {}", english.source)])),
                    Err(error @ Error::NotFetched { .. }) => {
                        let notes = vec![
                            error.to_string(),
                            "EMBEDDED text instead: 130 kB".to_owned(),
                        ];
                        Ok((embedded::english().text, notes))
                    }
                    Err(other) => Err(other.into()),
                }
            }
            Self::Path(path) => Ok((read_files(path)?, Vec::new())),
        }
    }
}

/// A file, or all files below a folder in the order of their paths. They must be UTF-8.
fn read_files(path: &Path) -> Result<String> {
    let mut text = String::new();
    let mut left = vec![path.to_owned()];
    while let Some(path) = left.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).with_context(|| cannot_read(&path))?;
            let entries: std::io::Result<Vec<PathBuf>> =
                entries.map(|entry| Ok(entry?.path())).collect();
            let mut entries = entries.with_context(|| cannot_read(&path))?;
            entries.sort();
            left.extend(entries.into_iter().rev());
        } else {
            text += &fs::read_to_string(&path).with_context(|| cannot_read(&path))?;
            if !text.ends_with('\n') {
                text.push('\n');
            }
        }
    }
    if text.trim().is_empty() {
        bail!("there is no text in {}", path.display());
    }
    Ok(text)
}

fn cannot_read(path: &Path) -> String {
    format!("cannot read {}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_read_in_the_order_of_its_paths() {
        let scratch = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = scratch.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("c.txt", "third");
        write("a/b.txt", "second\n");
        write("a/a.txt", "first\n");
        let source: TextSource = scratch.path().to_str().unwrap().parse().unwrap();
        assert_eq!(source.read().unwrap().0, "first\nsecond\nthird\n");
        fs::write(scratch.path().join("d.txt"), b"\xff").unwrap();
        assert!(source.read().is_err());
        let missing: TextSource = "/nowhere/at/all".parse().unwrap();
        assert!(missing.read().is_err());
    }

    #[test]
    fn the_embedded_text_needs_nothing() {
        assert_eq!("embedded".parse(), Ok(TextSource::Embedded));
        let (text, notes) = TextSource::Embedded.read().unwrap();
        assert!(text.len() > 100_000 && notes.is_empty());
    }
}
