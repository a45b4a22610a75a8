//! `ptm similarity`: how near texts are in meaning, by the cosine of their vectors.

use ptm_tasks::{cosine, rank};
use serde_json::Value;

use super::config::{Parameter, print};
use super::embed::Model;
use super::many::{Many, TOGETHER};
use super::ranking::{Ranking, show};
use crate::args::{Similarity, TopK};
use crate::failure::hinted;
use crate::input::{self, Stream};
use crate::output::{Output, one_line};

pub fn run(args: &Similarity, quiet: bool) -> anyhow::Result<()> {
    let given = &args.stream.given;
    let are_arguments = !args.texts.is_empty();
    let refuse = |option, why, instead| given.refuse(option, why, instead);
    if args.keep.print_config {
        let model = open(args, quiet)?;
        let mut all: Vec<Parameter> = model.effective()?.into_iter().map(Into::into).collect();
        all.push(ranking(args, quiet).top_k());
        return print(&all, given, args.stream.json);
    }
    if let Some(query) = &args.query {
        return ranked(args, query, quiet);
    }
    if !are_arguments {
        refuse("top_k", "pairs are not ranked", "leave it out, or rank texts by --query")?;
        refuse("key", "pairs are read under \"a\" and \"b\"", "leave it out, or compare texts with --query")?;
        let stream = args.keep.pairs(&args.stream, false, "pair of texts")?;
        return stream.map_or(Ok(()), |stream| pairs(args, stream, quiet));
    }
    if args.stream.json || args.keep.output.is_some() {
        let why = "all scores are given, in the order of the texts";
        refuse("top_k", why, "leave it out, or rank the texts by --query")?;
    }
    if args.texts.len() == 1 {
        return Err(hinted(
            "one text alone has nothing to be compared with",
            "give a second one, or --query TEXT --file LINES to search in a file",
        ));
    }
    args.keep.lines(&args.stream, true, "text")?;
    compared(args, quiet)
}

fn open(args: &Similarity, quiet: bool) -> anyhow::Result<Model> {
    Model::open(&args.model, &args.prompt, None, &args.stream.given, quiet)
}

/// The first text against each of the others.
fn compared(args: &Similarity, quiet: bool) -> anyhow::Result<()> {
    let texts = input::checked(&args.texts, quiet)?;
    let model = open(args, quiet)?;
    if args.keep.output.is_some() {
        let source = model.embed(&texts[..1])?.remove(0);
        let many = Many {
            stream: &args.stream,
            keep: &args.keep,
            quiet,
            what: "text",
            together: TOGETHER,
            read: &|_, record| record.text(&args.key.key),
            answer: &|texts: &[String], stop, given| {
                let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
                let vectors = model.vectors(&texts, stop, &mut |done| given.computed(done))?;
                given.all(vectors.iter().map(|vector| Ok(cosine(&source, vector))).collect())
            },
            show: &|output, _, score: &f32| Ok(output.line(&format!("{score:.4}"))?),
        };
        let others: Vec<String> = texts[1..].iter().map(|&text| text.to_owned()).collect();
        return many.arguments(&others, &Value::Array);
    }
    let vectors = model.embed(&texts)?;
    let mut output = Output::new();
    let (source, others) = (&vectors[0], &vectors[1..]);
    if args.stream.json {
        let scores: Vec<f32> = others.iter().map(|vector| cosine(source, vector)).collect();
        output.answer(&scores)?;
    } else {
        let best = args.top_k.map_or(usize::MAX, TopK::count);
        for mut one in rank(source, others, &texts[1..]).into_iter().take(best) {
            one.text = if others.len() == 1 { String::new() } else { one_line(&one.text, 80) };
            show(&mut output, &one)?;
        }
    }
    Ok(output.flush()?)
}

/// A query against many texts.
fn ranked(args: &Similarity, query: &str, quiet: bool) -> anyhow::Result<()> {
    if query.trim().is_empty() {
        return Err(hinted("the query is empty", "give some words after --query"));
    }
    let ranking = ranking(args, quiet);
    ranking.check()?;
    let texts = input::checked(&args.texts, quiet)?;
    let stream = args.keep.lines(&args.stream, !args.texts.is_empty(), "text to compare the query with")?;
    let model = open(args, quiet)?;
    ranking.by_vectors(query, &model, &texts, stream)
}

fn ranking(args: &Similarity, quiet: bool) -> Ranking<'_> {
    Ranking { stream: &args.stream, key: &args.key, keep: &args.keep, top_k: args.top_k, quiet }
}

/// Pairs from files or standard input: a score a line, as they come.
fn pairs(args: &Similarity, stream: Stream, quiet: bool) -> anyhow::Result<()> {
    let model = open(args, quiet)?;
    let many = Many {
        stream: &args.stream,
        keep: &args.keep,
        quiet,
        what: "pair of texts",
        together: TOGETHER,
        read: &|_, record| record.pair(),
        answer: &|pairs: &[(String, String)], stop, given| {
            let texts: Vec<&str> = pairs.iter().flat_map(|(a, b)| [a.as_str(), b.as_str()]).collect();
            let vectors = model.vectors(&texts, stop, &mut |done| given.computed(done / 2))?;
            given.all(vectors.chunks_exact(2).map(|two| Ok(cosine(&two[0], &two[1]))).collect())
        },
        show: &|output, _, score: &f32| Ok(output.line(&format!("{score:.4}"))?),
    };
    many.lines(stream)
}
