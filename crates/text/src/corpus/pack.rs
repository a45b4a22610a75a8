//! From text to a packed corpus: documents are read ahead on one thread, encoded on all cores, written in their order,
//! in bounded memory. No special tokens are put around documents, and text that spells one ("[MASK]") stays text.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use rayon::prelude::*;

use super::text::Piece;
use super::{Corpus, Document, Error, Span, Writer, span};
use crate::{Tokenizer, sentences};

/// Documents that are encoded together have about so many bytes, so many such batches wait.
const BATCH_BYTES: usize = 2 << 20;
/// Nor more texts, of which some hold nothing.
const BATCH_TEXTS: usize = 1 << 14;
const WAITING: usize = 2;

/// What was packed, so far or altogether.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Packed {
    /// Documents in the corpus; one that was longer than 1 MiB counts as several.
    pub documents: u64,
    /// Their tokens.
    pub tokens: u64,
    /// The bytes of their text.
    pub text_bytes: u64,
    /// Documents without any token, which were left out.
    pub empty: u64,
    /// Phrases and entities that the text brought with it.
    pub spans: u64,
}

/// Packs `texts`, those of files for instance ([`Texts`](super::Texts)), with `tokenizer` by `writer`, which was made for it. `heard` hears how far it is, and says whether to
/// go on; `None` when it did not: the directory is unfinished then.
///
/// # Errors
/// When a file cannot be read or is not what its format says, or nothing can be written.
pub fn pack(
    texts: impl Iterator<Item = Result<Piece, Error>> + Send,
    tokenizer: &Tokenizer,
    mut writer: Writer,
    heard: &mut dyn FnMut(&Packed) -> bool,
) -> Result<Option<(Corpus, Packed)>, Error> {
    let mut packed = Packed::default();
    let whole = std::thread::scope(|scope| -> Result<bool, Error> {
        let (send, receive) = sync_channel(WAITING);
        scope.spawn(move || read(texts, &send));
        encode(&receive, tokenizer, &mut writer, &mut packed, heard)
    })?;
    if !whole {
        return Ok(None);
    }
    Ok(Some((writer.finish()?, packed)))
}

/// Sends batches until there are no more, or nobody listens.
fn read(texts: impl Iterator<Item = Result<Piece, Error>>, to: &SyncSender<Result<Vec<Piece>, Error>>) {
    let (mut batch, mut bytes) = (Vec::new(), 0);
    for text in texts {
        let failed = text.is_err();
        match text {
            Ok(piece) => {
                bytes += piece.text.len();
                batch.push(piece);
            }
            Err(error) => {
                if to.send(Err(error)).is_err() {
                    return;
                }
            }
        }
        if failed || bytes >= BATCH_BYTES || batch.len() >= BATCH_TEXTS {
            bytes = 0;
            if to.send(Ok(std::mem::take(&mut batch))).is_err() || failed {
                return;
            }
        }
    }
    // whoever stopped listening doesn't want the rest
    let _ = to.send(Ok(batch));
}

