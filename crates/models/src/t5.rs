//! The encoder-decoder of T5 (Raffel et al. 2020), its later versions (gated feed-forward, separate output), ByT5 and
//! mT5, and its encoder alone. Norms without mean come first, no layer but the classifiers has a bias.

use std::sync::Arc;

use burn::module::Param;
use burn::prelude::*;
use ptm_ops::{Activation, Bias, Dropout, Mask, dropout, gated};
use ptm_text::Packed;

use crate::body::{Body, LanguageModelStyle, Pair, check_packed};
use crate::cache::{Beside, Cache, Stepwise, Towards};
use crate::config::{Family, T5Config};
use crate::error::Result;
use crate::layers::{AttentionLayer, Linear, RelativeBias, RmsNorm, look_up, parameter};
use crate::pass::Pass;
use crate::rows::{Rows, Source, View};

/// Encoder and decoder: a pair of token ids to the target's hidden states. Positions and segments are not read.
#[derive(Module, Debug)]
pub struct T5 {
    /// The word embedding of source and target, `[V, H]`.
    word: Param<Tensor<2>>,
    encoder: T5Stack,
    decoder: T5Stack,
    #[module(skip)]
    config: Arc<T5Config>,
}

/// The encoder alone.
#[derive(Module, Debug)]
pub struct T5Encoder {
    word: Param<Tensor<2>>,
    encoder: T5Stack,
    #[module(skip)]
    config: Arc<T5Config>,
}

#[derive(Module, Debug)]
struct T5Stack {
    bias: RelativeBias,
    layers: Vec<T5Layer>,
    norm: RmsNorm,
}

#[derive(Module, Debug)]
struct T5Layer {
    attention: AttentionLayer,
    attention_norm: RmsNorm,
    cross: Option<AttentionLayer>,
    cross_norm: Option<RmsNorm>,
    plain: Option<Linear>,
    gated: Option<Gated>,
    down: Linear,
    output_norm: RmsNorm,
}

/// The two products of a gated feed-forward layer (Shazeer 2020).
#[derive(Module, Debug)]
struct Gated {
    gate: Linear,
    up: Linear,
}

impl T5Layer {
    fn new(config: &T5Config, crossed: bool, device: &Device) -> Self {
        let (hidden, wide) = (config.hidden_size, config.intermediate_size);
        let attention = || AttentionLayer::new(hidden, config.inner_size(), false, device);
        let norm = || RmsNorm::new(hidden, config.norm_eps, device);
        let up = || Linear::with_bias(hidden, wide, false, device);
        Self {
            attention: attention(),
            attention_norm: norm(),
            cross: crossed.then(attention),
            cross_norm: crossed.then(norm),
            plain: (!config.gated).then(up),
            gated: config.gated.then(|| Gated { gate: up(), up: up() }),
            down: Linear::with_bias(wide, hidden, false, device),
            output_norm: norm(),
        }
    }

    /// The rows of `x` that `view` asks for, of the layer `number`; `bias` is that of distances.
    fn forward(
        &self,
        x: Tensor<2>,
        number: usize,
        bias: &Bias,
        view: &View,
        beside: &mut Beside<'_, '_>,
        config: &T5Config,
        pass: &Pass,
    ) -> Tensor<2> {
        let drop = || pass.dropout(config.dropout);
        let spec = |view: &View| view.spec(config.heads, 1.0, drop());
        let mut attend = |towards: Towards, through: &AttentionLayer, x: Tensor<2>| {
            beside.attend(number, towards, through, x, view, Some(bias.clone()), &spec)
        };
        let own = |x: Tensor<2>| attend(Towards::Itself, &self.attention, x);
        let mut x = self.attention_norm.around(x, drop(), own, |x| view.queries(x));
        if let (Some(cross), Some(norm)) = (&self.cross, &self.cross_norm) {
            x = norm.around(x, drop(), |x| attend(Towards::Source, cross, x), |x| x);
        }
        self.output_norm.around(x, drop(), |x| self.feed(x, config.activation, drop()), |x| x)
    }

    fn feed(&self, x: Tensor<2>, activation: Activation, drop: Dropout) -> Tensor<2> {
        let x = match (&self.gated, &self.plain) {
            (Some(two), _) => {
                let gate = two.gate.forward(x.clone(), Activation::None);
                gated(gate, two.up.forward(x, Activation::None), activation)
            }
            (None, Some(plain)) => plain.forward(x, activation),
            (None, None) => x,
        };
        self.down.forward(dropout(x, drop), Activation::None)
    }
}

impl T5Stack {
    fn new(config: &T5Config, decodes: bool, device: &Device) -> Self {
        let layers = if decodes { config.decoder_layers } else { config.encoder_layers };
        Self {
            bias: RelativeBias::new(config.buckets, config.heads, !decodes, config.max_distance, device),
            layers: (0..layers).map(|_| T5Layer::new(config, decodes, device)).collect(),
            norm: RmsNorm::new(config.hidden_size, config.norm_eps, device),
        }
    }

