//! Texts from arguments, files and standard input: plain lines, JSON objects one a line (JSONL), or columns (CSV, TSV). A stream is read
//! in pieces as it comes, so that answers begin before it ends and memory stays small.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Read, stdin};
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::{Map, Value};

use crate::columns::{Marks, cells};
use crate::failure::hinted;

/// Longer lines are refused: a file without line ends would otherwise fill the memory.
const LONGEST_LINE: u64 = 64 << 20;
/// A piece holds at most that many records…
const PIECE: usize = 1024;
/// …and about that many bytes.
pub const PIECE_BYTES: usize = 4 << 20;

/// One line of a stream and where it stood.
#[derive(Debug)]
pub struct Record {
    /// File name and line number, for messages.
    pub place: Place,
    /// What it holds.
    pub content: Content,
}

/// A line of a file.
#[derive(Clone, Debug)]
pub struct Place {
    file: String,
    line: u64,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, line {}", self.file, self.line)
    }
}

/// A line's content.
#[derive(Debug)]
pub enum Content {
    /// A line of text.
    Plain(String),
    /// A line that held a JSON object.
    Object(Map<String, Value>),
}

impl Record {
    /// About how many bytes it takes.
    pub fn size(&self) -> usize {
        match &self.content {
            Content::Plain(text) => text.len(),
            Content::Object(object) => serde_json::to_vec(object).map_or(0, |bytes| bytes.len()),
        }
    }

    /// The text itself, or the string under `key`.
    ///
    /// # Errors
    /// When there is no such string, or it is empty.
    pub fn text(self, key: &str) -> anyhow::Result<String> {
        match self.content {
            Content::Plain(text) => Ok(text),
            Content::Object(mut object) => take_string(&mut object, key, &self.place),
        }
    }

    /// The text itself or the string under `key`, and the string under `other` where there is one.
    ///
    /// # Errors
    /// As [`Self::text`].
    pub fn text_and(self, key: &str, other: &str) -> anyhow::Result<(String, Option<String>)> {
        match self.content {
            Content::Plain(text) => Ok((text, None)),
            Content::Object(mut object) => {
                let text = take_string(&mut object, key, &self.place)?;
                let is_there = object.get(other).is_some_and(|value| !value.is_null());
                Ok((text, is_there.then(|| take_string(&mut object, other, &self.place)).transpose()?))
            }
        }
    }

    /// Two texts: the strings under `a` and `b`, or two columns with a tab between them.
    ///
    /// # Errors
    /// When there are not exactly two.
    pub fn pair(self) -> anyhow::Result<(String, String)> {
        self.two("a", "b")
    }

    /// Two texts: the strings under these keys, or two columns with a tab between them.
    ///
    /// # Errors
    /// When there are not exactly two.
    pub fn two(self, first: &str, second: &str) -> anyhow::Result<(String, String)> {
        match self.content {
            Content::Object(mut object) => {
                Ok((take_string(&mut object, first, &self.place)?, take_string(&mut object, second, &self.place)?))
            }
            Content::Plain(line) => {
                let columns: Vec<&str> = line.split('\t').collect();
                match columns[..] {
                    [a, b] if !a.trim().is_empty() && !b.trim().is_empty() => Ok((a.to_owned(), b.to_owned())),
                    _ => Err(hinted(
                        format!("{}: a pair needs two texts with one tab between them", self.place),
                        if first == "a" {
                            "or give each line as {\"a\": …, \"b\": …}; for one query against many lines use --query"
                                .to_owned()
                        } else {
                            format!("or give each line as {{\"{first}\": …, \"{second}\": …}}")
                        },
                    )),
                }
            }
        }
    }
}

