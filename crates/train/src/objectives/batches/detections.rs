//! Sequences for generator and discriminator.

use std::path::Path;

use burn::prelude::*;
use ptm_models::heads::MaskedLmHead;
use ptm_models::{Body, Electra, Model, Pass, Rows};
use ptm_ops::Indices;
use ptm_text::{Packed, PositionStyle};

use super::masks::{Masks, foretold};
use super::packed;
use crate::error::{Error, Result};
use crate::objectives::replaced_token_detection::{Detection, drawn};

/// A masked language model that fills hidden places on its own, without a discriminator beside it.
#[derive(Debug)]
pub struct LoneGenerator(Model<MaskedLmHead>);

impl LoneGenerator {
    /// The model in `dir`.
    ///
    /// # Errors
    /// When a file is missing or damaged.
    pub fn open(dir: &Path) -> Result<Self> {
        Ok(Self(Model::open(dir, &Device::flex())?.model))
    }

    /// What it draws for the hidden places of a text, `[m]`.
    ///
    /// # Errors
    /// When the text doesn't fit the model.
    pub fn drawn(&self, text: &Detection, temperature: f64) -> Result<Vec<u32>> {
        let size = self.0.config().vocab_size;
        if let Some(id) = text.masked.ids.iter().find(|&&id| id as usize >= size) {
            let problem = format!("the tokenizer gives the id {id}, but the generator's vocab_size is {size}");
            return Err(Error::Input(format!("{problem}: they are of two models")));
        }
        let masks = Masks::new(std::slice::from_ref(&text.masked), self.0.config().positions())?;
        let logits = self.0.logits(&masks.input(), &Rows::Chosen(masks.rows().clone()), &Pass::eval())?;
        Ok(drawn(ptm_ops::read_f32(logits), temperature, &text.draws))
    }
}

/// Sequences with hidden tokens, of which others will be drawn.
#[derive(Clone, Debug)]
pub struct Detections {
    examples: Vec<Detection>,
    masks: Masks,
    style: PositionStyle,
    temperature: f64,
}

impl Detections {
    /// # Errors
    /// When a sequence is empty.
    pub fn new(examples: Vec<Detection>, temperature: f64, style: PositionStyle) -> Result<Self> {
        let masked: Vec<_> = examples.iter().map(|one| one.masked.clone()).collect();
        Ok(Self { masks: Masks::new(&masked, style)?, examples, style, temperature })
    }

    /// The number of tokens that the discriminator judges; both models compute as many.
    pub fn tokens(&self) -> usize {
        self.masks.tokens()
    }

    /// What the generator predicts.
    pub fn targets(&self) -> &[u32] {
        self.masks.targets()
    }

    /// What the discriminator reads after the generator has drawn by these hidden states, and what of it is replaced.
    fn replaced(&self, model: &Electra, hidden: Tensor<2>) -> Result<(Packed, Vec<bool>)> {
        // logits over a vocabulary are large: a few rows at a time
        const AT_ONCE: usize = 256;
        let generator = model.generator();
        // no gradient passes through what was drawn
        let hidden = hidden.detach();
        let draws: Vec<f64> = self.examples.iter().flat_map(|one| one.draws.iter().copied()).collect();
        let mut said = Vec::with_capacity(draws.len());
        for (some, draws) in (0..).step_by(AT_ONCE).zip(draws.chunks(AT_ONCE)) {
            let rows: Indices = (some..some + draws.len() as u32).collect();
            let logits = generator.head.logits(ptm_ops::gather_rows(hidden.clone(), &rows), generator.body.word());
            said.extend(drawn(ptm_ops::read_f32(logits.detach()), self.temperature, draws));
        }
        let (mut text, mut flags, mut said) = (Packed::default(), Vec::new(), &said[..]);
        for one in &self.examples {
            let (own, rest) = said.split_at(one.draws.len());
            said = rest;
            let (ids, replaced) = one.replaced(own);
            text.push(&ids, Some(&one.masked.segments), self.style).map_err(packed)?;
            flags.extend(replaced);
        }
        Ok((text, flags))
    }

    /// `scales[0] · Σ cross-entropy` of the generator, and `scales[1] · Σ binary cross-entropy` of the discriminator over
    /// all tokens. The generator learns from its own loss alone; the embeddings, which both share, from both.
    ///
    /// # Errors
    /// When the batch doesn't fit the models.
    pub fn losses(&self, model: &Electra, scales: [f32; 2], pass: &Pass) -> Result<[Tensor<1>; 2]> {
        let generator = model.generator();
        let hidden = generator.body.forward(&self.masks.input(), &Rows::Chosen(self.masks.rows().clone()), pass)?;
        let targets: Indices = self.targets().into();
        let first = generator.head.loss(hidden.clone(), generator.body.word(), &targets, scales[0]);
        let (text, replaced) = self.replaced(model, hidden)?;
        let hidden = model.body.forward(&(&text).into(), &Rows::All, pass)?;
        Ok([first, model.head.loss(hidden, &replaced, scales[1])])
    }

    /// For each model the sum of its losses, and how many answers are right.
    ///
    /// # Errors
    /// When the batch doesn't fit the models.
    pub fn answers(&self, model: &Electra) -> Result<[(f64, u64); 2]> {
        let (generator, pass) = (model.generator(), Pass::eval());
        let hidden = generator.body.forward(&self.masks.input(), &Rows::Chosen(self.masks.rows().clone()), &pass)?;
        let first = foretold(&generator.head, hidden.clone(), &generator, &self.targets().into());
        let (text, replaced) = self.replaced(model, hidden)?;
        let hidden = model.body.forward(&(&text).into(), &Rows::All, &pass)?;
        let logits = ptm_ops::read_f32(model.head.logits(hidden.clone()));
        let right = logits.iter().zip(&replaced).filter(|(logit, replaced)| (**logit > 0.0) == **replaced).count();
        let loss = model.head.loss(hidden, &replaced, 1.0).into_scalar::<f32>();
        Ok([first, (f64::from(loss), right as u64)])
    }
}
