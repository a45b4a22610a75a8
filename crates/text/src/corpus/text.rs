//! Running text from files, a document at a time: plain text with blank lines between documents, a document a line or a
//! file; JSONL, CSV, Parquet and the like with a column of text. In constant memory: documents longer than
//! [`LONGEST`] are divided, at the end of a line or sentence where there is one.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use super::Error;
use super::span::{Span, Spanned};
use crate::dataset::{self, Columns, Dataset, Options, Order, fnv};

/// The most bytes of a document's text; longer ones become several.
pub const LONGEST: usize = 1 << 20;

/// Where documents end in plain text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// At a blank line.
    #[default]
    BlankLines,
    /// At the end of a line.
    Lines,
    /// At the end of the file.
    Files,
}

/// A document, or a part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The text.
    pub text: String,
    /// Of the document's text; of its first part for all parts of one that was divided.
    pub hash: u64,
    /// The phrases and entities that the file gives, in bytes of the text.
    pub spans: Vec<Span>,
}

/// Documents of files, one after the other. After an error nothing follows.
pub struct Texts {
    files: std::vec::IntoIter<PathBuf>,
    layout: Layout,
    key: Option<String>,
    spans: Option<String>,
    open: Option<Box<dyn Iterator<Item = Result<Piece, Error>> + Send>>,
    bytes: u64,
}

impl std::fmt::Debug for Texts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Texts").field("files", &self.files).field("layout", &self.layout).finish_non_exhaustive()
    }
}

impl Texts {
    /// The documents of `paths`: files, and all files of folders, by name. What `.jsonl`, `.json`, `.csv`, `.tsv` and
    /// `.parquet` hold is under `key` (by default `text` and other usual names); everything else is plain text.
    ///
    /// # Errors
    /// When a path is not there, or a folder holds no file.
    pub fn open(paths: &[PathBuf], layout: Layout, key: Option<String>) -> Result<Self, Error> {
        let mut files = Vec::new();
        for path in paths {
            let before = files.len();
            collect(path, 0, &mut files)?;
            if files.len() == before {
                return Err(Error::Empty { place: path.display().to_string(), what: "" });
            }
        }
        let mut bytes = 0;
        for file in &files {
            bytes += std::fs::metadata(file).map_err(|source| Error::Read { path: file.clone(), source })?.len();
        }
        Ok(Self { files: files.into_iter(), layout, key, spans: None, open: None, bytes })
    }

    /// Reads the spans of tables too, which are under `key`: a list of objects with `start` and `end`, in code points of
    /// the text, and `kind`, which is "phrase" or "entity".
    ///
    /// # Errors
    /// When a file is plain text, which has none.
    pub fn with_spans(mut self, key: String) -> Result<Self, Error> {
        if let Some(file) = self.files.as_slice().iter().find(|file| !is_table(file)) {
            let problem = "is plain text and has no spans: give JSONL, or another table that has them";
            return Err(Error::Options(format!("{} {problem} under {key:?}", file.display())));
        }
        self.spans = Some(key);
        Ok(self)
    }

    /// The size of all files together.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether what they hold is about as long as they are.
    pub fn is_plain(&self) -> bool {
        self.files.as_slice().iter().all(|file| !is_table(file))
    }
}

/// Files with columns, by their names.
fn is_table(file: &Path) -> bool {
    let extension = file.extension().and_then(|extension| extension.to_str()).unwrap_or_default().to_ascii_lowercase();
    matches!(extension.as_str(), "jsonl" | "ndjson" | "json" | "csv" | "tsv" | "parquet")
}

/// Folders deeper than this are a loop of links.
const DEEPEST: usize = 16;

fn collect(path: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), Error> {
    let failed = |source| Error::Read { path: path.to_owned(), source };
    let meta = std::fs::metadata(path).map_err(failed)?;
    if meta.is_file() {
        files.push(path.to_owned());
        return Ok(());
    }
    if !meta.is_dir() || depth > DEEPEST {
        // a named pipe would wait for its writer
        return Err(failed(std::io::Error::other("not a regular file or folder")));
    }
    let entries: std::io::Result<Vec<PathBuf>> =
        std::fs::read_dir(path).map_err(failed)?.map(|entry| Ok(entry?.path())).collect();
    let mut entries = entries.map_err(failed)?;
    entries.sort();
    for entry in entries {
        let hidden = entry.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if !hidden {
            collect(&entry, depth + 1, files)?;
        }
    }
    Ok(())
}

