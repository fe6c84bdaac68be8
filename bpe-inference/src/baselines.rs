//! What the linear program is measured against (section 4.2 of the paper): guessing, tokenizer encoding efficiency
//! (TEE) and token classification (TC).

use aho_corasick::{AhoCorasick, MatchKind};
use rand::Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::encoder::Encoder;
use crate::error::{Error, Result};
use crate::merges::MergeList;
use crate::metrics::sample_simplex;
use crate::words::{Category, WordCounts};

/// The same share for each of `n` categories.
pub fn uniform(n: usize) -> Vec<f64> {
    vec![1.0 / n as f64; n]
}

/// A random mixture of `n` categories ([`sample_simplex`]).
///
/// # Errors
/// As [`sample_simplex`].
pub fn random(n: usize, rng: &mut impl Rng) -> Result<Vec<f64>> {
    sample_simplex(n, rng)
}

/// Bytes of text per token that `list` spends on `words`.
///
/// # Errors
/// [`Error::EmptyCategory`] if there are no words.
pub fn bytes_per_token(list: &MergeList, words: &WordCounts) -> Result<f64> {
    let tokens = Encoder::new(list).count_tokens(words);
    if tokens == 0 {
        return Err(Error::EmptyCategory {
            name: "words".into(),
            bytes: 0,
        });
    }
    Ok(words.bytes() as f64 / tokens as f64)
}

/// How well `target` encodes each category compared with a tokenizer trained on that category alone (`own`, of the
/// same vocabulary size, in the order of `categories`): the ratio of their bytes per token.
///
/// # Errors
/// [`Error::InvalidValue`] if there is not one own tokenizer a category, [`Error::EmptyCategory`].
pub fn encoding_efficiency(
    target: &MergeList,
    own: &[MergeList],
    categories: &[Category],
) -> Result<Vec<f64>> {
    if own.len() != categories.len() {
        return Err(Error::InvalidValue {
            name: "own tokenizers".into(),
            value: own.len().to_string(),
            expected: "one for each category",
        });
    }
    let named = |category: &Category, result: Result<f64>| {
        result.map_err(|_| Error::EmptyCategory {
            name: category.name.clone(),
            bytes: category.bytes,
        })
    };
    categories
        .par_iter()
        .zip(own)
        .map(|(category, own)| {
            let target = named(category, bytes_per_token(target, &category.words))?;
            Ok(target / named(category, bytes_per_token(own, &category.words))?)
        })
        .collect()
}

/// Tokenizer encoding efficiency: `log share = b0 + b1 log efficiency`, fitted on tokenizers of known mixtures.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tee {
    /// Intercept `b0`.
    pub intercept: f64,
    /// Slope `b1`.
    pub slope: f64,
}

impl Tee {
    /// Least squares over all categories of all calibration tokenizers; each gives its efficiencies
    /// ([`encoding_efficiency`]) and true shares.
    ///
    /// # Errors
    /// [`Error::InvalidValue`] if lengths differ, a value is not above 0, or all efficiencies are equal.
    pub fn fit<'a>(calibration: impl IntoIterator<Item = (&'a [f64], &'a [f64])>) -> Result<Self> {
        let mut points = Vec::new();
        for (efficiency, shares) in calibration {
            if efficiency.len() != shares.len() {
                return Err(Error::InvalidValue {
                    name: "calibration".into(),
                    value: format!("{} against {}", efficiency.len(), shares.len()),
                    expected: "as many shares as efficiencies",
                });
            }
            for (&e, &share) in efficiency.iter().zip(shares) {
                points.push((
                    positive("efficiency", e)?.ln(),
                    positive("share", share)?.ln(),
                ));
            }
        }
        let n = points.len() as f64;
        let (mean_x, mean_y) = points
            .iter()
            .fold((0.0, 0.0), |(x, y), p| (x + p.0 / n, y + p.1 / n));
        let spread: f64 = points.iter().map(|p| (p.0 - mean_x).powi(2)).sum();
        if points.is_empty() || spread <= 0.0 {
            return Err(Error::InvalidValue {
                name: "calibration".into(),
                value: format!("{} points", points.len()),
                expected: "at least two different efficiencies",
            });
        }
        let slope = points
            .iter()
            .map(|p| (p.0 - mean_x) * (p.1 - mean_y))
            .sum::<f64>()
            / spread;
        Ok(Self {
            intercept: mean_y - slope * mean_x,
            slope,
        })
    }

    /// Shares for a tokenizer with these efficiencies, scaled to sum 1.
    ///
    /// # Errors
    /// [`Error::InvalidValue`] if an efficiency is not finite and above 0.
    pub fn predict(&self, efficiency: &[f64]) -> Result<Vec<f64>> {
        let raw: Vec<f64> = efficiency
            .iter()
            .map(|&e| Ok((self.intercept + self.slope * positive("efficiency", e)?.ln()).exp()))
            .collect::<Result<_>>()?;
        let total: f64 = raw.iter().sum();
        Ok(raw.into_iter().map(|share| share / total).collect())
    }
}

fn positive(name: &str, value: f64) -> Result<f64> {
    if value.is_finite() && value > 0.0 {
        return Ok(value);
    }
    Err(Error::InvalidValue {
        name: name.into(),
        value: value.to_string(),
        expected: "finite and above 0",
    })
}

/// Token classification: every token of the vocabulary goes to the category in whose text its bytes are most
/// frequent (overlapping occurrences per byte, within words; a tie goes to the first category), and the shares of
/// tokens are the estimate. Tokens that occur nowhere are left out.
///
/// # Errors
/// [`Error::TooFewCategories`] for none, [`Error::EmptyCategory`], [`Error::InvalidValue`] if no token occurs or
/// the vocabulary is too large for the matcher.
pub fn token_classification(list: &MergeList, categories: &[Category]) -> Result<Vec<f64>> {
    if categories.is_empty() {
        return Err(Error::TooFewCategories { found: 0 });
    }
    if let Some(empty) = categories.iter().find(|category| category.bytes == 0) {
        return Err(Error::EmptyCategory {
            name: empty.name.clone(),
            bytes: 0,
        });
    }
    let matcher = AhoCorasick::builder()
        .match_kind(MatchKind::Standard)
        .build(list.tokens().map(|(_, text)| text.into_owned()))
        .map_err(|error| Error::InvalidValue {
            name: "vocabulary".into(),
            value: error.to_string(),
            expected: "small enough for the string matcher",
        })?;
    let frequencies: Vec<Vec<f64>> = categories
        .par_iter()
        .map(|category| {
            let mut counts = vec![0_u64; matcher.patterns_len()];
            for (word, count) in category.words.iter() {
                for found in matcher.find_overlapping_iter(word) {
                    counts[found.pattern().as_usize()] += count;
                }
            }
            counts
                .into_iter()
                .map(|count| count as f64 / category.bytes as f64)
                .collect()
        })
        .collect();
    let mut assigned = vec![0_usize; categories.len()];
    for token in 0..matcher.patterns_len() {
        let mut best = (0.0, None);
        for (i, frequency) in frequencies.iter().enumerate() {
            if frequency[token] > best.0 {
                best = (frequency[token], Some(i));
            }
        }
        if let Some(i) = best.1 {
            assigned[i] += 1;
        }
    }
    let total: usize = assigned.iter().sum();
    if total == 0 {
        return Err(Error::InvalidValue {
            name: "vocabulary".into(),
            value: "no token".into(),
            expected: "tokens that occur in the categories",
        });
    }
    Ok(assigned
        .into_iter()
        .map(|tokens| tokens as f64 / total as f64)
        .collect())
}
