"""What transformers makes of target texts (`text_target`): Marian's own segmentation, mBART's language around it.

    python parity/tokenizers/targets.py

Takes the files of `cases/` that `make.py` made; writes `targets/target.spm` and `targets/vocab.json` (Marian with another
model for what it says) and the answers, `targets/golden.json`. Needs transformers and sentencepiece.
"""

import io
import json
import re
import shutil
import tempfile
from pathlib import Path

import sentencepiece
import transformers

transformers.logging.set_verbosity_error()
HERE = Path(__file__).parent
CASES, TARGETS = HERE / "cases", HERE / "targets"

TEXTS = [
    "Hello, world!",
    "  leading and trailing spaces   ",
    "Licensed under the Apache License, Version 2.0",
    "dna noitubirtsid lufwalnu elbaveilebnu",
    ">>fra<< the work and derivative works",
    "</s> a <unk> b <pad> </s>",
    "naïve café, Ångström",
    "中文 and 日本語",
    "nur ziel",
    "en_XX ro_RO",
    "x" * 60,
]


def marian(folder):
    """The files of the case with a target model of words spelt backwards, and ids for the pieces of both."""
    shutil.copytree(CASES / "marian" / "oldest", folder, dirs_exist_ok=True)
    text = (HERE.parent.parent / "LICENSE").read_text(encoding="utf-8")
    backwards = [" ".join(word[::-1] for word in line.split()) for line in text.splitlines() if line.strip()]
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(backwards), model_writer=model, vocab_size=300, model_type="unigram", num_threads=1,
        normalization_rule_name="identity", minloglevel=2)
    (folder / "target.spm").write_bytes(model.getvalue())
    pieces = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    ids = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    for i in range(3, len(pieces)):
        # some pieces of either model have no id
        if i % 13:
            ids.setdefault(pieces.id_to_piece(i), len(ids))
    (folder / "vocab.json").write_text(json.dumps(ids, ensure_ascii=False), encoding="utf-8")
    for name in ("target.spm", "vocab.json"):
        shutil.copy(folder / name, TARGETS / name)
    return transformers.MarianTokenizer.from_pretrained(folder)


def mbart(folder, kind):
    """mBART's file with languages named, as the class `kind` reads it."""
    shutil.copy(CASES / "mbart" / "oldest" / "sentencepiece.bpe.model", folder)
    return getattr(transformers, kind).from_pretrained(folder, src_lang="en_XX", tgt_lang="ro_RO")


def main():
    TARGETS.mkdir(exist_ok=True)
    golden = {}
    for kind in ("MarianTokenizer", "MBartTokenizerFast", "MBart50TokenizerFast"):
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            tokenizer = marian(folder) if kind == "MarianTokenizer" else mbart(folder, kind)
            golden[kind] = [
                {
                    "text": text,
                    "source": tokenizer(text)["input_ids"],
                    "target": tokenizer(text_target=text)["input_ids"],
                    "cut": tokenizer(text_target=text, truncation=True, max_length=5)["input_ids"],
                }
                for text in TEXTS
            ]
    answers = json.dumps(golden, ensure_ascii=False)
    # a line each
    (TARGETS / "golden.json").write_text(re.sub(r"\}, \{", "},\n{", answers) + "\n", encoding="utf-8")


main()
