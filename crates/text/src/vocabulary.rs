//! Plain vocabulary files: `vocab.txt` (one token a line, its id the line), `vocab.json` (token to id) and `merges.txt`
//! (byte-pair merges in order), as BERT and GPT-2 publish them. Not SentencePiece models: see `sentencepiece.rs`.

use std::collections::{HashMap, HashSet};

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use tokenizers::models::bpe::BPE;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;

use crate::Error;
use crate::json::{self, Object};
use crate::special::MAX_ID;
use crate::token_bytes::byte_of;

/// Reads `vocab.txt`. A token that occurs twice has the later line's id, as in the reference.
pub(crate) fn wordpiece(bytes: &[u8], unk: &str) -> Result<WordPiece, Error> {
    const FILE: &str = "vocab.txt";
    let text = json::text(FILE, bytes)?;
    let mut vocab = HashMap::new();
    let mut id = 0_u32;
    for line in lines(text) {
        vocab.insert(line.to_owned(), id);
        id += 1;
    }
    if !vocab.contains_key(unk) {
        return Err(Error::Model {
            file: FILE.to_owned(),
            reason: format!(
                "its {id} lines do not hold the unknown token {unk:?}: it is truncated, or unk_token in \
                 tokenizer_config.json is wrong"
            ),
        });
    }
    WordPiece::builder()
        .vocab(vocab.into_iter().collect::<tokenizers::models::bpe::Vocab>())
        .unk_token(unk.to_owned())
        .build()
        .map_err(|e| Error::Model { file: FILE.to_owned(), reason: e.to_string() })
}

/// Lines as a text file opened by Python has them: ended by `\n`, `\r` or both.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = rest.find(['\n', '\r']).unwrap_or(rest.len());
        let line = &rest[..end];
        rest = &rest[end..];
        rest = rest.strip_prefix("\r\n").or_else(|| rest.get(1..)).unwrap_or("");
        Some(line)
    })
}

/// Reads a vocabulary of token to id. Ids may have holes, but no two tokens share one.
pub(crate) fn ids(file: &str, bytes: &[u8]) -> Result<HashMap<String, u32>, Error> {
    let object = Object::parse(file, bytes)?;
    let mut vocab = HashMap::with_capacity(object.map.len());
    let mut seen = HashSet::with_capacity(object.map.len());
    for (token, value) in &object.map {
        let id = id(&object, token, value)?;
        if !seen.insert(id) {
            return Err(Error::Field {
                file: file.to_owned(),
                field: token.clone(),
                reason: format!("has the id {id}, which another token has already"),
            });
        }
        vocab.insert(token.clone(), id);
    }
    if vocab.is_empty() {
        return Err(Error::Model { file: file.to_owned(), reason: "it holds no token".to_owned() });
    }
    Ok(vocab)
}

fn id(object: &Object, token: &str, value: &Value) -> Result<u32, Error> {
    match value.as_u64() {
        Some(id) if id <= MAX_ID => Ok(id as u32),
        _ => Err(object.wrong(token, &format!("an id from 0 to {MAX_ID}"), value)),
    }
}

/// GPT's mark at the end of a word.
pub(crate) const WORD_END: &str = "</w>";

/// Builds BPE from `vocab.json` and `merges.txt`: byte-level, or with GPT's mark at the ends of words, where `unk` stands
/// for letters without a token.
pub(crate) fn merged(vocab: &[u8], merges: &[u8], unk: Option<&str>) -> Result<BPE, Error> {
    const FILE: &str = "merges.txt";
    let vocab = ids("vocab.json", vocab)?;
    let text = json::text(FILE, merges)?;
    let wrong = |line: usize, reason: String| Error::Line { file: FILE.to_owned(), line, reason };
    let mut pairs = Vec::new();
    let mut seen = HashSet::new();
    // The first line is the version, whatever it says; the end of the last line is not a line.
    let all: Vec<&str> = text.split('\n').collect();
    let last = if all.last().is_some_and(|l| l.trim().is_empty()) { all.len() - 1 } else { all.len() };
    for (number, line) in all.iter().enumerate().take(last).skip(1) {
        let number = number + 1;
        let mut parts = line.split_whitespace();
        let (Some(left), Some(right), None) = (parts.next(), parts.next(), parts.next()) else {
            return Err(wrong(number, "expected two tokens with a space between".to_owned()));
        };
        check_merge(&vocab, left, right).map_err(|reason| wrong(number, reason))?;
        if seen.insert((left, right)) {
            pairs.push((left.to_owned(), right.to_owned()));
        }
    }
    let mut builder = BPE::builder()
        .vocab_and_merges(vocab.into_iter().collect::<tokenizers::models::bpe::Vocab>(), pairs)
        .continuing_subword_prefix(String::new())
        .end_of_word_suffix(String::new());
    if let Some(unk) = unk {
        builder = builder.end_of_word_suffix(WORD_END.to_owned()).unk_token(unk.to_owned());
    }
    builder.build().map_err(|e| Error::Model { file: FILE.to_owned(), reason: e.to_string() })
}