    fn forward(
        &self,
        batch: &Packed,
        word: &Param<Tensor<2>>,
        mut beside: Beside<'_, '_>,
        rows: &Rows,
        config: &Arc<T5Config>,
        pass: &Pass,
    ) -> Result<Tensor<2>> {
        let mask = if beside.has_source() { Mask::Causal } else { Mask::None };
        let drop = || pass.dropout(config.dropout);
        let all = View::all(&batch.offsets, mask.clone());
        let wanted = View::of(rows, &batch.offsets, &mask)?;
        // distances are counted from the last query: where rows are left out of the middle, all are computed
        let fits = if beside.is_step() { wanted.reaches_ends() } else { wanted.is_aligned() };
        let last = if fits { &wanted } else { &all };
        let longest = batch.offsets.windows(2).map(|w| w[1] - w[0]).max().unwrap_or(0);
        let (values, zero) = self.bias.values(beside.longest().unwrap_or(longest));
        let mut x = dropout(look_up(word, &batch.ids, None, 1.0), drop());
        for (number, layer) in self.layers.iter().enumerate() {
            let view = if number + 1 == self.layers.len() { last } else { &all }.clone();
            let config = config.clone();
            x = beside.layer(layer, x, Some(values.clone()), pass, move |layer, x, values, beside, pass| {
                let values = values.expect("a stack gives its bias to every layer");
                let bias = Bias::Relative { values, zero };
                layer.forward(x, number, &bias, &view, beside, &config, pass)
            });
        }
        if self.layers.is_empty() || !fits {
            x = wanted.queries(x);
        }
        Ok(dropout(self.norm.forward(x), drop()))
    }
}

impl T5 {
    /// The encoder's hidden states of `source`, `[T, H]`, or `[R, H]` for R chosen rows.
    ///
    /// # Errors
    /// When the batch doesn't fit the model.
    pub fn encode(&self, source: &Packed, rows: &Rows, pass: &Pass) -> Result<Tensor<2>> {
        check_packed(source, self.config.vocab_size, usize::MAX)?;
        self.encoder.forward(source, &self.word, Beside::Nothing, rows, &self.config, pass)
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
        check_packed(target, self.config.vocab_size, usize::MAX)?;
        let source = Source::new(hidden, offsets, target)?;
        self.decoder.forward(target, &self.word, Beside::Source(&source), rows, &self.config, pass)
    }

    /// Reads `source`: a cache for as many targets, of which nothing was said yet.
    ///
    /// # Errors
    /// When the batch doesn't fit the model.
    pub fn begin(&self, source: &Packed) -> Result<Cache> {
        let hidden = self.encode(source, &Rows::All, &Pass::eval())?;
        let crosses = self.decoder.layers.iter().map(|layer| {
            layer.cross.as_ref().expect("a decoder's layers look at the source").keys_and_values(hidden.clone())
        });
        Ok(Cache::with_source(crosses, self.config.inner_size(), &source.offsets))
    }
}

impl Stepwise for T5 {
    fn step(&self, batch: &Packed, cache: &mut Cache, rows: &Rows) -> Result<Tensor<2>> {
        check_packed(batch, self.config.vocab_size, usize::MAX)?;
        rows.wanted(&batch.offsets)?;
        let step = Beside::Step(cache.step(batch)?);
        self.decoder.forward(batch, &self.word, step, rows, &self.config, &Pass::eval())
    }
}

impl Body for T5 {
    type Config = T5Config;
    type Input<'a> = Pair<'a>;

    fn new(config: Arc<T5Config>, device: &Device) -> Self {
        Self {
            word: parameter([config.vocab_size, config.hidden_size], device),
            encoder: T5Stack::new(&config, false, device),
            decoder: T5Stack::new(&config, true, device),
            config,
        }
    }

    fn config(&self) -> &Arc<T5Config> {
        &self.config
    }

    fn word(&self) -> &Param<Tensor<2>> {
        &self.word
    }

    fn forward(&self, pair: &Pair<'_>, rows: &Rows, pass: &Pass) -> Result<Tensor<2>> {
        let hidden = self.encode(pair.source, &Rows::All, pass)?;
        self.decode(pair.target, hidden, &pair.source.offsets, rows, pass)
    }

    /// The target's row at the source's last `</s>`: classifiers read a text and the same text moved right.
    fn summary(&self, pair: &Pair<'_>) -> Result<Rows> {
        pair.rows_of_ends(self.config.eos_token_id)
    }

    fn class(_: Family, head: &str) -> Option<&'static str> {
        match head {
            "hidden-states" => Some("Model"),
            "language-model" => Some("ForConditionalGeneration"),
            "sequence-classification" => Some("ForSequenceClassification"),
            "question-answering" => Some("ForQuestionAnswering"),
            _ => None,
        }
    }

    fn prefixed(head: &str) -> bool {
        head == "sequence-classification"
    }

    /// Tied, the hidden states are scaled as the word embedding's width asks.
    fn language_model(config: &T5Config) -> LanguageModelStyle {
        let scale = if config.tied { (config.hidden_size as f32).powf(-0.5) } else { 1.0 };
        LanguageModelStyle { scale, ..LanguageModelStyle::default() }
    }
}

impl Body for T5Encoder {
    type Config = T5Config;
    type Input<'a> = Packed;

    fn new(config: Arc<T5Config>, device: &Device) -> Self {
        Self {
            word: parameter([config.vocab_size, config.hidden_size], device),
            encoder: T5Stack::new(&config, false, device),
            config,
        }
    }

    fn config(&self) -> &Arc<T5Config> {
        &self.config
    }

    fn word(&self) -> &Param<Tensor<2>> {
        &self.word
    }

    fn forward(&self, batch: &Packed, rows: &Rows, pass: &Pass) -> Result<Tensor<2>> {
        check_packed(batch, self.config.vocab_size, usize::MAX)?;
        self.encoder.forward(batch, &self.word, Beside::Nothing, rows, &self.config, pass)
    }

    fn summary(&self, _: &Packed) -> Result<Rows> {
        Ok(Rows::First)
    }

    fn class(_: Family, head: &str) -> Option<&'static str> {
        match head {
            "hidden-states" => Some("EncoderModel"),
            "token-classification" => Some("ForTokenClassification"),
            _ => None,
        }
    }
}
