"""One peer in a process of its own: answers JSON lines on standard input with JSON lines on standard output (see run.py).

usage: python worker.py torch|ort|ct2|st THREADS
"""
import json
import os
import random
import resource
import sys
import time

ENGINE, THREADS = sys.argv[1], int(sys.argv[2])
OUT = os.fdopen(os.dup(1), "w")  # answers go here; whatever a library prints goes to standard error
os.dup2(2, 1)

import numpy as np  # noqa: E402


def padded(sequences):
    """ids and mask [batch, longest], int64, padded with 0."""
    width = max(map(len, sequences))
    ids, mask = np.zeros((len(sequences), width), np.int64), np.zeros((len(sequences), width), np.int64)
    for row, s in enumerate(sequences):
        ids[row, : len(s)], mask[row, : len(s)] = s, 1
    return ids, mask


def batches(sequences, size):
    """The order (longest first) and the padded batches of `size`; size 0 = all in one, in the order given."""
    if size == 0:
        return list(range(len(sequences))), [padded(sequences)]
    order = sorted(range(len(sequences)), key=lambda i: -len(sequences[i]))
    return order, [padded([sequences[i] for i in order[at : at + size]]) for at in range(0, len(order), size)]


def checks(order, hidden):
    """Four numbers of the first sequence's first and last state: enough to see that all engines computed the same."""
    at, size = order.index(0), len(hidden[0])
    states, length = hidden[at // size][at % size]
    return [float(v) for v in (*states[0, :2], *states[length - 1, :2])]


def torch_setup():
    import torch
    import transformers

    torch.set_num_threads(THREADS)
    transformers.logging.set_verbosity_error()
    return torch, transformers


def encode_torch(q):
    torch, T = torch_setup()
    model = T.BertModel.from_pretrained(q["model"], attn_implementation="sdpa").eval()
    order, inputs = batches(q["sequences"], q.get("batch", 0))
    full = all(m.all() for _, m in inputs)
    inputs = [(torch.from_numpy(i), None if full else torch.from_numpy(m)) for i, m in inputs]

    def run():
        with torch.inference_mode():
            return [model(input_ids=i, attention_mask=m).last_hidden_state for i, m in inputs]

    lengths = [len(s) for s in q["sequences"]]
    return run, lambda out: checks(order, pair(order, out, lengths))


def pair(order, out, lengths):
    """Per batch, per row: its states and its length."""
    rows = iter(order)
    return [[(np.asarray(b[r]), lengths[next(rows)]) for r in range(len(b))] for b in out]


def encode_ort(q):
    import onnxruntime as ort

    o = ort.SessionOptions()
    o.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    o.intra_op_num_threads, o.inter_op_num_threads = THREADS, 1
    session = ort.InferenceSession(q["onnx"], o, providers=["CPUExecutionProvider"])
    order, inputs = batches(q["sequences"], q.get("batch", 0))
    names = {i.name: i.type for i in session.get_inputs()}
    feed = lambda i, m: {n: {"input_ids": i, "attention_mask": m, "token_type_ids": np.zeros_like(i)}[n].astype(np.int32 if "int32" in t else np.int64) for n, t in names.items()}
    feeds = [feed(i, m) for i, m in inputs]
    lengths = [len(s) for s in q["sequences"]]
    return (lambda: [session.run(None, f)[0] for f in feeds]), lambda out: checks(order, pair(order, out, lengths))


def train_torch(q):
    torch, T = torch_setup()
    torch.manual_seed(0)
    model = T.BertForMaskedLM.from_pretrained(q["model"], attn_implementation="sdpa").train()
    opt = torch.optim.AdamW(model.parameters(), lr=q["lr"], weight_decay=q["weight_decay"], fused=True)
    ids = torch.tensor(q["sequences"])
    labels = torch.full((ids.numel(),), -100)
    rows = torch.tensor(q["rows"])
    targets = torch.tensor(q["targets"])
    labels[rows] = targets

    def shipped():
        return model(input_ids=ids, labels=labels.view_as(ids)).loss

    def predicted_rows():
        h = model.bert(input_ids=ids).last_hidden_state.reshape(ids.numel(), -1)
        return torch.nn.functional.cross_entropy(model.cls(h[rows]), targets)

    loss_of = shipped if q["head"] == "all" else predicted_rows

    def run():
        opt.zero_grad()
        loss = loss_of()
        loss.backward()
        opt.step()
        return loss.item()

    return run, lambda loss: [loss]


def family_torch(q):
    torch, T = torch_setup()
    torch.manual_seed(0)
    bodies = {"gpt2": "GPT2Model", "bart": "BartModel", "t5": "T5Model", "xlnet": "XLNetModel"}
    heads = {"gpt2": "GPT2LMHeadModel", "bart": "BartForConditionalGeneration", "t5": "T5ForConditionalGeneration", "xlnet": "XLNetLMHeadModel"}
    attention = {"attn_implementation": "sdpa"} if q["family"] in ("gpt2", "bart") else {}  # what transformers knows for the family
    model = getattr(T, (heads if q["train"] else bodies)[q["family"]]).from_pretrained(q["model"], **attention)
    ids = torch.tensor(q["sequences"])
    inputs = {"input_ids": ids}
    if q["family"] == "gpt2":
        labels = ids
    elif q["family"] == "xlnet":
        batch, length = ids.shape
        rows = torch.tensor(q["rows"])
        labels = ids.flatten()[rows].view(batch, -1)
        if q["train"]:
            inputs["perm_mask"] = 1.0 - torch.tensor(q["visible"], dtype=torch.float32).view(batch, length, length)
            inputs["target_mapping"] = torch.nn.functional.one_hot(rows % length, length).float().view(batch, -1, length)
    else:
        labels = torch.tensor(q["targets"])

    if not q["train"]:
        model.eval()
        if q["family"] in ("bart", "t5"):
            inputs["decoder_input_ids"] = torch.cat([torch.full_like(labels[:, :1], model.config.decoder_start_token_id), labels[:, :-1]], 1)

        def forward():
            with torch.inference_mode():
                return model(**inputs).last_hidden_state

        return forward, lambda h: [float(v) for v in (*h[0, 0, :2], *h[-1, -1, :2])]
    opt = torch.optim.AdamW(model.train().parameters(), lr=q["lr"], weight_decay=q["weight_decay"], fused=True)

    def step():
        opt.zero_grad()
        loss = model(**inputs, labels=labels).loss
        loss.backward()
        opt.step()
        return loss.item()

    return step, lambda loss: [loss]


def generate_torch(q):
    torch, T = torch_setup()
    kind = T.AutoModelForCausalLM if q["family"] == "gpt2" else T.AutoModelForSeq2SeqLM
    model = kind.from_pretrained(q["model"]).eval()
    ids = torch.tensor(q["sequences"])
    start = ids.shape[1] if q["family"] == "gpt2" else 1

    def run():
        with torch.inference_mode():
            return model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, num_beams=q["beams"], max_new_tokens=q["new"], min_new_tokens=q["new"],
                                  eos_token_id=q["end"], pad_token_id=q["end"], forced_eos_token_id=None, decoder_start_token_id=q["start"])

    return run, lambda out: [float(t) for row in (out[0], out[-1]) for t in row[start:].tolist()]


