//! Texts from arguments, files and standard input: plain lines, JSON objects one a line (JSONL), columns (CSV, TSV), or one
//! text as a whole. A stream is read in pieces as it comes, so that answers begin before it ends and memory stays small.

mod record;

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Read, stdin};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use serde_json::Value;

pub use self::record::{Content, Place, Record};
use crate::columns::{Marks, cells};
use crate::failure::hinted;
use crate::report;

/// Longer lines, and longer texts of one file, are refused: a file without line ends would otherwise fill the memory.
const LONGEST_LINE: u64 = 64 << 20;
/// A piece holds at most that many records…
const PIECE: usize = 1024;
/// …and about that many bytes.
pub const PIECE_BYTES: usize = 4 << 20;

/// How what comes in is understood.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Form {
    /// A line that begins with `{` is JSON, others are text.
    Either,
    /// Every line is text.
    Plain,
    /// Every line is a JSON object.
    Json,
    /// The first line names columns with this separator between them, the others fill them.
    Columns(u8),
    /// All lines together are one text.
    Whole,
}

impl Form {
    /// That of a file by its name's ending; `-` is standard input.
    fn of(path: &Path) -> Self {
        if path == Path::new("-") {
            return Self::Either;
        }
        let end = path.extension().map(|end| end.to_string_lossy().to_lowercase()).unwrap_or_default();
        match &*end {
            // what is one object is a line of it, and of others the error says what a line should be
            "jsonl" | "ndjson" | "jl" | "json" => Self::Json,
            "csv" => Self::Columns(b','),
            "tsv" => Self::Columns(b'\t'),
            _ => Self::Plain,
        }
    }
}

/// Lines of several files, or of standard input, one after the other.
pub struct Stream {
    waiting: VecDeque<(PathBuf, Form)>,
    open: Option<Lines>,
}

struct Lines {
    from: BufReader<Box<dyn Read + Send>>,
    name: Arc<str>,
    line: u64,
    form: Form,
    /// The names of columns, once they are read.
    columns: Option<Vec<String>>,
    /// Lines that were read for a record that turned out to be wrong, to be read again.
    again: VecDeque<(Vec<u8>, Place)>,
}

impl Stream {
    /// `files` in order, or standard input if there are none; `-` is standard input too. Each is read as `form` says,
    /// else by its name's ending: `.jsonl` holds JSON objects, `.csv` and `.tsv` columns, others plain lines.
    pub fn of(files: &[PathBuf], form: Option<Form>) -> Self {
        let stdin = [PathBuf::from("-")];
        let files = if files.is_empty() { &stdin[..] } else { files };
        let waiting = files.iter().map(|path| (path.clone(), form.unwrap_or_else(|| Form::of(path)))).collect();
        Self { waiting, open: None }
    }

    /// That the files are there, before anything else is begun.
    ///
    /// # Errors
    /// When one is missing or a directory.
    pub fn check(&self) -> anyhow::Result<()> {
        // others, such as pipes, give what they hold only once
        let is_other = |path: &Path| path.metadata().is_ok_and(|found| !found.is_file() && !found.is_dir());
        let files = self.waiting.iter().map(|(path, _)| path).filter(|path| *path != Path::new("-") && !is_other(path));
        files.map(|path| opened(path)).try_for_each(|file| file.map(drop))
    }

    /// Whether texts may stand under keys in any of it.
    pub fn has_keys(&self) -> bool {
        self.waiting.iter().any(|(_, form)| !matches!(form, Form::Plain | Form::Whole))
    }

    /// How many texts there are, blank lines counted, when all are files.
    pub fn count(&self) -> Option<u64> {
        self.waiting.iter().map(|(path, form)| texts_of(path, *form)).sum()
    }

    /// The next lines: those that are there already, at least one. None at the end. Blank lines are left out; a line that is
    /// not UTF-8 or not the JSON it should be is an error in its place.
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
                    Some((path, form)) => self.open.insert(Lines::open(&path, form)?),
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
}

fn opened(path: &Path) -> anyhow::Result<File> {
    let name = path.display();
    let file = File::open(path).with_context(|| format!("{name}: cannot open the file"))?;
    if file.metadata().is_ok_and(|metadata| metadata.is_dir()) {
        return Err(hinted(format!("{name}: this is a directory"), "name the files in it"));
    }
    Ok(file)
}

impl Lines {
    fn open(path: &Path, form: Form) -> anyhow::Result<Self> {
        if path == Path::new("-") {
            return Ok(Self::new(Box::new(stdin()), "standard input".into(), form));
        }
        Ok(Self::new(Box::new(opened(path)?), path.display().to_string().into(), form))
    }

