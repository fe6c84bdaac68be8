//! Distinct pretokens with their multiplicities: all of a corpus that BPE ever sees.
//!
//! [`WordCounts::builder`] counts them in text of any size with memory for the distinct words only;
//! [`WordCounts::resample`] draws another corpus from the same distribution (section 5.3 of the design).

mod builder;
mod counter;
mod source;

use rand::Rng;
use rand_distr::{Distribution, Poisson};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::pretokenizer::TextPipeline;

pub use builder::WordCountsBuilder;

/// A multiset of pretokens ("words"), sorted by bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct WordCounts {
    arena: Vec<u8>,
    /// End of each word in `arena`.
    ends: Vec<usize>,
    counts: Vec<u64>,
}

impl WordCounts {
    /// A counter of the words that `pipeline` cuts text into.
    pub fn builder(pipeline: &TextPipeline) -> WordCountsBuilder {
        WordCountsBuilder::new(pipeline)
    }

    /// Collects words with counts; equal words are added up, words with count 0 are dropped. A sum beyond 64 bits stays at the largest
    /// count; [`merge`](Self::merge) reports it instead.
    pub fn from_counts<W: AsRef<[u8]>>(words: impl IntoIterator<Item = (W, u64)>) -> Self {
        let mut sorted: Vec<(W, u64)> = words.into_iter().filter(|(_, c)| *c > 0).collect();
        sorted.sort_unstable_by(|a, b| a.0.as_ref().cmp(b.0.as_ref()));
        let mut out = Self::default();
        for (word, count) in sorted {
            if let Err(full) = out.push(word.as_ref(), count) {
                *full = u64::MAX;
            }
        }
        out
    }

    /// All words of several samples, counts added up.
    ///
    /// # Errors
    /// [`Error::CountOverflow`] if a sum does not fit 64 bits.
    pub fn merge<'w>(samples: impl IntoIterator<Item = &'w WordCounts>) -> Result<Self> {
        let mut sorted: Vec<(&[u8], u64)> = samples.into_iter().flat_map(Self::iter).collect();
        sorted.sort_unstable_by_key(|&(word, _)| word);
        let mut out = Self::default();
        for (word, count) in sorted {
            out.push(word, count)
                .map_err(|_| overflow("merged words"))?;
        }
        Ok(out)
    }

    /// The expected counts of a mixture: the sum of the samples, each times its weight, rounded to whole numbers. A corpus
    /// of known composition without sampling noise; with noise it is a [`merge`](Self::merge) of [`resample`](Self::resample)s.
    ///
    /// # Errors
    /// [`Error::InvalidValue`] if a weight is negative or not finite, [`Error::CountOverflow`] if a sum does not fit 64 bits.
    pub fn scaled_sum<'w>(
        samples: impl IntoIterator<Item = (&'w WordCounts, f64)>,
    ) -> Result<Self> {
        let mut sorted: Vec<(&[u8], f64)> = Vec::new();
        for (sample, weight) in samples {
            check_scale("weight", weight)?;
            let scaled = sample.iter().map(|(word, c)| (word, c as f64 * weight));
            sorted.extend(scaled);
        }
        // Stable, so that sums are formed in the order of the samples.
        sorted.sort_by_key(|&(word, _)| word);
        let mut out = Self::default();
        for equal in sorted.chunk_by(|a, b| a.0 == b.0) {
            let sum: f64 = equal.iter().map(|(_, count)| count).sum();
            let count = whole(sum.round()).ok_or_else(|| overflow("mixed words"))?;
            if count > 0 {
                out.append(equal[0].0, count);
            }
        }
        Ok(out)
    }

    /// Another sample of the same distribution, `scale` times the size in expectation: every count `c` becomes a draw from the
    /// Poisson distribution of mean `scale * c` (section 5.3 of the design). Takes milliseconds for any size.
    ///
    /// # Errors
    /// [`Error::InvalidValue`] if `scale` is negative or not finite, [`Error::CountOverflow`] if a mean exceeds 64 bits.
    pub fn resample(&self, scale: f64, rng: &mut impl Rng) -> Result<Self> {
        check_scale("scale", scale)?;
        let mut out = Self::default();
        for (word, count) in self.iter() {
            let mean = count as f64 * scale;
            if mean <= 0.0 {
                continue;
            }
            let law = Poisson::new(mean).map_err(|_| overflow("resampled words"))?;
            let drawn = law.sample(rng) as u64;
            if drawn > 0 {
                out.append(word, drawn);
            }
        }
        Ok(out)
    }

    /// Number of distinct words.
    pub fn len(&self) -> usize {
        self.counts.len()
    }

    /// Whether there is no word.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// The `k`-th word in byte order.
    ///
    /// # Panics
    /// If there are not more than `k` words.
    pub fn word(&self, k: usize) -> &[u8] {
        let start = k.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.arena[start..self.ends[k]]
    }

    /// The multiplicity of the `k`-th word.
    ///
    /// # Panics
    /// If there are not more than `k` words.
    pub fn count(&self, k: usize) -> u64 {
        self.counts[k]
    }

    /// All words with their multiplicities, in byte order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], u64)> {
        (0..self.len()).map(|k| (self.word(k), self.counts[k]))
    }

    /// Bytes of all words together, multiplicities counted; at most `u64::MAX`.
    pub fn bytes(&self) -> u64 {
        self.iter().fold(0, |sum: u64, (word, count)| {
            sum.saturating_add(count.saturating_mul(word.len() as u64))
        })
    }

    /// Adds a word that is not before the last one in byte order; hands back the full count if the sum does not fit.
    fn push(&mut self, word: &[u8], count: u64) -> Result<(), &mut u64> {
        match self.len().checked_sub(1).filter(|&k| self.word(k) == word) {
            Some(k) => match self.counts[k].checked_add(count) {
                Some(sum) => self.counts[k] = sum,
                None => return Err(&mut self.counts[k]),
            },
            None => self.append(word, count),
        }
        Ok(())
    }

    /// Adds a word behind the last one in byte order.
    fn append(&mut self, word: &[u8], count: u64) {
        self.arena.extend_from_slice(word);
        self.ends.push(self.arena.len());
        self.counts.push(count);
    }
}

