//! Continual multi-task learning (Sun et al. 2020, ERNIE 2.0, §3): tasks come one after the other, and each stage trains the new
//! one together with all before it. How many steps each gets in each stage is said; within a stage they take turns evenly.
//! A step is of one task.

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::capitalization::Capitalization;
use super::classified::Classified;
use super::knowledge_masking::KnowledgeMasking;
use super::sentence_distance::{self, SentenceDistance};
use super::sentence_reordering::SentenceReordering;
use super::token_document::TokenDocument;
use super::{ObjectiveConfig, Text};
use crate::error::{Error, Result};

/// More steps are not planned.
const MOST_STEPS: u64 = 1 << 26;

/// A task, and how many steps it gets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskConfig {
    /// What is learnt: knowledge masking, sentence reordering, sentence distance, capitalisation, token-document relation.
    pub objective: ObjectiveConfig,
    /// Steps in each stage: none before the task comes, some in every stage from then on.
    pub steps: Vec<u64>,
}

/// Tasks in the order of their ids.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContinualConfig {
    /// The tasks; the first is knowledge masking, and each has the number of its place as its id.
    pub tasks: Vec<TaskConfig>,
}

/// Which task each step is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskSchedule {
    /// By step, up to the end of the last stage.
    tasks: Vec<u8>,
    /// Where the last stage begins: it goes on if there are more steps.
    last: usize,
}

impl TaskSchedule {
    /// # Errors
    /// When stages and tasks contradict each other.
    pub fn new(config: &ContinualConfig) -> Result<Self> {
        let wrong = |problem: String| Err(Error::recipe("objective.tasks", problem));
        let steps: Vec<&[u64]> = config.tasks.iter().map(|task| &task.steps[..]).collect();
        let stages = steps.first().map_or(0, |steps| steps.len());
        if stages == 0 || steps.len() > 100 {
            return wrong("give up to a hundred tasks, each with its steps in every stage".into());
        }
        for (number, own) in (1..).zip(&steps) {
            if own.len() != stages {
                return wrong(format!("task {number} has {} stages, but the first has {stages}", own.len()));
            }
            let Some(begins) = own.iter().position(|&count| count > 0) else {
                return wrong(format!("task {number} has no step in any stage"));
            };
            if own[begins..].contains(&0) {
                let problem = "is left out after it came: give it a step at least in every later stage";
                return wrong(format!("task {number} {problem}"));
            }
        }
        if steps.iter().all(|own| own[0] == 0) {
            return wrong("the first stage has no step".into());
        }
        let total = steps.iter().flat_map(|own| own.iter()).try_fold(0_u64, |sum, &count| sum.checked_add(count));
        if total.is_none_or(|total| total > MOST_STEPS) {
            return wrong(format!("all stages together should have at most {MOST_STEPS} steps"));
        }
        let mut this = Self { tasks: Vec::new(), last: 0 };
        for stage in 0..stages {
            this.last = this.tasks.len();
            let own: Vec<u64> = steps.iter().map(|steps| steps[stage]).collect();
            this.tasks.extend(turns(&own));
        }
        Ok(this)
    }

    /// The steps of all stages.
    pub fn steps(&self) -> u64 {
        self.tasks.len() as u64
    }

    /// The task of a step, counted from 0. After the last stage it begins again.
    pub fn task(&self, step: u64) -> usize {
        let step = usize::try_from(step).unwrap_or(usize::MAX);
        let over = step.checked_sub(self.tasks.len());
        let place = over.map_or(step, |over| self.last + over % (self.tasks.len() - self.last));
        usize::from(self.tasks[place])
    }
}

/// Turns of tasks with so many steps each, as even as can be: before each step every task's claim grows by its steps, and
/// the largest claim has the step and pays for it with those of all.
fn turns(steps: &[u64]) -> Vec<u8> {
    let total: u64 = steps.iter().sum();
    let mut claims = vec![0_i64; steps.len()];
    let mut turns = Vec::new();
    for _ in 0..total {
        claims.iter_mut().zip(steps).for_each(|(claim, &own)| *claim += own as i64);
        // of equal ones the first
        let next = (0..claims.len()).rev().max_by_key(|&task| claims[task]).unwrap_or(0);
        claims[next] -= total as i64;
        turns.push(next as u8);
    }
    turns
}

