//! From a model directory's files to an encoder: which class it is, which file counts, what the configuration changes.
//! Follows the loading of fast tokenizers in the transformers library, old files and new.

use serde_json::{Value, json};
use tokenizers::{DecoderWrapper, NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper};

use crate::beginning::Breaks;
use crate::encode::{Encoder, Side};
use crate::families::{self, Cleaning, Family, Frame, Recipe, Role};
use crate::files::TokenizerFiles;
use crate::json::{self, Object};
use crate::sentencepiece::{self, Model};
use crate::special::{Declared, Named, Special, SpecialTokens, Token};
use crate::{Error, Marian, frame, pieces, vocabulary};

const JSON: &str = "tokenizer.json";

/// How texts are encoded that a decoder is to say.
pub(crate) enum Target {
    /// As all others.
    Same,
    /// With another segmentation or other tokens around.
    Other(Box<Encoder>),
    /// The files don't say how, and what is missing.
    Unknown(String),
}

/// What `Tokenizer` is made of.
pub(crate) struct Loaded {
    pub encoder: Encoder,
    pub target: Target,
    pub special: SpecialTokens,
    pub class: Option<String>,
    pub model_max_length: Option<usize>,
    pub clean_up: bool,
}

/// A tokenizer on its way: the library's, with Marian's ids beside.
struct Made {
    tokenizer: tokenizers::Tokenizer,
    marian: Option<Marian>,
    /// The file that its messages name.
    file: String,
}

impl Made {
    fn id(&self, token: &str) -> Option<u32> {
        match &self.marian {
            Some(marian) => marian.id(token),
            None => self.tokenizer.token_to_id(token),
        }
    }

    fn model(&self, reason: impl std::fmt::Display) -> Error {
        Error::Model { file: self.file.clone(), reason: reason.to_string() }
    }
}

pub(crate) fn load(files: &TokenizerFiles<'_>, place: &str) -> Result<Loaded, Error> {
    let object = |file: &str, bytes: &Option<crate::files::Bytes<'_>>| {
        bytes.as_deref().map(|bytes| Object::parse(file, bytes)).transpose()
    };
    let model_config = object("config.json", &files.config)?;
    let config = object("tokenizer_config.json", &files.tokenizer_config)?.unwrap_or_default();
    let map = object("special_tokens_map.json", &files.special_tokens_map)?;
    let added = object("added_tokens.json", &files.added_tokens)?;

    let class = class(&config, model_config.as_ref())?;
    let has_json = files.tokenizer_json.is_some();
    let (class, family) = match class.as_deref().and_then(families::by_class) {
        Some(family) => (class, Some(family)),
        None if has_json => (class, None),
        None => infer(class, model_config.as_ref(), files, place)?,
    };
    let family = family.as_ref();

    let (mut made, built_in) = match (&files.tokenizer_json, family) {
        (Some(bytes), _) => {
            let (made, built_in) = from_json(bytes)?;
            (made, Some(built_in))
        }
        (None, Some(family)) => {
            let made = from_vocabulary(files, family, &config, map.as_ref(), added.as_ref())?;
            (made, None)
        }
        (None, None) => {
            return Err(Error::NoTokenizer { place: place.to_owned() });
        }
    };

    let mut declared = Declared::read(family, &config, map.as_ref(), added.as_ref(), built_in.as_deref())?;
    if let Some(family) = family {
        complete_additional(family, &config, &mut declared)?;
    }
    let tokens = declared.to_add(&present(&made.tokenizer));
    if let Some(marian) = &mut made.marian {
        marian.add(&tokens);
    }
    made.tokenizer.add_tokens(tokens.iter().map(Token::added)).map_err(|e| made.model(e))?;
    adjust(&mut made, family, &config, &declared, has_json)?;
    if config.bool("split_special_tokens")?.unwrap_or(false) {
        made.tokenizer.set_encode_special_tokens(true);
    }

    let side = side(&config, &made.tokenizer)?;
    let post = made.tokenizer.get_post_processor().cloned();
    made.tokenizer.with_post_processor(None::<PostProcessorWrapper>).with_padding(None);
    made.tokenizer
        .with_truncation(None)
        .map_err(|e| Error::Model { file: made.file.clone(), reason: e.to_string() })?;
    let special = special(&made, &declared);
    // The slow classes of BERT's kin, which fill in the configuration when they are converted, say so.
    let clean_up = !has_json && family.is_some_and(|f| f.recipe == Recipe::WordPiece);
    let breaks = if made.marian.is_some() { Breaks::None } else { Breaks::of(&made.tokenizer) };
    let encoder = Encoder {
        tokenizer: made.tokenizer.clone(),
        literal: std::sync::OnceLock::new(),
        frame: post,
        marian: made.marian.clone(),
        bytes_end: special.eos.as_ref().filter(|_| family.is_some_and(|f| f.recipe == Recipe::Bytes)).map(|eos| eos.id),
        side,
        breaks,
    };
    let target = target(files, family, &config, &declared, &made, &encoder)?;
    let marian_limit = family.is_some_and(|f| f.recipe == Recipe::Marian).then_some(512);
    Ok(Loaded {
        special,
        class,
        model_max_length: model_max_length(&config)?.or(marian_limit),
        clean_up: config.bool("clean_up_tokenization_spaces")?.unwrap_or(clean_up),
        encoder,
        target,
    })
}

