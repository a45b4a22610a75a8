//! What fine-tuning asks of a model, whatever its head: a loss of a batch as a sum over targets, and answers to be
//! judged.

use std::sync::Arc;

use burn::module::Module;
use burn::prelude::*;
use burn::tensor::TensorData;
use ptm_models::heads::{ChoiceHead, LanguageModelHead, SequenceHead, SpanHead, TokenHead};
use ptm_models::{Bart, Body, Decoder, Encoder, Input, Model, Pair, Pass, ProblemType, Rows, T5, T5Encoder, Xlnet};
use ptm_ops::{Indices, gather_rows};

use super::batch::{Batch, Gold};
use super::losses::{Loss, disagreement};
use super::questions::Offer;
use crate::error::{Error, Result};

/// What makes a loss, beside the batch.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The loss of one pass.
    pub loss: Loss,
    /// How numbers are read: regression or several labels. Only sequence classifiers ask.
    pub problem: Option<ProblemType>,
    /// R-Drop's weight of the disagreement between two passes; 0 is off.
    pub r_drop: f32,
    /// Passes through the head, each with its own dropout, over one through the body.
    pub dropouts: usize,
}

/// What was answered, beside what should have been.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// A label, and the scores of all.
    Class(u32, Vec<f32>),
    /// Numbers and numbers: probabilities where several labels may hold.
    Values(Vec<f32>, Vec<f32>),
    /// Labels of an example's tokens, and those answered.
    Tags(Vec<u32>, Vec<u32>),
    /// Of some words of a sentence the labels answered; beside the labels of all.
    Words(Arc<[u32]>, Vec<(u32, u32)>),
    /// The best that a window offers.
    Offer(Offer),
    /// How many of the tokens were foretold, of how many.
    Tokens(u64, u64),
}

/// Answers with the sum of their losses.
pub struct Answers {
    /// One an example (of language models one a batch).
    pub answers: Vec<Answer>,
    /// What the batch adds to the loss, before it is divided by its weight.
    pub loss: f64,
}

/// A model that learns by examples.
pub trait Learner: Module {
    /// `scale · Σ weight·loss` over the batch's targets.
    ///
    /// # Errors
    /// When the batch doesn't fit the model.
    fn loss(&self, batch: &Batch, settings: &Settings, scale: f32, pass: &Pass) -> Result<Tensor<1>>;

    /// Answers without dropout, and the plain loss.
    ///
    /// # Errors
    /// When the batch doesn't fit the model.
    fn answers(&self, batch: &Batch, settings: &Settings) -> Result<Answers>;
}

/// How much the targets of a batch count: what the sum of losses is divided by, over all micro-batches of a step.
pub(super) fn weight(batch: &Batch, settings: &Settings) -> f64 {
    let own = |gold: &Gold| match gold {
        Gold::Class(class) | Gold::Choice(class) => settings.loss.weight(&[*class]),
        // a mean over all numbers, as in transformers
        Gold::Values(values) => values.len() as f64,
        Gold::Tags(tags) => tags.iter().map(|tag| settings.loss.weight(&[tag.1])).sum(),
        Gold::Part(part) => part.targets().map(|target| settings.loss.weight(&[target.1])).sum(),
        Gold::Answer(_) => 1.0,
        Gold::Text(ids) => ids.len() as f64,
        Gold::Next => 0.0,
    };
    let all: f64 = batch.gold.iter().map(own).sum();
    // every token but the first of a text is foretold
    let next = batch.gold.iter().zip(batch.source.offsets.windows(2)).filter(|(gold, _)| **gold == Gold::Next);
    all + next.map(|(_, w)| (w[1] - w[0] - 1) as f64).sum::<f64>()
}

/// A body that reads batches.
pub trait Reads: Body {
    /// Whether it reads a decoder's side beside an encoder's.
    const DECODES: bool = false;

