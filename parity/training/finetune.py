"""Fifty steps of fine-tuning a tiny BERT by the Trainer of transformers, dropout off: writes into finetune/ beside this
file the model before the first step, the rows it learns from, and in losses.json the loss of every step with what it
says of the validation rows at the end.

The recipe in words: three classes, pairs of texts of mixed length, batches of 8 rows in the order of the file, AdamW
(3e-3, decay 0.01 but for biases and norms), gradients clipped at 1, linear warm-up over 6 % and decay to 0.

    python parity/training/finetune.py
"""

import json
import os
import pathlib
import random
import tempfile

os.environ["CUDA_VISIBLE_DEVICES"] = ""

import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertTokenizerFast,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
    set_seed,
)

HERE = pathlib.Path(__file__).parent / "finetune"
LABELS = ["contradiction", "entailment", "neutral"]
WORDS = """a the cat dog bird child man woman sits runs sleeps eats on under near in garden house street river red blue
small big old young slowly quickly today and while not no is was it here there""".split()


def row(rng):
    def some(n):
        return [rng.choice(WORDS) for _ in range(n)]

    text = some(rng.randint(2, 18))
    label = rng.choice(LABELS)
    if label == "entailment":
        pair = text[: rng.randint(1, len(text))]
    elif label == "contradiction":
        pair = ["not", "not", *text[: rng.randint(1, len(text))], "no", "no"]
    else:
        pair = ["here", "here", *some(rng.randint(1, 10)), "here"]
    return {"text": " ".join(text), "pair": " ".join(pair), "label": label}


class InOrder(Trainer):
    losses = []

    def _get_train_sampler(self, *_):
        return torch.utils.data.SequentialSampler(self.train_dataset)

    def compute_loss(self, model, inputs, return_outputs=False, **more):
        found = super().compute_loss(model, inputs, return_outputs=return_outputs, **more)
        if model.training:
            self.losses.append(float(found[0] if return_outputs else found))
        return found


def main():
    HERE.mkdir(exist_ok=True)
    rng = random.Random(11)
    rows = {name: [row(rng) for _ in range(n)] for name, n in [("train", 160), ("validation", 61)]}
    for name, some in rows.items():
        (HERE / f"{name}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in some))
    model = HERE / "model"
    model.mkdir(exist_ok=True)
    vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    (model / "vocab.txt").write_text("\n".join(vocab) + "\n")
    tokenizer = BertTokenizerFast(str(model / "vocab.txt"))
    set_seed(3)
    config = BertConfig(
        vocab_size=len(vocab),
        hidden_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=96,
        max_position_embeddings=64,
        initializer_range=0.08,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        id2label=dict(enumerate(LABELS)),
        label2id={label: i for i, label in enumerate(LABELS)},
    )
    net = BertForSequenceClassification(config)
    net.save_pretrained(model)

    def encode(some):
        encoded = [tokenizer(r["text"], r["pair"], truncation=True, max_length=64) for r in some]
        return [dict(e, labels=LABELS.index(r["label"])) for e, r in zip(encoded, some)]

    with tempfile.TemporaryDirectory() as out:
        arguments = TrainingArguments(
            out,
            max_steps=50,
            per_device_train_batch_size=8,
            per_device_eval_batch_size=16,
            learning_rate=3e-3,
            weight_decay=0.01,
            warmup_ratio=0.06,
            max_grad_norm=1.0,
            report_to=[],
            save_strategy="no",
            use_cpu=True,
        )
        trainer = InOrder(
            model=net,
            args=arguments,
            train_dataset=encode(rows["train"]),
            eval_dataset=encode(rows["validation"]),
            data_collator=DataCollatorWithPadding(tokenizer),
            compute_metrics=lambda p: {"accuracy": float((p.predictions.argmax(-1) == p.label_ids).mean())},
        )
        trainer.train()
        found = trainer.evaluate()
    golden = {"losses": trainer.losses, "eval_loss": found["eval_loss"], "eval_accuracy": found["eval_accuracy"]}
    (HERE / "losses.json").write_text(json.dumps(golden, indent=0) + "\n")
    print(trainer.losses[:3], trainer.losses[-3:], found)


if __name__ == "__main__":
    main()
