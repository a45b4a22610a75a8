//! `ptm zero-shot`: labels of one's own.

use ptm_tasks::{Label, ZeroShotOptions, split_labels};

use super::config::print_effective;
use super::heads::show_labels;
use super::many::{Many, TOGETHER, unwrapped};
use crate::args::ZeroShot;
use crate::failure::hinted;
use crate::{hub, input};

pub fn run(args: &ZeroShot, quiet: bool) -> anyhow::Result<()> {
    let texts = input::checked(&args.texts, quiet)?;
    let labels = split_labels(args.labels.as_deref().unwrap_or_default());
    if labels.is_empty() && !args.keep.print_config {
        return Err(hinted(
            "the list of labels is empty",
            "give some with --labels, for instance --labels travel,cooking",
        ));
    }
    let stream = args.keep.lines(&args.stream, !args.texts.is_empty(), "text")?;
    let directory = hub::needed(&args.model, &args.stream.given, "zero-shot", "facebook/bart-large-mnli", quiet)?;
    let classifier = ptm_tasks::ZeroShot::open(&directory)?;
    let options = ZeroShotOptions {
        candidate_labels: labels,
        hypothesis_template: args.hypothesis_template.clone(),
        multi_label: args.multi_label.then_some(true),
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
            let answers =
                classifier.classify(&texts, &ZeroShotOptions { stop: Some(stop), ..options.clone() }, &mut |done| {
                    given.computed(done);
                })?;
            given.all(answers)
        },
        show: &|output, text, answer| {
            let scored = answer.labels.iter().zip(&answer.scores);
            let labels: Vec<Label> = scored.map(|(label, &score)| Label { label: label.clone(), score }).collect();
            show_labels(output, text, &labels)
        },
    };
    match stream {
        Some(stream) => many.lines(stream),
        None => many.arguments(&texts.into_iter().map(str::to_owned).collect::<Vec<_>>(), &unwrapped),
    }
}
