//! From a recipe to a run: which model with which tokenizer, by which objective, on which text.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use ptm_models::electra::GENERATOR;
use ptm_models::heads::{Head, LanguageModelHead};
use ptm_models::{
    BartConfig, Body, Configuration, DecoderConfig, EncoderConfig, Family, Kind, Pair, T5Config, XlnetConfig,
};
use ptm_text::Tokenizer;
use ptm_text::corpus::{Corpus, Mixture, Part, SpanKind, Split};
use serde_json::{Map, Value};

use super::beforehand::{all_classes_come, are_alike, held_out, holds, intact, may_be_held};
use super::causal::CausalTask;
use super::continual::ContinualTask;
use super::cutting::Cut;
use super::detection::DetectionTask;
use super::made::Made;
use super::masked::{Hidden, MaskedTask};
use super::pairs::PairsTask;
use super::permutation::PermutationTask;
use super::plan::{Plan, count_all};
use super::recipe::{Micro, Recipe, Stage};
use super::sentence_pairs::SentencePairTask;
use super::spans::SpansTask;
use super::task::{Listed, Pretraining};
use super::text_tasks::{Reads, TextTasks};
use super::{Pretrained, metrics};
use crate::checkpoint::Folder;
use crate::error::{Error, Result};
use crate::objective::Judgement;
use crate::objectives::causal::{CausalConfig, CausalLm};
use crate::objectives::continual::ContinualConfig;
use crate::objectives::denoising::DenoisingConfig;
use crate::objectives::knowledge_masking::{KnowledgeMasking, KnowledgeMaskingConfig};
use crate::objectives::masked_lm::{MaskedLm, MaskedLmConfig};
use crate::objectives::next_sentence::{NextSentence, NextSentenceConfig, Otherwise};
use crate::objectives::permutation::{PermutationConfig, PermutationLm};
use crate::objectives::replaced_token_detection::{ReplacedTokenConfig, ReplacedTokenDetection};
use crate::objectives::span_corruption::SpanCorruptionConfig;
use crate::objectives::span_masking::SpanMasking;
use crate::objectives::{ObjectiveConfig, Vocabulary};
use crate::recipe::Run;
use crate::training::{self, Outcome, Progress, Watch};

/// Where what a recipe names was found.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The directory of `model.from`.
    pub from: Option<PathBuf>,
    /// The directory of `model.generator`.
    pub generator: Option<PathBuf>,
    /// The directory of `model.tokenizer`.
    pub tokenizer: Option<PathBuf>,
}

/// Runs `recipe`, or goes on with it; `afresh` throws away what an earlier run left.
///
/// # Errors
/// When recipe, corpora, tokenizer and model don't fit each other, when a corpus is not what was packed, and those of
/// [`training::train`].
pub fn pretrain(recipe: &Recipe, sources: &Sources, afresh: bool, watch: &mut dyn Watch) -> Result<Outcome> {
    if afresh {
        Folder::open(&recipe.output)?.clear()?;
    }
    let job = Job::new(recipe, sources, true)?;
    job.mixture.iter().try_for_each(|mixture| intact(mixture, watch))?;
    let outcome = job.run(watch)?;
    outcome.ok_or_else(|| Error::Input("the run had no text".into()))
}

/// Whether a run by `recipe` would begin, as far as that can be told without its corpora: model, tokenizer, objective and
/// lengths against each other.
///
/// # Errors
/// What [`pretrain`] would say before it begins.
pub fn check(recipe: &Recipe, sources: &Sources) -> Result<()> {
    struct Nobody;
    impl Watch for Nobody {
        fn stop(&self) -> bool {
            true
        }
        fn note(&mut self, _: &str) {}
        fn step(&mut self, _: &Progress) {}
        fn judged(&mut self, _: u64, _: &Judgement, _: bool) {}
    }
    Job::new(recipe, sources, false)?.run(&mut Nobody).map(|_| ())
}

