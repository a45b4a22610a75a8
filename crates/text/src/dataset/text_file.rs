//! Files of records in text: JSONL, JSON lists, CSV and TSV, CoNLL columns, plain lines. One pass over the file finds
//! the blocks; nothing of its content is kept.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value};

use super::conll::Style;
use super::csv::Dialect;
use super::error::{Error, Place};
use super::json_objects;
use super::source::{BLOCK_BYTES, Block, Content, LONGEST_RECORD, Record, Source};
use super::{fnv, fnv_on};

/// How records are written.
pub(super) enum Grammar {
    /// An object a line.
    Jsonl,
    /// Objects of a list.
    Json,
    /// A text a line.
    Lines,
    /// Fields with the names of their columns; no names before the first record is read.
    Csv(Dialect, Vec<String>),
    /// Sentences of words with columns.
    Conll(Style),
}

/// The first record of some bytes: where it begins and ends, and whether it is a row at all.
struct Found {
    start: usize,
    end: usize,
    row: bool,
}

impl Grammar {
    fn first(&self, bytes: &[u8], last: bool) -> Result<Option<Found>, String> {
        if bytes.is_empty() {
            return Ok(None);
        }
        let line = |end: Option<usize>| {
            end.map(|end| Found { start: 0, end, row: !bytes[..end].iter().all(u8::is_ascii_whitespace) })
        };
        Ok(match self {
            Self::Jsonl | Self::Lines => line(match memchr::memchr(b'\n', bytes) {
                Some(at) => Some(at + 1),
                None => last.then_some(bytes.len()),
            }),
            Self::Csv(dialect, _) => line(dialect.end(bytes, last)?),
            Self::Json => json_objects::end(bytes, last).map(|(end, start)| Found {
                start: start.unwrap_or(0),
                end,
                row: start.is_some(),
            }),
            Self::Conll(style) => style.end(bytes, last).map(|(end, row)| Found { start: 0, end, row }),
        })
    }
}

struct TextBlock {
    offset: u64,
    length: usize,
    /// The line of its first byte.
    line: u64,
}

/// A file and where its blocks are.
pub(super) struct TextFile {
    path: PathBuf,
    name: Arc<str>,
    grammar: Grammar,
    file: Mutex<File>,
    content: u64,
    places: Vec<TextBlock>,
    blocks: Vec<Block>,
}

impl TextFile {
    /// Finds the blocks. `header` says whether the first record of a CSV file names the columns.
    pub fn open(path: &Path, grammar: Grammar, header: bool) -> Result<Self, Error> {
        let failed = |source| Error::Read { path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        let name: Arc<str> = path.display().to_string().into();
        let mut this = Self {
            path: path.to_owned(),
            name,
            grammar,
            file: Mutex::new(file.try_clone().map_err(failed)?),
            content: fnv(&[]),
            places: Vec::new(),
            blocks: Vec::new(),
        };
        this.index(file, header)?;
        Ok(this)
    }

    fn index(&mut self, mut file: File, header: bool) -> Result<(), Error> {
        let path = self.path.clone();
        let failed = |source| Error::Read { path: path.clone(), source };
        // `buffer[at..]` is what has not been divided yet; `offset` is that of `buffer[at]`
        let (mut buffer, mut at, mut last) = (Vec::new(), 0, false);
        let (mut offset, mut line) = (0u64, 1u64);
        let mut open: Option<(TextBlock, u32)> = None;
        let mut header = header && matches!(self.grammar, Grammar::Csv(..));
        let mut number_columns = !header;
        loop {
            let found = self.grammar.first(&buffer[at..], last);
            let found = found.map_err(|problem| Error::row(&self.place(line), problem))?;
            let Some(found) = found else {
                if last {
                    break;
                }
                if buffer.len() - at > LONGEST_RECORD {
                    return Err(Error::row(&self.place(line), too_long()));
                }
                buffer.drain(..at);
                at = 0;
                // twice as much each time, so that a long record is not searched again and again
                let wanted = (buffer.len() as u64).max(BLOCK_BYTES as u64);
                let known = buffer.len();
                last = (&mut file).take(wanted).read_to_end(&mut buffer).map_err(failed)? == 0;
                self.content = fnv_on(self.content, &buffer[known..]);
                if offset == 0 && buffer.starts_with(b"\xef\xbb\xbf") {
                    // the byte order mark that some editors leave behind
                    (at, offset) = (3, 3);
                }
                continue;
            };
            if found.end - found.start > LONGEST_RECORD {
                return Err(Error::row(&self.place(line), too_long()));
            }
            let bytes = &buffer[at + found.start..at + found.end];
            let lines = memchr::memchr_iter(b'\n', &buffer[at..at + found.end]).count() as u64;
            let is_header = header && found.row;
            if found.row && (header || number_columns) {
                let columns = self.columns(bytes, header, line)?;
                if let Grammar::Csv(_, names) = &mut self.grammar {
                    *names = columns;
                }
                (header, number_columns) = (false, false);
            }
            if !is_header && !header {
                let (block, rows) = open.get_or_insert((TextBlock { offset, length: 0, line }, 0));
                block.length += found.end;
                *rows += u32::from(found.row);
            }
            at += found.end;
            offset += found.end as u64;
            line += lines;
            if open.as_ref().is_some_and(|(block, _)| block.length >= BLOCK_BYTES) {
                self.close(open.take());
            }
        }
        self.close(open);
        Ok(())
    }

    fn close(&mut self, block: Option<(TextBlock, u32)>) {
        if let Some((block, rows)) = block.filter(|(_, rows)| *rows > 0) {
            self.blocks.push(Block { rows, bytes: block.length as u64 });
            self.places.push(block);
        }
    }

    fn place(&self, line: u64) -> Place {
        Place { file: self.name.clone(), number: line, lines: true }
    }

    /// The names of a CSV file's columns.
    fn columns(&self, record: &[u8], header: bool, line: u64) -> Result<Vec<String>, Error> {
        let Grammar::Csv(dialect, _) = &self.grammar else { return Ok(Vec::new()) };
        let fields = dialect.fields(record);
        if !header {
            return Ok((0..fields.len()).map(|column| column.to_string()).collect());
        }
        let mut names: Vec<String> = Vec::new();
        for field in fields {
            let name = String::from_utf8(field).map_err(|_| Error::row(&self.place(line), NOT_UTF8))?;
            let name = name.trim().to_owned();
            if names.contains(&name) {
                let problem = format!("the header names the column {name:?} twice: rename one, or set header = false");
                return Err(Error::row(&self.place(line), problem));
            }
            names.push(name);
        }
        Ok(names)
    }
}

const NOT_UTF8: &str = "not UTF-8: convert the file first, for instance with iconv -f LATIN1 -t UTF-8";

fn too_long() -> String {
    format!(
        "the record that begins here is longer than {} MiB: is this the right format, and are quotation marks closed?",
        LONGEST_RECORD >> 20
    )
}

impl Source for TextFile {
    fn name(&self) -> &Arc<str> {
        &self.name
    }

