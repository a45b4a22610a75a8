//! One optimizer step of a masked language model: forward, loss of the predicted rows, backward, AdamW.

use anyhow::{Result, bail};
use burn::prelude::*;
use ptm_models::{Input, MaskedLm, Pass};
use ptm_ops::{AdamW, AdamWOptions, Indices};
use ptm_text::Packed;

use crate::{Work, protocol};

/// A model in training.
pub struct Train {
    model: Option<MaskedLm>,
    optimizer: AdamW,
    options: AdamWOptions,
    batch: Packed,
    rows: Indices,
    targets: Indices,
}

impl Train {
    pub fn new(job: &protocol::Train) -> Result<Self> {
        let model = MaskedLm::open(&job.model, &Device::flex().autodiff())?.model;
        let batch = Packed::from_ids(&job.sequences, model.config().positions())?;
        let options = options(job.lr, job.weight_decay);
        Ok(Self {
            model: Some(model),
            optimizer: AdamW::new(),
            options,
            batch,
            rows: job.rows.clone().into(),
            targets: job.targets.clone().into(),
        })
    }
}

/// PyTorch's defaults.
pub fn options(lr: f32, weight_decay: f32) -> AdamWOptions {
    AdamWOptions { lr, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay, step: 0, bias_correction: true }
}

impl Work for Train {
    fn run(&mut self) -> Result<Vec<f32>> {
        let Some(model) = self.model.take() else { bail!("an earlier step failed: prepare the job again") };
        self.options.step += 1;
        let scale = 1.0 / self.rows.len() as f32;
        let pass = Pass::train(self.options.step);
        let loss = model.loss(&Input::from(&self.batch), &self.rows, &self.targets, scale, &pass)?;
        let value = loss.clone().into_scalar::<f32>();
        self.model = Some(self.optimizer.step(model, loss.backward(), self.options));
        Ok(vec![value])
    }
}
