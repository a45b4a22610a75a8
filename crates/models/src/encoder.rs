//! The post-norm encoder of BERT (Devlin et al. 2019, after Vaswani et al. 2017), which SpanBERT, RoBERTa,
//! DistilBERT, ELECTRA and ERNIE share: they differ in their embeddings and in the names of their weights.

use std::sync::Arc;

use burn::module::Param;
use burn::prelude::*;
use ptm_ops::{Activation, Attention, Indices, Mask, attention, dropout, embedding_sum};
use ptm_text::Packed;

use crate::body::{Body, Sequences, beyond, check_packed};
use crate::config::{EncoderConfig, Family};
use crate::error::{Error, Result};
use crate::layers::{LayerNorm, Linear, parameter};
use crate::pass::Pass;
use crate::rows::{Rows, View};

/// What an encoder reads.
#[derive(Clone, Debug)]
pub struct Input<'a> {
    /// Ids, positions and segments of the packed sequences.
    pub batch: &'a Packed,
    /// ERNIE's task id of every row, `[T]`; task 0 when absent.
    pub tasks: Option<Indices>,
    /// Who sees whom within a sequence; everyone by default.
    pub mask: Mask,
}

impl<'a> From<&'a Packed> for Input<'a> {
    fn from(batch: &'a Packed) -> Self {
        Self { batch, tasks: None, mask: Mask::None }
    }
}

impl Sequences for Input<'_> {
    fn offsets(&self) -> &[usize] {
        &self.batch.offsets
    }
}

/// Embeddings and layers: token ids to hidden states.
#[derive(Module, Debug)]
pub struct Encoder {
    /// Word embedding, `[V, E]`.
    pub word: Param<Tensor<2>>,
    position: Param<Tensor<2>>,
    segment: Option<Param<Tensor<2>>>,
    task: Option<Param<Tensor<2>>>,
    norm: LayerNorm,
    project: Option<Linear>,
    layers: Vec<EncoderLayer>,
    #[module(skip)]
    config: Arc<EncoderConfig>,
}

#[derive(Module, Debug)]
struct EncoderLayer {
    query: Linear,
    key: Linear,
    value: Linear,
    attention_output: Linear,
    attention_norm: LayerNorm,
    up: Linear,
    down: Linear,
    output_norm: LayerNorm,
}

impl EncoderLayer {
    fn new(config: &EncoderConfig, device: &Device) -> Self {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let square = || Linear::new(hidden, hidden, device);
        let norm = || LayerNorm::new(hidden, config.norm_eps, device);
        Self {
            query: square(),
            key: square(),
            value: square(),
            attention_output: square(),
            attention_norm: norm(),
            up: Linear::new(hidden, inner, device),
            down: Linear::new(inner, hidden, device),
            output_norm: norm(),
        }
    }

    /// `x` are the rows that others may look at, `queries` those that are computed: all of `x`, or some.
    fn forward(
        &self,
        x: Tensor<2>,
        queries: Tensor<2>,
        spec: &Attention,
        config: &EncoderConfig,
        pass: &Pass,
    ) -> Tensor<2> {
        let q = self.query.forward(queries.clone(), Activation::None);
        let k = self.key.forward(x.clone(), Activation::None);
        let v = self.value.forward(x, Activation::None);
        let context = attention(q, k, v, None, spec);
        let context = self.attention_output.forward(context, Activation::None);
        let x = self.attention_norm.add(context, queries, pass.dropout(config.attention_output_dropout()));
        let y = self.down.forward(self.up.forward(x.clone(), config.activation), Activation::None);
        self.output_norm.add(y, x, pass.dropout(config.hidden_dropout))
    }
}

impl Encoder {
    /// An encoder whose parameters are still to be read or initialised.
    pub fn new(config: Arc<EncoderConfig>, device: &Device) -> Self {
        let width = config.embedding_size;
        let table = |rows: usize| parameter([rows, width], device);
        let optional = |rows: usize| (rows > 0).then(|| table(rows));
        Self {
            word: table(config.vocab_size),
            position: table(config.max_positions),
            segment: optional(config.segments),
            task: optional(config.tasks),
            norm: LayerNorm::new(width, config.norm_eps, device),
            project: (width != config.hidden_size).then(|| Linear::new(width, config.hidden_size, device)),
            layers: (0..config.layers).map(|_| EncoderLayer::new(&config, device)).collect(),
            config,
        }
    }

    /// The configuration that it was built from.
    pub fn config(&self) -> &Arc<EncoderConfig> {
        &self.config
    }

    /// The device that its weights are on.
    pub fn device(&self) -> Device {
        self.word.val().device()
    }

    /// Says what of `batch` doesn't fit this model, before anything is computed.
    ///
    /// # Errors
    /// When the batch contradicts itself, or an id, a position or a segment is beyond its embedding.
    pub fn check(&self, batch: &Packed) -> Result<()> {
        check_packed(batch, self.config.vocab_size, self.config.max_positions)?;
        let limit = self.config.segments;
        if let Some(value) = beyond(&batch.segments, limit).filter(|_| limit > 0) {
            return Err(Error::Input(format!(
                "segment id {value} is beyond the model's {limit} segments (type_vocab_size): number them from 0"
            )));
        }
        Ok(())
    }

