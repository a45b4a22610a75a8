"""Golden answers of transformers' feature-extraction pipeline on the models of make.py and generation/make.py.

usage: python features.py [FAMILY ...]        needs: torch, transformers==4.57.6, sentencepiece; the directories beside this script

Writes FAMILY/features.json: a list of {"text", "output": what the pipeline returns, rounded to six digits (five for those of generation)}.
The pipeline opens a directory as AutoModel. Of GPT-2 and XLNet that is all there is; of BART and mBART it gives the decoder's hidden
states, which reads the text moved right. T5's and Marian's decoders find nothing to read: the pipeline fails, which is made sure of,
and the answers are those that it gives with their encoders.
"""
import json
import os
import sys

from transformers import AutoModel, AutoTokenizer, T5EncoderModel, pipeline

HERE = os.path.dirname(os.path.abspath(__file__))
TEXTS = ["The capital of France", "CAFÉ Müller isn't naïve 🍕", "a", "It is a very big city in the middle of the country."]
FAMILIES = ["bert", "distilbert", "electra", "roberta"] + ["generation/" + f for f in ("gpt2", "bart", "mbart", "marian", "t5", "xlnet")]


def opened(family, path, tokenizer):
    """The pipeline, over the encoder alone where it fails otherwise."""
    model = AutoModel.from_pretrained(path)
    if not family.endswith(("/t5", "/marian")):
        return pipeline("feature-extraction", model=model, tokenizer=tokenizer)
    try:
        pipeline("feature-extraction", model=model, tokenizer=tokenizer)("a")
    except ValueError:
        encoder = T5EncoderModel.from_pretrained(path) if family.endswith("/t5") else model.get_encoder()
        return pipeline("feature-extraction", model=encoder.eval(), tokenizer=tokenizer, framework="pt")
    raise SystemExit(f"{family}: the pipeline answers, so its answer is the one to keep to")


for family in sys.argv[1:] or FAMILIES:
    path = os.path.join(HERE, family)
    pipe = opened(family, path, AutoTokenizer.from_pretrained(path))
    digits = 5 if "/" in family else 6
    cases = [{"text": t, "output": json.loads(json.dumps(pipe(t)), parse_float=lambda x: round(float(x), digits))} for t in TEXTS]
    with open(os.path.join(path, "features.json"), "w", encoding="utf-8") as f:
        json.dump(cases, f, ensure_ascii=False, separators=(",", ":"))
        f.write("\n")
    print(family, [len(case["output"][0]) for case in cases])
