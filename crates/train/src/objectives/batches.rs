//! Examples as models read them, and their losses: what a text side made, packed without padding, and the sum of
//! cross-entropies at the places that are predicted; logits exist nowhere else.

mod classes;
mod detections;
mod masks;
mod sentence_pairs;
mod spans;

use std::sync::Arc;

use burn::prelude::*;
use ptm_models::heads::{Head, LanguageModelHead};
use ptm_models::{Body, Configuration, Decoder, Model, Pair, Pass, Rows, Visible, Xlnet};
use ptm_ops::Indices;
use ptm_text::{Packed, PackedError, PositionStyle};

pub use self::classes::Classes;
pub use self::detections::{Detections, LoneGenerator};
pub use self::masks::Masks;
pub use self::sentence_pairs::SentencePairs;
pub use self::spans::Spans;
use super::causal::Causal;
use super::denoised::Denoised;
use super::permutation::Permuted;
use crate::error::{Error, Result};

fn packed(error: PackedError) -> Error {
    Error::Input(error.to_string())
}

/// Blocks of a decoder. Documents of a block are sequences of their own: none sees another, and each counts its positions
/// from the first.
#[derive(Clone, Debug)]
pub struct Blocks {
    text: Packed,
    rows: Indices,
    targets: Indices,
}

impl Blocks {
    /// # Errors
    /// When a block is empty.
    pub fn new(blocks: &[Causal], style: PositionStyle) -> Result<Self> {
        let mut text = Packed::default();
        let mut targets = Vec::new();
        for (ids, following) in blocks.iter().flat_map(Causal::sequences) {
            text.push(ids, None, style).map_err(packed)?;
            targets.extend_from_slice(following);
        }
        Ok(Self { rows: (0..targets.len() as u32).collect(), text, targets: targets.into() })
    }

    /// The number of tokens that are computed.
    pub fn tokens(&self) -> usize {
        self.text.len()
    }

    /// What is predicted.
    pub fn targets(&self) -> &[u32] {
        &self.targets
    }

    /// `scale · Σ cross-entropy`.
    ///
    /// # Errors
    /// When the batch doesn't fit the model.
    pub fn loss(&self, model: &Model<LanguageModelHead, Decoder>, scale: f32, pass: &Pass) -> Result<Tensor<1>> {
        Ok(model.loss(&self.text, &self.rows, &self.targets, scale, pass)?)
    }

    /// The sum of cross-entropies, and how many targets are the likeliest token.
    ///
    /// # Errors
    /// When the batch doesn't fit the model.
    pub fn answers(&self, model: &Model<LanguageModelHead, Decoder>) -> Result<(f64, u64)> {
        let hidden = model.body.forward(&self.text, &Rows::Chosen(self.rows.clone()), &Pass::eval())?;
        Ok(foretold(model, hidden, &self.targets))
    }
}

/// Pairs of an encoder-decoder.
#[derive(Clone, Debug)]
pub struct Pairs {
    source: Packed,
    target: Packed,
    rows: Indices,
    targets: Indices,
}

impl Pairs {
    /// The decoder reads `start` and then what it has said.
    ///
    /// # Errors
    /// When a source or a target is empty.
    pub fn new(pairs: &[Denoised], start: u32, style: PositionStyle) -> Result<Self> {
        let (mut source, mut target, mut targets) = (Packed::default(), Packed::default(), Vec::new());
        for pair in pairs {
            source.push(&pair.source, None, style).map_err(packed)?;
            target.push(&pair.shifted(start), None, style).map_err(packed)?;
            targets.extend_from_slice(&pair.target);
        }
        if targets.len() != target.len() {
            return Err(Error::Input("an empty target: it holds at least the token that ends it".into()));
        }
        Ok(Self { source, target, rows: (0..targets.len() as u32).collect(), targets: targets.into() })
    }

    /// The number of tokens that are computed.
    pub fn tokens(&self) -> usize {
        self.source.len() + self.target.len()
    }

    /// What is predicted.
    pub fn targets(&self) -> &[u32] {
        &self.targets
    }

    /// `scale · Σ cross-entropy`.
    ///
    /// # Errors
    /// When the batch doesn't fit the model.
    pub fn loss<B>(&self, model: &Model<LanguageModelHead, B>, scale: f32, pass: &Pass) -> Result<Tensor<1>>
    where
        B: for<'a> Body<Input<'a> = Pair<'a>>,
        LanguageModelHead: Head<B>,
    {
        let pair = Pair { source: &self.source, target: &self.target };
        Ok(model.loss(&pair, &self.rows, &self.targets, scale, pass)?)
    }

    /// The sum of cross-entropies, and how many targets are the likeliest token.
    ///
    /// # Errors
    /// When the batch doesn't fit the model.
    pub fn answers<B>(&self, model: &Model<LanguageModelHead, B>) -> Result<(f64, u64)>
    where
        B: for<'a> Body<Input<'a> = Pair<'a>>,
        LanguageModelHead: Head<B>,
    {
        let pair = Pair { source: &self.source, target: &self.target };
        let hidden = model.body.forward(&pair, &Rows::Chosen(self.rows.clone()), &Pass::eval())?;
        Ok(foretold(model, hidden, &self.targets))
    }
}

/// Segments of XLNet with their memories.
#[derive(Clone, Debug)]
pub struct Segments {
    segments: Packed,
    visible: Arc<[bool]>,
    backwards: Arc<[bool]>,
    /// The packed rows that are predicted.
    places: Indices,
    targets: Indices,
    /// What came before those that have something before them.
    before: Packed,
    /// For each segment its place in `before`.
    memories: Vec<Option<usize>>,
}

