//! Sequence classification and regression over the first hidden state: dense, activation, dropout, labels.
//! BERT's dense layer is its pooler, DistilBERT's a `pre_classifier`; RoBERTa and ELECTRA also drop out before it.

use burn::prelude::*;
use burn::tensor::TensorData;
use ptm_ops::{Activation, Indices, dropout, losses};

use super::Head;
use crate::config::{EncoderConfig, Family};
use crate::error::Result;
use crate::layers::Linear;
use crate::pass::Pass;

/// What a batch of sequences should have been.
#[derive(Clone, Debug)]
pub enum Targets {
    /// One label each, `[B]`: softmax.
    Label(Indices),
    /// Any of the labels, 0 or 1, `[B, labels]`: sigmoids.
    Labels(Vec<f32>),
    /// Numbers, `[B, labels]`: squared error.
    Numbers(Vec<f32>),
}

/// The classifier.
#[derive(Module, Debug)]
pub struct SequenceHead {
    dense: Linear,
    out: Linear,
    dropout: f32,
    dropout_first: bool,
    #[module(skip)]
    activation: Activation,
}

/// How a family's classifier over the first state is made: activation, and whether dropout comes before it too.
pub(super) fn dense_style(family: Family) -> (Activation, bool) {
    match family {
        Family::Bert | Family::Ernie => (Activation::Tanh, false),
        Family::Roberta | Family::XlmRoberta => (Activation::Tanh, true),
        Family::DistilBert => (Activation::Relu, false),
        Family::Electra => (Activation::Gelu, true),
    }
}

impl SequenceHead {
    /// # Shapes
    /// First hidden states `[B, H]` → `[B, labels]`.
    pub fn logits(&self, first: Tensor<2>, pass: &Pass) -> Tensor<2> {
        let x = if self.dropout_first { dropout(first, pass.dropout(self.dropout)) } else { first };
        let x = dropout(self.dense.forward(x, self.activation), pass.dropout(self.dropout));
        self.out.forward(x, Activation::None)
    }

    /// The mean loss over the batch (over all numbers for several labels), as `transformers` has it.
    ///
    /// # Shapes
    /// `[B, H]` → `[1]`.
    ///
    /// # Panics
    /// When there are not as many targets as the logits ask for.
    pub fn loss(&self, first: Tensor<2>, targets: &Targets, pass: &Pass) -> Tensor<1> {
        let logits = self.logits(first, pass);
        let [rows, labels] = logits.dims();
        let grid = |values: &[f32]| {
            assert_eq!(values.len(), rows * labels, "one target a row and label");
            Tensor::<2>::from_data(TensorData::new(values.to_vec(), [rows, labels]), &logits.device())
        };
        let each = 1.0 / (rows * labels).max(1) as f32;
        match targets {
            Targets::Label(ids) => losses::softmax_cross_entropy(logits, ids, 1.0 / rows.max(1) as f32),
            Targets::Labels(values) => losses::binary_cross_entropy(logits.clone(), grid(values), each),
            Targets::Numbers(values) => losses::squared_error(logits.clone(), grid(values), each),
        }
    }
}

impl Head for SequenceHead {
    const NAME: &'static str = "sequence-classification";

    fn new(config: &EncoderConfig, device: &Device) -> Self {
        let hidden = config.hidden_size;
        let (activation, dropout_first) = dense_style(config.family);
        Self {
            dense: Linear::new(hidden, hidden, device),
            out: Linear::new(hidden, config.labels.len(), device),
            dropout: config.classifier_dropout,
            dropout_first,
            activation,
        }
    }

    fn check(config: &EncoderConfig) -> Result<()> {
        super::check_labels(config)
    }

    fn class(_: Family) -> Option<&'static str> {
        Some("ForSequenceClassification")
    }
}
