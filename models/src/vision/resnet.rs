//! Residual networks.

use burn::config::Config;

use super::topology::{
    ConvInit, LinearInit, MAX_NODES, NodeId, Operation, Topology, TopologyBuilder, invalid,
};
use crate::Result;

/// A residual network (He et al. 2015, arXiv 1512.03385; pre-activation: arXiv 1603.05027).
///
/// Tensors have torchvision's names: `conv1.weight`, `bn1.weight`, `layer1.0.conv1.weight`, ...,
/// `layer2.0.downsample.0.weight`, `fc.weight`. The pre-activation form has no `bn1` behind the stem, but `final_bn` and
/// `linear` at its end.
///
/// ```
/// use fire_assay_models::vision::{NetworkConfig, ResNetConfig};
/// let config = NetworkConfig::from(ResNetConfig::cifar(20, [3, 32, 32], 10));
/// let last = config.topology()?.nodes().last().map(|node| node.name.clone());
/// assert_eq!(last.as_deref(), Some("fc"));
/// # Ok::<(), fire_assay_models::Error>(())
/// ```
#[derive(Config, Debug, PartialEq)]
pub struct ResNetConfig {
    /// Channels, height and width of the images.
    pub input: [usize; 3],
    /// Number of classes.
    pub classes: usize,
    /// Number of blocks of every stage. Every stage but the first halves the image.
    pub blocks: Vec<usize>,
    /// What a block is made of.
    #[config(default = "Block::Basic")]
    pub block: Block,
    /// Where normalisation and activation stand.
    #[config(default = "Order::PostActivation")]
    pub order: Order,
    /// What comes before the first stage.
    #[config(default = "Stem::Small { stride: 1 }")]
    pub stem: Stem,
    /// What a block adds to its branch where shapes differ.
    #[config(default = "Shortcut::Projection")]
    pub shortcut: Shortcut,
    /// Slope of the activation function for negative values: 0 is ReLU.
    #[config(default = 0.0)]
    pub slope: f64,
    /// Whether convolutions are drawn with a spread by their outputs, as in torchvision; else they and the linear layer
    /// have one by their inputs.
    #[config(default = "true")]
    pub fan_out: bool,
    /// Channels of the first stage; every further one has twice as many.
    #[config(default = 16)]
    pub width: usize,
    /// Channels of every part, in the place of those that follow from `width`: what a merged network has.
    #[config(default = "None")]
    pub widths: Option<ResNetWidths>,
}

/// Channels of every part of a residual network.
#[derive(Config, Debug, PartialEq, Eq)]
pub struct ResNetWidths {
    /// Channels of the stem. With basic blocks and no projection in the first, it must equal the first stream.
    pub stem: usize,
    /// Channels of the stream of every stage.
    pub streams: Vec<usize>,
    /// Channels between the convolutions of every block of every stage: one number for a basic block, two for a bottleneck.
    pub inner: Vec<Vec<Vec<usize>>>,
}

/// What a residual block is made of.
#[derive(Config, Debug, Copy, PartialEq, Eq)]
pub enum Block {
    /// Two 3x3 convolutions, the first with the stride.
    Basic,
    /// 1x1, 3x3 with the stride, and 1x1 to four times as many channels.
    Bottleneck,
}

/// Where normalisation and activation stand in a block.
#[derive(Config, Debug, Copy, PartialEq, Eq)]
pub enum Order {
    /// Behind the convolutions; the last activation after the sum.
    PostActivation,
    /// Before the convolutions; the shortcut starts at the block's raw input.
    PreActivation,
}

/// What comes before the first stage.
#[derive(Config, Debug, Copy, PartialEq, Eq)]
pub enum Stem {
    /// A 3x3 convolution.
    Small {
        /// Its step.
        stride: usize,
    },
    /// A 7x7 convolution and a 3x3 max pool, both with step 2.
    ImageNet,
}

/// What a block adds to its branch where shapes differ.
#[derive(Config, Debug, Copy, PartialEq, Eq)]
pub enum Shortcut {
    /// Every second row and column, zeros for the new channels, half of them before and half after (option A).
    Subsample,
    /// 2x2 average pool, zeros as with [`Shortcut::Subsample`].
    AveragePool,
    /// A 1x1 convolution with batch normalisation (option B).
    Projection,
}

impl ResNetConfig {
    /// The networks for 32-pixel images of He et al.: depth 6n + 2, three stages of n basic blocks of 16, 32 and 64
    /// channels (ResNet-8, 20, 32, 44, 56, 110). Shortcuts are projections; `with_shortcut(Shortcut::Subsample)` for
    /// those of the paper. A depth that is not 6n + 2 is rounded down to one.
    pub fn cifar(depth: usize, input: [usize; 3], classes: usize) -> Self {
        Self::new(input, classes, vec![depth.saturating_sub(2) / 6; 3])
    }

