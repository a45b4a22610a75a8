//! A model that is evaluated: a directory with the head that its `config.json` names, whatever the family, as a
//! function from a packed batch to logits.

use std::path::Path;

use burn::prelude::*;
use ptm_models::heads::{ChoiceHead, Head, LanguageModelHead, SequenceHead, SpanHead, TokenHead};
use ptm_models::{
    Bart, Body, Configuration, Decoder, Encoder, Family, Kind, Model, Pair, Pass, Permuted, ProblemType, Rows, T5,
    T5Encoder, Xlnet, auto, heads,
};
use ptm_ops::{Indices, gather_rows};
use ptm_text::{Packed, PositionStyle, Tokenizer};
use serde_json::{Map, Value};

use crate::recipe::Task;
use crate::{Error, Result};

/// Logits of a batch: a row a sequence or a token, as the head has it.
pub(super) type Logits = Box<dyn Fn(&Packed) -> Result<Tensor<2>>>;

/// A model with its tokenizer.
pub struct Candidate {
    pub(super) tokenizer: Tokenizer,
    pub(super) task: Task,
    pub(super) labels: Vec<String>,
    pub(super) positions: PositionStyle,
    pub(super) longest: usize,
    /// None where answers are generated.
    pub(super) logits: Option<Logits>,
}

impl std::fmt::Debug for Candidate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Candidate").field("task", &self.task).field("labels", &self.labels).finish_non_exhaustive()
    }
}

/// A body that can be given texts alone.
trait Alone: Body {
    /// How the labels are to be read, where the configuration says so.
    fn problem(config: &Self::Config) -> Option<ProblemType>;

    /// How many tokens it reads.
    fn longest(_: &Self::Config) -> usize {
        USUAL
    }

