//! The tables of a recipe that every kind of run has: how long, batches, judging, checkpoints, what is told.

use serde::{Deserialize, Serialize};

/// `[run]`: the first limit that is reached ends it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Run {
    /// How often all training data is seen, unless `steps` or `minutes` are given. Default: 3.
    pub epochs: f64,
    /// The number of optimizer steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<u64>,
    /// The time; the schedule is fitted to it. What was computed by then depends on the machine's speed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minutes: Option<f64>,
    /// The most that the gradients' common norm may be. Default: 1; 0 is off.
    pub clip: f32,
    /// Keep an exponential moving average of the weights with this decay, judge it and save it. Default: 0, off.
    pub average: f32,
    /// The share of the run after which nothing is dropped any more, neither activations nor layers (BART: 0.9). Default: 1,
    /// never.
    #[serde(skip_serializing_if = "is_whole")]
    pub dropout_until: f64,
    /// Keep only what goes into each layer, and compute the layer again for its gradients (Chen et al. 2016): less memory,
    /// a third more time, the same numbers (of encoder-decoders up to the order of a sum). Default: no.
    pub gradient_checkpointing: bool,
}

/// What runs were before the key came has no such line in its checkpoints.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_whole(share: &f64) -> bool {
    *share >= 1.0
}

impl Default for Run {
    fn default() -> Self {
        Self {
            epochs: 3.0,
            steps: None,
            minutes: None,
            clip: 1.0,
            average: 0.0,
            dropout_until: 1.0,
            gradient_checkpointing: false,
        }
    }
}

/// `[batch]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BatchConfig {
    /// Examples of a micro-batch. Default: 16, unless `tokens` are given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<usize>,
    /// Tokens of a micro-batch, however many examples that is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<usize>,
    /// Micro-batches of a step; gradients are divided by the targets of all of them. Default: 1.
    pub accumulate: usize,
    /// Examples of similar length together. Default: yes.
    pub group: bool,
    /// In a new order each epoch. Default: yes.
    pub shuffle: bool,
}

impl Default for BatchConfig {
    fn default() -> Self {
        Self { size: None, tokens: None, accumulate: 1, group: true, shuffle: true }
    }
}

/// `[regularize]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Regularize {
    /// All dropouts of the model at this rate. Default: as the model's configuration says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropout: Option<f32>,
    /// R-Drop (Wu et al. 2021): two passes, and the weight of their disagreement. Default: 0, off.
    pub r_drop: f32,
    /// Multi-sample dropout (Inoue 2019): so many passes through the head of a sequence classifier. Default: 1.
    pub dropouts: usize,
    /// FGM (Miyato et al. 2017): a second pass over word embeddings moved this far against the gradient. Default: 0.
    pub fgm: f32,
}

impl Default for Regularize {
    fn default() -> Self {
        Self { dropout: None, r_drop: 0.0, dropouts: 1, fgm: 0.0 }
    }
}

/// `[evaluate]`, with `data.validation`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Evaluate {
    /// Steps between. Default: a tenth of the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every: Option<u64>,
    /// The metric that decides which step was best. Default: the task's main one; `"loss"` always exists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric: Option<String>,
    /// Stop after so many evaluations without a better one. Default: 0, never.
    pub patience: u32,
    /// Tokens of a batch. Default: 4096.
    pub batch_tokens: usize,
}

impl Default for Evaluate {
    fn default() -> Self {
        Self { every: None, metric: None, patience: 0, batch_tokens: 4096 }
    }
}

/// `[checkpoint]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CheckpointConfig {
    /// Steps between. Default: a tenth of the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every: Option<u64>,
    /// How many of the newest are kept, the best beside them. Default: 2.
    pub keep: usize,
    /// Whether the final model is the best that was judged rather than the last. Default: yes.
    pub best: bool,
}

impl Default for CheckpointConfig {
    fn default() -> Self {
        Self { every: None, keep: 2, best: true }
    }
}

/// `[log]`: files in the folder `output`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// Steps between two lines. Default: 10.
    pub every: u64,
    /// Event files for TensorBoard. Default: yes.
    pub tensorboard: bool,
    /// `report.html` at the end. Default: yes.
    pub html: bool,
}

impl Default for Log {
    fn default() -> Self {
        Self { every: 10, tensorboard: true, html: true }
    }
}
