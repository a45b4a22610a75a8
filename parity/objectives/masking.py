"""What transformers' collators of masked language modelling make of texts, with the random draws they made: writes
masking.json beside this file. Of each case: what is read first (`ids`), which places may be hidden at all (`free`), what
was drawn, and what came of it (`input_ids`, `labels`, -100 where nothing is foretold).

- `tokens`: DataCollatorForLanguageModeling. `chosen`, `replaced` and `random` are its three draws a place, `words` the
  random token of each place.
- `words`: DataCollatorForWholeWordMask. `order` is the shuffled list of words, each the places of its pieces; `tokens`
  spells them.
- `order`: DataCollatorForSOP, which masks as the first and passes segments and labels through. Its class does not keep
  its arguments, so the tokenizer and the rate are set behind it.

Where ptm differs on purpose: it hides a fixed share of the tokens, the collators of the first and the last kind each token
by itself; the second kind's share is of all tokens, ptm's of those that are not special; a random token is never a special
one; and the last kind's attention mask, which lets nobody see what is hidden, is not ALBERT's and not ptm's.

    python parity/objectives/masking.py
"""

import json
import pathlib
import random
import tempfile
import warnings

import torch
from transformers import (
    BertTokenizerFast,
    DataCollatorForLanguageModeling,
    DataCollatorForSOP,
    DataCollatorForWholeWordMask,
)

warnings.filterwarnings("ignore")
WORDS = 60
with tempfile.TemporaryDirectory() as folder:
    pieces = [f"word{i}" if i % 3 else f"##piece{i}" for i in range(WORDS)]
    path = pathlib.Path(folder) / "vocab.txt"
    path.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + pieces))
    tokenizer = BertTokenizerFast(str(path))

bernoulli, randint, shuffle = torch.bernoulli, torch.randint, random.shuffle


class Recorded:
    """The draws that are made within."""

    def __enter__(self):
        self.flags, self.words, self.order = [], [], None

        def recorded_bernoulli(*arguments, **options):
            made = bernoulli(*arguments, **options)
            self.flags.append(made[0].int().tolist())
            return made

        def recorded_randint(*arguments, **options):
            made = randint(*arguments, **options)
            self.words = made[0].tolist()
            return made

        def recorded_shuffle(items):
            shuffle(items)
            self.order = [list(item) for item in items]

        torch.bernoulli, torch.randint, random.shuffle = recorded_bernoulli, recorded_randint, recorded_shuffle
        return self

    def __exit__(self, *_):
        torch.bernoulli, torch.randint, random.shuffle = bernoulli, randint, shuffle


def text(length, seed):
    """`[CLS] A [SEP] B [SEP]`"""
    draw = random.Random(seed)
    ids = [draw.randrange(5, 5 + WORDS) for _ in range(length)]
    ids[0], ids[length // 2], ids[-1] = 2, 3, 3
    # no text begins within a word: the collator would join such a piece with the word before the separator
    for first in (1, length // 2 + 1):
        ids[first] += int((ids[first] - 5) % 3 == 0)
    return ids


def case(ids, collator, example, recorded):
    with recorded:
        made = collator([example])
    free = [int(not special) for special in tokenizer.get_special_tokens_mask(ids, already_has_special_tokens=True)]
    done = {"ids": ids, "free": free, "words": recorded.words}
    done |= {key: made[key][0].tolist() for key in ("input_ids", "labels")}
    return done, made


def tokens(length, rate, seed):
    torch.manual_seed(seed)
    ids, recorded = text(length, seed), Recorded()
    done, _ = case(ids, DataCollatorForLanguageModeling(tokenizer, mlm_probability=rate), {"input_ids": ids}, recorded)
    return done | dict(zip(("chosen", "replaced", "random"), recorded.flags, strict=True))


def words(length, rate, seed):
    torch.manual_seed(seed)
    random.seed(seed)
    ids, recorded = text(length, seed), Recorded()
    done, _ = case(ids, DataCollatorForWholeWordMask(tokenizer, mlm_probability=rate), {"input_ids": ids}, recorded)
    done |= dict(zip(("replaced", "random"), recorded.flags, strict=True))
    return done | {"rate": rate, "order": recorded.order, "tokens": tokenizer.convert_ids_to_tokens(ids)}


def order(length, rate, seed):
    torch.manual_seed(seed)
    ids, recorded = text(length, seed), Recorded()
    collator = DataCollatorForSOP(tokenizer)
    collator.tokenizer, collator.mlm_probability = tokenizer, rate
    segments = [int(place > length // 2) for place in range(length)]
    label = seed % 2
    example = {
        "input_ids": ids,
        "token_type_ids": torch.tensor(segments),
        "sentence_order_label": torch.tensor(label),
    }
    done, made = case(ids, collator, example, recorded)
    assert made["token_type_ids"][0].tolist() == segments and int(made["sentence_order_label"][0]) == label
    done |= dict(zip(("chosen", "replaced", "random"), recorded.flags, strict=True))
    return done | {"segments": segments, "label": label}


made = {
    "mask": tokenizer.mask_token_id,
    "tokens": [tokens(*setting) for setting in ((24, 0.15, 1), (48, 0.5, 2), (96, 0.9, 3))],
    "words": [words(*setting) for setting in ((24, 0.15, 4), (48, 0.4, 5), (96, 0.25, 6), (40, 0.9, 7), (12, 0.05, 8))],
    "order": [order(*setting) for setting in ((32, 0.3, 9), (64, 0.6, 10))],
}
pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps(made, separators=(",", ":")) + "\n")
