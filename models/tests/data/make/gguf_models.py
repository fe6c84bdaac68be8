"""GGUF files of the architectures other than llama, and of Llama 3's rotary scaling, made by the package `gguf`.

    python gguf_models.py OUT        # after lm.py: reads OUT/lm/{qwen2, gpt2, gpt_neox}

writes OUT/gguf/{qwen2, gpt2, gpt_neox}.gguf: the checkpoints `lm/*` in the layout of llama.cpp, values in the type they
already have, so that nothing is rounded, and without a tokenizer; and OUT/gguf/llama3_rope.gguf: the metadata and rotary
factors of a model with Llama 3.1's scaling, with an embedding and no other weights.

    python gguf_models.py OUT check  # with transformers >= 4.57, which reads GGUF

reads the first two back and compares logits with the references of `lm/*`.
"""

import json
import math
import sys
from pathlib import Path

import gguf
import numpy as np

LLAMA = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
         "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
         "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm"}
GPT2 = {"ln_1": "attn_norm", "attn.c_attn": "attn_qkv", "attn.c_proj": "attn_output", "ln_2": "ffn_norm",
        "mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down"}
NEOX = {"input_layernorm": "attn_norm", "attention.query_key_value": "attn_qkv", "attention.dense": "attn_output",
        "post_attention_layernorm": "ffn_norm", "mlp.dense_h_to_4h": "ffn_up", "mlp.dense_4h_to_h": "ffn_down"}
OUTER = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "transformer.wte": "token_embd",
         "transformer.wpe": "position_embd", "transformer.ln_f": "output_norm", "gpt_neox.embed_in": "token_embd",
         "gpt_neox.final_layer_norm": "output_norm", "embed_out": "output"}
FOLDERS = {"qwen2": ("qwen2", LLAMA), "gpt2": ("gpt2", GPT2), "gpt_neox": ("gptneox", NEOX)}


def gguf_name(name, inner):
    stem, kind = name.rsplit(".", 1)
    if stem in OUTER:
        return f"{OUTER[stem]}.{kind}"
    number = next(part for part in stem.split(".") if part.isdigit())
    return f"blk.{number}.{inner[stem.split(f'.{number}.', 1)[1]]}.{kind}"


def convert(folder, out):
    import torch
    from safetensors.torch import load_file

    architecture, inner = FOLDERS[folder]
    source = out / "lm" / folder
    c = json.loads((source / "config.json").read_text())
    get = lambda *names: next(c[n] for n in names if c.get(n) is not None)
    heads, width = get("num_attention_heads", "n_head"), get("hidden_size", "n_embd")
    writer = gguf.GGUFWriter(out / "gguf" / f"{folder}.gguf", architecture)
    writer.add_block_count(get("num_hidden_layers", "n_layer"))
    writer.add_context_length(get("max_position_embeddings", "n_positions"))
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(c.get("intermediate_size") or c.get("n_inner") or 4 * width)
    writer.add_head_count(heads)
    if architecture == "qwen2":
        writer.add_head_count_kv(c["num_key_value_heads"])
        writer.add_rope_freq_base(c["rope_theta"])
        writer.add_layer_norm_rms_eps(c["rms_norm_eps"])
    else:
        writer.add_layer_norm_eps(get("layer_norm_eps", "layer_norm_epsilon"))
    if architecture == "gptneox":
        writer.add_rope_dimension_count(int(c["rotary_pct"] * (width // heads)))
        writer.add_parallel_residual(c["use_parallel_residual"])
    writer.add_bos_token_id(c["bos_token_id"])
    writer.add_eos_token_id(c["eos_token_id"])
    for name, value in sorted(load_file(source / "model.safetensors").items()):
        target = gguf_name(name, inner)
        if architecture == "gpt2" and value.ndim == 2 and target.startswith("blk."):
            value = value.T
        if architecture == "gptneox" and ".attn_qkv." in target:
            value = value.reshape(heads, 3, width // heads, -1).transpose(0, 1)
            value = value.reshape(3 * width, -1) if target.endswith("weight") else value.reshape(-1)
        value = value.contiguous()
        if value.dtype == torch.bfloat16:
            kind = gguf.GGMLQuantizationType.BF16
            raw = value.view(torch.int16).numpy().view(np.uint8)
        else:
            kind = {torch.float16: gguf.GGMLQuantizationType.F16, torch.float32: gguf.GGMLQuantizationType.F32}[value.dtype]
            raw = value.numpy()
        writer.add_tensor(target, raw, raw_dtype=kind)
    finish(writer)


def llama3(out):
    theta, dims, (factor, low, high, original) = 500_000.0, 64, (8.0, 1.0, 4.0, 8192)
    writer = gguf.GGUFWriter(out / "gguf" / "llama3_rope.gguf", "llama")
    writer.add_block_count(1)
    writer.add_context_length(131_072)
    writer.add_embedding_length(128)
    writer.add_feed_forward_length(256)
    writer.add_head_count(2)
    writer.add_rope_freq_base(theta)
    writer.add_rope_dimension_count(dims)
    writer.add_layer_norm_rms_eps(1e-5)
    factors = []
    for i in range(0, dims, 2):
        wavelength = 2 * math.pi * theta ** (i / dims)
        if wavelength < original / high:
            factors.append(1.0)
        elif wavelength > original / low:
            factors.append(factor)
        else:
            smooth = (original / wavelength - low) / (high - low)
            factors.append(1 / ((1 - smooth) / factor + smooth))
    assert 1 < sum(1 < f < factor for f in factors)
    writer.add_tensor("rope_freqs.weight", np.array(factors, dtype=np.float32))
    writer.add_tensor("token_embd.weight", np.zeros((4, 128), dtype=np.float16))
    finish(writer)


def finish(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def check(out):
    import torch
    import transformers
    from safetensors.torch import load_file

    from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

    for folder in ["qwen2", "gpt2"]:
        reference = json.loads((out / "lm" / folder / "reference.json").read_text())
        config = transformers.AutoConfig.from_pretrained(out / "lm" / folder)
        model = transformers.AutoModelForCausalLM.from_config(config).float().eval()
        loaded = load_gguf_checkpoint(out / "gguf" / f"{folder}.gguf", return_tensors=True, model_to_load=model)
        print(folder, model.load_state_dict(loaded["tensors"], strict=False))
        with torch.no_grad():
            got = model(torch.tensor([reference["ids"]])).logits[0]
        want = load_file(out / "lm" / folder / "reference.safetensors")["logits"]
        print("largest difference of logits", (got - want).abs().max().item())


if __name__ == "__main__":
    out = Path(sys.argv[1])
    if sys.argv[2:] == ["check"]:
        check(out)
    else:
        for folder in FOLDERS:
            convert(folder, out)
        llama3(out)
