//! Data with a known answer: corpora of any size drawn from word histograms, and invented languages.
//!
//! BPE sees a corpus only through the multiplicities of its words. So a corpus of any size can be simulated exactly
//! by drawing each multiplicity from its Poisson law, in time proportional to the number of distinct words: ten
//! gigabytes of training text cost milliseconds, with the sampling noise of ten gigabytes.

use std::ops::RangeInclusive;

use rand::seq::SliceRandom;
use rand::{Rng, RngExt};

use crate::error::{Error, Result};
use crate::words::{Category, WordCounts};

/// Draws training text of about `bytes` bytes from a mixture: the word `w` of category `i` occurs
/// Poisson(`share_i * bytes * f_i(w)`) times, where `f_i(w)` is its occurrences per byte in the category.
///
/// # Errors
/// [`Error::InvalidValue`] if there is not one finite share of at least 0 a category or `bytes` is below 0 or not
/// finite (0 gives no words); [`Error::EmptyCategory`]; [`Error::CountOverflow`] if a multiplicity exceeds 64 bits.
pub fn sample_mixture(
    categories: &[Category],
    shares: &[f64],
    bytes: f64,
    rng: &mut impl Rng,
) -> Result<WordCounts> {
    check_shares(categories.len(), shares)?;
    let parts: Vec<WordCounts> = categories
        .iter()
        .zip(shares)
        .map(|(category, share)| draw(category, share * bytes, rng))
        .collect::<Result<_>>()?;
    WordCounts::merge(&parts)
}

/// Draws an independent sample of about `bytes` bytes of each category, as [`sample_mixture`] does.
///
/// # Errors
/// As [`sample_mixture`].
pub fn sample_categories(
    categories: &[Category],
    bytes: f64,
    rng: &mut impl Rng,
) -> Result<Vec<Category>> {
    categories
        .iter()
        .map(|category| {
            Ok(Category::new(
                category.name.clone(),
                draw(category, bytes, rng)?,
            ))
        })
        .collect()
}

fn check_shares(n: usize, shares: &[f64]) -> Result<()> {
    if shares.len() == n
        && shares
            .iter()
            .all(|share| share.is_finite() && *share >= 0.0)
    {
        return Ok(());
    }
    Err(Error::InvalidValue {
        name: "shares".into(),
        value: format!("{shares:?}"),
        expected: "one finite share of at least 0 for every category",
    })
}

fn draw(category: &Category, bytes: f64, rng: &mut impl Rng) -> Result<WordCounts> {
    if !(bytes.is_finite() && bytes >= 0.0) {
        return Err(Error::InvalidValue {
            name: "bytes".into(),
            value: bytes.to_string(),
            expected: "finite and at least 0",
        });
    }
    let size = category.words.bytes();
    if size == 0 {
        return Err(Error::EmptyCategory {
            name: category.name.clone(),
            bytes: category.bytes,
        });
    }
    category.words.resample(bytes / size as f64, rng)
}

/// Invented languages whose word frequencies follow Zipf's law.
#[derive(Clone, Debug, PartialEq)]
pub struct ZipfLanguages {
    /// Number of categories. Default 3.
    pub categories: usize,
    /// Distinct words of each. Default 2,000.
    pub vocabulary: usize,
    /// Share of every vocabulary that is common to all categories, in 0..=1. Default 0.3. At 1 the categories differ
    /// only in the order of frequencies.
    pub overlap: f64,
    /// Exponent of Zipf's law. Default 1.0.
    pub exponent: f64,
    /// Letters of a word. Default 2..=9.
    pub word_length: RangeInclusive<usize>,
    /// Bytes that words are made of; every category prefers its own order of them. Default `a..=z`.
    pub letters: RangeInclusive<u8>,
    /// Share of words that repeat a single letter ("aaaa"), in 0..=1. Default 0.
    pub repeated: f64,
    /// Bytes of each category's sample. Default 1,000,000.
    pub bytes: f64,
}

impl Default for ZipfLanguages {
    fn default() -> Self {
        Self {
            categories: 3,
            vocabulary: 2000,
            overlap: 0.3,
            exponent: 1.0,
            word_length: 2..=9,
            letters: b'a'..=b'z',
            repeated: 0.0,
            bytes: 1e6,
        }
    }
}

impl ZipfLanguages {
    /// Invents the languages and draws a sample of each.
    ///
    /// # Errors
    /// [`Error::InvalidValue`] for a value out of its range.
    pub fn generate(&self, rng: &mut impl Rng) -> Result<Vec<Category>> {
        self.validate()?;
        let common = (self.vocabulary as f64 * self.overlap).round() as usize;
        let shared: Vec<Vec<u8>> = (0..common).map(|_| self.word(0, rng)).collect();
        (0..self.categories)
            .map(|category| {
                let own = (common..self.vocabulary).map(|_| self.word(category, rng));
                let mut words: Vec<Vec<u8>> = shared.iter().cloned().chain(own).collect();
                words.shuffle(rng);
                let frequency = |rank: usize| ((rank + 1) as f64).powf(-self.exponent);
                let size: f64 = words
                    .iter()
                    .enumerate()
                    .map(|(k, w)| w.len() as f64 * frequency(k))
                    .sum();
                // Counts of a large corpus, of which a sample of the asked size is drawn.
                const RESOLUTION: f64 = 1e12;
                let counts = words
                    .iter()
                    .enumerate()
                    .map(|(k, word)| (word, (RESOLUTION * frequency(k) / size).round() as u64));
                let corpus = WordCounts::from_counts(counts);
                let sample = corpus.resample(self.bytes / RESOLUTION, rng)?;
                Ok(Category::new(format!("zipf-{category}"), sample))
            })
            .collect()
    }

    fn validate(&self) -> Result<()> {
        let unit = 0.0..=1.0;
        let checks = [
            ("categories", self.categories > 0, "at least 1"),
            ("vocabulary", self.vocabulary > 0, "at least 1"),
            ("overlap", unit.contains(&self.overlap), "in 0..=1"),
            ("repeated", unit.contains(&self.repeated), "in 0..=1"),
            (
                "exponent",
                self.exponent.is_finite() && self.exponent >= 0.0,
                "finite, at least 0",
            ),
            (
                "bytes",
                self.bytes.is_finite() && self.bytes > 0.0,
                "finite and above 0",
            ),
            (
                "word_length",
                *self.word_length.start() > 0 && !self.word_length.is_empty(),
                "a range of at least 1 letter",
            ),
            (
                "letters",
                !self.letters.is_empty(),
                "a range of at least 1 byte",
            ),
        ];
        match checks.into_iter().find(|check| !check.1) {
            None => Ok(()),
            Some((name, _, expected)) => Err(Error::InvalidValue {
                name: name.into(),
                value: format!("{self:?}"),
                expected,
            }),
        }
    }

    /// A word whose letters lean towards the beginning of the category's own rotation of the alphabet.
    fn word(&self, category: usize, rng: &mut impl Rng) -> Vec<u8> {
        let (first, last) = (*self.letters.start(), *self.letters.end());
        let letters = usize::from(last - first) + 1;
        let length = rng.random_range(self.word_length.clone());
        let distinct = if rng.random_bool(self.repeated) {
            1
        } else {
            length
        };
        let drawn: Vec<u8> = (0..distinct)
            .map(|_| {
                let skewed = (rng.random::<f64>().powi(2) * letters as f64) as usize;
                first + ((skewed + 5 * category) % letters) as u8
            })
            .collect();
        drawn.into_iter().cycle().take(length).collect()
    }
}
