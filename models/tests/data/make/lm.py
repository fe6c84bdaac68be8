"""Tiny random causal language models with reference outputs, made by `transformers`.

    python lm.py OUT

writes OUT/lm/<name>/{config.json, model.safetensors, reference.json, reference.safetensors} for every entry of
`MODELS`, and a tokenizer beside the model `llama`. See README.md for versions and for the meaning of every entry.

All parameters - norm gains and biases too - are drawn at random, so that no mistake hides behind ones and zeros, and
norm epsilons are large (1e-3), so that an implementation that ignores the configured one fails. A model is saved in its
storage type first and read back as f32; the reference is what the *saved* folder computes.
"""

import contextlib
import json
import math
import sys
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    OPTConfig,
    Qwen2Config,
)

IDS = list(range(3, 35))  # 32 tokens
NEW_TOKENS = 16
FREE = (4, 12)  # positions whose one-hot rows get a gradient
TARGET = (20, 28)  # positions whose log-probability is summed
LENGTHS = (5, 9)  # of the two sequences of the padded batch
PAD = 0

# Llama 3 rotary scaling with a context short enough for all three branches to act within 48 positions at head size 8:
# wavelengths 6.28 (kept), 62.8 (blended), 628 and 6283 (divided by the factor).
LLAMA3 = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=8.0,
              original_max_position_embeddings=128)

SPECIAL = dict(bos_token_id=0, eos_token_id=0, pad_token_id=0)


def small_llama(**more):
    return LlamaConfig(vocab_size=64, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
                       num_key_value_heads=1, max_position_embeddings=64, rms_norm_eps=1e-3, **more, **SPECIAL)


def neox(hidden, heads, **more):
    return GPTNeoXConfig(vocab_size=64, hidden_size=hidden, intermediate_size=48, num_hidden_layers=2,
                         num_attention_heads=heads, max_position_embeddings=64, rotary_pct=0.25, layer_norm_eps=1e-3,
                         hidden_act="gelu", **more, **SPECIAL)


# name -> (config, storage type, first seed, options). The seed moves on until the greedy continuation suits a test.
MODELS = {
    "llama": (LlamaConfig(vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
                          num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64, rms_norm_eps=1e-3,
                          tie_word_embeddings=False, **SPECIAL), torch.float32, 100, {}),
    "mistral": (MistralConfig(vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
                              num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64,
                              rms_norm_eps=1e-3, sliding_window=8, **SPECIAL), torch.bfloat16, 200, {}),
    "qwen2": (Qwen2Config(vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
                          num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64, rms_norm_eps=1e-3,
                          rope_theta=1000000.0, tie_word_embeddings=True, use_sliding_window=False, **SPECIAL),
              torch.bfloat16, 300, {}),
    "gpt_neox": (neox(32, 2, use_parallel_residual=True), torch.float16, 400, {}),
    "gpt2": (GPT2Config(vocab_size=64, n_embd=24, n_layer=2, n_head=3, n_positions=64, layer_norm_epsilon=1e-3,
                        **SPECIAL), torch.float16, 500, {}),
    "opt": (OPTConfig(vocab_size=64, hidden_size=32, word_embed_proj_dim=32, ffn_dim=48, num_hidden_layers=2,
                      num_attention_heads=4, max_position_embeddings=64, do_layer_norm_before=True,
                      activation_function="relu", **SPECIAL), torch.float16, 600, {}),
    # Variants, smaller still.
    "llama_sharded": (small_llama(), torch.float32, 700, dict(max_shard_size="15KB", shards=2)),
    "llama_rope_linear": (small_llama(rope_scaling=dict(type="linear", factor=2.0), rope_theta=500.0), torch.bfloat16,
                          800, {}),
    "llama_rope_llama3": (small_llama(), torch.bfloat16, 900, dict(llama3=LLAMA3)),
    "gpt_neox_sequential": (neox(16, 2, use_parallel_residual=False), torch.float16, 1100, {}),
}


