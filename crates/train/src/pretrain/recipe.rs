//! Recipes of pretraining, in TOML: what is learnt from which text by which model. Every key has a documented default
//! except `output`, `model`, `corpus.packed` and `optimizer`; unknown keys are refused. The tables that every kind of run
//! has are those of fine-tuning.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use toml::Value;

use crate::courses::{Course, Courses};
use crate::error::{Error, Result};
use crate::objectives::ObjectiveConfig;
use crate::optimizer::OptimizerConfig;
use crate::recipe::{self, CheckpointConfig, Evaluate, Log, Run};
use crate::schedule::Schedule;
use crate::tune::Tune;

/// A run: the whole file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Where checkpoints, curves and the final model go.
    pub output: PathBuf,
    /// Decides fresh weights, the order of the text, its corruption and dropout. Default: 0.
    #[serde(default)]
    pub seed: u64,
    /// The model.
    pub model: ModelConfig,
    /// What is learnt. Default: what the model's family was trained by; of encoders but ELECTRA masked tokens alone, since
    /// not every text has the pairs that BERT learns beside them, or a lexicon as for ERNIE.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objective: Option<ObjectiveConfig>,
    /// The text.
    pub corpus: CorpusConfig,
    /// How much of it a step sees.
    #[serde(default)]
    pub batch: Batches,
    /// How long.
    #[serde(default)]
    pub run: Run,
    /// The optimizer. It has no default: what is right for pretraining depends on the model and the batch.
    pub optimizer: OptimizerConfig,
    /// The schedule of its learning rate.
    #[serde(default)]
    pub schedule: Schedule,
    /// Which parameters learn.
    #[serde(default)]
    pub tune: Tune,
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

/// `[model]`: one to go on with, or a new one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelConfig {
    /// The model to go on with: a directory or an id of the hub. Default: none, the model is new.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The generator of an ELECTRA to go on with by replaced-token detection, which is published apart: a directory or an id
    /// of the hub. Default: the folder `generator` of `from`, where `ptm pretrain` puts it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generator: Option<String>,
    /// The fields of `config.json` (`model_type`, sizes, dropouts), as a table or the path of such a file; of a model that
    /// is gone on with, what differs. The size of the vocabulary and the ids of special tokens are the tokenizer's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<Value>,
    /// The tokenizer: a directory or an id of the hub. Default: that of the model that is gone on with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<String>,
}

/// `[corpus]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CorpusConfig {
    /// Directories that `ptm corpus pack` made.
    #[serde(deserialize_with = "one_or_several")]
    pub packed: Vec<PathBuf>,
    /// For each its share of the tokens, in proportion to the others'. Default: its size, so that all end together.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub weights: Vec<f64>,
    /// The share of the documents that are held out to judge by. Default: 0.01; 0 judges nothing.
    #[serde(default = "hundredth")]
    pub validation: f64,
    /// Another one holds out other documents. Default: 0.
    #[serde(default)]
    pub split_seed: u64,
    /// At most so many examples are judged. Default: 1000.
    #[serde(default = "thousand")]
    pub judged: usize,
    /// Threads that corrupt ahead of the step. Default: as many as the machine has.
    #[serde(default)]
    pub workers: usize,
}

/// `[batch]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Batches {
    /// Tokens of an example. Default: `objective.length` where the objective has one, otherwise as many as the model
    /// reads, at most 512.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub length: Option<usize>,
    /// Examples of a micro-batch. Default: 16, unless `tokens` are given. Of whole sentences of one document (RoBERTa's
    /// DOC-SENTENCES) and pairs of sentences it is tokens for so many of `length`. Other examples of a document end with it:
    /// where documents are short, `tokens` says better how much a step learns from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<usize>,
    /// Tokens of text of a micro-batch, however many examples that is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<usize>,
    /// Micro-batches of a step; gradients are divided by the targets of all of them. Default: 1.
    pub accumulate: usize,
    /// What differs in the first steps: a batch that grows, lengths that grow. Default: nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub phases: Vec<Phase>,
}

