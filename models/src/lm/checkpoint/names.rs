//! What Hugging Face's checkpoints call the weights of every place in the network, and how they lay them out.

use super::super::config::Architecture;
use super::super::weights::{Part, Place};

/// How linear layers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// `[outputs, inputs]`.
    OutputsFirst,
    /// `[inputs, outputs]`, as here.
    InputsFirst,
}

/// How queries, keys and values are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    /// Each for itself.
    Separate,
    /// Side by side: all queries, all keys, all values.
    SideBySide,
    /// Head by head: a head's query, key and value.
    HeadByHead,
}

/// The names of a family.
#[derive(Clone, Copy, Debug)]
pub(super) struct Names {
    architecture: Architecture,
    prefix: &'static str,
}

impl Names {
    /// The names that checkpoints of the whole model have.
    pub(super) fn new(architecture: Architecture) -> Self {
        let prefix = prefixes(architecture)[0];
        Self {
            architecture,
            prefix,
        }
    }

    /// The same with the prefix that the source has in front of its embedding.
    pub(super) fn found(architecture: Architecture, has: impl Fn(&str) -> bool) -> Self {
        let candidates = prefixes(architecture).iter();
        let names = candidates.map(|&prefix| Self {
            architecture,
            prefix,
        });
        let embedding = |names: &Self| has(&names.weight(Place::Embedding));
        names
            .clone()
            .find(embedding)
            .unwrap_or_else(|| Self::new(architecture))
    }

    pub(super) fn layout(&self) -> Layout {
        match self.architecture {
            Architecture::Gpt2 => Layout::InputsFirst,
            _ => Layout::OutputsFirst,
        }
    }

    pub(super) fn packing(&self) -> Packing {
        match self.architecture {
            Architecture::Gpt2 => Packing::SideBySide,
            Architecture::GptNeoX => Packing::HeadByHead,
            _ => Packing::Separate,
        }
    }

    pub(super) fn weight(&self, place: Place) -> String {
        format!("{}.weight", self.place(place))
    }

    pub(super) fn bias(&self, place: Place) -> String {
        format!("{}.bias", self.place(place))
    }

    /// Whether a tensor is a constant that old releases of `transformers` stored with the weights.
    pub(super) fn is_constant(&self, name: &str) -> bool {
        let constants: &[&str] = match self.architecture {
            Architecture::Gpt2 => &["attn.bias", "attn.masked_bias"],
            Architecture::GptNeoX => &[
                "attention.bias",
                "attention.masked_bias",
                "attention.rotary_emb.inv_freq",
            ],
            Architecture::Opt => &[],
            _ => &["self_attn.rotary_emb.inv_freq", "rotary_emb.inv_freq"],
        };
        let Some(rest) = name.strip_prefix(self.prefix) else {
            return false;
        };
        let rest = rest.strip_prefix(self.blocks()).map_or(rest, |rest| {
            rest.trim_start_matches(|c: char| c.is_ascii_digit())
                .trim_start_matches('.')
        });
        constants.contains(&rest)
    }

    /// What the list of blocks is called.
    fn blocks(&self) -> &'static str {
        match self.architecture {
            Architecture::Gpt2 => "h.",
            _ => "layers.",
        }
    }

    fn place(&self, place: Place) -> String {
        use Architecture::{Gpt2, GptNeoX, Opt};
        let own = match (place, self.architecture) {
            (Place::Embedding, GptNeoX) => "embed_in",
            (Place::Embedding, Gpt2) => "wte",
            (Place::Embedding, _) => "embed_tokens",
            (Place::Positions, Gpt2) => "wpe",
            (Place::Positions, _) => "embed_positions",
            (Place::FinalNorm, Gpt2) => "ln_f",
            (Place::FinalNorm, GptNeoX | Opt) => "final_layer_norm",
            (Place::FinalNorm, _) => "norm",
            // The output layer stands beside the model, not in it.
            (Place::Output, GptNeoX) => return "embed_out".to_owned(),
            (Place::Output, _) => return "lm_head".to_owned(),
            (Place::Block(block, part), _) => {
                return format!(
                    "{}{}{block}.{}",
                    self.prefix,
                    self.blocks(),
                    self.part(part)
                );
            }
        };
        format!("{}{own}", self.prefix)
    }

    fn part(&self, part: Part) -> &'static str {
        use Architecture::{Gpt2, GptNeoX, Opt};
        match (part, self.architecture) {
            (Part::AttentionNorm, Gpt2) => "ln_1",
            (Part::AttentionNorm, Opt) => "self_attn_layer_norm",
            (Part::AttentionNorm, _) => "input_layernorm",
            (Part::Query | Part::Key | Part::Value, Gpt2) => "attn.c_attn",
            (Part::Query | Part::Key | Part::Value, GptNeoX) => "attention.query_key_value",
            (Part::Query, _) => "self_attn.q_proj",
            (Part::Key, _) => "self_attn.k_proj",
            (Part::Value, _) => "self_attn.v_proj",
            (Part::Attended, Gpt2) => "attn.c_proj",
            (Part::Attended, GptNeoX) => "attention.dense",
            (Part::Attended, Opt) => "self_attn.out_proj",
            (Part::Attended, _) => "self_attn.o_proj",
            (Part::FeedForwardNorm, Gpt2) => "ln_2",
            (Part::FeedForwardNorm, Opt) => "final_layer_norm",
            (Part::FeedForwardNorm, _) => "post_attention_layernorm",
            (Part::Gate, _) => "mlp.gate_proj",
            (Part::Up, Gpt2) => "mlp.c_fc",
            (Part::Up, GptNeoX) => "mlp.dense_h_to_4h",
            (Part::Up, Opt) => "fc1",
            (Part::Up, _) => "mlp.up_proj",
            (Part::Down, Gpt2) => "mlp.c_proj",
            (Part::Down, GptNeoX) => "mlp.dense_4h_to_h",
            (Part::Down, Opt) => "fc2",
            (Part::Down, _) => "mlp.down_proj",
        }
    }
}

/// Prefixes of the model's tensors, that of the whole model first.
fn prefixes(architecture: Architecture) -> &'static [&'static str] {
    match architecture {
        Architecture::GptNeoX => &["gpt_neox.", ""],
        Architecture::Gpt2 => &["transformer.", ""],
        Architecture::Opt => &["model.decoder.", "decoder.", ""],
        _ => &["model.", ""],
    }
}
