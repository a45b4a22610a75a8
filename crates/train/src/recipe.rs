//! Recipes: everything that determines a run, in TOML. Every key has a documented default except `task`, `model`,
//! `output` and `data.train`; unknown keys are refused. What ran is saved, with all defaults, in every checkpoint.

mod data;
mod overrides;
mod sections;

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

pub use data::{Data, MAX_TARGET};
pub(crate) use data::{list, take, take_paths};
pub use overrides::{difference, set};
pub use sections::{BatchConfig, CheckpointConfig, Evaluate, Log, Regularize, Run};

use crate::error::{Error, Result};
use crate::finetune::LossConfig;
use crate::optimizer::OptimizerConfig;
use crate::schedule::Schedule;
use crate::tune::Tune;

/// What is learnt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// One label of a text or pair (sentiment, topics, inference).
    Classification,
    /// Any of the labels.
    MultiLabel,
    /// A number.
    Regression,
    /// A label of each word (named entities, parts of speech).
    Tokens,
    /// Where a text answers a question, or that it doesn't.
    Questions,
    /// One of several continuations.
    Choice,
    /// A text from a text (translation, summaries), for encoder-decoders.
    TextToText,
    /// The next token, for decoders.
    LanguageModel,
}

impl Task {
    /// Its name in recipes and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Classification => "classification",
            Self::MultiLabel => "multi-label",
            Self::Regression => "regression",
            Self::Tokens => "tokens",
            Self::Questions => "questions",
            Self::Choice => "choice",
            Self::TextToText => "text-to-text",
            Self::LanguageModel => "language-model",
        }
    }

    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Classification,
        Self::MultiLabel,
        Self::Regression,
        Self::Tokens,
        Self::Questions,
        Self::Choice,
        Self::TextToText,
        Self::LanguageModel,
    ];
}

/// A run: the whole file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// What is learnt.
    pub task: Task,
    /// The model to begin with: a directory or an id of the hub.
    pub model: String,
    /// Where checkpoints, curves and the final model go.
    pub output: PathBuf,
    /// Decides the order of the data, dropout, and the weights of a new head. Default: 0.
    #[serde(default)]
    pub seed: u64,
    /// How long.
    #[serde(default)]
    pub run: Run,
    /// The optimizer.
    #[serde(default)]
    pub optimizer: OptimizerConfig,
    /// The schedule of its learning rate.
    #[serde(default)]
    pub schedule: Schedule,
    /// Batches.
    #[serde(default)]
    pub batch: BatchConfig,
    /// What is read.
    pub data: Data,
    /// Which parameters learn.
    #[serde(default)]
    pub tune: Tune,
    /// The loss.
    #[serde(default)]
    pub loss: LossConfig,
    /// What keeps the model from learning by heart.
    #[serde(default)]
    pub regularize: Regularize,
    /// Judging on the way.
    #[serde(default)]
    pub evaluate: Evaluate,
    /// What is kept.
    #[serde(default)]
    pub checkpoint: CheckpointConfig,
    /// What is told.
    #[serde(default)]
    pub log: Log,
}

impl Recipe {
    /// Reads a file, with `overrides` like `optimizer.lr=3e-5` over it.
    ///
    /// # Errors
    /// When it can't be read, a key is unknown, or a value can't work.
    pub fn read(path: &Path, overrides: &[String]) -> Result<Self> {
        Self::parse(&read_text(path)?, &path.display().to_string(), overrides)
    }

