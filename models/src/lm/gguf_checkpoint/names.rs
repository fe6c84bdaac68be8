//! What tensors are called, and how they lie, in a GGUF file and in a checkpoint of `transformers`.

use crate::lm::Architecture;

/// How a tensor in the file differs from that in a checkpoint of `transformers`.
#[derive(Clone, Copy)]
pub(super) enum Layout {
    Same,
    /// Rows of every head: `(head_width / 2, 2)` instead of `(2, head_width / 2)`.
    Interleaved,
    /// Rows: `(3, heads, head_width)` instead of `(heads, 3, head_width)`.
    Concatenated,
    Transposed,
}

/// The name and layout of a tensor of `llama`, `qwen2`, `gpt2` or `gptneox`, or nothing if they have no such tensor.
pub(super) fn translate(architecture: Architecture, name: &str) -> Option<(String, Layout)> {
    let naming = naming(architecture);
    let (stem, kind) = stem_and_kind(name)?;
    let find = |names: &[(&str, &'static str)], stem: &str| {
        names
            .iter()
            .find(|(there, _)| *there == stem)
            .map(|&(_, here)| here)
    };
    let Some((number, part)) = stem
        .strip_prefix("blk.")
        .and_then(|block| block.split_once('.'))
    else {
        return Some((
            format!("{}.{kind}", find(naming.outer, stem)?),
            Layout::Same,
        ));
    };
    // `01` and `+1` are no names of block 1.
    let number = number
        .parse::<usize>()
        .ok()
        .filter(|parsed| parsed.to_string() == number)?;
    let layout = match (architecture, part, kind) {
        (Architecture::Llama | Architecture::Mistral, "attn_q" | "attn_k", _) => {
            Layout::Interleaved
        }
        (Architecture::GptNeoX, "attn_qkv", _) => Layout::Concatenated,
        (Architecture::Gpt2, _, "weight") if !part.ends_with("norm") => Layout::Transposed,
        _ => Layout::Same,
    };
    let part = find(naming.inner, part)?;
    Some((format!("{}.{number}.{part}.{kind}", naming.blocks), layout))
}

/// The opposite of [`translate`]: the name in the file of a tensor of a checkpoint of `transformers`.
pub(super) fn original(architecture: Architecture, name: &str) -> Option<String> {
    let naming = naming(architecture);
    let (stem, kind) = stem_and_kind(name)?;
    let find = |names: &[(&'static str, &str)], stem: &str| {
        names
            .iter()
            .find(|(_, here)| *here == stem)
            .map(|&(there, _)| there)
    };
    let block = stem.strip_prefix(naming.blocks);
    let block = block.and_then(|block| block.strip_prefix('.')?.split_once('.'));
    Some(match block {
        None => format!("{}.{kind}", find(naming.outer, stem)?),
        Some((number, part)) => format!("blk.{number}.{}.{kind}", find(naming.inner, part)?),
    })
}

fn naming(architecture: Architecture) -> &'static Naming {
    match architecture {
        Architecture::Gpt2 => &GPT2,
        Architecture::GptNeoX => &GPT_NEOX,
        _ => &LLAMA,
    }
}

/// A name without its last part, and this, which says what kind of tensor it is.
fn stem_and_kind(name: &str) -> Option<(&str, &str)> {
    name.rsplit_once('.')
        .filter(|(_, kind)| matches!(*kind, "weight" | "bias"))
}

/// What the tensors of an architecture are called there and here; blocks have a number.
struct Naming {
    outer: &'static [(&'static str, &'static str)],
    blocks: &'static str,
    inner: &'static [(&'static str, &'static str)],
}

const LLAMA: Naming = Naming {
    outer: &[
        ("token_embd", "model.embed_tokens"),
        ("output_norm", "model.norm"),
        ("output", "lm_head"),
    ],
    blocks: "model.layers",
    inner: &[
        ("attn_norm", "input_layernorm"),
        ("attn_q", "self_attn.q_proj"),
        ("attn_k", "self_attn.k_proj"),
        ("attn_v", "self_attn.v_proj"),
        ("attn_output", "self_attn.o_proj"),
        ("ffn_norm", "post_attention_layernorm"),
        ("ffn_gate", "mlp.gate_proj"),
        ("ffn_up", "mlp.up_proj"),
        ("ffn_down", "mlp.down_proj"),
    ],
};

const GPT2: Naming = Naming {
    outer: &[
        ("token_embd", "transformer.wte"),
        ("position_embd", "transformer.wpe"),
        ("output_norm", "transformer.ln_f"),
        ("output", "lm_head"),
    ],
    blocks: "transformer.h",
    inner: &[
        ("attn_norm", "ln_1"),
        ("attn_qkv", "attn.c_attn"),
        ("attn_output", "attn.c_proj"),
        ("ffn_norm", "ln_2"),
        ("ffn_up", "mlp.c_fc"),
        ("ffn_down", "mlp.c_proj"),
    ],
};

const GPT_NEOX: Naming = Naming {
    outer: &[
        ("token_embd", "gpt_neox.embed_in"),
        ("output_norm", "gpt_neox.final_layer_norm"),
        ("output", "embed_out"),
    ],
    blocks: "gpt_neox.layers",
    inner: &[
        ("attn_norm", "input_layernorm"),
        ("attn_qkv", "attention.query_key_value"),
        ("attn_output", "attention.dense"),
        ("ffn_norm", "post_attention_layernorm"),
        ("ffn_up", "mlp.dense_h_to_4h"),
        ("ffn_down", "mlp.dense_4h_to_h"),
    ],
};
