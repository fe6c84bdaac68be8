//! Where images come from: the repository, the data kit, IDX files, or an image folder.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::Result;
use fire_assay_datasets::images::{
    self, FolderConfig, ImageFolder, ImageSet, ImageShape, TrainTest, idx,
};
use fire_assay_datasets::{Error, Kit, embedded};
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use crate::fingerprint::fingerprint;

/// The value of `--data`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ImageSource {
    Embedded,
    FashionMnist,
    Mnist,
    Idx(PathBuf),
    Folder(PathBuf),
}

/// Images, and remarks for the reader.
pub(crate) struct Images {
    pub(crate) data: TrainTest,
    pub(crate) notes: Vec<String>,
}

/// What is held out of sets that have no test images.
const HELD_OUT: f64 = 0.1;

impl FromStr for ImageSource {
    type Err = String;

    fn from_str(value: &str) -> Result<Self, String> {
        match value.split_once(':') {
            None => match value {
                "embedded" => Ok(Self::Embedded),
                "fashion-mnist" => Ok(Self::FashionMnist),
                "mnist" => Ok(Self::Mnist),
                _ => Err(WANTED.to_owned()),
            },
            Some((_, "")) => Err(format!("no path in `{value}`")),
            Some(("idx", path)) => Ok(Self::Idx(path.into())),
            Some(("folder" | "cifar10-folder", path)) => Ok(Self::Folder(path.into())),
            Some(_) => Err(WANTED.to_owned()),
        }
    }
}

impl fmt::Display for ImageSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded => f.write_str("embedded"),
            Self::FashionMnist => f.write_str("fashion-mnist"),
            Self::Mnist => f.write_str("mnist"),
            Self::Idx(path) => write!(f, "idx:{}", path.display()),
            Self::Folder(path) => write!(f, "folder:{}", path.display()),
        }
    }
}

const WANTED: &str =
    "expected embedded, fashion-mnist, mnist, idx:FOLDER, folder:PATH or cifar10-folder:PATH";

impl Images {
    /// A hash of all that a training sees of them.
    pub(crate) fn fingerprint(&self) -> String {
        let TrainTest { train, test } = &self.data;
        let ImageShape {
            channels,
            height,
            width,
        } = train.shape();
        let shape = [channels, height, width].map(|size| (size as u64).to_le_bytes());
        let labels = |set: &ImageSet| -> Vec<u8> {
            let labels = set.labels().iter();
            labels.flat_map(|label| label.to_le_bytes()).collect()
        };
        let (train_labels, test_labels) = (labels(train), labels(test));
        let parts: [&[u8]; 5] = [
            shape.as_flattened(),
            train.pixels(),
            &train_labels,
            test.pixels(),
            &test_labels,
        ];
        let names = train.classes().iter().map(String::as_bytes);
        fingerprint(parts.into_iter().chain(names))
    }
}

impl ImageSource {
    /// Reads the images; with `per_class`, only the first so many training images of each class. What has no test
    /// images is split by `seed`.
    pub(crate) fn read(&self, per_class: Option<usize>, seed: u64) -> Result<Images> {
        let mut notes = Vec::new();
        let split = |set: &ImageSet, notes: &mut Vec<String>| {
            let mut rng = StdRng::seed_from_u64(seed);
            let (train, test) = set.stratified_split(1.0 - HELD_OUT, &mut rng)?;
            notes.push(format!(
                "there are no test images: every tenth image is held out of {}",
                set.len()
            ));
            TrainTest::new(train, test)
        };
        let mut data = match self {
            Self::Embedded => embedded::fashion_mnist(),
            Self::FashionMnist => match Kit::open().and_then(|kit| images::fashion_mnist(&kit)) {
                Err(error @ Error::NotFetched { .. }) => {
                    notes.push(error.to_string());
                    notes.push("EMBEDDED images instead: 2,000 + 500 of the 70,000".to_owned());
                    embedded::fashion_mnist()
                }
                data => data?,
            },
            Self::Mnist => split(&images::mnist(&Kit::open()?)?, &mut notes)?,
            Self::Idx(folder) => idx::read_folder(folder, None)?,
            Self::Folder(path) => {
                let folder = ImageFolder::open(path)?;
                let limited = FolderConfig {
                    per_class,
                    ..FolderConfig::new()
                };
                let names = folder.parts();
                let named = |wanted: &[&'static str]| {
                    wanted.iter().copied().find(|name| names.contains(name))
                };
                let test = named(&["test", "val", "valid", "validation"]);
                match (named(&["train"]), test) {
                    (Some(train), Some(test)) => TrainTest::new(
                        folder.read(Some(train), &limited)?,
                        folder.read(Some(test), &FolderConfig::new())?,
                    )?,
                    (part, _) => split(&folder.read(part, &limited)?, &mut notes)?,
                }
            }
        };
        if let Some(count) = per_class {
            data.train = data.train.first_of_each_class(count)?;
        }
        Ok(Images { data, notes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_told_apart() {
        let parsed = |value: &str| value.parse::<ImageSource>();
        assert_eq!(parsed("embedded"), Ok(ImageSource::Embedded));
        assert_eq!(parsed("idx:a/b"), Ok(ImageSource::Idx("a/b".into())));
        for value in ["folder:c:d.tar", "cifar10-folder:c:d.tar"] {
            assert_eq!(parsed(value), Ok(ImageSource::Folder("c:d.tar".into())));
        }
        for bad in ["", "cifar10", "idx:", "png:x"] {
            assert!(parsed(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_limit_takes_the_same_number_of_every_class() {
        let images = ImageSource::Embedded.read(Some(30), 0).unwrap();
        assert_eq!(images.data.train.class_counts(), [30; 10]);
        assert_eq!(images.data.test.len(), 500);
        assert!(images.notes.is_empty());
    }
}