    /// ResNet-32 with pre-activation, leaky ReLU of slope 0.1, average-pool shortcuts and He initialisation by inputs:
    /// the network `r32p` of label-poisoning papers.
    pub fn preact32(input: [usize; 3], classes: usize) -> Self {
        Self::cifar(32, input, classes)
            .with_order(Order::PreActivation)
            .with_shortcut(Shortcut::AveragePool)
            .with_slope(0.1)
            .with_fan_out(false)
    }

    /// ResNet-18 for small images: a 3x3 stem without pool, four stages of two blocks of 64 to 512 channels.
    pub fn cifar18(input: [usize; 3], classes: usize) -> Self {
        Self::new(input, classes, vec![2; 4]).with_width(64)
    }

    /// torchvision's `resnet18`.
    pub fn imagenet18(input: [usize; 3], classes: usize) -> Self {
        Self::cifar18(input, classes).with_stem(Stem::ImageNet)
    }

    /// torchvision's `resnet50`.
    pub fn imagenet50(input: [usize; 3], classes: usize) -> Self {
        Self::new(input, classes, vec![3, 4, 6, 3])
            .with_block(Block::Bottleneck)
            .with_stem(Stem::ImageNet)
            .with_width(64)
    }

    /// The same with other numbers of blocks.
    pub fn with_blocks(mut self, blocks: Vec<usize>) -> Self {
        self.blocks = blocks;
        self
    }

    /// Channels of every part: those given, or those that follow from the width.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`](crate::Error::InvalidConfig) if there are more blocks than a network can have.
    pub fn resolved_widths(&self) -> Result<ResNetWidths> {
        let sum = |sum: usize, &blocks: &usize| sum.checked_add(blocks);
        let total = self.blocks.iter().try_fold(0, sum);
        if total.is_none_or(|total| total > MAX_NODES) {
            return Err(invalid("blocks", format!("are more than {MAX_NODES}")));
        }
        let planes = |stage: u32| self.width.saturating_mul(2_usize.saturating_pow(stage));
        let (expansion, convolutions) = match self.block {
            Block::Basic => (1, 1),
            Block::Bottleneck => (4, 2),
        };
        let stages = || (0..).zip(&self.blocks);
        Ok(self.widths.clone().unwrap_or_else(|| ResNetWidths {
            stem: self.width,
            streams: stages()
                .map(|(s, _)| planes(s).saturating_mul(expansion))
                .collect(),
            inner: stages()
                .map(|(s, &blocks)| vec![vec![planes(s); convolutions]; blocks])
                .collect(),
        }))
    }

    pub(super) fn topology(&self) -> Result<Topology> {
        let widths = self.resolved_widths()?;
        self.check(&widths)?;
        let mut builder = TopologyBuilder::new(self.input)?;
        if !self.fan_out {
            builder.initialise_convolutions(ConvInit::KaimingFanIn);
            builder.initialise_linears(LinearInit::Kaiming);
        }
        let post = self.order == Order::PostActivation;
        let window = match self.stem {
            Stem::Small { stride } => [3, stride, 1],
            Stem::ImageNet => [7, 2, 3],
        };
        let mut x = builder.conv("conv1", builder.input(), widths.stem, window)?;
        if post {
            x = self.norm_and_activation(&mut builder, "bn1", "relu", x)?;
        }
        if self.stem == Stem::ImageNet {
            let pool = Operation::MaxPool {
                kernel: 3,
                stride: 2,
                padding: 1,
            };
            x = builder.pool("maxpool", x, pool)?;
        }
        for (stage, blocks) in widths.inner.iter().enumerate() {
            for (n, inner) in blocks.iter().enumerate() {
                let block = BlockPlan {
                    config: self,
                    name: format!("layer{}.{n}", stage + 1),
                    inner,
                    outputs: widths.streams[stage],
                    stride: if stage > 0 && n == 0 { 2 } else { 1 },
                };
                x = match post {
                    true => block.post_activation(&mut builder, x)?,
                    false => block.pre_activation(&mut builder, x)?,
                };
            }
        }
        if !post {
            x = self.norm_and_activation(&mut builder, "final_bn", "final_relu", x)?;
        }
        x = builder.pool("avgpool", x, Operation::GlobalAvgPool)?;
        builder.classify(if post { "fc" } else { "linear" }, x, self.classes)
    }

