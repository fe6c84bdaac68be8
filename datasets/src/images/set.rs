//! A set of labelled images of one size, in memory.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The size of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ImageShape {
    /// Colours: 1 for grey, 3 for red, green and blue.
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

/// Labelled images of one size: at least one, every label with a name, every image complete.
///
/// Pixels are bytes in the order image, channel, row, column (`N, C, H, W`), the order of convolutions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageSet {
    shape: ImageShape,
    pixels: Vec<u8>,
    labels: Vec<u32>,
    classes: Vec<String>,
}

/// Images to train on, and images of the same size and classes to test on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrainTest {
    /// To train on.
    pub train: ImageSet,
    /// To test on.
    pub test: ImageSet,
}

/// Mean and standard deviation of each channel, of values from 0 to 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChannelStatistics {
    /// Mean of each channel.
    pub mean: Vec<f64>,
    /// Standard deviation of each channel (that of the whole population); 0 if all its values are the same.
    pub deviation: Vec<f64>,
}

impl ImageShape {
    /// Bytes, and so values, of one image.
    pub fn values(self) -> usize {
        self.channels * self.height * self.width
    }

    /// The same, if it is a number that this machine can count to and not 0.
    pub(super) fn checked_values(self) -> Option<usize> {
        self.channels
            .checked_mul(self.height)?
            .checked_mul(self.width)
            .filter(|&values| values > 0)
    }
}

impl ImageSet {
    /// A set of images: `pixels` in the order image, channel, row, column; a label for each image, which is a position
    /// in `classes`.
    ///
    /// # Errors
    /// [`Error::InvalidImages`] if an axis is empty, there is no image, or the number of bytes is not the one that the
    /// shape and the number of labels ask for; [`Error::UnknownLabel`] if a label has no class.
    pub fn new(
        shape: ImageShape,
        pixels: Vec<u8>,
        labels: Vec<u32>,
        classes: Vec<String>,
    ) -> Result<Self> {
        let ImageShape {
            channels,
            height,
            width,
        } = shape;
        let wanted = shape
            .checked_values()
            .and_then(|values| values.checked_mul(labels.len()));
        let invalid = |reason: String| Err(Error::InvalidImages { reason });
        if shape.checked_values().is_none() {
            return invalid(format!("images of {channels}x{height}x{width} values"));
        }
        if labels.is_empty() {
            return invalid("there is no image".to_owned());
        }
        if wanted != Some(pixels.len()) {
            return invalid(format!(
                "{} bytes for {} images of {channels}x{height}x{width}",
                pixels.len(),
                labels.len()
            ));
        }
        let unknown = |&label: &u32| label as usize >= classes.len();
        if let Some(index) = labels.iter().position(unknown) {
            return Err(Error::UnknownLabel {
                index,
                label: labels[index],
                classes: classes.len(),
            });
        }
        Ok(Self {
            shape,
            pixels,
            labels,
            classes,
        })
    }

    /// How many images there are; never 0.
    #[allow(clippy::len_without_is_empty, reason = "a set is never empty")]
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// The size of every image.
    pub fn shape(&self) -> ImageShape {
        self.shape
    }

    /// All bytes, image after image.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// The bytes of one image: channel, row, column. Panics if there is no such image, as a slice would.
    pub fn image(&self, index: usize) -> &[u8] {
        let values = self.shape.values();
        &self.pixels[index * values..(index + 1) * values]
    }

    /// The label of every image: positions in [`ImageSet::classes`].
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// The names of the classes.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// How many images each class has.
    pub fn class_counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.classes.len()];
        for &label in &self.labels {
            counts[label as usize] += 1;
        }
        counts
    }

    /// Mean and standard deviation of each channel, exact up to the last rounding.
    pub fn channel_statistics(&self) -> ChannelStatistics {
        let ImageShape {
            channels,
            height,
            width,
        } = self.shape;
        let area = height * width;
        let mut sums = vec![(0_u64, 0_u64); channels];
        for (plane, pixels) in self.pixels.chunks_exact(area).enumerate() {
            let (sum, squares) = &mut sums[plane % channels];
            for &pixel in pixels {
                *sum += u64::from(pixel);
                *squares += u64::from(pixel) * u64::from(pixel);
            }
        }
        let count = (self.len() * area) as f64;
        let moments = sums.into_iter().map(|(sum, squares)| {
            let mean = sum as f64 / count;
            let variance = squares as f64 / count - mean * mean;
            (mean / 255.0, variance.max(0.0).sqrt() / 255.0)
        });
        let (mean, deviation) = moments.unzip();
        ChannelStatistics { mean, deviation }
    }

    /// The images at `indices` as numbers: `(byte / 255 - mean) / deviation` by channel, image after image in the order
    /// channel, row, column. A deviation of 0 counts as 1.
    ///
    /// Panics if there is no such image, as a slice would, or if the statistics have another number of channels.
    pub fn normalised(&self, indices: &[usize], statistics: &ChannelStatistics) -> Vec<f32> {
        let tables = statistics.tables();
        assert_eq!(tables.len(), self.shape.channels, "channels");
        let area = self.shape.height * self.shape.width;
        let mut values = Vec::with_capacity(indices.len() * self.shape.values());
        for &index in indices {
            for (plane, table) in self.image(index).chunks_exact(area).zip(&tables) {
                values.extend(plane.iter().map(|&pixel| table[usize::from(pixel)]));
            }
        }
        values
    }
}

impl TrainTest {
    /// Two sets of the same size of image and the same classes.
    ///
    /// # Errors
    /// [`Error::InvalidImages`] if they differ in either.
    pub fn new(train: ImageSet, test: ImageSet) -> Result<Self> {
        if train.shape != test.shape || train.classes != test.classes {
            return Err(Error::InvalidImages {
                reason: format!(
                    "training images of {:?} in {} classes, test images of {:?} in {}",
                    train.shape,
                    train.classes.len(),
                    test.shape,
                    test.classes.len()
                ),
            });
        }
        Ok(Self { train, test })
    }
}

impl ChannelStatistics {
    /// Statistics that change nothing but the scale: values from 0 to 1.
    pub fn unit(channels: usize) -> Self {
        Self {
            mean: vec![0.0; channels],
            deviation: vec![1.0; channels],
        }
    }

    /// What the values of a channel are divided by once its mean is taken off: its deviation, or 1 where that is 0.
    ///
    /// Panics if there is no such channel, as a slice would.
    pub fn divisor(&self, channel: usize) -> f64 {
        let deviation = self.deviation[channel];
        if deviation > 0.0 { deviation } else { 1.0 }
    }

    /// What each byte becomes, for each channel.
    fn tables(&self) -> Vec<[f32; 256]> {
        self.mean
            .iter()
            .enumerate()
            .map(|(channel, &mean)| {
                let deviation = self.divisor(channel);
                std::array::from_fn(|byte| ((byte as f64 / 255.0 - mean) / deviation) as f32)
            })
            .collect()
    }
}
