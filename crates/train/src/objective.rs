//! What the loop trains: batches from somewhere, and a loss of a model. Fine-tuning and pretraining are objectives; the
//! loop knows nothing of labels, masks or files of text.

use std::path::Path;

use burn::module::Module;
use burn::prelude::*;
use ptm_models::Pass;
use ptm_models::names::Names;

use crate::error::Result;
use crate::feed::{Cursor, Feed};
use crate::training::Settings;

/// What is learnt, from what.
pub trait Objective {
    /// What learns.
    type Model: Module;
    /// What goes through it at once.
    type Batch: Send + 'static;

    /// The names of the loss's parts, `["loss"]` where it has only one. The whole is their sum.
    fn parts(&self) -> &[&'static str];

    /// Batches from `cursor` on, without end: one step's at a time.
    fn feed(&self, cursor: Cursor) -> Feed<Self::Batch>;

    /// The number of steps in which all data is seen once; `stop` says whether to give up.
    ///
    /// # Errors
    /// Those of reading the data; [`crate::Error::Stopped`] where `stop` said so.
    fn steps_of_epoch(&self, stop: &dyn Fn() -> bool) -> Result<u64>;

    /// A number that differs for other data: a run is only continued on what it began with.
    fn fingerprint(&self) -> u64;

    /// What is learnt from and judged by, as names and values for the report of the run. Default: nothing is said.
    fn data(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    /// The number of tokens that are computed.
    fn tokens(&self, batch: &Self::Batch) -> usize;

    /// How much the targets of a batch count, for each part: what sums of losses are divided by, over all
    /// micro-batches of a step.
    fn weights(&self, batch: &Self::Batch) -> Vec<f64>;

    /// For each part its scale times the sum of the losses of the batch's targets, as often as they count.
    ///
    /// # Errors
    /// When the batch doesn't fit the model.
    fn losses(&self, model: &Self::Model, batch: &Self::Batch, scales: &[f32], pass: &Pass) -> Result<Vec<Tensor<1>>>;

    /// How good the model is, on data that it doesn't learn from; none without such data. `stop` says whether to give
    /// up.
    ///
    /// # Errors
    /// Those of reading the data; [`crate::Error::Stopped`] where `stop` said so.
    fn judge(&self, model: &Self::Model, stop: &dyn Fn() -> bool) -> Result<Option<Judgement>>;

    /// Judges one of the largest batches and forgets it: what takes the most memory at a time.
    ///
    /// # Errors
    /// Those of reading the data.
    fn judge_largest(&self, _: &Self::Model) -> Result<()> {
        Ok(())
    }

    /// How files spell the model's parameters.
    fn names(&self, model: &Self::Model) -> Names;

    /// Reads a model that [`Self::save`] wrote.
    ///
    /// # Errors
    /// When it is damaged.
    fn open(&self, dir: &Path) -> Result<Self::Model>;

    /// Writes a directory that the commands of ptm and `transformers` open.
    ///
    /// # Errors
    /// When a file can't be written.
    fn save(&self, model: &Self::Model, dir: &Path) -> Result<()>;
}

/// What is done with an objective: a run, or something that is to be learnt before one.
pub trait Aim {
    /// What comes of it.
    type Output;

    /// Whether to give up what is read of the data before the aim is pursued.
    fn stop(&self) -> bool {
        false
    }

    /// Does it with the model that `start` gives.
    ///
    /// # Errors
    /// When data and model don't fit, and whatever else the aim says.
    fn pursue<O: Objective>(
        self,
        objective: &O,
        start: impl FnOnce() -> Result<O::Model>,
        settings: &Settings,
    ) -> Result<Self::Output>;
}

/// How good a model is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Judgement {
    /// Metrics by name, the main one first.
    pub metrics: Vec<(String, f64)>,
}

/// Metrics of which less is better.
const ERRORS: [&str; 5] = ["loss", "perplexity", "mse", "mae", "rmse"];

impl Judgement {
    /// The value of a metric.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.metrics.iter().find(|(metric, _)| metric == name).map(|(_, value)| *value)
    }

    /// Whether `value` of the metric `name` is better than `other`; what is no number never is.
    pub fn is_better(name: &str, value: f64, other: Option<f64>) -> bool {
        if value.is_nan() {
            return false;
        }
        other.is_none_or(|other| if ERRORS.contains(&name) { value < other } else { value > other })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn better_is_less_of_an_error_and_more_of_everything_else() {
        assert!(Judgement::is_better("loss", 0.5, Some(0.6)) && !Judgement::is_better("f1", 0.5, Some(0.6)));
        assert!(Judgement::is_better("f1", 0.5, None) && !Judgement::is_better("f1", 0.5, Some(0.5)));
        assert!(!Judgement::is_better("loss", f64::NAN, None));
    }
}
