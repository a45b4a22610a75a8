//! The encoder-decoder of BART (Lewis et al. 2020), which mBART (Liu et al. 2020; norms first) and Marian
//! (Junczys-Dowmunt et al. 2018; sinusoidal positions, no norm of embeddings) share, and each of its stacks
//! alone.

use std::sync::Arc;

use burn::module::Param;
use burn::prelude::*;
use ptm_ops::{Activation, Mask, dropout};
use ptm_text::Packed;

use crate::body::{Body, LanguageModelStyle, Pair, check_packed};
use crate::cache::{Beside, Cache, Stepwise, Towards};
use crate::config::{BartConfig, Family, StackSize};
use crate::error::Result;
use crate::layers::{AttentionLayer, LayerNorm, Linear, Positions, look_up, parameter};
use crate::pass::Pass;
use crate::rows::{Rows, Source, View};

/// Encoder and decoder: a pair of token ids to the target's hidden states.
#[derive(Module, Debug)]
pub struct Bart {
    /// The word embedding of source and target, `[V, H]`.
    word: Option<Param<Tensor<2>>>,
    source_word: Option<Param<Tensor<2>>>,
    target_word: Option<Param<Tensor<2>>>,
    encoder: BartStack,
    decoder: BartStack,
    #[module(skip)]
    config: Arc<BartConfig>,
}

/// The encoder alone.
#[derive(Module, Debug)]
pub struct BartEncoder {
    /// The word embedding, `[V, H]`, under the name that it has where source and target share it, or don't.
    word: Option<Param<Tensor<2>>>,
    source_word: Option<Param<Tensor<2>>>,
    encoder: BartStack,
    #[module(skip)]
    config: Arc<BartConfig>,
}

/// The decoder without an encoder, as a causal language model; it keeps the weights that would look at a source.
#[derive(Module, Debug)]
pub struct BartDecoder {
    target_word: Param<Tensor<2>>,
    decoder: BartStack,
    #[module(skip)]
    config: Arc<BartConfig>,
}

/// Embedded positions and the layers over them.
#[derive(Module, Debug)]
struct BartStack {
    position: Positions,
    embedding_norm: Option<LayerNorm>,
    layers: Vec<BartLayer>,
    norm: Option<LayerNorm>,
    heads: usize,
    layer_drop: f32,
}

#[derive(Module, Debug)]
struct BartLayer {
    attention: AttentionLayer,
    attention_norm: LayerNorm,
    cross: Option<AttentionLayer>,
    cross_norm: Option<LayerNorm>,
    up: Linear,
    down: Linear,
    output_norm: LayerNorm,
}

impl BartLayer {
    fn new(config: &BartConfig, size: StackSize, crossed: bool, device: &Device) -> Self {
        let (hidden, inner) = (config.hidden_size, size.intermediate_size);
        let attention = || AttentionLayer::new(hidden, hidden, true, device);
        let norm = || LayerNorm::new(hidden, EPS, device);
        Self {
            attention: attention(),
            attention_norm: norm(),
            cross: crossed.then(attention),
            cross_norm: crossed.then(norm),
            up: Linear::new(hidden, inner, device),
            down: Linear::new(inner, hidden, device),
            output_norm: norm(),
        }
    }

    /// The rows of `x` that `view` asks for, of the layer `number` with so many `heads`.
    fn forward(
        &self,
        x: Tensor<2>,
        number: usize,
        heads: usize,
        view: &View,
        beside: &mut Beside<'_, '_>,
        config: &BartConfig,
        pass: &Pass,
    ) -> Tensor<2> {
        let first = config.norms_first();
        let drop = || pass.dropout(config.hidden_dropout);
        let scale = (heads as f32 / config.hidden_size as f32).sqrt();
        let spec = |view: &View| view.spec(heads, scale, pass.dropout(config.attention_dropout));
        let has_source = beside.has_source();
        let mut attend = |towards: Towards, through: &AttentionLayer, x: Tensor<2>| {
            beside.attend(number, towards, through, x, view, None, &spec)
        };
        let own = |x: Tensor<2>| attend(Towards::Itself, &self.attention, x);
        let mut x = self.attention_norm.around(x, first, drop(), own, |x| view.queries(x));
        if let (true, Some(cross), Some(norm)) = (has_source, &self.cross, &self.cross_norm) {
            x = norm.around(x, first, drop(), |x| attend(Towards::Source, cross, x), |x| x);
        }
        let feed = |x: Tensor<2>| {
            let x = dropout(self.up.forward(x, config.activation), pass.dropout(config.activation_dropout));
            self.down.forward(x, Activation::None)
        };
        self.output_norm.around(x, first, drop(), feed, |x| x)
    }
}

/// Added to variances in LayerNorm; no file says another.
const EPS: f32 = 1e-5;

