//! Replaced-token detection: original or replaced, at every token (ELECTRA, Clark et al. 2020).

use burn::prelude::*;
use burn::tensor::TensorData;
use ptm_ops::{Activation, losses};

use super::Head;
use crate::config::{EncoderConfig, Family};
use crate::layers::Linear;

/// Dense, activation, one number.
#[derive(Module, Debug)]
pub struct ReplacedTokenHead {
    dense: Linear,
    out: Linear,
    #[module(skip)]
    activation: Activation,
}

impl ReplacedTokenHead {
    /// A positive logit says: replaced.
    ///
    /// # Shapes
    /// `[T, H]` → `[T, 1]`.
    pub fn logits(&self, hidden: Tensor<2>) -> Tensor<2> {
        self.out.forward(self.dense.forward(hidden, self.activation), Activation::None)
    }

    /// `scale · Σ binary cross-entropy` over all tokens.
    ///
    /// # Shapes
    /// `hidden` `[T, H]`, `replaced` `[T]` → `[1]`.
    ///
    /// # Panics
    /// When there is not one target a row.
    pub fn loss(&self, hidden: Tensor<2>, replaced: &[bool], scale: f32) -> Tensor<1> {
        let logits = self.logits(hidden);
        let targets: Vec<f32> = replaced.iter().map(|&replaced| f32::from(u8::from(replaced))).collect();
        let targets = Tensor::from_data(TensorData::new(targets, logits.dims()), &logits.device());
        losses::binary_cross_entropy(logits, targets, scale)
    }
}

impl Head for ReplacedTokenHead {
    const NAME: &'static str = "replaced-token-detection";

    fn new(config: &EncoderConfig, device: &Device) -> Self {
        let hidden = config.hidden_size;
        Self {
            dense: Linear::new(hidden, hidden, device),
            out: Linear::new(hidden, 1, device),
            activation: config.activation,
        }
    }

    fn class(family: Family) -> Option<&'static str> {
        (family == Family::Electra).then_some("ForPreTraining")
    }
}