impl Segments {
    /// Those that read forwards first, so that a batch's halves have a direction each.
    ///
    /// # Errors
    /// When a segment is empty.
    pub fn new(mut examples: Vec<Permuted>) -> Result<Self> {
        examples.sort_by_key(|one| one.backwards);
        let (mut segments, mut before) = (Packed::default(), Packed::default());
        let (mut visible, mut memories) = (Vec::new(), Vec::new());
        let (mut places, mut targets) = (Vec::new(), Vec::new());
        for one in &examples {
            let start = segments.len();
            segments.push(&one.ids, Some(&one.segments), PositionStyle::Zero).map_err(packed)?;
            visible.extend(one.visible());
            places.extend(one.targets.iter().map(|&place| (start + place) as u32));
            targets.extend(one.targets.iter().map(|&place| one.ids[place]));
            memories.push((!one.memory.is_empty()).then(|| before.sequences()));
            if !one.memory.is_empty() {
                before.push(&one.memory, None, PositionStyle::Zero).map_err(packed)?;
            }
        }
        Ok(Self {
            segments,
            visible: visible.into(),
            backwards: examples.iter().map(|one| one.backwards).collect(),
            places: places.into(),
            targets: targets.into(),
            before,
            memories,
        })
    }

    /// The number of tokens that are computed.
    pub fn tokens(&self) -> usize {
        self.segments.len() + self.before.len()
    }

    /// What is predicted.
    pub fn targets(&self) -> &[u32] {
        &self.targets
    }

    /// `scale · Σ cross-entropy`. The memory is computed by the model as it is, without dropout and without gradients: a
    /// step is then a function of weights and batch, whatever came before it. The authors' code keeps what the weights of
    /// the step before made of it.
    ///
    /// # Errors
    /// When the batch doesn't fit the model.
    pub fn loss(&self, model: &Model<LanguageModelHead, Xlnet>, scale: f32, pass: &Pass) -> Result<Tensor<1>> {
        self.read(model, |input, rows| Ok(model.loss(input, rows, &self.targets, scale, pass)?))
    }

    /// The sum of cross-entropies, and how many targets are the likeliest token.
    ///
    /// # Errors
    /// When the batch doesn't fit the model.
    pub fn answers(&self, model: &Model<LanguageModelHead, Xlnet>) -> Result<(f64, u64)> {
        self.read(model, |input, rows| {
            let hidden = model.body.forward(input, &Rows::Chosen(rows.clone()), &Pass::eval())?;
            Ok(foretold(model, hidden, &self.targets))
        })
    }

    /// Gives `then` what the model reads, with its memory, and the rows that are predicted. The memory is computed here, from
    /// the tokens before the segments; why so, and what it costs, says `pretrain/permutation.rs`.
    fn read<R>(
        &self,
        model: &Model<LanguageModelHead, Xlnet>,
        then: impl FnOnce(&ptm_models::Permuted<'_>, &Indices) -> Result<R>,
    ) -> Result<R> {
        let memory = match self.memories.iter().flatten().next() {
            None => None,
            Some(_) => {
                let read: Arc<[bool]> = self
                    .memories
                    .iter()
                    .zip(&*self.backwards)
                    .filter(|pair| pair.0.is_some())
                    .map(|pair| *pair.1)
                    .collect();
                let input = ptm_models::Permuted { backwards: Some(read), ..(&self.before).into() };
                let (_, memory) = model.body.forward_and_remember(&input, &Rows::Last, &Pass::eval())?;
                Some(memory.spread(&self.memories))
            }
        };
        let input = ptm_models::Permuted {
            visible: Visible::Pairs(self.visible.clone()),
            targets: Some(self.places.clone()),
            memory: memory.as_ref(),
            backwards: Some(self.backwards.clone()),
            batch: &self.segments,
        };
        let rows: Indices = (0..self.targets.len() as u32).collect();
        then(&input, &rows)
    }
}

/// The sum of cross-entropies of hidden states, and how many of their targets are the likeliest token.
fn foretold<B: Body>(model: &Model<LanguageModelHead, B>, hidden: Tensor<2>, targets: &Indices) -> (f64, u64)
where
    LanguageModelHead: Head<B>,
{
    let loss = model.head.loss(hidden.clone(), model.body.word(), targets, 1.0);
    let right = likeliest(&hidden, targets, |hidden| model.head.logits(hidden, model.body.word()));
    (f64::from(loss.into_scalar::<f32>()), right)
}

/// How many of the targets are those with the largest logit.
pub(crate) fn likeliest(hidden: &Tensor<2>, targets: &[u32], mut logits: impl FnMut(Tensor<2>) -> Tensor<2>) -> u64 {
    // logits over a vocabulary are large: a few rows at a time
    const AT_ONCE: usize = 256;
    let mut right = 0;
    for (some, targets) in (0..).step_by(AT_ONCE).zip(targets.chunks(AT_ONCE)) {
        let rows: Indices = (some..some + targets.len() as u32).collect();
        let logits = logits(ptm_ops::gather_rows(hidden.clone(), &rows));
        let width = logits.dims()[1].max(1);
        for (row, target) in ptm_ops::read_f32(logits).chunks_exact(width).zip(targets) {
            let own = row.get(*target as usize).copied().unwrap_or(f32::NEG_INFINITY);
            right += u64::from(row.iter().all(|other| *other <= own));
        }
    }
    right
}

/// How a model counts positions.
pub fn positions<H: Head<B>, B: Body>(model: &Model<H, B>) -> PositionStyle {
    model.config().positions()
}
