//! A body with a head: what is read from and written to a model directory.

use std::path::Path;
use std::sync::Arc;

use burn::module::Param;
use burn::prelude::*;
use ptm_ops::Indices;
use ptm_text::Packed;

use crate::auto;
use crate::body::{Body, Sequences};
use crate::cache::{Cache, Stepwise};
use crate::config::{Configuration, Family, classes_of};
use crate::decoder::Decoder;
use crate::encoder::{Encoder, Input};
use crate::error::{Error, Result};
use crate::files::{self, Weights};
use crate::heads::{
    Bare, ChoiceHead, Head, LanguageModelHead, MaskedLmHead, NextSentenceHead, Pooler, PretrainingHead,
    ReplacedTokenHead, SequenceHead, SpanHead, Targets, TokenHead,
};
use crate::names::Names;
use crate::pass::Pass;
use crate::rows::Rows;
use crate::{init, read, write};

/// A body with a head; an encoder unless said otherwise.
#[derive(Module, Debug)]
pub struct Model<H: Module, B: Module = Encoder> {
    /// Token ids to hidden states.
    pub body: B,
    /// Hidden states to answers.
    pub head: H,
}

/// Hidden states without a head.
pub type Bodies = Model<Bare>;
/// Masked language model.
pub type MaskedLm = Model<MaskedLmHead>;
/// Causal language model.
pub type LanguageModel = Model<LanguageModelHead, Decoder>;
/// Classification or regression of sequences.
pub type SequenceClassifier = Model<SequenceHead>;
/// Classification of tokens.
pub type TokenClassifier = Model<TokenHead>;
/// Extractive question answering.
pub type QuestionAnswering = Model<SpanHead>;

/// A model as it was read, with what the reader noticed.
#[derive(Debug)]
pub struct Loaded<M> {
    /// The model.
    pub model: M,
    /// Tensors of the files that it has no use for, without buffers and copies of tied weights.
    pub unused: Vec<String>,
    /// Parameters that the files lack and that were initialised, by the names they will be written under.
    pub new: Vec<String>,
}

impl<H: Head<B>, B: Body> Model<H, B> {
    /// A model with parameters still to be read or initialised.
    ///
    /// # Errors
    /// When the family has no such head, or the configuration none that works.
    pub fn skeleton(config: B::Config, device: &Device) -> Result<Self> {
        let family = config.family();
        if H::class(family).is_none() {
            return Err(Error::NoSuchHead {
                family: family.model_type(),
                head: H::NAME,
                known: crate::auto::heads_of(family),
            });
        }
        H::check(&config)?;
        let head = H::new(&config, device);
        Ok(Self { body: B::new(Arc::new(config), device), head })
    }

    /// A model with fresh random weights, the same for the same seed.
    ///
    /// # Errors
    /// As [`Self::skeleton`], and when the sizes multiply to more than can be meant.
    pub fn random(config: B::Config, seed: u64, device: &Device) -> Result<Self> {
        // a quarter of a terabyte as f32
        const MOST: u64 = 1 << 36;
        let parameters = config.parameters();
        if parameters > MOST {
            return Err(Error::TooLarge { parameters, most: MOST });
        }
        let rule = init::Rule::new(&config, seed);
        Ok(init::random(Self::skeleton(config, device)?, rule, device))
    }

    /// Reads the model of a directory; its weights are mapped, not copied.
    ///
    /// # Errors
    /// When configuration or weights can't be read or don't fit each other.
    pub fn open(dir: &Path, device: &Device) -> Result<Loaded<Self>> {
        Self::from_dir(dir, device, None)
    }

    /// Reads the model of a directory that may lack the head, as before fine-tuning: what is missing of the head is
    /// initialised from `seed`.
    ///
    /// # Errors
    /// As [`Self::open`], but for a missing head.
    pub fn open_with_new_head(dir: &Path, seed: u64, device: &Device) -> Result<Loaded<Self>> {
        Self::from_dir(dir, device, Some(seed))
    }