/// A recipe with what it names.
struct Job<'a> {
    recipe: &'a Recipe,
    from: Option<&'a Path>,
    generator: Option<&'a Path>,
    tokenizer_dir: &'a Path,
    tokenizer: Tokenizer,
    vocabulary: Vocabulary,
    family: Family,
    config: Map<String, Value>,
    /// None where nothing is to be learnt, only looked at.
    mixture: Option<Mixture>,
}

impl<'a> Job<'a> {
    fn new(recipe: &'a Recipe, sources: &'a Sources, with_text: bool) -> Result<Self> {
        let from = sources.from.as_deref();
        let Some(tokenizer_dir) = sources.tokenizer.as_deref().or(from) else {
            return Err(Error::recipe("model.tokenizer", "a new model needs one: name the directory with its files"));
        };
        let tokenizer = Tokenizer::from_dir(tokenizer_dir)?;
        if let Some(from) = from.filter(|from| *from != tokenizer_dir) {
            are_alike(&tokenizer, from)?;
        }
        let mut config = match from {
            Some(dir) => json_of(&dir.join("config.json"))?,
            None => Map::new(),
        };
        config.extend(fields(recipe)?);
        let family = Family::from_json(&config)?;
        if from.is_none() {
            complete(&mut config, family, &tokenizer);
        }
        let mixture = with_text.then(|| mixture(recipe, &tokenizer, tokenizer_dir)).transpose()?;
        let vocabulary = Vocabulary::new(&tokenizer);
        let generator = sources.generator.as_deref();
        Ok(Self { recipe, from, generator, tokenizer_dir, tokenizer, vocabulary, family, config, mixture })
    }

    fn run(&self, watch: &mut dyn Watch) -> Result<Option<Outcome>> {
        match self.family.kind() {
            Kind::Decoder => self.causal(watch),
            Kind::Bart => {
                let config = BartConfig::from_json(self.config.clone())?;
                let start = config.decoder_start_token_id.unwrap_or(config.eos_token_id);
                let longest = config.max_positions;
                self.pairs::<ptm_models::Bart>(config, start, longest, watch)
            }
            Kind::T5 => {
                let config = T5Config::from_json(self.config.clone())?;
                let start = config.decoder_start_token_id;
                self.pairs::<ptm_models::T5>(config, start, usize::MAX, watch)
            }
            Kind::Xlnet => self.permutation(watch),
            Kind::Encoder => self.masked(watch),
        }
    }

    /// The objective, or the usual one.
    fn objective(&self) -> ObjectiveConfig {
        self.recipe.objective.clone().unwrap_or_else(|| self.usual())
    }

    /// What the family was trained by, as far as any text has it.
    fn usual(&self) -> ObjectiveConfig {
        match self.family.kind() {
            Kind::Decoder => ObjectiveConfig::CausalLm(CausalConfig::default()),
            Kind::Encoder if self.family == Family::Electra => {
                ObjectiveConfig::ReplacedTokenDetection(ReplacedTokenConfig::default())
            }
            Kind::Encoder => ObjectiveConfig::MaskedLm(MaskedLmConfig::default()),
            Kind::Xlnet => ObjectiveConfig::PermutationLm(PermutationConfig::default()),
            Kind::T5 => ObjectiveConfig::SpanCorruption(SpanCorruptionConfig::default()),
            Kind::Bart => ObjectiveConfig::Denoising(DenoisingConfig::default()),
        }
    }

    fn no_such(&self, known: &[&str]) -> Error {
        let family = self.family.model_type();
        Error::recipe("objective.name", format!("{family} models learn by {}", known.join(", ")))
    }

    fn causal(&self, watch: &mut dyn Watch) -> Result<Option<Outcome>> {
        let ObjectiveConfig::CausalLm(objective) = self.objective() else { return Err(self.no_such(&["causal_lm"])) };
        let config = DecoderConfig::from_json(self.config.clone())?;
        let (longest, own) = (config.max_positions, Some(objective.length));
        let objective = CausalLm::new(objective, &self.vocabulary)?;
        let task = CausalTask { objective, made: Made::new(config.clone()) };
        self.learn(task, &config, longest, own, watch)
    }

