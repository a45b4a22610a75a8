//! `ptm explain`: what pretraining objectives make of a text — what is read and said, where there is a loss, who sees
//! whom. The objectives are those that models are trained by, not a re-enactment.

mod generator;
mod page;
mod table;

use std::collections::HashMap;
use std::io::Read;

use anyhow::Context;
use ptm_text::Tokenizer;
use ptm_text::corpus::{Document, document};
use ptm_train::objectives::picture::{Picture, Row, Sight};
use ptm_train::objectives::{Examples, NAMES, ObjectiveConfig, SequenceObjective, Text, Vocabulary};
use ptm_train::recipe::set;
use serde_json::{Value, json};

use crate::args::Explain;
use crate::failure::hinted;
use crate::output::Output;
use crate::{hub, report};
use generator::Generator;

/// Longer texts make no picture that anybody could read.
const MOST_TOKENS: usize = 256;
/// The tasks of ERNIE 2.0.
const CONTINUAL: [&str; 5] =
    ["knowledge_masking", "sentence_reordering", "sentence_distance", "capitalization", "token_document"];
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

    /// The segment of each place as a letter; none where there is but one.
    pub fn segments(row: &Row) -> Option<Vec<char>> {
        let several = row.segments.iter().any(|segment| *segment != row.segments[0]);
        let letter = |&segment: &u32| char::from_digit(segment + 10, 36).map_or('?', |c| c.to_ascii_uppercase());
        several.then(|| row.segments.iter().map(letter).collect())
    }

    /// What is to be said at each place of a sequence: a token, or a class.
    pub fn said(&self, row: &Row) -> Vec<Option<String>> {
        let class = |place: usize| row.classes.get(place).cloned().flatten();
        let said = |place| class(place).or_else(|| row.targets[place].map(|id| self.name(id)));
        (0..row.ids.len()).map(said).collect()
    }

    /// Whether it is no word.
    pub fn is_special(&self, id: u32) -> bool {
        self.vocabulary.is_special(id)
    }
}

/// Whether every token sees every token.
pub fn sees_all(sight: &Sight) -> bool {
    sight.visible.iter().all(|&visible| visible) && sight.asking.len().pow(2) == sight.visible.len()
}

