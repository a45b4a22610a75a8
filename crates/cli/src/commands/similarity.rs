//! `ptm similarity`: how near texts are in meaning, by the cosine of their vectors.

use ptm_tasks::{Ranked, cosine, rank};

use crate::args::Similarity;
use crate::commands::embed::Model;
use crate::failure::hinted;
use crate::input::{self, Stream};
use crate::output::{Output, bar, one_line};

pub fn run(args: &Similarity, quiet: bool) -> anyhow::Result<()> {
    match (&args.query, args.texts.len()) {
        (Some(query), _) => ranked(args, query, quiet),
        (None, 0) => pairs(args, quiet),
        (None, 1) => Err(hinted(
            "one text alone has nothing to be compared with",
            "give a second one, or --query TEXT --file LINES to search in a file",
        )),
        (None, _) => compared(args, quiet),
    }
}

fn open(args: &Similarity, quiet: bool) -> anyhow::Result<Model> {
    Model::open(&args.model, &args.prompt, None, quiet)
}

fn stream(args: &Similarity, what: &str) -> anyhow::Result<Stream> {
    if args.stream.file.is_empty() { Stream::stdin(what) } else { Ok(Stream::files(&args.stream.file)) }
}

/// The first text against each of the others.
fn compared(args: &Similarity, quiet: bool) -> anyhow::Result<()> {
    let texts = input::checked(&args.texts)?;
    let vectors = open(args, quiet)?.embed(&texts)?;
    let mut output = Output::new();
    let (source, others) = (&vectors[0], &vectors[1..]);
    if args.stream.json {
        let scores: Vec<f32> = others.iter().map(|vector| cosine(source, vector)).collect();
        output.json(&scores)?;
    } else {
        for one in best(args, rank(source, others, &texts[1..])) {
            let text = if others.len() == 1 { String::new() } else { one_line(&one.text, 80) };
            show(&mut output, one.score, &text)?;
        }
    }
    Ok(output.flush()?)
}

/// A query against many lines.
fn ranked(args: &Similarity, query: &str, quiet: bool) -> anyhow::Result<()> {
    if query.trim().is_empty() {
        return Err(hinted("the query is empty", "give some words after --query"));
    }
    let candidates = if args.texts.is_empty() {
        let records = stream(args, "text to compare the query with")?.all()?;
        records.into_iter().map(|record| record.text(&args.stream.key)).collect::<anyhow::Result<Vec<_>>>()?
    } else {
        input::checked(&args.texts)?.into_iter().map(str::to_owned).collect()
    };
    if candidates.is_empty() {
        return Err(input::nothing("text"));
    }
    let texts: Vec<&str> = std::iter::once(query).chain(candidates.iter().map(String::as_str)).collect();
    let vectors = open(args, quiet)?.embed(&texts)?;
    let ranking = best(args, rank(&vectors[0], &vectors[1..], &texts[1..]));
    let mut output = Output::new();
    if args.stream.json {
        output.json(&ranking)?;
    } else {
        for one in ranking {
            show(&mut output, one.score, &one_line(&one.text, 120))?;
        }
    }
    Ok(output.flush()?)
}

/// Pairs from files or standard input: a score a line, as they come.
fn pairs(args: &Similarity, quiet: bool) -> anyhow::Result<()> {
    let mut stream = stream(args, "texts")?;
    let mut output = Output::new();
    let mut model: Option<Model> = None;
    while let Some(piece) = stream.piece()? {
        let pairs = piece.into_iter().map(input::Record::pair).collect::<anyhow::Result<Vec<_>>>()?;
        let model = match &mut model {
            Some(model) => model,
            empty => empty.insert(open(args, quiet)?),
        };
        let texts: Vec<&str> = pairs.iter().flat_map(|(a, b)| [a.as_str(), b.as_str()]).collect();
        for two in model.embed_counting(&texts, &mut |_| {})?.chunks_exact(2) {
            let score = cosine(&two[0], &two[1]);
            if args.stream.json {
                output.json(&score)?;
            } else {
                output.line(&format!("{score:.4}"))?;
            }
        }
        output.flush()?;
    }
    if model.is_none() { Err(input::nothing("pair of texts")) } else { Ok(()) }
}

fn best(args: &Similarity, mut ranking: Vec<Ranked>) -> Vec<Ranked> {
    ranking.truncate(args.top_k.count());
    ranking
}

fn show(output: &mut Output, score: f32, text: &str) -> std::io::Result<()> {
    let cells = output.faint(&bar(score));
    let line = format!("{score:>7.4} {cells} {text}");
    output.line(line.trim_end())
}
