//! Causal language modelling of decoders: blocks that documents fill one after the other.

use std::path::Path;

use burn::prelude::*;
use ptm_models::heads::LanguageModelHead;
use ptm_models::names::Names;
use ptm_models::{Configuration, Decoder, Model, Pass};
use rand_chacha::ChaCha8Rng;

use super::cutting::{Cut, Window};
use super::made::Made;
use super::task::{Answers, Others, Pretraining};
use crate::error::Result;
use crate::objectives::batches::Blocks;
use crate::objectives::causal::{Causal, CausalLm};

/// GPT's.
pub(crate) struct CausalTask {
    pub objective: CausalLm,
    pub made: Made<LanguageModelHead, Decoder>,
}

impl Pretraining for CausalTask {
    type Model = Model<LanguageModelHead, Decoder>;
    type Example = Causal;
    type Batch = Blocks;

    fn cut(&self, length: usize) -> Cut {
        // of its n tokens and two around them a document gives n + 1 that are followed by one
        Cut::Across { length, frame: self.objective.frame() }
    }

    fn example(&self, window: &Window, _: &Others<'_>, _: &mut ChaCha8Rng) -> Result<Option<Causal>> {
        let stretches = window.pieces.iter().map(|piece| (&piece.drawn.document.ids[..], piece.from..piece.to));
        Ok(Some(self.objective.block(stretches)))
    }

    fn batch(&self, examples: Vec<Causal>) -> Result<Blocks> {
        Blocks::new(&examples, self.made.config.positions())
    }

    fn tokens(&self, batch: &Blocks) -> usize {
        batch.tokens()
    }

    fn weights(&self, batch: &Blocks) -> Vec<f64> {
        vec![batch.targets().len() as f64]
    }

    fn targets<'a>(&self, batch: &'a Blocks) -> &'a [u32] {
        batch.targets()
    }

    fn losses(&self, model: &Self::Model, batch: &Blocks, scales: &[f32], pass: &Pass) -> Result<Vec<Tensor<1>>> {
        Ok(vec![batch.loss(model, scales[0], pass)?])
    }

    fn answers(&self, model: &Self::Model, batch: &Blocks) -> Result<Answers> {
        Ok(Answers::one(batch.answers(model)?))
    }

    fn random(&self, seed: u64) -> Result<Self::Model> {
        self.made.random(seed)
    }

    fn open(&self, dir: &Path, new_head: Option<u64>) -> Result<Self::Model> {
        self.made.open(dir, new_head)
    }

    fn names(&self, model: &Self::Model) -> Names {
        model.names()
    }

    fn save(&self, model: &Self::Model, dir: &Path) -> Result<()> {
        Ok(model.save(dir)?)
    }
}