    fn read<R>(&self, batch: &Packed, f: impl FnOnce(&Self::Input<'_>) -> Result<R>) -> Result<R>;
}

impl Alone for Encoder {
    fn problem(config: &Self::Config) -> Option<ProblemType> {
        config.problem_type
    }

    fn longest(config: &Self::Config) -> usize {
        config.max_length()
    }

    fn read<R>(&self, batch: &Packed, f: impl FnOnce(&Self::Input<'_>) -> Result<R>) -> Result<R> {
        f(&batch.into())
    }
}

impl Alone for Decoder {
    fn problem(config: &Self::Config) -> Option<ProblemType> {
        config.problem_type
    }

    fn longest(config: &Self::Config) -> usize {
        config.max_positions
    }

    fn read<R>(&self, batch: &Packed, f: impl FnOnce(&Packed) -> Result<R>) -> Result<R> {
        f(batch)
    }
}

impl Alone for T5Encoder {
    fn problem(config: &Self::Config) -> Option<ProblemType> {
        config.problem_type
    }

    fn read<R>(&self, batch: &Packed, f: impl FnOnce(&Packed) -> Result<R>) -> Result<R> {
        f(batch)
    }
}

impl Alone for Xlnet {
    fn problem(config: &Self::Config) -> Option<ProblemType> {
        config.problem_type
    }

    fn read<R>(&self, batch: &Packed, f: impl FnOnce(&Permuted<'_>) -> Result<R>) -> Result<R> {
        f(&batch.into())
    }
}

/// Classifiers among encoder-decoders read the text on both sides, moved right by one in the decoder.
fn both<R>(
    batch: &Packed,
    style: PositionStyle,
    shifted: impl Fn(&[u32]) -> ptm_models::Result<Vec<u32>>,
    f: impl FnOnce(&Pair<'_>) -> Result<R>,
) -> Result<R> {
    let target = (0..batch.sequences()).map(|sequence| Ok(shifted(&batch.ids[batch.range(sequence)])?));
    let target = target.collect::<Result<Vec<_>>>()?;
    let target = Packed::from_ids(&target, style).map_err(|error| Error::Input(error.to_string()))?;
    f(&Pair { source: batch, target: &target })
}

impl Alone for Bart {
    fn problem(config: &Self::Config) -> Option<ProblemType> {
        config.problem_type
    }

    fn longest(config: &Self::Config) -> usize {
        config.max_positions
    }

    fn read<R>(&self, batch: &Packed, f: impl FnOnce(&Pair<'_>) -> Result<R>) -> Result<R> {
        let config = self.config();
        both(batch, config.positions(), |ids| config.shifted(ids), f)
    }
}

impl Alone for T5 {
    fn problem(config: &Self::Config) -> Option<ProblemType> {
        config.problem_type
    }

    fn read<R>(&self, batch: &Packed, f: impl FnOnce(&Pair<'_>) -> Result<R>) -> Result<R> {
        let config = self.config();
        both(batch, config.positions(), |ids| config.shifted(ids), f)
    }
}

/// Where no table of positions sets a limit, texts are cut at so many tokens: attention's cost grows with the square.
const USUAL: usize = 512;

/// Rows of logits over a vocabulary that are held at once.
const AT_ONCE: usize = 256;

impl Candidate {
    /// Opens a model directory.
    ///
    /// # Errors
    /// When a file is missing or damaged, or the model has no head that can be evaluated.
    pub fn open(dir: &Path) -> Result<Self> {
        let family = Family::of_dir(dir)?;
        let path = dir.join("config.json");
        let text = std::fs::read(&path).map_err(|source| Error::File { action: "read", path, source })?;
        let config: Map<String, Value> =
            serde_json::from_slice(&text).map_err(|error| Error::Input(format!("config.json: {error}")))?;
        let classes = config.get("architectures").and_then(Value::as_array).into_iter().flatten();
        let head = classes.filter_map(Value::as_str).find_map(|class| auto::head_of_class(family, class));
        let tokenizer = Tokenizer::from_dir(dir)?;
        match (head, family.kind()) {
            (Some("sequence-classification"), Kind::Encoder) => Self::sequences::<Encoder>(dir, tokenizer),
            (Some("sequence-classification"), Kind::Decoder) => Self::sequences::<Decoder>(dir, tokenizer),
            (Some("sequence-classification"), Kind::Bart) => Self::sequences::<Bart>(dir, tokenizer),
            (Some("sequence-classification"), Kind::T5) => Self::sequences::<T5>(dir, tokenizer),
            (Some("sequence-classification"), Kind::Xlnet) => Self::sequences::<Xlnet>(dir, tokenizer),
            (Some("token-classification"), Kind::Encoder) => Self::tokens::<Encoder>(dir, tokenizer),
            (Some("token-classification"), Kind::Decoder) => Self::tokens::<Decoder>(dir, tokenizer),
            (Some("token-classification"), Kind::T5) => Self::tokens::<T5Encoder>(dir, tokenizer),
            (Some("token-classification"), Kind::Xlnet) => Self::tokens::<Xlnet>(dir, tokenizer),
            (Some("question-answering"), Kind::Encoder) => Self::spans::<Encoder>(dir, tokenizer),
            (Some("question-answering"), Kind::Decoder) => Self::spans::<Decoder>(dir, tokenizer),
            (Some("question-answering"), Kind::Bart) => Self::spans::<Bart>(dir, tokenizer),
            (Some("question-answering"), Kind::T5) => Self::spans::<T5>(dir, tokenizer),
            (Some("question-answering"), Kind::Xlnet) => Self::spans::<Xlnet>(dir, tokenizer),
            (Some("multiple-choice"), Kind::Encoder) => {
                // each choice by itself: a number a sequence
                Self::with::<ChoiceHead, Encoder>(dir, tokenizer, Task::Choice, |model, batch| {
                    Ok(model.logits(&batch.into(), 1, &Pass::eval())?)
                })
            }
            (Some("language-model"), Kind::Decoder) => {
                Self::with::<LanguageModelHead, Decoder>(dir, tokenizer, Task::LanguageModel, next_losses)
            }
            (Some("language-model"), Kind::Bart | Kind::T5) => Ok(Self {
                tokenizer,
                task: Task::TextToText,
                labels: Vec::new(),
                positions: PositionStyle::Zero,
                longest: USUAL,
                logits: None,
            }),
            (head, _) => Err(Error::Input(format!(
                "{}: {} cannot be evaluated; there are heads for sequence classification, token classification, \
                 question answering, multiple choice, language modelling of decoders, and text-to-text",
                dir.display(),
                head.map_or("a model whose config.json names no known head in architectures".into(), |head| format!(
                    "a {} model with the head {head}",
                    family.model_type()
                )),
            ))),
        }
    }

    fn with<H: Head<B> + 'static, B: Alone + 'static>(
        dir: &Path,
        tokenizer: Tokenizer,
        task: Task,
        logits: impl Fn(&Model<H, B>, &Packed) -> Result<Tensor<2>> + 'static,
    ) -> Result<Self> {
        let model = Model::<H, B>::open(dir, &Device::flex())?.model;
        let config = model.config();
        config.check_answers(dir)?;
        let (largest, rows) = (tokenizer.max_id(), model.body.word().dims()[0]);
        if largest as usize >= rows {
            return Err(Error::Input(format!(
                "the tokenizer has ids up to {largest}, but the model's vocab_size is {rows}: the tokenizer's files \
                 belong to another model"
            )));
        }
        let longest = B::longest(config).min(tokenizer.model_max_length().unwrap_or(usize::MAX));
        let (labels, positions) = (config.labels().to_vec(), config.positions());
        let logits: Logits = Box::new(move |batch| logits(&model, batch));
        Ok(Self { tokenizer, task, labels, positions, longest, logits: Some(logits) })
    }

    fn sequences<B: Alone + 'static>(dir: &Path, tokenizer: Tokenizer) -> Result<Self>
    where
        heads::SequenceHead: Head<B>,
    {
        let config = B::Config::from_dir(dir)?;
        let labels = config.labels().len();
        let task = match B::problem(&config) {
            Some(ProblemType::MultiLabel) => Task::MultiLabel,
            Some(ProblemType::Regression) => Task::Regression,
            None if labels == 1 => Task::Regression,
            _ => Task::Classification,
        };
        if task == Task::Regression && labels != 1 {
            return Err(Error::Input(format!(
                "{}: the model gives {labels} numbers; only models that give one can be evaluated",
                dir.display()
            )));
        }
        Self::with::<SequenceHead, B>(dir, tokenizer, task, |model, batch| {
            model.body.read(batch, |input| Ok(model.logits(input, &Pass::eval())?))
        })
    }

    fn tokens<B: Alone + 'static>(dir: &Path, tokenizer: Tokenizer) -> Result<Self>
    where
        TokenHead: Head<B>,
    {
        Self::with::<TokenHead, B>(dir, tokenizer, Task::Tokens, |model, batch| {
            model.body.read(batch, |input| Ok(model.logits(input, &Pass::eval())?))
        })
    }

    fn spans<B: Alone + 'static>(dir: &Path, tokenizer: Tokenizer) -> Result<Self>
    where
        SpanHead: Head<B>,
    {
        Self::with::<SpanHead, B>(dir, tokenizer, Task::Questions, |model, batch| {
            model.body.read(batch, |input| Ok(model.logits(input, &Pass::eval())?))
        })
    }

    /// What it was taught.
    pub fn task(&self) -> Task {
        self.task
    }

    /// Its labels, in order.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// Its tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// How many tokens it reads at once.
    pub fn longest(&self) -> usize {
        self.longest
    }
}

/// The loss of each token's successor, `[T, 1]`; 0 at the ends of sequences.
fn next_losses(model: &Model<LanguageModelHead, Decoder>, batch: &Packed) -> Result<Tensor<2>> {
    let (rows, targets) = heads::next_tokens(batch);
    let mut losses = vec![0.0_f32; batch.len()];
    if !rows.is_empty() {
        let hidden = model.body.forward(batch, &Rows::Chosen(rows.clone()), &Pass::eval())?;
        for start in (0..rows.len()).step_by(AT_ONCE) {
            let some: Indices = (start..rows.len().min(start + AT_ONCE)).map(|row| row as u32).collect();
            let logits = model.head.logits(gather_rows(hidden.clone(), &some), model.body.word());
            let width = logits.dims()[1];
            let values = ptm_ops::read_f32(logits);
            for (row, &at) in values.chunks_exact(width).zip(&*some) {
                let target = targets[at as usize] as usize;
                let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let sum: f64 = row.iter().map(|&x| f64::from(x - most).exp()).sum();
                losses[rows[at as usize] as usize] = (sum.ln() - f64::from(row[target] - most)) as f32;
            }
        }
    }
    let count = losses.len();
    Ok(Tensor::from_data(burn::tensor::TensorData::new(losses, [count, 1]), &Device::flex()))
}
