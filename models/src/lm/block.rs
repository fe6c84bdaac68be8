//! One block of the network: attention and feed-forward, each after a norm and added to the residual stream.

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::attention::Attention;
use super::config::LmConfig;
use super::layers::{FeedForward, NormLayer};
use super::positions::Pass;
use super::weights::{Part, Place, Weights};
use crate::Result;

/// One block.
#[derive(Module, Debug)]
pub struct Block {
    /// Before the attention.
    pub attention_norm: NormLayer,
    /// Lets tokens read earlier tokens.
    pub attention: Attention,
    /// Before the feed-forward layers.
    pub feed_forward_norm: NormLayer,
    /// Works on every token alone.
    pub feed_forward: FeedForward,
    #[module(skip)]
    parallel: bool,
}

impl Block {
    pub(super) fn new(
        config: &LmConfig,
        block: usize,
        weights: &mut dyn Weights,
        device: &Device,
    ) -> Result<Self> {
        let place = |part| Place::Block(block, part);
        Ok(Self {
            attention_norm: NormLayer::new(config, place(Part::AttentionNorm), weights, device)?,
            attention: Attention::new(config, block, weights, device)?,
            feed_forward_norm: NormLayer::new(
                config,
                place(Part::FeedForwardNorm),
                weights,
                device,
            )?,
            feed_forward: FeedForward::new(config, block, weights, device)?,
            parallel: config.parallel_residual,
        })
    }

    /// Maps the residual stream `[batch * time, width]` to that after the block.
    pub(super) fn forward(
        &self,
        x: Tensor<2>,
        pass: &Pass,
        cache: Option<&mut Option<(Tensor<4>, Tensor<4>)>>,
    ) -> Tensor<2> {
        let attended = self
            .attention
            .forward(self.attention_norm.forward(x.clone()), pass, cache);
        match self.parallel {
            true => {
                let fed = self
                    .feed_forward
                    .forward(self.feed_forward_norm.forward(x.clone()));
                x + attended + fed
            }
            false => {
                let x = x + attended;
                x.clone() + self.feed_forward.forward(self.feed_forward_norm.forward(x))
            }
        }
    }
}
