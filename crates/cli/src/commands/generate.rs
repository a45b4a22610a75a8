//! `ptm generate`: what a language model goes on with.

use ptm_tasks::generation::Generate as How;
use ptm_tasks::{Answer, Generated, Message, Prompt, Task, TextGeneration, TextGenerationOptions};
use serde::Serialize;
use serde_json::{Value, json};

use super::config::{Parameter, print};
use super::generation::{TOGETHER, check, constraint, details, draft, parameters, prefix, values};
use super::many::{Flow, Many, through, unwrapped};
use super::{live, reply};
use crate::args::{Generate, ReplyArgs};
use crate::failure::hinted;
use crate::hub;
use crate::input::{self, Content, Record, Stream};
use crate::output::Output;

pub fn run(args: &Generate, quiet: bool) -> anyhow::Result<()> {
    let given = &args.stream.given;
    let arguments = input::checked(&args.texts, quiet)?;
    let stream = args.keep.lines(&args.stream, !args.texts.is_empty(), "text")?;
    let dir = hub::needed(&args.model, given, "generate", "openai-community/gpt2", quiet)?;
    if matches!(Task::of_dir(&dir)?, Task::Text2TextGeneration | Task::Summarization | Task::Translation) {
        return answered_by_another(args, stream, quiet);
    }
    if args.chat {
        let why = "a chat is put into words by the model's template";
        given.refuse("prefix", why, "leave it out, or --chat")?;
    }
    let model = TextGeneration::open(&dir)?;
    let settings = values(&args.generation, model.engine())?;
    let layers = model.layers(&settings)?;
    check(&args.generation, &settings, &layers, false, given)?;
    if args.keep.print_config {
        let mut all = parameters(&args.generation, &layers, given)?;
        all.push(prefix(args.prefix.as_ref(), &layers));
        all.push(Parameter::given("truncation", args.truncate, given));
        all.push(Parameter::given("return_full_text", !args.no_full_text, given));
        let clean_up = args.clean_up.unwrap_or(args.generation.regex.is_none() && args.generation.choices.is_empty());
        all.push(Parameter::given("clean_up_tokenization_spaces", clean_up, given));
        all.push(Parameter::given("stop_sequence", args.stop_sequence.clone(), given));
        all.push(Parameter::given("chat", args.chat, given));
        return print(&all, given, args.stream.json);
    }
    live::check(given, &layers, &layers.settings()?)?;
    if args.live.live {
        let why = "one text is answered after the other";
        given.refuse("batch_tokens", why, "leave it or --stream out")?;
    }
    let draft = draft(&args.generation, quiet)?;
    let constraint = constraint(&args.generation, model.engine(), &layers)?;
    let how = How {
        constraint: constraint.as_ref(),
        draft: draft.as_ref(),
        rows: args.model.batch_tokens.map(Into::into),
        ..How::default()
    };
    let options = TextGenerationOptions {
        settings,
        full_text: !args.no_full_text,
        prefix: args.prefix.clone(),
        cut: args.truncate,
        stop_sequence: args.stop_sequence.clone(),
        clean_up: args.clean_up,
        how,
        ..TextGenerationOptions::default()
    };
    let run = Run { args, model: &model, options };
    let chat = |text: &str| vec![Message { role: "user".into(), content: text.to_owned() }];
    let prompt = |text: &str| if args.chat { Prompt::Chat(chat(text)) } else { Prompt::from(text) };
    let prompts: Vec<Numbered> = (0..).zip(arguments.into_iter().map(prompt)).collect();
    let read = |number, record| Ok((number, run.prompt(record)?));
    if args.live.live {
        return live::all(prompts, stream, &read, &|prompt, output| run.live(prompt, output));
    }
    let flow: &Flow<'_, Numbered, Told> = &|prompts, stop, put| {
        let how = How { stop: Some(stop), ..run.options.how };
        let options = TextGenerationOptions { how, ..run.options.clone() };
        let told = |answers: Vec<Answer>| Told { json: run.json(&answers), answers };
        run.model.feed(prompts, &options, &mut |place, answers| put(place, answers.map(told)))
    };
    let many = Many {
        stream: &args.stream,
        keep: &args.keep,
        quiet,
        what: "text",
        together: TOGETHER,
        read: &read,
        answer: &|prompts: &[Numbered], stop, given| through(flow, prompts, stop, given),
        show: &|output, _, told: &Told| run.show(&told.answers, output),
    };
    match stream {
        Some(stream) => many.flowing(stream, flow),
        None => many.arguments(&prompts, &unwrapped),
    }
}

