//! Parts of a set of images.

use rand::Rng;
use rand::seq::SliceRandom as _;

use super::ImageSet;
use crate::error::{Error, Result};

impl ImageSet {
    /// The images at `indices`, in that order; an index may come twice.
    ///
    /// # Errors
    /// [`Error::InvalidImages`] if there are no indices, or one is beyond the last image.
    pub fn select(&self, indices: &[usize]) -> Result<Self> {
        if let Some(index) = indices.iter().find(|&&index| index >= self.len()) {
            return Err(Error::InvalidImages {
                reason: format!("no image {index} among {}", self.len()),
            });
        }
        let mut pixels = Vec::with_capacity(indices.len() * self.shape().values());
        for &index in indices {
            pixels.extend_from_slice(self.image(index));
        }
        let labels = indices.iter().map(|&index| self.labels()[index]).collect();
        Self::new(self.shape(), pixels, labels, self.classes().to_vec())
    }

    /// The first `count` images of each class (all of a class that has fewer), in their order in the set.
    ///
    /// # Errors
    /// [`Error::InvalidImages`] if `count` is 0.
    pub fn first_of_each_class(&self, count: usize) -> Result<Self> {
        self.of_each_class(&self.by_class(), |_| count)
    }

    /// `count` images of each class drawn at random (all of a class that has fewer), in their order in the set.
    ///
    /// # Errors
    /// [`Error::InvalidImages`] if `count` is 0.
    pub fn stratified_sample(&self, count: usize, rng: &mut impl Rng) -> Result<Self> {
        self.of_each_class(&self.shuffled_by_class(rng), |_| count)
    }

    /// Two sets that share no image: the first with `share` of each class, drawn at random and rounded to whole images,
    /// the second with the rest. Both keep the order of this set.
    ///
    /// # Errors
    /// [`Error::InvalidImages`] if the share is not between 0 and 1, or so close to one of them that a part is empty.
    pub fn stratified_split(&self, share: f64, rng: &mut impl Rng) -> Result<(Self, Self)> {
        if !(0.0..=1.0).contains(&share) {
            return Err(Error::InvalidImages {
                reason: format!("a share of {share} of the images"),
            });
        }
        let mut classes = self.shuffled_by_class(rng);
        let count = |class: &[usize]| (share * class.len() as f64).round() as usize;
        let first = self.of_each_class(&classes, count)?;
        for class in &mut classes {
            *class = class.split_off(count(class));
        }
        let second = self.of_each_class(&classes, <[usize]>::len)?;
        Ok((first, second))
    }

    /// The first so many indices of each class, sorted.
    fn of_each_class(
        &self,
        classes: &[Vec<usize>],
        count: impl Fn(&[usize]) -> usize,
    ) -> Result<Self> {
        let taken = classes
            .iter()
            .flat_map(|class| &class[..count(class).min(class.len())]);
        let mut indices: Vec<usize> = taken.copied().collect();
        indices.sort_unstable();
        self.select(&indices)
    }

    fn by_class(&self) -> Vec<Vec<usize>> {
        let mut classes = vec![Vec::new(); self.classes().len()];
        for (index, &label) in self.labels().iter().enumerate() {
            classes[label as usize].push(index);
        }
        classes
    }

    fn shuffled_by_class(&self, rng: &mut impl Rng) -> Vec<Vec<usize>> {
        let mut classes = self.by_class();
        for class in &mut classes {
            class.shuffle(rng);
        }
        classes
    }
}
