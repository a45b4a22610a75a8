//! Permutation language modelling of XLNet: segments with what came before them as memory, half of each batch in either
//! direction. The memory is not carried over from step to step as in the authors' code: the model computes it again from
//! the tokens before the segment. A step then depends on weights and batch alone, so that a run that was stopped goes on
//! with the same bits, and segments can come in any order. It costs a pass without gradients over the memory's tokens, at
//! 384 for 512 about a quarter more computing, and reach: the memory's first tokens have seen none before them, where a
//! state that is carried over hands on what came earlier, a memory's length for each layer. Segments and their memory are
//! of one document, where the authors' code reads all of them as one stream with a token between two; and it reads only the
//! second half of a sequence as A and B, the first half, which the next sequence keeps in memory, as it comes.

use std::path::Path;

use burn::prelude::*;
use ptm_models::heads::LanguageModelHead;
use ptm_models::names::Names;
use ptm_models::{Model, Pass, Xlnet};
use rand_chacha::ChaCha8Rng;

use super::cutting::{Cut, Piece, Window};
use super::made::Made;
use super::task::{Answers, Others, Pretraining};
use crate::error::Result;
use crate::objectives::Text;
use crate::objectives::batches::Segments;
use crate::objectives::permutation::{PermutationLm, Permuted};

/// XLNet's.
pub(crate) struct PermutationTask {
    pub objective: PermutationLm,
    pub made: Made<LanguageModelHead, Xlnet>,
}

impl Pretraining for PermutationTask {
    type Model = Model<LanguageModelHead, Xlnet>;
    type Example = Permuted;
    type Batch = Segments;

    fn cut(&self, length: usize) -> Cut {
        Cut::Within { length: PermutationLm::tokens_of(length), both: self.objective.reads_backwards() }
    }

    fn example(&self, window: &Window, others: &Others<'_>, random: &mut ChaCha8Rng) -> Result<Option<Permuted>> {
        let Piece { drawn, from, to } = &window.pieces[0];
        let other = others.draw_by_tokens(window, random)?;
        let other = other.as_ref().map(|other| Text { ids: &other.ids, sentences: &other.sentences });
        Ok(Some(self.objective.segment(&drawn.text(), *from..*to, window.backwards, other.as_ref(), random)))
    }

    fn batch(&self, examples: Vec<Permuted>) -> Result<Segments> {
        Segments::new(examples)
    }

    fn tokens(&self, batch: &Segments) -> usize {
        batch.tokens()
    }

    fn weights(&self, batch: &Segments) -> Vec<f64> {
        vec![batch.targets().len() as f64]
    }

    fn targets<'a>(&self, batch: &'a Segments) -> &'a [u32] {
        batch.targets()
    }

    fn losses(&self, model: &Self::Model, batch: &Segments, scales: &[f32], pass: &Pass) -> Result<Vec<Tensor<1>>> {
        Ok(vec![batch.loss(model, scales[0], pass)?])
    }

    fn answers(&self, model: &Self::Model, batch: &Segments) -> Result<Answers> {
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
