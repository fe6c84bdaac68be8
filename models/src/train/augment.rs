//! Preparation of images in main memory: random crops and flips by seed, and standardisation by channel.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::{Error, Result};

/// A random crop of the padded image, of the image's own size, and a random horizontal flip: the usual augmentation
/// of images of 28 or 32 pixels. The same seed gives the same crop and flip.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Crop {
    /// Pixels of padding at every side. Default 4.
    pub padding: usize,
    /// The padding's value. Default 0.
    pub fill: f32,
    /// Flips left and right, one time in two. Default on.
    pub flip: bool,
}

/// Takes a mean from every channel and divides by a standard deviation.
#[derive(Clone, Debug, PartialEq)]
pub struct Standardise {
    mean: Vec<f32>,
    deviation: Vec<f32>,
}

impl Default for Crop {
    fn default() -> Self {
        Self {
            padding: 4,
            fill: 0.0,
            flip: true,
        }
    }
}

impl Crop {
    /// The crop of an image with axes `[channels, height, width]`, drawn from a seed.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`] if the image does not have that shape.
    pub fn apply(&self, image: &[f32], shape: [usize; 3], seed: u64) -> Result<Vec<f32>> {
        let [channels, height, width] = shape;
        check(image, channels, height * width)?;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let (top, left) = (
            rng.random_range(0..=2 * self.padding),
            rng.random_range(0..=2 * self.padding),
        );
        let flip = rng.random::<bool>() && self.flip;
        let pixel = |channel: usize, y: usize, x: usize| {
            let x = if flip { width - 1 - x } else { x };
            let source = |at: usize, offset: usize, size: usize| {
                (at + offset)
                    .checked_sub(self.padding)
                    .filter(|&at| at < size)
            };
            match (source(y, top, height), source(x, left, width)) {
                (Some(y), Some(x)) => image[(channel * height + y) * width + x],
                _ => self.fill,
            }
        };
        let rows = (0..channels).flat_map(|channel| (0..height).map(move |y| (channel, y)));
        Ok(rows
            .flat_map(|(channel, y)| (0..width).map(move |x| pixel(channel, y, x)))
            .collect())
    }
}

impl Standardise {
    /// With these means and standard deviations, one a channel.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] if their numbers differ, or a value is not finite, or a deviation is not above 0.
    pub fn new(mean: Vec<f32>, deviation: Vec<f32>) -> Result<Self> {
        let fits = mean.len() == deviation.len()
            && mean.iter().all(|m| m.is_finite())
            && deviation.iter().all(|d| d.is_finite() && *d > 0.0);
        match fits {
            true => Ok(Self { mean, deviation }),
            false => Err(Error::InvalidConfig {
                field: "standardisation".to_owned(),
                reason: format!("means {mean:?} and deviations {deviation:?}"),
            }),
        }
    }

    /// Means and deviations of images that lie one after the other, each with axes `[channels, height, width]`.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`] if the values are not whole images, and [`Error::InvalidConfig`] if a channel is
    /// constant.
    pub fn fit(images: &[f32], shape: [usize; 3]) -> Result<Self> {
        let [channels, height, width] = shape;
        let size = height * width;
        let count = images.len() / (channels * size).max(1);
        check(images, count * channels, size)?;
        let planes = |channel: usize| {
            let planes = images.chunks_exact(size).skip(channel).step_by(channels);
            planes.flatten().map(|&value| f64::from(value))
        };
        let pixels = (count * size) as f64;
        let mean = |channel: usize| planes(channel).sum::<f64>() / pixels;
        let deviation = |channel: usize| {
            let mean = mean(channel);
            (planes(channel)
                .map(|value| (value - mean).powi(2))
                .sum::<f64>()
                / pixels)
                .sqrt()
        };
        let each = |of: &dyn Fn(usize) -> f64| (0..channels).map(|c| of(c) as f32).collect();
        Self::new(each(&mean), each(&deviation))
    }

    /// Standardises images that lie one after the other, each with axes `[channels, height, width]`.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`] if the values are not whole images.
    pub fn apply(&self, images: &mut [f32], height: usize, width: usize) -> Result<()> {
        let (channels, size) = (self.mean.len(), height * width);
        let count = images.len() / (channels * size).max(1);
        check(images, count * channels, size)?;
        for (plane, values) in images.chunks_exact_mut(size).enumerate() {
            let (mean, deviation) = (
                self.mean[plane % channels],
                self.deviation[plane % channels],
            );
            values
                .iter_mut()
                .for_each(|value| *value = (*value - mean) / deviation);
        }
        Ok(())
    }
}

fn check(values: &[f32], planes: usize, size: usize) -> Result<()> {
    match planes > 0 && size > 0 && values.len() == planes * size {
        true => Ok(()),
        false => Err(Error::InvalidInput {
            reason: format!(
                "{} values for images of {planes} planes of {size} pixels",
                values.len()
            ),
        }),
    }
}
