//! From a recipe to a run: which head on which body, what its labels are, how rows are encoded.

use std::collections::HashMap;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::prelude::*;
use ptm_models::files::Weights;
use ptm_models::heads::{ChoiceHead, Head, LanguageModelHead, SequenceHead, SpanHead, TokenHead};
use ptm_models::{
    Bart, BartConfig, Configuration, Decoder, DecoderConfig, Encoder, EncoderConfig, Family, Kind, Model, ProblemType,
    T5, T5Config, T5Encoder, Xlnet, auto,
};
use ptm_text::Tokenizer;
use ptm_text::dataset::{self, Dataset, Example, HasLabels, Labels, Order, Question, Tagged};
use serde_json::{Map, Value};

use super::learner::{Learner, Reads, Settings};
use super::limits::Limits;
use super::losses::{Balanced, ClassWeights, Loss};
use super::plan::Plan;
use super::reading::{Reading, Starts};
use super::{Finetuning, Item, judge, source_prefix};
use crate::checkpoint::Folder;
use crate::courses::Courses;
use crate::error::{Error, Result};
use crate::objective::{Aim, Objective};
use crate::recipe::{BatchConfig, Recipe, Task};
use crate::training::{self, Outcome, Watch};

/// Runs `recipe` on the model in the directory `source`, or goes on with it; `afresh` throws away what an earlier run
/// left.
///
/// # Errors
/// When recipe, data and model don't fit each other, and those of [`training::train`].
pub fn finetune(recipe: &Recipe, source: &Path, afresh: bool, watch: &mut dyn Watch) -> Result<Outcome> {
    if afresh {
        Folder::open(&recipe.output)?.clear()?;
    }
    pursue(recipe, source, Train(watch))
}

/// A whole run.
struct Train<'a>(&'a mut dyn Watch);

impl Aim for Train<'_> {
    type Output = Outcome;

    fn stop(&self) -> bool {
        self.0.stop()
    }

    fn pursue<O: Objective>(
        self,
        objective: &O,
        start: impl FnOnce() -> Result<O::Model>,
        settings: &training::Settings,
    ) -> Result<Outcome> {
        training::train(objective, start, settings, self.0)
    }
}

/// Pursues `aim` with what `recipe` says of the model in the directory `source`.
///
/// # Errors
/// When recipe, data and model don't fit each other, and those of the aim.
pub fn pursue<A: Aim>(recipe: &Recipe, source: &Path, aim: A) -> Result<A::Output> {
    let known = judge::names(recipe.task);
    if let Some(metric) = recipe.evaluate.metric.as_ref().filter(|metric| !known.contains(&metric.as_str())) {
        let problem = format!("{metric:?} is not one of {}", known.join(", "));
        return Err(Error::recipe("evaluate.metric", problem));
    }
    let job = Job::new(recipe, source)?;
    match recipe.task {
        Task::Classification => {
            let (data, labels) = job.labelled(&aim)?;
            job.on_sequences(data, Some(labels), None, Reading::classified, aim)
        }
        Task::MultiLabel => {
            let (data, labels) = job.labelled(&aim)?;
            job.on_sequences(data, Some(labels), Some(ProblemType::MultiLabel), Reading::multi_labelled, aim)
        }
        Task::Regression => {
            let data = job.train()?;
            job.on_sequences(data, None, Some(ProblemType::Regression), Reading::rated, aim)
        }
        Task::Tokens => job.on_tokens(aim),
        Task::Questions => job.on_questions(aim),
        Task::Choice => match job.kind {
            Kind::Encoder => {
                let head = Labelling { several: true, new_head: true, ..Labelling::default() };
                job.run::<ChoiceHead, Encoder, _, _>(job.train()?, head, Reading::choice, aim)
            }
            _ => Err(job.no_such("multiple choice")),
        },
        Task::TextToText => {
            let (data, head) = (job.train()?, Labelling::default());
            match job.kind {
                Kind::Bart => job.run::<LanguageModelHead, Bart, _, _>(data, head, Reading::text_to_text, aim),
                Kind::T5 => job.run::<LanguageModelHead, T5, _, _>(data, head, Reading::text_to_text, aim),
                _ => Err(job.no_such("text-to-text")),
            }
        }
        Task::LanguageModel => {
            let (data, head) = (job.train()?, Labelling { several: true, ..Labelling::default() });
            match job.kind {
                Kind::Decoder => job.run::<LanguageModelHead, Decoder, _, _>(data, head, Reading::text, aim),
                _ => Err(job.no_such("a causal language model")),
            }
        }
    }
}

