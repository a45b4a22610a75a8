//! From which language into which one a model translates, and how it is told.

use std::path::Path;

use ptm_text::Tokenizer;
use serde_json::Value;

use super::Purpose;
use crate::error::{Error, Result};
use crate::generation::layers::json_file;
use crate::generation::{Layers, Origin};

/// How a model is told the languages.
#[derive(Debug)]
pub(super) enum Languages {
    /// Not at all, or by the prefix that its files name.
    None,
    /// By tokens around the source and before the target, as mBART has it.
    Tokens { before: Vec<u32>, after: Vec<u32>, target: u32 },
    /// By a word before the source, as Marian has it (`>>de<<`).
    Word(String),
}

impl Languages {
    /// How `tokenizer`'s model is told to translate.
    pub(super) fn of(tokenizer: &Tokenizer, from: &str, to: &str, layers: &Layers, dir: &Path) -> Result<Self> {
        let class = tokenizer.class().unwrap_or_default().trim_end_matches("Fast");
        let codes =
            |name: &str| tokenizer.special().additional.iter().find(|special| special.text == name).map(|s| s.id);
        let known = || {
            let all: Vec<&str> = tokenizer.special().additional.iter().map(|s| s.text.as_str()).collect();
            all.join(", ")
        };
        let find = |name: &str| {
            codes(name)
                .ok_or_else(|| Error::Option(format!("{} has no language {name:?}; it has {}", dir.display(), known())))
        };
        let end = tokenizer.special().eos.as_ref().map(|eos| eos.id);
        match class {
            "MBartTokenizer" => {
                let after = end.into_iter().chain([find(from)?]).collect();
                Ok(Self::Tokens { before: Vec::new(), after, target: find(to)? })
            }
            "MBart50Tokenizer" => {
                Ok(Self::Tokens { before: vec![find(from)?], after: end.into_iter().collect(), target: find(to)? })
            }
            "MarianTokenizer" => {
                let word = format!(">>{to}<<");
                let file = json_file(dir, "tokenizer_config.json")?.unwrap_or_default();
                let named = |key: &str| file.get(key).and_then(Value::as_str);
                if tokenizer.id(&word).is_some() {
                    if let Some(source) = named("source_lang").filter(|&source| source != from) {
                        tracing::warn!("{} reads texts in {source}, as its files say, not in {from}", dir.display());
                    }
                    return Ok(Self::Word(word));
                }
                // a model of one pair has no such words
                if (named("source_lang"), named("target_lang")) == (Some(from), Some(to)) {
                    return Ok(Self::None);
                }
                let pair = named("source_lang").zip(named("target_lang"));
                let pair = pair.map_or_else(|| "names none".to_owned(), |(a, b)| format!("is from {a} to {b}"));
                Err(Error::Option(format!(
                    "{} doesn't translate from {from} to {to}: it has no word {word}, and the pair of languages that its \
                     tokenizer_config.json has {pair}; leave the languages out if it is the right model",
                    dir.display()
                )))
            }
            _ if matches!(layers.origin("prefix"), Origin::TaskOfFile(_)) => Ok(Self::None),
            _ => {
                let tasks = tasks_of(dir)?;
                let known = if tasks.is_empty() { "none".to_owned() } else { tasks.join(", ") };
                Err(Error::Option(format!(
                    "{} doesn't say how it translates from {from} to {to}; its config.json names {known}: leave the \
                     languages out, or give the prefix",
                    dir.display()
                )))
            }
        }
    }
}

/// A translation without languages is the first that the model's configuration has parameters for.
pub(super) fn with_languages(purpose: Purpose, dir: &Path) -> Result<Purpose> {
    if purpose != Purpose::Translation(None) {
        return Ok(purpose);
    }
    let tasks = tasks_of(dir)?;
    let named = tasks.iter().find_map(|task| task.strip_prefix("translation_")?.split_once("_to_"));
    let Some((from, to)) = named else {
        let file = json_file(dir, "tokenizer_config.json")?.unwrap_or_default();
        if file.get("tokenizer_class").and_then(Value::as_str).is_some_and(|class| class.starts_with("MBart")) {
            let source = file.get("src_lang").and_then(Value::as_str).unwrap_or("en_XX");
            tracing::warn!("no languages were named: the text is read as {source}, and the model chooses what it says");
        }
        return Ok(purpose);
    };
    tracing::warn!("no languages were named: the model's first is taken, from {from} to {to}");
    Ok(Purpose::Translation(Some((from.to_owned(), to.to_owned()))))
}

/// The tasks that a model's configuration has parameters for.
fn tasks_of(dir: &Path) -> Result<Vec<String>> {
    let config = json_file(dir, "config.json")?.unwrap_or_default();
    let tasks = config.get("task_specific_params").and_then(Value::as_object);
    Ok(tasks.into_iter().flatten().map(|(name, _)| name.clone()).collect())
}
