"""Hidden spans and their boundaries by SpanBERT's own code, on draws that are written down: writes span_masking.json beside this
file. Only its `pretraining/fairseq/data/masking.py` is loaded, from a directory with the sources of SpanBERT (here their commit
0670d8b), with the settings that its README trains with.

`spans`: first token and the one behind the last of each, those that touch joined; `fates`: what becomes of each; `masked`: what is
read; `pairs`: of each span the place before it, the one behind it, and its tokens (of a long one the first 15).

Where ptm differs on purpose: its spans never touch, nor are words cut at the end of what may be hidden; and a span at a text's
very beginning or end, which is left out here, has the tokens that begin and end the sequence as its boundary.

    python parity/objectives/span_masking.py SPANBERT
"""

import importlib.util
import json
import pathlib
import sys
import types
from unittest.mock import MagicMock

import numpy as np

MASK, PAD = 4, 0


def published(root):
    """The module, without the package around it."""
    data = types.ModuleType("fairseq.data")
    data.FairseqDataset, data.data_utils = object, None
    sys.modules |= {"fairseq": types.ModuleType("fairseq"), "fairseq.data": data, "tqdm": MagicMock()}
    spec = importlib.util.spec_from_file_location("fairseq.data.masking", root / "pretraining/fairseq/data/masking.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def noted(made, notes):
    """`made`, whose results are noted."""

    def call(*arguments):
        notes.append(made(*arguments))
        return notes[-1]

    return call


spanbert = published(pathlib.Path(sys.argv[1]))
merge, random = spanbert.merge_intervals, np.random.random
settings = types.SimpleNamespace(
    mask_ratio=0.15, span_lower=1, span_upper=10, geometric_p=0.2, max_pair_targets=15, tagged_anchor_prob=0.0,
    replacement_method="span", endpoints="external", return_only_spans=False)


class Words:
    """Two tokens in three begin a word."""

    def is_start_word(self, id):
        return id % 3 != 2


def case(length, seed):
    np.random.seed(seed)
    ids = np.arange(100, 100 + length)
    scheme = spanbert.PairWithSpanMaskingScheme(settings, np.arange(300, 400), PAD, MASK, spanbert.ParagraphInfo(Words()))
    spanbert.merge_intervals, np.random.random = noted(merge, spans := []), noted(random, draws := [])
    try:
        masked, targets, pairs = scheme.mask(ids)
    finally:
        spanbert.merge_intervals, np.random.random = merge, random
    fates = ["mask" if draw < 0.8 else "random" if draw < 0.9 else "keep" for draw in draws]
    return {
        "ids": ids.tolist(),
        "spans": [[int(first), int(last) + 1] for first, last in spans[0]],
        "fates": fates,
        "masked": masked.tolist(),
        "targets": targets[targets != PAD].tolist(),
        "pairs": [[int(left), int(right), *(int(id) for id in rest if id != PAD)] for left, right, *rest in pairs],
    }


made = {"mask": MASK, "cases": [case(length, seed) for seed, length in enumerate((20, 40, 80, 120, 200, 200))]}
pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps(made, separators=(",", ":")) + "\n")
