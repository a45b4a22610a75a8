//! `ptm embed --tokens`: texts to a vector for each of their tokens.

use ptm_tasks::{FeatureExtraction, FeatureExtractionOptions, Features};

use super::config;
use super::many::{Many, TOGETHER, unwrapped};
use crate::args::{Embed, KeepArgs};
use crate::output::{Output, one_line};
use crate::{hub, input};

pub fn run(args: &Embed, quiet: bool) -> anyhow::Result<()> {
    for option in ["normalize", "output", "resume", "prompt", "prompt_name"] {
        let why = "--tokens gives the vectors of tokens as the model has them, on standard output";
        args.stream.given.refuse(option, why, "leave it or --tokens out")?;
    }
    let texts = input::checked(&args.texts, quiet)?;
    let keep = KeepArgs { print_config: args.print_config, ..KeepArgs::default() };
    let stream = keep.lines(&args.stream, !args.texts.is_empty(), "text")?;
    let model = match hub::model(&args.model, &args.stream.given, quiet)? {
        Some(dir) => FeatureExtraction::open(&dir)?,
        None => FeatureExtraction::embedded()?,
    };
    if args.print_config {
        return config::print(&[], &args.stream.given, args.stream.json);
    }
    let options =
        FeatureExtractionOptions { batch_tokens: args.model.batch_tokens.map(Into::into), ..Default::default() };
    let many = Many {
        stream: &args.stream,
        keep: &keep,
        quiet,
        what: "text",
        together: TOGETHER,
        read: &|_, record| record.text(&args.key.key),
        answer: &|texts: &[String], stop, given| {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let options = FeatureExtractionOptions { stop: Some(stop), ..options.clone() };
            let answers = model.extract(&texts, &options, &mut |done| given.computed(done))?;
            given.all(answers)
        },
        show: &|output, _, features| Ok(show(output, features)?),
    };
    match stream {
        Some(stream) => many.lines(stream),
        None => many.arguments(&texts.into_iter().map(str::to_owned).collect::<Vec<_>>(), &unwrapped),
    }
}

/// A token a line, with its first numbers.
fn show(output: &mut Output, features: &Features) -> std::io::Result<()> {
    let tokens: Vec<String> = features.tokens.iter().map(|token| one_line(token, 30)).collect();
    let width = tokens.iter().map(|token| token.chars().count()).max().unwrap_or(0);
    for (token, vector) in tokens.iter().zip(&features.vectors) {
        let pad = " ".repeat(width - token.chars().count());
        let first: Vec<String> = vector.iter().take(4).map(|x| format!("{x:+.4}")).collect();
        let more = if vector.len() > 4 { " …" } else { "" };
        let strong = output.strong(token);
        output.line(&format!("{strong}{pad}  {}{more}", first.join(" ")))?;
    }
    Ok(())
}
