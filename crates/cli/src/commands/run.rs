//! `ptm run`: the command of the task that a model is for.

use clap::Parser;
use ptm_tasks::Task;

use crate::args::{Arguments, Command, Run};
use crate::failure::hinted;
use crate::{hub, report};

/// The arguments of the command that `args` stand for.
///
/// # Errors
/// When the model can't be found or its task has no command.
pub fn arguments(args: &Run, outer: &Arguments) -> anyhow::Result<Arguments> {
    let dir = hub::resolve(&args.model, None, outer.quiet)?;
    let task = Task::of_dir(&dir)?;
    let command = command_of(task);
    if !outer.quiet {
        report::note(&format!("{}: {task}, as ptm {command}", args.model));
    }
    let words = ["ptm", command, "--model"].into_iter().map(str::to_owned);
    let all = words.chain([dir.display().to_string()]).chain(args.rest.iter().cloned());
    let mut inner = Arguments::try_parse_from(all).unwrap_or_else(|error| error.exit());
    if matches!(inner.command, Command::Run(_)) {
        return Err(hinted("a model's task cannot be run again", "name the command itself"));
    }
    inner.read_dash();
    inner.quiet |= outer.quiet;
    inner.verbose |= outer.verbose;
    Ok(inner)
}

fn command_of(task: Task) -> &'static str {
    match task {
        Task::FeatureExtraction => "embed",
        Task::FillMask => "fill-mask",
        Task::TextClassification => "classify",
        Task::NaturalLanguageInference => "nli",
        Task::ZeroShotClassification => "zero-shot",
        Task::Reranking => "rerank",
        Task::TokenClassification => "ner",
        Task::QuestionAnswering => "qa",
        Task::TextGeneration => "generate",
        Task::Text2TextGeneration | Task::Summarization => "summarize",
        Task::Translation => "translate",
    }
}
