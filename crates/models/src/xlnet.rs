//! XLNet (Yang et al. 2019): Transformer-XL's attention (Dai et al. 2019) under any order of the tokens. Where tokens
//! are predicted, a second stream knows their places but not what they are.

use std::sync::Arc;

use burn::module::Param;
use burn::prelude::*;
use burn::tensor::TensorData;
use ptm_ops::{
    Activation, Dropout, Indices, Mask, RelativeAttention, RelativeTensors, dropout, gather_rows, linear,
    relative_attention,
};
use ptm_text::Packed;

use crate::body::{Body, LanguageModelStyle, Sequences, beyond, check_packed};
use crate::config::{Family, Summary, XlnetConfig};
use crate::error::{Error, Result};
use crate::layers::{LayerNorm, Linear, look_up, parameter};
use crate::pass::Pass;
use crate::rows::{Rows, offsets_of_rows};

/// Which tokens of its sequence a row sees; of what is remembered it sees all.
#[derive(Clone, Debug, Default)]
pub enum Visible {
    /// Every one.
    #[default]
    All,
    /// Every one but the last, of which the place alone is known: it comes next.
    AllButLast,
    /// The row-major `[n, n]` blocks of all sequences, one after the other; true is visible.
    Pairs(Arc<[bool]>),
}

/// What XLNet reads.
#[derive(Clone, Debug)]
pub struct Permuted<'a> {
    /// The tokens and their segments; positions are not read.
    pub batch: &'a Packed,
    /// Who sees whom in the order of prediction. A token that is read always sees itself.
    pub visible: Visible,
    /// The packed rows that are predicted, ascending; the hidden states are theirs then, not the tokens'.
    pub targets: Option<Indices>,
    /// What came before.
    pub memory: Option<&'a Memory>,
    /// Which sequences are texts read from their end, `[B]`: they count distances the other way. By default those that
    /// the configuration says.
    pub backwards: Option<Arc<[bool]>>,
}

impl<'a> From<&'a Packed> for Permuted<'a> {
    fn from(batch: &'a Packed) -> Self {
        Self { batch, visible: Visible::All, targets: None, memory: None, backwards: None }
    }
}

impl Sequences for Permuted<'_> {
    fn offsets(&self) -> &[usize] {
        &self.batch.offsets
    }
}

/// Hidden states of earlier segments, which take no gradient: as many sequences as the batch that goes on with them.
#[derive(Clone, Debug)]
pub struct Memory {
    /// What each layer read, `[Tm, H]`.
    layers: Vec<Tensor<2>>,
    offsets: Vec<usize>,
}

impl Memory {
    /// The hidden states that each layer read, `[Tm, H]`: those of all sequences, one after the other.
    pub fn layers(&self) -> &[Tensor<2>] {
        &self.layers
    }

    /// How many hidden states of each sequence it holds.
    pub fn lengths(&self) -> Vec<usize> {
        self.offsets.windows(2).map(|w| w[1] - w[0]).collect()
    }

    /// The memories of the sequences that `which` names, in that order, as when beams are chosen.
    ///
    /// # Panics
    /// When there is no such sequence.
    #[must_use]
    pub fn of(&self, which: &[usize]) -> Self {
        let which: Vec<Option<usize>> = which.iter().copied().map(Some).collect();
        self.spread(&which)
    }

    /// For each entry of `which` the memory of the sequence that it names, or an empty one.
    ///
    /// # Panics
    /// When there is no such sequence.
    #[must_use]
    pub fn spread(&self, which: &[Option<usize>]) -> Self {
        let rows = which.iter().flatten().flat_map(|&b| self.offsets[b]..self.offsets[b + 1]);
        let rows: Indices = rows.map(|row| row as u32).collect();
        let mut offsets = vec![0];
        offsets.extend(which.iter().scan(0, |end, b| {
            *end += b.map_or(0, |b| self.offsets[b + 1] - self.offsets[b]);
            Some(*end)
        }));
        Self { layers: self.layers.iter().map(|layer| gather_rows(layer.clone(), &rows)).collect(), offsets }
    }

