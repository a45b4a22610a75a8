//! What a body is to heads and files: token ids to hidden states, whatever the family.

use std::sync::Arc;

use burn::module::{ModuleDisplay, Param};
use burn::prelude::*;
use ptm_text::Packed;

use crate::config::{Configuration, Family};
use crate::error::{Error, Result};
use crate::pass::Pass;
use crate::rows::Rows;

/// A batch of sequences, without padding.
pub trait Sequences {
    /// Where the hidden states of each sequence begin and end, `[B + 1]`.
    fn offsets(&self) -> &[usize];

    /// How many sequences there are, `B`.
    fn sequences(&self) -> usize {
        self.offsets().len().saturating_sub(1)
    }
}

impl Sequences for Packed {
    fn offsets(&self) -> &[usize] {
        &self.offsets
    }
}

/// What an encoder-decoder reads: what it is told, and what its decoder reads of what it is to say.
#[derive(Clone, Copy, Debug)]
pub struct Pair<'a> {
    /// The sequences that the encoder reads.
    pub source: &'a Packed,
    /// As many that the decoder reads.
    pub target: &'a Packed,
}

impl Pair<'_> {
    /// The target's rows that stand where the source holds its last `end`.
    pub(crate) fn rows_of_ends(&self, end: u32) -> Result<Rows> {
        let pairs = self.source.offsets.windows(2).zip(self.target.offsets.windows(2));
        let rows = pairs.map(|(source, target)| {
            let last = self.source.ids[source[0]..source[1]].iter().rposition(|&id| id == end);
            last.map(|last| target[0] + last).filter(|&row| row < target[1]).map(|row| row as u32).ok_or_else(|| {
                Error::Input(format!("a text without token {end}, which ends it: encode it with special tokens"))
            })
        });
        Ok(Rows::Chosen(rows.collect::<Result<Vec<u32>>>()?.into()))
    }
}

impl Sequences for Pair<'_> {
    /// The target's.
    fn offsets(&self) -> &[usize] {
        &self.target.offsets
    }
}

/// How a family's language model goes from hidden states to logits.
#[derive(Clone, Copy, Debug)]
pub struct LanguageModelStyle {
    /// What hidden states are multiplied by before the output embedding.
    pub scale: f32,
    /// Whether logits have a bias.
    pub bias: bool,
    /// Whether the file holds a bias of the logits that isn't trained (`final_logits_bias`).
    pub fixed_bias: bool,
}

impl Default for LanguageModelStyle {
    fn default() -> Self {
        Self { scale: 1.0, bias: false, fixed_bias: false }
    }
}

/// Token ids to hidden states.
pub trait Body: Module + ModuleDisplay {
    /// What describes it.
    type Config: Configuration;
    /// What it reads.
    type Input<'a>: Sequences;

    /// A body whose parameters are still to be read or initialised.
    fn new(config: Arc<Self::Config>, device: &Device) -> Self;

    /// The configuration that it was built from.
    fn config(&self) -> &Arc<Self::Config>;

    /// The word embedding that tied language models decode with, `[V, E]`.
    fn word(&self) -> &Param<Tensor<2>>;

    /// Hidden states of the last layer, `[T, H]`, or `[R, H]` for R chosen rows.
    ///
    /// # Errors
    /// When the input doesn't fit the model.
    fn forward(&self, input: &Self::Input<'_>, rows: &Rows, pass: &Pass) -> Result<Tensor<2>>;

    /// The row of each sequence whose hidden state stands for the whole.
    ///
    /// # Errors
    /// When a sequence has no such row.
    fn summary(&self, input: &Self::Input<'_>) -> Result<Rows>;

    /// The hidden states that stand for the sequences, `[B, H]`.
    ///
    /// # Errors
    /// As [`Self::forward`] and [`Self::summary`].
    fn summarize(&self, input: &Self::Input<'_>, pass: &Pass) -> Result<Tensor<2>> {
        self.forward(input, &self.summary(input)?, pass)
    }

    /// The end of the class name in `transformers` of this body with the head of that name, if there is such a class.
    fn class(family: Family, head: &str) -> Option<&'static str>;

    /// Whether that class keeps the body under the family's prefix (`bert.`).
    fn prefixed(head: &str) -> bool {
        !["hidden-states", "pooler"].contains(&head)
    }

    /// What a body that is one stack of its family leaves out of its names in files of its own: `encoder.`.
    fn stack() -> &'static str {
        ""
    }

    /// How language models over it are made.
    fn language_model(_: &Self::Config) -> LanguageModelStyle {
        LanguageModelStyle::default()
    }
}

/// Says what of `batch` contradicts itself, or is beyond the rows of its embedding: `vocab` words, `positions`.
pub(crate) fn check_packed(batch: &Packed, vocab: usize, positions: usize) -> Result<()> {
    let count = batch.ids.len();
    if batch.positions.len() != count || batch.segments.len() != count {
        let (positions, segments) = (batch.positions.len(), batch.segments.len());
        let problem = format!("{count} token ids with {positions} positions and {segments} segments: give one each");
        return Err(Error::Input(problem));
    }
    let offsets = &batch.offsets;
    if offsets.first() != Some(&0) || offsets.last() != Some(&count) || offsets.windows(2).any(|w| w[0] >= w[1]) {
        let problem = format!("the batch's offsets should rise from 0 to {count}, and no sequence be empty");
        return Err(Error::Input(problem));
    }
    let limits = [
        ("token id", &batch.ids, vocab, "the tokenizer doesn't belong to this model"),
        ("position", &batch.positions, positions, "shorten the text or cut it into windows"),
    ];
    for (what, values, limit, hint) in limits {
        if let Some(value) = beyond(values, limit) {
            return Err(Error::Input(format!("{what} {value} is beyond the model's {limit}: {hint}")));
        }
    }
    Ok(())
}

/// The largest value, if it is not below `limit`.
pub(crate) fn beyond(values: &[u32], limit: usize) -> Option<u32> {
    values.iter().copied().max().filter(|&value| value as usize >= limit)
}