/// An encoder-decoder doesn't go on with a text: it answers with another.
fn answered_by_another(args: &Generate, stream: Option<Stream>, quiet: bool) -> anyhow::Result<()> {
    for option in ["chat", "no_full_text", "stop_sequence"] {
        let why = "it is for models that go on with a text, and this one answers with another";
        args.stream.given.refuse(option, why, "leave it out")?;
    }
    let reply = ReplyArgs { prefix: args.prefix.clone(), clean_up: args.clean_up, truncate: args.truncate };
    reply::text2text(args, &reply, stream, quiet)
}

/// A prompt with its number, by which its draws differ from those of others.
type Numbered = (u64, Prompt);

/// The answers to a prompt.
#[derive(Serialize)]
#[serde(transparent)]
struct Told {
    json: Value,
    #[serde(skip)]
    answers: Vec<Answer>,
}

/// A model and what is wanted of it.
struct Run<'a> {
    args: &'a Generate,
    model: &'a TextGeneration,
    options: TextGenerationOptions<'a>,
}

impl Run<'_> {
    /// A line as a prompt: a text, or under the key a chat.
    fn prompt(&self, record: Record) -> anyhow::Result<Prompt> {
        let key = &self.args.key.key;
        if let Content::Object(object) = &record.content
            && let Some(list @ Value::Array(_)) = object.get(key)
        {
            let place = &record.place;
            let messages: Vec<Message> = serde_json::from_value(list.clone()).map_err(|error| {
                hinted(format!("{place}: {key:?} is no chat: {error}"), "give [{\"role\": …, \"content\": …}, …]")
            })?;
            if self.args.prefix.is_some() {
                let problem = format!("{place}: the prefix does not apply: {key:?} is a chat, which has none");
                return Err(hinted(problem, "leave the prefix out, or give texts"));
            }
            return Ok(Prompt::Chat(messages));
        }
        let text = record.text(key)?;
        Ok(if self.args.chat {
            Prompt::Chat(vec![Message { role: "user".into(), content: text }])
        } else {
            Prompt::Text(text)
        })
    }

    /// One prompt, shown while it is continued.
    fn live(&self, (number, prompt): Numbered, output: &mut Output) -> anyhow::Result<()> {
        let shown = match &prompt {
            Prompt::Text(text) if self.options.full_text => output.faint(&output.said(text)),
            _ => String::new(),
        };
        live::show(output, &shown, |stop, heard| {
            let numbers = [number];
            let how = How { stop: Some(stop), numbers: Some(&numbers), ..self.options.how };
            let options = TextGenerationOptions { how, ..self.options.clone() };
            self.model.stream(&mut std::iter::once(prompt), &options, &mut |_, part| heard(part), &mut |_, _| Ok(()))
        })
    }

    fn json(&self, answers: &[Answer]) -> Value {
        let one = |answer: &Answer| {
            let mut value = json!(answer.generated);
            if self.args.generation.top_logprobs.is_some() {
                value["details"] = details(self.model.engine(), &[&answer.spoken]);
            }
            value
        };
        answers.iter().map(one).collect()
    }

    fn show(&self, answers: &[Answer], output: &mut Output) -> anyhow::Result<()> {
        for (place, answer) in answers.iter().enumerate() {
            if answers.len() > 1 {
                let score = answer.spoken.score.map(|score| format!("  {score:.4}")).unwrap_or_default();
                let head = output.faint(&format!("{}{score}", place + 1));
                output.line(&head)?;
            }
            match &answer.generated {
                Generated::Text { generated_text } => {
                    let given = generated_text.strip_suffix(&answer.new_text).unwrap_or_default();
                    let (given, new) = (output.faint(&output.said(given)), output.said(&answer.new_text));
                    output.line(&format!("{given}{new}"))?;
                }
                Generated::Chat { .. } => {
                    let new = output.said(&answer.new_text);
                    output.line(&new)?;
                }
                Generated::Tokens { generated_token_ids } => output.line(&format!("{generated_token_ids:?}"))?,
            }
        }
        Ok(())
    }
}
