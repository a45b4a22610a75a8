#!/usr/bin/env python3
"""Assembles free English text from packages of Debian: more than 100 MB, with source and licence of each part.

    python3 assets/data/corpus/fetch_corpus.py DIR             everything, into DIR/text
    python3 assets/data/corpus/fetch_corpus.py DIR --sample    and the sample beside this script

Needs Python 3.9, on Debian or Ubuntu `apt-get`, `apt-cache` and `dpkg-deb`, and the `lz4` program or module for the
descriptions. What is in DIR already is not fetched again. Writes DIR/text/PART.txt (documents with a blank line between
them), DIR/licences/PART (what the package says) and DIR/SOURCES.md (a table: package, version, licence, documents,
size, checksum). Which parts there are, and how their documents are made: README.md beside this script. The same
packages give the same files.
"""

import argparse
import gzip
import hashlib
import html.parser
import re
import subprocess
from pathlib import Path

# part: package, licence, how it is read, where in the package
PARTS = {
    "descriptions": (None, "each description under the licence of its package; see DIR/licences", "descriptions", ""),
    "gcide": ("dict-gcide", "GPL-2.0-or-later", "dictionary", "usr/share/dictd/gcide.dict.dz"),
    "foldoc": ("dict-foldoc", "GFDL-1.1-or-later", "dictionary", "usr/share/dictd/foldoc.dict.dz"),
    "jargon": ("dict-jargon", "public domain", "dictionary", "usr/share/dictd/jargon.dict.dz"),
    "wordnet": ("wordnet-base", "WordNet licence (permissive)", "wordnet", "usr/share/wordnet"),
    "linux": ("linux-doc-6.1", "GPL-2.0 with parts under other free licences", "html", "usr/share/doc/linux-doc-6.1/html"),
    "python": ("python3.11-doc", "PSF-2.0", "html", "usr/share/doc/python3.11/html"),
    "postgresql": ("postgresql-doc-15", "PostgreSQL", "html", "usr/share/doc/postgresql-doc-15/html"),
    "perl": ("perl-doc", "Artistic-1.0-Perl or GPL-1.0-or-later", "pod", "usr/share/perl"),
    "rust": ("rust-doc", "MIT or Apache-2.0", "html", "usr/share/doc/rust-doc/html"),
    "qt": ("qtbase5-doc-html", "GFDL-1.3", "html", "usr/share/qt5/doc"),
    "django": ("python-django-doc", "BSD-3-Clause", "html", "usr/share/doc/python-django-doc/html"),
    "git": ("git-doc", "GPL-2.0", "html", "usr/share/doc/git-doc"),
    "cmake": ("cmake-doc", "BSD-3-Clause", "html", "usr/share/doc/cmake-data/html"),
    "octave": ("octave-doc", "its own: copying and changing allowed, notices kept", "html", "usr/share/doc/octave"),
    "sqlite": ("sqlite3-doc", "public domain", "html", "usr/share/doc/sqlite3"),
    "policy": ("debian-policy", "GPL-2.0-or-later with parts under other free licences", "html", "usr/share/doc/debian-policy"),
    "reference": ("debian-reference-en", "GPL-2.0-or-later", "html", "usr/share/debian-reference"),
    "gnome": ("gnome-user-docs", "CC-BY-SA-3.0", "mallard", "usr/share/help/C"),
}
# short entries are put together to documents of about so many characters
PAGE = 3000


def run(*command, **more):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, **more).stdout


def apt(base):
    """Options that give apt lists of its own, with English descriptions."""
    lists = base / "lists"
    (lists / "partial").mkdir(parents=True, exist_ok=True)
    conf = base / "apt.conf"
    conf.write_text('#clear Acquire::Languages;\nAcquire::Languages { "en"; };\n')
    return ["-c", str(conf), "-o", f"Dir::State::Lists={lists}"], lists


def archive(package, base, options):
    """The package, fetched unless it is there."""
    downloads = base / "downloads"
    downloads.mkdir(parents=True, exist_ok=True)
    found = sorted(downloads.glob(f"{package}_*.deb"))
    if not found:
        subprocess.run(["apt-get", *options, "download", package], cwd=downloads, check=True)
        found = sorted(downloads.glob(f"{package}_*.deb"))
    return found[-1]


def squeeze(text):
    return re.sub(r"\s+", " ", text).strip()


def pages(entries):
    """Short entries as documents, neighbours together."""
    page, size = [], 0
    for entry in entries:
        page.append(entry)
        size += len(entry)
        if size >= PAGE:
            yield "\n".join(page)
            page, size = [], 0
    if page:
        yield "\n".join(page)


# ---- Debian's descriptions --------------------------------------------------------------------------------------------