    /// Adds the memories of `other`'s sequences after its own.
    ///
    /// # Panics
    /// When it is of another model.
    pub fn absorb(&mut self, other: Self) {
        assert_eq!(self.layers.len(), other.layers.len(), "layers");
        let held = self.offsets[self.offsets.len() - 1];
        self.offsets.extend(other.offsets[1..].iter().map(|end| held + end));
        for (own, theirs) in self.layers.iter_mut().zip(other.layers) {
            *own = Tensor::cat(vec![own.clone(), theirs], 0);
        }
    }

    /// Forgets the last `count` tokens of each sequence.
    pub fn forget(&mut self, count: usize) {
        let mut offsets = vec![0];
        let mut rows: Vec<u32> = Vec::new();
        for w in self.offsets.windows(2) {
            rows.extend((w[0]..w[1].saturating_sub(count).max(w[0])).map(|row| row as u32));
            offsets.push(rows.len());
        }
        let rows = Indices::from(rows);
        self.layers.iter_mut().for_each(|layer| *layer = gather_rows(layer.clone(), &rows));
        self.offsets = offsets;
    }
}

/// Embeddings and layers: token ids to hidden states.
#[derive(Module, Debug)]
pub struct Xlnet {
    /// Word embedding, `[V, H]`.
    pub word: Param<Tensor<2>>,
    /// What stands for a token that is to be predicted, `[1, 1, H]`.
    mask: Param<Tensor<3>>,
    layers: Vec<XlnetLayer>,
    #[module(skip)]
    config: Arc<XlnetConfig>,
}

#[derive(Module, Debug)]
struct XlnetLayer {
    attention: XlnetAttention,
    attention_norm: LayerNorm,
    up: Linear,
    down: Linear,
    output_norm: LayerNorm,
}

/// The projections, `[H, A, D]`, and the learned parts of scores, `[A, D]`; `segment` `[2, A, D]`.
#[derive(Module, Debug)]
struct XlnetAttention {
    query: Param<Tensor<3>>,
    key: Param<Tensor<3>>,
    value: Param<Tensor<3>>,
    output: Param<Tensor<3>>,
    distance: Param<Tensor<3>>,
    content_bias: Param<Tensor<2>>,
    distance_bias: Param<Tensor<2>>,
    segment_bias: Param<Tensor<2>>,
    segment: Param<Tensor<3>>,
}

/// `x·W` for a weight `[H, A, D]` → `[T, A·D]`.
fn project(x: Tensor<2>, weight: &Param<Tensor<3>>) -> Tensor<2> {
    linear(x, weight.val().flatten::<2>(1, 2).transpose(), None, Activation::None)
}

/// The rows of one stream: where they stand and what they see.
#[derive(Clone, Debug)]
struct Stream {
    /// Rows of the batch.
    rows: Indices,
    spec: RelativeAttention,
}

/// What all layers of a pass share.
struct Run<'a> {
    config: &'a XlnetConfig,
    pass: &'a Pass,
    /// The vectors of distances, `[S, H]`.
    distances: Tensor<2>,
    /// For each sequence the rows of its memory and then its own, in `memory` on top of the batch.
    order: Option<Indices>,
    memory: Option<&'a Memory>,
}

impl XlnetLayer {
    fn new(config: &XlnetConfig, device: &Device) -> Self {
        let (hidden, heads, size) = (config.hidden_size, config.heads, config.head_size());
        let projection = || parameter([hidden, heads, size], device);
        let bias = || parameter([heads, size], device);
        let norm = || LayerNorm::new(hidden, config.norm_eps, device);
        Self {
            attention: XlnetAttention {
                query: projection(),
                key: projection(),
                value: projection(),
                output: projection(),
                distance: projection(),
                content_bias: bias(),
                distance_bias: bias(),
                segment_bias: bias(),
                segment: parameter([2, heads, size], device),
            },
            attention_norm: norm(),
            up: Linear::new(hidden, config.intermediate_size, device),
            down: Linear::new(config.intermediate_size, hidden, device),
            output_norm: norm(),
        }
    }

