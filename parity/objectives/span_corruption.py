"""T5's corruptions by the published code, on draws that are written down: writes span_corruption.json beside this file. Only
its `t5/data/preprocessors.py` is loaded, from a directory with the sources of text-to-text-transfer-transformer (here its
commit e081111); it needs TensorFlow.

`spans`: the shuffled rows of "a segment begins here" of dropped and of kept tokens, the mask, source and target. `variants`:
which tokens were chosen or what else was drawn, source and target of the paper's other corruptions. Neither has the token that
ends a text, which is put on later. Sentinels are the vocabulary's last ids, in descending order.

    python parity/objectives/span_corruption.py TEXT_TO_TEXT_TRANSFER_TRANSFORMER
"""

import importlib.util
import json
import pathlib
import sys
import types
from unittest.mock import MagicMock

import numpy as np
import tensorflow as tf

VOCABULARY = types.SimpleNamespace(vocab_size=200)
random = np.random.default_rng(7)
shuffles = []


def shuffle(values, _):
    """What is used of SeqIO: a shuffle, which is noted."""
    order = random.permutation(len(values))
    shuffles.append(np.asarray(values)[order].tolist())
    return tf.gather(values, order)


def published(root):
    """The module, without what it uses for other things than corruption."""
    gin = types.SimpleNamespace(configurable=lambda made=None, **_: made if callable(made) else lambda made: made, REQUIRED=None)
    seqio = MagicMock(stateless_shuffle=shuffle)
    sys.modules |= {"gin": gin, "seqio": seqio, "babel": MagicMock()}
    spec = importlib.util.spec_from_file_location("preprocessors", root / "t5/data/preprocessors.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


t5 = published(pathlib.Path(sys.argv[1]))
numbers = lambda tensor: tf.cast(tensor, tf.int32).numpy().tolist()
seeds = lambda: [tf.constant(random.integers(0, 1 << 30, 2), tf.int32) for _ in range(2)]
text = lambda length: tf.range(20, 20 + length)


def spans(length, rate, mean_span):
    shuffles.clear()
    mask = t5.random_spans_noise_mask(length, rate, seeds(), mean_span)
    dropped, kept = shuffles
    return {
        "length": length,
        "rate": rate,
        "mean_span": mean_span,
        "noise_begins": dropped,
        "kept_begins": kept,
        "mask": numbers(mask),
        "source": numbers(t5.noise_span_to_unique_sentinel(text(length), mask, VOCABULARY, None)),
        "target": numbers(t5.nonnoise_span_to_unique_sentinel(text(length), mask, VOCABULARY, None)),
    }


def variants(length):
    ids = text(length)
    chosen = t5.iid_noise_mask(length, 0.3, seeds())
    prefix = t5.random_prefix_noise_mask(length, 0.5, seeds())
    whole = tf.fill([length], True)
    shuffles.clear()
    shuffled = t5.permute_noise_tokens(ids, whole, VOCABULARY, seeds())
    pair = lambda source, target=ids, mask=chosen: {"chosen": numbers(mask), "source": numbers(source), "target": numbers(target)}
    of = lambda make, mask=chosen: make(ids, mask, VOCABULARY, seeds())
    return {
        "length": length,
        "bert_style": pair(of(t5.noise_token_to_random_token_or_sentinel)),
        "mass_style": pair(of(t5.noise_token_to_sentinel)),
        "iid_spans": pair(of(t5.noise_span_to_unique_sentinel), of(t5.nonnoise_span_to_unique_sentinel)),
        "iid_dropped": pair(of(t5.drop_noise_tokens), of(t5.drop_nonnoise_tokens)),
        "prefix_lm": pair(of(t5.drop_nonnoise_tokens, prefix), of(t5.drop_noise_tokens, prefix), prefix),
        "deshuffling": pair(shuffled, ids, whole),
    }


settings = [(8, 0.15, 3.0), (40, 0.15, 3.0), (100, 0.15, 3.0), (75, 0.5, 3.0), (60, 0.3, 2.0), (50, 0.15, 10.0)]
made = {"spans": [spans(*setting) for setting in settings], "variants": [variants(length) for length in (12, 25, 40, 55, 70)]}
pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps(made, separators=(",", ":")) + "\n")