impl Iterator for Texts {
    type Item = Result<Piece, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(open) = &mut self.open {
                match open.next() {
                    Some(Ok(piece)) => return Some(Ok(piece)),
                    Some(Err(error)) => {
                        self.open = None;
                        self.files = Vec::new().into_iter();
                        return Some(Err(error));
                    }
                    None => self.open = None,
                }
            }
            let file = self.files.next()?;
            let opened = if is_table(&file) {
                table(&file, self.key.as_ref(), self.spans.as_ref())
            } else {
                plain(&file, self.layout)
            };
            match opened {
                Ok(open) => self.open = Some(open),
                Err(error) => {
                    self.files = Vec::new().into_iter();
                    return Some(Err(error));
                }
            }
        }
    }
}

type Pieces = Box<dyn Iterator<Item = Result<Piece, Error>> + Send>;

fn pieces(row: Result<(String, Vec<Span>), dataset::Error>) -> Vec<Result<Piece, Error>> {
    match row {
        Ok((text, spans)) => divided(text, spans).into_iter().map(Ok).collect(),
        Err(error) => vec![Err(error.into())],
    }
}

fn table(file: &Path, key: Option<&String>, spans: Option<&String>) -> Result<Pieces, Error> {
    let columns = Columns { text: key.cloned(), ..Columns::default() };
    let options = Options { columns, ..Options::default() };
    let data = Dataset::<dataset::Text>::open(&[file.to_owned()], &options)?;
    let Some(spans) = spans.cloned() else {
        let rows = data.rows(Order::AsIs, 0);
        return Ok(Box::new(rows.map(|row| Ok((row?.text, Vec::new()))).flat_map(pieces)));
    };
    let rows = data.read_as::<Spanned>().rows(Order::AsIs, 0);
    let spanned = move |row: Result<Spanned, dataset::Error>| {
        let row = row?;
        let spans = row.spans(&spans)?;
        Ok((row.text, spans))
    };
    Ok(Box::new(rows.map(spanned).flat_map(pieces)))
}

/// The hash of a document's text, by which corpora are split; without regard to spaces around it.
pub fn hash_of(text: &str) -> u64 {
    fnv(text.trim().as_bytes())
}

/// A document as parts of at most [`LONGEST`] bytes; a span is in one of them, unless it is as long as that.
fn divided(text: String, spans: Vec<Span>) -> Vec<Piece> {
    let hash = hash_of(&text[..end_of_part(&text)]);
    if text.len() <= LONGEST {
        return vec![Piece { text, hash, spans }];
    }
    let (mut parts, mut from) = (Vec::new(), 0);
    while from < text.len() {
        let to = before_spans(from + end_of_part(&text[from..]), from, &spans);
        let own = spans.iter().filter(|span| span.start >= from && span.end <= to);
        let own = own.map(|span| Span { start: span.start - from, end: span.end - from, ..*span }).collect();
        parts.push(Piece { text: text[from..to].to_owned(), hash, spans: own });
        from = to;
    }
    parts
}

/// The end of a part that begins at `from`, moved before the spans that it would cut, where that leaves something.
fn before_spans(end: usize, from: usize, spans: &[Span]) -> usize {
    let mut moved = end;
    while let Some(cut) = spans.iter().find(|span| span.start < moved && span.end > moved) {
        moved = cut.start;
    }
    if moved > from { moved } else { end }
}

/// Where the first part of a text ends: behind a line, else a sentence, else a space, in the second half of what fits.
fn end_of_part(text: &str) -> usize {
    if text.len() <= LONGEST {
        return text.len();
    }
    let end = text.floor_char_boundary(LONGEST);
    let from = text.floor_char_boundary(LONGEST / 2);
    let half = &text[from..end];
    let found = ["\n", ". ", " "].into_iter().find_map(|mark| half.rfind(mark).map(|at| from + at + mark.len()));
    found.unwrap_or(end)
}

fn plain(file: &Path, layout: Layout) -> Result<Pieces, Error> {
    let failed = |source| Error::Read { path: file.to_owned(), source };
    let reader = BufReader::with_capacity(1 << 18, File::open(file).map_err(failed)?);
    Ok(Box::new(Plain {
        path: file.to_owned(),
        reader,
        layout,
        line: 0,
        inside: false,
        left: Vec::new(),
        text: String::new(),
        hash: None,
        complete: false,
        over: false,
    }))
}

/// A file of plain text.
struct Plain {
    path: PathBuf,
    reader: BufReader<File>,
    layout: Layout,
    /// Lines that were read.
    line: u64,
    /// Whether a part of the next line was read.
    inside: bool,
    /// The first bytes of a character that goes on.
    left: Vec<u8>,
    /// What of the document was read and not given.
    text: String,
    /// Of the first part, where one was given.
    hash: Option<u64>,
    /// Whether `text` ends the document.
    complete: bool,
    /// Whether the file has no more.
    over: bool,
}

