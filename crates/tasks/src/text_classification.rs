//! Classification of texts and of pairs of texts: labels with scores, or numbers where the model gives those.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use ptm_kernels::softmax::softmax;
use ptm_text::Input;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::Result;
use crate::generation::Origin;
use crate::headed::{Batches, Headed, Reading};
use crate::parameters::{Chooser, Effective};
use crate::task::Task;

/// A classifier with its tokenizer.
#[derive(Debug)]
pub struct TextClassification {
    pub(crate) model: Headed,
}

/// What makes scores of logits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Function {
    /// Each label by itself.
    Sigmoid,
    /// One of the labels.
    Softmax,
    /// Nothing: the numbers themselves.
    None,
}

impl Function {
    /// Scores of one row of logits.
    pub(crate) fn apply(self, logits: &[f32]) -> Vec<f32> {
        match self {
            Self::Sigmoid => logits.iter().map(|x| 1.0 / (1.0 + (-x).exp())).collect(),
            Self::Softmax => softmax(logits, logits.len()),
            Self::None => logits.to_vec(),
        }
    }
}

/// How many of the best; as a number, or null for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Option<usize>", into = "Option<usize>")]
pub enum Top {
    /// That many.
    Best(usize),
    /// All of them.
    All,
}

impl From<Option<usize>> for Top {
    fn from(count: Option<usize>) -> Self {
        count.map_or(Self::All, Self::Best)
    }
}

impl From<Top> for Option<usize> {
    fn from(top: Top) -> Self {
        match top {
            Top::Best(count) => Some(count),
            Top::All => None,
        }
    }
}

/// How texts are classified; by default as the model's configuration says.
#[derive(Clone, Debug, Default)]
pub struct TextClassificationOptions<'a> {
    /// What makes scores of logits. Of itself a regression has none, several labels at once or a single one the sigmoid,
    /// one of several labels the softmax.
    pub function_to_apply: Option<Function>,
    /// How many labels a text gets, the best first; the best alone by default.
    pub top_k: Option<Top>,
    /// Cut texts that are longer than the model reads; otherwise they are an error.
    pub truncate: bool,
    /// Tokens of a batch.
    pub batch_tokens: Option<usize>,
    /// Set by the caller to stop between batches.
    pub stop: Option<&'a AtomicBool>,
}

/// A label with its score.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Label {
    /// Its name.
    pub label: String,
    /// Its probability, or what the model says where no function is applied.
    pub score: f32,
}

/// The labels of a text.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Classified {
    /// The best, where nobody asked for a number of labels.
    One(Label),
    /// So many as asked for, the best first.
    Several(Vec<Label>),
}

impl Classified {
    /// The labels, whatever their number.
    pub fn labels(&self) -> &[Label] {
        match self {
            Self::One(label) => std::slice::from_ref(label),
            Self::Several(labels) => labels,
        }
    }
}

/// The values that count for a call.
struct Settled {
    function: Function,
    /// None where the best alone is wanted, without a list around it.
    top_k: Option<Top>,
    /// Whether labels come by their scores; else in the model's order.
    ranked: bool,
}

impl TextClassification {
    /// Opens a model directory.
    ///
    /// # Errors
    /// When a file is missing or damaged, or the model is of another task.
    pub fn open(dir: &Path) -> Result<Self> {
        Self::open_for(dir, Task::TextClassification)
    }

    /// Opens a model directory for a task that reads a classifier in its own way.
    pub(crate) fn open_for(dir: &Path, task: Task) -> Result<Self> {
        Ok(Self { model: Headed::open(dir, Reading::Sequence, task)? })
    }

    /// The names of the labels, in the model's order.
    pub fn labels(&self) -> &[String] {
        &self.model.labels
    }

    /// What scores are made with where nobody says.
    pub(crate) fn own_function(&self) -> Function {
        match self.model.config.get("problem_type").and_then(Value::as_str) {
            Some("regression") => Function::None,
            Some("multi_label_classification") => Function::Sigmoid,
            _ if self.labels().len() == 1 => Function::Sigmoid,
            _ => Function::Softmax,
        }
    }

    /// The parameters as they count with these options, each with its origin.
    ///
    /// # Errors
    /// When a value of the model's configuration is impossible.
    pub fn effective(&self, options: &TextClassificationOptions<'_>) -> Result<Vec<Effective>> {
        Ok(self.settle(options)?.1)
    }

    fn settle(&self, options: &TextClassificationOptions<'_>) -> Result<(Settled, Vec<Effective>)> {
        let mut chooser = Chooser::new(Task::TextClassification, &self.model.config);
        let function = chooser.choose("function_to_apply", options.function_to_apply, || self.own_function())?;
        // an old way to say top_k, which leaves the labels in the model's order
        let all = self.model.config.get("return_all_scores").and_then(Value::as_bool);
        let (top_k, ranked) = match (options.top_k, all) {
            (None, Some(true)) => {
                chooser.note("top_k", &Top::All, Origin::File("config.json"));
                (Some(Top::All), false)
            }
            (given, _) => {
                let top = chooser.choose("top_k", given, || Top::Best(1))?;
                let is_default = chooser.chosen.last().is_some_and(|last| last.origin == Origin::Default);
                ((!is_default).then_some(top), true)
            }
        };
        chooser.note("truncation", &options.truncate, if options.truncate { Origin::Caller } else { Origin::Default });
        Ok((Settled { function, top_k, ranked }, chooser.chosen))
    }

    /// Labels for every text or pair, in order, each with an error of its own where there is one. `progress` hears how
    /// many are done.
    ///
    /// # Errors
    /// When an option doesn't fit the model, or the caller asked to stop.
    pub fn classify(
        &self,
        inputs: &[Input<'_>],
        options: &TextClassificationOptions<'_>,
        progress: &mut dyn FnMut(usize),
    ) -> Result<Vec<Result<Classified>>> {
        let (settled, _) = self.settle(options)?;
        let encodings = self.model.encode_cut(inputs, options.truncate);
        let batches = Batches { tokens: options.batch_tokens, stop: options.stop };
        self.model.answer_each(encodings, batches, &|_, _, logits| Ok(self.label(&logits[0], &settled)), progress)
    }

    fn label(&self, logits: &[f32], settled: &Settled) -> Classified {
        let scores = settled.function.apply(logits);
        let mut labels: Vec<Label> =
            self.labels().iter().zip(scores).map(|(label, score)| Label { label: label.clone(), score }).collect();
        if settled.ranked {
            labels.sort_by(|a, b| b.score.total_cmp(&a.score));
        }
        match settled.top_k {
            None => Classified::One(labels.swap_remove(0)),
            Some(Top::Best(count)) => {
                labels.truncate(count);
                Classified::Several(labels)
            }
            Some(Top::All) => Classified::Several(labels),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions() {
        assert_eq!(Function::None.apply(&[2.0, -1.0]), [2.0, -1.0]);
        assert_eq!(Function::Sigmoid.apply(&[0.0]), [0.5]);
        assert_eq!(Function::Softmax.apply(&[3.0, 3.0]), [0.5, 0.5]);
        assert!(Function::Sigmoid.apply(&[-1e4])[0] >= 0.0);
    }

    #[test]
    fn all_is_null() {
        assert_eq!(serde_json::to_string(&[Top::All, Top::Best(3)]).unwrap(), "[null,3]");
        assert_eq!(serde_json::from_str::<Top>("null").unwrap(), Top::All);
    }
}
