"""XLNet's memory over three segments, as transformers computes it: tiny random models whose memory is shorter than a
segment (cut), joins the ends of two segments (joined), or keeps the first hidden states of a segment alone (reused).

usage: python memory.py OUT_DIR    (README.md: environment)

OUT_DIR/CASE/ holds the model as `save_pretrained` writes it and reference.safetensors with, for segment 0, 1 and 2,
  in.SEGMENT.ids, in.SEGMENT.types    [B, S], S of 11, 9 and 3
  out.SEGMENT.hidden                  last hidden states [B, S, H]
  out.SEGMENT.mems.LAYER              what is remembered after it, [B, M, H]
"""
import os
import sys

import torch
import transformers as T
from safetensors.torch import save_file

from dump import SIZES, configs

CASES = {
    "cut": dict(mem_len=4),
    "joined": dict(mem_len=15),
    "reused": dict(mem_len=15, reuse_len=7),
    "uni": dict(mem_len=15, attn_type="uni"),
    "uni-samelength": dict(mem_len=15, attn_type="uni", same_length=True, clamp_len=6),
}
LENGTHS = (11, 9, 3)


def write(case, out):
    z = SIZES["small"]
    cfg = configs(z)["xlnet"]
    for k, v in CASES[case].items():
        setattr(cfg, k, v)
    torch.manual_seed(1)
    g = torch.Generator().manual_seed(2)
    m = T.XLNetModel(cfg).eval()
    with torch.no_grad():  # biases and norms away from their trivial start values
        for p in m.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=g))
    d = os.path.join(out, case)
    m.save_pretrained(d)
    t, mems = {}, None
    for i, length in enumerate(LENGTHS):
        ids = torch.randint(5, z["V"], (z["B"], length), generator=g)
        types = (torch.arange(length) > length // 2).long().expand(z["B"], length).contiguous()
        with torch.no_grad():
            o = m(input_ids=ids, token_type_ids=types, mems=mems, use_mems=True)
        mems = o.mems
        t |= {f"in.{i}.ids": ids, f"in.{i}.types": types, f"out.{i}.hidden": o.last_hidden_state.contiguous()}
        t |= {f"out.{i}.mems.{layer}": x.transpose(0, 1).contiguous() for layer, x in enumerate(mems)}
    save_file(t, os.path.join(d, "reference.safetensors"), metadata={"kind": "segments", "case": case})
    print(case, "remembers", [t[f"out.{i}.mems.0"].shape[1] for i in range(len(LENGTHS))])


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    T.logging.set_verbosity_error()
    torch.set_num_threads(1)
    for case in CASES:
        write(case, sys.argv[1])
