//! The spans of one shard in a file beside it, mapped; shards without spans have none. Its bytes are described in
//! `corpus.rs`. Whatever they are, reading them ends in spans or an error.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::manifest::hexadecimal;
use super::shard::{map, verify};
use super::span::{self, Span, SpanKind};
use super::{Document, Error};

const MAGIC: [u8; 8] = *b"PTMSPAN\0";
const VERSION: u32 = 1;
/// The bytes before the table.
const HEADER: usize = 64;
/// The bytes of a span.
const WIDTH: usize = 12;

/// The name of the file of spans of shard number `index`.
pub(super) fn name(index: usize) -> String {
    format!("spans-{index:05}.bin")
}

/// How many spans there are of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spans {
    /// Phrases.
    pub phrase: u64,
    /// Named entities.
    pub entity: u64,
}

impl Spans {
    /// Of one kind.
    pub fn of(&self, kind: SpanKind) -> u64 {
        match kind {
            SpanKind::Phrase => self.phrase,
            SpanKind::Entity => self.entity,
        }
    }

    /// Of both.
    pub fn all(&self) -> u64 {
        self.phrase.saturating_add(self.entity)
    }

    /// Both together; none where that is no number.
    pub(super) fn plus(self, other: Self) -> Option<Self> {
        let phrase = self.phrase.checked_add(other.phrase)?;
        Some(Self { phrase, entity: self.entity.checked_add(other.entity)? })
    }
}

/// A file of spans, as the manifest has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SpanEntry {
    pub phrase: u64,
    pub entity: u64,
    pub bytes: u64,
    pub sha256: String,
}

impl SpanEntry {
    pub fn counts(&self) -> Spans {
        Spans { phrase: self.phrase, entity: self.entity }
    }
}

/// The spans of the shard in hand.
#[derive(Debug, Default)]
pub(super) struct Begun {
    /// Where documents end among the spans.
    ends: Vec<u64>,
    spans: Vec<u8>,
    counts: Spans,
}

impl Begun {
    /// Takes the spans of the next document.
    pub fn add(&mut self, document: &Document) {
        for &Span { start, end, kind } in &document.spans {
            for number in [start as u32, end as u32, u32::from(kind == SpanKind::Entity)] {
                self.spans.extend(number.to_le_bytes());
            }
            match kind {
                SpanKind::Phrase => self.counts.phrase += 1,
                SpanKind::Entity => self.counts.entity += 1,
            }
        }
        self.ends.push(self.counts.all());
    }

    /// How many spans it has.
    pub fn count(&self) -> u64 {
        self.counts.all()
    }

    /// The file's bytes, and what the manifest says of it.
    pub fn file(self) -> (Vec<u8>, SpanEntry) {
        let mut bytes = Vec::with_capacity(HEADER + 8 * (self.ends.len() + 1) + self.spans.len());
        bytes.extend(MAGIC);
        bytes.extend(VERSION.to_le_bytes());
        bytes.resize(16, 0);
        for count in [self.ends.len() as u64, self.counts.all()] {
            bytes.extend(count.to_le_bytes());
        }
        bytes.resize(HEADER, 0);
        bytes.extend([0].into_iter().chain(self.ends).flat_map(u64::to_le_bytes));
        bytes.extend(self.spans);
        let sha256 = hexadecimal(&Sha256::digest(&bytes));
        let Spans { phrase, entity } = self.counts;
        let entry = SpanEntry { phrase, entity, bytes: bytes.len() as u64, sha256 };
        (bytes, entry)
    }
}

pub(super) struct SpanFile {
    path: PathBuf,
    bytes: Bytes,
    spans: u64,
    /// Where the spans begin.
    first: usize,
}

impl SpanFile {
    /// Of a shard with so many documents.
    pub fn open(path: &Path, entry: &SpanEntry, documents: u64) -> Result<Self, Error> {
        let spans = entry.counts().all();
        let size = |count: u64, bytes: usize| usize::try_from(count).ok()?.checked_mul(bytes);
        let first = documents.checked_add(1).and_then(|ends| size(ends, 8)?.checked_add(HEADER));
        let end = first.and_then(|first| first.checked_add(size(spans, WIDTH)?));
        let (Some(first), true) = (first, end.is_some_and(|end| end as u64 == entry.bytes)) else {
            return Err(Error::damaged(path, "its size and its counts in corpus.json contradict each other"));
        };
        let this = Self { path: path.to_owned(), bytes: map(path, entry.bytes)?, spans, first };
        if this.bytes[..8] != MAGIC {
            return Err(Error::damaged(path, "it does not begin as a file of spans does"));
        }
        let version = this.u32(8);
        if version != VERSION {
            return Err(Error::Version { path: path.to_owned(), found: version.into(), known: VERSION.into() });
        }
        if (this.u64(16), this.u64(24)) != (documents, spans) {
            return Err(Error::damaged(path, "its counts are not those in corpus.json"));
        }
        Ok(this)
    }

    fn u32(&self, at: usize) -> u32 {
        let mut number = [0; 4];
        number.copy_from_slice(&self.bytes[at..at + 4]);
        u32::from_le_bytes(number)
    }

    fn u64(&self, at: usize) -> u64 {
        let mut number = [0; 8];
        number.copy_from_slice(&self.bytes[at..at + 8]);
        u64::from_le_bytes(number)
    }

    /// The spans of a document of so many tokens, `document` below the count of them.
    pub fn document(&self, document: usize, tokens: usize) -> Result<Vec<Span>, Error> {
        let (from, to) = (self.u64(HEADER + 8 * document), self.u64(HEADER + 8 * document + 8));
        if from > to || to > self.spans {
            let problem = format!("the spans of document {document} of it begin at {from} and end at {to}");
            return Err(Error::damaged(&self.path, problem));
        }
        let mut spans = Vec::with_capacity((to - from) as usize);
        for number in from as usize..to as usize {
            let at = self.first + WIDTH * number;
            let kind = match self.u32(at + 8) {
                0 => SpanKind::Phrase,
                1 => SpanKind::Entity,
                other => return Err(Error::damaged(&self.path, format!("span {number} of it is of the kind {other}"))),
            };
            spans.push(Span { start: self.u32(at) as usize, end: self.u32(at + 4) as usize, kind });
        }
        match span::problem(&spans, tokens) {
            Some(problem) => Err(Error::damaged(&self.path, format!("document {document} of it: {problem}"))),
            None => Ok(spans),
        }
    }

    /// Whether `heard` let it come to the end.
    pub fn verify(&self, sha256: &str, heard: &mut dyn FnMut(u64) -> bool) -> Result<bool, Error> {
        verify(&self.path, &self.bytes, sha256, heard)
    }
}
