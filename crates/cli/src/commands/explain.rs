//! `ptm explain`: what pretraining objectives make of a text — what is read and said, where there is a loss, who sees
//! whom. The objectives are those that models are trained by, not a re-enactment.

mod page;
mod table;

use std::collections::HashMap;
use std::io::Read;

use anyhow::Context;
use ptm_text::{EncodeOptions, Tokenizer, sentences};
use ptm_train::objectives::picture::{Picture, Row};
use ptm_train::objectives::{NAMES, ObjectiveConfig, Text, Vocabulary, generator};
use serde_json::{Value, json};

use crate::args::Explain;
use crate::failure::hinted;
use crate::output::Output;
use crate::{hub, report};

/// Longer texts make no picture that anybody could read.
const MOST_TOKENS: usize = 256;
/// Bytes of standard input.
const MOST_BYTES: u64 = 1 << 20;

/// What one objective made of the text.
pub struct Explained {
    /// Its name.
    name: String,
    pictures: Vec<Picture>,
}

/// How tokens are called.
pub struct Tokens {
    tokenizer: Tokenizer,
    /// Those that the tokenizer lacks.
    lacking: HashMap<u32, String>,
    vocabulary: Vocabulary,
}

impl Tokens {
    fn new(tokenizer: Tokenizer) -> Self {
        let (vocabulary, lacking) = Vocabulary::new(&tokenizer).completed();
        Self { tokenizer, lacking: lacking.into_iter().collect(), vocabulary }
    }

    /// As it is shown: a token of its own spelling, without what could steer a terminal.
    pub fn name(&self, id: u32) -> String {
        let token = self.lacking.get(&id).cloned().or_else(|| self.tokenizer.token(id));
        token.map_or_else(|| format!("#{id}"), |token| token.replace(char::is_control, "·"))
    }

    /// What is to be said at each place of a sequence: a token, or a class.
    pub fn said(&self, row: &Row) -> Vec<Option<String>> {
        if !row.classes.is_empty() {
            return row.classes.clone();
        }
        row.targets.iter().map(|id| id.map(|id| self.name(id))).collect()
    }

    /// Whether it is no word.
    pub fn is_special(&self, id: u32) -> bool {
        self.vocabulary.is_special(id)
    }

    /// The text's tokens, and where its sentences begin.
    fn encode(&self, text: &str) -> anyhow::Result<(Vec<u32>, Vec<usize>)> {
        let plain = EncodeOptions { add_special_tokens: false, ..EncodeOptions::default() };
        let (mut ids, mut begins) = (Vec::new(), Vec::new());
        for sentence in sentences(text) {
            let own = self.tokenizer.encode(sentence, &plain)?.ids;
            if !own.is_empty() {
                begins.push(ids.len());
                ids.extend(own);
            }
        }
        Ok((ids, begins))
    }
}

pub fn run(args: &Explain, quiet: bool) -> anyhow::Result<()> {
    let names = names(&args.objectives)?;
    let settings = settings(&args.set)?;
    let text = if args.text == "-" { standard_input()? } else { args.text.clone() };
    let tokenizer = match &args.model {
        Some(model) => Tokenizer::from_dir(&hub::resolve(model, args.revision.as_deref(), quiet)?)?,
        None => ptm_tasks::embedded_tokenizer()?,
    };
    let tokens = Tokens::new(tokenizer);
    let (ids, begins) = tokens.encode(&text)?;
    if ids.len() > MOST_TOKENS {
        let sentence =
            format!("the text has {} tokens, more than the {MOST_TOKENS} that a picture can show", ids.len());
        return Err(hinted(sentence, "give a sentence or two"));
    }
    let whole = Text { ids: &ids, sentences: &begins };
    let all = args.objectives.iter().any(|asked| asked.trim() == "all");
    let mut explained = Vec::new();
    for name in names {
        match pictures(name, &settings, &whole, &tokens.vocabulary, args.seed) {
            Ok(pictures) => explained.push(Explained { name: name.to_owned(), pictures }),
            // of all objectives those that this text or tokenizer isn't for
            Err(error) if all && matches!(error.downcast_ref(), Some(ptm_train::Error::Input(_))) => {
                if !quiet {
                    report::note(&format!("{name} is left out: {}", error.root_cause()));
                }
            }
            Err(error) => return Err(error),
        }
    }
    if explained.is_empty() {
        return Err(hinted("no objective can be shown with this text".to_owned(), "give a sentence or two"));
    }

    if let Some(file) = &args.html {
        let page = page::page(&text, args.seed, &explained, &tokens);
        ptm_models::files::write_atomic(file, page.as_bytes())?;
    }
    let mut output = Output::new();
    if args.json {
        let values: Vec<Value> = explained.iter().map(|one| value(one, args.seed, &tokens)).collect();
        output.json(&values)?;
    } else if args.html.is_none() {
        for (number, one) in explained.iter().enumerate() {
            if number > 0 {
                output.line("")?;
            }
            table::show(&mut output, one, &tokens)?;
        }
    }
    Ok(output.flush()?)
}

