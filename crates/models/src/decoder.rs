//! The decoder of GPT (Radford et al. 2018), with norms after each block, and of GPT-2 (Radford et al. 2019), with
//! norms before. A row sees its own sequence up to itself.

use std::sync::Arc;

use burn::module::Param;
use burn::prelude::*;
use ptm_ops::{Activation, Indices, Mask, dropout, embedding_sum};
use ptm_text::Packed;

use crate::body::{Body, check_packed};
use crate::cache::{Beside, Cache, Stepwise, Towards};
use crate::config::{DecoderConfig, Family};
use crate::error::Result;
use crate::layers::{AttentionLayer, LayerNorm, Linear, parameter};
use crate::pass::Pass;
use crate::rows::{Rows, View};

/// Embeddings and layers: token ids to hidden states.
#[derive(Module, Debug)]
pub struct Decoder {
    /// Word embedding, `[V, H]`.
    pub word: Param<Tensor<2>>,
    position: Param<Tensor<2>>,
    layers: Vec<DecoderLayer>,
    norm: Option<LayerNorm>,
    #[module(skip)]
    config: Arc<DecoderConfig>,
}

#[derive(Module, Debug)]
struct DecoderLayer {
    attention: AttentionLayer,
    attention_norm: LayerNorm,
    up: Linear,
    down: Linear,
    output_norm: LayerNorm,
}

impl DecoderLayer {
    fn new(config: &DecoderConfig, device: &Device) -> Self {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let norm = || LayerNorm::new(hidden, config.norm_eps, device);
        Self {
            attention: AttentionLayer::new(hidden, hidden, true, device),
            attention_norm: norm(),
            up: Linear::new(hidden, inner, device),
            down: Linear::new(inner, hidden, device),
            output_norm: norm(),
        }
    }

    /// The rows of `x` that `view` asks for, of the layer `number`.
    fn forward(
        &self,
        x: Tensor<2>,
        number: usize,
        view: &View,
        beside: &mut Beside<'_, '_>,
        config: &DecoderConfig,
        pass: &Pass,
    ) -> Tensor<2> {
        let first = config.family == Family::Gpt2;
        let spec = |view: &View| view.spec(config.heads, config.scale(number), pass.dropout(config.attention_dropout));
        let attend = |x: Tensor<2>| beside.attend(number, Towards::Itself, &self.attention, x, view, None, &spec);
        let feed = |x: Tensor<2>| self.down.forward(self.up.forward(x, config.activation), Activation::None);
        let drop = || pass.dropout(config.hidden_dropout);
        let x = self.attention_norm.around(x, first, drop(), attend, |x| view.queries(x));
        self.output_norm.around(x, first, drop(), feed, |x| x)
    }
}

impl Decoder {
    /// The device that its weights are on.
    pub fn device(&self) -> Device {
        self.word.val().device()
    }

    /// Says what of `batch` doesn't fit this model, before anything is computed. Segments are not read.
    ///
    /// # Errors
    /// When the batch contradicts itself, or an id or a position is beyond its embedding.
    pub fn check(&self, batch: &Packed) -> Result<()> {
        check_packed(batch, self.config.vocab_size, self.config.max_positions)
    }

    /// A cache for `sequences` sequences, of which nothing was read yet.
    pub fn begin(&self, sequences: usize) -> Cache {
        Cache::new(self.layers.len(), self.config.hidden_size, sequences)
    }

    fn hidden(&self, batch: &Packed, rows: &Rows, mut beside: Beside<'_, '_>, pass: &Pass) -> Result<Tensor<2>> {
        let config = &*self.config;
        let all = View::all(&batch.offsets, Mask::Causal);
        let wanted = View::of(rows, &batch.offsets, &Mask::Causal)?;
        let fits = wanted.reaches_ends() || !beside.is_step();
        let last = if fits { &wanted } else { &all };
        let tables = vec![
            (self.word.val(), Indices::from(batch.ids.as_slice())),
            (self.position.val(), Indices::from(batch.positions.as_slice())),
        ];
        let mut x = dropout(embedding_sum(tables), pass.dropout(config.embedding_dropout));
        for (number, layer) in self.layers.iter().enumerate() {
            let view = if number + 1 == self.layers.len() { last } else { &all };
            let (view, config) = (view.clone(), self.config.clone());
            x = beside.layer(layer, x, None, pass, move |layer, x, _, beside, pass| {
                layer.forward(x, number, &view, beside, &config, pass)
            });
        }
        if self.layers.is_empty() || !fits {
            x = wanted.queries(x);
        }
        Ok(match &self.norm {
            Some(norm) => norm.forward(x),
            None => x,
        })
    }
}

impl Stepwise for Decoder {
    fn step(&self, batch: &Packed, cache: &mut Cache, rows: &Rows) -> Result<Tensor<2>> {
        self.check(batch)?;
        rows.wanted(&batch.offsets)?;
        self.hidden(batch, rows, Beside::Step(cache.step(batch)?), &Pass::eval())
    }
}

impl Body for Decoder {
    type Config = DecoderConfig;
    type Input<'a> = Packed;

    fn new(config: Arc<DecoderConfig>, device: &Device) -> Self {
        let hidden = config.hidden_size;
        Self {
            word: parameter([config.vocab_size, hidden], device),
            position: parameter([config.max_positions, hidden], device),
            layers: (0..config.layers).map(|_| DecoderLayer::new(&config, device)).collect(),
            norm: (config.family == Family::Gpt2).then(|| LayerNorm::new(hidden, config.norm_eps, device)),
            config,
        }
    }

    fn config(&self) -> &Arc<DecoderConfig> {
        &self.config
    }

    fn word(&self) -> &Param<Tensor<2>> {
        &self.word
    }

    fn forward(&self, batch: &Packed, rows: &Rows, pass: &Pass) -> Result<Tensor<2>> {
        self.check(batch)?;
        self.hidden(batch, rows, Beside::Nothing, pass)
    }

    /// The last row that is not of the padding token, where the configuration names one.
    fn summary(&self, batch: &Packed) -> Result<Rows> {
        let Some(padding) = self.config.pad_token_id else { return Ok(Rows::Last) };
        let rows = batch.offsets.windows(2).map(|w| {
            let last = batch.ids[w[0]..w[1]].iter().rposition(|&id| id != padding);
            (w[0] + last.unwrap_or(0)) as u32
        });
        Ok(Rows::Chosen(rows.collect()))
    }

    fn class(family: Family, head: &str) -> Option<&'static str> {
        match head {
            "hidden-states" => Some("Model"),
            "language-model" => Some("LMHeadModel"),
            "sequence-classification" => Some("ForSequenceClassification"),
            "token-classification" if family == Family::Gpt2 => Some("ForTokenClassification"),
            "question-answering" if family == Family::Gpt2 => Some("ForQuestionAnswering"),
            _ => None,
        }
    }
}
