//! Language model: a decoder's hidden states to a distribution over the next token (Radford et al. 2018, §3.1).
//! The output embedding is the word embedding unless the configuration unties them.

use burn::module::Param;
use burn::prelude::*;
use ptm_ops::{Activation, ChosenRows, Indices, cross_entropy};

use super::Head;
use crate::body::{Body, Sequences};
use crate::config::{Configuration, Family};
use crate::layers::parameter;

/// The (tied) decoder, for some families with a bias, trained or not.
#[derive(Module, Debug)]
pub struct LanguageModelHead {
    decoder: Option<Param<Tensor<2>>>,
    bias: Option<Param<Tensor<1>>>,
    fixed_bias: Option<Param<Tensor<2>>>,
    scale: f32,
}

impl LanguageModelHead {
    fn decoder(&self, word: &Param<Tensor<2>>) -> Tensor<2> {
        self.decoder.as_ref().unwrap_or(word).val()
    }

    fn bias(&self) -> Option<Tensor<1>> {
        let fixed = || self.fixed_bias.as_ref().map(|bias| bias.val().detach().flatten(0, 1));
        self.bias.as_ref().map(Param::val).or_else(fixed)
    }

    fn features(&self, hidden: Tensor<2>) -> Tensor<2> {
        if self.scale == 1.0 { hidden } else { hidden * self.scale }
    }

    /// Logits over the vocabulary.
    ///
    /// # Shapes
    /// `hidden` `[R, H]`, `word` `[V, H]` → `[R, V]`.
    pub fn logits(&self, hidden: Tensor<2>, word: &Param<Tensor<2>>) -> Tensor<2> {
        ptm_ops::linear(self.features(hidden), self.decoder(word), self.bias(), Activation::None)
    }

    /// `scale · Σ cross-entropy` of the rows' targets; no logits are kept.
    ///
    /// # Shapes
    /// `hidden` `[R, H]`, `targets` `[R]` → `[1]`.
    pub fn loss(&self, hidden: Tensor<2>, word: &Param<Tensor<2>>, targets: &Indices, scale: f32) -> Tensor<1> {
        let rows: Indices = (0..targets.len() as u32).collect();
        let chosen = ChosenRows { rows, targets: targets.clone(), label_smoothing: 0.0, scale };
        cross_entropy(self.features(hidden), self.decoder(word), self.bias(), &chosen)
    }
}

/// The rows of a decoder's batch that have a next token, and that token: what a language model learns from text.
pub fn next_tokens(batch: &ptm_text::Packed) -> (Indices, Indices) {
    let rows = batch.offsets().windows(2).flat_map(|w| w[0]..w[1].saturating_sub(1).max(w[0]));
    let rows: Indices = rows.map(|row| row as u32).collect();
    let targets = rows.iter().map(|&row| batch.ids[row as usize + 1]).collect();
    (rows, targets)
}

impl<B: Body> Head<B> for LanguageModelHead {
    const NAME: &'static str = "language-model";

    fn new(config: &B::Config, device: &Device) -> Self {
        let (vocab, style) = (config.output_size(), B::language_model(config));
        Self {
            decoder: (!config.tied()).then(|| parameter([vocab, config.hidden_size()], device)),
            bias: style.bias.then(|| parameter([vocab], device)),
            fixed_bias: style.fixed_bias.then(|| parameter([1, vocab], device)),
            scale: style.scale,
        }
    }

    fn class(family: Family) -> Option<&'static str> {
        B::class(family, <Self as Head<B>>::NAME)
    }
}
