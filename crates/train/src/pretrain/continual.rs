//! Continual multi-task learning of ERNIE 2.0: every step is of one task, whose id its tokens have. Which one, the schedule of
//! the objective says; held-out text is judged by every task in turn.

use std::path::Path;

use burn::prelude::*;
use ptm_models::ernie::Task;
use ptm_models::names::Names;
use ptm_models::{EncoderConfig, Ernie, Pass};
use ptm_text::corpus::Span;
use rand_chacha::ChaCha8Rng;

use super::beforehand::Needs;
use super::cutting::{Cut, Window, sentences_within};
use super::task::{Answers, Others, Pretraining, Turn};
use crate::error::{Error, Result};
use crate::objectives::Text;
use crate::objectives::batches::{Classes, Masks};
use crate::objectives::classified::Classified;
use crate::objectives::continual::{ContinualConfig, TaskConfig, TaskObjective, TaskSchedule};
use crate::objectives::knowledge_masking::KnowledgeMasking;
use crate::objectives::masking::Masked;
use crate::objectives::{ObjectiveConfig, SequenceObjective, Vocabulary, sentence_distance};

/// Several tasks of one model.
pub(crate) struct ContinualTask {
    tasks: Vec<TaskObjective>,
    /// Their names, which are those of the loss's parts.
    names: Vec<&'static str>,
    schedule: TaskSchedule,
    vocabulary: Vocabulary,
    config: EncoderConfig,
}

/// What a window becomes, with the number of its task.
pub(crate) struct TaskExample(usize, Made);

enum Made {
    Masked(Masked),
    Classified(Classified),
}

/// A stretch of a document.
struct Stretch<'a> {
    text: Text<'a>,
    /// The spans that the corpus gives of it.
    spans: Vec<Span>,
    /// The document's tokens around it.
    elsewhere: Vec<&'a [u32]>,
}

/// Examples of one task, with its number.
pub(crate) struct TaskBatch(usize, Packed);

enum Packed {
    Masks(Masks),
    Classes(Classes),
}

/// Other documents that are tried where a task can learn nothing of a window.
const TRIES: usize = 16;

impl ContinualTask {
    /// # Errors
    /// When tasks contradict each other or the model's configuration, or the vocabulary lacks a token.
    pub fn new(config: &ContinualConfig, model: EncoderConfig, vocabulary: &Vocabulary) -> Result<Self> {
        let schedule = TaskSchedule::new(config)?;
        let built = config.tasks.iter().map(|TaskConfig { objective, .. }| match objective {
            ObjectiveConfig::KnowledgeMasking(own) => {
                Ok(TaskObjective::Knowledge(Box::new(KnowledgeMasking::new(own.clone().at_once(), vocabulary)?)))
            }
            other => match other.build(vocabulary)? {
                SequenceObjective::Task(task) => Ok(task),
                _ => Err(Error::recipe(
                    "objective.tasks",
                    "tasks are knowledge_masking, sentence_reordering, sentence_distance, capitalization and token_document",
                )),
            },
        });
        let tasks: Vec<TaskObjective> = built.collect::<Result<_>>()?;
        let names: Vec<&'static str> = tasks.iter().map(TaskObjective::name).collect();
        let wrong = |place: &str, problem: String| Err(Error::recipe(place, problem));
        if names[0] != "knowledge_masking" {
            return wrong("objective.tasks", "the first task should be knowledge_masking".into());
        }
        if let Some((_, name)) = names.iter().enumerate().find(|(number, name)| names[..*number].contains(name)) {
            return wrong("objective.tasks", format!("{name} is there twice"));
        }
        if model.tasks < tasks.len() {
            let problem = format!("{} task ids are fewer than the {} tasks: give more", model.tasks, tasks.len());
            return wrong("model.config.task_type_vocab_size", problem);
        }
        let segments = tasks.iter().map(|task| match task {
            TaskObjective::Reordering(objective) => objective.config().segments,
            TaskObjective::Distance(_) => 2,
            _ => 1,
        });
        let segments = segments.max().unwrap_or(1);
        if model.segments < segments {
            let problem = format!("{} segments are fewer than the {segments} of the tasks: give more", model.segments);
            return wrong("model.config.type_vocab_size", problem);
        }
        Ok(Self { tasks, names, schedule, vocabulary: vocabulary.clone(), config: model })
    }

    /// The steps of all stages.
    pub fn steps(&self) -> u64 {
        self.schedule.steps()
    }

    /// The tasks' names, each with the step before which it comes first.
    pub fn begins(&self) -> impl Iterator<Item = (&'static str, Option<u64>)> {
        let first = |task: usize| (0..self.steps()).find(|&step| self.schedule.task(step) == task);
        self.names.iter().enumerate().map(move |(task, name)| (*name, first(task)))
    }

