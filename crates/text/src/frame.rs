//! The special tokens around one text or two, in the form that `tokenizer.json` gives them.
//! The frames are those of the published families. Not the encoding itself: see `encode.rs`.

use serde_json::{Map, Value, json};

use crate::Error;
use crate::families::{Frame, Role};
use crate::json::Object;
use crate::special::Declared;

/// The post-processor of a family; `id` gives a token's id.
///
/// # Errors
/// When a token of the frame has no id.
pub(crate) fn frame(
    frame: Frame,
    declared: &Declared,
    config: &Object,
    file: &str,
    id: &dyn Fn(&str) -> Option<u32>,
) -> Result<Value, Error> {
    let text = |role: Role| {
        declared.text(role).ok_or_else(|| Error::Model {
            file: file.to_owned(),
            reason: format!("its family puts a {} around texts, but no file names one", role.field()),
        })
    };
    let find = |token: &str| {
        id(token).ok_or_else(|| Error::Model {
            file: file.to_owned(),
            reason: format!("the special token {token:?} is not in the vocabulary"),
        })
    };
    let template = |single: &[(&str, u32)], pair: &[(&str, u32)]| -> Result<Value, Error> {
        let mut special = Map::new();
        let mut items = |list: &[(&str, u32)]| -> Result<Vec<Value>, Error> {
            list.iter()
                .map(|&(item, segment)| match item {
                    "$A" => Ok(json!({"Sequence": {"id": "A", "type_id": segment}})),
                    "$B" => Ok(json!({"Sequence": {"id": "B", "type_id": segment}})),
                    token => {
                        let entry = json!({"id": token, "ids": [find(token)?], "tokens": [token]});
                        special.insert(token.to_owned(), entry);
                        Ok(json!({"SpecialToken": {"id": token, "type_id": segment}}))
                    }
                })
                .collect()
        };
        let (single, pair) = (items(single)?, items(pair)?);
        Ok(json!({"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": special}))
    };
    // These families have their frame's tokens fixed, whatever the files name.
    let (a, b) = ("$A", "$B");
    match frame {
        Frame::Bert | Frame::Funnel => {
            let first = if frame == Frame::Funnel { 2 } else { 0 };
            let (cls, sep) = (text(Role::Cls)?, text(Role::Sep)?);
            template(&[(cls, first), (a, 0), (sep, 0)], &[(cls, first), (a, 0), (sep, 0), (b, 1), (sep, 1)])
        }
        Frame::Mpnet => {
            let (cls, sep) = (text(Role::Cls)?, text(Role::Sep)?);
            template(&[(cls, 0), (a, 0), (sep, 0)], &[(cls, 0), (a, 0), (sep, 0), (sep, 0), (b, 1), (sep, 1)])
        }
        Frame::Roberta => {
            let (cls, sep) = (text(Role::Cls)?, text(Role::Sep)?);
            Ok(json!({
                "type": "RobertaProcessing",
                "sep": [sep, find(sep)?],
                "cls": [cls, find(cls)?],
                "trim_offsets": config.bool("trim_offsets")?.unwrap_or(true),
                "add_prefix_space": config.bool("add_prefix_space")?.unwrap_or(false),
            }))
        }
        Frame::FairSeq => template(
            &[("<s>", 0), (a, 0), ("</s>", 0)],
            &[("<s>", 0), (a, 0), ("</s>", 0), ("</s>", 0), (b, 0), ("</s>", 0)],
        ),
        Frame::Bare => template(&[(a, 0)], &[(a, 0), (b, 1)]),
        Frame::Gpt2 => {
            if config.bool("add_bos_token")?.unwrap_or(false) {
                let bos = text(Role::Bos)?;
                template(&[(bos, 0), (a, 0)], &[(bos, 0), (a, 0), (b, 1)])
            } else {
                Ok(json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": false, "use_regex": true}))
            }
        }
        Frame::T5 => template(&[(a, 0), ("</s>", 0)], &[(a, 0), ("</s>", 0), (b, 0), ("</s>", 0)]),
        Frame::Xlnet => {
            template(&[(a, 0), ("<sep>", 0), ("<cls>", 2)], &[(a, 0), ("<sep>", 0), (b, 1), ("<sep>", 1), ("<cls>", 2)])
        }
        Frame::Mbart => {
            let (eos, language) = (text(Role::Eos)?, config.str("src_lang")?.unwrap_or("en_XX"));
            template(&[(a, 0), (eos, 0), (language, 0)], &[(a, 0), (b, 0), (eos, 0), (language, 0)])
        }
        Frame::Mbart50 => {
            let (eos, language) = (text(Role::Eos)?, config.str("src_lang")?.unwrap_or("en_XX"));
            template(&[(language, 0), (a, 0), (eos, 0)], &[(language, 0), (a, 0), (b, 0), (eos, 0)])
        }
        Frame::Marian => {
            let eos = text(Role::Eos)?;
            template(&[(a, 0), (eos, 0)], &[(a, 0), (b, 0), (eos, 0)])
        }
    }
}

/// The largest id that a post-processor of any kind puts around texts.
pub(crate) fn max_id(frame: &Value) -> u32 {
    let number = |v: &Value| v.as_u64().map_or(0, |n| u32::try_from(n).unwrap_or(u32::MAX));
    match frame {
        Value::Array(list) => list.iter().map(max_id).max().unwrap_or(0),
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| match (key.as_str(), value) {
                ("ids", Value::Array(ids)) => ids.iter().map(number).max().unwrap_or(0),
                ("sep" | "cls", Value::Array(pair)) => pair.iter().map(number).max().unwrap_or(0),
                _ => max_id(value),
            })
            .max()
            .unwrap_or(0),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::families;

    #[test]
    fn missing_tokens_are_named() {
        let family = families::by_class("BertTokenizer").unwrap();
        let config = Object::default();
        let declared = Declared::read(Some(&family), &config, None, None, None).unwrap();
        let e = frame(family.frame, &declared, &config, "vocab.txt", &|t| (t == "[CLS]").then_some(7)).unwrap_err();
        assert!(e.to_string().contains("[SEP]"), "{e}");
        let made = frame(family.frame, &declared, &config, "vocab.txt", &|t| Some(t.len() as u32)).unwrap();
        assert_eq!(max_id(&made), 5);
        assert_eq!(max_id(&json!({"type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<s>", 11]})), 11);
    }
}
