//! From a vocabulary to the files of a tokenizer, as `transformers` writes and reads them. What stands around the model
//! (normaliser, pre-tokeniser, frame, decoder) is that of the family as it is loaded; unigram models, which elsewhere
//! bring a table of their own, are normalised by NFKC here.

use serde_json::{Map, Value, json};

use super::{Kind, Options, Trained, failed};
use crate::corpus::Error;
use crate::families::{self, Recipe, Role};
use crate::json::Object;
use crate::special::Declared;
use crate::{Tokenizer, TokenizerFiles, frame, load, pieces};

/// What these files say where there is no limit.
const NO_LIMIT: f64 = 1e30;

fn published(options: &Options) -> Result<families::Family, Error> {
    options.family.published().ok_or_else(|| failed("the family has no class"))
}

/// `tokenizer_config.json`, without what depends on ids.
fn config(options: &Options) -> Result<Object, Error> {
    let published = published(options)?;
    let mut map = Map::new();
    map.insert("tokenizer_class".to_owned(), options.family.class.into());
    let length = options.family.max_length;
    map.insert("model_max_length".to_owned(), length.map_or_else(|| json!(NO_LIMIT), |length| json!(length)));
    for (role, token) in published.specials {
        map.insert(role.field().to_owned(), (*token).into());
    }
    let lower = options.lowercase.unwrap_or(published.lower);
    match options.family.kind() {
        Kind::WordPiece => {
            map.insert("do_lower_case".to_owned(), lower.into());
            map.insert("tokenize_chinese_chars".to_owned(), true.into());
            map.insert("strip_accents".to_owned(), Value::Null);
        }
        Kind::ByteLevel => {
            map.insert("add_prefix_space".to_owned(), false.into());
        }
        Kind::WordEnds => {}
        Kind::Unigram if options.family.sentinels().is_empty() => {
            map.insert("do_lower_case".to_owned(), lower.into());
            map.insert("keep_accents".to_owned(), false.into());
        }
        Kind::Unigram => {
            map.insert("extra_ids".to_owned(), options.family.sentinels().len().into());
        }
    }
    map.insert("clean_up_tokenization_spaces".to_owned(), false.into());
    let mut additional = options.family.sentinels();
    additional.reverse();
    additional.extend(published.additional.iter().map(ToString::to_string));
    if !additional.is_empty() {
        map.insert("additional_special_tokens".to_owned(), additional.into());
    }
    Ok(Object { file: "tokenizer_config.json".to_owned(), map })
}

/// Normaliser and pre-tokeniser, in the form of `tokenizer.json`.
pub(super) fn before_the_model(options: &Options) -> Result<[Value; 2], Error> {
    let (published, config) = (published(options)?, config(options)?);
    Ok(match published.recipe {
        Recipe::WordEnds if options.lowercase == Some(false) => {
            return Err(failed("GPT's tokenizer has no capitals: leave the choice of case out"));
        }
        Recipe::WordPiece | Recipe::WordEnds => {
            [load::bert_normalizer(&published, &config)?, json!({"type": "BertPreTokenizer"})]
        }
        Recipe::ByteLevel if options.lowercase.is_some() => {
            return Err(failed("byte-level models keep every byte: leave the choice of case out"));
        }
        Recipe::ByteLevel => [Value::Null, load::byte_level(false)],
        Recipe::SentencePiece { cleaning, .. } => {
            let mut steps = Vec::new();
            if options.lowercase == Some(true) && cleaning == families::Cleaning::Model {
                // the others do it by `do_lower_case`
                steps.push(json!({"type": "Lowercase"}));
            }
            for step in pieces::cleaning(cleaning, &published, &config, true)? {
                if step == pieces::TABLE {
                    steps.extend([json!({"type": "Nmt"}), json!({"type": "NFKC"})]);
                } else {
                    steps.push(step);
                }
            }
            [json!({"type": "Sequence", "normalizers": steps}), metaspace()]
        }
        Recipe::Marian => return Err(failed("Marian's tokenizers are not trained here")),
        Recipe::Bytes => return Err(failed("tokens that are bytes are not trained")),
    })
}

fn metaspace() -> Value {
    json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true})
}

/// The id of each token of a model in the form of `tokenizer.json`.
fn ids(model: &Value) -> Vec<(String, u32)> {
    let mut ids: Vec<(String, u32)> = match &model["vocab"] {
        Value::Object(map) => map.iter().filter_map(|(token, id)| Some((token.clone(), id.as_u64()? as u32))).collect(),
        Value::Array(list) => {
            let tokens = list.iter().enumerate();
            tokens.filter_map(|(id, piece)| Some((piece[0].as_str()?.to_owned(), id as u32))).collect()
        }
        _ => Vec::new(),
    };
    ids.sort_by_key(|(_, id)| *id);
    ids
}

