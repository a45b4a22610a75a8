"""Who sees whom in XLNet's two streams, by its authors' own `_local_perm`, on draws that are written down: writes
two_streams.json beside this file. Only their `data_utils.py` is loaded, from a directory with the sources of xlnet (here their
commit bbaa3a6); it needs TensorFlow.

A segment is `[A, SEP, B, SEP, CLS]`. `frame`: the places of what isn't A or B; `order`: the place of each token in the order;
`chosen`: places that were chosen, the frame among them at times; `targets`: places that are predicted; `hidden`, row by row: 1
where the stream that doesn't know a token's own doesn't see the column.

    python parity/objectives/two_streams.py XLNET
"""

import importlib.util
import json
import pathlib
import sys
from unittest.mock import MagicMock

import numpy as np
import tensorflow.compat.v1 as tf

random = np.random.default_rng(5)
orders = []


def shuffle(index):
    """A random order, which is noted."""
    orders.append(random.permutation(len(index)))
    return tf.gather(index, orders[-1])


def published(root):
    """The module, without what it reads text with."""
    tf.random_shuffle = shuffle
    sys.modules |= {"tensorflow": tf, "prepro_utils": MagicMock()}
    spec = importlib.util.spec_from_file_location("data_utils", root / "data_utils.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


xlnet = published(pathlib.Path(sys.argv[1]))


def case(length):
    a = int(random.integers(1, length - 4))
    frame = [a, length - 2, length - 1]
    ids = np.arange(100, 100 + length)
    ids[frame] = [xlnet.SEP_ID, xlnet.SEP_ID, xlnet.CLS_ID]
    chosen = random.random(length) < 0.25
    orders.clear()
    hidden, _, targets, _, _ = xlnet._local_perm(tf.constant(ids), tf.constant(ids), tf.constant(chosen), length, length)
    places = lambda row: np.flatnonzero(row).tolist()
    return {
        "frame": frame,
        "order": orders[0].tolist(),
        "chosen": places(chosen),
        "targets": places(targets.numpy()),
        "hidden": "".join(str(int(one)) for one in hidden.numpy().flatten()),
    }


made = {"cases": [case(length) for length in (10, 16, 24, 40)]}
pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps(made, separators=(",", ":")) + "\n")
