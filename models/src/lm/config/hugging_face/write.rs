//! A configuration as the `config.json` of a Hugging Face folder.

use serde_json::{Value, json};

use super::super::{Activation, Architecture, LmConfig, Norm, Positions, RopeScaling};
use crate::Result;

impl LmConfig {
    /// The same as JSON for `config.json`, which `transformers` reads.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`](crate::Error::InvalidConfig) as [`validate`](Self::validate) says.
    pub fn to_hugging_face(&self) -> Result<Value> {
        self.validate()?;
        let (Norm::Rms { epsilon } | Norm::Layer { epsilon }) = self.norm;
        let activation = match self.activation {
            Activation::SiluGated => "silu",
            Activation::GeluErf => "gelu",
            Activation::GeluTanh => "gelu_new",
            Activation::Relu => "relu",
        };
        let (model_type, class, own) = match self.architecture {
            Architecture::Llama => ("llama", "LlamaForCausalLM", self.llama_like_fields()),
            Architecture::Mistral => ("mistral", "MistralForCausalLM", self.llama_like_fields()),
            Architecture::Qwen2 => ("qwen2", "Qwen2ForCausalLM", self.llama_like_fields()),
            Architecture::GptNeoX => ("gpt_neox", "GPTNeoXForCausalLM", self.gpt_neox_fields()),
            Architecture::Gpt2 => (
                "gpt2",
                "GPT2LMHeadModel",
                json!({
                    "activation_function": activation,
                    "layer_norm_epsilon": epsilon,
                    "n_embd": self.width,
                    "n_head": self.heads,
                    "n_inner": self.feed_forward,
                    "n_layer": self.layers,
                    "n_positions": self.context,
                }),
            ),
            Architecture::Opt => (
                "opt",
                "OPTForCausalLM",
                json!({
                    "activation_function": activation,
                    "do_layer_norm_before": true,
                    "enable_bias": true,
                    "ffn_dim": self.feed_forward,
                    "hidden_size": self.width,
                    "layer_norm_elementwise_affine": true,
                    "max_position_embeddings": self.context,
                    "num_attention_heads": self.heads,
                    "num_hidden_layers": self.layers,
                    "word_embed_proj_dim": self.width,
                }),
            ),
        };
        let mut all = json!({
            "architectures": [class],
            "model_type": model_type,
            "bos_token_id": self.bos,
            "eos_token_id": match self.eos[..] {
                [] => Value::Null,
                [one] => one.into(),
                _ => self.eos.clone().into(),
            },
            "tie_word_embeddings": self.tied,
            "torch_dtype": "float32",
            "vocab_size": self.vocabulary,
        });
        if matches!(self.norm, Norm::Rms { .. }) {
            all["rms_norm_eps"] = epsilon.into();
        }
        if !matches!(self.architecture, Architecture::Gpt2 | Architecture::Opt) {
            all["hidden_act"] = activation.into();
        }
        if let (Some(all), Value::Object(own)) = (all.as_object_mut(), own) {
            all.extend(own);
        }
        Ok(all)
    }

    fn llama_like_fields(&self) -> Value {
        let mut fields = json!({
            "hidden_size": self.width,
            "intermediate_size": self.feed_forward,
            "max_position_embeddings": self.context,
            "num_attention_heads": self.heads,
            "num_hidden_layers": self.layers,
            "num_key_value_heads": self.kv_heads,
        });
        if self.heads * self.head_width != self.width {
            fields["head_dim"] = self.head_width.into();
        }
        self.write_rotation(&mut fields, "rope_theta");
        match self.architecture {
            Architecture::Llama => {
                fields["attention_bias"] = self.qkv_bias.into();
                fields["mlp_bias"] = self.feed_forward_bias.into();
            }
            Architecture::Mistral => fields["sliding_window"] = self.sliding_window.into(),
            _ => {
                fields["use_sliding_window"] = self.sliding_window.is_some().into();
                if let Some(window) = self.sliding_window {
                    fields["sliding_window"] = window.into();
                    fields["max_window_layers"] = 0.into();
                }
            }
        }
        fields
    }

    fn gpt_neox_fields(&self) -> Value {
        let (Norm::Rms { epsilon } | Norm::Layer { epsilon }) = self.norm;
        let mut fields = json!({
            "attention_bias": self.qkv_bias,
            "hidden_size": self.width,
            "intermediate_size": self.feed_forward,
            "layer_norm_eps": epsilon,
            "max_position_embeddings": self.context,
            "num_attention_heads": self.heads,
            "num_hidden_layers": self.layers,
            "use_parallel_residual": self.parallel_residual,
        });
        if let Positions::Rotary { rotated, .. } = self.positions {
            // Readers multiply and round down.
            let share = rotated as f64 / self.head_width as f64;
            let exact = (self.head_width as f64 * share) as usize == rotated;
            fields["rotary_pct"] = if exact { share } else { share.next_up() }.into();
        }
        self.write_rotation(&mut fields, "rotary_emb_base");
        fields
    }

    fn write_rotation(&self, fields: &mut Value, base: &str) {
        let Positions::Rotary { theta, scaling, .. } = &self.positions else {
            return;
        };
        fields[base] = (*theta).into();
        fields["rope_scaling"] = match *scaling {
            RopeScaling::None => Value::Null,
            // Early releases of `transformers` insist on exactly these two fields.
            RopeScaling::Linear { factor } => json!({ "type": "linear", "factor": factor }),
            RopeScaling::Llama3 {
                factor,
                low_frequency_factor,
                high_frequency_factor,
                original,
            } => json!({
                "rope_type": "llama3",
                "factor": factor,
                "low_freq_factor": low_frequency_factor,
                "high_freq_factor": high_frequency_factor,
                "original_max_position_embeddings": original,
            }),
        };
    }
}
