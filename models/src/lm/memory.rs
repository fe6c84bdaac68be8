//! How much memory a model will take, before there is one.

use serde::{Deserialize, Serialize};

use super::LmConfig;
use super::config::Activation;

/// An estimate of the memory that a model takes, in bytes, all numbers being of 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryPlan {
    /// The weights.
    pub weights: u64,
    /// One number per weight while training.
    pub gradients: u64,
    /// The two moments of Adam, two numbers per weight while training.
    pub optimizer: u64,
    /// What one step holds at its peak, without the mask.
    pub activations: u64,
    /// What keeps tokens from seeing later ones and filling, where sequences are of different lengths. Those of one length
    /// share the mask of a single sequence.
    pub mask: u64,
}

impl MemoryPlan {
    /// All of it.
    pub fn total(&self) -> u64 {
        [
            self.weights,
            self.gradients,
            self.optimizer,
            self.activations,
            self.mask,
        ]
        .into_iter()
        .fold(0, u64::saturating_add)
    }
}

impl LmConfig {
    /// Estimates the memory of reading `batch` sequences of `time` tokens, or of one training step with Adam on them.
    ///
    /// With `d` the width, `q` and `k` the widths of all query and all key heads, `f` the feed-forward width, `h` the
    /// heads and `V` the vocabulary: training holds per token `6 d + 3 q + 3 k + a f + 2 h time` numbers for every block
    /// and `3 V` for the output layer, where `a` is what the non-linearity keeps (5 with a gate, 6 for GELU by the
    /// hyperbolic tangent, else 2). Reading holds `3 d + 4 q + 4 k + 3 f + h time` for the block that is at work, and `V`.
    /// The mask, which all blocks share, is `time` numbers for every token and every query head of a key head; on other
    /// devices than the processor it is in main memory, too, while it is made.
    pub fn plan_memory(&self, batch: usize, time: usize, training: bool) -> MemoryPlan {
        let bytes = |count: u64| count.saturating_mul(4);
        let of = |factor: u64, size: usize| factor.saturating_mul(size as u64);
        let sum = |terms: [u64; 5]| terms.into_iter().fold(0, u64::saturating_add);
        let queries = self.heads.saturating_mul(self.head_width);
        let keys = self.kv_heads.saturating_mul(self.head_width);
        let scores = self.heads.saturating_mul(time);
        let token = match training {
            true => {
                let kept = match self.activation {
                    Activation::SiluGated => 5,
                    Activation::GeluTanh => 6,
                    Activation::GeluErf | Activation::Relu => 2,
                };
                let block = sum([
                    of(6, self.width),
                    of(3, queries),
                    of(3, keys),
                    of(kept, self.feed_forward),
                    of(2, scores),
                ]);
                of(3, self.vocabulary).saturating_add(block.saturating_mul(self.layers as u64))
            }
            false => {
                let block = sum([
                    of(3, self.width),
                    of(4, queries),
                    of(4, keys),
                    of(3, self.feed_forward),
                    of(1, scores),
                ]);
                block.saturating_add(self.vocabulary as u64)
            }
        };
        let weights = bytes(self.parameters() as u64);
        let tokens = batch.saturating_mul(time) as u64;
        let group = self.heads.checked_div(self.kv_heads).unwrap_or(0);
        MemoryPlan {
            weights,
            gradients: if training { weights } else { 0 },
            optimizer: if training {
                weights.saturating_mul(2)
            } else {
                0
            },
            activations: bytes(tokens.saturating_mul(token)),
            mask: bytes(tokens.saturating_mul(group.saturating_mul(time) as u64)),
        }
    }
}
