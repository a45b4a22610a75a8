"""Small random models stored in the ways of different ages, for tests of the readers: a BertForMaskedLM, and a language model of each of
the families that aren't encoders.

usage: python formats.py OUT_DIR [FAMILY ...]        needs: torch, transformers==4.57.6, safetensors

OUT_DIR/CASE/ is a model directory; OUT_DIR/reference.safetensors holds in.input_ids, in.attention_mask, in.token_type_ids,
out.logits (the masked LM) and out.last_hidden_state, out.pooler_output (the body), the same for all. What each case is for: CASES below.
OUT_DIR/FAMILY/CASE/ and OUT_DIR/FAMILY/reference.safetensors are the same for the families of LANGUAGE_MODELS, with out.logits alone; a case whose files
hold other weights (no bias of logits) has a reference.safetensors of its own. What their cases are for: `layouts`.
Every directory is read again by transformers before it counts.
"""
import argparse
import json
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
            axes = list(range(v.dim()))[::-1]
            out[k] = v.permute(axes).contiguous().permute(axes)
    return out


BART = dict(vocab_size=40, d_model=8, encoder_layers=2, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=12,
            decoder_ffn_dim=12, max_position_embeddings=10)
T5 = dict(vocab_size=40, d_model=8, d_kv=4, d_ff=12, num_layers=2, num_decoder_layers=1, num_heads=2, relative_attention_num_buckets=8,
          relative_attention_max_distance=16, decoder_start_token_id=0)
GPT = dict(vocab_size=40, n_embd=8, n_layer=2, n_head=2, n_positions=10)
LANGUAGE_MODELS = {
    "gpt": lambda: T.OpenAIGPTLMHeadModel(T.OpenAIGPTConfig(**GPT)),
    "gpt2": lambda: T.GPT2LMHeadModel(T.GPT2Config(**GPT)),
    "xlnet": lambda: T.XLNetLMHeadModel(T.XLNetConfig(vocab_size=40, d_model=8, n_layer=2, n_head=2, d_inner=12)),
    "bart": lambda: T.BartForConditionalGeneration(T.BartConfig(**BART)),
    "mbart": lambda: T.MBartForConditionalGeneration(T.MBartConfig(**BART, scale_embedding=True)),
    "marian": lambda: T.MarianMTModel(T.MarianConfig(**BART, pad_token_id=1, decoder_start_token_id=1, eos_token_id=0, scale_embedding=True)),
    "t5": lambda: T.T5ForConditionalGeneration(T.T5Config(**T5)),
    "mt5": lambda: T.MT5ForConditionalGeneration(T.MT5Config(**T5)),
}


def layouts(family, state, tied):
    """The ways in which files of a family lie about: case, tensors, and how they are stored. `state` is everything that a model holds, `tied` what
    of it the files of today leave out."""
    today = {k: v for k, v in state.items() if k not in tied}
    yield "bin", state, "zip"  # torch >= 1.6: copies of tied weights, sharing one storage
    yield "bin-views", views(today), "2019"  # before torch 1.6: transposed and strided views
    bare = lambda s, prefix: {k.removeprefix(prefix): v for k, v in s.items()}
    ones = lambda *shape: torch.ones(shape)
    masks = lambda kind: {f"transformer.h.{i}.attn.bias": torch.ones(10, 10).tril().view(1, 1, 10, 10).to(kind) for i in range(2)}
    if family == "gpt":
        yield "no-prefix", bare(today, "transformer."), "safetensors"
        yield "as-2019", bare(today | masks(torch.float32), "transformer."), "2019"  # as published, the mask among the weights
    elif family == "gpt2":
        more = masks(torch.uint8) | {f"transformer.h.{i}.attn.masked_bias": torch.tensor(-1e4) for i in range(2)}
        yield "no-prefix", bare(today, "transformer."), "safetensors"
        yield "as-2019", bare(today | masks(torch.float32), "transformer."), "2019"  # gpt2 as published
        yield "as-2020", state | more, "zip"  # as GPT2LMHeadModel saved itself
    elif family == "xlnet":
        yield "as-2019", state, "2019"  # as published
    elif family in ("bart", "mbart", "marian"):
        body = {k: v for k, v in today.items() if k != "final_logits_bias"}
        yield "no-prefix", bare(body, "model."), "safetensors"  # the bare body
        version = {"model.encoder.version": ones(1) * 3, "model.decoder.version": ones(1) * 3}
        if family == "marian":
            yield "as-2020", state, "2019"  # positions that are computed, copies
        else:
            yield "as-2020", state | version, "2019"
            yield "no-bias", {k: v for k, v in (state | version).items() if k not in ("final_logits_bias", "lm_head.weight")}, "zip"
    else:
        more = {"decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight": ones(8, 2)}
        yield "as-2020", state | more, "2019"