/// How target texts are encoded, as `text_target` of the transformers library: Marian has another segmentation for them,
/// the multilingual families put the target's language around them.
fn target(
    files: &TokenizerFiles<'_>,
    family: Option<&Family>,
    config: &Object,
    declared: &Declared,
    made: &Made,
    encoder: &Encoder,
) -> Result<Target, Error> {
    let Some(family) = family else { return Ok(Target::Same) };
    if let Some(marian) = &encoder.marian {
        let Some(bytes) = files.target_spm.as_deref() else {
            return Ok(Target::Unknown("target.spm is missing".to_owned()));
        };
        if config.bool("separate_vocabs")?.unwrap_or(false) {
            return Ok(Target::Unknown("a vocabulary of its own for the target (separate_vocabs) is not read".into()));
        }
        let marian = Some(marian.of_target(&Model::parse("target.spm", bytes)?)?);
        return Ok(Target::Other(Box::new(Encoder { marian, ..encoder.clone() })));
    }
    if !matches!(family.frame, Frame::Mbart | Frame::Mbart50) {
        return Ok(Target::Same);
    }
    let Some(language) = config.str("tgt_lang")? else {
        let way = "tokenizer_config.json names no language of the target: write \"src_lang\" and \"tgt_lang\" there";
        return Ok(Target::Unknown(way.to_owned()));
    };
    // the frame of the source with the other language in it
    let mut other = config.clone();
    other.map.insert("src_lang".to_owned(), language.into());
    let frame = frame::frame(family.frame, declared, &other, &config.file, &|token| made.id(token))?;
    let frame = serde_json::from_value(frame).map_err(|error| made.model(error))?;
    Ok(Target::Other(Box::new(Encoder { frame: Some(frame), ..encoder.clone() })))
}

/// The class: what `tokenizer_config.json` says, else `config.json`, else the model type's.
fn class(config: &Object, model: Option<&Object>) -> Result<Option<String>, Error> {
    if let Some(class) = config.str("tokenizer_class")? {
        return Ok(Some(class.to_owned()));
    }
    let Some(model) = model else { return Ok(None) };
    if let Some(class) = model.str("tokenizer_class")? {
        return Ok(Some(class.to_owned()));
    }
    Ok(model.str("model_type")?.and_then(families::class_of_model_type).map(str::to_owned))
}