def randomise(model, generator):
    """Norm gains around 1, biases around 0, matrices such that a unit input gives outputs of order 1."""
    width = model.config.hidden_size
    with torch.no_grad():
        for _, p in sorted(model.named_parameters()):  # tied parameters appear once
            noise = torch.randn(p.shape, generator=generator)
            if p.ndim == 1:
                name = _.rsplit(".", 1)[1]
                p.copy_(1 + 0.3 * noise if name == "weight" else 0.2 * noise)
            else:
                p.copy_(noise * (1.2 / math.sqrt(width)))


def llama3_inv_freq(dim, theta, s):
    """Frequencies of the Llama 3.1 rule, which transformers 4.40.2 does not know."""
    low = s["original_max_position_embeddings"] / s["low_freq_factor"]
    high = s["original_max_position_embeddings"] / s["high_freq_factor"]
    out = []
    for i in range(0, dim, 2):
        f = theta ** (-i / dim)
        wavelength = 2 * math.pi / f
        if wavelength > low:
            f = f / s["factor"]
        elif wavelength >= high:
            blend = (s["original_max_position_embeddings"] / wavelength - s["low_freq_factor"]) / (
                s["high_freq_factor"] - s["low_freq_factor"])
            f = (1 - blend) * f / s["factor"] + blend * f
        out.append(f)
    return torch.tensor(out, dtype=torch.float64)


def save(model, folder, dtype, options):
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.safetensors*"):
        old.unlink()
    model.to(dtype).save_pretrained(folder, max_shard_size=options.get("max_shard_size", "1GB"))
    (folder / "generation_config.json").unlink(missing_ok=True)
    shards = len(list(folder.glob("*.safetensors")))
    assert shards == options.get("shards", 1), shards


