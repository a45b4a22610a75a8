//! What a family does with a stretch of text: how documents are cut for it, what a stretch becomes, and the loss of a
//! model on it. The loop, the feed and the judging are the same for all.

use std::path::Path;

use burn::module::Module;
use burn::prelude::*;
use ptm_models::Pass;
use ptm_models::names::Names;
use ptm_text::corpus::{Document, Mixture, Part};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::cutting::{Cut, Window};
use super::text_tasks::TextTasks;
use crate::error::Result;
use crate::objectives::denoised::Denoised;

/// What is learnt from text.
pub(crate) trait Pretraining: Send + Sync + 'static {
    /// What learns.
    type Model: Module;
    /// What a window of text becomes.
    type Example: Send;
    /// Examples that go through the model together.
    type Batch: Send + 'static;

    /// The names of the loss's parts; the whole is their sum.
    fn parts(&self) -> &[&'static str] {
        &["loss"]
    }

    /// How documents are cut for examples of so many tokens.
    fn cut(&self, length: usize) -> Cut;

    /// What the corruption of a pass over a corpus depends on: the number of the pass, or another for passes that see the
    /// same corruption.
    fn pattern(&self, epoch: u64) -> u64 {
        epoch
    }

    /// How often held-out text is judged, each time for something else.
    fn rounds(&self) -> u64 {
        1
    }

    /// The example that a window becomes; none where it holds nothing to learn.
    ///
    /// # Errors
    /// When the vocabulary lacks tokens for it, or another document cannot be read.
    fn example(&self, window: &Window, others: &Others<'_>, random: &mut ChaCha8Rng) -> Result<Option<Self::Example>>;

    /// The tasks whose rows take places beside the text, where there are any.
    fn tasks(&self) -> Option<&TextTasks> {
        None
    }

    /// The example that a row of them is.
    fn paired(&self, _pair: &Denoised) -> Option<Self::Example> {
        None
    }

    /// Packs examples.
    ///
    /// # Errors
    /// When there is none, or one is empty.
    fn batch(&self, examples: Vec<Self::Example>) -> Result<Self::Batch>;

    /// The number of tokens that are computed.
    fn tokens(&self, batch: &Self::Batch) -> usize;

    /// How many targets each part of the loss has.
    fn weights(&self, batch: &Self::Batch) -> Vec<f64>;

    /// The tokens that the first part of the loss predicts: what a baseline has to foretell.
    fn targets<'a>(&self, batch: &'a Self::Batch) -> &'a [u32];

    /// For each part its scale times the sum of the losses.
    ///
    /// # Errors
    /// When the batch doesn't fit the model.
    fn losses(&self, model: &Self::Model, batch: &Self::Batch, scales: &[f32], pass: &Pass) -> Result<Vec<Tensor<1>>>;

    /// What of a batch is foretold.
    ///
    /// # Errors
    /// When the batch doesn't fit the model.
    fn answers(&self, model: &Self::Model, batch: &Self::Batch) -> Result<Answers>;

    /// A model with fresh weights.
    ///
    /// # Errors
    /// When its configuration cannot work.
    fn random(&self, seed: u64) -> Result<Self::Model>;

    /// The model of a directory; what its files lack of the head is drawn with the seed where one is given.
    ///
    /// # Errors
    /// When it cannot be read.
    fn open(&self, dir: &Path, new_head: Option<u64>) -> Result<Self::Model>;

    /// How files spell the model's parameters.
    fn names(&self, model: &Self::Model) -> Names;

    /// Writes configuration and weights.
    ///
    /// # Errors
    /// When a file can't be written.
    fn save(&self, model: &Self::Model, dir: &Path) -> Result<()>;
}

/// What a model makes of a batch whose targets it doesn't learn.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Answers {
    /// For each part the sum of its losses.
    pub losses: Vec<f64>,
    /// For each part how many targets are what the model thinks likeliest.
    pub right: Vec<u64>,
}

impl Answers {
    /// Of a loss with one part.
    pub fn one((loss, right): (f64, u64)) -> Self {
        Self { losses: vec![loss], right: vec![right] }
    }
}

/// What an example is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// To learn from in this step, counted from 0.
    Step(u64),
    /// To judge by, in this round of [`Pretraining::rounds`]: it is the same whenever it is made.
    Judged(u64),
}

/// What is beside the window in hand: other documents, and what it is for.
pub(crate) struct Others<'a> {
    pub mixture: &'a Mixture,
    pub part: Part,
    pub turn: Turn,
}

impl Others<'_> {
    /// A random document of the same corpus and part, and not the one that `window` is of; none where chance finds none.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn draw(&self, window: &Window, random: &mut ChaCha8Rng) -> Result<Option<Document>> {
        // of a part of a hundredth some hundred draws find one
        const TRIES: usize = 1000;
        let drawn = &window.pieces[0].drawn;
        let (corpus, _) = &self.mixture.corpora()[drawn.corpus];
        for _ in 0..TRIES {
            let number = random.random_range(0..corpus.len());
            if number != drawn.document.number && self.part.holds(corpus.hash(number)?) {
                return Ok(Some(corpus.document(number)?));
            }
        }
        Ok(None)
    }
}