    fn by_lines(&self) -> bool {
        true
    }

    fn content(&self) -> u64 {
        self.content
    }

    fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    fn read(&self, block: usize) -> Result<Vec<Record>, Error> {
        let place = &self.places[block];
        let failed = |source| Error::Read { path: self.path.clone(), source };
        let mut buffer = vec![0; place.length];
        {
            let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
            file.seek(SeekFrom::Start(place.offset)).and_then(|_| file.read_exact(&mut buffer)).map_err(failed)?;
        }
        let buffer = Arc::new(buffer);
        let (mut records, mut at, mut line) = (Vec::new(), 0, place.line);
        while let Ok(Some(found)) = self.grammar.first(&buffer[at..], true) {
            let (start, end) = (at + found.start, at + found.end);
            if found.row {
                let before = memchr::memchr_iter(b'\n', &buffer[at..start]).count() as u64;
                let content = Content::Bytes { buffer: buffer.clone(), start, end };
                records.push(Record { number: line + before, content });
            }
            line += memchr::memchr_iter(b'\n', &buffer[at..end]).count() as u64;
            at = end;
        }
        if records.len() != self.blocks[block].rows as usize {
            let problem = "the file changed while it was read: leave it alone and begin again".to_owned();
            return Err(Error::File { path: self.path.clone(), problem });
        }
        Ok(records)
    }

    fn values(&self, record: Record) -> Result<Map<String, Value>, (u64, String)> {
        let line = record.number;
        let Content::Bytes { buffer, start, end } = record.content else {
            return Err((line, "the record has no bytes".into()));
        };
        let bytes = &buffer[start..end];
        if let Grammar::Csv(dialect, names) = &self.grammar {
            return csv_values(*dialect, names, bytes).map_err(|problem| (line, problem));
        }
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let before = memchr::memchr_iter(b'\n', &bytes[..error.valid_up_to()]).count() as u64;
            (line + before, NOT_UTF8.to_owned())
        })?;
        match &self.grammar {
            Grammar::Jsonl | Grammar::Json => serde_json::from_str(text).map_err(|error| {
                let (at, column) = (line + (error.line() as u64).saturating_sub(1), error.column());
                let reason = error.to_string();
                let reason = reason.split(" at line ").next().unwrap_or_default();
                (at, format!("not a JSON object (column {column}): {reason}"))
            }),
            Grammar::Conll(style) => {
                let table = style.table(text, line)?;
                let list = |column: &Vec<&str>| Value::from(column.clone());
                let (words, tags) = style.usual(table.len());
                let mut map = Map::new();
                map.extend(table.get(words).map(|column| ("words".to_owned(), list(column))));
                map.extend(table.get(tags).filter(|_| tags != words).map(|column| ("tags".to_owned(), list(column))));
                map.extend(table.iter().enumerate().map(|(at, column)| (at.to_string(), list(column))));
                Ok(map)
            }
            Grammar::Lines | Grammar::Csv(..) => {
                let text = text.trim_end_matches(['\r', '\n']);
                Ok(Map::from_iter([("text".to_owned(), Value::from(text))]))
            }
        }
    }
}

fn csv_values(dialect: Dialect, names: &[String], record: &[u8]) -> Result<Map<String, Value>, String> {
    let fields = dialect.fields(record);
    if fields.len() != names.len() {
        let (found, expected) = (fields.len(), names.len());
        return Err(format!(
            "{found} columns, but the first row has {expected} ({}): a field with the delimiter in it needs quotation \
             marks; for a file that uses none set quoting = false",
            names.join(", ")
        ));
    }
    let mut map = Map::new();
    for (name, field) in names.iter().zip(fields) {
        let text = String::from_utf8(field).map_err(|_| NOT_UTF8.to_owned())?;
        map.insert(name.clone(), Value::String(text));
    }
    Ok(map)
}
