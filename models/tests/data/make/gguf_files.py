"""GGUF files with reference values, made by the package `gguf`.

    python gguf_files.py OUT        # after lm.py: reads OUT/lm/llama

writes OUT/gguf/{types.gguf, expected.safetensors}: tensors of every quantisation type and their dequantised values, and
OUT/gguf/{llama.gguf, llama_expected.safetensors, llama_reference.json}: the checkpoint `lm/llama` in the layout of
llama.cpp, with its tokenizer, and what transformers computes from the dequantised weights.
"""

import json
import sys
from pathlib import Path

import gguf
import numpy as np
import torch
import transformers
from gguf import GGMLQuantizationType as T
from gguf import quants
from safetensors.numpy import load_file, save_file

import lm

TYPES = [T.F32, T.F16, T.BF16, T.Q4_0, T.Q4_1, T.Q5_0, T.Q5_1, T.Q8_0, T.Q6_K]
# f16 bit patterns: +-0, smallest and largest subnormals, smallest normals, ordinary values, +-65504, next to them
SCALES = [0x0000, 0x8000, 0x0001, 0x8001, 0x03FF, 0x83FF, 0x0400, 0x8400, 0x2E66, 0xAE66, 0x3C00, 0xBC00, 0x7BFF,
          0xFBFF, 0x7BFE, 0x5640]


def raw_blocks(kind, rows, blocks_per_row, rng):
    """Blocks whose f16 fields run through `SCALES`: first with random codes, then with the extreme codes."""
    block, size = gguf.GGML_QUANT_SIZES[kind]
    data = rng.integers(0, 256, (rows * blocks_per_row, size), dtype=np.uint8)
    at = {T.Q4_0: [0], T.Q4_1: [0, 2], T.Q5_0: [0], T.Q5_1: [0, 2], T.Q8_0: [0], T.Q6_K: [208]}[kind]
    for i, row in enumerate(data):
        turn = i // len(SCALES)
        if turn > 0:  # smallest codes, largest codes, then the extremes of signed bytes
            row[:] = [0x00, 0xFF, 0x80, 0x7F][i % 4] if turn == 1 else [0xFF, 0x80, 0x7F, 0x00][i % 4]
        for k, offset in enumerate(at):
            bits = SCALES[(i + k * (5 + turn)) % len(SCALES)]  # the second field takes every kind of partner in turn
            row[offset : offset + 2] = bits & 0xFF, bits >> 8
    return data.reshape(rows, blocks_per_row * size)


def edge_floats():
    return np.array([0.0, -0.0, 1.0, -1.0, 1e-45, -1e-45, 1.1754942e-38, 1.1754944e-38, 3.4028235e38, -3.4028235e38,
                     0.1, -3.5, 65504.0, 65520.0, 1.0000001, 16777217.0], dtype=np.float32)


def special_halves():
    """Every f16 of a coarse net: all signs and exponents but infinity and NaN, four mantissas."""
    sign, exponent, mantissa = np.meshgrid([0, 1], np.arange(31), [0, 1, 0x155, 0x3FF], indexing="ij")
    return (sign << 15 | exponent << 10 | mantissa).astype(np.uint16).reshape(-1)


def special_bfloats():
    sign, exponent, mantissa = np.meshgrid([0, 1], [*range(0, 250, 6), 1, 253, 254], [0, 1, 0x2A, 0x7F], indexing="ij")
    return (sign << 15 | exponent << 7 | mantissa).astype(np.uint16).reshape(-1)


def as_raw(kind, values):
    """f32 values -> bytes of the type, rows along the last axis."""
    if kind == T.F32:
        return values.astype(np.float32)
    if kind == T.F16:
        return values.astype(np.float16)
    return quants.quantize(values, kind)


