//! One shard of a packed corpus, mapped. Whatever its bytes are, reading it ends in a document or an error.

use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::Error;
use super::manifest::{Entry, Manifest, hexadecimal};

pub(super) const MAGIC: [u8; 8] = *b"PTMCORP\0";
/// The version that is written and read.
pub(super) const VERSION: u32 = 1;
/// The bytes before the first table.
pub(super) const HEADER: usize = 64;
/// Checksums are computed in pieces of so many bytes.
const PIECE: usize = 8 << 20;

/// Where the parts of a shard begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    by_sentences: usize,
    hashes: usize,
    sentences: usize,
    pub ids: usize,
    pub end: usize,
}

impl Layout {
    /// `None` where the sizes are beyond anything.
    pub fn of(documents: u64, sentences: u64, tokens: u64, id_bytes: usize) -> Option<Self> {
        let size = |count: u64, bytes: usize| usize::try_from(count).ok()?.checked_mul(bytes);
        let table = size(documents.checked_add(1)?, 8)?;
        let by_sentences = HEADER.checked_add(table)?;
        let hashes = by_sentences.checked_add(table)?;
        let at_sentences = hashes.checked_add(size(documents, 8)?)?;
        let ids = at_sentences.checked_add(size(sentences, 4)?)?.checked_next_multiple_of(8)?;
        let end = ids.checked_add(size(tokens, id_bytes)?)?;
        Some(Self { by_sentences, hashes, sentences: at_sentences, ids, end })
    }
}

/// The bytes of a file that should have so many.
pub(super) fn map(path: &Path, bytes: u64) -> Result<Bytes, Error> {
    let failed = |source| Error::Read { path: path.to_owned(), source };
    // asked before opening: opening a named pipe would wait for its writer
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        return Err(failed(std::io::Error::other("not a regular file")));
    }
    let file = File::open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    if length != bytes {
        return Err(Error::damaged(path, format!("it has {length} bytes instead of {bytes}")));
    }
    Ok(Bytes::from_owner(ptm_kernels::mapped::map_file(&file).map_err(failed)?))
}

/// Compares bytes with their checksum; whether `heard` let it come to the end.
pub(super) fn verify(
    path: &Path,
    bytes: &Bytes,
    sha256: &str,
    heard: &mut dyn FnMut(u64) -> bool,
) -> Result<bool, Error> {
    let mut hash = Sha256::new();
    let mut done = 0;
    for piece in bytes.chunks(PIECE) {
        hash.update(piece);
        done += piece.len() as u64;
        if !heard(done) {
            return Ok(false);
        }
    }
    if hexadecimal(&hash.finalize()) != sha256 {
        return Err(Error::damaged(path, "its checksum is not the one in corpus.json"));
    }
    Ok(true)
}

pub(super) struct Shard {
    path: PathBuf,
    bytes: Bytes,
    documents: u64,
    sentences: u64,
    tokens: u64,
    id_bytes: usize,
    /// Ids are smaller than this.
    size: u32,
    layout: Layout,
}

impl Shard {
    pub fn open(path: &Path, entry: &Entry, manifest: &Manifest) -> Result<Self, Error> {
        let id_bytes = manifest.id_bytes;
        let layout = Layout::of(entry.documents, entry.sentences, entry.tokens, id_bytes)
            .filter(|layout| layout.end as u64 == entry.bytes)
            .ok_or_else(|| Error::damaged(path, "its size and its counts in corpus.json contradict each other"))?;
        let this = Self {
            path: path.to_owned(),
            bytes: map(path, entry.bytes)?,
            documents: entry.documents,
            sentences: entry.sentences,
            tokens: entry.tokens,
            id_bytes,
            size: manifest.tokenizer.size,
            layout,
        };
        if this.bytes[..8] != MAGIC {
            return Err(Error::damaged(path, "it does not begin as a shard does"));
        }
        let version = this.u32(8);
        if version != VERSION {
            return Err(Error::Version { path: path.to_owned(), found: version.into(), known: VERSION.into() });
        }
        let found = (this.u32(12) as usize, this.u64(16), this.u64(24), this.u64(32));
        if found != (id_bytes, entry.documents, entry.sentences, entry.tokens) {
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

    /// Two neighbours of a table whose entries ascend to `most`.
    fn range(&self, table: usize, document: usize, most: u64) -> Result<Range<usize>, Error> {
        let (from, to) = (self.u64(table + 8 * document), self.u64(table + 8 * document + 8));
        if from >= to || to > most {
            let problem = format!("document {document} of it begins at {from} and ends at {to} of {most}");
            return Err(Error::damaged(&self.path, problem));
        }
        Ok(from as usize..to as usize)
    }

    /// The tokens of a document, `document` below the count of them.
    pub fn tokens_of(&self, document: usize) -> Result<Range<usize>, Error> {
        self.range(HEADER, document, self.tokens)
    }

    /// The document that holds a token, `token` below the count of them.
    pub fn holder(&self, token: usize) -> Result<usize, Error> {
        let (mut from, mut to) = (0, self.documents());
        while to - from > 1 {
            let middle = usize::midpoint(from, to);
            if self.tokens_of(middle)?.start <= token { from = middle } else { to = middle }
        }
        Ok(from)
    }

    /// About where document `document`, or the end, is among the bytes of ids.
    pub fn offset(&self, document: usize) -> u64 {
        self.u64(HEADER + 8 * document).min(self.tokens) * self.id_bytes as u64
    }

    pub fn hash(&self, document: usize) -> u64 {
        self.u64(self.layout.hashes + 8 * document)
    }

    /// Ids and where sentences begin.
    pub fn document(&self, document: usize) -> Result<(Vec<u32>, Vec<usize>), Error> {
        let tokens = self.tokens_of(document)?;
        let sentences = self.range(self.layout.by_sentences, document, self.sentences)?;
        let length = tokens.len();
        let starts = &self.bytes[self.layout.sentences + 4 * sentences.start..][..4 * sentences.len()];
        let starts: Vec<usize> =
            starts.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]) as usize).collect();
        let ascending = starts.windows(2).all(|pair| pair[0] < pair[1]);
        if starts.first() != Some(&0) || !ascending || starts.last().is_some_and(|&last| last >= length) {
            return Err(Error::damaged(&self.path, format!("the sentences of document {document} of it overlap")));
        }
        let width = self.id_bytes;
        let stored = &self.bytes[self.layout.ids + width * tokens.start..][..width * length];
        let ids: Vec<u32> = if width == 2 {
            stored.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]]).into()).collect()
        } else {
            stored.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
        };
        if let Some(id) = ids.iter().find(|&&id| id >= self.size) {
            let problem = format!("document {document} of it has the id {id}, the tokenizer only {}", self.size);
            return Err(Error::damaged(&self.path, problem));
        }
        Ok((ids, starts))
    }

    pub fn documents(&self) -> usize {
        self.documents as usize
    }

    /// Whether `heard` let it come to the end.
    pub fn verify(&self, sha256: &str, heard: &mut dyn FnMut(u64) -> bool) -> Result<bool, Error> {
        if !verify(&self.path, &self.bytes, sha256, heard)? {
            return Ok(false);
        }
        // a checksum can be right about wrong numbers
        for document in 0..self.documents() {
            self.document(document)?;
        }
        Ok(true)
    }
}
