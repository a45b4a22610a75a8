//! What the commands of classifiers' heads share: the model that they need, the parameters that count, bars of scores.

use std::path::PathBuf;

use ptm_tasks::{Effective, Label};
use serde_json::{Map, Value, json};

use crate::args::ModelArgs;
use crate::failure::hinted;
use crate::hub;
use crate::output::{Output, bar, one_line};

/// The directory of the model, which has to be named.
///
/// # Errors
/// When it isn't, or can't be fetched.
pub fn model(args: &ModelArgs, command: &str, example: &str, quiet: bool) -> anyhow::Result<PathBuf> {
    let Some(wanted) = &args.model else {
        return Err(hinted(
            format!("no model for {command} is built in"),
            format!(
                "name one with --model (or PTM_MODEL): a directory with config.json, weights and tokenizer, or an id of the \
                 hub such as {example}"
            ),
        ));
    };
    Ok(hub::resolve(wanted, args.revision.as_deref(), quiet)?)
}

/// Prints every parameter with its origin.
pub fn print_config(all: &[Effective], as_json: bool) -> anyhow::Result<()> {
    let mut output = Output::new();
    if as_json {
        let one = |one: &Effective| (one.name.to_owned(), json!({"value": one.value, "from": one.origin.to_string()}));
        output.json(&all.iter().map(one).collect::<Map<String, Value>>())?;
        return Ok(output.flush()?);
    }
    let width = all.iter().map(|one| one.name.len()).max().unwrap_or(0);
    let values: Vec<String> = all.iter().map(|one| one.value.to_string()).collect();
    let wide = values.iter().map(|value| value.chars().count()).max().unwrap_or(0).min(24);
    for (one, value) in all.iter().zip(&values) {
        let pad = " ".repeat(wide.saturating_sub(value.chars().count()));
        let origin = output.faint(&one.origin.to_string());
        output.line(&format!("{:width$}  {value}{pad}  {origin}", one.name))?;
    }
    Ok(output.flush()?)
}

/// Labels with their scores as bars, under the text they are of.
pub fn show_labels(output: &mut Output, text: &str, labels: &[Label]) -> anyhow::Result<()> {
    let head = output.faint(&one_line(text, 100));
    output.line(&head)?;
    for (place, label) in labels.iter().enumerate() {
        let name = one_line(&label.label, 40);
        let name = if place == 0 { output.strong(&name) } else { name };
        let cells = output.faint(&bar(label.score));
        output.line(&format!("{:>7.4} {cells} {name}", label.score))?;
    }
    Ok(())
}