def types_file(folder):
    rng = np.random.default_rng(3000)
    tensors = {}  # name -> (array, type)
    for kind in TYPES:
        name = kind.name.lower()
        if kind != T.Q6_K:  # the package cannot quantise to Q6_K
            values = rng.standard_normal((3, 64)).astype(np.float32)
            values[1] *= 1e-3
            values[2, :32] = 0
            tensors[f"{name}.rows"] = as_raw(kind, values), kind
    tensors["f32.edge"] = edge_floats(), T.F32
    tensors["f16.edge"] = special_halves().view(np.float16), T.F16
    tensors["bf16.edge"] = special_bfloats().view(np.uint8), T.BF16
    tensors["f32.cube"] = rng.standard_normal((2, 3, 4)).astype(np.float32), T.F32
    tensors["f32.one"] = np.array([2.5], dtype=np.float32), T.F32  # 4 bytes: padding before the next tensor
    for kind in TYPES[3:]:
        rows = 12 if kind == T.Q6_K else 24
        tensors[f"{kind.name.lower()}.edge"] = raw_blocks(kind, rows, 2, rng), kind
    tensors["q8_0.three_axes"] = quants.quantize(rng.standard_normal((2, 3, 32)).astype(np.float32), T.Q8_0), T.Q8_0

    path = folder / "types.gguf"
    writer = gguf.GGUFWriter(path, "test")
    writer.add_custom_alignment(64)
    # every type of metadata value
    writer.add_uint8("test.u8", 255)
    writer.add_int8("test.i8", -128)
    writer.add_uint16("test.u16", 65535)
    writer.add_int16("test.i16", -32768)
    writer.add_uint32("test.u32", 2**32 - 1)
    writer.add_int32("test.i32", -(2**31))
    writer.add_uint64("test.u64", 2**64 - 1)
    writer.add_int64("test.i64", -(2**63))
    writer.add_float32("test.f32", 0.1)
    writer.add_float64("test.f64", 0.1)
    writer.add_bool("test.true", True)
    writer.add_bool("test.false", False)
    writer.add_string("test.string", "naïve ☃")
    writer.add_array("test.strings", ["a", "bc", "é"])
    writer.add_array("test.ints", [1, -2, 3])
    writer.add_array("test.floats", [0.5, -0.25])
    writer.add_array("test.bools", [True, False])
    for name, (array, kind) in tensors.items():
        writer.add_tensor(name, array, raw_dtype=kind)
    finish(writer)

    expected = {}
    for t in gguf.GGUFReader(path).tensors:
        value = quants.dequantize(t.data, t.tensor_type).astype(np.float32)
        assert np.isfinite(value).all(), t.name
        shape = [int(n) for n in reversed(t.shape)]
        expected[t.name] = np.ascontiguousarray(value.reshape(shape))
        print(f"{t.name:16} {t.tensor_type.name:5} {shape} {t.data.nbytes} bytes, {expected[t.name].min():.4g} .. "
              f"{expected[t.name].max():.4g}, {(expected[t.name] == 0).mean():.2f} zero")
    check_by_definition(gguf.GGUFReader(path), expected)
    save_file(expected, folder / "expected.safetensors")