def generate_ct2(q):
    """CTranslate2 on the same weights in f32; tokens are named by their numbers (models.py)."""
    import ctranslate2

    options = dict(device="cpu", compute_type="float32", inter_threads=1, intra_threads=THREADS)
    texts = [[f"t{i}" for i in s] for s in q["sequences"]]
    number = lambda tokens: [float(t[1:]) for t in tokens]
    if q["family"] == "gpt2":
        model = ctranslate2.Generator(q["ct2"], **options)
        run = lambda: model.generate_batch(texts, max_length=q["new"], min_length=q["new"], beam_size=q["beams"], include_prompt_in_result=False, end_token=[f"t{q['end']}"])
        return run, lambda out: [x for r in (out[0], out[-1]) for x in map(float, r.sequences_ids[0])]
    model = ctranslate2.Translator(q["ct2"], **options)
    run = lambda: model.translate_batch(texts, max_decoding_length=q["new"], min_decoding_length=q["new"], beam_size=q["beams"], end_token=[f"t{q['end']}"])
    return run, lambda out: [x for r in (out[0], out[-1]) for x in number(r.hypotheses[0])]


def finetune_torch(q):
    """transformers' Trainer: tokenised before the clock starts, padded to the longest of each batch; the clock runs from the first step to the last."""
    torch, T = torch_setup()
    tokenizer = T.AutoTokenizer.from_pretrained(q["model"])
    with open(q["file"], encoding="utf-8") as f:
        rows = [json.loads(line) for line in f]
    names = sorted({r["label"] for r in rows})
    data = []
    for r in rows:
        e = tokenizer(r["text"], r["pair"], truncation=True, max_length=512)
        data.append({**e, "labels": names.index(r["label"])})

    class Clock(T.TrainerCallback):
        def on_train_begin(self, *a, **k):
            self.begin = time.perf_counter()

        def on_train_end(self, *a, **k):
            self.seconds = time.perf_counter() - self.begin

    def run():
        T.set_seed(0)
        model = T.AutoModelForSequenceClassification.from_pretrained(q["model"], num_labels=len(names), attn_implementation="sdpa")
        arguments = T.TrainingArguments(
            q["output"], num_train_epochs=1, per_device_train_batch_size=q["size"], group_by_length=q["group"], learning_rate=q["lr"], weight_decay=q["weight_decay"], warmup_ratio=0.1,
            lr_scheduler_type="linear", optim="adamw_torch_fused", save_strategy="no", eval_strategy="no", logging_strategy="no", report_to=[], disable_tqdm=True, use_cpu=True)
        clock = Clock()
        T.Trainer(model, arguments, train_dataset=data, data_collator=T.DataCollatorWithPadding(tokenizer), callbacks=[clock]).train()
        return clock.seconds

    return run, lambda _: [float(len(rows))]