    /// What every stream of layer `number` looks at; its queries are still to come.
    fn seen(&self, x: Tensor<2>, number: usize, run: &Run<'_>) -> RelativeTensors {
        let a = &self.attention;
        let keys = match (run.memory, &run.order) {
            (Some(memory), Some(order)) => {
                gather_rows(Tensor::cat(vec![memory.layers[number].clone(), x.clone()], 0), order)
            }
            _ => x.clone(),
        };
        RelativeTensors {
            q: x,
            k: project(keys.clone(), &a.key),
            v: project(keys, &a.value),
            distances: project(run.distances.clone(), &a.distance),
            segments: a.segment.val().flatten::<2>(1, 2),
            biases: [&a.content_bias, &a.distance_bias, &a.segment_bias].map(|bias| bias.val().flatten::<1>(0, 1)),
        }
    }

    /// The rows of one stream, from `seen` and their own hidden states `x`.
    fn forward(&self, x: Tensor<2>, stream: &Stream, seen: &RelativeTensors, run: &Run<'_>) -> Tensor<2> {
        let drop = || run.pass.dropout(run.config.dropout);
        let tensors = RelativeTensors { q: project(x.clone(), &self.attention.query), ..seen.clone() };
        let spec = RelativeAttention { dropout: drop(), ..stream.spec.clone() };
        let context = relative_attention(&tensors, &spec);
        let output = self.attention.output.val().flatten::<2>(1, 2);
        let x = self.attention_norm.add(linear(context, output, None, Activation::None), x, drop());
        let y = dropout(self.up.forward(x.clone(), run.config.activation), drop());
        self.output_norm.add(self.down.forward(y, Activation::None), x, drop())
    }
}

impl Xlnet {
    /// As [`Body::forward`], with the memory for what follows: what was remembered and this batch, as far back as the
    /// configuration says.
    ///
    /// # Errors
    /// When the input doesn't fit the model.
    pub fn forward_and_remember(&self, input: &Permuted<'_>, rows: &Rows, pass: &Pass) -> Result<(Tensor<2>, Memory)> {
        let mut read = Vec::new();
        let out = self.run(input, rows, pass, |x| read.push(x))?;
        Ok((out, self.remembered(input, read)))
    }

    fn check(&self, input: &Permuted<'_>) -> Result<()> {
        let batch = input.batch;
        check_packed(batch, self.config.vocab_size, usize::MAX)?;
        let (count, sequences) = (batch.ids.len(), batch.offsets.len() - 1);
        let pairs: usize = batch.offsets.windows(2).map(|w| (w[1] - w[0]) * (w[1] - w[0])).sum();
        if let Visible::Pairs(visible) = &input.visible
            && visible.len() != pairs
        {
            let problem = format!("the order's mask has {} entries, the batch asks for {pairs}", visible.len());
            return Err(Error::Input(problem));
        }
        if let Some(targets) = &input.targets
            && (!targets.is_sorted() || beyond(targets, count).is_some())
        {
            return Err(Error::Input(format!("targets should ascend and be below the batch's {count} rows")));
        }
        if let Some(memory) = input.memory
            && (memory.offsets.len() != sequences + 1 || memory.layers.len() != self.layers.len())
        {
            let given = memory.offsets.len() - 1;
            return Err(Error::Input(format!("a memory of {given} sequences for {sequences}: give one each")));
        }
        if let Some(backwards) = input.backwards.as_ref().filter(|backwards| backwards.len() != sequences) {
            let given = backwards.len();
            return Err(Error::Input(format!("directions of {given} sequences for {sequences}: give one each")));
        }
        if input.backwards.is_none() && self.config.backward_half && !sequences.is_multiple_of(2) {
            let problem = format!("{sequences} sequences, of which half should be read backwards (bi_data)");
            return Err(Error::Input(problem));
        }
        Ok(())
    }