def check_by_definition(reader, expected):
    """One element at a time, with one rounding per f32 operation, from the definition of the formats."""
    f32 = np.float32
    for t in reader.tensors:
        if not t.name.endswith(".edge") or t.tensor_type in TYPES[:3]:
            continue
        block, size = gguf.GGML_QUANT_SIZES[t.tensor_type]
        raw = np.asarray(t.data).reshape(-1, size)
        want = expected[t.name].reshape(-1, block)
        for b, w in zip(raw, want):
            half = lambda at: f32(b[at : at + 2].view(np.float16)[0])
            got = np.empty(block, dtype=f32)
            for i in range(block):
                low = i % 16
                if t.tensor_type in (T.Q4_0, T.Q4_1):
                    q = b[(2 if t.tensor_type == T.Q4_0 else 4) + low] >> (4 * (i // 16)) & 15
                    got[i] = half(0) * f32(int(q) - 8) if t.tensor_type == T.Q4_0 else half(0) * f32(q) + half(2)
                elif t.tensor_type in (T.Q5_0, T.Q5_1):
                    at = 2 if t.tensor_type == T.Q5_0 else 4
                    high = int(b[at : at + 4].view(np.uint32)[0]) >> i & 1
                    q = int(b[at + 4 + low] >> (4 * (i // 16)) & 15) | high << 4
                    got[i] = half(0) * f32(q - 16) if t.tensor_type == T.Q5_0 else half(0) * f32(q) + half(2)
                elif t.tensor_type == T.Q8_0:
                    got[i] = half(0) * f32(b[2 + i].view(np.int8))
                else:  # Q6_K: two halves of 128; within one, four groups of 32 share 64 low and 32 high bytes
                    part, group, j = i // 128, i % 128 // 32, i % 32
                    low4 = b[64 * part + 32 * (group % 2) + j] >> (4 * (group // 2)) & 15
                    high2 = b[128 + 32 * part + j] >> (2 * group) & 3
                    scale = b[192 + i // 16].view(np.int8)
                    got[i] = half(208) * f32(scale) * f32(int(low4 | high2 << 4) - 32)
            assert (got.view(np.uint32) == w.view(np.uint32)).all(), (t.name, got, w)


def finish(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


# --- a llama model ---------------------------------------------------------------------------------------------------

NAMES = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
         "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
         "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm"}
STORED = {"attn_q": T.F16, "attn_k": T.Q8_0, "attn_v": T.F32, "attn_output": T.Q8_0, "ffn_gate": T.Q8_0,
          "ffn_up": T.F16, "ffn_down": T.Q8_0, "token_embd": T.Q8_0, "output": T.F16}


def gguf_name(name):
    fixed = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight",
             "lm_head.weight": "output.weight"}
    if name in fixed:
        return fixed[name]
    _, _, layer, rest = name.split(".", 3)
    return f"blk.{layer}.{NAMES[rest.removesuffix('.weight')]}.weight"


def interleave(rows, heads):
    """Rows of each head from (first half, second half) to adjacent pairs."""
    return rows.reshape(heads, 2, -1, rows.shape[1]).swapaxes(1, 2).reshape(rows.shape)


def deinterleave(rows, heads):
    return rows.reshape(heads, -1, 2, rows.shape[1]).swapaxes(1, 2).reshape(rows.shape)


def llama_file(out, folder):
    source = out / "lm" / "llama"
    config = json.loads((source / "config.json").read_text())
    heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}
    path = folder / "llama.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny random llama")
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_rope_dimension_count(config["hidden_size"] // config["num_attention_heads"])
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    add_tokenizer(writer, source)

    exact = {}  # Hugging Face name -> dequantised, in the order of Hugging Face
    for name, value in sorted(load_file(source / "model.safetensors").items()):
        target = gguf_name(name)
        short = target.split(".")[-2]
        if short in heads:
            value = interleave(value, heads[short])
            assert (interleave(deinterleave(value, heads[short]), heads[short]) == value).all()
        kind = STORED.get(short, T.F32)
        raw = as_raw(kind, value)
        writer.add_tensor(target, raw, raw_dtype=kind)
        back = quants.dequantize(raw, kind).astype(np.float32)
        exact[name] = np.ascontiguousarray(deinterleave(back, heads[short]) if short in heads else back)
    finish(writer)

    model = transformers.LlamaForCausalLM(transformers.LlamaConfig.from_dict(config)).eval()
    model.load_state_dict({k: torch.from_numpy(v) for k, v in exact.items()})
    control = transformers.LlamaForCausalLM(transformers.LlamaConfig.from_dict(config)).eval()
    control.load_state_dict({k: torch.from_numpy(np.ascontiguousarray(
        interleave(v, heads[NAMES[k[15:-7]]]) if k[15:-7] in ("self_attn.q_proj", "self_attn.k_proj") else v))
        for k, v in exact.items()})
    with torch.no_grad():
        ids = torch.tensor([lm.IDS])
        logits = lm.logits_of(model, ids)[0]
        wrong = lm.logits_of(control, ids)[0]
        new, gap = lm.greedy(model, lm.IDS)
    unquantised = load_file(source / "reference.safetensors")["logits"]
    checks = dict(smallest_gap=gap, logits_std=logits.std().item(),
                  difference_to_lm_llama=float(np.abs(unquantised - logits.numpy()).max()),
                  difference_with_rows_left_permuted=(logits - wrong).abs().max().item())
    assert checks["difference_with_rows_left_permuted"] > 0.5 and 1e-4 < checks["difference_to_lm_llama"] < 0.5
    print(new, checks)
    save_file(dict(logits=logits.numpy()), folder / "llama_expected.safetensors")
    lm.write_json(folder / "llama_reference.json", dict(
        made_by=dict(gguf=gguf_version(), torch=torch.__version__, transformers=transformers.__version__,
                     script="make/gguf_files.py"),
        ids=lm.IDS, greedy=new, tokenizer="the encodings and chats of lm/llama/tokenizer_reference.json hold",
        checks=checks))


def add_tokenizer(writer, source):
    tokenizer = json.loads((source / "tokenizer.json").read_text())
    extra = json.loads((source / "tokenizer_config.json").read_text())
    tokens = sorted(tokenizer["model"]["vocab"].items(), key=lambda kv: kv[1])
    special = {t["content"] for t in tokenizer["added_tokens"]}
    merges = [m if isinstance(m, str) else " ".join(m) for m in tokenizer["model"]["merges"]]
    ids = tokenizer["model"]["vocab"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list([t for t, _ in tokens])
    writer.add_token_types([gguf.TokenType.CONTROL if t in special else gguf.TokenType.NORMAL for t, _ in tokens])
    writer.add_token_merges(merges)
    writer.add_bos_token_id(ids[extra["bos_token"]])
    writer.add_eos_token_id(ids[extra["eos_token"]])
    writer.add_unk_token_id(ids[extra["bos_token"]])
    writer.add_pad_token_id(ids[extra["pad_token"]])
    writer.add_add_bos_token(False)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(extra["chat_template"])


def gguf_version():
    from importlib.metadata import version

    return version("gguf")


if __name__ == "__main__":
    torch.set_num_threads(1)
    out = Path(sys.argv[1])
    folder = out / "gguf"
    folder.mkdir(parents=True, exist_ok=True)
    types_file(folder)
    llama_file(out, folder)