/// `[[batch.phases]]`, in their order; after the last one holds what `[batch]` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Phase {
    /// The step after which it ends.
    pub until: u64,
    /// As in `[batch]`, and the same by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<usize>,
    /// As in `[batch]`, and the same by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<usize>,
    /// As in `[batch]`, and the same by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<usize>,
    /// As in `[batch]`, and the same by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accumulate: Option<usize>,
    /// Its own peak of the learning rate, which goes with the root of the batch (You et al. 2020). Default:
    /// `optimizer.lr`. With this or `warmup` the phase goes through the whole schedule from its first step to its last, and
    /// what follows begins again with a warm-up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lr: Option<f32>,
    /// Its own warm-up: steps, or below 1 a share of the phase's steps. Default: `schedule.warmup`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warmup: Option<f64>,
}

fn hundredth() -> f64 {
    0.01
}

fn thousand() -> usize {
    1000
}

/// Reads one path, or a list of them.
pub(crate) fn one_or_several<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<PathBuf>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Paths {
        One(PathBuf),
        Several(Vec<PathBuf>),
    }
    Ok(match Paths::deserialize(from)? {
        Paths::One(path) => vec![path],
        Paths::Several(paths) => paths,
    })
}

impl Default for Batches {
    fn default() -> Self {
        Self { length: None, size: None, tokens: None, accumulate: 1, phases: Vec::new() }
    }
}

impl Batches {
    /// How the phases learn.
    pub fn courses(&self) -> Courses {
        let course = |&Phase { until, lr, warmup, .. }: &Phase| Course { until, lr, warmup };
        Courses(self.phases.iter().map(course).collect())
    }
}

impl Recipe {
    /// Reads a file, with `overrides` like `optimizer.lr=3e-5` over it.
    ///
    /// # Errors
    /// When it can't be read, a key is unknown, or a value can't work.
    pub fn read(path: &Path, overrides: &[String]) -> Result<Self> {
        Self::parse(&recipe::read_text(path)?, &path.display().to_string(), overrides)
    }

