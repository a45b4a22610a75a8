//! Next sentence prediction: does B follow A? (BERT, §3.1, task 2.) Class 0 says yes.

use burn::prelude::*;
use ptm_ops::{Activation, Indices, losses};

use super::Head;
use crate::config::{EncoderConfig, Family};
use crate::layers::Linear;

/// The pooler and two classes over it.
#[derive(Module, Debug)]
pub struct NextSentenceHead {
    dense: Linear,
    out: Linear,
}

impl NextSentenceHead {
    /// Logits of "B follows A" and "B is from elsewhere".
    ///
    /// # Shapes
    /// First hidden states `[B, H]` → `[B, 2]`.
    pub fn logits(&self, first: Tensor<2>) -> Tensor<2> {
        self.out.forward(self.dense.forward(first, Activation::Tanh), Activation::None)
    }

    /// `scale · Σ cross-entropy`.
    ///
    /// # Shapes
    /// `first` `[B, H]`, `targets` `[B]` → `[1]`.
    pub fn loss(&self, first: Tensor<2>, targets: &Indices, scale: f32) -> Tensor<1> {
        losses::softmax_cross_entropy(self.logits(first), targets, scale)
    }
}

impl Head for NextSentenceHead {
    const NAME: &'static str = "next-sentence";

    fn new(config: &EncoderConfig, device: &Device) -> Self {
        let hidden = config.hidden_size;
        Self { dense: Linear::new(hidden, hidden, device), out: Linear::new(hidden, 2, device) }
    }

    fn class(family: Family) -> Option<&'static str> {
        matches!(family, Family::Bert | Family::Ernie).then_some("ForNextSentencePrediction")
    }
}
