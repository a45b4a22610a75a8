"""What DataCollatorForPermutationLanguageModeling of transformers makes of texts, with the random draws it made: writes
permutation.json beside this file. `draws`: length and start of each span within its context; `order`: the place of each
token in the order; `special`: places that are never predicted; `hidden`: 1 where the row doesn't see the column.

    python parity/objectives/permutation.py
"""

import json
import pathlib
import tempfile

import torch
from transformers import BertTokenizerFast, DataCollatorForPermutationLanguageModeling

with tempfile.TemporaryDirectory() as folder:
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + [f"word{i}" for i in range(60)]
    path = pathlib.Path(folder) / "vocab.txt"
    path.write_text("\n".join(vocabulary))
    tokenizer = BertTokenizerFast(str(path))

randint, randperm = torch.randint, torch.randperm


def case(length, seed):
    torch.manual_seed(seed)
    drawn, orders = [], []

    def recorded_randint(*arguments, **options):
        made = randint(*arguments, **options)
        drawn.append(int(made))
        return made

    def recorded_randperm(n):
        made = randperm(n)
        orders.append(made)
        return made

    torch.randint, torch.randperm = recorded_randint, recorded_randperm
    ids = list(range(5, 5 + length))
    # as XLNet lays a pair out
    special = [length // 2 - 1, length - 2, length - 1]
    for place, token in zip(special, (3, 3, 2)):
        ids[place] = token
    collator = DataCollatorForPermutationLanguageModeling(tokenizer=tokenizer)
    try:
        made = collator([{"input_ids": ids}])
    finally:
        torch.randint, torch.randperm = randint, randperm
    # both halves are shuffled alike
    order = torch.arange(length).reshape(-1, length // 2).transpose(0, 1)[orders[0]].transpose(0, 1).reshape(-1)
    labels = made["labels"][0]
    return {
        "draws": [drawn[i : i + 2] for i in range(0, len(drawn), 2)],
        "order": order.tolist(),
        "special": special,
        "targets": [place for place in range(length) if labels[place] != -100],
        "hidden": made["perm_mask"][0].int().flatten().tolist(),
    }


# the first has no target: the collator lets a text have none
lengths = [16, 24, 30, 64, 64, 96, 96, 128]
made = {"cases": [case(length, seed) for seed, length in enumerate(lengths)]}
# row by row, as text: a digit a pair
for one in made["cases"]:
    one["hidden"] = "".join(map(str, one["hidden"]))
pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps(made, separators=(",", ":")) + "\n")
