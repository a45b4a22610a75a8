"""Golden token ids of transformers' generate() on small random models of every family, and golden scores of its logits processors.

usage: python make.py OUT_DIR [--only FAMILY]       needs: torch, transformers==4.57.6

OUT_DIR/FAMILY/ is a model directory without a tokenizer; its cases.json is a list of
  {"name", "prompt": [ids], "options": {generate's own names}, "sequences": [[new ids] of each returned sequence], "scores": [of beams]}
For encoder-decoders "prompt" is the source. Every case is generated in f32 and in f64 and kept only if both give the same ids, so that what
is compared does not hang on rounding; a family that loses more than a third of its cases ends the script.
OUT_DIR/processors.json lists {"name", "options", "prompt", "tokens", "scores", "processed"}: null stands for minus infinity.
"""
import argparse
import json
import math
import os
import shutil
import warnings

import torch
import transformers as T
from transformers.generation import logits_process as P
from transformers.utils import logging

warnings.filterwarnings("ignore")
logging.set_verbosity_error()

V, H, L, A, F, N = 64, 32, 2, 4, 64, 96
STD = 0.4  # wide: random models whose choices are clear and change with the text


def models():
    gpt = dict(vocab_size=V, n_positions=N, n_embd=H, n_layer=L, n_head=A, initializer_range=STD, bos_token_id=1, eos_token_id=2)
    yield "gpt2", T.GPT2LMHeadModel, T.GPT2Config(**gpt, n_inner=F)
    yield "gpt", T.OpenAIGPTLMHeadModel, T.OpenAIGPTConfig(**gpt)
    bart = dict(vocab_size=V, d_model=H, encoder_layers=L, decoder_layers=L, encoder_attention_heads=A, decoder_attention_heads=A,
                encoder_ffn_dim=F, decoder_ffn_dim=F, max_position_embeddings=N, init_std=STD, pad_token_id=1, bos_token_id=0, eos_token_id=2,
                decoder_start_token_id=2, forced_eos_token_id=None)
    yield "bart", T.BartForConditionalGeneration, T.BartConfig(**bart)
    yield "mbart", T.MBartForConditionalGeneration, T.MBartConfig(**bart)
    yield "marian", T.MarianMTModel, T.MarianConfig(**{**bart, "pad_token_id": 3, "decoder_start_token_id": 3, "eos_token_id": 0})
    t5 = dict(vocab_size=V, d_model=H, d_kv=8, d_ff=F, num_layers=L, num_heads=A, relative_attention_num_buckets=8,
              relative_attention_max_distance=16, initializer_factor=3.0, pad_token_id=0, eos_token_id=1, decoder_start_token_id=0)
    yield "t5", T.T5ForConditionalGeneration, T.T5Config(**t5)
    yield "mt5", T.MT5ForConditionalGeneration, T.MT5Config(**t5, feed_forward_proj="gated-gelu", tie_word_embeddings=False)
    yield "xlnet", T.XLNetLMHeadModel, T.XLNetConfig(vocab_size=V, d_model=H, n_layer=L, n_head=A, d_inner=F, initializer_range=STD,
                                                     bos_token_id=1, eos_token_id=2, pad_token_id=5)


PROMPTS = [[9, 17, 33, 41, 8], [25], [12, 50, 7, 7, 30, 61, 22, 14, 19], [40, 41, 42]]


