//! `ptm embed`: texts to vectors.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use ptm_tasks::{Effective, EmbedOptions, Embedder};

use super::config::print_effective;
use super::many::{Many, TOGETHER, answered, give_error, unwrapped};
use crate::args::{Embed, Given, KeepArgs, ModelArgs, PromptArgs};
use crate::failure::{Stopped, hinted};
use crate::input::{self, Stream};
use crate::output::{Output, one_line};
use crate::progress::{Progress, Unit};
use crate::vectors::VectorFile;
use crate::{hub, report, stop};

/// An embedder with what every call of it shares.
pub struct Model {
    embedder: Embedder,
    /// As the user calls it.
    pub name: String,
    options: EmbedOptions<'static>,
    quiet: bool,
}

impl Model {
    /// The built-in model, or the one that is asked for.
    pub fn open(
        model: &ModelArgs,
        prompt: &PromptArgs,
        normalize: Option<bool>,
        given: &Given,
        quiet: bool,
    ) -> anyhow::Result<Self> {
        Self::of(hub::model(model, given, quiet)?.as_deref(), model, prompt, normalize, quiet)
    }

    /// The built-in model, or that of the directory which `model` was found to be.
    pub fn of(
        dir: Option<&Path>,
        model: &ModelArgs,
        prompt: &PromptArgs,
        normalize: Option<bool>,
        quiet: bool,
    ) -> anyhow::Result<Self> {
        let embedder = dir.map_or_else(Embedder::embedded, Embedder::open)?;
        let name = model.model.clone().unwrap_or_else(|| embedder.name().to_owned());
        let options = EmbedOptions {
            normalize,
            prompt: prompt.prompt.clone(),
            prompt_name: prompt.prompt_name.clone(),
            batch_tokens: model.batch_tokens.map(Into::into),
            stop: None,
        };
        Ok(Self { embedder, name, options, quiet })
    }

    /// Numbers in a vector.
    pub fn dimension(&self) -> usize {
        self.embedder.dimension()
    }

    /// The parameters that count, each with its origin.
    pub fn effective(&self) -> anyhow::Result<Vec<Effective>> {
        Ok(self.embedder.effective(&self.options)?)
    }

    /// A vector a text, between two of which one may stop.
    pub fn vectors(
        &self,
        texts: &[&str],
        stop: &AtomicBool,
        count: &mut dyn FnMut(usize),
    ) -> ptm_tasks::Result<Vec<Vec<f32>>> {
        self.embedder.embed(texts, &EmbedOptions { stop: Some(stop), ..self.options.clone() }, count)
    }

    /// A vector a text.
    pub fn embed(&self, texts: &[&str]) -> anyhow::Result<Vec<Vec<f32>>> {
        let mut progress = Progress::new(Unit::Things("texts"), Some(texts.len() as u64), self.quiet);
        self.embed_counting(texts, &mut |done| progress.at(done as u64))
    }

    /// A vector a text; `count` hears how many are done.
    pub fn embed_counting(&self, texts: &[&str], count: &mut dyn FnMut(usize)) -> anyhow::Result<Vec<Vec<f32>>> {
        stop::computing(|stop| {
            self.vectors(texts, stop, count).map_err(|error| match error {
                ptm_tasks::Error::Stopped => Stopped.into(),
                other => other.into(),
            })
        })
    }
}

pub fn run(args: &Embed, quiet: bool) -> anyhow::Result<()> {
    let keep = KeepArgs { output: args.output.clone(), resume: args.resume, print_config: args.print_config };
    if args.output.is_some() {
        let why = "--output writes the vectors into a file";
        args.stream.given.refuse("json", why, "leave one of them out; a name that ends in .jsonl is a file of JSON")?;
    }
    if args.print_config {
        let model = Model::open(&args.model, &args.prompt, args.normalize, &args.stream.given, quiet)?;
        return print_effective(model.effective()?, &args.stream.given, args.stream.json);
    }
    if args.output.as_ref().is_some_and(|path| path.extension().is_some_and(|end| end == "jsonl")) {
        return lines(args, &keep, quiet);
    }
    let file = args.output.as_deref().map(VectorFile::new).transpose()?;
    if let (Some(file), true) = (&file, args.resume) {
        let problem = format!("{}: only a file of lines can be gone on with", file.path().display());
        return Err(hinted(problem, "name an --output that ends in .jsonl, or leave --resume out"));
    }
    let mut output = Output::new();
    let texts = input::checked(&args.texts, quiet)?;
    if let Some(stream) = keep.lines(&args.stream, !args.texts.is_empty(), "text")? {
        return streamed(args, stream, file.as_ref(), output, quiet);
    }
    let model = Model::open(&args.model, &args.prompt, args.normalize, &args.stream.given, quiet)?;
    let vectors = model.embed(&texts)?;
    if let Some(file) = file {
        return save(&file, &vectors, &model, quiet);
    }
    if args.stream.json {
        output.json(&vectors)?;
    } else {
        head(&mut output, &model)?;
        for (text, vector) in texts.iter().zip(&vectors) {
            show(&mut output, text, vector)?;
        }
    }
    Ok(output.flush()?)
}