    /// The configuration of ELECTRA's generator, and where discriminator and generator are that are gone on with.
    fn generator(&self, config: &EncoderConfig, share: f64) -> Result<(EncoderConfig, Option<[PathBuf; 2]>)> {
        // its sizes are its own
        const SHARED: [&str; 2] = ["hidden_dropout_prob", "attention_probs_dropout_prob"];
        let Some(from) = self.from else { return Ok((generator(&self.config, config, share)?, None)) };
        let dir = self.generator.map_or_else(|| from.join(GENERATOR), Path::to_owned);
        if self.generator.is_none() && !dir.is_dir() {
            let problem = format!("{} has no folder {GENERATOR}", from.display());
            let way_out = "name the generator's directory or its id, for instance google/electra-small-generator";
            return Err(Error::recipe("model.generator", format!("{problem}: {way_out}")));
        }
        let mut json = json_of(&dir.join("config.json"))?;
        json.extend(fields(self.recipe)?.into_iter().filter(|(name, _)| SHARED.contains(&name.as_str())));
        Ok((EncoderConfig::from_json(json)?, Some([from.to_owned(), dir])))
    }

    fn masked(&self, watch: &mut dyn Watch) -> Result<Option<Outcome>> {
        let config = EncoderConfig::from_json(self.config.clone())?;
        let (longest, vocabulary) = (config.max_length(), self.vocabulary.clone());
        match self.objective() {
            ObjectiveConfig::MaskedLm(objective) => {
                let objective = Hidden::Tokens(Box::new(MaskedLm::new(objective, &vocabulary)?));
                let task = MaskedTask { objective, vocabulary, made: Made::new(config.clone()) };
                self.learn(task, &config, longest, None, watch)
            }
            ObjectiveConfig::KnowledgeMasking(objective) => {
                let objective = self.knowledge(objective)?;
                let mut ends = objective.config().stages.iter().filter_map(|stage| stage.until);
                self.note_what_never_begins("the last stage of objective.stages", ends.next_back(), watch);
                let objective = Hidden::Knowledge(Box::new(objective));
                let task = MaskedTask { objective, vocabulary, made: Made::new(config.clone()) };
                self.learn(task, &config, longest, None, watch)
            }
            ObjectiveConfig::Continual(objective) if self.family == Family::Ernie => {
                for task in &objective.tasks {
                    if let ObjectiveConfig::KnowledgeMasking(own) = &task.objective {
                        self.spans_are_given(own)?;
                    }
                }
                if self.recipe.run.epochs != Run::default().epochs {
                    let problem = "is not for tasks that come one after the other: objective.tasks say how long, or else \
                                   run.steps or run.minutes";
                    return Err(Error::recipe("run.epochs", problem));
                }
                let config = self.with_task_ids(&objective)?;
                let task = ContinualTask::new(&objective, config.clone(), &vocabulary)?;
                for (name, begin) in task.begins() {
                    self.note_what_never_begins(name, begin, watch);
                }
                let steps = task.steps();
                self.learn_for(task, &config, longest, None, Some(steps), watch)
            }
            ObjectiveConfig::NextSentence(objective) => self.pairs_of_segments(objective, Otherwise::Random, watch),
            ObjectiveConfig::SentenceOrder(objective) => self.pairs_of_segments(objective, Otherwise::Swapped, watch),
            ObjectiveConfig::SpanMasking(objective) if self.family == Family::Bert => {
                let objective = SpanMasking::new(objective, &vocabulary)?;
                let task = SpansTask { objective, vocabulary, made: Made::new(config.clone()) };
                self.learn(task, &config, longest, None, watch)
            }
            ObjectiveConfig::ReplacedTokenDetection(objective) if self.family == Family::Electra => {
                let (generator, from) = self.generator(&config, objective.generator)?;
                let objective = ReplacedTokenDetection::new(objective, &vocabulary)?;
                let task = DetectionTask { objective, vocabulary, discriminator: config.clone(), generator, from };
                self.learn(task, &config, longest, None, watch)
            }
            _ => {
                let mut known = vec!["masked_lm", "knowledge_masking", "next_sentence", "sentence_order"];
                known.extend((self.family == Family::Bert).then_some("span_masking"));
                known.extend((self.family == Family::Ernie).then_some("continual"));
                known.extend((self.family == Family::Electra).then_some("replaced_token_detection"));
                Err(self.no_such(&known))
            }
        }
    }

