//! `config.json` of Hugging Face folders, read and written.
//!
//! What a file leaves out has the value that `transformers` gives it. What this crate cannot do is an error, never
//! ignored: another activation, another rope type, a layer norm after the sub-layers.

mod fields;
mod write;

use std::path::Path;

use self::fields::{FORMAT, Fields};
use super::{Activation, Architecture, LmConfig, Norm, Positions};
use crate::{Error, Result};

impl LmConfig {
    /// Reads the `config.json` of a Hugging Face folder. `model_type` must be `llama`, `mistral`, `qwen2`, `gpt_neox`,
    /// `gpt2` or `opt`.
    ///
    /// # Errors
    ///
    /// [`Error::Io`]; [`Error::Parse`] if the file is not such JSON; [`Error::UnsupportedArchitecture`] for another
    /// `model_type`; [`Error::InvalidConfig`] for values that make no sense or that this crate does not support. All
    /// name the file.
    pub fn from_hugging_face(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
        let fields = serde_json::from_str(&text).map_err(|error| Error::Parse {
            path: path.to_owned(),
            format: FORMAT,
            reason: error.to_string(),
        })?;
        sound(&Fields::new(path, &fields)).map_err(|error| error.in_file(path))
    }
}

/// The configuration, if it makes sense.
fn sound(fields: &Fields) -> Result<LmConfig> {
    let config = match fields.text("model_type", "")? {
        "llama" => llama_like(fields, Architecture::Llama),
        "mistral" => llama_like(fields, Architecture::Mistral),
        "qwen2" => llama_like(fields, Architecture::Qwen2),
        "gpt_neox" => gpt_neox(fields),
        "gpt2" => gpt2(fields),
        "opt" => opt(fields),
        other => Err(fields.unknown_architecture(other)),
    }?;
    config.validate()?;
    Ok(config)
}

fn llama_like(fields: &Fields, architecture: Architecture) -> Result<LmConfig> {
    let (feed_forward, context, vocabulary) = match architecture {
        Architecture::Llama => (11_008, 2048, 32_000),
        Architecture::Mistral => (14_336, 131_072, 32_000),
        _ => (22_016, 32_768, 151_936),
    };
    let width = fields.size("hidden_size", 4096)?;
    let heads = fields.size("num_attention_heads", 32)?;
    let kv_heads = match architecture {
        // As `null`, unlike where it is left out, it is the number of heads in every family.
        _ if fields.states("num_key_value_heads") => heads,
        Architecture::Mistral => 8,
        Architecture::Qwen2 => 32,
        _ => heads,
    };
    let head_width = match fields.optional_size("head_dim")? {
        Some(head_width) => head_width,
        None => fields.head_width(width, heads)?,
    };
    let layers = fields.size("num_hidden_layers", 32)?;
    let llama = architecture == Architecture::Llama;
    let attention_bias = llama && fields.flag("attention_bias", false)?;
    let (bos, eos) = match architecture {
        Architecture::Qwen2 => (None, &[][..]),
        _ => (Some(1), &[2][..]),
    };
    match fields.text("hidden_act", "silu")? {
        "silu" | "swish" => {}
        other => return Err(fields.unsupported("hidden_act", other)),
    }
    let sliding_window = match architecture {
        Architecture::Llama => None,
        Architecture::Mistral if fields.states("sliding_window") => {
            fields.optional_size("sliding_window")?
        }
        Architecture::Mistral => Some(4096),
        _ => qwen2_window(fields, layers)?,
    };
    Ok(LmConfig {
        architecture,
        vocabulary: fields.size("vocab_size", vocabulary)?,
        width,
        layers,
        heads,
        kv_heads: fields.size("num_key_value_heads", kv_heads)?,
        head_width,
        feed_forward: fields.size("intermediate_size", feed_forward)?,
        norm: Norm::Rms {
            epsilon: fields.number("rms_norm_eps", 1e-6)?,
        },
        activation: Activation::SiluGated,
        positions: fields.rotation(&["rope_theta"], "partial_rotary_factor", 1.0, head_width)?,
        qkv_bias: attention_bias || architecture == Architecture::Qwen2,
        output_bias: attention_bias,
        feed_forward_bias: llama && fields.flag("mlp_bias", false)?,
        parallel_residual: false,
        tied: fields.flag("tie_word_embeddings", false)?,
        context: fields.size("max_position_embeddings", context)?,
        sliding_window,
        bos: fields.token("bos_token_id", bos)?,
        eos: fields.tokens("eos_token_id", eos)?,
    })
}

