//! The decoder of GPT (Radford et al. 2018), with norms after each block, and of GPT-2 (Radford et al. 2019), with
//! norms before. A row sees its own sequence up to itself.

use std::sync::Arc;

use burn::module::Param;
use burn::prelude::*;
use ptm_ops::{Activation, Attention, Indices, Mask, dropout, dropout_add, embedding_sum, gather_rows};
use ptm_text::Packed;

use crate::body::{Body, check_packed};
use crate::config::{DecoderConfig, Family};
use crate::error::Result;
use crate::layers::{AttentionLayer, LayerNorm, Linear, parameter};
use crate::pass::Pass;
use crate::rows::{Queries, Rows};

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

    /// The rows of `x` that `queries` names, or all.
    fn forward(
        &self,
        x: Tensor<2>,
        queries: Option<&Queries>,
        spec: &Attention,
        config: &DecoderConfig,
        pass: &Pass,
    ) -> Tensor<2> {
        let first = config.family == Family::Gpt;
        let normed = if first { x.clone() } else { self.attention_norm.forward(x.clone()) };
        let chosen = |x: Tensor<2>| queries.map_or_else(|| x.clone(), |queries| gather_rows(x.clone(), &queries.rows));
        let keys = match queries.and_then(|queries| queries.keys.as_ref()) {
            Some((rows, _)) => gather_rows(normed.clone(), rows),
            None => normed.clone(),
        };
        let context = self.attention.forward(chosen(normed), keys, None, spec);
        let feed = |x: Tensor<2>| self.down.forward(self.up.forward(x, config.activation), Activation::None);
        let drop = || pass.dropout(config.hidden_dropout);
        if first {
            let x = self.attention_norm.add(context, chosen(x), drop());
            return self.output_norm.add(feed(x.clone()), x, drop());
        }
        let x = dropout_add(context, chosen(x), drop());
        dropout_add(feed(self.output_norm.forward(x.clone())), x, drop())
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
        let wanted = rows.wanted(&batch.offsets)?;
        let config = &*self.config;
        let tables = vec![
            (self.word.val(), Indices::from(batch.ids.as_slice())),
            (self.position.val(), Indices::from(batch.positions.as_slice())),
        ];
        let mut x = dropout(embedding_sum(tables), pass.dropout(config.embedding_dropout));
        let offsets: Arc<[usize]> = batch.offsets.as_slice().into();
        let chosen = wanted.map(|rows| Queries::new(rows, &batch.offsets, &Mask::Causal));
        for (number, layer) in self.layers.iter().enumerate() {
            let queries = chosen.as_ref().filter(|_| number + 1 == self.layers.len());
            let spec = Attention {
                heads: config.heads,
                scale: config.scale(number),
                q_offsets: queries.map_or(&offsets, |queries| &queries.offsets).clone(),
                k_offsets: queries.and_then(|q| q.keys.as_ref()).map_or(&offsets, |(_, offsets)| offsets).clone(),
                mask: queries.map_or(Mask::Causal, |queries| queries.mask.clone()),
                dropout: pass.dropout(config.attention_dropout),
            };
            x = layer.forward(x, queries, &spec, config, pass);
        }
        if let (Some(chosen), true) = (&chosen, self.layers.is_empty()) {
            x = gather_rows(x, &chosen.rows);
        }
        Ok(match &self.norm {
            Some(norm) => norm.forward(x),
            None => x,
        })
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
}