    fn pairs_of_segments(
        &self,
        objective: NextSentenceConfig,
        otherwise: Otherwise,
        watch: &mut dyn Watch,
    ) -> Result<Option<Outcome>> {
        let config = EncoderConfig::from_json(self.config.clone())?;
        let objective = NextSentence::new(objective, otherwise, &self.vocabulary)?;
        let made = Made::new(config.clone());
        let task = SentencePairTask { objective, vocabulary: self.vocabulary.clone(), made };
        self.learn(task, &config, config.max_length(), None, watch)
    }

    /// Says of what is learnt from a step on that the run ends before, if it does.
    fn note_what_never_begins(&self, what: &str, begin: Option<u64>, watch: &mut dyn Watch) {
        if let (Some(steps), Some(begin)) = (self.recipe.run.steps, begin)
            && begin >= steps
        {
            watch.note(&format!("{what} would begin after step {begin}, but run.steps ends the run after {steps}"));
        }
    }

    /// The model's configuration with as many task ids as there are tasks, where a new model's says nothing of them.
    fn with_task_ids(&self, objective: &ContinualConfig) -> Result<EncoderConfig> {
        let mut config = self.config.clone();
        if self.from.is_none() {
            // as many as transformers has unless told otherwise
            const USUAL: usize = 3;
            config.entry("use_task_id").or_insert(true.into());
            config.entry("task_type_vocab_size").or_insert(objective.tasks.len().max(USUAL).into());
        }
        Ok(EncoderConfig::from_json(config)?)
    }

    /// The keys of a recipe's `model.config` that the model's configuration does not read: it does not mind nonsense there.
    fn unread<C: Configuration>(&self) -> Vec<&str> {
        // what others read, or files of `transformers` say without need
        const OTHERS: [&str; 10] = [
            "architectures",
            "bos_token_id",
            "eos_token_id",
            "pad_token_id",
            "sep_token_id",
            "initializer_range",
            "task_type_vocab_size",
            "transformers_version",
            "use_cache",
            "use_task_id",
        ];
        let Some(toml::Value::Table(own)) = &self.recipe.model.config else { return Vec::new() };
        let is_unread = |key: &&str| {
            let mut config = self.config.clone();
            config.insert((*key).to_owned(), serde_json::json!({"": [[]]}));
            !OTHERS.contains(key) && C::from_json(config).is_ok()
        };
        own.keys().map(String::as_str).filter(is_unread).collect()
    }

    /// Whether the corpora have the spans that knowledge masking asks of them.
    fn spans_are_given(&self, config: &KnowledgeMaskingConfig) -> Result<()> {
        let Some(mixture) = &self.mixture else { return Ok(()) };
        let has = |kind: SpanKind| mixture.corpora().iter().any(|(corpus, _)| corpus.spans().of(kind) > 0);
        match config.spans.iter().find(|kind| !has(**kind)) {
            Some(kind) => {
                let problem = format!("no corpus of corpus.packed gives spans of the kind {:?}", kind.name());
                Err(Error::recipe("objective.spans", format!("{problem}: pack text that has them with --spans-key")))
            }
            None => Ok(()),
        }
    }

    /// Knowledge masking with its stages.
    fn knowledge(&self, config: KnowledgeMaskingConfig) -> Result<KnowledgeMasking> {
        if config.given() == (false, false) {
            let problem = "needs phrases, entities, or both: name a file with one a line, or in objective.spans what the \
                           corpora give";
            return Err(Error::recipe("objective.phrases", problem));
        }
        self.spans_are_given(&config)?;
        let config = match self.recipe.run.steps {
            Some(steps) => config.divided(steps),
            None if config.stages.is_empty() => {
                let problem = "say after which step each stage ends, or give run.steps, which is divided equally";
                return Err(Error::recipe("objective.stages", problem));
            }
            None => config,
        };
        KnowledgeMasking::new(config, &self.vocabulary)
    }

