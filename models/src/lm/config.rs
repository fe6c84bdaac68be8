//! What a decoder-only language model looks like: one description for all architectures.

use serde::{Deserialize, Serialize};

mod hugging_face;
mod validation;

/// The families of networks, which differ in norms, positions, biases and the order of sub-layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Architecture {
    /// RMSNorm, rotary positions, SiLU-gated feed-forward, grouped queries.
    Llama,
    /// Llama with sliding-window attention.
    Mistral,
    /// Llama with biases on queries, keys and values.
    Qwen2,
    /// LayerNorm, rotary positions on a part of every head, attention and feed-forward side by side.
    GptNeoX,
    /// LayerNorm, learned positions, tanh-GELU.
    Gpt2,
    /// LayerNorm, learned positions with an offset, ReLU.
    Opt,
}

/// The normalisation before every sub-layer and after the last block, with its epsilon.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Norm {
    /// Root mean square, a gain.
    Rms {
        /// Added to the mean square.
        epsilon: f64,
    },
    /// Mean and variance, a gain and a bias.
    Layer {
        /// Added to the variance.
        epsilon: f64,
    },
}

/// The non-linearity of the feed-forward layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activation {
    /// `silu(gate(x)) * up(x)`, then `down`.
    SiluGated,
    /// GELU by the error function.
    GeluErf,
    /// GELU by the hyperbolic tangent.
    GeluTanh,
    /// max(0, x).
    Relu,
}

/// How positions enter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Positions {
    /// Rotation of queries and keys, half-split: the axes `i` and `i + rotated / 2` of a head form a pair.
    Rotary {
        /// Base of the frequencies.
        theta: f64,
        /// The first so many axes of every head are rotated.
        rotated: usize,
        /// Change of the frequencies for longer contexts.
        scaling: RopeScaling,
    },
    /// A learned vector for every position, added to the embedding.
    Learned {
        /// The vector of position `p` is row `p + offset`.
        offset: usize,
    },
}

/// Change of rotary frequencies for contexts longer than those of pretraining.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RopeScaling {
    /// None.
    None,
    /// All frequencies divided by a factor.
    Linear {
        /// The factor.
        factor: f64,
    },
    /// Llama 3's: long wavelengths divided by the factor, short ones left, those between interpolated.
    Llama3 {
        /// The factor.
        factor: f64,
        /// Wavelengths above `original / low_frequency_factor` are scaled.
        low_frequency_factor: f64,
        /// Wavelengths below `original / high_frequency_factor` are left.
        high_frequency_factor: f64,
        /// Context length of pretraining.
        original: usize,
    },
}

/// A decoder-only language model, without its weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LmConfig {
    /// The family.
    pub architecture: Architecture,
    /// Number of tokens.
    pub vocabulary: usize,
    /// Width of the residual stream.
    pub width: usize,
    /// Number of blocks.
    pub layers: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_width: usize,
    /// Hidden width of the feed-forward layers.
    pub feed_forward: usize,
    /// Normalisation.
    pub norm: Norm,
    /// Non-linearity.
    pub activation: Activation,
    /// Positions.
    pub positions: Positions,
    /// Biases on queries, keys and values.
    pub qkv_bias: bool,
    /// Bias on the attention's output.
    pub output_bias: bool,
    /// Biases in the feed-forward layers.
    pub feed_forward_bias: bool,
    /// Attention and feed-forward read the same input and are added together.
    pub parallel_residual: bool,
    /// The output layer is the embedding, transposed.
    pub tied: bool,
    /// Longest context.
    pub context: usize,
    /// Every token sees this many tokens at most, itself included.
    pub sliding_window: Option<usize>,
    /// The token that begins a text, where the model has one.
    pub bos: Option<u32>,
    /// Tokens that end a text.
    pub eos: Vec<u32>,
}

