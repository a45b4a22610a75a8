//! Multiple choice: every choice is a sequence, its first hidden state gives one score, the choices compete.

use burn::prelude::*;
use ptm_ops::{Activation, dropout};
use serde_json::Value;

use super::Head;
use crate::config::{Configuration, EncoderConfig, Family, field};
use crate::error::Result;
use crate::layers::Linear;
use crate::pass::Pass;

/// Dense, activation, dropout, one number.
#[derive(Module, Debug)]
pub struct ChoiceHead {
    dense: Linear,
    out: Linear,
    dropout: f32,
    #[module(skip)]
    activation: Activation,
}

impl ChoiceHead {
    /// A score a choice, the choices of an example side by side.
    ///
    /// # Shapes
    /// First hidden states `[B·choices, H]` → `[B, choices]`.
    ///
    /// # Panics
    /// When the sequences are not a multiple of `choices`.
    pub fn logits(&self, first: Tensor<2>, choices: usize, pass: &Pass) -> Tensor<2> {
        let sequences = first.dims()[0];
        assert_eq!(sequences % choices, 0, "{sequences} sequences are no multiple of {choices} choices");
        let x = dropout(self.dense.forward(first, self.activation), pass.dropout(self.dropout));
        self.out.forward(x, Activation::None).reshape([sequences / choices, choices])
    }
}

impl Head for ChoiceHead {
    const NAME: &'static str = "multiple-choice";

    fn new(config: &EncoderConfig, device: &Device) -> Self {
        let hidden = config.hidden_size;
        Self {
            dense: Linear::new(hidden, hidden, device),
            out: Linear::new(hidden, 1, device),
            dropout: config.choice_dropout,
            activation: config.classifier().activation,
        }
    }

    fn check(config: &EncoderConfig) -> Result<()> {
        // ELECTRA's configurations may ask for another summary of the sequence than the published ones do
        let usual = [
            ("summary_type", Value::from("first")),
            ("summary_activation", Value::from("gelu")),
            ("summary_use_proj", Value::from(true)),
        ];
        for (name, expected) in usual.into_iter().filter(|_| config.family == Family::Electra) {
            let found = config.raw.get(name).filter(|found| **found != expected);
            if let Some(found) = found {
                return Err(field(name, format!("multiple choice is supported with {expected} only, not {found}")));
            }
        }
        Ok(())
    }

    fn class(_: Family) -> Option<&'static str> {
        Some("ForMultipleChoice")
    }
}