/// A family for files without `tokenizer.json` whose class is missing or says only "fast": by the model type, else by
/// what the files look like.
fn infer(
    class: Option<String>,
    model: Option<&Object>,
    files: &TokenizerFiles<'_>,
    place: &str,
) -> Result<(Option<String>, Option<Family>), Error> {
    let file = if files.vocab_txt.is_some() {
        "vocab.txt"
    } else if let (Some(_), name) = (&files.sentencepiece, &files.sentencepiece_name) {
        name.as_deref().unwrap_or("spiece.model")
    } else if files.vocab_json.is_some() && files.merges_txt.is_some() {
        "vocab.json"
    } else {
        return Err(Error::NoTokenizer { place: place.to_owned() });
    };
    if let Some(class) = &class
        && families::plain_class(class) != "PreTrainedTokenizer"
    {
        return Err(Error::UnknownClass { class: class.clone(), file: file.to_owned() });
    }
    let by_type = model.map(|m| m.str("model_type")).transpose()?.flatten().and_then(families::class_of_model_type);
    let holds = |bytes: &Option<crate::files::Bytes<'_>>, token: &str| {
        bytes.as_deref().is_some_and(|b| b.windows(token.len()).any(|w| w == token.as_bytes()))
    };
    let guess = by_type.or(match file {
        "vocab.txt" => Some("BertTokenizer"),
        "vocab.json" if holds(&files.vocab_json, "\"<s>\"") => Some("RobertaTokenizer"),
        "vocab.json" => Some("GPT2Tokenizer"),
        "sentencepiece.bpe.model" => Some("XLMRobertaTokenizer"),
        "spm.model" => Some("DebertaV2Tokenizer"),
        "source.spm" => Some("MarianTokenizer"),
        "spiece.model" if holds(&files.sentencepiece, "[MASK]") => Some("AlbertTokenizer"),
        "spiece.model" if holds(&files.sentencepiece, "<eop>") => Some("XLNetTokenizer"),
        "spiece.model" => Some("T5Tokenizer"),
        _ => None,
    });
    match guess.and_then(|name| families::by_class(name).map(|family| (name, family))) {
        Some((name, family)) => Ok((Some(name.to_owned()), Some(family))),
        None => {
            Err(Error::UnknownClass { class: class.unwrap_or_else(|| "(not named)".to_owned()), file: file.to_owned() })
        }
    }
}

/// The only part of `tokenizer.json` that is looked at before the library reads it.
#[derive(serde::Deserialize)]
struct Peek {
    model: Option<PeekModel>,
    normalizer: Option<Value>,
}

#[derive(serde::Deserialize)]
struct PeekModel {
    #[serde(rename = "type")]
    kind: Option<Value>,
    /// Old files of BPE carry no type.
    merges: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    vocab: vocabulary::SharedId,
}

fn from_json(bytes: &[u8]) -> Result<(Made, Vec<(u32, Token)>), Error> {
    let peek: Peek = json::parse(JSON, bytes)?;
    let model = peek.model.ok_or_else(|| Error::Field {
        file: JSON.to_owned(),
        field: "model".to_owned(),
        reason: "is missing: the vocabulary is expected here".to_owned(),
    })?;
    if let vocabulary::SharedId(Some(id)) = model.vocab {
        return Err(vocabulary::shared(JSON, id, &json::parse(JSON, bytes)?));
    }
    if model.kind.as_ref().and_then(Value::as_str) == Some("BPE") || (model.kind.is_none() && model.merges.is_some()) {
        let whole: Value = json::parse(JSON, bytes)?;
        if let Some(Value::Object(model)) = whole.get("model") {
            vocabulary::check_bpe(JSON, model)?;
        }
    }
    if let Some(normalizer) = &peek.normalizer {
        check_tables(normalizer)?;
    }
    let tokenizer: tokenizers::Tokenizer = serde_json::from_slice(bytes).map_err(|e| json::json_error(JSON, &e))?;
    let built_in = present(&tokenizer);
    let made = Made { tokenizer, marian: None, file: JSON.to_owned() };
    Ok((made, built_in))
}

/// Checks every SentencePiece table inside a normaliser.
fn check_tables(value: &Value) -> Result<(), Error> {
    match value {
        Value::Array(list) => list.iter().try_for_each(check_tables),
        Value::Object(map) => map.iter().try_for_each(|(key, value)| match (key.as_str(), value) {
            ("precompiled_charsmap", Value::String(text)) => {
                let wrong = |reason: String| Error::Field {
                    file: JSON.to_owned(),
                    field: "normalizer.precompiled_charsmap".to_owned(),
                    reason,
                };
                use base64::Engine;
                let table = base64::engine::general_purpose::STANDARD.decode(text).map_err(|e| wrong(e.to_string()))?;
                sentencepiece::check_charsmap(&table).map_err(wrong)
            }
            _ => check_tables(value),
        }),
        _ => Ok(()),
    }
}

/// The tokens already added, by id.
fn present(tokenizer: &tokenizers::Tokenizer) -> Vec<(u32, Token)> {
    let mut tokens: Vec<(u32, Token)> = tokenizer
        .get_added_tokens_decoder()
        .into_iter()
        .map(|(id, t)| {
            let token = Token {
                content: t.content,
                single_word: t.single_word,
                lstrip: t.lstrip,
                rstrip: t.rstrip,
                normalized: Some(t.normalized),
                special: t.special,
            };
            (id, token)
        })
        .collect();
    tokens.sort_by_key(|(id, _)| *id);
    tokens
}

