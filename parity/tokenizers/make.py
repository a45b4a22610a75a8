"""Builds small tokenizers of every published kind, old files and new, and what transformers answers on hard text.

    python parity/tokenizers/make.py

Writes `cases/KIND/AGE/` (the files of a model directory) and `golden/*.json` (answers; ages that agree share a file).
Needs transformers, tokenizers and sentencepiece. The training text is the LICENSE file and the sample itself.
"""

import io
import json
import os
import shutil
import unicodedata
import warnings
from pathlib import Path

os.environ["TOKENIZERS_PARALLELISM"] = "false"
warnings.filterwarnings("ignore")

import sentencepiece
import transformers
from tokenizers import ByteLevelBPETokenizer, BertWordPieceTokenizer
from transformers import AutoTokenizer

transformers.logging.set_verbosity_error()
HERE = Path(__file__).parent
CASES = HERE / "cases"
GOLDEN = HERE / "golden"
LICENSE = (HERE.parent.parent / "LICENSE").read_text(encoding="utf-8")

TEXTS = [
    "",
    " ",
    "   \t\n  ",
    "Hello, world!",
    "  leading and trailing spaces   ",
    "many    spaces  between\twords\nand\r\nlines\n\n\nmore",
    "It's John's dog, isn't it? We've said: \"don't\" -- `` quoted '' 1,000 3.14 9,",
    "naïve café résumé Ångström ÀÉÎÕÜ ß ñ İstanbul ŒUVRE",
    "e\u0301 a\u0308\u0304 n\u0303o combining, Z\u0310\u0351\u036ba\u0342\u0328lgo",
    "中文字符和英文mixed文本，日本語のテキスト、한국어 문장입니다。",
    "한글 자모 \u1112\u1161\u11ab\u1100\u1173\u11af",
    "العربية نص مع תַּנַ״ךְ עברית and back",
    "हिन्दी में ক্ষমা ไทยไม่มีเว้นวรรค",
    "emoji 😀 👨‍👩‍👧‍👦 🏳️‍🌈 👍🏽 🇩🇪 ❤️ done",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𝒜 𐍈 𠮷野家 🂡",
    "zero\u200bwidth\u200djoin\u200cner\ufeffbom\u00adsoft\u2060word",
    "control\x00\x01\x07\x1b\x7f\x85chars\ufffd\ufffe end",
    "nbsp\u00a0em\u2003thin\u2009ideo\u3000line\u2028para\u2029x",
    "ﬁne ﬂow ﬃ Ａｂｃ１２３ ｶﾞ ① ½ ㎏ ™ Ⅷ",
    "RTL \u202eoverride\u202c and \u2066isolate\u2069",
    "x" * 99 + " " + "y" * 100 + " " + "z" * 101,
    "http://www.apache.org/licenses/LICENSE-2.0?a=b&c=[d]#e_f-g~h",
    "a.b.c...!!!???;;;((()))[[[]]]{{{}}}<<<>>>@#$%^&*+=|\\/",
    "unaffable unbelievable redistribution DISTRIBUTION Redistribution",
    "[CLS] x [SEP] [MASK] [PAD] [UNK] [mask]y[MASK]z",
    "<s> a </s> <mask> b<mask>c <pad> <unk> <|endoftext|>",
    "<extra_id_0> and <extra_id_1>!<sep><cls> <eop> <eod> en_XX",
    "<new> new<new>word <New> <extra> <EXTRA>",
    "▁literal ▁▁ marks ##prefix Ġspace",
    "ends with newline\n",
    "\nstarts with newline",
    "1 22 333 4444 55555 ٣٤ ४५ Ⅳ ²³",
    "i'm I'M we'll WE'LL they'd 'quoted' ’curly’ “double”",
    "The Licensor shall not be liable for any damages, including direct or indirect.",
    "\U0001F469\u200D\U0001F4BB\uFE0F\u20E3 tag\U000E0067\U000E007F",
]

PAIRS = [
    ("The work and derivative works", "of the Licensor, under the License"),
    ("", "second only"),
    ("first only", ""),
    ("", ""),
    ("中文 😀", " e\u0301 <mask>[MASK] x"),
]