def load(folder, options):
    model = AutoModelForCausalLM.from_pretrained(folder, torch_dtype=torch.float32, attn_implementation="eager").eval()
    if getattr(model.config, "sliding_window", None) and model.config.model_type == "mistral":
        # transformers 4.40.2 lets a token see `sliding_window` tokens *before* itself, one more than the Mistral
        # definition (and later transformers releases): `sliding_window` tokens *including* itself.
        model.config.sliding_window -= 1
    if "llama3" in options:
        c = model.config
        f = llama3_inv_freq(c.hidden_size // c.num_attention_heads, c.rope_theta, options["llama3"])
        for layer in model.model.layers:
            layer.self_attn.rotary_emb.inv_freq = f.float()
    return model


def positions(mask):
    return (mask.cumsum(-1) - 1).clamp(min=0)


def logits_of(model, ids=None, mask=None, embeds=None):
    """[B,T] ids or [B,T,d] embeddings -> [B,T,V]. Positions count real tokens only."""
    shape = ids.shape if ids is not None else embeds.shape[:2]
    mask = torch.ones(shape, dtype=torch.long) if mask is None else mask
    more = {} if model.config.model_type == "opt" else dict(position_ids=positions(mask))
    return model(input_ids=ids, inputs_embeds=embeds, attention_mask=mask, use_cache=False, **more).logits


def one_hot_grad(model, ids, dtype):
    """d(-sum log p(target))/d(one-hot rows of the free range), by the naive path through a one-hot matrix."""
    table = model.get_input_embeddings().weight.detach()
    hot = torch.nn.functional.one_hot(torch.tensor(ids), table.shape[0]).to(dtype).requires_grad_(True)
    logp = torch.log_softmax(logits_of(model, embeds=(hot @ table)[None])[0], -1)
    loss = -sum(logp[t - 1, ids[t]] for t in range(*TARGET))
    loss.backward()
    model.zero_grad(set_to_none=True)
    return hot.grad[FREE[0] : FREE[1]].clone(), loss.item()


@contextlib.contextmanager
def in_f64(model):
    """Runs a model in f64 throughout: its code asks for f32 in places (norms, softmax, logits), which is redirected."""
    module = sys.modules[type(model).__module__]

    class Torch:
        float32 = torch.float64

        def __getattr__(self, name):
            return getattr(torch, name)

    to_float = torch.Tensor.float
    module.torch, torch.Tensor.float = Torch(), torch.Tensor.double
    torch.set_default_dtype(torch.float64)  # torch 1.13 cannot fill a mask with the smallest f64 otherwise
    try:
        yield model.double()
    finally:
        module.torch, torch.Tensor.float = torch, to_float
        torch.set_default_dtype(torch.float32)
        model.float()


def greedy(model, ids):
    """Continuation by full forward passes, and the smallest gap between the best and the second-best logit."""
    ids, gap = list(ids), math.inf
    for _ in range(NEW_TOKENS):
        best = logits_of(model, torch.tensor([ids]))[0, -1].topk(2)
        gap = min(gap, (best.values[0] - best.values[1]).item())
        ids.append(best.indices[0].item())
    return ids[-NEW_TOKENS:], gap


def padded(sequences, left):
    longest = max(map(len, sequences))
    ids, mask = [], []
    for s in sequences:
        fill = [PAD] * (longest - len(s))
        ids.append(fill + s if left else s + fill)
        mask.append([0] * len(fill) + [1] * len(s) if left else [1] * len(s) + [0] * len(fill))
    return ids, mask


def reference(model, folder, generator):
    vocab = model.config.vocab_size
    with torch.no_grad():
        logits = logits_of(model, torch.tensor([IDS]))[0]
        continuation, gap = greedy(model, IDS)
        logp = torch.log_softmax(logits, -1)
        token_logp = [logp[t - 1, IDS[t]].item() for t in range(1, len(IDS))]
        sequences = [torch.randint(1, vocab, (n,), generator=generator).tolist() for n in LENGTHS]
        single = [logits_of(model, torch.tensor([s]))[0] for s in sequences]
        batch = {}
        for side in ("right", "left"):
            ids, mask = padded(sequences, side == "left")
            out = logits_of(model, torch.tensor(ids), torch.tensor(mask))
            worst = max((out[b][torch.tensor(mask[b]) == 1] - single[b]).abs().max().item() for b in range(2))
            assert worst < 2e-5, (folder, side, worst)
            batch[side] = dict(ids=ids, mask=mask, max_difference_to_unpadded=worst)
    # The padding row of an embedding table receives no gradient from a lookup; the one-hot path has no such exception.
    grad, loss = one_hot_grad(model, IDS, torch.float32)
    with in_f64(model):
        grad64, loss64 = one_hot_grad(model, IDS, torch.float64)
        with torch.no_grad():
            logits64 = logits_of(model, torch.tensor([IDS]))[0]
    assert logits64.dtype == grad64.dtype == torch.float64
    relative = ((grad - grad64).norm() / grad64.norm()).item()
    difference = (logits - logits64).abs().max().item()
    assert torch.isfinite(logits).all() and torch.isfinite(grad64).all()
    assert 0.4 < logits.std().item() < 4, logits.std()
    assert relative < 1e-5 and difference < 1e-4 and abs(loss - loss64) < 1e-4, (relative, difference)
    fit = difference < 1e-5 and gap > 0.02 and len(set(continuation)) >= 8 and 0 not in continuation
    data = dict(
        made_by=dict(torch=torch.__version__, transformers=transformers.__version__, script="make/lm.py"),
        ids=IDS,
        greedy=dict(new_tokens=continuation, smallest_gap=gap),
        token_logprobs=token_logp,
        batch=dict(sequences=sequences, **batch),
        one_hot=dict(free=FREE, target=TARGET, loss=loss, loss_f64=loss64),
        checks=dict(logits_std=logits.std().item(), logits_max=logits.abs().max().item(),
                    logits_f32_to_f64_max_difference=difference, one_hot_grad_f32_to_f64_relative=relative),
    )
    tensors = dict(logits=logits, one_hot_grad=grad, one_hot_grad_f64=grad64,
                   batch_logits_0=single[0], batch_logits_1=single[1])
    return fit, data, {k: v.detach().contiguous() for k, v in tensors.items()}


def write_json(path, value):
    body = ",\n".join(f" {json.dumps(k)}: {json.dumps(v)}" for k, v in value.items())  # one entry a line
    path.write_text("{\n" + body + "\n}\n")


def make(out, name):
    config, dtype, seed, options = MODELS[name]
    folder = out / "lm" / name
    while True:
        generator = torch.Generator().manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
        randomise(model, generator)
        save(model, folder, dtype, options)
        model = load(folder, options)
        fit, data, tensors = reference(model, folder, generator)
        if fit:
            break
        seed += 1
    data = dict(name=name, seed=seed, **data)
    if "llama3" in options:  # only now: transformers 4.40.2 would refuse to load it
        path = folder / "config.json"
        saved = json.loads(path.read_text())
        saved["rope_scaling"] = options["llama3"]
        path.write_text(json.dumps(saved, indent=2, sort_keys=True) + "\n")
    save_file(tensors, folder / "reference.safetensors")
    write_json(folder / "reference.json", data)
    size = sum(f.stat().st_size for f in folder.iterdir())
    print(f"{name:20} seed {seed} {size:7} bytes, gap {data['greedy']['smallest_gap']:.3f},",
          data["greedy"]["new_tokens"], {k: float(f"{v:.2g}") for k, v in data["checks"].items()})


# --- tokenizer -------------------------------------------------------------------------------------------------------

CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
MERGED = ["Ġ t", "h e", "Ġt he", "i n", "e r", "Ġ a", "Ġa n", "Ġan d", "o n", "Ã ©", "1 2"]  # "1 2" must never act
TEXTS = ["the cat and the dog", "in the barn, on 12 sacks.", "another  thing\n\nthen the end", "café and thé", " the",
         "<|im_start|>user\nin 2024.<|im_end|>\n"]
CHATML = ("{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' "
          "+ '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")
CHAT = [dict(role="user", content="in the barn"), dict(role="assistant", content="on 12 sacks."),
        dict(role="user", content="and then")]


def make_tokenizer(out):
    """Byte-level BPE of 64 tokens: split digits one by one, then the GPT-2 pattern (what llama.cpp calls `smollm`)."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = [chr(c) for c in range(ord("a"), ord("z") + 1)] + list("0123456789") + list("ĠĊ.,'-TÃ©") + list("ABCDE")
    vocab = CONTROL + alphabet + ["".join(m.split()) for m in MERGED]
    assert len(vocab) == len(set(vocab)) == 64, len(vocab)
    merges = [tuple(m.split()) for m in MERGED]
    tokenizer = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(vocab)}, merges=merges))
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in CONTROL])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    folder = out / "lm" / "llama"
    tokenizer.save(str(folder / "tokenizer.json"))
    write_json(folder / "tokenizer_config.json", dict(
        tokenizer_class="PreTrainedTokenizerFast", bos_token=CONTROL[0], eos_token=CONTROL[2], pad_token=CONTROL[0],
        add_bos_token=False, clean_up_tokenization_spaces=False, chat_template=CHATML))
    fast = PreTrainedTokenizerFast.from_pretrained(folder)
    cases = []
    for text in TEXTS:
        ids = tokenizer.encode(text).ids
        back = tokenizer.decode(ids, skip_special_tokens=False)
        assert back == text and ids == fast(text)["input_ids"], (text, back)
        cases.append(dict(text=text, ids=ids))
    chat = dict(messages=CHAT)
    for prompt in (False, True):
        chat[f"add_generation_prompt_{str(prompt).lower()}"] = fast.apply_chat_template(
            CHAT, tokenize=False, add_generation_prompt=prompt)
    write_json(folder / "tokenizer_reference.json", dict(encodings=cases, chat=chat))


if __name__ == "__main__":
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    out = Path(sys.argv[1])
    for name in sys.argv[2:] or MODELS:
        make(out, name)
    make_tokenizer(out)