/// A candidate source of training text: its name and a sample of its words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Category {
    /// The name that results carry.
    pub name: String,
    /// The sample.
    pub words: WordCounts,
    /// Bytes of the sample's text, in which shares are reported.
    pub bytes: u64,
}

impl Category {
    /// A category whose size in bytes is that of its words.
    pub fn new(name: impl Into<String>, words: WordCounts) -> Self {
        let bytes = words.bytes();
        Self {
            name: name.into(),
            words,
            bytes,
        }
    }
}

/// [`WordCounts`] as read from a file, before its order and ends are checked.
#[derive(Deserialize)]
struct Stored {
    arena: Vec<u8>,
    ends: Vec<usize>,
    counts: Vec<u64>,
}

impl TryFrom<Stored> for WordCounts {
    type Error = &'static str;

    fn try_from(stored: Stored) -> Result<Self, &'static str> {
        let Stored {
            arena,
            ends,
            counts,
        } = stored;
        if ends.len() != counts.len() || counts.contains(&0) {
            return Err("word counts: every word needs a count above 0");
        }
        if !ends.is_sorted() || ends.last().copied().unwrap_or(0) != arena.len() {
            return Err("word counts: the ends of the words do not divide their bytes");
        }
        let words = Self {
            arena,
            ends,
            counts,
        };
        let sorted = (1..words.len()).all(|k| words.word(k - 1) < words.word(k));
        if sorted {
            Ok(words)
        } else {
            Err("word counts: the words are not sorted and distinct")
        }
    }
}

fn check_scale(name: &str, value: f64) -> Result<()> {
    if value.is_finite() && value >= 0.0 {
        return Ok(());
    }
    Err(Error::InvalidValue {
        name: name.to_owned(),
        value: value.to_string(),
        expected: "finite and not negative",
    })
}

/// A whole number as 64 bits, if it fits.
fn whole(value: f64) -> Option<u64> {
    const LIMIT: f64 = 18_446_744_073_709_551_616.0; // 2^64
    (value < LIMIT).then_some(value as u64)
}

fn overflow(name: &str) -> Error {
    Error::CountOverflow {
        name: name.to_owned(),
    }
}
