//! The encoder-decoder of T5 (Raffel et al. 2020), its later versions (gated feed-forward, separate output), ByT5 and
//! mT5, and its encoder alone. Norms without mean come first, no layer but the classifiers has a bias.
//!
//! T5 was trained in bfloat16, and its feed-forward products leave the range of f16 (65504). Files in half precision are
//! read as f32 and everything is computed in f32, so such products stay finite and nothing is clamped.

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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use half::f16;
    use ptm_ops::read_f32;
    use ptm_text::PositionStyle;
    use safetensors::tensor::TensorView;
    use safetensors::{Dtype, serialize};

    use super::*;
    use crate::Model;
    use crate::files::{Weights, write_safetensors};
    use crate::heads::LanguageModelHead;

    /// The dump `case` with larger feed-forward layers, in f16 and in f32: the same numbers.
    fn large(case: &Path, [half, single]: [&Path; 2]) {
        let weights = Weights::open(case).unwrap();
        let tensors: Vec<(String, Vec<usize>, Vec<f16>)> = weights
            .names()
            .map(|name| {
                let view = weights.get(name).unwrap();
                let factor = match name {
                    _ if name.contains("DenseReluDense.wi") => 4096.0,
                    _ if name.contains("DenseReluDense.wo") => 128.0,
                    _ => 1.0,
                };
                let bytes = view.bytes();
                let values = bytes.as_chunks().0.iter().map(|b| f16::from_f32(factor * f32::from_le_bytes(*b)));
                (name.to_owned(), view.shape.clone(), values.collect())
            })
            .collect();
        let bytes: Vec<Vec<u8>> =
            tensors.iter().map(|(.., values)| values.iter().flat_map(|x| x.to_le_bytes()).collect()).collect();
        let views = tensors.iter().zip(&bytes).map(|((name, shape, _), bytes)| {
            (name.as_str(), TensorView::new(Dtype::F16, shape.clone(), bytes).unwrap())
        });
        std::fs::write(half.join("model.safetensors"), serialize(views, None).unwrap()).unwrap();
        let tensors = tensors.into_iter().map(|(name, shape, values)| {
            assert!(values.iter().all(|x| x.is_finite()), "{name}");
            (name, shape, values.into_iter().map(f16::to_f32).collect::<Vec<f32>>())
        });
        write_safetensors(&single.join("model.safetensors"), tensors).unwrap();
        for dir in [half, single] {
            std::fs::copy(case.join("config.json"), dir.join("config.json")).unwrap();
        }
    }

    #[test]
    fn products_beyond_the_range_of_f16_stay_finite() {
        for case in ["t5-lm", "t5v11-lm"] {
            let dumps = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../parity/dumps");
            let dirs = [0; 2].map(|_| tempfile::tempdir().unwrap());
            large(&dumps.join(case), [dirs[0].path(), dirs[1].path()]);
            let source = Packed::from_ids(&[&[5, 6, 7, 1][..], &[8, 1]], PositionStyle::Zero).unwrap();
            let target = Packed::from_ids(&[&[0, 9, 10][..], &[0]], PositionStyle::Zero).unwrap();
            let [half, single] = dirs.each_ref().map(|dir| {
                let model = Model::<LanguageModelHead, T5>::open(dir.path(), &Device::flex()).unwrap().model;
                // what the first layer's feed-forward gives for what it may be given
                let layer = &model.body.encoder.layers[0];
                let words = look_up(&model.body.word, &source.ids, None, 1.0);
                let fed = layer.feed(layer.output_norm.forward(words), model.config().activation, Dropout::OFF);
                let largest = fed.abs().max().into_scalar::<f32>();
                assert!(largest.is_finite() && largest > 65504.0, "{case}: {largest}");
                let pair = Pair { source: &source, target: &target };
                read_f32(model.logits(&pair, &Rows::All, &Pass::eval()).unwrap())
            });
            assert!(half.iter().all(|x| x.is_finite()), "{case}");
            assert_eq!(half, single, "{case}");
            let (low, high) = half.iter().fold((f32::MAX, f32::MIN), |(low, high), &x| (low.min(x), high.max(x)));
            assert!(high - low > 0.1, "{case}: the logits tell tokens apart, {low} to {high}");
        }
    }
}
