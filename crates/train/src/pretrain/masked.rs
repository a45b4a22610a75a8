//! Masked language modelling of encoders, and ERNIE's knowledge masking: each stretch of a document, or whole sentences in
//! one of RoBERTa's formats, between the tokens that begin and end a sequence.

use std::path::Path;

use burn::prelude::*;
use ptm_models::heads::MaskedLmHead;
use ptm_models::names::Names;
use ptm_models::{Encoder, Model, Pass};
use rand_chacha::ChaCha8Rng;

use super::cutting::{Cut, Window};
use super::made::Made;
use super::recipe::Micro;
use super::task::{Answers, Others, Pretraining, Turn};
use crate::error::Result;
use crate::objectives::batches::Masks;
use crate::objectives::knowledge_masking::KnowledgeMasking;
use crate::objectives::masked_lm::{Format, MaskedLm};
use crate::objectives::masking::Masked;
use crate::objectives::{Text, Vocabulary};

/// What is hidden.
pub(crate) enum Hidden {
    /// BERT's and RoBERTa's.
    Tokens(Box<MaskedLm>),
    /// ERNIE's.
    Knowledge(Box<KnowledgeMasking>),
}

/// BERT's, RoBERTa's and ERNIE's.
pub(crate) struct MaskedTask {
    pub objective: Hidden,
    pub vocabulary: Vocabulary,
    pub made: Made<MaskedLmHead, Encoder>,
}

/// Tokens that begin and end a sequence.
const FRAME: usize = 2;

impl MaskedTask {
    fn format(&self) -> Format {
        match &self.objective {
            Hidden::Tokens(objective) => objective.config().format,
            Hidden::Knowledge(_) => Format::Stretches,
        }
    }
}

impl Pretraining for MaskedTask {
    type Model = Model<MaskedLmHead>;
    type Example = Masked;
    type Batch = Masks;

    fn shortest(&self) -> usize {
        FRAME + 2
    }

    fn cut(&self, length: usize) -> Cut {
        let length = length.saturating_sub(FRAME).max(2);
        match self.format() {
            Format::Stretches => Cut::Within { length, both: false },
            Format::FullSentences => Cut::Sentences { length, across: true },
            Format::DocSentences => Cut::Sentences { length, across: false },
        }
    }

    fn micro(&self, micro: Micro, length: usize) -> Micro {
        match micro {
            Micro::Examples(size) if self.format() == Format::DocSentences => Micro::Tokens(size * length),
            other => other,
        }
    }

    fn fingerprint(&self) -> u64 {
        match &self.objective {
            Hidden::Tokens(_) => 0,
            Hidden::Knowledge(objective) => objective.fingerprint(),
        }
    }

    fn patterns(&self) -> u64 {
        match &self.objective {
            Hidden::Tokens(objective) => objective.config().patterns,
            Hidden::Knowledge(_) => 0,
        }
    }

    fn example(&self, window: &Window, others: &Others<'_>, random: &mut ChaCha8Rng) -> Result<Option<Masked>> {
        let (ids, sentences) = window.joined(Some(self.vocabulary.sep()?));
        if ids.iter().all(|&id| self.vocabulary.is_special(id)) {
            return Ok(None);
        }
        let text = Text { ids: &ids, sentences: &sentences };
        let made = match &self.objective {
            Hidden::Tokens(objective) => objective.corrupt(&text, random),
            Hidden::Knowledge(objective) => {
                // what is judged is the same in every stage: what the last one hides
                let step = if let Turn::Step(step) = others.turn { Some(step) } else { None };
                objective.corrupt(&text, &window.spans(), objective.level(step), random)
            }
        };
        made.map(Some)
    }

    fn batch(&self, examples: Vec<Masked>) -> Result<Masks> {
        Masks::new(&examples, self.made.config.positions())
    }

    fn tokens(&self, batch: &Masks) -> usize {
        batch.tokens()
    }

    fn weights(&self, batch: &Masks) -> Vec<f64> {
        vec![batch.targets().len() as f64]
    }

    fn targets<'a>(&self, batch: &'a Masks) -> &'a [u32] {
        batch.targets()
    }

    fn losses(&self, model: &Self::Model, batch: &Masks, scales: &[f32], pass: &Pass) -> Result<Vec<Tensor<1>>> {
        Ok(vec![batch.loss(model, scales[0], pass)?])
    }

    fn answers(&self, model: &Self::Model, batch: &Masks) -> Result<Answers> {
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
