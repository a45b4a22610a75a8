//! `ptm summarize`, `ptm translate`, and `ptm generate` with an encoder-decoder: a text answered by another.

use ptm_tasks::generation::Generate as How;
use ptm_tasks::{Long, Purpose, Reply, Text2Text, Text2TextOptions};
use serde::Serialize;
use serde_json::{Value, json};

use super::generation::{TOGETHER, constraint, details, draft, print_config, values};
use super::many::{Flow, Many, through, unwrapped};
use crate::args::{Generate, KeepArgs, ModelArgs, ReplyArgs, StreamArgs, Summarize, Translate};
use crate::failure::hinted;
use crate::generation_args::GenerationArgs;
use crate::output::Output;
use crate::{hub, input};

/// What the commands are told.
struct Args<'a> {
    name: &'static str,
    example: &'static str,
    texts: &'a [String],
    stream: &'a StreamArgs,
    model: &'a ModelArgs,
    keep: &'a KeepArgs,
    reply: &'a ReplyArgs,
    generation: &'a GenerationArgs,
}

pub fn summarize(args: &Summarize, quiet: bool) -> anyhow::Result<()> {
    let Summarize { texts, stream, model, keep, reply, generation } = args;
    let (name, example) = ("summarize", "facebook/bart-large-cnn");
    run(&Args { name, example, texts, stream, model, keep, reply, generation }, Purpose::Summarization, quiet)
}

pub fn translate(args: &Translate, quiet: bool) -> anyhow::Result<()> {
    let Translate { texts, stream, model, keep, from, to, reply, generation } = args;
    let (name, example) = ("translate", "Helsinki-NLP/opus-mt-en-de");
    let languages = from.clone().zip(to.clone());
    run(&Args { name, example, texts, stream, model, keep, reply, generation }, Purpose::Translation(languages), quiet)
}

/// `ptm generate`, told in its own words but for `reply`.
pub fn text2text(args: &Generate, reply: &ReplyArgs, quiet: bool) -> anyhow::Result<()> {
    let Generate { texts, stream, model, keep, generation, .. } = args;
    let (name, example) = ("generate", "google-t5/t5-base");
    run(&Args { name, example, texts, stream, model, keep, reply, generation }, Purpose::Text2Text, quiet)
}

fn run(args: &Args<'_>, purpose: Purpose, quiet: bool) -> anyhow::Result<()> {
    let Some(wanted) = &args.model.model else {
        return Err(hinted(
            format!("no model for {} is built in", args.name),
            format!(
                "name one with --model (or PTM_MODEL): a directory with config.json, weights and tokenizer, or an id of \
                 the hub such as {}",
                args.example
            ),
        ));
    };
    let arguments = input::checked(args.texts)?;
    let from_lines = args.texts.is_empty() && !args.keep.print_config;
    let stream = from_lines.then(|| Many::<Numbered, Told>::stream(args.stream, "text")).transpose()?;
    let dir = hub::resolve(wanted, args.model.revision.as_deref(), quiet)?;
    let model = Text2Text::open(&dir, purpose)?;
    let settings = values(args.generation, model.engine())?;
    let layers = model.layers(&settings)?;
    let mut output = Output::new();
    if args.keep.print_config {
        let prefix = args.reply.prefix.as_deref().unwrap_or_else(|| model.prefix());
        return print_config(&mut output, &layers, Some(prefix), args.stream.json);
    }
    let draft = draft(args.generation, quiet)?;
    let constraint = constraint(args.generation, model.engine(), &layers)?;
    let how = How {
        constraint: constraint.as_ref(),
        draft: draft.as_ref(),
        rows: args.model.batch_tokens.map(Into::into),
        ..How::default()
    };
    let long = if args.reply.truncate { Long::Cut } else { Long::Split };
    let prefix = args.reply.prefix.clone();
    let options = Text2TextOptions { settings, prefix, long, how, ..Text2TextOptions::default() };
    let flow: &Flow<'_, Numbered, Told> = &|texts, stop, put| {
        let how = How { stop: Some(stop), ..options.how };
        let options = Text2TextOptions { how, ..options.clone() };
        let told = |replies: Vec<Reply>| Told { json: Value::Array(json_of(args, &model, &replies)), replies };
        model.feed(texts, &options, &mut |place, replies| put(place, replies.map(told)))
    };
    let many = Many {
        stream: args.stream,
        keep: args.keep,
        quiet,
        what: "text",
        together: TOGETHER,
        read: &|number, record| Ok((number, record.text(&args.stream.key)?)),
        answer: &|texts: &[Numbered], stop, given| through(flow, texts, stop, given),
        show: &|output, _, told: &Told| show(&told.replies, output),
    };
    let Some(stream) = stream else {
        let texts: Vec<Numbered> = (0..).zip(arguments.into_iter().map(str::to_owned)).collect();
        return many.arguments(&texts, &flat);
    };
    many.flowing(stream, flow)
}

/// A text with its number, by which its draws differ from those of others.
type Numbered = (u64, String);

/// The answers to a text.
#[derive(Serialize)]
#[serde(transparent)]
struct Told {
    json: Value,
    #[serde(skip)]
    replies: Vec<Reply>,
}

/// As the pipeline has it: flat unless a text has several answers.
fn flat(lists: Vec<Value>) -> Value {
    let single = |list: &Value| list.as_array().is_some_and(|list| list.len() == 1);
    if lists.len() == 1 {
        return unwrapped(lists);
    }
    if !lists.iter().all(single) {
        return Value::Array(lists);
    }
    lists.into_iter().flat_map(|list| if let Value::Array(list) = list { list } else { vec![list] }).collect()
}

fn json_of(args: &Args<'_>, model: &Text2Text, replies: &[Reply]) -> Vec<Value> {
    let key = format!("{}_text", model.purpose().key());
    let one = |reply: &Reply| {
        let mut value = json!({ &key: reply.text });
        if args.generation.top_logprobs.is_some() {
            value["details"] = details(model.engine(), &reply.spoken.iter().collect::<Vec<_>>());
        }
        value
    };
    replies.iter().map(one).collect()
}

fn show(replies: &[Reply], output: &mut Output) -> anyhow::Result<()> {
    for (place, reply) in replies.iter().enumerate() {
        if replies.len() > 1 {
            let score = reply.spoken.first().and_then(|spoken| spoken.score);
            let score = score.map(|score| format!("  {score:.4}")).unwrap_or_default();
            let head = output.faint(&format!("{}{score}", place + 1));
            output.line(&head)?;
        }
        let text = output.said(reply.text.trim());
        output.line(&text)?;
    }
    Ok(())
}
