//! What the commands that generate text share: who guesses ahead, what the text must be like, what does not apply.

mod applies;

use ptm_tasks::generation::{Constraint, Engine, Layers, Origin, Spoken};
use serde_json::{Map, Value, json};

pub use self::applies::check;
use super::config::Parameter;
use crate::args::Given;
use crate::failure::hinted;
use crate::generation_args::GenerationArgs;
use crate::hub;

/// So many texts are held together at most, new ones taking the place of those that have ended. Each answer is given on when
/// those before it have ended, so that little is lost by stopping.
pub const TOGETHER: usize = 1024;

/// The draft model that was asked for.
pub fn draft(args: &GenerationArgs, quiet: bool) -> anyhow::Result<Option<Engine>> {
    let Some(wanted) = &args.draft_model else { return Ok(None) };
    let dir = hub::resolve(wanted, None, quiet)?;
    Ok(Some(Engine::open(&dir, None)?))
}

/// The constraint that was asked for, of `engine`'s text.
pub fn constraint(args: &GenerationArgs, engine: &Engine, layers: &Layers) -> anyhow::Result<Option<Constraint>> {
    let Some(tokenizer) = engine.tokenizer() else { return Ok(None) };
    let (vocabulary, ends) = (engine.vocabulary(), layers.settings()?.ends());
    if let Some(pattern) = &args.regex {
        return Ok(Some(Constraint::regex(pattern, tokenizer, vocabulary, &ends)?));
    }
    if args.choices.is_empty() {
        return Ok(None);
    }
    let choices: Vec<&str> = args.choices.iter().map(String::as_str).collect();
    Ok(Some(Constraint::one_of(&choices, tokenizer, vocabulary, &ends)?))
}

/// The values that were given; words that are not to be said become tokens, at the beginning of a text and within.
pub fn values(args: &GenerationArgs, engine: &Engine) -> anyhow::Result<Map<String, Value>> {
    let mut values = args.values()?;
    if !args.bad_words.is_empty() && values.contains_key("bad_words_ids") {
        return Err(hinted("bad_words_ids is set by --set and by --bad-words", "leave one of them out"));
    }
    if args.bad_words.is_empty() {
        return Ok(values);
    }
    let Some(tokenizer) = engine.tokenizer() else { return Ok(values) };
    let plain = ptm_text::EncodeOptions { add_special_tokens: false, ..ptm_text::EncodeOptions::default() };
    let mut words: Vec<Vec<u32>> = Vec::new();
    for word in &args.bad_words {
        let word = word.trim();
        if word.is_empty() {
            return Err(hinted("a word of --bad-words is empty", "separate words by one comma"));
        }
        for text in [word.to_owned(), format!(" {word}")] {
            let ids = tokenizer.encode(&text, &plain)?.ids;
            if !ids.is_empty() && !words.contains(&ids) {
                words.push(ids);
            }
        }
    }
    values.insert("bad_words_ids".into(), json!(words));
    Ok(values)
}

/// Every value with its origin.
///
/// # Errors
/// When one is impossible.
pub fn parameters(args: &GenerationArgs, layers: &Layers, given: &Given) -> anyhow::Result<Vec<Parameter>> {
    let all = layers.effective()?.into_iter();
    let mut all: Vec<Parameter> = all.map(|(name, value, origin)| Parameter { name, value, origin }).collect();
    all.push(Parameter::given("regex", args.regex.clone(), given));
    all.push(Parameter::given("choices", args.choices.clone(), given));
    all.push(Parameter::given("draft_model", args.draft_model.clone(), given));
    Ok(all)
}

/// What is put before a text: the caller's words, else the model's.
pub fn prefix(given: Option<&String>, layers: &Layers) -> Parameter {
    let origin = match (given, &layers.prefix) {
        (Some(_), _) => Origin::Caller,
        (None, Some(_)) => layers.origin("prefix"),
        (None, None) => Origin::Default,
    };
    let value = given.or(layers.prefix.as_ref()).cloned().unwrap_or_default();
    Parameter { name: "prefix".into(), value: value.into(), origin }
}

/// The tokens of an answer with their log-probabilities, as `--top-logprobs` adds them.
pub fn details(engine: &Engine, spoken: &[&Spoken]) -> Value {
    let text = |id: u32| engine.tokenizer().map(|tokenizer| tokenizer.decode(&[id], false)).unwrap_or_default();
    let one = |(token, score): (&u32, &ptm_tasks::generation::TokenScore)| {
        let top: Vec<Value> = score
            .alternatives
            .iter()
            .map(|&(id, logprob)| json!({"id": id, "text": text(id), "logprob": logprob}))
            .collect();
        json!({"id": token, "text": text(*token), "logprob": score.logprob, "top_tokens": top})
    };
    let tokens: Vec<Value> = spoken.iter().flat_map(|s| s.tokens.iter().zip(&s.logprobs).map(one)).collect();
    let finish = spoken.last().map(|s| s.finish.to_string());
    json!({"finish_reason": finish, "generated_tokens": tokens.len(), "tokens": tokens})
}