fn take_string(object: &mut Map<String, Value>, key: &str, place: &Place) -> anyhow::Result<String> {
    match object.remove(key) {
        Some(Value::String(text)) if !text.trim().is_empty() => Ok(text),
        Some(Value::String(_)) => {
            Err(hinted(format!("{place}: the text under \"{key}\" is empty"), "remove the line, or give it a text"))
        }
        Some(_) => Err(hinted(format!("{place}: \"{key}\" is no string"), "each line needs a text there")),
        None => {
            let keys: Vec<String> = object.keys().take(8).map(|key| format!("\"{key}\"")).collect();
            Err(hinted(
                format!("{place}: there is no \"{key}\""),
                if keys.is_empty() {
                    "the object is empty".to_owned()
                } else {
                    format!("the line has {}; --key says which one holds the text", keys.join(", "))
                },
            ))
        }
    }
}

/// How lines are understood.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    /// A line that begins with `{` is JSON, others are text.
    Either,
    /// Every line is text.
    Plain,
    /// Every line is a JSON object.
    Json,
    /// The first line names columns with this separator between them, the others fill them.
    Columns(u8),
}

/// Lines of several files, or of standard input, one after the other.
pub struct Stream {
    waiting: VecDeque<PathBuf>,
    open: Option<Lines>,
}

struct Lines {
    from: BufReader<Box<dyn Read + Send>>,
    name: String,
    line: u64,
    form: Form,
    /// The names of columns, once they are read.
    columns: Option<Vec<String>>,
    /// Lines that were read for a record that turned out to be wrong, to be read again.
    again: VecDeque<(Vec<u8>, Place)>,
}

impl Stream {
    /// Standard input.
    ///
    /// # Errors
    /// When that is a terminal, where nobody would know that input is awaited.
    pub fn stdin(what: &str) -> anyhow::Result<Self> {
        if stdin().is_terminal() {
            return Err(hinted(
                format!("no {what} given"),
                "give it as an argument, with --file, or through standard input; --help has examples",
            ));
        }
        Ok(Self { waiting: VecDeque::new(), open: Some(Lines::stdin()) })
    }

    /// `files` in order; `-` is standard input. A name that ends in `.jsonl` holds JSON objects, in `.csv` and
    /// `.tsv` columns, others plain lines.
    pub fn files(files: &[PathBuf]) -> Self {
        Self { waiting: files.iter().cloned().collect(), open: None }
    }

    /// The next lines: those that are there already, at least one. None at the end. Blank lines are left out.
    ///
    /// # Errors
    /// A file that cannot be read; a line that is not UTF-8, too long, or not the JSON it should be.
    pub fn piece(&mut self) -> anyhow::Result<Option<Vec<Record>>> {
        self.lines()?.map(|lines| lines.into_iter().collect()).transpose()
    }

    /// The same, but a line that is not UTF-8 or not the JSON it should be is an error in its place.
    ///
    /// # Errors
    /// A file that cannot be read; a line that is too long.
    pub fn lines(&mut self) -> anyhow::Result<Option<Vec<anyhow::Result<Record>>>> {
        let mut records = Vec::new();
        let mut bytes = 0;
        loop {
            let lines = match &mut self.open {
                Some(lines) => lines,
                None => match self.waiting.pop_front() {
                    Some(path) => self.open.insert(Lines::open(&path)?),
                    None => break,
                },
            };
            match lines.next()? {
                None => self.open = None,
                Some((length, record)) => {
                    bytes += length;
                    records.extend(record);
                    let enough = records.len() >= PIECE || bytes >= PIECE_BYTES;
                    if !records.is_empty() && (enough || lines.from.buffer().is_empty()) {
                        break;
                    }
                }
            }
        }
        Ok((!records.is_empty()).then_some(records))
    }

    /// Everything up to the end.
    ///
    /// # Errors
    /// As [`Self::piece`].
    pub fn all(mut self) -> anyhow::Result<Vec<Record>> {
        let mut records = Vec::new();
        while let Some(piece) = self.piece()? {
            records.extend(piece);
        }
        Ok(records)
    }
}

impl Lines {
    fn stdin() -> Self {
        Self::new(Box::new(stdin()), "standard input".into(), Form::Either)
    }

