"""Opens the event files that `ptm finetune` wrote in TensorBoard's own reader and compares every curve with log.jsonl.

usage: python check_events.py RUN_DIR
needs: tensorboard

The reader checks each record's sums and drops what is damaged, so a curve that lacks a point is a failure too. A run in
one go: of a continued run the log keeps each step once, while its event files may hold some twice.
"""
import json
import os
import sys

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

run = sys.argv[1]
wanted = {}
for line in open(os.path.join(run, "log.jsonl"), encoding="utf-8"):
    line = json.loads(line)
    part, values = ("eval", line["eval"]) if "eval" in line else ("train", {k: v for k, v in line.items() if k not in ("step", "epoch")})
    for name, value in values.items():
        wanted.setdefault(f"{part}/{name}", {})[line["step"]] = float(np.float32(value))

board = EventAccumulator(run, size_guidance={"scalars": 0})
board.Reload()
tags = board.Tags()["scalars"]
assert sorted(tags) == sorted(wanted), (tags, sorted(wanted))
points = 0
for tag in tags:
    found = {event.step: event.value for event in board.Scalars(tag)}
    assert found == wanted[tag], (tag, found, wanted[tag])
    points += len(found)
print(f"{len(tags)} curves with {points} points are as the log has them: {', '.join(sorted(tags))}")