    /// The same of a text; errors call it `label`.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn parse(text: &str, label: &str, overrides: &[String]) -> Result<Self> {
        let recipe: Self = recipe::parse(text, label, overrides)?;
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
        let (model, corpus, run, batch) = (&self.model, &self.corpus, &self.run, &self.batch);
        let config = model.config.as_ref();
        let problems = [
            (
                model.from.is_none() && config.is_none(),
                "model",
                "give from, a model to go on with, or config, the fields of a new one's config.json",
            ),
            (
                model.from.is_none() && model.generator.is_some(),
                "model.generator",
                "goes with from, its discriminator: a new model's generator is made by objective.generator",
            ),
            (
                model.from.is_none() && model.tokenizer.is_none(),
                "model.tokenizer",
                "a new model needs one: name the directory with its files",
            ),
            (
                config.is_some_and(|config| !config.is_table() && !config.is_str()),
                "model.config",
                "should be a table of fields of config.json, or the path of such a file",
            ),
            (corpus.packed.is_empty(), "corpus.packed", "name the directories that ptm corpus pack made"),
            (
                !corpus.weights.is_empty() && corpus.weights.len() != corpus.packed.len(),
                "corpus.weights",
                "give one for each of corpus.packed, or none",
            ),
            (!(0.0..1.0).contains(&corpus.validation), "corpus.validation", "should be from 0 (off) to below 1"),
            (corpus.judged == 0, "corpus.judged", "should be above 0"),
            (corpus.workers > 1024, "corpus.workers", "should be at most 1024"),
            (!(run.epochs > 0.0 && run.epochs <= 1e6), "run.epochs", "should be above 0"),
            (run.steps == Some(0), "run.steps", "should be above 0"),
            (run.minutes.is_some_and(|m| !(m > 0.0 && m < 1e7)), "run.minutes", "should be above 0"),
            (!(0.0..f32::INFINITY).contains(&run.clip), "run.clip", "should be 0 (off) or more"),
            (!(0.0..1.0).contains(&run.average), "run.average", "should be from 0 (off) to below 1"),
            (!(0.0..=1.0).contains(&run.dropout_until), "run.dropout_until", "should be a share from 0 to 1"),
            (batch.size.is_some() && batch.tokens.is_some(), "batch", "give size or tokens, not both"),
            (
                !batch.phases.is_sorted_by(|a, b| a.until < b.until)
                    || batch.phases.first().is_some_and(|p| p.until == 0),
                "batch.phases",
                "each should end after the one before",
            ),
            (
                batch.phases.iter().any(|phase| phase.size.is_some() && phase.tokens.is_some()),
                "batch.phases",
                "give size or tokens, not both",
            ),
            (
                batch.phases.iter().any(|phase| phase.lr.is_some_and(|lr| !(lr > 0.0 && lr.is_finite()))),
                "batch.phases",
                "lr should be above 0",
            ),
            (
                batch.phases.iter().any(|phase| phase.lr.is_some()) && self.optimizer.lr().is_none(),
                "batch.phases",
                "lr of a phase needs optimizer.lr, which holds in the others",
            ),
            (
                batch.phases.iter().any(|phase| phase.warmup.is_some_and(|w| !(0.0..f64::INFINITY).contains(&w))),
                "batch.phases",
                "warmup should be 0, a share below 1, or a number of steps",
            ),
            (
                batch.phases.iter().any(|phase| phase.warmup.is_some()) && self.schedule.with_warmup(0.0).is_none(),
                "batch.phases",
                "warmup needs a schedule that has one",
            ),
            (self.evaluate.every == Some(0), "evaluate.every", "should be above 0"),
            (self.evaluate.batch_tokens == 0, "evaluate.batch_tokens", "should be above 0"),
            (
                self.evaluate.patience > 0 && corpus.validation == 0.0,
                "evaluate.patience",
                "needs documents that are held out: corpus.validation above 0",
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
        if let Some((_, field, problem)) = problems.into_iter().find(|problem| problem.0) {
            return Err(Error::recipe(field, problem));
        }
        for (number, stage) in self.stages().into_iter().enumerate() {
            stage.check(number < batch.phases.len())?;
        }
        Ok(())
    }

    /// How much a step sees, from the first phase to what holds after the last.
    pub fn stages(&self) -> Vec<Stage> {
        let batch = &self.batch;
        let last = Phase { until: u64::MAX, ..Phase::default() };
        let phases = batch.phases.iter().copied().chain([last]);
        let stage = |phase: Phase| {
            // a phase that says how much it sees in one way overrules both
            let own = phase.size.is_some() || phase.tokens.is_some();
            let (size, tokens) = if own { (phase.size, phase.tokens) } else { (batch.size, batch.tokens) };
            Stage {
                until: phase.until,
                length: phase.length.or(batch.length),
                micro: match (size, tokens) {
                    (_, Some(tokens)) => Micro::Tokens(tokens),
                    (size, None) => Micro::Examples(size.unwrap_or(SIZE)),
                },
                accumulate: phase.accumulate.unwrap_or(batch.accumulate),
            }
        };
        phases.map(stage).collect()
    }
}

/// Examples of a micro-batch, unless its tokens are given.
const SIZE: usize = 16;

/// How much a step sees in a part of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stage {
    /// The step after which it ends.
    pub until: u64,
    /// Tokens of an example, where the recipe says.
    pub length: Option<usize>,
    /// A micro-batch.
    pub micro: Micro,
    /// Micro-batches of a step.
    pub accumulate: usize,
}

/// What makes a micro-batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Micro {
    /// So many examples.
    Examples(usize),
    /// As many examples as have so many tokens of text.
    Tokens(usize),
}