    fn open(path: &Path) -> anyhow::Result<Self> {
        if path == Path::new("-") {
            return Ok(Self::stdin());
        }
        let name = path.display().to_string();
        let file = File::open(path).with_context(|| format!("{name}: cannot open the file"))?;
        if file.metadata().is_ok_and(|metadata| metadata.is_dir()) {
            return Err(hinted(format!("{name}: this is a directory"), "name the files in it"));
        }
        let end = path.extension().map(|end| end.to_string_lossy().to_lowercase()).unwrap_or_default();
        let form = match &*end {
            "jsonl" | "ndjson" => Form::Json,
            "csv" => Form::Columns(b','),
            "tsv" => Form::Columns(b'\t'),
            _ => Form::Plain,
        };
        Ok(Self::new(Box::new(file), name, form))
    }

    fn new(from: Box<dyn Read + Send>, name: String, form: Form) -> Self {
        Self {
            from: BufReader::with_capacity(1 << 18, from),
            name,
            line: 0,
            form,
            columns: None,
            again: VecDeque::new(),
        }
    }

    /// The next line with its length in bytes; no record where it is blank.
    fn next(&mut self) -> anyhow::Result<Option<(usize, Option<anyhow::Result<Record>>)>> {
        let Some((bytes, place)) = self.next_line()? else { return Ok(None) };
        let length = bytes.len();
        if let Form::Columns(separator) = self.form {
            return self.row(bytes, place, separator);
        }
        Ok(Some((length, self.record(bytes, place).transpose())))
    }

    /// The next record of a file of columns, whose first names them.
    fn row(
        &mut self,
        mut bytes: Vec<u8>,
        place: Place,
        separator: u8,
    ) -> anyhow::Result<Option<(usize, Option<anyhow::Result<Record>>)>> {
        // within quotation marks a record goes on in the next line
        let (mut marks, mut lines, first) = (Marks::default(), VecDeque::new(), bytes.len());
        let mut goes_on = separator == b',' && marks.go_on(&bytes);
        while goes_on {
            let more = if bytes.len() as u64 > LONGEST_LINE { None } else { self.next_line()? };
            let Some((more, at)) = more else {
                // the mark is the text's own or a mistake: what follows stands for itself
                lines.append(&mut self.again);
                self.again = lines;
                let error = hinted(
                    format!("{place}: a quotation mark opens here and never closes"),
                    "double the marks that belong to the text",
                );
                return if self.columns.is_none() { Err(error) } else { Ok(Some((first, Some(Err(error))))) };
            };
            goes_on = marks.go_on(&more);
            bytes.extend(&more);
            lines.push_back((more, at));
        }
        let length = bytes.len();
        let text = match self.text_of(bytes, &place) {
            Ok(text) => text,
            // without names no row means anything
            Err(error) if self.columns.is_none() => return Err(error),
            Err(error) => return Ok(Some((length, Some(Err(error))))),
        };
        if text.trim().is_empty() {
            return Ok(Some((length, None)));
        }
        let cells = cells(&text, separator);
        let Some(names) = &self.columns else {
            self.columns = Some(cells);
            return Ok(Some((length, None)));
        };
        if cells.len() != names.len() {
            let problem = format!("{place}: {} columns, but the first line names {}", cells.len(), names.len());
            let error = hinted(problem, "put a cell with a separator in it into quotation marks");
            return Ok(Some((length, Some(Err(error)))));
        }
        let object = names.iter().cloned().zip(cells.into_iter().map(Value::String)).collect();
        Ok(Some((length, Some(Ok(Record { place, content: Content::Object(object) })))))
    }

    /// The next line with its end; none after the last.
    fn next_line(&mut self) -> anyhow::Result<Option<(Vec<u8>, Place)>> {
        if let Some(line) = self.again.pop_front() {
            return Ok(Some(line));
        }
        let mut bytes = Vec::new();
        let read = (&mut self.from).take(LONGEST_LINE + 1).read_until(b'\n', &mut bytes);
        read.map_err(|error| match error.kind() {
            // a pipe closed while reading is an error, not the quiet end of a reader of ours
            io::ErrorKind::BrokenPipe => io::Error::other("the pipe broke"),
            _ => error,
        })
        .with_context(|| format!("{}: cannot read on after line {}", self.name, self.line))?;
        if bytes.is_empty() {
            return Ok(None);
        }
        self.line += 1;
        let place = Place { file: self.name.clone(), line: self.line };
        if bytes.len() as u64 > LONGEST_LINE {
            return Err(hinted(
                format!("{place}: the line is longer than {} MB", LONGEST_LINE >> 20),
                "one text a line is expected; models read some hundred words of it at most",
            ));
        }
        Ok(Some((bytes, place)))
    }

