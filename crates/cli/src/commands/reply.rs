//! `ptm summarize`, `ptm translate`, and `ptm generate` with an encoder-decoder: a text answered by another.

use ptm_tasks::generation::Generate as How;
use ptm_tasks::{Long, Purpose, Reply, Text2Text, Text2TextOptions};
use serde::Serialize;
use serde_json::{Value, json};

use super::config::{Parameter, print};
use super::generation::{TOGETHER, check, constraint, details, draft, parameters, prefix, values};
use super::live;
use super::many::{Flow, Many, through, unwrapped};
use crate::args::{Generate, KeepArgs, KeyArgs, LiveArgs, ModelArgs, ReplyArgs, StreamArgs, Summarize, Translate};
use crate::generation_args::GenerationArgs;
use crate::input::{Record, Stream};
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
    key: &'a KeyArgs,
    live: LiveArgs,
    reply: &'a ReplyArgs,
    generation: &'a GenerationArgs,
}

pub fn summarize(args: &Summarize, quiet: bool) -> anyhow::Result<()> {
    let Summarize { texts, stream, model, keep, key, live, reply, generation } = args;
    let (name, example, live) = ("summarize", "facebook/bart-large-cnn", *live);
    let args = Args { name, example, texts, stream, model, keep, key, live, reply, generation };
    let lines = keep.lines(stream, !texts.is_empty(), "text")?;
    run(&args, Purpose::Summarization, lines, quiet)
}

pub fn translate(args: &Translate, quiet: bool) -> anyhow::Result<()> {
    let Translate { texts, stream, model, keep, key, live, from, to, reply, generation } = args;
    let (name, example, live) = ("translate", "Helsinki-NLP/opus-mt-en-de", *live);
    let languages = from.clone().zip(to.clone());
    let args = Args { name, example, texts, stream, model, keep, key, live, reply, generation };
    let lines = keep.lines(stream, !texts.is_empty(), "text")?;
    run(&args, Purpose::Translation(languages), lines, quiet)
}

/// `ptm generate`, told in its own words but for `reply`; `lines` are those that it was to read.
pub fn text2text(args: &Generate, reply: &ReplyArgs, lines: Option<Stream>, quiet: bool) -> anyhow::Result<()> {
    let Generate { texts, stream, model, keep, key, live, generation, .. } = args;
    let (name, example, live) = ("generate", "google-t5/t5-base", *live);
    let args = Args { name, example, texts, stream, model, keep, key, live, reply, generation };
    run(&args, Purpose::Text2Text, lines, quiet)
}

fn run(args: &Args<'_>, purpose: Purpose, lines: Option<Stream>, quiet: bool) -> anyhow::Result<()> {
    let given = &args.stream.given;
    // what `generate` has looked at is not said twice
    let arguments = input::checked(args.texts, quiet || purpose == Purpose::Text2Text)?;
    let dir = hub::needed(args.model, given, args.name, args.example, quiet)?;
    let model = Text2Text::open(&dir, purpose)?;
    let settings = values(args.generation, model.engine())?;
    let layers = model.layers(&settings)?;
    check(args.generation, &settings, &layers, true, given)?;
    let clean_up = args.reply.clean_up.unwrap_or(false);
    if args.keep.print_config {
        let mut all = parameters(args.generation, &layers, given)?;
        all.push(prefix(args.reply.prefix.as_ref(), &layers));
        all.push(Parameter::given("truncation", args.reply.truncate, given));
        all.push(Parameter::given("clean_up_tokenization_spaces", clean_up, given));
        return print(&all, given, args.stream.json);
    }
    live::check(given, &layers, &layers.settings()?)?;
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
    let options = Text2TextOptions { settings, prefix, long, clean_up, how };
    let texts: Vec<Numbered> = (0..).zip(arguments.into_iter().map(str::to_owned)).collect();
    let read = |number, record: Record| Ok((number, record.text(&args.key.key)?));
    if args.live.live {
        return live::all(texts, lines, &read, &|(number, text): Numbered, output| {
            live::show(output, "", |stop, heard| {
                let numbers = [number];
                let how = How { stop: Some(stop), numbers: Some(&numbers), ..options.how };
                let options = Text2TextOptions { how, ..options.clone() };
                model.stream(&mut std::iter::once(text), &options, &mut |_, part| heard(part), &mut |_, _| Ok(()))
            })
        });
    }
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
        read: &read,
        answer: &|texts: &[Numbered], stop, given| through(flow, texts, stop, given),
        show: &|output, _, told: &Told| show(&told.replies, output),
    };
    match lines {
        Some(lines) => many.flowing(lines, flow),
        None => many.arguments(&texts, &flat),
    }
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