    fn from_dir(dir: &Path, device: &Device, new_head: Option<u64>) -> Result<Loaded<Self>> {
        let config = B::Config::from_dir(dir)?;
        // under a new head, and for the hidden states, the body is all that counts
        if new_head.is_none() && H::NAME != <Bare as Head<B>>::NAME {
            refuse_lacking(dir, config.family())?;
        }
        let loaded = Self::from_weights(config, &Weights::open(dir)?, device, new_head);
        loaded.map_err(|error| error.in_file(&dir.join("config.json")))
    }

    /// Builds the model that `config` describes from `weights`; with a seed a missing head is new.
    ///
    /// # Errors
    /// When a tensor is missing or has the wrong shape.
    pub fn from_weights(
        config: B::Config,
        weights: &Weights,
        device: &Device,
        new_head: Option<u64>,
    ) -> Result<Loaded<Self>> {
        let tied = config.tied();
        let new_head = new_head.map(|seed| init::Rule::new(&config, seed));
        let skeleton = Self::skeleton(config, device)?;
        let names = skeleton.names();
        read::read(skeleton, weights, &names, tied, new_head, device)
    }

    /// How files spell this model's parameters.
    pub fn names(&self) -> Names {
        Names { stack: B::stack(), ..Names::new(self.config().family(), H::NAME, B::prefixed(H::NAME)) }
    }

    /// The class that `transformers` opens it with.
    pub fn architecture(&self) -> String {
        let family = self.config().family();
        format!("{}{}", family.class_prefix(), H::class(family).unwrap_or_default())
    }

    /// The configuration.
    pub fn config(&self) -> &B::Config {
        self.body.config()
    }

    /// Writes `config.json` and `model.safetensors` into `dir`, which is made if need be; each file appears whole
    /// or not at all. Weights of more than [`files::SHARD_BYTES`] are divided, as by [`Self::save_sharded`].
    ///
    /// # Errors
    /// When a file can't be written.
    pub fn save(&self, dir: &Path) -> Result<()> {
        self.save_sharded(dir, files::SHARD_BYTES)
    }

    /// The same, with weights of more than `max_bytes` divided into shards of at most as many (a larger tensor has one for
    /// itself) with an index, `model.safetensors.index.json`. Whenever the writing ends, an earlier model in `dir`, this
    /// one, or none can be read; never some of both.
    ///
    /// # Errors
    /// When a file can't be written.
    pub fn save_sharded(&self, dir: &Path, max_bytes: u64) -> Result<()> {
        let config = self.config().to_json(&self.architecture());
        write::save(self, &self.names(), config, dir, max_bytes)
    }

    /// Every parameter under the name that files give it.
    pub fn named_parameters(&self) -> Vec<write::Named> {
        write::named(self, &self.names())
    }

    /// Says which of `targets` the model doesn't know, or that there are not as many as `wanted`.
    pub(crate) fn check_targets(targets: &[u32], wanted: usize, limit: usize) -> Result<()> {
        if targets.len() != wanted {
            return Err(Error::Input(format!("{} labels were given where {wanted} are needed", targets.len())));
        }
        match targets.iter().find(|&&target| target as usize >= limit) {
            Some(target) => Err(Error::Input(format!("label {target} is beyond the model's {limit}"))),
            None => Ok(()),
        }
    }

    fn word(&self) -> &Param<Tensor<2>> {
        self.body.word()
    }
}

impl<B: Body> Model<LanguageModelHead, B>
where
    LanguageModelHead: Head<B>,
{
    /// Logits over the vocabulary for the wanted rows.
    ///
    /// # Shapes
    /// `rows` `[R]` → `[R, V]`.
    ///
    /// # Errors
    /// When the input doesn't fit the model.
    pub fn logits(&self, input: &B::Input<'_>, rows: &Rows, pass: &Pass) -> Result<Tensor<2>> {
        Ok(self.head.logits(self.body.forward(input, rows, pass)?, self.word()))
    }

    /// `scale · Σ cross-entropy` of the chosen rows, which ascend, against their targets: of text,
    /// [`crate::heads::next_tokens`].
    ///
    /// # Errors
    /// When the input doesn't fit the model.
    pub fn loss(
        &self,
        input: &B::Input<'_>,
        rows: &Indices,
        targets: &Indices,
        scale: f32,
        pass: &Pass,
    ) -> Result<Tensor<1>> {
        Self::check_targets(targets, rows.len(), self.config().output_size())?;
        let hidden = self.body.forward(input, &Rows::Chosen(rows.clone()), pass)?;
        Ok(self.head.loss(hidden, self.word(), targets, scale))
    }
}

