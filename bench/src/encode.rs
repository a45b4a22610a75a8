//! Token ids in, last hidden states out: one packed batch, however long its sequences are.

use std::path::Path;

use anyhow::Result;
use burn::prelude::*;
use ptm_models::{Bodies, Input, Pass, Rows};
use ptm_text::Packed;

use crate::Work;
use crate::protocol;

/// A model and its packed batch.
pub struct Encode {
    model: Bodies,
    batch: Packed,
}

impl Encode {
    pub fn new(job: &protocol::Encode) -> Result<Self> {
        let model = open(&job.model)?;
        let batch = Packed::from_ids(&job.sequences, model.config().positions())?;
        Ok(Self { model, batch })
    }
}

impl Work for Encode {
    fn run(&mut self) -> Result<Vec<f32>> {
        answer(&self.model, &self.batch)
    }
}

/// The body of a model directory on the CPU.
pub fn open(dir: &Path) -> Result<Bodies> {
    Ok(Bodies::open(dir, &Device::flex())?.model)
}

/// Encodes `batch`; two numbers of the first sequence's first state and two of its last.
pub fn answer(model: &Bodies, batch: &Packed) -> Result<Vec<f32>> {
    let hidden = model.body.forward(&Input::from(batch), &Rows::All, &Pass::eval())?;
    let [_, width] = hidden.dims();
    let hidden = ptm_ops::read_f32(hidden);
    let last = (batch.offsets[1] - 1) * width;
    Ok(vec![hidden[0], hidden[1], hidden[last], hidden[last + 1]])
}