/// What a head has to know of the data.
#[derive(Default)]
struct Labelling {
    labels: Option<Arc<Labels>>,
    problem: Option<ProblemType>,
    class_weights: Option<Vec<f32>>,
    /// Whether the head may be missing from the model's files.
    new_head: bool,
    /// Whether a row may give more or fewer items than one.
    several: bool,
}

/// A recipe with its model's directory.
struct Job<'a> {
    recipe: &'a Recipe,
    source: &'a Path,
    kind: Kind,
    family: Family,
    config: Map<String, Value>,
    tokenizer: Tokenizer,
}

impl<'a> Job<'a> {
    fn new(recipe: &'a Recipe, source: &'a Path) -> Result<Self> {
        let family = Family::of_dir(source)?;
        let path = source.join("config.json");
        let text = std::fs::read(&path).map_err(|error| Error::File { action: "read", path, source: error })?;
        let config = serde_json::from_slice(&text).map_err(|error| Error::Input(error.to_string()))?;
        let tokenizer = Tokenizer::from_dir(source)?;
        Ok(Self { recipe, source, kind: family.kind(), family, config, tokenizer })
    }

    fn no_such(&self, what: &str) -> Error {
        let (family, known) = (self.family.model_type(), auto::heads_of(self.family).join(", "));
        Error::recipe("task", format!("{family} models cannot be fine-tuned for {what}; they have {known}"))
    }

    fn train<E: Example>(&self) -> Result<Dataset<E>> {
        Ok(Dataset::open(&self.recipe.data.train, &self.recipe.data.options)?)
    }

    /// The data to judge by; folders give their part `validation`.
    fn validation<E: Example>(&self) -> Result<Option<Dataset<E>>> {
        let paths: &[PathBuf] = &self.recipe.data.validation;
        if paths.is_empty() {
            return Ok(None);
        }
        let mut options: dataset::Options = self.recipe.data.options.clone();
        options.split = paths.iter().any(|path| path.is_dir()).then(|| "validation".to_owned());
        Ok(Some(Dataset::open(paths, &options)?))
    }

    /// Training data with its labels.
    fn labelled<E: HasLabels, A: Aim>(&self, aim: &A) -> Result<(Dataset<E>, Labelling)> {
        let data = self.train::<E>()?;
        let stop = || aim.stop();
        let mut labels = Labels::discover_unless(&data, &stop)?.ok_or(Error::Stopped)?;
        // a model that knows them already keeps its order
        if let Some(known) = self.known_labels()
            && labels.names().iter().all(|name| known.contains(name))
        {
            labels = Labels::new(known)?;
        }
        let class_weights = match &self.recipe.loss.class_weights {
            None => None,
            Some(ClassWeights::Given(weights)) if weights.len() != labels.len() => {
                let (given, wanted) = (weights.len(), labels.names().join(", "));
                return Err(Error::recipe(
                    "loss.class_weights",
                    format!("{given} weights, but the labels are {wanted}"),
                ));
            }
            Some(ClassWeights::Given(weights)) => Some(weights.clone()),
            Some(ClassWeights::Named(Balanced::Balanced)) => {
                Some(balanced(&data, &labels, self.recipe.task == Task::MultiLabel, &stop)?)
            }
        };
        let labelling =
            Labelling { labels: Some(Arc::new(labels)), class_weights, new_head: true, ..Labelling::default() };
        Ok((data, labelling))
    }

