//! Sequences of one of ERNIE 2.0's tasks: every token has the task's id, and classes are foretold of whole sequences or of
//! tokens.

use burn::prelude::*;
use ptm_models::ernie::Task;
use ptm_models::{Ernie, Input, Pass, Rows};
use ptm_ops::{Indices, losses};
use ptm_text::{Packed, PositionStyle};

use super::packed;
use crate::error::Result;
use crate::objectives::classified::Classified;

/// Sequences with classes.
#[derive(Clone, Debug)]
pub struct Classes {
    text: Packed,
    task: Task,
    /// The task's id of every token.
    ids: Indices,
    /// The packed rows that have a class, ascending.
    rows: Indices,
    labels: Indices,
}

impl Classes {
    /// Sequences of `task`, whose id is `id`.
    ///
    /// # Errors
    /// When a sequence is empty.
    pub fn new(examples: &[Classified], task: Task, id: u32, style: PositionStyle) -> Result<Self> {
        let (mut text, mut rows, mut labels) = (Packed::default(), Vec::new(), Vec::new());
        for one in examples {
            let start = text.len();
            text.push(&one.ids, Some(&one.segments), style).map_err(packed)?;
            rows.extend(one.places.iter().map(|&place| (start + place) as u32));
            labels.extend_from_slice(&one.labels);
        }
        Ok(Self { ids: vec![id; text.len()].into(), text, task, rows: rows.into(), labels: labels.into() })
    }

    /// The number of tokens that are computed.
    pub fn tokens(&self) -> usize {
        self.text.len()
    }

    /// The classes.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    fn logits(&self, model: &Ernie, pass: &Pass) -> Result<Tensor<2>> {
        let input = Input { tasks: Some(self.ids.clone()), ..(&self.text).into() };
        let hidden = model.body.forward(&input, &Rows::Chosen(self.rows.clone()), pass)?;
        Ok(model.head.logits(self.task, hidden)?)
    }

    /// `scale · Σ cross-entropy`.
    ///
    /// # Errors
    /// When the batch doesn't fit the model.
    pub fn loss(&self, model: &Ernie, scale: f32, pass: &Pass) -> Result<Tensor<1>> {
        Ok(losses::softmax_cross_entropy(self.logits(model, pass)?, &self.labels, scale))
    }

    /// The sum of cross-entropies, and how many classes are the likeliest.
    ///
    /// # Errors
    /// When the batch doesn't fit the model.
    pub fn answers(&self, model: &Ernie) -> Result<(f64, u64)> {
        let logits = self.logits(model, &Pass::eval())?;
        let width = logits.dims()[1];
        let loss = losses::softmax_cross_entropy(logits.clone(), &self.labels, 1.0).into_scalar::<f32>();
        let rows = ptm_ops::read_f32(logits);
        let is_right = |(row, label): &(&[f32], &u32)| row.iter().all(|other| *other <= row[**label as usize]);
        let right = rows.chunks_exact(width).zip(&*self.labels).filter(is_right).count();
        Ok((f64::from(loss), right as u64))
    }
}