def options(eos, common, is_pair):
    """Sets of options; `eos` is a token that a model really says, `common` others."""
    yield "greedy", {}
    yield "greedy to the end", {"eos_token_id": eos}
    yield "several ends", {"eos_token_id": [eos, common[0]], "max_new_tokens": 20}
    yield "no end before", {"eos_token_id": eos, "min_new_tokens": 9}
    yield "min length", {"eos_token_id": eos, "min_length": 12}
    yield "max length", {"max_length": 16, "max_new_tokens": None}
    yield "repetition", {"repetition_penalty": 1.4}
    yield "repetition below one", {"repetition_penalty": 0.8}
    yield "no repeated pairs", {"no_repeat_ngram_size": 2}
    yield "no repeated tokens", {"no_repeat_ngram_size": 1}
    yield "bad words", {"bad_words_ids": [[common[0]], [common[1], common[2]], [eos, common[0], common[1]]]}
    yield "suppressed", {"suppress_tokens": common[:3]}
    yield "suppressed at the start", {"begin_suppress_tokens": common + [eos]}
    yield "forced end", {"forced_eos_token_id": eos, "eos_token_id": eos}
    yield "decay", {"exponential_decay_length_penalty": (3, 1.3), "eos_token_id": eos}
    yield "renormalised", {"repetition_penalty": 1.4, "renormalize_logits": True}
    if is_pair:
        yield "forced start", {"forced_bos_token_id": common[1]}
        yield "nothing of the source", {"encoder_no_repeat_ngram_size": 1}
        yield "more of the source", {"encoder_repetition_penalty": 1.6}
    for beams in (2, 4):
        yield f"{beams} beams", {"num_beams": beams, "eos_token_id": eos}
    beam = {"num_beams": 4, "eos_token_id": eos}
    yield "beams without end", {"num_beams": 3}
    yield "beams, all returned", {**beam, "num_return_sequences": 4}
    yield "beams, three returned, many ends", {**beam, "num_return_sequences": 3, "eos_token_id": [eos] + common[:2]}
    for early in (True, "never"):
        for penalty in (1.0, 2.0, 0.0, -1.0):
            yield f"beams, early {early}, penalty {penalty}", {**beam, "early_stopping": early, "length_penalty": penalty}
    for penalty in (2.0, 0.0, -1.0):
        yield f"beams, penalty {penalty}", {**beam, "length_penalty": penalty}
    yield "beams, no repeated pairs", {**beam, "no_repeat_ngram_size": 2}
    yield "beams, repetition", {**beam, "repetition_penalty": 1.3}
    yield "beams, no end before", {**beam, "min_new_tokens": 8}
    yield "beams, bad words", {**beam, "bad_words_ids": [[common[0]], [common[1], common[2]]]}
    yield "beams, forced end", {**beam, "forced_eos_token_id": eos}
    yield "beams, long", {**beam, "max_new_tokens": 40, "length_penalty": 1.5}
    if is_pair:
        yield "beams, forced start", {**beam, "forced_bos_token_id": common[1]}
        yield "beams, forced start, two returned", {**beam, "forced_bos_token_id": common[1], "num_return_sequences": 2}


def generate(model, ids, given):
    given = {"max_new_tokens": 24, "do_sample": False, "num_beams": 1, **given}
    given = {k: v for k, v in given.items() if v is not None}
    is_pair = model.config.is_encoder_decoder
    ids = torch.tensor([ids])
    with torch.no_grad():
        out = model.generate(ids, attention_mask=torch.ones_like(ids), return_dict_in_generate=True, output_scores=True, **given)
    start = 1 if is_pair else ids.shape[1]
    ends = given.get("eos_token_id", model.generation_config.eos_token_id)
    ends = ends if isinstance(ends, list) else [ends]
    said = []
    for row in out.sequences[:, start:].tolist():
        at = next((i for i, t in enumerate(row) if t in ends), len(row) - 1)
        said.append(row[: at + 1])  # what follows the end is padding
    scores = getattr(out, "sequences_scores", None)
    return said, None if scores is None else scores.tolist()


def contrastive(model, ids, k, alpha, count, eos):
    """Contrastive search by its definition (Su et al. 2022, eq. 5), everything computed anew at each step."""
    is_pair = model.config.is_encoder_decoder
    source = torch.tensor([ids])
    said = [model.config.decoder_start_token_id] if is_pair else list(ids)
    start = len(said)

    def run(rows):
        given = {"output_hidden_states": True}
        given |= {"input_ids": source.repeat(len(rows), 1), "decoder_input_ids": torch.tensor(rows)} if is_pair else {"input_ids": torch.tensor(rows)}
        out = model(**given)
        return out.logits[:, -1], (out.decoder_hidden_states if is_pair else out.hidden_states)[-1]

    with torch.no_grad():
        while len(said) - start < count:
            logits, _ = run([said])
            p, candidates = logits[0].softmax(-1).topk(k)
            _, hidden = run([said + [c] for c in candidates.tolist()])
            unit = hidden / hidden.norm(dim=-1, keepdim=True)
            likeness = (unit[:, :-1] * unit[:, -1:]).sum(-1).amax(-1)
            best = ((1 - alpha) * p - alpha * likeness).argmax()
            said.append(candidates[best].item())
            if said[-1] == eos:
                break
    return [said[start:]], None


def save(model, dir):
    shutil.rmtree(dir, ignore_errors=True)
    model.save_pretrained(dir)
    path = os.path.join(dir, "config.json")
    config = json.load(open(path))
    config.pop("_name_or_path", None)
    json.dump(config, open(path, "w"), indent=1)