LONG = "Subject to the terms of this License, each Contributor grants to You a naïve 中文 😀 copyright license."
SHORT = "What does each Contributor grant to You?"

# (first, second, strategy, max_length, stride, keep windows, side)
CUTS = [
    (LONG, None, "longest_first", 16, 0, False, "right"),
    (LONG, None, "longest_first", 16, 5, True, "right"),
    (LONG, None, "only_first", 12, 3, True, "left"),
    (LONG, None, "longest_first", 4, 0, False, "left"),
    (SHORT, LONG, "only_second", 40, 8, True, "right"),
    (LONG, SHORT, "only_first", 42, 8, True, "right"),
    (SHORT, LONG, "longest_first", 25, 0, False, "right"),
    (LONG, SHORT, "longest_first", 33, 0, False, "right"),
    (LONG, LONG, "longest_first", 17, 0, False, "right"),
    (SHORT, LONG, "longest_first", 26, 2, True, "right"),
]


def corpus():
    lines = LICENSE.splitlines()
    for text in TEXTS[3:20] + TEXTS[21:24] + TEXTS[29:34]:
        lines += [" ".join(text.split())] * 4
    return [line.strip() for line in lines if line.strip()]


def clean(text):
    return "".join(c for c in text if unicodedata.category(c) not in ("Cc", "Cs", "Cn"))


def write(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        if isinstance(content, bytes):
            (folder / name).write_bytes(content)
        elif isinstance(content, str):
            (folder / name).write_text(content, encoding="utf-8")
        else:
            (folder / name).write_text(json.dumps(content, ensure_ascii=False) + "\n", encoding="utf-8")


# The small vocabularies.

def wordpiece_vocab(lower):
    trainer = BertWordPieceTokenizer(lowercase=lower)
    trainer.train_from_iterator(corpus(), vocab_size=1200, show_progress=False, limit_alphabet=400)
    vocab = trainer.get_vocab()
    return "".join(token + "\n" for token in sorted(vocab, key=vocab.get))


def byte_bpe(specials):
    trainer = ByteLevelBPETokenizer()
    trainer.train_from_iterator(corpus(), vocab_size=700, show_progress=False, special_tokens=specials)
    folder = CASES / "tmp"
    folder.mkdir(parents=True, exist_ok=True)
    trainer.save_model(str(folder))
    vocab = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    merges = (folder / "merges.txt").read_text(encoding="utf-8")
    shutil.rmtree(folder)
    return vocab, merges


RULES = [  # as few as show the kinds: one to one, many to one, one to many, to nothing
    ("\t", " "), ("\n", " "), ("\r", " "), ("\u00a0", " "), ("\u3000", " "), ("\u2003", " "), ("\u200b", ""),
    ("\ufeff", ""), ("\x01", ""), ("ﬁ", "fi"), ("ﬂ", "fl"), ("ﬃ", "ffi"), ("½", "1⁄2"), ("™", "TM"),
    ("①", "1"), ("e\u0301", "é"), ("a\u0308", "ä"), ("n\u0303", "ñ"), ("㎏", "kg"), ("ｶ\uff9e", "ガ"),
    ("\u1112\u1161\u11ab", "한"), ("½a", "x"),
] + [(chr(0xFF01 + i), chr(0x21 + i)) for i in range(94)]


def spm(model_type="unigram", rules="small", size=420, **options):
    out = io.BytesIO()
    if rules == "small":
        path = CASES / "rules.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        hexed = lambda s: " ".join(f"{ord(c):X}" for c in s)
        path.write_text("".join(f"{hexed(a)}\t{hexed(b)}\n" for a, b in RULES), encoding="utf-8")
        options["normalization_rule_tsv"] = str(path)
    else:
        options["normalization_rule_name"] = rules
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([clean(line) for line in corpus()]), model_writer=out, model_type=model_type,
        vocab_size=size, character_coverage=0.98, hard_vocab_limit=False, num_threads=1, minloglevel=3, **options)
    if rules == "small":
        path.unlink()
    return strip(out.getvalue())