pub(super) fn assemble(model: &Value, options: &Options) -> Result<Trained, Error> {
    let published = published(options)?;
    let mut config = config(options)?;
    let ids = ids(model);
    let find = |token: &str| ids.iter().find(|(known, _)| known == token).map(|(_, id)| *id);
    let declared = Declared::read(Some(&published), &config, None, None, None)?;
    let mask = published.specials.iter().find(|(role, _)| *role == Role::Mask).map(|(_, token)| *token);
    let mut added: Vec<(u32, String)> =
        options.family.vocabulary().into_iter().filter_map(|token| Some((find(&token)?, token))).collect();
    added.sort_unstable();
    let described = |token: &str| {
        json!({
            "content": token,
            "lstrip": published.mask_lstrip && Some(token) == mask,
            "normalized": false,
            "rstrip": false,
            "single_word": false,
            "special": true,
        })
    };
    let with_id = |(id, token): &(u32, String)| {
        let mut value = described(token);
        value["id"] = json!(id);
        value
    };
    let [normalizer, pre_tokenizer] = before_the_model(options)?;
    let decoder = match options.family.kind() {
        Kind::WordPiece => json!({"type": "WordPiece", "prefix": "##", "cleanup": true}),
        Kind::ByteLevel => load::byte_level(true),
        Kind::WordEnds => load::word_ends(),
        Kind::Unigram => metaspace(),
    };
    let tokenizer = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added.iter().map(with_id).collect::<Vec<_>>(),
        "normalizer": normalizer,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": frame::frame(published.frame, &declared, &config, "tokenizer.json", &find)?,
        "decoder": decoder,
        "model": model,
    });
    let decoder = added.iter().map(|(id, token)| (id.to_string(), described(token))).collect::<Map<_, _>>();
    config.map.insert("added_tokens_decoder".to_owned(), Value::Object(decoder));
    let roles = published.specials.iter().map(|(role, token)| {
        let value = if Some(*token) == mask { described(token) } else { json!(token) };
        (role.field().to_owned(), value)
    });
    let mut special = roles.collect::<Map<_, _>>();
    if let Some(additional) = config.map.get("additional_special_tokens") {
        special.insert("additional_special_tokens".to_owned(), additional.clone());
    }
    let text = |value: &Value| -> Result<Vec<u8>, Error> {
        let mut bytes = serde_json::to_vec_pretty(value).map_err(failed)?;
        bytes.push(b'\n');
        Ok(bytes)
    };
    let mut files = vec![
        ("tokenizer.json", text(&tokenizer)?),
        ("tokenizer_config.json", text(&Value::Object(config.map))?),
        ("special_tokens_map.json", text(&Value::Object(special))?),
    ];
    match options.family.kind() {
        Kind::WordPiece => {
            let lines: Vec<&str> = ids.iter().map(|(token, _)| token.as_str()).collect();
            files.push(("vocab.txt", format!("{}\n", lines.join("\n")).into_bytes()));
        }
        Kind::ByteLevel | Kind::WordEnds => {
            files.push(("vocab.json", text(&model["vocab"])?));
            files.push(("merges.txt", merges(&model["merges"])));
        }
        Kind::Unigram => {}
    }
    let read = {
        let file = |name: &str| files.iter().find(|(n, _)| *n == name).map(|(_, bytes)| bytes.as_slice().into());
        Tokenizer::from_files(&TokenizerFiles {
            tokenizer_json: file("tokenizer.json"),
            tokenizer_config: file("tokenizer_config.json"),
            special_tokens_map: file("special_tokens_map.json"),
            ..TokenizerFiles::default()
        })?
    };
    Ok(Trained { tokenizer: read, files })
}

/// `merges.txt`: two tokens a line, below the version.
fn merges(merges: &Value) -> Vec<u8> {
    let mut text = String::from("#version: 0.2\n");
    for merge in merges.as_array().into_iter().flatten() {
        let pair = match merge {
            Value::String(pair) => pair.clone(),
            pair => format!("{} {}", pair[0].as_str().unwrap_or_default(), pair[1].as_str().unwrap_or_default()),
        };
        text.push_str(&pair);
        text.push('\n');
    }
    text.into_bytes()
}
