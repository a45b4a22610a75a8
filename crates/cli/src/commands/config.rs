//! `--print-config`: every parameter that counts, with its value and who said so.

use ptm_tasks::Effective;
use ptm_tasks::generation::Origin;
use serde_json::{Map, Value, json};

use crate::args::Given;
use crate::output::Output;

/// A parameter with its value.
pub struct Parameter {
    /// As pipelines of `transformers` name it.
    pub name: String,
    /// Its value.
    pub value: Value,
    /// Where the value is from.
    pub origin: Origin,
}

impl Parameter {
    /// One that only the caller sets, by an option of its name.
    pub fn given(name: &str, value: impl Into<Value>, given: &Given) -> Self {
        let is_given = given.by(option(name)).is_some();
        let origin = if is_given { Origin::Caller } else { Origin::Default };
        Self { name: name.to_owned(), value: value.into(), origin }
    }
}

impl From<Effective> for Parameter {
    fn from(one: Effective) -> Self {
        Self { name: one.name.to_owned(), value: one.value, origin: one.origin }
    }
}

/// The option that sets a parameter; its own name unless it has another.
pub fn option(parameter: &str) -> &str {
    match parameter {
        "stop_strings" => "stop",
        "bad_words_ids" => "bad_words",
        "candidate_labels" => "labels",
        "truncation" => "truncate",
        "return_full_text" => "no_full_text",
        "clean_up_tokenization_spaces" => "clean_up",
        name => name,
    }
}

/// A prompt may be given by its name.
fn by<'a>(parameter: &str, given: &'a Given) -> Option<&'a str> {
    let own = given.by(option(parameter));
    own.or_else(|| given.by("prompt_name").filter(|_| parameter == "prompt")).or_else(|| given.by("set"))
}

/// Who said so, what the caller gave by its flag or its variable.
fn origin(one: &Parameter, given: &Given) -> String {
    if one.origin != Origin::Caller {
        return one.origin.to_string();
    }
    by(&one.name, given).map_or_else(|| one.origin.to_string(), |by| format!("given by {by}"))
}

/// Prints all of them.
pub fn print(all: &[Parameter], given: &Given, as_json: bool) -> anyhow::Result<()> {
    let mut output = Output::new();
    if as_json {
        let one = |one: &Parameter| (one.name.clone(), json!({"value": one.value, "from": origin(one, given)}));
        output.json(&all.iter().map(one).collect::<Map<String, Value>>())?;
        return Ok(output.flush()?);
    }
    let width = all.iter().map(|one| one.name.len()).max().unwrap_or(0);
    let values: Vec<String> = all.iter().map(|one| one.value.to_string()).collect();
    let wide = values.iter().map(|value| value.chars().count()).max().unwrap_or(0).min(24);
    for (one, value) in all.iter().zip(&values) {
        let pad = " ".repeat(wide.saturating_sub(value.chars().count()));
        let origin = output.faint(&origin(one, given));
        output.line(&format!("{:width$}  {value}{pad}  {origin}", one.name))?;
    }
    Ok(output.flush()?)
}

/// Prints the parameters of a task.
pub fn print_effective(all: Vec<Effective>, given: &Given, as_json: bool) -> anyhow::Result<()> {
    print(&all.into_iter().map(Into::into).collect::<Vec<_>>(), given, as_json)
}