/// The objectives that were asked for, each once.
fn names(asked: &[String]) -> anyhow::Result<Vec<&'static str>> {
    let mut names: Vec<&'static str> = Vec::new();
    for asked in asked {
        let asked = asked.trim().replace('-', "_");
        let found: Vec<&'static str> = NAMES.into_iter().filter(|name| asked == "all" || asked == *name).collect();
        if found.is_empty() {
            let known = NAMES.join(", ");
            return Err(hinted(
                format!("{asked}: there is no such objective"),
                format!("it is one of {known}, or all"),
            ));
        }
        names.extend(found.into_iter().filter(|name| !names.contains(name)).collect::<Vec<_>>());
    }
    Ok(names)
}

/// `key=value`, the value as in a recipe.
fn settings(given: &[String]) -> anyhow::Result<toml::Table> {
    let mut settings = toml::Table::new();
    for pair in given {
        let Some((key, _)) = pair.split_once('=') else {
            return Err(hinted(format!("--set {pair}: no value"), "write it as --set rate=0.3"));
        };
        let parsed: toml::Table = pair.parse().map_err(|_| {
            hinted(format!("--set {pair}: not a setting as recipes write it"), "write it as --set rate=0.3")
        })?;
        if parsed.len() != 1 || parsed.values().any(toml::Value::is_table) {
            return Err(hinted(
                format!("--set {pair}: {} is no name of a setting", key.trim()),
                "write it as --set rate=0.3",
            ));
        }
        settings.extend(parsed);
    }
    Ok(settings)
}

fn standard_input() -> anyhow::Result<String> {
    let mut text = String::new();
    std::io::stdin().take(MOST_BYTES).read_to_string(&mut text).context("standard input")?;
    Ok(text)
}

/// What the objective of that name makes of the text.
fn pictures(
    name: &str,
    settings: &toml::Table,
    text: &Text<'_>,
    vocabulary: &Vocabulary,
    seed: u64,
) -> anyhow::Result<Vec<Picture>> {
    let objective = ObjectiveConfig::new(name, settings.clone())?.build(vocabulary)?;
    let start = objective.decoder_start(vocabulary)?;
    let made = objective.corrupt(text, &mut generator(seed, 0, 0)).with_context(|| name.to_owned())?;
    Ok(made.pictures(start))
}

fn value(explained: &Explained, seed: u64, tokens: &Tokens) -> Value {
    let examples = explained.pictures.iter().map(|picture| {
        let rows: Vec<Value> = picture.rows.iter().map(|row| {
            let names: Vec<String> = row.ids.iter().map(|&id| tokens.name(id)).collect();
            let said = tokens.said(row);
            let losses: Vec<usize> = (0..said.len()).filter(|&place| said[place].is_some()).collect();
            json!({
                "name": row.name,
                "ids": row.ids,
                "tokens": names,
                "corrupted": row.corrupted,
                "loss_positions": losses,
                "targets": said,
                "target_ids": row.targets,
                "order": row.order,
            })
        }).collect();
        let attention: Vec<Value> = picture.sights.iter().map(|sight| {
            let width = picture.rows[sight.row].ids.len().max(1);
            let visible: Vec<Vec<u8>> = sight.visible.chunks(width).map(|row| row.iter().map(|&v| u8::from(v)).collect()).collect();
            json!({"name": sight.name, "of": picture.rows[sight.row].name, "queries": sight.asking, "visible": visible})
        }).collect();
        json!({"rows": rows, "attention": attention})
    });
    json!({"objective": explained.name, "seed": seed, "examples": examples.collect::<Vec<_>>()})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(given: &[&str]) -> Vec<String> {
        given.iter().map(|&text| text.to_owned()).collect()
    }

    #[test]
    fn objectives_are_named_once() {
        assert_eq!(
            names(&given(&["span-corruption", "causal_lm", "span_corruption"])).unwrap(),
            ["span_corruption", "causal_lm"]
        );
        assert_eq!(names(&given(&["all"])).unwrap(), NAMES);
        assert!(names(&given(&["spam"])).is_err());
    }

    #[test]
    fn settings_are_as_in_recipes() {
        let made = settings(&given(&["rate=0.3", "whole_words = true"])).unwrap();
        assert_eq!((made["rate"].as_float(), made["whole_words"].as_bool()), (Some(0.3), Some(true)));
        for wrong in ["rate", "rate=", "a.b=1", "=1", "rate=0.3\n[x]"] {
            assert!(settings(&given(&[wrong])).is_err(), "{wrong}");
        }
    }
}
