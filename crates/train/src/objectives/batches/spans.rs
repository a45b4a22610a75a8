//! Sequences of an encoder with hidden spans, whose tokens are foretold twice: in their places, and from outside.

use burn::prelude::*;
use ptm_models::heads::{Bounded, PLACES, SpanBoundaryHead};
use ptm_models::{Body, Model, Pass};
use ptm_ops::Indices;
use ptm_text::PositionStyle;

use super::likeliest;
use super::masks::{Masks, foretold};
use crate::error::Result;
use crate::objectives::masking::Masked;
use crate::objectives::span_masking::MaskedSpans;

/// Sequences with hidden spans.
#[derive(Clone, Debug)]
pub struct Spans {
    masks: Masks,
    bounded: Bounded,
}

impl Spans {
    /// Of a span of more than [`PLACES`] tokens the rest is foretold in its places alone, as in the authors' code.
    ///
    /// # Errors
    /// When a sequence is empty.
    pub fn new(examples: Vec<MaskedSpans>, style: PositionStyle) -> Result<Self> {
        let (mut before, mut behind, mut within, mut targets) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut start = 0;
        for one in &examples {
            for (token, target) in one.bounded().zip(&one.masked.targets) {
                if token.within < PLACES {
                    before.push((start + token.outside[0]) as u32);
                    behind.push((start + token.outside[1]) as u32);
                    within.push(token.within as u32);
                    targets.push(*target);
                }
            }
            start += one.masked.ids.len();
        }
        let masked: Vec<Masked> = examples.into_iter().map(|one| one.masked).collect();
        let outside = [before.into(), behind.into()];
        let bounded = Bounded { outside, within: within.into(), targets: targets.into() };
        Ok(Self { masks: Masks::new(&masked, style)?, bounded })
    }

    /// The number of tokens that are computed.
    pub fn tokens(&self) -> usize {
        self.masks.tokens()
    }

    /// What is predicted in its place.
    pub fn targets(&self) -> &[u32] {
        self.masks.targets()
    }

    /// What is predicted from outside.
    pub fn bounded(&self) -> &Bounded {
        &self.bounded
    }

    /// `scales[0] · Σ cross-entropy` in the tokens' places and `scales[1] · Σ cross-entropy` from outside.
    ///
    /// # Errors
    /// When the batch doesn't fit the model.
    pub fn losses(&self, model: &Model<SpanBoundaryHead>, scales: [f32; 2], pass: &Pass) -> Result<[Tensor<1>; 2]> {
        let targets: Indices = self.targets().into();
        Ok(model.losses(&self.masks.input(), self.masks.rows(), &targets, &self.bounded, scales, pass)?)
    }

    /// For either the sum of cross-entropies, and how many targets are the likeliest token.
    ///
    /// # Errors
    /// When the batch doesn't fit the model.
    pub fn answers(&self, model: &Model<SpanBoundaryHead>) -> Result<[(f64, u64); 2]> {
        let (hidden, outside) = model.states(&self.masks.input(), self.masks.rows(), &self.bounded, &Pass::eval())?;
        let first = foretold(&model.head.masked_lm, hidden, model, &self.targets().into());
        let (head, word) = (&model.head.boundary, model.body.word());
        let Bounded { within, targets, .. } = &self.bounded;
        let loss = head.loss(outside.clone(), within, word, targets, 1.0).into_scalar::<f32>();
        // both boundaries side by side, so that a few rows can be taken at a time
        let width = outside[0].dims()[1];
        let both = Tensor::cat(outside.into(), 1);
        let mut within = &within[..];
        let right = likeliest(&both, targets, |rows| {
            let [count, _] = rows.dims();
            let (own, rest) = within.split_at(count);
            within = rest;
            let outside = [rows.clone().narrow(1, 0, width), rows.narrow(1, width, width)];
            head.logits(outside, &own.into(), word)
        });
        Ok([first, (f64::from(loss), right)])
    }
}