def strip(model):
    """Drops what tells about the machine: the trainer's input names and the name of the rules."""
    from sentencepiece import sentencepiece_model_pb2 as pb
    proto = pb.ModelProto.FromString(model)
    proto.trainer_spec.ClearField("input")
    proto.trainer_spec.ClearField("model_prefix")
    proto.normalizer_spec.ClearField("normalization_rule_tsv")
    proto.ClearField("denormalizer_spec")
    return proto.SerializeToString()


# The ages of files.

def ages(kind, model_type, vocab_files, mask=None, added=True, config=None, json_ages=True, fast=True):
    """Folders of the same tokenizer as published over the years. Returns them in order."""
    config = dict(config or {})
    folder = CASES / kind
    model = {"model_type": model_type}
    made = []

    def age(name, files):
        write(folder / name, {"config.json": model, **files})
        made.append(folder / name)

    # 1: vocabulary and options.
    age("oldest", {**vocab_files, **({"tokenizer_config.json": config} if config else {})})
    if added:
        # 2: a map of special tokens and added_tokens.json.
        first = AutoTokenizer.from_pretrained(folder / "oldest", use_fast=fast)
        size = len(first)
        special = {k: v for k, v in first.special_tokens_map.items() if k != "additional_special_tokens"}
        if mask:
            special["mask_token"] = {
                "content": mask, "single_word": False, "lstrip": True, "rstrip": False, "normalized": False}
        special["additional_special_tokens"] = ["<extra>"]
        if model_type == "t5":
            special["additional_special_tokens"] += [f"<extra_id_{i}>" for i in range(config["extra_ids"])]
        age("old", {
            **vocab_files,
            "special_tokens_map.json": special,
            "added_tokens.json": {"<new>": size, "<extra>": size + 1},
            "tokenizer_config.json": {**config, "model_max_length": 1e30, "unk_token": {
                "__type": "AddedToken", "content": special["unk_token"], "single_word": False, "lstrip": False,
                "rstrip": False, "normalized": True}},
        })
    if not json_ages:
        return made
    # 3: as written today, by the slow class (vocabulary files) and by the fast one (one file).
    source = made[-1]
    slow = AutoTokenizer.from_pretrained(source, use_fast=False)
    slow.save_pretrained(folder / "slow")
    fast = AutoTokenizer.from_pretrained(source)
    fast.save_pretrained(folder / "fast")
    for name in ["slow", "fast"]:
        write(folder / name, {"config.json": model})
        tidy(folder / name)
        made.append(folder / name)
    for extra in ["vocab.txt", "vocab.json", "merges.txt", "spiece.model", "sentencepiece.bpe.model", "spm.model"]:
        (folder / "fast" / extra).unlink(missing_ok=True)
    # 4: nothing but tokenizer.json.
    write(folder / "bare", {"config.json": model, "tokenizer.json": (folder / "fast/tokenizer.json").read_bytes()})
    made.append(folder / "bare")
    return made