def language_model(family, out):
    root = os.path.join(out, family)
    shutil.rmtree(root, ignore_errors=True)
    torch.manual_seed(5)
    g = torch.Generator().manual_seed(6)
    m = LANGUAGE_MODELS[family]().eval()
    with torch.no_grad():
        for p in m.parameters():
            if p.requires_grad:
                p.add_(0.1 * torch.randn(p.shape, generator=g))
        if hasattr(m, "final_logits_bias"):
            m.final_logits_bias.copy_(torch.randn(m.final_logits_bias.shape, generator=g))
    folder = lambda case: os.path.join(root, case)
    for case, safe in (("safetensors-sharded", True), ("bin-sharded", False)):
        m.save_pretrained(folder(case), safe_serialization=safe, max_shard_size="4KB")
        os.remove(os.path.join(folder(case), "generation_config.json"))
    state = m.state_dict()
    with open(os.path.join(folder("safetensors-sharded"), "model.safetensors.index.json")) as f:
        tied = set(state) - set(json.load(f)["weight_map"])
    biasless = set()
    for case, tensors, how in layouts(family, state, tied):
        os.makedirs(folder(case))
        if hasattr(m, "final_logits_bias") and "final_logits_bias" not in tensors:
            biasless.add(case)
        m.config.save_pretrained(folder(case))
        if how == "safetensors":
            save_file({k: v.contiguous().clone() for k, v in tensors.items()}, os.path.join(folder(case), "model.safetensors"), metadata={"format": "pt"})
        else:
            torch.save(tensors, os.path.join(folder(case), "pytorch_model.bin"), _use_new_zipfile_serialization=how == "zip")

    x = dict(input_ids=torch.randint(5, 40, (2, 7), generator=g), attention_mask=torch.ones(2, 7, dtype=torch.long))
    kind = "seq2seq" if m.config.is_encoder_decoder else "causal"
    if kind == "seq2seq":
        x["labels"] = torch.randint(5, 40, (2, 6), generator=g)
    run = lambda m: m.eval()(**x, **({"use_cache": False} if kind == "seq2seq" else {})).logits.detach().clone()
    keep = lambda d, logits: save_file({"in." + k: v for k, v in x.items()} | {"out.logits": logits}, os.path.join(d, "reference.safetensors"),
                                       metadata={"class": type(m).__name__, "kind": kind})
    logits = run(m)
    keep(root, logits)
    for case in sorted(os.listdir(root)):
        d = folder(case)
        if not os.path.isdir(d):
            continue
        again, info = type(m).from_pretrained(d, output_loading_info=True)
        missing = [k for k in info["missing_keys"] if not k.endswith("embed_positions.weight")]
        expected = logits
        if case in biasless:  # zero then
            expected = logits - m.final_logits_bias
            keep(d, expected)
        gap = (run(again) - expected).abs().max()
        size = sum(os.path.getsize(os.path.join(d, f)) for f in os.listdir(d))
        print(f"{family}/{case:20} {size:7} bytes, differs by {gap:.1e}", sorted(os.listdir(d)))
        assert gap < 1e-5 and not missing, (family, case, missing)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("out")
    ap.add_argument("families", nargs="*", help="bert or of the language models; none = all")
    a = ap.parse_args()
    T.logging.set_verbosity_error()
    torch.set_num_threads(1)
    for family in a.families or ["bert", *LANGUAGE_MODELS]:
        masked_model(a.out) if family == "bert" else language_model(family, a.out)


def masked_model(out):
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
