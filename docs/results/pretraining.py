"""Prints the tables of docs/results.md from what docs/results/pretraining.sh left in runs/compare, and draws its curves; and
that of the built-in model of masked words, where runs/minilm-fill-mask is there.

python3 docs/results/pretraining.py
"""

import json
import statistics

from tables import HERE, draw, figure

OUT = HERE.parents[1] / "runs/compare"
ARMS = ["nothing", "masked", "masked-1", "next-sentence", "replaced", "boundary", "dynamic", "static"]
TASKS = {"topics": "accuracy", "names": "f1", "parts-of-speech": "accuracy"}


def lines(arm):
    return log(OUT / arm / "log.jsonl")


def log(file):
    return [json.loads(line) for line in file.read_text().splitlines()] if file.is_file() else []


def hours():
    """The three runs of an hour: held-out losses on the way, and their curves."""
    for family, title, parts in [
        ("roberta", "masked tokens", {"loss": "loss", "accuracy": "accuracy"}),
        ("electra", "replaced tokens", {"generator_loss": "generator", "discriminator_loss": "discriminator"}),
        ("t5", "spans", {"loss": "loss", "accuracy": "accuracy"}),
    ]:
        rows = [row for row in log(OUT.parent / f"{family}-small/log.jsonl") if "eval" in row]
        if not rows:
            continue
        print(f"| {title}: step |" + "".join(f" {row['step']} |" for row in rows))
        print("|---|" + "---|" * len(rows))
        for key, name in parts.items():
            print(f"| {name} |" + "".join(f" {row['eval'][key]:.3f} |" for row in rows))
        print(f"unigrams: {rows[-1]['eval']['unigram_loss']:.3f}")
        first = next(iter(parts))
        unigram = [(row["step"], row["eval"]["unigram_loss"]) for row in rows]
        curve = [(row["step"], row["eval"][first]) for row in rows]
        draw(HERE / f"hour-{family}.svg", f"Held-out loss of {title}", [(parts[first], 0, curve), ("unigrams", 1, unigram)])


def learnt():
    """What each arm saw in its time, and how well it foretells held-out text at its end."""
    print("| | steps | tokens | held-out losses |\n|---|---|---|---|")
    for arm in ARMS[1:]:
        rows = lines(arm)
        judged = [row for row in rows if "eval" in row]
        if judged:
            last = judged[-1]
            losses = ", ".join(f"{name} {value:.3f}" for name, value in last["eval"].items())
            state = OUT / arm / f"checkpoint-{last['step']}/training/state.json"
            tokens = f"{json.loads(state.read_text())['tokens'] / 1e6:.1f} million" if state.is_file() else ""
            print(f"| {arm} | {last['step']} | {tokens} | {losses} |")


def taught():
    """Of each task a row an arm: every seed with its bootstrap interval, their mean and deviation."""
    for task, metric in TASKS.items():
        print(f"| {task}, {metric} | seed 0 | seed 1 | seed 2 | mean | deviation |\n|---|---|---|---|---|---|")
        for arm in ARMS:
            files = [OUT / f"tasks/{arm}-{task}-{seed}/evaluation.json" for seed in range(3)]
            if not all(file.is_file() for file in files):
                continue
            found = [figure(json.loads(file.read_text()), metric) for file in files]
            cells = ["{:.3f} ({:.3f}–{:.3f})".format(*(f[key] for key in ("value", "low", "high"))) for f in found]
            values = [f["value"] for f in found]
            print(f"| {arm} | {' | '.join(cells)} | {statistics.mean(values):.3f} | {statistics.stdev(values):.3f} |")


def curves():
    for name, title, arms in [
        ("compare-masked", "Held-out loss of masked tokens", ["masked", "masked-1", "next-sentence", "boundary"]),
        ("compare-static", "Held-out loss on the small text", ["dynamic", "static"]),
    ]:
        drawn = []
        for colour, arm in enumerate(arms):
            rows = [row for row in lines(arm) if "eval" in row]
            points = [(row["step"], row["eval"].get("masked_loss", row["eval"]["loss"])) for row in rows]
            drawn.append((arm, colour, points))
        draw(HERE / f"{name}.svg", title, drawn)


def fill_mask():
    rows = [row for row in log(OUT.parent / "minilm-fill-mask/log.jsonl") if "eval" in row]
    if not rows:
        return
    print("| step |" + "".join(f" {row['step']} |" for row in rows))
    print("|---|" + "---|" * len(rows))
    print("| accuracy |" + "".join(f" {row['eval']['accuracy']:.3f} |" for row in rows))
    print("| loss |" + "".join(f" {row['eval']['loss']:.2f} |" for row in rows))
    curve = [("accuracy", 0, [(row["step"], row["eval"]["accuracy"]) for row in rows])]
    draw(HERE / "fill-mask.svg", "Held-out tokens that are foretold exactly", curve)


if __name__ == "__main__":
    fill_mask()
    hours()
    learnt()
    taught()
    curves()
