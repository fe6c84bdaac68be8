//! Where the weights of a new network come from: drawn at random, or out of a checkpoint.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Normal};

use super::LmConfig;
use super::batch::invalid;
use crate::Result;
use crate::tensors::HostTensor;

/// A place in the network that has weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Place {
    Embedding,
    Positions,
    Block(usize, Part),
    FinalNorm,
    Output,
}

/// A part of a block that has weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Part {
    AttentionNorm,
    Query,
    Key,
    Value,
    Attended,
    FeedForwardNorm,
    Gate,
    Up,
    Down,
}

/// Gives every place its weights. Matrices of linear layers are `[inputs, outputs]`.
pub(super) trait Weights {
    fn matrix(&mut self, place: Place, shape: [usize; 2]) -> Result<HostTensor>;

    fn gain(&mut self, place: Place, length: usize) -> Result<HostTensor>;

    fn bias(&mut self, place: Place, length: usize) -> Result<HostTensor>;
}

/// The initialisation of GPT-2: matrices from a normal distribution with standard deviation 0.02, those that add to
/// the residual stream divided by the square root of the number of such additions; gains 1, biases 0.
pub(super) struct RandomWeights {
    random: ChaCha8Rng,
    additions: usize,
}

impl RandomWeights {
    pub(super) fn new(config: &LmConfig, seed: u64) -> Self {
        Self {
            random: ChaCha8Rng::seed_from_u64(seed),
            additions: 2 * config.layers,
        }
    }
}

impl Weights for RandomWeights {
    fn matrix(&mut self, place: Place, [rows, columns]: [usize; 2]) -> Result<HostTensor> {
        let deviation = match place {
            Place::Block(_, Part::Attended | Part::Down) => 0.02 / (self.additions as f32).sqrt(),
            _ => 0.02,
        };
        let normal = Normal::new(0.0, deviation).map_err(|error| invalid(error.to_string()))?;
        let values = normal.sample_iter(&mut self.random).take(rows * columns);
        HostTensor::new([rows, columns], values.collect())
    }

    fn gain(&mut self, _: Place, length: usize) -> Result<HostTensor> {
        HostTensor::new([length], vec![1.0; length])
    }

    fn bias(&mut self, _: Place, length: usize) -> Result<HostTensor> {
        HostTensor::new([length], vec![0.0; length])
    }
}
