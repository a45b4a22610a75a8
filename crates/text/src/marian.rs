//! Marian's vocabulary: segmentation by the source SentencePiece model, ids from `vocab.json` shared with the target.
//! Follows `MarianTokenizer` of the transformers library without its optional punctuation normaliser.
//! Decoding is of target ids; target texts are segmented by a model of their own.

use std::collections::HashMap;

use tokenizers::Encoding as Raw;

use crate::Error;
use crate::sentencepiece::{Algorithm, Model};
use crate::special::Token;
use crate::unigram::Segmenter;
use crate::vocabulary;

/// The mark of a space in SentencePiece pieces.
const SPACE: char = '▁';

/// The segmentation with the ids.
#[derive(Clone, Debug)]
pub(crate) struct Marian {
    segmenter: Segmenter,
    ids: HashMap<String, u32>,
    tokens: HashMap<u32, String>,
    /// Tokens that are found in text before segmentation, with their ids.
    added: Vec<(String, u32)>,
    unk: u32,
}

impl Marian {
    /// Reads the segmentation model and the ids.
    pub fn new(source: &Model, vocab: &[u8], unk: &str, pad: &str) -> Result<Self, Error> {
        const FILE: &str = "vocab.json";
        unigram(source)?;
        let ids = vocabulary::ids(FILE, vocab)?;
        let find = |token: &str| {
            ids.get(token).copied().ok_or_else(|| Error::Model {
                file: FILE.to_owned(),
                reason: format!("it has no token {token:?}, which Marian needs"),
            })
        };
        let unk = find(unk)?;
        find(pad)?;
        let tokens = ids.iter().map(|(token, &id)| (id, token.clone())).collect();
        let segmenter = Segmenter::new(source);
        Ok(Self { segmenter, ids, tokens, added: Vec::new(), unk })
    }

    /// The same ids for target texts, which `target` segments.
    ///
    /// # Errors
    /// When that is no unigram model.
    pub fn of_target(&self, target: &Model) -> Result<Self, Error> {
        unigram(target)?;
        Ok(Self { segmenter: Segmenter::new(target), ..self.clone() })
    }

    /// Adds tokens that are found in text as they are; new ones get the next ids.
    pub fn add(&mut self, tokens: &[Token]) {
        for token in tokens {
            if token.content.is_empty() || self.added.iter().any(|(t, _)| *t == token.content) {
                continue;
            }
            let next = self.tokens.keys().max().map_or(0, |&id| id + 1);
            let id = *self.ids.entry(token.content.clone()).or_insert(next);
            self.tokens.insert(id, token.content.clone());
            self.added.push((token.content.clone(), id));
        }
    }

    /// The tokens of a text, offsets in bytes.
    pub fn encode(&self, text: &str, special: bool) -> Raw {
        let added = if special { self.added.as_slice() } else { &[] };
        let mut out = Tokens::default();
        let mut at = 0;
        // Where each added token occurs next: searched again only once passed, so that the whole is linear.
        let mut next: Vec<Option<usize>> = added.iter().map(|(t, _)| text.find(t.as_str())).collect();
        loop {
            for (place, (token, _)) in next.iter_mut().zip(added) {
                if place.is_some_and(|p| p < at) {
                    *place = text[at..].find(token.as_str()).map(|p| p + at);
                }
            }
            let found = (0..next.len())
                .filter_map(|i| next[i].map(|place| (place, std::cmp::Reverse(added[i].0.len()), i)))
                .min();
            let Some((place, _, i)) = found else { break };
            self.section(&text[at..place], at, &mut out);
            let (token, id) = &added[i];
            at = place + token.len();
            out.push(*id, token.clone(), (place, at));
        }
        self.section(&text[at..], at, &mut out);
        let length = out.ids.len();
        let words = (0..length as u32).map(Some).collect();
        Raw::new(
            out.ids,
            vec![0; length],
            out.texts,
            words,
            out.offsets,
            vec![0; length],
            vec![1; length],
            Vec::new(),
            crate::encode::no_ranges(),
        )
    }

    /// Text between added tokens: the target language that it may begin with, then the pieces.
    fn section(&self, text: &str, at: usize, out: &mut Tokens) {
        let (code, rest) = language_code(text);
        let mut shift = at;
        if let Some(code) = code {
            shift += code.len();
            out.push(self.id(code).unwrap_or(self.unk), code.to_owned(), (at, shift));
        }
        for segment in self.segmenter.segment(rest) {
            // what one model doesn't know may be a piece of the other, which shares the ids
            let known = self.id(&segment.text);
            let (start, end) = segment.range;
            out.push(known.unwrap_or(self.unk), segment.text, (start + shift, end + shift));
        }
    }

    pub fn id(&self, token: &str) -> Option<u32> {
        self.ids.get(token).copied()
    }

    pub fn token(&self, id: u32) -> Option<&str> {
        self.tokens.get(&id).map(String::as_str)
    }

    pub fn size(&self) -> usize {
        self.ids.len()
    }

    pub fn max_id(&self) -> u32 {
        self.tokens.keys().copied().max().unwrap_or(0)
    }

    /// Joins pieces to text; the tokens in `special` stand as they are with a space after.
    pub fn join<'a>(tokens: impl Iterator<Item = &'a str>, special: &[&str]) -> String {
        let mut out = String::new();
        let mut piece_run = String::new();
        for token in tokens {
            if special.contains(&token) {
                flush(&mut piece_run, &mut out);
                out.push_str(token);
                out.push(' ');
            } else {
                piece_run.push_str(token);
            }
        }
        flush(&mut piece_run, &mut out);
        out.replace(SPACE, " ").trim().to_owned()
    }
}

fn unigram(model: &Model) -> Result<(), Error> {
    if model.algorithm == Algorithm::Unigram {
        return Ok(());
    }
    let reason = "Marian's models are expected to be unigram models".to_owned();
    Err(Error::Model { file: model.file.clone(), reason })
}

#[derive(Default)]
struct Tokens {
    ids: Vec<u32>,
    texts: Vec<String>,
    offsets: Vec<(usize, usize)>,
}

impl Tokens {
    fn push(&mut self, id: u32, text: String, offsets: (usize, usize)) {
        self.ids.push(id);
        self.texts.push(text);
        self.offsets.push(offsets);
    }
}

/// The target language (`>>fra<<`) that a text may begin with, and the rest.
fn language_code(text: &str) -> (Option<&str>, &str) {
    match text.strip_prefix(">>").and_then(|rest| rest.find("<<")) {
        Some(end) => {
            let (code, rest) = text.split_at(end + 4);
            (Some(code), rest)
        }
        None => (None, text),
    }
}

fn flush(run: &mut String, out: &mut String) {
    out.push_str(run.strip_prefix(SPACE).unwrap_or(run));
    run.clear();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn language_codes_stand_first() {
        assert_eq!(language_code(">>fra<< Hello"), (Some(">>fra<<"), " Hello"));
        assert_eq!(language_code(">>fra Hello"), (None, ">>fra Hello"));
        assert_eq!(language_code(" >>fra<<"), (None, " >>fra<<"));
        assert_eq!(language_code(">><<"), (Some(">><<"), ""));
    }
}
