//! Writing a packed corpus, a shard at a time in bounded memory. Files appear whole or not at all, the manifest last:
//! whenever the machine stops, the directory is unfinished and says so, or complete.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::manifest::{Entry, Manifest, TokenizedBy, hexadecimal};
use super::shard::{HEADER, Layout, MAGIC, VERSION};
use super::{Corpus, Document, Error, MANIFEST, UNFINISHED, shard_name, span, span_file};

/// A shard ends behind the document that brings its ids to so many bytes…
const SHARD_BYTES: usize = 64 << 20;
/// …or is the last of so many documents, sentences or spans.
const MOST_DOCUMENTS: usize = 1 << 20;
const MOST_SENTENCES: usize = 8 << 20;
const MOST_SPANS: u64 = 4 << 20;

/// A corpus on its way. Dropped before [`Writer::finish`], it leaves a directory that is marked as unfinished.
#[derive(Debug)]
pub struct Writer {
    dir: PathBuf,
    tokenizer: TokenizedBy,
    id_bytes: usize,
    shard_bytes: usize,
    begun: Begun,
    done: Vec<Entry>,
    documents: u64,
    text_bytes: u64,
}

/// The shard in hand.
#[derive(Debug, Default)]
struct Begun {
    /// Where documents end among the tokens and among the sentences.
    ends: Vec<(u64, u64)>,
    hashes: Vec<u64>,
    sentences: Vec<u32>,
    tokens: u64,
    ids: Vec<u8>,
    spans: span_file::Begun,
}

impl Writer {
    /// Begins a corpus in `dir`, which must be new, empty, or hold an unfinished corpus, whose shards are removed.
    /// Ids take 2 bytes where the tokenizer's allow it, else 4.
    ///
    /// # Errors
    /// When something else is there, or nothing can be written there.
    pub fn create(dir: &Path, tokenizer: TokenizedBy) -> Result<Self, Error> {
        let failed = |source| Error::Write { path: dir.to_owned(), source };
        fs::create_dir_all(dir).map_err(failed)?;
        clear(dir)?;
        place(&dir.join(UNFINISHED), &[b"A corpus is packed here, or packing stopped before its end.\n"])?;
        let id_bytes = if tokenizer.size <= 1 << 16 { 2 } else { 4 };
        let begun = Begun::default();
        let shard_bytes = SHARD_BYTES;
        Ok(Self {
            dir: dir.to_owned(),
            tokenizer,
            id_bytes,
            shard_bytes,
            begun,
            done: Vec::new(),
            documents: 0,
            text_bytes: 0,
        })
    }

    /// Shards of about this size instead of 64 MiB.
    pub fn shard_bytes(mut self, bytes: usize) -> Self {
        self.shard_bytes = bytes.clamp(1, 1 << 30);
        self
    }

    /// Adds a document; its number is that of those before it. `hash` is of its text, which has `text_bytes` bytes.
    ///
    /// # Errors
    /// When it has no tokens, an id that the tokenizer doesn't give, or sentences or spans out of order; or a shard is
    /// full and cannot be written.
    pub fn add(&mut self, document: &Document, hash: u64, text_bytes: u64) -> Result<(), Error> {
        let wrong = |problem: String| Error::Document { number: self.documents, problem };
        let (ids, sentences) = (&document.ids, &document.sentences);
        if ids.is_empty() || ids.len() > u32::MAX as usize {
            return Err(wrong(format!("it has {} tokens", ids.len())));
        }
        if let Some(id) = ids.iter().find(|&&id| id >= self.tokenizer.size) {
            return Err(wrong(format!("it has the id {id}, the tokenizer only {}", self.tokenizer.size)));
        }
        let ascending = sentences.windows(2).all(|pair| pair[0] < pair[1]);
        if sentences.first() != Some(&0) || !ascending || sentences.last().is_some_and(|&last| last >= ids.len()) {
            return Err(wrong("its sentences don't begin at 0 and go up from there".to_owned()));
        }
        if let Some(problem) = span::problem(&document.spans, ids.len()) {
            return Err(wrong(problem));
        }
        let begun = &mut self.begun;
        begun.spans.add(document);
        begun.sentences.extend(sentences.iter().map(|&at| at as u32));
        begun.tokens += ids.len() as u64;
        if self.id_bytes == 2 {
            begun.ids.extend(ids.iter().flat_map(|&id| (id as u16).to_le_bytes()));
        } else {
            begun.ids.extend(ids.iter().flat_map(|id| id.to_le_bytes()));
        }
        begun.ends.push((begun.tokens, begun.sentences.len() as u64));
        begun.hashes.push(hash);
        self.documents += 1;
        self.text_bytes += text_bytes;
        let full = begun.ids.len() >= self.shard_bytes
            || begun.ends.len() >= MOST_DOCUMENTS
            || begun.sentences.len() >= MOST_SENTENCES
            || begun.spans.count() >= MOST_SPANS;
        if full { self.end_shard() } else { Ok(()) }
    }

