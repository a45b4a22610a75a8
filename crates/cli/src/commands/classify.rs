//! `ptm classify` and `ptm nli`: labels of texts and of pairs.

use ptm_tasks::{Classified, NaturalLanguageInference, TextClassification, TextClassificationOptions, Top};
use ptm_text::Input;
use serde_json::Value;

use super::config::print_effective;
use super::heads::show_labels;
use super::many::{Many, TOGETHER, unwrapped};
use crate::args::{Classify, LabelArgs, ModelArgs, Nli, TopK};
use crate::failure::hinted;
use crate::output::{Output, one_line};
use crate::{hub, input};

/// A text, and one that is read together with it.
type Pair = (String, Option<String>);

fn options<'a>(labels: &LabelArgs, model: &ModelArgs) -> TextClassificationOptions<'a> {
    TextClassificationOptions {
        function_to_apply: labels.function_to_apply.map(Into::into),
        top_k: labels.top_k.map(|top| match top {
            TopK::Best(count) => Top::Best(count.get()),
            TopK::All => Top::All,
        }),
        truncate: labels.truncate,
        batch_tokens: model.batch_tokens.map(Into::into),
        stop: None,
    }
}

pub fn classify(args: &Classify, quiet: bool) -> anyhow::Result<()> {
    let texts = input::checked(&args.texts, quiet)?;
    let stream = args.keep.lines(&args.stream, !args.texts.is_empty(), "text")?;
    let example = "distilbert/distilbert-base-uncased-finetuned-sst-2-english";
    let classifier =
        TextClassification::open(&hub::needed(&args.model, &args.stream.given, "classify", example, quiet)?)?;
    let options = options(&args.labels, &args.model);
    if args.keep.print_config {
        return print_effective(classifier.effective(&options)?, &args.stream.given, args.stream.json);
    }
    let many = Many {
        stream: &args.stream,
        keep: &args.keep,
        quiet,
        what: "text",
        together: TOGETHER,
        read: &|_, record| {
            let place = record.place.clone();
            let (text, pair) = record.text_and(&args.key.key, "text_pair")?;
            anyhow::ensure!(
                pair.is_none() || args.text_pair.is_none(),
                "{place}: this has a text_pair of its own, and --text-pair gives another: leave one of them out"
            );
            Ok((text, pair.or_else(|| args.text_pair.clone())))
        },
        answer: &|pairs: &[Pair], stop, given| {
            let inputs: Vec<Input<'_>> = pairs
                .iter()
                .map(|(text, pair)| pair.as_ref().map_or(Input::Text(text), |pair| Input::Pair(text, pair)))
                .collect();
            let answers = classifier.classify(
                &inputs,
                &TextClassificationOptions { stop: Some(stop), ..options.clone() },
                &mut |done| given.computed(done),
            )?;
            given.all(answers)
        },
        show: &show,
    };
    match stream {
        Some(stream) => many.lines(stream),
        None => {
            let pairs: Vec<Pair> = texts.iter().map(|text| ((*text).to_owned(), args.text_pair.clone())).collect();
            // as the pipeline has it: a text alone has a list around its label, a pair alone has none
            let is_listed = args.text_pair.is_none() && args.labels.top_k.is_none();
            let shape = |answers: Vec<Value>| {
                if is_listed || answers.len() > 1 { Value::Array(answers) } else { unwrapped(answers) }
            };
            many.arguments(&pairs, &shape)
        }
    }
}

pub fn nli(args: &Nli, quiet: bool) -> anyhow::Result<()> {
    if args.hypothesis.iter().chain(&args.premise).any(|text| text.trim().is_empty()) {
        return Err(hinted("the premise or a hypothesis is empty", "give both some words"));
    }
    let what = "pair of texts";
    let stream = args.keep.pairs(&args.stream, args.premise.is_some(), what)?;
    let directory = hub::needed(&args.model, &args.stream.given, "nli", "FacebookAI/roberta-large-mnli", quiet)?;
    let classifier = NaturalLanguageInference::open(&directory)?;
    let options = options(&args.labels, &args.model);
    if args.keep.print_config {
        return print_effective(classifier.effective(&options)?, &args.stream.given, args.stream.json);
    }
    let many = Many {
        stream: &args.stream,
        keep: &args.keep,
        quiet,
        what,
        together: TOGETHER,
        read: &|_, record| record.two("premise", "hypothesis").map(|(premise, hypothesis)| (premise, Some(hypothesis))),
        answer: &|pairs: &[Pair], stop, given| {
            let pairs: Vec<(&str, &str)> =
                pairs.iter().map(|(premise, said)| (premise.as_str(), said.as_deref().unwrap_or_default())).collect();
            let answers = classifier.infer(
                &pairs,
                &TextClassificationOptions { stop: Some(stop), ..options.clone() },
                &mut |done| given.computed(done),
            )?;
            given.all(answers)
        },
        show: &show,
    };
    match (stream, &args.premise) {
        (Some(stream), _) => many.lines(stream),
        (None, premise) => {
            let premise = premise.clone().unwrap_or_default();
            let pairs: Vec<Pair> = args.hypothesis.iter().map(|said| (premise.clone(), Some(said.clone()))).collect();
            many.arguments(&pairs, &unwrapped)
        }
    }
}

fn show(output: &mut Output, (text, pair): &Pair, answer: &Classified) -> anyhow::Result<()> {
    // both are to be seen, however long the first is
    let text =
        pair.as_ref().map_or_else(|| text.clone(), |pair| format!("{} → {}", one_line(text, 48), one_line(pair, 48)));
    show_labels(output, &text, answer.labels())
}
