//! Packed corpora: documents as token ids on disk, memory-mapped, with document and sentence boundaries. Own format,
//! described here byte by byte. Not labelled data (see `dataset`), and no objective: documents have no special tokens.
//!
//! A corpus is a directory. `corpus.json` is its manifest, written last: a directory without it is unfinished and is
//! not opened. `shard-00000.bin`, `shard-00001.bin`, … hold whole documents in their order. All numbers in a shard are
//! little-endian:
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 8 | the letters `PTMCORP` and a zero |
//! | 8 | 4 | version, 1 |
//! | 12 | 4 | `w`, the bytes of an id: 2 or 4 |
//! | 16 | 8 | `d`, how many documents |
//! | 24 | 8 | `s`, how many sentences |
//! | 32 | 8 | `t`, how many tokens |
//! | 40 | 24 | zeros |
//! | 64 | 8 (d + 1) | where each document begins among the tokens; the last entry is `t` |
//! | then | 8 (d + 1) | where each document begins among the sentences; the last entry is `s` |
//! | then | 8 d | a hash of each document's text, by which corpora are split |
//! | then | 4 s | where each sentence begins, in tokens from its document's first; a document's first has 0 |
//! | then | 0 or 4 | zeros up to a multiple of 8 |
//! | then | w t | token ids |
//!
//! Where documents have spans (phrases and named entities, which the text brought with it), `spans-00000.bin` holds those
//! of `shard-00000.bin`, and so on; a shard without spans has no such file:
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 8 | the letters `PTMSPAN` and a zero |
//! | 8 | 4 | version, 1 |
//! | 12 | 4 | zeros |
//! | 16 | 8 | `d`, how many documents the shard has |
//! | 24 | 8 | `n`, how many spans |
//! | 32 | 32 | zeros |
//! | 64 | 8 (d + 1) | where each document begins among the spans; the last entry is `n` |
//! | then | 12 n | spans: where each begins and where it ends, in tokens from its document's first, and 0 for a phrase or 1 for an entity, 4 bytes each |
//!
//! The manifest is a JSON object: `format` ("ptm corpus"), `version` (1, or 2 where there are spans), `id_bytes` (w), `tokenizer` (`class`, `size`,
//! `fingerprint`), `documents`, `sentences`, `tokens`, `text_bytes`, and `shards`, a list of objects with `documents`,
//! `sentences`, `tokens`, `bytes` (the file's size) and `sha256` (of the whole file, in hexadecimal). Where there are
//! spans, `spans` is an object with `phrase` and `entity`, how many of each, and a shard's `spans` one with `phrase`,
//! `entity`, `bytes` and `sha256` of its file of spans.

mod documents;
mod error;
mod manifest;
mod mixture;
mod pack;
mod shard;
mod span;
mod span_file;
mod split;
mod survey;
mod text;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use crate::dataset::{Cursor, Order};
pub use documents::Documents;
pub use error::Error;
pub use manifest::{TokenizedBy, hexadecimal};
pub use mixture::{Draws, Mixture, MixtureCursor};
pub use pack::{Packed, document, pack};
pub use span::{Span, SpanKind};
pub use span_file::Spans;
pub use split::{Part, Split};
pub use survey::{Lengths, Survey};
pub use text::{LONGEST, Layout, Piece, Texts, hash_of};
pub use writer::Writer;

use manifest::{Entry, Manifest};
use shard::Shard;
use span_file::SpanFile;

/// The name of the manifest.
const MANIFEST: &str = "corpus.json";
/// Stands in a directory from the first shard to the manifest.
const UNFINISHED: &str = "corpus.unfinished";

/// The name of shard number `index`.
fn shard_name(index: usize) -> String {
    format!("shard-{index:05}.bin")
}

/// A document of a corpus.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Document {
    /// Its place in the corpus, from 0.
    pub number: u64,
    /// Its tokens, `[T]`, one at least; no special tokens around them.
    pub ids: Vec<u32>,
    /// Where its sentences begin: offsets into `ids`, ascending, the first 0.
    pub sentences: Vec<usize>,
    /// The phrases and entities that the corpus gives, in tokens; ascending, those of one kind without overlap.
    pub spans: Vec<Span>,
}

impl Document {
    /// The tokens of each sentence.
    pub fn each_sentence(&self) -> impl Iterator<Item = &[u32]> {
        let ends = self.sentences.iter().skip(1).copied().chain([self.ids.len()]);
        self.sentences.iter().zip(ends).map(|(&from, to)| &self.ids[from..to])
    }
}

/// A packed corpus. Cloning is cheap, and one can serve many threads.
#[derive(Clone)]
pub struct Corpus {
    inner: Arc<Inner>,
}

struct Inner {
    dir: PathBuf,
    manifest: Manifest,
    shards: Vec<Shard>,
    /// Of each shard, where it has some.
    spans: Vec<Option<SpanFile>>,
    /// The number of each shard's first document, then the number of all.
    firsts: Vec<u64>,
}

impl std::fmt::Debug for Corpus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Corpus").field("dir", &self.inner.dir).field("documents", &self.len()).finish_non_exhaustive()
    }
}