/// Qwen2 slides the window in the layers from `max_window_layers` on; here in all layers or in none.
fn qwen2_window(fields: &Fields, layers: usize) -> Result<Option<usize>> {
    let full = fields.size("max_window_layers", 28)?;
    if !fields.flag("use_sliding_window", false)? || full >= layers {
        return Ok(None);
    }
    match full {
        0 => fields.size("sliding_window", 4096).map(Some),
        _ => Err(fields.unsupported("max_window_layers", &full.to_string())),
    }
}

fn gpt_neox(fields: &Fields) -> Result<LmConfig> {
    let width = fields.size("hidden_size", 6144)?;
    let heads = fields.size("num_attention_heads", 64)?;
    let head_width = fields.head_width(width, heads)?;
    let bias = fields.flag("attention_bias", true)?;
    let base = ["rotary_emb_base", "rope_theta"];
    Ok(LmConfig {
        architecture: Architecture::GptNeoX,
        vocabulary: fields.size("vocab_size", 50_432)?,
        width,
        layers: fields.size("num_hidden_layers", 44)?,
        heads,
        kv_heads: heads,
        head_width,
        feed_forward: fields.size("intermediate_size", 24_576)?,
        norm: Norm::Layer {
            epsilon: fields.number("layer_norm_eps", 1e-5)?,
        },
        activation: fields.activation("hidden_act", "gelu")?,
        positions: fields.rotation(&base, "rotary_pct", 0.25, head_width)?,
        qkv_bias: bias,
        output_bias: bias,
        feed_forward_bias: true,
        parallel_residual: fields.flag("use_parallel_residual", true)?,
        tied: fields.flag("tie_word_embeddings", false)?,
        context: fields.size("max_position_embeddings", 2048)?,
        sliding_window: None,
        bos: fields.token("bos_token_id", Some(0))?,
        eos: fields.tokens("eos_token_id", &[2])?,
    })
}

fn gpt2(fields: &Fields) -> Result<LmConfig> {
    fields.insist("scale_attn_weights", true)?;
    fields.insist("scale_attn_by_inverse_layer_idx", false)?;
    fields.insist("add_cross_attention", false)?;
    let width = fields.size("n_embd", 768)?;
    let heads = fields.size("n_head", 12)?;
    Ok(LmConfig {
        architecture: Architecture::Gpt2,
        vocabulary: fields.size("vocab_size", 50_257)?,
        layers: fields.size("n_layer", 12)?,
        heads,
        kv_heads: heads,
        head_width: fields.head_width(width, heads)?,
        feed_forward: fields.size("n_inner", width.saturating_mul(4))?,
        width,
        norm: Norm::Layer {
            epsilon: fields.number("layer_norm_epsilon", 1e-5)?,
        },
        activation: fields.activation("activation_function", "gelu_new")?,
        positions: Positions::Learned { offset: 0 },
        qkv_bias: true,
        output_bias: true,
        feed_forward_bias: true,
        parallel_residual: false,
        tied: fields.flag("tie_word_embeddings", true)?,
        context: fields.size("n_positions", 1024)?,
        sliding_window: None,
        bos: fields.token("bos_token_id", Some(50_256))?,
        eos: fields.tokens("eos_token_id", &[50_256])?,
    })
}

fn opt(fields: &Fields) -> Result<LmConfig> {
    fields.insist("do_layer_norm_before", true)?;
    fields.insist("_remove_final_layer_norm", false)?;
    fields.insist("enable_bias", true)?;
    fields.insist("layer_norm_elementwise_affine", true)?;
    let width = fields.size("hidden_size", 768)?;
    let projected = fields.size("word_embed_proj_dim", width)?;
    if projected != width {
        return Err(fields.unsupported("word_embed_proj_dim", &projected.to_string()));
    }
    let heads = fields.size("num_attention_heads", 12)?;
    Ok(LmConfig {
        architecture: Architecture::Opt,
        vocabulary: fields.size("vocab_size", 50_272)?,
        width,
        layers: fields.size("num_hidden_layers", 12)?,
        heads,
        kv_heads: heads,
        head_width: fields.head_width(width, heads)?,
        feed_forward: fields.size("ffn_dim", 3072)?,
        norm: Norm::Layer { epsilon: 1e-5 },
        activation: fields.activation("activation_function", "relu")?,
        positions: Positions::Learned { offset: 2 },
        qkv_bias: true,
        output_bias: true,
        feed_forward_bias: true,
        parallel_residual: false,
        tied: fields.flag("tie_word_embeddings", true)?,
        context: fields.size("max_position_embeddings", 2048)?,
        sliding_window: None,
        bos: fields.token("bos_token_id", Some(2))?,
        eos: fields.tokens("eos_token_id", &[2])?,
    })
}
