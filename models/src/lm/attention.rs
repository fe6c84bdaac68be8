//! Causal self-attention with grouped queries: every key and value head serves `heads / kv_heads` query heads.

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::activation::softmax;
use burn::tensor::module::attention;
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Device, Tensor};

use super::config::LmConfig;
use super::layers::linear;
use super::positions::Pass;
use super::weights::{Part, Place, Weights};
use crate::Result;

/// The attention half of a block.
#[derive(Module, Debug)]
pub struct Attention {
    /// To `heads * head width`.
    pub query: Linear,
    /// To `kv_heads * head width`.
    pub key: Linear,
    /// To `kv_heads * head width`.
    pub value: Linear,
    /// From all heads back to the model's width.
    pub output: Linear,
    #[module(skip)]
    kv_heads: usize,
    #[module(skip)]
    head_width: usize,
}

impl Attention {
    pub(super) fn new(
        config: &LmConfig,
        block: usize,
        weights: &mut dyn Weights,
        device: &Device,
    ) -> Result<Self> {
        let queries = config.heads * config.head_width;
        let keys = config.kv_heads * config.head_width;
        let mut layer = |part, inputs, outputs, bias| {
            linear(
                weights,
                Place::Block(block, part),
                [inputs, outputs],
                bias,
                device,
            )
        };
        Ok(Self {
            query: layer(Part::Query, config.width, queries, config.qkv_bias)?,
            key: layer(Part::Key, config.width, keys, config.qkv_bias)?,
            value: layer(Part::Value, config.width, keys, config.qkv_bias)?,
            output: layer(Part::Attended, queries, config.width, config.output_bias)?,
            kv_heads: config.kv_heads,
            head_width: config.head_width,
        })
    }

    /// Maps `[batch * time, width]` to the same shape; reads and extends the block's keys and values.
    pub(super) fn forward(
        &self,
        x: Tensor<2>,
        pass: &Pass,
        cache: Option<&mut Option<(Tensor<4>, Tensor<4>)>>,
    ) -> Tensor<2> {
        let (batch, time) = (pass.batch, x.dims()[0] / pass.batch);
        let split = |x: Tensor<2>| {
            let heads = x.dims()[1] / self.head_width;
            x.reshape([batch, time, heads, self.head_width])
        };
        let rotate = |x: Tensor<4>| match &pass.rotation {
            Some(rotation) => rotation.apply(x),
            None => x,
        };
        let queries = rotate(split(self.query.forward(x.clone())));
        let mut keys = rotate(split(self.key.forward(x.clone()))).swap_dims(1, 2);
        let mut values = split(self.value.forward(x)).swap_dims(1, 2);
        if let Some(cache) = cache {
            if let Some((old_keys, old_values)) = cache.take() {
                keys = Tensor::cat(vec![old_keys, keys], 2);
                values = Tensor::cat(vec![old_values, values], 2);
            }
            *cache = Some((keys.clone(), values.clone()));
        }

        // The queries of a group are rows of one matrix, so that no key or value is repeated for them.
        let (groups, width) = (self.kv_heads, self.head_width);
        let members = queries.dims()[2] / groups;
        let queries = queries
            .reshape([batch, time, groups, members * width])
            .swap_dims(1, 2)
            .reshape([batch, groups, time * members, width]);
        let attended = attend(queries, keys, values, pass.bias.clone());
        let attended = attended
            .reshape([batch, groups, time, members * width])
            .swap_dims(1, 2)
            .reshape([batch * time, groups * members * width]);
        self.output.forward(attended)
    }
}

/// Softmax of the scaled scores plus the bias, times the values; all `[batch, heads, rows, head width]`.
fn attend(
    queries: Tensor<4>,
    keys: Tensor<4>,
    values: Tensor<4>,
    bias: Option<Tensor<4>>,
) -> Tensor<4> {
    let scale = (queries.dims()[3] as f64).powf(-0.5);
    if !queries.is_autodiff() {
        // Stating the scale also keeps GPU backends from flash kernels that would not apply the bias.
        let options = AttentionModuleOptions {
            scale: Some(scale),
            ..Default::default()
        };
        return attention(queries, keys, values, None, bias, options);
    }
    // Fewer steps to differentiate than in the backend's own decomposition.
    let scores = (queries * scale).matmul(keys.transpose());
    let scores = match bias {
        Some(bias) => scores + bias,
        None => scores,
    };
    softmax(scores, 3).matmul(values)
}
