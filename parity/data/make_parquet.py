"""Small Parquet files as pandas, pyarrow and the datasets library write them.

usage: python make_parquet.py OUT_DIR        needs: pyarrow, datasets

OUT_DIR/*.parquet hold the same 50 rows: text (None in row 7 of nulls.parquet), label 0..2, and in nested.parquet words, tags and answers;
labels.parquet names its labels as the datasets library does (metadata "huggingface"); groups.parquet has row groups of 7 rows.
"""
import os
import sys

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import ClassLabel, Dataset, Features, Sequence, Value

out = sys.argv[1]
os.makedirs(out, exist_ok=True)
rows = [{"text": f"row {i} " + "é" * (i % 5), "label": i % 3} for i in range(50)]
table = pa.Table.from_pylist(rows)
for codec in ("none", "snappy", "gzip", "lz4", "zstd"):
    pq.write_table(table, f"{out}/{codec}.parquet", compression=codec)
pq.write_table(table, f"{out}/groups.parquet", row_group_size=7, compression="snappy")
pq.write_table(pa.Table.from_pylist([{**r, "text": None if i == 7 else r["text"]} for i, r in enumerate(rows)]), f"{out}/nulls.parquet")
nested = [
    {
        "id": str(i), "words": ["a", "b", f"w{i}"], "tags": [0, 1, -1 if i == 3 else 2],
        "question": "Who?", "context": f"Ünder the sea {i}", "answers": {"text": ["sea"] if i % 2 else [], "answer_start": [10] if i % 2 else []},
        "image": {"bytes": b"\xff\x00", "path": None},
    }
    for i in range(5)
]
features = Features({
    "id": Value("string"), "words": Sequence(Value("string")), "tags": Sequence(ClassLabel(names=["O", "B-X", "I-X"])),
    "question": Value("string"), "context": Value("string"), "answers": {"text": Sequence(Value("string")), "answer_start": Sequence(Value("int32"))},
    "image": {"bytes": Value("binary"), "path": Value("string")},
})
Dataset.from_list(nested, features=features).to_parquet(f"{out}/nested.parquet")
features = Features({"text": Value("large_string"), "label": ClassLabel(names=["no", "maybe", "yes"])})
Dataset.from_list(rows[:6] + [{"text": "unlabelled", "label": -1}], features=features).to_parquet(f"{out}/labels.parquet")