    /// A line as text.
    fn text_of(&self, mut bytes: Vec<u8>, place: &Place) -> anyhow::Result<String> {
        while bytes.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
            bytes.pop();
        }
        let mut text = String::from_utf8(bytes).map_err(|error| {
            hinted(
                format!("{place}: not UTF-8 at byte {} of the line", error.utf8_error().valid_up_to() + 1),
                "convert the file first, for instance with iconv -f LATIN1 -t UTF-8",
            )
        })?;
        if place.line == 1 && text.starts_with('\u{feff}') {
            // the byte order mark that some editors leave behind
            text.drain(..'\u{feff}'.len_utf8());
        }
        Ok(text)
    }

    /// What a line holds; nothing where it is blank.
    fn record(&self, bytes: Vec<u8>, place: Place) -> anyhow::Result<Option<Record>> {
        let text = self.text_of(bytes, &place)?;
        if text.trim().is_empty() {
            return Ok(None);
        }
        let content = if self.form == Form::Json || self.form == Form::Either && text.trim_start().starts_with('{') {
            Content::Object(serde_json::from_str(&text).map_err(|error| {
                hinted(
                    format!("{place}: not a JSON object: {}", spoken(&error)),
                    if self.form == Form::Json {
                        "every line of a .jsonl file is an object such as {\"text\": \"…\"}; a file of plain texts has \
                         another ending"
                    } else {
                        "a line that begins with { is read as JSON here; put plain texts into a file and give it with \
                         --file"
                    },
                )
            })?)
        } else {
            Content::Plain(text)
        };
        Ok(Some(Record { place, content }))
    }
}

/// A parser's complaint with the column alone: it thinks that every line is the first.
fn spoken(error: &serde_json::Error) -> String {
    error.to_string().replace(" at line 1 column ", " at column ")
}

/// Texts given as arguments.
///
/// # Errors
/// When one of them is empty.
pub fn checked(texts: &[String]) -> anyhow::Result<Vec<&str>> {
    if let Some(index) = texts.iter().position(|text| text.trim().is_empty()) {
        return Err(hinted(
            format!("text {} of {} is empty", index + 1, texts.len()),
            "give some words; in a shell, put a text with spaces into quotes",
        ));
    }
    Ok(texts.iter().map(String::as_str).collect())
}