/// ByT5's tokens: three special ones, then the bytes in order, as a byte-level vocabulary spells them.
pub(crate) fn bytes(special: [&str; 3]) -> Result<BPE, Error> {
    let mut vocab: tokenizers::models::bpe::Vocab =
        special.iter().zip(0..).map(|(token, id)| ((*token).to_owned(), id)).collect();
    for spelled in ByteLevel::alphabet() {
        vocab.extend(byte_of(spelled).first().map(|&byte| (spelled.to_string(), 3 + u32::from(byte))));
    }
    let built = BPE::builder().vocab_and_merges(vocab, Vec::new()).build();
    built.map_err(|e| Error::Model { file: "tokenizer_config.json".to_owned(), reason: e.to_string() })
}

fn check_merge<S: std::borrow::Borrow<str> + std::hash::Hash + Eq>(
    vocab: &HashMap<S, u32>,
    left: &str,
    right: &str,
) -> Result<(), String> {
    for token in [left, right] {
        if !vocab.contains_key(token) {
            return Err(format!("merges {left:?} and {right:?}, but the vocabulary has no token {token:?}"));
        }
    }
    if !vocab.contains_key(&*format!("{left}{right}")) {
        return Err(format!("merges {left:?} and {right:?}, but the vocabulary has no token for both together"));
    }
    Ok(())
}

/// Checks the merges of a `tokenizer.json` against its vocabulary, before the tokenizers library relies on them.
/// `prefix` is the mark of pieces that continue a word, which merging drops from the right side.
pub(crate) fn check_bpe(file: &str, model: &serde_json::Map<String, Value>) -> Result<(), Error> {
    let wrong = |field: String, reason: String| Error::Field { file: file.to_owned(), field, reason };
    let Some(Value::Object(object)) = model.get("vocab") else {
        return Err(wrong("model.vocab".to_owned(), "expected an object from token to id".to_owned()));
    };
    let holder = Object { file: file.to_owned(), map: serde_json::Map::new() };
    let mut vocab: HashMap<&str, u32> = HashMap::with_capacity(object.len());
    for (token, value) in object {
        vocab.insert(token, id(&holder, &format!("model.vocab.{token}"), value)?);
    }
    let prefix = model.get("continuing_subword_prefix").and_then(Value::as_str).unwrap_or("");
    let merges = match model.get("merges") {
        Some(Value::Array(merges)) => merges.as_slice(),
        None | Some(Value::Null) => &[],
        Some(other) => {
            return Err(wrong("model.merges".to_owned(), format!("expected a list, found {}", json::kind(other))));
        }
    };
    for (i, merge) in merges.iter().enumerate() {
        let field = format!("model.merges[{i}]");
        let pair = match merge {
            Value::String(s) => s.split_once(' '),
            Value::Array(pair) => match pair.as_slice() {
                [Value::String(a), Value::String(b)] => Some((a.as_str(), b.as_str())),
                _ => None,
            },
            _ => None,
        };
        let Some((left, right)) = pair else {
            return Err(wrong(field, "expected two tokens".to_owned()));
        };
        for token in [left, right] {
            if !vocab.contains_key(token) {
                return Err(wrong(field, format!("the vocabulary has no token {token:?}")));
            }
        }
        let tail = right.get(prefix.len()..);
        if !tail.is_some_and(|tail| vocab.contains_key(&*format!("{left}{tail}"))) {
            return Err(wrong(field, format!("the vocabulary has no token for {left:?} and {right:?} together")));
        }
    }
    Ok(())
}

/// The first id that two tokens of a `tokenizer.json`'s vocabulary share, found without keeping the tokens.
#[derive(Debug, Default)]
pub(crate) struct SharedId(pub Option<u64>);

impl<'de> Deserialize<'de> for SharedId {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Ids;

        impl<'de> Visitor<'de> for Ids {
            type Value = SharedId;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a vocabulary: an object of ids, or a list of tokens")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<SharedId, A::Error> {
                let (mut seen, mut shared) = (HashSet::new(), None);
                while map.next_key::<IgnoredAny>()?.is_some() {
                    // what is no id is the library's to refuse
                    if let Some(id) = map.next_value::<Value>()?.as_u64()
                        && !seen.insert(id)
                    {
                        shared = shared.or(Some(id));
                    }
                }
                Ok(SharedId(shared))
            }

            // a list has its order for ids
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<SharedId, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(SharedId(None))
            }

            fn visit_unit<E>(self) -> Result<SharedId, E> {
                Ok(SharedId(None))
            }
        }

        from.deserialize_any(Ids)
    }
}