impl BartStack {
    fn new(config: &BartConfig, size: StackSize, crossed: bool, device: &Device) -> Self {
        let hidden = config.hidden_size;
        let norm = || LayerNorm::new(hidden, EPS, device);
        let position = match config.family {
            Family::Marian => Positions::sinusoidal(hidden),
            _ => Positions::learned(config.max_positions + config.position_offset(), hidden, device),
        };
        Self {
            position,
            embedding_norm: (config.family != Family::Marian).then(norm),
            layers: (0..size.layers).map(|_| BartLayer::new(config, size, crossed, device)).collect(),
            norm: config.norms_first().then(norm),
            heads: size.heads,
            layer_drop: size.layer_drop,
        }
    }

    fn forward(
        &self,
        batch: &Packed,
        word: &Param<Tensor<2>>,
        mask: &Mask,
        mut beside: Beside<'_, '_>,
        rows: &Rows,
        config: &Arc<BartConfig>,
        pass: &Pass,
    ) -> Result<Tensor<2>> {
        let width = config.hidden_size as f32;
        let all = View::all(&batch.offsets, mask.clone());
        let wanted = View::of(rows, &batch.offsets, mask)?;
        let fits = wanted.reaches_ends() || !beside.is_step();
        let last = if fits { &wanted } else { &all };
        let scale = if config.scale_embedding { width.sqrt() } else { 1.0 };
        let words = look_up(word, &batch.ids, Some(config.pad_token_id), scale);
        let mut x = self.position.add(words, &batch.positions);
        if let Some(norm) = &self.embedding_norm {
            x = norm.forward(x);
        }
        x = dropout(x, pass.dropout(config.hidden_dropout));
        let layers = self.layers.iter().enumerate().filter(|_| !pass.leaves_out(self.layer_drop));
        let layers: Vec<_> = layers.collect();
        for (place, &(number, layer)) in layers.iter().enumerate() {
            let view = if place + 1 == layers.len() { last } else { &all }.clone();
            let (heads, config) = (self.heads, config.clone());
            x = beside.layer(layer, x, None, pass, move |layer, x, _, beside, pass| {
                layer.forward(x, number, heads, &view, beside, &config, pass)
            });
        }
        if layers.is_empty() || !fits {
            x = wanted.queries(x);
        }
        Ok(match &self.norm {
            Some(norm) => norm.forward(x),
            None => x,
        })
    }
}

/// An encoder's hidden states of `source` by the word embedding that was made.
fn encoded(
    stack: &BartStack,
    words: [&Option<Param<Tensor<2>>>; 2],
    source: &Packed,
    rows: &Rows,
    config: &Arc<BartConfig>,
    pass: &Pass,
) -> Result<Tensor<2>> {
    check_packed(source, config.vocab_size, config.max_positions + config.position_offset())?;
    stack.forward(source, made(words), &Mask::None, Beside::Nothing, rows, config, pass)
}

fn made(words: [&Option<Param<Tensor<2>>>; 2]) -> &Param<Tensor<2>> {
    words.into_iter().flatten().next().expect("one of them was made")
}

impl Bart {
    /// The encoder's hidden states of `source`, `[T, H]`, or `[R, H]` for R chosen rows.
    ///
    /// # Errors
    /// When the batch doesn't fit the model.
    pub fn encode(&self, source: &Packed, rows: &Rows, pass: &Pass) -> Result<Tensor<2>> {
        encoded(&self.encoder, [&self.word, &self.source_word], source, rows, &self.config, pass)
    }

    /// The decoder's hidden states of `target`, which looks at a source's hidden states `[Ts, H]`, whose sequences
    /// `offsets` delimit.
    ///
    /// # Errors
    /// When the batch doesn't fit the model or the source.
    pub fn decode(
        &self,
        target: &Packed,
        hidden: Tensor<2>,
        offsets: &[usize],
        rows: &Rows,
        pass: &Pass,
    ) -> Result<Tensor<2>> {
        let config = &self.config;
        check_packed(target, config.target_vocab_size, config.max_positions + config.position_offset())?;
        let source = Source::new(hidden, offsets, target)?;
        self.decoder.forward(target, self.word(), &Mask::Causal, Beside::Source(&source), rows, config, pass)
    }
}

impl Bart {
    /// Reads `source`: a cache for as many targets, of which nothing was said yet.
    ///
    /// # Errors
    /// When the batch doesn't fit the model.
    pub fn begin(&self, source: &Packed) -> Result<Cache> {
        let hidden = self.encode(source, &Rows::All, &Pass::eval())?;
        let crosses = self.decoder.layers.iter().map(|layer| {
            layer.cross.as_ref().expect("a decoder's layers look at the source").keys_and_values(hidden.clone())
        });
        Ok(Cache::with_source(crosses, self.config.hidden_size, &source.offsets))
    }
}

impl Stepwise for Bart {
    fn step(&self, batch: &Packed, cache: &mut Cache, rows: &Rows) -> Result<Tensor<2>> {
        let config = &self.config;
        check_packed(batch, config.target_vocab_size, config.max_positions + config.position_offset())?;
        rows.wanted(&batch.offsets)?;
        let step = Beside::Step(cache.step(batch)?);
        self.decoder.forward(batch, self.word(), &Mask::Causal, step, rows, config, &Pass::eval())
    }
}