impl Plain {
    /// Reads a line, or as much of it as a part may have; whether there was one, and whether it ended.
    fn read_line(&mut self, line: &mut Vec<u8>) -> Result<bool, Error> {
        line.clear();
        let room = (LONGEST + 4) as u64;
        let failed = |source| Error::Read { path: self.path.clone(), source };
        (&mut self.reader).take(room).read_until(b'\n', line).map_err(failed)?;
        let ended = line.ends_with(b"\n") || line.len() as u64 != room;
        if self.line == 0 && !self.inside && line.starts_with(b"\xef\xbb\xbf") {
            line.drain(..3);
        }
        Ok(ended)
    }

    fn give(&mut self, end: usize) -> Piece {
        let rest = self.text.split_off(end);
        let text = std::mem::replace(&mut self.text, rest);
        let hash = *self.hash.get_or_insert_with(|| hash_of(&text));
        Piece { text, hash, spans: Vec::new() }
    }

    /// The document, or its last part; none where there is nothing but space.
    fn end(&mut self) -> Option<Piece> {
        let length = self.text.trim_end().len();
        self.text.truncate(length);
        let piece = (length > 0).then(|| self.give(length));
        self.text.clear();
        self.hash = None;
        piece
    }

    fn advance(&mut self) -> Result<Option<Piece>, Error> {
        let mut line = Vec::new();
        loop {
            if self.text.len() > LONGEST {
                let end = end_of_part(&self.text);
                return Ok(Some(self.give(end)));
            }
            if std::mem::take(&mut self.complete)
                && let Some(piece) = self.end()
            {
                return Ok(Some(piece));
            }
            if self.over {
                return Ok(self.end());
            }
            let ended = self.read_line(&mut line)?;
            if line.is_empty() && self.left.is_empty() {
                self.over = true;
                continue;
            }
            self.left.append(&mut line);
            let valid = match std::str::from_utf8(&self.left) {
                Ok(text) => text,
                // a character that goes on in the next piece of a very long line
                Err(error) if !ended && error.error_len().is_none() => {
                    let valid = error.valid_up_to();
                    std::str::from_utf8(&self.left[..valid]).unwrap_or_default()
                }
                Err(_) => {
                    let problem = "is not UTF-8: convert the file first, for instance with iconv -f LATIN1 -t UTF-8";
                    let place = format!("{}, line {}", self.path.display(), self.line + 1);
                    return Err(Error::Options(format!("{place}, {problem}")));
                }
            };
            let read = valid.len();
            let blank = ended && !self.inside && valid.trim().is_empty();
            let is_end = match self.layout {
                Layout::BlankLines => blank,
                Layout::Lines => ended,
                Layout::Files => false,
            };
            self.text.push_str(valid);
            self.left.drain(..read);
            self.inside = !ended;
            self.line += u64::from(ended);
            // the end comes after the parts of a document that is too long
            self.complete = is_end;
        }
    }
}

