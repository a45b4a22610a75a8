//! Extractive question answering: where the answer starts and ends (BERT, §4.2).

use burn::prelude::*;
use burn::tensor::TensorData;
use ptm_ops::{Activation, Indices, dropout, gather_rows, losses};

use super::Head;
use crate::body::Body;
use crate::config::{Configuration, Family};
use crate::layers::Linear;
use crate::pass::Pass;

/// One dense layer with two outputs.
#[derive(Module, Debug)]
pub struct SpanHead {
    out: Linear,
    dropout: f32,
}

impl SpanHead {
    /// Logits of start (column 0) and end (column 1).
    ///
    /// # Shapes
    /// `[T, H]` → `[T, 2]`.
    pub fn logits(&self, hidden: Tensor<2>, pass: &Pass) -> Tensor<2> {
        self.out.forward(dropout(hidden, pass.dropout(self.dropout)), Activation::None)
    }

    /// `scale · Σ (cross-entropy of start + of end) / 2`, each over the positions of its own sequence.
    ///
    /// # Shapes
    /// `hidden` `[T, H]`, `offsets` `[B + 1]`, `starts` and `ends` `[B]` counted within the sequence → `[1]`.
    ///
    /// # Panics
    /// When a position is beyond its sequence.
    pub fn loss(
        &self,
        hidden: Tensor<2>,
        offsets: &[usize],
        starts: &Indices,
        ends: &Indices,
        scale: f32,
        pass: &Pass,
    ) -> Tensor<1> {
        let logits = self.logits(hidden, pass);
        let device = logits.device();
        let lengths: Vec<usize> = offsets.windows(2).map(|w| w[1] - w[0]).collect();
        let longest = lengths.iter().copied().max().unwrap_or(0);
        for positions in [starts, ends] {
            assert!(positions.iter().zip(&lengths).all(|(&p, &l)| (p as usize) < l), "answers lie in their sequence");
        }
        // sequences differ in length, a softmax doesn't: the cells past the end get no probability
        let cells = offsets.windows(2).flat_map(|w| (0..longest).map(move |i| (w[0] + i.min(w[1] - w[0] - 1)) as u32));
        let rows: Indices = cells.collect();
        let past: Vec<f32> =
            lengths.iter().flat_map(|&l| (0..longest).map(move |i| if i < l { 0.0 } else { -1e30 })).collect();
        let shape = [lengths.len(), longest];
        let past = Tensor::<2>::from_data(TensorData::new(past, shape), &device);
        let grid = gather_rows(logits, &rows);
        let column = |c: usize| grid.clone().slice([0..shape[0] * shape[1], c..c + 1]).reshape(shape) + past.clone();
        let half = scale / 2.0;
        losses::softmax_cross_entropy(column(0), starts, half) + losses::softmax_cross_entropy(column(1), ends, half)
    }
}

impl<B: Body> Head<B> for SpanHead {
    const NAME: &'static str = "question-answering";

    fn new(config: &B::Config, device: &Device) -> Self {
        Self { out: Linear::new(config.hidden_size(), 2, device), dropout: config.span_dropout() }
    }

    fn class(family: Family) -> Option<&'static str> {
        B::class(family, <Self as Head<B>>::NAME)
    }
}
