//! Where a run stands, beside its weights and its optimizer: what a checkpoint holds as `training/state.json`.

use serde::{Deserialize, Serialize};

use crate::feed::Cursor;

/// Where a run stands, beside weights and optimizer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Optimizer steps made.
    pub step: u64,
    /// Where the data goes on.
    pub cursor: Cursor,
    /// How often all data was seen.
    #[serde(with = "exact")]
    pub epochs: f64,
    /// Tokens computed.
    pub tokens: u64,
    /// Time used.
    #[serde(with = "exact")]
    pub seconds: f64,
    /// What is summed for the next line of the log.
    pub window: Window,
    /// The best that was judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub best: Option<Best>,
    /// How often nothing better came since.
    pub waiting: u32,
    /// The step that was judged last.
    pub judged: u64,
    /// The step that was saved last.
    pub saved: u64,
    /// Whether the run is over.
    pub finished: bool,
    /// The data's.
    pub fingerprint: u64,
}

/// Sums since the last line of the log.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// Steps.
    pub steps: u64,
    /// Tokens.
    pub tokens: u64,
    #[serde(with = "exact::list")]
    losses: Vec<f64>,
    #[serde(with = "exact")]
    norms: f64,
}

impl Window {
    /// Adds a step.
    pub fn add(&mut self, losses: &[f64], norm: f64, tokens: u64) {
        self.losses.resize(losses.len(), 0.0);
        for (sum, loss) in self.losses.iter_mut().zip(losses) {
            *sum += loss;
        }
        self.norms += norm;
        self.tokens += tokens;
        self.steps += 1;
    }

    /// The mean of each part of the loss, and of the gradients' norm.
    pub fn means(&self) -> (Vec<f64>, f64) {
        let count = self.steps.max(1) as f64;
        (self.losses.iter().map(|sum| sum / count).collect(), self.norms / count)
    }
}

/// The best that was judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Best {
    /// After which step.
    pub step: u64,
    /// By which metric.
    pub metric: String,
    /// Its value.
    #[serde(with = "exact")]
    pub value: f64,
}

/// Numbers as texts: these come back with every bit, which JSON's numbers don't promise.
mod exact {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    pub fn serialize<S: Serializer>(value: &f64, to: S) -> Result<S::Ok, S::Error> {
        value.to_string().serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }

    pub mod list {
        use super::{Deserialize, Deserializer, Error, Serialize, Serializer};

        pub fn serialize<S: Serializer>(values: &[f64], to: S) -> Result<S::Ok, S::Error> {
            values.iter().map(f64::to_string).collect::<Vec<_>>().serialize(to)
        }

        pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<f64>, D::Error> {
            let texts = Vec::<String>::deserialize(from)?;
            texts.iter().map(|text| text.parse().map_err(D::Error::custom)).collect()
        }
    }
}
