"""Opens model directories that ptm wrote in transformers and compares their outputs with the reference dump.

usage: python check_written.py DUMPS_DIR WRITTEN_DIR [case ...] [--tolerance 1e-5]

WRITTEN_DIR/CASE/ is the model of DUMPS_DIR/CASE/, read and written by ptm. Each must load without missing or unexpected
weights, with the class that the dump names, and give the dump's outputs within the tolerance (absolute or relative to the largest
value) at every position that is no padding. The index of a model in shards must say of each tensor which file holds it, and how many
bytes there are. Prints a line a case; exit code 1 when any fails.
"""
import argparse
import json
import os
import sys

import torch
import transformers as T
from safetensors import safe_open
from safetensors.torch import load_file

from dump import class_of


def check_index(written):
    """What is wrong with the index of a model in shards."""
    path = os.path.join(written, "model.safetensors.index.json")
    if not os.path.exists(path):
        return None
    with open(path) as f:
        index = json.load(f)
    total, found = 0, {}
    for file in sorted(set(index["weight_map"].values())):
        tensors = load_file(os.path.join(written, file))
        total += sum(t.numel() * t.element_size() for t in tensors.values())
        found |= dict.fromkeys(tensors, file)
    shards = [f for f in sorted(os.listdir(written)) if f.endswith(".safetensors")]
    if found != index["weight_map"] or total != index["metadata"]["total_size"] or shards != sorted(set(found.values())):
        return f"the index says {index}, the files hold {total} bytes: {found}, the folder {shards}"
    return None


def check(dump, written, tolerance):
    wrong = check_index(written)
    if wrong:
        return wrong
    with safe_open(os.path.join(dump, "reference.safetensors"), "pt") as f:
        meta = f.metadata()
        x = {k[3:]: f.get_tensor(k) for k in f.keys() if k.startswith("in.")}
        want = {k[4:]: f.get_tensor(k) for k in f.keys() if k.startswith("out.")}
    cls = class_of(meta["class"])
    config = T.AutoConfig.from_pretrained(written)
    if cls.__name__ not in (config.architectures or []):
        return f"config.json says architectures {config.architectures}, the model is a {cls.__name__}"
    model, info = cls.from_pretrained(written, attn_implementation="eager", output_loading_info=True)
    for what in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        wrong = [k for k in info[what] if not (meta["class"].startswith("Marian") and k.endswith("embed_positions.weight"))]  # computed on loading
        if not config.tie_word_embeddings:  # BART's two sides have embeddings of their own then, this one is without use
            wrong = [k for k in wrong if k != "model.shared.weight"]
        if wrong:
            return f"{what}: {sorted(wrong)}"
    labels = ("labels", "next_sentence_label", "start_positions", "end_positions")
    with torch.no_grad():
        more = {"use_cache": False} if hasattr(model.config, "decoder_layers") and meta["kind"] != "encoder" else {}
        if meta["kind"] == "seq2seq":  # labels become the decoder's input
            more["labels"] = x["labels"]
        real = x["attention_mask"].bool()
        x = {k: v for k, v in x.items() if k not in labels}
        if getattr(config, "attn_type", "bi") == "uni":
            x.pop("attention_mask")
        if meta["kind"] == "memory":
            first = dict(input_ids=x.pop("first_ids"), token_type_ids=x.pop("first_types"))
            more = dict(mems=model.eval()(**first, use_mems=True).mems, use_mems=True)
        got = model.eval()(**x, **more)
    worst = 0.0
    for name, a in want.items():
        b = got[name].float()
        if a.shape != b.shape:
            return f"{name}: shape {tuple(b.shape)}, expected {tuple(a.shape)}"
        if a.shape[: real.dim()] == real.shape:
            a, b = a[real], b[real]
        worst = max(worst, ((a - b).abs().max() / a.abs().max().clamp(min=1.0)).item())
    return worst if worst <= tolerance else f"outputs differ by {worst:.2e}"


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("dumps")
    ap.add_argument("written")
    ap.add_argument("cases", nargs="*")
    ap.add_argument("--tolerance", type=float, default=1e-5)
    a = ap.parse_intermixed_args()
    T.logging.set_verbosity_error()
    torch.set_num_threads(1)
    cases = a.cases or sorted(c for c in os.listdir(a.written) if os.path.exists(os.path.join(a.dumps, c, "reference.safetensors")))
    if not cases:
        sys.exit(f"{a.written} has no folder named as one in {a.dumps}")
    failed = 0
    for case in cases:
        try:
            result = check(os.path.join(a.dumps, case), os.path.join(a.written, case), a.tolerance)
        except Exception as e:  # any way of not opening is a failure of this case, not of the run
            result = f"{type(e).__name__}: {e}"
        ok = isinstance(result, float)
        failed += not ok
        print(f"{'ok    ' if ok else 'FAILED'} {case:26} {f'largest difference {result:.1e}' if ok else result}", flush=True)
    print(f"{len(cases) - failed} of {len(cases)} agree")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