pub fn run(args: &Explain, quiet: bool) -> anyhow::Result<()> {
    let asked: Vec<String> = args.objectives.split(',').map(|name| name.trim().to_owned()).collect();
    let names = names(&asked)?;
    let settings = settings(&args.set)?;
    let texts = texts(&args.texts)?;
    hub::check_revision(args.revision.as_deref(), &args.model.iter().map(String::as_str).collect::<Vec<_>>())?;
    let dir = args.model.as_ref().map(|model| hub::resolve(model, args.revision.as_deref(), quiet)).transpose()?;
    let tokenizer = match &dir {
        Some(dir) => Tokenizer::from_dir(dir)?,
        None => ptm_tasks::embedded_tokenizer()?,
    };
    let generator = match (&dir, &args.model) {
        (Some(dir), Some(model)) if names.contains(&"replaced_token_detection") => Generator::open(dir, model)?,
        _ => Generator::by_frequency(),
    };
    let documents: Vec<Document> = texts.iter().map(|text| document(text, &tokenizer)).collect::<Result<_, _>>()?;
    for (number, document) in (1..).zip(&documents) {
        let length = document.ids.len();
        if length > MOST_TOKENS {
            let which = if documents.len() > 1 { format!("text {number}") } else { "the text".to_owned() };
            let sentence = format!("{which} has {length} tokens, more than the {MOST_TOKENS} that a picture can show");
            return Err(hinted(sentence, "give a sentence or two"));
        }
    }
    let tokens = Tokens::new(tokenizer);
    let several = asked.iter().any(|asked| ["all", "continual"].contains(&asked.as_str()));
    let given = Given { documents: &documents, settings: &settings, seed: args.seed, says: !several && !quiet };
    let mut explained = Vec::new();
    for name in names {
        match pictures(name, &given, &tokens.vocabulary, &generator) {
            Ok(pictures) => explained.push(Explained { name: name.to_owned(), pictures }),
            // of several objectives those that this text or tokenizer isn't for
            Err(error) if several && matches!(error.downcast_ref(), Some(ptm_train::Error::Input(_))) => {
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
        let page = page::page(&texts, args.seed, &explained, &tokens);
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

/// The objectives that were asked for, each once; those that are several tell what of.
fn names(asked: &[String]) -> anyhow::Result<Vec<&'static str>> {
    let mut names: Vec<&'static str> = Vec::new();
    for asked in asked {
        let asked = asked.replace('-', "_");
        let is_asked = |name: &str| match asked.as_str() {
            "all" => true,
            "continual" => CONTINUAL.contains(&name),
            asked => asked == name,
        };
        let found: Vec<&'static str> = NAMES.into_iter().filter(|name| is_asked(name)).collect();
        if found.is_empty() && asked == "mixture" {
            return Err(hinted(
                "mixture is tasks that a recipe brings beside an objective".to_owned(),
                "name the objective, span_corruption for instance; ptm debug data shows the rows of a task",
            ));
        }
        if found.is_empty() {
            let known = NAMES.join(", ");
            return Err(hinted(
                format!("{asked}: there is no such objective"),
                format!("it is one of {known}, continual, or all"),
            ));
        }
        names.extend(found.into_iter().filter(|name| !names.contains(name)).collect::<Vec<_>>());
    }
    Ok(names)
}

/// `key=value`, as over a recipe.
fn settings(given: &[String]) -> anyhow::Result<toml::Table> {
    let mut settings = toml::Table::new();
    for pair in given {
        set(&mut settings, pair)
            .map_err(|problem| hinted(format!("--set {pair}: {problem}"), "write it as --set rate=0.3"))?;
    }
    Ok(settings)
}

/// The texts, one of which may stand on standard input.
fn texts(given: &[String]) -> anyhow::Result<Vec<String>> {
    if given.iter().filter(|text| *text == "-").count() > 1 {
        return Err(hinted("standard input can be read once", "give - for one text, and the others as arguments"));
    }
    given.iter().map(|text| if text == "-" { standard_input() } else { Ok(text.clone()) }).collect()
}

fn standard_input() -> anyhow::Result<String> {
    let mut text = String::new();
    std::io::stdin().take(MOST_BYTES).read_to_string(&mut text).context("standard input")?;
    Ok(text)
}

/// What is explained.
struct Given<'a> {
    /// The text, and after it those of other documents.
    documents: &'a [Document],
    settings: &'a toml::Table,
    seed: u64,
    /// Whether it is said when texts are not read.
    says: bool,
}

/// What the objective of that name makes of the text.
fn pictures(
    name: &str,
    given: &Given<'_>,
    vocabulary: &Vocabulary,
    generator: &Generator,
) -> anyhow::Result<Vec<Picture>> {
    let objective = ObjectiveConfig::new(name, given.settings.clone())?.build(vocabulary)?;
    let start = objective.decoder_start(vocabulary)?;
    let texts: Vec<Text<'_>> =
        given.documents.iter().map(|one| Text { ids: &one.ids, sentences: &one.sentences }).collect();
    let (text, others) = texts.split_first().context("no text")?;
    let others = if objective.needs_other() { others } else { &[] };
    if texts.len() > 1 && others.is_empty() && given.says {
        report::note(&format!("{name} makes nothing of other documents: the first text is read alone"));
    }
    let cases = objective.cases(text, others, given.seed).with_context(|| name.to_owned())?;
    let mut pictures = Vec::new();
    for made in cases {
        if let (SequenceObjective::Detection(objective), Examples::Detection(one)) = (&objective, &made) {
            let drawn = generator.drawn(one, objective.config().temperature)?;
            pictures.push(Picture { note: generator.said().to_owned(), ..one.picture(&drawn) });
        } else {
            pictures.extend(made.pictures(start));
        }
    }
    Ok(pictures)
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
                "segments": row.segments,
                "order": row.order,
            })
        }).collect();
        let attention: Vec<Value> = picture.sights.iter().map(|sight| {
            let width = picture.rows[sight.row].ids.len().max(1);
            let visible: Vec<Vec<u8>> = sight.visible.chunks(width).map(|row| row.iter().map(|&v| u8::from(v)).collect()).collect();
            json!({"name": sight.name, "of": picture.rows[sight.row].name, "queries": sight.asking, "visible": visible})
        }).collect();
        json!({"note": picture.note, "rows": rows, "attention": attention})
    });
    json!({"objective": explained.name, "seed": seed, "examples": examples.collect::<Vec<_>>()})
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

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
        assert_eq!(names(&given(&["continual", "capitalization"])).unwrap(), CONTINUAL);
        for unknown in ["spam", "mixture"] {
            assert!(names(&given(&[unknown])).is_err(), "{unknown}");
        }
    }

    #[test]
    fn the_help_lists_every_objective() {
        let mut command = crate::args::Arguments::command();
        let help = command.find_subcommand_mut("explain").unwrap().render_long_help().to_string();
        for name in NAMES {
            assert!(help.contains(name), "{name}");
        }
    }

    #[test]
    fn settings_are_as_in_recipes() {
        let made = settings(&given(&["rate=0.3", "whole_words = true", "unit=sentences", "masking.rate=0.5"])).unwrap();
        assert_eq!((made["rate"].as_float(), made["whole_words"].as_bool()), (Some(0.3), Some(true)));
        assert_eq!((made["unit"].as_str(), made["masking"]["rate"].as_float()), (Some("sentences"), Some(0.5)));
        for wrong in ["rate", "=1", ".rate=1", "a..b=1"] {
            assert!(settings(&given(&[wrong])).is_err(), "{wrong}");
        }
    }
}