    fn permutation(&self, watch: &mut dyn Watch) -> Result<Option<Outcome>> {
        let ObjectiveConfig::PermutationLm(objective) = self.objective() else {
            return Err(self.no_such(&["permutation_lm"]));
        };
        // what a token may see is a square of it for each example
        const MOST: usize = 1 << 12;
        let config = XlnetConfig::from_json(self.config.clone())?;
        let own = Some(objective.length);
        if let Some((_, length)) = self.stages(usize::MAX, own)?.into_iter().find(|(_, length)| *length > MOST) {
            let problem =
                format!("{length} tokens are more than the {MOST} for which is held who sees whom: give fewer");
            return Err(Error::recipe("batch.length", problem));
        }
        let objective = PermutationLm::new(objective, &self.vocabulary)?;
        let task = PermutationTask { objective, made: Made::new(config.clone()) };
        self.learn(task, &config, usize::MAX, own, watch)
    }

    fn pairs<B>(&self, config: B::Config, start: u32, longest: usize, watch: &mut dyn Watch) -> Result<Option<Outcome>>
    where
        B: for<'b> Body<Input<'b> = Pair<'b>> + 'static,
        LanguageModelHead: Head<B>,
    {
        const KNOWN: [&str; 9] = [
            "denoising",
            "span_corruption",
            "prefix_lm",
            "bert_style",
            "mass_style",
            "deshuffling",
            "iid_spans",
            "iid_dropped",
            "mixture",
        ];
        let (text, beside) = match self.objective() {
            ObjectiveConfig::Mixture(config) => {
                (config.text.as_deref().cloned().unwrap_or_else(|| self.usual()), Some(config))
            }
            other => (other, None),
        };
        let objective = text.build(&self.vocabulary)?;
        if !objective.makes_pairs() {
            return Err(self.no_such(&KNOWN));
        }
        let stages = self.stages(longest, None)?;
        for (_, length) in &stages {
            objective.check_sentinels(objective.raw_length(*length))?;
        }
        let mut task = PairsTask::<B> { objective, start, longest, tasks: None, made: Made::new(config.clone()) };
        if let Some((beside, mixture)) = beside.zip(self.mixture.as_ref()) {
            let length = stages.last().map_or(longest, |(_, length)| *length);
            let counted = count_all(mixture, self.part()?, task.cut(length), Micro::Examples(1), &|| watch.stop())?;
            let windows = counted.windows();
            let reads = Reads {
                tokenizer: &self.tokenizer,
                ends: task.objective.ends(&self.vocabulary)?,
                longest,
                vocabulary: config.output_size(),
            };
            let tasks = TextTasks::read(&beside, windows, &reads)?;
            watch.note(&format!("of a step's examples are {}", tasks.rates()));
            task.tasks = Some(tasks);
        }
        self.learn(task, &config, longest, None, watch)
    }

    /// Trains by `task` a model that reads at most `longest` tokens; `own` is the objective's length.
    fn learn<T: Pretraining, C: Configuration>(
        &self,
        task: T,
        config: &C,
        longest: usize,
        own: Option<usize>,
        watch: &mut dyn Watch,
    ) -> Result<Option<Outcome>> {
        self.learn_for(task, config, longest, own, None, watch)
    }

