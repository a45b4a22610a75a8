//! Masked language model: hidden states to a distribution over the vocabulary (BERT, §3.1, task 1).
//! The output embedding is the word embedding unless the configuration unties them.

use burn::module::Param;
use burn::prelude::*;
use ptm_ops::{Activation, ChosenRows, Indices, cross_entropy};

use super::Head;
use crate::config::{EncoderConfig, Family};
use crate::layers::{LayerNorm, Linear, parameter};

/// Dense, activation, norm; then the (tied) decoder with a bias of its own.
#[derive(Module, Debug)]
pub struct MaskedLmHead {
    transform: Linear,
    norm: LayerNorm,
    decoder: Option<Param<Tensor<2>>>,
    bias: Param<Tensor<1>>,
    #[module(skip)]
    activation: Activation,
}

impl MaskedLmHead {
    /// What the decoder reads.
    fn features(&self, hidden: Tensor<2>) -> Tensor<2> {
        self.norm.forward(self.transform.forward(hidden, self.activation))
    }

    fn decoder(&self, word: &Param<Tensor<2>>) -> Tensor<2> {
        self.decoder.as_ref().unwrap_or(word).val()
    }

    /// Logits over the vocabulary.
    ///
    /// # Shapes
    /// `hidden` `[R, H]`, `word` `[V, E]` → `[R, V]`.
    pub fn logits(&self, hidden: Tensor<2>, word: &Param<Tensor<2>>) -> Tensor<2> {
        ptm_ops::linear(self.features(hidden), self.decoder(word), Some(self.bias.val()), Activation::None)
    }

    /// `scale · Σ cross-entropy` of the rows' targets; no logits are kept.
    ///
    /// # Shapes
    /// `hidden` `[R, H]`, `targets` `[R]` → `[1]`.
    pub fn loss(&self, hidden: Tensor<2>, word: &Param<Tensor<2>>, targets: &Indices, scale: f32) -> Tensor<1> {
        let rows: Indices = (0..targets.len() as u32).collect();
        let chosen = ChosenRows { rows, targets: targets.clone(), label_smoothing: 0.0, scale };
        cross_entropy(self.features(hidden), self.decoder(word), Some(self.bias.val()), &chosen)
    }
}

impl Head for MaskedLmHead {
    const NAME: &'static str = "masked-lm";

    fn new(config: &EncoderConfig, device: &Device) -> Self {
        let (hidden, width, vocab) = (config.hidden_size, config.embedding_size, config.vocab_size);
        let activation = match config.family {
            Family::Roberta | Family::XlmRoberta | Family::Electra => Activation::Gelu,
            _ => config.activation,
        };
        Self {
            transform: Linear::new(hidden, width, device),
            norm: LayerNorm::new(width, config.norm_eps, device),
            decoder: (!config.tied).then(|| parameter([vocab, width], device)),
            bias: parameter([vocab], device),
            activation,
        }
    }

    fn class(_: Family) -> Option<&'static str> {
        Some("ForMaskedLM")
    }
}
