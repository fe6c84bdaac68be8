"""Golden vectors of PyTorch's optimisers and of gradient clipping.

    python optimisers.py OUT

writes OUT/train/optimisers.json. Every number is the result of an f32 run, with 12 digits; `f32_to_f64` is the largest
difference to the same run in f64.
"""

import json
import sys
from pathlib import Path

import torch

STEPS = 4
SHAPES = {"w": (3, 4), "b": (5,)}

CASES = [  # (optimiser, options)
    ("sgd", dict(lr=0.1)),
    ("sgd", dict(lr=0.1, weight_decay=0.01)),
    ("sgd", dict(lr=0.1, momentum=0.9)),
    ("sgd", dict(lr=0.1, momentum=0.9, nesterov=True)),
    ("sgd", dict(lr=0.1, momentum=0.9, dampening=0.3)),
    ("sgd", dict(lr=0.1, momentum=0.9, weight_decay=0.05)),
    ("sgd", dict(lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.0002)),
    ("sgd", dict(lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.05)),
    ("sgd", dict(lr=0.02, momentum=0.5, dampening=0.3, weight_decay=0.05)),
    ("adam", dict(lr=0.001)),
    ("adam", dict(lr=0.01, betas=(0.8, 0.95), eps=1e-3)),
    ("adam", dict(lr=0.01, weight_decay=0.1)),
    ("adam", dict(lr=0.01, betas=(0.8, 0.95), eps=1e-3, weight_decay=0.1)),
    ("adamw", dict(lr=0.001)),  # PyTorch's default weight decay, 0.01
    ("adamw", dict(lr=0.01, weight_decay=0.0)),
    ("adamw", dict(lr=0.01, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)),
    ("adamw", dict(lr=0.01, betas=(0.8, 0.95), eps=1e-3, weight_decay=0.1)),
]
CLIPS = [0.5, 1.0, 3.0, 1000.0]  # the last is above the norm
OPTIMISERS = dict(sgd=torch.optim.SGD, adam=torch.optim.Adam, adamw=torch.optim.AdamW)


def flat(tensors):
    return {k: t.detach().flatten().tolist() for k, t in tensors.items()}


def run(kind, options, start, grads, dtype, schedule=None):
    """Parameters after every step, and the optimiser's state after the last."""
    params = {k: torch.nn.Parameter(v.clone().to(dtype)) for k, v in start.items()}
    optimiser = OPTIMISERS[kind](params.values(), **options)
    after = []
    for step, g in enumerate(grads):
        if schedule:
            optimiser.param_groups[0]["lr"] = schedule[step]
        for k, p in params.items():
            p.grad = g[k].clone().to(dtype)
        optimiser.step()
        assert all(torch.isfinite(p).all() for p in params.values())
        after.append(flat(params))
    state = {k: {n: v.flatten().tolist() for n, v in optimiser.state[p].items() if torch.is_tensor(v) and v.ndim > 0}
             for k, p in params.items()}
    return after, state


def clip(limit, grads, dtype):
    params = {k: torch.nn.Parameter(torch.zeros_like(v, dtype=dtype)) for k, v in grads.items()}
    for k, p in params.items():
        p.grad = grads[k].clone().to(dtype)
    norm = torch.nn.utils.clip_grad_norm_(params.values(), limit).item()
    return norm, flat({k: p.grad for k, p in params.items()})


def case(kind, options, start, grads, schedule=None):
    after, state = run(kind, options, start, grads, torch.float32, schedule)
    after64, _ = run(kind, options, start, grads, torch.float64, schedule)
    worst = max(abs(a - b) for x, y in zip(after, after64) for k in x for a, b in zip(x[k], y[k]))
    assert worst < 1e-5, (kind, options, worst)
    return dict(optimiser=kind, options=options, **({"lr_of_step": schedule} if schedule else {}), after=after,
                state_at_end=state, f32_to_f64=worst)


def rounded(value):
    """12 digits: more than identify an f32."""
    if isinstance(value, float):
        return float(f"{value:.12g}")
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(v) for v in value]
    return value


if __name__ == "__main__":
    torch.set_num_threads(1)
    out = Path(sys.argv[1]) / "train"
    out.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(4000)
    start = {k: torch.randn(s, generator=generator) for k, s in SHAPES.items()}
    grads = []
    for step in range(STEPS):
        scale = [1.0, 0.3, 2.0, 1e-3][step]  # a small last step lets a wrong bias correction or epsilon show
        grads.append({k: scale * torch.randn(s, generator=generator) for k, s in SHAPES.items()})
    grads[1]["b"][0] = 0.0
    cases = [case(kind, options, start, grads) for kind, options in CASES]
    # a learning rate that changes from step to step: momentum buffers must not contain it
    schedule = [0.1, 0.1, 0.01, 0.001]
    cases.append(case("sgd", dict(lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01), start, grads, schedule))
    cases.append(case("adamw", dict(lr=0.1, weight_decay=0.1), start, grads, schedule))
    clips = []
    for limit in CLIPS:
        norm, clipped = clip(limit, grads[0], torch.float32)
        norm64, _ = clip(limit, grads[0], torch.float64)
        assert abs(norm - norm64) < 1e-6
        clips.append(dict(max_norm=limit, norm=norm, clipped=clipped))
    top = dict(made_by=dict(torch=torch.__version__, script="make/optimisers.py"), shapes=SHAPES, start=flat(start),
               gradients=[flat(g) for g in grads])
    lines = [f" {json.dumps(k)}: {json.dumps(rounded(v))}" for k, v in top.items()]
    for name, entries in (("cases", cases), ("clip_by_global_norm", clips)):
        body = ",\n".join("  " + json.dumps(rounded(e)) for e in entries)
        lines.append(f' "{name}": [\n{body}\n ]')
    text = "{\n" + ",\n".join(lines) + "\n}\n"
    json.loads(text)
    (out / "optimisers.json").write_text(text)
    print(len(cases), "cases", len(text), "bytes; norm of the first gradient", clips[0]["norm"])
