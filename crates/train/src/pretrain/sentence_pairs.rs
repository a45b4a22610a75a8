//! Pairs of segments: hidden tokens, and whether the second segment follows the first.

use std::path::Path;

use burn::prelude::*;
use ptm_models::heads::PretrainingHead;
use ptm_models::names::Names;
use ptm_models::{Encoder, Model, Pass};
use rand_chacha::ChaCha8Rng;

use super::beforehand::Needs;
use super::cutting::{Cut, Window};
use super::made::Made;
use super::recipe::Micro;
use super::task::{Answers, Others, Pretraining};
use crate::error::Result;
use crate::objectives::batches::SentencePairs;
use crate::objectives::next_sentence::{FRAME, NextSentence, SentencePair, Unit};
use crate::objectives::{Text, Vocabulary};

/// BERT's and ALBERT's.
pub(crate) struct SentencePairTask {
    pub objective: NextSentence,
    pub vocabulary: Vocabulary,
    pub made: Made<PretrainingHead, Encoder>,
}

impl Pretraining for SentencePairTask {
    type Model = Model<PretrainingHead>;
    type Example = SentencePair;
    type Batch = SentencePairs;

    fn parts(&self) -> &'static [&'static str] {
        &["masked", "order"]
    }

    fn shortest(&self) -> usize {
        FRAME + 2
    }

    fn cut(&self, length: usize) -> Cut {
        let length = length.saturating_sub(FRAME).max(2);
        match self.objective.config().unit {
            Unit::Segments => Cut::Sentences { length, across: false },
            Unit::Sentences => Cut::SentencePairs { length },
        }
    }

    /// Two sentences are far shorter than a sequence: a batch holds about as many tokens as with segments (Liu et al. 2019,
    /// §4.2).
    fn micro(&self, micro: Micro, length: usize) -> Micro {
        match micro {
            Micro::Examples(size) if self.objective.config().unit == Unit::Sentences => Micro::Tokens(size * length),
            other => other,
        }
    }

    fn needs(&self) -> Needs {
        let config = self.objective.config();
        if self.objective.needs_other() {
            Needs { other: config.negatives > 0.0, sentences: if config.negatives < 1.0 { 2 } else { 1 } }
        } else {
            Needs::default()
        }
    }

    fn patterns(&self) -> u64 {
        self.objective.config().masking.patterns
    }

    fn example(&self, window: &Window, others: &Others<'_>, random: &mut ChaCha8Rng) -> Result<Option<SentencePair>> {
        let (ids, sentences) = window.stretch();
        if ids.iter().all(|&id| self.vocabulary.is_special(id)) {
            return Ok(None);
        }
        let other = if self.objective.needs_other() { others.draw(window, random)? } else { None };
        let other = other.as_ref().map(|document| Text { ids: &document.ids, sentences: &document.sentences });
        let text = Text { ids, sentences: &sentences };
        self.objective.corrupt(&text, other.as_ref(), others.length, random).map(Some)
    }

    fn batch(&self, examples: Vec<SentencePair>) -> Result<SentencePairs> {
        SentencePairs::new(examples, self.made.config.positions())
    }

    fn tokens(&self, batch: &SentencePairs) -> usize {
        batch.tokens()
    }

    fn weights(&self, batch: &SentencePairs) -> Vec<f64> {
        vec![batch.targets().len() as f64, batch.labels().len() as f64]
    }

    fn targets<'a>(&self, batch: &'a SentencePairs) -> &'a [u32] {
        batch.targets()
    }

    fn losses(
        &self,
        model: &Self::Model,
        batch: &SentencePairs,
        scales: &[f32],
        pass: &Pass,
    ) -> Result<Vec<Tensor<1>>> {
        Ok(batch.losses(model, [scales[0], scales[1]], pass)?.into())
    }

    fn answers(&self, model: &Self::Model, batch: &SentencePairs) -> Result<Answers> {
        let both = batch.answers(model)?;
        Ok(Answers { losses: both.map(|(loss, _)| loss).into(), right: both.map(|(_, right)| right).into() })
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
