"""BART's noises as fairseq's denoising data set publishes them, on draws that are written down: writes denoising.json beside
this file. fairseq is not run: this is a plain restatement of what its documentation and code say it does, written anew, and
so it shows that ptm does the same as this reading of it.

The rule, on a text without the tokens that begin and end it:
- sentences, a share of them rounded up: those that move change places among themselves (`order`: which sentence stands at
  each place).
- infilling: the budget is a share of the words (units), rounded up. Lengths are drawn by Poisson until they reach it, the last
  is cut. Each length above 0 gets a word of its own to begin at; that token becomes the mask, and what follows vanishes until so
  many words are gone. Then as many masks as there were lengths of 0 are put in, at random `inserts` (places of the result).
- rotation: the text from `offset` on, then what came before.

Where ptm differs on purpose: its spans never overlap (here the draws are repeated until they don't, and don't reach beyond the
end); its budget is rounded half to even, as T5's; empty spans stand between words, here between any two tokens, so the cases
of whole words have none; and sentences are those that its splitter finds, not what ends with a full stop. A text of n tokens
stays as it is by one rotation in n; with fairseq's offsets, which count the token that begins it, by two in n + 1.

    python parity/objectives/denoising.py
"""

import json
import math
import pathlib

import numpy as np

MASK = 4


def permuted(ids, sentences, rate, random):
    count = len(sentences)
    moving = random.permutation(count)[: math.ceil(count * rate)]
    order = np.arange(count)
    order[moving] = moving[random.permutation(len(moving))]
    parts = np.split(ids, sentences[1:])
    return order.tolist(), np.concatenate([parts[number] for number in order])


def lengths_of(budget, mean, random):
    """Drawn, and the last cut so that they reach the budget."""
    drawn = []
    while sum(drawn) < budget:
        drawn.append(int(random.poisson(mean)))
    drawn[-1] -= sum(drawn) - budget
    return drawn


def infilled(ids, words, rate, mean, random):
    units = len(words)
    bounds = [*words, len(ids)]
    while True:
        drawn = lengths_of(math.ceil(units * rate), mean, random)
        lengths = [length for length in drawn if length > 0]
        starts = random.permutation(units)[: len(lengths)]
        taken = [start + step for start, length in zip(starts, lengths) for step in range(length)]
        empty = len(drawn) - len(lengths)
        if len(set(taken)) == len(taken) and max(taken) < units and (empty > 0) == (units == len(ids)):
            break
    made, begins, gone = [], {bounds[start] for start in starts}, set(taken)
    for unit in range(units):
        own = range(bounds[unit], bounds[unit + 1])
        made += [MASK for place in own if place in begins] if unit in gone else [int(ids[place]) for place in own]
    inserts = np.sort(random.permutation(len(made) + empty)[:empty]).tolist()
    for place in inserts:
        made.insert(place, MASK)
    spans = sorted([int(start), length] for start, length in zip(starts, lengths))
    return spans, inserts, np.array(made)


def rotated(ids, random):
    offset = int(random.integers(0, len(ids)))
    return offset, np.concatenate([ids[offset:], ids[:offset]])


def case(length, pieces, moving, rate, mean, random):
    """`pieces`: tokens of a word at most."""
    ids = np.arange(100, 100 + length)
    words = [0]
    while words[-1] + pieces < length:
        words.append(words[-1] + int(random.integers(1, pieces + 1)))
    # sentences begin with words
    sentences = [word for number, word in enumerate(words) if number == 0 or random.random() < 0.12]
    order, moved = permuted(ids, sentences, moving, random)
    first = {int(id) for id in ids[words]}
    spans, inserts, filled = infilled(moved, [place for place in range(length) if int(moved[place]) in first], rate, mean, random)
    offset, turned = rotated(filled, random)
    return {
        "ids": ids.tolist(),
        "words": words,
        "sentences": sentences,
        "order": order,
        "permuted": moved.tolist(),
        "spans": spans,
        "inserts": inserts,
        "infilled": filled.tolist(),
        "offset": offset,
        "rotated": turned.tolist(),
    }


random = np.random.default_rng(11)
settings = [
    (12, 1, 1.0, 0.3, 3.0),
    (40, 1, 1.0, 0.3, 3.0),
    (60, 1, 0.5, 0.2, 3.5),
    (50, 1, 1.0, 0.3, 1.0),
    (60, 3, 1.0, 0.15, 3.0),
    (90, 4, 0.4, 0.2, 3.0),
]
made = {"mask": MASK, "cases": [case(*setting, random) for setting in settings]}
pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps(made, separators=(",", ":")) + "\n")