    /// The same of a text; errors call it `label`.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn parse(text: &str, label: &str, overrides: &[String]) -> Result<Self> {
        let recipe: Self = parse(text, label, overrides)?;
        recipe.check()?;
        Ok(recipe)
    }

    /// The recipe as text, with every default.
    pub fn to_text(&self) -> String {
        toml::to_string(self).unwrap_or_default()
    }

    /// Says which value can't work.
    ///
    /// # Errors
    /// When there is one.
    pub fn check(&self) -> Result<()> {
        self.optimizer.check()?;
        self.schedule.check()?;
        self.loss.check()?;
        let (run, regularize) = (&self.run, &self.regularize);
        let classes = matches!(self.task, Task::Classification | Task::Tokens | Task::Choice);
        let classifier = matches!(self.task, Task::Classification | Task::MultiLabel | Task::Regression);
        let plain = self.loss == LossConfig::default();
        let problems = [
            (!(run.epochs > 0.0 && run.epochs <= 1e6), "run.epochs", "should be above 0"),
            (run.steps == Some(0), "run.steps", "should be above 0"),
            (run.minutes.is_some_and(|m| !(m > 0.0 && m < 1e7)), "run.minutes", "should be above 0"),
            (!(0.0..f32::INFINITY).contains(&run.clip), "run.clip", "should be 0 (off) or more"),
            (!(0.0..1.0).contains(&run.average), "run.average", "should be from 0 (off) to below 1"),
            (!(0.0..=1.0).contains(&run.dropout_until), "run.dropout_until", "should be a share from 0 to 1"),
            (self.batch.size == Some(0), "batch.size", "should be above 0"),
            (self.batch.tokens == Some(0), "batch.tokens", "should be above 0"),
            (self.batch.size.is_some() && self.batch.tokens.is_some(), "batch", "give size or tokens, not both"),
            (!(1..=1 << 20).contains(&self.batch.accumulate), "batch.accumulate", "should be from 1 to 1048576"),
            (self.data.max_length == Some(0), "data.max_length", "should be above 0"),
            (self.data.max_target == 0, "data.max_target", "should be above 0"),
            (self.data.workers > 1024, "data.workers", "should be at most 1024"),
            (
                regularize.dropout.is_some_and(|d| !(0.0..1.0).contains(&d)),
                "regularize.dropout",
                "should be from 0 to below 1",
            ),
            (!(0.0..f32::INFINITY).contains(&regularize.r_drop), "regularize.r_drop", "should be 0 (off) or more"),
            (
                regularize.r_drop > 0.0 && !classes,
                "regularize.r_drop",
                "is for tasks with labels: classification, tokens, choice",
            ),
            (!(1..=64).contains(&regularize.dropouts), "regularize.dropouts", "should be from 1 to 64"),
            (regularize.dropouts > 1 && !classifier, "regularize.dropouts", "is for classifiers and regression"),
            (
                regularize.dropouts > 1 && regularize.r_drop > 0.0,
                "regularize.dropouts",
                "doesn't go together with r_drop",
            ),
            (!(0.0..f32::INFINITY).contains(&regularize.fgm), "regularize.fgm", "should be 0 (off) or more"),
            (
                !plain && !classes && self.task != Task::MultiLabel,
                "loss",
                "can be changed for classification, multi-label, tokens and choice only",
            ),
            (
                self.loss.class_weights.is_some() && self.task == Task::Choice,
                "loss.class_weights",
                "choices have no labels",
            ),
            (self.evaluate.every == Some(0), "evaluate.every", "should be above 0"),
            (self.evaluate.batch_tokens == 0, "evaluate.batch_tokens", "should be above 0"),
            (
                self.evaluate.patience > 0 && self.data.validation.is_empty(),
                "evaluate.patience",
                "needs data.validation",
            ),
            (self.checkpoint.every == Some(0), "checkpoint.every", "should be above 0"),
            (self.checkpoint.keep == 0, "checkpoint.keep", "should be above 0"),
            (self.log.every == 0, "log.every", "should be above 0"),
            (
                self.optimizer.lr().is_none() && self.schedule != Schedule::Constant { warmup: 0.0 },
                "schedule",
                "the relative step of adafactor has no schedule: give optimizer.lr, or schedule = { name = \"constant\" }",
            ),
        ];
        match problems.into_iter().find(|problem| problem.0) {
            Some((_, field, problem)) => Err(Error::recipe(field, problem)),
            None => self.tune.check(&self.optimizer),
        }
    }
}

/// A recipe's text.
pub(crate) fn read_text(path: &Path) -> Result<String> {
    // far more than a recipe has
    const MOST: u64 = 1 << 20;
    let failed = |source| Error::File { action: "read", path: path.to_owned(), source };
    if path.metadata().map_err(failed)?.len() > MOST {
        return Err(Error::recipe(path.display().to_string(), "larger than a recipe can be: is it another file?"));
    }
    std::fs::read_to_string(path).map_err(failed)
}

