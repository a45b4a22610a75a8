//! ERNIE in continual pretraining (Sun et al. 2020, ERNIE 2.0, §3): one encoder for all tasks, told by a task id which one it
//! works on, with a masked language model and a classifier a task over it. Without the classifiers it is a model like others.

use std::path::Path;
use std::sync::Arc;

use burn::prelude::*;
use ptm_ops::Activation;

use crate::config::{Configuration, EncoderConfig, Family};
use crate::encoder::Encoder;
use crate::error::{Error, Result};
use crate::files::{SHARD_BYTES, Weights};
use crate::heads::{Head, MaskedLmHead, Pooler};
use crate::init::{self, Rule};
use crate::layers::Linear;
use crate::model::Model;
use crate::names::Names;
use crate::{read, write};

/// The file of the tasks' classifiers in a model's directory.
pub const TASKS: &str = "tasks.safetensors";

/// A task with a classifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Task {
    /// In which order segments stood; of the whole sequence.
    SentenceReordering,
    /// How far two sentences are apart; of the whole sequence.
    SentenceDistance,
    /// Whether a word has a capital; of its first token.
    Capitalization,
    /// Whether a token is elsewhere in its document too; of the token.
    TokenDocument,
}

impl Task {
    /// Whether the classifier reads what stands for the whole sequence, not tokens.
    pub fn of_sequences(self) -> bool {
        matches!(self, Self::SentenceReordering | Self::SentenceDistance)
    }
}

/// Classifiers over the encoder, as many as the model learns tasks.
#[derive(Module, Debug)]
struct Tasks {
    sentence_reordering: Option<Linear>,
    sentence_distance: Option<Linear>,
    capitalization: Option<Linear>,
    token_document: Option<Linear>,
}

/// All heads.
#[derive(Module, Debug)]
pub struct ContinualHead {
    /// Of hidden tokens.
    pub masked_lm: MaskedLmHead,
    pooler: Pooler,
    tasks: Tasks,
}

impl ContinualHead {
    fn new(config: &EncoderConfig, classes: &[(Task, usize)], device: &Device) -> Self {
        let of = |task: Task| {
            let count = classes.iter().find(|(known, _)| *known == task).map(|(_, count)| *count);
            count.map(|count| Linear::new(config.hidden_size, count, device))
        };
        let tasks = Tasks {
            sentence_reordering: of(Task::SentenceReordering),
            sentence_distance: of(Task::SentenceDistance),
            capitalization: of(Task::Capitalization),
            token_document: of(Task::TokenDocument),
        };
        Self { masked_lm: Head::new(config, device), pooler: Head::new(config, device), tasks }
    }

    /// Logits of a task's classes: of first hidden states, or of tokens.
    ///
    /// # Shapes
    /// `[R, H]` → `[R, classes]`.
    ///
    /// # Errors
    /// When the model has no such task.
    pub fn logits(&self, task: Task, hidden: Tensor<2>) -> Result<Tensor<2>> {
        let tasks = &self.tasks;
        let classifier = match task {
            Task::SentenceReordering => &tasks.sentence_reordering,
            Task::SentenceDistance => &tasks.sentence_distance,
            Task::Capitalization => &tasks.capitalization,
            Task::TokenDocument => &tasks.token_document,
        };
        let Some(classifier) = classifier else {
            return Err(Error::Input(format!("the model has no classifier for {task:?}")));
        };
        let hidden = if task.of_sequences() { self.pooler.forward(hidden) } else { hidden };
        Ok(classifier.forward(hidden, Activation::None))
    }
}

/// An encoder with all heads.
#[derive(Module, Debug)]
pub struct Ernie {
    /// Token ids to hidden states.
    pub body: Encoder,
    /// Hidden states to answers.
    pub head: ContinualHead,
}

/// What of it `transformers` knows.
#[derive(Module, Debug)]
struct Known {
    body: Encoder,
    head: KnownHead,
}