impl Model<Pooler> {
    /// All hidden states, and the pooled first ones.
    ///
    /// # Shapes
    /// `[T, H]` and `[B, H]`.
    ///
    /// # Errors
    /// When the batch doesn't fit the model.
    pub fn forward(&self, input: &Input<'_>, pass: &Pass) -> Result<(Tensor<2>, Tensor<2>)> {
        let hidden = self.body.forward(input, &Rows::All, pass)?;
        let first: Indices = input.batch.offsets.iter().take(input.sequences()).map(|&row| row as u32).collect();
        let pooled = self.head.forward(ptm_ops::gather_rows(hidden.clone(), &first));
        Ok((hidden, pooled))
    }
}

impl<B: Stepwise> Model<LanguageModelHead, B> {
    /// Logits of what follows the wanted rows of `batch`, which itself follows what `cache` holds and is added to it.
    ///
    /// # Shapes
    /// [`Rows::Last`]: `[B, V]`.
    ///
    /// # Errors
    /// When the batch doesn't fit the model or the cache.
    pub fn step(&self, batch: &Packed, cache: &mut Cache, rows: &Rows) -> Result<Tensor<2>> {
        Ok(self.head.logits(self.body.step(batch, cache, rows)?, self.word()))
    }
}

impl Model<MaskedLmHead> {
    /// Logits over the vocabulary for the chosen rows, which ascend.
    ///
    /// # Shapes
    /// `rows` `[R]` → `[R, V]`.
    ///
    /// # Errors
    /// When the batch doesn't fit the model.
    pub fn logits(&self, input: &Input<'_>, rows: &Rows, pass: &Pass) -> Result<Tensor<2>> {
        Ok(self.head.logits(self.body.forward(input, rows, pass)?, self.word()))
    }

    /// `scale · Σ cross-entropy` of the chosen rows, which ascend, against their targets.
    ///
    /// # Errors
    /// When the batch doesn't fit the model.
    pub fn loss(
        &self,
        input: &Input<'_>,
        rows: &Indices,
        targets: &Indices,
        scale: f32,
        pass: &Pass,
    ) -> Result<Tensor<1>> {
        Self::check_targets(targets, rows.len(), self.config().vocab_size)?;
        let hidden = self.body.forward(input, &Rows::Chosen(rows.clone()), pass)?;
        Ok(self.head.loss(hidden, self.word(), targets, scale))
    }
}

impl Model<PretrainingHead> {
    /// Both heads' losses, each the mean over its targets: chosen rows, and sequences.
    ///
    /// # Errors
    /// When the batch doesn't fit the model.
    pub fn loss(
        &self,
        input: &Input<'_>,
        rows: &Indices,
        targets: &Indices,
        next: &Indices,
        pass: &Pass,
    ) -> Result<[Tensor<1>; 2]> {
        let mean = |count: usize| 1.0 / count.max(1) as f32;
        self.losses(input, rows, targets, next, [mean(targets.len()), mean(next.len())], pass)
    }

