"""Golden token ids of transformers' generate() with a prefix_allowed_tokens_fn that hears which input of the batch it is asked for.

usage: python prefix.py DIR        needs: torch, transformers==4.57.6; DIR/FAMILY/ as make.py wrote them

DIR/prefix.json is {"prompts", "cases": [{"family", "options", "sequences": [[new ids] of all inputs in turn], "heard": [[input, tokens so far]]}]}; "heard" is sorted,
each call once. Of input i, after tokens of which the last is t and there are n, tokens x with (7x + 5i + t + n) mod 3 = 0 are allowed, and the end.
Cases are kept if f64 gives the same ids.
"""
import json
import os
import sys
import warnings

import torch
import transformers as T
from transformers.utils import logging

warnings.filterwarnings("ignore")
logging.set_verbosity_error()
V = 64
PROMPTS = [[9, 17, 33, 41, 8], [12, 50, 7, 7, 30], [25, 61, 22, 14, 19]]
OPTIONS = [{}, {"repetition_penalty": 1.4}, {"min_new_tokens": 6}, {"num_beams": 3}, {"num_beams": 4, "num_return_sequences": 2}, {"num_beams": 2, "no_repeat_ngram_size": 2}]
FAMILIES = {"gpt2": T.GPT2LMHeadModel, "gpt": T.OpenAIGPTLMHeadModel, "bart": T.BartForConditionalGeneration, "t5": T.T5ForConditionalGeneration}


def generate(model, given):
    heard = set()
    end = model.generation_config.eos_token_id

    def allowed(batch, tokens):
        tokens = tokens.tolist()
        heard.add((batch, tuple(tokens)))
        return sorted({x for x in range(V) if (7 * x + 5 * batch + tokens[-1] + len(tokens)) % 3 == 0} | {end})

    ids = torch.tensor(PROMPTS)
    with torch.no_grad():
        out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False, prefix_allowed_tokens_fn=allowed, **{"num_beams": 1, **given})
    start = 1 if model.config.is_encoder_decoder else ids.shape[1]
    rows = [row[: row.index(end) + 1] if end in row else row for row in out[:, start:].tolist()]
    return rows, sorted([batch, list(tokens)] for batch, tokens in heard)


cases, lost = [], 0
for family, kind in FAMILIES.items():
    model = kind.from_pretrained(os.path.join(sys.argv[1], family)).eval()
    double = kind.from_pretrained(os.path.join(sys.argv[1], family)).double().eval()
    for given in OPTIONS:
        (single, heard), (exact, _) = generate(model, given), generate(double, given)
        if single != exact:
            lost += 1
            continue
        # a row that has ended is asked on for as long as others go on, of which nothing comes
        cases.append({"family": family, "options": given, "sequences": single, **({"heard": heard} if not given else {})})
print(f"{len(cases)} cases, {lost} lost to rounding")
assert lost * 4 < len(cases)
with open(os.path.join(sys.argv[1], "prefix.json"), "w") as f:
    json.dump({"prompts": PROMPTS, "cases": cases}, f, separators=(",", ":"))