fn from_vocabulary(
    files: &TokenizerFiles<'_>,
    family: &Family,
    config: &Object,
    map: Option<&Object>,
    added: Option<&Object>,
) -> Result<Made, Error> {
    let missing = |file: &str| Error::Model {
        file: file.to_owned(),
        reason: "it is missing, but the model's tokenizer class needs it (or a tokenizer.json)".to_owned(),
    };
    let need = |bytes: &Option<crate::files::Bytes<'_>>, file: &str| -> Result<Vec<u8>, Error> {
        bytes.as_deref().map(<[u8]>::to_vec).ok_or_else(|| missing(file))
    };
    let declared = Declared::read(Some(family), config, map, added, None)?;
    let unk = declared.text(Role::Unk).unwrap_or("[UNK]");
    match family.recipe {
        Recipe::WordPiece => {
            let bytes = files.vocab_txt.as_deref().ok_or_else(|| missing("vocab.txt"))?;
            let mut made = made(vocabulary::wordpiece(bytes, unk)?, "vocab.txt");
            set_normalizer(&mut made, bert_normalizer(family, config)?)?;
            set_pre_tokenizer(&mut made, json!({"type": "BertPreTokenizer"}))?;
            set_decoder(&mut made, json!({"type": "WordPiece", "prefix": "##", "cleanup": true}))?;
            Ok(made)
        }
        Recipe::ByteLevel => {
            let vocab = need(&files.vocab_json, "vocab.json")?;
            let merges = need(&files.merges_txt, "merges.txt")?;
            let mut made = made(vocabulary::merged(&vocab, &merges, None)?, "vocab.json");
            let prefix = config.bool("add_prefix_space")?.unwrap_or(false);
            set_pre_tokenizer(&mut made, byte_level(prefix))?;
            set_decoder(&mut made, byte_level(true))?;
            Ok(made)
        }
        Recipe::WordEnds => {
            let vocab = need(&files.vocab_json, "vocab.json")?;
            let merges = need(&files.merges_txt, "merges.txt")?;
            let mut made = made(vocabulary::merged(&vocab, &merges, Some(unk))?, "vocab.json");
            set_normalizer(&mut made, bert_normalizer(family, config)?)?;
            set_pre_tokenizer(&mut made, json!({"type": "BertPreTokenizer"}))?;
            set_decoder(&mut made, word_ends())?;
            Ok(made)
        }
        Recipe::SentencePiece { pieces, cleaning, unk_id } => {
            let name = files.sentencepiece_name.as_deref().unwrap_or("spiece.model");
            let source = Model::parse(name, files.sentencepiece.as_deref().ok_or_else(|| missing(name))?)?;
            let extra_ids = config.count("extra_ids", 100_000)?.unwrap_or(100);
            let mut made = made(pieces::model(&source, pieces, unk_id, extra_ids)?, name);
            let steps = pieces::cleaning(cleaning, family, config, !source.charsmap.is_empty())?;
            set_steps(&mut made, steps, &source)?;
            let tokens: Vec<_> = pieces::added(&source).iter().map(Token::added).collect();
            made.tokenizer.add_tokens(tokens).map_err(|e| made.model(e))?;
            let is_t5 = pieces == families::Pieces::T5;
            let scheme = match (config.bool("add_prefix_space")?, config.bool("legacy")?) {
                (Some(false), _) if is_t5 => "never",
                (_, Some(false)) if is_t5 => "first",
                _ => "always",
            };
            let metaspace = json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": true});
            let pre_tokenizer = if cleaning == Cleaning::Deberta && config.bool("split_by_punct")?.unwrap_or(false) {
                let punctuation = json!({"type": "Punctuation", "behavior": "Isolated"});
                json!({"type": "Sequence", "pretokenizers": [punctuation, metaspace]})
            } else {
                metaspace.clone()
            };
            set_pre_tokenizer(&mut made, pre_tokenizer)?;
            set_decoder(&mut made, metaspace)?;
            Ok(made)
        }
        Recipe::Bytes => {
            let [pad, eos] =
                [(Role::Pad, "<pad>"), (Role::Eos, "</s>")].map(|(role, text)| declared.text(role).unwrap_or(text));
            let mut made = made(vocabulary::bytes([pad, eos, unk])?, "tokenizer_config.json");
            let whole =
                json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false});
            set_pre_tokenizer(&mut made, whole)?;
            set_decoder(&mut made, byte_level(true))?;
            Ok(made)
        }
        Recipe::Marian => {
            let name = files.sentencepiece_name.as_deref().unwrap_or("source.spm");
            let source = Model::parse(name, files.sentencepiece.as_deref().ok_or_else(|| missing(name))?)?;
            let vocab = need(&files.vocab_json, "vocab.json")?;
            let pad = declared.text(Role::Pad).unwrap_or("<pad>");
            let marian = Marian::new(&source, &vocab, unk, pad)?;
            // Only its list of added tokens is used.
            let mut made = made(tokenizers::models::wordlevel::WordLevel::default(), name);
            made.marian = Some(marian);
            Ok(made)
        }
    }
}

