//! From a SentencePiece model to a tokenizer: vocabulary in the family's order, unigram or BPE, text cleaning.
//! The rules are those of the transformers library's conversions. Not the reading of the file: see `sentencepiece.rs`.

use std::collections::HashMap;

use serde_json::{Value, json};
use tokenizers::models::ModelWrapper;
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::models::unigram::Unigram;

use crate::Error;
use crate::families::{Cleaning, Family, Pieces};
use crate::json::Object;
use crate::sentencepiece::{Algorithm, Kind, Model};
use crate::special::Token;

/// The model with its vocabulary in the family's order. `extra_ids` is T5's number of sentinels.
pub(crate) fn model(
    source: &Model,
    pieces: Pieces,
    unk_id: Option<u32>,
    extra_ids: usize,
) -> Result<ModelWrapper, Error> {
    let mut vocab: Vec<(String, f64)> = Vec::with_capacity(source.pieces.len() + extra_ids + 32);
    let plain = |from: usize| source.pieces.iter().skip(from).map(|piece| (piece.text.clone(), f64::from(piece.score)));
    let extra = |text: &str, score: f64| (text.to_owned(), score);
    match pieces {
        Pieces::Plain { comma_penalty } => vocab.extend(plain(0).map(|(text, score)| {
            let penalty = if comma_penalty && ends_in_number_comma(&text) { 100.0 } else { 0.0 };
            (text, score - penalty)
        })),
        Pieces::T5 => {
            vocab.extend(plain(0));
            vocab.extend((0..extra_ids).rev().map(|i| (format!("<extra_id_{i}>"), 0.0)));
        }
        Pieces::FairSeq { languages } => {
            vocab.extend(["<s>", "<pad>", "</s>", "<unk>"].map(|t| extra(t, 0.0)));
            vocab.extend(plain(3));
            vocab.extend(languages.iter().map(|t| extra(t, 0.0)));
            vocab.push(extra("<mask>", 0.0));
        }
        Pieces::Camembert => {
            vocab.extend(["<s>NOTUSED", "<pad>", "</s>NOTUSED", "<unk>"].map(|t| extra(t, 0.0)));
            vocab.push(extra("<unk>NOTUSED", -100.0));
            vocab.extend(plain(1));
            vocab.push(extra("<mask>", 0.0));
        }
    }
    assemble(source, vocab, unk_id.unwrap_or(source.unk_id))
}

/// The model over a given vocabulary.
pub(crate) fn assemble(source: &Model, vocab: Vec<(String, f64)>, unk_id: u32) -> Result<ModelWrapper, Error> {
    let broken = |reason: String| Error::Model { file: source.file.clone(), reason };
    match source.algorithm {
        Algorithm::Unigram => {
            Ok(Unigram::from(vocab, Some(unk_id as usize), false).map_err(|e| broken(e.to_string()))?.into())
        }
        Algorithm::Bpe => {
            let merges = merges(source, &vocab);
            let ids: Vocab = vocab.into_iter().enumerate().map(|(id, (text, _))| (text, id as u32)).collect();
            Ok(BPE::builder()
                .vocab_and_merges(ids, merges)
                .unk_token(source.unk_piece.clone())
                .fuse_unk(true)
                .build()
                .map_err(|e| broken(e.to_string()))?
                .into())
        }
    }
}

/// The merges that a SentencePiece BPE model implies: every way to join two pieces into a third, best piece first.
fn merges(source: &Model, vocab: &[(String, f64)]) -> Vec<(String, String)> {
    let ids: HashMap<&str, usize> = source.pieces.iter().enumerate().map(|(i, p)| (p.text.as_str(), i)).collect();
    let known: std::collections::HashSet<&str> = vocab.iter().map(|(text, _)| text.as_str()).collect();
    // A text that occurs twice keeps its first place and its last score.
    let mut place: HashMap<&str, usize> = HashMap::new();
    let mut scores: Vec<(&str, f64)> = Vec::new();
    for (text, score) in vocab {
        if let Some(&i) = place.get(text.as_str()) {
            scores[i].1 = *score;
        } else {
            place.insert(text, scores.len());
            scores.push((text, *score));
        }
    }
    let mut merges: Vec<(&str, &str, f64)> = Vec::new();
    for (text, score) in scores {
        let from = merges.len();
        for (cut, _) in text.char_indices().skip(1) {
            let (left, right) = text.split_at(cut);
            // Pieces that the family drops cannot be merged: BPE needs both in its vocabulary.
            if ids.contains_key(left) && ids.contains_key(right) && known.contains(left) && known.contains(right) {
                merges.push((left, right, score));
            }
        }
        merges[from..].sort_by_key(|(left, right, _)| (ids[left], ids[right]));
    }
    let chars = |s: &str| s.chars().count();
    merges.sort_by(|a, b| {
        b.2.total_cmp(&a.2).then_with(|| chars(b.0).cmp(&chars(a.0))).then_with(|| chars(b.1).cmp(&chars(a.1)))
    });
    merges.into_iter().map(|(left, right, _)| (left.to_owned(), right.to_owned())).collect()
}