fn encode(
    from: &Receiver<Result<Vec<Piece>, Error>>,
    tokenizer: &Tokenizer,
    writer: &mut Writer,
    packed: &mut Packed,
    heard: &mut dyn FnMut(&Packed) -> bool,
) -> Result<bool, Error> {
    for batch in from {
        let batch = batch?;
        let documents: Vec<Result<Document, crate::Error>> =
            batch.par_iter().map(|piece| spanned(&piece.text, &piece.spans, tokenizer)).collect();
        for (piece, document) in batch.iter().zip(documents) {
            let document = document?;
            let bytes = piece.text.len() as u64;
            if document.ids.is_empty() {
                packed.empty += 1;
                continue;
            }
            writer.add(&document, piece.hash, bytes)?;
            packed.documents += 1;
            packed.tokens += document.ids.len() as u64;
            packed.text_bytes += bytes;
            packed.spans += document.spans.len() as u64;
        }
        if !heard(packed) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A text as a document: its tokens as the whole text has them, and the first token of each sentence. Its number is 0.
///
/// # Errors
/// When the tokenizer fails on the text.
pub fn document(text: &str, tokenizer: &Tokenizer) -> Result<Document, crate::Error> {
    spanned(text, &[], tokenizer)
}

/// The same with spans of the text, which are in bytes, as spans of its tokens.
fn spanned(text: &str, spans: &[Span], tokenizer: &Tokenizer) -> Result<Document, crate::Error> {
    let (ids, offsets) = tokenizer.encode_literally_at(text)?;
    let mut starts = Vec::new();
    let (mut at, mut token) = (0, 0);
    for sentence in sentences(text) {
        // the first token that reaches into the sentence; a space before its first word may belong to that token
        while offsets.get(token).is_some_and(|&(_, end)| end <= at) {
            token += 1;
        }
        if token < ids.len() && starts.last() != Some(&token) {
            starts.push(token);
        }
        at += sentence.len();
    }
    // tokens before everything, without a place in the text
    if let Some(first) = starts.first_mut() {
        *first = 0;
    } else if !ids.is_empty() {
        starts.push(0);
    }
    Ok(Document { number: 0, ids, sentences: starts, spans: span::of_tokens(spans, &offsets) })
}

#[cfg(test)]
mod tests {
    use super::super::{Layout, SpanKind, Texts, TokenizedBy};
    use super::*;

    fn tokenizer() -> Tokenizer {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/all-MiniLM-L6-v2");
        Tokenizer::from_dir(std::path::Path::new(dir)).unwrap()
    }

    #[test]
    fn documents_are_their_tokens_and_sentences() {
        let tokenizer = tokenizer();
        let text = "Dr. Smith has a [MASK].  It is red! \"Why?\" she asked.";
        let document = document(text, &tokenizer).unwrap();
        let words = |ids: &[u32]| ids.iter().map(|&id| tokenizer.token(id).unwrap()).collect::<Vec<_>>().join(" ");
        let sentences: Vec<String> = document.each_sentence().map(words).collect();
        assert_eq!(sentences[..2], ["dr . smith has a [ mask ] .", "it is red !"]);
        assert_eq!(sentences.concat().matches("she asked .").count(), 1);
        assert!(super::document(" \n", &tokenizer).unwrap().ids.is_empty());
    }

    #[test]
    fn spans_are_stored_as_tokens() {
        let tokenizer = tokenizer();
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.jsonl");
        let row = |text: &str, own: &[(&str, &str)]| {
            let at = |part: &str| text[..text.find(part).unwrap()].chars().count();
            let span = |(part, kind): &(&str, &str)| serde_json::json!({ "start": at(part), "end": at(part) + part.chars().count(), "kind": kind });
            serde_json::json!({ "text": text, "spans": own.iter().map(span).collect::<Vec<_>>() }).to_string()
        };
        let rows = [
            row("Zoë went to New York on foot.", &[("New York", "entity"), ("Zoë", "entity"), ("on foot", "phrase")]),
            row("Nothing here.", &[]),
        ];
        std::fs::write(&file, rows.join("\n")).unwrap();
        let writer = Writer::create(&dir.path().join("c"), TokenizedBy::of(&tokenizer).unwrap()).unwrap();
        let texts = Texts::open(&[file], Layout::Files, None).unwrap().with_spans("spans".into()).unwrap();
        let (corpus, packed) = pack(texts, &tokenizer, writer, &mut |_| true).unwrap().unwrap();
        assert_eq!((packed.spans, corpus.spans().phrase, corpus.spans().entity), (3, 1, 2));
        let document = corpus.document(0).unwrap();
        let said: Vec<(String, SpanKind)> = document
            .spans
            .iter()
            .map(|span| (tokenizer.decode(&document.ids[span.start..span.end], true), span.kind))
            .collect();
        let (phrase, entity) = (SpanKind::Phrase, SpanKind::Entity);
        assert_eq!(said, [("zoe".into(), entity), ("new york".into(), entity), ("on foot".into(), phrase)]);
        assert_eq!(corpus.document(1).unwrap().spans, []);
    }

    #[test]
    fn a_file_becomes_a_corpus_whatever_the_threads() {
        let tokenizer = tokenizer();
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.txt");
        let text: Vec<String> = (0..3000).map(|n| format!("Text number {n}.\nIts second line.")).collect();
        let text = text.join("\n\n");
        std::fs::write(&file, &text).unwrap();
        let make = |name: &str, threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let writer = Writer::create(&dir.path().join(name), TokenizedBy::of(&tokenizer).unwrap()).unwrap();
            let texts = Texts::open(std::slice::from_ref(&file), Layout::BlankLines, None).unwrap();
            pool.install(|| pack(texts, &tokenizer, writer, &mut |_| true)).unwrap().unwrap()
        };
        let (one, packed) = make("one", 1);
        let (two, _) = make("two", 2);
        assert_eq!(one.fingerprint(), two.fingerprint());
        assert_eq!((packed.documents, one.len(), one.sentences()), (3000, 3000, 6000));
        assert!(one.tokenizer().is(&tokenizer).unwrap());
        let ids = one.document(2999).unwrap().ids;
        assert_eq!(tokenizer.decode(&ids, true), "text number 2999. its second line.");
        // stopped: unfinished
        let stopped = dir.path().join("stopped");
        let writer = Writer::create(&stopped, TokenizedBy::of(&tokenizer).unwrap()).unwrap();
        let texts = Texts::open(std::slice::from_ref(&file), Layout::BlankLines, None).unwrap();
        assert!(pack(texts, &tokenizer, writer, &mut |_| false).unwrap().is_none());
        assert!(matches!(Corpus::open(&stopped), Err(Error::Unfinished { .. })));
    }
}
