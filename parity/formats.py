"""One small random BertForMaskedLM stored in the ways of different ages, for tests of the readers.

usage: python formats.py OUT_DIR        needs: torch, transformers==4.57.6, safetensors

OUT_DIR/CASE/ is a model directory; OUT_DIR/reference.safetensors holds in.input_ids, in.attention_mask, in.token_type_ids,
out.logits (the masked LM) and out.last_hidden_state, out.pooler_output (the body), the same for all. What each case is for: CASES below.
Every directory is read again by transformers before it counts.
"""
import argparse
import os
import shutil

import torch
import transformers as T
from safetensors.torch import save_file

V, H, L, A, F, P = 64, 16, 2, 4, 32, 16

CASES = {
    "as-2019": "pytorch_model.bin in the format before torch 1.6, LayerNorm.gamma/beta, decoder.weight present, a pooler and a next-sentence head that MLM does not use",
    "gamma-beta": "model.safetensors with LayerNorm.gamma/beta and without the tied decoder; otherwise as bert-base-uncased is published",
    "position-ids": "model.safetensors with the buffers embeddings.position_ids and embeddings.token_type_ids, decoder.weight and decoder.bias written out",
    "no-prefix": "model.safetensors of the bare body: no `bert.` in front, no head",
    "bin-zip": "pytorch_model.bin as torch >= 1.6 writes it, tied tensors sharing one storage",
    "bin-views": "pytorch_model.bin whose tensors are views: transposed, at an offset in one shared storage, strided",
    "bin-parameters": "pytorch_model.bin holding Parameter objects instead of tensors",
    "bin-sharded": "pytorch_model.bin.index.json and its shards",
    "safetensors-sharded": "model.safetensors.index.json and its shards",
    "f16": "model.safetensors in half precision (logits agree to 1e-2)",
    "bf16": "model.safetensors in bfloat16 (logits agree to 5e-2)",
    "bin-bf16": "pytorch_model.bin in bfloat16 (logits agree to 5e-2)",
}


def old_names(state):
    rename = lambda k: k.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
    return {rename(k): v for k, v in state.items()}


def views(state):
    """The same values behind strides: matrices as transposed views, vectors as every second element of one shared storage."""
    vectors = {k: v for k, v in state.items() if v.dim() == 1}
    shared = torch.full((2 * sum(len(v) for v in vectors.values()),), 7.0)
    out, at = {}, 0
    for k, v in state.items():
        if k in vectors:
            view = shared[at : at + 2 * len(v) : 2]
            view.copy_(v)
            out[k], at = view, at + 2 * len(v)
        else:
            out[k] = v.t().contiguous().t()
    return out


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("out")
    out = ap.parse_args().out
    T.logging.set_verbosity_error()
    torch.set_num_threads(1)
    torch.manual_seed(3)
    g = torch.Generator().manual_seed(4)
    cfg = T.BertConfig(vocab_size=V, hidden_size=H, num_hidden_layers=L, num_attention_heads=A, intermediate_size=F, max_position_embeddings=P)
    pre = T.BertForPreTraining(cfg).eval()  # has every part: body, pooler, MLM head, next-sentence head
    with torch.no_grad():
        for p in pre.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=g))
    full = {k: v.detach().clone() for k, v in pre.state_dict().items()}
    mlm_only = {k: v for k, v in full.items() if not k.startswith(("bert.pooler", "cls.seq_relationship"))}
    untied = {k: v for k, v in full.items() if not k.startswith("cls.predictions.decoder")}
    mlm = T.BertForMaskedLM(cfg).eval()
    mlm.load_state_dict({k: v for k, v in mlm_only.items()}, strict=True)

    def folder(case):
        d = os.path.join(out, case)
        shutil.rmtree(d, ignore_errors=True)
        os.makedirs(d)
        cfg.architectures = ["BertModel" if case == "no-prefix" else "BertForMaskedLM"]
        cfg.save_pretrained(d)
        return d

    safe = lambda case, state: save_file({k: v.contiguous().clone() for k, v in state.items()}, os.path.join(folder(case), "model.safetensors"), metadata={"format": "pt"})
    bin_ = lambda case, state, **kw: torch.save(state, os.path.join(folder(case), "pytorch_model.bin"), **kw)

    bin_("as-2019", old_names({k: v for k, v in full.items() if k != "cls.predictions.decoder.bias"}), _use_new_zipfile_serialization=False)
    safe("gamma-beta", old_names(untied))
    positions = torch.arange(P).unsqueeze(0)
    safe("position-ids", {"bert.embeddings.position_ids": positions, "bert.embeddings.token_type_ids": torch.zeros_like(positions), **full})
    safe("no-prefix", {k.removeprefix("bert."): v for k, v in full.items() if k.startswith("bert.")})
    bin_("bin-zip", pre.state_dict())
    bin_("bin-views", views(mlm_only))
    bin_("bin-parameters", {k: torch.nn.Parameter(v) for k, v in mlm_only.items()})
    mlm.save_pretrained(folder("bin-sharded"), safe_serialization=False, max_shard_size="12KB")
    mlm.save_pretrained(folder("safetensors-sharded"), max_shard_size="12KB")
    safe("f16", {k: v.half() for k, v in untied.items()})
    safe("bf16", {k: v.bfloat16() for k, v in untied.items()})
    bin_("bin-bf16", {k: v.bfloat16() for k, v in mlm_only.items()})

    ids = torch.randint(5, V, (2, 9), generator=g)
    mask = torch.ones_like(ids)
    ids[1, 6:], mask[1, 6:] = 0, 0
    x = dict(input_ids=ids, attention_mask=mask, token_type_ids=(torch.arange(9) > 4).long().expand(2, 9).contiguous())
    with torch.no_grad():
        logits, body = mlm(**x).logits, pre.bert(**x)
    ref = {"in." + k: v for k, v in x.items()} | {"out.logits": logits, "out.last_hidden_state": body.last_hidden_state, "out.pooler_output": body.pooler_output}
    save_file(ref, os.path.join(out, "reference.safetensors"), metadata={"class": "BertForMaskedLM"})

    real = mask.bool()
    for case in CASES:
        d = os.path.join(out, case)
        bound = 1e-2 if case == "f16" else 5e-2 if "bf16" in case else 1e-5
        with torch.no_grad():
            if case == "no-prefix":
                gap = (T.BertModel.from_pretrained(d).eval()(**x).last_hidden_state - body.last_hidden_state)[real].abs().max()
            else:
                gap = (T.BertForMaskedLM.from_pretrained(d, torch_dtype=torch.float32).eval()(**x).logits - logits)[real].abs().max()
        size = sum(os.path.getsize(os.path.join(d, f)) for f in os.listdir(d))
        print(f"{case:20} {size:7} bytes, differs by {gap:.1e}", sorted(os.listdir(d)))
        assert gap < bound, case


if __name__ == "__main__":
    main()
