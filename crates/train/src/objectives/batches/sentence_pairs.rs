//! Pairs of segments of an encoder: hidden tokens, and whether the second segment follows the first.

use burn::prelude::*;
use ptm_models::heads::PretrainingHead;
use ptm_models::{Model, Pass, Rows};
use ptm_ops::Indices;
use ptm_text::PositionStyle;

use super::masks::{Masks, foretold};
use crate::error::Result;
use crate::objectives::masking::Masked;
use crate::objectives::next_sentence::SentencePair;

/// Pairs of segments.
#[derive(Clone, Debug)]
pub struct SentencePairs {
    masks: Masks,
    labels: Indices,
}

impl SentencePairs {
    /// # Errors
    /// When a pair is empty.
    pub fn new(pairs: Vec<SentencePair>, style: PositionStyle) -> Result<Self> {
        let labels = pairs.iter().map(|pair| pair.label).collect();
        let masked: Vec<Masked> = pairs.into_iter().map(|pair| pair.masked).collect();
        Ok(Self { masks: Masks::new(&masked, style)?, labels })
    }

    /// The number of tokens that are computed.
    pub fn tokens(&self) -> usize {
        self.masks.tokens()
    }

    /// What is predicted of hidden tokens.
    pub fn targets(&self) -> &[u32] {
        self.masks.targets()
    }

    /// For each pair 0 where the second segment follows the first, else 1.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// `scales[0] · Σ cross-entropy` of hidden tokens and `scales[1] · Σ cross-entropy` of pairs.
    ///
    /// # Errors
    /// When the batch doesn't fit the model.
    pub fn losses(&self, model: &Model<PretrainingHead>, scales: [f32; 2], pass: &Pass) -> Result<[Tensor<1>; 2]> {
        let targets: Indices = self.targets().into();
        Ok(model.losses(&self.masks.input(), self.masks.rows(), &targets, &self.labels, scales, pass)?)
    }

    /// For hidden tokens and for pairs the sum of the losses, and how many answers are right.
    ///
    /// # Errors
    /// When the batch doesn't fit the model.
    pub fn answers(&self, model: &Model<PretrainingHead>) -> Result<[(f64, u64); 2]> {
        let (input, pass) = (self.masks.input(), Pass::eval());
        let hidden = model.body.forward(&input, &Rows::Chosen(self.masks.rows().clone()), &pass)?;
        let first = foretold(&model.head.masked_lm, hidden, model, &self.targets().into());
        let hidden = model.body.forward(&input, &Rows::First, &pass)?;
        let loss = model.head.next_sentence.loss(hidden.clone(), &self.labels, 1.0).into_scalar::<f32>();
        let logits = ptm_ops::read_f32(model.head.next_sentence.logits(hidden));
        let right =
            logits.chunks_exact(2).zip(&*self.labels).filter(|(row, label)| u32::from(row[1] > row[0]) == **label);
        Ok([first, (f64::from(loss), right.count() as u64)])
    }
}