    /// Names of the labels that the model was trained with, where it has other names than numbers.
    fn known_labels(&self) -> Option<Vec<String>> {
        let map = self.config.get("id2label")?.as_object()?;
        let names = (0..map.len()).map(|id| map.get(&id.to_string())?.as_str().map(str::to_owned));
        let names: Vec<String> = names.collect::<Option<_>>()?;
        (!names.iter().any(|name| name.starts_with("LABEL_"))).then_some(names)
    }

    fn on_sequences<E: Example, A: Aim>(
        &self,
        data: Dataset<E>,
        labelling: Option<Labelling>,
        problem: Option<ProblemType>,
        encode: fn(&Reading, E) -> Result<Vec<Item>>,
        aim: A,
    ) -> Result<A::Output> {
        let head = Labelling { problem, new_head: true, ..labelling.unwrap_or_default() };
        match self.kind {
            Kind::Encoder => self.run::<SequenceHead, Encoder, _, _>(data, head, encode, aim),
            Kind::Decoder => self.run::<SequenceHead, Decoder, _, _>(data, head, encode, aim),
            Kind::Bart => self.run::<SequenceHead, Bart, _, _>(data, head, encode, aim),
            Kind::T5 => self.run::<SequenceHead, T5, _, _>(data, head, encode, aim),
            Kind::Xlnet => self.run::<SequenceHead, Xlnet, _, _>(data, head, encode, aim),
        }
    }

    fn on_tokens<A: Aim>(&self, aim: A) -> Result<A::Output> {
        let (data, head) = self.labelled::<Tagged, _>(&aim)?;
        let names = head.labels.as_ref().map_or(&[][..], |labels| labels.names());
        if let Some(metric) = &self.recipe.evaluate.metric
            && !judge::of_tags(names).contains(&metric.as_str())
        {
            let (known, some) = (judge::of_tags(names).join(", "), names.iter().take(5).cloned().collect::<Vec<_>>());
            let problem = format!(
                "{metric:?} is of entities, but no label begins with B- or I- ({}): it is one of {known}",
                some.join(", ")
            );
            return Err(Error::recipe("evaluate.metric", problem));
        }
        let encode = Reading::tagged;
        match self.kind {
            Kind::Encoder => self.run::<TokenHead, Encoder, _, _>(data, head, encode, aim),
            Kind::Decoder => self.run::<TokenHead, Decoder, _, _>(data, head, encode, aim),
            Kind::T5 => self.run::<TokenHead, T5Encoder, _, _>(data, head, encode, aim),
            Kind::Xlnet => self.run::<TokenHead, Xlnet, _, _>(data, head, encode, aim),
            Kind::Bart => Err(self.no_such("token classification")),
        }
    }

    fn on_questions<A: Aim>(&self, aim: A) -> Result<A::Output> {
        let data = self.train()?;
        if self.recipe.evaluate.metric.as_deref() == Some("best_f1")
            && let Some(judged) = self.validation::<Question>()?
        {
            let impossible = |row: Result<Question, _>| row.map(|question: Question| question.is_impossible());
            let found = judged.rows(Order::AsIs, 0).map(impossible).find(|found| !matches!(found, Ok(false)));
            if found.transpose()?.is_none() {
                let problem = "\"best_f1\" needs questions without an answer, and data.validation has none: give f1";
                return Err(Error::recipe("evaluate.metric", problem));
            }
        }
        let head = Labelling { new_head: true, several: true, ..Labelling::default() };
        let encode = Reading::question;
        match self.kind {
            Kind::Encoder => self.run::<SpanHead, Encoder, _, _>(data, head, encode, aim),
            Kind::Decoder => self.run::<SpanHead, Decoder, _, _>(data, head, encode, aim),
            Kind::Bart => self.run::<SpanHead, Bart, _, _>(data, head, encode, aim),
            Kind::T5 => self.run::<SpanHead, T5, _, _>(data, head, encode, aim),
            Kind::Xlnet => self.run::<SpanHead, Xlnet, _, _>(data, head, encode, aim),
        }
    }