/// A recipe of whatever kind, with `overrides` over it; errors call it `label`.
pub(crate) fn parse<R: DeserializeOwned>(text: &str, label: &str, overrides: &[String]) -> Result<R> {
    let wrong = |error: toml::de::Error| {
        let line = error.span().map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        let place = line.map_or_else(|| label.to_owned(), |line| format!("{label}, line {line}"));
        Error::recipe(place, error.message())
    };
    let mut table: Table = toml::from_str(text).map_err(wrong)?;
    for (at, given) in overrides.iter().enumerate() {
        set(&mut table, given).map_err(|problem| Error::recipe(format!("--set {given}"), problem))?;
        let so_far: Result<R, _> = Value::Table(table.clone()).try_into();
        // the last one decides whether all of them are right, but the one that made it wrong is to be named
        let Err(error) = so_far else { continue };
        match toml::from_str::<R>(text) {
            // not what is set is wrong, but what is not
            Err(own) if at + 1 == overrides.len() && own.message() == error.message() => return Err(wrong(own)),
            Err(_) if at + 1 < overrides.len() => {}
            _ => return Err(Error::recipe(format!("--set {given}"), error.message())),
        }
    }
    match overrides {
        [] => toml::from_str(text).map_err(wrong),
        _ => Value::Table(table).try_into().map_err(|error: toml::de::Error| Error::recipe(label, error.message())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = "task = 'classification'\nmodel = 'm'\noutput = 'o'\n[data]\ntrain = 'a.jsonl'\n";

    fn parse(text: &str, overrides: &[&str]) -> Result<Recipe> {
        let overrides: Vec<String> = overrides.iter().map(|&o| o.to_owned()).collect();
        Recipe::parse(text, "r.toml", &overrides)
    }

    fn said(text: &str, overrides: &[&str]) -> String {
        parse(text, overrides).unwrap_err().to_string()
    }

    #[test]
    fn what_is_written_is_read_again() {
        let recipe = parse(LEAST, &[]).unwrap();
        assert_eq!(recipe.data.train, [PathBuf::from("a.jsonl")]);
        let text = recipe.to_text();
        assert_eq!(parse(&text, &[]).unwrap(), recipe, "{text}");
        let rich = format!(
            "{LEAST}columns.text = 'body'\nformat = 'csv'\n[optimizer]\nname = 'lion'\n[schedule]\nname = 'cosine'\n\
             [tune]\ntrain = 2\n[[tune.group]]\nnames = '*'\nlr = 0.5\n[loss]\nclass_weights = 'balanced'\n[run]\nminutes = 1.5\n"
        );
        let recipe = parse(&rich, &[]).unwrap();
        assert_eq!(recipe.data.options.columns.text.as_deref(), Some("body"));
        assert_eq!(parse(&recipe.to_text(), &[]).unwrap(), recipe, "{}", recipe.to_text());
    }

    #[test]
    fn unknown_keys_are_named_with_their_line() {
        let text = said(&format!("{LEAST}[batch]\nsise = 3\n"), &[]);
        assert!(text.contains("r.toml, line 7") && text.contains("sise") && text.contains("size"), "{text}");
        assert!(said(&format!("{LEAST}colums.text = 'x'\n"), &[]).contains("colums"));
        assert!(said(&format!("{LEAST}columns.txt = 'x'\n"), &[]).contains("txt"));
        assert!(said("task = 'x'", &[]).contains("classification"));
        assert!(said("task = 'tokens'\nmodel='m'\noutput='o'\n[data]\n", &[]).contains("train"));
    }

    #[test]
    fn overrides() {
        let recipe = parse(LEAST, &["optimizer.name=sgd", "optimizer.lr=0.5", "seed=7", "model=org/name"]).unwrap();
        assert_eq!((recipe.optimizer.lr(), recipe.seed, recipe.model.as_str()), (Some(0.5), 7, "org/name"));
        assert_eq!(
            parse(LEAST, &["tune.train=head"]).unwrap().tune.train,
            crate::tune::Train::Named(crate::tune::Named::Head)
        );
        assert_eq!(parse(LEAST, &["data.train=['x','y']"]).unwrap().data.train.len(), 2);
        let wrong = said(LEAST, &["batch.sice=2"]);
        assert!(wrong.contains("--set batch.sice=2") && wrong.contains("sice"), "{wrong}");
        assert!(said(LEAST, &["seed"]).contains("key=value"));
        assert!(said(LEAST, &["seed.x=1", "seed=2"]).contains("--set"));
    }

    #[test]
    fn values_that_cannot_work() {
        for (set, field) in [
            ("run.epochs=0", "run.epochs"),
            ("optimizer.lr=-1.0", "optimizer.lr"),
            ("optimizer.lr=nan", "optimizer.lr"),
            ("batch.size=0", "batch.size"),
            ("schedule.warmup=-1.0", "schedule.warmup"),
            ("loss.label_smoothing=1.0", "loss.label_smoothing"),
            ("optimizer.name=adafactor", "schedule"),
            ("schedule.name=constant,optimizer.name=adafactor,tune.layer_decay=0.9", "tune: the relative step"),
            (
                "schedule.name=constant,optimizer.name=adafactor,tune.group=[{names='*',lr=0.5}]",
                "tune: the relative step",
            ),
            ("regularize.dropout=1.0", "regularize.dropout"),
        ] {
            let sets: Vec<&str> =
                if set.contains('[') { set.splitn(3, ',').collect() } else { set.split(',').collect() };
            let said = said(LEAST, &sets);
            assert!(said.starts_with(field) || said.contains(field), "{set}: {said}");
        }
    }

    #[test]
    fn differences_are_named() {
        let (a, b) = (parse(LEAST, &[]).unwrap(), parse(LEAST, &["batch.size=4", "output=elsewhere"]).unwrap());
        let difference = |other: &Recipe| difference(&a.to_text(), &other.to_text());
        assert_eq!(difference(&b).as_deref(), Some("batch.size was not given, now it is 4"));
        assert_eq!(difference(&parse(LEAST, &["log.every=3", "data.workers=2"]).unwrap()), None);
        assert_eq!(difference(&parse(LEAST, &["run.gradient_checkpointing=true"]).unwrap()), None);
    }
}