/// A task with the tokens that it needs.
#[derive(Clone, Debug)]
pub enum TaskObjective {
    /// Hidden tokens, phrases, entities.
    Knowledge(Box<KnowledgeMasking>),
    /// The order of segments.
    Reordering(SentenceReordering),
    /// The distance of sentences.
    Distance(SentenceDistance),
    /// Capitals.
    Capitalization(Box<Capitalization>),
    /// Tokens that are elsewhere in the document.
    TokenDocument(Box<TokenDocument>),
}

impl TaskObjective {
    /// Its name, as recipes and metrics have it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Knowledge(_) => "knowledge_masking",
            Self::Reordering(_) => "sentence_reordering",
            Self::Distance(_) => "sentence_distance",
            Self::Capitalization(_) => "capitalization",
            Self::TokenDocument(_) => "token_document",
        }
    }

    /// What it makes of a text, and the text as it would be read with nothing changed. `other` is of another document, for
    /// the distance of sentences.
    ///
    /// # Errors
    /// When the text holds nothing for the task, or the task is knowledge masking, which has no classes.
    pub fn classify(
        &self,
        text: &Text<'_>,
        other: Option<&Text<'_>>,
        random: &mut ChaCha8Rng,
    ) -> Result<(Classified, Vec<u32>)> {
        Ok(match self {
            Self::Knowledge(_) => return Err(Error::Input("knowledge masking foretells tokens, not classes".into())),
            Self::Reordering(objective) => (objective.corrupt(text, random)?, Vec::new()),
            Self::Distance(objective) => {
                let length = text.ids.len().max(2) + sentence_distance::FRAME;
                (objective.corrupt(text, other, length, random)?, Vec::new())
            }
            Self::Capitalization(objective) => {
                let made = objective.classify(text)?;
                let read = made.ids[..1].iter().chain(text.ids).copied().collect();
                (made, read)
            }
            Self::TokenDocument(objective) => (objective.halved(text)?, Vec::new()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::knowledge_masking::KnowledgeMaskingConfig;
    use super::*;

    fn schedule(steps: &[&[u64]]) -> Result<TaskSchedule> {
        let objective = ObjectiveConfig::KnowledgeMasking(KnowledgeMaskingConfig::default());
        let task = |steps: &&[u64]| TaskConfig { objective: objective.clone(), steps: steps.to_vec() };
        TaskSchedule::new(&ContinualConfig { tasks: steps.iter().map(task).collect() })
    }

    /// By hand: the first task alone, then with the second, then all three.
    #[test]
    fn each_stage_trains_the_new_task_and_all_before() {
        let schedule = schedule(&[&[3, 2, 1], &[0, 2, 1], &[0, 0, 4]]).unwrap();
        let tasks: Vec<usize> = (0..13).map(|step| schedule.task(step)).collect();
        assert_eq!(tasks, [0, 0, 0, 0, 1, 0, 1, 2, 0, 2, 1, 2, 2]);
        assert_eq!(schedule.steps(), 13);
        // the last stage goes on
        assert_eq!((13..19).map(|step| schedule.task(step)).collect::<Vec<_>>(), tasks[7..]);
        assert_eq!(schedule.task(13 + 6 * 1_000_000), tasks[7]);
    }

    #[test]
    fn steps_are_exact_and_evenly_spread() {
        let own = [500, 30, 0, 170];
        let turns = turns(&own);
        assert_eq!(turns.len(), 700);
        for (task, &steps) in own.iter().enumerate() {
            // after any number of steps a task has had its share but for one or two
            let mut had = 0.0;
            for (step, &turn) in (1..).zip(&turns) {
                had += f64::from(u8::from(usize::from(turn) == task));
                let share = f64::from(step) * steps as f64 / 700.0;
                assert!((had - share).abs() < 2.0, "task {task} had {had} of {share} after {step}");
            }
            assert!((had - steps as f64).abs() < 1e-9);
        }
    }

    #[test]
    fn impossible_schedules_are_refused() {
        for steps in [
            &[][..],
            &[&[][..]],
            &[&[1, 2], &[1]],
            &[&[1, 2], &[0, 0]],
            &[&[0, 2], &[0, 1]],
            &[&[1, 1, 1], &[0, 1, 0]],
            &[&[u64::MAX, 1]],
            &[&[1 << 40]],
        ] {
            let error = schedule(steps).unwrap_err().to_string();
            assert!(error.starts_with("objective.tasks"), "{error}");
        }
    }
}
