//! A model's answers to labelled rows, for every task, and what is made of them.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use ptm_text::dataset::Options;
use serde_json::{Map, Value};

use super::candidate::Candidate;
use super::foretold::Texts;
use super::report::samples;
use super::rows::Run;
use super::{Answers, Classes, Comparison, Generated, LabelSets, Ratings, Report, ReportOptions, Tags, compare};
use crate::recipe::Task;
use crate::{Error, Result};

/// How a model is evaluated.
#[derive(Clone, Debug)]
pub struct EvaluateOptions<'a> {
    /// How the files are read.
    pub data: Options,
    /// At most so many rows, the first. Default: all.
    pub limit: Option<usize>,
    /// Longer texts are cut. Default: what the model reads, 512 where nothing limits it.
    pub max_length: Option<usize>,
    /// Tokens of a batch. Default: 4096.
    pub batch_tokens: usize,
    /// Labels of at least this probability are given, where several may hold. Default: 0.5.
    pub label_threshold: f32,
    /// Questions stay unanswered where no answer is better by more than this. Default: 0 where the data holds
    /// questions without an answer; otherwise all are answered.
    pub null_threshold: Option<f64>,
    /// Put before every text that another is written from. Default: what the model's files say.
    pub prefix: Option<String>,
    /// Values of the generation, as `ptm_tasks` takes them.
    pub generation: Map<String, Value>,
    /// Set by the caller to stop between batches.
    pub stop: Option<&'a AtomicBool>,
}

impl Default for EvaluateOptions<'_> {
    fn default() -> Self {
        Self {
            data: Options::default(),
            limit: None,
            max_length: None,
            batch_tokens: 4096,
            label_threshold: 0.5,
            null_threshold: None,
            prefix: None,
            generation: Map::new(),
            stop: None,
        }
    }
}

/// Gold and predictions of any task.
#[derive(Clone, Debug, PartialEq)]
pub enum Predictions {
    /// Labels, and choices.
    Classes(Classes),
    /// Any number of labels.
    LabelSets(LabelSets),
    /// Numbers.
    Ratings(Ratings),
    /// Tags of words.
    Tags(Tags),
    /// Answers to questions.
    Answers(Answers),
    /// Texts that were written.
    Generated(Box<Generated>),
    /// Texts that were foretold.
    Texts(Texts),
}

/// What came of an evaluation.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// Gold and predictions.
    pub predictions: Predictions,
    /// What was read, one a row: its first thousand characters.
    pub texts: Vec<String>,
    /// Its length in tokens before it was cut or divided.
    pub lengths: Vec<usize>,
    /// How many rows were cut because they were too long.
    pub truncated: usize,
}

impl Evaluation {
    /// Its report.
    pub fn report(&self, options: &ReportOptions) -> Report {
        let (texts, lengths) = (&self.texts[..], &self.lengths[..]);
        match &self.predictions {
            Predictions::Classes(found) => Report::new(found, texts, lengths, options),
            Predictions::LabelSets(found) => Report::new(found, texts, lengths, options),
            Predictions::Ratings(found) => Report::new(found, texts, lengths, options),
            Predictions::Tags(found) => Report::new(found, texts, lengths, options),
            Predictions::Answers(found) => Report::new(found, texts, lengths, options),
            Predictions::Generated(found) => Report::new(&**found, texts, lengths, options),
            Predictions::Texts(found) => Report::new(found, texts, lengths, options),
        }
    }

    /// For each metric of the report its values on the bootstrap's samples of rows. Models that were judged on the same
    /// rows with the same options have the same samples.
    pub fn samples(&self, options: &ReportOptions) -> Vec<Vec<f64>> {
        match &self.predictions {
            Predictions::Classes(found) => samples(found, options),
            Predictions::LabelSets(found) => samples(found, options),
            Predictions::Ratings(found) => samples(found, options),
            Predictions::Tags(found) => samples(found, options),
            Predictions::Answers(found) => samples(found, options),
            Predictions::Generated(found) => samples(&**found, options),
            Predictions::Texts(found) => samples(found, options),
        }
    }

    /// `other`, of the same rows, against this one, metric by metric.
    ///
    /// # Errors
    /// When the two are not of the same rows and task.
    pub fn compare(&self, other: &Self, rounds: usize, seed: u64) -> Result<Vec<Comparison>> {
        use Predictions as P;
        if self.texts != other.texts {
            return Err(Error::Input("the two models were not given the same rows".into()));
        }
        Ok(match (&self.predictions, &other.predictions) {
            (P::Classes(a), P::Classes(b)) => compare(a, b, rounds, seed),
            (P::LabelSets(a), P::LabelSets(b)) => compare(a, b, rounds, seed),
            (P::Ratings(a), P::Ratings(b)) => compare(a, b, rounds, seed),
            (P::Tags(a), P::Tags(b)) => compare(a, b, rounds, seed),
            (P::Answers(a), P::Answers(b)) => compare(a, b, rounds, seed),
            (P::Generated(a), P::Generated(b)) => compare(&**a, &**b, rounds, seed),
            (P::Texts(a), P::Texts(b)) => compare(a, b, rounds, seed),
            _ => return Err(Error::Input("the two models were taught different tasks".into())),
        })
    }
}

/// Hears how many of how many texts or windows are done.
pub type Heard<'a> = &'a mut dyn FnMut(usize, usize);

/// Evaluates `model` on the rows of `paths`, which are read a stretch at a time: what is kept of a row is its gold and
/// its prediction, and the beginning of its text. `dir` is the directory that the model was opened from.
///
/// # Errors
/// When data and model don't fit each other, a row is wrong or has no label, the model gives numbers that are not
/// finite, or the caller asked to stop.
pub fn evaluate(
    model: &Candidate,
    dir: &std::path::Path,
    paths: &[PathBuf],
    options: &EvaluateOptions<'_>,
    heard: Heard<'_>,
) -> Result<Evaluation> {
    let max_length = options.max_length.unwrap_or(model.longest);
    if max_length > model.longest || max_length < 8 {
        let problem = format!("max_length {max_length}: the model reads 8 to {} tokens", model.longest);
        return Err(Error::Input(problem));
    }
    if options.prefix.is_some() && model.task != Task::TextToText {
        let problem = format!("a prefix is for models that write texts; this one was taught {}", model.task.name());
        return Err(Error::Input(problem));
    }
    let run = Run { model, paths, options, max_length };
    match model.task {
        Task::Classification => run.classes(heard),
        Task::MultiLabel => run.label_sets(heard),
        Task::Regression => run.ratings(heard),
        Task::Tokens => run.tags(heard),
        Task::Questions => run.answers(heard),
        Task::Choice => run.choices(heard),
        Task::TextToText => run.generated(dir, heard),
        Task::LanguageModel => run.foretold(heard),
    }
}
