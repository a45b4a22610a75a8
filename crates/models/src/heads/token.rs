//! Token classification: a label a token (named entities, parts of speech).

use burn::prelude::*;
use ptm_ops::{Activation, Indices, dropout, gather_rows, losses};

use super::Head;
use crate::body::Body;
use crate::config::{Configuration, Family};
use crate::error::Result;
use crate::layers::Linear;
use crate::pass::Pass;

/// Dropout and one dense layer.
#[derive(Module, Debug)]
pub struct TokenHead {
    out: Linear,
    dropout: f32,
}

impl TokenHead {
    /// # Shapes
    /// `[T, H]` → `[T, labels]`.
    pub fn logits(&self, hidden: Tensor<2>, pass: &Pass) -> Tensor<2> {
        self.out.forward(dropout(hidden, pass.dropout(self.dropout)), Activation::None)
    }

    /// `scale · Σ cross-entropy` of the labelled rows.
    ///
    /// # Shapes
    /// `hidden` `[T, H]`, `rows` and `targets` `[R]` → `[1]`.
    pub fn loss(&self, hidden: Tensor<2>, rows: &Indices, targets: &Indices, scale: f32, pass: &Pass) -> Tensor<1> {
        losses::softmax_cross_entropy(gather_rows(self.logits(hidden, pass), rows), targets, scale)
    }
}

impl<B: Body> Head<B> for TokenHead {
    const NAME: &'static str = "token-classification";

    fn new(config: &B::Config, device: &Device) -> Self {
        let out = Linear::new(config.hidden_size(), config.labels().len(), device);
        Self { out, dropout: config.token_dropout() }
    }

    fn check(config: &B::Config) -> Result<()> {
        super::check_labels(config)
    }

    fn class(family: Family) -> Option<&'static str> {
        B::class(family, <Self as Head<B>>::NAME)
    }
}
