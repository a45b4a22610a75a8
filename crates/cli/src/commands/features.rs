//! `ptm embed --tokens`: texts to a vector for each of their tokens.

use ptm_tasks::{FeatureExtraction, FeatureExtractionOptions, Features};

use super::many::{Many, TOGETHER, unwrapped};
use crate::args::{Embed, KeepArgs};
use crate::output::{Output, one_line};
use crate::{hub, input};

pub fn run(args: &Embed, quiet: bool) -> anyhow::Result<()> {
    let texts = input::checked(&args.texts)?;
    let stream = args.texts.is_empty().then(|| Many::<String, Features>::stream(&args.stream, "text")).transpose()?;
    let model = match &args.model.model {
        Some(wanted) => FeatureExtraction::open(&hub::resolve(wanted, args.model.revision.as_deref(), quiet)?)?,
        None => FeatureExtraction::embedded()?,
    };
    let options =
        FeatureExtractionOptions { batch_tokens: args.model.batch_tokens.map(Into::into), ..Default::default() };
    let many = Many {
        stream: &args.stream,
        keep: &KeepArgs::default(),
        quiet,
        what: "text",
        together: TOGETHER,
        read: &|_, record| record.text(&args.stream.key),
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
