//! Which samples form which batch: a function of seed and step, so that a resumed run needs no generator's state.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::config::{Length, TrainConfig};
use super::schedule::Span;
use crate::{Error, Result};

/// Samples that go through the network together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The samples, each from 0 up to but not including their number.
    pub indices: Vec<usize>,
    /// The epoch, from 0.
    pub epoch: u64,
    /// The optimiser step, from 0.
    pub step: u64,
    /// Which of the step's accumulated batches this is, from 0.
    pub part: usize,
    seed: u64,
}

impl Batch {
    /// A seed for the augmentation of the sample at a position in this batch: a function of the run's seed, the epoch
    /// and the sample.
    pub fn sample_seed(&self, position: usize) -> u64 {
        let sample = self.indices.get(position).copied().unwrap_or(usize::MAX);
        mix(mix(mix(self.seed) ^ self.epoch) ^ sample as u64)
    }

    /// A seed for what is drawn for the batch as a whole: a function of the run's seed, the step and the part.
    pub fn seed(&self) -> u64 {
        mix(mix(mix(!self.seed) ^ self.step) ^ self.part as u64)
    }
}

/// The order in which a run sees its samples.
pub(crate) struct Plan {
    samples: usize,
    batch_size: usize,
    accumulation: usize,
    shuffle: bool,
    seed: u64,
    /// Samples of an epoch that take part.
    used: usize,
    span: Span,
    /// The epoch whose order is at hand.
    order: Option<(u64, Vec<usize>)>,
}

impl Plan {
    /// The plan for so many samples.
    pub(crate) fn new(config: &TrainConfig, samples: usize) -> Result<Self> {
        let batch_size = config.batch_size;
        let used = match config.keep_incomplete {
            true => samples,
            false => samples / batch_size * batch_size,
        };
        if used == 0 {
            return Err(Error::InvalidInput {
                reason: format!("{samples} samples do not fill a batch of {batch_size}"),
            });
        }
        let steps_per_epoch = used.div_ceil(batch_size).div_ceil(config.accumulation) as u64;
        let steps = match config.length {
            Length::Steps(steps) => steps,
            Length::Epochs(epochs) => epochs.saturating_mul(steps_per_epoch),
        };
        Ok(Self {
            samples,
            batch_size,
            accumulation: config.accumulation,
            shuffle: config.shuffle,
            seed: config.seed,
            used,
            span: Span {
                steps,
                steps_per_epoch,
            },
            order: None,
        })
    }

    /// Length of the run and of an epoch.
    pub(crate) fn span(&self) -> Span {
        self.span
    }

    /// The epoch that a step lies in.
    pub(crate) fn epoch(&self, step: u64) -> u64 {
        step / self.span.steps_per_epoch
    }

    /// The batches of a step.
    pub(crate) fn batches(&mut self, step: u64) -> Vec<Batch> {
        let epoch = self.epoch(step);
        let batch_size = self.batch_size;
        let first = (step % self.span.steps_per_epoch) as usize * self.accumulation * batch_size;
        let last = self
            .used
            .min(first.saturating_add(self.accumulation.saturating_mul(batch_size)));
        let seed = self.seed;
        let chunks = self.order(epoch)[first..last]
            .chunks(batch_size)
            .enumerate();
        let batches = chunks.map(|(part, indices)| Batch {
            indices: indices.to_vec(),
            epoch,
            step,
            part,
            seed,
        });
        batches.collect()
    }

    fn order(&mut self, epoch: u64) -> &[usize] {
        if self.order.as_ref().is_none_or(|(at, _)| *at != epoch) {
            let mut order: Vec<usize> = (0..self.samples).collect();
            if self.shuffle {
                let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
                rng.set_stream(epoch);
                order.shuffle(&mut rng);
            }
            self.order = Some((epoch, order));
        }
        self.order.as_ref().map_or(&[], |(_, order)| order)
    }
}

/// The finaliser of SplitMix64 (Steele, Lea and Flood 2014): every bit of the result depends on every bit of `x`.
fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