    /// The stream of `rows`; `knows_itself` says whether they see what they are.
    fn stream(&self, rows: Indices, knows_itself: bool, input: &Permuted<'_>, zero: usize) -> Stream {
        let config = &*self.config;
        let batch = input.batch;
        let sequences = batch.offsets.len() - 1;
        let remembered = input.memory.map_or_else(|| vec![0; sequences], Memory::lengths);
        let q_offsets = offsets_of_rows(&rows, &batch.offsets);
        let (mut k_offsets, mut block) = (vec![0], 0);
        let (mut places, mut spans, mut pairs, mut k_segments) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (b, w) in batch.offsets.windows(2).enumerate() {
            let (length, memory) = (w[1] - w[0], remembered[b]);
            for &row in &rows[q_offsets[b]..q_offsets[b + 1]] {
                let i = row as usize - w[0];
                places.push((memory + i) as u32);
                // whatever the order, a row of one direction sees nothing after it, and perhaps equally far back
                let from = if config.causal && config.same_length { i } else { 0 };
                let to = memory + if config.causal { i + 1 } else { length };
                match &input.visible {
                    Visible::AllButLast if !knows_itself || i + 1 < length => {
                        spans.push([from as u32, to.min(memory + length - 1) as u32]);
                    }
                    Visible::All | Visible::AllButLast => spans.push([from as u32, to as u32]),
                    Visible::Pairs(visible) => pairs.extend((0..memory + length).map(|key| {
                        let of_memory = key < memory;
                        let in_order = of_memory || visible[block + i * length + key - memory];
                        (in_order || (knows_itself && key == memory + i)) && (from..to).contains(&key)
                    })),
                }
            }
            // what is remembered counts as of the first segment
            k_segments.extend(std::iter::repeat_n(0, memory).chain(batch.segments[w[0]..w[1]].iter().copied()));
            block += length * length;
            k_offsets.push(k_offsets[b] + memory + length);
        }
        let spec = RelativeAttention {
            heads: config.heads,
            scale: 1.0 / (config.head_size() as f32).sqrt(),
            q_offsets: q_offsets.into(),
            k_offsets: k_offsets.into(),
            places: places.into(),
            zero,
            backwards: match &input.backwards {
                Some(backwards) => backwards.clone(),
                None => (0..sequences).map(|b| config.backward_half && b >= sequences / 2).collect(),
            },
            q_segments: rows.iter().map(|&row| batch.segments[row as usize]).collect(),
            k_segments: k_segments.into(),
            mask: match input.visible {
                Visible::All if !config.causal => Mask::None,
                Visible::Pairs(_) => Mask::Full(pairs.into()),
                _ => Mask::Spans(spans.into()),
            },
            dropout: Dropout::OFF,
        };
        Stream { rows, spec }
    }

    /// Sines and cosines of how far a key lies before its query, from `far` to `-far`, as far as the configuration tells
    /// distances apart.
    fn distances(&self, far: usize) -> Tensor<2> {
        let width = self.config.hidden_size;
        let most = if self.config.clamp_length > 0 { self.config.clamp_length } else { usize::MAX };
        let row = |i: usize| {
            let distance = i.abs_diff(far).min(most) as f64 * if i > far { -1.0 } else { 1.0 };
            let angle = move |pair: usize| distance / 10000_f64.powf(2.0 * pair as f64 / width as f64);
            let sines = (0..width / 2).map(move |pair| angle(pair).sin() as f32);
            sines.chain((0..width / 2).map(move |pair| angle(pair).cos() as f32))
        };
        let values: Vec<f32> = (0..=2 * far).flat_map(row).collect();
        Tensor::from_data(TensorData::new(values, [2 * far + 1, width]), &self.word.val().device())
    }