impl BartDecoder {
    /// A cache for `sequences` sequences, of which nothing was read yet.
    pub fn begin(&self, sequences: usize) -> Cache {
        Cache::new(self.decoder.layers.len(), self.config.hidden_size, sequences)
    }
}

impl Stepwise for BartDecoder {
    fn step(&self, batch: &Packed, cache: &mut Cache, rows: &Rows) -> Result<Tensor<2>> {
        let config = &self.config;
        check_packed(batch, config.target_vocab_size, config.max_positions + config.position_offset())?;
        rows.wanted(&batch.offsets)?;
        let step = Beside::Step(cache.step(batch)?);
        self.decoder.forward(batch, &self.target_word, &Mask::Causal, step, rows, config, &Pass::eval())
    }
}

impl Body for Bart {
    type Config = BartConfig;
    type Input<'a> = Pair<'a>;

    fn new(config: Arc<BartConfig>, device: &Device) -> Self {
        let table = |rows| parameter([rows, config.hidden_size], device);
        Self {
            word: config.shared.then(|| table(config.vocab_size)),
            source_word: (!config.shared).then(|| table(config.vocab_size)),
            target_word: (!config.shared).then(|| table(config.target_vocab_size)),
            encoder: BartStack::new(&config, config.encoder, false, device),
            decoder: BartStack::new(&config, config.decoder, true, device),
            config,
        }
    }

    fn config(&self) -> &Arc<BartConfig> {
        &self.config
    }

    /// The target's.
    fn word(&self) -> &Param<Tensor<2>> {
        made([&self.word, &self.target_word])
    }

    fn forward(&self, pair: &Pair<'_>, rows: &Rows, pass: &Pass) -> Result<Tensor<2>> {
        let hidden = self.encode(pair.source, &Rows::All, pass)?;
        self.decode(pair.target, hidden, &pair.source.offsets, rows, pass)
    }

    /// The target's row at the source's last `</s>`: classifiers read a text and the same text moved right.
    fn summary(&self, pair: &Pair<'_>) -> Result<Rows> {
        pair.rows_of_ends(self.config.eos_token_id)
    }

    fn class(family: Family, head: &str) -> Option<&'static str> {
        match (family, head) {
            (_, "hidden-states") => Some("Model"),
            (Family::Marian, "language-model") => Some("MTModel"),
            (Family::Marian, _) => None,
            (_, "language-model") => Some("ForConditionalGeneration"),
            (_, "sequence-classification") => Some("ForSequenceClassification"),
            (_, "question-answering") => Some("ForQuestionAnswering"),
            _ => None,
        }
    }

    fn language_model(_: &BartConfig) -> LanguageModelStyle {
        LanguageModelStyle { fixed_bias: true, ..LanguageModelStyle::default() }
    }
}

impl Body for BartEncoder {
    type Config = BartConfig;
    type Input<'a> = Packed;

    fn new(config: Arc<BartConfig>, device: &Device) -> Self {
        let table = || parameter([config.vocab_size, config.hidden_size], device);
        Self {
            word: config.shared.then(table),
            source_word: (!config.shared).then(table),
            encoder: BartStack::new(&config, config.encoder, false, device),
            config,
        }
    }

    fn config(&self) -> &Arc<BartConfig> {
        &self.config
    }

    fn word(&self) -> &Param<Tensor<2>> {
        made([&self.word, &self.source_word])
    }

    fn forward(&self, batch: &Packed, rows: &Rows, pass: &Pass) -> Result<Tensor<2>> {
        encoded(&self.encoder, [&self.word, &self.source_word], batch, rows, &self.config, pass)
    }

    fn summary(&self, _: &Packed) -> Result<Rows> {
        Ok(Rows::First)
    }

    fn class(_: Family, head: &str) -> Option<&'static str> {
        (head == "hidden-states").then_some("Encoder")
    }

    fn stack() -> &'static str {
        "encoder."
    }
}

impl Body for BartDecoder {
    type Config = BartConfig;
    type Input<'a> = Packed;

    fn new(config: Arc<BartConfig>, device: &Device) -> Self {
        Self {
            target_word: parameter([config.target_vocab_size, config.hidden_size], device),
            decoder: BartStack::new(&config, config.decoder, true, device),
            config,
        }
    }

    fn config(&self) -> &Arc<BartConfig> {
        &self.config
    }

    fn word(&self) -> &Param<Tensor<2>> {
        &self.target_word
    }

    fn forward(&self, batch: &Packed, rows: &Rows, pass: &Pass) -> Result<Tensor<2>> {
        let config = &self.config;
        check_packed(batch, config.target_vocab_size, config.max_positions + config.position_offset())?;
        self.decoder.forward(batch, &self.target_word, &Mask::Causal, Beside::Nothing, rows, config, pass)
    }

    fn summary(&self, _: &Packed) -> Result<Rows> {
        Ok(Rows::Last)
    }

    fn class(_: Family, head: &str) -> Option<&'static str> {
        (head == "language-model").then_some("ForCausalLM")
    }
}
