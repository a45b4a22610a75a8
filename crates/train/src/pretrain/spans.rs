//! Span masking with the span boundary objective: each stretch of a document, of one segment, between the tokens that begin
//! and end a sequence.

use std::path::Path;

use burn::prelude::*;
use ptm_models::heads::SpanBoundaryHead;
use ptm_models::names::Names;
use ptm_models::{Encoder, Model, Pass};
use rand_chacha::ChaCha8Rng;

use super::cutting::{Cut, Window};
use super::made::Made;
use super::task::{Answers, Others, Pretraining};
use crate::error::Result;
use crate::objectives::batches::Spans;
use crate::objectives::span_masking::{MaskedSpans, SpanMasking};
use crate::objectives::{Text, Vocabulary};

/// SpanBERT's.
pub(crate) struct SpansTask {
    pub objective: SpanMasking,
    pub vocabulary: Vocabulary,
    pub made: Made<SpanBoundaryHead, Encoder>,
}

/// Tokens that begin and end a sequence.
const FRAME: usize = 2;

impl Pretraining for SpansTask {
    type Model = Model<SpanBoundaryHead>;
    type Example = MaskedSpans;
    type Batch = Spans;

    fn parts(&self) -> &'static [&'static str] {
        &["masked", "boundary"]
    }

    fn shortest(&self) -> usize {
        FRAME + 2
    }

    fn cut(&self, length: usize) -> Cut {
        Cut::Within { length: length.saturating_sub(FRAME).max(2), both: false }
    }

    fn example(&self, window: &Window, _: &Others<'_>, random: &mut ChaCha8Rng) -> Result<Option<MaskedSpans>> {
        let (ids, sentences) = window.stretch();
        if ids.iter().all(|&id| self.vocabulary.is_special(id)) {
            return Ok(None);
        }
        self.objective.corrupt(&Text { ids, sentences: &sentences }, random).map(Some)
    }

    fn batch(&self, examples: Vec<MaskedSpans>) -> Result<Spans> {
        Spans::new(examples, self.made.config.positions())
    }

    fn tokens(&self, batch: &Spans) -> usize {
        batch.tokens()
    }

    fn weights(&self, batch: &Spans) -> Vec<f64> {
        vec![batch.targets().len() as f64, batch.bounded().targets.len() as f64]
    }

    fn targets<'a>(&self, batch: &'a Spans) -> &'a [u32] {
        batch.targets()
    }

    fn losses(&self, model: &Self::Model, batch: &Spans, scales: &[f32], pass: &Pass) -> Result<Vec<Tensor<1>>> {
        Ok(batch.losses(model, [scales[0], scales[1]], pass)?.into())
    }

    fn answers(&self, model: &Self::Model, batch: &Spans) -> Result<Answers> {
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
