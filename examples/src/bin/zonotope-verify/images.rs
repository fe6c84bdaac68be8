//! Labelled images to be examined: NumPy arrays, IDX files, image folders, or the embedded test images.

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context as _, Result, bail, ensure};
use fire_assay_datasets::embedded;
use fire_assay_datasets::images::{Colour, FolderConfig, ImageFolder, ImageSet, ImageShape, idx};
use fire_assay_examples::UsageError;

use crate::npy;

/// The value of `--images`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Embedded,
    Npy(PathBuf),
    Folder(PathBuf),
    Idx(PathBuf),
}

impl FromStr for Source {
    type Err = String;

    fn from_str(value: &str) -> Result<Self, String> {
        let path = PathBuf::from(value);
        let ending = path.extension().and_then(|ending| ending.to_str());
        Ok(match ending {
            _ if value.is_empty() => return Err("no path".to_owned()),
            _ if value == "embedded" => Self::Embedded,
            Some("npy") => Self::Npy(path),
            Some("tar") => Self::Folder(path),
            _ if path.is_dir() => Self::Folder(path),
            _ => Self::Idx(path),
        })
    }
}

impl Source {
    /// Reads the images for a network of this input shape and number of classes.
    pub(crate) fn read(
        &self,
        labels: Option<&Path>,
        input: &[usize],
        classes: usize,
    ) -> Result<ImageSet> {
        let of_its_own = matches!(self, Self::Embedded | Self::Folder(_));
        let labels = match (of_its_own, labels) {
            (true, Some(_)) => {
                return Err(
                    UsageError("--labels: these images have labels of their own".into()).into(),
                );
            }
            (false, None) => {
                return Err(UsageError("--images: these images need --labels".into()).into());
            }
            (_, labels) => labels.unwrap_or(Path::new("")),
        };
        let names = || (0..classes).map(|class| class.to_string()).collect();
        let images = match self {
            Self::Embedded => embedded::fashion_mnist().test,
            Self::Npy(path) => numpy(path, labels, names())?,
            Self::Idx(path) => idx::read(path, labels, names())?,
            Self::Folder(path) => {
                let folder = ImageFolder::open(path)?;
                let parts = folder.parts();
                let tests = ["test", "val", "valid", "validation"];
                let part = tests.into_iter().find(|name| parts.contains(name));
                let colour = match input {
                    [1, _, _] => Colour::Grey,
                    _ => Colour::Rgb,
                };
                folder.read(part, &FolderConfig::new().with_colour(colour))?
            }
        };
        let wanted = input.iter().product::<usize>();
        ensure!(
            images.shape().values() == wanted,
            "the network takes {wanted} numbers, and an image has {}",
            images.shape().values()
        );
        ensure!(
            images.classes().len() <= classes,
            "the network has {classes} outputs, and there are {} classes of images",
            images.classes().len()
        );
        Ok(images)
    }
}

fn numpy(path: &Path, labels: &Path, classes: Vec<String>) -> Result<ImageSet> {
    let npy::Bytes { shape, values } = npy::read_bytes(path)?;
    let (count, shape) = match shape[..] {
        [count, width] => (count, [1, 1, width]),
        [count, height, width] => (count, [1, height, width]),
        [count, channels, height, width] => (count, [channels, height, width]),
        _ => bail!(
            "{}: expected the axes images, (channels, rows,) columns, found {} axes",
            path.display(),
            shape.len()
        ),
    };
    let found = if labels.extension().is_some_and(|ending| ending == "npy") {
        npy::read_labels(labels)?
    } else {
        text_labels(labels)?
    };
    ensure!(
        found.len() == count,
        "{} has {count} images, and {} has {} labels",
        path.display(),
        labels.display(),
        found.len()
    );
    let [channels, height, width] = shape;
    let shape = ImageShape {
        channels,
        height,
        width,
    };
    ImageSet::new(shape, values, found, classes).with_context(|| path.display().to_string())
}

/// Numbers of classes in a text file, with commas or white space between them.
fn text_labels(path: &Path) -> Result<Vec<u32>> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let words = text
        .split(|c: char| c == ',' || c.is_whitespace())
        .filter(|word| !word.is_empty());
    words
        .map(|word| {
            word.parse()
                .with_context(|| format!("{}: `{word}` is no class", path.display()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_told_apart_by_their_endings() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().to_str().unwrap();
        assert_eq!("embedded".parse(), Ok(Source::Embedded));
        assert_eq!("a/b.npy".parse(), Ok(Source::Npy("a/b.npy".into())));
        assert_eq!("c.tar".parse(), Ok(Source::Folder("c.tar".into())));
        assert_eq!(folder.parse(), Ok(Source::Folder(folder.into())));
        assert_eq!(
            "t10k-images.gz".parse(),
            Ok(Source::Idx("t10k-images.gz".into()))
        );
        assert!("".parse::<Source>().is_err());
    }

    #[test]
    fn embedded_images_fit_networks_of_their_size_alone() {
        let read = |input: &[usize], classes| Source::Embedded.read(None, input, classes);
        assert_eq!(read(&[784], 10).unwrap().len(), 500);
        assert!(read(&[1, 28, 27], 10).is_err());
        assert!(read(&[784], 9).is_err());
        assert!(
            Source::Embedded
                .read(Some(Path::new("x")), &[784], 10)
                .is_err()
        );
    }

    #[test]
    fn labels_are_read_from_text() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("labels.csv");
        fs::write(&path, "7, 2\n1\n\n0,").unwrap();
        assert_eq!(text_labels(&path).unwrap(), [7, 2, 1, 0]);
        fs::write(&path, "7 -2").unwrap();
        assert!(text_labels(&path).is_err());
    }
}