#[derive(Module, Debug)]
struct KnownHead {
    masked_lm: MaskedLmHead,
    pooler: Pooler,
}

/// What it doesn't.
#[derive(Module, Debug)]
struct Own {
    head: OwnHead,
}

#[derive(Module, Debug)]
struct OwnHead {
    tasks: Tasks,
}

impl Ernie {
    fn skeleton(config: EncoderConfig, classes: &[(Task, usize)], device: &Device) -> Result<Self> {
        if config.family() != Family::Ernie || config.tasks == 0 {
            let problem = "continual pretraining is ERNIE's: model_type should be \"ernie\", and use_task_id true";
            return Err(Error::Input(problem.into()));
        }
        let head = ContinualHead::new(&config, classes, device);
        Ok(Self { body: Encoder::new(Arc::new(config), device), head })
    }

    /// With fresh weights, and a classifier with so many classes for each of the tasks.
    ///
    /// # Errors
    /// When the configuration isn't that of an ERNIE with task ids, or its sizes multiply to more than can be meant.
    pub fn random(config: EncoderConfig, classes: &[(Task, usize)], seed: u64, device: &Device) -> Result<Self> {
        // sizes are checked where all models' are
        let masked = Model::<MaskedLmHead>::random(config.clone(), seed, device)?;
        let rule = Rule::new(&config, seed);
        let whole = init::random(Self::skeleton(config, classes, device)?, rule, device);
        Ok(Self { body: masked.body, head: whole.head })
    }

    /// The model of a directory, with the classifiers of its file [`TASKS`] where it has one; with a seed, heads that the
    /// files lack are new: those of tasks that the model learns from now on.
    ///
    /// # Errors
    /// As [`Self::random`], and when files are missing or damaged or a task has another number of classes.
    pub fn open(
        dir: &Path,
        config: EncoderConfig,
        classes: &[(Task, usize)],
        new_heads: Option<u64>,
        device: &Device,
    ) -> Result<Self> {
        let (tied, rule) = (config.tied(), new_heads.map(|seed| Rule::new(&config, seed)));
        let mut weights = Weights::open(dir)?;
        let own = dir.join(TASKS);
        if own.exists() {
            weights = weights.joined(Weights::open_file(&own)?);
        }
        let skeleton = Self::skeleton(config, classes, device)?;
        let names = skeleton.names();
        Ok(read::read(skeleton, &weights, &names, tied, rule, device)?.model)
    }

    /// How files spell the parameters.
    pub fn names(&self) -> Names {
        Names::new(Family::Ernie, "continual", true)
    }

    /// The masked language model.
    pub fn masked_lm(&self) -> Model<MaskedLmHead> {
        Model { body: self.body.clone(), head: self.head.masked_lm.clone() }
    }