/// A vector a line into a file, which a later run can go on with.
fn lines(args: &Embed, keep: &KeepArgs, quiet: bool) -> anyhow::Result<()> {
    let texts = input::checked(&args.texts, quiet)?;
    let stream = keep.lines(&args.stream, !args.texts.is_empty(), "text")?;
    let model = Model::open(&args.model, &args.prompt, args.normalize, &args.stream.given, quiet)?;
    let many = Many {
        stream: &args.stream,
        keep,
        quiet,
        what: "text",
        together: TOGETHER,
        read: &|_, record| record.text(&args.key.key),
        answer: &|texts: &[String], stop, given| {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let vectors = model.vectors(&texts, stop, &mut |done| given.computed(done))?;
            given.all(vectors.into_iter().map(Ok).collect())
        },
        show: &|output, text, vector| Ok(show(output, text, vector)?),
    };
    match stream {
        Some(stream) => many.lines(stream),
        None => many.arguments(&texts.into_iter().map(str::to_owned).collect::<Vec<_>>(), &unwrapped),
    }
}

/// Texts as they come in, vectors as they are done, or all of them into a file.
fn streamed(
    args: &Embed,
    mut stream: Stream,
    file: Option<&VectorFile>,
    mut output: Output,
    quiet: bool,
) -> anyhow::Result<()> {
    let mut progress = Progress::new(Unit::Things("texts"), None, quiet || file.is_none());
    let mut model: Option<Model> = None;
    let (mut kept, mut done) = (Vec::new(), 0);
    let (mut seen, mut failed) = (0, 0);
    while let Some(piece) = stream.lines()? {
        let texts: Vec<anyhow::Result<String>> =
            piece.into_iter().map(|record| record.and_then(|record| record.text(&args.key.key))).collect();
        // a file of vectors has no place for what went wrong
        let texts = if file.is_some() {
            texts.into_iter().collect::<anyhow::Result<Vec<_>>>()?.into_iter().map(Ok).collect()
        } else {
            texts
        };
        seen += texts.len();
        let model = match &mut model {
            Some(model) => model,
            empty => empty.insert(Model::open(&args.model, &args.prompt, args.normalize, &args.stream.given, quiet)?),
        };
        let readable: Vec<&str> = texts.iter().flatten().map(String::as_str).collect();
        let vectors = model.embed_counting(&readable, &mut |new| progress.at((done + new) as u64))?;
        done += readable.len();
        if file.is_some() {
            kept.extend(vectors);
            continue;
        }
        if done == readable.len() && done > 0 && !args.stream.json {
            head(&mut output, model)?;
        }
        let mut vectors = vectors.iter();
        for text in &texts {
            match text {
                Ok(text) => {
                    let Some(vector) = vectors.next() else { break };
                    if args.stream.json { output.json(vector)? } else { show(&mut output, text, vector)? }
                }
                Err(error) => {
                    failed += 1;
                    give_error(error, args.stream.json, &mut output)?;
                }
            }
        }
        output.flush()?;
    }
    drop(progress);
    match (model, file) {
        (None, _) => Err(input::nothing("text")),
        (Some(model), Some(file)) => save(file, &kept, &model, quiet),
        (Some(_), None) => answered(seen, failed, args.stream.json),
    }
}

fn save(file: &VectorFile, vectors: &[Vec<f32>], model: &Model, quiet: bool) -> anyhow::Result<()> {
    file.write(vectors, model.dimension())?;
    if !quiet {
        let (count, dimension) = (vectors.len(), model.dimension());
        report::note(&format!("{}: {count} × {dimension} numbers written", file.path().display()));
    }
    Ok(())
}

fn head(output: &mut Output, model: &Model) -> std::io::Result<()> {
    let line = output.faint(&format!("{} · {} numbers a text", model.name, model.dimension()));
    output.line(&line)
}

/// The first numbers, the length, the text.
fn show(output: &mut Output, text: &str, vector: &[f32]) -> std::io::Result<()> {
    let first: Vec<String> = vector.iter().take(4).map(|x| format!("{x:+.4}")).collect();
    let more = if vector.len() > 4 { " …" } else { "" };
    let length = vector.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt();
    let norm = output.faint(&format!("norm {length:.4}"));
    output.line(&format!("{}{more}  {norm}  {}", first.join(" "), one_line(text, 60)))
}