/// Nothing came in.
pub fn nothing(what: &str) -> anyhow::Error {
    hinted(format!("the input holds no {what}"), "blank lines do not count; --help has examples")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(bytes: &[u8], form: Form) -> Stream {
        let from = Box::new(io::Cursor::new(bytes.to_vec()));
        Stream { waiting: VecDeque::new(), open: Some(Lines::new(from, "f".into(), form)) }
    }

    fn texts(bytes: &[u8], form: Form) -> anyhow::Result<Vec<String>> {
        lines(bytes, form).all()?.into_iter().map(|record| record.text("text")).collect()
    }

    #[test]
    fn lines_and_objects_in_order() {
        let bytes = "\u{feff}one\r\n\n{\"id\": 1, \"text\": \"two\"}\n  three".as_bytes();
        assert_eq!(texts(bytes, Form::Either).unwrap(), ["one", "two", "  three"]);
        assert_eq!(texts(b"{not json}\n", Form::Plain).unwrap(), ["{not json}"]);
        assert!(texts(b"", Form::Either).unwrap().is_empty());
    }

    #[test]
    fn wrong_lines_are_named() {
        for (bytes, wanted) in [
            (&b"a\n\xff\xfe\n"[..], "f, line 2: not UTF-8 at byte 1"),
            (b"a\n\n{\"text\": 3}", "f, line 3: \"text\" is no string"),
            (b"{\"body\": \"x\"}", "f, line 1: there is no \"text\""),
            (b"{\"text\": \" \"}", "f, line 1: the text under \"text\" is empty"),
            (b"{\"text\": \"x\"", "f, line 1: not a JSON object: EOF while parsing an object at column"),
        ] {
            let error = texts(bytes, Form::Either).unwrap_err().to_string();
            assert!(error.starts_with(wanted), "{error}");
        }
        let error = texts(b"plain\n", Form::Json).unwrap_err().to_string();
        assert!(error.starts_with("f, line 1: not a JSON object"), "{error}");
    }

    #[test]
    fn columns_are_named_by_the_first_line() {
        let csv = b"id,text\n1,\"a, \"\"b\"\"\nc\"\n\n2\n3,d\n";
        let mut stream = lines(csv, Form::Columns(b','));
        let read = stream.lines().unwrap().unwrap();
        let texts: Vec<String> = read
            .into_iter()
            .map(|one| one.and_then(|one| one.text("text")).unwrap_or_else(|e| e.to_string()))
            .collect();
        assert_eq!(texts, ["a, \"b\"\nc", "f, line 5: 1 columns, but the first line names 2", "d"]);
        // a mark within a cell is the text's own; one that never closes spoils its own row alone
        let mut stream = lines(b"text\n5\" pipe\n\"a\nb\nc\n", Form::Columns(b','));
        let pieces = std::iter::from_fn(|| stream.lines().unwrap());
        let texts: Vec<String> = pieces
            .flatten()
            .map(|one| one.and_then(|one| one.text("text")).unwrap_or_else(|e| e.to_string()))
            .collect();
        assert_eq!(texts, ["5\" pipe", "f, line 3: a quotation mark opens here and never closes", "b", "c"]);
        let error = lines(b"te\xffxt\na\n", Form::Columns(b',')).lines().unwrap_err().to_string();
        assert!(error.starts_with("f, line 1: not UTF-8"), "{error}");
    }

    #[test]
    fn wrong_lines_stand_between_good_ones() {
        let read = lines(b"a\n\xff\nb\n{x\n", Form::Either).lines().unwrap().unwrap();
        let fine: Vec<bool> = read.iter().map(Result::is_ok).collect();
        assert_eq!(fine, [true, false, true, false]);
    }

    #[test]
    fn a_line_without_end_is_refused() {
        let endless = Box::new(io::repeat(b'x'));
        let mut stream = Stream { waiting: VecDeque::new(), open: Some(Lines::new(endless, "f".into(), Form::Either)) };
        let error = stream.piece().unwrap_err().to_string();
        assert_eq!(error, "f, line 1: the line is longer than 64 MB");
    }

    #[test]
    fn pieces_are_bounded() {
        let many = "x\n".repeat(PIECE * 2 + 5);
        let mut stream = lines(many.as_bytes(), Form::Either);
        let mut total = 0;
        while let Some(piece) = stream.piece().unwrap() {
            assert!(piece.len() <= PIECE);
            total += piece.len();
        }
        assert_eq!(total, PIECE * 2 + 5);
    }

    #[test]
    fn pairs() {
        let pair = |bytes: &[u8]| lines(bytes, Form::Either).all().unwrap().remove(0).pair();
        assert_eq!(pair(b"a b\tc\n").unwrap(), ("a b".into(), "c".into()));
        assert_eq!(pair(b"{\"b\": \"y\", \"a\": \"x\"}").unwrap(), ("x".into(), "y".into()));
        for wrong in [&b"a"[..], b"a\tb\tc", b"a\t ", b"{\"a\": \"x\"}"] {
            assert!(pair(wrong).is_err());
        }
    }

    #[test]
    fn empty_arguments_are_refused() {
        assert!(checked(&["a".into(), " ".into()]).unwrap_err().to_string().contains("text 2 of 2"));
        assert_eq!(checked(&["a".into()]).unwrap(), ["a"]);
    }
}