    fn check(&self, widths: &ResNetWidths) -> Result<()> {
        if self.blocks.is_empty() || self.blocks.contains(&0) {
            return Err(invalid(
                "blocks",
                format!("{:?} has an empty stage", self.blocks),
            ));
        }
        if !self.slope.is_finite() {
            return Err(invalid("slope", format!("{} is not a number", self.slope)));
        }
        let convolutions = match self.block {
            Block::Basic => 1,
            Block::Bottleneck => 2,
        };
        let found: Vec<usize> = widths.inner.iter().map(Vec::len).collect();
        if found != self.blocks || widths.streams.len() != self.blocks.len() {
            let reason = format!(
                "{} streams and {found:?} blocks, expected {:?}",
                widths.streams.len(),
                self.blocks
            );
            return Err(invalid("widths", reason));
        }
        if widths
            .inner
            .iter()
            .flatten()
            .any(|inner| inner.len() != convolutions)
        {
            let reason = format!("a block of this kind has {convolutions} inner widths");
            return Err(invalid("widths", reason));
        }
        Ok(())
    }

    fn activation(&self) -> Operation {
        match self.slope == 0.0 {
            true => Operation::Relu,
            false => Operation::LeakyRelu { slope: self.slope },
        }
    }

    fn norm_and_activation(
        &self,
        builder: &mut TopologyBuilder,
        norm: &str,
        activation: &str,
        x: NodeId,
    ) -> Result<NodeId> {
        let x = builder.batch_norm(norm, x)?;
        builder.activation(activation, x, self.activation())
    }
}

/// One block.
struct BlockPlan<'c> {
    config: &'c ResNetConfig,
    name: String,
    inner: &'c [usize],
    outputs: usize,
    stride: usize,
}

impl BlockPlan<'_> {
    fn post_activation(&self, builder: &mut TopologyBuilder, x: NodeId) -> Result<NodeId> {
        let at = |part: &str| format!("{}.{part}", self.name);
        let windows = self.windows();
        let mut y = x;
        for (n, window) in (1..).zip(&windows) {
            let outputs = *self.inner.get(n - 1).unwrap_or(&self.outputs);
            y = builder.conv(&at(&format!("conv{n}")), y, outputs, *window)?;
            y = builder.batch_norm(&at(&format!("bn{n}")), y)?;
            if n < windows.len() {
                let relu = at(&format!("relu{n}"));
                y = builder.activation(&relu, y, self.config.activation())?;
            }
        }
        let shortcut = self.shortcut(builder, x)?;
        let sum = builder.add(&at("add"), y, shortcut)?;
        builder.activation(&at("relu"), sum, self.config.activation())
    }

    fn pre_activation(&self, builder: &mut TopologyBuilder, x: NodeId) -> Result<NodeId> {
        let at = |part: &str, n: usize| format!("{}.{part}{n}", self.name);
        let mut y = x;
        for (n, window) in (1..).zip(self.windows()) {
            let outputs = *self.inner.get(n - 1).unwrap_or(&self.outputs);
            y = self
                .config
                .norm_and_activation(builder, &at("bn", n), &at("relu", n), y)?;
            y = builder.conv(&at("conv", n), y, outputs, window)?;
        }
        let shortcut = self.shortcut(builder, x)?;
        builder.add(&format!("{}.add", self.name), y, shortcut)
    }

    /// Kernel, stride and padding of every convolution.
    fn windows(&self) -> Vec<[usize; 3]> {
        match self.config.block {
            Block::Basic => vec![[3, self.stride, 1], [3, 1, 1]],
            Block::Bottleneck => vec![[1, 1, 0], [3, self.stride, 1], [1, 1, 0]],
        }
    }

    fn shortcut(&self, builder: &mut TopologyBuilder, x: NodeId) -> Result<NodeId> {
        let at = |part: &str| format!("{}.{part}", self.name);
        let inputs = builder.shape(x)[0];
        if self.stride == 1 && inputs == self.outputs {
            return Ok(x);
        }
        if self.config.shortcut == Shortcut::Projection {
            let y = builder.conv(&at("downsample.0"), x, self.outputs, [1, self.stride, 0])?;
            return builder.batch_norm(&at("downsample.1"), y);
        }
        let kernel = match self.config.shortcut {
            Shortcut::AveragePool => self.stride,
            _ => 1,
        };
        let pool = Operation::AvgPool {
            kernel,
            stride: self.stride,
        };
        let x = builder.pool(&at("pool"), x, pool)?;
        let Some(new) = self.outputs.checked_sub(inputs) else {
            let reason = format!(
                "no shortcut without projection from {inputs} to {} channels",
                self.outputs
            );
            return Err(invalid(&self.name, reason));
        };
        builder.pad_channels(&at("pad"), x, new / 2, new - new / 2)
    }
}