    /// Writes a directory that `transformers` opens as a masked language model, or as an encoder with its pooler; the tasks'
    /// classifiers are in the file [`TASKS`] of it.
    ///
    /// # Errors
    /// When a file can't be written.
    pub fn save(&self, dir: &Path) -> Result<()> {
        let (names, ContinualHead { masked_lm, pooler, tasks }) = (self.names(), self.head.clone());
        crate::files::create_dir(dir)?;
        write::save_file(&Own { head: OwnHead { tasks } }, &names, &dir.join(TASKS))?;
        let config = self.body.config().to_json(&self.masked_lm().architecture());
        let known = Known { body: self.body.clone(), head: KnownHead { masked_lm, pooler } };
        write::save(&known, &names, config, dir, SHARD_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use ptm_text::{Packed, PositionStyle};
    use serde_json::{Value, json};

    use super::*;
    use crate::encoder::Input;
    use crate::heads::SequenceHead;
    use crate::{Pass, Rows};

    const CLASSES: [(Task, usize); 2] = [(Task::SentenceReordering, 9), (Task::TokenDocument, 2)];

    fn config(more: Value) -> EncoderConfig {
        let config = json!({"model_type": "ernie", "vocab_size": 20, "hidden_size": 8, "num_hidden_layers": 1,
            "num_attention_heads": 2, "intermediate_size": 16, "max_position_embeddings": 16, "type_vocab_size": 4,
            "use_task_id": true, "task_type_vocab_size": 3, "initializer_range": 0.5});
        let (Value::Object(mut config), Value::Object(more)) = (config, more) else { panic!("objects") };
        config.extend(more);
        EncoderConfig::from_json(config).unwrap()
    }

    /// First hidden state and classes of a text of one task.
    fn answers(model: &Ernie, task: Task, id: u32) -> Vec<f32> {
        let packed = Packed::from_ids(&[&[2, 7, 9, 3]], PositionStyle::Zero).unwrap();
        let input = Input { tasks: Some(vec![id; 4].into()), ..(&packed).into() };
        let hidden = model.body.forward(&input, &Rows::First, &Pass::eval()).unwrap();
        ptm_ops::read_f32(model.head.logits(task, hidden).unwrap())
    }

    #[test]
    fn what_is_written_is_read_again_and_new_tasks_begin() {
        let (device, dir) = (Device::flex(), tempfile::tempdir().unwrap());
        let model = Ernie::random(config(json!({})), &CLASSES, 1, &device).unwrap();
        model.save(dir.path()).unwrap();
        let open = |classes: &[(Task, usize)], seed| {
            Ernie::open(dir.path(), EncoderConfig::from_dir(dir.path()).unwrap(), classes, seed, &device)
        };
        let again = open(&CLASSES, None).unwrap();
        for (task, count) in CLASSES {
            let said = answers(&model, task, 1);
            assert_eq!(said.len(), count);
            assert_eq!(said, answers(&again, task, 1));
            assert_ne!(said, answers(&model, task, 2), "the task's embedding counts");
        }
        assert!(model.head.logits(Task::Capitalization, Tensor::zeros([1, 8], &device)).is_err());
        // a task more
        let more = [CLASSES[0], CLASSES[1], (Task::SentenceDistance, 3)];
        let error = open(&more, None).unwrap_err().to_string();
        assert!(error.contains("tasks.sentence_distance"), "{error}");
        let grown = open(&more, Some(5)).unwrap();
        assert_eq!(answers(&grown, Task::SentenceReordering, 0), answers(&model, Task::SentenceReordering, 0));
        assert_eq!(answers(&grown, Task::SentenceDistance, 0).len(), 3);
        assert!(open(&[(Task::SentenceReordering, 3)], Some(5)).unwrap_err().to_string().contains("tasks."));
    }

    #[test]
    fn others_open_what_they_know() {
        let (device, dir) = (Device::flex(), tempfile::tempdir().unwrap());
        let model = Ernie::random(config(json!({})), &CLASSES, 1, &device).unwrap();
        model.save(dir.path()).unwrap();
        let config: Value = serde_json::from_slice(&std::fs::read(dir.path().join("config.json")).unwrap()).unwrap();
        assert_eq!((&config["architectures"][0], &config["use_task_id"]), (&json!("ErnieForMaskedLM"), &json!(true)));
        let masked = Model::<MaskedLmHead>::open(dir.path(), &device).unwrap();
        assert_eq!(
            (masked.unused.as_slice(), masked.new.len()),
            (&["ernie.pooler.dense.bias", "ernie.pooler.dense.weight"].map(str::to_owned)[..], 0)
        );
        let classifier = Model::<SequenceHead>::open_with_new_head(dir.path(), 1, &device).unwrap();
        assert_eq!(classifier.new, ["classifier.weight", "classifier.bias"], "the pooler is there");
    }

    #[test]
    fn without_task_ids_there_are_no_tasks() {
        for more in [json!({"use_task_id": false}), json!({"model_type": "bert"})] {
            let error = Ernie::random(config(more), &CLASSES, 1, &Device::flex()).unwrap_err().to_string();
            assert!(error.contains("use_task_id"), "{error}");
        }
    }
}