    /// Both heads' losses, each a scale times the sum over its targets: chosen rows, and sequences.
    ///
    /// # Errors
    /// When the batch doesn't fit the model.
    pub fn losses(
        &self,
        input: &Input<'_>,
        rows: &Indices,
        targets: &Indices,
        next: &Indices,
        scales: [f32; 2],
        pass: &Pass,
    ) -> Result<[Tensor<1>; 2]> {
        Self::check_targets(targets, rows.len(), self.config().vocab_size)?;
        Self::check_targets(next, input.sequences(), 2)?;
        // one body serves both heads, so the last layer computes the rows of either
        let first = input.batch.offsets.iter().take(input.sequences()).map(|&row| row as u32);
        let mut both: Vec<u32> = rows.iter().copied().chain(first.clone()).collect();
        both.sort_unstable();
        both.dedup();
        let place = |row: u32| both.binary_search(&row).expect("every wanted row is there") as u32;
        let masked: Indices = rows.iter().map(|&row| place(row)).collect();
        let first: Indices = first.map(place).collect();
        let hidden = self.body.forward(input, &Rows::Chosen(both.into()), pass)?;
        let at = |rows: &Indices| ptm_ops::gather_rows(hidden.clone(), rows);
        let masked = self.head.masked_lm.loss(at(&masked), self.word(), targets, scales[0]);
        let next = self.head.next_sentence.loss(at(&first), next, scales[1]);
        Ok([masked, next])
    }
}

impl Model<NextSentenceHead> {
    /// Logits of "follows" and "doesn't", `[B, 2]`.
    ///
    /// # Errors
    /// When the batch doesn't fit the model.
    pub fn logits(&self, input: &Input<'_>, pass: &Pass) -> Result<Tensor<2>> {
        Ok(self.head.logits(self.body.summarize(input, pass)?))
    }

    /// Mean cross-entropy over the sequences.
    ///
    /// # Errors
    /// When the batch doesn't fit the model.
    pub fn loss(&self, input: &Input<'_>, targets: &Indices, pass: &Pass) -> Result<Tensor<1>> {
        Self::check_targets(targets, input.sequences(), 2)?;
        Ok(self.head.loss(self.body.summarize(input, pass)?, targets, 1.0 / targets.len().max(1) as f32))
    }
}

impl<B: Body> Model<SequenceHead, B> {
    /// Logits of the labels, `[B, labels]`.
    ///
    /// # Errors
    /// When the batch doesn't fit the model.
    pub fn logits(&self, input: &B::Input<'_>, pass: &Pass) -> Result<Tensor<2>> {
        Ok(self.head.logits(self.body.summarize(input, pass)?, pass))
    }

    /// The mean loss.
    ///
    /// # Errors
    /// When the batch doesn't fit the model.
    pub fn loss(&self, input: &B::Input<'_>, targets: &Targets, pass: &Pass) -> Result<Tensor<1>> {
        let (rows, labels) = (input.sequences(), self.config().labels().len());
        match targets {
            Targets::Label(ids) => Self::check_targets(ids, rows, labels)?,
            Targets::Labels(values) | Targets::Numbers(values) if values.len() != rows * labels => {
                let problem =
                    format!("{} numbers for {rows} sequences of {labels} labels: give one each", values.len());
                return Err(Error::Input(problem));
            }
            Targets::Labels(_) | Targets::Numbers(_) => {}
        }
        Ok(self.head.loss(self.body.summarize(input, pass)?, targets, pass))
    }
}

impl Model<ChoiceHead> {
    /// Scores of the choices, `[B, choices]`; the batch holds the choices of an example one after the other.
    ///
    /// # Errors
    /// When the batch doesn't fit the model.
    pub fn logits(&self, input: &Input<'_>, choices: usize, pass: &Pass) -> Result<Tensor<2>> {
        let sequences = input.sequences();
        if choices == 0 || !sequences.is_multiple_of(choices) {
            return Err(Error::Input(format!("{sequences} sequences are not {choices} choices for every example")));
        }
        Ok(self.head.logits(self.body.summarize(input, pass)?, choices, pass))
    }

    /// Mean cross-entropy over the examples.
    ///
    /// # Errors
    /// When the batch doesn't fit the model.
    pub fn loss(&self, input: &Input<'_>, choices: usize, targets: &Indices, pass: &Pass) -> Result<Tensor<1>> {
        let logits = self.logits(input, choices, pass)?;
        Self::check_targets(targets, logits.dims()[0], choices)?;
        Ok(ptm_ops::losses::softmax_cross_entropy(logits, targets, 1.0 / targets.len().max(1) as f32))
    }
}

