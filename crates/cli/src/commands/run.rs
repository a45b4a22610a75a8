//! `ptm run`: the command of the task that a model is for.

use clap::error::{ContextKind, ErrorKind};
use ptm_tasks::Task;

use crate::args::{Arguments, Command, Run};
use crate::failure::hinted;
use crate::{hub, report};

/// The arguments of the command that `args` stand for.
///
/// # Errors
/// When the model can't be found or its task has no command.
pub fn arguments(args: &Run, outer: &Arguments) -> anyhow::Result<Arguments> {
    let by_variable = std::env::var("PTM_REVISION").ok().filter(|revision| !revision.is_empty());
    let revision = revision(&args.rest).map(str::to_owned).or(by_variable);
    hub::check_revision(revision.as_deref(), &[&args.model])?;
    let dir = hub::resolve(&args.model, revision.as_deref(), outer.quiet)?;
    let task = Task::of_dir(&dir)?;
    let read = |command: &str| {
        let words = ["ptm", command, "--model"].into_iter().map(str::to_owned);
        Arguments::read(words.chain([dir.display().to_string()]).chain(args.rest.iter().cloned()))
    };
    let command = command_of(task);
    let (command, read) = match read(command) {
        Ok(read) => (command, Ok(read)),
        // what these words are for another command of the model
        Err(error) => match other_of(task).map(|other| (other, read(other))) {
            Some((other, Ok(read))) => (other, Ok(read)),
            _ => (command, Err(error)),
        },
    };
    if !outer.quiet {
        report::note(&format!("{}: {task}, as ptm {command}", args.model));
    }
    let mut inner = read.map_err(|error| wrong(task, command, error))?;
    if matches!(inner.command, Command::Run(_)) {
        return Err(hinted("a model's task cannot be run again", "name the command itself"));
    }
    if let Some(own) = inner.command.application() {
        // the directory is that of the revision
        own.model.revision = None;
    }
    inner.quiet |= outer.quiet;
    inner.threads = inner.threads.or(outer.threads);
    Ok(inner)
}

/// What else a model of the task does: with texts alone where pairs are usual, and between languages.
fn other_of(task: Task) -> Option<&'static str> {
    match task {
        Task::NaturalLanguageInference | Task::Reranking => Some("classify"),
        Task::Text2TextGeneration => Some("translate"),
        _ => None,
    }
}

/// Texts where the task wants pairs: what it wants. Other usage, and help, is for the command to tell.
fn wrong(task: Task, command: &str, error: clap::Error) -> anyhow::Error {
    let wanted = match task {
        Task::QuestionAnswering => "--question and --context",
        Task::NaturalLanguageInference => "--premise and --hypothesis, or one text or more for their labels alone",
        _ => error.exit(),
    };
    if error.kind() != ErrorKind::UnknownArgument {
        error.exit();
    }
    let unknown = error.get(ContextKind::InvalidArg).map(ToString::to_string).unwrap_or_default();
    hinted(format!("{task} has no place for {unknown:?}"), format!("ptm {command} takes {wanted}; see its --help"))
}

/// The revision among a command's words: the model is looked at before the words are understood.
fn revision(words: &[String]) -> Option<&str> {
    let mut words = words.iter().take_while(|word| *word != "--");
    while let Some(word) = words.next() {
        if word == "--revision" {
            return words.next().map(String::as_str);
        }
        if let Some(revision) = word.strip_prefix("--revision=") {
            return Some(revision);
        }
    }
    None
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
        Task::TextGeneration | Task::Text2TextGeneration => "generate",
        Task::Summarization => "summarize",
        Task::Translation => "translate",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_revision_is_found_among_flags_alone() {
        let find = |words: &str| revision(&words.split(' ').map(str::to_owned).collect::<Vec<_>>()).map(str::to_owned);
        assert_eq!(find("a --revision v1 b").as_deref(), Some("v1"));
        assert_eq!(find("--json --revision=refs/pr/1").as_deref(), Some("refs/pr/1"));
        assert_eq!(find("-- --revision v1"), None);
        assert_eq!(find("a b"), None);
    }
}