    fn new(from: Box<dyn Read + Send>, name: Arc<str>, form: Form) -> Self {
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
        if self.form == Form::Whole {
            return self.whole();
        }
        let Some((bytes, place)) = self.next_line()? else { return Ok(None) };
        let length = bytes.len();
        if let Form::Columns(separator) = self.form {
            return self.row(bytes, place, separator);
        }
        Ok(Some((length, self.record(bytes, place).transpose())))
    }

    /// All that is left as one record; none at the end.
    fn whole(&mut self) -> anyhow::Result<Option<(usize, Option<anyhow::Result<Record>>)>> {
        let place = Place { file: self.name.clone(), line: 0 };
        let mut bytes = Vec::new();
        let read = (&mut self.from).take(LONGEST_LINE + 1).read_to_end(&mut bytes);
        read.map_err(broken).with_context(|| format!("{place}: cannot read it"))?;
        if bytes.is_empty() {
            return Ok(None);
        }
        if bytes.len() as u64 > LONGEST_LINE {
            let problem = format!("{place}: the text is longer than {} MB", LONGEST_LINE >> 20);
            return Err(hinted(problem, "divide it, or leave --format text out if each line is a text"));
        }
        let length = bytes.len();
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
            if let Some(twice) = cells.iter().enumerate().find(|(at, name)| cells[..*at].contains(name)) {
                let problem = format!("{place}: two columns are called {:?}", twice.1);
                return Err(hinted(problem, "rename one of them: which was meant is not known"));
            }
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
        read.map_err(broken).with_context(|| format!("{}: cannot read on after line {}", self.name, self.line))?;
        if bytes.is_empty() {
            return Ok(None);
        }
        self.line += 1;
        let place = Place { file: self.name.clone(), line: self.line };
        if bytes.len() as u64 > LONGEST_LINE {
            return Err(hinted(
                format!("{place}: the line is longer than {} MB", LONGEST_LINE >> 20),
                "one text a line is expected; --format text makes one of a whole file",
            ));
        }
        Ok(Some((bytes, place)))
    }

