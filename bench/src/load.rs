//! A model directory in the disk cache to a model in memory, with or without its first answer.

use anyhow::Result;
use ptm_text::Packed;

use crate::encode::{answer, open};
use crate::{Work, protocol};

/// Which directory, and the first question.
pub struct Load(protocol::Load);

impl Load {
    pub fn new(job: protocol::Load) -> Self {
        Self(job)
    }
}

impl Work for Load {
    fn run(&mut self) -> Result<Vec<f32>> {
        let model = open(&self.0.model)?;
        if !self.0.answer {
            return Ok(Vec::new());
        }
        answer(&model, &Packed::from_ids(&self.0.sequences, model.config().positions())?)
    }
}
