//! Marian's vocabulary: segmentation by the source SentencePiece model, ids from `vocab.json` shared with the target.
//! Follows `MarianTokenizer` of the transformers library without its optional punctuation normaliser.
//! Encoding is of source texts; decoding is of target ids.

use std::collections::HashMap;

use serde_json::json;
use tokenizers::models::ModelWrapper;
use tokenizers::{Encoding as Raw, Model as _};

use crate::Error;
use crate::sentencepiece::{Kind, Model};
use crate::vocabulary;

/// The mark of a space in SentencePiece pieces.
const SPACE: char = '▁';

/// Ids of pieces, and pieces of ids.
#[derive(Clone, Debug)]
pub(crate) struct Marian {
    ids: HashMap<String, u32>,
    tokens: HashMap<u32, String>,
    /// The id of each piece of the source model.
    of_piece: Vec<u32>,
    unk: u32,
}

impl Marian {
    /// The segmentation model with the mapping to ids.
    pub fn new(
        source: &Model,
        vocab: &[u8],
        unk: &str,
        pad: &str,
    ) -> Result<(ModelWrapper, Self), Error> {
        const FILE: &str = "vocab.json";
        let ids = vocabulary::ids(FILE, vocab)?;
        let find = |token: &str| {
            ids.get(token).copied().ok_or_else(|| Error::Model {
                file: FILE.to_owned(),
                reason: format!("it has no token {token:?}, which Marian needs"),
            })
        };
        let unk = find(unk)?;
        find(pad)?;
        let pieces = source
            .pieces
            .iter()
            .enumerate()
            .map(|(i, piece)| match piece.kind {
                Kind::Normal | Kind::UserDefined => (piece.text.clone(), f64::from(piece.score)),
                // These never match text. After cleaning no text holds a space, so this name never matches.
                _ => (format!(" {i}"), f64::from(piece.score)),
            })
            .collect();
        let model = crate::pieces::assemble(source, pieces, source.unk_id)?;
        let of_piece = source
            .pieces
            .iter()
            .map(|piece| match piece.kind {
                Kind::Normal | Kind::UserDefined => ids.get(&piece.text).copied().unwrap_or(unk),
                _ => unk,
            })
            .collect();
        let tokens = ids.iter().map(|(token, &id)| (id, token.clone())).collect();
        Ok((
            model,
            Self {
                ids,
                tokens,
                of_piece,
                unk,
            },
        ))
    }

    /// SentencePiece's own cleaning around the model's table: spaces at the ends go, runs become one.
    pub fn cleaning(table: bool) -> Vec<serde_json::Value> {
        let mut steps = Vec::new();
        steps.extend(table.then(|| json!(crate::pieces::TABLE)));
        steps.push(json!({"type": "Replace", "pattern": {"Regex": "^ +| +$"}, "content": ""}));
        steps.push(json!({"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}));
        steps
    }

    /// Gives ids to added tokens as well: called when the tokenizer is complete.
    pub fn complete(&mut self, tokenizer: &tokenizers::Tokenizer) {
        let added = tokenizer.get_added_tokens_decoder();
        let size = added.keys().map(|&id| id as usize + 1).max().unwrap_or(0);
        if size > self.of_piece.len() {
            self.of_piece.resize(size, self.unk);
        }
        let next = self.tokens.keys().max().map_or(0, |&id| id + 1);
        let mut missing = 0;
        let mut order: Vec<_> = added.iter().collect();
        order.sort_by_key(|(id, _)| **id);
        for (&piece, token) in order {
            let id = *self.ids.entry(token.content.clone()).or_insert_with(|| {
                missing += 1;
                next + missing - 1
            });
            self.tokens.insert(id, token.content.clone());
            self.of_piece[piece as usize] = id;
        }
        debug_assert!(tokenizer.get_model().get_vocab_size() <= self.of_piece.len());
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

    /// The target language (`>>fra<<`) that a text may begin with, and the rest.
    pub fn language_code(text: &str) -> (Option<&str>, &str) {
        match text.strip_prefix(">>").and_then(|rest| rest.find("<<")) {
            Some(end) => {
                let (code, rest) = text.split_at(end + 4);
                (Some(code), rest)
            }
            None => (None, text),
        }
    }

    /// The tokens with Marian's ids, after the language code that was taken off.
    pub fn with_ids(&self, raw: &Raw, code: Option<&str>) -> Raw {
        let shift = code.map_or(0, |c| c.chars().count());
        let extra = usize::from(code.is_some());
        let mut ids: Vec<u32> = code
            .iter()
            .map(|&c| self.id(c).unwrap_or(self.unk))
            .collect();
        let mut tokens: Vec<String> = code.iter().map(|&c| c.to_owned()).collect();
        let mut offsets: Vec<(usize, usize)> = code.iter().map(|_| (0, shift)).collect();
        let mut words: Vec<Option<u32>> = code.iter().map(|_| Some(0)).collect();
        ids.extend(
            raw.get_ids()
                .iter()
                .map(|&id| self.of_piece.get(id as usize).copied().unwrap_or(self.unk)),
        );
        tokens.extend_from_slice(raw.get_tokens());
        offsets.extend(
            raw.get_offsets()
                .iter()
                .map(|&(a, b)| (a + shift, b + shift)),
        );
        words.extend(
            raw.get_word_ids()
                .iter()
                .map(|w| w.map(|w| w + extra as u32)),
        );
        let length = ids.len();
        let special = vec![0; length];
        Raw::new(
            ids,
            vec![0; length],
            tokens,
            words,
            offsets,
            special,
            vec![1; length],
            Vec::new(),
            Default::default(),
        )
    }

    /// Joins pieces to text; the tokens in `special` stand as they are with a space after.
    pub fn join<'a>(&self, tokens: impl Iterator<Item = &'a str>, special: &[&str]) -> String {
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

fn flush(run: &mut String, out: &mut String) {
    out.push_str(run.strip_prefix(SPACE).unwrap_or(run));
    run.clear();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn language_codes_stand_first() {
        assert_eq!(
            Marian::language_code(">>fra<< Hello"),
            (Some(">>fra<<"), " Hello")
        );
        assert_eq!(Marian::language_code(">>fra Hello"), (None, ">>fra Hello"));
        assert_eq!(Marian::language_code(" >>fra<<"), (None, " >>fra<<"));
        assert_eq!(Marian::language_code(">><<"), (Some(">><<"), ""));
    }
}
