//! `ptm rerank`: texts by how well they answer a query, read with it or by their vectors.

use ptm_tasks::{RerankOptions, Reranker, Task};

use super::config::{Parameter, print};
use super::embed::Model;
use super::ranking::Ranking;
use crate::args::{PromptArgs, Rerank};
use crate::failure::hinted;
use crate::{hub, input};

pub fn run(args: &Rerank, quiet: bool) -> anyhow::Result<()> {
    let query = args.query.as_deref().unwrap_or_default();
    if query.trim().is_empty() && !args.keep.print_config {
        return Err(hinted("the query is empty", "give some words after --query"));
    }
    let given = &args.stream.given;
    let ranking = Ranking { stream: &args.stream, key: &args.key, keep: &args.keep, top_k: args.top_k, quiet };
    ranking.check()?;
    let texts = input::checked(&args.texts, quiet)?;
    let stream = args.keep.lines(&args.stream, !args.texts.is_empty(), "text to compare the query with")?;
    let directory = hub::model(&args.model, given, quiet)?;
    let print_all = |mut all: Vec<Parameter>| {
        all.push(ranking.top_k());
        print(&all, given, args.stream.json)
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
    if let Some(directory) = directory.as_ref().filter(|_| reads_both) {
        let model = Reranker::open(directory)?;
        let options = RerankOptions {
            function_to_apply: args.function_to_apply.map(Into::into),
            batch_tokens: args.model.batch_tokens.map(Into::into),
            stop: None,
        };
        if args.keep.print_config {
            return print_all(model.effective(&options)?.into_iter().map(Into::into).collect());
        }
        return ranking.run(&texts, stream, &|texts, stop, progress| {
            model.score(query, texts, &RerankOptions { stop: Some(stop), ..options.clone() }, progress)
        });
    }
    let why = "it is for models that read query and text together, this one gives vectors";
    given.refuse("function_to_apply", why, "leave it out, or name a model with one label")?;
    let prompt = PromptArgs { prompt: None, prompt_name: None };
    let model = Model::of(directory.as_deref(), &args.model, &prompt, None, quiet)?;
    if args.keep.print_config {
        return print_all(model.effective()?.into_iter().map(Into::into).collect());
    }
    ranking.by_vectors(query, &model, &texts, stream)
}
