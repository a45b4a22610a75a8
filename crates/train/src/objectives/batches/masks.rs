//! Sequences of an encoder with hidden tokens; the vocabulary's logits exist at the hidden places only.

use burn::prelude::*;
use ptm_models::heads::{Head, MaskedLmHead};
use ptm_models::{Body, Encoder, Input, Model, Pass, Rows};
use ptm_ops::Indices;
use ptm_text::{Packed, PositionStyle};

use super::{likeliest, packed};
use crate::error::Result;
use crate::objectives::masking::Masked;

/// Sequences with hidden tokens.
#[derive(Clone, Debug)]
pub struct Masks {
    text: Packed,
    /// The packed rows that are predicted, ascending.
    rows: Indices,
    targets: Indices,
    /// ERNIE's task id of every token, if they have one.
    tasks: Option<Indices>,
}

impl Masks {
    /// # Errors
    /// When a sequence is empty.
    pub fn new(examples: &[Masked], style: PositionStyle) -> Result<Self> {
        let (mut text, mut rows, mut targets) = (Packed::default(), Vec::new(), Vec::new());
        for one in examples {
            let start = text.len();
            text.push(&one.ids, Some(&one.segments), style).map_err(packed)?;
            rows.extend(one.chosen.iter().map(|&place| (start + place) as u32));
            targets.extend_from_slice(&one.targets);
        }
        Ok(Self { text, rows: rows.into(), targets: targets.into(), tasks: None })
    }

    /// The same with ERNIE's task id at every token.
    #[must_use]
    pub fn with_task(self, id: u32) -> Self {
        Self { tasks: Some(vec![id; self.text.len()].into()), ..self }
    }

    /// The number of tokens that are computed.
    pub fn tokens(&self) -> usize {
        self.text.len()
    }

    /// What is predicted.
    pub fn targets(&self) -> &[u32] {
        &self.targets
    }

    /// What is read.
    pub fn input(&self) -> Input<'_> {
        Input { tasks: self.tasks.clone(), ..(&self.text).into() }
    }

    /// The packed rows that are predicted.
    pub fn rows(&self) -> &Indices {
        &self.rows
    }

    /// `scale · Σ cross-entropy`.
    ///
    /// # Errors
    /// When the batch doesn't fit the model.
    pub fn loss(&self, model: &Model<MaskedLmHead>, scale: f32, pass: &Pass) -> Result<Tensor<1>> {
        Ok(model.loss(&self.input(), &self.rows, &self.targets, scale, pass)?)
    }

    /// The sum of cross-entropies, and how many targets are the likeliest token.
    ///
    /// # Errors
    /// When the batch doesn't fit the model.
    pub fn answers(&self, model: &Model<MaskedLmHead>) -> Result<(f64, u64)> {
        let hidden = model.body.forward(&self.input(), &Rows::Chosen(self.rows.clone()), &Pass::eval())?;
        Ok(foretold(&model.head, hidden, model, &self.targets))
    }
}

/// The sum of cross-entropies of hidden states, and how many of their targets are the likeliest token.
pub(super) fn foretold<H: Head>(
    head: &MaskedLmHead,
    hidden: Tensor<2>,
    model: &Model<H, Encoder>,
    targets: &Indices,
) -> (f64, u64) {
    let loss = head.loss(hidden.clone(), model.body.word(), targets, 1.0);
    let right = likeliest(&hidden, targets, |hidden| head.logits(hidden, model.body.word()));
    (f64::from(loss.into_scalar::<f32>()), right)
}
