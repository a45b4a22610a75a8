//! `ptm generate`: what a language model goes on with.

use ptm_tasks::generation::{Generate as How, TextStream};
use ptm_tasks::{Answer, Generated, Message, Prompt, Task, TextGeneration, TextGenerationOptions};
use serde::Serialize;
use serde_json::{Value, json};

use super::generation::{TOGETHER, constraint, details, draft, print_config, values};
use super::many::{Flow, Many, through, unwrapped};
use super::reply;
use crate::args::{Generate, ReplyArgs};
use crate::failure::{Stopped, hinted, said as said_of};
use crate::input::{self, Content, Record, Stream};
use crate::output::Output;
use crate::{hub, report, stop};

pub fn run(args: &Generate, quiet: bool) -> anyhow::Result<()> {
    let Some(wanted) = &args.model.model else {
        return Err(hinted(
            "no model for generate is built in",
            "name one with --model (or PTM_MODEL): a directory with config.json, weights and tokenizer, or an id of the \
             hub such as openai-community/gpt2",
        ));
    };
    let arguments = input::checked(&args.texts)?;
    let from_lines = args.texts.is_empty() && !args.keep.print_config;
    let stream = from_lines.then(|| Many::<Numbered, Told>::stream(&args.stream, "text")).transpose()?;
    let dir = hub::resolve(wanted, args.model.revision.as_deref(), quiet)?;
    if matches!(Task::of_dir(&dir)?, Task::Text2TextGeneration | Task::Summarization | Task::Translation) {
        return answered_by_another(args, quiet);
    }
    let model = TextGeneration::open(&dir)?;
    let settings = values(&args.generation, model.engine())?;
    let layers = model.layers(&settings)?;
    let mut output = Output::new();
    if args.keep.print_config {
        return print_config(&mut output, &layers, args.prefix.as_deref(), args.stream.json);
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
        how,
        ..TextGenerationOptions::default()
    };
    let run = Run { args, model: &model, options };
    let chat = |text: &str| vec![Message { role: "user".into(), content: text.to_owned() }];
    let prompt = |text: &str| if args.chat { Prompt::Chat(chat(text)) } else { Prompt::from(text) };
    let prompts: Vec<Numbered> = (0..).zip(arguments.into_iter().map(prompt)).collect();
    if args.live {
        return run.all_live(prompts, stream, &mut output);
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
        read: &|number, record| Ok((number, run.prompt(record)?)),
        answer: &|prompts: &[Numbered], stop, given| through(flow, prompts, stop, given),
        show: &|output, _, told: &Told| run.show(&told.answers, output),
    };
    match stream {
        Some(stream) => many.flowing(stream, flow),
        None => many.arguments(&prompts, &unwrapped),
    }
}

/// An encoder-decoder doesn't go on with a text: it answers with another.
fn answered_by_another(args: &Generate, quiet: bool) -> anyhow::Result<()> {
    let flags = [("--stream", args.live), ("--chat", args.chat), ("--no-full-text", args.no_full_text)];
    if let Some((flag, _)) = flags.iter().find(|(_, given)| *given) {
        return Err(hinted(
            format!("{flag} is for models that go on with a text, and this one answers with another"),
            "leave it out",
        ));
    }
    let reply = ReplyArgs { prefix: args.prefix.clone(), truncate: args.truncate };
    reply::text2text(args, &reply, quiet)
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
        let key = &self.args.stream.key;
        if let Content::Object(object) = &record.content
            && let Some(list @ Value::Array(_)) = object.get(key)
        {
            let place = &record.place;
            let messages: Vec<Message> = serde_json::from_value(list.clone()).map_err(|error| {
                hinted(format!("{place}: {key:?} is no chat: {error}"), "give [{\"role\": …, \"content\": …}, …]")
            })?;
            return Ok(Prompt::Chat(messages));
        }
        let text = record.text(key)?;
        Ok(if self.args.chat {
            Prompt::Chat(vec![Message { role: "user".into(), content: text }])
        } else {
            Prompt::Text(text)
        })
    }

    /// The prompts one after the other, each shown while it is continued.
    fn all_live(&self, prompts: Vec<Numbered>, stream: Option<Stream>, output: &mut Output) -> anyhow::Result<()> {
        for (number, prompt) in prompts {
            self.live(number, prompt, output)?;
        }
        let Some(mut stream) = stream else { return Ok(()) };
        let (mut number, mut failed) = (0, 0);
        while let Some(piece) = stream.lines()? {
            for record in piece {
                let said = record.and_then(|record| self.prompt(record)).and_then(|p| self.live(number, p, output));
                if let Err(error) = said {
                    if error.is::<Stopped>() {
                        return Err(error);
                    }
                    output.flush()?;
                    report::error(&said_of(&error));
                    failed += 1;
                }
                number += 1;
            }
        }
        match (number, failed) {
            (0, _) => Err(input::nothing("text")),
            (_, 0) => Ok(()),
            _ => Err(anyhow::anyhow!("{failed} of {number} inputs could not be answered")),
        }
    }

    /// One prompt, shown while it is continued.
    fn live(&self, number: u64, prompt: Prompt, output: &mut Output) -> anyhow::Result<()> {
        let tokenizer = self.model.engine().tokenizer().expect("it was opened with one");
        if let (Prompt::Text(text), true) = (&prompt, self.options.full_text) {
            let text = output.faint(&output.said(text));
            output.part(&text)?;
        }
        output.flush()?;
        let mut shown = TextStream::new(tokenizer);
        let mut tokens: Vec<u32> = Vec::new();
        let mut failed = None;
        let mut answers = Vec::new();
        let result = stop::computing(|stop| {
            let numbers = [number];
            let how = How { stop: Some(stop), numbers: Some(&numbers), ..self.options.how };
            let options = TextGenerationOptions { how, ..self.options.clone() };
            let mut said = |_: usize, said: &[u32]| {
                tokens = said.to_vec();
                let more = shown.more(said);
                if failed.is_none() && !more.is_empty() {
                    let more = output.said(&more);
                    failed = output.part(&more).and_then(|()| output.flush()).err();
                    if failed.is_some() {
                        // whoever reads has gone: there is no use in going on
                        stop.store(true, std::sync::atomic::Ordering::SeqCst);
                    }
                }
            };
            let mut done = |_: usize, found: Vec<Answer>| {
                answers = found;
                Ok(())
            };
            self.model.run(&mut std::iter::once(prompt), &options, Some(&mut said), &mut done).map_err(stopped)
        });
        if let Some(error) = failed {
            return Err(error.into());
        }
        result?;
        if let [answer] = &answers[..] {
            if tokens.is_empty() {
                // a search says nothing before its end
                let text = output.said(&answer.new_text);
                output.part(&text)?;
            } else {
                let rest = output.said(&shown.rest(&answer.spoken.tokens));
                output.part(&rest)?;
            }
            output.line("")?;
        } else {
            self.show(&answers, output)?;
        }
        Ok(output.flush()?)
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

fn stopped(error: ptm_tasks::Error) -> anyhow::Error {
    match error {
        ptm_tasks::Error::Stopped => Stopped.into(),
        other => other.into(),
    }
}