def pretrain_torch(q):
    """As transformers ships it: its Trainer with its collators and heads, which compute logits of every place. What it has no code for, ELECTRA's two
    networks and T5's spans, is the shortest over its models. Text is tokenised and cut into full rows before the clock starts; in seconds of 100,000 tokens."""
    torch, T = torch_setup()
    tokenizer = T.AutoTokenizer.from_pretrained(q["tokenizer"])
    with open(q["file"], encoding="utf-8") as f:
        stream = [t for e in tokenizer([d for d in f.read().split("\n\n") if d.strip()], add_special_tokens=False)["input_ids"] for t in e]
    objective, length, size, steps = q["objective"], q["length"], q["size"], q["steps"]
    frame = {"causal_lm": 0, "span_corruption": 0}.get(objective, 2)  # [CLS] and [SEP]
    raw = length - frame
    rows = [stream[i : i + raw] for i in range(0, len(stream) - raw, raw)]
    config = T.AutoConfig.for_model(**q["config"])
    attention = {} if objective in ("replaced_token_detection", "span_corruption") else {"attn_implementation": "sdpa"}  # where the family has it
    r = random.Random(0)

    def spans(row):
        """15 % of the tokens in spans of three, each for a sentinel."""
        noise = round(len(row) * 0.15)
        count = max(1, round(noise / 3))

        def cut(total):
            ends = [0, *sorted(r.sample(range(1, total), count - 1)), total]
            return [b - a for a, b in zip(ends, ends[1:])]

        source, target, at = [], [], 0
        for k, (keep, drop) in enumerate(zip(cut(len(row) - noise), cut(noise))):
            sentinel = tokenizer.convert_tokens_to_ids(f"<extra_id_{k}>")
            source += row[at : at + keep] + [sentinel]
            target += [sentinel] + row[at + keep : at + keep + drop]
            at += keep + drop
        end = tokenizer.eos_token_id
        return {"input_ids": source + [end], "labels": target + [end]}

    if objective == "span_corruption":
        data, collate = [spans(row) for row in rows], T.default_data_collator
        make = lambda: T.T5ForConditionalGeneration(config)
    elif objective == "causal_lm":
        data, collate = [{"input_ids": row} for row in rows], T.DataCollatorForLanguageModeling(tokenizer, mlm=False)
        tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
        make = lambda: T.AutoModelForCausalLM.from_config(config, **attention)
    else:
        data = [{"input_ids": [tokenizer.cls_token_id, *row, tokenizer.sep_token_id]} for row in rows]
        collate = T.DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.15, **({} if objective == "masked_lm" else {"mask_replace_prob": 1.0, "random_replace_prob": 0.0}))
        make = lambda: T.AutoModelForMaskedLM.from_config(config, **attention)

    class Both(torch.nn.Module):
        """A generator whose samples the discriminator judges; token and position embeddings are one."""

        def __init__(self):
            super().__init__()
            small = T.AutoConfig.for_model(**q["config"] | q["generator"])
            self.generator = T.AutoModelForMaskedLM.from_config(small)
            self.discriminator = T.ElectraForPreTraining(config)
            mine, its = self.discriminator.electra.embeddings, self.generator.electra.embeddings
            its.word_embeddings, its.position_embeddings = mine.word_embeddings, mine.position_embeddings
            self.generator.tie_weights()

        def forward(self, input_ids, labels, attention_mask=None):
            said = self.generator(input_ids=input_ids, labels=labels)
            hidden = labels != -100
            drawn = torch.distributions.Categorical(logits=said.logits[hidden].detach()).sample()
            replaced = input_ids.clone()
            replaced[hidden] = drawn
            original = torch.where(hidden, labels, input_ids)
            found = self.discriminator(input_ids=replaced, labels=(replaced != original).long())
            return {"loss": said.loss + 50.0 * found.loss}

    class Clock(T.TrainerCallback):
        def on_train_begin(self, *a, **k):
            self.begin = time.perf_counter()

        def on_train_end(self, *a, **k):
            self.seconds = time.perf_counter() - self.begin

    def run():
        T.set_seed(0)
        model = Both() if objective == "replaced_token_detection" else make()
        arguments = T.TrainingArguments(
            q["output"], max_steps=steps, per_device_train_batch_size=size, learning_rate=q["lr"], weight_decay=0.01, lr_scheduler_type="linear", optim="adamw_torch_fused",
            remove_unused_columns=False, save_strategy="no", eval_strategy="no", logging_strategy="no", report_to=[], disable_tqdm=True, use_cpu=True)
        clock = Clock()
        T.Trainer(model, arguments, train_dataset=data, data_collator=collate, callbacks=[clock]).train()
        each = sum(len(v) for name, v in data[0].items() if name in ("input_ids", *(["labels"] if objective == "span_corruption" else [])))
        return clock.seconds / (steps * size * each) * 1e5

    return run, lambda _: []