    /// Calls `f` with the batch as the body reads it.
    ///
    /// # Errors
    /// Those of `f`; when the batch lacks what the body needs.
    fn read<R>(batch: &Batch, f: impl FnOnce(&Self::Input<'_>) -> Result<R>) -> Result<R>;
}

impl Reads for Encoder {
    fn read<R>(batch: &Batch, f: impl FnOnce(&Input<'_>) -> Result<R>) -> Result<R> {
        f(&Input::from(&batch.source))
    }
}

impl Reads for Decoder {
    fn read<R>(batch: &Batch, f: impl FnOnce(&ptm_text::Packed) -> Result<R>) -> Result<R> {
        f(&batch.source)
    }
}

impl Reads for T5Encoder {
    fn read<R>(batch: &Batch, f: impl FnOnce(&ptm_text::Packed) -> Result<R>) -> Result<R> {
        f(&batch.source)
    }
}

impl Reads for Xlnet {
    fn read<R>(batch: &Batch, f: impl FnOnce(&ptm_models::Permuted<'_>) -> Result<R>) -> Result<R> {
        f(&(&batch.source).into())
    }
}

fn pair<R>(batch: &Batch, f: impl FnOnce(&Pair<'_>) -> Result<R>) -> Result<R> {
    let Some(target) = &batch.target else {
        return Err(Error::Input("an encoder-decoder needs examples with a decoder's side".into()));
    };
    f(&Pair { source: &batch.source, target })
}

impl Reads for Bart {
    const DECODES: bool = true;

    fn read<R>(batch: &Batch, f: impl FnOnce(&Pair<'_>) -> Result<R>) -> Result<R> {
        pair(batch, f)
    }
}

impl Reads for T5 {
    const DECODES: bool = true;

    fn read<R>(batch: &Batch, f: impl FnOnce(&Pair<'_>) -> Result<R>) -> Result<R> {
        pair(batch, f)
    }
}

/// The loss of logits, and where asked for that of a second pass with their disagreement.
fn with_r_drop(
    settings: &Settings,
    scale: f32,
    mut logits: impl FnMut() -> Result<Tensor<2>>,
    loss: impl Fn(Tensor<2>, f32) -> Tensor<1>,
) -> Result<Tensor<1>> {
    let first = logits()?;
    if settings.r_drop == 0.0 {
        return Ok(loss(first, scale));
    }
    let second = logits()?;
    let both = loss(first.clone(), scale / 2.0) + loss(second.clone(), scale / 2.0);
    Ok(both + disagreement(first, second, scale * settings.r_drop))
}

/// Rows of a matrix.
fn rows_of(logits: Tensor<2>) -> Vec<Vec<f32>> {
    let width = logits.dims()[1].max(1);
    ptm_ops::read_f32(logits).chunks_exact(width).map(<[f32]>::to_vec).collect()
}

/// The place of the greatest.
pub(crate) fn best(scores: &[f32]) -> u32 {
    let mut best = 0;
    for (i, score) in scores.iter().enumerate() {
        if *score > scores[best] {
            best = i;
        }
    }
    best as u32
}

/// The loss of a sequence classifier's logits.
fn sequence_loss(logits: Tensor<2>, batch: &Batch, settings: &Settings, scale: f32) -> Tensor<1> {
    match settings.problem {
        Some(ProblemType::Regression) => {
            let targets = TensorData::new(batch.values(), logits.dims());
            let targets = Tensor::<2>::from_data(targets, &logits.device());
            ptm_ops::losses::squared_error(logits, targets, scale)
        }
        Some(ProblemType::MultiLabel) => settings.loss.labels(logits, batch.values(), scale),
        _ => settings.loss.classes(logits, &batch.classes(), scale),
    }
}

fn value(loss: Tensor<1>) -> f64 {
    f64::from(loss.into_scalar::<f32>())
}

impl<B: Reads> Learner for Model<SequenceHead, B> {
    fn loss(&self, batch: &Batch, settings: &Settings, scale: f32, pass: &Pass) -> Result<Tensor<1>> {
        B::read(batch, |input| {
            let hidden = || -> Result<Tensor<2>> { Ok(self.body.summarize(input, pass)?) };
            let loss = |logits: Tensor<2>, scale: f32| sequence_loss(logits, batch, settings, scale);
            if settings.dropouts > 1 {
                let hidden = hidden()?;
                let share = scale / settings.dropouts as f32;
                let one = || loss(self.head.logits(hidden.clone(), pass), share);
                return Ok((1..settings.dropouts).fold(one(), |sum, _| sum + one()));
            }
            with_r_drop(settings, scale, || Ok(self.head.logits(hidden()?, pass)), loss)
        })
    }

    fn answers(&self, batch: &Batch, settings: &Settings) -> Result<Answers> {
        let logits = B::read(batch, |input| Ok(self.logits(input, &Pass::eval())?))?;
        let loss = value(sequence_loss(logits.clone(), batch, settings, 1.0));
        let answers = rows_of(logits).into_iter().zip(&batch.gold).map(|(scores, gold)| match gold {
            Gold::Values(values) if settings.problem == Some(ProblemType::MultiLabel) => {
                Answer::Values(values.clone(), scores.iter().map(|x| 1.0 / (1.0 + (-x).exp())).collect())
            }
            Gold::Values(values) => Answer::Values(values.clone(), scores),
            Gold::Class(class) => Answer::Class(*class, scores),
            _ => Answer::Class(0, scores),
        });
        Ok(Answers { answers: answers.collect(), loss })
    }
}

impl<B: Reads> Learner for Model<TokenHead, B> {
    fn loss(&self, batch: &Batch, settings: &Settings, scale: f32, pass: &Pass) -> Result<Tensor<1>> {
        let (rows, targets) = batch.rows();
        let chosen = Rows::Chosen(rows);
        B::read(batch, |input| {
            let logits = || Ok(self.head.logits(self.body.forward(input, &chosen, pass)?, pass));
            with_r_drop(settings, scale, logits, |logits, scale| settings.loss.classes(logits, &targets, scale))
        })
    }

    fn answers(&self, batch: &Batch, settings: &Settings) -> Result<Answers> {
        let (rows, targets) = batch.rows();
        let pass = Pass::eval();
        let logits =
            B::read(batch, |input| Ok(self.head.logits(self.body.forward(input, &Rows::Chosen(rows), &pass)?, &pass)))?;
        let loss = value(settings.loss.classes(logits.clone(), &targets, 1.0));
        let mut found = rows_of(logits).into_iter();
        let answers = batch.gold.iter().map(|gold| match gold {
            Gold::Tags(tags) => {
                let given = found.by_ref().take(tags.len()).map(|scores| best(&scores)).collect();
                Answer::Tags(tags.iter().map(|tag| tag.1).collect(), given)
            }
            Gold::Part(part) => {
                let rows = part.words.chunk_by(|a, b| a.0 == b.0).zip(found.by_ref());
                let given = rows.flat_map(|(words, scores)| {
                    let tag = best(&scores);
                    words.iter().map(move |word| (word.1, tag))
                });
                Answer::Words(part.tags.clone(), given.collect())
            }
            _ => Answer::Tags(Vec::new(), Vec::new()),
        });
        Ok(Answers { answers: answers.collect(), loss })
    }
}

impl<B: Reads> Learner for Model<SpanHead, B> {
    fn loss(&self, batch: &Batch, _: &Settings, scale: f32, pass: &Pass) -> Result<Tensor<1>> {
        let (starts, ends) = batch.spans();
        B::read(batch, |input| {
            let hidden = self.body.forward(input, &Rows::All, pass)?;
            let offsets = batch.target.as_ref().map_or(&batch.source.offsets, |target| &target.offsets);
            Ok(self.head.loss(hidden, offsets, &starts, &ends, scale, pass))
        })
    }

    fn answers(&self, batch: &Batch, settings: &Settings) -> Result<Answers> {
        let loss = value(Learner::loss(self, batch, settings, 1.0, &Pass::eval())?);
        let logits = B::read(batch, |input| Ok(self.logits(input, &Pass::eval())?))?;
        let rows = rows_of(logits);
        let offsets = batch.target.as_ref().map_or(&batch.source.offsets, |target| &target.offsets);
        let windows = batch.gold.iter().zip(offsets.windows(2));
        let answers = windows.filter_map(|(gold, w)| match gold {
            Gold::Answer(window) => Some(Answer::Offer(Offer::new(window.clone(), &rows[w[0]..w[1]]))),
            _ => None,
        });
        Ok(Answers { answers: answers.collect(), loss })
    }
}

impl Learner for Model<ChoiceHead> {
    fn loss(&self, batch: &Batch, settings: &Settings, scale: f32, pass: &Pass) -> Result<Tensor<1>> {
        Encoder::read(batch, |input| {
            let logits = || Ok(self.logits(input, batch.choices, pass)?);
            with_r_drop(settings, scale, logits, |logits, scale| settings.loss.classes(logits, &batch.classes(), scale))
        })
    }

    fn answers(&self, batch: &Batch, settings: &Settings) -> Result<Answers> {
        let logits = Encoder::read(batch, |input| Ok(self.logits(input, batch.choices, &Pass::eval())?))?;
        let classes = batch.classes();
        let loss = value(settings.loss.classes(logits.clone(), &classes, 1.0));
        let answers = rows_of(logits).into_iter().zip(&*classes);
        Ok(Answers { answers: answers.map(|(scores, class)| Answer::Class(*class, scores)).collect(), loss })
    }
}

impl<B: Reads> Learner for Model<LanguageModelHead, B> {
    fn loss(&self, batch: &Batch, _: &Settings, scale: f32, pass: &Pass) -> Result<Tensor<1>> {
        let (rows, targets) = batch.rows();
        B::read(batch, |input| {
            let hidden = self.body.forward(input, &Rows::Chosen(rows), pass)?;
            Ok(self.head.loss(hidden, self.body.word(), &targets, scale))
        })
    }

    fn answers(&self, batch: &Batch, _: &Settings) -> Result<Answers> {
        // logits over a vocabulary are large: a few rows at a time
        const AT_ONCE: usize = 256;
        let (rows, targets) = batch.rows();
        let count = rows.len();
        let hidden = B::read(batch, |input| Ok(self.body.forward(input, &Rows::Chosen(rows), &Pass::eval())?))?;
        let loss = value(self.head.loss(hidden.clone(), self.body.word(), &targets, 1.0));
        let mut right = 0;
        for start in (0..count).step_by(AT_ONCE) {
            let some: Indices = (start..count.min(start + AT_ONCE)).map(|row| row as u32).collect();
            let logits = self.head.logits(gather_rows(hidden.clone(), &some), self.body.word());
            right +=
                rows_of(logits).iter().zip(&targets[start..]).filter(|(row, target)| best(row) == **target).count();
        }
        Ok(Answers { answers: vec![Answer::Tokens(right as u64, count as u64)], loss })
    }
}
