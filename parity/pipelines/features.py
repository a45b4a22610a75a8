"""Golden answers of transformers' feature-extraction pipeline on the models of make.py.

usage: python features.py        needs: torch, transformers==4.57.6; the directories beside this script

Writes FAMILY/features.json: a list of {"text", "output": what the pipeline returns, rounded to six digits}.
"""
import json
import os

from transformers import AutoModel, AutoTokenizer, pipeline

HERE = os.path.dirname(os.path.abspath(__file__))
TEXTS = ["The capital of France", "CAFÉ Müller isn't naïve 🍕", "a", "It is a very big city in the middle of the country."]

for family in ("bert", "distilbert", "electra", "roberta"):
    path = os.path.join(HERE, family)
    pipe = pipeline("feature-extraction", model=AutoModel.from_pretrained(path), tokenizer=AutoTokenizer.from_pretrained(path))
    cases = [{"text": t, "output": json.loads(json.dumps(pipe(t)), parse_float=lambda x: round(float(x), 6))} for t in TEXTS]
    with open(os.path.join(path, "features.json"), "w", encoding="utf-8") as f:
        json.dump(cases, f, ensure_ascii=False, separators=(",", ":"))
        f.write("\n")
