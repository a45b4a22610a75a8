//! `ptm ner`: labels of tokens, entities marked in their text.

use ptm_tasks::{Aggregation, Entity, TokenClassification, TokenClassificationOptions};

use super::config::print_effective;
use super::many::{Many, TOGETHER, unwrapped};
use crate::args::Ner;
use crate::output::{Output, bar, one_line, steers};
use crate::{hub, input};

pub fn run(args: &Ner, quiet: bool) -> anyhow::Result<()> {
    let texts = input::checked(&args.texts, quiet)?;
    let stream = args.keep.lines(&args.stream, !args.texts.is_empty(), "text")?;
    let example = "dbmdz/bert-large-cased-finetuned-conll03-english";
    let classifier = TokenClassification::open(&hub::needed(&args.model, &args.stream.given, "ner", example, quiet)?)?;
    let for_readers = !args.stream.json && args.keep.output.is_none();
    let options = TokenClassificationOptions {
        aggregation_strategy: args.aggregation_strategy.map(Into::into),
        otherwise: if for_readers { Aggregation::Simple } else { Aggregation::None },
        ignore_labels: args.ignore_labels.clone(),
        stride: args.stride,
        batch_tokens: args.model.batch_tokens.map(Into::into),
        stop: None,
    };
    if args.keep.print_config {
        return print_effective(classifier.effective(&options)?, &args.stream.given, args.stream.json);
    }
    let many = Many {
        stream: &args.stream,
        keep: &args.keep,
        quiet,
        what: "text",
        together: TOGETHER,
        read: &|_, record| record.text(&args.key.key),
        answer: &|texts: &[String], stop, given| {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let answers = classifier.classify(
                &texts,
                &TokenClassificationOptions { stop: Some(stop), ..options.clone() },
                &mut |done| given.computed(done),
            )?;
            given.all(answers)
        },
        show: &|output, text, entities| show(output, text, entities),
    };
    match stream {
        Some(stream) => many.lines(stream),
        None => many.arguments(&texts.into_iter().map(str::to_owned).collect::<Vec<_>>(), &unwrapped),
    }
}

/// The text with its entities marked, and each with its score.
fn show(output: &mut Output, text: &str, entities: &[Entity]) -> anyhow::Result<()> {
    let characters: Vec<char> = text.chars().collect();
    let part = |from: usize, to: usize| -> String {
        let to = to.min(characters.len());
        characters[from.min(to)..to]
            .iter()
            .map(|c| {
                if c.is_whitespace() {
                    ' '
                } else if steers(*c) {
                    '·'
                } else {
                    *c
                }
            })
            .collect()
    };
    let (mut line, mut at) = (String::new(), 0);
    for entity in entities {
        let range = entity.range();
        if range.start < at {
            continue;
        }
        line.push_str(&part(at, range.start));
        let mark = format!("[{} {}]", part(range.start, range.end).trim(), entity.label());
        line.push_str(&output.strong(&mark));
        at = range.end;
    }
    line.push_str(&part(at, characters.len()));
    output.line(line.trim_end())?;
    let width = entities.iter().map(|entity| entity.label().chars().count()).max().unwrap_or(0);
    for entity in entities {
        let cells = output.faint(&bar(entity.score()));
        let range = entity.range();
        let word = one_line(&part(range.start, range.end), 60);
        output.line(&format!("{:>7.4} {cells} {:width$}  {word}", entity.score(), entity.label()))?;
    }
    Ok(())
}
