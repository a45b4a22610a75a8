//! Sequence classification and regression over the hidden state that stands for a sequence, BERT's first or a
//! decoder's last: dense, activation, dropout, labels, or labels alone.

use burn::prelude::*;
use burn::tensor::TensorData;
use ptm_ops::{Activation, Indices, activation, dropout, losses};

use super::Head;
use crate::body::Body;
use crate::config::{Configuration, Family};
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
    dense: Option<Linear>,
    out: Linear,
    dropout: f32,
    dropout_first: bool,
    #[module(skip)]
    activation: Activation,
}

impl SequenceHead {
    /// # Shapes
    /// Hidden states of the sequences `[B, H]` → `[B, labels]`.
    pub fn logits(&self, hidden: Tensor<2>, pass: &Pass) -> Tensor<2> {
        let x = if self.dropout_first { dropout(hidden, pass.dropout(self.dropout)) } else { hidden };
        let x = match &self.dense {
            Some(dense) => dense.forward(x, self.activation),
            None => activation(x, self.activation),
        };
        self.out.forward(dropout(x, pass.dropout(self.dropout)), Activation::None)
    }

    /// The mean loss over the batch (over all numbers for several labels), as `transformers` has it.
    ///
    /// # Shapes
    /// `[B, H]` → `[1]`.
    ///
    /// # Panics
    /// When there are not as many targets as the logits ask for.
    pub fn loss(&self, hidden: Tensor<2>, targets: &Targets, pass: &Pass) -> Tensor<1> {
        let logits = self.logits(hidden, pass);
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

impl<B: Body> Head<B> for SequenceHead {
    const NAME: &'static str = "sequence-classification";

    fn new(config: &B::Config, device: &Device) -> Self {
        let hidden = config.hidden_size();
        let style = config.classifier();
        Self {
            dense: style.dense.then(|| Linear::new(hidden, hidden, device)),
            out: Linear::with_bias(hidden, config.labels().len(), style.bias, device),
            dropout: style.dropout,
            dropout_first: style.dropout_first,
            activation: style.activation,
        }
    }

    fn check(config: &B::Config) -> Result<()> {
        super::check_labels(config)
    }

    fn class(family: Family) -> Option<&'static str> {
        B::class(family, <Self as Head<B>>::NAME)
    }
}