    /// How many documents were added.
    pub fn documents(&self) -> u64 {
        self.documents
    }

    fn end_shard(&mut self) -> Result<(), Error> {
        let begun = std::mem::take(&mut self.begun);
        let number = self.done.len();
        let path = self.dir.join(shard_name(number));
        let (documents, sentences) = (begun.ends.len() as u64, begun.sentences.len() as u64);
        let layout = Layout::of(documents, sentences, begun.tokens, self.id_bytes);
        let layout = layout.ok_or_else(|| Error::damaged(&path, "it would be too large"))?;
        let mut tables = Vec::with_capacity(layout.ids);
        tables.extend(MAGIC);
        tables.extend(VERSION.to_le_bytes());
        tables.extend((self.id_bytes as u32).to_le_bytes());
        for count in [documents, sentences, begun.tokens] {
            tables.extend(count.to_le_bytes());
        }
        tables.resize(HEADER, 0);
        let table = |ends: &dyn Fn(&(u64, u64)) -> u64| -> Vec<u8> {
            [0].into_iter().chain(begun.ends.iter().map(ends)).flat_map(u64::to_le_bytes).collect()
        };
        tables.extend(table(&|ends| ends.0));
        tables.extend(table(&|ends| ends.1));
        tables.extend(begun.hashes.iter().flat_map(|hash| hash.to_le_bytes()));
        tables.extend(begun.sentences.iter().flat_map(|start| start.to_le_bytes()));
        tables.resize(layout.ids, 0);
        let mut hash = Sha256::new();
        hash.update(&tables);
        hash.update(&begun.ids);
        let sha256 = hexadecimal(&hash.finalize());
        place(&path, &[&tables, &begun.ids])?;
        let bytes = layout.end as u64;
        let spans = if begun.spans.count() > 0 {
            let (content, entry) = begun.spans.file();
            place(&self.dir.join(span_file::name(number)), &[&content])?;
            Some(entry)
        } else {
            None
        };
        self.done.push(Entry { documents, sentences, tokens: begun.tokens, bytes, sha256, spans });
        Ok(())
    }

    /// Writes the last shard and the manifest, and opens the corpus.
    ///
    /// # Errors
    /// When nothing was added, or the disk is full or fails.
    pub fn finish(mut self) -> Result<Corpus, Error> {
        if self.documents == 0 {
            return Err(Error::Empty { place: "what was given".to_owned(), what: "" });
        }
        if !self.begun.ends.is_empty() {
            self.end_shard()?;
        }
        let manifest = Manifest::new(self.id_bytes, self.tokenizer, self.text_bytes, self.done);
        let path = self.dir.join(MANIFEST);
        let failed = |source| Error::Write { path: path.clone(), source };
        let mut text = serde_json::to_vec_pretty(&manifest).map_err(|error| failed(error.into()))?;
        text.push(b'\n');
        place(&path, &[&text])?;
        // the corpus is complete, with or without the mark
        let _ = fs::remove_file(self.dir.join(UNFINISHED));
        Corpus::open(&self.dir)
    }
}