def descriptions(lists):
    """Synopsis and paragraphs; lines that are set verbatim are paragraphs of their own."""
    for file in sorted(lists.glob("*_main_i18n_Translation-en*")):
        text = unpacked(file)
        for stanza in text.split("\n\n"):
            lines = stanza.split("\n")
            start = next((i for i, line in enumerate(lines) if line.startswith("Description-en:")), None)
            if start is None:
                continue
            paragraphs = [lines[start].split(":", 1)[1].strip()]
            begun = False
            for line in lines[start + 1 :]:
                if not line.startswith(" "):
                    break
                if line == " .":
                    begun = False
                elif line.startswith("  "):
                    paragraphs.append(squeeze(line))
                    begun = False
                elif begun:
                    paragraphs[-1] += " " + line.strip()
                else:
                    paragraphs.append(line.strip())
                    begun = True
            yield "\n".join(paragraph for paragraph in paragraphs if paragraph)


def unpacked(file):
    if file.suffix != ".lz4":
        return file.read_text(encoding="utf-8")
    try:
        import lz4.frame

        return lz4.frame.decompress(file.read_bytes()).decode()
    except ImportError:
        try:
            return run("lz4", "-dc", str(file))
        except FileNotFoundError:
            return run("/usr/lib/apt/apt-helper", "cat-file", str(file))


# ---- dictionaries -----------------------------------------------------------------------------------------------------


def dictionary(file):
    """Entries of a dictd file: a headword at the margin, what is said about it indented."""
    text = gzip.decompress(file.read_bytes()).decode("utf-8", "replace")
    text = re.sub(r"\[(1913 Webster|WordNet 1\.5|PJC|Webster 1913 Suppl\.|Century Dict\. 1906|\+[^\]]*)\]", "", text)
    text = re.sub(r"[{}]", "", text)
    entries, paragraphs = [], []

    def end():
        body = [squeeze(" ".join(lines)) for lines in paragraphs]
        body = [line for line in body if len(line) > 1]
        if len(body) > 1 or (body and len(body[0]) > 40):
            entries.append("\n".join(body))

    for line in text.split("\n"):
        if line and not line[0].isspace():
            if paragraphs and not any(paragraphs[1:]):
                paragraphs[0].append(line)
                continue
            end()
            paragraphs = [[re.sub(r"\\.*?\\", "", line)], []]
        elif not line.strip():
            paragraphs.append([])
        elif paragraphs:
            paragraphs[-1].append(line)
    end()
    # the first entries are about the file
    entries = [entry for entry in entries[3:] if "\ufffd" not in entry and "original data" not in entry]
    return pages(entries)


def wordnet(folder):
    """Synsets: words, definition, examples."""

    def entries():
        for name in ["data.noun", "data.verb", "data.adj", "data.adv"]:
            for line in (folder / name).read_text(encoding="utf-8").splitlines():
                if line.startswith("  "):
                    continue
                fields, gloss = line.split(" | ", 1)
                fields = fields.split()
                count = int(fields[3], 16)
                words = [re.sub(r"\(.*\)$", "", w).replace("_", " ") for w in fields[4 : 4 + 2 * count : 2]]
                yield f"{', '.join(words)}: {squeeze(gloss)}"

    return pages(entries())


# ---- documentation ----------------------------------------------------------------------------------------------------


class Paragraphs(html.parser.HTMLParser):
    """The running text of a page: paragraphs, headings, items; nothing of programs, tables of links, menus."""

    BLOCKS = {"p", "h1", "h2", "h3", "h4", "h5", "li", "dt", "dd", "title", "td", "th", "div", "section", "page", "item", "br"}
    SILENT = {"script", "style", "pre", "nav", "footer", "head", "table", "svg", "button", "code-block", "screen", "info"}
    VOID = {"br", "img", "hr", "meta", "link", "input", "col", "wbr", "area", "base", "source", "embed"}

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.silent, self.paragraphs, self.current = [], [], []

    def end_block(self):
        text = squeeze("".join(self.current)).replace("¶", "").strip()
        self.current = []
        if len(text) > 1 and text not in self.paragraphs[-1:]:
            self.paragraphs.append(text)

    def handle_starttag(self, tag, attributes):
        if tag in self.VOID:
            if tag == "br" and not self.silent:
                self.current.append(" ")
            return
        classes = dict(attributes).get("class") or ""
        menu = re.search(r"sphinxsidebar|related|navheader|navfooter|toctree|toc\b|headerlink|sidebar|highlight|navigation", classes)
        if self.silent:
            if tag == self.silent[-1][0]:
                self.silent[-1][1] += 1
        elif tag in self.SILENT or menu:
            self.end_block()
            self.silent.append([tag, 1])
        elif tag in self.BLOCKS:
            self.end_block()

    def handle_endtag(self, tag):
        if self.silent:
            if tag == self.silent[-1][0]:
                self.silent[-1][1] -= 1
                if not self.silent[-1][1]:
                    self.silent.pop()
        elif tag in self.BLOCKS:
            self.end_block()

    def handle_data(self, data):
        if not self.silent:
            self.current.append(data)


def is_prose(paragraph):
    """Letters and spaces for the most part, and more than a word or two."""
    letters = sum(c.isalpha() or c == " " for c in paragraph)
    return letters >= 0.8 * len(paragraph) and paragraph.count(" ") >= 4


def page(text):
    parser = Paragraphs()
    parser.feed(text)
    parser.end_block()
    kept = [paragraph for paragraph in parser.paragraphs if is_prose(paragraph)]
    return "\n".join(kept) if sum(map(len, kept)) >= 300 else ""