def tidy(folder):
    """Drops machine paths, and writes JSON without indentation."""
    for path in folder.glob("*.json"):
        content = json.loads(path.read_text(encoding="utf-8"))
        if path.name == "tokenizer_config.json":
            for key in ["name_or_path", "vocab_file", "tokenizer_file", "special_tokens_map_file"]:
                content.pop(key, None)
        path.write_text(json.dumps(content, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")


# The answers.

def digits(values):
    return "".join("-" if v is None else str(v) for v in values)


def fast_answer(tokenizer, encoding, whole):
    """One encoding, as short as it can be written: tokens only where they are not simply those of the ids, and what
    says little about a single text only where `whole`."""
    answer = {
        "ids": encoding.ids,
        "offsets": [i for pair in encoding.offsets for i in pair],
        "words": [-1 if w is None else w for w in encoding.word_ids],
    }
    if encoding.tokens != tokenizer.convert_ids_to_tokens(encoding.ids):
        answer["tokens"] = encoding.tokens
    if whole:
        answer["segments"] = digits(encoding.type_ids)
        answer["special"] = digits(encoding.special_tokens_mask)
        answer["sequence"] = digits(encoding.sequence_ids)
    return answer


def answers(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    fast = tokenizer.is_fast
    result = {"fast": fast, "vocab_size": len(tokenizer), "special": {}, "texts": [], "pairs": [], "cuts": [],
              "decoded": [], "joined": []}
    for role in ["bos", "eos", "unk", "sep", "pad", "cls", "mask"]:
        text = getattr(tokenizer, role + "_token")
        if text is not None:
            result["special"][role] = [text, tokenizer.convert_tokens_to_ids(text)]

    def one(first, second=None, **options):
        if fast:
            # As a batch: alone, an empty second text would count as none.
            batch = tokenizer([first], None if second is None else [second], **options)
            return [fast_answer(tokenizer, e, second is not None or len(first) < 20) for e in batch.encodings]
        return [{"ids": tokenizer(first, second, **options)["input_ids"]}]

    for text in TEXTS:
        result["texts"] += one(text)
        ids = result["texts"][-1]["ids"]
        result["decoded"].append([tokenizer.decode(ids), tokenizer.decode(ids, skip_special_tokens=True)])
        joined = tokenizer.convert_tokens_to_string(tokenizer.convert_ids_to_tokens(ids))
        result["joined"].append("same" if joined == result["decoded"][-1][0] else joined)
    for first, second in PAIRS:
        result["pairs"] += one(first, second)
    if fast:
        for first, second, strategy, length, stride, windows, side in CUTS:
            tokenizer.truncation_side = side
            batch = tokenizer(first, second, truncation=strategy, max_length=length, stride=stride,
                              return_overflowing_tokens=windows)
            result["cuts"].append([fast_answer(tokenizer, e, True) for e in batch.encodings])
    return result


KEPT = {}


def save(kind, folders, base=None):
    """Writes the answers; beside a base (the kind's first, or another kind's), only what differs from it."""
    groups = {}
    for folder in folders:
        key = json.dumps(answers(folder), ensure_ascii=False, separators=(",", ":"))
        groups.setdefault(key, []).append(folder)
    for number, (key, members) in enumerate(groups.items()):
        name = kind if number == 0 else f"{kind}-{members[0].name}"
        content = {"folders": [str(m.relative_to(CASES)) for m in members], **json.loads(key)}
        KEPT[name] = json.loads(key)
        if base:
            content["base"] = f"{base}.json"
            for part in ["texts", "pairs", "cuts", "decoded", "joined"]:
                content[part] = [None if a == b else a for a, b in zip(content[part], KEPT[base][part], strict=True)]
        base = base or name
        path = GOLDEN / f"{name}.json"
        path.write_text(json.dumps(content, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")
        print(f"{path.name:32} {path.stat().st_size:8}  {' '.join(m.name for m in members)}")


def main():
    for folder in [CASES, GOLDEN]:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    write(HERE, {"inputs.json": {"texts": TEXTS, "pairs": PAIRS, "cuts": CUTS}})

    lower, cased = wordpiece_vocab(True), wordpiece_vocab(False)
    save("bert", ages("bert", "bert", {"vocab.txt": lower}))
    for kind, config in [
        ("bert-cased", {"do_lower_case": False}),
        ("bert-cased-strip", {"do_lower_case": False, "strip_accents": True, "tokenize_chinese_chars": False}),
        ("bert-lower-accents", {"do_lower_case": True, "strip_accents": False}),
    ]:
        save(kind, ages(kind, "bert", {"vocab.txt": cased}, config=config, added=False, json_ages=False), base="bert")
    for kind in ["distilbert", "electra"]:
        save(kind, ages(kind, kind, {"vocab.txt": lower}, added=False, json_ages=False), base="bert")

    vocab, merges = byte_bpe(["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    files = {"vocab.json": vocab, "merges.txt": merges}
    save("roberta", ages("roberta", "roberta", files, mask="<mask>"))
    save("roberta-prefix", ages("roberta-prefix", "roberta", files, added=False, json_ages=False,
                                config={"add_prefix_space": True, "trim_offsets": False}), base="roberta")
    save("bart", ages("bart", "bart", files, added=False, json_ages=False), base="roberta")
    vocab, merges = byte_bpe(["<|endoftext|>"])
    files = {"vocab.json": vocab, "merges.txt": merges}
    save("gpt2", ages("gpt2", "gpt2", files))
    save("gpt2-bos", ages("gpt2-bos", "gpt2", files, added=False, json_ages=False,
                          config={"add_bos_token": True, "add_prefix_space": True}), base="gpt2")

    t5 = spm(pad_id=0, eos_id=1, unk_id=2, bos_id=-1)
    save("t5", ages("t5", "t5", {"spiece.model": t5}, config={"extra_ids": 5}))
    save("t5-new", ages("t5-new", "t5", {"spiece.model": t5}, added=False, json_ages=False,
                        config={"extra_ids": 3, "legacy": False}), base="t5")
    xlnet = spm(unk_id=0, bos_id=1, eos_id=2, pad_id=5, control_symbols=["<cls>", "<sep>"],
                user_defined_symbols=["<mask>", "<eod>", "<eop>"])
    save("xlnet", ages("xlnet", "xlnet", {"spiece.model": xlnet}))
    albert = spm(rules="identity", pad_id=0, unk_id=1, bos_id=-1, eos_id=-1,
                 control_symbols=["[CLS]", "[SEP]"], user_defined_symbols=["[MASK]"])
    save("albert", ages("albert", "albert", {"spiece.model": albert}))
    save("albert-cased", ages("albert-cased", "albert", {"spiece.model": albert}, added=False, json_ages=False,
                              config={"do_lower_case": False, "keep_accents": True}), base="albert")
    xlmr = spm()
    save("xlm-roberta", ages("xlm-roberta", "xlm-roberta", {"sentencepiece.bpe.model": xlmr}))
    bpe = spm("bpe")
    save("xlm-roberta-bpe", ages("xlm-roberta-bpe", "xlm-roberta", {"sentencepiece.bpe.model": bpe}, added=False,
                                 json_ages=False))
    save("mbart", ages("mbart", "mbart", {"sentencepiece.bpe.model": xlmr}, added=False, json_ages=False))
    real = spm(rules="nmt_nfkc")
    save("camembert-nfkc", ages("camembert-nfkc", "camembert", {"sentencepiece.bpe.model": real}, added=False,
                                json_ages=False))
    pieces = {"spiece.model": spm(unk_id=0, bos_id=1, eos_id=2, pad_id=3,
                                  control_symbols=["[CLS]", "[SEP]", "[MASK]"])}
    save("big-bird", ages("big-bird", "big_bird", pieces, added=False, json_ages=False))
    pieces = {"sentencepiece.model": spm(pad_id=0, unk_id=1, bos_id=-1, eos_id=-1, unk_piece="[UNK]",
                                         pad_piece="[PAD]", control_symbols=["[CLS]", "[SEP]", "[MASK]"])}
    save("rembert", ages("rembert", "rembert", pieces, added=False, json_ages=False))
    mpnet = "<s>\n<pad>\n</s>\n" + lower + "<mask>\n"
    save("mpnet", ages("mpnet", "mpnet", {"vocab.txt": mpnet}, added=False, json_ages=False))
    deberta = spm(rules="identity", pad_id=0, bos_id=1, eos_id=2, unk_id=3, bos_piece="[CLS]", eos_piece="[SEP]",
                  pad_piece="[PAD]", unk_piece="[UNK]", user_defined_symbols=["[MASK]"])
    save("deberta-v2", ages("deberta-v2", "deberta-v2", {"spm.model": deberta}, added=False, json_ages=False))

    source = spm()
    pieces = sentencepiece.SentencePieceProcessor(model_proto=source)
    vocab = ["</s>", "<unk>"] + [pieces.id_to_piece(i) for i in range(3, len(pieces)) if i % 17]
    vocab += ["▁nur", "▁ziel", ">>fra<<", "<pad>"]
    ids = {token: i for i, token in enumerate(vocab)}
    save("marian", ages("marian", "marian", {"source.spm": source, "target.spm": source, "vocab.json": ids},
                        added=False, json_ages=False, fast=False))


main()
