//! Distinct pretokens with their multiplicities: all of a corpus that BPE ever sees.

use serde::{Deserialize, Serialize};

/// A multiset of pretokens ("words"), sorted by bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WordCounts {
    arena: Vec<u8>,
    /// End of each word in `arena`.
    ends: Vec<usize>,
    counts: Vec<u64>,
}

impl WordCounts {
    /// Collects words with counts; equal words are added up, words with count 0 are dropped.
    pub fn from_counts<W: AsRef<[u8]>>(words: impl IntoIterator<Item = (W, u64)>) -> Self {
        let mut sorted: Vec<(W, u64)> = words.into_iter().filter(|(_, c)| *c > 0).collect();
        sorted.sort_unstable_by(|a, b| a.0.as_ref().cmp(b.0.as_ref()));
        let mut out = Self::default();
        for (word, count) in sorted {
            let last = out.len().checked_sub(1);
            match last.filter(|&k| out.word(k) == word.as_ref()) {
                Some(k) => out.counts[k] += count,
                None => {
                    out.arena.extend_from_slice(word.as_ref());
                    out.ends.push(out.arena.len());
                    out.counts.push(count);
                }
            }
        }
        out
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
    pub fn word(&self, k: usize) -> &[u8] {
        let start = k.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.arena[start..self.ends[k]]
    }

    /// The multiplicity of the `k`-th word.
    pub fn count(&self, k: usize) -> u64 {
        self.counts[k]
    }

    /// All words with their multiplicities, in byte order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], u64)> {
        (0..self.len()).map(|k| (self.word(k), self.counts[k]))
    }

    /// Bytes of all words together, multiplicities counted.
    pub fn bytes(&self) -> u64 {
        self.iter()
            .map(|(word, count)| word.len() as u64 * count)
            .sum()
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
