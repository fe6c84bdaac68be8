//! How sure the estimate is: intervals from resampled data.
//!
//! They do not cover distribution shift: if the samples are not like the training text, the truth can lie outside.

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand_distr::{Distribution, Poisson};
use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Normal};

use crate::error::{Error, Result};
use crate::inference::{Estimate, MixtureInference};
use crate::merges::MergeList;
use crate::trace::{PairTrace, TraceOptions};
use crate::words::{Category, WordCounts};

/// Settings of [`bootstrap`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BootstrapConfig {
    /// Resampled data sets. Default 20.
    pub replicates: usize,
    /// Probability that an interval is meant to cover, in 0..1. Default 0.9.
    pub level: f64,
    /// Seed of the resampling. Default 0.
    pub seed: u64,
}

impl Default for BootstrapConfig {
    fn default() -> Self {
        Self {
            replicates: 20,
            level: 0.9,
            seed: 0,
        }
    }
}

/// An interval of a share.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Lower end, at least 0.
    pub low: f64,
    /// Upper end, at most 1.
    pub high: f64,
}

impl Interval {
    /// Whether `value` lies in it, ends included.
    pub fn contains(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }
}

/// Bootstrap intervals of the shares of bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Intervals {
    /// The level asked for.
    pub level: f64,
    /// One interval a category.
    pub shares: Vec<Interval>,
    /// The shares of every replicate.
    pub replicates: Vec<Vec<f64>>,
}

/// What stands for one independent observation when a category is resampled.
#[derive(Clone, Copy, Debug)]
pub enum Resampling<'a> {
    /// Every occurrence of a word: multiplicities are redrawn from their Poisson laws. Right for data whose words are
    /// independent ([`crate::synth`]); too narrow for real text, where words come in bursts.
    Words,
    /// Whole blocks (documents, or runs of lines) of each category, in the order of the categories: each is drawn
    /// Poisson(1) times. The blocks must make up the categories.
    Blocks(&'a [Vec<WordCounts>]),
}

/// Bootstraps `estimate`: redraws every category's sample, counts and solves again from the estimate's weights,
/// and takes, per category, the estimate plus and minus the normal quantile times the standard deviation of the
/// replicates, clipped to 0..=1. (With a few dozen replicates this is steadier than their own extreme quantiles.)
///
/// # Errors
/// [`Error::InvalidValue`] for fewer than 2 replicates, a level outside 0..1 or blocks that do not match the categories;
/// and whatever counting and inference bring.
pub fn bootstrap(
    list: &MergeList,
    categories: &[Category],
    options: &TraceOptions<'_>,
    inference: &MixtureInference<'_>,
    estimate: &Estimate,
    resampling: Resampling<'_>,
    config: &BootstrapConfig,
) -> Result<Intervals> {
    let invalid = |name: &str, value: String, expected| {
        Err(Error::InvalidValue {
            name: name.into(),
            value,
            expected,
        })
    };
    if config.replicates < 2 {
        return invalid("replicates", config.replicates.to_string(), "at least 2");
    }
    if !(config.level > 0.0 && config.level < 1.0) {
        return invalid("level", config.level.to_string(), "above 0 and below 1");
    }
    if let Resampling::Blocks(blocks) = resampling
        && blocks.len() != categories.len()
    {
        return invalid(
            "blocks",
            blocks.len().to_string(),
            "given for every category",
        );
    }
    let span = tracing::info_span!(
        "bootstrap",
        position = 0_u64,
        length = config.replicates as u64
    );
    let _guard = span.enter();
    let mut replicates = Vec::with_capacity(config.replicates);
    for k in 0..config.replicates {
        // A stream of its own for every replicate, so that the first k do not depend on how many follow.
        let mut rng =
            StdRng::seed_from_u64(config.seed ^ (k as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let redrawn = resample(categories, resampling, &mut rng)?;
        let trace = PairTrace::build(list, &redrawn, estimate.merges, options)?;
        replicates.push(inference.rerun(&trace, estimate)?.byte_shares());
        span.record("position", k as u64 + 1);
    }
    let quantile = Normal::standard().inverse_cdf(0.5 + config.level / 2.0);
    let shares = estimate
        .byte_shares()
        .iter()
        .enumerate()
        .map(|(i, &share)| {
            let values: Vec<f64> = replicates.iter().map(|shares| shares[i]).collect();
            let (_, spread) = crate::metrics::mean_and_spread(&values);
            Interval {
                low: (share - quantile * spread).max(0.0),
                high: (share + quantile * spread).min(1.0),
            }
        })
        .collect();
    Ok(Intervals {
        level: config.level,
        shares,
        replicates,
    })
}

/// Every category drawn anew, with replacement.
fn resample(
    categories: &[Category],
    resampling: Resampling<'_>,
    rng: &mut StdRng,
) -> Result<Vec<Category>> {
    let redrawn = |i: usize, category: &Category, rng: &mut StdRng| match resampling {
        Resampling::Words => category.words.resample(1.0, rng),
        Resampling::Blocks(blocks) => {
            let once = Poisson::new(1.0).expect("the mean 1 is valid");
            let drawn = blocks[i].iter().flat_map(|block| {
                let times = once.sample(rng) as u64;
                block.iter().map(move |(word, count)| (word, count * times))
            });
            Ok(WordCounts::from_counts(drawn))
        }
    };
    categories
        .iter()
        .enumerate()
        .map(|(i, category)| {
            let words = redrawn(i, category, rng)?;
            // Bytes follow the words in the category's own ratio, which differs from 1 where text is normalised.
            let ratio = category.bytes as f64 / category.words.bytes().max(1) as f64;
            let bytes = (words.bytes() as f64 * ratio).round() as u64;
            Ok(Category {
                name: category.name.clone(),
                words,
                bytes,
            })
        })
        .collect()
}