def html_pages(folder):
    for file in sorted(folder.rglob("*.html")):
        name = str(file.relative_to(folder))
        if "_sources" in name or re.search(r"genindex|search\.html|py-modindex|/toc\.html|print\.html", "/" + name):
            continue
        if file.is_file() and not file.is_symlink():
            yield page(file.read_text(encoding="utf-8", errors="ignore"))


def mallard(folder):
    for file in sorted(folder.rglob("*.page")):
        if file.is_file() and not file.is_symlink():
            yield page(file.read_text(encoding="utf-8", errors="ignore"))


def pod(folder):
    for file in sorted(folder.rglob("*.pod")):
        if file.is_symlink():
            continue
        kept = []
        for paragraph in file.read_text(encoding="utf-8", errors="ignore").split("\n\n"):
            paragraph = paragraph.strip("\n")
            if paragraph.startswith((" ", "\t")):
                continue
            heading = re.match(r"=(head\d|item)\s+(.*)", paragraph, re.S)
            if paragraph.startswith("=") and not heading:
                continue
            text = heading.group(2) if heading else paragraph
            for _ in range(4):
                text = re.sub(r"X<[^<>]*>", "", text)
                text = re.sub(r"L<([^<>|]*\|)?([^<>]*)>", lambda m: (m.group(1) or m.group(2)).rstrip("|"), text)
                text = re.sub(r"E<lt>", "‹", re.sub(r"E<gt>", "›", text))
                text = re.sub(r"[BCFISZ]<{2,} (.*?) >{2,}", r"\1", text, flags=re.S)
                text = re.sub(r"[BCFISZ]<([^<>]*)>", r"\1", text)
            text = squeeze(text.replace("‹", "<").replace("›", ">"))
            if is_prose(text):
                kept.append(text)
        yield "\n".join(kept)


# ---- all together -----------------------------------------------------------------------------------------------------


def documents(part, base, options, lists):
    package, _, kind, where = PARTS[part]
    if kind == "descriptions":
        return "", descriptions(lists)
    deb = archive(package, base, options)
    version = run("dpkg-deb", "-f", str(deb), "Version").strip()
    work = base / "unpacked" / part
    if not work.is_dir():
        work.mkdir(parents=True)
        subprocess.run(["dpkg-deb", "-x", str(deb), str(work)], check=True)
    says = work / "usr/share/doc" / package / "copyright"
    if says.is_file():
        (base / "licences").mkdir(exist_ok=True)
        (base / "licences" / part).write_bytes(says.read_bytes())
    read = {"dictionary": dictionary, "wordnet": wordnet, "html": html_pages, "pod": pod, "mallard": mallard}[kind]
    return version, read(work / where)


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("dir", type=Path)
    arguments.add_argument("--sample", action="store_true", help="write the sample beside this script")
    given = arguments.parse_args()
    base = given.dir.resolve()
    options, lists = apt(base)
    if not list(lists.glob("*Translation-en*")):
        subprocess.run(["apt-get", *options, "update"], check=True)
    text = base / "text"
    text.mkdir(parents=True, exist_ok=True)
    rows, seen, total = [], set(), [0, 0]
    for part, (package, licence, _, _) in PARTS.items():
        version, found = documents(part, base, options, lists)
        count, size, hashed = 0, 0, hashlib.sha256()
        with (text / f"{part}.txt").open("w", encoding="utf-8", newline="\n") as out:
            for document in found:
                document = "\n".join(line for line in document.split("\n") if line.strip())
                key = hashlib.sha256(document.encode()).digest()
                if len(document) < 60 or key in seen:
                    continue
                seen.add(key)
                written = (document + "\n\n").encode()
                out.write(written.decode())
                hashed.update(written)
                count, size = count + 1, size + len(written)
        name = f"`{package}` {version}" if package else "descriptions of all packages (Translation-en)"
        rows.append(f"| {part} | {name} | {licence} | {count:,} | {size / 1e6:.1f} | {hashed.hexdigest()[:16]} |")
        print(rows[-1], flush=True)
        total[0], total[1] = total[0] + count, total[1] + size
    table = ["| part | Debian package | licence | documents | MB | SHA-256 begins |", "|---|---|---|---|---|---|", *rows]
    table.append(f"| all | | | {total[0]:,} | {total[1] / 1e6:.1f} | |")
    (base / "SOURCES.md").write_text("\n".join(table) + "\n", encoding="utf-8")
    print(table[-1])
    if given.sample:
        sample(text / "wordnet.txt", Path(__file__).with_name("sample.txt"))


def sample(source, target):
    """Documents from everywhere in the file, 450 kB of them."""
    found = source.read_text(encoding="utf-8").strip().split("\n\n")
    found.sort(key=lambda document: hashlib.sha256(document.encode()).digest())
    kept, size = [], 0
    for document in found:
        size += len(document.encode()) + 2
        if size > 450_000:
            break
        kept.append(document)
    target.write_text("\n\n".join(kept) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