impl<B: Body> Model<TokenHead, B> {
    /// Logits of the labels at every token, `[T, labels]`.
    ///
    /// # Errors
    /// When the batch doesn't fit the model.
    pub fn logits(&self, input: &B::Input<'_>, pass: &Pass) -> Result<Tensor<2>> {
        Ok(self.head.logits(self.body.forward(input, &Rows::All, pass)?, pass))
    }

    /// Mean cross-entropy over the labelled rows, which ascend.
    ///
    /// # Errors
    /// When the batch doesn't fit the model.
    pub fn loss(&self, input: &B::Input<'_>, rows: &Indices, targets: &Indices, pass: &Pass) -> Result<Tensor<1>> {
        Self::check_targets(targets, rows.len(), self.config().labels().len())?;
        let hidden = self.body.forward(input, &Rows::Chosen(rows.clone()), pass)?;
        let all: Indices = (0..rows.len() as u32).collect();
        Ok(self.head.loss(hidden, &all, targets, 1.0 / rows.len().max(1) as f32, pass))
    }
}

impl<B: Body> Model<SpanHead, B> {
    /// Logits of start and end at every token, `[T, 2]`.
    ///
    /// # Errors
    /// When the batch doesn't fit the model.
    pub fn logits(&self, input: &B::Input<'_>, pass: &Pass) -> Result<Tensor<2>> {
        Ok(self.head.logits(self.body.forward(input, &Rows::All, pass)?, pass))
    }

    /// Mean over the sequences of the halved sum of both cross-entropies.
    ///
    /// # Errors
    /// When the batch doesn't fit the model.
    pub fn loss(&self, input: &B::Input<'_>, starts: &Indices, ends: &Indices, pass: &Pass) -> Result<Tensor<1>> {
        let hidden = self.body.forward(input, &Rows::All, pass)?;
        for positions in [starts, ends] {
            Self::check_targets(positions, input.sequences(), usize::MAX)?;
            let lengths = input.offsets().windows(2).map(|w| w[1] - w[0]);
            if let Some((at, length)) = positions.iter().zip(lengths).find(|&(&at, length)| at as usize >= length) {
                let problem =
                    format!("an answer at token {at} of a sequence of {length}: leave out answers that were cut off");
                return Err(Error::Input(problem));
            }
        }
        let scale = 1.0 / starts.len().max(1) as f32;
        Ok(self.head.loss(hidden, input.offsets(), starts, ends, scale, pass))
    }
}

impl Model<ReplacedTokenHead> {
    /// Logits of "replaced" at every token, `[T, 1]`.
    ///
    /// # Errors
    /// When the batch doesn't fit the model.
    pub fn logits(&self, input: &Input<'_>, pass: &Pass) -> Result<Tensor<2>> {
        Ok(self.head.logits(self.body.forward(input, &Rows::All, pass)?))
    }

    /// Mean binary cross-entropy over the tokens.
    ///
    /// # Errors
    /// When the batch doesn't fit the model.
    pub fn loss(&self, input: &Input<'_>, replaced: &[bool], pass: &Pass) -> Result<Tensor<1>> {
        let hidden = self.body.forward(input, &Rows::All, pass)?;
        if replaced.len() != input.batch.ids.len() {
            let problem = format!("{} flags for {} tokens: give one each", replaced.len(), input.batch.ids.len());
            return Err(Error::Input(problem));
        }
        Ok(self.head.loss(hidden, replaced, 1.0 / replaced.len().max(1) as f32))
    }
}
/// Says that the model in `dir` was saved by a class whose head ptm doesn't have.
fn refuse_lacking(dir: &Path, family: Family) -> Result<()> {
    match classes_of(dir)?.into_iter().find(|class| auto::lacks_head_of(class)) {
        Some(class) => {
            Err(Error::ClassWithoutHead { path: dir.join("config.json"), class, known: auto::heads_of(family) })
        }
        None => Ok(()),
    }
}