    /// The same for so many steps, unless the recipe says how long.
    fn learn_for<T: Pretraining, C: Configuration>(
        &self,
        task: T,
        config: &C,
        longest: usize,
        own: Option<usize>,
        steps: Option<u64>,
        watch: &mut dyn Watch,
    ) -> Result<Option<Outcome>> {
        let recipe = self.recipe;
        let (size, rows) = (self.vocabulary.size(), config.output_size());
        if size > rows {
            return Err(Error::recipe(
                "model.tokenizer",
                format!(
                    "has {size} tokens, but the model's vocab_size is {rows}: the tokenizer belongs to another model"
                ),
            ));
        }
        for key in self.unread::<C>() {
            watch.note(&format!("model.config.{key} is read by nothing of ptm: it goes into config.json as it is"));
        }
        let known = metrics(task.parts(), task.tasks());
        // without text nobody has read which tasks there are beside it
        let complete = self.mixture.is_some() || !matches!(self.objective(), ObjectiveConfig::Mixture(_));
        if let Some(metric) = recipe.evaluate.metric.as_ref().filter(|metric| complete && !known.contains(metric)) {
            let problem = format!("{metric:?} is not one of {}", known.join(", "));
            return Err(Error::recipe("evaluate.metric", problem));
        }
        let stages = self.stages(longest, own)?;
        for (stage, length) in &stages {
            if *length < task.shortest() {
                let problem = format!("an example has {} tokens at least, not {length}", task.shortest());
                return Err(Error::recipe("batch.length", problem));
            }
            holds(stage.micro, "of the text that becomes an example", task.cut(*length).longest())?;
            holds(stage.micro, "of the longest row of a task", task.tasks().map_or(0, |tasks| tasks.longest))?;
        }
        let (corpus, seed) = (&recipe.corpus, recipe.seed);
        let split = Split::new(corpus.validation, corpus.split_seed)?;
        let judges = corpus.validation > 0.0;
        let Some(mixture) = self.mixture.clone() else { return Ok(None) };
        let joins = stages.iter().any(|(_, length)| matches!(task.cut(*length), Cut::Sentences { across: true, .. }));
        if task.patterns() > 0 && joins && mixture.corpora().len() > 1 {
            let problem = "with sequences that documents fill together is for one corpus: those of several never come again \
                           as they were; pack the text as one, or drop the patterns";
            return Err(Error::recipe("objective.patterns", problem));
        }
        let mixture = mixture.in_orders(task.patterns());
        let part = self.part()?;
        all_classes_come(&mixture, part, task.needs(), watch)?;
        let held_out = judges.then(|| held_out(&mixture, Part::Validation(split))).transpose()?;
        if let Some(None) = &held_out {
            let documents: u64 = mixture.corpora().iter().map(|(corpus, _)| corpus.len()).sum();
            let problem = format!("{} of {documents} documents holds none out", corpus.validation);
            let way = "documents of the same text stay together: give a larger share, more text, or 0 to judge nothing";
            return Err(Error::recipe("corpus.validation", format!("{problem}; {way}")));
        }
        let held_out = held_out.flatten();
        let listed = Arc::new(Listed::new(&mixture));
        let train = Plan { task: Arc::new(task), mixture, listed, part, seed, stages, workers: corpus.workers };
        train.can_learn()?;
        let validation = held_out.map(|mixture| {
            let listed = Arc::new(Listed::new(&mixture));
            Plan { part: Part::Validation(split), mixture, listed, ..train.clone() }
        });
        if let Some(plan) = &validation {
            // better said now than after the first steps
            plan.can_judge(corpus.judged, watch)?;
        }
        let objective = Pretrained {
            train,
            validation,
            judged: corpus.judged,
            judged_tokens: recipe.evaluate.batch_tokens,
            vocabulary: rows,
            tokenizer: self.tokenizer_dir.to_owned(),
            longest,
            unigram: OnceLock::new(),
        };
        let task = objective.train.task.clone();
        let start = || match self.from {
            Some(dir) => task.open(dir, Some(seed)),
            None => task.random(seed),
        };
        let mut settings = self.settings();
        if settings.run.steps.is_none() && settings.run.minutes.is_none() {
            settings.run.steps = steps;
        }
        training::train(&objective, start, &settings, watch).map(Some)
    }

    /// The documents that are learnt from.
    fn part(&self) -> Result<Part> {
        let corpus = &self.recipe.corpus;
        let split = Split::new(corpus.validation, corpus.split_seed)?;
        Ok(if corpus.validation > 0.0 { Part::Training(split) } else { Part::All })
    }