    /// `keep` is given what each layer reads.
    fn run(
        &self,
        input: &Permuted<'_>,
        rows: &Rows,
        pass: &Pass,
        mut keep: impl FnMut(Tensor<2>),
    ) -> Result<Tensor<2>> {
        self.check(input)?;
        let config = &*self.config;
        let batch = input.batch;
        let drop = || pass.dropout(config.dropout);
        let remembered = input.memory.map(Memory::lengths);
        let longest =
            batch.offsets.windows(2).enumerate().map(|(b, w)| w[1] - w[0] + remembered.as_ref().map_or(0, |r| r[b]));
        let far = longest.max().unwrap_or(1) - 1;
        let run = Run {
            config,
            pass,
            distances: dropout(self.distances(far), drop()),
            order: input.memory.map(|memory| in_order(memory, &batch.offsets)),
            memory: input.memory,
        };
        let all: Indices = (0..batch.ids.len() as u32).collect();
        let wanted = match &input.targets {
            None => rows.wanted(&batch.offsets)?,
            Some(targets) => {
                let places = rows.wanted(&offsets_of_rows(targets, &batch.offsets))?;
                places.map(|places| places.iter().map(|&place| targets[place as usize]).collect())
            }
        };
        let tokens = self.stream(all.clone(), true, input, far);
        let predicted = input.targets.clone().map(|targets| self.stream(targets, false, input, far));
        // the last layer computes what is read of one stream alone
        let last = {
            let rows = wanted.or_else(|| input.targets.clone()).unwrap_or(all);
            self.stream(rows, predicted.is_none(), input, far)
        };
        let mut h = dropout(look_up(&self.word, &batch.ids, None, 1.0), drop());
        let mut g = predicted.as_ref().map(|stream| {
            let mask = self.mask.val().flatten::<2>(0, 1);
            dropout(mask.expand([stream.rows.len(), config.hidden_size]), drop())
        });
        for (number, layer) in self.layers.iter().enumerate() {
            keep(h.clone());
            let ends = number + 1 == self.layers.len();
            if predicted.is_none() && input.memory.is_none() {
                // one stream that remembers nothing: a pass may compute it again
                let (stream, config) = (if ends { &last } else { &tokens }.clone(), self.config.clone());
                h = pass.layer(layer, [h, run.distances.clone()], move |layer, [h, distances], pass| {
                    let run = Run { config: &config, pass, distances, order: None, memory: None };
                    let seen = layer.seen(h.clone(), number, &run);
                    layer.forward(if ends { gather_rows(h, &stream.rows) } else { h }, &stream, &seen, &run)
                });
                if ends {
                    return Ok(dropout(h, drop()));
                }
                continue;
            }
            let seen = layer.seen(h.clone(), number, &run);
            if ends {
                let x = match (g, &predicted) {
                    (Some(g), Some(stream)) => gather_rows(g, &places_of(&last.rows, &stream.rows)),
                    _ => gather_rows(h, &last.rows),
                };
                return Ok(dropout(layer.forward(x, &last, &seen, &run), drop()));
            }
            g = g.zip(predicted.as_ref()).map(|(g, stream)| layer.forward(g, stream, &seen, &run));
            h = layer.forward(h, &tokens, &seen, &run);
        }
        let x = match (g, &predicted) {
            (Some(g), Some(stream)) => gather_rows(g, &places_of(&last.rows, &stream.rows)),
            _ => gather_rows(h, &last.rows),
        };
        Ok(dropout(x, drop()))
    }