impl Iterator for Plain {
    type Item = Result<Piece, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance().transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &[u8], name: &str, layout: Layout) -> Result<Vec<Piece>, Error> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(name);
        std::fs::write(&file, content).unwrap();
        Texts::open(&[dir.path().to_owned()], layout, None)?.collect()
    }

    fn texts(content: &str, name: &str, layout: Layout) -> Vec<String> {
        read(content.as_bytes(), name, layout).unwrap().into_iter().map(|piece| piece.text).collect()
    }

    #[test]
    fn documents_end_where_they_should() {
        let text = "\u{feff}One\r\nmore line\n\n \n\nTwo\nlast";
        assert_eq!(texts(text, "a.txt", Layout::BlankLines), ["One\r\nmore line", "Two\nlast"]);
        assert_eq!(texts(text, "a", Layout::Lines), ["One", "more line", "Two", "last"]);
        assert_eq!(texts(text, "a.txt", Layout::Files), ["One\r\nmore line\n\n \n\nTwo\nlast"]);
        assert_eq!(texts("", "a.txt", Layout::Files), [""; 0]);
        assert_eq!(texts("{\"text\": \"x\\ny\"}\n{\"text\": \"z\"}\n", "a.jsonl", Layout::Lines), ["x\ny", "z"]);
        let error = read(b"fine\n\xff\n", "a.txt", Layout::Lines).unwrap_err().to_string();
        assert!(error.contains("a.txt, line 2, is not UTF-8"), "{error}");
        assert!(read(b"{\"body\": 1}\n", "a.jsonl", Layout::Lines).is_err());
    }

    #[test]
    fn copies_share_a_hash() {
        let pieces = read("same\n\nother\n\nsame\n".as_bytes(), "a.txt", Layout::BlankLines).unwrap();
        assert_eq!(pieces[0].hash, pieces[2].hash);
        assert_ne!(pieces[0].hash, pieces[1].hash);
        let table = read(b"{\"text\": \"same\"}\n", "a.jsonl", Layout::BlankLines).unwrap();
        assert_eq!(table[0].hash, pieces[0].hash, "whatever the file");
    }

    #[test]
    fn long_documents_are_divided() {
        let sentence = "Ein Satz über Öl. ";
        let one_line = sentence.repeat(150_000);
        let many_lines = "Ein Satz über Öl.\n".repeat(150_000);
        let no_space = "ü".repeat(1_500_000);
        for (text, last) in [(&one_line, ". "), (&many_lines, "\n"), (&no_space, "ü")] {
            let json = serde_json::json!({ "text": text }).to_string();
            for (content, name) in [(text, "a.txt"), (&json, "a.jsonl")] {
                let pieces = read(content.as_bytes(), name, Layout::BlankLines).unwrap();
                assert!(pieces.len() > 2 && pieces.iter().all(|piece| piece.text.len() <= LONGEST));
                assert!(pieces[0].text.ends_with(last) && pieces[0].text.len() > LONGEST / 2, "{name} {last:?}");
                assert!(pieces.iter().all(|piece| piece.hash == pieces[0].hash));
                let whole: String = pieces.iter().map(|piece| piece.text.as_str()).collect();
                assert_eq!(whole.trim_end(), text.trim_end());
            }
        }
        // a span stays in one part
        let mut text = "a".repeat(LONGEST - 5);
        text.push_str("and New York, then the rest");
        let list = |start: usize, end: usize| serde_json::json!([{ "start": start, "end": end, "kind": "entity" }]);
        let row = serde_json::json!({ "text": &text, "of": list(LONGEST - 1, LONGEST + 7) }).to_string();
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.jsonl");
        std::fs::write(&file, row).unwrap();
        let texts = Texts::open(&[file], Layout::Files, None).unwrap().with_spans("of".into()).unwrap();
        let pieces: Vec<Piece> = texts.map(Result::unwrap).collect();
        assert_eq!(pieces.iter().map(|piece| piece.text.as_str()).collect::<String>(), text);
        let spanned: Vec<_> = pieces.iter().flat_map(|p| p.spans.iter().map(|s| &p.text[s.start..s.end])).collect();
        assert_eq!(spanned, ["New York"]);
        // the end of a document that was divided is not lost
        let text = format!("{}\nb\n", "a ".repeat(LONGEST / 2 + 3));
        let pieces = read(text.as_bytes(), "a.txt", Layout::Lines).unwrap();
        assert_eq!(pieces.iter().map(|piece| piece.text.len()).collect::<Vec<_>>(), [LONGEST, 5, 1]);
        // a document of exactly what fits, and the next begins a new hash
        let text = format!("{}\n\nb\n", "a".repeat(LONGEST));
        let pieces = read(text.as_bytes(), "a.txt", Layout::BlankLines).unwrap();
        assert_eq!(pieces.last().unwrap().text, "b");
        assert_ne!(pieces[0].hash, pieces.last().unwrap().hash);
    }

    /// The end may come with a part, behind the only place to divide, and after a mark of the byte order.
    #[test]
    fn long_documents_keep_their_end() {
        let text = format!("{}\nb\nc\n", "a".repeat(LONGEST + 1));
        let lengths =
            |text: &str, layout| -> Vec<usize> { texts(text, "a.txt", layout).iter().map(String::len).collect() };
        assert_eq!(lengths(&text, Layout::Lines), [LONGEST, 1, 1, 1]);
        let text = format!("{}. {} \nb\n", "a".repeat(LONGEST * 3 / 5), "c".repeat(LONGEST * 11 / 10));
        let all = texts(&text, "a.txt", Layout::Lines);
        assert!(all.len() == 4 && all[3] == "b" && all[0].ends_with(". ") && all[2].ends_with('c'), "{}", all.len());
        let text = format!("\u{feff}{}\nb\n", "北".repeat(400_000));
        assert_eq!(texts(&text, "a.txt", Layout::Lines).concat(), text[3..].replace('\n', ""));
    }
}