    /// The stages with their lengths.
    fn stages(&self, longest: usize, own: Option<usize>) -> Result<Vec<(Stage, usize)>> {
        // attention's cost grows with the square
        const USUAL: usize = 512;
        let stages = self.recipe.stages().into_iter().map(|stage| {
            let length = stage.length.or(own).unwrap_or(longest.min(USUAL));
            if length > longest {
                let problem = format!("{length} tokens are more than the {longest} that the model reads");
                return Err(Error::recipe("batch.length", format!("{problem}: give fewer")));
            }
            holds(stage.micro, "of an example", length)?;
            may_be_held(stage, length)?;
            Ok((stage, length))
        });
        stages.collect()
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
            courses: recipe.batch.courses(),
            tune: recipe.tune,
            fgm: 0.0,
            evaluate: recipe.evaluate,
            checkpoint: recipe.checkpoint,
            log: recipe.log,
        }
    }
}

/// What a recipe says of the model's `config.json`.
fn fields(recipe: &Recipe) -> Result<Map<String, Value>> {
    match &recipe.model.config {
        None => Ok(Map::new()),
        Some(toml::Value::String(path)) => json_of(Path::new(path)),
        Some(fields) => match serde_json::to_value(fields).map_err(|error| Error::Input(error.to_string()))? {
            Value::Object(fields) => Ok(fields),
            _ => Ok(Map::new()),
        },
    }
}

/// A file that holds a JSON object.
fn json_of(path: &Path) -> Result<Map<String, Value>> {
    let failed = |source| Error::File { action: "read", path: path.to_owned(), source };
    let text = std::fs::read(path).map_err(failed)?;
    serde_json::from_slice(&text).map_err(|error| Error::recipe(path.display().to_string(), error.to_string()))
}

/// What a new model's configuration leaves to its tokenizer.
fn complete(config: &mut Map<String, Value>, family: Family, tokenizer: &Tokenizer) {
    let special = tokenizer.special();
    let id = |special: &Option<ptm_text::Special>| special.as_ref().map(|special| special.id);
    let (bos, eos) = (id(&special.bos).or(id(&special.cls)), id(&special.eos).or(id(&special.sep)));
    let pad = id(&special.pad);
    let encoder_decoder = matches!(family.kind(), Kind::Bart | Kind::T5);
    let start = if family.kind() == Kind::T5 { pad } else { eos };
    let fields = [
        ("vocab_size", Some(tokenizer.max_id().saturating_add(1))),
        ("pad_token_id", pad),
        ("bos_token_id", bos.or(eos).filter(|_| family.kind() != Kind::T5)),
        ("eos_token_id", eos),
        ("decoder_start_token_id", start.filter(|_| encoder_decoder)),
        ("forced_eos_token_id", eos.filter(|_| family.kind() == Kind::Bart)),
    ];
    for (name, value) in fields {
        if let (Some(value), false) = (value, config.contains_key(name)) {
            config.insert(name.into(), value.into());
        }
    }
}

/// The configuration of a generator whose width is a share of the discriminator's, in whole heads of the same size.
fn generator(json: &Map<String, Value>, config: &EncoderConfig, share: f64) -> Result<EncoderConfig> {
    let heads = ((config.heads as f64 * share).round() as usize).max(1);
    let hidden = config.hidden_size / config.heads.max(1) * heads;
    let inner = (config.intermediate_size * hidden / config.hidden_size.max(1)).max(1);
    let mut json = json.clone();
    for (name, value) in [("num_attention_heads", heads), ("hidden_size", hidden), ("intermediate_size", inner)] {
        json.insert(name.into(), value.into());
    }
    Ok(EncoderConfig::from_json(json)?)
}

/// The corpora of a recipe with their weights.
fn mixture(recipe: &Recipe, tokenizer: &Tokenizer, tokenizer_dir: &Path) -> Result<Mixture> {
    let corpus = &recipe.corpus;
    let mut corpora = Vec::new();
    for (number, path) in corpus.packed.iter().enumerate() {
        let opened = Corpus::open(path)?;
        if !opened.tokenizer().is(tokenizer)? {
            let (place, tokenizer) = (path.display(), tokenizer_dir.display());
            let problem =
                format!("{place} was packed with another tokenizer than {tokenizer}: pack it again with that");
            return Err(Error::recipe("corpus.packed", problem));
        }
        let weight = corpus.weights.get(number).copied().unwrap_or(opened.tokens() as f64);
        corpora.push((opened, weight));
    }
    Ok(Mixture::new(corpora)?)
}
