"""The recipe topics.toml in the Trainer of transformers: same data, same initial weights (a model that `ptm finetune`
wrote before its first step), CPU, one epoch. Writes what it says of the test part, or the losses of fifty steps with
dropout off in the order of the file.

    python parity/training/topics.py MODEL OUT.json --seed 0
    python parity/training/topics.py MODEL OUT.json --losses

docs/results/run.sh makes the models and compares.
"""

import argparse
import json
import os
import pathlib
import tempfile
import time

os.environ["CUDA_VISIBLE_DEVICES"] = ""

import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
    set_seed,
)

DATA = pathlib.Path(__file__).parents[2] / "assets/data/topics"


class Recorded(Trainer):
    in_order = False

    def __init__(self, *args, **more):
        super().__init__(*args, **more)
        self.losses = []

    def _get_train_sampler(self, *rest):
        if self.in_order:
            return torch.utils.data.SequentialSampler(self.train_dataset)
        return super()._get_train_sampler(*rest)

    def compute_loss(self, model, inputs, return_outputs=False, **more):
        found = super().compute_loss(model, inputs, return_outputs=return_outputs, **more)
        if model.training:
            self.losses.append((found[0] if return_outputs else found).item())
        return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--losses", action="store_true", help="fifty steps, dropout off, rows in order")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    set_seed(args.seed)
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    off = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0} if args.losses else {}
    net = AutoModelForSequenceClassification.from_pretrained(args.model, **off)

    def encoded(part):
        rows = [json.loads(line) for line in (DATA / f"{part}.jsonl").read_text(encoding="utf-8").splitlines()]
        label = net.config.label2id
        return [dict(tokenizer(r["text"], truncation=True, max_length=64), labels=label[r["label"]]) for r in rows]

    train, test = (encoded(part) for part in ("train", "test"))
    steps = 50 if args.losses else -(-len(train) // 16)
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            max_steps=steps,
            per_device_train_batch_size=16,
            per_device_eval_batch_size=64,
            learning_rate=1e-4,
            weight_decay=0.01,
            warmup_ratio=0.06,
            max_grad_norm=1.0,
            group_by_length=not args.losses,
            save_strategy="no",
            seed=args.seed,
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
        )
        trainer = Recorded(
            model=net,
            args=arguments,
            train_dataset=train,
            data_collator=DataCollatorWithPadding(tokenizer),
            compute_metrics=lambda p: {"accuracy": float((p.predictions.argmax(-1) == p.label_ids).mean())},
        )
        trainer.in_order = args.losses
        began, processor = time.perf_counter(), time.process_time()
        trainer.train()
        seconds = time.perf_counter() - began
        processor = time.process_time() - processor
        if args.losses:
            found = {"losses": trainer.losses}
        else:
            found = trainer.evaluate(test)
            found = {"accuracy": found["eval_accuracy"], "loss": found["eval_loss"]}
    found |= {"seconds": seconds, "processor": processor, "steps": steps}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