fn made(model: impl Into<tokenizers::ModelWrapper>, file: &str) -> Made {
    Made { tokenizer: tokenizers::Tokenizer::new(model), marian: None, file: file.to_owned() }
}

pub(crate) fn byte_level(prefix: bool) -> Value {
    json!({"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": true, "use_regex": true})
}

pub(crate) fn word_ends() -> Value {
    json!({"type": "BPEDecoder", "suffix": vocabulary::WORD_END})
}

pub(crate) fn bert_normalizer(family: &Family, config: &Object) -> Result<Value, Error> {
    Ok(json!({
        "type": "BertNormalizer",
        "clean_text": true,
        "handle_chinese_chars": config.bool("tokenize_chinese_chars")?.unwrap_or(true),
        "strip_accents": config.bool("strip_accents")?,
        "lowercase": config.bool("do_lower_case")?.unwrap_or(family.lower),
    }))
}

/// A normaliser of steps, the model's own table in its place.
fn set_steps(made: &mut Made, steps: Vec<Value>, source: &Model) -> Result<(), Error> {
    let mut list: Vec<NormalizerWrapper> = Vec::with_capacity(steps.len());
    for step in steps {
        if step.as_str() == Some(pieces::TABLE) {
            let table = tokenizers::normalizers::Precompiled::from(&source.charsmap).map_err(|e| made.model(e))?;
            list.push(table.into());
        } else {
            list.push(serde_json::from_value(step).map_err(|e| made.model(e))?);
        }
    }
    let sequence = tokenizers::normalizers::Sequence::new(list);
    made.tokenizer
        .with_normalizer(Some(sequence))
        .map(|_| ())
        .map_err(|e| Error::Model { file: made.file.clone(), reason: e.to_string() })
}

fn set_normalizer(made: &mut Made, value: Value) -> Result<(), Error> {
    let part: NormalizerWrapper = serde_json::from_value(value).map_err(|e| made.model(e))?;
    let file = made.file.clone();
    made.tokenizer.with_normalizer(Some(part)).map(|_| ()).map_err(|e| Error::Model { file, reason: e.to_string() })
}

fn set_pre_tokenizer(made: &mut Made, value: Value) -> Result<(), Error> {
    let part: PreTokenizerWrapper = serde_json::from_value(value).map_err(|e| made.model(e))?;
    made.tokenizer.with_pre_tokenizer(Some(part));
    Ok(())
}

fn set_decoder(made: &mut Made, value: Value) -> Result<(), Error> {
    let part: DecoderWrapper = serde_json::from_value(value).map_err(|e| made.model(e))?;
    made.tokenizer.with_decoder(Some(part));
    Ok(())
}

fn set_post_processor(made: &mut Made, value: Value) -> Result<(), Error> {
    let part: PostProcessorWrapper = serde_json::from_value(value).map_err(|e| made.model(e))?;
    made.tokenizer.with_post_processor(Some(part));
    Ok(())
}

/// The special tokens that a family adds to those that the files name.
fn complete_additional(family: &Family, config: &Object, declared: &mut Declared) -> Result<(), Error> {
    match family.recipe {
        Recipe::SentencePiece { pieces: families::Pieces::T5, .. } | Recipe::Bytes
            if !declared.additional.iter().any(|t| t.content().contains("<extra_id_")) =>
        {
            let usual = if family.recipe == Recipe::Bytes { 125 } else { 100 };
            let count = config.count("extra_ids", 100_000)?.unwrap_or(usual);
            declared.additional.extend((0..count).map(|i| Named::Text(format!("<extra_id_{i}>"))));
        }
        Recipe::SentencePiece { pieces: families::Pieces::FairSeq { languages }, .. } if !languages.is_empty() => {
            let mut all: Vec<Named> = languages.iter().map(|&t| Named::Text(t.to_owned())).collect();
            all.extend(declared.additional.drain(..).filter(|t| !languages.contains(&t.content())));
            declared.additional = all;
        }
        _ => {}
    }
    Ok(())
}

