"""One peer in a process of its own: answers JSON lines on standard input with JSON lines on standard output (see run.py).

usage: python worker.py torch|ort|st THREADS
"""
import json
import os
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
    ("torch", "encode"): encode_torch, ("ort", "encode"): encode_ort, ("torch", "train"): train_torch, ("torch", "product"): product_torch,
    ("st", "embed"): embed_st, ("torch", "load"): load_torch, ("ort", "load"): load_ort,
}


def main():
    run = check = None
    for line in sys.stdin:
        q = json.loads(line)
        try:
            if q["op"] == "prepare":
                run = check = None  # the former job's memory goes first
                run, check = WHAT[ENGINE, q["what"]](q)
                answer = {"ok": True}
            elif q["op"] == "run":
                start = time.perf_counter()
                out = run()
                answer = {"seconds": time.perf_counter() - start}
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
