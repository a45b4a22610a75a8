//! Denoising and span corruption of encoder-decoders: a stretch of text becomes what is read and what is said.

use std::path::Path;

use burn::prelude::*;
use ptm_models::heads::{Head, LanguageModelHead};
use ptm_models::names::Names;
use ptm_models::{Body, Configuration, Model, Pair, Pass};
use rand_chacha::ChaCha8Rng;

use super::beforehand::Needs;
use super::cutting::{Cut, Window};
use super::made::Made;
use super::task::{Answers, Others, Pretraining};
use super::text_tasks::TextTasks;
use crate::error::{Error, Result};
use crate::objectives::batches::Pairs;
use crate::objectives::denoised::Denoised;
use crate::objectives::{Examples, SequenceObjective, Text};

/// BART's and T5's.
pub(crate) struct PairsTask<B: Body>
where
    LanguageModelHead: Head<B>,
{
    pub objective: SequenceObjective,
    /// What the decoder reads first.
    pub start: u32,
    /// The most tokens that the encoder reads.
    pub longest: usize,
    /// What is learnt beside the text.
    pub tasks: Option<TextTasks>,
    pub made: Made<LanguageModelHead, B>,
}

impl<B> Pretraining for PairsTask<B>
where
    B: for<'a> Body<Input<'a> = Pair<'a>> + 'static,
    LanguageModelHead: Head<B>,
{
    type Model = Model<LanguageModelHead, B>;
    type Example = Denoised;
    type Batch = Pairs;

    fn cut(&self, length: usize) -> Cut {
        let length = self.objective.raw_length(length);
        if self.objective.joins_documents() {
            Cut::Across { length, frame: 0 }
        } else {
            Cut::Within { length, both: false }
        }
    }

    fn example(&self, window: &Window, _: &Others<'_>, random: &mut ChaCha8Rng) -> Result<Option<Denoised>> {
        // inserted masks can make a text longer than it was, and single tokens more spans than there are sentinels, but
        // hardly ever
        const TRIES: usize = 100;
        let (ids, sentences) = window.joined(None);
        // what the last documents that are judged leave over
        if ids.len() < 2 {
            return Ok(None);
        }
        let mut last = None;
        for _ in 0..TRIES {
            match self.objective.corrupt(&Text { ids: &ids, sentences: &sentences }, None, random) {
                Ok(Examples::Denoised(pair)) if pair.source.len() <= self.longest => return Ok(Some(pair)),
                Ok(_) => {}
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| {
            let problem =
                format!("{} tokens of text become more than the {} that the model reads", ids.len(), self.longest);
            Error::recipe("batch.length", format!("{problem}: make examples shorter"))
        }))
    }

    fn needs(&self) -> Needs {
        Needs { other: false, sentences: if self.objective.needs_sentences() { 2 } else { 1 } }
    }

    fn fingerprint(&self) -> u64 {
        self.tasks.as_ref().map_or(0, TextTasks::fingerprint)
    }

    fn tasks(&self) -> Option<&TextTasks> {
        self.tasks.as_ref()
    }

    fn paired(&self, pair: &Denoised) -> Option<Denoised> {
        Some(pair.clone())
    }

    fn batch(&self, examples: Vec<Denoised>) -> Result<Pairs> {
        Pairs::new(&examples, self.start, self.made.config.positions())
    }

    fn tokens(&self, batch: &Pairs) -> usize {
        batch.tokens()
    }

    fn weights(&self, batch: &Pairs) -> Vec<f64> {
        vec![batch.targets().len() as f64]
    }

    fn targets<'a>(&self, batch: &'a Pairs) -> &'a [u32] {
        batch.targets()
    }

    fn losses(&self, model: &Self::Model, batch: &Pairs, scales: &[f32], pass: &Pass) -> Result<Vec<Tensor<1>>> {
        Ok(vec![batch.loss(model, scales[0], pass)?])
    }

    fn answers(&self, model: &Self::Model, batch: &Pairs) -> Result<Answers> {
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