impl Stage {
    fn check(&self, phase: bool) -> Result<()> {
        let place = if phase { "batch.phases" } else { "batch" };
        let problem = match *self {
            Self { length: Some(0..4), .. } => "length should be at least 4",
            Self { length: Some(length), .. } if length > 1 << 20 => "length should be at most 1048576",
            Self { micro: Micro::Examples(0), .. } => "size should be above 0",
            Self { micro: Micro::Tokens(0), .. } => "tokens should be above 0",
            Self { accumulate: 0, .. } => "accumulate should be above 0",
            Self { accumulate, micro: Micro::Examples(n) | Micro::Tokens(n), .. }
                if accumulate.checked_mul(n).is_none_or(|step| step > 1 << 28) =>
            {
                "a step would be too large"
            }
            _ => return Ok(()),
        };
        Err(Error::recipe(place, problem))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = "output = 'o'\n[model]\nfrom = 'm'\n[corpus]\npacked = 'c'\n[optimizer]\nname = 'adamw'\n";

    fn parse(text: &str, overrides: &[&str]) -> Result<Recipe> {
        let overrides: Vec<String> = overrides.iter().map(|&o| o.to_owned()).collect();
        Recipe::parse(text, "r.toml", &overrides)
    }

    #[test]
    fn what_is_written_is_read_again() {
        let recipe = parse(LEAST, &[]).unwrap();
        assert_eq!((recipe.corpus.packed.len(), recipe.corpus.validation, recipe.corpus.judged), (1, 0.01, 1000));
        assert_eq!(parse(&recipe.to_text(), &[]).unwrap(), recipe, "{}", recipe.to_text());
        let rich = format!(
            "{LEAST}[objective]\nname = 'span_corruption'\nrate = 0.3\n[model.config]\nmodel_type = 't5'\ndropout_rate = 0.0\n\
             [batch]\ntokens = 4096\nlength = 512\n[[batch.phases]]\nuntil = 90\nlength = 128\naccumulate = 2\n\
             lr = 0.002\nwarmup = 0.4\n"
        );
        let recipe = parse(&rich, &["corpus.packed=['a','b']", "corpus.weights=[2,1]"]).unwrap();
        assert_eq!(parse(&recipe.to_text(), &[]).unwrap(), recipe, "{}", recipe.to_text());
        let stages = recipe.stages();
        let whole = Stage { until: u64::MAX, length: Some(512), micro: Micro::Tokens(4096), accumulate: 1 };
        assert_eq!(stages, [Stage { until: 90, length: Some(128), accumulate: 2, ..whole }, whole]);
    }

    #[test]
    fn what_cannot_work_is_named() {
        for (set, said) in [
            ("batch.lenght=8", "lenght"),
            ("objective.name=causal_ml", "causal_ml"),
            ("batch.size=0", "size"),
            ("batch.phases=[{until=9},{until=9}]", "batch.phases"),
            ("batch.phases=[{until=9,length=2}]", "length"),
            ("batch.phases=[{until=9,step=2}]", "step"),
            ("batch.phases=[{until=9,lr=0.0}]", "lr should"),
            ("batch.phases=[{until=9,warmup=-1.0}]", "warmup should"),
            ("corpus.validation=1.0", "corpus.validation"),
            ("corpus.weights=[1,2]", "corpus.weights"),
            ("model.config=3", "model.config"),
            ("model={}", "model"),
            ("model={config={model_type='gpt2'}}", "model.tokenizer"),
            ("optimizer.name=adafactor", "schedule"),
        ] {
            let error = parse(LEAST, &[set]).unwrap_err().to_string();
            assert!(error.contains(said), "{set}: {error}");
        }
        let none = LEAST.split("[optimizer]").next().unwrap();
        assert!(parse(none, &[]).unwrap_err().to_string().contains("optimizer"));
    }
}