    /// The classifier of a task, and its number of classes; knowledge masking has none.
    fn classifier(task: &TaskObjective) -> Option<(Task, usize)> {
        match task {
            TaskObjective::Knowledge(_) => None,
            TaskObjective::Reordering(objective) => Some((Task::SentenceReordering, objective.classes())),
            TaskObjective::Distance(_) => Some((Task::SentenceDistance, sentence_distance::CLASSES.len())),
            TaskObjective::Capitalization(_) => Some((Task::Capitalization, 2)),
            TaskObjective::TokenDocument(_) => Some((Task::TokenDocument, 2)),
        }
    }

    fn classes(&self) -> Vec<(Task, usize)> {
        self.tasks.iter().filter_map(Self::classifier).collect()
    }

    /// Tokens that frame a text at most.
    fn frame(&self) -> usize {
        let own = self.tasks.iter().map(|task| match task {
            TaskObjective::Reordering(objective) => objective.frame(),
            TaskObjective::Distance(_) => sentence_distance::FRAME,
            _ => 2,
        });
        own.max().unwrap_or(2)
    }

    /// What a stretch becomes; none where the task can learn nothing of it.
    fn made(
        &self,
        task: &TaskObjective,
        stretch: &Stretch<'_>,
        other: Option<&Text<'_>>,
        others: &Others<'_>,
        random: &mut ChaCha8Rng,
    ) -> Result<Option<Made>> {
        let Stretch { text, spans, elsewhere } = stretch;
        if text.ids.iter().all(|&id| self.vocabulary.is_special(id)) {
            return Ok(None);
        }
        let classified = match task {
            TaskObjective::Knowledge(objective) => {
                let step = if let Turn::Step(step) = others.turn { Some(step) } else { None };
                let made = objective.corrupt(text, spans, objective.level(step), random)?;
                return Ok(Some(Made::Masked(made)));
            }
            TaskObjective::Reordering(_) if text.sentences.len() < 2 => return Ok(None),
            TaskObjective::Reordering(objective) => objective.corrupt(text, random)?,
            TaskObjective::Distance(_) if text.sentences.len() < 2 && other.is_none() => return Ok(None),
            TaskObjective::Distance(objective) => objective.corrupt(text, other, others.length, random)?,
            TaskObjective::Capitalization(objective) if !objective.has_words(text) => return Ok(None),
            TaskObjective::Capitalization(objective) => objective.classify(text)?,
            TaskObjective::TokenDocument(_) if elsewhere.iter().all(|ids| ids.is_empty()) => return Ok(None),
            TaskObjective::TokenDocument(objective) => objective.classify(text.ids, elsewhere)?,
        };
        Ok(Some(Made::Classified(classified)))
    }
}

impl Pretraining for ContinualTask {
    type Model = Ernie;
    type Example = TaskExample;
    type Batch = TaskBatch;

    fn parts(&self) -> &[&'static str] {
        &self.names
    }

    fn shortest(&self) -> usize {
        self.frame() + 2
    }

    fn cut(&self, length: usize) -> Cut {
        // whole sentences: where a segment was cut says nothing of its place
        Cut::Sentences { length: length.saturating_sub(self.frame()).max(2), across: false }
    }

    fn needs(&self) -> Needs {
        let of = |task: &TaskObjective| match task {
            TaskObjective::Distance(_) => Needs { other: true, sentences: 3 },
            TaskObjective::Reordering(objective) => Needs { other: false, sentences: objective.config().segments },
            _ => Needs::default(),
        };
        self.tasks.iter().map(of).fold(Needs::default(), |all, own| Needs {
            other: all.other || own.other,
            sentences: all.sentences.max(own.sentences),
        })
    }

    fn fingerprint(&self) -> u64 {
        let own = self.tasks.iter().map(|task| match task {
            TaskObjective::Knowledge(objective) => objective.fingerprint(),
            _ => 0,
        });
        own.fold(0, |all, own| all ^ own)
    }

    fn rounds(&self) -> u64 {
        self.tasks.len() as u64
    }