/// What the class changes on the finished tokenizer by its configuration.
fn adjust(
    made: &mut Made,
    family: Option<&Family>,
    config: &Object,
    declared: &Declared,
    has_json: bool,
) -> Result<(), Error> {
    if let Some(family) = family {
        // The multilingual translation families set their frame anew on every load, by the source language.
        if !has_json || matches!(family.frame, Frame::Mbart | Frame::Mbart50) {
            let file = made.file.clone();
            let value = frame::frame(family.frame, declared, config, &file, &|token| made.id(token))?;
            set_post_processor(made, value)?;
        }
    }
    if !has_json {
        return Ok(());
    }
    let value = |part: Result<Value, serde_json::Error>| part.ok().filter(Value::is_object);
    let prefix = config.bool("add_prefix_space")?.unwrap_or(false);
    if let Some(mut part) = made.tokenizer.get_pre_tokenizer().and_then(|p| value(serde_json::to_value(p)))
        && part.get("add_prefix_space").is_some_and(|p| p != &Value::Bool(prefix))
    {
        part["add_prefix_space"] = json!(prefix);
        set_pre_tokenizer(made, part)?;
    }
    let Some(family) = family else { return Ok(()) };
    if family.recipe == Recipe::WordPiece
        && let Some(mut part) = made.tokenizer.get_normalizer().and_then(|p| value(serde_json::to_value(p)))
        && part.get("type").and_then(Value::as_str) == Some("BertNormalizer")
    {
        let wanted = bert_normalizer(family, config)?;
        let keys = ["lowercase", "strip_accents", "handle_chinese_chars"];
        if keys.iter().any(|&key| part.get(key) != wanted.get(key)) {
            for key in keys {
                part[key] = wanted[key].clone();
            }
            set_normalizer(made, part)?;
        }
    }
    if family.frame == Frame::Roberta
        && let Some(mut part) = made.tokenizer.get_post_processor().and_then(|p| value(serde_json::to_value(p)))
    {
        let trim = config.bool("trim_offsets")?.unwrap_or(true);
        let mut changed = false;
        for (key, wanted) in [("add_prefix_space", prefix), ("trim_offsets", trim)] {
            if part.get(key).is_some_and(|v| v != &Value::Bool(wanted)) {
                part[key] = json!(wanted);
                changed = true;
            }
        }
        if changed {
            set_post_processor(made, part)?;
        }
    }
    Ok(())
}

fn side(config: &Object, tokenizer: &tokenizers::Tokenizer) -> Result<Side, Error> {
    match config.str("truncation_side")? {
        Some("left") => Ok(Side::Left),
        Some("right") => Ok(Side::Right),
        Some(other) => Err(config.wrong("truncation_side", "\"left\" or \"right\"", &json!(other))),
        None => {
            use tokenizers::utils::truncation::TruncationDirection;
            let left = tokenizer.get_truncation().is_some_and(|t| t.direction == TruncationDirection::Left);
            Ok(if left { Side::Left } else { Side::Right })
        }
    }
}

/// "No limit" is written as a very large number in these files.
fn model_max_length(config: &Object) -> Result<Option<usize>, Error> {
    for field in ["model_max_length", "max_len"] {
        if let Some(value) = config.get(field) {
            let number =
                value.as_f64().filter(|n| *n >= 0.0).ok_or_else(|| config.wrong(field, "a number of tokens", value))?;
            return Ok((number < 1e9).then_some(number as usize));
        }
    }
    Ok(None)
}

fn special(made: &Made, declared: &Declared) -> SpecialTokens {
    let mut special = SpecialTokens::default();
    let find = |text: &str| made.id(text).map(|id| Special { text: text.to_owned(), id });
    for role in Role::ALL {
        if let Some(found) = declared.text(role).and_then(find) {
            special.set(role, found);
        }
    }
    special.additional = declared.additional.iter().filter_map(|t| find(t.content())).collect();
    special
}
