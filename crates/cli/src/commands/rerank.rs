//! `ptm rerank`: texts by how well they answer a query, read with it or by their vectors.

use ptm_tasks::{Ranked, RerankOptions, Reranker, Task, rank};

use super::embed::Model;
use super::heads::print_config;
use crate::args::{PromptArgs, Rerank};
use crate::failure::{Stopped, hinted};
use crate::input::{self, Stream};
use crate::output::{Output, bar, one_line};
use crate::progress::{Progress, Unit};
use crate::{hub, stop};

pub fn run(args: &Rerank, quiet: bool) -> anyhow::Result<()> {
    let query = args.query.as_deref().unwrap_or_default();
    if query.trim().is_empty() && !args.print_config {
        return Err(hinted("the query is empty", "give some words after --query"));
    }
    let texts: Vec<String> = if args.print_config {
        Vec::new()
    } else if args.texts.is_empty() {
        let what = "text to compare the query with";
        let stream = if args.stream.file.is_empty() { Stream::stdin(what)? } else { Stream::files(&args.stream.file) };
        let records = stream.all()?;
        records.into_iter().map(|record| record.text(&args.stream.key)).collect::<anyhow::Result<Vec<_>>>()?
    } else {
        input::checked(&args.texts)?.into_iter().map(str::to_owned).collect()
    };
    if texts.is_empty() && !args.print_config {
        return Err(input::nothing("text"));
    }
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let directory = match &args.model.model {
        Some(wanted) => Some(hub::resolve(wanted, args.model.revision.as_deref(), quiet)?),
        None => None,
    };
    let reads_both = match &directory {
        Some(directory) => match Task::of_dir(directory)? {
            Task::Reranking => true,
            Task::FeatureExtraction | Task::FillMask => false,
            other => {
                return Err(hinted(
                    format!("{}: this is a model for {other}", directory.display()),
                    "reranking needs a model with one label, or one that gives vectors",
                ));
            }
        },
        None => false,
    };
    let mut ranking = match directory.filter(|_| reads_both) {
        Some(directory) => {
            let model = Reranker::open(&directory)?;
            let options = RerankOptions {
                function_to_apply: args.function_to_apply.map(Into::into),
                batch_tokens: args.model.batch_tokens.map(Into::into),
                stop: None,
            };
            if args.print_config {
                return print_config(&model.effective(&options)?, args.stream.json);
            }
            let mut progress = Progress::new(Unit::Things("texts"), Some(texts.len() as u64), quiet);
            stop::computing(|stop| {
                let options = RerankOptions { stop: Some(stop), ..options.clone() };
                model.rank(query, &texts, &options, &mut |done| progress.at(done as u64)).map_err(|error| match error {
                    ptm_tasks::Error::Stopped => Stopped.into(),
                    other => other.into(),
                })
            })?
        }
        None if args.print_config => return print_config(&[], args.stream.json),
        None if args.function_to_apply.is_some() => {
            return Err(hinted(
                "--function-to-apply is for models that read query and text together, this one gives vectors",
                "leave it out, or name a model with one label",
            ));
        }
        None => by_vectors(args, query, &texts, quiet)?,
    };
    ranking.truncate(args.top_k.count());
    let mut output = Output::new();
    if args.stream.json {
        output.json(&ranking)?;
    } else {
        for one in &ranking {
            let cells = output.faint(&bar(one.score));
            output.line(&format!("{:>7.4} {cells} {}", one.score, one_line(&one.text, 120)))?;
        }
    }
    Ok(output.flush()?)
}

fn by_vectors(args: &Rerank, query: &str, texts: &[&str], quiet: bool) -> anyhow::Result<Vec<Ranked>> {
    let model = Model::open(&args.model, &PromptArgs { prompt: None, prompt_name: None }, None, quiet)?;
    let all: Vec<&str> = std::iter::once(query).chain(texts.iter().copied()).collect();
    let vectors = model.embed(&all)?;
    Ok(rank(&vectors[0], &vectors[1..], texts))
}
