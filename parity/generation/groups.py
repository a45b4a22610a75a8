"""Golden token ids of transformers' diverse beam search (groups of beams), which left transformers after 4.55.

usage: python groups.py DIR [FAMILY ...]        needs: torch, transformers==4.44.2; DIR/FAMILY/ as make.py wrote them

DIR/FAMILY/groups.json is a list as in cases.json; cases are kept if f64 gives the same ids.
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
PROMPTS = [[9, 17, 33, 41, 8], [25], [12, 50, 7, 7, 30, 61, 22, 14, 19]]


def options(eos):
    for beams, groups in ((2, 2), (4, 2), (4, 4), (6, 3), (6, 2)):
        for penalty in (0.1, 0.5, 2.0):
            yield {"num_beams": beams, "num_beam_groups": groups, "diversity_penalty": penalty, "num_return_sequences": beams}
    for more in ({"eos_token_id": eos}, {"eos_token_id": eos, "early_stopping": True}, {"eos_token_id": eos, "length_penalty": 2.0},
                 {"eos_token_id": eos, "length_penalty": 0.0}, {"no_repeat_ngram_size": 2}, {"repetition_penalty": 1.4},
                 {"eos_token_id": eos, "min_new_tokens": 8}, {"eos_token_id": eos, "num_return_sequences": 1}):
        yield {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 0.7, "num_return_sequences": 4, **more}


def generate(model, ids, given):
    ids = torch.tensor([ids])
    with torch.no_grad():
        out = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, return_dict_in_generate=True, output_scores=True,
                             **{"max_new_tokens": 24, **given})
    end = given.get("eos_token_id", model.generation_config.eos_token_id)
    start = 1 if model.config.is_encoder_decoder else ids.shape[1]
    rows = [row[: row.index(end) + 1] if end in row else row for row in out.sequences[:, start:].tolist()]
    return rows, out.sequences_scores.tolist()


FAMILIES = {"gpt2": T.GPT2LMHeadModel, "gpt": T.OpenAIGPTLMHeadModel, "bart": T.BartForConditionalGeneration, "mbart": T.MBartForConditionalGeneration,
            "marian": T.MarianMTModel, "t5": T.T5ForConditionalGeneration, "mt5": T.MT5ForConditionalGeneration,
            "xlnet": T.XLNetLMHeadModel}
for family in sys.argv[2:] or FAMILIES:
    kind = FAMILIES[family]
    dir = os.path.join(sys.argv[1], family)
    model = kind.from_pretrained(dir).eval()
    double = kind.from_pretrained(dir).double().eval()
    if family == "xlnet":  # it makes its positions and masks in f32 whatever the weights
        positions, prepare = double.transformer.relative_positional_encoding, double.prepare_inputs_for_generation
        wide = lambda x: x.double() if torch.is_tensor(x) and x.is_floating_point() else x
        double.transformer.relative_positional_encoding = lambda *args, **kwargs: positions(*args, **kwargs).double()
        double.prepare_inputs_for_generation = lambda *args, **kwargs: {k: wide(v) for k, v in prepare(*args, **kwargs).items()}
    double.register_forward_hook(lambda module, given, out: out.__setitem__("logits", out.logits.float()) or out)  # beams are scored in f32
    cases, lost = [], 0
    for i, ids in enumerate(PROMPTS):
        (said,), _ = generate(model, ids, {"num_beams": 2, "num_beam_groups": 2, "diversity_penalty": 0.1, "num_return_sequences": 1})
        eos = list(dict.fromkeys(said))[min(4, len(set(said)) - 1)]
        for number, given in enumerate(options(eos)):
            (single, scores), (exact, _) = generate(model, ids, given), generate(double, ids, given)
            if single != exact:
                lost += 1
                continue
            cases.append({"name": f"groups {number}, prompt {i}", "prompt": ids, "options": given, "sequences": single, "scores": scores})
    print(f"{family}: {len(cases)} cases, {lost} lost to rounding")
    assert lost * 3 < len(cases)
    json.dump(cases, open(os.path.join(dir, "groups.json"), "w"), separators=(",", ":"))