    /// A line as text.
    fn text_of(&self, mut bytes: Vec<u8>, place: &Place) -> anyhow::Result<String> {
        while bytes.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
            bytes.pop();
        }
        if place.line <= 1 && bytes.starts_with(&[0x1f, 0x8b]) {
            return Err(hinted(format!("{place}: this is compressed"), "unpack it first: gunzip -c FILE | ptm …"));
        }
        let mut text = String::from_utf8(bytes).map_err(|error| {
            hinted(
                format!(
                    "{place}: not UTF-8 at byte {}{}",
                    error.utf8_error().valid_up_to() + 1,
                    if place.line > 0 { " of the line" } else { "" }
                ),
                "convert the file first, for instance with iconv -f LATIN1 -t UTF-8",
            )
        })?;
        if place.line <= 1 && text.starts_with('\u{feff}') {
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
                        "every line of a .jsonl file is an object such as {\"text\": \"…\"}; --format lines reads plain \
                         texts"
                    } else {
                        "a line that begins with { is read as JSON here; --format lines takes it as text"
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

/// A pipe that is closed while it is read is an error, not the quiet end of a reader of ours.
fn broken(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::BrokenPipe { io::Error::other("the pipe broke") } else { error }
}

/// How many texts a file holds, blank lines counted; none where that is not known before it is read.
fn texts_of(path: &Path, form: Form) -> Option<u64> {
    if !path.metadata().ok()?.is_file() {
        return None;
    }
    if form == Form::Whole {
        return Some(1);
    }
    let mut from = BufReader::with_capacity(1 << 18, File::open(path).ok()?);
    let mut lines = 0;
    loop {
        let bytes = from.fill_buf().ok()?;
        let (length, ends) = (bytes.len(), bytes.iter().filter(|&&byte| byte == b'\n').count());
        if length == 0 {
            return Some(lines);
        }
        lines += ends as u64;
        from.consume(length);
    }
}

/// Texts given as arguments. Those that are the name of a file are texts too, which is said unless `quiet`.
///
/// # Errors
/// When one of them is empty.
pub fn checked(texts: &[String], quiet: bool) -> anyhow::Result<Vec<&str>> {
    if let Some(index) = texts.iter().position(|text| text.trim().is_empty()) {
        return Err(hinted(
            format!("text {} of {} is empty", index + 1, texts.len()),
            "give some words; in a shell, put a text with spaces into quotes",
        ));
    }
    for text in texts.iter().filter(|text| !quiet && Path::new(text).is_file()) {
        report::note(&format!(
            "{text:?} is taken as a text; --file {text} reads the file, with --format text as one text"
        ));
    }
    Ok(texts.iter().map(String::as_str).collect())
}

/// Whether anything can come through standard input.
///
/// # Errors
/// When that is a terminal, where nobody would know that input is awaited.
pub fn awaited(what: &str) -> anyhow::Result<()> {
    if stdin().is_terminal() {
        return Err(hinted(
            format!("no {what} given"),
            "give it as an argument, with --file, or through standard input; --help has examples",
        ));
    }
    Ok(())
}

/// Nothing came in.
pub fn nothing(what: &str) -> anyhow::Error {
    let hint =
        "blank lines do not count, nor does the first line of a table, which names its columns; --help has examples";
    hinted(format!("the input holds no {what}"), hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(bytes: &[u8], form: Form) -> Stream {
        let from = Box::new(io::Cursor::new(bytes.to_vec()));
        Stream { waiting: VecDeque::new(), open: Some(Lines::new(from, "f".into(), form)) }
    }

    fn all(mut stream: Stream) -> anyhow::Result<Vec<Record>> {
        let mut records = Vec::new();
        while let Some(piece) = stream.lines()? {
            records.extend(piece.into_iter().collect::<anyhow::Result<Vec<_>>>()?);
        }
        Ok(records)
    }

    fn texts(bytes: &[u8], form: Form) -> anyhow::Result<Vec<String>> {
        all(lines(bytes, form))?.into_iter().map(|record| record.text("text")).collect()
    }

    #[test]
    fn a_whole_file_is_one_text() {
        let bytes = "\u{feff}{one\r\n\ntwo\n".as_bytes();
        assert_eq!(texts(bytes, Form::Whole).unwrap(), ["{one\r\n\ntwo"]);
        assert!(texts(b" \n\n", Form::Whole).unwrap().is_empty() && texts(b"", Form::Whole).unwrap().is_empty());
        let error = texts(b"a\n\xff", Form::Whole).unwrap_err().to_string();
        assert_eq!(error, "f: not UTF-8 at byte 3");
        let endless = Box::new(io::repeat(b'\n'));
        let mut stream = Stream { waiting: VecDeque::new(), open: Some(Lines::new(endless, "f".into(), Form::Whole)) };
        assert_eq!(stream.lines().unwrap_err().to_string(), "f: the text is longer than 64 MB");
    }

    #[test]
    fn the_ending_says_how_a_file_is_read_unless_something_else_does() {
        let forms = |names: &[&str], form| {
            let names: Vec<PathBuf> = names.iter().map(PathBuf::from).collect();
            Stream::of(&names, form).waiting.into_iter().map(|(_, form)| form).collect::<Vec<_>>()
        };
        let all = ["a.jsonl", "a.CSV", "a.tsv", "a.txt", "a", "-"];
        let wanted = [Form::Json, Form::Columns(b','), Form::Columns(b'\t'), Form::Plain, Form::Plain, Form::Either];
        assert_eq!(forms(&all, None), wanted);
        assert_eq!(forms(&[], None), [Form::Either]);
        assert_eq!(forms(&["a.csv", "-"], Some(Form::Whole)), [Form::Whole; 2]);
        let has_keys = |name: &str| Stream::of(&[name.into()], None).has_keys();
        assert_eq!(["a.txt", "a.jsonl", "a.csv", "-"].map(has_keys), [false, true, true, true]);
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
        let error = stream.lines().unwrap_err().to_string();
        assert_eq!(error, "f, line 1: the line is longer than 64 MB");
    }

    #[test]
    fn pieces_are_bounded() {
        let many = "x\n".repeat(PIECE * 2 + 5);
        let mut stream = lines(many.as_bytes(), Form::Either);
        let mut total = 0;
        while let Some(piece) = stream.lines().unwrap() {
            assert!(piece.len() <= PIECE);
            total += piece.len();
        }
        assert_eq!(total, PIECE * 2 + 5);
    }

    #[test]
    fn pairs() {
        let pair = |bytes: &[u8]| all(lines(bytes, Form::Either)).unwrap().remove(0).pair();
        assert_eq!(pair(b"a b\tc\n").unwrap(), ("a b".into(), "c".into()));
        assert_eq!(pair(b"{\"b\": \"y\", \"a\": \"x\"}").unwrap(), ("x".into(), "y".into()));
        for wrong in [&b"a"[..], b"a\tb\tc", b"a\t ", b"{\"a\": \"x\"}"] {
            assert!(pair(wrong).is_err());
        }
    }

    #[test]
    fn empty_arguments_are_refused() {
        assert!(checked(&["a".into(), " ".into()], true).unwrap_err().to_string().contains("text 2 of 2"));
        assert_eq!(checked(&["a".into()], true).unwrap(), ["a"]);
    }
}