impl Corpus {
    /// Opens the corpus of a directory. Shards are mapped, not read; their sizes and counts are checked, their content
    /// when it is read, their checksums by [`Corpus::verify`].
    ///
    /// # Errors
    /// When the directory holds no finished corpus, or a file is missing or contradicts the manifest.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        let manifest = Manifest::read(dir)?;
        let (mut shards, mut spans) = (Vec::new(), Vec::new());
        let mut firsts = vec![0];
        let mut documents = 0;
        for (index, entry) in manifest.shards.iter().enumerate() {
            shards.push(Shard::open(&dir.join(shard_name(index)), entry, &manifest)?);
            let of_spans = |own| SpanFile::open(&dir.join(span_file::name(index)), own, entry.documents);
            spans.push(entry.spans.as_ref().map(of_spans).transpose()?);
            documents += entry.documents;
            firsts.push(documents);
        }
        Ok(Self { inner: Arc::new(Inner { dir: dir.to_owned(), manifest, shards, spans, firsts }) })
    }

    /// Where it is.
    pub fn dir(&self) -> &Path {
        &self.inner.dir
    }

    /// How many documents there are.
    pub fn len(&self) -> u64 {
        self.inner.manifest.documents
    }

    /// Never: a corpus has a document at least.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many tokens all documents have together.
    pub fn tokens(&self) -> u64 {
        self.inner.manifest.tokens
    }

    /// How many sentences all documents have together.
    pub fn sentences(&self) -> u64 {
        self.inner.manifest.sentences
    }

    /// How many bytes of text it was made of.
    pub fn text_bytes(&self) -> u64 {
        self.inner.manifest.text_bytes
    }

    /// How many bytes of ids a token takes on disk: 2 or 4.
    pub fn id_bytes(&self) -> usize {
        self.inner.manifest.id_bytes
    }

    /// How many shards there are, and the bytes of all of them, their spans included.
    pub fn shards(&self) -> (usize, u64) {
        let entries = &self.inner.manifest.shards;
        let bytes = |entry: &Entry| entry.bytes + entry.spans.as_ref().map_or(0, |spans| spans.bytes);
        (entries.len(), entries.iter().map(bytes).sum())
    }

    /// How many phrases and entities the corpus gives.
    pub fn spans(&self) -> Spans {
        self.inner.manifest.spans.unwrap_or_default()
    }

    /// The tokenizer that it was made with.
    pub fn tokenizer(&self) -> &TokenizedBy {
        &self.inner.manifest.tokenizer
    }

    /// A number that differs for other content: a run that is continued must find the corpus it began with. Made of
    /// the shards' checksums.
    pub fn fingerprint(&self) -> u64 {
        self.inner.manifest.fingerprint()
    }

    /// Document `number`, from 0.
    ///
    /// # Errors
    /// When there is none of that number, or the shard is damaged there.
    pub fn document(&self, number: u64) -> Result<Document, Error> {
        let (index, at) = self.place(number)?;
        let (ids, sentences) = self.inner.shards[index].document(at)?;
        let spans = match &self.inner.spans[index] {
            Some(spans) => spans.document(at, ids.len())?,
            None => Vec::new(),
        };
        Ok(Document { number, ids, sentences, spans })
    }

    /// How many tokens document `number` has; cheaper than reading it.
    ///
    /// # Errors
    /// As [`Corpus::document`].
    pub fn length(&self, number: u64) -> Result<usize, Error> {
        let (index, at) = self.place(number)?;
        Ok(self.inner.shards[index].tokens_of(at)?.len())
    }

    /// The number of the document that holds token `token` of the corpus, counted from 0.
    ///
    /// # Errors
    /// When there are not so many tokens, or a shard is damaged there.
    pub fn holder(&self, token: u64) -> Result<u64, Error> {
        let mut before = 0;
        for (index, entry) in self.inner.manifest.shards.iter().enumerate() {
            if token < before + entry.tokens {
                let at = self.inner.shards[index].holder((token - before) as usize)?;
                return Ok(self.inner.firsts[index] + at as u64);
            }
            before += entry.tokens;
        }
        Err(Error::NoDocument { dir: self.inner.dir.clone(), number: self.len(), documents: self.len() })
    }

    /// The hash of document `number`'s text, by which it is split. Parts of a document that was divided share it.
    ///
    /// # Errors
    /// When there is none of that number.
    pub fn hash(&self, number: u64) -> Result<u64, Error> {
        let (index, at) = self.place(number)?;
        Ok(self.inner.shards[index].hash(at))
    }

    /// The shard of a document, and its place there.
    fn place(&self, number: u64) -> Result<(usize, usize), Error> {
        let firsts = &self.inner.firsts;
        if number >= self.len() {
            return Err(Error::NoDocument { dir: self.inner.dir.clone(), number, documents: self.len() });
        }
        let index = firsts.partition_point(|&first| first <= number) - 1;
        Ok((index, (number - firsts[index]) as usize))
    }

    /// Compares every shard with its checksum. `heard` hears how many bytes are done, and says whether to go on.
    ///
    /// # Errors
    /// When a shard's content is not what was written.
    pub fn verify(&self, heard: &mut dyn FnMut(u64) -> bool) -> Result<(), Error> {
        let mut before = 0;
        for (index, entry) in self.inner.manifest.shards.iter().enumerate() {
            let shard = &self.inner.shards[index];
            if !shard.verify(&entry.sha256, &mut |done| heard(before + done))? {
                break;
            }
            before += entry.bytes;
            if let (Some(spans), Some(own)) = (&self.inner.spans[index], &entry.spans) {
                if !spans.verify(&own.sha256, &mut |done| heard(before + done))? {
                    break;
                }
                before += own.bytes;
                // a checksum can be right about wrong numbers
                for document in 0..shard.documents() {
                    spans.document(document, shard.tokens_of(document)?.len())?;
                }
            }
        }
        Ok(())
    }

    /// The documents of a part of the corpus in `order`, without the first `from` of all documents in that order
    /// (those of the other part count too, as [`Documents::position`] does).
    pub fn documents(&self, part: Part, order: Order, from: u64) -> Documents {
        Documents::new(self.clone(), part, order, from)
    }
}
