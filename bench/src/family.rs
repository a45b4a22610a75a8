//! The other families at published size: token ids to hidden states, or one optimizer step of a family's language model
//! by its own objective: next tokens, text to text, or the last tokens of a permuted order.

use std::sync::Arc;

use anyhow::{Result, bail};
use burn::prelude::*;
use ptm_models::heads::{LanguageModelHead, next_tokens};
use ptm_models::{Bart, Body, Configuration, Decoder, Model, Pair, Pass, Permuted, Rows, T5, Visible, Xlnet};
use ptm_ops::{AdamW, AdamWOptions, Indices};
use ptm_text::Packed;

use crate::{Work, protocol};

/// What a pass reads, and what its loss is of.
struct Data {
    source: Packed,
    /// What the decoder of a text-to-text model reads.
    target: Packed,
    /// Of a permuted order who sees whom, and what is predicted.
    order: Option<(Arc<[bool]>, Indices)>,
    /// The hidden states that predict, and what they should.
    rows: Indices,
    labels: Indices,
}

/// Bodies that know what they read of it.
trait Reads: Body {
    /// What the job says to a model of this configuration.
    fn data(config: &Self::Config, job: &protocol::Family) -> Result<Data>;

    /// Calls `f` with the input.
    fn with<T>(data: &Data, f: impl FnOnce(&Self::Input<'_>) -> T) -> T;
}

impl Reads for Decoder {
    fn data(config: &Self::Config, job: &protocol::Family) -> Result<Data> {
        let source = Packed::from_ids(&job.sequences, config.positions())?;
        let (rows, labels) = next_tokens(&source);
        Ok(Data { source, target: Packed::default(), order: None, rows, labels })
    }

    fn with<T>(data: &Data, f: impl FnOnce(&Packed) -> T) -> T {
        f(&data.source)
    }
}

/// Targets shifted right, and all of them as labels.
fn pairs(job: &protocol::Family, config: &impl Configuration, shifted: &[Vec<u32>]) -> Result<Data> {
    let source = Packed::from_ids(&job.sequences, config.positions())?;
    let target = Packed::from_ids(shifted, config.positions())?;
    let labels: Indices = job.targets.concat().into();
    Ok(Data { source, target, order: None, rows: (0..labels.len() as u32).collect(), labels })
}

impl Reads for Bart {
    fn data(config: &Self::Config, job: &protocol::Family) -> Result<Data> {
        let shifted: Result<Vec<_>, _> = job.targets.iter().map(|target| config.shifted(target)).collect();
        pairs(job, config, &shifted?)
    }

    fn with<T>(data: &Data, f: impl FnOnce(&Pair<'_>) -> T) -> T {
        f(&Pair { source: &data.source, target: &data.target })
    }
}

impl Reads for T5 {
    fn data(config: &Self::Config, job: &protocol::Family) -> Result<Data> {
        let shifted: Result<Vec<_>, _> = job.targets.iter().map(|target| config.shifted(target)).collect();
        pairs(job, config, &shifted?)
    }

    fn with<T>(data: &Data, f: impl FnOnce(&Pair<'_>) -> T) -> T {
        f(&Pair { source: &data.source, target: &data.target })
    }
}

impl Reads for Xlnet {
    fn data(config: &Self::Config, job: &protocol::Family) -> Result<Data> {
        let source = Packed::from_ids(&job.sequences, config.positions())?;
        let visible = job.visible.iter().map(|&sees| sees == 1).collect();
        let labels = job.rows.iter().map(|&row| source.ids[row as usize]).collect();
        let (rows, targets) = ((0..job.rows.len() as u32).collect(), job.rows.clone().into());
        Ok(Data { source, target: Packed::default(), order: Some((visible, targets)), rows, labels })
    }

    fn with<T>(data: &Data, f: impl FnOnce(&Permuted<'_>) -> T) -> T {
        let (visible, targets) = data.order.clone().unzip();
        let visible = visible.map_or(Visible::All, Visible::Pairs);
        f(&Permuted { visible, targets, ..Permuted::from(&data.source) })
    }
}

/// The work that `job` asks for.
///
/// # Errors
/// When the directory doesn't hold such a model.
pub fn prepare(job: &protocol::Family) -> Result<Box<dyn Work>> {
    Ok(match (job.family.as_str(), job.train) {
        ("gpt2", false) => Box::new(Encode::<Decoder>::new(job)?),
        ("bart", false) => Box::new(Encode::<Bart>::new(job)?),
        ("t5", false) => Box::new(Encode::<T5>::new(job)?),
        ("xlnet", false) => Box::new(Encode::<Xlnet>::new(job)?),
        ("gpt2", true) => Box::new(Train::<Decoder>::new(job)?),
        ("bart", true) => Box::new(Train::<Bart>::new(job)?),
        ("t5", true) => Box::new(Train::<T5>::new(job)?),
        ("xlnet", true) => Box::new(Train::<Xlnet>::new(job)?),
        (other, _) => bail!("no family {other:?}: gpt2, bart, t5 or xlnet"),
    })
}

/// A model and its batch, for hidden states.
struct Encode<B: Reads> {
    model: Model<LanguageModelHead, B>,
    data: Data,
}

impl<B: Reads> Encode<B> {
    fn new(job: &protocol::Family) -> Result<Self> {
        let model = Model::<LanguageModelHead, B>::open(&job.model, &Device::flex())?.model;
        // hidden states are of all tokens in their usual order
        let data = Data { order: None, ..B::data(model.config(), job)? };
        Ok(Self { model, data })
    }
}

impl<B: Reads> Work for Encode<B> {
    fn run(&mut self) -> Result<Vec<f32>> {
        let forward = |input: &B::Input<'_>| self.model.body.forward(input, &Rows::All, &Pass::eval());
        let hidden = B::with(&self.data, forward)?;
        let [rows, width] = hidden.dims();
        let hidden = ptm_ops::read_f32(hidden);
        let last = (rows - 1) * width;
        Ok(vec![hidden[0], hidden[1], hidden[last], hidden[last + 1]])
    }
}

/// A language model in training.
struct Train<B: Reads> {
    model: Option<Model<LanguageModelHead, B>>,
    optimizer: AdamW,
    options: AdamWOptions,
    data: Data,
}

impl<B: Reads> Train<B> {
    fn new(job: &protocol::Family) -> Result<Self> {
        let model = Model::<LanguageModelHead, B>::open(&job.model, &Device::flex().autodiff())?.model;
        let data = B::data(model.config(), job)?;
        let options = crate::train::options(job.lr, job.weight_decay);
        Ok(Self { model: Some(model), optimizer: AdamW::new(), options, data })
    }
}

impl<B: Reads> Work for Train<B> {
    fn run(&mut self) -> Result<Vec<f32>> {
        let Some(model) = self.model.take() else { bail!("an earlier step failed: prepare the job again") };
        self.options.step += 1;
        let Data { rows, labels, .. } = &self.data;
        let (scale, pass) = (1.0 / labels.len() as f32, Pass::train(self.options.step));
        let loss = B::with(&self.data, |input| model.loss(input, rows, labels, scale, &pass))?;
        let value = loss.clone().into_scalar::<f32>();
        self.model = Some(self.optimizer.step(model, loss.backward(), self.options));
        Ok(vec![value])
    }
}