    /// The memory after a batch of which the layers read `read`.
    fn remembered(&self, input: &Permuted<'_>, read: Vec<Tensor<2>>) -> Memory {
        let config = &*self.config;
        let batch = input.batch;
        let none = Memory { layers: Vec::new(), offsets: vec![0; batch.offsets.len()] };
        let before = input.memory.unwrap_or(&none);
        let held = before.offsets.last().copied().unwrap_or(0);
        let (mut rows, mut offsets) = (Vec::new(), vec![0]);
        for (b, w) in batch.offsets.windows(2).enumerate() {
            let end = if config.reuse_length > 0 { w[1].min(w[0] + config.reuse_length) } else { w[1] };
            let old = before.offsets[b]..before.offsets[b + 1];
            let both: Vec<u32> = old.chain(held + w[0]..held + end).map(|row| row as u32).collect();
            let kept = if config.memory_length > 0 { config.memory_length.min(both.len()) } else { both.len() };
            rows.extend_from_slice(&both[both.len() - kept..]);
            offsets.push(rows.len());
        }
        let rows = Indices::from(rows);
        let layers = read.into_iter().enumerate().map(|(number, x)| {
            let x = match input.memory {
                Some(memory) => Tensor::cat(vec![memory.layers[number].clone(), x], 0),
                None => x,
            };
            gather_rows(x, &rows).detach()
        });
        Memory { layers: layers.collect(), offsets }
    }
}

/// For each sequence the rows of its memory and then its own, in the memory on top of the batch.
fn in_order(memory: &Memory, offsets: &[usize]) -> Indices {
    let held = memory.offsets.last().copied().unwrap_or(0);
    let pairs = memory.offsets.windows(2).zip(offsets.windows(2));
    pairs.flat_map(|(m, w)| (m[0]..m[1]).chain(held + w[0]..held + w[1])).map(|row| row as u32).collect()
}

/// Where `rows` lie among `all`, both ascending.
fn places_of(rows: &[u32], all: &[u32]) -> Indices {
    rows.iter().map(|row| all.partition_point(|other| other < row) as u32).collect()
}

impl Body for Xlnet {
    type Config = XlnetConfig;
    type Input<'a> = Permuted<'a>;

    fn new(config: Arc<XlnetConfig>, device: &Device) -> Self {
        Self {
            word: parameter([config.vocab_size, config.hidden_size], device),
            mask: parameter([1, 1, config.hidden_size], device),
            layers: (0..config.layers).map(|_| XlnetLayer::new(&config, device)).collect(),
            config,
        }
    }

    fn config(&self) -> &Arc<XlnetConfig> {
        &self.config
    }

    fn word(&self) -> &Param<Tensor<2>> {
        &self.word
    }

    /// Of the tokens, or of the targets where there are any: `rows` choose among those then.
    fn forward(&self, input: &Permuted<'_>, rows: &Rows, pass: &Pass) -> Result<Tensor<2>> {
        self.run(input, rows, pass, drop)
    }

    fn summary(&self, _: &Permuted<'_>) -> Result<Rows> {
        Ok(if self.config.summary == Summary::First { Rows::First } else { Rows::Last })
    }

    fn summarize(&self, input: &Permuted<'_>, pass: &Pass) -> Result<Tensor<2>> {
        if self.config.summary != Summary::Mean {
            return self.forward(input, &self.summary(input)?, pass);
        }
        let hidden = self.forward(input, &Rows::All, pass)?;
        let (offsets, count) = (&input.batch.offsets, hidden.dims()[0]);
        let share =
            |w: &[usize], row: usize| if (w[0]..w[1]).contains(&row) { 1.0 / (w[1] - w[0]) as f32 } else { 0.0 };
        let means: Vec<f32> = offsets.windows(2).flat_map(|w| (0..count).map(move |row| share(w, row))).collect();
        let means = Tensor::<2>::from_data(TensorData::new(means, [offsets.len() - 1, count]), &hidden.device());
        Ok(means.matmul(hidden))
    }

    fn class(_: Family, head: &str) -> Option<&'static str> {
        match head {
            "hidden-states" => Some("Model"),
            "language-model" => Some("LMHeadModel"),
            "sequence-classification" => Some("ForSequenceClassification"),
            "token-classification" => Some("ForTokenClassification"),
            "question-answering" => Some("ForQuestionAnsweringSimple"),
            _ => None,
        }
    }

    fn language_model(_: &XlnetConfig) -> LanguageModelStyle {
        LanguageModelStyle { bias: true, ..LanguageModelStyle::default() }
    }
}