/// The error about an id that several tokens of `whole`, a `tokenizer.json`, have.
pub(crate) fn shared(file: &str, id: u64, whole: &Value) -> Error {
    let vocab = whole["model"]["vocab"].as_object();
    let tokens = vocab.into_iter().flatten().filter(|(_, value)| value.as_u64() == Some(id));
    let tokens: Vec<String> = tokens.take(4).map(|(token, _)| format!("{token:?}")).collect();
    Error::Field {
        file: file.to_owned(),
        field: "model.vocab".to_owned(),
        reason: format!("the id {id} belongs to several tokens, {}; each needs its own", tokens.join(" and ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokenizers::Model;

    #[test]
    fn lines_end_as_in_python() {
        assert_eq!(lines("a\nb\r\nc\rd\n\ne").collect::<Vec<_>>(), ["a", "b", "c", "d", "", "e"]);
        assert_eq!(lines("a\n").count(), 1);
        assert_eq!(lines("").count(), 0);
    }

    #[test]
    fn later_line_wins_and_unknown_is_needed() {
        let model = wordpiece(b"[UNK]\na\nb\na\n", "[UNK]").unwrap();
        assert_eq!(model.token_to_id("a"), Some(3));
        assert!(wordpiece(b"a\nb\n", "[UNK]").unwrap_err().to_string().contains("[UNK]"));
        assert!(matches!(wordpiece(b"[UNK]\n\xff\n", "[UNK]"), Err(Error::NotUtf8 { line: 2, .. })));
    }

    #[test]
    fn merges_are_checked() {
        let vocab = br#"{"a": 0, "b": 1, "ab": 2}"#;
        let model = merged(vocab, b"#version: 0.2\na b\na b\n", None).unwrap();
        assert_eq!(model.tokenize("ab").unwrap()[0].id, 2);
        for (merges, line, word) in [
            ("#v\na c\n", 2, "\"c\""),
            ("#v\na b\nb a\n", 3, "together"),
            ("#v\na\n", 2, "two tokens"),
            ("#v\na b c\n", 2, "two tokens"),
        ] {
            let e = merged(vocab, merges.as_bytes(), None).unwrap_err().to_string();
            assert!(e.contains(&format!("line {line}")) && e.contains(word), "{merges:?}: {e}");
        }
        for (vocab, word) in [
            (r#"{"a": 0, "b": 0}"#, "already"),
            (r#"{"a": -1}"#, "`a`"),
            (r#"{"a": 99999999999}"#, "`a`"),
            (r#"{"a": "x"}"#, "`a`"),
            ("{}", "no token"),
            (r#"{"a": 0"#, "line 1"),
        ] {
            let e = merged(vocab.as_bytes(), b"#v\n", None).unwrap_err().to_string();
            assert!(e.contains(word), "{vocab}: {e}");
        }
    }

    /// As ByT5Tokenizer of transformers 4.57.6 has it.
    #[test]
    fn bytes_are_tokens_without_any_file() {
        let config = br#"{"tokenizer_class": "ByT5Tokenizer"}"#;
        let files = crate::TokenizerFiles { tokenizer_config: Some(config[..].into()), ..Default::default() };
        let tokenizer = crate::Tokenizer::from_files(&files).unwrap();
        let ids = |text: &str| tokenizer.encode(text, &crate::EncodeOptions::default()).unwrap().ids;
        assert_eq!(ids(""), [1]);
        assert_eq!(ids("Hello"), [75, 104, 111, 111, 114, 1]);
        assert_eq!((ids("a</s>"), ids("</s>"), ids("</s>a")), (vec![100, 1], vec![1], vec![1, 100, 1]));
        assert_eq!(ids("é🍕"), [198, 172, 243, 162, 144, 152, 1]);
        assert_eq!(ids("x<extra_id_0> y <extra_id_124>z"), [123, 259, 35, 124, 35, 383, 125, 1]);
        assert_eq!(tokenizer.encode_pair("a", "b", &crate::EncodeOptions::default()).unwrap().ids, [100, 1, 101, 1]);
        let (text, all) = (" \u{0}\tÄ ß\n's 12", tokenizer.max_id());
        assert_eq!((tokenizer.decode(&ids(text), true).as_str(), all), (text, 383));
        for (ids, whole, plain) in [
            (&[87, 88, 200, 90, 1][..], "TUW</s>", "TUW"),
            (&[231, 168, 173, 231, 70, 1], "䥪C</s>", "䥪C"),
            (&[259, 87, 260, 88, 89, 1], "<extra_id_0> T <extra_id_1> UV</s>", "TUV"),
            (&[0, 87, 2, 1], "<pad>T<unk></s>", "T"),
            (&[198], "", ""),
            (&[243, 162, 155, 65, 259, 229, 260], "> <extra_id_0> <extra_id_1>", ">"),
        ] {
            assert_eq!([tokenizer.decode(ids, false), tokenizer.decode(ids, true)], [whole, plain], "{ids:?}");
        }
    }
}