fn ends_in_number_comma(text: &str) -> bool {
    let mut end = text.chars().rev();
    end.next() == Some(',') && end.next().is_some_and(char::is_numeric)
}

/// Control and user-defined pieces, which are found in text as a whole.
pub(crate) fn added(source: &Model) -> Vec<Token> {
    source
        .pieces
        .iter()
        .filter(|piece| matches!(piece.kind, Kind::Control | Kind::UserDefined))
        .map(|piece| Token {
            content: piece.text.clone(),
            normalized: Some(false),
            special: piece.kind == Kind::Control,
            ..Token::default()
        })
        .collect()
}

/// The normaliser, in the form of `tokenizer.json`, without the model's own table: where that goes is `TABLE`.
pub(crate) const TABLE: &str = "the model's table";

pub(crate) fn cleaning(cleaning: Cleaning, family: &Family, config: &Object, table: bool) -> Result<Vec<Value>, Error> {
    let table = table.then(|| json!(TABLE));
    let replace = |from: &str, to: &str| json!({"type": "Replace", "pattern": {"String": from}, "content": to});
    let spaces = |to: &str| json!({"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": to});
    let lower = config.bool("do_lower_case")?.unwrap_or(family.lower);
    let keep_accents = config.bool("keep_accents")?.unwrap_or(family.keep_accents);
    let mut steps = Vec::new();
    match cleaning {
        Cleaning::Model => {
            steps.extend(table);
            steps.push(json!({"type": "Strip", "strip_left": false, "strip_right": true}));
            steps.push(spaces("▁"));
        }
        Cleaning::Quotes | Cleaning::QuotesSpacesFirst => {
            let first = cleaning == Cleaning::QuotesSpacesFirst;
            steps.extend([replace("``", "\""), replace("''", "\"")]);
            if first {
                steps.push(spaces(" "));
            }
            if !keep_accents {
                steps.extend([json!({"type": "NFKD"}), json!({"type": "StripAccents"})]);
            }
            if lower {
                steps.push(json!({"type": "Lowercase"}));
            }
            steps.extend(table);
            if !first {
                steps.push(spaces(" "));
            }
        }
        Cleaning::Deberta => {
            if lower {
                steps.push(json!({"type": "Lowercase"}));
            }
            steps.push(json!({"type": "Strip", "strip_left": true, "strip_right": true}));
            steps.extend(table);
            steps.push(spaces(" "));
        }
    }
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sentencepiece::tests::bytes;
    use tokenizers::Model as _;

    #[test]
    fn merges_come_best_first() {
        let pieces =
            [("<unk>", 0.0, 2), ("a", -4.0, 1), ("b", -5.0, 1), ("ab", -1.0, 1), ("abb", -2.0, 1), ("bb", -3.0, 1)];
        let source = Model::parse("m", &bytes(&pieces, 2, 0)).unwrap();
        let model = model(&source, Pieces::Plain { comma_penalty: false }, None, 0).unwrap();
        let tokens = |text: &str| model.tokenize(text).unwrap().into_iter().map(|t| t.value).collect::<Vec<_>>();
        assert_eq!(tokens("abbb"), ["abb", "b"]);
        assert_eq!(tokens("bbab"), ["bb", "ab"]);
    }

    #[test]
    fn penalty_is_for_numbers_with_a_comma() {
        assert!(ends_in_number_comma("1,") && ends_in_number_comma("▁9,"));
        assert!(!ends_in_number_comma("a,") && !ends_in_number_comma(",") && !ends_in_number_comma("1"));
    }
}
