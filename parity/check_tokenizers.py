"""Opens tokenizers that `ptm tokenizer train` wrote in transformers, and compares ids and texts with ptm's own.

usage: python check_tokenizers.py PTM TEXT_FILE DIR...        needs: transformers==4.57.6; PTM is the program

The first 500 lines of TEXT_FILE and some odd strings are encoded by both, with special tokens, and decoded again.
"""
import json
import subprocess
import sys

from transformers import AutoTokenizer

ODD = ["", " ", "CAFÉ Müller isn't naïve 🍕", "[MASK] <mask> </s> <pad>", "a\tb\nc  d", "北京 ☃ 3.14%", "x" * 300]

ptm, text, *directories = sys.argv[1:]
with open(text, encoding="utf-8") as f:
    texts = [line.rstrip("\n") for line, _ in zip(f, range(500))] + ODD
texts = [t for t in texts if t.strip()]
for directory in directories:
    tokenizer = AutoTokenizer.from_pretrained(directory)
    ours = subprocess.run([ptm, "tokenizer", "encode", "--json", "--tokenizer", directory, "--", *texts], check=True, capture_output=True, text=True).stdout.splitlines()
    wrong = 0
    for t, line in zip(texts, ours, strict=True):
        ids, theirs = json.loads(line)["ids"], tokenizer(t)["input_ids"]
        if ids != theirs:
            wrong += 1
            print(f"{directory}: {t!r}\n  ptm {ids}\n  transformers {theirs}")
    print(f"{directory}: {type(tokenizer).__name__}, {len(tokenizer)} tokens, {len(texts) - wrong} of {len(texts)} texts are the same")
    if wrong:
        raise SystemExit(1)