    /// As [`Self::check`], and what comes with the batch.
    fn check_input(&self, input: &Input<'_>) -> Result<()> {
        self.check(input.batch)?;
        let (count, sequences) = (input.batch.ids.len(), input.batch.offsets.len() - 1);
        if let (Some(tasks), true) = (&input.tasks, self.task.is_some()) {
            let limit = self.config.tasks;
            if tasks.len() != count || beyond(tasks, limit).is_some() {
                let given = tasks.len();
                let problem = format!("{given} task ids for {count} tokens: give one each, below {limit}");
                return Err(Error::Input(problem));
            }
        }
        let squares = || input.batch.offsets.windows(2).map(|w| (w[1] - w[0]) * (w[1] - w[0])).sum();
        let mask = match &input.mask {
            Mask::None | Mask::Causal => None,
            Mask::Prefix(lengths) => Some((lengths.len(), sequences)),
            Mask::Spans(spans) => Some((spans.len(), count)),
            Mask::Keys(keys) => Some((keys.len(), count)),
            Mask::Full(pairs) => Some((pairs.len(), squares())),
        };
        if let Some((given, wanted)) = mask.filter(|(given, wanted)| given != wanted) {
            return Err(Error::Input(format!("the attention mask has {given} entries, the batch asks for {wanted}")));
        }
        Ok(())
    }

    /// Hidden states of the last layer.
    ///
    /// # Shapes
    /// Packed `[T]` → `[T, H]`, or `[R, H]` for R chosen rows.
    ///
    /// # Errors
    /// When the batch, its tasks, its mask or the chosen rows don't fit the model or each other; see [`Self::check`].
    pub fn forward(&self, input: &Input<'_>, rows: &Rows, pass: &Pass) -> Result<Tensor<2>> {
        let batch = input.batch;
        self.check_input(input)?;
        let config = &*self.config;
        let all = View::all(&batch.offsets, input.mask.clone());
        let last = View::of(rows, &batch.offsets, &input.mask)?;
        let mut x = self.embed(input, pass);
        let scale = 1.0 / (config.head_size() as f32).sqrt();
        for (number, layer) in self.layers.iter().enumerate() {
            let view = if number + 1 == self.layers.len() { &last } else { &all }.clone();
            let config = self.config.clone();
            x = pass.layer(layer, [x], move |layer, [x], pass| {
                let spec = view.spec(config.heads, scale, pass.dropout(config.attention_dropout));
                layer.forward(view.keys(x.clone()), view.queries(x), &spec, &config, pass)
            });
        }
        Ok(if self.layers.is_empty() { last.queries(x) } else { x })
    }

    fn embed(&self, input: &Input<'_>, pass: &Pass) -> Tensor<2> {
        let batch = input.batch;
        let mut tables = vec![
            (self.word.val(), Indices::from(batch.ids.as_slice())),
            (self.position.val(), Indices::from(batch.positions.as_slice())),
        ];
        if let Some(segment) = &self.segment {
            tables.push((segment.val(), Indices::from(batch.segments.as_slice())));
        }
        if let Some(task) = &self.task {
            let ids = input.tasks.clone().unwrap_or_else(|| vec![0; batch.ids.len()].into());
            tables.push((task.val(), ids));
        }
        let x = dropout(self.norm.forward(embedding_sum(tables)), pass.dropout(self.config.hidden_dropout));
        match &self.project {
            Some(project) => project.forward(x, Activation::None),
            None => x,
        }
    }
}

/// An encoder without embeddings: what stands above those of another one.
#[derive(Module, Debug)]
pub struct Upper {
    project: Option<Linear>,
    layers: Vec<EncoderLayer>,
    #[module(skip)]
    config: Arc<EncoderConfig>,
}

impl Upper {
    /// Leaves the embeddings of `encoder` behind.
    pub fn of(encoder: Encoder) -> Self {
        let Encoder { project, layers, config, .. } = encoder;
        Self { project, layers, config }
    }

    /// The encoder that reads by the embeddings of `below`, their norm included; gradients reach those.
    ///
    /// # Errors
    /// When those embeddings are not what this one's configuration describes.
    pub fn over(&self, below: &Encoder) -> Result<Encoder> {
        let shape = |c: &EncoderConfig| [c.vocab_size, c.embedding_size, c.max_positions, c.segments, c.tasks];
        let (own, other) = (shape(&self.config), shape(&below.config));
        if own != other {
            let problem = format!(
                "encoders share embeddings only if vocab_size, embedding_size, max_position_embeddings, type_vocab_size \
                 and task_type_vocab_size are the same: {own:?} and {other:?}"
            );
            return Err(Error::Input(problem));
        }
        Ok(Encoder {
            word: below.word.clone(),
            position: below.position.clone(),
            segment: below.segment.clone(),
            task: below.task.clone(),
            norm: below.norm.clone(),
            project: self.project.clone(),
            layers: self.layers.clone(),
            config: self.config.clone(),
        })
    }
}

impl Body for Encoder {
    type Config = EncoderConfig;
    type Input<'a> = Input<'a>;

    fn new(config: Arc<EncoderConfig>, device: &Device) -> Self {
        Self::new(config, device)
    }

    fn config(&self) -> &Arc<EncoderConfig> {
        self.config()
    }

    fn word(&self) -> &Param<Tensor<2>> {
        &self.word
    }

    fn forward(&self, input: &Input<'_>, rows: &Rows, pass: &Pass) -> Result<Tensor<2>> {
        self.forward(input, rows, pass)
    }

    /// The first row, `[CLS]`.
    fn summary(&self, _: &Input<'_>) -> Result<Rows> {
        Ok(Rows::First)
    }

    fn class(_: Family, head: &str) -> Option<&'static str> {
        match head {
            "hidden-states" => Some("Model"),
            "sequence-classification" => Some("ForSequenceClassification"),
            "token-classification" => Some("ForTokenClassification"),
            "question-answering" => Some("ForQuestionAnswering"),
            _ => None,
        }
    }
}
