"""Twenty steps of every optimizer on a small matrix and vector, and the factors of every schedule, by their reference
implementations: writes optimizers.json and schedules.json beside this file.

References: AdamW and SGD of torch.optim; Adafactor and schedules of transformers; one-cycle of torch.optim; LAMB (You
et al. 2020), Lion (Chen et al. 2023), BERT's Adam without bias correction, T5's inverse root: the papers' formulas in
double precision.

    python parity/training/optimizers.py
"""

import json
import math
import pathlib

import torch
from transformers import optimization as hf

HERE = pathlib.Path(__file__).parent
STEPS = 20
SHAPES = {"matrix": (4, 6), "vector": (6,)}


def start(name):
    n = math.prod(SHAPES[name])
    values = [math.sin(0.9 * i + len(name)) for i in range(n)]
    return torch.tensor(values, dtype=torch.float32).reshape(SHAPES[name])


def gradient(name, t):
    n = math.prod(SHAPES[name])
    values = [0.3 * math.sin(0.7 * i + 1.3 * t + len(name)) for i in range(n)]
    return torch.tensor(values, dtype=torch.float32).reshape(SHAPES[name])


def run(make):
    params = {name: torch.nn.Parameter(start(name)) for name in SHAPES}
    optimizer = make(list(params.values()))
    for t in range(STEPS):
        for name, p in params.items():
            p.grad = gradient(name, t)
        optimizer.step()
    return {name: p.detach().double().flatten().tolist() for name, p in params.items()}


def formula(update):
    out = {}
    for name in SHAPES:
        p, state = start(name).double(), {}
        for t in range(STEPS):
            p = update(p, gradient(name, t).double(), state, t + 1, name)
        out[name] = p.flatten().tolist()
    return out


def bert(p, g, s, t, name, lr=0.01, wd=0.01):
    s["m"] = 0.9 * s.get("m", 0) + 0.1 * g
    s["v"] = 0.999 * s.get("v", 0) + 0.001 * g * g
    return p - lr * (s["m"] / (s["v"].sqrt() + 1e-6) + wd * p)


def lamb(p, g, s, t, name, lr=0.01, wd=0.01):
    s["m"] = 0.9 * s.get("m", 0) + 0.1 * g
    s["v"] = 0.999 * s.get("v", 0) + 0.001 * g * g
    u = (s["m"] / (1 - 0.9**t)) / ((s["v"] / (1 - 0.999**t)).sqrt() + 1e-6) + wd * p
    ratio = float(p.norm() / u.norm()) if name == "matrix" else 1.0
    return p - lr * ratio * u


def lion(p, g, s, t, name, lr=0.01, wd=0.1):
    m = s.get("m", torch.zeros_like(g))
    p = p - lr * ((0.9 * m + 0.1 * g).sign() + wd * p)
    s["m"] = 0.99 * m + 0.01 * g
    return p


optimizers = {
    "adamw": run(lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.01)),
    "bert": formula(bert),
    "lamb": formula(lamb),
    "lion": formula(lion),
    "sgd": run(lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9, weight_decay=0.01)),
    "nesterov": run(lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9, nesterov=True)),
    "adafactor": run(lambda p: hf.Adafactor(p, scale_parameter=True, relative_step=True, weight_decay=0.01)),
    "adafactor_lr": run(lambda p: hf.Adafactor(p, lr=0.01, scale_parameter=False, relative_step=False)),
    "adafactor_warmup": run(lambda p: hf.Adafactor(p, warmup_init=True)),
}
(HERE / "optimizers.json").write_text(json.dumps(optimizers, indent=1) + "\n")

TOTAL, WARM = 100, 10


def factors(make):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = make(optimizer)
    found = []
    for _ in range(TOTAL):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


schedules = {
    "constant": factors(lambda o: hf.get_constant_schedule_with_warmup(o, WARM)),
    "linear": factors(lambda o: hf.get_linear_schedule_with_warmup(o, WARM, TOTAL)),
    "cosine": factors(lambda o: hf.get_cosine_schedule_with_warmup(o, WARM, TOTAL)),
    "cosine-restarts": factors(lambda o: hf.get_cosine_with_hard_restarts_schedule_with_warmup(o, WARM, TOTAL, 3)),
    "polynomial": factors(lambda o: hf.get_polynomial_decay_schedule_with_warmup(o, WARM, TOTAL, lr_end=0.1, power=2.0)),
    "inverse-root": factors(lambda o: hf.get_inverse_sqrt_schedule(o, WARM)),
    "one-cycle": factors(lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 1.0, total_steps=TOTAL + 1)),
    "t5": [1 / math.sqrt(max(t, 40)) for t in range(TOTAL)],
}
(HERE / "schedules.json").write_text(json.dumps(schedules) + "\n")