def family(name, kind, config, out):
    torch.manual_seed(7)
    model = kind(config).eval()
    with torch.no_grad():
        for at, p in model.named_parameters():
            if p.dim() == 1 and "norm" not in at.lower() and "ln_" not in at:
                p.normal_(0, STD / 2)
    save(model, os.path.join(out, name))
    double = kind.from_pretrained(os.path.join(out, name)).double().eval()
    if name == "xlnet":  # it makes its positions and masks in f32 whatever the weights
        positions = double.transformer.relative_positional_encoding
        double.transformer.relative_positional_encoding = lambda *args, **kwargs: positions(*args, **kwargs).double()
        prepare = double.prepare_inputs_for_generation
        wide = lambda x: x.double() if torch.is_tensor(x) and x.is_floating_point() else x
        double.prepare_inputs_for_generation = lambda *args, **kwargs: {k: wide(v) for k, v in prepare(*args, **kwargs).items()}
    is_pair = model.config.is_encoder_decoder
    cases, lost = [], []

    def add(name, ids, given, run):
        (single, scores), (exact, _) = run(model), run(double)
        if single != exact:
            return lost.append(name)
        cases.append({"name": name, "prompt": ids, "options": given, "sequences": single, **({"scores": scores} if scores else {})})

    for i, ids in enumerate(PROMPTS):
        (said,), _ = generate(model, ids, {"max_new_tokens": 40, "eos_token_id": None} if not is_pair else {"max_new_tokens": 40})
        seen = list(dict.fromkeys(said))
        eos, others = seen[min(5, len(seen) - 1)], [t for t in seen if t != seen[min(5, len(seen) - 1)]]
        others = (others + [11, 13, 29])[:3]
        for label, given in options(eos, others, is_pair):
            if (label.startswith("max length") or label == "min length") and name == "xlnet":
                continue
            add(f"{label}, prompt {i}", ids, {**given}, lambda m: generate(m, ids, given))
        for k, alpha in ((4, 0.6), (2, 0.3)) if name != "xlnet" else ():
            given = {"penalty_alpha": alpha, "top_k": k, "max_new_tokens": 12, "eos_token_id": eos}
            add(f"contrastive {k}, prompt {i}", ids, given, lambda m: contrastive(m, ids, k, alpha, 12, eos))
    ends = sum(len(c["sequences"][0]) < 24 for c in cases)
    print(f"{name}: {len(cases)} cases, {len(lost)} lost to rounding, {ends} end early, {len({tuple(c['sequences'][0]) for c in cases})} distinct")
    assert len(lost) * 3 < len(cases), lost
    json.dump(cases, open(os.path.join(out, name, "cases.json"), "w"), separators=(",", ":"))


def processors(out):
    torch.manual_seed(3)
    rows = []
    prompt = [4, 9, 9, 1]
    tokens = prompt + [7, 4, 9, 30, 31, 7, 4]
    eos = 2
    makers = {
        "repetition_penalty": [(p, P.RepetitionPenaltyLogitsProcessor(p)) for p in (1.3, 0.7)],
        "no_repeat_ngram_size": [(n, P.NoRepeatNGramLogitsProcessor(n)) for n in (1, 2, 3)],
        "bad_words_ids": [(w, P.NoBadWordsLogitsProcessor(w, torch.tensor([eos]))) for w in ([[5], [7, 4, 20], [2], [9, 1]],)],
        "suppress_tokens": [(s, P.SuppressTokensLogitsProcessor(s)) for s in ([0, 5, 63],)],
        "temperature": [(t, P.TemperatureLogitsWarper(t)) for t in (0.5, 1.7)],
        "top_k": [(k, P.TopKLogitsWarper(k)) for k in (1, 5, 1000)],
        "top_p": [(p, P.TopPLogitsWarper(p)) for p in (0.1, 0.5, 0.9, 0.999)],
        "typical_p": [(p, P.TypicalLogitsWarper(p)) for p in (0.2, 0.5, 0.95)],
        "min_p": [(p, P.MinPLogitsWarper(p)) for p in (0.02, 0.3, 1.0)],
        "epsilon_cutoff": [(e, P.EpsilonLogitsWarper(e)) for e in (0.001, 0.02, 0.5)],
        "eta_cutoff": [(e, P.EtaLogitsWarper(e)) for e in (0.0003, 0.05, 0.4)],
        "exponential_decay_length_penalty": [(d, P.ExponentialDecayLengthPenalty(d, [eos], len(prompt))) for d in ((3, 1.2), (30, 1.2))],
        "encoder_repetition_penalty": [(p, P.EncoderRepetitionPenaltyLogitsProcessor(p, torch.tensor([prompt]))) for p in (1.5,)],
        "encoder_no_repeat_ngram_size": [(n, P.EncoderNoRepeatNGramLogitsProcessor(n, torch.tensor([prompt]))) for n in (1, 2)],
    }
    for name, list_of in makers.items():
        for value, processor in list_of:
            for scale in (1.0, 4.0):
                scores = torch.randn(1, V) * scale
                after = processor(torch.tensor([tokens]), scores.clone())[0].tolist()
                rows.append({"name": name, "value": value, "eos": eos, "prompt": prompt, "tokens": tokens, "scores": scores[0].tolist(),
                             "processed": [None if math.isinf(x) else x for x in after]})
    json.dump(rows, open(os.path.join(out, "processors.json"), "w"), separators=(",", ":"))
    print(f"processors: {len(rows)} rows")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("out")
    parser.add_argument("--only", help="this family alone")
    args = parser.parse_args()
    os.makedirs(args.out, exist_ok=True)
    if not args.only:
        processors(args.out)
    for name, kind, config in models():
        if args.only in (None, name):
            family(name, kind, config, args.out)