/// Makes sure that `dir` holds nothing; of an unfinished corpus removes what it wrote.
fn clear(dir: &Path) -> Result<(), Error> {
    let unfinished = dir.join(UNFINISHED).exists() && !dir.join(MANIFEST).exists();
    let failed = |source| Error::Read { path: dir.to_owned(), source };
    for entry in fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let stem = name.strip_suffix(".bin").unwrap_or_default();
        let shard = stem.strip_prefix("shard-").or_else(|| stem.strip_prefix("spans-"));
        let is_shard = shard.is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()));
        let is_temporary = name.starts_with('.') && name.ends_with(".tmp");
        if !unfinished || !(is_shard || is_temporary || name == UNFINISHED) {
            return Err(Error::Occupied { dir: dir.to_owned() });
        }
        if name != UNFINISHED {
            fs::remove_file(entry.path()).map_err(|source| Error::Write { path: entry.path(), source })?;
        }
    }
    Ok(())
}

/// Writes a file under a temporary name beside it, syncs it, renames it.
fn place(path: &Path, parts: &[&[u8]]) -> Result<(), Error> {
    let failed = |source| Error::Write { path: path.to_owned(), source };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(format!(".{name}.{}.tmp", std::process::id()));
    let written = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(&temporary)?;
        for part in parts {
            file.write_all(part)?;
        }
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    let done = written();
    if done.is_err() {
        // leave no litter; the first error is the one to tell
        let _ = fs::remove_file(&temporary);
    }
    done.map_err(failed)?;
    // the new name is durable once its directory is; file systems that cannot sync a directory don't need it
    if let Some(dir) = path.parent().and_then(|dir| File::open(dir).ok()) {
        let _ = dir.sync_all();
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::{Span, SpanKind};
    use super::*;

    pub fn tokenized(size: u32) -> TokenizedBy {
        TokenizedBy { class: None, size, fingerprint: "0123".to_owned() }
    }

    /// Document `n` has `n % 7 + 1` tokens, all of them `n % size`, and a sentence every third token.
    pub fn document(n: u64, size: u32) -> Document {
        let length = (n % 7 + 1) as usize;
        let id = (n % u64::from(size)) as u32;
        Document { number: n, ids: vec![id; length], sentences: (0..length).step_by(3).collect(), spans: Vec::new() }
    }

    pub fn corpus(dir: &Path, documents: u64, size: u32, shard_bytes: usize) -> Corpus {
        let mut writer = Writer::create(dir, tokenized(size)).unwrap().shard_bytes(shard_bytes);
        for n in 0..documents {
            writer.add(&document(n, size), n, 10).unwrap();
        }
        writer.finish().unwrap()
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_was_written_is_read() {
        for (size, id_bytes) in [(1000, 2), (1 << 16, 2), ((1 << 16) + 1, 4), (100_000, 4)] {
            let dir = tempfile::tempdir().unwrap();
            let corpus = corpus(dir.path(), 500, size, 300 * id_bytes);
            assert_eq!((corpus.len(), corpus.id_bytes(), corpus.text_bytes()), (500, id_bytes, 5000));
            assert!(corpus.shards().0 > 3, "{:?}", corpus.shards());
            let all: Vec<Document> = (0..500).map(|n| corpus.document(n).unwrap()).collect();
            assert_eq!(all, (0..500).map(|n| document(n, size)).collect::<Vec<_>>());
            assert_eq!(corpus.tokens(), all.iter().map(|d| d.ids.len() as u64).sum::<u64>());
            assert_eq!(corpus.sentences(), all.iter().map(|d| d.sentences.len() as u64).sum::<u64>());
            assert_eq!((corpus.length(6).unwrap(), corpus.hash(499).unwrap()), (7, 499));
            assert!(matches!(corpus.document(500), Err(Error::NoDocument { .. })));
            let holders = all.iter().flat_map(|d| d.ids.iter().map(|_| d.number));
            assert!((0..).zip(holders).all(|(token, number)| corpus.holder(token).unwrap() == number));
            assert!(corpus.holder(corpus.tokens()).is_err());
            corpus.verify(&mut |_| true).unwrap();
            let sentences: Vec<usize> = all[6].each_sentence().map(<[u32]>::len).collect();
            assert_eq!(sentences, [3, 3, 1]);
        }
    }

    #[test]
    fn the_bytes_are_as_documented() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = Writer::create(dir.path(), tokenized(600)).unwrap();
        writer
            .add(&Document { number: 0, ids: vec![1, 2, 515], sentences: vec![0, 2], ..Document::default() }, 0x0102, 7)
            .unwrap();
        writer.add(&Document { number: 0, ids: vec![4], sentences: vec![0], ..Document::default() }, 9, 1).unwrap();
        writer.finish().unwrap();
        let bytes = fs::read(dir.path().join("shard-00000.bin")).unwrap();
        let mut expected = b"PTMCORP\0\x01\0\0\0\x02\0\0\0".to_vec();
        let numbers = |list: &[u64]| list.iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<u8>>();
        expected.extend(numbers(&[2, 3, 4, 0, 0, 0]));
        expected.extend(numbers(&[0, 3, 4]));
        expected.extend(numbers(&[0, 2, 3]));
        expected.extend(numbers(&[0x0102, 9]));
        expected.extend([0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        expected.extend([1, 0, 2, 0, 3, 2, 4, 0]);
        assert_eq!(bytes, expected);
        assert_eq!(names(dir.path()), ["corpus.json", "shard-00000.bin"]);
    }

    /// Document `n` with a phrase over all of it where `n % 3` is 0, and where `n % 6` is 0 an entity at its first token.
    fn with_spans(n: u64, size: u32) -> Document {
        let plain = document(n, size);
        let phrase = Span { start: 0, end: plain.ids.len(), kind: SpanKind::Phrase };
        let entity = Span { start: 0, end: 1, kind: SpanKind::Entity };
        let mut spans: Vec<Span> =
            [(3, phrase), (6, entity)].into_iter().filter(|(of, _)| n.is_multiple_of(*of)).map(|s| s.1).collect();
        spans.sort_unstable();
        Document { spans, ..plain }
    }

    fn corpus_with_spans(dir: &Path, documents: u64, shard_bytes: usize) -> Corpus {
        let mut writer = Writer::create(dir, tokenized(9)).unwrap().shard_bytes(shard_bytes);
        for n in 0..documents {
            writer.add(&with_spans(n, 9), n, 10).unwrap();
        }
        writer.finish().unwrap()
    }

    #[test]
    fn spans_come_back_and_corpora_without_them_are_as_before() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let spanned = corpus_with_spans(one.path(), 200, 300);
        assert_eq!((spanned.spans().phrase, spanned.spans().entity), (67, 34));
        for n in 0..200 {
            assert_eq!(spanned.document(n).unwrap(), with_spans(n, 9));
        }
        spanned.verify(&mut |_| true).unwrap();
        let plain = corpus(two.path(), 200, 9, 300);
        assert_eq!(plain.spans().all(), 0);
        let manifest = fs::read_to_string(two.path().join(MANIFEST)).unwrap();
        assert!(manifest.contains("\"version\": 1") && !manifest.contains("spans"), "{manifest}");
        assert!(names(two.path()).iter().all(|name| !name.starts_with("spans-")));
        // the shards are the same, but the corpus is another
        let shard = |dir: &Path| fs::read(dir.join("shard-00000.bin")).unwrap();
        assert_eq!(shard(one.path()), shard(two.path()));
        assert_ne!(spanned.fingerprint(), plain.fingerprint());
        assert!(spanned.shards().1 > plain.shards().1);
        // only what has spans has a file of them
        let few = tempfile::tempdir().unwrap();
        let mut writer = Writer::create(few.path(), tokenized(9)).unwrap().shard_bytes(2);
        for n in [1, 3, 2] {
            writer.add(&with_spans(n, 9), n, 10).unwrap();
        }
        let few_of_them = writer.finish().unwrap();
        assert_eq!(
            names(few.path()),
            ["corpus.json", "shard-00000.bin", "shard-00001.bin", "shard-00002.bin", "spans-00001.bin"]
        );
        assert_eq!(few_of_them.document(1).unwrap().spans.len(), 1);
        // what was stopped is cleared of them too
        fs::rename(few.path().join(MANIFEST), few.path().join(UNFINISHED)).unwrap();
        assert_eq!(corpus(few.path(), 3, 9, 1000).len(), 3);
        assert_eq!(names(few.path()), ["corpus.json", "shard-00000.bin"]);
    }

    #[test]
    fn the_bytes_of_spans_are_as_documented() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = Writer::create(dir.path(), tokenized(9)).unwrap();
        for n in [6, 1, 3] {
            writer.add(&with_spans(n, 9), n, 1).unwrap();
        }
        writer.finish().unwrap();
        let mut expected = b"PTMSPAN\0\x01\0\0\0\0\0\0\0".to_vec();
        expected.extend([3, 3, 0, 0, 0, 0, 0, 2, 2, 3].iter().flat_map(|n: &u64| n.to_le_bytes()));
        expected.extend([0, 1, 1, 0, 7, 0, 0, 4, 0].iter().flat_map(|n: &u32| n.to_le_bytes()));
        assert_eq!(fs::read(dir.path().join("spans-00000.bin")).unwrap(), expected);
    }

    #[test]
    fn damaged_spans_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path();
        corpus_with_spans(path, 20, 1000);
        let (file, manifest) = (path.join("spans-00000.bin"), path.join(MANIFEST));
        let (bytes, text) = (fs::read(&file).unwrap(), fs::read_to_string(&manifest).unwrap());
        let read = || -> Result<(), Error> {
            let corpus = Corpus::open(path)?;
            // none of these may panic
            let _: Vec<_> = (0..20).map(|n| corpus.document(n)).collect();
            corpus.verify(&mut |_| true)
        };
        read().unwrap();
        for at in 0..bytes.len() {
            let mut wrong = bytes.clone();
            wrong[at] ^= 0xff;
            fs::write(&file, wrong).unwrap();
            assert!(read().is_err(), "byte {at}");
        }
        for wrong in [&bytes[..0], &bytes[..70], &bytes[..bytes.len() - 1], &[&bytes[..], b"x"].concat()] {
            fs::write(&file, wrong).unwrap();
            assert!(matches!(read(), Err(Error::Damaged { .. })));
        }
        fs::remove_file(&file).unwrap();
        assert!(read().unwrap_err().to_string().contains("spans-00000.bin"));
        fs::write(&file, &bytes).unwrap();
        for (from, to, word) in [
            ("\"version\": 2", "\"version\": 1", "version 1"),
            ("\"phrase\": 7", "\"phrase\": 8", "spans"),
            ("\"entity\": 4", "\"entity\": 18446744073709551615", "spans"),
        ] {
            assert!(text.contains(from), "{from}: {text}");
            fs::write(&manifest, text.replacen(from, to, 1)).unwrap();
            let error = read().unwrap_err().to_string();
            assert!(error.contains(word), "{from} {to}: {error}");
        }
    }

    #[test]
    fn what_was_stopped_is_unfinished_and_can_be_made_again() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("new/corpus");
        assert!(matches!(Corpus::open(&dir), Err(Error::Read { .. })));
        let mut writer = Writer::create(&dir, tokenized(9)).unwrap().shard_bytes(4);
        for n in 0..40 {
            writer.add(&document(n, 9), n, 1).unwrap();
        }
        drop(writer);
        fs::write(dir.join(".shard-00007.bin.1.tmp"), b"half").unwrap();
        assert!(names(&dir).len() > 10);
        assert!(matches!(Corpus::open(&dir), Err(Error::Unfinished { .. })));
        assert_eq!(corpus(&dir, 3, 9, 1000).len(), 3);
        assert_eq!(names(&dir), ["corpus.json", "shard-00000.bin"]);
        // a finished one, or a folder of something else, is left alone
        assert!(matches!(Writer::create(&dir, tokenized(9)), Err(Error::Occupied { .. })));
        let other = tempfile::tempdir().unwrap();
        assert!(matches!(Corpus::open(other.path()), Err(Error::NoCorpus { .. })));
        fs::write(other.path().join("shard-00000.bin"), b"mine").unwrap();
        assert!(matches!(Writer::create(other.path(), tokenized(9)), Err(Error::Occupied { .. })));
        assert_eq!(fs::read(other.path().join("shard-00000.bin")).unwrap(), b"mine");
    }

    #[test]
    fn wrong_documents_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = Writer::create(dir.path(), tokenized(9)).unwrap();
        for (ids, sentences) in [
            (vec![], vec![]),
            (vec![9], vec![0]),
            (vec![1], vec![]),
            (vec![1], vec![1]),
            (vec![1, 2], vec![0, 0]),
            (vec![1, 2], vec![0, 2]),
            (vec![1, 2, 3], vec![1, 2]),
        ] {
            let document = Document { ids, sentences, ..Document::default() };
            assert!(matches!(writer.add(&document, 0, 0), Err(Error::Document { .. })), "{document:?}");
        }
        let spans = vec![Span { start: 0, end: 2, kind: SpanKind::Entity }];
        let document = Document { ids: vec![1], sentences: vec![0], spans, number: 0 };
        let error = writer.add(&document, 0, 0).unwrap_err().to_string();
        assert!(error.contains("its entity from 0 to 2"), "{error}");
        assert!(matches!(writer.finish(), Err(Error::Empty { .. })));
    }

    /// Every damage is an error when the corpus is opened, read or verified, and nothing worse.
    #[test]
    fn damaged_files_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path();
        corpus(path, 20, 9, 1000);
        let (shard, manifest) = (path.join("shard-00000.bin"), path.join(MANIFEST));
        let (bytes, text) = (fs::read(&shard).unwrap(), fs::read_to_string(&manifest).unwrap());
        let read = || -> Result<(), Error> {
            let corpus = Corpus::open(path)?;
            for n in 0..corpus.len().min(1000) {
                // none of these may panic
                let _ = (corpus.document(n), corpus.hash(n), corpus.length(n));
            }
            let order = super::super::Order::Shuffled { seed: 1, epoch: 0 };
            let _ = corpus.documents(super::super::Part::All, order, 3).count();
            corpus.verify(&mut |_| true)
        };
        read().unwrap();
        for at in 0..bytes.len() {
            let mut wrong = bytes.clone();
            wrong[at] ^= 0xff;
            fs::write(&shard, wrong).unwrap();
            assert!(read().is_err(), "byte {at}");
        }
        for wrong in [&bytes[..0], &bytes[..70], &bytes[..bytes.len() - 1], &[&bytes[..], b"x"].concat()] {
            fs::write(&shard, wrong).unwrap();
            assert!(matches!(read(), Err(Error::Damaged { .. })));
        }
        fs::remove_file(&shard).unwrap();
        assert!(read().unwrap_err().to_string().contains("shard-00000.bin"));
        fs::write(&shard, &bytes).unwrap();
        for (from, to, word) in [
            ("\"documents\": 20", "\"documents\": 21", "documents"),
            ("\"documents\": 20", "\"documents\": 18446744073709551615", "documents"),
            ("\"id_bytes\": 2", "\"id_bytes\": 4", "contradict"),
            ("\"id_bytes\": 2", "\"id_bytes\": 3", "id_bytes"),
            ("\"version\": 1", "\"version\": 2", "version 2"),
            ("\"version\": 1", "\"version\": 3", "version 3"),
            ("\"format\": \"ptm corpus\"", "\"format\": \"x\"", "format"),
            ("\"size\": 9", "\"size\": 3", "the tokenizer only 3"),
            ("\"shards\"", "\"shard\"", "no manifest"),
            ("{", "[", "no manifest"),
        ] {
            assert!(text.contains(from), "{from}");
            fs::write(&manifest, text.replacen(from, to, 1)).unwrap();
            let error = read().unwrap_err().to_string();
            assert!(error.contains(word), "{from} {to}: {error}");
        }
        fs::remove_file(&manifest).unwrap();
        fs::create_dir(&manifest).unwrap();
        assert!(read().is_err());
    }
}
