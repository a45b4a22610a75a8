"""Masks of the published span corruption rule (T5, `random_spans_noise_mask`), from shuffles that are written down.

The rule, after the paper's code: the number of dropped tokens and of their spans are rounded (half to even); dropped and
kept tokens are each divided into that many segments by a shuffled row of "a segment begins here"; segments alternate,
a kept one first. Writes span_corruption.json beside this file. This is a restatement of the rule, not the authors' code,
which transformers does not have in its package: what is compared is the rule as it was read here.

    python parity/objectives/span_corruption.py
"""

import json
import pathlib

import numpy as np


def begins(items, segments, random):
    row = (np.arange(items - 1) < segments - 1).astype(int)
    random.shuffle(row)
    return row


def lengths(row):
    ids = np.cumsum(np.concatenate([[0], row]))
    return np.bincount(ids)


def case(length, rate, mean_span, random):
    noise = int(np.round(length * rate))
    noise = min(max(noise, 1), length - 1)
    spans = max(int(np.round(noise / mean_span)), 1)
    noise_begins = begins(noise, spans, random)
    kept_begins = begins(length - noise, spans, random)
    interleaved = np.stack([lengths(kept_begins), lengths(noise_begins)], axis=1).reshape(-1)
    starts = np.zeros(length, int)
    starts[np.cumsum(interleaved)[:-1]] = 1
    mask = np.cumsum(starts) % 2
    return {
        "length": length,
        "rate": rate,
        "mean_span": mean_span,
        "noise_begins": noise_begins.tolist(),
        "kept_begins": kept_begins.tolist(),
        "mask": mask.tolist(),
    }


random = np.random.default_rng(7)
settings = [(8, 0.15, 3.0), (40, 0.15, 3.0), (100, 0.15, 3.0), (75, 0.5, 3.0), (60, 0.3, 2.0), (50, 0.15, 10.0)]
made = {"cases": [case(*setting, random) for setting in settings]}
pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps(made, separators=(",", ":")) + "\n")
