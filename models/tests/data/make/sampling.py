"""Distributions after the settings of sampling, made by `transformers`' own logits processors.

    python sampling.py FILE

writes cases of logits, a text, settings, and the tokens that are left with their probabilities, computed in 64 bits.
"""

import json
import sys

import torch
import transformers
from transformers import (
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

SETTINGS = [
    dict(temperature=1.0),
    dict(temperature=0.25),
    dict(temperature=3.5),
    dict(temperature=1.0, top_k=1),
    dict(temperature=1.0, top_k=5),
    dict(temperature=0.7, top_k=500),
    dict(temperature=1.0, top_p=0.05),
    dict(temperature=1.0, top_p=0.6),
    dict(temperature=1.5, top_p=0.95),
    dict(temperature=1.0, min_p=0.1),
    dict(temperature=2.0, min_p=0.02),
    dict(temperature=1.0, repetition_penalty=1.3),
    dict(temperature=1.0, repetition_penalty=0.8),
    dict(temperature=0.9, top_k=12, top_p=0.8, min_p=0.15, repetition_penalty=1.1),
    dict(temperature=1.7, top_k=20, top_p=0.7, repetition_penalty=1.5),
]


def processors(s):
    chain = []
    if "repetition_penalty" in s:
        chain.append(RepetitionPenaltyLogitsProcessor(s["repetition_penalty"]))
    chain.append(TemperatureLogitsWarper(s["temperature"]))
    if "top_k" in s:
        chain.append(TopKLogitsWarper(s["top_k"]))
    if "top_p" in s:
        chain.append(TopPLogitsWarper(s["top_p"]))
    if "min_p" in s:
        chain.append(MinPLogitsWarper(s["min_p"]))
    return chain


torch.manual_seed(20)
cases = []
for s in SETTINGS:
    # Values with few digits, so that JSON holds them exactly; two that tie at the boundary of top-k = 5.
    logits = (torch.randn(40) * 2).mul(64).round().div(64)
    order = logits.argsort(descending=True)
    logits[order[5]] = logits[order[4]]
    text = torch.randint(0, 40, (12,))
    scores = logits.double()[None]
    for process in processors(s):
        scores = process(text[None], scores)
    p = scores.softmax(-1)[0]
    left = [i for i in range(40) if p[i] > 0]
    cases.append(dict(settings=s, logits=logits.tolist(), text=text.tolist(), tokens=left,
                      probabilities=[p[i].item() for i in left]))
versions = dict(transformers=transformers.__version__, torch=torch.__version__)
lines = ",\n".join(" " + json.dumps(case) for case in cases)
open(sys.argv[1], "w").write(f'{{"made_by": {json.dumps(versions)},\n"cases": [\n{lines}\n]}}\n')
print([len(case["tokens"]) for case in cases])
