//! Vision transformers.

use burn::config::Config;

use super::topology::{ConvInit, LinearInit, NodeId, Operation, Topology, TopologyBuilder};
use crate::Result;

/// Vision transformer (Dosovitskiy et al. 2021, arXiv 2010.11929) with torchvision's tensor names: patches as tokens, a
/// class token, learned positions, layers of attention and a two-layer perceptron, each behind a layer normalisation.
///
/// ViT-B/16 is `VitConfig::new([3, 224, 224], 1000)` with patch 16, width 768, depth 12, heads 12 and hidden 3072.
#[derive(Config, Debug, PartialEq)]
pub struct VitConfig {
    /// Channels, height and width of the images.
    pub input: [usize; 3],
    /// Number of classes.
    pub classes: usize,
    /// Side of a patch.
    #[config(default = 4)]
    pub patch: usize,
    /// Width of a token.
    #[config(default = 64)]
    pub width: usize,
    /// Number of layers.
    #[config(default = 6)]
    pub depth: usize,
    /// Number of attention heads.
    #[config(default = 4)]
    pub heads: usize,
    /// Width of the perceptrons; nothing for four times a token's.
    #[config(default = "None")]
    pub hidden: Option<usize>,
}

/// torchvision's constant.
const EPSILON: f64 = 1e-6;

impl VitConfig {
    pub(super) fn topology(&self) -> Result<Topology> {
        let mut builder = TopologyBuilder::new(self.input)?;
        builder.initialise_convolutions(ConvInit::LeCun);
        let window = [self.patch, self.patch, 0];
        let patches = builder.conv_with_bias("conv_proj", builder.input(), self.width, window)?;
        let mut x = builder.tokens(
            "encoder.tokens",
            patches,
            "class_token",
            "encoder.pos_embedding",
        )?;
        for n in 0..self.depth {
            x = self.layer(
                &mut builder,
                &format!("encoder.layers.encoder_layer_{n}"),
                x,
            )?;
        }
        x = builder.layer_norm("encoder.ln", x, EPSILON)?;
        x = builder.class_token("encoder.class_token", x)?;
        builder.initialise_linears(LinearInit::Zero);
        builder.classify("heads.head", x, self.classes)
    }

    fn layer(&self, builder: &mut TopologyBuilder, name: &str, x: NodeId) -> Result<NodeId> {
        let hidden = self.hidden.unwrap_or(self.width.saturating_mul(4));
        let y = builder.layer_norm(&format!("{name}.ln_1"), x, EPSILON)?;
        let y = builder.attention(&format!("{name}.self_attention"), y, self.heads)?;
        let x = builder.add(&format!("{name}.add_1"), x, y)?;
        builder.initialise_linears(LinearInit::Xavier);
        let y = builder.layer_norm(&format!("{name}.ln_2"), x, EPSILON)?;
        let y = builder.linear(&format!("{name}.mlp.0"), y, hidden)?;
        let y = builder.activation(&format!("{name}.mlp.1"), y, Operation::Gelu)?;
        let y = builder.linear(&format!("{name}.mlp.3"), y, self.width)?;
        builder.add(&format!("{name}.add_2"), x, y)
    }
}
