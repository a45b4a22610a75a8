"""BART's noises by fairseq's own `DenoisingDataset`, on draws that are written down: writes denoising.json beside this file.
Only its `fairseq/data/denoising_dataset.py` is loaded, from a directory with fairseq's sources (here its commit 3d262bb2).

One text after the other goes through sentence permutation, infilling with empty spans, and rotation. Noted are the draws:
`order`, which sentence stands at each place; `spans`, word and words of each; `inserts`, places of the result where a mask
stands for nothing; `offset`, the place with which the rotated text begins.

Where ptm differs on purpose: its spans never overlap or reach beyond the end (here texts are made anew until theirs don't);
its budget is rounded half to even, as T5's, where fairseq's is rounded up; empty spans stand between words, fairseq's between
any two tokens, so the cases of whole words have none; and sentences are those that its splitter finds, not what ends with a
full stop. A text of n tokens stays as it is by one rotation in n; by fairseq's, which count the token that begins it, by two
in n + 1.

    python parity/objectives/denoising.py FAIRSEQ
"""

import importlib.util
import json
import pathlib
import sys
import types

import numpy as np
import torch

MASK, BOS, EOS = 4, 0, 2


def published(root):
    """The class, without the package around it, of which it uses nothing here but a name to inherit from."""
    data = types.ModuleType("fairseq.data")
    data.FairseqDataset, data.data_utils = object, None
    sys.modules |= {"fairseq": types.ModuleType("fairseq"), "fairseq.data": data}
    spec = importlib.util.spec_from_file_location("fairseq.data.denoising_dataset", root / "fairseq/data/denoising_dataset.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.DenoisingDataset


class Dictionary:
    def bos(self):
        return BOS

    def eos(self):
        return EOS

    def index(self, _):
        return -1

    def __len__(self):
        return 1000


def noted(draw, notes):
    """`draw`, whose results are noted."""

    def drawn(*arguments, **options):
        notes.append(draw(*arguments, **options))
        return notes[-1]

    return drawn


def attempt(Dataset, length, pieces, moving, rate, mean, random):
    """A text and what becomes of it; none where spans overlap or reach beyond the end."""
    ids = np.arange(100, 100 + length)
    words = [0]
    while words[-1] + pieces < length:
        words.append(words[-1] + int(random.integers(1, pieces + 1)))
    # sentences begin with words, and have two at least: fairseq takes full stops in a row for one
    sentences = [0]
    for word in words[2:]:
        if word - sentences[-1] >= 2 and length - word >= 2 and random.random() < 0.12:
            sentences.append(word)

    dataset = Dataset(
        dataset=None, sizes=None, vocab=Dictionary(), mask_idx=MASK, mask_whole_words=None, shuffle=False, seed=0,
        mask=rate, mask_random=0.0, insert=0.0, rotate=1.0, permute_sentences=moving, bpe="gpt2", replace_length=1,
        mask_length="span-poisson", poisson_lambda=mean)
    if pieces > 1:
        begins = torch.zeros(1000, dtype=torch.long)
        begins[ids[words]] = 1
        dataset.mask_whole_word = begins
    text = torch.tensor([BOS, *ids, EOS])
    # what a sentence ends with is a full stop, whatever its id
    ends = torch.zeros(len(text), dtype=torch.bool)
    ends[sentences[1:]] = True
    dataset.full_stop_index = torch.where(ends, text, -1)

    randperm, randint = torch.randperm, np.random.randint
    try:
        torch.randperm = noted(randperm, orders := [])
        moved = dataset.permute_sentences(text, moving)
        order = torch.arange(len(sentences))
        order[orders[0][: len(orders[1])]] = orders[0][: len(orders[1])][orders[1]]

        torch.randperm = noted(randperm, places := [])
        sample = dataset.mask_span_distribution.sample
        dataset.mask_span_distribution.sample = noted(sample, lengths := [])
        filled = dataset.add_whole_word_mask(moved.clone(), rate)

        np.random.randint = noted(randint, offsets := [])
        turned = dataset.add_rolling_noise(filled)
    finally:
        torch.randperm, np.random.randint = randperm, randint

    # the lengths that reach the budget (rounded up in f32, as there), the last cut
    budget, drawn = int(torch.ceil(torch.tensor(float(len(words))) * rate)), []
    for each in torch.cat(lengths).tolist():
        if sum(drawn) < budget:
            drawn.append(min(each, budget - sum(drawn)))
    taken = [each for each in drawn if each > 0]
    spans = sorted(zip(places[0][: len(taken)].tolist(), taken))
    free = all(a + n <= b for (a, n), (b, _) in zip(spans, spans[1:])) and sum(spans[-1]) <= len(words)
    inserts = []
    if len(places) > 1:  # a share of the tokens, rounded up: at times one more than the empty spans
        inserts = sorted(places[1][: len(filled) - len(text) + sum(taken) - len(taken)].tolist()) if pieces == 1 else None
    if not free or inserts is None or (pieces == 1) != bool(inserts):
        return None
    return {
        "ids": ids.tolist(),
        "words": words,
        "sentences": sentences,
        "order": order.tolist(),
        "permuted": moved[1:-1].tolist(),
        "spans": [list(span) for span in spans],
        "inserts": inserts,
        "infilled": filled[1:-1].tolist(),
        "offset": int(offsets[0]) - 1,
        "rotated": turned[1:-1].tolist(),
    }


def case(*setting):
    return next(made for made in iter(lambda: attempt(*setting), 0) if made)


Dataset = published(pathlib.Path(sys.argv[1]))
random = np.random.default_rng(11)
np.random.seed(11)
torch.manual_seed(11)
settings = [
    (12, 1, 1.0, 0.3, 3.0),
    (40, 1, 1.0, 0.3, 3.0),
    (60, 1, 0.5, 0.2, 3.5),
    (50, 1, 1.0, 0.3, 1.0),
    (60, 3, 1.0, 0.15, 3.0),
    (90, 4, 0.4, 0.2, 3.0),
]
made = {"mask": MASK, "cases": [case(Dataset, *setting, random) for setting in settings]}
pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps(made, separators=(",", ":")) + "\n")