    fn example(&self, window: &Window, others: &Others<'_>, random: &mut ChaCha8Rng) -> Result<Option<TaskExample>> {
        let number = match others.turn {
            Turn::Step(step) => self.schedule.task(step),
            Turn::Judged(round) => usize::try_from(round).unwrap_or(0).min(self.tasks.len() - 1),
        };
        let task = &self.tasks[number];
        let needs_other = matches!(task, TaskObjective::Distance(_));
        let other = if needs_other { others.draw(window, random)? } else { None };
        let other = other.as_ref().map(|document| Text { ids: &document.ids, sentences: &document.sentences });
        let (ids, sentences) = window.stretch();
        let text = Text { ids, sentences: &sentences };
        let stretch = Stretch { text, spans: window.spans(), elsewhere: window.around().to_vec() };
        let made = self.made(task, &stretch, other.as_ref(), others, random)?;
        if let Some(made) = made {
            return Ok(Some(TaskExample(number, made)));
        }
        // a stretch of another document, as a step of such windows alone would learn nothing
        for _ in 0..TRIES {
            let Some(document) = others.draw(window, random)? else { break };
            let (end, own) = (sentences_within(&document, 0, ids.len()), &document.ids);
            let sentences: Vec<usize> = document.sentences.iter().copied().filter(|&at| at < end).collect();
            let text = Text { ids: &own[..end], sentences: &sentences };
            let spans = document.spans.iter().copied().filter(|span| span.end <= end).collect();
            let stretch = Stretch { text, spans, elsewhere: vec![&own[end..]] };
            // `other` may be this one
            if let Some(made) = self.made(task, &stretch, None, others, random)? {
                return Ok(Some(TaskExample(number, made)));
            }
        }
        Ok(None)
    }

    fn batch(&self, examples: Vec<TaskExample>) -> Result<TaskBatch> {
        let number = examples.first().map_or(0, |example| example.0);
        let (mut masked, mut classified) = (Vec::new(), Vec::new());
        for TaskExample(_, made) in examples {
            match made {
                Made::Masked(one) => masked.push(one),
                Made::Classified(one) => classified.push(one),
            }
        }
        let (style, id) = (self.config.positions(), number as u32);
        let packed = match Self::classifier(&self.tasks[number]) {
            None => Packed::Masks(Masks::new(&masked, style)?.with_task(id)),
            Some((task, _)) => Packed::Classes(Classes::new(&classified, task, id, style)?),
        };
        Ok(TaskBatch(number, packed))
    }

    fn tokens(&self, batch: &TaskBatch) -> usize {
        match &batch.1 {
            Packed::Masks(masks) => masks.tokens(),
            Packed::Classes(classes) => classes.tokens(),
        }
    }

    fn weights(&self, batch: &TaskBatch) -> Vec<f64> {
        let mut weights = vec![0.0; self.tasks.len()];
        weights[batch.0] = match &batch.1 {
            Packed::Masks(masks) => masks.targets().len(),
            Packed::Classes(classes) => classes.labels().len(),
        } as f64;
        weights
    }

    fn targets<'a>(&self, batch: &'a TaskBatch) -> &'a [u32] {
        if let Packed::Masks(masks) = &batch.1 { masks.targets() } else { &[] }
    }

    fn losses(&self, model: &Ernie, batch: &TaskBatch, scales: &[f32], pass: &Pass) -> Result<Vec<Tensor<1>>> {
        let scale = scales[batch.0];
        let loss = match &batch.1 {
            Packed::Masks(masks) => masks.loss(&model.masked_lm(), scale, pass)?,
            Packed::Classes(classes) => classes.loss(model, scale, pass)?,
        };
        // the other tasks' losses are nothing in this step
        let mut losses: Vec<Tensor<1>> = (0..self.tasks.len()).map(|_| loss.clone().detach() * 0.0).collect();
        losses[batch.0] = loss;
        Ok(losses)
    }

    fn answers(&self, model: &Ernie, batch: &TaskBatch) -> Result<Answers> {
        let (loss, right) = match &batch.1 {
            Packed::Masks(masks) => masks.answers(&model.masked_lm())?,
            Packed::Classes(classes) => classes.answers(model)?,
        };
        let count = self.tasks.len();
        let mut answers = Answers { losses: vec![0.0; count], right: vec![0; count] };
        (answers.losses[batch.0], answers.right[batch.0]) = (loss, right);
        Ok(answers)
    }

    fn random(&self, seed: u64) -> Result<Ernie> {
        Ok(Ernie::random(self.config.clone(), &self.classes(), seed, &Device::flex().autodiff())?)
    }

    fn open(&self, dir: &Path, new_head: Option<u64>) -> Result<Ernie> {
        Ok(Ernie::open(dir, self.config.clone(), &self.classes(), new_head, &Device::flex().autodiff())?)
    }

    fn names(&self, model: &Ernie) -> Names {
        model.names()
    }

    fn save(&self, model: &Ernie, dir: &Path) -> Result<()> {
        Ok(model.save(dir)?)
    }
}