def product_torch(q):
    torch, _ = torch_setup()
    a, b = torch.randn(q["m"], q["k"]), torch.randn(q["k"], q["n"])
    return (lambda: torch.mm(a, b)), lambda out: []


def embed_st(q):
    torch, _ = torch_setup()
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(q["model"], device="cpu")
    with open(q["file"], encoding="utf-8") as f:
        lines = f.read().splitlines()
    run = lambda: model.encode(lines, batch_size=q["batch"], convert_to_numpy=True, normalize_embeddings=True, show_progress_bar=False)
    return run, lambda out: [float(v) for v in (*out[0, :2], *out[-1, :2])]


def pipeline_hf(q):
    torch, T = torch_setup()
    with open(q["file"], encoding="utf-8") as f:
        lines = f.read().splitlines()
    pipe = T.pipeline(q["task"], model=q["model"], device="cpu", batch_size=q["batch"])
    if q["task"] == "token-classification":
        run = lambda: [entity["score"] for found in pipe(lines, aggregation_strategy="simple", ignore_labels=[]) for entity in found]
    else:
        run = lambda: [answer["score"] for answer in pipe(question=[q["question"]] * len(lines), context=lines)]
    return run, lambda out: [float(np.mean(out))]


def load_torch(q):
    torch, T = torch_setup()
    ids = torch.tensor(q["sequences"])

    def run():
        model = T.BertModel.from_pretrained(q["model"], attn_implementation="sdpa").eval()
        if not q["answer"]:
            return None
        with torch.inference_mode():
            return model(input_ids=ids).last_hidden_state

    return run, lambda out: [] if out is None else [float(v) for v in (*out[0, 0, :2], *out[0, -1, :2])]


def load_ort(q):
    import onnxruntime as ort

    ids = np.array(q["sequences"], np.int64)

    def run():
        o = ort.SessionOptions()
        o.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        o.intra_op_num_threads = THREADS
        s = ort.InferenceSession(q["onnx"], o, providers=["CPUExecutionProvider"])
        if not q["answer"]:
            return None
        feed = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        return s.run(None, {i.name: feed[i.name].astype(np.int32 if "int32" in i.type else np.int64) for i in s.get_inputs()})[0]

    return run, lambda out: [] if out is None else [float(v) for v in (*out[0, 0, :2], *out[0, -1, :2])]


WHAT = {
    ("torch", "encode"): encode_torch, ("ort", "encode"): encode_ort, ("torch", "train"): train_torch, ("torch", "family"): family_torch, ("torch", "product"): product_torch,
    ("torch", "finetune"): finetune_torch, ("torch", "pretrain"): pretrain_torch, ("torch", "generate"): generate_torch, ("ct2", "generate"): generate_ct2,
    ("st", "embed"): embed_st, ("hf", "pipeline"): pipeline_hf, ("torch", "load"): load_torch, ("ort", "load"): load_ort,
}


def main():
    run = check = what = None
    for line in sys.stdin:
        q = json.loads(line)
        try:
            if q["op"] == "prepare":
                run = check = None  # the former job's memory goes first
                what = q["what"]
                run, check = WHAT[ENGINE, what](q)
                answer = {"ok": True}
            elif q["op"] == "run":
                start = time.perf_counter()
                out = run()
                answer = {"seconds": time.perf_counter() - start}
                if what in ("finetune", "pretrain"):  # its own clock: not all that ran is measured
                    answer["seconds"] = out
                answer["check"] = check(out)
                out = None
            elif q["op"] == "memory":
                answer = {"peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}
            else:
                answer = {"error": f"unknown op {q['op']}"}
        except Exception as e:  # the driver decides what a failure means
            answer = {"error": f"{type(e).__name__}: {e}"}
        OUT.write(json.dumps(answer) + "\n")
        OUT.flush()


main()
