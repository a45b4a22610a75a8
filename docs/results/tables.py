"""Prints the tables of docs/results.md from what docs/results/run.sh left in runs/results, and draws its curves.

python3 docs/results/tables.py
"""

import json
import shutil
import statistics
from pathlib import Path

HERE = Path(__file__).parent
OUT = HERE.parents[1] / "runs/results"
COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7"]
MAIN = {"topics": "accuracy", "names": "f1", "parts-of-speech": "accuracy", "senses": "accuracy", "answers": "f1"}
MAIN |= {"all-senses": "accuracy", "all-answers": "f1"}


def read(run, name="evaluation.json"):
    file = OUT / run / name
    return json.loads(file.read_text()) if file.is_file() else None


def figure(report, name):
    return next(m for m in report["metrics"] if m["name"] == name)


def digits(name, value):
    return f"{value:.1f}" if name.endswith("answers") else f"{value:.3f}"


def processor(run):
    """Seconds of processor that learning took."""
    lines = (OUT / run / "time").read_text().split("\n")
    times = [line.split() for line in lines if len(line.split()) == 3]
    return sum(float(user) + float(system) for user, system, _ in times)


def ways():
    """One line a task and way: metric by seed, mean, deviation."""
    for task, metric in MAIN.items():
        for way in ("full", "head", "top2", "gradual", "once"):
            runs = [(seed, run) for seed in range(3) if (run := read(f"{task}-{way}-{seed}"))]
            if not runs:
                continue
            values = [figure(run, metric)["value"] for _, run in runs]
            cells = []
            for _, run in runs:
                f = figure(run, metric)
                cells.append("{} ({}–{})".format(*(digits(task, f[k]) for k in ("value", "low", "high"))))
            spread = digits(task, statistics.stdev(values)) if len(values) > 1 else ""
            seconds = [processor(f"{task}-{way}-{seed}") for seed, _ in runs]
            mean = digits(task, statistics.mean(values))
            print(f"| {task}, {way} | {' | '.join(cells)} | {mean} | {spread} | {min(seconds):.0f}–{max(seconds):.0f} s |")


def pairs():
    """Differences on the same rows, seed 0."""
    for task, metric in MAIN.items():
        for run, name in (("full", "against-head"), ("full", "against-baseline"), ("head", "against-baseline")):
            found = read(f"{task}-{run}-0", f"{name}.json")
            if found:
                other = found["against"]
                row = next(d for d in other["differences"] if d["name"] == metric)
                f = [digits(task, row[key]) for key in ("second", "first", "difference", "low", "high")]
                print(f"| {task}, {run} − {other['model']} | {' | '.join(f[:3])} | {f[3]} to {f[4]} | {row['p']:.3f} |")


def log(run):
    file = OUT / run / "log.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.is_file() else []


def draw(file, title, curves):
    """Lines of (name, number of the colour, [(x, y)]) as SVG; lines of one name have one entry in the legend."""
    curves = [curve for curve in curves if len(curve[2]) > 1]
    if not curves:
        return
    points = [point for curve in curves for point in curve[2]]
    (left, right), (low, high) = ((min(values), max(values)) for values in zip(*points))

    def place(x, y):
        return f"{60 + 400 * (x - left) / (right - left):.1f},{230 - 190 * (y - low) / (high - low):.1f}"

    lines = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 620 270" font-family="sans-serif" font-size="12">']
    lines.append('<rect width="620" height="270" fill="#fff"/>')
    lines.append(f'<text x="60" y="22" font-size="14">{title}</text>')
    lines.append('<path d="M60 40V230H460" fill="none" stroke="#888"/>')
    for x, y, anchor, text in [
        (54, 234, "end", f"{low:.3g}"),
        (54, 46, "end", f"{high:.3g}"),
        (60, 248, "start", f"step {left}"),
        (460, 248, "end", f"{right}"),
    ]:
        lines.append(f'<text x="{x}" y="{y}" text-anchor="{anchor}">{text}</text>')
    seen = []
    for name, colour, values in curves:
        line = " ".join(place(*value) for value in values)
        dashes = ' stroke-dasharray="4 4"' if name.startswith("transformers") else ""
        lines.append(f'<polyline points="{line}" fill="none" stroke="{COLOURS[colour]}" stroke-width="1.5"{dashes}/>')
        if name not in seen:
            seen.append(name)
            y = 36 + 18 * len(seen)
            lines.append(f'<text x="475" y="{y}" fill="{COLOURS[colour]}">{name}</text>')
    file.write_text("\n".join([*lines, "</svg>", ""]))


TITLES = {"topics": "Topics", "names": "Names", "parts-of-speech": "Parts of speech", "senses": "Senses"}
TITLES |= {"answers": "Answers", "all-senses": "Senses, the full set", "all-answers": "Answers, the full set"}


def plots():
    for task, metric in MAIN.items():
        curves = []
        for colour, way in enumerate(("full", "gradual", "top2", "head")):
            for seed in range(3):
                rows = [row for row in log(f"{task}-{way}-{seed}") if "eval" in row]
                curves.append((way, colour, [(row["step"], row["eval"][metric]) for row in rows]))
        draw(HERE / f"{task}-validation.svg", f"{TITLES[task]}: {metric} on the validation part", curves)
        for picture in ("confusion", "reliability", "lengths"):
            drawn = OUT / f"{task}-full-0/evaluation/{picture}.svg"
            if drawn.is_file():
                shutil.copy(drawn, HERE / f"{task}-{picture}.svg")
    ours = [(row["step"], row["loss"]) for row in log("topics-losses-0") if "loss" in row]
    theirs = list(enumerate((read(".", "losses.json") or {"losses": []})["losses"], 1))
    both = [("ptm", 0, ours), ("transformers", 1, theirs)]
    draw(HERE / "topics-losses.svg", "Topics: loss of the first fifty steps, dropout off", both)


def transformers():
    """One epoch of topics in both, and the losses of fifty steps."""
    for name, runs in (
        ("ptm", [read(f"topics-once-{seed}") for seed in range(3)]),
        ("transformers", [read(".", f"transformers-{seed}.json") for seed in range(3)]),
    ):
        runs = [run for run in runs if run]
        if runs:
            values = [figure(r, "accuracy")["value"] if "metrics" in r else r["accuracy"] for r in runs]
            spread = statistics.stdev(values) if len(values) > 1 else 0
            print(f"| {name} | {' | '.join(f'{v:.3f}' for v in values)} | {statistics.mean(values):.3f} | {spread:.3f} |")
    theirs = read(".", "losses.json")
    ours = [row["loss"] for row in log("topics-losses-0") if "loss" in row]
    if theirs and ours:
        worst = max(abs(a - b) for a, b in zip(ours, theirs["losses"], strict=True))
        print(f"fifty steps: the losses differ by {worst:.1e} at most; from {ours[0]:.4f} to {ours[-1]:.4f}")


if __name__ == "__main__":
    ways()
    pairs()
    transformers()
    plots()