    fn run<H: Head<B>, B: Reads, E: Example, A: Aim>(
        &self,
        data: Dataset<E>,
        head: Labelling,
        encode: fn(&Reading, E) -> Result<Vec<Item>>,
        aim: A,
    ) -> Result<A::Output>
    where
        Model<H, B>: Learner,
    {
        let recipe = self.recipe;
        let config = B::Config::from_json(self.adapted(&head))?;
        config.check_answers(self.source)?;
        let reading = Arc::new(self.reading::<B>(head.labels.clone())?);
        let styles = [config.positions(); 2];
        let judging = Arc::new(Reading { whole: true, ..(*reading).clone() });
        let train = Plan {
            data,
            encode: Arc::new(move |example: E| encode(&reading, example)),
            one_item: !head.several,
            batch: recipe.batch.clone(),
            seed: recipe.seed,
            styles,
            workers: recipe.data.workers,
        };
        let judged =
            BatchConfig { tokens: Some(recipe.evaluate.batch_tokens), shuffle: false, ..BatchConfig::default() };
        let validation = self.validation()?.map(|data| Plan {
            data,
            encode: Arc::new(move |example: E| encode(&judging, example)),
            batch: judged,
            ..train.clone()
        });
        let loss = Loss {
            label_smoothing: recipe.loss.label_smoothing,
            focal: recipe.loss.focal,
            class_weights: head.class_weights.clone(),
        };
        let settings = Settings {
            loss,
            problem: head.problem,
            r_drop: recipe.regularize.r_drop,
            dropouts: recipe.regularize.dropouts,
        };
        let objective = Finetuning::<H, B, E> {
            task: recipe.task,
            settings,
            labels: head.labels,
            train,
            validation,
            source: self.source.to_owned(),
            model: PhantomData,
        };
        let start = || {
            let seed = head.new_head.then_some(recipe.seed);
            let loaded =
                Model::<H, B>::from_weights(config, &Weights::open(self.source)?, &Device::flex().autodiff(), seed)?;
            Ok(loaded.model)
        };
        aim.pursue(&objective, start, &self.settings())
    }

    fn settings(&self) -> training::Settings {
        let recipe = self.recipe.clone();
        training::Settings {
            recipe: recipe.to_text(),
            output: recipe.output,
            seed: recipe.seed,
            run: recipe.run,
            optimizer: recipe.optimizer,
            schedule: recipe.schedule,
            courses: Courses::default(),
            tune: recipe.tune,
            fgm: recipe.regularize.fgm,
            evaluate: recipe.evaluate,
            checkpoint: recipe.checkpoint,
            log: recipe.log,
        }
    }

    /// The model's configuration with the task's labels, the prefix of sources and the recipe's dropout.
    fn adapted(&self, head: &Labelling) -> Map<String, Value> {
        let mut config = self.config.clone();
        if head.labels.is_some() || head.problem.is_some() {
            let names = match &head.labels {
                Some(labels) => labels.names().to_vec(),
                None => vec!["LABEL_0".to_owned()],
            };
            let numbered = names.iter().enumerate();
            let by_number = numbered.clone().map(|(id, name)| (id.to_string(), Value::from(name.as_str())));
            config.insert("id2label".into(), Value::Object(by_number.collect()));
            let by_name = numbered.map(|(id, name)| (name.clone(), Value::from(id)));
            config.insert("label2id".into(), Value::Object(by_name.collect()));
            config.remove("num_labels");
            config.remove("problem_type");
            let problem = match (head.problem, self.recipe.task) {
                (Some(ProblemType::Regression), _) => Some("regression"),
                (Some(ProblemType::MultiLabel), _) => Some("multi_label_classification"),
                (_, Task::Classification) => Some("single_label_classification"),
                _ => None,
            };
            if let Some(problem) = problem {
                config.insert("problem_type".into(), problem.into());
            }
        }
        if self.recipe.task == Task::TextToText {
            source_prefix::teach(&mut config, &self.recipe.data.prefix);
        }
        if let Some(rate) = self.recipe.regularize.dropout {
            for name in dropouts(self.family) {
                config.insert((*name).into(), rate.to_string().parse::<f64>().unwrap_or_default().into());
            }
        }
        config
    }