impl LmConfig {
    /// Number of weights; a tied output layer is not counted twice.
    ///
    /// A number too large for this machine is given as `usize::MAX`; [`validate`](Self::validate) refuses such sizes.
    pub fn parameters(&self) -> usize {
        self.checked_parameters().unwrap_or(usize::MAX)
    }

    /// The smallest preset, for tests: 512 tokens, width 64, 3 blocks of 4 query and 2 key-value heads, context 256, an
    /// output layer of its own; 0.195 million weights.
    pub fn nano() -> Self {
        Self {
            tied: false,
            ..Self::preset(512, 64, 3, (4, 2), 160, 256)
        }
    }

    /// A preset that trains in minutes: 2,048 tokens, width 128, 4 blocks of 4 heads, context 512; 1.05 million weights.
    pub fn tiny() -> Self {
        Self::preset(2048, 128, 4, (4, 4), 344, 512)
    }

    /// A preset that trains in hours: 4,096 tokens, width 256, 6 blocks of 8 query and 4 key-value heads, context 1,024;
    /// 5.4 million weights.
    pub fn small() -> Self {
        Self::preset(4096, 256, 6, (8, 4), 688, 1024)
    }

    /// The architecture of the presets: Llama, the output layer tied to the embedding.
    fn preset(
        vocabulary: usize,
        width: usize,
        layers: usize,
        (heads, kv_heads): (usize, usize),
        feed_forward: usize,
        context: usize,
    ) -> Self {
        Self {
            architecture: Architecture::Llama,
            vocabulary,
            width,
            layers,
            heads,
            kv_heads,
            head_width: width / heads,
            feed_forward,
            norm: Norm::Rms { epsilon: 1e-5 },
            activation: Activation::SiluGated,
            positions: Positions::Rotary {
                theta: 10_000.0,
                rotated: width / heads,
                scaling: RopeScaling::None,
            },
            qkv_bias: false,
            output_bias: false,
            feed_forward_bias: false,
            parallel_residual: false,
            tied: true,
            context,
            sliding_window: None,
            bos: None,
            eos: Vec::new(),
        }
    }

    /// Rows of the table of learned positions, in models that have one.
    pub(super) fn position_rows(&self) -> Option<usize> {
        match self.positions {
            Positions::Rotary { .. } => None,
            Positions::Learned { offset } => Some(self.context.saturating_add(offset)),
        }
    }

    /// The number of weights, or nothing if their bytes cannot be addressed.
    fn checked_parameters(&self) -> Option<usize> {
        let product = |a: usize, b: usize| a.checked_mul(b);
        let linear = |inputs: usize, outputs: usize, bias: bool| {
            product(inputs, outputs)?.checked_add(if bias { outputs } else { 0 })
        };
        let sum = |terms: &[Option<usize>]| {
            terms
                .iter()
                .try_fold(0_usize, |total, term| total.checked_add((*term)?))
        };
        let gain = match self.norm {
            Norm::Rms { .. } => Some(self.width),
            Norm::Layer { .. } => product(self.width, 2),
        };
        let (queries, keys) = (
            product(self.heads, self.head_width)?,
            product(self.kv_heads, self.head_width)?,
        );
        let up = linear(self.width, self.feed_forward, self.feed_forward_bias);
        let block = sum(&[
            gain,
            gain,
            linear(self.width, queries, self.qkv_bias),
            linear(self.width, keys, self.qkv_bias),
            linear(self.width, keys, self.qkv_bias),
            linear(queries, self.width, self.output_bias),
            up,
            if self.activation == Activation::SiluGated {
                up
            } else {
                Some(0)
            },
            linear(self.feed_forward, self.width, self.feed_forward_bias),
        ])?;
        let embedding = product(self.vocabulary, self.width);
        sum(&[
            embedding,
            product(self.position_rows().unwrap_or(0), self.width),
            product(block, self.layers),
            gain,
            if self.tied { Some(0) } else { embedding },
        ])
        .filter(|&count| count <= isize::MAX as usize / 4)
    }
}
