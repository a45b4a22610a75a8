//! Masked language model with SpanBERT's span boundary objective (Joshi et al. 2020, §3.2): the tokens of a span are also
//! foretold from the hidden states outside it. `transformers` opens what is written as a masked language model.

use burn::module::Param;
use burn::prelude::*;
use ptm_ops::{Activation, ChosenRows, Indices, cross_entropy};

use super::{Head, MaskedLmHead};
use crate::body::Body;
use crate::config::{EncoderConfig, Family};
use crate::encoder::Input;
use crate::error::{Error, Result};
use crate::layers::{LayerNorm, Linear, parameter};
use crate::model::Model;
use crate::pass::Pass;
use crate::rows::Rows;

/// Places within a span that have an embedding, as in the authors' code.
pub const PLACES: usize = 20;
/// The width of those embeddings, as there.
const WIDTH: usize = 200;

/// Tokens of spans, and what they are foretold from.
#[derive(Clone, Debug)]
pub struct Bounded {
    /// The packed rows before and behind the span of each, `[R]`.
    pub outside: [Indices; 2],
    /// How many tokens of its span are before each, below [`PLACES`], `[R]`.
    pub within: Indices,
    /// The tokens, `[R]`.
    pub targets: Indices,
}

/// Two dense layers, each with GELU and norm, over both boundaries and the embedding of a place in the span; then the word
/// embedding with a bias of its own.
#[derive(Module, Debug)]
pub struct SpanBoundary {
    place: Param<Tensor<2>>,
    first: Linear,
    first_norm: LayerNorm,
    second: Linear,
    second_norm: LayerNorm,
    bias: Param<Tensor<1>>,
}

impl SpanBoundary {
    fn new(config: &EncoderConfig, device: &Device) -> Self {
        let (hidden, width) = (config.hidden_size, config.embedding_size);
        Self {
            place: parameter([PLACES, WIDTH], device),
            first: Linear::new(2 * hidden + WIDTH, hidden, device),
            first_norm: LayerNorm::new(hidden, config.norm_eps, device),
            second: Linear::new(hidden, width, device),
            second_norm: LayerNorm::new(width, config.norm_eps, device),
            bias: parameter([config.vocab_size], device),
        }
    }

    /// What the word embedding reads.
    fn features(&self, [before, behind]: [Tensor<2>; 2], within: &Indices) -> Tensor<2> {
        let place = ptm_ops::gather_rows(self.place.val(), within);
        let all = Tensor::cat(vec![before, behind, place], 1);
        let first = self.first_norm.forward(self.first.forward(all, Activation::Gelu));
        self.second_norm.forward(self.second.forward(first, Activation::Gelu))
    }

    /// Logits over the vocabulary.
    ///
    /// # Shapes
    /// `outside` `[R, H]` each, `within` `[R]`, `word` `[V, E]` → `[R, V]`.
    pub fn logits(&self, outside: [Tensor<2>; 2], within: &Indices, word: &Param<Tensor<2>>) -> Tensor<2> {
        ptm_ops::linear(self.features(outside, within), word.val(), Some(self.bias.val()), Activation::None)
    }

    /// `scale · Σ cross-entropy` of the rows' targets; no logits are kept.
    ///
    /// # Shapes
    /// `outside` `[R, H]` each, `within` and `targets` `[R]` → `[1]`.
    pub fn loss(
        &self,
        outside: [Tensor<2>; 2],
        within: &Indices,
        word: &Param<Tensor<2>>,
        targets: &Indices,
        scale: f32,
    ) -> Tensor<1> {
        let rows: Indices = (0..targets.len() as u32).collect();
        let chosen = ChosenRows { rows, targets: targets.clone(), label_smoothing: 0.0, scale };
        cross_entropy(self.features(outside, within), word.val(), Some(self.bias.val()), &chosen)
    }
}

/// Both heads.
#[derive(Module, Debug)]
pub struct SpanBoundaryHead {
    /// Over the hidden rows.
    pub masked_lm: MaskedLmHead,
    /// Over the rows outside of spans. Its tensors stand with the model's under `cls.span_boundary`, where other readers of
    /// the file pass over them.
    pub boundary: SpanBoundary,
}

impl Head for SpanBoundaryHead {
    const NAME: &'static str = "span-boundary";

    fn new(config: &EncoderConfig, device: &Device) -> Self {
        Self { masked_lm: Head::new(config, device), boundary: SpanBoundary::new(config, device) }
    }

    fn class(family: Family) -> Option<&'static str> {
        (family == Family::Bert).then_some("ForMaskedLM")
    }
}

impl Model<SpanBoundaryHead> {
    /// Hidden states of `rows`, which ascend, and of the rows outside of spans.
    ///
    /// # Shapes
    /// `[R, H]`, and for each bounded token `[H]` twice.
    ///
    /// # Errors
    /// When the batch doesn't fit the model, or a place in a span has no embedding.
    pub fn states(
        &self,
        input: &Input<'_>,
        rows: &Indices,
        bounded: &Bounded,
        pass: &Pass,
    ) -> Result<(Tensor<2>, [Tensor<2>; 2])> {
        let count = bounded.within.len();
        if bounded.outside.iter().any(|rows| rows.len() != count) {
            return Err(Error::Input("tokens of spans need a row before and one behind each".into()));
        }
        if let Some(place) = bounded.within.iter().find(|&&place| place as usize >= PLACES) {
            let problem = format!("the token after {place} others of a span is not foretold from its boundary");
            return Err(Error::Input(format!("{problem}: leave out those after the first {PLACES}")));
        }
        // one body serves both heads, so the last layer computes the rows of either
        let mut all: Vec<u32> = rows.iter().chain(&*bounded.outside[0]).chain(&*bounded.outside[1]).copied().collect();
        all.sort_unstable();
        all.dedup();
        let hidden = self.body.forward(input, &Rows::Chosen(all.as_slice().into()), pass)?;
        let at = |rows: &Indices| {
            let places = rows.iter().map(|row| all.binary_search(row).expect("every wanted row is there") as u32);
            ptm_ops::gather_rows(hidden.clone(), &places.collect())
        };
        Ok((at(rows), [at(&bounded.outside[0]), at(&bounded.outside[1])]))
    }

    /// Both heads' losses, each a scale times the sum over its targets: hidden rows, and tokens of spans.
    ///
    /// # Errors
    /// When the batch doesn't fit the model.
    pub fn losses(
        &self,
        input: &Input<'_>,
        rows: &Indices,
        targets: &Indices,
        bounded: &Bounded,
        scales: [f32; 2],
        pass: &Pass,
    ) -> Result<[Tensor<1>; 2]> {
        Self::check_targets(targets, rows.len(), self.config().vocab_size)?;
        Self::check_targets(&bounded.targets, bounded.within.len(), self.config().vocab_size)?;
        let (hidden, outside) = self.states(input, rows, bounded, pass)?;
        let word = self.body.word();
        let masked = self.head.masked_lm.loss(hidden, word, targets, scales[0]);
        Ok([masked, self.head.boundary.loss(outside, &bounded.within, word, &bounded.targets, scales[1])])
    }
}