    fn reading<B: Reads>(&self, labels: Option<Arc<Labels>>) -> Result<Reading> {
        let data = &self.recipe.data;
        let config = self.config.clone();
        let limits = Limits::new(self.kind, config, &self.tokenizer, data.max_length, data.max_target)?;
        let (largest, rows) = (self.tokenizer.max_id(), self.vocabulary()?);
        if largest as usize >= rows {
            return Err(Error::Input(format!(
                "the tokenizer has ids up to {largest}, but the model's vocab_size is {rows}: the tokenizer's files \
                 belong to another model"
            )));
        }
        Ok(Reading {
            tokenizer: self.tokenizer.clone(),
            labels,
            max_length: limits.max_length,
            max_target: limits.max_target,
            whole: false,
            stride: data.stride,
            prefix: data.prefix.clone(),
            starts: if B::DECODES { Some(self.starts()?) } else { None },
        })
    }

    /// Rows of the word embedding.
    fn vocabulary(&self) -> Result<usize> {
        let size = self.config.get("vocab_size").and_then(Value::as_u64);
        let json = || self.config.clone();
        Ok(match (self.kind, size) {
            (_, Some(size)) => size as usize,
            (Kind::Encoder, None) => EncoderConfig::from_json(json())?.vocab_size,
            (Kind::Decoder, None) => DecoderConfig::from_json(json())?.vocab_size,
            (Kind::Bart, None) => BartConfig::from_json(json())?.vocab_size,
            (Kind::T5, None) => T5Config::from_json(json())?.vocab_size,
            (Kind::Xlnet, None) => ptm_models::XlnetConfig::from_json(json())?.vocab_size,
        })
    }

    /// As `shifted` of the configurations.
    fn starts(&self) -> Result<Starts> {
        let json = self.config.clone();
        if self.kind == Kind::T5 {
            return Ok(Starts::With(T5Config::from_json(json)?.decoder_start_token_id));
        }
        let start = BartConfig::from_json(json)?.decoder_start_token_id;
        Ok(start.map_or(Starts::WithLast, Starts::With))
    }
}

/// The fields of `config.json` that hold a dropout.
fn dropouts(family: Family) -> &'static [&'static str] {
    match (family.kind(), family) {
        (Kind::Encoder, Family::DistilBert) => &["dropout", "attention_dropout", "seq_classif_dropout", "qa_dropout"],
        (Kind::Encoder, Family::Electra) => {
            &["hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout", "summary_last_dropout"]
        }
        (Kind::Encoder, _) => &["hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout"],
        (Kind::Decoder, _) => {
            &["embd_pdrop", "resid_pdrop", "attn_pdrop", "classifier_dropout", "summary_first_dropout"]
        }
        (Kind::Bart, _) => {
            &["dropout", "attention_dropout", "activation_dropout", "classifier_dropout", "classif_dropout"]
        }
        (Kind::T5, _) => &["dropout_rate", "classifier_dropout"],
        (Kind::Xlnet, _) => &["dropout", "summary_last_dropout"],
    }
}

/// By the inverse of how often labels occur: of one label each `rows / (labels · rows with it)`, as scikit-learn's; of
/// several `rows without it / rows with it`.
fn balanced<E: HasLabels>(
    data: &Dataset<E>,
    labels: &Labels,
    several: bool,
    stop: &dyn Fn() -> bool,
) -> Result<Vec<f32>> {
    let mut counts: HashMap<usize, u64> = HashMap::new();
    let (mut rows, mut all) = (0_u64, 0_u64);
    for example in data.rows(Order::AsIs, 0) {
        if stop() {
            return Err(Error::Stopped);
        }
        rows += 1;
        for name in example?.labels() {
            *counts.entry(labels.index(name)?).or_default() += 1;
            all += 1;
        }
    }
    let weight = |label: usize| match counts.get(&label).copied() {
        Some(count) if several => rows.saturating_sub(count).max(1) as f64 / count as f64,
        Some(count) => all as f64 / (labels.len() as f64 * count as f64),
        // what never occurs weighs nothing
        None => 1.0,
    };
    Ok((0..labels.len()).map(|label| weight(label) as f32).collect())
}
