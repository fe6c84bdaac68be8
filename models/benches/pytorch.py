"""Seconds that PyTorch and transformers need for what the benches `lm` and `vision` time: the peers' side of the table.

    python pytorch.py THREADS [REPETITIONS]

Debian's PyTorch (python3-torch) takes its matrix products from the alternative `libblas.so.3`. Without libopenblas0-pthread,
which the package only recommends, that is the slow reference BLAS with one thread: not a fair peer. The entry `blas` says
what was loaded. transformers of a release that fits comes from PyPI, into an environment with --system-site-packages.

Prints one JSON object. A training step is zero_grad, forward, loss, backward and the optimiser's step on a fixed batch.
"""
import json
import os
import statistics
import sys
import time

threads = int(sys.argv[1])
os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = str(threads)
repetitions = int(sys.argv[2]) if len(sys.argv) > 2 else 9
# The networks that the reference data come from.
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../tests/data/make"))
sys.dont_write_bytecode = True

import torch
import transformers
from transformers import LlamaConfig, LlamaForCausalLM

import vision

torch.set_num_threads(threads)
torch.set_num_interop_threads(1)
torch.manual_seed(0)


def blas():
    with open("/proc/self/maps") as maps:
        paths = {line.split()[-1] for line in maps if "blas" in line}
    names = sorted(os.path.realpath(p) for p in paths)
    if not any("openblas" in n or "mkl" in n or "blis" in n for n in names):
        print("warning: reference BLAS, install libopenblas0-pthread", file=sys.stderr)
    return names


def median(step, warm_up=3):
    for _ in range(warm_up):
        step()
    times = []
    for _ in range(repetitions):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return dict(median_s=statistics.median(times), min_s=min(times), max_s=max(times))


def llama(vocab, width, layers, heads, kv_heads, ffn):
    return LlamaForCausalLM(LlamaConfig(
        vocab_size=vocab, hidden_size=width, num_hidden_layers=layers, num_attention_heads=heads,
        num_key_value_heads=kv_heads, intermediate_size=ffn, tie_word_embeddings=True, max_position_embeddings=2048))


def tiny_lm():
    net = llama(2048, 128, 4, 4, 4, 344).train()
    ids = torch.randint(0, 2048, (16, 64))
    optimiser = torch.optim.AdamW(net.parameters(), lr=1e-3)

    def step():
        optimiser.zero_grad(set_to_none=True)
        logits = net(ids, use_cache=False).logits
        torch.nn.functional.cross_entropy(logits[:, :-1].reshape(-1, 2048), ids[:, 1:].reshape(-1)).backward()
        optimiser.step()

    return dict(parameters=sum(p.numel() for p in net.parameters()), tokens=ids.numel(), **median(step))


def resnet20():
    net = vision.ResNet(vision.Basic, [3, 3, 3], 16, False, False).train()
    x, y = torch.randn(128, 3, 32, 32), torch.randint(0, 10, (128,))
    optimiser = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)

    def step():
        optimiser.zero_grad(set_to_none=True)
        torch.nn.functional.cross_entropy(net(x), y).backward()
        optimiser.step()

    return dict(parameters=sum(p.numel() for p in net.parameters()), images=128, **median(step))


def smollm2_forward():
    net = llama(49152, 576, 30, 9, 3, 1536).eval()
    ids = torch.randint(0, 49152, (1, 64))

    def step():
        with torch.no_grad():
            net(ids, use_cache=False)

    return dict(parameters=sum(p.numel() for p in net.parameters()), tokens=64, **median(step))


print(json.dumps(dict(
    torch=torch.__version__, transformers=transformers.__version__, threads=torch.get_num_threads(),
    repetitions=repetitions, blas=blas(), load_before=os.getloadavg()[0], tiny_lm_step=tiny_lm(), resnet20_step=resnet20(),
    smollm2_forward_64=smollm2_forward()), indent=1))
